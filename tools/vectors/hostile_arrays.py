"""Refused vectors around arrays: frames, what follows an array, nested pickles, padding, wrappers, dtypes."""

from __future__ import annotations

import pickle

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
    dtype,
    frame,
    get,
    glob,
    mapping,
    new,
    padded,
    proto,
    put,
    raw,
    stream,
    subarray,
    text,
    tup,
    value,
    wrapper,
)
from vectors.hostile import (
    BUNCH,
    FLOATS,
    LINEAR,
    PLAIN,
    PUTENV,
    RUN,
    TRANSFORMER,
    UNSETENV,
    VARIABLE,
    Case,
    Table,
    exhaust,
    files,
    form,
    memory,
    setitem,
    with_array,
)

# --------------------------------------------------------------------------------------------------- frames

_body = wrapper()
FRAMES: Table = {
    "goes-on-past-an-array": Case(
        "SL305", "code", "a frame goes on past an array wrapper: its rest runs as opcodes, the array is read after it",
        padded(proto(4) + frame(_body + RUN + pickle.TUPLE2), FLOATS) + STOP,
    ),
    "goes-on-past-the-end": Case(
        "SL305", "form", "a frame holds opcodes after STOP", proto(4) + frame(pickle.NONE + STOP + RUN)),
    "in-a-frame": Case("SL305", "form", "a frame in a frame", proto(4) + frame(frame(pickle.NONE + STOP))),
    "ends-inside-an-opcode": Case(
        "SL305", "form", "a frame ends inside an opcode's argument", proto(4) + frame(text("abc"), size=4) + STOP),
    "ends-inside-a-name": Case(
        "SL305", "form", "a frame ends inside a global's name", proto(4) + frame(PUTENV, size=8) + STOP),
    "of-an-old-protocol": Case(
        "SL305", "form", "a frame in protocol 3, which has none", proto(3) + frame(pickle.NONE + STOP)),
    "longer-than-the-file": Case(
        "SL507", "form", "a frame of more bytes than the file has", proto(4) + frame(pickle.NONE + STOP, size=100)),
    "of-two-to-the-62": Case(
        "SL507", "exhaustion", "a frame of 2**62 bytes", proto(4) + frame(pickle.NONE + STOP, size=1 << 62)),
    "of-a-negative-length": Case(
        "SL507", "exhaustion", "a frame of 2**64 - 1 bytes", proto(4) + frame(pickle.NONE + STOP, size=(1 << 64) - 1)),
    "cut-short": Case("SL301", "form", "the file ends in a frame's length", proto(4) + pickle.FRAME + b"\1\0"),
}  # fmt: skip

# ----------------------------------------------------------------------------------------- after array bytes

_bytes_stop = b"." * 16
_bytes_bad = b"\xfe" * 16
AFTER_ARRAYS: Table = {
    "call-after-an-array": Case(
        "SL405", "code", "a call after an array's raw bytes, where a reader of opcodes has lost its place",
        with_array(wrapper(), RUN + pickle.TUPLE2)),
    "call-after-an-array-of-stops": Case(
        "SL405", "code", "the array's raw bytes are STOP opcodes: a linear reader takes them for the end",
        with_array(wrapper(), RUN + pickle.TUPLE2, _bytes_stop)),
    "call-after-an-array-of-no-opcodes": Case(
        "SL405", "code", "the array's raw bytes are no opcodes: a linear reader gives up",
        with_array(wrapper(), RUN + pickle.TUPLE2, _bytes_bad)),
    "call-after-an-array-that-is-text": Case(
        "SL405", "code", "the array's raw bytes begin a long text, which swallows the call",
        with_array(wrapper(), RUN + pickle.TUPLE2, pickle.BINUNICODE + b"\xff\0\0\0" + bytes(11))),
    "call-after-an-array-without-padding": Case(
        "SL405", "code", "the same in the form before joblib 1.2, without padding",
        proto(4) + wrapper(leave=("numpy_array_alignment_bytes",)) + _bytes_stop + RUN + pickle.TUPLE2 + STOP),
    "call-after-two-arrays": Case(
        "SL405", "code", "a call after two arrays",
        padded(padded(proto(4) + wrapper(), _bytes_stop) + wrapper(), _bytes_stop)
        + pickle.TUPLE2 + RUN + pickle.TUPLE2 + STOP),
    "call-after-an-empty-array": Case(
        "SL405", "code", "a call after an array of no elements, of which only the padding is there",
        padded(proto(4) + wrapper(shape=(0,)), b"") + RUN + pickle.TUPLE2 + STOP),
    "call-after-a-scalar-array": Case(
        "SL405", "code", "a call after an array of no dimensions",
        padded(proto(4) + wrapper(shape=()), _bytes_stop[:8]) + RUN + pickle.TUPLE2 + STOP),
    "call-after-an-array-in-fortran-order": Case(
        "SL405", "code", "a call after an array in Fortran order",
        with_array(wrapper(order="F"), RUN + pickle.TUPLE2, _bytes_bad)),
    "call-after-an-array-protocol-5": Case(
        "SL405", "code", "a call after an array in protocol 5",
        with_array(wrapper(), RUN + pickle.TUPLE2, _bytes_stop, version=5)),
    "call-before-an-array": Case(
        "SL405", "code", "a call before an array", padded(proto(4) + RUN + wrapper(), FLOATS) + pickle.TUPLE2 + STOP),
    "state-after-an-array": Case(
        "SL319", "code", "a planted method is called by a second BUILD, after an array",
        with_array(wrapper(), build(new(LINEAR), {"__setstate__": UNSETENV}) + text(VARIABLE) + pickle.BUILD
            + pickle.TUPLE2)),
}  # fmt: skip

