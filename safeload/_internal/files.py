"""Opening files, and what to tell people when the operating system says no."""

from __future__ import annotations

import errno
import functools
import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from safeload._internal.blob import FileBlob
from safeload._internal.secrecy import require_path
from safeload.errors import StorageError

if TYPE_CHECKING:
    from types import TracebackType

    from safeload._internal.blob import Blob

__all__ = [
    "OTHERS_USE",
    "OTHERS_WRITE",
    "NotRegularError",
    "PathLike",
    "Stamp",
    "TooLargeError",
    "checked_path",
    "exposure",
    "open_artifact",
    "open_regular",
    "read_regular",
    "read_to_end",
    "require_private",
    "stamp",
    "storage_error",
    "storage_errors",
]

PathLike = str | os.PathLike[str]

OTHERS_WRITE: Final = 0o022  # mode bits that let others change a file
OTHERS_USE: Final = 0o077  # mode bits that let others do anything with it

_EXISTENCE = (FileNotFoundError, FileExistsError, IsADirectoryError)
_PERMISSION = ("permission denied", "Check the owner and mode of the file and of its folder.")
# What happened, and what to do.
_CAUSES = {
    errno.ENOSPC: ("no space left on the disk", "Free some space, or write elsewhere."),
    errno.EDQUOT: ("disk quota exceeded", "Free some space, or write elsewhere."),
    errno.EFBIG: ("the file is larger than this file system or process may write", "Write it to another file system."),
    errno.EROFS: ("the file system is read-only", "Write elsewhere, or mount it writable."),
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EIO: ("the disk reported an error", "Check the disk."),
    errno.ESTALE: ("the file server replaced it meanwhile", "Try again."),
    errno.ENAMETOOLONG: ("the file name, with the suffix of its manifest, is too long", "Choose a shorter name."),
    errno.ELOOP: ("it is a symbolic link that leads to itself", "Name the real file."),
}


class storage_errors:  # noqa: N801 - it is used as contextlib's are, and a class costs every load less than a generator
    """Turn the operating system's errors into StorageError, but for those that a file exists or does not.

    Raises: StorageError, FileNotFoundError, FileExistsError, IsADirectoryError.
    """

    __slots__ = ("_action", "_path")

    def __init__(self, action: str, path: PathLike) -> None:
        self._action = action
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and not isinstance(error, _EXISTENCE):
            raise storage_error(self._action, self._path, error) from error


def storage_error(action: str, path: PathLike, error: OSError) -> StorageError:
    """Return the error for an action ("read") that the operating system refused, with what to do about it."""
    cause, advice = _CAUSES.get(error.errno or 0) or (error.strerror or str(error), None)
    return StorageError(f"cannot {action} it: {cause}", advice=advice, path=path)


def open_artifact(path: PathLike) -> FileBlob:
    """Open a regular file for reading, without ever waiting; the caller closes it.

    Raises: FileNotFoundError, IsADirectoryError, StorageError if it is something else or may not be read.
    """
    with storage_errors("read", path):
        # Asked first, because opening a device may already do something.
        mode = os.stat(path).st_mode  # noqa: PTH116 - of a path that may be text
        if stat.S_ISREG(mode):
            try:
                return FileBlob(open_regular(path)[0], os.fspath(path))
            except NotRegularError as error:
                mode = error.mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "this is a folder, not an artifact", os.fspath(path))
    raise StorageError("this is a pipe, socket or device, not a file", advice="Check the path.", path=path)


class NotRegularError(OSError):
    """A folder, pipe, socket or device where a regular file should be; `mode` says which, 0 where it is not known."""

    def __init__(self, path: PathLike, mode: int) -> None:
        super().__init__(errno.EINVAL, "this is not a regular file", os.fspath(path))
        self.mode = mode


class TooLargeError(OSError):
    """A file with more bytes than may be read of it."""

    def __init__(self, path: PathLike, most: int) -> None:
        super().__init__(errno.EFBIG, f"this has more than {most} bytes", os.fspath(path))


def open_regular(path: PathLike, *, flags: int = 0, folder: int | None = None) -> tuple[int, os.stat_result]:
    """Open a regular file for reading, without ever waiting; return the descriptor, which the caller closes.

    Args:
        path: the file; links are followed unless `flags` say otherwise.
        flags: added to those of `os.open`, such as `os.O_NOFOLLOW`.
        folder: the descriptor of the folder that a relative path starts from.

    Raises: NotRegularError, FileNotFoundError, OSError.
    """
    try:
        # O_NONBLOCK: a FIFO in its place must not make us wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, or a device that is not there
            raise NotRegularError(path, 0) from error
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegularError(path, status.st_mode)
    except BaseException:
        os.close(fd)
        raise
    return fd, status


