"""Native structures: state that compiled code would read or write memory by is refused before it is unpickled.

Each forged artifact is what scikit-learn or scipy itself would write of an object that was changed in one place; what
it does when it is loaded and used is in the comment beside it, as it was seen with scikit-learn 1.9.
"""

from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from scipy.stats import binom
from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.gaussian_process.kernels import RBF
from sklearn.metrics import get_scorer
from sklearn.neighbors import (
    BallTree,
    KDTree,
    KNeighborsClassifier,
    KNeighborsRegressor,
    KNeighborsTransformer,
    LocalOutlierFactor,
    NearestNeighbors,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
    RadiusNeighborsTransformer,
)
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import Bunch, check_array

import safeload
from safeload._scan.native import contents, nodes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RANDOM = np.random.RandomState(0)
X = RANDOM.rand(80, 4)
BINARY = (X[:, 0] > 0.5).astype(int)
CLASSES = (X[:, 0] * 3).astype(int)
VALUES = X[:, 1] + X[:, 2]
FAR = 1 << 40


class Reduced:
    """Pickles as whatever reduction it is given."""

    def __init__(self, *reduction: Any) -> None:
        self.reduction = reduction

    def __reduce__(self) -> Any:
        return self.reduction


NEIGHBOURS = (
    KNeighborsClassifier, KNeighborsRegressor, KNeighborsTransformer, LocalOutlierFactor, NearestNeighbors,
    RadiusNeighborsClassifier, RadiusNeighborsRegressor, RadiusNeighborsTransformer,
)  # fmt: skip


def tree(features: int = 4, **changes: Any) -> Any:
    """A fitted Tree, changed in its state; `nodes` is a function that changes its nodes."""
    make, args, state = DecisionTreeRegressor(random_state=0).fit(X[:, :features], VALUES).tree_.__reduce__()
    change = changes.pop("nodes", None)
    if change is not None:
        state["nodes"] = state["nodes"].copy()
        state["nodes"] = change(state["nodes"])
    return Reduced(make, changes.pop("args", args), {**state, **changes})


def child(name: str, index: int, value: int) -> Callable[[Any], Any]:
    def change(nodes: Any) -> Any:
        nodes[name][index] = value
        return nodes

    return change


def circle(nodes: Any) -> Any:
    inner = np.flatnonzero(nodes["left_child"] > 0)
    nodes["left_child"][inner[-1]] = inner[0] or inner[1]
    return nodes


def shared(nodes: Any) -> Any:
    nodes["right_child"] = nodes["left_child"]
    return nodes


def detached(nodes: Any) -> Any:
    """Let the last inner nodes lead to each other: no node is left out of the count, and none leads there."""
    kept = np.zeros(5, nodes.dtype)
    kept["left_child"] = [-1, 2, 1, -1, -1]
    kept["right_child"] = [-1, 3, 4, -1, -1]
    return kept


def renamed(nodes: Any) -> Any:
    names = ["right_child", "left_child", *nodes.dtype.names[2:]]
    parts: Any = {**_parts(nodes.dtype), "names": names}
    return nodes.view(np.dtype(parts))


def _parts(dtype: Any) -> dict[str, Any]:
    fields = [dtype.fields[name] for name in dtype.names]
    return {
        "formats": [field[0] for field in fields],
        "offsets": [field[1] for field in fields],
        "itemsize": dtype.itemsize,
    }


def changed(model: Any, **state: Any) -> Any:
    for name, value in state.items():
        setattr(model, name, value)
    return model


def with_tree(model: Any, forged: Any) -> Any:
    model.__dict__["tree_"] = forged
    return model


def narrow_tree() -> Any:
    return DecisionTreeRegressor(random_state=0).fit(X[:, :1], VALUES)


def wide_tree(features: int = 4) -> Any:
    return DecisionTreeRegressor(random_state=0).fit(np.c_[RANDOM.rand(80, features - 1), VALUES], VALUES)


def forest(**state: Any) -> Any:
    return changed(RandomForestRegressor(3, random_state=0).fit(X, VALUES), **state)


def boosting(**state: Any) -> Any:
    return changed(GradientBoostingRegressor(n_estimators=3, random_state=0).fit(X, VALUES), **state)


def histogram(change: Callable[[Any], Any] = lambda nodes: nodes, *, categorical: bool = False, **state: Any) -> Any:
    data = np.c_[X[:, :3], (X[:, 3] * 5).astype(int)]
    target = (data[:, 3] % 2).astype(float) if categorical else VALUES
    model = HistGradientBoostingRegressor(
        max_iter=2, categorical_features=[3] if categorical else None, min_samples_leaf=5, early_stopping=False
    ).fit(data, target)
    predictor = model._predictors[0][0]
    predictor.nodes = change(predictor.nodes.copy())
    return changed(model, **state)


