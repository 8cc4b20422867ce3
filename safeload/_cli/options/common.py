"""The options that commands share, and the values that they make."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from safeload._cli.failures import BadValueError
from safeload._cli.report.files import paired_output
from safeload._cli.report.formats import format_names
from safeload._cli.terminal import say_note
from safeload._internal.clock import utc_now
from safeload._internal.secrecy import HOW_TO_NAME, NOT_SHOWN, looks_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from safeload._scan import Limits
    from safeload.policy import Policy

__all__ = [
    "PATH",
    "Session",
    "Standard",
    "debug_option",
    "gathering",
    "jobs_option",
    "keyring_option",
    "limits_option",
    "limits_with",
    "line_option",
    "output_options",
    "parse_when",
    "paths_argument",
    "paths_or_none_argument",
    "policy_names",
    "policy_option",
    "report_options",
    "rollback_state_option",
    "standard_options",
]


_SPAN = re.compile(r"([1-9][0-9]{0,5})([hdw])", re.ASCII)
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LIMIT = re.compile(r"([a-z_]+)=([0-9][0-9_]*)", re.ASCII)
_Command = TypeVar("_Command", bound="Callable[..., Any]")


class _Path(click.Path):
    """A path as it was given, but not an empty one, which is what a variable that is not set leaves."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty path names no file", param, ctx)
        check_shown(value)
        return super().convert(value, param, ctx)


def check_shown(value: Any) -> None:
    """Refuse key material in the place of a path.

    Raises:
        BadValueError: it looks like key material.
    """
    if isinstance(value, str | os.PathLike) and looks_secret(value):
        raise BadValueError(f"cannot use {NOT_SHOWN} as a path", advice=HOW_TO_NAME)


PATH = _Path(readable=False)  # what cannot be read is a result for that path, and no wrong usage


@dataclass(slots=True)
class Session:
    """What is known of one run of the command line."""

    debug: bool = False


def parse_when(value: str) -> datetime | timedelta:
    """Return the time that an option means: a date, a time with its zone, or a span from now on.

    Raises:
        BadValueError: it is none, or one that no clock will show.
    """
    try:
        moment = _when(value)
        (utc_now() + moment if isinstance(moment, timedelta) else moment).astimezone(UTC)
    except OverflowError:
        raise BadValueError("the time is not within the years 1 to 9999") from None
    return moment


def _when(value: str) -> datetime | timedelta:
    span = _SPAN.fullmatch(value)
    if span:
        return timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise BadValueError(
            "this is not a time", advice="Use a date, a time (2027-06-30T12:00:00Z), or a span such as 90d, 12h or 8w."
        ) from None
    if _DATE.fullmatch(value):
        moment = moment.replace(tzinfo=UTC)
    if moment.tzinfo is None:
        raise BadValueError("this time has no zone", advice=f"Add the zone, as in {moment.isoformat()}Z.")
    return moment


