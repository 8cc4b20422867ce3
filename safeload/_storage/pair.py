"""Artifact and manifest on disk: one pair, replaced so that no crash leaves half of one.

This module knows paths and bytes, and not the content of manifests.  A pair is committed in steps, each
made durable before the next:

1. the artifact and the manifest are written to temporaries in the same folder, and flushed to the disk;
2. the manifest is renamed to `NAME.manifest.json.next`;
3. the artifact is put in place;
4. `.next` is renamed to `NAME.manifest.json`.

Killed before step 3, the old pair stands and `.next` belongs to no artifact; killed after it, `.next` is the manifest
of the current artifact.  `states` has the table of all states, and what to do in each.  Readers take no lock; where
`snapshot` has changed meanwhile, they read again.  Writers to one path exclude each other, across threads and
processes, and each first finishes or removes what a killed one left.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safeload._internal.atomic import (
    ALREADY_THERE,
    LOCK_TIMEOUT,
    SCRATCH_PREFIX,
    NewFile,
    locked,
    lstat,
    mode_of,
    sync_folder,
)
from safeload._internal.blob import FileBlob
from safeload._internal.files import (
    NotRegularError,
    PathLike,
    Stamp,
    TooLargeError,
    open_regular,
    read_regular,
    stamp,
    storage_error,
    storage_errors,
)
from safeload._manifest.manifest import MAX_MANIFEST_BYTES
from safeload._storage.states import MANIFEST_SUFFIX, NEXT_SUFFIX, Match, State, ToDo, state_of
from safeload.errors import StorageError

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from safeload._storage.backend import Belongs

__all__ = [
    "LOCK_TIMEOUT",
    "MANIFEST_SUFFIX",
    "NEXT_SUFFIX",
    "SCRATCH_PREFIX",
    "ManifestWriter",
    "PairWriter",
    "Snapshot",
    "manifest_path",
    "next_path",
    "signing",
    "snapshot",
    "writing",
]

_MAX_EXTENSION = 16
_DISK_IS_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def manifest_path(path: PathLike) -> Path:
    """Return where the manifest of this artifact is."""
    return _with_suffix(path, MANIFEST_SUFFIX)


def next_path(path: PathLike) -> Path:
    """Return where the manifest is while the artifact is being replaced."""
    return _with_suffix(path, NEXT_SUFFIX)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which files make up a pair: device, inode, size, mtime and ctime (ns) of each, None where absent."""

    artifact: Stamp | None
    manifest: Stamp | None
    next: Stamp | None


def snapshot(path: PathLike) -> Snapshot:
    """Return which files make up the pair at `path` just now.

    Raises: StorageError if the folder cannot be searched.
    """
    name = str(path)
    with storage_errors("look at", path):
        return Snapshot(stamp(name), stamp(name + MANIFEST_SUFFIX), stamp(name + NEXT_SUFFIX))


@contextmanager
def writing(
    path: PathLike, *, overwrite: bool, belongs: Belongs, lock_timeout: float = LOCK_TIMEOUT
) -> Iterator[PairWriter]:
    """Write a pair: the body fills `PairWriter.temporary`, then calls `PairWriter.commit`.

    A body that ends without commit, by an exception or not, leaves the old pair as it was.

    Raises: FileExistsError if there is an artifact or manifest and `overwrite` is false, FileNotFoundError if
        there is no such folder, StorageError for all else that the file system or another writer prevents.
    """
    target = _Target.at(path)
    with locked(target.lock, target.artifact, lock_timeout):
        with storage_errors("write", target.artifact):
            _recover(target, belongs)
            target.require_replaceable(target.artifact, target.manifest)
            if not overwrite:
                target.require_absent(target.artifact, target.manifest)
        writer = PairWriter(target, overwrite=overwrite)
        with _cleaned_up(writer, target):
            yield writer


@contextmanager
def signing(
    path: PathLike, *, overwrite: bool, belongs: Belongs, lock_timeout: float = LOCK_TIMEOUT
) -> Iterator[ManifestWriter]:
    """Write a manifest beside an artifact that stays as it is: the body calls `ManifestWriter.commit`.

    Raises: FileExistsError if there is a manifest and `overwrite` is false, FileNotFoundError if there is no
        such artifact, StorageError for all else that the file system or another writer prevents.
    """
    target = _Target.at(path)
    with storage_errors("sign", target.artifact):
        there = target.artifact.exists()
    if not there:
        raise FileNotFoundError(errno.ENOENT, "there is no such artifact to sign", str(target.artifact))
    with locked(target.lock, target.artifact, lock_timeout):
        with storage_errors("sign", target.artifact):
            _recover(target, belongs)
            target.require_replaceable(target.manifest)
            if not overwrite:
                target.require_absent(target.manifest)
        writer = ManifestWriter(target, overwrite=overwrite)
        with _cleaned_up(writer, target):
            yield writer


