"""What has to begin anew in a forked child: locks that another thread of the parent may have held, and threads.

Servers load a model and fork their workers then. Only the forking thread lives on in the child, so that a lock which
some other one held would be held for ever.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["MemoryLock", "renew_in_children"]


class Renewable(Protocol):
    """What knows how to begin anew."""

    def renew(self) -> None:
        """Forget the parent's threads; called in the child before anything else runs there."""


_THINGS: WeakSet[Renewable] = WeakSet()


def renew_in_children(thing: Renewable) -> None:
    """Have `renew` called in every child that is forked, for as long as the thing lives."""
    _THINGS.add(thing)


def _renew_all() -> None:
    for thing in list(_THINGS):
        thing.renew()


os.register_at_fork(after_in_child=_renew_all)


class MemoryLock:
    """A lock for what takes a moment and touches memory only; in a forked child it is free.

    What it protects has to be whole between any two steps, because a child may be forked at each of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        renew_in_children(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Be free again."""
        self._lock = threading.Lock()
