"""What the checks of native structures ask of a value, and the error that says what does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from safeload._scan.native.contents import Integers
from safeload._scan.values import AList, Array, Global, Instance

if TYPE_CHECKING:
    from safeload._scan.native.nodes import NodeTable
    from safeload._scan.native.structures import Structures


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
        raise OddError(f"{what} is no plain integer")
    return value


def array_of(value: object, what: str, *, dimensions: int | None = None) -> Array:
    if not isinstance(value, Array) or not value.built:
        raise OddError(f"{what} is no array")
    if dimensions is not None and len(value.shape) != dimensions:
        raise OddError(f"{what} has {len(value.shape)} dimensions, not {dimensions}")
    return value


def length_of(value: object, what: str) -> int:
    return array_of(value, what, dimensions=1).shape[0]


def integers_of(array: Array, what: str) -> Integers:
    # Nobody indexes by flags: bytes and booleans are read for other ends.
    if not isinstance(array.contents, Integers) or array.dtype.kind != "i":
        raise OddError(f"{what} are no integers that could be checked")
    return array.contents


def check_indices(value: object, what: str, end: int, *, length: int | None = None) -> None:
    """Check an array of indices: all from 0 to before `end`."""
    array = array_of(value, what, dimensions=1)
    if length is not None and array.shape[0] != length:
        raise OddError(f"{what} has {array.shape[0]} items, not {length}")
    seen = integers_of(array, what)
    if seen.least < 0 or seen.greatest >= end:
        raise OddError(f"{what} goes from {seen.least} to {seen.greatest}, where there are {end}")


def instances_of(structures: Structures, value: object, what: str) -> list[Instance]:
    """Return what a list holds, all of it complete; it cannot change any more."""
    if not isinstance(value, AList):
        raise OddError(f"{what} is no list")
    value.sealed = True
    structures.work += len(value.items)
    for one in value.items:
        if not isinstance(one, Instance) or not one.built:
            raise OddError(f"{what} holds what is not complete")
    return value.items
