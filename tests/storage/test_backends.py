"""The seam under a pair: what a backend has to do is what `Backend` says, and nothing above asks for more."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import safeload
from safeload._internal.files import TooLargeError
from safeload._storage.backends import BACKENDS, absolute, resolve
from safeload._storage.states import MANIFEST_SUFFIX, NEXT_SUFFIX
from safeload.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from safeload._storage.backend import Backend, Belongs

ADDRESS = "mem://models/model.joblib"
NAME = "models/model.joblib"


class MemoryBlob:
    """Bytes that no file holds."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self.name = name

    @property
    def size(self) -> int:
        return len(self._data)

    def read_into(self, offset: int, into: memoryview, /) -> int:
        part = self._data[offset : offset + len(into)]
        into[: len(part)] = part
        return len(part)

    def fileno(self) -> None:
        return None


class MemoryPair:
    """Writes a pair, or the manifest alone, into memory."""

    def __init__(self, objects: dict[str, bytes], name: str, *, artifact: bool) -> None:
        self._objects, self._name, self._artifact = objects, name, artifact
        self._written = b""

    @contextmanager
    def stream(self) -> Iterator[io.BytesIO]:
        stream = io.BytesIO()
        yield stream
        self._written = stream.getvalue()

    @property
    def blob(self) -> MemoryBlob:
        return MemoryBlob(self._written, self._name)

    @contextmanager
    def flushing(self) -> Iterator[None]:
        yield

    def commit(self, manifest: bytes, /) -> None:
        if self._artifact:
            self._objects[self._name] = self._written
        self._objects[self._name + MANIFEST_SUFFIX] = manifest


