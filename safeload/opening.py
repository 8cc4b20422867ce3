"""Open an artifact with the manifest that belongs to it, also while a writer is replacing the two."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, TypeVar

from safeload.errors import StorageError, VerificationError
from safeload.files import open_artifact
from safeload.manifest import read_envelope_bytes
from safeload.storage import manifest_path, next_path, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["with_pair"]

_Result = TypeVar("_Result")
_MAX_TRIES = 100
_PAUSE = 0.01  # seconds, times the number of tries so far


def with_pair(path: Path, use: Callable[[int, bytes], _Result]) -> _Result:
    """Return what `use` makes of the artifact's open descriptor and the bytes of its envelope.

    A writer commits in steps (see `storage`), so where a manifest does not hold, be it that it speaks of other
    bytes or that its key is no longer trusted, the one that is about to take its place is tried, and if the files
    changed meanwhile, all is opened again.
    What `use` did before it met a byte that was not signed, it does again: it has to act on nothing until then.

    Raises:
        VerificationError: what is wrong with the manifest, where no writer is at work.
        FileNotFoundError, StorageError: the artifact or the manifest cannot be read.
    """
    attempt = 0
    while True:
        before = snapshot(path)
        problem: VerificationError | StorageError
        try:
            fd = open_artifact(path)
            try:
                try:
                    return use(fd, read_envelope_bytes(manifest_path(path)))
                except VerificationError as error:
                    problem = error
                try:
                    return use(fd, read_envelope_bytes(next_path(path)))
                except VerificationError:
                    pass  # what was wrong with the manifest says more: there should be no `.next`
            finally:
                os.close(fd)
            changed = snapshot(path) != before
        except StorageError as error:
            problem, changed = error, _is_stale(error)
        attempt += 1
        if attempt == _MAX_TRIES or not changed:
            raise problem
        time.sleep(_PAUSE * min(attempt, 10))


def _is_stale(error: StorageError) -> bool:
    """Tell whether a file server has put another file in the place of the one that was open."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ESTALE
