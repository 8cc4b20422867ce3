"""Scan one artifact for an audit: what every flow does first, without a verdict being logged for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safeload._internal.files import open_artifact
from safeload._judging.criteria import Criteria
from safeload._judging.examine import examine

if TYPE_CHECKING:
    from safeload._judging.report import Report
    from safeload._scan import Limits, Trace
    from safeload.policy import Policy

__all__ = ["look_into"]


def look_into(path: str, policy: Policy, limits: Limits | None = None) -> tuple[Report, Trace]:
    """Scan an artifact against a policy, with its limits or others.

    Raises:
        OSError, StorageError: it cannot be read.
    """
    target = Path(path)
    with open_artifact(target) as blob, blob.stream() as stream:
        return examine(stream, target, blob.size, Criteria.of(policy, limits))
