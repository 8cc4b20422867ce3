"""What is kept while a stream is read, and how much: the memo, an estimate of the memory, a count of the work.

The limits hold by this count and not by what the machine happens to have.  Everything that is made is counted once,
too high rather than too low, and taken off again only where nobody can have it any more: it was memoised at most once,
the memo never gave it out, and what took it from the stack let go of it.

Two kinds of state meet here.  Some of it decides verdicts: limits, and what may be used once only (`Forbidden` values
in the memo, marks on the values themselves).  Some of it only saves memory, and changes no verdict but that of
max_memory: one value stands for many that are alike (`blobs`, `last_array`, `scalars`, `finished` of a class), and what
was used up is dropped.  `Ledger.__init__` has the two apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from safeload._scan import forms
from safeload._scan.values import (
    FORBIDDEN_ARGUMENTS,
    FORBIDDEN_HOLDER,
    FORBIDDEN_STATE,
    FORBIDDEN_WRAPPER,
    LET_GO,
    USED_UP,
    ADict,
    AList,
    Array,
    ASet,
    Blob,
    Forbidden,
    Global,
    Instance,
    Wrapper,
)
from safeload._scan.window import HUGE, Window
from safeload.findings import RefusedError

if TYPE_CHECKING:
    from mypy_extensions import i64

    from safeload._scan.limits import Limits
    from safeload._scan.window import Source

_MAX_DEPTH: Final = 20  # patterns look no deeper than this
# How many bytes are kept of what, by estimate; pure Python's and compiled objects differ little.
A_SLOT: Final = 9
A_TUPLE: Final = 64
A_MARK: Final = 96
A_TEXT: Final = 64
AN_INTEGER: Final = 40
A_CONTAINER: Final = 176
AN_OBJECT: Final = 96
A_GLOBAL: Final = 1500
A_DTYPE: Final = 700
A_NATIVE: Final = 400
A_NAME: Final = 120
_OFTEN: Final = 1 << 13  # opcodes
VAST: Final = 10_000  # so many items of a container are kept as they are


class Ledger(Window):
    """The memo of one stream, and what it and all else that is kept amounts to."""

    def __init__(self, source: Source, limits: Limits) -> None:
        super().__init__(source)
        self.max_memory: i64 = limits.max_memory
        self.max_memo: i64 = limits.max_memo
        self.max_stack: i64 = limits.max_stack
        self.max_opcodes: i64 = limits.max_opcodes
        self.max_odd_keys: i64 = limits.max_odd_keys
        self.max_nested: i64 = limits.max_nested

        # What verdicts rest on.
        self.memo: list[Any] = []
        self.opcodes: i64 = 0
        self.memory: i64 = 0  # bytes that are kept, by estimate
        self.nesting: i64 = 0  # how many objects could be dropped by recursion

        # What decides whether memory may be given back: nobody else may have the value, and it was counted only once.
        # Where these two are not sure, nothing is given back.
        self.fetched: i64 = -1  # the greatest index that was ever read from this memo
        self.kept_twice: bool = False  # whether the memo may keep a value in two places, or an int

        # What saves memory, and changes no verdict but that of max_memory: one value in the place of many like it.
        self.blobs: dict[int, Blob] = {}
        self.last_array: Array | None = None
        self.scalars: list[Instance] = []
        # What the memo gives out for a state that was used up: one of this stream's own, which it may mark.
        self.used_state: ADict = ADict(USED_UP)
        self.used_state.sealed = True

    # ----------------------------------------------------------------------------------------- limits

    def spend(self, work: i64) -> None:
        """Count what takes as long as so many opcodes."""
        self.work += work
        if self.opcodes + self.work > self.max_opcodes:
            raise RefusedError("SL501", f"the work exceeds that of {self.max_opcodes} opcodes (max_opcodes)", self.at)

    def weigh(self, value: object) -> None:
        """Count the parts of arguments or of a state that a constraint could look at: they may be shared by many.

        A container that was looked through is marked, and not looked through again.
        """
        pending: list[object] = []
        depths: list[int] = []
        weight: i64 = 0
        if isinstance(value, tuple):
            weight = 1 + len(value)
            add_containers(value, pending)
        elif isinstance(value, ADict) and value.found is not None and value.proven is None:
            weight = 1 + len(value.flat)
            add_containers(value.found.parts, pending)
        else:
            pending.append(value)
            depths.append(0)
        while len(depths) < len(pending):
            depths.append(1)
        while pending:
            one = pending.pop()
            depth = depths.pop()
            parts: list[object] | tuple[object, ...] = ()
            if isinstance(one, tuple):
                parts = one
            elif isinstance(one, (AList, ASet)) and one.proven is None:
                parts = one.items
            elif isinstance(one, ADict) and one.proven is None:
                parts = one.flat
            weight += 1 + len(parts)
            if weight > 1000:
                self.spend(weight)
                weight = 0
            if depth < _MAX_DEPTH:
                add_containers(parts, pending)
                while len(depths) < len(pending):
                    depths.append(depth + 1)
        if weight > 8:
            self.spend(weight)

    def fill(self, wanted: i64) -> None:
        """Read on, as long as what was read so far does not keep too much."""
        self.check_memory()
        super().fill(wanted)

    def check_memory(self) -> None:
        if self.memory > self.max_memory:
            raise RefusedError(
                "SL509", f"the scan needs more than {self.max_memory} bytes of memory (max_memory)", self.at
            )

    def check_limits(self, stack: list[Any], metastack: list[list[Any]]) -> i64:
        """Refuse what is too much by now: of memory, of values that are open, of opcodes.

        Return at which number of opcodes to ask again.
        """
        most = self.max_stack
        count: i64 = len(stack)
        if count <= most and metastack:
            for below in metastack:
                count += len(below)
        if count > most or len(metastack) > most:
            raise RefusedError("SL505", f"more than {most} values are open at once (max_stack)", self.at)
        marks: i64 = len(metastack)
        self.memory += A_MARK * marks
        self.check_memory()
        self.memory -= A_MARK * marks
        self.work += marks >> 3  # they were counted one by one
        left: i64 = self.max_opcodes - self.work
        if self.opcodes > left:
            raise RefusedError(
                "SL501", f"the opcodes, or as much other work, exceed {self.max_opcodes} (max_opcodes)", self.at
            )
        return min(self.opcodes + _OFTEN, left)

    # ------------------------------------------------------------------------------------------- memo

    def put(self, index: i64, value: object) -> None:
        """BINPUT and its kin; picklers number the memo without gaps, and a gap could be 2^32 wide."""
        memo = self.memo
        if index == len(memo):
            if index >= self.max_memo:
                raise self.memo_full()
            memo.append(self.kept(value))
            self.memory += A_SLOT
        elif index < len(memo):
            raise RefusedError("SL307", f"memo {index} is written twice", self.at)
        else:
            raise RefusedError("SL307", f"memo {index} is written before a lower one", self.at)

    def kept(self, value: object) -> object:
        """Return the value that the memo keeps; for a value that may be used only once, nothing that can be fetched."""
        # Compiled, setting an attribute of one of several classes would be slow.
        if isinstance(value, ADict):  # noqa: SIM114
            value.slot = self.slot_after(value.slot)
        elif isinstance(value, Array):  # noqa: SIM114
            value.slot = self.slot_after(value.slot)
        elif isinstance(value, Instance):
            value.slot = self.slot_after(value.slot)
        elif isinstance(value, int):
            self.kept_twice = True
        elif isinstance(value, Wrapper):
            return FORBIDDEN_WRAPPER
        elif isinstance(value, tuple) and len(value) >= 3 and isinstance(value[0], Global):
            # The classes in these arguments count as used by the call, so nobody else may get hold of them.
            second: object = value[1]
            base = second.name if isinstance(second, Global) else ""
            if (
                value[0].form == forms.ARRAY_CLASS
                or (base == "builtins.object" and value[2] is None)
                or (base == "builtins.dict" and isinstance(value[2], ADict) and self.proto < 2)
                or (base == "builtins.tuple" and isinstance(value[2], tuple) and self.proto < 2)
            ):
                return FORBIDDEN_ARGUMENTS
        return value

    def slot_after(self, slot: i64) -> i64:
        """Return where the memo keeps a value, now that it takes it, for one that was kept there before."""
        return len(self.memo) if slot == -1 else -2

    def memo_full(self) -> RefusedError:
        return RefusedError("SL502", f"the memo holds more than {self.max_memo} values (max_memo)", self.at)

    def no_memo(self, index: i64) -> RefusedError:
        return RefusedError("SL307", f"memo {index} is read but was never written", self.at)

    def fetch(self, value: object) -> None:
        """Note that the memo gives this out once more."""
        if isinstance(value, Global):
            value.pushed += 1
        elif isinstance(value, ADict):
            value.shared = True
        elif isinstance(value, Forbidden):
            raise RefusedError(value.code, value.message, self.at)

    # ------------------------------------------------------------------------------------------ sharing

    def unfetched(self, slot: i64) -> bool:
        """Tell whether the memo never gave out a value that it keeps here, so that it stands in one more place only."""
        return slot > self.fetched and slot >= 0

    def used_up(self, parts: tuple[Any, ...], data: i64) -> None:
        """Forget a tuple that a form of numpy's took, if it was memoised just before; and its bytes, number `data`.

        numpy makes both for this one use, so no pickler fetches them again.
        """
        memo = self.memo
        last: i64 = len(memo) - 1
        if last < 1 or not self.unfetched(last - 1) or memo[last] is not parts or memo[last - 1] is parts:
            return
        memo[last] = FORBIDDEN_ARGUMENTS
        self.memory -= A_TUPLE + 8 * len(parts)
        content = parts[data]
        if memo[last - 1] is not content or not isinstance(content, bytes) or len(content) < 2:
            return
        if last == 1 or memo[last - 2] is not content:
            memo[last - 1] = self.blob(len(content))
            self.memory -= AN_INTEGER + len(content)

    def let_go(self, items: list[Any]) -> None:
        """Keep of the next items of a vast container only which are texts and integers, not what they say.

        No rule and no form looks for one of them, and what compares them finds them equal to nothing.  A vocabulary
        would take five times the memory.  A text may go that the memo keeps once and has not given out, and an integer
        that it never kept, because only these were counted just once.
        """
        if self.kept_twice:
            return
        memo = self.memo
        index: i64 = len(items) - 1
        slot: i64 = len(memo) - 1
        fetched: i64 = max(self.fetched, 0)
        freed: i64 = 0
        while index >= 0:
            value = items[index]
            if isinstance(value, str):
                # Picklers memoise each before they write the next one.
                if slot > fetched and memo[slot] is value and memo[slot - 1] is not value:
                    memo[slot] = items[index] = LET_GO
                    slot -= 1
                    freed += A_TEXT + len(value)
            elif isinstance(value, int) and (value > 255 or value < 0):
                items[index] = HUGE
                freed += AN_INTEGER
            index -= 1
        self.memory -= freed

    def blob(self, length: int) -> Blob:
        found = self.blobs.get(length)
        if found is None:
            found = self.blobs[length] = Blob(length, False)
        return found

    def finished(self, target: object, state: object) -> object:
        """Return what stands for an object that has its state, and drop what was kept until then.

        Whoever got hold of the object meanwhile (by the memo, from within its own state) has one that is done, too.
        """
        if isinstance(state, ADict) and isinstance(target, (Instance, Wrapper)):
            self.memory -= A_SLOT * len(state.flat)
            state.flat = USED_UP
            state.found = None
            if isinstance(target, Wrapper):
                if state.slot >= 0:
                    self.memo[state.slot] = FORBIDDEN_STATE
                    self.memory -= A_CONTAINER
            elif state.holds:
                if state.slot >= 0:
                    self.memo[state.slot] = FORBIDDEN_HOLDER
            elif self.unfetched(state.slot):
                self.memo[state.slot] = self.used_state
                self.memory -= A_CONTAINER
        if isinstance(target, Instance):
            if target.native is not None:
                # What is known of it tells it apart.
                self.memory += A_NATIVE
                return target
            shared = target.origin.finished
            if shared is None or target.keys is not None:
                target.origin.finished = target
                return target
            if self.unfetched(target.slot):
                self.memo[target.slot] = shared
                self.memory -= AN_OBJECT
            return shared
        if isinstance(target, Array):
            if isinstance(state, tuple):
                self.used_up(state, 4)
                if isinstance(state[4], AList):
                    self.memory -= A_SLOT * len(state[4].items)
                    state[4].items = USED_UP
            return self.one_array(target)
        return target

    def new_array(self, array: Array) -> Array:
        """Return the array before, if nothing tells this one, which nobody else has yet, apart from it."""
        one = self.one_array(array)
        if one is not array:
            self.memory -= AN_OBJECT
        return one

    def one_array(self, array: Array) -> Array:
        """Return the array before, if nothing tells the two apart."""
        if array.contents is not None or array.trees >= 0 or array.odd:
            self.memory += A_NATIVE
            return array
        last = self.last_array
        if last is None or last.origin is not array.origin or last.dtype is not array.dtype:
            self.last_array = array
            return array
        if last.shape != array.shape:
            self.last_array = array
            return array
        if self.unfetched(array.slot):
            self.memo[array.slot] = last
            self.memory -= AN_OBJECT
        return last

    def scalar(self, origin: Global, text: bool) -> Instance:
        """Return what stands for every scalar of numpy; `text` tells that it is one of those that hash as texts."""
        for one in self.scalars:
            if one.origin is origin and one.text == text:
                return one
        made = Instance(origin)
        made.built = made.scalar = True
        made.text = text
        self.scalars.append(made)
        return made


def text_size(text: str, encoded: i64) -> i64:
    """Return what a text takes that was so many bytes of UTF-8: as many where all is ASCII, else up to four each."""
    return A_TEXT + (encoded if len(text) == encoded else 4 * len(text))


def add_containers(parts: list[Any] | tuple[Any, ...], pending: list[object]) -> None:
    """Add those parts that have parts of their own."""
    for part in parts if isinstance(parts, list) else list(parts):
        # One by one, and the most frequent first: this is done for every word of a vocabulary.
        if isinstance(part, (str, int)) or part is None:
            continue
        # Compiled, a tuple of these classes and others would be slow.
        if isinstance(part, tuple) or isinstance(part, (AList, ADict, ASet)):  # noqa: SIM101
            pending.append(part)