def all_nodes(name: str, value: int) -> Callable[[Any], Any]:
    def change(nodes: Any) -> Any:
        nodes[name] = value
        return nodes

    return change


def no_bitsets(model: Any) -> Any:
    for iteration in model._predictors:
        for predictor in iteration:
            predictor.raw_left_cat_bitsets = predictor.raw_left_cat_bitsets[:0]
    return model


def no_categories(model: Any) -> Any:
    model._bin_mapper.is_categorical_ = np.zeros(4, np.uint8)
    return model


def neighbours(kind: Any = KDTree, metric: str = "euclidean", **changes: Any) -> Any:
    options: dict[str, dict[str, Any]] = {
        "mahalanobis": {"V": np.cov(X.T)},
        "seuclidean": {"V": np.ones(4)},
        "minkowski": {"p": 3},
    }
    make, args, state = kind(X, leaf_size=5, metric=metric, **options.get(metric, {})).__reduce__()
    parts = [changes.get(f"p{place}", part) for place, part in enumerate(state)]
    parts = [part(state[place]) if callable(part) else part for place, part in enumerate(parts)]
    return Reduced(make, args, tuple(parts))


def node_data(name: str, index: int | slice, value: int) -> Callable[[Any], Any]:
    def change(nodes: Any) -> Any:
        nodes = nodes.copy()
        nodes[name][index] = value
        return nodes

    return change


def metric(name: str, **options: Any) -> Any:
    from sklearn.metrics import DistanceMetric

    return DistanceMetric.get_metric(name, **options)


def covariance(kind: Any, size: int = 4, change: Callable[[Any], Any] = dict) -> Any:
    """Fit neighbours by Mahalanobis distance, then give them a matrix of another size, as scipy would read it."""
    made = kind(algorithm="brute", metric="mahalanobis", metric_params={"VI": np.eye(X.shape[1])}).fit(X, X[:, 0] > 0)
    made.effective_metric_params_ = change({"VI": np.eye(size)})
    return made


def wide_data(kind: Any) -> Any:
    return changed(kind(algorithm="brute").fit(X, CLASSES), _fit_X=np.ones((80, 4000)))


def bisecting(side: str, **state: Any) -> Any:
    model = BisectingKMeans(3, random_state=0).fit(X)
    changed(getattr(model._bisecting_tree, side), **state)
    return model


def sparse(kind: str, **state: Any) -> Any:
    from scipy import sparse as scipy_sparse

    made = getattr(scipy_sparse, kind)(np.eye(6) + np.eye(6, k=1))
    made.__dict__.update(state)
    return made


def int32(*values: int) -> Any:
    return np.array(values, np.int32)


def support(model: Any = SVC, **state: Any) -> Any:
    return changed(model().fit(X, CLASSES), **state)


def classes_from(**state: Any) -> Any:
    model = GradientBoostingClassifier(n_estimators=2).fit(X, CLASSES)
    changed(model.init_, **state)
    return model


def dummy_of(outputs: int) -> Any:
    return changed(DummyRegressor().fit(X, VALUES), n_outputs_=outputs, constant_=np.zeros((1, outputs)))


