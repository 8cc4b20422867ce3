"""Storage that fails: at every system call in turn, by error, by death, by doing half; and what is found afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import safeload
from support.faults import harness

FOLDER = Path(harness.__file__).parent
EVERY_WRITE = ("dump", "dump over", "sign", "sign again", "save keyring", "load mapped")
EVERY_READ = ("load", "verify", "store load")
IN_STEPS = ("re-sign", "remember", "remember first", "store save", "store promote", "store rollback", "store prune")


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("system calls are made to fail by a library that a C compiler has to build, on Linux")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", library, FOLDER / "shim.c", "-ldl"], check=True)
    return library


def run(shim: Path, tmp_path: Path, operation: str, *faults: str) -> dict[str, list[dict[str, Any]]]:
    """Return how every try with each of the faults ended."""
    result = subprocess.run(
        [sys.executable, FOLDER / "harness.py", tmp_path / "work", operation, *faults],
        env={**os.environ, "LD_PRELOAD": str(shim)}, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    outcomes = [json.loads(line) for line in result.stdout.splitlines()]
    for outcome in outcomes:  # JSON has no tuples
        for what in ("state", "again"):
            if isinstance(outcome.get(what), list) and isinstance(harness.OPERATIONS[operation].new, tuple):
                outcome[what] = tuple(outcome[what])
    found = {fault: [outcome for outcome in outcomes if outcome["fault"] == fault] for fault in faults}
    assert min(map(len, found.values())) >= 2
    return found


def check(operation: str, outcomes: list[dict[str, Any]]) -> None:
    made = harness.OPERATIONS[operation]()
    for outcome in outcomes:
        assert "broken" not in outcome, outcome
        assert outcome["state"] in (made.old, *made.between, made.new), outcome
        assert outcome["again"] == made.new, outcome
        hidden = [name for name in outcome["names"] if Path(name).name.startswith(".")]
        litter = [name for name in hidden if made.again_writes or not name.endswith(".lock")]
        assert litter == [], outcome
        if "error" not in outcome and outcome["signal"] == 0:
            assert outcome["state"] == made.new, outcome


def check_failed(outcomes: list[dict[str, Any]], folder: Path) -> None:
    for outcome in outcomes:
        if "error" in outcome:
            # An error of ours that names the file, not a bare "[Errno 5]".
            assert {"StorageError", "KeyringError"} & set(outcome["error"]), outcome
            assert str(folder) in outcome["message"] or "the artifact" in outcome["message"], outcome


def check_killed(operation: str, outcomes: list[dict[str, Any]]) -> None:
    assert {outcome["signal"] for outcome in outcomes} == {9}
    made = harness.OPERATIONS[operation]()
    for state in (made.old, *made.between, made.new):  # each was seen, so the calls between them were met
        assert state in [outcome["state"] for outcome in outcomes]


# One process for all faults of an operation: to start one takes longer than many tries.
@pytest.mark.parametrize("operation", [*EVERY_WRITE, "dump after a crash", *IN_STEPS])
def test_a_writer_at_every_call(shim: Path, tmp_path: Path, operation: str) -> None:
    """A call that fails, that is the last, or that transfers one byte only."""
    faults = ["kill"] if operation != "save keyring" else []
    faults += ["fail:EIO"] if operation in (*EVERY_WRITE, "remember", "store save", "store promote") else []
    faults += ["short"] if operation in EVERY_WRITE else []
    found = run(shim, tmp_path, operation, *faults)
    check(operation, [outcome for outcomes in found.values() for outcome in outcomes])
    check_failed(found.get("fail:EIO", []), tmp_path)
    if "kill" in found:
        check_killed(operation, found["kill"])
    assert all("error" not in outcome for outcome in found.get("short", []))


@pytest.mark.slow
@pytest.mark.parametrize("operation", EVERY_WRITE)
def test_a_disk_that_is_full_or_read_only_at_every_call(shim: Path, tmp_path: Path, operation: str) -> None:
    for outcomes in run(shim, tmp_path, operation, "fail:ENOSPC", "fail:EDQUOT", "fail:EROFS").values():
        check(operation, outcomes)
        check_failed(outcomes, tmp_path)


@pytest.mark.parametrize("operation", EVERY_READ)
def test_a_reader_at_every_call(shim: Path, tmp_path: Path, operation: str) -> None:
    found = run(shim, tmp_path, operation, "fail:EIO", "fail:EACCES", "fail:ESTALE", "short")
    check(operation, [outcome for outcomes in found.values() for outcome in outcomes])
    for fault in ("fail:EIO", "fail:EACCES"):
        assert all("StorageError" in outcome["error"] for outcome in found[fault])
    # ESTALE is what NFS says where another client has renamed a new file over the one that is open: it is opened again.
    for fault in ("fail:ESTALE", "short"):
        assert all("error" not in outcome for outcome in found[fault])


def test_a_watch_goes_on_whatever_fails(shim: Path, tmp_path: Path) -> None:
    for outcomes in run(shim, tmp_path, "watch", "fail:EIO", "fail:ESTALE").values():
        check("watch", outcomes)
        assert all("error" not in outcome for outcome in outcomes)


# ---------------------------------------------------------------------------------------------- the clock

CLOCK = """
import ctypes, datetime, sys, warnings, safeload
clock = ctypes.CDLL(None).fault_clock
key = safeload.SigningKey(bytes(32), algorithm="hmac-sha256", key_id="k")
hour = datetime.timedelta(hours=1)
first = safeload.dump([1], "model.joblib", key=key)
clock(ctypes.c_long(-86400))
assert datetime.datetime.now(datetime.timezone.utc) < first.created, "the clock was not moved"
second = safeload.dump([2], "model.joblib", key=key, overwrite=True, expires=hour)
assert (second.release, second.created < first.created) == (2, True)
assert safeload.load("model.joblib", keyring=key, min_release=2) == [2]
clock(ctypes.c_long(0))
try:
    safeload.load("model.joblib", keyring=key)
