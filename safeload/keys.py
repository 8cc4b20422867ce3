"""Signing and verifying keys: HMAC-SHA256 and Ed25519.

The algorithm belongs to the key: a message can neither choose nor change it. Key material never shows in
`repr`, in errors or in pickles; `reveal()` is the one way to it, and only keyrings need it.
"""

from __future__ import annotations

import base64
import re
import secrets
from typing import TYPE_CHECKING, Any, NoReturn

from safeload.errors import KeyringError

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "ALGORITHMS",
    "DEFAULT_ALGORITHM",
    "KEY_SIZE",
    "SigningKey",
    "VerifyingKey",
    "decode_base64",
    "encode_base64",
    "is_key_id",
]

ALGORITHMS = ("hmac-sha256", "ed25519")
DEFAULT_ALGORITHM = "hmac-sha256"
KEY_SIZE = 32

# Each purpose of an HMAC secret has its own derived key (RFC 5869, the `info` input), so that nothing
# computed for one can stand in for another.
_MAC_PURPOSE = b"safeload v1 manifest hmac-sha256"
_KEY_ID_PURPOSE = b"safeload v1 key id"

# Plain enough to be printed, quoted in TOML and JSON, and typed, as it stands.
_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}")


def is_key_id(text: str) -> bool:
    """Return whether this is a well-formed key id: 1 to 100 ASCII letters, digits and `._@:+-`."""
    return _KEY_ID.fullmatch(text) is not None


def encode_base64(data: bytes) -> str:
    """Return standard base64 with padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Decode standard base64, in its one canonical spelling only.

    Raises:
        ValueError: another alphabet, white space, missing padding, or bits set that no encoder sets.
    """
    # b64decode ignores the unused low bits of the last digit, so several texts give the same bytes.
    data = base64.b64decode(text, validate=True)
    if encode_base64(data) != text:
        raise ValueError("not canonical base64")
    return data


class _Guarded:
    """What holds key material: immutable, copied as itself, and never pickled."""

    __slots__ = ()

    def _refuse(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled: that would write its key material out. "
            "Pass the keyring's path instead."
        )

    def __reduce__(self) -> NoReturn:
        self._refuse()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self._refuse()

    def __getstate__(self) -> NoReturn:
        self._refuse()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self


class VerifyingKey(_Guarded):
    """A key that checks signatures.

    With Ed25519 it holds the public half only. With HMAC there are no halves: whoever can verify could also
    sign, so this too is a secret. Most callers want a `Keyring`, which says which keys are trusted.
    """

    __slots__ = ("_algorithm", "_key_id", "_material")

    def __init__(self, material: bytes, *, algorithm: str, key_id: str | None = None) -> None:
        _check_material(material, algorithm)
        self._algorithm = algorithm
        self._material = bytes(material)
        self._key_id = _fingerprint(self._material, algorithm) if key_id is None else _checked_id(key_id)

    @property
    def key_id(self) -> str:
        """The name by which envelopes and keyrings refer to this key."""
        return self._key_id

    @property
    def algorithm(self) -> str:
        """One of `ALGORITHMS`."""
        return self._algorithm

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Return whether `signature` is this key's over `message`; MACs are compared in constant time."""
        from cryptography.exceptions import InvalidSignature

        try:
            if self._algorithm == "ed25519":
                from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

                Ed25519PublicKey.from_public_bytes(self._material).verify(signature, message)
            else:
                _mac(self._material, message).verify(signature)
        except InvalidSignature:
            return False
        return True

    def reveal(self) -> bytes:
        """Return the raw key: the public key (Ed25519), or the secret itself (HMAC). Never log it."""
        return self._material

    def __repr__(self) -> str:
        return f"<VerifyingKey {self._key_id!r} {self._algorithm}>"


class SigningKey(_Guarded):
    """A key that signs; make one with `SigningKey.generate()`, keep it in a `Keyring`."""

    __slots__ = ("_secret", "_verifying_key")

    def __init__(self, secret: bytes, *, algorithm: str = DEFAULT_ALGORITHM, key_id: str | None = None) -> None:
        _check_material(secret, algorithm)
        self._secret = bytes(secret)
        public = _ed25519_public(self._secret) if algorithm == "ed25519" else self._secret
        self._verifying_key = VerifyingKey(public, algorithm=algorithm, key_id=key_id)

    @classmethod
    def generate(cls, algorithm: str = DEFAULT_ALGORITHM, key_id: str | None = None) -> SigningKey:
        """Make a new key of 32 random bytes; without `key_id` it gets one derived from the key.

        Raises:
            KeyringError: unknown algorithm, or a key id that is not well-formed.
        """
        return cls(secrets.token_bytes(KEY_SIZE), algorithm=algorithm, key_id=key_id)

    @property
    def key_id(self) -> str:
        """The name by which envelopes and keyrings refer to this key."""
        return self._verifying_key.key_id

    @property
    def algorithm(self) -> str:
        """One of `ALGORITHMS`."""
        return self._verifying_key.algorithm

    @property
    def verifying_key(self) -> VerifyingKey:
        """The key that checks what this one signs."""
        return self._verifying_key

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`: 32 bytes (HMAC-SHA256) or 64 (Ed25519)."""
        if self.algorithm == "ed25519":
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            return Ed25519PrivateKey.from_private_bytes(self._secret).sign(message)
        mac: bytes = _mac(self._secret, message).finalize()
        return mac

    def reveal(self) -> bytes:
        """Return the raw secret, for writing it to a keyring. Never log it."""
        return self._secret

    def __repr__(self) -> str:
        return f"<SigningKey {self.key_id!r} {self.algorithm}>"


def _check_material(material: bytes, algorithm: str) -> None:
    if algorithm not in ALGORITHMS:
        raise KeyringError(f"unknown key algorithm: use one of {', '.join(ALGORITHMS)}")
    if not isinstance(material, bytes | bytearray):
        raise TypeError(f"a key is made of bytes, not {type(material).__name__}")
    if len(material) != KEY_SIZE:
        raise KeyringError(f"a key has exactly {KEY_SIZE} bytes, this one has {len(material)}")


def _checked_id(key_id: object) -> str:
    # The text is not quoted: a secret put in the wrong place must not end up in a log.
    if not isinstance(key_id, str) or not is_key_id(key_id):
        raise KeyringError("a key id is 1 to 100 ASCII letters, digits and ._@:+- and starts with a letter or digit")
    return key_id


def _fingerprint(material: bytes, algorithm: str) -> str:
    """Return a key id that is the same for the same key and tells nothing about a secret."""
    return f"{algorithm.partition('-')[0]}-{_derive(material, _KEY_ID_PURPOSE)[:8].hex()}"


def _derive(secret: bytes, purpose: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    # No salt: the input is uniformly random already (RFC 5869, section 3.1).
    derived: bytes = HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=None, info=purpose).derive(secret)
    return derived


def _mac(secret: bytes, message: bytes) -> Any:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.hmac import HMAC

    mac = HMAC(_derive(secret, _MAC_PURPOSE), SHA256())
    mac.update(message)
    return mac


def _ed25519_public(secret: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
