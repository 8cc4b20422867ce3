"""A signature algorithm is one class and one registry row: everything else follows from it."""

from __future__ import annotations

import ast
import hashlib
import hmac
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey

import safeload
from safeload.errors import BadSignatureError, KeyringError
from safeload.keys._algorithms import ALGORITHMS, Algorithm, algorithm_named
from safeload.keys._editing import public_part
from safeload.keys._key import SigningKey, VerifyingKey
from safeload.keys._keyring import Keyring
from support.children import environment

PASSPHRASE = b"correct horse battery"
MODEL = {"weights": [1.0, 2.0]}
SOURCE = Path(safeload.__file__).parent


class Ed448(Algorithm):
    """An algorithm with two halves and PEM; no size is that of another algorithm."""

    name = "ed448"
    title = "Ed448"
    summary = "as ed25519, with longer keys"
    symmetric = False
    secret_size = public_size = 57
    signature_size = 114
    has_pem = True

    def public_half(self, secret: bytes) -> bytes:
        return self.private_object(secret).public_key().public_bytes_raw()

    def sign(self, secret: bytes, message: bytes) -> bytes:
        return self.private_object(secret).sign(message)

    def verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        self.public_object(public).verify(signature, message)

    def private_object(self, secret: bytes) -> Ed448PrivateKey:
        return Ed448PrivateKey.from_private_bytes(secret)

    def public_object(self, public: bytes) -> Ed448PublicKey:
        return Ed448PublicKey.from_public_bytes(public)

    def raw_private(self, key: object) -> bytes | None:
        return key.private_bytes_raw() if isinstance(key, Ed448PrivateKey) else None

    def raw_public(self, key: object) -> bytes | None:
        return key.public_bytes_raw() if isinstance(key, Ed448PublicKey) else None


class Blake2(Algorithm):
    """An algorithm of one secret, without PEM."""

    name = "blake2-mac"
    title = "BLAKE2"
    summary = "one secret signs and verifies"
    symmetric = True
    secret_size = public_size = 48
    signature_size = 20

    def public_half(self, secret: bytes) -> bytes:
        return secret

    def sign(self, secret: bytes, message: bytes) -> bytes:
        return hashlib.blake2b(message, key=secret, digest_size=20).digest()

    def verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        if not hmac.compare_digest(signature, self.sign(public, message)):
            raise InvalidSignature


