"""The commands about keys: made, listed, rotated, revoked, exported, imported; and what signs again, and beside."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import select
import shlex
import signal
import stat
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import joblib
import pytest

import safeload
from safeload._storage.pair import manifest_path
from safeload.keys import Keyring, SigningKey, public_part
from support.cli_runs import ALLOWED, ERROR, NOTHING, REFUSED, USAGE, Outcome, command
from support.places import ROOT

pytestmark = pytest.mark.usefixtures("own_home")
PASSPHRASE = "correct horse battery"


def descriptor(text: str) -> str:
    """Return the number of an open descriptor that holds this text."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    return str(reading)


def signers_of(path: Path) -> list[str]:
    return [one["keyid"] for one in json.loads(path.read_text())["signatures"]]


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    path = tmp_path / "ring.toml"
    Keyring.from_keys([SigningKey.generate("ed25519", "old")]).save(path)
    return path


@pytest.fixture
def models(tmp_path: Path, ring: Path) -> Path:
    """A tree with three artifacts, and a store with a channel."""
    folder = tmp_path / "models"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.joblib", "b.joblib", "deep/c.pkl.gz"):
        safeload.dump({"name": name}, folder / name, key=ring, version="1.0")
    store = safeload.Store(folder / "store", key=ring)
    store.save("fraud", [1], version="1")
    store.promote("fraud", "1")
    return folder


def signed_files(models: Path) -> list[Path]:
    return sorted(models.rglob("*.manifest.json")) + sorted(models.rglob("channels/*.json"))


