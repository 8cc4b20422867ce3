"""Keyrings: the keys that this process trusts, and for what.

An active key signs and verifies, a verify-only key verifies, a revoked key does neither.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from safeload.errors import ExpiredError, KeyringError, UnknownKeyError, VerificationError
from safeload.keyfile import (
    KeyEntry,
    check_entry,
    format_keyring,
    how_to_make,
    iso,
    looks_secret,
    parse_keyring,
    read_private,
    reason_of,
    write_private,
)
from safeload.keys import SigningKey, VerifyingKey, is_key_id

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "KeyEntry",
    "Keyring",
    "default_path",
    "resolve_keyring",
    "resolve_signing",
]

ENVIRONMENT_VARIABLE = "SAFELOAD_KEYRING"
_Path = str | os.PathLike[str]


class Keyring:
    """The keys that this process trusts.

    Raises:
        KeyringError: no keys at all, two keys of one id, or an entry that contradicts itself.
    """

    __slots__ = ("_entries", "_path")

    def __init__(self, entries: Iterable[KeyEntry], *, path: str | None = None) -> None:
        self._path = path
        self._entries: dict[str, KeyEntry] = {}
        for entry in entries:
            self._insert(entry)
        if not self._entries:  # an empty keyring would trust nobody: a mistake, so say it at once
            raise KeyringError(f"{self._where} has no keys; {how_to_make(path)}")

    @classmethod
    def from_keys(cls, keys: Iterable[SigningKey | VerifyingKey]) -> Keyring:
        """Make a keyring that trusts these keys: signing keys as active, verifying keys as verify-only."""
        now = datetime.now(UTC).replace(microsecond=0)
        return cls(KeyEntry(key, _natural_status(key), now) for key in keys)

    @classmethod
    def load(cls, path: _Path) -> Keyring:
        """Read a keyring file.

        Raises:
            KeyringError: it is missing, not a private regular file, or not a keyring of this version.
        """
        name = os.fsdecode(path)
        return cls(parse_keyring(read_private(name), name), path=name)

    @classmethod
    def default(cls) -> Keyring:
        """Read the keyring that `SAFELOAD_KEYRING` names, else the one in the user's config directory.

        Raises:
            KeyringError: as for `load`.
        """
        return cls.load(default_path())

    @property
    def path(self) -> str | None:
        """The file that it was read from, if any."""
        return self._path

    @property
    def entries(self) -> tuple[KeyEntry, ...]:
        """All keys, in the order of the file."""
        return tuple(self._entries.values())

    def get(self, key_id: str) -> KeyEntry | None:
        """Return the entry of this id, trusted or not, or None."""
        return self._entries.get(key_id)

    def add(
        self,
        key: SigningKey | VerifyingKey,
        *,
        status: str | None = None,
        created: datetime | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        reason: str | None = None,
    ) -> None:
        """Add a key; without `status` a signing key is active and a verifying key verify-only.

        Raises:
            KeyringError: the id is taken, or the entry contradicts itself.
        """
        entry = KeyEntry(
            key=key,
            status=_natural_status(key) if status is None else status,
            created=datetime.now(UTC).replace(microsecond=0) if created is None else created,
            not_before=not_before,
            not_after=not_after,
            reason=reason,
        )
        self._insert(entry)

    def signing_key(self, *, now: datetime | None = None) -> SigningKey:
        """Return the one active key that can sign now.

        Raises:
            KeyringError: there is none, or more than one.
        """
        now = datetime.now(UTC) if now is None else now
        active = [entry for entry in self.entries if entry.status == "active"]
        usable = [entry.key for entry in active if _in_time(entry, now)]
        if len(usable) == 1 and isinstance(usable[0], SigningKey):
            return usable[0]
        if usable:
            ids = ", ".join(key.key_id for key in usable)
            raise KeyringError(
                f'{self._where} has {len(usable)} active keys ({ids}): set status = "verify-only" on all but the '
                "one that signs, or pass that SigningKey itself"
            )
        if active:
            ids = ", ".join(entry.key_id for entry in active)
            raise KeyringError(
                f"{self._where}: no active key is within its not_before and not_after now ({ids}); {how_to_make(None)}"
            )
        raise KeyringError(f"{self._where} has no active key to sign with; {how_to_make(None)}")

    def verifying_key(self, key_id: str, *, now: datetime | None = None) -> VerifyingKey:
        """Return the key of this id, if its signatures are trusted now.

        Raises:
            UnknownKeyError: no key of this id.
            ExpiredError: past its `not_after`.
            VerificationError: revoked, or before its `not_before` (SL106).
        """
        now = datetime.now(UTC) if now is None else now
        entry = self._entries.get(key_id)
        if entry is None:
            known = ", ".join(self._entries)
            shown = repr(key_id) if is_key_id(key_id) else "(malformed)"
            raise UnknownKeyError(
                f"{self._where} has no key {shown}, only {known}. Add the signer's key to it if you trust it."
            )
        if entry.status == "revoked":
            when = f" on {iso(entry.revoked)}" if entry.revoked else ""
            why = f" ({entry.reason})" if entry.reason else ""
            raise VerificationError(
                f"key {key_id!r} was revoked{when}{why}, says {self._where}: "
                "sign the artifact again with an active key",
                code="SL106",
            )
        if entry.not_before is not None and now < entry.not_before:
            raise VerificationError(
                f"key {key_id!r} is trusted only from {iso(entry.not_before)} on, and it is {iso(now)}",
                code="SL106",
            )
        if entry.not_after is not None and now > entry.not_after:
            raise ExpiredError(
                f"key {key_id!r} was trusted until {iso(entry.not_after)}, and it is {iso(now)}: "
                "sign the artifact again with an active key"
            )
        return entry.verifying_key

    def save(self, path: _Path, *, overwrite: bool = False) -> None:
        """Write the keyring with mode 0600, whole or not at all; a missing folder is made, with mode 0700.

        Raises:
            FileExistsError: the file is there, and `overwrite` is false.
            KeyringError: it cannot be written.
        """
        name = os.fsdecode(path)
        text = format_keyring(self.entries)
        try:
            write_private(name, text.encode(), overwrite=overwrite)
        except FileExistsError:
            raise
        except (OSError, ValueError) as error:
            raise KeyringError(f"cannot write keyring {name}: {reason_of(error)}") from None

    def _insert(self, entry: KeyEntry) -> None:
        entry = check_entry(entry, self._where)
        if entry.key_id in self._entries:
            raise KeyringError(f"{self._where} has key id {entry.key_id!r} twice: ids must differ")
        self._entries[entry.key_id] = entry

    @property
    def _where(self) -> str:
        return "the keyring" if self._path is None else f"keyring {self._path}"

    def __repr__(self) -> str:
        ids = ", ".join(f"{entry.key_id} ({entry.status})" for entry in self.entries)
        return f"<Keyring {self._path!r}: {ids}>" if self._path else f"<Keyring: {ids}>"


def default_path() -> str:
    """Return the path of the keyring that is used where none is given.

    Raises:
        KeyringError: `SAFELOAD_KEYRING` is empty or holds key material itself, or there is no config directory.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named is None:
        from platformdirs import user_config_path

        path = user_config_path("safeload", appauthor=False) / "keyring.toml"
        if not path.is_absolute():  # no home folder: a relative path would be looked up in the working directory
            raise KeyringError(f"there is no config directory here: set {ENVIRONMENT_VARIABLE} to a keyring's path")
        return str(path)
    if not named:  # falling back would trust other keys than the ones that were meant
        raise KeyringError(f"{ENVIRONMENT_VARIABLE} is set but empty: unset it, or let it name a keyring file")
    if looks_secret(named):
        raise KeyringError(f"{ENVIRONMENT_VARIABLE} must name a keyring file; it seems to hold key material itself")
    return named


