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

from safeload._scan import forms
from safeload._scan.arrays import NO_FRAME, SMALL
from safeload._scan.ledger import A_CONTAINER, A_GLOBAL, A_SLOT, A_TEXT, A_TUPLE, AN_INTEGER, AN_OBJECT, text_size
from safeload._scan.opcodes import (
    APPEND,
    APPENDS,
    BINFLOAT,
    BINGET,
    BININT,
    BININT1,
    BININT2,
    BINPUT,
    BINUNICODE,
    BUILD,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    FLOAT,
    FRAME,
    GLOBAL,
    INT,
    LONG,
    LONG_BINGET,
    LONG_BINPUT,
    MARK,
    MEMOIZE,
    NEWFALSE,
    NEWOBJ,
    NEWTRUE,
    NONE,
    PROTO,
    REDUCE,
    SETITEM,
    SETITEMS,
    SHORT_BINBYTES,
    SHORT_BINUNICODE,
    STOP,
    TUPLE,
    TUPLE1,
    TUPLE2,
    TUPLE3,
    UNICODE,
)
from safeload._scan.rare_opcodes import Rare
from safeload._scan.values import (
    FLOAT_VALUE,
    ADict,
    AList,
    Array,
    Wrapper,
)
from safeload._scan.window import KEPT_TEXT, four
from safeload.findings import RefusedError

if TYPE_CHECKING:
    from mypy_extensions import i64


# What a pickle without PROTO (protocols 0 and 1) can begin with.
_FIRST_OPCODES: Final = frozenset(
    (
        MARK, NONE, INT, LONG, FLOAT, UNICODE, GLOBAL, EMPTY_DICT, EMPTY_LIST,
        EMPTY_TUPLE, BININT, BININT1, BININT2, BINFLOAT, BINUNICODE,
    )
)  # fmt: skip


