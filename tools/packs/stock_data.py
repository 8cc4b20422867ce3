"""What the stock models are fitted on, and how the estimators are found."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from collections.abc import Callable

_RNG = np.random.RandomState(0)
X = _RNG.rand(60, 4)
LABELS = np.array(["no", "yes", "maybe"])[np.arange(60) % 3]
NUMBERS = X @ np.arange(1.0, 5.0)
BINARY = np.arange(60) % 2
MULTI = np.column_stack([BINARY, BINARY[::-1]])
TEXTS = ["the red fox", "a blue whale", "red and blue", "the whale and the fox"] * 5
COUNTS = _RNG.randint(0, 4, (60, 4))

# What the estimators are fitted on, in the order of trying: arguments of fit.
DATA: dict[str, tuple[Any, ...]] = {
    "labels": (X, LABELS),
    "numbers": (X, NUMBERS),
    "binary": (X, BINARY),
    "multi": (X, MULTI),
    "targets": (X, np.column_stack([NUMBERS, NUMBERS])),
    "sparse": (sp.csr_matrix(X), BINARY),
    "counts": (COUNTS, BINARY),
    "line": (X[:, 0], NUMBERS),
    "kernel": (X @ X.T, BINARY),
    "labels only": (LABELS,),
    "label sets": ([["a", "b"], ["b"]],),
    "texts": (TEXTS,),
    "dicts": ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],),
    "objects": (np.array([["a", 1], ["b", 2], ["a", None]], dtype=object),),
    "images": (_RNG.rand(3, 8, 8),),
}


def sk(module: str, name: str) -> Any:
    """Return an attribute of one of scikit-learn's modules."""
    return getattr(importlib.import_module("sklearn." + module), name)


def each(make: Callable[[Any], Any], options: Any) -> list[Any]:
    """Make one model per option, leaving out those that this version refuses."""
    made = []
    for option in options:
        try:
            made.append(make(option))
        except Exception as error:  # noqa: BLE001
            print(f"# left out option {option!r}: {type(error).__name__}: {error}"[:160], file=sys.stderr)
    return made
