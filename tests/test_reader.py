"""Bytes on their way in: verified chunk by chunk, and unpacked within bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

import joblib
import lz4.frame
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safeload.digests import chunk_digest, digest_file
from safeload.errors import DigestMismatchError, StorageError
from safeload.examine import verified_reader
from safeload.files import open_artifact
from safeload.reader import VerifiedReader, verified_stream
from safeload.rules import RefusedError
from safeload.unpack import FileSource, UnpackedSource, detect_compression, open_source

CHUNK = 64
MIB = 1 << 20


class Signed:
    """A file, the digests that were signed for it, and readers of it."""

    def __init__(self, path: Path, content: bytes, *, chunk_size: int = CHUNK, algorithm: str = "blake3") -> None:
        path.write_bytes(content)
        self.path = path
        self.content = content
        self.fd = os.open(path, os.O_RDWR)
        self.options = {
            "size": len(content),
            "chunk_size": chunk_size,
            "algorithm": algorithm,
            "chunks": [
                chunk_digest(algorithm, content[start : start + chunk_size])
                for start in range(0, len(content), chunk_size)
            ],
            "path": str(path),
        }

    def reader(self) -> VerifiedReader:
        return VerifiedReader(self.fd, **self.options)

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def signed(tmp_path):
    made = []

    def make(content: bytes, **options) -> Signed:
        made.append(Signed(tmp_path / f"artifact{len(made)}", content, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("safeload")]


# ------------------------------------------------------------------------------------------------ opening


def test_opening_files(tmp_path):
    path = tmp_path / "é model"
    path.write_bytes(b"x")
    fd = open_artifact(path)
    assert os.pread(fd, 9, 0) == b"x"
    os.close(fd)
    os.close(open_artifact(str(path)))


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(FileNotFoundError):
        open_artifact(path)
    with pytest.raises(IsADirectoryError):
        open_artifact(tmp_path)
    os.mkfifo(path)
    with pytest.raises(StorageError, match="pipe"):
        open_artifact(path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        with pytest.raises(StorageError, match="socket"):
            open_artifact(path)
    with pytest.raises(StorageError, match="device"):
        open_artifact("/dev/zero")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(StorageError, match="symbolic link"):
        open_artifact(loop)
    with pytest.raises(StorageError):
        open_artifact(path / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
def test_a_file_that_this_user_may_not_read(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(StorageError, match="this user may not"):
        open_artifact(path)


# ----------------------------------------------------------------------------------------- honest reading

SEEKS = st.tuples(st.just("seek"), st.integers(0, 700), st.just(0))
STEPS = st.one_of(
    SEEKS,
    st.tuples(st.just("seek"), st.integers(-100, 100), st.just(1)),
    st.tuples(st.just("seek"), st.integers(-700, 20), st.just(2)),
    st.tuples(st.just("read"), st.integers(-1, 400), st.just(None)),
    st.tuples(st.just("readinto"), st.integers(0, 400), st.just(None)),
    st.tuples(st.just("readline"), st.integers(-1, 100), st.just(None)),
    st.tuples(st.just("tell"), st.just(0), st.just(None)),
)


def step(file, action: str, number: int, whence: int | None) -> object:
    if action == "seek":
        at = {0: 0, 1: file.tell(), 2: file.seek(0, 2)}[whence] + number
        return file.seek(max(0, at))
    if action == "readinto":
        buffer = bytearray(number)
        return file.readinto(buffer), bytes(buffer)
    return getattr(file, action)(*([] if action == "tell" else [number]))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=600),
    chunk_size=st.sampled_from([1, 7, 64, 128, 1024]),
    steps=st.lists(STEPS, max_size=20),
    buffered=st.booleans(),
)
def test_reading_is_as_from_any_file(content, chunk_size, steps, buffered, tmp_path):
    signed = Signed(tmp_path / "artifact", content, chunk_size=chunk_size)
    reader = signed.reader()
    file = io.BufferedReader(reader, buffer_size=32) if buffered else reader
    with signed.path.open("rb", buffering=32 if buffered else 0) as plain, file:
        for each in steps:
            assert step(file, *each) == step(plain, *each)
        reader.verify_all()
    assert reader.failure is None
    signed.close()


@pytest.mark.parametrize("algorithm", ["blake3", "sha256"])
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 10 * CHUNK])
def test_reading_all(signed, size, algorithm):
    made = signed(os.urandom(size), algorithm=algorithm)
    reader = made.reader()
    assert reader.readall() == made.content
    assert reader.read(1) == b""
    assert (reader.tell(), reader.readable(), reader.seekable(), reader.writable()) == (size, True, True, False)


def test_large_reads_into_a_typed_buffer(signed):
    made = signed(os.urandom(100 * CHUNK + 8))
    array = np.empty(len(made.content) // 8, dtype=np.float64)
    assert made.reader().readinto(array) == len(made.content)
    assert array.tobytes() == made.content


def test_misuse(signed):
    made = signed(b"x" * 100)
    reader = made.reader()
    with pytest.raises(ValueError, match="before the start"):
        reader.seek(-1)
    with pytest.raises(ValueError, match="whence"):
        reader.seek(0, 3)
    with pytest.raises(io.UnsupportedOperation):
        reader.fileno()  # whoever had it could read what is not verified
    with pytest.raises(ValueError, match="number of chunk digests"):
        VerifiedReader(made.fd, **made.options | {"chunks": []})
    with pytest.raises(ValueError, match="algorithm"):
        VerifiedReader(made.fd, **made.options | {"algorithm": "md5"})
    reader.close()
    reader.close()
    for use in (lambda: reader.read(1), lambda: reader.seek(0), reader.tell, reader.verify_all):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert os.pread(made.fd, 1, 0) == b"x", "the descriptor is the caller's"


# ------------------------------------------------------------------------------------- tampered with

CHANGES = ["flip", "truncate", "extend", "replace", "zero"]


def change(made: Signed, how: str, at: int) -> bool:
    """Change the file in place; return whether its content differs now."""
    size = len(made.content)
    if how == "flip":
        os.pwrite(made.fd, bytes([made.content[at] ^ 1]), at)
    elif how == "truncate":
        os.ftruncate(made.fd, at)
    elif how == "extend":
        os.pwrite(made.fd, b"!", size)
    elif how == "replace":
        os.pwrite(made.fd, os.urandom(size), 0)
    elif how == "zero":
        os.pwrite(made.fd, bytes(size), 0)
    return os.pread(made.fd, size + 9, 0) != made.content


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(min_size=1, max_size=400),
    chunk_size=st.sampled_from([1, 64, 128, 1024]),
    how=st.sampled_from(CHANGES),
    place=st.floats(0, 1, exclude_max=True),
    before=st.integers(0, 8),
    steps=st.lists(STEPS, min_size=1, max_size=16),
)
def test_no_changed_byte_is_ever_handed_out(content, chunk_size, how, place, before, steps, tmp_path):
    """Whatever is changed, at whatever moment: what is read is what was signed, or reading ends for ever."""
    made = Signed(tmp_path / "artifact", content, chunk_size=chunk_size)
    reader, original = made.reader(), io.BytesIO(content)
    changed = False
    failure = None
    try:
        for number, each in enumerate(steps):
            if number == before:
                changed = change(made, how, int(place * len(content)))
            assert step(reader, *each) == step(original, *each)
        if not changed:
            changed = change(made, how, int(place * len(content)))
        reader.verify_all()
    except DigestMismatchError as error:
        failure = error
    assert reader.failure is failure
    if failure is None:
        assert not changed, "verify_all reads what is there now"
    else:
        assert changed
        assert failure.code in {"SL201", "SL202"}
        os.pwrite(made.fd, content, 0)
        os.ftruncate(made.fd, len(content))
        uses = [lambda: reader.read(1), reader.readall, reader.verify_all, lambda: reader.readinto(bytearray(9))]
        for use in uses:
            with pytest.raises(DigestMismatchError) as again:
                use()
            assert again.value is failure, "not even where the file is what it was"
    made.close()


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("size", [CHUNK // 2, 8 * CHUNK])
def test_verify_all_finds_every_change(signed, how, size):
    made = signed(os.urandom(size))
    reader = made.reader()
    assert change(made, how, size - 1)
    with pytest.raises(DigestMismatchError, match="not what was signed"):
        reader.verify_all()


@pytest.mark.parametrize("chunk_size", [CHUNK, 1024])
def test_what_did_not_match_is_wiped_from_the_buffer(signed, chunk_size):
    made = signed(b"secret" * 100, chunk_size=chunk_size)
    for how in ("flip", "truncate"):
        reader = made.reader()
        change(made, how, 5 * CHUNK + 3)
        buffer = bytearray(b"?" * 600)
        with pytest.raises(DigestMismatchError):
            reader.readinto(buffer)
        good = 5 * CHUNK if chunk_size == CHUNK else 0
        assert buffer[:good] == made.content[:good]
        assert not set(buffer[good:]) & set(b"secret")
        os.pwrite(made.fd, made.content, 0)


def test_another_size_is_refused_at_once(signed):
    made = signed(b"x" * 100)
    for size in (0, 99, 101):
        os.ftruncate(made.fd, size)
        with pytest.raises(DigestMismatchError, match=f"has {size} bytes, and had 100") as caught:
            made.reader()
        assert caught.value.code == "SL202"


def test_an_empty_artifact_stays_empty(signed):
    made = signed(b"")
    reader = made.reader()
    os.pwrite(made.fd, b"!", 0)
    with pytest.raises(DigestMismatchError):
        reader.read(1)


def test_a_replaced_path_does_not_matter(signed):
    made = signed(b"old" * 100)
    reader = made.reader()
    made.path.unlink()
    made.path.write_bytes(b"new" * 100)
    assert reader.readall() == made.content


def test_memory_is_bounded_by_the_chunk_and_not_by_the_file(tmp_path):
    size = 256 * MIB
    script = f"""
