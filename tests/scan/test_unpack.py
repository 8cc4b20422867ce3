"""What is unpacked: exactly what joblib would unpack, complete, alone, and within bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import joblib
import lz4.frame
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pickles.packed import COMPRESSIONS, OBJECT, dumped, same
from safeload._scan.sources import FileSource, UnpackedSource, detect_compression, open_source
from safeload.findings import RefusedError
from support.children import environment

if TYPE_CHECKING:
    from pathlib import Path

    from safeload._scan.sources import FileSource, UnpackedSource

    Source = FileSource | UnpackedSource

MIB = 1 << 20
OTHER = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "lz4": lz4.frame.compress,
}


def source(data: bytes, *, max_unpacked: int = 1 << 40, max_ratio: float = 1e9) -> tuple[Source, str]:
    return open_source(io.BytesIO(data), len(data), max_unpacked=max_unpacked, max_ratio=max_ratio)


def unpack(data: bytes, **limits: Any) -> bytes:
    opened, _ = source(data, **limits)
    unpacked = opened.read(1 << 40)
    opened.finish()
    return unpacked


def refused(data: bytes, **limits: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        unpack(data, **limits)
    return caught.value.finding.code


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("level", range(1, 10))
def test_every_compression_and_level_of_joblib(compression: str, level: int) -> None:
    data = dumped(compression, level)
    opened, name = source(data)
    assert name == compression == detect_compression(data)
    plain = dumped("none")
    unpacked = opened.read(1 << 30)
    opened.finish()
    assert same(joblib.load(io.BytesIO(unpacked)), OBJECT)
    # joblib aligns arrays only in files that are not compressed; the pickle before them is the same
    assert unpacked[:20] == plain[:20]


def test_an_lzma_header_that_joblib_does_not_read_is_refused() -> None:
    data = bytearray(lzma.compress(dumped("none"), format=lzma.FORMAT_ALONE))
    assert unpack(bytes(data))
    data[2:4] = b"\x03\x80"  # a dictionary of an odd size
    with pytest.raises(lzma.LZMAError):
        joblib.load(io.BytesIO(data))
    assert refused(bytes(data)) == "SL316"


def test_compressions_by_extension(tmp_path: Path) -> None:
    for extension, name in {
        "z": "zlib", "gz": "gzip", "bz2": "bz2", "xz": "xz", "lzma": "lzma", "lz4": "lz4", "joblib": "none",
    }.items():  # fmt: skip
        path = tmp_path / f"x.{extension}"
        joblib.dump(OBJECT, path)
        assert source(path.read_bytes())[1] == name
        unpack(path.read_bytes())


def test_prefixes_are_joblibs_own() -> None:
    from joblib.compressor import _COMPRESSORS
    from joblib.numpy_pickle_utils import _detect_compressor

    prefixes = [compressor.prefix for compressor in _COMPRESSORS.values()]
    for first in [b"", b"ZF", b"Z", b"]", b"B", b"\x1f", b"\xfd7zX", b"\x80\x04", *prefixes]:
        for data in (first, first + b"xyz", first[:-1]):
            expected = _detect_compressor(io.BytesIO(data))
            assert detect_compression(data) == {"not-compressed": "none"}.get(expected, expected)


@pytest.mark.parametrize("compression", ["none", *COMPRESSIONS])
@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.tuples(st.booleans(), st.integers(0, 40_000)), max_size=30))
def test_reading_and_skipping(compression: str, sizes: list[tuple[bool, int]]) -> None:
    content = b"\x80\x04" + random.Random(1).randbytes(50_000) + bytes(100_000)
    data = OTHER.get(compression, bytes)(content)
    opened, _ = source(data)
    plain = io.BytesIO(content)
    for skip, size in sizes:
        left = len(content) - plain.tell()
        if skip and size > left:
            with pytest.raises(RefusedError) as caught:
                opened.skip(size)
            assert (caught.value.finding.code, caught.value.finding.offset) == ("SL301", plain.tell())
            return
        if skip:
            opened.skip(size)
            plain.seek(size, 1)
        else:
            assert opened.read(size) == plain.read(size)
    assert opened.read(1 << 30) == plain.read()
    opened.finish()
    assert opened.read(1) == b""


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_cut_off_anywhere(compression: str) -> None:
    data = dumped(compression, obj=OBJECT | {"more": np.arange(20_000)})
    cuts = {*range(5, 40), *range(len(data) - 40, len(data)), *range(40, len(data) - 40, len(data) // 40)}
    for cut in sorted(cuts):
        assert refused(data[:cut]) == "SL316", f"cut at {cut} of {len(data)}"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_whatever_follows_the_stream_is_refused(compression: str) -> None:
    data = dumped(compression)
    follows = [b"\0", b"\0" * 4, b"junk", b"x" * 100_000, data, data[:10], OTHER[compression](b"")]
    follows += [pack(b"more") for pack in OTHER.values()]
    for tail in follows:
        assert refused(data + tail) == "SL304", tail[:10]


@pytest.mark.parametrize("compression", ["none", *COMPRESSIONS])
def test_what_follows_the_pickle_is_refused(compression: str) -> None:
    content = pickle.dumps([1, 2, 3])
    opened, _ = source(OTHER.get(compression, bytes)(content + b"!"))
    assert opened.read(len(content)) == content
    with pytest.raises(RefusedError) as caught:
        opened.finish()
    assert (caught.value.finding.code, caught.value.finding.offset) == ("SL304", len(content))


@pytest.mark.parametrize("compression", ["zlib", "gzip", "bz2", "xz"])
def test_every_flipped_bit_is_noticed(compression: str) -> None:
    """Where the format has a checksum, no flipped bit of the content goes unnoticed."""
    data = OTHER[compression](pickle.dumps(list(range(300))))
    good = unpack(data)
    for at in range(len(data)):
        for bit in (1, 16, 128):
            flipped = bytearray(data)
            flipped[at] ^= bit
            if detect_compression(bytes(flipped)) != compression:
                continue
            try:
                unpacked = unpack(bytes(flipped), max_unpacked=MIB)
            except RefusedError:
                continue
            assert unpacked == good, f"byte {at}"  # gzip's header has a time, a name, and so on


@pytest.mark.parametrize("compression", COMPRESSIONS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_harmless(compression: str, data: st.DataObject) -> None:
    packed = bytearray(OTHER[compression](pickle.dumps(["text", *range(200)])))
    for _ in range(data.draw(st.integers(1, 5))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpack(bytes(packed), max_unpacked=MIB)
    except RefusedError:
        pass


@pytest.mark.parametrize("checksum", [4, 2, 8])
def test_a_missing_checksum(checksum: int) -> None:
    content = pickle.dumps(OBJECT)
    assert refused(zlib.compress(content)[:-4]) == "SL316"
    assert refused(gzip.compress(content)[:-checksum]) == "SL316"
    assert refused(lzma.compress(content, check=lzma.CHECK_NONE)) == "SL316"
    assert unpack(lzma.compress(content, check=lzma.CHECK_CRC32)) == content


def test_a_zlib_stream_with_a_dictionary() -> None:
    packer = zlib.compressobj(zdict=b"text" * 10)
    assert refused(packer.compress(b"text" * 100) + packer.flush()) == "SL316"


@pytest.mark.parametrize("outer", COMPRESSIONS)
@pytest.mark.parametrize("inner", [*COMPRESSIONS, "compat"])
def test_packed_twice(outer: str, inner: str) -> None:
    content = b"ZF0x123" if inner == "compat" else OTHER[inner](b"content")
    assert refused(OTHER[outer](content)) == "SL317"


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("content", [b"", b".", b"N.", b"\x80\x04N."])
def test_tiny_content(compression: str, content: bytes) -> None:
    assert unpack(OTHER[compression](content)) == content


def test_files_of_old_joblib() -> None:
    assert refused(b"ZF0x1                 " + zlib.compress(b"N.")) == "SL315"


def test_an_empty_file_is_an_empty_source() -> None:
    assert unpack(b"") == b""
    assert source(b"")[1] == "none"


# ------------------------------------------------------------------------------------------------- limits

BOMB = 160 * MIB


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    def bomb(packer: Any) -> bytes:
        packed = [packer.compress(b"\x80\x04" + bytes(MIB - 2))]
        packed += [packer.compress(bytes(MIB)) for _ in range(BOMB // MIB - 1)]
        return b"".join([*packed, packer.flush()])

    lz4_packer = lz4.frame.LZ4FrameCompressor()
    lz4_bomb = lz4_packer.begin() + bomb(lz4_packer)
    return {
        "zlib": bomb(zlib.compressobj(9)),
        "gzip": bomb(zlib.compressobj(9, wbits=31)),
        "bz2": bomb(bz2.BZ2Compressor(9)),
        "xz": bomb(lzma.LZMACompressor(lzma.FORMAT_XZ, preset=0)),
        "lzma": bomb(lzma.LZMACompressor(lzma.FORMAT_ALONE, preset=0)),
        "lz4": lz4_bomb,
    }


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_bombs_end_at_the_limits(bombs: dict[str, bytes], compression: str) -> None:
    data = bombs[compression]
    assert refused(data, max_unpacked=10 * MIB) == "SL503"
    opened, _ = source(data, max_ratio=100)
    opened.skip(64 * MIB)
    with pytest.raises(RefusedError, match=f"^{len(data)} packed bytes") as caught:
        opened.skip(BOMB - 64 * MIB)
    assert caught.value.finding.code == "SL504"
    # bz2 is so slow that beyond 96 MiB a twentieth of the ratio has to do.
    opened, _ = source(data, max_ratio=(20 if compression == "bz2" else 1) * (BOMB // len(data) + 1))
    opened.skip(BOMB)
    opened.finish()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_bombs_take_no_memory(bombs: dict[str, bytes], compression: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(bombs[compression])
    script = f"""
