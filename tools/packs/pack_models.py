"""Fitted models and data of the libraries that have a pack of their own: what those packs are checked against.

`pack_models("xgboost")` gives them with a name each.  What an installed version does not have, or will not fit, is
left out and told on standard error.
"""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from safeload.policy import pack_distributions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What to import for each distribution that a pack is for; statsmodels has no pack (docs/reference/packs.md says why).
LIBRARIES: dict[str, str] = {distribution: module for module, distribution in pack_distributions().items()}
LIBRARIES["statsmodels"] = "statsmodels"

RNG = np.random.RandomState(0)
X = RNG.rand(120, 5)
X_MISSING = np.where(RNG.rand(120, 5) < 0.1, np.nan, X)
LABELS = (X[:, 0] + X[:, 1] > 1).astype(int)
CLASSES = np.digitize(X[:, 0], [0.3, 0.6])
TARGET = X[:, 0] * 3 + X[:, 1] ** 2
GROUPS = np.repeat(np.arange(12), 10)

Models = dict[str, "Callable[[], Any]"]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted model, with data for its `predict`, `transform` or `score_samples`; None where it has none of them."""

    model: Any
    data: Any = None

    def answer(self, model: Any) -> Any:
        """Return what a model (this one, or a copy that was saved and loaded) makes of the data."""
        if self.data is None:
            return re.sub(r" at 0x[0-9a-f]+", "", repr(model))
        for method in ("predict", "transform", "score_samples"):
            if hasattr(model, method):
                return getattr(model, method)(self.data)
        raise AttributeError(f"a {type(model).__name__} answers nothing")


def pack_models(pack: str) -> Iterator[tuple[str, Fitted]]:
    """Yield a name and a fitted model, or data that models hold, for each case of a pack's library."""
    for name, make in globals()[f"_{pack.replace('-', '_')}"]().items():
        try:
            made = make()
        except (ImportError, AttributeError, NameError, NotImplementedError, TypeError, ValueError) as error:
            print(f"left out: {pack}: {name}: {type(error).__name__}: {str(error)[:160]}", file=sys.stderr)
        else:
            yield f"{pack}: {name}", made if isinstance(made, Fitted) else Fitted(made)


def _sk(module: str, name: str, *args: Any, **options: Any) -> Any:
    return getattr(importlib.import_module(f"sklearn.{module}"), name)(*args, **options)


# -------------------------------------------------------------------------------------------------- pandas


def frame() -> Any:
    """Return a frame as models are fitted on: numbers, categories, text, missing values."""
    import pandas as pd

    return pd.DataFrame(
        {
            "age": X[:, 0] * 80,
            "income": X_MISSING[:, 1],
            "city": pd.Categorical(np.array(["Oslo", "Rome", "Lima"])[CLASSES]),
            "plan": np.array(["free", "paid"], dtype=object)[LABELS],
            "count": np.arange(120),
        }
    )


