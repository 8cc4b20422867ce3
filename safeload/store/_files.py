"""Channel pointers as files among others: told by where they are, read, and given other signatures."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safeload._signing.new_pair import checked_target
from safeload._signing.re_sign import FileReSigner, SignedArtifact
from safeload.store._layout import Layout
from safeload.store._names import is_plain
from safeload.store._pointer import POINTER, Pointer, pointer_bytes, pointer_for
from safeload.store._versions import acceptor, leads_nowhere

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any

    from safeload._internal.files import PathLike
    from safeload._judging.decisions import Decision
    from safeload._loading.loader import Loader
    from safeload._manifest.envelope import Kind
    from safeload._scan import Limits
    from safeload._signing.re_sign import ReSigned, SignedFile
    from safeload.keys import Keyring, KeyringSource, SigningSources
    from safeload.policy import PolicySource

__all__ = ["PointerFile", "ReSigner", "is_pointer", "signed_file_at"]


@dataclass(frozen=True, slots=True)
class PointerFile:
    """The file of a channel's pointer."""

    layout: Layout
    channel: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.layout.pointer(self.channel)

    @property
    def kind(self) -> Kind:
        """The kind of its envelope."""
        return POINTER

    def data(self) -> bytes:
        """Return its bytes.

        Raises: FileNotFoundError, ManifestError, StorageError.
        """
        return pointer_bytes(self.layout, self.channel)

    def opened(self, data: bytes, keyring: Keyring, _made: Decision) -> Pointer:
        """Return what these bytes say, if keys that may say so for this channel signed it; whatever its time.

        Raises: VerificationError.
        """
        return pointer_for(self.layout, self.channel, data, keyring)

    def content(self, loader: Loader, made: Decision) -> Pointer:
        """Return what it says now, its signatures checked.

        Raises: VerificationError.
        """
        return self.opened(self.data(), loader.keyring, made)

    def verified(self, loader: Loader, made: Decision) -> Pointer:
        """Return what it says now, if the version that was promoted is there.

        Raises: VerificationError.
        """
        pointer = self.content(loader, made)
        path = self.artifact(pointer)
        try:
            loader.read_manifest(path, accept=acceptor(path, pointer.version, pointer.place, self.channel))
        except FileNotFoundError:
            raise leads_nowhere(self.path) from None
        return pointer

    def artifact(self, content: Pointer) -> Path:
        """Return where the artifact is that it points to."""
        return self.layout.artifact(content.version)

    @contextmanager
    def changing(self) -> Iterator[Callable[[bytes], None]]:
        """Keep others from moving the channel; what is given replaces the file in one step.

        Raises: StorageError.
        """
        with self.layout.deciding():
            yield lambda data: self.layout.put_pointer(self.channel, data)


def _pointer_at(path: Path) -> PointerFile | None:
    """Return the pointer's file if a path is where a store keeps one, or None."""
    # Relative as it was given, where that says enough: messages name it as the caller does.
    place = path if len(path.parts) > 2 and ".." not in path.parts else Path(os.path.abspath(path))  # noqa: PTH100
    if place.suffix != ".json" or place.parent.name != "channels" or len(place.parents) < 3:
        return None
    model = place.parents[1]
    if not (is_plain(place.stem) and is_plain(model.name) and (model / "versions").is_dir()):
        return None
    return PointerFile(Layout(model.parent, model.name), place.stem)


def is_pointer(path: Path) -> bool:
    """Return whether a path is where a store keeps the pointer of a channel; the file need not be there."""
    return _pointer_at(path) is not None


def signed_file_at(path: Path) -> SignedFile[Any]:
    """Return the channel pointer at this path of a store, or else the signed artifact there."""
    return _pointer_at(path) or SignedArtifact(path)


class ReSigner:
    """`safeload.re_sign` and `safeload.countersign` for many files, configured once.

    Args:
        key, keyring, policy, limits: as for `safeload.re_sign`.
        beside: sign beside all existing signatures, as `safeload.countersign` does.
        replacing: as for `safeload.re_sign`.

    Raises:
        KeyringError, PolicyFileError: they cannot be used, or it is not said whose signatures are to be replaced.
    """

    def __init__(
        self,
        *,
        key: SigningSources = None,
        keyring: KeyringSource = None,
        policy: PolicySource = None,
        limits: Limits | None = None,
        beside: bool = False,
        replacing: Collection[str] | None = None,
    ) -> None:
        self._files = FileReSigner(
            key=key, keyring=keyring, policy=policy, limits=limits, beside=beside, replacing=replacing
        )

    def sign(self, path: PathLike) -> ReSigned:
        """Verify an artifact or a channel pointer, and sign it; errors as for `safeload.re_sign`."""
        return self._files.sign(signed_file_at(checked_target(path)))
