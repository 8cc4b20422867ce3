"""The node tables of decision trees and of histogram boosting: whether their nodes are trees, and how deep.

Compiled code follows nodes without looking: from node to child, to a feature of a row, to a set of categories.  Most
tables are small, so their bytes are kept until there are enough to be checked together (`settle`), by few calls of
numpy.  Of a large table only the columns are kept that lead from node to node.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["BATCH", "PIECE", "PREDICTOR", "TREE", "NodeTable", "Watcher", "settle"]

BATCH: Final = 1 << 14  # nodes that are checked together
PIECE: Final = 448 << 11  # bytes to feed at once: a whole number of every guessed item
TREE: Final = ("left_child", "right_child", "feature")  # how the names of a tree's columns begin
PREDICTOR: Final = (
    "value", "count", "feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "gain", "depth", "is_leaf",
    "bin_threshold", "is_categorical", "bitset_idx",
)  # fmt: skip
_WORDS: Final = [("<i8", 0), ("<i8", 8), ("<i8", 16)]
_MAX_NODES: Final = (1 << 31) - 2
_NOT_NARROW: Final = -2
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

    def another(self) -> Watcher:
        """Return one that was fed nothing, for another array of this dtype."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Take the next bytes: a whole number of items."""
        raise NotImplementedError


