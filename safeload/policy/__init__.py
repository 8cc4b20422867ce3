"""The policy: which globals an artifact may name, in which roles, with which arguments and state.

A policy is TOML (docs/reference/policy.md).  `Policy.load("sklearn")` gives a pack that ships with safeload,
`Policy.load("./acme.toml")` a project's own, with everything that it extends.  `Policy.load(["sklearn", "pandas"])`
gives one that extends both.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeload._internal.files import PathLike
from safeload._internal.notebook import facts_table
from safeload._internal.secrecy import require_path
from safeload._scan import OWN, ROLES, Grant, Limits
from safeload.errors import PolicyFileError
from safeload.policy._denylist import denied_reason
from safeload.policy._packs import (
    events_of_packs,
    native_of_packs,
    pack_distributions,
    pack_names,
    packs_naming,
    unchecked_of_packs,
)
from safeload.policy._parse import AllowRule, Fault, PolicyFile, is_pack_name, parse_policy, read_policy
from safeload.policy._patterns import compile_arguments, compile_states, sources_of
from safeload.policy._propose import proposed_policy, proposed_rules
from safeload.policy._sources import DEFAULT_POLICY, POLICY_VARIABLE, default_policy, expanded, split_names
from safeload.policy._write import policy_text, toml_value

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DEFAULT_POLICY",
    "POLICY_VARIABLE",
    "AllowRule",
    "Fault",
    "Grant",
    "Policy",
    "PolicyFile",
    "PolicySource",
    "Survey",
    "default_policy",
    "denied_reason",
    "is_pack_name",
    "pack_distributions",
    "pack_names",
    "packs_naming",
    "policy_text",
    "proposed_policy",
    "proposed_rules",
    "resolve_policy",
    "split_names",
    "survey_policy",
    "toml_value",
]

_MAX_FILES = 32
_MAX_NAME = 300  # characters; a manifest takes lines of up to 1000
_NOT_NATIVE: tuple[str | None, bool] = (None, False)


class Policy:
    """An effective policy: a file with everything that it extends, ready to be asked.

    Attributes:
        name: of the file that was loaded; of several, their names with commas.
        rules: every rule in force, those of extended packs first.
        files: where they are from, what is extended before what extends it.
        sources: the packs and files that it was loaded from, as a policy file names them; none for one of a text.
        digest: SHA-256 over the rules and limits in force, as `sha256:` and hex.
    """

    __slots__ = ("_by_name", "_grants", "_limits", "_native", "digest", "files", "name", "rules", "sources")

    def __init__(self, files: Sequence[PolicyFile], *, name: str | None = None, sources: Sequence[str] = ()) -> None:
        self.name = files[-1].name if name is None else name
        self.files = tuple(files)
        self.sources = tuple(sources)
        self.rules = tuple(rule for file in files for rule in file.rules)
        self._limits: dict[str, int] = {}
        for file in files:
            for name, limit in file.limits.items():
                self._limits[name] = min(limit, self._limits.get(name, limit))
        self._by_name: dict[str, list[AllowRule]] = {}
        for rule in self.rules:
            for name in rule.names:
                self._by_name.setdefault(f"{rule.module}.{name}", []).append(rule)
        self._grants: dict[str, Grant] = {}
        self._native = _native(self.rules)
        self.digest = _digest(self.rules, self._limits)

    @classmethod
    def load(cls, source: PathLike | Sequence[PathLike]) -> Policy:
        """Load a pack by its name, a policy file by its path, or several, each of which extends those before it.

        Of a `pyproject.toml` it is those that `policy = [...]` lists under `[tool.safeload]`.

        Raises:
            PolicyFileError: there is none, or anything in it or in what it extends is not valid.
        """
        if isinstance(source, str) and source in pack_names():
            return _load_pack(source)
        return _combined([_load_one(one) for one in _named(source)])

    @classmethod
    def named(cls, text: str) -> Policy:
        """Load the policies that a text names, with commas between them, as `--policy` and `SAFELOAD_POLICY` do.

        Raises:
            PolicyFileError: as `load`.
        """
        return cls.load(split_names(text))

    @classmethod
    def from_text(cls, text: str, *, origin: str = "policy") -> Policy:
        """Return the policy of a text that extends nothing.

        Raises:
            PolicyFileError: it is not a valid policy, or extends another.
        """
        file = parse_policy(text, origin)
        if file.extends:
            raise PolicyFileError(f"{origin}: a policy that extends others has to be loaded from its file")
        return cls([file])

    def extended(self, text: str, *, origin: str = "proposed policy") -> Policy:
        """Return this policy with the rules and limits of one more policy file, whatever that says it extends.

        Raises:
            PolicyFileError: the text is not a valid policy.
        """
        return Policy([*self.files, parse_policy(text, origin)], sources=self.sources)

    @property
    def description(self) -> str:
        """What it is for, in one line; "" where its file does not say."""
        return self.files[-1].description

    @property
    def names(self) -> list[str]:
        """Every global that a rule lists, as `module.qualname`."""
        return list(self._by_name)

    def __repr__(self) -> str:
        return f"<Policy {self.name!r}, {len(self._by_name)} globals>"

    def _repr_html_(self) -> str:
        """Return its name, digest and files as HTML, for notebooks."""
        files = [(file.origin, f"{len(file.rules)} rules") for file in self.files]
        title = f"Policy: {self.name}, {len(self._by_name)} globals"
        return facts_table(title, (("for", self.description), ("digest", self.digest), *files))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.files, self.name, self.sources)  # what it has worked out is worked out again

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def rules_for(self, name: str) -> list[AllowRule]:
        """Return the rules that speak of the global `module.qualname`."""
        return list(self._by_name.get(name, ()))

    def grant(self, name: str) -> Grant | None:
        """Return what the global `module.qualname` may be used for; None if the policy does not list it."""
        found = self._grants.get(name)
        if found is None and name in self._by_name:
            found = self._grants[name] = _grant(self._by_name[name])
        return found

    def native(self, name: str) -> tuple[str | None, bool]:
        """Return the native check for what the global `module.qualname` makes, and whether that can be called.

        What the packs that ship say of it holds whether or not this policy extends them.
        """
        check, makes_functions = native_of_packs().get(name, _NOT_NATIVE)
        own, own_functions = self._native.get(name, _NOT_NATIVE)
        return check or own, makes_functions or own_functions

    def events(self, names: Iterable[str]) -> frozenset[str]:
        """Return which audit events loading these globals may raise, beyond those that any artifact may."""
        return frozenset(event for name in names for rule in self._by_name.get(name, ()) for event in rule.events)

    def unchecked(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return which bytes of objects of these classes no check covers: by its rules, and by the packs that ship."""
        listed = [name for name in names if name.partition(".")[0] not in OWN]
        if not listed:
            return ()
        known = unchecked_of_packs()
        said = {known[name] for name in listed if name in known}
        said |= {rule.unchecked for name in listed for rule in self._by_name.get(name, ())}
        return tuple(sorted(said - {""}))

    def missing_events(self, names: Iterable[str]) -> frozenset[str]:
        """Return which audit events loading these globals raises, by the packs that ship, and this policy forbids."""
        listed = [name for name in names if name.partition(".")[0] not in OWN]
        if not listed:
            return frozenset()
        raised = events_of_packs()
        return frozenset().union(*(raised.get(name, ()) for name in listed)) - self.events(listed)

    @property
    def tightened(self) -> dict[str, int]:
        """The limits that it sets below the defaults, by name."""
        defaults = asdict(Limits())
        return {name: value for name, value in asdict(self.limits()).items() if value != defaults[name]}

    def limits(self, limits: Limits | None = None) -> Limits:
        """Return the limits in force: the caller's if given, else the defaults as the policy tightens them."""
        return limits if limits is not None else Limits().tightened(self._limits)


