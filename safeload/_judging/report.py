"""The report: everything that was found about one artifact, and the errors that it turns into."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safeload._internal.notebook import facts_table
from safeload.errors import (
    LimitExceededError,
    MalformedArtifactError,
    PolicyViolationError,
    StorageError,
    VersionMismatchError,
)
from safeload.findings import ONLY_HERE, Finding

if TYPE_CHECKING:
    from safeload._manifest.manifest import Manifest
    from safeload._scan import GlobalUse
    from safeload.errors import VerificationError
    from safeload.policy import Policy

__all__ = [
    "Report",
    "SecondOpinion",
    "grantable_uses",
    "missing_uses",
    "refused_report",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOpinion:
    """What fickling, which shares nothing with the scanner, makes of the same artifact without its arrays.

    Attributes:
        version: of fickling, "" where it was not asked.
        examined: whether it could read all of it; if not, `reason` says why, and nothing was said in its favour.
        reason: why it was not examined, or not compared.
        agrees: whether it reads the same globals, calls, opcodes and end as the scanner; None if not compared.
        severity: fickling's own judgement, by its name for it.
        remarks: fickling's own reasons, each with its severity, the gravest first.
        pickles, opcodes, imports: how many it read.
    """

    version: str = ""
    examined: bool = False
    reason: str | None = None
    agrees: bool | None = None
    severity: str | None = None
    remarks: tuple[tuple[str, str], ...] = ()
    pickles: int = 0
    opcodes: int = 0
    imports: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the opinion as JSON can hold it."""
        return {
            "tool": "fickling",
            "version": self.version or None,
            "examined": self.examined,
            "reason": self.reason,
            "agrees": self.agrees,
            "severity": self.severity,
            "remarks": [{"severity": severity, "message": message} for severity, message in self.remarks],
            "pickles": self.pickles,
            "opcodes": self.opcodes,
            "imports": self.imports,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `scan` and `verify` found about one artifact.

    Attributes:
        path: the artifact, as it was given.
        findings: every reason to refuse it; without any it is allowed, or there is an `error`.
        error: why it could not be judged, which is neither allowed nor refused; `Store.verify` only.
        advice: what to do about `error`, where it is known.
        globals: every global that its pickle names, with the roles it is used in.
        format: "joblib" or "pickle", None where that was not reached.
        compression: joblib's name of the compressor, or "none".
        size: of the file, in bytes.
        protocol: of the pickle.
        opcodes, arrays: how many the pickle has; arrays are those that joblib wrote.
        policy_name, policy_digest: what it was held against.
        manifest: what was signed, when the signature held.
        second_opinion: fickling's, if it was asked for.
        proposal: what would make the policy allow it, as text: packs to use or rules to review; "" if nothing would.
        unchecked: bytes that the verdict does not cover, because another library's own parser reads them.
        version_mismatches: a line for each package whose installed version differs from the one that wrote it;
            `verify` only.
    """

    path: str
    findings: tuple[Finding, ...]
    globals: tuple[GlobalUse, ...] = ()
    format: str | None = None
    compression: str | None = None
    size: int | None = None
    protocol: int | None = None
    opcodes: int = 0
    arrays: int = 0
    policy_name: str = ""
    policy_digest: str = ""
    manifest: Manifest | None = None
    second_opinion: SecondOpinion | None = None
    unchecked: tuple[str, ...] = ()
    version_mismatches: tuple[str, ...] = ()
    proposal: str = ""
    error: str | None = None
    advice: str | None = None

    @property
    def allowed(self) -> bool:
        """Whether it was judged, and nothing was found against it."""
        return not self.findings and self.error is None

    def __repr__(self) -> str:
        codes = ", ".join(dict.fromkeys(finding.code for finding in self.findings))
        return f"<Report {self.verdict} {self.path!r}{f': {codes}' if codes else ''}>"

    def _repr_html_(self) -> str:
        """Return the verdict and every finding as HTML, for notebooks."""
        facts: list[tuple[str, object]] = [("path", self.path), ("policy", self.policy_name), ("error", self.error)]
        if self.manifest is not None:
            facts.append(("signed", f"release {self.manifest.release}, by {', '.join(self.manifest.key_ids)}"))
        for finding in self.findings:
            name = "" if finding.global_name is None else f"{finding.global_name}: "
            facts.append((f"{finding.code} {finding.title}", f"{name}{finding.message}"))
        return facts_table(f"Report: {self.verdict}", facts)

    def __bool__(self) -> bool:
        """Return `allowed`."""
        return self.allowed

    @property
    def verdict(self) -> str:
        """Return "allowed", "refused" or "error"."""
        if self.findings:
            return "refused"
        return "allowed" if self.allowed else "error"

    @property
    def only_here(self) -> bool:
        """Whether it is refused for one reason alone: it would not load in this environment."""
        return bool(self.findings) and all(finding.code in ONLY_HERE for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return {
            "path": self.path,
            "verdict": self.verdict,
            "would_not_load_here": self.only_here,
            "findings": [finding.to_dict() for finding in self.findings],
            "globals": [
                {"module": use.module, "qualname": use.qualname, "roles": dict(use.roles)} for use in self.globals
            ],
            "format": self.format,
            "compression": self.compression,
            "size": self.size,
            "protocol": self.protocol,
            "opcodes": self.opcodes,
            "arrays": self.arrays,
            "policy": {"name": self.policy_name, "digest": self.policy_digest},
            "manifest": None if self.manifest is None else self.manifest.to_dict(),
            "unchecked": list(self.unchecked),
            "version_mismatches": list(self.version_mismatches),
            **({} if self.second_opinion is None else {"second_opinion": self.second_opinion.to_dict()}),
            **({} if self.error is None else {"error": self.error, "advice": self.advice}),
        }

    def raise_if_refused(self) -> None:
        """Raise the error that says why the artifact is refused.

        Raises:
            MalformedArtifactError, LimitExceededError, PolicyViolationError: by what weighs most.
            VersionMismatchError: it is allowed, and would not load here.
            StorageError: it could not be judged.
        """
        if self.allowed:
            return
        if not self.findings:
            raise StorageError(f"could not be judged: {self.error}", advice=self.advice, path=self.path)
        if self.only_here:
            raise VersionMismatchError(f"cannot load it here\n{self.explanation()}", path=self.path)
        codes = {finding.code[:3] for finding in self.findings}
        kind: type[MalformedArtifactError | LimitExceededError | PolicyViolationError]
        if codes & {"SL1", "SL2", "SL3", "SL6"}:
            kind, reason = MalformedArtifactError, "it cannot be understood"
        elif "SL5" in codes:
            kind, reason = LimitExceededError, "it exceeds a limit"
        else:
            kind, reason = PolicyViolationError, f"policy {self.policy_name!r} does not allow it"
        lines = "\n".join(map(_line, self.findings))
        raise kind(f"refused: {reason}\n{lines}", advice=self._advice(), path=self.path, report=self)

    def explanation(self) -> str:
        """Return every finding in a line, and below them the rules or the advice that help."""
        return "\n".join((*map(_line, self.findings), self._advice()))

    def _advice(self) -> str:
        if self.proposal:
            return self.proposal
        return "\n".join(dict.fromkeys(finding.advice for finding in self.findings))


def refused_report(path: str | os.PathLike[str], error: VerificationError, policy: Policy | None = None) -> Report:
    """Return the report of an artifact that was refused before it was scanned, for the reason that was raised."""
    return Report(
        path=os.fspath(path),
        findings=(Finding(error.code, error.describe(path), error.offset, None, error.advice or ""),),
        policy_name="" if policy is None else policy.name,
        policy_digest="" if policy is None else policy.digest,
    )


def _line(finding: Finding) -> str:
    where = "" if finding.offset is None else f" at byte {finding.offset}"
    name = "" if finding.global_name is None else f"{finding.global_name}: "
    return f"  {finding.code} {finding.title}{where}: {name}{finding.message}"


def missing_uses(report: Report) -> tuple[GlobalUse, ...]:
    """Return what rules would have to grant for the artifact to be allowed; empty where none could do.

    Only globals that need a rule or a role (SL401, SL402): an argument or a state that a rule forbids is for a person
    to look at. The roles of each are those that are not granted yet.
    """
    if any(finding.code not in ("SL401", "SL402", "SL403", "SL404") for finding in report.findings):
        return ()
    lacking = {finding.global_name for finding in report.findings if finding.code in ("SL401", "SL402")}
    uses = tuple(use.missing for use in report.globals if use.name in lacking)
    # One with all its roles is refused for where it stands, which no rule changes.
    return uses if all(use.roles for use in uses) else ()


def grantable_uses(report: Report) -> tuple[GlobalUse, ...]:
    """Return what rules would have to grant for the artifact to be allowed; empty where other findings would remain."""
    remain = any(finding.code not in ("SL401", "SL402") for finding in report.findings)
    return () if remain else missing_uses(report)
