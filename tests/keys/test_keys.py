"""Keys and keyrings: what they sign, whom they trust, and that they keep their secrets."""

from __future__ import annotations

import base64
import copy
import errno
import hashlib
import hmac
import os
import pickle
import stat
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeload._internal.encoding import decode_base64
from safeload.errors import BadSignatureError, ExpiredError, KeyringError, UnknownKeyError, VerificationError
from safeload.keys._algorithms import ALGORITHMS
from safeload.keys._entry import KeyEntry
from safeload.keys._key import SigningKey, VerifyingKey
from safeload.keys._keyring import Keyring, resolve_keyring
from safeload.keys._signers import resolve_signers
from safeload.keys._source import MAX_KEYRING_BYTES, default_keyring_path
from support.places import PACKAGE

SECRET = bytes(range(100, 132))
NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)

both = pytest.mark.parametrize("algorithm", ALGORITHMS)


def spellings(secret: bytes) -> list[str]:
    """Return the forms in which a secret might show up in a text."""
    return [
        secret.hex(),
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        repr(secret)[2:-1],
    ]


def resolve_signing(source: Any) -> SigningKey:
    (signer,) = resolve_signers(source, Path("model.joblib")).signers
    assert isinstance(signer, SigningKey)
    return signer


def assert_no_secret(text: str, secret: bytes = SECRET) -> None:
    for spelling in spellings(secret):
        assert spelling not in text


def chain(error: BaseException | None) -> str:
    """Return all that a log of this error with its causes and contexts could hold, attributes included."""
    texts = ["".join(traceback.format_exception(error))] if error else []
    while error is not None:
        texts += [str(error), repr(error), repr(error.args), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def table(**changes: str | None) -> str:
    """Return a keyring file of one key; None leaves a field out, values are TOML."""
    fields: dict[str, str | None] = {
        "id": '"k1"',
        "algorithm": '"hmac-sha256"',
        "status": '"active"',
        "created": "2026-11-02T09:30:00Z",
        "secret": f'"{base64.b64encode(SECRET).decode()}"',
    }
    fields.update(changes)
    return "[[keys]]\n" + "".join(f"{name} = {value}\n" for name, value in fields.items() if value is not None)


def ring_text(**changes: str | None) -> str:
    return "version = 1\n" + table(**changes)


# --- keys ---


@both
def test_a_signature_holds_for_its_key_and_message_only(algorithm: str) -> None:
    key = SigningKey.generate(algorithm)
    signature = key.sign(b"message")
    key.verifying_key.verify(signature, b"message")
    with pytest.raises(BadSignatureError):
        key.verifying_key.verify(signature, b"another message")
    with pytest.raises(BadSignatureError):
        SigningKey.generate(algorithm).verifying_key.verify(signature, b"message")
    for wrong in (b"", signature[:-1], signature + b"\0", bytes(len(signature)), signature[::-1]):
        with pytest.raises(BadSignatureError):
            key.verifying_key.verify(wrong, b"message")


@both
@given(secret=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200), position=st.integers(0, 511))
def test_any_flipped_bit_breaks_the_signature(algorithm: str, secret: bytes, message: bytes, position: int) -> None:
    key = SigningKey(secret, algorithm=algorithm)
    signature = bytearray(key.sign(message))
    key.verifying_key.verify(bytes(signature), message)
    position %= 8 * len(signature)
    signature[position // 8] ^= 1 << position % 8
    with pytest.raises(BadSignatureError):
        key.verifying_key.verify(bytes(signature), message)


def test_the_mac_is_hmac_under_a_key_derived_for_manifests() -> None:
    # RFC 5869 written out: extract with an empty salt, then the first 32 bytes of expand.
    extracted = hmac.digest(bytes(32), SECRET, "sha256")
    derived = hmac.digest(extracted, b"safeload v1 manifest hmac-sha256\x01", "sha256")
    assert SigningKey(SECRET).sign(b"message") == hmac.digest(derived, b"message", hashlib.sha256)
    assert SigningKey(SECRET).sign(b"message") != hmac.digest(SECRET, b"message", hashlib.sha256)


def test_ed25519_agrees_with_rfc_8032() -> None:
    # RFC 8032, section 7.1, test 2.
    secret = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    key = SigningKey(secret, algorithm="ed25519")
    assert key.verifying_key.reveal() == public
    assert key.sign(b"\x72").hex().startswith("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8f")
    VerifyingKey(public, algorithm="ed25519").verify(key.sign(b"\x72"), b"\x72")


@both
def test_generated_keys_differ_and_name_themselves(algorithm: str) -> None:
    one, other = SigningKey.generate(algorithm), SigningKey.generate(algorithm)
    assert one.reveal() != other.reveal()
    assert len(one.reveal()) == 32
    assert one.key_id != other.key_id
    assert one.key_id.startswith(algorithm.partition("-")[0])
    assert one.key_id == SigningKey(one.reveal(), algorithm=algorithm).key_id == one.verifying_key.key_id
    assert SigningKey.generate(algorithm, "prod-2026").key_id == "prod-2026"
    assert one.algorithm == one.verifying_key.algorithm == algorithm


def test_what_cannot_be_a_key_is_refused() -> None:
    with pytest.raises(KeyringError, match="hmac-sha256, ed25519"):
        SigningKey.generate("rsa")
    for size in (0, 16, 31, 33, 64):
        with pytest.raises(KeyringError, match="has 32 bytes"):
            SigningKey(bytes(size))
    with pytest.raises(TypeError, match="not str"):
        SigningKey("a" * 32)  # type: ignore[arg-type]
    for key_id in ("", " ", "a b", "é", "-a", "a\n", "a" * 101, '"', "../x", 5):
        with pytest.raises(KeyringError, match="key id is"):
            SigningKey.generate(key_id=key_id)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "QQ==", base64.b64encode(SECRET).decode()])
