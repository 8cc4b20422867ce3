"""Pairs on disk: whole after every crash, exclusive between writers, consistent for readers beside them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from safeload._internal.blob import FileBlob, read_bytes
from safeload._internal.files import open_artifact, require_private
from safeload._storage.pair import (
    SCRATCH_PREFIX,
    manifest_path,
    next_path,
    signing,
    snapshot,
    writing,
)
from safeload.errors import StorageError
from support.children import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from safeload._internal.blob import Blob
    from safeload._storage.pair import PairWriter, Snapshot

OLD, NEW, NEWER = b"old artifact" * 999, b"new artifact" * 5000, b"newer artifact"


def seal(artifact: bytes) -> bytes:
    """What stands for a manifest here: it belongs to exactly one content."""
    return b"manifest of " + hashlib.sha256(artifact).hexdigest().encode()


def belongs(manifest: bytes, blob: Blob) -> bool:
    return manifest == seal(read_bytes(blob, 0, blob.size))


def write(path: Path, artifact: bytes, *, overwrite: bool = False, lock_timeout: float = 60) -> None:
    with writing(path, overwrite=overwrite, belongs=belongs, lock_timeout=lock_timeout) as writer:
        writer.temporary.write_bytes(artifact)
        writer.commit(seal(artifact))


def write_after(path: Path, action: Callable[[PairWriter], object], *, overwrite: bool = True) -> None:
    """Write NEW, and do something else just before the commit."""
    with writing(path, overwrite=overwrite, belongs=belongs) as writer:
        writer.temporary.write_bytes(NEW)
        action(writer)
        writer.commit(seal(NEW))


def sign(path: Path, *, overwrite: bool = False) -> None:
    with signing(path, overwrite=overwrite, belongs=belongs) as writer:
        writer.commit(seal(path.read_bytes()))


def read(path: Path) -> bytes | None:
    """Read as a reader does that takes no lock; return None where there is no pair."""
    while True:
        before = snapshot(path)
        try:
            blob = open_artifact(path)
        except FileNotFoundError:
            return None
        with blob:
            for place in (manifest_path(path), next_path(path)):
                try:
                    manifest = place.read_bytes()
                except FileNotFoundError:
                    continue
                if belongs(manifest, blob):
                    return read_bytes(blob, 0, blob.size)
        if snapshot(path) == before:
            return None


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.joblib"


PAIR = ["model.joblib", "model.joblib.manifest.json"]


# ---------------------------------------------------------------------------------------------- the usual


def test_a_new_pair_and_nothing_else(path: Path) -> None:
    write(path, NEW)
    assert (path.read_bytes(), manifest_path(path).read_bytes()) == (NEW, seal(NEW))
    assert names(path.parent) == PAIR


def test_overwriting(path: Path) -> None:
    write(path, OLD)
    write(path, NEW, overwrite=True)
    assert (read(path), manifest_path(path).read_bytes()) == (NEW, seal(NEW))
    assert names(path.parent) == PAIR


@pytest.mark.parametrize("existing", ["model.joblib", "model.joblib.manifest.json"])
@pytest.mark.parametrize("dangling", [False, True])
def test_nothing_is_overwritten_unasked(path: Path, existing: str, dangling: bool) -> None:
    there = path.with_name(existing)
    if dangling:
        there.symlink_to("nowhere")
    else:
        there.write_bytes(b"mine")
    with pytest.raises((FileExistsError, StorageError), match=r"overwrite=True|symbolic link"):
        write(path, NEW)
    assert names(path.parent) == [existing]
    assert dangling or there.read_bytes() == b"mine"


def test_what_appears_while_writing_is_not_overwritten(path: Path) -> None:
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_after(path, lambda _: path.write_bytes(b"mine"), overwrite=False)
    assert path.read_bytes() == b"mine"
    assert names(path.parent) == ["model.joblib"]


def test_without_hard_links_nothing_is_overwritten_either(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links on this file system")

    monkeypatch.setattr(os, "link", refuse)
    write(path, OLD)
    assert (read(path), names(path.parent)) == (OLD, PAIR)
    with pytest.raises(FileExistsError):
        write(path, NEW)
    manifest_path(path).unlink()
    sign(path)
    with pytest.raises(FileExistsError):
        sign(path)
    path.unlink()
    manifest_path(path).unlink()
    with pytest.raises(FileExistsError):
        write_after(path, lambda _: path.write_bytes(b"mine"), overwrite=False)
    assert (path.read_bytes(), names(path.parent)) == (b"mine", ["model.joblib"])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_leaving_early_changes_nothing(path: Path, error: type[BaseException]) -> None:
    write(path, OLD)
    before = snapshot(path)

    def leave(_writer: PairWriter) -> None:
        raise error

    with pytest.raises(error):
        write_after(path, leave)
    with writing(path, overwrite=True, belongs=belongs):
        pass
    assert snapshot(path) == before
    assert names(path.parent) == PAIR


def test_committing_twice_is_a_mistake(path: Path) -> None:
    with writing(path, overwrite=False, belongs=belongs) as writer:
        writer.commit(seal(b""))
        with pytest.raises(ValueError, match="already"):
            writer.commit(seal(b""))
    assert read(path) == b""


def test_the_temporary_must_be_the_file_that_was_made(path: Path) -> None:
    def replace(writer: PairWriter) -> None:
        other = path.with_name("other")
        other.write_bytes(NEW)
        other.replace(writer.temporary)

    write(path, OLD)
    with pytest.raises(StorageError, match="replaced"):
        write_after(path, replace)
    with pytest.raises(StorageError, match="removed"):
        write_after(path, lambda writer: writer.temporary.unlink())
    assert (read(path), names(path.parent)) == (OLD, PAIR)


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("model.joblib.gz", ".gz"),
        ("model", ""),
        (".z", ".z"),
        ("m.tar.LZMA", ".LZMA"),
        ("a." + "x" * 99, ""),
        ("é" * 100 + ".xz", ".xz"),
        ("\udcff.bz2", ".bz2"),
        ("with space\nand newline.lz4", ".lz4"),
    ],
)
def test_the_temporary_is_private_beside_the_artifact_and_ends_alike(tmp_path: Path, name: str, end: str) -> None:
    path = tmp_path / name
    with writing(path, overwrite=False, belongs=belongs) as writer:
        assert writer.temporary.parent == tmp_path
        assert writer.temporary.name.startswith(SCRATCH_PREFIX)
        assert writer.temporary.name.endswith(end)
        assert end or "." not in writer.temporary.name[1:]
        assert len(writer.temporary.name) < 70
        assert stat.S_IMODE(writer.temporary.stat().st_mode) == 0o600
        writer.commit(seal(b""))
    assert read(path) == b""
    assert len(names(tmp_path)) == 2


def test_modes_of_new_files_follow_the_umask_and_of_replaced_files_stay(path: Path) -> None:
    old = os.umask(0o027)
    try:
        write(path, OLD)
        assert [stat.S_IMODE(p.stat().st_mode) for p in (path, manifest_path(path))] == [0o640, 0o640]
        path.chmod(0o604)
        manifest_path(path).chmod(0o600)
        write(path, NEW, overwrite=True)
        assert [stat.S_IMODE(p.stat().st_mode) for p in (path, manifest_path(path))] == [0o604, 0o600]
    finally:
        os.umask(old)


def test_relative_paths(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    write(Path(path.name), NEW)
    assert (read(path), names(path.parent)) == (NEW, PAIR)


# ------------------------------------------------------------------------------------------------ signing


def test_signing_leaves_the_artifact_alone(path: Path) -> None:
    path.write_bytes(OLD)
    before = snapshot(path).artifact
    sign(path)
    assert (read(path), snapshot(path).artifact, names(path.parent)) == (OLD, before, PAIR)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        sign(path)
    manifest_path(path).write_bytes(b"of another")
    sign(path, overwrite=True)
    assert (read(path), snapshot(path).artifact, names(path.parent)) == (OLD, before, PAIR)


def test_signing_notices_that_the_artifact_changed(path: Path) -> None:
    path.write_bytes(OLD)
    with signing(path, overwrite=False, belongs=belongs) as writer:
        path.write_bytes(NEW)
        with pytest.raises(StorageError, match="while it was being signed"):
            writer.commit(seal(OLD))
    assert names(path.parent) == ["model.joblib"]


def test_signing_what_is_not_there(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such artifact"):
        sign(path)
    assert names(path.parent) == []


# ------------------------------------------------------------------------------------------- what says no


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write(tmp_path / "missing" / "model.joblib", NEW)
    assert names(tmp_path) == []


@pytest.mark.parametrize("which", [0, 1])
def test_symbolic_links_are_not_replaced(path: Path, which: int) -> None:
    real = path.with_name("real")
    real.write_bytes(b"mine")
    link = (path, manifest_path(path))[which]
    link.symlink_to(real)
    with pytest.raises(StorageError, match=r"symbolic link.*real"):
        write(path, NEW, overwrite=True)
    assert link.is_symlink()
    assert real.read_bytes() == b"mine"


def test_what_is_not_a_file_is_not_replaced(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StorageError, match="not a regular file"):
        write(path, NEW, overwrite=True)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(StorageError, match="not a regular file"):
        write(path, NEW, overwrite=True)
    assert names(path.parent) == ["model.joblib"]


@pytest.mark.parametrize("name", ["", "/", "..", "."])
def test_paths_that_name_no_file(name: str) -> None:
    with pytest.raises((IsADirectoryError, StorageError)):
        write(Path(name), NEW)


def test_a_name_too_long_for_its_manifest(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Choose a shorter name"):
        write(tmp_path / ("x" * 250), NEW)
    for too_long in (tmp_path / ("x" * 300), tmp_path / ("x" * 300) / "model.joblib"):
        with pytest.raises(StorageError, match="Choose a shorter name"):
            write(too_long, NEW)
        with pytest.raises(StorageError, match="Choose a shorter name"):
            sign(too_long)
    assert names(tmp_path) == []


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((FileNotFoundError, StorageError)):
        write(tmp_path / "file" / "model.joblib", NEW)


def mounted(folder: Path, options: str) -> Path:
    """A small file system of its own; skips the test where that takes rights that we lack."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"cannot mount a file system: {done.stderr.strip()}")
    return folder


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    folder = tmp_path / "mounted"
    yield lambda options: mounted(folder, options)
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_pair(mount: Callable[[str], Path]) -> None:
    path = mount("size=256k") / "model.joblib"
    write(path, OLD)
    before = snapshot(path)
    with pytest.raises(StorageError, match="no space left") as caught:
        write(path, os.urandom(1 << 20), overwrite=True)
    assert isinstance(caught.value.__cause__, OSError)
    assert snapshot(path) == before
    assert names(path.parent) == PAIR
    with writing(path, overwrite=True, belongs=belongs) as writer:
        writer.temporary.write_bytes(NEW)
        with pytest.raises(StorageError, match="no space left"):
            writer.commit(bytes(1 << 20))
    assert snapshot(path) == before
    assert names(path.parent) == PAIR
    write(path, NEW, overwrite=True)
    assert read(path) == NEW


