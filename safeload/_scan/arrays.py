"""Arrays as joblib writes them: a wrapper that is built of a few opcodes, and right behind it the array's bytes.

Large models are mostly such arrays, and joblib writes every one of them by the same opcodes but for the shape.  So what
was proven of one wrapper is kept with the bytes of its opcodes, and is not proven again where the same bytes return.

Behind NEWOBJ, these opcodes are cut in three parts:

    prefix     MEMOIZE EMPTY_DICT MEMOIZE MARK, the keys and values before the shape
    shape      up to three sizes and a tuple of them: the only part that differs from array to array
    suffix     the keys and values after the shape, SETITEMS BUILD

A template is a prefix and a suffix that were proven.  All templates that are kept share one prefix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from safeload._scan import forms
from safeload._scan.effects import Effects
from safeload._scan.ledger import A_SLOT, A_TUPLE, AN_INTEGER
from safeload._scan.opcodes import (
    BINGET,
    BININT,
    BININT1,
    BININT2,
    BUILD,
    EMPTY_DICT,
    EMPTY_TUPLE,
    LONG_BINGET,
    MARK,
    MEMOIZE,
    NEWFALSE,
    NEWTRUE,
    NONE,
    SETITEMS,
    TUPLE1,
    TUPLE2,
    TUPLE3,
)
from safeload._scan.values import (
    FORBIDDEN_STATE,
    FORBIDDEN_WRAPPER,
    ADict,
    Array,
    DType,
    Global,
    Wrapper,
    use_class,
)
from safeload._scan.window import four
from safeload.findings import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_extensions import i64

    from safeload._scan.limits import Limits
    from safeload._scan.native.contents import Watcher
    from safeload._scan.values import Grant
    from safeload._scan.window import Source

NO_FRAME: Final = 1 << 62
SMALL: Final = tuple([(number,) for number in range(256)])  # most shapes
_PADDED: Final = tuple([bytes((length,)) + b"\xff" * length for length in range(17)])
_PADDING: Final = tuple([b"\xff" * length for length in range(17)])
_MAX_TEMPLATES: Final = 64
_MAX_LENGTH: Final = 200  # bytes
_ROOM: Final = bytes(32)  # so that what is read behind the end of something is there, and is no opcode
_BEGIN: Final = bytes((MEMOIZE, EMPTY_DICT, MEMOIZE, MARK))
_END: Final = bytes((SETITEMS, BUILD))


class Template:
    """What was proven of a wrapper, and the effect of its opcodes beside the shape's."""

    __slots__ = ("fetched", "opcodes", "wrapped")

    def __init__(self, wrapped: forms.WrapperState, opcodes: i64, fetched: i64) -> None:
        self.wrapped = wrapped
        self.opcodes: i64 = opcodes
        self.fetched: i64 = fetched


