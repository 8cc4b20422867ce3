"""What the commands of `store` are given: names, channels, the store itself."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from safeload.cli._claims import expires_option
from safeload.cli._common import PATH, limits_with, reason_option

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from safeload.keyring import Keyring
    from safeload.store import Store

__all__ = [
    "channel_option",
    "checked",
    "name_argument",
    "opened_store",
    "pointer_expires_option",
    "store_option",
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
                raise click.BadParameter(str(error)) from None
        return value

    return check


name_argument = click.argument("name", callback=checked("name"), metavar="NAME")
version_argument = click.argument("version", callback=checked("version"), metavar="VERSION")
channel_option = click.option(
    "--channel", metavar="NAME", default="production", show_default=True, callback=checked("channel"),
    help="The channel to move.",
)  # fmt: skip
why_moved_option = reason_option("Why: one line, signed with it.", most=1000)
pointer_expires_option = expires_option("Until when readers follow this decision")


def store_option(command: _Command) -> _Command:
    return click.option(
        "--store",
        "folder",
        metavar="FOLDER",
        type=PATH,
        envvar="SAFELOAD_STORE",
        required=True,
        help="The store's folder. Default: the one that SAFELOAD_STORE names.",
    )(command)


def opened_store(
    folder: str,
    keyring: Keyring | str | None,
    policy: str = "sklearn",
    limits: Mapping[str, int] | None = None,
    *,
    floors: str | None = None,
    make: bool = False,
) -> Store:
    """Return a store that is there, or, if it may be made, will be.

    Raises:
        FileNotFoundError: there is no such folder.
        PolicyError: the policy is not valid.
        click.BadParameter: there are no such limits.
    """
    from safeload.policy import Policy
    from safeload.store import Store

    in_force = Policy.load(policy)
    most = limits_with(in_force, limits or {})
    if not make and not Path(folder).is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such store: safeload store add makes one", folder)
    return Store(folder, keyring=keyring, policy=in_force, limits=most, floors=floors)
