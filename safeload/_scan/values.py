"""Abstract values: what the pickle machine keeps instead of the objects that a pickle would make.

`None`, `bool`, `int`, `str` and short `bytes` stand for themselves, and a `tuple` of abstract values for a
tuple.  Everything else is one of the classes below.  Nothing here is ever hashed or compared by content, short keys
aside (see `_keys`): that of a hostile file could take for ever.

What is kept of them is bounded: of long texts and bytes only the length, of a state that was checked nothing, of the
texts and integers of a vast container that they are such, and values that nothing tells apart are one.  `slot` is
where the memo keeps a value: -1 if nowhere, -2 in several places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_extensions import i64

IMPORT: Final = 1
CALL: Final = 2
NEW: Final = 4
STATE: Final = 8
ITEMS: Final = 16

ROLES: Final[dict[str, int]] = {"import": IMPORT, "call": CALL, "new": NEW, "state": STATE, "items": ITEMS}


@final
class Check:
    """A native check.

    `state` is asked about each state; without it, a state does not fit at all.  `made` is asked about the arguments of
    each call.  An instance that `needs_state` has to get one before the stream ends.  With `arrow`, long bytes of the
    stream are looked at as data of Arrow.
    """

    def __init__(
        self,
        state: Callable[[Any], None] | None,
        made: Callable[[Instance], None] | None = None,
        needs_state: bool = False,
        arrow: bool = False,
    ) -> None:
        self.state = state
        self.made = made
        self.needs_state: bool = needs_state
        self.arrow: bool = arrow


@final
class Grant:
    """What a policy allows one global: its roles, and checks of a call's arguments and of a state.

    A check takes the abstract value and returns None, or in words why it is not allowed.  With `held_by` the global may
    be named only as one of these attributes, `module.Class.attribute`, in a state of exactly that class.  `sources` are
    the texts that the class runs as code when they stand in its state.
    """

    def __init__(
        self,
        roles: int,
        call: Callable[[tuple[Any, ...]], str | None] | None = None,
        new: Callable[[tuple[Any, ...]], str | None] | None = None,
        state: Callable[[Any], str | None] | None = None,
        held_by: frozenset[str] | None = None,
        sources: frozenset[str] | None = None,
    ) -> None:
        self.roles = roles
        self.call = call
        self.new = new
        self.state = state
        self.held_by = held_by
        self.sources = sources


@final
class Global:
    """One `module.qualname` that the pickle names, with what the policy grants and what was done with it.

    `form` says which of numpy's and joblib's own callables it is (see `_forms`), 0 for none.
    `pushed` and `called` count how often it was put on the stack and how often it was taken from there as the
    function or class of a call: where they differ, it was used as a value.  `held` counts how often that value was
    an attribute that may hold it.
    """

    def __init__(self, module: str, qualname: str, offset: i64, grant: Grant | None, form: i64) -> None:
        self.name: str = module + "." + qualname
        self.module: str = module
        self.qualname: str = qualname
        self.offset: i64 = offset
        self.grant: Grant | None = grant
        self.form: i64 = form
        self.check: Check | None = None  # the native check of its instances (see `native.structures`)
        self.makes_functions: bool | None = None  # whether what is made of it can be called; None until that was asked
        self.used: i64 = 0
        self.pushed: i64 = 0
        self.called: i64 = 0
        self.held: i64 = 0
        self.first_call: i64 = -1
        self.first_new: i64 = -1
        self.first_state: i64 = -1
        self.first_items: i64 = -1
        # The names of the attributes of its latest state, where all of them are allowed, and which place each has.
        self.names: list[Any] = []
        self.places: dict[str, int] = {}
        # What stands for every instance of it that has its state: nothing tells them apart.
        self.finished: Any = None
        # Of a global that is not granted: the arguments and states seen, as patterns for a reviewer.
        self.seen_args: list[str] = []
        self.looks: i64 = 0  # how often they were looked at
        self.seen_state: str = ""


@final
class Instance:
    """What a CALL or NEW of a global made; `built` once it has its state, `filled` by the first kind of items.

    `scalar` tells that it is one of numpy, and `text` that it hashes as texts do: with a secret of the process.
    """

    __slots__ = ("built", "filled", "keys", "native", "origin", "scalar", "slot", "text")

    def __init__(self, origin: Global) -> None:
        self.origin = origin
        self.built: bool = False
        self.filled: i64 = 0
        self.slot: i64 = -1
        self.keys: Any = None
        self.scalar: bool = False
        self.text: bool = False
        # Of a class with a native check: what it was made with, and then what its state says of it.
        self.native: Any = None


@final
class DType:
    """What a call of `numpy.dtype` made; `real` is numpy's own dtype, once BUILD has proven it.

    `depth` and `leaves` say how deep it is nested, and how many plain dtypes it unfolds to.  `watcher` is what to take
    another of for each array whose bytes matter (see `_contents`); None where they do not.  `itemsize`, `objects` and
    `subarray` are what `real` says, which is slower to ask.
    """

    __slots__ = ("code", "depth", "itemsize", "leaves", "objects", "origin", "real", "subarray", "watcher")

    def __init__(self, origin: Global, code: str) -> None:
        self.origin = origin
        self.code = code
        self.real: Any = None
        self.watcher: Any = None
        self.itemsize: i64 = 0
        self.objects: bool = False
        self.subarray: bool = False
        self.depth: i64 = 1
        self.leaves: i64 = 1


@final
class Array:
    """An array of any way of writing; `dtype` is None and `shape` empty until its state was proven.

    `odd` tells that a tuple among its objects nests so deep that hashing it could crash, or that one is a dict
    that could say where an array is.
    """

    __slots__ = ("built", "contents", "dtype", "odd", "origin", "shape", "slot", "trees")

    def __init__(self, origin: Global | None) -> None:
        self.origin = origin
        self.dtype: Any = None
        self.shape: tuple[int, ...] = ()
        self.built: bool = False
        self.odd: bool = False
        self.slot: i64 = -1
        self.contents: Any = None  # what its bytes say (see `_contents`), where that could matter
        self.trees: i64 = -1  # of fitted decision trees: how many features each reads; -1 of anything else


@final
class Wrapper:
    """joblib's NumpyArrayWrapper before its BUILD, which puts the array in its place."""

    def __init__(self, origin: Global) -> None:
        self.origin = origin


