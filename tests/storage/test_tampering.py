"""Whatever is done to a signed pair, at any moment: the object that was signed or an error, never anything else."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import safeload

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
OBJECT: dict[str, Any] = {
    "weights": np.arange(100_000.0),
    "names": ["a", "b"],
    "labels": np.array(["x", None], dtype=object),
}


@pytest.fixture(scope="module")
def module_key() -> safeload.SigningKey:
    return safeload.SigningKey.generate()


@pytest.fixture(scope="module")
def pristine(
    tmp_path_factory: pytest.TempPathFactory, module_key: safeload.SigningKey
) -> dict[str, tuple[bytes, bytes]]:
    """Artifact and manifest, plain and compressed."""
    folder = tmp_path_factory.mktemp("pristine")
    pairs = {}
    for name in ("model.joblib", "model.joblib.gz"):
        safeload.dump(OBJECT, folder / name, key=module_key)
        pairs[name] = (folder / name).read_bytes(), (folder / f"{name}.manifest.json").read_bytes()
    return pairs


def changed(data: bytes, how: str, at: float, value: int) -> bytes:
    index = int(at * len(data))
    if how == "flip":
        return data[:index] + bytes([data[index] ^ value]) + data[index + 1 :]
    if how == "cut":
        return data[:index]
    if how == "insert":
        return data[:index] + bytes([value]) + data[index:]
    if how == "drop":
        return data[:index] + data[index + 1 :]
    return data + bytes([value])


CHANGES = st.tuples(
    st.sampled_from(["flip", "cut", "insert", "drop", "append"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 255),
)


@SETTINGS
@given(name=st.sampled_from(["model.joblib", "model.joblib.gz"]), change=CHANGES)
def test_a_changed_artifact(
    tmp_path: Path, pristine: Any, module_key: safeload.SigningKey, name: str, change: tuple[str, float, int]
) -> None:
    artifact, manifest = pristine[name]
    (tmp_path / name).write_bytes(changed(artifact, *change))
    (tmp_path / f"{name}.manifest.json").write_bytes(manifest)
    with pytest.raises(safeload.DigestMismatchError):
        safeload.load(tmp_path / name, keyring=module_key)
    report = safeload.verify(tmp_path / name, keyring=module_key)
    assert report.findings[0].code in ("SL201", "SL202")


@SETTINGS
@given(change=CHANGES)
def test_a_changed_manifest(
    tmp_path: Path, pristine: Any, module_key: safeload.SigningKey, change: tuple[str, float, int]
) -> None:
    artifact, manifest = pristine["model.joblib"]
    (tmp_path / "model.joblib").write_bytes(artifact)
    other = changed(manifest, *change)
    (tmp_path / "model.joblib.manifest.json").write_bytes(other)
    try:
        loaded = safeload.load(tmp_path / "model.joblib", keyring=module_key)
    except safeload.VerificationError:
        return
    # Only white space around the envelope's JSON may differ without breaking the signature.
    assert loaded["names"] == OBJECT["names"]
    assert b"".join(other.split()) == b"".join(manifest.split())


def test_an_artifact_changed_between_the_two_passes(tmp_path: Path, module_key: safeload.SigningKey) -> None:
    """The scan passes over the array's bytes; joblib must not get what was put there meanwhile."""
    path = tmp_path / "model.joblib"
    safeload.dump(OBJECT, path, key=module_key)
    loader = safeload.Loader(keyring=module_key)
    stop = threading.Event()
    generator = random.Random(0)

    def vandal() -> None:
        with path.open("r+b", buffering=0) as file:
            while not stop.is_set():
                at = generator.randrange(path.stat().st_size)
                original = os.pread(file.fileno(), 1, at)
                os.pwrite(file.fileno(), bytes([original[0] ^ 0xFF]), at)
                time.sleep(generator.random() / 500)
                os.pwrite(file.fileno(), original, at)
                time.sleep(generator.random() / 500)

    thread = threading.Thread(target=vandal)
    thread.start()
    outcomes = {"loaded": 0, "refused": 0}
    try:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                loaded = loader.load(path)
            except safeload.DigestMismatchError:
                outcomes["refused"] += 1
            else:
                assert np.array_equal(loaded["weights"], OBJECT["weights"])
                assert loaded["names"] == OBJECT["names"]
                outcomes["loaded"] += 1
    finally:
        stop.set()
        thread.join()
    assert outcomes["loaded"]
    assert outcomes["refused"]


def test_readers_beside_a_writer_never_fail(tmp_path: Path, module_key: safeload.SigningKey) -> None:
    path = tmp_path / "model.joblib"
    safeload.dump({"release": 0, "data": np.full(50_000, 0)}, path, key=module_key)
    loader = safeload.Loader(keyring=module_key)
    stop = threading.Event()
    problems: list[BaseException] = []
    seen: set[int] = set()

    def read() -> None:
        while not stop.is_set():
            try:
                loaded = loader.load(path)
                assert (loaded["data"] == loaded["release"]).all()
                seen.add(loaded["release"])
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test has to tell
                problems.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for release in range(1, 60):
        safeload.dump({"release": release, "data": np.full(50_000, release)}, path, key=module_key, overwrite=True)
    stop.set()
    for reader in readers:
        reader.join()
    assert not problems
    assert len(seen) > 1
    assert safeload.load(path, keyring=module_key)["release"] == 59
    assert sorted(os.listdir(tmp_path)) == ["model.joblib", "model.joblib.manifest.json"]