# What a `policy` argument takes. None means the policies that `default_policy` names.
PolicySource = Policy | PathLike | Sequence[Policy | PathLike] | None


@dataclass(frozen=True, slots=True)
class Survey:
    """A policy as an audit reads it: its name and files without the rules that are not valid, and these as faults."""

    name: str
    files: tuple[PolicyFile, ...]
    faults: tuple[Fault, ...]


def _unpickled(files: Sequence[PolicyFile], name: str, sources: Sequence[str]) -> Policy:
    return Policy(files, name=name, sources=sources)


def survey_policy(source: PathLike | Sequence[PathLike]) -> Survey:
    """Read a policy, as `Policy.load` would, for an audit.

    Raises:
        PolicyFileError: there is none, or it is so wrong that its rules cannot be told.
    """
    faults: list[Fault] = []
    read = [_with_extended(one, faults) for one in _named(source)]
    return Survey(_joined([files[-1].name for files in read]), _united(read), tuple(dict.fromkeys(faults)))


def resolve_policy(policy: PolicySource) -> Policy:
    """Return the policy that an argument of the public functions means.

    Raises:
        PolicyFileError: there is no such policy, or it is not valid.
    """
    if isinstance(policy, Policy):
        return policy
    if policy is None:
        return Policy.named(default_policy())
    if isinstance(policy, str | os.PathLike):
        return Policy.load(policy)
    return _combined([one if isinstance(one, Policy) else Policy.load(one) for one in _listed(policy)])


def _listed(policy: Any) -> Sequence[Policy | PathLike]:
    if isinstance(policy, list | tuple) and all(isinstance(one, Policy | str | os.PathLike) for one in policy):
        return policy
    raise PolicyFileError(
        f"a policy is a Policy, a pack's name, a path or a list of these, not {type(policy).__name__}"
    )


def _named(source: PathLike | Sequence[PathLike]) -> list[str | Path]:
    """Return the names of packs and the paths of files that a source stands for."""
    several = [source] if isinstance(source, str | os.PathLike) else list(source)
    for name in several:
        require_path(name, PolicyFileError)
    return [one for name in several for one in expanded(name if isinstance(name, str) else Path(name))]


