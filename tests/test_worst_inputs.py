"""Whatever a file holds, what it costs is counted: the promise of SECURITY.md, at a twenty-fifth of the limits."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING

import pytest
from worst_inputs import INPUTS

import safeload
from safeload import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli_runs import Outcome

PART = 25
SECONDS = 5 / PART
LIMITS = Limits(min_opcodes=Limits().min_opcodes // PART)


def cost(path: Path, policy: str) -> float:
    before = time.process_time()
    safeload.scan(path, policy=policy, limits=LIMITS)
    return time.process_time() - before


# What no policy switches off is looked at under one that lists nothing of it, too.
UNLISTED = ["matrices of many dimensions", "predictors again and again"]


@pytest.mark.parametrize(
    ("name", "policy"), [*((name, "sklearn") for name in INPUTS), *((name, "core") for name in UNLISTED)]
)
def test_time_is_bounded(name: str, policy: str, tmp_path: Path) -> None:
    path = tmp_path / "worst"
    path.write_bytes(zlib.compress(INPUTS[name](LIMITS.min_opcodes), 1))
    # Of processor time, the best of a few: the machine may be busy with something else.
    assert any(cost(path, policy) < SECONDS for _ in range(5))


def test_of_very_many_opcodes_only_the_first_are_shown(run: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "many.pkl"
    path.write_bytes(INPUTS["None"](150_000))
    shown = run("inspect", path, "--opcodes")
    assert shown.code == 0
    assert "… and more: only the first 100000 are shown" in shown.out
    assert shown.out.count("NONE") < 100_000
