"""What a command has to say, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from safeload._cli.report.result import Result
    from safeload._cli.running.walk import Found, Skipped
    from safeload._cli.terminal import Painter

__all__ = ["Content", "Listing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a text lists: it depends on where the text goes.

    Attributes:
        quiet: whether the user asked for refusals and errors only.
        errors: whether files that could not be judged are listed: in a file, since elsewhere stderr names them already.
        on_stderr: whether this is the short form for stderr, beside reports that all go to files.
    """

    quiet: bool
    errors: bool
    on_stderr: bool = False

    def of(self, results: Iterable[Result]) -> list[Result]:
        """Return the results to list."""
        hidden = {"allowed"} if self.quiet or self.on_stderr else set()
        return [one for one in results if one.verdict not in (hidden if self.errors else hidden | {"error"})]

    def skipped(self, found: Found | None) -> Sequence[Skipped]:
        """Return the skipped files to list."""
        return () if found is None or self.quiet or self.on_stderr else found.shown


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
