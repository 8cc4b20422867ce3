"""key new and key list: make a keyring, and see what is in one."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from safeload.cli._common import ERROR, debug_option, keyring_option, say_error
from safeload.cli._output import emit, json_text
from safeload.cli._text import painter_for, plain, table

if TYPE_CHECKING:
    from safeload.keyring import KeyEntry

__all__ = ["key"]

_TIMES = ("not_before", "not_after", "revoked")


@click.group(no_args_is_help=False, short_help="Make and list keys.")
@debug_option
def key() -> None:
    """Make and list keys. No command takes or prints a key itself: they stay in the keyring file."""


@key.command(short_help="Make a keyring with one new key.")
@click.option(
    "--out",
    metavar="PATH",
    type=click.Path(),
    help="Where to write it. Default: the keyring that SAFELOAD_KEYRING names, else the one in your config folder.",
)
@click.option(
    "--algorithm",
    type=click.Choice(["hmac-sha256", "ed25519"]),
    default="hmac-sha256",
    show_default=True,
    help="hmac-sha256: one secret signs and verifies. ed25519: only the private half can sign.",
)
@click.option("--id", "key_id", metavar="ID", help="What to call the key. Default: derived from it.")
@debug_option
def new(out: str | None, algorithm: str, key_id: str | None) -> int:
    """Make a keyring file with one new key, readable by you only. A file that is there stays as it is."""
    from safeload.keyring import Keyring, default_path
    from safeload.keys import SigningKey, is_key_id

    if key_id is not None and not is_key_id(key_id):
        # Not repeated: it might be a key, in the wrong place.
        raise click.BadParameter("1 to 100 letters, digits and ._@:+-, a letter or digit first", param_hint="--id")
    path = default_path() if out is None else out
    made = SigningKey.generate(algorithm, key_id=key_id)
    try:
        Keyring.from_keys([made]).save(path)
    except FileExistsError:
        say_error(
            f"{plain(path)} exists already, and was left as it is: nothing could be verified any more without the "
            "keys in it. To see them, run: safeload key list --keyring "
            f"{shlex.quote(plain(path))}. To make another keyring, name another file with --out."
        )
        return ERROR
    click.echo(f"made key {made.key_id} ({made.algorithm}) in {plain(path)}")
    if out is not None:
        click.echo(f"to use it: --keyring {shlex.quote(plain(path))}, or SAFELOAD_KEYRING={shlex.quote(plain(path))}")
    click.echo("it is secret: whoever can read it can sign. Keep it out of version control, and back it up.", err=True)
    return 0


@key.command("list", short_help="Show a keyring's keys, without their secrets.")
@keyring_option
@click.option(
    "--format", "layout", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to show it."
)
@debug_option
def list_keys(keyring: str | None, layout: str) -> int:
    """Show which keys a keyring has and what each is trusted for; never the keys themselves."""
    from safeload.keyring import resolve_keyring

    ring = resolve_keyring(keyring)
    if layout == "json":
        emit(json_text({"keyring": ring.path, "keys": [_described(entry) for entry in ring.entries]}), None)
        return 0
    paint = painter_for(sys.stdout)
    rows = [(entry.key_id, entry.algorithm, entry.status, _day(entry), _notes(entry)) for entry in ring.entries]
    if ring.path is not None:
        emit(f"{plain(ring.path)}\n\n", None)
    emit(table(paint, ("id", "algorithm", "status", "created", "notes"), rows) + "\n", None)
    return 0


def _described(entry: KeyEntry) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": entry.key_id,
        "algorithm": entry.algorithm,
        "status": entry.status,
        "created": entry.created.isoformat(),
        "can_sign": _can_sign(entry),
        "reason": entry.reason,
    }
    for name in _TIMES:
        moment = getattr(entry, name)
        described[name] = None if moment is None else moment.isoformat()
    return described


def _can_sign(entry: KeyEntry) -> bool:
    from safeload.keys import SigningKey

    return entry.status == "active" and isinstance(entry.key, SigningKey)


def _day(entry: KeyEntry) -> str:
    return entry.created.strftime("%Y-%m-%d %H:%M")


def _notes(entry: KeyEntry) -> str:
    notes = [
        f"{name.replace('_', ' ')} {moment.isoformat()}"
        for name in _TIMES
        if (moment := getattr(entry, name)) is not None
    ]
    if entry.reason:
        notes.append(entry.reason)
    return ", ".join(notes)
