"""Results as GitLab's code quality report: a list of findings, each with its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from safeload._cli.report.places import fingerprinted, local_path
from safeload._cli.report.result import Result, finding_rows, row_text, skipped_rows
from safeload._cli.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from safeload._cli.report.content import Content
    from safeload._cli.terminal import Painter

__all__ = ["render"]

_SEVERITIES = {"error": "critical", "warning": "minor", "note": "info"}


def render(content: Content, _paint: Painter) -> str:
    """Return the findings, and the files that could not be judged, as a JSON array."""
    rows = fingerprinted(_rows(content))
    entries = [_entry(result, finding, fingerprint) for result, finding, fingerprint in rows]
    return json.dumps(entries, indent=2, allow_nan=False) + "\n"


def _rows(content: Content) -> Iterator[tuple[Result, Mapping[str, Any]]]:
    for result in content.results:
        if result.verdict == "error":
            yield result, not_judged(result)
        for finding in finding_rows(result):
            yield result, finding
    yield from skipped_rows(content.skipped)


def not_judged(result: Result) -> dict[str, Any]:
    """Return why a file could not be judged in the form of a finding; it has no code of ours."""
    return {
        "code": "not-judged",
        "title": "not judged",
        "message": result.error,
        "advice": result.advice or "",
        "offset": None,
        "global_name": None,
        "severity": "error",
    }


def _entry(result: Result, finding: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
    text = plain(f"{finding['title']}: {row_text(finding)}. {finding['advice']}".replace("\n", " ").rstrip())
    return {
        "description": text,
        "check_name": finding["code"],
        "fingerprint": fingerprint,
        "severity": _SEVERITIES[finding["severity"]],
        "location": {
            "path": plain(local_path(result.path) or result.path) or ".",
            "lines": {"begin": finding.get("line") or 1},
        },
    }
