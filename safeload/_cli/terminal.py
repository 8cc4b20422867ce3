"""Text for terminals: names from files and artifacts are shown, and never obeyed.

A file name or a string from an artifact may hold escape sequences that rewrite the screen, or characters that
reorder or hide what is beside them. Whatever is not printable is shown as its escape.
"""

from __future__ import annotations

import os
import traceback
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime


__all__ = [
    "Painter",
    "human_age",
    "human_size",
    "painter_for",
    "plain",
    "plain_lines",
    "say_error",
    "say_note",
    "say_traceback",
    "scanner_kind",
    "table",
    "tool_version",
    "wrapped",
]

_PIPE_WIDTH = 10_000  # lines that go to a file or another program are not wrapped


def plain(text: str) -> str:
    """Return a text on one line, every unprintable character (controls, bidi marks, surrogates) escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def plain_lines(text: str) -> str:
    """Return a text with its line breaks kept, and all else as `plain` does it."""
    return "\n".join(map(plain, text.split("\n")))


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def human_size(size: int) -> str:
    """Return a size in bytes, as people read it."""
    if size < 1000:
        return f"{size} bytes"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5:
            return f"{value:.3g} {unit}"
    return f"{value / 1000:.3g} TB"


def human_age(moment: datetime, now: datetime) -> str:
    """Return how long ago something was, as people say it."""
    seconds = (now - moment).total_seconds()
    if seconds < 0:
        return "in the future"
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"


def wrapped(text: str, width: int | None, first: str = "", rest: str = "") -> list[str]:
    """Return a line, printable already, as the lines that fit a width; as the one that it is where there is none."""
    import textwrap

    if width is None or len(first) + len(text) <= width:
        return [first + text]
    return textwrap.wrap(
        text, max(width, len(rest) + 20), initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


class Painter:
    """Colours, where the stream shows them."""

    def __init__(self, *, colours: bool, width: int | None = None) -> None:
        self.colours = colours
        self.width = width

    def __call__(self, text: str, colour: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
        """Return the text, which has to be printable already, in a colour."""
        if not self.colours:
            return text
        return click.style(text, fg=colour, bold=bold or None, dim=dim or None)

    def verdict(self, verdict: str) -> str:
        """Return a verdict in its colour, padded so that what follows is aligned."""
        colour = {"allowed": "green", "signed": "green", "refused": "red"}.get(verdict, "yellow")
        return self(f"{verdict:<8}", colour, bold=True)


def painter_for(stream: TextIO | None) -> Painter:
    """Return the painter for a stream: colours only on a terminal, and not where NO_COLOR is set."""
    if stream is None:  # it was closed before we started
        return Painter(colours=False)
    terminal = stream.isatty()
    # https://no-color.org: any value that is not empty
    colours = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = None
    if terminal:
        try:
            width = os.get_terminal_size(stream.fileno()).columns or None
        except (OSError, ValueError):
            pass
    return Painter(colours=colours, width=width)


def table(paint: Painter, headings: Sequence[str], rows: Iterable[Sequence[str]], *, indent: str = "") -> str:
    """Return rows as a table without lines; the cells are made printable here."""
    import io

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(plain(cell)) for cell in row))  # Text: cells are not markup
    console = Console(
        file=io.StringIO(),
        width=max((paint.width or _PIPE_WIDTH) - len(indent), 20),
        force_terminal=paint.colours,
        color_system="standard" if paint.colours else None,
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(grid)
    return "\n".join(indent + line.rstrip() for line in captured.get().rstrip("\n").split("\n"))


def say_error(message: str, advice: str | None = None) -> None:
    """Write an error to stderr: a line (or more) for what happened, and one below for what to do."""
    click.echo(f"safeload: {plain_lines(message)}", err=True)
    _say_advice(advice)


def say_note(message: str, advice: str | None = None) -> None:
    """Write a note to stderr, and below it what to do."""
    click.echo(f"safeload: note: {plain_lines(message)}", err=True)
    _say_advice(advice)


def _say_advice(advice: str | None) -> None:
    for line in advice.split("\n") if advice else ():
        click.echo(f"  {plain(line)}", err=True)


def say_traceback(error: BaseException) -> None:
    """Show on stderr where an error came from."""
    click.echo(plain_lines("".join(traceback.format_exception(error))), err=True, nl=False)


def tool_version() -> str:
    """Return the version of safeload that runs."""
    import safeload

    return safeload.__version__


def scanner_kind() -> str:
    """Say which scanner runs, compiled or pure Python, and what to do about the slower one."""
    from safeload._scan import COMPILED

    if COMPILED:
        return "compiled scanner"
    return "pure Python scanner: slower. Install a C compiler and reinstall safeload to compile it"