def read_regular(path: PathLike, most: int, *, flags: int = 0) -> bytes:
    """Return the content of a regular file of at most `most` bytes; `flags` as for `open_regular`.

    Raises: TooLargeError, NotRegularError, FileNotFoundError, OSError.
    """
    fd, status = open_regular(path, flags=flags)
    try:
        data = read_to_end(fd, most, at_once=min(max(status.st_size, 64 << 10), 1 << 20))
    finally:
        os.close(fd)
    if len(data) > most:
        raise TooLargeError(path, most)
    return data


def read_to_end(fd: int, most: int, *, start: int | None = None, at_once: int = 1 << 20) -> bytes:
    """Return what an open descriptor has from where it stands, or from `start`; of more than `most` bytes, one more.

    No read asks for more than `at_once` bytes: memory takes time to get, however little then comes.

    Raises: OSError.
    """
    data = bytearray()
    while len(data) <= most:
        size = min(most + 1 - len(data), at_once)
        block = os.read(fd, size) if start is None else os.pread(fd, size, start + len(data))
        if not block:
            break
        data += block
    return bytes(data)


def exposure(
    status: os.stat_result, forbidden: int = OTHERS_WRITE, *, root: bool = True
) -> Literal["owner", "mode"] | None:
    """Return what gives a file or folder to others, its owner or its mode; None where it is this user's alone.

    A folder with the sticky bit, such as /tmp, may be written by others: they cannot replace files in it.

    Args:
        status: of the file or folder.
        forbidden: the mode bits that it must not have.
        root: whether it may belong to root, too.
    """
    if status.st_uid != os.geteuid() and not (root and status.st_uid == 0):
        return "owner"
    if forbidden == OTHERS_WRITE and stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return None
    return "mode" if status.st_mode & forbidden else None


def require_private(blob: Blob, path: PathLike) -> None:
    """Refuse a file that another user could change while it is mapped into memory.

    The file at `path`, open as `blob`, and the folder it is in must belong to this user or to root, and must not be
    writable by group or others; a folder with the sticky bit, such as /tmp, may be.

    Raises: StorageError with the command that makes it private.
    """
    fd = blob.fileno()
    if fd is None:
        raise StorageError(
            "cannot map it into memory: it is not a local file", advice="Load it without mmap_mode.", path=path
        )
    with storage_errors("check who may write", path):
        real = Path(path).resolve()
        status, found, folder = os.fstat(fd), real.stat(), real.parent.stat()
    if not os.path.samestat(status, found):
        raise StorageError("it was replaced while it was being read", advice="Try again.", path=path)
    _require_private(real, status)
    _require_private(real.parent, folder)


def _require_private(path: Path, status: os.stat_result) -> None:
    exposed = exposure(status)
    if exposed == "owner":
        raise StorageError(
            f"cannot map it into memory: it belongs to another user (uid {status.st_uid}), who could change it "
            "meanwhile",
            advice="Load a copy of your own, or load it without mmap_mode.",
            path=path,
        )
    if exposed == "mode":
        raise StorageError(
            f"cannot map it into memory: other users can change it (mode {stat.S_IMODE(status.st_mode):04o}) meanwhile",
            advice=f"Run: chmod go-w {shlex.quote(str(path))}, or load it without mmap_mode.",
            path=path,
        )


Stamp = tuple[int, int, int, int, int]


def stamp(path: str | Path) -> Stamp | None:
    """Return what tells a file, links followed, from what may take its place; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - every load does this three times
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def checked_path(path: PathLike) -> Path:
    """Return the path of an artifact.

    Raises:
        TypeError: it is a stream.
        StorageError: it looks like key material, not like a path.
    """
    if hasattr(path, "write") or hasattr(path, "read"):
        raise TypeError(
            "safeload needs a path: a signature has to stand beside the artifact, not in a stream. "
            "For artifacts without a file, use safeload.dumps and safeload.loads."
        )
    if isinstance(path, bytes | bytearray | memoryview):
        raise TypeError("safeload needs a path, not bytes. For artifacts that are bytes, use safeload.loads.")
    if type(path) is str:
        return _path(path)
    require_path(path)
    return Path(path)


@functools.lru_cache(maxsize=64)  # a server loads the same few again and again, and a Path takes a while to make
def _path(text: str) -> Path:
    require_path(text)
    return Path(text)


def shown_place(name: str | None, folder: PathLike | None) -> str:
    """Return how messages name an artifact: with its folder, if a scope may ask for it."""
    return repr(name) if folder is None else f"{name!r} in {os.path.abspath(folder)!r}"  # noqa: PTH100
