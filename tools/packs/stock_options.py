"""Every estimator of scikit-learn with every value that its own constraints name for each of its parameters.

As a command it looks at these and at what `stock_models` fits, and prints what a policy lacks.

    python -P -m packs.stock_options                # all of the installed scikit-learn: the rules that no pack has
    python -P -m packs.stock_options --only Forest   # estimators whose name contains that text

`_parameter_constraints` is what scikit-learn itself checks parameters against, so no option is missed: each string,
each boolean, None, numbers, arrays, random states, splitters, estimators, and functions by name where it takes any.
"""

from __future__ import annotations

import argparse
import io
import pickle
import sys
import warnings
from itertools import chain
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np

from packs.stock_data import DATA, TEXTS, X, sk
from packs.stock_models import every_kind, make, stock_models

if TYPE_CHECKING:
    from collections.abc import Iterator

# Functions that parameters take, by a part of the parameter's name; the last is for all others.
FUNCTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "metric": (("metrics.pairwise", "euclidean_distances"), ("metrics.pairwise", "cosine_distances")),
    "affinity": (("metrics.pairwise", "rbf_kernel"),),
    "kernel": (("metrics.pairwise", "rbf_kernel"), ("metrics.pairwise", "linear_kernel")),
    "score_func": (("feature_selection", "f_classif"), ("feature_selection", "chi2")),
    "scor": (("metrics", "accuracy_score"),),
    "strip_accents": (("feature_extraction.text", "strip_accents_ascii"),),
    "": (),
}
# What is not in the artifact, or is refused on purpose: folders that are unpickled from, callbacks that connect.
LEFT_OUT = {"memory", "callbacks", "n_jobs", "verbose"}
# Options of a closed set that are refused on purpose: they open the files that data names.
REFUSED = {("input", "filename")}
# Types of which only some values can be fitted, which stand in the combinations.
OPEN = {"param_grid", "param_distributions", "chain_method"}
# Rounds that are enough to have what a fitted model holds.
FEW = {"max_iter": 3, "n_estimators": 2, "n_init": 1}


def _values(name: str, constraint: Any) -> Iterator[Any]:
    """Give the values of one constraint: all of a closed set, one of what is open."""
    validation = sk("utils", "_param_validation")
    constraint = validation.make_constraint(constraint)
    options = getattr(constraint, "options", None)
    if options is not None:
        yield from sorted((one for one in options if (name, one) not in REFUSED), key=str)
        return
    kind = type(constraint).__name__
    if name in OPEN:
        return
    if kind == "_Callables":
        yield from (sk(*one) for one in next(value for part, value in FUNCTIONS.items() if part in name))
        yield from (np.mean, np.log1p, len)
        return
    if kind == "HasMethods":
        yield from _with_methods(constraint.methods)
    elif kind == "_CVObjects":
        yield from (2, None, sk("model_selection", "KFold")(2), sk("model_selection", "ShuffleSplit")(2))
    elif kind == "_RandomStates":
        yield from (0, None, np.random.RandomState(0))
    elif kind == "_InstancesOf":
        yield from _of_type(constraint.type)
    elif kind == "_ArrayLikes":
        yield from (np.ones(4), [1.0, 1.0, 1.0, 1.0])
    elif kind == "_IterablesNotString":
        yield from (["a", "b"], ("a", "b"))
    elif kind == "_SparseMatrices":
        from scipy import sparse

        yield from (sparse.csr_matrix(np.eye(4)), sparse.csr_array(np.eye(4)))
    else:
        try:
            yield validation.generate_valid_param(constraint)
        except ValueError:
            return


def _with_methods(methods: list[str]) -> Iterator[Any]:
    if "split" in methods:
        yield sk("model_selection", "KFold")(2)
    if "transform" in methods or "fit_transform" in methods:
        yield sk("preprocessing", "StandardScaler")()
    if "fit" in methods or "predict" in methods:
        yield from (sk("tree", "DecisionTreeClassifier")(), sk("linear_model", "Ridge")())


