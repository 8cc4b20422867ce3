"""The globals of one stream: what it names, what is done with it, and whether the policy grants that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from safeload._scan import forms, names
from safeload._scan.ledger import A_GLOBAL, Ledger
from safeload._scan.native.structures import BOUND, CHECKS, OWN
from safeload._scan.values import (
    CALL,
    IMPORT,
    ITEMS,
    NEW,
    ROLES,
    STATE,
    ADict,
    Global,
    Grant,
    describe,
    shown,
)
from safeload.findings import Finding, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_extensions import i64

    from safeload._scan.limits import Limits
    from safeload._scan.window import Source

MAX_FINDINGS: Final = 100


class Globals(Ledger):
    """What the stream names, and what the policy does not allow of it."""

    def __init__(
        self,
        source: Source,
        grant_of: Callable[[str], Grant | None],
        native_of: Callable[[str], tuple[str | None, bool]],
        limits: Limits,
        record: list[tuple[Any, ...]] | None,
    ) -> None:
        super().__init__(source, limits)
        self.grant_of = grant_of
        self.native_of = native_of
        self.record = record
        self.max_globals: int = limits.max_globals
        self.outer_proto: i64 = 0
        self.globals: dict[tuple[str, str], Global] = {}
        self.holding: list[ADict] = []  # states that hold what only they may hold
        self.any_held: bool = False  # a global that only some attributes may hold was named
        self.findings: list[Finding] = []
        self.reported: set[tuple[str, str]] = set()

    def stack_global(self, module: object, name: object) -> Global:
        if self.proto < 4:
            raise RefusedError("SL308", "STACK_GLOBAL occurs in a protocol that uses GLOBAL", self.at)
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedError("SL308", "the module or name of a global is not a text", self.at)
        return self.named(module, name)

    def line_global(self) -> Global:
        if self.proto >= 4:
            raise RefusedError("SL308", "GLOBAL occurs in a protocol that uses STACK_GLOBAL", self.at)
        module = self.decoded(self.name_line())
        return self.named(module, self.decoded(self.name_line()))

    def named(self, module: str, name: str) -> Global:
        found = self.globals.get((module, name))
        if found is None:
            found = self.first_named(module, name)
            self.globals[(module, name)] = found
        # joblib 1.6 reads a nested pickle with the outer find_class, and so with the outer protocol; those before
        # it, with its own.
        if (self.proto < 3) != (self.outer_proto < 3) and names.python3_name(module, name) != (module, name):
            raise RefusedError(
                "SL308", "a Python 2 name occurs where not every joblib version translates it", self.at, found.name
            )
        found.pushed += 1
        if self.record is not None:
            self.record.append(("global", found.module, found.qualname))
        return found

    def first_named(self, module: str, name: str) -> Global:
        self.memory += A_GLOBAL
        if len(self.globals) >= self.max_globals:
            raise RefusedError("SL506", f"the stream names more than {self.max_globals} globals (max_globals)", self.at)
        new_module, new_name = module, name
        if self.outer_proto < 3:
            new_module, new_name = names.python3_name(module, name)
        pairs = [(module, name)]
        if (new_module, new_name) != (module, name):
            pairs.append((new_module, new_name))
        for one_module, one_name in pairs:
            if not names.is_plain_module(one_module) or not names.is_plain_name(one_name):
                raise RefusedError(
                    "SL308", f"module {shown(module)} and name {shown(name)} are not a plain name", self.at
                )
        full = new_module + "." + new_name
        form: i64 = forms.ARRAY_CLASS if full in forms.ARRAY_CLASSES else forms.FORMS.get(full, 0)
        if form == forms.OLD_WRAPPER:
            raise RefusedError("SL315", "it opens other files that the pickle names", self.at, full)
        grant = self.grant_of(full)
        if grant is not None and grant.held_by is not None:
            self.any_held = True
        found = Global(new_module, new_name, self.at, grant, form)
        self.bind(found)
        return found

    def bind(self, found: Global) -> None:
        """Give a global the native check of its class: the scanner's own, or the one that a rule names."""
        found.check = BOUND.get(found.name)
        if found.check is not None or found.module.partition(".")[0] in OWN:
            return
        named, makes_functions = self.native_of(found.name)
        if makes_functions:
            found.makes_functions = True
        if named is not None:
            found.check = CHECKS[named]
            if found.check.arrow:
                self.arrow = True

    def arguments(self, func: object, args: object, verb: str) -> Global:
        """Return the global that is called, now that it is known to be one, with exact arguments."""
        if not isinstance(func, Global):
            raise RefusedError("SL318", f"{verb} is used on {describe(func)}, which is not a named global", self.at)
        if not isinstance(args, tuple):
            raise RefusedError("SL318", f"the arguments of {verb} are not a tuple", self.at, func.name)
        func.called += 1
        return func

    def report(self, code: str, message: str, origin: Global) -> None:
        """Keep a violation of the policy, the first of its kind for each global, and go on."""
        key = (code, origin.name)
        if key not in self.reported and len(self.findings) < MAX_FINDINGS:
            self.reported.add(key)
            self.findings.append(Finding(code, message, self.at, origin.name))

    def count_state(self, origin: Global) -> None:
        if origin.first_state < 0:
            origin.first_state = self.at
            origin.used |= STATE
        if self.record is not None:
            self.record.append(("state", origin.module, origin.qualname))

    def check_roles(self) -> None:
        """Compare what was done with every global with what the policy grants."""
        shared = False
        for state in self.holding:
            # A dict that the memo gave out stands somewhere else, too, with all that it holds.
            shared = shared or state.shared
        for origin in self.globals.values():
            self.check_held(origin, shared)
            if origin.form == forms.ARRAY_CLASS and origin.pushed > origin.called:
                # Called by anybody else, an array class opens files (memmap) or takes bytes for pointers (ndarray).
                self.at = origin.offset
                self.report(
                    "SL402",
                    "an array class is used as a value, and not in an array as joblib or numpy write it",
                    origin,
                )
            used = used_roles(origin)
            granted = origin.grant.roles if origin.grant is not None else 0
            missing = used & ~granted
            if not missing:
                continue
            self.at = min(first_use(origin, bit) for bit in ROLES.values() if missing & bit)
            wanted = ", ".join(role for role, bit in ROLES.items() if missing & bit)
            if origin.grant is None:
                self.report("SL401", f"the policy does not list it (roles used: {wanted})", origin)
            else:
                self.report("SL402", f"the policy does not grant it the role: {wanted}", origin)

    def check_held(self, origin: Global, shared: bool) -> None:
        """Refuse a global that anything else got hold of than the attributes that may hold it.

        `shared` tells that some state that holds such a one stands elsewhere, too.
        """
        held_by = origin.grant.held_by if origin.grant is not None else None
        if held_by is None or origin.pushed <= origin.called:
            return
        if shared or origin.pushed > origin.called + origin.held:
            self.at = origin.offset
            self.report("SL402", "it is used as a value outside of " + " or ".join(sorted(held_by)), origin)


def used_roles(origin: Global) -> int:
    """Return the bits of all roles that a global was used in."""
    return origin.used | (IMPORT if origin.pushed > origin.called else 0)


def first_use(origin: Global, role: int) -> int:
    """Return the offset of a global's first use in a role; of its first naming, for import."""
    if role == CALL:
        return origin.first_call
    if role == NEW:
        return origin.first_new
    if role == STATE:
        return origin.first_state
    if role == ITEMS:
        return origin.first_items
    return origin.offset
