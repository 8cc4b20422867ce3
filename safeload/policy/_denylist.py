"""The denylist: what no policy can allow, because naming it is enough to run code or to reach outside.

It stands above every policy file.  It is not what keeps artifacts safe (the allowlist is): it keeps a reviewer
from granting, under time pressure, what amounts to granting everything.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from safeload.policy import _denied

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["denied_reason", "is_confined"]

# One look-up finds names and modules alike: a method of a class that is denied is denied, too.
_DENIED: dict[str, str] = {}
for _entries in (_denied.MODULES, _denied.NAMES):
    for _reason, _names in _entries.items():
        for _name in _names.split():
            _DENIED[_name] = _DENIED[_name.replace("numpy._core.", "numpy.core.")] = _reason


def denied_reason(name: str) -> str | None:
    """Say why no policy may allow the global `module.qualname`; None where a policy may."""
    reason = _DENIED.get(name)
    if reason is not None:
        return reason
    module, _, plain = name.rpartition(".")
    reason, original = _of_module(module)
    return denied_reason(f"{original}.{plain}") if original else reason


@functools.lru_cache(maxsize=512)  # a rule asks for many names of one module
def _of_module(module: str) -> tuple[str | None, str]:
    """Return why all of a module is denied, and the module that it is a vendored copy of; "" for none."""
    parts = module.split(".")
    for end in range(len(parts), 0, -1):  # the nearest has the most exact reason
        reason = _DENIED.get(".".join(parts[:end]))
        if reason is not None:
            return reason, ""
    if not _denied.VENDORED.isdisjoint(parts):
        return _denied.UNPICKLES, ""
    copies = [at for at, part in enumerate(parts) if at and part in _denied.COPIES]
    return None, ".".join(parts[copies[-1] + 1 :]) if copies else ""


# The one class whose own methods may be taken, and those that read more than their arguments' text.
_TEXT = "builtins.str"
_NOT_OF_TEXT = frozenset({"format", "format_map", "mro"})


def is_confined(name: str, rule: dict[str, Any]) -> bool:
    """Tell whether a rule for a name on the denylist is of the one form in which it does no harm.

    There are four. `getattr`, which is how pickle writes a bound method: called with an instance of a listed class and
    a name from a list, so that no other attribute can be reached. `functools.partial`: of listed functions.
    `numpy.vectorize`: of such a bound method. joblib's `Memory`: without a folder, so that it keeps nothing.
    """
    form = _CONFINED.get(name)
    return form is not None and form(rule)


def _is_getattr_of_methods(rule: dict[str, Any]) -> bool:
    args = rule.get("args")
    return (
        rule.get("roles") == ["call"]
        and isinstance(args, list)
        and all(isinstance(one, list) and len(one) == 2 and _is_listed_method(*one) for one in args)
    )


def _is_partial_of_functions(rule: dict[str, Any]) -> bool:
    args, state = rule.get("args"), rule.get("state")
    made = state.get("tuple") if isinstance(state, dict) else None
    return (
        rule.get("roles") in (["call"], ["call", "state"])
        and isinstance(args, list)
        and all(isinstance(one, list) and bool(one) and _lists_globals(one[0]) for one in args)
        and ("state" not in rule["roles"] or (isinstance(made, list) and bool(made) and _lists_globals(made[0])))
    )


def _lists_globals(pattern: Any) -> bool:
    return isinstance(pattern, dict) and list(pattern) == ["global"]  # which of them are denied is checked there


def _is_vectorized_method(rule: dict[str, Any]) -> bool:
    return _only_state(rule).get("pyfunc") == {"instance": ["builtins.getattr"]}


def _is_memory_without_folder(rule: dict[str, Any]) -> bool:
    only = _only_state(rule)
    return only.get("location") == only.get("store_backend") == "none"


def _only_state(rule: dict[str, Any]) -> dict[str, Any]:
    """Return the pattern for each attribute that a made object may get; {} where it may get others."""
    state = rule.get("state")
    only = state.get("only") if isinstance(state, dict) else None
    made = rule.get("roles") == ["new", "state"] and rule.get("args") is None
    return only if made and isinstance(only, dict) else {}


_CONFINED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "builtins.getattr": _is_getattr_of_methods,
    "functools.partial": _is_partial_of_functions,
    "numpy.vectorize": _is_vectorized_method,
    "joblib.memory.Memory": _is_memory_without_folder,
}


def _is_listed_method(owner: Any, method: Any) -> bool:
    if not isinstance(owner, dict) or not isinstance(method, dict) or len(owner) != 1 or list(method) != ["literal"]:
        return False
    (kind, owners), *_ = owner.items()
    names = method["literal"]
    if not isinstance(owners, list) or not isinstance(names, list):
        return False
    if not all(isinstance(one, str) and not one.startswith("__") for one in names):
        return False
    if kind == "global":
        return owners == [_TEXT] and not _NOT_OF_TEXT.intersection(names)
    return kind == "instance" and all(isinstance(one, str) and denied_reason(one) is None for one in owners)
