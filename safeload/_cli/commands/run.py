"""run: another program, unchanged, under the guard."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from safeload._cli.failures import BadValueError, MisuseError
from safeload._cli.options.common import Standard, debug_option, keyring_option, standard_options

if TYPE_CHECKING:
    from types import TracebackType

    from safeload.guard import Unsigned

__all__ = ["run"]

_VARIABLE = "SAFELOAD_GUARD"
_INTERRUPTED = 130  # as shells say it
_OURS = frozenset({__file__, "<frozen runpy>", runpy.__file__})


@click.command(
    short_help="Run a Python program whose joblib.load and pickle.load are verified.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-m", "module", metavar="MODULE", help="Run this module instead of a script, as python -m does.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="SCRIPT [ARGS]...")
@keyring_option
@standard_options
@click.option("--min-release", metavar="N", type=click.IntRange(min=1), help="Refuse releases before N.")
@click.option(
    "--unsigned",
    type=click.Choice(["refuse", "scan"]),
    default="refuse",
    show_default=True,
    help="Refuse artifacts without a manifest, or scan them and load what the policy allows, with a warning.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Also refuse every global that a pickle names elsewhere: pickle.loads, Unpicklers, worker processes.",
)
@debug_option
def run(
    module: str | None,
    arguments: tuple[str, ...],
    keyring: str | None,
    standard: Standard,
    min_release: int | None,
    unsigned: Unsigned,
    strict: bool,
) -> int:
    """Run a Python script, unchanged, under the guard: what it loads by joblib.load, pickle.load or
    pandas.read_pickle is verified first.

    The options of safeload stand before SCRIPT; all that follows belongs to the script. The exit code is that of the
    script: 1 if it ends with an error, such as a refused artifact. The environment variable SAFELOAD_GUARD is 1 while
    it runs.
    """  # noqa: D205
    if not arguments and module is None:
        raise MisuseError("there is nothing to run", advice="Name a script, or a module with -m.")
    if os.environ.get(_VARIABLE, "1") != "1":
        raise BadValueError(
            f"{_VARIABLE} is {os.environ[_VARIABLE]!r}, and can only be 1",
            advice=f"Unset {_VARIABLE}. To run the script without the guard, run it by python.",
        )
    import safeload
    import safeload.guard

    policy, limits = standard.load()
    loader = safeload.Loader(keyring=keyring, policy=policy, limits=limits, min_release=min_release)
    safeload.guard.install(loader, unsigned=unsigned, strict=strict)  # until the process ends: threads may go on
    os.environ[_VARIABLE] = "1"
    return _exit_code(module, arguments)


def _exit_code(module: str | None, arguments: tuple[str, ...]) -> int:
    """Run the program, and return the exit code that Python would have for it."""
    try:
        if module is None:
            script, *rest = arguments
            _set_path(Path(script).resolve().parent)
            sys.argv = [script, *rest]
            runpy.run_path(script, run_name="__main__")
        else:
            _set_path(Path.cwd())
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as done:
        if done.code is None or isinstance(done.code, int):
            return (done.code or 0) & 0xFF
        click.echo(done.code, err=True)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BaseException as error:  # noqa: BLE001 - as Python itself ends a program
        sys.excepthook(type(error), error, _of_the_program(error.__traceback__))
        return 1
    return 0


def _set_path(folder: Path) -> None:
    """Let imports begin at the script's folder, as they do if Python runs it."""
    if not sys.flags.safe_path:
        sys.path[0] = str(folder)


def _of_the_program(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames that are not the program's own."""
    while trace is not None and trace.tb_frame.f_code.co_filename in _OURS:
        trace = trace.tb_next
    return trace