# -------------------------------------------------------------------------------------------------- nested

_object_wrapper = wrapper(shape=(1,), dtype=dtype("O8"), allow_mmap=False)
_inner = array((1,), dtype("O8"), [None])


def nested(inner: bytes, after: bytes = b"", before: bytes = _object_wrapper) -> bytes:
    return proto(4) + before + inner + after + STOP


_masked_objects = build(
    call(MASKED, MASKED_ARRAY, NDARRAY, (0,), raw(b"b")), (1, (1,), dtype("O8"), False, [None], raw(b"\0"), None)
)
NESTED: Table = {
    "call-inside": Case(
        "SL405", "code", "a call in the pickle of an object array, which another unpickler reads",
        nested(stream(array((1,), dtype("O8"), [RUN]), version=5))),
    "call-after": Case(
        "SL405", "code", "a call after a nested pickle, whose STOP is not the end",
        nested(stream(_inner, version=5), RUN + pickle.TUPLE2)),
    "is-a-call": Case(
        "SL314", "code", "the nested pickle is no array, but a call", nested(stream(RUN, version=5))),
    "call-inside-a-frame": Case(
        "SL405", "code", "the same in a frame",
        nested(proto(5) + frame(array((1,), dtype("O8"), [RUN]) + STOP))),
    "without-proto": Case("SL314", "form", "a nested pickle without PROTO", nested(_inner + STOP)),
    "of-protocol-4": Case("SL314", "form", "a nested pickle of protocol 4", nested(stream(_inner, version=4))),
    "frame-in-protocol-2": Case(
        "SL305", "form", "a nested pickle of protocol 2, as joblib before 1.5 wrote it, with a frame",
        nested(proto(2) + frame(pickle.NONE + STOP))),
    "frame-longer-than-its-stop": Case(
        "SL305", "form",
        "the nested frame goes on after STOP: one unpickler drops the rest, another runs it in the outer pickle",
        nested(proto(5) + frame(_inner + STOP + RUN + pickle.TUPLE2))),
    "holds-a-wrapper": Case(
        "SL314", "form", "an array wrapper inside a nested pickle, after which no bytes are read",
        nested(stream(wrapper(), version=5))),
    "is-no-array": Case("SL314", "form", "the nested pickle is None", nested(stream(pickle.NONE, version=5))),
    "of-another-shape": Case(
        "SL314", "form", "the nested array has another shape than was announced",
        nested(stream(array((2,), dtype("O8"), [None, None]), version=5))),
    "of-another-dtype": Case(
        "SL314", "form", "the nested array has another dtype than was announced", nested(stream(array(), version=5))),
    "is-a-masked-array": Case(
        "SL314", "form", "the nested array is a masked one", nested(stream(_masked_objects, version=5))),
    "without-its-state": Case(
        "SL319", "form", "the nested array never gets its state",
        nested(stream(call(RECONSTRUCT, NDARRAY, (0,), raw(b"b")), version=5))),
    "reads-the-outer-memo": Case(
        "SL307", "form", "a nested pickle reads the memo of the outer one",
        nested(stream(get(0), version=5), before=pickle.NONE + put(0) + _object_wrapper)),
    "leaves-a-wrapper-unbuilt": Case(
        "SL319", "form", "a wrapper without state inside a nested pickle",
        nested(stream(WRAPPER + tup() + pickle.NEWOBJ + _inner + pickle.TUPLE2, version=5))),
    "cut-short": Case("SL301", "form", "the file ends in a nested pickle", nested(b"")[:-1] + proto(5)),
}  # fmt: skip

