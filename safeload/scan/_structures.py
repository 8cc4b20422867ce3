"""Native structures: what compiled code reads and writes memory by, checked before anything is unpickled.

Cython and C code of allowed classes believes the state that it is given: node tables, index arrays, counts and sizes.
For the classes in `NATIVE` the machine says here what calls make and what states set, and is told in words what does
not fit together.  Nothing here can be allowed by a policy.  SECURITY.md lists what is covered.  What cannot be
checked, because it is written as no library writes it, counts as not fitting.

Most node tables are small, so they are walked many at a time: what depends on that is said by `settled`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from safeload.scan._contents import BATCH, Integers, NodeTable, Ranges, Watcher, settle
from safeload.scan.values import AList, Array, Float, Global, Instance, attributes

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["A_NODE", "NATIVE", "Structures", "trees_among"]


A_NODE: Final = 64  # bytes that a node takes until it was walked, and while it is


class OddError(ValueError):
    """What a structure has that does not fit together, in words."""


class Structures:
    """The native structures of one stream."""

    def __init__(self) -> None:
        self.unset = 0  # structures that were made and have no state yet
        self.work = 0  # what was looked at, in opcodes; the machine takes it from here
        self._tables: list[NodeTable] = []
        self._nodes = 0
        # What can be said once tables are walked: where, of whom, of which table, and what has to hold.
        self._waiting: list[tuple[int, str, NodeTable, Callable[[NodeTable], str | None]]] = []

    def seen(self, contents: Watcher | None) -> None:
        """Take what an array's bytes say, once they have passed; node tables are walked when enough have come."""
        if isinstance(contents, NodeTable):
            self._tables.append(contents)
            self._nodes += contents.count

    def made(self, made: Instance, args: object) -> None:
        """Note what was made of a native class, and the arguments if it was by a call."""
        made.native = args
        if made.origin.name in _NEEDS_STATE:
            self.unset += 1

    def built(self, target: Instance, state: object, at: int) -> str | None:
        """Say in words what in the state of a native class does not fit together; None if everything does."""
        name = target.origin.name
        if name in _NEEDS_STATE:
            self.unset -= 1
        try:
            NATIVE[name](self, target, state, at)
        except OddError as odd:
            return str(odd)
        return None

    def later(self, at: int, name: str, table: NodeTable, check: Callable[[NodeTable], str | None]) -> None:
        """Have something checked about a table once it was walked."""
        self._waiting.append((at, name, table, check))

    @property
    def crowded(self) -> bool:
        """Whether so many nodes are kept that they should be walked."""
        return self._nodes > BATCH

    @property
    def kept(self) -> int:
        """How many bytes are kept until tables are walked, by estimate."""
        return 400 * len(self._waiting) + A_NODE * self._nodes

    def settled(self, finished: bool) -> list[tuple[int, str, str]]:
        """Walk the tables if they are enough, or the last; return (offset, class, what is wrong) of those that are."""
        if not self.crowded and not finished:
            return []
        settle(self._tables)
        self._tables, self._nodes = [], 0
        wrong = []
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            at, name, table, check = one
            if not table.settled:
                self._waiting.append(one)
                continue
            text = table.problem or check(table)
            if text is not None:
                wrong.append((at, name, text))
        return wrong


# ----------------------------------------------------------------------------------------------- what states hold


def _need(holds: bool, text: str) -> None:
    if not holds:
        raise OddError(text)


def _attributes(state: object) -> dict[str, Any]:
    found = attributes(state)
    if found is None:
        raise OddError("its state is no dict of attributes")
    return found


def _int(value: object, what: str) -> int:
    if type(value) is not int:
        raise OddError(f"{what} is no plain integer")
    return value


def _array(value: object, what: str, *, dimensions: int | None = None) -> Array:
    if not isinstance(value, Array) or not value.built:
        raise OddError(f"{what} is no array")
    if dimensions is not None and len(value.shape) != dimensions:
        raise OddError(f"{what} has {len(value.shape)} dimensions, not {dimensions}")
    return value