# Each with what it does when it is loaded and used, without safeload.
FORGED: dict[str, Callable[[], Any]] = {
    # read where nothing is: the process ends
    "a left child far away": lambda: tree(nodes=child("left_child", 0, FAR)),
    "a right child far away": lambda: tree(nodes=child("right_child", 0, FAR)),
    "a right child that fits 32 bits when cut": lambda: tree(nodes=child("right_child", 0, (1 << 32) + 1)),
    "a child below 0": lambda: tree(nodes=child("left_child", 0, -FAR)),
    "a child right after the table": lambda: tree(nodes=lambda nodes: child("left_child", 0, len(nodes))(nodes)),
    "a feature far away": lambda: tree(nodes=child("feature", 0, FAR)),
    "a feature below 0": lambda: tree(nodes=child("feature", 0, -7)),
    "one feature too many": lambda: tree(nodes=child("feature", 0, 4)),
    "a tree of fewer features": lambda: tree(args=(1, np.array([1]), 1)),
    "no nodes": lambda: tree(nodes=lambda nodes: nodes[:0], values=np.zeros((0, 1, 1)), node_count=0),
    # predict never returns
    "nodes in a circle": lambda: tree(nodes=circle),
    "a root that leads to itself": lambda: tree(nodes=child("left_child", 0, 0)),
    # partial dependence writes past its stack
    "nodes that share a child": lambda: tree(nodes=shared),
    "fewer nodes than there are": lambda: tree(node_count=3),
    "a circle that nothing leads to": lambda: tree(
        nodes=detached, values=np.zeros((5, 1, 1)), node_count=5, max_depth=1
    ),
    # decision_path writes past its indices
    "nodes deeper than max_depth": lambda: tree(max_depth=0),
    "a max_depth that wraps": lambda: tree(max_depth=(1 << 62) - 1),
    "a max_depth below 0": lambda: tree(max_depth=-1),
    # refused by scikit-learn as well, while loading
    "nodes of another dtype": lambda: tree(nodes=renamed),
    "nodes that are objects": lambda: tree(nodes=lambda nodes: np.array([None] * len(nodes))),
    "values for fewer nodes": lambda: tree(values=np.zeros((1, 1, 1))),
    "more outputs than classes": lambda: tree(args=(4, np.array([1]), 2)),
    # rows are checked against the estimator's number of features, and the tree reads past them
    "a tree wider than its estimator": lambda: with_tree(DecisionTreeRegressor().fit(X[:, :1], VALUES), tree()),
    "an estimator without its number of features": lambda: changed(
        DecisionTreeRegressor().fit(X, VALUES), n_features_in_="many"
    ),
    "a forest narrower than its trees": lambda: forest(n_features_in_=1),
    "a forest with one wide tree": lambda: forest(estimators_=[narrow_tree(), wide_tree(40)]),
    "a forest as wide as its last tree": lambda: forest(estimators_=[narrow_tree(), wide_tree(40)], n_features_in_=40),
    "boosting as wide as its last tree": lambda: boosting(
        estimators_=np.array([[narrow_tree()], [wide_tree(40)]], dtype=object), n_features_in_=40
    ),
    "a forest with a forest for a tree": lambda: forest(estimators_=[forest()]),
    "extra trees narrower than their trees": lambda: changed(ExtraTreesRegressor(3).fit(X, VALUES), n_features_in_=1),
    "an isolation forest narrower than its trees": lambda: changed(
        IsolationForest(n_estimators=3, max_features=2).fit(X), estimators_features_=[np.array([0])] * 3
    ),
    "an isolation forest of wide trees": lambda: changed(IsolationForest(n_estimators=3).fit(X), n_features_in_=1),
    "boosting narrower than its trees": lambda: boosting(n_features_in_=1),
    "boosting with one wide tree": lambda: boosting(estimators_=np.array([[wide_tree(40)]], dtype=object)),
    # predict writes columns that are not there
    "boosting with more trees than columns": lambda: boosting(
        estimators_=np.array([[narrow_tree()] * 9], dtype=object)
    ),
    "boosting from fewer classes": lambda: changed(
        GradientBoostingClassifier(n_estimators=2).fit(X, CLASSES),
        init_=DummyClassifier(strategy="prior").fit(X, BINARY),
    ),
    # read where nothing is
    "a histogram predictor's child far away": lambda: histogram(child("left", 0, (1 << 32) - 1)),
    "a histogram predictor in a circle": lambda: histogram(child("right", 0, 0)),
    "a histogram predictor's feature far away": lambda: histogram(child("feature_idx", 0, FAR)),
    "a histogram predictor's feature below 0": lambda: histogram(child("feature_idx", 0, -FAR)),
    "histogram boosting narrower than its predictors": lambda: histogram(n_features_in_=1),
    "a histogram predictor without leaves": lambda: histogram(all_nodes("is_leaf", 0)),
    "a histogram predictor's set far away": lambda: histogram(all_nodes("bitset_idx", (1 << 32) - 1), categorical=True),
    "a histogram predictor without sets": lambda: no_bitsets(histogram(categorical=True)),
    "histogram boosting without known categories": lambda: no_categories(histogram(categorical=True)),
    # query reads points and nodes that are not there; a metric writes past its buffer
    "an index of a KD tree far away": lambda: neighbours(p1=lambda indices: np.full_like(indices, FAR)),
    "an index of a ball tree below 0": lambda: neighbours(BallTree, p1=lambda indices: np.full_like(indices, -FAR)),
    "fewer indices than points": lambda: neighbours(p1=lambda indices: indices[:1].copy()),
    "a node that ends far away": lambda: neighbours(p2=node_data("idx_end", slice(None), FAR)),
    "a node that starts below 0": lambda: neighbours(p2=node_data("idx_start", slice(None), -FAR)),
    "a node that ends before it starts": lambda: neighbours(p2=node_data("idx_end", 0, -5)),
    "leaves that are none": lambda: neighbours(p2=node_data("is_leaf", slice(None), 0)),
    "fewer nodes than it says": lambda: neighbours(p2=lambda nodes: nodes[:1].copy()),
    "another count of nodes": lambda: neighbours(p6=1),
    "bounds of fewer nodes": lambda: neighbours(p3=lambda bounds: bounds[:, :1].copy()),
    "bounds of a ball tree in a KD tree": lambda: neighbours(p3=lambda bounds: bounds[:1].copy()),
    "no leaf size": lambda: neighbours(p4=0),
    "fewer weights than points": lambda: neighbours(p12=np.ones(1)),
    "a metric of fewer features": lambda: neighbours(BallTree, p11=metric("mahalanobis", V=np.eye(1))),
    "variances of fewer features": lambda: neighbours(p11=metric("seuclidean", V=np.ones(1))),
    "weights of fewer features": lambda: neighbours(p11=metric("minkowski", p=3, w=np.ones(1))),
    "coordinates in one dimension": lambda: neighbours(BallTree, p11=metric("haversine")),
    "a vote for a class far away": lambda: changed(KNeighborsClassifier().fit(X, BINARY), _y=np.full(80, FAR)),
    "a vote for a class below 0": lambda: changed(KNeighborsClassifier().fit(X, BINARY), _y=np.full(80, -9)),
    # products and conversions read and write where nothing is
    # Found by attack: distances told what stood in memory behind the matrix.
    **{f"{kind.__name__} of too small a covariance": partial(covariance, kind, 1) for kind in NEIGHBOURS},
    # Found by attack: distances to data wider than the rows that were checked told what stood behind the rows.
    **{f"{kind.__name__} of wide data": partial(wide_data, kind) for kind in NEIGHBOURS},
    "wide data of neighbours that do not say for how many features": lambda: changed(
        wide_data(NearestNeighbors), n_features_in_=None
    ),
    "wide sparse data": lambda: changed(KNeighborsRegressor().fit(sparse("csr_matrix"), np.ones(6)), n_features_in_=1),
    # Found by attack: k-means read past the rows, and ended the process.
    "centers that are wider than the rows": lambda: changed(
        KMeans(2, n_init=1).fit(X), cluster_centers_=np.ones((2, 4000))
    ),
    "centers of small batches that are wider than the rows": lambda: changed(
        MiniBatchKMeans(2, n_init=1).fit(X), cluster_centers_=np.ones((2, 4000))
    ),
    "fewer counts than centers": lambda: changed(MiniBatchKMeans(2, n_init=1).fit(X), _counts=np.ones(1)),
    "clusters in the tree that are wider than the rows": lambda: bisecting("left", center=np.ones(4000)),
    "a cluster in the tree that is none": lambda: bisecting("right", left=Bunch(center=np.ones(4000))),
    "a covariance in a Bunch": lambda: covariance(NearestNeighbors, 1, lambda options: Bunch(**options)),
    "a covariance that is a list": lambda: covariance(NearestNeighbors, 1, lambda _: {"VI": [[1.0]]}),
    "an index past the columns": lambda: sparse("csr_matrix", indices=np.full(11, 1 << 30, np.int32)),
    "an index below 0": lambda: sparse("csc_array", indices=np.full(11, -(1 << 30), np.int32)),
    "pointers past the values": lambda: sparse("csr_array", indptr=int32(0, 2, 4, 6, 8, 10, 1 << 30)),
    "pointers that fall": lambda: sparse("csr_matrix", indptr=int32(0, 2, 1 << 20, 6, 8, 10, 11)),
    "pointers that start elsewhere": lambda: sparse("csc_matrix", indptr=int32(-9, 2, 4, 6, 8, 10, 11)),
    "fewer pointers than rows": lambda: sparse("csr_matrix", indptr=int32(0, 2)),
    "fewer values than indices": lambda: sparse("csr_matrix", data=np.ones(1)),
    "a shape that is larger": lambda: sparse("csr_matrix", _shape=(1 << 40, 6)),
    "a shape that is smaller": lambda: sparse("csr_matrix", _shape=(6, 2)),
    "pointers that are floats": lambda: sparse("csr_matrix", indptr=np.arange(7.0)),
    "a block past the columns": lambda: sparse("bsr_matrix", indices=np.full(11, 1 << 30, np.int32)),
    "blocks that do not fit": lambda: sparse("bsr_array", data=np.ones((11, 5, 5))),
    "a coordinate past the rows": lambda: sparse(
        "coo_matrix", coords=(np.full(11, 1 << 30, np.int32), np.zeros(11, np.int32))
    ),
    "fewer coordinates than values": lambda: sparse("coo_array", coords=(int32(0), int32(0))),
    # Found by attack: scipy before 1.13 read those that were not looked at.
    "coordinates that are there twice": lambda: sparse(
        "coo_matrix", coords=(np.zeros(11, np.int32),) * 2, row=np.full(11, 1 << 30, np.int32)
    ),
    # Found by attack: scipy copies all that is there where it made room for what the pointers lead to.
    "values after the last row": lambda: sparse("csr_matrix", indptr=int32(0, 2, 2, 2, 2, 2, 2)),
    "blocks after the last row": lambda: sparse("bsr_array", indptr=int32(0, 2, 2, 2, 2, 2, 2)),
    # Found by attack: indices of a kind that scipy never makes are cast to what another array is of.
    "indices that are booleans": lambda: sparse("csr_matrix", _shape=(6, 6), indices=np.ones(11, bool)),
    "indices that are bytes": lambda: sparse("csc_matrix", indices=np.ones(11, np.uint8)),
    # Found by attack: the end of a diagonal was computed in 32 bits.
    "a diagonal so far away that it wraps": lambda: sparse("dia_matrix", offsets=int32((1 << 31) - 5, 0)),
    "a diagonal so far below that it wraps": lambda: sparse("dia_array", offsets=int32(-(1 << 31), 0)),
    "more offsets than diagonals": lambda: sparse("dia_matrix", offsets=np.arange(99, dtype=np.int32)),
    # predict copies support vectors that are not there
    "more support vectors than there are": lambda: support(_n_support=int32(1 << 20, 1 << 20, 1 << 20)),
    "support vectors below 0": lambda: support(_n_support=int32(-5, 80, 5)),
    "more classes than intercepts": lambda: support(_n_support=np.ones(80, np.int32)),
    "fewer coefficients": lambda: support(_dual_coef_=np.ones((2, 1))),
    "fewer intercepts": lambda: support(_intercept_=np.ones(1)),
    "fewer support indices": lambda: support(support_=int32(1)),
    "an index of a row that the kernel does not have": lambda: changed(
        SVC(kernel="precomputed").fit(X @ X.T, BINARY), support_=np.full(80, 1 << 30, np.int32)
    ),
    "no support vectors, and no kernel that needs none": lambda: support(support_vectors_=np.zeros((0, 0))),
    # Found by attack: numpy's text equals a kernel's name, and the support vectors were not counted.
    "a kernel's name that is numpy's text": lambda: support(
        SVR, kernel=np.str_("rbf"), shape_fit_=(80, 4), support_=np.zeros(999, np.int32), _dual_coef_=np.ones((1, 999))
    ),
    "a kernel's name in an array": lambda: support(SVR, kernel=np.array("rbf")),
    # Found by attack: which function of libsvm is called stands in attributes of the class.
    "a regression that libsvm takes for classes": lambda: support(
        SVR, _impl="c_svc", _n_support=int32(1 << 28, 80 - (1 << 28))
    ),
    "a regression of many classes": lambda: support(SVR, _n_support=np.zeros(50_000, np.int32)),
    "a regression of one class": lambda: support(SVR, _n_support=int32(80)),
    "a probability's half": lambda: support(_probA=np.zeros(3), _probB=np.zeros(0)),
    "kernels in another order": lambda: support(_sparse_kernels=["precomputed", "", "", "", "rbf"]),
    "sparse support vectors that are taken for indices": lambda: changed(
        SVC().fit(sparse("csr_matrix"), [0, 0, 1, 1, 0, 1]), kernel="precomputed", shape_fit_=(6, 6)
    ),
    # Found by attack: a function in the place of the method that checks the rows for compiled code.
    "a tree that does not check rows": lambda: changed(
        DecisionTreeRegressor().fit(X, VALUES), _validate_X_predict=np.multiply
    ),
    # Found by attack: the same by objects that can be called. The first read past the rows that it made itself.
    "a tree whose rows a vectorized function makes": lambda: changed(
        DecisionTreeRegressor().fit(X, VALUES), _validate_X_predict=np.vectorize(binom._entropy, otypes="f")
    ),
    "a tree whose rows a spline makes": lambda: changed(
        DecisionTreeRegressor().fit(X, VALUES), _validate_X_predict=BSpline(np.arange(8.0), np.arange(4.0), 3)
    ),
    "a tree whose rows a scorer makes": lambda: changed(
        DecisionTreeRegressor().fit(X, VALUES), _validate_X_predict=get_scorer("accuracy")
    ),
    "a forest that does not check rows": lambda: changed(
        RandomForestClassifier(2).fit(X, CLASSES), _validate_X_predict=partial(check_array, dtype=np.float32)
    ),
    # Found by attack: boosting adds to as many rows as there are, in an array of as many as its first estimator gave.
    "boosting that begins with no rows": lambda: boosting(init_=dummy_of(0)),
    "boosting that begins with what a function gives": lambda: boosting(init_=changed(dummy_of(1), predict=np.square)),
    # Found by attack: how many columns a dummy gives depends on its strategy; boosting wrote past them.
    "boosting that begins with fewer columns than classes": lambda: classes_from(n_classes_=1, _strategy="uniform"),
    # Found by attack: the link of a loss gave one row for all, and boosting wrote past it.
    "a link that is none": lambda: boosting(_loss=changed(boosting()._loss, link=Bunch(link=np.max))),
    "a loss that is none": lambda: boosting(_loss=Bunch(is_multiclass=False, link=Bunch(link=np.max))),
    "a loss of two classes for three": lambda: changed(
        GradientBoostingClassifier(n_estimators=2).fit(X, CLASSES),
        _loss=GradientBoostingClassifier(n_estimators=2).fit(X, BINARY)._loss,
    ),
    "boosting of classes that says it is none": lambda: changed(
        GradientBoostingClassifier(n_estimators=2).fit(X, CLASSES), _estimator_type="regressor"
    ),
    "histogram boosting that takes rows for bins": lambda: histogram(_in_fit=True),
    "fewer coefficients of a regression": lambda: support(SVR, _dual_coef_=np.ones((1, 1))),
}

