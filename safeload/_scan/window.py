"""The stream as the pickle machine reads it: a window of bytes, and the scalars that are written in it."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any, Final, Protocol

from safeload._scan import forms
from safeload._scan.native import contents
from safeload._scan.values import Blob, Long, Text
from safeload.findings import RefusedError

if TYPE_CHECKING:
    from mypy_extensions import i64

_READ_AHEAD: Final = 1 << 17
_KEPT_WHOLE: Final = 1 << 16  # bytes of long ones that are kept as they are, until their dtype is known
_MAX_LINE: Final = 4096  # bytes of a name or a number
KEPT_TEXT: Final = 4096  # bytes of a text that is kept
_MAX_LONG: Final = 1024  # bytes of an integer
_MAX_DIGITS: Final = 2467  # of an integer of that many bytes
HUGE: Final = 1 << 200  # an integer from here on is as good as any other: no rule and no form has one
_HUGE_DIGITS: Final = 62  # with more than these, it is


class Source(Protocol):
    """Where the stream comes from; `size` in bytes, -1 where that is not known beforehand."""

    @property
    def size(self) -> int: ...

    def read(self, n: int, /) -> bytes:
        """Return the next n bytes, fewer only at the end."""

    def skip(self, n: int, /) -> None:
        """Pass over n bytes; RefusedError SL301 if there are fewer."""


class Window:
    """What was read of a source and not used yet: `buf[pos:]`, with `buf[0]` the stream's byte number `base`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.size: i64 = source.size
        self.buf: bytes = b""
        self.pos: i64 = 0
        self.base: i64 = 0
        self.at: i64 = 0  # where the current opcode is
        self.exhausted: bool = False
        self.work: i64 = 0  # what costs more than its opcodes, in opcodes
        self.held: Long | None = None  # the latest long bytes, or text that could be bytes
        self.proto: i64 = 0
        self.arrow: bool = False  # long bytes may be data of Arrow, and are looked at as such

    def fill(self, wanted: i64) -> None:
        """Make at least `wanted` bytes stand in the window, as far as the stream has them."""
        have: i64 = len(self.buf) - self.pos
        if self.exhausted or have >= wanted:
            return
        more: i64 = wanted - have
        if more < _READ_AHEAD:
            more = _READ_AHEAD
        data = self.source.read(more)
        if len(data) < more:
            self.exhausted = True
        self.base += self.pos
        self.buf = self.buf[self.pos :] + data
        self.pos = 0

    def ended(self) -> RefusedError:
        return RefusedError("SL301", "the stream ends inside the pickle", self.at)

    def take(self, length: i64) -> bytes:
        """Take `length` bytes, which are few."""
        if length > len(self.buf) - self.pos:
            self.check_length(length)
            self.fill(length)
            if length > len(self.buf) - self.pos:
                raise self.ended()
        start = self.pos
        self.pos = start + length
        return self.buf[start : start + length]

    def check_length(self, length: i64) -> None:
        if self.size >= 0 and length > self.size - (self.base + self.pos):
            raise RefusedError("SL507", f"a length of {length} bytes exceeds the rest of the stream", self.at)

    def pass_over(self, length: i64) -> None:
        """Pass over bytes that nobody looks at."""
        have: i64 = len(self.buf) - self.pos
        if length <= have:
            self.pos += length
            return
        self.check_length(length)
        self.source.skip(length - have)
        self.base += self.pos + length
        self.buf = b""
        self.pos = 0

    def watch(self, length: i64, item: i64, watcher: Any) -> None:
        """Pass over bytes, and let somebody look at them in pieces of whole items."""
        self.count_watch(length)
        piece: i64 = contents.PIECE
        piece -= piece % item
        if piece < item:
            piece = item
        while length > 0:
            if piece > length:
                piece = length
            watcher.feed(self.take(piece))
            length -= piece

    def count_watch(self, length: i64) -> None:
        """Count the work of looking at bytes."""
        self.work += 24
        if self.size < 0:
            self.work += length >> 8  # a small file can unpack to many

    def number(self, size: i64) -> i64:
        """Take an unsigned number of 1, 4 or 8 bytes, little-endian; 2^60 and more is a length that nothing has."""
        if size > len(self.buf) - self.pos:
            self.take(size)
            self.pos -= size
        buf = self.buf
        pos: i64 = self.pos
        self.pos = pos + size
        if size == 1:
            return buf[pos]
        value: i64 = four(buf, pos)
        if size == 8:
            high: i64 = four(buf, pos + 4)
            if high >= 1 << 28:
                whole = int.from_bytes(buf[pos : pos + 8], "little")
                raise RefusedError("SL507", f"a length of {whole} bytes exceeds the rest of the stream", self.at)
            value |= high << 32
        return value

    def line(self, limit: i64) -> bytes:
        """Take a line without its end, as `readline()[:-1]` does; one without an end is refused."""
        seen: i64 = 0
        while True:
            end: i64 = self.buf.find(b"\n", self.pos + seen)
            if end >= 0:
                break
            seen = len(self.buf) - self.pos
            if seen > limit:
                break
            if self.exhausted:
                raise self.ended()
            # By doubling, so that a long line is not copied once for every piece of it.
            self.fill(2 * seen + 1)
        start = self.pos
        if end < 0 or end - start > limit:
            raise RefusedError("SL508", f"a line has more than {limit} bytes", self.at)
        self.pos = end + 1
        return self.buf[start:end]

    def name_line(self) -> bytes:
        return self.line(_MAX_LINE)

    def decimal(self) -> i64:
        """Take a line that is a memo index in canonical decimal."""
        line = self.line(_MAX_LINE)
        if not line.isdigit() or (len(line) > 1 and line[:1] == b"0") or len(line) > 10:
            raise RefusedError("SL310", "a memo index is not a plain decimal number", self.at)
        return int(line)

    # ---------------------------------------------------------------------------------------- scalars

    def decoded(self, data: bytes) -> str:
        try:
            return data.decode("utf-8")  # the fast way, which takes no surrogates
        except UnicodeDecodeError:
            pass
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise RefusedError("SL322", "a text is not UTF-8", self.at) from None

    def text(self, size: i64) -> object:
        """Take a text: a str, or only its length where it is long."""
        if size <= KEPT_TEXT:
            return self.decoded(self.take(size))
        self.check_length(size)
        if self.size < 0:
            self.work += size >> 9
        left: i64 = size
        length: i64 = 0
        latin1 = True
        rest = b""
        unclear = contents.Unclear(self.arrow) if self.proto < 3 else None  # bytes are written as text
        while left > 0:
            self.fill(1)
            piece = rest + self.buf[self.pos : self.pos + left]
            taken: i64 = len(piece) - len(rest)
            if taken == 0:
                raise self.ended()
            self.pos += taken
            left -= taken
            cut: i64 = len(piece) if left == 0 else last_start(piece)
            rest = piece[cut:]
            text = self.decoded(piece[:cut])
            length += len(text)
            latin1 = latin1 and is_latin1(text)
            if unclear is not None and latin1:
                unclear.feed(text.encode("latin1"))
        made = Text(length, latin1)
        if unclear is not None:
            self.hold(made)
            made.data = unclear
        return made

    def short_bytes(self, size: i64) -> object:
        if size <= forms.KEPT_BYTES:
            return self.take(size)
        return self.long_bytes(size, False)

    def long_bytes(self, size: i64, mutable: bool) -> Blob:
        """Take long bytes, which may turn out to be those of an array."""
        blob = Blob(size, mutable)
        self.hold(blob)
        if size <= _KEPT_WHOLE and size <= len(self.buf) - self.pos:
            self.count_watch(size)
            blob.data = self.take(size)
            return blob
        blob.data = contents.Unclear(self.arrow)
        self.watch(size, 1, blob.data)
        return blob

    def hold(self, value: Long) -> None:
        """Keep the bytes of this one only: numpy writes an array's bytes and its dtype one after the other."""
        if self.held is not None:
            self.held.data = None
        self.held = value

    def long(self, size: i64) -> int:
        if size > _MAX_LONG:
            raise RefusedError("SL508", f"an integer has {size} bytes", self.at)
        return kept_int(int.from_bytes(self.take(size), "little", signed=True))

    def text_int(self) -> object:
        """INT: `I%d` or the booleans of protocol 0; int() would take far more.

        The result is declared as any object, because compiled code turns a bool that is declared int into an int.
        """
        line = self.line(_MAX_LINE)
        if line == b"00":
            return False
        if line == b"01":
            return True
        return self.canonical_int(line)

    def text_long(self) -> int:
        """LONG: `L%dL`."""
        line = self.line(_MAX_LINE)
        if line[-1:] != b"L":
            raise RefusedError("SL310", "a LONG does not end with L", self.at)
        return self.canonical_int(line[:-1])

    def canonical_int(self, line: bytes) -> int:
        digits = line[1:] if line[:1] == b"-" else line
        if not digits.isdigit() or (digits[:1] == b"0" and line != b"0") or len(digits) > _MAX_DIGITS:
            raise RefusedError("SL310", "an integer is not a plain decimal number", self.at)
        if len(digits) > _HUGE_DIGITS:  # int() takes quadratic time
            return HUGE if digits is line else -HUGE
        return kept_int(int(line))

    def text_float(self) -> None:
        """FLOAT: the repr of a float; float() would take blanks, underscores and more."""
        line = self.line(_MAX_LINE)
        try:
            if len(line) > 32 or repr(float(line)).encode() != line:
                raise ValueError
        except ValueError:
            raise RefusedError("SL310", "a float is not written as repr writes it", self.at) from None

    def text_line(self) -> object:
        """UNICODE: a line in raw-unicode-escape, as Lib/pickle.py decodes it."""
        self.fill(KEPT_TEXT + 1)
        end: i64 = self.buf.find(b"\n", self.pos, self.pos + KEPT_TEXT + 1)
        length: i64 = 0
        latin1 = True
        rest = b""
        unclear = contents.Unclear(self.arrow)
        try:
            if end >= 0:
                line = self.buf[self.pos : end]
                self.pos = end + 1
                return line.decode("raw-unicode-escape")
            while end < 0:
                end = self.buf.find(b"\n", self.pos)
                piece = rest + (self.buf[self.pos : end] if end >= 0 else self.buf[self.pos :])
                text, used = codecs.raw_unicode_escape_decode(piece, "strict", end >= 0)
                rest = piece[used:]
                length += len(text)
                latin1 = latin1 and is_latin1(text)
                if latin1:
                    unclear.feed(text.encode("latin1"))
                self.pos = end + 1 if end >= 0 else len(self.buf)
                if end < 0:
                    if self.exhausted:
                        raise self.ended()
                    self.fill(1)
        except UnicodeDecodeError:
            raise RefusedError("SL322", "a text has a broken escape", self.at) from None
        made = Text(length, latin1)
        self.hold(made)
        made.data = unclear
        return made


def four(buf: bytes, pos: i64) -> i64:
    """Return the unsigned little-endian number in these four bytes, which have to be there."""
    second: i64 = buf[pos + 1]
    third: i64 = buf[pos + 2]
    fourth: i64 = buf[pos + 3]
    return buf[pos] | second << 8 | third << 16 | fourth << 24


def last_start(piece: bytes) -> i64:
    """Return where the last character of UTF-8 begins."""
    end: i64 = len(piece)
    index: i64 = end - 1
    while index > 0 and index > end - 4 and piece[index] & 0xC0 == 0x80:
        index -= 1
    return index


def is_latin1(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("latin1")
    except UnicodeEncodeError:
        return False
    return True


def kept_int(value: int) -> int:
    """Return an integer that is as good as this one, and not long."""
    if value >= HUGE:
        return HUGE
    return max(-HUGE, value)
