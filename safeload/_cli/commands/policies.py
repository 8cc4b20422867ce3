"""policy: list, show, check, compare and explain policies, and learn one from artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from safeload._cli.commands.policy_learn import learn
from safeload._cli.exit_codes import ALLOWED, REFUSED
from safeload._cli.options.common import debug_option, output_options, policy_option
from safeload._cli.report.deliver import deliver_facts
from safeload._cli.report.files import Output, check_output
from safeload._cli.terminal import Painter, plain, plain_lines, say_note, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeload.audit import Comparison, Explanation
    from safeload.policy import AllowRule, Policy

__all__ = ["policy"]


@click.group(no_args_is_help=False, short_help="List, show, check, compare, explain and learn policies.")
@debug_option
def policy() -> None:
    """List, show, check, compare, explain and learn policies: which names artifacts may use, and how.

    Everywhere, a pack is meant by its name (sklearn), a policy file by its path (./acme.toml), and several by their
    names with commas between them (sklearn,pandas). A pyproject.toml stands for those that its [tool.safeload] lists.
    """


policy.add_command(learn)


@policy.command("list", short_help="List the packs that ship with safeload.")
@output_options
@debug_option
def list_packs(out: Output) -> int:
    """List the packs that ship with safeload, and say what each is for."""
    from safeload.policy import Policy, pack_names

    check_output(out, ())
    packs = [(name, Policy.load(name)) for name in pack_names()]
    content = {
        "packs": [
            {
                "name": name,
                "description": pack.description,
                "extends": list(pack.files[-1].extends),
                "digest": pack.digest,
            }
            for name, pack in packs
        ]
    }
    width = max(len(name) for name, _ in packs) + 2

    def lines(paint: Painter) -> Iterator[str]:
        for name, pack in packs:
            first, *rest = wrapped(f"{name:<{width}}{pack.description}", paint.width, "", " " * width)
            yield paint(first[:width], bold=True) + first[width:]
            yield from rest

    deliver_facts(content, lambda paint: () if out.quiet else lines(paint), command="policy list", out=out)
    return ALLOWED


@policy.command(short_help="Print what a policy allows, with all that it extends.")
@click.argument("name", metavar="[NAME|PATH]", default="sklearn")
@output_options
@debug_option
def show(name: str, out: Output) -> int:
    """Print the policy in force, as one policy file: its own rules and those of all that it extends.

    NAME is a pack (sklearn if none is given), PATH a policy file.
    """
    from safeload.policy import Policy, policy_text

    check_output(out, ())
    shown = Policy.named(name)
    lines = policy_text(shown.name, shown.rules, shown.tightened, [shown.digest]).removesuffix("\n").split("\n")
    content = {**_named(shown), "rules": [rule.to_dict() for rule in shown.rules], "limits": shown.tightened}
    deliver_facts(content, lambda _: () if out.quiet else lines, command="policy show", out=out)
    return ALLOWED


@policy.command(short_help="Tell whether a policy file is valid.")
@click.argument("name", metavar="NAME|PATH")
@output_options
@debug_option
def check(name: str, out: Output) -> int:
    """Tell whether a policy, and all that it extends, is valid: exit code 0, or 2 with the file and line.

    Rules without a reason are valid, and noted: a reviewer has to write it. What the rules let happen, and whether
    the names are what they seem, is shown by: safeload audit --policy PATH.
    """
    from safeload.errors import PolicyFileError
    from safeload.policy import Policy

    check_output(out, ())
    try:
        checked = Policy.named(name)
    except PolicyFileError as error:
        content: dict[str, Any] = {"valid": False, "error": error.describe(""), "advice": error.advice}
        said = [f"not valid: {line}" for line in plain_lines(content["error"]).split("\n")]
        deliver_facts(content, lambda _: said if out.has_files else (), command="policy check", out=out)
        raise
    unreviewed = [rule.where for rule in checked.rules if not rule.is_reviewed]
    for where in () if out.quiet else unreviewed:
        say_note(f"{where}: no reason yet: say who reviewed it, and why it is safe to load")
    counts = {"rules": len(checked.rules), "globals": len(checked.names)}
    lines = (
        f"valid: policy {plain(checked.name)}, {counts['rules']} rules, {counts['globals']} globals",
        checked.digest,
    )
    content = {"valid": True, **_named(checked), **counts, "without_reason": unreviewed}
    deliver_facts(content, lambda _: () if out.quiet else lines, command="policy check", out=out)
    return ALLOWED


def _named(one: Policy) -> dict[str, Any]:
    return {"policy": {"name": one.name, "digest": one.digest}}


@policy.command(short_help="Say what a second policy allows that a first does not.")
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="AFTER")
@click.option("--exit-code", "gate", is_flag=True, help="Exit with 1 where AFTER allows anything that BEFORE does not.")
@output_options
@debug_option
def diff(before: str, after: str, gate: bool, out: Output) -> int:
    """Say what became allowed from policy BEFORE to policy AFTER, and what no longer is.

    Both are taken with all that they extend. Forms of arguments and states are compared as they are written.
    """
    from safeload.audit import compare
    from safeload.policy import Policy

    check_output(out, ())
    found = compare(Policy.named(before), Policy.named(after))
    deliver_facts(
        found.to_dict(), lambda paint: () if out.quiet else _difference(found, paint), command="policy diff", out=out
    )
    return REFUSED if gate and found.widened else ALLOWED


@policy.command(short_help="Say who allows a name, how and why; or why nothing does.")
@click.argument("name", metavar="GLOBAL")
@policy_option
@output_options
@debug_option
def explain(name: str, policy: str, out: Output) -> int:
    """Say what a policy makes of GLOBAL, such as sklearn.svm._classes.SVC: exit code 0 if it is allowed, 1 if not."""
    from safeload.audit import explain as explained
    from safeload.policy import Policy

    check_output(out, ())
    found = explained(Policy.named(policy), name)
    deliver_facts(
        found.to_dict(),
        lambda paint: () if out.quiet else _explanation(found, paint),
        command="policy explain",
        out=out,
    )
    return ALLOWED if found.verdict == "allowed" else REFUSED


# ----------------------------------------------------------------------------------------------------- text


def _difference(found: Comparison, paint: Painter) -> Iterator[str]:
    if not found.changes and not found.limits:
        yield "no difference: both allow the same"
        return
    titles = {"added": "became allowed", "changed": "changed", "removed": "no longer allowed"}
    for kind, title in titles.items():
        changes = [change for change in found.changes if change.kind == kind]
        if not changes:
            continue
        yield paint(f"{title}: {len(changes)} global{'' if len(changes) == 1 else 's'}", bold=True)
        for change in changes:
            yield f"  {plain(change.name)}"
            for sign, colour, uses in (("+", "red", change.gained), ("-", "green", change.lost)):
                for use in uses:
                    head, *rest = wrapped(f"{sign} {plain(use)}", paint.width, "      ", "        ")
                    yield head[:6] + paint(head[6:], colour)
                    yield from (paint(line, colour) for line in rest)
    if found.limits:
        yield paint("limits", bold=True)
        yield from (f"  {name}: {old} to {new}" for name, old, new in found.limits)


def _explanation(found: Explanation, paint: Painter) -> Iterator[str]:
    words = {"allowed": ("allowed", "green"), "denied": ("denied", "red"), "unlisted": ("not allowed", "red")}
    word, colour = words.get(found.verdict, ("no global", "red"))
    yield f"{paint(word, colour, bold=True)}  {plain(found.name)}"
    yield from wrapped(plain(found.reason), paint.width, "  ", "  ")
    if found.proven:
        yield "  The scanner itself proves the form of its calls, whatever the rule says."
    for rule in found.rules:
        yield ""
        yield from _rule(rule, paint)
    if found.pack_line:
        yield ""
        yield plain(found.pack_line)
    elif found.similar:
        yield ""
        yield "Listed, and perhaps what you mean:"
        yield from (f"  {plain(one)}" for one in found.similar)
    if found.suggestion:
        yield ""
        yield from wrapped(
            "If you have reviewed the code and trust it to be loaded, this rule in a policy of yours would allow it. "
            "What an artifact needs exactly, says: safeload policy learn FILE",
            paint.width,
        )
        yield ""
        yield from (f"    {line}" for line in found.suggestion.split("\n"))


def _rule(rule: AllowRule, paint: Painter) -> Iterator[str]:
    from safeload.policy import toml_value

    yield f"  {paint(plain(rule.where), bold=True)}"
    facts = [("roles", ", ".join(rule.roles))]
    if rule.args is not None:
        facts += [("args", f"({', '.join(map(toml_value, form))})") for form in rule.args]
    if rule.state is not None or "state" in rule.roles:
        facts.append(("state", toml_value("attributes" if rule.state is None else rule.state)))
    if rule.held_by:
        facts.append(("held by", ", ".join(rule.held_by)))
    if rule.check is not None:
        facts.append(("check", rule.check))
    if rule.makes_functions:
        facts.append(("makes", "function"))
    facts.append(("reason", " ".join(rule.reason.split()) or "none given"))
    if rule.expires is not None:
        facts.append(("expires", rule.expires.isoformat()))
    for title, value in facts:
        yield from wrapped(f"{title:<8}{plain_lines(value)}", paint.width, "    ", " " * 12)
