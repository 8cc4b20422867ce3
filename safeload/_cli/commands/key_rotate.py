"""key rotate: a new key in the place of the active one, and, if asked for, on all that the old one signed."""

from __future__ import annotations

import errno
import os
import shlex
from typing import TYPE_CHECKING, Any

import click

from safeload._cli.commands.re_sign import deliver_signed, find_signed, signs
from safeload._cli.exit_codes import ALLOWED, NOTHING
from safeload._cli.options.common import (
    PATH,
    Session,
    Standard,
    debug_option,
    keyring_option,
    output_options,
    standard_options,
)
from safeload._cli.options.keys import (
    algorithm_option,
    check_encryption,
    check_key_id,
    encrypt_option,
    not_after_option,
    scopes_option,
)
from safeload._cli.options.passphrases import choose_passphrase, passphrase_option, signing_keyring
from safeload._cli.options.walking import selection_options
from safeload._cli.report.deliver import deliver_lines
from safeload._cli.running.signing import sign_each
from safeload._cli.terminal import plain, say_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from safeload._cli.report.files import Output
    from safeload._cli.running.walk import Selection
    from safeload.keys import Keyring

__all__ = ["rotate"]


@click.command(short_help="Let a new key take over from the active one.")
@keyring_option
@click.option(
    "--id",
    "key_id",
    metavar="ID",
    callback=check_key_id,
    help="Set the id of the new key [default: made from the key].",
)
@click.option("--old", metavar="ID", help="Replace the key of this id [default: the only active key].")
@algorithm_option(None, " Default: that of the old key.")
@scopes_option("the scopes of the key that is replaced")
@not_after_option
@encrypt_option
@click.option(
    "--re-sign",
    "trees",
    metavar="PATH",
    multiple=True,
    type=PATH,
    help="Replace the old key's signatures on this artifact or tree, too; may be repeated.",
)
@passphrase_option
@selection_options
@standard_options
@output_options
@debug_option
@click.pass_obj
def rotate(
    session: Session,
    keyring: str | None,
    key_id: str | None,
    old: str | None,
    algorithm: str | None,
    scopes: tuple[str, ...],
    not_after: datetime | None,
    encrypt: bool,
    trees: tuple[str, ...],
    passphrase_fd: int | None,
    selection: Selection,
    standard: Standard,
    out: Output,
) -> int:
    """Make a new key, which signs from now on. The old one stays trusted, for what it signed, until it is revoked.

    The new key gets the old one's algorithm and scopes, and is encrypted if that was. Bring it to those who verify
    before anything is signed with it; then use re-sign, and then revoke the old key. Where all read this very keyring,
    --re-sign does it at once; if that is interrupted, the same command goes on with the same key.
    """
    from safeload.keys import editable_path
    from safeload.store import ReSigner

    policy, limits = standard.load()  # before a key is made
    path = editable_path(keyring)
    for tree in trees:
        if not os.path.lexists(tree):
            raise FileNotFoundError(errno.ENOENT, "there is no such file or folder, so no key was made", tree)
    found = find_signed(trees, selection, out)
    if trees and not found.files:
        say_error(f"nothing to sign in {', '.join(map(plain, trees))}, so no key was made")
        return NOTHING
    ring, made = _unfinished(path, trees, passphrase_fd, fresh=bool(key_id or old or algorithm or scopes or not_after))
    if ring is None:
        ring, made = _rotated(
            path, key_id, old, algorithm, scopes, not_after, passphrase_fd, encrypt=encrypt, unfinished=bool(trees)
        )
    head, about = _story(ring, made, path, trees)
    if not trees:
        deliver_lines([], lambda *_: () if out.quiet else head, command="key rotate", out=out, extra=about)
        return 0
    results, interrupted = sign_each(
        signs(ReSigner(keyring=ring, policy=policy, limits=limits)), found, quiet=out.quiet, debug=session.debug
    )
    code = deliver_signed(
        results, found, command="key rotate", policy=standard.policy, interrupted=interrupted, out=out, head=head,
        extra=about,
    )  # fmt: skip
    if code == ALLOWED:
        _finish(path, made)
    elif not interrupted:
        say_error(
            f"not all of it is signed by key {made}, so the rotation has not come to its end: look at what was "
            "refused, and run the same command again"
        )
    return code


