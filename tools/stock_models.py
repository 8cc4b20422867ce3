"""Small fitted models of every scikit-learn estimator, and of the combinations that hold other classes.

They are what the policy packs are checked against.  Version differences of scikit-learn are met by trying: what a
version does not have, or will not fit, is left out and told on standard error.
"""

from __future__ import annotations

import datetime as dt
import importlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_RNG = np.random.RandomState(0)
_X = _RNG.rand(60, 4)
_LABELS = np.array(["no", "yes", "maybe"])[np.arange(60) % 3]
_NUMBERS = _X @ np.arange(1.0, 5.0)
_BINARY = np.arange(60) % 2
_MULTI = np.column_stack([_BINARY, _BINARY[::-1]])
_TEXTS = ["the red fox", "a blue whale", "red and blue", "the whale and the fox"] * 5
_COUNTS = _RNG.randint(0, 4, (60, 4))

# What the estimators are fitted on, in the order of trying: arguments of fit.
_DATA: dict[str, tuple[Any, ...]] = {
    "labels": (_X, _LABELS),
    "numbers": (_X, _NUMBERS),
    "binary": (_X, _BINARY),
    "multi": (_X, _MULTI),
    "targets": (_X, np.column_stack([_NUMBERS, _NUMBERS])),
    "sparse": (sp.csr_matrix(_X), _BINARY),
    "counts": (_COUNTS, _BINARY),
    "line": (_X[:, 0], _NUMBERS),
    "kernel": (_X @ _X.T, _BINARY),
    "labels only": (_LABELS,),
    "label sets": ([["a", "b"], ["b"]],),
    "texts": (_TEXTS,),
    "dicts": ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],),
    "objects": (np.array([["a", 1], ["b", 2], ["a", None]], dtype=object),),
    "images": (_RNG.rand(3, 8, 8),),
}


def _sk(module: str, name: str) -> Any:
    return getattr(importlib.import_module("sklearn." + module), name)


def _guesses() -> dict[str, Any]:
    """Return what to give to parameters without a default."""
    tree = _sk("tree", "DecisionTreeClassifier")(max_depth=2)
    scaler = _sk("preprocessing", "StandardScaler")()
    return {
        "estimator": tree,
        "base_estimator": tree,
        "estimators": [("one", tree), ("two", _sk("naive_bayes", "GaussianNB")())],
        "transformers": [("scale", scaler, [0, 1]), ("drop", "drop", [2]), ("pass", "passthrough", [3])],
        "transformer_list": [("scale", scaler), ("same", "passthrough")],
        "steps": [("scale", scaler), ("tree", tree)],
        "param_grid": {"max_depth": [1, 2]},
        "param_distributions": {"max_depth": [1, 2, 3]},
        "dictionary": np.eye(4),
    }


def _make(kind: Any) -> Any:
    if kind.__name__.endswith("RandomProjection"):
        return kind(n_components=2)
    try:
        return kind()
    except TypeError:
        import inspect

        known = _guesses()
        wanted = [
            parameter.name
            for parameter in inspect.signature(kind).parameters.values()
            if parameter.default is parameter.empty
        ]
        if "estimators" in wanted and "Regressor" in kind.__name__:
            ridge = _sk("linear_model", "Ridge")
            return kind(estimators=[("one", ridge()), ("two", ridge())])
        if "estimator" in wanted and "Regressor" in kind.__name__:
            return kind(estimator=_sk("linear_model", "Ridge")())
        return kind(**{name: known[name] for name in wanted})


def _every_estimator(only: str) -> Iterator[tuple[str, Any]]:
    importlib.import_module("sklearn.experimental.enable_iterative_imputer")
    importlib.import_module("sklearn.experimental.enable_halving_search_cv")
    from sklearn.utils import all_estimators

    for name, kind in all_estimators():
        if only.lower() not in name.lower():
            continue
        try:
            yield f"{name} unfitted", _make(kind)
        except (TypeError, ValueError, KeyError) as error:
            print(f"# left out {name}: {error}", file=sys.stderr)
            continue
        fitted = 0
        for data, arguments in _DATA.items():
            if fitted == 4:
                break
            try:
                yield f"{name} {data}", _make(kind).fit(*arguments)
            except Exception:  # noqa: BLE001  # whatever an estimator finds wrong with the data
                continue
            fitted += 1
        if not fitted:
            print(f"# never fitted: {name}", file=sys.stderr)


