"""The denylist: what it knows by which names, and that it leaves the packs and honest rules alone."""

from __future__ import annotations

import importlib
import sys
import timeit
import warnings
from typing import Any

import pytest

from safeload.errors import PolicyFileError
from safeload.policy import Policy, denied_reason, pack_names
from safeload.policy._denied import COPIES, HARMLESS_STDLIB, MODULES, NAMES

ENTRIES = [name for entries in (MODULES, NAMES) for names in entries.values() for name in names.split()]


def rule(module: str, name: str, more: str) -> str:
    return f'name = "mine"\nversion = 1\n[[allow]]\nmodule = "{module}"\nnames = ["{name}"]\n{more}\n'


def test_every_module_of_the_standard_library_is_denied_or_reviewed() -> None:
    reviewed = set(HARMLESS_STDLIB.split())
    known = {name for name in sys.stdlib_module_names if denied_reason(name) is not None}
    assert sys.stdlib_module_names - known - reviewed == set()
    assert {name for name in reviewed if denied_reason(f"{name}.x") is not None} == set()


def test_every_entry_is_listed_once_and_has_a_reason() -> None:
    assert len(set(ENTRIES)) == len(ENTRIES)
    for name in ENTRIES:
        assert len(denied_reason(name) or "") > 10
    assert all(reason.startswith(("it ", "its ")) for reason in (*MODULES, *NAMES))


@pytest.mark.parametrize(
    "name",
    [
        "numpy.load", "numpy.lib._npyio_impl.load", "numpy.lib.npyio.load", "numpy.frompyfunc",
        "torch.load", "torch.serialization.load", "torch.storage._load_from_bytes",
        "torch.jit.load", "torch.jit._serialization.load",
        "pandas.read_pickle", "pandas.io.pickle.read_pickle", "pandas.io.parsers.readers.read_csv",
        "joblib.load", "joblib.numpy_pickle.load", "sklearn.externals.joblib.numpy_pickle.load",
        "joblib.parallel.Parallel",
        "sklearn.externals.joblib.load", "joblib.memory.Memory", "sklearn.externals.joblib.memory.Memory",
        "joblib.externals.cloudpickle.cloudpickle.loads", "joblib.externals.loky.backend.spawn.prepare",
        "acme._vendor.cloudpickle.loads", "acme.tools.dill._dill.loads", "acme.vendored.requests.get",
        "numba.core.serialize._unpickle__CustomPickled", "numba.core.serialize._rebuild_reduction",
        "mlflow.pyfunc.load_model", "sympy.sympify", "sympy.core.sympify.sympify", "typing.get_type_hints",
        "statsmodels.iolib.smpickle.load_pickle", "lightgbm.basic._InnerPredictor", "dataclasses.make_dataclass",
        "copyreg.pickle", "sklearn.set_config", "sklearn._config.set_config", "wave.open", "pathlib.Path", "gzip.open",
        "functools.partial", "keras.src.saving.saving_api.load_model", "multiprocessing.pool.Pool", "codecs.lookup",
    ],
)  # fmt: skip
@pytest.mark.parametrize("more", ["", 'roles = ["call"]\nargs = [["any"]]', 'roles = ["new", "state"]'])
def test_things_are_denied_by_each_of_their_names(name: str, more: str) -> None:
    module, _, plain = name.rpartition(".")
    with pytest.raises(PolicyFileError, match="no policy can allow"):
        Policy.from_text(rule(module, plain, more))


@pytest.mark.parametrize("public", [name for name in ENTRIES if name.split(".")[0] in ("numpy", "joblib", "sklearn")])
def test_the_defining_module_of_a_denied_name_is_denied(public: str) -> None:
    module, _, plain = public.rpartition(".")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy.core
            value = getattr(importlib.import_module(module), plain) if module else importlib.import_module(plain)
    except (ImportError, AttributeError):
        pytest.skip("not in this version")
    where, what = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    own = f"{where}.{what}"
    if (
        own != "numpy.memmap"
        and isinstance(where, str)
        and isinstance(what, str)
        and getattr(sys.modules.get(where), what, None) is value
    ):
        assert denied_reason(own) is not None, own


@pytest.mark.parametrize("pack", pack_names())
def test_the_packs_are_not_denied(pack: str) -> None:
    confined = {"builtins.getattr", "functools.partial", "numpy.vectorize", "joblib.memory.Memory"}
    names = {f"{rule.module}.{name}" for rule in Policy.load(pack).rules for name in rule.names}
    assert {name for name in names if denied_reason(name)} <= confined


PARTIAL = 'roles = ["call", "state"]\nargs = [[{ global = ["acme.f"] }]]\n'
MEMORY = 'roles = ["new", "state"]\n'


@pytest.mark.parametrize(
    ("name", "more", "allowed"),
    [
        ("functools.partial", PARTIAL + 'state = { tuple = [{ global = ["acme.f"] }, "any"] }', True),
        ("functools.partial", PARTIAL, False),
        ("functools.partial", PARTIAL + 'state = { tuple = ["any", "any"] }', False),
        ("functools.partial", PARTIAL + 'state = { tuple = [{ any_of = ["any"] }] }', False),
        ("functools.partial", 'roles = ["call"]\nargs = [[{ global = ["os.system"] }]]', False),
        ("functools.partial", 'roles = ["call"]\nargs = [["any"]]', False),
        ("functools.partial", 'roles = ["call"]\nargs = [[{ global = ["acme.f"] }], []]', False),
        ("functools.partial", 'roles = ["call", "import"]\nargs = [[{ global = ["acme.f"] }]]', False),
        ("joblib.memory.Memory", MEMORY + 'state = { only = { location = "none", store_backend = "none" } }', True),
        ("joblib.memory.Memory", MEMORY + 'state = { only = { location = "str", store_backend = "none" } }', False),
        ("joblib.memory.Memory", MEMORY + 'state = { only = { location = "none" } }', False),
        ("joblib.memory.Memory", MEMORY + 'state = { attributes = { location = "none" } }', False),
        ("numpy.vectorize", MEMORY + 'state = { only = { pyfunc = { instance = ["builtins.getattr"] } } }', True),
        ("numpy.vectorize", MEMORY + 'state = { only = { pyfunc = "any" } }', False),
    ],
)  # fmt: skip
def test_the_confined_forms(name: str, more: str, allowed: bool) -> None:
    module, _, plain = name.rpartition(".")
    text = rule(module, plain, more)
    if allowed:
        assert name in Policy.from_text(text)
    else:
        with pytest.raises(PolicyFileError, match="no policy can allow"):
            Policy.from_text(text)


@pytest.mark.parametrize(
    "name",
    [
        "acme.features.Encoder", "acme.os.Thing", "acme.io.readers.Frame", "acme.logging.Kept", "datasets.mine.Scaler",
        "evaluate.scores.Score", "tests.models.Custom", "externals.acme.Encoder", "acme.externals.models.Encoder",
        "sklearn.linear_model._base.LinearRegression", "pandas.core.frame.DataFrame", "numpy.memmap",
        "torch._utils._rebuild_tensor_v2", "collections.OrderedDict", "datetime.datetime",
    ],
)  # fmt: skip
def test_names_that_people_honestly_allow(name: str) -> None:
    assert denied_reason(name) is None


def test_a_look_up_stays_cheap() -> None:
    names = [f"sklearn.linear_model._base.Name{number}" for number in range(100)]

    def once() -> Any:
        return [denied_reason(name) for name in names]

    assert min(timeit.repeat(once, number=10, repeat=5)) / 1000 < 20e-6  # seconds each; it takes under one microsecond
    assert "externals" in COPIES