def _length(value: object, what: str) -> int:
    return _array(value, what, dimensions=1).shape[0]


def _integers(array: Array, what: str) -> Integers:
    if not isinstance(array.contents, Integers):
        raise OddError(f"{what} are no integers that could be checked")
    return array.contents


def _indices(value: object, what: str, end: int, *, length: int | None = None) -> None:
    """Check an array of indices: all from 0 to before `end`."""
    array = _array(value, what, dimensions=1)
    if length is not None and array.shape[0] != length:
        raise OddError(f"{what} has {array.shape[0]} items, not {length}")
    seen = _integers(array, what)
    if seen.least < 0 or seen.greatest >= end:
        raise OddError(f"{what} goes from {seen.least} to {seen.greatest}, where there are {end}")


def _instances(structures: Structures, value: object, what: str) -> list[Instance]:
    """Return what a list holds, all of it complete; it cannot change any more."""
    if not isinstance(value, AList):
        raise OddError(f"{what} is no list")
    value.sealed = True
    structures.work += len(value.items)
    for one in value.items:
        if not isinstance(one, Instance) or not one.built:
            raise OddError(f"{what} holds what is not complete")
    return value.items


# ------------------------------------------------------------------------------------------------------ trees


def _tree(structures: Structures, made: Instance, state: object, at: int) -> None:
    """`Tree(n_features, n_classes, n_outputs)`: predict, apply and decision_path follow nodes; max_depth is room."""
    args = made.native
    _need(isinstance(args, tuple) and len(args) == 3, "it was not made with three arguments")
    features, outputs = _int(args[0], "n_features"), _int(args[2], "n_outputs")
    _need(outputs >= 1 and _length(args[1], "n_classes") >= outputs, "n_classes is shorter than n_outputs")
    found = _attributes(state)
    nodes = _array(found.get("nodes"), "nodes", dimensions=1)
    values = _array(found.get("values"), "values", dimensions=3)
    count, depth = _int(found.get("node_count"), "node_count"), _int(found.get("max_depth"), "max_depth")
    _need(count == nodes.shape[0] == values.shape[0], f"node_count is {count}, nodes and values have other lengths")
    _need(values.shape[1] == outputs and values.shape[2] >= 1, "values has another number of outputs")
    _need(0 <= depth < max(count, 1), f"max_depth is {depth} for {count} nodes")
    table = nodes.contents
    if not isinstance(table, NodeTable) or table.predictor:
        raise OddError("nodes are not written as scikit-learn writes them")

    def holds(table: NodeTable) -> str | None:
        if table.depth > depth:
            return f"nodes lead {table.depth} deep, and max_depth is {depth}"
        if table.features > features:
            return f"a node splits on feature {table.features - 1}, and there are {features}"
        return None

    structures.later(at, made.origin.name, table, holds)
    made.native = ("tree", features)


def _width(estimator: Instance) -> int:
    """Return how many features of each row a fitted decision tree reads."""
    native = estimator.native
    if not (isinstance(native, tuple) and native and native[0] == "tree"):
        raise OddError(f"it holds a {estimator.origin.qualname} in the place of a fitted tree")
    width: int = native[1]
    return width


def _decision_tree(_structures: Structures, made: Instance, state: object, _at: int) -> None:
    """Predict checks rows against n_features_in_, and hands them to tree_ unchecked."""
    found = _attributes(state)
    tree = found.get("tree_")
    if tree is None:
        return
    _need(isinstance(tree, Instance) and tree.built and tree.origin.name == _TREE, "tree_ is no complete Tree")
    width = _width(tree)
    features = _int(found.get("n_features_in_"), "n_features_in_")
    _need(width == features, f"its tree reads {width} features, and n_features_in_ is {features}")
    made.native = ("tree", width)


def _features_of(found: dict[str, Any]) -> int:
    return _int(found.get("n_features_in_"), "n_features_in_")


