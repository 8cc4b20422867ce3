"""Constraints on arguments and on state: declarative patterns, compiled to predicates over abstract values.

A pattern is what stands in a policy file: a word ("int", "str", "attributes", …) or a table with one key
(`{ literal = ["latin1"] }`).  docs/reference/policy.md lists them all.  Every container that a predicate looks into is
sealed, so that the stream cannot change it after the decision.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from safeload._scan import is_plain_name, values
from safeload.policy._denylist import denied_reason
from safeload.policy._faults import RuleError

__all__ = ["Predicate", "compile_arguments", "compile_pattern", "compile_states", "sources_of"]

Predicate = Callable[[Any], bool]
_MAX_DEPTH = 16
_MAX_SHOWN = 500  # characters of the allowed patterns in a finding
_GETATTR = "builtins.getattr"


def _is_bytes(value: Any) -> bool:
    return isinstance(value, bytes) or (isinstance(value, values.Blob) and not value.mutable)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, values.Float)) or _is_str(value) or _is_bytes(value)


def _is_str(value: Any) -> bool:
    return isinstance(value, (str, values.Text))


def _once(check: Predicate) -> Predicate:
    """Look through a container once only: any number of calls may be given the same one, which is sealed by then."""

    def matches(value: Any) -> bool:
        if not isinstance(value, (values.AList, values.ADict, values.ASet)):
            return check(value)
        known = value.proven or ()
        for other, result in known:
            if other is check:
                return bool(result)
        result = check(value)
        value.proven = (*known, (check, result))
        return result

    return matches


@_once
def _is_attributes(value: Any) -> bool:
    return values.attributes(value) is not None


def _is_slots(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and (value[0] is None or _is_attributes(value[0]))
        and _is_attributes(value[1])
    )


def _is_public(name: str) -> bool:
    return is_plain_name(name) and not name.startswith("_")


_WORDS: dict[str, Predicate] = {
    "none": lambda value: value is None,
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: type(value) is int,
    "float": lambda value: isinstance(value, values.Float),
    "number": lambda value: isinstance(value, (bool, int, values.Float)),
    "str": _is_str,
    "bytes": _is_bytes,
    "bytearray": lambda value: isinstance(value, values.Blob) and value.mutable,
    "scalar": _is_scalar,
    "list": lambda value: isinstance(value, values.AList),
    "tuple": lambda value: isinstance(value, tuple),
    "dict": lambda value: isinstance(value, values.ADict),
    "set": lambda value: isinstance(value, values.ASet),
    # pandas hashes the objects of arrays while it is loaded, and hands them out as attributes.
    "array": lambda value: isinstance(value, values.Array) and value.built and not value.odd,
    "dtype": lambda value: isinstance(value, values.DType) and value.real is not None,
    "attributes": _is_attributes,
    "slots": _is_slots,
    "attribute_path": lambda value: isinstance(value, str) and all(map(_is_public, value.split("."))),
    # One that the policy does not list is refused by itself.
    "named": lambda value: isinstance(value, values.Global),
    # Data of any kind; a bare global or a bound method would be a function or class for the callee to call.
    "any": lambda value: (
        not isinstance(value, values.Global)
        and not (isinstance(value, values.Instance) and value.origin.name == _GETATTR)
    ),
}


def compile_pattern(pattern: Any, depth: int = 0) -> Predicate:
    """Compile one pattern.

    Raises:
        RuleError: the pattern is not valid.
    """
    if depth > _MAX_DEPTH:
        raise RuleError(
            f"a pattern is nested more than {_MAX_DEPTH} levels deep", advice='Use "any" for the innermost parts.'
        )
    if isinstance(pattern, str):
        if pattern not in _WORDS:
            raise RuleError(
                f"{pattern!r} is not a pattern", advice=f"Use one of the words {', '.join(sorted(_WORDS))}."
            )
        return _WORDS[pattern]
    if not isinstance(pattern, dict) or len(pattern) != 1:
        raise RuleError(f"{pattern!r} is not a pattern", advice='Write a word, such as "int", or a table with one key.')
    (kind, detail), *_ = pattern.items()
    if kind not in _TABLES:
        raise RuleError(f"unknown kind of pattern {kind!r}", advice=f"Use one of {', '.join(sorted(_TABLES))}.")
    return _TABLES[kind](detail, depth + 1)


def compile_arguments(alternatives: Any) -> Callable[[tuple[Any, ...]], str | None]:
    """Compile the allowed argument lists of a call; the check says in words why none of them matches.

    Raises:
        RuleError: they are not a list of lists of patterns.
    """
    _listed(alternatives, "args")
    compiled = [[compile_pattern(pattern) for pattern in _listed(one, "args", empty=True)] for one in alternatives]
    text = " or ".join("(" + ", ".join(map(shown_pattern, one)) + ")" for one in alternatives)

    def check(args: tuple[Any, ...]) -> str | None:
        for one in compiled:
            if len(one) == len(args) and _all_match(one, args):
                return None
        given = ", ".join(values.describe(arg) for arg in args[:8]) + (", …" if len(args) > 8 else "")
        return f"it is called with ({given}); allowed: {shortened(text)}"

    return check


def compile_states(alternatives: list[Any]) -> Callable[[Any], str | None]:
    """Compile the allowed states of a class; the check says in words why none of them matches.

    Raises:
        RuleError: one of them is not a pattern.
    """
    matches = compile_pattern({"any_of": alternatives})
    text = shortened(" or ".join(map(shown_pattern, alternatives)))

    differing = functools.cache(lambda: _Differing(alternatives[0])) if len(alternatives) == 1 else None

    def check(state: Any) -> str | None:
        if matches(state):
            return None
        why = differing().why(state) if differing is not None else None  # compiled again only once it refuses
        return why or f"its state is {values.describe(state)}; allowed: {text}"

    return check


class _Differing:
    """Says which attribute of a state a pattern does not allow."""

    def __init__(self, pattern: Any) -> None:
        kind, parts = next(iter(pattern.items())) if isinstance(pattern, dict) else ("", {})
        self._closed = kind == "only"
        parts = parts if kind in ("only", "attributes") else {}
        self._parts = {name: (compile_pattern(one), shortened(shown_pattern(one))) for name, one in parts.items()}

    def why(self, state: Any) -> str | None:
        if not self._parts or not isinstance(state, values.ADict):
            return None
        for key, value in zip(state.flat[::2], state.flat[1::2], strict=True):
            if not isinstance(key, str):
                return f"its state has {values.describe(key)} as the name of an attribute"
            matches, allowed = self._parts.get(key, (None, ""))
            if matches is None and self._closed:
                return f"its attribute {values.shown(key)} is not listed by the rule"
            if matches is not None and not matches(value):
                return f"its attribute {values.shown(key)} is {values.describe(value)}; allowed: {allowed}"
        return None


def _all_match(parts: list[Predicate], given: tuple[Any, ...]) -> bool:
    """Tell whether each part matches what stands in its place; there are as many of both."""
    for index, matches in enumerate(parts):  # noqa: SIM110 - this is done for every tree of a forest: no generator
        if not matches(given[index]):
            return False
    return True


def shortened(text: str) -> str:
    """Return as much of a description as fits a finding; `safeload policy show` prints all of it."""
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + " …"


def shown_pattern(pattern: Any) -> str:
    """Return a pattern as a person would write it."""
    if isinstance(pattern, str):
        return pattern
    (kind, detail), *_ = pattern.items()
    if kind == "source":
        return f"one of {len(_source_texts(detail))} texts of source code"
    return f"{kind} {detail!r}" if kind in ("literal", "int", "bytes") else f"{kind} [{_names(detail)}]"


def _names(detail: Any) -> str:
    if isinstance(detail, list):
        return ", ".join(one if isinstance(one, str) else shown_pattern(one) for one in detail)
    if isinstance(detail, dict) and len(detail) != 1:
        return ", ".join(detail)
    return shown_pattern(detail)


def _listed(detail: Any, kind: str, *, empty: bool = False) -> list[Any]:
    if not isinstance(detail, list) or not (detail or empty):
        raise RuleError(
            f"{kind} cannot be {detail!r}", advice="Write a list." if empty else "Write a list that is not empty."
        )
    return detail


def _literal(detail: Any, _depth: int) -> Predicate:
    allowed: set[tuple[type, Any]] = set()
    for one in _listed(detail, "literal"):
        if not isinstance(one, (str, bool, int)):
            raise RuleError(f"literal cannot list {one!r}", advice="List texts, booleans and whole numbers.")
        allowed.add((type(one), one))

    def matches(value: Any) -> bool:
        # Only values of these types are hashed: a tuple of a hostile stream could take for ever.
        return isinstance(value, (str, bool, int)) and (type(value), value) in allowed

    return matches


def _global_names(detail: Any, kind: str) -> frozenset[str]:
    for one in _listed(detail, kind):
        if not isinstance(one, str) or "." not in one:
            raise RuleError(
                f"{one!r} in {kind} is not a full name", advice="Write it with its module, for example: numpy.ndarray"
            )
    return frozenset(detail)


def _global(detail: Any, _depth: int) -> Predicate:
    allowed = _global_names(detail, "global")
    for one in allowed:
        if (reason := denied_reason(one)) is not None:
            raise RuleError(
                f"no policy can allow {one} as an argument or in a state: {reason}",
                advice="Remove the name from the pattern.",
            )
    return lambda value: isinstance(value, values.Global) and value.name in allowed


def _instance(detail: Any, _depth: int) -> Predicate:
    allowed = _global_names(detail, "instance")

    def matches(value: Any) -> bool:
        origin = getattr(value, "origin", None) if isinstance(value, (values.Instance, values.Array)) else None
        return origin is not None and origin.name in allowed

    return matches


def _built(detail: Any, depth: int) -> Predicate:
    made = _instance(detail, depth)
    return lambda value: bool(made(value) and value.built)


def _tuple(detail: Any, depth: int) -> Predicate:
    parts = [compile_pattern(one, depth) for one in _listed(detail, "tuple", empty=True)]
    return lambda value: isinstance(value, tuple) and len(value) == len(parts) and _all_match(parts, value)


def _list_of(detail: Any, depth: int) -> Predicate:
    matches = compile_pattern(detail, depth)

    def check(value: Any) -> bool:
        if not isinstance(value, values.AList):
            return False
        value.sealed = True
        return all(map(matches, value.items))

    return _once(check)


def _tuple_of(detail: Any, depth: int) -> Predicate:
    matches = compile_pattern(detail, depth)
    return lambda value: isinstance(value, tuple) and all(map(matches, value))


def _set_of(detail: Any, depth: int) -> Predicate:
    matches = compile_pattern(detail, depth)

    def check(value: Any) -> bool:
        if not isinstance(value, values.ASet):
            return False
        value.sealed = True
        return all(map(matches, value.items))

    return _once(check)


def _dict_of(detail: Any, depth: int) -> Predicate:
    if len(_listed(detail, "dict_of")) != 2:
        raise RuleError(
            "dict_of needs two patterns",
            advice='Write one for the keys and one for the values: dict_of = ["str", "int"]',
        )
    key, item = (compile_pattern(one, depth) for one in detail)

    def check(value: Any) -> bool:
        if not isinstance(value, values.ADict):
            return False
        value.sealed = True
        return all(map(key, value.flat[::2])) and all(map(item, value.flat[1::2]))

    return _once(check)


def _any_of(detail: Any, depth: int) -> Predicate:
    parts = [compile_pattern(one, depth) for one in _listed(detail, "any_of")]
    if len(parts) == 1:
        return parts[0]

    def check(value: Any) -> bool:
        for matches in parts:  # noqa: SIM110 - as in _all_match
            if matches(value):
                return True
        return False

    return check


def _not_by_name(kind: str) -> RuleError:
    return RuleError(
        f"{kind} must be a table of patterns by attribute name",
        advice=f'Write, for example: {{ {kind} = {{ classes_ = "array" }} }}',
    )


def _attributes(detail: Any, depth: int) -> Predicate:
    if not isinstance(detail, dict) or not detail:
        raise _not_by_name("attributes")
    parts = {name: compile_pattern(one, depth) for name, one in detail.items()}

    def check(value: Any) -> bool:
        found = values.attributes(value)
        if found is None:
            return False
        for name, matches in parts.items():
            place = found.places.get(name)
            if place is not None and not matches(found.parts[place]):
                return False
        return True

    return _once(check)


def _only(detail: Any, depth: int) -> Predicate:
    if not isinstance(detail, dict) or not detail:
        raise _not_by_name("only")
    for name in detail:
        if name.startswith("__") and name not in ("__doc__", "__name__"):
            raise RuleError(f"only: no state may set the attribute {name}", advice="Remove it from the pattern.")
    parts = {name: compile_pattern(one, depth) for name, one in detail.items()}

    def check(value: Any) -> bool:
        if not isinstance(value, values.ADict):
            return False
        value.sealed = True
        flat = value.flat
        names = [key for key in flat[::2] if isinstance(key, str) and key in parts]
        return (
            len(names) == len(flat) // 2 == len(set(names))
            and all(parts[key](flat[2 * index + 1]) for index, key in enumerate(names))
        )  # fmt: skip

    return check


def _source(detail: Any, _depth: int) -> Predicate:
    texts = frozenset(_source_texts(detail))
    return lambda value: isinstance(value, str) and value in texts


def _source_texts(detail: Any) -> list[str]:
    if not isinstance(detail, dict) or detail.keys() != {"text", "fill"} or not isinstance(detail["text"], str):
        raise RuleError(
            "source needs text and fill",
            advice="Write text with {} in it, and in fill the list of texts that may take the place of {}.",
        )
    for one in _listed(detail["fill"], "fill"):
        if not isinstance(one, str):
            raise RuleError(f"fill cannot list {one!r}", advice="List texts.")
    return [detail["text"].replace("{}", one) for one in detail["fill"]]


def sources_of(pattern: Any) -> frozenset[str]:
    """Return every text that a pattern, which is a valid one, lets pass as source code."""
    if isinstance(pattern, list):
        return frozenset().union(*map(sources_of, pattern))
    if not isinstance(pattern, dict):
        return frozenset()
    (kind, detail), *_ = pattern.items()
    if kind == "source":
        return frozenset(_source_texts(detail))
    return sources_of(list(detail.values()) if kind in ("attributes", "only") else detail)


def _parameter_except(detail: Any, _depth: int) -> Predicate:
    names = frozenset(_listed(detail, "parameter_except"))
    if not all(isinstance(one, str) and one for one in names):
        raise RuleError(f"parameter_except cannot be {detail!r}", advice="List names of parameters.")

    def matches(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        # Some libraries set any key as an attribute: `__dict__`, `__class__` or `_Booster` is no parameter.
        parts = value.split("__")
        return parts[-1] not in names and all(part[:1] not in ("", "_") for part in parts)

    return matches


def _int(detail: Any, _depth: int) -> Predicate:
    if len(_listed(detail, "int")) != 2 or not all(type(one) is int for one in detail):
        raise RuleError(
            "int needs two whole numbers", advice="Write the least and the greatest value, for example: int = [0, 100]"
        )
    least, greatest = detail
    return lambda value: type(value) is int and least <= value <= greatest


def _bytes(detail: Any, _depth: int) -> Predicate:
    if type(detail) is not int or detail < 0:
        raise RuleError("bytes needs a length", advice="Write a whole number of bytes, for example: bytes = 32")

    def matches(value: Any) -> bool:
        length = len(value) if isinstance(value, bytes) else getattr(value, "length", -1)
        return _is_bytes(value) and length == detail

    return matches


_TABLES: dict[str, Callable[[Any, int], Predicate]] = {
    "literal": _literal,
    "global": _global,
    "instance": _instance,
    "built": _built,
    "tuple": _tuple,
    "list_of": _list_of,
    "tuple_of": _tuple_of,
    "set_of": _set_of,
    "dict_of": _dict_of,
    "any_of": _any_of,
    "attributes": _attributes,
    "only": _only,
    "source": _source,
    "parameter_except": _parameter_except,
    "int": _int,
    "bytes": _bytes,
}