def _columns() -> Models:
    """Return a column of each dtype."""
    import pandas as pd

    days = pd.date_range("2026-01-01", periods=4, freq="D")
    columns: dict[str, Callable[[], Any]] = {
        "float": lambda: pd.Series([1.5, np.nan, 2.5, 3.5]),
        "float32": lambda: pd.Series([1.5, 2.5], dtype="float32"),
        "complex": lambda: pd.Series([1j, 2.0]),
        "bool": lambda: pd.Series([True, False]),
        "object": lambda: pd.Series(["a", None, 1, (1, 2)], dtype=object),
        "strings": lambda: pd.Series(["a", "b", None], dtype="string[python]"),
        "strings in arrow": lambda: pd.Series(["a", "b", None], dtype="string[pyarrow]"),
        "strings by inference": lambda: pd.Series(["a", "b", None]),
        "categories": lambda: pd.Series(["a", "b", None], dtype="category"),
        "ordered categories": lambda: pd.Series(
            pd.Categorical([1, 2, 1], categories=[1, 2, 3], ordered=True), name="rank"
        ),
        "categories of dates": lambda: pd.Series(pd.Categorical(days)),
        "categories of intervals": lambda: pd.cut(pd.Series([1, 5, 9]), [0, 4, 10]),
        "dates": lambda: pd.Series(days),
        "dates in seconds": lambda: pd.Series(days).astype("datetime64[s]"),
        "dates with NaT": lambda: pd.Series([pd.Timestamp("2026-01-01"), pd.NaT]),
        "dates in UTC": lambda: pd.Series(days.tz_localize("UTC")),
        "dates at an offset": lambda: pd.Series(pd.to_datetime(["2026-01-01T00:00+02:00"] * 2)),
        "time deltas": lambda: pd.Series(pd.to_timedelta([1, 2, None], unit="h")),
        "periods": lambda: pd.Series(pd.period_range("2026-01", periods=3, freq="M")),
        "intervals": lambda: pd.Series(pd.interval_range(0, 3)),
        "sparse": lambda: pd.Series(pd.arrays.SparseArray([0, 0, 1, 2])),
        "sparse blocks": lambda: pd.Series(pd.arrays.SparseArray([0, 0, 1, 2], kind="block")),
        "sparse with NaN": lambda: pd.Series(pd.arrays.SparseArray([np.nan, 1.0, np.nan])),
        "nullable Int64": lambda: pd.Series([1, None, 3], dtype="Int64"),
        "nullable Int8": lambda: pd.Series([1, None, 3], dtype="Int8"),
        "nullable UInt16": lambda: pd.Series([1, None, 3], dtype="UInt16"),
        "nullable Float64": lambda: pd.Series([1.5, None], dtype="Float64"),
        "nullable Float32": lambda: pd.Series([1.5, None], dtype="Float32"),
        "nullable boolean": lambda: pd.Series([True, None], dtype="boolean"),
        "arrow integers": lambda: pd.Series([1, None, 3], dtype="int64[pyarrow]"),
        "arrow dates": lambda: pd.Series(days, dtype="timestamp[ns][pyarrow]"),
    }
    for size in (8, 16, 32, 64):
        for kind in ("int", "uint"):
            columns[f"{kind}{size}"] = partial(pd.Series, [1, 2, 3], dtype=f"{kind}{size}")
            nullable = {"int": "Int", "uint": "UInt"}[kind] + str(size)
            columns[f"nullable {nullable}"] = partial(pd.Series, [1, None, 3], dtype=nullable)
    return columns


def _indexes() -> Models:
    import pandas as pd

    days = pd.date_range("2026-01-01", periods=3, freq="D")
    return {
        "range": lambda: pd.RangeIndex(3),
        "range with a step": lambda: pd.RangeIndex(1, 9, 2, name="n"),
        "integers": lambda: pd.Index([3, 1, 2]),
        "floats": lambda: pd.Index([3.5, 1, 2]),
        "text": lambda: pd.Index(["a", "b", "c"], name="letters"),
        "objects": lambda: pd.Index(["a", 1, None], dtype=object),
        "several levels": lambda: pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["x", "y"]),
        "several levels of all kinds": lambda: pd.MultiIndex.from_arrays(
            [days, pd.Categorical(["a", "b", "a"]), [1.5, 2, 3]], names=[None, "c", 3]
        ),
        "categories": lambda: pd.CategoricalIndex(["a", "b", "a"]),
        "dates": lambda: days,
        "dates in UTC": lambda: days.tz_localize("UTC"),
        "business days": lambda: pd.date_range("2026-01-01", periods=3, freq="B"),
        "month ends": lambda: pd.date_range("2026-01-01", periods=3, freq="ME" if pd.__version__ >= "2.2" else "M"),
        "hours": lambda: pd.date_range("2026-01-01", periods=3, freq="3h"),
        "dates of no frequency": lambda: pd.DatetimeIndex(["2026-01-01", "2026-01-05"]),
        "time deltas": lambda: pd.timedelta_range("1h", periods=3),
        "periods": lambda: pd.period_range("2026-01", periods=3, freq="M"),
        "quarters": lambda: pd.period_range("2026Q1", periods=3, freq="Q"),
        "intervals": lambda: pd.interval_range(0, 3),
        "intervals of dates": lambda: pd.interval_range(pd.Timestamp("2026-01-01"), periods=2),
        "nullable": lambda: pd.Index([1, None, 2], dtype="Int64"),
        "booleans": lambda: pd.Index([True, False]),
    }