# ------------------------------------------------------------------------------------------------- padding

_w = proto(4) + wrapper()
_pad = 16 - (len(_w) + 1) % 16
PADDING: Table = {
    "longer": Case(
        "SL313", "form", "padding of 16 bytes more than aligning takes",
        _w + bytes([_pad + 16]) + b"\xff" * (_pad + 16) + FLOATS + STOP),
    "none": Case("SL313", "form", "a padding of no bytes where some are due", _w + b"\0" + FLOATS + STOP),
    "of-opcodes": Case(
        "SL313", "form", "opcodes instead of 0xff", _w + bytes([_pad]) + b"N" * _pad + FLOATS + STOP),
    "hides-the-end": Case(
        "SL313", "code", "padding that spans what a linear reader takes for the rest of the pickle",
        _w + bytes([255]) + (FLOATS + STOP).ljust(255, b"\xff") + FLOATS + RUN + pickle.TUPLE2 + STOP),
    "cut-short": Case(
        "SL507", "form", "the file ends in the padding", padded(proto(4) + wrapper(shape=(0,)), b"")[:-1]),
    "alignment-false": Case(
        "SL311", "form", "an alignment of False: the length byte is read all the same",
        proto(4) + wrapper(numpy_array_alignment_bytes=False) + b"\0" + FLOATS + STOP),
    "alignment-zero": Case(
        "SL311", "form", "an alignment of 0: the length byte is read all the same",
        proto(4) + wrapper(numpy_array_alignment_bytes=0) + b"\0" + FLOATS + STOP),
    "alignment-32": Case(
        "SL311", "form", "an alignment that is not joblib's",
        proto(4) + wrapper(numpy_array_alignment_bytes=32) + FLOATS + STOP),
}  # fmt: skip

# --------------------------------------------------------------------------------------------- array wrappers

