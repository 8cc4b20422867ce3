"""joblib's own unpickler, instrumented: what loading really named, called, made and read.

It unpickles, so it is for artifacts that the tests made or that the scanner allowed.  CPython's pure-Python
`pickle._Unpickler` is what joblib runs; every hook below records and then does exactly what the original does.
"""

from __future__ import annotations

import inspect
import io
import pickle
from typing import Any

from joblib import numpy_pickle

Event = tuple[Any, ...]
# joblib 1.5 and later have to be told to leave the byte order alone.
_PARAMETERS = inspect.signature(numpy_pickle.NumpyUnpickler).parameters
NATIVE_ORDER = {name: False for name in ("ensure_native_byte_order",) if name in _PARAMETERS}


class _Made:
    """Which global made which object, by identity; keeps the objects alive so that no identity is used twice."""

    def __init__(self) -> None:
        self.origin: dict[int, tuple[str, str]] = {}
        self.alive: list[object] = []

    def note(self, obj: object, origin: tuple[str, str]) -> None:
        self.origin[id(obj)] = origin
        self.alive.append(obj)


class OracleUnpickler(numpy_pickle.NumpyUnpickler):
    """NumpyUnpickler that writes down what it does, in the words of `safeload.scan.Trace.events`."""

    dispatch = numpy_pickle.NumpyUnpickler.dispatch.copy()

    def __init__(self, stream: Any) -> None:
        super().__init__("", stream, **NATIVE_ORDER)
        self.events: list[Event] = []
        self.names: dict[int, tuple[str, str]] = {}
        self.made = _Made()

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        where = self._python3(module, name)
        self.events.append(("global", *where))
        self.names[id(found)] = where
        return found

    def _python3(self, module: str, name: str) -> tuple[str, str]:
        import _compat_pickle

        if self.proto < 3:
            if (module, name) in _compat_pickle.NAME_MAPPING:
                return _compat_pickle.NAME_MAPPING[(module, name)]
            return _compat_pickle.IMPORT_MAPPING.get(module, module), name
        return module, name

    def load_reduce(self) -> None:
        func, args = self.stack[-2], self.stack[-1]
        origin = self.names[id(func)]
        self.events.append(("call", *origin))
        copyreg = origin == ("copyreg", "_reconstructor")
        if copyreg:
            self.events.append(("new", *self.names[id(args[0])]))
        super().load_reduce()
        self.made.note(self.stack[-1], self.names[id(args[0])] if copyreg else origin)

    dispatch[pickle.REDUCE[0]] = load_reduce

    def load_newobj(self) -> None:
        origin = self.names[id(self.stack[-2])]
        self.events.append(("new", *origin))
        super().load_newobj()
        self.made.note(self.stack[-1], origin)

    dispatch[pickle.NEWOBJ[0]] = load_newobj

    def load_newobj_ex(self) -> None:
        origin = self.names[id(self.stack[-3])]
        self.events.append(("new", *origin))
        super().load_newobj_ex()
        self.made.note(self.stack[-1], origin)

    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex

    def load_build(self) -> None:
        target = self.stack[-2]
        self.events.append(("state", *self.made.origin[id(target)]))
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build

    def _note_items(self, target: object) -> None:
        if type(target) not in (list, dict, set) and id(target) in self.made.origin:
            self.events.append(("items", *self.made.origin[id(target)]))

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


def load(data: bytes) -> tuple[Any, list[Event], int]:
    """Load an uncompressed stream; return the object, the events in order, and where reading stopped."""
    stream = io.BytesIO(data)
    unpickler = OracleUnpickler(stream)
    original = numpy_pickle.NumpyArrayWrapper.read_array

    def read_array(wrapper: Any, outer: Any, *args: Any) -> Any:
        if wrapper.dtype.hasobject:
            start = stream.tell()
            inner = OracleUnpickler(stream)
            inner.events, inner.names, inner.made = unpickler.events, unpickler.names, unpickler.made
            array = inner.load()
            unpickler.events.append(("nested", start, stream.tell() - start))
            return array
        begin = stream.tell()
        array = original(wrapper, outer, *args)
        length = array.size * wrapper.dtype.itemsize
        unpickler.events.append(("array", stream.tell() - length, length, begin))
        return array

    numpy_pickle.NumpyArrayWrapper.read_array = read_array
    try:
        obj = unpickler.load()
    finally:
        numpy_pickle.NumpyArrayWrapper.read_array = original
    return obj, unpickler.events, stream.tell()
