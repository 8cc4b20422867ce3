"""What to do so that a policy allows what it refused: use a shipped pack where one allows it, else add rules."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safeload.policy import (
    Policy,
    is_pack_name,
    packs_naming,
    proposed_policy,
    proposed_rules,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from safeload._scan import GlobalUse

__all__ = ["Proposal", "packs_for", "propose"]

_REASON = "reviewed by …"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would make a policy allow what it refused.

    Attributes:
        packs: the shipped packs that allow part of it.
        pack_line: how to use them, in one line; "" where there are none.
        rules: the rules for the rest as TOML, to be reviewed; "" where the packs allow all of it.
        add_to: the policy file in use, to which the rules are appended; "" where they are a policy file of their own.
    """

    packs: tuple[str, ...]
    pack_line: str
    rules: str
    add_to: str

    def lines(self, what: str = "it") -> list[str]:
        """Return the proposal as lines of text: the packs first, and the rules indented below their introduction."""
        lines = [self.pack_line] if self.pack_line else []
        if self.rules:
            rest = f"the rest of {what}" if self.pack_line else what
            how = f"these rules, added to {self.add_to}, would" if self.add_to else "this policy would"
            lines += [f"If you have reviewed the code and trust it to be loaded, {how} allow {rest}:"]
            lines += [f"    {line}".rstrip() for line in self.rules.split("\n")]
        return lines


def propose(uses: Sequence[GlobalUse], policy: Policy) -> Proposal:
    """Return what would make a policy allow these uses, which it does not grant."""
    packs, rest = packs_for(uses, policy)
    file = next((name for name in reversed(policy.sources) if not is_pack_name(name)), "")
    if not rest:
        rules = ""
    elif file:
        rules = "\n\n".join(proposed_rules(rest, _REASON))
    else:
        rules = proposed_policy(rest, [*policy.sources, *packs])
    return Proposal(packs, _pack_line(packs, policy, file, bool(rest)) if packs else "", rules, file)


def packs_for(uses: Iterable[GlobalUse], policy: Policy) -> tuple[tuple[str, ...], tuple[GlobalUse, ...]]:
    """Return the shipped packs that allow these uses, and the uses that none allows.

    A pack that another of them extends is left out.
    """
    packs: dict[str, None] = {}
    rest = []
    for use in uses:
        pack = _pack_of(use, policy)
        if pack is None:
            rest.append(use)
        else:
            packs[pack] = None
    extended = {file.name for pack in packs for file in Policy.load(pack).files[:-1]}
    return tuple(sorted(pack for pack in packs if pack not in extended)), tuple(rest)


def _pack_of(use: GlobalUse, policy: Policy) -> str | None:
    """Return the one pack to use for a global: of those with rules of their own for it, the smallest."""
    in_force = {file.origin for file in policy.files}
    having = []
    for name in packs_naming(use.module):
        pack = Policy.load(name)
        own = pack.files[-1]
        if own.origin in in_force or not any(
            rule.module == use.module and use.qualname in rule.names for rule in own.rules
        ):
            continue
        roles = {role for rule in pack.rules_for(use.name) for role in rule.roles}
        if roles.issuperset(use.roles):
            having.append((len(pack.files), name))
    return min(having)[1] if having else None


def _pack_line(packs: tuple[str, ...], policy: Policy, file: str, partly: bool) -> str:
    named = f"pack {packs[0]} allows" if len(packs) == 1 else f"packs {', '.join(packs)} allow"
    head = f"The shipped {named} {'part of it' if partly else 'it'}"
    if file:
        return f"{head}: in {file}, write extends = {_listed([*_extended_by(file, policy), *packs])}"
    if not policy.sources:  # a policy of a text, which has no name
        return f"{head}: policy=[policy, {_listed(packs)[1:]}"
    names = [*policy.sources, *packs]
    listed = _listed(names)
    return f"{head}: --policy {','.join(names)} (in Python policy={listed}, in a policy file extends = {listed})"


def _extended_by(path: str, policy: Policy) -> list[str]:
    """Return what a policy file extends, named as from the file itself."""
    file = next(one for one in policy.files if one.origin == path)
    return [
        name if is_pack_name(name) else Path(os.path.relpath(name, Path(path).parent)).as_posix()
        for name in file.extends
    ]


def _listed(names: Sequence[str]) -> str:
    return json.dumps(list(names), ensure_ascii=False)