_void0 = build(call(DTYPE, "V0", False, True), (3, "|", None, None, None, 0, 1, 0))
_fake_dtype = build(new(LINEAR), {"itemsize": 8, "hasobject": False})
_huge = (1 << 31, 1 << 31, 1 << 31)
_plain_state = PLAIN[len(new(WRAPPER)) : -1]
_STATES: dict[str, tuple[str, str, str, bytes]] = {
    "shape-a-list": ("SL311", "form", "a shape that is a list", wrapper(shape=[2])),
    "shape-a-range": (
        "SL311", "form", "a shape that is a range", wrapper(shape=call(glob("builtins", "range"), 2, 3, 1))),
    "shape-of-numpy-integers": (
        "SL311", "form", "a shape of numpy's integers, which wrap",
        wrapper(shape=(call(SCALAR, dtype("i8"), raw(b"\2" + bytes(7))),))),
    "shape-of-booleans": ("SL311", "form", "a shape of booleans", wrapper(shape=(True, True))),
    "shape-negative": ("SL311", "form", "a negative size: to the end of the file", wrapper(shape=(-1,))),
    "shape-negative-twice": ("SL311", "form", "two negative sizes, whose product is not", wrapper(shape=(-1, -2))),
    "shape-wraps": ("SL311", "memory", "a shape whose product wraps in 64 bits", wrapper(shape=_huge)),
    "shape-wraps-beside-zero": (
        "SL311", "memory", "a shape whose product wraps, beside a zero", wrapper(shape=(*_huge, 0))),
    "shape-of-65-dimensions": ("SL311", "form", "more dimensions than numpy has", wrapper(shape=(1,) * 65)),
    "more-than-there-is": ("SL507", "exhaustion", "an array of 8 TiB", wrapper(shape=(1 << 40,))),
    "state-with-slots": (
        "SL311", "form", "a state of (None, slots)", build(new(WRAPPER), (None, {"shape": (2,)}))),
    "state-none": ("SL311", "form", "None as the state", build(new(WRAPPER), None)),
    "state-empty": ("SL311", "form", "an empty state", build(new(WRAPPER), {})),
    "attribute-twice": (
        "SL311", "form", "the shape twice: the second one counts", wrapper(more=[("shape", (1,))])),
    "attribute-too-many": ("SL311", "form", "an attribute that joblib does not know", wrapper(more=[("x", 1)])),
    "attribute-is-a-method": (
        "SL311", "form", "an attribute in place of the wrapper's own method, which joblib would call",
        wrapper(more=[("read", UNSETENV)])),
    "attribute-too-few": ("SL311", "form", "no order", wrapper(leave=("order",))),
    "attribute-no-str": ("SL311", "form", "an attribute's name that is a number", wrapper(more=[(1, 1)])),
    "order-k": ("SL311", "form", "an order that is neither C nor F", wrapper(order="K")),
    "order-no-str": ("SL311", "form", "an order that is a number", wrapper(order=0)),
    "allow-mmap-a-number": ("SL311", "form", "allow_mmap that is 1", wrapper(allow_mmap=1)),
    "subclass-a-function": (
        "SL311", "form", "a class that is a function: joblib hands the array to what stands there",
        wrapper(subclass=PUTENV)),
    "subclass-a-str": ("SL311", "form", "a class that is text", wrapper(subclass="ndarray")),
    "dtype-a-fake": ("SL311", "memory", "a dtype that is an object with its attributes", wrapper(dtype=_fake_dtype)),
    "dtype-a-str": ("SL311", "form", "a dtype that is text", wrapper(dtype="<f8")),
    "dtype-unbuilt": (
        "SL311", "form", "a dtype without its state", wrapper(dtype=call(DTYPE, "f8", False, True))),
    "dtype-a-subarray": ("SL311", "memory", "items that are arrays themselves", wrapper(shape=(1,), dtype=subarray())),
    "dtype-of-no-size": ("SL311", "exhaustion", "items of no size", wrapper(dtype=_void0)),
}  # fmt: skip
WRAPPER_STATES: Table = {
    name: Case(finding, threat, trick, padded(proto(4) + data, FLOATS) + STOP)
    for name, (finding, threat, trick, data) in _STATES.items()
}
MMAP: Table = {
    "objects-with-allow-mmap": Case(
        "SL311", "memory", "an object array that asks to be mapped: its pointers come from the file",
        padded(proto(4) + wrapper(dtype=dtype("O8"), allow_mmap=True), FLOATS) + STOP),
    "struct-of-objects-with-allow-mmap": Case(
        "SL311", "memory", "the same with objects in a structure",
        padded(proto(4) + wrapper(
            dtype=build(call(DTYPE, "V8", False, True),
                        (3, "|", None, ("a",), {"a": (dtype("O8"), 0)}, 8, 1, 27)),
            allow_mmap=True), FLOATS) + STOP),
    "memmap-as-a-call": files(
        "SL318", "memmap is called: it would open a file, and truncate it in another mode",
        call(glob("numpy", "memmap"), "/dev/null", "u1", "r", 0, (1,))),
    "memmap-as-new": files(
        "SL318", "memmap made by NEWOBJ opens a file", new(glob("numpy", "memmap"), "/dev/null", "u1", "r", 0, (1,))),
    "memmap-as-a-function": files(
        "SL402", "a transformer that calls memmap with arguments from the file",
        build(TRANSFORMER, {"func": glob("numpy", "memmap"), "kw_args": {"mode": "r"}})),
}  # fmt: skip
_MAKING: dict[str, tuple[str, str, str, bytes]] = {
    "by-reduce": (
        "SL318", "form", "a wrapper made by REDUCE", wrapper(made=call(WRAPPER, NDARRAY, (2,), "C", dtype()))),
    "by-newobj-with-arguments": ("SL318", "form", "a wrapper made with arguments", wrapper(made=new(WRAPPER, 1))),
    "by-reconstructor": (
        "SL318", "form", "a wrapper made as protocols 0 and 1 make it",
        wrapper(made=call(glob("copyreg", "_reconstructor"), WRAPPER, glob("builtins", "object"), None))),
    "by-newobj-ex": (
        "SL318", "form", "a wrapper made by NEWOBJ_EX", wrapper(made=WRAPPER + tup() + mapping({}) + pickle.NEWOBJ_EX)),
    "built-twice": (
        "SL311", "form", "a wrapper built twice: the memo keeps the wrapper, not its array",
        wrapper(made=new(WRAPPER) + put(0), numpy_array_alignment_bytes=None) + FLOATS + get(0) + _plain_state
        + pickle.BUILD + FLOATS + pickle.TUPLE2),
    "built-twice-by-long-get": (
        "SL311", "form", "the same by a long memo index",
        wrapper(made=new(WRAPPER) + put(0), numpy_array_alignment_bytes=None) + FLOATS
        + pickle.LONG_BINGET + bytes(4) + _plain_state + pickle.BUILD + FLOATS + pickle.TUPLE2),
    "built-twice-by-text-get": (
        "SL311", "form", "the same by a memo index in text",
        wrapper(made=new(WRAPPER) + put(0), numpy_array_alignment_bytes=None) + FLOATS
        + pickle.GET + b"0\n" + _plain_state + pickle.BUILD + FLOATS + pickle.TUPLE2),
    "one-state-for-two": (
        "SL311", "form", "one dict is the state of two wrappers",
        new(WRAPPER) + _plain_state + put(0) + pickle.BUILD + FLOATS + new(WRAPPER) + get(0) + pickle.BUILD
        + FLOATS + pickle.TUPLE2),
    "state-as-a-value": (
        "SL311", "form", "the state's dict, with the array class in it, as a value",
        new(WRAPPER) + _plain_state + put(0) + pickle.BUILD + FLOATS + get(0) + pickle.TUPLE2),
    "state-as-a-value-before": (
        "SL311", "form", "the same, fetched before the wrapper gets it",
        pickle.MARK + _plain_state + put(0) + new(WRAPPER) + get(0) + pickle.BUILD + FLOATS + pickle.TUPLE),
    "state-changes-afterwards": (
        "SL311", "form", "the state's dict changes after the array was read",
        new(WRAPPER) + _plain_state + put(0) + pickle.BUILD + FLOATS + get(0) + setitem("shape", (9,))
        + pickle.TUPLE2),
    "as-a-value": ("SL402", "form", "the class itself as a value, for somebody to call", WRAPPER + pickle.TUPLE1),
    "never-built": ("SL319", "form", "a wrapper that never gets a state", new(WRAPPER)),
    "never-built-in-a-tuple": ("SL319", "form", "the same in a tuple", new(WRAPPER) + pickle.TUPLE1),
    "built-without-a-made-one": (
        "SL319", "form", "a wrapper's state on the class itself", build(WRAPPER, {"order": "C"})),
}  # fmt: skip
WRAPPER_MAKING: Table = {
    name: Case(finding, threat, trick, proto(4) + data + STOP)
    for name, (finding, threat, trick, data) in _MAKING.items()
}

