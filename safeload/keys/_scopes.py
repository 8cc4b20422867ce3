"""Scopes: which artifacts a key may sign for.

A scope is a pattern of an artifact's name, `fraud-*.joblib`, or of its name and the folders above it,
`fraud/*.joblib` or `/srv/models/fraud/*.joblib`. `*` stands for any characters and `?` for one, neither for a slash.
One that begins with a slash is held against the whole path, any other against its end, as many parts as it has.

The name is the signed one, which is the file's own, too. The folder is the one that whoever loads it asked for, made
absolute and with `..` taken away as text: links are not followed, because where links lead is up to whoever may write
to the storage, and where the caller looks is not.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safeload._internal.files import PathLike

__all__ = ["MAX_SCOPES", "check_scope", "in_scope"]

MAX_SCOPES = 100
_MAX_LENGTH = 1000


def check_scope(scope: str) -> None:
    """Refuse what is not a scope.

    Raises:
        ValueError: says why.
    """
    if not 1 <= len(scope) <= _MAX_LENGTH or not scope.isprintable():
        raise ValueError(f"a scope is one printable line of 1 to {_MAX_LENGTH} characters")
    parts = scope.removeprefix("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError("a scope has no empty parts, no . and no .., and ends with a file name")
    if "**" in scope or set(scope) & set("[]{}\\"):
        raise ValueError("a scope knows only * and ?, within one part of a path: no ** [ ] { } or backslash")


def in_scope(scope: str, name: str, folder: PathLike | None) -> bool:
    """Return whether the artifact of this name, in this folder, is one that the scope means.

    Without a folder only scopes of names alone can hold.
    """
    parts = scope.removeprefix("/").split("/")
    if len(parts) == 1 and not scope.startswith("/"):
        return _matches(scope, name)
    if folder is None:
        return False
    path = [part for part in os.path.abspath(folder).split("/") if part] + [name]  # noqa: PTH100 - as text, see above
    if scope.startswith("/") and len(path) != len(parts):
        return False
    return len(path) >= len(parts) and all(map(_matches, parts, path[-len(parts) :]))


def _matches(pattern: str, text: str) -> bool:
    # By hand: many stars would make a regular expression, which backtracks, take very long.
    at = place = 0
    star = resume = -1  # where the last star stands, and what of the text it has taken
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[place]):
            at += 1
            place += 1
        elif star >= 0:
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")
