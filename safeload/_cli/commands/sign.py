"""sign: scan artifacts that exist, and sign them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from safeload._cli.options.claims import claims_options, merged_metadata
from safeload._cli.options.common import (
    Session,
    Standard,
    debug_option,
    keyring_option,
    line_option,
    paths_argument,
    report_options,
    standard_options,
)
from safeload._cli.options.passphrases import passphrase_option, signing_keyring
from safeload._cli.options.walking import selection_options
from safeload._cli.report.deliver import deliver, reported_failure
from safeload._cli.report.files import Output, check_output
from safeload._cli.report.result import Result, judged, manifest_dict
from safeload._cli.running.signing import AGAIN, sign_each, signed_code
from safeload._cli.running.walk import find_artifacts, say_empty
from safeload._internal.strictjson import MAX_LINE

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from safeload._cli.running.walk import Selection
    from safeload._judging.report import Report
    from safeload._manifest.manifest import Manifest

__all__ = ["sign"]

_REST = "what is done stays; to go on, name what is left"
_RESIGN = "If you trust what it is now, --overwrite signs it again, with the metadata that you give"
_CHANGED = "its bytes are not those that were signed before: make sure that you know why"


@click.command(short_help="Scan artifacts that you trust, and sign them.")
@paths_argument
@keyring_option
@line_option("--version", "What you call this version: a free text of one line.", most=MAX_LINE)
@claims_options
@click.option("--overwrite", is_flag=True, help="Replace the existing manifest.")
@click.option(
    "--allow-lower-release", is_flag=True, help="Also if N is not above the release of the existing manifest."
)
@passphrase_option
@selection_options
@standard_options
@report_options
@debug_option
@click.pass_obj
def sign(
    session: Session,
    paths: tuple[str, ...],
    keyring: str | None,
    metadata: dict[str, Any],
    texts: tuple[str, ...],
    version: str | None,
    release: int | None,
    expires: datetime | timedelta | None,
    overwrite: bool,
    allow_lower_release: bool,
    passphrase_fd: int | None,
    selection: Selection,
    standard: Standard,
    out: Output,
) -> int:
    """Scan artifacts that exist, and sign those that the policy allows.

    To sign is to vouch: sign what you wrote yourself, or have from somebody you trust. The manifest goes beside
    the artifact, which stays as it is.

    PATHs are files, or folders. In folders, files that begin as pickles or as joblib's compressions do are scanned,
    whatever their names. How many others were skipped is said at the end.
    """
    import safeload

    found = find_artifacts(paths, selection)
    check_output(out, found.files)
    claims = merged_metadata(metadata, texts)
    with reported_failure("sign", out):
        policy, limits = standard.load()
        ring = signing_keyring(keyring, passphrase_fd)

    def sign_one(path: str) -> Result:
        before: Report | None = None
        try:
            before = safeload.verify(path, keyring=ring, policy=policy, limits=limits, any_environment=True)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                manifest = safeload.sign(
                    path,
                    key=ring,
                    policy=policy,
                    metadata=claims,
                    version=version,
                    release=release,
                    expires=expires,
                    overwrite=overwrite,
                    allow_lower_release=allow_lower_release,
                    limits=limits,
                )
        except FileExistsError:
            return _left(path, before)
        notes = [getattr(one.message, "message", str(one.message)) for one in caught]
        return _signed(path, manifest, notes=(*notes, _CHANGED) if _is_changed(before) else tuple(notes))

    results, interrupted = sign_each(sign_one, found, quiet=out.quiet, debug=session.debug)
    say_empty(found)
    deliver(results, command="sign", policy=standard.policy, out=out, found=found, extra={"interrupted": interrupted})
    signed = sum(result.word == "signed" for result in results)
    then = _REST if overwrite else AGAIN
    return signed_code(results, found, signed=signed, interrupted=interrupted, then=then)


def _left(path: str, before: Report | None) -> Result:
    """Return the result for what is signed already, and was left as it is."""
    if before is not None and before.allowed:
        return replace(judged(path, before), word="signed", notes=("signed already, and left as it is",))
    if before is not None and before.manifest is not None and not _is_changed(before):
        # It is as it was signed, and refused all the same: by this policy, or these limits.
        return judged(path, before)
    why = "its bytes are not those that were signed" if _is_changed(before) else "the manifest does not hold here"
    return Result(path=path, verdict="error", error=f"it has a manifest, but {why}. {_RESIGN}")


def _is_changed(before: Report | None) -> bool:
    """Tell whether there was a manifest that holds, for other bytes than those that are there."""
    return before is not None and any(finding.code in ("SL201", "SL202") for finding in before.findings)


def _signed(path: str, manifest: Manifest, *, notes: tuple[str, ...]) -> Result:
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
        "manifest": manifest_dict(manifest),
    }
    return Result(path=path, verdict="allowed", word="signed", data=data, notes=notes)
