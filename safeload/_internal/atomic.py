"""New files that take their place whole, durably and in one step; and locks between writers.

Every file that safeload puts in place is a `NewFile` first: both files of a pair, channel pointers, rollback state,
keyrings, private copies and reports.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from safeload._internal.blob import FileBlob
from safeload._internal.files import PathLike, storage_error, storage_errors
from safeload.errors import StorageError

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "ALREADY_THERE",
    "EXCLUSIVE",
    "LOCK_TIMEOUT",
    "SCRATCH_PREFIX",
    "Identity",
    "NewFile",
    "identity",
    "lock_path",
    "locked",
    "lstat",
    "mode_of",
    "new_file",
    "place_new",
    "remove_scratch",
    "replace_file",
    "sync_folder",
    "write_all",
]

SCRATCH_PREFIX = ".safeload-"  # of every lock and temporary file; listings of a folder skip these
LOCK_TIMEOUT = 60.0  # seconds
EXCLUSIVE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AGAIN = "Another program works in this folder: stop it, and try again."
_FLUSH_FROM = 8 << 20  # bytes; below that a thread costs more than it saves
ALREADY_THERE = "it is already there. Pass overwrite=True to replace it, or choose another name"

Identity = tuple[int, int]

_CANNOT_LINK = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_CANNOT_SYNC_FOLDERS = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


def replace_file(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Put a file in place, durably, in one step: a reader finds the old one or the new one, whole.

    A new file gets `mode`, less this process's umask; one that is replaced hands on its own. Writers to one
    path have to keep each other out, with `locked(lock_path(path), path)`. What a killed one left is removed.

    Raises: StorageError, FileNotFoundError (no such folder); the old file is then still there.
    """
    with storage_errors("write", path):
        _remove_scratch(path)
        temporary = path.with_name(f"{_scratch(path)}-{secrets.token_hex(8)}.tmp")
        old = lstat(path)
        if old is not None and not stat.S_ISREG(old.st_mode):
            raise StorageError(
                "cannot replace it: it is not a regular file", advice="Look what it is, and remove it.", path=path
            )
        with new_file(temporary, mode, like=path) as new:
            new.write(data)
            new.settle()
            new.place(path, overwrite=True)
            sync_folder(path.parent)


