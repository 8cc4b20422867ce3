"""Run the command line: as a process, as people do, and what came of it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any, NamedTuple

ALLOWED, REFUSED, ERROR, NOTHING, USAGE = range(5)


class Outcome(NamedTuple):
    """What a command that was run in this process (the fixture `run`) came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def command(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as people do."""
    return subprocess.run(
        [sys.executable, "-m", "safeload", *(os.fspath(argument) for argument in arguments)],
        check=False,
        **{"capture_output": True, "text": True, "timeout": 120, "stdin": subprocess.DEVNULL, **options},
    )


# A command whose progress bar appears after so many seconds, and not when the machine has been slow for one.
WITH_PATIENCE = """
import sys
from safeload._cli import main
from safeload._cli.running import progress

progress._PATIENCE = {patience}
__name__ == "__main__" and main(sys.argv[1:])
"""


def run_on_terminal(
    *arguments: str | Path, patience: float = 1000, columns: int = 0, **environment: str
) -> tuple[int, bytes]:
    """Run a command with stdout and stderr on a terminal; return its exit code and all that it showed."""
    leader, follower = pty.openpty()
    if columns:
        termios.tcsetwinsize(follower, (40, columns))
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            WITH_PATIENCE.format(patience=patience),
            *(os.fspath(argument) for argument in arguments),
        ],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", **environment},
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            block = os.read(leader, 4096)
        except OSError:  # how Linux says that the terminal was closed
            break
        if not block:
            break
        shown += block
    os.close(leader)
    return process.wait(), shown
