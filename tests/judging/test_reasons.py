"""Files of other formats and of other ages are refused for the true reason, with what to do instead."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import pickle
import pickletools
import struct
import zipfile
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest

import safeload
from pickles.opcodes import build, glob, new, stream
from safeload._judging.reasons import _GONE
from safeload._scan.foreign import foreign_format
from safeload.policy import Policy, pack_names
from support.cli_runs import REFUSED, Outcome
from support.places import TESTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("own_home")


def archive(*names: str, compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name in names:
            file.writestr(name, b"content")
    return stream.getvalue()


def saved(save: Callable[[io.BytesIO], Any]) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


def old_torch(stream: io.BytesIO) -> None:
    """What torch.save wrote before 1.6: several pickles in a row."""
    for part in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}):
        pickle.dump(part, stream, protocol=2)


HEADER = json.dumps({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
FOREIGN = {
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "an HTML page": b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>",
    "an XML document": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "a PyTorch file": archive("archive/data.pkl", "archive/version", "archive/data/0"),
    "a PyTorch file in the format before 1.6": saved(old_torch),
    "a skops file": archive("140.npy", "schema.json", compression=zipfile.ZIP_DEFLATED),
    "a Keras model": archive("metadata.json", "config.json", "model.weights.h5"),
    "a NumPy .npz archive": saved(lambda stream: np.savez(stream, a=np.eye(2))),
    "a NumPy .npy array": saved(lambda stream: np.save(stream, np.eye(2))),
    "a ZIP archive": archive("model.joblib"),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(40),
    "a Parquet file": b"PAR1" + bytes(40) + b"PAR1",
    "a safetensors file": struct.pack("<Q", len(HEADER)) + HEADER + bytes(4),
    "an ONNX model": b"\x08\x0a\x12\x08skl2onnx\x1a\x061.17.0\x22\x07ai.onnx",
    "a JSON document": b'{"learner": {"attributes": {}}}',
}
CHANGED = {
    "decoded and encoded": pickle.dumps({"a": np.eye(3)}, protocol=4).decode("utf-8", "replace").encode(),
    "as Latin-1": pickle.dumps([1, "a"], protocol=4).decode("latin-1").encode(),
    "compressed": gzip.compress(pickle.dumps([1])).decode("utf-8", "replace").encode(),
    "line ends": pickle.dumps([1, "a\n\n\n\nb", {"c\nd": "\n" * 10}], protocol=4).replace(b"\n", b"\r\n"),
}


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    path = tmp_path / "ring.toml"
    safeload.Keyring.from_keys([safeload.SigningKey.generate(key_id="team")]).save(path)
    return path


@pytest.mark.parametrize("what", FOREIGN)
def test_another_format_is_named(run: Callable[..., Outcome], tmp_path: Path, ring: Path, what: str) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(FOREIGN[what])
    report = safeload.scan(path)
    (finding,) = report.findings
    assert finding.code == "SL327"
    assert finding.message.startswith(f"this is {what}")
    assert finding.advice != safeload.Finding("SL327", "").advice
    with pytest.raises(safeload.MalformedArtifactError, match=what) as signing:
        safeload.sign(path, key=ring)
    assert finding.advice in str(signing.value)
    with pytest.raises(safeload.UnsignedError, match=what) as loading:
        safeload.load(path, keyring=ring)
    assert loading.value.advice == finding.advice
    verified = safeload.verify(path, keyring=ring)
    assert [one.code for one in verified.findings] == ["SL327", "SL101"]
    assert {one.advice for one in verified.findings} == {finding.advice}
    for command in (["scan"], ["verify", "--keyring", ring], ["sign", "--keyring", ring]):
        outcome = run(*command, path)
        assert outcome.code == REFUSED
        assert what in outcome.out
        assert "safeload sign" not in outcome.out
        assert "mislead" not in outcome.out
        assert "report it" not in outcome.out


def test_a_pointer_in_the_place_of_a_signed_artifact_is_named(tmp_path: Path, ring: Path) -> None:
    path = tmp_path / "model.joblib"
    safeload.dump([1], path, key=ring)
    path.write_bytes(FOREIGN["a Git LFS pointer"])
    report = safeload.verify(path, keyring=ring)
    assert report.findings[0].code == "SL327"
    assert "git lfs pull" in report.findings[0].advice
    assert report.findings[1].code in ("SL201", "SL202")
    with pytest.raises(safeload.VerificationError, match="git lfs pull"):
        safeload.load(path, keyring=ring)


@pytest.mark.parametrize("how", CHANGED)
def test_a_text_conversion_is_named(tmp_path: Path, how: str) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(CHANGED[how])
    finding = safeload.scan(path).findings[0]
    assert finding.code == "SL328"
    assert "as binary" in finding.advice


def test_nothing_that_is_loaded_looks_foreign(tmp_path: Path) -> None:
    """A file that begins as another format does is judged as ever: what is allowed has no such beginning."""
    for value in (None, [1, 2], {"a": 1}, "text", np.eye(3), 10**40):
        for protocol in range(6):
            assert foreign_format(pickle.dumps(value, protocol)) is None
        for compression in ("zlib", "gzip", "bz2", "xz", "lzma"):
            joblib.dump(value, tmp_path / "a", compress=(compression, 3))
            assert foreign_format((tmp_path / "a").read_bytes()) is None
    path = tmp_path / "b"
    path.write_bytes(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")  # torch's number alone is a whole pickle
    assert safeload.scan(path).allowed


# ------------------------------------------------------------------------------------------------- other ages


def python_2(protocol: int) -> bytes:
    """A dict as cPickle of Python 2 wrote it: with its strings, and a memo that counts from 1."""
    if protocol == 0:
        return b"(dp1\nS'a'\np2\nI1\ns."
    return (b"\x80\x02" if protocol == 2 else b"") + b"}q\x01U\x01aq\x02K\x01s."


@pytest.mark.parametrize("protocol", [0, 1, 2])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pickle_of_python_2_is_named(tmp_path: Path, protocol: int, pack: Callable[[bytes], bytes]) -> None:
    data = python_2(protocol)
    assert pickle.loads(data) == {"a": 1}
    path = tmp_path / "model.pkl"
    path.write_bytes(pack(data))
    finding = safeload.scan(path).findings[0]
    assert finding.code == "SL329"
    assert "Only if you trust whoever made the file" in finding.advice
    assert "bug" not in finding.advice


def named(module: str, name: str, tmp_path: Path) -> Path:
    path = tmp_path / "model.joblib"
    path.write_bytes(pickletools.optimize(b"\x80\x02c" + f"{module}\n{name}\n".encode() + b")\x81."))
    return path


@pytest.mark.parametrize(
    ("module", "name", "who"),
    [
        ("sklearn.externals.joblib.numpy_pickle", "NumpyArrayWrapper", "scikit-learn before 0.23"),
        ("sklearn.linear_model.logistic", "LogisticRegression", "scikit-learn before 0.23"),
        ("sklearn.ensemble.forest", "RandomForestClassifier", "scikit-learn before 0.23"),
        ("pandas.core.indexes.numeric", "Int64Index", "pandas before 2.0"),
    ],
)
def test_a_name_that_left_its_library_gets_no_rule(
    run: Callable[..., Outcome], tmp_path: Path, module: str, name: str, who: str
) -> None:
    path = named(module, name, tmp_path)
    (finding,) = safeload.scan(path).findings
    assert finding.code == "SL406"
    assert who in finding.message
    assert "save it again" in finding.advice
    outcome = run("scan", path)
    assert outcome.code == REFUSED
    assert "[[allow]]" not in outcome.out
    with pytest.raises(safeload.PolicyViolationError, match=who) as caught:
        safeload.scan(path).raise_if_refused()
    assert "[[allow]]" not in str(caught.value)
    learned = run("policy", "learn", path)
    assert "[[allow]]" not in learned.out
    assert who in learned.err


def test_names_that_packs_have_are_not_gone() -> None:
    for pack in pack_names():
        for name in Policy.load(pack).names:
            parts = name.split(".")
            assert not any(".".join(parts[:end]) in _GONE for end in range(2, len(parts) + 1)), name


@pytest.mark.parametrize(
    "module", ["dill._dill", "cloudpickle.cloudpickle", "joblib.externals.cloudpickle.cloudpickle"]
)
def test_functions_saved_by_their_code_belong_into_a_module(
    run: Callable[..., Outcome], tmp_path: Path, module: str
) -> None:
    path = named(module, "_create_code", tmp_path)
    (finding,) = safeload.scan(path).findings
    assert finding.code == "SL405"
    assert "module that can be imported" in finding.advice
    assert "module that can be imported" in run("scan", path).out


def test_xz_without_a_check_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "model.xz"
    path.write_bytes(lzma.compress(pickle.dumps([1]), check=lzma.CHECK_NONE))
    (finding,) = safeload.scan(path).findings
    assert "no checksum" in finding.message
    assert "mislead" not in finding.advice


def test_old_artifacts_keep_their_verdicts() -> None:
    for path in sorted((TESTS / "packs" / "legacy").glob("*.*l*")):
        if path.suffix != ".json":
            assert safeload.scan(path, policy="legacy").allowed, path


@pytest.mark.parametrize(
    ("state", "policy", "message", "advice"),
    [
        (
            build(new(glob("sklearn.pipeline", "Pipeline")), {"steps": [], "memory": "/tmp/cache"}),
            "sklearn",
            "its attribute 'memory' is the str '/tmp/cache'; allowed: none",
            "Call set_params(memory=None) on it before saving.",
        ),
        (
            build(new(glob("lightgbm.basic", "Booster")), {"_handle": "tree", "_network": True}),
            "lightgbm",
            "its attribute '_network' is True; allowed: literal [False]",
            "Call free_network() on the booster before saving.",
        ),
        (
            build(new(glob("lightgbm.basic", "Booster")), {"_handle": "tree", "tuned": 3}),
            "lightgbm",
            "its attribute 'tuned' is not listed by the rule",
            "Delete the attribute before saving, or save with a version of the library that the pack was reviewed for.",
        ),
        (
            build(new(glob("lightgbm.basic", "Booster")), {"_handle": 7}),
            "lightgbm",
            "its attribute '_handle' is an int; allowed: any_of [none, str]",
            "Give _handle a value that is allowed before saving.",
        ),
    ],
)
def test_a_refused_state_names_the_attribute_and_the_fix(
    tmp_path: Path, state: bytes, policy: str, message: str, advice: str
) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(stream(state))
    (finding,) = safeload.scan(path, policy=policy).findings
    assert (finding.code, finding.message, finding.advice) == ("SL404", message, advice)


def test_a_class_of_the_script_is_told_where_to_move(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(stream(build(new(glob("__main__", "Clipper")), {"low": 1})))
    (finding,) = safeload.scan(path).findings
    assert finding.code == "SL405"
    assert "Move it from the script or notebook into a module" in finding.advice
    assert "reaches outside" not in f"{finding.message} {finding.advice}"
