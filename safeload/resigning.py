"""Other signatures over what was signed: by a key that took over from the one that signed, or by one more.

What is signed stays, byte for byte: a manifest keeps its release, times and metadata, a channel pointer its number. So
whoever trusts both keys meanwhile goes on loading, whatever is signed already. Nothing gets a new signature unless the
signatures that are there vouch for it, and unless the new one would be trusted for it by the same keyring.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from safeload._judging.decisions import decision
from safeload._manifest.envelope import add_signatures, unverified_envelope
from safeload._manifest.manifest import MANIFEST, Manifest, open_envelope
from safeload._storage.opening import read_envelope_bytes
from safeload._storage.pair import manifest_path, signing
from safeload.api import Loader, PathLike, belongs, checked_target
from safeload.errors import KeyringError, ManifestError, VerificationError
from safeload.keys._key import Signer, SigningKey
from safeload.keys._signers import SigningSources, both_of, signing_with
from safeload.policy import resolve_policy
from safeload.store import POINTER, Pointer, pointer_at

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from safeload._judging.decisions import Decision
    from safeload._manifest.envelope import Kind
    from safeload._scan import Limits
    from safeload.keys._keyring import KeyringSource
    from safeload.policy import Policy
    from safeload.store import PointerFile

__all__ = ["Resigned", "Resigner", "cosign", "resign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resigned:
    """What became of one signed file.

    Attributes:
        content: what is signed, a Manifest, or a Pointer of a store's channel; `key_ids` are the trusted signers now.
        added: the ids of the keys that signed it now; empty where it was left as it is.
        removed: the ids of the keys whose signatures were taken off.
        foreign: whether it was left because the keys that were to be replaced have not signed it, only others.
        missing: how many more signatures the keyring demands.
    """

    content: Manifest | Pointer
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    foreign: bool = False
    missing: int = 0


class Resigner:
    """`resign` and `cosign` for many files, configured once; artifacts and channel pointers of stores alike.

    Args:
        key, keyring, policy, limits: as for `resign`.
        beside: sign beside all signatures that are there, and not in the place of some.
        replacing: as for `resign`.

    Raises:
        KeyringError, PolicyFileError: they cannot be used, or it is not said whose signatures are to be replaced.
    """

    def __init__(
        self,
        *,
        key: SigningSources = None,
        keyring: KeyringSource = None,
        policy: Policy | PathLike = "sklearn",
        limits: Limits | None = None,
        beside: bool = False,
        replacing: Collection[str] | None = None,
    ) -> None:
        self._key, whole = both_of(key, keyring)
        self._threshold = whole.threshold
        # One who signs beside others may be the second of three.
        self._keyring = whole.with_threshold(1) if beside else whole
        self._policy = resolve_policy(policy)
        self._loader = Loader(keyring=self._keyring, policy=self._policy, limits=limits)
        self._beside = beside
        self._replacing = None if replacing is None else frozenset(replacing)
        if not beside:
            self._require_replaceable()

    def sign(self, path: PathLike) -> Resigned:
        """Verify one artifact or channel pointer, and put the new signatures on it; see `resign` and `cosign`."""
        target = checked_target(path)
        pointer = pointer_at(target)
        with decision("cosign" if self._beside else "resign", str(target), self._policy.digest) as made:
            return self._artifact(target, made) if pointer is None else self._pointer(pointer)

    def _artifact(self, target: Path, made: Decision) -> Resigned:
        signers = self._signers(target)
        made.manifest = manifest = self._loader.read_manifest(target)
        drop = self._to_drop(MANIFEST, read_envelope_bytes(manifest_path(target)), signers)
        if drop is None:
            return self._left(manifest, signers)
        with signing(target, overwrite=True, belongs=belongs) as writer:
            before = made.manifest = self._loader.verified_manifest(target)
            data, removed = self._sealed(MANIFEST, read_envelope_bytes(manifest_path(target)), signers, drop)
            manifest = open_envelope(data, self._keyring, folder=target.parent)
            if replace(manifest, key_ids=()) != replace(before, key_ids=()):
                raise ManifestError(f"{target}: its manifest was replaced while it was being signed. Run this again")
            writer.commit(data)
        made.manifest = manifest
        return self._signed(manifest, signers, removed)

    def _pointer(self, file: PointerFile) -> Resigned:
        there = file.data()
        pointer = file.opened(there, self._keyring)
        signers = self._signers(file.artifact(pointer))
        drop = self._to_drop(POINTER, there, signers)
        if drop is None:
            return self._left(pointer, signers)
        with file.changing() as put:
            there = file.data()
            file.require_target(file.opened(there, self._keyring), self._loader)
            data, removed = self._sealed(POINTER, there, signers, drop)
            pointer = file.opened(data, self._keyring)
            put(data)
        return self._signed(pointer, signers, removed)

    # --- whose signatures ---

    def _signers(self, artifact: Path) -> tuple[Signer, ...]:
        """Return who signs, each by the name that the keyring has for its key, if it would be trusted for this."""
        signers = tuple(map(self._named, signing_with(self._key, artifact).signers))
        for signer in signers:
            key_id = signer.verifying_key.key_id
            try:
                self._keyring.verifying_key(key_id)
                self._keyring.with_threshold(1).within_scope([key_id], artifact.name, artifact.parent)
            except VerificationError as error:
                raise KeyringError(f"cannot sign {artifact} with key {key_id!r}: {error}") from error
        return signers

    def _named(self, signer: Signer) -> Signer:
        key = signer.verifying_key
        entry = self._keyring.find(key)
        if entry is None:
            raise KeyringError(
                f"{self._keyring.where} does not have key {key.key_id!r}, so its signature would not count for "
                "those who trust that keyring. Put its public half there first: safeload key import"
            )
        if entry.key_id == key.key_id:
            return signer
        if isinstance(signer, SigningKey):
            return SigningKey(signer.reveal(), algorithm=signer.algorithm, key_id=entry.key_id)
        raise KeyringError(
            f"{self._keyring.where} calls key {key.key_id!r} {entry.key_id!r}: have it sign by that name"
        )

    def _require_replaceable(self) -> None:
        where = self._keyring.where
        if self._replacing is None:
            if not any(entry.status == "active" and entry.replaces for entry in self._keyring.entries):
                raise KeyringError(
                    f"{where} has no active key that took over from another (safeload key rotate makes one). Say whose "
                    "signatures are to be replaced, replacing=[…] (--replace ID), or sign beside them: safeload cosign"
                )
        elif not self._replacing:
            raise KeyringError("no keys whose signatures are to be replaced: to sign beside them, use cosign")
        for key_id in self._replacing or ():
            if self._keyring.get(key_id) is None:
                raise KeyringError(f"{where} has no key {key_id!r} whose signatures could be replaced")

    def _replaced_by(self, signers: Sequence[Signer]) -> frozenset[str]:
        if self._beside:
            return frozenset()
        ids = [signer.verifying_key.key_id for signer in signers]
        replaced = self._replacing
        if replaced is None:
            replaced = frozenset().union(*map(self._keyring.replaced_by, ids))
        if replaced & set(ids):
            raise KeyringError(f"{', '.join(ids)} cannot replace its own signature")
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
            raise KeyringError(f"it cannot have more signatures: {error}") from error

    def _left(self, content: Manifest | Pointer, signers: Sequence[Signer]) -> Resigned:
        ids = {signer.verifying_key.key_id for signer in signers}
        return Resigned(content=content, foreign=not ids <= set(content.key_ids), missing=self._missing(content))

    def _signed(self, content: Manifest | Pointer, signers: Sequence[Signer], removed: tuple[str, ...]) -> Resigned:
        added = tuple(signer.verifying_key.key_id for signer in signers)
        return Resigned(content=content, added=added, removed=removed, missing=self._missing(content))

    def _missing(self, content: Manifest | Pointer) -> int:
        return max(0, self._threshold - len(content.key_ids))


def resign(
    path: PathLike,
    *,
    key: SigningSources = None,
    keyring: KeyringSource = None,
    policy: Policy | PathLike = "sklearn",
    limits: Limits | None = None,
    replacing: Collection[str] | None = None,
) -> Resigned:
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
    return Resigner(key=key, keyring=keyring, policy=policy, limits=limits, replacing=replacing).sign(path)


def cosign(
    path: PathLike,
    *,
    key: SigningSources = None,
    keyring: KeyringSource = None,
    policy: Policy | PathLike = "sklearn",
    limits: Limits | None = None,
) -> Resigned:
    """Verify an artifact in full, and sign it beside those who have signed it: for keyrings that demand several keys.

    One signature by a trusted key is enough for that, whatever the keyring's threshold; the result says how many are
    still missing. The arguments and errors are those of `resign`.
    """
    return Resigner(key=key, keyring=keyring, policy=policy, limits=limits, beside=True).sign(path)
