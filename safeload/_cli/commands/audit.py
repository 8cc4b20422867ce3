"""audit: what a policy allows and whether it should, and what artifacts need of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from safeload._cli.exit_codes import ALLOWED, NOTHING, REFUSED, worst
from safeload._cli.failures import MisuseError
from safeload._cli.options.common import (
    PATH,
    Session,
    debug_option,
    jobs_option,
    keyring_option,
    limits_option,
    limits_with,
    paths_or_none_argument,
    policy_option,
    report_options,
)
from safeload._cli.options.walking import selection_options
from safeload._cli.report.deliver import deliver_lines, reported_failure
from safeload._cli.report.files import Output, check_output
from safeload._cli.report.policy_files import policy_name, require_new, write_policy
from safeload._cli.report.result import Problem, Result, failure, judged, summary
from safeload._cli.report.text import result_lines, skipped_count, skipped_lines, suggestion_lines
from safeload._cli.running.progress import progress
from safeload._cli.running.walk import find_artifacts, say_empty, walked_results
from safeload._cli.running.workers import each
from safeload._cli.terminal import Painter, plain, say_error, say_note, table, wrapped
from safeload.errors import KeyringError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from safeload._cli.report.content import Listing
    from safeload._cli.running.walk import Found, Selection
    from safeload._scan import Limits
    from safeload.audit import ArtifactAudit, LintFinding, Needs, PolicyLint
    from safeload.policy import Policy

__all__ = ["audit"]

_MAX_SHOWN = 12  # notes about packs, and unneeded rules, in text; JSON has them all
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
_TITLES = {"error": "errors", "warning": "warnings", "note": "notes"}


@click.command(short_help="Check a policy itself, or what artifacts need of it.")
@paths_or_none_argument
@policy_option
@click.option("--no-import", "no_import", is_flag=True, help="Without PATH: do not import what the policy names.")
@click.option("--packs", is_flag=True, help="Without PATH: show the notes about the shipped packs, too.")
@click.option("--against", metavar="NAME|PATH", help="With PATH: say what this policy would change, proposed instead.")
@click.option(
    "--minimal",
    metavar="FILE",
    type=PATH,
    help="With PATH: write the part of the policy that is needed to FILE.",
)
@keyring_option
@limits_option
@selection_options
@jobs_option
@report_options
@debug_option
@click.pass_obj
def audit(
    session: Session,
    paths: tuple[str, ...],
    policy: str,
    no_import: bool,
    packs: bool,
    against: str | None,
    minimal: str | None,
    keyring: str | None,
    limits: dict[str, int],
    selection: Selection,
    jobs: int,
    out: Output,
) -> int:
    """Check a policy itself or, with PATHs, what artifacts need of it.

    Without PATHs: what the policy is made of, and its rules that are not valid or expired, that let code run, that
    stand for something else here, or that nothing can use. To see what the names are, THIS IMPORTS every module that
    the policy names, in a process of its own; --no-import does without. Exit code 1: a rule is unsafe or not valid or,
    with --strict, there is a warning.

    With PATHs (files, or folders to walk): which rules the artifacts need and which none needs, and with which versions
    they were written. Nothing is unpickled or imported. Exit code 1: an artifact is refused by the policy or, with
    --against, by the one that is proposed.
    """
    if not paths:
        artifacts_only = (("--against", against), ("--minimal", minimal), ("--limit", limits))
        for option, value in (*artifacts_only, ("--include", selection.include)):
            if value:
                raise MisuseError(f"{option} is for an audit of artifacts", advice="Name files or folders.")
        return _audit_policy(policy, no_import=no_import, packs=packs, strict=selection.strict, out=out)
    if packs:
        raise MisuseError("--packs is for an audit of the policy alone", advice="Leave it out, or leave out PATH.")
    if no_import:
        raise MisuseError(
            "--no-import is for an audit of the policy alone: an audit of artifacts imports nothing",
            advice="Leave it out, or leave out PATH.",
        )
    task = _Auditing(policy=policy, against=against, keyring=keyring, limits=limits, debug=session.debug)
    return _audit_artifacts(task, paths, selection, jobs=jobs, minimal=minimal, out=out)


# ------------------------------------------------------------------------------------------- a policy alone


def _audit_policy(policy: str, *, no_import: bool, packs: bool, strict: bool, out: Output) -> int:
    from safeload.audit import lint
    from safeload.policy import split_names

    names = split_names(policy)
    check_output(out, names)
    found = lint(names, environment=not no_import, packs=packs)
    by_origin: dict[str, list[LintFinding]] = {file.origin: [] for file in found.files}
    for finding in found.findings:
        by_origin[finding.origin].append(finding)
    results = [
        Result(
            path=origin,
            verdict="refused" if any(finding.severity == "error" for finding in findings) else "allowed",
            data={"findings": [finding.to_dict() for finding in findings], "globals": []},
        )
        for origin, findings in by_origin.items()
    ]
    facts = {
        "name": found.name,
        "digest": found.digest,
        "safe": found.safe,
        "imported": found.looked_up is not None,
        "files": [
            {
                "origin": file.origin,
                "name": file.name,
                "extends": list(file.extends),
                "rules": len(file.rules),
                "globals": sum(len(rule.names) for rule in file.rules),
            }
            for file in found.files
        ],
    }
    deliver_lines(
        results,
        lambda paint, listing: _lint_lines(found, paint, quiet=out.quiet or listing.on_stderr),
        command="audit",
        out=out,
        extra={"policy": facts},
    )
    warned = any(finding.severity == "warning" for finding in found.findings)
    return REFUSED if not found.safe or (strict and warned) else ALLOWED


def _lint_lines(found: PolicyLint, paint: Painter, *, quiet: bool) -> Iterator[str]:
    if not quiet:
        names = {f"{rule.module}.{name}" for file in found.files for rule in file.rules for name in rule.names}
        rules = sum(len(file.rules) for file in found.files)
        yield f"{paint('policy', bold=True)} {plain(found.name)}: {rules} rules, {len(names)} globals"
        yield from wrapped(found.digest or "no digest: rules are not valid, so nothing is loaded under it", paint.width)
        yield from _file_table(found, paint)
        if found.looked_up is None:
            yield "the environment was not looked into (--no-import)"
        else:
            yield from wrapped(f"{found.looked_up} of the names are in this environment", paint.width)
    for severity in _TITLES:
        of_kind = [finding for finding in found.findings if finding.severity == severity]
        if of_kind and not (quiet and severity == "note"):
            yield ""
            yield from _severity_lines(severity, of_kind, paint)
    if not quiet:
        yield ""
        yield (
            "no rule is unsafe or not valid"
            if found.safe
            else paint("NOT SAFE: see the errors above", "red", bold=True)
        )


def _file_table(found: PolicyLint, paint: Painter) -> Iterator[str]:
    rows = [
        (file.origin, str(len(file.rules)), str(sum(len(rule.names) for rule in file.rules)), ", ".join(file.extends))
        for file in found.files
    ]
    yield ""
    yield table(paint, ("file", "rules", "globals", "extends"), rows, indent="  ")
    yield ""


def _severity_lines(severity: str, findings: Sequence[LintFinding], paint: Painter) -> Iterator[str]:
    count = f"{len(findings)} {_TITLES[severity] if len(findings) > 1 else severity}"
    yield paint(count, _COLOURS[severity], bold=True)
    shown = findings if severity != "note" else findings[:_MAX_SHOWN]
    rows = [(finding.code, _at(finding), f"{finding.title}: {finding.message}") for finding in shown]
    yield table(paint, ("code", "where", "what"), rows, indent="  ")
    if len(shown) < len(findings):
        yield f"  … and {len(findings) - len(shown)} more: --format json has them all"


def _at(finding: LintFinding) -> str:
    return finding.origin if finding.line is None else f"{finding.origin}, line {finding.line}"


# ------------------------------------------------------------------------------------------------- artifacts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Auditing:
    """What to do with each file; it can be sent to another process, and holds no key."""

    policy: str
    against: str | None
    keyring: str | None
    limits: dict[str, int] = field(default_factory=dict)
    debug: bool = False

    def start(self) -> Callable[[str], ArtifactAudit]:
        """Return what looks at one file, policies and keyring read already.

        Raises:
            KeyringError, PolicyFileError: they cannot be used.
            BadValueError: there are no such limits.
        """
        from safeload.audit import look_at
        from safeload.keys import resolve_keyring
        from safeload.policy import Policy

        policy = Policy.named(self.policy)
        against = None if self.against is None else Policy.named(self.against)
        limits = self.most(policy)
        try:
            ring = resolve_keyring(self.keyring)
        except KeyringError:
            if self.keyring is not None:
                raise
            ring = None  # then no manifest is read
        return lambda path: look_at(path, policy, against=against, keyring=ring, limits=limits)

    def most(self, policy: Policy) -> Limits | None:
        """Return the limits for all policies, if --limit gave any; without, each policy has its own."""
        return limits_with(policy, self.limits) if self.limits else None


def _audit_artifacts(
    task: _Auditing,
    paths: Sequence[str],
    selection: Selection,
    *,
    jobs: int,
    minimal: str | None,
    out: Output,
) -> int:
    from safeload.audit import needs_of
    from safeload.policy import Policy

    require_new(minimal)
    found = find_artifacts(paths, selection)
    check_output(out, found.files)
    with reported_failure("audit", out):
        work = task.start()
    results = walked_results(found)
    audits: list[ArtifactAudit] = []
    with progress("auditing", len(found.files), quiet=out.quiet) as advance:
        for path, one in each(task, work, found.files, jobs):
            if isinstance(one, Problem):
                results.append(failure(path, one))
            else:
                audits.append(one)
                results.append(_result(one))
            advance()
    say_empty(found)
    policy = Policy.named(task.policy)
    needs = needs_of(policy, [one.report for one in audits])
    if minimal is not None:
        _write_minimal(policy, audits, minimal, task.most(policy))
    deliver_lines(
        results,
        lambda paint, listing: _artifact_lines(task, policy, results, found, audits, needs, paint, listing),
        command="audit",
        out=out,
        found=found,
        extra={
            "policy": {"name": policy.name, "digest": policy.digest},
            "needs": needs.to_dict(),
            "against": _changes(task, audits),
        },
        sections=_sections(task, audits, needs),
    )
    code = worst(_verdict(result, task) for result in results)
    if code == NOTHING:
        say_error("nothing to audit")
    return code


def _result(one: ArtifactAudit) -> Result:
    result = judged(one.path, one.report)
    other = one.against
    data = result.data
    if other is not None:
        against = {"verdict": other.verdict, "change": one.change, "findings": [f.to_dict() for f in other.findings]}
        data = {**data, "against": against}
    return replace(result, data=data, notes=(*result.notes, *one.notes))


def _verdict(result: Result, task: _Auditing) -> str:
    """Return what counts for the exit code: with another policy proposed, what that makes of the file."""
    if task.against is None or "against" not in result.data:
        return result.verdict
    return str(result.data["against"]["verdict"])


def _changes(task: _Auditing, audits: Sequence[ArtifactAudit]) -> dict[str, Any] | None:
    if task.against is None:
        return None
    return {
        "policy": task.against,
        "broken": [one.path for one in audits if one.change == "broken"],
        "newly_allowed": [one.path for one in audits if one.change == "newly allowed"],
    }


def _write_minimal(policy: Policy, audits: Sequence[ArtifactAudit], minimal: str, limits: Limits | None) -> None:
    from safeload.audit import minimal_policy

    name = policy_name(minimal, "minimal")
    write_policy(minimal_policy(policy, [one.report for one in audits], name=name, limits=limits), minimal)
    say_note(
        f"{plain(minimal)} allows all that is allowed here, and nothing else: safeload policy show {plain(minimal)}"
    )


def _artifact_lines(
    task: _Auditing,
    policy: Policy,
    results: Sequence[Result],
    found: Found,
    audits: Sequence[ArtifactAudit],
    needs: Needs,
    paint: Painter,
    listing: Listing,
) -> Iterator[str]:
    order = {"refused": 0, "error": 1, "allowed": 2}
    listed = listing.of(sorted(results, key=lambda one: order[one.verdict]))
    for result in listed:
        yield from result_lines(result, paint)
    yield from suggestion_lines(listed, task.policy)
    if listing.quiet and task.against is None:
        return
    if listed:
        yield ""
    yield from (line for one in listing.skipped(found) for line in skipped_lines(one, paint))
    counts = summary(results, found)
    parts = [f"{counts['allowed']} allowed", f"{counts['refused']} refused"]
    if counts["error"]:
        parts.append(f"{counts['error']} could not be judged")
    yield f"{len(results)} audited under policy {plain(policy.name)}: {', '.join(parts)}{skipped_count(counts)}"
    if task.against is not None:
        yield ""
        yield from _against_lines(task.against, audits, paint)
    if listing.quiet or listing.on_stderr or not any(one.report.allowed for one in audits):
        return
    yield ""
    yield paint("what those that are allowed need", bold=True)
    yield table(paint, _NEEDS, _needs_rows(needs), indent="  ")
    yield from _unneeded_lines(needs, paint)


_NEEDS = ("file", "rules needed", "names needed")


def _needs_rows(needs: Needs) -> list[tuple[str, str, str]]:
    return [(origin, f"{rules} of {of}", f"{names} of {all_}") for origin, rules, of, names, all_ in needs.files]


def _unneeded_lines(needs: Needs, paint: Painter) -> Iterator[str]:
    """List what a project's own files have that nothing needs; that a pack has more than one needs is its nature."""
    own = [one for one in needs.unneeded if not one.where.startswith("pack ")]
    if not own:
        return
    yield ""
    yield paint("what none of them needs", bold=True)
    rows = [
        (one.where, ("the rule: " if one.whole else "") + ", ".join(f"{one.module}.{n}" for n in one.names))
        for one in own
    ]
    yield table(paint, ("where", "what"), rows[:_MAX_SHOWN], indent="  ")
    if len(rows) > _MAX_SHOWN:
        yield f"  … and {len(rows) - _MAX_SHOWN} more: --format json has them all"


