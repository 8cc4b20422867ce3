"""verify and scan: judge many files, in one process or in several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from safeload._cli.options.common import (
    Session,
    Standard,
    debug_option,
    jobs_option,
    keyring_option,
    paths_argument,
    report_options,
    rollback_state_option,
    standard_options,
)
from safeload._cli.options.walking import selection_options
from safeload._cli.report.deliver import deliver
from safeload._cli.report.files import Output, check_output
from safeload._cli.report.result import Result, exit_code, judged
from safeload._cli.running.walk import find_artifacts, say_empty, walked_results
from safeload._cli.running.workers import judge_each, require_shareable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from safeload._cli.running.walk import Selection

__all__ = ["scan", "verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judging:
    """What to do with each file; it can be sent to another process, and holds no key."""

    verify: bool
    standard: Standard
    deep: bool = False
    keyring: str | None = None
    min_release: int | None = None
    rollback_state: str | None = None
    debug: bool = False

    def start(self) -> Callable[[str], Result]:
        """Return what judges one file, keyring and policy read already.

        Raises:
            KeyringError, PolicyFileError: they cannot be used, so no file could be judged.
            BadValueError: there are no such limits.
        """
        import safeload

        policy, limits = self.standard.load()
        if self.verify:
            loader = safeload.Loader(
                keyring=self.keyring,
                policy=policy,
                min_release=self.min_release,
                limits=limits,
                rollback_state=self.rollback_state,
            )
            return lambda path: judged(path, loader.verify(path))
        return lambda path: judged(path, safeload.scan(path, policy=policy, limits=limits, deep=self.deep))


@click.command(short_help="Check signature, bytes and content, without loading.")
@paths_argument
@keyring_option
@click.option("--min-release", metavar="N", type=click.IntRange(min=1), help="Refuse releases before N.")
@rollback_state_option
@selection_options
@standard_options
@jobs_option
@report_options
@debug_option
@click.pass_obj
def verify(
    session: Session,
    paths: tuple[str, ...],
    keyring: str | None,
    min_release: int | None,
    rollback_state: str | None,
    selection: Selection,
    standard: Standard,
    jobs: int,
    out: Output,
) -> int:
    """Check all that safeload.load checks, and every byte, without loading: the step before a deployment.

    PATHs are files, or folders. In folders, files that begin as pickles or as joblib's compressions do are looked at,
    whatever their names. How many others were skipped is said at the end.
    """
    task = _Judging(
        verify=True,
        standard=standard,
        keyring=keyring,
        min_release=min_release,
        rollback_state=rollback_state,
        debug=session.debug,
    )
    return _check(task, paths, selection, jobs=jobs, out=out)


@click.command(short_help="Look into files of unknown origin. Needs no key.")
@paths_argument
@click.option("--deep", is_flag=True, help="Have fickling read it, too: a difference is a finding. Slow.")
@selection_options
@standard_options
@jobs_option
@report_options
@debug_option
@click.pass_obj
def scan(
    session: Session,
    paths: tuple[str, ...],
    deep: bool,
    selection: Selection,
    standard: Standard,
    jobs: int,
    out: Output,
) -> int:
    """Look into artifacts of unknown origin, without a key and without unpickling anything.

    What is allowed here does nothing at load time that the policy does not allow. Who made it, and whether it
    predicts what it should, only a signature can tell: see verify.

    PATHs are files, or folders. In folders, files that begin as pickles or as joblib's compressions do are looked at,
    whatever their names. How many others were skipped is said at the end.
    """
    task = _Judging(verify=False, standard=standard, deep=deep, debug=session.debug)
    return _check(task, paths, selection, jobs=jobs, out=out)


def _check(task: _Judging, paths: Sequence[str], selection: Selection, *, jobs: int, out: Output) -> int:
    if task.verify:
        require_shareable(task.keyring, jobs)
    found = find_artifacts(paths, selection)
    check_output(out.path, found.files)
    judge = task.start()
    results = walked_results(found)
    results += judge_each(task, judge, found.files, jobs, quiet=out.quiet)
    say_empty(found)
    command = "verify" if task.verify else "scan"
    deliver(results, command=command, policy=task.standard.policy, out=out, found=found)
    return exit_code(results, "nothing to check")
