"""The policy: which globals an artifact may name, in which roles, with which arguments and state.

A policy is TOML (docs/reference/policy.md).  `Policy.load("sklearn")` gives a pack that ships with safeload,
`Policy.load("./acme.toml")` a project's own, with everything that it extends.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeload._scan import ROLES, Grant, Limits
from safeload.errors import PolicyFileError
from safeload.policy._denylist import denied_reason
from safeload.policy._packs import native_of_packs, pack_distributions, pack_names
from safeload.policy._parse import AllowRule, Fault, PolicyFile, parse_policy, read_policy
from safeload.policy._patterns import compile_arguments, compile_states, sources_of
from safeload.policy._propose import proposed_policy
from safeload.policy._write import policy_text, toml_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeload._internal.files import PathLike

__all__ = [
    "AllowRule",
    "Fault",
    "Policy",
    "PolicyFile",
    "denied_reason",
    "pack_distributions",
    "pack_names",
    "policy_text",
    "proposed_policy",
    "resolve_policy",
    "survey_policy",
    "toml_value",
]

_MAX_FILES = 32
_NOT_NATIVE: tuple[str | None, bool] = (None, False)


class Policy:
    """An effective policy: a file with everything that it extends, ready to be asked.

    Attributes:
        name: of the file that was loaded.
        rules: every rule in force, those of extended packs first.
        files: where they are from, what is extended before what extends it.
        digest: SHA-256 over the rules and limits in force, as `sha256:` and hex.
    """

    __slots__ = ("_by_name", "_grants", "_limits", "_native", "digest", "files", "name", "rules")

    def __init__(self, files: list[PolicyFile]) -> None:
        self.name = files[-1].name
        self.files = tuple(files)
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
    def load(cls, source: PathLike) -> Policy:
        """Load a pack by its name, or a policy file by its path.

        Raises:
            PolicyFileError: there is none, or anything in it or in what it extends is not valid.
        """
        if isinstance(source, str) and source in pack_names():
            return _load_pack(source)
        return cls(_with_extended(source if isinstance(source, str) else Path(source)))

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
        return Policy([*self.files, parse_policy(text, origin)])

    @property
    def names(self) -> list[str]:
        """Every global that a rule lists, as `module.qualname`."""
        return list(self._by_name)

    def __repr__(self) -> str:
        return f"<Policy {self.name!r}, {len(self._by_name)} globals>"

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

    @property
    def tightened(self) -> dict[str, int]:
        """The limits that it sets below the defaults, by name."""
        defaults = asdict(Limits())
        return {name: value for name, value in asdict(self.limits()).items() if value != defaults[name]}

    def limits(self, limits: Limits | None = None) -> Limits:
        """Return the limits in force: the caller's if given, else the defaults as the policy tightens them."""
        return limits if limits is not None else Limits().tightened(self._limits)


def survey_policy(source: PathLike) -> tuple[list[PolicyFile], list[Fault]]:
    """Read a policy for an audit: its files, without the rules that are not valid, and these as faults.

    Raises:
        PolicyFileError: there is none, or it is so wrong that its rules cannot be told.
    """
    faults: list[Fault] = []
    return _with_extended(source if isinstance(source, str) else Path(source), faults), faults


def resolve_policy(policy: Policy | PathLike) -> Policy:
    """Return the policy that an argument of the public functions means.

    Raises:
        PolicyFileError: there is no such policy, or it is not valid.
    """
    if isinstance(policy, Policy):
        return policy
    if not isinstance(policy, (str, os.PathLike)):
        raise PolicyFileError(f"a policy is a Policy, a pack's name or a path, not {policy!r}")
    return Policy.load(policy)


@lru_cache(maxsize=32)
def _load_pack(name: str) -> Policy:
    return Policy(_with_extended(name))


def _with_extended(source: str | Path, faults: list[Fault] | None = None) -> list[PolicyFile]:
    """Return a policy file after all that it extends, each once."""
    done: dict[str, PolicyFile] = {}

    def visit(one: str | Path, path: tuple[str, ...], asked_at: str = "") -> None:
        key = str(Path(one))  # so that ./acme.toml and acme.toml are one
        if key in path:
            raise PolicyFileError(f"{asked_at}: a policy extends itself: {' extends '.join((*path, key))}")
        if key in done:
            return
        if len(path) >= _MAX_FILES or len(done) >= _MAX_FILES:
            raise PolicyFileError(f"{source}: more than {_MAX_FILES} policies extend one another")
        try:
            file = read_policy(one, faults)
        except PolicyFileError as error:
            raise PolicyFileError(f"{asked_at}: it extends {key}: {error}" if asked_at else str(error)) from error
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
                raise PolicyFileError(f"{rule.where}: {name} already has the check {before!r}. Remove this one.")
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
