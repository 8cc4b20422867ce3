"""How dump and sign make a signed pair: write, digest, scan, describe, seal, commit."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeload._internal.blob import BytesBlob
from safeload._internal.files import PathLike, checked_path, storage_errors
from safeload._internal.strictjson import is_text
from safeload._manifest.digests import digest_file
from safeload._manifest.manifest import Manifest, seal, unverified_sha256
from safeload._signing.claims import Claims, describe, next_release
from safeload._storage.backends import resolve
from safeload.errors import StorageError

if TYPE_CHECKING:
    from safeload._internal.blob import Blob
    from safeload._judging.criteria import Criteria
    from safeload.keys import Signers


__all__ = [
    "Compress",
    "NewPair",
    "belongs",
    "checked_target",
]

# As joblib takes it: a level, whether to, a method, or a method and its level.
Compress = int | bool | str | tuple[str, int]


# joblib/compressor.py
_EXTENSIONS = {".z": "zlib", ".gz": "gzip", ".bz2": "bz2", ".lzma": "lzma", ".xz": "xz", ".lz4": "lz4"}


@dataclass(frozen=True, slots=True)
class NewPair:
    """How `dump` and `sign` make a signed pair: by whom, by which criteria, and whether over an existing one."""

    signing: Signers
    criteria: Criteria
    overwrite: bool = False

    def write(
        self,
        obj: Any,
        target: Path,
        compress: Compress,
        protocol: int | None,
        claims: Claims,
    ) -> Manifest:
        """Write and sign an object; else as `dump`, without a record of it."""
        from joblib import numpy_pickle  # not joblib.dump, which people may have replaced, by safeload.dump even

        backend, name = resolve(target)
        with backend.writing(name, overwrite=self.overwrite, belongs=belongs) as writer:
            # Not by its name: in a shared folder, somebody could put another file or a link in its place.
            with storage_errors("write", target), writer.stream() as file:
                numpy_pickle.dump(obj, file, compress=_compression_for(target.name, compress), protocol=protocol)
            with writer.flushing():
                release = next_release(target, self.signing, claims)
                manifest = self._described(writer.blob, target, claims, release, written_here=True)
            writer.commit(seal(manifest, self.signing.signers))
        return manifest

    def sign(self, target: Path, claims: Claims) -> Manifest:
        """Sign an artifact that exists; else as `sign`, without a record of it."""
        backend, name = resolve(target)
        with backend.signing(name, overwrite=self.overwrite, belongs=belongs) as writer:
            with backend.open_artifact(name) as blob:
                release = next_release(target, self.signing, claims)
                manifest = self._described(blob, target, claims, release, written_here=False)
            writer.commit(seal(manifest, self.signing.signers))
        return manifest

    def to_bytes(
        self, obj: Any, name: str, compress: Compress, protocol: int | None, claims: Claims
    ) -> tuple[bytes, bytes, Manifest]:
        """Return the bytes of an object, those of their manifest, and the manifest; else as `dumps`, without a record.

        There is no pair to count on from, so without a release it is the first.
        """
        from joblib import numpy_pickle  # as in `write`

        file = io.BytesIO()
        numpy_pickle.dump(obj, file, compress=_compression_for("", compress), protocol=protocol)
        blob = BytesBlob(file.getvalue(), name)
        manifest = self._described(blob, Path(name), claims, claims.release or 1, written_here=True)
        return blob.data, seal(manifest, self.signing.signers), manifest

    def _described(self, blob: Blob, target: Path, claims: Claims, release: int, *, written_here: bool) -> Manifest:
        return describe(
            blob,
            target,
            self.signing,
            self.criteria,
            claims,
            release=release,
            written_here=written_here,
        )


def _compression_for(name: str, compress: Compress) -> Any:
    """Return what makes `joblib.dump` compress into an open file as it would into one of this name."""
    if isinstance(compress, str | tuple):
        return compress
    method = next((method for extension, method in _EXTENSIONS.items() if name.endswith(extension)), None)
    level = None if compress is True else compress
    if level == 0:
        return 0 if method is None else (method, None)
    return method or "zlib", level


def belongs(envelope: bytes, blob: Blob) -> bool:
    """Return whether the manifest's digest is that of the artifact. Pairs files; does not establish trust."""
    with storage_errors("read", blob.name):
        return unverified_sha256(envelope) == digest_file(blob).sha256


def checked_target(path: PathLike) -> Path:
    """Return the path of an artifact that is to be signed.

    Raises:
        TypeError: it is a stream.
        StorageError: its name cannot be signed.
    """
    target = checked_path(path)
    if not is_text(target.name):
        raise StorageError(f"cannot sign {target.name!r}: its name is not UTF-8", advice="Rename the file.")
    return target
