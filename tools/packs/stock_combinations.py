"""Combinations of estimators, options and parameters that hold other classes than an estimator on its own."""

from __future__ import annotations

import datetime as dt
import importlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from packs.stock_data import BINARY, COUNTS, LABELS, MULTI, NUMBERS, TEXTS, X, each, sk

if TYPE_CHECKING:
    from collections.abc import Callable


def combinations() -> dict[str, Callable[[], Any]]:
    """Return what makes each combination, by name."""
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
        "distributions": _distributions,
        "functions and methods in states": _held,
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
    pipeline = sk("pipeline", "make_pipeline")
    columns = sk("compose", "ColumnTransformer")(
        [
            ("numbers", pipeline(sk("impute", "SimpleImputer")(), sk("preprocessing", "StandardScaler")()), [0, 1]),
            ("codes", sk("preprocessing", "OneHotEncoder")(handle_unknown="ignore", min_frequency=2), [2]),
            ("ordinal", sk("preprocessing", "OrdinalEncoder")(dtype=np.int64), slice(3, 4)),
            ("bins", sk("preprocessing", "KBinsDiscretizer")(n_bins=3), [0, 3]),
        ],
        remainder="passthrough",
    )
    model = pipeline(columns, sk("linear_model", "LogisticRegression")()).fit(COUNTS, LABELS)
    union = sk("pipeline", "make_union")(sk("decomposition", "PCA")(2), sk("feature_selection", "SelectKBest")(k=1))
    data = np.array([["a", 1.0], ["b", np.nan], ["c", 2.0]], dtype=object)
    categories = sk("preprocessing", "OneHotEncoder")(drop="first", sparse_output=False).fit(data[:, :1])
    output = sk("preprocessing", "StandardScaler")().set_output(transform="default").fit(X)
    return [model, pipeline(union, sk("svm", "SVC")(probability=True)).fit(X, LABELS), categories, output]


FUNCTIONS = [
    "log", "log1p", "log2", "log10", "exp", "expm1", "exp2", "sqrt", "cbrt", "square", "reciprocal", "abs",
    "absolute", "sign", "sin", "cos", "tan", "tanh", "arctan", "arcsinh", "floor", "ceil", "rint", "isnan",
    "isfinite", "negative", "maximum", "minimum", "add", "multiply", "subtract", "divide", "clip", "round",
    "nan_to_num", "ravel", "transpose", "array", "asarray", "mean", "median",
]  # fmt: skip


def _functions() -> Any:
    transformer = sk("preprocessing", "FunctionTransformer")
    models = [transformer(getattr(np, name)) for name in FUNCTIONS]
    models.append(transformer(np.log1p, inverse_func=np.expm1, check_inverse=False, kw_args={}).fit(X))
    target = sk("compose", "TransformedTargetRegressor")
    models.append(target(func=np.log1p, inverse_func=np.expm1).fit(X, NUMBERS))
    selector = sk("compose", "make_column_selector")
    models.append(selector(dtype_include=np.number, pattern="a.*"))
    models.append(selector(dtype_exclude=[np.float64, object]))
    return models


def _hist_boosting() -> Any:
    classifier = sk("ensemble", "HistGradientBoostingClassifier")
    regressor = sk("ensemble", "HistGradientBoostingRegressor")
    data = np.column_stack([COUNTS[:, 0], X])
    losses = ("squared_error", "absolute_error", "poisson", "gamma", "quantile")
    return [
        classifier(max_iter=3, categorical_features=[0]).fit(data, LABELS),
        classifier(max_iter=3, early_stopping=True).fit(data, BINARY),
        regressor(max_iter=3, categorical_features=[True, False, False, False, False]).fit(data, NUMBERS),
        classifier(max_iter=2, early_stopping=True, warm_start=True).fit(data.astype("f4"), BINARY),
        each(lambda loss: regressor(loss=loss, quantile=0.5, max_iter=2).fit(data, NUMBERS + 1), losses),
    ]


