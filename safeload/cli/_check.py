"""verify and scan: judge many files, in one process or in several."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from safeload.cli._common import (
    NOTHING,
    Session,
    debug_option,
    keyring_option,
    paths_argument,
    policy_option,
    report_options,
    say_error,
    say_note,
    say_traceback,
    worst,
)
from safeload.cli._output import Result, check_output, deliver, failure, judged
from safeload.cli._progress import progress
from safeload.cli._text import plain
from safeload.cli._walk import find_artifacts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from safeload.reports import Report

__all__ = ["scan", "verify"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What to do with each file; it can be sent to another process, and holds no key."""

    verify: bool
    policy: str
    deep: bool = False
    keyring: str | None = None
    min_release: int | None = None
    floors: str | None = None
    debug: bool = False

    def judge(self) -> Callable[[str], Report]:
        """Return what judges one file, keyring and policy read already.

        Raises:
            KeyringError, PolicyFileError: they cannot be used, so no file could be judged.
        """
        from safeload import api
        from safeload.policy import Policy

        policy = Policy.load(self.policy)
        if self.verify:
            return api.Loader(
                keyring=self.keyring, policy=policy, min_release=self.min_release, floors=self.floors
            ).verify
        return lambda path: api.scan(path, policy=policy, deep=self.deep)


_jobs_option = click.option(
    "--jobs",
    "-j",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many files to check at once, each in its own process.",
)


@click.command(short_help="Check signature, bytes and content, without loading.")
@paths_argument
@keyring_option
@policy_option
@click.option("--min-release", metavar="N", type=click.IntRange(min=1), help="Refuse releases before N.")
@click.option(
    "--floors",
    metavar="FILE",
    type=click.Path(),
    help="Refuse releases older than this state file remembers. Nothing is added to it.",
)
@_jobs_option
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
    jobs: int,
    layout: str,
    output: str | None,
    quiet: bool,
) -> int:
    """Check all that safeload.load checks, and every byte, without loading: the step before a deployment.

    PATHs are files, or folders, which are walked for .joblib, .pkl and .pickle files, compressed ones too.
    """
    task = _Task(
        verify=True, policy=policy, keyring=keyring, min_release=min_release, floors=floors, debug=session.debug
    )
    return _check(task, paths, jobs=jobs, layout=layout, output=output, quiet=quiet)


@click.command(short_help="Look into files of unknown origin. Needs no key.")
@paths_argument
@policy_option
@click.option("--deep", is_flag=True, help="Have fickling read it, too: a difference is a finding. Slow.")
@_jobs_option
@report_options
@debug_option
@click.pass_obj
def scan(
    session: Session,
    paths: tuple[str, ...],
    policy: str,
    deep: bool,
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
    task = _Task(verify=False, policy=policy, deep=deep, debug=session.debug)
    return _check(task, paths, jobs=jobs, layout=layout, output=output, quiet=quiet)


def _check(task: _Task, paths: Sequence[str], *, jobs: int, layout: str, output: str | None, quiet: bool) -> int:
    found = find_artifacts(paths)
    check_output(output, found.files)
    judge = task.judge()
    results = [Result(path=path, verdict="error", error=why) for path, why in found.unreadable]
    with progress("checking", len(found.files), quiet=quiet) as advance:
        for result in _judge_all(task, judge, found.files, jobs):
            results.append(result)
            advance()
    for folder in found.empty:
        say_note(f"{plain(folder)}: no .joblib, .pkl or .pickle files in this folder")
    command = "verify" if task.verify else "scan"
    deliver(results, command=command, policy=task.policy, layout=layout, output=output, quiet=quiet)
    code = worst(result.verdict for result in results)
    if code == NOTHING:
        say_error("nothing to check")
    return code


def _judge_all(task: _Task, judge: Callable[[str], Report], files: Sequence[str], jobs: int) -> Iterator[Result]:
    jobs = min(jobs, len(files))
    if jobs <= 1:
        for path in files:
            yield _judge_one(judge, path, debug=task.debug)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # spawn: forking a process that has threads (the progress bar's, numpy's) may hang the child.
    context = multiprocessing.get_context("spawn")
    done = 0
    try:
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(task,)) as pool:
            with _without_interrupts():
                working = pool.map(_work, files)
            for result in working:
                done += 1
                yield result
    except BrokenProcessPool:
        for path in files[done:]:
            why = "a worker process died, perhaps for lack of memory: try fewer --jobs"
            yield Result(path=path, verdict="error", error=why)


def _judge_one(judge: Callable[[str], Report], path: str, *, debug: bool) -> Result:
    try:
        return judged(path, judge(path))
    except Exception as error:  # noqa: BLE001 - one file's failure must not hide what is found out about the others
        if debug:
            say_traceback(error)
        return failure(path, error)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let processes that are started here ignore Ctrl-C: their parent gets it too, and ends the work."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Worker:
    """What a worker process keeps from one file to the next: keyring and policy are read once in each."""

    debug = False
    judge: Callable[[str], Report]


def _start_worker(task: _Task) -> None:
    _Worker.debug = task.debug
    _Worker.judge = staticmethod(task.judge())


def _work(path: str) -> Result:
    return _judge_one(_Worker.judge, path, debug=_Worker.debug)
