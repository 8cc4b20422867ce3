"""The exact forms in which numpy and joblib write arrays and array scalars; `_dtypes` has those of dtypes.

These names build native memory from what the file says, so each is accepted only in the form that the real
library writes, whatever a policy allows beyond that.  Sources: numpy's `array_reduce` (methods.c),
`numpy.core.numeric._frombuffer`, `numpy.ma.core.MaskedArray.__getstate__`, and joblib's `NumpyArrayWrapper`.
"""

from __future__ import annotations

from typing import Any, Final

from safeload._scan.dtypes import MAX_EXTENT, RECORD, shape_of
from safeload._scan.native.contents import Unclear, Watcher
from safeload._scan.values import (
    AList,
    Array,
    Blob,
    DType,
    Global,
    Long,
    Text,
    attributes,
    describe,
    is_used_up,
    use_class,
)
from safeload.findings import RefusedError

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

# Whoever may call one of these makes it open a file or forge memory: they stand in the forms below and nowhere else.
ARRAY_CLASSES: Final = (
    _RECONSTRUCTED
    | _MASKED
    | {RECORD}
    | {f"numpy.{core}.memmap.memmap" for core in ("core", "_core")}
    | {f"numpy.{core}.multiarray.ndarray" for core in ("core", "_core")}
    | {f"numpy.{core}.records.recarray" for core in ("core", "_core")}
    | {f"numpy.{core}.defchararray.chararray" for core in ("core", "_core")}
)


class WrapperState:
    """What a proven NumpyArrayWrapper says of the bytes that follow it; `length` is -1 where a pickle follows."""

    __slots__ = ("dtype", "length", "padded", "shape", "subclass")

    def __init__(self, subclass: Global, dtype: DType, padded: bool) -> None:
        self.subclass = subclass
        self.dtype = dtype
        self.padded = padded
        self.shape: tuple[int, ...] = ()
        self.length: int = -1

    def set_shape(self, shape: object, at: int, remaining: int) -> None:
        """Check the shape; `remaining` is how many bytes follow at most, -1 if unknown."""
        try:
            self.shape = shape_of(shape)
            length = _extent(self.shape, self.dtype.itemsize)
        except ValueError as error:
            raise RefusedError("SL311", f"an array wrapper is not valid: {error}", at) from None
        if self.dtype.objects:
            return
        if remaining >= 0 and length > remaining:
            raise RefusedError(
                "SL507", f"an array of {length} bytes exceeds the rest of the stream ({remaining} bytes)", at
            )
        self.length = length


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
        raise RefusedError("SL318", "bytes are written as a text that is not latin1", at, "_codecs.encode") from None


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
    if not isinstance(value, Long):
        return value
    data, value.data = value.data, None
    return data


def _contents(dtype: DType, value: object) -> Watcher | None:
    """Return what the bytes of an array say, where that could matter; None also where nobody can tell."""
    data = _data(value)
    kind: Watcher | None = dtype.watcher
    if kind is None:
        return None
    watcher = kind.another()
    if isinstance(data, Unclear):
        return data.settle(watcher)
    if not isinstance(data, bytes):
        return None
    watcher.feed(data)
    return watcher


# --------------------------------------------------------------------------------------------- arrays


def _extent(shape: tuple[int, ...], itemsize: int) -> int:
    """Return how many bytes an array takes, refusing what wraps in 64 bits, as numpy's own product would."""
    extent = itemsize
    nonzero = itemsize
    for size in shape:
        extent *= size
        nonzero *= size or 1
        if nonzero > MAX_EXTENT:
            raise ValueError("the shape exceeds the address space")
    return extent


def _length(value: object) -> int:
    """Return the length of bytes or of a bytearray, -1 for anything else."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Blob):
        return value.length
    return -1


def _proven(value: object) -> DType | None:
    """Return a DType that was proven, None for anything else.

    None for a subarray, too: it is part of a structure, and numpy never lets an array or a scalar be of one.
    """
    if not isinstance(value, DType) or value.real is None or value.subarray:
        return None
    return value


def wrapper_state(state: object, at: int, remaining: int) -> WrapperState:
    """Check a NumpyArrayWrapper's state; `remaining` is how many bytes follow at most, -1 if unknown."""
    found = attributes(state)
    keys = {"subclass", "shape", "order", "dtype", "allow_mmap"}
    if found is None or set(found.names) - {"numpy_array_alignment_bytes"} != keys:
        raise RefusedError("SL311", "an array wrapper does not have the attributes that joblib writes", at)
    subclass, order, allow_mmap = found["subclass"], found["order"], found["allow_mmap"]
    if not isinstance(subclass, Global) or subclass.name not in _SUBCLASSES:
        raise RefusedError(
            "SL311", f"the class of an array wrapper is {describe(subclass)}, which is not an array class", at
        )
    use_class(subclass)
    if order not in ("C", "F") or not isinstance(order, str) or not isinstance(allow_mmap, bool):
        raise RefusedError("SL311", "an array wrapper's order or allow_mmap is not valid", at)
    proven = _proven(found["dtype"])
    if proven is None:
        raise RefusedError("SL311", "an array wrapper has no dtype", at)
    # joblib before 1.2 wrote no such attribute, and writes None where the position is not known.
    alignment = found.get("numpy_array_alignment_bytes")
    if alignment is not None and (type(alignment) is not int or alignment != 16):
        raise RefusedError("SL311", "an array wrapper's alignment is not joblib's", at)
    if proven.itemsize == 0:
        raise RefusedError("SL311", "the items of an array have no size", at)
    if proven.objects and allow_mmap:
        raise RefusedError("SL311", "an array of objects allows memory mapping", at)
    made = WrapperState(subclass, proven, alignment is not None)
    made.set_shape(found["shape"], at, remaining)
    return made


