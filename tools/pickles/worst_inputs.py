"""Inputs that take a scanner long, or much memory, for their size: `INPUTS[name](n)` has about `n` opcodes.

Each is what somebody would make who knows the scanner: the slowest opcodes, the dearest checks, the longest ways of
a key through a table, all alike, so that it packs into a few KB.  tests/scan/test_worst_inputs.py holds small ones
against the promise, benchmarks/worst.py whole ones.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pickles.opcodes import DTYPE, glob, line_glob, number, text, tup

if TYPE_CHECKING:
    from collections.abc import Callable

_F8 = DTYPE + tup("f8", False, True) + b"R" + tup(3, "<", None, None, None, -1, -1, 0) + b"b"
_I4 = DTYPE + tup("i4", False, True) + b"R" + tup(3, "<", None, None, None, -1, -1, 0) + b"b"
_FROMBUFFER = glob("numpy._core.numeric", "_frombuffer")
_HISTOGRAM = "sklearn.ensemble._hist_gradient_boosting"


def _raw(length: int, fill: bytes = b"\0") -> bytes:
    return b"B" + struct.pack("<I", length) + fill * length


def _many(item: bytes, opcodes: int, n: int, *before: bytes, version: int = 5) -> bytes:
    """A list of one item of so many opcodes again and again; `before` stands in the memo, from 0 on."""
    memo = b"".join(one + (b"\x94" if version > 3 else b"r" + struct.pack("<I", at)) for at, one in enumerate(before))
    at_once = max(1, min(n // opcodes, 5000))
    times = n // opcodes // at_once + 1
    return b"\x80" + bytes([version]) + b"(" + memo + b"](" + (item * at_once + b"e(") * times + b"et."


def _opcode(item: bytes, opcodes: int = 1, version: int = 5) -> Callable[[int], bytes]:
    return lambda n: _many(item, opcodes, n, version=version)


def _wrappers(dtype: bytes, shape: bytes, data: bytes) -> Callable[[int], bytes]:
    names = [text(name) for name in ("subclass", "shape", "order", "C", "dtype", "allow_mmap")]
    before = [glob("numpy", "ndarray"), glob("joblib.numpy_pickle", "NumpyArrayWrapper"), dtype, *names]
    one = b"h\x01)\x81}(h\x03h\x00h\x04" + shape + b"h\x05h\x06h\x07h\x02h\x08\x89ub" + data
    return lambda n: _many(one, 18, n, *before)


def _buffers(dtype: bytes, length: int, size: int) -> Callable[[int], bytes]:
    one = b"h\0(" + _raw(length) + b"h\1h\2h\3tR"
    return lambda n: _many(one, 8, n, _FROMBUFFER, dtype, tup(length // size), text("C"))


def _matrices(n: int) -> bytes:
    """Sparse matrices of 64 dimensions with the same arrays: each is checked against each."""
    values, indices = (
        b"h\0(" + _raw(70 * size) + kind + tup(70) + text("C") + b"tR" for kind, size in ((b"h\1", 8), (b"h\2", 4))
    )
    before = [
        _FROMBUFFER, _F8, _I4, values, indices, b"(" + b"h\4" * 64 + b"t", b"(" + b"K\5" * 64 + b"t",
        text("_shape"), text("data"), text("coords"), glob("scipy.sparse._coo", "coo_array"),
    ]  # fmt: skip
    return _many(b"h\x0a)\x81}(h\7h\6h\x08h\3h\x09h\5ub", 12, n, *before)


def keys_that_walk(count: int) -> list[int]:
    """Integers that fill half a table of 16,384 along the way on which CPython's dict looks; so many more walk it."""
    size, half = 1 << 14, 8000
    way = [1]
    while len(way) < half:
        way.append((way[-1] * 5 + 1) % size)
    taken, key = set(way), 1
    walkers: list[int] = []
    while len(walkers) < count:
        key += size
        place, rest = key % size, key
        while rest and place in taken:
            rest >>= 5
            place = (place * 5 + rest + 1) % size
        if place in taken:
            walkers.append(key)
    return way + walkers


