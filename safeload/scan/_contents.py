"""What the bytes of an array say, where native code believes them: read once, chunk by chunk, as they pass.

Compiled code indexes memory with the integers of some arrays: index arrays of sparse matrices and neighbour trees, node
tables of decision trees and of histogram boosting.  `watcher_of` gives the summary to feed such an array's bytes to;
`_structures` compares summaries with each other.  Of an array only its summary is kept, and of a node table the
columns that lead from node to node, until some tables can be walked together (`settle`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

__all__ = ["BATCH", "PIECE", "Integers", "NodeTable", "Ranges", "Unclear", "Watcher", "settle", "watcher_of"]

BATCH: Final = 1 << 14  # nodes that are walked together
HELD: Final = 1 << 22  # bytes to keep until the dtype is known that they are of
PIECE: Final = 448 << 11  # bytes to feed at once: a whole number of every guessed item
_SMALL: Final = 256  # bytes of an array that is cheaper to keep than to look at
_TREE: Final = ("left_child", "right_child", "feature")
_TREE_REST: Final = ("threshold", "impurity", "n_node_samples", "weighted_n_node_samples", "missing_go_to_left")
_PREDICTOR: Final = (
    "value", "count", "feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "gain", "depth", "is_leaf",
    "bin_threshold", "is_categorical", "bitset_idx",
)  # fmt: skip
_PREDICTOR_CODES: Final = {
    "left": ("u4",),
    "right": ("u4",),
    "feature_idx": ("i4", "i8", "u4"),  # unsigned before scikit-learn 1.3
    "is_leaf": ("u1",),
    "is_categorical": ("u1",),
    "bitset_idx": ("u4",),
}
_RANGES: Final = ("idx_start", "idx_end", "is_leaf", "radius")
_MAX_NODES: Final = (1 << 31) - 2
_MOST_GUESSED: Final = 3 << 20  # nodes that guesses keep, 16 bytes each; more could be of no table that is allowed
_NOT_NARROW: Final = -2
_WORDS: Final = [("<i8", 0), ("<i8", 8), ("<i8", 16)]
_MOST_TO_ADD: Final = 1 << 16
_MAX_LEVELS: Final = 128
_MAX_DOUBLINGS: Final = 33


def _numpy() -> Any:
    """Return numpy, which is imported for the first artifact and not before."""
    import numpy as np

    return np


class Watcher:
    """What is fed the bytes of one array, in whole items."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def feed(self, data: bytes) -> None:
        """Take the next bytes: a whole number of items."""
        raise NotImplementedError


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