def test_a_read_only_file_system(mount: Callable[[str], Path]) -> None:
    path = mount("size=256k") / "model.joblib"
    write(path, OLD)
    subprocess.run(["mount", "-o", "remount,ro", str(path.parent)], check=True)
    for overwrite in (False, True):
        with pytest.raises(StorageError, match="read-only"):
            write(path, NEW, overwrite=overwrite)
    assert read(path) == OLD


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write in any folder")
def test_a_folder_without_write_permission(path: Path) -> None:
    write(path, OLD)
    path.parent.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="this user may not"):
            write(path, NEW, overwrite=True)
        assert read(path) == OLD
    finally:
        path.parent.chmod(0o700)


# ------------------------------------------------------------------- steps (and in test_faults.py, being killed)


def test_every_step_is_durable_before_the_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the rename of a step relies on was flushed: the contents first, the folder between renames."""
    write(path, OLD)
    log = []

    def logged(name: str) -> None:
        real = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            if name == "fsync":
                log.append("sync folder" if stat.S_ISDIR(os.fstat(args[0]).st_mode) else "sync file")
            else:
                log.append(f"to {Path(args[1]).name.removeprefix(path.name) or 'artifact'}")
            return real(*args, **options)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "replace", "rename", "link"):
        logged(name)
    write(path, NEW, overwrite=True)
    steps = ["to .manifest.json.next", "to artifact", "to .manifest.json"]
    assert log == ["sync file"] * 2 + [event for step in steps for event in (step, "sync folder")]
    path.unlink()
    manifest_path(path).unlink()
    del log[:]
    write(path, NEW)
    assert log == ["sync file"] * 2 + [event for step in steps for event in (step, "sync folder")]


@pytest.mark.parametrize("call", ["fsync", "replace", "link", "unlink"])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "simulated"), KeyboardInterrupt()])
def test_failing_at_any_call_leaves_one_whole_pair(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, overwrite: bool, error: BaseException
) -> None:
    real = getattr(os, call)
    outcomes = set()
    for fail_at in range(1, 10):
        for leftover in (path, manifest_path(path)):
            leftover.unlink(missing_ok=True)
        if overwrite:
            write(path, OLD)
        count = 0

        def fails(*args: Any, at: int = fail_at, **options: Any) -> Any:
            nonlocal count
            if str(args[0]).endswith(".lock"):  # what filelock does is its own
                return real(*args, **options)
            count += 1
            if count == at:
                raise error
            return real(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            try:
                write(path, NEW, overwrite=overwrite)
                raised = False
            except (StorageError, KeyboardInterrupt):
                raised = True
        found = read(path)
        assert found in ({OLD, NEW} if overwrite else {None, NEW})
        assert found == NEW or raised
        outcomes.add(found)
        with writing(path.with_name("other"), overwrite=False, belongs=belongs):
            pass
        assert not [name for name in names(path.parent) if "next" in name], f"{call} {fail_at}"
        if found is None and path.exists():
            pytest.fail(f"an artifact without manifest, after {call} {fail_at}")
        write(path, NEWER, overwrite=True)
        assert names(path.parent) == PAIR
    assert NEW in outcomes


def test_a_next_manifest_that_is_no_manifest_is_removed(path: Path) -> None:
    write(path, OLD)
    for make in (
        lambda: next_path(path).write_bytes(b"junk"),
        lambda: next_path(path).symlink_to(manifest_path(path)),
        lambda: os.mkfifo(next_path(path)),
        lambda: next_path(path).write_bytes(bytes(33 << 20)),
    ):
        make()
        write(path, NEW, overwrite=True)
        assert (read(path), names(path.parent)) == (NEW, PAIR)


def test_a_leftover_that_cannot_be_removed_is_not_in_the_way(path: Path) -> None:
    write(path, OLD)
    with writing(path, overwrite=True, belongs=belongs) as writer:
        scratch = writer.temporary
    scratch.mkdir()
    write(path, NEW, overwrite=True)
    assert (read(path), names(path.parent)) == (NEW, sorted([*PAIR, scratch.name]))


def test_the_temporary_is_written_and_read_by_its_descriptor(path: Path) -> None:
    with writing(path, overwrite=False, belongs=belongs) as writer:
        with writer.stream() as stream:
            stream.write(NEW)
        assert read_bytes(writer.blob, 0, 1 << 20) == NEW
        writer.commit(seal(NEW))
        fd = writer.blob.fileno()
    assert writer.blob.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert read(path) == NEW


def test_finishing_where_both_names_are_one_file(path: Path) -> None:
    write(path, OLD)
    os.link(manifest_path(path), next_path(path))
    write(path, NEW, overwrite=True)
    assert (read(path), names(path.parent)) == (NEW, PAIR)


def test_leftovers_of_other_artifacts_are_left(path: Path) -> None:
    with writing(path, overwrite=False, belongs=belongs) as writer:
        write(path.with_name("other.joblib"), NEW)
        assert writer.temporary.exists()


# ------------------------------------------------------------------------------------------------- races

RACER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import test_storage as t

    path, name, mode = Path(sys.argv[1]), sys.argv[2].encode(), sys.argv[3]
    print("ready", flush=True)
    sys.stdin.readline()
    if mode == "once":
        try:
            t.write(path, name * 1000)
            print("won")
        except FileExistsError:
            print("lost")
    else:
        for number in range(int(mode)):
            t.write(path, (name + str(number).encode()) * (1 + number % 7 * 500), overwrite=True)
        print("done")
    """
)


