"""Other signatures over what was signed: by a key that took over from the one that signed, or by one more.

What is signed stays, byte for byte: a manifest keeps its release, times and metadata, a channel pointer its number. So
readers that trust both keys meanwhile go on loading all artifacts, re-signed or not. An artifact gets a new signature
only if its present signatures are valid, and if the same keyring would trust the new one for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from safeload._judging.decisions import decision
from safeload._loading.loader import Loader
from safeload._manifest.envelope import add_signatures, unverified_envelope
from safeload._manifest.manifest import MANIFEST, Manifest, open_envelope
from safeload._manifest.quorum import within_scope
from safeload._signing.new_pair import belongs
from safeload._storage.backends import resolve
from safeload._storage.opening import read_envelope_bytes
from safeload._storage.pair import manifest_path
from safeload.errors import KeyringError, ManifestError, VerificationError
from safeload.keys import Signer, SigningKey, SigningSources, key_and_keyring, resolve_signers
from safeload.policy import resolve_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from safeload._judging.decisions import Decision
    from safeload._manifest.envelope import Kind
    from safeload._scan import Limits
    from safeload.keys import Keyring, KeyringSource
    from safeload.policy import PolicySource

__all__ = ["FileReSigner", "ReSigned", "SignedArtifact", "SignedContent", "SignedFile"]


class SignedContent(Protocol):
    """What was signed: a Manifest, or the Pointer of a store's channel; of one release and version of a model."""

    @property
    def release(self) -> int:
        """The release of the artifact."""

    @property
    def version(self) -> str | None:
        """The version of the artifact, in the signer's words."""

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the trusted keys that signed it."""


C = TypeVar("C", bound=SignedContent)


class SignedFile(Protocol[C]):
    """A file that can get other signatures; `SignedArtifact` is one, the store's pointers are another."""

    @property
    def kind(self) -> Kind:
        """The kind of its envelope."""

    @property
    def path(self) -> Path:
        """The path that users know it by."""

    def data(self) -> bytes:
        """Return the bytes of its envelope."""

    def opened(self, data: bytes, keyring: Keyring, made: Decision) -> C:
        """Return what these bytes of an envelope say, if trusted keys signed it."""

    def content(self, loader: Loader, made: Decision) -> C:
        """Return what it says now, its signatures checked."""

    def verified(self, loader: Loader, made: Decision) -> C:
        """Return what it says now, once all that it speaks of was verified."""

    def artifact(self, content: C, /) -> Path:
        """Return the artifact that it is about; scopes of keys apply to its path."""

    def changing(self) -> AbstractContextManager[Callable[[bytes], None]]:
        """Keep other writers away; the function that it yields replaces the envelope in one step."""


@dataclass(frozen=True, slots=True)
class SignedArtifact:
    """The manifest of an artifact, as a `SignedFile`."""

    path: Path
    kind: Kind = MANIFEST

    def data(self) -> bytes:
        return read_envelope_bytes(manifest_path(self.path))

    def opened(self, data: bytes, keyring: Keyring, made: Decision) -> Manifest:
        made.manifest = manifest = open_envelope(data, keyring, folder=self.path.parent)
        return manifest

    def content(self, loader: Loader, made: Decision) -> Manifest:
        made.manifest = manifest = loader.read_manifest(self.path)
        return manifest

    def verified(self, loader: Loader, made: Decision) -> Manifest:
        made.manifest = manifest = loader.verified_manifest(self.path)
        return manifest

    def artifact(self, _content: Manifest) -> Path:
        return self.path

    @contextmanager
    def changing(self) -> Iterator[Callable[[bytes], None]]:
        backend, name = resolve(self.path)
        with backend.signing(name, overwrite=True, belongs=belongs) as writer:
            yield writer.commit


@dataclass(frozen=True, slots=True, kw_only=True)
class ReSigned:
    """What became of one signed file.

    Attributes:
        content: what is signed, a Manifest, or a Pointer of a store's channel; `key_ids` are the trusted signers now.
        added: the ids of the keys that signed it now; empty where it was left as it is.
        removed: the ids of the keys whose signatures were taken off.
        foreign: whether it was left because the keys that were to be replaced have not signed it, only others.
        missing: how many more signatures the keyring demands.
    """

    content: SignedContent
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    foreign: bool = False
    missing: int = 0


