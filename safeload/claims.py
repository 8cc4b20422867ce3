"""What a signer says of an artifact: checked claims, and the manifest that is signed with them."""

from __future__ import annotations

import platform
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from safeload.digests import digest_file
from safeload.drift import UNKNOWN, installed_packages
from safeload.errors import VerificationError
from safeload.examine import examine, verified_reader
from safeload.files import storage_errors
from safeload.keyring import resolve_keyring
from safeload.manifest import Manifest, Producer, clean_metadata, open_envelope, read_envelope_bytes
from safeload.reader import verified_stream
from safeload.storage import manifest_path

if TYPE_CHECKING:
    from pathlib import Path

    from safeload.keys import SigningKey
    from safeload.policy import Policy
    from safeload.scan import Trace

__all__ = ["Claims", "describe"]

SCANNER = "1"  # what the manifest says of the rules that an artifact was scanned by


class Claims:
    """What the signer says of an artifact, checked before anything is written."""

    def __init__(
        self,
        metadata: dict[str, Any] | None,
        version: str | None,
        release: int | None,
        expires: datetime | timedelta | None,
    ) -> None:
        self.metadata = clean_metadata({} if metadata is None else metadata)
        if version is not None and not isinstance(version, str):
            raise TypeError(f"version is a text, not {version!r}")
        if release is not None and (type(release) is not int or release < 1):
            raise ValueError(f"release is a whole number from 1 on, not {release!r}")
        self.version = version
        self.release = release
        self.created = datetime.now(UTC).replace(microsecond=0)
        if isinstance(expires, timedelta):
            expires = self.created + expires
        if expires is not None and not isinstance(expires, datetime):
            raise TypeError(f"expires is a datetime with a time zone, or a timedelta, not {expires!r}")
        if expires is not None and expires.tzinfo is None:
            raise ValueError("expires needs a time zone: datetime(..., tzinfo=timezone.utc)")
        if expires is not None and expires <= self.created:
            raise ValueError(f"expires is in the past: {expires.isoformat()}")
        self.expires = None if expires is None else expires.astimezone(UTC).replace(microsecond=0)


def describe(
    fd: int, target: Path, signer: SigningKey, policy: Policy, claims: Claims, *, written_here: bool
) -> Manifest:
    """Scan the open artifact as `load` will, and return what is to be signed about those very bytes.

    `written_here` says that this process wrote it; of others it is not known what they were written with.
    """
    with storage_errors("read", target):
        digests = digest_file(fd)
    with verified_stream(verified_reader(fd, digests, target)) as stream:
        report, trace = examine(stream, target, digests.size, policy, policy.limits())
    report.raise_if_refused()
    return Manifest(
        name=target.name,
        size=digests.size,
        format=report.format or "pickle",
        compression=report.compression or "none",
        chunk_size=digests.chunk_size,
        digest_algorithm=digests.algorithm,
        chunks=digests.chunks,
        sha256=digests.sha256,
        release=claims.release or _next_release(target, signer),
        version=claims.version,
        created=claims.created,
        expires=claims.expires,
        producer=_this_process(trace) if written_here else _another_process(trace),
        scanner=SCANNER,
        policy_name=policy.name,
        policy_digest=policy.digest,
        globals=tuple((use.name, tuple(use.roles)) for use in trace.globals),
        metadata=claims.metadata,
        key_ids=(signer.key_id,),
    )


def _this_process(trace: Trace) -> Producer:
    return Producer(
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        packages=installed_packages(use.module for use in trace.globals),
    )


def _another_process(trace: Trace) -> Producer:
    """Return what can be told of an artifact that was there: estimators say which scikit-learn wrote them."""
    versions = ", ".join(trace.sklearn_versions)
    return Producer(python=UNKNOWN, platform=UNKNOWN, packages={"scikit-learn": versions} if versions else {})


def _next_release(target: Path, signer: SigningKey) -> int:
    """Count on from the manifest that is there; a manifest that this key did not sign for this name says nothing.

    One that has expired, or whose artifact was changed or removed since, still says which release comes next.
    """
    try:
        envelope = read_envelope_bytes(manifest_path(target))
        before = open_envelope(envelope, resolve_keyring(signer), now=datetime.min.replace(tzinfo=UTC))
    except VerificationError:
        return 1
    return before.release + 1 if before.name == target.name else 1
