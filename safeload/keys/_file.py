"""The keyring file: the keys that are trusted, and for what, in one private TOML file.

    version = 1

    [[keys]]
    id = "hmac-5f1d0c2b9a7e4438"
    algorithm = "hmac-sha256"             # or "ed25519"
    status = "active"                     # or "verify-only", "revoked"
    created = 2026-11-02T09:30:00Z
    secret = "…"                          # 32 bytes in base64; Ed25519 has `private`, or `public`, or both
    not_before = 2026-11-02T09:30:00Z     # optional, by the clock of whoever verifies; so is not_after
    scopes = ["fraud-*.joblib"]           # optional: which artifacts it may sign, see `scopes`
    replaces = "hmac-0a1b…"               # optional: the key that it took over from
    reason = "…"                          # optional; a revoked key may have `revoked`, the time, as well

An Ed25519 key that needs a passphrase has `encrypted`, the private key as PEM, in place of `private`. Above the keys
may stand `threshold`, how many of them have to have signed, and `rotating_to`, the id of the key that a rotation which
has not come to its end is re-signing with.

What is not understood is refused. Messages never quote values from the file, other than well-formed key ids.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict

from safeload._internal.encoding import decode_base64, encode_base64
from safeload._internal.strictjson import format_time
from safeload.errors import KeyringError
from safeload.keys._algorithms import ALGORITHMS, algorithm_named, titles_of
from safeload.keys._key import (
    MAX_PEM_BYTES,
    SigningKey,
    VerifyingKey,
    is_encrypted_pem,
    is_key_id,
    is_pem,
)
from safeload.keys._scopes import MAX_SCOPES, check_scope, in_scope

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Unpack

    from safeload._internal.files import PathLike

__all__ = [
    "MAX_REASON",
    "MAX_THRESHOLD",
    "STATUSES",
    "KeyEntry",
    "KeyringText",
    "Terms",
    "check_entry",
    "check_threshold",
    "entry_lines",
    "format_keyring",
    "head_fields",
    "new_entry",
    "parse_keyring",
]

STATUSES = ("active", "verify-only", "revoked")

MAX_THRESHOLD = 16  # no envelope has more signatures
MAX_REASON = 500  # characters

_VERSION = 1
_REQUIRED = {"id", "algorithm", "status", "created"}
_TIMES = ("created", "not_before", "not_after", "revoked")
_OPTIONAL = {"not_before", "not_after", "revoked", "reason", "scopes", "replaces"}
_MAX_KEYS = 1000


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key of a keyring, and what it is trusted for.

    `scopes` are patterns of the artifacts that it may sign, all where there are none. `encrypted` is the private key
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
        """Whether this holds what signs, be it encrypted."""
        return isinstance(self.key, SigningKey) or self.encrypted is not None

    @property
    def is_public(self) -> bool:
        """Whether everybody may read all of it."""
        return not self.verifying_key.is_secret and not self.can_sign

    @property
    def material(self) -> frozenset[bytes]:
        """The key itself, each half that there is: entries that share one are of one key. Never log it."""
        return frozenset((self.verifying_key.reveal(), self.key.reveal()))

    @property
    def shown_times(self) -> str:
        """From when and until when it is trusted, in words."""
        times = (("from", self.not_before), ("until", self.not_after))
        return " ".join(f"{word} {format_time(time)}" for word, time in times if time is not None)

    @property
    def revocation(self) -> str:
        """When and why it was revoked, as what follows on that it was."""
        when = f" on {format_time(self.revoked)}" if self.revoked else ""
        return when + (f" ({self.reason})" if self.reason else "")

    def in_time(self, now: datetime) -> bool:
        """Return whether it is neither before nor past its time."""
        return (self.not_before is None or self.not_before <= now) and (self.not_after is None or now <= self.not_after)

    def may_sign(self, name: str, folder: PathLike | None) -> bool:
        """Return whether its scopes let it sign an artifact of this name in this folder."""
        return not self.scopes or any(in_scope(scope, name, folder) for scope in self.scopes)


class Terms(TypedDict, total=False):
    """What a new key is trusted for; see `new_entry`."""

    status: str | None
    created: datetime | None
    not_before: datetime | None
    not_after: datetime | None
    reason: str | None
    scopes: Iterable[str]
    passphrase: bytes | None


def new_entry(key: SigningKey | VerifyingKey, **terms: Unpack[Terms]) -> KeyEntry:
    """Return an entry for a key: active, if it can sign, and verify-only else; encrypted, if there is a passphrase.

    Raises:
        KeyringError: the key cannot be encrypted, or not with this passphrase.
    """
    status, passphrase = terms.get("status"), terms.get("passphrase")
    natural = "active" if isinstance(key, SigningKey) else "verify-only"
    encrypted = None
    if passphrase is not None:
        if not isinstance(key, SigningKey):
            raise KeyringError(f"key {key.key_id!r} is public: there is nothing to encrypt")
        encrypted = key.to_pem(passphrase).decode("ascii")
    return KeyEntry(
        key=key,
        status=natural if status is None else status,
        created=terms.get("created") or datetime.now(UTC).replace(microsecond=0),
        not_before=terms.get("not_before"),
        not_after=terms.get("not_after"),
        reason=terms.get("reason"),
        scopes=tuple(terms.get("scopes", ())),
        encrypted=encrypted,
    )


@dataclass(frozen=True, slots=True)
class KeyringText:
    """What a keyring file says."""

    entries: tuple[KeyEntry, ...]
    threshold: int = 1
    rotating_to: str | None = None


def check_threshold(threshold: object, where: str) -> int:
    """Return how many keys have to have signed, or refuse what is no such number."""
    if type(threshold) is not int or not 1 <= threshold <= MAX_THRESHOLD:
        raise KeyringError(f"{where}: threshold must be a whole number from 1 to {MAX_THRESHOLD}")
    return threshold


def check_entry(entry: KeyEntry, where: str) -> KeyEntry:
    """Return the entry with its times in UTC, or refuse what contradicts itself."""

    def refuse(problem: str) -> KeyringError:
        return KeyringError(f"{where}, key {entry.key_id!r}: {problem}")

    if not isinstance(entry.key, SigningKey | VerifyingKey):
        raise TypeError(f"a keyring holds signing and verifying keys, not {type(entry.key).__name__}")
    if entry.status not in STATUSES:
        raise refuse(f"status must be one of {', '.join(STATUSES)}")
    if entry.status == "active" and not entry.can_sign:
        raise refuse('it cannot sign, so it cannot be active: set status = "verify-only"')
    if entry.revoked is not None and entry.status != "revoked":
        raise refuse('it has a time of revocation: set status = "revoked", or remove `revoked`')
    if entry.reason is not None and not (entry.reason.isprintable() and len(entry.reason) <= MAX_REASON):
        raise refuse(f"reason must be one printable line of at most {MAX_REASON} characters")
    if len(entry.scopes) > MAX_SCOPES:
        raise refuse(f"it has more than {MAX_SCOPES} scopes")
    for scope in entry.scopes:
        try:
            check_scope(scope)
        except ValueError as error:
            raise refuse(f"scopes: {error}") from None
    if entry.replaces is not None and (not is_key_id(entry.replaces) or entry.replaces == entry.key_id):
        raise refuse("replaces must be the id of another key")
    if entry.encrypted is not None and not algorithm_named(entry.algorithm).has_pem:
        raise refuse(
            f"only {titles_of(symmetric=False)} keys can be encrypted: a {titles_of(symmetric=True)} secret is needed "
            "to verify, too"
        )
    times = {}
    for name in _TIMES:
        time = getattr(entry, name)
        if time is not None:
            if time.tzinfo is None:
                raise refuse(f"{name} needs a time zone, as in 2026-11-02T09:30:00Z")
            try:
                times[name] = time.astimezone(UTC)
            except OverflowError:
                raise refuse(f"{name} is out of range") from None
    if "not_before" in times and "not_after" in times and times["not_before"] >= times["not_after"]:
        raise refuse("not_before must be earlier than not_after")
    return replace(entry, **times)


# --- the file's text ---


def parse_keyring(data: bytes, name: str) -> KeyringText:
    """Return what a keyring file's content says; `name` is its path, for messages.

    Raises:
        KeyringError: it is no keyring of this version, or contradicts itself.
    """
    where = f"keyring {name}"
    if is_pem(data) and b"[[" not in data:
        raise KeyringError(f"{name} is a PEM file, not a keyring: put its key in one with safeload key import")
    document = _parse_toml(data, where)
    version = document.get("version")
    if type(version) is int and version > _VERSION:  # said before anything else: it explains unknown fields
        raise KeyringError(
            f"{where} was written by a newer safeload (version {version}, this one reads {_VERSION}): "
            "pip install -U safeload"
        )
    _check_fields(document, required={"version", "keys"}, optional={"threshold", "rotating_to"}, where=where)
    if type(version) is not int or version != _VERSION:
        raise KeyringError(f"{where}: version must be {_VERSION}")
    keys = document["keys"]
    if not isinstance(keys, list) or not all(isinstance(table, dict) for table in keys):
        raise KeyringError(f"{where}: keys must be tables, each under [[keys]]")
    if len(keys) > _MAX_KEYS:
        raise KeyringError(f"{where} has more than {_MAX_KEYS} keys")
    rotating_to = document.get("rotating_to")
    if rotating_to is not None and not (isinstance(rotating_to, str) and is_key_id(rotating_to)):
        raise KeyringError(f"{where}: rotating_to must be the id of a key")
    return KeyringText(
        entries=tuple(_parse_entry(table, f"{where}, key number {number}") for number, table in enumerate(keys, 1)),
        threshold=check_threshold(document.get("threshold", 1), where),
        rotating_to=rotating_to,
    )


def _parse_toml(data: bytes, where: str) -> dict[str, Any]:
    # The parser's errors may carry text of the file, so they are not chained: what is raised comes after the
    # `except` block, so that it has no context either.
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 at byte {error.start}"
    except RecursionError:
        problem = "is nested too deep"
    except ValueError as error:  # TOMLDecodeError, and int() on too many digits
        place = re.search(r"at line \d+, column \d+", str(error))
        problem = f"is not valid TOML {place.group() if place else '(see its end)'}"
    raise KeyringError(f"{where} {problem}. Restore it from a backup, or make a new one: safeload key new --out PATH")


def _parse_entry(table: dict[str, Any], where: str) -> KeyEntry:
    algorithm = table.get("algorithm")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise KeyringError(f"{where}: algorithm must be one of {', '.join(ALGORITHMS)}")
    material = ALGORITHMS[algorithm].file_fields
    _check_fields(table, required=_REQUIRED, optional=_OPTIONAL | material, where=where)
    for name in ("id", "status", "reason", "replaces", *material):
        if not isinstance(table.get(name, ""), str):
            raise KeyringError(f"{where}: {name} must be a text in quotes")
    for name in _TIMES:
        if name in table and not isinstance(table[name], datetime):
            raise KeyringError(f"{where}: {name} must be a time without quotes, as in 2026-11-02T09:30:00Z")
    scopes = table.get("scopes", ["*"])
    # An empty list would read as "nothing", and no scopes at all mean everything.
    if not isinstance(scopes, list) or not scopes or not all(isinstance(scope, str) for scope in scopes):
        raise KeyringError(f'{where}: scopes must be a list of patterns, as in ["fraud-*.joblib"]')
    if not is_key_id(table["id"]):
        raise KeyringError(f"{where}: id must be 1 to 100 ASCII letters, digits and ._@:+-, a letter or digit first")
    if table["status"] not in STATUSES:
        raise KeyringError(f"{where}: status must be one of {', '.join(STATUSES)}")
    optional = {name: table[name] for name in _OPTIONAL - {"scopes"} if name in table}
    if "scopes" in table:
        optional["scopes"] = tuple(scopes)
    if "encrypted" in table:
        optional["encrypted"] = _encrypted(table, where)
    return KeyEntry(_parse_key(table, where), table["status"], table["created"], **optional)


def _parse_key(table: dict[str, Any], where: str) -> SigningKey | VerifyingKey:
    algorithm = ALGORITHMS[table["algorithm"]]
    if not algorithm.symmetric and "private" not in table:
        public = _material(table, "public", algorithm.public_size, where)
        return VerifyingKey(public, algorithm=algorithm.name, key_id=table["id"])
    secret = _material(table, "secret" if algorithm.symmetric else "private", algorithm.secret_size, where)
    key = SigningKey(secret, algorithm=algorithm.name, key_id=table["id"])
    if "public" in table and _material(table, "public", algorithm.public_size, where) != key.verifying_key.reveal():
        raise KeyringError(f"{where}: public does not belong to private")
    return key


def _encrypted(table: dict[str, Any], where: str) -> str:
    """Return the encrypted private key, which only a passphrase can check."""
    pem: str = table["encrypted"]
    if "private" in table or "public" not in table:
        raise KeyringError(f"{where}: beside encrypted stands public, and not private")
    try:
        if pem.isascii() and len(pem) <= MAX_PEM_BYTES and is_encrypted_pem(pem.encode()):
            return pem
    except KeyringError:
        pass
    raise KeyringError(f"{where}: encrypted must be PEM: -----BEGIN ENCRYPTED PRIVATE KEY-----")


def _material(table: dict[str, Any], name: str, size: int, where: str) -> bytes:
    try:
        material = decode_base64(table.get(name, ""))
    except ValueError:
        material = b""
    if len(material) != size:
        raise KeyringError(f"{where}: {name} must be {size} bytes in standard base64")
    return material


def _check_fields(table: dict[str, Any], *, required: set[str], optional: set[str], where: str) -> None:
    missing = sorted(required - table.keys())
    if missing:
        raise KeyringError(f"{where}: {missing[0]} is missing")
    if table.keys() - required - optional:  # not quoted: it may be a secret in the wrong place
        known = ", ".join(sorted(required | optional))
        raise KeyringError(f"{where} has an unknown field: the known ones are {known}")


def format_keyring(text: KeyringText) -> str:
    """Return the text of a keyring file."""
    secret = not all(entry.is_public for entry in text.entries)
    lines = [
        "# A safeload keyring. It is secret: keep it private (mode 0600), and out of version control."
        if secret
        else "# A safeload keyring of public keys. It is no secret, but nobody else may be able to change it.",
        "version = 1",
    ]
    lines += [f"{name} = {value}" for name, value in head_fields(text)]
    for entry in text.entries:
        lines += ["", *entry_lines(entry)]
    return "\n".join(lines) + "\n"


def head_fields(text: KeyringText) -> Iterable[tuple[str, str]]:
    """Return what stands above the keys, but for the version: names with their values as TOML."""
    if text.threshold != 1:
        yield "threshold", str(text.threshold)
    if text.rotating_to is not None:
        yield "rotating_to", json.dumps(text.rotating_to)


def entry_lines(entry: KeyEntry) -> list[str]:
    """Return the lines of one key's table."""
    return ["[[keys]]", *(f"{name} = {value}" for name, value in _fields(entry))]


def _fields(entry: KeyEntry) -> Iterable[tuple[str, str]]:
    yield "id", json.dumps(entry.key_id)
    yield "algorithm", json.dumps(entry.algorithm)
    yield "status", json.dumps(entry.status)
    for name in _TIMES:
        time = getattr(entry, name)
        if time is not None:
            yield name, format_time(time)
    if entry.scopes:
        yield "scopes", json.dumps(list(entry.scopes), ensure_ascii=False)
    if entry.replaces is not None:
        yield "replaces", json.dumps(entry.replaces)
    if entry.reason is not None:  # printable, so a JSON string is a TOML string
        yield "reason", json.dumps(entry.reason, ensure_ascii=False)
    if entry.verifying_key.is_secret:
        yield "secret", json.dumps(encode_base64(entry.key.reveal()))
        return
    if entry.encrypted is not None:
        yield "encrypted", json.dumps(entry.encrypted)
    elif isinstance(entry.key, SigningKey):
        yield "private", json.dumps(encode_base64(entry.key.reveal()))
    yield "public", json.dumps(encode_base64(entry.verifying_key.reveal()))