def _load_one(source: str | Path) -> Policy:
    if isinstance(source, str) and source in pack_names():
        return _load_pack(source)
    return Policy(_with_extended(source), sources=[str(source)])


def _combined(policies: Sequence[Policy]) -> Policy:
    """Return one policy that extends all of these, in this order.

    Raises:
        PolicyFileError: there are none, or too many.
    """
    if not policies:  # empty never means allowed
        raise PolicyFileError("an empty list names no policy", advice="Name at least one, such as ['sklearn'].")
    if len(policies) == 1:
        return policies[0]
    if len(policies) > _MAX_FILES:
        raise PolicyFileError(f"{len(policies)} policies are named, and at most {_MAX_FILES} can be")
    return Policy(
        _united([policy.files for policy in policies]),
        name=_joined([policy.name for policy in policies]),
        sources=list(dict.fromkeys(source for policy in policies for source in policy.sources)),
    )


def _united(several: Iterable[Iterable[PolicyFile]]) -> tuple[PolicyFile, ...]:
    """Return the files of several policies, each file once, where it first stands."""
    files: list[PolicyFile] = []
    for one in several:
        files.extend(file for file in one if file not in files)
    return tuple(files)


def _joined(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    text = ",".join(unique)
    return text if len(text) <= _MAX_NAME else f"{unique[0]} and {len(unique) - 1} more"


@lru_cache(maxsize=32)
def _load_pack(name: str) -> Policy:
    return Policy(_with_extended(name), sources=[name])


def _with_extended(source: str | Path, faults: list[Fault] | None = None) -> list[PolicyFile]:
    """Return a policy file after all that it extends, each once."""
    done: dict[str, PolicyFile] = {}

    def visit(one: str | Path, path: tuple[str, ...], asked_at: str = "") -> None:
        key = str(Path(one))  # so that ./acme.toml and acme.toml are one
        if key in path:
            raise PolicyFileError(
                f"{asked_at}: the policy extends itself: {' extends '.join((*path, key))}",
                advice="Remove one of these names from extends.",
            )
        if key in done:
            return
        if len(path) >= _MAX_FILES or len(done) >= _MAX_FILES:
            raise PolicyFileError(
                f"{source}: more than {_MAX_FILES} policies extend one another", advice="Join some of them to one file."
            )
        try:
            file = read_policy(one, faults)
        except PolicyFileError as error:
            if not asked_at:
                raise
            raise PolicyFileError(f"{asked_at}: it extends {key}: {error.message}", advice=error.advice) from error
        for extended in file.extends:
            visit(extended, (*path, key), file.extends_at)
        done[key] = file

    visit(source, ())
    return list(done.values())


def _digest(rules: tuple[AllowRule, ...], limits: dict[str, int]) -> str:
    in_force = [
        [
            rule.module,
            rule.names,
            rule.roles,
            rule.args,
            rule.state,
            str(rule.expires),
            rule.events,
            rule.held_by,
            *([rule.check, rule.makes_functions] if rule.check or rule.makes_functions else []),
        ]
        for rule in rules
    ]
    text = json.dumps([in_force, limits], sort_keys=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _native(rules: Iterable[AllowRule]) -> dict[str, tuple[str | None, bool]]:
    """Add up what rules say of native checks.

    Raises:
        PolicyFileError: a rule names another check than a rule before it, or than a pack that ships.
    """
    found: dict[str, tuple[str | None, bool]] = {}
    for rule in rules:
        if rule.check is None and not rule.makes_functions:
            continue
        for one in rule.names:
            name = f"{rule.module}.{one}"
            before, functions = found.get(name, _NOT_NATIVE)
            before = before or native_of_packs().get(name, _NOT_NATIVE)[0]
            if rule.check is not None and before not in (None, rule.check):
                raise PolicyFileError(
                    f"{rule.where}: {name} already has the check {before!r}", advice="Remove this one."
                )
            found[name] = rule.check or before, functions or rule.makes_functions
    return found


def _grant(rules: list[AllowRule]) -> Grant:
    """Add up the rules of one global: roles are united, arguments and states are alternatives."""
    roles = 0
    call: list[Any] = []
    new: list[Any] = []
    states: list[Any] = []
    naming = [rule.held_by for rule in rules if "import" in rule.roles]
    for rule in rules:
        for role in rule.roles:
            roles |= ROLES[role]
        if rule.args is not None:
            (call if "call" in rule.roles else new).extend(rule.args)
        elif "new" in rule.roles:
            new.append([])
        if "state" in rule.roles:
            states.append("attributes" if rule.state is None else rule.state)
    return Grant(
        roles,
        call=compile_arguments(call) if call else None,
        new=compile_arguments(new) if new and new != [[]] else None,
        state=compile_states(states) if states and states != ["attributes"] else None,
        held_by=frozenset().union(*naming) if naming and all(naming) else None,
        sources=sources_of(states) or None,
    )
