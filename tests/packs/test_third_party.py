"""The packs of other libraries: real models are allowed and load under the tripwire; forged ones are refused.

A library that is not installed is skipped, unless SAFELOAD_EXPECT_PACKS is set: then it is a failure.
"""

from __future__ import annotations

import importlib
import io
import os
import pickle
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest

import safeload
from pickles.opcodes import (
    array,
    build,
    call,
    codes,
    dtype,
    get,
    glob,
    line_glob,
    mapping,
    new,
    put,
    raw,
    scan,
    stream,
    tup,
)
from safeload._loading.tripwire import tripwire
from safeload.errors import PolicyFileError, TripwireError
from safeload.policy import Policy, pack_names

if TYPE_CHECKING:
    from collections.abc import Iterator

from packs.pack_models import LIBRARIES, Fitted, pack_models

PACKS = {name: library for name, library in LIBRARIES.items() if name in pack_names()}


def policy_file(folder: Path, *packs: str) -> Path:
    path = folder / "project.toml"
    extends = ", ".join(f'"{pack}"' for pack in ("sklearn", *packs))
    path.write_text(f'name = "project"\nversion = 1\nextends = [{extends}]\n')
    return path


def needed(pack: str) -> None:
    """Import the library of a pack; where it is not there, skip the test, or fail if it was to be there."""
    library = LIBRARIES[pack]
    if os.environ.get("SAFELOAD_EXPECT_PACKS"):
        importlib.import_module(library)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pytest.importorskip(library)


_MADE: dict[str, list[tuple[str, Fitted]]] = {}


def models(pack: str) -> Iterator[tuple[str, Fitted]]:
    needed(pack)
    if pack not in _MADE:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _MADE[pack] = list(pack_models(pack))
    assert len(_MADE[pack]) > 5
    return iter(_MADE[pack])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pack", PACKS)
def test_models_of_a_library_are_allowed_in_every_protocol(pack: str, tmp_path: Path) -> None:
    policy = Policy.load(policy_file(tmp_path, "pandas", pack))
    refused: dict[str, list[Any]] = {}
    for name, fitted in models(pack):
        for protocol in (2, 3, 4, 5):
            file = io.BytesIO()
            joblib.dump(fitted.model, file, protocol=protocol)
            for data in (file.getvalue(), pickle.dumps(fitted.model, protocol=protocol)):
                if findings := scan(data, policy).findings:
                    refused[f"{name}, {protocol}"] = [(one.code, one.global_name, one.message) for one in findings]
    assert not refused


