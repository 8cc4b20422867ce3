"""What sign, re-sign and countersign share: one file after the other, each with a result, until Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safeload._cli.exit_codes import ERROR, REFUSED
from safeload._cli.report.result import Result, exit_code, failure, judged, timed
from safeload._cli.running.progress import progress
from safeload._cli.running.walk import walked_results
from safeload._cli.terminal import say_error, say_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from safeload._cli.running.walk import Found

__all__ = ["AGAIN", "sign_each", "signed_code"]

AGAIN = "what is done stays; run the same command again to go on"


def sign_each(
    sign_one: Callable[[str], Result], found: Found, *, quiet: bool, debug: bool
) -> tuple[list[Result], bool]:
    """Sign what was found, with a progress bar; return what became of each, and whether Ctrl-C ended it early."""
    results = walked_results(found)
    measured = timed(lambda path: _outcome(sign_one, path, debug=debug))
    with progress("signing", len(found.files), quiet=quiet) as advance:
        try:
            for path in found.files:
                results.append(measured(path))
                advance()
        except KeyboardInterrupt:
            return results, True
    return results, False


def _outcome(sign_one: Callable[[str], Result], path: str, *, debug: bool) -> Result:
    from safeload.errors import ReportedError

    try:
        return sign_one(path)
    except ReportedError as error:
        return judged(path, error.report)
    except Exception as error:  # noqa: BLE001 - one file's failure must not hide what was done with the others
        if debug:
            say_traceback(error)
        return failure(path, error)


def signed_code(results: Sequence[Result], found: Found, *, signed: int, interrupted: bool, then: str = AGAIN) -> int:
    """Return the exit code; say where nothing was signed, and how far it came if it was interrupted."""
    if interrupted:
        looked = len(results) - len(walked_results(found))
        say_error(f"interrupted, {looked} of {len(found.files)} looked at, {signed} signed and the rest not: {then}")
        return REFUSED if any(result.verdict == "refused" for result in results) else ERROR
    return exit_code(results, "nothing to sign")
