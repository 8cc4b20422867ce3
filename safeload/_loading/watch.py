"""Serving: a handle that always has a verified model, and a newer one soon after it was put in place.

A thread in the background looks at the files' identities, size and times every few seconds, which reads nothing. If
they have changed, it loads the new artifact as any load does, verified in full, and only then serves it in place of the
last one. The keyring's file is one of them: if it has changed, it is read anew, and the artifact is verified under it.
A refused artifact is not loaded, is reported, and is not tried again until the files change again. An artifact that
could not be judged (a disk that fails, say) is tried again, less and less often. So a writer who changes the files all
the time costs one attempt after the other, never two at once, with pauses between that are as long as the attempts.

The thread is started when the handle is first used, in every process anew: a server that loads first and forks its
workers then has no thread when it forks.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from safeload._internal.clock import utc_now
from safeload._internal.forking import renew_in_children
from safeload._internal.notebook import facts_table
from safeload._judging.decisions import LOGGER, decision
from safeload._loading.following import Following, Step
from safeload._storage.opening import snapshot

if TYPE_CHECKING:
    from collections.abc import Hashable
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from safeload._loading.trust import Trust
    from safeload._manifest.manifest import Manifest

__all__ = ["INTERVAL", "Followed", "LoadedModel", "OnRefused", "OnSwapped", "Pair", "Watch"]

INTERVAL = 2.0  # seconds

_MIN_INTERVAL = 0.01
_EXIT_WAIT = 5.0  # seconds that the interpreter's end waits for a load that is under way

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that was verified and loaded, and what was signed about it.

    `expires` is when manifest or channel pointer stop being accepted, None for never.
    """

    model: Any
    manifest: Manifest
    expires: datetime | None = None


OnSwapped = Callable[[LoadedModel], object]
OnRefused = Callable[[BaseException], object]


class Followed(Protocol):
    """What is watched."""

    @property
    def where(self) -> str:
        """The path that log records name."""

    def look(self) -> Hashable:
        """Return what changes when there may be something else to load; may raise."""

    def load(self) -> LoadedModel:
        """Load the present artifact, verified in full, or raise."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An artifact and its manifest, whom to trust, and how to load them."""

    path: Path
    trust: Trust
    loads: Callable[[], tuple[Any, Manifest]]

    @property
    def where(self) -> str:
        """The artifact."""
        return str(self.path)

    def look(self) -> tuple[Hashable, Hashable]:
        """Return the identities of both, and of the keyring."""
        return snapshot(self.path), self.trust.look()

    def load(self) -> LoadedModel:
        """Load the artifact."""
        self.trust.renew()
        model, manifest = self.loads()
        return LoadedModel(model, manifest, manifest.expires)