def trees_among(items: list[Any]) -> int:
    """Return how many features the fitted decision trees read, each of them, that an array of objects holds; or -1."""
    width = -1
    for one in items:
        native = one.native if isinstance(one, Instance) and one.built else None
        if not (isinstance(native, tuple) and native[0] == "tree" and width in (-1, native[1])):
            return -1
        width = native[1]
    return width


def _forest(structures: Structures, _made: Instance, state: object, _at: int) -> None:
    """Check a forest, which checks rows for its first tree alone, or against its own n_features_in_."""
    found = _attributes(state)
    if found.get("estimators_") is None:
        return
    features = _features_of(found)
    for tree in _instances(structures, found["estimators_"], "estimators_"):
        width = _width(tree)
        _need(width == features, f"a tree of it reads {width} features, and n_features_in_ is {features}")


def _isolation_forest(structures: Structures, _made: Instance, state: object, _at: int) -> None:
    """Check the same where each tree gets all features, or those that estimators_features_ lists."""
    found = _attributes(state)
    if found.get("estimators_") is None:
        return
    features = _features_of(found)
    trees = _instances(structures, found["estimators_"], "estimators_")
    chosen = found.get("estimators_features_")
    if not isinstance(chosen, AList) or len(chosen.items) != len(trees):
        raise OddError("estimators_features_ is no list as long as estimators_")
    chosen.sealed = True
    structures.work += len(trees)
    for tree, one in zip(trees, chosen.items, strict=True):
        given = _length(one, "estimators_features_")
        _need(_width(tree) <= given <= features, "a tree of it reads more features than it is given")


def _boosting(_structures: Structures, made: Instance, state: object, _at: int) -> None:
    """predict_stages reads the trees themselves, and writes a column for each of a stage."""
    found = _attributes(state)
    if found.get("estimators_") is None:
        return
    stages = _array(found["estimators_"], "estimators_", dimensions=2)
    features = _features_of(found)
    _need(stages.trees >= 0, "estimators_ holds other than fitted trees that read as many features, each of them")
    _need(stages.trees == features, f"a tree of it reads {stages.trees} features, and n_features_in_ is {features}")
    columns = stages.shape[1]
    if made.origin.qualname == "GradientBoostingClassifier":
        classes = _int(found.get("n_classes_"), "n_classes_")
        wanted = 1 if classes == 2 else classes
    else:
        wanted = 1
    _need(columns == wanted, f"a stage has {columns} trees, not {wanted}")
    _need(found.get("n_trees_per_iteration_", wanted) == wanted, "n_trees_per_iteration_ is another number of trees")
    first = found.get("init_")
    if columns > 1 and isinstance(first, Instance) and first.origin.name == _DUMMY:
        _need(first.native == ("classes", columns), "init_ gives another number of columns")


def _dummy(_structures: Structures, made: Instance, state: object, _at: int) -> None:
    """Keep how many columns its predict_proba has, for the boosting that starts with it."""
    prior = _attributes(state).get("class_prior_")
    if isinstance(prior, Array) and len(prior.shape) == 1:
        made.native = ("classes", prior.shape[0])


def _predictor(structures: Structures, made: Instance, state: object, at: int) -> None:
    """Check a tree of histogram boosting: nodes lead to nodes and to sets of categories."""
    found = _attributes(state)
    nodes = _array(found.get("nodes"), "nodes", dimensions=1)
    table = nodes.contents
    if not isinstance(table, NodeTable) or not table.predictor:
        raise OddError("nodes are not written as scikit-learn writes them")
    sets = min(_bitsets(found.get(f"{kind}_left_cat_bitsets")) for kind in ("raw", "binned"))

    def holds(table: NodeTable) -> str | None:
        if table.bitsets > sets:
            return f"a node asks for set {table.bitsets - 1} of categories, and there are {sets}"
        return None

    structures.later(at, made.origin.name, table, holds)
    made.native = ("predictor", table)


