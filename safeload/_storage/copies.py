"""Private copies to map into memory, for artifacts in storage that others can write.

Pages of a mapped file are read as they are touched, long after the file was verified.  Where somebody else could
change it by then, what is mapped is a copy that nobody else can change: a file in a private folder, whose pages all
processes that map it share, or a sealed memory file, whose pages this process shares with those it forks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from abc import ABC, abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safeload._internal.atomic import SCRATCH_PREFIX, locked, new_file, remove_scratch, write_all
from safeload._internal.blob import FileBlob
from safeload._internal.files import (
    OTHERS_USE,
    NotRegularError,
    PathLike,
    exposure,
    open_regular,
    require_private,
    storage_errors,
)
from safeload._internal.forking import MemoryLock
from safeload._internal.secrecy import require_path
from safeload._storage.reader import verified_reader
from safeload.errors import DigestMismatchError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from safeload._internal.blob import Blob
    from safeload._manifest.digests import FileDigests
    from safeload._storage.reader import VerifiedReader

__all__ = ["Copies", "FolderOfCopies", "SealedCopies", "mappable"]

_LOCK_TIMEOUT = 600.0  # seconds: another process may be copying many gigabytes
_BLOCK = 4 << 20


class Copies(ABC):
    """Where private copies are kept; by the SHA-256 of their content, as it was signed."""

    def _copy_of(self, blob: Blob, reader: VerifiedReader, digests: FileDigests) -> tuple[FileBlob, VerifiedReader]:
        """Return a verified copy, made if there is none, for the caller to close, and its reader.

        Raises: DigestMismatchError, StorageError.
        """
        found = self._verified(digests)
        if found is None:
            self._make(digests.sha256, reader)
            found = self._verified(digests)
        if found is None:
            raise StorageError(
                "its private copy differs from the bytes that were written to it",
                advice="Check the disk.",
                path=blob.name,
            )
        return found

    def _verified(self, digests: FileDigests) -> tuple[FileBlob, VerifiedReader] | None:
        """Return the copy there is; None also if the disk changed it, since nobody else can have."""
        found = self._find(digests.sha256)
        if found is None:
            return None
        try:
            reader = verified_reader(found, digests)
            reader.verify_all()
        except DigestMismatchError:
            found.close()
            self._drop(digests.sha256)
            return None
        except BaseException:
            found.close()
            raise
        return found, reader

    @abstractmethod
    def _find(self, sha256: str) -> FileBlob | None:
        """Return the copy there is, for the caller to close; its name is a path that this user can open it by."""

    @abstractmethod
    def _make(self, sha256: str, reader: VerifiedReader) -> None:
        """Copy what the reader verifies, unless somebody else has meanwhile."""

    @abstractmethod
    def _drop(self, sha256: str) -> None:
        """Forget a copy that is not what was copied."""


class FolderOfCopies(Copies):
    """Copies as read-only files in a folder that only this user can enter.

    Files are removed by nobody else: delete those you no longer need, also while they are mapped.

    Raises: StorageError where the folder is not private.
    """

    def __init__(self, folder: PathLike) -> None:
        require_path(folder)
        self._folder = Path(folder)
        with storage_errors("make", self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = self._folder.resolve()
        self._lock = self._folder / f"{SCRATCH_PREFIX}copies.lock"
        with self._opened():
            pass

    def _find(self, sha256: str) -> FileBlob | None:
        """Return the copy, if it is there and nobody made it writable."""
        path = self._folder / sha256
        with self._opened() as folder, storage_errors("read", path):
            try:
                fd, status = open_regular(sha256, flags=os.O_NOFOLLOW, folder=folder)
            except FileNotFoundError:
                return None
            except NotRegularError as error:
                raise _not_as_left(path) from error
        if exposure(status, OTHERS_USE | stat.S_IWUSR, root=False) is not None:
            os.close(fd)
            raise _not_as_left(path)
        return FileBlob(fd, str(path))

    def _make(self, sha256: str, reader: VerifiedReader) -> None:
        """Copy into a temporary, and put it in its place once it is whole and on the disk."""
        path = self._folder / sha256
        with (
            locked(self._lock, self._folder, _LOCK_TIMEOUT),
            self._opened(),
            storage_errors("copy the artifact into", self._folder),
        ):
            if path.exists():
                return
            remove_scratch(self._folder)
            with new_file(self._folder / f"{SCRATCH_PREFIX}{sha256}.tmp", 0o600) as new:
                _copy(reader, new.write)
                new.settle(0o400)
                new.place(path, overwrite=True)

    def _drop(self, sha256: str) -> None:
        """Remove the file; processes that have it mapped keep it."""
        with storage_errors("remove", self._folder / sha256):
            (self._folder / sha256).unlink(missing_ok=True)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the folder, and make sure that it is this user's alone."""
        with storage_errors("open", self._folder):
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(folder)
            if exposure(status, OTHERS_USE, root=False) is not None:
                raise StorageError(
                    f"cannot keep private copies there: other users can enter the folder (mode "
                    f"{stat.S_IMODE(status.st_mode):04o}, uid {status.st_uid})",
                    advice="Use a folder of your own with mode 0700.",
                    path=self._folder,
                )
            yield folder
        finally:
            os.close(folder)