def test_canonical_base64_is_read(text: str) -> None:
    assert base64.b64encode(decode_base64(text)).decode() == text


@pytest.mark.parametrize(
    "text", ["QR==", "QQ", "QQ=", "QQ===", "QQ==\n", " QQ==", "Q Q==", "-_-_", "QQ==QQ==", "é", "=", "\ud800"]
)
def test_other_spellings_of_base64_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the standard library's
        decode_base64(text)


# --- secrets stay secret ---


def guarded() -> list[object]:
    key = SigningKey(SECRET, key_id="k1")
    edwards = SigningKey(SECRET, algorithm="ed25519")
    entry = KeyEntry(key, "active", NOW)
    return [key, key.verifying_key, edwards, entry, Keyring([entry])]


@pytest.mark.parametrize("holder", guarded(), ids=lambda holder: type(holder).__name__)
def test_no_secret_in_texts_attributes_or_pickles(holder: object) -> None:
    for text in (repr(holder), str(holder), f"{holder}", "%s %r" % (holder, holder), f"{[holder]}"):  # noqa: UP031
        assert_no_secret(text)
    assert not hasattr(holder, "__dict__")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(holder, protocol)


def test_keys_are_not_pickled_by_joblib_or_by_hand(tmp_path: Path) -> None:
    key = SigningKey(SECRET)
    with pytest.raises(TypeError, match="cannot be pickled"):
        joblib.dump({"key": key}, tmp_path / "x.joblib")
    for method in (key.__reduce__, key.__getstate__, lambda: key.__reduce_ex__(2)):
        with pytest.raises(TypeError, match="keyring's path") as caught:
            method()
        assert_no_secret(chain(caught.value))


def test_keys_are_copied_as_themselves() -> None:
    key = SigningKey(SECRET)
    assert copy.copy(key) is key
    assert copy.deepcopy({"key": key})["key"] is key


