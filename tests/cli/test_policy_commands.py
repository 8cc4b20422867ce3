"""policy learn, check, show, diff and explain: from a refused artifact to a reviewed policy, without unpickling."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tomllib
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import joblib
import pytest
import scipy.special
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from safeload import Policy
from safeload.policy import pack_names
from support.cli_runs import ALLOWED, ERROR, NOTHING, REFUSED, USAGE, Outcome, command

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("own_home")
HERE = __name__


class Ratio(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    def fit(self, rows: Any, labels: Any = None) -> Ratio:
        return self

    def transform(self, rows: Any) -> Any:
        return rows


class Clip(Ratio):
    pass


class Slotted:
    __slots__ = ("a",)

    def __init__(self) -> None:
        self.a = 1

    def __getstate__(self) -> Any:
        return None, {"a": self.a}


class Made:
    def __new__(cls, *args: Any) -> Self:
        return super().__new__(cls)

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __getnewargs__(self) -> Any:
        return self.args


class Reduced:
    def __init__(self, *args: Any) -> None:
        self.args = args

    def __reduce__(self) -> Any:
        return Reduced, self.args


def helper(rows: Any) -> Any:
    return rows


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch evil-ran",)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    joblib.dump(make_pipeline(StandardScaler(), Ratio(), Clip(), FunctionTransformer(helper)), folder / "a.joblib")
    joblib.dump([Slotted(), Made(1), Made(), Made("a", 2), Reduced(3), Reduced("x")], folder / "b.joblib")
    return folder


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# --------------------------------------------------------------------------------------------------- learn


def test_what_is_learned_allows_what_it_was_learned_from(
    run: Callable[..., Outcome], models: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "acme.toml"
    assert run("scan", models).code == REFUSED
    outcome = run("policy", "learn", models, "-o", policy)
    assert (outcome.code, outcome.out) == (ALLOWED, "")
    assert run("scan", models, "--policy", policy).code == ALLOWED
    learned = tomllib.loads(policy.read_text())
    assert (learned["name"], learned["extends"]) == ("acme", ["sklearn"])
    rules = {name: rule for rule in learned["allow"] for name in rule["names"]}
    assert {rule["module"] for rule in rules.values()} == {HERE}
    assert set(rules) == {"Ratio", "Clip", "Slotted", "Made", "Reduced", "helper"}
    assert rules["Ratio"]["names"] == ["Clip", "Ratio"]
    assert rules["Ratio"]["roles"] == ["new", "state"]
    assert "args" not in rules["Ratio"]
    assert rules["helper"]["roles"] == ["import"]
    assert rules["Reduced"]["args"] == [["int"], ["str"]]
    assert sorted(rules["Made"]["args"]) == [[], ["int"], ["str", "int"]]
    assert rules["Slotted"]["state"] == "slots"
    assert all(rule["reason"].startswith("TODO") for rule in learned["allow"])


def test_what_a_pack_allows_is_left_to_the_pack(run: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "a.joblib"
    joblib.dump(FunctionTransformer(scipy.special.softmax), path)
    policy = tmp_path / "acme.toml"
    outcome = run("policy", "learn", path, "-o", policy)
    assert (outcome.code, outcome.out) == (ALLOWED, "")
    learned = tomllib.loads(policy.read_text())
    assert learned["extends"] == ["sklearn", "callables"]
    assert "allow" not in learned
    assert run("scan", path, "--policy", policy).code == ALLOWED


def test_rules_are_learned_only_for_the_rest(run: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "a.joblib"
    joblib.dump([FunctionTransformer(scipy.special.softmax), Clip()], path)
    policy = tmp_path / "acme.toml"
    assert run("policy", "learn", path, "-o", policy).code == ALLOWED
    learned = tomllib.loads(policy.read_text())
    assert learned["extends"] == ["sklearn", "callables"]
    assert [rule["names"] for rule in learned["allow"]] == [["Clip"]]
    assert run("scan", path, "--policy", policy).code == ALLOWED


def test_explain_names_the_pack_that_has_it(run: Callable[..., Outcome]) -> None:
    outcome = run("policy", "explain", "pandas.core.frame.DataFrame")
    assert outcome.code == REFUSED
    assert "The shipped pack pandas allows it: --policy sklearn,pandas " in outcome.out
    assert "[[allow]]" not in outcome.out


def test_what_is_learned_is_no_wider_than_what_was_seen(
    run: Callable[..., Outcome], models: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "acme.toml"
    run("policy", "learn", models, "-o", policy)
    for name, held in (
        ("call", Reduced([1])),
        ("new", Made([1])),
        ("role", [helper, Ratio]),
        ("other", [Evil]),
    ):
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(pickle.dumps(held))
        assert run("scan", path, "--policy", policy).code == REFUSED, name


def test_check_asks_for_the_reasons_that_are_still_to_be_written(
    run: Callable[..., Outcome], models: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "acme.toml"
    run("policy", "learn", models, "-o", policy)
    outcome = run("policy", "check", policy)
    assert outcome.code == ALLOWED
    lines = [number for number, line in enumerate(policy.read_text().splitlines(), 1) if line == "[[allow]]"]
    for line in lines:
        assert f"{policy}, line {line}: no reason yet" in outcome.err
    reviewed = "".join(
        'reason = "reviewed 2026-11"\n' if line.startswith("reason") else f"{line}\n"
        for line in policy.read_text().splitlines()
    )
    policy.write_text(reviewed)
    assert run("policy", "check", policy).err == ""


def test_learning_never_overwrites(run: Callable[..., Outcome], models: Path, tmp_path: Path) -> None:
    policy = write(tmp_path / "acme.toml", "precious")
    outcome = run("policy", "learn", models, "-o", policy)
    assert outcome.code == ERROR
    assert "exists already" in outcome.err
    assert policy.read_text() == "precious"
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "nowhere")
    assert run("policy", "learn", models, "-o", link).code == ERROR
    assert not (tmp_path / "nowhere").exists()


def test_the_floor_is_never_learned_nor_anything_beside_it(
    run: Callable[..., Outcome], models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps([Ratio(), Evil()]))
    outcome = run("policy", "learn", "evil.pkl")
    assert (outcome.code, outcome.out) == (REFUSED, "")
    assert "SL405" in outcome.err
    assert "posix.system" in outcome.err
    (models / "evil.pkl").write_bytes(pickle.dumps([Evil(), Made(1), print]))
    outcome = run("policy", "learn", models)
    assert outcome.code == REFUSED
    assert "system" not in outcome.out
    assert "print" not in outcome.out
    assert "Ratio" in outcome.out
    assert not (tmp_path / "evil-ran").exists()


def test_other_forms_of_what_a_pack_constrains_are_not_learned(run: Callable[..., Outcome], tmp_path: Path) -> None:
    from collections import defaultdict

    path = tmp_path / "default.pkl"
    path.write_bytes(pickle.dumps([defaultdict(helper), Clip()]))  # type: ignore[arg-type]
    outcome = run("policy", "learn", path)
    assert outcome.code == REFUSED
    assert "SL403" in outcome.err
    assert "collections" not in outcome.out
    assert "Clip" in outcome.out


def test_learning_on_a_file_names_it_by_where_it_is_from_there(
    run: Callable[..., Outcome], models: Path, tmp_path: Path
) -> None:
    (tmp_path / "deep").mkdir()
    first = tmp_path / "first.toml"
    assert run("policy", "learn", models / "a.joblib", "-o", first).code == ALLOWED
    second = tmp_path / "deep" / "second.toml"
    assert run("policy", "learn", models / "b.joblib", "--on", first, "-o", second).code == ALLOWED
    assert tomllib.loads(second.read_text())["extends"] == ["../first.toml"]
    assert run("scan", models, "--policy", second).code == ALLOWED


def test_nothing_to_learn(run: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps([1]))
    (tmp_path / "empty").mkdir()
    outcome = run("policy", "learn", tmp_path / "plain.pkl", "-o", tmp_path / "p.toml")
    assert outcome.code == ALLOWED
    assert "allows it already" in outcome.err
    assert not (tmp_path / "p.toml").exists()
    assert run("policy", "learn", tmp_path / "empty").code == NOTHING
    assert run("policy", "learn", tmp_path / "missing.pkl").code == ERROR
    assert run("policy", "learn", tmp_path / "plain.pkl", "--on", "nosuch").code == ERROR
    assert run("policy", "learn", tmp_path / "plain.pkl", "-o", tmp_path / "no" / "folder.toml").code == ALLOWED
    assert run("policy", "learn").code == USAGE


def test_what_cannot_be_written_is_said(run: Callable[..., Outcome], models: Path, tmp_path: Path) -> None:
    outcome = run("policy", "learn", models, "-o", tmp_path / "no" / "folder.toml")
    assert outcome.code == ERROR
    assert "cannot write the policy" in outcome.err


@pytest.mark.parametrize("arguments", [["policy", "learn", "-o"], ["audit", "--minimal"]], ids=" ".join)
def test_a_full_disk_leaves_no_half_of_a_policy(models: Path, tmp_path: Path, arguments: list[str]) -> None:
    target = tmp_path / "half.toml"
    (models / "plain.pkl").write_bytes(pickle.dumps(OrderedDict(a=1)))  # which a rule of the pack allows
    words = [sys.executable, "-m", "safeload", *arguments, str(target), str(models)]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 0; exec "$@"', "bash", *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "cannot write the policy" in done.stderr) == (ERROR, True)
    assert not target.exists()


def test_learning_imports_nothing_of_the_artifact(models: Path) -> None:
    code = (
        "import sys\n"
        "from safeload._cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    print([name for name in sys.modules if name.startswith(('sklearn', 'test_policy'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "policy", "learn", str(models)], capture_output=True, text=True, check=False
    )
    assert done.returncode == ALLOWED
    assert done.stdout.rstrip().endswith("[]")


# ---------------------------------------------------------------------------------------------------- show


@pytest.mark.parametrize("pack", pack_names())
def test_every_pack_is_shown_as_a_policy_that_loads_to_the_same(
    run: Callable[..., Outcome], tmp_path: Path, pack: str
) -> None:
    outcome = run("policy", "show", pack)
    assert outcome.code == ALLOWED
    shown = Policy.load(write(tmp_path / "shown.toml", outcome.out))
    packed = Policy.load(pack)
    assert shown.digest == packed.digest
    assert [rule.reason for rule in shown.rules] == [rule.reason for rule in packed.rules]


# ---------------------------------------------------------------------------------------------------- diff

BASE = 'name = "a"\nversion = 1\n[[allow]]\nmodule = "acme"\nnames = ["f", "g"]\nroles = ["call"]\nargs = [["int"]]\n'


def test_show_and_check_speak_json(run: Callable[..., Outcome], tmp_path: Path) -> None:
    text = (
        'name = "acme"\nversion = 1\nextends = ["core"]\n[[allow]]\nmodule = "acme.x"\nnames = ["A", "B"]\n'
        'roles = ["call"]\nargs = [["int"]]\nexpires = 2999-01-01\n[limits]\nmax_opcodes = 7000000\n'
    )
    path = write(tmp_path / "acme.toml", text)
    shown = run("policy", "show", path, "--format", "json")
    policy = Policy.load(path)
    assert (shown.code, shown.document["policy"]) == (ALLOWED, {"name": "acme", "digest": policy.digest})
    assert shown.document["limits"] == {"max_opcodes": 7_000_000}
    assert len(shown.document["rules"]) == len(policy.rules)
    assert shown.document["rules"][-1] == {
        "where": f"{path}, line 4", "module": "acme.x", "names": ["A", "B"], "roles": ["call"], "args": [["int"]],
        "state": None, "events": [], "unchecked": "", "held_by": [], "check": None, "makes": None, "reason": "",
        "expires": "2999-01-01"}  # fmt: skip
    checked = run("policy", "check", path, "--format", "json")
    assert (checked.code, checked.document["valid"], checked.document["rules"]) == (ALLOWED, True, len(policy.rules))
    assert checked.document["without_reason"] == [f"{path}, line 4"]
    report = tmp_path / "report.json"
    broken = write(tmp_path / "broken.toml", text.replace("roles", "rolse"))
    done = run("policy", "check", broken, "--format", "json", "-o", report)
    assert (done.code, done.out, "rolse" in done.err) == (ERROR, "", True)
    found = json.loads(report.read_text())
    assert (found["command"], found["valid"], "line 4" in found["error"]) == ("policy check", False, True)
    assert run("policy", "check", path, "--quiet") == Outcome(ALLOWED, "", "")
    assert run("policy", "show", path, "-o", path).code == USAGE  # not over the policy itself


def test_diff_says_what_became_allowed_and_what_no_longer_is(run: Callable[..., Outcome], tmp_path: Path) -> None:
    before = write(tmp_path / "a.toml", BASE + "[limits]\nmax_opcodes = 1000\n")
    after = write(
        tmp_path / "b.toml",
        'name = "b"\nversion = 1\n'
        '[[allow]]\nmodule = "acme"\nnames = ["f"]\nroles = ["call", "import"]\nargs = [["int"], ["str", "any"]]\n'
        '[[allow]]\nmodule = "acme"\nnames = ["C"]\nroles = ["new", "state"]\nstate = "dict"\n'
        "[limits]\nmax_opcodes = 2000\n",
    )
    document = run("policy", "diff", before, after, "--format", "json").document
    assert document["changes"] == [
        {"global": "acme.C", "kind": "added", "gained": ["new", 'state "dict"'], "lost": []},
        {"global": "acme.f", "kind": "changed", "gained": ['call ("str", "any")', "import"], "lost": []},
        {"global": "acme.g", "kind": "removed", "gained": [], "lost": ['call ("int")']},
    ]
    assert document["limits"] == [{"limit": "max_opcodes", "before": 1000, "after": 2000}]
    text = run("policy", "diff", before, after)
    assert text.code == ALLOWED
    for line in (
        "became allowed: 1 global",
        "  acme.C",
        "      + new",
        "no longer allowed: 1 global",
        "changed: 1 global",
    ):
        assert line in text.out.splitlines()
    assert "max_opcodes: 1000 to 2000" in text.out


def test_diff_can_gate_what_is_wider(run: Callable[..., Outcome], tmp_path: Path) -> None:
    narrow = write(tmp_path / "a.toml", BASE)
    wide = write(tmp_path / "b.toml", BASE + '[[allow]]\nmodule = "acme"\nnames = ["h"]\n')
    assert run("policy", "diff", narrow, wide, "--exit-code").code == REFUSED
    assert run("policy", "diff", wide, narrow, "--exit-code").code == ALLOWED
    same = run("policy", "diff", wide, wide, "--exit-code")
    assert same.code == ALLOWED
    assert "no difference" in same.out
    limited = write(tmp_path / "c.toml", BASE + "[limits]\nmax_opcodes = 10\n")
    assert run("policy", "diff", limited, narrow, "--exit-code").code == REFUSED
    assert run("policy", "diff", narrow, tmp_path / "missing.toml").code == ERROR


# ------------------------------------------------------------------------------------------------- explain


def test_explain_what_is_allowed(run: Callable[..., Outcome]) -> None:
    outcome = run("policy", "explain", "collections.Counter")
    assert outcome.code == ALLOWED
    assert "pack core, line" in outcome.out
    assert '({ dict_of = ["any", "number"] })' in outcome.out
    document = run("policy", "explain", "sklearn.svm._classes.SVC", "--format", "json").document
    assert document["verdict"] == "allowed"
    (rule,) = document["rules"]
    assert rule["roles"] == ["new", "state"]
    assert rule["reason"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("os.system", "it runs code or commands"),
        ("builtins.setattr", "no policy can allow it"),
        ("acme.features.Clipper", 'module = "acme.features"'),
        ("sklearn.svm.SVC", "sklearn.svm._classes.SVC"),
        ("__builtin__.set", "builtins.set"),
        ("sklearn.*", "no wildcards"),
        ("SVC", "a module and a plain name"),
        ("\x1b[31m.x", "\\x1b[31m.x"),
    ],
)
def test_explain_what_is_not(run: Callable[..., Outcome], name: str, says: str) -> None:
    outcome = run("policy", "explain", name)
    assert outcome.code == REFUSED
    assert says in outcome.out
    assert "\x1b" not in outcome.out


def test_the_rule_that_explain_suggests_is_one(run: Callable[..., Outcome], tmp_path: Path) -> None:
    document = run("policy", "explain", f"{HERE}.Clip", "--format", "json").document
    policy = write(tmp_path / "p.toml", f'name = "p"\nversion = 1\nextends = ["sklearn"]\n{document["suggestion"]}\n')
    (tmp_path / "clip.pkl").write_bytes(pickle.dumps(Clip()))
    assert run("scan", tmp_path / "clip.pkl", "--policy", policy).code == ALLOWED
    explained = run("policy", "explain", f"{HERE}.Clip", "--policy", policy)
    assert explained.code == ALLOWED
    assert f"{policy}, line 4" in explained.out


# ----------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("arguments", [["check"], ["show"], ["diff", "core"], ["explain", "a.b", "--policy"]])
def test_policies_that_cannot_be_used(run: Callable[..., Outcome], tmp_path: Path, arguments: list[str]) -> None:
    invalid = write(tmp_path / "bad.toml", 'name = "x"\nversion = 1\n[[allow]]\nmodule = "os"\nnames = ["system"]\n')
    broken = write(tmp_path / "broken.toml", "name = \n")
    for path, says in (
        (invalid, f"{invalid}, line 3: no policy can allow os.system"),
        (broken, "not valid TOML"),
        (tmp_path / "missing.toml", "cannot be read"),
        (tmp_path, "cannot be read"),
        ("nosuch", "there is no policy pack"),
    ):
        outcome = run("policy", *arguments, path)
        assert (outcome.code, outcome.out) == (ERROR, "")
        assert says in outcome.err
        assert all(line.startswith("  ") for line in outcome.err.splitlines()[1:]), outcome.err


def test_a_file_that_is_named_like_a_pack_is_shown_and_not_taken(
    run: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "acme.toml", 'name = "acme"\nversion = 1\nextends = ["core"]\n')
    for name, says in (
        ("acme", "For a file, write its path: ./acme.toml\n"),
        ("other", "For a file, write its path: ./other\n"),
        ("./acme", "There is acme.toml: use that path.\n"),
        ("", "the name of the policy is empty"),
        (".", "Is a directory"),
    ):
        outcome = run("policy", "check", name)
        assert (outcome.code, outcome.out, says in outcome.err) == (ERROR, "", True), name
    assert run("policy", "check", "./acme.toml").code == ALLOWED


def test_a_reader_who_leaves_is_no_error(models: Path) -> None:
    for arguments in (["show"], ["diff", "core", "sklearn"]):
        words = " ".join(f"'{one}'" for one in (sys.executable, "-m", "safeload", "policy", *arguments))
        done = subprocess.run(
            ["bash", "-c", f"{words} | head -1; exit ${{PIPESTATUS[0]}}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == ALLOWED
        assert done.stderr == ""
        assert done.stdout.count("\n") == 1


def test_as_a_process(models: Path) -> None:
    done = command("policy", "learn", models, "--name", "shop")
    assert done.returncode == ALLOWED
    assert 'name = "shop"' in done.stdout
    assert "review these 6 names" in done.stderr
