"""One structured log record per decision, on the logger "safeload"; docs/reference/logging.md describes its fields.

Nothing is printed: without a handler of the application's, the records go nowhere.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Self

from safeload.errors import REFUSALS, ReportedError, SafeloadError, VerificationError

if TYPE_CHECKING:
    from types import TracebackType

    from safeload._judging.report import Report
    from safeload._manifest.manifest import Manifest

__all__ = ["LOGGER", "Decision", "decision"]

LOGGER = logging.getLogger("safeload")
LOGGER.addHandler(logging.NullHandler())  # else Python prints warnings that nobody handles

_MAX_REASON = 4000  # characters of a record's field
_MAX_SHOWN = 400  # and of its line
_LEVELS = {"allowed": logging.INFO, "refused": logging.WARNING, "error": logging.ERROR}


class Decision:
    """One decision: what is known of it while it is being made, and, at the end of its block, the record of it."""

    __slots__ = (
        "_started",
        "action",
        "advice",
        "codes",
        "manifest",
        "path",
        "policy_digest",
        "reason",
        "unsigned",
        "verdict",
    )

    def __init__(self, action: str, path: str, policy_digest: str | None) -> None:
        self.action = action
        self.path = path
        self.policy_digest = policy_digest
        self.verdict = "allowed"
        self.codes: tuple[str, ...] = ()
        self.reason: str | None = None
        self.advice: str | None = None
        self.manifest: Manifest | None = None
        self.unsigned = False  # it was loaded all the same
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.failed(error)
        if LOGGER.isEnabledFor(self.level):
            _log(self, time.monotonic() - self._started)

    @property
    def level(self) -> int:
        """The level of the record."""
        return max(_LEVELS[self.verdict], logging.WARNING if self.unsigned else logging.NOTSET)

    def reported(self, report: Report) -> None:
        """Take the verdict from a report."""
        self.verdict = "allowed" if report.allowed else "refused"
        self.codes = tuple(dict.fromkeys(finding.code for finding in report.findings))

    def failed(self, error: BaseException) -> None:
        """Take the verdict from what was raised."""
        self.verdict = "refused" if isinstance(error, REFUSALS) else "error"
        if isinstance(error, SafeloadError):
            self.reason = error.describe(self.path)[:_MAX_REASON]
            self.advice = None if error.advice is None else error.advice[:_MAX_REASON]
        else:  # the text of other exceptions may quote the object that was being saved or loaded
            self.reason = str(error)[:_MAX_REASON] if isinstance(error, OSError) else type(error).__name__
        if isinstance(error, ReportedError) and error.report is not None:
            self.codes = tuple(dict.fromkeys(finding.code for finding in error.report.findings))
        elif isinstance(error, VerificationError):
            self.codes = (error.code,)


def decision(action: str, path: str, policy_digest: str | None = None) -> Decision:
    """Log one record about what is decided in the `with` block that this is for, also when it raises."""
    return Decision(action, path, policy_digest)


def _log(made: Decision, duration: float) -> None:
    manifest = made.manifest
    key_id = None if manifest is None else ",".join(manifest.key_ids)
    fields = {
        "action": made.action,
        "path": made.path,
        "verdict": made.verdict,
        "codes": list(made.codes),
        "key_id": key_id,
        "digest": None if manifest is None else f"sha256:{manifest.sha256}",
        "policy_digest": made.policy_digest,
        "release": None if manifest is None else manifest.release,
        "duration": round(duration, 6),
        "reason": made.reason,
        "advice": made.advice,
    }
    # ascii() keeps a line a line: a file may be named after what an attacker would like to read in a log.
    LOGGER.log(
        made.level,
        "%s %s: path=%s codes=%s key=%s release=%s%s",
        made.action,
        made.verdict,
        ascii(made.path),
        ",".join(made.codes) or "-",
        "-" if key_id is None else ascii(key_id),
        fields["release"] or "-",
        "" if made.reason is None else f" reason={made.reason[:_MAX_SHOWN]!a}",
        extra=fields,
    )
