"""The command line: exit codes, streams, formats, and that nothing in a file or a name gets the better of it."""

from __future__ import annotations

import ipaddress
import json
import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import joblib
import pytest

import safeload
from safeload._scan import COMPILED
from safeload._storage.pair import manifest_path
from support.cli_runs import ALLOWED, ERROR, NOTHING, REFUSED, USAGE, WITH_PATIENCE, Outcome, command, run_on_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("own_home")
ESCAPE = "\x1b[31m"


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    path = tmp_path / "ring.toml"
    safeload.Keyring.from_keys([safeload.SigningKey.generate(key_id="team")]).save(path)
    return path


@pytest.fixture
def models(tmp_path: Path, pipeline: Any, ring: Path) -> Path:
    """A folder with two signed artifacts."""
    folder = tmp_path / "models"
    folder.mkdir()
    safeload.dump(pipeline, folder / "b.joblib", key=ring, metadata={"accuracy": 0.9})
    safeload.dump({"a": 1}, folder / "a.pkl.gz", key=ring)
    return folder


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps(Hostile(tmp_path / "marker"), protocol=4))
    return path


def tamper(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# ---------------------------------------------------------------------------------------------- as a process


def test_the_demo_runs_and_leaves_nothing(tmp_path: Path) -> None:
    done = command("demo", cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (ALLOWED, "")
    for code in ("SL201", "SL101", "SL103", "SL104", "SL107", "SL405"):
        assert f"refused {code}" in done.stdout
    assert "What next" in done.stdout
    assert ESCAPE[0] not in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_demo_says_which_scanner_runs(run: Callable[..., Outcome]) -> None:
    first = run("demo").out.splitlines()[0]
    assert first.startswith(f"safeload {safeload.__version__}, ")
    assert ("compiled scanner" in first) == COMPILED


def test_the_demo_says_so_when_something_is_not_refused(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One bit of nothing: the "tampered" copy is a genuine one.
    from safeload._cli.commands import demo

    monkeypatch.setattr(demo, "_tampered", lambda show: demo._copy_pair(show, "tampered"))
    outcome = run("demo")
    assert outcome.code == REFUSED
    assert "the demo went wrong" in outcome.err
    assert "one bit of it is changed: load should refuse it" in outcome.err
    assert "All as it should be" not in outcome.out


def test_from_a_key_to_a_verdict(
    tmp_path: Path, pipeline: Any, run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    joblib.dump(pipeline, "model.joblib")
    for arguments, code in (
        (("verify", "model.joblib"), ERROR),  # no keyring yet
        (("key", "new"), ALLOWED),
        (("verify", "model.joblib"), REFUSED),  # unsigned
        (("sign", "model.joblib", "--version", "1.2", "--set", "team=fraud", "--expires", "90d"), ALLOWED),
        (("sign", "model.joblib"), ALLOWED),  # signed already, and left as it is
        (("verify", "model.joblib"), ALLOWED),
        (("verify", "model.joblib", "--min-release", "2"), REFUSED),
        (("sign", "model.joblib", "--overwrite"), ALLOWED),
        (("verify", "model.joblib", "--min-release", "2"), ALLOWED),
        (("scan", "model.joblib"), ALLOWED),
        (("inspect", "model.joblib"), ALLOWED),
    ):
        done = run(*arguments)
        assert done.code == code, (arguments, done)
        assert (done.err == "") == (code in (ALLOWED, REFUSED)) or arguments[0] == "key"
    assert command("verify", "model.joblib").returncode == ALLOWED  # as a process of its own
    tamper(tmp_path / "model.joblib")
    process = command("verify", "model.joblib")
    assert (process.returncode, process.stderr) == (REFUSED, "")
    assert "SL201" in process.stdout


def test_several_processes_give_the_same_report(models: Path, ring: Path, hostile: Path, tmp_path: Path) -> None:
    arguments = ("verify", models, hostile, tmp_path / "missing", "--keyring", ring, "--format", "json")
    one, three = command(*arguments), command(*arguments, "--jobs", "3")
    assert one.returncode == three.returncode == REFUSED
    assert one.stdout == three.stdout
    assert one.stderr == three.stderr
    assert [Path(result["path"]).name for result in json.loads(one.stdout)["results"]] == [
        "a.pkl.gz",
        "b.joblib",
        "hostile.pkl",
        "missing",
    ]


def test_batches_of_files_keep_their_order(models: Path, hostile: Path, tmp_path: Path) -> None:
    content = (models / "b.joblib").read_bytes()
    for number in range(40):
        (tmp_path / f"{number:02}.pkl").write_bytes(hostile.read_bytes() if number % 9 == 5 else content)
    (tmp_path / "17.pkl").write_bytes(content + bytes(5 << 20))  # on its own
    (tmp_path / "31.pkl").unlink()
    os.mkfifo(tmp_path / "31.pkl")
    arguments = ("scan", tmp_path, tmp_path / "missing", "--format", "json")
    one, two = command(*arguments), command(*arguments, "--jobs", "2")
    assert (one.returncode, one.stdout, one.stderr) == (two.returncode, two.stdout, two.stderr)
    verdicts = [result["verdict"] for result in json.loads(two.stdout)["results"]]
    assert [verdicts[number] for number in (4, 5, 16, 17, 31, -1)] == [
        "allowed", "refused", "allowed", "refused", "error", "error",
    ]  # fmt: skip


def test_startup_is_light() -> None:
    code = "import sys, safeload._cli; print([m for m in ('joblib', 'numpy', 'sklearn', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_result_that_cannot_be_written_is_an_error(models: Path) -> None:
    with Path("/dev/full").open("w") as full:
        for arguments in (("scan", models), ("--help",), ("--version",)):
            done = command(*arguments, stdout=full, capture_output=False, stderr=subprocess.PIPE)
            assert done.returncode == ERROR
            assert "No space left" in done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("name", "code"), [("a.pkl.gz", ALLOWED), ("../hostile.pkl", REFUSED)])
def test_a_reader_who_leaves_does_not_change_the_verdict(models: Path, hostile: Path, name: str, code: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        done = command("scan", models / name, stdout=nobody, capture_output=False, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (code, "")


def test_output_that_cannot_hold_a_name_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "模型.pkl"
    path.write_bytes(pickle.dumps(1))
    done = command("scan", path, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert done.returncode == ALLOWED
    assert "\\u6a21\\u578b.pkl" in done.stdout


def test_colours_are_for_terminals_and_not_with_no_color(models: Path, ring: Path) -> None:
    commands: list[tuple[str | Path, ...]] = [
        ("scan", models),
        ("inspect", models / "b.joblib"),
        ("key", "list", "--keyring", ring),
    ]
    for arguments in commands:
        code, shown = run_on_terminal(*arguments)
        assert code == ALLOWED
        assert b"\x1b[" in shown
        code, shown = run_on_terminal(*arguments, NO_COLOR="1")
        assert code == ALLOWED
        assert b"\x1b" not in shown


def test_progress_is_shown_to_who_watches_long_work(models: Path) -> None:
    # Two processes: their start alone takes longer than the bar's.
    arguments: list[str | Path] = ["scan", models, models, "--jobs", "2"]
    assert b"checking" in run_on_terminal(*arguments, patience=0)[1]
    assert b"checking" not in run_on_terminal(*arguments, "--quiet", patience=0)[1]
    command = [sys.executable, "-c", WITH_PATIENCE.format(patience=0), *map(str, arguments)]
    piped = subprocess.run(command, capture_output=True, check=True)
    assert (piped.stderr, b"checking" in piped.stdout) == (b"", False)


# --------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing-of-ours"],
        ["scan"],
        ["verify"],
        ["inspect"],
        ["key"],
        ["policy"],
        ["policy", "check"],
        ["scan", "x", "--no-such-option"],
        ["scan", "x", "--jobs", "0"],
        ["scan", "x", "--format", "yaml"],
        ["verify", "x", "--min-release", "one"],
        ["sign", "x", "--release", "0"],
        ["sign", "x", "--release", str(1 << 63)],
        ["sign", "x", "--version", "two\nlines"],
        ["sign", "x", "--expires", "2020-01-01"],
        ["sign", "x", "--expires", "soon"],
        ["sign", "x", "--expires", "999999w"],  # no clock will show that
        ["sign", "x", "--expires", "9999-12-31T23:59:59-05:00"],
        ["sign", "x", "--expires", "2999-01-01T00:00:00"],
        ["sign", "x", "--set", "novalue"],
        ["sign", "x", "--metadata", "no-such-file.json"],
        ["key", "new", "--algorithm", "rot13"],
        ["key", "new", "--id", "not an id"],
    ],
    ids=" ".join,
)
def test_usage_errors(run: Callable[..., Outcome], arguments: list[str]) -> None:
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (USAGE, "")
    assert "Usage: safeload" in outcome.err


def test_what_has_a_format_has_the_other_options_of_output() -> None:
    from safeload._cli import _cli

    def below(group: click.Group) -> Iterator[click.Command]:
        for one in group.commands.values():
            yield from below(one) if isinstance(one, click.Group) else (one,)

    formatted = 0
    for one in below(_cli):
        options = {option for each in one.params for option in each.opts}
        if "--format" in options:
            formatted += 1
            assert {"--output", "-o", "--quiet", "-q"} <= options, one.name
    assert formatted >= 18


def test_help_and_version(run: Callable[..., Outcome]) -> None:
    version = run("--version").out
    assert version.startswith(f"safeload {safeload.__version__} (")
    assert ("compiled scanner" in version) == COMPILED
    assert ("Install a C compiler" in version) != COMPILED
    assert metadata.version("safeload") == safeload.__version__
    for arguments in (["-h"], ["sign", "--help"], ["key", "new", "-h"]):
        outcome = run(*arguments)
        assert (outcome.code, outcome.err) == (ALLOWED, "")
        assert "Usage: safeload" in outcome.out


def test_the_worst_verdict_wins(run: Callable[..., Outcome], models: Path, hostile: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.joblib"
    assert run("scan", models).code == ALLOWED
    assert run("scan", models, missing).code == ERROR
    assert run("scan", models, missing, hostile).code == REFUSED
    assert run("scan", hostile, missing).code == REFUSED


def test_nothing_to_check(run: Callable[..., Outcome], tmp_path: Path, ring: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.txt").write_text("no model")
    for arguments in (["scan"], ["verify", "--keyring", ring], ["sign", "--keyring", ring]):
        outcome = run(*arguments, tmp_path / "empty")
        assert outcome.code == NOTHING
        assert outcome.out.splitlines()[-1].endswith("; 1 skipped (--list-skipped lists them)")
        assert "nothing to" in outcome.err
    assert run("scan", tmp_path / "empty", "--format", "json").document["results"] == []


def test_an_empty_folder_beside_others_is_noted(run: Callable[..., Outcome], models: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcome = run("scan", tmp_path / "empty", models)
    assert outcome.code == ALLOWED
    assert "nothing in this folder begins as a pickle" in outcome.err


@pytest.mark.parametrize("name", ["scan", "verify", "sign", "inspect"])
def test_what_cannot_be_judged(run: Callable[..., Outcome], tmp_path: Path, ring: Path, name: str) -> None:
    keyring = [] if name == "scan" else ["--keyring", ring]
    os.mkfifo(tmp_path / "pipe.pkl")
    for path, said in ((tmp_path / "missing.pkl", "o such file"), (tmp_path / "pipe.pkl", "pipe")):
        outcome = run(name, path, *keyring)
        assert (outcome.code, outcome.out) == (ERROR, "")
        assert said in outcome.err
        assert path.name in outcome.err
        assert outcome.err.count(path.name) == 1
        first, *rest = outcome.err.splitlines()
        assert path.name in first
        assert all(line.startswith("  ") for line in rest), outcome.err
    outcome = run(name, tmp_path / "missing.pkl", *keyring, "--policy", "nope")
    assert (outcome.code, outcome.out) == (ERROR, "")
    assert "policy" in outcome.err


@pytest.mark.parametrize("name", ["verify", "sign", "inspect"])
def test_a_bad_keyring_is_said_once(run: Callable[..., Outcome], models: Path, ring: Path, name: str) -> None:
    ring.chmod(0o644)
    outcome = run(name, models / "b.joblib", "--keyring", ring)
    assert (outcome.code, outcome.out) == (ERROR, "")
    assert outcome.err.count("chmod 600") == 1


def test_a_link_that_leads_nowhere_is_said_to(run: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "model.pkl").symlink_to("elsewhere.pkl")
    outcome = run("scan", tmp_path)
    assert outcome.code == ERROR
    assert "it is a link to 'elsewhere.pkl', and there is no such file" in outcome.err


def test_a_folder_that_may_not_be_written_is_said_to_be_one(key: safeload.SigningKey) -> None:
    # Not even root may write there; where containers mount it read-only, that is what is said.
    if not Path("/sys").is_dir():
        pytest.skip("there is no /sys")
    with pytest.raises(safeload.StorageError, match=r"make files in its folder, /sys\.|read-only"):
        safeload.dump([1], "/sys/model.joblib", key=key)


def test_an_internal_error_is_no_verdict(
    run: Callable[..., Outcome], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safeload

    real = safeload.scan

    def broken(path: Any, **options: Any) -> Any:
        if Path(path).name == "a.pkl.gz":
            raise ZeroDivisionError("a bug")
        return real(path, **options)

    monkeypatch.setattr(safeload, "scan", broken)
    outcome = run("scan", models)
    assert outcome.code == ERROR
    assert "1 allowed, 0 refused, 1 could not be judged" in outcome.out
    assert "internal error" in outcome.err
    assert "Traceback" not in outcome.err
    assert "Traceback" in run("scan", models, "--debug").err
    assert "Traceback" in run("--debug", "inspect", models / "a.pkl.gz").err
    assert run("inspect", models / "a.pkl.gz").code == ERROR


def test_a_mistake_of_the_scanner_is_not_taken_for_one_of_the_file(
    run: Callable[..., Outcome], models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.pkl"
    empty.write_bytes(b"\x80\x04.")  # takes from an empty stack, which is the file's mistake
    assert "SL306" in run("scan", empty).out
    ring = safeload.Keyring.from_keys([safeload.SigningKey.generate()])
    safeload.dump({1: __import__("datetime").date(2026, 1, 1)}, tmp_path / "m.joblib", key=ring)

    def broken(*_: Any) -> Any:
        raise IndexError("a bug")

    monkeypatch.setattr(safeload.Policy, "grant", broken)
    with pytest.raises(IndexError):
        safeload.load(tmp_path / "m.joblib", keyring=ring)
    outcome = run("scan", tmp_path / "m.joblib")
    assert (outcome.code, outcome.out, "internal error" in outcome.err) == (ERROR, "", True)


def test_a_command_without_a_verdict_is_an_error(run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safeload._cli._cli.commands["demo"], "callback", lambda: None)
    assert run("demo").code == ERROR
    assert run("demo", "--help").code == ALLOWED


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any folder")
def test_a_folder_that_cannot_be_read_is_not_empty(run: Callable[..., Outcome], models: Path) -> None:
    (models / "secret").mkdir(mode=0)
    try:
        outcome = run("scan", models)
    finally:
        (models / "secret").chmod(0o700)
    assert outcome.code == ERROR
    assert "secret" in outcome.err


# ------------------------------------------------------------------------------------------------- walking


def test_folders_are_walked(run: Callable[..., Outcome], tmp_path: Path) -> None:
    wanted = ["a/m.joblib", "a/m.pkl.lz4", "b.pickle", "c/.hidden/x.PKL", "z.joblib.xz"]
    others = ["a/m.joblib.manifest.json", ".safeload-1.joblib", "a/notes.txt", "x.pkl.txt", "joblib"]
    for name in wanted + others:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(pickle.dumps(1) if name in wanted else b"no pickle")
    (tmp_path / "tree" / "loop").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "gone.pkl").symlink_to("nowhere")
    outcome = run("scan", tmp_path / "tree", "--format", "json")
    paths = [result["path"] for result in outcome.document["results"]]
    assert paths == sorted(str(tmp_path / "tree" / name) for name in [*wanted, "gone.pkl"])
    assert outcome.code == ERROR  # a link to nowhere may lead somewhere tomorrow


def test_folders_nested_too_deep_do_not_hide_the_rest(
    run: Callable[..., Outcome], tmp_path: Path, hostile: Path
) -> None:
    place = os.open(tmp_path, os.O_RDONLY)
    for name in ["deep"] + 1200 * ["x"]:
        os.mkdir(name, dir_fd=place)
        inner = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    (tmp_path / "deep" / "m.pkl").write_bytes(pickle.dumps(1))
    outcome = run("scan", tmp_path / "deep", hostile)
    assert outcome.code == REFUSED
    assert "1 allowed, 1 refused" in outcome.out
    assert "internal error" not in outcome.err
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)  # deeper than shutil goes


def test_a_named_file_is_always_checked_and_once(run: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / ".safeload-odd.bin"
    path.write_bytes(pickle.dumps(1))
    outcome = run("scan", path, path, "--format", "json")
    assert outcome.code == ALLOWED
    assert outcome.document["summary"] == {
        "checked": 1,
        "allowed": 1,
        "refused": 0,
        "error": 0,
        "skipped": 0,
        "would_not_load_here": 0,
        "excluded": 0,
    }


# ------------------------------------------------------------------------------------------------- output


def test_json(run: Callable[..., Outcome], models: Path, ring: Path, hostile: Path, tmp_path: Path) -> None:
    outcome = run("verify", models, tmp_path / "missing", hostile, "--keyring", ring, "--format", "json")
    document = outcome.document
    assert document["schema_version"] == 1
    assert document["tool"]["name"] == "safeload"
    assert document["command"] == "verify"
    assert document["summary"] == {
        "checked": 4,
        "allowed": 2,
        "refused": 1,
        "error": 1,
        "skipped": 0,
        "would_not_load_here": 0,
        "excluded": 0,
    }
    by_name = {Path(result["path"]).name: result for result in document["results"]}
    for result in by_name.values():
        assert result.keys() >= {"path", "verdict", "findings", "globals"}
    assert by_name["b.joblib"]["verdict"] == "allowed"
    assert {use["qualname"] for use in by_name["b.joblib"]["globals"]} >= {"Pipeline", "RandomForestClassifier"}
    assert by_name["b.joblib"]["manifest"]["metadata"] == {"accuracy": 0.9}
    assert by_name["b.joblib"]["manifest"]["key_ids"] == ["team"]
    assert by_name["missing"]["verdict"] == "error"
    assert "no such file" in by_name["missing"]["error"]
    assert [finding["code"] for finding in by_name["hostile.pkl"]["findings"]] == ["SL101", "SL405"]
    assert "missing" in outcome.err


def test_a_refusal_shows_the_policy_to_review(run: Callable[..., Outcome], tmp_path: Path) -> None:
    from colorsys import rgb_to_hsv

    path = tmp_path / "custom.pkl"
    path.write_bytes(pickle.dumps([rgb_to_hsv]))
    outcome = run("scan", path)
    assert outcome.code == REFUSED
    assert "SL401 global not allowed at byte" in outcome.out
    policy = tmp_path / "mine.toml"
    policy.write_text(outcome.out[outcome.out.index("name =") :])
    assert run("policy", "check", policy).code == ALLOWED
    assert run("scan", path, "--policy", policy).code == ALLOWED


def test_one_policy_is_suggested_for_many_files(run: Callable[..., Outcome], tmp_path: Path) -> None:
    from colorsys import hls_to_rgb, rgb_to_hls, rgb_to_hsv

    folder = tmp_path / "models"
    folder.mkdir()
    for name, held in (("a", rgb_to_hsv), ("b", rgb_to_hls), ("c", [rgb_to_hsv, hls_to_rgb])):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(held))
    outcome = run("scan", folder)
    assert outcome.code == REFUSED
    assert outcome.out.count("[[allow]]") == 1
    assert "these 3 files" in outcome.out
    assert "3 checked: 0 allowed, 3 refused" in outcome.out
    policy = tmp_path / "mine.toml"
    policy.write_text(outcome.out[outcome.out.index("name =") : outcome.out.index("3 checked")])
    assert run("policy", "check", policy).code == ALLOWED
    assert run("scan", folder, "--policy", policy).code == ALLOWED


def test_a_suggestion_has_only_what_is_missing(run: Callable[..., Outcome], tmp_path: Path) -> None:
    """The pack lets collections.Counter be called in one form, and does not let it be named as a value."""
    from collections import Counter
    from colorsys import rgb_to_hsv

    path = tmp_path / "counter.pkl"
    path.write_bytes(pickle.dumps([Counter("aab"), Counter]))
    outcome = run("scan", path)
    assert outcome.code == REFUSED
    policy = tmp_path / "mine.toml"
    policy.write_text(outcome.out[outcome.out.index("name =") :])
    assert 'roles = ["import"]' in policy.read_text()
    assert run("scan", path, "--policy", policy).code == ALLOWED
    # The next suggestion is for the policy file in use, and can be appended to it.
    path.write_bytes(pickle.dumps([Counter, rgb_to_hsv]))
    outcome = run("scan", path, "--policy", policy)
    assert f"added to {policy}" in " ".join(outcome.out.split())
    policy.write_text(policy.read_text() + outcome.out[outcome.out.index("[[allow]]") :].replace("\n    ", "\n"))
    assert run("scan", path, "--policy", policy).code == ALLOWED


def test_findings_fit_the_terminal(hostile: Path) -> None:
    code, shown = run_on_terminal("scan", hostile, columns=60)
    assert code == REFUSED
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    lines = [line.rstrip() for line in text.split("\n")]
    assert max(len(line) for line in lines if str(hostile) not in line) <= 60
    assert "always denied" in " ".join(text.split())


def test_nothing_hostile_runs(run: Callable[..., Outcome], hostile: Path, ring: Path, tmp_path: Path) -> None:
    for arguments in (["scan"], ["inspect"], ["sign", "--keyring", ring], ["verify", "--keyring", ring]):
        assert run(*arguments, hostile).code == REFUSED
    assert not (tmp_path / "marker").exists()
    assert not Path(f"{hostile}.manifest.json").exists()


def test_quiet_says_only_what_is_wrong(run: Callable[..., Outcome], models: Path, hostile: Path, ring: Path) -> None:
    assert run("scan", "--quiet", models) == (ALLOWED, "", "")
    outcome = run("scan", "-q", models, hostile)
    assert outcome.code == REFUSED
    assert outcome.out.count("refused") == 1
    assert "b.joblib" not in outcome.out
    assert run("sign", "-q", models, "--keyring", ring, "--overwrite") == (ALLOWED, "", "")


def test_output_goes_to_a_file(run: Callable[..., Outcome], models: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text("an older report")
    report.chmod(0o640)
    outcome = run("scan", models, tmp_path / "missing", "--format", "json", "-o", report)
    assert (outcome.code, outcome.out) == (ERROR, "")
    assert json.loads(report.read_text())["summary"]["checked"] == 3
    assert stat.S_IMODE(report.stat().st_mode) == 0o640
    run("scan", models, tmp_path / "missing", "-o", tmp_path / "report.txt")
    text = (tmp_path / "report.txt").read_text()
    assert "error     " in text
    assert ESCAPE[0] not in text
    assert run("scan", models, "-o", "-").out.startswith("allowed")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_output_never_replaces_what_is_checked(run: Callable[..., Outcome], models: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in models.iterdir()}
    (tmp_path / "link").symlink_to(models / "b.joblib")
    for target in (models / "b.joblib", models / "b.joblib.manifest.json", tmp_path / "link"):
        assert run("scan", models, "-o", target).code == USAGE
    assert {path: path.read_bytes() for path in models.iterdir()} == before


def test_output_never_replaces_what_is_used(
    run: Callable[..., Outcome], models: Path, ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report in the place of the keyring would cost the keys."""
    store, policy, rollback_state, other = (
        tmp_path / name for name in ("store", "my-policy", "rollback-state.json", "other.toml")
    )
    policy.write_text('name = "my"\nversion = 1\nextends = ["sklearn"]\n')
    model, secret = models / "b.joblib", ring.rename(tmp_path / "keys")
    assert run("sign", model, "--keyring", secret, "--overwrite").code == ALLOWED
    assert run("store", "add", "m", model, "--version", "1", "--store", store, "--keyring", secret).code == ALLOWED
    safeload.Loader(keyring=secret, rollback_state=rollback_state).load(model)
    other.write_text("a policy that extends another, or a keyring of somebody else")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    stored = store / "m" / "versions" / "1" / "m-1.joblib"
    for *arguments, target in (
        ("verify", model, "--keyring", secret, secret),
        ("verify", model, "--keyring", secret, "--rollback-state", rollback_state, rollback_state),
        ("verify", model, "--keyring", secret, "--policy", policy, policy),
        ("scan", model, other),
        ("sign", model, "--keyring", secret, "--set", "long=" + 5000 * "x", secret),
        ("inspect", model, "--keyring", secret, secret),
        ("re-sign", model, "--keyring", secret, "--key", other, other),
        ("audit", model, "--keyring", secret, secret),
        ("key", "rotate", "--keyring", secret, secret),
        ("store", "verify", "--store", store, "--keyring", secret, stored),
        ("store", "verify", "--store", store, "--keyring", secret, secret),
    ):
        outcome = run(*arguments, "-o", target)
        assert (outcome.code, "--output" in outcome.err) == (USAGE, True), arguments
    monkeypatch.setenv("SAFELOAD_KEYRING", str(secret))
    assert run("verify", model, "-o", secret).code == USAGE
    assert {path: path.read_bytes() for path in before} == before


def test_a_path_that_cannot_be_read_is_no_wrong_usage(
    run: Callable[..., Outcome], models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Click must not ask beforehand, also not where root runs this: the other files would not be judged."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_arguments, **_options: False)
        assert run("scan", models / "b.joblib").code == ALLOWED
    if os.geteuid() != 0:
        (models / "b.joblib").chmod(0)
        outcome = run("scan", models / "b.joblib", models, "--format", "json")
        verdicts = {result["verdict"] for result in outcome.document["results"]}
        assert (outcome.code, verdicts) == (ERROR, {"allowed", "error"})


def test_inspect_reports_what_cannot_be_read(run: Callable[..., Outcome], tmp_path: Path) -> None:
    for path, why in ((tmp_path / "no.joblib", "no such file"), (tmp_path, "folder"), (Path("/dev/null"), "device")):
        outcome = run("inspect", path, "--format", "json")
        (result,) = outcome.document["results"]
        assert (outcome.code, result["path"], result["verdict"]) == (ERROR, str(path), "error")
        assert why in result["error"]
        assert why in outcome.err


def test_an_output_that_is_a_pipe(models: Path) -> None:
    done = command("scan", models / "b.joblib", "-o", "/dev/stderr")
    assert (done.returncode, done.stdout, done.stderr.split()[:1]) == (ALLOWED, "", ["allowed"])


def test_an_empty_path_is_wrong_usage(run: Callable[..., Outcome], models: Path) -> None:
    """It is what is left of a variable that is not set, and no other name of the working directory."""
    for arguments in (
        ("verify", ""), ("inspect", ""), ("reissue", "", "--from-release", "1"), ("policy", "learn", ""),
        ("scan", models, "-o", ""), ("key", "list", "--keyring", ""), ("key", "new", "--out", ""),
        ("store", "list", "--store", ""),
    ):  # fmt: skip
        outcome = run(*arguments)
        assert (outcome.code, "an empty path names no file" in outcome.err) == (USAGE, True), arguments


def test_an_output_that_cannot_be_written(run: Callable[..., Outcome], models: Path, tmp_path: Path) -> None:
    outcome = run("scan", models, "-o", tmp_path / "no" / "report.txt")
    assert outcome.code == ERROR
    assert "cannot write the result to" in outcome.err
    assert str(tmp_path / "no" / "report.txt") in outcome.err


# ------------------------------------------------------------------------------------- hostile names and texts


def test_names_cannot_act_on_the_terminal(run: Callable[..., Outcome], tmp_path: Path, ring: Path) -> None:
    name = f"{ESCAPE}evil\n\rallowed   \u202egood\u2028[bold]x[red].pkl"
    (tmp_path / name).write_text("no pickle")
    for arguments in (["scan"], ["verify", "--keyring", ring], ["sign", "--keyring", ring], ["inspect"]):
        outcome = run(*arguments, tmp_path / name)
        assert outcome.code == REFUSED
        for char in "\x1b\r\u202e\u2028":
            assert char not in outcome.out + outcome.err
        assert not any(line.startswith("allowed") for line in outcome.out.splitlines())
        assert "\\x1b[31mevil\\n\\rallowed" in outcome.out
        assert "[bold]x[red]" in outcome.out
    missing = run("scan", tmp_path / f"{ESCAPE}\nno")
    assert missing.code == ERROR
    assert missing.err.count("\n") == 1
    assert ESCAPE not in missing.err


def test_names_that_are_no_text(run: Callable[..., Outcome], tmp_path: Path, ring: Path) -> None:
    name = os.fsdecode(b"model-\xff.pkl")
    try:
        (tmp_path / name).write_bytes(pickle.dumps(1))
    except OSError:
        pytest.skip("this file system takes only text")
    assert run("scan", tmp_path).code == ALLOWED
    assert "model-\\udcff.pkl" in run("scan", tmp_path).out
    outcome = run("scan", tmp_path, "--format", "json")
    assert Path(outcome.document["results"][0]["path"]).name == name
    signed = run("sign", "--keyring", ring, tmp_path)
    assert signed.code == ERROR
    assert "not UTF-8" in signed.err
    assert "internal error" not in signed.err


def test_strings_from_artifacts_cannot_act_on_the_terminal(
    run: Callable[..., Outcome], tmp_path: Path, ring: Path
) -> None:
    path = tmp_path / "odd.pkl"
    name = f"{ESCAPE}[bold]\nallowed"
    path.write_bytes(pickle.PROTO + b"\x02" + pickle.GLOBAL + b"odd\n" + name.encode()[:10] + b"\n" + pickle.STOP)
    for arguments in (["scan"], ["inspect"]):
        outcome = run(*arguments, path)
        assert outcome.code == REFUSED
        assert "\x1b" not in outcome.out
    good = tmp_path / "good.pkl"
    good.write_bytes(pickle.dumps(1))
    run("sign", good, "--keyring", ring, "--set", f"note={name}")
    outcome = run("inspect", good, "--keyring", ring)
    assert outcome.code == ALLOWED
    assert "\x1b" not in outcome.out
    assert "[bold]" in outcome.out


def test_markup_in_a_table_is_text(run: Callable[..., Outcome], tmp_path: Path) -> None:
    ring = tmp_path / "r.toml"
    keys = safeload.Keyring.from_keys([safeload.SigningKey.generate(key_id="a")])
    keys.add(safeload.SigningKey.generate(key_id="b"), status="verify-only", reason="[red]no[/red] :smile:")
    keys.save(ring)
    assert "[red]no[/red] :smile:" in run("key", "list", "--keyring", ring).out


# ---------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "ed25519"])
def test_keys(run: Callable[..., Outcome], tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "ring.toml"
    outcome = run("key", "new", "--out", path, "--algorithm", algorithm, "--id", "ci-2026")
    assert outcome.code == ALLOWED
    assert "ci-2026" in outcome.out
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = safeload.Keyring.load(path).signing_key().reveal()
    before = path.read_bytes()

    again = run("key", "new", "--out", path)
    assert (again.code, again.out) == (ERROR, "")
    assert "exists already" in again.err
    assert path.read_bytes() == before

    shown = run("key", "list", "--keyring", path)
    described = run("key", "list", "--keyring", path, "--format", "json")
    assert shown.code == described.code == ALLOWED
    assert all(text in shown.out for text in ("ci-2026", algorithm, "active"))
    (entry,) = described.document["keys"]
    assert (entry["id"], entry["algorithm"], entry["status"]) == ("ci-2026", algorithm, "active")
    from safeload._internal.encoding import encode_base64

    for said in (outcome, again, shown, described):
        assert encode_base64(secret) not in said.out + said.err
        assert secret.hex() not in said.out + said.err


def test_the_default_keyring(
    run: Callable[..., Outcome], models: Path, ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Is the secret mounted here?" in run("key", "list").err
    outcome = run("sign", models, "--overwrite")
    assert outcome.code == ERROR
    assert "safeload key new" in outcome.err
    assert run("key", "new").code == ALLOWED
    assert run("key", "list").code == ALLOWED
    assert run("verify", models).code == REFUSED  # by another key
    monkeypatch.setenv("SAFELOAD_KEYRING", str(ring))
    assert run("verify", models).code == ALLOWED
    assert "team" in run("key", "list").out


def test_a_key_in_the_arguments_is_not_repeated(run: Callable[..., Outcome], models: Path) -> None:
    from safeload._internal.encoding import encode_base64

    secret = encode_base64(safeload.SigningKey.generate().reveal())
    for arguments in (["verify", models, "--keyring", secret], ["key", "new", "--id", secret + "="]):
        outcome = run(*arguments)
        assert outcome.code in (ERROR, USAGE)
        assert secret not in outcome.out + outcome.err


# ---------------------------------------------------------------------------------------------------- sign


def test_sign_says_what_was_signed(run: Callable[..., Outcome], tmp_path: Path, ring: Path, pipeline: Any) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(pipeline, path)
    facts = tmp_path / "facts.json"
    facts.write_text('{"auc": 0.93, "rows": [1, 2]}')
    options = ["--metadata", facts, "--set", "team=fraud=eu", "--version", "1.2", "--release", "7"]
    outcome = run("sign", path, "--keyring", ring, *options, "--expires", "2999-01-01")
    assert outcome.code == ALLOWED
    assert "signed" in outcome.out
    assert "release 7 (1.2), signed by team" in outcome.out
    manifest = safeload.read_manifest(path, keyring=ring)
    assert manifest.metadata == {"auc": 0.93, "rows": [1, 2], "team": "fraud=eu"}
    assert (manifest.version, manifest.release) == ("1.2", 7)
    assert manifest.expires is not None
    assert manifest.expires.isoformat() == "2999-01-01T00:00:00+00:00"
    again = run("sign", path, "--keyring", ring, "--overwrite", "--format", "json")
    (result,) = again.document["results"]
    assert (result["verdict"], result["manifest"]["release"]) == ("allowed", 8)


@pytest.mark.parametrize("text", ["[]", "{", '{"a": NaN}', "\xff", "[" * 100_000])
def test_metadata_that_cannot_be_signed(run: Callable[..., Outcome], tmp_path: Path, ring: Path, text: str) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(1))
    (tmp_path / "facts.json").write_text(text, encoding="latin-1")
    outcome = run("sign", path, "--keyring", ring, "--metadata", tmp_path / "facts.json")
    assert outcome.code == USAGE
    assert "--metadata" in outcome.err
    assert not (tmp_path / "m.pkl.manifest.json").exists()


def test_sign_goes_on_after_what_it_refuses(
    run: Callable[..., Outcome], tmp_path: Path, hostile: Path, ring: Path
) -> None:
    (tmp_path / "fine.pkl").write_bytes(pickle.dumps(1))
    outcome = run("sign", hostile, tmp_path / "missing", tmp_path / "fine.pkl", "--keyring", ring)
    assert outcome.code == REFUSED
    assert "SL405" in outcome.out
    assert safeload.verify(tmp_path / "fine.pkl", keyring=ring).allowed


# ------------------------------------------------------------------------------------------------- inspect


def test_inspect_says_who_signed(run: Callable[..., Outcome], models: Path, ring: Path, tmp_path: Path) -> None:
    path = models / "b.joblib"
    outcome = run("inspect", path, "--keyring", ring)
    assert outcome.code == ALLOWED
    assert "signature: verified under key team" in outcome.out
    assert '"accuracy": 0.9' in outcome.out
    assert "sklearn.pipeline.Pipeline" in outcome.out
    assert "NOT VERIFIED" not in outcome.out

    unchecked = run("inspect", path)  # no keyring at all
    assert unchecked.code == ALLOWED
    assert "signature: NOT VERIFIED, no keyring" in unchecked.out
    assert "manifest: what it says is NOT VERIFIED" in unchecked.out
    assert '"accuracy": 0.9' in unchecked.out

    other = tmp_path / "other.toml"
    safeload.Keyring.from_keys([safeload.SigningKey.generate()]).save(other)
    refused = run("inspect", path, "--keyring", other)
    assert refused.code == REFUSED
    assert "signature: REFUSED" in refused.out
    assert "NOT VERIFIED" in refused.out


def test_inspect_what_was_changed(run: Callable[..., Outcome], models: Path, ring: Path) -> None:
    path, manifest = models / "b.joblib", models / "b.joblib.manifest.json"
    genuine = path.read_bytes()
    path.write_bytes(genuine + b"x")
    assert "signature: REFUSED" in run("inspect", path, "--keyring", ring).out
    path.write_bytes(genuine)
    for content in (b"", b"{}", b"\xff", manifest.read_bytes().replace(b"e", b"f")):
        manifest.write_bytes(content)
        outcome = run("inspect", path, "--keyring", ring)
        assert outcome.code == REFUSED
        assert "signature: REFUSED" in outcome.out
        assert run("inspect", path).code == ALLOWED  # nobody could check it; what the pickle does is allowed
    manifest.unlink()
    outcome = run("inspect", path, "--keyring", ring)
    assert outcome.code == ALLOWED
    assert "signature: none" in outcome.out


def test_inspect_json(run: Callable[..., Outcome], models: Path, ring: Path, hostile: Path) -> None:
    document = run("inspect", models / "b.joblib", "--keyring", ring, "--format", "json").document
    assert document["signature"] == {"state": "verified", "reason": None, "advice": None}
    (result,) = document["results"]
    assert (result["verdict"], result["protocol"], result["compression"]) == ("allowed", 4, "none")
    assert result["manifest"]["release"] == 1
    outcome = run("inspect", hostile, "--format", "json")
    assert outcome.code == REFUSED
    assert outcome.document["signature"]["state"] == "unsigned"
    assert outcome.document["results"][0]["findings"][0]["code"] == "SL405"


# ------------------------------------------------------------------------------------------------ policies


@pytest.mark.parametrize("pack", ["core", "sklearn"])
def test_a_shown_policy_is_the_same_policy(run: Callable[..., Outcome], tmp_path: Path, pack: str) -> None:
    shown = run("policy", "show", pack)
    assert shown.code == ALLOWED
    flat = tmp_path / "flat.toml"
    flat.write_text(shown.out)
    assert safeload.Policy.load(flat).digest == safeload.Policy.load(pack).digest
    assert "extends" not in shown.out


def test_a_shown_policy_has_its_limits_and_odd_texts(run: Callable[..., Outcome], tmp_path: Path) -> None:
    policy = tmp_path / "acme.toml"
    policy.write_text(
        'name = "acme"\nversion = 1\nextends = ["core"]\n'
        '[[allow]]\nmodule = "acme"\nnames = ["f"]\nroles = ["call"]\n'
        'args = [["str", { literal = ["\\u001b\\u007fé", true, 1, -2] }]]\nexpires = 2999-01-01\n'
        'reason = "\\u202e and \\"quotes\\""\n'
        "[limits]\nmax_opcodes = 1000\n"
    )
    shown = run("policy", "show", policy)
    flat = tmp_path / "flat.toml"
    flat.write_text(shown.out)
    assert safeload.Policy.load(flat).digest == safeload.Policy.load(policy).digest
    assert "max_opcodes = 1000" in shown.out
    assert all(char.isprintable() for char in shown.out.replace("\n", ""))


def test_a_policy_is_checked(run: Callable[..., Outcome], tmp_path: Path) -> None:
    assert run("policy", "check", "sklearn").out.startswith("valid: policy sklearn")
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "x"\nversion = 1\n\n[[allow]]\nmodule = "os"\nnames = ["system"]\nroles = ["call"]\n')
    outcome = run("policy", "check", bad)
    assert (outcome.code, outcome.out) == (ERROR, "")
    assert f"{bad}, line 4" in outcome.err
    for name in (tmp_path / "missing.toml", "no-such-pack", tmp_path):
        assert run("policy", "check", name).code == ERROR
        assert run("policy", "show", name).code == ERROR


def test_pairs_move_together_or_are_refused(run: Callable[..., Outcome], models: Path, ring: Path) -> None:
    moved = models / "moved.joblib"
    shutil.copy(models / "b.joblib", moved)
    shutil.copy(models / "b.joblib.manifest.json", f"{moved}.manifest.json")
    outcome = run("verify", moved, "--keyring", ring)
    assert outcome.code == REFUSED
    assert "SL107" in outcome.out


def unsigned_folder(parent: Path) -> Path:
    """A folder of two artifacts that nobody has signed yet."""
    folder = parent / "models"
    folder.mkdir()
    for name in ("one.pkl", "two.joblib"):
        (folder / name).write_bytes(pickle.dumps([name]))
    return folder


def test_signing_a_folder_again_leaves_what_is_signed(tmp_path: Path, ring: Path, run: Callable[..., Outcome]) -> None:
    folder = unsigned_folder(tmp_path)
    assert run("sign", folder, "--keyring", ring).code == ALLOWED
    manifests = {path: path.read_bytes() for path in folder.rglob("*.manifest.json")}
    again = run("sign", folder, "--keyring", ring)
    assert again.code == ALLOWED
    assert "signed already" in again.out
    assert manifests == {path: path.read_bytes() for path in folder.rglob("*.manifest.json")}


INTERRUPTED = """
import os, signal, sys
import safeload
from safeload._cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits it ignored
real, count = safeload.sign, 0
def sign(path, **how):
    global count
    count += 1
    if count == 3:
        os.kill(os.getpid(), signal.SIGINT)
    return real(path, **how)
safeload.sign = sign
main(sys.argv[1:])
"""


@pytest.mark.parametrize("overwrite", [False, True])
def test_who_interrupts_is_told_how_far_it_came(
    tmp_path: Path, ring: Path, run: Callable[..., Outcome], overwrite: bool
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for number in range(5):
        joblib.dump([number], models / f"{number}.joblib")
    arguments = ["sign", str(models), "--keyring", str(ring), "--format", "json"]
    arguments += ["--overwrite"] if overwrite else []
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, *arguments], capture_output=True, text=True, timeout=60)
    go_on = "to go on, name what is left" if overwrite else "run the same command again to go on"
    assert (done.returncode, done.stderr) == (
        ERROR,
        f"safeload: interrupted, 2 of 5 looked at, 2 signed and the rest not: what is done stays; {go_on}\n",
    )
    document = json.loads(done.stdout)
    assert (document["interrupted"], [Path(one["path"]).name for one in document["results"]]) == (
        True,
        ["0.joblib", "1.joblib"],
    )
    assert sorted(path.name for path in models.glob("*.manifest.json")) == [
        "0.joblib.manifest.json",
        "1.joblib.manifest.json",
    ]
    again = run(*arguments)
    assert (again.code, again.document["interrupted"], again.document["summary"]["allowed"]) == (ALLOWED, False, 5)


def test_what_was_changed_since_it_was_signed_is_not_signed_in_passing(
    tmp_path: Path, ring: Path, run: Callable[..., Outcome]
) -> None:
    path = unsigned_folder(tmp_path) / "again.pkl"
    path.write_bytes(pickle.dumps([1]))
    assert run("sign", path, "--keyring", ring).code == ALLOWED
    path.write_bytes(pickle.dumps([2]))
    refused = run("sign", path, "--keyring", ring)
    assert refused.code == ERROR
    assert "not those that were signed" in refused.err
    signed = run("sign", path, "--keyring", ring, "--overwrite")
    assert signed.code == ALLOWED
    assert "make sure that you know why" in signed.out


def test_what_another_policy_let_be_signed_is_refused_by_its_reason(
    tmp_path: Path, ring: Path, run: Callable[..., Outcome]
) -> None:
    wider = tmp_path / "wider.toml"
    wider.write_text(
        'name = "w"\nversion = 1\nextends = ["sklearn"]\n[[allow]]\nmodule = "ipaddress"\nnames = ["IPv4Address"]\n'
        'roles = ["call"]\nargs = [["int"]]\n'
    )
    artifact = tmp_path / "m.pkl"
    artifact.write_bytes(pickle.dumps(ipaddress.IPv4Address("10.0.0.1")))
    assert run("sign", artifact, "--keyring", ring, "--policy", wider).code == ALLOWED
    outcome = run("sign", artifact, "--keyring", ring)
    assert (outcome.code, outcome.err, "SL401" in outcome.out) == (REFUSED, "", True)


def test_a_report_does_not_take_the_place_of_what_is_written(
    tmp_path: Path, ring: Path, run: Callable[..., Outcome]
) -> None:
    artifact = tmp_path / "m.pkl"
    artifact.write_bytes(pickle.dumps([1]))
    (tmp_path / "link").symlink_to("m.pkl.manifest.json")
    for output in (manifest_path(artifact), tmp_path / "x" / ".." / "m.pkl.manifest.json", tmp_path / "link"):
        assert run("sign", artifact, "--keyring", ring, "-o", output).code == USAGE
    minimal = tmp_path / "minimal.toml"
    assert run("audit", artifact, "--minimal", minimal, "-o", minimal).code == USAGE
    assert not minimal.exists()
    assert not manifest_path(artifact).exists()
    assert run("scan", artifact, "-o", tmp_path / "sklearn").code == ALLOWED  # which is no file, but a policy's name


def test_what_is_signed_is_checked_whatever_its_name(tmp_path: Path, ring: Path, run: Callable[..., Outcome]) -> None:
    folder = unsigned_folder(tmp_path)
    (folder / "model.bin").write_bytes(pickle.dumps([1]))
    assert run("sign", folder / "model.bin", "--keyring", ring).code == ALLOWED
    assert "model.bin" in run("verify", folder, "--keyring", ring).out
