"""Dtypes in the exact form in which numpy writes them: its `arraydescr_reduce` (descriptor.c)."""

from __future__ import annotations

import re
from typing import Any, Final

from safeload._scan.native.contents import watcher_of
from safeload._scan.values import DType, Global, attributes, shown, use_class
from safeload.findings import RefusedError

# What the items of a recarray are: numpy writes the class itself where the code of another dtype stands.
RECORD: Final = "numpy.record"
_MAX_DTYPE_DEPTH: Final = 8
_MAX_FIELDS: Final = 10_000
_MAX_LEAVES: Final = 20_000
_MAX_DIMENSIONS: Final = 64
_SIMPLE: Final = re.compile(r"b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32)|O8", re.ASCII)
_SIZED: Final = re.compile(r"[SUV](?:0|[1-9][0-9]{0,9})", re.ASCII)
_TIMED: Final = re.compile(r"[Mm]8", re.ASCII)
_ALIGNED_STRUCT: Final = 0x80  # NPY_ALIGNED_STRUCT of numpy's dtype flags
_UNITS: Final = frozenset(b"Y M W D h m s ms us ns ps fs as generic".split())
MAX_EXTENT: Final = (1 << 62) - 1  # more would be a slow integer in compiled code


def dtype_call(origin: Global, args: tuple[Any, ...], at: int) -> DType:
    """Check `numpy.dtype(code, False, True)`; the code can be the class numpy.record itself."""
    code = args[0] if len(args) == 3 and _is_flag(args[1], False) and _is_flag(args[2], True) else None
    if isinstance(code, Global) and code.name == RECORD:
        use_class(code)
        return DType(origin, RECORD)
    if not isinstance(code, str):
        raise RefusedError("SL312", "numpy writes a dtype as dtype(code, False, True)", at, "numpy.dtype")
    if not (_SIMPLE.fullmatch(code) or _SIZED.fullmatch(code) or _TIMED.fullmatch(code)):
        raise RefusedError("SL312", f"numpy does not write the dtype code {shown(code)}", at, "numpy.dtype")
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
        message = f"the state of dtype {shown(dtype.code)} is not as numpy writes it: {error}"
        raise RefusedError(code, message, at, "numpy.dtype") from None
    dtype.real = real
    dtype.itemsize = real.itemsize
    dtype.objects = real.hasobject
    dtype.subarray = real.subdtype is not None
    dtype.watcher = watcher_of(real)


def _real_dtype(dtype: DType, state: object) -> Any:
    import numpy as np_typed  # noqa: ICN001

    np: Any = np_typed  # dtypes of any kind, whose overloads a type checker need not choose from
    if not isinstance(state, tuple) or len(state) not in (8, 9):
        raise ValueError("it is not a tuple of eight or nine parts")
    code = dtype.code
    version, order, subarray, names, fields, itemsize, alignment, flags = state[:8]
    if order not in ("<", ">", "|") or type(flags) is not int or not -128 <= flags < 1 << 16:
        raise ValueError("its byte order or flags are not valid")
    if subarray is not None:
        real = np.dtype(_subarray(dtype, subarray))
    elif names is not None:
        real = np.dtype(_struct(dtype, names, fields, itemsize), align=bool(flags & _ALIGNED_STRUCT))
        if code == RECORD:
            real = np.dtype((np.record, real))
    elif code == RECORD:
        raise ValueError("a record has no fields")
    elif _TIMED.fullmatch(code):
        real = np.dtype(code + _unit(state))
    else:
        real = np.dtype(code)
    if order == ">":
        real = real.newbyteorder(">")
    _, arguments, written = real.__reduce__()
    if arguments != (np.record if code == RECORD else code, False, True):
        raise ValueError(f"numpy writes this dtype as {arguments[0]!r}")
    # Fields and subarrays were taken from the state itself; all the numbers have to be numpy's own.
    given = (version, order, names, itemsize, alignment, _unsigned(flags))
    canonical = (written[0], written[1], written[3], written[5], written[6], _unsigned(written[7]))
    if (fields is None) != (names is None):
        raise ValueError("it has only one of fields and names")
    if len(state) != len(written) or given != canonical or not all(map(_same_type, given, canonical)):
        raise ValueError("its parts and its code contradict each other")
    return real


def _unsigned(flags: int) -> int:
    """Before numpy 2 the flags were one signed byte; later versions read them so, too."""
    return flags + 256 if flags < 0 else flags


def _same_type(given: object, canonical: object) -> bool:
    return type(given) is type(canonical)


def _subarray(dtype: DType, subarray: object) -> tuple[Any, tuple[int, ...]]:
    if not isinstance(subarray, tuple) or len(subarray) != 2:
        raise ValueError("its subarray is not valid")
    base, shape = subarray
    if not isinstance(base, DType) or base.real is None:
        raise ValueError("the subarray's base is not a dtype")
    _count(dtype, base)
    return base.real, shape_of(shape)


def _count(dtype: DType, part: DType) -> None:
    """Count a part of a dtype: numpy visits each as often as it stands there, and parts may be shared."""
    dtype.depth = max(dtype.depth, part.depth + 1)
    dtype.leaves += part.leaves
    if dtype.leaves > _MAX_LEAVES or dtype.depth > _MAX_DTYPE_DEPTH:
        raise ValueError("it is nested too deep or has too many fields")


def _struct(dtype: DType, names: object, fields: object, itemsize: object) -> dict[str, Any]:
    known = attributes(fields)
    if not isinstance(names, tuple) or known is None or len(known.names) != len(names) or len(names) > _MAX_FIELDS:
        raise ValueError("its field names are not valid")
    if type(itemsize) is not int:
        raise ValueError("its item size is not an integer")
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
        # numpy adds the two as 32-bit integers, so it takes an offset of nearly 2 GB for one before the end.
        if offset < 0 or offset + base.real.itemsize > itemsize:
            raise ValueError("a field ends outside the item")
        _count(dtype, base)
        formats.append(base.real)
        offsets.append(offset)
    return {"names": list(names), "formats": formats, "offsets": offsets, "itemsize": itemsize}


def _unit(state: tuple[Any, ...]) -> str:
    metadata = state[8] if len(state) == 9 else None
    if not isinstance(metadata, tuple) or len(metadata) != 2:
        raise ValueError("its time unit is not valid")
    user, unit = metadata
    # numpy before 2.0 writes an empty dict where later ones write None.
    extra = attributes(user)
    if user is not None and (extra is None or extra.names):
        raise ValueError("it has metadata")
    if not isinstance(unit, tuple) or len(unit) != 4 or not isinstance(unit[0], bytes) or unit[0] not in _UNITS:
        raise ValueError("its time unit is not valid")
    name: bytes = unit[0]
    number, denominator, events = unit[1:]
    if type(number) is not int or type(denominator) is not int or type(events) is not int:
        raise ValueError("its time unit is not valid")
    if not 0 < number < 1 << 31 or denominator != 1 or events != 1 or (name == b"generic" and number != 1):
        raise ValueError("its time unit is not valid")
    if name == b"generic":
        return ""
    return f"[{number}{name.decode('ascii')}]"


def shape_of(shape: object) -> tuple[int, ...]:
    """Return a shape, if it is one: a tuple of plain sizes.

    Raises: ValueError.
    """
    if not isinstance(shape, tuple) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError("the shape is not a tuple of up to 64 sizes")
    for size in shape:
        if type(size) is not int or not 0 <= size <= MAX_EXTENT:
            raise ValueError("the shape is not a tuple of sizes")
    return shape
