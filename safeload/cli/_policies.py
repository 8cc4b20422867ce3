"""policy show and policy check: what a policy allows, and whether it is one."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from safeload.cli._common import debug_option
from safeload.cli._output import emit
from safeload.cli._text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeload.policy import AllowRule, Policy

__all__ = ["policy"]


_BARE = re.compile(r"[A-Za-z0-9_-]+")


@click.group(no_args_is_help=False, short_help="Show and check policies.")
@debug_option
def policy() -> None:
    """Show and check policies: which names artifacts may use, and how."""


@policy.command(short_help="Print what a policy allows, with all that it extends.")
@click.argument("name", metavar="[NAME|PATH]", default="sklearn")
@debug_option
def show(name: str) -> int:
    """Print the policy in force, as one policy file: its own rules and those of all that it extends.

    NAME is a pack (sklearn if none is given), PATH a policy file.
    """
    from safeload.policy import Policy

    emit("".join(f"{line}\n" for line in _flattened(Policy.load(name))), None)
    return 0


@policy.command(short_help="Tell whether a policy file is valid.")
@click.argument("name", metavar="NAME|PATH")
@debug_option
def check(name: str) -> int:
    """Tell whether a policy, and all that it extends, is valid: exit code 0, or 2 with the file and line."""
    from safeload.policy import Policy

    checked = Policy.load(name)
    names = {f"{rule.module}.{one}" for rule in checked.rules for one in rule.names}
    emit(f"valid: policy {plain(checked.name)}, {len(checked.rules)} rules, {len(names)} globals\n", None)
    emit(f"{checked.digest}\n", None)
    return 0


def _flattened(shown: Policy) -> Iterator[str]:
    """Return the lines of a policy file that allows what this policy allows, and extends nothing."""
    yield f"# {shown.digest}"
    yield f"name = {_toml(shown.name)}"
    yield "version = 1"
    for rule in shown.rules:
        yield ""
        yield from _rule(rule)
    limits = _tightened(shown)
    if limits:
        yield ""
        yield "[limits]"
        yield from (f"{name} = {value}" for name, value in limits.items())


def _rule(rule: AllowRule) -> Iterator[str]:
    from safeload.scan import FORM_NAMES

    yield f"[[allow]]  # {plain(rule.where)}"
    yield f"module = {_toml(rule.module)}"
    yield f"names = {_toml(list(rule.names))}"
    yield f"roles = {_toml(list(rule.roles))}"
    if rule.args is not None:
        yield f"args = {_toml(rule.args)}"
    elif any(f"{rule.module}.{name}" in FORM_NAMES for name in rule.names):
        yield 'form = "numpy"'
    if rule.state is not None:
        yield f"state = {_toml(rule.state)}"
    if rule.reason:
        yield f"reason = {_toml(rule.reason)}"
    if rule.expires is not None:
        yield f"expires = {rule.expires.isoformat()}"


def _tightened(shown: Policy) -> dict[str, int]:
    """Return the limits that the policy sets below the defaults."""
    from dataclasses import asdict

    from safeload.scan import Limits

    defaults = asdict(Limits())
    return {name: value for name, value in asdict(shown.limits()).items() if value != defaults[name]}


def _toml(value: Any) -> str:
    """Return a value from a policy as TOML, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML string; in ASCII, so that nothing in it acts on a terminal.
        return json.dumps(value).replace("\x7f", "\\u007f") if value.isascii() else _unicode(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{_key(name)} = {_toml(one)}" for name, one in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return str(value)  # an int or a float, which TOML writes as Python does


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml(name)


def _unicode(value: str) -> str:
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)
