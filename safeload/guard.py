"""Guard code that is not yours: what it loads by `joblib.load` or `pickle.load` is verified first.

    import safeload.guard

    safeload.guard.install()          # or: with safeload.guard.install(): ...

While the guard is on, these go through a `Loader` (signature, scan, tripwire):

- `joblib.load` and `joblib.numpy_pickle.load`, of paths and of file objects. The guard changes the code of the function
  itself, so every reference to it is guarded, also where it was bound to another name before.
- `pickle.load` of file objects, and what calls it, such as `pandas.read_pickle`. This function is compiled into Python
  and cannot be changed. The guard puts another in its place, in `pickle` and in the globals of every module that is
  imported already. A reference in an attribute of a class, in a closure or in a container stays as it was.

Not covered: such references, `pickle.loads`, Unpicklers that the program makes itself, and loaders in compiled code.
With `strict=True`, an audit hook refuses every global that a pickle names outside of a guarded load, which stops all of
them but unpicklers that look up names themselves.

pandas hides warnings while it reads: there, an unsigned artifact that is loaded leaves its log record alone.

Python's and joblib's own traffic between processes and the cache of `joblib.Memory` are left alone, unless `strict`.
Child processes that were not forked are not guarded: install the guard there as well.
"""

from __future__ import annotations

import functools
import inspect
import io
import os
import pickle
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from safeload._internal.blob import immutable
from safeload._internal.files import checked_path, storage_errors
from safeload._internal.forking import MemoryLock
from safeload._internal.keywords import keywords
from safeload._loading.loader import Loader, criteria_of, load_read
from safeload._loading.tripwire import in_tripwire
from safeload._loading.unsigned import load_unsigned
from safeload._storage.backends import resolve
from safeload.errors import LimitExceededError, StorageError, TripwireError, UnsignedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from safeload._internal.files import PathLike

__all__ = ["Guard", "Unsigned", "install", "uninstall"]

Unsigned = Literal["refuse", "scan"]

# Modules that unpickle what this program wrote itself, by the name that their spec has (some run as `__main__`).
_INTERNAL: Final = frozenset(
    {
        "joblib._memmapping_reducer",
        "joblib._store_backends",  # the cache of joblib.Memory
        "joblib.externals.loky.backend.popen_loky_posix",
        "loky.backend.popen_loky_posix",
        "multiprocessing.forkserver",
        "multiprocessing.spawn",
    }
)
_PROBE: Final = "safeload.guard"  # raised by the guard itself, to see that its hook is there
_READ_AT_ONCE: Final = 1 << 20  # bytes
_SUFFIXED: Final = ("gzip.GzipFile", "bz2.BZ2File", "lzma.LZMAFile")
# What pandas.read_pickle takes as a sign of an old file, which it then reads with an Unpickler of its own.
_TRIED_AGAIN: Final = (AttributeError, ImportError, TypeError, UnicodeError)


# ------------------------------------------------------------------------------------------------- on and off


