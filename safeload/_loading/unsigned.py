"""Load an artifact that nobody signed: scanned under the policy, and under the tripwire, but never verified."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from safeload._internal.blob import BytesBlob
from safeload._judging.decisions import decision
from safeload._judging.examine import examine
from safeload._loading.scan_cache import Names
from safeload._loading.tripwire import tripwire
from safeload._loading.unpickle import import_modules, load_stream
from safeload._loading.versions import failed_load, warn_caller
from safeload.errors import SafeloadError, UnsignedWarning

if TYPE_CHECKING:
    from pathlib import Path

    from safeload._judging.criteria import Criteria

__all__ = ["load_unsigned"]

_NOT_VERIFIED = "NOT VERIFIED: it is not signed, and nothing shows who made it. It was only scanned under the policy"


def load_unsigned(data: bytes, target: Path, criteria: Criteria) -> Any:
    """Return the object of an artifact without a signature, if the policy allows all that it does.

    The log record has level WARNING, and a warning is shown. `target` is the path that messages name.

    Raises:
        PolicyViolationError, MalformedArtifactError, LimitExceededError: the scan refuses it.
        TripwireError: loading did what the scan had not seen, and was stopped.
        VersionMismatchError: the installed packages cannot load it.
    """
    blob = BytesBlob(data, str(target))
    policy = criteria.policy
    with decision("load_unsigned", str(target), policy.digest) as made, blob.stream() as stream:
        made.unsigned = True
        made.reason = _NOT_VERIFIED
        unpacked = io.BytesIO()
        report, trace = examine(stream, target, blob.size, criteria, keep=unpacked)
        report.raise_if_refused()
        names = Names.of(trace, policy)
        warn_caller(UnsignedWarning(f"{_NOT_VERIFIED} {policy.name!r}", path=target))
        import_modules(names.modules)
        kept = unpacked if unpacked.tell() else None
        stream.seek(0)
        unpacked.seek(0)
        try:
            with tripwire(names.named, events=names.events, sources=names.sources):
                return load_stream(stream, compression=report.compression, unpacked=kept)
        except (SafeloadError, OSError, MemoryError):
            raise
        except Exception as error:
            raise failed_load(target, error) from error
