"""The public functions: dump and sign write a signed pair, load and verify open one, scan looks at any artifact.

dump    joblib.dump to a temporary, digest, scan, manifest, sign, commit the pair
dumps   the same into bytes, which loads takes
load    and verify, read_manifest: what a Loader does, for one artifact (see `loader`)
scan    the scan alone, for an artifact of unknown origin
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from safeload._internal.blob import BytesBlob, immutable
from safeload._internal.files import PathLike, checked_path, open_artifact, storage_errors
from safeload._internal.keywords import keywords
from safeload._judging.criteria import Criteria
from safeload._judging.decisions import decision
from safeload._judging.examine import examine
from safeload._loading.loader import Accept, Loader, MmapMode, OnMismatch
from safeload._manifest.manifest import BYTES_NAME, checked_name
from safeload._signing.claims import Claims
from safeload._signing.new_pair import Compress, NewPair, checked_target
from safeload.keys import SigningSources, resolve_signers
from safeload.store import ReSigner

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    from safeload._internal.blob import FileBlob
    from safeload._judging.report import Report
    from safeload._manifest.manifest import Manifest
    from safeload._scan import Limits
    from safeload._signing.re_sign import ReSigned
    from safeload.keys import KeyringSource, SigningSources
    from safeload.policy import PolicySource

__all__ = [
    "Accept",
    "Loader",
    "MmapMode",
    "OnMismatch",
    "PathLike",
    "dump",
    "dumps",
    "load",
    "loads",
    "read_manifest",
    "scan",
    "sign",
    "verify",
]

_BEFORE_1_5 = ("cache_size",)  # joblib.dump took it, and did nothing with it
_ONLY_LOAD = "Only load() maps arrays into memory."
_NO_MAP = "Bytes cannot be mapped into memory. Use load() with a local file."
_NAME = "Bytes have no path: name= is what they are signed as."
_NO_KEY = "A scan needs no key. To check the signature, use verify()."

Scannable = PathLike | bytes | bytearray | memoryview | BinaryIO


# ------------------------------------------------------------------------------------------------- writing


@keywords(also={"value": "obj", "filename": "path"}, hints={"mmap_mode": _ONLY_LOAD}, ignored=_BEFORE_1_5)
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
        overwrite: replace the existing files.
        allow_lower_release: also where `release` is not above that of the existing manifest.
        limits: what the artifact may hold at most, in place of the defaults and the policy's. Whoever loads what was
            signed beyond the defaults has to raise them as well.

    Returns:
        The manifest that was signed.

    Raises:
        FileExistsError: there is an artifact or a manifest already, and `overwrite` is false.
        PolicyViolationError, MalformedArtifactError, LimitExceededError: `load` would refuse it.
        RollbackError: `release` is not above that of the existing manifest.
        KeyringError, PolicyFileError, StorageError: see `safeload.errors`.  Whatever is raised, what was there before
            is still there as it was; but where the disk fails when the new pair is in place already, that is whole.
    """
    target = checked_target(path)
    pair = NewPair(resolve_signers(key, target), Criteria.of(policy, limits), overwrite)
    claims = Claims.checked(metadata, version, release, expires, allow_lower_release=allow_lower_release)
    with decision("dump", str(target), pair.criteria.policy.digest) as made:
        made.manifest = manifest = pair.write(obj, target, compress, protocol, claims)
    return manifest


