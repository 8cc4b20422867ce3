"""The keyring of a Loader, read again when its file changes while a model is watched."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Self

from safeload._internal.files import Stamp, stamp
from safeload.keys import Keyring, keyring_file, resolve_keyring

if TYPE_CHECKING:
    from safeload.keys import KeyringSource

__all__ = ["Trust"]


class Trust:
    """A keyring, and the file it was read from, if the caller named a file or left it to the default.

    Raises:
        KeyringError, TypeError: as `resolve_keyring`.
    """

    def __init__(self, given: KeyringSource) -> None:
        self._path = keyring_file(given)
        self._read = self.look()  # before it is read, so that no change after it is missed
        self.keyring = resolve_keyring(given)

    def look(self) -> Stamp | str | None:
        """Return what changes when the file may be another; None where there is no file to look at."""
        if self._path is None:
            return None
        try:
            return stamp(self._path) or "missing"
        except (OSError, ValueError) as error:
            return type(error).__name__  # `renew` will say it properly

    def renew(self) -> None:
        """Read the file anew, if it is another than the one that was read last.

        Raises:
            KeyringError: it cannot be used, and what was read last stays.
        """
        found = self.look()
        if self._path is not None and found != self._read:
            self.keyring = Keyring.load(self._path)
            self._read = found

    def copied(self) -> Self:
        """Return the same, to be renewed on its own."""
        return copy.copy(self)
