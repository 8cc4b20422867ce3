"""Handles that follow a model: what is put in place is served soon, what is refused never, and no request waits."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import safeload
from safeload import Keyring, LoadedModel, Loader, Policy, RollbackError, SigningKey, Store
from safeload._storage.pair import manifest_path
from safeload.keys import editing

if TYPE_CHECKING:
    from collections.abc import Callable

SOON = 60  # seconds, on a machine that has other work


def until(condition: Any) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "safeload-watch"]


@pytest.fixture(autouse=True)
def no_thread_left() -> Any:
    yield
    gc.collect()  # what a test has not closed, nobody uses any more
    until(lambda: not threads())


class Told:
    """What a watch told, in order."""

    def __init__(self) -> None:
        self.swapped: list[LoadedModel] = []
        self.refused: list[Any] = []  # errors, most with a code

    @property
    def callbacks(self) -> dict[str, Any]:
        return {"on_swapped": self.swapped.append, "on_refused": self.refused.append}

    @property
    def by_hand(self) -> dict[str, Any]:
        """Callbacks, for watches that look when the test says `check`, and not by themselves."""
        return {**self.callbacks, "interval": 1000}


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def path(tmp_path: Path, key: SigningKey) -> Path:
    path = tmp_path / "model.joblib"
    safeload.dump(["one"], path, key=key)
    return path


@pytest.fixture
def store(tmp_path: Path, key: SigningKey) -> Store:
    """Model `fraud`: the objects [1] to [3] as releases 1 to 3, the first in production."""
    made = Store(tmp_path / "models", key=key)
    for number in (1, 2, 3):
        made.save("fraud", [number], version=f"1.{number}")
    made.promote("fraud", "1.1")
    return made


def artifact(store: Store, version: str) -> Path:
    return store.folder / "fraud" / "versions" / version / f"fraud-{version}.joblib"


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


# ------------------------------------------------------------------------------------------------ the usual


def test_a_pair_that_is_replaced_is_served_soon(path: Path, key: SigningKey, told: Told) -> None:
    with Loader(keyring=key).watch(path, interval=0.02, **told.callbacks) as watch:
        before = watch.current
        assert (before.model, before.manifest.release, threads()) == (["one"], 1, ["safeload-watch"])
        safeload.dump(["two"], path, key=key, overwrite=True)
        until(lambda: watch.model == ["two"])
        until(lambda: told.swapped)
        assert (watch.current.manifest.release, before.model, told.swapped) == (2, ["one"], [watch.current])
    assert threads() == []
    assert (watch.model, told.refused) == (["two"], [])
    safeload.dump(["three"], path, key=key, overwrite=True)
    assert (watch.check(), watch.model, threads()) == (False, ["two"], [])  # closed for good


def test_a_channel_is_followed_on_and_back(store: Store, key: SigningKey, told: Told) -> None:
    reader = Store(store.folder, keyring=key)
    watch = reader.watch("fraud", **told.by_hand)
    assert watch.model == [1]
    store.promote("fraud", "1.3")
    assert (watch.check(), watch.model) == (True, [3])
    store.rollback("fraud", to="1.2")
    assert (watch.check(), watch.model, watch.current.manifest.version) == (True, [2], "1.2")
    store.promote("fraud", "1.3", "staging")
    assert (watch.check(), watch.problem, len(told.swapped), told.refused) == (False, None, 2, [])
    watch.close()


def test_what_does_not_change_is_not_read_again(
    store: Store, path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, channel = Loader(keyring=key).watch(path), Store(store.folder, keyring=key).watch("fraud")
    opened = []
    real = os.open

    def recorded(*args: Any, **options: Any) -> int:
        opened.append(args[0])
        return real(*args, **options)

    monkeypatch.setattr(os, "open", recorded)
    for _ in range(50):
        assert (pair.check(), channel.check()) == (False, False)
    assert opened == []


def test_what_says_the_same_is_verified_and_not_swapped(path: Path, key: SigningKey, told: Told) -> None:
    watch = Loader(keyring=key).watch(path, **told.by_hand)
    model = watch.model
    os.utime(path)
    assert (watch.check(), watch.model is model, told.swapped) == (False, True, [])
    safeload.sign(path, key=key, release=2, overwrite=True)
    assert (watch.check(), watch.model is model, len(told.swapped)) == (True, False, 1)


def test_what_is_refused_at_the_start_is_raised(path: Path, store: Store, key: SigningKey) -> None:
    with pytest.raises(safeload.UnknownKeyError):
        Loader(keyring=SigningKey.generate()).watch(path)
    with pytest.raises(FileNotFoundError, match="was promoted to channel 'staging'"):
        store.watch("fraud", "staging")
    for interval in (0, -1, float("nan"), float("inf"), 1e300):
        with pytest.raises(ValueError, match="interval is a number of seconds"):
            Loader(keyring=key).watch(path, interval=interval)
    with pytest.raises(TypeError):
        Loader(keyring=key).watch(path, interval="1")  # type: ignore[arg-type]
    assert threads() == []


# ------------------------------------------------------------------------------------------------ refusals


def test_what_is_refused_is_not_served_and_not_tried_again(
    store: Store, key: SigningKey, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="safeload")
    watch = Store(store.folder, keyring=key).watch("fraud", **told.by_hand)
    store.promote("fraud", "1.2")
    spoil(artifact(store, "1.2"))
    for _ in range(5):
        assert (watch.check(), watch.model) == (False, [1])
    (error,) = told.refused
    assert isinstance(watch.problem, safeload.DigestMismatchError)
    assert watch.problem is error
    records: list[Any] = [one for one in caplog.records if getattr(one, "action", "") == "watch"]
    assert [(one.verdict, one.codes) for one in records] == [("allowed", []), ("refused", ["SL201"])]
    assert records[1].reason == error.describe(records[1].path)
    assert (str(artifact(store, "1.2")) in records[1].reason, records[1].advice) == (True, error.advice)
    assert records[1].path.endswith("production.json")
    store.promote("fraud", "1.3")
    assert (watch.check(), watch.model, watch.problem) == (True, [3], None)


def test_what_the_policy_of_the_server_refuses_is_not_served(
    path: Path, key: SigningKey, told: Told, tmp_path: Path
) -> None:
    lax = tmp_path / "lax.toml"
    lax.write_text(
        'name = "lax"\nversion = 1\nextends = ["sklearn"]\n[[allow]]\nmodule = "ipaddress"\nnames = ["IPv4Address"]\n'
        'roles = ["call"]\nargs = [["int"]]\nreason = "x"\n'
    )
    from ipaddress import IPv4Address

    watch = Loader(keyring=key).watch(path, **told.by_hand)
    safeload.dump([IPv4Address("10.0.0.1")], path, key=key, policy=Policy.load(lax), overwrite=True)
    assert (watch.check(), watch.model) == (False, ["one"])
    assert [type(error) for error in told.refused] == [safeload.PolicyViolationError]
    assert Loader(keyring=key, policy=lax).watch(path).model == [IPv4Address("10.0.0.1")]


@pytest.fixture
def ring(tmp_path: Path, key: SigningKey) -> Path:
    """A keyring's file, with the key that signed `path` and `store`."""
    ring = tmp_path / "ring.toml"
    Keyring.from_keys([key]).save(ring)
    return ring


