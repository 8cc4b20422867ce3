"""Results: what was found about each file, as text or as JSON, on stdout or in a file."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safeload._cli.options.common import NOTHING, say_error, tool_version, worst
from safeload._cli.report.sarif import html_text, junit_text, sarif_text
from safeload._cli.report.second_opinion import opinion_lines
from safeload._cli.terminal import Painter, human_size, painter_for, plain, wrapped
from safeload._internal.atomic import EXCLUSIVE, SCRATCH_PREFIX
from safeload._storage.pair import MANIFEST_SUFFIX
from safeload.findings import FINDING_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from safeload._cli.options.common import Output
    from safeload._judging.report import Report
    from safeload._manifest.manifest import Manifest
    from safeload._scan import GlobalUse
    from safeload.policy import Policy

__all__ = [
    "SCHEMA_VERSION",
    "Result",
    "check_output",
    "deliver",
    "deliver_facts",
    "deliver_lines",
    "drop_output",
    "emit",
    "exit_code",
    "failure",
    "finding_lines",
    "json_text",
    "judged",
    "manifest_dict",
    "pack_lines",
    "result_lines",
    "said",
    "say_failures",
    "suggestion_lines",
    "summary",
]

SCHEMA_VERSION = 1
_NO_FILE = "there is no such file"

_MAX_SHOWN = 20  # findings of one file in text; JSON has them all
_INDENT = " " * 10


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


def _shown(message: str, path: str) -> str:
    """Return a message without the path that it begins with; elsewhere in it the path is put on one line."""
    return message.removeprefix(f"{path}: ").replace(path, plain(path))


def _named(message: str, path: str) -> str:
    """Return a message that names the file it is about, once."""
    shown = _shown(message, path)
    named = message.startswith(f"{path} ") or f" {path}: " in message
    return shown if named else f"{plain(path)}: {shown}"


# ------------------------------------------------------------------------------------------------- rendering


def deliver(
    results: Sequence[Result],
    *,
    command: str,
    policy: str,
    out: Output,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write results where they were asked for, and on stderr which files could not be judged.

    `policy` is what they were held against, as the user named it; `extra` is what JSON has beside the results.
    """
    listed = [result for result in results if not (out.quiet and result.verdict == "allowed")]
    if out.path is None:  # what went wrong has been said, on stderr; a file needs all of it
        listed = [result for result in listed if result.verdict != "error"]

    def lines(paint: Painter) -> Iterator[str]:
        yield from (line for result in listed for line in result_lines(result, paint))
        yield from suggestion_lines(listed, policy)
        if len(results) > 1 and not out.quiet:
            yield from ["", _summary(summary(results))] if listed else [_summary(summary(results))]

    deliver_lines(results, lines, command=command, out=out, extra=extra)


