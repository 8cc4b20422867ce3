"""Python's garbage collector, which waits while an artifact is loaded.

All that scanning and unpickling make is in use until they are done, so the collector, which looks every few hundred
objects, would go through it again and again and find nothing: a twentieth of the time.  What is in no cycle is freed at
once all the same.  There is one switch for all threads, so this is for what takes moments.
"""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING, Final

from safeload._internal.forking import renew_in_children

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["COLLECTOR_PAUSED"]


class _Pause:
    """A context, entered by any number of threads and within itself; the last one to leave undoes it.

    A collector that the process has off stays off.  At each step a child may be forked, which `_renew` puts right, or a
    finalizer may run that loads something itself.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._threads: list[int] = []  # one entry for each time that it was entered
        self._was_on = False
        renew_in_children(self, _Pause._renew)

    def __enter__(self) -> None:
        with self._lock:
            self._threads.append(threading.get_ident())
            if len(self._threads) == 1:
                self._was_on = gc.isenabled()
                gc.disable()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._threads.remove(threading.get_ident())
            self._end()

    def _renew(self) -> None:
        """Go on without the threads that did not come along into the child."""
        self._lock = threading.RLock()
        self._threads = [thread for thread in self._threads if thread == threading.get_ident()]
        self._end()

    def _end(self) -> None:
        if not self._threads and self._was_on:
            gc.enable()
            self._was_on = False


COLLECTOR_PAUSED: Final = _Pause()
