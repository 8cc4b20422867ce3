"""Results as SARIF, for code scanning.

Names and messages come from untrusted files: unprintable characters are shown as escapes (`plain`).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from safeload._cli.report.places import fingerprinted, local_path
from safeload._cli.report.result import finding_rows, row_text, skipped_rows
from safeload._cli.report.weaknesses import weakness_of
from safeload._cli.terminal import plain_lines, tool_version
from safeload.findings import FINDING_KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from safeload._cli.report.content import Content
    from safeload._cli.report.result import Result
    from safeload._cli.terminal import Painter

__all__ = [
    "render",
]

_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_BASE = "%SRCROOT%"


def render(content: Content, _paint: Painter) -> str:
    """Return the results as SARIF 2.1.0: a result for each finding, a notification for what could not be judged."""
    results = content.results
    listed = [(result, finding) for result in results for finding in finding_rows(result)]
    listed += skipped_rows(content.skipped)
    codes = sorted({finding["code"] for _, finding in listed})
    failed = [result for result in results if result.verdict == "error"]
    run = {
        "tool": {
            "driver": {
                "name": "safeload",
                "version": tool_version(),
                "informationUri": weakness_of("SL4").page,
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
                        **_at(result.path),
                    }
                    for result in failed
                ]
                + [
                    {
                        "level": "note",
                        "message": {"text": f"skipped: {plain_lines(one.reason)}"},
                        **_at(one.path),
                    }
                    for one in content.skipped
                    if one.code is None
                ],
            }
        ],
        "artifacts": [
            {"location": _location(result.path), "roles": ["analysisTarget"]} for result in results if result.path
        ],
        "results": [
            _sarif_result(result, finding, fingerprint, codes) for result, finding, fingerprint in fingerprinted(listed)
        ],
        # A slash at the end: the whole is the category, without a name for this very run.
        "automationDetails": {"id": f"safeload/{content.command.replace(' ', '-')}/"},
        "originalUriBaseIds": {_BASE: {"uri": f"{_absolute_uri(str(Path.cwd())).rstrip('/')}/"}},
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
    weakness = weakness_of(code)
    graded = {} if weakness.severity is None else {"security-severity": weakness.severity}
    return {
        "id": rule.code,
        "name": "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", rule.title)),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": f"{rule.title[:1].upper()}{rule.title[1:]}. {rule.advice}"},
        "help": {"text": rule.advice, "markdown": f"{rule.advice}\n\n[About this weakness]({weakness.page})"},
        "helpUri": weakness.page,
        "defaultConfiguration": {"level": rule.severity},
        "properties": {"tags": weakness.tags, "precision": "very-high", **graded},
    }


def _sarif_result(result: Result, finding: Mapping[str, Any], fingerprint: str, codes: Sequence[str]) -> dict[str, Any]:
    # GitHub shows no result without a line; what has none is at the first one, as for other binary files.
    region: dict[str, Any] = {"startLine": finding.get("line") or 1}
    offset, line = finding["offset"], finding.get("line")
    # Advice for the code stands in the rule's help; a viewer shows that of this very finding only in its message.
    own = None if finding["advice"] == FINDING_KINDS[finding["code"]].advice else finding["advice"]
    text = _sentences(row_text(finding), None if own is None else plain_lines(own))
    if line is None and offset is not None and result.data.get("compression") == "none":
        region |= {"byteOffset": offset, "byteLength": 1}  # else it counts from where the unpacked stream begins
    return {
        "ruleId": finding["code"],
        "ruleIndex": codes.index(finding["code"]),
        "level": finding["severity"],
        "message": {"text": f"{finding['title']}: {text}"},
        "locations": [{"physicalLocation": {"artifactLocation": _location(result.path), "region": region}}],
        # GitHub reads this name only; it is ours all the same, since there are no lines to hash.
        "partialFingerprints": {"primaryLocationLineHash": fingerprint},
        "properties": {
            "status": result.status,
            "streamOffset": offset,
            "globalName": finding["global_name"],
            "advice": finding["advice"],
        },
    }


def _sentences(message: str, advice: str | None) -> str:
    return message if advice is None else f"{message}. {advice}"


def _at(path: str) -> dict[str, Any]:
    return {"locations": [{"physicalLocation": {"artifactLocation": _location(path)}}]} if path else {}


def _location(path: str) -> dict[str, Any]:
    """Return where a file is: from the folder that the command runs in, where it is inside of that."""
    inside = local_path(path)
    if inside is None:
        return {"uri": _absolute_uri(os.path.realpath(path) if ".." in PurePath(path).parts else path)}
    return {"uri": _quoted(inside), "uriBaseId": _BASE}


def _absolute_uri(path: str) -> str:
    return f"file://{_quoted(PurePath(path).as_posix())}"


def _quoted(path: str) -> str:
    """Return a path for a URI: its very bytes, percent-encoded where they are not plain."""
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(os.fsencode(path), safe="/")
