"""What goes to workers: policies, reports, manifests, public keys and errors do, after use; secrets never do."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import pytest

import safeload
from safeload import Keyring, Loader, Policy, SigningKey, Store, VerifyingKey
from support.workers import ROWS, judge, predict, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture
def used(tmp_path: Path, pipeline: Any) -> dict[str, Any]:
    """One of each, after use, so that whatever it remembers is there."""
    key = SigningKey.generate("ed25519", key_id="trainer")
    path = tmp_path / "model.joblib"
    policy = Policy.load(["sklearn", "pandas"])
    manifest = safeload.dump(pipeline, path, key=key, policy=policy, metadata={"auc": 0.9})
    ring = Keyring.from_keys([key.verifying_key])
    report = safeload.verify(path, keyring=ring, policy=policy)
    safeload.load(path, keyring=ring, policy=policy)
    with pytest.raises(safeload.PolicyViolationError) as raised:
        safeload.load(path, keyring=ring, policy="core")
    assert report.allowed
    return {
        "path": str(path), "key": key.verifying_key, "policy": policy, "manifest": manifest, "report": report,
        "ring": ring, "error": raised.value, "finding": raised.value.report.findings[0],
    }  # fmt: skip


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Policy):
        return bool((one.digest, one.name, one.files) == (other.digest, other.name, other.files))
    if isinstance(one, VerifyingKey):
        return bool((one.key_id, one.algorithm, one.reveal()) == (other.key_id, other.algorithm, other.reveal()))
    if isinstance(one, Keyring):
        return bool(one.to_toml() == other.to_toml())
    if isinstance(one, safeload.SafeloadError):
        return bool((str(one), vars(one)) == (str(other), vars(other)))
    return bool(one == other)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["key", "policy", "manifest", "report", "ring", "error", "finding"])
def test_pickles_and_copies_after_use(used: dict[str, Any], name: str, protocol: int) -> None:
    one = used[name]
    for other in (pickle.loads(pickle.dumps(one, protocol)), copy.copy(one), copy.deepcopy(one)):
        assert type(other) is type(one)
        assert same(one, other)


def test_a_copied_policy_is_in_force(used: dict[str, Any]) -> None:
    policy = pickle.loads(pickle.dumps(used["policy"]))
    assert safeload.scan(used["path"], policy=policy).allowed
    assert not safeload.scan(used["path"], policy=copy.deepcopy(Policy.load("core"))).allowed


def test_loky_workers(used: dict[str, Any]) -> None:
    parallel = joblib.Parallel(n_jobs=2, backend="loky")
    reports = parallel(joblib.delayed(judge)(used["path"], used["policy"], used["ring"]) for _ in range(3))
    assert [report.to_dict() for report in reports] == [used["report"].to_dict()] * 3
    found = parallel(joblib.delayed(predict)(used["path"], used["policy"], used["key"]) for _ in range(2))
    assert found[0] == found[1]
    with pytest.raises(safeload.PolicyViolationError, match="the policy does not list it") as raised:
        parallel([joblib.delayed(refuse)(used["path"], Policy.load("core"), used["key"])])
    assert raised.value.report.findings


def test_spawned_workers(used: dict[str, Any]) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        report = pool.apply(judge, (used["path"], used["policy"], used["ring"]))
        assert report.to_dict() == used["report"].to_dict()
        assert len(pool.apply(predict, (used["path"], used["policy"], used["key"]))) == len(ROWS)
        with pytest.raises(safeload.PolicyViolationError):
            pool.apply(refuse, (used["path"], Policy.load("core"), used["key"]))


@pytest.mark.parametrize(
    "make",
    [
        lambda key, _: key,
        lambda key, _: key.verifying_key,
        lambda key, _: Keyring.from_keys([key]),
        lambda key, _: Loader(keyring=key),
        lambda key, folder: Store(folder, key=key),
        lambda _, __: Keyring.from_keys([SigningKey.generate("ed25519")]),
        lambda _, __: SigningKey.generate("ed25519"),
        lambda _, __: Loader(keyring=SigningKey.generate("ed25519").verifying_key),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_secrets_are_never_pickled(
    key: SigningKey, tmp_path: Path, make: Callable[[SigningKey, Path], Any], protocol: int
) -> None:
    holder = make(key, tmp_path)
    for dumps in (lambda one: pickle.dumps(one, protocol), lambda one: pickle._dumps(one, protocol)):  # type: ignore[attr-defined]
        with pytest.raises(TypeError, match=r"cannot be pickled: .*the keyring's path.* to each worker"):
            dumps({"holder": holder})


def test_keyrings_are_copied_with_their_secrets_in_memory_only(key: SigningKey) -> None:
    ring = Keyring.from_keys([key])
    for other in (copy.copy(ring), copy.deepcopy(ring)):
        other.add(SigningKey.generate())
        assert (len(ring.entries), len(other.entries)) == (1, 2)
        assert other.entries[0].key is key


def test_loaders_and_stores_are_copied_in_memory(signed: Path, key: SigningKey, tmp_path: Path) -> None:
    assert list(copy.copy(Loader(keyring=key)).load(signed).predict(ROWS))
    store = Store(tmp_path / "store", key=key)
    store.save("numbers", [1], version="1")
    assert copy.copy(store).load("numbers") == [1]