@keywords(also={"filename": "path"})
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
        RollbackError: `release` is not above that of the existing manifest.
        KeyringError, PolicyFileError, StorageError: see `safeload.errors`.
    """
    target = checked_target(path)
    pair = NewPair(resolve_signers(key, target), Criteria.of(policy, limits), overwrite)
    claims = Claims.checked(metadata, version, release, expires, allow_lower_release=allow_lower_release)
    with decision("sign", str(target), pair.criteria.policy.digest) as made:
        made.manifest = manifest = pair.sign(target, claims)
    return manifest


@keywords(
    also={"value": "obj"}, hints={"overwrite": "There is nothing to overwrite.", "path": _NAME, "filename": _NAME}
)
def dumps(
    obj: Any,
    compress: Compress = 0,
    protocol: int | None = None,
    *,
    name: str = BYTES_NAME,
    key: SigningSources = None,
    policy: PolicySource = None,
    metadata: dict[str, Any] | None = None,
    version: str | None = None,
    release: int | None = None,
    expires: datetime | timedelta | None = None,
    limits: Limits | None = None,
) -> tuple[bytes, bytes]:
    """Save an object as bytes, scan them, and sign them: for databases, caches and message queues.

    Args:
        name: what the artifact is called, like a file's name. It is signed, and `loads` asks for the same: so nobody
            can put the bytes of one model in the place of another's. A scope of a key is held against it.
        release: as for `dump`, but nothing is there to count on from, so None means 1.
        obj, compress, protocol, key, policy, metadata, version, expires, limits: as for `dump`.

    Returns:
        The artifact, which is what joblib.dump would write to a file, and its manifest.

    Raises:
        ValueError: `name` is not like a file's name.
        PolicyViolationError, MalformedArtifactError, LimitExceededError: `loads` would refuse it.
        KeyringError, PolicyFileError: see `safeload.errors`.
    """
    signers = resolve_signers(key, checked_name(name))
    pair = NewPair(signers, Criteria.of(policy, limits))
    claims = Claims.checked(metadata, version, release, expires)
    with decision("dumps", name, pair.criteria.policy.digest) as made:
        artifact, envelope, made.manifest = pair.to_bytes(obj, name, compress, protocol, claims)
    return artifact, envelope


# ------------------------------------------------------------------------------------------------- reading


@keywords(also={"filename": "path"}, hints={"trusted": "Nothing turns the checks off."})
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
    ensure_native_byte_order: Literal["auto"] | bool = "auto",
) -> Any:
    """Return the object that was saved, or raise having run nothing that the policy does not allow.

    Most callers want this. A server that loads more than once does better with a `Loader`.

    Args:
        path: the artifact; its manifest stands beside it.
        mmap_mode: None, "r" or "c", as with joblib.load. The file and its folder must then be writable by this
            user and root only. "r+" and "w+" would write into the signed file, and are refused.
        keyring, policy, min_release, limits, on_version_mismatch, rollback_state: see `Loader`.
        ensure_native_byte_order: "auto", or what joblib makes of that: True, but False with `mmap_mode`.

    Raises:
        ValueError: the mode or the byte order is another one.
        VerificationError: it is not what a trusted key signed (UnsignedError, ManifestError, UnknownKeyError,
            BadSignatureError, ExpiredError, DigestMismatchError, RollbackError).
        PolicyViolationError, MalformedArtifactError, LimitExceededError: signed, but refused by the scan; the
            error's `report` says why.
        TripwireError: loading did what the scan had not seen, and was stopped.
        VersionMismatchError: other versions wrote it, and that was to be an error.
        FileNotFoundError, KeyringError, PolicyFileError, StorageError: see `safeload.errors`.
    """
    if ensure_native_byte_order not in ("auto", mmap_mode is None):
        raise ValueError(
            f"ensure_native_byte_order={ensure_native_byte_order!r} cannot be had here: arrays are in native byte "
            "order without mmap_mode, and as they were saved with it. Omit it, or pass 'auto'."
        )
    loader = Loader(
        keyring=keyring,
        policy=policy,
        min_release=min_release,
        limits=limits,
        on_version_mismatch=on_version_mismatch,
        rollback_state=rollback_state,
    )
    return loader.load(path, mmap_mode)


@keywords(
    hints={
        "mmap_mode": "Bytes cannot be mapped into memory. Use load() with a local file.",
        "path": _NAME,
        "filename": _NAME,
    }
)
def loads(
    artifact: bytes | bytearray | memoryview,
    manifest: bytes | bytearray | memoryview,
    *,
    name: str = BYTES_NAME,
    keyring: KeyringSource = None,
    policy: PolicySource = None,
    min_release: int | None = None,
    limits: Limits | None = None,
    on_version_mismatch: OnMismatch = "warn",
    rollback_state: PathLike | None = None,
) -> Any:
    """Return the object that `dumps` made bytes of, checked in all that `load` checks of a file.

    Args:
        artifact, manifest: the two parts that `dumps` returned. Those that are not `bytes` are copied first.
        name: what the artifact has to be signed as. Of a file's bytes, that is the name of the file.
        keyring, policy, min_release, limits, on_version_mismatch, rollback_state: see `Loader`.

    Raises: what `load` does, but nothing about files. Bytes cannot be mapped into memory: only `load` can do that.
    """
    loader = Loader(
        keyring=keyring,
        policy=policy,
        min_release=min_release,
        limits=limits,
        on_version_mismatch=on_version_mismatch,
        rollback_state=rollback_state,
    )
    return loader.loads(artifact, manifest, name=name)


@keywords(also={"filename": "path"}, hints={"mmap_mode": _ONLY_LOAD})
def verify(
    path: PathLike,
    *,
    keyring: KeyringSource = None,
    policy: PolicySource = None,
    min_release: int | None = None,
    limits: Limits | None = None,
    on_version_mismatch: OnMismatch = "warn",
    rollback_state: PathLike | None = None,
    any_environment: bool = False,
) -> Report:
    """Check all that `load` checks, and every byte, without loading: the step before a deployment.

    An artifact that is allowed would also load here: the modules and names that it uses are installed, in versions that
    read its layouts. `any_environment` leaves this out, for a machine that checks artifacts and never loads them.

    The other arguments are those of `Loader`. `rollback_state` is compared with, and not changed. A version mismatch is
    a finding if `on_version_mismatch` is "error".

    Raises:
        FileNotFoundError, KeyringError, PolicyFileError, StorageError: it could not be judged. What is wrong
            with the artifact or its manifest is never raised, but stands in the report.
    """
    return Loader(
        keyring=keyring,
        policy=policy,
        min_release=min_release,
        limits=limits,
        on_version_mismatch=on_version_mismatch,
        rollback_state=rollback_state,
    ).verify(path, any_environment=any_environment)


@keywords(also={"filename": "path"})
def read_manifest(path: PathLike, *, keyring: KeyringSource = None) -> Manifest:
    """Return what was signed about an artifact; the signature is checked, the artifact's bytes are not.

    Raises:
        VerificationError: there is no manifest that a trusted key signed for an artifact of this name and size.
        FileNotFoundError, KeyringError, StorageError: see `safeload.errors`.
    """
    return Loader(keyring=keyring).read_manifest(path)


@keywords(also={"filename": "path"}, hints={"key": _NO_KEY, "keyring": _NO_KEY})
def scan(path: Scannable, *, policy: PolicySource = None, limits: Limits | None = None, deep: bool = False) -> Report:
    """Look into an artifact of unknown origin, without a key and without unpickling anything.

    An artifact that is allowed here does nothing at load time that the policy does not allow. Who made it, and
    whether it predicts what it should, only a signature can tell.

    `path` may also be the bytes themselves, or a binary file that is open: that is read from where it stands to its
    end, into memory.

    With `deep`, fickling reads it too, in a process of its own and for at most 20 seconds: where it reads something
    else than the scanner, that is a finding; what it thinks of it is the report's `second_opinion`.

    Raises:
        FileNotFoundError, PolicyFileError, StorageError: it could not be judged.
    """
    criteria = Criteria.of(policy, limits)
    target = _target_of(path)
    with decision("scan", str(target), criteria.policy.digest) as made, _opened(path, target) as blob:
        report = _scan(blob, target, criteria, deep)
        made.reported(report)
        return report


def _target_of(given: Scannable) -> Path:
    """Return the path that a report names: the file's own where it has one, else a text in angle brackets."""
    if isinstance(given, bytes | bytearray | memoryview):
        return Path("<bytes>")
    if isinstance(given, str | os.PathLike):
        return checked_path(given)
    name = getattr(given, "name", None)
    return Path(name if isinstance(name, str) and name else "<file>")