@pytest.mark.parametrize(
    "text",
    [
        ring_text(secret=base64.b64encode(SECRET).decode()),  # not quoted
        ring_text(secret=f'"{base64.b64encode(SECRET).decode()}'),  # quote not closed
        ring_text(secret=f'"{SECRET.hex()}"'),
        ring_text(secret=f'"{base64.b64encode(SECRET + b"x").decode()}"'),
        ring_text(secret=f'["{base64.b64encode(SECRET).decode()}"]'),
        ring_text(id=f'"{base64.b64encode(SECRET).decode()}"'),  # in the wrong place
        ring_text(algorithm=f'"{base64.b64encode(SECRET).decode()}"'),
        ring_text(status=f'"{base64.b64encode(SECRET).decode()}"'),
        ring_text(created=f'"{base64.b64encode(SECRET).decode()}"'),
        ring_text(**{f'"{base64.b64encode(SECRET).decode()}"': "1"}),
        ring_text() + ring_text(),
        ring_text() + "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        ring_text().replace("[[keys]]", "[[keys"),
    ],
)
def test_errors_about_a_keyring_file_never_show_its_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyringError) as caught:
        Keyring.load(write(tmp_path / "ring.toml", text))
    assert_no_secret(chain(caught.value))
    assert "ring.toml" in str(caught.value)


@pytest.mark.parametrize("content", [base64.b64encode(SECRET).decode(), ring_text()])
def test_key_material_passed_as_a_path_is_not_repeated(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    for use in (Keyring.load, resolve_keyring, resolve_signing):
        with pytest.raises(KeyringError) as caught:
            use(content)
        assert_no_secret(chain(caught.value))
    monkeypatch.setenv("SAFELOAD_KEYRING", content)
    with pytest.raises(KeyringError, match="must name a keyring file") as caught:
        Keyring.default()
    assert_no_secret(chain(caught.value))


def test_a_missing_fields_error_names_the_field_not_the_secret(tmp_path: Path) -> None:
    for field in ("id", "algorithm", "status", "created"):
        with pytest.raises(KeyringError, match=field) as caught:
            Keyring.load(write(tmp_path / "ring.toml", ring_text(**{field: None})))
        assert_no_secret(chain(caught.value))


# --- keyring files ---


def test_a_keyring_goes_to_a_file_and_back(tmp_path: Path) -> None:
    path = tmp_path / "ring.toml"
    key = SigningKey.generate()
    Keyring.from_keys([key]).save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["ring.toml"], "no litter"
    loaded = Keyring.load(path)
    assert loaded.path == str(path)
    assert loaded.signing_key().key_id == key.key_id
    loaded.verifying_key(key.key_id).verify(key.sign(b"m"), b"m")
    assert [entry.status for entry in loaded.entries] == ["active"]
    assert loaded.get("other") is None
    assert Keyring.load(str(path)).entries[0].created == loaded.entries[0].created


times = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
key_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}", fullmatch=True)
reasons = st.text(max_size=500).filter(str.isprintable)


UNIQUE = (lambda e: e.key_id, lambda e: e.key.reveal(), lambda e: e.verifying_key.reveal())


@st.composite
def entries(draw: st.DrawFn) -> KeyEntry:
    key = SigningKey(
        draw(st.binary(min_size=32, max_size=32)),
        algorithm=draw(st.sampled_from(list(ALGORITHMS))),
        key_id=draw(key_ids),
    )
    status = draw(st.sampled_from(["active", "verify-only", "revoked"]))
    public = status != "active" and draw(st.booleans())
    window = sorted(draw(st.sets(times, min_size=2, max_size=2)))
    return KeyEntry(
        key.verifying_key if public else key,
        status,
        draw(times),
        not_before=draw(st.sampled_from([None, window[0]])),
        not_after=draw(st.sampled_from([None, window[1]])),
        revoked=draw(st.none() | times) if status == "revoked" else None,
        reason=draw(st.none() | reasons),
    )


@given(st.lists(entries(), min_size=1, max_size=4, unique_by=UNIQUE))
def test_every_keyring_survives_its_file(tmp_path_factory: pytest.TempPathFactory, written: list[KeyEntry]) -> None:
    path = tmp_path_factory.mktemp("ring") / "ring.toml"
    Keyring(written).save(path)
    read = Keyring.load(path).entries
    for before, after in zip(written, read, strict=True):
        for field in ("key_id", "algorithm", "status", "created", "not_before", "not_after", "revoked", "reason"):
            assert getattr(before, field) == getattr(after, field)
        assert before.verifying_key.reveal() == after.verifying_key.reveal()
        if isinstance(before.key, SigningKey):
            assert before.key.reveal() == after.key.reveal()


def test_a_public_key_alone_verifies_and_cannot_sign(tmp_path: Path) -> None:
    signer = SigningKey.generate("ed25519", "trainer")
    Keyring.from_keys([signer.verifying_key]).save(tmp_path / "public.toml")
    assert_no_secret((tmp_path / "public.toml").read_text(), signer.reveal())
    ring = Keyring.load(tmp_path / "public.toml")
    ring.verifying_key("trainer").verify(signer.sign(b"m"), b"m")
    with pytest.raises(KeyringError, match="public keys only, so it verifies only"):
        ring.signing_key()
    with pytest.raises(KeyringError, match="a public key cannot sign"):
        Keyring([KeyEntry(signer.verifying_key, "active", NOW)])


def test_saving_never_clobbers_unless_told_to(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "ring.toml"
    first, second = (Keyring.from_keys([SigningKey.generate()]) for _ in range(2))
    first.save(path)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="left as it was"):
        second.save(path)
    assert path.read_bytes() == before
    path.chmod(0o644)
    second.save(path, overwrite=True)
    assert Keyring.load(path).entries[0].key_id == second.entries[0].key_id
    assert len(list(path.parent.iterdir())) == 1


def test_saving_over_a_link_keeps_the_link(tmp_path: Path) -> None:
    target, link = tmp_path / "ring.toml", tmp_path / "link.toml"
    Keyring.from_keys([SigningKey.generate()]).save(target)
    link.symlink_to(target)
    Keyring.from_keys([SigningKey.generate(key_id="new")]).save(link, overwrite=True)
    assert link.is_symlink()
    assert Keyring.load(target).entries[0].key_id == "new"


def test_a_keyring_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ring = Keyring.from_keys([SigningKey.generate()])
    for path in (tmp_path / "file" / "ring.toml", "/proc/no/ring.toml", f"{tmp_path}/\0"):
        with pytest.raises(KeyringError, match="cannot write"):
            ring.save(path)
    with pytest.raises(KeyringError, match="cannot write"):
        ring.save(tmp_path, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_no_keyring_goes_to_a_name_that_means_a_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ring = Keyring.from_keys([SigningKey.generate(key_id="only")])
    with pytest.raises(KeyringError, match=r"\./fd:3"):
        ring.save("fd:3")
    ring.save("./fd:3")
    assert Keyring.load("./fd:3").entries[0].key_id == "only"


def test_a_keyring_goes_to_file_systems_without_links_and_without_syncing_of_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def no_link(*_arguments: object, **_options: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links on this file system")

    def only_files(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "no folders")
        real(fd)

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(os, "fsync", only_files)
    path = tmp_path / "ring.toml"
    Keyring.from_keys([SigningKey.generate(key_id="first")]).save(path)
    with pytest.raises(FileExistsError):
        Keyring.from_keys([SigningKey.generate()]).save(path)
    assert Keyring.load(path).entries[0].key_id == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["ring.toml"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o666, 0o620, 0o602, 0o601, 0o777])
def test_a_file_that_others_can_use_is_refused_with_the_chmod(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "my ring.toml", ring_text(), mode)
    with pytest.raises(KeyringError) as caught:
        Keyring.load(path)
    assert f"Run: chmod 600 '{path}'" in str(caught.value)
    subprocess.run(["sh", "-c", f"chmod 600 '{path}'"], check=True)
    assert Keyring.load(path).signing_key().key_id == "k1"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_private_file_is_read_whatever_its_folder(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(0o775)
    assert Keyring.load(write(tmp_path / "ring.toml", ring_text(), mode)).entries


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "ring.toml", ring_text())
    os.chown(path, 12345, -1)
    with pytest.raises(KeyringError, match=r"belongs to user 12345.*run: chown 0 "):
        Keyring.load(path)


def test_links_are_judged_by_what_they_lead_to(tmp_path: Path) -> None:
    path = write(tmp_path / "ring.toml", ring_text())
    (tmp_path / "link").symlink_to(path)
    assert Keyring.load(tmp_path / "link").signing_key().key_id == "k1"
    path.chmod(0o644)
    with pytest.raises(KeyringError, match="chmod 600"):
        Keyring.load(tmp_path / "link")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(KeyringError, match="cannot read"):
        Keyring.load(tmp_path / "loop")


def test_what_is_no_file_is_no_keyring(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path / "fifo", tmp_path, "/dev/zero"):
        with pytest.raises(KeyringError, match="not a regular file"):
            Keyring.load(path)
    with pytest.raises(KeyringError, match=r"no keyring at .*gone\.toml\. Is the secret mounted"):
        Keyring.load(tmp_path / "gone.toml")
    with pytest.raises(KeyringError, match="cannot read keyring"):
        Keyring.load("a\0b")
    with pytest.raises(KeyringError, match="no keyring"):
        Keyring.load("")
    with pytest.raises(KeyringError, match="has more than"):
        Keyring.load(write(tmp_path / "big.toml", b"#" * (MAX_KEYRING_BYTES + 1)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_says_why(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match=os.strerror(errno.EACCES)):
        Keyring.load(write(tmp_path / "ring.toml", ring_text(), 0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "keys is missing"),
        ("version = 1", "keys is missing"),
        ("version = 1\nkeys = []", "has no keys"),
        ("version = 1\nkeys = [1]", r"under \[\[keys\]\]"),
        ("version = 1\nkeys = 5", r"under \[\[keys\]\]"),
        ("version = 2\n" + table(), "newer safeload"),
        ("version = true\n" + table(), "version must be 1"),
        ("version = 1.0\n" + table(), "version must be 1"),
        ('version = "1"\n' + table(), "version must be 1"),
        ("version = 1\nextra = 1\n" + table(), "unknown field"),
        ("version = 1\n" + table() + table(), "cannot add key 'k1'"),
        (ring_text(extra="1"), "unknown field"),
        (ring_text(private='"x"'), "unknown field"),
        (ring_text(algorithm='"rsa"'), "algorithm must be one of"),
        (ring_text(algorithm='"HMAC-SHA256"'), "algorithm must be one of"),
        (ring_text(algorithm='["ed25519"]'), "algorithm must be one of"),
        (ring_text(status='"trusted"'), "status must be one of active, verify-only, revoked"),
        (ring_text(status="1"), "status must be a text"),
        (ring_text(id='""'), "id must be"),
        (ring_text(id='"a b"'), "id must be"),
        (ring_text(id="7"), "id must be a text"),
        (ring_text(created='"2026-11-02"'), "created must be a time"),
        (ring_text(created="2026-11-02"), "created must be a time"),
        (ring_text(created="2026-11-02T09:30:00"), "needs a time zone"),
        (ring_text(created="0001-01-01T00:00:00+05:00"), "out of range"),
        (ring_text(not_before="1"), "not_before must be a time"),
        (ring_text(not_before="2026-01-02T00:00:00Z", not_after="2026-01-01T00:00:00Z"), "earlier than not_after"),
        (ring_text(revoked="2026-01-02T00:00:00Z"), "time of revocation"),
        (ring_text(reason="1"), "reason must be a text"),
        (ring_text(reason=r'"a\nb"'), "one printable line"),
        (ring_text(reason=f'"{"x" * 501}"'), "one printable line"),
        (ring_text(secret=None), "secret must be 32 bytes"),
        (ring_text(secret='""'), "secret must be 32 bytes"),
        (ring_text(secret="12"), "secret must be a text"),
        (ring_text(secret=f'"{base64.b64encode(SECRET[1:]).decode()}"'), "secret must be 32 bytes"),
        (ring_text(secret=f'"{base64.b64encode(SECRET).decode()[:-1]}"'), "secret must be 32 bytes"),
        (ring_text(algorithm='"ed25519"'), "unknown field"),
        (ring_text(algorithm='"ed25519"', secret=None), "public must be 32 bytes"),
        (
            ring_text(
                algorithm='"ed25519"',
                secret=None,
                private=f'"{base64.b64encode(SECRET).decode()}"',
                public=f'"{base64.b64encode(SECRET).decode()}"',
            ),
            "does not belong to the private key",
        ),
        ("version = 1\n[[keys]", r"not valid TOML at line 2, column"),
        ("version = 1\nversion = 1", "not valid TOML"),
        ("version = 2\nnew_field = 1\n", "newer safeload"),
        ("a = " + "9" * 5000, "not valid TOML"),
        ("a = " + "[" * 5000, "nested too deep|not valid TOML"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"\xef\xbb\xbfversion = 1", "not valid TOML"),
        (b"\0", "not valid TOML"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "ring.toml", text)
    with pytest.raises(KeyringError, match=message) as caught:
        Keyring.load(path)
    assert str(path) in str(caught.value)


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: ring_text().encode() + text.encode("utf-8", "replace"))
)
def test_no_bytes_make_anything_but_a_keyring_or_its_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = write(tmp_path_factory.mktemp("ring") / "ring.toml", data)
    try:
        assert Keyring.load(path).entries
    except KeyringError as error:
        assert_no_secret(chain(error))


# --- what a keyring trusts ---


def test_exactly_one_active_key_signs() -> None:
    one, two = SigningKey.generate(key_id="one"), SigningKey.generate(key_id="two")
    assert Keyring.from_keys([one, two.verifying_key]).signing_key() is one
    with pytest.raises(KeyringError, match=r"2 active keys \(one, two\).*verify-only"):
        Keyring.from_keys([one, two]).signing_key()
    with pytest.raises(
        KeyringError, match=r"no active key to sign .*one: verify-only; two: revoked on 2026-11-02T09:30:00Z \(lost"
    ):
        Keyring(
            [KeyEntry(one, "verify-only", NOW), KeyEntry(two, "revoked", NOW, revoked=NOW, reason="lost")]
        ).signing_key()
    past = KeyEntry(one, "active", NOW, not_after=NOW)
    assert Keyring([past]).signing_key(now=NOW) is one
    assert Keyring([past, KeyEntry(two, "active", NOW, not_before=NOW + DAY)]).signing_key(now=NOW + DAY) is two
    with pytest.raises(KeyringError, match=r"no active key .*\(one: until 2026-11-02T09:30:00Z\).*key rotate"):
        Keyring([past]).signing_key(now=NOW + DAY)


def test_unknown_revoked_and_untimely_keys_verify_nothing() -> None:
    key = SigningKey.generate(key_id="k")
    ring = Keyring([KeyEntry(key, "verify-only", NOW, not_before=NOW, not_after=NOW + DAY)])
    for when in (NOW, NOW + DAY):
        assert ring.verifying_key("k", now=when) is key.verifying_key
    with pytest.raises(
        ExpiredError, match=r"trusted until 2026-11-03T09:30:00Z \(not_after in the keyring\).*active key"
    ) as late:
        ring.verifying_key("k", now=NOW + 2 * DAY)
    with pytest.raises(VerificationError, match="trusted only from 2026-11-02T09:30:00Z") as early:
        ring.verifying_key("k", now=NOW - DAY)
    assert (late.value.code, early.value.code) == ("SL105", "SL106")
    with pytest.raises(UnknownKeyError, match=r"no key 'other', only k\. If you trust"):
        ring.verifying_key("other")
    with pytest.raises(UnknownKeyError, match="malformed"):
        ring.verifying_key("\x1b[31m")
    lost = Keyring([KeyEntry(key, "revoked", NOW, revoked=NOW, reason="laptop lost")])
    with pytest.raises(VerificationError, match=r"revoked on 2026-11-02T09:30:00Z \(laptop lost\)") as revoked:
        lost.verifying_key("k")
    assert revoked.value.code == "SL106"


def test_keys_are_added_once() -> None:
    ring = Keyring.from_keys([SigningKey.generate(key_id="old")])
    ring.add(SigningKey.generate(key_id="new"), status="verify-only", reason="rotation", not_after=NOW + DAY)
    assert [(entry.key_id, entry.status) for entry in ring.entries] == [("old", "active"), ("new", "verify-only")]
    with pytest.raises(KeyringError, match="cannot add key 'new'"):
        ring.add(SigningKey.generate(key_id="new"))
    with pytest.raises(KeyringError, match="status must be one of"):
        ring.add(SigningKey.generate(), status="trusted")
    with pytest.raises(TypeError, match="not bytes"):
        Keyring.from_keys([SECRET])  # type: ignore[list-item]
    with pytest.raises(KeyringError, match=r"no keys\. Make a keyring: safeload key new"):
        Keyring.from_keys([])


# --- where keys come from ---


def test_the_environment_names_the_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "ring.toml", ring_text())
    monkeypatch.setenv("SAFELOAD_KEYRING", str(path))
    assert default_keyring_path() == str(path)
    assert Keyring.default().path == str(path)
    assert resolve_signing(None).key_id == resolve_keyring(None).entries[0].key_id == "k1"
    monkeypatch.setenv("SAFELOAD_KEYRING", str(tmp_path / "gone.toml"))
    with pytest.raises(KeyringError, match=r"gone\.toml \(SAFELOAD_KEYRING names it\)\. Is the secret mounted"):
        Keyring.default()
    monkeypatch.setenv("SAFELOAD_KEYRING", "")
    with pytest.raises(KeyringError, match="set but empty"):
        Keyring.default()


def test_without_it_the_keyring_of_the_config_directory_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAFELOAD_KEYRING", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "keyring.toml", ring_text())  # in the working directory: never found
    with pytest.raises(KeyringError, match="Is the secret mounted here") as caught:
        Keyring.default()
    assert default_keyring_path() in str(caught.value)
    assert default_keyring_path().startswith(str(tmp_path))
    Keyring.from_keys([SigningKey.generate(key_id="mine")]).save(default_keyring_path())
    assert resolve_signing(None).key_id == "mine"


def test_keys_keyrings_and_paths_are_all_accepted(tmp_path: Path) -> None:
    path = write(tmp_path / "ring.toml", ring_text())
    key = SigningKey(SECRET, key_id="k1")
    for source in (key, Keyring.from_keys([key]), path, str(path)):
        assert resolve_signing(source).key_id == "k1"
        resolve_keyring(source).verifying_key("k1").verify(key.sign(b"m"), b"m")
    resolve_keyring(key.verifying_key).verifying_key("k1").verify(key.sign(b"m"), b"m")
    with pytest.raises(TypeError, match="VerifyingKey cannot sign"):
        resolve_signing(key.verifying_key)
    for wrong in (SECRET, 5, [key]):
        for resolve in (resolve_signing, resolve_keyring) if wrong != [key] else (resolve_keyring,):
            with pytest.raises(TypeError, match=f"not {type(wrong).__name__}") as caught:
                resolve(wrong)  # type: ignore[arg-type]
            assert_no_secret(str(caught.value))


def test_importing_the_modules_is_cheap() -> None:
    code = (
        "import sys; sys.modules['safeload'] = type(sys)('safeload'); sys.modules['safeload'].__path__ = sys.argv[1:]\n"
        "import safeload.keys._key, safeload.keys._keyring, safeload._manifest.digests, safeload._manifest.manifest\n"
        "print([name for name in ('cryptography', 'blake3', 'platformdirs', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(PACKAGE)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_all_there_and_the_others_are_not() -> None:
    import safeload.keys

    for name in safeload.keys.__all__:
        assert getattr(safeload, name, getattr(safeload.keys, name)) is getattr(safeload.keys, name)
    shown = {name for name in dir(Keyring) if not name.startswith("_")}
    assert shown == {
        "add", "default", "entries", "find", "from_keys", "get", "is_public", "load", "locked", "mark_rotation", "path",
        "replaced_by", "revoke", "rotate", "rotating_to", "save", "signing_key", "threshold", "to_rotate", "to_toml",
        "unlock", "verifying_key", "where", "with_threshold",
    }  # fmt: skip
    for name in shown:
        assert getattr(Keyring, name).__doc__
