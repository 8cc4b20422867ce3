"""Results for other programs: SARIF for code scanning, JUnit XML for test reports, one HTML page for people.

Names and messages come from files that nobody trusts: unprintable characters are shown as escapes (`plain`), and each
format's own escaping is left to the library that writes it.
"""

from __future__ import annotations

import json
import os
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from safeload._cli.options.common import tool_version
from safeload._cli.terminal import human_size, plain, plain_lines
from safeload.findings import FINDING_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from safeload._cli.report.deliver import Result

__all__ = ["html_text", "junit_text", "sarif_text"]

_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_VERSION_MISMATCH = "SL601"
_WORST_FIRST = ("error", "warning", "note")


def _findings(result: Result) -> Iterator[dict[str, Any]]:
    """Yield what was found about one file, each with its severity; that other versions wrote it, too."""
    for finding in result.data.get("findings", ()):
        yield {**finding, "severity": finding.get("severity") or FINDING_KINDS[finding["code"]].severity}
    for line in result.data.get("version_mismatches", ()):
        rule = FINDING_KINDS[_VERSION_MISMATCH]
        yield {
            "code": rule.code,
            "title": rule.title,
            "message": line,
            "offset": None,
            "global_name": None,
            "severity": rule.severity,
        }


def _said(finding: Mapping[str, Any]) -> str:
    name = "" if finding["global_name"] is None else f"{finding['global_name']}: "
    return plain_lines(f"{name}{finding['message']}")


def _where(finding: Mapping[str, Any]) -> str:
    if finding.get("line") is not None:
        return f"line {finding['line']}"
    return "" if finding["offset"] is None else f"byte {finding['offset']}"


# ----------------------------------------------------------------------------------------------------- SARIF


def sarif_text(results: Sequence[Result], command: str) -> str:
    """Return the results as SARIF 2.1.0: a result for each finding, a notification for what could not be judged."""
    listed = [(result, finding) for result in results for finding in _findings(result)]
    codes = sorted({finding["code"] for _, finding in listed})
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
                        "message": {"text": plain_lines(result.error)},
                        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(result.path)}}}],
                    }
                    for result in failed
                ],
            }
        ],
        "artifacts": [
            {"location": {"uri": _uri(result.path)}, "roles": ["analysisTarget"]} for result in results if result.path
        ],
        "results": [_sarif_result(result, finding, codes) for result, finding in listed],
        "columnKind": "utf16CodeUnits",
        "properties": {"command": command},
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
        "message": {"text": f"{finding['title']}: {_said(finding)}"},
        "locations": [{"physicalLocation": place}],
        "properties": {"streamOffset": offset, "globalName": finding["global_name"]},
    }


def _uri(path: str) -> str:
    """Return a path as a URI reference: its very bytes, percent-encoded where they are not plain."""
    from urllib.parse import quote_from_bytes

    quoted = quote_from_bytes(os.fsencode(PurePath(path).as_posix()), safe="/")
    return f"file://{quoted}" if quoted.startswith("/") else quoted


# ----------------------------------------------------------------------------------------------------- JUnit


def junit_text(results: Sequence[Result], command: str, counts: Mapping[str, int]) -> str:
    """Return the results as JUnit XML: a test case for each file, failed where refused, in error where not judged."""
    from xml.etree import ElementTree as ET

    totals = {"tests": str(len(results)), "failures": str(counts["refused"]), "errors": str(counts["error"])}
    root = ET.Element("testsuites", {"name": "safeload", **totals})
    suite = ET.SubElement(root, "testsuite", {"name": f"safeload {command}", **totals, "skipped": "0"})
    for result in results:
        case = ET.SubElement(suite, "testcase", {"classname": f"safeload.{command}", "name": plain(result.path)})
        findings = list(_findings(result))
        if result.verdict == "error":
            problem = ET.SubElement(case, "error", {"type": "error", "message": plain(result.error)})
            problem.text = plain_lines(result.error)
        elif result.verdict == "refused":
            against = [finding for finding in findings if finding["severity"] == "error"] or findings
            titles = ", ".join(dict.fromkeys(f"{finding['code']} {finding['title']}" for finding in against))
            problem = ET.SubElement(
                case, "failure", {"type": against[0]["code"] if against else "refused", "message": titles}
            )
            problem.text = _junit_lines(findings)
        elif findings:
            ET.SubElement(case, "system-out").text = _junit_lines(findings)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _junit_lines(findings: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for finding in findings:
        where = _where(finding)
        lines.append(f"{finding['code']} {finding['title']}{f' at {where}' if where else ''}: {_said(finding)}")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------ HTML


def html_text(
    results: Sequence[Result],
    command: str,
    counts: Mapping[str, int],
    sections: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the results as one page without scripts, and without anything from elsewhere.

    `sections` are tables to go below: each a mapping of `title`, `headings` and `rows`.
    """
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
        command=command,
        version=tool_version(),
        counts=counts,
        files=[_html_file(result) for result in sorted(results, key=lambda one: order[one.verdict])],
        sections=sections,
    )
    return page


def _html_file(result: Result) -> dict[str, Any]:
    data = result.data
    findings = sorted(_findings(result), key=lambda finding: _WORST_FIRST.index(finding["severity"]))
    facts = [data.get("format"), data.get("compression")]
    if data.get("size") is not None:
        facts.append(human_size(data["size"]))
    if (data.get("policy") or {}).get("name"):
        facts.append(f"policy {data['policy']['name']}")
    drift = data.get("version_mismatches", ())
    return {
        "path": result.path,
        "verdict": result.verdict,
        "word": result.word if result.verdict == "allowed" else result.verdict,
        "error": result.error,
        "facts": ", ".join(fact for fact in facts if fact),
        "findings": [
            {
                "code": finding["code"],
                "title": finding["title"],
                "severity": finding["severity"],
                "where": _where(finding),
                "said": _said(finding),
                "advice": FINDING_KINDS[finding["code"]].advice,
            }
            for finding in findings
        ],
        "globals": [
            {"name": f"{use['module']}.{use['qualname']}", "roles": ", ".join(use["roles"])}
            for use in data.get("globals", ())
        ],
        "notes": [note for note in result.notes if note not in drift],
    }
