"""What runs in the process that looks into the environment: it imports the modules that a policy names.

It reads one JSON document from stdin and writes one JSON document a line to stdout: before each module its name, and
after it what its names are. So the parent knows which import it was that ended the process, if one does.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import types
import warnings
from typing import Any

from safeload.audit._reach import reached
from safeload.policy import denied_reason

__all__ = ["main"]

_MAX_ERROR = 300
_ITEM_METHODS = ("append", "extend", "add", "__setitem__")


def main() -> None:
    """Answer the question on stdin."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (1, 2):
        os.dup2(null, fd)  # what modules print while they are imported
    question = json.load(sys.stdin)
    os.dup2(null, 0)
    warnings.simplefilter("ignore")
    with answers:
        for module, names in question["modules"]:
            _say(answers, {"module": module})
            _say(answers, {"module": module, "names": _module_facts(module, names)})


def _say(answers: Any, line: dict[str, Any]) -> None:
    answers.write(json.dumps(line) + "\n")
    answers.flush()


def _module_facts(module: str, names: dict[str, list[str]]) -> dict[str, Any]:
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name is not None and (module == error.name or module.startswith(f"{error.name}."))
        status = {"status": "no module" if missing else "not imported", "error": _said(error)}
        return {name: dict(status) for name in names}
    except BaseException as error:  # noqa: BLE001 - a module may raise anything, SystemExit too
        return {name: {"status": "not imported", "error": _said(error)} for name in names}
    return {name: _guarded(found, name, roles) for name, roles in names.items()}


def _guarded(module: Any, name: str, roles: list[str]) -> dict[str, Any]:
    try:
        if not hasattr(module, name):
            return {"status": "no name"}
        return _facts(getattr(module, name), roles)
    except Exception as error:  # noqa: BLE001 - what a module's own hooks raise
        return {"status": "not imported", "error": _said(error)}


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_MAX_ERROR]


def _facts(value: Any, roles: list[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {"status": "found", "kind": _kind(value), "is": _own_name(value)}
    if isinstance(value, type):
        facts["denied_bases"] = [name for name in map(_own_name, value.__mro__[1:]) if name and denied_reason(name)]
        facts["has_items"] = any(callable(getattr(value, method, None)) for method in _ITEM_METHODS)
        own = getattr(value, "__setstate__", None)
        facts["setstate"] = None if own is None else _own_name(own) or "native code"
    facts["reaches"] = sorted({(role, *one) for role in roles for one in reached(value, role)})
    return facts


def _kind(value: Any) -> str:
    if isinstance(value, types.ModuleType):
        return "module"
    if isinstance(value, type):
        return "class"
    return "function" if callable(value) else "value"


def _own_name(value: Any) -> str | None:
    """Return the `module.qualname` that pickle would write; None where the value has none of its own."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or isinstance(value, types.MethodType):
        return None
    return f"{module}.{name}"
