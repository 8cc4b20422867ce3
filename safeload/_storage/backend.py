"""What a storage backend does: the few calls that everything above storage makes.

A backend keeps files by name. An artifact NAME has its manifest under NAME + `MANIFEST_SUFFIX` and, while a writer is
at work, the next one under NAME + `NEXT_SUFFIX`: `states` says which of the two belongs to it. No rule is a backend's:
what it returns is verified like any other bytes. It has to keep three promises.

- An open artifact stays the same file until it is closed, or its reads fail with a digest mismatch.
- A pair and a single file are replaced so that a reader finds the old one or the new one, whatever crashes.
- `snapshot` changes whenever one of the files may have changed.

Errors are OSError (above all FileNotFoundError) or StorageError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Hashable
    from contextlib import AbstractContextManager

    from safeload._internal.blob import Blob

    # Whether a manifest (its bytes) is of this artifact.
    Belongs = Callable[[bytes, Blob], bool]

__all__ = ["Backend", "ManifestWriter", "PairWriter"]


class ManifestWriter(Protocol):
    """Puts a manifest beside an artifact that stays, once."""

    def commit(self, manifest: bytes, /) -> None:
        """Put the manifest in place, durably, in one step."""


class PairWriter(ManifestWriter, Protocol):
    """Puts a pair in place, once: write the artifact to `stream`, close that, read it as `blob`, then `commit`."""

    def stream(self) -> io.BufferedIOBase:
        """Return a stream to write the artifact to."""

    @property
    def blob(self) -> Blob:
        """The artifact as it was written."""

    def flushing(self) -> AbstractContextManager[None]:
        """Let a large artifact be stored while something else is done with it."""


class Backend(Protocol):
    """Where artifacts and manifests are kept; names are as the backend's own, without its scheme."""

    def open_artifact(self, name: str, /) -> AbstractContextManager[Blob]:
        """Open an artifact for reading; leaving the block closes it."""

    def read(self, name: str, most: int, /) -> bytes:
        """Return the content of a small file.

        Raises: TooLargeError if it has more than `most` bytes, NotRegularError if it is not a file.
        """

    def snapshot(self, name: str, /) -> Hashable:
        """Return what changes when the artifact or one of its manifests is replaced, without reading them."""

    def writing(self, name: str, /, *, overwrite: bool, belongs: Belongs) -> AbstractContextManager[PairWriter]:
        """Write a pair, once what a killed writer left is settled; a block without commit changes nothing.

        Raises: FileExistsError if there is a pair and `overwrite` is false.
        """

    def signing(self, name: str, /, *, overwrite: bool, belongs: Belongs) -> AbstractContextManager[ManifestWriter]:
        """Write the manifest of an existing artifact; otherwise as `writing`."""

    def replace(self, name: str, data: bytes, /) -> None:
        """Put a single small file in place, durably, in one step; the caller keeps other writers out."""

    def locked(self, name: str, /) -> AbstractContextManager[None]:
        """Keep out all others who lock the same name."""

    def list(self, name: str, /) -> list[str]:
        """Return the names in a folder, sorted, without the temporary files of writers; none without a folder."""
