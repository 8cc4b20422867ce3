"""Names of models, versions and channels: plain enough to be folders on any file system, and to be told apart."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["check_channel", "check_name", "check_version", "is_plain", "require_distinct", "version_order"]

_MAX_LENGTH = 64
# No separators, nothing hidden, no option; ASCII, so that no two that look alike are different names.
_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+!-]*[A-Za-z0-9_+-])?")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def check_name(name: str) -> str:
    """Return the name of a model, or refuse it: TypeError, ValueError."""
    return _check("the name of a model", name)


def check_version(version: str) -> str:
    """Return a version, or refuse it: TypeError, ValueError."""
    return _check("a version", version)


def check_channel(channel: str) -> str:
    """Return the name of a channel, or refuse it: TypeError, ValueError."""
    return _check("the name of a channel", channel)


def is_plain(text: str) -> bool:
    """Return whether this could be such a name."""
    return len(text) <= _MAX_LENGTH and _PLAIN.fullmatch(text) is not None and _RESERVED.fullmatch(text) is None


def _check(what: str, text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{what} is a text, not {type(text).__name__}")
    if not is_plain(text):
        raise ValueError(
            f"{what} is 1 to {_MAX_LENGTH} ASCII letters, digits and . _ - + !, a letter or digit first, no dot at "
            f"the end, and no device's name such as nul; {text[:100]!r} is not"
        )
    return text


def require_distinct(what: str, text: str, others: Iterable[str], *, versions: bool = False) -> None:
    """Refuse a new name that some file system, or a reader, would take for an existing one.

    Raises: FileExistsError, which names both.
    """
    parsed = _parsed(text) if versions else None
    for other in others:
        if other == text:
            continue
        if other.casefold() == text.casefold() or (parsed is not None and _parsed(other) == parsed):
            raise FileExistsError(errno.EEXIST, f"{what} {other} is there already, which is too like {text}", text)


def version_order(version: str) -> tuple[bool, Version | str]:
    """Return what versions are sorted by: those that PEP 440 can compare as it does, after all others, as texts."""
    parsed = _parsed(version)
    return (False, version) if parsed is None else (True, parsed)


def _parsed(version: str) -> Version | None:
    try:
        return Version(version)
    except InvalidVersion:
        return None
