"""What picklers do not write and the scanner follows all the same, and whether docs/explanation/tricks.md is true."""

from __future__ import annotations

import ast
import json
import pickle
import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

import safeload
from pickles import oracle
from pickles.opcodes import (
    NDARRAY,
    STOP,
    array,
    call,
    dtype,
    frame,
    get,
    glob,
    line_glob,
    mapping,
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
    wrapper,
)
from safeload.findings import FINDING_KINDS
from support.places import ROOT

TABLE = ROOT / "docs" / "explanation" / "tricks.md"
FLOATS = struct.pack("<2d", 1.5, 2.5)
BUNCH = glob("sklearn.utils._bunch", "Bunch")
_nothing = frame(b"")
_objects = wrapper(shape=(1,), dtype=dtype("O8"), allow_mmap=False)
_inner = array((1,), dtype("O8"), [None])

FOLLOWED = {
    # Lib/pickle.py takes the next opcode from the file where a frame has nothing left.
    "empty frames": proto(4) + _nothing + frame(pickle.NONE) + _nothing + frame(pickle.TUPLE1) + STOP,
    "frames of one opcode": proto(4) + frame(pickle.MARK) + frame(text("a")) + frame(pickle.TUPLE) + frame(STOP),
    "opcodes between frames": proto(4) + pickle.MARK + frame(text("a")) + pickle.NONE + frame(pickle.TUPLE) + STOP,
    "an array between frames": padded(proto(4) + frame(pickle.MARK) + frame(wrapper()), FLOATS)
    + frame(pickle.NONE) + frame(pickle.TUPLE + STOP),
    "frames around a nested pickle": proto(4) + frame(_objects) + proto(5) + frame(_inner) + frame(STOP) + frame(STOP),
    "opcodes of later protocols": stream(
        pickle.MARK, pickle.SHORT_BINUNICODE + b"\1a", pickle.EMPTY_SET, pickle.MARK, pickle.NONE, pickle.ADDITEMS,
        pickle.MEMOIZE, get(0), pickle.BINBYTES8 + struct.pack("<Q", 1) + b"x", pickle.MARK, pickle.FROZENSET,
        pickle.TUPLE, version=2),
    "opcodes of later protocols without PROTO": old_stream(pickle.MARK, pickle.NEWTRUE, pickle.NONE + pickle.TUPLE1,
                                                           pickle.LONG1 + b"\1\5", pickle.TUPLE),
    "text opcodes in a binary protocol": stream(
        pickle.MARK, b"I1\n", b"I01\n", b"L-2L\n", b"F1.5\n", b"Vx\\u0041\n", b"p0\n", b"g0\n", pickle.TUPLE),
    "numbers longer than needed": stream(
        pickle.MARK, pickle.LONG1 + b"\0", pickle.LONG1 + b"\4\1\0\0\0", pickle.LONG4 + b"\1\0\0\0\5",
        pickle.BININT + b"\1\0\0\0", pickle.BININT2 + b"\1\0", pickle.TUPLE),
    "lengths longer than needed": stream(
        pickle.MARK, pickle.BINUNICODE8 + struct.pack("<Q", 1) + b"a", pickle.BINUNICODE + b"\1\0\0\0b",
        pickle.BINBYTES8 + struct.pack("<Q", 0), pickle.LONG_BINPUT + b"\0\0\0\0", pickle.LONG_BINGET + b"\0\0\0\0",
        pickle.TUPLE),
    "memo indices in every spelling": stream(
        pickle.MARK, pickle.NONE, put(0), text("a"), pickle.MEMOIZE, text("b"), b"p2\n",
        pickle.EMPTY_LIST, pickle.LONG_BINPUT + b"\3\0\0\0", get(1), b"g2\n", get(3), pickle.TUPLE),
    "one value in the memo twice": stream(pickle.EMPTY_LIST, put(0), put(1), get(0), pickle.APPEND),
    "nothing added": stream(
        pickle.MARK, pickle.EMPTY_LIST, pickle.MARK, pickle.APPENDS, pickle.EMPTY_DICT, pickle.MARK, pickle.SETITEMS,
        pickle.EMPTY_SET, pickle.MARK, pickle.ADDITEMS, pickle.MARK, pickle.LIST, pickle.MARK, pickle.DICT,
        pickle.TUPLE),
    "old containers in a new protocol": stream(
        pickle.MARK, pickle.MARK, number(1), text("a"), pickle.DICT, pickle.MARK, pickle.NONE, pickle.LIST,
        pickle.TUPLE),
    "keys that are equal": stream(
        mapping([(1, 1), (True, 2), (real(1.0), 3), ("a", 1), ("a", 2), ((), 1), ((), 2)])),
    "items that are equal": stream(
        pickle.EMPTY_SET, pickle.MARK, number(1), pickle.NEWTRUE, real(1.0), text("a"), text("a"), pickle.ADDITEMS),
    "a dict that holds itself": stream(pickle.EMPTY_DICT, put(0), text("a"), get(0), pickle.SETITEM),
    "a global named twice": stream(pickle.MARK, glob("numpy", "log1p"), glob("numpy", "log1p"), pickle.TUPLE),
    "a class by the name of Python 2": stream(
        call(line_glob("__builtin__", "set"), [1]), call(line_glob("builtins", "set"), [1]), pickle.TUPLE2, version=2),
    "STACK_GLOBAL of names from the memo": stream(
        pickle.MARK, text("numpy"), put(0), text("log1p"), put(1), get(0), get(1), pickle.STACK_GLOBAL, pickle.TUPLE),
    "STACK_GLOBAL of escaped text": stream(b"Vnum\\u0070y\n", text("log1p"), pickle.STACK_GLOBAL),
    "items of a Bunch one by one": stream(
        BUNCH + tup() + pickle.NEWOBJ, text("a"), pickle.NONE, pickle.SETITEM,
        pickle.MARK, text("b"), pickle.NONE, pickle.SETITEMS),
    "an array of no bytes": padded(proto(4) + wrapper(shape=(0, 1 << 40)), b"") + STOP,
    "a scalar array": padded(proto(4) + wrapper(shape=(), order="F"), bytes(8)) + STOP,
    "an array in order F": stream(array((2, 1), dtype(), raw(FLOATS), fortran=True)),
    "a wrapper's state in another order": padded(
        proto(4) + wrapper(leave=("shape",), more=[("shape", (2,))]), FLOATS) + STOP,
    "the class of an array from the memo": padded(padded(
        proto(4) + pickle.MARK + wrapper(subclass=NDARRAY + put(0)), FLOATS)
        + wrapper(subclass=get(0)), FLOATS) + pickle.TUPLE + STOP,
}  # fmt: skip


