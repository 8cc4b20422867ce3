"""Deliver a report: in the format and to the place that were asked for, with failures on stderr."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from safeload._cli.report.content import Content, Listing
from safeload._cli.report.files import emit
from safeload._cli.report.formats import render
from safeload._cli.report.result import Result, failure, skipped_dict, summary
from safeload._cli.report.text import count_line, result_lines, skipped_lines, suggestion_lines
from safeload._cli.terminal import Painter, painter_for, plain, say_error
from safeload.errors import REFUSALS, SafeloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from safeload._cli.report.files import Output, Place
    from safeload._cli.running.walk import Found

__all__ = [
    "deliver",
    "deliver_facts",
    "deliver_lines",
    "reported_failure",
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

    def lines(paint: Painter, listing: Listing) -> Iterator[str]:
        listed = listing.of(results)
        yield from (line for result in listed for line in result_lines(result, paint))
        yield from suggestion_lines(listed, policy)
        shown = listing.skipped(found)
        yield from (line for one in shown for line in skipped_lines(one, paint))
        counts = summary(results, found)
        many = counts["checked"] > 1 or counts["skipped"] or counts["excluded"]
        if (many or listing.on_stderr) and not listing.quiet:
            yield from ["", count_line(counts)] if listed or shown else [count_line(counts)]

    deliver_lines(results, lines, command=command, out=out, found=found, extra=extra)


def deliver_lines(
    results: Sequence[Result],
    lines: Callable[[Painter, Listing], Iterable[str]],
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

    def listed(listing: Listing) -> Callable[[Painter], Iterable[str]]:
        return lambda paint: lines(paint, listing)

    for place in out.reports:
        text = listed(Listing(quiet=out.quiet, errors=place.path is not None))
        content = Content(command=command, facts=facts, lines=text, results=results, skipped=skipped, sections=sections)
        _write(content, place)
    if out.has_files and results:
        short = listed(Listing(quiet=out.quiet, errors=False, on_stderr=True))
        for line in short(painter_for(sys.stderr)):
            click.echo(line, err=True, color=True)


@contextmanager
def reported_failure(command: str, out: Output) -> Iterator[None]:
    """Write a report also where the keyring or the policy cannot be used, so that no file was judged.

    The error goes on, to be said on stderr and to become the exit code.
    """
    try:
        yield
    except REFUSALS:
        raise
    except (SafeloadError, OSError) as error:
        where = (error.path if isinstance(error, SafeloadError) else error.filename) or ""
        result = failure(str(where), error)
        facts = {"summary": summary([result]), "results": [result.to_dict()], "skipped": []}
        for place in out.reports:
            on_file = place.path is not None
            content = Content(
                command=command,
                facts=facts,
                lines=lambda paint, on_file=on_file: result_lines(result, paint) if on_file else (),  # type: ignore[misc]
                results=[result],
            )
            _write(content, place)
        raise


def deliver_facts(
    facts: Mapping[str, Any], lines: Callable[[Painter], Iterable[str]], *, command: str, out: Output
) -> None:
    """Write what a command that judges no files has to say."""
    for place in out.reports:
        _write(Content(command=command, facts=facts, lines=lines), place)


def _write(content: Content, place: Place) -> None:
    paint = painter_for(sys.stdout) if place.path is None else Painter(colours=False)
    emit(render(place.layout, content, paint), place.path)


def say_failures(results: Iterable[Result]) -> None:
    """Say on stderr which files could not be judged."""
    for result in results:
        if result.verdict == "error":
            say_error(f"{plain(result.path)}: {result.error}", result.advice)
