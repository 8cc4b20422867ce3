"""JSON where every text has one meaning: a strict reader, and the cleaning of the user's metadata.

The standard parser lets the last of two equal keys win, reads NaN and infinities, and recurses. What reads a
signed file wants none of that, and no integer or text that other parsers read differently (RFC 8259, sections
4, 6 and 8).
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any, NoReturn

from safeload._internal.encoding import decode_base64
from safeload.errors import ManifestError

__all__ = [
    "MAX_INTEGER",
    "MAX_LINE",
    "MAX_NAME_BYTES",
    "Node",
    "format_time",
    "is_file_name",
    "is_line",
    "is_text",
    "parse_json",
]

MAX_LINE = 1000  # characters
MAX_INTEGER = (1 << 63) - 1  # of counts: bytes, releases, sequence numbers

_MIN_INT, _MAX_INT = -(1 << 63), (1 << 64) - 1
_MAX_INT_DIGITS = 20
MAX_NAME_BYTES = 255
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z")


def format_time(time: datetime) -> str:
    """Return a time in UTC as RFC 3339 writes it, with a fraction only where there is one.

    Raises:
        ValueError: it has no time zone, or UTC cannot express it.
    """
    if time.tzinfo is None:
        raise ValueError("a time needs a time zone: datetime(..., tzinfo=timezone.utc)")
    try:
        return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except OverflowError:
        raise ValueError("a time is out of range") from None


def is_text(value: object) -> bool:
    """Return whether this is a str that UTF-8 can hold; JSON escapes can make lone surrogates, which it cannot."""
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode("utf-8"))
    except UnicodeEncodeError:
        return False


def is_line(text: str) -> bool:
    """Return whether this is one printable line of 1 to `MAX_LINE` characters."""
    return 0 < len(text) <= MAX_LINE and text.isprintable()


def is_file_name(text: str) -> bool:
    """Return whether this is a plain file name of up to `MAX_NAME_BYTES` bytes; `is_text` has accepted it."""
    return text not in ("", ".", "..") and "/" not in text and "\0" not in text and len(text.encode()) <= MAX_NAME_BYTES


def parse_json(data: bytes) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: not UTF-8, a byte order mark, not JSON, a key twice in one object, NaN, an infinity, an
            integer beyond 64 bits, or nested too deep.
    """
    text = data.decode("utf-8")  # strict, and a byte order mark stays in it, which json refuses
    try:
        return _DECODER.decode(text)
    except RecursionError:
        pass
    # After the block, so that the error carries no traceback of a thousand frames.
    raise ValueError("it is nested too deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result


def _integer(text: str) -> int:
    if len(text) > _MAX_INT_DIGITS or not _MIN_INT <= int(text) <= _MAX_INT:
        raise ValueError("a number does not fit in 64 bits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)


class Node:
    """A value of a parsed JSON text and where it stands; each method checks its kind and returns it.

    Raises (from each of these): ManifestError, which names the place and what is expected, and never repeats what
        stands there.
    """

    __slots__ = ("_above", "_at", "value")

    def __init__(self, value: Any, at: str | int, above: Node | None = None) -> None:
        self.value = value
        self._at = at  # the field or the index in the node above, or else the whole place
        self._above = above

    @property
    def where(self) -> str:
        """The place; put together when it is asked for, since almost no node is wrong."""
        if self._above is None:
            return str(self._at)
        return f"{self._above.where}[{self._at}]" if isinstance(self._at, int) else f"{self._above.where}.{self._at}"

    def error(self, problem: str) -> ManifestError:
        """Return the error to raise: this place, and what is wrong with it."""
        return ManifestError(f"{self.where} {problem}")

    def fields(self, *required: str, optional: tuple[str, ...] = ()) -> Node:
        """Check that this is an object of exactly these fields; return the node itself."""
        if not isinstance(self.value, dict):
            raise self.error("must be an object")
        for name in required:
            if name not in self.value:
                raise self.error(f"has no field {name!r}")
        if len(self.value) > len(required) + sum(name in self.value for name in optional):
            raise self.error(f"has a field that is none of {', '.join((*required, *optional))}")
        return self

    def __contains__(self, name: str) -> bool:
        return name in self.value

    def __getitem__(self, name: str) -> Node:
        return Node(self.value[name], name, self)

    def items(self) -> list[Node]:
        """Return the values of a list."""
        if not isinstance(self.value, list):
            raise self.error("must be a list")
        return [Node(value, index, self) for index, value in enumerate(self.value)]

    def pairs(self) -> list[tuple[str, Node]]:
        """Return the keys of an object, which must be lines, with their values."""
        if not isinstance(self.value, dict):
            raise self.error("must be an object")
        a_key, a_value = f"a key of {self.where}", f"a value of {self.where}"
        return [(Node(key, a_key).line(), Node(value, a_value)) for key, value in self.value.items()]

    def text(self) -> str:
        """Return a text."""
        if not is_text(self.value):
            raise self.error("must be a text that UTF-8 can hold")
        text: str = self.value
        return text

    def line(self) -> str:
        """Return a text of one printable line."""
        text = self.text()
        if not is_line(text):
            raise self.error(f"must be one printable line of 1 to {MAX_LINE} characters")
        return text

    def file_name(self) -> str:
        """Return a plain file name."""
        name = self.text()
        if not is_file_name(name):
            raise self.error(f"must be a plain file name of at most {MAX_NAME_BYTES} bytes")
        return name

    def integer(self) -> int:
        """Return a size or count."""
        if type(self.value) is not int or not 0 <= self.value <= MAX_INTEGER:  # a bool is an int, but no number
            raise self.error("must be a whole number from 0 to 2^63 - 1")
        return self.value

    def one_of(self, choices: tuple[str, ...]) -> str:
        """Return one of these texts."""
        if not isinstance(self.value, str) or self.value not in choices:
            raise self.error(f"must be one of {', '.join(choices)}")
        return self.value

    def hex_digest(self) -> str:
        """Return a 32-byte digest in hexadecimal."""
        if not isinstance(self.value, str) or _HEX_DIGEST.fullmatch(self.value) is None:
            raise self.error("must be a digest: 64 lower-case hexadecimal digits")
        return self.value

    def base64(self) -> bytes:
        """Return what base64 stands for."""
        try:
            return decode_base64(self.text())
        except ValueError:
            raise self.error("must be standard base64, in its canonical spelling") from None

    def time(self) -> datetime:
        """Return a time; RFC 3339 in UTC, as `format_time` writes it."""
        if isinstance(self.value, str) and _TIME.fullmatch(self.value) is not None:
            try:
                time = datetime.fromisoformat(self.value)
            except ValueError:
                time = None
            if time is not None and format_time(time) == self.value:
                return time
        raise self.error("must be a time in UTC, as in 2026-11-02T09:30:00Z")
