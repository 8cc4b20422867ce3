"""A PEM file: read once, as one that may hold a private key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from safeload.errors import KeyringError
from safeload.keys._key import SigningKey, VerifyingKey
from safeload.keys._pem import is_encrypted_pem, is_pem, is_private_pem
from safeload.keys._source import KeySource, exposed, read_source

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PemFile"]


@dataclass(frozen=True, slots=True)
class PemFile:
    """The content of a PEM file. Its errors do not name the file: the caller says what it was for."""

    source: KeySource

    @classmethod
    def read(cls, path: str) -> Self:
        """Read a PEM file, or the descriptor that fd:N means.

        Raises:
            KeyringError: it cannot be read, others could change it, or it is not PEM.
        """
        found = cls.of(read_source(path, else_pem=True))
        if found is None:
            raise KeyringError(
                f"{path} is not a PEM file: it has no line -----BEGIN … KEY-----", advice="Check the path."
            )
        return found

    @classmethod
    def find(cls, path: str) -> Self | None:
        """Read a file that may be PEM or a keyring; return None if it is not PEM; else as `read`."""
        return cls.of(read_source(path, else_pem=True))

    @classmethod
    def of(cls, source: KeySource) -> Self | None:
        """Return the PEM file of bytes that were read, or None if they are not PEM."""
        return cls(source) if is_pem(source.data) and b"[[keys]]" not in source.data else None

    @property
    def is_private(self) -> bool:
        """Whether it holds a private key.

        Raises:
            KeyringError: it does not hold exactly one key.
        """
        return is_private_pem(self.source.data)

    def verifying_key(self, key_id: str | None = None) -> VerifyingKey:
        """Return the public key in it.

        Raises:
            KeyringError: it does not hold a public key of a known algorithm.
        """
        return VerifyingKey.from_pem(self.source.data, key_id=key_id)

    def signing_key(self, ask: Callable[[], bytes] | None = None, *, key_id: str | None = None) -> SigningKey:
        """Return the private key in it; `ask` returns the passphrase, and is called only where one is needed.

        Raises:
            KeyringError: others can read the file, it does not hold a private key, or the passphrase is wrong or
                missing.
        """
        if self.source.exposed_mode is not None:
            raise exposed(self.source.name, self.source.exposed_mode)
        passphrase = ask() if ask is not None and is_encrypted_pem(self.source.data) else None
        return SigningKey.from_pem(self.source.data, passphrase=passphrase, key_id=key_id)
