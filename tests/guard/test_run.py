"""safeload run: programs that know nothing of safeload."""

from __future__ import annotations

import pickle
import subprocess
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

import safeload
from safeload.keys import KeyEntry, Keyring
from support.children import environment
from support.cli_runs import command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SCRIPT = """
    import os
    import sys

    from joblib import load

    import beside

    model = load(sys.argv[1], mmap_mode=None)
    print(type(model).__name__, sys.argv[1:], __name__, os.environ["SAFELOAD_GUARD"])
    sys.exit(beside.CODE)
"""
WORKERS = """
    import sys

    from joblib import Memory, Parallel, delayed

    def square(n):
        return n * n

    if __name__ == "__main__":
        cached = Memory(sys.argv[1], verbose=0).cache(square)
        print(Parallel(n_jobs=2)(delayed(square)(n) for n in range(3)), cached(3), cached(3))
"""


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("__import__('os').mkdir('ran')",)


@pytest.fixture
def run(tmp_path: Path, key: safeload.SigningKey) -> Callable[..., subprocess.CompletedProcess[str]]:
    ring = Keyring([KeyEntry(key, "active", datetime.now(UTC))])
    ring.save(tmp_path / "ring.toml")
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    (tmp_path / "workers.py").write_text(textwrap.dedent(WORKERS))
    (tmp_path / "beside.py").write_text("CODE = 7\n")
    variables = environment() | {"SAFELOAD_KEYRING": str(tmp_path / "ring.toml")}
    variables.pop("PYTHONSAFEPATH", None)

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return command("run", *arguments, cwd=tmp_path, env=variables | more)

    return run


def test_a_script_serves_a_signed_model_and_refuses_others(run: Any, signed: Path) -> None:
    result = run("script.py", "model.joblib", "--policy", "x")
    shown = "Pipeline ['model.joblib', '--policy', 'x'] __main__ 1\n"
    assert (result.returncode, result.stdout, result.stderr) == (7, shown, "")

    result = run("-m", "script", "model.joblib", "-m")
    assert (result.returncode, result.stdout.split()[0]) == (7, "Pipeline"), result.stderr

    artifact = signed.read_bytes()
    signed.write_bytes(artifact[:-9] + bytes([artifact[-9] ^ 1]) + artifact[-8:])
    result = run("script.py", "model.joblib")
    assert (result.returncode, result.stdout) == (1, "")
    assert "DigestMismatchError" in result.stderr
    assert "click" not in result.stderr  # the traceback begins in the script

    signed.write_bytes(artifact)
    signed.with_name("model.joblib.manifest.json").unlink()
    result = run("script.py", "model.joblib")
    assert (result.returncode, result.stdout) == (1, "")
    assert "UnsignedError" in result.stderr

    result = run("--unsigned", "scan", "script.py", "model.joblib")
    assert (result.returncode, result.stdout.split()[0]) == (7, "Pipeline"), result.stderr
    assert "NOT VERIFIED" in result.stderr

    signed.write_bytes(pickle.dumps(Evil()))
    for options in ((), ("--unsigned", "scan"), ("--strict",)):
        result = run(*options, "script.py", "model.joblib")
        assert (result.returncode, result.stdout) == (1, "")
    assert not (signed.parent / "ran").exists()


def test_workers_and_caches_go_on(run: Any, tmp_path: Path) -> None:
    result = run("workers.py", str(tmp_path / "cache"))
    assert (result.returncode, result.stdout) == (0, "[0, 1, 4] 9 9\n"), result.stderr


@pytest.mark.parametrize(
    ("text", "code", "err"),
    [
        ("", 0, ""),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit('no')", 1, "no\n"),
        ("import sys; sys.exit(3)", 3, ""),
        ("raise KeyboardInterrupt", 130, ""),
    ],
)
def test_the_exit_code_is_that_of_the_script(run: Any, tmp_path: Path, text: str, code: int, err: str) -> None:
    (tmp_path / "other.py").write_text(text)
    result = run("other.py")
    assert (result.returncode, result.stdout, result.stderr) == (code, "", err)


def test_strict_stops_loads_of_bytes(run: Any, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(f"import pickle; pickle.loads({pickle.dumps(Evil())!r})")
    result = run("--strict", "other.py")
    assert (result.returncode, result.stdout) == (1, "")
    assert "TripwireError" in result.stderr
    assert not (tmp_path / "ran").exists()


def test_what_cannot_be_run_says_so(run: Any, tmp_path: Path) -> None:
    for arguments, more, code, text in (
        ((), {}, 4, "there is nothing to run"),
        (("script.py",), {"SAFELOAD_GUARD": "0"}, 4, "can only be 1"),
        (("script.py",), {"SAFELOAD_KEYRING": str(tmp_path / "none.toml")}, 2, "none.toml"),
        (("--policy", "none", "script.py"), {}, 2, "none"),
        (("missing.py",), {}, 1, "missing.py"),
        (("-m", "missing_module"), {}, 1, "missing_module"),
    ):
        result = run(*arguments, **more)
        assert (result.returncode, result.stdout) == (code, ""), result.stderr
        assert text in result.stderr
