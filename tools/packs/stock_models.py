"""Small fitted models of every scikit-learn estimator, and of the combinations that hold other classes.

They are what the policy packs are checked against.  Version differences of scikit-learn are met by trying: what a
version does not have, or will not fit, is left out and told on standard error.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from packs.stock_combinations import combinations
from packs.stock_data import DATA, sk

if TYPE_CHECKING:
    from collections.abc import Iterator


def _guesses() -> dict[str, Any]:
    """Return what to give to parameters without a default."""
    tree = sk("tree", "DecisionTreeClassifier")(max_depth=2)
    scaler = sk("preprocessing", "StandardScaler")()
    return {
        "estimator": tree,
        "base_estimator": tree,
        "estimators": [("one", tree), ("two", sk("naive_bayes", "GaussianNB")())],
        "transformers": [("scale", scaler, [0, 1]), ("drop", "drop", [2]), ("pass", "passthrough", [3])],
        "transformer_list": [("scale", scaler), ("same", "passthrough")],
        "steps": [("scale", scaler), ("tree", tree)],
        "param_grid": {"max_depth": [1, 2]},
        "param_distributions": {"max_depth": [1, 2, 3]},
        "dictionary": np.eye(4),
    }


def make(kind: Any) -> Any:
    """Make an estimator of this class, with what it needs and no more."""
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
            ridge = sk("linear_model", "Ridge")
            return kind(estimators=[("one", ridge()), ("two", ridge())])
        if "estimator" in wanted and "Regressor" in kind.__name__:
            return kind(estimator=sk("linear_model", "Ridge")())
        return kind(**{name: known[name] for name in wanted})


def every_kind() -> list[tuple[str, Any]]:
    """Return every class of estimators with its name, the experimental ones too."""
    importlib.import_module("sklearn.experimental.enable_iterative_imputer")
    importlib.import_module("sklearn.experimental.enable_halving_search_cv")
    from sklearn.utils import all_estimators

    return list(all_estimators())


def _every_estimator(only: str, fits: int, share: slice) -> Iterator[tuple[str, Any]]:
    for name, kind in every_kind()[share]:
        if only.lower() not in name.lower():
            continue
        try:
            yield f"{name} unfitted", make(kind)
        except (TypeError, ValueError, KeyError) as error:
            print(f"# left out {name}: {error}", file=sys.stderr)
            continue
        fitted = 0
        for data, arguments in DATA.items():
            if fitted == fits:
                break
            try:
                yield f"{name} {data}", make(kind).fit(*arguments)
            except Exception:  # noqa: BLE001  # whatever an estimator finds wrong with the data
                continue
            fitted += 1
        if not fitted:
            print(f"# never fitted: {name}", file=sys.stderr)


def stock_models(only: str = "", *, fits: int = 4, share: slice = slice(None)) -> Iterator[tuple[str, Any]]:
    """Give every estimator and combination by name, fitted; `only` those whose name contains that text.

    Each estimator comes unfitted, and fitted on up to `fits` kinds of data. `share` takes only some of the estimators
    and some of the combinations, so that several processes can fit the rest.
    """
    yield from _every_estimator(only, fits, share)
    for name, make in list(combinations().items())[share]:
        if only.lower() not in name.lower():
            continue
        try:
            models = make()
        except Exception as error:  # noqa: BLE001  # this version of scikit-learn has no such option
            print(f"# left out {name}: {type(error).__name__}: {error}"[:200], file=sys.stderr)
            continue
        yield name, models
