"""What an honest pickler never writes is refused, with its code: one case for each known way to mislead a scanner."""

from __future__ import annotations

import io
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pickles import oracle
from pickles.opcodes import (
    DTYPE,
    FROMBUFFER,
    MASKED,
    MASKED_ARRAY,
    NDARRAY,
    RECONSTRUCT,
    SCALAR,
    STOP,
    WRAPPER,
    array,
    build,
    call,
    codes,
    dtype,
    frame,
    get,
    glob,
    line_glob,
    mapping,
    new,
    number,
    old_stream,
    padded,
    proto,
    put,
    raw,
    real,
    scan,
    stream,
    text,
    tup,
    value,
    wrapper,
)

RUN = call(glob("posix", "system"), "touch marker")
LINEAR = glob("sklearn.linear_model._base", "LinearRegression")
BUNCH = new(glob("sklearn.utils._bunch", "Bunch"))
ODICT = call(glob("collections", "OrderedDict"))
FLOATS = bytes(16)  # the array of `wrapper()`
LONG = 200_000

_events: list[str] = []
_watching = False


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if _watching and event in ("pickle.find_class", "os.system", "subprocess.Popen"):
        _events.append(event)


sys.addaudithook(_watch)


def with_array(before: bytes, data: bytes = FLOATS, *, version: int = 4) -> bytes:
    """A stream of one wrapper, its array, and STOP."""
    return padded(proto(version) + before, data) + STOP