class Guard:
    """The guard that is installed; as a context manager, it is uninstalled at the end of the block."""

    __slots__ = ("_loader", "_strict", "_unsigned")

    def __init__(self, loader: Loader, unsigned: Unsigned, strict: bool) -> None:
        self._loader = loader
        self._unsigned = unsigned
        self._strict = strict

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _take_off(self)

    def __repr__(self) -> str:
        return f"<Guard {self._loader!r}, unsigned={self._unsigned!r}, strict={self._strict}>"

    @property
    def strict(self) -> bool:
        """Whether globals that a pickle names outside of a guarded load are refused."""
        return self._strict

    def _load_path(self, path: PathLike | bytes, mmap_mode: Any = None) -> Any:
        given = os.fsdecode(path) if isinstance(path, bytes) else path
        try:
            return self._loader.load(given, mmap_mode)
        except UnsignedError:
            if self._unsigned != "scan":
                raise
        target = checked_path(given)
        backend, name = resolve(target)
        with backend.open_artifact(name) as blob, storage_errors("read", target):
            data = bytearray(blob.size)
            done = 0
            while done < len(data) and (count := blob.read_into(done, memoryview(data)[done:])):
                done += count
        return load_unsigned(bytes(data[:done]), target, criteria_of(self._loader))

    def _load_file(self, file: Any) -> Any:
        """Read a file object to its end, once, and load exactly these bytes."""
        if _is_compressed(file):
            return self._load_compressed(file)
        path = _path_of(file)
        if path is None and self._unsigned != "scan":
            raise UnsignedError(
                "not signed: bytes from a file object without a path have no manifest",
                advice="Pass the path of a signed file, or use safeload.loads with the artifact and its manifest.",
            )
        data = self._read(file, path)
        if not data:
            raise EOFError("Ran out of input")  # as pickle.load says it
        if path is not None:
            try:
                return load_read(self._loader, data, path)
            except UnsignedError:
                if self._unsigned != "scan":
                    raise
        return load_unsigned(data, Path("<file>") if path is None else path, criteria_of(self._loader))

    def _load_compressed(self, file: Any) -> Any:
        """Load the file that gzip, bz2 or lzma has opened: what is signed are its bytes before they are unpacked."""
        path = _path_of(file)
        if path is None:
            raise StorageError(
                "cannot check a compressed stream that has no path",
                advice="Pass the path to joblib.load, or open it with open(): it is unpacked while it is loaded.",
            )
        if file.tell():
            if not file.read(1):
                raise EOFError("Ran out of input")
            raise UnsignedError("not signed: this is a part of a compressed file", path=path)
        loaded = self._load_path(path)
        file.seek(0, os.SEEK_END)
        return loaded

    def _read(self, file: Any, path: Path | None) -> bytes:
        """Return what is left of a file object.

        Raises:
            LimitExceededError: it is no plain file, and gives more bytes than an artifact may have.
            StorageError: it cannot be read, or gives text.
        """
        name = "<file>" if path is None else path
        plain = type(file) in (io.BufferedReader, io.FileIO, io.BytesIO, io.BufferedRandom)
        most = criteria_of(self._loader).limits.max_unpacked
        with storage_errors("read", name):
            parts = [file.read()] if plain else _read_up_to(file, most)
        for part in parts:
            if not isinstance(part, bytes | bytearray | memoryview):
                raise StorageError(
                    "cannot load it: the file is open for text", advice="Open it with mode 'rb'.", path=name
                )
        if not plain and sum(map(len, parts)) > most:
            raise LimitExceededError(f"refused: a stream of more than {most} bytes (max_unpacked)", path=name)
        return immutable(parts[0], "what was read") if len(parts) == 1 else b"".join(parts)


def _read_up_to(file: Any, most: int) -> list[Any]:
    parts, left = [], most + 1
    while left > 0 and (part := file.read(min(left, _READ_AT_ONCE))):
        parts.append(part)
        left -= len(part)
    return parts


def _is_compressed(file: object) -> bool:
    kind = type(file)
    return f"{kind.__module__}.{kind.__qualname__}" in _SUFFIXED


def _path_of(file: Any) -> Path | None:
    """Return the path that a file object was opened by, if it knows one."""
    name = getattr(file, "name", None)
    if name is None and _is_compressed(file):
        name = getattr(getattr(file, "_fp", None), "name", None)  # bz2 and lzma before Python 3.13
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    return Path(name).absolute() if isinstance(name, str | os.PathLike) and os.fspath(name) else None


_LOCK: Final = MemoryLock()
_current: Guard | None = None


