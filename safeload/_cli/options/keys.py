"""What the commands about keys share: options, and which file is to be changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from safeload._cli.failures import BadValueError, MisuseError
from safeload._cli.options.common import parse_when
from safeload._cli.report.files import Output, check_output
from safeload._internal.clock import utc_now
from safeload.keys import ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeload.keys import KeyEntry

__all__ = [
    "KEY_TIMES",
    "algorithm_option",
    "check_encryption",
    "check_key_id",
    "described_key",
    "encrypt_option",
    "not_after_option",
    "not_before_option",
    "require_target",
    "say_secret",
    "scopes_option",
]

KEY_TIMES = ("not_before", "not_after", "revoked")
_WITH_PEM = " or ".join(one.name for one in ALGORITHMS.values() if one.has_pem)

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def _parse_time(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    moment = parse_when(value)
    if isinstance(moment, timedelta):
        moment += utc_now()
    return moment.replace(microsecond=0)


def _parse_end(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    moment = _parse_time(context, parameter, value)
    if moment is not None and moment <= utc_now():
        raise BadValueError("the time is in the past, so nobody would trust the key", advice="Use a later one.")
    return moment


def _check_scopes(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    from safeload.keys import check_scope

    for value in values:
        try:
            check_scope(value)
        except ValueError as error:
            raise BadValueError(str(error)) from None
    return values


def check_key_id(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse what cannot be a key's id."""
    from safeload.keys import is_key_id

    if value is not None and not is_key_id(value):
        # Not repeated: it might be a key, in the wrong place.
        raise BadValueError(
            "this is not a key id", advice="Use 1 to 100 letters, digits and ._@:+-, a letter or digit first."
        )
    return value


def algorithm_option(default: str | None, note: str = "") -> Callable[[_Command], _Command]:
    """Return what adds --algorithm."""
    return click.option(
        "--algorithm",
        type=click.Choice(list(ALGORITHMS)),
        default=default,
        show_default=default is not None,
        help="".join(f"{one.name}: {one.summary}. " for one in ALGORITHMS.values()).strip() + note,
    )


def scopes_option(default: str) -> Callable[[_Command], _Command]:
    """Add --scope; `default` says what happens without it."""
    return click.option(
        "--scope",
        "scopes",
        metavar="PATTERN",
        multiple=True,
        callback=_check_scopes,
        help="Limit the key to artifacts whose path matches PATTERN, such as 'fraud-*.joblib' or 'risk/*.joblib'; may "
        f"be repeated. [default: {default}]",
    )


def not_before_option(command: _Command) -> _Command:
    """Add --not-before."""
    return click.option(
        "--not-before",
        metavar="WHEN",
        callback=_parse_time,
        help="From when on it is trusted: a date, a time with its zone, or a span from now on such as 2d.",
    )(command)


def not_after_option(command: _Command) -> _Command:
    """Add --not-after."""
    return click.option(
        "--not-after", metavar="WHEN", callback=_parse_end, help="Until when it is trusted, such as 52w."
    )(command)


def encrypt_option(command: _Command) -> _Command:
    """Add --encrypt."""
    return click.option(
        "--encrypt",
        is_flag=True,
        help=f"Keep the private key encrypted, with a passphrase ({_WITH_PEM} only).",
    )(command)


def check_encryption(algorithm: str, descriptor: int | None, *, encrypt: bool) -> None:
    """Refuse --encrypt for keys that cannot be encrypted, and a passphrase for a key that is not to be.

    Raises:
        MisuseError: the options contradict each other.
    """
    if encrypt and not ALGORITHMS[algorithm].has_pem:
        known = [one for one in ALGORITHMS.values() if one.has_pem]
        titles = " and ".join(one.title for one in known)
        raise MisuseError(f"only {titles} keys can be encrypted", advice=f"Add --algorithm {known[0].name}.")
    if descriptor is not None and not encrypt:
        raise MisuseError("--passphrase-fd is for an encrypted key", advice="Add --encrypt.")


def described_key(entry: KeyEntry) -> dict[str, Any]:
    """Return what is said of a key, as JSON can hold it, and never the key itself."""
    described: dict[str, Any] = {
        "id": entry.key_id,
        "algorithm": entry.algorithm,
        "status": entry.status,
        "created": entry.created.isoformat(),
        "can_sign": entry.status == "active" and entry.can_sign,
        "encrypted": entry.encrypted is not None,
        "scopes": list(entry.scopes),
        "replaces": entry.replaces,
        "fingerprint": entry.verifying_key.fingerprint,
        "reason": entry.reason,
    }
    for name in KEY_TIMES:
        moment = getattr(entry, name)
        described[name] = None if moment is None else moment.isoformat()
    return described


def require_target(target: str | None, out: Output) -> None:
    """Refuse a report where the key's own file is not named: it may have been meant, or go the same way.

    Raises:
        MisuseError: it is.
    """
    check_output(out, ())
    if target is None and out != Output(quiet=out.quiet):
        raise MisuseError(
            "--format and --output are for the report, and the report needs the key to go elsewhere",
            advice="Name the key's file: --out PATH.",
        )


def say_secret() -> None:
    """Say on stderr what a keyring with private keys is."""
    click.echo("it is secret: whoever can read it can sign. Keep it out of version control, and back it up.", err=True)
