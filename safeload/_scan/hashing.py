"""Keys of dicts and members of sets: only such as hash in bounded time, and not so that they collide without bound.

Texts and bytes hash with a secret of the process.  Of integers, and of tuples of them, anybody can say where a dict
or set will put them, and choose thousands that are all looked for along the same way, so each takes as long as all
before it.  So they are put into a table here as CPython puts them (Objects/dictobject.c, Objects/setobject.c), only
without comparing any, and the steps are counted.  Where the hash is not known before loading, their number is limited.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, final

from safeload._scan.values import ASet, Blob, Float, Global, Instance, Text, describe
from safeload.findings import RefusedError

if TYPE_CHECKING:
    from mypy_extensions import i64

_MAX_PARTS: Final = 64
_MAX_LEVELS: Final = 8  # of tuples in one object of an array
_MOST_PARTS: Final = 1 << 16
_FEW: Final = 256  # so many keys take no time whatever they are
_PATIENCE: Final = 100  # steps for each key, some 200 ns; honest ones take two, rows of powers some 30
_SEVERAL: Final = 10  # how much a key counts that is slow to compare, or has more than 64 bits to choose from
_TOP: Final = (1 << 59) - 1
_RANDOM: Final = 0
_KNOWN: Final = 1
_ODD: Final = 2
_ODD_SLOW: Final = 3


@final
class Keys:
    """The keys of one dict or set, in the order in which they are added."""

    __slots__ = ("hashes", "is_set", "known", "mask", "odd", "steps", "table", "walked")

    def __init__(self, is_set: bool) -> None:
        self.is_set = is_set
        self.odd: i64 = 0
        self.known: i64 = 0
        self.steps: i64 = 0
        self.walked: i64 = 0  # steps, those in smaller tables too
        self.mask: i64 = 7
        self.table = bytearray(8)
        self.hashes = array("q")

    def add(self, key: object, max_odd: i64, at: i64) -> i64:
        """Add one that is no str; return how many opcodes its check is worth.

        Raises: RefusedError SL321.
        """
        work: i64 = 4
        kind: i64 = _KNOWN
        if isinstance(key, bool) or key is None:
            return 1
        if isinstance(key, int):
            # Longer ones could be made to have one hash: Python's hash of an int is its residue.
            if key >= 1 << 64 or key < -(1 << 63):
                raise RefusedError("SL321", "a key is an integer of more than 64 bits", at)
        else:
            kind = kind_of(key, at)
            if isinstance(key, tuple):
                work += 2 * _MAX_PARTS if len(key) > 8 else 24
        if kind == _KNOWN:
            self.known += 1
            if self.known > _FEW:
                walked: i64 = self.walked
                self.place(hash(key), at)
                work += self.walked - walked >> 2
        elif kind != _RANDOM:
            self.odd += 1 if kind == _ODD else _SEVERAL
            if self.odd > max_odd:
                raise RefusedError(
                    "SL321", f"more than {max_odd} keys could have been chosen to collide (max_odd_keys)", at
                )
        return work

    def place(self, hashed: i64, at: i64) -> None:
        """Put one more into the table, which grows as CPython's do."""
        count: i64 = len(self.hashes)
        self.hashes.append(hashed)
        size: i64 = self.mask + 1
        if (count + 1) * 5 >= self.mask * 3 if self.is_set else (count + 1) * 3 > size * 2:
            wanted: i64 = count * 3
            if self.is_set:
                wanted = count * 2 if count > 50_000 else count * 4
            while size <= wanted:
                size *= 2
            self.table = bytearray(size)
            self.mask = size - 1
            self.steps = 0
            for one in self.hashes:
                self.look_for(one, _PATIENCE * (count + _FEW), at)
        else:
            self.look_for(hashed, _PATIENCE * (count + _FEW), at)

    def look_for(self, hashed: i64, most: i64, at: i64) -> None:
        table = self.table
        mask: i64 = self.mask
        index: i64 = hashed & mask
        steps: i64 = 0
        perturb: i64 = (hashed >> 5) & _TOP  # as an unsigned number shifts
        while table[index]:
            steps += 1
            if self.is_set and index + 9 <= mask:
                last: i64 = index + 9
                look: i64 = index
                while look < last and table[look]:
                    look += 1
                    steps += 1
                if not table[look]:
                    index = look
                    break
            index = (index * 5 + perturb + 1) & mask
            perturb >>= 5
            if self.steps + steps > most:
                raise RefusedError("SL321", "the hashes of the keys collide too often", at)
        table[index] = 1
        self.steps += steps
        self.walked += steps


def kind_of(key: object, at: i64) -> i64:
    """Say what is known of the hash of a key that is no str, int, bool or None."""
    if isinstance(key, (bytes, str, Text)):
        return _RANDOM
    if isinstance(key, Blob):
        if key.mutable:
            raise RefusedError("SL321", f"a key is {describe(key)}", at)
        return _RANDOM
    if isinstance(key, Float):
        return _ODD
    if isinstance(key, Instance):
        if key.text:
            return _RANDOM
        return _ODD if key.scalar else _ODD_SLOW
    return kind_of_parts(key, at)


def kind_of_parts(key: object, at: i64) -> i64:
    pending: list[object] = [key]
    seen: i64 = 0
    kind: i64 = _KNOWN
    while pending:
        value = pending.pop()
        seen += 1
        if seen > 2 * _MAX_PARTS:
            raise RefusedError("SL321", "a key is too large to hash", at)
        if isinstance(value, tuple):
            if len(value) > _MAX_PARTS or seen > _MAX_PARTS:
                raise RefusedError("SL321", "a key is a tuple that is too large to hash", at)
            pending.extend(value)
        elif value is None or isinstance(value, (bool, str, bytes)):
            continue
        elif isinstance(value, int):
            if value >= 1 << 64 or value < -(1 << 63):
                raise RefusedError("SL321", "a key is an integer of more than 64 bits", at)
        elif isinstance(value, ASet):
            if not value.frozen or len(value.items) > _MAX_PARTS:
                raise RefusedError("SL321", f"a key is {describe(value)}", at)
            kind = _ODD_SLOW
        elif isinstance(value, Blob):
            if value.mutable:
                raise RefusedError("SL321", f"a key is {describe(value)}", at)
            kind = _ODD_SLOW
        elif isinstance(value, (Text, Float, Global, Instance)):
            kind = _ODD_SLOW
        else:
            raise RefusedError("SL321", f"a key is {describe(value)}", at)
    return kind


def parts_of(key: tuple[object, ...]) -> i64:
    """Count what hashing a tuple would visit; -1 if it nests too deep, which crashes, or is too large."""
    level: list[tuple[object, ...]] = [key]
    seen: i64 = 0
    for _ in range(_MAX_LEVELS):
        inner: list[tuple[object, ...]] = []
        for value in level:
            seen += len(value)
            if seen > _MOST_PARTS:
                return -1
            inner.extend([part for part in value if isinstance(part, tuple)])
        if not inner:
            return seen
        level = inner
    return -1
