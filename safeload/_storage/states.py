"""The states of a pair while it is being replaced: which manifest belongs to the artifact, and what is left to do.

A pair is the artifact and its manifest, and, while a writer is at work, the next manifest beside them (`.next`). The
writer puts the next manifest down first, then the new artifact, and then gives the next manifest the manifest's name.
So at every moment one of the two manifests belongs to the artifact. A reader, the writer itself where it stops early,
and a writer who finds what another one left all ask `state_of`, and do what its row says:

    manifest   next      reader takes   writer does            when that is
    --------   ------    ------------   ---------------------  -----------------------------------------------
    own        absent    manifest       nothing                no writer is at work
    own        other     manifest       removes next           the new artifact is not in place yet
    own        own       manifest       finishes               the new artifact has the bytes of the old one
    other      own       next           finishes               the new artifact is in place
    absent     own       next           finishes               the same, where there was no pair before
    absent     other     none           removes next           the first artifact is not in place yet
    absent     absent    none           nothing                the artifact was never signed
    other      absent    none           nothing                the artifact was changed after it was signed
    other      other     none           removes next           the same, and a writer was stopped early

To finish is to give the next manifest the manifest's name. A reader opens the manifest first, and the next one only if
the manifest does not hold; a writer looks at the next manifest alone. So there are rows for what is not known yet, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["MANIFEST_SUFFIX", "NEXT_SUFFIX", "STATES", "Match", "State", "ToDo", "state_of"]

MANIFEST_SUFFIX: Final = ".manifest.json"
NEXT_SUFFIX: Final = MANIFEST_SUFFIX + ".next"


class Match(Enum):
    """How one of the two manifests relates to the current artifact."""

    UNSEEN = "not looked at yet"
    ABSENT = "not there"
    OTHER = "of another artifact, or of none"
    OWN = "of this artifact"


class ToDo(Enum):
    """What a writer does with the next manifest before it does anything else."""

    LOOK = "look at it first"
    NOTHING = "nothing: it is not there"
    REMOVE = "remove it"
    FINISH = "give it the manifest's name"


@dataclass(frozen=True, slots=True)
class State:
    """One row of the table.

    Attributes:
        belongs: the suffix of the manifest that belongs to the artifact; None if none does, or it is not known yet.
        read: the suffix of the manifest that a reader opens next; None if `belongs` is known.
        todo: what a writer does.
    """

    belongs: str | None
    read: str | None
    todo: ToDo


_UNSEEN, _ABSENT, _OTHER, _OWN = Match.UNSEEN, Match.ABSENT, Match.OTHER, Match.OWN
_LOOK, _NOTHING, _REMOVE, _FINISH = ToDo.LOOK, ToDo.NOTHING, ToDo.REMOVE, ToDo.FINISH

STATES: Final = {
    # what the manifest is, what the next one is: belongs, read, todo
    (_UNSEEN, _UNSEEN): State(None, MANIFEST_SUFFIX, _LOOK),
    (_UNSEEN, _ABSENT): State(None, MANIFEST_SUFFIX, _NOTHING),
    (_UNSEEN, _OTHER): State(None, MANIFEST_SUFFIX, _REMOVE),
    (_UNSEEN, _OWN): State(None, MANIFEST_SUFFIX, _FINISH),
    (_ABSENT, _UNSEEN): State(None, NEXT_SUFFIX, _LOOK),
    (_ABSENT, _ABSENT): State(None, None, _NOTHING),
    (_ABSENT, _OTHER): State(None, None, _REMOVE),
    (_ABSENT, _OWN): State(NEXT_SUFFIX, None, _FINISH),
    (_OTHER, _UNSEEN): State(None, NEXT_SUFFIX, _LOOK),
    (_OTHER, _ABSENT): State(None, None, _NOTHING),
    (_OTHER, _OTHER): State(None, None, _REMOVE),
    (_OTHER, _OWN): State(NEXT_SUFFIX, None, _FINISH),
    (_OWN, _UNSEEN): State(MANIFEST_SUFFIX, None, _LOOK),
    (_OWN, _ABSENT): State(MANIFEST_SUFFIX, None, _NOTHING),
    (_OWN, _OTHER): State(MANIFEST_SUFFIX, None, _REMOVE),
    (_OWN, _OWN): State(MANIFEST_SUFFIX, None, _FINISH),
}


def state_of(manifest: Match = Match.UNSEEN, next_manifest: Match = Match.UNSEEN) -> State:
    """Return the row of the table for what was seen of a pair."""
    return STATES[manifest, next_manifest]
