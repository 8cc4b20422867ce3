"""What Python code reaches for, by its bytecode: calls and modules of the kinds that the denylist names.

It is a reviewer's aid and no proof: native code is not looked into, and names that are computed are not seen.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any

from safeload.policy import denied_reason

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["reached"]

_MAX_DEPTH = 2
# Reasons of the denylist that are about effects; reaching for getattr, locks or warnings is what honest code does.
_EFFECTS = (
    "it runs code or commands",
    "it imports what it is given the name of",
    "it unpickles what it is given",
    "it opens, writes or deletes files",
    "it opens connections",
    "it reads and writes memory directly",
)
_HARMLESS_MODULES = frozenset(
    {"threading", "_thread", "platform", "logging", "concurrent", "multiprocessing", "unittest"}
)
_HARMLESS = frozenset(
    {"builtins.map", "builtins.filter", "functools.reduce", "builtins.memoryview", "types.MethodType"}
    | {
        f"{module}.{name}"
        for module in ("os", "posix")
        for name in (
            "cpu_count",
            "getpid",
            "fspath",
            "PathLike",
            "environ",
            "sep",
            "linesep",
            "getenv",
            "sched_getaffinity",
        )
    }
)
_AT_LOAD = ("__del__", "__hash__", "__eq__")
_METHODS = {
    "new": ("__new__", *_AT_LOAD),
    "call": ("__new__", "__init__", *_AT_LOAD),
    "state": ("__setstate__",),
    "items": ("append", "extend", "add", "__setitem__"),
    "import": (),
}


def reached(value: Any, role: str) -> Iterator[tuple[str, str, str]]:
    """Yield what runs when a pickle uses a value in a role, what that reaches for, and what the denylist says of it."""
    if isinstance(value, type):
        for method in _METHODS[role]:
            function = _python(inspect.getattr_static(value, method, None))
            if function is not None:
                yield from _walk(function, value, method)
    elif role in ("call", "import"):
        function = _python(value)
        if function is not None:
            yield from _walk(function, None, function.__qualname__)


def _python(value: Any) -> types.FunctionType | None:
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    value = inspect.unwrap(value) if callable(value) else value
    return value if isinstance(value, types.FunctionType) else None


def _walk(function: types.FunctionType, owner: type | None, what: str) -> Iterator[tuple[str, str, str]]:
    pending = [(function, 0)]
    seen = {function}
    package = function.__module__.split(".")[0]
    while pending:
        one, depth = pending.pop()
        for name, value in _named(one, owner):
            reason = _effect(name, value)
            if reason is not None:
                yield what, name, reason
                continue
            follow = _python(value)
            if follow is None or depth >= _MAX_DEPTH or follow in seen:
                continue
            if (follow.__module__ or "").split(".")[0] == package:
                seen.add(follow)
                pending.append((follow, depth + 1))


def _effect(name: str, value: Any) -> str | None:
    if name in _HARMLESS or name.split(".", maxsplit=1)[0] in _HARMLESS_MODULES:
        return None
    reason = denied_reason(f"{name}.x" if isinstance(value, types.ModuleType) else name)
    return reason if reason in _EFFECTS else None


def _named(function: types.FunctionType, owner: type | None) -> Iterator[tuple[str, Any]]:
    """Yield every global, attribute of a module, import, and method of itself that a function's code names."""
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [const for const in code.co_consts if isinstance(const, types.CodeType)]
        value: Any = None
        me = code.co_varnames[0] if code.co_argcount else None
        imported = ""
        for instruction in dis.get_instructions(code):
            operation, name = instruction.opname, instruction.argval
            if operation in ("LOAD_GLOBAL", "LOAD_NAME"):
                value = function.__globals__.get(name, getattr(builtins, name, None))
                if not isinstance(value, types.ModuleType):
                    yield _name_of(value, name), value
            elif operation in ("LOAD_ATTR", "LOAD_METHOD") and isinstance(value, types.ModuleType):
                where, value = value, getattr(value, name, None)
                if not isinstance(value, types.ModuleType):
                    yield _name_of(value, f"{where.__name__}.{name}"), value
            elif operation in ("LOAD_ATTR", "LOAD_METHOD") and value is _SELF and owner is not None:
                method = _python(inspect.getattr_static(owner, name, None))
                value = None
                if method is not None:
                    yield _name_of(method, name), method
            elif operation == "LOAD_FAST" and name == me and owner is not None:
                value = _SELF
            elif operation == "IMPORT_NAME":
                imported = name
                value = sys.modules.get(name)
                if value is not None and denied_reason(f"{name}.x") is not None:
                    yield name, value
            elif operation == "IMPORT_FROM":
                yield f"{imported}.{name}", getattr(sys.modules.get(imported), name, None)
            elif operation not in ("PUSH_NULL", "PRECALL", "CACHE", "COPY"):
                value = None


_SELF = object()


def _name_of(value: Any, fallback: str) -> str:
    """Return the name that a value has for itself, if it is to be found there: Cython's enums say a wrong module."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return fallback
    where: Any = sys.modules.get(module)
    for part in name.split("."):
        where = getattr(where, part, None)
    return f"{module}.{name}" if where is value or denied_reason(f"{module}.{name}") is None else fallback