def stock_models(only: str = "") -> Iterator[tuple[str, Any]]:
    """Give every estimator and combination by name, fitted; `only` those whose name contains that text."""
    yield from _every_estimator(only)
    for name, make in _combinations().items():
        if only.lower() not in name.lower():
            continue
        try:
            models = make()
        except Exception as error:  # noqa: BLE001  # this version of scikit-learn has no such option
            print(f"# left out {name}: {type(error).__name__}: {error}"[:200], file=sys.stderr)
            continue
        yield name, models


def _each(make: Callable[[Any], Any], options: Any) -> list[Any]:
    """Make one model per option, leaving out those that this version refuses."""
    made = []
    for option in options:
        try:
            made.append(make(option))
        except Exception as error:  # noqa: BLE001
            print(f"# left out option {option!r}: {type(error).__name__}: {error}"[:160], file=sys.stderr)
    return made


def _combinations() -> dict[str, Callable[[], Any]]:
    return {
        "metadata package": _package,
        "arrays": _arrays,
        "random generators": _generators,
        "column pipeline": _column_pipeline,
        "FunctionTransformer": _functions,
        "hist gradient boosting": _hist_boosting,
        "gradient boosting losses": _boosting_losses,
        "linear losses": _linear_losses,
        "neighbors metrics": _neighbors,
        "search": _searches,
        "scorers": _scorers,
        "calibration": _calibrations,
        "gaussian process kernels": _processes,
        "kernels": _kernels,
        "text": _texts,
        "feature selection": _selections,
        "imputers": _imputers,
        "ensembles": _ensembles,
        "clusterers": _clusterers,
        "mixed": _mixed,
        "routing": _routing,
    }


def _package() -> Any:
    import decimal
    import uuid
    from collections import Counter, OrderedDict, defaultdict, deque

    now = dt.datetime(2026, 1, 2, 3, 4, 5, 6)  # noqa: DTZ001  # naive ones are saved too
    counts: defaultdict[str, int] = defaultdict(int)
    counts["a"] += 1
    lists: defaultdict[str, list[int]] = defaultdict(list)
    lists["a"].append(1)
    return {
        "created": now,
        "aware": now.replace(tzinfo=dt.UTC),
        "offset": now.replace(tzinfo=dt.timezone(dt.timedelta(hours=2))),
        "named": now.replace(tzinfo=dt.timezone(dt.timedelta(hours=2), "CEST")),
        "day": now.date(),
        "time": now.time(),
        "aware time": now.time().replace(tzinfo=dt.UTC),
        "took": dt.timedelta(days=1, seconds=2),
        "ordered": OrderedDict(a=1),
        "counter": Counter("hello"),
        "counts": counts,
        "lists": lists,
        "queue": deque([1, 2], maxlen=5),
        "set": {1, "a"},
        "frozen": frozenset(("a", 2)),
        "complex": 1 + 2j,
        "range": range(1, 9, 2),
        "slice": slice(1, None, 2),
        "bytes": (b"", b"ab", bytearray(b"cd")),
        "decimal": decimal.Decimal("1.5"),
        "uuid": uuid.UUID(int=5),
        "none type": type(None),
        "types": (int, float, str, bool, list, dict, tuple, bytes, complex),
    }


