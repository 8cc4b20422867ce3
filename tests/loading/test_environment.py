"""What `verify` says of artifacts that are allowed and would not load here, and what `load` raises of them."""

from __future__ import annotations

import json
import pickle
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import joblib
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

import safeload
from safeload.errors import VersionMismatchError, VersionMismatchWarning
from support.cli_runs import ALLOWED, REFUSED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("own_home")

X = np.random.RandomState(0).rand(60, 3)
Y = (X[:, 0] > 0.5).astype(int)
PACKAGE = """
import ctypes
import faulthandler
class Kept:
    def __init__(self):
        self.x = 1

class Fails:
    def __setstate__(self, state):
        raise AttributeError("no attribute of this release")

class Ends:
    def __setstate__(self, state):
        faulthandler._sigsegv()

class Reaches:
    def __setstate__(self, state):
        ctypes.string_at(0)

class Sleeps:
    def __setstate__(self, state):
        while True:
            pass

Alias = Kept
"""
POLICY = """
name = "acme"
version = 1
extends = ["sklearn"]
[[allow]]
module = "acme_here.models"
names = ["Kept", "Fails", "Ends", "Reaches", "Sleeps", "Alias", "Later"]
roles = ["new", "state"]
reason = "a test's own"
"""


class OldTrees(pickle.Pickler):
    """Writes decision trees as scikit-learn 1.2 did: without the field for missing values."""

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, Tree):
            return NotImplemented
        made, args, state = obj.__reduce__()
        nodes = state["nodes"]
        names = [name for name in nodes.dtype.names if name != "missing_go_to_left"]
        old = np.zeros(len(nodes), [(name, nodes.dtype[name]) for name in names])
        for name in names:
            old[name] = nodes[name]
        return made, args, {**state, "nodes": old}


