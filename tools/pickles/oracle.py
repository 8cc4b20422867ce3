"""joblib's own unpickler, instrumented: what loading really named, called, made and read.

It unpickles, so it is for artifacts that the tests made or that the scanner allowed.  CPython's pure-Python
`pickle._Unpickler` is what joblib runs; every hook below records and then does exactly what the original does.
"""

from __future__ import annotations

import inspect
import io
import pickle
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joblib import numpy_pickle

if TYPE_CHECKING:
    from collections.abc import Iterator

Event = tuple[Any, ...]
Name = tuple[str, str]
# joblib 1.5 and later have to be told to leave the byte order alone.
_PARAMETERS = inspect.signature(numpy_pickle.NumpyUnpickler).parameters
NATIVE_ORDER = {name: False for name in ("ensure_native_byte_order",) if name in _PARAMETERS}


@dataclass
class Log:
    """What one load did, its nested pickles included.

    Attributes:
        events: in order, in the words of `safeload.scan.Trace.events`.
        names: of each object that find_class returned, by identity, the name that was asked for last.
        first: of each name that was asked for, the first name that gave the same object.
        pushed, called: how often a global was put on the stack, and how often a call took it from there.
        origin: which global made which object, by identity.
        alive: what keeps the objects alive, so that no identity is used twice.
    """

    events: list[Event] = field(default_factory=list)
    names: dict[int, Name] = field(default_factory=dict)
    first: dict[Name, Name] = field(default_factory=dict)
    pushed: dict[Name, int] = field(default_factory=dict)
    called: dict[Name, int] = field(default_factory=dict)
    origin: dict[int, Name] = field(default_factory=dict)
    alive: list[object] = field(default_factory=list)

    def made(self, obj: object, origin: Name) -> None:
        self.origin[id(obj)] = origin
        self.alive.append(obj)

    def named(self, obj: object, name: Name) -> None:
        self.first.setdefault(name, self.first.get(self.names.get(id(obj), name), name))
        self.names[id(obj)] = name
        self.alive.append(obj)
        self.push(obj)

    def push(self, obj: object) -> None:
        name = self.names.get(id(obj))
        if name is not None:
            self.pushed[name] = self.pushed.get(name, 0) + 1

    def call(self, obj: object, verb: str) -> Name:
        name = self.names[id(obj)]
        self.called[name] = self.called.get(name, 0) + 1
        self.events.append((verb, *name))
        return name

    def imported(self) -> set[Name]:
        """Return the globals that were used as values, not only as what is called."""
        return {name for name, count in self.pushed.items() if count > self.called.get(name, 0)}


class OracleUnpickler(numpy_pickle.NumpyUnpickler):  # type: ignore[misc]  # joblib has no types
    """NumpyUnpickler that writes down what it does."""

    dispatch = numpy_pickle.NumpyUnpickler.dispatch.copy()

    def __init__(self, stream: Any, filename: str = "", mmap_mode: str | None = None) -> None:
        super().__init__(filename, stream, **NATIVE_ORDER, mmap_mode=mmap_mode)
        self.log = Log()

    def find_class(self, module: str, name: str) -> Any:
        where = self._python3(module, name)
        self.log.events.append(("global", *where))
        found = super().find_class(module, name)
        self.log.named(found, where)
        return found

    def _python3(self, module: str, name: str) -> Name:
        import _compat_pickle

        if self.proto < 3:
            if (module, name) in _compat_pickle.NAME_MAPPING:
                return _compat_pickle.NAME_MAPPING[(module, name)]
            return _compat_pickle.IMPORT_MAPPING.get(module, module), name
        return module, name

    def load_get(self) -> None:
        super().load_get()
        self.log.push(self.stack[-1])

    dispatch[pickle.GET[0]] = load_get

    def load_binget(self) -> None:
        super().load_binget()
        self.log.push(self.stack[-1])

    dispatch[pickle.BINGET[0]] = load_binget

    def load_long_binget(self) -> None:
        super().load_long_binget()
        self.log.push(self.stack[-1])

    dispatch[pickle.LONG_BINGET[0]] = load_long_binget

    def load_reduce(self) -> None:
        func, args = self.stack[-2], self.stack[-1]
        origin = self.log.call(func, "call")
        if origin == ("copyreg", "_reconstructor"):
            origin = self.log.call(args[0], "new")
            if args[1] is dict and args[2]:
                self.log.events.append(("items", *origin))
        super().load_reduce()
        self.log.made(self.stack[-1], origin)

    dispatch[pickle.REDUCE[0]] = load_reduce

    def load_newobj(self) -> None:
        origin = self.log.call(self.stack[-2], "new")
        super().load_newobj()
        self.log.made(self.stack[-1], origin)

    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def load_newobj_ex(self) -> None:
        origin = self.log.call(self.stack[-3], "new")
        super().load_newobj_ex()
        self.log.made(self.stack[-1], origin)

    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex

    def load_build(self) -> None:
        target = self.stack[-2]
        self.log.events.append(("state", *self.log.origin[id(target)]))
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build

    def _note_items(self, target: object) -> None:
        if type(target) not in (list, dict, set) and id(target) in self.log.origin:
            self.log.events.append(("items", *self.log.origin[id(target)]))

    def load_append(self) -> None:
        self._note_items(self.stack[-2])
        super().load_append()

    dispatch[pickle.APPEND[0]] = load_append

    def load_appends(self) -> None:
        self._note_items(self.metastack[-1][-1])
        super().load_appends()

    dispatch[pickle.APPENDS[0]] = load_appends

    def load_setitem(self) -> None:
        self._note_items(self.stack[-3])
        super().load_setitem()

    dispatch[pickle.SETITEM[0]] = load_setitem

    def load_setitems(self) -> None:
        self._note_items(self.metastack[-1][-1])
        super().load_setitems()

    dispatch[pickle.SETITEMS[0]] = load_setitems


@contextmanager
def _recording_arrays(stream: Any, log: Log) -> Iterator[None]:
    """Record where joblib's arrays and nested pickles are read from."""
    kind = numpy_pickle.NumpyArrayWrapper
    read_array, read_mmap = kind.read_array, kind.read_mmap

    def watch_array(wrapper: Any, outer: Any, *args: Any) -> Any:
        begin = stream.tell()
        if wrapper.dtype.hasobject:
            inner = OracleUnpickler(stream)
            inner.log = log
            array = inner.load()
            log.events.append(("nested", begin, stream.tell() - begin))
            return array
        array = read_array(wrapper, outer, *args)
        length = array.size * wrapper.dtype.itemsize
        log.events.append(("array", stream.tell() - length, length, begin))
        return array

    def watch_mmap(wrapper: Any, outer: Any) -> Any:
        begin = stream.tell()
        array = read_mmap(wrapper, outer)
        log.events.append(("array", stream.tell() - array.nbytes, array.nbytes, begin))
        return array

    kind.read_array, kind.read_mmap = watch_array, watch_mmap
    try:
        yield
    finally:
        kind.read_array, kind.read_mmap = read_array, read_mmap


def run(unpickler: OracleUnpickler) -> Any:
    """Load with this unpickler; what it did stands in `unpickler.log`, also if it raises."""
    with _recording_arrays(unpickler.file_handle, unpickler.log):
        return unpickler.load()


def load(data: bytes) -> tuple[Any, list[Event], int]:
    """Load an uncompressed stream; return the object, the events in order, and where reading stopped."""
    stream = io.BytesIO(data)
    unpickler = OracleUnpickler(stream)
    obj = run(unpickler)
    return obj, unpickler.log.events, stream.tell()
