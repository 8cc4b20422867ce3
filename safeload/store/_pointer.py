"""Channel pointers: the signed decision which version of a model a channel is at.

A pointer names the artifact by its SHA-256 and release, and not the manifest: so manifests can be signed again. It is
an envelope of a kind of its own, so that no manifest passes for a pointer and no pointer for a manifest. Its sequence
number grows with every decision, and a decision to go back is as new as one to go on: a reader who remembers the last
one can refuse all earlier ones.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from safeload._internal.clock import utc_now
from safeload._internal.files import storage_errors
from safeload._internal.strictjson import Node, format_time
from safeload._loading.rollback_state import Mark
from safeload._manifest.envelope import Kind, open_payload, parse_payload, seal_payload
from safeload._manifest.quorum import within_scope
from safeload._storage.opening import is_stale, read_bounded
from safeload.errors import ExpiredError, ManifestError, StorageError, VerificationError
from safeload.store._names import is_plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from safeload.keys import Keyring, Signer
    from safeload.store._layout import Layout

__all__ = [
    "MAX_HISTORY",
    "POINTER",
    "Place",
    "Pointer",
    "open_pointer",
    "pointer_bytes",
    "pointer_for",
    "read_pointer",
    "seal_pointer",
]

POINTER = Kind(
    payload_type="application/vnd.safeload.channel.v1+json",
    noun="channel pointer",
    max_bytes=1 << 20,
    too_large="give a shorter reason",
)
MAX_HISTORY = 20
_MAX_STALE = 20  # times in a row that a file server has put another pointer in the place of the one that was open
ACTIONS = ("promote", "rollback")


@dataclass(frozen=True, slots=True)
class Place:
    """One version of a model: what it is called, its release, and the SHA-256 of the artifact."""

    version: str
    release: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {"version": self.version, "release": self.release, "sha256": self.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Where a channel is, and how it got there.

    `sequence` grows with every decision. `history` has where the channel was before, the last first; a rollback
    without a target goes to its first. `key_ids` are the trusted signers, on reading; `digest` is of the payload.
    """

    name: str
    channel: str
    place: Place
    sequence: int
    action: str
    created: datetime
    expires: datetime | None = None
    reason: str | None = None
    history: tuple[Place, ...] = ()
    key_ids: tuple[str, ...] = ()
    digest: str = ""

    @property
    def version(self) -> str:
        """The version that the channel is at."""
        return self.place.version

    @property
    def release(self) -> int:
        """The release that the channel is at."""
        return self.place.release

    @property
    def mark(self) -> Mark:
        """What there is to remember of it."""
        return Mark(self.sequence, self.release, self.digest)

    def to_dict(self) -> dict[str, Any]:
        """Return what is signed."""
        content: dict[str, Any] = {
            "name": self.name,
            "channel": self.channel,
            **self.place.to_dict(),
            "sequence": self.sequence,
            "action": self.action,
            "created": format_time(self.created),
        }
        if self.expires is not None:
            content["expires"] = format_time(self.expires)
        if self.reason is not None:
            content["reason"] = self.reason
        content["history"] = [place.to_dict() for place in self.history]
        return content

    def require_current(self, path: Path) -> None:
        """Refuse a pointer past its time, by this host's clock.

        Raises: ExpiredError.
        """
        now = utc_now()
        if self.expires is not None and now > self.expires:
            raise ExpiredError(
                f"pointer number {self.sequence}, to version {self.version}, expired at {format_time(self.expires)}; "
                f"it is {format_time(now)} now",
                advice="Promote the version again, or a newer one.",
                path=path,
            )


def seal_pointer(pointer: Pointer, keys: Sequence[Signer]) -> bytes:
    """Return the pointer file's content, signed by each of the keys.

    Raises: ValueError if it could not be read back.
    """
    payload = json.dumps(pointer.to_dict(), allow_nan=False, separators=(",", ":")).encode()
    try:
        _parse(payload)
    except ManifestError as error:
        raise ValueError(f"this channel pointer cannot be signed: {error}") from error
    return seal_payload(POINTER, payload, keys)


def read_pointer(layout: Layout, channel: str, keyring: Keyring) -> Pointer:
    """Return a channel's pointer; that it is in time is not checked.

    Raises:
        FileNotFoundError: there is none.
        VerificationError: no key that is trusted for the artifact it names signed it, for this model and channel.
        StorageError: it cannot be read.
    """
    return pointer_for(layout, channel, pointer_bytes(layout, channel), keyring)


def pointer_bytes(layout: Layout, channel: str) -> bytes:
    """Return the content of a pointer's file.

    Raises: FileNotFoundError, ManifestError, StorageError.
    """
    path = layout.pointer(channel)
    tries = 0
    while True:
        try:
            with storage_errors("read", path):
                return read_bounded(POINTER, path)
        except StorageError as error:
            tries += 1
            if tries == _MAX_STALE or not is_stale(error):
                raise


def pointer_for(layout: Layout, channel: str, data: bytes, keyring: Keyring) -> Pointer:
    """Return the pointer in these bytes, if it is this channel's.

    Raises: VerificationError, as `read_pointer` says.
    """
    path = layout.pointer(channel)
    try:
        pointer = open_pointer(data, keyring)
        artifact = layout.artifact(pointer.version)
        # Who may sign an artifact may say that it is in use; who may not, may not.
        pointer = replace(pointer, key_ids=within_scope(keyring, pointer.key_ids, artifact.name, artifact.parent))
    except VerificationError as error:
        error.path = str(path)
        raise
    if (pointer.name, pointer.channel) != (layout.name, channel):
        raise ManifestError(
            f"this pointer was signed for model {pointer.name!r}, channel {pointer.channel!r}",
            advice="It was put in the place of another: restore the pointer that belongs here, or promote a version.",
            path=path,
            code="SL107",
        )
    return pointer


def open_pointer(data: bytes, keyring: Keyring) -> Pointer:
    """Check the signatures of a pointer, then read it.

    Raises: VerificationError, as for manifests.
    """
    payload, signers = open_payload(POINTER, data, keyring)
    return replace(_parse(payload), key_ids=signers)


def _parse(payload: bytes) -> Pointer:
    node = Node(parse_payload(POINTER, payload), "pointer")
    node.fields(
        "name", "channel", "version", "release", "sha256", "sequence", "action", "created", "history",
        optional=("expires", "reason"),
    )  # fmt: skip
    history = tuple(_place(place.fields("version", "release", "sha256")) for place in node["history"].items())
    if len(history) > MAX_HISTORY:
        raise node["history"].error(f"has more than {MAX_HISTORY} entries")
    if node["sequence"].integer() < 1:
        raise node["sequence"].error("must be 1 or more")
    return Pointer(
        name=node["name"].line(),
        channel=node["channel"].line(),
        place=_place(node),
        sequence=node["sequence"].integer(),
        action=node["action"].one_of(ACTIONS),
        created=node["created"].time(),
        expires=node["expires"].time() if "expires" in node else None,
        reason=node["reason"].line() if "reason" in node else None,
        history=history,
        digest=hashlib.sha256(payload).hexdigest(),
    )


def _place(node: Node) -> Place:
    version = node["version"].line()
    if not is_plain(version):
        raise node["version"].error("must be a version as stores have them")
    return Place(version, node["release"].integer(), node["sha256"].hex_digest())
