"""Arrays that are mapped into memory stay what was verified, whoever can write to where the artifact lies."""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib import Parallel, delayed

import safeload

OBJECT = {"weights": np.arange(200_000.0), "names": np.array(["x", None], dtype=object)}


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that everybody may write to."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture
def artifact(shared: Path, key: safeload.SigningKey) -> Path:
    path = shared / "model.joblib"
    safeload.dump(OBJECT, path, key=key)
    path.chmod(0o666)
    return path


@pytest.fixture(params=["folder", "sealed"])
def loader(request: Any, tmp_path: Path, key: safeload.SigningKey) -> safeload.Loader:
    copies: Any = tmp_path / "deep" / "copies" if request.param == "folder" else safeload.SealedCopies()
    return safeload.Loader(keyring=key, mmap_copies=copies)


@pytest.mark.parametrize("mode", ["r", "c"])
def test_what_is_mapped_does_not_follow_the_storage(loader: safeload.Loader, artifact: Path, mode: Any) -> None:
    loaded = loader.load(artifact, mode)
    assert isinstance(loaded["weights"], np.memmap)
    assert loaded["weights"].mode == mode
    with artifact.open("r+b") as file:
        file.write(bytes(artifact.stat().st_size))
    assert (loaded["weights"] == OBJECT["weights"]).all()


def test_without_copies_such_storage_is_refused(artifact: Path, key: safeload.SigningKey) -> None:
    with pytest.raises(safeload.StorageError, match="chmod"):
        safeload.Loader(keyring=key).load(artifact, "r")


def test_what_was_not_signed_is_not_copied(loader: safeload.Loader, artifact: Path, tmp_path: Path) -> None:
    with artifact.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        file.write(b"\x01")
    with pytest.raises(safeload.DigestMismatchError):
        loader.load(artifact, "r")
    assert [path for path in tmp_path.glob("deep/copies/*") if not path.name.startswith(".safeload-")] == []


def test_copies_are_scanned(loader: safeload.Loader, shared: Path, key: safeload.SigningKey) -> None:
    class_of_nobody = shared / "path.joblib"
    policy = safeload.Policy.load(_policy(shared))
    safeload.dump({"a": np.arange(9.0), "p": string.capwords}, class_of_nobody, key=key, policy=policy)
    with pytest.raises(safeload.PolicyViolationError):
        loader.load(class_of_nobody, "r")


def _policy(folder: Path) -> Path:
    path = folder / "policy.toml"
    path.write_text(
        'name = "more"\nversion = 1\nextends = ["sklearn"]\n[[allow]]\nmodule = "string"\n'
        'names = ["capwords"]\nroles = ["import"]\nreason = "for a test"\n'
    )
    return path


def test_a_copy_is_made_once_and_cannot_be_written(artifact: Path, tmp_path: Path, key: safeload.SigningKey) -> None:
    folder = tmp_path / "copies"
    loader = safeload.Loader(keyring=key, mmap_copies=folder)
    first = loader.load(artifact, "r")
    (copy,) = [path for path in folder.iterdir() if not path.name.startswith(".safeload-")]
    assert copy.name == loader.read_manifest(artifact).sha256
    assert (copy.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o400, 0o700)
    made = copy.stat()
    second = safeload.Loader(keyring=key, mmap_copies=str(folder)).load(artifact, "r")
    assert copy.stat().st_ino == made.st_ino
    assert str(second["weights"].filename) == str(copy)
    del first
    copy.unlink()  # also while it is mapped
    assert (second["weights"] == OBJECT["weights"]).all()
    assert (loader.load(artifact, "r")["weights"] == OBJECT["weights"]).all()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path, key: safeload.SigningKey, mode: int) -> None:
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies").chmod(mode)
    with pytest.raises(safeload.StorageError, match="mode 0700"):
        safeload.Loader(keyring=key, mmap_copies=tmp_path / "copies")


def test_a_copy_that_the_disk_changed_is_made_again(artifact: Path, tmp_path: Path, key: safeload.SigningKey) -> None:
    folder = tmp_path / "copies"
    loader = safeload.Loader(keyring=key, mmap_copies=folder)
    loader.load(artifact, "r")
    copy = folder / loader.read_manifest(artifact).sha256
    data = bytearray(copy.read_bytes())
    data[-2000] ^= 1
    copy.unlink()
    copy.write_bytes(data)
    copy.chmod(0o400)
    assert (loader.load(artifact, "r")["weights"] == OBJECT["weights"]).all()
    assert copy.read_bytes() == artifact.read_bytes()