def deliver_lines(
    results: Sequence[Result],
    lines: Callable[[Painter], Iterable[str]],
    *,
    command: str,
    out: Output,
    extra: Mapping[str, Any] | None = None,
    sections: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write results in the format that was asked for; `lines` are its text.

    `extra` is what JSON has beside the results, `sections` what tables a page has below them.
    """
    say_failures(results)
    counts = summary(results)
    if out.layout == "sarif":
        text = sarif_text(results, command)
    elif out.layout == "junit":
        text = junit_text(results, command, counts)
    elif out.layout == "html":
        text = html_text(results, command, counts, sections)
    else:
        listed = [result.to_dict() for result in results]
        deliver_facts({"summary": counts, **(extra or {}), "results": listed}, lines, command=command, out=out)
        return
    emit(text, out.path)


def deliver_facts(
    content: Mapping[str, Any], lines: Callable[[Painter], Iterable[str]], *, command: str, out: Output
) -> None:
    """Write as JSON or, as these lines, as text."""
    if out.layout == "json":
        text = json_text({"command": command, **content})
    else:
        paint = painter_for(sys.stdout) if out.path is None else Painter(colours=False)
        text = "".join(f"{line}\n" for line in lines(paint))
    emit(text, out.path)


def say_failures(results: Iterable[Result]) -> None:
    """Say on stderr which files could not be judged."""
    for result in results:
        if result.verdict == "error":
            say_error(_named(result.error, result.path))


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


def json_text(content: Mapping[str, Any]) -> str:
    """Return a JSON document with its version and the tool's; ASCII, so that it shows and pipes anywhere."""
    head = {"schema_version": SCHEMA_VERSION, "tool": {"name": "safeload", "version": tool_version()}}
    return json.dumps({**head, **content}, indent=2, allow_nan=False) + "\n"


def _summary(counts: dict[str, int]) -> str:
    parts = [f"{counts['allowed']} allowed", f"{counts['refused']} refused"]
    if counts["error"]:
        parts.append(f"{counts['error']} could not be judged")
    return f"{counts['checked']} checked: {', '.join(parts)}"


def result_lines(result: Result, paint: Painter) -> Iterator[str]:
    """Say what became of one file."""
    word = result.word if result.verdict == "allowed" else result.verdict
    yield f"{paint.verdict(word)}  {paint(plain(result.path), bold=True)}"
    if result.verdict == "error":
        yield from _indented(_shown(result.error, result.path))
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
        yield from _finding(finding, result.path, paint)
    if len(findings) > _MAX_SHOWN:
        yield f"{_INDENT}… and {len(findings) - _MAX_SHOWN} more: --format json has them all"
    if result.missing:
        return  # see suggestion_lines
    # A message about trust or integrity says what to do itself, but for what is wrong inside of a manifest.
    codes = [one["code"] for one in findings if one["code"] == "SL102" or one["code"][:3] not in ("SL1", "SL2")]
    for advice in dict.fromkeys(FINDING_KINDS[code].advice for code in codes):
        for line in _wrapped(advice, paint):
            yield _INDENT + paint(line.removeprefix(_INDENT), "cyan")


def suggestion_lines(results: Iterable[Result], policy: str) -> list[str]:
    """Say which one policy, on top of the one in force, would allow all of those that a policy can allow."""
    from safeload.policy import Policy
    from safeload.policy._propose import proposed_policy

    lacking = [result for result in results if result.missing]
    if not lacking:
        return []
    what = "it" if len(lacking) == 1 else f"these {len(lacking)} files"
    text = proposed_policy((use for result in lacking for use in result.missing), [policy])
    return [
        "",
        f"If you have reviewed the code and trust it to be loaded, this policy would allow {what}:",
        "",
        *(f"    {line}".rstrip() for line in map(plain, text.split("\n"))),
        *(
            line
            for hint in pack_lines({use.name for result in lacking for use in result.missing}, Policy.load(policy))
            for line in ("", *wrapped(hint, 120, "", "  "))
        ),
    ]


def pack_lines(names: set[str], base: Policy) -> Iterator[str]:
    """Say which packs have names that a policy lacks: there they were reviewed."""
    from safeload.policy import Policy, pack_names

    for pack in pack_names():
        # A name that the policy has in another form, it has not from this pack.
        held = sorted(name for name in names.intersection(Policy.load(pack).names) if name not in base)
        if held:
            shown = ", ".join(held[:3]) + (f" and {len(held) - 3} more" if len(held) > 3 else "")
            yield f'the pack {pack} has {shown}, reviewed: rather than these rules, extends = [..., "{pack}"]'


def _finding(finding: dict[str, Any], path: str, paint: Painter) -> Iterator[str]:
    where = "" if finding["offset"] is None else f" at byte {finding['offset']}"
    name = "" if finding["global_name"] is None else f"{finding['global_name']}: "
    first, *rest = (name + _shown(finding["message"], path)).split("\n")
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


# --------------------------------------------------------------------------------------------------- writing


def emit(text: str, output: str | None) -> None:
    """Write to stdout, or to a file: whole or not at all.

    Raises:
        click.ClickException: it cannot be written.
    """
    try:
        if output is not None:
            _write_file(output, text)
        elif text:
            click.echo(text, nl=False, color=True)  # colours were decided on before
    except BrokenPipeError:
        drop_output()  # who reads has seen enough; the verdict is still the exit code
    except OSError as error:
        where = "stdout" if output is None else plain(output)
        raise click.ClickException(f"cannot write the result to {where}: {error.strerror or error}") from error


def drop_output() -> None:
    """Let nothing that is still buffered be written when the interpreter ends: nobody can read it."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (AttributeError, OSError, ValueError):
        pass  # stdout is closed, or is not a file


def check_output(output: str | None, inputs: Iterable[str]) -> None:
    """Refuse an output file in the place of what the command reads, before anything is done.

    That is an input or its manifest, the keyring, whatever else an argument names, and any other TOML file: keyrings
    and policies are, no report is.

    Raises:
        click.BadParameter: it is.
    """
    if output is None:
        return
    target = Path(output)
    if not target.exists():
        _require_apart(output, inputs)
    if not target.is_file():
        return
    for path in (*_named_files(), *inputs):
        for one in (path, f"{path}{MANIFEST_SUFFIX}"):
            with contextlib.suppress(OSError, ValueError):  # there is no such file, or that is no name of one
                if target.samefile(one):
                    raise click.BadParameter(
                        f"{plain(output)} is one of the files to check or use", param_hint="--output"
                    )
    if target.suffix.lower() == ".toml":
        raise click.BadParameter(
            f"{plain(output)} is there, and by its name no report but a keyring or policy", param_hint="--output"
        )


def _require_apart(output: str, inputs: Iterable[str]) -> None:
    """Refuse a report where the command itself will first write what is not there yet: manifests, keys, a policy."""
    params = click.get_current_context().params
    written = [params[name] for name in ("keyring", "target", "minimal") if params.get(name)]
    written += [f"{path}{MANIFEST_SUFFIX}" for path in inputs]
    if os.path.realpath(output) in map(os.path.realpath, written):
        raise click.BadParameter(f"{plain(output)} is what the command writes besides", param_hint="--output")


def _named_files() -> Iterator[str]:
    """Yield what may be a file's name among the arguments of the command that runs, and the default keyring's."""
    from safeload.errors import KeyringError
    from safeload.keys._source import default_path

    for name, value in click.get_current_context().params.items():
        if name != "output":
            yield from (one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, str))
    with contextlib.suppress(KeyringError):  # then there is none to lose
        yield default_path()


def _write_file(name: str, text: str) -> None:
    data = text.encode("utf-8", "backslashreplace")
    target = Path(os.path.realpath(name))  # a link stays a link, and one that leads nowhere is no error
    mode = None
    try:
        there = Path(name).stat()  # not of target: what /dev/stderr leads to may have no path
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISREG(there.st_mode):  # /dev/stderr, a named pipe: there is nothing to replace
            Path(name).write_bytes(data)
            return
        mode = stat.S_IMODE(there.st_mode)
    temporary = target.with_name(f"{SCRATCH_PREFIX}{secrets.token_hex(8)}")
    with os.fdopen(os.open(temporary, EXCLUSIVE, 0o666), "wb") as file:
        try:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