@pytest.mark.parametrize("data", FOLLOWED.values(), ids=FOLLOWED.keys())
def test_followed_exactly(data: bytes) -> None:
    """joblib's unpickler does the same with it, in the same order, and stops at the same byte."""
    trace = scan(data, record=True)
    assert not trace.findings, trace.findings
    if b"numpy._core" in data and int(np.__version__.split(".")[0]) < 2:
        pytest.skip("its array is named as numpy 2 names it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, events, end = oracle.load(data)
    first = {name: name for event in events if event[0] == "global" for name in [event[1:]]}
    assert set(first) == {(use.module, use.qualname) for use in trace.globals}
    assert [event[0] for event in trace.events] == [event[0] for event in events]
    assert [event for event in trace.events if event[0] in ("array", "nested", "global")] == [
        event for event in events if event[0] in ("array", "nested", "global")
    ]
    assert trace.end == end == len(data)


@pytest.mark.parametrize("data", FOLLOWED.values(), ids=FOLLOWED.keys())
def test_cut_off_anywhere(data: bytes, tmp_path: Path) -> None:
    """Many of Lib/pickle.py's reads take what is there for all there is; in a compressed file, too."""
    policy = safeload.Policy.load("sklearn")
    path = tmp_path / "packed"
    for length in range(len(data)):
        code = scan(data[:length], policy).findings[0].code
        assert code in ("SL301", "SL507") or (code, length) == ("SL323", 0), length
        path.write_bytes(zlib.compress(data[:length]))
        code = safeload.scan(path, policy=policy).findings[0].code
        assert code == ("SL301" if length else "SL323"), length


@pytest.mark.parametrize("protocol", range(6))
def test_what_is_mapped_lies_where_the_scanner_sees_it(protocol: int, tmp_path: Path) -> None:
    """With mmap_mode joblib computes an array's place anew, and moves on by what numpy says of its size."""
    path = tmp_path / "arrays.joblib"
    objects = np.array([None, "a"], dtype=object)
    obj: Any = [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.eye(3)), objects, np.zeros((2, 0)),
                np.array(1.5), {"a": np.arange(3, dtype=">i2")}, np.zeros(3, "U2")]  # fmt: skip
    joblib.dump(obj, path, protocol=protocol)
    trace = scan(path.read_bytes(), record=True)
    assert not trace.findings
    for mode in ("r", "c"):
        with path.open("rb") as file:
            unpickler = oracle.OracleUnpickler(file, str(path), mode)
            loaded = oracle.run(unpickler)
            assert isinstance(loaded[0], np.memmap)
            assert list(trace.events) == unpickler.log.events
            assert file.tell() == trace.end


