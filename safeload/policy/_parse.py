"""Read policy files: TOML in, checked rules out; anything that is not understood is an error, never ignored."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from safeload._internal.clock import utc_now
from safeload._scan import CHECKS, FORM_NAMES, OWN, ROLES, Limits, is_plain_module, is_plain_name
from safeload.errors import PolicyFileError
from safeload.policy._denylist import denied_reason, is_confined
from safeload.policy._faults import ExpiredRuleError, RuleError
from safeload.policy._lines import Lines
from safeload.policy._named import NamedPatterns
from safeload.policy._packs import pack_names, read_pack
from safeload.policy._patterns import compile_arguments, compile_pattern

__all__ = [
    "AllowRule",
    "Fault",
    "PolicyFile",
    "is_pack_name",
    "parse_policy",
    "policy_document",
    "read_policy",
    "read_policy_text",
]

MAX_POLICY_BYTES = 1 << 20
_POLICY_KEYS = {
    "name", "version", "extends", "patterns", "allow", "limits", "description", "distribution", "imports",
}  # fmt: skip
_RULE_KEYS = {
    "module", "names", "roles", "args", "state", "form", "check", "makes", "events", "held_by", "unchecked", "reason",
    "expires",
}  # fmt: skip
_PACK_ORIGIN = "pack "
_PACK = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", re.ASCII)
_EVENT = re.compile(r"ctypes\.dlsym [A-Za-z_][A-Za-z0-9_]{0,99}|ctypes\.cdata/buffer", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowRule:
    """One `[[allow]]` of the policy file `origin`, a path or "pack NAME"; `line` is where it begins, if known."""

    module: str
    names: tuple[str, ...]
    roles: tuple[str, ...]
    args: list[Any] | None
    state: Any
    reason: str
    expires: date | None
    origin: str
    line: int | None
    events: tuple[str, ...] = ()
    unchecked: str = ""
    held_by: tuple[str, ...] = ()
    check: str | None = None
    makes_functions: bool = False

    @property
    def where(self) -> str:
        """The file and line that it stands at."""
        return _place(self.origin, self.line)

    @property
    def in_pack(self) -> bool:
        """Whether it ships with safeload."""
        return self.origin.startswith(_PACK_ORIGIN)

    @property
    def is_reviewed(self) -> bool:
        """Whether somebody has written down why it is safe: a reason that is more than a note to write one."""
        reason = self.reason.strip()
        return bool(reason) and not reason.upper().startswith("TODO") and not reason.endswith("…")

    def to_dict(self) -> dict[str, Any]:
        """Return the rule as JSON can hold it."""
        return {
            "where": self.where,
            "module": self.module,
            "names": list(self.names),
            "roles": list(self.roles),
            "args": self.args,
            "state": self.state,
            "events": list(self.events),
            "unchecked": self.unchecked,
            "held_by": list(self.held_by),
            "check": self.check,
            "makes": "function" if self.makes_functions else None,
            "reason": self.reason,
            "expires": None if self.expires is None else self.expires.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """One policy file, before what it extends is added."""

    name: str
    version: int
    origin: str
    extends: tuple[str, ...]
    rules: tuple[AllowRule, ...]
    limits: dict[str, int]
    extends_at: str  # file and line that say what it extends
    description: str = ""  # on one line


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule of a policy file that is not valid, or has expired.

    Attributes:
        origin: the file, as a path or "pack NAME".
        line: the line of its `[[allow]]`, if known.
        message: the fault, without the advice.
        advice: how to correct the rule.
        expired: whether the only fault is that the rule is past its day.
    """

    origin: str
    line: int | None
    message: str
    advice: str
    expired: bool = False


