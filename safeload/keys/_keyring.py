"""Keyrings: the keys that this process trusts, and for what.

An active key signs and verifies, a verify-only key verifies, a revoked key does neither.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from safeload._internal.clock import utc_now
from safeload._internal.files import PathLike, shown_place
from safeload._internal.notebook import facts_table
from safeload._internal.secrecy import looks_secret
from safeload._internal.strictjson import format_time
from safeload.errors import ExpiredError, KeyringError, UnknownKeyError, VerificationError
from safeload.keys._entry import (
    KeyEntry,
    check_entry,
    check_threshold,
    material_of,
    revocation,
    shown_times,
)
from safeload.keys._file import KeyringText, format_keyring, parse_keyring
from safeload.keys._key import SigningKey, VerifyingKey, is_key_id
from safeload.keys._source import (
    ENVIRONMENT_VARIABLE,
    KeySource,
    default_source,
    exposed,
    how_to_make,
    read_source,
    write_key_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Unpack

    from safeload.keys._entry import Terms

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "KeyEntry",
    "Keyring",
    "KeyringSource",
    "keyring_from",
    "resolve_keyring",
    "text_of",
]

_SIGN_AGAIN = "Sign the artifact again with an active key."


class Keyring:
    """The keys that this process trusts, and how many of them have to have signed an artifact.

    Raises:
        KeyringError: no keys at all, two keys of one id, one key twice, or an entry that contradicts itself.
    """

    __slots__ = ("_entries", "_path", "_rotating_to", "_threshold")

    def __init__(
        self,
        entries: Iterable[KeyEntry],
        *,
        path: str | None = None,
        threshold: int = 1,
        rotating_to: str | None = None,
    ) -> None:
        self._path = path
        self._threshold = check_threshold(threshold, self.where)
        self._rotating_to = rotating_to
        self._entries: dict[str, KeyEntry] = {}
        for entry in entries:
            self._insert(entry)
        if not self._entries:  # an empty keyring would trust nobody: a mistake, so say it at once
            raise KeyringError(f"{self.where} has no keys", advice=how_to_make(path))
        if rotating_to is not None and rotating_to not in self._entries:
            raise KeyringError(
                f"{self.where}: rotating_to names {rotating_to!r}, which is not one of its keys",
                advice="Name one of its keys, or remove the line.",
            )

    @classmethod
    def from_keys(cls, keys: Iterable[SigningKey | VerifyingKey], *, threshold: int = 1) -> Keyring:
        """Make a keyring that trusts these keys: signing keys as active, verifying keys as verify-only."""
        return cls(map(KeyEntry.new, keys), threshold=threshold)

    @classmethod
    def load(cls, path: PathLike) -> Keyring:
        """Read a keyring file, or the open descriptor that a path such as `fd:3` means.

        Raises:
            KeyringError: it is missing, not private, or not a keyring of this version.
        """
        return keyring_from(read_source(os.fsdecode(path)))

    @classmethod
    def default(cls) -> Keyring:
        """Read the keyring that stands in `SAFELOAD_KEYRING_DATA` or that `SAFELOAD_KEYRING` names.

        Without these, the one in the user's config directory.

        Raises:
            KeyringError: as for `load`.
        """
        return keyring_from(default_source())

    @property
    def path(self) -> str | None:
        """The file that it was read from, if any."""
        return self._path

    @property
    def entries(self) -> tuple[KeyEntry, ...]:
        """All keys, in the order of the file."""
        return tuple(self._entries.values())

    @property
    def threshold(self) -> int:
        """How many different keys have to have signed."""
        return self._threshold

    @property
    def rotating_to(self) -> str | None:
        """The id of the new key of a rotation that is not finished."""
        return self._rotating_to

    @property
    def is_public(self) -> bool:
        """Whether it holds public keys only, so that its readers can verify and cannot sign."""
        return all(entry.is_public for entry in self.entries)

    def get(self, key_id: str) -> KeyEntry | None:
        """Return the entry of this id, trusted or not, or None."""
        return self._entries.get(key_id)

    def find(self, key: VerifyingKey) -> KeyEntry | None:
        """Return the entry of this very key, whatever its id, or None."""
        for entry in self.entries:
            if entry.algorithm == key.algorithm and entry.verifying_key.reveal() == key.reveal():
                return entry
        return None

    # --- signing and verifying ---

    def signing_key(
        self, *, now: datetime | None = None, name: str | None = None, folder: PathLike | None = None
    ) -> SigningKey:
        """Return the one active key that can sign now; with a name, that may sign an artifact of this name there.

        Raises:
            KeyringError: there is none, or more than one, or it is encrypted.
        """
        now = utc_now() if now is None else now
        if self.is_public:
            raise KeyringError(
                f"cannot sign with {self.where}: it has public keys only, so it verifies only",
                advice="Sign with the keyring that has the private key: --keyring PATH, or key=.",
            )
        active = [entry for entry in self.entries if entry.status == "active"]
        timely = [entry for entry in active if entry.in_time(now)]
        usable = timely if name is None else [entry for entry in timely if entry.may_sign(name, folder)]
        if len(usable) == 1:
            key = usable[0].key
            if isinstance(key, SigningKey):
                return key
            raise KeyringError(
                f"cannot sign with key {key.key_id!r} of {self.where}: it is encrypted",
                advice="Decrypt it with its passphrase: Keyring.unlock(PASSPHRASE). The command safeload sign asks for "
                "it.",
            )
        if usable:
            ids = ", ".join(entry.key_id for entry in usable)
            raise KeyringError(
                f"cannot tell which key signs: {self.where} has {len(usable)} active keys ({ids})",
                advice='Set status = "verify-only" on all but the one that signs, or pass that SigningKey itself.',
            )
        if timely:
            scopes = "; ".join(f"{entry.key_id}: {', '.join(entry.scopes)}" for entry in timely)
            raise KeyringError(
                f"no active key of {self.where} is allowed to sign {shown_place(name, folder)} (scopes: {scopes})",
                advice="Use a key whose scopes cover this path.",
            )
        if active:
            times = "; ".join(f"{entry.key_id}: {shown_times(entry)}" for entry in active)
            raise KeyringError(
                f"no active key of {self.where} is valid now, at {format_time(now)} ({times})",
                advice=f"Make a new key: safeload key rotate{self._named_by_option}",
            )
        known = "; ".join(
            f"{entry.key_id}: {entry.status}{revocation(entry) if entry.status == 'revoked' else ''}"
            for entry in self.entries
        )
        raise KeyringError(
            f"{self.where} has no active key to sign with ({known})",
            advice=f"Make a new key: safeload key rotate{self._named_by_option}",
        )

    def verifying_key(self, key_id: str, *, now: datetime | None = None) -> VerifyingKey:
        """Return the key of this id, if its signatures are trusted now.

        Raises:
            UnknownKeyError: no key of this id.
            ExpiredError: past its `not_after`.
            VerificationError: revoked, or before its `not_before` (SL106).
        """
        now = utc_now() if now is None else now
        entry = self._entries.get(key_id)
        if entry is None:
            known = ", ".join(self._entries)
            shown = repr(key_id) if is_key_id(key_id) and not looks_secret(key_id) else "(malformed)"
            raise UnknownKeyError(
                f"{self.where} has no key {shown}, only {known}",
                advice="If you trust the signer, add its key to the keyring: safeload key import.",
            )
        if entry.status == "revoked":
            raise VerificationError(
                f"key {key_id!r} was revoked{revocation(entry)} in {self.where}",
                advice=_SIGN_AGAIN,
                code="SL106",
            )
        if entry.not_before is not None and now < entry.not_before:
            raise VerificationError(
                f"key {key_id!r} is trusted only from {format_time(entry.not_before)} on (not_before in {self.where}); "
                f"it is {format_time(now)} now",
                advice="Check the clock of this host, or sign the artifact with a key that is trusted now.",
                code="SL106",
            )
        if entry.not_after is not None and now > entry.not_after:
            raise ExpiredError(
                f"key {key_id!r} was trusted until {format_time(entry.not_after)} (not_after in {self.where}); it is "
                f"{format_time(now)} now",
                advice=_SIGN_AGAIN,
            )
        return entry.verifying_key

    # --- changing it ---

    def add(self, key: SigningKey | VerifyingKey, **terms: Unpack[Terms]) -> None:
        """Add a key; without `status` a signing key is active and a verifying key verify-only.

        Args:
            key: the key.
            terms: status, created, not_before, not_after, reason and scopes, as in the keyring file. With `passphrase`
                the key, which has to be an Ed25519 SigningKey, is encrypted in the file.

        Raises:
            KeyringError: the id is taken, the key is there already, or the entry contradicts itself.
        """
        self._insert(KeyEntry.new(key, **terms))

    def _insert(self, entry: KeyEntry) -> None:
        entry = check_entry(entry, self.where)
        if entry.key_id in self._entries:
            raise KeyringError(
                f"cannot add key {entry.key_id!r}: {self.where} has another key of this id",
                advice="Choose another id.",
            )
        # Under a second id a revoked key would go on, and one key would count for two.
        for other in self._entries.values():
            if material_of(other) & material_of(entry):
                raise KeyringError(
                    f"{self.where}: {other.key_id!r} and {entry.key_id!r} are the same key",
                    advice="Keep one of the two.",
                )
        self._entries[entry.key_id] = entry

    def unlock(self, passphrase: bytes) -> None:
        """Decrypt the active keys, so that they can sign; they stay encrypted in the file.

        Raises:
            KeyringError: the passphrase is wrong, or there is nothing to decrypt.
        """
        encrypted = [entry for entry in self.entries if entry.status == "active" and entry.encrypted is not None]
        if not encrypted:
            raise KeyringError(
                f"{self.where} has no active key that needs a passphrase", advice="Sign without a passphrase."
            )
        for entry in encrypted:
            try:
                key = SigningKey.from_pem((entry.encrypted or "").encode(), passphrase=passphrase, key_id=entry.key_id)
            except KeyringError as error:
                raise KeyringError(
                    f"cannot decrypt key {entry.key_id!r} of {self.where}: {error.message}", advice=error.advice
                ) from None
            if key.verifying_key.reveal() != entry.verifying_key.reveal():
                raise KeyringError(
                    f"{self.where}, key {entry.key_id!r}: the public key does not belong to the encrypted one"
                )
            self._entries[entry.key_id] = replace(entry, key=key)

    @property
    def locked(self) -> bool:
        """Whether a passphrase is needed before an active key can sign."""
        return any(entry.status == "active" and not isinstance(entry.key, SigningKey) for entry in self.entries)

    def revoke(self, key_id: str, reason: str) -> None:
        """Revoke a key: everything it has signed is refused from now on.

        Raises:
            KeyringError: there is no such key, it is revoked already, or the reason is not one printable line.
        """
        entry = self._known(key_id)
        if entry.status == "revoked":
            raise KeyringError(f"key {key_id!r} of {self.where} was revoked{revocation(entry)} already")
        if not reason.strip():
            raise KeyringError(
                "cannot revoke a key without a reason: refusals show it", advice="Pass one line of text as the reason."
            )
        now = utc_now().replace(microsecond=0)
        self._entries[key_id] = check_entry(replace(entry, status="revoked", revoked=now, reason=reason), self.where)

    def to_rotate(self, key_id: str | None = None) -> KeyEntry | None:
        """Return the active key that a rotation replaces, the one of this id or the only one; None if none is active.

        Raises:
            KeyringError: there is no such active key, or more than one.
        """
        active = [entry for entry in self.entries if entry.status == "active"]
        if key_id is not None:
            entry = self._known(key_id)
            if entry not in active:
                raise KeyringError(
                    f"cannot rotate key {key_id!r}: it is {entry.status} in {self.where}", advice="Name an active key."
                )
            return entry
        if len(active) > 1:
            ids = ", ".join(entry.key_id for entry in active)
            raise KeyringError(
                f"cannot tell which key to rotate: {self.where} has {len(active)} active keys ({ids})",
                advice="Name one of them.",
            )
        return active[0] if active else None

    def rotate(
        self,
        new: SigningKey,
        *,
        old: str | None = None,
        scopes: Iterable[str] = (),
        not_after: datetime | None = None,
        passphrase: bytes | None = None,
    ) -> str | None:
        """Let a new key take over from the active one, which becomes verify-only; return the old one's id.

        Without `scopes` the new key gets those of the old one. `old` says which, where more than one is active.

        Raises:
            KeyringError: there is no such active key, or more than one, or the new key is there already.
        """
        entry = self.to_rotate(old)
        inherited = entry.scopes if entry else ()
        self.add(new, scopes=tuple(scopes) or inherited, not_after=not_after, passphrase=passphrase)
        if entry is None:
            return None
        self._entries[new.key_id] = replace(self._entries[new.key_id], replaces=entry.key_id)
        self._entries[entry.key_id] = replace(entry, status="verify-only")
        return entry.key_id

    def replaced_by(self, key_id: str) -> frozenset[str]:
        """Return the ids of the keys that this one took over from, at once or by way of others."""
        found: set[str] = set()
        entry = self.get(key_id)
        while entry is not None and entry.replaces is not None and entry.replaces not in found:
            found.add(entry.replaces)
            entry = self.get(entry.replaces)
        return frozenset(found)

    def mark_rotation(self, key_id: str | None) -> None:
        """Note the new key of a rotation that is not finished; None when it is."""
        if key_id is not None:
            self._known(key_id)
        self._rotating_to = key_id

    def with_threshold(self, threshold: int) -> Keyring:
        """Return a keyring of the same keys that demands another number of signatures."""
        return Keyring(self.entries, path=self._path, threshold=threshold, rotating_to=self._rotating_to)

    # --- files ---

    def save(self, path: PathLike, *, overwrite: bool = False) -> None:
        """Write the keyring with mode 0600, or 0644 if it is public; a missing folder is made, with mode 0700.

        It is written whole or not at all. Comments in a file that is replaced are lost; `editing` keeps them.

        Raises:
            FileExistsError: the file is there, and `overwrite` is false.
            KeyringError: it cannot be written.
        """
        write_key_file(os.fsdecode(path), self.to_toml().encode(), overwrite=overwrite, public=self.is_public)

    def to_toml(self) -> str:
        """Return the text of a keyring file with these keys; it holds their secrets, unless `is_public`."""
        return format_keyring(text_of(self))

    def _known(self, key_id: str) -> KeyEntry:
        entry = self._entries.get(key_id)
        if entry is None:
            shown = repr(key_id) if is_key_id(key_id) and not looks_secret(key_id) else "of this name"
            raise KeyringError(f"{self.where} has no key {shown}, only {', '.join(self._entries)}")
        return entry

    @property
    def _named_by_option(self) -> str:
        return "" if self._path is None else f" --keyring {shlex.quote(self._path)}"

    @property
    def where(self) -> str:
        """How messages name it, with its path if it has one."""
        return "the keyring" if self._path is None else f"keyring {self._path}"

    def __copy__(self) -> Keyring:
        return Keyring(self.entries, path=self._path, threshold=self._threshold, rotating_to=self._rotating_to)

    def __deepcopy__(self, _memo: Any) -> Keyring:
        return self.__copy__()  # entries and keys never change

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_public:
            raise TypeError(
                "a Keyring that holds secret keys cannot be pickled: that would write its key material out. "
                'Pass the keyring\'s path to each worker, which reads it there: keyring="PATH", or SAFELOAD_KEYRING.'
            )
        return _unpickled, (self.entries, self._path, self._threshold, self._rotating_to)

    def _repr_html_(self) -> str:
        """Return the ids of its keys as HTML, for notebooks; nothing of the keys."""
        facts = [(entry.key_id, f"{entry.algorithm}, {entry.status}") for entry in self.entries]
        return facts_table("Keyring", (("path", self._path), ("threshold", self._threshold), *facts))

    def __repr__(self) -> str:
        ids = ", ".join(f"{entry.key_id} ({entry.status})" for entry in self.entries)
        return f"<Keyring {self._path!r}: {ids}>" if self._path else f"<Keyring: {ids}>"


def _unpickled(entries: tuple[KeyEntry, ...], path: str | None, threshold: int, rotating_to: str | None) -> Keyring:
    return Keyring(entries, path=path, threshold=threshold, rotating_to=rotating_to)


def keyring_from(source: KeySource) -> Keyring:
    """Return the keyring that these bytes hold; see `Keyring.load`."""
    text = parse_keyring(source.data, source.name)
    ring = Keyring(text.entries, path=source.name, threshold=text.threshold, rotating_to=text.rotating_to)
    if source.exposed_mode is not None and not ring.is_public:
        raise exposed(source.name, source.exposed_mode)
    return ring


def text_of(keyring: Keyring) -> KeyringText:
    """Return the contents of the keyring's file, before they are made text."""
    return KeyringText(keyring.entries, keyring.threshold, keyring.rotating_to)


KeyringSource = Keyring | SigningKey | VerifyingKey | PathLike | None  # None is the default keyring


def resolve_keyring(keyring: KeyringSource, *, signing: bool = False) -> Keyring:
    """Return the keyring to verify with, from whatever the caller passed; None means the default keyring.

    With `signing`, the error about a missing keyring says how to make one.

    Raises:
        KeyringError: the keyring cannot be read.
        TypeError: something else was passed.
    """
    if isinstance(keyring, Keyring):
        return keyring
    if isinstance(keyring, SigningKey | VerifyingKey):
        return Keyring.from_keys([keyring])
    if keyring is None:
        return keyring_from(default_source(signing=signing))
    if isinstance(keyring, str | os.PathLike):
        return keyring_from(read_source(os.fsdecode(keyring), signing=signing))
    raise TypeError(f"keyring must be a Keyring, a key or a keyring's path, not {type(keyring).__name__}")
