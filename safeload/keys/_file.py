"""The keyring file: the keys that are trusted, and for what, in one private TOML file.

    version = 1

    [[keys]]
    id = "hmac-5f1d0c2b9a7e4438"
    algorithm = "hmac-sha256"             # or "ed25519"
    status = "active"                     # or "verify-only", "revoked"
    created = 2026-11-02T09:30:00Z
    secret = "…"                          # 32 bytes in base64; Ed25519 has `private`, or `public`, or both
    not_before = 2026-11-02T09:30:00Z     # optional, by the clock of the verifier; so is not_after
    scopes = ["fraud-*.joblib"]           # optional: which artifacts it may sign, see `scopes`
    replaces = "hmac-0a1b…"               # optional: the key that it took over from
    reason = "…"                          # optional; a revoked key may have `revoked`, the time, as well

An Ed25519 key that needs a passphrase has `encrypted`, the private key as PEM, in place of `private`. Above the keys
may stand `threshold`, how many of them have to have signed, and `rotating_to`, the id of the key that a rotation which
has not come to its end is re-signing with.

Unknown fields and values are refused. Messages never quote values from the file, other than well-formed key ids.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from safeload._internal.encoding import decode_base64, encode_base64
from safeload._internal.strictjson import format_time
from safeload.errors import KeyringError
from safeload.keys._algorithms import ALGORITHMS
from safeload.keys._entry import ENTRY_TIMES, STATUSES, KeyEntry, check_threshold
from safeload.keys._key import SigningKey, VerifyingKey, is_key_id
from safeload.keys._pem import MAX_PEM_BYTES, is_encrypted_pem, is_pem

if TYPE_CHECKING:
    from tomlkit.items import Item, Table

__all__ = [
    "KeyringText",
    "entry_values",
    "format_keyring",
    "head_values",
    "parse_keyring",
    "toml_table",
    "toml_value",
]

_VERSION = 1
_REQUIRED = {"id", "algorithm", "status", "created"}
_OPTIONAL = {"not_before", "not_after", "revoked", "reason", "scopes", "replaces"}
_MAX_KEYS = 1000
_PRIVATE_HEAD = "A safeload keyring. It is secret: keep it private (mode 0600), and out of version control."
_PUBLIC_HEAD = "A safeload keyring of public keys. It is not secret, but nobody else may be able to change it."


@dataclass(frozen=True, slots=True)
class KeyringText:
    """The content of a keyring file."""

    entries: tuple[KeyEntry, ...]
    threshold: int = 1
    rotating_to: str | None = None


def parse_keyring(data: bytes, name: str) -> KeyringText:
    """Return what a keyring file's content says; `name` is its path, for messages.

    Raises:
        KeyringError: it is not a keyring of this version, or contradicts itself.
    """
    where = f"keyring {name}"
    if is_pem(data) and b"[[" not in data:
        raise KeyringError(
            f"{name} is a PEM file, not a keyring", advice="Put its key in a keyring: safeload key import."
        )
    document = _parse_toml(data, where)
    version = document.get("version")
    if type(version) is int and version > _VERSION:  # said before anything else: it explains unknown fields
        raise KeyringError(
            f"{where} was written by a newer safeload (version {version}, this one reads {_VERSION})",
            advice="Run: pip install -U safeload",
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
    # The parser's errors may carry text of the file, so they are not chained. The error is raised after the `except`
    # block, so that it has no context either.
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 at byte {error.start}"
    except RecursionError:
        problem = "is nested too deep"
    except ValueError as error:  # TOMLDecodeError, and int() on too many digits
        place = re.search(r"at line \d+, column \d+", str(error))
        problem = f"is not valid TOML {place.group() if place else '(see its end)'}"
    raise KeyringError(
        f"{where} {problem}", advice="Restore it from a backup, or make a new one: safeload key new --out PATH"
    )


def _parse_entry(table: dict[str, Any], where: str) -> KeyEntry:
    algorithm = table.get("algorithm")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise KeyringError(f"{where}: algorithm must be one of {', '.join(ALGORITHMS)}")
    material = ALGORITHMS[algorithm].file_fields
    _check_fields(table, required=_REQUIRED, optional=_OPTIONAL | material, where=where)
    for name in ("id", "status", "reason", "replaces", *material):
        if not isinstance(table.get(name, ""), str):
            raise KeyringError(f"{where}: {name} must be a text in quotes")
    for name in ENTRY_TIMES:
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
        raise KeyringError(f"{where}: the public key does not belong to the private key")
    return key


def _encrypted(table: dict[str, Any], where: str) -> str:
    """Return the encrypted private key, which only a passphrase can check."""
    pem: str = table["encrypted"]
    if "private" in table or "public" not in table:
        raise KeyringError(f"{where}: an encrypted key needs the field public, and must not have private")
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
    """Return the text of a new keyring file."""
    import tomlkit  # only where a keyring is written

    document = tomlkit.document()
    document.add(tomlkit.comment(_PUBLIC_HEAD if all(entry.is_public for entry in text.entries) else _PRIVATE_HEAD))
    document["version"] = _VERSION
    for name, value in head_values(text).items():
        document[name] = value
    keys = tomlkit.aot()
    for entry in text.entries:
        keys.append(toml_table(entry))
    document["keys"] = keys
    return tomlkit.dumps(document)


def head_values(text: KeyringText) -> dict[str, int | str]:
    """Return the fields above the keys, in the order of a file, except for the version."""
    values: dict[str, int | str] = {}
    if text.threshold != 1:
        values["threshold"] = text.threshold
    if text.rotating_to is not None:
        values["rotating_to"] = text.rotating_to
    return values


def entry_values(entry: KeyEntry) -> dict[str, str | datetime | list[str]]:
    """Return the fields of one key's table, in the order of a file."""
    key = entry.verifying_key
    encrypted = entry.encrypted is not None
    private = isinstance(entry.key, SigningKey) and not encrypted and not key.is_secret
    values = {
        "id": entry.key_id,
        "algorithm": entry.algorithm,
        "status": entry.status,
        **{name: getattr(entry, name) for name in ENTRY_TIMES},
        "scopes": list(entry.scopes) or None,
        "replaces": entry.replaces,
        "reason": entry.reason,
        "secret": encode_base64(key.reveal()) if key.is_secret else None,
        "encrypted": entry.encrypted,
        "private": encode_base64(entry.key.reveal()) if private else None,
        "public": None if key.is_secret else encode_base64(key.reveal()),
    }
    return {name: value for name, value in values.items() if value is not None}


def toml_table(entry: KeyEntry) -> Table:
    """Return one key's table as tomlkit has it."""
    import tomlkit

    table = tomlkit.table()
    for name, value in entry_values(entry).items():
        table[name] = toml_value(value)
    return table


def toml_value(value: Any) -> Item:
    """Return a value as tomlkit has it; times in UTC end in Z."""
    import tomlkit

    return tomlkit.value(format_time(value)) if isinstance(value, datetime) else tomlkit.item(value)
