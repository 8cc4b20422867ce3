"""Whatever a file holds, what it costs is counted: the promise of SECURITY.md, at a twenty-fifth of the limits."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest

import safeload
from pickles.worst_inputs import INPUTS
from safeload import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.cli_runs import Outcome

PART = 25
LIMITS = Limits(min_opcodes=Limits().min_opcodes // PART)
ASKED_EVERY = 1 << 13  # opcodes

# What no policy switches off is looked at under one that lists nothing of it, too.
UNLISTED = ["matrices of many dimensions", "predictors again and again"]
# Those that are cheap, and so come to their end.
CHEAP = {"appends", "decimal integers, long", "marks below bytes"}


@pytest.mark.parametrize(
    ("name", "policy"), [*((name, "sklearn") for name in INPUTS), *((name, "core") for name in UNLISTED)]
)
def test_what_it_costs_is_counted(name: str, policy: str, tmp_path: Path) -> None:
    """Each takes as much as the limits let it, and is stopped; benchmarks/worst.py measures how long that takes."""
    path = tmp_path / "worst"
    path.write_bytes(zlib.compress(INPUTS[name](LIMITS.min_opcodes), 1))
    report = safeload.scan(path, policy=policy, limits=LIMITS)
    assert report.opcodes <= LIMITS.min_opcodes + ASKED_EVERY
    assert ("SL501" in {finding.code for finding in report.findings}) == (name not in CHEAP)


def test_of_very_many_opcodes_only_the_first_are_shown(run: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "many.pkl"
    path.write_bytes(INPUTS["None"](150_000))
    shown = run("inspect", path, "--opcodes")
    assert shown.code == 0
    assert "… and more: only the first 100000 are shown" in shown.out
    assert shown.out.count("NONE") < 100_000
