"""The fuzz command: that it runs, and that it finds a hole in either scanner."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.changed_package import changed_package
from support.children import environment
from support.places import ROOT

VECTORS = ROOT / "vectors" / "files"


def fuzz(corpus: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "fuzz", "--corpus", corpus, "--out", out, *more],
        capture_output=True, text=True, timeout=250, check=False, cwd=out.parent,
        env=environment(),
    )  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    names = ["honest/estimator.pkl", "honest/nested.joblib", "honest/wrapper.joblib", "honest/protocol-0.pkl",
             "honest-compressed/xz.joblib"]  # fmt: skip
    for name in names:
        shutil.copy(VECTORS / name, folder / name.replace("/", "."))
    return folder


def with_a_hole(folder: Path, *changes: tuple[str, str, str]) -> str:
    """Return an interpreter whose safeload is pure and has lines of its modules changed."""
    root = changed_package(folder, *changes)
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{root}:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
    os.chmod(script, 0o700)
    return str(script)


def test_nothing_is_found_in_a_few_hundred_artifacts(corpus: Path, tmp_path: Path) -> None:
    done = fuzz(
        corpus, tmp_path / "out", "--seconds", "60", "--most", "300", "--seed", "7", "--compiled", sys.executable
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {line.split()[0]: int(line.split()[1].rstrip(",:")) for line in done.stdout.splitlines()
              if line.startswith(("executions", "allowed", "refused", "disagreements", "crashes"))}  # fmt: skip
    assert counts["allowed"] >= 25
    assert counts["refused"] >= 50
    assert counts["executions"] == counts["allowed"] + counts["refused"]
    assert counts["disagreements"] == counts["crashes"] == 0
    assert not (tmp_path / "out").exists()


def test_it_finds_where_the_compiled_scanner_says_otherwise(corpus: Path, tmp_path: Path) -> None:
    other = with_a_hole(tmp_path, ("_scan/effects.py", '"a key without a value"', '"no value"'))
    shutil.copy(VECTORS / "memo" / "key-without-value.pkl", corpus / "odd")
    done = fuzz(corpus, tmp_path / "out", "--seconds", "0", "--compiled", other)
    assert done.returncode == 1, done.stdout + done.stderr
    saved = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert [one["problem"].startswith("the compiled scanner says otherwise") for one in saved] == [True]
    assert next((tmp_path / "out").glob("*.bin")).read_bytes() == (corpus / "odd").read_bytes()


def test_it_finds_where_joblib_does_otherwise(corpus: Path, tmp_path: Path) -> None:
    other = with_a_hole(
        tmp_path,
        ("_scan/machine.py", "if len(self.buf) > self.pos:", "if False:"),
        ("_judging/examine.py", "source.finish()", "pass"),
    )
    shutil.copy(VECTORS / "protocol" / "bytes-after-stop.pkl", corpus / "odd")
    done = fuzz(corpus, tmp_path / "out", "--seconds", "0", "--pure", other)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 bytes are left" in done.stdout
    replayed = fuzz(corpus, tmp_path / "out", "--replay", *map(str, (tmp_path / "out").glob("*.bin")))
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


HOLES = {
    "raises": ("[].remove(1)", "ValueError"),
    "takes memory": ("bytearray(1 << 30)", "MemoryError"),
    "hangs": ("while True: pass", "exit -27"),  # SIGPROF, after five seconds
}


@pytest.mark.slow
@pytest.mark.parametrize(("hole", "said"), HOLES.values(), ids=HOLES.keys())
def test_it_finds_a_scanner_that(hole: str, said: str, corpus: Path, tmp_path: Path) -> None:
    refusal = 'raise RefusedError("SL306", "a key without a value", self.at)'
    other = with_a_hole(tmp_path, ("_scan/effects.py", refusal, hole))
    shutil.copy(VECTORS / "memo" / "key-without-value.pkl", corpus / "odd")
    done = fuzz(corpus, tmp_path / "out", "--seconds", "0", "--pure", other)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the pure scanner crashed" in done.stdout
    assert any(said in json.loads(path.read_text())["problem"] for path in (tmp_path / "out").glob("*.json"))
