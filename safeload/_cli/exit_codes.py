"""The exit codes of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = [
    "ALLOWED",
    "ERROR",
    "NOTHING",
    "REFUSED",
    "USAGE",
    "worst",
]

ALLOWED, REFUSED, ERROR, NOTHING, USAGE = range(5)


_CODES = {"allowed": ALLOWED, "refused": REFUSED, "error": ERROR}


def worst(verdicts: Iterable[str]) -> int:
    """Return the exit code for many verdicts: the worst wins, refused over error; without any there is none to give."""
    codes = {_CODES[verdict] for verdict in verdicts}
    for code in (REFUSED, ERROR, ALLOWED):
        if code in codes:
            return code
    return NOTHING  # nothing checked must not pass for all allowed
