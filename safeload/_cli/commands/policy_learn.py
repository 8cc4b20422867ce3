"""policy learn: propose the rules that trusted artifacts need, for a person to review."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from safeload._cli.exit_codes import ALLOWED, ERROR, NOTHING, REFUSED
from safeload._cli.options.common import PATH, debug_option, limits_option, limits_with, paths_argument, policy_names
from safeload._cli.options.walking import selection_options
from safeload._cli.report.deliver import say_failures
from safeload._cli.report.policy_files import policy_name, require_new, write_policy
from safeload._cli.report.result import failure, summary
from safeload._cli.report.text import skipped_count
from safeload._cli.running.walk import find_artifacts, say_empty, walked_results
from safeload._cli.terminal import plain, say_error, say_note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeload._cli.running.walk import Selection
    from safeload.audit import Lesson

__all__ = ["learn"]

_MAX_SHOWN = 5


@click.command(short_help="Propose the rules that trusted artifacts need, to be reviewed.")
@paths_argument
@click.option(
    "--on",
    metavar="NAME|PATH",
    multiple=True,
    callback=policy_names,
    help=(
        "The policy to build on: a pack's name, or the path of a policy file. Repeat it, or separate names with "
        "commas, for several. Default: those that SAFELOAD_POLICY names, else sklearn."
    ),
)
@click.option("--name", metavar="NAME", help="What to call the policy. Default: as the file is called.")
@click.option("--output", "-o", metavar="FILE", type=PATH, help="Write it to FILE, which must not be there yet.")
@limits_option
@selection_options
@debug_option
def learn(
    paths: tuple[str, ...],
    on: str,
    name: str | None,
    output: str | None,
    limits: dict[str, int],
    selection: Selection,
) -> int:
    """Propose the smallest policy that allows artifacts which you trust, on top of another one.

    Nothing is unpickled. The proposal lists each name with the roles and the forms of arguments that were seen: read
    the code behind each, narrow what can be narrowed, and write down the reason. What the denylist denies is never
    proposed, and neither is anything else in a file that names it.

    Exit code 0: with the proposal all are allowed; 1: some would still be refused; 2: some could not be read.
    """
    from safeload.audit import learn as learned
    from safeload.policy import Policy, split_names

    if output == "-":
        output = None
    require_new(output)
    base = Policy.named(on)
    most = limits_with(base, limits)
    found = find_artifacts(paths, selection)
    lesson = learned(
        found.files,
        base,
        extends=[_reference(one, output) for one in split_names(on)],
        name=name or policy_name(output, "my-policy"),
        limits=most,
    )
    failures = [failure(path, error) for path, error in lesson.failed]
    say_failures(failures)
    for result in walked_results(found):
        for why in (result.error, *(one["message"] for one in result.data.get("findings", ()))):
            if why:
                say_error(f"{plain(result.path)}: {why}")
    for one in found.shown:
        say_note(f"skipped {plain(one.path)}: {plain(one.reason)}")
    say_empty(found)
    counts = summary([], found)
    if counts["skipped"] or counts["excluded"]:
        say_note(f"{len(found.files)} looked at{skipped_count(counts)}")
    if not found.files and not found.unreadable:
        say_error("nothing to learn from")
        return NOTHING
    read = len(found.files) - len(failures)
    if lesson.text:
        write_policy("".join(f"{line}\n" for line in _header(lesson, read, on)) + lesson.text, output)
        say_note(_next_steps(lesson, output))
    for line in _remaining(lesson):
        say_error(line)
    if not lesson.text and not lesson.remaining and read:
        say_note(f"nothing to learn: policy {plain(on)} allows {'it' if read == 1 else f'all {read}'} already")
    if lesson.remaining or (selection.strict and found.skipped):
        return REFUSED
    return ERROR if failures or found.unreadable else ALLOWED


def _header(lesson: Lesson, read: int, on: str) -> Iterator[str]:
    count = len({use.name for use in lesson.uses})
    files = f"{read} artifact{'' if read == 1 else 's'}"
    if not count:
        yield f"# Proposed from {files}: the shipped packs allow all that policy {plain(on)} does not."
        return
    beyond = ", ".join((plain(on), *lesson.packs))
    yield f"# Proposed from {files}: {count} name{'' if count == 1 else 's'} beyond"
    yield f"# policy {beyond}. Read the code behind each before you use it: the writer of an artifact"
    yield "# chooses the arguments and the state. Then put the reason in the place of each TODO."


def _remaining(lesson: Lesson) -> Iterator[str]:
    for path, findings in lesson.remaining:
        yield f"{plain(path)}: would still be refused, and for this no rule is proposed:"
        for finding in findings[:_MAX_SHOWN]:
            named = "" if finding.global_name is None else f"{finding.global_name}: "
            yield f"  {finding.code} {finding.title}: {named}{finding.message}"
        if len(findings) > _MAX_SHOWN:
            yield f"  … and {len(findings) - _MAX_SHOWN} more: safeload scan shows them"


def _next_steps(lesson: Lesson, output: str | None) -> str:
    count = len({use.name for use in lesson.uses})
    if not count:
        check = "" if output is None else f"; then: safeload audit --policy {plain(_as_path(output))}"
        return f"nothing to review: the shipped packs allow it{check}"
    review = f"review {'it' if count == 1 else f'these {count} names'}, and write a reason for each rule"
    return review if output is None else f"{review}; then: safeload audit --policy {plain(_as_path(output))}"


def _as_path(name: str) -> str:
    """Return a path that is not taken for a pack's name."""
    return name if os.sep in name or name.endswith(".toml") else f"./{name}"


def _reference(on: str, output: str | None) -> str:
    """Return how the new policy names the one that it extends: a pack by its name, a file by where it is from there."""
    from safeload.policy import pack_names

    if on in pack_names():
        return on
    folder = Path() if output is None else Path(output).parent
    return Path(os.path.relpath(on, folder)).as_posix()