import os, resource, sys
import lz4.frame, bz2, lzma
from safeload._scan.sources import open_source
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[1], "rb") as file:
    source, _ = open_source(file, os.path.getsize(sys.argv[1]), max_unpacked=1 << 40, max_ratio=1e9)
    source.skip({BOMB})
    source.finish()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 24 * 1024  # KiB; a window of some formats, and steps of one MiB


def test_the_ratio_counts_only_for_large_content() -> None:
    data = zlib.compress(b"\x80" + bytes(60 * MIB))
    assert len(unpack(data, max_ratio=2)) == 60 * MIB + 1


@pytest.mark.parametrize("container", [lzma.FORMAT_XZ, lzma.FORMAT_ALONE])
def test_a_dictionary_that_takes_too_much_memory(container: int) -> None:
    filters = [{"id": lzma.FILTER_LZMA2 if container == lzma.FORMAT_XZ else lzma.FILTER_LZMA1, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(b"\x80\x04N.", format=container, filters=filters))
    if container == lzma.FORMAT_ALONE:
        data[1:5] = (1 << 30).to_bytes(4, "little")
    else:
        at = data.index(b"\x21\x01") + 2  # the size of the dictionary, in the block header
        data[at] = 36
        end = 12 + (data[12] + 1) * 4
        data[end - 4 : end] = zlib.crc32(data[12 : end - 4]).to_bytes(4, "little")
    assert refused(bytes(data)) == "SL503"


def test_without_the_codec(tmp_path: Path) -> None:
    script = """
import io, sys
sys.modules["lz4"] = sys.modules["lz4.frame"] = None
from safeload.findings import RefusedError
from safeload._scan.sources import open_source
try:
    open_source(io.BytesIO(b"\\x04\\x22\\x4d\\x18" + bytes(99)), 103, max_unpacked=9, max_ratio=9)
except RefusedError as error:
    print(error.finding.code, error.finding.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("SL602 ")
    assert "lz4" in done.stdout


def test_an_unknown_compression() -> None:
    with pytest.raises(ValueError, match="unknown compression"):
        UnpackedSource(io.BytesIO(b""), "zip", packed_size=0, max_unpacked=1, max_ratio=1)


def test_a_file_that_shrinks_while_it_is_scanned(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(100_000))
    with path.open("r+b") as file:
        opened = FileSource(file, 100_000)
        opened.read(10)
        os.ftruncate(file.fileno(), 50)
        opened.skip(99_000)
        assert opened.read(10) == b""
