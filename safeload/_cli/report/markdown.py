"""Results as Markdown, for the summary of a CI job: the counts, and a table of all that is not allowed.

Paths and messages come from untrusted files. Every character that Markdown or HTML gives a meaning to is written as a
character reference, so that a name cannot make a link, an image or a row of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeload._cli.report.result import finding_rows, row_text, skipped_rows
from safeload._cli.report.text import count_line
from safeload._cli.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeload._cli.report.content import Content
    from safeload._cli.terminal import Painter

__all__ = ["render"]

_MAX_ROWS = 500  # GitHub takes a summary of 1 MiB
_MAX_TEXT = 300  # characters of one cell
_MEANING = {ord(char): f"&#{ord(char)};" for char in "&<>|@:`*_[]()#!~\\$"}


def render(content: Content, _paint: Painter) -> str:
    """Return the counts, and a table with a row for each finding."""
    counts = content.facts["summary"]
    lines = [f"### safeload {content.command}", "", _cell(count_line(counts))]
    rows = list(_rows(content))
    if rows:
        lines += ["", "| verdict | file | code | why |", "| --- | --- | --- | --- |"]
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows[:_MAX_ROWS]]
    if len(rows) > _MAX_ROWS:
        lines += ["", f"The first {_MAX_ROWS} of {len(rows)} findings are shown."]
    return "".join(f"{line}\n" for line in lines)


def _rows(content: Content) -> Iterator[tuple[str, str, str, str]]:
    for result in content.results:
        if result.verdict == "error":
            yield "not judged", result.path, "", result.error
        for finding in finding_rows(result):
            yield result.status, result.path, finding["code"], f"{finding['title']}: {row_text(finding)}"
    for skipped, finding in skipped_rows(content.skipped):
        yield skipped.status, skipped.path, finding["code"], f"{finding['title']}: {row_text(finding)}"


def _cell(text: str) -> str:
    shown = plain(text.replace("\n", " "))
    short = shown if len(shown) <= _MAX_TEXT else f"{shown[:_MAX_TEXT]}…"
    return short.translate(_MEANING)