LOAD_ALL = """
import sys, warnings
from pathlib import Path
import safeload
warnings.simplefilter("ignore")
folder = Path(sys.argv[1])
key = safeload.SigningKey(bytes.fromhex(sys.argv[2]), key_id="test")
loader = safeload.Loader(keyring=key, policy=folder / "project.toml")
for path in sorted(folder.glob("*.joblib")):
    loader.load(path)
    print(path.name)
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pack", PACKS)
def test_models_of_a_library_go_round_and_answer_the_same(pack: str, tmp_path: Path) -> None:
    """Here, and in a process that has not imported the library before."""
    secret = bytes(range(32))
    key = safeload.SigningKey(secret, key_id="test")
    loader = safeload.Loader(keyring=key, policy=policy_file(tmp_path, "pandas", pack))
    policy = Policy.load(tmp_path / "project.toml")
    count = 0
    for name, fitted in models(pack):
        path = tmp_path / f"{count}.joblib"
        safeload.dump(fitted.model, path, key=key, policy=policy)
        loaded = loader.load(path)
        expected, found = fitted.answer(fitted.model), fitted.answer(loaded)
        if hasattr(expected, "equals"):
            assert expected.equals(found), name
        else:
            np.testing.assert_array_equal(np.asarray(expected), np.asarray(found), err_msg=name)
        count += 1
    command = [sys.executable, "-c", LOAD_ALL, str(tmp_path), secret.hex()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, len(done.stdout.split())) == (0, count), done.stderr[-2000:]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pack", PACKS)
def test_the_default_policy_allows_no_other_library(pack: str) -> None:
    top = LIBRARIES[pack]
    assert not [name for name in Policy.load("sklearn").names if name.partition(".")[0] == top]
    assert [name for name in Policy.load(pack).names if name.partition(".")[0] == top]


@pytest.mark.parametrize("pack", PACKS)
def test_every_rule_of_a_pack_says_why(pack: str) -> None:
    assert all(rule.is_reviewed for rule in Policy.load(pack).rules)


# --------------------------------------------------------------------------------------------------- attacks
# Each is an honest stream with one thing forged, so that it is this which the constraint stops.


def allowed_and_refused(pack: str, honest: bytes, forged: dict[str, bytes], code: str) -> None:
    assert codes(stream(honest), pack) == []
    for name, one in forged.items():
        assert code in codes(stream(one), pack), name


NDARRAY_BACKED = glob("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked")
NEW_INDEX = glob("pandas.core.indexes.base", "_new_Index")
INDEX = glob("pandas", "Index")
BLOCK = glob("pandas._libs.internals", "_unpickle_block")
SLICE = call(glob("builtins", "slice"), 0, 1, 1)
ROWS = call(NEW_INDEX, glob("pandas", "RangeIndex"), {"start": 0, "stop": 1, "step": 1, "name": None})
COLUMNS = call(NEW_INDEX, INDEX, {"data": array(), "name": None})


def manager(values: bytes = array((1, 1)), placement: bytes = SLICE) -> bytes:
    block = call(BLOCK, values, placement, 2)
    return call(glob("pandas.core.internals.managers", "BlockManager"), tup(block), [COLUMNS, ROWS])


def frame(mgr: bytes | None = None, **more: Any) -> bytes:
    state = {"_mgr": mgr or manager(), "_typ": "dataframe", "_metadata": [], "attrs": {}, **more}
    return build(new(glob("pandas", "DataFrame")), state)


def test_pandas_calls_only_its_own_index_classes() -> None:
    allowed_and_refused(
        "pandas",
        COLUMNS,
        {
            # _new_Index calls __new__ of it: numpy.memmap would open a file.
            "a class that opens files": call(NEW_INDEX, glob("numpy", "memmap"), {"filename": "x", "mode": "w+"}),
            "another class": call(NEW_INDEX, glob("pandas", "Categorical"), {"data": array()}),
            "another keyword": call(NEW_INDEX, INDEX, {"data": array(), "tupleize_cols": True}),
            "data that is a frame": call(NEW_INDEX, INDEX, {"data": frame()}),
            "a keyword twice": call(NEW_INDEX, INDEX, {"data": array(), "name": new(glob("pandas", "DataFrame"))}),
        },
        "SL403",
    )


def test_pandas_frames_take_no_other_attributes() -> None:
    allowed_and_refused(
        "pandas",
        frame(attrs={"source": "table"}),
        {
            "a method that is shadowed": frame(copy=glob("builtins", "len")),
            "metadata that names a property": frame(_metadata=["values"]),
            "a manager that is an array": frame(array()),
            "a flag that is no flag": frame(_flags={"allows_duplicate_labels": True, "_obj": None}),
        },
        "SL404",
    )


TEXTS = call(glob("pandas", "StringDtype"), "python", 0.0)


def test_pandas_blocks_hold_complete_arrays_only() -> None:
    """Compiled code reads the fields of an array that never got its state."""
    bare = call(NDARRAY_BACKED, glob("pandas.arrays", "StringArray"), 1, None)
    whole = build(bare, (TEXTS, array(of=dtype("O8"), data=[None]), {}))
    allowed_and_refused(
        "pandas",
        frame(manager(whole)),
        {
            "an array without its state": frame(manager(bare)),
            "a frame as values": frame(manager(frame())),
            "a placement that is text": frame(manager(placement=b"\x8c\x01x")),
        },
        "SL403",
    )


def test_pandas_arrays_take_no_other_attributes() -> None:
    made = call(NDARRAY_BACKED, glob("pandas.arrays", "StringArray"), 1, None)
    texts = array(of=dtype("O8"), data=[None])
    allowed_and_refused(
        "pandas",
        build(made, (TEXTS, texts, {"_freq": None})),
        {
            "a planted attribute": build(made, (TEXTS, texts, {"_ndarray": None})),
            "a list for an array": build(made, (TEXTS, [1], {})),
            "a state of another form": build(made, {"_data": array(), "_dtype": dtype()}),
        },
        "SL404",
    )


def test_pandas_numbers_that_index_tables_in_c_are_bounded() -> None:
    offsets = "pandas._libs.tslibs.offsets"
    quarter = glob(offsets, "QuarterEnd")
    stamp = glob("pandas._libs.tslibs.timestamps", "_unpickle_timestamp")
    allowed_and_refused(
        "pandas", call(quarter, 1, False, 12), {"a 13th month": call(quarter, 1, False, 13)}, "SL403"
    )  # fmt: skip
    allowed_and_refused(
        "pandas",
        call(stamp, 1, None, None, 10),
        {"no unit": call(stamp, 1, None, None, 99), "a zone of a file": call(stamp, 1, None, "Europe/Oslo", 10)},
        "SL403",
    )


def test_arrow_buffers_are_bytes_of_the_file() -> None:
    made = call(glob("pyarrow.lib", "type_for_alias"), "int64")
    buffer = call(glob("pyarrow.lib", "py_buffer"), raw(bytes(8)))

    def restored(of: bytes, buffers: Any) -> bytes:
        return call(glob("pyarrow.lib", "_restore_array"), tup(of, 1, 0, 0, buffers, [], None))

    allowed_and_refused(
        "pandas",
        restored(made, [None, buffer]),
        {
            "a buffer that is no buffer": restored(made, [None, 1]),
            "a type that holds others": restored(call(glob("pyarrow.lib", "type_for_alias"), "list"), [buffer]),
        },
        "SL403",
    )


XGB = glob("xgboost.core", "Booster")
BYTEARRAY = call(glob("builtins", "bytearray"), raw(b"{}"))


def test_an_xgboost_booster_takes_bytes_only() -> None:
    allowed_and_refused(
        "xgboost",
        build(new(XGB), {"handle": BYTEARRAY}),
        {
            # __del__ frees the handle: a number would be a pointer.
            "a handle that is a number": build(new(XGB), {"handle": 4096}),
            "a handle that names a file": build(new(XGB), {"handle": "/etc/passwd"}),
            "a method that is shadowed": build(new(XGB), {"handle": BYTEARRAY, "predict": glob("builtins", "len")}),
        },
        "SL404",
    )
    assert "SL402" in codes(stream(call(XGB, None, None, "/tmp/model.json")), "xgboost")


def test_an_xgboost_booster_of_1_x_has_names_of_features_only() -> None:
    """Before 1.4, names and types of the features were plain attributes."""
    allowed_and_refused(
        "xgboost",
        build(new(XGB), {"handle": BYTEARRAY, "feature_names": ["a", "b"], "feature_types": None}),
        {
            "a function among the names": build(
                new(XGB), {"handle": BYTEARRAY, "feature_names": [glob("builtins", "len")]}
            ),
            "an object as types": build(new(XGB), {"handle": BYTEARRAY, "feature_types": new(XGB)}),
        },
        "SL404",
    )


def test_an_xgboost_estimator_holds_a_booster_only() -> None:
    model = glob("xgboost.sklearn", "XGBClassifier")
    booster = build(new(XGB), {"handle": BYTEARRAY})
    allowed_and_refused(
        "xgboost",
        build(new(model), {"_Booster": booster}),
        {
            "a booster without its state": build(new(model), {"_Booster": new(XGB)}),
            "another object": build(new(model), {"_Booster": new(model)}),
        },
        "SL404",
    )
    assert "SL401" in codes(stream(build(new(model), {"objective": glob("os", "system")})), "xgboost")
    assert "SL401" in codes(stream(new(glob("xgboost.callback", "TrainingCheckPoint"))), "xgboost")


LGB = glob("lightgbm.basic", "Booster")


def test_a_lightgbm_booster_takes_text_only() -> None:
    allowed_and_refused(
        "lightgbm",
        build(new(LGB), {"_handle": "tree\n", "params": {"verbose": -1}}),
        {
            "a handle that is a number": build(new(LGB), {"_handle": 4096}),
            "an older handle that is a number": build(new(LGB), {"handle": 4096}),
            "a predictor": build(new(LGB), {"_handle": "tree", "_Booster__init_predictor": new(LGB)}),
            "a method that is shadowed": build(new(LGB), {"_handle": "tree", "predict": glob("builtins", "len")}),
            "a network": build(new(LGB), {"_handle": "tree", "_network": True}),
        },
        "SL404",
    )
    assert "SL401" in codes(stream(new(glob("lightgbm.basic", "_InnerPredictor"))), "lightgbm")


def test_a_lightgbm_booster_before_4_0_is_held_to_the_same() -> None:
    old = {"handle": "tree\n", "network": False, "_Booster__train_data_name": "training"}
    metrics = call(glob("builtins", "set"), ["l2", "auc"])
    allowed_and_refused(
        "lightgbm",
        build(new(LGB), {**old, "params": {"metric": metrics}}),
        {
            "a network": build(new(LGB), {**old, "network": True}),
            "a name that is an object": build(new(LGB), {**old, "_Booster__train_data_name": new(LGB)}),
            "a function among the metrics": build(
                new(LGB), {**old, "params": {"metric": {"l2": glob("builtins", "len")}}}
            ),
        },
        "SL404",
    )


def test_hdbscan_makes_listed_metrics_and_no_memory_with_a_folder() -> None:
    new_obj = glob("hdbscan.dist_metrics", "newObj")
    memory, model = glob("joblib.memory", "Memory"), glob("hdbscan.hdbscan_", "HDBSCAN")
    allowed_and_refused(
        "hdbscan",
        call(new_obj, glob("hdbscan.dist_metrics", "EuclideanDistance")),
        {"another class": call(new_obj, model), "a function": call(new_obj, glob("builtins", "len"))},
        "SL403",
    )
    nowhere = build(new(memory), {"location": None, "store_backend": None})
    allowed_and_refused(
        "hdbscan",
        build(new(model), {"memory": nowhere}),
        {
            "a folder": build(new(model), {"memory": build(new(memory), {"location": "/tmp/cache"})}),
            "a folder by name": build(new(model), {"memory": "/tmp/cache"}),
        },
        "SL404",
    )
    assert "SL401" in codes(stream(call(new_obj, glob("hdbscan.dist_metrics", "PyFuncDistance"))), "hdbscan")


@pytest.mark.parametrize(
    ("module", "name", "attribute"),
    [
        ("hdbscan.hdbscan_", "HDBSCAN", "_metric_kwargs"),
        ("hdbscan.robust_single_linkage_", "RobustSingleLinkage", "metric_params"),
    ],
)
def test_hdbscan_takes_no_folder_among_the_parameters_of_its_metric(module: str, name: str, attribute: str) -> None:
    """Found by attack: fit adds them to its own parameters, and `memory` made it unpickle from a folder it named."""
    model = new(glob(module, name))
    for honest in ({}, {"p": 2.0, "w": array()}):
        assert codes(stream(build(model, {attribute: honest})), "hdbscan") == []
    for forged in ({"memory": "cache"}, {"memory": None}, [("memory", "cache")], {"func": glob("builtins", "len")}):
        assert codes(stream(build(model, {attribute: forged})), "hdbscan") == ["SL404"]


ENSEMBLES = [
    ("imbalanced-learn", "imblearn.ensemble._bagging", "BalancedBaggingClassifier"),
    ("imbalanced-learn", "imblearn.ensemble._easy_ensemble", "EasyEnsembleClassifier"),
    ("imbalanced-learn", "imblearn.ensemble._forest", "BalancedRandomForestClassifier"),
    ("imbalanced-learn", "imblearn.ensemble._weight_boosting", "RUSBoostClassifier"),
    ("quantile-forest", "quantile_forest._quantile_forest", "ExtraTreesQuantileRegressor"),
    ("quantile-forest", "quantile_forest._quantile_forest", "RandomForestQuantileRegressor"),
]


@pytest.mark.parametrize(("pack", "module", "name"), ENSEMBLES)
def test_ensembles_set_parameters_of_trees_only(pack: str, module: str, name: str) -> None:
    """Found by attack: fitted again, balanced bagging gave its pipelines a folder to unpickle from."""
    honest = {"estimator_params": ("criterion", "random_state"), "n_estimators": 2}
    assert codes(stream(build(new(glob(module, name)), honest)), pack) == []
    assert codes(stream(build(new(glob(module, name)), {"estimator_params": ()})), pack) == []
    forged = {"estimator_params": ("memory",), "memory": "cache"}
    assert codes(stream(build(new(glob(module, name)), forged)), pack) == ["SL404"]


def test_a_quantile_forest_takes_no_matrices_from_its_state() -> None:
    forest = call(glob("quantile_forest._quantile_forest_fast", "QuantileForest"), array(), array(), array(), False)
    sparse = call(glob("quantile_forest._quantile_forest_fast", "QuantileForest"), array(), array(), array(), True)
    allowed_and_refused("quantile-forest", build(forest, {}), {"sparse": sparse}, "SL403")
    allowed_and_refused("quantile-forest", forest, {"a matrix": build(forest, {"matrix1": forest})}, "SL404")


def test_catboost_parameters_are_plain_values() -> None:
    model = glob("catboost.core", "CatBoostClassifier")
    allowed_and_refused(
        "catboost",
        build(new(model), {"__model": raw(b"CBM1"), "depth": 3}),
        {
            "an object as a loss": build(new(model), {"loss_function": new(model)}),
            "a function as a metric": build(new(model), {"eval_metric": glob("builtins", "len")}),
        },
        "SL404",
    )


def test_catboost_class_weights_have_labels_of_numpy_as_keys() -> None:
    model = glob("catboost.core", "CatBoostClassifier")
    label = call(glob("numpy._core.multiarray", "scalar"), dtype("i8"), raw(b"\1" + bytes(7)))
    allowed_and_refused(
        "catboost",
        build(new(model), {"class_weights": mapping([(label, 2)])}),
        {
            "a key that is a function": build(new(model), {"class_weights": mapping([(glob("builtins", "len"), 2)])}),
            "a weight that is a function": build(
                new(model), {"class_weights": mapping([(label, glob("builtins", "len"))])}
            ),
        },
        "SL404",
    )


SERIES = glob("polars.series.series", "Series")
ARROW = b"\xff" * 4


def test_polars_frames_are_bytes_and_lazy_ones_are_never_allowed(tmp_path: Path) -> None:
    others = {"attributes": build(new(SERIES), {"_s": 1})}
    allowed_and_refused("polars", build(new(SERIES), raw(ARROW)), others, "SL404")
    assert "SL401" in codes(stream(build(new(glob("polars.lazyframe.frame", "LazyFrame")), raw(ARROW))), "polars")


@pytest.mark.parametrize("before", [0, 100, 70_000, 262_139, 5_000_000])
def test_polars_columns_are_of_no_extension_type(before: int) -> None:
    # Found by attack. polars follows a pointer of the extension type of its own objects, which the file names, and
    # calls what is there: while it is loaded.
    data = ARROW + bytes(before) + b"ARROW:extension:name"
    frame = glob("polars.dataframe.frame", "DataFrame")
    assert codes(stream(build(new(frame), raw(data[:-7]))), "polars") == []
    for made in (new(SERIES), new(frame)):
        assert codes(stream(build(made, raw(data + bytes(100)))), "polars") == ["SL326"]
    assert codes(stream(build(new(frame), [build(new(SERIES), raw(data))])), "polars") == ["SL326"]
    old = build(new(line_glob("polars.series.series", "Series")), pickle.dumps(data, 2)[2:-1])
    assert codes(stream(old, version=2), "polars") == ["SL326"]


def test_polars_bytes_are_looked_at_or_refused() -> None:
    packed = zlib.compress(ARROW + b"ARROW:extension:name")
    assert codes(stream(build(new(SERIES), raw(packed))), "polars") == ["SL326"]
    # Bytes that came before polars was named were not looked at, nor are those kept that others followed.
    early = raw(ARROW + bytes(70_000)) + put(0)
    assert codes(stream(pickle.MARK + early + build(new(SERIES), get(0)) + pickle.TUPLE), "polars") == ["SL326"]
    twice = raw(ARROW + bytes(1000)) + put(0) + raw(bytes(1000))
    assert codes(stream(pickle.MARK + twice + build(new(SERIES), get(0)) + pickle.TUPLE), "polars") == ["SL326"]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("polars.lazyframe.frame", "LazyFrame"),
        ("polars.expr.expr", "Expr"),
        ("statsmodels.base.data", "PandasData"),
        ("statsmodels.base.data", "ModelData"),
    ],
)
def test_what_runs_code_out_of_its_state_is_in_the_floor(module: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="no policy can allow"):
        written(tmp_path, f'[[allow]]\nmodule = "{module}"\nnames = ["{name}"]\nroles = ["new", "state"]\n')


# --------------------------------------------------------------------------------------------------- events

XGB_EVENTS = ["ctypes.cdata/buffer", "ctypes.dlsym getpid"]


def test_granted_events_pass_the_tripwire_and_no_other() -> None:
    import ctypes

    library = ctypes.CDLL(None)
    buffer = bytearray(8)
    with tripwire([], events=XGB_EVENTS):
        library["getpid"]()
        (ctypes.c_char * 8).from_buffer(buffer)
    with pytest.raises(TripwireError, match="dlsym"), tripwire([], events=XGB_EVENTS):
        library["getppid"]()
    with pytest.raises(TripwireError, match="dlsym"), tripwire([]):
        library["getuid"]()
    with pytest.raises(TripwireError, match="cdata"), tripwire([], events=XGB_EVENTS[1:]):
        (ctypes.c_char * 8).from_buffer(buffer)


def test_a_lent_buffer_grants_no_other_address() -> None:
    import ctypes

    buffer = bytearray(8)
    with pytest.raises(TripwireError, match="cdata"), tripwire([], events=XGB_EVENTS):  # noqa: PT012
        (ctypes.c_char * 8).from_buffer(buffer)
        ctypes.c_char.from_address(id(buffer))
    with pytest.raises(TripwireError, match="string_at"), tripwire([], events=XGB_EVENTS):
        ctypes.string_at(id(buffer), 1)


def test_only_the_scanned_globals_bring_their_events() -> None:
    policy = Policy.load("xgboost")
    assert policy.events(["sklearn.svm._classes.SVC", "xgboost.sklearn.XGBClassifier"]) == frozenset()
    assert "ctypes.dlsym XGBoosterCreate" in policy.events(["xgboost.core.Booster"])


@pytest.mark.parametrize(
    "events", ['["open"]', '["ctypes.dlsym"]', '["ctypes.dlsym *"]', '["import os"]', '"ctypes.cdata/buffer"', "[1]"]
)
def test_a_policy_can_grant_no_other_events(events: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        f'name = "a"\nversion = 1\n[[allow]]\nmodule = "a.b"\nnames = ["C"]\nroles = ["new"]\nevents = {events}\n'
    )
    with pytest.raises(PolicyFileError, match="line 3: events must be a list"):
        Policy.load(path)


# ---------------------------------------------------------------------------------------- named patterns, only, built

HEAD = 'name = "a"\nversion = 1\nextends = ["core"]\n'
RULE = '[[allow]]\nmodule = "a.b"\nnames = ["C"]\nroles = ["new", "state"]\n'


def written(folder: Path, text: str) -> Policy:
    path = folder / "policy.toml"
    path.write_text(HEAD + text)
    return Policy.load(path)


def test_a_named_pattern_stands_for_itself(tmp_path: Path) -> None:
    text = '[patterns]\nname = "str"\nnames = {{ list_of = "$name" }}\n' + RULE + "state = {{ only = {{ n = {} }} }}\n"
    named = written(tmp_path, text.format('"$names"'))
    assert named.rules[-1].state == {"only": {"n": {"list_of": "str"}}}
    made = new(glob("a.b", "C"))
    assert codes(stream(build(made, {"n": ["x"]})), named) == []
    assert codes(stream(build(made, {"n": [1]})), named) == ["SL404"]
    assert codes(stream(build(made, {"n": ["x"], "m": 1})), named) == ["SL404"]
    assert codes(stream(build(made, {})), named) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[patterns]\na = 'str'\n" + RULE, "no rule uses the pattern 'a'"),
        ("[patterns]\na = '$b'\nb = 'str'\n" + RULE + "state = '$a'\n", "is not defined"),
        ("[patterns]\na = '$a'\n" + RULE + "state = '$a'\n", "is not defined"),
        (RULE + "state = '$a'\n", "is not defined"),
        ("[patterns]\na = 'text'\n" + RULE + "state = '$a'\n", "is not a pattern"),
        ("[patterns]\n'A b' = 'str'\n" + RULE, "cannot be the name of a pattern"),
        ("patterns = ['str']\n" + RULE, "a table of patterns"),
        (RULE + "state = { only = {} }\n", "only must be a table"),
        (RULE + "state = { built = [] }\n", "not empty"),
    ],
)
def test_a_bad_pattern_is_an_error_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match=rf"policy.toml, line \d+: .*{message}"):
        written(tmp_path, text)


def test_named_patterns_do_not_grow_without_bound(tmp_path: Path) -> None:
    lines = ["a0 = 'str'"]
    for step in range(8):
        parts = ", ".join([f"'$a{step}'"] * 50)
        lines.append(f"a{step + 1} = {{ any_of = [{parts}] }}")
    with pytest.raises(PolicyFileError, match="more than 20000 parts"):
        written(tmp_path, "[patterns]\n" + "\n".join(lines) + "\n" + RULE + "state = '$a8'\n")


def test_built_is_what_has_its_state(tmp_path: Path) -> None:
    rules = RULE + RULE.replace('"C"', '"D"') + 'state = { only = { inner = { built = ["a.b.C"] } } }\n'
    policy = written(tmp_path, rules)
    inner, outer = new(glob("a.b", "C")), new(glob("a.b", "D"))
    assert codes(stream(build(outer, {"inner": build(inner, {})})), policy) == []
    assert codes(stream(build(outer, {"inner": inner})), policy) == ["SL404"]
    assert codes(stream(build(outer, {"inner": build(outer, {})})), policy) == ["SL404"]
