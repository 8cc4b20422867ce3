"""Signing and verifying keys: HMAC-SHA256 and Ed25519.

The algorithm belongs to the key: a message can neither choose nor change it. Key material never shows in
`repr`, in errors or in pickles; `reveal()` is the one way to it, and only keyrings need it.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

from safeload.errors import KeyringError

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "ALGORITHMS",
    "DEFAULT_ALGORITHM",
    "KEY_SIZE",
    "MAX_PEM_BYTES",
    "Signer",
    "SigningKey",
    "VerifyingKey",
    "is_encrypted_pem",
    "is_key_id",
    "is_pem",
    "is_private_pem",
]

ALGORITHMS = ("hmac-sha256", "ed25519")
DEFAULT_ALGORITHM = "hmac-sha256"
KEY_SIZE = 32

MAX_PEM_BYTES = 16 << 10
MIN_PASSPHRASE = 12  # bytes

_PEM_LABEL = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?$", re.MULTILINE)
_ENCRYPTED_LABEL = "ENCRYPTED PRIVATE KEY"
_PRIVATE_LABEL = "PRIVATE KEY"
_PUBLIC_LABEL = "PUBLIC KEY"

# The y coordinates, without the sign bit, of the points of small order, in every encoding: under such a "public
# key" anybody can make signatures that hold for about every eighth message, or for all. All zeros is one of them.
_PRIME = (1 << 255) - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = frozenset({0, 1, _ORDER_8, _PRIME - _ORDER_8, _PRIME - 1, _PRIME, _PRIME + 1})

# Each purpose of an HMAC secret has its own derived key (RFC 5869, the `info` input), so that nothing
# computed for one can stand in for another.
_MAC_PURPOSE = b"safeload v1 manifest hmac-sha256"
_KEY_ID_PURPOSE = b"safeload v1 key id"

# Plain enough to be printed, quoted in TOML and JSON, and typed, as it stands.
_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,99}")


def is_key_id(text: str) -> bool:
    """Return whether this is a well-formed key id: 1 to 100 ASCII letters, digits and `._@:+-`."""
    return _KEY_ID.fullmatch(text) is not None


@runtime_checkable
class Signer(Protocol):
    """What signs: a `SigningKey`, or a hook to a key that never leaves its KMS or HSM.

    What `sign` returns is checked under `verifying_key` before anything is written.
    """

    @property
    def verifying_key(self) -> VerifyingKey:
        """The key that checks its signatures; its id and its algorithm are the signer's."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`, as `verifying_key.algorithm` makes it (Ed25519: 64 bytes)."""


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
        if algorithm == "ed25519" and int.from_bytes(self._material, "little") % (1 << 255) in _SMALL_ORDER:
            raise KeyringError("this is no usable Ed25519 public key: anybody could sign for it. Get the real one")
        self._key_id = _fingerprint(self._material, algorithm) if key_id is None else _checked_id(key_id)

    @classmethod
    def from_pem(cls, pem: bytes, *, key_id: str | None = None) -> VerifyingKey:
        """Read an Ed25519 public key (SubjectPublicKeyInfo, `-----BEGIN PUBLIC KEY-----`).

        Raises:
            KeyringError: it is something else; the message says what.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        label = _pem_label(pem)
        if label != _PUBLIC_LABEL:
            raise KeyringError(f"it holds a {label}, not a public key (-----BEGIN PUBLIC KEY-----)")
        key = _loaded(load_pem_public_key, pem)
        if not isinstance(key, Ed25519PublicKey):
            raise _other_algorithm(key)
        return cls(key.public_bytes_raw(), algorithm="ed25519", key_id=key_id)

    def to_pem(self) -> bytes:
        """Return the public key as PEM (SubjectPublicKeyInfo).

        Raises:
            KeyringError: this is an HMAC key, which has no public half.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        _require_ed25519(self)
        public = Ed25519PublicKey.from_public_bytes(self._material)
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def key_id(self) -> str:
        """The name by which envelopes and keyrings refer to this key."""
        return self._key_id

    @property
    def algorithm(self) -> str:
        """One of `ALGORITHMS`."""
        return self._algorithm

    @property
    def fingerprint(self) -> str:
        """What tells this key from all others, whatever its id; it is no secret, and what ids are by default."""
        return _fingerprint(self._material, self._algorithm)

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

    @classmethod
    def from_pem(cls, pem: bytes, *, passphrase: bytes | None = None, key_id: str | None = None) -> SigningKey:
        """Read an Ed25519 private key (PKCS #8), encrypted or not.

        Raises:
            KeyringError: it is something else, the passphrase is missing or wrong, or there is one too many.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        label = _pem_label(pem)
        if label not in (_PRIVATE_LABEL, _ENCRYPTED_LABEL):
            raise KeyringError(
                f"it holds a {label}, not a private key in PKCS #8 (-----BEGIN PRIVATE KEY----- or -----BEGIN "
                "ENCRYPTED PRIVATE KEY-----)"
            )
        if label == _ENCRYPTED_LABEL and not passphrase:
            raise KeyringError("it is encrypted, and needs its passphrase")
        if label == _PRIVATE_LABEL and passphrase is not None:
            raise KeyringError("it is not encrypted, and yet there is a passphrase for it: is this the right file?")
        key = _loaded(load_pem_private_key, pem, passphrase)
        if not isinstance(key, Ed25519PrivateKey):
            raise _other_algorithm(key)
        return cls(key.private_bytes_raw(), algorithm="ed25519", key_id=key_id)

    def to_pem(self, passphrase: bytes) -> bytes:
        """Return the private key as PEM (PKCS #8), encrypted.

        Raises:
            KeyringError: this is an HMAC key, or the passphrase has less than 12 bytes or more than 1023.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

        _require_ed25519(self.verifying_key)
        if not MIN_PASSPHRASE <= len(passphrase) <= 1023:  # OpenSSL's own limit
            raise KeyringError(
                f"a passphrase has {MIN_PASSPHRASE} to 1023 bytes: whoever gets the file can try many in a second"
            )
        private = Ed25519PrivateKey.from_private_bytes(self._secret)
        return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))

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