CHANGES = {
    "list_of": (pickle.EMPTY_LIST, text("a") + pickle.APPEND, pickle.MARK + number(1) + pickle.APPENDS),
    "set_of": (
        pickle.EMPTY_SET, pickle.MARK + text("a") + pickle.ADDITEMS, pickle.MARK + number(1) + pickle.ADDITEMS),
    "dict_of": (pickle.EMPTY_DICT, text("a") + text("b") + pickle.SETITEM, text("a") + number(1) + pickle.SETITEM),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
def test_what_a_constraint_looked_into_may_not_change(kind: str, tmp_path: Path) -> None:
    pattern = '["str", "str"]' if kind == "dict_of" else '"str"'
    policy = tmp_path / "policy.toml"
    policy.write_text(f"""name = "acme"
version = 1
extends = ["core"]

[[allow]]
module = "acme.features"
names = ["Clipper"]
roles = ["new", "state"]
state = {{ attributes = {{ column = {{ {kind} = {pattern} }} }} }}
reason = "a column"
""")
    empty, first, change = CHANGES[kind]
    built = glob("acme.features", "Clipper") + tup() + pickle.NEWOBJ
    built += pickle.EMPTY_DICT + text("column") + empty + put(0) + first + pickle.SETITEM + pickle.BUILD
    assert not scan(stream(built, get(0), pickle.TUPLE2), policy).findings
    assert [one.code for one in scan(stream(built, get(0), change, pickle.TUPLE2), policy).findings] == ["SL320"]


# ------------------------------------------------------------------------------------------------ the table


def rows() -> list[tuple[str, str, str, str]]:
    found = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith(("| trick", "| ---")):
            cells = tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            assert len(cells) == 4, line
            found.append(cells)
    return found


def keys_and_tests(path: Path) -> tuple[set[str], set[str]]:
    """Return the tests that a module defines, and the texts in it that can be the name of a case."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return tests, texts


VECTORS = {
    entry["name"]: entry
    for entry in json.loads((ROOT / "vectors" / "index.json").read_text(encoding="utf-8"))["vectors"]
}
_TEST = re.compile(r"(\w+/test_\w+)\.py::(test_\w+)(?:\[(.+)\])?")


@pytest.mark.parametrize(("trick", "unpickler", "scanner", "tests"), rows(), ids=[row[0][:60] for row in rows()])
def test_each_row_names_tests_that_are_there(trick: str, unpickler: str, scanner: str, tests: str) -> None:
    assert trick
    assert unpickler
    codes = set(re.findall(r"SL\d{3}", scanner))
    assert codes <= set(FINDING_KINDS)
    assert codes or "followed" in scanner or "allowed" in scanner
    named = re.findall(r"`([^`]+)`", tests)
    assert named
    for name in named:
        match = _TEST.fullmatch(name)
        if match is None:
            entry = VECTORS[name]
            if entry["expect"] == "refused":
                assert entry["code"] in codes, (name, entry["code"])
            else:
                assert "followed" in scanner or "allowed" in scanner, name
            continue
        there, cases = keys_and_tests(ROOT / "tests" / f"{match[1]}.py")
        assert match[2] in there, name
        assert match[3] is None or match[3] in cases, name


def test_every_code_of_a_stream_is_in_the_table() -> None:
    """Whatever the scanner says of a stream's form stands there as the answer to some trick."""
    said = {code for row in rows() for code in re.findall(r"SL\d{3}", row[2])}
    other = {"SL325", "SL328", "SL329"}  # fickling's, and what honest files come to
    assert {code for code in FINDING_KINDS if code.startswith("SL3")} - other <= said


def test_every_category_of_refused_vectors_is_in_the_table() -> None:
    shown = {name.split("/")[0] for row in rows() for name in re.findall(r"`([^`:]+/[^`:]+)`", row[3])}
    plain = {"payload", "real", "look-alike", "honest-compressed"}  # no tricks
    assert {entry["category"] for entry in VECTORS.values()} - plain <= shown
