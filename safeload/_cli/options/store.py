"""What the commands of `store` are given: names, channels, the store itself."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from safeload._cli.failures import BadValueError
from safeload._cli.options.claims import expires_option
from safeload._cli.options.common import PATH, Standard, gathering, keyring_option, line_option, standard_options
from safeload._cli.options.passphrases import passphrase_option, signing_keyring
from safeload._cli.report.files import Output, check_output
from safeload._internal.strictjson import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeload.store import Store

__all__ = [
    "Opening",
    "channel_option",
    "checked",
    "looking_options",
    "name_argument",
    "pointer_expires_option",
    "signing_options",
    "verifying_options",
    "version_argument",
    "why_moved_option",
]

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def checked(kind: str) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Return what refuses, as wrong usage, a name that no store could have."""

    def check(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
        from safeload import store

        if value is not None:
            try:
                getattr(store, f"check_{kind}")(value)
            except ValueError as error:
                raise BadValueError(str(error)) from None
        return value

    return check


name_argument = click.argument("name", callback=checked("name"), metavar="NAME")
version_argument = click.argument("version", callback=checked("version"), metavar="VERSION")
channel_option = click.option(
    "--channel", metavar="NAME", default="production", show_default=True, callback=checked("channel"),
    help="The channel to move.",
)  # fmt: skip
why_moved_option = line_option("--reason", "Why: one line, signed with it.", most=MAX_LINE)
pointer_expires_option = expires_option("Until when readers follow this decision")


@dataclass(frozen=True, slots=True)
class Opening:
    """Which store, and how to open it; it can be sent to another process, and holds no key.

    `descriptor` is the one that --passphrase-fd named, and `signs` says that the key to sign with has to be at hand.
    """

    folder: str
    keyring: str | None
    standard: Standard = field(default_factory=lambda: Standard("sklearn", {}))
    descriptor: int | None = None
    signs: bool = False

    def open(self, *, rollback_state: str | None = None, make: bool = False) -> Store:
        """Return the store; with `make`, it need not exist yet.

        Raises:
            FileNotFoundError, NotADirectoryError: there is no such folder.
            KeyringError, PolicyFileError: they cannot be used.
            BadValueError: there are no such limits.
        """
        from safeload.store import Store

        policy, limits = self.standard.load()
        if not Path(self.folder).is_dir():
            if os.path.lexists(self.folder):
                raise NotADirectoryError(errno.ENOTDIR, "this is no folder, so it is no store", self.folder)
            if not make:
                why = "there is no such store: safeload store add makes one"
                raise FileNotFoundError(errno.ENOENT, why, self.folder)
        ring = signing_keyring(self.keyring, self.descriptor) if self.signs else self.keyring
        return Store(self.folder, keyring=ring, policy=policy, limits=limits, rollback_state=rollback_state)

    def check_output(self, out: Output) -> None:
        """Refuse an output file in the place of one of the store's; errors as for `check_output`."""
        check_output(out, map(str, Path(self.folder).rglob("*")))


def _store_option(command: _Command) -> _Command:
    return click.option(
        "--store",
        "folder",
        metavar="FOLDER",
        type=PATH,
        envvar="SAFELOAD_STORE",
        required=True,
        help="The store's folder. Default: the one that SAFELOAD_STORE names.",
    )(command)


def _to_sign(folder: str, keyring: str | None, descriptor: int | None, standard: Standard) -> Opening:
    return Opening(folder, keyring, standard, descriptor, signs=True)


_LOOKING = {"folder": _store_option, "keyring": keyring_option}
looking_options = gathering("at", Opening, _LOOKING)
verifying_options = gathering("at", Opening, {**_LOOKING, "standard": standard_options})
signing_options = gathering(
    "at", _to_sign, {**_LOOKING, "passphrase_fd": passphrase_option, "standard": standard_options}
)
