"""Blobs: the bytes of one artifact, wherever they are kept, read at any position."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

__all__ = ["Blob", "BytesBlob", "FileBlob", "immutable", "read_bytes"]


class Blob(Protocol):
    """The bytes of one artifact, open for reading; any number of threads may read it."""

    @property
    def name(self) -> str:
        """The path or address that messages name it by."""

    @property
    def size(self) -> int:
        """The number of bytes that it has now.

        Raises: OSError.
        """

    def read_into(self, offset: int, into: memoryview, /) -> int:
        """Read bytes from `offset` on, as many as fit or fewer; return their number, 0 only at the end.

        Raises: OSError.
        """

    def fileno(self) -> int | None:
        """Return the descriptor of the local file that holds just these bytes, None where there is none."""


class FileBlob:
    """An open local file as a Blob. The descriptor's own position is neither used nor moved."""

    __slots__ = ("_fd", "name")

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self.name = name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """The number of bytes that the file has now."""
        return os.fstat(self._fd).st_size

    def read_into(self, offset: int, into: memoryview, /) -> int:
        """Read bytes from `offset` on, as many as fit or fewer; return their number."""
        return os.preadv(self._fd, [into], offset)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def stream(self) -> io.BufferedReader:
        """Return the file as a stream from its start; closing the stream leaves the blob open."""
        return os.fdopen(self._fd, "rb", closefd=False)

    def close(self) -> None:
        """Close the descriptor, where this blob is its owner."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class BytesBlob:
    """Bytes in memory as a Blob, which nobody can change.

    `folder` is the folder of the file that they were read from; None where they come from no file.
    """

    __slots__ = ("data", "folder", "name")

    def __init__(self, data: bytes, name: str, folder: Path | None = None) -> None:
        self.data = data
        self.name = name
        self.folder = folder

    @property
    def size(self) -> int:
        """The number of bytes."""
        return len(self.data)

    def read_into(self, offset: int, into: memoryview, /) -> int:
        """Copy bytes from `offset` on, as many as fit or fewer; return their number."""
        part = memoryview(self.data)[offset : offset + len(into)]
        into[: len(part)] = part
        return len(part)

    def fileno(self) -> None:
        """Return None: no file holds them."""
        return

    def stream(self) -> io.BufferedReader[Any]:
        """Return the bytes as a stream from their start."""
        return io.BufferedReader(io.BytesIO(self.data))


def immutable(data: object, what: str) -> bytes:
    """Return bytes that nobody else can change: `data` itself where it is bytes, else a copy.

    Raises:
        TypeError: it is not bytes, a bytearray or a memoryview; `what` is what it is called.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"{what} must be bytes, a bytearray or a memoryview, not {type(data).__name__}")


def read_bytes(blob: Blob, offset: int, size: int) -> bytes:
    """Return up to `size` bytes from `offset` on; fewer only where the blob ends, or a read stops short.

    Raises: OSError.
    """
    fd = blob.fileno()
    if fd is not None:
        return os.pread(fd, size, offset)  # straight into the bytes that are returned
    data = bytearray(size)
    return bytes(memoryview(data)[: blob.read_into(offset, memoryview(data))])
