"""Ways to change an artifact: its opcodes, the values that they make, its bytes, and what it is packed into."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zlib
from typing import TYPE_CHECKING

from fuzz.streams import CODE, OPCODES, RAW, Token, render, spans, token

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from fuzz.streams import Span

__all__ = ["change_bytes", "change_tokens", "pack", "splice_bytes"]

_NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 1 << 24)
_WIDE = (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 60, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_TEXTS = (
    b"numpy", b"dtype", b"ndarray", b"memmap", b"matrix", b"joblib.numpy_pickle", b"NumpyArrayWrapper", b"subclass",
    b"shape", b"order", b"C", b"F", b"K", b"A", b"allow_mmap", b"numpy_array_alignment_bytes", b"f8", b"i8", b"O8",
    b"V8", b"V16", b"S0", b"S5", b"U3", b"M8", b"m8", b"b1", b"u1", b"c16", b"<", b">", b"|", b"=", b"b", b"latin1",
    b"numpy._core.multiarray", b"numpy.core.multiarray", b"_reconstruct", b"scalar", b"numpy._core.numeric",
    b"_frombuffer", b"copyreg", b"_reconstructor", b"builtins", b"object", b"set", b"frozenset", b"bytearray",
    b"bytes", b"getattr", b"type", b"collections", b"OrderedDict", b"defaultdict", b"deque", b"Counter", b"__builtin__",
    b"copy_reg", b"os", b"posix", b"system", b"functools", b"partial", b"numpy.random._pickle", b"__dict__",
    b"__class__", b"__setstate__", b"append", b"_sklearn_version", b"", b".", b"a.b", b"\xc3\xa4", b"\xed\xa0\x80",
)  # fmt: skip
_STATE_KEYS = (b"shape", b"order", b"allow_mmap", b"numpy_array_alignment_bytes", b"subclass", b"dtype")
_SIMPLE = (
    "NONE", "NEWTRUE", "NEWFALSE", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "MARK", "POP", "POP_MARK",
    "DUP", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "DICT", "FROZENSET", "APPEND", "APPENDS", "SETITEM",
    "SETITEMS", "ADDITEMS", "BUILD", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "MEMOIZE", "STOP", "STACK_GLOBAL",
    "BINPERSID", "NEXT_BUFFER", "READONLY_BUFFER",
)  # fmt: skip
_STRINGS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8")
_WIDTHS = {
    "SHORT_BINUNICODE": 1, "BINUNICODE": 4, "BINUNICODE8": 8, "SHORT_BINBYTES": 1, "BINBYTES": 4, "BINBYTES8": 8,
    "BYTEARRAY8": 8, "LONG1": 1, "LONG4": 4, "SHORT_BINSTRING": 1, "BINSTRING": 4,
}  # fmt: skip
_LINES = ("INT", "LONG", "FLOAT", "STRING", "UNICODE", "GLOBAL", "INST", "PERSID", "GET", "PUT")
_MAX_TOKENS = 20_000

Tokens = list[Token]


# ------------------------------------------------------------------------------------------------- literals


def text(value: bytes) -> Token:
    return token("SHORT_BINUNICODE", bytes([len(value)]) + value) if len(value) < 256 else token(
        "BINUNICODE", struct.pack("<I", len(value)) + value)  # fmt: skip


def literal(rng: random.Random) -> Tokens:
    """Return a small value."""
    kind = rng.randrange(12)
    if kind == 0:
        return [token("BININT1", bytes([rng.choice(_NUMBERS) & 0xFF]))]
    if kind == 1:
        return [token("BININT", struct.pack("<i", rng.choice((-1, -2, -128, 0, 1, 2, 255, 1 << 20, -(1 << 31)))))]
    if kind == 2:
        number = rng.choice((*_NUMBERS, *_WIDE)) * rng.choice((1, -1))
        body = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
        return [token("LONG1", bytes([len(body)]) + body)]
    if kind in (3, 4):
        return [text(rng.choice(_TEXTS))]
    if kind == 5:
        body = rng.randbytes(rng.randrange(20))
        return [token("SHORT_BINBYTES", bytes([len(body)]) + body)]
    if kind == 6:
        inner = [one for _ in range(rng.randrange(4)) for one in literal(rng)]
        return [token("MARK"), *inner, token("TUPLE")]
    if kind == 7:
        return [token("BINFLOAT", struct.pack(">d", rng.choice((0.0, -1.5, 1e300))))]
    if kind == 8:
        return [text(rng.choice(_TEXTS)), text(rng.choice(_TEXTS)), token("STACK_GLOBAL")]
    return [token(rng.choice(("NONE", "NEWTRUE", "NEWFALSE", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT")))]


def _random_token(rng: random.Random) -> Tokens:
    kind = rng.randrange(4)
    if kind == 0:
        return literal(rng)
    if kind == 1:
        name = rng.choice(_LINES)
        body = rng.choice((b"0\n", b"00\n", b"01\n", b"1L\n", b"0x1\n", b" 1\n", b"1_0\n", b"-0\n", b"1.5\n", b"nan\n",
                           b"os\nsystem\n", b"\\u0041\n", b"'a'\n", b"\n"))  # fmt: skip
        return [token(name, body)]
    if kind == 2:
        return [Token(rng.choice(list(OPCODES)), rng.randbytes(rng.choice((0, 1, 2, 4, 8))))]
    return [token(rng.choice(_SIMPLE))]


# --------------------------------------------------------------------------------------------------- opcodes


def _delete(tokens: Tokens, rng: random.Random) -> None:
    at = rng.randrange(len(tokens))
    del tokens[at : at + rng.choice((1, 1, 1, 2, 5))]


def _insert(tokens: Tokens, rng: random.Random) -> None:
    at = rng.randrange(len(tokens) + 1)
    tokens[at:at] = _random_token(rng)


def _duplicate(tokens: Tokens, rng: random.Random) -> None:
    at = rng.randrange(len(tokens))
    piece = tokens[at : at + rng.choice((1, 1, 2, 5))]
    tokens[at:at] = piece


def _swap(tokens: Tokens, rng: random.Random) -> None:
    one, two = rng.randrange(len(tokens)), rng.randrange(len(tokens))
    if rng.random() < 0.5:
        two = min(one + 1, len(tokens) - 1)
    tokens[one], tokens[two] = tokens[two], tokens[one]


def _replace_code(tokens: Tokens, rng: random.Random) -> None:
    at = rng.randrange(len(tokens))
    old = tokens[at]
    if old.code == RAW:
        return
    size = len(old.body)
    same = [code for code, op in OPCODES.items() if (op.arg.n if op.arg else 0) in (size, -2 if size > 1 else size)]
    tokens[at] = old.copy(code=rng.choice(same or list(OPCODES)))


def _change_argument(tokens: Tokens, rng: random.Random) -> None:
    """Change what an opcode says: a number, a length, a text, a name, an array's bytes."""
    at = rng.randrange(len(tokens))
    for _ in range(20):
        if tokens[at].body:
            break
        at = rng.randrange(len(tokens))
    tokens[at] = _with_other_argument(tokens[at], rng)


