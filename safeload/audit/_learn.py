"""Learn from trusted artifacts: the smallest policy, on top of another, that allows them. Nothing is unpickled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safeload._judging.proposal import packs_for
from safeload._judging.report import missing_uses
from safeload.audit._scan import look_into
from safeload.errors import PolicyFileError
from safeload.policy import proposed_policy, resolve_policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeload._scan import GlobalUse, Limits
    from safeload.findings import Finding
    from safeload.policy import Policy

__all__ = ["TODO", "Lesson", "learn"]

TODO = "TODO: who reviewed it, and why it is safe to load"


@dataclass(frozen=True, slots=True)
class Lesson:
    """What was learned.

    Attributes:
        text: the proposed policy as TOML; "" where nothing is missing or nothing can be proposed.
        packs: the shipped packs that it extends on top of the policy that it was to build on.
        uses: what its rules grant on top of those.
        remaining: by path, the findings that it does not clear, and why: nobody could propose a rule against them.
        failed: by path, why an artifact could not be read.
    """

    text: str
    packs: tuple[str, ...]
    uses: tuple[GlobalUse, ...]
    remaining: tuple[tuple[str, tuple[Finding, ...]], ...]
    failed: tuple[tuple[str, Exception], ...]


def learn(
    paths: Sequence[str], base: Policy, *, extends: Sequence[str], name: str, limits: Limits | None = None
) -> Lesson:
    """Propose the rules that these artifacts need beyond a policy; `extends` is how the proposal names its files.

    `limits` take the place of the policy's.

    An artifact that names what the denylist denies, or that cannot be read as a pickle in full, teaches nothing:
    no rule is proposed for anything in it. What a rule of the policy allows in other forms only is not widened, and
    what a shipped pack allows is left to that pack.
    """
    packs: list[str] = []
    learned: dict[str, list[GlobalUse]] = {}
    failed: dict[str, Exception] = {}
    current, text = base, ""
    while True:
        remaining: dict[str, tuple[Finding, ...]] = {}
        new: list[GlobalUse] = []
        found: list[str] = []
        for path in paths:
            if path in failed:
                continue
            try:
                report = look_into(path, current, limits)[0]
            except Exception as error:  # noqa: BLE001 - one file's failure must not hide what the others teach
                failed[path] = error
                continue
            if report.findings:
                remaining[path] = report.findings
            covering, rest = packs_for(missing_uses(report), current)
            found += covering
            new += map(_plain, (*rest, *_widened(report.findings, learned)))
        packs += [pack for pack in dict.fromkeys(found) if pack not in packs]
        if found:
            base = resolve_policy([base, *packs])
        # It ends: each round adds a pack or a use that was not there, and there are only so many.
        if not _add(new, learned, base) and not found:
            break
        text = proposed_policy(_all(learned), [*extends, *packs], name=name, reason=TODO)
        current = base.extended(text)
    return Lesson(
        text=f"{text}\n" if text else "",
        packs=tuple(packs),
        uses=tuple(_all(learned)),
        remaining=tuple(remaining.items()),
        failed=tuple(failed.items()),
    )


def _add(uses: Sequence[GlobalUse], learned: dict[str, list[GlobalUse]], base: Policy) -> bool:
    """Add the uses that a valid rule can grant; tell whether there was any."""
    added = False
    for use in uses:
        known = learned.setdefault(use.name, [])
        if use in known:
            continue
        try:
            base.extended(proposed_policy([use], [base.name]))
        except PolicyFileError:
            continue  # such as a call with more arguments than the scanner notes
        known.append(use)
        added = True
    return added


def _all(learned: dict[str, list[GlobalUse]]) -> list[GlobalUse]:
    return [use for name in sorted(learned) for use in learned[name]]


def _plain(use: GlobalUse) -> GlobalUse:
    """Forget where it was seen: two files that use a global alike teach the same."""
    return replace(use, roles=dict.fromkeys(use.roles, 0))


def _widened(findings: Sequence[Finding], learned: dict[str, list[GlobalUse]]) -> list[GlobalUse]:
    """Return, for what was learned, the plain forms that no trace notes: made without arguments, attributes."""
    wider = []
    for finding in findings:
        known = learned.get(finding.global_name or "")
        if known and finding.code == "SL403" and "new" in known[0].roles:
            wider.append(replace(known[0], seen_args=("[]",)))
        elif known and finding.code == "SL404":
            wider.append(replace(known[0], seen_state='"attributes"'))
    return wider