def watches(path: Path, store: Store, ring: Any, told: Told) -> list[Any]:
    return [
        Loader(keyring=ring).watch(path, **told.by_hand),
        Store(store.folder, keyring=ring).watch("fraud", **told.by_hand),
    ]


def test_a_key_that_is_revoked_is_not_trusted_on(
    path: Path,
    store: Store,
    key: SigningKey,
    ring: Path,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(ring.parent)
    both = watches(path, store, ring.name, told)
    monkeypatch.chdir("/")  # as services do
    with editing(ring) as keyring:
        keyring.revoke(key.key_id, "stolen")
    for watch in both:
        before = watch.model
        assert (watch.check(), watch.model is before, watch.problem.code) == (False, True, "SL106")
        assert "stolen" in str(watch.problem)
        assert not watch.check()
    assert len(told.refused) == 2  # each once
    safeload.dump(["two"], path, key=key, overwrite=True)
    store.promote("fraud", "1.2")
    for watch in both:
        assert not watch.check()
    assert [watch.model for watch in both] == [["one"], [1]]
    records: list[Any] = caplog.records
    assert {record.codes[0] for record in records if record.action == "watch"} == {"SL106"}
    assert (told.swapped, len(told.refused)) == ([], 4)


def test_a_key_that_is_added_is_trusted_from_then_on(
    path: Path, store: Store, key: SigningKey, ring: Path, told: Told
) -> None:
    both = watches(path, store, ring, told)
    new = SigningKey.generate()
    safeload.dump(["two"], path, key=new, overwrite=True, release=2)
    Store(store.folder, key=new, keyring=Keyring.from_keys([key, new])).promote("fraud", "1.2")
    for watch in both:
        assert (watch.check(), watch.problem.code) == (False, "SL103")
    with editing(ring) as keyring:
        keyring.add(new, status="verify-only")
    assert [(watch.check(), watch.model, watch.problem) for watch in both] == [
        (True, ["two"], None), (True, [2], None)]  # fmt: skip
    shutil.copy(ring, ring.with_name("same"))
    ring.with_name("same").replace(ring)  # another file that says the same: verified, and not swapped
    assert [(watch.check(), watch.problem) for watch in both] == [(False, None)] * 2
    assert (len(told.swapped), len(told.refused)) == (2, 2)


@pytest.mark.parametrize("broken", ["gone", "empty", "others", "half"])
def test_a_keyring_that_cannot_be_used_changes_nothing(
    path: Path, store: Store, key: SigningKey, ring: Path, told: Told, broken: str
) -> None:
    good = ring.read_bytes()
    both = watches(path, store, ring, told)
    if broken == "gone":
        ring.unlink()
    elif broken == "others":
        ring.chmod(0o666)
    else:
        ring.write_bytes(good[: len(good) // 2] if broken == "half" else b"")
    safeload.dump(["two"], path, key=key, overwrite=True)
    store.promote("fraud", "1.2")
    for watch in both:
        assert (watch.check(), type(watch.problem)) == (False, safeload.KeyringError)
    assert [watch.model for watch in both] == [["one"], [1]]
    assert (told.swapped, len(told.refused)) == ([], 2)
    ring.unlink(missing_ok=True)
    ring.write_bytes(good)
    ring.chmod(0o600)
    assert [(watch.check(), watch.model, watch.problem) for watch in both] == [
        (True, ["two"], None), (True, [2], None)]  # fmt: skip


def test_a_keyring_that_was_given_itself_is_not_read_again(
    path: Path, store: Store, key: SigningKey, ring: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = watches(path, store, Keyring.load(ring), told)
    monkeypatch.setenv("SAFELOAD_KEYRING_DATA", ring.read_text())
    both += watches(path, store, None, told)
    monkeypatch.delenv("SAFELOAD_KEYRING_DATA")
    monkeypatch.setenv("SAFELOAD_KEYRING", str(ring))
    followed = watches(path, store, None, told)
    loader = Loader()
    with editing(ring) as keyring:
        keyring.revoke(key.key_id, "stolen")
    assert [(watch.check(), watch.problem) for watch in both] == [(False, None)] * 4
    assert [(watch.check(), watch.problem.code) for watch in followed] == [(False, "SL106")] * 2
    assert loader.load(path) == ["one"]  # as long as it is asked itself
    with pytest.raises(safeload.VerificationError, match="revoked"):
        loader.watch(path)  # also of what was revoked before the watch began


def test_an_older_release_is_not_gone_back_to(path: Path, key: SigningKey, told: Told, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    shutil.copy(path, kept)
    shutil.copy(manifest_path(path), kept)
    watch = Loader(keyring=key).watch(path, **told.by_hand)
    safeload.dump(["two"], path, key=key, overwrite=True)
    assert watch.check()
    for name in (path.name, manifest_path(path).name):
        shutil.copy(kept / name, path.parent / name)
    assert (watch.check(), watch.model) == (False, ["two"])
    assert isinstance(told.refused[0], RollbackError)
    safeload.reissue(path, 2, key=key)
    assert (watch.check(), watch.model, watch.current.manifest.release) == (True, ["one"], 3)


def test_an_old_pointer_put_back_is_not_followed(store: Store, key: SigningKey, told: Told) -> None:
    pointer = store.folder / "fraud" / "channels" / "production.json"
    old = pointer.read_bytes()
    watch = Store(store.folder, keyring=key).watch("fraud", **told.by_hand)
    store.promote("fraud", "1.3")
    assert watch.check()
    pointer.write_bytes(old)
    assert (watch.check(), watch.model, [error.code for error in told.refused]) == (False, [3], ["SL108"])
    pointer.unlink()
    assert (watch.check(), watch.model, [error.code for error in told.refused]) == (False, [3], ["SL108"] * 2)


def test_what_stops_being_accepted_is_told_and_goes_on(
    store: Store, key: SigningKey, told: Told, pass_time: Callable[[timedelta], None]
) -> None:
    store.promote("fraud", "1.2", expires=timedelta(hours=1))
    watch = Store(store.folder, keyring=key).watch("fraud", **told.by_hand)
    expires = watch.current.expires
    assert expires is not None
    assert (watch.check(), told.refused) == (False, [])
    pass_time(timedelta(hours=2))
    assert (watch.check(), watch.check()) == (False, False)
    assert [type(error) for error in told.refused] == [safeload.ExpiredError]
    assert (watch.model, watch.problem) == ([2], told.refused[0])
    store.promote("fraud", "1.2")
    assert (watch.check(), watch.problem) == (False, None)
    assert watch.current.expires is None
    assert told.swapped == []


def test_what_could_not_be_judged_is_tried_again(
    path: Path, key: SigningKey, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Loader(keyring=key).watch(path, **told.by_hand)
    aside = path.with_name("aside")
    path.rename(aside)
    assert (watch.check(), watch.check(), watch.model) == (False, False, ["one"])
    assert [type(error) for error in told.refused] == [FileNotFoundError]
    clock = time.monotonic() + 1.9
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    watch.check()
    assert len(told.refused) == 1
    for wait in (2.1, 4.1, 8.1):  # less and less often
        clock += wait - 0.2
        watch.check()
        clock += 0.2
        watch.check()
        watch.check()
    assert len(told.refused) == 4
    aside.rename(path)
    watch.check()
    assert (watch.model, watch.problem) == (["one"], None)


def test_callbacks_that_fail_change_nothing(path: Path, key: SigningKey, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_said: Any) -> None:
        raise RuntimeError("the callback's own")

    watch = Loader(keyring=key).watch(path, interval=1000, on_swapped=fail, on_refused=fail)
    safeload.dump(["two"], path, key=key, overwrite=True)
    assert (watch.check(), watch.model) == (True, ["two"])
    spoil(path)
    assert (watch.check(), watch.model) == (False, ["two"])
    assert sum("callback of a watch failed" in record.message for record in caplog.records) == 2
    watch.close()


def test_a_callback_may_close_and_look(path: Path, key: SigningKey) -> None:
    looked = []

    def close(_loaded: LoadedModel) -> None:
        looked.append(watch.check())  # True where the writer's last step came after the load
        watch.close()

    watch = Loader(keyring=key).watch(path, interval=0.02, on_swapped=close)
    assert watch.model == ["one"]
    safeload.dump(["two"], path, key=key, overwrite=True)
    until(lambda: looked and not threads())
    assert (looked[0], watch.model) == (False, ["two"])


def test_files_that_are_changed_all_along(store: Store, key: SigningKey, told: Told, tmp_path: Path) -> None:
    """Every model that is served was signed, whatever is read meanwhile; the last good one is served in the end."""
    pointer = store.folder / "fraud" / "channels" / "production.json"
    pair = [artifact(store, "1.2"), manifest_path(artifact(store, "1.2"))]
    store.promote("fraud", "1.2")
    contents = {path: path.read_bytes() for path in (pointer, *pair)}
    stop, served = threading.Event(), set()
    problems: list[Exception] = []

    def attack() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            path = (pointer, *pair)[turn % 3]
            whole = contents[path]
            path.write_bytes((b"", whole[: turn % len(whole)], whole[:-3] + b"xyz", whole)[turn % 4])
            if turn % 5 == 0:
                path.unlink()
                time.sleep(0.001)
                path.write_bytes(whole)

    def ask() -> None:
        while not stop.is_set():
            try:
                served.add(watch.model[0])
            except Exception as error:  # noqa: BLE001
                problems.append(error)

    with Store(store.folder, keyring=key).watch("fraud", interval=0.01, **told.callbacks) as watch:
        workers = [threading.Thread(target=attack), threading.Thread(target=ask)]
        for worker in workers:
            worker.start()
        until(lambda: len(told.refused) > 5)
        stop.set()
        for worker in workers:
            worker.join()
        for path, content in contents.items():
            path.write_bytes(content)
        until(lambda: watch.check() or watch.problem is None)
        assert (watch.model, served, problems) == ([2], {2}, [])
    assert threads() == []


# ---------------------------------------------------------------------------------- threads, forks and the end


def test_the_first_use_starts_one_thread_and_nobody_keeps_a_handle_alive(path: Path, key: SigningKey) -> None:
    watch = Loader(keyring=key).watch(path, interval=1000)
    assert threads() == []
    users = [threading.Thread(target=getattr, args=(watch, "model")) for _ in range(8)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert threads() == ["safeload-watch"]
    del watch, users, user  # and then it ends: see the fixture


def test_without_a_thread_the_model_is_served_all_the_same(
    path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    watch = Loader(keyring=key).watch(path, interval=1000)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert (watch.model, str(watch.problem)) == (["one"], "can't start new thread")
    assert (watch.model, watch.problem, threads()) == (["one"], None, ["safeload-watch"])


def run(code: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SOON)


FORKS = """
    import os, sys, time, warnings, safeload
    warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
    path, ring, used = sys.argv[1:]
    watch = safeload.Loader(keyring=ring).watch(path, interval=0.02)
    until = time.monotonic() + 50
    if used == "used":
        assert watch.model == ["one"]
    children = []
    for turn in range(4):
        if used == "used":  # so that forks meet it at work
            os.utime(path)
            time.sleep(0.02 + turn / 100)
        pid = os.fork()
        if pid == 0:
            assert watch.model[0] in ("one", "two", "three"), watch.model
            while watch.model == ["one"]:
                assert time.monotonic() < until
                time.sleep(0.01)
            watch.close()
            os._exit(7)
        children.append(pid)
    safeload.dump(["two"], path, key=ring, overwrite=True)
    if used == "unused":  # until the last moment
        pid = os.fork()
        if pid == 0:
            slow = safeload.Loader(keyring=ring).watch(path, interval=1000)
            safeload.dump(["three"], path, key=ring, overwrite=True)
            if os.fork() == 0:
                while slow.model != ["three"]:  # it looks at once
                    assert time.monotonic() < until
                os._exit(7)
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [7] * len(children)
    while watch.model == ["one"]:
        assert time.monotonic() < until
    watch.close()
"""


@pytest.mark.parametrize("used", ["used", "unused"])
def test_forked_children_watch_for_themselves(path: Path, key: SigningKey, tmp_path: Path, used: str) -> None:
    ring = tmp_path / "ring.toml"
    Keyring.from_keys([key]).save(ring)
    done = run(FORKS, path, ring, used)
    assert (done.returncode, done.stderr) == (0, "")


ENDS = """
    import sys, time, threading, safeload
    path, ring, how = sys.argv[1:]
    busy = threading.Event()
    def slow(_):
        busy.set()
        time.sleep(100)
    watch = safeload.Loader(keyring=ring).watch(path, interval=0.02, on_swapped=slow if how == "busy" else None)
    assert watch.model == ["one"]
    if how == "busy":
        safeload.dump(["two"], path, key=ring, overwrite=True)
        busy.wait(50)
        import safeload._loading.watch
        safeload._loading.watch._EXIT_WAIT = 0.2
    elif how == "error":
        raise SystemExit(9)
"""


@pytest.mark.parametrize("how", ["idle", "busy", "error"])
def test_the_interpreter_ends_without_waiting(path: Path, key: SigningKey, tmp_path: Path, how: str) -> None:
    ring = tmp_path / "ring.toml"
    Keyring.from_keys([key]).save(ring)
    done = run(ENDS, path, ring, how)
    assert (done.returncode, done.stderr) == (9 if how == "error" else 0, "")
