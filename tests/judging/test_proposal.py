"""What a refusal proposes works when it is pasted: the shipped pack first, rules only for the rest."""

from __future__ import annotations

import json
import pickle
from colorsys import rgb_to_hsv
from typing import TYPE_CHECKING, Any

import pytest

import safeload
from safeload.policy import Policy
from support.cli_runs import ALLOWED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.cli_runs import Outcome

# Named only, so that no such library has to be installed.
FRAME = b"cpandas.core.frame\nDataFrame\n"
BOOSTER = b"cxgboost.core\nBooster\n"


def made(*globals_: bytes) -> bytes:
    """Return a list of what NEWOBJ makes of each class, in protocol 2."""
    return b"\x80\x02]q\x00(" + b"".join(name + b")\x81" for name in globals_) + b"e."


def advice_of(path: Path, policy: Any = None) -> str:
    with pytest.raises(safeload.PolicyViolationError) as caught:
        safeload.scan(path, policy=policy).raise_if_refused()
    return caught.value.advice or ""


@pytest.mark.parametrize(("name", "pack"), [(FRAME, "pandas"), (BOOSTER, "xgboost")])
def test_the_pack_is_the_only_advice(tmp_path: Path, name: bytes, pack: str) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(made(name))
    listed = f'["sklearn", "{pack}"]'
    line = f"The shipped pack {pack} allows it: --policy sklearn,{pack} "
    assert advice_of(path) == f"{line}(in Python policy={listed}, in a policy file extends = {listed})"
    report = safeload.scan(path)
    assert [finding.advice for finding in report.findings] == [advice_of(path)]
    assert safeload.scan(path, policy=["sklearn", pack]).allowed


def test_two_packs_and_rules_for_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(made(FRAME, BOOSTER, b"cacme.features\nClipper\n"))
    advice = advice_of(path)
    assert advice.startswith("The shipped packs pandas, xgboost allow part of it: --policy sklearn,pandas,xgboost ")
    text = advice[advice.index("    name =") :].replace("\n    ", "\n").strip()
    policy = tmp_path / "mine.toml"
    policy.write_text(text, encoding="utf-8")
    assert "DataFrame" not in text
    assert safeload.scan(path, policy=policy).allowed


def test_a_policy_file_in_use_is_added_to(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('name = "base"\nversion = 1\nextends = ["core"]\n')
    policy = tmp_path / "mine.toml"
    policy.write_text('name = "mine"\nversion = 1\nextends = ["base.toml"]\n')
    path = tmp_path / "a.pkl"
    path.write_bytes(made(FRAME))
    line = f'The shipped pack pandas allows it: in {policy}, write extends = ["base.toml", "pandas"]'
    assert advice_of(path, policy) == line
    policy.write_text(f'name = "mine"\nversion = 1\n{line.partition("write ")[2]}\n')
    assert safeload.scan(path, policy=policy).allowed
    path.write_bytes(pickle.dumps(rgb_to_hsv))
    advice = advice_of(path, policy)
    assert f"added to {policy}" in advice
    policy.write_text(
        policy.read_text() + advice[advice.index("    [[allow]]") :].replace("    ", ""), encoding="utf-8"
    )
    assert safeload.scan(path, policy=policy).allowed


def test_a_policy_without_a_file_is_extended_in_python(tmp_path: Path) -> None:
    policy = Policy.from_text(
        'name = "t"\nversion = 1\n[[allow]]\nmodule = "acme"\nnames = ["A"]\nroles = ["new"]\nreason = "read"\n'
    )
    path = tmp_path / "a.pkl"
    path.write_bytes(made(FRAME))
    assert advice_of(path, policy) == 'The shipped pack pandas allows it: policy=[policy, "pandas"]'
    assert safeload.scan(path, policy=[policy, "pandas"]).allowed


def test_no_rule_is_proposed_that_grants_nothing(tmp_path: Path) -> None:
    """An array class as a value has all its roles, and is refused for where it stands."""
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02cnumpy\nmemmap\n.")
    assert "roles = []" not in advice_of(path)


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit", "html"])
def test_every_format_leads_to_the_pack(run: Callable[..., Outcome], tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(made(FRAME))
    outcome = run("scan", path, "--format", form)
    assert outcome.code == REFUSED
    assert "The shipped pack pandas allows it: --policy sklearn,pandas" in outcome.out
    assert "add the rule" not in outcome.out
    if form == "json":
        assert json.loads(outcome.out)["results"][0]["findings"][0]["advice"].startswith("The shipped pack pandas")
    assert run("scan", path, "--policy", "sklearn,pandas").code == ALLOWED