def _boosting_losses() -> Any:
    classifier = sk("ensemble", "GradientBoostingClassifier")
    regressor = sk("ensemble", "GradientBoostingRegressor")
    losses = ("squared_error", "absolute_error", "huber", "quantile")
    zero = sk("dummy", "DummyClassifier")()
    return [
        classifier(n_estimators=2).fit(X, LABELS),
        classifier(n_estimators=2).fit(X, BINARY),
        classifier(n_estimators=2, loss="exponential", init="zero").fit(X, BINARY),
        classifier(n_estimators=2, init=zero, random_state=np.random.RandomState(0)).fit(X, BINARY),
        each(lambda loss: regressor(loss=loss, n_estimators=2).fit(X, NUMBERS), losses),
    ]


def _linear_losses() -> Any:
    classifier = sk("linear_model", "SGDClassifier")
    regressor = sk("linear_model", "SGDRegressor")
    tweedie = sk("linear_model", "TweedieRegressor")
    hard = ("hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "squared_error", "huber")
    soft = ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
    logistic = sk("linear_model", "LogisticRegression")
    return [
        each(lambda loss: classifier(loss=loss, average=True, early_stopping=True).fit(X, LABELS), hard),
        each(lambda loss: classifier(loss=loss).fit(X, BINARY), hard),
        each(lambda loss: regressor(loss=loss).fit(X, NUMBERS), soft),
        each(lambda power: tweedie(power=power).fit(X, NUMBERS + 1), (0, 1, 1.5, 2, 3)),
        each(lambda link: tweedie(link=link, power=1.5).fit(X, NUMBERS + 1), ("identity", "log")),
        each(lambda solver: logistic(solver=solver).fit(X, BINARY), ("lbfgs", "liblinear", "saga", "newton-cg")),
        logistic(random_state=np.random.RandomState(0), class_weight={0: 1.0, 1: 2.0}).fit(X, BINARY).sparsify(),
    ]


def _neighbors() -> Any:
    dist = importlib.import_module("sklearn.metrics._dist_metrics")
    nearest = sk("neighbors", "NearestNeighbors")
    mahalanobis = {"VI": np.eye(4)}
    models = []
    for algorithm in ("kd_tree", "ball_tree", "brute"):
        for metric in sorted(sk("neighbors", "VALID_METRICS")[algorithm], key=str):
            options = mahalanobis if metric == "mahalanobis" else {"V": np.ones(4)} if metric == "seuclidean" else None
            columns = 2 if metric == "haversine" else 4
            data = COUNTS > 1 if metric in ("dice", "jaccard", "rogerstanimoto", "russellrao") else X
            try:
                models.append(nearest(algorithm=algorithm, metric=metric, metric_params=options).fit(data[:, :columns]))
            except Exception as error:  # noqa: BLE001
                print(f"# left out {algorithm} {metric}: {error}"[:160], file=sys.stderr)
    trees = [sk("neighbors", name)(X, metric="minkowski", p=3) for name in ("KDTree", "BallTree")]
    single = [
        getattr(dist, name).get_metric(metric)
        for name in ("DistanceMetric32", "DistanceMetric64")
        for metric in ("euclidean", "manhattan", "hamming", "chebyshev", "canberra", "braycurtis")
    ]
    density = sk("neighbors", "KernelDensity")
    weighted = [density(algorithm=one).fit(X, sample_weight=np.ones(60)) for one in ("kd_tree", "ball_tree")]
    classifier = sk("neighbors", "KNeighborsClassifier")
    metric = sk("metrics.pairwise", "cosine_distances")
    return [
        models,
        trees,
        single,
        weighted,
        classifier(algorithm="ball_tree", weights="distance").fit(X, LABELS),
        classifier().fit(sp.csr_matrix(X), MULTI),
        sk("neighbors", "LocalOutlierFactor")(novelty=True, algorithm="kd_tree").fit(X),
        sk("cluster", "AgglomerativeClustering")(metric=metric, linkage="average").fit(X),
    ]


def _searches() -> Any:
    grid = sk("model_selection", "GridSearchCV")
    random = sk("model_selection", "RandomizedSearchCV")
    tree = sk("tree", "DecisionTreeClassifier")()
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
        fitted.fit(X, LABELS),
        [grid(tree, {"max_depth": [1, None]}, cv=cv) for cv in splitters],
        grid(tree, {"max_depth": [1, None]}, cv=splitters[1]).fit(X, LABELS),
        random(tree, depths, n_iter=3, random_state=0, scoring="roc_auc").fit(X, BINARY),
        grid(sk("pipeline", "make_pipeline")(sk("preprocessing", "StandardScaler")(), tree), {}).fit(X, BINARY),
        grid(tree, {"random_state": [0, None]}, scoring=sk("metrics", "make_scorer")(sk("metrics", "f1_score"))),
        split.ParameterGrid({"a": [1, 2]}),
        split.ParameterSampler({"a": [1, 2]}, 1),
        grid(tree, {"estimator__x": [tree]}),
    ]


