"""The public functions: dump and sign write a signed pair, load and verify open one, scan looks at any artifact.

dump    joblib.dump to a temporary, digest, scan, manifest, sign, commit the pair
load    and verify, read_manifest: what a Loader does, for one artifact (see `loader`)
scan    the scan alone, for an artifact of unknown origin
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from safeload._internal.files import PathLike, checked_path, open_artifact
from safeload._judging.decisions import decision
from safeload._judging.examine import examine
from safeload._loading.loader import Accept, Loader, MmapMode, OnMismatch
from safeload._signing.claims import Claims
from safeload._signing.new_pair import Compress, NewPair, checked_target
from safeload._signing.re_sign import ReSigned, ReSigner
from safeload.keys import SigningSources, resolve_signers
from safeload.policy import Policy, PolicySource, resolve_policy
from safeload.store import signed_file_at

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime, timedelta
    from pathlib import Path

    from safeload._judging.report import Report
    from safeload._manifest.manifest import Manifest
    from safeload._scan import Limits
    from safeload.keys import KeyringSource, SigningSources

__all__ = [
    "Accept",
    "Loader",
    "MmapMode",
    "OnMismatch",
    "PathLike",
    "dump",
    "load",
    "read_manifest",
    "scan",
    "sign",
    "verify",
]


# ------------------------------------------------------------------------------------------------- writing


def dump(
    obj: Any,
    path: PathLike,
    compress: Compress = 0,
    protocol: int | None = None,
    *,
    key: SigningSources = None,
    policy: PolicySource = None,
    metadata: dict[str, Any] | None = None,
    version: str | None = None,
    release: int | None = None,
    expires: datetime | timedelta | None = None,
    overwrite: bool = False,
    allow_lower_release: bool = False,
    limits: Limits | None = None,
) -> Manifest:
    """Save an object as `joblib.dump` does, scan what was written, and sign it.

    `obj`, `compress` and `protocol` are joblib's, the file's extension chooses a compressor as with joblib.

    Args:
        path: where the artifact goes; its manifest goes beside it, as `PATH.manifest.json`.
        key: what to sign with: a SigningKey or another Signer, a Keyring (its active key), the path of a keyring or
            of a private key as PEM, or a list of such, to sign with each. None means the keyring that SAFELOAD_KEYRING
            names, else the one in the user's config directory.
        policy: what the artifact is held against: a Policy, a pack's name, a policy file's path, or a list of these,
            each of which extends those before it. None means the policies that SAFELOAD_POLICY names, with commas
            between them, else "sklearn".
        metadata: anything JSON can hold, datetimes and numpy scalars too; signed with the artifact.
        version: a free text of one line, up to 1000 characters.
        release: a whole number from 1 on that grows with every release; None counts on from the pair that is
            replaced, if a key of the same keyring signed it.
        expires: when the manifest stops being accepted, as an aware datetime, or as a time from now, which is
            rounded up to a whole second.
        overwrite: replace what is there.
        allow_lower_release: also where `release` is not above that of what is there.
        limits: what the artifact may hold at most, in place of the defaults and the policy's. Whoever loads what was
            signed beyond the defaults has to raise them as well.

    Returns:
        The manifest that was signed.

    Raises:
        FileExistsError: there is an artifact or a manifest already, and `overwrite` is false.
        PolicyViolationError, MalformedArtifactError, LimitExceededError: `load` would refuse it.
        RollbackError: `release` is not above that of what is there.
        KeyringError, PolicyFileError, StorageError: as they say.  Whatever is raised, what was there before
            is still there as it was; but where the disk fails when the new pair is in place already, that is whole.
    """
    target = checked_target(path)
    pair = NewPair(resolve_signers(key, target), resolve_policy(policy), limits, overwrite)
    claims = Claims(metadata, version, release, expires, allow_lower_release)
    with decision("dump", str(target), pair.policy.digest) as made:
        made.manifest = manifest = pair.write(obj, target, compress, protocol, claims)
    return manifest


def sign(
    path: PathLike,
    *,
    key: SigningSources = None,
    policy: PolicySource = None,
    metadata: dict[str, Any] | None = None,
    version: str | None = None,
    release: int | None = None,
    expires: datetime | timedelta | None = None,
    overwrite: bool = False,
    allow_lower_release: bool = False,
    limits: Limits | None = None,
) -> Manifest:
    """Scan an artifact that exists, and sign it.

    To sign is to vouch: sign what you wrote or have from somebody you trust. The arguments are those of `dump`.

    Raises:
        FileNotFoundError: there is no such artifact.
        FileExistsError: it is signed already, and `overwrite` is false.
        PolicyViolationError, MalformedArtifactError, LimitExceededError: `load` would refuse it.
        RollbackError: `release` is not above that of what is there.
        KeyringError, PolicyFileError, StorageError: as they say.
    """
    target = checked_target(path)
    pair = NewPair(resolve_signers(key, target), resolve_policy(policy), limits, overwrite)
    claims = Claims(metadata, version, release, expires, allow_lower_release)
    with decision("sign", str(target), pair.policy.digest) as made:
        made.manifest = manifest = pair.sign(target, claims)
    return manifest


# ------------------------------------------------------------------------------------------------- reading


def load(
    path: PathLike,
    mmap_mode: MmapMode | None = None,
    *,
    keyring: KeyringSource = None,
    policy: PolicySource = None,
    min_release: int | None = None,
    limits: Limits | None = None,
    on_version_mismatch: OnMismatch = "warn",
    rollback_state: PathLike | None = None,
) -> Any:
    """Return the object that was saved, or raise having run nothing that the policy does not allow.

    Most callers want this. A server that loads more than once does better with a `Loader`.

    Args:
        path: the artifact; its manifest stands beside it.
        mmap_mode: None, "r" or "c", as with joblib.load. The file and its folder must then be writable by this
            user and root only. "r+" and "w+" would write into the signed file, and are refused.
        keyring, policy, min_release, limits, on_version_mismatch, rollback_state: see `Loader`.

    Raises:
        VerificationError: it is not what a trusted key signed (UnsignedError, ManifestError, UnknownKeyError,
            BadSignatureError, ExpiredError, DigestMismatchError, RollbackError).
        PolicyViolationError, MalformedArtifactError, LimitExceededError: signed, but refused by the scan; the
            error's `report` says why.
        TripwireError: loading did what the scan had not seen, and was stopped.
        VersionMismatchError: other versions wrote it, and that was to be an error.
        FileNotFoundError, KeyringError, PolicyFileError, StorageError: as they say.
    """
    loader = Loader(
        keyring=keyring,
        policy=policy,
        min_release=min_release,
        limits=limits,
        on_version_mismatch=on_version_mismatch,
        rollback_state=rollback_state,
    )
    return loader.load(path, mmap_mode)


def verify(
    path: PathLike,
    *,
    keyring: KeyringSource = None,
    policy: PolicySource = None,
    min_release: int | None = None,
    limits: Limits | None = None,
    rollback_state: PathLike | None = None,
) -> Report:
    """Check all that `load` checks, and every byte, without loading: the step before a deployment.

    The arguments are those of `Loader`. What `rollback_state` remembers is held against, but nothing is added to it.

    Raises:
        FileNotFoundError, KeyringError, PolicyFileError, StorageError: it could not be judged. What is wrong
            with the artifact or its manifest is never raised, but stands in the report.
    """
    return Loader(
        keyring=keyring, policy=policy, min_release=min_release, limits=limits, rollback_state=rollback_state
    ).verify(path)


def read_manifest(path: PathLike, *, keyring: KeyringSource = None) -> Manifest:
    """Return what was signed about an artifact; the signature is checked, the artifact's bytes are not.

    Raises:
        VerificationError: there is no manifest that a trusted key signed for an artifact of this name and size.
        FileNotFoundError, KeyringError, StorageError: as they say.
    """
    return Loader(keyring=keyring).read_manifest(path)


def scan(path: PathLike, *, policy: PolicySource = None, limits: Limits | None = None, deep: bool = False) -> Report:
    """Look into an artifact of unknown origin, without a key and without unpickling anything.

    An artifact that is allowed here does nothing at load time that the policy does not allow. Who made it, and
    whether it predicts what it should, only a signature can tell.

    With `deep`, fickling reads it too, in a process of its own and for at most 20 seconds: where it reads something
    else than the scanner, that is a finding; what it thinks of it is the report's `second_opinion`.

    Raises:
        FileNotFoundError, PolicyFileError, StorageError: it could not be judged.
    """
    target = checked_path(path)
    in_force = resolve_policy(policy)
    in_force_limits = in_force.limits(limits)
    with decision("scan", str(target), in_force.digest) as made:
        report = _scan(target, in_force, in_force_limits, deep)
        made.reported(report)
        return report


def _scan(target: Path, policy: Policy, limits: Limits, deep: bool) -> Report:
    with open_artifact(target) as blob, blob.stream() as stream:
        size = blob.size
        report = examine(stream, target, size, policy, limits)[0]
        if not deep:
            return report
        from safeload._judging.second_opinion import dissect, second_opinion

        opinion, difference = second_opinion(dissect(stream, size, policy, limits))
    findings = report.findings if difference is None else (*report.findings, difference)
    return replace(report, findings=findings, second_opinion=opinion)


# ------------------------------------------------------------------------------------------------- signing again


def re_sign(
    path: PathLike,
    *,
    key: SigningSources = None,
    keyring: KeyringSource = None,
    policy: PolicySource = None,
    limits: Limits | None = None,
    replacing: Collection[str] | None = None,
) -> ReSigned:
    """Verify an artifact in full, and replace the signature of a key that was rotated by that of the new one.

    What the manifest says stays as it is, release and times too, and so do other keys' signatures. An artifact without
    a signature to replace is left as it is, so this can be done again. `path` may be a channel pointer of a store, too.

    Args:
        path: the artifact, with its manifest beside it.
        key: what signs, as for `safeload.dump`; None means the active key of `keyring`.
        keyring: whom to trust, before and afterwards, as for `safeload.load`; None means `key`, or the default keyring.
        policy, limits: as for `safeload.load`.
        replacing: the ids of the keys whose signatures are replaced; None means those that the signing key took over
            from, as `Keyring.rotate` notes it.

    Raises:
        VerificationError, PolicyViolationError, MalformedArtifactError, LimitExceededError: it is refused, and left.
        FileNotFoundError, KeyringError, PolicyFileError, StorageError: as they say.
    """
    return ReSigner(key=key, keyring=keyring, policy=policy, limits=limits, replacing=replacing).sign(
        signed_file_at(checked_target(path))
    )


def countersign(
    path: PathLike,
    *,
    key: SigningSources = None,
    keyring: KeyringSource = None,
    policy: PolicySource = None,
    limits: Limits | None = None,
) -> ReSigned:
    """Verify an artifact in full, and sign it beside those who have signed it: for keyrings that demand several keys.

    One signature by a trusted key is enough for that, whatever the keyring's threshold; the result says how many are
    still missing. The arguments and errors are those of `re_sign`.
    """
    return ReSigner(key=key, keyring=keyring, policy=policy, limits=limits, beside=True).sign(
        signed_file_at(checked_target(path))
    )
