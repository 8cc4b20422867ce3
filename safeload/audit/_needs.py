"""What artifacts need of a policy, and what another policy would make of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from safeload._loading.versions import UNKNOWN, version_mismatches
from safeload.audit._scan import look_into
from safeload.errors import PolicyFileError, UnsignedError, VerificationError
from safeload.policy import Policy, policy_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from safeload._judging.report import Report
    from safeload._scan import Limits
    from safeload.keys import Keyring
    from safeload.policy import AllowRule

__all__ = ["ArtifactAudit", "Needs", "Unneeded", "look_at", "minimal_policy", "needs_of"]


@dataclass(frozen=True, slots=True)
class ArtifactAudit:
    """One artifact: its report under the policy, under the other policy if there is one, and what else to know."""

    path: str
    report: Report
    against: Report | None = None
    notes: tuple[str, ...] = ()

    @property
    def change(self) -> str:
        """What the other policy would make of it: "broken", "newly allowed" or "same"."""
        if self.against is None or self.against.allowed == self.report.allowed:
            return "same"
        return "newly allowed" if self.against.allowed else "broken"


def look_at(
    path: str,
    policy: Policy,
    *,
    against: Policy | None = None,
    keyring: Keyring | None = None,
    limits: Limits | None = None,
) -> ArtifactAudit:
    """Scan one artifact under a policy and, if there is one, under another that is proposed in its place.

    `limits` take the place of those of both policies.

    Which versions wrote it is taken from its manifest, where that is signed by a key of the keyring, and from what
    scikit-learn's estimators say in their own state, which is a claim.

    Raises:
        OSError, StorageError: it cannot be read.
    """
    report, trace = look_into(path, policy, limits)
    other = None if against is None else look_into(path, against, limits)[0]
    lines, notes = _written_by_manifest(path, keyring)
    if not lines:
        for version in trace.sklearn_versions:
            lines += version_mismatches(UNKNOWN, {"scikit-learn": version})
    return ArtifactAudit(path, replace(report, version_mismatches=tuple(lines)), other, tuple(notes))


def _written_by_manifest(path: str, keyring: Keyring | None) -> tuple[list[str], list[str]]:
    from safeload._loading.loader import Loader

    if keyring is None:
        return [], []
    try:
        producer = Loader(keyring=keyring).read_manifest(path).producer
    except UnsignedError:
        return [], ["it is not signed, so no manifest says which versions wrote it"]
    except VerificationError as error:
        return [], [f"cannot read from its manifest which versions wrote it: {error.describe(path)}"]
    return version_mismatches(producer.python, producer.packages), []


@dataclass(frozen=True, slots=True)
class Unneeded:
    """One rule of which no artifact needs these names."""

    where: str
    module: str
    names: tuple[str, ...]
    whole: bool  # none of the rule's names is needed


@dataclass(frozen=True, slots=True)
class Needs:
    """What the artifacts that a policy allows need of it.

    `files` has, for each file of the policy: its origin, how many of its rules and of its names are needed, and how
    many there are.
    """

    files: tuple[tuple[str, int, int, int, int], ...]
    unneeded: tuple[Unneeded, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the needs as JSON can hold them."""
        keys = ("origin", "rules_needed", "rules", "names_needed", "names")
        return {
            "files": [dict(zip(keys, file, strict=True)) for file in self.files],
            "unneeded": [{**asdict(one), "names": list(one.names)} for one in self.unneeded],
        }


def _roles_used(reports: Iterable[Report]) -> dict[str, set[str]]:
    used: dict[str, set[str]] = {}
    for report in reports:
        if report.allowed:
            for use in report.globals:
                used.setdefault(use.name, set()).update(use.roles)
    return used


def needs_of(policy: Policy, reports: Sequence[Report]) -> Needs:
    """Return which rules the allowed artifacts need: those that grant one of their names a role that it is used in."""
    used = _roles_used(reports)
    files, unneeded = [], []
    for file in policy.files:
        rules = names = 0
        for rule in file.rules:
            idle = tuple(name for name in rule.names if not used.get(f"{rule.module}.{name}", set()) & set(rule.roles))
            rules += len(idle) < len(rule.names)
            names += len(rule.names) - len(idle)
            if idle:
                unneeded.append(Unneeded(rule.where, rule.module, idle, len(idle) == len(rule.names)))
        listed = sum(len(rule.names) for rule in file.rules)
        files.append((file.origin, rules, len(file.rules), names, listed))
    return Needs(tuple(files), tuple(unneeded))


def minimal_policy(policy: Policy, reports: Sequence[Report], *, name: str, limits: Limits | None = None) -> str:
    """Return, as TOML, the part of a policy that the allowed artifacts need; it extends nothing.

    Rules keep their constraints and reasons, and lose the names and roles that nothing uses. Every allowed artifact is
    scanned again under it, with `limits` in the place of its own if given, before it is returned.

    Raises:
        PolicyFileError: nothing is needed, or the artifacts changed while they were audited.
    """
    used = _roles_used(reports)
    rules: list[AllowRule] = []
    for rule in policy.rules:
        by_roles: dict[tuple[str, ...], list[str]] = {}
        for one in rule.names:
            roles = tuple(role for role in rule.roles if role in used.get(f"{rule.module}.{one}", ()))
            if roles:
                by_roles.setdefault(roles, []).append(one)
        rules += [_narrowed(rule, roles, names) for roles, names in by_roles.items()]
    if not rules:
        raise PolicyFileError("no artifact that is allowed needs any rule, so there is no policy to write")
    text = policy_text(name, rules, policy.tightened, [f"What the audited artifacts need of policy {policy.name}."])
    minimal = Policy.from_text(text)
    for report in reports:
        if report.allowed and not look_into(report.path, minimal, limits)[0].allowed:
            raise PolicyFileError(f"{report.path}: the minimal policy refuses it: did it change during the audit?")
    return text


def _narrowed(rule: AllowRule, roles: tuple[str, ...], names: list[str]) -> AllowRule:
    return replace(
        rule,
        names=tuple(names),
        roles=roles,
        args=rule.args if {"call", "new"} & set(roles) else None,
        state=rule.state if "state" in roles else None,
    )
