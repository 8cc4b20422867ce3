"""dump, sign, load, verify, scan, read_manifest and Loader on real models."""

from __future__ import annotations

import copy
import errno
import importlib.metadata
import io
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from joblib import numpy_pickle
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_iris

import safeload
from safeload._manifest.manifest import seal
from safeload._signing.claims import describe
from safeload._storage.pair import manifest_path, next_path

ROWS, LABELS = load_iris(return_X_y=True)


class RatioEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer that no pack knows."""

    def fit(self, rows: Any, labels: Any = None) -> RatioEncoder:
        self.ratio_ = rows.mean()
        return self

    def transform(self, rows: Any) -> Any:
        return rows / self.ratio_


class Marker:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


# ------------------------------------------------------------------------------------------ the way round


@pytest.mark.parametrize(
    ("name", "options", "compression"),
    [
        ("model.joblib", {}, "none"),
        ("model.pkl", {}, "none"),
        ("model.joblib", {"compress": 3}, "zlib"),
        ("model.joblib", {"compress": True}, "zlib"),
        ("model.joblib", {"compress": "gzip"}, "gzip"),
        ("model.joblib", {"compress": ("bz2", 9)}, "bz2"),
        ("model.joblib", {"compress": ("lz4", 1)}, "lz4"),
        ("model.joblib.z", {}, "zlib"),
        ("model.joblib.gz", {}, "gzip"),
        ("model.joblib.bz2", {}, "bz2"),
        ("model.joblib.xz", {}, "xz"),
        ("model.joblib.lzma", {}, "lzma"),
        ("model.joblib", {"protocol": 2}, "none"),
        ("model.joblib", {"protocol": 5}, "none"),
        ("modèle № 1.joblib", {}, "none"),
    ],
)
def test_a_model_goes_round(
    tmp_path: Path, key: safeload.SigningKey, pipeline: Any, name: str, options: Any, compression: str
) -> None:
    path = tmp_path / name
    manifest = safeload.dump(pipeline, path, key=key, **options)
    assert (manifest.name, manifest.compression) == (name, compression)
    assert safeload.verify(path, keyring=key).allowed
    loaded = safeload.load(path, keyring=key)
    assert (loaded.predict(ROWS) == pipeline.predict(ROWS)).all()
    assert sorted(os.listdir(tmp_path)) == sorted([name, f"{name}.manifest.json"])
    if compression == "lz4":
        return  # on Python 3.13, joblib's own reader of lz4 complains when it is collected
    plain = joblib.load(path)  # without safeload the artifact is what it always was
    assert (plain.predict(ROWS) == pipeline.predict(ROWS)).all()


def test_positional_arguments_are_those_of_joblib(tmp_path: Path, key: safeload.SigningKey, pipeline: Any) -> None:
    assert safeload.dump(pipeline, str(tmp_path / "m.joblib"), 3, 4, key=key).compression == "zlib"


@pytest.mark.parametrize("protocol", range(6))
def test_what_pickle_wrote_is_signed_and_loaded(
    tmp_path: Path, key: safeload.SigningKey, pipeline: Any, protocol: int
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(pipeline, protocol=protocol))
    assert safeload.sign(path, key=key).format == "pickle"
    loaded = safeload.load(path, keyring=key)
    assert (loaded.predict(ROWS) == pipeline.predict(ROWS)).all()


def test_a_model_package(tmp_path: Path, key: safeload.SigningKey, pipeline: Any) -> None:
    package = {
        "model": pipeline,
        "trained_at": datetime.now(UTC),
        "features": ["a", "b"],
        "metrics": {"auc": np.float64(0.9), "counts": np.array([1, 2])},
        "classes": {0: "setosa", 1: "other"},
        "labels": np.array(["x", None], dtype=object),
    }
    path = tmp_path / "package.joblib"
    safeload.dump(package, path, key=key)
    loaded = safeload.load(path, keyring=key)
    assert loaded["trained_at"] == package["trained_at"]
    assert loaded["metrics"]["auc"] == 0.9
    assert (loaded["model"].predict(ROWS) == pipeline.predict(ROWS)).all()


def test_the_manifest_says_what_was_signed(tmp_path: Path, key: safeload.SigningKey, pipeline: Any) -> None:
    path = tmp_path / "model.joblib"
    trained = datetime(2026, 11, 1, tzinfo=UTC)
    safeload.dump(
        pipeline, path, key=key, metadata={"auc": np.float32(0.5), "trained": trained}, version="2026.11", release=7
    )
    manifest = safeload.read_manifest(path, keyring=key)
    assert (manifest.release, manifest.version, manifest.key_ids) == (7, "2026.11", (key.key_id,))
    assert manifest.metadata == {"auc": 0.5, "trained": "2026-11-01T00:00:00+00:00"}
    assert "scikit-learn" in manifest.producer.packages
    assert ("sklearn.pipeline.Pipeline", ("new", "state")) in manifest.globals


def test_releases_count_on(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "model.joblib"
    assert safeload.dump([1], path, key=key).release == 1
    assert safeload.dump([1], path, key=key, overwrite=True).release == 2
    assert safeload.sign(path, key=key, overwrite=True).release == 3
    with pytest.raises(safeload.RollbackError, match=r"release 3.*required release 4"):
        safeload.load(path, keyring=key, min_release=4)
    assert safeload.load(path, keyring=key, min_release=3) == [1]


def test_releases_count_on_whatever_became_of_the_pair(
    tmp_path: Path, key: safeload.SigningKey, pass_time: Callable[[timedelta], None]
) -> None:
    path = tmp_path / "model.joblib"
    safeload.dump([1], path, key=key, release=7)
    joblib.dump(list(range(100)), path)  # trained again, in place
    assert safeload.sign(path, key=key, overwrite=True).release == 8
    path.unlink()
    assert safeload.dump([1], path, key=key, overwrite=True, expires=timedelta(hours=1)).release == 9
    pass_time(timedelta(hours=2))
    with pytest.raises(safeload.ExpiredError):
        safeload.read_manifest(path, keyring=key)
    assert safeload.sign(path, key=key, overwrite=True).release == 10
    # What this key did not sign, or signed for another name, says nothing.
    other = tmp_path / "other.joblib"
    joblib.dump([1], other)
    manifest_path(other).write_bytes(manifest_path(path).read_bytes())
    assert safeload.sign(other, key=key, overwrite=True).release == 1
    assert safeload.sign(path, key=safeload.SigningKey.generate(), overwrite=True).release == 1


@pytest.mark.parametrize("extension", ["", ".joblib", ".z", ".gz", ".bz2", ".xz", ".lzma", ".lz4", ".GZ"])
@pytest.mark.parametrize("compress", [0, 1, 9, True, False, "xz", ("zlib", 0), ("bz2", 5), 11, -1, "rar"])
def test_the_bytes_are_those_that_joblib_would_write(
    tmp_path: Path, key: safeload.SigningKey, extension: str, compress: Any
) -> None:
    obj = {"array": np.arange(1000.0), "text": "x" * 99}
    ours, theirs = tmp_path / f"ours{extension}", tmp_path / f"theirs{extension}"
    try:
        joblib.dump(obj, theirs, compress=compress)
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)[:20]):
            safeload.dump(obj, ours, compress, key=key)
        assert not ours.exists()
        return
    safeload.dump(obj, ours, compress, key=key)
    first, second = ours.read_bytes(), theirs.read_bytes()
    skipped = 8 if first.startswith(b"\x1f\x8b") else 0  # gzip's header has the time
    assert first[skipped:] == second[skipped:]


def test_a_keyring_path_and_the_environment(tmp_path: Path, monkeypatch: Any) -> None:
    ring = tmp_path / "ring.toml"
    safeload.Keyring.from_keys([safeload.SigningKey.generate()]).save(ring)
    safeload.dump([1], tmp_path / "a.joblib", key=ring)
    assert safeload.load(tmp_path / "a.joblib", keyring=str(ring)) == [1]
    monkeypatch.setenv("SAFELOAD_KEYRING", str(ring))
    safeload.dump([2], tmp_path / "b.joblib")
    assert safeload.load(tmp_path / "b.joblib") == [2]
    assert safeload.Loader().verify(tmp_path / "b.joblib").allowed


def test_ed25519_verifies_without_the_secret(tmp_path: Path) -> None:
    key = safeload.SigningKey.generate("ed25519")
    safeload.dump([1], tmp_path / "a.joblib", key=key)
    assert safeload.load(tmp_path / "a.joblib", keyring=key.verifying_key) == [1]


# --------------------------------------------------------------------------------------------- refusals


def test_an_unsigned_artifact(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump([1], path)
    with pytest.raises(safeload.UnsignedError, match="safeload sign"):
        safeload.load(path, keyring=key)
    report = safeload.verify(path, keyring=key)
    assert [finding.code for finding in report.findings] == ["SL101"]


def test_another_key(signed: Path) -> None:
    other = safeload.SigningKey.generate()
    with pytest.raises(safeload.UnknownKeyError):
        safeload.load(signed, keyring=other)
    assert safeload.verify(signed, keyring=other).findings[0].code == "SL103"


def test_another_key_of_the_same_name(tmp_path: Path) -> None:
    key, other = (safeload.SigningKey.generate(key_id="ours") for _ in range(2))
    safeload.dump([1], tmp_path / "a.joblib", key=key)
    with pytest.raises(safeload.BadSignatureError):
        safeload.load(tmp_path / "a.joblib", keyring=other)


def test_a_signed_pair_over_another_name(signed: Path, key: safeload.SigningKey) -> None:
    other = signed.with_name("other.joblib")
    other.write_bytes(signed.read_bytes())
    Path(f"{other}.manifest.json").write_bytes(Path(f"{signed}.manifest.json").read_bytes())
    with pytest.raises(safeload.ManifestError, match="under another name: 'model"):
        safeload.load(other, keyring=key)


def test_an_expired_manifest(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "a.joblib"
    safeload.dump([1], path, key=key, expires=timedelta(milliseconds=1))
    time.sleep(1.1)
    with pytest.raises(safeload.ExpiredError):
        safeload.load(path, keyring=key)


def test_a_time_to_live_is_never_cut_short(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "a.joblib"
    before = datetime.now(UTC)
    expires = safeload.dump([1], path, key=key, expires=timedelta(seconds=1)).expires
    assert expires is not None
    assert timedelta(seconds=1) <= expires - before
    assert expires - datetime.now(UTC) <= timedelta(seconds=2)
    assert expires.microsecond == 0
    exact = datetime.now(UTC) + timedelta(hours=1, microseconds=7)
    safeload.sign(path, key=key, overwrite=True, expires=exact)
    assert safeload.read_manifest(path, keyring=key).expires == exact


def test_a_hostile_artifact_is_not_signed_and_not_run(tmp_path: Path, key: safeload.SigningKey) -> None:
    marker, path = tmp_path / "marker", tmp_path / "evil.joblib"
    joblib.dump(Marker(marker), path)
    report = safeload.scan(path)
    assert [(finding.code, finding.global_name) for finding in report.findings] == [("SL405", "posix.system")]
    with pytest.raises(safeload.PolicyViolationError, match=r"posix\.system") as raised:
        safeload.sign(path, key=key)
    assert raised.value.report.findings == report.findings
    with pytest.raises(safeload.PolicyViolationError):
        safeload.dump(Marker(marker), tmp_path / "other.joblib", key=key)
    assert os.listdir(tmp_path) == ["evil.joblib"]


def test_what_was_signed_under_a_wider_policy_is_still_scanned(tmp_path: Path, key: safeload.SigningKey) -> None:
    policy = own_policy(tmp_path)
    path = tmp_path / "a.joblib"
    safeload.dump(RatioEncoder().fit(ROWS), path, key=key, policy=policy)
    with pytest.raises(safeload.PolicyViolationError):
        safeload.load(path, keyring=key)
    assert safeload.load(path, keyring=key, policy=policy).ratio_ == pytest.approx(ROWS.mean())


def own_policy(folder: Path) -> Path:
    """Do what the refusal says: save the policy that it prints."""
    path = folder / "own.joblib"
    joblib.dump(RatioEncoder().fit(ROWS), path)
    with pytest.raises(safeload.PolicyViolationError) as raised:
        safeload.sign(path, key=safeload.SigningKey.generate())
    path.unlink()
    message = str(raised.value)
    toml = message[message.index("    name =") :]
    policy = folder / "policy.toml"
    policy.write_text(toml)
    return policy


def test_nothing_is_overwritten(signed: Path, key: safeload.SigningKey) -> None:
    before = signed.read_bytes(), Path(f"{signed}.manifest.json").read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        safeload.dump([1], signed, key=key)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        safeload.sign(signed, key=key)
    assert before == (signed.read_bytes(), Path(f"{signed}.manifest.json").read_bytes())


def test_what_cannot_be_pickled_leaves_the_old_pair(signed: Path, key: safeload.SigningKey, pipeline: Any) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        safeload.dump([lambda: 1], signed, key=key, overwrite=True)
    assert sorted(os.listdir(signed.parent)) == ["model.joblib", "model.joblib.manifest.json"]
    assert (safeload.load(signed, keyring=key).predict(ROWS) == pipeline.predict(ROWS)).all()


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}, {1: "a"}, b"x", np.array([1])])
def test_metadata_that_json_cannot_hold(tmp_path: Path, key: safeload.SigningKey, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="metadata"):
        safeload.dump([1], tmp_path / "a.joblib", key=key, metadata={"deep": [value]})
    assert not os.listdir(tmp_path)


# ------------------------------------------------------------------------------------------ memory mapping


@pytest.fixture
def private(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.mark.parametrize("mode", ["r", "c"])
def test_arrays_are_mapped(private: Path, key: safeload.SigningKey, mode: Any) -> None:
    path = private / "a.joblib"
    safeload.dump({"w": np.arange(1000.0), "names": np.array(["x", None], dtype=object)}, path, key=key)
    loaded = safeload.load(path, mode, keyring=key)
    assert isinstance(loaded["w"], np.memmap)
    assert (loaded["w"].mode, str(loaded["w"].filename)) == (mode, str(path))
    assert (loaded["w"] == np.arange(1000.0)).all()


def test_mapping_verifies_every_byte_first(private: Path, key: safeload.SigningKey) -> None:
    path = private / "a.joblib"
    safeload.dump(np.zeros(1_000_000), path, key=key)
    with path.open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"\x01")
    with pytest.raises(safeload.DigestMismatchError):
        safeload.load(path, "r", keyring=key)


@pytest.mark.parametrize("mode", ["r+", "w+", "rw", 1])
def test_mapping_for_writing_is_refused(signed: Path, key: safeload.SigningKey, mode: Any) -> None:
    with pytest.raises(ValueError, match="mmap_mode"):
        safeload.load(signed, mode, keyring=key)


def test_mapping_a_file_that_others_may_write(private: Path, key: safeload.SigningKey) -> None:
    path = private / "a.joblib"
    safeload.dump(np.zeros(10), path, key=key)
    path.chmod(0o666)
    with pytest.raises(safeload.StorageError, match="chmod"):
        safeload.load(path, "r", keyring=key)
    path.chmod(0o644)
    private.chmod(0o777)
    with pytest.raises(safeload.StorageError, match="chmod"):
        safeload.load(path, "r", keyring=key)


def test_mapping_what_is_compressed_is_as_with_joblib(private: Path, key: safeload.SigningKey) -> None:
    path = private / "a.joblib.gz"
    safeload.dump(np.zeros(10), path, key=key)
    with pytest.warns(UserWarning, match="compressed"):
        assert type(safeload.load(path, "r", keyring=key)) is np.ndarray


# ------------------------------------------------------------------------------------------- odd arguments


def test_odd_paths(tmp_path: Path, key: safeload.SigningKey) -> None:
    with pytest.raises(FileNotFoundError):
        safeload.load(tmp_path / "none.joblib", keyring=key)
    with pytest.raises(IsADirectoryError):
        safeload.load(tmp_path, keyring=key)
    with pytest.raises(FileNotFoundError):
        safeload.dump([1], tmp_path / "none" / "a.joblib", key=key)
    os.mkfifo(tmp_path / "fifo")
    for call in (safeload.scan, lambda path: safeload.load(path, keyring=key)):
        with pytest.raises(safeload.StorageError, match="not a file"):
            call(tmp_path / "fifo")
    with pytest.raises(safeload.StorageError):
        safeload.scan("/dev/zero")
    with pytest.raises(TypeError, match="path"):
        safeload.dump([1], io.BytesIO(), key=key)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "codes"), [(b"", {"SL323"}), (b"hello, world\n", {"SL302", "SL323", "SL301"}), (b"\x80", {"SL301"})]
)
def test_files_that_are_no_artifacts(tmp_path: Path, key: safeload.SigningKey, content: bytes, codes: set[str]) -> None:
    path = tmp_path / "a.joblib"
    path.write_bytes(content)
    report = safeload.scan(path)
    assert {finding.code for finding in report.findings} <= codes
    assert not report.allowed
    with pytest.raises(safeload.MalformedArtifactError):
        safeload.sign(path, key=key)


def test_arguments_that_make_no_sense(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "a.joblib"
    for release in (0, 1 << 63, True):
        with pytest.raises(ValueError, match="release is a whole number"):
            safeload.dump([1], path, key=key, release=release)
    for version in ("", "two\nlines", "x" * 1001):
        with pytest.raises(ValueError, match="version is one printable line"):
            safeload.dump([1], path, key=key, version=version)
    with pytest.raises(ValueError, match="time zone"):
        safeload.dump([1], path, key=key, expires=datetime(2099, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="past"):
        safeload.dump([1], path, key=key, expires=datetime(2009, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="past"):
        safeload.dump([1], path, key=key, expires=timedelta(0))
    with pytest.raises(ValueError, match="after the year 9999"):
        safeload.dump([1], path, key=key, expires=timedelta.max)
    with pytest.raises(safeload.PolicyFileError, match="no policy pack"):
        safeload.dump([1], path, key=key, policy="nothing")
    with pytest.raises(ValueError, match="on_version_mismatch"):
        safeload.Loader(keyring=key, on_version_mismatch="maybe")  # type: ignore[arg-type]
    assert not os.listdir(tmp_path)


def test_limits(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "a.joblib"
    safeload.dump(list(range(1000)), path, key=key)
    assert safeload.scan(path, limits=safeload.Limits(max_opcodes=100)).findings[0].code == "SL501"
    with pytest.raises(safeload.LimitExceededError):
        safeload.Loader(keyring=key, limits=safeload.Limits(max_opcodes=100)).load(path)


# --------------------------------------------------------------------------------------------------- drift


def re_signed(path: Path, key: safeload.SigningKey, **packages: str) -> None:
    """Sign the artifact as if other versions had written it."""
    from dataclasses import replace

    from safeload._manifest.manifest import seal

    manifest = safeload.read_manifest(path, keyring=key)
    written = {**manifest.producer.packages, **{name.replace("_", "-"): value for name, value in packages.items()}}
    other = replace(manifest, producer=replace(manifest.producer, packages=written))
    Path(f"{path}.manifest.json").write_bytes(seal(other, [key]))


def test_other_versions(signed: Path, key: safeload.SigningKey) -> None:
    safeload.load(signed, keyring=key, on_version_mismatch="error")
    re_signed(signed, key, scikit_learn="1.2.3")
    with pytest.warns(safeload.VersionMismatchWarning, match=r"scikit-learn 1\.2\.3 wrote it"):
        safeload.load(signed, keyring=key)
    with pytest.raises(safeload.VersionMismatchError):
        safeload.load(signed, keyring=key, on_version_mismatch="error")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        safeload.load(signed, keyring=key, on_version_mismatch="ignore")


def test_patch_releases_of_others_are_no_drift(signed: Path, key: safeload.SigningKey) -> None:
    re_signed(signed, key, numpy=".".join([*np.__version__.split(".")[:2], "99"]))
    safeload.load(signed, keyring=key, on_version_mismatch="error")


# ----------------------------------------------------------------------------------------------- threads


def test_one_loader_in_many_threads(signed: Path, key: safeload.SigningKey, pipeline: Any) -> None:
    loader = safeload.Loader(keyring=key)
    expected = pipeline.predict(ROWS)
    results: list[bool] = []

    def work() -> None:
        for _ in range(5):
            results.append(bool((loader.load(signed).predict(ROWS) == expected).all()))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 40


def test_after_a_fork(signed: Path, key: safeload.SigningKey) -> None:
    loader = safeload.Loader(keyring=key)
    loader.load(signed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 and later warn of forks beside threads
        child = os.fork()
    if child == 0:
        try:
            loader.load(signed)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_errors_name_no_secret(tmp_path: Path, signed: Path, key: safeload.SigningKey) -> None:
    secret = key.reveal()
    with pytest.raises(safeload.SafeloadError) as raised:
        safeload.load(signed, keyring=safeload.SigningKey.generate())
    shown = str(raised.value) + repr(raised.value) + repr(key) + str(key)
    assert secret.hex() not in shown
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(copy.deepcopy({"key": key}))


def test_a_script_with_warnings_as_errors(signed: Path, tmp_path: Path) -> None:
    ring = tmp_path / "ring.toml"
    safeload.Keyring.from_keys([safeload.SigningKey.generate()]).save(ring)
    code = (
        "import safeload, sys\n"
        "safeload.dump({'a': [1, 2]}, sys.argv[1], key=sys.argv[2])\n"
        "print(safeload.load(sys.argv[1], keyring=sys.argv[2]))"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "x.joblib"), str(ring)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("{'a': [1, 2]}\n", "")


# -------------------------------------------------------------------------------- folders that others write to


def _temporary(folder: Path) -> Path:
    (found,) = (path for path in folder.glob(".safeload-*") if path.suffix != ".lock")
    return found


def test_what_is_put_in_place_of_the_temporary_is_not_signed(
    tmp_path: Path, key: safeload.SigningKey, monkeypatch: Any
) -> None:
    """Somebody swaps the temporary while it is scanned, and back before the commit looks at it."""
    path, kept, forged = tmp_path / "model.joblib", tmp_path / "kept", tmp_path / "forged"
    joblib.dump(["forged"], forged)

    real = describe

    def swapped(*arguments: Any, **options: Any) -> Any:
        temporary = _temporary(tmp_path)
        temporary.rename(kept)
        temporary.hardlink_to(forged)
        try:
            return real(*arguments, **options)
        finally:
            kept.replace(temporary)

    monkeypatch.setattr("safeload._signing.new_pair.describe", swapped)
    safeload.dump(["honest"], path, key=key)
    assert safeload.load(path, keyring=key) == ["honest"]
    forged.replace(path)
    with pytest.raises(safeload.DigestMismatchError):
        safeload.load(path, keyring=key)


def test_a_link_in_place_of_the_temporary_is_not_followed(
    tmp_path: Path, key: safeload.SigningKey, monkeypatch: Any
) -> None:
    path, precious = tmp_path / "model.joblib", tmp_path / "precious"
    precious.write_text("as it was")
    real = numpy_pickle.dump

    def linked(*arguments: Any, **options: Any) -> Any:
        temporary = _temporary(tmp_path)
        temporary.unlink()
        temporary.symlink_to(precious)
        return real(*arguments, **options)

    monkeypatch.setattr(numpy_pickle, "dump", linked)
    with pytest.raises(safeload.StorageError, match="replaced"):
        safeload.dump(["honest"], path, key=key)
    assert precious.read_text() == "as it was"
    assert [file.name for file in tmp_path.iterdir()] == ["precious"]


def test_a_file_name_that_cannot_be_signed(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / os.fsdecode(b"model-\xff.joblib")
    with pytest.raises(safeload.StorageError, match="not UTF-8"):
        safeload.dump([1], path, key=key)
    with suppress(OSError):  # not every file system takes such names
        path.write_bytes(pickle.dumps([1]))
        with pytest.raises(safeload.StorageError, match="not UTF-8"):
            safeload.sign(path, key=key)


# --------------------------------------------------------------------------------- one file, read in two ways


def test_a_compressor_that_was_registered_does_not_read_what_was_not_scanned(
    tmp_path: Path, key: safeload.SigningKey, monkeypatch: Any
) -> None:
    """joblib asks every registered compressor by its prefix, which may be one that pickles begin with."""
    from joblib.compressor import _COMPRESSORS, CompressorWrapper, register_compressor

    class Backwards(io.BytesIO):
        def __init__(self, file: Any, _mode: str) -> None:
            super().__init__(file.read()[::-1])

    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps([1], 4))
    safeload.sign(path, key=key)
    monkeypatch.setitem(_COMPRESSORS, "backwards", None)  # so that it is gone afterwards
    register_compressor("backwards", CompressorWrapper(Backwards, prefix=b"\x80\x04"), force=True)
    with pytest.raises(safeload.TripwireError, match="'backwards'"):
        safeload.load(path, keyring=key)
    assert safeload.load(path, "r", keyring=key) == [1]  # which does not ask them


def test_such_a_compressor_does_not_read_what_was_unpacked_either(
    tmp_path: Path, key: safeload.SigningKey, monkeypatch: Any
) -> None:
    from joblib.compressor import _COMPRESSORS, CompressorWrapper, register_compressor

    path = tmp_path / "model.joblib.z"
    safeload.dump([1], path, protocol=4, key=key)
    monkeypatch.setitem(_COMPRESSORS, "other", None)
    register_compressor("other", CompressorWrapper(io.BytesIO, prefix=b"\x80\x04"), force=True)
    with pytest.raises(safeload.TripwireError, match="'other'"):
        safeload.load(path, keyring=key)


@pytest.mark.parametrize("most", [64 << 20, 1000])
def test_what_is_compressed_is_unpacked_once_unless_it_is_much(
    tmp_path: Path, key: safeload.SigningKey, monkeypatch: Any, most: int
) -> None:
    path = tmp_path / "model.joblib.z"
    made: list[Any] = [np.arange(40_000.0), "text" * 100]
    safeload.dump(made, path, key=key)
    opened: list[int] = []
    real = zlib.decompressobj

    def counted(*args: Any) -> Any:
        opened.append(1)
        return real(*args)

    monkeypatch.setattr(zlib, "decompressobj", counted)
    monkeypatch.setattr("safeload._scan.sources._MOST_KEPT", most)
    loader = safeload.Loader(keyring=key)
    for unpacked in (1 if most > 1000 else 2, 1):  # the second time, nothing is scanned
        del opened[:]
        found = loader.load(path)
        assert np.array_equal(found[0], made[0])
        assert found[1] == made[1]
        assert len(opened) == unpacked


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_large_artifact_that_the_disk_does_not_take(
    tmp_path: Path, key: safeload.SigningKey, monkeypatch: Any, fails_at: int
) -> None:
    """It is flushed while it is scanned, and synced once more before it is put in its place."""
    real, calls = os.fsync, []

    def fsync(fd: int) -> None:
        calls.append(fd)
        if len(calls) == fails_at:
            raise OSError(errno.EIO, "simulated")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(safeload.StorageError):
        safeload.dump(np.zeros(9 << 17), tmp_path / "model.joblib", key=key)
    assert len(calls) == fails_at
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_a_manifest_that_misstates_the_compression(tmp_path: Path, key: safeload.SigningKey, mmap_mode: Any) -> None:
    path = tmp_path / "model.joblib"
    manifest = safeload.dump([1], path, 3, key=key)
    manifest_path(path).write_bytes(seal(replace(manifest, compression="none", key_ids=()), [key]))
    assert [finding.code for finding in safeload.verify(path, keyring=key).findings] == ["SL102"]
    with pytest.raises(safeload.MalformedArtifactError, match="compression"):
        safeload.load(path, mmap_mode, keyring=key)


def test_a_commit_that_was_killed_leaves_the_new_pair_also_where_the_old_key_is_gone(
    tmp_path: Path, key: safeload.SigningKey
) -> None:
    path = tmp_path / "model.joblib"
    old = manifest_path(path)
    safeload.dump([1], path, key=safeload.SigningKey.generate())
    envelope = old.read_bytes()
    safeload.dump([2], path, key=key, overwrite=True)
    old.replace(next_path(path))
    old.write_bytes(envelope)
    assert safeload.load(path, keyring=key) == [2]
    assert safeload.verify(path, keyring=key).allowed
    next_path(path).unlink()
    with pytest.raises(safeload.UnknownKeyError):
        safeload.load(path, keyring=key)


def test_as_a_drop_in_for_joblib(tmp_path: Path, key: safeload.SigningKey, monkeypatch: Any) -> None:
    monkeypatch.setattr(joblib, "load", lambda path: safeload.load(path, keyring=key))
    monkeypatch.setattr(joblib, "dump", lambda obj, path: safeload.dump(obj, path, key=key))
    joblib.dump([1], tmp_path / "a.joblib")
    assert joblib.load(tmp_path / "a.joblib") == [1]


# ------------------------------------------------------------------------------- what a new user runs into


class Pair:
    """Made with arguments, and with a state that is no dict."""

    def __init__(self, left: int, right: str) -> None:
        self.left, self.right = left, right

    def __reduce__(self) -> Any:
        return Pair, (self.left, self.right), (self.left, self.right)

    def __setstate__(self, state: Any) -> None:
        self.left, self.right = state


def test_the_policy_that_a_refusal_suggests_allows_it(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "a.joblib"
    joblib.dump([Pair(1, "a"), Pair(2, "b")], path)
    with pytest.raises(safeload.PolicyViolationError) as raised:
        safeload.sign(path, key=key)
    message = str(raised.value)
    policy = tmp_path / "policy.toml"
    policy.write_text(message[message.index("    name =") :])
    safeload.sign(path, key=key, policy=policy)
    assert [pair.right for pair in safeload.load(path, keyring=key, policy=policy)] == ["a", "b"]


def test_who_wrote_an_artifact_is_not_made_up(tmp_path: Path, key: safeload.SigningKey, pipeline: Any) -> None:
    """The signer of an artifact that is there cannot know what wrote it, but estimators say their version."""
    old = copy.deepcopy(pipeline)
    path = tmp_path / "old.joblib"
    joblib.dump(old, path)
    written = path.read_bytes()
    version = importlib.metadata.version("scikit-learn").encode()
    other = bytes([version[0] + 1]) + version[1:]
    path.write_bytes(written.replace(version, other))
    manifest = safeload.sign(path, key=key)
    assert manifest.producer.packages == {"scikit-learn": other.decode()}
    assert safeload.verify(path, keyring=key).version_mismatches
    with pytest.raises(safeload.VersionMismatchError, match="scikit-learn"):
        safeload.load(path, keyring=key, on_version_mismatch="error")


def test_a_class_of_the_script_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04\x8c\x08__main__\x8c\x03Own\x93)\x81.")
    (finding,) = safeload.scan(path).findings
    assert finding.code == "SL405"
    assert "__main__ is another program" in finding.message


def test_a_date_is_no_expiry(tmp_path: Path, key: safeload.SigningKey) -> None:
    with pytest.raises(TypeError, match="expires"):
        safeload.dump([1], tmp_path / "a.joblib", key=key, expires=datetime.now(UTC).date())  # type: ignore[arg-type]


def test_warnings_point_at_the_caller(signed: Path, key: safeload.SigningKey) -> None:
    re_signed(signed, key, scikit_learn="1.2.3")
    for load in (safeload.Loader(keyring=key).load, lambda path: safeload.load(path, keyring=key)):
        with pytest.warns(safeload.VersionMismatchWarning) as caught:
            load(signed)
        assert caught[0].filename == __file__


def test_of_an_unsigned_attack_nobody_is_advised_to_sign_it(tmp_path: Path, key: safeload.SigningKey) -> None:
    evil, honest = tmp_path / "evil.pkl", tmp_path / "honest.pkl"
    evil.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    honest.write_bytes(pickle.dumps({"a": [1]}))
    report = safeload.verify(evil, keyring=key)
    codes = [finding.code for finding in report.findings]
    assert codes[0] == "SL101"
    assert "SL405" in codes
    assert "SL329" not in codes  # Python 2 may have written it: still nobody is advised to load it
    assert not any("safeload sign" in finding.advice or "oad it" in finding.advice for finding in report.findings)
    (finding,) = safeload.verify(honest, keyring=key).findings
    assert finding.code == "SL101"
    assert "safeload sign" in finding.advice