def _remember_debug(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    session = context.find_object(Session)
    if wanted and session is not None:
        session.debug = True


def debug_option(command: _Command) -> _Command:
    """Add --debug; it may stand before or after the command's name."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_remember_debug,
        help="Show tracebacks of errors.",
    )(command)


def paths_argument(command: _Command) -> _Command:
    """Add the paths: files, or directories to walk."""
    return click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")(command)


def paths_or_none_argument(command: _Command) -> _Command:
    """Add the paths, which need not be there."""
    return click.argument("paths", nargs=-1, type=PATH, metavar="[PATH]...")(command)


def gathering(
    name: str, make: Callable[..., object], options: Mapping[str, Callable[[Any], Any]]
) -> Callable[[_Command], _Command]:
    """Return what adds options that belong together, which a command then gets as one argument of this name."""

    def decorate(command: _Command) -> _Command:
        @functools.wraps(command)
        def gathered(*arguments: Any, **given: Any) -> Any:
            given[name] = make(*(given.pop(option) for option in options))
            return command(*arguments, **given)

        for option in reversed(list(options.values())):
            gathered = option(gathered)
        return cast("_Command", gathered)

    return decorate


def policy_names(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> str:
    """Return the names that an option gave, as one text with commas; without any, the default policy's."""
    for name in given:
        check_shown(name)
    from safeload.policy import default_policy

    return ",".join(given) if given else default_policy()


def policy_option(command: _Command) -> _Command:
    """Add --policy, which gives a text for `Policy.named`."""
    return click.option(
        "--policy",
        "policy",
        metavar="NAME|PATH",
        multiple=True,
        callback=policy_names,
        help=(
            "What artifacts may name: a pack's name, or the path of a policy file. Repeat it, or separate names with "
            "commas, to add policies up. Default: those that SAFELOAD_POLICY names, else sklearn."
        ),
    )(command)


def _parse_limits(_context: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, int]:
    given: dict[str, int] = {}
    for text in texts:
        found = _LIMIT.fullmatch(text)
        if found is None or not 0 < len(found[2]) <= 25:
            raise BadValueError(f"{text[:100]!r} is not NAME=NUMBER", advice="Write it as in max_opcodes=200_000_000.")
        if found[1] in given:
            raise BadValueError(f"{found[1]} is given twice", advice="Give each limit once.")
        given[found[1]] = int(found[2].replace("_", ""))
    return given


def limits_option(command: _Command) -> _Command:
    """Add --limit, which gives a dict of names and numbers for `limits_with`."""
    return click.option(
        "--limit",
        "limits",
        metavar="NAME=NUMBER",
        multiple=True,
        callback=_parse_limits,
        help="Raise or lower what an artifact may hold at most, whatever the policy says: max_opcodes=200_000_000.",
    )(command)


@dataclass(frozen=True, slots=True)
class Standard:
    """What artifacts are held against: the policy as it was named, and the limits that --limit gave."""

    policy: str  # for `Policy.named`
    limits: Mapping[str, int]

    def load(self) -> tuple[Policy, Limits]:
        """Return the policy, and the limits in force.

        Raises:
            PolicyFileError: the policy is not valid.
            BadValueError: there are no such limits.
        """
        from safeload.policy import Policy

        in_force = Policy.named(self.policy)
        return in_force, limits_with(in_force, self.limits)


standard_options = gathering("standard", Standard, {"policy": policy_option, "limits": limits_option})


def limits_with(policy: Policy, given: Mapping[str, int]) -> Limits:
    """Return the limits that a policy has, with those that --limit gave in their place.

    Raises:
        BadValueError: there is no such limit, or its number makes no sense.
    """
    limits = policy.limits()
    known = type(limits).__dataclass_fields__
    unknown = ", ".join(name for name in given if name not in known)
    if unknown:
        raise BadValueError(f"there is no limit {unknown}", advice=f"Use one of {', '.join(known)}.", option="--limit")
    try:
        return replace(limits, **given)
    except ValueError as error:
        raise BadValueError(str(error), option="--limit") from None


def _note_missing(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not os.path.lexists(value):  # as before the first load, and where it is misspelt
        say_note(f"{value}: there is no such state file, so no release is refused for being old")
    return value


def rollback_state_option(command: _Command) -> _Command:
    """Add --rollback-state, of a state file that is read only."""
    return click.option(
        "--rollback-state",
        metavar="FILE",
        type=PATH,
        callback=_note_missing,
        help="Refuse releases older than those that this state file remembers. The file is only read; without "
        "it, no release counts as old.",
    )(command)


class _Jobs(click.IntRange):
    """A number of processes, or "auto" for one on each processor that this process may use."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return _processors() if value == "auto" else super().convert(value, param, ctx)


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def jobs_option(command: _Command) -> _Command:
    """Add --jobs."""
    return click.option(
        "--jobs",
        "-j",
        metavar="N|auto",
        type=_Jobs(min=1),
        default=1,
        show_default=True,
        help="Check N artifacts at once, each in its own process; auto is one on each processor.",
    )(command)


def line_option(name: str, help_text: str, *, most: int, required: bool = False) -> Callable[[_Command], _Command]:
    """Return what adds an option that takes one line, of so many characters at the most."""

    def check(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None and not (value.strip() and value.isprintable() and len(value) <= most):
            raise BadValueError(
                "the text is too long, or not one printable line", advice=f"Use one line of up to {most} characters."
            )
        return value

    return click.option(name, metavar="TEXT", required=required, callback=check, help=help_text)


def keyring_option(command: _Command) -> _Command:
    """Add --keyring."""
    return click.option(
        "--keyring",
        metavar="PATH",
        type=PATH,
        help="Use this keyring file [default: SAFELOAD_KEYRING, else the file in your config folder]. Commands that "
        "only read the keyring also take its text from SAFELOAD_KEYRING_DATA.",
    )(command)


def _output_options(formats: list[str]) -> Callable[[_Command], _Command]:
    layout = click.option(
        "--format",
        "layouts",
        type=click.Choice(formats),
        multiple=True,
        help="Write the result in this format. Repeat it, each time with -o, for several reports of one run.  "
        "[default: text]",
    )
    output = click.option(
        "--output",
        "-o",
        "outputs",
        metavar="FILE",
        type=PATH,
        multiple=True,
        help="Write the result to FILE, whole or not at all, instead of stdout; refusals and the summary also go to "
        "stderr.",
    )
    quiet = click.option("--quiet", "-q", is_flag=True, help="Print only refusals and errors.")
    return gathering("out", paired_output, {"layouts": layout, "outputs": output, "quiet": quiet})


output_options = _output_options(format_names(files=False))
report_options = _output_options(format_names(files=True))  # for commands that check files