class Memory:
    """A backend as small as one can be: one dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    @contextmanager
    def open_artifact(self, name: str, /) -> Iterator[MemoryBlob]:
        yield MemoryBlob(self._get(name), f"mem://{name}")

    def read(self, name: str, most: int, /) -> bytes:
        data = self._get(name)
        if len(data) > most:
            raise TooLargeError(name, most)
        return data

    def snapshot(self, name: str, /) -> tuple[bytes | None, ...]:
        return tuple(self.objects.get(name + suffix) for suffix in ("", MANIFEST_SUFFIX, NEXT_SUFFIX))

    @contextmanager
    def writing(self, name: str, /, *, overwrite: bool, belongs: Belongs) -> Iterator[Any]:
        if not overwrite and name in self.objects:
            raise FileExistsError(name)
        yield MemoryPair(self.objects, name, artifact=True)

    @contextmanager
    def signing(self, name: str, /, *, overwrite: bool, belongs: Belongs) -> Iterator[Any]:
        if not overwrite and name + MANIFEST_SUFFIX in self.objects:
            raise FileExistsError(name)
        yield MemoryPair(self.objects, name, artifact=False)

    def replace(self, name: str, data: bytes, /) -> None:
        self.objects[name] = data

    @contextmanager
    def locked(self, _name: str, /) -> Iterator[None]:
        yield

    def list(self, name: str, /) -> list[str]:
        inside = (one.removeprefix(f"{name}/") for one in self.objects if one.startswith(f"{name}/"))
        return sorted({one.partition("/")[0] for one in inside})

    def _get(self, name: str) -> bytes:
        try:
            return self.objects[name]
        except KeyError:
            raise FileNotFoundError(2, "no such object", name) from None


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    backend = Memory()
    row: Backend = backend
    monkeypatch.setitem(BACKENDS, "mem", row)
    return backend


@pytest.fixture
def upload(memory: Memory, key: safeload.SigningKey, tmp_path: Path) -> Callable[..., safeload.Manifest]:
    """Save an object here, and put both files where a backend keeps them."""

    def put(obj: object, *, suffix: str = MANIFEST_SUFFIX, **options: Any) -> safeload.Manifest:
        path = tmp_path / "model.joblib"
        manifest = safeload.dump(obj, path, key=key, overwrite=True, **options)
        memory.objects[NAME] = path.read_bytes()
        memory.objects[NAME + suffix] = Path(f"{path}{MANIFEST_SUFFIX}").read_bytes()
        return manifest

    return put


OBJECT: dict[str, Any] = {"weights": np.arange(300_000.0), "name": "first"}


@pytest.mark.parametrize("compress", [0, 3])
def test_a_model_is_verified_and_loaded_from_any_backend(
    upload: Callable[..., safeload.Manifest], key: safeload.SigningKey, compress: int
) -> None:
    signed = upload(OBJECT, compress=compress)
    loaded = safeload.load(ADDRESS, keyring=key)
    assert np.array_equal(loaded["weights"], OBJECT["weights"])
    assert safeload.verify(ADDRESS, keyring=key).allowed
    assert safeload.read_manifest(ADDRESS, keyring=key).sha256 == signed.sha256
    with pytest.raises(FileNotFoundError):
        safeload.load("mem://models/other.joblib", keyring=key)


def test_what_was_changed_in_a_backend_is_refused(
    upload: Callable[..., safeload.Manifest], memory: Memory, key: safeload.SigningKey
) -> None:
    upload(OBJECT)
    whole = memory.objects[NAME]
    memory.objects[NAME] = whole[:-1000] + bytes([whole[-1000] ^ 1]) + whole[-999:]
    with pytest.raises(safeload.DigestMismatchError, match=r"model\.joblib: digest mismatch"):
        safeload.load(ADDRESS, keyring=key)
    memory.objects[NAME] = whole + b"!"
    with pytest.raises(safeload.DigestMismatchError, match=r"bytes, and .* bytes were signed"):
        safeload.load(ADDRESS, keyring=key)
    memory.objects[NAME] = whole
    memory.objects[NAME + MANIFEST_SUFFIX] = bytes(33 << 20)
    with pytest.raises(safeload.ManifestError, match="has more than"):
        safeload.load(ADDRESS, keyring=key)
    del memory.objects[NAME + MANIFEST_SUFFIX]
    with pytest.raises(safeload.UnsignedError):
        safeload.load(ADDRESS, keyring=key)


def test_the_states_of_a_pair_are_the_same_in_any_backend(
    upload: Callable[..., safeload.Manifest], key: safeload.SigningKey
) -> None:
    upload(OBJECT)
    upload({"name": "second"}, suffix=NEXT_SUFFIX)  # the new artifact is in place, and the old manifest still there
    assert safeload.load(ADDRESS, keyring=key) == {"name": "second"}


def test_a_pair_is_written_and_signed_in_any_backend(memory: Memory, key: safeload.SigningKey) -> None:
    first = safeload.dump({"a": 1}, ADDRESS, key=key)
    assert sorted(memory.objects) == [NAME, NAME + MANIFEST_SUFFIX]
    with pytest.raises(FileExistsError):
        safeload.dump({"a": 2}, ADDRESS, key=key)
    second = safeload.sign(ADDRESS, key=key, overwrite=True)
    assert (first.release, second.release) == (1, 2)
    assert safeload.load(ADDRESS, keyring=key, min_release=2) == {"a": 1}
    assert not os.path.exists("mem:")


def test_only_a_local_file_is_mapped_and_a_private_copy_is_one(
    upload: Callable[..., safeload.Manifest], key: safeload.SigningKey, tmp_path: Path
) -> None:
    upload(OBJECT)
    with pytest.raises(safeload.StorageError, match="not a local file"):
        safeload.load(ADDRESS, keyring=key, mmap_mode="r")
    copies = tmp_path / "copies"
    mapped = safeload.Loader(keyring=key, mmap_copies=copies).load(ADDRESS, mmap_mode="r")["weights"]
    assert isinstance(mapped, np.memmap)
    assert mapped.filename is not None
    assert Path(mapped.filename).parent == copies
    assert np.array_equal(mapped, OBJECT["weights"])


def test_a_watch_follows_a_backend(upload: Callable[..., safeload.Manifest], key: safeload.SigningKey) -> None:
    upload({"name": "first"})
    with safeload.Loader(keyring=key).watch(ADDRESS, interval=60) as watch:
        assert watch.model == {"name": "first"}
        assert not watch.check()
        upload({"name": "second"}, release=2)
        assert watch.check()
        assert watch.model == {"name": "second"}


def test_what_is_no_known_scheme_is_a_local_path(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: safeload.SigningKey
) -> None:
    assert resolve("mem://a/b") == (memory, "a/b")
    assert resolve(Path("mem://a/b")) == (memory, "a/b")
    for path in ("a/b", "/a/b", "other://a/b", "C:/a", ":/a", "/mem:/a", "x/mem://a"):
        assert resolve(path) == (BACKENDS[""], path)
    monkeypatch.chdir(tmp_path)
    assert absolute(Path("a")) == tmp_path / "a"
    assert absolute(Path("mem:/a")) == Path("mem:/a")
    safeload.dump([1], "a", key=key)
    assert safeload.load(str(tmp_path / "a"), keyring=key) == [1]


def test_local_files_are_listed_without_the_temporary_files_of_writers(tmp_path: Path) -> None:
    for name in ("b", "a", ".safeload-x.tmp", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    assert BACKENDS[""].list(str(tmp_path)) == [".hidden", "a", "b"]
    assert BACKENDS[""].list(str(tmp_path / "missing")) == []


def test_a_store_reads_and_writes_its_pointers_by_the_backend(
    tmp_path: Path, key: safeload.SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    local = BACKENDS[""]

    class Logged:
        def __getattr__(self, name: str) -> Any:
            calls.append(name)
            return getattr(local, name)

    monkeypatch.setitem(BACKENDS, "", Logged())
    store = Store(tmp_path / "models", key=key)
    store.save("fraud", [1], version="1")
    store.promote("fraud", "1")
    assert store.load("fraud", channel="production") == [1]
    assert set(calls) >= {"writing", "locked", "list", "replace", "read", "open_artifact"}
