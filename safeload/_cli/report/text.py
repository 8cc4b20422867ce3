"""Results as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safeload._cli.report.second_opinion import opinion_lines
from safeload._cli.terminal import Painter, human_size, plain, wrapped
from safeload.findings import FINDING_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from safeload._cli.report.content import Content
    from safeload._cli.report.result import Result
    from safeload._cli.running.walk import Skipped
    from safeload._cli.terminal import Painter


__all__ = [
    "count_line",
    "finding_lines",
    "render",
    "result_lines",
    "skipped_count",
    "skipped_lines",
    "suggestion_lines",
]

_MAX_SHOWN = 20  # findings of one file in text; JSON has them all


_INDENT = " " * 10


def render(content: Content, paint: Painter) -> str:
    """Return the lines, each ended."""
    return "".join(f"{line}\n" for line in content.lines(paint))


def count_line(counts: dict[str, int]) -> str:
    """Say how many files were checked, and how many of each verdict."""
    parts = [f"{counts['allowed']} allowed", f"{counts['refused']} refused"]
    if counts["error"]:
        parts.append(f"{counts['error']} could not be judged")
    if counts["would_not_load_here"]:
        parts[1] += f" ({counts['would_not_load_here']} would only not load here)"
    return f"{counts['checked']} checked: {', '.join(parts)}{skipped_count(counts)}"


def skipped_count(counts: Mapping[str, int]) -> str:
    """Say how many files were not looked at, as the end of a line; nothing where there are none."""
    parts = []
    if counts["skipped"]:
        parts.append(f"{counts['skipped']} skipped (--list-skipped lists them)")
    if counts["excluded"]:
        parts.append(f"{counts['excluded']} excluded")
    return f"; {', '.join(parts)}" if parts else ""


def skipped_lines(skipped: Skipped, paint: Painter) -> Iterator[str]:
    """Say of a file why it was not looked at."""
    yield f"{paint.verdict('skipped')}  {paint(plain(skipped.path), bold=True)}"
    if skipped.code is None:
        yield from _wrapped(plain(skipped.reason), paint)
        return
    kind = FINDING_KINDS[skipped.code]
    yield from _wrapped(f"{kind.code} {kind.title}: {plain(skipped.reason)}", paint)
    yield from _wrapped(kind.advice, paint)


def result_lines(result: Result, paint: Painter) -> Iterator[str]:
    """Say what became of one file."""
    yield f"{paint.verdict(result.status)}  {paint(plain(result.path), bold=True)}"
    if result.verdict == "error":
        yield from _indented(result.error)
        yield from _advice([] if result.advice is None else [result.advice], paint)
    elif result.verdict == "allowed":
        yield _INDENT + paint(plain(result.facts) or _facts(result.data), dim=True)
    else:
        yield from finding_lines(result, paint)
    for note in result.notes:
        head, *rest = _wrapped(f"note {plain(note)}", paint)
        yield head.replace("note", paint("note", "yellow"), 1)
        yield from rest
    for line in opinion_lines(result.data.get("second_opinion"), paint):
        yield _INDENT + line


def _facts(data: dict[str, Any]) -> str:
    count = len(data["globals"])
    facts = [data["format"], human_size(data["size"]), f"{count} global{'' if count == 1 else 's'}"]
    if data["compression"] != "none":
        facts.insert(1, data["compression"])
    manifest = data.get("manifest")
    if manifest is not None:
        version = f" ({manifest['version']})" if "version" in manifest else ""
        facts += [f"release {manifest['release']}{version}", f"signed by {', '.join(manifest['key_ids'])}"]
    return plain(", ".join(facts))


def finding_lines(result: Result, paint: Painter) -> Iterator[str]:
    """Say each reason to refuse, and below them what to do."""
    findings = result.data.get("findings", [])
    for finding in findings[:_MAX_SHOWN]:
        yield from _finding(finding, paint)
    if len(findings) > _MAX_SHOWN:
        yield f"{_INDENT}… and {len(findings) - _MAX_SHOWN} more: --format json has them all"
    if result.missing:
        return  # see suggestion_lines
    yield from _advice(dict.fromkeys(finding["advice"] for finding in findings), paint)


def _advice(advices: Iterable[str], paint: Painter) -> Iterator[str]:
    for advice in advices:
        for line in advice.split("\n"):
            for part in _wrapped(plain(line), paint):
                yield _INDENT + paint(part.removeprefix(_INDENT), "cyan")


def suggestion_lines(results: Iterable[Result], policy: str) -> list[str]:
    """Say which one policy, on top of the one in force, would allow all of those that a policy can allow."""
    from safeload._judging.proposal import propose
    from safeload.policy import Policy

    lacking = [result for result in results if result.missing]
    if not lacking:
        return []
    what = "it" if len(lacking) == 1 else f"these {len(lacking)} files"
    proposal = propose([use for result in lacking for use in result.missing], Policy.named(policy))
    lines = [""]
    for line in map(plain, proposal.lines(what)):
        if line.startswith(" ") or not line:
            lines.append(line)
        elif line.startswith("The "):
            lines += [line, ""]  # in one line, to be copied
        else:
            lines += [*wrapped(line, 120), ""]
    return lines[:-1] if not proposal.rules else lines


def _finding(finding: dict[str, Any], paint: Painter) -> Iterator[str]:
    where = "" if finding["offset"] is None else f" at byte {finding['offset']}"
    name = "" if finding["global_name"] is None else f"{finding['global_name']}: "
    first, *rest = f"{name}{finding['message']}".split("\n")
    head, *lines = _wrapped(f"{finding['code']} {finding['title']}{where}: {plain(first)}", paint)
    yield head.replace(finding["code"], paint(finding["code"], "red", bold=True), 1)
    yield from lines
    for line in rest:
        yield from _wrapped(plain(line), paint)


def _wrapped(text: str, paint: Painter) -> list[str]:
    return wrapped(text, paint.width, _INDENT, _INDENT + "  ")


def _indented(text: str) -> Iterable[str]:
    # Also what a hostile text adds lines of: none of them can look like a verdict.
    return [_INDENT + plain(line) if line else "" for line in text.split("\n")]
