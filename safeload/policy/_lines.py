"""On which line of a policy file a key or a rule stands. tomllib does not say; messages and audits do.

A wrong line would be worse than none: where the text cannot be matched to what was parsed, the answer is None.
"""

from __future__ import annotations

import re
from bisect import bisect_left

__all__ = ["Lines"]

_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*allow[ \t]*\]\]", re.MULTILINE)


class Lines:
    """The lines of one text that holds `rules` entries under `allow`."""

    def __init__(self, text: str, rules: int) -> None:
        self._text = text
        self._ends = [found.start() for found in re.finditer("\n", text)]
        headers = [self._line(found.start()) for found in _HEADER.finditer(text)]
        if len(headers) == rules:
            self._rules: list[int | None] = list(headers)
        elif not headers:  # written as allow = [...]
            self._rules = [self.of("allow") or 1] * rules
        else:  # a text in the file looks like a header
            self._rules = [None] * rules

    def of(self, *keys: str) -> int | None:
        """Return the line where the first of these top-level keys or tables begins."""
        names = "|".join(map(re.escape, keys))
        found = re.search(rf"^[ \t]*\[*[ \t]*(?:{names})\b", self._text, re.MULTILINE)
        return self._line(found.start()) if found else None

    def of_rule(self, index: int) -> int | None:
        """Return the line where a rule begins."""
        return self._rules[index]

    def _line(self, position: int) -> int:
        return bisect_left(self._ends, position) + 1
