"""Which of the two scanners this run tests is what the environment says it should be."""

from __future__ import annotations

import os
from pathlib import Path

from safeload.rules import RULES
from safeload.scan import COMPILED, _effects, _machine, _window, values


def test_the_scanner_is_the_expected_one() -> None:
    expected = os.environ.get("SAFELOAD_EXPECT")
    assert expected in (None, "pure", "compiled")
    if expected is not None:
        assert COMPILED == (expected == "compiled")


def test_all_modules_are_compiled_or_none() -> None:
    modules = (_effects, _machine, _window, values)
    assert {not module.__file__.endswith(".py") for module in modules} == {COMPILED}


def test_the_page_of_finding_codes_is_the_table() -> None:
    root = Path(__file__).parent.parent
    page = (root / "docs" / "findings.md").read_text(encoding="utf-8")
    for rule in RULES.values():
        assert f"| {rule.code} | {rule.title} | {rule.advice} |" in page, "run tools/write_findings.py"
