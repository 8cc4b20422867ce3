"""The exact forms in which numpy and joblib write dtypes, arrays and array scalars.

These names build native memory from what the file says, so each is accepted only in the form that the real
library writes, whatever a policy allows beyond that.  Sources: numpy's `array_reduce` and `arraydescr_reduce`
(methods.c, descriptor.c), `numpy.core.numeric._frombuffer`, `numpy.ma.core.MaskedArray.__getstate__`, and
joblib's `NumpyArrayWrapper`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from safeload.rules import RefusedError
from safeload.scan._contents import Unclear, Watcher, watcher_of
from safeload.scan.values import (
    IMPORT,
    AList,
    Array,
    Blob,
    DType,
    Global,
    Text,
    attributes,
    describe,
    shown,
)

# What a global's `form` can be.
DTYPE: Final = 1
WRAPPER: Final = 2
RECONSTRUCT: Final = 3
SCALAR: Final = 4
FROMBUFFER: Final = 5
COPYREG: Final = 6
MASKED: Final = 7
OLD_WRAPPER: Final = 8
ENCODE: Final = 9
BYTES: Final = 10
BYTEARRAY: Final = 11
SET: Final = 12
ARRAY_CLASS: Final = 13

FORMS: Final[dict[str, int]] = {
    "numpy.dtype": DTYPE,
    "joblib.numpy_pickle.NumpyArrayWrapper": WRAPPER,
    "numpy._core.multiarray._reconstruct": RECONSTRUCT,
    "numpy.core.multiarray._reconstruct": RECONSTRUCT,
    "numpy._core.multiarray.scalar": SCALAR,
    "numpy.core.multiarray.scalar": SCALAR,
    "numpy._core.numeric._frombuffer": FROMBUFFER,
    "numpy.core.numeric._frombuffer": FROMBUFFER,
    "copyreg._reconstructor": COPYREG,
    "numpy.ma.core._mareconstruct": MASKED,
    # How protocols 0 to 2 write bytes, and 0 to 4 a bytearray.
    "_codecs.encode": ENCODE,
    "builtins.bytes": BYTES,
    "builtins.bytearray": BYTEARRAY,
    # How protocols below 4 write sets.
    "builtins.set": SET,
    "builtins.frozenset": SET,
    # Both open a file that the pickle names, with allow_pickle=True.
    "joblib.numpy_pickle.NDArrayWrapper": OLD_WRAPPER,
    "joblib.numpy_pickle.ZNDArrayWrapper": OLD_WRAPPER,
    "joblib.numpy_pickle_compat.NDArrayWrapper": OLD_WRAPPER,
    "joblib.numpy_pickle_compat.ZNDArrayWrapper": OLD_WRAPPER,
}

KEPT_BYTES: Final = 256
_MAX_DTYPE_DEPTH: Final = 8
_MAX_FIELDS: Final = 10_000
_MAX_LEAVES: Final = 20_000
_MAX_DIMENSIONS: Final = 64
_MAX_EXTENT: Final = 1 << 62
_SIMPLE: Final = re.compile(r"b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|O8", re.ASCII)
_SIZED: Final = re.compile(r"[SUV](?:0|[1-9][0-9]{0,9})", re.ASCII)
_TIMED: Final = re.compile(r"[Mm]8", re.ASCII)
_ALIGNED_STRUCT: Final = 0x80  # NPY_ALIGNED_STRUCT of numpy's dtype flags
_UNITS: Final = frozenset(b"Y M W D h m s ms us ns ps fs as generic".split())

_SUBCLASSES: Final = frozenset(
    ("numpy.ndarray", "numpy.matrix", "numpy.matrixlib.defmatrix.matrix", "numpy.memmap", "numpy.core.memmap.memmap")
)
_RECONSTRUCTED: Final = _SUBCLASSES | {
    "numpy.recarray",
    "numpy.rec.recarray",
    "numpy.chararray",
    "numpy.char.chararray",
}
_MASKED: Final = frozenset(("numpy.ma.core.MaskedArray", "numpy.ma.MaskedArray"))
# What the items of a recarray are: numpy writes the class itself where the code of another dtype stands.
_RECORD: Final = "numpy.record"

# Whoever may call one of these makes it open a file or forge memory: they stand in the forms below and nowhere else.
ARRAY_CLASSES: Final = (
    _RECONSTRUCTED
    | _MASKED
    | {_RECORD}
    | {f"numpy.{core}.memmap.memmap" for core in ("core", "_core")}
    | {f"numpy.{core}.multiarray.ndarray" for core in ("core", "_core")}
    | {f"numpy.{core}.records.recarray" for core in ("core", "_core")}
    | {f"numpy.{core}.defchararray.chararray" for core in ("core", "_core")}
)


@dataclass(frozen=True, slots=True)
class WrapperState:
    """What a proven NumpyArrayWrapper says of the bytes that follow it."""

    dtype: Any
    shape: tuple[int, ...]
    padded: bool
    length: int


# ---------------------------------------------------------------------------------------------- dtype


def dtype_call(origin: Global, args: tuple[Any, ...], at: int) -> DType:
    """Check `numpy.dtype(code, False, True)`; the code can be the class numpy.record itself."""
    code = args[0] if len(args) == 3 and _is_flag(args[1], False) and _is_flag(args[2], True) else None
    if isinstance(code, Global) and code.name == _RECORD:
        _use_class(code)
        return DType(origin, _RECORD)
    if not isinstance(code, str):
        raise RefusedError("SL312", "numpy writes a dtype as dtype(code, False, True)", at, "numpy.dtype")
    if not (_SIMPLE.fullmatch(code) or _SIZED.fullmatch(code) or _TIMED.fullmatch(code)):
        raise RefusedError("SL312", f"{shown(code)} is no code that numpy writes", at, "numpy.dtype")
    return DType(origin, code)


def _is_flag(value: object, wanted: bool) -> bool:
    """Tell whether it is this boolean; before 1.19, numpy wrote 0 and 1."""
    return value is wanted or (type(value) is int and value == int(wanted))


def dtype_build(dtype: DType, state: object, at: int) -> None:
    """Prove a dtype's state: rebuild the dtype from its checked parts; numpy has to write it the same way."""
    if dtype.real is not None:
        raise RefusedError("SL319", "a dtype's state is set twice", at, "numpy.dtype")
    try:
        real = _real_dtype(dtype, state)
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        code = "SL505" if dtype.depth > _MAX_DTYPE_DEPTH or dtype.leaves > _MAX_LEAVES else "SL312"
        message = f"the state of dtype {shown(dtype.code)} is odd: {error}"
        raise RefusedError(code, message, at, "numpy.dtype") from None
    dtype.real = real


