"""A second opinion on an artifact: fickling's, on the same pickle streams, beside the scanner's own.

`dissect` scans once more, writing down what it sees, and cuts the stream into plain pickles, without the arrays.
`second_opinion` has fickling read these in a process of its own and compares; `decompile` prints what it makes of
them; `disassemble` prints what the scanner made of them.  Nothing here is on the way of `safeload.load`.
"""

from __future__ import annotations

from safeload._judging.second_opinion.compare import second_opinion
from safeload._judging.second_opinion.disassembly import Line, disassemble
from safeload._judging.second_opinion.fickling import Program, Unanswered, decompile
from safeload._judging.second_opinion.pieces import Dissection, Piece, dissect

__all__ = [
    "Dissection",
    "Line",
    "Piece",
    "Program",
    "Unanswered",
    "decompile",
    "disassemble",
    "dissect",
    "second_opinion",
]
