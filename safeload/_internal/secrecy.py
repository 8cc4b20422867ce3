"""Key material where a path belongs: recognised before anything shows it.

A secret ends up in the variable or argument of a path by mistake, and error messages and logs show paths. So
everything that takes a path asks `looks_secret` first, and shows `NOT_SHOWN` in its place. Paths of existing files, and
ordinary names with an extension or a folder, are never key material, even if they hold a digest.
"""

from __future__ import annotations

import os
import re
from typing import Final

from safeload.errors import SafeloadError, StorageError

__all__ = ["HOW_TO_NAME", "NOT_SHOWN", "looks_secret", "require_path", "shown", "without_secrets"]

NOT_SHOWN: Final = "<not shown: looks like key material>"
HOW_TO_NAME: Final = "Pass the path of a file. If this is the name of a file, put ./ before it."

# Keyrings (TOML), PEM, and the header of OpenSSH's and PuTTY's keys. No name of a file has a line break.
_MARKERS = re.compile(
    r"[\r\n]|\[\[|-----BEGIN|-----END|\bPRIVATE KEY\b|\b(?:secret|private|encrypted)[\"']?\s*[=:]", re.IGNORECASE
)
# More than half of a key of 32 bytes: what is shorter leaves 128 bits unknown. UUIDs are shorter, too.
_HEX = re.compile(r"(?:0x)?[0-9A-Fa-f]{34,}|:?(?:[0-9A-Fa-f]{1,2}:){16,}[0-9A-Fa-f]{0,2}")
_BASE32 = re.compile(r"[A-Z2-7]{28,}={0,6}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{23,}={0,2}")
_EXACT = re.compile(r"[A-Za-z0-9+/_-]{43}=|[A-Za-z0-9+/_-]{86}==")  # 32 or 64 bytes
_QUOTED = re.compile(r"[\"'=]\s*([A-Za-z0-9+/_-]{23,})")  # a part of a keyring, or NAME=SECRET

# In names, words and digests are most of the text; in base64 of random bytes, words of five letters are rare.
_WORD = re.compile(r"[A-Z]?[a-z]{4,}")
_PART = re.compile(r"[/_+-]")
_DIGEST_OR_NUMBER = re.compile(r"[0-9a-f]{4,}|[0-9]+(?:T[0-9]+Z?)?")
_MOST_WORDS = 0.6
_FEWEST_DIGITS = 8  # different ones, of 16 or 32


def looks_secret(path: str | os.PathLike[str]) -> bool:
    """Return whether a supposed path is rather a key, a part of one in some encoding, or the text of a keyring."""
    text = os.fsdecode(path)
    return _may_be_secret(text.strip()) and not _is_there(text)


def shown(path: str | os.PathLike[str]) -> str:
    """Return how messages show a path: as it is, unless it looks like key material."""
    return NOT_SHOWN if looks_secret(path) else os.fsdecode(path)


def require_path(path: str | os.PathLike[str], error: type[SafeloadError] = StorageError) -> None:
    """Refuse key material in the place of a path, without showing it.

    Raises:
        SafeloadError: of the type `error`.
    """
    if looks_secret(path):
        raise error(f"cannot use {NOT_SHOWN} as a path", advice=HOW_TO_NAME)


def without_secrets(message: str, given: list[str]) -> str:
    """Return a message about these arguments without those that look like key material."""
    for text in given:
        for part in (text, text.partition("=")[2]):
            if part and looks_secret(part):
                for form in (part, repr(part)[1:-1]):
                    message = message.replace(form, NOT_SHOWN)
    return message


def _may_be_secret(text: str) -> bool:
    if _MARKERS.search(text) or _EXACT.fullmatch(text):
        return True
    if _HEX.fullmatch(text) or _BASE32.fullmatch(text):
        return len(set(text)) >= _FEWEST_DIGITS
    if _BASE64.fullmatch(text):
        return _is_random(text.rstrip("="))
    return any(_is_random(run) for run in _QUOTED.findall(text))


def _is_random(text: str) -> bool:
    """Return whether text in the letters of base64 is random rather than made of words, numbers and digests."""
    if min(sum(map(str.islower, text)), sum(map(str.isupper, text))) < 2:  # the T of a time is one
        return False
    parts = [part for part in _PART.split(text) if not _DIGEST_OR_NUMBER.fullmatch(part)]
    words = sum(map(len, _WORD.findall(" ".join(parts))))
    return words < _MOST_WORDS * sum(map(len, parts))


def _is_there(text: str) -> bool:
    """Return whether there is such a file, or the folder that it would be in."""
    folder = os.path.dirname(text)  # noqa: PTH120 - any text will do
    # The root is no evidence: one key of 64 begins with a slash in base64.
    return os.path.lexists(text) or (folder.strip("/") != "" and os.path.isdir(folder))  # noqa: PTH112
