"""Reading an artifact: opened once, and each byte handed out only after the digest of its chunk matched.

The scanner and joblib both read through this, so that they see the same bytes whatever happens to the file
meanwhile.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Final

from safeload._manifest.digests import import_algorithm
from safeload._storage.chunks import READ_AHEAD_FROM, ChunkFile
from safeload._storage.read_ahead import ReadAhead
from safeload.errors import DigestMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import WriteableBuffer

    from safeload._internal.blob import Blob
    from safeload._manifest.digests import FileDigests

__all__ = [
    "VerifiedReader",
    "verified_reader",
    "verified_stream",
]

_BUFFER_SIZE: Final = 16 << 10  # joblib reads arrays by 256 KiB: most of that goes around the buffer
_WHOLE_UP_TO: Final = 4 << 20  # bytes; what is small is read once, for the scan and for joblib


class VerifiedReader(io.RawIOBase):
    """The bytes of a blob, each handed out only after the digest of its chunk matched.

    A chunk is read once, digested where it was read to, and handed out from there, so that the file may change
    at any moment: what is handed out is what was signed.  The first mismatch is kept as `failure` and raised
    for ever after.  The blob stays the caller's.

    Raises (here and from every read): DigestMismatchError, StorageError.
    """

    def __init__(
        self,
        blob: Blob,
        *,
        size: int,
        chunk_size: int,
        algorithm: str,
        chunks: Sequence[bytes],
        sha256: str | None = None,
    ) -> None:
        super().__init__()
        self._ahead: ReadAhead | None = None
        if size < 0 or chunk_size < 1 or len(chunks) != -(-size // chunk_size):
            raise ValueError("the number of chunk digests does not fit the size")
        import_algorithm(algorithm)  # now, not while an audit hook forbids it
        self.name = blob.name  # joblib names it in its messages
        self.failure: DigestMismatchError | None = None
        self._file = ChunkFile(blob, size, chunk_size, algorithm, chunks, sha256)
        self._position = 0
        self._chunk = bytearray()  # until it is needed
        self._held = -1  # the index of the chunk that _chunk holds, verified
        self._file.check_size()

    @property
    def size(self) -> int:
        """How many bytes the artifact has."""
        return self._file.size

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position, in bytes from the start."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a position, which may be beyond the end, as in any file.

        Raises: ValueError for one before the start.
        """
        self._check_open()
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._file.size}
        if whence not in starts:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence}")
        if starts[whence] + offset < 0:
            raise ValueError(f"cannot move to before the start ({starts[whence] + offset})")
        self._position = starts[whence] + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer with verified bytes, all of it unless the artifact ends; return their number."""
        self._check_usable()
        view = memoryview(buffer).cast("B")
        try:
            filled = self._fill(view)
        except BaseException as error:
            self._give_up(error)
            raise
        self._position += filled
        return filled

    def whole(self) -> bytes:
        """Return all of the artifact, wherever this reader stands."""
        self._check_usable()
        try:
            return self._file.whole()
        except BaseException as error:
            self._give_up(error)
            raise

    def readall(self) -> bytes:
        """Return all that is left."""
        data = bytearray(max(0, self._file.size - self._position))
        self.readinto(data)
        return bytes(data)

    def require_sha256(self, found: str) -> None:
        """Refuse a manifest that states another SHA-256 than that of the bytes that were read.

        Raises: DigestMismatchError.
        """
        try:
            self._file.require_sha256(found)
        except DigestMismatchError as error:
            self._give_up(error)
            raise

    def verify_all(self, *, sha256: bool = False) -> None:
        """Read every chunk as it is on the disk now, and make sure that nothing follows the last one.

        With `sha256`, compare the digest of all the bytes, too.
        """
        self._check_usable()
        self._stop_ahead()
        self._held = -1
        try:
            self._file.verify(sha256=sha256)
        except BaseException as error:
            self._give_up(error)
            raise

    def start_read_ahead(self) -> None:
        """Let threads read and verify the next chunks meanwhile, as long as they are read in order.

        Does nothing for small files.  The threads end with the file, with `close`, or with the first read that
        is out of order or fails.
        """
        self._check_usable()
        if self._ahead is None and self._file.size >= READ_AHEAD_FROM:
            index = self._position // self._file.chunk_size
            self._ahead = ReadAhead(self._file, index + 1 if index == self._held else index)

    def close(self) -> None:
        """Stop reading ahead; the blob stays open."""
        self._stop_ahead()
        super().close()

    def _fill(self, view: memoryview) -> int:
        file, position, filled = self._file, self._position, 0
        while filled < len(view) and position < file.size:
            index, start = divmod(position, file.chunk_size)
            length = file.length(index)
            if start == 0 and len(view) - filled >= length and self._ahead is None and index != self._held:
                count = length
                file.load(index, view[filled : filled + count])
            else:
                self._hold(index)
                count = min(length - start, len(view) - filled)
                view[filled : filled + count] = memoryview(self._chunk)[start : start + count]
            filled += count
            position += count
        if filled < len(view):
            file.check_size()
        return filled

    def _hold(self, index: int) -> None:
        """Make `_chunk` this chunk, verified."""
        if index == self._held:
            return
        self._held = -1
        if not self._chunk:
            self._chunk = bytearray(min(self._file.size, self._file.chunk_size))
        if self._ahead is not None:
            chunk = self._ahead.take(index, self._chunk)
            if chunk is not None:
                self._chunk = chunk
                self._held = index
                return
            self._stop_ahead()
        self._file.load(index, memoryview(self._chunk)[: self._file.length(index)])
        self._held = index

    def _give_up(self, error: BaseException) -> None:
        self._held = -1
        self._stop_ahead()
        if isinstance(error, DigestMismatchError):
            self.failure = error

    def _stop_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.stop()
            # An interrupted hand-over may have left this buffer with a thread, too.
            self._chunk = bytearray(len(self._chunk))
            self._held = -1

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _check_usable(self) -> None:
        self._check_open()
        if self.failure is not None:
            raise self.failure.with_traceback(None)


def verified_stream(reader: VerifiedReader) -> io.BufferedReader[Any]:
    """Put the buffer that unpicklers need in front of a reader; closing it closes the reader.

    What is small is read here, and verified, and the stream is of that.
    """
    if reader.size > _WHOLE_UP_TO:
        return io.BufferedReader(reader, buffer_size=_BUFFER_SIZE)
    whole = _Whole(reader.whole())
    whole.name = reader.name
    return io.BufferedReader(whole, buffer_size=_BUFFER_SIZE)


class _Whole(io.BytesIO):
    """Verified bytes, and the path that they are of."""

    name: str


def verified_reader(blob: Blob, digests: FileDigests) -> VerifiedReader:
    """Return a reader that hands out only the bytes of these digests."""
    return VerifiedReader(
        blob,
        size=digests.size,
        chunk_size=digests.chunk_size,
        algorithm=digests.algorithm,
        chunks=[bytes.fromhex(chunk) for chunk in digests.chunks],
        sha256=digests.sha256,
    )
