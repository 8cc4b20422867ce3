"""Keywords as joblib has them, wrong keywords, the truth of a report, and limits as texts."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import joblib
import pytest
from sklearn.datasets import load_iris

import safeload
from safeload import Limits, SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("own_home")

api: Any = safeload  # for calls that a type checker would refuse
ROWS, _ = load_iris(return_X_y=True)


@pytest.fixture
def replaced(own_home: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: SigningKey) -> None:
    """safeload in the place of joblib, with the keyring that the environment names."""
    ring = tmp_path / "ring.toml"
    safeload.Keyring.from_keys([key]).save(ring)
    monkeypatch.setenv("SAFELOAD_KEYRING", str(ring))
    monkeypatch.setattr(joblib, "dump", safeload.dump)
    monkeypatch.setattr(joblib, "load", safeload.load)


@pytest.mark.usefixtures("replaced")
def test_calls_of_joblib_work_where_safeload_replaces_it(pipeline: Any, tmp_path: Path) -> None:
    expected = list(pipeline.predict(ROWS))
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((pipeline, tmp_path / "0.joblib"), {}),
        ((), {"value": pipeline, "filename": tmp_path / "1.joblib"}),
        ((pipeline,), {"filename": tmp_path / "2.joblib", "compress": 3, "protocol": 4}),
        ((pipeline, tmp_path / "3.joblib", 3, 4), {}),
        ((pipeline, tmp_path / "4.joblib"), {"cache_size": 100}),
    ]
    for number, (args, kwargs) in enumerate(calls):
        path = tmp_path / f"{number}.joblib"
        joblib.dump(*args, **kwargs)
        assert list(joblib.load(path).predict(ROWS)) == expected
        assert list(joblib.load(filename=path).predict(ROWS)) == expected
        assert list(joblib.load(filename=path, mmap_mode=None, ensure_native_byte_order=True).predict(ROWS)) == expected
        assert list(joblib.load(path, ensure_native_byte_order="auto").predict(ROWS)) == expected
    mapped = tmp_path / "0.joblib"
    assert list(joblib.load(mapped, "r", ensure_native_byte_order=False).predict(ROWS)) == expected
    for mode, order in ((None, False), ("r", True), (None, "big")):
        with pytest.raises(ValueError, match="ensure_native_byte_order"):
            joblib.load(mapped, mode, ensure_native_byte_order=order)


def test_every_parameter_of_joblib_is_taken() -> None:
    for theirs, ours in ((joblib.load, safeload.load), (joblib.dump, safeload.dump)):
        names = {"value": "obj", "filename": "path"}
        taken = list(inspect.signature(ours).parameters)
        found = [name for name in inspect.signature(theirs).parameters if name != "cache_size"]  # ignored, and gone
        wanted = [names.get(name, name) for name in found]
        assert set(wanted) <= set(taken)
        positional = [name for name in wanted if name != "ensure_native_byte_order"]
        assert taken[: len(positional)] == positional


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda at, key: api.load(at, key=key), "load() … 'key'. Did you mean 'keyring'?"),
        (lambda at, key: api.verify(at, key=key), "Did you mean 'keyring'?"),
        (lambda at, key: api.dump(1, at, keyring=key), "dump() … 'keyring'. Did you mean 'key'?"),
        (lambda at, key: api.sign(at, keyring=key), "Did you mean 'key'?"),
        (lambda at, key: api.dumps(1, keyring=key), "Did you mean 'key'?"),
        (lambda at, key: api.dump(1, at, compression=3, key=key), "Did you mean 'compress'?"),
        (lambda at, key: api.dump(1, at, force=True, key=key), "Did you mean 'overwrite'?"),
        (lambda at, key: api.scan(at, keyring=key), "A scan needs no key"),
        (lambda at, key: api.verify(at, mmap_mode="r"), "Only load() maps arrays"),
        (lambda at, key: api.loads(b"", b"", mmap_mode="r"), "Bytes cannot be mapped into memory. Use load()"),
        (lambda at, key: api.dumps(1, filename="x", key=key), "name= is what they are signed as"),
        (lambda at, key: api.Loader(key=key), "Loader() … 'key'. Did you mean 'keyring'?"),
        (lambda at, key: api.Loader(keyring=key, policies=["core"]), "Did you mean 'policy'?"),
        (lambda at, key: api.Store(at, keys=key), "Store() … 'keys'. Did you mean 'keyring'?"),
        (lambda at, key: api.load(at, nonsense=1), "load() … 'nonsense'"),
        (lambda at, key: api.load(at, filename=at, path=at), "which are the same"),
    ],
)
def test_a_wrong_keyword_is_told_the_right_one(
    tmp_path: Path, key: SigningKey, call: Callable[..., Any], told: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(told.replace("…", "got an unexpected keyword argument"))):
        call(tmp_path / "none.joblib", key)


def test_the_truth_of_a_report_is_its_verdict(signed: Path, key: SigningKey) -> None:
    assert safeload.verify(signed, keyring=key)
    assert not safeload.verify(signed, keyring=SigningKey.generate())
    assert not safeload.scan(signed, policy="core")
    assert not safeload.Report(path="x", findings=(), error="cannot be read")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4_000_000_000),
        ("4 GiB", 4 << 30),
        ("512MiB", 512 << 20),
        ("1.5kb", 1500),
        ("100B", 100),
        ("1TB", 10**12),
    ],
)
def test_limits_in_bytes_may_be_texts(text: str, size: int) -> None:
    assert Limits(max_memory=text, max_unpacked=text) == Limits(max_memory=size, max_unpacked=size)


@pytest.mark.parametrize("wrong", ["", "4", "GB", "-1GB", "0GB", "1e9B", "4 PB", "4GB!", "\u0664GB", "4GBB"])
def test_other_texts_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="max_memory"):
        Limits(max_memory=wrong)
    with pytest.raises(ValueError, match="max_opcodes"):
        Limits(max_opcodes="4GB")  # type: ignore[arg-type]


def test_overwriting_is_told_as_python_says_it(signed: Path, key: SigningKey) -> None:
    with pytest.raises(FileExistsError, match="overwrite=True"):
        safeload.dump([1], signed, key=key)
