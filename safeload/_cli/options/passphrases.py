"""Passphrases of encrypted keys: asked for on a terminal, or read from a descriptor; never taken from arguments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import click

from safeload._cli.terminal import plain
from safeload._internal.files import read_to_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeload.keys import Keyring, SigningKey

__all__ = ["choose_passphrase", "passphrase_option", "read_passphrase", "signing_keyring", "signing_source"]

_MAX_BYTES = 4096
_Command = TypeVar("_Command", bound="Callable[..., Any]")


def passphrase_option(command: _Command) -> _Command:
    """Add --passphrase-fd."""
    return click.option(
        "--passphrase-fd",
        "passphrase_fd",
        metavar="N",
        type=click.IntRange(min=0),
        help="Read the passphrase of an encrypted key from this open descriptor. Default: ask for it.",
    )(command)


def signing_keyring(keyring: str | None, descriptor: int | None) -> Keyring:
    """Return the keyring to sign with, its active key decrypted.

    Raises:
        KeyringError: it cannot be read, or the passphrase is wrong, missing, or one too many.
    """
    from safeload.errors import KeyringError
    from safeload.keys import resolve_keyring

    ring = resolve_keyring(keyring, signing=True)
    if ring.locked:
        ring.unlock(read_passphrase(_locked(ring), descriptor))
    elif descriptor is not None:  # is this the keyring that was meant?
        raise KeyringError(
            f"{ring.where} has no active key that needs a passphrase", advice="Leave out --passphrase-fd."
        )
    return ring


def signing_source(path: str, descriptor: int | None) -> Keyring | SigningKey:
    """Return what signs: the keyring or the private PEM key at a path, decrypted; errors as for `signing_keyring`."""
    from safeload.errors import KeyringError
    from safeload.keys import PemFile

    pem = PemFile.find(path)
    if pem is None:
        return signing_keyring(path, descriptor)
    try:
        return pem.signing_key(lambda: read_passphrase(f"the key in {path}", descriptor))
    except KeyringError as error:
        raise KeyringError(f"cannot sign with {path}: {error.message}", advice=error.advice) from None


def _locked(ring: Keyring) -> str:
    ids = ", ".join(repr(entry.key_id) for entry in ring.entries if entry.status == "active" and entry.encrypted)
    return f"key {ids} in {ring.where}"


def read_passphrase(what: str, descriptor: int | None) -> bytes:
    """Return a passphrase that exists, from the descriptor or from the user at the terminal.

    Raises:
        KeyringError: there is neither, or what is read is no passphrase.
    """
    return _ask(f"Passphrase of {plain(what)}: ", what) if descriptor is None else _read(descriptor)


def choose_passphrase(what: str, descriptor: int | None) -> bytes:
    """Return a new passphrase, asked for twice; else as `read_passphrase`."""
    from safeload.errors import KeyringError

    if descriptor is not None:
        return _read(descriptor)
    chosen = _ask(f"New passphrase for {plain(what)}, 12 bytes or more: ", what)
    if _ask("The same again: ", what) != chosen:
        raise KeyringError("the two passphrases differ", advice="Try again. Nothing was written.")
    return chosen


def _ask(prompt: str, what: str) -> bytes:
    import getpass

    from safeload.errors import KeyringError

    if not _has_terminal():  # without one, getpass would read it in the open, or somebody else's input
        raise KeyringError(
            f"cannot ask for the passphrase of {what}: there is no terminal",
            advice="Pass it in a descriptor, as in --passphrase-fd 3 3<FILE",
        )
    try:
        text = getpass.getpass(prompt)
    except EOFError:
        text = ""
    if not text:
        raise KeyringError(f"{what} needs a passphrase, and none was given", advice="Try again.")
    return text.encode("utf-8", "surrogateescape")


def _has_terminal() -> bool:
    """Tell whether getpass will find a terminal that it can keep the passphrase off."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        try:
            return os.isatty(0)
        except OSError:
            return False
    return True


def _read(descriptor: int) -> bytes:
    """Return what a descriptor holds: one line, with or without its end."""
    from safeload.errors import KeyringError

    where = f"descriptor {descriptor} (--passphrase-fd)"
    try:
        if os.isatty(descriptor):
            raise KeyringError(
                f"{where} is a terminal, which would show the passphrase",
                advice="Leave out --passphrase-fd to be asked for it.",
            )
        data = read_to_end(descriptor, _MAX_BYTES)
    except OSError as error:
        raise KeyringError(
            f"cannot read a passphrase from {where}: {error.strerror}",
            advice=f"Open it for this process, as in: --passphrase-fd {descriptor} {descriptor}<FILE",
        ) from None
    passphrase = data.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase or len(data) > _MAX_BYTES or b"\n" in passphrase:
        raise KeyringError(
            f"{where} does not hold exactly one line", advice="Write the passphrase, and nothing else, to it."
        )
    return passphrase