class FileReSigner:
    """What `ReSigner` of the store does, for files that were looked up: artifacts and channel pointers alike.

    Args:
        key, keyring, policy, limits: as for `re_sign`.
        beside: sign beside all signatures that are there, and not in the place of some.
        replacing: as for `re_sign`.

    Raises:
        KeyringError, PolicyFileError: they cannot be used, or it is not said whose signatures are to be replaced.
    """

    def __init__(
        self,
        *,
        key: SigningSources = None,
        keyring: KeyringSource = None,
        policy: PolicySource = None,
        limits: Limits | None = None,
        beside: bool = False,
        replacing: Collection[str] | None = None,
    ) -> None:
        self._key, whole = key_and_keyring(key, keyring)
        self._threshold = whole.threshold
        # One who signs beside others may be the second of three.
        self._keyring = whole.with_threshold(1) if beside else whole
        self._policy = resolve_policy(policy)
        self._loader = Loader(keyring=self._keyring, policy=self._policy, limits=limits)
        self._beside = beside
        self._replacing = None if replacing is None else frozenset(replacing)
        if not beside:
            self._require_replaceable()

    def sign(self, file: SignedFile[Any]) -> ReSigned:
        """Verify one artifact or channel pointer, and put the new signatures on it; see `re_sign` and `countersign`."""
        with decision("countersign" if self._beside else "re-sign", str(file.path), self._policy.digest) as made:
            content = file.content(self._loader, made)
            signers = self._signers(file.artifact(content))
            drop = self._to_drop(file.kind, file.data(), signers)
            if drop is None:
                return self._left(content, signers)
            with file.changing() as put:
                before = file.verified(self._loader, made)
                data, removed = self._sealed(file.kind, file.data(), signers, drop)
                content = file.opened(data, self._keyring, made)
                if replace(content, key_ids=()) != replace(before, key_ids=()):
                    raise ManifestError(
                        "it was replaced while it was being signed", advice="Run this again.", path=file.path
                    )
                put(data)
            return self._signed(content, signers, removed)

    # --- whose signatures ---

    def _signers(self, artifact: Path) -> tuple[Signer, ...]:
        """Return who signs, each by the name that the keyring has for its key, if it would be trusted for this."""
        signers = tuple(map(self._named, resolve_signers(self._key, artifact).signers))
        for signer in signers:
            key_id = signer.verifying_key.key_id
            try:
                self._keyring.verifying_key(key_id)
                within_scope(self._keyring.with_threshold(1), [key_id], artifact.name, artifact.parent)
            except VerificationError as error:
                raise KeyringError(
                    f"cannot sign it with key {key_id!r}: {error.message}", advice=error.advice, path=artifact
                ) from error
        return signers

    def _named(self, signer: Signer) -> Signer:
        key = signer.verifying_key
        entry = self._keyring.find(key)
        if entry is None:
            raise KeyringError(
                f"cannot sign with key {key.key_id!r}: {self._keyring.where} does not have it, so nobody who trusts "
                "that keyring would accept its signature",
                advice="Put its public half there first: safeload key import.",
            )
        if entry.key_id == key.key_id:
            return signer
        if isinstance(signer, SigningKey):
            return SigningKey(signer.reveal(), algorithm=signer.algorithm, key_id=entry.key_id)
        raise KeyringError(
            f"cannot sign as {key.key_id!r}: {self._keyring.where} has this key under the id {entry.key_id!r}",
            advice=f"Give the signer the id {entry.key_id!r}.",
        )

    def _require_replaceable(self) -> None:
        where = self._keyring.where
        if self._replacing is None:
            if not any(entry.status == "active" and entry.replaces for entry in self._keyring.entries):
                raise KeyringError(
                    f"cannot tell which signatures to replace: {where} has no active key that was rotated in",
                    advice="Rotate a key (safeload key rotate), name the keys whose signatures go (replacing=[ID], "
                    "--replace ID), or sign beside them: safeload countersign.",
                )
        elif not self._replacing:
            raise KeyringError(
                "cannot re-sign: no signatures to replace were named",
                advice="Name the keys whose signatures go, or sign beside them with countersign.",
            )
        for key_id in self._replacing or ():
            if self._keyring.get(key_id) is None:
                raise KeyringError(
                    f"cannot replace signatures by key {key_id!r}: {where} does not have it",
                    advice="Name a key of the keyring: safeload key list shows them.",
                )

    def _replaced_by(self, signers: Sequence[Signer]) -> frozenset[str]:
        if self._beside:
            return frozenset()
        ids = [signer.verifying_key.key_id for signer in signers]
        replaced = self._replacing
        if replaced is None:
            replaced = frozenset().union(*map(self._keyring.replaced_by, ids))
        if replaced & set(ids):
            raise KeyringError(
                f"key {', '.join(ids)} cannot replace its own signature", advice="Sign with the key that takes over."
            )
        return replaced

    def _to_drop(self, kind: Kind, data: bytes, signers: Sequence[Signer]) -> frozenset[str] | None:
        """Return whose signatures are to go, or None where there is nothing to do."""
        there = unverified_envelope(kind, data).signatures.keys()
        drop = self._replaced_by(signers)
        complete = all(signer.verifying_key.key_id in there for signer in signers)
        if self._beside:
            return None if complete else drop
        return drop if drop & there else None

    def _sealed(
        self, kind: Kind, data: bytes, signers: Sequence[Signer], drop: Collection[str]
    ) -> tuple[bytes, tuple[str, ...]]:
        removed = tuple(key_id for key_id in unverified_envelope(kind, data).signatures if key_id in drop)
        try:
            return add_signatures(kind, data, signers, drop=drop), removed
        except ValueError as error:
            raise KeyringError(f"cannot add a signature: {error}", advice="Replace one of them: re-sign.") from error

    def _left(self, content: SignedContent, signers: Sequence[Signer]) -> ReSigned:
        ids = {signer.verifying_key.key_id for signer in signers}
        return ReSigned(content=content, foreign=not ids <= set(content.key_ids), missing=self._missing(content))

    def _signed(self, content: SignedContent, signers: Sequence[Signer], removed: tuple[str, ...]) -> ReSigned:
        added = tuple(signer.verifying_key.key_id for signer in signers)
        return ReSigned(content=content, added=added, removed=removed, missing=self._missing(content))

    def _missing(self, content: SignedContent) -> int:
        return max(0, self._threshold - len(content.key_ids))