except safeload.ExpiredError as error:
    assert "expire" in str(error)
else:
    sys.exit("a manifest that has expired was accepted")
clock(ctypes.c_long(-86400))
assert safeload.load("model.joblib", keyring=key) == [2]
"""


def test_a_clock_that_goes_backwards(shim: Path, tmp_path: Path) -> None:
    env = {**os.environ, "LD_PRELOAD": str(shim)}
    result = subprocess.run([sys.executable, "-c", CLOCK], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# ---------------------------------------------------------------------------------------------- names

NAMES = [
    "モデル.joblib", "модель été.joblib", "e\u0301.joblib", "\u00e9.joblib", "a b'\"$`\\.joblib", "-rf.joblib",
    "~.joblib", "line\nbreak.joblib", "🐍" * 40 + ".joblib", "x" * 200 + ".joblib.gz", "..joblib", "CON.joblib",
    "a" * 225 + ".pkl",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_any_kind(tmp_path: Path, key: safeload.SigningKey, name: str) -> None:
    path = tmp_path / name
    safeload.dump({"a": 1}, path, key=key)
    safeload.dump({"a": 2}, path, key=key, overwrite=True)
    assert safeload.load(path, keyring=key) == {"a": 2}
    assert sorted(os.listdir(tmp_path)) == sorted([name, f"{name}.manifest.json"])


def test_names_that_look_the_same_are_not(tmp_path: Path, key: safeload.SigningKey) -> None:
    # On a file system that folds case or composes accents, both would open the same file.
    safeload.dump([1], tmp_path / "Mod\u00e9l.joblib", key=key)
    for other in ("mod\u00e9l.joblib", "Mode\u0301l.joblib"):
        shutil.copy(tmp_path / "Mod\u00e9l.joblib", tmp_path / other)
        shutil.copy(tmp_path / "Mod\u00e9l.joblib.manifest.json", tmp_path / f"{other}.manifest.json")
        with pytest.raises(safeload.ManifestError, match="signed under another name"):
            safeload.load(tmp_path / other, keyring=key)


@pytest.mark.parametrize("excess", [1, 50])
def test_a_name_with_no_room_for_the_manifest(tmp_path: Path, key: safeload.SigningKey, excess: int) -> None:
    room = 255 - len(".manifest.json.next")
    name = "x" * (room + excess - len(".pkl")) + ".pkl"
    with pytest.raises(safeload.StorageError, match="shorter"):
        safeload.dump([1], tmp_path / name, key=key)
    assert os.listdir(tmp_path) == []


def test_a_hard_link_keeps_what_it_was(tmp_path: Path, key: safeload.SigningKey) -> None:
    path = tmp_path / "model.joblib"
    safeload.dump([1], path, key=key)
    before = path.read_bytes()
    os.link(path, tmp_path / "kept.joblib")
    safeload.dump([2], path, key=key, overwrite=True)
    assert (tmp_path / "kept.joblib").read_bytes() == before
    assert safeload.load(path, keyring=key) == [2]


def test_a_folder_that_is_a_link(tmp_path: Path, key: safeload.SigningKey) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    safeload.dump([1], tmp_path / "link" / "model.joblib", key=key)
    safeload.dump([2], tmp_path / "link" / "model.joblib", key=key, overwrite=True)
    assert safeload.load(tmp_path / "real" / "model.joblib", keyring=key) == [2]


# ---------------------------------------------------------------------------------------------- a crowd


@pytest.mark.parametrize(
    ("seconds", "readers"), [(4, 24), pytest.param(8, 200, marks=pytest.mark.slow)], ids=["small", "large"]
)
def test_readers_beside_two_writers(tmp_path: Path, seconds: int, readers: int) -> None:
    command = [sys.executable, str(FOLDER / "crowd.py"), str(tmp_path / "crowd"), str(seconds), str(readers)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    told = json.loads(result.stdout)
    assert told["failed"] == []
    assert told["writes"] > 5
    assert told["reads"] > readers
