"""The public functions: dump and sign write a signed pair, load and verify open one, scan looks at any artifact.

dump    joblib.dump to a temporary, digest, scan, manifest, sign, commit the pair
load    and verify, read_manifest: what a Loader does, for one artifact (see `loader`)
scan    the scan alone, for an artifact of unknown origin
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from safeload._internal.atomic import flushing
from safeload._internal.files import checked_path, open_artifact, storage_errors
from safeload._internal.strictjson import is_text
from safeload._judging.decisions import decision
from safeload._judging.examine import examine
from safeload._loading.loader import Accept, Loader, MmapMode, OnMismatch, PathLike
from safeload._manifest.digests import digest_file
from safeload._manifest.manifest import Manifest, seal, unverified_sha256
from safeload._storage.pair import signing, writing
from safeload.claims import Claims, describe
from safeload.errors import StorageError
from safeload.keys._signers import SigningSources, signing_with
from safeload.policy import Policy, resolve_policy

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    from safeload._judging.report import Report
    from safeload._scan import Limits
    from safeload.keys._keyring import KeyringSource
    from safeload.keys._signers import Signing

__all__ = [
    "Accept",
    "Compress",
    "Loader",
    "MmapMode",
    "NewPair",
    "OnMismatch",
    "PathLike",
    "belongs",
    "checked_target",
    "dump",
    "load",
    "read_manifest",
    "scan",
    "sign",
    "verify",
]

# As joblib takes it: a level, whether to, a method, or a method and its level.
Compress = int | bool | str | tuple[str, int]

# joblib/compressor.py
_EXTENSIONS = {".z": "zlib", ".gz": "gzip", ".bz2": "bz2", ".lzma": "lzma", ".xz": "xz", ".lz4": "lz4"}


# ------------------------------------------------------------------------------------------------- writing


def dump(
    obj: Any,
    path: PathLike,
    compress: Compress = 0,
    protocol: int | None = None,
    *,
    key: SigningSources = None,
    policy: Policy | PathLike = "sklearn",
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
        policy: what the artifact is held against: a Policy, a pack's name or a policy file's path.
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
    pair = NewPair(signing_with(key, target), resolve_policy(policy), limits, overwrite)
    claims = Claims(metadata, version, release, expires, allow_lower_release)
    with decision("dump", str(target), pair.policy.digest) as made:
        made.manifest = manifest = pair.write(obj, target, compress, protocol, claims)
    return manifest


def sign(
    path: PathLike,
    *,
    key: SigningSources = None,
    policy: Policy | PathLike = "sklearn",
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
    pair = NewPair(signing_with(key, target), resolve_policy(policy), limits, overwrite)
    claims = Claims(metadata, version, release, expires, allow_lower_release)
    with decision("sign", str(target), pair.policy.digest) as made:
        made.manifest = manifest = pair.sign(target, claims)
    return manifest


@dataclass(frozen=True, slots=True)
class NewPair:
    """How `dump` and `sign` make a signed pair, once it is known by whom, by which policy, and whether over another."""

    signing: Signing
    policy: Policy
    limits: Limits | None = None
    overwrite: bool = False

    def write(
        self,
        obj: Any,
        target: Path,
        compress: Compress,
        protocol: int | None,
        claims: Claims,
    ) -> Manifest:
        """Write and sign an object; else as `dump`, without a record of it."""
        from joblib import numpy_pickle  # not joblib.dump, which people may have replaced, by safeload.dump even

        with writing(target, overwrite=self.overwrite, belongs=belongs) as writer:
            # By descriptor, never by name: in a shared folder, somebody could put another file or a link in its place.
            with storage_errors("write", target), os.fdopen(os.dup(writer.fd), "wb") as file:
                numpy_pickle.dump(obj, file, compress=_compression_for(target.name, compress), protocol=protocol)
            with flushing(writer.fd, target):
                manifest = self._described(writer.fd, target, claims, written_here=True)
            writer.commit(seal(manifest, self.signing.signers))
        return manifest

    def sign(self, target: Path, claims: Claims) -> Manifest:
        """Sign an artifact that exists; else as `sign`, without a record of it."""
        with signing(target, overwrite=self.overwrite, belongs=belongs) as writer:
            fd = open_artifact(target)
            try:
                manifest = self._described(fd, target, claims, written_here=False)
            finally:
                os.close(fd)
            writer.commit(seal(manifest, self.signing.signers))
        return manifest

    def _described(self, fd: int, target: Path, claims: Claims, *, written_here: bool) -> Manifest:
        limits = self.policy.limits(self.limits)
        return describe(fd, target, self.signing, self.policy, limits, claims, written_here=written_here)


def _compression_for(name: str, compress: Compress) -> Any:
    """Return what makes `joblib.dump` compress into an open file as it would into one of this name."""
    if isinstance(compress, str | tuple):
        return compress
    method = next((method for extension, method in _EXTENSIONS.items() if name.endswith(extension)), None)
    level = None if compress is True else compress
    if level == 0:
        return 0 if method is None else (method, None)
    return method or "zlib", level


def belongs(envelope: bytes, fd: int) -> bool:
    """Tell whether a manifest is of the open artifact: which of two is whose, not whether to trust either."""
    with storage_errors("read", "the artifact"):
        return unverified_sha256(envelope) == digest_file(fd).sha256


def checked_target(path: PathLike) -> Path:
    """Return the path of an artifact that is to be signed.

    Raises:
        TypeError: it is a stream.
        StorageError: its name cannot be signed.
    """
    target = checked_path(path)
    if not is_text(target.name):
        raise StorageError(f"cannot sign {target.name!r}: a name that is not UTF-8 cannot be signed. Rename the file.")
    return target


# ------------------------------------------------------------------------------------------------- reading


def load(
    path: PathLike,
    mmap_mode: MmapMode | None = None,
    *,
    keyring: KeyringSource = None,
    policy: Policy | PathLike = "sklearn",
    min_release: int | None = None,
    limits: Limits | None = None,
    on_version_mismatch: OnMismatch = "warn",
    floors: PathLike | None = None,
) -> Any:
    """Return the object that was saved, or raise having run nothing that the policy does not allow.

    Most callers want this. A server that loads more than once does better with a `Loader`.

    Args:
        path: the artifact; its manifest stands beside it.
        mmap_mode: None, "r" or "c", as with joblib.load. The file and its folder must then be writable by this
            user and root only. "r+" and "w+" would write into the signed file, and are refused.
        keyring, policy, min_release, limits, on_version_mismatch, floors: see `Loader`.

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
        floors=floors,
    )
    return loader.load(path, mmap_mode)