# -------------------------------------------------------------------------------------------------- dtypes


def struct_dtype(names: object, fields: object, size: int, flags: int = 0, sub: object = None) -> bytes:
    return build(call(DTYPE, f"V{size}", False, True), (3, "|", sub, names, fields, size, 1, flags))


def time_dtype(metadata: object, unit: tuple[object, ...]) -> bytes:
    return build(call(DTYPE, "M8", False, True), (4, "<", None, None, None, -1, -1, 0, (metadata, unit)))


def deep_dtype(levels: int) -> bytes:
    made = dtype("u1")
    for _ in range(levels):
        made = struct_dtype(("a",), {"a": (made, 0)}, 1, 16)
    return made


def wide_dtype(levels: int, fan: int) -> bytes:
    """Few bytes that unfold to `fan ** levels` fields, because every level shares the one below."""
    names = tuple(f"f{i}" for i in range(fan))
    made = dtype("u1") + put(0)
    for level in range(levels):
        fields = {name: (made if name == "f0" else get(level), 0) for name in names}
        made = struct_dtype(names, fields, 1, 16) + put(level + 1)
    return made


_f8 = (3, "<", None, None, None, -1, -1, 0)
DTYPES: Table = {
    "item-size-lies": memory(
        "SL312", "an item size of 800 for float64", dtype("f8", (3, "<", None, None, None, 800, -1, 0))),
    "alignment-lies": form(
        "SL312", "an alignment for a code that has its own", dtype("f8", (3, "<", None, None, None, -1, 8, 0))),
    "object-flags-on-numbers": memory(
        "SL312", "numbers flagged as objects: raw bytes are taken for pointers",
        dtype("i8", (3, "<", None, None, None, -1, -1, 63))),
    "no-object-flags-on-objects": memory(
        "SL312", "objects not flagged as such: copied without a reference",
        dtype("O8", (3, "|", None, None, None, -1, -1, 0))),
    "flags-a-bool": form("SL312", "flags that are False", dtype("u1", (3, "|", None, None, None, -1, -1, False))),
    "another-version": form("SL312", "a state of another version", dtype("f8", (2, "<", None, None, None, -1, -1, 0))),
    "native-byte-order": form("SL312", "byte order '='", dtype("f8", (3, "=", None, None, None, -1, -1, 0))),
    "byte-order-of-bytes": form(
        "SL312", "a byte order for single bytes", dtype("u1", (3, "<", None, None, None, -1, -1, 0))),
    "state-too-short": form("SL312", "a state of seven parts", dtype("f8", _f8[:7])),
    "metadata": form("SL312", "metadata where there is none", dtype("f8", (*_f8, {}))),
    "fields-without-names": memory(
        "SL312", "a field of objects in a float",
        dtype("f8", (3, "<", None, None, {"a": (dtype("O8"), 0)}, -1, -1, 0))),
    "names-without-fields": memory("SL312", "names without fields", dtype("f8", (3, "<", None, ("a",), None, 8, 1, 0))),
    "code-spelt-otherwise": form("SL312", "the code of objects as '|O'", call(DTYPE, "|O", False, True)),
    "code-a-type": form("SL312", "a type for a code", call(DTYPE, glob("builtins", "object"), False, True)),
    "code-of-several": form("SL312", "a code of two", call(DTYPE, "f8,O", False, True)),
    "code-with-a-unit": form("SL312", "the unit in the code", call(DTYPE, "M8[ns]", False, True)),
    "code-of-strings": form("SL312", "the code of numpy's string dtype", call(DTYPE, "T16", False, True)),
    "not-copied": form("SL312", "dtype without copy", call(DTYPE, "f8", False, False)),
    "numbers-for-booleans": form(
        "SL312", "numbers that are no 0 and 1, which numpy before 1.19 wrote", call(DTYPE, "f8", 0, 2)),
    "state-twice": form("SL319", "a dtype's state is set twice", build(dtype(), _f8)),
    "fields-in-a-number": memory(
        "SL312", "the fields of a structure in the state of float64",
        build(call(DTYPE, "f8", False, True), (3, "|", None, ("a",), {"a": (dtype(), 0)}, 8, 1, 16))),
    "subarray-in-a-number": memory(
        "SL312", "a subarray in the state of float64",
        build(call(DTYPE, "f8", False, True), (3, "|", (dtype(), (2,)), None, None, 16, 8, 0))),
    "state-twice-beside-none": form(
        "SL319", "the same beside a dtype that has none, so that there are as many states as dtypes",
        build(dtype(), _f8), call(DTYPE, "f8", False, True), pickle.TUPLE2),
    "state-never": form("SL319", "a dtype never gets its state", call(DTYPE, "f8", False, True)),
    "by-newobj": form("SL318", "a dtype made by NEWOBJ", new(DTYPE, "f8")),
    "field-beyond-the-end": memory(
        "SL312", "a field after the item's end", struct_dtype(("a",), {"a": (dtype(), 8)}, 8, 16)),
    "field-whose-end-wraps": memory(
        "SL312", "a field 2 GB after the item's start, whose end numpy counts as before it",
        struct_dtype(("a",), {"a": (dtype(), (1 << 31) - 1)}, 8, 16)),
    "field-before-the-start": memory(
        "SL312", "a field before the item's start", struct_dtype(("a",), {"a": (dtype(), -8)}, 8, 16)),
    "numbers-over-objects": memory(
        "SL312", "numbers and objects at one place: pointers can be written",
        struct_dtype(("a", "b"), {"a": (dtype("O8"), 0), "b": (dtype("i8"), 0)}, 8, 27)),
    "objects-without-the-flag": memory(
        "SL312", "objects in a structure that is not flagged so", struct_dtype(("a",), {"a": (dtype("O8"), 0)}, 8, 16)),
    "a-title": form("SL312", "a field with a title", struct_dtype(("a",), {"a": (dtype(), 0, "t")}, 8, 16)),
    "field-unproven": form(
        "SL312", "a field whose dtype has no state",
        struct_dtype(("a",), {"a": (call(DTYPE, "f8", False, True), 0)}, 8, 16)),
    "subarray-of-nothing": form("SL312", "a subarray of a number", struct_dtype(None, None, 8, sub=(1, (1,)))),
    "subarray-negative": memory(
        "SL312", "a subarray of negative shape", struct_dtype(None, None, 8, sub=(dtype(), (-1,)))),
    "unit-of-no-length": form(
        "SL312", "a time unit of length 0",
        build(call(DTYPE, "M8", False, True), (4, "<", None, None, None, -1, -1, 0, (None, (raw(b"ns"), 0, 1, 1))))),
    "unit-with-metadata": form("SL312", "metadata beside a time unit", time_dtype({"a": 1}, (raw(b"ns"), 1, 1, 1))),
    "unit-of-a-fraction": form("SL312", "a part of a time unit", time_dtype(None, (raw(b"ns"), 1, 2, 1))),
    "unit-of-many-events": form("SL312", "several events in a time unit", time_dtype(None, (raw(b"ns"), 1, 1, 7))),
    "unit-unknown": form(
        "SL312", "a time unit that is none",
        build(call(DTYPE, "M8", False, True), (4, "<", None, None, None, -1, -1, 0, (None, (raw(b"x"), 1, 1, 1))))),
    "nested-deep": exhaust("SL505", "structures in structures, nine deep", deep_dtype(9)),
    "nested-wide": exhaust("SL505", "a few kilobytes that unfold to two million fields", wide_dtype(7, 8)),
    "fields-change-afterwards": form(
        "SL320", "the dict of the fields changes after the dtype has it",
        struct_dtype(("a",), mapping({"a": (dtype(), 0)}) + put(0), 8, 16) + get(0) + setitem("a", (1, 0)),
        pickle.TUPLE2),
}  # fmt: skip

