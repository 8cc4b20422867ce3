"""What users say of an artifact, cleaned so that JSON can hold it."""

from __future__ import annotations

import math
import sys
from datetime import date
from typing import Any

from safeload._internal.strictjson import _MAX_INT, _MIN_INT, is_text

__all__ = [
    "MAX_DEPTH",
    "MAX_TEXT",
    "MAX_VALUES",
    "clean_metadata",
]

MAX_DEPTH = 32


MAX_VALUES = 100_000


MAX_TEXT = 4 << 20  # characters in all of the metadata's texts and keys


def clean_metadata(obj: Any) -> dict[str, Any]:
    """Return metadata as JSON can hold it, copied; None is no metadata.

    Datetimes and dates become ISO 8601 texts, numpy scalars numbers, tuples lists.

    Raises:
        TypeError: a value that JSON has no form for, or a key that is not a text.
        ValueError: NaN or an infinity, an integer beyond 64 bits, text that is not UTF-8, or too much of it all.
    """
    if obj is None:
        return {}
    if not isinstance(obj, dict):
        raise TypeError(f"metadata must be a dict, not {_type_name(obj)}")
    cleaned: dict[str, Any] = _Cleaner().clean(obj, "metadata", 0)
    return cleaned


class _Cleaner:
    """Walks metadata once, counting: shared parts can make a small object a huge text."""

    def __init__(self) -> None:
        self._values = 0
        self._text = 0

    def clean(self, obj: Any, where: str, depth: int) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise ValueError(f"metadata has more than {MAX_VALUES} values: keep such data in a file of its own")
        if obj is None or isinstance(obj, bool):
            return obj
        if isinstance(obj, str):
            return self._clean_text(obj, where)
        if isinstance(obj, int):
            return _clean_int(int(obj), where)
        if isinstance(obj, float):
            return _clean_float(float(obj), where)
        if isinstance(obj, date):  # a datetime is a date too
            return _clean_time(obj, where)
        if isinstance(obj, dict | list | tuple):
            if depth >= MAX_DEPTH:
                raise ValueError(f"{_short(where)} is nested more than {MAX_DEPTH} deep, or holds itself")
            if isinstance(obj, dict):
                return {
                    self._clean_key(key, where): self.clean(value, f"{where}[{_short(repr(key))}]", depth + 1)
                    for key, value in obj.items()
                }
            return [self.clean(value, f"{where}[{index}]", depth + 1) for index, value in enumerate(obj)]
        return _clean_numpy(obj, where)

    def _clean_key(self, key: Any, where: str) -> str:
        if not isinstance(key, str):
            raise TypeError(f"{_short(where)}: keys must be texts, not {_type_name(key)}")
        return self._clean_text(key, f"a key of {where}")

    def _clean_text(self, text: str, where: str) -> str:
        plain = str.__str__(text)  # without what a subclass, such as an enumeration's, makes of it
        self._text += len(plain)
        if self._text > MAX_TEXT:
            raise ValueError(f"metadata has more than {MAX_TEXT} characters: keep such data in a file of its own")
        if not is_text(plain):
            raise ValueError(f"{_short(where)}: text that UTF-8 cannot hold (a lone surrogate)")
        return plain


def _clean_int(value: int, where: str) -> int:
    if not _MIN_INT <= value <= _MAX_INT:
        raise ValueError(f"{_short(where)}: integers must fit in 64 bits; store this one as a text")
    return value


def _clean_float(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{_short(where)}: JSON has no form for {value}; use None or a text")
    return value


def _clean_time(value: date, where: str) -> str:
    if value != value:  # pandas' NaT, which is a datetime
        raise ValueError(f"{_short(where)}: JSON has no form for NaT; use None or a text")
    return value.isoformat()


def _clean_numpy(obj: Any, where: str) -> Any:
    numpy = sys.modules.get("numpy")  # where it was never imported, nothing is of its types
    if numpy is not None and isinstance(obj, numpy.generic):
        if isinstance(obj, numpy.bool_):
            return bool(obj)
        if isinstance(obj, numpy.integer) and not isinstance(obj, numpy.timedelta64):
            return _clean_int(int(obj), where)
        if isinstance(obj, numpy.floating):
            return _clean_float(float(obj), where)
        if isinstance(obj, numpy.datetime64):
            if numpy.isnat(obj):
                raise ValueError(f"{_short(where)}: JSON has no form for NaT; use None or a text")
            return str(obj)
    hint = "; use .tolist()" if hasattr(obj, "tolist") else ""
    raise TypeError(
        f"{_short(where)}: {_type_name(obj)} has no form in JSON{hint}. Metadata holds None, bool, int, float, str, "
        "datetime, numpy scalars, and lists, tuples and dicts of them"
    )


def _type_name(obj: object) -> str:
    kind = type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"
