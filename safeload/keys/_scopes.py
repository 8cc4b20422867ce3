"""Scopes: which artifacts a key may sign.

A scope is a pattern of an artifact's name, `fraud-*.joblib`, or of its name and the folders above it,
`fraud/*.joblib` or `/srv/models/fraud/*.joblib`. `*` stands for any characters and `?` for one, neither for a slash:
each part of a path is matched on its own, by `fnmatch`, with upper and lower case distinct. A scope that begins with a
slash is compared with the whole path, any other with the last parts of the path, as many as the scope has.

The name is the signed one, which is the file's own, too. The folder is the one in which the caller looks for the
artifact, made absolute and with `..` removed as text. Links are not followed: everybody who can write to the storage
decides where links lead, and only the caller decides where to look.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safeload._internal.files import PathLike

__all__ = ["MAX_SCOPES", "check_scope", "in_scope"]

MAX_SCOPES = 100
_MAX_LENGTH = 1000


def check_scope(scope: str) -> None:
    """Refuse a text that is not a scope, above all the patterns that `fnmatch` has beyond `*` and `?`.

    Raises:
        ValueError: the reason.
    """
    if not 1 <= len(scope) <= _MAX_LENGTH or not scope.isprintable():
        raise ValueError(f"a scope is one printable line of 1 to {_MAX_LENGTH} characters")
    parts = scope.removeprefix("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError("a scope has no empty parts, no . and no .., and ends with a file name")
    if "**" in scope or set(scope) & set("[]{}\\"):
        raise ValueError("a scope knows only * and ?, within one part of a path: no ** [ ] { } or backslash")


def in_scope(scope: str, name: str, folder: PathLike | None) -> bool:
    """Return whether a scope covers the artifact of this name in this folder; `check_scope` has accepted the scope.

    Without a folder only scopes without a slash can match.
    """
    parts = scope.removeprefix("/").split("/")
    if len(parts) == 1 and not scope.startswith("/"):
        return fnmatchcase(name, scope)
    if folder is None:
        return False
    path = [part for part in os.path.abspath(folder).split("/") if part] + [name]  # noqa: PTH100 - as text, see above
    if scope.startswith("/") and len(path) != len(parts):
        return False
    return len(path) >= len(parts) and all(map(fnmatchcase, path[-len(parts) :], parts))