# -------------------------------------------------------------------------------------------------- arrays


def masked(mask: bytes = b"\0", fill: object = None) -> bytes:
    made = call(MASKED, MASKED_ARRAY, NDARRAY, (0,), raw(b"b"))
    return build(made, (1, (1,), dtype(), False, raw(bytes(8)), raw(mask), fill))


_ARRAY_STATE = (1, (1,), dtype(), False, raw(bytes(8)))
ARRAYS: Table = {
    "less-data": memory("SL324", "less data than the shape says", array((2,))),
    "more-data": form("SL324", "more data than the shape says", array((0,))),
    "shape-wraps": memory("SL324", "a shape whose product wraps", array(_huge)),
    "shape-negative": form("SL324", "a negative shape", array((-1,))),
    "objects-from-bytes": memory("SL324", "an object array whose pointers are in the file", array((1,), dtype("O8"))),
    "objects-too-few": memory("SL324", "an object array with fewer objects", array((2,), dtype("O8"), [None])),
    "objects-change-afterwards": form(
        "SL320", "the list of an object array changes afterwards",
        array((1,), dtype("O8"), value([None]) + put(0)), get(0), pickle.NONE, pickle.APPEND, pickle.TUPLE2),
    "numbers-from-a-list": form("SL324", "numbers from a list", array((1,), dtype(), [1.5])),
    "order-no-bool": form("SL324", "an order that is 1", array(fortran=1)),
    "dtype-a-str": form("SL324", "a dtype that is text", array((1,), text("<f8"))),
    "state-of-four": form(
        "SL324", "a state without its version",
        build(call(RECONSTRUCT, NDARRAY, (0,), raw(b"b")), ((1,), dtype(), False, raw(bytes(8))))),
    "state-twice": memory("SL319", "an array's state is set twice", build(array(), _ARRAY_STATE)),
    "state-twice-beside-none": memory(
        "SL319", "the same beside an array that has none, so that there are as many states as arrays",
        build(array(), _ARRAY_STATE), call(RECONSTRUCT, NDARRAY, (0,), raw(b"b")), pickle.TUPLE2),
    "state-of-another-version": form(
        "SL324", "an array's state of version 0",
        build(call(RECONSTRUCT, NDARRAY, (0,), raw(b"b")), (0, *_ARRAY_STATE[1:]))),
    "state-of-six": form(
        "SL324", "an array's state with one more part",
        build(call(RECONSTRUCT, NDARRAY, (0,), raw(b"b")), (*_ARRAY_STATE, None))),
    "state-never": form("SL319", "an array never gets its state", call(RECONSTRUCT, NDARRAY, (0,), raw(b"b"))),
    "made-with-a-size": exhaust(
        "SL324", "an array of a tebibyte, made at once", call(RECONSTRUCT, NDARRAY, (1 << 40,), raw(b"b"))),
    "made-of-another-class": form("SL324", "_reconstruct of an estimator", call(RECONSTRUCT, LINEAR, (0,), raw(b"b"))),
    "made-of-objects": form("SL324", "_reconstruct with another code", call(RECONSTRUCT, NDARRAY, (0,), raw(b"O"))),
    "of-a-subarray": memory(
        "SL324", "an array whose items are arrays, which numpy has nowhere", array((1,), subarray(), raw(bytes(16)))),
    "buffer-of-a-subarray": form(
        "SL324", "the same over a buffer", call(FROMBUFFER, raw(bytes(16)), subarray(), (1,), "C")),
    "scalar-of-a-subarray": form("SL324", "the same as a scalar", call(SCALAR, subarray(), raw(bytes(16)))),
    "by-newobj": memory("SL318", "an array made by NEWOBJ", new(NDARRAY, (1,))),
    "build-on-a-buffer": memory(
        "SL319", "BUILD on an array from a buffer",
        build(call(FROMBUFFER, raw(bytes(8)), dtype(), (1,), "C"), _ARRAY_STATE)),
    "build-on-a-wrapper-array": memory(
        "SL319", "BUILD on an array that joblib read", build(PLAIN + FLOATS, _ARRAY_STATE)),
    "scalar-of-objects": memory(
        "SL324", "a scalar of objects: a pointer from the file", call(SCALAR, dtype("O8"), raw(bytes(8)))),
    "scalar-of-fewer-bytes": memory("SL324", "a scalar of fewer bytes", call(SCALAR, dtype(), raw(bytes(7)))),
    "scalar-of-a-str": form("SL324", "a scalar from text", call(SCALAR, dtype(), text("12345678"))),
    "buffer-of-objects": memory(
        "SL324", "an array of pointers over bytes of the file",
        call(FROMBUFFER, raw(bytes(8)), dtype("O8"), (1,), "C")),
    "buffer-too-short": form(
        "SL324", "a buffer shorter than its shape", call(FROMBUFFER, raw(bytes(8)), dtype(), (2,), "C")),
    "buffer-shape-wraps": memory(
        "SL324", "a shape whose product wraps, over a buffer", call(FROMBUFFER, raw(b""), dtype(), _huge, "C")),
    "buffer-order": form("SL324", "a buffer in order A", call(FROMBUFFER, raw(bytes(8)), dtype(), (1,), "A")),
    "mask-of-another-length": memory("SL324", "a mask longer than its array", masked(b"\0\0")),
    "fill-value-of-objects": memory(
        "SL324", "a fill value of objects in an array of numbers", masked(fill=array((), dtype("O8"), [None]))),
    "fill-value-no-array": form("SL324", "a fill value that is a float", masked(fill=1.5)),
    "pointer-in-a-bunch": memory(
        "SL320", "an object that answers numpy's __array_interface__ with an address",
        build(new(LINEAR), {"coef_": BUNCH + setitem(
            "__array_interface__", {"data": (4096, False), "shape": (1,), "typestr": "<u8", "version": 3})})),
    "pointer-in-a-bunch-under-a-text-of-numpy": memory(
        "SL320", "the same under a numpy.str_ as the key, which equals the str",
        build(new(LINEAR), {"coef_": BUNCH + setitem(
            call(SCALAR, dtype("U19", (3, "<", None, None, None, 76, 4, 8)),
                 raw("__array_interface__".encode("utf-32-le"))),
            {"data": (4096, False), "shape": (1,), "typestr": "<u8", "version": 3})})),
    "pointer-in-a-state": memory(
        "SL404", "the same among an estimator's attributes",
        build(new(LINEAR), {"__array_interface__": {"data": (4096, False), "shape": (1,), "typestr": "<u8"}})),
}  # fmt: skip

TABLES: dict[str, Table] = {
    "frame": FRAMES,
    "after-array": AFTER_ARRAYS,
    "nested": NESTED,
    "padding": PADDING,
    "wrapper-state": WRAPPER_STATES,
    "wrapper-making": WRAPPER_MAKING,
    "mmap": MMAP,
    "dtype": DTYPES,
    "array": ARRAYS,
}