def _scorers() -> Any:
    metrics = importlib.import_module("sklearn.metrics")
    return {name: metrics.get_scorer(name) for name in metrics.get_scorer_names()}


def _calibrations() -> Any:
    calibrated = sk("calibration", "CalibratedClassifierCV")
    svm = sk("svm", "LinearSVC")()
    models = each(lambda method: calibrated(svm, method=method, cv=2).fit(X, LABELS), ("sigmoid", "isotonic"))
    models += each(lambda method: calibrated(svm, method=method, cv=2).fit(X, LABELS), ("temperature",))
    models += each(lambda ensemble: calibrated(svm, ensemble=ensemble, cv=2).fit(X, BINARY), (True, False))
    thresholds = each(
        lambda name: sk("model_selection", name)(sk("linear_model", "LogisticRegression")()).fit(X, BINARY),
        ("FixedThresholdClassifier", "TunedThresholdClassifierCV"),
    )
    frozen = each(lambda name: sk("frozen", name)(sk("svm", "SVC")().fit(X, BINARY)), ("FrozenEstimator",))
    return [models, thresholds, frozen]


def _processes() -> Any:
    kernels = importlib.import_module("sklearn.gaussian_process.kernels")
    regressor = sk("gaussian_process", "GaussianProcessRegressor")
    classifier = sk("gaussian_process", "GaussianProcessClassifier")
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
    models = [regressor(kernel, optimizer=None).fit(X[:8, :1], NUMBERS[:8]) for kernel in listed]
    return [models, classifier(kernels.RBF()).fit(X, LABELS), classifier(multi_class="one_vs_one").fit(X, LABELS)]


def _kernels() -> Any:
    pairwise = importlib.import_module("sklearn.metrics.pairwise")
    # Not the two that choose a function by name, which the packs leave out.
    names = set(dir(pairwise)) - {"pairwise_distances", "paired_distances"}
    kernels = [getattr(pairwise, name) for name in sorted(names) if name.endswith(("_kernel", "_distances"))]
    kernels += [pairwise.cosine_similarity]
    svm = sk("svm", "SVC")
    return [
        [svm(kernel=kernel) for kernel in kernels],
        svm(kernel=pairwise.rbf_kernel).fit(X, LABELS),
        sk("kernel_ridge", "KernelRidge")(kernel="laplacian").fit(X, NUMBERS),
        sk("decomposition", "KernelPCA")(2, kernel="rbf", fit_inverse_transform=True).fit(X),
        each(lambda kernel: svm(kernel=kernel).fit(X, LABELS), ("linear", "poly", "sigmoid")),
        svm(decision_function_shape="ovo", random_state=0).fit(sp.csr_matrix(X), LABELS),
        sk("svm", "OneClassSVM")(kernel="precomputed").fit(X @ X.T),
    ]


