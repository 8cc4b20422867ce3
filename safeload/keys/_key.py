"""Signing and verifying keys, of any algorithm in `_algorithms`.

The algorithm belongs to the key: a message can neither choose nor change it. Key material never shows in
`repr`, in errors or in pickles; `reveal()` is the one way to it, and only keyrings need it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

from safeload._internal.notebook import facts_table
from safeload.errors import BadSignatureError, KeyringError
from safeload.keys._algorithms import DEFAULT_ALGORITHM, algorithm_named
from safeload.keys._pem import read_private, read_public, require_pem, write_private, write_public

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Signer", "SigningKey", "VerifyingKey", "is_key_id"]

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
            'Pass the keyring\'s path to each worker, which reads it there: keyring="PATH", or SAFELOAD_KEYRING.'
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

    With Ed25519 it holds the public half only. With HMAC there are no halves: everybody who can verify can also
    sign, so this too is a secret (`is_secret`). Most callers want a `Keyring`, which says which keys are trusted.
    """

    __slots__ = ("_algorithm", "_key_id", "_material")

    def __init__(self, material: bytes, *, algorithm: str, key_id: str | None = None) -> None:
        self._algorithm = algorithm_named(algorithm)
        self._material = _checked_material(material, self._algorithm.public_size)
        self._algorithm.check_public(self._material)
        self._key_id = self.fingerprint if key_id is None else _checked_id(key_id)

    def __reduce__(self) -> tuple[Any, ...]:  # type: ignore[override]
        if self.is_secret:
            self._refuse()
        return _public_key, (self._material, self.algorithm, self._key_id)

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:  # type: ignore[override]
        return self.__reduce__()

    @classmethod
    def from_pem(cls, pem: bytes, *, key_id: str | None = None) -> VerifyingKey:
        """Read a public key (SubjectPublicKeyInfo, `-----BEGIN PUBLIC KEY-----`); the key says its algorithm.

        Raises:
            KeyringError: it is something else; the message says what.
        """
        algorithm, public = read_public(pem)
        return cls(public, algorithm=algorithm.name, key_id=key_id)

    def to_pem(self) -> bytes:
        """Return the public key as PEM (SubjectPublicKeyInfo).

        Raises:
            KeyringError: keys of this algorithm have no public half, or no PEM form.
        """
        require_pem(self._algorithm, self._key_id)
        return write_public(self._algorithm, self._material)

    @property
    def key_id(self) -> str:
        """The name by which envelopes and keyrings refer to this key."""
        return self._key_id

    @property
    def algorithm(self) -> str:
        """The name of its algorithm, as in keyring files."""
        return self._algorithm.name

    @property
    def is_secret(self) -> bool:
        """Whether this key could sign, too, so that it must be kept secret (HMAC)."""
        return self._algorithm.symmetric

    @property
    def fingerprint(self) -> str:
        """A text that only this key has, whatever its id. It is not secret, and it is the default key id."""
        return self._algorithm.fingerprint(self._material)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if `signature` is this key's signature over `message`; MACs are compared in constant time.

        Raises:
            BadSignatureError: it is not.
        """
        from cryptography.exceptions import InvalidSignature

        if len(signature) == self._algorithm.signature_size:
            try:
                self._algorithm.verify(self._material, signature, message)
                return
            except InvalidSignature:
                pass
        raise BadSignatureError(
            f"the signature by key {self._key_id!r} is not valid: the message was changed after it was signed, or "
            "another key signed it",
            advice="Do not use the message. Get it again from its source.",
        )

    def reveal(self) -> bytes:
        """Return the raw key: the public key (Ed25519), or the secret itself (HMAC). Never log it."""
        return self._material

    def _repr_html_(self) -> str:
        """Return its id and algorithm as HTML, for notebooks."""
        return facts_table("VerifyingKey", (("id", self._key_id), ("algorithm", self.algorithm)))

    def __repr__(self) -> str:
        return f"<VerifyingKey {self._key_id!r} {self.algorithm}>"


class SigningKey(_Guarded):
    """A key that signs; make one with `SigningKey.generate()`, keep it in a `Keyring`."""

    __slots__ = ("_algorithm", "_secret", "_verifying_key")

    def __init__(self, secret: bytes, *, algorithm: str = DEFAULT_ALGORITHM, key_id: str | None = None) -> None:
        self._algorithm = algorithm_named(algorithm)
        self._secret = _checked_material(secret, self._algorithm.secret_size)
        public = self._algorithm.public_half(self._secret)
        self._verifying_key = VerifyingKey(public, algorithm=algorithm, key_id=key_id)

    @classmethod
    def generate(cls, algorithm: str = DEFAULT_ALGORITHM, key_id: str | None = None) -> SigningKey:
        """Make a new random key; without `key_id` it gets one derived from the key.

        Raises:
            KeyringError: unknown algorithm, or a key id that is not well-formed.
        """
        return cls(algorithm_named(algorithm).generate(), algorithm=algorithm, key_id=key_id)

    @classmethod
    def from_pem(cls, pem: bytes, *, passphrase: bytes | None = None, key_id: str | None = None) -> SigningKey:
        """Read a private key (PKCS #8), encrypted or not; the key says its algorithm.

        Raises:
            KeyringError: it is something else, the passphrase is missing or wrong, or there is one too many.
        """
        algorithm, secret = read_private(pem, passphrase)
        return cls(secret, algorithm=algorithm.name, key_id=key_id)

    def to_pem(self, passphrase: bytes) -> bytes:
        """Return the private key as PEM (PKCS #8), encrypted.

        Raises:
            KeyringError: keys of this algorithm have no PEM form, or the passphrase has less than 12 bytes or more
                than 1023.
        """
        require_pem(self._algorithm, self.key_id)
        return write_private(self._algorithm, self._secret, passphrase)

    @property
    def key_id(self) -> str:
        """The name by which envelopes and keyrings refer to this key."""
        return self._verifying_key.key_id

    @property
    def algorithm(self) -> str:
        """The name of its algorithm, as in keyring files."""
        return self._algorithm.name

    @property
    def verifying_key(self) -> VerifyingKey:
        """The key that checks what this one signs."""
        return self._verifying_key

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`: 32 bytes (HMAC-SHA256) or 64 (Ed25519)."""
        return self._algorithm.sign(self._secret, message)

    def reveal(self) -> bytes:
        """Return the raw secret, for writing it to a keyring. Never log it."""
        return self._secret

    def _repr_html_(self) -> str:
        """Return its id and algorithm as HTML, for notebooks; nothing of the secret."""
        return facts_table("SigningKey", (("id", self.key_id), ("algorithm", self.algorithm)))

    def __repr__(self) -> str:
        return f"<SigningKey {self.key_id!r} {self.algorithm}>"


def _public_key(material: bytes, algorithm: str, key_id: str) -> VerifyingKey:
    return VerifyingKey(material, algorithm=algorithm, key_id=key_id)


def _checked_material(material: bytes, size: int) -> bytes:
    if not isinstance(material, bytes | bytearray):
        raise TypeError(f"a key is made of bytes, not {type(material).__name__}")
    if len(material) != size:
        raise KeyringError(f"a key of this algorithm has {size} bytes, and this one has {len(material)}")
    return bytes(material)


def _checked_id(key_id: object) -> str:
    # The text is not quoted: a secret put in the wrong place must not end up in a log.
    if not isinstance(key_id, str) or not is_key_id(key_id):
        raise KeyringError("a key id is 1 to 100 ASCII letters, digits and ._@:+- and starts with a letter or digit")
    return key_id
