"""Folders are walked by contents: what is looked at, what is skipped, and how every report says so."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import joblib
import pytest

import safeload
from safeload._storage.pair import manifest_path
from support.cli_runs import ALLOWED, ERROR, NOTHING, REFUSED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("own_home")

NAMES = [
    "a.sav",
    "a.p",
    "a.pk",
    "a.model",
    "a.dump",
    "a.jl",
    "a.mdl",
    "a.dill",
    "a.bak",
    "model",
    "a.joblib.2024",
    "a.JOBLIB.old",
]
PACKED = ["a.z", "a.gz", "packed"]
OTHERS = {
    "README.md": b"# Models\n",
    "labels.txt": b"cat\ndog\nRabbit\n",
    "requirements.txt": b"xgboost==2.0\n",
    "data.csv.gz": gzip.compress(b"Name,Age\n"),
    "empty": b"",
    "weights.npy": b"\x93NUMPY\x01\x00" + bytes(20),
}


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    path = tmp_path / "ring.toml"
    safeload.Keyring.from_keys([safeload.SigningKey.generate(key_id="team")]).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Artifacts under names that say nothing, and other files."""
    path = tmp_path / "models"
    (path / ".hidden" / ".ipynb_checkpoints").mkdir(parents=True)
    for protocol, name in enumerate(NAMES):
        (path / name).write_bytes(pickle.dumps([1, {"a": 2.5}], protocol % 6))
    for name in PACKED:
        joblib.dump([1], path / name, compress=("zlib" if name == "a.z" else "gzip", 3))
    joblib.dump([1], path / ".hidden" / ".ipynb_checkpoints" / "copy.model")
    for name, data in OTHERS.items():
        (path / name).write_bytes(data)
    return path


def names_of(document: dict[str, Any], key: str) -> set[str]:
    return {Path(entry["path"]).name for entry in document[key]}


@pytest.mark.parametrize("command", ["scan", "verify", "sign", "audit"])
def test_files_are_looked_at_for_their_contents(
    run: Callable[..., Outcome], folder: Path, ring: Path, command: str
) -> None:
    keyring = [] if command == "scan" else ["--keyring", ring]
    if command == "verify":
        assert run("sign", folder, "--keyring", ring).code == ALLOWED
    outcome = run(command, folder, *keyring, "--format", "json", "--list-skipped")
    assert outcome.code == ALLOWED
    assert names_of(outcome.document, "results") == {*NAMES, *PACKED, "copy.model"}
    assert names_of(outcome.document, "skipped") == {*OTHERS}
    assert outcome.document["summary"]["skipped"] == len(OTHERS)
    reasons = {Path(one["path"]).name: one["reason"] for one in outcome.document["skipped"]}
    assert reasons["empty"] == "an empty file"
    assert reasons["weights.npy"] == "a NumPy .npy array"
    assert reasons["README.md"] == "it does not begin as a pickle"


def test_signatures_are_replaced_in_the_same_files(run: Callable[..., Outcome], folder: Path, ring: Path) -> None:
    signed = {*NAMES, *PACKED, "copy.model"}
    assert run("sign", folder, "--keyring", ring).code == ALLOWED
    rotated = run("key", "rotate", "--keyring", ring, "--id", "next", "--re-sign", folder, "--format", "json")
    assert (rotated.code, rotated.document["summary"]["skipped"]) == (ALLOWED, len(OTHERS))
    assert names_of(rotated.document, "results") == signed
    again = run("re-sign", folder, "--keyring", ring)
    assert again.code == ALLOWED
    assert again.out.splitlines()[-1] == (
        f"{len(signed)} looked at: 0 signed, {len(signed)} left as they were; "
        f"{len(OTHERS)} skipped (--list-skipped lists them)"
    )
    learned = run("policy", "learn", folder)
    assert f"{len(signed)} looked at; {len(OTHERS)} skipped" in learned.err


def test_text_counts_what_was_skipped_on_its_last_line_and_lists_it_on_request(
    run: Callable[..., Outcome], folder: Path
) -> None:
    count = len(NAMES) + len(PACKED) + 1
    last = f"{count} checked: {count} allowed, 0 refused; {len(OTHERS)} skipped (--list-skipped lists them)"
    outcome = run("scan", folder)
    assert outcome.out.splitlines()[-1] == last
    assert "README" not in outcome.out
    outcome = run("scan", folder, "--list-skipped")
    assert outcome.out.splitlines()[-1] == last
    assert f"skipped   {folder / 'README.md'}\n          it does not begin as a pickle\n" in outcome.out
    assert run("scan", folder, "--quiet").out == ""


