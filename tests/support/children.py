"""Other Python processes that see what this one sees."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def environment(*folders: Path) -> dict[str, str]:
    """Return this process's environment, with these folders and all of sys.path in PYTHONPATH."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, folders), *filter(None, sys.path)])}