def _scalars() -> Models:
    import pandas as pd

    return {
        "NA": lambda: pd.NA,
        "NaT": lambda: pd.NaT,
        "Timestamp": lambda: pd.Timestamp("2026-01-01 10:00"),
        "Timestamp in UTC": lambda: pd.Timestamp("2026-01-01 10:00", tz="UTC"),
        "Timedelta": lambda: pd.Timedelta("1 day 2h"),
        "Period": lambda: pd.Period("2026-01", freq="M"),
        "Period of days": lambda: pd.Period("2026-01-01", freq="D"),
        "Interval": lambda: pd.Interval(0, 1, closed="left"),
        **{
            f"offset {name}": getattr(pd.offsets, name)
            for name in (
                "Day", "Hour", "Minute", "Second", "Milli", "Micro", "Nano", "BusinessDay", "MonthEnd", "MonthBegin",
                "BusinessMonthEnd", "BusinessMonthBegin", "QuarterEnd", "QuarterBegin", "YearEnd", "YearBegin", "Week",
                "SemiMonthEnd", "SemiMonthBegin",
            )
        },
        "dtypes": lambda: [
            pd.CategoricalDtype(["a", "b"]), pd.Int64Dtype(), pd.StringDtype("python"), pd.PeriodDtype("M"),
            pd.IntervalDtype("int64", "right"), pd.SparseDtype(float), pd.DatetimeTZDtype("ns", "UTC"),
            pd.BooleanDtype(), pd.Float64Dtype(),
        ],
    }  # fmt: skip


