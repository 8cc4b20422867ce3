"""Named patterns: what a policy file says once under `[patterns]` and uses by `"$name"`.

They are put in place when the file is read, so that whoever asks a rule sees the whole pattern.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["NamedPatterns"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_MAX_PARTS = 20_000  # of one pattern, with all that it names put in place
_PLAIN = frozenset(
    {"literal", "global", "instance", "built", "int", "bytes"}
)  # of no patterns, but of values and names


class NamedPatterns:
    """The patterns of one policy file by name; each may use those before it.

    Raises: ValueError for a table that is none, a bad name, or a name that none of those before has.
    """

    def __init__(self, table: Any) -> None:
        if not isinstance(table, dict):
            raise ValueError("patterns is a table of patterns by name")
        self._patterns: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._used: set[str] = set()
        for name, pattern in table.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name for a pattern: lower-case letters, digits and _")
            resolved, size = self._resolve(pattern)
            self._patterns[name], self._sizes[name] = resolved, size

    def resolve(self, pattern: Any) -> Any:
        """Return a pattern, or a list of any depth of patterns, with every `"$name"` replaced.

        Raises: ValueError for a name that is not defined, and for a pattern that gets too large.
        """
        return self._resolve(pattern)[0]

    def unused(self) -> list[str]:
        """Return the names that nothing uses."""
        return sorted(self._patterns.keys() - self._used)

    def patterns(self) -> list[Any]:
        """Return all patterns, with those that they name put in place."""
        return list(self._patterns.values())

    def _resolve(self, pattern: Any) -> tuple[Any, int]:
        if isinstance(pattern, str):
            if not pattern.startswith("$"):
                return pattern, 1
            name = pattern[1:]
            if name not in self._patterns:
                raise ValueError(f"{pattern!r} names no pattern that [patterns] defines before it is used")
            self._used.add(name)
            return self._patterns[name], self._sizes[name]
        if isinstance(pattern, list):
            parts = [self._resolve(part) for part in pattern]
            return [part for part, _ in parts], self._bounded(sum(size for _, size in parts))
        if isinstance(pattern, dict):
            size = 1
            resolved = {}
            for key, part in pattern.items():
                one, parts_of = (part, 1) if key in _PLAIN and len(pattern) == 1 else self._resolve(part)
                resolved[key] = one
                size += parts_of
            return resolved, self._bounded(size)
        return pattern, 1

    @staticmethod
    def _bounded(size: int) -> int:
        if size > _MAX_PARTS:
            raise ValueError(f"a pattern of more than {_MAX_PARTS} parts; nobody could review it")
        return size