class ManifestWriter:
    """Puts a manifest beside an artifact that stays, once; made by `signing`."""

    def __init__(self, target: _Target, *, overwrite: bool) -> None:
        self._target = target
        self._overwrite = overwrite
        self._new_manifest = NewFile(target.scratch(".manifest"))
        self._artifact_stamp: Stamp | None = None
        self._committed = False

    def begin(self) -> None:
        """Note which artifact is being signed."""
        self._artifact_stamp = stamp(self._target.artifact)

    def commit(self, manifest: bytes) -> None:
        """Put the manifest in place, durably, in one step.

        Raises: FileExistsError, StorageError; the old manifest is then still there.
        """
        target = self._target
        self._commit_once()
        with storage_errors("sign", target.artifact):
            self._write_manifest(manifest)
            if stamp(target.artifact) != self._artifact_stamp:
                raise StorageError(
                    "it was changed while it was being signed", advice="Sign it again.", path=target.artifact
                )
            self._new_manifest.place(target.manifest, overwrite=self._overwrite)
            sync_folder(target.folder)

    def leave(self) -> None:
        """Remove what was not committed."""
        self._new_manifest.close()

    def _commit_once(self) -> None:
        if self._committed:
            raise ValueError("this writer has committed already")
        self._committed = True

    def _write_manifest(self, manifest: bytes) -> None:
        """Write the manifest's temporary, with the mode that this process gives to new files."""
        self._new_manifest.create(0o666, like=self._target.manifest)
        self._new_manifest.write(manifest)
        self._new_manifest.settle()


class PairWriter(ManifestWriter):
    """Puts a pair in place, once; made by `writing`.

    `temporary` is an empty file, private to this user, in the artifact's folder.  It ends as the artifact's
    name does.  Write it through `stream` and read it as `blob`: in a folder that others may write to, there may be
    another file under its name, or a link to one.
    """

    def __init__(self, target: _Target, *, overwrite: bool) -> None:
        super().__init__(target, overwrite=overwrite)
        self._new_artifact = NewFile(target.scratch(target.extension))

    @property
    def temporary(self) -> Path:
        """The path of the temporary."""
        return self._new_artifact.path

    def stream(self) -> io.BufferedWriter:
        """Return a stream to write the artifact to; to be closed before the artifact is read or committed."""
        return self._new_artifact.stream()

    @property
    def blob(self) -> FileBlob:
        """The artifact as it was written, for reading, as long as this writer is in use."""
        return self._new_artifact.blob(str(self._target.artifact))

    def flushing(self) -> AbstractContextManager[None]:
        """Let a large artifact be written to the disk while something else is done with it.

        Raises (at the end): StorageError.
        """
        return self._new_artifact.flushing(self._target.artifact)

    def begin(self) -> None:
        """Create the temporary that the artifact is written to."""
        self._new_artifact.create(0o600)

    def commit(self, manifest: bytes) -> None:
        """Put the artifact and this manifest in place, durably, in the steps that the module describes.

        Raises: FileExistsError, StorageError; the old pair is then still there, or the new one whole.
        """
        target = self._target
        self._commit_once()
        with storage_errors("write", target.artifact):
            self._write_manifest(manifest)
            self._new_artifact.require_there()
            mode = mode_of(target.artifact)
            if mode is None:
                # The mode of the manifest, which the kernel made with the umask: asking for the umask would set it.
                mode = os.fstat(self._new_manifest.fd).st_mode & 0o777
            self._new_artifact.settle(mode)
            self._place()

    def leave(self) -> None:
        """Remove what was not committed; finish a commit that got past the point of no return."""
        try:
            # Asked of the disk, not of a flag: an interrupt may come between a rename and the next line.
            if self._new_manifest.is_at(self._target.next):
                placed = self._new_artifact.is_at(self._target.artifact)
                _settle(self._target, state_of(next_manifest=Match.OWN if placed else Match.OTHER))
        finally:
            try:
                self._new_artifact.close()
            finally:
                super().leave()

    def _place(self) -> None:
        """Do steps 2 to 4 of the commit."""
        target = self._target
        self._new_manifest.place(target.next, overwrite=self._overwrite)
        sync_folder(target.folder)
        if not self._overwrite:
            target.require_absent(target.manifest)
        self._new_artifact.place(target.artifact, overwrite=self._overwrite)
        sync_folder(target.folder)
        target.next.replace(target.manifest)
        sync_folder(target.folder)


