"""The registry of report formats.

A format is one module with a function `render(content, paint)` that returns the whole report, and one row here. The
options, the help and the tests follow from this table. A module is imported when its format is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeload._cli.report.content import Content
    from safeload._cli.terminal import Painter

    Render = Callable[[Content, Painter], str]

__all__ = ["FORMATS", "Format", "format_names", "render"]


@dataclass(frozen=True, slots=True)
class Format:
    """One row: the name for `--format`, the module, and whether only a list of judged files can be written in it."""

    name: str
    module: str
    files_only: bool = False


FORMATS: list[Format] = [
    Format("text", "safeload._cli.report.text"),
    Format("json", "safeload._cli.report.json_document"),
    Format("sarif", "safeload._cli.report.sarif", files_only=True),
    Format("junit", "safeload._cli.report.junit", files_only=True),
    Format("html", "safeload._cli.report.html", files_only=True),
    Format("github", "safeload._cli.report.github", files_only=True),
    Format("gitlab", "safeload._cli.report.gitlab", files_only=True),
    Format("markdown", "safeload._cli.report.markdown", files_only=True),
]


def format_names(*, files: bool) -> list[str]:
    """Return the names of all formats, or of those for commands that judge no files."""
    return [row.name for row in FORMATS if files or not row.files_only]


def render(name: str, content: Content, paint: Painter) -> str:
    """Return the report in the format of this name."""
    (module,) = (row.module for row in FORMATS if row.name == name)
    return cast("Render", import_module(module).render)(content, paint)
