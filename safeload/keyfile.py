"""The keyring file: the keys that are trusted, and for what, in one private TOML file.

    version = 1

    [[keys]]
    id = "hmac-5f1d0c2b9a7e4438"
    algorithm = "hmac-sha256"             # or "ed25519"
    status = "active"                     # or "verify-only", "revoked"
    created = 2026-11-02T09:30:00Z
    secret = "…"                          # 32 bytes in base64; Ed25519 has `private`, or `public`, or both
    not_before = 2026-11-02T09:30:00Z     # optional, by the clock of whoever verifies; so is not_after
    reason = "…"                          # optional; a revoked key may have `revoked`, the time, as well

What is not understood is refused, and so is a file that others can read or write. Messages never quote values
from the file, other than well-formed key ids.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import stat
import tempfile
import tomllib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from safeload.errors import KeyringError
from safeload.keys import ALGORITHMS, KEY_SIZE, SigningKey, VerifyingKey, decode_base64, encode_base64, is_key_id

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MAX_KEYRING_BYTES",
    "STATUSES",
    "KeyEntry",
    "check_entry",
    "format_keyring",
    "how_to_make",
    "iso",
    "looks_secret",
    "parse_keyring",
    "read_private",
    "reason_of",
    "write_private",
]

MAX_KEYRING_BYTES = 1 << 20
STATUSES = ("active", "verify-only", "revoked")

_VERSION = 1
_REQUIRED = {"id", "algorithm", "status", "created"}
_MATERIAL = {"hmac-sha256": {"secret"}, "ed25519": {"private", "public"}}
_TIMES = ("created", "not_before", "not_after", "revoked")
_OPTIONAL = {"not_before", "not_after", "revoked", "reason"}
_MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One key of a keyring, and what it is trusted for."""

    key: SigningKey | VerifyingKey
    status: str
    created: datetime
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked: datetime | None = None
    reason: str | None = None

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


def check_entry(entry: KeyEntry, where: str) -> KeyEntry:
    """Return the entry with its times in UTC, or refuse what contradicts itself."""

    def refuse(problem: str) -> KeyringError:
        return KeyringError(f"{where}, key {entry.key_id!r}: {problem}")

    if not isinstance(entry.key, SigningKey | VerifyingKey):
        raise TypeError(f"a keyring holds signing and verifying keys, not {type(entry.key).__name__}")
    if entry.status not in STATUSES:
        raise refuse(f"status must be one of {', '.join(STATUSES)}")
    if entry.status == "active" and not isinstance(entry.key, SigningKey):
        raise refuse('it cannot sign, so it cannot be active: set status = "verify-only"')
    if entry.revoked is not None and entry.status != "revoked":
        raise refuse('it has a time of revocation: set status = "revoked", or remove `revoked`')
    if entry.reason is not None and not (entry.reason.isprintable() and len(entry.reason) <= _MAX_REASON):
        raise refuse(f"reason must be one printable line of at most {_MAX_REASON} characters")
    times = {}
    for field in _TIMES:
        time = getattr(entry, field)
        if time is not None:
            if time.tzinfo is None:
                raise refuse(f"{field} needs a time zone, as in 2026-11-02T09:30:00Z")
            try:
                times[field] = time.astimezone(UTC)
            except OverflowError:
                raise refuse(f"{field} is out of range") from None
    if "not_before" in times and "not_after" in times and times["not_before"] >= times["not_after"]:
        raise refuse("not_before must be earlier than not_after")
    return replace(entry, **times)


# --- the file's text ---


