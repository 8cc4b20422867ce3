"""What scan --deep and inspect say beyond the report: fickling's opinion, its program, and the opcodes."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeload._cli.terminal import plain, plain_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from safeload._cli.terminal import Painter
    from safeload._judging.second_opinion import Dissection
    from safeload._scan import Limits
    from safeload.policy import Policy

__all__ = ["look_deeper", "look_lines", "opinion_lines"]

_MAX_REMARKS = 5  # in text; JSON has more
_MAX_REMARK = 300
_MAX_OPCODES = 100_000  # that are shown; a small file can unpack to a million


def opinion_lines(opinion: dict[str, Any] | None, paint: Painter) -> Iterator[str]:
    """Say what fickling makes of the artifact, as the report's JSON has it; nothing where it was not asked."""
    if opinion is None:
        return
    name = paint(plain(f"fickling {opinion['version'] or ''}".rstrip()), bold=True)
    read = f"{_count(opinion['opcodes'], 'opcode')}, {_count(opinion['imports'], 'import')}"
    reason = plain(opinion["reason"] or "")[:_MAX_REMARK]
    if opinion["agrees"]:
        yield f"{name} {paint('reads the same', 'green')}: {read}"
    elif opinion["agrees"] is False:
        yield f"{name} {paint('READS SOMETHING ELSE', 'red', bold=True)}: {read}"
    elif opinion["examined"]:
        yield f"{name} {paint('not compared', 'yellow')}: {reason}"
    else:
        yield f"{name} {paint('not examined', 'yellow')}: {reason}"
    if opinion["severity"] is None:
        return
    yield f"  its own judgement: {plain(opinion['severity'].lower().replace('_', ' '))}"
    remarks = opinion["remarks"]
    for remark in remarks[:_MAX_REMARKS]:
        yield f"  - {plain(remark['message'])[:_MAX_REMARK]}"
    if len(remarks) > _MAX_REMARKS:
        yield f"  … and {len(remarks) - _MAX_REMARKS} more: --format json has them"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def look_deeper(path: str, policy: Policy, limits: Limits, *, opcodes: bool, program: bool) -> dict[str, Any]:
    """Return the opcodes and fickling's program of an artifact, as far as asked for, as JSON can hold them.

    Raises:
        OSError, StorageError: it cannot be read.
    """
    from safeload._internal.files import open_artifact
    from safeload._judging.second_opinion import disassemble, dissect

    if not opcodes and not program:
        return {}
    with open_artifact(Path(path)) as blob, blob.stream() as stream:
        dissection = dissect(stream, blob.size, policy, limits)
    found: dict[str, Any] = {}
    if opcodes:
        lines = [asdict(line) for line in itertools.islice(disassemble(dissection), _MAX_OPCODES + 1)]
        found["disassembly"] = {
            "reason": dissection.problem or None,
            "opcodes": lines[:_MAX_OPCODES],
            "whole": len(lines) <= _MAX_OPCODES,
        }
    if program:
        found["program"] = _decompiled(dissection)
    return found


def _decompiled(dissection: Dissection) -> dict[str, Any]:
    from safeload._judging.second_opinion import Unanswered, decompile

    try:
        return {"reason": None, "pickles": [asdict(one) for one in decompile(dissection)]}
    except Unanswered as why:
        return {"reason": str(why), "pickles": []}


def look_lines(found: dict[str, Any], paint: Painter) -> Iterator[str]:
    """Write what `look_deeper` returned as text."""
    if "disassembly" in found:
        yield ""
        yield paint("opcodes", bold=True)
        yield from _opcode_lines(found["disassembly"])
    if "program" in found:
        yield ""
        yield paint("what it does, as fickling decompiles it", bold=True)
        yield "  (without arrays; bytearrays are shown as bytes, and floats of protocol 0 as text)"
        yield from _program_lines(found["program"])


def _opcode_lines(found: dict[str, Any]) -> Iterator[str]:
    if found["reason"]:
        yield f"  none are shown: {plain(found['reason'])}"
    lines: list[dict[str, Any]] = found["opcodes"]
    width = len(str(lines[-1]["offset"])) if lines else 0
    for line in lines:
        text = f"  {line['offset']:>{width}}  {'  ' * line['depth']}{line['opcode']:<16} {line['argument']}"
        yield plain(f"{text:<44}  # {line['note']}" if line["note"] else text.rstrip())
    if not found["whole"]:
        yield f"  … and more: only the first {_MAX_OPCODES} are shown"


def _program_lines(found: dict[str, Any]) -> Iterator[str]:
    if found["reason"]:
        yield f"  not decompiled: {plain(found['reason'])}"
    for one in found["pickles"]:
        kind = "nested pickle, the objects of an array," if one["nested"] else "pickle"
        yield f"  # {kind} at byte {one['start']}"
        if one["error"]:
            yield f"  # not decompiled: {plain(one['error'])}"
            continue
        for line in plain_lines(one["text"]).split("\n"):
            yield f"  {line}"
        if not one["whole"]:
            yield "  # … and more, which is not shown"
