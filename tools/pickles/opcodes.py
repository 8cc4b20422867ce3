"""Assemble pickle streams from named opcodes: `stream(PROTO4, glob("os", "system"), text("id"), ...)`.

Every piece is bytes; a stream is their sum.  Arrays and dtypes are written as numpy and joblib write them, with every
part of it open to be a lie.
"""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

STOP = pickle.STOP


def proto(version: int) -> bytes:
    return pickle.PROTO + bytes([version])


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def raw(value: bytes) -> bytes:
    return pickle.BINBYTES + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return pickle.BININT + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return pickle.LONG1 + bytes([len(data)]) + data


def real(value: float) -> bytes:
    return pickle.BINFLOAT + struct.pack(">d", value)


def put(index: int) -> bytes:
    return pickle.BINPUT + bytes([index])


def get(index: int) -> bytes:
    return pickle.BINGET + bytes([index])


def value(obj: Any) -> bytes:
    """Write a plain value; bytes that were assembled already stand for themselves."""
    if isinstance(obj, bytes):
        return obj
    if obj is None:
        return pickle.NONE
    if isinstance(obj, bool):
        return pickle.NEWTRUE if obj else pickle.NEWFALSE
    if isinstance(obj, int):
        return number(obj)
    if isinstance(obj, float):
        return real(obj)
    if isinstance(obj, str):
        return text(obj)
    if isinstance(obj, tuple):
        return tup(*obj)
    if isinstance(obj, list):
        return pickle.EMPTY_LIST + pickle.MARK + b"".join(map(value, obj)) + pickle.APPENDS
    if isinstance(obj, dict):
        return mapping(obj)
    raise TypeError(obj)


def tup(*parts: Any) -> bytes:
    return pickle.MARK + b"".join(map(value, parts)) + pickle.TUPLE if parts else pickle.EMPTY_TUPLE


def mapping(pairs: dict[str, Any] | list[tuple[Any, Any]]) -> bytes:
    flat = pairs.items() if isinstance(pairs, dict) else pairs
    return pickle.EMPTY_DICT + pickle.MARK + b"".join(value(k) + value(v) for k, v in flat) + pickle.SETITEMS


def glob(module: str, name: str) -> bytes:
    """STACK_GLOBAL, for protocols 4 and 5."""
    return text(module) + text(name) + pickle.STACK_GLOBAL


def line_glob(module: str, name: str) -> bytes:
    """GLOBAL, for protocols 0 to 3."""
    return pickle.GLOBAL + module.encode() + b"\n" + name.encode() + b"\n"


def call(func: bytes, *args: Any) -> bytes:
    return func + tup(*args) + pickle.REDUCE


def new(cls: bytes, *args: Any) -> bytes:
    return cls + tup(*args) + pickle.NEWOBJ


def build(obj: bytes, state: Any) -> bytes:
    return obj + value(state) + pickle.BUILD


def frame(body: bytes, size: int | None = None) -> bytes:
    return pickle.FRAME + struct.pack("<Q", len(body) if size is None else size) + body


def stream(*parts: bytes, version: int = 4) -> bytes:
    """PROTO, the parts, STOP."""
    return proto(version) + b"".join(parts) + STOP


def old_stream(*parts: bytes) -> bytes:
    """The parts and STOP, without PROTO, as protocols 0 and 1 are written."""
    return b"".join(parts) + STOP


# --------------------------------------------------------------------------------------- numpy and joblib

DTYPE = glob("numpy", "dtype")
NDARRAY = glob("numpy", "ndarray")
WRAPPER = glob("joblib.numpy_pickle", "NumpyArrayWrapper")
RECONSTRUCT = glob("numpy._core.multiarray", "_reconstruct")
SCALAR = glob("numpy._core.multiarray", "scalar")
FROMBUFFER = glob("numpy._core.numeric", "_frombuffer")
MASKED = glob("numpy.ma.core", "_mareconstruct")
MASKED_ARRAY = glob("numpy.ma", "MaskedArray")

_STATES = {
    "f8": (3, "<", None, None, None, -1, -1, 0),
    "i8": (3, "<", None, None, None, -1, -1, 0),
    "u1": (3, "|", None, None, None, -1, -1, 0),
    "O8": (3, "|", None, None, None, -1, -1, 63),
}


def dtype(code: str = "f8", state: Any = None, *, args: Any = None) -> bytes:
    """dtype(code, False, True) and its state, which is the honest one unless another is given."""
    made = call(DTYPE, *(args or (code, False, True)))
    return build(made, _STATES[code] if state is None else state)


# Two float64 as one item: part of a structure, and never what a whole array is of.
def subarray() -> bytes:
    return dtype(args=("V16", False, True), state=(3, "|", (dtype(), (2,)), None, None, 16, 8, 0))


def wrapper(*, made: bytes | None = None, leave: tuple[str, ...] = (), more: Any = (), **changes: Any) -> bytes:
    """An array wrapper with its BUILD: two float64, unless changed; the array's bytes are not part of it."""
    state = {
        "subclass": NDARRAY,
        "shape": (2,),
        "order": "C",
        "dtype": dtype(),
        "allow_mmap": True,
        "numpy_array_alignment_bytes": 16,
    }
    state.update(changes)
    pairs = [(k, v) for k, v in state.items() if k not in leave]
    return build(new(WRAPPER) if made is None else made, mapping([*pairs, *more]))


def padded(before: bytes, data: bytes) -> bytes:
    """An array's bytes after `before`, with joblib's padding."""
    length = 16 - (len(before) + 1) % 16
    return before + bytes([length]) + b"\xff" * length + data


def array(shape: Any = (1,), of: bytes | None = None, data: Any = None, *, fortran: Any = False, **kw: Any) -> bytes:
    """numpy's own way to write an array: one float64, unless changed."""
    args = kw.get("args", (NDARRAY, (0,), raw(b"b")))
    data = raw(bytes(8)) if data is None else data
    return build(call(kw.get("func", RECONSTRUCT), *args), (1, shape, of or dtype(), fortran, data))


# --------------------------------------------------------------------------------------------- scanning it


def scan(data: bytes, policy: Any = "sklearn", *, record: bool = False, **limits: int) -> Any:
    """Scan a stream as `safeload.scan` would an uncompressed file; return the trace."""
    from safeload._scan import Limits, scan_stream
    from safeload._scan.sources import FileSource
    from safeload.policy import resolve_policy

    source = FileSource(io.BytesIO(data), len(data))
    return scan_stream(source, resolve_policy(policy), Limits(**limits), record=record)


def codes(data: bytes, policy: Any = "sklearn", **limits: int) -> list[str]:
    """Scan a stream and return the codes of all findings."""
    return [finding.code for finding in scan(data, policy, record=False, **limits).findings]
