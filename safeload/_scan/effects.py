"""What the opcodes do to objects: name, call, make, set the state, add items; on abstract values.

Each method says what `pickle._Unpickler` would do at the same place, and refuses what no honest pickler asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from safeload._scan import dtypes, forms
from safeload._scan.globals import MAX_FINDINGS
from safeload._scan.hashing import Keys
from safeload._scan.ledger import A_CONTAINER, A_DTYPE, A_NAME, A_SLOT, A_TUPLE, AN_OBJECT, VAST
from safeload._scan.native.arrow import A_BUFFER, BUFFER
from safeload._scan.native.checks import A_NODE
from safeload._scan.native.nodes import NodeTable
from safeload._scan.native.structures import Structures
from safeload._scan.native.trees import trees_among
from safeload._scan.object_arrays import RECURSIVE, Objects, is_text, may_hold
from safeload._scan.values import (
    CALL,
    ITEMS,
    NEW,
    STATE,
    USED_UP,
    ADict,
    AList,
    Array,
    ASet,
    Attributes,
    Blob,
    Check,
    DType,
    Global,
    Grant,
    Instance,
    Wrapper,
    attributes,
    describe,
    is_used_up,
    note_arguments,
    note_state,
)
from safeload.findings import Finding, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_extensions import i64

    from safeload._scan.limits import Limits
    from safeload._scan.window import Source

_AS_LIST: Final = 1
_AS_DICT: Final = 2
_FEW_NAMES: Final = 64


class Effects(Objects):
    """The objects of one stream: what was made of its globals, and what the policy does not allow of that."""

    def __init__(
        self,
        source: Source,
        grant_of: Callable[[str], Grant | None],
        native_of: Callable[[str], tuple[str | None, bool]],
        limits: Limits,
        record: list[tuple[Any, ...]] | None,
    ) -> None:
        super().__init__(source, grant_of, native_of, limits, record)
        self.unbuilt: i64 = 0  # dtypes, arrays and wrappers still without their state
        self.sklearn_versions: set[str] = set()
        self.sources: set[str] = set()  # texts of states that their classes run as code
        self.structures: Structures = Structures()
        self.kept_structures: i64 = 0

    # ---------------------------------------------------------------------------------- calls and new

    def new(self, cls: object, args: Any) -> object:
        """NEWOBJ: cls.__new__(cls, *args)."""
        origin = self.arguments(cls, args, "NEWOBJ")
        if origin.first_new < 0:
            origin.first_new = self.at
            origin.used |= NEW
        if self.record is not None:
            self.record.append(("new", origin.module, origin.qualname))
        if origin.form:
            if origin.form != forms.WRAPPER or args:
                raise RefusedError("SL318", "picklers do not create its instances in this way", self.at, origin.name)
            self.unbuilt += 1
            return Wrapper(origin)
        grant = origin.grant
        if args and (grant is None or not grant.roles & NEW):
            self.note(origin, args)
        if grant is not None and (args or grant.new is not None):
            self.weigh(args)
            self.spend(4)
            wrong = "it is made with arguments" if grant.new is None else grant.new(args)
            if wrong is not None:
                self.report("SL403", wrong, origin)
        return self.made(origin, None)

    def made(self, origin: Global, args: object) -> Instance:
        """Return what a class or function makes; `args` are those of a call."""
        instance = Instance(origin)
        if origin.check is not None:
            wrong = self.structures.made(origin.check, instance, args)
            if wrong is not None:
                self.report("SL326", wrong, origin)
            if origin.check is BUFFER:
                self.memory += A_BUFFER
                self.spend(150)
        return instance

    def new_ex(self, cls: object, args: Any, keywords: object) -> object:
        """NEWOBJ_EX: cls.__new__(cls, *args, **keywords); only without keywords is it what a rule speaks of."""
        origin = self.arguments(cls, args, "NEWOBJ_EX")
        if not isinstance(keywords, ADict) or origin.form:
            raise RefusedError("SL318", "NEWOBJ_EX has a form that picklers do not write", self.at, origin.name)
        if origin.first_new < 0:
            origin.first_new = self.at
            origin.used |= NEW
        if self.record is not None:
            self.record.append(("new", origin.module, origin.qualname))
        self.report("SL403", "its instance is created with keyword arguments", origin)
        return self.made(origin, None)

    def call(self, func: object, args: Any) -> object:
        """REDUCE: func(*args)."""
        origin = self.arguments(func, args, "REDUCE")
        if origin.first_call < 0:
            origin.first_call = self.at
            origin.used |= CALL
        if self.record is not None:
            self.record.append(("call", origin.module, origin.qualname))
        grant = origin.grant
        if grant is None or not grant.roles & CALL:
            self.note(origin, args)
        if grant is not None and grant.roles & CALL and not (origin.form and grant.call is None):
            self.weigh(args)
            self.spend(4)
            wrong = "no form of its arguments is listed" if grant.call is None else grant.call(args)
            if wrong is not None:
                self.report("SL403", wrong, origin)
        return self.call_form(origin, args) if origin.form else self.made(origin, args)

    def note(self, origin: Global, args: tuple[Any, ...]) -> None:
        """Keep how a global is called that no rule grants."""
        looks: i64 = origin.looks
        note_arguments(origin, args)
        if origin.looks > looks:
            self.spend(700)

    def call_form(self, origin: Global, args: tuple[Any, ...]) -> object:
        form = origin.form
        if form == forms.COPYREG:
            return self.copyreg(origin, args)
        if form == forms.DTYPE:
            self.unbuilt += 1
            return dtypes.dtype_call(origin, args, self.at)
        if form == forms.RECONSTRUCT:
            self.unbuilt += 1
            made = forms.reconstruct_call(origin, args, self.at)
            self.memory -= A_TUPLE + 24  # the memo never keeps these arguments
            return made
        if form == forms.MASKED:
            self.unbuilt += 1
            return forms.masked_call(origin, args, self.at)
        if form == forms.FROMBUFFER:
            array = forms.frombuffer_call(origin, args, self.at)
            self.structures.seen(array.contents)
            self.used_up(args, 0)
            return self.new_array(array)
        if form == forms.SCALAR:
            kind = forms.scalar_call(origin, args, self.at)
            self.memory -= AN_OBJECT
            self.used_up(args, 1)
            return self.scalar(origin, kind in "SU")
        if form == forms.ENCODE:
            data = forms.encode_call(args, self.at)
            if isinstance(data, Blob):
                self.hold(data)
            return data
        if form == forms.BYTES:
            return forms.bytes_call(args, self.at)
        if form == forms.BYTEARRAY:
            return forms.bytearray_call(args, self.at)
        if form == forms.SET:
            return self.set_call(origin, args)
        raise RefusedError("SL318", "picklers do not call it", self.at, origin.name)

    def set_call(self, origin: Global, args: tuple[Any, ...]) -> ASet:
        """set([...]) and frozenset([...]): how protocols below 4 write sets."""
        items = args[0] if len(args) == 1 else None
        if not isinstance(items, AList) or is_used_up(items):
            raise RefusedError(
                "SL318", "picklers write a set as set([...]), with a list that nothing else uses", self.at, origin.name
            )
        made = ASet(items.items, origin.qualname == "frozenset")
        self.check_keys(made, items.items, 1)
        items.sealed = True
        items.items = USED_UP
        return made

    def copyreg(self, origin: Global, args: tuple[Any, ...]) -> object:
        """copyreg._reconstructor(cls, base, its value): how protocols 0 and 1 make what 2 makes with NEWOBJ.

        The base's own `__new__` and `__init__` are all that it calls, so it is what they are given that counts.
        """
        if self.proto >= 2:
            raise RefusedError("SL318", "from protocol 2 on, picklers write NEWOBJ instead", self.at, origin.name)
        base = args[1].name if len(args) == 3 and isinstance(args[1], Global) else ""
        # The class counts as called, not as a value: the memo does not keep these arguments for another use.
        if base == "builtins.object" and args[2] is None:
            return self.new(args[0], ())
        if base == "builtins.tuple" and isinstance(args[2], tuple):
            return self.new(args[0], args[2])
        # Nor may the dict be one that was used before: what it held may be forgotten, and picklers write a new one.
        if base == "builtins.dict" and isinstance(args[2], ADict) and not args[2].sealed:
            made = self.new(args[0], ())
            if args[2].flat:
                self.set_items(made, args[2].flat)
            args[2].sealed = True
            return made
        raise RefusedError("SL318", "picklers write _reconstructor(class, object, None)", self.at, origin.name)

    # ------------------------------------------------------------------------------------------ state

    def build(self, target: object, state: object) -> None:
        """BUILD on anything but an array wrapper."""
        if isinstance(target, Instance):
            self.set_state(target, state)
        elif isinstance(target, DType):
            self.weigh(state)
            self.spend(20)
            dtypes.dtype_build(target, state, self.at)
            self.spend(2 * target.leaves)
            self.memory += A_DTYPE * target.leaves
            self.unbuilt -= 1
            self.count_state(target.origin)
        elif isinstance(target, Array) and target.origin is not None and target.origin.form != forms.FROMBUFFER:
            forms.array_build(target, state, self.at, masked=target.origin.form == forms.MASKED)
            self.structures.seen(target.contents)
            if target.dtype.hasobject and isinstance(state, tuple) and isinstance(state[4], AList):
                target.trees = trees_among(state[4].items)
                self.look_through(target, state[4].items)
            self.unbuilt -= 1
            self.count_state(target.origin)
        else:
            raise RefusedError("SL319", f"a state is set on {describe(target)}, which takes none", self.at)

    def set_state(self, target: Instance, state: object) -> None:
        """BUILD on an instance: its class, the policy and its native check decide of the state, in this order."""
        origin = target.origin
        if target.built:
            raise RefusedError("SL319", "a state is set twice", self.at, origin.name)
        target.built = True
        found: Attributes | None = None
        if isinstance(state, ADict):
            if state.sealed:
                raise RefusedError("SL319", "one dict is the state of two objects", self.at, origin.name)
            found = self.attributes_of(origin, state)
            state.sealed = True
        self.count_state(origin)
        if origin.check is not None or (origin.grant is not None and origin.grant.state is not None):
            self.weigh(state)
        wrong = self.refused_state(origin, state, found)
        if wrong is not None:
            self.report("SL404", wrong, origin)
        elif isinstance(state, ADict):
            if self.any_held:
                self.note_held(origin, state)
            if origin.grant is not None and origin.grant.sources is not None:
                self.note_sources(state, origin.grant.sources)
        if origin.check is not None:
            self.check_native_state(origin.check, target, state, found)

    def refused_state(self, origin: Global, state: object, found: Attributes | None) -> str | None:
        """Return in words why the policy does not allow a state; None if it does, or grants no role `state` at all.

        That the role is missing is reported at the end, for all roles of a global at once.
        """
        grant = origin.grant
        if grant is not None and grant.state is not None:
            return grant.state(state)
        if found is not None:
            self.note_version(found.get("_sklearn_version"))
        elif grant is not None and grant.roles & STATE:
            return "the state is not a dict of plain attribute names, but " + describe(state)
        elif not origin.seen_state:
            note_state(origin, state)
            self.spend(700)
        return None

    def check_native_state(self, check: Check, target: Instance, state: object, found: Attributes | None) -> None:
        """Hold a state to its native check, and count what that cost and what it keeps."""
        wrong = self.structures.built(check, target, state, found, self.at)
        if wrong is not None:
            self.report("SL326", wrong, target.origin)
        self.spend(self.structures.work)
        self.structures.work = 0
        if self.structures.crowded:
            self.check_structures(False)
        else:
            self.keep_structures()

    def attributes_of(self, origin: Global, state: ADict) -> Attributes | None:
        """Return the attributes that a state sets; keep their names, if they are few, to know them by."""
        found = state.found = attributes(state, origin)
        if found is not None and found.names is not origin.names and len(found.names) <= _FEW_NAMES:
            self.memory += A_NAME * (len(found.names) - len(origin.names))
            origin.names = found.names
            origin.places = found.places
        return found

    def note_held(self, origin: Global, state: ADict) -> None:
        """Count what this state holds of the globals that only such attributes may hold."""
        flat = state.flat
        index = 1
        while index < len(flat):
            key, value = flat[index - 1], flat[index]
            if isinstance(value, Global) and isinstance(key, str):
                held_by = value.grant.held_by if value.grant is not None else None
                if held_by is not None and origin.name + "." + key in held_by:
                    value.held += 1
                    state.holds = True
                    self.holding.append(state)
            index += 2

    def note_sources(self, state: ADict, sources: frozenset[str]) -> None:
        """Keep the texts of this state that its class runs as code, for the tripwire to know."""
        for value in state.flat[1::2]:
            if isinstance(value, str) and value in sources:
                self.sources.add(value)

    def fill(self, wanted: i64) -> None:
        """Read on, but let go of the nodes of trees before, which arrays bring without being part of anything."""
        if self.structures.crowded:
            self.check_structures(False)
        super().fill(wanted)

    def watch(self, length: i64, item: i64, watcher: Any) -> None:
        """Let somebody look at bytes, unless more of them would be kept than may be."""
        nodes: i64 = length // item if isinstance(watcher, NodeTable) else 0
        self.memory += A_NODE * nodes
        self.check_memory()
        self.memory -= A_NODE * nodes
        super().watch(length, item, watcher)

    def check_structures(self, finished: bool) -> None:
        """Report what is wrong with native structures that could not be judged at once."""
        found = self.structures.settled(finished)
        self.keep_structures()
        self.check_memory()
        for at, name, text in found:
            if ("SL326", name) not in self.reported and len(self.findings) < MAX_FINDINGS:
                self.reported.add(("SL326", name))
                self.findings.append(Finding("SL326", text, at, name))
        if finished and self.structures.unset:
            self.findings.append(Finding("SL319", "a native structure never gets its state", self.at))

    def keep_structures(self) -> None:
        """Count what native structures keep by now."""
        kept: i64 = self.structures.kept
        self.memory += kept - self.kept_structures
        self.kept_structures = kept

    def note_version(self, version: object) -> None:
        """Keep which scikit-learn wrote an estimator, as estimators themselves say."""
        if isinstance(version, str) and len(version) < 40 and len(self.sklearn_versions) < 8:
            self.sklearn_versions.add(version)

    # ------------------------------------------------------------------------------------------ items

    def append(self, target: object, items: list[Any]) -> None:
        if isinstance(target, AList):
            if target.sealed:
                raise self.changed(target)
            if len(target.items) >= VAST:
                self.let_go(items)
            if target.items:
                target.items.extend(items)
            else:
                target.items = items  # nobody else has them
            self.memory += A_SLOT * len(items)
        else:
            self.items_of(target, _AS_LIST, items)

    def set_items(self, target: object, items: list[Any]) -> None:
        if len(items) % 2:
            raise RefusedError("SL306", "a key without a value", self.at)
        if isinstance(target, ADict) and target.sealed:
            raise self.changed(target)
        self.check_keys(target, items, 2)
        if isinstance(target, ADict):
            if len(target.flat) >= 2 * VAST:
                self.let_go(items)
            if target.flat:
                target.flat.extend(items)
            else:
                target.flat = items  # nobody else has them
            self.memory += A_SLOT * len(items)
        else:
            self.items_of(target, _AS_DICT, items)
            self.check_item_names(target, items)

    def add_items(self, target: object, items: list[Any]) -> None:
        if not isinstance(target, ASet) or target.frozen:
            raise RefusedError("SL320", f"items are added to {describe(target)}, which takes none", self.at)
        if target.sealed:
            raise self.changed(target)
        self.check_keys(target, items, 1)
        if len(target.items) >= VAST:
            self.let_go(items)
        target.items.extend(items)
        self.memory += A_SLOT * len(items)

    def items_of(self, target: object, kind: i64, items: list[Any]) -> None:
        """Item opcodes call `append`, `extend` or `__setitem__` of whatever is there; before its state, always."""
        if not isinstance(target, Instance):
            raise RefusedError("SL320", f"items are added to {describe(target)}, which takes none", self.at)
        origin = target.origin
        if target.built:
            raise RefusedError("SL320", "items are added after the state was set", self.at, origin.name)
        if origin.name in RECURSIVE and any(may_hold(one) for one in items):
            self.nests()
        if target.filled and target.filled != kind:
            # Where keys are attributes (Bunch), a key `append` or `extend` is what APPEND would call.
            raise RefusedError("SL320", "items are added as to a list and as to a dict", self.at, origin.name)
        target.filled = kind
        if origin.first_items < 0:
            origin.first_items = self.at
            origin.used |= ITEMS
        if self.record is not None:
            self.record.append(("items", origin.module, origin.qualname))

    def check_item_names(self, target: object, items: list[Any]) -> None:
        """Refuse keys that numpy or Python would look up as special methods where keys are attributes (Bunch)."""
        if isinstance(target, Instance) and target.origin.module != "collections":
            for key in items[::2]:
                if (key[:2] == "__" and key[-2:] == "__") if isinstance(key, str) else is_text(key):
                    raise RefusedError("SL320", f"an item has {describe(key)} as its key", self.at, target.origin.name)

    def changed(self, target: object) -> RefusedError:
        return RefusedError("SL320", f"{describe(target)} changes after it was checked", self.at)

    def check_keys(self, target: object, items: list[Any], step: i64) -> None:
        """Let only keys be hashed that hash in bounded time, without recursion, and without collisions on purpose."""
        index: i64 = 0
        count: i64 = len(items)
        while index < count:
            key = items[index]
            if not isinstance(key, str):
                self.check_key(target, key)
            index += step

    def check_key(self, target: object, key: object) -> None:
        if not isinstance(target, (ADict, ASet, Instance)):
            raise RefusedError("SL320", f"items are added to {describe(target)}, which takes none", self.at)
        keys: Any = target.keys
        if keys is None:
            keys = target.keys = Keys(isinstance(target, ASet))
            self.memory += A_CONTAINER
        self.spend(keys.add(key, self.max_odd_keys, self.at))
        self.memory += 16
