"""Hold what fickling reads against what the scanner read: the globals, the calls, the number of opcodes, the end."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from safeload._judging.report import SecondOpinion
from safeload._judging.second_opinion.fickling import MAX_MEMORY, MAX_SECONDS, Unanswered, ask
from safeload._scan import python3_name
from safeload.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from safeload._judging.second_opinion.pieces import Dissection, Piece
    from safeload._scan import Trace

__all__ = ["named_uses", "second_opinion"]

_MAX_REMARKS = 100
_COMPARED = ("global", "call", "new", "state")


def second_opinion(
    dissection: Dissection, *, seconds: float = MAX_SECONDS, memory: int = MAX_MEMORY
) -> tuple[SecondOpinion, Finding | None]:
    """Return fickling's opinion, and a finding where it reads something else than the scanner did.

    Where fickling gave no answer, too long or too large a file among the reasons, the opinion says so; that is
    neither for the artifact nor against it.
    """
    if dissection.problem or dissection.trace is None:
        return SecondOpinion(reason=dissection.problem), None
    try:
        answer = ask(dissection.pieces, seconds=seconds, memory=memory)
    except Unanswered as why:
        return SecondOpinion(reason=str(why)), None
    answers: list[dict[str, Any]] = answer["pieces"]
    error = next((one["error"] for one in answers if "error" in one), None)
    difference = _difference(dissection.trace, dissection.pieces, answers) if dissection.complete else None
    if difference is not None:
        agrees: bool | None = False
    elif not dissection.complete or error is not None:
        agrees = None
    else:
        agrees = True
    severities = [tuple(one["severity"]) for one in answers if one.get("severity")]
    remarks = sorted((tuple(one) for each in answers for one in each.get("remarks", ())), key=lambda one: -one[0])
    opinion = SecondOpinion(
        version=answer["version"],
        examined=error is None,
        reason=error if error is not None or dissection.complete else "the scan did not understand all of it",
        agrees=agrees,
        severity=max(severities)[1] if severities else None,
        remarks=tuple(dict.fromkeys((name, text) for _, name, text in remarks))[:_MAX_REMARKS],
        pickles=len(answers),
        opcodes=sum(one.get("opcodes", 0) for one in answers),
        imports=sum(len(one.get("imports") or ()) for one in answers),
    )
    return opinion, difference


def _difference(trace: Trace, pieces: Sequence[Piece], answers: Sequence[dict[str, Any]]) -> Finding | None:
    """Return the first difference, None where there is none or where it could not be compared."""
    for piece, answer in zip(pieces, answers, strict=True):
        if answer.get("malformed"):
            return Finding("SL325", f"fickling cannot read the pickle: {answer['error']}", piece.start)
        if "opcodes" not in answer:
            return None
        if answer["end"] != len(piece.data):
            message = f"fickling reads a pickle of {answer['end']} bytes where the scanner read {len(piece.data)}"
            return Finding("SL325", message, piece.offset(answer["end"]))
    nothing = (None, "nothing", "")
    for theirs, ours in zip_longest(_merged(trace, pieces, answers), named_uses(trace)):
        offset, kind, name = theirs or nothing
        seen, seen_name = ours or nothing[1:]
        if kind != seen or (name is not None and kind == "global" and name != seen_name):
            said = f"{kind} {name}" if name else kind
            return Finding("SL325", f"fickling reads {said} where the scanner read {seen} {seen_name}".rstrip(), offset)
    count = sum(answer["opcodes"] for answer in answers)
    if count != trace.opcodes:
        return Finding("SL325", f"fickling reads {count} opcodes where the scanner read {trace.opcodes}")
    return None


def named_uses(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield what a recorded scan saw, one for each opcode that names, calls, makes or sets the state."""
    after_reconstructor = False
    for kind, *named in trace.events:
        if kind not in _COMPARED or (after_reconstructor and kind == "new"):
            after_reconstructor = False  # one opcode, which the scanner counts as both
            continue
        name = ".".join(named)
        after_reconstructor = kind == "call" and name == "copyreg._reconstructor"
        yield kind, name


def _merged(
    trace: Trace, pieces: Sequence[Piece], answers: Sequence[dict[str, Any]]
) -> list[tuple[int, str, str | None]]:
    """Return what fickling saw of all pieces in the order of the stream: where, what, and which global.

    The name is None where fickling could not interpret the piece.
    """
    found: list[tuple[int, str, str | None]] = []
    for piece, answer in zip(pieces, answers, strict=True):
        imports = answer["imports"]
        names = iter(imports or ())
        for position, kind in answer["marks"]:
            name: str | None = ""
            if kind == "global":
                name = None if imports is None else _python3(next(names, ("", "no import")), trace)
            found.append((piece.offset(position), kind, name))
    return sorted(found, key=lambda one: one[0])


def _python3(named: Sequence[str], trace: Trace) -> str:
    module, name = named
    return ".".join(python3_name(module, name) if trace.protocol < 3 else (module, name))