def read_policy(source: str | Path, faults: list[Fault] | None = None) -> PolicyFile:
    """Read a policy: a pack by its name, or a file by its path (a Path, or a string with a / or .toml in it).

    With `faults`, rules that are not valid are left out and noted there: for an audit, never for a policy to be used.

    Raises:
        PolicyFileError: there is none, or it is not a valid policy; the message says the file and line.
    """
    if isinstance(source, str) and not _is_path(source):
        if not _PACK.fullmatch(source) or source not in pack_names():
            raise _no_pack(source)
        text, document = read_pack(source)
        origin = f"{_PACK_ORIGIN}{source}"
        return _read(text, document or policy_document(text, origin), origin, None, faults)
    path = Path(source)
    text = read_policy_text(path)
    return _read(text, policy_document(text, str(path)), str(path), path.parent, faults)


def read_policy_text(path: Path) -> str:
    """Return the text of a policy file.

    Raises:
        PolicyFileError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        meant = os.path.isfile(f"{path}.toml")  # noqa: PTH113 - any text will do
        raise PolicyFileError(
            f"{path}: the policy cannot be read: {error.strerror or error}",
            advice=f"There is {path}.toml: use that path." if meant else "Check the path.",
        ) from error
    if len(data) > MAX_POLICY_BYTES:
        raise PolicyFileError(
            f"{path}: the policy has more than {MAX_POLICY_BYTES} bytes, which nobody can review",
            advice="Split it, or check the path.",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyFileError(
            f"{path}: the policy is not UTF-8 (byte {error.start})", advice="Save the file as UTF-8, or check the path."
        ) from None


def is_pack_name(name: str) -> bool:
    """Return whether a text has the form of a pack's name, so that it is not a path."""
    return _PACK.fullmatch(name) is not None


def _is_path(source: str) -> bool:
    return "/" in source or "\\" in source or source.endswith(".toml") or source in (".", "..")


def _no_pack(name: str) -> PolicyFileError:
    """Return the error for a name of no pack; a file of this name is named, and never taken for it."""
    known = ", ".join(pack_names())
    if not name:
        return PolicyFileError(
            "the name of the policy is empty", advice=f"Give the path of a file, or the name of a pack: {known}."
        )
    if "," in name:
        return PolicyFileError(
            f"there is no policy pack {name!r}", advice=f"For several policies, pass a list: {name.split(',')!r}"
        )
    meant = f"{name}.toml" if os.path.isfile(f"{name}.toml") else name  # noqa: PTH113 - any text will do
    return PolicyFileError(
        f"there is no policy pack {name!r} (packs: {known})", advice=f"For a file, write its path: ./{meant}"
    )


def parse_policy(text: str, origin: str) -> PolicyFile:
    """Read a policy from a text; the policies that it extends are not read.

    Raises:
        PolicyFileError: the text is not a valid policy; the message has the line.
    """
    return _read(text, policy_document(text, origin), origin, Path())