def _real_dtype(dtype: DType, state: object) -> Any:
    import numpy as np_typed  # noqa: ICN001

    np: Any = np_typed  # dtypes of any kind, whose overloads a type checker need not choose from
    if not isinstance(state, tuple) or len(state) not in (8, 9):
        raise ValueError("it is not a tuple of eight or nine")
    code = dtype.code
    version, order, subarray, names, fields, itemsize, alignment, flags = state[:8]
    if order not in ("<", ">", "|") or type(flags) is not int or not -128 <= flags < 1 << 16:
        raise ValueError("byte order or flags")
    if subarray is not None:
        real = np.dtype(_subarray(dtype, subarray))
    elif names is not None:
        real = np.dtype(_struct(dtype, names, fields, itemsize), align=bool(flags & _ALIGNED_STRUCT))
        if code == _RECORD:
            real = np.dtype((np.record, real))
    elif code == _RECORD:
        raise ValueError("records without fields")
    elif _TIMED.fullmatch(code):
        real = np.dtype(code + _unit(state))
    else:
        real = np.dtype(code)
    if order == ">":
        real = real.newbyteorder(">")
    _, arguments, written = real.__reduce__()
    if arguments != (np.record if code == _RECORD else code, False, True):
        raise ValueError(f"numpy writes this dtype as {arguments[0]!r}")
    # Fields and subarrays were taken from the state itself; all the numbers have to be numpy's own.
    given = (version, order, names, itemsize, alignment, _unsigned(flags))
    canonical = (written[0], written[1], written[3], written[5], written[6], _unsigned(written[7]))
    if (fields is None) != (names is None):
        raise ValueError("fields without names")
    if len(state) != len(written) or given != canonical or not all(map(_same_type, given, canonical)):
        raise ValueError("its parts contradict its code")
    return real


def _unsigned(flags: int) -> int:
    """Before numpy 2 the flags were one signed byte; later versions read them so, too."""
    return flags + 256 if flags < 0 else flags


def _same_type(given: object, canonical: object) -> bool:
    return type(given) is type(canonical)


def _subarray(dtype: DType, subarray: object) -> tuple[Any, tuple[int, ...]]:
    if not isinstance(subarray, tuple) or len(subarray) != 2:
        raise ValueError("subarray")
    base, shape = subarray
    if not isinstance(base, DType) or base.real is None:
        raise ValueError("the subarray's base is not a dtype")
    _count(dtype, base)
    return base.real, _shape(shape)