def _opened(given: Scannable, target: Path) -> AbstractContextManager[FileBlob | BytesBlob]:
    """Open an artifact by its path, or take the bytes that there are.

    Raises:
        TypeError: it is a file of text, or one that reads no bytes.
    """
    if isinstance(given, bytes | bytearray | memoryview):
        return nullcontext(BytesBlob(immutable(given, "the artifact"), str(target)))
    if isinstance(given, str | os.PathLike):
        return open_artifact(target)
    if not hasattr(given, "read"):
        raise TypeError(f"cannot scan a {type(given).__name__}: pass a path, bytes or a binary file")
    with storage_errors("read", target):
        data = given.read()
    if not isinstance(data, bytes):
        raise TypeError(f"cannot scan {target}: its read() returns {type(data).__name__}. Open it with mode 'rb'.")
    return nullcontext(BytesBlob(data, str(target)))


def _scan(blob: FileBlob | BytesBlob, target: Path, criteria: Criteria, deep: bool) -> Report:
    with blob.stream() as stream:
        size = blob.size
        report = examine(stream, target, size, criteria)[0]
        if not deep:
            return report
        from safeload._judging.second_opinion import dissect, second_opinion

        opinion, difference = second_opinion(dissect(stream, size, criteria.policy, criteria.limits))
    findings = report.findings if difference is None else (*report.findings, difference)
    return replace(report, findings=findings, second_opinion=opinion)


# ------------------------------------------------------------------------------------------------- signing again


@keywords(also={"filename": "path"})
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
        FileNotFoundError, KeyringError, PolicyFileError, StorageError: see `safeload.errors`.
    """
    return ReSigner(key=key, keyring=keyring, policy=policy, limits=limits, replacing=replacing).sign(path)


@keywords(also={"filename": "path"})
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
    return ReSigner(key=key, keyring=keyring, policy=policy, limits=limits, beside=True).sign(path)
