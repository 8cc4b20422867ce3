"""The time of day, read in one place.

Whether a signature, a key or a rule has expired is asked here, so that a test can set the clock without touching any
other module.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _system() -> datetime:
    return datetime.now(UTC)


_clock: Callable[[], datetime] = _system


def utc_now() -> datetime:
    """Return the time of day, in UTC."""
    return _clock()


@contextmanager
def clock_set_to(clock: Callable[[], datetime]) -> Iterator[None]:
    """Use this clock in the whole process until the block ends. For tests."""
    global _clock
    before, _clock = _clock, clock
    try:
        yield
    finally:
        _clock = before