def tamper(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


# ------------------------------------------------------------------------------------------------- rotation


def test_a_key_is_rotated_over_a_tree_step_by_step(run: Any, ring: Path, models: Path, tmp_path: Path) -> None:
    rotated = run("key", "rotate", "--keyring", ring, "--id", "new", "--not-after", "52w")
    assert rotated.code == ALLOWED
    for step in ("key new (ed25519) signs now", "key export", "safeload re-sign PATH", "safeload key revoke old"):
        assert step in rotated.out
    assert run("verify", models, "--keyring", ring).code == ALLOWED
    public = tmp_path / "public.toml"
    assert run("key", "export", "--keyring", ring, "--out", public).code == ALLOWED

    done = run("re-sign", models, "--keyring", ring, "--format", "json")
    assert (done.code, done.err) == (ALLOWED, "")
    assert (done.document["command"], done.document["changed"], done.document["interrupted"]) == ("re-sign", 5, False)
    for result in done.document["results"]:
        assert (result["verdict"], result["added"], result["removed"]) == ("allowed", ["new"], ["old"])
    kinds = {Path(result["path"]).name: (result["kind"], result["version"]) for result in done.document["results"]}
    assert kinds["production.json"] == ("channel", "1")
    assert kinds["c.pkl.gz"] == ("artifact", "1.0")
    assert all(signers_of(file) == ["new"] for file in signed_files(models))

    before = [file.read_bytes() for file in signed_files(models)]
    again = run("re-sign", models, "--keyring", ring)
    assert again.code == ALLOWED
    assert "release 1 (1.0), signed by new already" in again.out
    assert "5 looked at: 0 signed, 5 left as they were" in again.out
    assert [file.read_bytes() for file in signed_files(models)] == before

    revoked = run("key", "revoke", "old", "--reason", "rotated", "--keyring", ring)
    assert (revoked.code, revoked.out) == (ALLOWED, f"revoked key old in {ring}\n")
    assert run("verify", models, "--keyring", ring).code == ALLOWED
    assert safeload.Store(models / "store", keyring=ring).load("fraud", channel="production") == [1]


def test_the_rotation_in_the_documentation_works(
    run: Any, ring: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "how-to" / "rotate-keys.md").read_text()
    story = text[text.index("## Rotate a key over a folder") :]
    lines = story.split("```sh\n")[1].split("```")[0].splitlines()
    assert len(lines) == 6
    monkeypatch.chdir(tmp_path)
    ring.rename("training.toml")
    public_part(Keyring.load("training.toml")).save("serving.toml")
    for line in lines:
        done = run(*shlex.split(line.replace("OLD-ID", "old"), comments=True)[1:])
        assert done.code == ALLOWED, (line, done)
        # What the service trusts by then is enough for all that is signed by then.
        if "key rotate" not in line and "key revoke" not in line:
            assert run("verify", models, "--keyring", "serving.toml").code == ALLOWED
    statuses = [(entry.key_id == "old", entry.status) for entry in Keyring.load("serving.toml").entries]
    assert statuses == [(True, "revoked"), (False, "verify-only")]


def test_what_does_not_verify_is_refused_reported_and_left(run: Any, ring: Path, models: Path) -> None:
    tamper(models / "b.joblib")
    joblib.dump([1], models / "unsigned.joblib")
    (models / "deep" / "d.joblib").mkdir()
    run("key", "rotate", "--keyring", ring, "--id", "new")
    before = (models / "b.joblib").read_bytes(), manifest_path(models / "b.joblib").read_bytes()
    done = run("re-sign", models, models / "missing.joblib", "--keyring", ring, "--format", "json")
    assert done.code == REFUSED
    results = {Path(result["path"]).name: result for result in done.document["results"]}
    assert results["b.joblib"]["findings"][0]["code"] == "SL201"
    assert results["unsigned.joblib"]["findings"][0]["code"] == "SL101"
    assert results["missing.joblib"]["error"] == "there is no such file"
    assert done.document["summary"] == {
        "checked": 7,
        "allowed": 4,
        "refused": 2,
        "error": 1,
        "skipped": 0,
        "would_not_load_here": 0,
        "excluded": 0,
    }
    assert ((models / "b.joblib").read_bytes(), manifest_path(models / "b.joblib").read_bytes()) == before
    assert not manifest_path(models / "unsigned.joblib").exists()
    assert signers_of(manifest_path(models / "a.joblib")) == ["new"], "one refusal does not stop the others"
    text = run("re-sign", models, "--keyring", ring)
    assert text.code == REFUSED
    assert "2 refused, and left as they were" in text.out
    assert run("re-sign", models / "missing.joblib", "--keyring", ring).code == ERROR


# Kills or interrupts itself at the third file; the command line after the signal's name is safeload's.
DYING = textwrap.dedent(
    """
    import os, signal, sys
    from safeload._cli import main
    from safeload.store import ReSigner

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits it ignored
    real, count = ReSigner.sign, 0
    def sign(self, path):
        global count
        count += 1
        if count == 3:
            os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        return real(self, path)
    ReSigner.sign = sign
    main(sys.argv[2:])
    """
)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_rotation_that_was_killed_goes_on_when_it_is_run_again(
    run: Any, ring: Path, models: Path, tmp_path: Path, how: str
) -> None:
    rotate = ("key", "rotate", "--keyring", ring, "--re-sign", models, "--format", "json")
    killed = subprocess.run(
        [sys.executable, "-c", DYING, how, *map(str, rotate)], capture_output=True, text=True, timeout=60
    )
    if how == "SIGINT":
        assert killed.returncode == ERROR
        assert (
            "interrupted, 2 of 5 looked at, 2 signed and the rest not: what is done stays; run the same"
            in killed.stderr
        )
        document = json.loads(killed.stdout)
        assert (document["interrupted"], document["changed"]) == (True, 2)
    else:
        assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "")
    half = Keyring.load(ring)
    new = half.rotating_to
    assert [entry.status for entry in half.entries] == ["verify-only", "active"]
    assert sorted(signers_of(file) == [new] for file in signed_files(models)) == [False] * 3 + [True] * 2
    assert run("verify", models, "--keyring", ring).code == ALLOWED

    assert f"a rotation to {new} has not come to its end" in run("key", "list", "--keyring", ring).out
    for other in (("key", "rotate", "--keyring", ring), (*rotate, "--id", "third")):
        refused = run(*other)
        assert refused.code == ERROR
        assert f"to key {new!r} is not finished" in refused.err
    done = run(*rotate)
    assert done.code == ALLOWED
    assert done.document["key"] == {"id": new, "algorithm": "ed25519", "replaces": "old"}
    assert (done.document["changed"], done.document["summary"]["checked"]) == (3, 5)
    after = Keyring.load(ring)
    assert ([entry.key_id for entry in after.entries], after.rotating_to) == (["old", new], None)
    assert all(signers_of(file) == [new] for file in signed_files(models))


def test_a_rotation_with_refusals_has_not_come_to_its_end(run: Any, ring: Path, models: Path, tmp_path: Path) -> None:
    rotate = ("key", "rotate", "--keyring", ring, "--re-sign", models)
    (tmp_path / "empty").mkdir()
    before = ring.read_bytes()
    for folder, code in (("missing", ERROR), ("empty", NOTHING)):
        nothing = run("key", "rotate", "--keyring", ring, "--re-sign", tmp_path / folder)
        assert nothing.code == code
        assert "no key was made" in nothing.err
    assert ring.read_bytes() == before
    genuine = (models / "a.joblib").read_bytes()
    tamper(models / "a.joblib")
    refused = run(*rotate)
    assert refused.code == REFUSED
    assert "has not come to its end: look at what was refused" in refused.err
    (models / "a.joblib").write_bytes(genuine)
    assert run(*rotate).code == ALLOWED
    assert len(Keyring.load(ring).entries) == 2
    assert Keyring.load(ring).rotating_to is None