def parse_keyring(data: bytes, name: str) -> list[KeyEntry]:
    """Return the entries of a keyring file's content; `name` is its path, for messages."""
    where = f"keyring {name}"
    document = _parse_toml(data, where)
    version = document.get("version")
    if type(version) is int and version > _VERSION:  # said before anything else: it explains unknown fields
        raise KeyringError(
            f"{where} was written by a newer safeload (version {version}, this one reads {_VERSION}): "
            "pip install -U safeload"
        )
    _check_fields(document, required={"version", "keys"}, optional=set(), where=where)
    if type(version) is not int or version != _VERSION:
        raise KeyringError(f"{where}: version must be {_VERSION}")
    keys = document["keys"]
    if not isinstance(keys, list) or not all(isinstance(table, dict) for table in keys):
        raise KeyringError(f"{where}: keys must be tables, each under [[keys]]")
    return [_parse_entry(table, f"{where}, key number {number}") for number, table in enumerate(keys, start=1)]


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
    material = _MATERIAL[algorithm]
    _check_fields(table, required=_REQUIRED, optional=_OPTIONAL | material, where=where)
    for field in ("id", "status", "reason", *material):
        if not isinstance(table.get(field, ""), str):
            raise KeyringError(f"{where}: {field} must be a text in quotes")
    for field in _TIMES:
        if field in table and not isinstance(table[field], datetime):
            raise KeyringError(f"{where}: {field} must be a time without quotes, as in 2026-11-02T09:30:00Z")
    if not is_key_id(table["id"]):
        raise KeyringError(f"{where}: id must be 1 to 100 ASCII letters, digits and ._@:+-, a letter or digit first")
    if table["status"] not in STATUSES:
        raise KeyringError(f"{where}: status must be one of {', '.join(STATUSES)}")
    optional = {field: table[field] for field in _OPTIONAL if field in table}
    return KeyEntry(_parse_key(table, where), table["status"], table["created"], **optional)


def _parse_key(table: dict[str, Any], where: str) -> SigningKey | VerifyingKey:
    algorithm = table["algorithm"]
    if algorithm == "hmac-sha256":
        return SigningKey(_material(table, "secret", where), algorithm=algorithm, key_id=table["id"])
    if "private" not in table:
        return VerifyingKey(_material(table, "public", where), algorithm=algorithm, key_id=table["id"])
    key = SigningKey(_material(table, "private", where), algorithm=algorithm, key_id=table["id"])
    if "public" in table and _material(table, "public", where) != key.verifying_key.reveal():
        raise KeyringError(f"{where}: public does not belong to private")
    return key


def _material(table: dict[str, Any], field: str, where: str) -> bytes:
    try:
        material = decode_base64(table.get(field, ""))
    except ValueError:
        material = b""
    if len(material) != KEY_SIZE:
        raise KeyringError(f"{where}: {field} must be {KEY_SIZE} bytes in standard base64")
    return material


def _check_fields(table: dict[str, Any], *, required: set[str], optional: set[str], where: str) -> None:
    missing = sorted(required - table.keys())
    if missing:
        raise KeyringError(f"{where}: {missing[0]} is missing")
    if table.keys() - required - optional:  # not quoted: it may be a secret in the wrong place
        known = ", ".join(sorted(required | optional))
        raise KeyringError(f"{where} has an unknown field: the known ones are {known}")


def format_keyring(entries: Iterable[KeyEntry]) -> str:
    """Return the text of a keyring file."""
    lines = [
        "# A safeload keyring. It is secret: keep it private (mode 0600), and out of version control.",
        "version = 1",
    ]
    for entry in entries:
        lines += ["", "[[keys]]"]
        lines += [f"{field} = {value}" for field, value in _fields(entry)]
    return "\n".join(lines) + "\n"


def _fields(entry: KeyEntry) -> Iterable[tuple[str, str]]:
    yield "id", json.dumps(entry.key_id)
    yield "algorithm", json.dumps(entry.algorithm)
    yield "status", json.dumps(entry.status)
    for field in _TIMES:
        time = getattr(entry, field)
        if time is not None:
            yield field, iso(time)
    if entry.reason is not None:  # printable, so a JSON string is a TOML string
        yield "reason", json.dumps(entry.reason, ensure_ascii=False)
    if entry.algorithm == "hmac-sha256":
        yield "secret", json.dumps(encode_base64(entry.key.reveal()))
        return
    if isinstance(entry.key, SigningKey):
        yield "private", json.dumps(encode_base64(entry.key.reveal()))
    yield "public", json.dumps(encode_base64(entry.verifying_key.reveal()))


