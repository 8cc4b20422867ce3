"""The public vectors: each is judged as its index entry says, and those that are said to run code do so when loaded."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import Any

import jsonschema
import numpy as np
import pytest

import safeload
from safeload.findings import FINDING_KINDS
from support.children import environment
from support.places import ROOT

VECTORS = ROOT / "vectors"
ENTRIES: list[dict[str, Any]] = json.loads((VECTORS / "index.json").read_text(encoding="utf-8"))["vectors"]

COMPRESSORS = {"none", "zlib", "gzip", "bz2", "xz", "lzma", "lz4"}
THREATS = {"code", "names", "files", "memory", "exhaustion", "form"}
CATEGORIES = {
    "after-array", "array", "call", "compression", "dtype", "frame", "honest", "honest-compressed", "item", "key",
    "look-alike", "memo", "mmap", "name", "nested", "opcode", "padding", "payload", "prefix", "protocol", "real",
    "size", "spelling", "stack-global", "state", "truncated", "wrapper-making", "wrapper-state",
}  # fmt: skip


INDEX: dict[str, Any] = json.loads((VECTORS / "index.json").read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json.loads((VECTORS / "schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def understood(entry: dict[str, Any]) -> bool:
    """Whether an index with this one entry is as the schema says."""
    return bool(VALIDATOR.is_valid({**INDEX, "vectors": [entry]}))


def test_the_index_is_as_its_schema_says() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    VALIDATOR.validate(INDEX)
    assert all(entry["name"].startswith(entry["category"] + "/") for entry in ENTRIES)
    assert {entry["code"] for entry in ENTRIES if entry["expect"] == "refused"} <= set(FINDING_KINDS)


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["name"] for entry in ENTRIES])
def test_each_vector_is_judged_as_its_entry_says(entry: dict[str, Any]) -> None:
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
        {"expect": "maybe"}, {"expect": None}, {"more": 1}, {"origin": "x"}, {"threat": "x"}, {"category": ""},
        {"compressor": "x"}, {"protocol": "4"}, {"code": "x"}, {"description": ""}, {"file": "../../x"}, {"size": "1"},
        {"sha256": "0"}, {"needs": ["os"]}, {"name": "x"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("expect", ["allowed", "refused"])
def test_an_entry_that_is_not_understood_is_an_error(change: dict[str, Any], expect: str) -> None:
    entry = next(entry for entry in ENTRIES if entry["expect"] == expect and entry["origin"] == "opcodes")
    assert understood(entry)
    assert not understood({**entry, **change})
    for field in entry:
        assert not understood({name: value for name, value in entry.items() if name != field})


def test_every_file_has_one_entry_and_every_entry_a_file() -> None:
    listed = [entry["file"] for entry in ENTRIES]
    assert len(set(listed)) == len(listed) == len({entry["name"] for entry in ENTRIES})
    there = {path.relative_to(VECTORS).as_posix() for path in (VECTORS / "files").rglob("*") if path.is_file()}
    assert set(listed) == there
    for entry in ENTRIES:
        data = (VECTORS / entry["file"]).read_bytes()
        assert (entry["size"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest()), entry["name"]


def test_the_version_changes_with_the_content() -> None:
    digest = hashlib.sha256(json.dumps(ENTRIES, sort_keys=True).encode()).hexdigest()
    assert INDEX["version"] == f"2-{digest[:12]}", "run vectors.make, as CONTRIBUTING.md says"


def run_vectors(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-S", "-I", str(VECTORS / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_runner_tells_how_a_scanner_judges() -> None:
    code = "import sys; from safeload._cli import main; main(['scan', '-q', sys.argv[1]])"
    done = run_vectors("--only", "after-array/", sys.executable, "-c", code, "{}")
    count = sum(entry["category"] == "after-array" for entry in ENTRIES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"vectors {INDEX['version']}" in done.stdout
    assert sum(int(row.split("|")[3]) for row in done.stdout.splitlines()[4:]) == count
    assert sum(int(row.split("|")[4]) for row in done.stdout.splitlines()[4:]) == count


@pytest.mark.parametrize(("code", "errors"), [("0", False), ("2", True)])
def test_the_runner_is_not_content_with_a_scanner_that_allows_all_or_fails(code: str, errors: bool) -> None:
    done = run_vectors("--only", "payload/", sys.executable, "-S", "-c", f"raise SystemExit({code})", "{}")
    assert done.returncode == 1
    for row in done.stdout.splitlines()[4:]:
        _, expect, _, total, expected, failed, _ = (part.strip() for part in row.split("|"))
        assert (expected, failed) == (total if expect == "allowed" and not errors else "0", total if errors else "0")
    assert run_vectors("no place for the path").returncode == 2


def test_the_runner_needs_the_standard_library_alone_and_is_short() -> None:
    text = (VECTORS / "run.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60


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
    command = [sys.executable, "-P", "-m", "vectors.make", "--check"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
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