def _arrays() -> Any:
    record = np.dtype([("a", "<f8"), ("b", "U3")])
    masked = np.ma.MaskedArray([1.0, 2.0], mask=[True, False])
    return {
        "scalars": [kind(1) for kind in (np.int8, np.uint16, np.int64, np.float32, np.float64, np.bool_, np.complex64)],
        "text scalars": (np.str_("a"), np.bytes_(b"a"), np.datetime64("2026-01-02"), np.timedelta64(3, "s")),
        "types": (np.int64, np.float32, np.float64, np.bool_, np.uint8, np.object_),
        "dtypes": (np.dtype("f4"), record, np.dtype("O"), np.dtype(">i4"), np.dtype("M8[ns]"), np.dtype("S4")),
        "plain": (np.arange(6.0).reshape(2, 3), np.asfortranarray(np.ones((3, 2))), np.array(5), np.zeros((0, 3))),
        "texts": np.array(["a", "bc"]),
        "objects": np.array(["a", None, 2, [3]], dtype=object),
        "records": np.zeros(2, dtype=record),
        "big endian": np.arange(3, dtype=">i4"),
        "masked": (masked, np.ma.MaskedArray(["a", "b"], mask=[True, False], dtype=object)),
        "sparse": [getattr(sp, kind + "_matrix")(np.eye(3)) for kind in ("csr", "csc", "coo", "bsr", "dia", "lil")],
        "arrays": [getattr(sp, kind + "_array")(np.eye(3)) for kind in ("csr", "csc", "coo", "bsr", "dia", "lil")],
    }


def _generators() -> Any:
    kinds = (np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64)
    used = np.random.RandomState(3)
    used.normal()
    return [
        np.random.RandomState(1),
        used,
        np.random.RandomState(np.random.PCG64(2)),
        np.random.SeedSequence(5).spawn(2)[1],
        [np.random.Generator(kind(4)) for kind in kinds],
        [kind(4) for kind in kinds],
    ]


def _column_pipeline() -> Any:
    pipeline = _sk("pipeline", "make_pipeline")
    columns = _sk("compose", "ColumnTransformer")(
        [
            ("numbers", pipeline(_sk("impute", "SimpleImputer")(), _sk("preprocessing", "StandardScaler")()), [0, 1]),
            ("codes", _sk("preprocessing", "OneHotEncoder")(handle_unknown="ignore", min_frequency=2), [2]),
            ("ordinal", _sk("preprocessing", "OrdinalEncoder")(dtype=np.int64), slice(3, 4)),
            ("bins", _sk("preprocessing", "KBinsDiscretizer")(n_bins=3), [0, 3]),
        ],
        remainder="passthrough",
    )
    model = pipeline(columns, _sk("linear_model", "LogisticRegression")()).fit(_COUNTS, _LABELS)
    union = _sk("pipeline", "make_union")(_sk("decomposition", "PCA")(2), _sk("feature_selection", "SelectKBest")(k=1))
    data = np.array([["a", 1.0], ["b", np.nan], ["c", 2.0]], dtype=object)
    categories = _sk("preprocessing", "OneHotEncoder")(drop="first", sparse_output=False).fit(data[:, :1])
    output = _sk("preprocessing", "StandardScaler")().set_output(transform="default").fit(_X)
    return [model, pipeline(union, _sk("svm", "SVC")(probability=True)).fit(_X, _LABELS), categories, output]


FUNCTIONS = [
    "log", "log1p", "log2", "log10", "exp", "expm1", "exp2", "sqrt", "cbrt", "square", "reciprocal", "abs",
    "absolute", "sign", "sin", "cos", "tan", "tanh", "arctan", "arcsinh", "floor", "ceil", "rint", "isnan",
    "isfinite", "negative", "maximum", "minimum", "add", "multiply", "subtract", "divide", "clip", "round",
    "nan_to_num", "ravel", "transpose", "array", "asarray", "mean", "median",
]  # fmt: skip


def _functions() -> Any:
    transformer = _sk("preprocessing", "FunctionTransformer")
    models = [transformer(getattr(np, name)) for name in FUNCTIONS]
    models.append(transformer(np.log1p, inverse_func=np.expm1, check_inverse=False, kw_args={}).fit(_X))
    target = _sk("compose", "TransformedTargetRegressor")
    models.append(target(func=np.log1p, inverse_func=np.expm1).fit(_X, _NUMBERS))
    selector = _sk("compose", "make_column_selector")
    models.append(selector(dtype_include=np.number, pattern="a.*"))
    models.append(selector(dtype_exclude=[np.float64, object]))
    return models


