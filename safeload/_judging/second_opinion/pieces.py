"""Cut an artifact's stream into plain pickles: without the bytes of arrays, and with nested pickles by themselves.

joblib writes an array's bytes into the middle of a pickle, where no tool that knows only pickle can read on.  A frame
always ends where such bytes begin (the scanner refuses others), so what is left without them is a whole pickle.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from safeload._scan import scan_stream
from safeload._scan.sources import open_source
from safeload.findings import RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeload._scan import Limits, Rules, Source, Trace

__all__ = ["MAX_OPCODES", "Cut", "Dissection", "Piece", "cut", "dissect"]

MAX_OPCODES: Final = 1_000_000
_MAX_BYTES: Final = 64 << 20  # of all that is not arrays


@dataclass(frozen=True, slots=True)
class Cut:
    """What was cut out of a pickle: an array with its padding, or a nested pickle; offsets in the unpacked stream."""

    nested: bool
    begin: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One plain pickle.

    `cuts` says at which position of `data` what was cut out; `start` is the offset of its first byte.
    """

    start: int
    data: bytes
    cuts: tuple[tuple[int, Cut], ...] = ()
    nested: bool = False

    def offset(self, position: int) -> int:
        """Return where in the unpacked stream a byte of `data` stands."""
        index = bisect_right(self.cuts, position, key=lambda item: item[0])
        if not index:
            return self.start + position
        before, last = self.cuts[index - 1]
        return last.end + position - before


@dataclass(frozen=True, slots=True, kw_only=True)
class Dissection:
    """An artifact in pieces, the outer pickle first.

    `trace` is the scan with its events.  `complete` says whether it understood all of the stream; if it did not, the
    last bytes are as they came.  `problem` says why there are no pieces, where there are none.
    """

    trace: Trace | None = None
    pieces: tuple[Piece, ...] = ()
    complete: bool = False
    problem: str = ""


def dissect(
    stream: BinaryIO,
    size: int,
    rules: Rules,
    limits: Limits,
    *,
    max_bytes: int = _MAX_BYTES,
    max_opcodes: int = MAX_OPCODES,
) -> Dissection:
    """Return an artifact's pickles; raises nothing that is in the file."""
    limits = limits.for_file(size).tightened({"max_opcodes": max_opcodes})
    try:
        trace = scan_stream(_source(stream, size, limits), rules, limits, record=True)
        if any(finding.code == "SL501" for finding in trace.findings):
            return Dissection(problem=f"it has more than {limits.max_opcodes} opcodes")
        pieces = cut(_source(stream, size, limits), trace.events, max_bytes)
    except RefusedError as refused:
        return Dissection(problem=refused.finding.message)
    # What the policy does not allow was understood; after any other finding, nothing more was read.
    complete = all(finding.code.startswith("SL4") for finding in trace.findings)
    return Dissection(trace=trace, pieces=pieces, complete=complete)


def _source(stream: BinaryIO, size: int, limits: Limits) -> Source:
    stream.seek(0)
    return open_source(stream, size, max_unpacked=limits.max_unpacked, max_ratio=limits.max_ratio)[0]


def cut(source: Source, events: Sequence[tuple[Any, ...]], max_bytes: int = _MAX_BYTES) -> tuple[Piece, ...]:
    """Cut a stream at what a recorded scan says of its arrays and nested pickles.

    Raises:
        RefusedError: what the scan says cannot be true of this stream, or more than `max_bytes` are left.
    """
    parts: list[bytes] = []
    nested: list[Piece] = []
    cuts: list[tuple[int, Cut]] = []
    at = kept = total = 0
    for one in _extents(events):
        if not at <= one.begin <= one.start <= one.end:
            raise RefusedError("SL325", "arrays of the pickle overlap", one.begin)
        wanted = one.begin - at + (one.end - one.begin if one.nested else 0)
        total += wanted
        if total > max_bytes:
            raise _too_large(max_bytes)
        parts.append(_exactly(source, one.begin - at, at))
        kept += len(parts[-1])
        if one.nested:
            nested.append(Piece(one.begin, _exactly(source, one.end - one.begin, one.begin), nested=True))
        else:
            source.skip(one.end - one.begin)
        cuts.append((kept, one))
        at = one.end
    rest = source.read(max_bytes - total + 1)
    if len(rest) > max_bytes - total:
        raise _too_large(max_bytes)
    parts.append(rest)
    return (Piece(0, b"".join(parts), tuple(cuts)), *nested)


def _extents(events: Sequence[tuple[Any, ...]]) -> list[Cut]:
    found = []
    for event in events:
        if event[0] == "array":
            _, start, length, begin = event
            found.append(Cut(False, begin, start, start + length))
        elif event[0] == "nested":
            _, start, length = event
            found.append(Cut(True, start, start, start + length))
    return found


def _exactly(source: Source, size: int, offset: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise RefusedError("SL325", f"the scanner read {size} bytes where the file has {len(data)}", offset)
    return data


def _too_large(max_bytes: int) -> RefusedError:
    return RefusedError("SL503", f"the pickle without its arrays has more than {max_bytes} bytes")
