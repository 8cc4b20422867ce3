"""The allowed vectors: honest forms from opcodes, look-alikes of payloads, and what real libraries wrote.

The real ones are written once, by `make.py --real LABEL`, and then stay as they are.
"""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import importlib
import pickle
from typing import TYPE_CHECKING, Any

from pickles.opcodes import (
    FROMBUFFER,
    MASKED,
    MASKED_ARRAY,
    NDARRAY,
    SCALAR,
    STOP,
    array,
    build,
    call,
    dtype,
    frame,
    get,
    glob,
    line_glob,
    mapping,
    new,
    number,
    padded,
    proto,
    put,
    raw,
    stream,
    text,
    tup,
    value,
    wrapper,
)
from vectors.hostile import BUNCH, FLOATS, LINEAR, ODICT, TRANSFORMER, setitem
from vectors.hostile_packed import COMPRESSORS, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_with_array = padded(proto(4) + wrapper(), FLOATS) + STOP
_looks = b"cos\nsystem\n(S'x'" + b"."  # what a payload looks like, as data
_looks_padded = _looks.ljust(24, b".")

HONEST: dict[str, tuple[str, bytes]] = {
    "none": ("None", stream(pickle.NONE)),
    "scalars": ("a list of plain scalars", stream(value([None, True, False, 1, 1 << 40, 1.5, "x"]), version=2)),
    "protocol-0": ("a list in protocol 0", b"(lp0\nI1\naL2L\naF1.5\naVx\na."),
    "protocol-0-booleans": ("the booleans of protocol 0", b"(lp0\nI01\naI00\na."),
    "protocol-1": ("a dict in protocol 1", mapping({"a": 1}) + STOP),
    "protocol-2-set": (
        "a set in protocol 2", stream(line_glob("__builtin__", "set") + tup([1]) + pickle.REDUCE, version=2)),
    "protocol-3-bytes": ("bytes in protocol 3", stream(raw(b"bytes"), version=3)),
    "protocol-4-frozenset": ("a frozenset", stream(pickle.MARK, number(1), pickle.FROZENSET)),
    "protocol-5-bytearray": (
        "a bytearray", stream(pickle.BYTEARRAY8 + b"\3" + bytes(7) + b"abc", version=5)),
    "memo": ("one list twice", stream(value([]) + put(0) + get(0) + pickle.TUPLE2)),
    "equal-keys": ("a dict with the equal keys 1 and True", stream(mapping([(1, "a"), (True, "b")]))),
    "a-key-twice": ("a dict with one key twice: the second value counts", stream(mapping([("a", 1), ("a", 2)]))),
    "equal-set-items": (
        "a set of 1 and True", stream(pickle.EMPTY_SET, pickle.MARK, number(1), pickle.NEWTRUE, pickle.ADDITEMS)),
    "cycle": ("a list in itself", stream(pickle.EMPTY_LIST + put(0) + get(0) + pickle.APPEND)),
    "deep": ("lists nested 1,000 deep", stream(pickle.EMPTY_LIST * 1000, pickle.APPEND * 999)),
    "wrapper": ("an array as joblib writes it", _with_array),
    "wrapper-in-a-frame": ("the same in a frame", padded(proto(4) + frame(wrapper()), FLOATS) + STOP),
    "wrapper-without-padding": (
        "an array as joblib before 1.2 wrote it",
        proto(4) + wrapper(leave=("numpy_array_alignment_bytes",)) + FLOATS + STOP),
    "wrapper-of-a-pipe": (
        "an array that joblib wrote to a pipe", proto(4) + wrapper(numpy_array_alignment_bytes=None) + FLOATS + STOP),
    "wrapper-fortran": ("an array in Fortran order", padded(proto(4) + wrapper(order="F"), FLOATS) + STOP),
    "wrapper-empty": ("an array of no elements", padded(proto(4) + wrapper(shape=(0, 3)), b"") + STOP),
    "wrapper-twice": ("one array twice, by name", padded(
        padded(proto(4) + wrapper(), FLOATS) + wrapper(), FLOATS) + pickle.TUPLE2 + STOP),
    "nested": (
        "an array of objects",
        proto(4) + wrapper(shape=(1,), dtype=dtype("O8"), allow_mmap=False)
        + stream(frame(array((1,), dtype("O8"), [None]) + STOP), version=5)[:-1] + STOP),
    "array": ("an array as numpy writes it", stream(array())),
    "object-array": ("an array of objects as numpy writes it", stream(array((1,), dtype("O8"), [None]))),
    "scalar": ("a numpy scalar", stream(call(SCALAR, dtype(), raw(bytes(8))))),
    "frombuffer": ("an array of protocol 5", stream(call(FROMBUFFER, raw(bytes(8)), dtype(), (1,), "C"), version=5)),
    "masked": (
        "a masked array",
        stream(build(call(MASKED, MASKED_ARRAY, NDARRAY, (0,), raw(b"b")),
                     (1, (1,), dtype(), False, raw(bytes(8)), raw(b"\0"), None)))),
    "estimator": ("an estimator with one attribute", stream(build(new(LINEAR), {"coef_": 1.5}))),
    "bunch": ("a Bunch with one key", stream(BUNCH + setitem("a", 1))),
    "ordered-dict": ("an OrderedDict with a dunder key", stream(ODICT + setitem("__doc__", 1))),
    "transformer": (
        "a transformer of a listed function", stream(build(TRANSFORMER, {"func": glob("numpy", "log1p")}))),
}  # fmt: skip

