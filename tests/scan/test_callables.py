"""The pack `callables`: functions that a value may name, each called here with what an attacker might give it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import subprocess
import sys
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pytest
from packaging.specifiers import SpecifierSet
from sklearn.preprocessing import FunctionTransformer

import safeload
from pickles.opcodes import build, call, codes, glob, new, stream
from safeload.policy import Policy
from support.objects import resolved

if TYPE_CHECKING:
    from pathlib import Path

PACK = Policy.load("callables")
OWN = [name for rule in PACK.rules if rule.where.startswith("pack callables") for name in
       (f"{rule.module}.{one}" for one in rule.names)]  # fmt: skip
TRANSFORMER = new(glob("sklearn.preprocessing._function_transformer", "FunctionTransformer"))
BOTH = 'name = "both"\nversion = 1\nextends = ["sklearn", "callables"]\n'

CALL_THEM = """
import faulthandler, importlib, os, signal, sys, warnings
import numpy as np
import scipy.special, scipy.stats, scipy.signal, scipy.spatial.distance, sklearn.covariance, sklearn.metrics
import sklearn.preprocessing, sklearn.utils.extmath

faulthandler.enable()
warnings.simplefilter("ignore")
watching, seen = False, set()

def enough(*_):  # moments of a vast order, for example
    raise RuntimeError("it takes long")

signal.signal(signal.SIGALRM, enough)

def watch(event, args):
    first = event.split(".")[0]
    if watching and (first in {"subprocess", "socket", "shutil", "ctypes", "pickle"} or event == "os.system"):
        seen.add(event)
    if watching and event == "open" and ("evil" in str(args[0]) or args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        seen.add(str(args))

sys.addaudithook(watch)
X = np.random.RandomState(0).rand(6, 4)
FAR = np.array([1 << 40, -(1 << 40), 7, -9])
SMALL = np.zeros((1, 1))
OBJECTS = np.array([[None, "a"], [1.5, [1]]], dtype=object)
ARGUMENTS = [
    (), (X,), (X, X), (X, X, X), (X[0], X[1]), (X[0], X[1], X[2]), (X, FAR), (X, 1 << 40), (X, -(1 << 40)), (FAR,),
    (X, FAR, FAR), (X, "../../evil"), ("../../evil",), ("../../evil", "x"), (OBJECTS,), (OBJECTS, OBJECTS), (None,),
    ({"a": 1}, X), (X.astype("S3"),), (X[:0],), (X[:0], X), (X[0] > 0.5, X[1] > 0.5), (np.arange(6) % 2, X[:, 0]),
    (X.view("V32"),), (np.array(["2026-01-01"], "M8[D]"),), (X.T[::-1], FAR[::-1]), (np.float64("nan"),), (X, X[:0]),
]
KEYWORDS = [
    {}, {"out": SMALL}, {"out": X[:1, :1]}, {"axis": 99}, {"axis": (0, 7)}, {"dtype": object}, {"dtype": "V7"},
    {"mode": "clip"}, {"mode": "../x"}, {"order": "Z"}, {"shape": (1 << 62, 4)}, {"weights": FAR}, {"key": len},
    {"where": FAR}, {"bins": -5}, {"minlength": -1}, {"nan_policy": "omit"}, {"keepdims": 7}, {"optimizer": len},
    {"signature": "OO->O", "casting": "unsafe"}, {"indices": FAR, "axis": 0, "mode": "raise"}, {"sample_weight": FAR},
]
for full in sys.argv[1:]:
    module, _, name = full.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):  # of another version
        continue
    print("calling", full, flush=True)
    for arguments in ARGUMENTS:
        for keywords in KEYWORDS if len(arguments) in (1, 2) else KEYWORDS[:2]:
            watching = True
            signal.setitimer(signal.ITIMER_REAL, 2)
            try:
                result = function(*arguments, **keywords)
                str(result), result == result
            except Exception:
                pass
            signal.setitimer(signal.ITIMER_REAL, 0)
            watching = False
