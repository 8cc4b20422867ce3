"""Read the source of what a rule lets run, and name the calls and modules in it that the denylist is about.

This helps a reviewer and proves nothing: native code is not read, and names that are computed are not seen.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import inspect
import sys
import textwrap
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
    | {f"posixpath.{name}" for name in ("basename", "dirname", "join", "normpath", "split", "splitext")}
)
_NO_SOURCE = "no source can be found, so nobody can review what it does"
_AT_LOAD = ("__del__", "__hash__", "__eq__")
_SELF = object()  # stands for the first parameter of a method
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
        try:
            named = list(_named(one, owner))
        except (OSError, TypeError, SyntaxError):
            if not _is_generated(one, owner):
                yield what, f"{one.__module__}.{one.__qualname__}", _NO_SOURCE
            continue
        for name, value in named:
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


def _is_generated(function: types.FunctionType, owner: type | None) -> bool:
    """Return whether the standard library wrote this method: a dataclass's comparison, a named tuple's constructor."""
    return (
        owner is not None
        and (dataclasses.is_dataclass(owner) or hasattr(owner, "_fields"))
        and (function.__code__.co_filename.startswith("<"))
    )


def _effect(name: str, value: Any) -> str | None:
    if name in _HARMLESS or name.split(".", maxsplit=1)[0] in _HARMLESS_MODULES:
        return None
    reason = denied_reason(f"{name}.x" if isinstance(value, types.ModuleType) else name)
    return reason if reason in _EFFECTS else None


def _named(function: types.FunctionType, owner: type | None) -> Iterator[tuple[str, Any]]:
    """Yield every global, attribute of a module, import, and method of itself that a function's source names.

    Raises:
        OSError, TypeError, SyntaxError: the source is not to be had.
    """
    if function.__code__.co_filename.startswith("<"):
        raise OSError("made by exec")  # Python 3.13 takes lines of the module for it
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    code = function.__code__
    names = _Names(function, owner, me=code.co_varnames[0] if code.co_argcount else None)
    # Imports first: a name that one of them binds is used before and after it alike.
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from names.bind(node)
    for node in _loaded(tree, frozenset()):
        value = names.value_of(node)
        if value not in (None, _SELF) and not isinstance(value, types.ModuleType):
            yield _name_of(value, ast.unparse(node)), value


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def _loaded(node: ast.AST, own: frozenset[str]) -> Iterator[ast.Name | ast.Attribute]:
    """Yield the names and dotted names that are read below a node, but for those of scopes inside: `own`."""
    for child in ast.iter_child_nodes(node):
        inside = own | _bound_in(child) if isinstance(child, _SCOPES) and not isinstance(node, ast.Module) else own
        if isinstance(child, ast.Name | ast.Attribute) and isinstance(child.ctx, ast.Load):
            root: ast.AST = child
            while isinstance(root, ast.Attribute):
                root = root.value
            if not isinstance(root, ast.Name) or root.id not in own:
                yield child
        yield from _loaded(child, inside)


def _bound_in(scope: ast.AST) -> frozenset[str]:
    """Return the parameters and variables of a scope."""
    stored = {one.id for one in ast.walk(scope) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    return frozenset(stored | {one.arg for one in ast.walk(scope) if isinstance(one, ast.arg)})


class _Names:
    """What the names in a function's source stand for, as far as that can be told without running it."""

    def __init__(self, function: types.FunctionType, owner: type | None, me: str | None) -> None:
        closure = inspect.getclosurevars(function)
        self._known = {**vars(builtins), **function.__globals__, **closure.nonlocals}
        for local in function.__code__.co_varnames:
            self._known.pop(local, None)
        self._owner = owner
        if owner is not None and me is not None:
            self._known[me] = _SELF

    def bind(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Any]]:
        """Remember what an import statement binds, and yield what it imports."""
        value: Any
        for alias in node.names:
            if isinstance(node, ast.Import):
                full, value = alias.name, sys.modules.get(alias.name) or types.ModuleType(alias.name)
                bound = alias.asname or full.partition(".")[0]
                self._known[bound] = value if alias.asname else sys.modules.get(bound, value)
            else:
                module = self._absolute(node)
                full, value = f"{module}.{alias.name}", getattr(sys.modules.get(module), alias.name, None)
                self._known[alias.asname or alias.name] = value
            yield full, value

    def _absolute(self, node: ast.ImportFrom) -> str:
        package = str(self._known.get("__package__") or "").split(".")
        start = package[: len(package) - node.level + 1] if node.level else []
        return ".".join([*start, *filter(None, [node.module])])

    def value_of(self, node: ast.expr) -> Any:
        """Return what a name or dotted name stands for; None if that is not known."""
        if isinstance(node, ast.Name):
            return self._known.get(node.id)
        if not isinstance(node, ast.Attribute):
            return None
        value = self.value_of(node.value)
        if isinstance(value, types.ModuleType):
            return getattr(value, node.attr, None)
        if value is _SELF and self._owner is not None:
            return _python(inspect.getattr_static(self._owner, node.attr, None))
        return None


def _name_of(value: Any, fallback: str) -> str:
    """Return the name that a value has for itself, if it is to be found there: Cython's enums say a wrong module."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return fallback
    where: Any = sys.modules.get(module)
    for part in name.split("."):
        where = getattr(where, part, None)
    return f"{module}.{name}" if where is value or denied_reason(f"{module}.{name}") is None else fallback