def is_pem(data: bytes) -> bool:
    """Return whether this looks like PEM, of whatever."""
    return _PEM_LABEL.search(data) is not None


def is_private_pem(pem: bytes) -> bool:
    """Return whether this is PEM of a private key, of whatever algorithm."""
    return _pem_label(pem).endswith(_PRIVATE_LABEL)


def is_encrypted_pem(pem: bytes) -> bool:
    """Return whether this is PEM of a private key that needs a passphrase."""
    return _pem_label(pem) == _ENCRYPTED_LABEL


def _pem_label(pem: bytes) -> str:
    if len(pem) > MAX_PEM_BYTES:
        raise KeyringError(f"it has more than {MAX_PEM_BYTES} bytes, so it is no PEM file of a key")
    labels = _PEM_LABEL.findall(pem)
    if not labels:
        raise KeyringError("it is not PEM: there is no line -----BEGIN … KEY-----")
    if len(labels) > 1:  # which of them was meant?
        raise KeyringError(f"it holds {len(labels)} PEM blocks, and has to hold exactly one key")
    label: str = labels[0].decode("ascii")
    return label


def _loaded(load: Any, pem: bytes, *arguments: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    # What the library says may quote what it read, so it is neither repeated nor chained.
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
        f"it is of another algorithm ({kind}): safeload signs with Ed25519. Make one with: safeload key new "
        "--algorithm ed25519, or openssl genpkey -algorithm ed25519"
    )


def _require_ed25519(key: VerifyingKey) -> None:
    if key.algorithm != "ed25519":
        raise KeyringError(
            f"key {key.key_id!r} is an HMAC key: it has no public half, and whoever could verify with it could also "
            "sign. Copy its keyring file to where it is trusted, or change over: safeload key new --algorithm "
            "ed25519"
        )


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
