"""Read a pickle stream exactly as joblib would, without unpickling anything.

`scan_stream` runs the abstract pickle machine over a stream and returns what it saw as a `Trace`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from safeload._scan import machine, values
from safeload._scan.forms import FORMS
from safeload._scan.globals import first_use, used_roles
from safeload._scan.limits import Limits
from safeload._scan.machine import Machine
from safeload._scan.names import is_plain_module, is_plain_name, python3_name
from safeload._scan.native.structures import CHECKS, OWN
from safeload._scan.values import ROLES, Global, Grant
from safeload._scan.window import Source
from safeload.findings import Finding, RefusedError

__all__ = [
    "CHECKS",
    "COMPILED",
    "FORM_NAMES",
    "OWN",
    "ROLES",
    "GlobalUse",
    "Grant",
    "Limits",
    "Rules",
    "Source",
    "Trace",
    "is_plain_module",
    "is_plain_name",
    "python3_name",
    "scan_stream",
    "values",
]

# The globals whose form the scanner proves itself, whatever a policy allows beyond it.
FORM_NAMES = frozenset(FORMS)

_LOOP = frozenset({"run", "rare"})  # of Machine: what takes values from the stack, and calls all else

COMPILED = not machine.__file__.endswith(".py")


@dataclass(frozen=True, slots=True)
class GlobalUse:
    """One global that the stream names: `roles` maps each role it is used in to the offset of the first time.

    Of one that is not granted, `seen_args` and `seen_state` have the arguments and the odd state that it was seen
    with, as patterns of a policy file. `granted` has those of the roles that the policy grants.
    """

    module: str
    qualname: str
    named_as: tuple[str, str]
    roles: dict[str, int]
    seen_args: tuple[str, ...] = ()
    seen_state: str = ""
    granted: frozenset[str] = frozenset()

    @property
    def missing(self) -> GlobalUse:
        """The same global, with those roles alone that the policy does not grant."""
        return replace(self, roles={role: at for role, at in self.roles.items() if role not in self.granted})

    @property
    def name(self) -> str:
        """The global as `module.qualname`."""
        return f"{self.module}.{self.qualname}"


@dataclass(frozen=True, slots=True)
class Trace:
    """What the scanner saw of one stream, up to the first thing that it did not understand.

    `events` is filled on request only, in order: every global named and role used, as ("global" or the role, module,
    qualname); every array passed, as ("array", its first byte, its length, where its padding begins); and every nested
    pickle at its end, as ("nested", its first byte, its length).  `sources` are the texts that classes of the stream
    will run as code when they are loaded, each one that the policy lists.  `layouts` are those of which a library reads
    none from some version on, as (its distribution, that version, what has the layout).
    """

    protocol: int
    opcodes: int
    arrays: int
    end: int
    globals: tuple[GlobalUse, ...]
    findings: tuple[Finding, ...]
    sklearn_versions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    layouts: tuple[tuple[str, str, str], ...] = ()
    events: tuple[tuple[Any, ...], ...] = ()


class Rules(Protocol):
    """What the scanner asks of a policy, for each global by `module.qualname`."""

    def grant(self, name: str) -> Grant | None:
        """Return what it may be used for; None if the policy does not list it."""

    def native(self, name: str) -> tuple[str | None, bool]:
        """Return the native check of its instances (one of `CHECKS`), and whether they can be called."""


def scan_stream(source: Source, rules: Rules, limits: Limits, *, record: bool = False) -> Trace:
    """Scan a whole pickle stream against a policy's rules.

    Raises nothing that a hostile stream could cause: what is wrong with it stands in the trace's findings. Mistakes of
    the scanner's own are raised as what they are.
    """
    events: list[tuple[Any, ...]] | None = [] if record else None
    machine = Machine(source, rules.grant, rules.native, limits, events)
    findings: list[Finding] = []
    try:
        machine.scan()
    except RefusedError as refused:
        findings.append(refused.finding)
    except IndexError as error:
        if not _of_stack(error):  # a mistake of the scanner's own, which is no verdict on the stream
            raise
        findings.append(Finding("SL306", "an opcode takes more values than the stack holds", machine.at))
    # Also of a stream that was not understood, say what it named: that is why it was made.
    machine.check_roles()
    return Trace(
        protocol=machine.proto,
        opcodes=machine.opcodes,
        arrays=machine.arrays,
        end=machine.base + machine.pos,
        globals=tuple(_use(named_as, seen) for named_as, seen in machine.globals.items()),
        findings=(*findings, *machine.findings),
        sklearn_versions=tuple(sorted(machine.sklearn_versions)),
        sources=tuple(sorted(machine.sources)),
        layouts=tuple(sorted(machine.structures.layouts)),
        events=tuple(events or ()),
    )


def _of_stack(error: IndexError) -> bool:
    """Tell whether the loop over the opcodes itself met an empty stack, as pickle._Unpickler does at the same places.

    Every pop and every look at the top of the stack can, and asking before each would cost as much as all the rest.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_name in _LOOP


def _use(named_as: tuple[str, str], seen: Global) -> GlobalUse:
    used = used_roles(seen)
    roles = {role: first_use(seen, bit) for role, bit in ROLES.items() if used & bit}
    granted = _roles(0 if seen.grant is None else seen.grant.roles)
    return GlobalUse(seen.module, seen.qualname, named_as, roles, tuple(seen.seen_args), seen.seen_state, granted)


@lru_cache(maxsize=64)
def _roles(bits: int) -> frozenset[str]:
    return frozenset(role for role, bit in ROLES.items() if bits & bit)
