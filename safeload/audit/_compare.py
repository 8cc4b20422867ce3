"""Compare two policies: what became allowed, and what no longer is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from safeload.policy import toml_value

if TYPE_CHECKING:
    from safeload.policy import AllowRule, Policy

__all__ = ["Change", "Comparison", "allowances", "compare", "rule_uses"]


@dataclass(frozen=True, slots=True)
class Change:
    """What differs for one global: the uses that it gained and lost, such as `new` or `call [["int"]]`."""

    name: str
    kind: str  # "added", "removed" or "changed"
    gained: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two policies side by side; `limits` has (name, before, after) of those that differ."""

    before: tuple[str, str]  # name and digest
    after: tuple[str, str]
    changes: tuple[Change, ...]
    limits: tuple[tuple[str, int, int], ...]

    @property
    def widened(self) -> bool:
        """Whether the second allows anything that the first does not."""
        return any(change.gained for change in self.changes) or any(after > before for _, before, after in self.limits)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON can hold it."""
        return {
            "before": dict(zip(("name", "digest"), self.before, strict=True)),
            "after": dict(zip(("name", "digest"), self.after, strict=True)),
            "widened": self.widened,
            "changes": [
                {"global": one.name, "kind": one.kind, "gained": list(one.gained), "lost": list(one.lost)}
                for one in self.changes
            ],
            "limits": [{"limit": name, "before": old, "after": new} for name, old, new in self.limits],
        }


def compare(before: Policy, after: Policy) -> Comparison:
    """Say what the second policy allows that the first does not, and the other way round, global by global.

    Forms of arguments and states are compared as they are written: one that was only rewritten counts as changed.
    """
    changes = []
    for name in sorted({*before.names, *after.names}):
        old, new = allowances(before, name), allowances(after, name)
        gained = tuple(one for one in new if one not in old)
        lost = tuple(one for one in old if one not in new)
        if old and new:
            gained += _unchecked(before, after, name)
            lost += _unchecked(after, before, name)
        if gained or lost:
            kind = "added" if not old else "removed" if not new else "changed"
            changes.append(Change(name, kind, gained, lost))
    old_limits, new_limits = asdict(before.limits()), asdict(after.limits())
    return Comparison(
        before=(before.name, before.digest),
        after=(after.name, after.digest),
        changes=tuple(changes),
        limits=tuple(
            (name, old_limits[name], new_limits[name]) for name in old_limits if old_limits[name] != new_limits[name]
        ),
    )


def _unchecked(before: Policy, after: Policy, name: str) -> tuple[str, ...]:
    """Return what the second policy allows because it names no native check of a global, where the first does."""
    (old, called), (new, still_called) = before.native(name), after.native(name)
    found = []
    if old is not None and new != old:
        found.append(f"use without the native check {old}")
    if called and not still_called:
        found.append("instances in the place of methods that native checks rely on")
    return tuple(found)


def allowances(policy: Policy, name: str) -> list[str]:
    """Return every use that a policy allows of a global: its roles, those with constraints once for each form."""
    return list(dict.fromkeys(use for rule in policy.rules_for(name) for use in rule_uses(rule)))


def rule_uses(rule: AllowRule) -> list[str]:
    """Return every use that one rule allows of each of its names."""
    found: list[str] = []
    for role in rule.roles:
        if rule.held_by:
            found += [f"{role} as {one}" for one in rule.held_by]
        elif role == "new" and rule.args in (None, [[]]):
            found.append(role)
        elif role == "call" and rule.args is None:
            found.append("call as numpy writes it")
        elif role in ("call", "new"):
            found += [_made(role, form) for form in rule.args or ()]
        elif role == "state" and rule.state not in (None, "attributes"):
            found.append(f"state {toml_value(rule.state)}")
        else:
            found.append(role)
    return found + [f"the event {event} while loading" for event in rule.events]


def _made(role: str, form: list[Any]) -> str:
    return f"{role} ({', '.join(map(toml_value, form))})" if form or role == "call" else role