# Loads all models, over and over, with a keyring that has both keys, until it is told to stop.
READER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import safeload

    models, ring, stop = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    loader, store = safeload.Loader(keyring=ring), safeload.Store(models / "store", keyring=ring)
    paths = [models / name for name in ("a.joblib", "b.joblib", "deep/c.pkl.gz")]
    rounds = failures = 0
    while not stop.exists():
        for path in paths:
            try:
                assert loader.load(path)["name"] == str(path.relative_to(models))
                assert store.load("fraud", channel="production") == [1]
            except Exception as error:
                failures += 1
                print(repr(error), file=sys.stderr)
        rounds += 1
        print(rounds, flush=True)
    print("failures", failures)
    """
)


def test_a_service_that_has_both_keys_never_fails_to_load(run: Any, ring: Path, models: Path, tmp_path: Path) -> None:
    public = tmp_path / "public.toml"
    stop = tmp_path / "stop"
    run("key", "rotate", "--keyring", ring, "--id", "new")
    run("key", "export", "--keyring", ring, "--out", public)
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, models, public, stop], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    both = Keyring.load(ring)
    old, new = both.entries
    back = Keyring([new, old])
    old_key = old.key
    assert isinstance(old_key, safeload.SigningKey)
    for _ in range(5):  # forth and back, so that it is caught at work
        assert run("re-sign", models, "--keyring", ring).code == ALLOWED
        for name in ("a.joblib", "b.joblib", "deep/c.pkl.gz", "store/fraud/channels/production.json"):
            assert safeload.re_sign(models / name, key=old_key, keyring=back, replacing=["new"]).added == ("old",)
    reader.stdout.readline()
    stop.touch()
    out, err = reader.communicate(timeout=60)
    assert (out.splitlines()[-1], err) == ("failures 0", "")


# -------------------------------------------------------------------------------------------- several keys


def test_signatures_are_added_until_there_are_enough(run: Any, models: Path, ring: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.toml"
    run("key", "new", "--out", second, "--algorithm", "ed25519", "--id", "risk")
    run("key", "export", "--keyring", second, "--pem", "--out", tmp_path / "risk.pem")
    run("key", "export", "--keyring", ring, "--out", tmp_path / "public.toml")
    demanding = tmp_path / "public.toml"
    assert run("key", "import", tmp_path / "risk.pem", "--keyring", demanding, "--id", "risk").code == ALLOWED
    demanding.write_text(demanding.read_text().replace("version = 1", "version = 1\nthreshold = 2"))
    assert "2 of these keys have to have signed" in run("key", "list", "--keyring", demanding).out

    few = run("verify", models, "--keyring", demanding)
    assert few.code == REFUSED
    assert "SL109" in few.out
    assert "safeload countersign" in few.out
    done = run("countersign", models, "--keyring", demanding, "--key", second)
    assert done.code == ALLOWED
    assert "5 looked at: 5 signed" in done.out
    assert run("verify", models, "--keyring", demanding).code == ALLOWED
    assert safeload.Store(models / "store", keyring=demanding).load("fraud", channel="production") == [1]
    again = run("countersign", models, "--keyring", demanding, "--key", second, "--format", "json")
    assert (again.code, again.document["changed"]) == (ALLOWED, 0)

    tamper(models / "a.joblib")
    third = tmp_path / "third.toml"
    run("key", "new", "--out", third, "--algorithm", "ed25519", "--id", "third")
    stranger = run("countersign", models / "b.joblib", "--keyring", demanding, "--key", third)
    assert stranger.code == ERROR
    assert "cannot sign with key 'third'" in stranger.err
    run("key", "export", "--keyring", third, "--pem", "--out", tmp_path / "third.pem")
    run("key", "import", tmp_path / "third.pem", "--keyring", demanding, "--id", "third")
    mixed = run("countersign", models, "--keyring", demanding, "--key", third)
    assert mixed.code == REFUSED
    assert "SL201" in mixed.out
    assert signers_of(manifest_path(models / "a.joblib")) == ["old", "risk"]


def test_usage_of_what_signs_again(run: Any, ring: Path, models: Path, tmp_path: Path) -> None:
    unsure = run("re-sign", models, "--keyring", ring)
    assert (unsure.code, unsure.out) == (ERROR, "")
    assert "--replace ID" in unsure.err
    for again in ("re-sign", "countersign"):
        missing = run(again, models, "--keyring", ring, "--key", tmp_path / "missing.pem")
        assert (missing.code, missing.out) == (ERROR, "")
        assert f"there is no key file at {tmp_path}/missing.pem" in missing.err
    assert run("re-sign", models, "--keyring", ring, "--replace", "x").code == ERROR
    (tmp_path / "empty").mkdir()
    run("key", "rotate", "--keyring", ring)
    assert run("re-sign", tmp_path / "empty", "--keyring", ring).code == NOTHING
    inside = run(
        "re-sign", models, "--keyring", ring, "-o", models / "store" / "fraud" / "channels" / "production.json"
    )
    assert inside.code == USAGE
    report = tmp_path / "report.json"
    quiet = run("re-sign", models, "--keyring", ring, "--format", "json", "-o", report, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (ALLOWED, "", "")
    assert json.loads(report.read_text())["changed"] == 5


def test_who_watches_sees_how_far_it_is(run: Any, ring: Path, models: Path) -> None:
    run("key", "rotate", "--keyring", ring)
    slow = (
        "import time; from safeload._cli.running import progress; progress._PATIENCE = 0\n"
        "from safeload.store import ReSigner; real = ReSigner.sign\n"
        "ReSigner.sign = lambda *arguments: (time.sleep(0.1), real(*arguments))[1]\n"
    )
    code, shown = Terminal("re-sign", models, "--keyring", ring, first=slow).end()
    assert code == ALLOWED
    assert b"signing" in shown
    assert b"/5" in shown


# -------------------------------------------------------------------------------------------- encrypted keys


class Terminal:
    """A command that has a terminal of its own, as people have."""

    START = (
        "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from safeload._cli import main;"
        "main(sys.argv[1:])"
    )

    def __init__(self, *arguments: str | Path, first: str = "") -> None:
        self._leader, follower = pty.openpty()
        self.shown = b""
        self._process = subprocess.Popen(
            [sys.executable, "-c", first + self.START, *(os.fspath(argument) for argument in arguments)],
            stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
            env={**os.environ, "NO_COLOR": "1"},
        )  # fmt: skip
        os.close(follower)

    def answer(self, prompt: bytes, text: str) -> None:
        """Wait for a prompt, and type."""
        start = len(self.shown)
        while prompt not in self.shown[start:]:
            assert self._read(), self.shown
        os.write(self._leader, text.encode() + b"\n")

    def end(self) -> tuple[int, bytes]:
        while self._read():
            pass
        os.close(self._leader)
        return self._process.wait(60), self.shown

    def _read(self) -> bool:
        assert select.select([self._leader], [], [], 60)[0], self.shown
        try:
            block = os.read(self._leader, 4096)
        except OSError:  # how Linux says that the terminal was closed
            return False
        self.shown += block
        return bool(block)


def test_passphrases_are_asked_for_hidden_and_confirmed(tmp_path: Path) -> None:
    ring = tmp_path / "ring.toml"
    new = Terminal("key", "new", "--out", ring, "--algorithm", "ed25519", "--id", "k", "--encrypt")
    new.answer(b"New passphrase for key 'k', 12 bytes or more: ", PASSPHRASE)
    new.answer(b"The same again: ", PASSPHRASE)
    code, shown = new.end()
    assert code == ALLOWED, shown
    assert b"made key k (ed25519, encrypted)" in shown
    assert PASSPHRASE.encode() not in shown
    assert Keyring.load(ring).locked
    joblib.dump([1], tmp_path / "m.joblib")
    for typed, expected in (("wrong wrong wrong", ERROR), (PASSPHRASE, ALLOWED)):
        sign = Terminal("sign", tmp_path / "m.joblib", "--keyring", ring)
        sign.answer(b"Passphrase of key 'k' in keyring ", typed)
        code, shown = sign.end()
        assert code == expected, shown
        assert typed.encode() not in shown
    assert safeload.load(tmp_path / "m.joblib", keyring=ring) == [1]


def test_two_different_new_passphrases_make_nothing(tmp_path: Path) -> None:
    ring = tmp_path / "ring.toml"
    new = Terminal("key", "new", "--out", ring, "--algorithm", "ed25519", "--encrypt")
    new.answer(b"12 bytes or more: ", PASSPHRASE)
    new.answer(b"The same again: ", PASSPHRASE + "x")
    code, shown = new.end()
    assert (code, b"two passphrases differ" in shown) == (ERROR, True)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def encrypted(tmp_path: Path, run: Any) -> Path:
    path = tmp_path / "encrypted.toml"
    made = run(
        "key", "new", "--out", path, "--algorithm", "ed25519", "--id", "k", "--encrypt", "--passphrase-fd",
        descriptor(PASSPHRASE + "\n"),
    )  # fmt: skip
    assert made.code == ALLOWED
    return path


def test_every_command_that_signs_takes_a_passphrase_from_a_descriptor(
    run: Any, encrypted: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.joblib"
    joblib.dump([1], path)

    def signs(*arguments: str | Path, passphrase: str = PASSPHRASE) -> Outcome:
        outcome: Outcome = run(*arguments, "--keyring", encrypted, "--passphrase-fd", descriptor(passphrase))
        assert passphrase not in outcome.out + outcome.err
        return outcome

    assert signs("sign", path).code == ALLOWED
    older = path.read_bytes(), manifest_path(path).read_bytes()
    assert signs("sign", path, "--overwrite").code == ALLOWED
    path.write_bytes(older[0])
    manifest_path(path).write_bytes(older[1])
    assert signs("reissue", path, "--from-release", "2").code == ALLOWED
    wrong = signs("reissue", path, "--from-release", "9", passphrase="wrong wrong wrong")
    assert wrong.code == ERROR
    assert "the passphrase is wrong" in wrong.err
    # The new key is encrypted because the old one is.
    assert signs("key", "rotate", "--id", "k2", "--re-sign", path).code == ALLOWED
    assert [bool(entry.encrypted) for entry in Keyring.load(encrypted).entries] == [True, True]
    assert signers_of(manifest_path(path)) == ["k2"]
    assert signs("key", "rotate", "--id", "k3").code == ALLOWED
    assert signs("re-sign", path).code == ALLOWED
    assert signers_of(manifest_path(path)) == ["k3"]
    assert run("verify", path, "--keyring", encrypted).code == ALLOWED, "whoever verifies needs none"
    run("key", "new", "--out", tmp_path / "other.toml", "--algorithm", "ed25519", "--id", "other")
    run("key", "export", "--keyring", tmp_path / "other.toml", "--pem", "--out", tmp_path / "other.pem")
    run("key", "import", tmp_path / "other.pem", "--keyring", encrypted, "--id", "other")
    safeload.dump([1], path, key=tmp_path / "other.toml", overwrite=True, release=9)
    assert signs("countersign", path).code == ALLOWED
    assert signers_of(manifest_path(path)) == ["other", "k3"]
    pem = tmp_path / "k3.pem"
    run("key", "export", "--keyring", encrypted, "--private", "--id", "k3", "--out", pem)
    safeload.dump([1], path, key=tmp_path / "other.toml", overwrite=True, release=10)
    countersign = ("countersign", path, "--keyring", encrypted, "--key", pem, "--passphrase-fd")
    assert run(*countersign, descriptor("wrong wrong wrong")).code == ERROR
    assert run(*countersign, descriptor(PASSPHRASE)).code == ALLOWED
    assert signers_of(manifest_path(path)) == ["other", "k3"], "by the name that the keyring has for it"


def test_without_a_terminal_and_a_descriptor_it_says_what_is_needed(encrypted: Path, tmp_path: Path) -> None:
    joblib.dump([1], tmp_path / "m.joblib")
    done = command("sign", tmp_path / "m.joblib", "--keyring", encrypted, start_new_session=True)
    assert done.returncode == ERROR
    assert f"cannot ask for the passphrase of key 'k' in keyring {encrypted}: there is no terminal" in done.stderr
    assert "--passphrase-fd 3 3<FILE" in done.stderr
    assert not manifest_path(tmp_path / "m.joblib").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "exactly one line"),
        ("a\nb\n", "exactly one line"),
        ("x" * 5000, "exactly one line"),
        ("short", "12 to 1023"),
    ],
)
def test_descriptors_that_hold_no_passphrase(run: Any, tmp_path: Path, text: str, message: str) -> None:
    refused = run(
        "key", "new", "--out", tmp_path / "r.toml", "--algorithm", "ed25519", "--encrypt", "--passphrase-fd",
        descriptor(text),
    )  # fmt: skip
    assert refused.code == ERROR
    assert message in refused.err
    assert not (tmp_path / "r.toml").exists()


def test_a_descriptor_that_is_not_open_or_not_needed(run: Any, ring: Path, encrypted: Path, tmp_path: Path) -> None:
    joblib.dump([1], tmp_path / "m.joblib")
    closed = run("sign", tmp_path / "m.joblib", "--keyring", encrypted, "--passphrase-fd", "987")
    assert closed.code == ERROR
    assert "--passphrase-fd 987 987<FILE" in closed.err
    needless = run("sign", tmp_path / "m.joblib", "--keyring", ring, "--passphrase-fd", "987")
    assert needless.code == ERROR
    assert "no active key that needs a passphrase" in needless.err


# ------------------------------------------------------------------------------------- files of single keys


def test_the_public_half_is_exported_and_verifies(run: Any, ring: Path, models: Path, tmp_path: Path) -> None:
    public = tmp_path / "public.toml"
    assert run("key", "export", "--keyring", ring, "--out", public).code == ALLOWED
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert "private" not in public.read_text()
    assert run("verify", models, "--keyring", public).code == ALLOWED
    assert run("key", "export", "--keyring", ring, "--out", public).code == ERROR
    assert run("key", "export", "--keyring", ring, "--out", public, "--overwrite").code == ALLOWED
    shown = run("key", "export", "--keyring", ring)
    assert shown.out == public.read_text()
    key = Keyring.load(ring).signing_key().verifying_key
    assert key.fingerprint in shown.err
    pem = run("key", "export", "--keyring", ring, "--pem")
    assert pem.out.encode() == key.to_pem()
    with_mac = Keyring.load(ring)
    with_mac.add(SigningKey.generate(key_id="mac"), status="verify-only")
    with_mac.save(ring, overwrite=True)
    refused = run("key", "export", "--keyring", ring)
    assert (refused.code, refused.out) == (ERROR, "")
    assert "cannot export mac of keyring" in refused.err
    assert "--without-hmac" in refused.err
    assert "give them this keyring, which is secret" in run("key", "rotate", "--keyring", ring).out
    assert "mac" not in run("key", "export", "--keyring", ring, "--without-hmac").out
    assert run("key", "export", "--keyring", ring, "--pem", "--id", "mac").code == ERROR


def test_private_keys_are_never_written_over(run: Any, ring: Path, encrypted: Path, tmp_path: Path) -> None:
    pem = tmp_path / "k.pem"
    run("key", "export", "--keyring", encrypted, "--private", "--out", pem)
    mac = tmp_path / "mac.toml"
    Keyring.from_keys([SigningKey.generate()]).save(mac)
    for out in (ring, encrypted, mac, pem):
        before = out.read_bytes()
        for what in ((), ("--pem",), ("--private", "--passphrase-fd", descriptor(PASSPHRASE))):
            refused = run("key", "export", "--keyring", ring, "--out", out, "--overwrite", *what)
            assert refused.code == ERROR
            assert "private keys, which would be lost" in refused.err
            assert out.read_bytes() == before


def test_only_files_of_public_keys_are_written_over(run: Any, encrypted: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.joblib"
    joblib.dump([1], out)
    before = out.read_bytes()
    refused = run("key", "export", "--keyring", encrypted, "--out", out, "--overwrite")
    assert (refused.code, out.read_bytes()) == (ERROR, before)
    assert "is not a file of public keys" in refused.err
    for what in ((), ("--pem",), ()):
        out = tmp_path / "public"
        assert run("key", "export", "--keyring", encrypted, "--out", out, "--overwrite", *what).code == ALLOWED


def test_a_private_key_leaves_only_encrypted(run: Any, ring: Path, encrypted: Path, tmp_path: Path) -> None:
    out = tmp_path / "key.pem"
    assert run("key", "export", "--keyring", ring, "--private").code == USAGE
    done = run("key", "export", "--keyring", ring, "--private", "--out", out, "--passphrase-fd", descriptor(PASSPHRASE))
    assert done.code == ALLOWED
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    key = Keyring.load(ring).signing_key()
    assert SigningKey.from_pem(out.read_bytes(), passphrase=PASSPHRASE.encode()).reveal() == key.reveal()
    assert base64.b64encode(key.reveal()).decode() not in done.out + done.err
    kept = tmp_path / "kept.pem"
    assert run("key", "export", "--keyring", encrypted, "--private", "--out", kept).code == ALLOWED
    SigningKey.from_pem(kept.read_bytes(), passphrase=PASSPHRASE.encode())
    Keyring.from_keys([SigningKey.generate()]).save(tmp_path / "mac.toml")
    mac = run("key", "export", "--keyring", tmp_path / "mac.toml", "--private", "--out", tmp_path / "mac.pem")
    assert mac.code == ERROR
    assert "HMAC keys have no public half" in mac.err
    public_part(Keyring.load(ring)).save(tmp_path / "public.toml")
    none = run("key", "export", "--keyring", tmp_path / "public.toml", "--private", "--out", tmp_path / "no.pem")
    assert (none.code, "no such private key" in none.err) == (ERROR, True)


def test_keys_are_imported(run: Any, ring: Path, tmp_path: Path) -> None:
    key = SigningKey.generate("ed25519")
    files = {"public.pem": key.verifying_key.to_pem(), "private.pem": key.to_pem(PASSPHRASE.encode())}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
    serving, training = tmp_path / "serving.toml", tmp_path / "training.toml"
    made = run(
        "key", "import", tmp_path / "public.pem", "--keyring", serving, "--id", "trainer", "--scope", "fraud-*.joblib",
        "--scope", "risk/*", "--not-after", "2999-01-01", "--not-before", "2020-01-01T00:00:00Z",
    )  # fmt: skip
    assert made.code == ALLOWED
    assert key.verifying_key.fingerprint in made.err
    (entry,) = run("key", "list", "--keyring", serving, "--format", "json").document["keys"]
    assert (entry["id"], entry["status"], entry["scopes"]) == ("trainer", "verify-only", ["fraud-*.joblib", "risk/*"])
    assert entry["not_after"] == "2999-01-01T00:00:00+00:00"
    assert entry["fingerprint"] == key.verifying_key.fingerprint

    private = ("key", "import", tmp_path / "private.pem", "--keyring", training)
    assert run(*private, "--passphrase-fd", descriptor("wrong wrong wrong")).code == ERROR
    assert not training.exists()
    assert run(*private, "--id", "trainer", "--passphrase-fd", descriptor(PASSPHRASE)).code == ALLOWED
    (entry,) = run("key", "list", "--keyring", training, "--format", "json").document["keys"]
    assert (entry["status"], entry["encrypted"], entry["can_sign"]) == ("active", True, True)
    assert base64.b64encode(key.reveal()).decode() not in training.read_text()
    assert stat.S_IMODE(training.stat().st_mode) == 0o600
    twice = run(*private, "--id", "again", "--passphrase-fd", descriptor(PASSPHRASE))
    assert (twice.code, "are the same key" in twice.err) == (ERROR, True)

    more = run(
        "key", "import", tmp_path / "private.pem", "--keyring", ring, "--id", "t2", "--passphrase-fd",
        descriptor(PASSPHRASE),
    )  # fmt: skip
    assert "has 2 active keys (old, t2)" in more.err
    trusted = tmp_path / "trusted.toml"
    only = ("key", "import", tmp_path / "private.pem", "--keyring", trusted, "--verify-only")
    assert run(*only, "--passphrase-fd", descriptor(PASSPHRASE)).code == ALLOWED
    assert "encrypted" not in trusted.read_text()
    assert Keyring.load(trusted).is_public


def test_a_key_of_openssl_is_imported_and_what_is_no_such_key_is_not(run: Any, ring: Path, tmp_path: Path) -> None:
    pem = tmp_path / "k.pem"
    made = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", pem], capture_output=True)
    if made.returncode:
        pytest.skip("no openssl that makes such keys")
    pem.chmod(0o600)
    mine = tmp_path / "mine.toml"
    assert (
        run("key", "import", pem, "--keyring", mine, "--encrypt", "--passphrase-fd", descriptor(PASSPHRASE)).code == 0
    )
    assert Keyring.load(mine).locked
    before = ring.read_bytes()
    pem.chmod(0o644)
    for path, message in (
        (pem, "chmod 600"),
        (tmp_path / "missing.pem", "there is no key file at "),
        (ring, "is not a PEM file"),
        (Path(sys.executable), "is not a PEM file|has more than"),
    ):
        refused = run("key", "import", path, "--keyring", ring)
        assert refused.code == ERROR
        assert re.search(message, refused.err), refused.err
        assert base64.b64encode(Keyring.load(ring).signing_key().reveal()).decode() not in refused.err
    public = tmp_path / "p.pem"
    public.write_bytes(Keyring.load(mine).entries[0].verifying_key.to_pem())
    assert "a public key, which is not encrypted" in run("key", "import", public, "--keyring", ring, "--encrypt").err
    assert ring.read_bytes() == before


# ------------------------------------------------------------------------------------------------- one by one


def test_new_keys_have_scopes_and_times(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    made = run(
        "key", "new", "--out", path, "--id", "k", "--scope", "fraud-*", "--not-before", "1d", "--not-after", "9w"
    )
    assert made.code == ALLOWED
    shown = run("key", "list", "--keyring", path).out
    assert all(text in shown for text in ("not before 2", "not after 2", "may sign only fraud-*"))
    early = run("sign", path, "--keyring", path)
    assert early.code == ERROR
    assert re.search(r"(?s)no active key of .* is valid now, at 2.*k: from 2.* until 2.*key rotate", early.err)


def test_a_revoked_key_is_named_with_its_reason(run: Any, ring: Path, models: Path) -> None:
    revoked = run("key", "revoke", "old", "--reason", "laptop lost", "--keyring", ring)
    assert revoked.code == ALLOWED
    assert "no key signs here any more" in revoked.err
    refused = run("verify", models / "a.joblib", "--keyring", ring)
    assert refused.code == REFUSED
    assert re.search(r"SL106.*key 'old' was revoked on 20.*laptop lost", refused.out)
    again = run("key", "revoke", "old", "--reason", "again", "--keyring", ring)
    assert again.code == ERROR
    assert "laptop lost" in again.err
    assert run("key", "revoke", "nobody", "--reason", "x", "--keyring", ring).code == ERROR
    unsigned = run("sign", models / "a.joblib", "--keyring", ring)
    assert "no active key to sign with (old: revoked on 20" in unsigned.err
    # What signs afterwards replaces nothing, and so it is not said to.
    rotated = run("key", "rotate", "--keyring", ring, "--id", "fresh")
    assert rotated.code == ALLOWED
    assert "key fresh (ed25519) signs now" in rotated.out
    assert "it took over from none" in rotated.out
    assert run("re-sign", models, "--keyring", ring).code == ERROR
    assert run("key", "rotate", "--keyring", ring, "--old", "old").code == ERROR


@pytest.mark.parametrize(
    "arguments",
    [
        ["key", "revoke", "x"],
        ["key", "revoke", "x", "--reason", ""],
        ["key", "revoke", "x", "--reason", " "],
        ["key", "revoke", "x", "--reason", "two\nlines"],
        ["key", "revoke", "x", "--reason", "x" * 501],
        ["key", "new", "--encrypt"],
        ["key", "new", "--passphrase-fd", "3"],
        ["key", "new", "--scope", "a//b"],
        ["key", "new", "--not-after", "soon"],
        ["key", "new", "--not-after", "2020-01-01"],
        ["key", "new", "--not-after", "2999-01-01T00:00:00"],
        ["key", "rotate", "--id", "not an id"],
        ["key", "export", "--pem", "--private", "--out", "x"],
        ["key", "export", "--id", "x"],
        ["key", "export", "--passphrase-fd", "3"],
        ["key", "export", "--pem", "--without-hmac"],
        ["key", "import"],
        ["re-sign"],
        ["countersign"],
        ["countersign", "x", "--passphrase-fd", "-1"],
    ],
    ids=" ".join,
)
def test_usage_errors(run: Any, arguments: list[str]) -> None:
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (USAGE, "")


def test_a_keyring_in_the_environment_is_not_changed(run: Any, ring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAFELOAD_KEYRING_DATA", ring.read_text())
    for arguments in (("key", "rotate"), ("key", "revoke", "old", "--reason", "x")):
        outcome = run(*arguments)
        assert outcome.code == ERROR
        assert "cannot change the keyring in SAFELOAD_KEYRING_DATA" in outcome.err


def test_scripts_read_what_was_done_as_json(run: Any, models: Path, tmp_path: Path) -> None:
    ring, pem, report = tmp_path / "made.toml", tmp_path / "a.pem", tmp_path / "report.json"
    made = run("key", "new", "--out", ring, "--algorithm", "ed25519", "--id", "a", "--format", "json")
    assert (made.code, made.document["command"], made.document["keyring"]) == (ALLOWED, "key new", str(ring))
    key = made.document["key"]
    assert (key["id"], key["status"], key["can_sign"], key["encrypted"]) == ("a", "active", True, False)
    listed = run("key", "list", "--keyring", ring, "--format", "json").document["keys"]
    assert listed == [key]
    public = tmp_path / "public.toml"
    for more, kind, out in (((), "keyring", public), (("--pem",), "public key", pem)):
        done = run("key", "export", "--keyring", ring, "--out", out, "--format", "json", *more)
        assert (done.code, done.document["kind"], done.document["out"]) == (ALLOWED, kind, str(out))
        assert [one["fingerprint"] for one in done.document["keys"]] == [key["fingerprint"]]
    bare = run("key", "export", "--keyring", ring, "--format", "json")
    assert (bare.code, bare.out, "--out" in bare.err) == (USAGE, "", True)
    other = tmp_path / "other.toml"
    done = run("key", "import", pem, "--keyring", other, "--id", "b", "--format", "json", "-o", report)
    assert (done.code, done.out) == (ALLOWED, "")
    imported = json.loads(report.read_text())
    assert (imported["key"]["id"], imported["key"]["status"]) == ("b", "verify-only")
    assert imported["key"]["fingerprint"] == key["fingerprint"]
    done = run("key", "revoke", "a", "--reason", "gone", "--keyring", ring, "--format", "json")
    assert (done.code, done.document["key"]["status"], done.document["key"]["reason"]) == (ALLOWED, "revoked", "gone")
    assert any("no key signs here any more" in note for note in done.document["notes"])
    secret = tomllib.loads(ring.read_text())["keys"][0]["private"]
    assert secret not in made.out + bare.err + done.out + report.read_text()
    quiet = run("key", "revoke", "b", "--reason", "gone", "--keyring", other, "--quiet")
    assert quiet == Outcome(ALLOWED, "", "")
    for arguments in (("new",), ("export", "--keyring", ring)):
        assert run("key", *arguments, "-o", report).code == USAGE  # --out may have been meant
        assert run("key", *arguments, "--out", tmp_path / "one", "-o", tmp_path / "one").code == USAGE
    assert not (tmp_path / "one").exists()
    fresh = tmp_path / "fresh.toml"
    assert run("key", "import", pem, "--keyring", fresh, "-o", fresh).code == USAGE
    assert not fresh.exists()
    # The keyring is none of the files that a report may replace.
    assert run("key", "revoke", "b", "--reason", "x", "--keyring", other, "-o", other).code == USAGE
