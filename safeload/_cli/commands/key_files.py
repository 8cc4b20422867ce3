"""key export and key import: keys as files of their own, public or encrypted."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from safeload._cli.exit_codes import ERROR
from safeload._cli.failures import MisuseError
from safeload._cli.options.common import PATH, debug_option, keyring_option, output_options
from safeload._cli.options.keys import (
    check_key_id,
    described_key,
    encrypt_option,
    not_after_option,
    not_before_option,
    require_target,
    say_secret,
    scopes_option,
)
from safeload._cli.options.passphrases import choose_passphrase, passphrase_option, read_passphrase
from safeload._cli.report.deliver import deliver_facts
from safeload._cli.report.files import Output, check_output, emit
from safeload._cli.terminal import plain, say_error, say_note

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from safeload.keys import KeyEntry, Keyring, SigningKey, Terms, VerifyingKey

__all__ = ["export", "import_key"]

_MAX_BYTES = 1 << 20
_SECRET = re.compile(rb"PRIVATE KEY-----|\b(private|secret|encrypted)[\"']?\s*=")  # in PEM files, in keyrings
_PUBLIC = re.compile(rb"PUBLIC KEY-----|^\s*\[\[\s*keys\s*\]\]", re.MULTILINE)


# ------------------------------------------------------------------------------------------------------ export


@click.command(short_help="Write the public half of a keyring, or a key as PEM.")
@keyring_option
@click.option("--out", "target", metavar="PATH", type=PATH, help="Where to write it. Default: stdout, if it is public.")
@click.option("--pem", is_flag=True, help="One public key as PEM, as other tools read it, instead of a keyring.")
@click.option("--private", is_flag=True, help="One private key as PEM, encrypted with a passphrase. Needs --out.")
@click.option("--id", "key_id", metavar="ID", help="Which key, with --pem and --private, where there are several.")
@click.option("--without-hmac", is_flag=True, help="Leave out HMAC keys, which have no public half.")
@click.option("--overwrite", is_flag=True, help="Replace the existing file.")
@passphrase_option
@output_options
@debug_option
def export(
    keyring: str | None,
    target: str | None,
    pem: bool,
    private: bool,
    key_id: str | None,
    without_hmac: bool,
    overwrite: bool,
    passphrase_fd: int | None,
    out: Output,
) -> int:
    """Write what those who verify need: a keyring that can check all that this one can, and sign nothing.

    Only Ed25519 keys have a public half. The exported key is trusted by its readers: bring it to them by a way on
    which nobody can change it, or have them compare the fingerprint that is shown.
    """
    from safeload.keys import resolve_keyring

    _check_options(
        target, pem=pem, private=private, by_id=key_id is not None, without_hmac=without_hmac,
        with_passphrase=passphrase_fd is not None,
    )  # fmt: skip
    require_target(target, out)
    if target is not None and os.path.lexists(target):  # before a passphrase is asked for
        if not overwrite:
            return _exists(target)
        _require_replaceable(target)
    ring = resolve_keyring(keyring)
    if private:
        exported = _private_key(ring, key_id, passphrase_fd)
    elif pem:
        exported = _public_key(ring, key_id)
    else:
        exported = _public_keyring(ring, without_hmac=without_hmac)
    if target is None:
        emit(exported.data.decode(), None)
    else:
        try:
            _write(target, exported, overwrite=overwrite)
        except FileExistsError:
            return _exists(target)
        _report(target, exported, ring, out)
    if exported.secret:
        say_secret()
    for line in exported.fingerprints:
        click.echo(line, err=True)
    return 0


@dataclass(frozen=True, slots=True)
class _Exported:
    """What is written, of which keys, and what is said about it."""

    data: bytes = field(repr=False)
    entries: Sequence[KeyEntry]
    kind: str
    done: str  # "wrote the …", before the name of the file
    note: str = ""  # after it
    fingerprints: Sequence[str] = ()
    secret: bool = False


def _check_options(
    target: str | None, *, pem: bool, private: bool, by_id: bool, without_hmac: bool, with_passphrase: bool
) -> None:
    """Refuse options that contradict each other.

    Raises:
        MisuseError: two of them do.
    """
    if pem and private:
        raise MisuseError(
            "--pem and --private exclude each other",
            advice="Use --pem for the public key, or --private for the private.",
        )
    if private and target is None:
        raise MisuseError("a private key goes to a file", advice="Add --out PATH.")
    if with_passphrase and not private:
        raise MisuseError("--passphrase-fd is for --private", advice="Leave it out, or add --private.")
    if by_id and not (pem or private):
        raise MisuseError(
            "--id is for --pem and --private: a keyring is exported whole", advice="Leave it out, or add one of them."
        )
    if without_hmac and (pem or private):
        raise MisuseError("--without-hmac is for keyrings, not for --pem or --private", advice="Leave it out.")


def _private_key(ring: Keyring, key_id: str | None, descriptor: int | None) -> _Exported:
    """Return one private key as PEM: as it is in the keyring if it is encrypted there, else encrypted now."""
    from safeload.errors import KeyringError
    from safeload.keys import SigningKey

    entry = _chosen(ring, key_id, signing=True)
    if entry.encrypted is not None:  # nobody needs to decrypt it for that
        if descriptor is not None:
            raise KeyringError(
                f"key {entry.key_id!r} is encrypted already, and keeps its passphrase",
                advice="Leave out --passphrase-fd.",
            )
        data = entry.encrypted.encode()
    else:
        entry.verifying_key.to_pem()  # a key that has no PEM form is refused before a passphrase is asked for
        if not isinstance(entry.key, SigningKey):
            raise KeyringError(
                f"cannot export the private key {entry.key_id!r}: the keyring has only its public half",
                advice="Use the keyring that signs with it, or --pem for the public key.",
            )
        data = entry.key.to_pem(choose_passphrase(f"the copy of key {entry.key_id!r}", descriptor))
    return _Exported(
        data, [entry], "private key", f"wrote the private key {entry.key_id}", note=", encrypted", secret=True
    )


def _public_key(ring: Keyring, key_id: str | None) -> _Exported:
    """Return one public key as PEM."""
    entry = _chosen(ring, key_id, signing=False)
    key = entry.verifying_key
    return _Exported(
        key.to_pem(), [entry], "public key", f"wrote the public key {entry.key_id}",
        fingerprints=[f"fingerprint: {key.fingerprint}"],
    )  # fmt: skip


def _public_keyring(ring: Keyring, *, without_hmac: bool) -> _Exported:
    """Return the text of a keyring that verifies what this one does, and signs nothing."""
    from safeload.keys import public_part

    public = public_part(ring, without_hmac=without_hmac)
    entries = public.entries
    return _Exported(
        public.to_toml().encode(),
        entries,
        "keyring",
        f"wrote the public half of {', '.join(entry.key_id for entry in entries)}",
        fingerprints=[f"{entry.key_id}: fingerprint {entry.verifying_key.fingerprint}" for entry in entries],
    )


def _report(target: str, exported: _Exported, ring: Keyring, out: Output) -> None:
    """Write the report about what was written."""
    content = {
        "keyring": ring.path,
        "out": target,
        "kind": exported.kind,
        "keys": [described_key(entry) for entry in exported.entries],
    }
    done = f"{exported.done} to {plain(target)}{exported.note}"
    deliver_facts(content, lambda _: () if out.quiet else (done,), command="key export", out=out)


def _exists(out: str) -> int:
    say_error(f"{plain(out)} exists already, and was left as it is: --overwrite replaces it")
    return ERROR


def _require_replaceable(out: str) -> None:
    """Refuse to replace what is no file of public keys: perhaps nobody has it elsewhere."""
    from safeload.errors import KeyringError

    if not os.path.isfile(out):  # noqa: PTH113 - what else it is cannot hold them
        return
    with open(out, "rb") as file:  # noqa: PTH123
        data = file.read(_MAX_BYTES)
    if _SECRET.search(data):
        raise KeyringError(
            f"cannot replace {out}: it holds private keys, which would be lost",
            advice="Name another file, or remove it yourself.",
        )
    if data and not _PUBLIC.search(data):
        raise KeyringError(
            f"cannot replace {out}: it is not a file of public keys",
            advice="Name another file, or remove it yourself.",
        )


def _chosen(ring: Keyring, key_id: str | None, *, signing: bool) -> KeyEntry:
    """Return the key that is meant: the one of this id, the active one, or the only one."""
    from safeload.errors import KeyringError

    entries = [entry for entry in ring.entries if not signing or entry.can_sign]
    if key_id is not None:
        entries = [entry for entry in entries if entry.key_id == key_id]
    elif len(entries) > 1:
        entries = [entry for entry in entries if entry.status == "active"] or entries
    if len(entries) == 1:
        return entries[0]
    known = ", ".join(entry.key_id for entry in ring.entries)
    if entries:
        raise KeyringError(
            f"cannot tell which key: {ring.where} has several ({known})", advice="Name one of them: --id ID."
        )
    what = "private key" if signing else "key"
    raise KeyringError(f"{ring.where} has no such {what}", advice=f"Use one of its keys: {known}.")


def _write(target: str, exported: _Exported, *, overwrite: bool) -> None:
    from safeload.keys import write_key_file

    write_key_file(target, exported.data, overwrite=overwrite, public=not exported.secret)


# ------------------------------------------------------------------------------------------------------ import


@click.command("import", short_help="Take a key from a PEM file into a keyring.")
@click.argument("pem", metavar="PEM", type=PATH)
@keyring_option
@click.option("--id", "key_id", metavar="ID", callback=check_key_id, help="What to call it. Default: derived from it.")
@click.option("--verify-only", is_flag=True, help="Of a private key take the public half: trust it, and don't sign.")
@scopes_option("every artifact")
@not_before_option
@not_after_option
@encrypt_option
@passphrase_option
@output_options
@debug_option
def import_key(
    pem: str,
    keyring: str | None,
    key_id: str | None,
    verify_only: bool,
    scopes: tuple[str, ...],
    not_before: datetime | None,
    not_after: datetime | None,
    encrypt: bool,
    passphrase_fd: int | None,
    out: Output,
) -> int:
    """Take an Ed25519 key from a PEM file into a keyring, which is made if there is none.

    A public key is trusted from then on; a private one signs, too. A private key that is encrypted stays so, with its
    passphrase. PEM may be a descriptor, as in fd:3.
    """
    from safeload.keys import KeyEntry, Keyring, SigningKey, editable_path, editing

    check_output(out, ())
    path = editable_path(keyring)
    key, passphrase = _read_key(pem, key_id, passphrase_fd, encrypt=encrypt, verify_only=verify_only)
    terms: Terms = {
        "scopes": scopes,
        "not_before": not_before,
        "not_after": not_after,
        "passphrase": passphrase,
    }
    if os.path.lexists(path):
        with editing(path) as ring:
            ring.add(key, **terms)
    else:
        ring = Keyring([KeyEntry.new(key, **terms)])
        ring.save(path)
    entry = ring.entries[-1]
    kind = "encrypted, " * (passphrase is not None) + entry.status
    done = f"added key {entry.key_id} ({kind}) to {plain(path)}"
    content = {"keyring": path, "key": described_key(entry)}
    deliver_facts(content, lambda _: () if out.quiet else (done,), command="key import", out=out)
    click.echo(f"fingerprint: {entry.verifying_key.fingerprint}", err=True)
    if isinstance(key, SigningKey):
        say_secret()
        active = [one.key_id for one in ring.entries if one.status == "active"]
        if len(active) > 1:
            say_note(
                f"{plain(path)} has {len(active)} active keys ({', '.join(active)}): where more than one may sign an "
                'artifact, signing is refused. Give them scopes, or set status = "verify-only" on all but one'
            )
    return 0


def _read_key(
    pem: str, key_id: str | None, descriptor: int | None, *, encrypt: bool, verify_only: bool
) -> tuple[SigningKey | VerifyingKey, bytes | None]:
    """Return the key in a PEM file, and the passphrase with which it is to be kept."""
    from safeload.errors import KeyringError
    from safeload.keys import PemFile

    passphrase: bytes | None = None

    def ask() -> bytes:
        nonlocal passphrase
        passphrase = read_passphrase(f"the key in {pem}", descriptor)
        return passphrase

    found = PemFile.read(pem)
    try:
        if not found.is_private:
            if encrypt or descriptor is not None:
                raise KeyringError(
                    "it is a public key, which is not encrypted", advice="Leave out --encrypt and --passphrase-fd."
                )
            return found.verifying_key(key_id), None
        key = found.signing_key(ask, key_id=key_id)
    except KeyringError as error:
        raise KeyringError(f"cannot import {shlex.quote(pem)}: {error.message}", advice=error.advice) from None
    if verify_only:
        return key.verifying_key, None
    if encrypt and passphrase is None:  # else it is encrypted, and keeps its passphrase
        passphrase = choose_passphrase(f"key {key.key_id!r}", descriptor)
    return key, passphrase