@pytest.fixture
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Fail if anything that a stream names was looked up or run."""
    global _watching
    monkeypatch.chdir(tmp_path)
    modules = set(sys.modules)
    _events.clear()
    _watching = True
    yield
    _watching = False
    assert not _events
    assert not Path("marker").exists()
    assert "antigravity" not in set(sys.modules) - modules


def refused(code: str, data: bytes, policy: str = "sklearn", **limits: int) -> None:
    trace = scan(data, policy, record=False, **limits)
    assert trace.findings
    first = trace.findings[0]
    assert first.code == code, first
    assert first.offset is not None
    assert 0 <= first.offset <= len(data)


def cases(table: dict[str, tuple[str, bytes]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("code", "data"), table.values(), ids=table.keys())


HONEST = {
    "wrapper": with_array(wrapper()),
    "wrapper in a frame": padded(proto(4) + frame(wrapper()), FLOATS) + STOP,
    "wrapper before joblib 1.2": proto(4) + wrapper(leave=("numpy_array_alignment_bytes",)) + FLOATS + STOP,
    "wrapper of a pipe": proto(4) + wrapper(numpy_array_alignment_bytes=None) + FLOATS + STOP,
    "array": stream(array()),
    "object array": stream(array((1,), dtype("O8"), [None])),
    "scalar": stream(call(SCALAR, dtype(), raw(bytes(8)))),
    "frombuffer": stream(call(FROMBUFFER, raw(bytes(8)), dtype(), (1,), "C")),
    "masked": stream(
        build(
            call(MASKED, MASKED_ARRAY, NDARRAY, (0,), raw(b"b")),
            (1, (1,), dtype(), False, raw(bytes(8)), raw(b"\0"), None),
        )
    ),
    "estimator": stream(build(new(LINEAR), {"coef_": 1.5})),
    "bunch": stream(BUNCH + text("a") + number(1) + pickle.SETITEM),
    "protocol 0": b"(lp0\nI1\naL2L\naF1.5\naVx\na.",
    "protocol 2 set": stream(line_glob("__builtin__", "set") + tup([1]) + pickle.REDUCE, version=2),
    "nested": proto(4) + wrapper(shape=(1,), dtype=dtype("O8"), allow_mmap=False)
    + stream(frame(array((1,), dtype("O8"), [None]) + STOP), version=5)[:-1] + STOP,
}  # fmt: skip


@pytest.mark.parametrize("data", HONEST.values(), ids=HONEST.keys())
def test_the_honest_forms_are_allowed(data: bytes, nothing_runs: None) -> None:
    """Otherwise every refusal below could be for another reason than it says."""
    trace = scan(data)
    assert not trace.findings
    assert trace.end == len(data)


# ------------------------------------------------------------------------------------------------ frames

_body = wrapper()
FRAMES = {
    # The array's bytes are read from after the frame, and what follows BUILD in the frame runs as opcodes.
    "a frame goes on past an array": ("SL305", padded(proto(4) + frame(_body + RUN + pickle.TUPLE2), FLOATS) + STOP),
    "a frame continues past the end": ("SL305", proto(4) + frame(pickle.NONE + STOP + RUN)),
    "a frame in a frame": ("SL305", proto(4) + frame(frame(pickle.NONE + STOP))),
    "a frame ends inside an opcode": ("SL305", proto(4) + frame(text("abc"), size=4) + STOP),
    "a frame ends inside a name": ("SL305", proto(4) + frame(glob("os", "x"), size=8) + STOP),
    "a frame before protocol 4": ("SL305", proto(3) + frame(pickle.NONE + STOP)),
    "a frame longer than the file": ("SL507", proto(4) + frame(pickle.NONE + STOP, size=100)),
    "a frame as long as no file": ("SL507", proto(4) + frame(pickle.NONE + STOP, size=(1 << 62) - 11)),
    "a frame of a negative length": ("SL507", proto(4) + frame(pickle.NONE + STOP, size=(1 << 64) - 1)),
    "a frame cut short": ("SL301", proto(4) + pickle.FRAME + b"\1\0"),
}


@cases(FRAMES)
def test_frames(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, data)


def test_a_frame_as_long_as_no_file_where_the_size_is_not_known(nothing_runs: None) -> None:
    """The end of the frame must not be the number that stands for no frame."""
    from safeload._scan import Limits, scan_stream
    from safeload._scan.sources import FileSource
    from safeload.policy import Policy

    class Unpacked(FileSource):
        size = -1

        def __init__(self, data: bytes) -> None:
            super().__init__(io.BytesIO(data), -1)

    for size in ((1 << 62) - 11, 1 << 62, (1 << 63) - 11, (1 << 64) - 1, 1 << 59):
        source = Unpacked(proto(4) + frame(pickle.NONE + STOP, size=size))
        trace = scan_stream(source, Policy.load("core"), Limits())
        assert trace.findings, size


# --------------------------------------------------------------------------------------- nested pickles

_object_wrapper = wrapper(shape=(1,), dtype=dtype("O8"), allow_mmap=False)
_inner = array((1,), dtype("O8"), [None])


def nested(inner: bytes, before: bytes = _object_wrapper) -> bytes:
    return proto(4) + before + inner + STOP


_masked = build(
    call(MASKED, MASKED_ARRAY, NDARRAY, (0,), raw(b"b")), (1, (1,), dtype("O8"), False, [None], raw(b"\0"), None)
)
NESTED = {
    "without PROTO": ("SL314", nested(_inner + STOP)),
    "of protocol 4": ("SL314", nested(stream(_inner, version=4))),
    # The Python unpickler drops the rest of the frame; the C one leaves it for the outer pickle to run.
    "a frame longer than its STOP": ("SL305", nested(proto(5) + frame(_inner + STOP + RUN))),
    "holds a wrapper": ("SL314", nested(stream(wrapper(), version=5))),
    "is no array": ("SL314", nested(stream(pickle.NONE, version=5))),
    "is an array of another shape": ("SL314", nested(stream(array((2,), dtype("O8"), [None, None]), version=5))),
    "is an array of another dtype": ("SL314", nested(stream(array(), version=5))),
    "is a masked array": ("SL314", nested(stream(_masked, version=5))),
    "is an array without its state": ("SL319", nested(stream(call(RECONSTRUCT, NDARRAY, (0,), raw(b"b")), version=5))),
    "reads the memo of the outer one": ("SL307", nested(stream(get(0), version=5),
        pickle.NONE + put(0) + _object_wrapper)),
    "leaves a wrapper unbuilt": ("SL319", nested(stream(WRAPPER + tup() + pickle.NEWOBJ + _inner + pickle.TUPLE2,
        version=5))),
    # joblib 1.6 reads it with the outer find_class and so maps the name, older ones do not.
    "a Python 2 name below an outer protocol 2": (
        "SL308",
        proto(2)
        + build(
            line_glob("joblib.numpy_pickle", "NumpyArrayWrapper") + tup() + pickle.NEWOBJ,
            {
                "subclass": line_glob("numpy", "ndarray"), "shape": (1,), "order": "C", "allow_mmap": False,
                "dtype": build(line_glob("numpy", "dtype") + tup("O8", False, True) + pickle.REDUCE,
                               (3, "|", None, None, None, -1, -1, 63)),
            },
        )
        + stream(array((1,), dtype("O8"), [glob("__builtin__", "int")]), version=5)
        + STOP,
    ),
}  # fmt: skip


@cases(NESTED)
def test_nested_pickles(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, data)


# ------------------------------------------------------------------------- padding, wrappers, their making

_w = proto(4) + wrapper()
_pad = 16 - (len(_w) + 1) % 16
PADDING = {
    "longer than joblib's": ("SL313", _w + bytes([_pad + 16]) + b"\xff" * (_pad + 16) + FLOATS + STOP),
    "none, said so": ("SL313", _w + b"\0" + FLOATS + STOP),
    "opcodes instead of 0xff": ("SL313", _w + bytes([_pad]) + b"N" * _pad + FLOATS + STOP),
    "cut short": ("SL507", padded(proto(4) + wrapper(shape=(0,)), b"")[:-1]),
    # With False and 0 joblib reads the length byte all the same.
    "alignment False": ("SL311", proto(4) + wrapper(numpy_array_alignment_bytes=False) + FLOATS + STOP),
    "alignment 0": ("SL311", proto(4) + wrapper(numpy_array_alignment_bytes=0) + FLOATS + STOP),
    "alignment 32": ("SL311", proto(4) + wrapper(numpy_array_alignment_bytes=32) + FLOATS + STOP),
}


@cases(PADDING)
def test_padding(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, data)


_void0 = build(call(DTYPE, "V0", False, True), (3, "|", None, None, None, 0, 1, 0))
_fake_dtype = build(new(LINEAR), {"itemsize": 8, "hasobject": False})
_huge = (1 << 31, 1 << 31, 1 << 31)
WRAPPERS = {
    "shape a list": ("SL311", wrapper(shape=[2])),
    "shape of a range": ("SL311", wrapper(shape=call(glob("builtins", "range"), 0, 1, 1))),
    "shape of numpy's integers": ("SL311", wrapper(shape=(call(SCALAR, dtype("i8"), raw(bytes(8))),))),
    "shape of booleans": ("SL311", wrapper(shape=(True,))),
    "shape negative": ("SL311", wrapper(shape=(-1,))),
    "shape negative twice": ("SL311", wrapper(shape=(-1, -2))),
    "shape whose product wraps": ("SL311", wrapper(shape=_huge)),
    "shape whose product wraps beside a zero": ("SL311", wrapper(shape=(*_huge, 0))),
    "shape of 65 dimensions": ("SL311", wrapper(shape=(1,) * 65)),
    "more than is there": ("SL507", wrapper(shape=(1 << 40,))),
    "state with slots": ("SL311", build(new(WRAPPER), (None, {"shape": (2,)}))),
    "no state": ("SL311", build(new(WRAPPER), None)),
    "state an empty dict": ("SL311", build(new(WRAPPER), {})),
    "an attribute twice": ("SL311", wrapper(more=[("shape", (1,))])),
    "an attribute too many": ("SL311", wrapper(more=[("read_array", 1)])),
    "a method of its own": ("SL311", wrapper(more=[("safe_get_numpy_array_alignment_bytes", LINEAR)])),
    "an attribute too few": ("SL311", wrapper(leave=("order",))),
    "an attribute that is no str": ("SL311", wrapper(more=[(1, 1)])),
    "order K": ("SL311", wrapper(order="K")),
    "order no str": ("SL311", wrapper(order=0)),
    "allow_mmap a number": ("SL311", wrapper(allow_mmap=1)),
    # Mapped, the objects would be pointers from the file.
    "objects with allow_mmap": ("SL311", wrapper(dtype=dtype("O8"), allow_mmap=True)),
    "subclass a function": ("SL311", wrapper(subclass=glob("posix", "system"))),
    "subclass a str": ("SL311", wrapper(subclass="ndarray")),
    "dtype a fake": ("SL311", wrapper(dtype=_fake_dtype)),
    "dtype a str": ("SL311", wrapper(dtype="<f8")),
    "dtype without its state": ("SL311", wrapper(dtype=call(DTYPE, "f8", False, True))),
    "dtype of no size": ("SL311", wrapper(dtype=_void0)),
    # The memo keeps the wrapper, and not the array that takes its place on the stack.
    "made once and built twice": (
        "SL311", wrapper(made=new(WRAPPER) + put(0), numpy_array_alignment_bytes=None)
        + FLOATS + build(get(0), {}),
    ),
    "by REDUCE": ("SL318", wrapper(made=call(WRAPPER))),
    "by REDUCE with arguments": ("SL318", wrapper(made=call(WRAPPER, NDARRAY, (2,), "C", dtype()))),
    "by NEWOBJ with arguments": ("SL318", wrapper(made=new(WRAPPER, 1))),
    "by NEWOBJ_EX": ("SL318", wrapper(made=WRAPPER + tup() + mapping({}) + pickle.NEWOBJ_EX)),
    "one dict for two wrappers": (
        "SL311",
        build(new(WRAPPER), wrapper(numpy_array_alignment_bytes=None)[len(new(WRAPPER)) : -1] + put(0))
        + FLOATS + new(WRAPPER) + get(0) + pickle.BUILD,
    ),
    "a dict that changes afterwards": (
        "SL311",
        build(new(WRAPPER), wrapper(numpy_array_alignment_bytes=None)[len(new(WRAPPER)) : -1] + put(0))
        + FLOATS + get(0) + text("shape") + value((9,)) + pickle.SETITEM + pickle.TUPLE2,
    ),
    # These two open the file that the pickle names, with allow_pickle=True.
    "the old NDArrayWrapper": ("SL315", new(glob("joblib.numpy_pickle", "NDArrayWrapper"))),
    "the old ZNDArrayWrapper": ("SL315", new(glob("joblib.numpy_pickle", "ZNDArrayWrapper"))),
    "the old one where it is at home": ("SL315", new(glob("joblib.numpy_pickle_compat", "NDArrayWrapper"))),
}  # fmt: skip


@cases(WRAPPERS)
def test_array_wrappers(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, padded(proto(4) + data, FLOATS) + STOP)


def test_an_array_wrapper_that_is_never_built(nothing_runs: None) -> None:
    refused("SL319", stream(new(WRAPPER)))
    refused("SL319", stream(new(WRAPPER), pickle.TUPLE1))


# ------------------------------------------------------------------------------------------------ dtypes


def struct_dtype(
    names: Any, fields: Any, size: int, *, flags: int = 0, align: int = 1, sub: Any = None, order: str = "|"
) -> bytes:
    return build(call(DTYPE, f"V{size}", False, True), (3, order, sub, names, fields, size, align, flags))


def deep_dtype(levels: int) -> bytes:
    made = dtype("u1")
    for _ in range(levels):
        made = struct_dtype(("a",), {"a": (made, 0)}, 1, flags=16)
    return made


def wide_dtype(levels: int, fan: int) -> bytes:
    """Few bytes that unfold to `fan ** levels` fields, because every level shares the one below."""
    names = tuple(f"f{i}" for i in range(fan))
    made = dtype("u1") + put(0)
    for level in range(levels):
        fields = {name: (made if name == "f0" else get(level), 0) for name in names}
        made = struct_dtype(names, fields, 1, flags=16) + put(level + 1)
    return made


_f8 = (3, "<", None, None, None, -1, -1, 0)
DTYPES = {
    "item size against the code": ("SL312", dtype("f8", (3, "<", None, None, None, 800, -1, 0))),
    "alignment against the code": ("SL312", dtype("f8", (3, "<", None, None, None, -1, 8, 0))),
    # Raw bytes would be taken for pointers to objects, or objects copied without a reference.
    "object flags on numbers": ("SL312", dtype("i8", (3, "<", None, None, None, -1, -1, 63))),
    "no object flags on objects": ("SL312", dtype("O8", (3, "|", None, None, None, -1, -1, 0))),
    "flags as a bool": ("SL312", dtype("u1", (3, "|", None, None, None, -1, -1, False))),
    "another version": ("SL312", dtype("f8", (2, "<", None, None, None, -1, -1, 0))),
    "native byte order": ("SL312", dtype("f8", (3, "=", None, None, None, -1, -1, 0))),
    "byte order of bytes": ("SL312", dtype("u1", (3, "<", None, None, None, -1, -1, 0))),
    "a state too short": ("SL312", dtype("f8", _f8[:7])),
    "metadata": ("SL312", dtype("f8", (*_f8, {}))),
    "only one of fields and names": ("SL312", dtype("f8", (3, "<", None, None, {"a": (dtype("O8"), 0)}, -1, -1, 0))),
    "names without fields": ("SL312", dtype("f8", (3, "<", None, ("a",), None, 8, 1, 0))),
    "code of objects, spelt otherwise": ("SL312", call(DTYPE, "|O", False, True)),
    "code as a type": ("SL312", call(DTYPE, glob("builtins", "object"), False, True)),
    "code of several": ("SL312", call(DTYPE, "f8,O", False, True)),
    "code of a unit": ("SL312", call(DTYPE, "M8[ns]", False, True)),
    "code of a strings dtype": ("SL312", call(DTYPE, "T16", False, True)),
    "not copied": ("SL312", call(DTYPE, "f8", False, False)),
    "aligned": ("SL312", call(DTYPE, "f8", True, True)),
    "numbers that are no booleans": ("SL312", call(DTYPE, "f8", 0, 2)),
    "a number that aligns": ("SL312", call(DTYPE, "f8", 1, 1)),
    "a number that does not copy": ("SL312", call(DTYPE, "f8", 0, 0)),
    "a state twice": ("SL319", build(dtype(), _f8)),
    "never a state": ("SL319", call(DTYPE, "f8", False, True)),
    "NEWOBJ": ("SL318", new(DTYPE, "f8")),
    "a field beyond its end": ("SL312", struct_dtype(("a",), {"a": (dtype(), 8)}, 8, flags=16)),
    "a field whose end wraps": ("SL312", struct_dtype(("a",), {"a": (dtype(), (1 << 31) - 1)}, 8, flags=16)),
    "a field whose end wraps after others": (
        "SL312", struct_dtype(("a", "b"), {"a": (dtype(), 0), "b": (dtype(), (1 << 31) - 8)}, 16, flags=16),
    ),
    "a field before its start": ("SL312", struct_dtype(("a",), {"a": (dtype(), -8)}, 8, flags=16)),
    "an offset as a bool": ("SL312", struct_dtype(("a",), {"a": (dtype("u1"), False)}, 1, flags=16)),
    "numbers over objects": (
        "SL312", struct_dtype(("a", "b"), {"a": (dtype("O8"), 0), "b": (dtype("i8"), 0)}, 8, flags=27),
    ),
    "objects in a struct without the flag": ("SL312", struct_dtype(("a",), {"a": (dtype("O8"), 0)}, 8, flags=16)),
    "a title": ("SL312", struct_dtype(("a",), {"a": (dtype(), 0, "t")}, 8, flags=16)),
    "a field of an unproven dtype": (
        "SL312", struct_dtype(("a",), {"a": (call(DTYPE, "f8", False, True), 0)}, 8, flags=16),
    ),
    "a subarray of nothing": ("SL312", struct_dtype(None, None, 8, sub=(1, (1,)))),
    "a subarray of a negative shape": ("SL312", struct_dtype(None, None, 8, sub=(dtype(), (-1,)))),
    "a unit that is none": ("SL312", dtype("M8", (4, "<", None, None, None, -1, -1, 0, (None, (raw(b"x"), 1, 1, 1))))),
    "a unit of no length": (
        "SL312", build(call(DTYPE, "M8", False, True),
                       (4, "<", None, None, None, -1, -1, 0, (None, (raw(b"ns"), 0, 1, 1)))),
    ),
    "five of no unit": (
        "SL312", build(call(DTYPE, "M8", False, True),
                       (4, "<", None, None, None, -1, -1, 0, (None, (raw(b"generic"), 5, 1, 1)))),
    ),
    "nested deep": ("SL505", deep_dtype(9)),
    # Found by attack: numpy goes through every path of it, which takes for ever from a few kilobytes.
    "nested wide": ("SL505", wide_dtype(7, 8)),
    "fields that change afterwards": (
        "SL320",
        struct_dtype(("a",), mapping({"a": (dtype(), 0)}) + put(0), 8, flags=16)
        + get(0) + text("a") + value((1, 0)) + pickle.SETITEM + pickle.TUPLE2,
    ),
}  # fmt: skip


@cases(DTYPES)
def test_dtypes(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, stream(data))


# ------------------------------------------------------------------------------------------------ arrays


def masked(mask: Any = b"\0", fill: Any = None, of: bytes | None = None, data: Any = None) -> bytes:
    made = call(MASKED, MASKED_ARRAY, NDARRAY, (0,), raw(b"b"))
    data = raw(bytes(8)) if data is None else data
    return build(made, (1, (1,), of or dtype(), False, data, raw(mask), fill))


ARRAYS = {
    "less data than its shape": ("SL324", array((2,))),
    "more data than its shape": ("SL324", array((0,))),
    "shape wraps": ("SL324", array(_huge)),
    "shape negative": ("SL324", array((-1,))),
    "objects from bytes": ("SL324", array((1,), dtype("O8"))),
    "objects from a list too short": ("SL324", array((2,), dtype("O8"), [None])),
    "objects from a list that changes": (
        "SL320", array((1,), dtype("O8"),
            value([None]) + put(0)) + get(0) + pickle.NONE + pickle.APPEND + pickle.TUPLE2,
    ),
    "numbers from a list": ("SL324", array((1,), dtype(), [1.5])),
    "an order that is no bool": ("SL324", array(fortran=1)),
    "a dtype that is none": ("SL324", array((1,), text("<f8"))),
    "a state of four": ("SL324", build(call(RECONSTRUCT, NDARRAY, (0,), raw(b"b")), ((1,), dtype(), False,
        raw(bytes(8))))),
    "a state twice": ("SL319", build(array(), (1, (1,), dtype(), False, raw(bytes(8))))),
    "never a state": ("SL319", call(RECONSTRUCT, NDARRAY, (0,), raw(b"b"))),
    "made with a size": ("SL324", call(RECONSTRUCT, NDARRAY, (1 << 40,), raw(b"b"))),
    "made of another class": ("SL324", call(RECONSTRUCT, LINEAR, (0,), raw(b"b"))),
    "made of objects": ("SL324", call(RECONSTRUCT, NDARRAY, (0,), raw(b"O"))),
    "NEWOBJ of an array class": ("SL318", new(NDARRAY, (1,))),
    "REDUCE of an array class": ("SL318", call(glob("numpy", "memmap"), "marker")),
    "BUILD on an array from a buffer": (
        "SL319", build(call(FROMBUFFER, raw(bytes(8)), dtype(), (1,), "C"), (1, (1,), dtype(), False, raw(bytes(8)))),
    ),
    "BUILD on an array of a wrapper": (
        "SL319",
        build(wrapper(numpy_array_alignment_bytes=None) + FLOATS, (1, (1,), dtype(), False, raw(bytes(8)))),
    ),
    "a scalar of objects": ("SL324", call(SCALAR, dtype("O8"), raw(bytes(8)))),
    "a scalar of fewer bytes": ("SL324", call(SCALAR, dtype(), raw(bytes(7)))),
    "a scalar of a str": ("SL324", call(SCALAR, dtype(), text("12345678"))),
    "a buffer of objects": ("SL324", call(FROMBUFFER, raw(bytes(8)), dtype("O8"), (1,), "C")),
    "a buffer too short": ("SL324", call(FROMBUFFER, raw(bytes(8)), dtype(), (2,), "C")),
    "a buffer in an odd order": ("SL324", call(FROMBUFFER, raw(bytes(8)), dtype(), (1,), "A")),
    "a buffer with axes": ("SL324", call(FROMBUFFER, raw(bytes(8)), dtype(), (1,), "C", (0,))),
    "a buffer with axes that are none": ("SL324", call(FROMBUFFER, raw(bytes(8)), dtype(), (1,), "K", (1,))),
    "a mask of another length": ("SL324", masked(b"\0\0")),
    "a fill value of another dtype": ("SL324", masked(fill=array((), dtype("i8")))),
    "a fill value of objects": ("SL324", masked(fill=array((), dtype("O8"), [None]))),
    "a fill value that is no array": ("SL324", masked(fill=1.5)),
    "a masked structure": ("SL324", masked(of=struct_dtype(("a",), {"a": (dtype(), 0)}, 8, flags=16))),
    "a masked array of another class": ("SL324", call(MASKED, MASKED_ARRAY, LINEAR, (0,), raw(b"b"))),
}  # fmt: skip


@cases(ARRAYS)
def test_arrays(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, stream(data))


# --------------------------------------------------------------------------------------------- protocols

PROTOCOLS = {
    "PROTO in the middle": ("SL309", proto(4) + pickle.NONE + proto(2) + STOP),
    "PROTO twice": ("SL309", proto(4) + proto(4) + pickle.NONE + STOP),
    # With a protocol below 3 the names of Python 2 apply to what follows.
    "PROTO lowered before a name": ("SL309", proto(4) + proto(2) + line_glob("__builtin__", "eval") + STOP),
    "PROTO 6": ("SL309", proto(6) + pickle.NONE + STOP),
    "PROTO 1, which states itself nowhere": ("SL309", proto(1) + pickle.NONE + STOP),
    "PROTO 255": ("SL309", proto(255) + pickle.NONE + STOP),
    "bytes after STOP": ("SL304", stream(pickle.NONE) + b"\0"),
    "a second pickle after STOP": ("SL304", stream(pickle.NONE) * 2),
    "nothing": ("SL323", b""),
    "text": ("SL323", b"# a README"),
    "a zip": ("SL323", b"PK\3\4"),
    "no STOP": ("SL301", proto(4) + pickle.NONE),
    "values left on the stack": ("SL306", stream(pickle.NONE, pickle.NONE)),
    "a mark left on the stack": ("SL306", stream(pickle.MARK, pickle.NONE)),
    "STOP on nothing": ("SL306", stream()),
    "TUPLE without a mark": ("SL306", stream(pickle.NONE, pickle.TUPLE)),
    "a key without a value": ("SL306", stream(pickle.EMPTY_DICT, pickle.MARK, text("a"), pickle.SETITEMS)),
}


@cases(PROTOCOLS)
def test_protocols_and_stack(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, data)


NEVER = {
    "POP": pickle.POP, "POP_MARK": pickle.POP_MARK, "DUP": pickle.DUP,
    "PERSID": pickle.PERSID + b"x\n", "BINPERSID": pickle.BINPERSID,
    "STRING": pickle.STRING + b"'x'\n", "BINSTRING": pickle.BINSTRING + b"\1\0\0\0x",
    "SHORT_BINSTRING": pickle.SHORT_BINSTRING + b"\1x",
    "INST": pickle.INST + b"posix\nsystem\n", "OBJ": pickle.OBJ,
    "EXT1": pickle.EXT1 + b"\1", "EXT2": pickle.EXT2 + b"\1\0", "EXT4": pickle.EXT4 + b"\1\0\0\0",
    "NEXT_BUFFER": pickle.NEXT_BUFFER, "READONLY_BUFFER": pickle.READONLY_BUFFER,
}  # fmt: skip


@pytest.mark.parametrize("opcode", NEVER.values(), ids=NEVER.keys())
def test_opcodes_that_no_pickler_writes(opcode: bytes, nothing_runs: None) -> None:
    refused("SL303", stream(pickle.MARK, text("touch marker"), opcode))


def test_bytes_that_are_no_opcodes(nothing_runs: None) -> None:
    known = {getattr(pickle, name)[0] for name in pickle.__all__ if isinstance(getattr(pickle, name), bytes)}
    unknown = set(range(256)) - known
    assert len(unknown) > 150
    for code in unknown:
        refused("SL302", stream(bytes([code])))


# ------------------------------------------------------------------------------------------------- names

NAMES = {
    # From protocol 4 on the unpickler resolves dots, also those of GLOBAL.
    "a dotted name": ("SL308", stream(glob("sklearn.linear_model._base", "LinearRegression.fit"))),
    "dots through a module": ("SL308", stream(call(glob("joblib.numpy_pickle", "os.system"), "touch marker"))),
    "a dunder name": ("SL308", stream(glob("numpy", "__builtins__"))),
    "an empty name": ("SL308", stream(glob("numpy", ""))),
    "an empty module": ("SL308", stream(glob("", "x"))),
    "a relative module": ("SL308", stream(glob(".numpy", "x"))),
    "a path as a module": ("SL308", stream(glob("a/b", "x"))),
    "letters that look alike": ("SL308", stream(glob("numpy", "nd\u0430rray"))),
    "a name with an end of line": ("SL308", stream(glob("numpy", "ndarray\n"))),
    "a name with a NUL": ("SL308", stream(glob("numpy", "nd\0array"))),
    "a lone surrogate": ("SL308", stream(glob("numpy", "\udc80"))),
    "STACK_GLOBAL of bytes": ("SL308", stream(raw(b"os"), raw(b"system"), pickle.STACK_GLOBAL)),
    "STACK_GLOBAL of what a call gave": ("SL308", stream(RUN, text("system"), pickle.STACK_GLOBAL)),
    "STACK_GLOBAL of a numpy str": (
        "SL308",
        stream(call(SCALAR, build(call(DTYPE, "U2", False, True), (3, "<", None, None, None, 8, 4, 8)),
            raw(b"o\0\0\0s\0\0\0")),
               text("x"), pickle.STACK_GLOBAL),
    ),
    "STACK_GLOBAL before protocol 4": ("SL308", stream(glob("os", "system"), version=3)),
    "GLOBAL from protocol 4 on": ("SL308", stream(line_glob("os", "system"), version=4)),
    "GLOBAL cut after the name": ("SL301", proto(2) + b"cantigravity\nx"),
    "GLOBAL cut after the module": ("SL301", proto(2) + b"cantigravity\n"),
    "a name that is too long": ("SL508", proto(2) + b"c" + b"a" * 9000 + b"\nx\n."),
    "names that are not UTF-8": ("SL322", proto(2) + b"c\xff\nx\n."),
    # The audit event shows the name as written; the table makes builtins.eval of it.
    "a Python 2 name": ("SL401", stream(call(line_glob("__builtin__", "eval"), "1"), version=2)),
    "a Python 2 name without PROTO": ("SL401", line_glob("__builtin__", "eval") + b"(Vx\ntR."),
    "a name that only Python 2 has": ("SL401", stream(line_glob("commands", "getoutput"), version=2)),
    "the name in a memo, written over": ("SL307", stream(text("os"), put(0), text("numpy"), put(0))),
    "a name that nothing allows": ("SL401", stream(RUN)),
    "a name that nothing allows, only named": ("SL401", stream(glob("antigravity", "x"))),
}  # fmt: skip


@cases(NAMES)
def test_names(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, data)


def test_python_2_names_are_reported_as_what_they_become(nothing_runs: None) -> None:
    trace = scan(stream(line_glob("__builtin__", "eval"), version=2))
    assert trace.findings[0].global_name == "builtins.eval"
    assert trace.globals[0].named_as == ("__builtin__", "eval")


def test_the_names_of_a_stream_that_is_not_understood_are_reported_too(nothing_runs: None) -> None:
    found = codes(proto(4) + RUN + pickle.POP)
    assert found == ["SL303", "SL401"]


# -------------------------------------------------------------------------------------------- memo, marks

MEMO = {
    "MEMOIZE after a PUT ahead": ("SL307", stream(pickle.NONE, put(1), pickle.MEMOIZE)),
    "PUT over what is there": ("SL307", stream(pickle.NONE, pickle.MEMOIZE, put(0))),
    "PUT far ahead": ("SL307", stream(pickle.NONE, pickle.LONG_BINPUT + b"\xff\xff\xff\xff")),
    "GET of nothing": ("SL307", stream(get(0))),
    "LONG_BINGET of nothing": ("SL307", stream(pickle.LONG_BINGET + b"\xff\xff\xff\xff")),
    "text GET of nothing": ("SL307", stream(pickle.GET + b"0\n")),
    "PUT of nothing": ("SL306", stream(put(0))),
    "MEMOIZE of nothing": ("SL306", stream(pickle.MEMOIZE)),
    "PUT at an empty mark level": ("SL306", stream(pickle.NONE, pickle.MARK, put(0))),
    "too many": ("SL502", stream(pickle.NONE, pickle.MEMOIZE * 11)),
    "too many PUTs": ("SL502", stream(pickle.NONE, *map(put, range(11)))),
}


@cases(MEMO)
def test_memo_and_marks(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, data, max_memo=10)


# ---------------------------------------------------------------------------------- calls, states, items

_state = mapping({"a": 1}) + put(0)
_reconstructor = line_glob("copy_reg", "_reconstructor")
_object = line_glob("__builtin__", "object")
_line_linear = line_glob("sklearn.linear_model._base", "LinearRegression")
CALLS = {
    "REDUCE with a list": ("SL318", stream(glob("posix", "system"), value(["touch marker"]), pickle.REDUCE)),
    "REDUCE with a str": ("SL318", stream(glob("posix", "system"), text("x"), pickle.REDUCE)),
    "REDUCE on a str": ("SL318", stream(text("x"), tup(), pickle.REDUCE)),
    "REDUCE on what a call gave": ("SL318", stream(call(ODICT))),
    "REDUCE on an instance": ("SL318", stream(call(new(LINEAR)))),
    "NEWOBJ with a list": ("SL318", stream(LINEAR, value([]), pickle.NEWOBJ)),
    "NEWOBJ on an instance": ("SL318", stream(new(new(LINEAR)))),
    "NEWOBJ on what a call gave": ("SL318", stream(new(call(glob("builtins", "type"), None)))),
    "NEWOBJ with arguments": ("SL403", stream(new(LINEAR, 1))),
    "NEWOBJ_EX": ("SL403", stream(LINEAR, tup(), mapping({"a": 1}), pickle.NEWOBJ_EX)),
    "NEWOBJ_EX with keywords that are none": ("SL318", stream(LINEAR, tup(), value([]), pickle.NEWOBJ_EX)),
    "type of something": ("SL403", stream(call(glob("builtins", "type"), 1))),
    "type of three": ("SL403", stream(call(glob("builtins", "type"), "x", (), {}))),
    "_reconstructor with another base": (
        "SL318", old_stream(_reconstructor, tup(_line_linear, _line_linear, None), pickle.REDUCE),
    ),
    "_reconstructor with a state": ("SL318", old_stream(_reconstructor, tup(_line_linear, _object, 1), pickle.REDUCE)),
    "_reconstructor of an instance": ("SL318", old_stream(_reconstructor, tup(1, _object, None), pickle.REDUCE)),
    "_reconstructor from protocol 2 on": (
        "SL318", stream(_reconstructor, tup(_line_linear, _object, None), pickle.REDUCE, version=2),
    ),
    "_reconstructor of what is not allowed": (
        "SL401", old_stream(_reconstructor, tup(line_glob("posix", "DirEntry"), _object, None), pickle.REDUCE),
    ),
    "a codec that is not latin1": ("SL318", stream(call(glob("_codecs", "encode"), "x", "zip"), version=4)),
    "bytes of a number": ("SL318", stream(call(glob("builtins", "bytes"), 1 << 40))),
    "bytearray of a number": ("SL318", stream(call(glob("builtins", "bytearray"), 1 << 40))),
    "a set of what it is given": ("SL318", stream(call(glob("builtins", "set"), BUNCH))),
    "a defaultdict that calls": ("SL403", stream(call(glob("collections", "defaultdict"), glob("posix", "fork")))),
    # In protocol 0 the class of these arguments counts as called; fetched again it would be a value.
    "the arguments of _reconstructor, used again": (
        "SL318",
        old_stream(_reconstructor, tup(_line_linear, _object, None), put(0), pickle.REDUCE, get(0), pickle.TUPLE2),
    ),
    "the arguments of _reconstruct, used again": (
        "SL318",
        stream(build(RECONSTRUCT + tup(NDARRAY, (0,), raw(b"b")) + pickle.MEMOIZE + pickle.REDUCE,
                     (1, (1,), dtype(), False, raw(bytes(8)))), get(0), pickle.TUPLE2),
    ),
}  # fmt: skip


@cases(CALLS)
def test_calls(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, data)


STATES = {
    "on a global": ("SL319", stream(build(LINEAR, {"fit": 1}))),
    "on a global from the memo": ("SL319", stream(LINEAR, put(0), get(0), mapping({"fit": 1}), pickle.BUILD,
        pickle.TUPLE2)),
    "on a list": ("SL319", stream(build(value([]), {"a": 1}))),
    "on a dict": ("SL319", stream(build(mapping({}), {"a": 1}))),
    "on None": ("SL319", stream(build(pickle.NONE, {"a": 1}))),
    "on a str": ("SL319", stream(build(text("x"), {"a": 1}))),
    "on a tuple": ("SL319", stream(build(tup(1), {"a": 1}))),
    "on bytes": ("SL319", stream(build(raw(b"x"), {"a": 1}))),
    "on a float": ("SL319", stream(build(real(1.5), {"a": 1}))),
    "twice": ("SL319", stream(build(build(new(LINEAR), {"a": 1}), {"a": 1}))),
    "of two objects in one dict": ("SL319", stream(build(new(LINEAR), _state), build(new(LINEAR), get(0)),
        pickle.TUPLE2)),
    "a dict that changes afterwards": (
        "SL320", stream(build(new(LINEAR), _state), get(0), text("a"), pickle.NONE, pickle.SETITEM, pickle.TUPLE2),
    ),
    "a dunder attribute": ("SL404", stream(build(new(LINEAR), {"__class__": 1}))),
    "a dunder attribute that is called": ("SL404", stream(build(new(LINEAR), {"__setstate__": glob("numpy", "log")}))),
    "an attribute that is no str": ("SL404", stream(build(new(LINEAR), mapping([(1, 1)])))),
    "an attribute twice": ("SL404", stream(build(new(LINEAR), mapping([("a", 1), ("a", 2)])))),
    "with slots": ("SL404", stream(build(new(LINEAR), (None, {"a": 1})))),
    "a list": ("SL404", stream(build(new(LINEAR), []))),
    "an OrderedDict": ("SL404", stream(build(new(LINEAR), ODICT))),
    "None": ("SL404", stream(build(new(LINEAR), None))),
    # scikit-learn formats it into a warning: the repr of anything would run while loading.
    "a version that is no text": ("SL404", stream(build(new(LINEAR), {"_sklearn_version": new(LINEAR)}))),
    "without the role": ("SL402", stream(build(ODICT, {"a": 1}))),
}  # fmt: skip


@cases(STATES)
def test_states(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, data)


ITEMS = {
    "APPEND to a tuple": ("SL320", stream(tup(), pickle.NONE, pickle.APPEND)),
    "APPEND to a dict": ("SL320", stream(mapping({}), pickle.NONE, pickle.APPEND)),
    "APPENDS to a set": ("SL320", stream(pickle.EMPTY_SET, pickle.MARK, pickle.NONE, pickle.APPENDS)),
    "APPEND to a global": ("SL320", stream(LINEAR, pickle.NONE, pickle.APPEND)),
    "APPEND to an array": ("SL320", stream(array(), pickle.NONE, pickle.APPEND)),
    "APPEND to an estimator": ("SL402", stream(new(LINEAR), pickle.NONE, pickle.APPEND)),
    "SETITEM of a list": ("SL320", stream(value([]), number(0), pickle.NONE, pickle.SETITEM)),
    "SETITEM of an array": ("SL320", stream(array(), number(0), pickle.NONE, pickle.SETITEM)),
    "SETITEM of a global": ("SL320", stream(LINEAR, text("fit"), pickle.NONE, pickle.SETITEM)),
    "SETITEM of an estimator": ("SL402", stream(new(LINEAR), number(0), pickle.NONE, pickle.SETITEM)),
    "ADDITEMS to a list": ("SL320", stream(value([]), pickle.MARK, pickle.NONE, pickle.ADDITEMS)),
    "ADDITEMS to a frozenset": (
        "SL320",
        stream(pickle.MARK, pickle.FROZENSET, pickle.MARK, pickle.NONE, pickle.ADDITEMS),
    ),
    "ADDITEMS to an estimator": ("SL320", stream(new(LINEAR), pickle.MARK, pickle.NONE, pickle.ADDITEMS)),
    # A planted `append` would be called by the opcode.
    "items after the state": ("SL320", stream(build(BUNCH, {"append": 1}), text("a"), pickle.NONE, pickle.SETITEM)),
}


@cases(ITEMS)
def test_items(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, data)


# ------------------------------------------------------------------------------------------ text opcodes

TEXTS = {
    "INT with a base": b"I0x10\n", "INT with an underscore": b"I1_0\n", "INT with a blank": b"I 1\n",
    "INT with a plus": b"I+1\n", "INT with a zero in front": b"I010\n", "INT of nothing": b"I\n",
    "INT minus nothing": b"I-\n", "INT minus zero": b"I-0\n", "INT with an end of line of its own": b"I1\r\n",
    "LONG without L": b"L1\n", "LONG with a base": b"L0x1L\n", "LONG of nothing": b"LL\n",
    "LONG huge": b"L1" + b"0" * 2467 + b"L\n",
    "FLOAT with a blank": b"F 1.0\n", "FLOAT with an underscore": b"F1_0.0\n", "FLOAT short": b"F1\n",
    "FLOAT infinite in words": b"Finfinity\n", "FLOAT of nothing": b"F\n",
    "GET with a blank": b"Np0\ng 0\n", "GET with a zero in front": b"Np0\ng00\n", "PUT with a plus": b"Np+0\n",
    "PUT with an underscore": b"Np0_0\n", "PUT negative": b"Np-1\n", "PUT huge": b"Np99999999999\n",
}  # fmt: skip


@pytest.mark.parametrize("data", TEXTS.values(), ids=TEXTS.keys())
def test_text_opcodes_in_odd_spellings(data: bytes, nothing_runs: None) -> None:
    refused("SL310", b"(" + data + b"t.")


def test_text_opcodes_that_are_too_long_or_broken(nothing_runs: None) -> None:
    refused("SL508", b"(I" + b"1" * 10_000 + b"\nt.")
    refused("SL301", b"(I1")
    refused("SL322", b"(V\\u12\nt.")
    refused("SL322", stream(pickle.BINUNICODE + b"\1\0\0\0\xff"))


# -------------------------------------------------------------------------------------------- exhaustion

_shared = pickle.EMPTY_TUPLE + pickle.MEMOIZE + b"".join(get(i) + pickle.TUPLE2 + pickle.MEMOIZE for i in range(60))
EXHAUSTION = {
    "a deep tuple as a key": ("SL321", stream(pickle.EMPTY_DICT, pickle.NONE, pickle.TUPLE1 * LONG, number(1),
        pickle.SETITEM)),
    "a shared tuple as a key": ("SL321", stream(pickle.EMPTY_DICT, _shared, number(1), pickle.SETITEM)),
    "a shared tuple in a set": ("SL321", stream(pickle.EMPTY_SET, pickle.MARK, _shared, pickle.ADDITEMS)),
    "a deep tuple in a frozenset": ("SL321", stream(pickle.MARK, pickle.NONE, pickle.TUPLE1 * LONG, pickle.FROZENSET)),
    "a deep tuple in a DICT": ("SL321", stream(pickle.MARK, pickle.NONE, pickle.TUPLE1 * LONG, number(1), pickle.DICT)),
    "a deep tuple in an OrderedDict": ("SL321", stream(ODICT, pickle.NONE, pickle.TUPLE1 * LONG, number(1),
        pickle.SETITEM)),
    # Integers that are equal mod 2**61 - 1 have one hash: adding them takes quadratic time.
    "long integers as keys": ("SL321", stream(mapping([((1 << 61) - 1 << 61, 1)]))),
    "long integers in a called set": ("SL321", stream(call(glob("builtins", "set"), [(1 << 61) - 1 << 61]))),
    "a list as a key": ("SL321", stream(mapping([([], 1)]))),
    "an array as a key": ("SL321", stream(mapping([(array(), 1)]))),
    "bytes of 2**60": ("SL507", stream(pickle.BINBYTES8 + b"\0" * 7 + b"\x10")),
    "text of 2**32 - 1": ("SL507", stream(pickle.BINUNICODE + b"\xff\xff\xff\xff")),
    "text of 2**64 - 1": ("SL507", stream(pickle.BINUNICODE8 + b"\xff" * 8)),
    "a bytearray of 2**63": ("SL507", stream(pickle.BYTEARRAY8 + b"\0" * 7 + b"\x80", version=5)),
    "a long of 2**31 bytes": ("SL508", stream(pickle.LONG4 + b"\0\0\0\x80")),
    "a long of 2,000 bytes": ("SL508", stream(pickle.LONG4 + b"\xd0\7\0\0" + b"\1" * 2000)),
    "short text cut off": ("SL507", stream(pickle.SHORT_BINUNICODE + b"\xff")),
}  # fmt: skip


@cases(EXHAUSTION)
def test_exhaustion(code: str, data: bytes, nothing_runs: None) -> None:
    refused(code, data)


def test_limits(nothing_runs: None) -> None:
    refused("SL501", stream(pickle.NONE * 100), max_opcodes=50)
    names = b"".join(glob("numpy", f"a{i}") for i in range(20))
    refused("SL506", stream(pickle.MARK, names, pickle.TUPLE), max_globals=10)


@pytest.mark.parametrize(
    "data",
    [
        stream(pickle.NONE, pickle.TUPLE1 * LONG),
        stream(pickle.EMPTY_LIST * LONG, pickle.APPEND * (LONG - 1)),
        stream((pickle.EMPTY_DICT + text("a")) * LONG, pickle.NONE, pickle.SETITEM * LONG),
        stream(pickle.MARK * LONG, pickle.TUPLE * LONG),
    ],
    ids=["tuples", "lists", "dicts", "marks"],
)
def test_deep_nesting_is_scanned_without_recursion(data: bytes, nothing_runs: None) -> None:
    assert not scan(data).findings


def test_findings_quote_escaped_and_bounded_text(nothing_runs: None) -> None:
    for name in ("\x1b[2J" * 1000, "\u202e" * 1000, "a" * 100_000):
        finding = scan(stream(glob("numpy", name))).findings[0]
        assert len(finding.message) < 1000
        assert finding.message.isascii() or finding.message.replace("…", "").isascii()
        assert finding.message.isprintable()


def test_findings_are_bounded_in_number(nothing_runs: None) -> None:
    names = b"".join(glob("evil", f"a{i}") for i in range(500))
    assert len(codes(stream(pickle.MARK, names, pickle.TUPLE))) == 100


# ------------------------------------------------------------------------------------------- properties

_opcodes = [getattr(pickle, name) for name in pickle.__all__ if isinstance(getattr(pickle, name), bytes)]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", *map(proto, range(2, 6))]))
def test_random_bytes_never_raise(data: bytes, start: bytes) -> None:
    scan(start + data, record=True)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*_opcodes, b"\0", b"\1", b"1\n", LINEAR, NDARRAY, tup(), dtype()]), max_size=40))
def test_random_opcodes_never_raise(parts: list[bytes]) -> None:
    scan(stream(*parts, version=5), record=True)


def artifacts() -> list[bytes]:
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    x = np.arange(12.0).reshape(6, 2)
    things: list[Any] = [
        {"a": [1, 2.5, "x", None], "b": {1, 2}, "c": (b"bytes", True)},
        StandardScaler().fit(x),
        DecisionTreeClassifier(max_depth=1).fit(x, [0, 1] * 3),
        OneHotEncoder().fit(np.array([["a"], ["b"]], dtype=object)),
        np.array([("a", 1.5)], dtype=[("s", "U1"), ("f", ">f8")]),
        np.ma.masked_array([1, 2], [True, False]),
        np.random.RandomState(0),
    ]
    found = []
    for thing in things:
        for version in (0, 2, 4, 5):
            for dump in (joblib.dump, pickle.dump):
                file = io.BytesIO()
                dump(thing, file, protocol=version)
                found.append(file.getvalue())
    return found


_artifacts = artifacts()


@st.composite
def mutated(draw: Any) -> bytes:
    data = bytearray(draw(st.sampled_from(_artifacts)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["set", "set", "flip", "insert", "delete", "cut", "splice"]))
        if kind == "set":
            data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "flip" and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            data[place:place] = draw(st.sampled_from([*_opcodes, b"\0", b"\xff"]))
        elif kind == "delete":
            del data[place : place + draw(st.integers(1, 4))]
        elif kind == "cut":
            del data[place:]
        else:
            other = draw(st.sampled_from(_artifacts))
            start = draw(st.integers(0, len(other)))
            data[place:place] = other[start : start + draw(st.integers(1, 60))]
    return bytes(data)


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_of_a_mutated_artifact_what_is_allowed_is_what_the_unpickler_sees(data: bytes) -> None:
    """Never raises, and where it allows, joblib's unpickler sees the same names, uses, arrays and end."""
    trace = scan(data, record=True)
    if trace.findings:
        return
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            _, events, end = oracle.load(data)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, ImportError, OverflowError, MemoryError):
            return  # the allowed classes' own checks
    assert list(trace.events) == events
    assert trace.end == end == len(data)


@pytest.mark.parametrize("opcode", [pickle.NONE, pickle.EMPTY_LIST, pickle.MARK])
def test_values_that_pile_up(opcode: bytes) -> None:
    """A few dozen compressed bytes unpack to millions of values that stay on the stack."""
    data = pickle.PROTO + b"\x04" + opcode * 300_000
    from safeload._scan import Limits

    tenth = {"max_memory": Limits().max_memory // 10, "max_stack": Limits().max_stack // 10}
    assert codes(data, **tenth) == [
        "SL509" if opcode == pickle.EMPTY_LIST else "SL505"
    ]  # lists are too much by themselves
    tenth["max_stack"] *= 10
    assert codes(data, **tenth) == (["SL301"] if opcode == pickle.NONE else ["SL509"])
