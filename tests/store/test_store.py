"""Stores: versions side by side, signed channels, and what happens to those who swap, replay or mix them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import pytest

import safeload
from safeload import Keyring, ManifestError, RollbackError, SigningKey, Store
from safeload.keys import editing
from support.files import put_non_file

if TYPE_CHECKING:
    from collections.abc import Callable

MANIFEST = ".manifest.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def store(folder: Path, key: SigningKey) -> Store:
    """Model `fraud` in the versions 1.0, 1.1 and 1.2: releases 1 to 3, the objects [1] to [3]."""
    made = Store(folder, key=key)
    for number, version in enumerate(("1.0", "1.1", "1.2"), start=1):
        made.save("fraud", [number], version=version)
    return made


def artifact(folder: Path, version: str, name: str = "fraud") -> Path:
    return folder / name / "versions" / version / f"{name}-{version}.joblib"


def pointer(folder: Path, channel: str = "production", name: str = "fraud") -> Path:
    return folder / name / "channels" / f"{channel}.json"


def refusals(store: Store) -> dict[str, list[str]]:
    return {
        Path(report.path).name: [finding.code for finding in report.findings]
        for report in store.verify()
        if not report.allowed
    }


# ------------------------------------------------------------------------------------------------ the usual


def test_what_is_saved_is_loaded_and_plain_joblib_reads_it(folder: Path, key: SigningKey, pipeline: Any) -> None:
    store = Store(folder, key=key)
    manifest = store.save("iris", pipeline, version="1.4.0", compress=3, metadata={"auc": 0.9})
    assert (manifest.name, manifest.version, manifest.release) == ("iris-1.4.0.joblib", "1.4.0", 1)
    for model in (store.load("iris"), store.load("iris", "1.4.0"), joblib.load(artifact(folder, "1.4.0", "iris"))):
        assert (model.predict([[5.0, 3, 1, 0.2]]) == pipeline.predict([[5.0, 3, 1, 0.2]])).all()
    assert sorted(path.name for path in artifact(folder, "1.4.0", "iris").parent.iterdir()) == [
        "iris-1.4.0.joblib",
        "iris-1.4.0.joblib.manifest.json",
    ]
    assert safeload.load(artifact(folder, "1.4.0", "iris"), keyring=key) is not None


def test_without_a_channel_the_highest_release_is_loaded_and_with_production_that(store: Store) -> None:
    assert store.load("fraud") == [3]
    store.save("fraud", [4], version="1.0.1")  # a release of its own, whatever the version
    assert store.load("fraud") == [4]
    store.promote("fraud", "1.1", "staging")
    assert (store.load("fraud"), store.load("fraud", channel="staging")) == ([4], [2])
    store.promote("fraud", "1.1")
    assert (store.load("fraud"), store.load("fraud", "1.2")) == ([2], [3])
    assert [(one.version, one.channels) for one in store.versions("fraud")] == [
        ("1.0", ()), ("1.0.1", ()), ("1.1", ("production", "staging")), ("1.2", ())]  # fmt: skip


def test_promote_goes_on_and_rollback_goes_back(store: Store) -> None:
    for version in ("1.0", "1.1", "1.2"):
        store.promote("fraud", version)
    with pytest.raises(RollbackError, match="release 1, and channel 'production' is at release 3"):
        store.promote("fraud", "1.0")
    assert store.rollback("fraud", reason="predicts nonsense").version == "1.1"
    assert (store.load("fraud"), store.channel("fraud").reason) == ([2], "predicts nonsense")
    assert store.rollback("fraud").version == "1.0"
    with pytest.raises(ValueError, match="was nowhere before"):
        store.rollback("fraud")
    with pytest.raises(ValueError, match="to go on, promote it"):
        store.rollback("fraud", to="1.2")
    assert store.promote("fraud", "1.2").sequence == 6
    assert store.rollback("fraud", to="1.1").history[0].version == "1.0"
    assert refusals(store) == {}


def test_what_is_asked_for_and_missing_is_an_error(store: Store) -> None:
    with pytest.raises(FileNotFoundError, match="nothing of model 'fraud' was promoted to channel 'production'"):
        store.load("fraud", channel="production")
    with pytest.raises(FileNotFoundError, match=r"there is no version 9 .*1\.0, 1\.1, 1\.2"):
        store.load("fraud", "9")
    for use in (store.load, store.versions, lambda name: store.promote(name, "1"), lambda name: store.prune(name, 1)):
        with pytest.raises(FileNotFoundError):
            use("other")
    with pytest.raises(FileNotFoundError):
        store.rollback("fraud")
    with pytest.raises(TypeError):
        store.load("fraud", "1.0", channel="production")


BAD = ["", ".", "..", "a/b", "../a", ".hidden", "-o", "a.", "a b", "a\n", "a\0", "ä", "nul", "COM1.x", "x" * 65, "a\\b"]


@pytest.mark.parametrize("bad", BAD)
def test_names_that_some_file_system_reads_differently_are_refused(store: Store, folder: Path, bad: str) -> None:
    before = sorted(folder.rglob("*"))
    uses: list[Callable[[], object]] = [
        lambda: store.save(bad, [1], version="1"),
        lambda: store.save("fraud", [1], version=bad),
        lambda: store.load(bad),
        lambda: store.load("fraud", bad),
        lambda: store.promote("fraud", "1.0", bad),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="ASCII letters, digits"):
            use()
    assert sorted(folder.rglob("*")) == before


def test_names_that_are_too_alike_are_refused(store: Store) -> None:
    for name, version in (("Fraud", "1"), ("fraud", "1.0.0"), ("fraud", "v1.0")):
        with pytest.raises(FileExistsError, match="too like"):
            store.save(name, [1], version=version)
    store.save("fraud", [1], version="a")
    with pytest.raises(FileExistsError, match="too like"):
        store.save("fraud", [1], version="A")
    store.promote("fraud", "1.0", "beta")
    with pytest.raises(FileExistsError, match="too like"):
        store.promote("fraud", "1.0", "Beta")


def test_what_a_file_system_that_folds_case_would_open_is_refused(store: Store, folder: Path) -> None:
    """There, FRAUD and fraud are one folder: here it is copied, file by file, under the other name."""
    store.promote("fraud", "1.2")
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        twin = folder / str(path.relative_to(folder)).replace("fraud", "FRAUD")
        twin.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, twin)
    with pytest.raises(ManifestError, match="signed under another name"):
        store.load("FRAUD", "1.2")
    with pytest.raises(ManifestError, match="was signed for model 'fraud'"):
        store.load("FRAUD", channel="production")
    with pytest.raises(ManifestError, match="was signed for model 'fraud'"):
        store.watch("FRAUD")
    with pytest.raises(FileExistsError, match="too like"):
        store.save("FRAUD", [4], version="2")


def test_versions_never_change_and_releases_only_grow(store: Store, folder: Path) -> None:
    before = artifact(folder, "1.1").read_bytes()
    with pytest.raises(FileExistsError, match="never change"):
        store.save("fraud", ["other"], version="1.1")
    assert artifact(folder, "1.1").read_bytes() == before
    with pytest.raises(RollbackError, match="release 3 already"):
        store.save("fraud", [1], version="2", release=3)
    assert store.save("fraud", [1], version="2", release=10).release == 10
    assert store.save("fraud", [1], version="3").release == 11


def test_what_the_policy_refuses_is_neither_saved_nor_promoted(store: Store, folder: Path) -> None:
    import decimal

    with pytest.raises(safeload.PolicyViolationError):
        store.save("fraud", decimal.getcontext(), version="2")
    assert not artifact(folder, "2").parent.exists()
    data = bytearray(artifact(folder, "1.1").read_bytes())
    data[-2] ^= 1
    artifact(folder, "1.1").write_bytes(data)
    with pytest.raises(safeload.DigestMismatchError):
        store.promote("fraud", "1.1")
    assert not pointer(folder).exists()
    assert list(refusals(store)) == ["fraud-1.1.joblib"]


def test_artifacts_that_exist_are_added_as_copies(store: Store, folder: Path, tmp_path: Path, pipeline: Any) -> None:
    joblib.dump(pipeline, tmp_path / "old.joblib.gz", compress=3)
    assert store.add("iris", tmp_path / "old.joblib.gz", version="1").release == 1
    assert store.load("iris").predict([[5.0, 3, 1, 0.2]]).tolist() == [0]
    with pytest.raises(FileNotFoundError):
        store.add("iris", tmp_path / "missing", version="2")
    assert [one.version for one in store.versions("iris")] == ["1"]


def test_who_can_only_verify_loads_and_cannot_write(folder: Path, tmp_path: Path) -> None:
    key = SigningKey.generate("ed25519")
    Store(folder, key=key).save("fraud", [1], version="1")
    Store(folder, key=key).promote("fraud", "1")
    server = Store(folder, keyring=key.verifying_key)
    assert server.load("fraud") == [1]
    for use in (lambda: server.save("fraud", [1], version="2"), lambda: server.promote("fraud", "1")):
        with pytest.raises(safeload.KeyringError, match="public keys only"):
            use()
    stranger = Store(folder, key=SigningKey.generate())
    with pytest.raises(safeload.UnknownKeyError):
        stranger.load("fraud")
    with pytest.raises(safeload.VerificationError):
        stranger.promote("fraud", "1")


def test_pruning_keeps_what_is_in_use_and_what_a_rollback_needs(store: Store, folder: Path) -> None:
    for number in range(4, 9):
        store.save("fraud", [number], version=f"1.{number}")
    store.promote("fraud", "1.1")
    store.promote("fraud", "1.4")
    assert store.prune("fraud", 2, dry_run=True) == ("1.0", "1.2", "1.5", "1.6")
    assert len(store.versions("fraud")) == 8
    assert store.prune("fraud", 2) == ("1.0", "1.2", "1.5", "1.6")
    assert [one.version for one in store.versions("fraud")] == ["1.1", "1.4", "1.7", "1.8"]
    assert store.rollback("fraud").version == "1.1"
    pointer(folder).write_bytes(b"{}")
    with pytest.raises(ManifestError):
        store.prune("fraud", 1)
    assert len(store.versions("fraud")) == 4


# ---------------------------------------------------------------------------------------------- the attacker


def swap(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def test_a_version_put_in_the_place_of_another(store: Store, folder: Path) -> None:
    store.promote("fraud", "1.2")
    old, new = artifact(folder, "1.0"), artifact(folder, "1.2")
    for suffix in ("", MANIFEST):  # under the new file's name
        shutil.copy(f"{old}{suffix}", f"{new}{suffix}")
    for use in (lambda: store.load("fraud"), lambda: store.load("fraud", "1.2"), lambda: store.promote("fraud", "1.2")):
        with pytest.raises(ManifestError, match="signed under another name"):
            use()
    assert refusals(store) == {"fraud-1.2.joblib": ["SL107"], "production.json": ["SL107"]}


def test_a_folder_of_a_version_renamed(store: Store, folder: Path) -> None:
    store.promote("fraud", "1.2")
    shutil.rmtree(artifact(folder, "1.2").parent)
    artifact(folder, "1.0").parent.rename(folder / "fraud/versions/1.2")
    with pytest.raises(FileNotFoundError):
        store.load("fraud")
    assert refusals(store)["production.json"] == ["SL120"]


def test_names_and_versions_that_make_the_same_file_name(folder: Path, key: SigningKey) -> None:
    """Model a, version 1-2, and model a-1, version 2: both files are called a-1-2.joblib."""
    store = Store(folder, key=key)
    store.save("a", ["a"], version="1-2")
    store.save("a-1", ["a-1"], version="2")
    one, other = artifact(folder, "1-2", "a"), artifact(folder, "2", "a-1")
    assert one.name == other.name
    for suffix in ("", MANIFEST):
        swap(Path(f"{one}{suffix}"), Path(f"{other}{suffix}"))
    for name, version in (("a", "1-2"), ("a-1", "2")):
        with pytest.raises(ManifestError, match="signed as another version"):
            store.load(name, version)


def test_a_version_replaced_by_another_that_was_signed_too(store: Store, folder: Path, key: SigningKey) -> None:
    """Once there was another 1.2: the channel names the one that was promoted by its content."""
    store.promote("fraud", "1.2")
    kept = folder.parent / "kept"
    artifact(folder, "1.2").parent.rename(kept)
    store.save("fraud", ["another"], version="1.2", release=4)
    with pytest.raises(ManifestError, match="replaced by another"):
        store.load("fraud")
    assert refusals(store) == {"production.json": ["SL120"]}


def test_an_old_pointer_put_back(store: Store, folder: Path, key: SigningKey, tmp_path: Path) -> None:
    store.promote("fraud", "1.1")
    old = pointer(folder).read_bytes()
    store.promote("fraud", "1.2")
    state = tmp_path / "state" / "rollback-state.json"
    assert Store(folder, keyring=key, rollback_state=state).load("fraud") == [3]
    assert store.load("fraud") == [3]
    pointer(folder).write_bytes(old)
    for reader in (store, Store(folder, keyring=key, rollback_state=state)):
        with pytest.raises(RollbackError, match=r"number 1 \(release 2\) is older than number 2 \(release 3\)"):
            reader.load("fraud")
        assert refusals(reader) == {"production.json": ["SL108"]}
        with pytest.raises(RollbackError):
            reader.rollback("fraud")
    assert Store(folder, keyring=key).load("fraud") == [2]  # who remembers nothing cannot know
    store.promote("fraud", "1.2", sequence=3)
    assert store.load("fraud") == [3]


def test_a_rolled_back_release_cannot_be_brought_back_with_its_pointer(
    store: Store, folder: Path, key: SigningKey, tmp_path: Path
) -> None:
    reader = Store(folder, keyring=key, rollback_state=tmp_path / "state" / "rollback-state.json")
    store.promote("fraud", "1.1")
    store.promote("fraud", "1.2")
    bad = pointer(folder).read_bytes()
    assert reader.load("fraud") == [3]
    store.rollback("fraud")
    assert reader.load("fraud") == [2]
    pointer(folder).write_bytes(bad)
    with pytest.raises(RollbackError):
        reader.load("fraud")


def test_a_pointer_removed_is_no_way_to_the_highest_release(store: Store, folder: Path, key: SigningKey) -> None:
    store.promote("fraud", "1.0")
    assert store.load("fraud") == [1]
    pointer(folder).unlink()
    for use in (
        store.load,
        lambda name: store.load(name, channel="production"),
        lambda name: store.promote(name, "1.0"),
    ):
        with pytest.raises(RollbackError, match="is gone"):
            use("fraud")
    with pytest.raises(FileNotFoundError):
        Store(folder, keyring=key).load("fraud", channel="production")


def test_a_version_removed_is_no_way_to_an_older_one(store: Store, folder: Path) -> None:
    assert store.load("fraud") == [3]
    shutil.rmtree(artifact(folder, "1.2").parent)
    with pytest.raises(RollbackError, match=r"release 2 is older than release 3, which was loaded here before"):
        store.load("fraud")


def test_a_version_that_cannot_be_trusted_may_be_the_newest(store: Store, folder: Path) -> None:
    Path(f"{artifact(folder, '1.2')}{MANIFEST}").write_bytes(b"{}")
    with pytest.raises(ManifestError):
        store.load("fraud")
    with pytest.raises(ManifestError, match="name its release: release=N"):
        store.save("fraud", [4], version="2")
    assert store.save("fraud", [4], version="2", release=4).release == 4
    assert [one.version for one in store.versions("fraud") if one.problem] == ["1.2"]
    assert "1.2" not in store.prune("fraud", 1)


def test_pointers_of_other_channels_and_models(store: Store, folder: Path) -> None:
    store.save("other", ["other"], version="1.0")
    store.promote("fraud", "1.0", "staging")
    store.promote("fraud", "1.2")
    store.promote("other", "1.0")
    for source in (pointer(folder, "staging"), pointer(folder, name="other")):
        target = pointer(folder)
        target.write_bytes(source.read_bytes())
        with pytest.raises(ManifestError, match="was signed for model"):
            store.load("fraud")


def test_a_manifest_is_no_pointer_and_a_pointer_no_manifest(store: Store, folder: Path) -> None:
    store.promote("fraud", "1.2")
    manifest = Path(f"{artifact(folder, '1.2')}{MANIFEST}")
    signed = pointer(folder).read_bytes()
    pointer(folder).write_bytes(manifest.read_bytes())
    with pytest.raises(ManifestError, match="payloadType"):
        store.load("fraud")
    manifest.write_bytes(signed)
    with pytest.raises(ManifestError, match="payloadType"):
        store.load("fraud", "1.2")
    # Nor with the type changed: it is part of what is signed.
    envelope = json.loads(signed)
    envelope["payloadType"] = "application/vnd.in-toto+json"
    manifest.write_text(json.dumps(envelope))
    with pytest.raises(safeload.BadSignatureError):
        store.load("fraud", "1.2")


def test_every_byte_of_a_pointer_is_signed(store: Store, folder: Path) -> None:
    store.promote("fraud", "1.2", reason="reviewed")
    data = pointer(folder).read_bytes()
    for position in range(0, len(data), 7):
        changed = bytearray(data)
        changed[position] ^= 4
        pointer(folder).write_bytes(changed)
        try:
            assert store.load("fraud") == [3]  # white space
        except safeload.VerificationError:
            continue
        assert not bytes([data[position]]).isalnum()
    for content in (b"", data[:-9], b"\x80\x04]\x94.", b" " * (2 << 20)):
        pointer(folder).write_bytes(content)
        with pytest.raises(safeload.VerificationError):
            store.load("fraud")


def test_a_pointer_past_its_time_is_refused_until_it_is_renewed(
    store: Store, folder: Path, key: SigningKey, pass_time: Callable[[timedelta], None]
) -> None:
    store.promote("fraud", "1.2", expires=timedelta(hours=1))
    assert store.load("fraud") == [3]
    pass_time(timedelta(hours=2))
    with pytest.raises(safeload.ExpiredError, match=r"pointer number 1, to version 1\.2, expired"):
        store.load("fraud")
    assert store.promote("fraud", "1.2", expires=timedelta(days=1)).sequence == 2
    assert (store.load("fraud"), store.channel("fraud").history) == ([3], ())


def test_a_pointer_signed_by_a_revoked_key(store: Store, folder: Path, key: SigningKey, tmp_path: Path) -> None:
    store.promote("fraud", "1.2")
    from dataclasses import replace

    ring = Keyring([replace(entry, status="revoked") for entry in Keyring.from_keys([key]).entries])
    with pytest.raises(safeload.VerificationError, match="revoked"):
        Store(folder, keyring=ring).load("fraud")


def test_what_a_key_may_sign_is_asked_of_the_place_where_a_version_will_be(folder: Path, key: SigningKey) -> None:
    from safeload.keys import KeyEntry

    store = Store(folder, keyring=Keyring([KeyEntry.new(key, scopes=["fraud/versions/1.*/fraud-*.joblib"])]))
    assert store.save("fraud", [1], version="1.0").release == 1
    assert store.add("fraud", artifact(folder, "1.0"), version="1.1").release == 2
    store.promote("fraud", "1.1")
    assert store.load("fraud") == [1]
    with pytest.raises(safeload.KeyringError):
        store.save("fraud", [2], version="2.0")


def test_a_key_that_may_sign_one_model_moves_no_channel_of_another(folder: Path, key: SigningKey) -> None:
    """Nor may it promote by way of the wrong half: what the keyring's scopes say of artifacts holds for pointers."""
    other = SigningKey.generate()
    ring = Keyring.from_keys([key])
    ring.add(other, scopes=["other-*.joblib"], status="verify-only")
    owner = Store(folder, key=key, keyring=ring)
    owner.save("fraud", [1], version="1")
    owner.save("fraud", [2], version="2")
    owner.promote("fraud", "2")
    both = Keyring.from_keys([key, other])
    intruder = Store(folder, key=other, keyring=both)
    intruder.save("other", ["other"], version="1")
    intruder.promote("other", "1")
    assert owner.load("other", channel="production") == ["other"]
    intruder.rollback("fraud", to="1")
    with pytest.raises(safeload.VerificationError, match=r"is not allowed to sign .*: other-") as caught:
        owner.load("fraud", channel="production")
    assert caught.value.code == "SL106"


