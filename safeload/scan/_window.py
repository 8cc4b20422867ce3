"""The stream as the pickle machine reads it: a window of bytes, and the scalars that are written in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from safeload.rules import RefusedError
from safeload.scan import _forms as forms
from safeload.scan.values import Blob

if TYPE_CHECKING:
    from mypy_extensions import i64

_READ_AHEAD: Final = 1 << 18
_MAX_PIECE: Final = 1 << 24
_MAX_LINE: Final = 4096  # bytes of a name or a number
_MAX_TEXT: Final = 1 << 32  # bytes of a protocol 0 string, which is a line of any length
_MAX_LONG: Final = 1024  # bytes of an integer


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
        """Take `length` bytes that may be longer than the window."""
        if length > len(self.buf) - self.pos:
            # The size comes first: a length that cannot be true must not be allocated.
            if self.size >= 0 and length > self.size - (self.base + self.pos):
                raise RefusedError("SL507", f"a length of {length} where fewer bytes are left", self.at)
            self.take_slowly(length)
            if length > len(self.buf) - self.pos:
                raise self.ended()
        start = self.pos
        self.pos = start + length
        return self.buf[start : start + length]

    def take_slowly(self, length: i64) -> None:
        """Fill the window piece by piece, where the size is not known and the length may be a lie."""
        parts = [self.buf[self.pos :]]
        have: i64 = len(parts[0])
        while have < length and not self.exhausted:
            more: i64 = length - have
            if more > _MAX_PIECE:
                more = _MAX_PIECE
            if more < _READ_AHEAD:
                more = _READ_AHEAD
            data = self.source.read(more)
            if len(data) < more:
                self.exhausted = True
            parts.append(data)
            have += len(data)
        self.base += self.pos
        self.buf = b"".join(parts)
        self.pos = 0

    def pass_over(self, length: i64) -> None:
        """Pass over bytes that nobody looks at."""
        have: i64 = len(self.buf) - self.pos
        if length <= have:
            self.pos += length
            return
        if self.size >= 0 and length > self.size - (self.base + self.pos):
            raise RefusedError("SL507", f"a length of {length} where fewer bytes are left", self.at)
        self.source.skip(length - have)
        self.base += self.pos + length
        self.buf = b""
        self.pos = 0

    def number(self, size: i64) -> i64:
        """Take an unsigned little-endian number; one of 2^60 and more is a length that nothing has."""
        data = self.take(size)
        value = int.from_bytes(data, "little")
        if value >= 1 << 60:
            raise RefusedError("SL507", f"a length of {value} where fewer bytes are left", self.at)
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
            raise RefusedError("SL508", f"a line of more than {limit} bytes", self.at)
        self.pos = end + 1
        return self.buf[start:end]

    def name_line(self) -> bytes:
        return self.line(_MAX_LINE)

    def decimal(self) -> i64:
        """Take a line that is a memo index in canonical decimal."""
        line = self.line(_MAX_LINE)
        if not line.isdigit() or (len(line) > 1 and line[:1] == b"0") or len(line) > 10:
            raise RefusedError("SL310", "a memo index that is not plain decimal", self.at)
        return int(line)

    # ---------------------------------------------------------------------------------------- scalars

    def decoded(self, data: bytes) -> str:
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise RefusedError("SL322", "text that is not UTF-8", self.at) from None

    def text(self, size: i64) -> str:
        return self.decoded(self.take(size))

    def short_bytes(self, size: i64) -> object:
        if size <= forms.KEPT_BYTES:
            return self.take(size)
        self.pass_over(size)
        return Blob(size, False)

    def long(self, size: i64) -> int:
        if size > _MAX_LONG:
            raise RefusedError("SL508", f"an integer of {size} bytes", self.at)
        return int.from_bytes(self.take(size), "little", signed=True)

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
            raise RefusedError("SL310", "a LONG without its L", self.at)
        return self.canonical_int(line[:-1])

    def canonical_int(self, line: bytes) -> int:
        digits = line[1:] if line[:1] == b"-" else line
        if not digits.isdigit() or (digits[:1] == b"0" and line != b"0") or len(digits) > _MAX_LONG:
            raise RefusedError("SL310", "an integer that is not plain decimal", self.at)
        return int(line)

    def text_float(self) -> None:
        """FLOAT: the repr of a float; float() would take blanks, underscores and more."""
        line = self.line(_MAX_LINE)
        try:
            if len(line) > 32 or repr(float(line)).encode() != line:
                raise ValueError
        except ValueError:
            raise RefusedError("SL310", "a float that is not as repr writes it", self.at) from None

    def text_line(self) -> str:
        """UNICODE: raw-unicode-escape, as Lib/pickle.py decodes it."""
        line = self.line(_MAX_TEXT)
        try:
            return line.decode("raw-unicode-escape")
        except UnicodeDecodeError:
            raise RefusedError("SL322", "text in a broken escape", self.at) from None
