"""How much of everything an artifact may hold before it is refused."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an artifact may hold at most; every field is a positive count, sizes in bytes.

    Attributes:
        max_opcodes: pickle opcodes, nested pickles included.
        max_memo: memoised values of one pickle.
        max_stack: values on the stack that are in no container yet, and marks.
        max_globals: distinct globals that are named.
        max_unpacked: size of the pickle stream when the artifact is compressed.
        max_ratio: unpacked size over compressed size, enforced beyond 64 MiB unpacked.
    """

    max_opcodes: int = 100_000_000
    max_memo: int = 50_000_000
    max_stack: int = 1_000_000
    max_globals: int = 10_000
    max_unpacked: int = 16 << 30
    max_ratio: int = 2_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value <= 0:
                raise ValueError(f"{field.name} has to be a positive integer, not {value!r}")

    def tightened(self, other: dict[str, int]) -> Limits:
        """Return these limits, lowered wherever `other` is lower; a policy can only tighten."""
        lower = {name: value for name, value in other.items() if value < getattr(self, name)}
        return replace(self, **lower)
