"""Local files, the backend of every path without a scheme."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from safeload._internal import atomic, files
from safeload._storage import pair

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from safeload._internal.blob import FileBlob
    from safeload._storage.backend import Belongs

__all__ = ["LocalFiles"]


class LocalFiles:
    """Files on this machine, or on a file server that is mounted here; names are paths. See `Backend`."""

    def open_artifact(self, name: str) -> FileBlob:
        """Open a regular file, without ever waiting."""
        return files.open_artifact(name)

    def read(self, name: str, most: int) -> bytes:
        """Return the content of a regular file."""
        return files.read_regular(name, most)

    def snapshot(self, name: str) -> pair.Snapshot:
        """Return the identities of the three files."""
        return pair.snapshot(name)

    def writing(self, name: str, *, overwrite: bool, belongs: Belongs) -> AbstractContextManager[pair.PairWriter]:
        """Write a pair, in the steps that `pair` describes."""
        return pair.writing(name, overwrite=overwrite, belongs=belongs)

    def signing(self, name: str, *, overwrite: bool, belongs: Belongs) -> AbstractContextManager[pair.ManifestWriter]:
        """Write a manifest beside an artifact that stays as it is."""
        return pair.signing(name, overwrite=overwrite, belongs=belongs)

    def replace(self, name: str, data: bytes) -> None:
        """Replace a file by renaming a new one."""
        atomic.replace_file(Path(name), data)

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock file beside the file or folder of this name."""
        path = Path(name)
        return atomic.locked(atomic.lock_path(path), path)

    def list(self, name: str) -> list[str]:
        """List a folder."""
        try:
            found = os.listdir(name)  # noqa: PTH208 - names are all that is asked for
        except FileNotFoundError:
            return []
        return sorted(one for one in found if not one.startswith(atomic.SCRATCH_PREFIX))
