"""What became of each file, for all formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeload._cli.exit_codes import NOTHING, worst
from safeload._cli.terminal import (
    plain,
    plain_lines,
    say_error,
)
from safeload.findings import FINDING_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from safeload._judging.report import Report
    from safeload._manifest.manifest import Manifest
    from safeload._scan import GlobalUse


__all__ = [
    "Result",
    "exit_code",
    "failure",
    "finding_rows",
    "judged",
    "manifest_dict",
    "named",
    "row_place",
    "row_text",
    "said",
    "shown",
    "summary",
]

_VERSION_MISMATCH = "SL601"


_NO_FILE = "there is no such file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command found out about one file.

    `verdict` is "allowed", "refused" or "error", `word` what text says of an allowed one, and `facts` in place of its
    format and size; `data` is the report as JSON holds it, `missing` what a policy would have to grant to allow what
    is refused, `notes` what else to know, `error` why it could not be judged.
    """

    path: str
    verdict: str
    word: str = "allowed"
    facts: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    missing: tuple[GlobalUse, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it."""
        head: dict[str, Any] = {"path": self.path, "verdict": self.verdict, "findings": [], "globals": []}
        if self.verdict == "error":
            return {**head, "error": self.error}
        return {**head, **self.data, "path": self.path, "verdict": self.verdict}


def judged(path: str, report: Report) -> Result:
    """Return the result for a report."""
    from safeload._judging.report import missing_uses

    if report.error is not None:
        return Result(path=path, verdict="error", error=report.error)
    data = report.to_dict()
    if report.manifest is not None:
        data["manifest"] = manifest_dict(report.manifest)
    return Result(
        path=path, verdict=report.verdict, data=data, missing=missing_uses(report), notes=report.version_mismatches
    )


def manifest_dict(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as JSON can hold it, less the chunks' digests: thousands, and of use to the reader only."""
    described = manifest.to_dict()
    del described["artifact"]["chunks"]["digests"]
    return described


def failure(path: str, error: Exception) -> Result:
    """Return the result for a file that could not be judged."""
    return Result(path=path, verdict="error", error=said(error, path))


def said(error: Exception, path: str) -> str:
    """Say why a file could not be judged."""
    from safeload.errors import SafeloadError

    if isinstance(error, FileNotFoundError):
        link = Path(path)
        return f"it is a link to {str(link.readlink())!r}, and {_NO_FILE}" if link.is_symlink() else _NO_FILE
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, SafeloadError):
        return str(error)
    return f"internal error, which is a bug in safeload: {type(error).__name__}: {error} (--debug shows where)"


def shown(message: str, path: str) -> str:
    """Return a message without the path that it begins with; elsewhere in it the path is put on one line."""
    return message.removeprefix(f"{path}: ").replace(path, plain(path))


def named(message: str, path: str) -> str:
    """Return a message that names the file it is about, once."""
    text = shown(message, path)
    says_it = message.startswith(f"{path} ") or f" {path}: " in message
    return text if says_it else f"{plain(path)}: {text}"


def exit_code(results: Iterable[Result], nothing: str) -> int:
    """Return the exit code for results; where there are none, say so in these words."""
    code = worst(result.verdict for result in results)
    if code == NOTHING:
        say_error(nothing)
    return code


def summary(results: Sequence[Result]) -> dict[str, int]:
    """Return how many results there are, and how many of each verdict."""
    counts = dict.fromkeys(("allowed", "refused", "error"), 0)
    for result in results:
        counts[result.verdict] += 1
    return {"checked": len(results), **counts}


def finding_rows(result: Result) -> Iterator[dict[str, Any]]:
    """Yield what was found about one file, each with its severity; that other versions wrote it, too."""
    for finding in result.data.get("findings", ()):
        yield {**finding, "severity": finding.get("severity") or FINDING_KINDS[finding["code"]].severity}
    for line in result.data.get("version_mismatches", ()):
        rule = FINDING_KINDS[_VERSION_MISMATCH]
        yield {
            "code": rule.code,
            "title": rule.title,
            "message": line,
            "offset": None,
            "global_name": None,
            "severity": rule.severity,
        }


def row_text(finding: Mapping[str, Any]) -> str:
    name = "" if finding["global_name"] is None else f"{finding['global_name']}: "
    return plain_lines(f"{name}{finding['message']}")


def row_place(finding: Mapping[str, Any]) -> str:
    if finding.get("line") is not None:
        return f"line {finding['line']}"
    return "" if finding["offset"] is None else f"byte {finding['offset']}"
