"""What runs in the process that fickling is asked in: reads pickles from stdin, writes one JSON document to stdout.

fickling reads pickles and does not load them; that it is alone here, with little memory and for a limited time, is
because how long and how much it takes is up to the file.
"""

from __future__ import annotations

import ast
import json
import os
import re
import resource
import sys
from typing import Any, BinaryIO, Final

__all__ = ["KINDS", "main"]

# The opcodes that are compared, by what the scanner's events call them.
KINDS: Final = {
    "GLOBAL": "global", "STACK_GLOBAL": "global", "REDUCE": "call", "NEWOBJ": "new", "NEWOBJ_EX": "new",
    "BUILD": "state",
}  # fmt: skip
_MAX_REMARKS = 200
_MAX_REMARK = 500
# Opcodes that fickling does not know, and known ones that are followed by just the same: so it sees a bytearray as
# bytes (BINBYTES8), and a float of protocol 0 as text (UNICODE).
_STANDS_FOR: Final = {"BYTEARRAY8": b"\x8e", "FLOAT": b"V"}


def main() -> None:
    """Answer what the arguments ask: seconds, bytes of memory, characters of program, 0 for none but an opinion."""
    seconds, memory, characters = map(int, sys.argv[1:4])
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # fickling prints its warnings
    for limit, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
        _limit(limit, value)
    with answers:
        json.dump(_answer(sys.stdin.buffer, characters), answers)


def _limit(limit: int, value: int) -> None:
    try:
        resource.setrlimit(limit, (value, value))
    except (OSError, ValueError):
        pass  # it is lower already, or this system has none: the parent's clock remains


def _answer(stream: BinaryIO, characters: int) -> dict[str, Any]:
    import fickling

    pieces = []
    while head := stream.read(8):
        pieces.append(stream.read(int.from_bytes(head, "little")))
    ask = _program if characters else _opinion
    answers = []
    for piece in pieces:
        answers.append(_asked(ask, piece, characters))
        characters -= len(answers[-1].get("program", ""))
    return {"version": str(fickling.__version__), "pieces": answers}


def _asked(ask: Any, data: bytes, characters: int) -> dict[str, Any]:
    try:
        return _understood(ask, data, characters)
    except Exception as error:  # noqa: BLE001 - whatever another tool raises says that it did not understand
        return {"error": _said(error), "malformed": _is_malformed(error)}


def _understood(ask: Any, data: bytes, characters: int) -> dict[str, Any]:
    from fickling.fickle import Pickled

    result: dict[str, Any] = ask(Pickled.load(_known(data)), characters)
    return result


def _said(error: Exception) -> str:
    text = re.sub(r" at 0x[0-9a-f]+", "", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:_MAX_REMARK]}"


def _is_malformed(error: Exception) -> bool:
    """Tell whether fickling says that this is no pickle, as opposed to one that it cannot take."""
    from fickling.fickle import PickleDecodeError

    return isinstance(error, PickleDecodeError)


def _known(data: bytes) -> bytes:
    """Write the opcodes that fickling does not know as others."""
    import io
    import pickletools

    changed = bytearray(data)
    try:
        for opcode, _, position in pickletools.genops(io.BytesIO(data)):
            if opcode.name in _STANDS_FOR and position is not None:
                changed[position : position + 1] = _STANDS_FOR[opcode.name]
    except ValueError:
        pass  # fickling is to say so
    return bytes(changed)


def _opinion(pickled: Any, _characters: int) -> dict[str, Any]:
    from fickling.analysis import Analyzer

    marks = [(opcode.pos, KINDS[opcode.name]) for opcode in pickled if opcode.name in KINDS]
    last = pickled[-1]
    answer: dict[str, Any] = {
        "opcodes": len(pickled), "marks": marks, "end": last.pos + 1, "imports": None, "severity": None, "remarks": [],
    }  # fmt: skip
    try:
        answer["imports"] = _imports(pickled)
        results = Analyzer.default_instance.analyze(pickled)
    except Exception as error:  # noqa: BLE001 - as above; the opcodes are known all the same
        answer["error"] = _said(error)
        return answer
    answer["severity"] = (results.severity.severity, results.severity.name)
    remarks = sorted(results.results, key=lambda one: -one.severity.severity)
    answer["remarks"] = [
        (one.severity.severity, one.severity.name, str(one)[:_MAX_REMARK]) for one in remarks[:_MAX_REMARKS]
    ]
    return answer


def _tree(pickled: Any) -> Any:
    """Return fickling's program; where it gave up for its own limits, without these: ours are the process's."""
    from fickling import fickle

    tree = pickled.ast
    if getattr(pickled, "has_resource_exhaustion", False):
        most = 1 << 40
        limits = fickle.InterpreterLimits(
            max_opcodes=most, max_stack_depth=most, max_memo_size=most, max_get_ratio=most
        )
        tree = fickle.Interpreter(pickled, limits=limits).to_ast()
    if not tree.body:
        raise ValueError("fickling could not interpret it")
    return tree


def _imports(pickled: Any) -> list[tuple[str, str]]:
    """Return what fickling's program imports, in order; it has one import for every opcode that names a global."""
    return [
        (node.module or "", alias.name)
        for node in _tree(pickled).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def _program(pickled: Any, characters: int) -> dict[str, Any]:
    parts: list[str] = []
    left = characters
    for statement in _tree(pickled).body:
        text = _unparsed(statement)
        if len(text) > left:
            return {"program": "\n".join([*parts, text[: max(left, 0)]]), "whole": False}
        parts.append(text)
        left -= len(text) + 1
    return {"program": "\n".join(parts), "whole": True}


def _unparsed(statement: ast.stmt) -> str:
    try:
        return ast.unparse(statement)
    except RecursionError:
        return "...  # nested too deep to print"
