"""Chunk and file digests."""

from __future__ import annotations

import hashlib
import os
import tempfile
from typing import TYPE_CHECKING, Any

import blake3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeload._internal.blob import FileBlob
from safeload._manifest.digests import CHUNK_SIZE, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE, chunk_digest, digest_file
from safeload._storage.reader import verified_reader
from safeload.errors import DigestMismatchError

if TYPE_CHECKING:
    from pathlib import Path

SMALL = MIN_CHUNK_SIZE


def digest_bytes(data: bytes, **options: Any) -> Any:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(3)
        digests = digest_file(FileBlob(file.fileno(), "artifact"), **options)
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 3, "the descriptor's position is the caller's"
        return digests


def test_known_digests_of_one_chunk() -> None:
    # The vectors for "abc": FIPS 180-4 example, and the BLAKE3 reference implementation.
    assert chunk_digest("sha256", b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert chunk_digest("blake3", b"abc").hex() == "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


@pytest.mark.parametrize("algorithm", ["blake3", "sha256"])
def test_bytes_like_values_digest_alike(algorithm: str) -> None:
    data = b"x" * 1000
    expected = chunk_digest(algorithm, data)
    assert len(expected) == 32
    assert chunk_digest(algorithm, bytearray(data)) == expected
    assert chunk_digest(algorithm, memoryview(b"--" + data)[2:]) == expected


def test_an_empty_file_has_no_chunks() -> None:
    digests = digest_bytes(b"")
    assert (digests.size, digests.chunks, digests.sha256) == (0, (), hashlib.sha256().hexdigest())
    assert (digests.algorithm, digests.chunk_size) == ("blake3", CHUNK_SIZE)


@pytest.mark.parametrize("size", [1, SMALL - 1, SMALL, SMALL + 1, 2 * SMALL, 3 * SMALL + 17, (9 << 20) + 5])
@pytest.mark.parametrize("algorithm", ["blake3", "sha256"])
def test_chunks_at_and_around_their_borders(size: int, algorithm: str) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    one = {
        "blake3": lambda part: blake3.blake3(part).hexdigest(),
        "sha256": lambda part: hashlib.sha256(part).hexdigest(),
    }
    digests = digest_bytes(data, algorithm=algorithm, chunk_size=SMALL)
    assert digests.size == size
    assert digests.sha256 == hashlib.sha256(data).hexdigest()
    assert digests.chunks == tuple(one[algorithm](data[start : start + SMALL]) for start in range(0, size, SMALL))


@pytest.mark.parametrize("size", [1, 100, SMALL, 3 * SMALL])
def test_a_file_that_grows_is_digested_to_its_end(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fstat
    data = bytes(range(256)) * (3 * SMALL // 256)
    # As it was before it grew.
    monkeypatch.setattr(
        os, "fstat", lambda fd: os.stat_result((*real(fd)[:6], min(size - 1, real(fd).st_size), 0, 0, 0))
    )
    assert digest_bytes(data[:size], chunk_size=SMALL).sha256 == hashlib.sha256(data[:size]).hexdigest()


@given(st.binary(max_size=300), st.integers(0, 3 * SMALL - 1), st.integers(1, 255))
def test_one_changed_byte_changes_its_chunk_and_no_other(seed: bytes, position: int, flip: int) -> None:
    data = bytearray((seed or b"\0").ljust(300, b"?") * (3 * SMALL // 300 + 1))[: 3 * SMALL]
    before = digest_bytes(bytes(data), chunk_size=SMALL)
    data[position] ^= flip
    after = digest_bytes(bytes(data), chunk_size=SMALL)
    differing = [index for index in range(3) if before.chunks[index] != after.chunks[index]]
    assert differing == [position // SMALL]
    assert before.sha256 != after.sha256


def test_unknown_algorithms_and_odd_chunk_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="blake3, sha256"):
        chunk_digest("md5", b"")
    with pytest.raises(ValueError, match="blake3, sha256"):
        digest_bytes(b"", algorithm="sha1")
    for chunk_size in (0, -SMALL, SMALL - 1, SMALL + 1, SMALL // 2, 2 * MAX_CHUNK_SIZE, 3 * SMALL):
        with pytest.raises(ValueError, match="power of two"):
            digest_bytes(b"", chunk_size=chunk_size)


class Memory:
    """A blob that is not a file, whose reads stop short."""

    name = "memory"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read_into(self, offset: int, into: memoryview, /) -> int:
        part = self.data[offset : offset + min(len(into), 1000)]
        into[: len(part)] = part
        return len(part)

    def fileno(self) -> None:
        return None


@pytest.mark.parametrize("size", [0, 1, 999, SMALL, 3 * SMALL + 17])
def test_what_is_no_file_is_digested_and_read_alike(size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    digests = digest_file(Memory(data), chunk_size=SMALL)
    assert digests == digest_bytes(data, chunk_size=SMALL)
    reader = verified_reader(Memory(data), digests)
    assert (reader.whole(), reader.readall(), reader.name) == (data, data, "memory")
    if data:
        with pytest.raises(DigestMismatchError):
            verified_reader(Memory(data[:-1] + bytes([data[-1] ^ 1])), digests).whole()
    with pytest.raises(DigestMismatchError, match=r"bytes, and .* bytes were signed"):
        verified_reader(Memory(data + b"!"), digests)
