"""Which signatures count: those by enough keys of a keyring, each of which may sign the artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeload._internal.files import shown_place
from safeload.errors import UnknownKeyError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeload._internal.files import PathLike
    from safeload.keys import Keyring

__all__ = ["require_enough", "within_scope"]


def require_enough(keyring: Keyring, trusted: Sequence[str], refusals: Sequence[VerificationError]) -> None:
    """Refuse signatures by fewer keys than the keyring's `threshold`.

    No two ids of a keyring are the same key, so that many ids are that many keys.

    Args:
        keyring: the keyring that demands signatures.
        trusted: the ids of the keys whose signatures are valid, and trusted now.
        refusals: why other signatures did not count.

    Raises:
        VerificationError: there are too few; the message says why others did not count.
    """
    if len(trusted) >= keyring.threshold:
        return
    # That a known key is no longer trusted explains more than that another key was never known.
    known = [error for error in refusals if not isinstance(error, UnknownKeyError)]
    if not trusted:
        first, *more = known or refusals
        raise type(first)("; ".join(one.message for one in (first, *more)), advice=first.advice, code=first.code)
    others = "".join(f"; not counted: {error.message}" for error in known)
    if len(refusals) > len(known):
        others += f"; not counted: {len(refusals) - len(known)} by keys that it does not have under these ids"
    ids = ", ".join(entry.key_id for entry in keyring.entries if entry.status != "revoked")
    raise VerificationError(
        f"{keyring.where} demands signatures by {keyring.threshold} of its keys ({ids}), and there are {len(trusted)} "
        f"({', '.join(trusted)}){others}",
        advice="Have another of these keys sign it, too: safeload countersign.",
        code="SL109",
    )


def within_scope(keyring: Keyring, key_ids: Sequence[str], name: str, folder: PathLike | None) -> tuple[str, ...]:
    """Return those of these keys, all of the keyring, that may sign an artifact of this name in this folder.

    Raises:
        VerificationError: these are fewer than the keyring's `threshold` (SL106).
    """
    entries = [entry for key_id in key_ids if (entry := keyring.get(key_id)) is not None]
    kept = tuple(entry.key_id for entry in entries if entry.may_sign(name, folder))
    if len(kept) >= keyring.threshold:
        return kept
    place = shown_place(name, folder)
    refused = "; ".join(
        f"key {entry.key_id!r} is not allowed to sign {place} (scopes in {keyring.where}: {', '.join(entry.scopes)})"
        for entry in entries
        if entry.key_id not in kept
    )
    demanded = (
        f"; signatures by {keyring.threshold} keys are demanded, and there are {len(kept)}: {', '.join(kept)}"
        if kept
        else ""
    )
    raise VerificationError(
        f"{refused}{demanded}", advice="Sign it with a key whose scopes cover this path.", code="SL106"
    )
