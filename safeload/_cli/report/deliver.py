"""Deliver a report: in the format and to the place that were asked for, with failures on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from safeload._cli.report.content import Content
from safeload._cli.report.files import emit
from safeload._cli.report.formats import render
from safeload._cli.report.result import Result, skipped_dict, summary
from safeload._cli.report.text import count_line, result_lines, skipped_lines, suggestion_lines
from safeload._cli.terminal import Painter, painter_for, plain, say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from safeload._cli.report.files import Output
    from safeload._cli.running.walk import Found

__all__ = [
    "deliver",
    "deliver_facts",
    "deliver_lines",
    "say_failures",
]


def deliver(
    results: Sequence[Result],
    *,
    command: str,
    policy: str,
    out: Output,
    found: Found | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write results where they were asked for, and on stderr which files could not be judged.

    `policy` is what they were held against, as the user named it; `found` is what the paths meant, where folders were
    walked; `extra` is what JSON has beside the results.
    """
    listed = [result for result in results if not (out.quiet and result.verdict == "allowed")]
    if out.path is None:  # what went wrong has been said, on stderr; a file needs all of it
        listed = [result for result in listed if result.verdict != "error"]

    def lines(paint: Painter) -> Iterator[str]:
        yield from (line for result in listed for line in result_lines(result, paint))
        yield from suggestion_lines(listed, policy)
        shown = () if out.quiet or found is None else found.shown
        yield from (line for one in shown for line in skipped_lines(one, paint))
        counts = summary(results, found)
        if (counts["checked"] > 1 or counts["skipped"] or counts["excluded"]) and not out.quiet:
            yield from ["", count_line(counts)] if listed or shown else [count_line(counts)]

    deliver_lines(results, lines, command=command, out=out, found=found, extra=extra)


def deliver_lines(
    results: Sequence[Result],
    lines: Callable[[Painter], Iterable[str]],
    *,
    command: str,
    out: Output,
    found: Found | None = None,
    extra: Mapping[str, Any] | None = None,
    sections: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write results in the format that was asked for; `lines` are its text.

    `extra` is what JSON has beside the results, `sections` what tables a page has below them.
    """
    say_failures(results)
    skipped = () if found is None else found.shown
    facts = {
        "summary": summary(results, found),
        **(extra or {}),
        "results": [result.to_dict() for result in results],
        "skipped": [skipped_dict(one) for one in skipped],
    }
    content = Content(command=command, facts=facts, lines=lines, results=results, skipped=skipped, sections=sections)
    _write(content, out)


def deliver_facts(
    facts: Mapping[str, Any], lines: Callable[[Painter], Iterable[str]], *, command: str, out: Output
) -> None:
    """Write what a command that judges no files has to say."""
    _write(Content(command=command, facts=facts, lines=lines), out)


def _write(content: Content, out: Output) -> None:
    paint = painter_for(sys.stdout) if out.path is None else Painter(colours=False)
    emit(render(out.layout, content, paint), out.path)


def say_failures(results: Iterable[Result]) -> None:
    """Say on stderr which files could not be judged."""
    for result in results:
        if result.verdict == "error":
            say_error(f"{plain(result.path)}: {result.error}", result.advice)