def _pandas() -> Models:
    import pandas as pd

    def attributed() -> Any:
        made = frame()
        made.attrs["source"] = {"table": "customers", "rows": 120}
        return made.set_flags(allows_duplicate_labels=False)

    def pipeline() -> Any:
        columns = _sk(
            "compose",
            "ColumnTransformer",
            [
                ("n", _sk("preprocessing", "StandardScaler"), ["age", "count"]),
                ("i", _sk("impute", "SimpleImputer"), ["income"]),
                ("c", _sk("preprocessing", "OneHotEncoder", sparse_output=False), ["city", "plan"]),
            ],
            verbose_feature_names_out=False,
        )
        made = _sk("pipeline", "make_pipeline", columns, _sk("linear_model", "LogisticRegression"))
        return Fitted(made.set_output(transform="pandas").fit(frame(), pd.Series(LABELS, name="bought")), frame())

    def framed(make: Callable[[], Any]) -> Any:
        return make().to_frame("x")

    def series_by(make: Callable[[], Any]) -> Any:
        return pd.Series(range(len(make())), index=make())

    return {
        **{f"column of {name}": make for name, make in _columns().items()},
        **{f"frame of {name}": partial(framed, make) for name, make in _columns().items()},
        **{f"index of {name}": make for name, make in _indexes().items()},
        **{f"series by {name}": partial(series_by, make) for name, make in _indexes().items()},
        **_scalars(),
        "frame": frame,
        "frame of one dtype": lambda: pd.DataFrame(X, columns=list("abcde")),
        "frame in Fortran order": lambda: pd.DataFrame(np.asfortranarray(X)),
        "frame of views": lambda: frame().iloc[::2, 1:],
        "empty frame": pd.DataFrame,
        "frame without rows": lambda: frame().iloc[:0],
        "frame by levels": lambda: (
            frame().groupby(["city", "plan"], observed=True)[["age", "count"]].agg(["mean", "max"])
        ),
        "frame with attributes": attributed,
        "pipeline of frames": pipeline,
        "transformers that hold frames": lambda: {
            "raw": frame(), "mean": frame()["age"].groupby(frame()["plan"]).mean()
        },
        "classes in a series": lambda: pd.Series(LABELS).astype("category"),
        "search over frames": lambda: _sk(
            "model_selection", "GridSearchCV", pipeline().model, {"logisticregression__C": [0.1, 1.0]}, cv=2
        ).fit(frame(), LABELS),
        "results of a search, with its parameters in dicts": lambda: pd.DataFrame(
            _sk("model_selection", "GridSearchCV", _sk("linear_model", "Ridge"), {"alpha": [0.1, 1.0]}, cv=2)
            .fit(X, X[:, 0]).cv_results_
        ),
        "k nearest": lambda: _sk("neighbors", "KNeighborsClassifier").fit(frame()[["age", "count"]], frame()["plan"]),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------- boosting


def _xgboost() -> Models:
    import scipy.sparse
    import xgboost as xgb

    few: dict[str, Any] = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1}

    def fitted(kind: str, y: Any = LABELS, data: Any = X, **options: Any) -> Fitted:
        return Fitted(getattr(xgb, kind)(**{**few, **options}).fit(data, y), data)

    def booster(**parameters: Any) -> Any:
        return xgb.train({"max_depth": 2, "nthread": 1, **parameters}, xgb.DMatrix(X, LABELS), num_boost_round=3)

    def early() -> Fitted:
        made = xgb.XGBClassifier(**few, early_stopping_rounds=2, eval_metric=["logloss", "auc"])
        return Fitted(made.fit(X, LABELS, eval_set=[(X, LABELS)], verbose=False), X)

    def callbacks() -> Fitted:
        stop = xgb.callback.EarlyStopping(rounds=2, save_best=True)
        made = xgb.XGBClassifier(**few, callbacks=[stop])
        return Fitted(made.fit(X, LABELS, eval_set=[(X, LABELS)], verbose=False), X)

    def ranker() -> Fitted:
        return Fitted(xgb.XGBRanker(**few).fit(X, CLASSES, group=[60, 60]), X)

    def categorical() -> Fitted:
        data = frame().drop(columns="plan")
        return Fitted(xgb.XGBClassifier(**few, enable_categorical=True, tree_method="hist").fit(data, LABELS), data)

    def pipeline() -> Fitted:
        made = _sk("pipeline", "make_pipeline", _sk("preprocessing", "StandardScaler"), xgb.XGBRegressor(**few))
        return Fitted(made.fit(X, TARGET), X)

    def search() -> Fitted:
        grid = {"max_depth": [1, 2]}
        return Fitted(_sk("model_selection", "GridSearchCV", xgb.XGBClassifier(**few), grid, cv=2).fit(X, LABELS), X)

    return {
        "classifier": lambda: fitted("XGBClassifier"),
        "classifier of several classes": lambda: fitted("XGBClassifier", CLASSES),
        "unfitted": lambda: xgb.XGBClassifier(**few),
        **{
            f"{kind} {tree}": partial(fitted, "XGBRegressor", TARGET, booster=kind, tree_method=tree)
            for kind, tree in (
                ("gbtree", "hist"), ("gbtree", "exact"), ("gbtree", "approx"), ("dart", "hist"), ("gblinear", "auto")
            )
        },
        "missing values": lambda: fitted("XGBRegressor", TARGET, X_MISSING),
        "sparse": lambda: fitted("XGBClassifier", LABELS, scipy.sparse.csr_matrix(np.where(X > 0.5, X, 0))),
        "quantiles": lambda: fitted("XGBRegressor", TARGET, objective="reg:quantileerror", quantile_alpha=0.5),
        "monotone": lambda: fitted("XGBRegressor", TARGET, monotone_constraints=(1, 0, 0, 0, 0)),
        "random forest classifier": lambda: fitted("XGBRFClassifier"),
        "random forest regressor": lambda: fitted("XGBRFRegressor", TARGET),
        "early stopping": early,
        "callbacks": callbacks,
        "ranker": ranker,
        "frame": lambda: fitted("XGBClassifier", LABELS, frame()[["age", "income", "count"]]),
        "categories": categorical,
        "pipeline": pipeline,
        "search": search,
        "booster": booster,
        "booster of trees with attributes": lambda: booster(objective="binary:logistic", booster="dart"),
        "calibrated": lambda: Fitted(
            _sk("calibration", "CalibratedClassifierCV", xgb.XGBClassifier(**few), cv=2).fit(X, LABELS), X
        ),
        "stacked": lambda: Fitted(
            _sk(
                "ensemble",
                "StackingClassifier",
                [("x", xgb.XGBClassifier(**few)), ("l", _sk("linear_model", "LogisticRegression"))],
                cv=2,
            ).fit(X, LABELS),
            X,
        ),
        "random state": lambda: fitted("XGBClassifier", random_state=np.random.RandomState(3)),
    }  # fmt: skip


