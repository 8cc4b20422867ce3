"""Named patterns: a policy file defines a pattern once under `[patterns]` and uses it by `"$name"`.

They are replaced when the file is read, so that each rule holds its whole pattern.
"""

from __future__ import annotations

import re
from typing import Any

from safeload.policy._faults import RuleError

__all__ = ["NamedPatterns"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_MAX_PARTS = 20_000  # of one pattern, with all that it names put in place
_PLAIN = frozenset(
    {"literal", "global", "instance", "built", "int", "bytes"}
)  # of no patterns, but of values and names


class NamedPatterns:
    """The patterns of one policy file by name; each may use those before it.

    Raises:
        RuleError: it is not a table, a name is not valid, or a pattern uses a name that is not defined before it.
    """

    def __init__(self, table: Any) -> None:
        if not isinstance(table, dict):
            raise RuleError("patterns must be a table of patterns by name", advice="Begin it with a line [patterns].")
        self._patterns: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._used: set[str] = set()
        for name, pattern in table.items():
            if not _NAME.fullmatch(name):
                raise RuleError(
                    f"{name!r} cannot be the name of a pattern",
                    advice="Use 1 to 64 lower-case letters, digits and _, a letter first.",
                )
            resolved, size = self._resolve(pattern)
            self._patterns[name], self._sizes[name] = resolved, size

    def resolve(self, pattern: Any) -> Any:
        """Return a pattern, or a list of any depth of patterns, with every `"$name"` replaced.

        Raises:
            RuleError: a name is not defined, or the pattern gets too large.
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
                raise RuleError(
                    f"the pattern {pattern!r} is not defined", advice=f"Define {name} under [patterns], before its use."
                )
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
            raise RuleError(
                f"a pattern has more than {_MAX_PARTS} parts, which nobody can review",
                advice='Use "any" in place of some of its parts, or split the rule.',
            )
        return size
