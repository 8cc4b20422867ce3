"""safeload audit: what a policy lets happen, what its names are here, and what artifacts need of it."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import safeload
from safeload._manifest.manifest import seal
from safeload._storage.pair import manifest_path
from safeload.audit import lint
from safeload.policy import pack_names
from support.cli_runs import ALLOWED, ERROR, NOTHING, REFUSED, USAGE, Outcome, command, run_on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("own_home")

MODULE = """
import collections
import dataclasses
import os
import threading
from os import system as run_alias
from pickle import loads as load_alias

class Plain:
    pass

class Evals:
    def __setstate__(self, state):
        self.value = eval(state["x"])

class Opens(Plain):
    def __setstate__(self, state):
        self._read(state)

    def _read(self, state):
        with open(state["p"]) as file:
            self.x = file.read()

class Thread(threading.Thread):
    pass

class Own:
    def __setstate__(self, state):
        self.__dict__.update(state)

class Imports:
    def __new__(cls, name):
        import importlib
        importlib.import_module(name)
        return super().__new__(cls)

class Later:
    def __setstate__(self, state):
        import subprocess
        self.x = [subprocess.run(one) for one in state]

class Local:
    def __setstate__(self, state):
        self.x = [open for open in state] + list(map(lambda eval: eval, state))

@dataclasses.dataclass(frozen=True)
class Generated:
    x: int

Pair = collections.namedtuple("Pair", "a b")

class Closed:
    __setstate__ = (lambda run: lambda self, state: run(state))(os.system)

class Sourceless:
    pass

exec("def __setstate__(self, state): return state", globals())
Sourceless.__setstate__ = __setstate__

def plain(x):
    return len(x)

def runs(x):
    return _helper(x)

def _helper(x):
    return os.system(x)
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, with a module of a project's own; its modules are never imported in this process."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "acme_audited.py").write_text(MODULE)
    (folder / "acme_dies.py").write_text("import os\nos._exit(7)\n")
    (folder / "acme_fails.py").write_text("print('hello')\nraise SystemExit('no')\n")
    monkeypatch.syspath_prepend(str(folder))
    return folder


def policy_of(tmp_path: Path, *rules: str, extends: str = "") -> Path:
    head = f'name = "acme"\nversion = 1\n{f"extends = [{json.dumps(extends)}]" if extends else ""}\n'
    path = tmp_path / "acme.toml"
    path.write_text(head + "".join(f"[[allow]]\n{rule}\n" for rule in rules))
    return path


def rule(names: str, more: str = "", module: str = "acme_audited", reason: str = "reviewed") -> str:
    return f'module = "{module}"\nnames = {json.dumps(names.split())}\n{more}\nreason = {json.dumps(reason)}\n'


def remarks(policy: Path, **options: Any) -> set[tuple[str, str, tuple[str, ...]]]:
    return {
        (one.code, one.severity, tuple(name.rsplit(".", 1)[1] for name in one.names))
        for one in lint(policy, **options).findings
        if not one.origin.startswith("pack ")
    }


MADE = 'roles = ["new", "state"]'

# ----------------------------------------------------------------------------------------- what packs let happen


@pytest.mark.parametrize("pack", pack_names())
def test_there_is_nothing_to_say_of_the_text_of_a_pack(pack: str) -> None:
    found = lint(pack, environment=False)
    assert (found.findings, found.digest) == ((), safeload.Policy.load(pack).digest)


@pytest.mark.slow
def test_the_packs_have_nothing_but_notes(tmp_path: Path) -> None:
    # In one go: most extend others, whose modules take seconds to be imported.
    (tmp_path / "all.toml").write_text(f'name = "all"\nversion = 1\nextends = {json.dumps(pack_names())}\n')
    found = lint(tmp_path / "all.toml", packs=True)
    assert found.safe
    assert [one for one in found.findings if one.severity != "note"] == []
    assert {one.code for one in found.findings} <= {"SL704", "SL705", "SL706", "SL707"}
    assert {file.origin for file in found.files} > {f"pack {pack}" for pack in pack_names()}
    # Their source is one of the texts that the pack lists.
    reaching = {name for one in found.findings if one.code == "SL704" for name in one.names}
    assert {name for name in reaching if not name.startswith("scipy.stats.")} <= {"joblib.memory.Memory"}


