"""Keywords that a function takes by another name, and those that it does not take, with what is meant instead."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = ["keywords"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

# What people write: the keyword of another function, of joblib or pickle, or another spelling.
_MEANT: Final = {
    "keyring": ("key",),
    "key": ("keyring",),
    "keys": ("keyring", "key"),
    "signer": ("key",),
    "signing_key": ("key",),
    "verifying_key": ("keyring",),
    "compression": ("compress",),
    "compresslevel": ("compress",),
    "policies": ("policy",),
    "limit": ("limits",),
    "min_version": ("min_release",),
    "force": ("overwrite",),
    "exist_ok": ("overwrite",),
    "file": ("path",),
}


def keywords(
    *,
    also: Mapping[str, str] | None = None,
    hints: Mapping[str, str] | None = None,
    ignored: Collection[str] = (),
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Return what lets a function take keywords by the names that joblib has for them (`also`: theirs, ours).

    Those of `ignored` are taken and do nothing, as in joblib. Any other that it does not take raises a TypeError that
    names the one that is meant, or the hint for it. The function keeps the signature that it has.
    """
    names = dict(also or {})
    said = dict(hints or {})

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        parameters = inspect.signature(function).parameters
        known = frozenset(parameters)

        @functools.wraps(function)
        def called(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if kwargs.keys() <= known:
                return function(*args, **kwargs)
            given: dict[str, Any] = {}
            for name, value in kwargs.items():
                if name in ignored:
                    continue
                ours = names.get(name, name)
                if ours not in known:
                    raise TypeError(_wrong(_called(function, args), name, known, said))
                if ours in given or ours in kwargs.keys() - {name}:
                    raise TypeError(f"{_called(function, args)}() got both {ours!r} and {name!r}, which are the same")
                given[ours] = value
            return function(*args, **given)

        return called

    return decorate


def _called(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    return type(args[0]).__name__ if function.__name__ == "__init__" else function.__name__


def _wrong(where: str, name: str, known: frozenset[str], said: Mapping[str, str]) -> str:
    text = f"{where}() got an unexpected keyword argument {name!r}"
    if name in said:
        return f"{text}. {said[name]}"
    meant = next((one for one in _MEANT.get(name, ()) if one in known), None)
    return text if meant is None else f"{text}. Did you mean {meant!r}?"
