"""Run the command line: as a process, as people do, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
