"""Rules that would allow what was refused, as the text of a policy file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from safeload._scan import FORM_NAMES, ROLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from safeload._scan import GlobalUse


__all__ = [
    "proposed_policy",
    "proposed_rules",
]

# How classes with __slots__ are saved; the word refuses keys such as __class__, which BUILD would set.
_SLOTS = dict.fromkeys(('{ tuple = ["none", "dict"] }', '{ tuple = ["dict", "dict"] }'), '"slots"')


def proposed_policy(
    uses: Iterable[GlobalUse], extends: Sequence[str], *, name: str = "my-policy", reason: str = "reviewed by …"
) -> str:
    """Return the TOML policy that grants these uses, of any number of artifacts, on top of others."""
    blocks = [f"name = {json.dumps(name)}\nversion = 1\nextends = {json.dumps(list(extends), ensure_ascii=False)}"]
    return "\n\n".join(blocks + proposed_rules(uses, reason))


def proposed_rules(uses: Iterable[GlobalUse], reason: str) -> list[str]:
    """Return a rule, as TOML, for every module and way of use; uses of one global are united."""
    roles: dict[tuple[str, str], set[str]] = {}
    args: dict[tuple[str, str], dict[str, None]] = {}
    states: dict[tuple[str, str], dict[str, None]] = {}
    for use in uses:
        key = (use.module, use.qualname)
        roles.setdefault(key, set()).update(use.roles)
        args.setdefault(key, {}).update(dict.fromkeys(use.seen_args))
        if use.seen_state:
            states.setdefault(key, {})[_SLOTS.get(use.seen_state, use.seen_state)] = None
    grouped: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for key in sorted(roles):
        for body in _rule_bodies(f"{key[0]}.{key[1]}", roles[key], list(args[key]), list(states.get(key, ()))):
            grouped.setdefault((key[0], body), []).append(key[1])
    return [
        "\n".join(
            ["[[allow]]", f'module = "{module}"', f"names = {json.dumps(names)}", *body, f"reason = {_quoted(reason)}"]
        )
        for (module, body), names in grouped.items()
    ]


def _rule_bodies(name: str, roles: set[str], args: list[str], states: list[str]) -> list[tuple[str, ...]]:
    """Return the lines that say how a global may be used: of two rules where call and new both take arguments."""
    if name in FORM_NAMES:
        return [(_role_line(roles), 'form = "numpy"')]
    made = roles & {"call", "new"}
    shared = roles - {"new"} if made == {"call", "new"} else roles
    lines = [_role_line(shared)]
    if made and args:
        lines.append(f"args = [{', '.join(args)}]  # as seen here")
    if states:
        one = states[0] if len(states) == 1 else f"{{ any_of = [{', '.join(states)}] }}"
        lines.append(f"state = {one}  # as seen here")
    bodies = [tuple(lines)]
    if shared != roles:
        bodies.append((_role_line({"new"}), *([f"args = [{', '.join(args)}]  # as seen here"] if args else [])))
    return bodies


def _role_line(roles: set[str]) -> str:
    return f"roles = {json.dumps([role for role in ROLES if role in roles])}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
