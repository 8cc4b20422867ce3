"""Paired timing: both sides in one process, by turns, and the median of the ratios is what counts."""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Ratio:
    """Medians of so many rounds: of the ratios, and of the seconds that each side took."""

    ratio: float
    ours: float
    theirs: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.ratio:.2f}"

    @property
    def seconds(self) -> str:
        return f"{self.ours:.3g} / {self.theirs:.3g}"


def nothing() -> None:
    return None


def timed(function: Callable[[Any], Any], prepared: Any) -> float:
    gc.collect()
    start = time.perf_counter()
    kept = function(prepared)
    taken = time.perf_counter() - start
    del kept
    return taken


def paired(
    ours: Callable[[Any], Any],
    theirs: Callable[[Any], Any],
    rounds: int,
    *,
    prepare: Callable[[], Any] = nothing,
) -> Ratio:
    """Time both by turns, on what `prepare` makes anew, untimed, for each call; one round is thrown away."""
    pairs = []
    for number in range(rounds + 1):
        first, second = (ours, theirs) if number % 2 else (theirs, ours)
        one, other = timed(first, prepare()), timed(second, prepare())
        pairs.append((one, other) if number % 2 else (other, one))
    pairs = pairs[1:]
    return Ratio(
        statistics.median(one / other for one, other in pairs),
        statistics.median(one for one, _ in pairs),
        statistics.median(other for _, other in pairs),
        rounds,
    )
