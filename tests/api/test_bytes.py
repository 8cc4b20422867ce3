"""dumps, loads and scan of bytes: the checks of files, without a file."""

from __future__ import annotations

import io
import logging
import pickle
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris

import safeload
from safeload import (
    BadSignatureError,
    DigestMismatchError,
    Keyring,
    Loader,
    ManifestError,
    PolicyViolationError,
    RollbackError,
    SigningKey,
    UnknownKeyError,
    VerificationError,
)
from safeload.keys import KeyEntry

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("own_home")

ROWS, LABELS = load_iris(return_X_y=True)


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1",)


@pytest.mark.parametrize("compress", [0, 3, True, "gzip", ("xz", 1), ("lz4", 3)])
def test_a_model_comes_back(pipeline: Any, key: SigningKey, compress: Any) -> None:
    artifact, manifest = safeload.dumps(pipeline, compress, key=key, metadata={"auc": 0.9})
    assert (type(artifact), type(manifest)) == (bytes, bytes)
    back = safeload.loads(artifact, manifest, keyring=key)
    assert (back.predict(ROWS) == pipeline.predict(ROWS)).all()
    assert (joblib.load(io.BytesIO(artifact)).predict(ROWS) == pipeline.predict(ROWS)).all()


def test_nothing_is_written_to_the_disk(key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    arrays = {"large": np.arange(2_000_000.0), "zeros": np.zeros(3)}  # beyond what is verified in one piece
    artifact, manifest = safeload.dumps(arrays, key=key)
    back = safeload.loads(artifact, manifest, keyring=key)
    assert (back["large"] == arrays["large"]).all()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: memoryview(bytearray(data))])
def test_other_buffers_are_taken_as_they_were(key: SigningKey, kind: Callable[[bytes], Any]) -> None:
    artifact, manifest = safeload.dumps([1, 2, 3], key=key)
    assert safeload.loads(kind(artifact), kind(manifest), keyring=key) == [1, 2, 3]
    assert safeload.scan(kind(artifact)).allowed


_while_unpickling: list[Callable[[], None]] = []


def _at_find_class(event: str, _arguments: tuple[Any, ...]) -> None:
    if event == "pickle.find_class" and _while_unpickling:
        _while_unpickling.pop()()


def test_a_buffer_that_changes_while_it_is_loaded_does_not_matter(key: SigningKey) -> None:
    numbers = np.arange(1_000_000.0)
    artifact, manifest = safeload.dumps(numbers, key=key)
    buffer = bytearray(artifact)
    sys.addaudithook(_at_find_class)
    _while_unpickling.append(lambda: buffer.__setitem__(slice(None), bytes(len(artifact))))
    back = safeload.loads(memoryview(buffer), manifest, keyring=key)
    assert not any(buffer)
    assert (back == numbers).all()
    with pytest.raises(DigestMismatchError):
        safeload.loads(memoryview(buffer), manifest, keyring=key)


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_every_changed_byte_is_refused(key: SigningKey, size: int) -> None:
    artifact, manifest = safeload.dumps(np.arange(float(size)), key=key)
    for at in (0, len(artifact) // 2, len(artifact) - 1):
        changed = bytearray(artifact)
        changed[at] ^= 1
        with pytest.raises(DigestMismatchError):
            safeload.loads(changed, manifest, keyring=key)
    for wrong in (artifact[:-1], artifact + b"x", b""):
        with pytest.raises(DigestMismatchError):
            safeload.loads(wrong, manifest, keyring=key)
    other, _ = safeload.dumps(np.zeros(size), key=key)
    with pytest.raises(DigestMismatchError):
        safeload.loads(other, manifest, keyring=key)


def test_the_manifest_is_held_against_the_keyring(key: SigningKey) -> None:
    artifact, manifest = safeload.dumps([1], key=key)
    with pytest.raises(UnknownKeyError):
        safeload.loads(artifact, manifest, keyring=SigningKey.generate())
    with pytest.raises(VerificationError):
        safeload.loads(artifact, manifest.replace(b"payload", b"payloaf"), keyring=key)
    for wrong in (b"", b"{}", b"x" * 100):
        with pytest.raises(ManifestError):
            safeload.loads(artifact, wrong, keyring=key)
    with pytest.raises(ManifestError, match="more than 33554432 bytes"):
        safeload.loads(artifact, bytes((32 << 20) + 1), keyring=key)
    impostor = SigningKey(key.reveal()[::-1], key_id=key.key_id)
    with pytest.raises(BadSignatureError):
        safeload.loads(artifact, manifest, keyring=impostor)


def test_the_name_is_signed_and_asked_for(key: SigningKey) -> None:
    eu, us = (safeload.dumps(name, name=name, key=key) for name in ("churn-eu", "churn-us"))
    assert safeload.loads(*eu, name="churn-eu", keyring=key) == "churn-eu"
    for name in ("churn-us", "artifact"):
        with pytest.raises(ManifestError, match="signed under another name: 'churn-eu'") as raised:
            safeload.loads(*eu, name=name, keyring=key)
        assert raised.value.code == "SL107"
    with pytest.raises(ManifestError):
        safeload.loads(*us, keyring=key)
    for wrong in ("", ".", "..", "a/churn-eu", "x" * 256, "a\0b", "\ud800", 1, None):
        with pytest.raises(ValueError, match="name must be like a file's name"):
            safeload.dumps(1, name=wrong, key=key)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="name must be like a file's name"):
            safeload.loads(*eu, name=wrong, keyring=key)  # type: ignore[arg-type]


def test_a_pair_of_files_loads_from_its_bytes(signed: Path, key: SigningKey) -> None:
    parts = signed.read_bytes(), Path(f"{signed}.manifest.json").read_bytes()
    assert (safeload.loads(*parts, name=signed.name, keyring=key).predict(ROWS) >= 0).all()
    with pytest.raises(ManifestError):
        safeload.loads(*parts, keyring=key)


