"""Versions of a stored model: what is listed, verified and resolved, and whether a manifest belongs in its place."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safeload.errors import ManifestError, StorageError, VerificationError
from safeload.store._names import version_order

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from safeload._manifest.manifest import Manifest
    from safeload.store._layout import Layout
    from safeload.store._pointer import Place, Pointer


__all__ = [
    "PRODUCTION",
    "Part",
    "Resolved",
    "StoredVersion",
    "acceptor",
    "channel_key",
    "newest_key",
    "no_channel",
    "no_version",
    "require_model",
]

PRODUCTION = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """One version of a model in a store.

    `manifest` is what was signed about it, None where no trusted key signed it for this place, and `problem` then
    says why: a VerificationError, or a StorageError where that could not be read. `channels` are those that are at it.
    That the artifact's bytes are as signed, `Store.verify` tells.
    """

    version: str
    path: Path
    manifest: Manifest | None
    problem: VerificationError | StorageError | None
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """What is verified on its own in a store: a version's artifact or a channel's pointer, and where that is."""

    name: str
    path: Path
    version: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is to be loaded: where it is, what its manifest has to say, and how to remember that it was loaded."""

    path: Path
    accept: Callable[[Manifest], None]
    pointer: Pointer | None
    remember: Callable[[], None]


def acceptor(
    path: Path, version: str, place: Place | None = None, channel: str | None = None
) -> Callable[[Manifest], None]:
    """Return what holds a manifest against the place that its artifact was found at."""

    def accept(manifest: Manifest) -> None:
        if manifest.version != version:
            raise ManifestError(
                f"signed as another version: {manifest.version!r}",
                advice="One version was put in the place of another: restore the right one.",
                path=path,
                code="SL107",
            )
        if place is not None and (manifest.release, manifest.sha256) != (place.release, place.sha256):
            raise ManifestError(
                f"this is release {manifest.release}, SHA-256 {manifest.sha256[:16]}…, but release {place.release}, "
                f"SHA-256 {place.sha256[:16]}…, was promoted{f' to {channel!r}' if channel else ''}",
                advice="The version was replaced by another signed one: restore it, or promote this one.",
                path=path,
                code="SL120",
            )

    return accept


def gone(artifact: Path) -> ManifestError:
    return ManifestError(
        f"there is no {artifact.name} in this folder", advice="Restore or remove the folder.", path=artifact.parent
    )


def leads_nowhere(pointer: Path) -> ManifestError:
    return ManifestError(
        "the version that this channel points to is missing",
        advice="Restore the version, or promote another one.",
        path=pointer,
        code="SL120",
    )


def channel_key(name: str, channel: str) -> str:
    return f"{name}/{channel}"


def newest_key(name: str) -> str:
    return f"{name}/*"  # no artifact's name has a slash


def require_model(layout: Layout) -> None:
    """Refuse a model of which nothing was ever saved.

    Raises: FileNotFoundError.
    """
    if not layout.is_model():
        raise FileNotFoundError(errno.ENOENT, f"there is no model {layout.name!r} in this store", str(layout.folder))


def no_version(layout: Layout, version: str) -> FileNotFoundError:
    known = ", ".join(sorted(layout.all_versions(), key=version_order)[-10:]) or "none"
    return FileNotFoundError(
        errno.ENOENT, f"there is no version {version} of model {layout.name!r} (there: {known})", str(layout.folder)
    )


def no_channel(layout: Layout, channel: str) -> FileNotFoundError:
    return FileNotFoundError(
        errno.ENOENT,
        f"nothing of model {layout.name!r} was promoted to channel {channel!r}: promote a version to it first",
        str(layout.folder),
    )