def _bitsets(value: object) -> int:
    array = _array(value, "a set of categories", dimensions=2)
    _need(array.shape[1] == 8, "a set of categories does not have 256 bits")
    return array.shape[0]


def _bin_mapper(_structures: Structures, made: Instance, state: object, _at: int) -> None:
    """Keep of how many features it knows whether they are categorical, and whether any is."""
    flags = _attributes(state).get("is_categorical_")
    if isinstance(flags, Array) and len(flags.shape) == 1 and isinstance(flags.contents, Integers):
        made.native = ("features", flags.shape[0], flags.contents.greatest > 0)


def _histogram_boosting(structures: Structures, made: Instance, state: object, at: int) -> None:
    """Rows are checked against n_features_in_; its predictors look up known categories by feature, too."""
    found = _attributes(state)
    iterations = found.get("_predictors")
    if iterations is None:
        return
    features = _features_of(found)
    mapper = found.get("_bin_mapper")
    native = mapper.native if isinstance(mapper, Instance) and mapper.origin.name == _BIN_MAPPER else None
    known, any_category = (native[1], native[2]) if isinstance(native, tuple) else (0, False)
    if not isinstance(iterations, AList):
        raise OddError("_predictors is no list")
    iterations.sealed = True
    structures.work += len(iterations.items)

    def holds(table: NodeTable) -> str | None:
        if table.features > features:
            return f"a predictor splits on feature {table.features - 1}, and there are {features}"
        if table.bitsets and (not any_category or known < features):
            return "a predictor splits on categories, and _bin_mapper knows of none"
        return None

    # Each list and each table once, however often they stand there.
    distinct = {id(iteration): iteration for iteration in iterations.items}
    tables: dict[int, NodeTable] = {}
    for iteration in distinct.values():
        for predictor in _instances(structures, iteration, "_predictors"):
            one = predictor.native
            if not (isinstance(one, tuple) and one[0] == "predictor"):
                raise OddError("_predictors holds what is no TreePredictor")
            tables[id(one[1])] = one[1]
    for table in tables.values():
        structures.later(at, made.origin.name, table, holds)


# ------------------------------------------------------------------------------------------- neighbours and metrics


def _metric(_structures: Structures, made: Instance, state: object, _at: int) -> None:
    """Keep for rows of which length a distance metric is: it is not asked again."""
    args = made.native
    if not (isinstance(args, tuple) and len(args) == 1 and isinstance(args[0], Global)):
        raise OddError("it was made of no class")
    if not (isinstance(state, tuple) and len(state) == 3 and isinstance(state[0], Float)):
        raise OddError("its state is no tuple of three")
    vector = _length(state[1], "vec")
    matrix = _array(state[2], "mat", dimensions=2).shape
    made.native = ("metric", args[0].qualname.rstrip("0123456789"), vector, matrix)


def _metric_width(metric: object, width: int) -> None:
    native = metric.native if isinstance(metric, Instance) and metric.built else None
    if not (isinstance(native, tuple) and native[0] == "metric"):
        raise OddError("its metric is not complete")
    _, kind, vector, matrix = native
    if kind == "MahalanobisDistance":
        _need(matrix == (width, width), f"its metric is for {matrix[0]} features, and its points have {width}")
    elif kind == "SEuclideanDistance" or (kind == "MinkowskiDistance" and vector):
        _need(vector == width, f"its metric is for {vector} features, and its points have {width}")
    elif kind == "HaversineDistance":
        _need(width == 2, "its metric is for two coordinates")


