"""Reading from a store: which version is meant, and that it is the one that stands there."""

from __future__ import annotations

import copy
import errno
import functools
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from safeload._internal.files import storage_error
from safeload._internal.keywords import keywords
from safeload._internal.notebook import facts_table
from safeload._internal.secrecy import require_path
from safeload._judging.criteria import Criteria
from safeload._judging.report import Report, refused_report
from safeload._loading.loader import Loader, follower_of
from safeload._loading.rollback_state import RollbackState, resolve_rollback_state
from safeload._loading.watch import INTERVAL, Watch
from safeload._storage.backends import absolute
from safeload.errors import RollbackError, StorageError, VerificationError
from safeload.keys import SigningSources, key_and_keyring
from safeload.store._layout import Layout, all_strays, plain_names
from safeload.store._names import check_channel, check_name, check_version, version_order
from safeload.store._pointer import Pointer, read_pointer
from safeload.store._versions import (
    PRODUCTION,
    Part,
    Resolved,
    StoredVersion,
    acceptor,
    channel_key,
    gone,
    leads_nowhere,
    newest_key,
    no_channel,
    no_version,
    require_model,
)
from safeload.store._watching import Channel

if TYPE_CHECKING:
    from safeload._internal.files import PathLike
    from safeload._loading.loader import MmapMode, OnMismatch
    from safeload._loading.watch import OnRefused, OnSwapped
    from safeload._manifest.manifest import Manifest
    from safeload._scan import Limits
    from safeload._storage.copies import Copies
    from safeload.keys import Keyring, KeyringSource
    from safeload.policy import PolicySource

__all__ = [
    "StoreReader",
]


_MAX_TRIES = 20


