"""Decision trees and what is made of them: what compiled code believes of their states."""

from __future__ import annotations

from typing import Any, Final, final

from safeload._scan.native.checks import Bounds, Context, OddError, array_of, instances_of, length_of, need, whole
from safeload._scan.native.contents import Integers
from safeload._scan.native.nodes import NodeTable
from safeload._scan.values import AList, Array, Instance

TREE: Final = "sklearn.tree._tree.Tree"
BIN_MAPPER: Final = "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper"
DUMMY: Final = "sklearn.dummy.DummyClassifier"
DUMMY_REGRESSOR: Final = "sklearn.dummy.DummyRegressor"
# Without this field, `Tree.__setstate__` of scikit-learn 1.3 and later raises: nothing of the tree is ever used there.
_MISSING: Final = "missing_go_to_left"
_OLD_NODES: Final = ("scikit-learn", "1.3", "nodes of decision trees")
_LINKS: Final = "sklearn._loss.link."
_MULTINOMIAL: Final = frozenset(("HalfMultinomialLoss", "MultinomialDeviance"))


def tree(context: Context) -> None:
    """`Tree(n_features, n_classes, n_outputs)`: predict, apply and decision_path follow nodes; max_depth is room."""
    args = context.target.native
    need(isinstance(args, tuple) and len(args) == 3, "it was not created with three arguments")
    features, outputs = whole(args[0], "n_features"), whole(args[2], "n_outputs")
    need(outputs >= 1 and length_of(args[1], "n_classes") >= outputs, "n_classes is shorter than n_outputs")
    found = context.attributes()
    nodes = array_of(found.get("nodes"), "nodes", dimensions=1)
    values = array_of(found.get("values"), "values", dimensions=3)
    count, depth = whole(found.get("node_count"), "node_count"), whole(found.get("max_depth"), "max_depth")
    # For each of thousands of trees: no text is made if it fits, as an argument of `need` would be.
    if not count == nodes.shape[0] == values.shape[0]:
        raise OddError(f"node_count is {count}, nodes and values have other lengths")
    need(values.shape[1] == outputs and values.shape[2] >= 1, "values does not have n_outputs outputs")
    if not 0 <= depth < max(count, 1):
        raise OddError(f"max_depth {depth} does not fit {count} nodes")
    table = nodes.contents
    if not isinstance(table, NodeTable) or table.predictor:
        raise OddError("nodes are not written as scikit-learn writes them")
    context.later(table, TreeBounds(depth, features))
    if _MISSING not in table.dtype.fields:
        context.layouts.add(_OLD_NODES)
    context.target.native = ("tree", features)


@final
class TreeBounds(Bounds):
    """How deep the nodes of a decision tree may lead, and how many features they may split on."""

    __slots__ = ("depth", "features")

    def __init__(self, depth: int, features: int) -> None:
        self.depth = depth
        self.features = features

    def exceeded(self, table: NodeTable) -> str | None:
        if table.depth > self.depth:
            return f"the nodes are {table.depth} levels deep, and max_depth is {self.depth}"
        if table.features > self.features:
            return f"a node splits on feature {table.features - 1} of {self.features}"
        return None


def _width(estimator: Instance) -> int:
    """Return how many features of each row a fitted decision tree reads."""
    native = estimator.native
    if not (isinstance(native, tuple) and native and native[0] == "tree"):
        raise OddError(f"it holds a {estimator.origin.qualname} in place of a fitted tree")
    width: int = native[1]
    return width


def decision_tree(context: Context) -> None:
    """Predict checks rows against n_features_in_, and hands them to tree_ unchecked."""
    found = context.attributes()
    tree = found.get("tree_")
    if tree is None:
        return
    need(isinstance(tree, Instance) and tree.built and tree.origin.name == TREE, "tree_ is not a complete Tree")
    width = _width(tree)
    features = _features_of(context)
    if width != features:
        raise OddError(f"its tree reads {width} features, and n_features_in_ is {features}")
    context.target.native = ("tree", width)