def resolve_signing(key: SigningKey | Keyring | _Path | None) -> SigningKey:
    """Return the key to sign with, from whatever the caller passed; None means the default keyring.

    Raises:
        KeyringError: the keyring cannot be read, or has not exactly one key to sign with.
        TypeError: something else was passed.
    """
    if isinstance(key, SigningKey):
        return key
    if isinstance(key, VerifyingKey):
        raise TypeError("a VerifyingKey cannot sign: pass a SigningKey, a Keyring or a keyring's path")
    if isinstance(key, Keyring):
        return key.signing_key()
    if key is None:
        return Keyring.default().signing_key()
    if isinstance(key, str | os.PathLike):
        return Keyring.load(key).signing_key()
    raise TypeError(f"key must be a SigningKey, a Keyring or a keyring's path, not {type(key).__name__}")


def resolve_keyring(keyring: Keyring | SigningKey | VerifyingKey | _Path | None) -> Keyring:
    """Return the keyring to verify with, from whatever the caller passed; None means the default keyring.

    Raises:
        KeyringError: the keyring cannot be read.
        TypeError: something else was passed.
    """
    if isinstance(keyring, Keyring):
        return keyring
    if isinstance(keyring, SigningKey | VerifyingKey):
        return Keyring.from_keys([keyring])
    if keyring is None:
        return Keyring.default()
    if isinstance(keyring, str | os.PathLike):
        return Keyring.load(keyring)
    raise TypeError(f"keyring must be a Keyring, a key or a keyring's path, not {type(keyring).__name__}")


def _natural_status(key: SigningKey | VerifyingKey) -> str:
    return "active" if isinstance(key, SigningKey) else "verify-only"


def _in_time(entry: KeyEntry, now: datetime) -> bool:
    return (entry.not_before is None or entry.not_before <= now) and (entry.not_after is None or now <= entry.not_after)
