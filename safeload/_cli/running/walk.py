"""Find the artifacts that paths on the command line mean: the one place that decides what a folder holds.

A file that is named is always looked at. A folder is walked by contents, not by names. Looked at in it are: files that
begin as pickles or as joblib's compressions do (see `sniff`), files with the usual names for artifacts, and files with
a manifest beside them. Everything else is skipped, counted and, on request, listed, each with the reason. A manifest
without its artifact is a finding. Folders are walked whatever they are called, hidden ones too. A link to a file counts
as the file that it leads to, because loading follows links; a link to a folder is not followed, because it may lead
round in a circle. What cannot be read could hold anything, so it is an error, never skipped.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from safeload._cli.report.result import Result
from safeload._cli.terminal import plain, say_note
from safeload._internal.files import open_regular
from safeload._storage.pair import MANIFEST_SUFFIX, NEXT_SUFFIX, SCRATCH_PREFIX
from safeload.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Found", "Selection", "Skipped", "find_artifacts", "say_empty", "walked_results"]

_FORMATS = (".joblib", ".pkl", ".pickle")
_COMPRESSIONS = ("", ".gz", ".z", ".bz2", ".xz", ".lzma", ".lz4")
_SUFFIXES = tuple(kind + packed for kind in _FORMATS for packed in _COMPRESSIONS)
_ORPHAN, _SKIPPED = "SL110", "SL111"
_EMPTY = "an empty file"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files of a folder are looked at, and what becomes of the others.

    Attributes:
        include: patterns; if there are any, other files are left out.
        exclude: patterns of files and folders that are left out.
        strict: whether a skipped file, or a manifest without its artifact, is a failure.
        listed: whether reports list what was skipped.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    strict: bool = False
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not looked at, and why; with a code, it is a finding of its own."""

    path: str
    reason: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What paths mean.

    Attributes:
        files: what there is to look at, in a stable order.
        empty: folders without any such file.
        unreadable: files and folders that could not be read, each with the reason.
        skipped: files that are not looked at, in a stable order.
        excluded: files and folders that the patterns leave out.
        selection: what was asked for.
    """

    files: tuple[str, ...]
    empty: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    skipped: tuple[Skipped, ...]
    excluded: tuple[str, ...]
    selection: Selection

    @property
    def orphans(self) -> tuple[Skipped, ...]:
        """The manifests without their artifacts."""
        return tuple(one for one in self.skipped if one.code is not None)

    @property
    def shown(self) -> tuple[Skipped, ...]:
        """What every report lists beside the results: manifests without their artifacts, on request all skipped files.

        With --strict they are results.
        """
        if self.selection.strict:
            return ()
        return self.skipped if self.selection.listed else self.orphans


def find_artifacts(paths: Iterable[str], selection: Selection, *, pointers: bool = False) -> Found:
    """Return the artifacts meant by paths: a folder means what it holds, anything else itself.

    The order is that of the paths, and sorted within folders. With `pointers`, the channel pointers of stores count,
    too.
    """
    files: dict[str, None] = {}
    empty: list[str] = []
    unreadable: dict[str, str] = {}
    skipped: dict[str, Skipped] = {}
    excluded: dict[str, None] = {}
    for path in paths:
        if not Path(path).is_dir():
            files[path] = None
            continue
        walk = _Walk(path, selection, pointers=pointers)
        walk.run()
        files.update(dict.fromkeys(sorted(walk.files)))
        unreadable.update(sorted(walk.unreadable.items()))
        skipped.update((one.path, one) for one in sorted(walk.skipped, key=lambda one: one.path))
        excluded.update(dict.fromkeys(sorted(walk.excluded)))
        for store in sorted(walk.stores):
            if not pointers:
                say_note(f"{plain(store)} is a store: safeload store verify checks its channels, too")
        if not walk.files and not walk.unreadable:
            empty.append(path)
    return Found(
        tuple(files),
        tuple(empty),
        tuple(unreadable.items()),
        tuple(one for path, one in skipped.items() if path not in files),  # it was named as well
        tuple(excluded),
        selection,
    )


def walked_results(found: Found) -> list[Result]:
    """Return the results that the walk itself gives: what could not be read, and with --strict what was skipped."""
    results = [Result(path=path, verdict="error", error=why) for path, why in found.unreadable]
    if found.selection.strict:
        for one in found.skipped:
            finding = Finding(one.code or _SKIPPED, one.reason).to_dict()
            data = {"findings": [{**finding, "severity": "error"}], "globals": []}
            results.append(Result(path=one.path, verdict="refused", data=data))
    return results


def say_empty(found: Found, what: str = "nothing in this folder begins as a pickle") -> None:
    """Say on stderr which folders have nothing for the command."""
    for folder in found.empty:
        say_note(f"{plain(folder)}: {what}")


class _Walk:
    """One folder, with all that is in it."""

    def __init__(self, folder: str, selection: Selection, *, pointers: bool) -> None:
        self._folder = folder
        self._root = os.path.realpath(folder)
        self._selection = selection
        self._pointers = pointers
        self.files: list[str] = []
        self.unreadable: dict[str, str] = {}
        self.skipped: list[Skipped] = []
        self.excluded: list[str] = []
        self.stores: set[str] = set()

    def run(self) -> None:
        try:
            for place, folders, names in os.walk(self._folder, onerror=self._failed):
                folders[:] = [name for name in folders if self._enters(place, name)]
                beside = {*names, *folders}
                for name in names:
                    self._sort(place, name, beside)
        except RecursionError:  # until Python 3.12
            self.unreadable[self._folder] = "its folders are nested too deep to be walked: name the inner ones"

    def _failed(self, error: OSError) -> None:
        self.unreadable[os.fsdecode(error.filename or self._folder)] = error.strerror or str(error)

    def _enters(self, place: str, name: str) -> bool:
        path = str(Path(place, name))
        if self._matches(path, self._selection.exclude):
            self.excluded.append(path)
            return False
        if Path(path).is_symlink():
            if not Path(os.path.realpath(path)).is_relative_to(self._root):
                self._skip(path, "a link to a folder, which is not followed: name that folder")
            return False  # a folder inside of the one that is walked is walked where it is
        return True

    def _sort(self, place: str, name: str, beside: set[str]) -> None:
        path = str(Path(place, name))
        include, exclude = self._selection.include, self._selection.exclude
        if self._matches(path, exclude) or (include and not self._matches(path, include)):
            self.excluded.append(path)
            return
        scratch = name.startswith(SCRATCH_PREFIX)
        if not scratch and (name.lower().endswith(_SUFFIXES) or f"{name}{MANIFEST_SUFFIX}" in beside):
            self.files.append(path)
            return
        try:
            reason = _reason_to_skip(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                self._skip(path, "a link that leads to no file")
            else:
                self.unreadable[path] = error.strerror or str(error)
            return
        if scratch:
            if not name.endswith(".lock") or reason != _EMPTY:
                self._skip(path, "a temporary file of safeload, from a write that goes on or was cut short")
        elif reason is None:
            self.files.append(path)
        elif name.endswith((MANIFEST_SUFFIX, NEXT_SUFFIX)):
            self._sort_manifest(path, name, beside)
        elif self._is_pointer(path):
            if self._pointers:
                self.files.append(path)
        else:
            self._skip(path, reason)

    def _sort_manifest(self, path: str, name: str, beside: set[str]) -> None:
        artifact = name.removesuffix(NEXT_SUFFIX).removesuffix(MANIFEST_SUFFIX)
        if artifact in beside:
            return  # it is looked at with its artifact
        if name.endswith(NEXT_SUFFIX):
            self._skip(path, "a manifest of safeload, from a write that goes on or was cut short")
        else:
            self._skip(path, f"there is no {plain(artifact)} beside this manifest", _ORPHAN)

    def _skip(self, path: str, reason: str, code: str | None = None) -> None:
        self.skipped.append(Skipped(path, reason, code))

    def _matches(self, path: str, patterns: Iterable[str]) -> bool:
        """Tell whether a pattern matches the name, or the path from the folder that is walked."""
        inside = PurePath(path).relative_to(self._folder).as_posix()
        name = PurePath(path).name
        return any(fnmatchcase(inside, one) or fnmatchcase(name, one.rstrip("/")) for one in patterns)

    def _is_pointer(self, path: str) -> bool:
        from safeload.store import is_pointer

        if not path.endswith(".json") or not is_pointer(Path(path)):
            return False
        self.stores.add(str(Path(path).parents[2]))
        return True


def _reason_to_skip(path: str) -> str | None:
    """Return why a file needs no look; None if it does.

    Raises: OSError if it cannot be read.
    """
    from safeload._scan.foreign import FOREIGN_BYTES, foreign_format
    from safeload._scan.sniff import sniff

    kind = Path(path).stat().st_mode
    if not stat.S_ISREG(kind):  # before it is opened: to open a device can do things
        return _KINDS.get(stat.S_IFMT(kind), "not a regular file")
    fd, status = open_regular(path)
    with os.fdopen(fd, "rb") as file:
        if sniff(file, status.st_size) is not None:
            return None
        file.seek(0)
        first = file.read(FOREIGN_BYTES)
    if not first:
        return _EMPTY
    foreign = foreign_format(first)
    return "it does not begin as a pickle" if foreign is None else foreign.what


_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