def _texts() -> Any:
    text = importlib.import_module("sklearn.feature_extraction.text")
    return [
        text.CountVectorizer(stop_words="english", ngram_range=(1, 2)).fit(TEXTS),
        text.CountVectorizer(stop_words=["the"], binary=True, max_features=3, strip_accents="unicode").fit(TEXTS),
        text.CountVectorizer(vocabulary={"red", "fox"}, dtype=np.float32).fit(TEXTS),
        text.CountVectorizer(preprocessor=text.strip_accents_unicode, vocabulary=["red"]).fit(TEXTS),
        text.CountVectorizer(vocabulary={"red": 0}).fit(TEXTS),
        text.TfidfVectorizer(analyzer="char_wb", sublinear_tf=True, min_df=2).fit(TEXTS),
        sk("pipeline", "make_pipeline")(
            text.HashingVectorizer(n_features=16), text.TfidfTransformer(), sk("naive_bayes", "ComplementNB")()
        ),
        sk("decomposition", "TruncatedSVD")(2).fit(text.TfidfVectorizer().fit_transform(TEXTS)),
        sk("decomposition", "LatentDirichletAllocation")(2, max_iter=2).fit(COUNTS),
        sk("feature_extraction", "FeatureHasher")(n_features=8, dtype=np.float32),
    ]


def _selections() -> Any:
    selection = importlib.import_module("sklearn.feature_selection")
    names = ("f_classif", "f_regression", "chi2", "mutual_info_classif", "mutual_info_regression", "r_regression")
    tree = sk("tree", "DecisionTreeClassifier")()
    return [
        each(lambda name: selection.SelectKBest(getattr(selection, name), k=2).fit(X, BINARY), names),
        selection.SelectFromModel(tree, prefit=False, importance_getter="feature_importances_").fit(X, BINARY),
        selection.RFECV(tree, min_features_to_select=2).fit(X, BINARY),
        selection.SelectFromModel(sk("linear_model", "Lasso")(), max_features=len),
        selection.SequentialFeatureSelector(tree, n_features_to_select=2, cv=2).fit(X, LABELS),
    ]


def _imputers() -> Any:
    impute = importlib.import_module("sklearn.impute")
    data = X.copy()
    data[::7, 1] = np.nan
    data[::5, 2] = np.nan
    forest = sk("ensemble", "RandomForestRegressor")(n_estimators=2)
    return [
        impute.SimpleImputer(strategy="most_frequent", add_indicator=True).fit(data),
        impute.SimpleImputer(strategy="constant", fill_value="x").fit(np.array([["a"], [np.nan]], dtype=object)),
        each(lambda one: impute.SimpleImputer(strategy=one).fit(data), (np.nanmean,)),
        impute.KNNImputer(add_indicator=True).fit(data),
        impute.IterativeImputer(max_iter=2, sample_posterior=True, random_state=0).fit(data),
        impute.IterativeImputer(forest, max_iter=2).fit(data),
        impute.MissingIndicator().fit(data),
    ]