class NodeTable(Watcher):
    """The nodes of a decision tree or of a histogram predictor.

    What it says is known once `settle` has walked it:

    Attributes:
        count: how many nodes there are.
        problem: in words, why the nodes are not one tree with its root first; None if they are.
        depth: how many steps lead from the root to the deepest leaf.
        features: one more than the greatest feature that a node splits on.
        bitsets: one more than the greatest set of categories that a node asks for.
    """

    __slots__ = (
        "_parts",
        "_waiting",
        "_words",
        "bitsets",
        "count",
        "depth",
        "features",
        "predictor",
        "problem",
        "settled",
    )

    def __init__(self, dtype: Any, *, predictor: bool) -> None:
        super().__init__(dtype)
        self.predictor = predictor
        self.count = self.depth = self.features = self.bitsets = 0
        self.problem: str | None = None
        self.settled = False
        self._parts: list[Any] = []  # pieces of the table: bytes, or already columns
        self._waiting = 0
        self._words = (
            not predictor
            and dtype.itemsize % 4 == 0
            and [(dtype.fields[name][0].str, dtype.fields[name][1]) for name in _TREE] == _WORDS
        )

    def feed(self, data: bytes) -> None:
        if not data:
            return
        self._parts.append(data)
        self.count += len(data) // self.dtype.itemsize
        self._waiting += len(data)
        if self._waiting > PIECE:
            self.columns()  # a large table: keep only what leads from node to node, a quarter of it or less

    def columns(self) -> list[Any]:
        """Return (left, right, feature, set of categories) of the nodes as int32, in pieces; left is -1 for leaves."""
        self._waiting = 0
        self._parts = [part if not isinstance(part, bytes) else self._compact(part) for part in self._parts]
        return self._parts

    def forget(self) -> None:
        """Let go of the nodes."""
        self._parts = []

    def could_go_on_with(self, data: bytes) -> bool:
        """Tell whether these bytes could be nodes of a table, before they are fed."""
        left, right, feature, _ = self._compact(data)
        return not _wrong(left, right, feature, left != -1, _MAX_NODES).any()

    def _compact(self, data: bytes) -> Any:
        np = _numpy()
        count = len(data) // self.dtype.itemsize
        columns = np.empty((4, count), np.int32)
        if self.predictor:
            nodes = np.frombuffer(data, self.dtype)
            for row, name in enumerate(("left", "right", "feature_idx")):
                _narrow(nodes[name], columns[row])
            leaf = nodes["is_leaf"] != 0
            columns[:3, leaf] = -1
            columns[3] = -1
            asks = nodes["is_categorical"] != 0
            if asks.any():
                _narrow(np.where(asks & ~leaf, nodes["bitset_idx"], 0), columns[3])
                columns[3, leaf | ~asks] = -1
            return columns
        columns[3] = -1
        if self._words:
            # The three columns are the first of the node, each 8 bytes long, little-endian: copy both halves at once.
            words = np.frombuffer(data, "<i4").reshape(count, -1)[:, :6].T.copy()
            columns[:3] = words[::2]
            if (words[1::2] != words[::2] >> 31).any():
                columns[:, (words[1::2] != words[::2] >> 31).any(axis=0)] = _NOT_NARROW
        else:
            nodes = np.frombuffer(data, self.dtype)
            for row, name in enumerate(_TREE):
                _narrow(nodes[name], columns[row])
        return columns


def _narrow(values: Any, out: Any) -> None:
    """Copy integers as int32; those that do not fit become what is no node and no feature of anything."""
    np = _numpy()
    out[:] = np.clip(values, _NOT_NARROW if values.dtype.kind == "i" else 0, _MAX_NODES)


def settle(tables: list[NodeTable]) -> None:
    """Walk node tables, all together, because most are small: find their depths and what is wrong with them."""
    np = _numpy()
    for table in tables:
        table.settled = True
        if not table.count:
            table.problem = "it has no root"
        elif table.count >= _MAX_NODES:
            table.problem = "it has more nodes than any tree"
    tables = [table for table in tables if table.problem is None]
    if not tables:
        return
    pieces = [piece for table in tables for piece in table.columns()]
    left, right, feature, bitset = pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)
    counts = np.array([table.count for table in tables])
    starts = np.cumsum(counts) - counts
    inner = left != -1
    wrong = _wrong(left, right, feature, inner, np.repeat(counts.astype(np.int32), counts))
    if wrong.any():
        bad = set((np.searchsorted(starts, np.flatnonzero(wrong), side="right") - 1).tolist())
        for index in bad:
            tables[index].problem = "a node leads to what is no node of the table, or splits on a feature below 0"
        settle([table for index, table in enumerate(tables) if index not in bad])
    else:
        features = np.maximum.reduceat(feature * inner, starts)
        bitsets = np.maximum.reduceat(bitset, starts)
        depths = _depths(left, right, inner, counts, starts)
        for index, table in enumerate(tables):
            table.features = int(features[index]) + 1 if table.count > 1 else 0
            table.bitsets = int(bitsets[index]) + 1
            table.depth = int(depths[index])
            if table.depth < 0:
                table.problem = "its nodes are not one tree"
    for table in tables:
        table.forget()


def _wrong(left: Any, right: Any, feature: Any, inner: Any, ends: Any) -> Any:
    """Return which nodes lead to what is no node but the root, or split on what is no feature."""
    np = _numpy()
    inside = (np.minimum(left, right) >= 1) & (np.maximum(left, right) < ends) & (feature >= 0)
    return inside != inner if not (~inner & (right != -1)).any() else (inside != inner) | (~inner & (right != -1))


