"""Changing keyring files, and making public ones of them.

A keyring is changed whole or not at all, one writer at a time; no change takes a key out of it: those that were rotated
or revoked stay, so that nothing is lost, and whoever is refused is told why.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from safeload._internal.atomic import locked
from safeload.errors import KeyringError
from safeload.keys._algorithms import titles_of
from safeload.keys._keyring import Keyring
from safeload.keys._source import descriptor_of, read_source, write_keyring
from safeload.keys._toml import edited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeload._internal.files import PathLike

__all__ = ["editing", "public_part"]


@contextmanager
def editing(path: PathLike) -> Iterator[Keyring]:
    """Read a keyring file, and write back what the body makes of it; other writers are kept out meanwhile.

    The file's comments stay, and so does the file as it is if the body raises.

    Raises:
        KeyringError: it cannot be read or written, or it is no file.
        StorageError: another writer is at work for too long.
    """
    name = os.fsdecode(path)
    if descriptor_of(name) is not None:
        raise KeyringError(f"a keyring that was passed as a descriptor ({name}) cannot be changed: name its file")
    Keyring.load(name)  # said before a lock file is made: that it is not there, or not private
    target = Path(os.path.realpath(name))
    with locked(target.with_name(f".{target.name}.lock"), name):
        source = read_source(name)
        keyring = Keyring.of(source)
        before = keyring.text
        yield keyring
        text = edited(source.data.decode(), before, keyring.text)
        if text.encode() != source.data:
            write_keyring(name, text, overwrite=True, public=keyring.is_public)


def public_part(keyring: Keyring, *, without_hmac: bool = False) -> Keyring:
    """Return a keyring that can verify what this one can, and sign nothing.

    HMAC keys that are revoked, or all `without_hmac`, are left out.

    Raises:
        KeyringError: it has HMAC keys, which cannot be made public, or nothing else.
    """
    secret = [entry for entry in keyring.entries if entry.verifying_key.is_secret and entry.status != "revoked"]
    if secret and not without_hmac:
        raise KeyringError(
            f"{keyring.where}: {', '.join(entry.key_id for entry in secret)}: {titles_of(symmetric=True)} keys have no "
            "public half, so everybody who can verify with one can also sign. Sign with a key that has one "
            f"({titles_of(symmetric=False)}) from now on, and leave the others out (without_hmac=True, "
            "--without-hmac): artifacts that only they signed are then refused"
        )
    public = [
        replace(
            entry,
            key=entry.verifying_key,
            status="verify-only" if entry.status == "active" else entry.status,
            encrypted=None,
        )
        for entry in keyring.entries
        if not entry.verifying_key.is_secret
    ]
    if not public:
        raise KeyringError(
            f"{keyring.where} has no {titles_of(symmetric=False)} key, so there is nothing that could be made public"
        )
    return Keyring(public, threshold=keyring.threshold)
