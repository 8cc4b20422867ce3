"""store: what is in a store, and moving its channels: add, list, show, promote, rollback, verify, prune."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from safeload._cli.exit_codes import ALLOWED, NOTHING, worst
from safeload._cli.failures import CommandError, MisuseError
from safeload._cli.options.claims import claims_options, merged_metadata
from safeload._cli.options.common import (
    PATH,
    Session,
    debug_option,
    jobs_option,
    output_options,
    report_options,
    rollback_state_option,
)
from safeload._cli.options.store import (
    Opening,
    channel_option,
    checked,
    looking_options,
    name_argument,
    pointer_expires_option,
    signing_options,
    verifying_options,
    version_argument,
    why_moved_option,
)
from safeload._cli.report.deliver import deliver, deliver_facts, reported_failure
from safeload._cli.report.result import Result, exit_code, judged, manifest_dict, timed
from safeload._cli.running.workers import judge_each, require_shareable
from safeload._cli.terminal import human_age, plain, say_error, say_note, table, wrapped
from safeload._internal.clock import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime, timedelta

    from safeload._cli.report.files import Output
    from safeload._cli.terminal import Painter
    from safeload.errors import StorageError, VerificationError
    from safeload.store import Part, Pointer, Store, StoredVersion

    Problem = VerificationError | StorageError

__all__ = ["store"]

_WORDS = ("allowed", "refused", "error")  # by exit code
_VERSION_HEADINGS = ("version", "release", "created", "signed by", "channels")
_CHANNEL_HEADINGS = ("channel", "at", "decided", "decision", "before", "until", "reason")


@click.group(no_args_is_help=False, short_help="Keep versions of models in a folder, and say which is in use.")
@debug_option
def store() -> None:
    """Keep versions of models side by side in a folder, and say which one is in use, by signed channels.

    A version is a signed pair of artifact and manifest, and never changes. A channel, such as production, points to
    one: promote moves it on, rollback back.
    """


# --------------------------------------------------------------------------------------------------- looking


class _Channel:
    """A channel as it is read: where it is, or why that cannot be trusted."""

    def __init__(self, opened: Store, name: str, channel: str) -> None:
        from safeload.errors import StorageError, VerificationError

        self.name = channel
        self.pointer: Pointer | None = None
        self.problem: Problem | None = None
        try:
            self.pointer = opened.channel(name, channel)
        except (VerificationError, StorageError) as error:
            self.problem = error

    def to_dict(self) -> dict[str, Any]:
        described: dict[str, Any] = {"channel": self.name, **_verdict(self.problem)}
        if self.pointer is not None:
            described |= _pointer_facts(self.pointer)
        return described


def _pointer_facts(pointer: Pointer) -> dict[str, Any]:
    content = pointer.to_dict()
    return {"expires": None, "reason": None, **content, "key_ids": list(pointer.key_ids)}


def _verdict(problem: Problem | None) -> dict[str, Any]:
    from safeload._judging.report import refused_report
    from safeload.errors import VerificationError

    if problem is None:
        return {"verdict": "allowed", "findings": []}
    if not isinstance(problem, VerificationError):
        path = problem.path or ""
        return {"verdict": "error", "findings": [], "error": problem.describe(path), "advice": problem.advice}
    report = refused_report(problem.path or "", problem)
    return {"verdict": "refused", "findings": [finding.to_dict() for finding in report.findings]}


def _worst(problems: Sequence[tuple[str, Problem]]) -> int:
    """Return the exit code for a store, or a model, with these problems."""
    return worst(_verdict(problem)["verdict"] for _, problem in problems) if problems else ALLOWED


def _channels(opened: Store, name: str) -> list[_Channel]:
    return [_Channel(opened, name, channel) for channel in opened.channels(name)]


def _version_dict(one: StoredVersion) -> dict[str, Any]:
    described: dict[str, Any] = {
        "version": one.version, "path": str(one.path), "channels": list(one.channels), **_verdict(one.problem),
    }  # fmt: skip
    if one.manifest is not None:
        described["manifest"] = manifest_dict(one.manifest)
    return described


def _problem_lines(problems: Sequence[tuple[str, Problem]], paint: Painter, out: Output) -> Iterator[str]:
    """Say, below a table if there is one, what is wrong with what it calls refused, or error."""
    for what, problem in problems:
        verdict = _verdict(problem)
        word, code = verdict["verdict"], "".join(f"{finding['code']} " for finding in verdict["findings"])
        where = "" if problem.path is None else f"{plain(problem.path)}: "
        head, *rest = wrapped(f"{word} {plain(what)}: {code}{where}{plain(problem.message)}", paint.width, "", "  ")
        if not out.quiet:
            yield ""
        yield head.replace(word, paint(word, "red", bold=True), 1)
        yield from rest
        if problem.advice is not None:
            yield from (paint(line, "cyan") for line in wrapped(plain(problem.advice), paint.width, "  ", "  "))


@store.command("list", short_help="Show models, and where their channels are.")
@looking_options
@output_options
@debug_option
def list_models(at: Opening, out: Output) -> int:
    """Show each model with its channels: the version and release they are at, and since when.

    Signatures are checked, of manifests and of pointers; the artifacts are not read, which verify does. Exit code 1:
    something cannot be trusted, and is listed with the reason.
    """
    at.check_output(out)
    opened, now = at.open(), utc_now()
    rows: list[tuple[str, ...]] = []
    models: list[dict[str, Any]] = []
    problems: list[tuple[str, Problem]] = []
    for name in opened.names():
        versions, channels = opened.versions(name), _channels(opened, name)
        found = [(f"{name} {one.version}", one.problem) for one in versions if one.problem is not None]
        found += [(f"channel {one.name} of {name}", one.problem) for one in channels if one.problem is not None]
        problems += found
        trusted = [one.manifest.release for one in versions if one.manifest is not None]
        models.append(
            {
                "name": name,
                "verdict": _WORDS[_worst(found)],
                "findings": [finding for _, problem in found for finding in _verdict(problem)["findings"]],
                "versions": len(versions),
                "highest_release": max(trusted, default=None),
                "channels": [one.to_dict() for one in channels],
            }
        )
        title = (name, str(len(versions)))
        for channel in channels:
            rows.append((*title, channel.name, *_where(channel, now)))
            title = ("", "")
        if not channels:
            rows.append((*title, "-", "", "", "no channel yet"))

    def lines(paint: Painter) -> Iterator[str]:
        if models and not out.quiet:
            yield table(paint, ("model", "versions", "channel", "at", "release", "since"), rows)
        yield from _problem_lines(problems, paint, out)

    deliver_facts({"store": at.folder, "models": models}, lines, command="store list", out=out)
    if not models:
        say_error(f"{plain(at.folder)}: there are no models in this store")
        return NOTHING
    return _worst(problems)


def _where(channel: _Channel, now: datetime) -> tuple[str, str, str]:
    pointer = channel.pointer
    if pointer is None:
        return _verdict(channel.problem)["verdict"], "", ""
    return pointer.version, str(pointer.release), human_age(pointer.created, now)


@store.command(short_help="Show the versions and channels of one model.")
@name_argument
@looking_options
@output_options
@debug_option
def show(name: str, at: Opening, out: Output) -> int:
    """Show the versions of one model, who signed them and when, and the decisions that its channels are at.

    Signatures are checked, of manifests and of pointers; the artifacts are not read, which verify does. Exit code 1:
    something cannot be trusted, and is listed with the reason.
    """
    at.check_output(out)
    opened = at.open()
    versions, channels = opened.versions(name), _channels(opened, name)
    problems: list[tuple[str, Problem]] = [
        (f"version {one.version}", one.problem) for one in versions if one.problem is not None
    ]
    problems += [(f"channel {one.name}", one.problem) for one in channels if one.problem is not None]

    def lines(paint: Painter) -> Iterator[str]:
        if not out.quiet:
            yield table(paint, _VERSION_HEADINGS, map(_version_row, versions))
        if channels and not out.quiet:
            yield from ("", table(paint, _CHANNEL_HEADINGS, map(_channel_row, channels)))
        yield from _problem_lines(problems, paint, out)

    content = {
        "store": at.folder, "name": name,
        "versions": [_version_dict(one) for one in versions], "channels": [one.to_dict() for one in channels],
    }  # fmt: skip
    deliver_facts(content, lines, command="store show", out=out)
    if not versions:
        say_error(f"there are no versions of {plain(name)}")
        return NOTHING
    return _worst(problems)


def _version_row(one: StoredVersion) -> tuple[str, ...]:
    channels = ", ".join(one.channels)
    if one.manifest is None:
        return one.version, _verdict(one.problem)["verdict"], "", "", channels
    manifest = one.manifest
    return one.version, str(manifest.release), _minute(manifest.created), ", ".join(manifest.key_ids), channels


def _channel_row(one: _Channel) -> tuple[str, ...]:
    if one.pointer is None:
        return one.name, _verdict(one.problem)["verdict"], "", "", "", "", ""
    pointer = one.pointer
    before = pointer.history[0].version if pointer.history else "-"
    until = "-" if pointer.expires is None else _minute(pointer.expires)
    decision = f"{pointer.action}, number {pointer.sequence}"
    return one.name, pointer.version, _minute(pointer.created), decision, before, until, pointer.reason or "-"


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")


@dataclass(frozen=True, slots=True)
class _VerifyingVersions:
    """How to check each part of a store; it can be sent to another process, and holds no key."""

    at: Opening
    rollback_state: str | None
    parts: dict[str, Part]
    debug: bool

    def start(self) -> Callable[[str], Result]:
        """Return what checks the part at one path, keyring and policy read already; errors as for `Opening.open`."""
        opened = self.at.open(rollback_state=self.rollback_state)
        return timed(lambda path: _verified(opened, self.parts[path]))


def _verified(opened: Store, part: Part) -> Result:
    report = opened.verify_part(part)
    result = judged(report.path, report)
    if part.channel is None or result.verdict != "allowed":
        return result
    at = opened.channel(part.name, part.channel)
    facts = f"channel, at version {at.version}, release {at.release}, signed by {', '.join(at.key_ids)}"
    return replace(result, data={**result.data, "pointer": _pointer_facts(at)}, facts=facts)


@store.command(short_help="Check every version and channel in full, without loading.")
@click.argument("name", callback=checked("name"), required=False, metavar="[NAME]")
@click.argument("version", callback=checked("version"), required=False, metavar="[VERSION]")
@verifying_options
@rollback_state_option
@jobs_option
@report_options
@debug_option
@click.pass_obj
def verify(
    session: Session,
    name: str | None,
    version: str | None,
    at: Opening,
    rollback_state: str | None,
    jobs: int,
    out: Output,
) -> int:
    """Check all versions and channels of all models, of one model, or one version, in full: every byte is read.

    Use it in place of safeload verify, which does not check channels and the places of versions.
    """
    require_shareable(at.keyring, jobs)
    at.check_output(out)
    with reported_failure("store verify", out):
        opened = at.open(rollback_state=rollback_state)
    parts = {str(part.path): part for part in opened.parts(name, version)}
    task = _VerifyingVersions(at, rollback_state, parts, session.debug)
    results = judge_each(task, timed(lambda path: _verified(opened, parts[path])), list(parts), jobs, quiet=out.quiet)
    strays = _strays(opened, at.folder, name, version)
    for stray in () if out.quiet else strays or ():
        say_note(f"{plain(stray)}: no part of the store, so it was not looked at")
    deliver(results, command="store verify", policy=at.standard.policy, out=out, extra={"strays": strays})
    return exit_code(results, "nothing to check")


def _strays(opened: Store, folder: str, name: str | None, version: str | None) -> list[str] | None:
    """Return what is no part of the store, or None where a folder cannot be listed: what it holds was an error."""
    from safeload.errors import StorageError

    try:
        return list(map(str, opened.strays(name, version)))
    except StorageError as error:
        path = error.path or folder
        say_note(f"cannot list files that do not belong to the store: {path}: {error.describe(path)}", error.advice)
        return None


# -------------------------------------------------------------------------------------------------- changing


@store.command(short_help="Copy an artifact into the store as a new version, and sign it.")
@name_argument
@click.argument("artifact", type=PATH, metavar="ARTIFACT")
@click.option(
    "--version", metavar="VERSION", required=True, callback=checked("version"), help="What to call this version."
)
@claims_options
@signing_options
@output_options
@debug_option
def add(
    name: str,
    artifact: str,
    version: str,
    metadata: dict[str, Any],
    texts: tuple[str, ...],
    release: int | None,
    expires: datetime | timedelta | None,
    at: Opening,
    out: Output,
) -> int:
    """Copy an artifact that exists into the store as a new version of a model, and sign the copy there.

    To sign is to vouch: add what you wrote yourself, or have from somebody you trust. It is scanned, and refused if the
    policy does not allow it. No channel moves: see promote.
    """
    claims = merged_metadata(metadata, texts)
    at.check_output(out)
    manifest = at.open(make=True).add(
        name, artifact, version=version, metadata=claims, release=release, expires=expires
    )
    done = f"added {name} {version}, release {manifest.release}, to {plain(at.folder)}. No channel has moved"
    _say_done({"name": name, "manifest": manifest_dict(manifest)}, [done], at, command="store add", out=out)
    return ALLOWED


def _say_done(content: dict[str, Any], lines: Sequence[str], at: Opening, *, command: str, out: Output) -> None:
    deliver_facts({"store": at.folder, **content}, lambda _: () if out.quiet else lines, command=command, out=out)


@store.command(short_help="Let a channel point to a newer version, or to a first one.")
@name_argument
@version_argument
@channel_option
@why_moved_option
@pointer_expires_option
@click.option(
    "--sequence",
    metavar="N",
    type=click.IntRange(min=1),
    help="The decision's number, where the last pointer is lost or damaged: above all that readers have seen.",
)
@signing_options
@output_options
@debug_option
def promote(
    name: str,
    version: str,
    channel: str,
    reason: str | None,
    expires: datetime | timedelta | None,
    sequence: int | None,
    at: Opening,
    out: Output,
) -> int:
    """Verify a version in full, and let a channel point to it. Older releases are refused: see rollback.

    Promoting the version that the channel is at renews the decision, as before --expires.
    """
    at.check_output(out)
    opened = at.open()
    try:
        pointer = opened.promote(name, version, channel, expires=expires, reason=reason, sequence=sequence)
    except ValueError as error:
        raise MisuseError(str(error)) from None
    return _say_moved("store promote", at, pointer, out)


@store.command(short_help="Let a channel go back to an older version.")
@name_argument
@click.option(
    "--to", metavar="VERSION", callback=checked("version"), help="Where to. Default: where the channel was before."
)
@channel_option
@why_moved_option
@pointer_expires_option
@signing_options
@output_options
@debug_option
def rollback(
    name: str,
    to: str | None,
    channel: str,
    reason: str | None,
    expires: datetime | timedelta | None,
    at: Opening,
    out: Output,
) -> int:
    """Verify an older version in full, and let a channel go back to it.

    The decision is newer than the last, so readers follow it, and what it leaves they take for old.
    """
    at.check_output(out)
    opened = at.open()
    try:
        pointer = opened.rollback(name, channel, to=to, expires=expires, reason=reason)
    except ValueError as error:  # about what is in the store, as the options have been checked
        raise CommandError(str(error)) from None
    return _say_moved("store rollback", at, pointer, out)


def _say_moved(command: str, at: Opening, pointer: Pointer, out: Output) -> int:
    before = f", and a rollback goes to {pointer.history[0].version}" if pointer.history else ""
    done = (
        f"{pointer.channel} of {pointer.name} is at {pointer.version} now: release {pointer.release}. "
        f"This is decision number {pointer.sequence}{before}"
    )
    _say_done(_pointer_facts(pointer), [done], at, command=command, out=out)
    return ALLOWED


@store.command(short_help="Remove old versions that nothing uses.")
@name_argument
@click.option("--keep", metavar="N", type=click.IntRange(min=1), required=True, help="How many releases to keep.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@looking_options
@output_options
@debug_option
def prune(name: str, keep: int, dry_run: bool, at: Opening, out: Output) -> int:
    """Remove all versions of a model but the newest N.

    What a channel is at stays, what a rollback would go back to, and what cannot be trusted, which is for a person to
    look at.
    """
    at.check_output(out)
    removed = at.open().prune(name, keep, dry_run=dry_run)
    lines = [f"{'would remove' if dry_run else 'removed'} {name} {version}" for version in removed]
    content = {"name": name, "dry_run": dry_run, "removed": removed}
    _say_done(content, lines or ["there is nothing to remove"], at, command="store prune", out=out)
    return ALLOWED