def test_a_copy_that_was_made_writable_is_refused(artifact: Path, tmp_path: Path, key: safeload.SigningKey) -> None:
    folder = tmp_path / "copies"
    loader = safeload.Loader(keyring=key, mmap_copies=folder)
    loader.load(artifact, "r")
    (folder / loader.read_manifest(artifact).sha256).chmod(0o600)
    with pytest.raises(safeload.StorageError, match="0400"):
        loader.load(artifact, "r")


def test_a_link_in_the_folder_is_not_followed(artifact: Path, tmp_path: Path, key: safeload.SigningKey) -> None:
    folder = tmp_path / "copies"
    loader = safeload.Loader(keyring=key, mmap_copies=folder)
    (folder / loader.read_manifest(artifact).sha256).symlink_to(artifact)
    with pytest.raises(safeload.StorageError):
        loader.load(artifact, "r")


COPIER = """
import os, signal, sys, safeload
def killed(fd):
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = killed
key = safeload.SigningKey(bytes.fromhex(sys.argv[1]), algorithm="hmac-sha256", key_id="k")
safeload.Loader(keyring=key, mmap_copies="copies").load("shared/model.joblib", "r")
"""


def test_a_killed_copier_leaves_nothing_in_the_way(shared: Path, tmp_path: Path) -> None:
    key = safeload.SigningKey(bytes(range(32)), algorithm="hmac-sha256", key_id="k")
    path = shared / "model.joblib"
    safeload.dump(OBJECT, path, key=key)
    result = subprocess.run([sys.executable, "-c", COPIER, bytes(range(32)).hex()], cwd=tmp_path)
    assert result.returncode == -signal.SIGKILL
    assert list((tmp_path / "copies").glob(".safeload-*.tmp"))
    loader = safeload.Loader(keyring=key, mmap_copies=tmp_path / "copies")
    assert (loader.load(path, "r")["weights"] == OBJECT["weights"]).all()
    assert not list((tmp_path / "copies").glob(".safeload-*.tmp"))


def test_a_sealed_copy_cannot_be_changed_by_anybody(artifact: Path, key: safeload.SigningKey) -> None:
    loader = safeload.Loader(keyring=key, mmap_copies=safeload.SealedCopies())
    weights = loader.load(artifact, "r")["weights"]
    fd = os.open(weights.filename, os.O_RDWR)
    try:
        with pytest.raises(PermissionError):
            os.write(fd, b"x")
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
        with pytest.raises(PermissionError):
            mmap.mmap(fd, 0, access=mmap.ACCESS_WRITE)
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0x10)
    finally:
        os.close(fd)


def test_sealed_copies_close_what_they_hold(artifact: Path, key: safeload.SigningKey) -> None:
    before = len(os.listdir("/proc/self/fd"))
    loader = safeload.Loader(keyring=key, mmap_copies=safeload.SealedCopies())
    for _ in range(3):
        loader.load(artifact, "r")
    del loader
    assert len(os.listdir("/proc/self/fd")) == before


def test_joblib_workers_find_the_copy(loader: safeload.Loader, artifact: Path) -> None:
    weights = loader.load(artifact, "r")["weights"]
    artifact.write_bytes(b"")
    assert Parallel(n_jobs=2)(delayed(np.sum)(part) for part in (weights, weights)) == [OBJECT["weights"].sum()] * 2


WORKER = """
import sys, safeload
key = safeload.SigningKey(bytes.fromhex(sys.argv[1]), algorithm="hmac-sha256", key_id="k")
weights = safeload.Loader(keyring=key, mmap_copies="copies").load("shared/big.joblib", "r")
weights.sum()
print("ready", flush=True)
sys.stdin.readline()
"""


def _proportional_memory(pid: int) -> int:
    """Bytes that a process holds, what it shares with others divided by their number."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def test_workers_share_the_pages(shared: Path, tmp_path: Path) -> None:
    size = 128 << 20
    key = safeload.SigningKey(bytes(range(32)), algorithm="hmac-sha256", key_id="k")
    safeload.dump(np.zeros(size // 8), shared / "big.joblib", key=key)
    command = [sys.executable, "-c", WORKER, bytes(range(32)).hex()]
    workers = [
        subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        total = sum(_proportional_memory(worker.pid) for worker in workers)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert total < 2 * size + 3 * (40 << 20)
