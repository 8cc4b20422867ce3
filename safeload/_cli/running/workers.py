"""Do the same with many files, in this process or in several; one file's failure never hides what becomes of others."""

from __future__ import annotations

import functools
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from safeload._cli.failures import MisuseError
from safeload._cli.report.result import Problem, Result, failure, problem_of
from safeload._cli.running.progress import progress
from safeload._cli.terminal import say_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Task", "each", "judge_each", "require_shareable"]

_MOST_FILES = 8  # that are handed to a worker together, and
_MOST_BYTES = 4 << 20
_DIED = Problem("a worker process died, perhaps for lack of memory", "Use fewer --jobs.")
T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Task(Protocol[T_co]):
    """What to do with each file; it can be sent to another process, and holds no key."""

    @property
    def debug(self) -> bool:
        """Whether to show where errors come from."""

    def start(self) -> Callable[[str], T_co]:
        """Return what works on one file, with all that is needed for it read already."""


def each(task: Task[T], work: Callable[[str], T], files: Sequence[str], jobs: int) -> Iterator[tuple[str, T | Problem]]:
    """Yield for every file, in their order, its result, or why there is none.

    `work` is what `task.start()` returned, for use in this process.
    """
    jobs = min(jobs, len(files))
    if jobs <= 1:
        for path in files:
            yield path, _one(work, path, debug=task.debug)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    if _has_one_thread():
        _Worker.debug, _Worker.work = task.debug, work
        start = functools.partial(ProcessPoolExecutor, jobs, multiprocessing.get_context("fork"))
    else:
        context = multiprocessing.get_context("spawn")
        start = functools.partial(ProcessPoolExecutor, jobs, context, _start_worker, (task,))
    done = 0
    batches = list(_batches(files, min(_MOST_FILES, len(files) // (8 * jobs))))
    try:
        with start() as pool:
            with _without_interrupts():
                working = pool.map(_work, batches)
            for batch, outcomes in zip(batches, working, strict=True):
                for path, outcome in zip(batch, outcomes, strict=True):
                    done += 1
                    yield path, outcome
    except BrokenProcessPool:
        for path in files[done:]:
            yield path, _DIED


def judge_each(
    task: Task[Result], work: Callable[[str], Result], files: Sequence[str], jobs: int, *, quiet: bool
) -> list[Result]:
    """Return the result for every file, with a progress bar; else as `each`."""
    results = []
    with progress("checking", len(files), quiet=quiet) as advance:
        for path, outcome in each(task, work, files, jobs):
            results.append(failure(path, outcome) if isinstance(outcome, Problem) else outcome)
            advance()
    return results


def require_shareable(keyring: str | None, jobs: int) -> None:
    """Refuse a keyring that several processes cannot read.

    Raises:
        MisuseError: it is passed as a descriptor.
    """
    from safeload.keys import is_shareable

    if jobs > 1 and not is_shareable(keyring):
        raise MisuseError(
            "cannot use several processes: a keyring that is passed as a descriptor reaches one process only",
            advice="Leave out --jobs and --load.",
        )


def _batches(files: Sequence[str], most: int) -> Iterator[list[str]]:
    """Put small files that follow each other together: to hand one over takes as long as to judge it."""
    batch: list[str] = []
    size = 0
    for path in files:
        try:
            its = Path(path).stat().st_size
        except (OSError, ValueError):
            its = 0  # the worker reports the error
        if batch and (len(batch) >= most or size + its > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += its
    if batch:
        yield batch


def _has_one_thread() -> bool:
    """Tell whether this process can be forked, by which workers have at once all that it has read and imported.

    A child that is forked off several threads (the progress bar's, numpy's) may hang.
    """
    try:
        return sys.platform == "linux" and len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


def _one(work: Callable[[str], T], path: str, *, debug: bool) -> T | Problem:
    try:
        return work(path)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is about this file alone
        if debug:
            say_traceback(error)
        return problem_of(error, path)  # as text: not every exception can be sent to another process


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
    work: Any


def _start_worker(task: Task[Any]) -> None:
    _Worker.debug = task.debug
    _Worker.work = task.start()


def _work(batch: list[str]) -> list[Any]:
    return [_one(_Worker.work, path, debug=_Worker.debug) for path in batch]