def _ensembles() -> Any:
    ensemble = importlib.import_module("sklearn.ensemble")
    tree = sk("tree", "DecisionTreeClassifier")(max_depth=2)
    logistic = sk("linear_model", "LogisticRegression")()
    pair = [("tree", tree), ("logistic", logistic), ("none", "drop")]
    forest = ensemble.RandomForestClassifier(n_estimators=3, oob_score=True, random_state=np.random.RandomState(1))
    scored = ensemble.RandomForestClassifier(n_estimators=3, oob_score=sk("metrics", "f1_score"), bootstrap=True)
    return [
        forest.fit(X, BINARY),
        scored.fit(X, BINARY),
        ensemble.ExtraTreesRegressor(n_estimators=2, criterion="absolute_error").fit(X, NUMBERS),
        each(lambda one: ensemble.RandomForestRegressor(2, criterion=one).fit(X, NUMBERS), ("poisson", "friedman_mse")),
        ensemble.VotingClassifier(pair, voting="soft").fit(X, LABELS),
        ensemble.StackingClassifier(pair, stack_method="predict_proba", cv=2).fit(X, LABELS),
        ensemble.StackingClassifier(pair, final_estimator=tree, passthrough=True, cv=2).fit(X, BINARY),
        ensemble.StackingRegressor([("tree", sk("tree", "DecisionTreeRegressor")())], cv=2).fit(X, NUMBERS),
        ensemble.BaggingClassifier(logistic, n_estimators=2, oob_score=True, max_features=2).fit(X, LABELS),
        ensemble.AdaBoostClassifier(n_estimators=2).fit(X, LABELS),
        ensemble.AdaBoostRegressor(n_estimators=2).fit(X, NUMBERS),
        ensemble.IsolationForest(n_estimators=3).fit(X),
        ensemble.RandomTreesEmbedding(n_estimators=2).fit(X),
        sk("multioutput", "ClassifierChain")(logistic, order="random", random_state=0).fit(X, MULTI),
        sk("multiclass", "OneVsRestClassifier")(logistic).fit(X, np.column_stack([BINARY, np.ones(60, int)])),
        sk("multiclass", "OutputCodeClassifier")(logistic, random_state=0).fit(X, LABELS),
    ]


def _clusterers() -> Any:
    cluster = importlib.import_module("sklearn.cluster")
    return [
        cluster.KMeans(2, n_init=1, algorithm="elkan").fit(X),
        cluster.KMeans(2, n_init=1, init=X[:2]).fit(sp.csr_matrix(X)),
        cluster.Birch(n_clusters=2, threshold=0.2).fit(X),
        cluster.Birch(n_clusters=cluster.AgglomerativeClustering(2), threshold=0.2).fit(X),
        cluster.HDBSCAN(min_cluster_size=3, store_centers="both").fit(X),
        cluster.SpectralClustering(2, affinity="nearest_neighbors").fit(X),
        cluster.AgglomerativeClustering(2, connectivity=sp.csr_matrix(np.ones((60, 60)))).fit(X),
        cluster.FeatureAgglomeration(2, pooling_func=np.mean).fit(X),
        cluster.FeatureAgglomeration(2, pooling_func=np.max).fit(X),
    ]


def _distributions() -> Any:
    """Make every distribution of scipy, frozen and not, and searches over some."""
    from scipy import stats

    kinds = [
        (name, found)
        for name, found in vars(stats).items()
        if isinstance(found, (stats.rv_continuous, stats.rv_discrete)) and name != "trapz"
    ]
    frozen = []
    for name, kind in kinds:
        try:
            frozen.append(kind(*[0.5] * kind.numargs, loc=1))
        except (TypeError, ValueError) as error:  # of parameters that are arrays
            print(f"# left out frozen {name}: {error}"[:160], file=sys.stderr)
    used = stats.randint(1, 9)
    used.random_state = np.random.RandomState(3)
    used.entropy()
    made = [stats.rv_histogram(np.histogram(X)), stats.rv_discrete(values=([1, 2], [0.5, 0.5]))]
    random = sk("model_selection", "RandomizedSearchCV")
    over = {"max_depth": stats.randint(1, 5), "min_samples_split": stats.loguniform(0.1, 0.5)}
    search = random(sk("tree", "DecisionTreeClassifier")(), over, n_iter=3, random_state=0).fit(X, BINARY)
    halving = each(
        lambda name: sk("model_selection", name)(sk("tree", "DecisionTreeClassifier")(), over, n_candidates=2).fit(
            X, BINARY
        ),
        ("HalvingRandomSearchCV",),
    )
    return [[kind for _, kind in kinds], frozen, used, made, [one() for one in made], search, halving]


