"""A Loader scans the same content once, and whatever differs again."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import safeload
from safeload import loader as loading


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were scanned."""
    seen: list[str] = []
    examine = loading.examine

    def watched(stream: Any, target: Path, *args: Any) -> Any:
        seen.append(target.name)
        return examine(stream, target, *args)

    monkeypatch.setattr(loading, "examine", watched)
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
