"""A channel of a store, as a watch follows it: its pointer, and the version that it points to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeload._loading.watch import LoadedModel
from safeload._storage.opening import snapshot
from safeload.errors import SafeloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from safeload._loading.trust import Trust
    from safeload._manifest.manifest import Manifest
    from safeload.store._versions import Resolved

__all__ = ["Channel"]


class Channel:
    """A channel as a watch follows it; a look reads only a pointer or keyring that has changed."""

    def __init__(
        self,
        pointer: Path,
        trust: Trust,
        resolve: Callable[[], Resolved],
        load: Callable[[], tuple[Any, Manifest, Resolved]],
    ) -> None:
        self._pointer = pointer
        self._trust = trust
        self._resolve = resolve
        self._load = load
        self._last: tuple[tuple[Hashable, Hashable], Path | None] | None = None  # pointer and keyring, where it leads

    @property
    def where(self) -> str:
        """The path of the pointer."""
        return str(self._pointer)

    def look(self) -> tuple[Hashable, Hashable, Hashable]:
        """Return the identities of pointer, keyring and the pair pointed to, None where it cannot be followed."""
        now, artifact = (snapshot(self._pointer), self._trust.look()), None
        if self._last is not None and self._last[0] == now:
            artifact = self._last[1]
        else:
            try:
                self._trust.renew()
                artifact = self._resolve().path
            except (SafeloadError, OSError):
                pass  # `load` will say it
            self._last = now, artifact
        return *now, None if artifact is None else snapshot(artifact)

    def load(self) -> LoadedModel:
        """Load the version that the channel points to."""
        self._trust.renew()
        model, manifest, found = self._load()
        until = [manifest.expires, None if found.pointer is None else found.pointer.expires]
        return LoadedModel(model, manifest, min((time for time in until if time is not None), default=None))