@final
class AList:
    """A list; `sealed` once a decision rests on what it holds, after which it may not change.

    `proven` is for those who decide, to look through a large container only once.
    """

    __slots__ = ("items", "proven", "sealed")

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.sealed: bool = False
        self.proven: Any = None


@final
class ADict:
    """A dict, as the flat list of its keys and values in the order in which they were set.

    `shared` once it was read from the memo, and so may stand in several places; `holds` once it was a state with a
    global that only such a state may hold.  `found` is what `attributes` says of it, while it is looked at as a state.
    """

    __slots__ = ("flat", "found", "holds", "keys", "proven", "sealed", "shared", "slot")

    def __init__(self, flat: list[Any]) -> None:
        self.flat = flat
        self.sealed: bool = False
        self.shared: bool = False
        self.holds: bool = False
        self.found: Attributes | None = None
        self.slot: i64 = -1
        self.keys: Any = None
        self.proven: Any = None


@final
class ASet:
    """A set or frozenset."""

    __slots__ = ("frozen", "items", "keys", "proven", "sealed")

    def __init__(self, items: list[Any], frozen: bool) -> None:
        self.items = items
        self.frozen = frozen
        self.sealed: bool = False
        self.keys: Any = None
        self.proven: Any = None


class Long:
    """What is too long to keep: only the length is known.

    `data` is the bytes themselves, or what they could say, until they are used or other such bytes follow.
    """

    __slots__ = ("data", "length")

    def __init__(self, length: i64) -> None:
        self.length: i64 = length
        self.data: Any = None


@final
class Blob(Long):
    """Bytes that are too long to keep, or a bytearray."""

    __slots__ = ("mutable",)

    def __init__(self, length: i64, mutable: bool) -> None:
        super().__init__(length)
        self.mutable: bool = mutable


@final
class Text(Long):
    """A str that is too long to keep; `length` in characters, `latin1` if all of them are.

    `data` is kept for texts that could be bytes below protocol 3.
    """

    __slots__ = ("latin1",)

    def __init__(self, length: i64, latin1: bool) -> None:
        super().__init__(length)
        self.latin1: bool = latin1


@final
class Float:
    """A float; which one is never asked."""