def _of_type(kind: type) -> Iterator[Any]:
    plain: dict[type, tuple[Any, ...]] = {
        dict: ({}, {0: 1.0, 1: 2.0}, {"a": 1}),
        list: ([], [1, 2], [0.1, 1.0], ["a"]),
        tuple: ((), (0, 1), (10, 90), (3,)),
        str: ("a", "auto"),
        bytes: (b"a",),
        bool: (True, False),
        set: ({"a"},),
        np.ndarray: (np.ones(4), np.eye(4), X[:2]),
        type: (np.float32, np.float64, int, float),
        np.random.RandomState: (np.random.RandomState(0),),
        np.random.Generator: (np.random.default_rng(0),),
        slice: (slice(0, 2),),
        object: (None, 1, "a"),
    }
    if kind in plain:
        yield from plain[kind]
    elif kind.__name__ in ("Integral", "Real"):
        yield 1
    elif kind.__name__.endswith("Kernel"):
        yield sk("gaussian_process.kernels", "RBF")()
    elif kind.__name__ == "DistanceMetric":
        yield kind.get_metric("euclidean")  # type: ignore[attr-defined]
    elif kind.__name__ == "BaseLoss":
        yield sk("_loss.loss", "HalfSquaredError")()
    elif kind.__name__ == "ClusterMixin":
        yield sk("cluster", "KMeans")(2)
    # Not Criterion: criteria as objects are refused, because their sizes are believed.


def options(only: str = "", *, fitted: bool = True, every: int = 1) -> Iterator[tuple[str, Any]]:
    """Give each estimator with each option, by name; then fitted with it, where it can be.

    With `every` above 1, one option in so many.
    """
    count = 0
    for name, kind in every_kind():
        if only.lower() not in name.lower():
            continue
        data = _fitting(kind) if fitted else None
        for parameter, constraints in getattr(kind, "_parameter_constraints", {}).items():
            if parameter in LEFT_OUT or constraints == "no_validation":
                continue
            for value in (value for constraint in constraints for value in _values(parameter, constraint)):
                count += 1
                if count % every:
                    continue
                told = f"{name}({parameter}={value!r})"[:100]
                try:
                    yield told, make(kind).set_params(**{parameter: value})
                except (TypeError, ValueError) as error:
                    print(f"# left out {told}: {error}"[:160], file=sys.stderr)
                    continue
                if data is not None and (model := _fit(make(kind).set_params(**{parameter: value}), data)) is not None:
                    yield f"{told} fitted", model


def _fitting(kind: Any) -> tuple[Any, ...] | None:
    """Return the first data that an estimator can be fitted on."""
    for arguments in ((TEXTS,), *DATA.values()) if "Vectorizer" in kind.__name__ else DATA.values():
        if _fit(make(kind), arguments) is not None:
            return arguments
    return None


def _fit(model: Any, arguments: tuple[Any, ...]) -> Any:
    try:
        known = model.get_params(deep=False)
        model.set_params(
            **{name: few for name, few in FEW.items() if type(known.get(name)) is int and known[name] > few}
        )
        return model.fit(*arguments)
    except Exception:  # noqa: BLE001  # whatever an option finds wrong with the data
        return None


def written(model: object, protocols: tuple[int, ...]) -> Iterator[bytes]:
    """Write a model as joblib does and as pickle does, in each protocol."""
    for protocol in protocols:
        file = io.BytesIO()
        joblib.dump(model, file, protocol=protocol)
        yield file.getvalue()
        yield pickle.dumps(model, protocol=protocol)


def main(arguments: list[str] | None = None) -> int:
    """Scan all; print what is refused, and the rules that it lacks. Return 1 if there is any."""
    from packs.missing_rules import Missing

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", default="", help="only estimators whose name contains TEXT")
    parser.add_argument("--policy", metavar="NAME", default="sklearn", help="a pack or a path.toml")
    parser.add_argument("--protocols", metavar="N", nargs="+", type=int, default=[2, 4, 5])
    chosen = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    missing = Missing(chosen.policy)
    for name, model in chain(stock_models(chosen.only), options(chosen.only)):
        missing.look_at(name, written(model, tuple(chosen.protocols)))
    print(missing.told())
    return 1 if missing.refused else 0


if __name__ == "__main__":
    sys.exit(main())