class NewFile:
    """A file in the making: created under a temporary name, written, settled, then placed under its own in one step.

    The temporary is made in the folder of the file that it becomes. Nobody else can have made it, and `identity` tells
    it from a file that somebody puts in its place: so write and read it through `fd`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1  # open for writing and reading, from `create` to `close`
        self.identity: Identity | None = None
        self._taken = False  # by a file that somebody else made under the temporary name

    def create(self, mode: int, *, like: Path | None = None) -> None:
        """Create the temporary, with `mode` less this process's umask, or with the mode of the file that is at `like`.

        Raises: OSError.
        """
        old = None if like is None else mode_of(like)
        try:
            self.fd = os.open(self.path, EXCLUSIVE, mode if old is None else old)
        except FileExistsError:
            self._taken = True
            raise
        self.identity = identity(os.fstat(self.fd))
        if old is not None:
            os.fchmod(self.fd, old)  # the umask took bits off

    def write(self, data: bytes | memoryview) -> None:
        """Write these bytes, all of them, after those before.

        Raises: OSError.
        """
        write_all(self.fd, data)

    def stream(self) -> io.BufferedWriter:
        """Return a stream that writes to it; to be closed before the content is read or settled."""
        return os.fdopen(os.dup(self.fd), "wb")

    def blob(self, name: str) -> FileBlob:
        """Return it as a blob of this name, for reading; it may be used until `close`."""
        return FileBlob(self.fd, name)

    @contextmanager
    def flushing(self, target: Path) -> Iterator[None]:
        """Let a large file be written to the disk while something else is done with it.

        Raises: StorageError, at the end, if that fails: a later sync of the file would not report it.
        """
        if os.fstat(self.fd).st_size < _FLUSH_FROM:
            yield
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1, thread_name_prefix="safeload-flush") as pool:
            flushed = pool.submit(os.fsync, self.fd)
            yield
            with storage_errors("write", target):
                flushed.result()

    def settle(self, mode: int | None = None) -> None:
        """Flush the content to the disk, with `mode` as its mode if one is given.

        Raises: OSError.
        """
        if mode is not None:
            os.fchmod(self.fd, mode)
        os.fsync(self.fd)

    def require_there(self) -> None:
        """Make sure that the temporary's name still leads to this file.

        Raises: StorageError, OSError.
        """
        found = lstat(self.path)
        if found is None:
            raise StorageError("it was removed before it was committed", advice=_AGAIN, path=self.path)
        if identity(found) != self.identity:
            raise StorageError("it was replaced before it was committed", advice=_AGAIN, path=self.path)

    def place(self, target: Path, *, overwrite: bool) -> None:
        """Rename the temporary to `target`; to make that last, sync the folder afterwards.

        Raises: FileExistsError where there is a file and `overwrite` is false, OSError.
        """
        if overwrite:
            self.path.replace(target)
        else:
            place_new(self.path, target)

    def is_at(self, path: Path) -> bool:
        """Return whether this file is the one at `path` now.

        Raises: OSError.
        """
        found = lstat(path)
        return found is not None and identity(found) == self.identity

    def close(self) -> None:
        """Close the descriptor, and remove the temporary if it was not placed.

        Raises: OSError.
        """
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)
        if not self._taken:
            self.path.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path, mode: int, *, like: Path | None = None) -> Iterator[NewFile]:
    """Create a `NewFile`, and leave nothing of it behind unless it was placed.

    Raises: OSError.
    """
    new = NewFile(path)
    try:
        new.create(mode, like=like)
        yield new
    finally:
        with suppress(OSError):  # it is in nobody's way
            new.close()


def lock_path(path: Path) -> Path:
    """Return the lock file of those who write to `path`, which is bounded in length."""
    return path.with_name(f"{_scratch(path)}.lock")


def _scratch(path: Path) -> str:
    return SCRATCH_PREFIX + hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]


def remove_scratch(folder: Path) -> None:
    """Remove what killed writers left in a folder that has one lock for all of its writers, which is held."""
    for leftover in folder.glob(f"{SCRATCH_PREFIX}*.tmp"):
        with suppress(OSError):  # it is in nobody's way
            leftover.unlink()


def _remove_scratch(path: Path) -> None:
    prefix = _scratch(path) + "-"
    for leftover in [found for found in path.parent.iterdir() if found.name.startswith(prefix)]:
        with suppress(OSError):  # it is in nobody's way
            leftover.unlink()


@contextmanager
def locked(lock_file: Path, subject: PathLike, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Keep other writers to `subject` out, in this process and in others, with a lock file that they all use.

    Raises: StorageError if that takes longer than `timeout` seconds, or the file system says no.
    """
    from filelock import FileLock, Timeout  # here: who only reads needs no lock

    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=timeout)
    except Timeout as error:
        raise StorageError(
            f"cannot lock it: another process or thread has been writing it for over {timeout:g} seconds",
            advice=f"Try again when it has finished. It holds {lock_file}.",
            path=subject,
        ) from error
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            raise storage_error("lock", subject, error) from error
        raise StorageError(
            f"cannot write it: permission denied to make files in its folder, {lock_file.parent}",
            advice="Work on a copy in a folder of yours, or change the folder's mode.",
            path=subject,
        ) from error
    try:
        yield
    finally:
        lock.release()
        _remove_lock_file(lock_file)


def _remove_lock_file(path: Path) -> None:
    """Remove the lock file, which some releases of filelock leave, unless another writer holds it.

    Only a holder of the lock may unlink it: a waiter that gets the lock of an unlinked file tries again.
    """
    with suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if identity(os.fstat(fd)) == identity(path.lstat()):
                path.unlink()
        finally:
            os.close(fd)


def place_new(source: Path, destination: Path) -> None:
    """Rename a file, but never onto another, not even onto one that appears meanwhile.

    Raises: FileExistsError, OSError.
    """
    try:
        destination.hardlink_to(source)
    except FileExistsError as error:
        raise FileExistsError(errno.EEXIST, ALREADY_THERE, str(destination)) from error
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        # No hard links here. Another program, without our lock, could still come between these lines.
        if os.path.lexists(destination):
            raise FileExistsError(errno.EEXIST, ALREADY_THERE, str(destination)) from error
        source.rename(destination)
    else:
        source.unlink()


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder last, where the file system can."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC_FOLDERS:
            raise
    finally:
        os.close(fd)


def identity(status: os.stat_result) -> Identity:
    """Return what tells this file from all others that exist."""
    return status.st_dev, status.st_ino


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write these bytes to an open file, all of them.

    Raises: OSError.
    """
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def mode_of(path: Path) -> int | None:
    """Return the permission bits of the file at a path, None where there is none."""
    status = lstat(path)
    return None if status is None else status.st_mode & 0o777


def lstat(path: Path) -> os.stat_result | None:
    """Return the file's status without following a link, or None without a file."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