LOOK_ALIKES: dict[str, tuple[str, bytes]] = {
    "payload-in-an-array": (
        "the raw bytes of an array spell a call of os.system; nothing runs them",
        padded(proto(4) + wrapper(shape=(3,)), _looks_padded) + STOP),
    "stop-in-an-array": ("the raw bytes of an array are STOP", padded(proto(4) + wrapper(), b"." * 16) + STOP),
    "no-opcodes-in-an-array": (
        "the raw bytes of an array are no opcodes", padded(proto(4) + wrapper(), b"\xfe" * 16) + STOP),
    "payload-in-text": ("text that spells a call of os.system", stream(text(_looks.decode()))),
    "payload-in-bytes": ("bytes that spell a call of os.system", stream(raw(_looks), version=3)),
    "names-as-text": ("the texts os and system, not as a name", stream(value(["os", "system", "eval", "builtins"]))),
    "names-in-attributes": (
        "attributes named after dangerous functions",
        stream(build(new(LINEAR), {"system": "os.system", "eval": 1, "exec": None}))),
    "wrapper-as-text": (
        "the name of joblib's wrapper, as text", stream(text("joblib.numpy_pickle NumpyArrayWrapper"))),
    "magic-in-an-array": (
        "the raw bytes of an array are a gzip header", padded(proto(4) + wrapper(), b"\x1f\x8b\x08".ljust(16)) + STOP),
    "pickle-in-bytes": ("a whole hostile pickle, as bytes", stream(raw(stream(glob("os", "system"))), version=4)),
    "pickle-in-an-array": (
        "a whole hostile pickle, as an array's raw bytes",
        padded(proto(4) + wrapper(shape=(4,)), stream(glob("os", "system")).ljust(32, b"\0")) + STOP),
}  # fmt: skip

COMPRESSED = {name: (f"a dict with an array, in {name}", pack(name, _with_array)) for name in COMPRESSORS}

TABLES = {"honest": HONEST, "look-alike": LOOK_ALIKES, "honest-compressed": COMPRESSED}


# --------------------------------------------------------------------------------------------- the real ones


def objects() -> dict[str, Any]:
    """Small things that are saved beside models."""
    import numpy as np

    return {
        "builtins": {"a": [1, 2.5, "x", None], "b": {1, 2}, "c": (b"bytes", True), "d": frozenset([1])},
        "float-array": {"weights": np.arange(4.0)},
        "object-array": np.array(["a", None, 1.5], dtype=object),
        "struct-array": np.array([("a", 1.5)], dtype=[("s", "U1"), ("f", ">f8")]),
        "dates": [dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), dt.date(2026, 1, 2), dt.timedelta(1)],
        "numbers": [decimal.Decimal("1.5"), fractions.Fraction(1, 3), np.float32(1.5), np.int64(3)],
        "containers": [collections.OrderedDict(a=1), collections.Counter("aab"), collections.deque([1])],
    }