def _depths(left: Any, right: Any, inner: Any, counts: Any, starts: Any) -> Any:
    """Return the depth of each tree, -1 where some node is not led to, or by two, or nodes lead in a circle."""
    np = _numpy()
    total = len(left)
    base = np.repeat(starts.astype(np.int32), counts)
    left, right = left + base, right + base
    parents = np.flatnonzero(inner)
    led = np.zeros(total, np.bool_)
    led[left[parents]] = True
    led[right[parents]] = True
    led[starts] = True
    if 2 * len(parents) != total - len(counts) or not led.all():
        # Some are not trees; the others have as many leads as nodes but the root, and every node is led to.
        leads = np.add.reduceat(inner.astype(np.int64), starts)
        reached = np.add.reduceat(led.astype(np.int64), starts)
        sound = (2 * leads == counts - 1) & (reached == counts)
        depths = np.full(len(counts), -1)
        kept = np.repeat(sound, counts)
        if sound.any():
            fewer = counts[sound]
            depths[sound] = _depths(
                (left - base)[kept], (right - base)[kept], inner[kept], fewer, np.cumsum(fewer) - fewer
            )
        return depths
    # Every node but the roots has exactly one parent, so no level is larger than what is left.
    levels = np.full(total, -1, np.int32)
    frontier = starts
    for level in range(_MAX_LEVELS):
        levels[frontier] = level
        frontier = frontier[inner[frontier]]
        if not len(frontier):
            break
        frontier = np.concatenate((left[frontier], right[frontier]))
    else:
        return _deep(left, right, parents, counts, starts)
    # What was not reached leads in a circle.
    return np.where(np.minimum.reduceat(levels, starts) < 0, -1, np.maximum.reduceat(levels, starts))


def _deep(left: Any, right: Any, parents: Any, counts: Any, starts: Any) -> Any:
    """Return the depth of each tree, -1 of those with circles, by doubling: chains would have too many levels."""
    np = _numpy()
    root = np.repeat(starts, counts)
    parent = root.copy()
    parent[left[parents]] = parents
    parent[right[parents]] = parents
    steps = np.ones(len(left), np.int64)
    steps[starts] = 0
    for _ in range(_MAX_DOUBLINGS):
        if (parent == root).all():
            break
        steps += steps[parent]
        parent = parent[parent]
    return np.where(np.logical_or.reduceat(parent != root, starts), -1, np.maximum.reduceat(steps, starts))


class Unclear:
    """Long bytes whose dtype comes later in the stream.

    Up to a length they are kept until it is known; longer ones are read as every array that they could be.
    """

    __slots__ = ("_held", "_length", "_watchers")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._length = 0
        self._watchers: list[Watcher] | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
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

    def settle(self, dtype: Any) -> Watcher | None:
        """Return what the bytes say as an array of this dtype; None where that does not matter or cannot be told."""
        watchers = [watcher_of(dtype)] if self._watchers is None else self._watchers
        held, self._held, self._watchers = b"".join(self._held), [], []
        for watcher in watchers:
            if watcher is not None and watcher.dtype == dtype and len(held) % dtype.itemsize == 0:
                watcher.feed(held)
                return watcher
        return None


@lru_cache(maxsize=1)
def _guessed() -> tuple[Any, ...]:
    np = _numpy()
    tree = [(name, "<i8") for name in _TREE]
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
    np = _numpy()
    names = dtype.names
    if names is None:
        # Flags (booleans and bytes) are asked whether any is set.
        known = dtype.kind == "b" or (dtype.kind == "i" and dtype.itemsize >= 4) or dtype == np.uint8
        return Integers(dtype) if known else None
    if names[:3] == _TREE:
        return NodeTable(dtype, predictor=False) if all(_is(dtype[name], ("i4", "i8")) for name in _TREE) else None
    if names == _RANGES:
        return Ranges(dtype) if all(_is(dtype[name], ("i4", "i8")) for name in _RANGES[:3]) else None
    if names == _PREDICTOR and all(_is(dtype[name], codes) for name, codes in _PREDICTOR_CODES.items()):
        return NodeTable(dtype, predictor=True)
    return None


def _is(dtype: Any, codes: tuple[str, ...]) -> bool:
    return dtype.kind + str(dtype.itemsize) in codes
