"""What arrays of objects, deques and defaultdicts hold, where that is dropped, hashed or handed out by native code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from safeload._scan.globals import Globals
from safeload._scan.hashing import parts_of
from safeload._scan.ledger import A_SLOT
from safeload._scan.values import ITEMS, LET_GO, ADict, AList, Array, ASet, Instance
from safeload.findings import RefusedError

if TYPE_CHECKING:
    from mypy_extensions import i64

# CPython drops most containers step by step, however deep they nest; these, and arrays of objects, by recursion.
RECURSIVE: Final[frozenset[str]] = frozenset(("collections.defaultdict", "collections.deque"))
_NESTING: Final = "arrays, deques and defaultdicts of containers, which could crash Python"
_FEW_PARTS: Final = 16  # of a tuple, which are looked at each time that it is met
_MAX_FIELDS: Final = 64  # levels of tuples and lists that are the structures of one array


class Objects(Globals):
    """A look at each object of an array, once it is complete."""

    def look_through(self, array: Array, objects: list[Any]) -> None:
        """Note whether the objects of an array are such that pandas must not be given it, and count it if it nests.

        That is a tuple that nests too deep to be hashed, and a dict that could say where an array is: a Series
        answers for `__array_interface__` with its item of that label, and numpy reads and writes wherever that says.
        """
        if array.dtype.names is not None:
            objects = self.fields_of(objects)
        for one in objects:
            if array.odd:
                break
            if isinstance(one, Instance):
                array.odd = takes_items(one)
            elif isinstance(one, tuple):
                parts: i64 = parts_of(one)
                array.odd = parts < 0
                self.spend(parts >> 2)
            elif isinstance(one, ADict):
                array.odd = self.may_say_where(one)
        if any(may_hold(one) for one in objects):
            self.nests()

    def nests(self) -> None:
        """Count what is dropped by recursion together with what it holds: so many could be in one another."""
        self.nesting += 1
        if self.nesting > self.max_nested:
            raise RefusedError("SL505", f"the stream has more than {self.max_nested} {_NESTING} (max_nested)", self.at)

    def fields_of(self, items: list[Any]) -> list[Any]:
        """Return what stands in the fields of structures, which are written as tuples, and rows in these as lists."""
        fields: list[Any] = []
        for _ in range(_MAX_FIELDS):
            inner: list[Any] = []
            for one in items:
                parts: Any = one.items if isinstance(one, AList) else one
                if isinstance(parts, (tuple, list)):
                    self.spend(len(parts))
                    self.memory += A_SLOT * len(parts)  # one tuple may stand for many rows
                    self.check_memory()
                    inner.extend(parts)
                else:
                    fields.append(one)
            self.memory -= A_SLOT * len(inner)
            if not inner:
                return fields
            items = inner
        raise RefusedError(
            "SL505", f"objects of structures are nested in more than {_MAX_FIELDS} levels of tuples", self.at
        )

    def may_say_where(self, one: ADict) -> bool:
        """Tell whether numpy could take this dict for an array interface; it cannot without a type."""
        one.sealed = True
        self.spend(len(one.flat) >> 3)
        return any(key == "typestr" if isinstance(key, str) else is_text(key) for key in one.flat[::2])


def takes_items(made: Instance) -> bool:
    """Tell whether it may be a dict: one that is made with its items, or that a policy lets have any."""
    grant = made.origin.grant
    return made.origin.name == "collections.Counter" or (grant is not None and grant.roles & ITEMS != 0)


def may_hold(value: object) -> bool:
    """Tell whether it may hold what is dropped by recursion: a container or instance, but a tuple of plain values."""
    if isinstance(value, tuple):
        return len(value) > _FEW_PARTS or any(isinstance(part, tuple) or may_hold(part) for part in value)
    if isinstance(value, Instance):
        return not value.scalar
    return isinstance(value, (Array, AList, ASet, ADict))


def is_text(key: object) -> bool:
    """Tell whether it equals a str, and which is not known: a text of numpy's, or one that was let go."""
    return key is LET_GO or (isinstance(key, Instance) and key.text)
