"""The scanner against joblib's own unpickler: the same globals, uses, array bytes and end, on what people save."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import io
import pickle
import uuid
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from packaging.version import Version

from pickles import oracle
from pickles.opcodes import codes, scan
from safeload._scan import COMPILED, Limits, machine
from safeload._scan.sources import FileSource
from safeload.findings import RefusedError
from safeload.policy import resolve_policy

if TYPE_CHECKING:
    from collections.abc import Callable

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
COMPRESSIONS = ["zlib", "gzip", "bz2", "xz", "lzma", "lz4"]


def dumped(obj: Any, protocol: int, *, plain: bool = False) -> bytes:
    if plain:
        return pickle.dumps(obj, protocol)
    file = io.BytesIO()
    joblib.dump(obj, file, protocol=protocol)
    return file.getvalue()


# joblib before 1.5 wrote the pickles inside object arrays in protocol 2, whatever the protocol around them.
OLD_NESTED = Version(joblib.__version__) < Version("1.5")


def agree(data: bytes, policy: str = "sklearn") -> None:
    """Assert that an artifact is allowed, and that the scanner saw what the unpickler does."""
    trace = scan(data, policy, record=True)
    assert not trace.findings, trace.findings[:5]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, events, end = oracle.load(data)
    assert list(trace.events) == events
    assert trace.end == end == len(data)
    seen = {(event[1], event[2]) for event in events if event[0] == "global"}
    assert {(use.module, use.qualname) for use in trace.globals} == seen
    assert trace.arrays == sum(event[0] in ("array", "nested") for event in events)


# ------------------------------------------------------------------------------------------------- models

X = np.random.default_rng(0).normal(size=(40, 4))
Y = (X[:, 0] > 0).astype(int)


def _pipeline() -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    columns = make_column_transformer((StandardScaler(), [0, 1]), (FunctionTransformer(np.log1p), slice(2, 4)))
    return make_pipeline(SimpleImputer(), columns, RandomForestClassifier(3, random_state=0)).fit(np.abs(X), Y)


def _hist_boosting() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    x = np.column_stack([X, np.arange(40) % 3])
    return HistGradientBoostingClassifier(max_iter=2, categorical_features=[4]).fit(x, Y)


def _boosting() -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(n_estimators=2, random_state=0).fit(X, X[:, 0])


def _encoder() -> Any:
    from sklearn.preprocessing import OneHotEncoder

    return OneHotEncoder().fit(np.array([["a", 1], ["b", 2], [None, 1]], dtype=object))


def _text() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer().fit(["some words", "other wörds"])


def _search() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    return GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2, scoring="f1").fit(X, Y)


def _neighbors(algorithm: str) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(2, algorithm=algorithm).fit(X, Y)


def _voting() -> Any:
    from sklearn.ensemble import VotingClassifier
    from sklearn.naive_bayes import GaussianNB
    from sklearn.tree import DecisionTreeClassifier

    return VotingClassifier([("a", GaussianNB()), ("b", DecisionTreeClassifier(max_depth=2))]).fit(X, Y)


def _isotonic() -> Any:
    from sklearn.isotonic import IsotonicRegression

    return IsotonicRegression().fit(X[:, 0], Y)


def _simple(module: str, name: str, **options: Any) -> Callable[[], Any]:
    import importlib

    cls = getattr(importlib.import_module(f"sklearn.{module}"), name)
    return lambda: cls(**options).fit(X, Y)


MODELS: dict[str, Callable[[], Any]] = {
    "pipeline": _pipeline,
    "histogram boosting": _hist_boosting,
    "boosting": _boosting,
    "encoder": _encoder,
    "text": _text,
    "search": _search,
    "kd tree": lambda: _neighbors("kd_tree"),
    "ball tree": lambda: _neighbors("ball_tree"),
    "voting": _voting,
    "ridge": _simple("linear_model", "Ridge"),
    "sgd": _simple("linear_model", "SGDClassifier"),
    "svc": _simple("svm", "SVC"),
    "k-means": _simple("cluster", "KMeans", n_clusters=2, n_init=1),
    "pca": _simple("decomposition", "PCA"),
    "bayes": _simple("naive_bayes", "GaussianNB"),
    "mlp": _simple("neural_network", "MLPClassifier", max_iter=3, random_state=np.random.RandomState(0)),
    "gaussian process": _simple("gaussian_process", "GaussianProcessRegressor"),
    "isotonic": _isotonic,
}
_fitted: dict[str, Any] = {}


def model(name: str) -> Any:
    if name not in _fitted:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _fitted[name] = MODELS[name]()
    return _fitted[name]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("plain", [False, True], ids=["joblib", "pickle"])
def test_models(name: str, protocol: int, plain: bool) -> None:
    agree(dumped(model(name), protocol, plain=plain))


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_compressed_models_as_they_are_unpacked(compression: str, protocol: int) -> None:
    """A file that joblib cannot map has other wrappers; the scanner reads it through the bounded unpacker."""
    from safeload._scan import Limits, scan_stream
    from safeload._scan.sources import UnpackedSource
    from safeload.policy import Policy

    if compression == "lz4":
        pytest.importorskip("lz4")
    packed = io.BytesIO()
    joblib.dump(model("encoder"), packed, compress=(compression, 3), protocol=protocol)
    size = packed.tell()

    def source() -> UnpackedSource:
        packed.seek(0)
        return UnpackedSource(packed, compression, packed_size=size, max_unpacked=1 << 24, max_ratio=1e9)

    data = source().read(1 << 24)
    agree(data)
    trace = scan_stream(source(), Policy.load("sklearn"), Limits(), record=True)
    assert not trace.findings
    assert trace.events == scan(data, record=True).events
    assert trace.end == len(data)


def test_every_protocol_of_a_memory_mapped_array(tmp_path: Any) -> None:
    mapped = np.memmap(tmp_path / "array", dtype="f8", mode="w+", shape=(3,))
    for protocol in PROTOCOLS:
        agree(dumped(mapped, protocol))
        agree(dumped(mapped, protocol, plain=True))


# ---------------------------------------------------------------------------------------------- metadata

STRUCTURE = np.array([(1, 2.5, "x", (3, 4))], dtype=[("a", "<i4"), ("b", ">f8"), ("c", "U3"), ("d", "u1", (2,))])
ALIGNED = np.zeros(2, dtype=np.dtype([("a", "u1"), ("b", "f8")], align=True))
OBJECTS = np.array([None, "a", 1.5, [1, 2], {"k": (1,)}], dtype=object)
VALUES: dict[str, Any] = {
    "datetime": dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC),
    "dates": [dt.date(2026, 1, 2), dt.time(3, 4), dt.timedelta(days=-1, microseconds=5)],
    "an offset": dt.timezone(dt.timedelta(hours=2), "CEST"),
    "numbers": [decimal.Decimal("1.50"), fractions.Fraction(1, 3), 1 + 2j, range(1, 9, 2), slice(None, 3)],
    "uuid": uuid.UUID(int=7),
    "containers": [OrderedDict(a=1), defaultdict(list, {"a": [1]}), Counter("aab"), deque([1, 2], 5), {1},
        frozenset("a")],
    "bytes": [b"", b"x", b"\xff" * 300, bytearray(b"y"), bytearray(), b"z" * 70_000],
    "numbers of every length": [0, -1, 255, 256, 65_536, -(1 << 31), 1 << 31, 1 << 64, -(1 << 2000), 1e300,
        float("nan")],
    "text": ["", "a" * 256, "ä\n\\u", "\U0001f600", "x" * 70_000, "\ud800"],
    "shared": (lambda x: [x, x, (x,), {"a": x}])(["s"]),
    "long containers": [list(range(2500)), dict.fromkeys(map(str, range(2500)))],
    "types": [type(None), int, np.float32, np.dtype("f4"), np.log1p],
    "scalars": [np.float32(1.5), np.int8(-1), np.bool_(True), np.str_("x"), np.bytes_(b"y"),
        np.datetime64("2026-01-01", "ns"),
                np.timedelta64(5, "D"), np.complex64(1j), np.datetime64("NaT", "s")],
    "arrays": [np.zeros(0), np.zeros((2, 0, 3)), np.array(1.5), np.arange(6).reshape(2, 3),
        np.asfortranarray(np.eye(3)),
               np.eye(4)[::2, ::2], np.arange(3, dtype=">i4"), np.array(["a", "bc"]), np.array([b"x"]),
               np.array(["2026-01-01"], dtype="M8[ns]"), np.arange(3, dtype="m8[25s]"), np.zeros(2, "V3"),
               np.array([True]), np.zeros(2, "f2"), np.zeros(2, "g"), np.zeros(2, "c16"), np.arange(9000)],
    "structures": [STRUCTURE, ALIGNED, STRUCTURE[0], np.zeros(2, dtype=[("n", [("m", "f4")])])],
    "records": [STRUCTURE.view(np.recarray), ALIGNED.view(np.recarray), STRUCTURE.view(np.recarray)[0],
                np.rec.array([("a", 1)], dtype=[("o", "O"), ("i", "i8")]), np.zeros((0, 2), "i1,f8").view(np.recarray)],
    "sets": [{1, "a", (2, "b")}, {dt.date(2026, 1, 2), dt.timedelta(1)}, {np.int64(1), np.str_("x")}],
    "objects": [OBJECTS, OBJECTS.reshape(5, 1), np.array(None, dtype=object), np.zeros((0, 2), dtype=object),
                np.array([OBJECTS, None], dtype=object)],
    "matrix": np.matrix([[1.0, 2.0]]),
    "masked": [np.ma.masked_array([1.0, 2.0], [True, False]), np.ma.masked_array([1, 2], fill_value=7),
               np.ma.masked_array([None, "a"], [False, True])],
    "axes": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    "generators": [np.random.RandomState(0), np.random.default_rng(0), np.random.Generator(np.random.Philox(1)),
                   np.random.Generator(np.random.SFC64(1)), np.random.PCG64DXSM(2), np.random.MT19937(3)],
}  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("plain", [False, True], ids=["joblib", "pickle"])
def test_metadata(name: str, protocol: int, plain: bool) -> None:
    obj = VALUES[name]
    if name == "text" and protocol == 0:
        obj = obj[:-1]
    agree(dumped(obj, protocol, plain=plain), "core")


# -------------------------------------------------------------------------------------------- properties


def _plain(one: Any) -> bool:
    """Tell whether a dtype has no field with a title, which the scanner refuses."""
    if one.subdtype is not None:
        return _plain(one.subdtype[0])
    fields = one.fields or {}
    return len(fields) == len(one.names or ()) and all(_plain(field[0]) for field in fields.values())


_keys = st.one_of(
    st.text(max_size=5), st.integers(-(1 << 63), (1 << 64) - 1), st.booleans(), st.none(), st.binary(max_size=5)
)
_leaves = st.one_of(
    _keys, st.integers(), st.floats(), st.binary(max_size=300), st.text(max_size=20), st.complex_numbers(),
    st.binary(max_size=20).map(bytearray), st.datetimes(), st.dates(), st.decimals(allow_nan=False), st.fractions(),
)  # fmt: skip
_dtypes = st.one_of(
    hnp.boolean_dtypes(), hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(),
    hnp.complex_number_dtypes(), hnp.byte_string_dtypes(), hnp.unicode_string_dtypes(), hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(), hnp.array_dtypes(max_size=3, allow_subarrays=True).filter(_plain),
    hnp.nested_dtypes(max_leaves=4).filter(_plain),
)  # fmt: skip


@st.composite
def _arrays(draw: Any) -> Any:
    kind = draw(_dtypes)
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    made = np.zeros(shape, dtype=kind)
    order = draw(st.sampled_from(["as it is", "Fortran", "transposed", "strided", "reversed"]))
    if order == "Fortran":
        return np.asfortranarray(made)
    if order == "transposed":
        return made.T
    if order == "strided" and made.ndim:
        return made[::2]
    if order == "reversed" and made.ndim:
        return made[::-1]
    return made


def _more(inner: Any) -> Any:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(_keys, inner, max_size=4),
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(OrderedDict),
        st.sets(_keys, max_size=4),
        st.frozensets(_keys, max_size=4),
        st.lists(inner, max_size=3).map(lambda items: [items, items]),
        st.lists(inner, max_size=3).map(_object_array),
    )


def _object_array(items: list[Any]) -> Any:
    made = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        made[index] = item
    return made


_objects = st.recursive(st.one_of(_leaves, _arrays()), _more, max_leaves=12)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(_objects, st.sampled_from(PROTOCOLS), st.booleans())
def test_objects_of_any_structure(obj: Any, protocol: int, plain: bool) -> None:
    data = dumped(obj, protocol, plain=plain)
    if OLD_NESTED and codes(data, "core")[:1] == ["SL308"]:
        return  # a set or empty bytes in an object array, by Python 2's names, which joblib 1.6 cannot load
    agree(data, "core")


# -------------------------------------------------------------------------------- wrappers that were seen before


def _many_arrays() -> bytes:
    from sklearn.ensemble import RandomForestClassifier

    arrays = [np.zeros(shape, kind) for kind in "dl" for shape in ((), 3, (2, 300), (1, 2, 3), (1, 1, 1, 2), 70_000)]
    forest = RandomForestClassifier(3, max_depth=2, random_state=0).fit(X, Y)
    return dumped([*arrays, list(range(300)), forest, *arrays], 4)


MANY_ARRAYS = _many_arrays()
POLICY = resolve_policy("sklearn")
OPCODES_THERE = [at for at, byte in enumerate(MANY_ARRAYS) if byte in pickle.NEWOBJ + pickle.BUILD + pickle.FRAME]


def judged(data: bytes, limits: Limits) -> tuple[Any, ...]:
    judge = machine.Machine(FileSource(io.BytesIO(data), len(data)), POLICY.grant, POLICY.native, limits, [])
    try:
        judge.scan()
        refused = None
    except (RefusedError, IndexError) as error:
        refused = str(error)
    kept = (judge.memory, judge.memo) if refused is None else ()  # what was half done when it was refused differs
    return refused, judge.at, judge.opcodes, judge.record, kept, judge.arrays


@pytest.mark.skipif(COMPILED, reason="methods of compiled classes cannot be replaced")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(OPCODES_THERE),
    before=st.integers(0, 60),
    change=st.binary(min_size=1, max_size=3),
    cut=st.booleans(),
    limits=st.sampled_from([Limits(), Limits(max_opcodes=900), Limits(max_memo=400)]),
)
def test_a_wrapper_that_was_seen_before_is_judged_as_opcode_by_opcode(
    place: int, before: int, change: bytes, cut: bool, limits: Limits
) -> None:
    at = max(place - before, 0)
    data = MANY_ARRAYS[:at] + change + (b"" if cut else MANY_ARRAYS[at + len(change) :])
    with pytest.MonkeyPatch.context() as patch:
        record_templates(patch)
        found = judged(data, limits)
        patch.setattr(machine.Machine, "array_by_template", lambda *_: None)
        one_by_one = judged(data, limits)
    assert shown_alike(found) == shown_alike(one_by_one)


def record_templates(patch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that gets what the machine makes of each array that may be as one before; None is nothing."""
    taken: list[Any] = []
    real = machine.Machine.array_by_template

    def recorded(*args: Any) -> Any:
        taken.append(real(*args))
        return taken[-1]

    patch.setattr(machine.Machine, "array_by_template", recorded)
    return taken


def shown_alike(found: Any) -> Any:
    """Write abstract values as something that compares."""
    if isinstance(found, (list, tuple)):
        return [shown_alike(one) for one in found]
    return found if isinstance(found, (str, int, bytes, type(None))) else type(found).__name__


@pytest.mark.skipif(COMPILED, reason="methods of compiled classes cannot be replaced")
def test_most_wrappers_were_seen_before(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = record_templates(monkeypatch)
    refused, *_, arrays = judged(MANY_ARRAYS, Limits())
    assert refused is None
    assert arrays == len(taken) > 30  # each of them was asked about
    assert sum(one is not None for one in taken) > 20