def _count(dtype: DType, part: DType) -> None:
    """Count a part of a dtype: numpy visits each as often as it stands there, and parts may be shared."""
    dtype.depth = max(dtype.depth, part.depth + 1)
    dtype.leaves += part.leaves
    if dtype.leaves > _MAX_LEAVES or dtype.depth > _MAX_DTYPE_DEPTH:
        raise ValueError("nested too deep, or too many fields")


def _struct(dtype: DType, names: object, fields: object, itemsize: object) -> dict[str, Any]:
    known = attributes(fields)
    if not isinstance(names, tuple) or known is None or len(known) != len(names) or len(names) > _MAX_FIELDS:
        raise ValueError("field names")
    formats: list[Any] = []
    offsets: list[int] = []
    for name in names:
        field = known.get(name) if isinstance(name, str) else None
        # A third part would be a title, which scikit-learn's structures never have.
        if not isinstance(field, tuple) or len(field) != 2:
            raise ValueError("a field is not (dtype, offset)")
        base, offset = field
        if not isinstance(base, DType) or base.real is None or type(offset) is not int:
            raise ValueError("a field is not (dtype, offset)")
        _count(dtype, base)
        formats.append(base.real)
        offsets.append(offset)
    if type(itemsize) is not int:
        raise ValueError("item size")
    return {"names": list(names), "formats": formats, "offsets": offsets, "itemsize": itemsize}


def _unit(state: tuple[Any, ...]) -> str:
    metadata = state[8] if len(state) == 9 else None
    if not isinstance(metadata, tuple) or len(metadata) != 2:
        raise ValueError("time unit")
    user, unit = metadata
    # numpy before 2.0 writes an empty dict where later ones write None.
    if user is not None and attributes(user) != {}:
        raise ValueError("dtype metadata")
    if not isinstance(unit, tuple) or len(unit) != 4 or not isinstance(unit[0], bytes) or unit[0] not in _UNITS:
        raise ValueError("time unit")
    name: bytes = unit[0]
    number, denominator, events = unit[1:]
    if type(number) is not int or type(denominator) is not int or type(events) is not int:
        raise ValueError("time unit")
    if not 0 < number < 1 << 31 or denominator != 1 or events != 1 or (name == b"generic" and number != 1):
        raise ValueError("time unit")
    if name == b"generic":
        return ""
    return f"[{number}{name.decode('ascii')}]"


# ---------------------------------------------------------------------------------------------- bytes


def encode_call(args: tuple[Any, ...], at: int) -> bytes | Blob:
    """Check `_codecs.encode(str, 'latin1')`, and return the bytes that it gives."""
    plain = len(args) == 2 and isinstance(args[0], (str, Text)) and isinstance(args[1], str)
    if not plain or args[1] != "latin1":
        raise RefusedError("SL318", "picklers write bytes as encode(str, 'latin1')", at, "_codecs.encode")
    if isinstance(args[0], Text) and args[0].latin1:
        blob = Blob(args[0].length, mutable=False)
        blob.data = _data(args[0])
        return blob
    try:
        if isinstance(args[0], str):
            return kept(args[0].encode("latin1"))
        raise ValueError
    except ValueError:
        raise RefusedError("SL318", "text that is no latin1 stands for bytes", at, "_codecs.encode") from None


def bytes_call(args: tuple[Any, ...], at: int) -> bytes:
    """Check `bytes()`: how protocols 0 to 2 write empty bytes."""
    if args:
        raise RefusedError("SL318", "picklers call bytes without arguments", at, "builtins.bytes")
    return b""


def bytearray_call(args: tuple[Any, ...], at: int) -> Blob:
    """Check `bytearray(bytes)`, or `bytearray()`."""
    length = _length(args[0]) if len(args) == 1 else 0
    if len(args) > 1 or length < 0:
        raise RefusedError("SL318", "picklers write bytearray(bytes)", at, "builtins.bytearray")
    blob = Blob(length, mutable=True)
    blob.data = _data(args[0]) if args else None
    return blob


def kept(data: bytes) -> bytes | Blob:
    """Keep short bytes, which a constraint may ask for, and only the length of long ones."""
    if len(data) <= KEPT_BYTES:
        return data
    blob = Blob(len(data), mutable=False)
    blob.data = data
    return blob


def _data(value: object) -> Any:
    """Take the bytes that a value stands for, or what they could say; None if they were let go."""
    if not isinstance(value, (Blob, Text)):
        return value
    data, value.data = value.data, None
    return data