def _with_other_argument(old: Token, rng: random.Random) -> Token:
    body = old.body
    if old.code == RAW:
        change = rng.randrange(4)
        if change == 0:
            return old.copy(body=body[: rng.randrange(len(body) + 1)])
        if change == 1:
            return old.copy(body=body + rng.randbytes(rng.choice((1, 8, 16))))
        if change == 2:
            return old.copy(padded=not old.padded)
        return old.copy(body=change_bytes(body, rng))
    name = OPCODES[old.code].name
    width = _WIDTHS.get(name)
    if width is not None:
        kind = rng.randrange(5)
        content = body[width:]
        if kind == 0:  # a length that lies
            wrong = rng.choice((*_NUMBERS, *_WIDE, len(content) + 1, max(len(content) - 1, 0)))
            return old.copy(body=(wrong & (1 << 8 * width) - 1).to_bytes(width, "little") + content)
        if kind <= 2 and name in _STRINGS:
            content = rng.choice(_TEXTS)
        elif kind == 3:
            content = change_bytes(content, rng)
        else:
            other = rng.choice([other for other in _STRINGS if "BYTE" in name or "UNICODE" in other])
            if name in _STRINGS and len(content) < 256:
                return Token(CODE[other], len(content).to_bytes(_WIDTHS[other], "little") + content)
        return old.copy(body=(len(content) & (1 << 8 * width) - 1).to_bytes(width, "little") + content)
    if name in _LINES:
        return old.copy(body=change_bytes(body[:-1], rng).replace(b"\n", b"") + b"\n")
    if not body:
        return old
    if rng.random() < 0.5:
        return old.copy(body=rng.choice((*_NUMBERS, *_WIDE)).to_bytes(8, "little")[: len(body)].ljust(len(body), b"\0"))
    return old.copy(body=change_bytes(body, rng)[: len(body)].ljust(len(body), b"\0"))


