"""Policies that commands write: new files only, as an existing one may have been reviewed."""

from __future__ import annotations

import os
from pathlib import Path

from safeload._cli.failures import CommandError
from safeload._cli.report.files import emit
from safeload._cli.terminal import plain

__all__ = ["policy_name", "require_new", "write_policy"]


def require_new(path: str | None) -> None:
    """Refuse an existing file, before any work is done for it.

    Raises:
        CommandError: it is.
    """
    if path is not None and os.path.lexists(path):
        raise CommandError(f"cannot write the policy: {plain(path)} exists already", advice="Name another file.")


def policy_name(path: str | None, default: str) -> str:
    """Return what to call a policy that goes to this file."""
    stem = "" if path is None else Path(path).stem
    return stem if stem and stem.isprintable() else default


def write_policy(text: str, path: str | None) -> None:
    """Write a policy to a new file, whole or not at all, or to stdout.

    Raises:
        CommandError: it cannot be written, or the file is there by now.
    """
    if path is None:
        emit(text, None)
        return
    made = False
    try:
        with Path(path).open("x", encoding="utf-8", errors="backslashreplace") as file:
            made = True
            file.write(text)
    except BaseException as error:
        if made:
            Path(path).unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise CommandError(f"cannot write the policy to {plain(path)}: {error.strerror or error}") from error
