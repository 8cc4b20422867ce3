"""sign: scan artifacts that exist, and sign them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safeload.cli._common import (
    NOTHING,
    Session,
    debug_option,
    keyring_option,
    parse_when,
    paths_argument,
    policy_option,
    report_options,
    say_error,
    say_note,
    say_traceback,
    worst,
)
from safeload.cli._output import Result, check_output, deliver, drop_chunks, failure, judged
from safeload.cli._passphrases import passphrase_option, signing_keyring
from safeload.cli._text import plain
from safeload.cli._walk import find_artifacts

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from safeload.manifest import Manifest
    from safeload.reports import Report

__all__ = ["sign"]

_AGAIN = "If you trust what it is now, --overwrite signs it again, with the metadata that you give"
_CHANGED = "its bytes are not those that were signed before: make sure that you know why"
_MAX_METADATA = 16 << 20


def _parse_expiry(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> datetime | timedelta | None:
    moment = None if value is None else parse_when(value)
    if isinstance(moment, datetime) and moment <= datetime.now(UTC):
        raise click.BadParameter("it is in the past")
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
        raise click.BadParameter(f"{plain(value)}: {error.strerror or error}") from None
    if len(data) > _MAX_METADATA:
        raise click.BadParameter(f"{plain(value)} has more than {_MAX_METADATA} bytes")
    try:
        metadata = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{plain(value)} is not JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise click.BadParameter(f"{plain(value)} has to hold a JSON object: {{...}}")
    return metadata


def _merge_metadata(metadata: dict[str, Any], texts: tuple[str, ...]) -> dict[str, Any]:
    """Return the metadata of the file and of the options, as it will be signed.

    Raises:
        click.BadParameter: it cannot be signed.
    """
    from safeload.manifest import clean_metadata

    merged = dict(metadata)
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
        merged[name] = value
    try:
        return clean_metadata(merged)
    except (TypeError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--metadata") from None


@click.command(short_help="Scan artifacts that you trust, and sign them.")
@paths_argument
@keyring_option
@policy_option
@click.option(
    "--metadata",
    metavar="FILE",
    callback=_read_metadata,
    help="Sign the JSON object in FILE along (- is stdin): metrics, training data, anything.",
)
@click.option("--set", "texts", metavar="NAME=VALUE", multiple=True, help="Add one text to the metadata.")
@click.option("--version", metavar="TEXT", help="What you call this version: a free text.")
@click.option(
    "--release",
    metavar="N",
    type=click.IntRange(min=1),
    help="A number that grows with each release. Default: one more than that of the manifest it replaces.",
)
@click.option(
    "--expires",
    metavar="WHEN",
    callback=_parse_expiry,
    help="When to stop accepting it: a date, a time with its zone, or a span such as 90d.",
)
@click.option("--overwrite", is_flag=True, help="Replace the manifest that is there.")
@click.option("--allow-lower-release", is_flag=True, help="Also where N is not above the release that is there.")
@passphrase_option
@report_options
@debug_option
@click.pass_obj
def sign(
    session: Session,
    paths: tuple[str, ...],
    keyring: str | None,
    policy: str,
    metadata: dict[str, Any],
    texts: tuple[str, ...],
    version: str | None,
    release: int | None,
    expires: datetime | timedelta | None,
    overwrite: bool,
    allow_lower_release: bool,
    passphrase_fd: int | None,
    layout: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Scan artifacts that exist, and sign those that the policy allows.

    To sign is to vouch: sign what you wrote yourself, or have from somebody you trust. The manifest goes beside
    the artifact, which stays as it is.
    """
    from safeload import api
    from safeload.policy import Policy

    found = find_artifacts(paths)
    check_output(output, found.files)
    claims = _merge_metadata(metadata, texts)
    in_force = Policy.load(policy)
    ring = signing_keyring(keyring, passphrase_fd)

    def sign_one(path: str) -> Manifest:
        return api.sign(
            path,
            key=ring,
            policy=in_force,
            metadata=claims,
            version=version,
            release=release,
            expires=expires,
            overwrite=overwrite,
            allow_lower_release=allow_lower_release,
        )

    results = [Result(path=path, verdict="error", error=why) for path, why in found.unreadable]

    def verify(path: str) -> Report:
        return api.verify(path, keyring=ring, policy=in_force)

    results += [_sign_one(sign_one, verify, path, debug=session.debug) for path in found.files]
    for folder in found.empty:
        say_note(f"{plain(folder)}: no .joblib, .pkl or .pickle files in this folder")
    deliver(results, command="sign", policy=policy, layout=layout, output=output, quiet=quiet)
    code = worst(result.verdict for result in results)
    if code == NOTHING:
        say_error("nothing to sign")
    return code


def _sign_one(
    sign_one: Callable[[str], Manifest], verify: Callable[[str], Report], path: str, *, debug: bool
) -> Result:
    from safeload.errors import LimitExceededError, MalformedArtifactError, PolicyViolationError

    before: Report | None = None
    try:
        before = verify(path)
        return _signed(path, sign_one(path), notes=(_CHANGED,) if _is_changed(before) else ())
    except (PolicyViolationError, MalformedArtifactError, LimitExceededError) as error:
        return judged(path, error.report)
    except FileExistsError:
        if before is not None and before.allowed:
            return replace(judged(path, before), word="signed", notes=("signed already, and left as it is",))
        why = "its bytes are not those that were signed" if _is_changed(before) else "the manifest does not hold here"
        return Result(path=path, verdict="error", error=f"it has a manifest, but {why}. {_AGAIN}")
    except Exception as error:  # noqa: BLE001 - one file's failure must not hide what was done with the others
        if debug:
            say_traceback(error)
        return failure(path, error)


def _is_changed(before: Report | None) -> bool:
    """Tell whether there was a manifest that holds, for other bytes than those that are there."""
    return before is not None and any(finding.code in ("SL201", "SL202") for finding in before.findings)


def _signed(path: str, manifest: Manifest, *, notes: tuple[str, ...]) -> Result:
    described = manifest.to_dict()
    drop_chunks(described)
    data = {
        "findings": [],
        "globals": [
            # as a report has them, but for the offsets, which are not signed
            dict(zip(("module", "qualname"), name.rsplit(".", 1), strict=True)) | {"roles": dict.fromkeys(roles)}
            for name, roles in manifest.globals
        ],
        "format": manifest.format,
        "compression": manifest.compression,
        "size": manifest.size,
        "policy": {"name": manifest.policy_name, "digest": manifest.policy_digest},
        "manifest": described,
    }
    return Result(path=path, verdict="allowed", word="signed", data=data, notes=notes)
