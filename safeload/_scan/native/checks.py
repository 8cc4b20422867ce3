"""What the checks of native structures ask of a value, and the error that says what does not fit."""

from __future__ import annotations

from typing import Any, Final

from safeload._scan.native.contents import Integers
from safeload._scan.native.nodes import BATCH, NodeTable, Watcher, settle
from safeload._scan.values import GONE, AList, Array, Attributes, Global, Instance

A_NODE: Final = 64  # bytes that a node takes until it was walked, and while it is
_A_WAITING_CHECK: Final = 400  # bytes

# What makes functions, and the classes of the packs whose instances can be called.
_FUNCTIONS: Final = frozenset(
    (
        "builtins.getattr", "builtins.type", "functools.partial",
        "numpy._core._ufunc_reconstruct", "numpy.core._ufunc_reconstruct", "numpy.vectorize",
        "scipy.interpolate._bsplines.BSpline", "scipy.interpolate._bsplines._BSpline",
        "scipy.stats._distn_infrastructure.rv_sample", "scipy.stats._levy_stable.levy_stable_gen",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.model_selection._classification_threshold._CurveScorer",
    )
)  # fmt: skip
_CALLED: Final = (
    "scipy.stats._continuous_distns.", "scipy.stats._discrete_distns.", "sklearn._loss.loss.",
    "sklearn.ensemble._gb_losses.", "sklearn.gaussian_process.kernels.", "sklearn.metrics._scorer.",
)  # fmt: skip


class OddError(ValueError):
    """What a structure has that does not fit together, in words."""


class Bounds:
    """What has to hold of a node table, which is known once it was walked."""

    __slots__ = ()

    def exceeded(self, table: NodeTable) -> str | None:
        """Say in words what of the table does not fit; None if all does."""
        raise NotImplementedError


class Context:
    """The state that a check is asked about, and what the checks of one stream have left to do.

    Most node tables are small, so they are walked many at a time: a check that depends on a table hands in its bounds
    with `later`, and `settled` says which of these do not hold.
    """

    def __init__(self) -> None:
        # The state that is being checked: `target` is the instance that it is set on, `at` the offset of the BUILD.
        self.target: Instance = _NOTHING
        self.state: Any = None
        self.found: Attributes | None = None  # the attributes that the state sets, if it is a dict of attributes
        self.at: int = 0
        self.work: int = 0  # the work of the checks, in opcodes; the machine takes it from here
        # Layouts that a library reads only before some version: (its distribution, that version, what has the layout).
        self.layouts: set[tuple[str, str, str]] = set()
        # The node tables that have not been walked yet, and how many nodes they have.
        self._tables: list[NodeTable] = []
        self._nodes: int = 0
        # The bounds that wait for their table: offset, class, table, bounds.
        self._waiting: list[tuple[int, str, NodeTable, Bounds]] = []

    def attributes(self) -> Attributes:
        """Return the attributes that the state sets.

        Raises:
            OddError: the state is not a dict of attributes.
        """
        if self.found is None:
            raise OddError("its state is not a dict of attributes")
        return self.found

    def later(self, table: NodeTable, bounds: Bounds) -> None:
        """Hold a table to these bounds once it was walked; report at this state and its class if they are exceeded."""
        self._waiting.append((self.at, self.target.origin.name, table, bounds))

    def seen(self, contents: Watcher | None) -> None:
        """Take the contents of an array that has passed; node tables are walked when enough have come."""
        if isinstance(contents, NodeTable):
            self._tables.append(contents)
            self._nodes += contents.count

    @property
    def crowded(self) -> bool:
        """Whether so many nodes are kept that they should be walked."""
        return self._nodes > BATCH

    @property
    def kept(self) -> int:
        """How many bytes are kept until tables are walked, by estimate."""
        return _A_WAITING_CHECK * len(self._waiting) + A_NODE * self._nodes

    def settled(self, finished: bool) -> list[tuple[int, str, str]]:
        """Walk the tables if they are enough, or the last; return (offset, class, problem) for bounds that fail."""
        if not self.crowded and not finished:
            return []
        settle(self._tables)
        self._tables, self._nodes = [], 0
        wrong = []
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            at, name, table, bounds = one
            if not table.settled:
                self._waiting.append(one)
                continue
            text = table.problem or bounds.exceeded(table)
            if text is not None:
                wrong.append((at, name, text))
        return wrong


_NOTHING: Final = Instance(GONE)  # before the first state


def need(holds: bool, text: str) -> None:
    if not holds:
        raise OddError(text)


def is_function(value: object) -> bool:
    """Tell whether it can be called: a function or class by name, or an instance that is known to be one."""
    if isinstance(value, Instance):
        origin = value.origin
        known = origin.makes_functions
        if known is None:
            known = origin.makes_functions = origin.name in _FUNCTIONS or origin.name.startswith(_CALLED)
        return known
    return isinstance(value, Global)


def whole(value: object, what: str) -> int:
    if type(value) is not int:
        raise OddError(f"{what} is not a plain integer")
    return value


def array_of(value: object, what: str, *, dimensions: int | None = None) -> Array:
    if not isinstance(value, Array) or not value.built:
        raise OddError(f"{what} is not an array")
    if dimensions is not None and len(value.shape) != dimensions:
        raise OddError(f"{what} has {len(value.shape)} dimensions instead of {dimensions}")
    return value


def length_of(value: object, what: str) -> int:
    return array_of(value, what, dimensions=1).shape[0]


def integers_of(array: Array, what: str) -> Integers:
    # Nobody indexes by flags: bytes and booleans are read for other ends.
    if not isinstance(array.contents, Integers) or array.dtype.kind != "i":
        raise OddError(f"{what} cannot be checked: its items are not plain integers")
    return array.contents


def check_indices(value: object, what: str, end: int, *, length: int | None = None) -> None:
    """Check an array of indices: all from 0 to before `end`."""
    array = array_of(value, what, dimensions=1)
    if length is not None and array.shape[0] != length:
        raise OddError(f"{what} has {array.shape[0]} items instead of {length}")
    seen = integers_of(array, what)
    if seen.least < 0 or seen.greatest >= end:
        raise OddError(f"{what} has indices from {seen.least} to {seen.greatest} for {end} items")


def instances_of(context: Context, value: object, what: str) -> list[Instance]:
    """Return what a list holds, all of it complete; it cannot change any more."""
    if not isinstance(value, AList):
        raise OddError(f"{what} is not a list")
    value.sealed = True
    context.work += len(value.items)
    for one in value.items:
        if not isinstance(one, Instance) or not one.built:
            raise OddError(f"{what} has an item that is not a complete instance")
    return value.items
