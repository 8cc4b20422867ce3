"""Versions of models side by side in a folder, and signed channels that say which one is in use."""

from __future__ import annotations

from safeload._loading.rollback_state import Mark
from safeload.store._files import ReSigner, is_pointer
from safeload.store._names import check_channel, check_name, check_version
from safeload.store._pointer import Place, Pointer
from safeload.store._reading import StoreReader
from safeload.store._store import Store
from safeload.store._versions import PRODUCTION, Part, StoredVersion

__all__ = [
    "PRODUCTION",
    "Mark",
    "Part",
    "Place",
    "Pointer",
    "ReSigner",
    "Store",
    "StoreReader",
    "StoredVersion",
    "check_channel",
    "check_name",
    "check_version",
    "is_pointer",
]
