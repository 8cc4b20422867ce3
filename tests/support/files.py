"""Files, and what is not one, as tests put them in a reader's way."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def put_non_file(path: Path, kind: str) -> None:
    """Make a folder, a pipe, or a link to a device that never ends."""
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
