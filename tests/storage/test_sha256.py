"""The SHA-256 of the whole artifact: what people and registries compare is never taken from a manifest unchecked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import safeload
from safeload._manifest.manifest import seal
from safeload._storage.pair import manifest_path
from safeload.errors import DigestMismatchError

OTHER = "ab" * 32


def stated(path: Path, key: safeload.SigningKey, obj: Any, sha256: str = OTHER) -> Path:
    """Sign an object, and state another file's SHA-256 under the same key."""
    manifest = safeload.dump(obj, path, key=key)
    manifest_path(path).write_bytes(seal(replace(manifest, sha256=sha256), [key]))
    return path


@pytest.mark.parametrize("numbers", [10, 100_000, 3_000_000], ids=["small", "one chunk", "many chunks"])
def test_verify_compares_it(numbers: int, tmp_path: Path, key: safeload.SigningKey) -> None:
    path = stated(tmp_path / "model.joblib", key, np.arange(float(numbers)))
    report = safeload.verify(path, keyring=key)
    assert [finding.code for finding in report.findings] == ["SL201"]
    assert OTHER in report.findings[0].message


def test_load_compares_it_for_what_it_reads_at_once(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = stated(tmp_path / "model.joblib", key, {"a": 1})
    with pytest.raises(DigestMismatchError, match="the manifest states ab"):
        safeload.load(path, keyring=key)


@pytest.mark.parametrize("sealed", [False, True])
def test_copies_are_named_by_what_they_hold(sealed: bool, tmp_path: Path, key: safeload.SigningKey) -> None:
    folder = tmp_path / "copies"
    copies = safeload.SealedCopies() if sealed else folder
    path = stated(tmp_path / "model.joblib", key, np.arange(100_000.0))
    loader = safeload.Loader(keyring=key, mmap_copies=copies)
    for _ in range(2):
        with pytest.raises(DigestMismatchError, match="the manifest states ab"):
            loader.load(path, "r")
    assert not [one for one in folder.glob("*") if len(one.name) == 64]
