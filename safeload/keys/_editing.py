"""Changing keyring files, and making public ones of them.

A keyring file is changed whole or not at all, by one writer at a time. No change removes a key: keys that were rotated
or revoked stay, so that nothing is lost and refusals can say why. Comments and the order of a file stay, too.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from safeload._internal.atomic import locked
from safeload.errors import KeyringError
from safeload.keys._algorithms import names_of, titles_of
from safeload.keys._file import (
    KeyringText,
    entry_values,
    format_keyring,
    head_values,
    parse_keyring,
    toml_table,
    toml_value,
)
from safeload.keys._keyring import Keyring, keyring_from, text_of
from safeload.keys._source import descriptor_of, read_source, write_key_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tomlkit.container import Container
    from tomlkit.items import AoT, Array, InlineTable, Table

    from safeload._internal.files import PathLike
    from safeload.keys._entry import KeyEntry

__all__ = ["editing", "public_part"]


@contextmanager
def editing(path: PathLike) -> Iterator[Keyring]:
    """Read a keyring file, give the keyring to the `with` block, and write the changed keyring to the file.

    Comments and order of the file stay. If the block raises, the file is not changed. Other writers wait meanwhile.

    Raises:
        KeyringError: the file cannot be read or written, `path` means a descriptor, or the file has public keys only
            and would get a secret.
        StorageError: another writer holds the file for too long.
    """
    name = os.fsdecode(path)
    if descriptor_of(name) is not None:
        raise KeyringError(
            f"cannot change keyring {name}: it was passed as a descriptor", advice="Name the keyring's file."
        )
    keyring_from(read_source(name, signing=True))  # before a lock file is made: it may be missing, or not private
    target = Path(os.path.realpath(name))
    with locked(target.with_name(f".{target.name}.lock"), name):
        source = read_source(name)
        keyring = keyring_from(source)
        before, was_public = text_of(keyring), keyring.is_public
        yield keyring
        if was_public and not keyring.is_public:
            raise KeyringError(
                f"cannot add a secret to {keyring.where}: it has public keys only, and its readers rely on that",
                advice="Change the keyring that has the private keys, and export its public half again: "
                "safeload key export. Or make a keyring of its own: safeload key new --out PATH.",
            )
        text = _edited(source.data.decode(), before, text_of(keyring))
        if text.encode() != source.data:
            write_key_file(name, text.encode(), overwrite=True, public=keyring.is_public)


def public_part(keyring: Keyring, *, without_hmac: bool = False) -> Keyring:
    """Return a keyring of the public keys in this one: it verifies the same artifacts, and cannot sign.

    Revoked HMAC keys are left out; with `without_hmac`, all HMAC keys are.

    Raises:
        KeyringError: it has HMAC keys, which have no public half, or only such keys.
    """
    secret = [entry for entry in keyring.entries if entry.verifying_key.is_secret and entry.status != "revoked"]
    if secret and not without_hmac:
        raise KeyringError(
            f"cannot export {', '.join(entry.key_id for entry in secret)} of {keyring.where}: "
            f"{titles_of(symmetric=True)} keys have no public half, so everybody who can verify with one can also sign",
            advice=f"Sign with a key that has a public half ({titles_of(symmetric=False)}) from now on, and leave the "
            "others out (without_hmac=True, --without-hmac). Artifacts that only they signed are then refused.",
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
            f"cannot export public keys: {keyring.where} has no {titles_of(symmetric=False)} key",
            advice=f"Make one: safeload key new --algorithm {names_of(has_pem=True)}.",
        )
    return Keyring(public, threshold=keyring.threshold)


# --- the text of a file ---


def _edited(old: str, before: KeyringText, after: KeyringText) -> str:
    """Return a file's text that says `after`, changed in as few places as possible from `old`, which says `before`.

    The new text is read back. If it does not say `after`, the file is written anew, without its comments.
    """
    from tomlkit.exceptions import TOMLKitError

    if _same(before, after):
        return old
    try:
        new = _changed(old, before, after)
        if _same(parse_keyring(new.encode(), "edited"), after):
            return new
    except (KeyringError, TOMLKitError):  # tomlkit may refuse a text that tomllib, which has read it, accepts
        pass
    return format_keyring(after)


def _same(one: KeyringText, other: KeyringText) -> bool:
    return head_values(one) == head_values(other) and [*map(entry_values, one.entries)] == [
        *map(entry_values, other.entries)
    ]


def _changed(old: str, before: KeyringText, after: KeyringText) -> str:
    import tomlkit  # only where a keyring is written

    document = tomlkit.parse(old if old.endswith("\n") else old + "\n")
    keys = cast("AoT | Array", document["keys"])
    known = {entry.key_id: (table, entry) for table, entry in zip(keys, before.entries, strict=True)}
    for entry in after.entries:
        if entry.key_id in known:
            table, previous = known[entry.key_id]
            _change(table, "status", entry_values(previous), entry_values(entry))
        else:
            _add(keys, entry, blank_line=not tomlkit.dumps(document).endswith("\n\n"))
    # Last, because its new fields shift those below them, and tomlkit would not find `keys` any more.
    _change(document, "version", head_values(before), head_values(after))
    return tomlkit.dumps(document)


def _change(
    table: Container | Table | InlineTable, anchor: str, before: Mapping[str, object], after: Mapping[str, object]
) -> None:
    """Give a table the fields of `after` in place of those of `before`; new fields stand below the field `anchor`."""
    import tomlkit
    from tomlkit.items import InlineTable, Table

    for name in before.keys() - after.keys():
        del table[name]
    for name in after.keys() & before.keys():
        if after[name] != before[name]:
            table[name] = toml_value(after[name])
    new = {name: toml_value(value) for name, value in after.items() if name not in before}
    if isinstance(table, InlineTable):
        for name, value in new.items():
            table[name] = value
        return
    # tomlkit adds fields at the end of a table, below the comments there, which are about the next key.
    body = (table.value if isinstance(table, Table) else table).body
    place = 1 + next(number for number, (key, _) in enumerate(body) if key is not None and key.key == anchor)
    body[place:place] = [(tomlkit.key(name), value) for name, value in new.items()]


def _add(keys: AoT | Array, entry: KeyEntry, *, blank_line: bool) -> None:
    """Add a key at the end, as a table or, in a file of inline tables, as one of these."""
    import tomlkit
    from tomlkit.items import AoT

    if not isinstance(keys, AoT):
        inline = tomlkit.inline_table()
        for name, value in entry_values(entry).items():
            inline[name] = toml_value(value)
        keys.append(inline)
        return
    table = toml_table(entry)
    if blank_line:
        table.trivia.indent = "\n"
    keys.append(table)