def _hist_boosting() -> Any:
    classifier = _sk("ensemble", "HistGradientBoostingClassifier")
    regressor = _sk("ensemble", "HistGradientBoostingRegressor")
    data = np.column_stack([_COUNTS[:, 0], _X])
    losses = ("squared_error", "absolute_error", "poisson", "gamma", "quantile")
    return [
        classifier(max_iter=3, categorical_features=[0]).fit(data, _LABELS),
        classifier(max_iter=3, early_stopping=True).fit(data, _BINARY),
        regressor(max_iter=3, categorical_features=[True, False, False, False, False]).fit(data, _NUMBERS),
        classifier(max_iter=2, scoring="accuracy", early_stopping=True, warm_start=True).fit(
            data.astype("f4"), _BINARY
        ),
        _each(lambda loss: regressor(loss=loss, quantile=0.5, max_iter=2).fit(data, _NUMBERS + 1), losses),
    ]


def _boosting_losses() -> Any:
    classifier = _sk("ensemble", "GradientBoostingClassifier")
    regressor = _sk("ensemble", "GradientBoostingRegressor")
    losses = ("squared_error", "absolute_error", "huber", "quantile")
    zero = _sk("dummy", "DummyClassifier")()
    return [
        classifier(n_estimators=2).fit(_X, _LABELS),
        classifier(n_estimators=2).fit(_X, _BINARY),
        classifier(n_estimators=2, loss="exponential", init="zero").fit(_X, _BINARY),
        classifier(n_estimators=2, init=zero, random_state=np.random.RandomState(0)).fit(_X, _BINARY),
        _each(lambda loss: regressor(loss=loss, n_estimators=2).fit(_X, _NUMBERS), losses),
    ]


def _linear_losses() -> Any:
    classifier = _sk("linear_model", "SGDClassifier")
    regressor = _sk("linear_model", "SGDRegressor")
    tweedie = _sk("linear_model", "TweedieRegressor")
    hard = ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "squared_error", "huber")
    soft = ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
    logistic = _sk("linear_model", "LogisticRegression")
    return [
        _each(lambda loss: classifier(loss=loss, average=True, early_stopping=True).fit(_X, _LABELS), hard),
        _each(lambda loss: classifier(loss=loss).fit(_X, _BINARY), hard),
        _each(lambda loss: regressor(loss=loss).fit(_X, _NUMBERS), soft),
        _each(lambda power: tweedie(power=power).fit(_X, _NUMBERS + 1), (0, 1, 1.5, 2, 3)),
        _each(lambda link: tweedie(link=link, power=1.5).fit(_X, _NUMBERS + 1), ("identity", "log")),
        _each(lambda solver: logistic(solver=solver).fit(_X, _BINARY), ("lbfgs", "liblinear", "saga", "newton-cg")),
        logistic(random_state=np.random.RandomState(0), class_weight={0: 1.0, 1: 2.0}).fit(_X, _BINARY).sparsify(),
    ]


def _neighbors() -> Any:
    dist = importlib.import_module("sklearn.metrics._dist_metrics")
    nearest = _sk("neighbors", "NearestNeighbors")
    mahalanobis = {"VI": np.eye(4)}
    models = []
    for algorithm in ("kd_tree", "ball_tree", "brute"):
        for metric in sorted(_sk("neighbors", "VALID_METRICS")[algorithm], key=str):
            options = mahalanobis if metric == "mahalanobis" else {"V": np.ones(4)} if metric == "seuclidean" else None
            columns = 2 if metric == "haversine" else 4
            data = _COUNTS > 1 if metric in ("dice", "jaccard", "rogerstanimoto", "russellrao") else _X
            try:
                models.append(nearest(algorithm=algorithm, metric=metric, metric_params=options).fit(data[:, :columns]))
            except Exception as error:  # noqa: BLE001
                print(f"# left out {algorithm} {metric}: {error}"[:160], file=sys.stderr)
    trees = [_sk("neighbors", name)(_X, metric="minkowski", p=3) for name in ("KDTree", "BallTree")]
    single = [
        getattr(dist, name).get_metric(metric)
        for name in ("DistanceMetric32", "DistanceMetric64")
        for metric in ("euclidean", "manhattan", "hamming", "chebyshev", "canberra", "braycurtis")
    ]
    density = _sk("neighbors", "KernelDensity")
    weighted = [density(algorithm=one).fit(_X, sample_weight=np.ones(60)) for one in ("kd_tree", "ball_tree")]
    classifier = _sk("neighbors", "KNeighborsClassifier")
    metric = _sk("metrics.pairwise", "cosine_distances")
    return [
        models,
        trees,
        single,
        weighted,
        classifier(algorithm="ball_tree", weights="distance").fit(_X, _LABELS),
        classifier().fit(sp.csr_matrix(_X), _MULTI),
        _sk("neighbors", "LocalOutlierFactor")(novelty=True, algorithm="kd_tree").fit(_X),
        _sk("cluster", "AgglomerativeClustering")(metric=metric, linkage="average").fit(_X),
    ]


