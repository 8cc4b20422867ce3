"""Who signs: keys from keyrings, PEM files and memory, and hooks to keys that stay in a KMS or HSM."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safeload._internal.files import PathLike
from safeload.errors import KeyringError
from safeload.keys._algorithms import ALGORITHMS
from safeload.keys._key import Signer, SigningKey, VerifyingKey
from safeload.keys._keyring import Keyring, KeyringSource, keyring_from, resolve_keyring
from safeload.keys._pem_file import PemFile
from safeload.keys._source import read_source

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "SecuresystemslibSigner",
    "Signers",
    "SigningSource",
    "SigningSources",
    "key_and_keyring",
    "resolve_signers",
]

SigningSource = Signer | Keyring | PathLike | None
SigningSources = SigningSource | Sequence[SigningSource]  # each of them signs


@dataclass(frozen=True, slots=True)
class Signers:
    """Who signs, and the keyrings that say whose older signatures count when releases are counted on."""

    signers: tuple[Signer, ...]
    keyrings: tuple[Keyring, ...]

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys that sign."""
        return tuple(signer.verifying_key.key_id for signer in self.signers)


def resolve_signers(key: SigningSources, target: Path | str) -> Signers:
    """Return who signs the artifact at `target`, from whatever the caller passed. A str is a name in no folder.

    That is a Signer (a SigningKey, or a hook), a Keyring (its active key that may sign this), a path of a keyring or of
    a private key as PEM, None (the default keyring), or a list of such: each of them signs.

    Raises:
        KeyringError: a keyring cannot be read, or has not exactly one key to sign this with; or one key signs twice.
        TypeError: something else was passed.
    """
    sources = key if isinstance(key, list | tuple) else (key,)
    if not sources:
        raise KeyringError("cannot sign: the list of keys is empty", advice="Pass at least one key.")
    pairs = [_resolve(source, target) for source in sources]
    keys = [signer.verifying_key for signer, _ in pairs]
    for number, one in enumerate(keys):
        for other in keys[:number]:
            if one.key_id == other.key_id or one.reveal() == other.reveal():
                raise KeyringError(
                    f"cannot sign twice with one key: {other.key_id!r} and {one.key_id!r} are the same",
                    advice="Pass each key once.",
                )
    return Signers(tuple(signer for signer, _ in pairs), tuple(ring for _, ring in pairs))


def key_and_keyring(
    key: SigningSources,
    keyring: KeyringSource,
) -> tuple[SigningSources, Keyring]:
    """Return the signers and the keyring to verify with; where one of the two is None, the other serves as both.

    Raises:
        KeyringError: the keyring cannot be read.
        TypeError: `keyring` is None, and `key` is several keys or a hook, which do not say which keys are trusted.
    """
    if keyring is None:
        if key is not None and not isinstance(key, Keyring | SigningKey | VerifyingKey | str | os.PathLike):
            raise TypeError(
                "cannot verify without a keyring: several keys, or a hook, do not say which keys are trusted. "
                "Pass keyring="
            )
        keyring, key = key, None
    trusted = resolve_keyring(keyring)
    return trusted if key is None else key, trusted


def _resolve(source: Any, target: Path | str) -> tuple[Signer, Keyring]:
    if isinstance(source, VerifyingKey):
        raise TypeError("a VerifyingKey cannot sign: pass a SigningKey, a Keyring or a keyring's path")
    if isinstance(source, Signer):
        return source, Keyring.from_keys([source.verifying_key])
    if source is None:
        ring = resolve_keyring(None, signing=True)
    elif isinstance(source, Keyring):
        ring = source
    elif isinstance(source, str | os.PathLike):
        found = read_source(os.fsdecode(source), else_pem=True)
        pem = PemFile.of(found)
        if pem is not None:
            try:
                signer = pem.signing_key()
            except KeyringError as error:
                raise KeyringError(f"cannot sign with {found.name}: {error.message}", advice=error.advice) from None
            return signer, Keyring.from_keys([signer])
        ring = keyring_from(found)
    else:
        raise TypeError(f"key must be a SigningKey, a Keyring or a path, not {type(source).__name__}")
    name, folder = (target, None) if isinstance(target, str) else (target.name, target.parent)
    return ring.signing_key(name=name, folder=folder), ring


class SecuresystemslibSigner:
    """Lets a signer of the `securesystemslib` package sign: one for a KMS, an HSM, Vault, or a key in memory.

    It has to sign with an algorithm that both packages have: Ed25519. Its key goes to keyrings as `verifying_key`.

    Args:
        signer: a `securesystemslib.signer.Signer`.
        key_id: what to call the key; by default a fingerprint of it, as with any other key.

    Raises:
        KeyringError: it signs with another algorithm.
    """

    def __init__(self, signer: Any, *, key_id: str | None = None) -> None:
        public = signer.public_key
        kind = (getattr(public, "keytype", None), getattr(public, "scheme", None))
        shared = {one.securesystemslib: one for one in ALGORITHMS.values() if one.securesystemslib is not None}
        if kind not in shared:
            known = " and ".join(one.title for one in shared.values())
            raise KeyringError(
                f"cannot use this signer: it signs with {kind[1] or 'an unknown scheme'}",
                advice=f"Use a key for {known}.",
            )
        algorithm = shared[kind]
        try:
            material = bytes.fromhex(public.keyval["public"])
        except (KeyError, TypeError, ValueError):
            raise KeyringError(
                f"cannot use this signer: its public key is not {algorithm.public_size} bytes in hexadecimal"
            ) from None
        self._signer = signer
        self._verifying_key = VerifyingKey(material, algorithm=algorithm.name, key_id=key_id)

    @property
    def verifying_key(self) -> VerifyingKey:
        """The public key."""
        return self._verifying_key

    def sign(self, message: bytes) -> bytes:
        """Have the message signed.

        Raises:
            KeyringError: the signer failed, or answered with something else.
        """
        try:
            return bytes.fromhex(self._signer.sign(message).signature)
        except Exception as error:
            raise KeyringError(
                f"the signer of key {self._verifying_key.key_id!r} failed: {type(error).__name__}: {error}"
            ) from error

    def __repr__(self) -> str:
        return f"<SecuresystemslibSigner {self._verifying_key.key_id!r}>"
