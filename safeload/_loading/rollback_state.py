"""What this host has loaded before: the highest release of each artifact, the last pointer of each channel.

A signature does not say that nothing newer was signed since. Whoever remembers the newest that it has seen can
refuse what is older. It is remembered in memory, and in a state file where one is named:

    {"version": 1,
     "releases": {"model.joblib": 7},
     "channels": {"fraud/production": {"sequence": 3, "release": 7, "digest": "…"}}}

The file belongs to this user, and to nobody who can write the artifacts. A file that cannot be understood is an
error, never an empty one. No clock plays a part.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from safeload._internal.atomic import lock_path, locked, replace_file
from safeload._internal.files import (
    NotRegularError,
    PathLike,
    exposure,
    open_regular,
    read_to_end,
    storage_errors,
)
from safeload._internal.forking import MemoryLock
from safeload._internal.secrecy import require_path
from safeload._internal.strictjson import Node, parse_json
from safeload.errors import RollbackError, SafeloadError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Mark", "RollbackState", "resolve_rollback_state"]

MAX_ENTRIES = 10_000
MAX_BYTES = 8 << 20

_GO_BACK = (
    "Deploy the newer release. To go back on purpose, sign the older one again as the next release, where there is a "
    "key: safeload reissue FILE --from-release N."
)
_VERSION = 1
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Mark:
    """A channel's pointer that was followed: its sequence number, the release it named, its payload's digest."""

    sequence: int
    release: int
    digest: str


@dataclass(slots=True)
class _Seen:
    releases: dict[str, int] = field(default_factory=dict)
    channels: dict[str, Mark] = field(default_factory=dict)

    def merge(self, other: _Seen) -> bool:
        """Take what is higher in the other; return whether anything was."""
        changed = False
        for name, release in other.releases.items():
            if release > self.releases.get(name, -1):
                self.releases[name] = release
                changed = True
        for name, mark in other.channels.items():
            known = self.channels.get(name)
            if known is None or mark.sequence > known.sequence:
                self.channels[name] = mark
                changed = True
        return changed


class RollbackState:
    """The highest releases and channel pointers that were accepted, which nothing older may follow.

    Without a path they are kept as long as this object. With one, they are kept in that file, which several
    threads and processes may use at once; it is made, with mode 0600, when there is something to remember.

    Raises:
        StorageError: the file is damaged, too large, or others may write it.
    """

    def __init__(self, path: PathLike | None = None) -> None:
        if path is not None:
            require_path(path)
        self._path = None if path is None else Path(os.path.abspath(path))  # noqa: PTH100 - nothing is followed
        self._seen = _Seen()
        self._current()  # what is wrong with the file is better said now

    @property
    def path(self) -> Path | None:
        """The state file, if there is one."""
        return self._path

    def release(self, name: str) -> int | None:
        """Return the highest release of this artifact that was accepted, or None."""
        return self._current().releases.get(name)

    def channel(self, name: str) -> Mark | None:
        """Return the last pointer of this channel that was accepted, or None."""
        return self._current().channels.get(name)

    def require_release(self, name: str, release: int, *, where: Path, instead: str = _GO_BACK) -> None:
        """Refuse a release older than the highest that was accepted.

        Raises: RollbackError with `where` as its path and `instead` as its advice.
        """
        newest = self.release(name)
        if newest is not None and release < newest:
            raise RollbackError(
                f"release {release} is older than release {newest}, which was loaded here before{self._says()}",
                advice=instead,
                path=where,
            )

    def require_pointer(self, name: str, mark: Mark, *, where: Path) -> None:
        """Refuse a channel's pointer older than the last that was accepted, or another of the same number.

        Raises: RollbackError.
        """
        last = self.channel(name)
        if last is None or mark == last or mark.sequence > last.sequence:
            return
        if mark.sequence == last.sequence:
            raise RollbackError(
                f"pointer number {mark.sequence} was signed twice: the other one, to release {last.release}, was "
                f"followed here before{self._says()}",
                advice="Promote again, which takes the next number.",
                path=where,
            )
        raise RollbackError(
            f"pointer number {mark.sequence} (release {mark.release}) is older than number {last.sequence} (release "
            f"{last.release}), which was followed here before{self._says()}",
            advice=f"An old pointer was put back: restore the last one, or promote again with a sequence above "
            f"{last.sequence}.",
            path=where,
        )

    def raise_release(self, name: str, release: int) -> None:
        """Remember that this release was accepted."""
        self._raise(_Seen(releases={name: release}))

    def raise_pointer(self, name: str, mark: Mark) -> None:
        """Remember that this pointer was accepted."""
        self._raise(_Seen(channels={name: mark}))

    def _says(self) -> str:
        return "" if self._path is None else f" (rollback state: {self._path})"

    def _current(self) -> _Seen:
        written = None if self._path is None else _read(self._path)
        with _MEMORY:
            if written is not None:
                self._seen.merge(written)
            return _Seen(dict(self._seen.releases), dict(self._seen.channels))

    def _raise(self, new: _Seen) -> None:
        if not self._current().merge(new):
            return
        if self._path is not None:
            with storage_errors("remember releases in", self._path):
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(lock_path(self._path), self._path):
                seen = self._current()
                seen.merge(new)
                replace_file(self._path, _format(seen, self._path), mode=0o600)
        with _MEMORY:
            self._seen.merge(new)


def resolve_rollback_state(rollback_state: RollbackState | PathLike | None) -> RollbackState | None:
    """Return what was remembered, from whatever the caller passed.

    Raises: StorageError as for RollbackState, TypeError if something else was passed.
    """
    if rollback_state is None or isinstance(rollback_state, RollbackState):
        return rollback_state
    if isinstance(rollback_state, str | os.PathLike):
        return RollbackState(rollback_state)
    raise TypeError(f"rollback_state is a state file's path, not {type(rollback_state).__name__}")


_MEMORY = MemoryLock()  # around every RollbackState' own memory


# --- the file ---


def _format(seen: _Seen, path: Path) -> bytes:
    if len(seen.releases) + len(seen.channels) > MAX_ENTRIES:
        raise StorageError(
            f"cannot remember another release: the rollback state holds {MAX_ENTRIES} artifacts and channels already",
            advice="Use a state file for each service. Or stop the service, and remove unused entries from the file.",
            path=path,
        )
    content = {
        "version": _VERSION,
        "releases": dict(sorted(seen.releases.items())),
        "channels": {name: asdict(mark) for name, mark in sorted(seen.channels.items())},
    }
    return json.dumps(content, indent=1).encode() + b"\n"


def _read(path: Path) -> _Seen | None:
    """Return what the file remembers, None without one."""
    with storage_errors("read", path):
        try:
            fd, status = open_regular(path)
        except FileNotFoundError:
            return None
        except NotRegularError as error:
            raise StorageError(
                "not a rollback state: this is not a regular file", advice="Check the path.", path=path
            ) from error
        try:
            _require_own(path, status)
            _require_own(path.parent, path.parent.stat())
            data = read_to_end(fd, MAX_BYTES)
        finally:
            os.close(fd)
    if len(data) > MAX_BYTES:
        raise _damaged(path, f"has more than {MAX_BYTES} bytes")
    return _parse(data, path)


def _require_own(path: Path, status: os.stat_result) -> None:
    """Refuse what others could change: they could make this host forget."""
    exposed = exposure(status)
    if exposed == "owner":
        raise StorageError(
            f"cannot trust this rollback state: it belongs to user {status.st_uid}, who could change it",
            advice="Keep the state file, and its folder, where only this user can write.",
            path=path,
        )
    if exposed == "mode":
        raise StorageError(
            f"cannot trust this rollback state: others can change it (mode {stat.S_IMODE(status.st_mode):04o})",
            advice="Keep the state file, and its folder, where only this user can write. "
            f"Run: chmod go-w {shlex.quote(str(path))}",
            path=path,
        )


def _damaged(path: Path, problem: str) -> StorageError:
    return StorageError(
        f"cannot read the rollback state: it {problem}",
        advice="Restore the file from a backup. If you are sure that the newest releases are deployed, remove it. "
        "Until then nothing is loaded.",
        path=path,
    )


def _parse(data: bytes, path: Path) -> _Seen:
    try:
        return _checked(parse_json(data))
    except SafeloadError as error:
        problem = f"has an invalid entry: {error.message}"
    except ValueError as error:
        problem = f"is not JSON as safeload writes it ({error})"
    raise _damaged(path, problem[:300])


def _checked(content: object) -> _Seen:
    state = Node(content, "state").fields("version", "releases", "channels")
    if state["version"].integer() != _VERSION:
        raise state["version"].error(f"must be {_VERSION}")
    channels = _table(state["channels"], lambda node: node)
    for node in channels.values():
        node.fields("sequence", "release", "digest")
    return _Seen(
        releases=_table(state["releases"], Node.integer),
        channels={
            name: Mark(node["sequence"].integer(), node["release"].integer(), node["digest"].hex_digest())
            for name, node in channels.items()
        },
    )


def _table(node: Node, read: Callable[[Node], _Value]) -> dict[str, _Value]:
    if not isinstance(node.value, dict):
        raise node.error("must be an object")
    return {name: read(Node(value, f"a value of {node.where}")) for name, value in node.value.items()}
