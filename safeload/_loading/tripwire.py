"""The tripwire around joblib's loader, and the calls of that loader.

By the time something is loaded, the scan has shown what loading it will do.  The tripwire is the second line:
an audit hook (PEP 578) that, in the loading thread only, lets through the few events that honest loading was
measured to raise, and refuses every other.  It is no sandbox: Python code that is already running can do harm
without raising an event (before Python 3.12, start a thread), and extension modules need not raise any.  It stops
what goes through the import system, the interpreter or the operating system.

What is let through, and what each could do at most:

- `pickle.find_class` of a global that the scan saw: what the policy allowed;
- `compile` and `exec` of the texts that the scan found in states whose classes run them (`scipy.stats` distributions
  make their argument parsers so): each one that the policy lists word by word;
- `open`, for reading, of the source of a module that is imported: `linecache` does so where a warning that is
  raised while loading is shown (scikit-learn warns of other versions from `__setstate__`);
- `builtins.id`: printing an array, as joblib's warning of a misaligned one does; it yields an address;
- `sys._getframe`, and reading `f_code` of a frame: debuggers and coverage do so at every call, if they are written
  in Python or use `sys.monitoring`; running code can reach the same in other ways;
- `mmap.__new__` of the verified descriptor, read-only or copy-on-write, and only where mapping was asked for;
- `ctypes.dlsym` of a symbol that a rule names, and lending a buffer to a C library (`ctypes.cdata/buffer`), where the
  policy grants that to a global that the scan saw: boosters hand their bytes to their own library like this;
- anything while the garbage collector runs, see `_on_gc`.

Two things that are not the artifact's doing are held to the same rule, because they cannot be told apart: a
signal handler that runs in the loading thread, and a handler of the `logging` module that has to open a file or
a connection for a warning that is shown while loading.
"""

from __future__ import annotations
import __future__

import gc
import inspect
import mmap
import os
import sys
import threading
from types import CodeType, FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from safeload._loading.unpickle import import_modules, unpickler_options
from safeload.errors import TripwireError

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractContextManager
    from types import TracebackType

__all__ = [
    "in_tripwire",
    "tripwire",
]

# What honest loading would import on its way: the codecs of protocols 0 to 2, and what shows a warning.
_SUPPORT: Final = (
    "encodings.ascii",
    "encodings.latin_1",
    "encodings.raw_unicode_escape",
    "encodings.unicode_escape",
    "encodings.utf_8",
    "joblib.numpy_pickle",
    "linecache",
    "numpy",
    "tokenize",
    "traceback",
    "tracemalloc",
)
_HARMLESS: Final = frozenset({"builtins.id", "sys._getframe"})
_EXECUTED: Final = "<string>"  # the file name of texts that exec runs
_FLAGS: Final = (0, __future__.annotations.compiler_flag)
_PROBE: Final = "safeload.tripwire"  # raised by the tripwire itself, to see that its hook is there
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MAPPED: Final = frozenset({mmap.ACCESS_READ, mmap.ACCESS_COPY})

# Which arguments of an event say most. Never the environment or a value that is put there: it may hold secrets.
_TELLING: Final = {
    "open": (0, 1),
    "os.exec": (0, 1),
    "pickle.find_class": (0, 1),
    "socket.bind": (1,),
    "socket.connect": (1,),
    "subprocess.Popen": (0, 1),
}
_MAX_SHOWN: Final = 120  # characters of one argument

# The tripwires of each thread that has any, by thread id. Empty almost always: that is the idle test.
_GUARDS: Final[dict[int, tuple[_Tripwire, ...]]] = {}
_installed = False


def tripwire(
    allowed: Collection[tuple[str, str]],
    *,
    mmap_fd: int | None = None,
    events: Collection[str] = (),
    sources: Collection[str] = (),
) -> AbstractContextManager[None]:
    """Return a context in which this thread may do only what the scan has seen.

    `allowed` has module and name of each global, as the pickle spells them.  `mmap_fd` is the one descriptor
    that may be mapped.  `events` are those that the policy grants to the globals that were scanned, as it spells them,
    and `sources` the texts that may be run as code.  Other threads are not affected.  Within one tripwire another may
    be set: inside, only the inner one applies.  It has to be entered by a `with` statement of a plain function.

    Raises (from the event, and once more at the end if that was swallowed): TripwireError.
    """
    return _Tripwire(frozenset(allowed), mmap_fd, frozenset(events), frozenset(sources))


def in_tripwire() -> bool:
    """Return whether a tripwire checks the audit events of the code that is running now, in this thread."""
    guards = _GUARDS.get(threading.get_ident())
    guard = _innermost(guards) if guards else None
    return guard is not None and not guard.collecting


