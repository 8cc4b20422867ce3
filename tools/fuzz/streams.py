"""Pickle streams as lists of opcodes, to be changed and written again with their memo, frames and padding in order.

`parse` reads what a pickler or joblib wrote; `render` writes it.  In between memo reads point at the opcode that
wrote the memo, there are no frames, and an array's bytes are one piece, so that opcodes can be moved from one stream
to another, and the result still be one that a scanner has to read to its end.
"""

from __future__ import annotations

import pickletools
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

__all__ = ["RAW", "Span", "Token", "parse", "render", "spans", "token"]

RAW = -1  # an array's bytes, with joblib's padding or without

OPCODES = {ord(op.code): op for op in pickletools.opcodes}
CODE = {op.name: ord(op.code) for op in pickletools.opcodes}
_PUTS = {CODE[name] for name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")}
_GETS = {CODE[name] for name in ("GET", "BINGET", "LONG_BINGET")}
_TO_MARK = {CODE[name] for name in ("TUPLE", "LIST", "DICT", "FROZENSET", "OBJ", "INST")}
_ITEMS = {CODE[name] for name in ("APPENDS", "SETITEMS", "ADDITEMS")}
_EXTEND = {CODE["APPEND"]: 1, CODE["SETITEM"]: 2, CODE["BUILD"]: 1}
_PREFIXED = {-2: 1, -3: 4, -4: 4, -5: 8}  # pickletools' TAKEN_FROM_ARGUMENT kinds, and the bytes of their length
_PROTO, _STOP, _FRAME, _MARK, _NONE = (CODE[name] for name in ("PROTO", "STOP", "FRAME", "MARK", "NONE"))


@dataclass(eq=False)
class Token:
    """One opcode with its argument as it stands in the stream, or an array's bytes.

    `ref` is, of a memo read, what wrote it; `padded`, of an array, whether joblib's padding comes before it.
    """

    code: int
    body: bytes = b""
    ref: Token | None = None
    padded: bool = True

    def copy(self, **changes: Any) -> Token:
        """Return the same but for these changes."""
        return replace(self, **changes)


def token(name: str, body: bytes = b"") -> Token:
    """Return an opcode by its name."""
    return Token(CODE[name], body)


def parse(data: bytes, events: Sequence[tuple[Any, ...]]) -> list[Token]:
    """Read a stream that a recorded scan understood; `events` are what it saw."""
    arrays = {event[3]: event for event in events if event[0] == "array"}
    nested_at = {event[1] for event in events if event[0] == "nested"}
    tokens: list[Token] = []
    memos: list[list[Token]] = [[]]
    at = 0
    while at < len(data):
        if at in arrays:
            _, start, length, begin = arrays.pop(at)
            tokens.append(Token(RAW, data[start : start + length], padded=start != begin))
            at = start + length
            continue
        if at in nested_at:
            nested_at.discard(at)
            memos.append([])
        code = data[at]
        size = _argument(data, at + 1, code)
        body = data[at + 1 : at + 1 + size]
        at += 1 + size
        made = Token(code, body)
        if code == _FRAME:
            continue
        if code in _PUTS:
            memos[-1].append(made)
        elif code in _GETS:
            made.ref = memos[-1][_index(code, body)]
        elif code == _STOP and len(memos) > 1:
            memos.pop()
        tokens.append(made)
    return tokens


def _argument(data: bytes, at: int, code: int) -> int:
    """Return how many bytes the argument of an opcode takes."""
    kind = OPCODES[code].arg
    if kind is None:
        return 0
    if kind.n >= 0:
        return kind.n
    if kind.n in _PREFIXED:
        width = _PREFIXED[kind.n]
        return width + int.from_bytes(data[at : at + width], "little")
    end = data.index(b"\n", at)
    if OPCODES[code].name in ("GLOBAL", "INST"):
        end = data.index(b"\n", end + 1)
    return end + 1 - at


def _index(code: int, body: bytes) -> int:
    return int(body) if OPCODES[code].name in ("GET", "PUT") else int.from_bytes(body, "little")


@dataclass(frozen=True)
class Span:
    """Opcodes `start` to `end`, which make one value; `level` is 1 and more in nested pickles."""

    start: int
    end: int
    level: int


def spans(tokens: Sequence[Token]) -> list[Span]:
    """Find which opcodes make which value; of what is out of order, only what can be told."""
    found: list[Span] = []
    outer: list[list[list[int]]] = []
    stack: list[list[int]] = []  # [start, end], marks have end -1

    def done(value: list[int]) -> None:
        if value[1] > value[0]:
            found.append(Span(value[0], value[1], len(outer)))

    def pop(count: int, default: int) -> int:
        start = default
        while count > 0 and stack:
            value = stack.pop()
            start = value[0]
            done(value)
            count -= 1
        return start

    def pop_mark(default: int) -> int:
        while stack:
            value = stack.pop()
            if value[1] < 0:
                return value[0]
            done(value)
        return default

    def extend(end: int) -> None:
        if stack and stack[-1][1] >= 0:
            stack[-1][1] = end

    for index, one in enumerate(tokens):
        code = one.code
        if code == RAW or code in _PUTS:
            extend(index + 1)
        elif code == _PROTO:
            if index:
                outer.append(stack)
                stack = []
        elif code == _STOP:
            pop(len(stack), index)
            if outer:
                stack = outer.pop()
                extend(index + 1)
        elif code == _MARK:
            stack.append([index, -1])
        elif code in _TO_MARK:
            stack.append([pop_mark(index), index + 1])
        elif code in _ITEMS:
            pop_mark(index)
            extend(index + 1)
        elif code in _EXTEND:
            pop(_EXTEND[code], index)
            extend(index + 1)
        elif code in OPCODES:
            op = OPCODES[code]
            start = pop(len(op.stack_before), index) if op.stack_before else index
            if op.stack_after:
                stack.append([start, index + 1])
    return found


def render(tokens: Sequence[Token], rng: random.Random, *, framed: bool, honest: bool = True) -> bytes:
    """Write a stream.

    Args:
        rng: chooses what takes the place of a memo read whose writer is gone, and the lies.
        framed: in frames, as protocol 4 and later write them.
        honest: False for a lie now and then: a memo index, an array's padding, a frame's length.
    """
    out = bytearray()
    memos: list[dict[int, int]] = [{}]
    frame = -1  # where the open frame's length stands

    def close_frame(start: int) -> int:
        if start >= 0:
            size = len(out) - start - 8
            if not honest and rng.random() < 0.05:
                size += rng.choice((-1, 1, 2, 9, 1 << 40))
            out[start : start + 8] = struct.pack("<Q", size & (1 << 64) - 1)
        return -1

    for place, one in enumerate(tokens):
        if one.code == RAW:
            frame = close_frame(frame)
            if one.padded:
                length = 16 - (len(out) + 1) % 16
                if not honest and rng.random() < 0.1:
                    length = rng.randrange(40)
                out.append(length)
                out.extend(b"\xff" * length)
            out.extend(one.body)
            continue
        if one.code == _PROTO and place:
            frame = close_frame(frame)
            memos.append({})
        elif framed and frame < 0 and one.code != _PROTO:
            out.append(_FRAME)
            frame = len(out)
            out.extend(bytes(8))
        memo = memos[-1]
        if one.code in _PUTS:
            memo[id(one)] = len(memo)
            index = len(memo) - 1
            if not honest and rng.random() < 0.01:
                index = rng.randrange(len(memo) + 2)
            _write_memo(out, one.code, index)
        elif one.code in _GETS:
            index = memo.get(id(one.ref), -1)
            if index < 0 and memo and rng.random() < 0.5:
                index = rng.randrange(len(memo))
            if not honest and rng.random() < 0.02:
                index = rng.randrange(len(memo) + 2)
            if index < 0:
                out.append(_NONE)
            else:
                _write_memo(out, one.code, index)
        else:
            out.append(one.code & 0xFF)
            out.extend(one.body)
        if one.code == _STOP:
            frame = close_frame(frame)
            if len(memos) > 1:
                memos.pop()
    close_frame(frame)
    return bytes(out)


def _write_memo(out: bytearray, code: int, index: int) -> None:
    name = OPCODES[code].name
    if name == "MEMOIZE":
        out.append(code)
    elif name in ("GET", "PUT"):
        out.append(code)
        out.extend(b"%d\n" % index)
    elif index < 256:
        out.append(CODE["BINGET" if name.endswith("GET") else "BINPUT"])
        out.append(index)
    else:
        out.append(CODE["LONG_BINGET" if name.endswith("GET") else "LONG_BINPUT"])
        out.extend(struct.pack("<I", index))
