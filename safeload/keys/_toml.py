"""Changing a keyring's text: what somebody else wrote in it, comments above all, stays where it is.

The lines of a few fields are replaced, and new keys go to the end. Whether that says what is meant is then asked of the
reader; if not, as where a file is laid out in another way than ours, it is written anew, without its comments.
"""

from __future__ import annotations

import re

from safeload.errors import KeyringError
from safeload.keys._file import KeyringText, entry_lines, format_keyring, head_fields, parse_keyring

__all__ = ["edited"]

_HEADER = re.compile(r"\s*\[\[\s*keys\s*\]\]\s*(#.*)?")
_HEAD_FIELD = re.compile(r"\s*(threshold|rotating_to)\s*=.*")
_CHANGING_FIELD = re.compile(r"\s*(status|revoked|reason)\s*=.*")
_VERSION = re.compile(r"\s*version\s*=.*")


def edited(old: str, before: KeyringText, after: KeyringText) -> str:
    """Return the text that says `after`, as close as can be to `old`, which says `before`."""
    lines = old.removesuffix("\n").split("\n")
    starts = [number for number, line in enumerate(lines) if _HEADER.fullmatch(line)]
    if len(starts) != len(before.entries):
        return format_keyring(after)
    new = _edit(lines, starts, before, after)
    try:
        if format_keyring(parse_keyring(new.encode(), "edited")) == format_keyring(after):
            return new
    except KeyringError:
        pass
    return format_keyring(after)


def _edit(lines: list[str], starts: list[int], before: KeyringText, after: KeyringText) -> str:
    blocks = [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]
    known = {entry.key_id: (entry, block) for entry, block in zip(before.entries, blocks, strict=True)}
    result = _edited_head(lines[: starts[0]], after)
    for entry in after.entries:
        if entry.key_id in known:
            old, block = known[entry.key_id]
            result += block if entry_lines(old) == entry_lines(entry) else _edited_block(block, entry_lines(entry))
        else:
            result += ([""] if result and result[-1].strip() else []) + entry_lines(entry)
    return "\n".join(result) + "\n"


def _edited_head(head: list[str], after: KeyringText) -> list[str]:
    result = []
    for line in head:
        if not _HEAD_FIELD.fullmatch(line):
            result.append(line)
        if _VERSION.fullmatch(line):
            result += [f"{name} = {value}" for name, value in head_fields(after)]
    return result


def _edited_block(block: list[str], wanted: list[str]) -> list[str]:
    fresh = [line for line in wanted if _CHANGING_FIELD.fullmatch(line)]
    result: list[str] = []
    for line in block:
        if not _CHANGING_FIELD.fullmatch(line):
            result.append(line)
        elif fresh:  # all of them where the first of them stood
            result += fresh
            fresh = []
    return result