def reconstruct_call(origin: Global, args: tuple[Any, ...], at: int) -> Array:
    """Check `_reconstruct(subclass, (0,), b'b')`."""
    name = args[0].name if args and isinstance(args[0], Global) else ""
    # Below protocol 3, bytes are written as a call of _codecs.encode, which is proven to give bytes.
    if len(args) != 3 or name not in _RECONSTRUCTED or not _is_zero_shape(args[1]) or args[2] != b"b":
        raise RefusedError("SL324", "numpy writes _reconstruct(array class, (0,), b'b')", at, origin.name)
    use_class(args[0])
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
    use_class(args[0])
    use_class(args[1])
    return Array(origin)


def _is_zero_shape(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 1 and type(value[0]) is int and value[0] == 0


def array_build(array: Array, state: object, at: int, *, masked: bool) -> None:
    """Check the state of a reconstructed array: (1, shape, dtype, is Fortran, data), masked ones with two more."""
    if array.built:
        raise RefusedError("SL319", "an array's state is set twice", at)
    parts = 7 if masked else 5
    if not isinstance(state, tuple) or len(state) != parts or type(state[0]) is not int or state[0] != 1:
        raise RefusedError("SL324", "an array's state is not as numpy writes it", at)
    proven = _proven(state[2])
    if proven is None or not isinstance(state[3], bool):
        raise RefusedError("SL324", "an array's dtype or order is not as numpy writes it", at)
    dtype = proven.real
    try:
        shape = shape_of(state[1])
        extent = _extent(shape, proven.itemsize)
        count = _extent(shape, 1)
    except ValueError as error:
        raise RefusedError("SL324", f"an array is not valid: {error}", at) from None
    data = state[4]
    if proven.objects:
        # Numpy reads as many as the shape says, whatever the list's length.
        if not isinstance(data, AList) or is_used_up(data) or len(data.items) != count:
            raise RefusedError("SL324", "the list of an object array does not have the length of its shape", at)
        data.sealed = True
    elif _length(data) != extent:
        raise RefusedError("SL324", f"the data of an array does not have its {extent} bytes", at)
    else:
        array.contents = _contents(proven, data)
    if masked:
        _check_mask(dtype, count, state[5], state[6], at)
    array.dtype, array.shape, array.built = dtype, shape, True


def _check_mask(dtype: Any, count: int, mask: object, fill: object, at: int) -> None:
    """Check mask and fill value: forged ones would be read out of bounds, or as pointers."""
    if dtype.names is not None:
        raise RefusedError("SL324", "a masked array has structures as items", at)
    if _length(mask) != count:
        raise RefusedError("SL324", "a mask does not have the length of its array", at)
    if fill is None:
        return
    if not isinstance(fill, Array) or not fill.built or fill.shape != () or fill.dtype != dtype:
        raise RefusedError("SL324", "a fill value does not have the dtype of its array", at)


def scalar_call(origin: Global, args: tuple[Any, ...], at: int) -> str:
    """Check `scalar(dtype, bytes of its item size)`, and return the kind of its dtype, as numpy letters them."""
    proven = _proven(args[0]) if len(args) == 2 else None
    if proven is None or proven.objects or _length(args[1]) != proven.itemsize:
        raise RefusedError("SL324", "numpy writes scalar(dtype, bytes of its item size)", at, origin.name)
    kind: str = proven.real.kind
    return kind


def frombuffer_call(origin: Global, args: tuple[Any, ...], at: int) -> Array:
    """Check `_frombuffer(bytes, dtype, shape, 'C' or 'F')`, or with order 'K' and the order of the axes."""
    proven = _proven(args[1]) if len(args) in (4, 5) else None
    if proven is None or proven.objects or proven.itemsize == 0 or not isinstance(args[3], str):
        raise RefusedError("SL324", "numpy writes _frombuffer(bytes, dtype, shape, order)", at, origin.name)
    try:
        shape = shape_of(args[2])
        extent = _extent(shape, proven.itemsize)
    except ValueError as error:
        raise RefusedError("SL324", f"an array is not valid: {error}", at, origin.name) from None
    if _length(args[0]) != extent:
        raise RefusedError("SL324", f"the data of an array does not have its {extent} bytes", at, origin.name)
    axes = args[4] if len(args) == 5 else None
    plain = args[3] in ("C", "F") and axes is None
    if not plain and not (args[3] == "K" and _is_permutation(axes, len(shape))):
        raise RefusedError("SL324", "an array's order is not valid", at, origin.name)
    array = Array(origin)
    array.dtype, array.shape, array.built = proven.real, shape, True
    array.contents = _contents(proven, args[0])
    return array


def _is_permutation(axes: object, dimensions: int) -> bool:
    if not isinstance(axes, tuple) or len(axes) != dimensions or not all(type(axis) is int for axis in axes):
        return False
    return set(axes) == set(range(dimensions))