class SealedCopies(Copies):
    """Copies in memory files (memfd) that are sealed: not even this process can change them any more.

    They take memory once, for this process and those that it forks, and live as long as this object or an array
    that is mapped from one.

    Raises: StorageError where the system has no sealed memory files (they are Linux's).
    """

    def __init__(self) -> None:
        if not hasattr(os, "memfd_create") or not hasattr(fcntl, "F_ADD_SEALS"):
            raise StorageError(
                "cannot make sealed copies: only Linux has sealed memory files",
                advice="Use a private folder: mmap_copies=FOLDER.",
            )
        self._copies: dict[str, int] = {}
        self._lock = MemoryLock()  # else a descriptor might be another file's by the time that it is used

    def __del__(self) -> None:
        for fd in getattr(self, "_copies", {}).values():
            os.close(fd)

    def _find(self, sha256: str) -> FileBlob | None:
        """Return the copy, if this object holds it."""
        with self._lock:
            fd = self._copies.get(sha256)
            # The name is how joblib's worker processes find it, as long as this process has it open.
            return None if fd is None else FileBlob(os.dup(fd), f"/proc/{os.getpid()}/fd/{fd}")

    def _make(self, sha256: str, reader: VerifiedReader) -> None:
        """Copy into a memory file, and seal it."""
        with storage_errors("copy the artifact into", "a memory file"):
            fd = os.memfd_create(f"safeload-{sha256[:16]}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            try:
                _copy(reader, lambda block: write_all(fd, block))
                seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            except BaseException:
                os.close(fd)
                raise
        with self._lock:
            if self._copies.setdefault(sha256, fd) != fd:  # another thread was quicker
                os.close(fd)

    def _drop(self, sha256: str) -> None:
        """Close the memory file; processes that have it mapped keep it."""
        with self._lock:
            fd = self._copies.pop(sha256, None)
            if fd is not None:
                os.close(fd)


@contextmanager
def mappable(
    blob: Blob, reader: VerifiedReader, digests: FileDigests, copies: Copies | None
) -> Iterator[tuple[Blob, VerifiedReader]]:
    """Give a local file that nobody else can change while it is mapped, its name a path to it, and its reader.

    Every byte of it is verified by then.

    Raises: DigestMismatchError; StorageError where there are to be no copies, and others can write the artifact.
    """
    if copies is None:
        require_private(blob, blob.name)
        reader.verify_all()
        yield blob, reader
        return
    found = copies._copy_of(blob, reader, digests)  # noqa: SLF001 - not for users, who only pass the copies on
    with found[0]:
        yield found


def _copy(reader: VerifiedReader, write: Callable[[memoryview], object]) -> None:
    """Write all of it; the copy will be named by its SHA-256, so that is computed here."""
    reader.seek(0)
    reader.start_read_ahead()
    block = memoryview(bytearray(_BLOCK))
    digest = hashlib.sha256()
    while filled := reader.readinto(block):
        digest.update(block[:filled])
        write(block[:filled])
    reader.require_sha256(digest.hexdigest())


def _not_as_left(path: Path) -> StorageError:
    return StorageError(
        "this is not the private copy that safeload made (mode 0400, owned by this user)",
        advice="Remove it, and try again.",
        path=path,
    )
