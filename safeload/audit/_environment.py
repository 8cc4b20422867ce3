"""Look up what names of a policy are in the installed environment, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["look_up"]

_MAX_SECONDS: Final = 300.0
_MAX_RESTARTS: Final = 8
# With the parent's own path: what it imports is what loading an artifact here would import.
_CODE: Final = """\
import sys
sys.path[:] = sys.argv[1:]
from safeload.audit._child import main
main()
"""


def look_up(modules: Mapping[str, Mapping[str, list[str]]]) -> dict[str, dict[str, Any]]:
    """Return what is known of each global `module.qualname`, after importing its module; see `_child`.

    `modules` has, for each module, the roles of each name in it. A module whose import ends the process, or takes too
    long, is said to be one that could not be imported; the others are looked into all the same.
    """
    facts: dict[str, dict[str, Any]] = {}
    left = {module: dict(names) for module, names in modules.items()}
    for _ in range(_MAX_RESTARTS):
        if not left:
            break
        lines, why = _ask(left)
        started = ""
        for line in lines:
            started = line["module"]
            if "names" in line:
                facts |= {f"{started}.{name}": one for name, one in line["names"].items()}
                left.pop(started, None)
                started = ""
        if started:  # the process ended in the middle of it
            facts |= {f"{started}.{name}": {"status": "not imported", "error": why} for name in left.pop(started)}
        elif not lines:
            break
    for module, names in left.items():
        facts |= {f"{module}.{name}": {"status": "not imported", "error": "it was not looked into"} for name in names}
    return facts


def _ask(modules: Mapping[str, Mapping[str, list[str]]]) -> tuple[list[dict[str, Any]], str]:
    question = json.dumps({"modules": list(modules.items())})
    why = f"importing it took more than {_MAX_SECONDS:.0f} seconds"
    try:
        done = subprocess.run(  # noqa: S603 - this very interpreter
            [sys.executable, "-c", _CODE, *sys.path],
            input=question.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_MAX_SECONDS,
            check=False,
        )
        output, why = done.stdout, f"importing it ended the process ({done.returncode})"
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
    lines = []
    for line in output.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break  # cut off
    return lines, why
