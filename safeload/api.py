"""The flows: dump and sign write a signed pair, load and verify open one, scan looks at any artifact.

dump    joblib.dump to a temporary, digest, scan, manifest, sign, commit the pair
load    envelope, signature, trust, expiry, release, name; scan; and only then joblib.load
verify  load, short of its last step, and every byte is read
scan    the scan alone, for an artifact of unknown origin
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safeload.claims import Claims, describe
from safeload.decisions import Decision, decision
from safeload.digests import FileDigests, digest_file
from safeload.drift import check_drift, drift, warn_caller
from safeload.errors import DigestMismatchError, ManifestError, RollbackError, StorageError, VerificationError
from safeload.examine import examine, verified_reader
from safeload.files import open_artifact, storage_errors
from safeload.floors import Floors, resolve_floors
from safeload.guard import import_modules, load_mapped, load_stream, tripwire
from safeload.keyring import Keyring, resolve_keyring
from safeload.manifest import Manifest, open_envelope, seal, unverified_sha256
from safeload.mapping import FolderOfCopies, mappable
from safeload.opening import with_pair
from safeload.policy import Policy, resolve_policy
from safeload.reader import VerifiedReader, verified_stream
from safeload.reports import Report
from safeload.rules import Finding
from safeload.scanned import Scanned
from safeload.signers import signing_with
from safeload.storage import signing, writing
from safeload.strictjson import is_text

if TYPE_CHECKING:
    import io
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta

    from safeload.keys import SigningKey, VerifyingKey
    from safeload.mapping import Copies
    from safeload.scan import Limits
    from safeload.signers import SigningSource

    Guarded = Callable[..., AbstractContextManager[None]]

__all__ = ["Accept", "Loader", "belongs", "checked_target", "dump", "load", "read_manifest", "scan", "sign", "verify"]

PathLike = str | os.PathLike[str]
OnMismatch = Literal["warn", "error", "ignore"]
MmapMode = Literal["r", "c"]
Accept = Callable[[Manifest], object]

# joblib/compressor.py
_EXTENSIONS = {".z": "zlib", ".gz": "gzip", ".bz2": "bz2", ".lzma": "lzma", ".xz": "xz", ".lz4": "lz4"}


# ------------------------------------------------------------------------------------------------- writing


def dump(
    obj: Any,
    path: PathLike,
    compress: int | bool | str | tuple[str, int] = 0,
    protocol: int | None = None,
    *,
    key: SigningSource | Sequence[SigningSource] = None,
    policy: Policy | PathLike = "sklearn",
    metadata: dict[str, Any] | None = None,
    version: str | None = None,
    release: int | None = None,
    expires: datetime | timedelta | None = None,
    overwrite: bool = False,
    allow_lower_release: bool = False,
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
        version: a free text.
        release: a whole number that grows with every release; None counts on from the pair that is replaced, if a
            key of the same keyring signed it.
        expires: when the manifest stops being accepted, as an aware datetime, or as a time from now.
        overwrite: replace what is there.
        allow_lower_release: also where `release` is not above that of what is there.

    Returns:
        The manifest that was signed.

    Raises:
        FileExistsError: there is an artifact or a manifest already, and `overwrite` is false.
        PolicyViolationError, MalformedArtifactError, LimitExceededError: `load` would refuse it.
        RollbackError: `release` is not above that of what is there.
        KeyringError, PolicyFileError, StorageError: as they say.  Whatever is raised, what was there before
            is still there as it was; but where the disk fails when the new pair is in place already, that is whole.
    """
    from joblib import numpy_pickle  # not joblib.dump, which people may have replaced, by safeload.dump even

    target = checked_target(path)
    signers = signing_with(key, target)
    in_force = resolve_policy(policy)
    claims = Claims(metadata, version, release, expires, allow_lower_release)
    with (
        decision("dump", str(target), in_force.digest) as made,
        writing(target, overwrite=overwrite, belongs=belongs) as writer,
    ):
        # By descriptor, never by name: in a shared folder, somebody could put another file or a link in its place.
        with storage_errors("write", target), os.fdopen(os.dup(writer.fd), "wb") as file:
            numpy_pickle.dump(obj, file, compress=_compression_for(target.name, compress), protocol=protocol)
        manifest = describe(writer.fd, target, signers, in_force, claims, written_here=True)
        writer.commit(seal(manifest, signers.signers))
        made.manifest = manifest
    return manifest


