"""Objects and their pickles, as tests make them."""

from __future__ import annotations

import importlib
import io
from typing import Any

import joblib


def dumped(obj: Any, protocol: int | None = None, compress: Any = 0) -> bytes:
    """Return what joblib.dump writes."""
    file = io.BytesIO()
    joblib.dump(obj, file, compress=compress, protocol=protocol)
    return file.getvalue()


def with_attributes(obj: Any, **attributes: Any) -> Any:
    """Set attributes behind the back of the class, as a forged state would."""
    obj.__dict__.update(attributes)
    return obj


def resolved(name: str) -> Any:
    """Return what is imported by this dotted name here; None if there is no such thing."""
    module, _, qualname = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), qualname)
    except (ImportError, AttributeError):
        return None
