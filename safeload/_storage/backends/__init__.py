"""The storage backends: one module each, and one row each in `BACKENDS`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from safeload._storage.backends.local import LocalFiles

if TYPE_CHECKING:
    from pathlib import Path

    from safeload._internal.files import PathLike
    from safeload._storage.backend import Backend

__all__ = ["BACKENDS", "absolute", "resolve"]

# By scheme, as in SCHEME://NAME.
BACKENDS: Final[dict[str, Backend]] = {
    "": LocalFiles(),  # paths without a scheme
}


def resolve(path: PathLike) -> tuple[Backend, str]:
    """Return the backend that keeps this path, and the name by which it does.

    `pathlib` makes one slash of two, so that SCHEME:/NAME is the same as SCHEME://NAME. A path whose scheme has no row
    in `BACKENDS` is a local one.
    """
    text = os.fspath(path)
    scheme, separator, name = text.partition(":/")
    if separator and scheme and scheme in BACKENDS:
        return BACKENDS[scheme], name.lstrip("/")
    return BACKENDS[""], text


def absolute(path: Path) -> Path:
    """Return a path that stays the same when this process changes its working directory."""
    backend, _ = resolve(path)
    return path.absolute() if backend is BACKENDS[""] else path
