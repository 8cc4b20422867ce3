"""The errors of commands: each says what happened and what to do apart, as `SafeloadError` does."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["BadValueError", "CommandError", "MisuseError", "advice_of"]


class CommandError(click.ClickException):
    """The command cannot be done; exit code 2.

    Args:
        message: what happened and why, without a period at its end.
        advice: what to do about it, in whole sentences.
    """

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice


class MisuseError(click.UsageError):
    """The command was called in a way that it cannot do; exit code 4. The arguments are those of `CommandError`."""

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice


class BadValueError(click.BadParameter):
    """One option or argument has a value that it cannot have; exit code 4.

    The arguments are those of `CommandError`, and `option`, such as "--limit", outside of the option's own callback.
    """

    def __init__(self, message: str, *, advice: str | None = None, option: str | None = None) -> None:
        super().__init__(message, param_hint=option)
        self.advice = advice


def advice_of(error: BaseException) -> str | None:
    """Return what to do about an error, if it is one that says so."""
    advice: Any = getattr(error, "advice", None)
    return advice if isinstance(advice, str) else None
