"""Results as JUnit XML, for test reports: a test case for each file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeload._cli.report.result import finding_rows, row_place, row_text
from safeload._cli.terminal import plain, plain_lines
from safeload.findings import FINDING_KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from safeload._cli.report.content import Content
    from safeload._cli.terminal import Painter


__all__ = [
    "render",
]


def render(content: Content, _paint: Painter) -> str:
    """Return the results as JUnit XML: a test case for each file, failed where refused, in error where not judged.

    How many files were skipped stands in the properties, because test cases are only those that are listed.
    """
    from xml.etree import ElementTree as ET

    results, command, counts = content.results, content.command, content.facts["summary"]
    tests = len(results) + len(content.skipped)
    totals = {
        "tests": str(tests),
        "failures": str(counts["refused"]),
        "errors": str(counts["error"]),
        "time": f"{sum(result.seconds for result in results):.3f}",
    }
    root = ET.Element("testsuites", {"name": "safeload", **totals})
    suite = ET.SubElement(
        root, "testsuite", {"name": f"safeload {command}", **totals, "skipped": str(len(content.skipped))}
    )
    properties = ET.SubElement(suite, "properties")
    for name in ("skipped", "excluded"):
        ET.SubElement(properties, "property", {"name": f"files {name}", "value": str(counts[name])})
    for result in results:
        name = plain(result.path) or command  # without a path it is about the command as a whole
        case = ET.SubElement(
            suite, "testcase", {"classname": f"safeload.{command}", "name": name, "time": f"{result.seconds:.3f}"}
        )
        findings = list(finding_rows(result))
        if result.verdict == "error":
            problem = ET.SubElement(case, "error", {"type": "error", "message": plain(result.error)})
            problem.text = plain_lines("\n".join(filter(None, (result.error, result.advice))))
        elif result.verdict == "refused":
            against = [finding for finding in findings if finding["severity"] == "error"] or findings
            titles = ", ".join(dict.fromkeys(f"{finding['code']} {finding['title']}" for finding in against))
            said = f"{result.word}: {titles}" if result.word else titles
            problem = ET.SubElement(
                case, "failure", {"type": against[0]["code"] if against else "refused", "message": said}
            )
            problem.text = _junit_lines(findings)
        elif findings:
            ET.SubElement(case, "system-out").text = _junit_lines(findings)
    for one in content.skipped:
        case = ET.SubElement(
            suite, "testcase", {"classname": f"safeload.{command}", "name": plain(one.path), "time": "0.000"}
        )
        code = "" if one.code is None else f"{one.code} {FINDING_KINDS[one.code].title}: "
        ET.SubElement(case, "skipped", {"message": f"{code}{plain(one.reason)}"})
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _junit_lines(findings: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for finding in findings:
        where = row_place(finding)
        lines.append(f"{finding['code']} {finding['title']}{f' at {where}' if where else ''}: {row_text(finding)}")
    lines += map(plain_lines, dict.fromkeys(finding["advice"] for finding in findings))
    return "\n".join(lines)