def _set_proto(tokens: Tokens, rng: random.Random) -> None:
    proto = token("PROTO", bytes([rng.choice((0, 1, 2, 3, 4, 5, 6, 255))]))
    if rng.random() < 0.2:
        tokens.insert(rng.randrange(len(tokens) + 1), proto)
    elif tokens and tokens[0].code == CODE["PROTO"]:
        tokens[0] = proto
    else:
        tokens.insert(0, proto)


# ----------------------------------------------------------------------------------------------------- values


def _replace_value(tokens: Tokens, rng: random.Random, donor: Tokens) -> None:
    """Put a value of another artifact, or of this one, in the place of a value."""
    target = rng.choice(spans(tokens) or [_all(tokens)])
    tokens[target.start : target.end] = _some_value(donor, rng)


def _some_value(donor: Tokens, rng: random.Random) -> Tokens:
    there = [one for one in spans(donor) if one.end - one.start < 400]
    if not there or rng.random() < 0.15:
        return literal(rng)
    chosen = rng.choice(there)
    return donor[chosen.start : chosen.end]


def _swap_values(tokens: Tokens, rng: random.Random, _donor: Tokens) -> None:
    there = spans(tokens)
    if len(there) < 2:
        return
    one, two = sorted(rng.sample(there, 2), key=lambda span: span.start)
    if one.end <= two.start:
        first, second = tokens[one.start : one.end], tokens[two.start : two.end]
        tokens[two.start : two.end] = first
        tokens[one.start : one.end] = second


def _some_place(tokens: Tokens, rng: random.Random) -> tuple[int, int]:
    """Return where one value stands, or two side by side: an item, a key with its value; nowhere if there is none."""
    there = spans(tokens)
    if not there:
        return 0, 0
    one = rng.choice(there)
    end = one.end
    if rng.random() < 0.6:
        end = next((span.end for span in there if span.start == one.end), one.end)
    return one.start, end


def _drop_values(tokens: Tokens, rng: random.Random, _donor: Tokens) -> None:
    start, end = _some_place(tokens, rng)
    del tokens[start:end]


def _repeat_values(tokens: Tokens, rng: random.Random, _donor: Tokens) -> None:
    start, end = _some_place(tokens, rng)
    if end - start < 500:
        tokens[end:end] = tokens[start:end]


