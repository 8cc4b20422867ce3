"""Write policies: checked rules in, TOML out that reads back as the same rules."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from safeload._scan import FORM_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from safeload.policy._parse import AllowRule

__all__ = ["policy_text", "toml_value"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def policy_text(name: str, rules: Sequence[AllowRule], limits: Mapping[str, int], comments: Sequence[str] = ()) -> str:
    """Return a policy file that has these rules and limits, and extends nothing."""
    return "".join(f"{line}\n" for line in _lines(name, rules, limits, comments))


def _lines(name: str, rules: Sequence[AllowRule], limits: Mapping[str, int], comments: Sequence[str]) -> Iterator[str]:
    yield from (f"# {_comment(one)}" for one in comments)
    yield f"name = {toml_value(name)}"
    yield "version = 1"
    for rule in rules:
        yield ""
        yield from _rule_lines(rule)
    if limits:
        yield ""
        yield "[limits]"
        yield from (f"{limit} = {value}" for limit, value in limits.items())


def _rule_lines(rule: AllowRule) -> Iterator[str]:
    yield f"[[allow]]  # {_comment(rule.where)}"
    yield f"module = {toml_value(rule.module)}"
    yield f"names = {toml_value(list(rule.names))}"
    yield f"roles = {toml_value(list(rule.roles))}"
    if rule.args is not None:
        yield f"args = {toml_value(rule.args)}"
    elif any(f"{rule.module}.{name}" in FORM_NAMES for name in rule.names):
        yield 'form = "numpy"'
    if rule.state is not None:
        yield f"state = {toml_value(rule.state)}"
    if rule.check is not None:
        yield f"check = {toml_value(rule.check)}"
    if rule.makes_functions:
        yield 'makes = "function"'
    if rule.unchecked:
        yield f"unchecked = {toml_value(rule.unchecked)}"
    if rule.events:
        yield f"events = {toml_value(list(rule.events))}"
    if rule.held_by:
        yield f"held_by = {toml_value(list(rule.held_by))}"
    if rule.reason:
        yield f"reason = {toml_value(rule.reason)}"
    if rule.expires is not None:
        yield f"expires = {rule.expires.isoformat()}"


def toml_value(value: Any) -> str:
    """Return a value from a policy as TOML, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML string; what is not printable is escaped, so that nothing in it acts on a terminal.
        return json.dumps(value).replace("\x7f", "\\u007f") if value.isascii() else _unicode(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{_key(name)} = {toml_value(one)}" for name, one in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return str(value)  # an int or a float, which TOML writes as Python does


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else toml_value(name)


def _unicode(value: str) -> str:
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)


def _comment(text: str) -> str:
    """Return a text that ends no comment: on one line, printable."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
