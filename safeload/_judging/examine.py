"""Examine an artifact: from its open stream to the report, for every command and function."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from safeload._judging.proposal import packs_for, propose
from safeload._judging.reasons import reason_of_name, reason_of_state, true_reasons
from safeload._judging.report import Report, grantable_uses
from safeload._scan import Limits, Trace, scan_stream
from safeload._scan.sources import open_source
from safeload.findings import Finding, RefusedError
from safeload.policy import denied_reason

if TYPE_CHECKING:
    import io
    from pathlib import Path

    from safeload._judging.criteria import Criteria
    from safeload._manifest.manifest import Manifest
    from safeload.policy import Policy

__all__ = [
    "examine",
]

_NOTHING = Trace(protocol=0, opcodes=0, arrays=0, end=0, globals=(), findings=())


def examine(
    stream: io.BufferedReader[Any],
    target: Path,
    size: int,
    criteria: Criteria,
    manifest: Manifest | None = None,
    keep: io.BytesIO | None = None,
) -> tuple[Report, Trace]:
    """Scan an artifact through a stream that stands at its first byte.

    `keep` is given what a compressed one unpacks to, unless that is much: then it is left empty.
    """
    compression = None
    trace = _NOTHING
    findings: tuple[Finding, ...] = ()
    policy, limits = criteria.policy, criteria.limits
    in_force = limits.for_file(size)
    try:
        source, compression = open_source(
            stream, size, max_unpacked=in_force.max_unpacked, max_ratio=in_force.max_ratio, keep=keep
        )
        trace = scan_stream(source, policy, in_force)
        findings = tuple(_explained(finding, limits, in_force) for finding in trace.findings)
        if not findings:
            source.finish()
    except RefusedError as refused:
        findings = (refused.finding,)
    findings = true_reasons(stream, size, findings, trace)
    unread = trace is _NOTHING or any(
        finding.code in ("SL323", "SL327") for finding in findings
    )  # it is no pickle, then
    if manifest is not None and not findings and compression != manifest.compression:
        findings = (
            Finding("SL102", f"it says compression {manifest.compression}, and the artifact's is {compression}"),
        )
    report = Report(
        path=str(target),
        findings=findings,
        globals=trace.globals,
        format=None if unread else "joblib" if trace.arrays else "pickle",
        compression=compression,
        size=size,
        protocol=None if unread else trace.protocol,
        opcodes=trace.opcodes,
        arrays=trace.arrays,
        policy_name=policy.name,
        policy_digest=policy.digest,
        manifest=manifest,
        unchecked=policy.unchecked(use.name for use in trace.globals),
    )
    return (_advised(report, policy) if findings else report), trace


def _advised(report: Report, policy: Policy) -> Report:
    """Return a report with what would make the policy allow it, and with the pack as the advice where one does."""
    lacking = {finding.global_name for finding in report.findings if finding.code in ("SL401", "SL402")}
    uses = [use.missing for use in report.globals if use.name in lacking]
    covered = propose([use for use in uses if use.roles], policy)
    if covered.packs:
        without = {use.name for use in packs_for(uses, policy)[1]}
        findings = tuple(
            replace(finding, advice=covered.pack_line)
            if finding.global_name in lacking - without and finding.code in ("SL401", "SL402")
            else finding
            for finding in report.findings
        )
        report = replace(report, findings=findings)
    return replace(report, proposal="\n".join(covered.lines())) if grantable_uses(report) else report


def _explained(finding: Finding, limits: Limits, in_force: Limits) -> Finding:
    """Say of a global that is not listed when no policy could list it, and which limit a small file met."""
    if finding.code == "SL501" and in_force.max_opcodes < limits.max_opcodes:
        text = (
            f"more work than a file of this size may make: {in_force.max_opcodes} opcodes (min_opcodes, and its size)"
        )
        return Finding("SL501", text, finding.offset)
    reason = denied_reason(finding.global_name) if finding.code == "SL401" and finding.global_name else None
    if reason is not None:
        finding = Finding("SL405", f"no policy can allow it: {reason}", finding.offset, finding.global_name)
    return reason_of_state(reason_of_name(finding))
