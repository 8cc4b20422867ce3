"""Reading an artifact: opened once, and each byte handed out only after the digest of its chunk matched.

The scanner and joblib both read through this, so that they see the same bytes whatever happens to the file
meanwhile.
"""

from __future__ import annotations

import io
import itertools
import os
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from safeload._internal.files import storage_errors
from safeload._manifest.digests import chunk_digest, import_algorithm
from safeload.errors import DigestMismatchError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from safeload._manifest.digests import FileDigests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from _typeshed import WriteableBuffer

__all__ = [
    "VerifiedReader",
    "verified_reader",
    "verified_stream",
]

_BUFFER_SIZE: Final = 16 << 10  # joblib reads arrays by 256 KiB: most of that goes around the buffer
_WHOLE_UP_TO: Final = 4 << 20  # bytes; what is small is read once, for the scan and for joblib
_READ_AHEAD_FROM: Final = 8 << 20  # bytes; below that a thread costs more than it saves
_READ_AHEAD_MEMORY: Final = 16 << 20
_AHEAD_THREADS: Final = 3
_VERIFY_MEMORY: Final = 32 << 20


class VerifiedReader(io.RawIOBase):
    """The bytes of an open file, each handed out only after the digest of its chunk matched.

    A chunk is read once, digested where it was read to, and handed out from there, so that the file may change
    at any moment: what is handed out is what was signed.  The first mismatch is kept as `failure` and raised
    for ever after.  The descriptor stays the caller's, and its own position is neither used nor moved.

    Raises (here and from every read): DigestMismatchError, StorageError.
    """

    def __init__(
        self, fd: int, *, size: int, chunk_size: int, algorithm: str, chunks: Sequence[bytes], path: str = ""
    ) -> None:
        super().__init__()
        self._ahead: _ReadAhead | None = None
        if size < 0 or chunk_size < 1 or len(chunks) != -(-size // chunk_size):
            raise ValueError("the number of chunk digests does not fit the size")
        import_algorithm(algorithm)  # now, not while an audit hook forbids it
        self.name = path  # joblib names it in its messages
        self.failure: DigestMismatchError | None = None
        self._file = _ChunkFile(fd, size, chunk_size, algorithm, chunks, path)
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

    def verify_all(self) -> None:
        """Read every chunk as it is on the disk now, and make sure that nothing follows the last one."""
        self._check_usable()
        self._stop_ahead()
        self._held = -1
        try:
            self._file.verify()
        except BaseException as error:
            self._give_up(error)
            raise

    def start_read_ahead(self) -> None:
        """Let threads read and verify the next chunks meanwhile, as long as they are read in order.

        Does nothing for small files.  The threads end with the file, with `close`, or with the first read that
        is out of order or fails.
        """
        self._check_usable()
        if self._ahead is None and self._file.size >= _READ_AHEAD_FROM:
            index = self._position // self._file.chunk_size
            self._ahead = _ReadAhead(self._file, index + 1 if index == self._held else index)

    def close(self) -> None:
        """Stop reading ahead; the descriptor stays open."""
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


class _ChunkFile:
    """An open file and the digests that its chunks must have; any number of threads may read it."""

    __slots__ = ("_algorithm", "_chunks", "_fd", "_path", "chunk_size", "count", "size")

    def __init__(self, fd: int, size: int, chunk_size: int, algorithm: str, chunks: Sequence[bytes], path: str) -> None:
        self._fd = fd
        self._algorithm = algorithm
        self._chunks = chunks
        self._path = path
        self.chunk_size = chunk_size
        self.count = len(chunks)
        self.size = size

    def length(self, index: int) -> int:
        """Return how many bytes this chunk has."""
        return min(self.chunk_size, self.size - index * self.chunk_size)

    def load(self, index: int, view: memoryview) -> None:
        """Read this chunk, and leave nothing of it in `view` unless it is what was signed."""
        try:
            self._load(index, view)
        except BaseException:
            view[:] = bytes(len(view))
            raise

    def whole(self) -> bytes:
        """Read all of it at once, and verify every chunk."""
        with storage_errors("read", self._path):
            data = os.pread(self._fd, self.size + 1, 0)
            while len(data) <= self.size and (more := os.pread(self._fd, self.size + 1 - len(data), len(data))):
                data += more
        if len(data) != self.size:
            self.check_size()  # which says how many there are
            raise self._other_size(len(data))
        view = memoryview(data)
        for index in range(self.count):
            start = index * self.chunk_size
            self._check_chunk(index, view[start : start + self.chunk_size])
        return data

    def _load(self, index: int, view: memoryview) -> None:
        offset = index * self.chunk_size
        filled = 0
        with storage_errors("read", self._path):
            while filled < len(view):
                count = os.preadv(self._fd, [view[filled:]], offset + filled)
                if count == 0:
                    raise self._other_size(offset + filled)
                filled += count
        self._check_chunk(index, view)
        if index == self.count - 1:
            self.check_size()

    def _check_chunk(self, index: int, view: memoryview) -> None:
        if chunk_digest(self._algorithm, view) != self._chunks[index]:
            offset = index * self.chunk_size
            raise DigestMismatchError(
                f"{self._path or 'the artifact'} is not what was signed: its content differs between bytes "
                f"{offset} and {offset + len(view)}. Do not load it. Get it again from where it was signed.",
                offset=offset,
            )

    def verify(self) -> None:
        """Read and digest every chunk, with as many threads as there are cores for large files."""
        threads = min(_cores(), self.count, _VERIFY_MEMORY // self.chunk_size) if self.size >= _READ_AHEAD_FROM else 1
        if threads < 2:
            self._verify(iter(range(self.count)))
        else:
            from concurrent.futures import ThreadPoolExecutor

            indices = iter(range(self.count))  # shared: its next() is one step for all threads
            with ThreadPoolExecutor(threads, thread_name_prefix="safeload-verify") as pool:
                tasks = [pool.submit(self._verify, indices) for _ in range(threads)]
            for task in tasks:
                task.result()
        self.check_size()

    def _verify(self, indices: Iterator[int]) -> None:
        buffer = bytearray(min(self.size, self.chunk_size))
        try:
            for index in indices:
                self._load(index, memoryview(buffer)[: self.length(index)])
        except BaseException:
            deque(indices, maxlen=0)  # the other threads need not go on
            raise

    def check_size(self) -> None:
        """Refuse a file that has become shorter or longer than what was signed."""
        with storage_errors("read", self._path):
            size = os.fstat(self._fd).st_size
        if size != self.size:
            raise self._other_size(size)

    def _other_size(self, size: int) -> DigestMismatchError:
        return DigestMismatchError(
            f"{self._path or 'the artifact'} is not what was signed: it has {size} bytes, and had {self.size}. "
            f"Do not load it. Get it again from where it was signed.",
            code="SL202",
            offset=min(size, self.size),
        )


def _cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


class _ReadAhead:
    """Threads that verify the chunks of a file in order, and a ring of buffers between them and the reader.

    Whoever has a buffer claims the next chunk: the threads, and the reader itself where it would only wait for them.
    """

    def __init__(self, file: _ChunkFile, first: int) -> None:
        self._file = file
        self._next = first  # the chunk that is taken next
        self._claims = itertools.count(first)  # shared: its next() is one step for all threads
        self._stopped = False
        self._free: queue.SimpleQueue[bytearray | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[tuple[int, bytearray | Exception]] = queue.SimpleQueue()
        self._early: dict[int, bytearray | Exception] = {}  # what the reader was handed or verified before its turn
        buffers = max(1, min(2 * _AHEAD_THREADS + 1, _READ_AHEAD_MEMORY // file.chunk_size - 1))
        for _ in range(buffers):
            self._free.put(bytearray(min(file.size, file.chunk_size)))
        self._threads = [
            threading.Thread(target=self._run, name="safeload-read-ahead", daemon=True)
            for _ in range(max(1, min(_AHEAD_THREADS, _cores() - 1, buffers // 2)))
        ]
        for thread in self._threads:
            thread.start()

    def take(self, index: int, used: bytearray) -> bytearray | None:
        """Return this chunk in exchange for a used buffer, or None if it is not the next one."""
        if index != self._next:
            return None
        self._free.put(used)
        while index not in self._early:
            try:
                early, made = self._ready.get_nowait()
            except queue.Empty:
                if self._verify_one():
                    continue
                try:
                    early, made = self._ready.get(timeout=1.0)
                except queue.Empty:
                    if not any(thread.is_alive() for thread in self._threads):  # as in a forked child
                        return None
                    continue
            self._early[early] = made
        chunk = self._early.pop(index)
        if isinstance(chunk, Exception):
            raise chunk
        self._next += 1
        return chunk

    def stop(self) -> None:
        """End the threads, and wait until they no longer use the descriptor."""
        self._stopped = True
        for _ in self._threads:
            self._free.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # where garbage is collected in that thread
                thread.join()

    def _verify_one(self) -> bool:
        """Verify the next chunk that nobody has claimed; tell whether there was one, and a buffer for it."""
        try:
            buffer = self._free.get_nowait()
        except queue.Empty:
            return False
        if buffer is None:
            return False
        index = next(self._claims)
        if index >= self._file.count:
            return False
        self._early[index] = self._load(index, buffer)
        return True

    def _run(self) -> None:
        while True:
            # First a buffer, then a chunk: what is claimed is on its way, so the reader never waits in vain.
            buffer = self._free.get()
            if buffer is None or self._stopped:
                return
            index = next(self._claims)
            if index >= self._file.count:
                return
            made = self._load(index, buffer)
            self._ready.put((index, made))
            if isinstance(made, Exception):
                return

    def _load(self, index: int, buffer: bytearray) -> bytearray | Exception:
        """Return this chunk, verified, or what is to be raised where it is read, if it ever is."""
        try:
            self._file.load(index, memoryview(buffer)[: self._file.length(index)])
        except (DigestMismatchError, StorageError, OSError, MemoryError) as error:
            return error
        return buffer


def verified_reader(fd: int, digests: FileDigests, target: Path) -> VerifiedReader:
    """Return a reader that hands out only the bytes of these digests."""
    return VerifiedReader(
        fd,
        size=digests.size,
        chunk_size=digests.chunk_size,
        algorithm=digests.algorithm,
        chunks=[bytes.fromhex(chunk) for chunk in digests.chunks],
        path=str(target),
    )
