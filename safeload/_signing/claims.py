"""What a signer says of an artifact: checked claims, and the manifest that is signed with them."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from safeload._internal.clock import utc_now
from safeload._internal.files import storage_errors
from safeload._internal.strictjson import MAX_INTEGER, MAX_LINE, is_line
from safeload._judging.examine import examine
from safeload._loading.environment import why_not_here
from safeload._loading.versions import UNKNOWN, installed_packages, warn_caller
from safeload._manifest.digests import digest_file
from safeload._manifest.manifest import Manifest, Producer, clean_metadata, open_envelope
from safeload._storage.opening import read_envelope_bytes
from safeload._storage.pair import manifest_path
from safeload._storage.reader import verified_reader, verified_stream
from safeload.errors import RollbackError, VerificationError, VersionMismatchWarning
from safeload.keys import Keyring

if TYPE_CHECKING:
    from pathlib import Path

    from safeload._internal.blob import Blob
    from safeload._judging.criteria import Criteria
    from safeload._scan import Trace
    from safeload.keys import Signers
    from safeload.policy import Policy

__all__ = ["Claims", "describe", "end_of", "next_release"]

SCANNER = "1"  # what the manifest says of the rules that an artifact was scanned by


@dataclass(frozen=True, slots=True)
class Claims:
    """A signer's statements about an artifact; `Claims.checked` makes them from the arguments of a caller."""

    metadata: dict[str, Any]
    version: str | None
    release: int | None
    created: datetime
    expires: datetime | None
    allow_lower_release: bool = False

    @classmethod
    def checked(
        cls,
        metadata: dict[str, Any] | None,
        version: str | None,
        release: int | None,
        expires: datetime | timedelta | None,
        *,
        allow_lower_release: bool = False,
    ) -> Claims:
        """Return the claims, checked before anything is written.

        Raises:
            TypeError, ValueError: one of them cannot be signed.
        """
        cleaned = clean_metadata({} if metadata is None else metadata)
        if version is not None and not isinstance(version, str):
            raise TypeError(f"version is a text, not {version!r}")
        if version is not None and not is_line(version):
            raise ValueError(f"version is one printable line of 1 to {MAX_LINE} characters")
        if release is not None and (type(release) is not int or not 1 <= release <= MAX_INTEGER):
            raise ValueError(f"release is a whole number from 1 to {MAX_INTEGER}, not {release!r}")
        now = utc_now()
        end = None if expires is None else end_of(expires, now)
        return cls(cleaned, version, release, now.replace(microsecond=0), end, allow_lower_release)


def end_of(expires: datetime | timedelta, now: datetime) -> datetime:
    """Return until when to accept it: exactly the time that is given; of a span the next whole second, never less.

    Raises:
        TypeError, ValueError: it is no time, has no zone, is past, or after the year 9999.
    """
    try:
        end = now + expires if isinstance(expires, timedelta) else expires
        if not isinstance(end, datetime):
            raise TypeError(f"expires is a datetime with a time zone, or a timedelta, not {expires!r}")
        if end.tzinfo is None:
            raise ValueError("expires needs a time zone: datetime(..., tzinfo=timezone.utc)")
        if end <= now:
            raise ValueError(f"expires is in the past: {end.isoformat()}")
        if isinstance(expires, timedelta) and end.microsecond:
            end += timedelta(microseconds=1_000_000 - end.microsecond)
        return end.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"expires is after the year 9999: {expires}") from None


def describe(
    blob: Blob,
    target: Path,
    signing: Signers,
    criteria: Criteria,
    claims: Claims,
    *,
    release: int,
    written_here: bool,
) -> Manifest:
    """Scan the open artifact as `load` will, and return what is to be signed about those very bytes.

    `written_here` says that this process wrote it; of others it is not known what they were written with.
    """
    with storage_errors("read", target):
        digests = digest_file(blob)
    with verified_stream(verified_reader(blob, digests)) as stream:
        report, trace = examine(stream, target, digests.size, criteria)
    report.raise_if_refused()
    producer = _this_process(trace) if written_here else _another_process(trace)
    if not written_here:
        _warn_of_here(target, trace, criteria.policy, producer)
    return Manifest(
        name=target.name,
        size=digests.size,
        format=report.format or "pickle",
        compression=report.compression or "none",
        chunk_size=digests.chunk_size,
        digest_algorithm=digests.algorithm,
        chunks=digests.chunks,
        sha256=digests.sha256,
        release=release,
        version=claims.version,
        created=claims.created,
        expires=claims.expires,
        producer=producer,
        scanner=SCANNER,
        policy_name=criteria.policy.name,
        policy_digest=criteria.policy.digest,
        globals=tuple((use.name, tuple(use.roles)) for use in trace.globals),
        metadata=claims.metadata,
        key_ids=signing.key_ids,
    )


def _warn_of_here(target: Path, trace: Trace, policy: Policy, producer: Producer) -> None:
    """Warn where an artifact would not load in this environment; it is signed all the same, to be loaded elsewhere."""
    reasons = [finding.message for finding in why_not_here(trace, policy, producer.packages)]
    if reasons:
        warn_caller(VersionMismatchWarning(f"it would not load here: {'; '.join(reasons)}", path=target))


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


def next_release(target: Path, signing: Signers, claims: Claims) -> int:
    """Count on from the existing manifest, or take the signer's word for a number above it."""
    before = _release_there(target, signing, claims)
    if claims.release is None:
        return before + 1
    if claims.release <= before and not claims.allow_lower_release:
        raise RollbackError(
            f"cannot sign as release {claims.release}: the current manifest is already release {before}",
            advice=f"Use a release above {before}, or omit it to take the next one. To go back on purpose, sign the "
            "old artifact as a newer release (safeload reissue). If no reader has loaded the current one, pass "
            "allow_lower_release=True (--allow-lower-release).",
            path=target,
        )
    return claims.release


def _release_there(target: Path, signing: Signers, claims: Claims) -> int:
    """Return the release of the existing manifest; 0 without one, or if it has none to rely on.

    It says something if a key that is not revoked signed it for this name, be its time over or not yet come, be the
    manifest expired, and whether or not its artifact was changed since.
    """
    try:
        envelope = read_envelope_bytes(manifest_path(target))
    except VerificationError:
        return 0
    before = [_signed_release(envelope, target, ring, revoked=False) for ring in signing.keyrings]
    if any(before):
        return max(before)
    leaked = max(_signed_release(envelope, target, ring, revoked=True) for ring in signing.keyrings)
    if leaked and claims.release is None:
        raise RollbackError(
            f"cannot tell the next release: the current manifest claims release {leaked}, but only a revoked key "
            "signed it",
            advice="Name a release above the last that you know of: release=N (--release N).",
            path=target,
        )
    return 0


def _signed_release(envelope: bytes, target: Path, keyring: Keyring, *, revoked: bool) -> int:
    """Return the release that a key of this keyring signed for this name, whatever its times and scopes are; or 0."""
    entries = [
        replace(entry, status="verify-only", not_before=None, not_after=None, revoked=None, scopes=())
        for entry in keyring.entries
        if revoked or entry.status != "revoked"
    ]
    try:
        before = open_envelope(envelope, Keyring(entries), now=datetime.min.replace(tzinfo=UTC)) if entries else None
    except VerificationError:
        return 0
    return 0 if before is None or before.name != target.name else before.release
