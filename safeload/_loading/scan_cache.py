"""What a Loader need not scan again: content that it has scanned and allowed before, by its digests.

The bytes are verified against the same digests every time that they are read, and policy and limits are the Loader's,
so the scan would find what it found before.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeload._internal.forking import MemoryLock

if TYPE_CHECKING:
    from safeload._manifest.manifest import Manifest
    from safeload._scan import Trace
    from safeload.policy import Policy

__all__ = ["Names", "Scanned"]

_Content = tuple[str, int, int, str, tuple[str, ...]]
_MOST = 16  # contents; a server rarely has more models in turn


@dataclass(frozen=True, slots=True)
class Names:
    """What an artifact names: modules to import beforehand, and globals as the pickle spells them; its code.

    `events` are those that the policy grants to these globals.
    """

    modules: frozenset[str]
    named: frozenset[tuple[str, str]]
    sources: tuple[str, ...]
    events: frozenset[str]

    @classmethod
    def of(cls, trace: Trace, policy: Policy) -> Names:
        """Return what an artifact names that this policy allowed."""
        return cls(
            frozenset(use.module for use in trace.globals),
            frozenset(use.named_as for use in trace.globals),
            trace.sources,
            policy.events(use.name for use in trace.globals),
        )


class Scanned:
    """The last few contents that were allowed; any number of threads may ask."""

    def __init__(self) -> None:
        self._names: OrderedDict[_Content, Names] = OrderedDict()
        self._lock = MemoryLock()

    def get(self, manifest: Manifest) -> Names | None:
        """Return what this very content names, if it was allowed before."""
        content = _content(manifest)
        with self._lock:
            names = self._names.get(content)
            if names is not None:
                self._names.move_to_end(content)
            return names

    def put(self, manifest: Manifest, trace: Trace, policy: Policy) -> Names:
        """Remember content that this policy, the Loader's, allowed."""
        names = Names.of(trace, policy)
        with self._lock:
            self._names[_content(manifest)] = names
            if len(self._names) > _MOST:
                self._names.popitem(last=False)
        return names


def _content(manifest: Manifest) -> _Content:
    # What the manifest says of the compression was held against the content when it was scanned.
    return manifest.compression, manifest.size, manifest.chunk_size, manifest.digest_algorithm, manifest.chunks
