"""The command line: `safeload COMMAND`, a thin layer over the Python API.

Exit codes: 0 allowed, 1 refused, 2 could not be judged, 3 nothing to check, 4 usage. Results go to stdout, all
else to stderr. This is the only part of safeload that prints.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import click

from safeload._cli.commands.audit import audit
from safeload._cli.commands.check import scan, verify
from safeload._cli.commands.demo import demo
from safeload._cli.commands.inspect import inspect
from safeload._cli.commands.keys import key
from safeload._cli.commands.policies import policy
from safeload._cli.commands.re_sign import countersign, re_sign
from safeload._cli.commands.reissue import reissue
from safeload._cli.commands.run import run
from safeload._cli.commands.sign import sign
from safeload._cli.commands.store import store
from safeload._cli.exit_codes import ERROR, REFUSED, USAGE
from safeload._cli.failures import advice_of
from safeload._cli.options.common import Session, debug_option
from safeload._cli.report.files import drop_output
from safeload._cli.report.result import problem_of
from safeload._cli.terminal import say_error, say_traceback, scanner_kind, tool_version
from safeload._internal.secrecy import without_secrets
from safeload.errors import REFUSALS, SafeloadError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(f"safeload {tool_version()} ({scanner_kind()})")
        context.exit()


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 allowed, 1 refused, 2 could not be judged, 3 nothing to check, 4 usage.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version, and whether the scanner is compiled.",
)
@debug_option
@click.pass_context
def _cli(context: click.Context) -> None:
    """Sign, verify and scan joblib and pickle artifacts before loading them.

    New here? Run: safeload demo
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(USAGE)


for _command in (demo, sign, verify, scan, run, inspect, audit, countersign, re_sign, reissue, store, key, policy):
    _cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a file name must not break the report
    session = Session()
    code = _run(arguments, session)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        code = code or ERROR
        drop_output()
    sys.exit(code)


def _run(arguments: Sequence[str] | None, session: Session) -> int:
    """Run one command and return its exit code, whatever happens."""
    try:
        code = _cli.main(
            None if arguments is None else list(arguments),
            prog_name="safeload",
            standalone_mode=False,
            obj=session,
        )
    except click.UsageError as error:
        if error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
            click.echo(f"Help: {error.ctx.command_path} --help", err=True)
        given = sys.argv[1:] if arguments is None else list(arguments)
        say_error(without_secrets(error.format_message(), given), advice_of(error))
        return USAGE
    except click.ClickException as error:
        say_error(error.format_message(), advice_of(error))
        return ERROR
    except (click.Abort, KeyboardInterrupt):
        say_error("interrupted")
        return ERROR
    except REFUSALS as error:
        return _failed(error, session, REFUSED)
    except (SafeloadError, OSError) as error:
        return _failed(error, session, ERROR)
    except SystemExit:
        # click's own way out when nobody reads its output; its code would mean "refused".
        drop_output()
        return ERROR
    except Exception as error:  # noqa: BLE001 - whatever else it is, it must not look like a verdict
        return _failed(error, session, ERROR)
    return code if isinstance(code, int) else ERROR  # no verdict is not a good one


def _failed(error: Exception, session: Session, code: int) -> int:
    if session.debug:
        say_traceback(error)
    where = error.path if isinstance(error, SafeloadError) else getattr(error, "filename", None)
    problem = problem_of(error, where or "")
    say_error(problem.message if where is None else f"{where}: {problem.message}", problem.advice)
    return code
