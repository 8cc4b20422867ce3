"""The options that say what is signed about an artifact, and until when."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from safeload._cli.failures import BadValueError
from safeload._cli.options.common import parse_when
from safeload._cli.terminal import plain
from safeload._internal.clock import utc_now
from safeload._internal.strictjson import MAX_INTEGER

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

__all__ = ["claims_options", "expires_option", "merged_metadata"]

_MAX_METADATA = 16 << 20
_Command = TypeVar("_Command", bound="Callable[..., Any]")


def _parse_expiry(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> datetime | timedelta | None:
    moment = None if value is None else parse_when(value)
    if isinstance(moment, datetime) and moment <= utc_now():
        raise BadValueError("the time is in the past", advice="Use a later one.")
    return moment


def _read_metadata(_context: click.Context, _parameter: click.Parameter, value: str | None) -> dict[str, Any]:
    if value is None:
        return {}
    try:
        if value == "-":
            data = sys.stdin.buffer.read(_MAX_METADATA + 1)
        else:
            with Path(value).open("rb") as file:
                data = file.read(_MAX_METADATA + 1)
    except OSError as error:
        raise BadValueError(f"cannot read {plain(value)}: {error.strerror or error}") from None
    if len(data) > _MAX_METADATA:
        raise BadValueError(
            f"{plain(value)} has more than {_MAX_METADATA} bytes", advice="Keep such data in a file of its own."
        )
    try:
        metadata = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadValueError(f"{plain(value)} is not JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise BadValueError(f"{plain(value)} does not hold a JSON object", advice="Write it as {...}.")
    return metadata


def merged_metadata(metadata: dict[str, Any], texts: tuple[str, ...]) -> dict[str, Any]:
    """Return the metadata of the file and of the options, as it will be signed.

    Raises:
        BadValueError: it cannot be signed.
    """
    from safeload._manifest.manifest import clean_metadata

    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise BadValueError(
                f"{text!r} is not NAME=VALUE",
                advice="Write it as in owner=risk.",
                option="--set",
            )
        if name in given:
            raise BadValueError(f"{name!r} is given twice", advice="Give each name once.", option="--set")
        given[name] = value
    try:
        return clean_metadata({**metadata, **given})
    except (TypeError, ValueError) as error:
        raise BadValueError(str(error), option="--metadata") from None


def expires_option(what: str) -> Callable[[_Command], _Command]:
    """Add --expires for the named thing."""
    return click.option(
        "--expires",
        metavar="WHEN",
        callback=_parse_expiry,
        help=f"{what}: a date, a time with its zone, or a span such as 90d.",
    )


def claims_options(command: _Command) -> _Command:
    """Add --metadata, --set, --release and --expires."""
    for option in (
        expires_option("When to stop accepting it"),
        click.option(
            "--release",
            metavar="N",
            type=click.IntRange(1, MAX_INTEGER),
            help="A number that grows with each release. Default: one more than the last.",
        ),
        click.option("--set", "texts", metavar="NAME=VALUE", multiple=True, help="Add one text to the metadata."),
        click.option(
            "--metadata",
            metavar="FILE",
            callback=_read_metadata,
            help="Sign the JSON object in FILE along (- is stdin): metrics, training data, anything.",
        ),
    ):
        command = option(command)
    return command
