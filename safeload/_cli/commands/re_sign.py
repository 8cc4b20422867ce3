"""re-sign and countersign: other signatures over what is signed, for whole trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from safeload._cli.options.common import (
    PATH,
    Session,
    Standard,
    debug_option,
    keyring_option,
    output_options,
    paths_argument,
    standard_options,
)
from safeload._cli.options.passphrases import passphrase_option, signing_keyring, signing_source
from safeload._cli.options.walking import selection_options
from safeload._cli.report.deliver import deliver_lines, reported_failure
from safeload._cli.report.files import Output, check_output
from safeload._cli.report.result import Result, judged, summary
from safeload._cli.report.text import result_lines, skipped_count, skipped_lines, suggestion_lines
from safeload._cli.running.signing import sign_each, signed_code
from safeload._cli.running.walk import Found, Selection, find_artifacts, say_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from safeload._cli.report.content import Listing
    from safeload._cli.terminal import Painter
    from safeload._signing.re_sign import ReSigned
    from safeload.store import ReSigner

__all__ = ["countersign", "deliver_signed", "find_signed", "re_sign", "signs"]

_key_option = click.option(
    "--key",
    metavar="PATH",
    type=PATH,
    help="What signs: another keyring, or a private key as PEM. Default: the active key of the keyring.",
)


@click.command(short_help="Replace a rotated key's signatures by the new key's.")
@paths_argument
@keyring_option
@_key_option
@click.option(
    "--replace",
    "replacing",
    metavar="ID",
    multiple=True,
    help="Whose signatures go; may be repeated. Default: the keys that the signing key took over from.",
)
@passphrase_option
@selection_options
@standard_options
@output_options
@debug_option
@click.pass_obj
def re_sign(
    session: Session,
    paths: tuple[str, ...],
    keyring: str | None,
    key: str | None,
    replacing: tuple[str, ...],
    passphrase_fd: int | None,
    selection: Selection,
    standard: Standard,
    out: Output,
) -> int:
    """Replace the signatures of a key that was rotated by those of the new one: see key rotate.

    Each artifact is verified in full first, under the keyring, and keeps all that its manifest says; what is refused is
    left as it was. So is what is signed by the new key already: if interrupted, run the same command again.

    PATHs are artifacts, or folders, which are walked for artifacts and for the channel pointers of stores.
    """
    found = find_signed(paths, selection, out)
    with reported_failure("re-sign", out):
        re_signer = _re_signer(keyring, key, passphrase_fd, standard, replacing=replacing or None)
    results, interrupted = sign_each(signs(re_signer), found, quiet=out.quiet, debug=session.debug)
    return deliver_signed(results, found, command="re-sign", policy=standard.policy, interrupted=interrupted, out=out)


@click.command(short_help="Add a signature, for keyrings that demand several.")
@paths_argument
@keyring_option
@_key_option
@passphrase_option
@selection_options
@standard_options
@output_options
@debug_option
@click.pass_obj
def countersign(
    session: Session,
    paths: tuple[str, ...],
    keyring: str | None,
    key: str | None,
    passphrase_fd: int | None,
    selection: Selection,
    standard: Standard,
    out: Output,
) -> int:
    """Sign beside those who have signed: for keyrings that demand the signatures of several keys.

    Each artifact is verified in full first, but for the number of its signatures: one by a key of the keyring will do.
    What your key has signed already is left as it is.

    PATHs are artifacts, or folders, which are walked for artifacts and for the channel pointers of stores.
    """
    found = find_signed(paths, selection, out)
    re_signer = _re_signer(keyring, key, passphrase_fd, standard, beside=True)
    results, interrupted = sign_each(signs(re_signer), found, quiet=out.quiet, debug=session.debug)
    return deliver_signed(
        results, found, command="countersign", policy=standard.policy, interrupted=interrupted, out=out
    )


def _re_signer(
    keyring: str | None, key: str | None, passphrase_fd: int | None, standard: Standard, **how: Any
) -> ReSigner:
    from safeload.keys import resolve_keyring
    from safeload.store import ReSigner

    ring = signing_keyring(keyring, passphrase_fd) if key is None else resolve_keyring(keyring)
    source = None if key is None else signing_source(key, passphrase_fd)
    policy, limits = standard.load()
    return ReSigner(key=source, keyring=ring, policy=policy, limits=limits, **how)


def find_signed(paths: Sequence[str], selection: Selection, out: Output) -> Found:
    """Return the artifacts and channel pointers that paths mean; no report is one of them."""
    found = find_artifacts(paths, selection, pointers=True)
    check_output(out, found.files)
    return found


def signs(re_signer: ReSigner) -> Callable[[str], Result]:
    """Return what puts the new signatures on one file."""
    from safeload._judging.report import refused_report
    from safeload.errors import VerificationError

    def sign_one(path: str) -> Result:
        try:
            return _done(path, re_signer.sign(path))
        except VerificationError as error:
            return judged(path, refused_report(path, error))

    return sign_one


def _done(path: str, done: ReSigned) -> Result:
    from safeload._manifest.manifest import Manifest

    content = done.content
    data = {
        "findings": [],
        "globals": [],
        "kind": "artifact" if isinstance(content, Manifest) else "channel",
        "release": content.release,
        "version": content.version,
        "key_ids": list(content.key_ids),
        "added": list(done.added),
        "removed": list(done.removed),
        "missing_signatures": done.missing,
    }
    notes = []
    if done.foreign:
        notes.append("the key that is replaced has not signed it, so it was left as it is")
    if done.missing:
        notes.append(f"the keyring demands {done.missing} more signature{'s' if done.missing > 1 else ''}")
    version = "" if content.version is None else f" ({content.version})"
    already = "" if done.added else " already"
    facts = [f"release {content.release}{version}", f"signed by {', '.join(content.key_ids)}{already}"]
    if done.removed:
        facts.append(f"in place of {', '.join(done.removed)}")
    return Result(
        path=path,
        verdict="allowed",
        word="signed" if done.added else "left",
        facts=", ".join(facts),
        data=data,
        notes=tuple(notes),
    )


def deliver_signed(
    results: Sequence[Result],
    found: Found,
    *,
    command: str,
    policy: str,
    interrupted: bool,
    out: Output,
    head: Sequence[str] = (),
    extra: dict[str, Any] | None = None,
) -> int:
    """Write the report, and return the exit code; `head` is text that comes first, `extra` what JSON has beside it."""
    say_empty(found, "nothing signed in this folder")
    signed = sum(bool(result.data.get("added")) for result in results)

    def lines(paint: Painter, listing: Listing) -> Iterator[str]:
        listed = listing.of(results)
        if not out.quiet:
            yield from head
        for result in listed:
            yield from result_lines(result, paint)
        yield from suggestion_lines(listed, policy)
        if out.quiet:
            return
        for one in listing.skipped(found):
            yield from skipped_lines(one, paint)
        if listing.on_stderr or len(results) > 1 or found.skipped or found.excluded:
            yield from ("", _summary(results, found, signed)) if listed else [_summary(results, found, signed)]

    about = {"changed": signed, "interrupted": interrupted, **(extra or {})}
    deliver_lines(results, lines, command=command, out=out, found=found, extra=about)
    return signed_code(results, found, signed=signed, interrupted=interrupted)


def _summary(results: Sequence[Result], found: Found, signed: int) -> str:
    counts = summary(results, found)
    parts = [f"{signed} signed", f"{counts['allowed'] - signed} left as they were"]
    if counts["refused"]:
        parts.append(f"{counts['refused']} refused, and left as they were")
    if counts["error"]:
        parts.append(f"{counts['error']} could not be judged")
    return f"{counts['checked']} looked at: {', '.join(parts)}{skipped_count(counts)}"