def _neighbour_tree(_structures: Structures, made: Instance, state: object, _at: int) -> None:
    """Check a KD or ball tree: indices lead to points, nodes to ranges of indices."""
    if not isinstance(state, tuple) or len(state) != 13:
        raise OddError("its state is no tuple of thirteen")
    points, width = _array(state[0], "its points", dimensions=2).shape
    _need(points >= 1 and width >= 1, "it has no points")
    _indices(state[1], "the array of its indices", points, length=points)
    nodes = _array(state[2], "node data", dimensions=1)
    count = nodes.shape[0]
    leaf_size, levels, said = (_int(state[at], "a count of it") for at in (4, 5, 6))
    _need(leaf_size >= 1 and 1 <= levels < 62, "its leaf size or number of levels is odd")
    _need(count == said == (1 << levels) - 1, f"it has {count} nodes, says {said}, and {levels} levels")
    seen = nodes.contents
    if not isinstance(seen, Ranges):
        raise OddError("node data is not written as scikit-learn writes it")
    _need(seen.least >= 0 and seen.greatest <= points and seen.ordered, "a node has points that are not there")
    _need(2 * seen.last_inner + 2 < count, "a node has children that are not there")
    sides = 2 if "_kd_tree" in made.origin.module else 1
    bounds = _array(state[3], "node bounds", dimensions=3).shape
    _need(bounds == (sides, count, width), "node bounds have another shape")
    _metric_width(state[11], width)
    _need(state[12] is None or _length(state[12], "sample weights") == points, "it has other than one weight a point")


def _neighbours(_structures: Structures, _made: Instance, state: object, _at: int) -> None:
    """Scipy reads a matrix VI as wide as the data, whatever its shape is."""
    found = _attributes(state)
    options = found.get("effective_metric_params_")
    if options is None:
        return
    known = attributes(options)
    if known is None:  # a dict of another kind would be read, too
        raise OddError("effective_metric_params_ is no dict of names")
    if "VI" not in known:
        return
    columns = _array(found.get("_fit_X"), "_fit_X", dimensions=2).shape[1]
    shape = _array(known["VI"], "VI", dimensions=2).shape
    _need(shape == (columns, columns), f"VI is {shape[0]} by {shape[1]} for data of {columns} columns")


def _neighbour_classifier(structures: Structures, made: Instance, state: object, at: int) -> None:
    """Predict counts votes by _y in a table as wide as there are classes."""
    _neighbours(structures, made, state, at)
    found = _attributes(state)
    classes, chosen = found.get("classes_"), found.get("_y")
    if not isinstance(classes, Array) or chosen is None:
        return
    seen = _integers(_array(chosen, "_y"), "_y")
    _need(
        seen.least >= 0 and seen.greatest < _length(classes, "classes_"),
        f"_y goes from {seen.least} to {seen.greatest}, and there are {classes.shape[0]} classes",
    )


# ---------------------------------------------------------------------------------------------- sparse matrices


def _matrix_shape(found: dict[str, Any]) -> tuple[int, ...]:
    shape = found.get("_shape")
    if not isinstance(shape, tuple) or not 1 <= len(shape) <= 64:
        raise OddError("its shape is no tuple of sizes")
    for size in shape:
        if _int(size, "its shape") < 0:
            raise OddError("its shape is negative")
    return shape


def _compressed(found: dict[str, Any], rows: int, columns: int, stored: int) -> None:
    _indices(found.get("indices"), "indices", columns, length=stored)
    pointers = _array(found.get("indptr"), "indptr", dimensions=1)
    if pointers.shape[0] != rows + 1:
        raise OddError(f"indptr has {pointers.shape[0]} items for {rows} rows")
    seen = _integers(pointers, "indptr")
    if seen.first != 0 or not seen.rising or seen.last > stored:
        raise OddError(f"indptr does not rise from 0 to at most {stored}")


def _csr(_structures: Structures, made: Instance, state: object, _at: int) -> None:
    found = _attributes(state)
    shape = _matrix_shape(found)
    stored = _length(found.get("data"), "data")
    if len(shape) > 2:
        raise OddError("it has more than two dimensions")
    rows, columns = shape if len(shape) == 2 else (1, shape[0])
    if made.origin.qualname.startswith("csc"):
        rows, columns = columns, rows
    # Room may be left at the end, in both arrays alike or not.
    indices = _length(found.get("indices"), "indices")
    _need(indices == stored, f"it has {stored} values and {indices} indices")
    _compressed(found, rows, columns, stored)
    made.native = ("matrix", shape, stored)