class _Tripwire:
    """One guarded stretch of one thread; for a single use.

    It applies to what is called from the frame of its `with` statement, and to nothing else.  So a guard that was
    never left, because an interrupt came just then, or that a forked child finds, guards nothing any more; and
    where a library switches between several stacks in one thread (greenlets), each has its own.
    """

    __slots__ = (
        "_allowed",
        "_codes",
        "_error",
        "_events",
        "_lent",
        "_mmap_fd",
        "_probed",
        "_sources",
        "_thread",
        "collecting",
        "frame",
    )

    def __init__(
        self,
        allowed: frozenset[tuple[str, str]],
        mmap_fd: int | None,
        events: frozenset[str],
        sources: frozenset[str],
    ) -> None:
        self._allowed = allowed
        self._mmap_fd = mmap_fd
        self._events = events
        self._lent = -1  # address of the buffer that was just lent to a C library; -1 for none
        self._sources = {text.encode() for text in sources}
        # What they are compiled to, by modules with and without `from __future__ import annotations`.
        self._codes = [compile(text, _EXECUTED, "exec", flags, True) for text in sources for flags in _FLAGS]
        self._thread = 0  # of the thread that it is set in; no thread has this id
        self._error: TripwireError | None = None
        self.collecting = False  # the garbage collector is at work in this thread
        self._probed = False
        self.frame: FrameType | None = None

    def __enter__(self) -> None:
        if self._thread:
            raise RuntimeError("a tripwire can be used only once")
        _install()
        self._thread = threading.get_ident()
        try:
            self.frame = _owning_frame(sys._getframe(1))  # noqa: SLF001 - public, as its documentation says
            _GUARDS[self._thread] = (*_GUARDS.get(self._thread, ()), self)
            sys.audit(_PROBE)
            # Another hook may have vetoed ours, and Python keeps quiet about that. Without it there is no guard.
            if not self._probed:
                raise TripwireError(
                    "cannot load: another audit hook of this process keeps that of safeload from being installed",
                    advice="Load in a process without that audit hook.",
                    event=_PROBE,
                )
        except BaseException:
            self._leave()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        owner = self.frame
        self._leave()
        if self._error is None:
            if error is None and (self.collecting or sys._getframe(1) is not owner):  # noqa: SLF001
                # Somebody took our callback away while it held, or had us entered by one function and left by
                # another: there may have been no guard at all, which is not to be called a success.
                raise TripwireError(
                    "the tripwire was switched off while loading",
                    advice="Other code of this process interferes with audit hooks: load in a process without it.",
                    event=_PROBE,
                )
        elif error is not self._error:
            # Swallowed, or turned into another exception, by the code that was being loaded.
            raise _copied(self._error) from error

    def _leave(self) -> None:
        # Not necessarily the last one: greenlets end in any order.
        others = tuple(guard for guard in _GUARDS.get(self._thread, ()) if guard is not self)
        if others:
            _GUARDS[self._thread] = others
        else:
            _GUARDS.pop(self._thread, None)
        self.frame = None

    def check(self, event: str, args: tuple[Any, ...]) -> None:
        """Let this event pass, or refuse it and all that follow.

        Raises: TripwireError.
        """
        if self.collecting:
            return
        if event == _PROBE:
            self._probed = True
        elif self._error is not None:
            self._error = _copied(self._error)
            raise self._error
        elif not self._allows(event, args):
            self._error = _stopped(event, args)
            raise self._error

    def names(self, args: tuple[Any, ...]) -> bool:
        """Tell whether this is a global that the scan saw, and nothing was refused before."""
        return (
            self._error is None and len(args) == 2 and type(args[0]) is type(args[1]) is str and args in self._allowed
        )

    def _allows(self, event: str, args: tuple[Any, ...]) -> bool:
        if event == "pickle.find_class":
            return self.names(args)
        if event == "mmap.__new__":
            return (
                self._mmap_fd is not None
                and len(args) == 4
                and all(type(arg) is int for arg in args)
                and args[0] == self._mmap_fd
                and args[2] in _MAPPED
            )
        if event == "open":
            return _reads_imported_source(args)
        if event == "compile":
            return len(args) == 2 and type(args[0]) is bytes and args[0] in self._sources and args[1] == _EXECUTED
        if event == "exec":
            return len(args) == 1 and type(args[0]) is CodeType and args[0] in self._codes
        return bool(self._events) and self._is_granted(event, args)

    def _is_granted(self, event: str, args: tuple[Any, ...]) -> bool:
        """Tell whether the policy grants this event to what was scanned: see the `events` of a rule."""
        if event == "ctypes.dlsym":
            return len(args) == 2 and type(args[1]) is str and f"{event} {args[1]}" in self._events
        if event not in ("ctypes.cdata/buffer", "ctypes.cdata") or "ctypes.cdata/buffer" not in self._events:
            return False
        if event == "ctypes.cdata":  # a view of the buffer that was lent right before, and of no other address
            lent, self._lent = self._lent, -1
            return args == (lent,) and lent != -1
        if len(args) != 3 or not all(type(arg) is int for arg in args):
            return False
        self._lent = args[0] + args[2]
        return True