class Watch:
    """A model that is kept up to date; made by `Loader.watch` and `Store.watch`.

        with store.watch("fraud") as watch:
            watch.model.predict(rows)

    It may be used from any number of threads, and in forked children, each of which then watches for itself. Asking for
    the model never waits, but for the start of the thread when it is first asked for in a process. Model and manifest
    that belong together: take `current` once, and use both of it.

    Callbacks run in the watching thread, one at a time: `on_swapped(loaded)` after another model has taken the place of
    the last, `on_refused(error)` where the last goes on because the new one was refused or could not be read.
    What they raise is logged.
    """

    def __init__(
        self,
        source: Followed,
        *,
        interval: float = INTERVAL,
        on_swapped: OnSwapped | None = None,
        on_refused: OnRefused | None = None,
    ) -> None:
        if isinstance(interval, bool) or not isinstance(interval, int | float):
            raise TypeError(f"interval is a number of seconds, not {interval!r}")
        if not _MIN_INTERVAL <= interval <= threading.TIMEOUT_MAX:
            raise ValueError(f"interval is a number of seconds from {_MIN_INTERVAL} on, not {interval!r}")
        self._source = source
        self._interval = interval
        self._on_swapped = on_swapped
        self._on_refused = on_refused
        self._problem: BaseException | None = None
        self._no_thread: RuntimeError | None = None
        self._closed = False
        self._attempt_took = 0.0
        self._first_pause = self._interval
        self._begin()
        seen = self._look()  # before anything is read, so that no change after it is missed
        with decision("watch", source.where) as made:
            self._current = source.load()
            made.manifest = self._current.manifest
        self._following = Following(seen)
        renew_in_children(self, Watch._renew)
        _WATCHES.add(self)

    def __repr__(self) -> str:
        served = self._current.manifest
        problem = "" if self.problem is None else f", {type(self.problem).__name__}"
        return f"<Watch {served.name!r} release {served.release}{problem}>"

    def _repr_html_(self) -> str:
        """Return what it serves, and its problem, as HTML, for notebooks."""
        served = self._current.manifest
        facts = (("model", served.name), ("release", served.release), ("problem", self.problem))
        return facts_table("Watch", facts)

    @property
    def model(self) -> Any:
        """The model to use now."""
        return self.current.model

    @property
    def current(self) -> LoadedModel:
        """The model to use now, with its manifest."""
        if self._thread is None:
            self._start()
        return self._current

    @property
    def problem(self) -> BaseException | None:
        """Why the present artifact is not the one that is served; None if it is. For health checks."""
        return self._problem

    def check(self) -> bool:
        """Look now, in this thread, and load what has changed; return whether there is another model.

        For those who are told of a new release, and need not wait for the next look. What is refused is told as usual,
        and not raised.
        """
        with self._working:
            return not self._closed and self._check()

    def close(self) -> None:
        """Stop watching, and wait until the thread has ended; the last model can be used on."""
        with self._starting:
            self._closed = True
            thread = self._thread
        self._ended.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _renew(self) -> None:
        """Begin anew in a forked child: without a thread, and with what the parent's was just loading still to do."""
        self._begin()
        self._following.renew()
        self._first_pause = 0.0  # it may be long ago that the parent looked

    def _begin(self) -> None:
        self._thread: threading.Thread | None = None
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._starting = threading.Lock()
        # Held while loading and in callbacks, which may call `check`.
        self._working = threading.RLock()

    # --- in the background ---

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None or self._closed:
                return
            # The thread keeps nothing alive that nobody else uses any more. What ends it may be done while it waits and
            # garbage is collected, which an Event would not survive, and a SimpleQueue does.
            ended = self._ended
            thread = threading.Thread(
                target=_watch,
                args=(weakref.ref(self, lambda _: ended.put(None)), ended, self._first_pause),
                name="safeload-watch",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError as error:  # no more threads, or the interpreter is about to end
                self._problem = self._no_thread = error  # and the next request tries again
                return
            self._thread = thread
            if self._problem is self._no_thread:
                self._problem = None

    def _tick(self) -> float:
        """Do one round; return how many seconds to wait for the next."""
        self._attempt_took = 0.0
        self.check()
        return max(self._interval, self._attempt_took)

    def _look(self) -> Hashable:
        try:
            return self._source.look()
        except Exception as error:  # noqa: BLE001 - whatever it is, loading will say it properly
            return type(error), str(error)

    def _check(self) -> bool:
        expires = self._current.expires
        state = self._look(), expires is not None and utc_now() > expires
        step = self._following.step(state, time.monotonic())
        if step is Step.RESTORED:
            self._problem = None
        return step is Step.TRY and self._attempt(state)

    def _attempt(self, state: tuple[Hashable, bool]) -> bool:
        """Load the current files; return whether that gave another model, which is served from then on."""
        started = time.monotonic()
        try:
            with decision("watch", self._source.where) as made:
                loaded = self._source.load()
                made.manifest = loaded.manifest
        except KeyboardInterrupt:
            self._following.interrupted()
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, the last model goes on being served
            if not self._closed:  # else it may have failed because everything ends
                self._following.failed(time.monotonic(), again=made.verdict == "error")
                self._problem = error
                self._tell(self._on_refused, error)
                _drop_frames(error)
            return False
        finally:
            self._attempt_took = time.monotonic() - started
        self._following.served(state)
        self._problem = None
        if loaded.manifest == self._current.manifest:  # files that were touched, a writer who is not done, a renewal
            self._current = replace(self._current, expires=loaded.expires)
            return False
        self._current = loaded
        self._tell(self._on_swapped, loaded)
        return True

    def _tell(self, callback: Callable[[_Value], object] | None, value: _Value) -> None:
        if callback is None:
            return
        try:
            callback(value)
        except Exception:  # noqa: BLE001 - the callback's own fault, which must not end the watching
            LOGGER.exception("a callback of a watch failed: path=%s", ascii(self._source.where))


def _watch(found: weakref.ref[Watch], ended: SimpleQueue[None], pause: float) -> None:
    while True:
        try:
            ended.get(timeout=pause)
        except Empty:
            watch = found()
        else:
            return
        if watch is not None:
            pause = watch._tick()  # noqa: SLF001 - its own thread
        del watch


def _drop_frames(error: BaseException | None) -> None:
    """Clear a kept error's references to the objects that were being loaded."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


_WATCHES: weakref.WeakSet[Watch] = weakref.WeakSet()


def _stop_all() -> None:
    """Let no thread run into the interpreter's end; a load that takes long is not waited for to its end."""
    watches = list(_WATCHES)
    for watch in watches:
        watch._closed = True  # noqa: SLF001
        watch._ended.put(None)  # noqa: SLF001
    until = time.monotonic() + _EXIT_WAIT
    for watch in watches:
        thread = watch._thread  # noqa: SLF001
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, until - time.monotonic()))


atexit.register(_stop_all)