# -------------------------------------------------------------------------------------------- what names are


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rule("Plain", MADE), set()),
        (rule("plain"), set()),
        (rule("run_alias"), {("SL703", "error", ("run_alias",))}),
        (rule("load_alias", 'roles = ["call"]\nargs = [["bytes"]]'), {("SL703", "error", ("load_alias",))}),
        (rule("threading"), {("SL703", "error", ("threading",))}),
        (rule("Thread", 'roles = ["new"]'), {("SL704", "warning", ("Thread",))}),
        (
            rule("Evals", MADE),
            {("SL704", "error", ("Evals",)), ("SL714", "note", ("Evals",))},
        ),
        (
            rule("Opens", MADE),
            {("SL704", "warning", ("Opens",)), ("SL714", "note", ("Opens",))},
        ),
        (rule("Imports", 'roles = ["new"]\nargs = [["str"]]'), {("SL704", "error", ("Imports",))}),
        (rule("Own", MADE), {("SL714", "note", ("Own",))}),
        (rule("Own", MADE + '\nstate = { attributes = { x = "int" } }'), set()),
        (rule("Later", MADE), {("SL704", "error", ("Later",)), ("SL714", "note", ("Later",))}),
        (rule("Local", MADE), {("SL714", "note", ("Local",))}),
        (rule("Generated Pair", 'roles = ["new"]'), set()),
        (rule("Closed", MADE), {("SL704", "error", ("Closed",)), ("SL714", "note", ("Closed",))}),
        (rule("Sourceless", MADE), {("SL704", "warning", ("Sourceless",)), ("SL714", "note", ("Sourceless",))}),
        (rule("runs", 'roles = ["call"]\nargs = [["str"]]'), {("SL704", "error", ("runs",))}),
        (rule("runs"), {("SL704", "warning", ("runs",))}),
        (rule("Gone"), {("SL706", "warning", ("Gone",))}),
        (rule("X", module="acme_nowhere"), {("SL706", "warning", ("X",))}),
        (rule("X", module="acme_dies"), {("SL707", "warning", ("X",))}),
        (rule("X", module="acme_fails"), {("SL707", "warning", ("X",))}),
        (rule("plain", 'roles = ["new"]'), {("SL708", "warning", ("plain",))}),
        (rule("Plain", 'roles = ["new", "items"]'), {("SL708", "warning", ("Plain",))}),
        (rule("LogisticRegression", MADE, "sklearn.linear_model"), {("SL705", "warning", ("LogisticRegression",))}),
    ],
    ids=lambda one: re.sub(r"\s+", " ", one)[:60] if isinstance(one, str) else "",
)
def test_what_names_are_here(acme: Path, tmp_path: Path, text: str, expected: set[Any]) -> None:
    assert remarks(policy_of(tmp_path, text)) == expected
    assert "acme_audited" not in sys.modules


def test_one_module_that_ends_the_process_hides_no_other(acme: Path, tmp_path: Path) -> None:
    policy = policy_of(tmp_path, rule("X", module="acme_dies"), rule("Evals", MADE), rule("plain"))
    found = lint(policy)
    assert {"SL707", "SL704"} <= {one.code for one in found.findings}
    assert found.looked_up == 2
    assert any("ended the process" in one.message for one in found.findings)