def sign(
    path: PathLike,
    *,
    key: SigningSource | Sequence[SigningSource] = None,
    policy: Policy | PathLike = "sklearn",
    metadata: dict[str, Any] | None = None,
    version: str | None = None,
    release: int | None = None,
    expires: datetime | timedelta | None = None,
    overwrite: bool = False,
    allow_lower_release: bool = False,
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
    signers = signing_with(key, target)
    in_force = resolve_policy(policy)
    claims = Claims(metadata, version, release, expires, allow_lower_release)
    with (
        decision("sign", str(target), in_force.digest) as made,
        signing(target, overwrite=overwrite, belongs=belongs) as writer,
    ):
        fd = open_artifact(target)
        try:
            manifest = describe(fd, target, signers, in_force, claims, written_here=False)
        finally:
            os.close(fd)
        writer.commit(seal(manifest, signers.signers))
        made.manifest = manifest
    return manifest


def _compression_for(name: str, compress: int | bool | str | tuple[str, int]) -> Any:
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


def checked_path(path: PathLike) -> Path:
    if hasattr(path, "write") or hasattr(path, "read"):
        raise TypeError("safeload needs a path: a signature has to stand beside the artifact, not in a stream")
    return Path(path)


def checked_target(path: PathLike) -> Path:
    """Return the path of an artifact that is to be signed, or say why it cannot be."""
    target = checked_path(path)
    if not is_text(target.name):
        raise StorageError(f"cannot sign {target.name!r}: a name that is not UTF-8 cannot be signed. Rename the file.")
    return target


# ------------------------------------------------------------------------------------------------- reading


class Loader:
    """`load`, `verify` and `read_manifest`, configured once, for serving.

    Keyring and policy are read when the Loader is made, and their errors raised there.  Content that was scanned
    and allowed is not scanned again by `load`; its bytes are verified every time.  A Loader may be used from any
    number of threads.

    Args:
        keyring: whom to trust: a Keyring, a single SigningKey or VerifyingKey, or a keyring's path.
            None means the keyring that SAFELOAD_KEYRING names, else the one in the user's config directory.
        policy: what artifacts may name: a Policy, a pack's name or a policy file's path.
        min_release: refuse releases below this one.
        limits: what an artifact may hold at most, in place of the defaults and the policy's.
        on_version_mismatch: "warn", "error" or "ignore" where other versions wrote the artifact than are
            installed here.
        mmap_copies: what to map into memory in place of the artifact itself, where others can write to its folder:
            a path for private copies that all processes of this user share, or `SealedCopies()`. docs/mapping.md
            says what each defends against.
        floors: a state file, in which the highest release that was loaded of each artifact, by its name, is
            remembered, and what is older than that refused. Keep it where only this user can write.
    """

    def __init__(
        self,
        *,
        keyring: Keyring | SigningKey | VerifyingKey | PathLike | None = None,
        policy: Policy | PathLike = "sklearn",
        min_release: int | None = None,
        limits: Limits | None = None,
        on_version_mismatch: OnMismatch = "warn",
        mmap_copies: Copies | PathLike | None = None,
        floors: Floors | PathLike | None = None,
    ) -> None:
        if on_version_mismatch not in ("warn", "error", "ignore"):
            raise ValueError(f"on_version_mismatch is 'warn', 'error' or 'ignore', not {on_version_mismatch!r}")
        if min_release is not None and type(min_release) is not int:
            raise TypeError(f"min_release is a whole number, not {min_release!r}")
        self._keyring = resolve_keyring(keyring)
        self._policy = resolve_policy(policy)
        self._limits = self._policy.limits(limits)
        self._min_release = min_release
        self._on_version_mismatch = on_version_mismatch
        self._scanned = Scanned()
        self._copies = FolderOfCopies(mmap_copies) if isinstance(mmap_copies, str | os.PathLike) else mmap_copies
        self._floors = resolve_floors(floors)

    def load(self, path: PathLike, mmap_mode: MmapMode | None = None) -> Any:
        """Return the object; see `safeload.load`."""
        return self.load_with_manifest(path, mmap_mode)[0]

    def load_with_manifest(
        self, path: PathLike, mmap_mode: MmapMode | None = None, *, accept: Accept | None = None
    ) -> tuple[Any, Manifest]:
        """Return the object, and what was signed about it.

        `accept` is called with the manifest when its signature holds and before a byte of the artifact is read; it
        refuses it by raising a VerificationError.
        """
        _check_mmap_mode(mmap_mode)
        target = checked_path(path)
        with decision("load", str(target), self._policy.digest) as made:
            obj, manifest = with_pair(
                target, lambda fd, envelope: self._load(fd, envelope, target, mmap_mode, made, accept)
            )
            if self._floors is not None:
                self._floors.raise_release(manifest.name, manifest.release)
            return obj, manifest

    def verify(self, path: PathLike, *, accept: Accept | None = None) -> Report:
        """Return the report of all that `load` checks; see `safeload.verify`, and `load_with_manifest` for `accept`."""
        target = checked_path(path)
        with decision("verify", str(target), self._policy.digest) as made:
            try:
                report = with_pair(target, lambda fd, envelope: self._verify(fd, envelope, target, made, accept))
            except VerificationError as error:
                report = Report(
                    path=str(target),
                    findings=(Finding(error.code, str(error), error.offset),),
                    policy_name=self._policy.name,
                    policy_digest=self._policy.digest,
                )
            made.reported(report)
            return report

    def read_manifest(self, path: PathLike, *, accept: Accept | None = None) -> Manifest:
        """Return the manifest, its signature checked; see `safeload.read_manifest`."""
        target = checked_path(path)
        with decision("read_manifest", str(target)) as made:
            return with_pair(target, lambda fd, envelope: self._open(fd, envelope, target, made, accept)[0])

    def _load(
        self,
        fd: int,
        envelope: bytes,
        target: Path,
        mmap_mode: MmapMode | None,
        made: Decision,
        accept: Accept | None,
    ) -> tuple[Any, Manifest]:
        manifest, reader = self._open(fd, envelope, target, made, accept)
        if mmap_mode is not None and manifest.compression != "none":
            warn_caller(f'mmap_mode "{mmap_mode}" is ignored: {target} is compressed.', UserWarning)
            mmap_mode = None
        if mmap_mode is None:
            obj = self._unpickle(reader, manifest, target, lambda stream, guarded: _read(stream, guarded, manifest))
            return obj, manifest
        with mappable(fd, reader, _digests(manifest), target, self._copies) as (mapped_fd, verified, path):
            obj = self._unpickle(
                verified, manifest, target, lambda stream, guarded: _map(stream, guarded, mapped_fd, path, mmap_mode)
            )
            return obj, manifest

    def _unpickle(
        self,
        reader: VerifiedReader,
        manifest: Manifest,
        target: Path,
        load: Callable[[io.BufferedReader[VerifiedReader], Guarded], Any],
    ) -> Any:
        """Scan, and let `load` make the object of the same verified bytes, under the tripwire."""
        with verified_stream(reader) as stream:
            names = self._scanned.get(manifest)
            if names is None:
                report, trace = examine(stream, target, manifest.size, self._policy, self._limits, manifest)
                report.raise_if_refused()
                names = self._scanned.put(manifest, trace)
                stream.seek(0)
            check_drift(str(target), manifest.producer.python, manifest.producer.packages, self._on_version_mismatch)
            import_modules(names.modules)
            events = self._policy.events(names.full)
            obj = load(stream, functools.partial(tripwire, names.named, events=events, sources=names.sources))
            if reader.failure is not None:
                raise reader.failure  # swallowed by what was being loaded
            return obj

    def _verify(self, fd: int, envelope: bytes, target: Path, made: Decision, accept: Accept | None) -> Report:
        manifest, reader = self._open(fd, envelope, target, made, accept)
        with verified_stream(reader) as stream:
            report, _ = examine(stream, target, manifest.size, self._policy, self._limits, manifest)
            reader.verify_all()
        return replace(report, drift=tuple(drift(manifest.producer.python, manifest.producer.packages)))

    def _open(
        self, fd: int, envelope: bytes, target: Path, made: Decision, accept: Accept | None
    ) -> tuple[Manifest, VerifiedReader]:
        """Hold the envelope against the keyring and against what it is beside; nothing of the artifact is read."""
        made.manifest = None  # of a try before, while a writer was at work
        try:
            manifest = open_envelope(envelope, self._keyring, folder=target.parent)
        except VerificationError as error:
            raise type(error)(f"{target}: {error}", code=error.code) from error
        made.manifest = manifest
        if manifest.name != target.name:
            raise ManifestError(
                f"{target}: it was signed under the name {manifest.name!r}. If it was renamed on purpose, sign it "
                "again under its new name; if not, somebody has put one artifact in another's place.",
                code="SL107",
            )
        if self._min_release is not None and manifest.release < self._min_release:
            raise RollbackError(
                f"{target}: this is release {manifest.release}, older than the required {self._min_release}"
            )
        if self._floors is not None:
            self._floors.require_release(manifest.name, manifest.release, where=str(target))
        if accept is not None:
            accept(manifest)
        if os.fstat(fd).st_size != manifest.size:
            raise DigestMismatchError(
                f"{target}: {os.fstat(fd).st_size} bytes, {manifest.size} were signed. Get it again from its source.",
                code="SL202",
            )
        return manifest, verified_reader(fd, _digests(manifest), target)


def _digests(manifest: Manifest) -> FileDigests:
    return FileDigests(manifest.size, manifest.sha256, manifest.digest_algorithm, manifest.chunk_size, manifest.chunks)


def _read(stream: io.BufferedReader[VerifiedReader], guarded: Guarded, manifest: Manifest) -> Any:
    stream.raw.start_read_ahead()
    with guarded():
        return load_stream(stream, compression=manifest.compression)


def _map(
    stream: io.BufferedReader[VerifiedReader],
    guarded: Guarded,
    fd: int,
    path: str,
    mmap_mode: MmapMode,
) -> Any:
    with guarded(mmap_fd=fd):
        return load_mapped(stream, path=path, fd=fd, mmap_mode=mmap_mode)


def load(
    path: PathLike,
    mmap_mode: MmapMode | None = None,
    *,
    keyring: Keyring | SigningKey | VerifyingKey | PathLike | None = None,
    policy: Policy | PathLike = "sklearn",
    min_release: int | None = None,
    on_version_mismatch: OnMismatch = "warn",
    floors: PathLike | None = None,
) -> Any:
    """Return the object that was saved, or raise having run nothing that the policy does not allow.

    Most callers want this. A server that loads more than once does better with a `Loader`.

    Args:
        path: the artifact; its manifest stands beside it.
        mmap_mode: None, "r" or "c", as with joblib.load. The file and its folder must then be writable by this
            user and root only. "r+" and "w+" would write into the signed file, and are refused.
        keyring, policy, min_release, on_version_mismatch, floors: see `Loader`.

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
        on_version_mismatch=on_version_mismatch,
        floors=floors,
    )
    return loader.load(path, mmap_mode)


def verify(
    path: PathLike,
    *,
    keyring: Keyring | SigningKey | VerifyingKey | PathLike | None = None,
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


def read_manifest(path: PathLike, *, keyring: Keyring | SigningKey | VerifyingKey | PathLike | None = None) -> Manifest:
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
        from safeload.secondopinion import dissect, second_opinion

        opinion, difference = second_opinion(dissect(stream, size, policy.grant, limits))
    findings = report.findings if difference is None else (*report.findings, difference)
    return replace(report, findings=findings, second_opinion=opinion)


def _check_mmap_mode(mmap_mode: str | None) -> None:
    if mmap_mode in ("r+", "w+"):
        raise ValueError(
            f"mmap_mode={mmap_mode!r} would write into the signed file. Use 'c' (copy-on-write) to change arrays in "
            "memory, or load without mmap_mode."
        )
    if mmap_mode not in (None, "r", "c"):
        raise ValueError(f"mmap_mode is None, 'r' or 'c', not {mmap_mode!r}")
