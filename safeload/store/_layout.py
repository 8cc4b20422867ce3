"""Where a store keeps what, and how whole versions come and go.

    FOLDER/fraud/versions/1.4.0/fraud-1.4.0.joblib                  what joblib.load reads
    FOLDER/fraud/versions/1.4.0/fraud-1.4.0.joblib.manifest.json    signed, with the version in it
    FOLDER/fraud/channels/production.json                           signed: which version is in production

A version is made in a folder of its own and renamed into place, whole; it is renamed away before it is removed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from safeload._internal.atomic import SCRATCH_PREFIX, sync_folder
from safeload._internal.files import storage_errors
from safeload._storage.backends import resolve
from safeload._storage.states import MANIFEST_SUFFIX, NEXT_SUFFIX
from safeload.store._names import is_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["Layout", "all_strays", "make_folders", "plain_names"]

_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})


class Layout:
    """The paths of one model in a store."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.folder = folder / name
        self.versions = self.folder / "versions"
        self.channels = self.folder / "channels"

    def artifact(self, version: str) -> Path:
        """Return where the artifact of a version is. Its file's name, which is signed, has model and version."""
        return self.versions / version / f"{self.name}-{version}.joblib"

    def pointer(self, channel: str) -> Path:
        """Return where a channel's pointer is."""
        return self.channels / f"{channel}.json"

    def put_pointer(self, channel: str, data: bytes) -> None:
        """Put a channel's pointer in place, in one step; to be called within `deciding`.

        Raises: StorageError.
        """
        backend, name = resolve(self.pointer(channel))
        backend.replace(name, data)

    def is_model(self) -> bool:
        """Return whether the model exists, with versions or without."""
        return self.versions.is_dir()

    def all_versions(self) -> list[str]:
        """Return the names of all version folders, whatever is in them."""
        return [name for name in plain_names(self.versions) if (self.versions / name).is_dir()]

    def all_channels(self) -> list[str]:
        """Return the names of all channels that have a pointer, whatever is in it."""
        return plain_names(self.channels, suffix=".json")

    def strays(self, version: str | None = None) -> list[Path]:
        """Return the files in the folders of this model, or of one version, that do not belong to a store."""
        if version is not None:
            artifact = self.artifact(version)
            return _others(artifact.parent, (artifact.name + suffix for suffix in ("", MANIFEST_SUFFIX, NEXT_SUFFIX)))
        versions = self.all_versions()
        found = _others(self.folder, (self.versions.name, self.channels.name))
        found += _others(self.versions, versions)
        found += _others(self.channels, (f"{channel}.json" for channel in self.all_channels()))
        return found + [stray for one in versions for stray in self.strays(one)]

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Keep others from adding and removing versions."""
        make_folders(self.versions)
        with _locked(self.versions):
            self._sweep()
            yield

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Keep others from moving this model's channels."""
        make_folders(self.channels)
        with _locked(self.channels):
            yield

    @contextmanager
    def new_version(self, version: str) -> Iterator[Path]:
        """Give the path to write the artifact at; when the block ends, the version is there, whole.

        Raises: FileExistsError if the version is there; then, and if the block raises, nothing has changed.
        """
        final = self.versions / version
        with storage_errors("write", final):
            self._require_absent(final)
            stage = self.versions / f"{SCRATCH_PREFIX}{secrets.token_hex(8)}"
            stage.mkdir()
        try:
            yield stage / f"{self.name}-{version}.joblib"
            with storage_errors("write", final):
                for leftover in stage.glob(f"{SCRATCH_PREFIX}*"):  # what the writer could not remove itself
                    leftover.unlink()
                sync_folder(stage)
                try:
                    stage.rename(final)
                except OSError as error:
                    if error.errno not in _TAKEN:
                        raise
                    raise FileExistsError(errno.EEXIST, _VERSION_THERE, str(final)) from error
                sync_folder(self.versions)
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def remove_version(self, version: str) -> None:
        """Remove a version, in one step for its readers."""
        with storage_errors("remove", self.versions / version):
            gone = self.versions / f"{SCRATCH_PREFIX}{secrets.token_hex(8)}"
            (self.versions / version).rename(gone)
            sync_folder(self.versions)
        shutil.rmtree(gone, ignore_errors=True)  # else the next writer does it

    def _require_absent(self, final: Path) -> None:
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, _VERSION_THERE, str(final))

    def _sweep(self) -> None:
        """Remove what killed writers left."""
        with suppress(OSError):
            for leftover in self.versions.glob(f"{SCRATCH_PREFIX}*"):
                if leftover.is_dir() and not leftover.is_symlink():
                    shutil.rmtree(leftover, ignore_errors=True)


_VERSION_THERE = "this version is there already, and versions never change. Choose another"


def plain_names(folder: Path, *, suffix: str = "") -> list[str]:
    """Return the names in a folder that a store could have given, sorted and less the suffix that they have to have.

    There are none if there is no such folder.
    """
    found = (place.name.removesuffix(suffix) for place in _listed(folder) if place.name.endswith(suffix))
    return [name for name in found if is_plain(name)]


def all_strays(folder: Path) -> list[Path]:
    """Return what lies in a store's folder and is no model, and what is none of their parts in those of models."""
    found = []
    for place in _listed(folder):
        layout = Layout(folder, place.name)
        found += layout.strays() if is_plain(place.name) and layout.is_model() else [place]
    return found


def _others(folder: Path, known: Iterable[str]) -> list[Path]:
    """Return what is in a folder beside what is known."""
    names = set(known)
    return [place for place in _listed(folder) if place.name not in names]


def _listed(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted, but for writers' own files; nothing if there is no such folder."""
    backend, name = resolve(folder)
    with storage_errors("list", folder):
        return [folder / one for one in backend.list(name)]


def _locked(folder: Path) -> AbstractContextManager[None]:
    """Keep out others who lock this folder."""
    backend, name = resolve(folder)
    return backend.locked(name)


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, for good."""
    with storage_errors("make", folder):
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        for place in reversed(missing):
            place.mkdir(exist_ok=True)
            sync_folder(place.parent)
