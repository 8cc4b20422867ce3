"""The Loader: what `load`, `verify` and `read_manifest` do, step by step.

load    envelope, signature, trust, expiry, release, name; scan; and only then joblib.load
verify  load, short of its last step, and every byte is read
"""

from __future__ import annotations

import copy
import functools
import io
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

from safeload._internal.blob import BytesBlob, immutable
from safeload._internal.files import PathLike, checked_path, open_artifact
from safeload._internal.keywords import keywords
from safeload._internal.notebook import facts_table
from safeload._judging.criteria import Criteria
from safeload._judging.decisions import Decision, decision
from safeload._judging.examine import examine
from safeload._judging.report import refused_report
from safeload._loading.environment import why_not_here
from safeload._loading.foreign import foreign_file
from safeload._loading.gc_pause import COLLECTOR_PAUSED
from safeload._loading.rollback_state import RollbackState, resolve_rollback_state
from safeload._loading.scan_cache import Scanned
from safeload._loading.tripwire import tripwire
from safeload._loading.trust import Trust
from safeload._loading.unpickle import import_modules, load_mapped, load_stream
from safeload._loading.versions import UNKNOWN, check_versions, failed_load, version_mismatches, warn_caller
from safeload._loading.watch import INTERVAL, Pair, Watch
from safeload._manifest.digests import FileDigests
from safeload._manifest.manifest import (
    BYTES_NAME,
    MANIFEST,
    KnownManifests,
    Manifest,
    checked_name,
    open_envelope,
)
from safeload._storage.backends import absolute
from safeload._storage.copies import FolderOfCopies, mappable
from safeload._storage.opening import read_envelope_bytes, with_pair
from safeload._storage.reader import VerifiedReader, verified_reader, verified_stream
from safeload._storage.states import MANIFEST_SUFFIX, NEXT_SUFFIX
from safeload.errors import (
    ManifestError,
    RollbackError,
    SafeloadError,
    StorageError,
    UnsignedError,
    VerificationError,
)
from safeload.findings import FINDING_KINDS, Finding

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from safeload._internal.blob import Blob
    from safeload._judging.report import Report
    from safeload._loading.watch import OnRefused, OnSwapped
    from safeload._scan import Limits, Trace
    from safeload._storage.copies import Copies
    from safeload.keys import Keyring, KeyringSource
    from safeload.policy import PolicySource

    Guarded = Callable[..., AbstractContextManager[None]]

__all__ = [
    "Accept",
    "Loader",
    "MmapMode",
    "OnMismatch",
    "criteria_of",
    "follower_of",
    "load_read",
]

OnMismatch = Literal["warn", "error", "ignore"]
MmapMode = Literal["r", "c"]
Accept = Callable[[Manifest], object]
_DO_NOT_SIGN = "Do not sign it: the scan refuses it, too, for the reasons below."
_PAUSED_UP_TO = 32 << 20  # bytes: what loads in a moment, so that other threads are not long without the collector