@keywords()
def install(loader: Loader | None = None, *, unsigned: Unsigned = "refuse", strict: bool = False) -> Guard:
    """Verify from now on what any code of this process loads by `joblib.load` or `pickle.load`.

    Use the returned guard in a `with` statement to uninstall it at the end of a block. The guard holds for all threads.

    Args:
        loader: what verifies. None means `Loader()`: the default keyring and policy.
        unsigned: "refuse" artifacts without a manifest, or "scan" them. Then they are loaded if the policy allows all
            that they do. Each gets an UnsignedWarning and a log record of level WARNING: nothing shows who made it.
            Whoever can delete the manifest of an artifact can then put another in its place.
        strict: refuse every global that a pickle names outside of a guarded load, by an audit hook: `pickle.loads`,
            Unpicklers of the program's own, and also the traffic of multiprocessing and the cache of `joblib.Memory`.

    Raises:
        RuntimeError: a guard is installed already, or `joblib.load` was replaced by something that is no function.
        KeyringError, PolicyFileError: the default Loader cannot be made.
        TripwireError: another audit hook keeps that of `strict` from being installed.
    """
    global _current
    if unsigned not in ("refuse", "scan"):
        raise ValueError(f"unsigned is 'refuse' or 'scan', not {unsigned!r}")
    if loader is not None and not isinstance(loader, Loader):
        raise TypeError(f"loader must be a safeload.Loader, not {type(loader).__name__}")
    guard = Guard(Loader() if loader is None else loader, unsigned, strict)
    import joblib.numpy_pickle

    with _LOCK:
        if _current is not None:
            raise RuntimeError(
                "the guard is installed already. Call safeload.guard.uninstall() first, or install it once for all "
                "of the program."
            )
        if strict:
            _add_hook()
        try:
            _JOBLIB_LOAD.put_on(joblib.numpy_pickle.load)
            _PICKLE_LOAD.put_on()
        except BaseException:
            _restore()
            raise
        _current = guard
    return guard


def uninstall() -> None:
    """Put everything back as it was before `install`.

    Raises: RuntimeError if no guard is installed.
    """
    if not _take_off(None):
        raise RuntimeError("no guard is installed. Call safeload.guard.install() first.")


def _take_off(guard: Guard | None) -> bool:
    """Uninstall this guard, or any; return whether it was on."""
    global _current
    with _LOCK:
        if _current is None or guard not in (None, _current):
            return False
        _current = None
        _restore()
    return True


def _restore() -> None:
    _JOBLIB_LOAD.take_off()
    _PICKLE_LOAD.take_off()


# ------------------------------------------------------------------------------------------------- joblib.load


def _trampoline(*args: Any, **options: Any) -> Any:
    # The code of joblib.load while the guard is on. It runs with joblib's globals, so it imports what it needs.
    from safeload import guard  # noqa: PLW0406

    return guard._JOBLIB_LOAD.called(*args, **options)  # noqa: SLF001


class _JoblibLoad:
    """`joblib.numpy_pickle.load`, whose code is exchanged in place: this reaches all references to the function."""

    def __init__(self) -> None:
        self._function: FunctionType | None = None
        self._code: CodeType | None = None
        self._original: Callable[..., Any] | None = None
        self._signature: inspect.Signature | None = None

    def put_on(self, function: Any) -> None:
        if type(function) is not FunctionType or function.__closure__:
            raise RuntimeError(
                "cannot guard joblib.numpy_pickle.load: other code has replaced it. Install the guard before that code."
            )
        if function.__code__ is _trampoline.__code__:  # forked in the middle of `install`
            return
        self._code = function.__code__
        self._original = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
        self._signature = inspect.signature(function)
        self._function = function
        function.__code__ = _trampoline.__code__

    def take_off(self) -> None:
        function = self._function
        if function is not None and self._code is not None and function.__code__ is _trampoline.__code__:
            function.__code__ = self._code

    def called(self, *args: Any, **options: Any) -> Any:
        if self._original is None or self._signature is None:
            raise RuntimeError("safeload.guard was imported twice. Restart the process.")
        guard = _current
        trampoline = sys._getframe().f_back  # noqa: SLF001 - public, as its documentation says
        if guard is None or _is_internal(None if trampoline is None else trampoline.f_back):
            return self._original(*args, **options)
        given = self._signature.bind(*args, **options)
        given.apply_defaults()
        file, mmap_mode = given.arguments["filename"], given.arguments["mmap_mode"]
        byte_order = given.arguments.get("ensure_native_byte_order", "auto")
        if byte_order not in ("auto", mmap_mode is None):
            raise ValueError(
                f"ensure_native_byte_order={byte_order!r} cannot be had under safeload.guard: arrays are in native "
                "byte order without mmap_mode, and as they were saved with it. Omit it, or pass 'auto'."
            )
        if hasattr(file, "read"):
            return guard._load_file(file)  # noqa: SLF001
        return guard._load_path(file, mmap_mode)  # noqa: SLF001


# ------------------------------------------------------------------------------------------------- pickle.load