def test_a_hostile_file_hides_behind_no_name(run: Callable[..., Outcome], tmp_path: Path, ring: Path) -> None:
    hidden = [
        ".git/objects/ab/cd",
        ".cache/x",
        "notes.txt",
        "a.json",
        "b.manifest.json",
        ".safeload",
        "img.png",
        "deep/er/x",
    ]
    for number, name in enumerate(hidden):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            (b"cos\nsystem\n(S'id'\ntR.", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.")[number % 2]
        )
    for command in (["scan"], ["sign", "--keyring", ring], ["verify", "--keyring", ring]):
        outcome = run(*command, tmp_path / "in", "--format", "json")
        assert outcome.code == REFUSED
        assert {one["path"] for one in outcome.document["results"] if one["verdict"] == "refused"} == {
            str(tmp_path / "in" / name) for name in hidden
        }
    assert not list(tmp_path.glob("in/**/*.manifest.json.next"))


def test_a_manifest_without_its_artifact_is_a_finding(run: Callable[..., Outcome], tmp_path: Path, ring: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("a.joblib", "b.joblib"):
        safeload.dump([1], folder / name, key=ring)
    (folder / "b.joblib").unlink()
    orphan = str(manifest_path(folder / "b.joblib"))
    outcome = run("verify", folder, "--keyring", ring)
    assert outcome.code == ALLOWED
    assert f"skipped   {orphan}\n          SL110 missing artifact: there is no b.joblib beside this" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("1 checked: 1 allowed, 0 refused; 1 skipped")
    document = run("verify", folder, "--keyring", ring, "--format", "json").document
    ((one,), (finding,)) = document["skipped"], document["skipped"][0]["findings"]
    assert (one["path"], finding["code"]) == (orphan, "SL110")
    sarif = run("verify", folder, "--keyring", ring, "--format", "sarif").document["runs"][0]
    assert [(one["ruleId"], one["level"]) for one in sarif["results"]] == [("SL110", "warning")]
    assert sarif["properties"]["skipped"] == 1
    strict = run("verify", folder, "--keyring", ring, "--strict", "--format", "json")
    assert strict.code == REFUSED
    refused = [one for one in strict.document["results"] if one["verdict"] == "refused"]
    assert [(one["path"], one["findings"][0]["code"]) for one in refused] == [(orphan, "SL110")]


def test_the_other_formats_count_and_list(run: Callable[..., Outcome], folder: Path) -> None:
    suite = ET.fromstring(run("scan", folder, "--format", "junit").out).find("testsuite")
    assert suite is not None
    assert {one.get("name"): one.get("value") for one in suite.iter("property")} == {
        "files skipped": str(len(OTHERS)),
        "files excluded": "0",
    }
    assert suite.get("skipped") == "0"
    suite = ET.fromstring(run("scan", folder, "--format", "junit", "--list-skipped").out).find("testsuite")
    assert suite is not None
    assert (suite.get("skipped"), len(list(suite.iter("skipped")))) == (str(len(OTHERS)), len(OTHERS))
    assert suite.get("tests") == str(len(list(suite.iter("testcase"))))
    page = run("scan", folder, "--format", "html").out
    assert f"{len(OTHERS)} skipped, 0 excluded" in page
    assert "README.md" not in page
    assert "README.md" in run("scan", folder, "--format", "html", "--list-skipped").out
    sarif = run("scan", folder, "--format", "sarif", "--list-skipped").document["runs"][0]
    assert sarif["properties"]["skipped"] == len(OTHERS)
    notes = sarif["invocations"][0]["toolExecutionNotifications"]
    assert {note["level"] for note in notes} == {"note"}
    assert len(notes) == len(OTHERS)
    assert sarif["invocations"][0]["executionSuccessful"] is True


@pytest.mark.parametrize("command", ["scan", "verify", "sign", "audit", "re-sign"])
def test_strict_fails_on_what_is_skipped(run: Callable[..., Outcome], folder: Path, ring: Path, command: str) -> None:
    keyring = [] if command == "scan" else ["--keyring", ring]
    if command in ("verify", "re-sign"):
        run("sign", folder, "--keyring", ring)
    if command == "re-sign":
        run("key", "rotate", "--keyring", ring)
    outcome = run(command, folder, *keyring, "--strict", "--format", "json")
    assert outcome.code == REFUSED
    refused = [one for one in outcome.document["results"] if one["verdict"] == "refused"]
    assert {Path(one["path"]).name for one in refused} == {*OTHERS}
    assert {one["findings"][0]["code"] for one in refused} == {"SL111"}
    patterns = [part for name in OTHERS for part in ("--exclude", name)]
    outcome = run(command, folder, *keyring, "--strict", *patterns)
    assert outcome.code == ALLOWED
    assert f"; {len(OTHERS)} excluded" in outcome.out


def test_patterns(run: Callable[..., Outcome], folder: Path) -> None:
    def looked_at(*options: str) -> set[str]:
        document = run("scan", folder, *options, "--format", "json").document
        return {os.path.relpath(one["path"], folder) for one in document["results"]}

    assert looked_at("--include", "a.p*") == {"a.p", "a.pk"}
    assert looked_at("--include", "*.z", "--include", "model") == {"a.z", "model"}
    assert looked_at("--include", ".hidden/*") == {".hidden/.ipynb_checkpoints/copy.model"}
    assert ".hidden/.ipynb_checkpoints/copy.model" not in looked_at("--exclude", ".ipynb_checkpoints")
    assert ".hidden/.ipynb_checkpoints/copy.model" not in looked_at("--exclude", ".hidden/")
    assert looked_at("--include", "a.*", "--exclude", "a.[!p]*") == {"a.p", "a.pk"}
    assert run("scan", folder, "--include", "nothing").code == NOTHING
    assert run("scan", folder / "a.p", "--exclude", "a.p").code == ALLOWED  # a file that is named is looked at


def test_links_and_special_files(run: Callable[..., Outcome], tmp_path: Path) -> None:
    folder, other = tmp_path / "in", tmp_path / "other"
    (folder / "real").mkdir(parents=True)
    other.mkdir()
    joblib.dump([1], other / "x")
    joblib.dump([1], folder / "real" / "y")
    (folder / "to_file").symlink_to(other / "x")
    (folder / "to_folder").symlink_to(other)
    (folder / "inside").symlink_to("real")
    (folder / "round").symlink_to(folder)
    (folder / "nowhere").symlink_to("nothing")
    os.mkfifo(folder / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(folder)  # a socket's path is short
    try:
        listener.bind("socket")
    finally:
        os.chdir(here)
        listener.close()
    outcome = run("scan", folder, "--format", "json", "--list-skipped")
    assert outcome.code == ALLOWED
    assert names_of(outcome.document, "results") == {"to_file", "y"}
    assert {Path(one["path"]).name: one["reason"] for one in outcome.document["skipped"]} == {
        "to_folder": "a link to a folder, which is not followed: name that folder",
        "nowhere": "a link that leads to no file",
        "pipe": "a named pipe",
        "socket": "a socket",
    }
    assert run("scan", folder, "--strict").code == REFUSED
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_an_error(run: Callable[..., Outcome], folder: Path) -> None:
    (folder / "README.md").chmod(0)
    outcome = run("scan", folder)
    assert outcome.code == ERROR
    assert f"{folder / 'README.md'}: Permission denied" in outcome.err


def test_leftovers_of_a_writer_are_counted(run: Callable[..., Outcome], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    joblib.dump([1], folder / "a")
    joblib.dump([1], folder / ".safeload-0123456789abcdef-00.joblib")
    (folder / ".safeload-0123456789abcdef.lock").touch()
    (folder / "b.joblib.manifest.json.next").write_text("{}")
    document = run("scan", folder, "--format", "json", "--list-skipped").document
    assert names_of(document, "results") == {"a"}
    assert names_of(document, "skipped") == {".safeload-0123456789abcdef-00.joblib", "b.joblib.manifest.json.next"}


def test_a_folder_that_is_a_store_points_to_store_verify(
    run: Callable[..., Outcome], tmp_path: Path, ring: Path
) -> None:
    store = safeload.Store(tmp_path / "models", keyring=ring)
    store.save("fraud", [1], version="1.0")
    store.promote("fraud", "1.0", "production")
    outcome = run("verify", tmp_path / "models", "--keyring", ring, "--strict")
    assert outcome.code == ALLOWED
    assert "models is a store: safeload store verify checks its channels, too" in outcome.err
    assert json.loads(run("verify", tmp_path / "models", "--keyring", ring, "--format", "json").out)["summary"] == {
        "checked": 1, "allowed": 1, "refused": 0, "error": 0, "would_not_load_here": 0, "skipped": 0,
        "excluded": 0,
    }  # fmt: skip