def iso(time: datetime) -> str:
    """Return a time in UTC as ISO 8601 writes it."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


# --- the file ---


def read_private(name: str) -> bytes:
    """Return the content of a file that nobody else can read or write."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer. Links are followed, and what they lead to is judged.
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        problem = f"there is no keyring at {_shown(name)}; {how_to_make(name)}"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        problem = f"cannot read keyring {_shown(name)}: {reason_of(error)}"
    else:
        try:
            _check_private(os.fstat(fd), name)
            return _read_bounded(fd, name)
        finally:
            os.close(fd)
    raise KeyringError(problem)


def _check_private(status: os.stat_result, name: str) -> None:
    quoted = shlex.quote(name)
    if not stat.S_ISREG(status.st_mode):
        raise KeyringError(f"{name} is not a regular file, so it is no keyring; {how_to_make(None)}")
    if status.st_uid not in (0, os.geteuid()):
        raise KeyringError(
            f"keyring {name} belongs to user {status.st_uid}, who could change it at any time, not to you. "
            f"If you trust it, run: chown {os.geteuid()} {quoted} && chmod 600 {quoted}"
        )
    if status.st_mode & 0o077:
        raise KeyringError(
            f"others can use keyring {name} (mode {stat.S_IMODE(status.st_mode):04o}). Run: chmod 600 {quoted}. "
            "If others may have read it, make new keys too."
        )


def _read_bounded(fd: int, name: str) -> bytes:
    data = bytearray()
    while len(data) <= MAX_KEYRING_BYTES:
        try:
            block = os.read(fd, MAX_KEYRING_BYTES + 1 - len(data))
        except OSError as error:
            raise KeyringError(f"cannot read keyring {name}: {reason_of(error)}") from None
        if not block:
            return bytes(data)
        data += block
    raise KeyringError(f"{name} is larger than {MAX_KEYRING_BYTES} bytes, so it is no keyring; {how_to_make(None)}")


def write_private(name: str, data: bytes, *, overwrite: bool) -> None:
    """Write a file that only this user can read, whole or not at all."""
    target = os.path.realpath(name)  # a link stays a link
    folder = os.path.dirname(target)  # noqa: PTH120 - paths may be any string here
    if not os.path.isdir(folder):  # noqa: PTH112
        try:
            os.makedirs(folder, mode=0o700)  # noqa: PTH103
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from None
    fd, temporary = tempfile.mkstemp(prefix=".keyring-", dir=folder)  # mode 0600 from its first moment
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(temporary, target)  # noqa: PTH105
        else:
            os.link(temporary, target)  # unlike a rename, this never replaces a file that is there
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, "there is a keyring already; it was left as it was", name) from None
    finally:
        try:
            os.unlink(temporary)  # noqa: PTH108
        except FileNotFoundError:
            pass  # it was renamed
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)


def how_to_make(path: str | None) -> str:
    """Return what to run for a new keyring at this path."""
    shown = "PATH" if path is None or looks_secret(path) else shlex.quote(path)
    return f"make one with: safeload key new --out {shown}"


def _shown(name: str) -> str:
    return "the path given (not shown: it looks like key material)" if looks_secret(name) else name


def looks_secret(name: str) -> bool:
    """Return whether a supposed path is rather a key or the text of a keyring, which no message may repeat."""
    if "\n" in name or "[[keys]]" in name:
        return True
    try:
        return len(decode_base64(name)) == KEY_SIZE
    except ValueError:
        return False


def reason_of(error: OSError | ValueError) -> str:
    """Return why a file could not be used, without its path."""
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "not a valid path"
