"""What a command has to say, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from safeload._cli.report.result import Result
    from safeload._cli.running.walk import Skipped
    from safeload._cli.terminal import Painter

__all__ = ["Content"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The outcome of one command.

    Attributes:
        command: the name of the command.
        facts: what JSON has.
        lines: what text has, line by line.
        results: one for each file; empty for commands that judge no files.
        skipped: the files that are listed as skipped.
        sections: tables below the results of a page; each has `title`, `headings` and `rows`.
    """

    command: str
    facts: Mapping[str, Any]
    lines: Callable[[Painter], Iterable[str]]
    results: Sequence[Result] = ()
    skipped: Sequence[Skipped] = ()
    sections: Sequence[Mapping[str, Any]] = ()