@dataclass(frozen=True, slots=True)
class _Target:
    """The files of one pair."""

    folder: Path
    artifact: Path
    manifest: Path
    next: Path
    key: str  # stands for the name in those of scratch files, which it bounds in length
    extension: str

    @classmethod
    def at(cls, path: PathLike) -> _Target:
        artifact = Path(path)
        if not artifact.name or artifact.name == "..":
            raise IsADirectoryError(errno.EISDIR, "this names a folder, not an artifact", str(path))
        with storage_errors("write in", artifact.parent):
            there = artifact.parent.is_dir()
        if not there:  # filelock would make it
            raise FileNotFoundError(errno.ENOENT, "there is no such folder to write in", str(artifact.parent))
        key = hashlib.sha256(os.fsencode(artifact.name)).hexdigest()[:16]
        _, dot, extension = artifact.name.rpartition(".")
        fits = dot and len(os.fsencode(extension)) <= _MAX_EXTENSION
        return cls(
            folder=artifact.parent,
            artifact=artifact,
            manifest=manifest_path(artifact),
            next=next_path(artifact),
            key=key,
            extension=dot + extension if fits else "",
        )

    @property
    def lock(self) -> Path:
        return self.folder / f"{SCRATCH_PREFIX}{self.key}.lock"

    def scratch(self, extension: str) -> Path:
        return self.folder / f"{SCRATCH_PREFIX}{self.key}-{secrets.token_hex(8)}{extension}"

    def require_absent(self, *paths: Path) -> None:
        for path in paths:
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, ALREADY_THERE, str(path))

    def require_replaceable(self, *paths: Path) -> None:
        for path in paths:
            if (status := lstat(path)) is None:
                continue
            if stat.S_ISLNK(status.st_mode):
                raise StorageError(
                    "cannot replace it: it is a symbolic link",
                    advice=f"Name the real file: {os.path.realpath(path)}",
                    path=path,
                )
            if not stat.S_ISREG(status.st_mode):
                raise StorageError(
                    "cannot replace it: it is not a regular file", advice="Choose another name.", path=path
                )


@contextmanager
def _cleaned_up(writer: ManifestWriter, target: _Target) -> Iterator[None]:
    """Run the body of `writing` or `signing`, and leave nothing behind, whatever happens."""
    try:
        with storage_errors("write", target.artifact):
            writer.begin()
        yield
    except OSError as error:
        # The body writes the temporary.  Its other errors may be about anything and stay as they are.
        if error.errno in _DISK_IS_FULL:
            raise storage_error("write", target.artifact, error) from error
        raise
    finally:
        with suppress(OSError):  # the next writer does it
            writer.leave()


def _recover(target: _Target, belongs: Belongs) -> None:
    """Finish or undo what a killed writer left."""
    _settle(target, state_of(next_manifest=_look_at_next(target, belongs)))
    scratch = f"{SCRATCH_PREFIX}{target.key}-"
    for leftover in [path for path in target.folder.iterdir() if path.name.startswith(scratch)]:
        with suppress(OSError):  # it is not in the way: no two have the same name
            leftover.unlink()


def _look_at_next(target: _Target, belongs: Belongs) -> Match:
    """Return whether `.next` is the manifest of the current artifact."""
    status = lstat(target.next)
    if status is None:
        return Match.ABSENT
    return Match.OWN if stat.S_ISREG(status.st_mode) and _next_belongs(target, belongs) else Match.OTHER


def _next_belongs(target: _Target, belongs: Belongs) -> bool:
    try:
        manifest = read_regular(target.next, MAX_MANIFEST_BYTES, flags=os.O_NOFOLLOW)
        if not target.artifact.is_file():
            return False
        fd, _ = open_regular(target.artifact)
    except (NotRegularError, TooLargeError):
        return False
    with FileBlob(fd, str(target.artifact)) as blob:
        return belongs(manifest, blob)


def _settle(target: _Target, state: State) -> None:
    """Do the last step of a commit, or undo the first, as the state demands."""
    if state.todo is ToDo.FINISH:
        target.next.replace(target.manifest)
    if state.todo in (ToDo.FINISH, ToDo.REMOVE):
        # After a rename, too: where both are links to one file, it does nothing at all.
        target.next.unlink(missing_ok=True)
        sync_folder(target.folder)


def _with_suffix(path: PathLike, suffix: str) -> Path:
    artifact = Path(path)
    return artifact.with_name(artifact.name + suffix)
