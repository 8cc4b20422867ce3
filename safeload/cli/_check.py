"""verify and scan: judge many files, in one process or in several."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from safeload.cli._common import (
    NOTHING,
    PATH,
    Session,
    debug_option,
    jobs_option,
    keyring_option,
    limits_option,
    limits_with,
    paths_argument,
    policy_option,
    report_options,
    say_error,
    say_note,
    worst,
)
from safeload.cli._output import Result, check_output, deliver, judged
from safeload.cli._progress import progress
from safeload.cli._text import plain
from safeload.cli._walk import find_artifacts
from safeload.cli._workers import each

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["scan", "verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What to do with each file; it can be sent to another process, and holds no key."""

    verify: bool
    policy: str
    limits: dict[str, int] = field(default_factory=dict)
    deep: bool = False
    keyring: str | None = None
    min_release: int | None = None
    floors: str | None = None
    debug: bool = False

    def start(self) -> Callable[[str], Result]:
        """Return what judges one file, keyring and policy read already.

        Raises:
            KeyringError, PolicyFileError: they cannot be used, so no file could be judged.
            click.BadParameter: there are no such limits.
        """
        from safeload import api
        from safeload.policy import Policy

        policy = Policy.load(self.policy)
        limits = limits_with(policy, self.limits)
        if self.verify:
            loader = api.Loader(
                keyring=self.keyring,
                policy=policy,
                min_release=self.min_release,
                limits=limits,
                floors=self.floors,
            )
            return lambda path: judged(path, loader.verify(path))
        return lambda path: judged(path, api.scan(path, policy=policy, limits=limits, deep=self.deep))


@click.command(short_help="Check signature, bytes and content, without loading.")
@paths_argument
@keyring_option
@policy_option
@click.option("--min-release", metavar="N", type=click.IntRange(min=1), help="Refuse releases before N.")
@click.option(
    "--floors",
    metavar="FILE",
    type=PATH,
    help="Refuse releases older than this state file remembers. Nothing is added to it.",
)
@limits_option
@jobs_option
@report_options
@debug_option
@click.pass_obj
def verify(
    session: Session,
    paths: tuple[str, ...],
    keyring: str | None,
    policy: str,
    min_release: int | None,
    floors: str | None,
    limits: dict[str, int],
    jobs: int,
    layout: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Check all that safeload.load checks, and every byte, without loading: the step before a deployment.

    PATHs are files, or folders, which are walked for .joblib, .pkl and .pickle files, compressed ones too.
    """
    task = _Task(
        verify=True,
        policy=policy,
        limits=limits,
        keyring=keyring,
        min_release=min_release,
        floors=floors,
        debug=session.debug,
    )
    return _check(task, paths, jobs=jobs, layout=layout, output=output, quiet=quiet)


@click.command(short_help="Look into files of unknown origin. Needs no key.")
@paths_argument
@policy_option
@click.option("--deep", is_flag=True, help="Have fickling read it, too: a difference is a finding. Slow.")
@limits_option
@jobs_option
@report_options
@debug_option
@click.pass_obj
def scan(
    session: Session,
    paths: tuple[str, ...],
    policy: str,
    deep: bool,
    limits: dict[str, int],
    jobs: int,
    layout: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Look into artifacts of unknown origin, without a key and without unpickling anything.

    What is allowed here does nothing at load time that the policy does not allow. Who made it, and whether it
    predicts what it should, only a signature can tell: see verify.

    PATHs are files, or folders, which are walked for .joblib, .pkl and .pickle files, compressed ones too.
    """
    task = _Task(verify=False, policy=policy, limits=limits, deep=deep, debug=session.debug)
    return _check(task, paths, jobs=jobs, layout=layout, output=output, quiet=quiet)


def _check(task: _Task, paths: Sequence[str], *, jobs: int, layout: str, output: str | None, quiet: bool) -> int:
    if jobs > 1 and task.verify:
        from safeload.keysource import ENVIRONMENT_VARIABLE, descriptor_of

        if descriptor_of(task.keyring or os.environ.get(ENVIRONMENT_VARIABLE, "")) is not None:
            raise click.UsageError(
                "a keyring that is passed as a descriptor reaches one process only: leave out --jobs"
            )
    found = find_artifacts(paths)
    check_output(output, found.files)
    judge = task.start()
    results = [Result(path=path, verdict="error", error=why) for path, why in found.unreadable]
    with progress("checking", len(found.files), quiet=quiet) as advance:
        for path, result, why in each(task, judge, found.files, jobs):
            results.append(result or Result(path=path, verdict="error", error=why))
            advance()
    for folder in found.empty:
        say_note(f"{plain(folder)}: no .joblib, .pkl or .pickle files in this folder")
    command = "verify" if task.verify else "scan"
    deliver(results, command=command, policy=task.policy, layout=layout, output=output, quiet=quiet)
    code = worst(result.verdict for result in results)
    if code == NOTHING:
        say_error("nothing to check")
    return code
