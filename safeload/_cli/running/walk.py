"""Find the artifacts that paths on the command line mean."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safeload._cli.terminal import plain, say_note
from safeload._storage.pair import MANIFEST_SUFFIX, SCRATCH_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

__all__ = ["Found", "find_artifacts", "say_empty"]

_FORMATS = (".joblib", ".pkl", ".pickle")
_COMPRESSIONS = ("", ".gz", ".z", ".bz2", ".xz", ".lzma", ".lz4")
_SUFFIXES = tuple(kind + packed for kind in _FORMATS for packed in _COMPRESSIONS)


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to check: files in a stable order, folders without any, and folders that could not be read."""

    files: tuple[str, ...]
    empty: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]


def find_artifacts(paths: Iterable[str], *, pointers: bool = False) -> Found:
    """Return the artifacts meant by paths: a folder means what it holds, anything else itself.

    A file that is named is always checked, whatever its name; folders are walked for the usual ones, without
    following links to other folders. The order is that of the paths, and sorted within folders.
    With `pointers`, the channel pointers of stores count, too.
    """
    files: dict[str, None] = {}
    empty: list[str] = []
    unreadable: list[tuple[str, str]] = []
    for path in paths:
        if not Path(path).is_dir():
            files[path] = None
            continue
        before = len(unreadable)
        inside = _walk(path, unreadable, _is_signed if pointers else _is_artifact)
        files.update(dict.fromkeys(inside))
        if not inside and len(unreadable) == before:
            empty.append(path)
    return Found(tuple(files), tuple(empty), tuple(unreadable))


def say_empty(found: Found, what: str = "no .joblib, .pkl or .pickle files in this folder") -> None:
    """Say on stderr which folders have nothing for the command."""
    for folder in found.empty:
        say_note(f"{plain(folder)}: {what}")


def _walk(
    folder: str, unreadable: list[tuple[str, str]], wanted: Callable[[str, str, Collection[str]], bool]
) -> list[str]:
    def failed(error: OSError) -> None:
        # A folder that cannot be read might hold anything: it counts as not judged, never as empty.
        unreadable.append((os.fsdecode(error.filename or folder), error.strerror or str(error)))

    found: list[str] = []
    try:
        for place, _, names in os.walk(folder, onerror=failed):
            found.extend(str(Path(place, name)) for name in names if wanted(place, name, names))
    except RecursionError:  # until Python 3.12
        unreadable.append((folder, "its folders are nested too deep to be walked: name the inner ones"))
    return sorted(found)


def _is_signed(place: str, name: str, beside: Collection[str]) -> bool:
    from safeload.store import pointer_at

    return _is_artifact(place, name, beside) or pointer_at(Path(place, name)) is not None


def _is_artifact(_place: str, name: str, beside: Collection[str]) -> bool:
    if name.startswith(SCRATCH_PREFIX):
        return False
    return name.lower().endswith(_SUFFIXES) or f"{name}{MANIFEST_SUFFIX}" in beside  # signed, whatever its name
