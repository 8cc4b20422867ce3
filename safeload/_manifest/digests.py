"""Digests of an artifact: of each fixed-size chunk, and of the whole file.

The chunk digests let a reader hand out verified bytes without holding the file; the whole file's SHA-256 is
what people and registries compare.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeload._internal.blob import Blob

__all__ = [
    "ALGORITHMS",
    "CHUNK_SIZE",
    "DEFAULT_ALGORITHM",
    "MAX_CHUNK_SIZE",
    "MIN_CHUNK_SIZE",
    "FileDigests",
    "check_chunking",
    "chunk_digest",
    "digest_file",
    "import_algorithm",
]

ALGORITHMS = ("blake3", "sha256")
DEFAULT_ALGORITHM = "blake3"
CHUNK_SIZE = 1 << 20
# Smaller chunks make manifests large, larger ones make readers hold much before they can trust any of it.
MIN_CHUNK_SIZE = 64 << 10
MAX_CHUNK_SIZE = 16 << 20
_BESIDE_FROM = 8 << 20  # bytes; below that a thread costs more than it saves


@dataclass(frozen=True, slots=True)
class FileDigests:
    """The digests of one file; hexadecimal, lower case."""

    size: int
    sha256: str
    algorithm: str
    chunk_size: int
    chunks: tuple[str, ...]


def check_chunking(algorithm: str, chunk_size: int) -> None:
    """Refuse an unknown algorithm, and a chunk size that is no power of two within the bounds.

    Raises:
        ValueError: what is wrong.
    """
    if algorithm not in ALGORITHMS:
        raise _unknown_algorithm()
    if not MIN_CHUNK_SIZE <= chunk_size <= MAX_CHUNK_SIZE or chunk_size & (chunk_size - 1):
        raise ValueError(f"chunk size must be a power of two from {MIN_CHUNK_SIZE} to {MAX_CHUNK_SIZE} bytes")


def _unknown_algorithm() -> ValueError:
    return ValueError(f"digest algorithm must be one of {', '.join(ALGORITHMS)}")


def import_algorithm(algorithm: str) -> None:
    """Import what `chunk_digest` needs.

    Raises:
        ValueError: the algorithm is not one of `ALGORITHMS`.
    """
    if algorithm == "blake3":
        import blake3  # noqa: F401
    elif algorithm not in ALGORITHMS:
        raise _unknown_algorithm()


def chunk_digest(algorithm: str, data: bytes | bytearray | memoryview) -> bytes:
    """Return the 32-byte digest of one chunk.

    Raises:
        ValueError: the algorithm is not one of `ALGORITHMS`.
    """
    if algorithm == "blake3":
        from blake3 import blake3

        return blake3(data).digest()
    if algorithm == "sha256":
        return hashlib.sha256(data).digest()
    raise _unknown_algorithm()


def digest_file(blob: Blob, *, algorithm: str = DEFAULT_ALGORITHM, chunk_size: int = CHUNK_SIZE) -> FileDigests:
    """Digest a blob from its start to its end, in one pass and with two chunks in memory.

    An empty one has no chunks.

    Raises:
        ValueError: unknown algorithm, or chunk size out of bounds.
        OSError: the blob cannot be read.
    """
    check_chunking(algorithm, chunk_size)
    size = blob.size
    if size < chunk_size:
        data = memoryview(bytearray(size + 1))
        data = data[: _fill(blob, data, 0)]
        if len(data) <= size:  # else it is growing
            chunks = (chunk_digest(algorithm, data).hex(),) if data else ()
            return FileDigests(len(data), hashlib.sha256(data).hexdigest(), algorithm, chunk_size, chunks)
    if size < _BESIDE_FROM:
        return _digest(blob, algorithm, chunk_size, _at_once)
    from concurrent.futures import ThreadPoolExecutor

    # SHA-256 takes longer than all the rest, so it runs in a thread of its own, one chunk behind.
    with ThreadPoolExecutor(1, thread_name_prefix="safeload-digest") as pool:
        return _digest(blob, algorithm, chunk_size, lambda update, chunk: pool.submit(update, chunk).result)


def _at_once(update: Callable[[memoryview], None], chunk: memoryview) -> Callable[[], None]:
    update(chunk)
    return _nothing


def _nothing() -> None:
    return None


def _digest(
    blob: Blob,
    algorithm: str,
    chunk_size: int,
    start: Callable[[Callable[[memoryview], None], memoryview], Callable[[], None]],
) -> FileDigests:
    """Digest a file; `start` starts to update the digest of the whole with a chunk, and returns what waits for that."""
    whole = hashlib.sha256()
    chunks: list[str] = []
    size = 0
    # By turns: while the digest of the whole takes one in, the next is read into the other.
    buffer, other = memoryview(bytearray(chunk_size)), memoryview(bytearray(chunk_size))
    finish = _nothing
    while True:
        filled = _fill(blob, buffer, size)
        finish()
        if filled:
            chunk = buffer[:filled]
            finish = start(whole.update, chunk)
            chunks.append(chunk_digest(algorithm, chunk).hex())
            size += filled
        if filled < chunk_size:
            finish()
            return FileDigests(size, whole.hexdigest(), algorithm, chunk_size, tuple(chunks))
        buffer, other = other, buffer


def _fill(blob: Blob, buffer: memoryview, offset: int) -> int:
    """Read from `offset` until the buffer is full or the blob ends; return the number of bytes read."""
    filled = 0
    while filled < len(buffer):  # a read may stop short of the end, on network file systems above all
        count = blob.read_into(offset + filled, buffer[filled:])
        if count == 0:
            break
        filled += count
    return filled