@final
class Forbidden:
    """What stands in the memo for a value that no honest pickle fetches again; why not, as a finding says it."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message


FLOAT_VALUE: Final = Float()
# In place of a text that a vast container holds (see Ledger.let_go): it equals nothing that a rule could name.
LET_GO: Final = Text(-1, False)
FORBIDDEN_WRAPPER: Final = Forbidden("SL311", "an array wrapper is used a second time")
FORBIDDEN_HOLDER: Final = Forbidden("SL319", "a state is used a second time that holds what only it may hold")
FORBIDDEN_STATE: Final = Forbidden("SL311", "the state of an array wrapper is used a second time")
FORBIDDEN_ARGUMENTS: Final = Forbidden("SL318", "the arguments of a call are used a second time")

# Takes the place of the items of a used-up container: it matches no pattern.
GONE: Final = Global("", "", 0, None, 0)
GONE.name = "what was used up"
USED_UP: Final[list[Any]] = [GONE, GONE]


def is_used_up(value: AList | ADict) -> bool:
    """Tell whether what a container held was let go of: how much that was is not known any more either."""
    return (value.flat if isinstance(value, ADict) else value.items) is USED_UP


_MAX_ATTRIBUTES: Final = 10_000


@final
class Attributes:
    """The attributes that a dict sets: `names`, the `parts` that they name, and where among these: `places`."""

    __slots__ = ("names", "parts", "places")

    def __init__(self, names: list[Any], parts: list[Any], places: dict[str, int]) -> None:
        self.names = names
        self.parts = parts
        self.places = places

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __getitem__(self, name: str) -> Any:
        return self.parts[self.places[name]]

    def get(self, name: str, default: Any = None) -> Any:
        """Return what has this name, `default` if nothing has."""
        place = self.places.get(name)
        return default if place is None else self.parts[place]


def attributes(value: object, like: Global | None = None) -> Attributes | None:
    """Return what an exact dict of attribute names sets, sealed; None if it is anything else.

    Attribute names are str, few thousands at most, never twice, and never begin with `__`: BUILD would set hooks that
    the class relies on.
    A value whose text was let go is none either: what compares it would take it for something else.
    They are not looked at again if they are those of the latest state of the class `like`.
    """
    if not isinstance(value, ADict):
        return None
    value.sealed = True
    if value.found is not None:
        return value.found
    if len(value.flat) > 2 * _MAX_ATTRIBUTES:
        return None
    names = value.flat[::2]
    if like is not None and names == like.names:
        found = Attributes(like.names, value.flat[1::2], like.places)
    else:
        places: dict[str, int] = {}
        for name in names:
            if not isinstance(name, str) or name.startswith("__"):
                return None
            places[name] = len(places)
        if len(places) != len(names):
            return None
        found = Attributes(names, value.flat[1::2], places)
    for part in found.parts:
        if part is LET_GO:
            return None
    # scikit-learn's __setstate__ puts it into a warning: of anything but text it would run the repr.
    version = found.get("_sklearn_version", "")
    if not isinstance(version, str) and not isinstance(version, Text):
        return None
    return found


_MAX_ALTERNATIVES: Final = 4
_MAX_LOOKS: Final = 32
_MAX_PARTS: Final = 16
_MAX_PATTERN: Final = 2000  # characters


def use_class(cls: Global) -> None:
    """Note that an array class was used up by its form: once for every time that it was put on the stack."""
    cls.called += 1
    cls.used |= IMPORT


def note_arguments(origin: Global, args: tuple[Any, ...]) -> None:
    """Keep the arguments of a call that no rule grants, as a pattern; the first few forms are enough."""
    if len(origin.seen_args) < _MAX_ALTERNATIVES and origin.looks < _MAX_LOOKS and len(args) <= _MAX_PARTS:
        origin.looks += 1
        pattern = "[" + ", ".join([pattern_of(arg, 0) for arg in args]) + "]"
        if pattern not in origin.seen_args and len(pattern) <= _MAX_PATTERN:
            origin.seen_args.append(pattern)


def note_state(origin: Global, state: object) -> None:
    """Keep a state that no rule grants, as a pattern: the first that there is, and only its kind where it is long."""
    pattern = pattern_of(state, 0)
    origin.seen_state = pattern if len(pattern) <= _MAX_PATTERN else pattern_of(state, 2)


def pattern_of(value: object, depth: i64) -> str:
    """Return the pattern, as a policy file spells it, of the kind that a value is of."""
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return '"bool"'
    if isinstance(value, int):
        return '"int"'
    if isinstance(value, Float):
        return '"float"'
    if isinstance(value, (str, Text)):
        return '"str"'
    if isinstance(value, Global):
        return '{ global = ["' + value.name + '"] }'
    if isinstance(value, Instance):
        return '{ instance = ["' + value.origin.name + '"] }'
    if isinstance(value, tuple):
        if depth < 2 and len(value) <= _MAX_PARTS:
            return "{ tuple = [" + ", ".join([pattern_of(part, depth + 1) for part in value]) + "] }"
        return '"tuple"'
    if isinstance(value, ADict):
        return '"dict"'
    if isinstance(value, AList):
        return '"list"'
    if isinstance(value, ASet):
        return '"set"'
    if isinstance(value, (Array, Wrapper)):
        return '"array"'
    if isinstance(value, DType):
        return '"dtype"'
    if isinstance(value, Blob) and value.mutable:
        return '"bytearray"'
    return '"bytes"'


def shown(text: str) -> str:
    """Quote text of the artifact for a message: escaped, and of bounded length."""
    quoted = ascii(text[:120])
    return quoted if len(text) <= 120 else quoted + "…"


def describe(value: object) -> str:
    """Name the kind of a value for a message."""
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, int):
        return "an int"
    if isinstance(value, str):
        return "the str " + shown(value)
    if isinstance(value, Text):
        return "a long str" if value.length >= 0 else "a str of a very large container"
    if isinstance(value, Global):
        return value.name
    if isinstance(value, Instance):
        return "an instance of " + value.origin.name
    if isinstance(value, Blob):
        return "a bytearray" if value.mutable else "bytes"
    if isinstance(value, ASet):
        return "a frozenset" if value.frozen else "a set"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, tuple):
        return "a tuple of " + str(len(value))
    if isinstance(value, AList):
        return "a list"
    if isinstance(value, ADict):
        return "a dict"
    if isinstance(value, (Array, Wrapper)):
        return "an array"
    if isinstance(value, DType):
        return "a dtype"
    return "a float"