def race(path: Path, mode: str, number: int) -> list[subprocess.Popen[str]]:
    script = RACER
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path), f"racer{n}", mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(Path(__file__).parent),
        )
        for n in range(number)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    return racers


def finish(racers: list[subprocess.Popen[str]]) -> list[str]:
    said = [racer.communicate(timeout=120)[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * len(racers)
    return said


def test_of_many_processes_exactly_one_wins(path: Path) -> None:
    said = finish(race(path, "once", 6))
    assert sorted(said) == ["lost"] * 5 + ["won"]
    assert read(path) == f"racer{said.index('won')}".encode() * 1000
    assert names(path.parent) == PAIR


def test_of_many_threads_exactly_one_wins(path: Path) -> None:
    won, lost = [], []

    def run(number: int) -> None:
        content = str(number).encode() * 1000
        try:
            write(path, content)
            won.append(content)
        except FileExistsError:
            lost.append(content)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 11)
    assert read(path) == won[0]
    assert names(path.parent) == PAIR


def test_readers_beside_writers_always_find_a_pair(path: Path) -> None:
    write(path, OLD)
    racers = race(path, "60", 2)
    reads = set()
    while any(racer.poll() is None for racer in racers):
        found = read(path)
        assert found is not None
        reads.add(found)
    assert finish(racers) == ["done", "done"]
    assert len(reads) > 5
    assert names(path.parent) == PAIR


def test_waiting_for_another_writer_ends(path: Path) -> None:
    with writing(path, overwrite=False, belongs=belongs) as writer:
        failures = []

        def wait() -> None:
            try:
                write(path, NEWER, lock_timeout=0.1)
            except StorageError as error:
                failures.append(str(error))

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
        writer.temporary.write_bytes(NEW)
        writer.commit(seal(NEW))
    assert len(failures) == 1
    assert "another process or thread" in failures[0]
    assert read(path) == NEW


def test_the_lock_of_a_killed_writer_is_free(path: Path) -> None:
    script = RACER.replace(
        "t.write(path, name * 1000)",
        "with t.writing(path, overwrite=False, belongs=t.belongs): print('locked', flush=True); input()",
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path), "x", "once"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(Path(__file__).parent),
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"go\n")
        holder.stdin.flush()
        assert [holder.stdout.readline() for _ in range(2)] == [b"ready\n", b"locked\n"]
        with pytest.raises(StorageError, match=r"over 0\.1 seconds"):
            write(path, NEW, lock_timeout=0.1)
        holder.send_signal(signal.SIGKILL)
    write(path, NEW, lock_timeout=0)  # waits for nobody
    assert (read(path), names(path.parent)) == (NEW, PAIR)


