"""Which of the two scanners this run tests is what the environment says it should be."""

from __future__ import annotations

import os

from safeload.scan import COMPILED, _effects, _machine, _window, values


def test_the_scanner_is_the_expected_one() -> None:
    expected = os.environ.get("SAFELOAD_EXPECT")
    assert expected in (None, "pure", "compiled")
    if expected is not None:
        assert COMPILED == (expected == "compiled")


def test_all_modules_are_compiled_or_none() -> None:
    modules = (_effects, _machine, _window, values)
    assert {not module.__file__.endswith(".py") for module in modules} == {COMPILED}