def test_a_pointer_that_leads_out_of_the_store(store: Store, folder: Path, key: SigningKey) -> None:
    from safeload._manifest.envelope import seal_payload
    from safeload.store._pointer import POINTER

    signed = store.promote("fraud", "1.2").to_dict()
    for version in ("../../../other", "..", "a/b", ""):
        payload = json.dumps({**signed, "version": version}).encode()
        pointer(folder).write_bytes(seal_payload(POINTER, payload, [key]))
        with pytest.raises(ManifestError):
            store.load("fraud")


@pytest.mark.parametrize("what", ["link", "folder", "pipe"])
def test_what_is_no_file_in_place_of_a_pointer(store: Store, folder: Path, what: str) -> None:
    store.promote("fraud", "1.1")
    path = pointer(folder)
    path.rename(path.with_name("kept"))
    put_non_file(path, what)
    with pytest.raises((safeload.SafeloadError, IsADirectoryError)):
        store.load("fraud")
    with pytest.raises((safeload.SafeloadError, IsADirectoryError)):
        store.promote("fraud", "1.2", sequence=9)


# ---------------------------------------------------- competition (and in test_faults.py, being killed at any call)

WRITER = """
import sys, safeload
store = safeload.Store(sys.argv[1], key=sys.argv[2])
for turn in range(int(sys.argv[3])):
    try:
        store.save("m", [turn], version=str(turn + 2))
        print("saved", turn)
    except FileExistsError:
        pass
    try:
        store.promote("m", str(turn + 2))
    except (safeload.RollbackError, FileNotFoundError):
        pass  # the other one was faster, or has pruned it already
    if sys.argv[4] == "prune":
        store.prune("m", 3)
"""


