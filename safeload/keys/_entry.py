"""One key of a keyring and what it is trusted for: its fields, the making of one, and the rules for them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

from safeload._internal.clock import utc_now
from safeload._internal.strictjson import format_time
from safeload.errors import KeyringError
from safeload.keys._algorithms import algorithm_named, titles_of
from safeload.keys._key import SigningKey, VerifyingKey, is_key_id
from safeload.keys._scopes import MAX_SCOPES, check_scope, in_scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Unpack

    from safeload._internal.files import PathLike

__all__ = [
    "ENTRY_TIMES",
    "MAX_REASON",
    "MAX_THRESHOLD",
    "STATUSES",
    "KeyEntry",
    "Terms",
    "check_entry",
    "check_threshold",
    "material_of",
    "revocation",
    "shown_times",
]

STATUSES = ("active", "verify-only", "revoked")
ENTRY_TIMES = ("created", "not_before", "not_after", "revoked")

MAX_THRESHOLD = 16  # no envelope has more signatures
MAX_REASON = 500  # characters


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key of a keyring, and what it is trusted for.

    `scopes` are patterns of the artifacts that it may sign; an empty tuple means all. `encrypted` is the private key
    as PEM that a passphrase opens: `key` is then the verifying key, until `Keyring.unlock`.
    """

    key: SigningKey | VerifyingKey
    status: str
    created: datetime
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked: datetime | None = None
    reason: str | None = None
    scopes: tuple[str, ...] = ()
    replaces: str | None = None
    encrypted: str | None = field(default=None, repr=False)

    @classmethod
    def new(cls, key: SigningKey | VerifyingKey, **terms: Unpack[Terms]) -> KeyEntry:
        """Return an entry: active for a signing key, verify-only for a verifying key, unless `status` is given.

        With a passphrase the signing key is encrypted in the keyring file.

        Raises:
            KeyringError: the key cannot be encrypted, or not with this passphrase.
        """
        status, passphrase = terms.get("status"), terms.get("passphrase")
        natural = "active" if isinstance(key, SigningKey) else "verify-only"
        encrypted = None
        if passphrase is not None:
            if not isinstance(key, SigningKey):
                raise KeyringError(
                    f"cannot encrypt key {key.key_id!r}: it is a public key", advice="Leave the passphrase out."
                )
            encrypted = key.to_pem(passphrase).decode("ascii")
        return cls(
            key=key,
            status=natural if status is None else status,
            created=terms.get("created") or utc_now().replace(microsecond=0),
            not_before=terms.get("not_before"),
            not_after=terms.get("not_after"),
            reason=terms.get("reason"),
            scopes=tuple(terms.get("scopes", ())),
            encrypted=encrypted,
        )

    @property
    def key_id(self) -> str:
        """The key's id."""
        return self.key.key_id

    @property
    def algorithm(self) -> str:
        """The key's algorithm."""
        return self.key.algorithm

    @property
    def verifying_key(self) -> VerifyingKey:
        """The key that checks signatures, whatever the entry's status."""
        return self.key.verifying_key if isinstance(self.key, SigningKey) else self.key

    @property
    def can_sign(self) -> bool:
        """Whether this holds the signing key, encrypted or not."""
        return isinstance(self.key, SigningKey) or self.encrypted is not None

    @property
    def is_public(self) -> bool:
        """Whether it holds a public key only, which everybody may read."""
        return not self.verifying_key.is_secret and not self.can_sign

    def in_time(self, now: datetime) -> bool:
        """Return whether the key is trusted at this time, by `not_before` and `not_after`."""
        return (self.not_before is None or self.not_before <= now) and (self.not_after is None or now <= self.not_after)

    def may_sign(self, name: str, folder: PathLike | None) -> bool:
        """Return whether its scopes let it sign an artifact of this name in this folder."""
        return not self.scopes or any(in_scope(scope, name, folder) for scope in self.scopes)


class Terms(TypedDict, total=False):
    """What a new key is trusted for; see `KeyEntry.new`."""

    status: str | None
    created: datetime | None
    not_before: datetime | None
    not_after: datetime | None
    reason: str | None
    scopes: Iterable[str]
    passphrase: bytes | None