def _lightgbm() -> Models:
    import lightgbm as lgb
    import scipy.sparse

    few: dict[str, Any] = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1, "verbose": -1, "min_child_samples": 5}

    def fitted(kind: str, y: Any = LABELS, data: Any = X, **options: Any) -> Fitted:
        return Fitted(getattr(lgb, kind)(**{**few, **options}).fit(data, y), data)

    def booster(**parameters: Any) -> Fitted:
        return Fitted(
            lgb.train({"verbose": -1, "num_threads": 1, **parameters}, lgb.Dataset(X, LABELS), num_boost_round=3), X
        )

    def early() -> Fitted:
        made = lgb.LGBMClassifier(**few)
        stop = lgb.early_stopping(2, verbose=False)
        return Fitted(made.fit(X, LABELS, eval_set=[(X, LABELS)], callbacks=[stop]), X)

    def categorical() -> Fitted:
        data = frame().drop(columns="plan")
        return fitted("LGBMClassifier", LABELS, data)

    return {
        "classifier": lambda: fitted("LGBMClassifier"),
        "classifier of several classes": lambda: fitted("LGBMClassifier", CLASSES),
        "classifier of text": lambda: fitted("LGBMClassifier", np.array(["no", "yes"])[LABELS]),
        "unfitted": lambda: lgb.LGBMClassifier(**few),
        **{
            f"boosting {kind}": partial(
                fitted, "LGBMRegressor", TARGET, boosting_type=kind, subsample=0.5, subsample_freq=1
            )
            for kind in ("gbdt", "dart", "rf")
        },
        "missing values": lambda: fitted("LGBMRegressor", TARGET, X_MISSING),
        "sparse": lambda: fitted("LGBMClassifier", LABELS, scipy.sparse.csr_matrix(np.where(X > 0.5, X, 0))),
        "quantiles": lambda: fitted("LGBMRegressor", TARGET, objective="quantile", alpha=0.3),
        "linear trees": lambda: fitted("LGBMRegressor", TARGET, linear_tree=True),
        "class weights": lambda: fitted("LGBMClassifier", class_weight={0: 1.0, 1: 2.0}),
        "early stopping": early,
        "ranker": lambda: Fitted(lgb.LGBMRanker(**few).fit(X, CLASSES, group=[60, 60]), X),
        "frame": lambda: fitted("LGBMClassifier", LABELS, frame()[["age", "income", "count"]]),
        "categories": categorical,
        "pipeline": lambda: Fitted(
            _sk("pipeline", "make_pipeline", _sk("preprocessing", "StandardScaler"), lgb.LGBMRegressor(**few)).fit(
                X, TARGET
            ),
            X,
        ),
        "search": lambda: Fitted(
            _sk("model_selection", "GridSearchCV", lgb.LGBMClassifier(**few), {"num_leaves": [3, 5]}, cv=2).fit(
                X, LABELS
            ),
            X,
        ),
        "booster": booster,
        "booster with parameters": lambda: booster(objective="binary", metric=["auc", "binary_logloss"]),
        "several outputs": lambda: Fitted(
            _sk("multioutput", "MultiOutputRegressor", lgb.LGBMRegressor(**few)).fit(X, X[:, :2]), X
        ),
        "random state": lambda: fitted("LGBMClassifier", random_state=np.random.RandomState(3)),
    }  # fmt: skip


