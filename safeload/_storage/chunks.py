"""The chunks of a blob, each read into place and digested there."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from typing import TYPE_CHECKING, Final

from safeload._internal.blob import read_bytes
from safeload._internal.files import storage_errors
from safeload._manifest.digests import chunk_digest
from safeload.errors import DigestMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from safeload._internal.blob import Blob

__all__ = [
    "READ_AHEAD_FROM",
    "ChunkFile",
    "cores",
]

READ_AHEAD_FROM: Final = 8 << 20  # bytes; below that a thread costs more than it saves
_GET_AGAIN: Final = "Do not load it. Get it again from where it was signed."
_BLOCK: Final = 1 << 20
_SHA256_UP_TO: Final = 64 << 10  # bytes: more would cost loading time, and what it tells is no matter of trust
_VERIFY_MEMORY: Final = 32 << 20


class ChunkFile:
    """A blob and the digests that its chunks must have; any number of threads may read it.

    `sha256` is that of all the bytes. The chunks' digests say whether the bytes are those that were signed; this one is
    what people and registries compare, and a signer could have stated another file's.
    """

    __slots__ = ("_algorithm", "_blob", "_chunks", "_sha256", "chunk_size", "count", "size")

    def __init__(
        self, blob: Blob, size: int, chunk_size: int, algorithm: str, chunks: Sequence[bytes], sha256: str | None = None
    ) -> None:
        self._blob = blob
        self._sha256 = sha256
        self._algorithm = algorithm
        self._chunks = chunks
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
        with storage_errors("read", self._blob.name):
            data = read_bytes(self._blob, 0, self.size + 1)
            while len(data) <= self.size and (more := read_bytes(self._blob, len(data), self.size + 1 - len(data))):
                data += more
        if len(data) != self.size:
            self.check_size()  # which says how many there are
            raise self._other_size(len(data))
        view = memoryview(data)
        for index in range(self.count):
            start = index * self.chunk_size
            self._check_chunk(index, view[start : start + self.chunk_size])
        if self._sha256 is not None and self.size <= _SHA256_UP_TO:
            self.require_sha256(hashlib.sha256(data).hexdigest())
        return data

    def _load(self, index: int, view: memoryview) -> None:
        offset = index * self.chunk_size
        filled = 0
        with storage_errors("read", self._blob.name):
            while filled < len(view):
                count = self._blob.read_into(offset + filled, view[filled:])
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
                f"digest mismatch: the content between bytes {offset} and {offset + len(view)} was changed after "
                "signing",
                advice=_GET_AGAIN,
                path=self._blob.name or None,
                offset=offset,
            )

    def verify(self, *, sha256: bool) -> None:
        """Read and digest every chunk, with as many threads as there are cores for large files.

        With `sha256`, the digest of all the bytes is compared, too; that takes a second reading.
        """
        threads = min(cores(), self.count, _VERIFY_MEMORY // self.chunk_size) if self.size >= READ_AHEAD_FROM else 1
        if threads < 2:
            self._verify(iter(range(self.count)))
            if sha256:
                self._verify_sha256()
        else:
            from concurrent.futures import ThreadPoolExecutor

            indices = iter(range(self.count))  # shared: its next() is one step for all threads
            with ThreadPoolExecutor(threads + 1, thread_name_prefix="safeload-verify") as pool:
                tasks = [pool.submit(self._verify_sha256)] if sha256 else []
                tasks += [pool.submit(self._verify, indices) for _ in range(threads)]
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

    def _verify_sha256(self) -> None:
        """Read all bytes once more, for the digest of them all."""
        if self._sha256 is None:
            return
        digest = hashlib.sha256()
        with storage_errors("read", self._blob.name):
            offset = 0
            while data := read_bytes(self._blob, offset, min(_BLOCK, self.size - offset)):
                digest.update(data)
                offset += len(data)
        self.require_sha256(digest.hexdigest())

    def require_sha256(self, found: str) -> None:
        """Refuse a manifest that states another SHA-256 than that of the bytes that were signed.

        Raises: DigestMismatchError.
        """
        if found != self._sha256:
            raise DigestMismatchError(
                f"digest mismatch: its SHA-256 is {found}, and the manifest states {self._sha256}",
                advice="Have the signer sign it again, and ask which tool wrote this manifest.",
                path=self._blob.name or None,
            )

    def check_size(self) -> None:
        """Refuse a file that has become shorter or longer than what was signed."""
        with storage_errors("read", self._blob.name):
            size = self._blob.size
        if size != self.size:
            raise self._other_size(size)

    def _other_size(self, size: int) -> DigestMismatchError:
        return DigestMismatchError(
            f"size mismatch: it has {size} bytes, and {self.size} bytes were signed",
            advice=_GET_AGAIN,
            path=self._blob.name or None,
            code="SL202",
            offset=min(size, self.size),
        )


def cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
