"""The store: versions of models side by side, and signed channels that say which one is in use."""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from safeload._internal.clock import utc_now
from safeload._internal.files import open_artifact, storage_errors
from safeload._judging.decisions import decision
from safeload._signing.claims import Claims, end_of
from safeload._signing.new_pair import NewPair
from safeload.errors import ReportedError, RollbackError, SafeloadError, VerificationError
from safeload.keys import resolve_signers
from safeload.store._layout import Layout, plain_names
from safeload.store._names import check_version, require_distinct
from safeload.store._pointer import MAX_HISTORY, Place, Pointer, read_pointer, seal_pointer
from safeload.store._reading import StoreReader
from safeload.store._versions import (
    PRODUCTION,
    acceptor,
    channel_key,
    newest_key,
    no_channel,
    no_version,
    require_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta
    from pathlib import Path

    from safeload._internal.files import PathLike
    from safeload._judging.decisions import Decision
    from safeload._manifest.manifest import Manifest
    from safeload._signing.new_pair import Compress

__all__ = ["Store"]


class Store(StoreReader):
    """Versions of models in a folder, and signed channels that point to them.

    Every version is a signed pair as `safeload.dump` writes it, which plain joblib can read; versions never change.
    A channel is a signed pointer: a writer of the folder can neither move it to another version, nor put
    one version in the place of another, nor put an old pointer back where a newer one was seen. A store may be used
    by any number of threads and processes; readers never wait for writers.

    Args:
        folder: where the models are; made when the first one is saved.
        key: what to sign with, as for `safeload.dump`; None means `keyring`, or the default keyring.
        keyring: whom to trust, as for `safeload.Loader`; None means `key`, or the default keyring.
        policy, limits, on_version_mismatch, mmap_copies: as for `safeload.Loader`.
        rollback_state: a state file that remembers what was loaded, so that nothing older is loaded after it. Without
            one, this object remembers it, for as long as it lives.
    """

    def save(
        self,
        name: str,
        obj: Any,
        *,
        version: str,
        metadata: dict[str, Any] | None = None,
        compress: Compress = 0,
        protocol: int | None = None,
        release: int | None = None,
        expires: datetime | timedelta | None = None,
    ) -> Manifest:
        """Save an object as a new version of a model; see `safeload.dump`. No channel moves.

        Without `release` it gets the one after the highest of this model.

        Raises:
            FileExistsError: the version is there, or one of a name that is too like it.
            RollbackError: `release` is not above the others.
            VerificationError: a version of the model cannot be trusted, so that the next release is not known.
        """

        def write(pair: NewPair, target: Path, claims: Claims) -> Manifest:
            return pair.write(obj, target, compress, protocol, claims)

        claims = Claims.checked(metadata, check_version(version), release, expires)
        return self._add("dump", name, version, claims, write, made_of=None)

    def add(
        self,
        name: str,
        path: PathLike,
        *,
        version: str,
        metadata: dict[str, Any] | None = None,
        release: int | None = None,
        expires: datetime | timedelta | None = None,
    ) -> Manifest:
        """Copy an artifact that exists into the store as a new version, and sign it there; else as `save`.

        To sign is to vouch: see `safeload.sign`.
        """

        def write(pair: NewPair, target: Path, claims: Claims) -> Manifest:
            with (
                storage_errors("copy", path),
                open_artifact(path) as blob,
                blob.stream() as source,
                target.open("xb") as copy,
            ):
                shutil.copyfileobj(source, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            return pair.sign(target, claims)

        claims = Claims.checked(metadata, check_version(version), release, expires)
        return self._add("sign", name, version, claims, write, made_of=path)

    def _add(
        self,
        action: str,
        name: str,
        version: str,
        claims: Claims,
        write: Callable[[NewPair, Path, Claims], Manifest],
        *,
        made_of: PathLike | None,
    ) -> Manifest:
        layout = self._layout(name)
        final = layout.artifact(version)
        pair = NewPair(resolve_signers(self._key, final), self._criteria)
        # It is made elsewhere, and renamed into place: who may sign it, and what is said of it, is about that place.
        with decision(action, str(final), self._criteria.policy.digest) as made:
            require_distinct("a model of the name", name, plain_names(self._folder))
            with layout.saving():
                require_distinct("version", version, layout.all_versions(), versions=True)
                with layout.new_version(version) as path:
                    numbered = replace(claims, release=self._next_release(name, claims.release))
                    try:
                        manifest = write(pair, path, numbered)
                    except SafeloadError as error:
                        if error.path == str(path):
                            error.path = os.fsdecode(final if made_of is None else made_of)
                            if isinstance(error, ReportedError):
                                error.report = replace(error.report, path=error.path)
                        raise
            made.manifest = manifest
        return manifest

    def _next_release(self, name: str, wanted: int | None) -> int:
        highest = self._rollback_state.release(newest_key(name)) or 0
        for stored in self._stored(name):
            if stored.manifest is not None:
                highest = max(highest, stored.manifest.release)
            elif wanted is None and stored.problem is not None:
                own = stored.problem.advice or ""
                stored.problem.advice = f"{own} To save meanwhile, name its release: release=N (--release N).".lstrip()
                raise stored.problem
        if wanted is None:
            return highest + 1
        if type(wanted) is int and wanted <= highest:
            raise RollbackError(
                f"cannot sign as release {wanted}: model {name!r} has release {highest} already",
                advice=f"Use a release above {highest}, or omit it to take the next one.",
            )
        return wanted

    # --- channels ---

    def promote(
        self,
        name: str,
        version: str,
        channel: str = PRODUCTION,
        *,
        expires: datetime | timedelta | None = None,
        reason: str | None = None,
        sequence: int | None = None,
    ) -> Pointer:
        """Verify a version in full, and let a channel point to it.

        Args:
            name, version, channel: what is to be where.
            expires: until when readers follow this pointer, a time with its zone, or from now on. Renew it by promoting
                the same version again. It bounds how long an old pointer can be played to a host that remembers none.
            reason: one line, signed with it.
            sequence: the pointer's number, where the last one is lost or damaged: above all that readers have seen.

        Raises:
            FileNotFoundError: there is no such version.
            RollbackError: it is of an older release than the one the channel is at: see `rollback`.
            VerificationError, PolicyViolationError, MalformedArtifactError, LimitExceededError: it is refused.
        """
        layout = self._layout(name, version, channel)
        require_model(layout)  # before there is a folder for its channels
        with decision("promote", str(layout.pointer(channel))) as made, layout.deciding():
            last = self._last(layout, channel, lost=sequence is not None)
            place = self._examined(layout, version, made)
            history: tuple[Place, ...] = ()
            if last is not None:
                if place.release < last.release:
                    raise RollbackError(
                        f"cannot promote version {version} of {name!r}: it is release {place.release}, and channel "
                        f"{channel!r} is at release {last.release} ({last.version}) already",
                        advice="To go back on purpose, use Store.rollback, or: safeload store rollback.",
                    )
                history = last.history if place == last.place else (last.place, *last.history)[:MAX_HISTORY]
            return self._point(layout, channel, last, place, history, "promote", expires, reason, sequence)

    def rollback(
        self,
        name: str,
        channel: str = PRODUCTION,
        *,
        to: str | None = None,
        expires: datetime | timedelta | None = None,
        reason: str | None = None,
    ) -> Pointer:
        """Let a channel go back: to where it was before, or to the older version `to`.

        The pointer is newer than the last, so readers follow it, and what it leaves they take for old.

        Raises:
            FileNotFoundError: there is no such channel or version.
            ValueError: the channel was nowhere before, or `to` is not older than where it is.
            VerificationError, PolicyViolationError, MalformedArtifactError, LimitExceededError: it is refused.
        """
        layout = self._layout(name, PRODUCTION if to is None else to, channel)
        require_model(layout)
        with decision("rollback", str(layout.pointer(channel))) as made, layout.deciding():
            last = self._last(layout, channel)
            if last is None:
                raise no_channel(layout, channel)
            if to is None and not last.history:
                raise ValueError(
                    f"channel {channel!r} of {name!r} was nowhere before version {last.version}, so there is nothing "
                    "to go back to. If an older version is there, name it: to= (--to)"
                )
            before = next((place for place in last.history if to in (None, place.version)), None)
            place = self._examined(layout, to or last.history[0].version, made, before)
            if place.release >= last.release:
                raise ValueError(
                    f"version {place.version} of {name!r} is release {place.release}, and channel {channel!r} is at "
                    f"release {last.release}: to go on, promote it"
                )
            history = last.history[last.history.index(place) + 1 :] if place in last.history else last.history
            return self._point(layout, channel, last, place, history, "rollback", expires, reason, None)

    def _last(self, layout: Layout, channel: str, *, lost: bool = False) -> Pointer | None:
        """Return the pointer to count on from; one that is past its time counts, one that is not to be trusted not."""
        path = layout.pointer(channel)
        try:
            pointer = read_pointer(layout, channel, self._keyring)
            if not lost:
                self._rollback_state.require_pointer(channel_key(layout.name, channel), pointer.mark, where=path)
            return pointer
        except FileNotFoundError:
            require_distinct("channel", channel, layout.all_channels())
            if not lost:
                self._require_never_seen(layout, channel)
        except VerificationError as error:
            if not lost:
                own = error.advice or ""
                error.advice = (
                    f"{own} To replace the pointer, promote with a sequence above all that readers have seen "
                    "(sequence=N, --sequence N)."
                ).lstrip()
                raise
        return None

    def _examined(self, layout: Layout, version: str, made: Decision, before: Place | None = None) -> Place:
        """Return what a pointer says of a version that passes in full."""
        path = layout.artifact(version)
        if not path.exists():
            raise no_version(layout, version)
        made.manifest = manifest = self._loader.verified_manifest(path, accept=acceptor(path, version, before))
        return Place(version, manifest.release, manifest.sha256)

    def _point(
        self,
        layout: Layout,
        channel: str,
        last: Pointer | None,
        place: Place,
        history: tuple[Place, ...],
        action: str,
        expires: datetime | timedelta | None,
        reason: str | None,
        sequence: int | None,
    ) -> Pointer:
        key = channel_key(layout.name, channel)
        mark = self._rollback_state.channel(key)
        counted = max(last.sequence if last else 0, mark.sequence if mark else 0)
        if sequence is not None and (type(sequence) is not int or sequence <= counted):
            raise ValueError(f"sequence is a whole number above {counted}, not {sequence!r}")
        now = utc_now()
        pointer = Pointer(
            name=layout.name,
            channel=channel,
            place=place,
            sequence=sequence or counted + 1,
            action=action,
            created=now.replace(microsecond=0),
            expires=None if expires is None else end_of(expires, now),
            reason=reason,
            history=history,
        )
        signers = resolve_signers(self._key, layout.artifact(place.version)).signers
        layout.put_pointer(channel, seal_pointer(pointer, signers))
        return read_pointer(layout, channel, self._keyring)

    # --- removing ---

    def prune(self, name: str, keep: int, *, dry_run: bool = False) -> tuple[str, ...]:
        """Remove old versions but for the newest `keep` releases, and return which.

        What a channel is at stays, and so does what a rollback would go back to, and versions that cannot be trusted,
        which are for a person to look at.

        Raises:
            FileNotFoundError: there is no such model.
            VerificationError: a channel's pointer cannot be trusted, so it is not known what is in use.
        """
        if type(keep) is not int or keep < 1:
            raise ValueError(f"keep is a whole number from 1 on, not {keep!r}")
        layout = self._layout(name)
        require_model(layout)
        with nullcontext() if dry_run else layout.saving(), nullcontext() if dry_run else layout.deciding():
            used = set()
            for channel in layout.all_channels():
                pointer = read_pointer(layout, channel, self._keyring)
                used |= {place.version for place in (pointer.place, *pointer.history[:1])}
            trusted = [(one.manifest.release, one.version) for one in self._stored(name) if one.manifest is not None]
            removed = tuple(version for _, version in sorted(trusted)[:-keep] if version not in used)
            for version in removed if not dry_run else ():
                layout.remove_version(version)
        return removed
