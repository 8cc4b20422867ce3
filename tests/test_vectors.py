"""The public vectors: each is judged as its index entry says, and those that are said to run code do so when loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import safeload
from safeload.findings import FINDING_KINDS

VECTORS = Path(__file__).parent / "vectors"
ENTRIES: list[dict[str, Any]] = json.loads((VECTORS / "index.json").read_text(encoding="utf-8"))["vectors"]

FIELDS = {"name", "file", "category", "description", "compressor", "protocol", "expect", "threat", "origin"}
COMPRESSORS = {"none", "zlib", "gzip", "bz2", "xz", "lzma", "lz4"}
THREATS = {"code", "names", "files", "memory", "exhaustion", "form"}
CATEGORIES = {
    "after-array", "array", "call", "compression", "dtype", "frame", "honest", "honest-compressed", "item", "key",
    "look-alike", "memo", "mmap", "name", "nested", "opcode", "padding", "payload", "prefix", "protocol", "real",
    "size", "spelling", "stack-global", "state", "truncated", "wrapper-making", "wrapper-state",
}  # fmt: skip


def complaint(entry: dict[str, Any]) -> str:
    """Return what is wrong with an index entry, "" if nothing."""
    expect, origin = entry.get("expect"), entry.get("origin")
    if expect not in ("allowed", "refused"):
        return "unknown expectation"
    if origin not in ("opcodes", "real"):
        return "unknown origin"
    wanted = FIELDS | ({"code"} if expect == "refused" else set()) | ({"written_by"} if origin == "real" else set())
    if set(entry) != wanted:
        return f"fields missing or unknown: {set(entry) ^ wanted}"
    if expect == "refused" and entry["code"] not in FINDING_KINDS:
        return "unknown code"
    if entry["threat"] not in (THREATS if expect == "refused" else {"none"}):
        return "unknown threat"
    if entry["category"] not in CATEGORIES or not entry["name"].startswith(entry["category"] + "/"):
        return "unknown category"
    if entry["compressor"] not in COMPRESSORS | ({"compat"} if expect == "refused" else set()):
        return "unknown compressor"
    if entry["protocol"] is not None and type(entry["protocol"]) is not int:
        return "unknown protocol"
    if not entry["file"].startswith("files/") or ".." in entry["file"] or not entry["description"]:
        return "file or description"
    return ""


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["name"] for entry in ENTRIES])
def test_each_vector_is_judged_as_its_entry_says(entry: dict[str, Any]) -> None:
    assert complaint(entry) == ""
    report = safeload.scan(VECTORS / entry["file"], policy="sklearn")
    assert report.verdict == entry["expect"], report.explanation()
    if entry["expect"] == "refused":
        assert report.findings[0].code == entry["code"], report.explanation()
    else:
        assert report.compression == entry["compressor"]
        # Protocols 0 and 1 do not state themselves.
        assert entry["protocol"] is None or report.protocol == (entry["protocol"] if entry["protocol"] > 1 else 0)


@pytest.mark.parametrize(
    "change",
    [
        {"expect": "maybe"}, {"expect": None}, {"more": 1}, {"origin": "x"}, {"threat": "x"}, {"category": "x"},
        {"compressor": "x"}, {"protocol": "4"}, {"code": "SL999"}, {"description": ""}, {"file": "../../x"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("expect", ["allowed", "refused"])
def test_an_entry_that_is_not_understood_is_an_error(change: dict[str, Any], expect: str) -> None:
    entry = next(entry for entry in ENTRIES if entry["expect"] == expect and entry["origin"] == "opcodes")
    assert complaint(entry) == ""
    assert complaint({**entry, **change}) != ""
    for field in entry:
        assert complaint({name: value for name, value in entry.items() if name != field}) != ""


def test_every_file_has_one_entry_and_every_entry_a_file() -> None:
    index = json.loads((VECTORS / "index.json").read_text(encoding="utf-8"))
    assert set(index) == {"version", "vectors"}
    assert index["version"] == 1
    listed = [entry["file"] for entry in ENTRIES]
    assert len(set(listed)) == len(listed) == len({entry["name"] for entry in ENTRIES})
    there = {path.relative_to(VECTORS).as_posix() for path in (VECTORS / "files").rglob("*") if path.is_file()}
    assert set(listed) == there


def test_there_are_enough_and_they_are_small() -> None:
    assert len(ENTRIES) >= 250
    for expect in ("allowed", "refused"):
        chosen = [entry for entry in ENTRIES if entry["expect"] == expect]
        assert {entry["compressor"] for entry in chosen} >= COMPRESSORS
        assert {entry["protocol"] for entry in chosen} >= set(range(6))
    assert {entry["category"] for entry in ENTRIES} == CATEGORIES
    sizes = [(VECTORS / entry["file"]).stat().st_size for entry in ENTRIES]
    assert max(sizes) < 25_000
    assert sum(sizes) < 1_500_000


def test_those_from_opcodes_are_as_the_script_writes_them() -> None:
    done = subprocess.run([sys.executable, VECTORS / "make.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


LOAD = """
import contextlib, io, sys, warnings
import joblib, sklearn.linear_model, sklearn.preprocessing

seen = []
def watch(event, args):
    if event in ("os.putenv", "os.unsetenv") or (event == "import" and args[0] == "this"):
        seen.append(event)

sys.addaudithook(watch)
warnings.simplefilter("ignore")
for name in sys.stdin.read().splitlines():
    seen.clear()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        joblib.load(name)
    print("ran" if seen else "did nothing", name)
"""


def load_all(names: list[str]) -> dict[str, str]:
    """Load in another process, and say of each file whether the harmless call in it ran."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD], input="\n".join(names), cwd=VECTORS, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return {line.split(" files/")[1]: line.split(" files/")[0] for line in done.stdout.splitlines()}


def test_vectors_that_are_said_to_run_code_do_and_the_allowed_ones_do_not() -> None:
    chosen = {entry["file"]: entry for entry in ENTRIES if entry["threat"] in ("code", "none")}
    if int(np.__version__.split(".")[0]) < 2:  # their arrays are named as numpy 2 names them
        chosen = {name: entry for name, entry in chosen.items() if entry["category"] not in ("nested", "honest")}
    said = load_all(list(chosen))
    assert len(said) == len(chosen) > 150
    for name, what in said.items():
        assert what == ("ran" if chosen["files/" + name]["threat"] == "code" else "did nothing"), name
