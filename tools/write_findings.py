"""Write docs/reference/findings.md from the table in safeload/findings.py."""

from __future__ import annotations

from pathlib import Path

from safeload.findings import FINDING_KINDS

GROUPS = {
    "SL1": "Trust",
    "SL2": "Integrity",
    "SL3": "Malformed",
    "SL4": "Policy",
    "SL5": "Limits",
    "SL6": "Environment",
    "SL7": "What an audit finds in a policy",
}

TARGET = Path(__file__).parent.parent / "docs" / "reference" / "findings.md"


def text() -> str:
    """Return the page."""
    lines = [
        "# Finding codes",
        "",
        "Every reason to refuse an artifact has a code. A code keeps its meaning in all releases. Offsets count bytes",
        "from the start of the pickle stream; if the artifact is compressed, from the start of the unpacked stream.",
    ]
    for prefix, group in GROUPS.items():
        lines += ["", f"## {group}", "", "| code | what it means | what to do |", "| --- | --- | --- |"]
        lines += [
            f"| {rule.code} | {rule.title} | {rule.advice} |"
            for rule in FINDING_KINDS.values()
            if rule.code[:3] == prefix
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
