"""Results as SARIF, for code scanning.

Names and messages come from untrusted files: unprintable characters are shown as escapes (`plain`).
"""

from __future__ import annotations

import json
import os
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from safeload._cli.report.result import Result, finding_rows, row_text, skipped_dict
from safeload._cli.terminal import plain_lines, tool_version
from safeload.findings import FINDING_KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from safeload._cli.report.content import Content
    from safeload._cli.running.walk import Skipped
    from safeload._cli.terminal import Painter

__all__ = [
    "render",
]

_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render(content: Content, _paint: Painter) -> str:
    """Return the results as SARIF 2.1.0: a result for each finding, a notification for what could not be judged."""
    results = content.results
    listed = [(result, finding) for result in results for finding in finding_rows(result)]
    orphans = [one for one in content.skipped if one.code is not None]
    codes = sorted({finding["code"] for _, finding in listed}.union(one.code for one in orphans if one.code))
    failed = [result for result in results if result.verdict == "error"]
    run = {
        "tool": {
            "driver": {
                "name": "safeload",
                "version": tool_version(),
                "rules": [_sarif_rule(code) for code in codes],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not failed,
                "toolExecutionNotifications": [
                    {
                        "level": "error",
                        "message": {"text": plain_lines(_sentences(result.error, result.advice))},
                        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(result.path)}}}],
                    }
                    for result in failed
                ]
                + [
                    {
                        "level": "note",
                        "message": {"text": f"skipped: {plain_lines(one.reason)}"},
                        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(one.path)}}}],
                    }
                    for one in content.skipped
                    if one.code is None
                ],
            }
        ],
        "artifacts": [
            {"location": {"uri": _uri(result.path)}, "roles": ["analysisTarget"]} for result in results if result.path
        ],
        "results": [_sarif_result(result, finding, codes) for result, finding in listed]
        + [_sarif_result(Result(path=one.path, verdict="skipped"), _orphan(one), codes) for one in orphans],
        "columnKind": "utf16CodeUnits",
        "properties": {
            "command": content.command,
            "skipped": content.facts["summary"]["skipped"],
            "excluded": content.facts["summary"]["excluded"],
        },
    }
    document = {"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _sarif_rule(code: str) -> dict[str, Any]:
    rule = FINDING_KINDS[code]
    return {
        "id": rule.code,
        "shortDescription": {"text": rule.title},
        "help": {"text": rule.advice},
        "defaultConfiguration": {"level": rule.severity},
    }


def _sarif_result(result: Result, finding: Mapping[str, Any], codes: Sequence[str]) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(result.path)}}
    offset, line = finding["offset"], finding.get("line")
    # Advice for the code stands in the rule's help; a viewer shows that of this very finding only in its message.
    own = None if finding["advice"] == FINDING_KINDS[finding["code"]].advice else finding["advice"]
    text = _sentences(row_text(finding), None if own is None else plain_lines(own))
    if line is not None:
        place["region"] = {"startLine": line}
    elif offset is not None and result.data.get("compression") == "none":
        place["region"] = {
            "byteOffset": offset,
            "byteLength": 1,
        }  # else it counts from where the unpacked stream begins
    return {
        "ruleId": finding["code"],
        "ruleIndex": codes.index(finding["code"]),
        "level": finding["severity"],
        "message": {"text": f"{finding['title']}: {text}"},
        "locations": [{"physicalLocation": place}],
        "properties": {
            "status": result.status,
            "streamOffset": offset,
            "globalName": finding["global_name"],
            "advice": finding["advice"],
        },
    }


def _sentences(message: str, advice: str | None) -> str:
    return message if advice is None else f"{message}. {advice}"


def _orphan(skipped: Skipped) -> dict[str, Any]:
    (finding,) = skipped_dict(skipped)["findings"]
    return {**finding, "severity": FINDING_KINDS[finding["code"]].severity}


def _uri(path: str) -> str:
    """Return a path as a URI reference: its very bytes, percent-encoded where they are not plain."""
    from urllib.parse import quote_from_bytes

    quoted = quote_from_bytes(os.fsencode(PurePath(path).as_posix()), safe="/")
    return f"file://{quoted}" if quoted.startswith("/") else quoted
