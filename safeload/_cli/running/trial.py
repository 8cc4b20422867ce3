"""Load an artifact for real, in a process of its own with limits: what `verify --load` adds.

Only artifacts that were verified and allowed come here, so this is not about attacks: it is about classes that do not
take what was saved, and about native code that ends the process.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safeload.errors import SafeloadError, TripwireError
from safeload.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    import safeload

__all__ = ["TrialLimits", "load_in_child"]

_FAILED, _STOPPED = "SL608", "SL609"
_BASE_MEMORY = 8 << 30  # bytes of address space, of which threads of numerical libraries reserve some GiB each
_TIMES_THE_FILE = 16
_GRACE = 5  # seconds


@dataclass(frozen=True, slots=True)
class TrialLimits:
    """How many seconds one load may take, and how many bytes of address space; None: by the size of the file."""

    seconds: int
    memory: int | None = None

    def memory_for(self, path: str) -> int:
        """Return the bytes of address space for one file."""
        return self.memory or _BASE_MEMORY + _TIMES_THE_FILE * Path(path).stat().st_size


def load_in_child(make_loader: Callable[[], safeload.Loader], path: str, limits: TrialLimits) -> Finding | None:
    """Load an artifact in a new process; return what is wrong with that, None if nothing is.

    `make_loader` is sent to the process, so it holds names of files and no keys.
    """
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    memory = limits.memory_for(path)
    child = context.Process(target=_load, args=(make_loader, path, limits.seconds, memory, theirs))
    child.start()
    theirs.close()
    try:
        if not ours.poll(limits.seconds):
            return Finding(_FAILED, f"loading it took more than {limits.seconds} seconds (--load-seconds)")
        answer: tuple[str, str, str] | None = json.loads(ours.recv_bytes())  # never unpickled: an artifact ran there
    except EOFError:
        child.join()
        return Finding(_FAILED, _ended(child.exitcode or 0, limits.seconds))
    else:
        return None if answer is None else Finding(answer[0], answer[1], advice=answer[2])
    finally:
        child.kill()
        child.join()
        ours.close()


def _load(make_loader: Callable[[], safeload.Loader], path: str, seconds: int, memory: int, answer: Connection) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)  # what classes print while they are loaded belongs into no report
    found: tuple[str, str, str] | None = None
    try:
        loader = make_loader()
        _limit(resource.RLIMIT_AS, memory, memory)
        _limit(resource.RLIMIT_CPU, seconds, seconds + _GRACE)  # SIGXCPU, which tells why, and then SIGKILL
        _limit(resource.RLIMIT_CORE, 0, 0)
        loader.load(path)
    except MemoryError:
        found = _FAILED, f"loading it takes more than {memory:,} bytes of address space (--load-memory)", ""
    except Exception as error:  # noqa: BLE001 - whatever it is, the artifact did not load
        code = _STOPPED if isinstance(error, TripwireError) else _FAILED
        said = error.describe(path) if isinstance(error, SafeloadError) else f"{type(error).__name__}: {error}"
        found = code, said, getattr(error, "advice", None) or ""
    answer.send_bytes(json.dumps(found).encode())


def _limit(limit: int, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(limit, (soft, hard))
    except (OSError, ValueError):
        pass  # it is lower already, or this system has none


def _ended(code: int, seconds: int) -> str:
    if code == -signal.SIGXCPU:
        return f"loading it took more than {seconds} seconds of processor time (--load-seconds)"
    if code < 0:
        return f"loading it ended the process: {signal.Signals(-code).name}"
    return f"loading it ended the process with exit code {code}" if code else "loading it ended the process"
