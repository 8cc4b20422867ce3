"""Results as workflow commands of GitHub Actions: an annotation for each finding.

Every line is one command, and every value in it is escaped as GitHub's runner expects, so that no name or message from
a file can end a command or begin another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeload._cli.report.places import local_path
from safeload._cli.report.result import finding_rows, row_text, skipped_rows
from safeload._cli.report.text import count_line
from safeload._cli.terminal import plain, plain_lines

if TYPE_CHECKING:
    from safeload._cli.report.content import Content
    from safeload._cli.terminal import Painter

__all__ = ["render"]

_KINDS = {"error": "error", "warning": "warning", "note": "notice"}


def render(content: Content, _paint: Painter) -> str:
    """Return a line for each finding and for each file that could not be judged, and one with the counts."""
    lines = []
    for result in content.results:
        if result.verdict == "error":
            said = "\n".join(filter(None, (result.error, result.advice)))
            lines.append(_command("error", said, title="not judged", path=result.path))
        for finding in finding_rows(result):
            said = f"{row_text(finding)}\n{finding['advice']}"
            title = f"{finding['code']} {finding['title']}"
            lines.append(
                _command(_KINDS[finding["severity"]], said, title=title, path=result.path, line=finding.get("line"))
            )
    for result, finding in skipped_rows(content.skipped):
        said = f"{row_text(finding)}\n{finding['advice']}"
        title = f"{finding['code']} {finding['title']}"
        lines.append(_command(_KINDS[finding["severity"]], said, title=title, path=result.path))
    counts = content.facts["summary"]
    lines.append(_command("notice", count_line(counts), title=f"safeload {content.command}"))
    return "".join(f"{line}\n" for line in lines)


def _command(kind: str, message: str, *, title: str, path: str = "", line: int | None = None) -> str:
    properties = {}
    if path:
        properties["file"] = plain(local_path(path) or path)
    if line is not None:
        properties["line"] = str(line)
    properties["title"] = plain(title)
    head = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{kind} {head}::{_data(plain_lines(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
