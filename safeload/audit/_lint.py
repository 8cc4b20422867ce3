"""Lint a policy: rules that let code run, that stand for something else than they say, or that do nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from safeload._internal.clock import utc_now
from safeload._scan import FORM_NAMES
from safeload.audit._compare import rule_uses
from safeload.audit._environment import look_up
from safeload.findings import FINDING_KINDS
from safeload.policy import Policy, denied_reason, survey_policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from safeload._internal.files import PathLike
    from safeload.policy import AllowRule, Fault, PolicyFile

__all__ = ["LintFinding", "PolicyLint", "lint"]

_SOON = timedelta(days=30)
_MAX_NAMES = 8
_RUN_ANYTHING = ("it runs code", "it compiles", "it imports", "it unpickles", "it loads models")
_BASE = "sklearn.base.BaseEstimator.__setstate__"  # every estimator has it: it fills __dict__
_BY_SEVERITY = ("error", "warning", "note")
# What a release of safeload has reviewed with its packs is not asked of whoever uses them; still, it is noted.
_REVIEWED_IN_PACKS = frozenset({"SL704", "SL705", "SL706", "SL707", "SL708", "SL711", "SL712"})


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One remark about one rule: `severity` is "error", "warning" or "note", `names` are the names that it concerns."""

    code: str
    severity: str
    origin: str
    line: int | None
    message: str
    names: tuple[str, ...] = ()
    advice: str = ""

    def __post_init__(self) -> None:
        if not self.advice:
            object.__setattr__(self, "advice", FINDING_KINDS[self.code].advice)

    @property
    def title(self) -> str:
        """Return the title of its code: a few words."""
        return FINDING_KINDS[self.code].title

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON can hold it, with the keys that findings about artifacts have."""
        return {
            "code": self.code,
            "title": self.title,
            "severity": self.severity,
            "message": self.message,
            "advice": self.advice,
            "line": self.line,
            "offset": None,
            "global_name": self.names[0] if len(self.names) == 1 else None,
            "names": list(self.names),
        }


@dataclass(frozen=True, slots=True)
class PolicyLint:
    """A policy and what there is to say about it.

    `digest` is None where rules of it are not valid, so that nothing is loaded under it; `files` are those that it is
    made of, what is extended first; `findings` are sorted, the gravest first; `looked_up` is how many names were found
    in this environment, None if it was not looked into.
    """

    name: str
    digest: str | None
    files: tuple[PolicyFile, ...]
    findings: tuple[LintFinding, ...]
    looked_up: int | None

    @property
    def safe(self) -> bool:
        """Whether no remark is an error."""
        return not any(finding.severity == "error" for finding in self.findings)


def lint(source: PathLike | Sequence[PathLike], *, environment: bool = True, packs: bool = False) -> PolicyLint:
    """Look a policy over, with all that it extends.

    Notes about rules of the shipped packs, which were reviewed with the release, are left out unless `packs` is true.

    With `environment`, every module that the policy names is imported, in a process of its own, to see what the names
    are here: it is the reviewer's environment that is audited.

    Raises:
        PolicyFileError: there is none, or it is so wrong that its rules cannot be told.
    """
    survey = survey_policy(source)
    files, faults = survey.files, survey.faults
    rules = [rule for file in files for rule in file.rules]
    facts = look_up(_questions(rules)) if environment else {}
    findings = [_fault(fault) for fault in faults]
    findings += [_as_reviewed(finding) for finding in (*_repeated(rules), *_unreachable(rules))]
    for rule in rules:
        findings += map(_as_reviewed, _of_rule(rule))
        findings += map(_as_reviewed, _of_names(rule, facts))
    if not packs:
        findings = [one for one in findings if one.severity != "note" or not one.origin.startswith("pack ")]
    found = sum(one["status"] == "found" for one in facts.values())
    return PolicyLint(
        name=survey.name,
        digest=None if faults else Policy(files).digest,
        files=files,
        findings=tuple(sorted(findings, key=_order)),
        looked_up=found if environment else None,
    )


def _order(finding: LintFinding) -> tuple[int, bool, str, int, str]:
    rank = _BY_SEVERITY.index(finding.severity)
    return rank, finding.origin.startswith("pack "), finding.origin, finding.line or 0, finding.code


def _questions(rules: Sequence[AllowRule]) -> dict[str, dict[str, list[str]]]:
    asked: dict[str, dict[str, list[str]]] = {}
    for rule in rules:
        for name in rule.names:
            roles = asked.setdefault(rule.module, {}).setdefault(name, [])
            roles += [role for role in rule.roles if role not in roles]
    return asked


def _remark(rule: AllowRule, code: str, message: str, names: Sequence[str] = (), severity: str = "") -> LintFinding:
    full = tuple(f"{rule.module}.{name}" for name in names)
    return LintFinding(code, severity or FINDING_KINDS[code].severity, rule.origin, rule.line, message, full)


def _as_reviewed(finding: LintFinding) -> LintFinding:
    if finding.code not in _REVIEWED_IN_PACKS or not finding.origin.startswith("pack "):
        return finding
    return LintFinding(finding.code, "note", finding.origin, finding.line, finding.message, finding.names)


def _fault(fault: Fault) -> LintFinding:
    code = "SL702" if fault.expired else "SL701"
    return LintFinding(code, "error", fault.origin, fault.line, fault.message, advice=fault.advice)


def _listed(names: Sequence[str], most: int = _MAX_NAMES) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


# ------------------------------------------------------------------------------------- what the text says


def _repeated(rules: Sequence[AllowRule]) -> Iterator[LintFinding]:
    """Yield the rules of which another one, before it, allows all the same."""
    granted: dict[str, dict[str, AllowRule]] = {}
    for rule in rules:
        uses = rule_uses(rule)
        before: dict[str, list[str]] = {}
        for name in rule.names:
            known = granted.setdefault(f"{rule.module}.{name}", {})
            if all(use in known for use in uses):
                before.setdefault(known[uses[0]].where, []).append(name)
            for use in uses:
                known.setdefault(use, rule)
        for where, names in before.items():
            yield _remark(rule, "SL709", f"{_listed(names)}: {where} allows it already", names)


def _unreachable(rules: Sequence[AllowRule]) -> Iterator[LintFinding]:
    """Yield the rules for the state or items of what no rule lets be made."""
    made = {f"{rule.module}.{name}" for rule in rules if {"call", "new"} & set(rule.roles) for name in rule.names}
    for rule in rules:
        roles = [role for role in rule.roles if role in ("state", "items")]
        names = [name for name in rule.names if f"{rule.module}.{name}" not in made]
        if roles and names:
            message = f"{_listed(names)}: {' and '.join(roles)} of what no rule lets be made by new or call"
            yield _remark(rule, "SL708", message, names)


def _of_rule(rule: AllowRule) -> Iterator[LintFinding]:
    if not rule.is_reviewed:
        yield _remark(rule, "SL710", f"{_listed(rule.names)}: nobody has written down why it is safe", rule.names)
    if rule.expires is not None and rule.expires - utc_now().date() <= _SOON:
        yield _remark(rule, "SL713", f"{_listed(rule.names)}: on {rule.expires}", rule.names)
    if "call" in rule.roles and any(form and all(part == "any" for part in form) for form in rule.args or ()):
        yield _remark(
            rule, "SL712", f"{_listed(rule.names)}: may be called with whatever the artifact says", rule.names
        )
    if _takes_any_keys(rule.state):
        yield _remark(rule, "SL711", f"{_listed(rule.names)}: BUILD would set attributes such as __class__", rule.names)


def _takes_any_keys(state: Any) -> bool:
    """Tell whether a state may be, or hold as that of slots, a dict of any keys."""
    if isinstance(state, str):
        return state in ("any", "dict", "tuple")
    if isinstance(state, dict):
        if "tuple" in state:
            return len(state["tuple"]) == 2 and any(part in ("any", "dict") for part in state["tuple"])
        return any(map(_takes_any_keys, state.get("any_of", ())))
    return False


# --------------------------------------------------------------------------- what the names are, here


def _of_names(rule: AllowRule, facts: Mapping[str, Mapping[str, Any]]) -> Iterator[LintFinding]:
    missing: dict[tuple[str, str], list[str]] = {}
    others: dict[str, str] = {}
    for name in rule.names:
        fact = facts.get(f"{rule.module}.{name}")
        if fact is None:
            continue
        if fact["status"] == "found":
            findings = list(_of_name(rule, name, fact))
            yield from findings
            if fact["is"] not in (None, f"{rule.module}.{name}") and not findings:
                others[name] = f"{rule.module}.{name} is {fact['is']} here"
        else:
            missing.setdefault((fact["status"], fact.get("error", "")), []).append(name)
    if others:
        yield _remark(rule, "SL705", _listed(list(others.values()), 3), list(others))
    for (status, error), names in missing.items():
        if status == "not imported":
            yield _remark(rule, "SL707", f"{rule.module}: {error}", names)
        else:
            what = "there is no such module" if status == "no module" else f"it has no {_listed(names)}"
            yield _remark(rule, "SL706", f"{rule.module}: {what}", names)


def _of_name(rule: AllowRule, name: str, fact: Mapping[str, Any]) -> Iterator[LintFinding]:
    full, own = f"{rule.module}.{name}", fact["is"]
    if fact["kind"] == "module":
        yield _remark(rule, "SL703", f"{full} is the module {own}: no pickle names a module", [name])
        return
    reason = denied_reason(own) if own is not None and own != full else None
    if reason is not None:
        yield _remark(rule, "SL703", f"{full} is {own}: {reason}", [name])
        return
    if fact["kind"] != "class" and "new" in rule.roles:
        yield _remark(rule, "SL708", f"{full} is no class, so nothing can be made of it by new", [name])
    if fact["kind"] == "value" and "call" in rule.roles:
        yield _remark(rule, "SL708", f"{full} cannot be called", [name])
    if "items" in rule.roles and fact.get("has_items") is False:
        yield _remark(rule, "SL708", f"{full} has no append, extend, add or __setitem__ to add items by", [name])
    for base in fact.get("denied_bases", ()):
        yield _remark(rule, "SL704", f"{full} is a kind of {base}: {denied_reason(base)}", [name], "warning")
    for role, what, reaches, why in fact["reaches"]:
        if role in rule.roles and full not in FORM_NAMES:
            grave = role != "import" and why.startswith(_RUN_ANYTHING)
            severity = "error" if grave else "warning"
            yield _remark(rule, "SL704", f"{full}: {what}, by {role}, uses {reaches}: {why}", [name], severity)
    setstate = fact.get("setstate")
    if setstate not in (None, _BASE) and "state" in rule.roles and rule.state is None and not rule.in_pack:
        own_code = setstate == "native code" or setstate.split(".")[0] == rule.module.split(".")[0]
        if own_code:
            yield _remark(rule, "SL714", f"{full}: {setstate} runs, with attributes of any kind", [name])