HONEST: dict[str, Callable[[], Any]] = {
    "a tree": tree,
    "a tree grown best first": lambda: DecisionTreeClassifier(max_leaf_nodes=9).fit(X, CLASSES),
    "a pruned tree": lambda: DecisionTreeRegressor(ccp_alpha=0.005).fit(X, VALUES),
    "a stump": lambda: DecisionTreeRegressor(max_depth=1).fit(X, VALUES),
    "one leaf": lambda: DecisionTreeRegressor().fit(X, np.ones(80)),
    "a tree of several outputs": lambda: DecisionTreeClassifier().fit(X, np.c_[BINARY, CLASSES]),
    "a tree of 64-bit floats the other way round": lambda: tree(nodes=lambda nodes: nodes.astype(_swapped(nodes))),
    "a chain of nodes": lambda: DecisionTreeRegressor().fit(np.arange(900.0)[:, None], 2.0 ** np.arange(900)),
    "a forest": forest,
    "a forest of classes": lambda: RandomForestClassifier(60, max_depth=2).fit(X, CLASSES),
    "an isolation forest": lambda: IsolationForest(n_estimators=3).fit(X),
    "an isolation forest of few features": lambda: IsolationForest(n_estimators=3, max_features=2).fit(X),
    "boosting": boosting,
    "boosting of classes": lambda: GradientBoostingClassifier(n_estimators=2).fit(X, CLASSES),
    "boosting of two classes from zero": lambda: GradientBoostingClassifier(n_estimators=2, init="zero").fit(X, BINARY),
    "histogram boosting": histogram,
    "histogram boosting of categories": lambda: histogram(categorical=True),
    "histogram boosting of classes": lambda: HistGradientBoostingClassifier(max_iter=2).fit(X, CLASSES),
    "a KD tree": neighbours,
    "a ball tree": lambda: neighbours(BallTree),
    "a ball tree of a metric": lambda: neighbours(BallTree, "mahalanobis"),
    "a KD tree of variances": lambda: neighbours(BallTree, "seuclidean"),
    "a KD tree with weights": lambda: Reduced(*KDTree(X, sample_weight=np.ones(80)).__reduce__()),
    "neighbours": lambda: KNeighborsClassifier().fit(X, CLASSES),
    "neighbours of sparse data": lambda: KNeighborsClassifier().fit(sparse("csr_matrix"), [0, 0, 1, 1, 0, 1]),
    "neighbours by distances": lambda: KNeighborsClassifier(metric="precomputed").fit(X @ X.T, CLASSES),
    "k-means": lambda: KMeans(2, n_init=1).fit(X),
    "k-means of sparse rows": lambda: KMeans(2, n_init=1).fit(sparse("csr_matrix")),
    "k-means of small batches": lambda: MiniBatchKMeans(2, n_init=1).fit(X),
    "bisecting k-means": lambda: BisectingKMeans(3).fit(X),
    "bisecting k-means of sparse rows": lambda: BisectingKMeans(3).fit(sparse("csr_matrix")),
    **{f"{kind.__name__} of a covariance": partial(covariance, kind) for kind in NEIGHBOURS},
    "support vectors": support,
    "support vectors of a regression": lambda: support(SVR),
    "support vectors of a computed kernel": lambda: SVC(kernel="precomputed").fit(X @ X.T, CLASSES),
    "support vectors of a kernel object": lambda: SVC(kernel=RBF()).fit(X, CLASSES),
    "support vectors of a kernel function": lambda: SVC(kernel=np.dot).fit(np.eye(4), [0, 1, 0, 1]),
    "support vectors of sparse rows": lambda: SVC().fit(sparse("csr_matrix"), [0, 0, 1, 1, 2, 2]),
    **{f"a {kind}": partial(sparse, kind) for kind in (
        "csr_matrix", "csc_matrix", "bsr_matrix", "coo_matrix", "dia_matrix", "lil_matrix",
        "csr_array", "csc_array", "bsr_array", "coo_array", "dia_array", "lil_array",
    )},
    "an empty sparse matrix": lambda: sparse("csr_matrix")[:0],
}  # fmt: skip


