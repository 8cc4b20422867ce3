"""What has to begin anew in a forked child: locks that another thread of the parent may have held, and threads.

Servers load a model and fork their workers then. Only the forking thread lives on in the child, so that a lock which
some other one held would be held for ever.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["MemoryLock", "renew_in_children"]


_T = TypeVar("_T")
_RENEWED: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def renew_in_children(thing: _T, renew: Callable[[_T], None]) -> None:
    """Call `renew(thing)` in every forked child, before anything else runs there, for as long as the thing lives.

    `renew` forgets the parent's threads. It must not keep the thing alive: pass the class's function.
    """
    _RENEWED[thing] = renew


def _renew_all() -> None:
    for thing, renew in list(_RENEWED.items()):
        renew(thing)


os.register_at_fork(after_in_child=_renew_all)


class MemoryLock:
    """A lock for what takes a moment and touches memory only; in a forked child it is free.

    What it protects has to be whole between any two steps, because a child may be forked at each of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        renew_in_children(self, MemoryLock._renew)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def _renew(self) -> None:
        self._lock = threading.Lock()