def _share_value(tokens: Tokens, rng: random.Random, _donor: Tokens) -> None:
    """Put a value into the memo, and read it in the place of a later one."""
    there = spans(tokens)
    if len(there) < 2:
        return
    one, two = sorted(rng.sample(there, 2), key=lambda span: span.end)
    if one.end > two.start:
        return
    put = next((other for other in tokens[one.end - 1 : one.end + 1] if _puts(other)), None)
    tokens[two.start : two.end] = [Token(CODE["BINGET"], ref=put)]
    if put is None:
        put = token("MEMOIZE" if any(_name(other) == "MEMOIZE" for other in tokens[:200]) else "BINPUT")
        tokens[two.start].ref = put
        tokens.insert(one.end, put)


def _puts(one: Token) -> bool:
    return "PUT" in _name(one) or _name(one) == "MEMOIZE"


def _name(one: Token) -> str:
    return OPCODES[one.code].name if one.code in OPCODES else ""


def _wrap_value(tokens: Tokens, rng: random.Random, donor: Tokens) -> None:
    there = spans(tokens)
    if not there:
        return
    one = rng.choice(there)
    inner = tokens[one.start : one.end]
    kind = rng.randrange(5)
    if kind == 0:
        made = [*inner, token("TUPLE1")]
    elif kind == 1:
        made = [token("EMPTY_LIST"), *inner, token("APPEND")]
    elif kind == 2:
        made = [token("EMPTY_DICT"), text(b"a"), *inner, token("SETITEM")]
    elif kind == 3:
        made = [*_some_value(donor, rng), *inner, token(rng.choice(("BUILD", "REDUCE", "NEWOBJ", "APPEND", "TUPLE2")))]
    else:
        made = [*inner, *_some_value(donor, rng), token(rng.choice(("BUILD", "REDUCE", "NEWOBJ", "APPEND", "TUPLE2")))]
    tokens[one.start : one.end] = made


def _wrapper_state(tokens: Tokens, rng: random.Random, donor: Tokens) -> None:
    """Change what an array wrapper's state says, or take an entry of it from another array."""
    keys = [i for i, one in enumerate(tokens) if one.body[1:] in _STATE_KEYS or one.body[4:] in _STATE_KEYS]
    if not keys:
        return _replace_value(tokens, rng, donor)
    at = rng.choice(keys)
    value = at + 1
    while value < len(tokens) and _puts(tokens[value]):
        value += 1
    span = next((one for one in spans(tokens) if one.start == value), None)
    end = span.end if span else value + 1
    kind = rng.randrange(6)
    if kind == 0:
        del tokens[at:end]
    elif kind == 1:
        tokens[end:end] = tokens[at:end]
    elif kind == 2:
        tokens[at] = text(rng.choice((*_STATE_KEYS, b"read", b"__class__", b"x")))
    elif kind == 3:
        tokens[value:end] = _some_value(donor, rng)
    elif span is not None and kind == 4:
        inside = value + rng.randrange(end - value)
        tokens[inside] = _with_other_argument(tokens[inside], rng)
    else:
        tokens[value:end] = literal(rng)
    return None


def _build_state(tokens: Tokens, rng: random.Random, donor: Tokens) -> None:
    """Change one opcode of some state: an object's, an array's, a dtype's."""
    builds = [i for i, one in enumerate(tokens) if one.code == CODE["BUILD"]]
    if not builds:
        return _replace_value(tokens, rng, donor)
    at = rng.choice(builds)
    state = [one for one in spans(tokens) if one.end == at]
    if not state:
        return None
    span = max(state, key=lambda one: one.end - one.start)
    inside = span.start + rng.randrange(span.end - span.start)
    if rng.random() < 0.5 and tokens[inside].body:
        tokens[inside] = _with_other_argument(tokens[inside], rng)
    else:
        tokens[inside : inside + 1] = literal(rng)
    return None


def _all(tokens: Tokens) -> Span:
    from fuzz.streams import Span

    return Span(1, max(len(tokens) - 1, 1), 0)