def material_of(entry: KeyEntry) -> frozenset[bytes]:
    """Return the key itself, each half that there is: entries that share one are of one key. Never log it."""
    return frozenset((entry.verifying_key.reveal(), entry.key.reveal()))


def shown_times(entry: KeyEntry) -> str:
    """Return from when and until when a key is trusted, in words."""
    times = (("from", entry.not_before), ("until", entry.not_after))
    return " ".join(f"{word} {format_time(time)}" for word, time in times if time is not None)


def revocation(entry: KeyEntry) -> str:
    """Return when and why a key was revoked, as it follows "was revoked" in a message."""
    when = f" on {format_time(entry.revoked)}" if entry.revoked else ""
    return when + (f" ({entry.reason})" if entry.reason else "")


def check_threshold(threshold: object, where: str) -> int:
    """Return the number of keys that have to have signed.

    Raises:
        KeyringError: it is not a whole number from 1 to 16.
    """
    if type(threshold) is not int or not 1 <= threshold <= MAX_THRESHOLD:
        raise KeyringError(f"{where}: threshold must be a whole number from 1 to {MAX_THRESHOLD}")
    return threshold


def check_entry(entry: KeyEntry, where: str) -> KeyEntry:
    """Return the entry with its times in UTC.

    Raises:
        KeyringError: a field is not well-formed, or two fields contradict each other; `where` is in the message.
        TypeError: its key is neither a signing nor a verifying key.
    """
    if not isinstance(entry.key, SigningKey | VerifyingKey):
        raise TypeError(f"a keyring holds signing and verifying keys, not {type(entry.key).__name__}")
    for problems in (_status_problems, _text_problems, _scope_problems, _encryption_problems, _time_problems):
        for problem in problems(entry):
            raise KeyringError(f"{where}, key {entry.key_id!r}: {problem}")
    times: dict[str, Any] = {name: _utc(time) for name, time in _times(entry)}
    return replace(entry, **times)


def _status_problems(entry: KeyEntry) -> Iterator[str]:
    if entry.status not in STATUSES:
        yield f"status must be one of {', '.join(STATUSES)}"
    if entry.status == "active" and not entry.can_sign:
        yield 'it is active, but a public key cannot sign: set status = "verify-only"'
    if entry.revoked is not None and entry.status != "revoked":
        yield 'it has a time of revocation: set status = "revoked", or remove `revoked`'


def _text_problems(entry: KeyEntry) -> Iterator[str]:
    if entry.reason is not None and not (entry.reason.isprintable() and len(entry.reason) <= MAX_REASON):
        yield f"reason must be one printable line of at most {MAX_REASON} characters"
    if entry.replaces is not None and (not is_key_id(entry.replaces) or entry.replaces == entry.key_id):
        yield "replaces must be the id of another key"


def _scope_problems(entry: KeyEntry) -> Iterator[str]:
    if len(entry.scopes) > MAX_SCOPES:
        yield f"it has more than {MAX_SCOPES} scopes"
    for scope in entry.scopes:
        try:
            check_scope(scope)
        except ValueError as error:
            yield f"scopes: {error}"


def _encryption_problems(entry: KeyEntry) -> Iterator[str]:
    if entry.encrypted is not None and not algorithm_named(entry.algorithm).has_pem:
        yield (
            f"only {titles_of(symmetric=False)} keys can be encrypted: a {titles_of(symmetric=True)} secret is needed "
            "to verify, too"
        )


def _time_problems(entry: KeyEntry) -> Iterator[str]:
    for name, time in _times(entry):
        if time.tzinfo is None:
            yield f"{name} needs a time zone, as in 2026-11-02T09:30:00Z"
        elif _utc(time) is None:
            yield f"{name} is out of range"
    if entry.not_before is not None and entry.not_after is not None and entry.not_before >= entry.not_after:
        yield "not_before must be earlier than not_after"


def _times(entry: KeyEntry) -> list[tuple[str, datetime]]:
    """Return the times that the entry has, by name."""
    times = [(name, getattr(entry, name)) for name in ENTRY_TIMES]
    return [(name, time) for name, time in times if time is not None]


def _utc(time: datetime) -> datetime | None:
    """Return the time in UTC; None if UTC has no such time, in the first and the last hours of the calendar."""
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return None
