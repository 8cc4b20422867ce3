"""How much of everything an artifact may hold before it is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

__all__ = ["Limits"]


_SIZES: Final = ("max_memory", "max_unpacked")
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?(?:([KMGT])(I?))?B", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an artifact may hold at most; every field is a positive count, sizes in bytes.

    Sizes may also be texts with a unit: "4GB" (1000³ bytes), "512MiB" (1024² bytes).

    With the defaults, a small file is judged within seconds and 256 MiB whatever it holds; a large one may take time in
    proportion to its size on the disk.

    Attributes:
        max_opcodes: pickle opcodes, nested pickles included, however large the file is. What is costly to check (a
            dtype, a large key, a container that a constraint looks into) counts as several.
        min_opcodes: so many opcodes are allowed however small the file is; beyond them, one for every 2 bytes on the
            disk, up to `max_opcodes`.
        max_memory: what checking may keep in memory of an artifact, by an estimate that errs on the high side.
        max_memo: memoised values of one pickle.
        max_stack: values on the stack that are in no container yet, and marks.
        max_globals: distinct globals that are named.
        max_odd_keys: keys of one dict or set whose hashes are not known before it is loaded, so that they might be made
            to collide: floats and numpy's scalars count one, other instances ten.
        max_nested: arrays of objects, deques and defaultdicts that hold containers or instances: so many could be in
            one another, and dropping one that holds another takes stack, some 2 kB.
        max_unpacked: size of the pickle stream when the artifact is compressed.
        max_ratio: unpacked size over compressed size, enforced beyond 64 MiB; beyond 512 MiB (96 MiB of bz2), a
            twentieth of it.
    """

    max_opcodes: int = 50_000_000
    min_opcodes: int = 5_000_000
    max_memory: int = 160 << 20
    max_memo: int = 50_000_000
    max_stack: int = 1_000_000
    max_globals: int = 10_000
    max_odd_keys: int = 10_000
    max_nested: int = 1_000
    max_unpacked: int = 16 << 30
    max_ratio: int = 2_000

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            max_opcodes: int = ...,
            min_opcodes: int = ...,
            max_memory: int | str = ...,
            max_memo: int = ...,
            max_stack: int = ...,
            max_globals: int = ...,
            max_odd_keys: int = ...,
            max_nested: int = ...,
            max_unpacked: int | str = ...,
            max_ratio: int = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        for name in _SIZES:
            if isinstance(text := getattr(self, name), str):
                object.__setattr__(self, name, _bytes_of(name, text))
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value <= 0:
                raise ValueError(f"{field.name} has to be a positive integer, not {value!r}")

    def tightened(self, other: dict[str, int]) -> Limits:
        """Return these limits, lowered wherever `other` is lower; a policy can only tighten."""
        lower = {name: value for name, value in other.items() if value < getattr(self, name)}
        return replace(self, **lower)

    def for_file(self, size: int) -> Limits:
        """Return these limits for a file of this size on the disk: a small one may not cost seconds."""
        return replace(self, max_opcodes=min(self.max_opcodes, self.min_opcodes + size // 2))


def _bytes_of(name: str, text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f'{name} is a number of bytes, or a text such as "4GB" or "512MiB", not {text[:100]!r}')
    power = 0 if found[2] is None else "KMGT".index(found[2].upper()) + 1
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)