def _searches() -> Any:
    grid = _sk("model_selection", "GridSearchCV")
    random = _sk("model_selection", "RandomizedSearchCV")
    tree = _sk("tree", "DecisionTreeClassifier")()
    split = importlib.import_module("sklearn.model_selection")
    depths = {"max_depth": [1, 2], "max_features": [None, "sqrt"], "min_samples_leaf": np.array([1, 2])}
    groups = np.arange(60) % 6
    splitters = [
        split.KFold(3),
        split.StratifiedKFold(3, shuffle=True, random_state=np.random.RandomState(0)),
        split.ShuffleSplit(2),
        split.StratifiedShuffleSplit(2),
        split.RepeatedKFold(n_splits=2, n_repeats=2),
        split.RepeatedStratifiedKFold(n_splits=2, n_repeats=2),
        split.TimeSeriesSplit(2),
        split.PredefinedSplit(groups),
        split.GroupKFold(3),
        split.GroupShuffleSplit(2),
        split.LeaveOneGroupOut(),
        split.LeavePGroupsOut(2),
        split.LeaveOneOut(),
        split.LeavePOut(2),
        split.StratifiedGroupKFold(2),
        split.check_cv([(np.arange(30), np.arange(30, 60))]),
    ]
    fitted = grid(tree, [depths, {"criterion": ["gini"]}], cv=3, scoring=["accuracy", "f1_macro"], refit="accuracy")
    return [
        fitted.fit(_X, _LABELS),
        [grid(tree, {"max_depth": [1, None]}, cv=cv) for cv in splitters],
        grid(tree, {"max_depth": [1, None]}, cv=splitters[1]).fit(_X, _LABELS),
        random(tree, depths, n_iter=3, random_state=0, scoring="roc_auc").fit(_X, _BINARY),
        grid(_sk("pipeline", "make_pipeline")(_sk("preprocessing", "StandardScaler")(), tree), {}).fit(_X, _BINARY),
        grid(tree, {"random_state": [0, None]}, scoring=_sk("metrics", "make_scorer")(_sk("metrics", "f1_score"))),
        split.ParameterGrid({"a": [1, 2]}),
        split.ParameterSampler({"a": [1, 2]}, 1),
        grid(tree, {"estimator__x": [tree]}),
    ]


def _scorers() -> Any:
    metrics = importlib.import_module("sklearn.metrics")
    return {name: metrics.get_scorer(name) for name in metrics.get_scorer_names()}


def _calibrations() -> Any:
    calibrated = _sk("calibration", "CalibratedClassifierCV")
    svm = _sk("svm", "LinearSVC")()
    models = _each(lambda method: calibrated(svm, method=method, cv=2).fit(_X, _LABELS), ("sigmoid", "isotonic"))
    models += _each(lambda method: calibrated(svm, method=method, cv=2).fit(_X, _LABELS), ("temperature",))
    models += _each(lambda ensemble: calibrated(svm, ensemble=ensemble, cv=2).fit(_X, _BINARY), (True, False))
    thresholds = _each(
        lambda name: _sk("model_selection", name)(_sk("linear_model", "LogisticRegression")()).fit(_X, _BINARY),
        ("FixedThresholdClassifier", "TunedThresholdClassifierCV"),
    )
    frozen = _each(lambda name: _sk("frozen", name)(_sk("svm", "SVC")().fit(_X, _BINARY)), ("FrozenEstimator",))
    return [models, thresholds, frozen]


