"""Where a report goes: to stdout, or to a file that is replaced as a whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from safeload._cli.failures import BadValueError, CommandError, MisuseError
from safeload._cli.terminal import (
    plain,
)
from safeload._internal.atomic import SCRATCH_PREFIX, new_file
from safeload._storage.pair import MANIFEST_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


__all__ = [
    "Output",
    "Place",
    "check_output",
    "drop_output",
    "emit",
    "paired_output",
]


@dataclass(frozen=True, slots=True)
class Place:
    """One report of a run: its format, and the file that it goes to; None is stdout."""

    layout: str = "text"
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """How and where the result is written: one report or several, and whether in few words."""

    reports: tuple[Place, ...] = (Place(),)
    quiet: bool = False

    @property
    def has_files(self) -> bool:
        """Whether every report goes to a file, so that stdout has none."""
        return all(place.path is not None for place in self.reports)


def paired_output(layouts: Sequence[str], outputs: Sequence[str], quiet: bool) -> Output:
    """Return what --format and --output mean together: the first of each is one report, the second another.

    Raises:
        MisuseError: there is not one file for each of several formats, or two reports would go to the same file.
    """
    if max(len(layouts), len(outputs)) <= 1:
        (layout,) = layouts or ("text",)
        (path,) = outputs or ("-",)
        return Output((Place(layout, None if path == "-" else path),), quiet)
    if len(layouts) != len(outputs):
        raise MisuseError(
            f"cannot write several reports: --format is given {len(layouts)} times and --output {len(outputs)} times",
            advice="Give each --format its own --output: --format json -o a.json --format sarif -o b.sarif.",
        )
    if len({"-" if path == "-" else os.path.realpath(path) for path in outputs}) < len(outputs):
        raise MisuseError("cannot write two reports to the same file", advice="Name another file for one of them.")
    places = (Place(layout, None if path == "-" else path) for layout, path in zip(layouts, outputs, strict=True))
    return Output(tuple(places), quiet)


def emit(text: str, output: str | None) -> None:
    """Write to stdout, or to a file: whole or not at all.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        if output is not None:
            _write_file(output, text)
        elif text:
            click.echo(text, nl=False, color=True)  # colours were decided on before
    except BrokenPipeError:
        drop_output()  # who reads has seen enough; the verdict is still the exit code
    except OSError as error:
        where = "stdout" if output is None else plain(output)
        raise CommandError(f"cannot write the result to {where}: {error.strerror or error}") from error


def drop_output() -> None:
    """Let nothing that is still buffered be written when the interpreter ends: nobody can read it."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (AttributeError, OSError, ValueError):
        pass  # stdout is closed, or is not a file


def check_output(out: Output, inputs: Iterable[str]) -> None:
    """Refuse an output file that the command also reads, before anything is done.

    That is an input or its manifest, the keyring, whatever else an argument names, and any other TOML file: keyrings
    and policies are, no report is.

    Raises:
        BadValueError: it is.
    """
    inputs = tuple(inputs)
    for place in out.reports:
        if place.path is not None:
            _check_path(place.path, inputs)


def _check_path(output: str, inputs: Sequence[str]) -> None:
    target = Path(output)
    if not target.exists():
        _require_apart(output, inputs)
    if not target.is_file():
        return
    for path in (*_named_files(), *inputs):
        for one in (path, f"{path}{MANIFEST_SUFFIX}"):
            with contextlib.suppress(OSError, ValueError):  # there is no such file, or that is no name of one
                if target.samefile(one):
                    raise BadValueError(
                        f"{plain(output)} is one of the files that the command reads",
                        advice="Name another file.",
                        option="--output",
                    )
    if target.suffix.lower() == ".toml":
        raise BadValueError(
            f"{plain(output)} exists, and its name is that of a keyring or policy, not of a report",
            advice="Name another file.",
            option="--output",
        )


def _require_apart(output: str, inputs: Iterable[str]) -> None:
    """Refuse a report where the command itself will first write what is not there yet: manifests, keys, a policy."""
    params = click.get_current_context().params
    written = [params[name] for name in ("keyring", "target", "minimal") if params.get(name)]
    written += [f"{path}{MANIFEST_SUFFIX}" for path in inputs]
    if os.path.realpath(output) in map(os.path.realpath, written):
        raise BadValueError(
            f"{plain(output)} is a file that the command itself writes", advice="Name another file.", option="--output"
        )


def _named_files() -> Iterator[str]:
    """Yield what may be a file's name among the arguments of the command that runs, and the default keyring's."""
    from safeload.errors import KeyringError
    from safeload.keys import default_keyring_path

    for name, value in click.get_current_context().params.items():
        if name != "outputs":
            yield from (one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, str))
    with contextlib.suppress(KeyringError):  # then there is none to lose
        yield default_keyring_path()


def _write_file(name: str, text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    target = Path(os.path.realpath(name))  # a link stays a link, and one that leads nowhere is no error
    try:
        there = Path(name).stat()  # not of target: what /dev/stderr leads to may have no path
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISREG(there.st_mode):  # /dev/stderr, a named pipe: there is nothing to replace
            Path(name).write_bytes(data)
            return
    temporary = target.with_name(f"{SCRATCH_PREFIX}{secrets.token_hex(8)}")
    with new_file(temporary, 0o666, like=target) as new:
        new.write(data)
        new.settle()
        new.place(target, overwrite=True)
