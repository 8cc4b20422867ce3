"""What the bytes of an array say, where native code believes them: read once, chunk by chunk, as they pass.

Compiled code indexes memory with the integers of some arrays: index arrays of sparse matrices and neighbour trees, node
tables (`_nodes`) of decision trees and of histogram boosting.  `watcher_of` gives the summary to feed such an array's
bytes to; `_structures` compares summaries with each other.  Of an array only its summary is kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from safeload._scan.native.nodes import PIECE, PREDICTOR, TREE, NodeTable, Watcher

__all__ = ["PIECE", "ArrowStream", "Integers", "Ranges", "Unclear", "Watcher", "integers_in", "watcher_of"]

HELD: Final = 1 << 22  # bytes to keep until the dtype is known that they are of
_SMALL: Final = 256  # bytes of an array that is cheaper to keep than to look at
_TREE_REST: Final = ("threshold", "impurity", "n_node_samples", "weighted_n_node_samples", "missing_go_to_left")
_PREDICTOR_CODES: Final = {
    "left": ("u4",),
    "right": ("u4",),
    "feature_idx": ("i4", "i8", "u4"),  # unsigned before scikit-learn 1.3
    "is_leaf": ("u1",),
    "is_categorical": ("u1",),
    "bitset_idx": ("u4",),
}
_RANGES: Final = ("idx_start", "idx_end", "is_leaf", "radius")
_MOST_GUESSED: Final = 3 << 20  # nodes that guesses keep, 16 bytes each; more could be of no table that is allowed
_MOST_TO_ADD: Final = 1 << 16
_CONTINUES: Final = b"\xff\xff\xff\xff"  # before every message of an Arrow stream
_EXTENSION: Final = b"ARROW:extension"


def _numpy() -> Any:
    """Return numpy, which is imported for the first artifact and not before."""
    import numpy as np

    return np


class Integers(Watcher):
    """The range and order of integers: `least` and `greatest` (0 and -1 if there are none), `first` and `last`.

    `rising` tells whether none is less than the one before it, in the order in which they are stored; `total` is their
    sum, None where it might not fit 64 bits or there are very many.
    """

    __slots__ = ("_data", "_first", "_greatest", "_last", "_least", "_rising", "_total", "count")

    def __init__(self, dtype: Any) -> None:
        super().__init__(dtype)
        self.count = 0
        self._data = b""
        self._least = self._greatest = self._first = self._last = self._total = 0
        self._rising = True

    def another(self) -> Integers:
        """Return one that was fed nothing."""
        return Integers(self.dtype)

    def feed(self, data: bytes) -> None:
        if not self.count and len(data) <= _SMALL and not self._data:
            self._data = data  # looked at when somebody asks: most small arrays are never asked about
            return
        self._settle()
        self._look(data)

    def _settle(self) -> None:
        if self._data:
            data, self._data = self._data, b""
            self._look(data)

    def _look(self, data: bytes) -> None:
        np = _numpy()
        items = np.frombuffer(data, np.uint8 if self.dtype.kind == "b" else self.dtype)
        if not len(items):
            return
        least, greatest, first = int(items.min()), int(items.max()), int(items[0])
        if self.count:
            self._rising = self._rising and self._last <= first
            least, greatest = min(least, self._least), max(greatest, self._greatest)
        else:
            self._first = first
        self._least, self._greatest, self._last = least, greatest, int(items[-1])
        self._rising = self._rising and bool((items[1:] >= items[:-1]).all())
        if self.count + len(items) <= _MOST_TO_ADD:
            self._total += int(items.sum(dtype=np.int64))
        self.count += len(items)

    @property
    def least(self) -> int:
        """The least, 0 if there are none."""
        self._settle()
        return self._least

    @property
    def greatest(self) -> int:
        """The greatest, -1 if there are none."""
        self._settle()
        return self._greatest if self.count else -1

    @property
    def first(self) -> int:
        """The first, 0 if there are none."""
        self._settle()
        return self._first

    @property
    def last(self) -> int:
        """The last, 0 if there are none."""
        self._settle()
        return self._last

    @property
    def rising(self) -> bool:
        """Whether none is less than the one before it."""
        self._settle()
        return self._rising

    @property
    def total(self) -> int | None:
        """The sum; None of integers of 64 bits, whose sum could wrap, and of very many, of which nobody asks it."""
        self._settle()
        return self._total if self.dtype.itemsize < 8 and self.count <= _MOST_TO_ADD else None


class Ranges(Watcher):
    """The node data of a KD or ball tree: which points each node has.

    Attributes:
        least: the least start of a node, 0 if there are none.
        greatest: the greatest end of a node.
        ordered: whether every node starts before it ends, or where.
        last_inner: the index of the last node that is no leaf, -1 if there is none.
    """

    __slots__ = ("count", "greatest", "last_inner", "least", "ordered")

    def __init__(self, dtype: Any) -> None:
        super().__init__(dtype)
        self.count = self.least = self.greatest = 0
        self.last_inner = -1
        self.ordered = True

    def another(self) -> Ranges:
        """Return one that was fed nothing."""
        return Ranges(self.dtype)

    def feed(self, data: bytes) -> None:
        np = _numpy()
        nodes = np.frombuffer(data, self.dtype)
        if not len(nodes):
            return
        starts, ends = nodes["idx_start"], nodes["idx_end"]
        least, greatest = int(starts.min()), int(ends.max())
        self.least = min(least, self.least) if self.count else least
        self.greatest = max(greatest, self.greatest) if self.count else greatest
        self.ordered = self.ordered and bool((starts <= ends).all())
        inner = np.flatnonzero(nodes["is_leaf"] == 0)
        if len(inner):
            self.last_inner = self.count + int(inner[-1])
        self.count += len(nodes)


def integers_in(data: bytes) -> list[Integers]:
    """Return what bytes say as integers of 32 and of 64 bits, of those of which they are whole ones."""
    found: list[Integers] = []
    for dtype in _guessed()[:2]:
        if len(data) % dtype.itemsize == 0:
            found.append(Integers(dtype))
            found[-1].feed(data)
    return found


class ArrowStream:
    """Data of Arrow in its format of streams, which native code makes columns of.

    Attributes:
        begins: whether they begin as such a stream does.
        extends: whether they say, in anything that is not compressed, of which extension type a column is.
    """

    __slots__ = ("_count", "_end", "begins", "extends")

    def __init__(self) -> None:
        self._count = 0
        self._end = b""
        self.begins = self.extends = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._count < len(_CONTINUES):
            head = self._end[: self._count] + data[: len(_CONTINUES)]
            self.begins = head.startswith(_CONTINUES)
        self._count += len(data)
        # What is looked for may stand across the two.
        across = self._end + data[: len(_EXTENSION) - 1]
        self.extends = self.extends or _EXTENSION in across or _EXTENSION in data
        self._end = across[1 - len(_EXTENSION) :] if len(data) < len(_EXTENSION) else data[1 - len(_EXTENSION) :]


class Unclear:
    """Long bytes whose dtype comes later in the stream.

    Up to a length they are kept until it is known; longer ones are read as every array that they could be.  `stream`
    looks at them as data of Arrow, if they may be such.
    """

    __slots__ = ("_held", "_length", "_watchers", "stream")

    def __init__(self, arrow: bool) -> None:
        self._held: list[bytes] = []
        self._length = 0
        self._watchers: list[Watcher] | None = None
        self.stream = ArrowStream() if arrow else None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self.stream is not None:
            self.stream.feed(data)
        self._held.append(data)
        self._length += len(data)
        if self._watchers is None and self._length > HELD:
            self._watchers = [watcher for watcher in map(watcher_of, _guessed()) if watcher is not None]
        if self._watchers is not None and self._length >= PIECE:
            data = b"".join(self._held)
            end = len(data) - len(data) % PIECE
            for start in range(0, end, PIECE):
                self._guess(data[start : start + PIECE], self._watchers)
            self._held = [data[end:]]
            self._length = len(data) - end

    def _guess(self, data: bytes, watchers: list[Watcher]) -> None:
        for watcher in list(watchers):
            if isinstance(watcher, NodeTable) and not watcher.could_go_on_with(data):
                watchers.remove(watcher)  # keeping its columns would cost memory for nothing
            else:
                watcher.feed(data)
        tables = [watcher for watcher in watchers if isinstance(watcher, NodeTable)]
        if sum(table.count for table in tables) > _MOST_GUESSED:
            watchers[:] = [watcher for watcher in watchers if not isinstance(watcher, NodeTable)]

    def integers(self) -> list[Integers]:
        """Return what the bytes say as integers of 32 and of 64 bits, of those of which they are whole ones."""
        held, watchers = b"".join(self._held), self._watchers
        self._held, self._watchers = [], []
        if watchers is None:
            return integers_in(held)
        found: list[Integers] = []
        for one in watchers:
            if isinstance(one, Integers) and len(held) % one.dtype.itemsize == 0:
                one.feed(held)
                found.append(one)
        return found

    def settle(self, watcher: Watcher) -> Watcher | None:
        """Return what the bytes say, in place of a watcher for the dtype they are of; None where it cannot be told."""
        watchers = [watcher] if self._watchers is None else self._watchers
        held, self._held, self._watchers = b"".join(self._held), [], []
        for one in watchers:
            if one.dtype == watcher.dtype and len(held) % watcher.dtype.itemsize == 0:
                one.feed(held)
                return one
        return None


@lru_cache(maxsize=1)
def _guessed() -> tuple[Any, ...]:
    np = _numpy()
    tree = [(name, "<i8") for name in TREE]
    tree += [(name, "<i8" if name == "n_node_samples" else "<f8") for name in _TREE_REST[:4]]
    predictor = [
        ("value", "<f8"), ("count", "<u4"), ("feature_idx", "<i8"), ("num_threshold", "<f8"),
        ("missing_go_to_left", "u1"), ("left", "<u4"), ("right", "<u4"), ("gain", "<f8"), ("depth", "<u4"),
        ("is_leaf", "u1"), ("bin_threshold", "u1"), ("is_categorical", "u1"), ("bitset_idx", "<u4"),
    ]  # fmt: skip
    return (
        np.dtype("<i4"),
        np.dtype("<i8"),
        np.dtype(tree),
        np.dtype([*tree, (_TREE_REST[4], "u1")], align=True),
        np.dtype(predictor),
        np.dtype([(name, "<f8" if name == "radius" else "<i8") for name in _RANGES]),
    )


def watcher_of(dtype: Any) -> Watcher | None:
    """Return what looks at an array of this dtype; None where nobody indexes memory with what it holds."""
    names = dtype.names
    if names is None:
        # Flags (booleans and bytes) are asked whether any is set.
        kind, size = dtype.kind, dtype.itemsize
        return Integers(dtype) if kind == "b" or (kind == "i" and size >= 4) or (kind == "u" and size == 1) else None
    if names[:3] == TREE:
        return NodeTable(dtype, predictor=False) if all(_is(dtype[name], ("i4", "i8")) for name in TREE) else None
    if names == _RANGES:
        return Ranges(dtype) if all(_is(dtype[name], ("i4", "i8")) for name in _RANGES[:3]) else None
    if names == PREDICTOR and all(_is(dtype[name], codes) for name, codes in _PREDICTOR_CODES.items()):
        return NodeTable(dtype, predictor=True)
    return None


def _is(dtype: Any, codes: tuple[str, ...]) -> bool:
    return dtype.kind + str(dtype.itemsize) in codes