class _PickleLoad:
    """What stands in the place of `pickle.load`. No function, which would become a method in a class."""

    __module__ = "pickle"
    __name__ = "load"

    def __init__(self) -> None:
        self._original: Any = pickle.load
        self._places: list[tuple[dict[str, Any], str, Any]] = []

    def __reduce__(self) -> str:
        return "load"

    def __call__(self, file: Any, **options: Any) -> Any:
        guard = _current
        if guard is None or _is_internal(sys._getframe().f_back):  # noqa: SLF001
            return self._original(file, **options)
        if not hasattr(file, "read"):
            raise TypeError("file must have 'read' and 'readline' attributes")  # as pickle.load says it
        _require_plain(**options)
        try:
            return guard._load_file(file)  # noqa: SLF001
        except _TRIED_AGAIN as error:
            raise StorageError(f"could not be judged: {type(error).__name__}: {error}") from error

    def put_on(self) -> None:
        """Take the place of `pickle.load` in the globals of all modules, and remember what was there."""
        if pickle.load is not self:
            self._original = pickle.load
        replaced = [found for found in (pickle.load, _builtin_load()) if found is not self]
        for namespace in _namespaces():
            for name, value in list(namespace.items()):
                if any(value is one for one in replaced):
                    self._places.append((namespace, name, value))
                    namespace[name] = self

    def take_off(self) -> None:
        """Put back what was there, also in modules that were imported meanwhile."""
        places, self._places = self._places, []
        for namespace, name, value in places:
            if namespace.get(name) is self:
                namespace[name] = value
        for namespace in _namespaces():
            if namespace is not globals():
                for name in [name for name, value in list(namespace.items()) if value is self]:
                    namespace[name] = self._original


def _require_plain(
    *, fix_imports: bool = True, encoding: str = "ASCII", errors: str = "strict", buffers: object = ()
) -> None:
    """Refuse options of `pickle.load` under which it would read something else than what is scanned."""
    if encoding != "ASCII" or errors != "strict" or buffers not in ((), None) or fix_imports is not True:
        raise ValueError(
            "pickle.load under safeload.guard takes no options: the file is scanned as it is read without any. Omit "
            "fix_imports, encoding, errors and buffers, or save the object again with this version of Python."
        )


def _builtin_load() -> Any:
    return getattr(sys.modules.get("_pickle"), "load", None)


def _namespaces() -> Iterator[dict[str, Any]]:
    """Yield the globals of every module. Not by getattr: a lazy module would start to import itself."""
    for module in sys.modules.copy().values():
        if issubclass(type(module), ModuleType):
            yield object.__getattribute__(module, "__dict__")


_JOBLIB_LOAD: Final = _JoblibLoad()
_PICKLE_LOAD: Final = _PickleLoad()


def _is_internal(caller: FrameType | None) -> bool:
    """Return whether the caller is a module that reads what this program wrote, or safeload in its tripwire."""
    spec = None if caller is None else caller.f_globals.get("__spec__")
    return getattr(spec, "name", None) in _INTERNAL or in_tripwire()


# ------------------------------------------------------------------------------------------------- strict


_probed = threading.local()


@functools.cache
def _hook_once() -> None:
    sys.addaudithook(_hook)


def _add_hook() -> None:
    """Install the audit hook, which is for good: Python has no way to take one off again.

    Raises: TripwireError if another audit hook keeps it off.
    """
    _hook_once()
    _probed.seen = False
    sys.audit(_PROBE)
    if not _probed.seen:
        _hook_once.cache_clear()
        raise TripwireError(
            "cannot guard: another audit hook of this process keeps that of safeload from being installed",
            advice="Install the guard in a process without that audit hook, or without strict.",
            event=_PROBE,
        )


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        guard = _current
        if guard is not None and guard.strict and not in_tripwire():
            name = ".".join(arg[:200] for arg in args if type(arg) is str)
            raise TripwireError(
                f"refused to unpickle {name}: this is not a guarded load (safeload.guard is strict)",
                advice="Load it from a signed file by joblib.load, pickle.load or safeload.load, or install the guard "
                "without strict.",
                event=event,
            )
    elif event == _PROBE:
        _probed.seen = True