def _reads_imported_source(args: tuple[Any, ...]) -> bool:
    if len(args) != 3 or type(args[0]) is not str or type(args[2]) is not int:
        return False
    path, mode, flags = args
    if mode not in {"r", "rb"} or flags & _WRITES or not path.endswith(".py"):
        return False
    # Not getattr(): a lazy module would start to import itself.
    return any(
        object.__getattribute__(module, "__dict__").get("__file__") == path
        for module in sys.modules.copy().values()
        if issubclass(type(module), ModuleType)
    )


def _stopped(event: str, args: tuple[Any, ...]) -> TripwireError:
    telling = [_show(args[index]) for index in _TELLING.get(event, (0,)) if index < len(args)]
    return TripwireError(
        f"loading was stopped, because it did what the scan had not seen: {event}({', '.join(telling)})",
        advice="Do not use this artifact. If it is a stock model from a trusted source, this is a bug in safeload or "
        "a gap in the policy: please report it.",
        event=event,
    )


def _copied(error: TripwireError) -> TripwireError:
    """Return the same error anew, so that it has a traceback and a cause of its own."""
    return TripwireError(error.message, advice=error.advice, event=error.event)


def _show(value: object) -> str:
    """Describe an event's argument in bounded space and without calling anything of its own."""
    kind = type(value)
    if value is None or kind in {bool, int, float}:
        text = repr(value)
    elif isinstance(value, str | bytes) and kind in {str, bytes}:
        text = repr(value[:_MAX_SHOWN])
    elif isinstance(value, list | tuple) and kind in {list, tuple}:
        text = f"[{', '.join(_show(item) if type(item) in {str, bytes, int} else '…' for item in value[:8])}]"
    elif isinstance(value, CodeType):
        text = f"<code {value.co_name!r}>"
    else:
        text = f"<{kind.__name__}>"
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def _install() -> None:
    """Put the hook in its place, which is for good: Python has no way to take one off again.

    No lock: two threads may both get here first, and a second hook does no harm.
    """
    global _installed
    import_modules(_SUPPORT)
    unpickler_options()
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    if _on_gc not in gc.callbacks:
        # Before all others: Python goes through the list by index, so that it would skip ours when another thread,
        # or a callback itself, removes one that stands before it.
        gc.callbacks.insert(0, _on_gc)


def _on_gc(phase: str, _info: dict[str, int]) -> None:
    """Suspend the tripwires of a thread while the garbage collector runs in it.

    The collector runs in whatever thread allocates, so that finalizers of quite other objects (a temporary
    folder that is removed, say) run in the middle of loading.  They must be neither broken nor blamed.  This
    gives nothing away: an object of the artifact that is finalized here would be finalized without a tripwire
    a moment later, when what was loaded is dropped.  That classes with harmful finalizers are not loaded is for
    the policy to see to.
    """
    for guard in _GUARDS.get(threading.get_ident(), ()):
        guard.collecting = phase == "start"


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _GUARDS and event not in _HARMLESS and not (event == "object.__getattr__" and _is_code_of_frame(args)):
        guards = _GUARDS.get(threading.get_ident())
        # What the only one lets pass need not be told from what it is not for.
        if guards and not (event == "pickle.find_class" and len(guards) == 1 and guards[0].names(args)):
            guard = _innermost(guards)
            if guard is not None:
                guard.check(event, args)


def _is_code_of_frame(args: tuple[Any, ...]) -> bool:
    return len(args) == 2 and type(args[0]) is FrameType and type(args[1]) is str and args[1] == "f_code"


def _innermost(guards: tuple[_Tripwire, ...]) -> _Tripwire | None:
    """Return the tripwire that the code which is running now was called under."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - its own event is a harmless one
    if len(guards) == 1:
        owner = guards[0].frame
        while frame is not None and frame is not owner:
            frame = frame.f_back
        return guards[0] if frame is not None else None
    while frame is not None:
        for guard in reversed(guards):
            if guard.frame is frame:
                return guard
        frame = frame.f_back
    return None


def _owning_frame(frame: FrameType) -> FrameType:
    """Return this frame, if it stays on the stack until the tripwire is left."""
    leaves_early = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
    if frame.f_code.co_flags & leaves_early or frame.f_globals.get("__name__") == "contextlib":
        raise RuntimeError("a tripwire must be entered by a with statement of a plain function")
    return frame
