"""Data of Arrow, as frames and columns keep it: native code believes what it says of types, lengths and offsets."""

from __future__ import annotations

from typing import Any, Final

from safeload._scan.native.checks import Context, OddError, need, whole
from safeload._scan.native.contents import ArrowStream, Integers, Unclear, integers_in
from safeload._scan.values import AList, Blob, Check, Instance

A_BUFFER: Final = 800  # bytes that is kept of one
# Bits of an item, by the first letters of the type's name.
_BITS: Final = (
    ("bool", 1), ("int8", 8), ("uint8", 8), ("halffloat", 16), ("int16", 16), ("uint16", 16), ("int32", 32),
    ("uint32", 32), ("float64", 64), ("float", 32), ("date32", 32), ("double", 64), ("int64", 64), ("uint64", 64),
    ("date64", 64),
)  # fmt: skip
_TIMESTAMP: Final = "a time stamp"  # in place of the name of a type: no name that is known begins like this
_OFFSETS: Final = {"string": 4, "large_string": 8}


def stream(context: Context) -> None:
    """Refuse columns of an extension type: of polars' own, the data says where in memory they are."""
    state = context.state
    if isinstance(state, AList):
        return  # of series, as before 1.0
    data = _data(state)
    found = data.stream if isinstance(data, Unclear) else None
    if isinstance(data, bytes):
        found = ArrowStream()
        found.feed(data)
    if found is None:
        raise OddError("its bytes are not written as polars writes them")
    need(found.begins, "its bytes are not a stream of Arrow data (polars 1.18 and 1.19 wrote such bytes)")
    need(not found.extends, "it has a column of an extension type, which polars could read at any address")


def buffer(made: Instance) -> None:
    """Keep how long a buffer is, and what it says if it is one of offsets."""
    args = made.native
    if not (isinstance(args, tuple) and len(args) == 1 and isinstance(args[0], (bytes, Blob))):
        raise OddError("a buffer is not made of plain bytes")
    length: int = len(args[0]) if isinstance(args[0], bytes) else args[0].length
    data = _data(args[0])
    found: list[Integers] = []
    if isinstance(data, bytes):
        found = integers_in(data)
    elif isinstance(data, Unclear):
        found = data.integers()
    made.native = ("buffer", length, found)


def array(made: Instance) -> None:
    """Hold buffers to the type, length and offsets of an array: Arrow reads as much of them as these say."""
    args = made.native
    parts = args[0] if isinstance(args, tuple) and len(args) == 1 else None
    if not (isinstance(parts, tuple) and len(parts) == 7 and isinstance(parts[4], AList)):
        raise OddError("it is not written as pyarrow writes an array")
    kind = _kind(parts[0])
    length, nulls, offset = (whole(part, "one of its counts") for part in parts[1:4])
    need(
        length >= 0 and offset >= 0 and -1 <= nulls <= length,
        f"it has {nulls} missing items of {length}, from {offset} on",
    )
    end = offset + length
    buffers = parts[4].items
    need(len(buffers) == (3 if kind in _OFFSETS else 2), f"it has {len(buffers)} buffers")
    if buffers[0] is None:
        need(nulls <= 0, "it has missing items, and no mask of them")
    else:
        need(8 * _length(buffers[0]) >= end, "its mask of missing items is too short")
    if kind in _OFFSETS:
        _check_offsets(buffers[1], _OFFSETS[kind], end, _length(buffers[2]))
        return
    bits = 64 if kind == _TIMESTAMP else next((bits for name, bits in _BITS if kind.startswith(name)), 0)
    need(bits > 0, "its type is not known")
    need(8 * _length(buffers[1]) >= end * bits, "its data is too short")


def _kind(value: object) -> str:
    args = value.native if isinstance(value, Instance) and value.origin.check in (TYPE, TIMESTAMP) else None
    if not (isinstance(args, tuple) and args and isinstance(args[0], str)):
        raise OddError("its type is not complete")
    return _TIMESTAMP if isinstance(value, Instance) and value.origin.check is TIMESTAMP else args[0]


def _check_offsets(value: object, size: int, end: int, length: int) -> None:
    if not end and not _length(value):
        return
    native = value.native if isinstance(value, Instance) and value.origin.check is BUFFER else None
    for seen in native[2] if isinstance(native, tuple) else ():
        if seen.dtype.itemsize == size:
            need(seen.least >= 0 and seen.rising and seen.greatest <= length, f"its offsets do not rise up to {length}")
            need(seen.count > end, f"it has {seen.count} offsets for {end} texts")
            return
    raise OddError("its offsets are not integers that can be checked")


def _length(value: object) -> int:
    """Return how many bytes a buffer has; none where there is no buffer."""
    if value is None:
        return 0
    native = value.native if isinstance(value, Instance) and value.origin.check is BUFFER else None
    if not isinstance(native, tuple):
        raise OddError("one of its buffers is not complete")
    length: int = native[1]
    return length


def _data(value: object) -> Any:
    return value.data if isinstance(value, Blob) else value


STREAM: Final[Check] = Check(stream, arrow=True)
BUFFER: Final[Check] = Check(None, made=buffer)
ARRAY: Final[Check] = Check(None, made=array)
TYPE: Final[Check] = Check(None)  # a type by its name
TIMESTAMP: Final[Check] = Check(None)  # a type of time stamps, by their unit