def _bsr(_structures: Structures, _made: Instance, state: object, _at: int) -> None:
    found = _attributes(state)
    shape = _matrix_shape(found)
    stored, high, wide = _array(found.get("data"), "data", dimensions=3).shape
    _need(len(shape) == 2 and high >= 1 and wide >= 1, "its blocks are empty")
    _need(shape[0] % high == 0 and shape[1] % wide == 0, "its shape is no multiple of its blocks")
    _compressed(found, shape[0] // high, shape[1] // wide, stored)


def _coo(_structures: Structures, _made: Instance, state: object, _at: int) -> None:
    found = _attributes(state)
    shape = _matrix_shape(found)
    stored = _length(found.get("data"), "data")
    coords = found.get("coords")
    if coords is None:
        coords = (found.get("row"), found.get("col"))
    if not isinstance(coords, tuple) or len(coords) != len(shape):
        raise OddError("it has other than one array of indices for each dimension")
    for one, size in zip(coords, shape, strict=True):
        _indices(one, "its indices", size, length=stored)


def _dia(_structures: Structures, _made: Instance, state: object, _at: int) -> None:
    found = _attributes(state)
    _need(len(_matrix_shape(found)) == 2, "it does not have two dimensions")
    diagonals = _array(found.get("data"), "data", dimensions=2).shape[0]
    offsets = _length(found.get("offsets"), "offsets")
    _need(offsets == diagonals, f"it has {diagonals} diagonals and {offsets} offsets")


# ------------------------------------------------------------------------------------------------- support vectors


def _support_vectors(_structures: Structures, made: Instance, state: object, _at: int) -> None:
    """Libsvm copies by the number of support vectors and classes, whatever is there."""
    found = _attributes(state)
    if found.get("support_vectors_") is None:
        return
    classify = made.origin.qualname in ("SVC", "NuSVC")
    vectors = found["support_vectors_"]
    dual = found.get("_dual_coef_")
    counts = _array(found.get("_n_support"), "_n_support", dimensions=1)
    classes = counts.shape[0] if classify else 2
    pairs = classes * (classes - 1) // 2
    _need(_length(found.get("_intercept_"), "_intercept_") == pairs, "_intercept_ is not one for each pair of classes")
    for name in ("_probA", "_probB", "probA_", "probB_"):
        if name in found:
            _need(_length(found[name], name) in (0, pairs), f"{name} is not one for each pair of classes")
    if isinstance(vectors, Instance):
        stored = _sparse(vectors, "support_vectors_")[0][0]
        dual_shape, coefficients = _sparse(dual, "_dual_coef_")
        _need(coefficients == (classes - 1) * stored, "_dual_coef_ does not store all that libsvm reads")
    else:
        stored = _array(vectors, "support_vectors_", dimensions=2).shape[0]
        dual_shape = _array(dual, "_dual_coef_", dimensions=2).shape
    support = _length(found.get("support_"), "support_")
    kernel = found.get("kernel")
    if kernel == "precomputed" or not isinstance(kernel, str):
        # Rows are what the kernel gives for each row of the training data; support_ leads to those that count.
        fitted = found.get("shape_fit_")
        rows = _int(fitted[0], "shape_fit_") if isinstance(fitted, tuple) and fitted else 0
        _indices(found["support_"], "support_", rows)
        stored = support
    _need(dual_shape == (classes - 1, stored), "_dual_coef_ has another shape than its support vectors")
    _need(support == stored, "support_ has another length than its support vectors")
    if classify:
        seen = _integers(counts, "_n_support")
        _need(seen.least >= 0 and seen.total == stored, "_n_support does not add up to its support vectors")


def _sparse(matrix: object, what: str) -> tuple[tuple[int, ...], int]:
    """Return the shape of a sparse matrix whose own indices were checked, and how many values it stores."""
    native = matrix.native if isinstance(matrix, Instance) and matrix.built else None
    if not (isinstance(native, tuple) and native[0] == "matrix" and len(native[1]) == 2):
        raise OddError(f"{what} is no complete sparse matrix")
    shape: tuple[int, ...] = native[1]
    stored: int = native[2]
    return shape, stored


_TREE: Final = "sklearn.tree._tree.Tree"
_BIN_MAPPER: Final = "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper"
_DUMMY: Final = "sklearn.dummy.DummyClassifier"
_METRIC: Final = "sklearn.metrics._dist_metrics.newObj"
_NEIGHBOUR_TREES: Final = tuple(f"sklearn.neighbors.{module}.newObj" for module in ("_kd_tree", "_ball_tree"))
_NEEDS_STATE: Final = frozenset((_TREE, _METRIC, *_NEIGHBOUR_TREES))


def _names(module: str, *names: str) -> list[str]:
    return [f"{module}.{name}" for name in names]


def _sparse_names(kind: str) -> list[str]:
    modules = (f"scipy.sparse._{kind}", "scipy.sparse._arrays", f"scipy.sparse.{kind}")
    return [f"{module}.{kind}_{suffix}" for module in modules for suffix in ("array", "matrix")]


NATIVE: Final[dict[str, Callable[[Structures, Instance, object, int], None]]] = {
    _TREE: _tree,
    _METRIC: _metric,
    _BIN_MAPPER: _bin_mapper,
    _DUMMY: _dummy,
    **dict.fromkeys(_NEIGHBOUR_TREES, _neighbour_tree),
    **dict.fromkeys(
        _names(
            "sklearn.tree._classes",
            "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor",
        ),
        _decision_tree,
    ),
    **dict.fromkeys(
        _names(
            "sklearn.ensemble._forest",
            "ExtraTreesClassifier", "ExtraTreesRegressor", "RandomForestClassifier", "RandomForestRegressor",
            "RandomTreesEmbedding",
        ),
        _forest,
    ),
    "imblearn.ensemble._forest.BalancedRandomForestClassifier": _forest,
    **dict.fromkeys(
        _names(
            "quantile_forest._quantile_forest", "ExtraTreesQuantileRegressor", "RandomForestQuantileRegressor"
        ),
        _forest,
    ),
    "sklearn.ensemble._iforest.IsolationForest": _isolation_forest,
    **dict.fromkeys(
        _names("sklearn.ensemble._gb", "GradientBoostingClassifier", "GradientBoostingRegressor"), _boosting
    ),
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": _predictor,
    **dict.fromkeys(
        _names(
            "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
            "HistGradientBoostingClassifier", "HistGradientBoostingRegressor",
        ),
        _histogram_boosting,
    ),
    **dict.fromkeys(
        _names("sklearn.neighbors._classification", "KNeighborsClassifier", "RadiusNeighborsClassifier"),
        _neighbour_classifier,
    ),
    **dict.fromkeys(
        (
            *_names("sklearn.neighbors._regression", "KNeighborsRegressor", "RadiusNeighborsRegressor"),
            *_names("sklearn.neighbors._graph", "KNeighborsTransformer", "RadiusNeighborsTransformer"),
            "sklearn.neighbors._unsupervised.NearestNeighbors",
            "sklearn.neighbors._lof.LocalOutlierFactor",
        ),
        _neighbours,
    ),
    **dict.fromkeys((*_sparse_names("csr"), *_sparse_names("csc")), _csr),
    **dict.fromkeys(_sparse_names("bsr"), _bsr),
    **dict.fromkeys(_sparse_names("coo"), _coo),
    **dict.fromkeys(_sparse_names("dia"), _dia),
    **dict.fromkeys(_names("sklearn.svm._classes", "NuSVC", "NuSVR", "OneClassSVM", "SVC", "SVR"), _support_vectors),
}  # fmt: skip
