"""Tell from the first bytes of a file whether joblib or pickle could do anything with it, whatever its name.

A file counts where it begins as one of joblib's compressions (and then holds what counts, or cannot be unpacked), as
a file of joblib before 0.10, or as a pickle. A pickle of protocol 2 or later begins with PROTO. One without PROTO can
begin with almost any letter, as a text does, so its first opcodes are followed as the unpickler would follow them:

- An opcode that is unknown, takes more from the stack than is there, reads a memo that was never written, or has an
  argument that is no number, no plain name or longer than the file, ends every unpickler. If nothing was called
  before, the file counts as no pickle. (Naming a module imports it, so `cat`, `dog`, one a line, would try to import
  `at`. A list of words must not count as a pickle, so a name counts only once something is done with it.)
- A call, a new object or a state, after something was named, counts as a pickle. So does STOP after a name, and STOP at
  the very end of the file. STOP anywhere else, before anything was named, can do nothing.
- If nothing of this comes within `WINDOW` bytes, the file counts as a pickle.

So whatever the scanner allows counts, and so does whatever could call anything in an unpickler. Only this follows:
nothing here is a verdict.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from safeload._scan.names import is_plain_module
from safeload._scan.sources import UnpackedSource, detect_compression
from safeload.findings import RefusedError

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["WINDOW", "could_be_pickle", "sniff"]

WINDOW: Final = 16 << 10  # bytes that are looked at
_MOST_UNPACKED: Final = 4 << 20  # that it may take to have a window of them: more comes out of bzip2 at once
_TELLING: Final = 16  # bytes that tell what a compression begins with
_MOST_RATIO: Final = {"zlib": 1032, "gzip": 1032, "lz4": 256}  # that the format can come to: deflate's is 1032 to 1
_OLD_LENGTH: Final = slice(2, 21)  # joblib/numpy_pickle_compat.py: "ZF", then the length, in hexadecimal digits

# How an opcode finds its argument: so many bytes, or after a length of so many bytes, or lines.
_LINE, _INTEGER, _LONG, _FLOAT, _STRING = "line", "integer", "long", "float", "string"
_NAMES, _PUT, _GET = "names", "put", "get"

_CALL: Final = "call"  # lets an object act, once something was named
_NAME: Final = "name"

# code: argument, values taken (as "(": all down to the mark, and then so many), values given, what it does
_OPCODES: Final[dict[int, tuple[Any, int | str, int, str]]] = {
    code[0]: (argument, takes, gives, what)
    for codes, argument, takes, gives, what in (
        ((b"N", b"]", b"}", b")", b"\x88", b"\x89", b"\x8f"), 0, 0, 1, ""),
        ((b"K",), 1, 0, 1, ""),
        ((b"M",), 2, 0, 1, ""),
        ((b"J",), 4, 0, 1, ""),
        ((b"G",), 8, 0, 1, ""),
        ((b"U", b"C", b"\x8a", b"\x8c"), -1, 0, 1, ""),
        ((b"T", b"X", b"B", b"\x8b"), -4, 0, 1, ""),
        ((b"\x8d", b"\x8e", b"\x96"), -8, 0, 1, ""),
        ((b"I",), _INTEGER, 0, 1, ""),
        ((b"L",), _LONG, 0, 1, ""),
        ((b"F",), _FLOAT, 0, 1, ""),
        ((b"S",), _STRING, 0, 1, ""),
        ((b"V",), _LINE, 0, 1, ""),
        ((b"c",), _NAMES, 0, 1, _NAME),
        ((b"\x82",), 1, 0, 1, _NAME),
        ((b"\x83",), 2, 0, 1, _NAME),
        ((b"\x84",), 4, 0, 1, _NAME),
        ((b"\x93",), 0, 2, 1, _NAME),
        ((b"g",), _GET, 0, 1, ""),
        ((b"h",), 1, 0, 1, _GET),
        ((b"j",), 4, 0, 1, _GET),
        ((b"p",), _PUT, 1, 1, ""),
        ((b"q",), 1, 1, 1, _PUT),
        ((b"r",), 4, 1, 1, _PUT),
        ((b"\x94",), 0, 1, 1, _PUT),
        ((b"1",), 0, "(0", 0, ""),
        ((b"2",), 0, 1, 2, ""),
        ((b"a",), 0, 2, 1, ""),
        ((b"s",), 0, 3, 1, ""),
        ((b"e", b"u", b"\x90"), 0, "(1", 1, ""),
        ((b"d", b"l", b"t", b"\x91"), 0, "(0", 1, ""),
        ((b"\x85", b"\x98"), 0, 1, 1, ""),
        ((b"\x86",), 0, 2, 1, ""),
        ((b"\x87",), 0, 3, 1, ""),
        ((b"\x80",), 1, 0, 0, ""),
        ((b"\x95",), 8, 0, 0, ""),
        ((b"R", b"b", b"\x81"), 0, 2, 1, _CALL),
        ((b"\x92",), 0, 3, 1, _CALL),
        ((b"o",), 0, "(0", 1, _CALL),
        ((b"i",), _NAMES, "(0", 1, _CALL),
    )
    for code in codes
}  # fmt: skip
_MARK, _POP, _STOP, _PROTO, _INST = b"("[0], b"0"[0], b"."[0], 0x80, b"i"[0]


class _NotOneError(Exception):
    """No unpickler gets beyond this point."""


class _Beyond(Exception):
    """The window ends here, and the file does not."""


def sniff(file: BinaryIO, size: int) -> str | None:
    """Return why a file of this size, open at its start, has to be looked at; None if it has not.

    That is "pickle", or the name of the compression ("compat" is joblib's before 0.10).
    """
    first = file.read(WINDOW)
    compression = detect_compression(first)
    if compression == "none":
        return "pickle" if could_be_pickle(first, size) else None
    if compression == "compat":
        return compression if _is_old_length(first[_OLD_LENGTH]) else None
    if not _begins(compression, first):
        return "pickle" if could_be_pickle(first, size) else None
    file.seek(0)
    try:
        source = UnpackedSource(
            file, compression, packed_size=size, max_unpacked=_MOST_UNPACKED, max_ratio=float("inf")
        )
        inside = source.read(WINDOW)
    except RefusedError as refused:
        # Damaged, packed twice, or of a package that is missing: the scanner says so. But a text that begins with an x
        # is not packed twice.
        if refused.finding.code != "SL317" or compression not in ("zlib", "gzip"):
            return compression
        inside = zlib.decompressobj(32 + zlib.MAX_WBITS).decompress(first, _TELLING)
        return compression if _begins(detect_compression(inside), inside) else None
    whole = len(inside) if len(inside) < WINDOW else size * _MOST_RATIO.get(compression, 1 << 40)
    return compression if could_be_pickle(inside, whole) else None


def _begins(compression: str, first: bytes) -> bool:
    """Tell whether a stream begins as this compression has to: two letters alone would catch texts, too."""
    if compression == "zlib":  # RFC 1950, 2.2: a multiple of 31, and no preset dictionary
        return len(first) > 1 and (first[0] << 8 | first[1]) % 31 == 0 and not first[1] & 0x20
    return compression != "bz2" or first[:3] == b"BZh"


def _is_old_length(digits: bytes) -> bool:
    try:
        return int(digits, 16) >= 0
    except ValueError:
        return False


def could_be_pickle(first: bytes, size: int) -> bool:
    """Tell whether a file of this size that begins so could be a pickle: see the top of this module."""
    if first[:1] == bytes((_PROTO,)):
        return True
    try:
        return _follow(first, size)
    except _NotOneError:
        return False
    except _Beyond:
        return True


def _follow(first: bytes, size: int) -> bool:
    reader = _Reader(first, size)
    depths = [0]  # of values above each mark
    named = False
    while True:
        code = reader.take(1)[0]
        if code == _STOP:
            if not depths[-1]:
                raise _NotOneError
            return named or reader.position == size
        if code == _MARK:
            depths.append(0)
            continue
        if code == _POP:
            if depths[-1]:
                depths[-1] -= 1
            elif len(depths) > 1:
                depths.pop()
            else:
                raise _NotOneError
            continue
        if code not in _OPCODES:
            raise _NotOneError
        argument, takes, gives, what = _OPCODES[code]
        reader.argument(argument, what)
        if isinstance(takes, str):
            if len(depths) < 2:
                raise _NotOneError
            depths.pop()
            takes = int(takes[1:])
        if depths[-1] < takes:
            raise _NotOneError
        depths[-1] += gives - takes
        named = named or what == _NAME or code == _INST
        if named and what == _CALL:
            return True


class _Reader:
    """Reads arguments of opcodes as an unpickler does, and raises where it would end."""

    def __init__(self, first: bytes, size: int) -> None:
        self._first = first
        self._size = size
        self._memo: set[int] = set()
        self.position = 0

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > self._size:
            raise _NotOneError
        if end > len(self._first):
            raise _Beyond
        data = self._first[self.position : end]
        self.position = end
        return data

    def argument(self, kind: Any, what: str) -> None:
        if isinstance(kind, int):
            data = self.take(abs(kind))
            if kind < 0:
                self.take(int.from_bytes(data, "little"))
            elif what in (_PUT, _GET):
                self._remember(what, int.from_bytes(data, "little") if kind else len(self._memo))
            return
        if kind == _STRING and self._first[self.position : self.position + 1] not in (b"'", b'"', b""):
            raise _NotOneError
        line = self._line()
        try:
            if kind in (_PUT, _GET):
                self._remember(kind, int(line))
            elif kind == _INTEGER:
                int(line, 0) if line.strip() not in (b"00", b"01") else None
            elif kind == _LONG:
                int(line.rstrip(b"L"), 0)
            elif kind == _FLOAT:
                float(line)
            elif kind == _STRING and line.rstrip()[-1:] != line[:1]:
                raise _NotOneError
            elif kind == _NAMES:
                for one in (line, self._line()):
                    # Below protocol 4 a dotted name is one name; either way nobody has modules with blanks in them.
                    if not is_plain_module(one.strip().decode()):
                        raise _NotOneError
        except ValueError:
            raise _NotOneError from None

    def _line(self) -> bytes:
        end = self._first.find(b"\n", self.position)
        if end < 0:
            if len(self._first) < self._size:
                raise _Beyond
            raise _NotOneError
        line = self._first[self.position : end]
        self.position = end + 1
        return line

    def _remember(self, what: str, index: int) -> None:
        if what == _PUT:
            self._memo.add(index)
        elif index not in self._memo:
            raise _NotOneError