def _unfinished(path: str, trees: Sequence[str], descriptor: int | None, *, fresh: bool) -> tuple[Keyring | None, str]:
    """Return the keyring of a rotation that goes on, and its key; None where there is none to go on with."""
    from safeload.errors import KeyringError
    from safeload.keys import Keyring

    ring = Keyring.load(path)
    entry = None if ring.rotating_to is None else ring.get(ring.rotating_to)
    if entry is None or entry.status != "active":  # it was revoked or rotated itself, meanwhile
        return None, ""
    if not trees or fresh:
        raise KeyringError(
            f"the rotation of {ring.where} to key {entry.key_id!r} is not finished",
            advice=f"Continue with: safeload key rotate --keyring {shlex.quote(path)} --re-sign PATH. To stop it "
            "instead, remove the line rotating_to from the keyring.",
        )
    return signing_keyring(path, descriptor), entry.key_id


def _rotated(
    path: str,
    key_id: str | None,
    old: str | None,
    algorithm: str | None,
    scopes: tuple[str, ...],
    not_after: datetime | None,
    descriptor: int | None,
    *,
    encrypt: bool,
    unfinished: bool,
) -> tuple[Keyring, str]:
    """Put a new key into the keyring's file, and return the keyring and the key's id."""
    from safeload.errors import KeyringError
    from safeload.keys import ALGORITHMS, DEFAULT_ALGORITHM, Keyring, SigningKey, editing

    before = (ring := Keyring.load(path)).to_rotate(old)
    if ring.is_public:  # before a passphrase is asked for
        raise KeyringError(
            f"cannot make a key in {ring.where}: it has public keys only, so it verifies only",
            advice="Rotate the key in the keyring that has its private half, and export the public half again: "
            "safeload key export.",
        )
    if unfinished and before is None:
        raise KeyringError(
            f"cannot re-sign for a new key: keyring {path} has no active key, so no signatures would be replaced",
            advice="Leave out --re-sign.",
        )
    # After the only key was revoked, the next one is like it all the same.
    like = before or next((entry for entry in reversed(ring.entries) if entry.can_sign), None)
    if like is not None:
        algorithm, scopes = algorithm or like.algorithm, scopes or like.scopes
        encrypt = encrypt or (like.encrypted is not None and ALGORITHMS[algorithm].has_pem)
    algorithm = algorithm or DEFAULT_ALGORITHM
    check_encryption(algorithm, descriptor, encrypt=encrypt)
    made = SigningKey.generate(algorithm, key_id=key_id)
    # Before the keyring is locked: the user may take time to answer.
    passphrase = choose_passphrase(f"key {made.key_id!r}", descriptor) if encrypt else None
    with editing(path) as ring:
        ring.rotate(
            made,
            old=None if before is None else before.key_id,
            scopes=scopes,
            not_after=not_after,
            passphrase=passphrase,
        )
        if unfinished:
            ring.mark_rotation(made.key_id)
    return ring, made.key_id


def _finish(path: str, made: str) -> None:
    from safeload.keys import editing

    with editing(path) as ring:
        if ring.rotating_to == made:
            ring.mark_rotation(None)


def _story(ring: Keyring, made: str, path: str, trees: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Return what happened, as text and as JSON holds it."""
    (entry,) = (entry for entry in ring.entries if entry.key_id == made)
    old = entry.replaces
    about = {"keyring": path, "key": {"id": made, "algorithm": entry.algorithm, "replaces": old}}
    shown = f"--keyring {shlex.quote(plain(path))}"
    lines = [f"key {made} ({entry.algorithm}) signs now, in {plain(path)}"]
    if old is None:
        return [*lines, "it took over from none, as none was active"], about
    lines.append(f"key {old} verifies, and signs no more")
    if trees:
        return [*lines, ""], about
    lines += [
        "next:",
        f"  1. bring the new key to those who verify: {_export(ring, shown)}",
        f"  2. when they have it, sign again what the old one signed: safeload re-sign PATH {shown}",
        f"  3. then end the trust in the old one: safeload key revoke {old} --reason 'rotated' {shown}",
    ]
    return lines, about


def _export(ring: Keyring, shown: str) -> str:
    secret = [entry for entry in ring.entries if entry.verifying_key.is_secret and entry.status != "revoked"]
    if not secret:
        return f"safeload key export {shown} --out public.toml --overwrite"
    return f"give them this keyring, which is secret: {', '.join(entry.key_id for entry in secret)} can also sign"
