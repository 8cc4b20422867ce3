"""Native structures: what compiled code reads and writes memory by, checked before anything is unpickled.

Cython and C code of allowed classes believes the state that it is given: node tables, index arrays, counts and sizes.
So a class may have a native check: it looks at the arguments that an instance is made with, and at its state, and says
in words what does not fit together.  SECURITY.md lists what is covered.  State that no library writes this way cannot
be checked, and counts as not fitting.

A class gets its check by its name, in one of two ways:

- `BOUND` has the classes of scikit-learn and scipy.  No policy can change or remove these.
- A rule of a policy names one of `CHECKS`.  The rules of the packs that ship always apply, whatever policy is in force.
"""

from __future__ import annotations

import sys
from typing import Final

from safeload._scan.native import arrow, indexed, trees
from safeload._scan.native.checks import Context, OddError, is_function
from safeload._scan.values import Attributes, Check, Global, Instance, shown

__all__ = ["BOUND", "CHECKS", "OWN", "Structures"]


class Structures(Context):
    """The native structures of one stream."""

    def __init__(self) -> None:
        super().__init__()
        self.unset = 0  # structures that were made and have no state yet

    def made(self, check: Check, made: Instance, args: object) -> str | None:
        """Keep the arguments of a call (None of a NEWOBJ) with what it made; say in words what does not fit in them."""
        made.native = args
        if check.needs_state:
            self.unset += 1
        if check.made is None:
            return None
        try:
            check.made(made)
        except OddError as odd:
            made.native = None
            return str(odd)
        return None

    def built(self, check: Check, target: Instance, state: object, found: Attributes | None, at: int) -> str | None:
        """Say in words what in a state does not fit together; None if everything does.

        `found` are the state's attributes, if it is a dict of attributes.
        """
        self.target, self.state, self.found, self.at = target, state, found, at
        if check.needs_state:
            self.unset -= 1
        try:
            if found is not None:
                check_functions(found)
            if check.state is None:
                raise OddError("it takes no state")
            check.state(self)
        except OddError as odd:
            return str(odd)
        return None


def check_functions(found: Attributes) -> None:
    """Refuse a method of the instance's own, which would come before the class's that checks what it is given."""
    for attribute in _OF_CLASSES:
        if attribute in found:
            raise OddError(f"it sets {shown(attribute)}, which only its class may set")
    for place, value in enumerate(found.parts):
        if isinstance(value, (Global, Instance)) and is_function(value):
            attribute = found.names[place]
            if not _may_be_function(attribute, value):
                raise OddError(f"it sets {shown(attribute)}, which only its class may set")


# Which way a method takes, never in the state of an honest one.
_OF_CLASSES: Final = frozenset(("_estimator_type", "_in_fit"))
# The attributes that may be a function: parameters, and what was made of them.
_TAKE_FUNCTIONS: Final = frozenset(
    (
        "kernel", "metric", "effective_metric_", "weights", "oob_score", "scoring", "_scorer", "init",
        "sampling_strategy", "_sampling_strategy", "categorical_features", "loss", "_loss",
        "_kmeans_single",
    )
)  # fmt: skip


def _may_be_function(attribute: str, value: object) -> bool:
    if attribute in _TAKE_FUNCTIONS:
        return True
    # Histogram boosting is left with it by early stopping: the method itself, as a policy lets getattr find it.
    return attribute == "_raw_predict" and isinstance(value, Instance) and value.origin.name == "builtins.getattr"


def _names(module: str, *names: str) -> list[str]:
    return [f"{module}.{name}" for name in names]


def _sparse_names(kind: str) -> list[str]:
    modules = (f"scipy.sparse._{kind}", "scipy.sparse._arrays", f"scipy.sparse.{kind}")
    return [f"{module}.{kind}_{suffix}" for module in modules for suffix in ("array", "matrix")]


# The libraries whose classes the scanner binds to checks itself: no rule may name a check for one of them.
OWN: Final = frozenset(sys.stdlib_module_names) | frozenset(("joblib", "numpy", "scipy", "sklearn"))

_DECISION_TREE: Final[Check] = Check(trees.decision_tree)
_FOREST: Final[Check] = Check(trees.forest)
_ISOLATION_FOREST: Final[Check] = Check(trees.isolation_forest)
_HISTOGRAM_BOOSTING: Final[Check] = Check(trees.histogram_boosting)
_LOSS: Final[Check] = Check(trees.loss)
_NEIGHBOUR_TREE: Final[Check] = Check(indexed.neighbour_tree, needs_state=True)
_NEIGHBOURS: Final[Check] = Check(indexed.neighbours)
_NEIGHBOUR_CLASSIFIER: Final[Check] = Check(indexed.neighbour_classifier)
_CENTERS: Final[Check] = Check(indexed.centers)