def _catboost() -> Models:
    import catboost as cb

    few: dict[str, Any] = {
        "iterations": 4, "depth": 3, "thread_count": 1, "verbose": False, "allow_writing_files": False
    }  # fmt: skip

    def fitted(kind: str, y: Any = LABELS, data: Any = X, **options: Any) -> Fitted:
        cats = options.pop("cat_features", None)
        return Fitted(getattr(cb, kind)(**{**few, **options}).fit(data, y, cat_features=cats), data)

    def text() -> Fitted:
        import pandas as pd

        data = pd.DataFrame({"t": np.array(["red fox", "blue whale", "old owl"])[CLASSES], "n": X[:, 1]})
        return Fitted(cb.CatBoostClassifier(**few).fit(data, LABELS, text_features=["t"]), data)

    return {
        "classifier": lambda: fitted("CatBoostClassifier"),
        "classifier of several classes": lambda: fitted("CatBoostClassifier", CLASSES),
        "classifier of text classes": lambda: fitted("CatBoostClassifier", np.array(["no", "yes"])[LABELS]),
        "regressor": lambda: fitted("CatBoostRegressor", TARGET),
        "missing values": lambda: fitted("CatBoostRegressor", TARGET, X_MISSING),
        "unfitted": lambda: cb.CatBoostClassifier(**few),
        "categories": lambda: fitted(
            "CatBoostClassifier", LABELS, frame().astype({"city": str}), cat_features=["city", "plan"]
        ),
        "text": text,
        "frame": lambda: fitted("CatBoostRegressor", TARGET, frame()[["age", "income", "count"]]),
        "loss": lambda: fitted("CatBoostRegressor", TARGET, loss_function="Quantile:alpha=0.3"),
        "grown by leaf": lambda: fitted("CatBoostRegressor", TARGET, grow_policy="Lossguide"),
        "class weights": lambda: fitted("CatBoostClassifier", class_weights=[1, 2]),
        "CatBoost": lambda: Fitted(cb.CatBoost({**few, "loss_function": "RMSE"}).fit(X, TARGET), X),
        "ranker": lambda: Fitted(cb.CatBoostRanker(**few).fit(X, CLASSES, group_id=GROUPS), X),
        "pipeline": lambda: Fitted(
            _sk("pipeline", "make_pipeline", _sk("preprocessing", "StandardScaler"), cb.CatBoostRegressor(**few)).fit(
                X, TARGET
            ),
            X,
        ),
        "early stopping": lambda: Fitted(
            cb.CatBoostClassifier(**few, early_stopping_rounds=2, eval_metric="AUC").fit(
                X, LABELS, eval_set=(X, LABELS)
            ),
            X,
        ),
        "search": lambda: Fitted(
            _sk("model_selection", "GridSearchCV", cb.CatBoostClassifier(**few), {"depth": [1, 2]}, cv=2).fit(
                X, LABELS
            ),
            X,
        ),
    }


# ------------------------------------------------------------------------- estimators in scikit-learn's manner


def _imbalanced_learn() -> Models:
    import imblearn.pipeline
    from imblearn import combine, ensemble, over_sampling, under_sampling

    rare = (X[:, 0] > 0.75).astype(int)
    cases: Models = {}
    for module in (over_sampling, under_sampling, combine, ensemble):
        for name in module.__all__:
            kind = getattr(module, name)

            def make(kind: Any = kind) -> Any:
                if kind.__name__ == "SMOTENC":
                    data = X.copy()
                    data[:, 1] = CLASSES
                    made = kind(categorical_features=[1])
                    made.fit_resample(data, rare)
                    return made
                if kind.__name__ == "SMOTEN":
                    made = kind()
                    made.fit_resample(np.round(X * 2).astype(int), rare)
                    return made
                if kind.__name__ == "InstanceHardnessThreshold":
                    made = kind(estimator=_sk("tree", "DecisionTreeClassifier"), cv=2)
                    made.fit_resample(X, rare)
                    return made
                if hasattr(kind, "fit_resample"):
                    made = kind()
                    made.fit_resample(X, rare)
                    return made
                return Fitted(kind(n_estimators=3).fit(X, rare), X)

            cases[name] = make
            cases[f"unfitted {name}"] = kind

    def pipeline() -> Fitted:
        steps = [
            ("scale", _sk("preprocessing", "StandardScaler")),
            ("over", over_sampling.SMOTE()),
            ("under", under_sampling.RandomUnderSampler()),
            ("model", _sk("linear_model", "LogisticRegression")),
        ]
        return Fitted(imblearn.pipeline.Pipeline(steps).fit(X, rare), X)

    cases["pipeline"] = pipeline
    cases["search over a pipeline"] = lambda: Fitted(
        _sk(
            "model_selection",
            "GridSearchCV",
            imblearn.pipeline.make_pipeline(over_sampling.SMOTE(), _sk("linear_model", "LogisticRegression")),
            {"smote__k_neighbors": [2, 3]},
            cv=2,
        ).fit(X, rare),
        X,
    )
    cases["frames"] = lambda: over_sampling.RandomOverSampler().fit(frame()[["age", "count"]], frame()["plan"])
    cases["function sampler"] = lambda: imblearn.FunctionSampler().fit(X, rare)
    return cases


