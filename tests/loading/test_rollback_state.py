"""Remembered releases: what is older than what was loaded before is refused, and going back is a decision."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import safeload
from safeload import Loader, RollbackError, StorageError
from safeload._loading.rollback_state import Mark, RollbackState
from safeload._storage.pair import manifest_path
from support.files import put_non_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.cli_runs import Outcome


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "rollback-state.json"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models" / "model.joblib"


def keep(path: Path) -> Path:
    """Copy the pair, as an attacker does who waits for better times."""
    folder = path.parent.parent / f"kept-{safeload.scan(path).size}-{time.monotonic_ns()}"
    folder.mkdir()
    for file in (path, manifest_path(path)):
        shutil.copy(file, folder)
    return folder / path.name


def put_back(kept: Path, path: Path) -> None:
    for source, target in ((kept, path), (manifest_path(kept), manifest_path(path))):
        shutil.copy(source, target)


def two_releases(path: Path, key: safeload.SigningKey) -> Path:
    """Release 1, kept, and release 2 in its place."""
    safeload.dump([1], path, key=key)
    kept = keep(path)
    safeload.dump([2], path, key=key, overwrite=True)
    return kept


def test_an_older_release_put_back_is_refused_and_both_are_named(
    path: Path, state: Path, key: safeload.SigningKey
) -> None:
    kept = two_releases(path, key)
    assert Loader(keyring=key, rollback_state=state).load(path) == [2]
    put_back(kept, path)
    for loader in (Loader(keyring=key, rollback_state=state), Loader(keyring=key, rollback_state=str(state))):
        with pytest.raises(RollbackError, match=r"release 1 is older than release 2, which .* before \(.*state\.json"):
            loader.load(path)
        report = loader.verify(path)
        assert [finding.code for finding in report.findings] == ["SL108"]
        with pytest.raises(RollbackError):
            loader.read_manifest(path)
    with pytest.raises(RollbackError):
        safeload.load(path, keyring=key, rollback_state=state)
    assert safeload.verify(path, keyring=key, rollback_state=state).allowed is False
    assert safeload.load(path, keyring=key) == [1]  # who remembers nothing is none the wiser


def test_verifying_remembers_nothing(path: Path, state: Path, key: safeload.SigningKey) -> None:
    kept = two_releases(path, key)
    assert safeload.verify(path, keyring=key, rollback_state=state).allowed
    put_back(kept, path)
    assert safeload.load(path, keyring=key, rollback_state=state) == [1]


def test_a_refused_release_is_not_remembered(
    path: Path, state: Path, key: safeload.SigningKey, pipeline: Any, tmp_path: Path
) -> None:
    safeload.dump([1], path, key=key)
    kept = keep(path)
    safeload.dump(pipeline, path, key=key, overwrite=True)
    policy = tmp_path / "one.toml"
    policy.write_text(
        'name = "one"\nversion = 1\n[[allow]]\nmodule = "acme"\nnames = ["A"]\nroles = ["new"]\nreason = "x"\n'
    )
    loader = Loader(keyring=key, policy=policy, rollback_state=state)
    with pytest.raises(safeload.PolicyViolationError):
        loader.load(path)
    put_back(kept, path)
    assert loader.load(path) == [1]


def test_going_back_is_a_signed_decision_that_cannot_be_played_again(
    path: Path, state: Path, key: safeload.SigningKey
) -> None:
    loader = Loader(keyring=key, rollback_state=state)
    kept = two_releases(path, key)
    assert loader.load(path) == [2]
    second = keep(path)
    put_back(kept, path)
    before = safeload.read_manifest(path, keyring=key)
    manifest = safeload.reissue(path, 2, key=key)
    assert manifest.release == 3
    assert loader.load(path) == [1]
    now = safeload.read_manifest(path, keyring=key)
    assert (now.sha256, now.created, now.producer) == (before.sha256, before.created, before.producer)
    decision = keep(path)
    put_back(second, path)  # what was rolled back stays so
    with pytest.raises(RollbackError):
        loader.load(path)
    put_back(decision, path)
    safeload.dump([4], path, key=key, overwrite=True)
    assert loader.load(path) == [4]
    put_back(decision, path)
    with pytest.raises(RollbackError):
        loader.load(path)


def test_rolling_back_needs_an_older_artifact_that_is_whole_and_a_trusted_key(
    path: Path, key: safeload.SigningKey
) -> None:
    kept = two_releases(path, key)
    with pytest.raises(ValueError, match="put the older pair back first"):
        safeload.reissue(path, 2, key=key)
    put_back(kept, path)
    with pytest.raises(safeload.UnknownKeyError):
        safeload.reissue(path, 2, key=safeload.SigningKey.generate())
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    envelope = manifest_path(path).read_bytes()
    with pytest.raises(safeload.DigestMismatchError):
        safeload.reissue(path, 2, key=key)
    assert manifest_path(path).read_bytes() == envelope


def test_the_file_is_private_and_made_when_there_is_something_to_remember(
    path: Path, state: Path, key: safeload.SigningKey
) -> None:
    safeload.dump([1], path, key=key)
    loader = Loader(keyring=key, rollback_state=state)
    assert not state.exists()
    loader.load(path)
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert [file.name for file in state.parent.iterdir()] == ["rollback-state.json"]
    written = state.stat()
    loader.load(path)
    assert state.stat().st_mtime_ns == written.st_mtime_ns


DAMAGE = {
    "empty": b"",
    "cut": b'{"version": 1, "releases": {"model.joblib"',
    "not json": b"\x80\x04.",
    "a later version": b'{"version": 2, "releases": {}, "channels": {}}',
    "an unknown field": b'{"version": 1, "releases": {}, "channels": {}, "more": 1}',
    "a field missing": b'{"version": 1, "releases": {}}',
    "a key twice": b'{"version": 1, "releases": {"model.joblib": 2, "model.joblib": 1}, "channels": {}}',
    "a text for a number": b'{"version": 1, "releases": {"model.joblib": "2"}, "channels": {}}',
    "a negative number": b'{"version": 1, "releases": {"model.joblib": -2}, "channels": {}}',
    "a truth for a number": b'{"version": 1, "releases": {"model.joblib": true}, "channels": {}}',
    "half a channel": b'{"version": 1, "releases": {}, "channels": {"a/b": {"sequence": 1}}}',
    "too large": b" " * (9 << 20),
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_an_error_that_says_what_to_do(
    path: Path, state: Path, key: safeload.SigningKey, content: bytes
) -> None:
    safeload.dump([1], path, key=key)
    loader = Loader(keyring=key, rollback_state=state)
    loader.load(path)
    state.write_bytes(content)
    for use in (
        lambda: loader.load(path),
        lambda: loader.verify(path),
        lambda: Loader(keyring=key, rollback_state=state),
    ):
        with pytest.raises(StorageError, match=r"cannot read the rollback state.*Restore the file"):
            use()
    assert state.read_bytes() == content


def test_a_file_that_others_can_write_is_refused(path: Path, state: Path, key: safeload.SigningKey) -> None:
    safeload.dump([1], path, key=key)
    loader = Loader(keyring=key, rollback_state=state)
    loader.load(path)
    state.chmod(0o620)
    with pytest.raises(StorageError, match="others can change it"):
        loader.load(path)
    state.chmod(0o600)
    state.parent.chmod(0o770)
    with pytest.raises(StorageError, match="others can change it"):
        loader.load(path)
    state.parent.chmod(0o700)
    assert loader.load(path) == [1]


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_not_a_file_is_refused_without_waiting(state: Path, key: safeload.SigningKey, kind: str) -> None:
    state.parent.mkdir()
    put_non_file(state, kind)
    with pytest.raises((StorageError, IsADirectoryError)):
        Loader(keyring=key, rollback_state=state)


def test_a_running_process_remembers_when_the_file_is_removed(
    path: Path, state: Path, key: safeload.SigningKey
) -> None:
    kept = two_releases(path, key)
    loader = Loader(keyring=key, rollback_state=state)
    loader.load(path)
    state.unlink()
    put_back(kept, path)
    with pytest.raises(RollbackError):
        loader.load(path)


def test_it_is_bounded(state: Path) -> None:
    full = {"version": 1, "releases": {f"{n}.joblib": 1 for n in range(10_000)}, "channels": {}}
    state.parent.mkdir()
    state.write_text(json.dumps(full))
    state.chmod(0o600)
    rollback_state = RollbackState(state)
    rollback_state.raise_release("7.joblib", 2)
    with pytest.raises(StorageError, match="cannot remember another release"):
        rollback_state.raise_release("one more", 1)
    assert RollbackState(state).release("7.joblib") == 2


WRITER = """
import sys
from safeload._loading.rollback_state import RollbackState, Mark
path, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count):
    rollback_state = RollbackState(path)
    rollback_state.raise_release(f"{number % 7}.joblib", number)
    rollback_state.raise_pointer("m/production", Mark(number, number, "0" * 64))
    print(number, flush=True)
