"""key: make keyrings, see what is in them, and take trust away; the modules beside rotate, export and import."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import click

from safeload._cli.commands.key_files import export, import_key
from safeload._cli.commands.key_rotate import rotate
from safeload._cli.exit_codes import ERROR
from safeload._cli.options.common import PATH, debug_option, keyring_option, line_option, output_options
from safeload._cli.options.keys import (
    KEY_TIMES,
    algorithm_option,
    check_encryption,
    check_key_id,
    described_key,
    encrypt_option,
    not_after_option,
    not_before_option,
    require_target,
    say_secret,
    scopes_option,
)
from safeload._cli.options.passphrases import choose_passphrase, passphrase_option
from safeload._cli.report.deliver import deliver_facts
from safeload._cli.report.files import Output, check_output
from safeload._cli.terminal import plain, say_error, say_note, table
from safeload.keys import DEFAULT_ALGORITHM, MAX_REASON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from safeload._cli.terminal import Painter
    from safeload.keys import KeyEntry, Keyring

__all__ = ["key"]


@click.group(no_args_is_help=False, short_help="Make, list, rotate, revoke, export and import keys.")
@debug_option
def key() -> None:
    """Make and change keyrings. No command takes or prints a secret key: they stay in files."""


@key.command(short_help="Make a keyring with one new key.")
@click.option(
    "--out",
    "target",
    metavar="PATH",
    type=PATH,
    help="Where to write it. Default: the keyring that SAFELOAD_KEYRING names, else the one in your config folder.",
)
@algorithm_option(DEFAULT_ALGORITHM)
@click.option("--id", "key_id", metavar="ID", callback=check_key_id, help="What to call it. Default: derived from it.")
@scopes_option("every artifact")
@not_before_option
@not_after_option
@encrypt_option
@passphrase_option
@output_options
@debug_option
def new(
    target: str | None,
    algorithm: str,
    key_id: str | None,
    scopes: tuple[str, ...],
    not_before: datetime | None,
    not_after: datetime | None,
    encrypt: bool,
    passphrase_fd: int | None,
    out: Output,
) -> int:
    """Make a keyring file with one new key, readable by you only. An existing file stays as it is."""
    from safeload.keys import KeyEntry, Keyring, SigningKey, default_keyring_path

    check_encryption(algorithm, passphrase_fd, encrypt=encrypt)
    require_target(target, out)
    path = default_keyring_path() if target is None else target
    made = SigningKey.generate(algorithm, key_id=key_id)
    if os.path.lexists(path):  # before a passphrase is asked for
        return _exists(path)
    passphrase = choose_passphrase(f"key {made.key_id!r}", passphrase_fd) if encrypt else None
    entry = KeyEntry.new(made, scopes=scopes, not_before=not_before, not_after=not_after, passphrase=passphrase)
    try:
        Keyring([entry]).save(path)
    except FileExistsError:
        return _exists(path)
    lines = [f"made key {made.key_id} ({made.algorithm}{', encrypted' if encrypt else ''}) in {plain(path)}"]
    if target is not None:
        shown = shlex.quote(plain(path))
        lines.append(f"to use it: --keyring {shown}, or SAFELOAD_KEYRING={shown}")
    content = {"keyring": path, "key": described_key(entry)}
    deliver_facts(content, lambda _: () if out.quiet else lines, command="key new", out=out)
    say_secret()
    return 0


def _exists(path: str) -> int:
    if _is_public(path):
        say_error(
            f"{plain(path)} exists already, and was left as it is: it has public keys only, and its readers rely on "
            "that. For a new key, name another file with --out"
        )
        return ERROR
    say_error(
        f"{plain(path)} exists already, and was left as it is: nothing could be verified any more without the "
        "keys in it. To see them, run: safeload key list --keyring "
        f"{shlex.quote(plain(path))}. To make another keyring, name another file with --out; for a new key in this "
        "one: safeload key rotate"
    )
    return ERROR


def _is_public(path: str) -> bool:
    from safeload.errors import KeyringError
    from safeload.keys import Keyring

    try:
        return Keyring.load(path).is_public
    except KeyringError:  # it is not a keyring, and is left alone all the same
        return False


@key.command("list", short_help="Show a keyring's keys, without their secrets.")
@keyring_option
@output_options
@debug_option
def list_keys(keyring: str | None, out: Output) -> int:
    """Show which keys a keyring has and what each is trusted for; never the keys themselves."""
    from safeload.keys import resolve_keyring

    check_output(out, ())
    ring = resolve_keyring(keyring)
    about = {"keyring": ring.path, "threshold": ring.threshold, "rotating_to": ring.rotating_to}
    content = {**about, "keys": [described_key(entry) for entry in ring.entries]}
    deliver_facts(content, lambda paint: () if out.quiet else _lines(ring, paint), command="key list", out=out)
    return 0


def _lines(ring: Keyring, paint: Painter) -> Iterator[str]:
    rows = [(entry.key_id, entry.algorithm, entry.status, _day(entry), _notes(entry)) for entry in ring.entries]
    if ring.path is not None:
        yield from (plain(ring.path), "")
    yield table(paint, ("id", "algorithm", "status", "created", "notes"), rows)
    if ring.threshold > 1:
        yield from ("", f"{ring.threshold} of these keys have to have signed (threshold)")
    if ring.rotating_to is not None:
        yield from ("", f"a rotation to {ring.rotating_to} has not come to its end: safeload key rotate --re-sign PATH")


@key.command(short_help="Trust nothing any more that a key signed.")
@click.argument("key_id", metavar="ID")
@line_option("--reason", "Why: one line, for those who will be refused.", most=MAX_REASON, required=True)
@keyring_option
@output_options
@debug_option
def revoke(key_id: str, reason: str, keyring: str | None, out: Output) -> int:
    """Trust nothing any more that this key signed or will sign. It stays in the keyring, so that refusals say why.

    What only this key has signed is refused from then on. Re-sign it first, unless the key was stolen: see re-sign.
    """
    from safeload.keys import editable_path, editing

    check_output(out, ())
    path = editable_path(keyring)
    with editing(path) as ring:
        ring.revoke(key_id, reason)
    notes = ["other copies of this keyring trust it on: bring its changes to them"]
    if not any(entry.status == "active" for entry in ring.entries):
        notes.append("no key signs here any more: safeload key rotate makes a new one")
    if sum(entry.status != "revoked" for entry in ring.entries) < ring.threshold:
        notes.append(f"it has fewer trusted keys than the {ring.threshold} it demands, so it refuses everything")
    done = f"revoked key {key_id} in {plain(path)}"
    content = {
        "keyring": path,
        "key": next(described_key(entry) for entry in ring.entries if entry.key_id == key_id),
        "notes": notes,
    }
    deliver_facts(content, lambda _: () if out.quiet else (done,), command="key revoke", out=out)
    for note in () if out.quiet else notes:
        say_note(note)
    return 0


def _day(entry: KeyEntry) -> str:
    return entry.created.strftime("%Y-%m-%d %H:%M")


def _notes(entry: KeyEntry) -> str:
    notes = [
        f"{name.replace('_', ' ')} {moment.isoformat()}"
        for name in KEY_TIMES
        if (moment := getattr(entry, name)) is not None
    ]
    if entry.reason:
        notes.append(entry.reason)
    if entry.encrypted is not None:
        notes.append("encrypted")
    elif entry.is_public:
        notes.append("public half only")
    if entry.scopes:
        notes.append(f"may sign only {', '.join(entry.scopes)}")
    if entry.replaces is not None:
        notes.append(f"took over from {entry.replaces}")
    return ", ".join(notes)


for _command in (rotate, export, import_key):
    key.add_command(_command)