def test_a_store_signs_with_a_key_of_the_keyring_that_it_trusts(tmp_path: Path) -> None:
    ring = tmp_path / "ring.toml"
    Keyring.from_keys([SigningKey.generate()]).save(ring)
    store = Store(tmp_path / "models", keyring=ring)
    store.save("fraud", [1], version="1")
    with editing(ring) as keyring:
        keyring.rotate(SigningKey.generate())
    store.promote("fraud", "1")  # by the key that it has read, as those who have not reloaded trust no other
    assert store.load("fraud", channel="production") == [1]
    with pytest.raises(TypeError, match="keyring="):
        Store(tmp_path / "models", key=[ring, ring])


@pytest.mark.parametrize("pruning", ["prune", "keep"])
def test_two_writers_and_readers_all_along(tmp_path: Path, key: SigningKey, pruning: str) -> None:
    """Each version is saved once, every pointer counts on from the last, and no reader ever fails."""
    ring, folder, turns = tmp_path / "ring.toml", tmp_path / "models", 25
    Keyring.from_keys([key]).save(ring)
    store = Store(folder, key=key)
    store.save("m", [-1], version="1")
    store.promote("m", "1")
    stop, problems, loaded = threading.Event(), [], []

    def read() -> None:
        reader = Store(folder, keyring=key)
        while not stop.is_set():
            try:
                loaded.append(reader.load("m", channel="production")[0])
            except Exception as error:  # noqa: BLE001
                problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in readers:
        thread.start()
    command = [sys.executable, "-c", WRITER, str(folder), str(ring), str(turns), pruning]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    output = [writer.communicate() for writer in writers]
    stop.set()
    for thread in readers:
        thread.join()
    assert [writer.returncode for writer in writers] == [0, 0], output
    saved = sorted(int(line.split()[1]) for out, _ in output for line in out.splitlines())
    assert set(saved) == set(range(turns))
    # Whoever is slow may save again what the other has pruned, and then that is the newest.
    assert pruning == "prune" or len(saved) == turns
    assert problems == []
    assert loaded
    releases = {one.version: one.manifest.release for one in store.versions("m") if one.manifest is not None}
    newest = max(releases, key=lambda version: releases[version])
    assert store.load("m") == [int(newest) - 2]
    assert pruning == "prune" or newest == str(turns + 1)
    assert len(set(releases.values())) == len(store.versions("m"))
    assert refusals(store) == {}


def test_killed_by_hand_while_saving_something_large(tmp_path: Path, key: SigningKey) -> None:
    ring, folder = tmp_path / "ring.toml", tmp_path / "models"
    Keyring.from_keys([key]).save(ring)
    code = (
        "import sys, numpy, safeload\nstore = safeload.Store(sys.argv[1], key=sys.argv[2])\nprint(flush=True)\n"
        "for turn in range(99): store.save('m', numpy.zeros(3_000_000), version=str(turn))"
    )
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code, str(folder), str(ring)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(0.3)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        shutil.rmtree(folder / "m", ignore_errors=True) if not list(folder.rglob("*.json")) else None
        store = Store(folder, key=key)
        assert refusals(store) == {}
        if store.names():
            store.prune("m", 1)
            shutil.rmtree(folder)
