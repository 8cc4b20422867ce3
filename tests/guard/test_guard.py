"""The guard: code that calls joblib.load or pickle.load itself gets verified objects, or an error."""

from __future__ import annotations

import bz2
import gzip
import inspect
import io
import json
import logging
import lzma
import multiprocessing
import os
import pickle
import sys
import threading
import types
import warnings
from datetime import UTC, datetime
from pickle import load as bound_before
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pandas as pd
import pytest
from joblib import load as joblib_bound_before

import safeload
import safeload.guard
from safeload import DigestMismatchError, Loader, SafeloadError, SigningKey, UnsignedError, UnsignedWarning
from safeload._loading.unpickle import unpickler_options
from safeload.errors import MalformedArtifactError, PolicyViolationError, StorageError, TripwireError
from safeload.keys import KeyEntry, Keyring
from support.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("own_home")

VECTORS = ROOT / "vectors"


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Every test leaves both functions as it found them."""
    before = (joblib.load, joblib.load.__code__, pickle.load)
    yield
    assert before == (joblib.load, joblib.load.__code__, pickle.load)


@pytest.fixture
def loader(key: SigningKey) -> Loader:
    return Loader(keyring=key)


def opened(load: Callable[[Any], Any]) -> Callable[[Path], Any]:
    def call(path: Path) -> Any:
        with path.open("rb") as file:
            return load(file)

    return call


WAYS: dict[str, Callable[[Path], Any]] = {
    "joblib.load": joblib.load,
    "joblib.load of a text": lambda path: joblib.load(str(path)),
    "joblib.load of bytes": lambda path: joblib.load(os.fsencode(path)),
    "joblib.load by keyword": lambda path: joblib.load(filename=path, mmap_mode=None),
    "joblib.load by its old name": joblib_bound_before,
    "joblib.numpy_pickle.load": joblib.numpy_pickle.load,
    "joblib.load of a file": opened(joblib.load),
    "pickle.load": opened(lambda file: pickle.load(file)),  # noqa: PLW0108 - looked up when it is called
    "pickle.load by its old name": opened(lambda file: bound_before(file)),  # noqa: PLW0108 - as above
    "pandas.read_pickle": pd.read_pickle,
    "pandas.read_pickle of a file": opened(pd.read_pickle),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_a_signed_model_loads_and_all_else_is_refused(
    way: Callable[[Path], Any], signed: Path, loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(signed.parent)
    manifest = signed.with_name("model.joblib.manifest.json")
    with safeload.guard.install(loader):
        assert type(way(signed)).__name__ == "Pipeline"

        artifact = signed.read_bytes()
        signed.write_bytes(artifact[:-9] + bytes([artifact[-9] ^ 1]) + artifact[-8:])
        with pytest.raises(DigestMismatchError):
            way(signed)
        signed.write_bytes(artifact)
        assert type(way(signed)).__name__ == "Pipeline"

        manifest.unlink()
        with pytest.raises(UnsignedError):
            way(signed)
        signed.write_bytes(pickle.dumps(Evil()))
        with pytest.raises(UnsignedError):
            way(signed)
    assert not (signed.parent / "ran").exists()
    way(signed)  # it is off: the code runs
    assert (signed.parent / "ran").exists()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_unsigned_files_are_scanned_on_request(
    way: Callable[[Path], Any],
    signed: Path,
    loader: Loader,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(signed.parent)
    signed.with_name("model.joblib.manifest.json").unlink()
    caplog.set_level(logging.INFO, logger="safeload")
    pandas_hides_warnings = way in (WAYS["pandas.read_pickle"], WAYS["pandas.read_pickle of a file"])
    with safeload.guard.install(loader, unsigned="scan"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert type(way(signed)).__name__ == "Pipeline"
        shown = [one.message for one in caught if isinstance(one.message, UnsignedWarning)]
        assert pandas_hides_warnings or [one.path for one in shown] == [str(signed)]
        assert all(one.message.startswith("NOT VERIFIED: it is not signed") for one in shown)
        record = next(one for one in caplog.records if getattr(one, "action", "") == "load_unsigned")
        assert record.levelname == "WARNING"
        assert record.__dict__["reason"].startswith("NOT VERIFIED")
        assert (record.__dict__["key_id"], record.__dict__["release"]) == (None, None)
        if not pandas_hides_warnings:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with pytest.raises(UnsignedWarning):
                    way(signed)

        signed.write_bytes(pickle.dumps(Evil()))
        with pytest.raises(PolicyViolationError):
            way(signed)
    assert not (signed.parent / "ran").exists()


def test_a_manifest_that_does_not_hold_is_never_a_reason_to_scan(signed: Path, loader: Loader) -> None:
    other = signed.with_name("other.joblib")
    other.write_bytes(signed.read_bytes())
    other.with_name("other.joblib.manifest.json").write_bytes(b"{}")
    with safeload.guard.install(loader, unsigned="scan"):
        for way in WAYS.values():
            with pytest.raises(safeload.ManifestError):
                way(other)


@pytest.mark.parametrize("name", ["model.pkl.gz", "model.pkl.bz2", "model.pkl.xz"])
def test_compressed_files_are_verified_before_they_are_unpacked(
    name: str, tmp_path: Path, key: SigningKey, loader: Loader
) -> None:
    path = tmp_path / name
    safeload.dump({"a": np.arange(3)}, path, key=key)
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

    def unpacked_first(path: Path) -> Any:
        with openers[path.suffix](path) as file:
            return pickle.load(file)

    ways = (joblib.load, unpacked_first)
    with safeload.guard.install(loader):
        for way in ways:
            assert (way(path)["a"] == np.arange(3)).all()
        path.write_bytes(path.read_bytes() + b"\0")
        for way in ways:
            with pytest.raises(DigestMismatchError):
                way(path)


def test_a_loop_to_the_end_of_a_file_ends(tmp_path: Path, key: SigningKey, loader: Loader) -> None:
    safeload.dump([1], tmp_path / "a.pkl", key=key)
    safeload.dump([1], tmp_path / "a.pkl.gz", key=key)
    with safeload.guard.install(loader):
        for name, opener in (("a.pkl", open), ("a.pkl.gz", gzip.open)):
            with opener(tmp_path / name, "rb") as file:
                assert pickle.load(file) == [1]
                with pytest.raises(EOFError):
                    pickle.load(file)


def test_arrays_are_mapped(tmp_path: Path, key: SigningKey, loader: Loader) -> None:
    path = tmp_path / "a.joblib"
    safeload.dump({"a": np.arange(100.0)}, path, key=key)
    with safeload.guard.install(loader):
        assert isinstance(joblib.load(path, "r")["a"], np.memmap)
        assert isinstance(joblib.load(filename=path, mmap_mode="c")["a"], np.memmap)
        with pytest.raises(ValueError, match="would write into the signed file"):
            joblib.load(path, mmap_mode="r+")
        with pytest.raises(TypeError):
            joblib.load(path, trusted=True)
        if "ensure_native_byte_order" in inspect.signature(joblib.load).parameters:  # since 1.5
            assert joblib.load(path, ensure_native_byte_order=True)["a"][1] == 1
            with pytest.raises(ValueError, match="ensure_native_byte_order"):
                joblib.load(path, ensure_native_byte_order=False)


def test_files_without_a_path_are_unsigned(loader: Loader) -> None:
    data = pickle.dumps([1, 2])
    with safeload.guard.install(loader), pytest.raises(UnsignedError, match="without a path"):
        pickle.load(io.BytesIO(data))
    with safeload.guard.install(loader, unsigned="scan"):
        with pytest.warns(UnsignedWarning):
            assert pickle.load(io.BytesIO(data)) == [1, 2]
        with pytest.raises(MalformedArtifactError):
            pickle.load(io.BytesIO(data + data))
        with gzip.open(io.BytesIO(gzip.compress(data))) as file, pytest.raises(StorageError, match="has no path"):
            pickle.load(file)
        with pytest.raises(StorageError, match="open for text"):
            pickle.load(io.StringIO("I1\n."))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="takes no options"):
            pickle.load(io.BytesIO(data), encoding="latin1")
        with pytest.raises(TypeError, match="read"):
            pickle.load(data)  # type: ignore[arg-type]


def test_the_folder_of_a_file_object_is_held_against_scopes(tmp_path: Path, key: SigningKey) -> None:
    inside, outside = tmp_path / "prod" / "a.pkl", tmp_path / "dev" / "a.pkl"
    for path in (inside, outside):
        path.parent.mkdir()
        safeload.dump([1], path, key=key)
    ring = Keyring([KeyEntry(key, "active", datetime.now(UTC), scopes=(f"{inside.parent}/*",))])
    with safeload.guard.install(Loader(keyring=ring)):
        assert opened(pickle.load)(inside) == [1]
        with pytest.raises(safeload.VerificationError, match="scopes"):
            opened(pickle.load)(outside)


def test_the_default_keyring_serves(tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(safeload.KeyringError):
        safeload.guard.install()
    Keyring([KeyEntry(key, "active", datetime.now(UTC))]).save(tmp_path / "ring.toml")
    monkeypatch.setenv("SAFELOAD_KEYRING", str(tmp_path / "ring.toml"))
    safeload.dump([1], tmp_path / "a.joblib")
    with safeload.guard.install():
        assert joblib.load(tmp_path / "a.joblib") == [1]


# ------------------------------------------------------------------------------------------------- on and off


def test_uninstalling_puts_back_what_was_there(loader: Loader) -> None:
    builtin, code = pickle.load, joblib.load.__code__
    names = {**globals()}
    safeload.guard.install(loader)
    assert pickle.load is not builtin
    assert bound_before is pickle.load
    late = types.ModuleType("imported_while_it_was_on")
    late.__dict__["load"] = pickle.load
    sys.modules[late.__name__] = late
    kept = pickle.load
    assert pickle.loads(pickle.dumps(kept)) is kept
    try:
        safeload.guard.uninstall()
        assert late.__dict__["load"] is builtin
    finally:
        del sys.modules[late.__name__]
    assert pickle.load is builtin
    assert sys.modules["_pickle"].__dict__["load"] is builtin
    assert joblib.load.__code__ is code
    assert {**globals()} == names
    assert kept(io.BytesIO(pickle.dumps([1]))) == [1]  # a reference from meanwhile goes on


def test_it_is_installed_once(loader: Loader) -> None:
    with safeload.guard.install(loader) as guard:
        assert guard.strict is False
        with pytest.raises(RuntimeError, match="installed already"):
            safeload.guard.install(loader)
        safeload.guard.uninstall()
    with pytest.raises(RuntimeError, match="no guard is installed"):
        safeload.guard.uninstall()
    with safeload.guard.install(loader):
        pass
    with pytest.raises(ValueError, match="unsigned is"):
        safeload.guard.install(loader, unsigned="allow")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"must be a safeload\.Loader"):
        safeload.guard.install("ring.toml")  # type: ignore[arg-type]


def test_safeload_itself_goes_on(signed: Path, loader: Loader, key: SigningKey, tmp_path: Path) -> None:
    with safeload.guard.install(loader, strict=True):
        assert safeload.load(signed, keyring=key) is not None
        artifact, manifest = safeload.dumps([1], key=key)
        assert safeload.loads(artifact, manifest, keyring=key) == [1]
        safeload.dump([2], tmp_path / "b.joblib", key=key)
        assert safeload.verify(tmp_path / "b.joblib", keyring=key)


def test_all_threads_are_guarded(signed: Path, loader: Loader) -> None:
    unsigned = signed.with_name("unsigned.joblib")
    unsigned.write_bytes(signed.read_bytes())
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(10):
            for way in (WAYS["joblib.load"], WAYS["pickle.load"]):
                if type(way(signed)).__name__ != "Pipeline":
                    wrong.append("another object")
                try:
                    wrong.append(way(unsigned))
                except UnsignedError:
                    pass

    with safeload.guard.install(loader):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def _in_child(path: str, answers: Any) -> None:
    try:
        answers.put(type(joblib.load(path)).__name__)
    except SafeloadError as error:
        answers.put(type(error).__name__)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_children_are_guarded(signed: Path, loader: Loader) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    with safeload.guard.install(loader):
        for expected in ("Pipeline", "UnsignedError"):
            child = context.Process(target=_in_child, args=(str(signed), answers))
            child.start()
            assert answers.get() == expected
            child.join()
            signed.with_name("model.joblib.manifest.json").unlink(missing_ok=True)


def test_memory_and_workers_go_on_as_usual(tmp_path: Path, loader: Loader) -> None:
    memory = joblib.Memory(tmp_path, verbose=0)
    cached = memory.cache(np.arange)
    with safeload.guard.install(loader):
        assert (cached(5) == cached(5)).all()
        assert cached.check_call_in_cache(5)
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(pow)(n, 2) for n in range(4)) == [0, 1, 4, 9]


# ------------------------------------------------------------------------------------------------- strict


class Local:
    """A class that a pickle names."""


OUTSIDE: dict[str, Callable[[bytes], Any]] = {
    "pickle.loads": pickle.loads,
    "pickle.Unpickler": lambda data: pickle.Unpickler(io.BytesIO(data)).load(),
    "pickle._Unpickler": lambda data: pickle._Unpickler(io.BytesIO(data)).load(),
    "joblib's unpickler": lambda data: joblib.numpy_pickle.NumpyUnpickler(
        "", io.BytesIO(data), **unpickler_options()
    ).load(),
}


@pytest.mark.parametrize("way", OUTSIDE.values(), ids=OUTSIDE.keys())
def test_strict_stops_what_is_not_covered(
    way: Callable[[bytes], Any], loader: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evil, plain = pickle.dumps(Evil()), pickle.dumps({"a": [1]})
    with safeload.guard.install(loader, strict=True):
        with pytest.raises(TripwireError, match="mkdir: this is not a guarded load"):
            way(evil)
        assert way(plain) == {"a": [1]}  # names no global
        assert not (tmp_path / "ran").exists()
    with safeload.guard.install(loader):  # as documented: not covered without strict
        assert isinstance(way(pickle.dumps(Local())), Local)
    assert isinstance(way(pickle.dumps(Local())), Local)


def test_strict_serves_signed_models(signed: Path, loader: Loader) -> None:
    with safeload.guard.install(loader, strict=True):
        for way in WAYS.values():
            assert type(way(signed)).__name__ == "Pipeline"


# ------------------------------------------------------------------------------------------------- hostile files


def test_no_vector_runs_through_the_guard(loader: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    entries = json.loads((VECTORS / "index.json").read_text(encoding="utf-8"))["vectors"]
    hostile = [VECTORS / entry["file"] for entry in entries if entry["expect"] == "refused"]
    assert len(hostile) > 400
    ran: list[str] = []
    sys.addaudithook(lambda event, _: ran.append(event) if event in ("os.putenv", "os.unsetenv") else None)
    for unsigned, way in (("refuse", "joblib.load"), ("scan", "joblib.load"), ("scan", "pickle.load")):
        with safeload.guard.install(loader, unsigned=unsigned):  # type: ignore[arg-type]
            for path in hostile:
                with pytest.raises((SafeloadError, EOFError)):
                    WAYS[way](path)
    assert (ran, list(tmp_path.iterdir())) == ([], [])