def _processes() -> Any:
    kernels = importlib.import_module("sklearn.gaussian_process.kernels")
    regressor = _sk("gaussian_process", "GaussianProcessRegressor")
    classifier = _sk("gaussian_process", "GaussianProcessClassifier")
    listed = [
        kernels.RBF(),
        kernels.Matern(),
        kernels.RationalQuadratic(),
        kernels.ExpSineSquared(),
        kernels.DotProduct() + kernels.WhiteKernel(),
        kernels.ConstantKernel() * kernels.RBF([1.0]),
        kernels.RBF() ** 2,
        kernels.PairwiseKernel(metric="rbf"),
    ]
    models = [regressor(kernel, optimizer=None).fit(_X[:8, :1], _NUMBERS[:8]) for kernel in listed]
    return [models, classifier(kernels.RBF()).fit(_X, _LABELS), classifier(multi_class="one_vs_one").fit(_X, _LABELS)]


def _kernels() -> Any:
    pairwise = importlib.import_module("sklearn.metrics.pairwise")
    kernels = [getattr(pairwise, name) for name in dir(pairwise) if name.endswith(("_kernel", "_distances"))]
    kernels += [pairwise.cosine_similarity]
    svm = _sk("svm", "SVC")
    return [
        [svm(kernel=kernel) for kernel in kernels],
        svm(kernel=pairwise.rbf_kernel).fit(_X, _LABELS),
        _sk("kernel_ridge", "KernelRidge")(kernel="laplacian").fit(_X, _NUMBERS),
        _sk("decomposition", "KernelPCA")(2, kernel="rbf", fit_inverse_transform=True).fit(_X),
        _each(lambda kernel: svm(kernel=kernel).fit(_X, _LABELS), ("linear", "poly", "sigmoid")),
        svm(decision_function_shape="ovo", random_state=0).fit(sp.csr_matrix(_X), _LABELS),
        _sk("svm", "OneClassSVM")(kernel="precomputed").fit(_X @ _X.T),
    ]


def _texts() -> Any:
    text = importlib.import_module("sklearn.feature_extraction.text")
    return [
        text.CountVectorizer(stop_words="english", ngram_range=(1, 2)).fit(_TEXTS),
        text.CountVectorizer(stop_words=["the"], binary=True, max_features=3, strip_accents="unicode").fit(_TEXTS),
        text.CountVectorizer(vocabulary={"red", "fox"}, dtype=np.float32).fit(_TEXTS),
        text.CountVectorizer(preprocessor=text.strip_accents_unicode, vocabulary=["red"]).fit(_TEXTS),
        text.CountVectorizer(vocabulary={"red": 0}).fit(_TEXTS),
        text.TfidfVectorizer(analyzer="char_wb", sublinear_tf=True, min_df=2).fit(_TEXTS),
        _sk("pipeline", "make_pipeline")(
            text.HashingVectorizer(n_features=16), text.TfidfTransformer(), _sk("naive_bayes", "ComplementNB")()
        ),
        _sk("decomposition", "TruncatedSVD")(2).fit(text.TfidfVectorizer().fit_transform(_TEXTS)),
        _sk("decomposition", "LatentDirichletAllocation")(2, max_iter=2).fit(_COUNTS),
        _sk("feature_extraction", "FeatureHasher")(n_features=8, dtype=np.float32),
    ]


def _selections() -> Any:
    selection = importlib.import_module("sklearn.feature_selection")
    names = ("f_classif", "f_regression", "chi2", "mutual_info_classif", "mutual_info_regression", "r_regression")
    tree = _sk("tree", "DecisionTreeClassifier")()
    return [
        _each(lambda name: selection.SelectKBest(getattr(selection, name), k=2).fit(_X, _BINARY), names),
        selection.SelectFromModel(tree, prefit=False, importance_getter="feature_importances_").fit(_X, _BINARY),
        selection.RFECV(tree, min_features_to_select=2).fit(_X, _BINARY),
        selection.SelectFromModel(_sk("linear_model", "Lasso")(), max_features=len),
        selection.SequentialFeatureSelector(tree, n_features_to_select=2, cv=2).fit(_X, _LABELS),
    ]