@pytest.fixture(params=[Ed448(), Blake2()], ids=lambda algorithm: algorithm.name)
def added(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Algorithm:
    """An algorithm that the package does not have, registered."""
    algorithm: Algorithm = request.param
    monkeypatch.setitem(ALGORITHMS, algorithm.name, algorithm)
    return algorithm


def test_keys_of_an_added_algorithm_sign_and_verify(added: Algorithm) -> None:
    key = SigningKey.generate(added.name)
    signature = key.sign(b"message")
    assert len(key.reveal()) == added.secret_size
    assert len(signature) == added.signature_size
    assert key.key_id.startswith(added.name.partition("-")[0] + "-")
    assert key.verifying_key.is_secret is added.symmetric
    key.verifying_key.verify(signature, b"message")
    for wrong in (signature[:-1], bytes(len(signature)), b""):
        with pytest.raises(BadSignatureError):
            key.verifying_key.verify(wrong, b"message")
    with pytest.raises(BadSignatureError):
        key.verifying_key.verify(signature, b"another message")
    with pytest.raises(KeyringError, match=f"has {added.secret_size} bytes"):
        SigningKey(bytes(32), algorithm=added.name)


def test_keyrings_of_an_added_algorithm_are_saved_and_loaded(added: Algorithm, tmp_path: Path) -> None:
    key, old = SigningKey.generate(added.name, "new"), SigningKey.generate(added.name, "old")
    ring = Keyring.from_keys([key])
    ring.add(old, status="verify-only")
    ring.save(tmp_path / "ring.toml")
    read = Keyring.load(tmp_path / "ring.toml")
    assert [(entry.key_id, entry.algorithm, entry.key.reveal()) for entry in read.entries] == [
        ("new", added.name, key.reveal()),
        ("old", added.name, old.reveal()),
    ]
    safeload.dump(MODEL, tmp_path / "m.joblib", key=tmp_path / "ring.toml")
    assert safeload.load(tmp_path / "m.joblib", keyring=tmp_path / "ring.toml") == MODEL


def test_the_public_half_of_an_added_algorithm_is_exported_if_it_has_one(added: Algorithm, tmp_path: Path) -> None:
    key = SigningKey.generate(added.name)
    ring = Keyring.from_keys([key])
    if added.symmetric:
        with pytest.raises(KeyringError, match="HMAC or BLAKE2 keys have no public half"):
            public_part(ring)
        with pytest.raises(KeyringError, match="BLAKE2 keys have no public half"):
            key.verifying_key.to_pem()
        return
    public_part(ring).save(tmp_path / "public.toml")
    read = Keyring.load(tmp_path / "public.toml")
    assert read.is_public
    read.verifying_key(key.key_id).verify(key.sign(b"m"), b"m")
    assert VerifyingKey.from_pem(key.verifying_key.to_pem()).reveal() == key.verifying_key.reveal()
    assert SigningKey.from_pem(key.to_pem(PASSPHRASE), passphrase=PASSPHRASE).reveal() == key.reveal()
    assert VerifyingKey.from_pem(key.verifying_key.to_pem()).algorithm == added.name
    ring = Keyring.from_keys([SigningKey.generate().verifying_key])
    ring.add(key, passphrase=PASSPHRASE)
    ring.save(tmp_path / "ring.toml")
    read = Keyring.load(tmp_path / "ring.toml")
    assert read.locked
    read.unlock(PASSPHRASE)
    assert read.signing_key().reveal() == key.reveal()


COMMAND = """
import sys
from safeload.keys._algorithms import ALGORITHMS
from test_algorithms import Ed448

ALGORITHMS[Ed448.name] = Ed448()
from safeload._cli import main

sys.exit(main())
"""


def test_the_command_line_offers_an_added_algorithm(tmp_path: Path) -> None:
    inherited = environment(Path(__file__).parent)
    seen = {name: value for name, value in inherited.items() if not name.startswith("SAFELOAD_")}

    def command(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-c", COMMAND, *arguments], env=seen, capture_output=True, text=True,
            cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    described = " ".join(command("key", "new", "--help").split())
    assert "ed448: as ed25519, with longer keys." in described
    assert "(ed25519 or ed448 only)" in described
    command("key", "new", "--out", "ring.toml", "--algorithm", "ed448", "--id", "trainer")
    assert "ed448" in command("key", "list", "--keyring", "ring.toml")
    command("key", "rotate", "--keyring", "ring.toml", "--id", "next")
    assert Path(tmp_path, "ring.toml").read_text().count('algorithm = "ed448"') == 2
    command("key", "export", "--keyring", "ring.toml", "--out", "public.toml")
    command("key", "export", "--keyring", "ring.toml", "--pem", "--out", "next.pem")
    command("key", "import", "next.pem", "--keyring", "other.toml")
    assert 'algorithm = "ed448"' in Path(tmp_path, "other.toml").read_text()
    assert "private" not in Path(tmp_path, "public.toml").read_text()


def test_an_unknown_algorithm_is_refused_and_not_repeated() -> None:
    for name in ("rsa", "", None, 5, b"ed25519"):
        with pytest.raises(KeyringError, match=r"Use one of hmac-sha256, ed25519.$"):
            algorithm_named(name)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_other_module_names_an_algorithm(path: Path) -> None:
    if path.name == "_algorithms.py":
        return
    texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    assert not texts & set(ALGORITHMS)
