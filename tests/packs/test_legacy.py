"""The pack `legacy`: artifacts that scikit-learn 0.22 to 1.1 wrote, in `tests/legacy/`, and forgeries of them.

`index.json` says for each what wrote it, what it needs beyond the pack `sklearn`, and what its model gave for `X`.
"""

from __future__ import annotations

import json
import pickle
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from packaging.version import Version
from scipy import sparse
from sklearn.utils import Bunch

import safeload
from pickles.opcodes import build, call, codes, glob, new, stream, value
from support.objects import dumped, with_attributes

FILES = Path(__file__).parent / "legacy"
ENTRIES: list[dict[str, Any]] = json.loads((FILES / "index.json").read_text(encoding="utf-8"))
X = np.arange(24.0).reshape(12, 2) % 7

# Held against what wrote them, they are of another version; old names warn where scipy and numpy still have them.
pytestmark = pytest.mark.filterwarnings("ignore")


def loadable(entry: dict[str, Any]) -> bool:
    """Tell whether the installed libraries have what an artifact names."""
    numpy_2 = Version(np.__version__) >= Version("2")
    return not (entry["file"].startswith("divide") and numpy_2)


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["file"] for entry in ENTRIES])
def test_what_older_versions_wrote_goes_round_and_gives_the_same(
    entry: dict[str, Any], tmp_path: Path, key: safeload.SigningKey
) -> None:
    path = tmp_path / entry["file"]
    shutil.copy(FILES / entry["file"], path)
    found = {finding.global_name for finding in safeload.scan(path).findings}
    assert found == set(entry["needs"])
    assert safeload.scan(path, policy="legacy").allowed
    safeload.sign(path, key=key, policy="legacy")
    if not loadable(entry):
        return
    model = safeload.load(path, keyring=key, policy="legacy", on_version_mismatch="ignore")
    # Boosting of then has no preprocessor, which it asks for from 1.4 on, and Bayes another name for its variances:
    # plain joblib.load gives no better.
    if entry["method"] is None or entry["file"].startswith(("boosting", "bunch")):
        return
    gives = getattr(model, entry["method"])(X)
    np.testing.assert_array_equal(gives.toarray() if hasattr(gives, "toarray") else gives, np.array(entry["gives"]))


def renamed(obj: Any, old: str, new_module: str) -> bytes:
    """Write in protocol 2, with a class by the module that it had: there, names are lines of text."""
    data = pickle.dumps(obj, protocol=2)
    assert f"c{old}\n".encode() in data
    return data.replace(f"c{old}\n".encode(), f"c{new_module}\n".encode())


def matrix(kind: str, **state: Any) -> bytes:
    made = getattr(sparse, f"{kind}_matrix")(np.eye(3))
    return renamed(with_attributes(made, **state), f"scipy.sparse._{kind}", f"scipy.sparse.{kind}")


def histogram(feature: int) -> bytes:
    """Write histogram boosting with nodes as they were before 1.3: features are unsigned."""
    model = joblib.load(FILES / "boosting-1.1.joblib")
    for predictors in model._predictors:
        for predictor in predictors:
            nodes = predictor.nodes
            kinds = [(name, "u4" if name == "feature_idx" else nodes.dtype[name].str) for name in nodes.dtype.names]
            predictor.nodes = nodes.astype(kinds)
            predictor.nodes["feature_idx"][0] = feature
    return dumped(model)


CTOR = glob("numpy.random._pickle", "__randomstate_ctor")
BUNCH = new(glob("sklearn.utils", "Bunch"))
FOREST = new(glob("sklearn.ensemble._forest", "RandomForestClassifier"))
DIVIDE = glob("numpy.core._multiarray_umath", "true_divide")
FAR = (np.array([0, 1, 1 << 30], np.int32), np.arange(3, dtype=np.int32))
KINDS = ("csr", "csc", "bsr", "coo", "dia", "lil")

HONEST: dict[str, Any] = {
    "a generator by name": lambda: stream(call(CTOR, "MT19937")),
    "a Bunch": lambda: renamed(Bunch(a=1), "sklearn.utils._bunch", "sklearn.utils"),
    "parameters of trees of then": lambda: stream(build(FOREST, {"estimator_params": ("min_impurity_split",)})),
    "histogram boosting": lambda: histogram(1),
    **{f"a {kind} matrix": partial(matrix, kind) for kind in KINDS},
}
FORGED: dict[str, tuple[str, Any]] = {
    "another generator": ("SL403", lambda: stream(call(CTOR, "RandomState"))),
    "a generator and what it calls": ("SL403", lambda: stream(call(CTOR, "MT19937", DIVIDE))),
    "a generator that is a function": ("SL403", lambda: stream(call(CTOR, DIVIDE))),
    "a special name in a Bunch": ("SL320", lambda: stream(BUNCH + value("__class__") + value(1) + pickle.SETITEM)),
    "a parameter that names a folder": ("SL404", lambda: stream(build(FOREST, {"estimator_params": ("memory",)}))),
    "division that is called": ("SL402", lambda: stream(call(DIVIDE, 1, 2))),
    "a feature that is not there": ("SL326", lambda: histogram(2**31)),
    "indices past the columns": ("SL326", lambda: matrix("csr", indices=np.array([0, 1, 1 << 30], np.int32))),
    "rows past the shape": ("SL326", lambda: matrix("coo", coords=FAR, row=FAR[0], col=FAR[1])),
    "ufuncs by import": (
        "SL401",
        lambda: stream(call(glob("numpy.core", "_ufunc_reconstruct"), "numpy.core._multiarray_umath", "log1p")),
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_forms_of_older_versions_are_allowed(name: str) -> None:
    data = HONEST[name]()
    assert codes(data, "legacy") == []
    assert codes(data) != [] or name == "histogram boosting"


@pytest.mark.parametrize("name", FORGED)
def test_forgeries_of_older_forms_are_refused(name: str) -> None:
    code, forged = FORGED[name]
    assert codes(forged(), "legacy")[:1] == [code]