@pytest.mark.parametrize(
    ("scope", "fits"),
    [("churn-*", True), ("fraud-*", False), ("models/churn-*", False), ("/srv/models/churn-*", False)],
)
def test_scopes_are_held_against_the_name_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str, fits: bool
) -> None:
    key = SigningKey.generate("ed25519", key_id="trainer")
    ring = Keyring([KeyEntry(key, "active", datetime.now(UTC), scopes=(scope,))])
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path / "models")  # the working directory is no place of theirs
    if fits:
        parts = safeload.dumps([1], name="churn-eu", key=ring)
        assert safeload.loads(*parts, name="churn-eu", keyring=ring) == [1]
    else:
        with pytest.raises(safeload.KeyringError):
            safeload.dumps([1], name="churn-eu", key=ring)
        parts = safeload.dumps([1], name="churn-eu", key=key)
        with pytest.raises(VerificationError) as raised:
            safeload.loads(*parts, name="churn-eu", keyring=ring)
        assert raised.value.code == "SL106"


def test_releases(key: SigningKey, tmp_path: Path) -> None:
    first, second = safeload.dumps([1], key=key), safeload.dumps([2], key=key, release=2)
    loader = Loader(keyring=key, rollback_state=tmp_path / "state.json")
    assert loader.loads(*first) == [1]
    assert loader.loads(*second) == [2]
    with pytest.raises(RollbackError):
        loader.loads(*first)
    with pytest.raises(RollbackError):
        safeload.loads(*first, keyring=key, min_release=2)


def test_hostile_and_unlisted_objects(key: SigningKey) -> None:
    with pytest.raises(PolicyViolationError):
        safeload.dumps(Evil(), key=key)
    with pytest.raises(PolicyViolationError):
        safeload.dumps(Path("x"), key=key)
    artifact, manifest = safeload.dumps(np.random.default_rng(0), key=key)
    assert safeload.loads(artifact, manifest, keyring=key, policy="core").random() > 0
    artifact, manifest = safeload.dumps(joblib.load(io.BytesIO(_dumped({"a": np.ma.masked_array([1])}))), key=key)
    safeload.loads(artifact, manifest, keyring=key)


def _dumped(obj: Any) -> bytes:
    file = io.BytesIO()
    joblib.dump(obj, file)
    return file.getvalue()


def test_a_loader_scans_bytes_once_and_verifies_them_every_time(pipeline: Any, key: SigningKey) -> None:
    artifact, manifest = safeload.dumps(pipeline, key=key)
    loader = Loader(keyring=key)
    for _ in range(3):
        assert (loader.loads(artifact, manifest).predict(ROWS) == pipeline.predict(ROWS)).all()
    changed = bytearray(artifact)
    changed[-10] ^= 1
    with pytest.raises(DigestMismatchError):
        loader.loads(changed, manifest)


def test_decisions_are_logged(key: SigningKey, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "safeload"):
        parts = safeload.dumps([1], name="churn", key=key)
        safeload.loads(*parts, name="churn", keyring=key)
    records = [(record.action, record.path, record.verdict, record.release) for record in caplog.records]  # type: ignore[attr-defined]
    assert records == [("dumps", "churn", "allowed", 1), ("loads", "churn", "allowed", 1)]


def test_what_is_not_bytes_is_told(key: SigningKey, signed: Path) -> None:
    artifact, manifest = safeload.dumps([1], key=key)
    for wrong in ("text", None, signed, [1], io.BytesIO(artifact)):
        with pytest.raises(TypeError, match="the artifact must be bytes"):
            safeload.loads(wrong, manifest, keyring=key)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="the manifest must be bytes"):
            safeload.loads(artifact, wrong, keyring=key)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"use safeload\.loads"):
        safeload.load(artifact, keyring=key)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"safeload\.dumps and safeload\.loads"):
        safeload.load(io.BytesIO(artifact), keyring=key)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------- scan


def test_scan_of_bytes_says_what_scan_of_the_file_says(signed: Path) -> None:
    expected = safeload.scan(signed).to_dict()
    data = signed.read_bytes()
    with signed.open("rb") as file:
        assert safeload.scan(file).to_dict() == expected
        assert file.read() == b""
    for report, path in ((safeload.scan(data), "<bytes>"), (safeload.scan(io.BytesIO(data)), "<file>")):
        assert report.to_dict() == {**expected, "path": path}


def test_scan_of_a_file_begins_where_it_stands() -> None:
    file = io.BytesIO(b"header" + _dumped([1]))
    file.seek(6)
    assert safeload.scan(file).allowed
    assert not safeload.scan(file).allowed  # nothing is left of it


def test_scan_refuses_hostile_bytes() -> None:
    report = safeload.scan(pickle.dumps(Evil()))
    assert not report.allowed
    with pytest.raises(PolicyViolationError, match="<bytes>"):
        report.raise_if_refused()
    assert not safeload.scan(b"").allowed


def test_scan_of_what_is_not_binary(signed: Path) -> None:
    with pytest.raises(TypeError, match="mode 'rb'"):
        safeload.scan(io.StringIO("text"))  # type: ignore[arg-type]
    for wrong in (None, 3, [b"x"]):
        with pytest.raises(TypeError, match="pass a path, bytes or a binary file"):
            safeload.scan(wrong)  # type: ignore[arg-type]


def test_deep_scan_of_bytes(signed: Path) -> None:
    pytest.importorskip("fickling")
    opinion = safeload.scan(signed.read_bytes(), deep=True).second_opinion
    assert opinion is not None
    assert opinion.agrees
