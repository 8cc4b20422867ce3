"""What the fuzzer begins with: real artifacts of all kinds, small enough to be changed many times in a second."""

from __future__ import annotations

import io
import json
import pickle
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["fill", "read"]

_VECTORS = Path(__file__).resolve().parents[2] / "vectors"
_LARGEST = 24 << 10  # bytes of an artifact that is worth changing
_COMPRESSORS = ("zlib", "gzip", "bz2", "xz", "lzma", "lz4")


def read(folder: Path) -> dict[str, bytes]:
    """Return the artifacts of a folder by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def fill(folder: Path) -> None:
    """Write the artifacts that the installed libraries and the public vectors give."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, obj) in enumerate(_objects()):
        # Every kind in two protocols and both ways of writing, and all of them over a few.
        for protocol in {number % 6, 4} if number % 8 else set(range(6)):
            for how in ("joblib", "pickle"):
                data = _dumped(obj, protocol, how)
                if data is not None:
                    (folder / f"{_safe(name)}.{how}.{protocol}").write_bytes(data)
        if number % 5 == 0:
            compressor = _COMPRESSORS[number // 5 % len(_COMPRESSORS)]
            data = _dumped(obj, 4, compressor)
            if data is not None:
                (folder / f"{_safe(name)}.{compressor}").write_bytes(data)
    for entry in json.loads((_VECTORS / "index.json").read_text(encoding="utf-8"))["vectors"]:
        data = (_VECTORS / entry["file"]).read_bytes()
        if len(data) <= _LARGEST:
            (folder / f"vector.{_safe(entry['name'])}").write_bytes(data)


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _dumped(obj: Any, protocol: int, how: str) -> bytes | None:
    import joblib

    file = io.BytesIO()
    try:
        if how == "pickle":
            pickle.dump(obj, file, protocol)
        elif how == "joblib":
            joblib.dump(obj, file, protocol=protocol)
        else:
            joblib.dump(obj, file, compress=(how, 3), protocol=protocol)
    except Exception as error:  # noqa: BLE001  # what cannot be pickled in this protocol
        print(f"# left out: {type(error).__name__}: {error}"[:200], file=sys.stderr)
        return None
    return file.getvalue() if file.tell() <= _LARGEST else None


def _objects() -> Iterator[tuple[str, Any]]:
    yield from _packages()
    from packs.stock_models import stock_models

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, obj in stock_models(fits=1):
            if isinstance(obj, (list, tuple)):  # a combination that comes as many
                for index, one in enumerate(obj):
                    yield f"{name} {index}", one
            elif isinstance(obj, dict):
                yield name, obj
                for key, one in obj.items():
                    yield f"{name} {key}", one
            else:
                yield name, obj


def _packages() -> Iterator[tuple[str, Any]]:
    """Give what people save beside models: arrays of every kind, and packages of models with notes."""
    import datetime as dt
    from collections import Counter, OrderedDict, defaultdict, deque

    import numpy as np

    objects = np.array([None, "a", 1.5, [1, 2], {"k": (1,)}], dtype=object)
    inner = np.empty(2, dtype=object)
    inner[0], inner[1] = objects, {"array": np.arange(3)}
    structure = np.array([(1, 2.5, "x", (3, 4))], dtype=[("a", "<i4"), ("b", ">f8"), ("c", "U3"), ("d", "u1", (2,))])
    yield "arrays", [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.eye(3)), np.zeros((2, 0)), np.array(1.5)]
    yield "a mapped array", np.arange(1500, dtype="i4")
    yield "types", [np.zeros(2, kind) for kind in ("?", "f2", "g", "c16", ">i4", "U2", "S3", "V3", "M8[ns]", "m8[25s]")]
    yield "objects", objects
    yield "nested objects", inner
    yield "two object arrays", {"a": objects, "b": inner, "c": np.arange(4), "d": objects.reshape(5, 1)}
    yield "structures", [structure, structure[0], np.zeros(2, dtype=np.dtype([("a", "u1"), ("b", "f8")], align=True))]
    yield "masked", [np.ma.masked_array([1.0, 2.0], [True, False]), np.ma.masked_array([1, 2], fill_value=7)]
    yield "transposed", np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2)
    yield "matrix", np.matrix([[1.0, 2.0]])
    yield "scalars", [np.float32(1.5), np.int8(-1), np.bool_(True), np.str_("x"), np.datetime64("2026-01-01", "ns")]
    yield "generators", [np.random.RandomState(0), np.random.default_rng(0), np.random.Generator(np.random.Philox(1))]
    shared = ["s"]
    yield "containers", [shared, shared, (shared,), {"a": shared}, {1, 2}, frozenset("ab"), OrderedDict(a=1),
                         defaultdict(list, {"a": [1]}), Counter("aab"), deque([1], 5), {}, [], (), set()]  # fmt: skip
    yield "values", [None, True, 0, -1, 255, 65_536, -(1 << 31), 1 << 31, 1 << 64, -(1 << 200), 1.5, "", "ä\n\\u",
                     b"", b"\xff" * 300, bytearray(b"y"), 1 + 2j, range(3), slice(None, 3)]  # fmt: skip
    yield "dates", [dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC), dt.date(2026, 1, 2), dt.timedelta(days=-1)]
    yield "a long list", list(range(1100))
    yield "a long dict", dict.fromkeys(map(str, range(1100)))
    yield "a long array", np.arange(2500.0)
    yield "a package", {"model": objects, "columns": ["a", "b"], "made": dt.date(2026, 1, 2), "scores": np.eye(2),
                        "notes": {"by": "me", "tags": ("x", "y"), "params": {"C": 1.0, "tol": None}}}  # fmt: skip
