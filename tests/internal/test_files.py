"""Opening, checking and replacing single files: what every package relies on."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from safeload._internal.atomic import new_file
from safeload._internal.files import (
    OTHERS_USE,
    OTHERS_WRITE,
    NotRegularError,
    TooLargeError,
    exposure,
    open_regular,
    read_regular,
)

if TYPE_CHECKING:
    from pathlib import Path

ME, ROOT, OTHER = os.geteuid(), 0, 12345
FILE, FOLDER = stat.S_IFREG, stat.S_IFDIR


def status(mode: int, uid: int) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "uid", "forbidden", "root", "expected"),
    [
        (FILE | 0o644, ME, OTHERS_WRITE, True, None),
        (FILE | 0o644, ROOT, OTHERS_WRITE, True, None),
        (FILE | 0o600, OTHER, OTHERS_WRITE, True, "owner"),
        (FILE | 0o666, OTHER, OTHERS_WRITE, True, "owner"),
        (FILE | 0o664, ME, OTHERS_WRITE, True, "mode"),
        (FILE | 0o646, ME, OTHERS_WRITE, True, "mode"),
        (FOLDER | 0o777, ME, OTHERS_WRITE, True, "mode"),
        (FOLDER | 0o1777, ME, OTHERS_WRITE, True, None),
        (FILE | 0o1777, ME, OTHERS_WRITE, True, "mode"),  # the sticky bit protects what is in a folder only
        (FOLDER | 0o1777, ME, OTHERS_USE, True, "mode"),
        (FOLDER | 0o1722, ME, OTHERS_USE, True, "mode"),
        (FOLDER | 0o710, ME, OTHERS_USE, True, "mode"),
        (FOLDER | 0o700, ME, OTHERS_USE, False, None),
        (FILE | 0o600, ME, OTHERS_USE | stat.S_IWUSR, False, "mode"),
        (FILE | 0o400, ME, OTHERS_USE | stat.S_IWUSR, False, None),
    ],
)
def test_who_else_can_use_a_file(mode: int, uid: int, forbidden: int, root: bool, expected: str | None) -> None:
    assert exposure(status(mode, uid), forbidden, root=root) == expected


def test_root_may_own_a_file_only_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert exposure(status(FILE | 0o600, ROOT)) is None
    assert exposure(status(FILE | 0o600, ROOT), root=False) == "owner"
    assert exposure(status(FILE | 0o600, 1000), root=False) is None


def test_no_more_is_read_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    assert read_regular(path, 1000) == bytes(1000)
    with pytest.raises(TooLargeError, match="more than 999 bytes"):
        read_regular(path, 999)
    path.write_bytes(b"")
    assert read_regular(path, 0) == b""


def test_only_regular_files_are_opened_and_nothing_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(tmp_path / "socket"))
        for path, kind in ((tmp_path, stat.S_ISDIR), (tmp_path / "pipe", stat.S_ISFIFO), (tmp_path / "socket", None)):
            before = len(os.listdir("/dev/fd"))
            with pytest.raises(NotRegularError) as caught:
                open_regular(path)
            assert caught.value.mode == 0 if kind is None else kind(caught.value.mode)
            assert len(os.listdir("/dev/fd")) == before
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "missing")
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 100) == b"content"
    with pytest.raises(OSError, match="symbolic links"):
        read_regular(tmp_path / "link", 100, flags=os.O_NOFOLLOW)


def test_a_new_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target, temporary = tmp_path / "target", tmp_path / "temporary"
    with new_file(temporary, 0o640) as new:
        new.write(b"first ")
        new.write(b"and second")
        assert os.listdir(tmp_path) == ["temporary"]
        new.settle()
        new.place(target, overwrite=False)
        assert new.is_at(target)
    assert (target.read_bytes(), os.listdir(tmp_path)) == (b"first and second", ["target"])
    with new_file(temporary, 0o640) as new, pytest.raises(FileExistsError):
        new.place(target, overwrite=False)
    with pytest.raises(RuntimeError), new_file(temporary, 0o640):
        raise RuntimeError
    assert (target.read_bytes(), os.listdir(tmp_path)) == (b"first and second", ["target"])


def test_a_new_file_has_the_mode_of_the_one_that_it_replaces(tmp_path: Path) -> None:
    target, temporary = tmp_path / "target", tmp_path / "temporary"
    target.write_bytes(b"")
    target.chmod(0o606)
    with new_file(temporary, 0o640, like=target) as new:
        new.place(target, overwrite=True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o606
    with new_file(temporary, 0o600, like=tmp_path / "missing") as new:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        new.settle(0o400)
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o400


def test_no_file_takes_the_place_of_a_temporary(tmp_path: Path) -> None:
    (tmp_path / "temporary").symlink_to("elsewhere")
    with pytest.raises(FileExistsError), new_file(tmp_path / "temporary", 0o600):
        pass
    assert os.listdir(tmp_path) == ["temporary"]