class Loader:
    """`load`, `verify` and `read_manifest`, configured once, for serving.

    Keyring and policy are read when the Loader is made, and their errors raised there; `watch` alone reads the
    keyring's file again when it changes.  `load` does not scan content
    again that was scanned and allowed; it verifies the bytes every time.  Parsed manifests are cached by their exact
    bytes; key trust and expiry are checked on every load.  A Loader may be used from any number of threads.

    Args:
        keyring: whom to trust: a Keyring, a single SigningKey or VerifyingKey, or a keyring's path.
            None means the keyring that SAFELOAD_KEYRING names, else the one in the user's config directory.
        policy: what artifacts may name: a Policy, a pack's name, a policy file's path, or a list of these, each
            of which extends those before it. None means the policies that SAFELOAD_POLICY names, with commas between
            them, else "sklearn".
        min_release: refuse releases below this one.
        limits: what an artifact may hold at most, in place of the defaults and the policy's.
        on_version_mismatch: "warn", "error" or "ignore" where other versions wrote the artifact than are
            installed here.
        mmap_copies: what to map into memory in place of the artifact itself, where others can write to its folder:
            a path for private copies that all processes of this user share, or `SealedCopies()`.
            docs/how-to/memory-mapping.md says what each defends against.
        rollback_state: a state file, in which the highest release that was loaded of each artifact, by its name, is
            remembered, and what is older than that refused. Keep it where only this user can write.
    """

    @keywords()
    def __init__(
        self,
        *,
        keyring: KeyringSource = None,
        policy: PolicySource = None,
        min_release: int | None = None,
        limits: Limits | None = None,
        on_version_mismatch: OnMismatch = "warn",
        mmap_copies: Copies | PathLike | None = None,
        rollback_state: RollbackState | PathLike | None = None,
    ) -> None:
        if on_version_mismatch not in ("warn", "error", "ignore"):
            raise ValueError(f"on_version_mismatch is 'warn', 'error' or 'ignore', not {on_version_mismatch!r}")
        if min_release is not None and type(min_release) is not int:
            raise TypeError(f"min_release is a whole number, not {min_release!r}")
        self._trust = Trust(keyring)
        self._criteria = Criteria.of(policy, limits)
        self._min_release = min_release
        self._on_version_mismatch = on_version_mismatch
        self._manifests = KnownManifests()
        self._scanned = Scanned()
        self._copies = FolderOfCopies(mmap_copies) if isinstance(mmap_copies, str | os.PathLike) else mmap_copies
        self._rollback_state = resolve_rollback_state(rollback_state)

    @keywords(also={"filename": "path"})
    def load(self, path: PathLike, mmap_mode: MmapMode | None = None) -> Any:
        """Return the object; see `safeload.load`."""
        return self._load(path, mmap_mode, None)[0]

    def __repr__(self) -> str:
        return f"<Loader policy {self._criteria.policy.name!r}, {self.keyring!r}>"

    def _repr_html_(self) -> str:
        """Return its policy and the ids of its keys as HTML, for notebooks."""
        ids = ", ".join(entry.key_id for entry in self.keyring.entries)
        facts = (("policy", self._criteria.policy.name), ("keys", ids), ("min_release", self._min_release))
        return facts_table("Loader", facts)

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Loader cannot be pickled: it may hold key material. Pass the keyring's path and the policy to each "
            "worker, and make a Loader there."
        )

    def load_with_manifest(
        self, path: PathLike, mmap_mode: MmapMode | None = None, *, accept: Accept | None = None
    ) -> tuple[Any, Manifest]:
        """Return the object, and what was signed about it.

        `accept` is called with the manifest when its signature holds and before a byte of the artifact is read; it
        refuses it by raising a VerificationError.
        """
        obj, manifest = self._load(path, mmap_mode, accept)
        return obj, manifest.copied()

    def loads(
        self,
        artifact: bytes | bytearray | memoryview,
        manifest: bytes | bytearray | memoryview,
        *,
        name: str = BYTES_NAME,
    ) -> Any:
        """Return the object of an artifact and its manifest, both as bytes; see `safeload.loads`."""
        target = Path(checked_name(name))
        blob = BytesBlob(immutable(artifact, "the artifact"), name)
        envelope = immutable(manifest, "the manifest")
        with decision("loads", name, self._criteria.policy.digest) as made:
            if len(envelope) > MANIFEST.max_bytes:
                raise ManifestError(f"not a manifest: more than {MANIFEST.max_bytes} bytes", path=target)
            obj, opened = self._load_open(blob, envelope, target, None, made, None)
            if self._rollback_state is not None:
                self._rollback_state.raise_release(opened.name, opened.release)
            return obj

    def watch(
        self,
        path: PathLike,
        mmap_mode: MmapMode | None = None,
        *,
        interval: float = INTERVAL,
        on_swapped: OnSwapped | None = None,
        on_refused: OnRefused | None = None,
    ) -> Watch:
        """Load an artifact, and return a handle whose `model` follows it: see `Watch`.

        It looks every `interval` seconds. A keyring that was named by its path, or is the default one, is read anew
        when its file is another. Without `rollback_state` of the Loader's, the handle remembers by itself the highest
        release that it served, and goes back to none before.

        Raises: as `load`, if the present artifact is refused.
        """
        loader, trust = follower_of(self)
        target = absolute(checked_path(path))
        pair = Pair(target, trust, lambda: loader.load_with_manifest(target, mmap_mode))
        return Watch(pair, interval=interval, on_swapped=on_swapped, on_refused=on_refused)

    @property
    def keyring(self) -> Keyring:
        """Whom it trusts."""
        return self._trust.keyring

    def verify(self, path: PathLike, *, any_environment: bool = False, accept: Accept | None = None) -> Report:
        """Return the report of all that `load` checks; see `safeload.verify`, and `load_with_manifest` for `accept`."""
        target = checked_path(path)
        with decision("verify", str(target), self._criteria.policy.digest) as made:
            try:
                report, manifest, trace = with_pair(
                    target, lambda blob, data: self._verify(blob, data, target, made, accept)
                )
                if report.allowed and not any_environment:
                    report = replace(report, findings=self._why_not_here(report, manifest, trace))
            except VerificationError as error:
                report = refused_report(target, error, self._criteria.policy)
                foreign = foreign_file(target)
                if foreign is not None:
                    findings = tuple(replace(one, advice=foreign.advice) for one in report.findings)
                    report = replace(report, findings=(foreign, *findings))
                elif isinstance(error, UnsignedError):
                    report = self._with_scan(report, target)
            made.reported(report)
            return report

    def _with_scan(self, report: Report, target: Path) -> Report:
        """Add to the report of an unsigned artifact what a scan finds, so that nobody is advised to sign an attack."""
        try:
            with open_artifact(target) as blob, blob.stream() as stream:
                scanned, _ = examine(stream, target, blob.size, self._criteria)
        except (OSError, StorageError):
            return report  # the refusal stands without it
        if scanned.allowed:
            return report
        findings = tuple(replace(one, advice=_DO_NOT_SIGN) for one in report.findings)
        return replace(scanned, findings=(*findings, *scanned.findings))

    def verified_manifest(self, path: PathLike, *, accept: Accept | None = None) -> Manifest:
        """Return the manifest of an artifact that `verify` allows.

        Raises: as `load`, for a refused artifact.
        """
        target = checked_path(path)
        with decision("verify", str(target), self._criteria.policy.digest) as made:
            report, manifest, _ = with_pair(target, lambda blob, data: self._verify(blob, data, target, made, accept))
            report.raise_if_refused()
            return manifest

    def read_manifest(self, path: PathLike, *, accept: Accept | None = None) -> Manifest:
        """Return the manifest, its signature checked; see `safeload.read_manifest`."""
        target = checked_path(path)
        with decision("read_manifest", str(target)) as made:
            return with_pair(target, lambda blob, data: self._open(blob, data, target, made, accept)[0]).copied()

    def _load(self, path: PathLike, mmap_mode: MmapMode | None, accept: Accept | None) -> tuple[Any, Manifest]:
        _check_mmap_mode(mmap_mode)
        target = checked_path(path)
        with decision("load", str(target), self._criteria.policy.digest) as made:
            try:
                obj, manifest = with_pair(
                    target, lambda blob, data: self._load_open(blob, data, target, mmap_mode, made, accept)
                )
            except VerificationError as error:
                foreign = foreign_file(target)
                if foreign is not None:
                    error.message, error.advice = f"{error.message}; {foreign.message}", foreign.advice
                raise
            if self._rollback_state is not None:
                self._rollback_state.raise_release(manifest.name, manifest.release)
            return obj, manifest

    def _load_read(self, data: bytes, target: Path) -> Any:
        blob = BytesBlob(data, str(target), target.parent)
        with decision("load", str(target), self._criteria.policy.digest) as made:
            problem: VerificationError | None = None
            for suffix in (MANIFEST_SUFFIX, NEXT_SUFFIX):  # a writer may be at work: see `states`
                try:
                    envelope = read_envelope_bytes(f"{target}{suffix}")
                    obj, manifest = self._load_open(blob, envelope, target, None, made, None)
                except VerificationError as error:
                    problem = problem or error
                else:
                    if self._rollback_state is not None:
                        self._rollback_state.raise_release(manifest.name, manifest.release)
                    return obj
            if problem is None:
                raise AssertionError("a pair has at least one manifest")
            raise problem

    def _load_open(
        self,
        blob: Blob,
        envelope: bytes,
        target: Path,
        mmap_mode: MmapMode | None,
        made: Decision,
        accept: Accept | None,
    ) -> tuple[Any, Manifest]:
        manifest, reader = self._open(blob, envelope, target, made, accept)
        if mmap_mode is not None and manifest.compression != "none":
            warn_caller(UserWarning(f'mmap_mode "{mmap_mode}" is ignored: {target} is compressed.'))
            mmap_mode = None
        if mmap_mode is None:
            return self._unpickle(reader, manifest, target, functools.partial(_read, manifest, reader)), manifest
        with mappable(blob, reader, _digests(manifest), self._copies) as (mapped, verified):
            obj = self._unpickle(verified, manifest, target, functools.partial(_map, mapped, mmap_mode))
            return obj, manifest

    def _unpickle(
        self,
        reader: VerifiedReader,
        manifest: Manifest,
        target: Path,
        load: Callable[[io.BufferedReader[Any], io.BytesIO, Guarded], Any],
    ) -> Any:
        """Scan, and let `load` make the object of the same verified bytes, under the tripwire."""
        paused = COLLECTOR_PAUSED if manifest.size <= _PAUSED_UP_TO else nullcontext()
        with paused, verified_stream(reader) as stream:
            names = self._scanned.get(manifest)
            unpacked = io.BytesIO()
            if names is None:
                report, trace = examine(stream, target, manifest.size, self._criteria, manifest, keep=unpacked)
                if not report.allowed:
                    replace(report, manifest=manifest.copied()).raise_if_refused()
                names = self._scanned.put(manifest, trace, self._criteria.policy)
                stream.seek(0)
            check_versions(str(target), manifest.producer.python, manifest.producer.packages, self._on_version_mismatch)
            import_modules(names.modules)
            guarded = functools.partial(tripwire, names.named, events=names.events, sources=names.sources)
            try:
                obj = load(stream, unpacked, guarded)
            except (SafeloadError, OSError, MemoryError):
                raise
            except Exception as error:
                if reader.failure is not None:
                    raise reader.failure from error
                differences = version_mismatches(manifest.producer.python, manifest.producer.packages)
                known = differences or manifest.producer.python != UNKNOWN
                raise failed_load(target, error, differences if known else None) from error
            if reader.failure is not None:
                raise reader.failure  # swallowed by what was being loaded
            return obj

    def _verify(
        self, blob: Blob, envelope: bytes, target: Path, made: Decision, accept: Accept | None
    ) -> tuple[Report, Manifest, Trace]:
        known, reader = self._open(blob, envelope, target, made, accept)
        manifest = known.copied()
        with verified_stream(reader) as stream:
            report, trace = examine(stream, target, manifest.size, self._criteria, manifest)
            reader.verify_all(sha256=True)
        return (
            replace(
                report,
                version_mismatches=tuple(version_mismatches(manifest.producer.python, manifest.producer.packages)),
            ),
            manifest,
            trace,
        )

    def _why_not_here(self, report: Report, manifest: Manifest, trace: Trace) -> tuple[Finding, ...]:
        """Return why an artifact that is allowed would not load in this environment."""
        refused = report.version_mismatches if self._on_version_mismatch == "error" else ()
        reasons = why_not_here(trace, self._criteria.policy, manifest.producer.packages)
        return (*(Finding("SL607", line) for line in refused), *reasons)

    def _open(
        self, blob: Blob, envelope: bytes, target: Path, made: Decision, accept: Accept | None
    ) -> tuple[Manifest, VerifiedReader]:
        """Hold the envelope against the keyring and against what it is beside; nothing of the artifact is read."""
        made.manifest = None  # of a try before, while a writer was at work
        try:
            folder = blob.folder if isinstance(blob, BytesBlob) else target.parent
            manifest = open_envelope(envelope, self._trust.keyring, folder=folder, known=self._manifests)
        except VerificationError as error:
            error.path = str(target)
            error.advice = error.advice or FINDING_KINDS[error.code].advice
            raise
        made.manifest = manifest
        if manifest.name != target.name:
            raise ManifestError(
                f"signed under another name: {manifest.name!r}",
                advice="If it was renamed on purpose, sign it again under its new name. If not, it may have been put "
                "in the place of another artifact: get the right one from where it was signed.",
                path=target,
                code="SL107",
            )
        if self._min_release is not None and manifest.release < self._min_release:
            raise RollbackError(
                f"release {manifest.release} is older than the required release {self._min_release}",
                advice="Deploy a newer release, or lower min_release (--min-release) on purpose.",
                path=target,
            )
        if self._rollback_state is not None:
            self._rollback_state.require_release(manifest.name, manifest.release, where=target)
        if accept is not None:
            accept(manifest.copied())
        return manifest, verified_reader(blob, _digests(manifest))


