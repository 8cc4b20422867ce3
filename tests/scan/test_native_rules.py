"""Rules that name native checks: what they are held to, and that no policy gets around those of the packs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from pickles.opcodes import build, call, codes, glob, new, stream
from safeload._scan import CHECKS, OWN
from safeload._scan.native.structures import BOUND
from safeload.audit._compare import compare
from safeload.errors import PolicyFileError
from safeload.policy import Policy, pack_distributions, pack_names, policy_text
from safeload.policy._packs import _NATIVE, native_of_packs, read_pack
from support.places import PACKAGE, ROOT

HEAD = 'name = "acme"\nversion = 1\n'
SCANNER = PACKAGE / "_scan"


def rule(module: str, names: str, more: str, roles: str = '["new", "state"]') -> str:
    return f'[[allow]]\nmodule = "{module}"\nnames = ["{names}"]\nroles = {roles}\n{more}\n'


FOREST = build(new(glob("acme.forests", "Forest")), {"estimators_": [], "n_features_in_": 2})
FORGED = build(new(glob("acme.forests", "Forest")), {"estimators_": ["no tree"], "n_features_in_": 2})


def test_a_pack_of_a_new_library_needs_only_its_toml(tmp_path: Path) -> None:
    """The whole walk beside a model and a row in the docs: a TOML that names the check, and the scanner applies it."""
    pack = 'distribution = "acme-forests"\nimports = "acme"\n'
    checked = tmp_path / "acme.toml"
    checked.write_text(HEAD + pack + rule("acme.forests", "Forest", 'check = "forest"'))
    assert codes(stream(FOREST), checked) == []
    assert codes(stream(FORGED), checked) == ["SL326"]
    unchecked = Policy.from_text(HEAD + rule("acme.forests", "Forest", ""))
    assert codes(stream(FORGED), unchecked) == []


def test_a_policy_keeps_what_it_says_of_checks_when_it_is_written_again() -> None:
    policy = Policy.from_text(HEAD + rule("acme.forests", "Forest", 'check = "forest"\nmakes = "function"'))
    again = Policy.from_text(policy_text("acme", policy.rules, {}))
    assert again.native("acme.forests.Forest") == ("forest", True)
    assert again.digest == policy.digest
    assert again.digest != Policy.from_text(HEAD + rule("acme.forests", "Forest", 'check = "forest"')).digest


@pytest.mark.parametrize(
    ("more", "module", "message"),
    [
        ('check = "forrest"', "acme.forests", "unknown check 'forrest'. Use one of the checks arrow-array, "),
        ("check = true", "acme.forests", "unknown check True"),
        ('check = ["forest"]', "acme.forests", "unknown check"),
        ('check = ""', "acme.forests", "unknown check ''"),
        ('makes = "functions"', "acme.forests", "makes cannot be 'functions'"),
        ('check = "forest"', "sklearn.tree._classes", "check cannot be set for sklearn"),
        ('check = "forest"', "collections", "check cannot be set for collections"),
        ('makes = "function"', "numpy", "makes cannot be set for numpy"),
    ],
)
def test_a_check_that_cannot_be_is_an_error(more: str, module: str, message: str) -> None:
    with pytest.raises(PolicyFileError, match=re.escape(message)):
        Policy.from_text(HEAD + rule(module, "Thing", more))


def test_a_check_belongs_to_what_makes_instances() -> None:
    with pytest.raises(PolicyFileError, match="one of the roles call and new"):
        Policy.from_text(HEAD + rule("acme.forests", "Forest", 'check = "forest"', '["import"]'))


@pytest.mark.parametrize("key", ["distribution", "imports"])
@pytest.mark.parametrize("said", ["3", '""', '"two words"', '["pandas"]'])
def test_a_distribution_is_one_name(key: str, said: str) -> None:
    with pytest.raises(PolicyFileError, match=f"{key} must be the name of one package"):
        Policy.from_text(HEAD + f"{key} = {said}\n" + rule("acme.forests", "Forest", ""))


def test_a_second_check_for_a_class_is_an_error() -> None:
    with pytest.raises(PolicyFileError, match="already has the check 'forest'"):
        Policy.from_text(
            HEAD
            + rule("acme.forests", "Forest", 'check = "forest"')
            + rule("acme.forests", "Forest", 'check = "centers"')
        )
    with pytest.raises(PolicyFileError, match="already has the check 'arrow-stream'"):
        Policy.from_text(HEAD + rule("polars.series.series", "Series", 'check = "forest"'))


def test_a_comparison_of_policies_shows_that_a_check_is_gone() -> None:
    checked = Policy.from_text(HEAD + rule("acme.forests", "Forest", 'check = "forest"\nmakes = "function"'))
    unchecked = Policy.from_text(HEAD + rule("acme.forests", "Forest", ""))
    loosened, tightened = compare(checked, unchecked).changes[0], compare(unchecked, checked).changes[0]
    uses = ("use without the native check forest", "instances in the place of methods that native checks rely on")
    assert (loosened.gained, loosened.lost) == (uses, ())
    assert (tightened.gained, tightened.lost) == ((), uses)
    assert compare(checked, checked).changes == ()


BLOCK = call(glob("pandas._libs.internals", "_unpickle_block"), 1, "no placement", 2)
ANYTHING = rule("pandas._libs.internals", "_unpickle_block", 'args = [["any", "any", "any"]]', '["call"]')


@pytest.mark.parametrize("more", ["", 'check = "frame-block"\n'])
def test_the_checks_of_packs_hold_under_a_policy_that_does_not_extend_them(more: str) -> None:
    policy = Policy.from_text(HEAD + ANYTHING + more)
    assert codes(stream(BLOCK), policy) == ["SL326"]


def test_the_checks_of_packs_hold_for_what_no_policy_lists() -> None:
    assert {"SL326", "SL401"} == set(codes(stream(BLOCK), "core"))


def test_no_rule_takes_the_check_of_a_class_of_scikit_learn_away() -> None:
    tree = "sklearn.tree._classes.DecisionTreeClassifier"
    forged = build(new(glob(*tree.rsplit(".", 1))), {"tree_": 1, "n_features_in_": 2})
    policy = Policy.from_text(HEAD + rule("sklearn.tree._classes", "DecisionTreeClassifier", 'state = "any"'))
    assert codes(stream(forged), policy) == ["SL326"]
    assert all(name.partition(".")[0] in OWN for name in BOUND)


def test_an_instance_that_can_be_called_does_not_take_the_place_of_a_method() -> None:
    forest = rule("acme.forests", "Forest", 'check = "forest"')
    held = stream(
        build(new(glob("acme.forests", "Forest")), {"_validate_X_predict": new(glob("acme.forests", "Called"))})
    )
    assert codes(held, Policy.from_text(HEAD + forest + rule("acme.forests", "Called", ""))) == []
    called = Policy.from_text(HEAD + forest + rule("acme.forests", "Called", 'makes = "function"'))
    assert codes(held, called) == ["SL326"]


def test_what_packs_say_of_checks_is_found_without_reading_all_of_them() -> None:
    """A pack is parsed only where its text says `check` or `makes` at the beginning of a line."""
    wanted = {}
    distributions = {}
    for name in pack_names():
        text, _ = read_pack(name)
        document = tomllib.loads(text)
        for one in document.get("allow", []):
            if "check" in one or "makes" in one:
                said = (one.get("check"), one.get("makes") == "function")
                wanted.update({f"{one['module']}.{each}": said for each in one["names"]})
        if "distribution" in document:
            module = document.get("imports", document["distribution"].replace("-", "_"))
            distributions[module] = document["distribution"]
            assert any(one["module"].partition(".")[0] == module for one in document["allow"])
    assert native_of_packs() == wanted
    assert len(wanted) >= 12
    assert pack_distributions() == distributions
    assert distributions["imblearn"] == "imbalanced-learn"


@pytest.mark.parametrize(
    "rule", ["check='x'", 'check="x"', "check\t= 'x'", '"check" = "x"', "  makes = 'function'", "[{makes='function'}]"]
)
def test_no_spelling_of_a_check_makes_a_pack_be_passed_over(rule: str) -> None:
    assert tomllib.loads(rule if rule[0] != "[" else f"allow = {rule}")
    assert _NATIVE.search(rule.encode())


def test_the_scanner_names_no_class_of_a_library_that_has_a_pack() -> None:
    modules = {name.partition(".")[0] for pack in pack_names() for name in Policy.load(pack).names} - OWN
    assert {"pandas", "polars", "pyarrow", "quantile_forest", "imblearn"} <= modules
    named = re.compile(rf"[\"'](?:{'|'.join(sorted(modules))})\.")
    assert [path.name for path in SCANNER.rglob("*.py") if named.search(path.read_text())] == []


def test_the_docs_list_every_check() -> None:
    page = (ROOT / "docs" / "reference" / "packs.md").read_text()
    section = page[page.index("### Native checks") : page.index("## What a pack does not")]
    listed = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    }
    assert listed - {"check"} == set(CHECKS)