class Arrays(Effects):
    """The arrays of one stream that joblib wrapped."""

    def __init__(
        self,
        source: Source,
        grant_of: Callable[[str], Grant | None],
        native_of: Callable[[str], tuple[str | None, bool]],
        limits: Limits,
        record: list[tuple[Any, ...]] | None,
    ) -> None:
        super().__init__(source, grant_of, native_of, limits, record)
        self.arrays: i64 = 0
        self.wrapper_at: i64 = 0  # where the opcodes begin that follow the latest wrapper's NEWOBJ
        # The templates by their suffix, and the lengths that suffixes have.
        self.prefix: bytes = b""
        self.templates: dict[bytes, Template] = {}
        self.suffix_lengths: list[int] = []
        self.template_fetched: i64 = -1  # the greatest index in the memo that the opcodes of a new template read
        # What `read_shape` has read: the shape, and what its opcodes count.
        self.shape: tuple[int, ...] = ()
        self.shape_opcodes: i64 = 0
        self.shape_memory: i64 = 0

    def wrapped(self, wrapper: Wrapper, state: object) -> forms.WrapperState:
        """BUILD on an array wrapper: the array's bytes, or a pickle of its objects, follow in the file."""
        if isinstance(state, ADict) and (state.shared or state.slot == -2):
            # Whoever else holds it would hold an array class, which only this form may use.
            raise RefusedError("SL311", "the state of an array wrapper is used elsewhere, too", self.at)
        self.count_state(wrapper.origin)
        found = forms.wrapper_state(state, self.at, self.remaining())
        if found.length >= 0 and isinstance(state, ADict):
            self.learn(state.flat, found)
        self.unbuilt -= 1
        self.arrays += 1
        return found

    def remaining(self) -> i64:
        """Return how many bytes the stream has left, -1 if that is not known."""
        return self.size - (self.base + self.pos) if self.size >= 0 else -1

    def array(self, found: forms.WrapperState) -> Array:
        """Pass over an array's bytes."""
        here: i64 = self.base + self.pos
        if found.padded:
            self.padding()
        start: i64 = self.base + self.pos
        array = Array(None)
        kind: Watcher | None = found.dtype.watcher
        if kind is None:
            self.pass_over(found.length)
        else:
            contents = array.contents = kind.another()
            self.watch(found.length, found.dtype.itemsize, contents)
            self.structures.seen(contents)
        if self.record is not None:
            self.record.append(("array", int(start), found.length, int(here)))
        array.dtype, array.shape, array.built = found.dtype.real, found.shape, True
        return self.new_array(array)

    def padding(self) -> None:
        """Joblib pads with 1 to 16 bytes of 0xff, so that the array starts at a multiple of 16."""
        pos: i64 = self.pos
        wanted: i64 = 15 - (self.base + pos) % 16 or 16
        if self.buf[pos : pos + wanted + 1] == _PADDED[wanted]:
            self.pos = pos + wanted + 1
            return
        length = self.number(1)
        if length != 16 - (self.base + self.pos) % 16:
            raise RefusedError("SL313", "the padding before an array does not align it", self.at)
        if self.take(length) != _PADDING[length]:
            raise RefusedError("SL313", "the padding before an array is not filled with 0xff", self.at)

    # ------------------------------------------------------------------------- wrappers that were seen before

    def array_by_template(self, wrapper: Wrapper, frame_end: i64, limit: i64) -> Array | None:
        """Do what the opcodes up to a wrapper's BUILD do, and pass over the array, if all is as it was seen before.

        Return None, having done nothing, if it is not: then the opcodes are run one by one.
        """
        buf = self.buf
        pos: i64 = self.pos
        self.wrapper_at = self.base + pos
        start: i64 = pos + len(self.prefix)
        if not self.templates or len(buf) - start < _MAX_LENGTH or buf[pos:start] != self.prefix:
            return None
        shape_end: i64 = self.read_shape(buf, start)
        if shape_end < 0:
            return None
        end: i64 = 0
        template: Template | None = None
        for size in self.suffix_lengths:
            end = shape_end + size
            template = self.templates.get(buf[shape_end:end])
            if template is not None:
                break
        if template is None:
            return None
        opcodes: i64 = self.opcodes + template.opcodes + self.shape_opcodes
        memo = self.memo
        if opcodes > limit or len(memo) > self.max_memo - 3:
            return None
        if frame_end != NO_FRAME and frame_end != self.base + end:
            return None
        self.opcodes = opcodes
        self.pos = end
        self.at = self.base + end - 1  # of BUILD
        memo.append(FORBIDDEN_WRAPPER)
        memo.append(FORBIDDEN_STATE)
        self.memory += 2 * A_SLOT + self.shape_memory
        if self.shape:
            memo.append(self.shape)
            self.memory += A_SLOT
        if template.fetched > self.fetched:
            self.fetched = template.fetched
        wrapped = template.wrapped
        wrapped.subclass.pushed += 1
        use_class(wrapped.subclass)
        self.count_state(wrapper.origin)
        wrapped.set_shape(self.shape, self.at, self.remaining())
        self.unbuilt -= 1
        self.arrays += 1
        return self.array(wrapped)

    def read_shape(self, buf: bytes, pos: i64) -> i64:
        """Read a shape of up to three sizes into `shape`; return where its MEMOIZE ends, -1 if it is no such shape."""
        first: i64 = 0
        second: i64 = 0
        third: i64 = 0
        count: i64 = 0
        memory: i64 = 0
        code: i64 = buf[pos]
        while code in (BININT1, BININT2, BININT):
            first, second = second, third
            if code == BININT1:
                third = buf[pos + 1]
                pos += 2
            elif code == BININT2:
                third = buf[pos + 2]
                third = buf[pos + 1] | third << 8
                pos += 3
                memory += AN_INTEGER
            else:
                third = four(buf, pos + 1)
                if third >= 1 << 31:
                    return -1
                pos += 5
                memory += AN_INTEGER
            count += 1
            if count > 3:
                return -1
            code = buf[pos]
        if code == EMPTY_TUPLE and count == 0:
            self.shape, self.shape_opcodes, self.shape_memory = (), 1, 0
            return pos + 1
        if buf[pos + 1] != MEMOIZE:
            return -1
        if code == TUPLE1 and count == 1:
            if third < 256:
                self.shape = SMALL[third]
            else:
                self.shape = (third,)
                memory += A_TUPLE + 8
        elif code == TUPLE2 and count == 2:
            self.shape = (second, third)
            memory += A_TUPLE + 16
        elif code == TUPLE3 and count == 3:
            self.shape = (first, second, third)
            memory += A_TUPLE + 24
        else:
            return -1
        self.shape_opcodes = count + 2
        self.shape_memory = memory
        return pos + 2

    def learn(self, flat: list[Any], found: forms.WrapperState) -> None:
        """Keep what was proven of a wrapper as a template, if all of its opcodes are such that this can be known.

        `flat` are the keys and values of its state.  The opcodes are gone through once more: each has to make its key
        or value from the memo, where it was before this wrapper, or be one that makes a plain value without it.
        """
        begin: i64 = self.wrapper_at - self.base
        end: i64 = self.pos
        if self.proto < 4 or begin < 0 or end - begin > _MAX_LENGTH or len(self.templates) >= _MAX_TEMPLATES:
            return
        body = self.buf[begin:end] + _ROOM
        size: i64 = end - begin
        if body[:4] != _BEGIN:
            return
        pos: i64 = 4
        shape_begin: i64 = -1
        shape_end: i64 = -1
        index: i64 = 0
        count: i64 = len(flat)
        self.template_fetched = -1
        while index < count:
            if pos >= size:
                return
            if index & 1 and flat[index - 1] == "shape":
                shape_begin = pos
                shape_end = pos = self.read_shape(body, pos)
                if pos < 0 or self.shape != flat[index]:
                    return
            else:
                pos = self.read_again(body, pos, flat[index], index & 1 == 1)
                if pos < 0:
                    return
            index += 1
        if shape_begin < 0 or pos != size - 2 or body[pos:size] != _END:
            return
        prefix, suffix = body[:shape_begin], body[shape_end:size]
        if prefix != self.prefix:
            self.prefix, self.templates, self.suffix_lengths = prefix, {}, []
        if len(suffix) not in self.suffix_lengths:
            self.suffix_lengths.append(len(suffix))
        # An opcode for each key and value but the shape, and those of _BEGIN and _END.
        opcodes: i64 = count - 1 + len(_BEGIN) + len(_END)
        self.templates[suffix] = Template(found, opcodes, self.template_fetched)

    def read_again(self, body: bytes, pos: i64, value: object, plain: bool) -> i64:
        """Return where the opcode at `pos` ends, -1 if it does not make `value` each time that these bytes return.

        With `plain`, it may make None, a bool or a small int itself.
        """
        code: i64 = body[pos]
        if code in (BINGET, LONG_BINGET):
            place: i64 = body[pos + 1] if code == BINGET else four(body, pos + 1)
            if not isinstance(value, (str, DType, Global)):
                return -1
            if place >= len(self.memo) or self.memo[place] is not value:
                return -1
            self.template_fetched = max(self.template_fetched, place)
            return pos + (2 if code == BINGET else 5)
        if plain and is_written(value, code, body[pos + 1]):
            return pos + (2 if code == BININT1 else 1)
        return -1


def is_written(value: object, code: i64, byte: i64) -> bool:
    """Tell whether this opcode, with the byte behind it, makes this plain value."""
    if code == NEWTRUE:
        return value is True
    if code == NEWFALSE:
        return value is False
    if code == NONE:
        return value is None
    return code == BININT1 and type(value) is int and value == byte
