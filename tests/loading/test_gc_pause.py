"""Python's garbage collector waits while an artifact is loaded, and is afterwards what it was before."""

from __future__ import annotations

import gc
import os
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import safeload
from safeload import DigestMismatchError, Loader, PolicyViolationError
from safeload.errors import VersionMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POLICY = f"""
name = "own"
version = 1
extends = ["sklearn"]
[[allow]]
module = "{__name__}"
names = ["Telling"]
roles = ["new", "state"]
reason = "it tells when it is loaded"
"""


class Telling:
    """Calls what the test has put here whenever one is unpickled."""

    now: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self, held: object = None) -> None:
        self.held = held

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        Telling.now()


@pytest.fixture(autouse=True)
def collector_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Telling, "now", staticmethod(lambda: None))
    assert gc.isenabled()
    yield
    assert gc.isenabled()


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def path(tmp_path: Path, key: safeload.SigningKey, policy: Path) -> Path:
    path = tmp_path / "telling.joblib"
    safeload.dump(Telling(), path, key=key, policy=policy)
    return path


@pytest.fixture
def loader(key: safeload.SigningKey, policy: Path) -> Loader:
    return Loader(keyring=key, policy=policy)


def seen_while_loading(loader: Loader, path: Path) -> list[bool]:
    seen: list[bool] = []
    Telling.now = staticmethod(lambda: seen.append(gc.isenabled()))
    loader.load(path)
    return seen


def test_it_waits_and_goes_on(loader: Loader, path: Path) -> None:
    assert seen_while_loading(loader, path) == [False]
    assert gc.isenabled()


def test_what_is_off_stays_off(loader: Loader, path: Path) -> None:
    gc.disable()
    try:
        assert seen_while_loading(loader, path) == [False]
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_it_goes_on_after_a_refusal(tmp_path: Path, key: safeload.SigningKey, loader: Loader, path: Path) -> None:
    with pytest.raises(PolicyViolationError):
        Loader(keyring=key).load(path)
    assert gc.isenabled()
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DigestMismatchError):
        loader.load(path)


def test_it_goes_on_after_an_error_of_what_was_loaded(loader: Loader, path: Path) -> None:
    def fail() -> None:
        assert not gc.isenabled()
        raise RuntimeError("from the class itself")

    Telling.now = staticmethod(fail)
    with pytest.raises(VersionMismatchError, match="RuntimeError: from the class itself"):
        loader.load(path)


def test_it_does_not_wait_for_what_takes_long(
    tmp_path: Path, key: safeload.SigningKey, policy: Path, loader: Loader
) -> None:
    large = tmp_path / "large.joblib"
    safeload.dump(Telling(np.zeros(33 << 20, np.uint8)), large, key=key, policy=policy)
    assert seen_while_loading(loader, large) == [True]


def test_the_last_of_many_threads_lets_it_go_on(loader: Loader, path: Path) -> None:
    both_in = threading.Barrier(3, timeout=60)
    leave = {"first": threading.Event(), "second": threading.Event()}
    seen: list[bool] = []

    def wait() -> None:
        both_in.wait()
        assert leave[threading.current_thread().name].wait(60)
        seen.append(gc.isenabled())

    Telling.now = staticmethod(wait)
    threads = [threading.Thread(target=loader.load, args=(path,), name=name) for name in leave]
    for thread in threads:
        thread.start()
    both_in.wait()
    for thread in threads:
        assert not gc.isenabled()
        leave[thread.name].set()
        thread.join()
    assert seen == [False, False]
    assert gc.isenabled()


def test_a_load_within_a_load(loader: Loader, path: Path) -> None:
    """In a finalizer, because those are no business of the tripwire's."""

    class Loads:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            seen.append(seen_while_loading(loader, path))

    def collect() -> None:
        gc.collect()
        seen.append(gc.isenabled())

    seen: list[object] = []
    gc.collect()
    Loads()
    Telling.now = staticmethod(collect)
    loader.load(path)
    assert seen == [[False], False]
    assert gc.isenabled()


def test_a_child_that_is_forked_during_a_load(loader: Loader, path: Path) -> None:
    inside, leave = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        assert leave.wait(60)

    Telling.now = staticmethod(wait)
    thread = threading.Thread(target=loader.load, args=(path,))
    thread.start()
    assert inside.wait(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 and later warn of forks beside threads
        child = os.fork()
    if child == 0:
        ok = gc.isenabled() and seen_while_loading(loader, path) == [False] and gc.isenabled()
        os._exit(0 if ok else 1)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