def _category_encoders() -> Models:
    import category_encoders as ce

    data = frame()
    data["city"] = data["city"].astype(str)
    columns = ["city", "plan"]
    cases: Models = {}
    for name in ce.__all__:
        kind = getattr(ce, name)
        if not isinstance(kind, type):
            continue
        for variant in ({}, {"return_df": False}):

            def make(kind: Any = kind, variant: dict[str, Any] = variant) -> Fitted:
                options: dict[str, Any] = {} if kind.__name__ == "PolynomialWrapper" else {"cols": columns}
                if kind.__name__ in ("NestedCVWrapper", "PolynomialWrapper"):
                    inner = ce.TargetEncoder(cols=columns)
                    return Fitted(kind(inner).fit(data, LABELS), data)
                if kind.__name__ == "HashingEncoder":
                    options["max_process"] = 1
                return Fitted(kind(**options, **variant).fit(data, LABELS), data)

            cases[f"{name} {variant or ''}"] = make
    cases["numbers as classes"] = lambda: Fitted(ce.TargetEncoder(cols=columns).fit(data, TARGET), data)
    cases["missing values"] = lambda: Fitted(
        ce.OrdinalEncoder(cols=columns, handle_missing="return_nan").fit(data.where(data["plan"] != "free"), LABELS),
        data,
    )
    cases["mapping by hand"] = lambda: Fitted(
        ce.OrdinalEncoder(mapping=[{"col": "plan", "mapping": {"free": 1, "paid": 2}}]).fit(data), data
    )
    cases["pipeline"] = lambda: Fitted(
        _sk(
            "pipeline",
            "make_pipeline",
            ce.TargetEncoder(cols=columns),
            _sk("impute", "SimpleImputer"),
            _sk("linear_model", "LogisticRegression"),
        ).fit(data, LABELS),
        data,
    )
    cases["pipeline of frames"] = lambda: Fitted(
        _sk("pipeline", "make_pipeline", ce.OneHotEncoder(cols=columns, use_cat_names=True))
        .set_output(transform="pandas")
        .fit(data, LABELS),
        data,
    )
    return cases


def _hdbscan() -> Models:
    import hdbscan

    points = np.vstack([RNG.normal(center, 0.1, (40, 2)) for center in (0.0, 2.0, 4.0)])

    def fitted(**options: Any) -> Any:
        return hdbscan.HDBSCAN(min_cluster_size=5, core_dist_n_jobs=1, **options).fit(points)

    return {
        "plain": fitted,
        "unfitted": hdbscan.HDBSCAN,
        "ready to predict": lambda: fitted(prediction_data=True),
        "spanning tree": lambda: fitted(gen_min_span_tree=True),
        "manhattan": lambda: fitted(metric="manhattan", prediction_data=True),
        "minkowski": lambda: fitted(metric="minkowski", p=3),
        "ball tree": lambda: fitted(algorithm="boruvka_balltree", prediction_data=True),
        "kd tree": lambda: fitted(algorithm="boruvka_kdtree", prediction_data=True),
        "prims": lambda: fitted(algorithm="prims_kdtree"),
        "generic": lambda: fitted(algorithm="generic"),
        "leaf": lambda: fitted(cluster_selection_method="leaf"),
        "robust single linkage": lambda: hdbscan.RobustSingleLinkage(k=5).fit(points),
        "pipeline": lambda: _sk(
            "pipeline", "make_pipeline", _sk("preprocessing", "StandardScaler"), hdbscan.HDBSCAN(min_cluster_size=5)
        ).fit(points),
    }