class StoreReader:
    """The part of `Store` that needs no key to sign with."""

    @keywords()
    def __init__(
        self,
        folder: PathLike,
        *,
        key: SigningSources = None,
        keyring: KeyringSource = None,
        policy: PolicySource = None,
        limits: Limits | None = None,
        on_version_mismatch: OnMismatch = "warn",
        mmap_copies: Copies | PathLike | None = None,
        rollback_state: RollbackState | PathLike | None = None,
    ) -> None:
        require_path(folder)
        self._folder = Path(folder)
        self._key, _ = key_and_keyring(key, keyring)
        self._criteria = Criteria.of(policy, limits)
        self._rollback_state = resolve_rollback_state(rollback_state) or RollbackState()
        self._loader = Loader(
            # As it was named, so that a watch can follow it.
            keyring=cast("KeyringSource", key) if keyring is None else keyring,
            policy=self._criteria.policy,
            limits=self._criteria.limits,
            on_version_mismatch=on_version_mismatch,
            mmap_copies=mmap_copies,
            rollback_state=self._rollback_state,
        )

    @property
    def _keyring(self) -> Keyring:
        return self._loader.keyring

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self._folder)!r}, policy {self._criteria.policy.name!r}>"

    def _repr_html_(self) -> str:
        """Return its folder, policy and the ids of its keys as HTML, for notebooks."""
        ids = ", ".join(entry.key_id for entry in self._keyring.entries)
        return facts_table("Store", (("folder", self._folder), ("policy", self._criteria.policy.name), ("keys", ids)))

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled: it may hold key material. Pass the folder, the keyring's path "
            "and the policy to each worker, and open it there."
        )

    @property
    def folder(self) -> Path:
        """Where the models are."""
        return self._folder

    def load(
        self, name: str, version: str | None = None, *, channel: str | None = None, mmap_mode: MmapMode | None = None
    ) -> Any:
        """Return a model, verified in full, or raise having run nothing that the policy does not allow.

        Without `version` it is the one that `channel` points to. Without either it is the one in production; and
        where this model was never promoted to production, the one of the highest release. A service says
        `channel="production"`, so that a missing channel is an error.

        Raises:
            FileNotFoundError: no such model, version or channel.
            And all that `safeload.load` raises.
        """
        return self.load_with_manifest(name, version, channel=channel, mmap_mode=mmap_mode)[0]

    def load_with_manifest(
        self, name: str, version: str | None = None, *, channel: str | None = None, mmap_mode: MmapMode | None = None
    ) -> tuple[Any, Manifest]:
        """Return a model, and what was signed about it; else as `load`."""
        return self._load_found(name, version, channel=channel, mmap_mode=mmap_mode)[:2]

    def _load_found(
        self, name: str, version: str | None = None, *, channel: str | None = None, mmap_mode: MmapMode | None = None
    ) -> tuple[Any, Manifest, Resolved]:
        """Return a model, what was signed about it, and where it was found; else as `load`."""
        tries = 0
        while True:
            found = self._resolve(name, version, channel=channel)
            try:
                obj, manifest = self._loader.load_with_manifest(found.path, mmap_mode, accept=found.accept)
            except (FileNotFoundError, VerificationError):
                tries += 1
                # Meanwhile the channel moved on, and what it left was removed.
                if tries == _MAX_TRIES or self._resolve(name, version, channel=channel).path == found.path:
                    raise
                continue
            found.remember()
            return obj, manifest, found

    def watch(
        self,
        name: str,
        channel: str = PRODUCTION,
        *,
        mmap_mode: MmapMode | None = None,
        interval: float = INTERVAL,
        on_swapped: OnSwapped | None = None,
        on_refused: OnRefused | None = None,
    ) -> Watch:
        """Load the model that a channel is at, and return a handle whose `model` follows the channel: see `Watch`.

        It looks every `interval` seconds, at the keyring's file, too: see `Loader.watch`.

        Raises: what `load` does, if what the channel is at now is refused.
        """
        follower = copy.copy(self)
        follower._loader, trust = follower_of(self._loader)  # noqa: SLF001 - the same class
        follower._folder = absolute(self._folder)  # noqa: SLF001 - servers change their directory
        followed = Channel(
            Layout(follower.folder, check_name(name)).pointer(check_channel(channel)),
            trust,
            resolve=functools.partial(follower._resolve, name, channel=channel),  # noqa: SLF001
            load=functools.partial(follower._load_found, name, channel=channel, mmap_mode=mmap_mode),  # noqa: SLF001
        )
        return Watch(followed, interval=interval, on_swapped=on_swapped, on_refused=on_refused)

    def _resolve(self, name: str, version: str | None = None, *, channel: str | None = None) -> Resolved:
        """Return what `load` would load; of the artifact itself nothing is read."""
        layout = self._layout(name, version, channel)
        if version is not None:
            if channel is not None:
                raise TypeError("give a version or a channel, not both")
            path = layout.artifact(version)
            if not path.exists():
                raise no_version(layout, version)
            return Resolved(path, acceptor(path, version), None, lambda: None)
        key = channel_key(name, channel or PRODUCTION)
        promoted = (
            os.path.lexists(layout.pointer(channel or PRODUCTION)) or self._rollback_state.channel(key) is not None
        )
        if channel is not None or promoted:
            pointer = self.channel(name, channel or PRODUCTION)
            path = layout.artifact(pointer.version)
            return Resolved(
                path,
                acceptor(path, pointer.version, pointer.place, pointer.channel),
                pointer,
                lambda: self._rollback_state.raise_pointer(key, pointer.mark),
            )
        return self._newest(layout)

    def _newest(self, layout: Layout) -> Resolved:
        stored = self._stored(layout.name)
        for one in stored:
            if one.problem is not None:  # it may be the newest
                raise one.problem
        trusted = [(one.manifest.release, one) for one in stored if one.manifest is not None]
        if not trusted:
            raise FileNotFoundError(errno.ENOENT, f"there is no version of model {layout.name!r}", str(layout.folder))
        release, newest = max(trusted, key=lambda pair: pair[0])
        key = newest_key(layout.name)
        self._rollback_state.require_release(
            key, release, where=newest.path, instead="Restore the newer one, or promote the one that you want."
        )
        return Resolved(
            newest.path,
            acceptor(newest.path, newest.version),
            None,
            lambda: self._rollback_state.raise_release(key, release),
        )

    def names(self) -> tuple[str, ...]:
        """Return the names of all models that have a version or a channel."""
        found = [self._layout(name) for name in plain_names(self._folder)]
        return tuple(one.name for one in found if one.is_model() and (one.all_versions() or one.all_channels()))

    def versions(self, name: str) -> tuple[StoredVersion, ...]:
        """Return all versions of a model, in the order of PEP 440 where that applies, those with a problem too.

        Raises: FileNotFoundError if there is no such model.
        """
        layout = self._layout(name)
        require_model(layout)
        at: dict[str, list[str]] = {}
        for channel in layout.all_channels():
            try:
                at.setdefault(self.channel(name, channel).version, []).append(channel)
            except (VerificationError, StorageError, OSError):
                continue  # `verify` says what is wrong with it
        return tuple(replace(one, channels=tuple(at.get(one.version, ()))) for one in self._stored(name))

    def _stored(self, name: str) -> list[StoredVersion]:
        layout = self._layout(name)
        found = []
        for version in sorted(layout.all_versions(), key=version_order):
            path = layout.artifact(version)
            manifest: Manifest | None = None
            problem: VerificationError | StorageError | None = None
            try:
                manifest = self._loader.read_manifest(path, accept=acceptor(path, version))
            except (VerificationError, StorageError) as error:
                problem = error
            except FileNotFoundError:
                if not path.parent.exists():
                    continue  # pruned meanwhile
                problem = gone(path)
            except OSError as error:
                problem = storage_error("read", path, error)
            found.append(StoredVersion(version=version, path=path, manifest=manifest, problem=problem))
        return found

    def verify(self, name: str | None = None, version: str | None = None) -> tuple[Report, ...]:
        """Verify every version and every channel in full, of one model or of all; nothing is loaded or remembered.

        What is wrong with one is in its report, and so is why one could not be judged (`Report.error`).

        Raises: FileNotFoundError if there is no such model or version, StorageError if the folders cannot be read.
        """
        return tuple(map(self.verify_part, self.parts(name, version)))

    def parts(self, name: str | None = None, version: str | None = None) -> tuple[Part, ...]:
        """Return what `verify` verifies: all versions and channels, of one model or of all, or one version.

        Raises: FileNotFoundError if there is no such model or version.
        """
        found: list[Part] = []
        for one in self.names() if name is None else (check_name(name),):
            layout = self._layout(one, version)
            require_model(layout)
            there = sorted(layout.all_versions(), key=version_order)
            if version is not None and version not in there:
                raise no_version(layout, version)
            found += [Part(one, layout.artifact(each), version=each) for each in there if version in (None, each)]
            if version is None:
                found += [Part(one, layout.pointer(each), channel=each) for each in layout.all_channels()]
        return tuple(found)

    def verify_part(self, part: Part) -> Report:
        """Verify one version or channel in full, as `verify` does."""
        try:
            if part.version is not None:
                return self._loader.verify(part.path, accept=acceptor(part.path, part.version))
            found = self._resolve(part.name, channel=part.channel)
            self._loader.read_manifest(found.path, accept=found.accept)
        except VerificationError as error:
            return refused_report(part.path, error)
        except FileNotFoundError:
            return refused_report(part.path, gone(part.path) if part.channel is None else leads_nowhere(part.path))
        except (StorageError, OSError) as error:  # one that cannot be read hides nothing of the others
            if isinstance(error, OSError):
                return Report(path=str(part.path), findings=(), error=error.strerror or str(error))
            return Report(path=str(part.path), findings=(), error=error.describe(part.path), advice=error.advice)
        return Report(path=str(part.path), findings=())

    def strays(self, name: str | None = None, version: str | None = None) -> tuple[Path, ...]:
        """Return what lies in the store, or in one model or version of it, and is no part of it: nothing reads it."""
        return tuple(all_strays(self._folder) if name is None else self._layout(name, version).strays(version))

    def channel(self, name: str, channel: str = PRODUCTION) -> Pointer:
        """Return where a channel is; its signature is checked, and that it is not older than what was seen.

        Raises: FileNotFoundError if it was never promoted to, VerificationError.
        """
        layout = self._layout(name, None, channel)
        path = layout.pointer(channel)
        try:
            pointer = read_pointer(layout, channel, self._keyring)
        except FileNotFoundError:
            self._require_never_seen(layout, channel)
            raise no_channel(layout, channel) from None
        self._rollback_state.require_pointer(channel_key(name, channel), pointer.mark, where=path)
        pointer.require_current(path)
        return pointer

    def channels(self, name: str) -> tuple[str, ...]:
        """Return the names of a model's channels."""
        return tuple(self._layout(name).all_channels())

    def _require_never_seen(self, layout: Layout, channel: str) -> None:
        mark = self._rollback_state.channel(channel_key(layout.name, channel))
        if mark is not None:
            raise RollbackError(
                f"the pointer is gone: number {mark.sequence}, to release {mark.release}, was followed here before",
                advice=f"Restore the file, or promote again with a sequence above {mark.sequence}.",
                path=layout.pointer(channel),
            )

    def _layout(self, name: str, version: str | None = None, channel: str | None = None) -> Layout:
        check_name(name)
        if version is not None:
            check_version(version)
        if channel is not None:
            check_channel(channel)
        return Layout(self._folder, name)
