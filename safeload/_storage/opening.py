"""Open an artifact with the manifest that belongs to it, also while a writer is replacing the two."""

from __future__ import annotations

import errno
import os
import shlex
import time
from typing import TYPE_CHECKING, TypeVar

from safeload._internal.files import NotRegularError, PathLike, TooLargeError, storage_errors
from safeload._manifest.manifest import MANIFEST
from safeload._storage.backends import resolve
from safeload._storage.states import MANIFEST_SUFFIX, NEXT_SUFFIX, Match, state_of
from safeload.errors import (
    ManifestError,
    StorageError,
    UnsignedError,
    VerificationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from safeload._internal.blob import Blob
    from safeload._manifest.envelope import Kind

__all__ = [
    "is_stale",
    "read_bounded",
    "read_envelope_bytes",
    "snapshot",
    "with_pair",
]

_Result = TypeVar("_Result")
_MAX_TRIES = 100
_PAUSE = 0.01  # seconds, times the number of tries so far


def with_pair(path: Path, use: Callable[[Blob, bytes], _Result]) -> _Result:
    """Return what `use` makes of the open artifact and the bytes of its envelope.

    A writer commits in steps, and `states` says which manifest belongs to the artifact at each step. If `use` refuses
    the manifest, for whatever reason, the next manifest is tried, and then everything is opened again until the files
    no longer change. An artifact that is refused is therefore checked twice; one that is accepted costs nothing more.
    `use` may be called again after it has read some bytes, so it must not act before the last byte is verified.

    Raises:
        VerificationError: what is wrong with the manifest, where no writer is at work.
        FileNotFoundError, StorageError: the artifact or the manifest cannot be read.
    """
    backend, name = resolve(path)
    attempt = 0
    before: Hashable = None  # nothing is known of the first time
    while True:
        problem: VerificationError | StorageError
        try:
            with backend.open_artifact(name) as blob:
                seen: list[Match] = []
                while (suffix := state_of(*seen).read) is not None:
                    try:
                        return use(blob, read_envelope_bytes(f"{path}{suffix}"))
                    except VerificationError as error:
                        if not seen:  # else what was wrong with the manifest says more: there should be no `.next`
                            problem = error
                        seen.append(Match.ABSENT if isinstance(error, UnsignedError) else Match.OTHER)
            now = backend.snapshot(name)
            changed, before = now != before, now
        except StorageError as error:
            problem, changed = error, is_stale(error)
        attempt += 1
        if attempt == _MAX_TRIES or not changed:
            raise problem
        time.sleep(_PAUSE * min(attempt - 1, 10))


def snapshot(path: PathLike) -> Hashable:
    """Return what changes when the artifact at `path` or one of its manifests is replaced, without reading them.

    Raises: StorageError.
    """
    backend, name = resolve(path)
    return backend.snapshot(name)


def is_stale(error: StorageError) -> bool:
    """Tell whether a file server has put another file in the place of the one that was open."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ESTALE


def read_bounded(kind: Kind, path: PathLike) -> bytes:
    """Read the file of an envelope of this kind, at most as many bytes as the kind allows.

    Raises:
        FileNotFoundError: it is not there.
        ManifestError: it is not a regular file, or too large.
        OSError: it cannot be read.
    """
    backend, name = resolve(path)
    try:
        return backend.read(name, kind.max_bytes)
    except NotRegularError as error:
        raise ManifestError(f"not a {kind.noun}: this is not a regular file", path=path) from error
    except TooLargeError as error:
        raise ManifestError(f"not a {kind.noun}: it has more than {kind.max_bytes} bytes", path=path) from error


def read_envelope_bytes(path: PathLike) -> bytes:
    """Read a manifest file, at most `MAX_MANIFEST_BYTES` of it; `path` is the manifest's own.

    Raises:
        UnsignedError: it is not there.
        ManifestError: it is not a regular file, or too large.
        StorageError: it cannot be read.
    """
    try:
        with storage_errors("read", path):
            return read_bounded(MANIFEST, path)
    except FileNotFoundError:
        name = os.fsdecode(path)
        artifact = name.removesuffix(NEXT_SUFFIX).removesuffix(MANIFEST_SUFFIX)
        raise UnsignedError(
            f"not signed: there is no {name}",
            advice=f"If you trust where it comes from, run: safeload sign {shlex.quote(artifact)}",
            path=artifact,
        ) from None
