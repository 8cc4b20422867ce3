"""Bytes on their way in: verified chunk by chunk."""

from __future__ import annotations

import io
import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pickles.packed import COMPRESSIONS, OBJECT, RNG, dumped, same
from safeload._internal.blob import FileBlob, read_bytes
from safeload._internal.files import open_artifact
from safeload._manifest.digests import chunk_digest, digest_file
from safeload._scan.sources import open_source
from safeload._storage.reader import VerifiedReader, verified_reader, verified_stream
from safeload.errors import DigestMismatchError, StorageError
from support.children import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

CHUNK = 64
MIB = 1 << 20


class Signed:
    """A file, the digests that were signed for it, and readers of it."""

    def __init__(self, path: Path, content: bytes, *, chunk_size: int = CHUNK, algorithm: str = "blake3") -> None:
        path.write_bytes(content)
        self.path = path
        self.content = content
        self.fd = os.open(path, os.O_RDWR)
        self.blob = FileBlob(self.fd, str(path))
        self.options: dict[str, Any] = {
            "size": len(content),
            "chunk_size": chunk_size,
            "algorithm": algorithm,
            "chunks": [
                chunk_digest(algorithm, content[start : start + chunk_size])
                for start in range(0, len(content), chunk_size)
            ],
        }

    def reader(self) -> VerifiedReader:
        return VerifiedReader(self.blob, **self.options)

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[Callable[..., Signed]]:
    made: list[Signed] = []

    def make(content: bytes, **options: Any) -> Signed:
        made.append(Signed(tmp_path / f"artifact{len(made)}", content, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("safeload")]


# ------------------------------------------------------------------------------------------------ opening


def test_opening_files(tmp_path: Path) -> None:
    path = tmp_path / "é model"
    path.write_bytes(b"x")
    with open_artifact(path) as blob:
        assert (blob.name, blob.size, read_bytes(blob, 0, 9)) == (str(path), 1, b"x")
        with blob.stream() as stream:
            assert stream.read() == b"x"
        fd = blob.fileno()
        assert os.fstat(fd).st_size == 1, "closing the stream leaves the blob open"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    open_artifact(str(path)).close()


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
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
def test_a_file_that_this_user_may_not_read(tmp_path: Path) -> None:
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


def step(file: Any, action: str, number: int, whence: int | None) -> object:
    if whence is not None:
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
def test_reading_is_as_from_any_file(
    content: bytes, chunk_size: int, steps: list[tuple[str, int, int | None]], buffered: bool, tmp_path: Path
) -> None:
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
def test_reading_all(signed: Callable[..., Signed], size: int, algorithm: str) -> None:
    made = signed(os.urandom(size), algorithm=algorithm)
    reader = made.reader()
    assert reader.readall() == made.content
    assert reader.read(1) == b""
    assert (reader.tell(), reader.readable(), reader.seekable(), reader.writable()) == (size, True, True, False)


def test_large_reads_into_a_typed_buffer(signed: Callable[..., Signed]) -> None:
    made = signed(os.urandom(100 * CHUNK + 8))
    array = np.empty(len(made.content) // 8, dtype=np.float64)
    assert made.reader().readinto(array) == len(made.content)  # type: ignore[arg-type]  # a buffer, from Python 3.12 on
    assert array.tobytes() == made.content


def test_misuse(signed: Callable[..., Signed]) -> None:
    made = signed(b"x" * 100)
    reader = made.reader()
    with pytest.raises(ValueError, match="before the start"):
        reader.seek(-1)
    with pytest.raises(ValueError, match="whence"):
        reader.seek(0, 3)
    with pytest.raises(io.UnsupportedOperation):
        reader.fileno()  # whoever had it could read what is not verified
    with pytest.raises(ValueError, match="number of chunk digests"):
        VerifiedReader(made.blob, **made.options | {"chunks": []})
    with pytest.raises(ValueError, match="algorithm"):
        VerifiedReader(made.blob, **made.options | {"algorithm": "md5"})
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
def test_no_changed_byte_is_ever_handed_out(
    content: bytes,
    chunk_size: int,
    how: str,
    place: float,
    before: int,
    steps: list[tuple[str, int, int | None]],
    tmp_path: Path,
) -> None:
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
        uses: list[Callable[[], object]] = [
            lambda: reader.read(1),
            reader.readall,
            reader.verify_all,
            lambda: reader.readinto(bytearray(9)),
        ]
        for use in uses:
            with pytest.raises(DigestMismatchError) as again:
                use()
            assert again.value is failure, "not even where the file is what it was"
    made.close()


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("size", [CHUNK // 2, 8 * CHUNK])
def test_verify_all_finds_every_change(signed: Callable[..., Signed], how: str, size: int) -> None:
    made = signed(os.urandom(size))
    reader = made.reader()
    assert change(made, how, size - 1)
    with pytest.raises(DigestMismatchError, match=r"(digest|size) mismatch"):
        reader.verify_all()


@pytest.mark.parametrize("chunk_size", [CHUNK, 1024])
def test_what_did_not_match_is_wiped_from_the_buffer(signed: Callable[..., Signed], chunk_size: int) -> None:
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


def test_another_size_is_refused_at_once(signed: Callable[..., Signed]) -> None:
    made = signed(b"x" * 100)
    for size in (0, 99, 101):
        os.ftruncate(made.fd, size)
        with pytest.raises(DigestMismatchError, match=f"has {size} bytes, and 100 bytes were signed") as caught:
            made.reader()
        assert caught.value.code == "SL202"


def test_an_empty_artifact_stays_empty(signed: Callable[..., Signed]) -> None:
    made = signed(b"")
    reader = made.reader()
    os.pwrite(made.fd, b"!", 0)
    with pytest.raises(DigestMismatchError):
        reader.read(1)


def test_a_replaced_path_does_not_matter(signed: Callable[..., Signed]) -> None:
    made = signed(b"old" * 100)
    reader = made.reader()
    made.path.unlink()
    made.path.write_bytes(b"new" * 100)
    assert reader.readall() == made.content


def test_memory_is_bounded_by_the_chunk_and_not_by_the_file(tmp_path: Path) -> None:
    size = 256 * MIB
    script = f"""
import hashlib, os, resource, sys
from safeload._internal.blob import FileBlob
from safeload._storage.reader import VerifiedReader
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, {size})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
chunk = hashlib.sha256(bytes({MIB})).digest()
reader = VerifiedReader(FileBlob(fd, "zeros"), size={size}, chunk_size={MIB}, algorithm="sha256", chunks=[chunk] * 256)
reader.start_read_ahead()
while reader.read(300_000):
    pass
reader.verify_all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "zeros")],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 32 * 1024


# ------------------------------------------------------------------------------------- reading ahead


@pytest.fixture
def large(signed: Callable[..., Signed]) -> Signed:
    return signed(random.Random(0).randbytes(12 * MIB + 12345), chunk_size=MIB)


def test_small_files_are_not_read_ahead(signed: Callable[..., Signed]) -> None:
    reader = signed(bytes(MIB), chunk_size=MIB // 8).reader()
    reader.start_read_ahead()
    assert threads() == []


@pytest.mark.parametrize("start", [0, 1, MIB, 5 * MIB + 77, 12 * MIB + 12345])
@pytest.mark.parametrize("size", [1000, 300_000, 5_000_000])
def test_reading_ahead_reads_the_same(large: Signed, start: int, size: int) -> None:
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


def test_reading_elsewhere_ends_the_thread(large: Signed) -> None:
    reader = large.reader()
    reader.start_read_ahead()
    assert reader.read(2 * MIB) == large.content[: 2 * MIB]
    reader.seek(7 * MIB + 1)
    assert reader.read(10) == large.content[7 * MIB + 1 : 7 * MIB + 11]
    assert threads() == []
    reader.seek(0)
    assert reader.readall() == large.content


@pytest.mark.parametrize("read_before", [0, 1, 3 * MIB, 12 * MIB])
def test_an_abandoned_reader_ends_the_thread(large: Signed, read_before: int) -> None:
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
def test_what_changed_ahead_is_refused_when_it_is_reached(large: Signed, how: str, at: int) -> None:
    reader = large.reader()
    change(large, how, at)
    reader.start_read_ahead()
    good = read_on(reader, large.content)
    assert reader.failure is not None
    assert 0 <= at - good < MIB + 100_000, "what comes before is handed out"
    assert threads() == []


def test_changes_while_reading_ahead(large: Signed) -> None:
    reader = large.reader()
    reader.start_read_ahead()
    assert reader.read(3 * MIB) == large.content[: 3 * MIB]
    change(large, "zero", 0)
    with pytest.raises(DigestMismatchError):
        reader.readall()
    assert threads() == []


def test_a_failure_far_ahead_does_not_matter_to_what_is_read(large: Signed) -> None:
    reader = large.reader()
    change(large, "flip", 2 * MIB)
    reader.start_read_ahead()
    time.sleep(0.05)
    assert reader.read(MIB) == large.content[:MIB]
    os.pwrite(large.fd, large.content, 0)
    reader.seek(4 * MIB)
    assert reader.read(MIB) == large.content[4 * MIB : 5 * MIB]


def test_an_interrupted_read_can_go_on(large: Signed) -> None:
    """An exception at any point of a read leaves neither a thread that waits nor a byte that is wrong."""

    class Interrupted(BaseException):
        pass

    for stop_at in range(1, 120, 3):
        reader = large.reader()
        reader.start_read_ahead()
        reader.read(100)
        count = 0

        def trace(_frame: FrameType, event: str, _argument: object, stop_at: int = stop_at) -> Any:
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


def test_readers_of_one_descriptor_in_many_threads(large: Signed) -> None:
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


def test_a_forked_child_reads_on(large: Signed) -> None:
    """The thread stays with the parent; the child does without it."""
    script = """
import os, sys
from safeload._internal.blob import FileBlob
from safeload._manifest.digests import chunk_digest, digest_file
from safeload._storage.reader import VerifiedReader
fd = os.open(sys.argv[1], os.O_RDONLY)
content = os.pread(fd, 1 << 30, 0)
chunks = [chunk_digest("blake3", content[start : start + (1 << 20)]) for start in range(0, len(content), 1 << 20)]
reader = VerifiedReader(FileBlob(fd, "large"), size=len(content), chunk_size=1 << 20, algorithm="blake3", chunks=chunks)
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
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_no_audit_event_while_reading(large: Signed) -> None:
    """A guard around loading allows few events: reading must not raise any, nor import."""
    events = []
    me = threading.get_ident()
    active = True

    def hook(event: str, _arguments: tuple[object, ...]) -> None:
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


@pytest.mark.parametrize("read_ahead", [False, True])
@pytest.mark.parametrize("compression", ["none", *COMPRESSIONS])
def test_joblib_loads_through_the_reader(signed: Callable[..., Signed], compression: str, read_ahead: bool) -> None:
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
def test_what_is_small_is_read_once_and_stays_what_was_signed(signed: Callable[..., Signed], size: int) -> None:
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
def test_a_small_file_that_changes_its_size_once_it_was_opened(signed: Callable[..., Signed], other: int) -> None:
    made = signed(b"x" * 100)
    reader = made.reader()
    os.ftruncate(made.fd, other)
    with pytest.raises(DigestMismatchError, match=f"has {other} bytes, and 100 bytes were signed") as caught:
        verified_stream(reader)
    assert (caught.value.code, reader.failure) == ("SL202", caught.value)


def test_changed_bytes_under_a_compressed_source(signed: Callable[..., Signed]) -> None:
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
        blob = FileBlob(fd, str(path))
        digests = digest_file(blob)
        reader = verified_reader(blob, digests)
        reader.verify_all()
        os.pwrite(fd, bytes([data[where << 20] ^ 1]), where << 20)
        with pytest.raises(DigestMismatchError) as caught:
            reader.verify_all()
        assert caught.value.offset == where << 20
        assert reader.failure is caught.value
    finally:
        os.close(fd)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("safeload-verify")]
