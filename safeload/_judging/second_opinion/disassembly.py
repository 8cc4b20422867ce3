"""The opcodes of an artifact, with what the scanner knows about each: offsets in the file, arrays, nested pickles."""

from __future__ import annotations

import io
import pickletools
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from safeload._judging.second_opinion.child import KINDS
from safeload._judging.second_opinion.compare import named_uses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeload._judging.second_opinion.pieces import Cut, Dissection, Piece

__all__ = ["Line", "disassemble"]

_MAX_TEXT: Final = 60
_MAX_BYTES: Final = 24
_MAX_BITS: Final = 128


@dataclass(frozen=True, slots=True)
class Line:
    """One opcode, or, with a name in parentheses, what stands between opcodes; all of it printable ASCII.

    `offset` counts from the start of the unpacked stream; `depth` is 1 inside a nested pickle.
    """

    offset: int
    opcode: str
    argument: str = ""
    note: str = ""
    depth: int = 0


def disassemble(dissection: Dissection) -> Iterator[Line]:
    """Yield the opcodes in the order of the stream; nothing where there are no pieces."""
    if dissection.trace is None or not dissection.pieces:
        return
    outer, *nested = dissection.pieces
    notes = deque(named_uses(dissection.trace))
    inner = {piece.start: piece for piece in nested}
    cuts = deque(outer.cuts)
    for position, line in _opcodes(outer):
        while cuts and cuts[0][0] <= position:
            yield from _cut(cuts.popleft()[1], inner, notes)
        yield _noted(line, notes)  # now, and not before: the notes are in the order of the stream
    for _, one in cuts:
        yield from _cut(one, inner, notes)


def _cut(one: Cut, inner: dict[int, Piece], notes: deque[tuple[str, str]]) -> Iterator[Line]:
    if not one.nested:
        padding = one.start - one.begin
        before = f" after {padding} bytes of padding" if padding else ""
        yield Line(one.start, "(array)", f"{one.end - one.start} bytes{before}")
        return
    yield Line(one.start, "(nested pickle)", f"{one.end - one.start} bytes, the objects of an array")
    for _, line in _opcodes(inner[one.start], depth=1):
        yield _noted(line, notes)


def _noted(line: Line, notes: deque[tuple[str, str]]) -> Line:
    kind = KINDS.get(line.opcode)
    if kind is None or not notes or notes[0][0] != kind:
        return line
    _, name = notes.popleft()
    return Line(line.offset, line.opcode, line.argument, name if kind == "global" else f"{kind}: {name}", line.depth)


def _opcodes(piece: Piece, depth: int = 0) -> Iterator[tuple[int, Line]]:
    end = 0
    try:
        for opcode, argument, position in pickletools.genops(io.BytesIO(piece.data)):
            end = position if position is not None else end
            yield end, Line(piece.offset(end), opcode.name, _shown(opcode.name, argument), depth=depth)
    except ValueError as error:
        yield len(piece.data), Line(piece.offset(end), "(not understood)", ascii(str(error))[:200], depth=depth)
        return
    left = len(piece.data) - end - 1
    if left > 0:
        yield (
            len(piece.data),
            Line(piece.offset(end + 1), "(not understood)", f"{left} bytes after the end", depth=depth),
        )


def _shown(opcode: str, argument: Any) -> str:
    """Write an argument in printable ASCII, and not all of it where it is long."""
    if argument is None:
        return ""
    if opcode == "GLOBAL":
        return str(argument) if str(argument).isascii() and str(argument).isprintable() else ascii(argument)[:200]
    if isinstance(argument, str):
        more = f"… ({len(argument)} characters)" if len(argument) > _MAX_TEXT else ""
        return ascii(argument[:_MAX_TEXT]) + more
    if isinstance(argument, bytes | bytearray):
        more = f"… ({len(argument)} bytes)" if len(argument) > _MAX_BYTES else ""
        return repr(bytes(argument[:_MAX_BYTES])) + more
    if isinstance(argument, int) and argument.bit_length() > _MAX_BITS:
        return f"an integer of {argument.bit_length()} bits"
    return repr(argument)