def _imputers() -> Any:
    impute = importlib.import_module("sklearn.impute")
    data = _X.copy()
    data[::7, 1] = np.nan
    data[::5, 2] = np.nan
    forest = _sk("ensemble", "RandomForestRegressor")(n_estimators=2)
    return [
        impute.SimpleImputer(strategy="most_frequent", add_indicator=True).fit(data),
        impute.SimpleImputer(strategy="constant", fill_value="x").fit(np.array([["a"], [np.nan]], dtype=object)),
        _each(lambda one: impute.SimpleImputer(strategy=one).fit(data), (np.nanmean,)),
        impute.KNNImputer(add_indicator=True).fit(data),
        impute.IterativeImputer(max_iter=2, sample_posterior=True, random_state=0).fit(data),
        impute.IterativeImputer(forest, max_iter=2).fit(data),
        impute.MissingIndicator().fit(data),
    ]


def _ensembles() -> Any:
    ensemble = importlib.import_module("sklearn.ensemble")
    tree = _sk("tree", "DecisionTreeClassifier")(max_depth=2)
    logistic = _sk("linear_model", "LogisticRegression")()
    pair = [("tree", tree), ("logistic", logistic), ("none", "drop")]
    forest = ensemble.RandomForestClassifier(n_estimators=3, oob_score=True, random_state=np.random.RandomState(1))
    scored = ensemble.RandomForestClassifier(n_estimators=3, oob_score=_sk("metrics", "f1_score"), bootstrap=True)
    return [
        forest.fit(_X, _BINARY),
        scored.fit(_X, _BINARY),
        ensemble.ExtraTreesRegressor(n_estimators=2, criterion="absolute_error").fit(_X, _NUMBERS),
        _each(
            lambda one: ensemble.RandomForestRegressor(2, criterion=one).fit(_X, _NUMBERS), ("poisson", "friedman_mse")
        ),
        ensemble.VotingClassifier(pair, voting="soft").fit(_X, _LABELS),
        ensemble.StackingClassifier(pair, stack_method="predict_proba", cv=2).fit(_X, _LABELS),
        ensemble.StackingClassifier(pair, final_estimator=tree, passthrough=True, cv=2).fit(_X, _BINARY),
        ensemble.StackingRegressor([("tree", _sk("tree", "DecisionTreeRegressor")())], cv=2).fit(_X, _NUMBERS),
        ensemble.BaggingClassifier(logistic, n_estimators=2, oob_score=True, max_features=2).fit(_X, _LABELS),
        ensemble.AdaBoostClassifier(n_estimators=2).fit(_X, _LABELS),
        ensemble.AdaBoostRegressor(n_estimators=2).fit(_X, _NUMBERS),
        ensemble.IsolationForest(n_estimators=3).fit(_X),
        ensemble.RandomTreesEmbedding(n_estimators=2).fit(_X),
        _sk("multioutput", "ClassifierChain")(logistic, order="random", random_state=0).fit(_X, _MULTI),
        _sk("multiclass", "OneVsRestClassifier")(logistic).fit(_X, np.column_stack([_BINARY, np.ones(60, int)])),
        _sk("multiclass", "OutputCodeClassifier")(logistic, random_state=0).fit(_X, _LABELS),
    ]


def _clusterers() -> Any:
    cluster = importlib.import_module("sklearn.cluster")
    return [
        cluster.KMeans(2, n_init=1, algorithm="elkan").fit(_X),
        cluster.KMeans(2, n_init=1, init=_X[:2]).fit(sp.csr_matrix(_X)),
        cluster.BisectingKMeans(3, algorithm="elkan").fit(_X),
        cluster.Birch(n_clusters=2, threshold=0.2).fit(_X),
        cluster.Birch(n_clusters=cluster.AgglomerativeClustering(2), threshold=0.2).fit(_X),
        cluster.HDBSCAN(min_cluster_size=3, store_centers="both").fit(_X),
        cluster.SpectralClustering(2, affinity="nearest_neighbors").fit(_X),
        cluster.AgglomerativeClustering(2, connectivity=sp.csr_matrix(np.ones((60, 60)))).fit(_X),
        cluster.FeatureAgglomeration(2, pooling_func=np.mean).fit(_X),
        cluster.FeatureAgglomeration(2, pooling_func=np.max).fit(_X),
    ]


