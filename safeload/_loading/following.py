"""What a watch does next: pure decisions, without a clock, a file or a thread.

A watch looks again and again. Each look gives a state: the identity of the watched files, and whether the model that
is served has expired. `Following` remembers three things and decides by them alone:

| state of this look | decision | then |
| --- | --- | --- |
| the state of the last look, no retry is due | WAIT | nothing changes |
| the state that is served | RESTORED | an earlier problem is over |
| any other state, or a retry is due | TRY | `served`, `failed` or `interrupted` says how it ended |

A refusal stays until the files change. An error (a file that is missing, a disk that fails) is tried again, at growing
intervals.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

    State = tuple[Hashable, bool]  # identity of the files, whether the served model has expired

__all__ = ["MAX_RETRY", "RETRY", "Following", "Step"]

RETRY: Final = 2.0  # seconds until the first retry after an error; each further one takes twice as long
MAX_RETRY: Final = 60.0


class Step(Enum):
    """What to do after a look."""

    WAIT = "wait"
    RESTORED = "restored"
    TRY = "try"


class Following:
    """The memory of a watch; `seen` is the state of the files as they were before the first load."""

    __slots__ = ("_retry_after", "_retry_at", "_seen", "_served")

    def __init__(self, seen: Hashable) -> None:
        self._seen: State | None = (seen, False)
        self._served: State = (seen, False)
        self._retry_at: float | None = None
        self._retry_after = RETRY

    def step(self, state: State, now: float) -> Step:
        """Decide what to do after a look at time `now` (seconds of any steady clock)."""
        if state == self._seen and (self._retry_at is None or now < self._retry_at):
            return Step.WAIT
        self._seen, self._retry_at = state, None
        return Step.RESTORED if state == self._served else Step.TRY

    def served(self, state: State) -> None:
        """Note that the attempt loaded what this state stands for; a new model has not expired."""
        self._served, self._retry_after = (state[0], False), RETRY

    def failed(self, now: float, *, again: bool) -> None:
        """Note that the attempt failed; `again` says that it could not be judged, so the same files are tried again."""
        if again:
            self._retry_at = now + self._retry_after
            self._retry_after = min(2 * self._retry_after, MAX_RETRY)

    def interrupted(self) -> None:
        """Note that the attempt was cut short: the next look tries again."""
        self._seen = None

    def renew(self) -> None:
        """Forget a state that the parent process may have been trying when this child was forked."""
        self._seen = self._served
