"""Results as one HTML page for people, without scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeload._cli.report.result import finding_rows, row_place, row_text
from safeload._cli.terminal import human_size, plain, plain_lines, tool_version
from safeload.findings import FINDING_KINDS

if TYPE_CHECKING:
    from safeload._cli.report.content import Content
    from safeload._cli.report.result import Result
    from safeload._cli.terminal import Painter


__all__ = [
    "render",
]

_WORST_FIRST = ("error", "warning", "note")


def render(content: Content, _paint: Painter) -> str:
    """Return the results as one page without scripts, and without anything from elsewhere."""
    from importlib import resources

    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["plain"] = plain
    template = environment.from_string(
        resources.files("safeload._cli.report").joinpath("report.html").read_text(encoding="utf-8")
    )
    order = {"refused": 0, "error": 1, "allowed": 2}
    page: str = template.render(
        command=content.command,
        version=tool_version(),
        counts=content.facts["summary"],
        files=[_html_file(result) for result in sorted(content.results, key=lambda one: order[one.verdict])],
        skipped=[
            {
                "path": one.path,
                "said": one.reason if one.code is None else f"{one.code} {_titled(one.code)}: {one.reason}",
            }
            for one in content.skipped
        ],
        sections=content.sections,
    )
    return page


def _titled(code: str) -> str:
    return FINDING_KINDS[code].title


def _html_file(result: Result) -> dict[str, Any]:
    data = result.data
    findings = sorted(finding_rows(result), key=lambda finding: _WORST_FIRST.index(finding["severity"]))
    listed = tuple(finding["message"] for finding in findings)
    facts = [data.get("format"), data.get("compression")]
    if data.get("size") is not None:
        facts.append(human_size(data["size"]))
    if (data.get("policy") or {}).get("name"):
        facts.append(f"policy {data['policy']['name']}")
    return {
        "path": result.path,
        "verdict": result.verdict,
        "word": result.status,
        "error": result.error,
        "advice": result.advice,
        "facts": ", ".join(fact for fact in facts if fact),
        "findings": [
            {
                "code": finding["code"],
                "title": finding["title"],
                "severity": finding["severity"],
                "where": row_place(finding),
                "said": row_text(finding),
                "advice": plain_lines(finding["advice"]),
            }
            for finding in findings
        ],
        "globals": [
            {"name": f"{use['module']}.{use['qualname']}", "roles": ", ".join(use["roles"])}
            for use in data.get("globals", ())
        ],
        "notes": [note for note in result.notes if not note.endswith(listed)],
    }
