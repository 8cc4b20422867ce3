"""verify and scan: judge many files, in one process or in several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from safeload._cli.failures import MisuseError
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
from safeload._cli.report.deliver import deliver, reported_failure
from safeload._cli.report.files import Output, check_output
from safeload._cli.report.result import Result, exit_code, judged, timed
from safeload._cli.running.trial import TrialLimits, load_in_child
from safeload._cli.running.walk import find_artifacts, say_empty, walked_results
from safeload._cli.running.workers import judge_each, require_shareable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from safeload import Loader
    from safeload._cli.running.walk import Selection
    from safeload._judging.report import Report
    from safeload._loading.loader import OnMismatch

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
    any_environment: bool = False
    on_version_mismatch: OnMismatch = "warn"
    trial: TrialLimits | None = None
    debug: bool = False

    def start(self) -> Callable[[str], Result]:
        """Return what judges one file, keyring and policy read already.

        Raises:
            KeyringError, PolicyFileError: they cannot be used, so no file could be judged.
            BadValueError: there are no such limits.
        """
        if self.verify:
            loader = self.loader(self.rollback_state)
            return timed(lambda path: judged(path, self._verified(loader, path)))
        import safeload

        policy, limits = self.standard.load()
        return timed(lambda path: judged(path, safeload.scan(path, policy=policy, limits=limits, deep=self.deep)))

    def loader(self, rollback_state: str | None = None) -> Loader:
        """Return what verifies, and loads where that is tried: then without the state, which loading would raise."""
        import safeload

        policy, limits = self.standard.load()
        return safeload.Loader(
            keyring=self.keyring,
            policy=policy,
            min_release=self.min_release,
            limits=limits,
            on_version_mismatch=self.on_version_mismatch,
            rollback_state=rollback_state,
        )

    def _verified(self, loader: Loader, path: str) -> Report:
        report = loader.verify(path, any_environment=self.any_environment)
        if self.trial is None or not report.allowed:
            return report
        found = load_in_child(self.loader, path, self.trial)
        return report if found is None else replace(report, findings=(found,))


@click.command(short_help="Check signature, bytes and content, without loading.")
@paths_argument
@keyring_option
@click.option("--min-release", metavar="N", type=click.IntRange(min=1), help="Refuse releases before N.")
@rollback_state_option
@click.option(
    "--any-environment",
    is_flag=True,
    help="Allow files that would not load here, for a machine that only checks them.",
)
@click.option("--fail-on-version-mismatch", is_flag=True, help="Refuse files that other package versions wrote.")
@click.option("--load", "trial", is_flag=True, help="Load each allowed file, too, in a process of its own.")
@click.option(
    "--load-seconds",
    metavar="N",
    type=click.IntRange(min=1),
    default=300,
    help="End a load by --load after N seconds.  [default: 300]",
)
@click.option(
    "--load-memory",
    metavar="BYTES",
    type=click.IntRange(min=1),
    help="Limit a load by --load to this address space.  [default: 8 GiB and 16 times the file]",
)
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
    any_environment: bool,
    fail_on_version_mismatch: bool,
    trial: bool,
    load_seconds: int,
    load_memory: int | None,
    selection: Selection,
    standard: Standard,
    jobs: int,
    out: Output,
) -> int:
    """Check all that safeload.load checks, and every byte, without loading: the step before a deployment.

    An allowed file would also load here: its modules and names are installed, in versions that can read it.

    PATHs are files, or folders. In folders, files that begin as pickles or as joblib's compressions do are looked at,
    whatever their names. How many others were skipped is said at the end.
    """
    task = _Judging(
        verify=True,
        standard=standard,
        keyring=keyring,
        min_release=min_release,
        rollback_state=rollback_state,
        any_environment=any_environment,
        on_version_mismatch="error" if fail_on_version_mismatch else "warn",
        trial=TrialLimits(load_seconds, load_memory) if trial else None,
        debug=session.debug,
    )
    if trial and any_environment:
        raise MisuseError(
            "cannot use --load with --any-environment: one loads here, the other is for files that are not loaded here",
            advice="Leave out one of them.",
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
    command = "verify" if task.verify else "scan"
    if task.verify:
        require_shareable(task.keyring, jobs if task.trial is None else max(jobs, 2))
    found = find_artifacts(paths, selection)
    check_output(out, found.files)
    with reported_failure(command, out):
        judge = task.start()
    results = walked_results(found)
    results += judge_each(task, judge, found.files, jobs, quiet=out.quiet)
    say_empty(found)
    deliver(results, command=command, policy=task.standard.policy, out=out, found=found)
    return exit_code(results, "nothing to check")
