"""Whose signatures count: PEM keys, thresholds, scopes, keyrings from descriptors and the environment, hooks."""

from __future__ import annotations

import base64
import difflib
import json
import os
import random
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

import safeload
from safeload._storage.pair import manifest_path
from safeload.errors import KeyringError, RollbackError, UnknownKeyError, VerificationError
from safeload.keys import KeyEntry, Keyring, SecuresystemslibSigner, SigningKey, VerifyingKey, editing, public_part
from safeload.keys._scopes import check_scope, in_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.serialization import KeySerializationEncryption

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
PASSPHRASE = b"correct horse battery"
MODEL = {"weights": [1.0, 2.0]}
PemKey = Ed25519PrivateKey | ed448.Ed448PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def edwards(key_id: str | None = None) -> SigningKey:
    return SigningKey.generate("ed25519", key_id)


def entry_of(ring: Keyring, key_id: str) -> KeyEntry:
    entry = ring.get(key_id)
    assert entry is not None
    return entry


def statuses(ring: Keyring) -> list[tuple[str, str]]:
    return [(entry.key_id, entry.status) for entry in ring.entries]


def private_pem(
    key: PemKey,
    encryption: KeySerializationEncryption | None = None,
    form: PrivateFormat = PrivateFormat.PKCS8,
) -> bytes:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def public_pem(key: PemKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


# --- PEM ---


def test_keys_go_to_pem_and_back_as_other_tools_have_them() -> None:
    key = edwards()
    assert VerifyingKey.from_pem(key.verifying_key.to_pem()).reveal() == key.verifying_key.reveal()
    assert VerifyingKey.from_pem(key.verifying_key.to_pem()).key_id == key.key_id
    pem = key.to_pem(PASSPHRASE)
    assert pem.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert SigningKey.from_pem(pem, passphrase=PASSPHRASE).reveal() == key.reveal()
    read = load_pem_private_key(pem, PASSPHRASE)
    assert isinstance(read, Ed25519PrivateKey)
    assert read.private_bytes_raw() == key.reveal()
    other = Ed25519PrivateKey.generate()
    assert SigningKey.from_pem(private_pem(other), key_id="other").reveal() == other.private_bytes_raw()
    assert VerifyingKey.from_pem(public_pem(other)).reveal() == other.public_key().public_bytes_raw()


def test_passphrases_are_asked_for_checked_and_not_too_short() -> None:
    key = edwards()
    pem = key.to_pem(PASSPHRASE)
    for wrong in (b"wrong wrong wrong", PASSPHRASE + b"\n", b"x" * 1023):
        with pytest.raises(KeyringError, match="passphrase is wrong") as caught:
            SigningKey.from_pem(pem, passphrase=wrong)
        assert caught.value.__cause__ is None
    for none in (None, b""):
        with pytest.raises(KeyringError, match="needs its passphrase"):
            SigningKey.from_pem(pem, passphrase=none)
    plain = private_pem(Ed25519PrivateKey.generate())
    with pytest.raises(KeyringError, match="not encrypted"):
        SigningKey.from_pem(plain, passphrase=PASSPHRASE)
    for short in (b"", b"elevenbytes", b"x" * 1024):
        with pytest.raises(KeyringError, match="12 to 1023 bytes"):
            key.to_pem(short)


OTHERS: dict[str, PemKey] = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "EllipticCurve|EC": ec.generate_private_key(ec.SECP256R1()),
    "Ed448": ed448.Ed448PrivateKey.generate(),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_keys_of_other_algorithms_are_refused_by_name(kind: str) -> None:
    message = f"its algorithm, ({kind}), is not supported: safeload signs with Ed25519"
    with pytest.raises(KeyringError, match=message):
        SigningKey.from_pem(private_pem(OTHERS[kind]))
    with pytest.raises(KeyringError, match=message):
        VerifyingKey.from_pem(public_pem(OTHERS[kind]))


def test_what_is_no_such_pem_is_refused() -> None:
    key = edwards()
    public, private = key.verifying_key.to_pem(), private_pem(Ed25519PrivateKey.generate())
    traditional = private_pem(OTHERS["RSA"], form=PrivateFormat.TraditionalOpenSSL)
    openssh = private_pem(Ed25519PrivateKey.generate(), form=PrivateFormat.OpenSSH)
    for pem, message in (
        (b"", "not PEM"),
        (b"hello", "not PEM"),
        (public, "PUBLIC KEY, not a private key"),
        (traditional, "RSA PRIVATE KEY, not a private key in PKCS #8"),
        (openssh, "OPENSSH PRIVATE KEY, not"),
        (private + private, "2 PEM blocks"),
        (private[:40] + private[44:], "damaged"),
        (b"#" * 20000 + private, "more than 16384 bytes"),
    ):
        with pytest.raises(KeyringError, match=message):
            SigningKey.from_pem(pem)
    with pytest.raises(KeyringError, match="not a public key"):
        VerifyingKey.from_pem(private)
    with pytest.raises(KeyringError, match="HMAC keys have no public half"):
        SigningKey.generate().verifying_key.to_pem()
    with pytest.raises(KeyringError, match="HMAC keys have no public half"):
        SigningKey.generate().to_pem(PASSPHRASE)


@given(st.binary(max_size=300))
def test_no_bytes_make_anything_but_a_key_or_its_error(noise: bytes) -> None:
    for pem in (noise, b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(noise) + b"\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(KeyringError):
            SigningKey.from_pem(pem)


def test_public_keys_for_which_anybody_could_sign_are_refused() -> None:
    prime = (1 << 255) - 19
    order_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    small = [bytes(32), (1).to_bytes(32, "little"), order_8, *((prime + n).to_bytes(32, "little") for n in (-1, 0, 1))]
    for point in small:
        for negative in (0, 0x80):
            with pytest.raises(KeyringError, match="anybody could sign"):
                VerifyingKey(point[:-1] + bytes([point[-1] | negative]), algorithm="ed25519")


def test_a_private_pem_file_signs(tmp_path: Path) -> None:
    key = edwards()
    pem = tmp_path / "key.pem"
    pem.write_bytes(private_pem(Ed25519PrivateKey.from_private_bytes(key.reveal())))
    pem.chmod(0o600)
    safeload.dump(MODEL, tmp_path / "m.joblib", key=pem)
    assert safeload.load(tmp_path / "m.joblib", keyring=key.verifying_key) == MODEL
    pem.chmod(0o644)
    with pytest.raises(KeyringError, match="chmod 600"):
        safeload.dump(MODEL, tmp_path / "n.joblib", key=pem)
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_bytes(key.to_pem(PASSPHRASE))
    encrypted.chmod(0o600)
    with pytest.raises(KeyringError, match="needs its passphrase"):
        safeload.dump(MODEL, tmp_path / "n.joblib", key=encrypted)
    with pytest.raises(KeyringError, match="not a keyring"):
        safeload.load(tmp_path / "m.joblib", keyring=encrypted)
    assert not (tmp_path / "n.joblib").exists()


# --- encrypted keys in keyrings ---


def test_an_encrypted_key_signs_only_once_unlocked_and_verifies_always(tmp_path: Path) -> None:
    key = edwards("trainer")
    ring = Keyring.from_keys([edwards("old").verifying_key])
    ring.add(key, passphrase=PASSPHRASE)
    path = tmp_path / "ring.toml"
    ring.save(path)
    assert base64.b64encode(key.reveal()).decode() not in path.read_text()
    safeload.dump(MODEL, tmp_path / "m.joblib", key=key)
    loaded = Keyring.load(path)
    assert loaded.locked
    assert safeload.load(tmp_path / "m.joblib", keyring=loaded) == MODEL
    with pytest.raises(KeyringError, match=r"'trainer' of .*: it is encrypted"):
        safeload.dump(MODEL, tmp_path / "n.joblib", key=loaded)
    with pytest.raises(KeyringError, match=r"'trainer' of .*: the passphrase is wrong"):
        loaded.unlock(b"wrong wrong wrong")
    loaded.unlock(PASSPHRASE)
    safeload.dump(MODEL, tmp_path / "n.joblib", key=loaded)
    assert safeload.load(tmp_path / "n.joblib", keyring=path) == MODEL
    loaded.save(path, overwrite=True)
    assert Keyring.load(path).locked, "unlocking does not decrypt the file"
    with pytest.raises(KeyringError, match="no active key that needs"):
        Keyring.from_keys([key]).unlock(PASSPHRASE)


def test_an_encrypted_key_of_another_public_key_is_refused(tmp_path: Path) -> None:
    key, other = edwards("k"), edwards()
    ring = Keyring.from_keys([edwards("x").verifying_key])
    ring.add(key, passphrase=PASSPHRASE)
    ring.save(tmp_path / "ring.toml")
    text = (tmp_path / "ring.toml").read_text()
    public, swapped = (base64.b64encode(k.verifying_key.reveal()).decode() for k in (key, other))
    (tmp_path / "ring.toml").write_text(text.replace(public, swapped))
    with pytest.raises(KeyringError, match="does not belong to the encrypted one"):
        Keyring.load(tmp_path / "ring.toml").unlock(PASSPHRASE)


# --- thresholds ---


def test_a_keyring_can_demand_several_keys(tmp_path: Path) -> None:
    one, two, three = edwards("one"), SigningKey.generate(key_id="two"), edwards("three")
    ring = Keyring.from_keys([one.verifying_key, two, three.verifying_key], threshold=2)
    path = tmp_path / "m.joblib"
    safeload.dump(MODEL, path, key=[one, two])
    assert safeload.load(path, keyring=ring) == MODEL
    assert safeload.read_manifest(path, keyring=ring).key_ids == ("one", "two")
    safeload.dump(MODEL, path, key=one, overwrite=True)
    with pytest.raises(
        VerificationError, match=r"by 2 of its keys \(one, two, three\), and there are 1 \(one\).*safeload countersign"
    ) as few:
        safeload.load(path, keyring=ring)
    assert few.value.code == "SL109"
    stranger = edwards("stranger")
    safeload.dump(MODEL, path, key=[one, stranger], overwrite=True)
    with pytest.raises(VerificationError, match=r"there are 1 .*not counted: 1 by keys that it does not have"):
        safeload.load(path, keyring=ring)
    safeload.dump(MODEL, path, key=[one, two, stranger], overwrite=True)
    assert safeload.load(path, keyring=ring) == MODEL
    ring.revoke("two", "laptop lost")
    with pytest.raises(VerificationError, match=r"there are 1 .*not counted: key 'two' was revoked on .*laptop lost"):
        safeload.load(path, keyring=ring)
    with pytest.raises(UnknownKeyError):
        safeload.load(path, keyring=Keyring.from_keys([three.verifying_key], threshold=2))
    ring.revoke("one", "left us")
    with pytest.raises(VerificationError, match=r"'one' was revoked on .*left us.*'two' was revoked on .*laptop lost"):
        safeload.load(path, keyring=ring)


def test_one_key_never_counts_twice(tmp_path: Path) -> None:
    secret = bytes(range(32))
    one, again = (SigningKey(secret, algorithm="ed25519", key_id=name) for name in ("one", "again"))
    with pytest.raises(KeyringError, match="'one' and 'again' are the same key"):
        Keyring.from_keys([one.verifying_key, again.verifying_key], threshold=2)
    with pytest.raises(KeyringError, match="'one' and 'again' are the same key"):
        Keyring([KeyEntry(one, "revoked", NOW), KeyEntry(again.verifying_key, "verify-only", NOW)])
    with pytest.raises(KeyringError, match="same key"):
        Keyring.from_keys([one.verifying_key, SigningKey(one.verifying_key.reveal(), key_id="mac")])  # fmt: skip
    for keys in ([one, again], [one, one], [one, SigningKey.generate(key_id="one")]):
        with pytest.raises(KeyringError, match="are the same"):
            safeload.dump(MODEL, tmp_path / "m.joblib", key=keys)
    safeload.dump(MODEL, tmp_path / "m.joblib", key=one)
    envelope = json.loads(manifest_path(tmp_path / "m.joblib").read_text())
    envelope["signatures"].append({**envelope["signatures"][0], "keyid": "again"})
    manifest_path(tmp_path / "m.joblib").write_text(json.dumps(envelope))
    ring = Keyring.from_keys([one.verifying_key, edwards("two").verifying_key], threshold=2)
    with pytest.raises(VerificationError, match="there are 1"):
        safeload.load(tmp_path / "m.joblib", keyring=ring)


@pytest.mark.parametrize("threshold", ["0", "-1", "17", "true", '"2"', "1.0"])
def test_a_threshold_is_a_number_of_keys(tmp_path: Path, threshold: str) -> None:
    path = tmp_path / "ring.toml"
    Keyring.from_keys([edwards()], threshold=2).save(path)
    assert Keyring.load(path).threshold == 2
    path.write_text(path.read_text().replace("threshold = 2", f"threshold = {threshold}"))
    with pytest.raises(KeyringError, match="threshold must be a whole number"):
        Keyring.load(path)


# --- scopes ---


@pytest.mark.parametrize(
    ("scope", "path", "expected"),
    [
        ("*", "/srv/a.joblib", True),
        ("fraud-*.joblib", "/srv/fraud-1.joblib", True),
        ("fraud-*.joblib", "/srv/risk-1.joblib", False),
        ("fraud-*.joblib", "/srv/fraud-1.joblib.gz", False),
        ("fraud-?.joblib", "/srv/fraud-12.joblib", False),
        ("FRAUD-*", "/srv/fraud-1.joblib", False),
        ("fraud/*.joblib", "/srv/fraud/x.joblib", True),
        ("fraud/*.joblib", "/srv/fraud/risk/x.joblib", False),
        ("fraud/*.joblib", "/srv/notfraud/x.joblib", False),
        ("*/x.joblib", "/srv/any/x.joblib", True),
        ("/srv/*.joblib", "/srv/x.joblib", True),
        ("/srv/*.joblib", "/mnt/srv/x.joblib", False),
        ("/srv/*.joblib", "/srv/deep/x.joblib", False),
        ("fraud/*.joblib", "/srv/fraud/../risk/x.joblib", False),
        ("fraud/*.joblib", "/srv/risk/../fraud/x.joblib", True),
        ("*a*b*c*", "/s/xxaxxbxxcxx", True),
        ("*a*b*c", "/s/xxaxxbxxcxx", False),
        ("a.b", "/s/axb", False),
    ],
)
def test_scopes_mean_names_and_folders(scope: str, path: str, expected: bool) -> None:
    check_scope(scope)
    assert in_scope(scope, Path(path).name, str(Path(path).parent)) is expected


def test_a_folder_scope_needs_a_folder_and_stars_take_no_time() -> None:
    assert not in_scope("fraud/*.joblib", "x.joblib", None)
    assert in_scope("*.joblib", "x.joblib", None)
    assert not in_scope("*a" * 100 + "b", "a" * 255, None)


def matches(pattern: str, text: str) -> bool:
    """What `*` and `?` mean, by its definition."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(matches(pattern[1:], text[number:]) for number in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and matches(pattern[1:], text[1:])


@given(st.text("*?ab.A", min_size=1, max_size=6), st.text("ab.A\né", max_size=6))
def test_stars_and_question_marks_mean_what_they_say(scope: str, name: str) -> None:
    assert in_scope(scope, name, None) is matches(scope, name)
    assert in_scope(f"x/{scope}", name, "/srv/x") is matches(scope, name)


@pytest.mark.parametrize("scope", ["", "a//b", "../x", "a/./b", "a/", "/", "**/x", "[ab]", "{a,b}", "a\\b", "a\nb"])
def test_what_is_no_scope_is_refused(tmp_path: Path, scope: str) -> None:
    with pytest.raises(KeyringError, match="scope"):
        Keyring([KeyEntry(edwards(), "active", NOW, scopes=(scope,))])


def test_a_key_is_trusted_for_what_it_may_sign_only(tmp_path: Path) -> None:
    key, other = edwards("fraud-team"), edwards("risk-team")
    ring = Keyring(
        [
            KeyEntry(key, "active", NOW, scopes=("fraud-*.joblib",)),
            KeyEntry(other, "active", NOW, scopes=("risk/*.joblib",)),
        ]
    )
    ring.save(tmp_path / "ring.toml")
    ring = Keyring.load(tmp_path / "ring.toml")
    (tmp_path / "risk").mkdir()
    fraud, risk = tmp_path / "fraud-1.joblib", tmp_path / "risk" / "model.joblib"
    assert safeload.dump(MODEL, fraud, key=ring).key_ids == ("fraud-team",), "the active key that may sign it"
    assert safeload.dump(MODEL, risk, key=ring).key_ids == ("risk-team",)
    assert safeload.load(fraud, keyring=ring) == safeload.load(risk, keyring=ring) == MODEL
    with pytest.raises(
        KeyringError, match=r"no active key of .* is allowed to sign 'model\.joblib' in .*fraud-team: fraud-\*\.joblib"
    ):
        safeload.dump(MODEL, tmp_path / "model.joblib", key=ring)
    safeload.dump(MODEL, risk, key=key, overwrite=True)
    with pytest.raises(
        VerificationError, match=r"'fraud-team' is not allowed to sign 'model\.joblib'.*: fraud-\*\.joblib\)"
    ) as out:
        safeload.load(risk, keyring=ring)
    assert out.value.code == "SL106"
    # A signed pair, moved to a folder that its key may not sign for; through a link, it is judged by where one looked.
    safeload.dump(MODEL, risk, key=other, overwrite=True)
    (tmp_path / "fraud").mkdir()
    for name in (risk.name, manifest_path(risk).name):
        (tmp_path / "fraud" / name).symlink_to(tmp_path / "risk" / name)
    with pytest.raises(VerificationError, match="'risk-team' is not allowed to sign"):
        safeload.load(tmp_path / "fraud" / "model.joblib", keyring=ring)


def test_signatures_out_of_scope_do_not_count_to_the_threshold(tmp_path: Path) -> None:
    one, two = edwards("one"), edwards("two")
    ring = Keyring(
        [KeyEntry(one, "verify-only", NOW), KeyEntry(two, "verify-only", NOW, scopes=("a.joblib",))], threshold=2
    )
    for name in ("a.joblib", "b.joblib"):
        safeload.dump(MODEL, tmp_path / name, key=[one, two])
    assert safeload.load(tmp_path / "a.joblib", keyring=ring) == MODEL
    with pytest.raises(VerificationError, match=r"'two' is not allowed.*: a\.joblib\).*by 2 keys.*there are 1: one"):
        safeload.load(tmp_path / "b.joblib", keyring=ring)


# --- releases ---


def test_releases_count_on_over_a_rotated_key(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    ring = Keyring.from_keys([edwards("old")])
    assert safeload.dump(MODEL, path, key=ring, release=7).release == 7
    ring.rotate(SigningKey.generate(key_id="new"))
    manifest = safeload.dump(MODEL, path, key=ring, overwrite=True)
    assert (manifest.release, manifest.key_ids) == (8, ("new",))
    assert safeload.sign(path, key=ring, overwrite=True).release == 9
    times = [
        KeyEntry(entry_of(ring, "new").verifying_key, "verify-only", NOW, not_after=NOW, scopes=("other.joblib",)),
        KeyEntry(edwards("newest"), "active", NOW),
    ]
    assert safeload.dump(MODEL, path, key=Keyring(times), overwrite=True).release == 10, "whatever is trusted now"


def test_what_only_a_revoked_key_says_is_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    ring = Keyring.from_keys([edwards("leaked")])
    safeload.dump(MODEL, path, key=ring, release=7)
    ring.rotate(edwards("new"))
    ring.revoke("leaked", "leaked")
    before = manifest_path(path).read_bytes()
    with pytest.raises(RollbackError, match=r"release 7, but only a revoked key.*--release"):
        safeload.dump(MODEL, path, key=ring, overwrite=True)
    assert manifest_path(path).read_bytes() == before
    assert safeload.dump(MODEL, path, key=ring, overwrite=True, release=3).release == 3


def test_a_release_that_is_not_above_the_last_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    ring = Keyring.from_keys([edwards("k")])
    safeload.dump(MODEL, path, key=ring, release=7)
    before = (path.read_bytes(), manifest_path(path).read_bytes())
    for release in (1, 6, 7):
        with pytest.raises(RollbackError, match=f"cannot sign as release {release}: .* already release 7") as caught:
            safeload.dump({"x": 1}, path, key=ring, release=release, overwrite=True)
        assert caught.value.code == "SL108"
        with pytest.raises(RollbackError):
            safeload.sign(path, key=ring, release=release, overwrite=True)
        assert (path.read_bytes(), manifest_path(path).read_bytes()) == before
    assert safeload.dump(MODEL, path, key=ring, release=2, overwrite=True, allow_lower_release=True).release == 2
    assert safeload.dump(MODEL, path, key=edwards(), release=1, overwrite=True).release == 1, (
        "a stranger's says nothing"
    )


# --- keyrings from elsewhere ---

LOAD = "import safeload, sys; print(safeload.load(sys.argv[1]), safeload.load(sys.argv[1]))"


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """A signed model and its public keyring."""
    key = edwards("trainer")
    safeload.dump(MODEL, tmp_path / "m.joblib", key=key)
    Keyring.from_keys([key.verifying_key]).save(tmp_path / "public.toml")
    return tmp_path


def run(
    folder: Path, code: str = LOAD, *, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SAFELOAD_")} | (env or {})
    command = [sys.executable, "-c", code, str(folder / "m.joblib")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, **options)


def test_a_keyring_is_read_from_a_descriptor_as_often_as_it_is_asked_for(deployed: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, (deployed / "public.toml").read_bytes())
    os.close(writing)
    done = run(deployed, env={"SAFELOAD_KEYRING": f"fd:{reading}"}, pass_fds=[reading])
    os.close(reading)
    assert done.stdout.strip() == f"{MODEL} {MODEL}", done.stderr
    with (deployed / "public.toml").open("rb") as file:
        file.read()
        done = run(deployed, env={"SAFELOAD_KEYRING": f"fd:{file.fileno()}"}, pass_fds=[file.fileno()])
    assert done.stdout.strip() == f"{MODEL} {MODEL}", done.stderr


def test_descriptors_that_are_no_keyring_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match="cannot read keyring fd:987"):
        Keyring.load("fd:987")
    with open("/dev/zero", "rb") as file, pytest.raises(KeyringError, match="neither a file nor a pipe"):
        Keyring.load(f"fd:{file.fileno()}")
    path = tmp_path / "ring.toml"
    Keyring.from_keys([SigningKey.generate()]).save(path)
    path.chmod(0o644)
    with (
        path.open("rb") as file,
        pytest.raises(KeyringError, match=r"cannot trust keyring fd:.*other users can use it"),
    ):
        Keyring.load(f"fd:{file.fileno()}")
    with pytest.raises(KeyringError, match="cannot change keyring fd:"), editing("fd:3"):
        pass
    reading, writing = os.pipe()
    with subprocess.Popen(["sh", "-c", "exec head -c 3000000 /dev/zero"], stdout=writing):
        os.close(writing)
        with pytest.raises(KeyringError, match="has more than"):
            Keyring.load(f"fd:{reading}")
        os.close(reading)


@pytest.mark.parametrize(
    "form",
    [
        str,
        lambda text: base64.b64encode(text.encode()).decode() + "\n",
        lambda text: base64.encodebytes(text.encode()).decode(),
    ],
)
def test_a_keyring_may_stand_in_the_environment(deployed: Path, form: Callable[[str], str]) -> None:
    text = form((deployed / "public.toml").read_text())
    done = run(deployed, env={"SAFELOAD_KEYRING_DATA": text})
    assert done.stdout.strip() == f"{MODEL} {MODEL}", done.stderr


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"SAFELOAD_KEYRING_DATA": ""}, "set but empty"),
        ({"SAFELOAD_KEYRING_DATA": "hello"}, "keyring in SAFELOAD_KEYRING_DATA is not valid TOML"),
        ({"SAFELOAD_KEYRING_DATA": "x", "SAFELOAD_KEYRING": "/x"}, "both SAFELOAD_KEYRING and SAFELOAD_KEYRING_DATA"),
        ({"SAFELOAD_KEYRING": "[[keys]]\n"}, "Put the text of a keyring in SAFELOAD_KEYRING_DATA"),
    ],
)
def test_a_broken_environment_is_refused(deployed: Path, env: dict[str, str], message: str) -> None:
    done = run(deployed, env=env)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


def test_public_keyrings_may_be_read_by_all_and_changed_by_nobody(deployed: Path) -> None:
    path = deployed / "public.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert Keyring.load(path).is_public
    for mode in (0o664, 0o646, 0o666):
        path.chmod(mode)
        with pytest.raises(KeyringError, match="other users can use it"):
            Keyring.load(path)


def test_a_public_keyring_verifies_what_the_whole_one_does_and_signs_nothing(tmp_path: Path) -> None:
    keys = [edwards("a"), edwards("b"), edwards("c")]
    ring = Keyring(
        [
            KeyEntry(keys[0], "active", NOW, scopes=("*.joblib",), not_after=NOW + timedelta(days=9999)),
            KeyEntry(keys[1], "verify-only", NOW),
            KeyEntry(keys[2], "revoked", NOW, revoked=NOW, reason="lost"),
            KeyEntry(SigningKey.generate(), "revoked", NOW),
        ]
    )
    public = public_part(ring)
    public.save(tmp_path / "public.toml")
    text = (tmp_path / "public.toml").read_text()
    for key in keys:
        assert base64.b64encode(key.reveal()).decode() not in text
    read = Keyring.load(tmp_path / "public.toml")
    assert statuses(read) == [
        ("a", "verify-only"),
        ("b", "verify-only"),
        ("c", "revoked"),
    ]
    assert (entry_of(read, "a").scopes, entry_of(read, "a").not_after) == (("*.joblib",), NOW + timedelta(days=9999))
    ring.add(SigningKey.generate(key_id="mac"), status="verify-only")
    with pytest.raises(KeyringError, match=r"cannot export mac of .*: HMAC keys have no public half"):
        public_part(ring)
    assert len(public_part(ring, without_hmac=True).entries) == 3
    with pytest.raises(KeyringError, match="no Ed25519 key"):
        public_part(Keyring.from_keys([SigningKey.generate()]), without_hmac=True)


# --- changing a keyring's file ---


def test_changes_keep_comments_mode_and_order(tmp_path: Path) -> None:
    path = tmp_path / "ring.toml"
    Keyring.from_keys([edwards("first"), edwards("second").verifying_key]).save(path)
    text = (
        path.read_text()
        .replace('id = "first"', '# the trainer\nid = "first"  # 2026')
        .replace("\nversion", "\n# v\nversion")
    )
    path.write_text(text)
    with editing(path) as ring:
        assert ring.rotate(edwards("third")) == "first"
        ring.mark_rotation("third")
    changed = path.read_text()
    assert '# the trainer\nid = "first"  # 2026\n' in changed
    assert '# v\nversion = 1\nrotating_to = "third"\n' in changed
    with editing(path) as ring:
        ring.revoke("second", "left us")
        ring.mark_rotation(None)
    read = Keyring.load(path)
    assert statuses(read) == [("first", "verify-only"), ("second", "revoked"), ("third", "active")]
    assert "# the trainer" in path.read_text()
    assert "rotating_to" not in path.read_text()
    assert entry_of(read, "third").replaces == "first"
    assert read.replaced_by("third") == {"first"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["ring.toml"]


def test_a_file_laid_out_in_another_way_is_still_changed_right(tmp_path: Path) -> None:
    key = edwards("k")
    public = base64.b64encode(key.verifying_key.reveal()).decode()
    path = tmp_path / "ring.toml"
    path.write_text(
        f'version = 1\nkeys = [{{id = "k", algorithm = "ed25519", status = "verify-only", public = "{public}", '
        "created = 2026-01-01T00:00:00Z}]\n"
    )
    path.chmod(0o600)
    with editing(path) as ring:
        ring.revoke("k", 'a "quoted" reason = x')
    assert entry_of(Keyring.load(path), "k").reason == 'a "quoted" reason = x'


EDITED = """\
# our keys
version = 1  # of the format

# the trainer
[[keys]]  # since 2025
  id = "first"  # not renamed
  "status" = "active"  # signs
  algorithm = "ed25519"
  created = 2026-01-01T01:00:00+01:00
  public = "FIRST"
  private = 'PRIVATE'

# the auditor,
# who only verifies
[[keys]]
id = "second"
reason = '''he asked'''  # for it
status = "verify-only"
algorithm = "ed25519"
created = 2026-01-01T00:00:00Z
public = "SECOND"
# the end"""


def test_an_edit_changes_the_lines_of_its_fields_only(tmp_path: Path) -> None:
    path = tmp_path / "ring.toml"
    first, second, third = edwards("first"), edwards("second"), edwards("third")
    text = EDITED.replace("PRIVATE", base64.b64encode(first.reveal()).decode())
    for name, key in (("FIRST", first), ("SECOND", second)):
        text = text.replace(name, base64.b64encode(key.verifying_key.reveal()).decode())
    path.write_text(text)
    path.chmod(0o600)
    with editing(path) as ring:
        ring.rotate(third)
        ring.mark_rotation("third")
        ring.revoke("second", "left us")
    old, new = text.splitlines(), path.read_text().splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    changes = [
        (old[a:b], [line.partition(" = ")[0] for line in new[c:d]])
        for kind, a, b, c, d in matcher.get_opcodes()
        if kind != "equal"
    ]
    assert changes == [
        ([], ["rotating_to"]),
        (['  "status" = "active"  # signs'], ['  "status"']),
        (["reason = '''he asked'''  # for it", 'status = "verify-only"'], ["reason", "status", "revoked"]),
        ([], ["", "[[keys]]", "id", "algorithm", "status", "created", "replaces", "private", "public"]),
    ]
    assert 'reason = "left us"  # for it\n' in path.read_text()
    assert statuses(Keyring.load(path)) == [("first", "verify-only"), ("second", "revoked"), ("third", "active")]
    with editing(path) as ring:
        ring.mark_rotation(None)
    assert new[:2] + new[3:] == path.read_text().splitlines()


layouts = st.fixed_dictionaries(
    {
        "comments": st.booleans(),
        "blank": st.sampled_from(["", "\n", "\n\n", "  \n"]),
        "indent": st.sampled_from(["", "  ", "\t"]),
        "equals": st.sampled_from(["=", " = ", "  =\t"]),
        "quoted": st.booleans(),
        "end": st.sampled_from(["\n", "", "\n\n", "\n# end", "\n# end\n"]),
        "newline": st.sampled_from(["\n", "\r\n"]),
        "inline": st.booleans(),
        "order": st.randoms(use_true_random=False),
    }
)


def laid_out(
    keys: list[SigningKey],
    *,
    comments: bool,
    blank: str,
    indent: str,
    equals: str,
    quoted: bool,
    end: str,
    newline: str,
    inline: bool,
    order: random.Random,
) -> str:
    """A keyring file that says the same in one of many layouts."""
    lines, tables = [f"{indent}version{equals}1" + "  # version" * comments], []
    for key in keys:
        public = base64.b64encode(key.verifying_key.reveal()).decode()
        fields = [("id", f'"{key.key_id}"'), ("algorithm", '"ed25519"'), ("status", '"verify-only"'),
                  ("created", "2026-01-01 00:00:00z"), ("public", f"'{public}'")]  # fmt: skip
        order.shuffle(fields)
        fields = [(f'"{name}"' if quoted else name, value) for name, value in fields]
        tables.append(fields)
    if inline:
        rows = ["{" + ", ".join(f"{name}{equals}{value}" for name, value in fields) + "}" for fields in tables]
        lines.append(f"keys{equals}[\n{indent}" + f",{'  # one' * comments}\n{indent}".join(rows) + "\n]")
    else:
        for number, fields in enumerate(tables):
            lines += [f"{blank}# key {number}"] if comments else [blank] if blank else []
            lines.append("[[ keys ]]" + "  # table" * comments)
            lines += [f"{indent}{name}{equals}{value}" + "# field" * comments for name, value in fields]
    return ("\n".join(lines) + end).replace("\n", newline)


@given(layouts, st.lists(st.sampled_from(["revoke", "add", "mark", "unmark"]), min_size=1, max_size=4))
def test_comments_survive_an_edit_in_any_layout(
    tmp_path_factory: pytest.TempPathFactory, layout: dict[str, Any], changes: list[str]
) -> None:
    path = tmp_path_factory.mktemp("ring") / "ring.toml"
    keys = [edwards(name) for name in "abc"]
    path.write_bytes(laid_out(keys, **layout).encode())
    path.chmod(0o600)
    before = path.read_text()
    expected = dict.fromkeys("abc", "verify-only")
    marked = None
    for number, change in enumerate(changes):
        with editing(path) as ring:
            if change == "add":
                ring.add(edwards(f"new{number}").verifying_key)  # a public keyring takes no others
                expected[f"new{number}"] = "verify-only"
            elif change == "revoke":
                if "verify-only" in expected.values():
                    gone = next(name for name, status in expected.items() if status == "verify-only")
                    ring.revoke(gone, 'a "reason" # not = a comment')
                    expected[gone] = "revoked"
            else:
                marked = "b" if change == "mark" else None
                ring.mark_rotation(marked)
    ring = Keyring.load(path)
    assert dict(statuses(ring)) == expected
    assert ring.rotating_to == marked
    kept = [line for line in before.splitlines() if "status" not in line and line.strip() and "{" not in line]
    after = iter(path.read_text().splitlines())
    assert all(line in after for line in kept), "every line that says something else is there, in its order"


def test_an_edit_without_a_change_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ring.toml"
    path.write_text(laid_out([edwards("a")], comments=True, blank="", indent="", equals="=", quoted=True, end="",
                             newline="\n", inline=False, order=random.Random(0)))  # fmt: skip
    path.chmod(0o600)
    before = (path.read_bytes(), path.stat().st_ino)
    with editing(path) as ring:
        ring.mark_rotation(None)
    assert (path.read_bytes(), path.stat().st_ino) == before


def test_a_text_that_cannot_be_edited_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tomlkit

    path = tmp_path / "ring.toml"
    Keyring.from_keys([edwards("a")]).save(path)
    path.write_text("# a comment\n" + path.read_text())

    def refuse(text: str) -> None:
        raise tomlkit.exceptions.ParseError(1, 1, text)

    monkeypatch.setattr(tomlkit, "parse", refuse)
    with editing(path) as ring:
        ring.revoke("a", "lost")
    assert statuses(Keyring.load(path)) == [("a", "revoked")]
    assert "a comment" not in path.read_text()


def test_reading_and_signing_never_import_the_writer(tmp_path: Path) -> None:
    Keyring.from_keys([edwards("a")]).save(tmp_path / "ring.toml")
    code = (
        "import sys, safeload\n"
        "safeload.dump([1], 'm.joblib', key='ring.toml')\n"
        "safeload.load('m.joblib', keyring='ring.toml')\n"
        "safeload.verify('m.joblib', keyring='ring.toml')\n"
        "assert 'tomlkit' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_a_change_that_fails_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ring.toml"
    Keyring.from_keys([edwards("k")]).save(path)
    before = path.read_bytes()
    for change in (
        lambda ring: ring.revoke("x", "why"),
        lambda ring: ring.revoke("k", "  "),
        lambda ring: ring.revoke("k", "two\nlines"),
        lambda ring: ring.rotate(edwards("k")),
        lambda ring: (ring.revoke("k", "why"), ring.revoke("k", "again")),
        lambda ring: ring.rotate(edwards(), old="x"),
    ):
        with pytest.raises(KeyringError), editing(path) as ring:
            change(ring)
        assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["ring.toml"]


def test_writers_of_one_keyring_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "ring.toml"
    Keyring.from_keys([edwards("first")]).save(path)
    code = (
        "import sys\nfrom safeload import SigningKey\nfrom safeload.keys import editing\n"
        "for n in range(10):\n"
        "    with editing(sys.argv[1]) as ring: ring.add(SigningKey.generate(), status='verify-only')\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert len(Keyring.load(path).entries) == 31, "no change was lost"


DIE = """
import os, signal, sys
from safeload import Keyring, SigningKey
from safeload.keys import editing

call, change = sys.argv[1:3]
setattr(os, call, lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL))
if change == "edit":
    with editing(sys.argv[3]) as ring:
        ring.add(SigningKey.generate(), status="verify-only")
else:
    Keyring.from_keys([SigningKey.generate()]).save(sys.argv[4])
"""


@pytest.mark.parametrize(("call", "change"), [("replace", "edit"), ("fsync", "edit"), ("link", "save")])
def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path, call: str, change: str) -> None:
    path = tmp_path / "ring.toml"
    Keyring.from_keys([edwards("k")]).save(path)
    before = path.read_bytes()
    killed = subprocess.run([sys.executable, "-c", DIE, call, change, str(path), str(tmp_path / "other.toml")])
    assert killed.returncode == -9
    assert path.read_bytes() == before
    (left,) = tmp_path.glob(".keyring-*")
    assert stat.S_IMODE(left.stat().st_mode) == 0o600
    with editing(path) as ring:
        ring.add(edwards("new"), status="verify-only")
    assert [entry.name for entry in tmp_path.iterdir()] == ["ring.toml"]


def test_what_a_living_writer_has_is_not_taken_for_a_leftover(tmp_path: Path) -> None:
    import fcntl

    busy, dead = tmp_path / ".keyring-0", tmp_path / ".keyring-1"
    dead.touch()
    with busy.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        Keyring.from_keys([edwards()]).save(tmp_path / "ring.toml")
    assert busy.exists()
    assert not dead.exists()


# --- hooks ---


class Vault:
    """A key that stays elsewhere."""

    def __init__(self, key: SigningKey, answer: bytes | None = None) -> None:
        self._key, self._answer = key, answer

    @property
    def verifying_key(self) -> VerifyingKey:
        return self._key.verifying_key

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message) if self._answer is None else self._answer


def test_a_hook_signs_and_what_it_returns_is_checked(tmp_path: Path) -> None:
    key = edwards("hsm")
    path = tmp_path / "m.joblib"
    assert isinstance(Vault(key), safeload.Signer)
    assert safeload.dump(MODEL, path, key=Vault(key)).key_ids == ("hsm",)
    assert safeload.load(path, keyring=key.verifying_key) == MODEL
    assert safeload.dump(MODEL, path, key=Vault(key), overwrite=True).release == 2
    before = manifest_path(path).read_bytes()
    for wrong in (b"", bytes(64), edwards().sign(b"x")):
        with pytest.raises(KeyringError, match="key 'hsm': its signer returned a signature that is not valid"):
            safeload.dump(MODEL, path, key=Vault(key, wrong), overwrite=True)
    assert manifest_path(path).read_bytes() == before


def test_signers_of_securesystemslib_sign(tmp_path: Path) -> None:
    signers = pytest.importorskip("securesystemslib.signer")
    local = signers.CryptoSigner.generate_ed25519()
    hook = SecuresystemslibSigner(local, key_id="kms")
    safeload.dump(MODEL, tmp_path / "m.joblib", key=hook)
    assert safeload.load(tmp_path / "m.joblib", keyring=hook.verifying_key) == MODEL
    assert "kms" in repr(hook)
    with pytest.raises(KeyringError, match="Use a key for Ed25519"):
        SecuresystemslibSigner(signers.CryptoSigner.generate_ecdsa())
