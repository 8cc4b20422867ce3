"""The abstract pickle machine: what joblib.load would do with a stream, without doing it.

It follows CPython's pure-Python `pickle._Unpickler` (Lib/pickle.py), because that is what joblib runs, and
`joblib.numpy_pickle.NumpyUnpickler` on top of it.  Where the two would do what no honest pickler asks for, the
machine refuses instead of following.  It is iterative, keeps abstract values only, and never imports, calls or
compares anything that the stream names.  Steps that are someone else's: which global may be used how (a Grant, from
the policy), numpy's own forms (`_forms`), where the bytes come from (a Source).

This module is compiled with mypyc where a compiler is at hand; it has to run the same as plain Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from safeload.rules import RefusedError
from safeload.scan import _contents as contents
from safeload.scan import _forms as forms
from safeload.scan._effects import Effects
from safeload.scan._ledger import A_CONTAINER, A_GLOBAL, A_SLOT, A_TEXT, A_TUPLE, AN_INTEGER, AN_OBJECT
from safeload.scan._opcodes import (
    ADDITEMS,
    APPEND,
    APPENDS,
    BINBYTES,
    BINBYTES8,
    BINFLOAT,
    BINGET,
    BININT,
    BININT1,
    BININT2,
    BINPUT,
    BINUNICODE,
    BINUNICODE8,
    BUILD,
    BYTEARRAY8,
    DICT,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_SET,
    EMPTY_TUPLE,
    FLOAT,
    FRAME,
    FROZENSET,
    GET,
    GLOBAL,
    INT,
    LIST,
    LONG,
    LONG1,
    LONG4,
    LONG_BINGET,
    LONG_BINPUT,
    MARK,
    MEMOIZE,
    NEVER_WRITTEN,
    NEWFALSE,
    NEWOBJ,
    NEWOBJ_EX,
    NEWTRUE,
    NONE,
    PROTO,
    PUT,
    REDUCE,
    SETITEM,
    SETITEMS,
    SHORT_BINBYTES,
    SHORT_BINUNICODE,
    STACK_GLOBAL,
    STOP,
    TUPLE,
    TUPLE1,
    TUPLE2,
    TUPLE3,
    UNICODE,
)
from safeload.scan._window import KEPT_TEXT
from safeload.scan.values import (
    FLOAT_VALUE,
    ADict,
    AList,
    Array,
    ASet,
    Forbidden,
    Global,
    Grant,
    Wrapper,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_extensions import i64

    from safeload.scan._window import Source
    from safeload.scan.limits import Limits

_NO_FRAME: Final = 1 << 62
_RARE: Final = 3  # how many opcodes more one is worth that the main loop leaves to `rare`
# What a pickle without PROTO (protocols 0 and 1) can begin with.
_FIRST_OPCODES: Final = frozenset(
    (
        MARK, NONE, INT, LONG, FLOAT, UNICODE, GLOBAL, EMPTY_DICT, EMPTY_LIST,
        EMPTY_TUPLE, BININT, BININT1, BININT2, BINFLOAT, BINUNICODE,
    )
)  # fmt: skip

_SMALL: Final = tuple([(number,) for number in range(256)])  # most shapes


class Machine(Effects):
    """One scan of one stream."""

    def __init__(
        self,
        source: Source,
        grant_of: Callable[[str], Grant | None],
        limits: Limits,
        record: list[tuple[Any, ...]] | None,
    ) -> None:
        super().__init__(source, grant_of, limits, record)
        self.arrays: i64 = 0

    # -------------------------------------------------------------------------------------------- run

    def run(self, nested: bool) -> object:
        """Run one pickle to its STOP and return the abstract value of what it makes."""
        stack: list[Any] = []
        metastack: list[list[Any]] = []
        memo = self.memo
        frame_end: i64 = _NO_FRAME
        fetched: i64 = -1
        opcodes: i64 = self.opcodes
        limit: i64 = 0
        buf = self.buf
        pos: i64 = self.pos
        end: i64 = len(buf)
        base: i64 = self.base
        value: Any = None
        items: list[Any] = []
        code: i64 = 0
        size: i64 = 0
        first = True
        while True:
            if (end - pos < 16 and not self.exhausted) or first:
                self.pos, self.opcodes = pos, opcodes
                self.fill(16)
                buf, pos, end, base = self.buf, self.pos, len(self.buf), self.base
            self.at = base + pos
            if base + pos >= frame_end:
                if base + pos > frame_end:
                    raise RefusedError("SL305", "a frame ends inside an opcode", self.at)
                frame_end = _NO_FRAME
            if pos >= end:
                raise self.ended()
            code = buf[pos]
            pos += 1
            opcodes += 1
            if opcodes > limit:
                # Often enough to bound what piles up, and rarely enough to cost nothing.
                self.opcodes = opcodes
                limit = self.check_limits(stack, metastack)
            if first:
                first = False
                if code == PROTO:
                    if pos >= end:
                        raise self.ended()
                    self.set_proto(buf[pos], nested)
                    pos += 1
                    continue
                if nested:
                    raise RefusedError("SL314", "a nested pickle without PROTO", self.at)

            # Everything with a fixed length of up to 8 bytes is in the window, unless the stream ends here.
            if code == BINGET:
                if pos >= end:
                    raise self.ended()
                size = buf[pos]
                pos += 1
                if size >= len(memo):
                    raise self.no_memo(size)
                value = memo[size]
                if size > fetched:
                    fetched = self.fetched = size
                if isinstance(value, Global):
                    value.pushed += 1
                elif isinstance(value, ADict):
                    value.shared = True
                elif isinstance(value, Forbidden):
                    raise self.forbidden(value)
                stack.append(value)
            elif code == MEMOIZE:
                if len(memo) >= self.max_memo:
                    raise self.memo_full()
                value = stack[-1]
                memo.append(value if isinstance(value, str) else self.kept(value))
                self.memory += A_SLOT
            elif code == SHORT_BINUNICODE:
                if pos >= end:
                    raise self.ended()
                size = buf[pos]
                pos += 1
                if size > end - pos:
                    self.pos = pos
                    stack.append(self.text(size))
                    buf, pos, end, base = self.buf, self.pos, len(self.buf), self.base
                    self.memory += A_TEXT + 4 * (size if size < KEPT_TEXT else 0)
                else:
                    text = self.decoded(buf[pos : pos + size])
                    # Characters beyond ASCII take up to four bytes each, whatever they took in the file.
                    self.memory += A_TEXT + (size if len(text) == size else 4 * size)
                    stack.append(text)
                    pos += size
            elif code == SHORT_BINBYTES:
                if pos >= end:
                    raise self.ended()
                size = buf[pos]
                pos += 1
                if size > end - pos:
                    self.pos = pos
                    stack.append(self.take(size))
                    buf, pos, end, base = self.buf, self.pos, len(self.buf), self.base
                else:
                    stack.append(buf[pos : pos + size])
                    pos += size
                self.memory += AN_INTEGER + size
            elif code == BININT1:
                if pos >= end:
                    raise self.ended()
                stack.append(buf[pos])
                pos += 1
            elif code == LONG_BINGET:
                if end - pos < 4:
                    raise self.ended()
                size = buf[pos] | buf[pos + 1] << 8 | buf[pos + 2] << 16 | buf[pos + 3] << 24
                pos += 4
                if size >= len(memo):
                    raise self.no_memo(size)
                value = memo[size]
                if size > fetched:
                    fetched = self.fetched = size
                if isinstance(value, Global):
                    value.pushed += 1
                elif isinstance(value, ADict):
                    value.shared = True
                elif isinstance(value, Forbidden):
                    raise self.forbidden(value)
                stack.append(value)
            elif code == BINFLOAT:
                if end - pos < 8:
                    raise self.ended()
                pos += 8
                stack.append(FLOAT_VALUE)
            elif code == BININT:
                if end - pos < 4:
                    raise self.ended()
                size = buf[pos] | buf[pos + 1] << 8 | buf[pos + 2] << 16 | buf[pos + 3] << 24
                if size >= 1 << 31:
                    size -= 1 << 32
                stack.append(size)
                self.memory += AN_INTEGER
                pos += 4
            elif code == BININT2:
                if end - pos < 2:
                    raise self.ended()
                stack.append(buf[pos] | buf[pos + 1] << 8)
                self.memory += AN_INTEGER
                pos += 2
            elif code == BINPUT:
                if pos >= end:
                    raise self.ended()
                self.put(buf[pos], stack[-1])
                pos += 1
            elif code == LONG_BINPUT:
                if end - pos < 4:
                    raise self.ended()
                size = buf[pos] | buf[pos + 1] << 8 | buf[pos + 2] << 16 | buf[pos + 3] << 24
                pos += 4
                self.put(size, stack[-1])
            elif code == BINUNICODE:
                if end - pos < 4:
                    raise self.ended()
                size = buf[pos] | buf[pos + 1] << 8 | buf[pos + 2] << 16 | buf[pos + 3] << 24
                pos += 4
                if size > end - pos or size > KEPT_TEXT:
                    self.pos = pos
                    stack.append(self.text(size))
                    buf, pos, end, base = self.buf, self.pos, len(self.buf), self.base
                    self.memory += A_TEXT + 4 * (size if size < KEPT_TEXT else 0)
                else:
                    text = self.decoded(buf[pos : pos + size])
                    # Characters beyond ASCII take up to four bytes each, whatever they took in the file.
                    self.memory += A_TEXT + (size if len(text) == size else 4 * size)
                    stack.append(text)
                    pos += size
            elif code == MARK:
                metastack.append(stack)
                stack = []
            elif code == NONE:
                stack.append(None)
            elif code == NEWTRUE:
                stack.append(True)
            elif code == NEWFALSE:
                stack.append(False)
            elif code == EMPTY_TUPLE:
                stack.append(())
            elif code == TUPLE1:
                value = stack[-1]
                if type(value) is int and 0 <= value < 256:
                    stack[-1] = _SMALL[value]
                else:
                    stack[-1] = (value,)
                    self.memory += A_TUPLE + 8
            elif code == TUPLE2:
                value = stack.pop()
                stack[-1] = (stack[-1], value)
                self.memory += A_TUPLE + 16
            elif code == TUPLE3:
                value = stack.pop()
                second = stack.pop()
                stack[-1] = (stack[-1], second, value)
                self.memory += A_TUPLE + 24
            elif code == TUPLE:
                items = stack
                stack = metastack.pop()
                stack.append(tuple(items))
                self.memory += A_TUPLE + 8 * len(items)
            elif code == EMPTY_DICT:
                stack.append(ADict([]))
                self.memory += A_CONTAINER
            elif code == EMPTY_LIST:
                stack.append(AList([]))
                self.memory += A_CONTAINER
            elif code == SETITEMS:
                items = stack
                stack = metastack.pop()
                self.set_items(stack[-1], items)
            elif code == SETITEM:
                value = stack.pop()
                items = [stack.pop(), value]
                self.set_items(stack[-1], items)
            elif code == APPENDS:
                items = stack
                stack = metastack.pop()
                self.append(stack[-1], items)
            elif code == APPEND:
                items = [stack.pop()]
                self.append(stack[-1], items)
            elif code == NEWOBJ:
                value = stack.pop()
                self.memory += AN_OBJECT
                stack[-1] = self.new(stack[-1], value)
            elif code == REDUCE:
                value = stack.pop()
                self.memory += AN_OBJECT
                stack[-1] = self.call(stack[-1], value)
            elif code == BUILD:
                value = stack.pop()
                target = stack[-1]
                if isinstance(target, Wrapper):
                    if nested:
                        raise RefusedError("SL314", "an array wrapper inside a nested pickle", self.at)
                    if frame_end != _NO_FRAME and frame_end != base + pos:
                        # The array's bytes would be read from after the frame, not from here.
                        raise RefusedError("SL305", "a frame goes on past an array wrapper", self.at)
                    frame_end = _NO_FRAME
                    self.pos, self.opcodes = pos, opcodes
                    stack[-1] = self.array(target, value)
                    self.finished(target, value)
                    buf, pos, end, base = self.buf, self.pos, len(self.buf), self.base
                    opcodes = self.opcodes
                else:
                    self.build(target, value)
                    stack[-1] = self.finished(target, value)
            elif code == STOP:
                value = stack.pop()
                if stack or metastack:
                    raise RefusedError("SL306", "values are left on the stack at the end", self.at)
                if frame_end != _NO_FRAME and frame_end != base + pos:
                    raise RefusedError("SL305", "a frame goes on past the end", self.at)
                self.pos, self.opcodes = pos, opcodes
                self.check_limits(stack, metastack)
                return value
            elif code == FRAME:
                if end - pos < 8:
                    raise self.ended()
                if self.proto < 4:
                    raise RefusedError("SL305", "a frame in a protocol that has none", self.at)
                if frame_end != _NO_FRAME:
                    raise RefusedError("SL305", "a frame begins inside a frame", self.at)
                self.pos = pos
                size = self.number(8)
                pos = self.pos
                if self.size >= 0 and size > self.size - (base + pos):
                    raise RefusedError("SL507", "a frame that is longer than what is left", self.at)
                frame_end = base + pos + size
                self.work += 1
            else:
                # Everything rarer: the machine's own position is what these work on.
                self.pos = pos
                stack = self.rare(code, stack, metastack)
                buf, pos, end, base = self.buf, self.pos, len(self.buf), self.base
                fetched = self.fetched

    def rare(self, code: i64, stack: list[Any], metastack: list[list[Any]]) -> list[Any]:
        """Do one of the rarer opcodes and return the stack to go on with."""
        value: Any = None
        items: list[Any] = []
        size: i64 = 0
        self.work += _RARE
        if code == STACK_GLOBAL:
            value = stack.pop()
            stack[-1] = self.stack_global(stack[-1], value)
        elif code == GLOBAL:
            stack.append(self.line_global())
        elif code == BINBYTES:
            stack.append(self.bytes_of(self.number(4)))
        elif code == BINBYTES8:
            stack.append(self.bytes_of(self.number(8)))
        elif code == BYTEARRAY8:
            size = self.number(8)
            stack.append(self.long_bytes(size, True))
            self.memory += A_TEXT
        elif code == BINUNICODE8:
            size = self.number(8)
            stack.append(self.text(size))
            self.memory += A_TEXT + 4 * (size if size < KEPT_TEXT else 0)
        elif code == LONG1:
            stack.append(self.long(self.number(1)))
            self.memory += AN_INTEGER + 24
        elif code == LONG4:
            stack.append(self.long(self.number(4)))
            self.memory += AN_INTEGER + 24
        elif code == EMPTY_SET:
            stack.append(ASet([], False))
            self.memory += A_CONTAINER
        elif code == ADDITEMS:
            items = stack
            stack = metastack.pop()
            self.add_items(stack[-1], items)
        elif code == FROZENSET:
            items = stack
            stack = metastack.pop()
            value = ASet(items, True)
            self.check_keys(value, items, 1)
            stack.append(value)
            self.memory += A_CONTAINER + A_SLOT * len(items)
        elif code == LIST:
            items = stack
            stack = metastack.pop()
            stack.append(AList(items))
            self.memory += A_CONTAINER + A_SLOT * len(items)
        elif code == DICT:
            items = stack
            stack = metastack.pop()
            value = ADict([])
            self.memory += A_CONTAINER
            self.set_items(value, items)
            stack.append(value)
        elif code == NEWOBJ_EX:
            keywords = stack.pop()
            value = stack.pop()
            stack[-1] = self.new_ex(stack[-1], value, keywords)
        elif code == PUT:
            self.put(self.decimal(), stack[-1])
        elif code == GET:
            size = self.decimal()
            if size >= len(self.memo):
                raise self.no_memo(size)
            value = self.memo[size]
            if size > self.fetched:
                self.fetched = size
            if isinstance(value, Global):
                value.pushed += 1
            elif isinstance(value, ADict):
                value.shared = True
            elif isinstance(value, Forbidden):
                raise self.forbidden(value)
            stack.append(value)
        elif code == INT:
            stack.append(self.text_int())
            self.memory += AN_INTEGER + 24
        elif code == LONG:
            stack.append(self.text_long())
            self.memory += AN_INTEGER + 24
        elif code == FLOAT:
            self.text_float()
            stack.append(FLOAT_VALUE)
        elif code == UNICODE:
            self.work += 1
            value = self.text_line()
            stack.append(value)
            self.memory += A_TEXT + 4 * (len(value) if isinstance(value, str) else 0)
        elif code == PROTO:
            raise RefusedError("SL309", "PROTO stands anywhere but at the start", self.at)
        elif code in NEVER_WRITTEN:
            raise RefusedError("SL303", f"{NEVER_WRITTEN[code]}: no pickler writes it for a model", self.at)
        else:
            raise RefusedError("SL302", f"0x{int(code):02x} is no opcode", self.at)
        return stack

    def bytes_of(self, size: i64) -> object:
        self.memory += AN_INTEGER + (size if size <= forms.KEPT_BYTES else 0)
        return self.short_bytes(size)

    def set_proto(self, version: i64, nested: bool) -> None:
        if nested and version not in (2, 5):
            # joblib before 1.5 wrote 2, whatever the protocol around it, and writes 5 since.
            raise RefusedError("SL314", f"a nested pickle of protocol {version}, not 5 or 2", self.at)
        if version < 2 or version > 5:
            raise RefusedError("SL309", f"protocol {version}, where 2 to 5 state themselves", self.at)
        self.proto = version

    # ----------------------------------------------------------------------------------------- arrays

    def array(self, wrapper: Wrapper, state: object) -> object:
        """BUILD on an array wrapper: the array's bytes, or a pickle of its objects, follow in the file."""
        if isinstance(state, ADict) and (state.shared or state.slot == -2):
            # Whoever else holds it would hold an array class, which only this form may use.
            raise RefusedError("SL311", "the state of an array wrapper stands elsewhere, too", self.at)
        origin = wrapper.origin
        self.count_state(origin)
        here: i64 = self.base + self.pos
        remaining: i64 = self.size - here if self.size >= 0 else -1
        found = forms.wrapper_state(state, self.at, remaining)
        self.unbuilt -= 1
        self.arrays += 1
        if found.length < 0:
            return self.nested(found)
        if found.padded:
            self.padding()
        start: i64 = self.base + self.pos
        array = Array(None)
        array.contents = contents.watcher_of(found.dtype)
        if array.contents is None:
            self.pass_over(found.length)
        else:
            self.watch(found.length, found.dtype.itemsize, array.contents)
            self.structures.seen(array.contents)
        if self.record is not None:
            self.record.append(("array", int(start), found.length, int(here)))
        array.dtype, array.shape, array.built = found.dtype, found.shape, True
        return self.new_array(array)

    def padding(self) -> None:
        """Joblib pads with 1 to 16 bytes of 0xff, so that the array starts at a multiple of 16."""
        length = self.number(1)
        if length != 16 - (self.base + self.pos) % 16:
            raise RefusedError("SL313", "the padding before an array does not align it", self.at)
        if self.take(length) != b"\xff" * int(length):
            raise RefusedError("SL313", "the padding before an array is not filled with 0xff", self.at)

    def nested(self, wrapped: forms.WrapperState) -> object:
        """Joblib reads the pickle of an object array with an unpickler of its own."""
        memo, proto, at, unbuilt = self.memo, self.proto, self.at, self.unbuilt
        fetched, memory, names = self.fetched, self.memory, len(self.globals)
        self.memo = []
        self.fetched = -1
        self.unbuilt = 0
        self.proto = 5
        start: i64 = self.base + self.pos
        value = self.run(True)
        if self.unbuilt:
            raise RefusedError("SL319", "an array or dtype in a nested pickle never gets its state", self.at)
        if (
            not isinstance(value, Array)
            or value.origin is None
            or value.origin.form != forms.RECONSTRUCT
            or value.dtype != wrapped.dtype
            or value.shape != wrapped.shape
        ):
            raise RefusedError("SL314", "a nested pickle that is not the array that was announced", at)
        if self.record is not None:
            self.record.append(("nested", int(start), int(self.base + self.pos - start)))
        self.memo, self.proto, self.unbuilt, self.at = memo, proto, unbuilt, at
        self.fetched = fetched
        if value.dtype.names is None and value.dtype.subdtype is None:
            # Of a nested pickle only the array stays, with a dtype that is numpy's own.
            self.memory = memory + A_GLOBAL * (len(self.globals) - names)
        return value

    # ---------------------------------------------------------------------------------------- the whole

    def scan(self) -> None:
        """Scan the stream from its first byte to its last."""
        self.fill(16)
        if not self.buf:
            raise RefusedError("SL323", "the file is empty", 0)
        first = self.buf[0]
        if first != PROTO and first not in _FIRST_OPCODES:
            raise RefusedError("SL323", "it starts with nothing that a pickle starts with", 0)
        if first == PROTO and len(self.buf) > 1:
            self.outer_proto = self.buf[1]
        self.run(False)
        if self.unbuilt:
            raise RefusedError("SL319", "an array or dtype never gets its state", self.at)
        self.check_structures(True)
        self.at = self.base + self.pos
        self.fill(1)
        if len(self.buf) > self.pos:
            raise RefusedError("SL304", "bytes follow the end of the pickle", self.at)