def policy_document(text: str, origin: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        PolicyFileError: the text is not valid TOML.
    """
    import tomllib  # here: the packs of a build are parsed already

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyFileError(f"{origin}: not valid TOML: {error}", advice="Correct the syntax of the file.") from None


def _read(
    text: str, document: dict[str, Any], origin: str, folder: Path | None, faults: list[Fault] | None = None
) -> PolicyFile:
    """Check the whole text of a policy; `document` is its parsed TOML."""
    entries = document.get("allow", [])
    lines = Lines(text, len(entries) if isinstance(entries, list) else 0)

    def wrong(error: RuleError, line: int | None = None) -> PolicyFileError:
        return PolicyFileError(f"{_place(origin, line)}: {error.message}", advice=error.advice)

    unknown = document.keys() - _POLICY_KEYS
    if unknown:
        raise wrong(_unknown_key(unknown, _POLICY_KEYS, "a policy"), lines.of(*sorted(unknown)))
    name, version = document.get("name"), document.get("version")
    if not isinstance(name, str) or not name or len(name) > 100 or not name.isprintable():
        raise wrong(
            RuleError("name must be a printable text of 1 to 100 characters", advice='Name the policy: name = "acme"'),
            lines.of("name"),
        )
    if type(version) is not int or version != 1:
        raise wrong(RuleError("version must be 1", advice="Write: version = 1"), lines.of("version"))
    for key in ("distribution", "imports"):
        if key in document and (not isinstance(document[key], str) or not _DISTRIBUTION.fullmatch(document[key])):
            raise wrong(
                RuleError(f"{key} must be the name of one package", advice=f'Write, for example: {key} = "pandas"'),
                lines.of(key),
            )
    description = document.get("description", "")
    if not isinstance(description, str):
        raise wrong(
            RuleError("description must be a text", advice="Put the description in quotes."), lines.of("description")
        )
    if not isinstance(entries, list):
        raise wrong(_not_tables(), lines.of("allow"))
    try:
        named = _named_patterns(document.get("patterns", {}))
    except RuleError as error:
        raise wrong(error, lines.of("patterns")) from None
    rules = []
    for index, entry in enumerate(entries):
        line = lines.of_rule(index)
        try:
            rules.append(_rule(entry, origin, line, named))
        except RuleError as error:
            if faults is None:
                raise wrong(error, line) from None
            faults.append(Fault(origin, line, error.message, error.advice, isinstance(error, ExpiredRuleError)))
    if named.unused() and not faults:
        unused = named.unused()[0]
        raise wrong(
            RuleError(f"no rule uses the pattern {unused!r}", advice=f'Remove it, or use it in a rule: "${unused}"'),
            lines.of("patterns"),
        )
    try:
        extends = _extends(document.get("extends", []), folder)
    except RuleError as error:
        raise wrong(error, lines.of("extends")) from None
    try:
        limits = _limits(document.get("limits", {}))
    except RuleError as error:
        raise wrong(error, lines.of("limits")) from None
    if not rules and not extends and not faults:
        # Empty never means allowed, but somebody who loads an empty policy has made a mistake.
        raise wrong(
            RuleError(
                "the policy has no rules and extends no other policy, so it would refuse every artifact",
                advice='Add [[allow]] rules, or extend a pack: extends = ["sklearn"]',
            )
        )
    extends_at = _place(origin, lines.of("extends"))
    return PolicyFile(name, version, origin, extends, tuple(rules), limits, extends_at, " ".join(description.split()))


def _place(origin: str, line: int | None) -> str:
    return origin if line is None else f"{origin}, line {line}"


def _unknown_key(unknown: set[str], known: set[str], owner: str) -> RuleError:
    return RuleError(
        f"unknown key {min(unknown)!r} in {owner}",
        advice=f"Correct the spelling, or remove the key; the known keys are {', '.join(sorted(known))}.",
    )


def _not_tables() -> RuleError:
    return RuleError("allow must be a list of tables", advice="Begin each rule with a line [[allow]].")


def _extends(value: Any, folder: Path | None) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise RuleError(
            "extends must be a list of pack names or paths", advice='Write, for example: extends = ["sklearn"]'
        )
    resolved = []
    for one in value:
        if is_pack_name(one):
            resolved.append(one)
        elif folder is None:
            raise RuleError(
                f"a pack cannot extend {one!r}, which is not the name of a pack", advice="Extend packs by their names."
            )
        else:
            resolved.append(str(folder / one))  # relative to the file that names it
    return tuple(resolved)


def _limits(value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        raise RuleError("limits must be a table", advice="Begin it with a line [limits].")
    known = Limits.__dataclass_fields__.keys()
    for name, limit in value.items():
        if name not in known:
            raise RuleError(f"unknown limit {name!r}", advice=f"Use one of the limits {', '.join(known)}.")
        if type(limit) is not int or limit <= 0:
            raise RuleError(
                f"limit {name} must be a whole number above 0", advice=f"Write, for example: {name} = 1000000"
            )
    return value


def _named_patterns(table: Any) -> NamedPatterns:
    named = NamedPatterns(table)
    for pattern in named.patterns():
        compile_pattern(pattern)
    return named


def _rule(entry: Any, origin: str, line: int | None, named: NamedPatterns) -> AllowRule:
    if not isinstance(entry, dict):
        raise _not_tables()
    unknown = entry.keys() - _RULE_KEYS
    if unknown:
        raise _unknown_key(unknown, _RULE_KEYS, "a rule")
    module, names = entry.get("module"), entry.get("names")
    if not isinstance(module, str) or not is_plain_module(module):
        raise RuleError(
            f"module must be the exact name of one module, not {module!r}",
            advice="Write the name in full, without wildcards.",
        )
    if ".__" in module:
        raise RuleError(
            f"module {module!r} contains a __dunder__ name, and no class is defined in such a module",
            advice="Write the module that defines the class.",
        )
    if not isinstance(names, list) or not names:
        raise RuleError(
            "names must be a list of at least one name", advice='Write, for example: names = ["LinearRegression"]'
        )
    full: list[str] = []
    for name in names:
        if not isinstance(name, str) or not is_plain_name(name):
            raise RuleError(
                f"{name!r} in names is not a plain name",
                advice="Write the exact name of a class or function: no wildcards, no dots, no __dunder__ names.",
            )
        reason = denied_reason(f"{module}.{name}")
        if reason is not None and not is_confined(f"{module}.{name}", entry):
            raise RuleError(f"no policy can allow {module}.{name}: {reason}", advice="Remove the name from the rule.")
        full.append(f"{module}.{name}")
    if len(set(full)) != len(full):
        twice = next(one for one in full if full.count(one) > 1)
        raise RuleError(f"names lists {twice} twice", advice="Remove one of the two.")
    roles = _roles(entry.get("roles", ["import"]), full)
    args, state = _constraints(entry, full, roles, named)
    return AllowRule(
        module=module,
        names=tuple(names),
        roles=roles,
        args=args,
        state=state,
        events=_events(entry.get("events", []), roles),
        unchecked=_unchecked(entry.get("unchecked", ""), roles),
        held_by=_held_by(entry, roles),
        check=_check(entry.get("check"), module, roles),
        makes_functions=_makes_functions(entry.get("makes"), module, roles),
        reason=_reason(entry),
        expires=_expiry(entry),
        origin=origin,
        line=line,
    )


def _roles(value: Any, names: list[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or len(set(map(str, value))) != len(value):
        raise RuleError(
            "roles must be a list with each role at most once", advice='Write, for example: roles = ["new", "state"]'
        )
    for role in value:
        if role not in ROLES:
            raise RuleError(f"unknown role {role!r}", advice=f"Use one of the roles {', '.join(ROLES)}.")
    if "numpy.memmap" in names and set(value) & {"call", "new"}:
        raise RuleError(
            "numpy.memmap cannot be called: it opens and overwrites files",
            advice='Allow its import only: roles = ["import"]',
        )
    return tuple(value)


def _constraints(
    entry: dict[str, Any], names: list[str], roles: tuple[str, ...], named: NamedPatterns
) -> tuple[list[Any] | None, Any]:
    args, state, form = named.resolve(entry.get("args")), named.resolve(entry.get("state")), entry.get("form")
    proven = [name for name in names if name in FORM_NAMES]
    if form is not None and (form != "numpy" or proven != names):
        raise RuleError(
            'form = "numpy" does not apply to every name of the rule',
            advice="Use it in a rule of its own, for names such as numpy.ndarray and numpy.dtype, whose form the "
            "scanner proves; leave it out of rules for other names.",
        )
    if proven and ((form is None and args is None) or state is not None):
        raise RuleError(
            f"the scanner itself proves the form of {proven[0]}, so the rule must not describe it",
            advice='Write form = "numpy" in place of args and state.',
        )
    if args is not None:
        if not {"call", "new"} & set(roles) or {"call", "new"} <= set(roles):
            raise RuleError(
                "args needs exactly one of the roles call and new",
                advice="Write one rule for each of the two, or remove args.",
            )
        compile_arguments(args)
    elif "call" in roles and form is None:
        raise RuleError(
            "the role call needs args", advice='List the allowed arguments, for example: args = [["str", "int"]]'
        )
    if state is not None:
        if "state" not in roles:
            raise RuleError("state needs the role state", advice="Add the role state, or remove the pattern.")
        compile_pattern(state)
    return args, state


def _check(value: Any, module: str, roles: tuple[str, ...]) -> str | None:
    """Return the native check that a rule names for its classes and functions."""
    if value is None:
        return None
    if not isinstance(value, str) or value not in CHECKS:
        raise RuleError(f"unknown check {value!r}", advice=f"Use one of the checks {', '.join(sorted(CHECKS))}.")
    _need_foreign("check", module, roles)
    return value


def _makes_functions(value: Any, module: str, roles: tuple[str, ...]) -> bool:
    """Return whether a rule says that what it lets be made can be called."""
    if value is None:
        return False
    if value != "function":
        raise RuleError(f"makes cannot be {value!r}", advice='Write makes = "function", or remove the key.')
    _need_foreign("makes", module, roles)
    return True


def _need_foreign(key: str, module: str, roles: tuple[str, ...]) -> None:
    top = module.partition(".")[0]
    if top in OWN:
        raise RuleError(
            f"{key} cannot be set for {top}: the scanner has its own checks for the classes of {top}",
            advice=f"Remove {key} from the rule.",
        )
    if not {"call", "new"} & set(roles):
        raise RuleError(f"{key} needs one of the roles call and new", advice=f"Add one of them, or remove {key}.")


def _unchecked(value: Any, roles: tuple[str, ...]) -> str:
    """Return which bytes of an object another library's own parser reads, that no check of the scanner covers."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > 200:
        raise RuleError(
            "unchecked must be one line of text",
            advice="Name the bytes that no check covers, and the library that reads them.",
        )
    if value and "state" not in roles:
        raise RuleError("unchecked needs the role state", advice="Add it, or remove unchecked.")
    return value


def _events(value: Any, roles: tuple[str, ...]) -> tuple[str, ...]:
    """Return the audit events that a rule lets its globals raise while they are loaded: of the few that there are."""
    if not isinstance(value, list) or not all(isinstance(one, str) and _EVENT.fullmatch(one) for one in value):
        raise RuleError(
            "events must be a list of the audit events that a rule can grant",
            advice='Use "ctypes.dlsym SYMBOL" (looks a symbol up in a loaded library) and "ctypes.cdata/buffer" '
            "(lends a buffer to one).",
        )
    if value and not {"call", "new", "state"} & set(roles):
        raise RuleError(
            "events needs one of the roles call, new and state", advice="Add one of them, or remove events."
        )
    return tuple(value)


def _held_by(entry: dict[str, Any], roles: tuple[str, ...]) -> tuple[str, ...]:
    value = entry.get("held_by")
    if value is None:
        return ()
    if roles != ("import",):
        raise RuleError(
            "held_by needs a rule with the role import only", advice='Write roles = ["import"], or remove held_by.'
        )
    if not isinstance(value, list) or not value or len(set(map(str, value))) != len(value):
        raise RuleError(
            "held_by must be a list with each attribute once",
            advice='Write, for example: held_by = ["module.Class.attribute"]',
        )
    for one in value:
        owner, _, attribute = one.rpartition(".") if isinstance(one, str) else ("", "", "")
        if "." not in owner or not is_plain_module(owner) or not is_plain_name(attribute):
            raise RuleError(
                f"{one!r} in held_by is not the full name of an attribute", advice="Write it as module.Class.attribute."
            )
    return tuple(value)


def _reason(entry: dict[str, Any]) -> str:
    reason = entry.get("reason", "")
    if not isinstance(reason, str):
        raise RuleError("reason must be a text", advice="Put the reason in quotes.")
    return reason


def _expiry(entry: dict[str, Any]) -> date | None:
    expires = entry.get("expires")
    if expires is None:
        return None
    if not isinstance(expires, date) or isinstance(expires, datetime):
        raise RuleError(
            "expires must be a date", advice="Write it without quotes and time, for example: expires = 2027-11-01"
        )
    if utc_now().date() > expires:
        raise ExpiredRuleError(
            f"the rule expired on {expires}", advice="Review it again and set a new day, or remove it."
        )
    return expires
