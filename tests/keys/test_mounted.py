"""Keyrings as deployments mount them, and keyrings with public keys only."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import safeload
from safeload.errors import KeyringError
from safeload.keys import Keyring, SigningKey, editing, public_part, resolve_keyring
from support.cli_runs import command

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, GROUP, OTHER_GROUP = 54321, 54322, 54323
NOBODY = 0xFFFFFFFF
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files and processes to other users")


def load_as_user(path: Path, *groups: int, credentials: Path | None = None) -> str:
    """Load a keyring in a forked child that is not root; return the ids of its keys, or the refusal."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.environ.pop("CREDENTIALS_DIRECTORY", None)
            if credentials is not None:
                os.environ["CREDENTIALS_DIRECTORY"] = str(credentials)
            os.setgroups(groups)
            os.setgid(USER)
            os.setuid(USER)
            try:
                said = ",".join(entry.key_id for entry in Keyring.load(path).entries)
            except KeyringError as error:
                said = str(error)
            os.write(writing, said.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def volume() -> Iterator[Path]:
    """A Secret volume as kubelet makes it: a world-writable sticky folder, ..data, and links; with an HMAC keyring."""

    folder = Path(tempfile.mkdtemp(prefix="safeload-volume-"))  # pytest's folders are for their owner only
    contents = folder / "..2026_11_02_09_30_00.123456789"
    contents.mkdir()
    Keyring.from_keys([SigningKey.generate(key_id="mounted")]).save(contents / "keyring.toml")
    (folder / "..data").symlink_to(contents.name)
    (folder / "keyring.toml").symlink_to("..data/keyring.toml")
    os.chown(contents, 0, GROUP)
    os.chown(contents / "keyring.toml", 0, GROUP)
    contents.chmod(0o2755)
    folder.chmod(0o3777)
    yield folder
    shutil.rmtree(folder)


@needs_root
@pytest.mark.parametrize("mode", [0o440, 0o640])
def test_a_secret_volume_with_an_fs_group_is_read_by_pods_that_are_not_root(volume: Path, mode: int) -> None:
    path = volume / "keyring.toml"
    path.chmod(mode)
    assert load_as_user(path, GROUP) == "mounted"
    assert load_as_user(path, OTHER_GROUP, GROUP) == "mounted"
    assert "permission denied" in load_as_user(path, OTHER_GROUP).lower()


@needs_root
@pytest.mark.parametrize("mode", [0o444, 0o644, 0o460, 0o450, 0o441])
def test_a_secret_volume_that_others_can_use_is_refused_with_the_fields_to_set(volume: Path, mode: int) -> None:
    (volume / "keyring.toml").chmod(mode)
    said = load_as_user(volume / "keyring.toml", GROUP)
    assert "other users can use it" in said
    assert "defaultMode: 0440" in said
    assert "fsGroup" in said


@needs_root
def test_a_folder_that_others_can_write_is_refused(volume: Path) -> None:
    (volume / "keyring.toml").chmod(0o440)
    for mode in (0o2775, 0o2757):
        (volume / "..data").chmod(mode)
        assert "other users can use it" in load_as_user(volume / "keyring.toml", GROUP)


@needs_root
def test_a_file_of_the_user_that_a_group_can_read_is_refused(volume: Path) -> None:
    path = volume / "keyring.toml"
    os.chown(path, USER, GROUP)
    path.chmod(0o440)
    assert "other users can use it" in load_as_user(path, GROUP)
    path.chmod(0o400)
    assert load_as_user(path) == "mounted"


@needs_root
def test_systemd_credentials_are_read_by_their_access_list(volume: Path) -> None:
    folder, path = volume / "..data", volume / "..data" / "keyring.toml"
    os.chown(path, 0, 0)
    path.chmod(0o400)
    # acl(5), as Linux keeps it: the owner, this user and the mask may read; the group and others may not.
    entries = [(0x01, 4, NOBODY), (0x02, 4, USER), (0x04, 0, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY)]
    access = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(path, "system.posix_acl_access", access)
    assert stat.S_IMODE(path.stat().st_mode) == 0o440
    assert load_as_user(path, credentials=folder) == "mounted"
    assert "other users can use it" in load_as_user(path)
    assert "other users can use it" in load_as_user(path, credentials=volume)


def test_a_process_substitution_is_read(tmp_path: Path) -> None:
    ring = Keyring.from_keys([SigningKey.generate()])
    ring.save(tmp_path / "ring.toml")
    safeload.dump([1], tmp_path / "m.joblib", key=ring)
    code = f"{sys.executable} -m safeload verify m.joblib --keyring <(cat ring.toml)"
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "ring.toml").open("rb") as file:
        for name in ("/dev/fd", "/proc/self/fd"):
            assert Keyring.load(f"{name}/{file.fileno()}").entries[0].key_id == ring.entries[0].key_id
    with pytest.raises(KeyringError, match="passed as a descriptor"), editing("/dev/fd/3"):
        pass


# --- public keyrings ---


@pytest.fixture
def public(tmp_path: Path) -> Path:
    path = tmp_path / "public.toml"
    public_part(Keyring.from_keys([SigningKey.generate("ed25519", key_id="trainer")])).save(path)
    return path


def test_a_public_keyring_verifies_only(public: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match=r"public\.toml: it has public keys only, so it verifies only"):
        safeload.dump([1], tmp_path / "m.joblib", key=public)
    assert not (tmp_path / "m.joblib").exists()


def test_no_command_puts_a_secret_into_a_public_keyring(public: Path, tmp_path: Path) -> None:
    before = public.read_bytes()
    with pytest.raises(KeyringError, match="cannot add a secret to"), editing(public) as ring:
        ring.add(SigningKey.generate("ed25519"))
    rotated = command("key", "rotate", "--keyring", public)
    made = command("key", "new", "--out", public)
    assert (rotated.returncode, made.returncode) == (2, 2)
    assert "public keys only" in rotated.stderr
    assert "public keys only" in made.stderr
    assert "key rotate" not in made.stderr
    assert public.read_bytes() == before
    with editing(public) as ring:  # public keys are welcome
        ring.add(SigningKey.generate("ed25519", key_id="other").verifying_key)
    assert [entry.key_id for entry in Keyring.load(public).entries] == ["trainer", "other"]


def test_without_a_keyring_verify_names_the_places_and_sign_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SAFELOAD_KEYRING", "SAFELOAD_KEYRING_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(KeyringError) as raised:
        resolve_keyring(None)
    said = str(raised.value)
    for part in ("SAFELOAD_KEYRING ", "SAFELOAD_KEYRING_DATA", str(tmp_path), "secret mounted"):
        assert part in said
    assert "key new" not in said
    with pytest.raises(KeyringError, match="key new"):
        resolve_keyring(None, signing=True)
