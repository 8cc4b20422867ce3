"""A copy of safeload, pure Python, with lines of its modules changed or modules added."""

from __future__ import annotations

import importlib.resources
import shutil
from pathlib import Path

import safeload


def changed_package(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """Copy the package below `folder`, replace text in modules (module, old text, new text), and return its root.

    The root is for PYTHONPATH. Each old text has to be in its module exactly once.
    """
    copy = folder / "copy" / "safeload"
    ignored = shutil.ignore_patterns("*.so", "__pycache__", "packs")
    shutil.copytree(Path(safeload.__file__).parent, copy, ignore=ignored)
    with importlib.resources.as_file(importlib.resources.files("safeload.policy.packs")) as packs:
        shutil.copytree(packs, copy / "policy" / "packs", ignore=shutil.ignore_patterns("__pycache__"))
    for module, old, new in changes:
        path = copy / module
        source = path.read_text()
        assert source.count(old) == 1
        path.write_text(source.replace(old, new))
    return copy.parent
