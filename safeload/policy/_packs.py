"""The packs that ship with safeload: their text, and what a build has parsed of it beforehand.

Parsing TOML is most of what a policy costs a process, so a build, editable or not, writes what each pack says as
JSON beside it, with the SHA-256 of the text that this is of (see setup.py). It stands for that very text and no other:
where there is none, as in a source tree that nobody installed, or the TOML was edited since, the TOML is parsed. Either
way it is then checked in full.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["pack_names", "read_pack"]

_PACKAGE = "safeload.policy.packs"


def pack_names() -> list[str]:
    """Return the names of the packs that ship with safeload."""
    return list(_pack_names())


@functools.cache
def _pack_names() -> tuple[str, ...]:
    found = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def read_pack(name: str) -> tuple[str, dict[str, Any] | None]:
    """Return a pack's text, and what it says, if a build has parsed this very text; `name` is one of `pack_names`."""
    folder = _folder()
    data = folder.joinpath(f"{name}.toml").read_bytes()
    return data.decode("utf-8"), _parsed(folder.joinpath(f"{name}.json"), hashlib.sha256(data).hexdigest())


def _folder() -> Traversable:
    from importlib import resources  # here: a program's help needs no policy

    return resources.files(_PACKAGE)


def _parsed(file: Traversable, sha256: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(file.read_bytes())
        of_this_text = parsed["sha256"] == sha256
        document = parsed["document"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return document if of_this_text and isinstance(document, dict) else None