def follower_of(loader: Loader) -> tuple[Loader, Trust]:
    """Return a Loader for one watch, and its trust: it renews its keyring and remembers releases on its own."""
    follower = copy.copy(loader)
    follower._trust = trust = loader._trust.copied()  # noqa: SLF001
    follower._rollback_state = loader._rollback_state or RollbackState()  # noqa: SLF001
    return follower, trust


def load_read(loader: Loader, data: bytes, path: PathLike) -> Any:
    """Return the object of the bytes that were read from the file at `path`; the manifest lies beside that file.

    Raises: what `Loader.load` does. The file itself is not read again.
    """
    return loader._load_read(data, Path(path))  # noqa: SLF001


def criteria_of(loader: Loader) -> Criteria:
    """Return the policy and the limits that artifacts are held against."""
    return loader._criteria  # noqa: SLF001


def _digests(manifest: Manifest) -> FileDigests:
    return FileDigests(manifest.size, manifest.sha256, manifest.digest_algorithm, manifest.chunk_size, manifest.chunks)


def _read(
    manifest: Manifest,
    reader: VerifiedReader,
    stream: io.BufferedReader[Any],
    unpacked: io.BytesIO,
    guarded: Guarded,
) -> Any:
    """Unpickle the stream, or what the scan has unpacked it to, which is not unpacked again."""
    if unpacked.tell():
        unpacked.seek(0)
        with guarded():
            return load_stream(stream, compression=manifest.compression, unpacked=unpacked)
    reader.start_read_ahead()
    with guarded():
        return load_stream(stream, compression=manifest.compression)


def _map(
    blob: Blob,
    mmap_mode: MmapMode,
    stream: io.BufferedReader[Any],
    _unpacked: io.BytesIO,
    guarded: Guarded,
) -> Any:
    fd = blob.fileno()
    if fd is None:
        raise TypeError("only a local file can be mapped")
    with guarded(mmap_fd=fd):
        return load_mapped(stream, path=blob.name, fd=fd, mmap_mode=mmap_mode)


def _check_mmap_mode(mmap_mode: str | None) -> None:
    if mmap_mode in ("r+", "w+"):
        raise ValueError(
            f"mmap_mode={mmap_mode!r} would write into the signed file. Use 'c' (copy-on-write) to change arrays in "
            "memory, or load without mmap_mode."
        )
    if mmap_mode not in (None, "r", "c"):
        raise ValueError(f"mmap_mode is None, 'r' or 'c', not {mmap_mode!r}")