# The checks that a rule may name; docs/reference/packs.md says what each is for.
CHECKS: Final[dict[str, Check]] = {
    "arrow-array": arrow.ARRAY,
    "arrow-buffer": arrow.BUFFER,
    "arrow-stream": arrow.STREAM,
    "arrow-timestamp": arrow.TIMESTAMP,
    "arrow-type": arrow.TYPE,
    "centers": _CENTERS,
    "decision-tree": _DECISION_TREE,
    "forest": _FOREST,
    "frame-block": indexed.BLOCK,
    "frame-blocks": indexed.BLOCKS,
    "histogram-boosting": _HISTOGRAM_BOOSTING,
    "isolation-forest": _ISOLATION_FOREST,
    "neighbour-classifier": _NEIGHBOUR_CLASSIFIER,
    "neighbours": _NEIGHBOURS,
    "typed-array": indexed.TYPED_ARRAY,
}

BOUND: Final[dict[str, Check]] = {
    trees.TREE: Check(trees.tree, needs_state=True),
    "sklearn.metrics._dist_metrics.newObj": Check(indexed.metric, needs_state=True),
    trees.BIN_MAPPER: Check(trees.bin_mapper),
    **dict.fromkeys(
        _names(
            "sklearn._loss.loss",
            "AbsoluteError", "ExponentialLoss", "HalfBinomialLoss", "HalfGammaLoss", "HalfMultinomialLoss",
            "HalfPoissonLoss", "HalfSquaredError", "HalfTweedieLoss", "HalfTweedieLossIdentity", "HuberLoss",
            "PinballLoss",
        ),
        _LOSS,
    ),
    **dict.fromkeys(
        _names(
            "sklearn.ensemble._gb_losses",
            "BinomialDeviance", "ExponentialLoss", "HuberLossFunction", "LeastAbsoluteError", "LeastSquaresError",
            "MultinomialDeviance", "QuantileLossFunction",
        ),
        _LOSS,
    ),
    trees.DUMMY: Check(trees.dummy),
    trees.DUMMY_REGRESSOR: Check(trees.dummy_regressor),
    "sklearn.neighbors._ball_tree.newObj": _NEIGHBOUR_TREE,
    "sklearn.neighbors._kd_tree.newObj": _NEIGHBOUR_TREE,
    **dict.fromkeys(
        _names(
            "sklearn.tree._classes",
            "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor",
        ),
        _DECISION_TREE,
    ),
    **dict.fromkeys(
        _names(
            "sklearn.ensemble._forest",
            "ExtraTreesClassifier", "ExtraTreesRegressor", "RandomForestClassifier", "RandomForestRegressor",
            "RandomTreesEmbedding",
        ),
        _FOREST,
    ),
    "sklearn.ensemble._iforest.IsolationForest": _ISOLATION_FOREST,
    **dict.fromkeys(
        _names("sklearn.ensemble._gb", "GradientBoostingClassifier", "GradientBoostingRegressor"), Check(trees.boosting)
    ),
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": Check(trees.predictor_tree),
    **dict.fromkeys(
        _names(
            "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
            "HistGradientBoostingClassifier", "HistGradientBoostingRegressor",
        ),
        _HISTOGRAM_BOOSTING,
    ),
    **dict.fromkeys(
        _names("sklearn.neighbors._classification", "KNeighborsClassifier", "RadiusNeighborsClassifier"),
        _NEIGHBOUR_CLASSIFIER,
    ),
    **dict.fromkeys(
        (
            *_names("sklearn.neighbors._regression", "KNeighborsRegressor", "RadiusNeighborsRegressor"),
            *_names("sklearn.neighbors._graph", "KNeighborsTransformer", "RadiusNeighborsTransformer"),
            "sklearn.neighbors._unsupervised.NearestNeighbors",
            "sklearn.neighbors._lof.LocalOutlierFactor",
        ),
        _NEIGHBOURS,
    ),
    **dict.fromkeys(
        (
            "sklearn.cluster._bisect_k_means.BisectingKMeans",
            *_names("sklearn.cluster._kmeans", "KMeans", "MiniBatchKMeans"),
        ),
        _CENTERS,
    ),
    "sklearn.cluster._bisect_k_means._BisectingTree": Check(indexed.bisecting_tree),
    **dict.fromkeys((*_sparse_names("csr"), *_sparse_names("csc")), Check(indexed.csr)),
    "builtins.slice": indexed.SLICE,
    **dict.fromkeys(_sparse_names("bsr"), Check(indexed.bsr)),
    **dict.fromkeys(_sparse_names("coo"), Check(indexed.coo)),
    **dict.fromkeys(_sparse_names("dia"), Check(indexed.dia)),
    **dict.fromkeys(
        _names("sklearn.svm._classes", "NuSVC", "NuSVR", "OneClassSVM", "SVC", "SVR"), Check(indexed.support_vectors)
    ),
}  # fmt: skip
