"""One file, replaced in one step; and locks between writers.

What `storage` commits pairs with, and what single files, such as channel pointers, are written with.
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

from safeload._internal.files import PathLike, storage_error, storage_errors
from safeload.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "ALREADY_THERE",
    "EXCLUSIVE",
    "LOCK_TIMEOUT",
    "SCRATCH_PREFIX",
    "Identity",
    "flushing",
    "identity",
    "lock_path",
    "locked",
    "lstat",
    "place_new",
    "remove_scratch",
    "replace_file",
    "sync_folder",
]

SCRATCH_PREFIX = ".safeload-"  # of every lock and temporary file: whoever lists a folder skips these
LOCK_TIMEOUT = 60.0  # seconds
EXCLUSIVE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
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
            raise StorageError(f"{path} is not a regular file, and stays as it is. Look what it is, and remove it.")
        try:
            with os.fdopen(os.open(temporary, EXCLUSIVE, mode), "wb") as file:
                if old is not None:
                    os.fchmod(file.fileno(), old.st_mode & 0o777)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


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
            f"another process or thread has been writing {os.fspath(subject)} for over {timeout:g} seconds. "
            f"Try again when it has finished (it holds {lock_file})."
        ) from error
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            raise storage_error("lock", subject, error) from error
        raise StorageError(
            f"cannot write {os.fspath(subject)}: this user may not make files in its folder, {lock_file.parent}. "
            "Work on a copy in a folder of yours, or change the folder's mode."
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


@contextmanager
def flushing(fd: int, path: Path) -> Iterator[None]:
    """Let a large file be written to the disk while something else is done with it.

    Raises: StorageError, at the end, if that fails: whoever syncs the file again would not be told.
    """
    if os.fstat(fd).st_size < _FLUSH_FROM:
        yield
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="safeload-flush") as pool:
        flushed = pool.submit(os.fsync, fd)
        yield
        with storage_errors("write", path):
            flushed.result()


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


def lstat(path: Path) -> os.stat_result | None:
    """Return what is there, be it a link, or None."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