def old(model: Any, path: Path, *, before_0_24: bool = False) -> Path:
    for one in (model, *getattr(model, "estimators_", ())) if before_0_24 else ():
        one.n_features_ = one.__dict__.pop("n_features_in_")
    with path.open("wb") as file:
        OldTrees(file).dump(model)
    return path


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package on the path, and a policy that allows its classes."""
    folder = tmp_path / "site" / "acme_here"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('nobody imports this to verify')\n")
    (folder / "models.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(folder.parent))
    (tmp_path / "acme.toml").write_text(POLICY)
    return tmp_path / "acme.toml"


def instance_of(name: str, path: Path, module: str = "acme_here.models") -> Path:
    """Write the pickle of an instance of a class that this process never imports."""
    state = pickle.dumps({"x": 1}, 2)[2:-1]
    path.write_bytes(b"\x80\x02c" + f"{module}\n{name}\n".encode() + b")\x81" + state + b"b.")
    return path


def signed(path: Path, key: safeload.SigningKey, policy: Any = "sklearn") -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)
        safeload.sign(path, key=key, policy=policy)
    return path


@pytest.mark.parametrize("before_0_24", [False, True])
@pytest.mark.parametrize("model", [DecisionTreeClassifier(), RandomForestClassifier(3)], ids=["tree", "forest"])
def test_trees_of_old_versions_would_not_load(
    model: Any, before_0_24: bool, tmp_path: Path, key: safeload.SigningKey
) -> None:
    path = old(model.fit(X, Y), tmp_path / "model.pkl", before_0_24=before_0_24)
    assert safeload.scan(path).allowed  # elsewhere it loads
    with pytest.warns(VersionMismatchWarning, match="it would not load here: .*nodes of decision trees"):
        safeload.sign(path, key=key)
    report = safeload.verify(path, keyring=key)
    assert [finding.code for finding in report.findings] == ["SL605"]
    assert report.only_here
    assert not report.allowed
    assert "before 1.3" in report.findings[0].message
    assert "Install scikit-learn" in report.findings[0].advice
    with pytest.raises(VersionMismatchError, match="cannot load it here"):
        report.raise_if_refused()
    assert safeload.verify(path, keyring=key, any_environment=True).allowed
    with pytest.raises(VersionMismatchError, match="ValueError: ") as raised:
        safeload.load(path, keyring=key)
    assert isinstance(raised.value.__cause__, ValueError)


def test_without_its_features_a_tree_of_today_is_refused(tmp_path: Path) -> None:
    model = DecisionTreeClassifier().fit(X, Y)
    model.n_features_ = model.__dict__.pop("n_features_in_")
    joblib.dump(model, tmp_path / "model.joblib")
    assert [finding.code for finding in safeload.scan(tmp_path / "model.joblib").findings] == ["SL326"]


@pytest.mark.parametrize(
    ("name", "module", "code"),
    [("Kept", "acme_here.models", None), ("Later", "acme_here.models", "SL604"), ("Kept", "acme_gone.models", "SL603"),
     ("Kept", "acme_here.gone", "SL603")],
)  # fmt: skip
def test_names_are_looked_for_and_not_imported(
    name: str, module: str, code: str | None, acme: Path, tmp_path: Path, key: safeload.SigningKey
) -> None:
    if code == "SL604":  # only an import tells that a name is not there
        (tmp_path / "site" / "acme_here" / "__init__.py").write_text("")
    acme.write_text(POLICY.replace("acme_here.models", module))
    path = signed(instance_of(name, tmp_path / "model.pkl", module), key, acme)
    report = safeload.verify(path, keyring=key, policy=acme)
    assert [finding.code for finding in report.findings] == ([] if code is None else [code])
    if code != "SL604":
        assert "acme_here" not in sys.modules
    sys.modules.pop("acme_here.models", None)
    sys.modules.pop("acme_here", None)


def test_stock_models_would_load(tmp_path: Path, key: safeload.SigningKey, pipeline: Any) -> None:
    for number, model in enumerate((pipeline, LogisticRegression().fit(X, Y), {"model": pipeline, "made": X})):
        path = tmp_path / f"{number}.joblib"
        safeload.dump(model, path, key=key)
        assert safeload.verify(path, keyring=key).allowed


def test_version_mismatches_are_findings_where_they_are_to_fail(tmp_path: Path, key: safeload.SigningKey) -> None:
    model = LogisticRegression().fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib")
    data = (tmp_path / "model.joblib").read_bytes()
    import sklearn

    own = sklearn.__version__.encode()
    (tmp_path / "model.joblib").write_bytes(data.replace(own, b"9" * len(own)))
    path = signed(tmp_path / "model.joblib", key)
    assert safeload.verify(path, keyring=key).allowed
    report = safeload.verify(path, keyring=key, on_version_mismatch="error")
    assert [finding.code for finding in report.findings] == ["SL607"]
    assert report.only_here


def test_what_classes_raise_is_told_as_what_it_is(acme: Path, tmp_path: Path, key: safeload.SigningKey) -> None:
    (tmp_path / "site" / "acme_here" / "__init__.py").write_text("")
    path = signed(instance_of("Fails", tmp_path / "model.pkl"), key, acme)
    with pytest.raises(VersionMismatchError, match="AttributeError: no attribute of this release") as raised:
        safeload.load(path, keyring=key, policy=acme)
    assert isinstance(raised.value.__cause__, AttributeError)
    sys.modules.pop("acme_here.models", None)
    sys.modules.pop("acme_here", None)


# --------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def ring(tmp_path: Path, run: Callable[..., Outcome]) -> Path:
    assert run("key", "new", "--out", tmp_path / "ring.toml").code == ALLOWED
    return tmp_path / "ring.toml"


def test_every_format_has_a_status_of_its_own(tmp_path: Path, ring: Path, run: Callable[..., Outcome]) -> None:
    path = old(DecisionTreeClassifier().fit(X, Y), tmp_path / "model.pkl")
    done = run("sign", path, "--keyring", ring)
    assert done.code == ALLOWED
    assert "note it would not load here" in done.out
    command = ("verify", path, "--keyring", ring)
    text = run(*command)
    assert text.code == REFUSED
    assert text.out.startswith("won't load")
    safeload.dump(X, tmp_path / "data.joblib", key=ring)
    both = run("verify", tmp_path, "--keyring", ring)
    assert "2 checked: 1 allowed, 1 refused (1 would only not load here)" in both.out
    document = run(*command, "--format", "json").document
    assert document["results"][0]["would_not_load_here"] is True
    assert document["summary"]["would_not_load_here"] == 1
    case = ET.fromstring(run(*command, "--format", "junit").out).find(".//failure")
    assert case is not None
    assert case.get("message", "").startswith("won't load: SL605")
    sarif = json.loads(run(*command, "--format", "sarif").out)
    assert sarif["runs"][0]["results"][0]["properties"]["status"] == "won't load"
    assert "won&#39;t load" in run(*command, "--format", "html").out
    assert run(*command, "--any-environment").code == ALLOWED


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Kept", None),
        ("Fails", "no attribute of this release"),
        ("Ends", "SIGSEGV"),
        ("Sleeps", "more than 3 seconds"),
        ("Reaches", "ctypes.string_at"),
    ],
)
def test_loading_for_real(
    name: str, said: str | None, acme: Path, tmp_path: Path, ring: Path, run: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "site" / "acme_here" / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=":")
    path = instance_of(name, tmp_path / "model.pkl")
    assert run("sign", path, "--keyring", ring, "--policy", acme).code == ALLOWED
    seconds = ("--load-seconds", 3) if name == "Sleeps" else ()
    done = run("verify", path, "--keyring", ring, "--policy", acme, "--load", *map(str, seconds), "--format", "json")
    (result,) = done.document["results"]
    if said is None:
        assert done.code == ALLOWED
    else:
        assert done.code == REFUSED
        assert [one["code"] for one in result["findings"]] == ["SL609" if name == "Reaches" else "SL608"]
        assert result["would_not_load_here"] is (name != "Reaches")
        assert said in result["findings"][0]["message"]


def test_loading_for_real_and_not_here_contradict_each_other(
    tmp_path: Path, ring: Path, run: Callable[..., Outcome]
) -> None:
    assert run("verify", tmp_path, "--keyring", ring, "--load", "--any-environment").code == 4


def test_a_module_that_raises_while_it_is_imported_would_not_load(
    acme: Path, tmp_path: Path, key: safeload.SigningKey
) -> None:
    # No class or function of this name is in the file, so the module is imported, and that ends the process.
    path = signed(instance_of("Alias", tmp_path / "model.pkl"), key, acme)
    report = safeload.verify(path, keyring=key, policy=acme)
    assert [finding.code for finding in report.findings] == ["SL603"]
    with pytest.raises(VersionMismatchError, match="nobody imports this to verify"):
        safeload.load(path, keyring=key, policy=acme)