"""


def test_processes_and_killed_ones_lose_nothing_that_was_remembered(state: Path) -> None:
    """Four processes count, one after the other is killed in the midst of it; what was said is there."""
    said = 0
    for turn in range(3):
        workers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(state), str(turn * 1000 + 1), "900"],
                             stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]  # fmt: skip
        for worker in workers:
            assert worker.stdout is not None
            said = max(said, int(worker.stdout.readline()))
        time.sleep(0.1 * turn)
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            output, _ = worker.communicate()
            said = max([said, *map(int, output.split())])
        mark = RollbackState(state).channel("m/production")
        assert mark is not None
        assert mark.sequence >= said
    release = RollbackState(state).release(f"{said % 7}.joblib")
    assert release is not None
    assert release >= said


def test_two_pointers_of_one_number_are_a_fork() -> None:
    rollback_state = RollbackState()
    mark = Mark(3, 7, "a" * 64)
    rollback_state.raise_pointer("m/production", mark)
    rollback_state.require_pointer("m/production", mark, where=Path("here"))
    rollback_state.require_pointer(
        "m/production", Mark(4, 5, "b" * 64), where=Path("here")
    )  # a decision: newer, to an older one
    with pytest.raises(RollbackError, match="signed twice"):
        rollback_state.require_pointer("m/production", Mark(3, 7, "b" * 64), where=Path("here"))
    with pytest.raises(RollbackError, match=r"number 2 \(release 9\) is older than number 3 \(release 7\)"):
        rollback_state.require_pointer("m/production", Mark(2, 9, "c" * 64), where=Path("here"))


def test_reissue_and_rollback_state_on_the_command_line(
    path: Path, state: Path, key: safeload.SigningKey, tmp_path: Path, run: Callable[..., Outcome]
) -> None:
    ring = tmp_path / "ring.toml"
    safeload.Keyring.from_keys([key]).save(ring)
    kept = two_releases(path, key)
    Loader(keyring=key, rollback_state=state).load(path)
    put_back(kept, path)
    verify = ("verify", path, "--keyring", ring, "--rollback-state", state)
    done = run(*verify)
    assert (done.code, "SL108" in done.out) == (1, True)
    assert "safeload reissue" in done.out
    done = run("reissue", path, "--from-release", "1", "--keyring", ring)
    assert done.code == 2
    assert "not older than release 1" in done.err
    done = run("reissue", path, "--from-release", "2", "--keyring", ring, "-o", path)
    assert done.code == 4
    done = run("reissue", path, "--from-release", "2", "--keyring", ring, "--format", "json")
    assert done.code == 0, done.err
    assert done.document["manifest"]["release"] == 3
    assert run(*verify).code == 0
    misspelt = run(*verify[:-1], tmp_path / "misspelt.json")
    assert (misspelt.code, "no such state file" in misspelt.err) == (0, True)
    folder = run(*verify[:-1], tmp_path)
    assert (folder.code, "not a regular file" in folder.err) == (2, True)
    state.write_bytes(b"")
    done = run(*verify)
    assert (done.code, "cannot read the rollback state" in done.err) == (2, True)
    done = run("reissue", tmp_path / "missing.joblib", "--from-release", "2", "--keyring", ring)
    assert (done.code, "no such" in done.err) == (2, True)
