"""Name policies: lists in Python, commas and repetition on the command line, SAFELOAD_POLICY, a pyproject.toml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import safeload
from safeload import Policy
from safeload.errors import PolicyFileError
from safeload.policy import pack_names
from support.cli_runs import ALLOWED, ERROR, REFUSED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("own_home")

SEVERAL = ["sklearn", "pandas"]
OWN = """
name = "acme"
version = 1

[[allow]]
module = "acme.features"
names = ["Clipper"]
roles = ["new", "state"]
reason = "ours"

[limits]
max_opcodes = 40_000_000
"""


@pytest.fixture
def framed(tmp_path: Path) -> Path:
    """A fitted pipeline beside the frame that it was fitted on: refused by sklearn alone."""
    frame = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
    model = make_pipeline(make_column_transformer((StandardScaler(), ["a", "b"])), LogisticRegression())
    model.fit(frame, [0, 1, 0, 1])
    path = tmp_path / "framed.joblib"
    joblib.dump({"model": model, "sample": frame}, path)
    return path


def test_a_list_is_the_same_policy_as_a_file_that_extends_the_list(tmp_path: Path) -> None:
    file = tmp_path / "both.toml"
    file.write_text('name = "both"\nversion = 1\nextends = ["sklearn", "pandas"]\n')
    several = Policy.load(SEVERAL)
    assert several.digest == Policy.load(file).digest == Policy.named("sklearn, pandas").digest
    assert several.rules == Policy.load(file).rules
    assert several.name == "sklearn,pandas"
    assert Policy.load(["sklearn"]).digest == Policy.load("sklearn").digest
    assert Policy.load([*SEVERAL, "sklearn"]).digest == several.digest


def test_each_extends_those_before_it_and_limits_are_the_lowest(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(OWN)
    own = Policy.load(tmp_path / "acme.toml")
    several = Policy.load([tmp_path / "acme.toml", "sklearn"])
    assert {"acme.features.Clipper", "sklearn.svm._classes.SVC"} <= set(several.names)
    assert several.limits().max_opcodes == 40_000_000
    other = tmp_path / "other.toml"
    other.write_text('name = "other"\nversion = 1\nextends = ["core"]\n\n[limits]\nmax_opcodes = 1_000\n')
    assert Policy.load([tmp_path / "acme.toml", other]).limits().max_opcodes == 1_000
    assert own.limits().max_opcodes == 40_000_000


def test_a_list_of_packs_files_and_policies_everywhere(framed: Path, tmp_path: Path, key: safeload.SigningKey) -> None:
    assert not safeload.scan(framed).allowed
    report = safeload.scan(framed, policy=SEVERAL)
    assert report.allowed
    assert (report.policy_name, report.policy_digest) == ("sklearn,pandas", Policy.load(SEVERAL).digest)
    mixed: list[Policy | str | os.PathLike[str]] = [Policy.load("sklearn"), "pandas"]
    manifest = safeload.sign(framed, key=key, policy=mixed)
    assert (manifest.policy_name, manifest.policy_digest) == ("sklearn,pandas", Policy.load(SEVERAL).digest)
    assert safeload.verify(framed, keyring=key, policy=tuple(SEVERAL)).allowed
    assert list(safeload.load(framed, keyring=key, policy=mixed)) == ["model", "sample"]
    assert list(safeload.Loader(keyring=key, policy=SEVERAL).load(framed)) == ["model", "sample"]
    safeload.dump(joblib.load(framed), tmp_path / "again.joblib", key=key, policy=SEVERAL)
    store = safeload.Store(tmp_path / "store", key=key, policy=SEVERAL)
    store.save("framed", pd.Series([1.0]), version="1")
    assert store.load("framed")[0] == 1.0
    with pytest.raises(safeload.PolicyViolationError):
        safeload.load(framed, keyring=key)


def test_the_refusal_extends_every_policy_in_force(framed: Path) -> None:
    with pytest.raises(
        safeload.PolicyViolationError, match=r'extends = \["core", "scipy-stats", "pandas", "sklearn"\]'
    ):
        safeload.scan(framed, policy=["core", "scipy-stats"]).raise_if_refused()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "empty list"),
        ([""], "the name of the policy is empty"),
        (["sklearn", "nopack"], "no policy pack 'nopack'"),
        ("sklearn,pandas", r"pass a list: \['sklearn', 'pandas'\]"),
        (["sklearn", 1], "list of these"),
        ({"sklearn"}, "list of these"),
        (["core"] * 33, "at most 32"),
        (True, "list of these"),
    ],
)
def test_what_names_no_policy_is_refused(framed: Path, wrong: Any, message: str) -> None:
    with pytest.raises(PolicyFileError, match=message):
        safeload.scan(framed, policy=wrong)


def test_without_a_policy_the_variable_names_it(framed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELOAD_POLICY", "sklearn, pandas")
    assert safeload.scan(framed).allowed
    assert safeload.scan(framed, policy=None).policy_name == "sklearn,pandas"
    assert not safeload.scan(framed, policy="sklearn").allowed
    for empty in ("", " "):
        monkeypatch.setenv("SAFELOAD_POLICY", empty)
        with pytest.raises(PolicyFileError, match="set but empty"):
            safeload.scan(framed)
    for wrong in ("sklearn,", ",", "nopack"):
        monkeypatch.setenv("SAFELOAD_POLICY", wrong)
        with pytest.raises(PolicyFileError):
            safeload.scan(framed)


def test_a_pyproject_is_read_where_it_is_named_and_nowhere_else(
    framed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Outcome]
) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "acme.toml").write_text(OWN)
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\nname = "x"\n\n[tool.safeload]\npolicy = ["sklearn", "pandas", "policies/acme.toml"]\n'
    )
    monkeypatch.chdir(tmp_path)
    assert not safeload.scan(framed).allowed
    assert run("scan", framed).code == REFUSED
    monkeypatch.chdir("/")
    assert safeload.scan(framed, policy=project).allowed
    assert run("scan", framed, "--policy", project).code == ALLOWED
    assert "acme.features.Clipper" in Policy.load(project).names
    assert Policy.load(project).name == "sklearn,pandas,acme"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "names no policy"),
        ("[tool.safeload]\n", "names no policy"),
        ("[tool]\nsafeload = 1\n", "names no policy"),
        ("tool = 1\n", "names no policy"),
        ('[tool.safeload]\npolicy = "sklearn"\n', "names no policy"),
        ("[tool.safeload]\npolicy = []\n", "names no policy"),
        ('[tool.safeload]\npolicy = [""]\n', "names no policy"),
        ('[tool.safeload]\npolicy = ["sklearn"]\nlimits = 1\n', "only the key policy, not 'limits'"),
        ('[tool.safeload]\npolicy = ["pyproject.toml"]\n', "not another"),
        ('[tool.safeload]\npolicy = ["../x/pyproject.toml"]\n', "not another"),
        ('[tool.safeload]\npolicy = ["missing.toml"]\n', "cannot be read"),
        ("[tool.safeload\n", "not valid TOML"),
    ],
)
def test_a_pyproject_that_is_not_understood_is_refused(tmp_path: Path, table: str, message: str) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(table)
    with pytest.raises(PolicyFileError, match=message):
        Policy.load(project)


def test_on_the_command_line_policies_add_up(
    framed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Outcome]
) -> None:
    assert run("scan", framed).code == REFUSED
    assert run("scan", framed, "--policy", "sklearn,pandas").code == ALLOWED
    assert run("scan", framed, "--policy", "sklearn", "--policy", "pandas").code == ALLOWED
    assert run("scan", framed, "--policy", "sklearn,nopack").code == ERROR
    monkeypatch.setenv("SAFELOAD_POLICY", "sklearn,pandas")
    assert run("scan", framed).code == ALLOWED
    assert run("scan", framed, "--policy", "sklearn").code == REFUSED
    outcome = run("scan", framed, "--format", "json")
    assert json.loads(outcome.out)["results"][0]["policy"]["name"] == "sklearn,pandas"
    monkeypatch.setenv("SAFELOAD_POLICY", "")
    assert run("scan", framed).code == ERROR
    monkeypatch.delenv("SAFELOAD_POLICY")
    assert run("policy", "show", "sklearn,pandas").code == ALLOWED
    assert run("policy", "explain", "pandas.Series", "--policy", "core,pandas").code in (ALLOWED, REFUSED)
    assert run("audit", "--policy", "core,pandas", "--no-import").code == ALLOWED


def test_learn_extends_all_that_it_builds_on(framed: Path, tmp_path: Path, run: Callable[..., Outcome]) -> None:
    learned = tmp_path / "learned.toml"
    assert run("policy", "learn", framed, "--on", "core", "--on", "scipy-sparse,pandas", "-o", learned).code == ALLOWED
    assert 'extends = ["core", "scipy-sparse", "pandas", "sklearn"]' in learned.read_text()
    assert run("scan", framed, "--policy", learned).code == ALLOWED


def test_list_says_what_each_pack_is_for(run: Callable[..., Outcome]) -> None:
    lines = run("policy", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == pack_names()
    assert all(len(line.split()) > 2 for line in lines)
    packs = json.loads(run("policy", "list", "--format", "json").out)["packs"]
    assert [pack["name"] for pack in packs] == pack_names()
    assert {pack["name"]: pack for pack in packs}["sklearn"]["digest"] == Policy.load("sklearn").digest
    assert all(pack["description"] for pack in packs)


def test_a_description_is_a_text_and_one_line_of_it_is_shown() -> None:
    text = 'name = "x"\nversion = 1\ndescription = {}\n[[allow]]\nmodule = "a"\nnames = ["B"]\n'
    assert Policy.from_text(text.format('"""one\n  two"""')).description == "one two"
    with pytest.raises(PolicyFileError, match="line 3: description must be a text"):
        Policy.from_text(text.format("1"))


def test_workers_get_the_same_policies(framed: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.joblib").write_bytes(framed.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "safeload", "scan", str(tmp_path), "--jobs", "2", "--policy", "sklearn,pandas"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ALLOWED, done.stdout + done.stderr
