"""`safeload store`: what people see of a store, and how they move its channels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import joblib
import pytest

import safeload
from safeload import Keyring, SigningKey, Store
from support.cli_runs import ALLOWED, ERROR, NOTHING, REFUSED, USAGE, Outcome


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_home: None) -> Path:
    """A place for a store, which the environment names, as it does the keyring."""
    ring = tmp_path / "ring.toml"
    Keyring.from_keys([SigningKey.generate(key_id="mk")]).save(ring)
    monkeypatch.setenv("SAFELOAD_KEYRING", str(ring))
    monkeypatch.setenv("SAFELOAD_STORE", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def store(folder: Path) -> Store:
    """Model `fraud` in the versions 1.0 to 1.2, production at 1.1 after 1.0; model `other`, which has no channel."""
    made = Store(folder)
    for number in (1, 2, 3):
        made.save("fraud", [number], version=f"1.{number - 1}")
    made.promote("fraud", "1.0")
    made.promote("fraud", "1.1", reason="reviewed by mk")
    made.save("other", [1], version="7")
    return made


def artifact(folder: Path, version: str) -> Path:
    return folder / "fraud" / "versions" / version / f"fraud-{version}.joblib"


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def columns(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_from_nothing_to_production_and_back(run: Any, folder: Path, tmp_path: Path, pipeline: Any) -> None:
    joblib.dump(pipeline, tmp_path / "model.joblib")
    (tmp_path / "card.json").write_text('{"auc": 0.93}')
    for version in ("1.0", "1.1"):
        done = run("store", "add", "iris", tmp_path / "model.joblib", "--version", version, "--metadata",
                   tmp_path / "card.json", "--set", "by=mk", "--expires", "90d")  # fmt: skip
        assert (done.code, done.err) == (ALLOWED, "")
    assert done.out == f"added iris 1.1, release 2, to {folder}. No channel has moved\n"
    assert safeload.read_manifest(folder / "iris/versions/1.1/iris-1.1.joblib").metadata == {"auc": 0.93, "by": "mk"}
    assert run("store", "promote", "iris", "1.0").code == ALLOWED
    done = run("store", "promote", "iris", "1.1", "--reason", "better", "--expires", "8w")
    assert (done.code, done.out) == (
        ALLOWED,
        "production of iris is at 1.1 now: release 2. This is decision number 2, and a rollback goes to 1.0\n",
    )
    done = run("store", "promote", "iris", "1.0")
    assert (done.code, "To go back on purpose" in done.err) == (REFUSED, True)
    done = run("store", "rollback", "iris", "--reason", "worse after all", "--format", "json")
    assert (done.code, done.document["version"], done.document["action"]) == (ALLOWED, "1.0", "rollback")
    assert (done.document["reason"], done.document["sequence"], done.document["schema_version"]) == (
        "worse after all", 3, 1)  # fmt: skip
    assert Store(folder).load("iris", channel="production").predict([[5.0, 3, 1, 0.2]]).tolist() == [0]


def test_list_shows_models_and_where_their_channels_are(run: Any, store: Store) -> None:
    store.promote("fraud", "1.2", "staging")
    done = run("store", "list")
    assert (done.code, done.err) == (ALLOWED, "")
    assert columns(done.out) == [
        ["model", "versions", "channel", "at", "release", "since"],
        ["fraud", "3", "production", "1.1", "2", "just", "now"],
        ["staging", "1.2", "3", "just", "now"],
        ["other", "1", "-", "no", "channel", "yet"],
    ]
    fraud, other = run("store", "list", "--format", "json").document["models"]
    assert (fraud["name"], fraud["verdict"], fraud["versions"], fraud["highest_release"]) == ("fraud", "allowed", 3, 3)
    assert [(one["channel"], one["version"], one["reason"], one["key_ids"]) for one in fraud["channels"]] == [
        ("production", "1.1", "reviewed by mk", ["mk"]), ("staging", "1.2", None, ["mk"])]  # fmt: skip
    assert other["channels"] == []


def test_show_has_every_version_and_decision(run: Any, store: Store) -> None:
    done = run("store", "show", "fraud")
    assert done.code == ALLOWED
    shown = columns(done.out)
    assert shown[0] == ["version", "release", "created", "signed", "by", "channels"]
    assert [(row[0], row[1], row[4:]) for row in shown[1:4]] == [
        ("1.0", "1", ["mk"]), ("1.1", "2", ["mk", "production"]), ("1.2", "3", ["mk"])]  # fmt: skip
    assert shown[-1][0:2] + shown[-1][4:] == ["production", "1.1", "promote,", "number", "2", "1.0", "-", "reviewed",
                                              "by", "mk"]  # fmt: skip
    document = run("store", "show", "fraud", "--format", "json").document
    assert [(one["version"], one["manifest"]["release"], one["channels"]) for one in document["versions"]] == [
        ("1.0", 1, []), ("1.1", 2, ["production"]), ("1.2", 3, [])]  # fmt: skip
    assert document["channels"][0]["history"][0]["version"] == "1.0"


def test_what_cannot_be_trusted_is_shown_with_the_reason(run: Any, store: Store, folder: Path) -> None:
    spoil(artifact(folder, "1.2"))
    store.save("other", [2], version="8")
    shutil.copytree(folder / "fraud" / "channels", folder / "other" / "channels")
    done = run("store", "list")
    assert done.code == REFUSED
    assert ["other", "2", "production", "refused"] in columns(done.out)
    assert "refused fraud 1.2: SL202" in done.out
    assert "refused channel production of other: SL107" in done.out
    done = run("store", "show", "fraud")
    assert (done.code, ["1.2", "refused"] in columns(done.out)) == (REFUSED, True)
    assert "refused version 1.2: SL202" in done.out
    document = run("store", "show", "other", "--format", "json").document
    assert [one["verdict"] for one in document["channels"]] == ["refused"]
    assert document["channels"][0]["findings"][0]["code"] == "SL107"
    done = run("store", "verify", "--format", "json")
    assert done.code == REFUSED
    refused = {Path(one["path"]).name: one["findings"][0]["code"] for one in done.document["results"]
               if one["verdict"] == "refused"}  # fmt: skip
    assert refused == {"fraud-1.2.joblib": "SL202", "production.json": "SL107"}
    assert run("store", "promote", "fraud", "1.2").code == REFUSED


def test_verify_reads_every_byte_of_all_or_of_one(run: Any, store: Store, folder: Path) -> None:
    done = run("store", "verify")
    assert (done.code, done.out.splitlines()[-1]) == (ALLOWED, "5 checked: 5 allowed, 0 refused")
    assert "channel, at version 1.1, release 2, signed by mk" in done.out
    pointers = [
        one["pointer"] for one in run("store", "verify", "--format", "json").document["results"] if "pointer" in one
    ]
    assert [(one["channel"], one["version"], one["sequence"]) for one in pointers] == [("production", "1.1", 2)]
    data = bytearray(artifact(folder, "1.1").read_bytes())
    data[-2] ^= 1  # of the same size: only who reads it all can tell
    artifact(folder, "1.1").write_bytes(data)
    assert run("store", "list").code == ALLOWED
    assert run("store", "verify").code == REFUSED
    for layout in ("sarif", "junit", "html"):
        assert "SL201" in run("store", "verify", "fraud", "--format", layout).out
    assert run("store", "verify", "fraud", "1.1").code == REFUSED
    assert run("store", "verify", "fraud", "1.0", "--quiet") == Outcome(ALLOWED, "", "")
    assert run("store", "verify", "other").code == ALLOWED
    assert run("store", "verify", "fraud", "9").code == ERROR


def test_what_is_no_part_of_the_store_is_noted_and_in_nobody_s_way(run: Any, store: Store, folder: Path) -> None:
    files = [
        "README.md", "fraud/notes.txt", "fraud/versions/1.3", "fraud/versions/.DS_Store", "fraud/versions/Thumbs.db",
        "fraud/channels/production.json.bak", "fraud/versions/1.0/model.joblib", "other/versions/7/\x1b[2J",
    ]  # fmt: skip
    for file in files:
        (folder / file).write_text("{}")
    (folder / "backup").mkdir()
    too_long = f"{'m' * 62}.json"  # to be a model, and not to be the file of a channel
    (folder / too_long / "versions").mkdir(parents=True)
    strays = sorted(str(folder / name) for name in (*files, "backup", too_long))
    assert sorted(map(str, store.strays())) == strays
    done = run("store", "verify")
    assert (done.code, done.out.splitlines()[-1]) == (ALLOWED, "5 checked: 5 allowed, 0 refused")
    assert sorted(done.err.splitlines()) == sorted(
        f"safeload: note: {path}: no part of the store, so it was not looked at".replace("\x1b", "\\x1b")
        for path in strays
    )
    assert sorted(run("store", "verify", "--format", "json").document["strays"]) == strays
    assert run("store", "verify", "--quiet") == Outcome(ALLOWED, "", "")
    assert run("store", "verify", "fraud", "1.0", "--format", "json").document["strays"] == [
        str(folder / "fraud/versions/1.0/model.joblib")
    ]
    assert len(run("store", "verify", "fraud", "--format", "json").document["strays"]) == 6
    assert run("store", "list").code == run("store", "show", "fraud").code == ALLOWED
    assert store.save("fraud", [4], version="1.4").release == 4
    with pytest.raises(FileExistsError):
        store.save("fraud", [4], version="1.3")  # a file is in its place
    assert store.load("other") == [1]


def test_all_commands_write_to_files_and_are_quiet_alike(run: Any, store: Store, folder: Path, tmp_path: Path) -> None:
    joblib.dump([4], tmp_path / "model.joblib")
    commands = [
        ("list",), ("show", "fraud"), ("verify",), ("add", "fraud", tmp_path / "model.joblib", "--version", "1.3"),
        ("promote", "fraud", "1.3"), ("rollback", "fraud"), ("prune", "fraud", "--keep", "1", "--dry-run"),
    ]  # fmt: skip
    report = tmp_path / "report.json"
    for command in commands:
        for path in (artifact(folder, "1.0"), folder / "fraud" / "channels" / "production.json"):
            before = path.read_bytes()
            assert run("store", *command, "-o", path).code == USAGE
            assert path.read_bytes() == before
        assert run("store", *command, "--format", "json", "-o", report, "-q") == Outcome(ALLOWED, "", ""), command
        document = json.loads(report.read_text())
        assert document["command"] == f"store {command[0]}"
    assert store.channel("fraud").sequence == 4
    shown = run("store", "list", "-o", tmp_path / "list.txt")
    assert (shown, "production" in (tmp_path / "list.txt").read_text()) == (Outcome(ALLOWED, "", ""), True)
    for command in (("list",), ("show", "fraud"), ("promote", "fraud", "1.3"), ("prune", "fraud", "--keep", "9")):
        assert run("store", *command, "-q") == Outcome(ALLOWED, "", "")
    spoil(artifact(folder, "1.2"))
    for command in (("list",), ("show", "fraud")):
        quiet = run("store", *command, "-q")
        assert (quiet.code, quiet.out[:8], quiet.out.count("\n")) == (REFUSED, "refused ", 2)
        assert quiet.out.splitlines()[1].startswith("  Do not load it. ")


def test_verify_in_several_processes_finds_the_same(run: Any, store: Store, folder: Path) -> None:
    spoil(artifact(folder, "1.2"))
    artifact(folder, "1.0").unlink()
    artifact(folder, "1.0").mkdir()  # one that cannot be read hides nothing of the others
    one, two = (run("store", "verify", "--format", "json", "--jobs", jobs) for jobs in ("1", "2"))
    assert one.document["results"] == two.document["results"]
    assert [result["verdict"] for result in one.document["results"]] == [
        "error", "allowed", "refused", "allowed", "allowed"]  # fmt: skip
    assert (one.code, one.err) == (two.code, two.err)
    assert one.code == REFUSED
    assert run("store", "verify", "--jobs", "2", "--keyring", "fd:3").code == USAGE


def test_rollback_state_refuses_an_old_pointer(run: Any, store: Store, folder: Path, tmp_path: Path) -> None:
    pointer = folder / "fraud" / "channels" / "production.json"
    old = pointer.read_bytes()
    store.promote("fraud", "1.2")
    rollback_state = tmp_path / "state" / "rollback-state.json"
    assert Store(folder, rollback_state=rollback_state).load("fraud") == [3]
    pointer.write_bytes(old)
    assert run("store", "verify", "fraud").code == ALLOWED
    done = run("store", "verify", "fraud", "--rollback-state", rollback_state)
    assert (done.code, "SL108" in done.out) == (REFUSED, True)


def test_prune_says_first_and_then_does(run: Any, store: Store, folder: Path) -> None:
    for number in range(3, 6):
        store.save("fraud", [number], version=f"1.{number}")
    done = run("store", "prune", "fraud", "--keep", "1", "--dry-run")
    assert done == Outcome(ALLOWED, "".join(f"would remove fraud 1.{n}\n" for n in (2, 3, 4)), "")
    assert len(store.versions("fraud")) == 6
    done = run("store", "prune", "fraud", "--keep", "1", "--format", "json")
    assert (done.code, done.document["removed"]) == (ALLOWED, ["1.2", "1.3", "1.4"])
    assert [one.version for one in store.versions("fraud")] == ["1.0", "1.1", "1.5"]
    assert run("store", "prune", "fraud", "--keep", "1").out == "there is nothing to remove\n"
    (folder / "fraud" / "channels" / "production.json").write_bytes(b"{}")
    assert run("store", "prune", "fraud", "--keep", "1").code == REFUSED


def test_a_lost_pointer_is_replaced_by_number(run: Any, store: Store, folder: Path) -> None:
    (folder / "fraud" / "channels" / "production.json").write_bytes(b"{}")
    done = run("store", "promote", "fraud", "1.2")
    assert (done.code, "promote with a sequence" in done.err) == (REFUSED, True)
    assert run("store", "promote", "fraud", "1.2", "--sequence", "5").code == ALLOWED
    assert run("store", "promote", "fraud", "1.2", "--sequence", "5").code == USAGE
    assert store.channel("fraud").sequence == 5


USAGES = [
    ("store", "add", "fraud", "x.joblib"),  # no version
    ("store", "add", "../fraud", "x.joblib", "--version", "1"),
    ("store", "show", "nul"),
    ("store", "show", "モデル"),
    ("store", "promote", "fraud", "1/0"),
    ("store", "promote", "fraud", "x" * 65),
    ("store", "promote", "fraud", "1.0", "--channel", "-x"),
    ("store", "promote", "fraud", "1.0", "--reason", "two\nlines"),
    ("store", "promote", "fraud", "1.0", "--expires", "2020-01-01"),
    ("store", "promote", "fraud", "1.0", "--sequence", "0"),
    ("store", "add", "fraud", "m.joblib", "--version", "2", "--set", "a=1", "--set", "a=2"),
    ("store", "rollback", "fraud", "--to", ""),
    ("store", "prune", "fraud"),
    ("store", "prune", "fraud", "--keep", "0"),
    ("store", "frobnicate"),
    ("store",),
]


@pytest.mark.parametrize("arguments", USAGES, ids=lambda arguments: ascii(" ".join(arguments))[:60])
def test_wrong_usage(run: Any, store: Store, folder: Path, arguments: tuple[str, ...]) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json*")}
    assert run(*arguments).code == USAGE
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.json*")} == before


def test_what_is_not_there_could_not_be_judged(run: Any, folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    done = run("store", "list")
    assert (done.code, "there is no such store" in done.err) == (ERROR, True)
    folder.mkdir()
    (folder / "README.md").write_text("what is not a model")
    for name in ("list", "verify"):
        assert run("store", name).code == NOTHING
    done = run("store", "add", "new", tmp_path / "missing.joblib", "--version", "1")
    assert (done.code, "missing.joblib" in done.err) == (ERROR, True)
    assert run("store", "list").code == run("store", "verify").code == run("store", "show", "new").code == NOTHING
    for line in ("show fraud", "promote fraud 1", "rollback fraud", "verify fraud", "prune fraud --keep 1"):
        done = run("store", *line.split())
        assert (done.code, "fraud" in done.err) == (ERROR, True), line
    monkeypatch.delenv("SAFELOAD_STORE")
    done = run("store", "list")
    assert (done.code, "--store" in done.err) == (USAGE, True)


def test_nowhere_to_go_back_to_is_no_wrong_usage(run: Any, store: Store) -> None:
    assert run("store", "rollback", "fraud").code == ALLOWED
    for more, says in (((), "nothing to go back to"), (("--to", "1.2"), "to go on, promote it")):
        done = run("store", "rollback", "fraud", *more)
        assert (done.code, done.out, says in done.err, "Usage" in done.err) == (ERROR, "", True, False)
    assert store.channel("fraud").version == "1.0"


def test_what_cannot_be_read_hides_nothing_of_the_others(run: Any, store: Store, folder: Path) -> None:
    for path in (artifact(folder, "1.2"), folder / "fraud" / "channels" / "production.json"):
        path.unlink()
        path.mkdir()
    spoil(artifact(folder, "1.0"))
    reports = {Path(report.path).name: report for report in store.verify()}
    assert {name: report.verdict for name, report in reports.items()} == {
        "fraud-1.0.joblib": "refused", "fraud-1.1.joblib": "allowed", "fraud-1.2.joblib": "error",
        "production.json": "refused", "other-7.joblib": "allowed"}  # fmt: skip
    unread = reports["fraud-1.2.joblib"]
    assert (unread.allowed, unread.findings, unread.to_dict()["verdict"]) == (False, (), "error")
    assert unread.error is not None
    assert "folder, not an artifact" in unread.error
    with pytest.raises(safeload.StorageError, match="could not be judged"):
        unread.raise_if_refused()
    problems = {one.version: type(one.problem) for one in store.versions("fraud")}
    assert problems == {"1.0": safeload.DigestMismatchError, "1.1": type(None), "1.2": safeload.StorageError}
    for command in (("list",), ("show", "fraud")):
        done = run("store", *command)
        assert (done.code, "refused" in done.out, "folder, not an artifact" in done.out) == (REFUSED, True, True)
        assert done.err == ""
    document = run("store", "show", "fraud", "--format", "json").document
    assert [one["verdict"] for one in document["versions"]] == ["refused", "allowed", "error"]
    shutil.rmtree(folder / "fraud" / "versions" / "1.0")
    (folder / "fraud" / "channels" / "production.json").rmdir()
    with pytest.raises(safeload.StorageError, match="name its release: release=N"):
        store.save("fraud", [9], version="1.3")
    for command in (("list",), ("show", "fraud"), ("verify",)):  # nothing is refused, and one is not judged
        assert run("store", *command).code == ERROR


def test_a_file_is_no_store(run: Any, folder: Path) -> None:
    folder.write_text("what somebody put there")
    for command in (("list",), ("add", "fraud", folder, "--version", "1")):
        done = run("store", *command)
        assert (done.code, "no folder, so it is no store" in done.err) == (ERROR, True)


def test_add_refuses_what_the_policy_does(run: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "hostile.joblib").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    done = run("store", "add", "fraud", tmp_path / "hostile.joblib", "--version", "1")
    assert (done.code, "os.system" in done.err or "posix.system" in done.err) == (REFUSED, True)
    assert list(folder.rglob("*.joblib")) == []
    done = run("store", "add", "fraud", tmp_path / "hostile.joblib", "--version", "1", "--set", "x")
    assert done.code == USAGE


def test_what_is_refused_is_named_as_it_was_given(run: Any, folder: Path, tmp_path: Path) -> None:
    """What was copied into the store is not there any more."""
    path = tmp_path / "given.pkl"
    path.write_bytes(b"no pickle")
    done = run("store", "add", "m", path, "--version", "1")
    assert (done.code, f"{path}: refused" in done.err, ".safeload-" in done.err) == (REFUSED, True, False)
    with pytest.raises(safeload.MalformedArtifactError) as caught:
        Store(folder).add("m", path, version="1")
    assert caught.value.report.path == str(path)
    with pytest.raises(safeload.PolicyViolationError, match=r"versions/1/m-1\.joblib: refused"):
        Store(folder).save("m", Path("x"), version="1")


def test_no_model_no_folder(run: Any, store: Store, folder: Path) -> None:
    for arguments in (("promote", "none", "1"), ("rollback", "none")):
        done = run("store", *arguments)
        assert (done.code, "there is no model 'none' in this store" in done.err) == (ERROR, True)
    assert not (folder / "none").exists()


def test_who_can_only_verify_looks_and_moves_nothing(run: Any, store: Store, tmp_path: Path, monkeypatch: Any) -> None:
    key = SigningKey.generate("ed25519")
    shutil.rmtree(store.folder)
    writer = Store(store.folder, key=key)
    writer.save("fraud", [1], version="1.0")
    writer.promote("fraud", "1.0")
    ring = tmp_path / "public.toml"
    Keyring.from_keys([key.verifying_key]).save(ring)
    for command in (("list",), ("show", "fraud"), ("verify",)):
        assert run("store", *command, "--keyring", ring).code == ALLOWED
    done = run("store", "promote", "fraud", "1.0", "--keyring", ring)
    assert (done.code, "sign" in done.err) == (ERROR, True)
    assert json.loads(run("store", "show", "fraud", "--keyring", ring, "--format", "json").out)["channels"][0][
        "sequence"] == 1  # fmt: skip