def _features_of(context: Context) -> int:
    """Return how many features the rows have that an estimator accepts.

    scikit-learn before 0.24 has the number under another name. That is accepted beside nodes of that time, with which
    no supported version loads the artifact.
    """
    found = context.attributes()
    if context.layouts and found.get("n_features_in_") is None:
        return whole(found.get("n_features_"), "n_features_")
    return whole(found.get("n_features_in_"), "n_features_in_")


def trees_among(items: list[Any]) -> int:
    """Return how many features the fitted decision trees read, each of them, that an array of objects holds; or -1."""
    width = -1
    for one in items:
        native = one.native if isinstance(one, Instance) and one.built else None
        if not (isinstance(native, tuple) and native[0] == "tree" and width in (-1, native[1])):
            return -1
        width = native[1]
    return width


def forest(context: Context) -> None:
    """Check a forest, which checks rows for its first tree alone, or against its own n_features_in_."""
    found = context.attributes()
    if found.get("estimators_") is None:
        return
    features = _features_of(context)
    for tree in instances_of(context, found["estimators_"], "estimators_"):
        width = _width(tree)
        if width != features:
            raise OddError(f"a tree of it reads {width} features, and n_features_in_ is {features}")


def isolation_forest(context: Context) -> None:
    """Check the same where each tree gets all features, or those that estimators_features_ lists."""
    found = context.attributes()
    if found.get("estimators_") is None:
        return
    features = _features_of(context)
    trees = instances_of(context, found["estimators_"], "estimators_")
    chosen = found.get("estimators_features_")
    if not isinstance(chosen, AList) or len(chosen.items) != len(trees):
        raise OddError("estimators_features_ is not a list with the length of estimators_")
    chosen.sealed = True
    context.work += len(trees)
    for tree, one in zip(trees, chosen.items, strict=True):
        given = length_of(one, "estimators_features_")
        need(_width(tree) <= given <= features, "one of its trees reads more features than it gets")


def boosting(context: Context) -> None:
    """predict_stages reads the trees themselves, and writes a column for each of a stage."""
    found = context.attributes()
    if found.get("estimators_") is None:
        return
    stages = array_of(found["estimators_"], "estimators_", dimensions=2)
    features = _features_of(context)
    need(stages.trees >= 0, "estimators_ is not a list of fitted trees that read the same number of features")
    need(stages.trees == features, f"its trees read {stages.trees} features, and n_features_in_ is {features}")
    columns = stages.shape[1]
    if context.target.origin.qualname == "GradientBoostingClassifier":
        classes = whole(found.get("n_classes_"), "n_classes_")
        wanted = 1 if classes == 2 else classes
    else:
        wanted = 1
    need(columns == wanted, f"a stage has {columns} trees instead of {wanted}")
    need(found.get("n_trees_per_iteration_", wanted) == wanted, "n_trees_per_iteration_ does not match its trees")
    # What init_ gives goes through the loss, which keeps rows and columns only if it is scikit-learn's own.
    loss = found.get("_loss")
    kind = loss.native if isinstance(loss, Instance) and loss.built else None
    need(loss is None or kind == ("loss", columns > 1), "its loss does not fit its number of trees per stage")
    first = found.get("init_")
    if isinstance(first, Instance) and first.origin.name == DUMMY:
        need(first.native == ("classes", columns if columns > 1 else 2), "init_ gives a wrong number of columns")
    if isinstance(first, Instance) and first.origin.name == DUMMY_REGRESSOR:
        need(first.native == ("outputs", 1), "init_ gives a wrong number of columns, and so of rows")


def loss(context: Context) -> None:
    """Keep whether a loss is of several columns, and check that its link, which they pass, is one that leaves them."""
    found = context.attributes()
    link = found.get("link")
    linked = isinstance(link, Instance) and link.origin.name.startswith(_LINKS)
    need(link is None or linked, "its link is not one of scikit-learn's")
    need("is_multiclass" not in found, "it sets is_multiclass, which only its class may set")
    context.target.native = ("loss", context.target.origin.qualname in _MULTINOMIAL)