def _dicts_that_walk(n: int) -> bytes:
    """Dicts whose integers look for a place as long as is allowed: a way that is full, and some that walk all of it."""
    one = b"}(" + b"".join(number(key) + b"N" for key in keys_that_walk(190)) + b"u"
    return b"\x80\x05](" + one * (n // 16_400 + 1) + b"e."


def _predictors(n: int) -> bytes:
    """Iterations of histogram boosting that are one list of one predictor: n squared, if each is looked at."""
    import pickle
    import pickletools

    import numpy as np
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    nodes = np.zeros(1, PREDICTOR_RECORD_DTYPE)
    nodes["is_leaf"] = 1
    sets = np.zeros((0, 8), np.uint32)
    whole = pickle.dumps(TreePredictor(nodes, sets, sets), 2)
    last = max(at for opcode, at, _ in pickletools.genops(whole) if isinstance(at, int) and "PUT" in opcode.name)

    def put(at: int) -> bytes:
        return b"r" + struct.pack("<I", at)

    def get(at: int) -> bytes:
        return b"j" + struct.pack("<I", at)

    inner = whole[2:-1] + put(last + 1) + b"](" + get(last + 1) * (min(n // 2, 400_000)) + b"e" + put(last + 2)
    model = line_glob(f"{_HISTOGRAM}.gradient_boosting", "HistGradientBoostingClassifier") + b")\x81"
    state = (
        b"}("
        + text("n_features_in_")
        + b"K\1"
        + text("_predictors")
        + b"]("
        + get(last + 2) * min(n // 2, 400_000)
        + b"eu"
    )
    return b"\x80\x02(" + inner + model + state + b"bt."


def _states_to_describe(n: int) -> bytes:
    """States that no rule grants, each of 256 long names, for each of many classes: what a rule would have to say."""
    name = glob("a" * 240 + "." + "b" * 240, "c" * 240)
    state = b"(" + b"".join([b"(" + b"h\0" * 16 + b"t"] * 16) + b"t"
    classes = b"".join(b"h\2" + text(f"C{at}") + b"\x93)\x81h\1b" for at in range(min(n // 50, 9000)))
    return b"\x80\x05(" + name + b"\x94" + state + b"\x94" + text("mine") + b"\x94](" + classes + b"et."


INPUTS: dict[str, Callable[[int], bytes]] = {
    "None": _opcode(b"N"),
    "short texts": _opcode(b"\x8c\1a"),
    "lines of text": _opcode(b"Va\n", version=2),
    "lines of escaped text": _opcode(b"V\\u1234\n", version=2),
    "decimal integers": _opcode(b"I1\n", version=2),
    "decimal integers, long": lambda n: _many(b"L" + b"7" * 2460 + b"L\n", 1, n // 20, version=2),
    "decimal floats": _opcode(b"F1.0\n", version=2),
    "long integers": _opcode(b"\x8a\1\1"),
    "short bytes": _opcode(b"C\1a"),
    "long bytes": lambda n: _many(_raw(257), 1, n // 8),
    "bytearrays": _opcode(b"\x96" + b"\0" * 8),
    "empty frames": lambda n: b"\x80\x05" + (b"\x95" + b"\0" * 8) * n + b"N.",
    "memo by text": lambda n: _many(b"g0\n", 1, n, b"N", version=2),
    "names": _opcode(b"cnumpy\ndtype\n", version=2),
    "names of Python 2": _opcode(b"c__builtin__\nset\n", version=2),
    "appends": lambda n: b"\x80\x05]" + b"Na" * (n // 2) + b".",
    "marks below bytes": lambda n: b"\x80\x05" + b"(" * (n // 5) + _many(_raw(150_000), 1, 200)[2:],
    "keys that walk": _dicts_that_walk,
    "instances": lambda n: _many(
        b"h\0)\x81}h\1Nsb", 7, n, glob("sklearn.linear_model._base", "LinearRegression"), text("copy_X")
    ),
    "calls with a constraint": lambda n: _many(b"h\0NNN\x87R", 6, n, glob("builtins", "slice")),
    "calls that are not allowed": lambda n: _many(b"h\0h\1\x85R", 4, n, glob("os", "system"), text("id")),
    "numpy scalars": lambda n: _many(
        b"h\0h\1C\x08" + bytes(8) + b"\x86R", 5, n, glob("numpy._core.multiarray", "scalar"), _F8
    ),
    "dtypes": lambda n: _many(
        b"h\0h\1Rh\2b", 5, n, DTYPE, tup("f8", False, True), tup(3, "<", None, None, None, -1, -1, 0)
    ),
    "arrays of joblib": _wrappers(_F8, b"K\1\x85", bytes(8)),
    "arrays of joblib, of integers": _wrappers(_I4, b"K\x41\x85", bytes(260)),
    "arrays of numpy": _buffers(_F8, 8, 8),
    "arrays of numpy, of integers": _buffers(_I4, 260, 4),
    "matrices of many dimensions": _matrices,
    "predictors again and again": _predictors,
    "states to describe": _states_to_describe,
}  # fmt: skip