def test_nothing_is_imported_when_not_wanted(acme: Path, tmp_path: Path, run: Callable[..., Outcome]) -> None:
    (acme / "acme_leaves_a_trace.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n")
    policy = policy_of(tmp_path, rule("X", module="acme_leaves_a_trace"))
    assert run("audit", "--policy", policy, "--no-import").code == ALLOWED
    assert not (tmp_path / "imported").exists()
    assert run("audit", "--policy", policy).code == ALLOWED
    assert (tmp_path / "imported").exists()


# --------------------------------------------------------------------------------------------- what rules say


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([rule("a", MADE), rule("a b", 'roles = ["new"]')], {("SL709", "warning", ("a",))}),
        ([rule("a", MADE), rule("a", 'roles = ["new", "state", "import"]')], set()),
        ([rule("len", module="builtins")], {("SL709", "warning", ("len",))}),
        ([rule("a", 'roles = ["state"]')], {("SL708", "warning", ("a",))}),
        ([rule("a", 'roles = ["state"]'), rule("a", 'roles = ["call"]\nargs = [[]]')], set()),
        ([rule("a", reason="")], {("SL710", "warning", ("a",))}),
        ([rule("a", reason="TODO: look")], {("SL710", "warning", ("a",))}),
        ([rule("a", 'roles = ["call"]\nargs = [["any", "any"]]')], {("SL712", "warning", ("a",))}),
        ([rule("a", 'roles = ["call"]\nargs = [["any", "int"], []]')], set()),
        ([rule("a", MADE + '\nstate = "dict"')], {("SL711", "warning", ("a",))}),
        ([rule("a", MADE + '\nstate = { tuple = ["none", "dict"] }')], {("SL711", "warning", ("a",))}),
        ([rule("a", MADE + '\nstate = { any_of = ["slots", "any"] }')], {("SL711", "warning", ("a",))}),
        ([rule("a", MADE + '\nstate = "slots"')], set()),
    ],
)
def test_what_rules_say(tmp_path: Path, rules: list[str], expected: set[Any]) -> None:
    assert remarks(policy_of(tmp_path, *rules, extends="core"), environment=False) == expected


def test_days(tmp_path: Path, run: Callable[..., Outcome]) -> None:
    today = datetime.now(UTC).date()
    soon, late, past = (today + timedelta(days=days) for days in (5, 90, -1))
    expires = f'roles = ["import"]\nexpires = {soon}'
    assert remarks(policy_of(tmp_path, rule("a", expires)), environment=False) == {("SL713", "warning", ("a",))}
    expires = f'roles = ["import"]\nexpires = {late}'
    assert remarks(policy_of(tmp_path, rule("a", expires)), environment=False) == set()
    expired = policy_of(tmp_path, rule("b"), rule("a", f'roles = ["import"]\nexpires = {past}'))
    outcome = run("audit", "--policy", expired, "--no-import", "--format", "json")
    assert outcome.code == REFUSED
    (finding,) = outcome.document["results"][0]["findings"]
    assert (finding["code"], finding["line"]) == ("SL702", 10)
    assert outcome.document["policy"]["digest"] is None


def test_all_rules_that_are_not_valid_are_named(tmp_path: Path, run: Callable[..., Outcome]) -> None:
    policy = policy_of(
        tmp_path, rule("system", module="os"), rule("ok"), rule("x*"), rule("y", 'roles = ["fly"]'), extends="core"
    )
    outcome = run("audit", "--policy", policy, "--no-import", "--format", "json")
    assert outcome.code == REFUSED
    found = {one["path"]: one for one in outcome.document["results"]}
    assert found["pack core"]["verdict"] == "allowed"
    mine = found[str(policy)]
    assert mine["verdict"] == "refused"
    assert [(one["code"], one["line"]) for one in mine["findings"]] == [("SL701", 4), ("SL701", 16), ("SL701", 22)]
    assert not outcome.document["policy"]["safe"]
    # And nothing is ever loaded under what is left of it.
    assert run("scan", policy, "--policy", policy).code == ERROR