def verify(
    path: PathLike,
    *,
    keyring: KeyringSource = None,
    policy: Policy | PathLike = "sklearn",
    min_release: int | None = None,
    limits: Limits | None = None,
    floors: PathLike | None = None,
) -> Report:
    """Check all that `load` checks, and every byte, without loading: the step before a deployment.

    The arguments are those of `Loader`. What `floors` remembers is held against, but nothing is added to it.

    Raises:
        FileNotFoundError, KeyringError, PolicyFileError, StorageError: it could not be judged. What is wrong
            with the artifact or its manifest is never raised, but stands in the report.
    """
    return Loader(keyring=keyring, policy=policy, min_release=min_release, limits=limits, floors=floors).verify(path)


def read_manifest(path: PathLike, *, keyring: KeyringSource = None) -> Manifest:
    """Return what was signed about an artifact; the signature is checked, the artifact's bytes are not.

    Raises:
        VerificationError: there is no manifest that a trusted key signed for an artifact of this name and size.
        FileNotFoundError, KeyringError, StorageError: as they say.
    """
    return Loader(keyring=keyring).read_manifest(path)


def scan(
    path: PathLike, *, policy: Policy | PathLike = "sklearn", limits: Limits | None = None, deep: bool = False
) -> Report:
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
    fd = open_artifact(target)
    with os.fdopen(fd, "rb") as stream:
        size = os.fstat(fd).st_size
        report = examine(stream, target, size, policy, limits)[0]
        if not deep:
            return report
        from safeload._judging.second_opinion import dissect, second_opinion

        opinion, difference = second_opinion(dissect(stream, size, policy.grant, limits))
    findings = report.findings if difference is None else (*report.findings, difference)
    return replace(report, findings=findings, second_opinion=opinion)
