"""The packs that ship with safeload: their text, and what a build has parsed of it beforehand.

Parsing TOML takes most of the time that a process spends on a policy, so a build, editable or not, writes the
content of each pack as JSON beside it, with the SHA-256 of its text (see setup.py). It stands for that text only:
where there is none, as in a source tree that nobody installed, or the TOML was edited since, the TOML is parsed. Either
way it is then checked in full.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

__all__ = [
    "events_of_packs",
    "native_of_packs",
    "pack_distributions",
    "pack_names",
    "packs_naming",
    "read_pack",
    "unchecked_of_packs",
]

_PACKAGE = "safeload.policy.packs"
# However the key is written in TOML: a pack that is passed over here would lose its checks.
_NATIVE = re.compile(rb"(?:check|makes)[\"']?[ \t]*=")
_EVENTS = re.compile(rb"events[\"']?[ \t]*=")
_UNCHECKED = re.compile(rb"unchecked[\"']?[ \t]*=")
_DISTRIBUTION = re.compile(rb'^distribution = "([a-z0-9-]+)"(?:\r?\nimports = "([A-Za-z0-9_]+)")?', re.MULTILINE)


def pack_names() -> list[str]:
    """Return the names of the packs that ship with safeload."""
    return list(_pack_names())


@functools.cache
def _pack_names() -> tuple[str, ...]:
    found = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def read_pack(name: str) -> tuple[str, dict[str, Any] | None]:
    """Return a pack's text, and what it says, if a build has parsed this very text; `name` is one of `pack_names`."""
    folder = _folder()
    data = folder.joinpath(f"{name}.toml").read_bytes()
    return data.decode("utf-8"), _parsed(folder.joinpath(f"{name}.json"), hashlib.sha256(data).hexdigest())


@functools.cache
def native_of_packs() -> dict[str, tuple[str | None, bool]]:
    """Return, for each class that a shipped pack says this of, its native check and whether its instances are called.

    These hold whatever policy is in force, so all packs are read; of most it is enough to see that they say nothing.
    """
    return {
        f"{rule['module']}.{name}": (rule.get("check"), rule.get("makes") == "function")
        for rule in _rules_that_say(_NATIVE)
        if "check" in rule or "makes" in rule
        for name in rule["names"]
    }


@functools.cache
def events_of_packs() -> dict[str, frozenset[str]]:
    """Return, for each global that a shipped pack says this of, the audit events that loading it raises."""
    return {
        f"{rule['module']}.{name}": frozenset(rule["events"])
        for rule in _rules_that_say(_EVENTS)
        if "events" in rule
        for name in rule["names"]
    }


@functools.cache
def unchecked_of_packs() -> dict[str, str]:
    """Return, for each class that a shipped pack says this of, which of its bytes no check of the scanner covers."""
    return {
        f"{rule['module']}.{name}": rule["unchecked"]
        for rule in _rules_that_say(_UNCHECKED)
        if "unchecked" in rule
        for name in rule["names"]
    }


def _rules_that_say(key: re.Pattern[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the rules of all packs in which a key stands."""
    for name in pack_names():
        if not key.search(_folder().joinpath(f"{name}.toml").read_bytes()):
            continue
        text, document = read_pack(name)
        if document is None:
            import tomllib  # here: a build has parsed the packs

            document = tomllib.loads(text)
        yield from document["allow"]


@functools.cache
def packs_naming(module: str) -> tuple[str, ...]:
    """Return the packs that may have rules for a module: those in whose text its name stands."""
    quoted = f'"{module}"'.encode()
    return tuple(name for name in pack_names() if quoted in _folder().joinpath(f"{name}.toml").read_bytes())


@functools.cache
def pack_distributions() -> dict[str, str]:
    """Return the distribution of each module that a shipped pack is for, by the module's name."""
    found = {}
    for name in pack_names():
        said = _DISTRIBUTION.search(_folder().joinpath(f"{name}.toml").read_bytes())
        if said:
            distribution, imports = said[1].decode(), said[2]
            found[imports.decode() if imports else distribution.replace("-", "_")] = distribution
    return found


def _folder() -> Traversable:
    from importlib import resources  # here: a program's help needs no policy

    return resources.files(_PACKAGE)


def _parsed(file: Traversable, sha256: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(file.read_bytes())
        of_this_text = parsed["sha256"] == sha256
        document = parsed["document"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return document if of_this_text and isinstance(document, dict) else None
