"""Explain one global: who allows it, how and why; or why nothing does."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safeload._judging.proposal import propose
from safeload._scan import FORM_NAMES, GlobalUse, is_plain_module, is_plain_name, python3_name
from safeload.policy import denied_reason, toml_value

if TYPE_CHECKING:
    from safeload.policy import AllowRule, Policy

__all__ = ["Explanation", "explain"]

_MAX_SIMILAR = 5


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a policy makes of one global.

    Attributes:
        name: as it was asked for.
        verdict: "allowed", "denied" (by the denylist, whatever the policy), "unlisted" or "impossible" (no plain name).
        reason: why, in a sentence.
        rules: those that allow it.
        proven: whether the scanner itself proves the form of its calls.
        similar: names that the policy lists and that may be what was meant.
        suggestion: the rule that would allow it, as TOML; "" where none is needed or none could.
        pack_line: how to use the shipped pack that allows it, in place of a rule; "" where none does.
    """

    name: str
    verdict: str
    reason: str
    rules: tuple[AllowRule, ...] = ()
    proven: bool = False
    similar: tuple[str, ...] = ()
    suggestion: str = ""
    pack_line: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON can hold it."""
        return {
            "global": self.name,
            "verdict": self.verdict,
            "reason": self.reason,
            "rules": [rule.to_dict() for rule in self.rules],
            "proven_by_scanner": self.proven,
            "similar": list(self.similar),
            "suggestion": self.suggestion or None,
            "pack": self.pack_line or None,
        }


def explain(policy: Policy, name: str) -> Explanation:
    """Say what a policy makes of the global `module.qualname`; nothing is imported to find out."""
    module, dot, qualname = name.rpartition(".")
    if not dot or not is_plain_module(module) or not is_plain_name(qualname):
        return Explanation(
            name,
            "impossible",
            "a global is a module and a plain name in it, such as sklearn.svm._classes.SVC: no wildcards, no dunders",
        )
    rules = tuple(policy.rules_for(name))
    if rules:
        return Explanation(name, "allowed", f"policy {policy.name!r} allows it", rules, name in FORM_NAMES)
    reason = denied_reason(name)
    if reason is not None:
        return Explanation(name, "denied", f"no policy can allow it: {reason}")
    similar = _similar(policy, module, qualname)
    mapped = python3_name(module, qualname)
    if mapped != (module, qualname):
        similar = [".".join(mapped), *similar]
    use = GlobalUse(module=module, qualname=qualname, named_as=(module, qualname), roles={})
    pack_line = propose([use], policy).pack_line
    return Explanation(
        name,
        "unlisted",
        f"policy {policy.name!r} does not list it",
        similar=tuple(dict.fromkeys(similar)),
        suggestion="" if pack_line else _suggestion(module, qualname),
        pack_line=pack_line,
    )


def _similar(policy: Policy, module: str, qualname: str) -> list[str]:
    """Return listed names that may be meant: the same name elsewhere, or one that is spelt alike."""
    by_last: dict[str, list[str]] = {}
    for listed in policy.names:
        by_last.setdefault(listed.rpartition(".")[2], []).append(listed)
    top = module.split(".", maxsplit=1)[0]
    same = sorted(by_last.get(qualname, ()), key=lambda one: (one.split(".")[0] != top, one))
    if same:
        return same[:_MAX_SIMILAR]
    close = difflib.get_close_matches(qualname, by_last, n=_MAX_SIMILAR, cutoff=0.8)
    return [one for last in close for one in by_last[last] if one.split(".")[0] == top][:_MAX_SIMILAR]


def _suggestion(module: str, qualname: str) -> str:
    return "\n".join(
        (
            "[[allow]]",
            f"module = {toml_value(module)}",
            f"names = [{toml_value(qualname)}]",
            'roles = ["new", "state"]  # of a class; ["import"] of a function that is only named',
            'reason = "TODO: who reviewed it, and why it is safe to load"',
        )
    )