_ON_OPCODES: Sequence[Callable[[Tokens, random.Random], None]] = (
    _delete, _insert, _duplicate, _swap, _replace_code, _change_argument, _change_argument, _set_proto,
)  # fmt: skip
_ON_VALUES: Sequence[Callable[[Tokens, random.Random, Tokens], None]] = (
    _replace_value, _replace_value, _replace_value, _swap_values, _drop_values, _repeat_values, _share_value,
    _wrap_value, _wrapper_state, _wrapper_state, _build_state, _build_state,
)  # fmt: skip


def change_tokens(tokens: Sequence[Token], donor: Sequence[Token], rng: random.Random) -> bytes:
    """Change a stream once or a few times, and write it, in order or with a lie."""
    made = list(tokens)
    other = list(donor)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not made or len(made) > _MAX_TOKENS:
            break
        if rng.random() < 0.7:
            rng.choice(_ON_VALUES)(made, rng, other if rng.random() < 0.7 else made)
        else:
            rng.choice(_ON_OPCODES)(made, rng)
    proto = made[0].body[0] if made and made[0].code == CODE["PROTO"] and made[0].body else 0
    framed = rng.random() < (0.5 if proto >= 4 else 0.02)
    return render(made, rng, framed=framed, honest=rng.random() < 0.85)


# ------------------------------------------------------------------------------------------------------ bytes


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    """Change bytes without knowing what they mean."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(6)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256), rng.choice(list(OPCODES))))
        elif kind == 2:
            del out[at : at + rng.choice((1, 2, 4, 8, 100))]
        elif kind == 3:
            out[at:at] = rng.randbytes(rng.choice((1, 1, 2, 4, 8)))
        elif kind == 4:
            out[at : at + 8] = rng.choice((*_NUMBERS, *_WIDE)).to_bytes(8, "little")[: rng.choice((1, 2, 4, 8))]
        else:
            start = rng.randrange(len(out) + 1)
            out[at:at] = out[start : start + rng.randrange(64)]
    return bytes(out)


def splice_bytes(one: bytes, two: bytes, rng: random.Random) -> bytes:
    """Go on in the middle of another artifact."""
    return one[: rng.randrange(len(one) + 1)] + two[rng.randrange(len(two) + 1) :]


# ------------------------------------------------------------------------------------------------ compression


def _lz4(data: bytes) -> bytes:
    try:
        import lz4.frame
    except ImportError:
        return zlib.compress(data)
    packed: bytes = lz4.frame.compress(data)
    return packed


_PACKERS: Sequence[Callable[[bytes], bytes]] = (
    lambda data: zlib.compress(data, 1),
    lambda data: gzip.compress(data, 1, mtime=0),
    lambda data: bz2.compress(data, 1),
    lambda data: lzma.compress(data, preset=0),
    lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE, preset=0),
    _lz4,
    lambda data: lzma.compress(data, check=lzma.CHECK_NONE, preset=0),
    lambda data: zlib.compress(data, 0),
)


def pack(data: bytes, rng: random.Random) -> bytes:
    """Compress a stream; now and then twice, with something after it, or damaged."""
    packer = rng.choice(_PACKERS)
    packed = packer(data)
    kind = rng.randrange(16)
    if kind == 0:
        return rng.choice(_PACKERS)(packed)
    if kind == 1:
        return packed + packer(rng.randbytes(rng.randrange(20)))
    if kind == 2:
        return packed + rng.randbytes(rng.choice((1, 2, 8, 100)))
    if kind == 3:
        return packed[: -rng.randrange(1, 20)]
    if kind in (4, 5):
        return change_bytes(packed[:40], rng) + packed[40:]
    if kind == 6:
        return change_bytes(packed, rng)
    if kind == 7:
        return packed + rng.choice((b"\0" * 4, b"\0" * 16, b"\x78\x9c", b"BZ", b"\xfd7zXZ\0"))
    if kind == 8:
        half = rng.randrange(len(data) + 1)
        return packer(data[:half]) + packer(data[half:])
    return packed