def test_a_policy_audit_in_every_format(acme: Path, tmp_path: Path, run: Callable[..., Outcome]) -> None:
    from xml.etree import ElementTree as ET

    policy = policy_of(tmp_path, rule("run_alias"), rule("Opens", MADE, reason=""))
    text = run("audit", "--policy", policy)
    assert text.code == REFUSED
    lines = text.out.splitlines()
    positions = [lines.index(title) for title in ("1 error", "2 warnings", "1 note")]
    assert positions == sorted(positions)
    assert "NOT SAFE" in lines[-1]
    assert f"{policy}, line 4" in text.out
    sarif = run("audit", "--policy", policy, "--format", "sarif").document
    levels = {(one["ruleId"], one["level"]) for one in sarif["runs"][0]["results"]}
    assert levels == {("SL703", "error"), ("SL704", "warning"), ("SL710", "warning"), ("SL714", "note")}
    assert sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 4}
    junit = ET.fromstring(run("audit", "--policy", policy, "--format", "junit").out)
    assert junit.get("failures") == "1"
    page = run("audit", "--policy", policy, "--format", "html").out
    assert "posix.system" in page
    quiet = run("audit", "--policy", policy, "--quiet")
    assert "SL714" not in quiet.out
    assert "SL703" in quiet.out


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_table_fits_the_terminal(acme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    policy = policy_of(tmp_path, rule("run_alias"), rule("Opens", MADE), extends="core")
    monkeypatch.chdir(tmp_path)
    search = os.pathsep.join(filter(None, [str(acme), os.environ.get("PYTHONPATH")]))
    code, shown = run_on_terminal(
        "audit", "--policy", "acme.toml", "--no-import", columns=columns, NO_COLOR="1", PYTHONPATH=search
    )
    assert code == ALLOWED
    assert policy.exists()
    lines = shown.decode().replace("\r", "").split("\n")
    assert max(map(len, lines)) <= columns
    assert b"\x1b" not in shown


# --------------------------------------------------------------------------------------------------- artifacts


class Custom(StandardScaler):  # type: ignore[misc]  # scikit-learn has no types
    pass


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    joblib.dump(StandardScaler().fit([[1.0], [2.0]]), folder / "scaler.joblib")
    joblib.dump(LogisticRegression().fit([[1.0], [2.0]], [0, 1]), folder / "linear.joblib.gz")
    return folder


def test_what_artifacts_need(run: Callable[..., Outcome], models: Path, tmp_path: Path) -> None:
    joblib.dump(Custom(), models / "custom.joblib")
    policy = policy_of(
        tmp_path, rule("Custom", MADE, __name__), rule("Idle Custom", module=__name__), extends="sklearn"
    )
    outcome = run("audit", models, "--policy", policy, "--format", "json")
    assert outcome.code == ALLOWED
    files = {file["origin"]: file for file in outcome.document["needs"]["files"]}
    assert files[str(policy)] == {
        "origin": str(policy),
        "rules": 2,
        "rules_needed": 1,
        "names": 3,
        "names_needed": 1,
    }
    assert 0 < files["pack sklearn"]["names_needed"] < 10
    idle = [one for one in outcome.document["needs"]["unneeded"] if one["where"].startswith(str(policy))]
    assert idle == [
        {"where": f"{policy}, line 10", "module": __name__, "names": ["Idle", "Custom"], "whole": True},
    ]
    text = run("audit", models, "--policy", policy).out
    assert "what none of them needs" in text
    assert f"{__name__}.Idle" in text


def test_the_minimal_policy_allows_these_and_nothing_else(
    run: Callable[..., Outcome], models: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small.toml"
    assert run("audit", models, "--minimal", small).code == ALLOWED
    assert run("policy", "check", small).code == ALLOWED
    assert run("scan", models, "--policy", small).code == ALLOWED
    policy = safeload.Policy.load(small)
    assert "sklearn.linear_model._logistic.LogisticRegression" in policy
    assert "sklearn.svm._classes.SVC" not in policy
    # Every rule of it is needed: without any one, an artifact is refused.
    for index in range(len(policy.rules)):
        blocks = re.split(r"(?m)^(?=\[\[allow\]\])", small.read_text())
        del blocks[1 + index]
        less = tmp_path / "less.toml"
        less.write_text("".join(blocks))
        assert run("scan", models, "--policy", less).code == REFUSED, policy.rules[index]
    comparison = run("policy", "diff", "sklearn", small, "--format", "json").document
    assert not comparison["widened"]
    again = run("audit", models, "--minimal", small)
    assert again.code == ERROR
    assert "exists already" in again.err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_minimal_policies_of_every_stock_estimator(tmp_path: Path) -> None:
    """Each estimator unfitted: what the minimal policy keeps of constraints and roles is enough."""
    from sklearn.utils import all_estimators

    from safeload.audit import look_at, minimal_policy

    policy = safeload.Policy.load("sklearn")
    reports = []
    for name, kind in all_estimators():
        try:
            held = kind()
        except TypeError:
            continue
        joblib.dump(held, tmp_path / f"{name}.joblib")
        reports.append(look_at(str(tmp_path / f"{name}.joblib"), policy).report)
    assert all(report.allowed for report in reports)
    for report in reports:
        assert minimal_policy(policy, [report], name="one")
    assert minimal_policy(policy, reports, name="all")


def test_refused_artifacts_need_nothing(run: Callable[..., Outcome], models: Path, tmp_path: Path) -> None:
    (models / "evil.pkl").write_bytes(pickle.dumps([StandardScaler(), Evil(), {1: len}]))
    outcome = run("audit", models, "--format", "json", "--minimal", tmp_path / "small.toml")
    assert outcome.code == REFUSED
    assert "builtins.len" not in safeload.Policy.load(tmp_path / "small.toml")
    verdicts = {Path(one["path"]).name: one["verdict"] for one in outcome.document["results"]}
    assert verdicts == {"evil.pkl": "refused", "linear.joblib.gz": "allowed", "scaler.joblib": "allowed"}
    (tmp_path / "alone").mkdir()
    (models / "evil.pkl").rename(tmp_path / "alone" / "evil.pkl")
    nothing = run("audit", tmp_path / "alone", "--minimal", tmp_path / "none.toml")
    assert nothing.code == ERROR
    assert not (tmp_path / "none.toml").exists()


def test_against_a_proposed_policy(run: Callable[..., Outcome], models: Path, tmp_path: Path) -> None:
    joblib.dump(Custom(), models / "custom.joblib")
    wider = policy_of(tmp_path, rule("Custom", MADE, __name__), extends="sklearn")
    outcome = run("audit", models, "--against", wider, "--format", "json")
    assert outcome.code == ALLOWED  # of the proposal
    assert outcome.document["against"]["newly_allowed"] == [str(models / "custom.joblib")]
    assert outcome.document["against"]["broken"] == []
    outcome = run("audit", models, "--policy", wider, "--against", "core", "--format", "json")
    assert outcome.code == REFUSED
    assert len(outcome.document["against"]["broken"]) == 3
    text = run("audit", models, "--policy", wider, "--against", "sklearn")
    assert text.code == REFUSED
    assert re.search(r"broken  \S+custom.joblib\n    SL401 ", text.out)
    assert "no verdict would change" in run("audit", models / "scaler.joblib", "--against", wider).out
    assert run("audit", models, "--against", "nosuch").code == ERROR


def test_versions_that_wrote_them(run: Callable[..., Outcome], models: Path, tmp_path: Path) -> None:
    key = safeload.SigningKey.generate()
    ring = tmp_path / "ring.toml"
    safeload.Keyring.from_keys([key]).save(ring)
    path = models / "scaler.joblib"
    assert "wrote it" not in run("audit", models).out
    manifest = safeload.sign(path, key=key)
    written = replace(manifest.producer, packages={"scikit-learn": "1.2.3", "no-such-package": "1"})
    manifest_path(path).write_bytes(seal(replace(manifest, producer=written), [key]))
    outcome = run("audit", models, "--keyring", ring)
    assert outcome.code == ALLOWED
    assert "scikit-learn 1.2.3 wrote it" in outcome.out
    assert "no-such-package 1 wrote it, none is installed" in outcome.out
    # Unsigned, or signed by nobody who is trusted: then only the estimator's own word.
    assert "1.2.3" not in run("audit", models).out
    safeload.Keyring.from_keys([safeload.SigningKey.generate()]).save(tmp_path / "other.toml")
    unsigned = run("audit", models, "--keyring", ring).out
    assert "note it is not signed, so no manifest says which versions wrote it" in unsigned
    other = run("audit", path, "--keyring", tmp_path / "other.toml")
    assert "1.2.3" not in other.out
    assert "cannot read from its manifest which versions wrote it" in other.out
    old = StandardScaler()
    old.__dict__["_sklearn_version"] = "0.9.1"
    data = pickle.dumps(StandardScaler(), protocol=2)
    import sklearn

    version = sklearn.__version__.encode()
    assert version in data
    told = b"X\x05\x00\x00\x000.9.1"
    data = data.replace(b"X" + len(version).to_bytes(4, "little") + version, told)
    (models / "old.pkl").write_bytes(data)
    assert "scikit-learn 0.9.1 wrote it" in run("audit", models / "old.pkl").out


@pytest.mark.parametrize("layout", ["json", "sarif", "junit", "html"])
def test_several_processes_audit_alike(models: Path, layout: str) -> None:
    (models / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    arguments = ("audit", models, models / "missing.pkl", "--against", "core", "--format", layout)
    one, two = command(*arguments), command(*arguments, "--jobs", "2")
    assert (one.returncode, one.stdout) == (two.returncode, two.stdout)
    assert one.returncode == REFUSED
    assert "there is no such file" in one.stderr


def test_bad_input(run: Callable[..., Outcome], models: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run("audit", tmp_path / "empty").code == NOTHING
    assert run("audit", tmp_path / "missing").code == ERROR
    assert run("audit", "--policy", tmp_path / "missing.toml").code == ERROR
    assert run("audit", "--policy", tmp_path).code == ERROR
    assert run("audit", models, "--policy", "nosuch").code == ERROR
    assert run("audit", models, "--no-import").code == USAGE
    assert run("audit", "--against", "core").code == USAGE
    assert run("audit", "--minimal", tmp_path / "x.toml").code == USAGE
    broken = tmp_path / "broken.toml"
    broken.write_text("name =")
    outcome = run("audit", "--policy", broken)
    assert (outcome.code, outcome.out) == (ERROR, "")
    assert "not valid TOML" in outcome.err
    assert run("audit", "--policy", broken, "-o", broken).code == USAGE


def test_an_audit_of_artifacts_imports_nothing_of_them(models: Path) -> None:
    joblib.dump(Custom(), models / "custom.joblib")
    code = (
        "import sys\nfrom safeload._cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print([name for name in sys.modules if name.startswith(('sklearn', 'test_audit'))])"
    )
    done = subprocess.run([sys.executable, "-c", code, "audit", str(models)], capture_output=True, text=True)
    assert done.returncode == REFUSED
    assert done.stdout.rstrip().endswith("[]")


def test_strict_fails_on_warnings(tmp_path: Path, run: Callable[..., Outcome]) -> None:
    policy = policy_of(tmp_path, rule("a", reason=""))
    assert run("audit", "--policy", policy, "--no-import").code == ALLOWED
    assert run("audit", "--policy", policy, "--no-import", "--strict").code == REFUSED
    assert run("audit", "--policy", policy_of(tmp_path, rule("a")), "--no-import", "--strict").code == ALLOWED
    assert run("audit", tmp_path, "--packs").code == USAGE
