"""A Loader scans the same content and reads the same manifest once, and asks for trust each time."""

from __future__ import annotations

import string
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import safeload
from safeload._judging.examine import examine
from safeload._manifest.manifest import KnownManifests, open_envelope


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were scanned."""
    seen: list[str] = []

    def watched(stream: Any, target: Path, *args: Any, **options: Any) -> Any:
        seen.append(target.name)
        return examine(stream, target, *args, **options)

    monkeypatch.setattr("safeload._loading.loader.examine", watched)
    return seen


def test_the_same_content_is_scanned_once(tmp_path: Path, key: safeload.SigningKey, scans: list[str]) -> None:
    path = tmp_path / "model.joblib"
    safeload.dump({"a": np.arange(9.0)}, path, key=key)
    loader = safeload.Loader(keyring=key)
    for _ in range(3):
        assert (loader.load(path)["a"] == np.arange(9.0)).all()
    assert scans == ["model.joblib"]
    safeload.sign(path, key=key, release=5, overwrite=True)  # another manifest for the same bytes
    loader.load(path)
    assert scans == ["model.joblib"]
    safeload.dump({"a": np.arange(8.0)}, path, key=key, overwrite=True)
    loader.load(path)
    assert scans == ["model.joblib"] * 2
    loader.verify(path)  # what is asked for is done
    safeload.Loader(keyring=key).load(path)
    assert scans == ["model.joblib"] * 4


def test_bytes_are_verified_each_time(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "model.joblib"
    safeload.dump({"a": np.arange(9.0)}, path, key=key)
    loader = safeload.Loader(keyring=key)
    loader.load(path)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(safeload.DigestMismatchError):
        loader.load(path)


def test_a_hostile_artifact_is_refused_each_time(tmp_path: Path, key: safeload.SigningKey) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'name = "more"\nversion = 1\nextends = ["sklearn"]\n[[allow]]\nmodule = "string"\n'
        'names = ["capwords"]\nroles = ["import"]\nreason = "for a test"\n'
    )
    path = tmp_path / "model.joblib"
    safeload.dump([string.capwords], path, key=key, policy=policy)
    loader = safeload.Loader(keyring=key)
    for _ in range(3):
        with pytest.raises(safeload.PolicyViolationError):
            loader.load(path)
    assert safeload.Loader(keyring=key, policy=policy).load(path) == [string.capwords]


def test_only_the_last_few_are_remembered(tmp_path: Path, key: safeload.SigningKey, scans: list[str]) -> None:
    paths = [tmp_path / f"{number}.joblib" for number in range(17)]
    for number, path in enumerate(paths):
        safeload.dump([number], path, key=key)
    loader = safeload.Loader(keyring=key)
    for path in paths:
        loader.load(path)
    del scans[:]
    loader.load(paths[-1])
    assert scans == []
    loader.load(paths[0])
    assert scans == ["0.joblib"]


def test_a_key_that_is_revoked_meanwhile_is_not_trusted(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "model.joblib"
    safeload.dump([1], path, key=key)
    ring = safeload.Keyring.from_keys([key, safeload.SigningKey.generate()])
    loader = safeload.Loader(keyring=ring)
    assert loader.load(path) == loader.load(path) == [1]
    ring.revoke(key.key_id, "lost")
    with pytest.raises(safeload.VerificationError, match="revoked"):
        loader.load(path)
    assert [finding.code for finding in loader.verify(path).findings] == ["SL106"]


def test_a_manifest_that_expires_meanwhile_is_not_accepted(
    tmp_path: Path, key: safeload.SigningKey, pass_time: Callable[[timedelta], None]
) -> None:
    path = tmp_path / "model.joblib"
    safeload.dump([1], path, key=key, expires=timedelta(hours=1))
    loader = safeload.Loader(keyring=key)
    assert loader.load(path) == [1]
    pass_time(timedelta(hours=2))
    with pytest.raises(safeload.ExpiredError):
        loader.load(path)


def test_a_threshold_and_scopes_are_asked_of_what_is_known(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "model.joblib"
    safeload.dump([1], path, key=key)
    envelope = Path(f"{path}.manifest.json").read_bytes()
    known = KnownManifests()
    one = safeload.Keyring.from_keys([key])
    assert open_envelope(envelope, one, known=known) == open_envelope(envelope, one, known=known)
    other = safeload.SigningKey.generate()
    two = safeload.Keyring.from_keys([key, other], threshold=2)
    with pytest.raises(safeload.VerificationError, match="2 of its keys"):
        open_envelope(envelope, two, known=known)
    elsewhere = safeload.Keyring.from_keys([other])
    elsewhere.add(key, status="verify-only", scopes=["other-*"])
    with pytest.raises(safeload.VerificationError, match="is not allowed to sign"):
        open_envelope(envelope, elsewhere, known=known)
    with pytest.raises(safeload.UnknownKeyError):
        open_envelope(envelope, safeload.Keyring.from_keys([other]), known=known)


def test_another_key_of_the_same_id_has_to_verify_itself(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "model.joblib"
    safeload.dump([1], path, key=key)
    envelope = Path(f"{path}.manifest.json").read_bytes()
    known = KnownManifests()
    open_envelope(envelope, safeload.Keyring.from_keys([key]), known=known)
    namesake = safeload.SigningKey.generate(key_id=key.key_id)
    for _ in range(2):
        with pytest.raises(safeload.BadSignatureError):
            open_envelope(envelope, safeload.Keyring.from_keys([namesake]), known=known)


def test_one_byte_of_the_manifest_changed_is_noticed_each_time(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "model.joblib"
    safeload.dump([1], path, key=key)
    loader = safeload.Loader(keyring=key)
    assert loader.load(path) == [1]
    manifest = Path(f"{path}.manifest.json")
    signed = manifest.read_bytes()
    at = signed.index(b'"sig": "') + 20
    manifest.write_bytes(signed[:at] + (b"A" if signed[at : at + 1] != b"A" else b"B") + signed[at + 1 :])
    for _ in range(2):
        with pytest.raises(safeload.BadSignatureError):
            loader.load(path)
    manifest.write_bytes(signed)
    assert loader.load(path) == [1]


def test_what_callers_do_with_a_manifest_changes_nothing_that_is_known(
    tmp_path: Path, key: safeload.SigningKey
) -> None:
    path = tmp_path / "model.joblib"
    safeload.dump([1], path, key=key, metadata={"auc": {"test": 0.9}})
    loader = safeload.Loader(keyring=key)

    def spoil(manifest: safeload.Manifest) -> None:
        manifest.metadata["auc"]["test"] = 1.0
        manifest.producer.packages.clear()  # type: ignore[attr-defined]

    for _ in range(2):
        spoil(loader.load_with_manifest(path, accept=spoil)[1])
        report = loader.verify(path)
        assert report.manifest is not None
        spoil(report.manifest)
        spoil(loader.read_manifest(path))
    found = loader.read_manifest(path)
    assert found.metadata == {"auc": {"test": 0.9}}
    assert "joblib" in found.producer.packages