print("done", sorted(seen), flush=True)
"""


def test_what_stands_in_the_pack_is_reference_only() -> None:
    assert len(OWN) > 150
    for rule in PACK.rules:
        if rule.where.startswith("pack callables"):
            assert rule.roles == ("import",), rule.where


# Names that not every supported version has, and which do.
VERSIONS = {
    "numpy.bitwise_count": "numpy >=2",
    "numpy.trapezoid": "numpy >=2",
    "numpy.trapz": "numpy <2.4",
    "scipy.special._special_ufuncs.*": "scipy >=1.16",
    "scipy.stats._stats_mstats_common.linregress": "scipy <1.14",
    "sklearn.metrics._ranking.confusion_matrix_at_thresholds": "scikit-learn >=1.9",
}


@pytest.mark.filterwarnings("ignore")
def test_names_resolve_here_or_are_those_of_other_versions() -> None:
    for name in OWN:
        if callable(resolved(name)):
            continue
        versions = next((versions for listed, versions in VERSIONS.items() if fnmatchcase(name, listed)), None)
        assert versions is not None, name
        package, _, specifier = versions.partition(" ")
        assert importlib.metadata.version(package) not in SpecifierSet(specifier, prereleases=True), name


@pytest.mark.slow
def test_functions_only_compute_whatever_they_are_called_with(tmp_path: Path) -> None:
    """No crash, no file, no process, no connection; memory is limited, so that vast shapes raise."""
    limits = "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
    done = subprocess.run(
        [sys.executable, "-c", limits + CALL_THEM, *OWN], capture_output=True, text=True, timeout=600, cwd=tmp_path
    )
    # LAPACK's own complaints may follow, which Fortran keeps until the process ends.
    assert done.returncode == 0, done.stderr[-1000:]
    assert "done []" in done.stdout.splitlines(), done.stdout[-500:] + done.stderr[-1000:]
    assert done.stdout.count("calling ") > 120
    assert os.listdir(tmp_path) == []


@pytest.mark.filterwarnings("ignore")
def test_a_transformer_holds_what_scipy_computes(tmp_path: Path, key: safeload.SigningKey) -> None:
    """The functions are named as the installed libraries write them, and the loaded model gives the same."""
    (tmp_path / "both.toml").write_text(BOTH)
    policy = Policy.load(tmp_path / "both.toml")
    data = np.random.RandomState(0).rand(20, 3)
    for index, name in enumerate(
        ("special.expit", "special.log_softmax", "stats.zscore", "stats.rankdata", "signal.detrend")
    ):
        module, _, function = name.rpartition(".")
        model = FunctionTransformer(getattr(importlib.import_module(f"scipy.{module}"), function)).fit(data)
        path = tmp_path / f"{index}.joblib"
        joblib.dump(model, path)
        assert not safeload.scan(path).allowed
        safeload.sign(path, key=key, policy=policy)
        loaded = safeload.load(path, keyring=key, policy=policy)
        np.testing.assert_array_equal(loaded.transform(data), model.transform(data))


LEFT_OUT = [
    "numpy.pad",
    "numpy.empty_like",
    "numpy.apply_along_axis",
    "numpy.vectorize",
    "numpy.piecewise",
    "numpy.fromfile",
    "numpy.lib._npyio_impl.loadtxt",
    "scipy.spatial.distance.cdist",
    "scipy.spatial.distance.pdist",
    "scipy.io._fortran.FortranFile",
    "scipy.optimize._minimize.minimize",
    "sklearn.metrics.pairwise.pairwise_distances",
]


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_calls_reads_or_views_is_not_in_the_pack(name: str, tmp_path: Path) -> None:
    (tmp_path / "both.toml").write_text(BOTH)
    module, _, function = name.rpartition(".")
    held = stream(build(TRANSFORMER, {"func": glob(module, function)}))
    assert codes(held, str(tmp_path / "both.toml"))[0] in {"SL401", "SL402"}


@pytest.mark.parametrize("name", ["builtins.sorted", "scipy.special._ufuncs.boxcox", "html.unescape"])
def test_nothing_in_the_pack_can_be_called_while_loading(name: str) -> None:
    module, _, function = name.rpartition(".")
    assert codes(stream(glob(module, function)), "callables") == []
    assert codes(stream(call(glob(module, function), "a")), "callables") == ["SL402"]