def _against_lines(against: str, audits: Sequence[ArtifactAudit], paint: Painter) -> Iterator[str]:
    yield paint(f"under policy {plain(against)} instead", bold=True)
    changed = [one for one in audits if one.change != "same"]
    for one in sorted(changed, key=lambda one: one.change):
        yield f"  {paint(one.change, 'red' if one.change == 'broken' else 'yellow', bold=True)}  {plain(one.path)}"
        for finding in one.against.findings[:_MAX_SHOWN] if one.against is not None else ():
            name = "" if finding.global_name is None else f"{finding.global_name}: "
            text = f"{finding.code} {finding.title}: {name}{finding.message}"
            yield from wrapped(plain(text), paint.width, "    ", "      ")
    if not changed:
        yield "  no verdict would change"


def _sections(task: _Auditing, audits: Sequence[ArtifactAudit], needs: Needs) -> list[dict[str, Any]]:
    sections: list[dict[str, Any]] = []
    if task.against is not None:
        rows = [(one.change, one.path) for one in audits if one.change != "same"]
        sections.append({"title": "Under the proposed policy", "headings": ("change", "file"), "rows": rows})
    sections.append({"title": "What those that are allowed need", "headings": _NEEDS, "rows": _needs_rows(needs)})
    own = [(one.where, one.module, ", ".join(one.names)) for one in needs.unneeded if not one.where.startswith("pack ")]
    if own:
        sections.append({"title": "What none of them needs", "headings": ("where", "module", "names"), "rows": own})
    return sections