# ------------------------------------------------------------------------------------------------ private


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[tuple[Path, FileBlob]]:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    path = folder / "it's"
    path.write_bytes(NEW)
    path.chmod(0o644)
    fd = os.open(path, os.O_RDONLY)
    yield path, FileBlob(fd, str(path))
    os.close(fd)


def test_private_files_may_be_mapped(owned: tuple[Path, FileBlob]) -> None:
    path, blob = owned
    require_private(blob, path)
    path.parent.chmod(0o1777)  # as /tmp
    require_private(blob, path)
    link = path.with_name("link")
    link.symlink_to(path)
    require_private(blob, link)


@pytest.mark.parametrize(("which", "mode"), [("file", 0o664), ("file", 0o646), ("folder", 0o775), ("folder", 0o757)])
def test_files_that_others_may_change_are_not_mapped(owned: tuple[Path, FileBlob], which: str, mode: int) -> None:
    path, blob = owned
    (path if which == "file" else path.parent).chmod(mode)
    with pytest.raises(StorageError, match="chmod go-w") as caught:
        require_private(blob, path)
    command = str(caught.value).split("Run: ")[1].split(", or ")[0]
    subprocess.run(command, shell=True, check=True)
    require_private(blob, path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_others_are_not_mapped(owned: tuple[Path, FileBlob]) -> None:
    path, blob = owned
    os.chown(path, 12345, 12345)
    with pytest.raises(StorageError, match="uid 12345"):
        require_private(blob, path)


def test_another_file_under_the_name_is_noticed(owned: tuple[Path, FileBlob]) -> None:
    path, blob = owned
    path.rename(path.with_name("moved"))
    path.write_bytes(NEW)
    with pytest.raises(StorageError, match="replaced"):
        require_private(blob, path)


def test_snapshots_tell_what_changed(path: Path) -> None:
    assert json.dumps(vars_of(snapshot(path))) == '{"artifact": null, "manifest": null, "next": null}'
    write(path, OLD)
    first = snapshot(path)
    assert snapshot(path) == first
    write(path, OLD, overwrite=True)
    assert snapshot(path) != first


def vars_of(found: Snapshot) -> dict[str, object]:
    return {name: getattr(found, name) for name in ("artifact", "manifest", "next")}