def dummy(context: Context) -> None:
    """Keep how many columns its predict_proba has, for the boosting that starts with it."""
    found = context.attributes()
    prior, classes = found.get("class_prior_"), found.get("n_classes_")
    # By strategy, it gives as many columns as the one or the other says.
    if isinstance(prior, Array) and len(prior.shape) == 1 and type(classes) is int and classes == prior.shape[0]:
        context.target.native = ("classes", classes)


def dummy_regressor(context: Context) -> None:
    """Keep how many columns it predicts, for the same."""
    outputs = context.attributes().get("n_outputs_")
    if type(outputs) is int:
        context.target.native = ("outputs", outputs)


def predictor_tree(context: Context) -> None:
    """Check a tree of histogram boosting: nodes lead to nodes and to sets of categories."""
    found = context.attributes()
    nodes = array_of(found.get("nodes"), "nodes", dimensions=1)
    table = nodes.contents
    if not isinstance(table, NodeTable) or not table.predictor:
        raise OddError("nodes are not written as scikit-learn writes them")
    sets = min(_bitsets(found.get("raw_left_cat_bitsets")), _bitsets(found.get("binned_left_cat_bitsets")))
    context.later(table, SetBounds(sets))
    context.target.native = ("predictor", table)


@final
class SetBounds(Bounds):
    """How many sets of categories the nodes of a predictor may ask for."""

    __slots__ = ("sets",)

    def __init__(self, sets: int) -> None:
        self.sets = sets

    def exceeded(self, table: NodeTable) -> str | None:
        if table.bitsets > self.sets:
            return f"a node uses set {table.bitsets - 1} of {self.sets} sets of categories"
        return None


def _bitsets(value: object) -> int:
    array = array_of(value, "a set of categories", dimensions=2)
    need(array.shape[1] == 8, "a set of categories does not have 256 bits")
    return array.shape[0]


def bin_mapper(context: Context) -> None:
    """Keep of how many features it knows whether they are categorical, and whether any is."""
    flags = context.attributes().get("is_categorical_")
    if isinstance(flags, Array) and len(flags.shape) == 1 and isinstance(flags.contents, Integers):
        context.target.native = ("features", flags.shape[0], flags.contents.greatest > 0)


def histogram_boosting(context: Context) -> None:
    """Rows are checked against n_features_in_; its predictors look up known categories by feature, too."""
    found = context.attributes()
    iterations = found.get("_predictors")
    if iterations is None:
        return
    features = _features_of(context)
    mapper = found.get("_bin_mapper")
    native = mapper.native if isinstance(mapper, Instance) and mapper.origin.name == BIN_MAPPER else None
    known, any_category = (native[1], native[2]) if isinstance(native, tuple) else (0, False)
    if not isinstance(iterations, AList):
        raise OddError("_predictors is not a list")
    iterations.sealed = True
    context.work += len(iterations.items)
    bounds = PredictorBounds(features, any_category and known >= features)
    # Each list and each table once, however often they stand there.
    distinct = {id(iteration): iteration for iteration in iterations.items}
    tables: dict[int, NodeTable] = {}
    for iteration in distinct.values():
        for predictor in instances_of(context, iteration, "_predictors"):
            one = predictor.native
            if not (isinstance(one, tuple) and one[0] == "predictor"):
                raise OddError("_predictors has an item that is not a TreePredictor")
            tables[id(one[1])] = one[1]
    for table in tables.values():
        context.later(table, bounds)


@final
class PredictorBounds(Bounds):
    """How many features a predictor of histogram boosting may split on, and whether it may on categories."""

    __slots__ = ("categories", "features")

    def __init__(self, features: int, categories: bool) -> None:
        self.features = features
        self.categories = categories

    def exceeded(self, table: NodeTable) -> str | None:
        if table.features > self.features:
            return f"a predictor splits on feature {table.features - 1} of {self.features}"
        if table.bitsets and not self.categories:
            return "a predictor splits on categories, and _bin_mapper has none"
        return None
