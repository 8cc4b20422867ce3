"""The error of a policy or rule that is not valid; the reader adds the file and line."""

from __future__ import annotations

__all__ = ["ExpiredRuleError", "RuleError"]


class RuleError(ValueError):
    """A policy, or one of its rules, is not valid. It never leaves the package: it becomes a `PolicyFileError`.

    Args:
        message: the fault, without a period at its end and without the advice.
        advice: how to correct it, in whole sentences.
    """

    def __init__(self, message: str, *, advice: str) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


class ExpiredRuleError(RuleError):
    """A rule is past its day."""
