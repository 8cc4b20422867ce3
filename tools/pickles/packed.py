"""Artifacts in each of joblib's compressions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np

RNG = np.random.default_rng(0)
OBJECT = {"a": RNG.random(3000), "text": "long text " * 2000, "ints": np.arange(5000), "empty": np.zeros(0)}
COMPRESSIONS = ["zlib", "gzip", "bz2", "xz", "lzma", "lz4"]


def dumped(compression: str, level: int = 3, obj: object = OBJECT) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        joblib.dump(obj, path, compress=(compression, level) if compression != "none" else 0)
        return path.read_bytes()


def same(first: Any, second: Any) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)