import hashlib, os, resource, sys
from safeload.reader import VerifiedReader
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, {size})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
chunk = hashlib.sha256(bytes({MIB})).digest()
reader = VerifiedReader(fd, size={size}, chunk_size={MIB}, algorithm="sha256", chunks=[chunk] * 256)
reader.start_read_ahead()
while reader.read(300_000):
    pass
reader.verify_all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "zeros")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 32 * 1024


# ------------------------------------------------------------------------------------- reading ahead


@pytest.fixture
def large(signed):
    return signed(random.Random(0).randbytes(12 * MIB + 12345), chunk_size=MIB)


def test_small_files_are_not_read_ahead(signed):
    reader = signed(bytes(MIB), chunk_size=MIB // 8).reader()
    reader.start_read_ahead()
    assert threads() == []


@pytest.mark.parametrize("start", [0, 1, MIB, 5 * MIB + 77, 12 * MIB + 12345])
@pytest.mark.parametrize("size", [1000, 300_000, 5_000_000])
def test_reading_ahead_reads_the_same(large, start, size):
    with large.reader() as reader:
        reader.seek(start)
        reader.read(3 if size == 1000 else 0)
        reader.start_read_ahead()
        reader.start_read_ahead()
        assert len(threads()) == 1 or start == len(large.content)
        reader.seek(start)
        parts = []
        while part := reader.read(size):
            parts.append(part)
        assert b"".join(parts) == large.content[start:]
        assert reader.read(1) == b""
    assert threads() == []


def test_reading_elsewhere_ends_the_thread(large):
    reader = large.reader()
    reader.start_read_ahead()
    assert reader.read(2 * MIB) == large.content[: 2 * MIB]
    reader.seek(7 * MIB + 1)
    assert reader.read(10) == large.content[7 * MIB + 1 : 7 * MIB + 11]
    assert threads() == []
    reader.seek(0)
    assert reader.readall() == large.content


@pytest.mark.parametrize("read_before", [0, 1, 3 * MIB, 12 * MIB])
def test_an_abandoned_reader_ends_the_thread(large, read_before):
    reader = large.reader()
    reader.start_read_ahead()
    reader.read(read_before)
    del reader
    assert threads() == []


def read_on(reader: VerifiedReader, content: bytes) -> int:
    """Read to the end or to the first failure, by little steps; return how far that was."""
    good = 0
    try:
        while part := reader.read(100_000):
            assert part == content[good : good + len(part)]
            good += len(part)
    except DigestMismatchError as error:
        assert error is reader.failure  # noqa: PT017 - what was read before it matters, too
    return good


@pytest.mark.parametrize("how", ["flip", "truncate"])
@pytest.mark.parametrize("at", [0, 7 * MIB + 3, 12 * MIB + 5])
def test_what_changed_ahead_is_refused_when_it_is_reached(large, how, at):
    reader = large.reader()
    change(large, how, at)
    reader.start_read_ahead()
    good = read_on(reader, large.content)
    assert reader.failure is not None
    assert 0 <= at - good < MIB + 100_000, "what comes before is handed out"
    assert threads() == []


def test_changes_while_reading_ahead(large):
    reader = large.reader()
    reader.start_read_ahead()
    assert reader.read(3 * MIB) == large.content[: 3 * MIB]
    change(large, "zero", 0)
    with pytest.raises(DigestMismatchError):
        reader.readall()
    assert threads() == []


def test_a_failure_far_ahead_does_not_matter_to_what_is_read(large):
    reader = large.reader()
    change(large, "flip", 2 * MIB)
    reader.start_read_ahead()
    time.sleep(0.05)
    assert reader.read(MIB) == large.content[:MIB]
    os.pwrite(large.fd, large.content, 0)
    reader.seek(4 * MIB)
    assert reader.read(MIB) == large.content[4 * MIB : 5 * MIB]


def test_an_interrupted_read_can_go_on(large):
    """An exception at any point of a read leaves neither a thread that waits nor a byte that is wrong."""

    class Interrupted(BaseException):
        pass

    for stop_at in range(1, 120, 3):
        reader = large.reader()
        reader.start_read_ahead()
        reader.read(100)
        count = 0

        def trace(_frame, event, _argument, stop_at=stop_at):
            nonlocal count
            count += event == "line"
            if count == stop_at:
                raise Interrupted
            return trace

        old = sys.gettrace()
        sys.settrace(trace)
        try:
            reader.read(3 * MIB)
        except Interrupted:
            pass
        finally:
            sys.settrace(old)
        position = reader.tell()
        assert reader.readall() == large.content[position:]
        reader.close()
        assert threads() == []


def test_readers_of_one_descriptor_in_many_threads(large):
    results = []

    def run() -> None:
        with large.reader() as reader:
            reader.start_read_ahead()
            results.append(reader.readall() == large.content)

    workers = [threading.Thread(target=run) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [True] * 6
    assert threads() == []


def test_a_forked_child_reads_on(large):
    """The thread stays with the parent; the child does without it."""
    script = """
import os, sys
from safeload.digests import chunk_digest, digest_file
from safeload.reader import VerifiedReader
fd = os.open(sys.argv[1], os.O_RDONLY)
content = os.pread(fd, 1 << 30, 0)
chunks = [chunk_digest("blake3", content[start : start + (1 << 20)]) for start in range(0, len(content), 1 << 20)]
reader = VerifiedReader(fd, size=len(content), chunk_size=1 << 20, algorithm="blake3", chunks=chunks)
reader.start_read_ahead()
assert reader.read(1000) == content[:1000]
pid = os.fork()
assert reader.readall() == content[1000:]
reader.close()
if pid == 0:
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(large.path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_no_audit_event_while_reading(large):
    """A guard around loading allows few events: reading must not raise any, nor import."""
    events = []
    me = threading.get_ident()
    active = True

    def hook(event, _arguments):
        if active and threading.get_ident() == me:
            events.append(event)

    reader = large.reader()
    reader.start_read_ahead()
    sys.addaudithook(hook)
    del events[:]
    reader.readall()
    reader.seek(5)
    reader.read(3 * MIB)
    active = False
    reader.close()
    assert events == []


# ------------------------------------------------------------------------------------------- joblib's files

RNG = np.random.default_rng(0)
OBJECT = {"a": RNG.random(3000), "text": "long text " * 2000, "ints": np.arange(5000), "empty": np.zeros(0)}
COMPRESSIONS = ["zlib", "gzip", "bz2", "xz", "lzma", "lz4"]
OTHER = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "lz4": lz4.frame.compress,
}


def dumped(compression: str, level: int = 3, obj: object = OBJECT) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        joblib.dump(obj, path, compress=(compression, level) if compression != "none" else 0)
        return path.read_bytes()


def source(data: bytes, *, max_unpacked: int = 1 << 40, max_ratio: float = 1e9):
    return open_source(io.BytesIO(data), len(data), max_unpacked=max_unpacked, max_ratio=max_ratio)


def unpack(data: bytes, **limits) -> bytes:
    opened, _ = source(data, **limits)
    unpacked = opened.read(1 << 40)
    opened.finish()
    return unpacked


def refused(data: bytes, **limits) -> str:
    with pytest.raises(RefusedError) as caught:
        unpack(data, **limits)
    return caught.value.finding.code


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("read_ahead", [False, True])
@pytest.mark.parametrize("compression", ["none", *COMPRESSIONS])
def test_joblib_loads_through_the_reader(signed, compression, read_ahead):
    obj = OBJECT | {"large": RNG.integers(0, 9, 3 * MIB)}
    made = signed(dumped(compression, 1, obj), chunk_size=MIB)
    stream = verified_stream(made.reader())
    assert stream.name == str(made.path)
    if read_ahead and isinstance(stream.raw, VerifiedReader):  # else it was read already
        stream.raw.start_read_ahead()
    assert same(joblib.load(stream), obj)
    stream.close()
    assert threads() == []
    change(made, "flip", len(made.content) // 2)
    with pytest.raises(DigestMismatchError), verified_stream(made.reader()) as stream:
        joblib.load(stream)


@pytest.mark.parametrize("size", [0, 7, 64, 100, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1])
def test_what_is_small_is_read_once_and_stays_what_was_signed(signed, size):
    made = signed(random.Random(size).randbytes(size), chunk_size=64 if size <= 100 else MIB)
    with verified_stream(made.reader()) as stream:
        os.pwrite(made.fd, b"changed"[:size], 0)
        if size <= 4 * MIB:
            assert (stream.read(), stream.seek(0), stream.read(8)) == (made.content, 0, made.content[:8])
        else:
            with pytest.raises(DigestMismatchError):
                stream.read()
    if size:
        with pytest.raises(DigestMismatchError, match="bytes 0 and"):
            verified_stream(made.reader()).read()


@pytest.mark.parametrize("other", [0, 99, 101, 5000])
def test_a_small_file_that_changes_its_size_once_it_was_opened(signed, other):
    made = signed(b"x" * 100)
    reader = made.reader()
    os.ftruncate(made.fd, other)
    with pytest.raises(DigestMismatchError, match=f"has {other} bytes, and had 100") as caught:
        verified_stream(reader)
    assert (caught.value.code, reader.failure) == ("SL202", caught.value)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("level", range(1, 10))
def test_every_compression_and_level_of_joblib(compression, level):
    data = dumped(compression, level)
    opened, name = source(data)
    assert name == compression == detect_compression(data)
    plain = dumped("none")
    unpacked = opened.read(1 << 30)
    opened.finish()
    assert same(joblib.load(io.BytesIO(unpacked)), OBJECT)
    # joblib aligns arrays only in files that are not compressed; the pickle before them is the same
    assert unpacked[:20] == plain[:20]


def test_an_lzma_header_that_joblib_does_not_read_is_refused():
    data = bytearray(lzma.compress(dumped("none"), format=lzma.FORMAT_ALONE))
    assert unpack(bytes(data))
    data[2:4] = b"\x03\x80"  # a dictionary of an odd size
    with pytest.raises(lzma.LZMAError):
        joblib.load(io.BytesIO(data))
    assert refused(bytes(data)) == "SL316"


def test_compressions_by_extension(tmp_path):
    for extension, name in {
        "z": "zlib", "gz": "gzip", "bz2": "bz2", "xz": "xz", "lzma": "lzma", "lz4": "lz4", "joblib": "none",
    }.items():  # fmt: skip
        path = tmp_path / f"x.{extension}"
        joblib.dump(OBJECT, path)
        assert source(path.read_bytes())[1] == name
        unpack(path.read_bytes())


def test_prefixes_are_joblibs_own():
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
def test_reading_and_skipping(compression, sizes):
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
def test_cut_off_anywhere(compression):
    data = dumped(compression, obj=OBJECT | {"more": np.arange(20_000)})
    cuts = {*range(5, 40), *range(len(data) - 40, len(data)), *range(40, len(data) - 40, len(data) // 40)}
    for cut in sorted(cuts):
        assert refused(data[:cut]) == "SL316", f"cut at {cut} of {len(data)}"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_whatever_follows_the_stream_is_refused(compression):
    data = dumped(compression)
    follows = [b"\0", b"\0" * 4, b"junk", b"x" * 100_000, data, data[:10], OTHER[compression](b"")]
    follows += [pack(b"more") for pack in OTHER.values()]
    for tail in follows:
        assert refused(data + tail) == "SL304", tail[:10]


@pytest.mark.parametrize("compression", ["none", *COMPRESSIONS])
def test_what_follows_the_pickle_is_refused(compression):
    content = pickle.dumps([1, 2, 3])
    opened, _ = source(OTHER.get(compression, bytes)(content + b"!"))
    assert opened.read(len(content)) == content
    with pytest.raises(RefusedError) as caught:
        opened.finish()
    assert (caught.value.finding.code, caught.value.finding.offset) == ("SL304", len(content))


@pytest.mark.parametrize("compression", ["zlib", "gzip", "bz2", "xz"])
def test_every_flipped_bit_is_noticed(compression):
    """Where the format has a checksum, no flipped bit of the content goes unnoticed."""
    data = OTHER[compression](pickle.dumps(list(range(300))))
    good = unpack(data)
    for at in range(len(data)):
        for bit in (1, 16, 128):
            flipped = bytearray(data)
            flipped[at] ^= bit
            if detect_compression(flipped) != compression:
                continue
            try:
                unpacked = unpack(bytes(flipped), max_unpacked=MIB)
            except RefusedError:
                continue
            assert unpacked == good, f"byte {at}"  # gzip's header has a time, a name, and so on


@pytest.mark.parametrize("compression", COMPRESSIONS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_harmless(compression, data):
    packed = bytearray(OTHER[compression](pickle.dumps(["text", *range(200)])))
    for _ in range(data.draw(st.integers(1, 5))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpack(bytes(packed), max_unpacked=MIB)
    except RefusedError:
        pass


@pytest.mark.parametrize("checksum", [4, 2, 8])
def test_a_missing_checksum(checksum):
    content = pickle.dumps(OBJECT)
    assert refused(zlib.compress(content)[:-4]) == "SL316"
    assert refused(gzip.compress(content)[:-checksum]) == "SL316"
    assert refused(lzma.compress(content, check=lzma.CHECK_NONE)) == "SL316"
    assert unpack(lzma.compress(content, check=lzma.CHECK_CRC32)) == content


def test_a_zlib_stream_with_a_dictionary():
    packer = zlib.compressobj(zdict=b"text" * 10)
    assert refused(packer.compress(b"text" * 100) + packer.flush()) == "SL316"


@pytest.mark.parametrize("outer", COMPRESSIONS)
@pytest.mark.parametrize("inner", [*COMPRESSIONS, "compat"])
def test_packed_twice(outer, inner):
    content = b"ZF0x123" if inner == "compat" else OTHER[inner](b"content")
    assert refused(OTHER[outer](content)) == "SL317"


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("content", [b"", b".", b"N.", b"\x80\x04N."])
def test_tiny_content(compression, content):
    assert unpack(OTHER[compression](content)) == content


def test_files_of_old_joblib():
    assert refused(b"ZF0x1                 " + zlib.compress(b"N.")) == "SL315"


def test_an_empty_file_is_an_empty_source():
    assert unpack(b"") == b""
    assert source(b"")[1] == "none"


# ------------------------------------------------------------------------------------------------- limits

BOMB = 160 * MIB


@pytest.fixture(scope="module")
def bombs():
    def bomb(packer) -> bytes:
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
def test_bombs_end_at_the_limits(bombs, compression):
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
def test_bombs_take_no_memory(bombs, compression, tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(bombs[compression])
    script = f"""
import os, resource, sys
import lz4.frame, bz2, lzma
from safeload.unpack import open_source
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[1], "rb") as file:
    source, _ = open_source(file, os.path.getsize(sys.argv[1]), max_unpacked=1 << 40, max_ratio=1e9)
    source.skip({BOMB})
    source.finish()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 24 * 1024  # KiB; a window of some formats, and steps of one MiB


def test_the_ratio_counts_only_for_large_content():
    data = zlib.compress(b"\x80" + bytes(60 * MIB))
    assert len(unpack(data, max_ratio=2)) == 60 * MIB + 1


@pytest.mark.parametrize("container", [lzma.FORMAT_XZ, lzma.FORMAT_ALONE])
def test_a_dictionary_that_takes_too_much_memory(container):
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


def test_without_the_codec(tmp_path):
    script = """
import io, sys
sys.modules["lz4"] = sys.modules["lz4.frame"] = None
from safeload.rules import RefusedError
from safeload.unpack import open_source
try:
    open_source(io.BytesIO(b"\\x04\\x22\\x4d\\x18" + bytes(99)), 103, max_unpacked=9, max_ratio=9)
except RefusedError as error:
    print(error.finding.code, error.finding.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("SL602 ")
    assert "lz4" in done.stdout


def test_an_unknown_compression():
    with pytest.raises(ValueError, match="unknown compression"):
        UnpackedSource(io.BytesIO(b""), "zip", packed_size=0, max_unpacked=1, max_ratio=1)


def test_a_file_that_shrinks_while_it_is_scanned(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(100_000))
    with path.open("r+b") as file:
        opened = FileSource(file, 100_000)
        opened.read(10)
        os.ftruncate(file.fileno(), 50)
        opened.skip(99_000)
        assert opened.read(10) == b""


def test_changed_bytes_under_a_compressed_source(signed):
    made = signed(dumped("zlib", obj=RNG.random(50_000)), chunk_size=4096)
    stream = io.BufferedReader(made.reader())
    opened, _ = open_source(stream, len(made.content), max_unpacked=1 << 30, max_ratio=9)
    opened.read(10)
    change(made, "flip", len(made.content) - 5000)
    with pytest.raises(DigestMismatchError):
        opened.skip(399_000)


@pytest.mark.parametrize("where", [0, 1, 15, 31])
def test_a_changed_chunk_of_a_large_file_is_found_by_all_threads_together(tmp_path: Path, where: int) -> None:
    data = bytearray(os.urandom(1 << 20) * 32)
    path = tmp_path / "large"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDWR)
    try:
        digests = digest_file(fd)
        reader = verified_reader(fd, digests, path)
        reader.verify_all()
        os.pwrite(fd, bytes([data[where << 20] ^ 1]), where << 20)
        with pytest.raises(DigestMismatchError) as caught:
            reader.verify_all()
        assert caught.value.offset == where << 20
        assert reader.failure is caught.value
    finally:
        os.close(fd)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("safeload-verify")]
