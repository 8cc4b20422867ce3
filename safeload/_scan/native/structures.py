"""Native structures: what compiled code reads and writes memory by, checked before anything is unpickled.

Cython and C code of allowed classes believes the state that it is given: node tables, index arrays, counts and sizes.
For the classes in `NATIVE` the machine says here what calls make and what states set, and is told in words what does
not fit together.  Nothing here can be allowed by a policy.  SECURITY.md lists what is covered.  What cannot be
checked, because it is written as no library writes it, counts as not fitting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from safeload._scan.native import arrow, indexed, trees
from safeload._scan.native.checks import Context, OddError, is_function
from safeload._scan.values import Attributes, Global, Instance, shown

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NATIVE", "Structures"]


class Structures(Context):
    """The native structures of one stream."""

    def __init__(self) -> None:
        super().__init__()
        self.unset = 0  # structures that were made and have no state yet

    def made(self, made: Instance, args: object) -> str | None:
        """Note what was made of a native class, with which arguments if by a call; say what does not fit in them."""
        name = made.origin.name
        made.native = args
        if name in _NEEDS_STATE:
            self.unset += 1
        try:
            if name == indexed.BLOCK:
                indexed.block(made)
            elif name == indexed.MANAGER:
                indexed.block_manager(made)
            elif name == arrow.BUFFER:
                arrow.buffer(made)
            elif name == arrow.ARRAY:
                arrow.array(made)
        except OddError as odd:
            made.native = None
            return str(odd)
        return None

    def built(self, target: Instance, state: object, found: Attributes | None, at: int) -> str | None:
        """Say in words what in the state of a native class does not fit together; None if everything does.

        `found` are the state's attributes, if it is a dict of such.
        """
        name = target.origin.name
        self.target, self.state, self.found, self.at = target, state, found, at
        if name in _NEEDS_STATE:
            self.unset -= 1
        try:
            if found is not None:
                check_functions(found)
            NATIVE[name](self)
        except OddError as odd:
            return str(odd)
        return None


def check_functions(found: Attributes) -> None:
    """Refuse a method of the instance's own, which would come before the class's that checks what it is given."""
    for attribute in _OF_CLASSES:
        if attribute in found:
            raise OddError(f"it sets {shown(attribute)}, which only its class may have")
    for place, value in enumerate(found.parts):
        if isinstance(value, (Global, Instance)) and is_function(value):
            attribute = found.names[place]
            if not _may_be_function(attribute, value):
                raise OddError(f"it sets {shown(attribute)}, which only its class may have")


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
_METRIC: Final = "sklearn.metrics._dist_metrics.newObj"
_NEIGHBOUR_TREES: Final = tuple(f"sklearn.neighbors.{module}.newObj" for module in ("_kd_tree", "_ball_tree"))
_NEEDS_STATE: Final = frozenset((trees.TREE, _METRIC, indexed.BACKED, *_NEIGHBOUR_TREES))


def _may_be_function(attribute: str, value: object) -> bool:
    if attribute in _TAKE_FUNCTIONS:
        return True
    # Histogram boosting is left with it by early stopping: the method itself, as a policy lets getattr find it.
    return attribute == "_raw_predict" and isinstance(value, Instance) and value.origin.name == "builtins.getattr"


def _stateless(_context: Context) -> None:
    raise OddError("it takes no state")


def _names(module: str, *names: str) -> list[str]:
    return [f"{module}.{name}" for name in names]


def _sparse_names(kind: str) -> list[str]:
    modules = (f"scipy.sparse._{kind}", "scipy.sparse._arrays", f"scipy.sparse.{kind}")
    return [f"{module}.{kind}_{suffix}" for module in modules for suffix in ("array", "matrix")]


NATIVE: Final[dict[str, Callable[[Context], None]]] = {
    trees.TREE: trees.tree,
    _METRIC: indexed.metric,
    trees.BIN_MAPPER: trees.bin_mapper,
    **dict.fromkeys(
        _names(
            "sklearn._loss.loss",
            "AbsoluteError", "ExponentialLoss", "HalfBinomialLoss", "HalfGammaLoss", "HalfMultinomialLoss",
            "HalfPoissonLoss", "HalfSquaredError", "HalfTweedieLoss", "HalfTweedieLossIdentity", "HuberLoss",
            "PinballLoss",
        ),
        trees.loss,
    ),
    **dict.fromkeys(
        _names(
            "sklearn.ensemble._gb_losses",
            "BinomialDeviance", "ExponentialLoss", "HuberLossFunction", "LeastAbsoluteError", "LeastSquaresError",
            "MultinomialDeviance", "QuantileLossFunction",
        ),
        trees.loss,
    ),
    trees.DUMMY: trees.dummy,
    trees.DUMMY_REGRESSOR: trees.dummy_regressor,
    **dict.fromkeys(_NEIGHBOUR_TREES, indexed.neighbour_tree),
    **dict.fromkeys(
        _names(
            "sklearn.tree._classes",
            "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor",
        ),
        trees.decision_tree,
    ),
    **dict.fromkeys(
        _names(
            "sklearn.ensemble._forest",
            "ExtraTreesClassifier", "ExtraTreesRegressor", "RandomForestClassifier", "RandomForestRegressor",
            "RandomTreesEmbedding",
        ),
        trees.forest,
    ),
    "imblearn.ensemble._forest.BalancedRandomForestClassifier": trees.forest,
    **dict.fromkeys(
        _names(
            "quantile_forest._quantile_forest", "ExtraTreesQuantileRegressor", "RandomForestQuantileRegressor"
        ),
        trees.forest,
    ),
    "sklearn.ensemble._iforest.IsolationForest": trees.isolation_forest,
    **dict.fromkeys(
        _names("sklearn.ensemble._gb", "GradientBoostingClassifier", "GradientBoostingRegressor"), trees.boosting
    ),
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": trees.predictor_tree,
    **dict.fromkeys(
        _names(
            "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
            "HistGradientBoostingClassifier", "HistGradientBoostingRegressor",
        ),
        trees.histogram_boosting,
    ),
    **dict.fromkeys(
        _names("sklearn.neighbors._classification", "KNeighborsClassifier", "RadiusNeighborsClassifier"),
        indexed.neighbour_classifier,
    ),
    **dict.fromkeys(
        (
            *_names("sklearn.neighbors._regression", "KNeighborsRegressor", "RadiusNeighborsRegressor"),
            *_names("sklearn.neighbors._graph", "KNeighborsTransformer", "RadiusNeighborsTransformer"),
            "sklearn.neighbors._unsupervised.NearestNeighbors",
            "sklearn.neighbors._lof.LocalOutlierFactor",
        ),
        indexed.neighbours,
    ),
    **dict.fromkeys(
        (
            "sklearn.cluster._bisect_k_means.BisectingKMeans",
            *_names("sklearn.cluster._kmeans", "KMeans", "MiniBatchKMeans"),
        ),
        indexed.centers,
    ),
    "sklearn.cluster._bisect_k_means._BisectingTree": indexed.bisecting_tree,
    **dict.fromkeys((*_sparse_names("csr"), *_sparse_names("csc")), indexed.csr),
    indexed.BACKED: indexed.backed,
    **dict.fromkeys(arrow.FRAMES, arrow.stream),
    **dict.fromkeys((arrow.BUFFER, arrow.ARRAY, *arrow.TYPES), _stateless),
    **dict.fromkeys((indexed.BLOCK, indexed.MANAGER, indexed.SLICE), _stateless),
    **dict.fromkeys(_sparse_names("bsr"), indexed.bsr),
    **dict.fromkeys(_sparse_names("coo"), indexed.coo),
    **dict.fromkeys(_sparse_names("dia"), indexed.dia),
    **dict.fromkeys(
        _names("sklearn.svm._classes", "NuSVC", "NuSVR", "OneClassSVM", "SVC", "SVR"), indexed.support_vectors
    ),
}  # fmt: skip