def _swapped(nodes: Any) -> Any:
    return nodes.dtype.newbyteorder(">")


def write(path: Path, made: Any, how: str) -> Path:
    if how == "joblib":
        joblib.dump(made, path)
    else:
        path.write_bytes(pickle.dumps(made, protocol=int(how.split()[-1])))
    return path


WAYS = ("joblib", "pickle 2", "pickle 4", "pickle 5")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FORGED)
def test_a_forged_structure_is_refused(name: str, tmp_path: Path) -> None:
    made = FORGED[name]()
    for how in WAYS:
        report = safeload.scan(write(tmp_path / "model.joblib", made, how))
        found = [finding for finding in report.findings if finding.code == "SL326"]
        assert found, (how, report.findings)
        assert found[0].offset is not None
        assert found[0].global_name is not None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HONEST)
def test_an_honest_structure_is_allowed(name: str, tmp_path: Path) -> None:
    made = HONEST[name]()
    for how in WAYS:
        report = safeload.scan(write(tmp_path / "model.joblib", made, how))
        assert report.allowed, (how, report.findings)


def test_sign_and_load_refuse_a_forged_tree(tmp_path: Path) -> None:
    key = safeload.SigningKey.generate()
    path = write(tmp_path / "model.joblib", FORGED["a left child far away"](), "joblib")
    with pytest.raises(safeload.MalformedArtifactError, match="SL326"):
        safeload.sign(path, key=key)
    assert not path.with_name("model.joblib.manifest.json").exists()