def _quantile_forest() -> Models:
    import quantile_forest

    def fitted(kind: str, y: Any = TARGET, data: Any = X, **options: Any) -> Fitted:
        return Fitted(getattr(quantile_forest, kind)(n_estimators=4, random_state=0, **options).fit(data, y), data)

    return {
        "random forest": lambda: fitted("RandomForestQuantileRegressor"),
        "extra trees": lambda: fitted("ExtraTreesQuantileRegressor"),
        "unfitted": quantile_forest.RandomForestQuantileRegressor,
        "default quantiles": lambda: fitted("RandomForestQuantileRegressor", default_quantiles=[0.1, 0.5, 0.9]),
        "several outputs": lambda: fitted("RandomForestQuantileRegressor", X[:, :2]),
        "all samples of a leaf": lambda: fitted("RandomForestQuantileRegressor", max_samples_leaf=None),
        "out of bag": lambda: fitted("RandomForestQuantileRegressor", oob_score=True, bootstrap=True),
        "frame": lambda: fitted("RandomForestQuantileRegressor", TARGET, frame()[["age", "count"]]),
        "pipeline": lambda: Fitted(
            _sk(
                "pipeline",
                "make_pipeline",
                _sk("preprocessing", "StandardScaler"),
                quantile_forest.RandomForestQuantileRegressor(n_estimators=3),
            ).fit(X, TARGET),
            X,
        ),
    }


# --------------------------------------------------------------------------------------------- polars, statsmodels


def _polars() -> Models:
    import datetime as dt

    import polars as pl

    def data() -> Any:
        return pl.DataFrame(
            {
                "age": X[:, 0] * 80,
                "count": np.arange(120),
                "plan": np.array(["free", "paid"])[LABELS].tolist(),
                "city": pl.Series(np.array(["Oslo", "Rome", "Lima"])[CLASSES].tolist(), dtype=pl.Categorical),
                "day": [dt.date(2026, 1, 1)] * 120,
                "list": [[1, 2]] * 120,
                "flag": LABELS.astype(bool),
            }
        )

    return {
        "frame": data,
        "empty frame": pl.DataFrame,
        "series": lambda: pl.Series("x", [1, None, 3]),
        "series of text": lambda: pl.Series("x", ["a", None, "c"]),
        "series of structs": lambda: pl.Series("x", [{"a": 1, "b": "x"}]),
        "series of times": lambda: pl.Series("x", [dt.datetime(2026, 1, 1), None]),  # noqa: DTZ001
        "transformer of frames": lambda: Fitted(
            _sk("preprocessing", "StandardScaler").set_output(transform="polars").fit(data()[["age", "count"]]),
            data()[["age", "count"]],
        ),
        "model of frames": lambda: Fitted(
            _sk("linear_model", "LogisticRegression").fit(data()[["age", "count"]], LABELS), data()[["age", "count"]]
        ),
        "dtypes": lambda: [pl.Int64, pl.String, pl.Float32],
    }


def _statsmodels() -> Models:
    import statsmodels.api as sm

    exog = np.column_stack([np.ones(120), X])
    return {
        "OLS": lambda: sm.OLS(TARGET, exog).fit(),
        "OLS without data": lambda: _without_data(sm.OLS(TARGET, exog).fit()),
        "Logit": lambda: sm.Logit(LABELS, exog).fit(disp=0),
        "ARIMA": lambda: sm.tsa.ARIMA(TARGET, order=(1, 0, 0)).fit(),
        "exponential smoothing": lambda: sm.tsa.ExponentialSmoothing(TARGET + 1).fit(),
    }


def _without_data(results: Any) -> Any:
    results.remove_data()
    return results
