"""Open an artifact with the manifest that belongs to it, also while a writer is replacing the two."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, TypeVar

from safeload._internal.files import open_artifact
from safeload.errors import StorageError, VerificationError
from safeload.manifest import read_envelope_bytes
from safeload.storage import MANIFEST_SUFFIX, NEXT_SUFFIX, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from safeload.storage import Snapshot

__all__ = ["is_stale", "with_pair"]

_Result = TypeVar("_Result")
_MAX_TRIES = 100
_PAUSE = 0.01  # seconds, times the number of tries so far


def with_pair(path: Path, use: Callable[[int, bytes], _Result]) -> _Result:
    """Return what `use` makes of the artifact's open descriptor and the bytes of its envelope.

    A writer commits in steps (see `storage`), so where a manifest does not hold, be it that it speaks of other
    bytes or that its key is no longer trusted, the one that is about to take its place is tried, and then all is
    opened again, until the files are what they were when that was done. So who is refused is refused twice, and who
    is not pays nothing for what a writer might be doing.
    What `use` did before it met a byte that was not signed, it does again: it has to act on nothing until then.

    Raises:
        VerificationError: what is wrong with the manifest, where no writer is at work.
        FileNotFoundError, StorageError: the artifact or the manifest cannot be read.
    """
    name = str(path)
    attempt = 0
    before: Snapshot | None = None  # nothing is known of the first time
    while True:
        problem: VerificationError | StorageError
        try:
            fd = open_artifact(name)
            try:
                try:
                    return use(fd, read_envelope_bytes(name + MANIFEST_SUFFIX))
                except VerificationError as error:
                    problem = error
                try:
                    return use(fd, read_envelope_bytes(name + NEXT_SUFFIX))
                except VerificationError:
                    pass  # what was wrong with the manifest says more: there should be no `.next`
            finally:
                os.close(fd)
            now = snapshot(path)
            changed, before = now != before, now
        except StorageError as error:
            problem, changed = error, is_stale(error)
        attempt += 1
        if attempt == _MAX_TRIES or not changed:
            raise problem
        time.sleep(_PAUSE * min(attempt - 1, 10))


def is_stale(error: StorageError) -> bool:
    """Tell whether a file server has put another file in the place of the one that was open."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ESTALE