def _held() -> Any:
    """Make what holds a bound method or a function that only one class may hold."""
    classifier = sk("ensemble", "HistGradientBoostingClassifier")
    regressor = sk("ensemble", "HistGradientBoostingRegressor")
    bisecting = sk("cluster", "BisectingKMeans")
    counting = sk("feature_extraction.text", "CountVectorizer")
    return [
        classifier(max_iter=2, scoring="accuracy", early_stopping=True).fit(X, BINARY),
        regressor(max_iter=2, scoring="r2", early_stopping=True).fit(X, NUMBERS),
        bisecting(3, algorithm="elkan").fit(X),
        bisecting(3, algorithm="lloyd").fit(X),
        counting(preprocessor=str.lower, tokenizer=str.split, token_pattern=None).fit(TEXTS),
    ]


def _mixed() -> Any:
    mlp = sk("neural_network", "MLPClassifier")
    semi = importlib.import_module("sklearn.semi_supervised")
    some = np.where(np.arange(60) % 4 == 0, -1, BINARY)
    embedding = sk("manifold", "LocallyLinearEmbedding")
    learning = sk("semi_supervised", "SelfTrainingClassifier")
    return [
        each(lambda one: mlp((3,), solver=one, max_iter=3).fit(X, LABELS), ("adam", "sgd", "lbfgs")),
        mlp((3,), max_iter=5, early_stopping=True).fit(X, MULTI),
        semi.LabelSpreading(kernel="knn").fit(X, some),
        semi.LabelPropagation(kernel=sk("metrics.pairwise", "rbf_kernel")).fit(X, some),
        each(lambda one: learning(one).fit(X, some), (sk("linear_model", "LogisticRegression")(),)),
        sk("mixture", "GaussianMixture")(n_components=2, random_state=np.random.RandomState(0), warm_start=True).fit(X),
        sk("mixture", "BayesianGaussianMixture")(n_components=2).fit(X),
        each(lambda one: embedding(method=one, n_neighbors=12).fit(X), ("standard", "modified", "hessian", "ltsa")),
        sk("manifold", "Isomap")(n_neighbors=5).fit(X),
        sk("discriminant_analysis", "LinearDiscriminantAnalysis")(
            solver="lsqr", covariance_estimator=sk("covariance", "LedoitWolf")()
        ).fit(X, LABELS),
        sk("preprocessing", "SplineTransformer")(knots="quantile", extrapolation="periodic").fit(X),
        sk("preprocessing", "PolynomialFeatures")(2, interaction_only=True).fit(X),
        sk("preprocessing", "TargetEncoder")().fit(COUNTS, NUMBERS),
        sk("preprocessing", "LabelBinarizer")(sparse_output=True).fit(LABELS),
        sk("linear_model", "RANSACRegressor")(random_state=0).fit(X, NUMBERS),
        sk("linear_model", "RidgeCV")().fit(X, NUMBERS),
        sk("isotonic", "IsotonicRegression")(out_of_bounds="clip").fit(X[:, 0], NUMBERS),
        sk("utils", "Bunch")(data=X, names=["a", "b"]),
        sk("decomposition", "DictionaryLearning")(2, max_iter=2).fit(X),
        sk("dummy", "DummyRegressor")(strategy="quantile", quantile=0.3).fit(X, NUMBERS),
        sk("cross_decomposition", "PLSRegression")(2).fit(X, NUMBERS),
    ]


def _routing() -> Any:
    """Metadata routing keeps what was asked for on the estimators."""
    sklearn = importlib.import_module("sklearn")
    sklearn.set_config(enable_metadata_routing=True)
    try:
        logistic = sk("linear_model", "LogisticRegression")().set_fit_request(sample_weight=True)
        scaler = sk("preprocessing", "StandardScaler")().set_fit_request(sample_weight="weights")
        pipeline = sk("pipeline", "make_pipeline")(scaler, logistic)
        fitted = pipeline.fit(X, BINARY, sample_weight=np.ones(60), weights=np.ones(60))
        scorer = sk("metrics", "make_scorer")(sk("metrics", "f1_score")).set_score_request(sample_weight=True)
        return [fitted, pipeline.get_metadata_routing(), logistic.get_metadata_routing(), scorer]
    finally:
        sklearn.set_config(enable_metadata_routing=False)