class Machine(Rare):
    """One scan of one stream."""

    # -------------------------------------------------------------------------------------------- run

    def run(self, nested: bool) -> object:
        """Run one pickle to its STOP and return the abstract value of its object."""
        # Values, and below each open MARK the values that were there before it.
        stack: list[Any] = []
        metastack: list[list[Any]] = []
        # The window and the position in it, as in `self`.  Local variables are faster, so what is in `self` is behind
        # by some opcodes: it is set before a method is called that reads on, and read back afterwards.  `base` is the
        # offset of the window's first byte in the stream.
        self.start(nested)
        buf = self.buf
        pos: i64 = self.pos
        end: i64 = len(buf)
        base: i64 = self.base
        memo = self.memo
        opcodes: i64 = self.opcodes
        fetched: i64 = -1  # the greatest index that was read from the memo
        # What is asked now and then only: at which position whether the window or a frame ends, at how many opcodes
        # whether a limit is exceeded.
        refill_at: i64 = 0
        frame_end: i64 = NO_FRAME  # offset in the stream
        ask_at: i64 = self.check_limits(stack, metastack)
        # The number of the opcode after the latest GET: a MEMOIZE or PUT there keeps one value twice in the memo.
        after_get: i64 = -1
        code: i64 = 0
        size: i64 = 0
        value: Any = None
        items: list[Any] = []
        # The opcodes stand in the order in which models have most of them.
        while True:
            self.at = base + pos
            if pos >= refill_at:
                # Little is left in the window, or a frame ends, or one of the two has changed.
                if end - pos < 16 and not self.exhausted:
                    self.pos, self.opcodes = pos, opcodes
                    self.fill(16)
                    buf, pos, end, base = self.buf, self.pos, len(self.buf), self.base
                if base + pos >= frame_end:
                    if base + pos > frame_end:
                        raise RefusedError("SL305", "a frame ends inside an opcode", self.at)
                    frame_end = NO_FRAME
                if pos >= end:
                    raise self.ended()
                refill_at = min(end if self.exhausted else end - 15, frame_end - base)
            code = buf[pos]
            pos += 1
            opcodes += 1
            if opcodes > ask_at:
                # Often enough to bound what piles up, and rarely enough to cost nothing.
                self.opcodes = opcodes
                ask_at = self.check_limits(stack, metastack)

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
                after_get = opcodes + 1
                if not isinstance(value, str):
                    self.fetch(value)
                stack.append(value)
            elif code == MEMOIZE:
                if len(memo) >= self.max_memo:
                    raise self.memo_full()
                if opcodes == after_get:
                    self.kept_twice = True
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
                    buf, pos, end, base, refill_at = self.buf, self.pos, len(self.buf), self.base, 0
                    self.memory += A_TEXT + 4 * (size if size < KEPT_TEXT else 0)
                else:
                    try:
                        text = buf[pos : pos + size].decode("utf-8")
                    except UnicodeDecodeError:
                        text = self.decoded(buf[pos : pos + size])
                    pos += size
                    size = A_TEXT + size if len(text) == size else text_size(text, size)
                    stack.append(text)
                    # It always is memoised next, which is done here where nothing is in the way.
                    if pos < refill_at and buf[pos] == MEMOIZE and opcodes < ask_at and len(memo) < self.max_memo:
                        pos += 1
                        opcodes += 1
                        memo.append(text)
                        size += A_SLOT
                    self.memory += size
            elif code == BININT1:
                if pos >= end:
                    raise self.ended()
                stack.append(buf[pos])
                pos += 1
            elif code == SHORT_BINBYTES:
                if pos >= end:
                    raise self.ended()
                size = buf[pos]
                pos += 1
                if size > end - pos:
                    self.pos = pos
                    stack.append(self.take(size))
                    buf, pos, end, base, refill_at = self.buf, self.pos, len(self.buf), self.base, 0
                else:
                    stack.append(buf[pos : pos + size])
                    pos += size
                self.memory += AN_INTEGER + size
            elif code == NONE:
                stack.append(None)
            elif code == LONG_BINGET:
                if end - pos < 4:
                    raise self.ended()
                size = four(buf, pos)
                pos += 4
                if size >= len(memo):
                    raise self.no_memo(size)
                value = memo[size]
                if size > fetched:
                    fetched = self.fetched = size
                after_get = opcodes + 1
                if not isinstance(value, str):
                    self.fetch(value)
                stack.append(value)
            elif code == BINFLOAT:
                if end - pos < 8:
                    raise self.ended()
                pos += 8
                stack.append(FLOAT_VALUE)
            elif code == BININT:
                if end - pos < 4:
                    raise self.ended()
                size = four(buf, pos)
                if size >= 1 << 31:
                    size -= 1 << 32
                stack.append(size)
                self.memory += AN_INTEGER
                pos += 4
            elif code == BININT2:
                if end - pos < 2:
                    raise self.ended()
                size = buf[pos + 1]
                stack.append(buf[pos] | size << 8)
                self.memory += AN_INTEGER
                pos += 2
            elif code == MARK:
                metastack.append(stack)
                stack = []
            elif code == SETITEMS:
                items = stack
                stack = metastack.pop()
                self.set_items(stack[-1], items)
            elif code == BUILD:
                value = stack.pop()
                target = stack[-1]
                if isinstance(target, Wrapper):
                    self.check_wrapper(nested, frame_end, base + pos)
                    frame_end = NO_FRAME
                    self.pos, self.opcodes = pos, opcodes
                    wrapped = self.wrapped(target, value)
                    stack[-1] = self.nested(wrapped) if wrapped.length < 0 else self.array(wrapped)
                    self.finished(target, value)
                    buf, pos, end, base, refill_at = self.buf, self.pos, len(self.buf), self.base, 0
                    opcodes = self.opcodes
                else:
                    self.build(target, value)
                    stack[-1] = self.finished(target, value)
            elif code == EMPTY_TUPLE:
                stack.append(())
            elif code == NEWOBJ:
                value = stack.pop()
                self.memory += AN_OBJECT
                value = stack[-1] = self.new(stack[-1], value)
                if isinstance(value, Wrapper) and not nested:
                    self.pos, self.opcodes = pos, opcodes
                    array = self.array_by_template(value, frame_end, ask_at)
                    if array is not None:
                        stack[-1] = array
                        frame_end = NO_FRAME
                        buf, pos, end, base, refill_at = self.buf, self.pos, len(self.buf), self.base, 0
                        opcodes, fetched = self.opcodes, self.fetched
            elif code == EMPTY_DICT:
                stack.append(ADict([]))
                self.memory += A_CONTAINER
            elif code == FRAME:
                if end - pos < 8:
                    raise self.ended()
                frame_end = self.frame(frame_end, pos)
                pos += 8
                refill_at = 0
            elif code == BINPUT:
                if pos >= end:
                    raise self.ended()
                if opcodes == after_get:
                    self.kept_twice = True
                self.put(buf[pos], stack[-1])
                pos += 1
            elif code == BINUNICODE:
                if end - pos < 4:
                    raise self.ended()
                size = four(buf, pos)
                pos += 4
                if size > end - pos or size > KEPT_TEXT:
                    self.pos = pos
                    stack.append(self.text(size))
                    buf, pos, end, base, refill_at = self.buf, self.pos, len(self.buf), self.base, 0
                    self.memory += A_TEXT + 4 * (size if size < KEPT_TEXT else 0)
                else:
                    text = self.decoded(buf[pos : pos + size])
                    self.memory += text_size(text, size)
                    stack.append(text)
                    pos += size
            elif code == NEWTRUE:
                stack.append(True)
            elif code == NEWFALSE:
                stack.append(False)
            elif code == TUPLE1:
                value = stack[-1]
                if type(value) is int and 0 <= value < 256:
                    stack[-1] = SMALL[value]
                else:
                    stack[-1] = (value,)
                    self.memory += A_TUPLE + 8
            elif code == TUPLE2:
                value = stack.pop()
                stack[-1] = (stack[-1], value)
                self.memory += A_TUPLE + 16
            elif code == REDUCE:
                value = stack.pop()
                self.memory += AN_OBJECT
                stack[-1] = self.call(stack[-1], value)
            elif code == TUPLE3:
                value = stack.pop()
                second = stack.pop()
                stack[-1] = (stack[-1], second, value)
                self.memory += A_TUPLE + 24
            elif code == LONG_BINPUT:
                if end - pos < 4:
                    raise self.ended()
                size = four(buf, pos)
                pos += 4
                if opcodes == after_get:
                    self.kept_twice = True
                self.put(size, stack[-1])
            elif code == EMPTY_LIST:
                stack.append(AList([]))
                self.memory += A_CONTAINER
            elif code == APPENDS:
                items = stack
                stack = metastack.pop()
                self.append(stack[-1], items)
            elif code == TUPLE:
                items = stack
                stack = metastack.pop()
                stack.append(tuple(items))
                self.memory += A_TUPLE + 8 * len(items)
            elif code == SETITEM:
                value = stack.pop()
                items = [stack.pop(), value]
                self.set_items(stack[-1], items)
            elif code == APPEND:
                items = [stack.pop()]
                self.append(stack[-1], items)
            elif code == STOP:
                value = stack.pop()
                if stack or metastack:
                    raise RefusedError("SL306", "values are left on the stack at the end", self.at)
                if frame_end != NO_FRAME and frame_end != base + pos:
                    raise RefusedError("SL305", "a frame continues past the end of the pickle", self.at)
                self.pos, self.opcodes = pos, opcodes
                self.check_limits(stack, metastack)
                return value
            else:
                # Everything rarer: the machine's own position is what these work on.
                self.pos = pos
                stack = self.rare(code, stack, metastack)
                buf, pos, end, base, refill_at = self.buf, self.pos, len(self.buf), self.base, 0
                fetched = self.fetched

    def start(self, nested: bool) -> None:
        """Take the PROTO that a pickle starts with; those of protocols 0 and 1 have none."""
        self.fill(16)
        self.at = self.base + self.pos
        if self.pos >= len(self.buf):
            raise self.ended()
        if self.buf[self.pos] == PROTO:
            self.opcodes += 1
            self.pos += 1
            if self.pos >= len(self.buf):
                raise self.ended()
            self.set_proto(self.buf[self.pos], nested)
            self.pos += 1
        elif nested:
            raise RefusedError("SL314", "a nested pickle does not begin with PROTO", self.at)

    def frame(self, frame_end: i64, pos: i64) -> i64:
        """FRAME, whose length is at `pos`: return the offset at which it ends; `frame_end` is that of one before."""
        if self.proto < 4:
            raise RefusedError("SL305", "a frame occurs in a protocol without frames", self.at)
        if frame_end != NO_FRAME:
            raise RefusedError("SL305", "a frame begins inside a frame", self.at)
        self.pos = pos
        size: i64 = self.number(8)
        begin: i64 = self.base + self.pos
        if self.size >= 0 and size > self.size - begin:
            raise RefusedError("SL507", "a frame is longer than the rest of the stream", self.at)
        self.work += 1
        return begin + size

    def check_wrapper(self, nested: bool, frame_end: i64, here: i64) -> None:
        """Refuse an array wrapper where joblib would read the array from another place than from `here` on."""
        if nested:
            raise RefusedError("SL314", "a nested pickle contains an array wrapper", self.at)
        if frame_end != NO_FRAME and frame_end != here:
            # The array's bytes would be read from after the frame.
            raise RefusedError("SL305", "a frame continues past an array wrapper", self.at)

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
            or value.dtype != wrapped.dtype.real
            or value.shape != wrapped.shape
        ):
            raise RefusedError("SL314", "a nested pickle is not the array that its wrapper announces", at)
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
            raise RefusedError("SL323", "the first bytes are not those of a pickle", 0)
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
