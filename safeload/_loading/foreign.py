"""Name a file of another format where an artifact was refused before it was scanned: unsigned, or not as signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeload._internal.blob import read_bytes
from safeload._scan.foreign import FOREIGN_BYTES, foreign_format
from safeload._storage.backends import resolve
from safeload.errors import StorageError
from safeload.findings import Finding

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["foreign_file"]


def foreign_file(path: Path) -> Finding | None:
    """Return the finding that names the format of the file at a path, where it is none of joblib's or pickle's."""
    backend, name = resolve(path)
    try:
        with backend.open_artifact(name) as blob:
            first = read_bytes(blob, 0, min(FOREIGN_BYTES, blob.size))
    except (OSError, StorageError):
        return None  # the refusal stands without it
    found = foreign_format(first)
    return None if found is None else Finding(found.code, f"this is {found.what}", None, None, found.instead)
