"""The signature algorithms, one class each, and the registry that all other modules ask.

To add an algorithm, write a subclass of `Algorithm` and add it to `ALGORITHMS`. Nothing else has to change: keys,
keyring files, PEM files, the command line and its help texts take everything they say about an algorithm from here,
and no other module compares algorithm names.

The `cryptography` package is imported where a key is used, so that importing this module costs nothing.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

from safeload.errors import KeyringError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hmac import HMAC

__all__ = ["ALGORITHMS", "DEFAULT_ALGORITHM", "Algorithm", "algorithm_named", "names_of", "titles_of"]

# Each purpose of an HMAC secret has its own derived key (RFC 5869, the `info` input), so that nothing
# computed for one can stand in for another.
_MAC_PURPOSE = b"safeload v1 manifest hmac-sha256"
_KEY_ID_PURPOSE = b"safeload v1 key id"

# The y coordinates, without the sign bit, of the points of small order, in every encoding: under such a "public
# key" anybody can make signatures that hold for about every eighth message, or for all. All zeros is one of them.
_PRIME = (1 << 255) - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = frozenset({0, 1, _ORDER_8, _PRIME - _ORDER_8, _PRIME - 1, _PRIME, _PRIME + 1})


class Algorithm(ABC):
    """One signature algorithm: its facts, and what can be done with raw keys of it.

    `secret` is the raw signing key and `public` the raw verifying key, each checked for its size before it is passed
    here. With a symmetric algorithm both are the same bytes, and both are secret.
    """

    name: ClassVar[str]
    """How keyring files and the command line call it; the part before the first hyphen begins its key ids."""
    title: ClassVar[str]
    """How messages call it, as in "HMAC keys"."""
    summary: ClassVar[str]
    """One clause for help texts."""
    symmetric: ClassVar[bool]
    """Whether the verifying key is the signing key, and so a secret."""
    secret_size: ClassVar[int]
    """In bytes, as are the other sizes."""
    public_size: ClassVar[int]
    signature_size: ClassVar[int]
    has_pem: ClassVar[bool] = False
    """Whether its keys can be written as PEM, and so be kept encrypted. The four methods at the end are then needed."""
    securesystemslib: ClassVar[tuple[str, str] | None] = None
    """The key type and scheme of the same algorithm in securesystemslib, if its `public` is the raw key as hex."""

    def generate(self) -> bytes:
        """Return a new random secret."""
        return secrets.token_bytes(self.secret_size)

    @abstractmethod
    def public_half(self, secret: bytes) -> bytes:
        """Return the verifying key of a secret; for a symmetric algorithm, the secret itself."""

    @abstractmethod
    def sign(self, secret: bytes, message: bytes) -> bytes:
        """Return the signature over a message."""

    @abstractmethod
    def verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        """Return if the signature is valid; secrets are compared in constant time.

        Raises:
            cryptography.exceptions.InvalidSignature: it is not valid.
        """

    def check_public(self, public: bytes) -> None:  # noqa: B027 - most algorithms have no weak keys
        """Refuse a verifying key under which others could sign.

        Raises:
            KeyringError: it is such a key.
        """

    def fingerprint(self, public: bytes) -> str:
        """Return a text that is the same for the same key and reveals nothing of a secret; the default key id."""
        return f"{self.name.partition('-')[0]}-{_derive(public, _KEY_ID_PURPOSE)[:8].hex()}"

    @property
    def file_fields(self) -> frozenset[str]:
        """The fields of a keyring file that hold the key itself."""
        if self.symmetric:
            return frozenset({"secret"})
        return frozenset({"private", "public", "encrypted"} if self.has_pem else {"private", "public"})

    # Between raw keys and the key objects of the cryptography package, which reads and writes PEM.

    def private_object(self, secret: bytes) -> Any:
        """Return the private key object of a secret."""
        raise NotImplementedError(f"{self.name} has no PEM form")

    def public_object(self, public: bytes) -> Any:
        """Return the public key object of a verifying key."""
        raise NotImplementedError(f"{self.name} has no PEM form")

    def raw_private(self, key: Any) -> bytes | None:
        """Return the secret in a private key object, or None if the object is of another algorithm."""
        raise NotImplementedError(f"{self.name} has no PEM form")

    def raw_public(self, key: Any) -> bytes | None:
        """Return the verifying key in a public key object, or None if the object is of another algorithm."""
        raise NotImplementedError(f"{self.name} has no PEM form")


class _HmacSha256(Algorithm):
    """HMAC-SHA256 (RFC 2104) under a key that HKDF derives for manifests."""

    name = "hmac-sha256"
    title = "HMAC"
    summary = "one secret signs and verifies"
    symmetric = True
    secret_size = public_size = signature_size = 32

    def public_half(self, secret: bytes) -> bytes:
        return secret

    def sign(self, secret: bytes, message: bytes) -> bytes:
        mac: bytes = self._mac(secret, message).finalize()
        return mac

    def verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        self._mac(public, message).verify(signature)

    @staticmethod
    def _mac(secret: bytes, message: bytes) -> HMAC:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.hmac import HMAC

        mac = HMAC(_derive(secret, _MAC_PURPOSE), SHA256())
        mac.update(message)
        return mac


class _Ed25519(Algorithm):
    """Ed25519 (RFC 8032)."""

    name = "ed25519"
    title = "Ed25519"
    summary = "only the private half can sign"
    symmetric = False
    secret_size = public_size = 32
    signature_size = 64
    has_pem = True
    securesystemslib = ("ed25519", "ed25519")

    def public_half(self, secret: bytes) -> bytes:
        public: bytes = self.private_object(secret).public_key().public_bytes_raw()
        return public

    def sign(self, secret: bytes, message: bytes) -> bytes:
        signature: bytes = self.private_object(secret).sign(message)
        return signature

    def verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        self.public_object(public).verify(signature, message)

    def check_public(self, public: bytes) -> None:
        if int.from_bytes(public, "little") % (1 << 255) in _SMALL_ORDER:
            raise KeyringError(
                "cannot use this Ed25519 public key: it is a point of small order, so anybody could sign for it",
                advice="Get the real key from its owner.",
            )

    def private_object(self, secret: bytes) -> Any:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(secret)

    def public_object(self, public: bytes) -> Any:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(public)

    def raw_private(self, key: Any) -> bytes | None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return key.private_bytes_raw() if isinstance(key, Ed25519PrivateKey) else None

    def raw_public(self, key: Any) -> bytes | None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None


ALGORITHMS: Final[dict[str, Algorithm]] = {algorithm.name: algorithm for algorithm in (_HmacSha256(), _Ed25519())}
DEFAULT_ALGORITHM = _HmacSha256.name


def algorithm_named(name: object) -> Algorithm:
    """Return the algorithm of this name.

    Raises:
        KeyringError: there is none; the name is not repeated, because it may be a secret in the wrong place.
    """
    found = ALGORITHMS.get(name) if isinstance(name, str) else None
    if found is None:
        raise KeyringError("unknown key algorithm", advice=f"Use one of {', '.join(ALGORITHMS)}.")
    return found


def names_of(*, has_pem: bool) -> str:
    """Return the names of the algorithms with or without PEM, as command lines and help texts say them."""
    return " or ".join(one.name for one in ALGORITHMS.values() if one.has_pem is has_pem)


def titles_of(*, symmetric: bool) -> str:
    """Return the titles of the symmetric algorithms, or of the others, for messages."""
    return " or ".join(one.title for one in ALGORITHMS.values() if one.symmetric is symmetric)


def _derive(secret: bytes, purpose: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    # No salt: the input is uniformly random already (RFC 5869, section 3.1).
    derived: bytes = HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret)
    return derived
