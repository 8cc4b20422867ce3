"""Keys as PEM: public keys as SubjectPublicKeyInfo, private keys as PKCS #8, encrypted when they are written.

What a PEM text holds is said by its label; which algorithm its key is of, by the key. Messages never quote a text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from safeload.errors import KeyringError
from safeload.keys._algorithms import ALGORITHMS, names_of, titles_of

if TYPE_CHECKING:
    from safeload.keys._algorithms import Algorithm

__all__ = [
    "MAX_PEM_BYTES",
    "is_encrypted_pem",
    "is_pem",
    "is_private_pem",
    "read_private",
    "read_public",
    "require_pem",
    "write_private",
    "write_public",
]

MAX_PEM_BYTES = 16 << 10
_MIN_PASSPHRASE = 12  # bytes
_MAX_PASSPHRASE = 1023  # bytes; OpenSSL's own limit

_PEM_LABEL = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?$", re.MULTILINE)
_ENCRYPTED_LABEL = "ENCRYPTED PRIVATE KEY"
_PRIVATE_LABEL = "PRIVATE KEY"
_PUBLIC_LABEL = "PUBLIC KEY"


# --- which PEM it is ---


def is_pem(data: bytes) -> bool:
    """Return whether this looks like PEM, whatever it holds."""
    return _PEM_LABEL.search(data) is not None


def is_private_pem(pem: bytes) -> bool:
    """Return whether this is a private key as PEM, of any algorithm.

    Raises:
        KeyringError: it is not PEM of exactly one key.
    """
    return _label(pem).endswith(_PRIVATE_LABEL)


def is_encrypted_pem(pem: bytes) -> bool:
    """Return whether this is a private key as PEM that needs a passphrase.

    Raises:
        KeyringError: it is not PEM of exactly one key.
    """
    return _label(pem) == _ENCRYPTED_LABEL


def _label(pem: bytes) -> str:
    if len(pem) > MAX_PEM_BYTES:
        raise KeyringError(f"it has more than {MAX_PEM_BYTES} bytes, so it is not a PEM file of a key")
    labels = _PEM_LABEL.findall(pem)
    if not labels:
        raise KeyringError("it is not PEM: there is no line -----BEGIN … KEY-----")
    if len(labels) > 1:  # which of them was meant?
        raise KeyringError(f"it holds {len(labels)} PEM blocks, and has to hold exactly one key")
    label: str = labels[0].decode("ascii")
    return label


# --- reading ---


def read_public(pem: bytes) -> tuple[Algorithm, bytes]:
    """Return the algorithm and the raw public key in a PEM text.

    Raises:
        KeyringError: it holds something else; the message says what.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    label = _label(pem)
    if label != _PUBLIC_LABEL:
        raise KeyringError(f"it holds a {label}, not a public key (-----BEGIN PUBLIC KEY-----)")
    key = _loaded(load_pem_public_key, pem)
    for algorithm in ALGORITHMS.values():
        if algorithm.has_pem and (public := algorithm.raw_public(key)) is not None:
            return algorithm, public
    raise _other_algorithm(key)


def read_private(pem: bytes, passphrase: bytes | None) -> tuple[Algorithm, bytes]:
    """Return the algorithm and the raw private key in a PEM text, encrypted or not.

    Raises:
        KeyringError: it holds something else, the passphrase is missing or wrong, or there is one too many.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    label = _label(pem)
    if label not in (_PRIVATE_LABEL, _ENCRYPTED_LABEL):
        raise KeyringError(
            f"it holds a {label}, not a private key in PKCS #8 (-----BEGIN PRIVATE KEY----- or -----BEGIN "
            "ENCRYPTED PRIVATE KEY-----)",
            advice="Convert it: openssl pkcs8 -topk8 -in KEY -out NEW.pem",
        )
    if label == _ENCRYPTED_LABEL and not passphrase:
        raise KeyringError("it is encrypted, and needs its passphrase")
    if label == _PRIVATE_LABEL and passphrase is not None:
        raise KeyringError(
            "a passphrase was given, and it is not encrypted", advice="Check the path, or leave the passphrase out."
        )
    key = _loaded(load_pem_private_key, pem, passphrase)
    for algorithm in ALGORITHMS.values():
        if algorithm.has_pem and (secret := algorithm.raw_private(key)) is not None:
            return algorithm, secret
    raise _other_algorithm(key)


def _loaded(load: Any, pem: bytes, *arguments: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    # The library's message may quote the text that it read, so it is neither repeated nor chained.
    try:
        return load(pem, *arguments)
    except UnsupportedAlgorithm:
        problem = "its algorithm, or the way in which it is encrypted, is not supported"
    except (ValueError, TypeError):
        problem = "the passphrase is wrong, or it is damaged" if any(arguments) else "it is damaged"
    raise KeyringError(problem)


def _other_algorithm(key: Any) -> KeyringError:
    kind = type(key).__name__.lstrip("_").removesuffix("PrivateKey").removesuffix("PublicKey") or "key"
    return KeyringError(
        f"its algorithm, {kind}, is not supported: safeload signs with {titles_of(symmetric=False)}",
        advice=f"Make a key with: safeload key new --algorithm {names_of(has_pem=True)}",
    )


# --- writing ---


def require_pem(algorithm: Algorithm, key_id: str) -> None:
    """Refuse a key of an algorithm that has no PEM form.

    Raises:
        KeyringError: it has none.
    """
    if algorithm.has_pem:
        return
    if algorithm.symmetric:
        raise KeyringError(
            f"cannot write key {key_id!r} as PEM: {algorithm.title} keys have no public half, and everybody who "
            "verifies with one can also sign",
            advice="Copy its keyring file to where it is trusted, or use a key that has a public half: "
            f"safeload key new --algorithm {names_of(has_pem=True)}",
        )
    raise KeyringError(f"cannot write key {key_id!r} as PEM: {algorithm.title} keys have no PEM form")


def write_public(algorithm: Algorithm, public: bytes) -> bytes:
    """Return a raw public key as PEM; see `require_pem`."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem: bytes = algorithm.public_object(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def write_private(algorithm: Algorithm, secret: bytes, passphrase: bytes) -> bytes:
    """Return a raw private key as PEM, encrypted; see `require_pem`.

    Raises:
        KeyringError: the passphrase is too short or too long.
    """
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    if not _MIN_PASSPHRASE <= len(passphrase) <= _MAX_PASSPHRASE:
        raise KeyringError(
            f"cannot encrypt with this passphrase: it must have {_MIN_PASSPHRASE} to {_MAX_PASSPHRASE} bytes, because "
            "everybody who gets the file can try many in a second",
            advice="Choose a longer one, such as several random words.",
        )
    key = algorithm.private_object(secret)
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
    return pem