_MODELS = (
    "dummy.DummyClassifier", "linear_model.LogisticRegression", "linear_model.Ridge", "linear_model.SGDClassifier",
    "linear_model.Lasso", "naive_bayes.GaussianNB", "naive_bayes.MultinomialNB", "neighbors.KNeighborsClassifier",
    "tree.DecisionTreeClassifier", "preprocessing.StandardScaler", "preprocessing.MinMaxScaler",
    "preprocessing.OneHotEncoder", "preprocessing.KBinsDiscretizer", "preprocessing.PolynomialFeatures",
    "decomposition.PCA", "decomposition.TruncatedSVD", "cluster.KMeans", "impute.SimpleImputer", "svm.LinearSVC",
    "svm.SVC", "feature_selection.VarianceThreshold", "isotonic.IsotonicRegression", "covariance.LedoitWolf",
    "random_projection.GaussianRandomProjection", "discriminant_analysis.LinearDiscriminantAnalysis",
)  # fmt: skip


def models() -> dict[str, Any]:
    """Fitted models that take little room."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    rows = np.arange(24.0).reshape(12, 2) % 7
    labels = np.arange(12) % 2
    made: dict[str, Any] = {}
    for name in _MODELS:
        module, cls = name.split(".")
        kind = getattr(importlib.import_module(f"sklearn.{module}"), cls)
        data = rows[:, 0] if cls == "IsotonicRegression" else rows
        made[cls.lower()] = kind(**_OPTIONS.get(cls, {})).fit(data, labels)
    made["pipeline"] = make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression()).fit(
        rows, labels
    )
    return made


_OPTIONS: dict[str, dict[str, Any]] = {
    "GaussianRandomProjection": {"n_components": 1},
    "TruncatedSVD": {"n_components": 1},
    "KMeans": {"n_clusters": 2, "n_init": 1},
    "DecisionTreeClassifier": {"max_depth": 1},
    "KBinsDiscretizer": {"n_bins": 2},
}


def real() -> Iterator[tuple[str, str, str, int, Callable[[Any], None]]]:
    """Name, description, compressor, protocol and a function that writes it to an open file."""
    import joblib

    def by_joblib(thing: Any, protocol: int, compressor: str = "none") -> Callable[[Any], None]:
        compress: Any = 0 if compressor == "none" else (compressor, 3)
        return lambda file: joblib.dump(thing, file, compress=compress, protocol=protocol)

    def by_pickle(thing: Any, protocol: int) -> Callable[[Any], None]:
        return lambda file: pickle.dump(thing, file, protocol=protocol)

    things, fitted = objects(), models()
    for protocol in range(6):
        for name in ("builtins", "float-array"):
            said = f"{name}, protocol {protocol}"
            yield (
                f"{name}-joblib-{protocol}",
                f"joblib.dump of {said}",
                "none",
                protocol,
                by_joblib(things[name], protocol),
            )
            yield (
                f"{name}-pickle-{protocol}",
                f"pickle.dump of {said}",
                "none",
                protocol,
                by_pickle(things[name], protocol),
            )
    for name in ("object-array", "struct-array", "dates", "numbers", "containers"):
        yield f"{name}", f"joblib.dump of {name}", "none", 4, by_joblib(things[name], 4)
    for compressor in COMPRESSORS:
        said = f"joblib.dump of a pipeline, compressed by {compressor}"
        yield f"pipeline-{compressor}", said, compressor, 4, by_joblib(fitted["pipeline"], 4, compressor)
    for name, model in fitted.items():
        yield name, f"joblib.dump of a fitted {type(model).__name__}", "none", 4, by_joblib(model, 4)
