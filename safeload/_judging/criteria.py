"""What an artifact is judged by: the policy and the limits in force, which every scan needs together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from safeload.policy import resolve_policy

if TYPE_CHECKING:
    from safeload._scan import Limits
    from safeload.policy import Policy, PolicySource

__all__ = ["Criteria"]


@dataclass(frozen=True, slots=True)
class Criteria:
    """The policy and the limits that an artifact is judged by."""

    policy: Policy
    limits: Limits

    @classmethod
    def of(cls, policy: PolicySource, limits: Limits | None = None) -> Self:
        """Return the criteria that two arguments of the public functions mean.

        Raises:
            PolicyFileError: there is no such policy, or it is not valid.
        """
        resolved = resolve_policy(policy)
        return cls(resolved, resolved.limits(limits))
