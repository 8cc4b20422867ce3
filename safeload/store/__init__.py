"""Versions of models side by side in a folder, and signed channels that say which one is in use."""

from __future__ import annotations

from safeload.store._files import pointer_at, signed_file_at
from safeload.store._names import check_channel, check_name, check_version
from safeload.store._pointer import POINTER, Place, Pointer, open_pointer
from safeload.store._store import Store
from safeload.store._versions import PRODUCTION, Part, StoredVersion

__all__ = [
    "POINTER",
    "PRODUCTION",
    "Part",
    "Place",
    "Pointer",
    "Store",
    "StoredVersion",
    "check_channel",
    "check_name",
    "check_version",
    "open_pointer",
    "pointer_at",
    "signed_file_at",
]