def test_a_compressed_artifact_is_looked_into(tmp_path: Path) -> None:
    for name, made in (("forged", FORGED["nodes in a circle"]()), ("honest", HONEST["a tree"]())):
        for compress in (("zlib", 1), ("gzip", 1), ("bz2", 1), ("xz", 1)):
            path = tmp_path / "model.joblib"
            joblib.dump(made, path, compress=compress)
            assert safeload.scan(path).allowed == (name == "honest")


def test_large_structures_are_looked_at_in_pieces(tmp_path: Path) -> None:
    rows = 3_000_000  # index arrays of 12 and 24 MB: longer than what is held until its dtype is known
    made = sparse("csr_matrix")
    made.__dict__.update(
        _shape=(rows, 7), data=np.ones(rows, np.int8), indices=np.arange(rows, dtype=np.int64) % 7,
        indptr=np.arange(rows + 1, dtype=np.int64),
    )  # fmt: skip
    for how in ("joblib", "pickle 4", "pickle 5"):
        made.indices[rows // 2] = 6
        assert safeload.scan(write(tmp_path / "model.joblib", made, how)).allowed
        made.indices[rows // 2] = 7
        found = safeload.scan(write(tmp_path / "model.joblib", made, how)).findings
        assert [finding.code for finding in found] == ["SL326"]


def chain(length: int) -> Any:
    """The nodes of a tree as deep as it can be: each inner node has a leaf to its left."""
    nodes = np.zeros(2 * length + 1, tree().reduction[2]["nodes"].dtype)
    inner = np.arange(0, 2 * length, 2)
    nodes["left_child"] = nodes["right_child"] = -1
    nodes["left_child"][inner], nodes["right_child"][inner] = inner + 1, inner + 2
    return nodes


def test_a_large_tree_is_walked(tmp_path: Path) -> None:
    nodes = chain(150_000)  # 19 MB
    honest: dict[str, Any] = {"values": np.zeros((len(nodes), 1, 1)), "node_count": len(nodes), "max_depth": 150_000}
    for how in ("joblib", "pickle 4", "pickle 5"):
        made = tree(nodes=lambda _: nodes, **honest)
        assert safeload.scan(write(tmp_path / "model.joblib", made, how)).allowed
        for forged in (
            tree(nodes=lambda _: nodes, **{**honest, "max_depth": 149_999}),
            tree(nodes=lambda _: child("left_child", 200_000, 100)(nodes.copy()), **honest),
        ):
            found = safeload.scan(write(tmp_path / "model.joblib", forged, how)).findings
            assert [finding.code for finding in found] == ["SL326"]


# ---------------------------------------------------------------------------------------------- the summaries


@given(
    values=st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=200),
    dtype=st.sampled_from(["<i4", ">i4", "<i8", ">i8"]),
    cuts=st.lists(st.integers(0, 200), max_size=4),
)
def test_integers_are_what_numpy_says(values: list[int], dtype: str, cuts: list[int]) -> None:
    array = np.array(values, dtype)
    seen = contents.watcher_of(array.dtype)
    assert isinstance(seen, contents.Integers)
    for piece in np.split(array, sorted(min(cut, len(values)) for cut in cuts)):
        seen.feed(piece.tobytes())
    assert seen.rising == bool((np.diff(array.astype(object)) >= 0).all())
    assert (seen.least, seen.greatest) == ((min(values), max(values)) if values else (0, -1))
    assert (seen.first, seen.last) == ((values[0], values[-1]) if values else (0, 0))
    assert seen.total == (sum(values) if array.itemsize == 4 else None)


TREE_DTYPES = [
    np.dtype([(name, code) for name in ("left_child", "right_child", "feature")]
             + [("threshold", "f8"), ("impurity", "f8"), ("n_node_samples", code), ("weighted_n_node_samples", "f8")])
    for code in ("<i8", "<i4", ">i8", ">i4")
]  # fmt: skip


def walked(children: list[tuple[int, int]]) -> int | None:
    """The depth of nodes if they are one tree, None if not: as slow and plain as can be."""
    depth, seen, pending = 0, set(), [(0, 0)]
    while pending:
        node, level = pending.pop()
        if not 0 <= node < len(children) or node in seen:
            return None
        seen.add(node)
        depth = max(depth, level)
        left, right = children[node]
        if left != -1:
            pending += [(left, level + 1), (right, level + 1)]
        elif right != -1:
            return None
    return depth if len(seen) == len(children) else None


def table_of(random: Any) -> list[tuple[int, int]]:
    """Children of nodes: a tree, in any order of its nodes, and often changed in one place."""
    children = [(-1, -1)]
    for _ in range(random.randrange(20)):
        leaf = random.choice([index for index, pair in enumerate(children) if pair == (-1, -1)])
        children[leaf] = (len(children), len(children) + 1)
        children += [(-1, -1), (-1, -1)]
    order = [0, *random.sample(range(1, len(children)), len(children) - 1)]
    moved = [(-1, -1)] * len(children)
    for index, (left, right) in enumerate(children):
        moved[order[index]] = (-1, -1) if left == -1 else (order[left], order[right])
    if random.random() < 0.5:
        place = random.randrange(len(moved))
        moved[place] = (random.randint(-3, len(moved) + 1), random.randint(-3, len(moved) + 1))
    return moved


@given(
    random=st.randoms(use_true_random=False),
    count=st.integers(1, 5),
    dtype=st.sampled_from(TREE_DTYPES),
    cut=st.integers(0, 40),
)
def test_trees_are_walked_together_as_one_by_one(random: Any, count: int, dtype: Any, cut: int) -> None:
    several = [table_of(random) for _ in range(count)]
    made = []
    for children in several:
        rows = np.zeros(len(children), dtype)
        rows["left_child"], rows["right_child"] = [pair[0] for pair in children], [pair[1] for pair in children]
        rows["feature"] = np.where(rows["left_child"] == -1, -2, np.arange(len(children)))
        table = contents.watcher_of(dtype)
        assert isinstance(table, nodes.NodeTable)
        for piece in (rows[:cut], rows[cut:]):
            table.feed(piece.tobytes())
        made.append(table)
    nodes.settle(made)
    for children, table in zip(several, made, strict=True):
        depth = walked(children)
        assert (table.problem is None) == (depth is not None)
        if depth is not None:
            splits = [index for index, pair in enumerate(children) if pair[0] != -1]
            assert (table.depth, table.features) == (depth, max(splits, default=-1) + 1)