class NodeTable(Watcher):
    """The nodes of a decision tree or of a histogram predictor.

    What it says is known once `settle` has checked it:

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
        "bitsets",
        "count",
        "depth",
        "features",
        "item",
        "predictor",
        "problem",
        "settled",
        "words",
    )

    def __init__(self, dtype: Any, *, predictor: bool, like: NodeTable | None = None) -> None:
        super().__init__(dtype)
        self.predictor: bool = predictor
        self.count = self.depth = self.features = self.bitsets = 0
        self.problem: str | None = None
        self.settled: bool = False
        self._parts: list[Any] = []  # pieces of the table: bytes, or already columns
        self._waiting: int = 0
        if like is not None:
            self.item: int = like.item
            self.words: bool = like.words
            return
        self.item = dtype.itemsize
        # Whether the columns are the first three of the node, each 8 bytes long, little-endian.
        self.words = (
            not predictor
            and dtype.itemsize % 8 == 0
            and [(dtype.fields[name][0].str, dtype.fields[name][1]) for name in TREE] == _WORDS
        )

    def another(self) -> NodeTable:
        """Return an empty table of this dtype."""
        return NodeTable(self.dtype, predictor=self.predictor, like=self)

    def feed(self, data: bytes) -> None:
        """Take the next nodes."""
        if not data:
            return
        self._parts.append(data)
        self.count += len(data) // self.item
        self._waiting += len(data)
        if self._waiting > PIECE:
            # A large table: keep only what leads from node to node, a quarter of it or less.
            self._parts = [part if not isinstance(part, bytes) else self.compact(part) for part in self._parts]
            self._waiting = 0

    def laid_out_as(self, other: NodeTable) -> bool:
        """Tell whether `compact` takes the bytes of both for nodes of the same kind."""
        return self.dtype is other.dtype or (self.words and other.words and self.item == other.item)

    def parts(self) -> list[Any]:
        """Return the nodes, in pieces: bytes, or columns as `compact` makes them."""
        return self._parts

    def forget(self) -> None:
        """Let go of the nodes."""
        self._parts = []

    def could_go_on_with(self, data: bytes) -> bool:
        """Tell whether these bytes could be nodes of a table, before they are fed."""
        columns = self.compact(data)
        return not _wrong(columns[0], columns[1], columns[2], columns[0] != -1, _MAX_NODES).any()

    def compact(self, data: bytes) -> Any:
        """Return left, right and feature (of a predictor also set of categories, -1 for none) as rows of int32.

        Left is -1 for leaves, and what does not fit int32 is -2: no node and no feature of anything.
        """
        np = _numpy()
        count = len(data) // self.item
        if self.words:
            wide = np.frombuffer(data, "<i8").reshape(count, -1)[:, :3].T
            columns = wide.astype(np.int32, order="C")
            lost = columns != wide
            if lost.any():
                columns[lost] = _NOT_NARROW
            return columns
        nodes = np.frombuffer(data, self.dtype)
        if not self.predictor:
            columns = np.empty((3, count), np.int32)
            for row, name in enumerate(TREE):
                _narrow(nodes[name], columns[row])
            return columns
        columns = np.empty((4, count), np.int32)
        for row, name in enumerate(("left", "right", "feature_idx")):
            _narrow(nodes[name], columns[row])
        leaf = nodes["is_leaf"] != 0
        columns[:3, leaf] = -1
        columns[3] = -1
        asks = (nodes["is_categorical"] != 0) & ~leaf
        if asks.any():
            _narrow(np.where(asks, nodes["bitset_idx"], 0), columns[3])
            columns[3, ~asks] = -1
        return columns


def _narrow(values: Any, out: Any) -> None:
    """Copy integers as int32; those that do not fit become what is no node and no feature of anything."""
    np = _numpy()
    out[:] = np.clip(values, _NOT_NARROW if values.dtype.kind == "i" else 0, _MAX_NODES)


def settle(tables: list[NodeTable]) -> None:
    """Check node tables, all together, because most are small: find their depths and what is wrong with them."""
    sound = []
    for table in tables:
        table.settled = True
        if not table.count:
            table.problem = "it has no root"
        elif table.count >= _MAX_NODES:
            table.problem = "it has more nodes than any tree"
        else:
            sound.append(table)
    for predictor in (False, True):
        _settle([table for table in sound if table.predictor == predictor], predictor)
    for table in tables:
        table.forget()


def _settle(tables: list[NodeTable], predictor: bool) -> None:
    """Check tables of one kind."""
    if not tables:
        return
    np = _numpy()
    columns = _columns(tables)
    left, right, feature = columns[0], columns[1], columns[2]
    counts = np.array([table.count for table in tables])
    starts = np.cumsum(counts) - counts
    inner = left != -1
    wrong = _wrong(left, right, feature, inner, np.repeat(counts.astype(np.int32), counts))
    if wrong.any():
        bad = set((np.searchsorted(starts, np.flatnonzero(wrong), side="right") - 1).tolist())
        for index in bad:
            tables[index].problem = "a node leads outside of the table, or splits on a feature below 0"
        _settle([table for index, table in enumerate(tables) if index not in bad], predictor)
        return
    features = np.maximum.reduceat(feature * inner, starts).tolist()
    bitsets = np.maximum.reduceat(columns[3], starts).tolist() if predictor else [-1] * len(tables)
    depths = _depths(left, right, inner, counts, starts).tolist()
    for table, most, sets, depth in zip(tables, features, bitsets, depths, strict=True):
        table.features = most + 1 if table.count > 1 else 0
        table.bitsets = sets + 1
        table.depth = depth
        if depth < 0:
            table.problem = "its nodes are not one tree"


def _columns(tables: list[NodeTable]) -> Any:
    """Return the columns of all these tables, one after the other; bytes of one dtype are made columns together."""
    np = _numpy()
    pieces: list[Any] = []
    joined: list[bytes] = []
    of: NodeTable = tables[0]
    for table in tables:
        for part in table.parts():
            if joined and not (isinstance(part, bytes) and table.laid_out_as(of)):
                pieces.append(of.compact(b"".join(joined)))
                joined = []
            if isinstance(part, bytes):
                of = table
                joined.append(part)
            else:
                pieces.append(part)
    if joined:
        pieces.append(of.compact(b"".join(joined)))
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)


def _wrong(left: Any, right: Any, feature: Any, inner: Any, ends: Any) -> Any:
    """Return which nodes lead to what is no node but the root, or split on what is no feature."""
    np = _numpy()
    inside = (np.minimum(left, right) >= 1) & (np.maximum(left, right) < ends) & (feature >= 0)
    return inside != inner if not (~inner & (right != -1)).any() else (inside != inner) | (~inner & (right != -1))


def _depths(left: Any, right: Any, inner: Any, counts: Any, starts: Any) -> Any:
    """Return the depth of each tree, -1 where some node is not led to, or by two, or nodes lead in a circle."""
    np = _numpy()
    total = len(left)
    base = np.repeat(starts, counts)
    left, right = left + base, right + base
    parents = np.flatnonzero(inner)
    led = np.zeros(total, np.bool_)
    led[starts] = True
    led[left[parents]] = True
    led[right[parents]] = True
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
    levels = np.full(total, -1, np.int8)
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
