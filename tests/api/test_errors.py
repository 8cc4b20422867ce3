"""Errors and findings have where, what happened and what to do in fields of their own."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
from typing import TYPE_CHECKING, Any

import pytest

import safeload
from safeload import errors
from safeload.errors import PolicyViolationError, SafeloadError, StorageError
from safeload.findings import FINDING_KINDS, Finding

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, SafeloadError) and kind.__module__ == errors.__name__
]
COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    *(lambda one, protocol=protocol: pickle.loads(pickle.dumps(one, protocol)) for protocol in (2, 5)),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_says_where_what_and_what_to_do(kind: type[SafeloadError]) -> None:
    error = kind("cannot read it: permission denied", advice="Check its mode.", path="m.joblib")
    assert (error.path, error.message, error.advice) == (
        "m.joblib",
        "cannot read it: permission denied",
        "Check its mode.",
    )
    assert str(error) == "m.joblib: cannot read it: permission denied. Check its mode."
    assert str(kind("nothing known")) == "nothing known"
    assert str(kind("refused\n  one\n  two", advice="Do this.")) == "refused\n  one\n  two\nDo this."


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_are_copied_and_pickled_whole(kind: type[SafeloadError], copied: Callable[[Any], Any]) -> None:
    given = {"code": "SL107", "offset": 7, "event": "os.system", "report": ("a", "report")}
    more: Any = {name: value for name, value in given.items() if name in inspect.signature(kind).parameters}
    error = kind("cannot load it", advice="Get it again.", path="m.joblib", **more)
    error.path = "elsewhere.joblib"
    other = copied(error)
    assert type(other) is kind
    assert vars(other) == vars(error)
    assert str(other) == "elsewhere.joblib: cannot load it. Get it again."


def test_a_path_stands_before_a_message_only_where_the_reader_does_not_see_it() -> None:
    error = StorageError("cannot read it", path="a/m.joblib")
    assert error.describe("a/m.joblib") == "cannot read it"
    assert error.describe("b/m.joblib") == "a/m.joblib: cannot read it"
    assert StorageError("cannot read it").describe("b") == "cannot read it"


@pytest.mark.parametrize("copied", COPIES)
def test_a_refusal_is_copied_with_its_report(
    tmp_path: Path, key: safeload.SigningKey, copied: Callable[[Any], Any]
) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(pickle.dumps(os.system))
    with pytest.raises(PolicyViolationError) as caught:
        safeload.sign(path, key=key)
    other = copied(caught.value)
    assert (str(other), other.report.to_dict()) == (str(caught.value), caught.value.report.to_dict())
    assert other.report.findings == caught.value.report.findings
    assert caught.value.path == str(path)
    assert "SL405" in caught.value.message
    assert caught.value.advice == FINDING_KINDS["SL405"].advice


def test_a_finding_has_the_advice_of_its_kind_unless_it_has_better() -> None:
    assert Finding("SL101", "there is no manifest").advice == FINDING_KINDS["SL101"].advice
    better = Finding("SL101", "there is no manifest", advice="Run: safeload sign m.joblib")
    assert better.to_dict()["advice"] == better.advice == "Run: safeload sign m.joblib"


def test_a_refusal_before_the_scan_is_a_finding_with_both(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "m.joblib"
    path.write_bytes(pickle.dumps([1]))
    (finding,) = safeload.verify(path, keyring=key).findings
    assert finding.message == f"not signed: there is no {path}.manifest.json"
    assert finding.advice == f"If you trust where it comes from, run: safeload sign {path}"
    with pytest.raises(safeload.UnsignedError) as caught:
        safeload.load(path, keyring=key)
    assert (caught.value.message, caught.value.advice) == (finding.message, finding.advice)


def test_every_refusal_of_a_manifest_has_advice(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "m.joblib"
    safeload.dump([1], path, key=key)
    (tmp_path / "m.joblib.manifest.json").write_bytes(b"{}")
    with pytest.raises(safeload.ManifestError) as caught:
        safeload.load(path, keyring=key)
    assert (caught.value.path, caught.value.advice) == (str(path), FINDING_KINDS["SL102"].advice)