def _mixed() -> Any:
    mlp = _sk("neural_network", "MLPClassifier")
    semi = importlib.import_module("sklearn.semi_supervised")
    some = np.where(np.arange(60) % 4 == 0, -1, _BINARY)
    embedding = _sk("manifold", "LocallyLinearEmbedding")
    learning = _sk("semi_supervised", "SelfTrainingClassifier")
    return [
        _each(lambda one: mlp((3,), solver=one, max_iter=3).fit(_X, _LABELS), ("adam", "sgd", "lbfgs")),
        mlp((3,), max_iter=5, early_stopping=True).fit(_X, _MULTI),
        semi.LabelSpreading(kernel="knn").fit(_X, some),
        semi.LabelPropagation(kernel=_sk("metrics.pairwise", "rbf_kernel")).fit(_X, some),
        _each(lambda one: learning(one).fit(_X, some), (_sk("linear_model", "LogisticRegression")(),)),
        _sk("mixture", "GaussianMixture")(n_components=2, random_state=np.random.RandomState(0), warm_start=True).fit(
            _X
        ),
        _sk("mixture", "BayesianGaussianMixture")(n_components=2).fit(_X),
        _each(lambda one: embedding(method=one, n_neighbors=12).fit(_X), ("standard", "modified", "hessian", "ltsa")),
        _sk("manifold", "Isomap")(n_neighbors=5).fit(_X),
        _sk("discriminant_analysis", "LinearDiscriminantAnalysis")(
            solver="lsqr", covariance_estimator=_sk("covariance", "LedoitWolf")()
        ).fit(_X, _LABELS),
        _sk("preprocessing", "SplineTransformer")(knots="quantile", extrapolation="periodic").fit(_X),
        _sk("preprocessing", "PolynomialFeatures")(2, interaction_only=True).fit(_X),
        _sk("preprocessing", "TargetEncoder")().fit(_COUNTS, _NUMBERS),
        _sk("preprocessing", "LabelBinarizer")(sparse_output=True).fit(_LABELS),
        _sk("linear_model", "RANSACRegressor")(random_state=0).fit(_X, _NUMBERS),
        _sk("linear_model", "RidgeCV")().fit(_X, _NUMBERS),
        _sk("isotonic", "IsotonicRegression")(out_of_bounds="clip").fit(_X[:, 0], _NUMBERS),
        _sk("utils", "Bunch")(data=_X, names=["a", "b"]),
        _sk("decomposition", "DictionaryLearning")(2, max_iter=2).fit(_X),
        _sk("dummy", "DummyRegressor")(strategy="quantile", quantile=0.3).fit(_X, _NUMBERS),
        _sk("cross_decomposition", "PLSRegression")(2).fit(_X, _NUMBERS),
    ]


def _routing() -> Any:
    """Metadata routing keeps what was asked for on the estimators."""
    sklearn = importlib.import_module("sklearn")
    sklearn.set_config(enable_metadata_routing=True)
    try:
        logistic = _sk("linear_model", "LogisticRegression")().set_fit_request(sample_weight=True)
        scaler = _sk("preprocessing", "StandardScaler")().set_fit_request(sample_weight="weights")
        pipeline = _sk("pipeline", "make_pipeline")(scaler, logistic)
        fitted = pipeline.fit(_X, _BINARY, sample_weight=np.ones(60), weights=np.ones(60))
        scorer = _sk("metrics", "make_scorer")(_sk("metrics", "f1_score")).set_score_request(sample_weight=True)
        return [fitted, pipeline.get_metadata_routing(), logistic.get_metadata_routing(), scorer]
    finally:
        sklearn.set_config(enable_metadata_routing=False)