def _contents(dtype: Any, value: object) -> Watcher | None:
    """Return what the bytes of an array say, where that could matter; None also where nobody can tell."""
    data = _data(value)
    if isinstance(data, Unclear):
        return data.settle(dtype)
    watcher = watcher_of(dtype)
    if watcher is None or not isinstance(data, bytes):
        return None
    watcher.feed(data)
    return watcher


# --------------------------------------------------------------------------------------------- arrays


def _shape(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError("the shape is not a tuple of up to 64 sizes")
    for size in shape:
        if type(size) is not int or not 0 <= size < _MAX_EXTENT:
            raise ValueError("the shape is not a tuple of sizes")
    return shape


def _extent(shape: tuple[int, ...], itemsize: int) -> int:
    """Return how many bytes an array takes, refusing what wraps in 64 bits, as numpy's own product would."""
    extent = itemsize
    nonzero = itemsize
    for size in shape:
        extent *= size
        nonzero *= size or 1
        if nonzero >= _MAX_EXTENT:
            raise ValueError("the shape is larger than memory can be")
    return extent


def _length(value: object) -> int:
    """Return the length of bytes or of a bytearray, -1 for anything else."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Blob):
        return value.length
    return -1


def _proven(value: object) -> Any:
    """Return the real dtype of a proven DType, None for anything else.

    None for a subarray, too: it is part of a structure, and numpy never lets an array or a scalar be of one.
    """
    real = value.real if isinstance(value, DType) else None
    return None if real is None or real.subdtype is not None else real


def wrapper_state(state: object, at: int, remaining: int) -> WrapperState:
    """Check a NumpyArrayWrapper's state; `remaining` is how many bytes follow at most, -1 if unknown."""
    found = attributes(state)
    keys = {"subclass", "shape", "order", "dtype", "allow_mmap"}
    if found is None or set(found) - {"numpy_array_alignment_bytes"} != keys:
        raise RefusedError("SL311", "an array wrapper has other attributes than joblib gives it", at)
    subclass, order, allow_mmap = found["subclass"], found["order"], found["allow_mmap"]
    if not isinstance(subclass, Global) or subclass.name not in _SUBCLASSES:
        raise RefusedError("SL311", f"an array wrapper for {describe(subclass)}, which is no array class", at)
    _use_class(subclass)
    if order not in ("C", "F") or not isinstance(order, str) or not isinstance(allow_mmap, bool):
        raise RefusedError("SL311", "an array wrapper's order or allow_mmap is odd", at)
    dtype = _proven(found["dtype"])
    if dtype is None:
        raise RefusedError("SL311", "an array wrapper has no dtype", at)
    # joblib before 1.2 wrote no such attribute, and writes None where the position is not known.
    alignment = found.get("numpy_array_alignment_bytes")
    if alignment is not None and (type(alignment) is not int or alignment != 16):
        raise RefusedError("SL311", "an array wrapper's alignment is not joblib's", at)
    if dtype.itemsize == 0:
        raise RefusedError("SL311", "an array of items without size", at)
    try:
        shape = _shape(found["shape"])
        length = _extent(shape, dtype.itemsize)
    except ValueError as error:
        raise RefusedError("SL311", f"an array wrapper: {error}", at) from None
    if dtype.hasobject:
        if allow_mmap:
            raise RefusedError("SL311", "an array of objects that asks to be memory-mapped", at)
        return WrapperState(dtype, shape, padded=False, length=-1)
    if remaining >= 0 and length > remaining:
        raise RefusedError("SL507", f"an array of {length} bytes where at most {remaining} are left", at)
    return WrapperState(dtype, shape, padded=alignment is not None, length=length)


def reconstruct_call(origin: Global, args: tuple[Any, ...], at: int) -> Array:
    """Check `_reconstruct(subclass, (0,), b'b')`."""
    name = args[0].name if args and isinstance(args[0], Global) else ""
    # Below protocol 3, bytes are written as a call of _codecs.encode, which is proven to give bytes.
    if len(args) != 3 or name not in _RECONSTRUCTED or not _is_zero_shape(args[1]) or args[2] != b"b":
        raise RefusedError("SL324", "numpy writes _reconstruct(array class, (0,), b'b')", at, origin.name)
    _use_class(args[0])
    return Array(origin)


def masked_call(origin: Global, args: tuple[Any, ...], at: int) -> Array:
    """Check `_mareconstruct(MaskedArray, ndarray, (0,), 'b')`."""
    names = [arg.name if isinstance(arg, Global) else "" for arg in args[:2]]
    if (
        len(args) != 4
        or names[0] not in _MASKED
        or names[1] != "numpy.ndarray"
        or not _is_zero_shape(args[2])
        or args[3] not in ("b", b"b")
    ):
        raise RefusedError("SL324", "numpy writes _mareconstruct(MaskedArray, ndarray, (0,), 'b')", at, origin.name)
    _use_class(args[0])
    _use_class(args[1])
    return Array(origin)


def _use_class(cls: Global) -> None:
    """Note that an array class was used up by its form: once for every time that it was put on the stack."""
    cls.called += 1
    cls.used |= IMPORT


def _is_zero_shape(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 1 and type(value[0]) is int and value[0] == 0


def array_build(array: Array, state: object, at: int, *, masked: bool) -> None:
    """Check the state of a reconstructed array: (1, shape, dtype, is Fortran, data), masked ones with two more."""
    if array.built:
        raise RefusedError("SL319", "an array's state is set twice", at)
    parts = 7 if masked else 5
    if not isinstance(state, tuple) or len(state) != parts or type(state[0]) is not int or state[0] != 1:
        raise RefusedError("SL324", "an array's state is not as numpy writes it", at)
    dtype = _proven(state[2])
    if dtype is None or not isinstance(state[3], bool):
        raise RefusedError("SL324", "an array's dtype or order is not as numpy writes it", at)
    try:
        shape = _shape(state[1])
        extent = _extent(shape, dtype.itemsize)
        count = _extent(shape, 1)
    except ValueError as error:
        raise RefusedError("SL324", f"an array: {error}", at) from None
    data = state[4]
    if dtype.hasobject:
        if not isinstance(data, AList) or len(data.items) != count:
            raise RefusedError("SL324", "an array of objects whose list has another length than its shape", at)
        data.sealed = True
    elif _length(data) != extent:
        raise RefusedError("SL324", f"an array of {extent} bytes with other data", at)
    else:
        array.contents = _contents(dtype, data)
    if masked:
        _check_mask(dtype, count, state[5], state[6], at)
    array.dtype, array.shape, array.built = dtype, shape, True


def _check_mask(dtype: Any, count: int, mask: object, fill: object, at: int) -> None:
    """Check mask and fill value: forged ones would be read out of bounds, or as pointers."""
    if dtype.names is not None:
        raise RefusedError("SL324", "a masked array of structures", at)
    if _length(mask) != count:
        raise RefusedError("SL324", "a mask of another length than its array", at)
    if fill is None:
        return
    if not isinstance(fill, Array) or not fill.built or fill.shape != () or fill.dtype != dtype:
        raise RefusedError("SL324", "a fill value of another dtype than its array", at)


def scalar_call(origin: Global, args: tuple[Any, ...], at: int) -> str:
    """Check `scalar(dtype, bytes of its item size)`, and return the kind of its dtype, as numpy letters them."""
    dtype = _proven(args[0]) if len(args) == 2 else None
    if dtype is None or dtype.hasobject or _length(args[1]) != dtype.itemsize:
        raise RefusedError("SL324", "numpy writes scalar(dtype, bytes of its item size)", at, origin.name)
    kind: str = dtype.kind
    return kind


def frombuffer_call(origin: Global, args: tuple[Any, ...], at: int) -> Array:
    """Check `_frombuffer(bytes, dtype, shape, 'C' or 'F')`, or with order 'K' and the order of the axes."""
    dtype = _proven(args[1]) if len(args) in (4, 5) else None
    if dtype is None or dtype.hasobject or dtype.itemsize == 0 or not isinstance(args[3], str):
        raise RefusedError("SL324", "numpy writes _frombuffer(bytes, dtype, shape, order)", at, origin.name)
    try:
        shape = _shape(args[2])
        extent = _extent(shape, dtype.itemsize)
    except ValueError as error:
        raise RefusedError("SL324", f"an array: {error}", at, origin.name) from None
    if _length(args[0]) != extent:
        raise RefusedError("SL324", f"an array of {extent} bytes with other data", at, origin.name)
    axes = args[4] if len(args) == 5 else None
    plain = args[3] in ("C", "F") and axes is None
    if not plain and not (args[3] == "K" and _is_permutation(axes, len(shape))):
        raise RefusedError("SL324", "an array's order is odd", at, origin.name)
    array = Array(origin)
    array.dtype, array.shape, array.built = dtype, shape, True
    array.contents = _contents(dtype, args[0])
    return array


def _is_permutation(axes: object, dimensions: int) -> bool:
    if not isinstance(axes, tuple) or len(axes) != dimensions or not all(type(axis) is int for axis in axes):
        return False
    return set(axes) == set(range(dimensions))
