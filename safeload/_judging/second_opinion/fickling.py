"""Ask fickling, in a process of its own that is bounded in time and in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from safeload._judging.second_opinion.pieces import Dissection, Piece

__all__ = ["MAX_MEMORY", "MAX_SECONDS", "Program", "Unanswered", "ask", "decompile"]

MAX_SECONDS: Final = 20.0
MAX_MEMORY: Final = 2 << 30  # of address space
_MAX_CHARACTERS: Final = 1_000_000
# Isolated, and with the parent's own path: what it imports is what the parent would, and nothing of the working
# directory or of the environment.
_CODE: Final = """\
import sys
sys.path[:] = sys.argv[4:]
from safeload._judging.second_opinion.child import main
main()
"""


class Unanswered(Exception):
    """There is no answer, for the reason given."""


@dataclass(frozen=True, slots=True)
class Program:
    """What fickling decompiled one pickle to; `whole` is false if it is longer than what is shown of it."""

    start: int
    nested: bool
    text: str
    whole: bool
    error: str = ""


def ask(
    pieces: Sequence[Piece], *, seconds: float = MAX_SECONDS, memory: int = MAX_MEMORY, characters: int = 0
) -> dict[str, Any]:
    """Return fickling's version, and its answer for each piece: an opinion, or as many characters of program.

    Raises:
        Unanswered: it took too long, or its process ended without an answer.
    """
    command = [sys.executable, "-I", "-c", _CODE, str(int(seconds) + 5), str(memory), str(characters)]
    command += [path for path in sys.path if path]
    data = b"".join(part for piece in pieces for part in (len(piece.data).to_bytes(8, "little"), piece.data))
    try:
        result = subprocess.run(  # noqa: S603 - our own interpreter, our own code
            command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unanswered(f"it took longer than {seconds:g} seconds") from None
    except OSError as error:
        raise Unanswered(f"it could not be started: {error.strerror or error}") from error
    if result.returncode:
        how = f"by signal {-result.returncode}" if result.returncode < 0 else f"with status {result.returncode}"
        raise Unanswered(f"its process ended {how}")
    try:
        answer: dict[str, Any] = json.loads(result.stdout)
    except ValueError:
        raise Unanswered("its process gave no answer") from None
    return answer


def decompile(
    dissection: Dissection, *, seconds: float = MAX_SECONDS, characters: int = _MAX_CHARACTERS
) -> tuple[Program, ...]:
    """Return the Python program that fickling makes of each of the pickles, `characters` of it at most.

    Raises:
        Unanswered: there is none, for the reason given.
    """
    if dissection.problem:
        raise Unanswered(dissection.problem)
    answer = ask(dissection.pieces, seconds=seconds, characters=characters)
    programs = []
    for piece, one in zip(dissection.pieces, answer["pieces"], strict=True):
        text = str(one.get("program", ""))[: max(characters, 0)]
        characters -= len(text)
        whole = bool(one.get("whole")) and len(text) == len(one["program"])
        programs.append(Program(piece.start, piece.nested, text, whole, str(one.get("error", ""))))
    return tuple(programs)
