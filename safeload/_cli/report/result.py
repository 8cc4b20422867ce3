"""What became of each file, for all formats."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safeload._cli.exit_codes import NOTHING, worst
from safeload._cli.terminal import plain_lines, say_error
from safeload.findings import FINDING_KINDS, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from safeload._cli.running.walk import Found, Skipped
    from safeload._judging.report import Report
    from safeload._manifest.manifest import Manifest
    from safeload._scan import GlobalUse


__all__ = [
    "WOULD_NOT_LOAD",
    "Problem",
    "Result",
    "exit_code",
    "failure",
    "finding_rows",
    "judged",
    "manifest_dict",
    "problem_of",
    "row_place",
    "row_text",
    "skipped_dict",
    "skipped_rows",
    "summary",
    "timed",
]

_VERSION_MISMATCH = "SL601"
_UNCHECKED = "SL407"


WOULD_NOT_LOAD = "won't load"  # allowed, and refused all the same since it would not load here
_NO_FILE = "there is no such file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command found out about one file.

    `verdict` is "allowed", "refused" or "error", `word` what people read in its place, and `facts` in place of its
    format and size; `data` is the report as JSON holds it, `missing` what a policy would have to grant to allow what
    is refused, `notes` what else to know, `error` why it could not be judged and `advice` what to do about that,
    `seconds` how long it took.
    """

    path: str
    verdict: str
    word: str = ""
    facts: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    missing: tuple[GlobalUse, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    advice: str | None = None
    seconds: float = 0.0

    @property
    def status(self) -> str:
        """What people read: the verdict, or a word that says more."""
        return self.word or self.verdict

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it."""
        head: dict[str, Any] = {"path": self.path, "verdict": self.verdict, "findings": [], "globals": []}
        if self.verdict == "error":
            return {**head, "error": self.error, "advice": self.advice}
        return {**head, **self.data, "path": self.path, "verdict": self.verdict}


def timed(work: Callable[[str], Result]) -> Callable[[str], Result]:
    """Return work on one file that also notes how many seconds it took."""

    def measured(path: str) -> Result:
        start = time.perf_counter()
        result = work(path)
        return replace(result, seconds=time.perf_counter() - start)

    return measured


def judged(path: str, report: Report) -> Result:
    """Return the result for a report."""
    from safeload._judging.report import grantable_uses

    if report.error is not None:
        return failure(path, Problem(report.error, report.advice))
    data = report.to_dict()
    if report.manifest is not None:
        data["manifest"] = manifest_dict(report.manifest)
    return Result(
        path=path,
        verdict=report.verdict,
        word=WOULD_NOT_LOAD if report.only_here else "",
        data=data,
        missing=grantable_uses(report),
        notes=(*(f"not covered by the scan: {what}" for what in report.unchecked), *report.version_mismatches),
    )


def manifest_dict(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as JSON can hold it, less the chunks' digests: thousands, and of use to the reader only."""
    described = manifest.to_dict()
    del described["artifact"]["chunks"]["digests"]
    return described


class Problem(NamedTuple):
    """Why a file could not be judged, and what to do about it; it can be sent to another process."""

    message: str
    advice: str | None = None


def failure(path: str, problem: Problem | Exception) -> Result:
    """Return the result for a file that could not be judged."""
    if isinstance(problem, Exception):
        problem = problem_of(problem, path)
    return Result(path=path, verdict="error", error=problem.message, advice=problem.advice)


def problem_of(error: Exception, path: str) -> Problem:
    """Return what an error says, for a reader who sees `path` beside it."""
    from safeload.errors import SafeloadError

    if isinstance(error, SafeloadError):
        return Problem(error.describe(path), error.advice)
    if isinstance(error, FileNotFoundError) and error.strerror == os.strerror(errno.ENOENT):
        link = Path(path)
        return Problem(f"it is a link to {str(link.readlink())!r}, and {_NO_FILE}" if link.is_symlink() else _NO_FILE)
    if isinstance(error, OSError):
        return Problem(error.strerror or str(error))
    return Problem(
        f"internal error: {type(error).__name__}: {error}",
        "This is a bug in safeload. Run the command again with --debug, and report what it shows.",
    )


def exit_code(results: Iterable[Result], nothing: str) -> int:
    """Return the exit code for results; where there are none, say so in these words."""
    code = worst(result.verdict for result in results)
    if code == NOTHING:
        say_error(nothing)
    return code


def summary(results: Sequence[Result], found: Found | None = None) -> dict[str, int]:
    """Return how many results there are, how many of each verdict, and what the walk left out.

    `refused` also counts those that would only not load here.
    """
    counts = dict.fromkeys(("allowed", "refused", "error"), 0)
    for result in results:
        counts[result.verdict] += 1
    skipped, excluded = (0, 0) if found is None else (len(found.skipped), len(found.excluded))
    unloadable = sum(result.word == WOULD_NOT_LOAD for result in results)
    return {
        "checked": len(results),
        **counts,
        "would_not_load_here": unloadable,
        "skipped": skipped,
        "excluded": excluded,
    }


def skipped_dict(skipped: Skipped) -> dict[str, Any]:
    """Return a skipped file as JSON can hold it."""
    findings = [] if skipped.code is None else [Finding(skipped.code, skipped.reason).to_dict()]
    return {"path": skipped.path, "reason": skipped.reason, "findings": findings}


def finding_rows(result: Result) -> Iterator[dict[str, Any]]:
    """Yield the findings about one file with their severity, then its unchecked bytes and its version mismatches."""
    for finding in result.data.get("findings", ()):
        yield {**finding, "severity": finding.get("severity", "error")}
    for code, lines in (
        (_UNCHECKED, result.data.get("unchecked", ())),
        (_VERSION_MISMATCH, result.data.get("version_mismatches", ())),
    ):
        for line in lines:
            yield {**Finding(code, line).to_dict(), "severity": FINDING_KINDS[code].severity}


def skipped_rows(skipped: Iterable[Skipped]) -> Iterator[tuple[Result, dict[str, Any]]]:
    """Yield what is a finding among skipped files: a manifest without its artifact."""
    for one in skipped:
        if one.code is not None:
            (finding,) = skipped_dict(one)["findings"]
            yield (
                Result(path=one.path, verdict="skipped"),
                {**finding, "severity": FINDING_KINDS[finding["code"]].severity},
            )


def row_text(finding: Mapping[str, Any]) -> str:
    name = "" if finding["global_name"] is None else f"{finding['global_name']}: "
    return plain_lines(f"{name}{finding['message']}")


def row_place(finding: Mapping[str, Any]) -> str:
    if finding.get("line") is not None:
        return f"line {finding['line']}"
    return "" if finding["offset"] is None else f"byte {finding['offset']}"
