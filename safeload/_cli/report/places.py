"""Where a finding is, for tools that know a repository: paths from the folder that the command runs in."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from safeload._cli.report.result import Result

__all__ = ["fingerprinted", "local_path"]


def local_path(path: str) -> str | None:
    """Return a path from the folder that the command runs in, with slashes; None if the path leads outside of it."""
    pure = PurePath(path)
    here = Path.cwd()
    if ".." in pure.parts:  # a link before it may lead anywhere
        pure = PurePath(os.path.realpath(path))
    if pure.is_absolute():
        if not pure.is_relative_to(here):
            return None
        pure = pure.relative_to(here)
    return pure.as_posix()


def fingerprinted(
    rows: Iterable[tuple[Result, Mapping[str, Any]]],
) -> Iterator[tuple[Result, Mapping[str, Any], str]]:
    """Yield results and findings, each with a text that is the same in the next run, and that no other of them has.

    It is made of the code, the path, the name and the message, and not of offsets, which move with every training.
    """
    seen: dict[str, int] = {}
    for result, finding in rows:
        parts = (
            finding["code"],
            local_path(result.path) or result.path,
            finding["global_name"] or "",
            finding["message"],
        )
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        seen[digest] = count = seen.get(digest, 0) + 1
        yield result, finding, f"{digest}:{count}"
