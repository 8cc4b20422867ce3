"""A channel of a store as what is watched: its pointer, and the version that it points to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeload._loading.watch import LoadedModel
from safeload._storage.pair import Snapshot, snapshot
from safeload.errors import SafeloadError

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from safeload._loading.loader import MmapMode
    from safeload.keys._trust import Trust
    from safeload.store._layout import Layout
    from safeload.store._reading import Reader

__all__ = ["Channel"]


class Channel:
    """Where a channel is, looked at without reading more than a pointer or keyring that has changed."""

    def __init__(self, store: Reader, trust: Trust, layout: Layout, channel: str, mmap_mode: MmapMode | None) -> None:
        self._store = store
        self._trust = trust
        self._name = layout.name
        self._channel = channel
        self._mmap_mode = mmap_mode
        self._pointer = layout.pointer(channel)
        self._last: tuple[tuple[Snapshot, Hashable], Path | None] | None = None  # pointer and keyring, where it leads

    @property
    def where(self) -> str:
        """The pointer."""
        return str(self._pointer)

    def look(self) -> tuple[Snapshot, Hashable, Snapshot | None]:
        """Return the identities of pointer, keyring and the pair pointed to, None where it cannot be followed."""
        now, artifact = (snapshot(self._pointer), self._trust.look()), None
        if self._last is not None and self._last[0] == now:
            artifact = self._last[1]
        else:
            try:
                self._trust.renew()
                artifact = self._store.resolve(self._name, channel=self._channel).path
            except (SafeloadError, OSError):
                pass  # `load` will say it
            self._last = now, artifact
        return *now, None if artifact is None else snapshot(artifact)

    def load(self) -> LoadedModel:
        """Load what the channel is at."""
        self._trust.renew()
        model, manifest, found = self._store.load_found(self._name, channel=self._channel, mmap_mode=self._mmap_mode)
        until = [manifest.expires, None if found.pointer is None else found.pointer.expires]
        return LoadedModel(model, manifest, min((time for time in until if time is not None), default=None))
