"""Which weakness of the CWE list each finding code is about, and how grave it is: what code scanning sorts by."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Weakness", "weakness_of"]


@dataclass(frozen=True, slots=True)
class Weakness:
    """What code scanning knows of a finding code.

    Attributes:
        cwe: numbers of the CWE list, the closest one first; empty where nothing is about security.
        severity: from 0.1 to 10, as CVSS counts; None where nothing is about security.
    """

    cwe: tuple[int, ...] = ()
    severity: str | None = None

    @property
    def tags(self) -> list[str]:
        """The tags that GitHub reads: security, and the CWE numbers."""
        return (
            ["security", *(f"external/cwe/cwe-{number:03}" for number in self.cwe)] if self.cwe else ["compatibility"]
        )

    @property
    def page(self) -> str:
        """The address of a page that explains the weakness."""
        if self.cwe:
            return f"https://cwe.mitre.org/data/definitions/{self.cwe[0]}.html"
        return "https://scikit-learn.org/stable/model_persistence.html"


_LINT = Weakness((183,), "4.0")

# By code, or by the first three letters of it: the longest that fits counts.
_WEAKNESSES = {
    "SL1": Weakness((345,), "7.5"),
    "SL101": Weakness((347, 345), "7.5"),
    "SL102": Weakness((347,), "7.5"),
    "SL103": Weakness((347,), "7.5"),
    "SL104": Weakness((347,), "9.1"),
    "SL2": Weakness((354,), "8.1"),
    "SL3": Weakness((502,), "7.5"),
    "SL326": Weakness((502, 787), "8.8"),
    "SL4": Weakness((502,), "8.8"),
    "SL405": Weakness((502, 94), "9.8"),
    "SL5": Weakness((400,), "5.3"),
    "SL503": Weakness((409, 400), "5.3"),
    "SL504": Weakness((409, 400), "5.3"),
    "SL6": Weakness(),
    "SL609": Weakness((502,), "8.8"),
    "SL7": _LINT,
    "SL703": Weakness((183, 502), "8.8"),
    "SL704": Weakness((183, 502), "8.8"),
}


def weakness_of(code: str) -> Weakness:
    """Return what code scanning knows of a finding code."""
    return _WEAKNESSES.get(code) or _WEAKNESSES[code[:3]]
