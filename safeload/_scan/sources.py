"""What the scanner reads from: a file as it is, or what one of joblib's compressions unpacks to.

Unpacking is bounded in memory, in size and in ratio, and accepts exactly one stream, with its checksum and with
nothing after it: joblib's own readers loop on, ignore or go on into what follows.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from safeload.findings import RefusedError

if TYPE_CHECKING:
    import io

__all__ = ["FileSource", "UnpackedSource", "detect_compression", "open_source"]

_STEP: Final = 1 << 20  # what one step of unpacking may bring forth
_PACKED_STEP: Final = 64 << 10
_RATIO_FROM: Final = 64 << 20  # below that no ratio is suspicious: an array of zeros packs 1000 to 1
_MUCH: Final = 512 << 20  # what unpacks in about a second; beyond it, a twentieth of the ratio has to do
_MUCH_BZ2: Final = 96 << 20  # which can take ten times as long
_MOST_KEPT: Final = 64 << 20  # bytes of the unpacked stream, for readers after the scan
_LZMA_MEMORY: Final = 72 << 20  # what the highest preset needs, and some

# joblib/compressor.py, and the order of joblib.numpy_pickle_utils._detect_compressor
_PREFIXES: Final = (
    (b"ZF", "compat"),
    (b"\x78", "zlib"),
    (b"\x1f\x8b", "gzip"),
    (b"BZ", "bz2"),
    (b"\x5d\x00", "lzma"),
    (b"\xfd7zXZ", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
)
_LONGEST_PREFIX: Final = max(len(prefix) for prefix, _ in _PREFIXES)


def detect_compression(first: bytes) -> str:
    """Return which compression joblib would take these first bytes for: "none", its name, or "compat"."""
    for prefix, name in _PREFIXES:
        if first.startswith(prefix):
            return name
    return "none"


class FileSource:
    """What the scanner reads from, where the artifact is not compressed."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._position = 0
        self.size = size

    def read(self, size: int) -> bytes:
        """Return this many bytes, fewer only at the end."""
        data = self._file.read(size)
        self._position += len(data)
        return data

    def skip(self, size: int) -> None:
        """Move on without reading.

        Raises: RefusedError SL301 if less is there.
        """
        if size > self.size - self._position:
            raise _too_short(self._position, size, self.size - self._position)
        self._position = self._file.seek(size, os.SEEK_CUR)

    def finish(self) -> None:
        """Make sure that nothing is left.

        Raises: RefusedError SL304.
        """
        if self.read(1):
            raise RefusedError("SL304", "data follows the end of the pickle", self._position - 1)


class _Unpacker(Protocol):
    """What the decompressors of bz2, lzma and lz4 have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _ZlibUnpacker:
    """Makes zlib's decompressor look like the others."""

    def __init__(self, window_bits: int) -> None:
        self._inner = zlib.decompressobj(window_bits)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._full = len(piece) == max_length  # more may come without any input
        return piece


class UnpackedSource:
    """What the scanner reads from, where the artifact is compressed: exactly one stream, complete and alone.

    `keep` is given what it unpacks to, unless that is much: then it is left empty.

    Raises (here and from every method): RefusedError SL304, SL316, SL317, SL503, SL504, SL602.
    """

    size = -1  # not known before the end

    def __init__(
        self,
        file: BinaryIO,
        compression: str,
        *,
        packed_size: int,
        max_unpacked: int,
        max_ratio: float,
        keep: io.BytesIO | None = None,
    ) -> None:
        self._file = file
        self._keep = keep
        self._compression = compression
        self._packed_size = packed_size
        self._max_unpacked = max_unpacked
        by_ratio = packed_size * max_ratio
        much = _MUCH_BZ2 if compression == "bz2" else _MUCH
        self._most_by_ratio = max(_RATIO_FROM, min(by_ratio, max(much, by_ratio / 20)))
        self._piece = b""
        self._used = 0  # bytes of _piece
        self._unpacked = 0  # bytes, with all of _piece
        self._unpacker, self._errors = _unpacker(compression)
        first = b""
        while len(first) < _LONGEST_PREFIX and self._advance():
            first = self._piece = first + self._piece
        self._piece = first
        if (again := detect_compression(first)) != "none":
            raise RefusedError(
                "SL317", f"the {compression} stream contains a {again} stream, which joblib would unpack again", 0
            )

    def read(self, size: int) -> bytes:
        """Return this many bytes, fewer only at the end."""
        end = self._used + size
        if end <= len(self._piece):
            data = self._piece[self._used : end]
            self._used = end
            return data
        pieces = [self._piece[self._used :]]
        missing = size - len(pieces[0])
        while missing > 0 and self._advance():
            pieces.append(self._piece[:missing])
            self._used = len(pieces[-1])
            missing -= self._used
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        """Unpack and forget this many bytes.

        Raises: RefusedError SL301 if less is there.
        """
        start = self._position
        missing = size - (len(self._piece) - self._used)
        while missing > 0:
            if not self._advance():
                raise _too_short(start, size, size - missing)
            missing -= len(self._piece)
        self._used = len(self._piece) + missing

    def finish(self) -> None:
        """Make sure that nothing is left, unpacked or packed."""
        if self.read(1):
            raise RefusedError("SL304", "data follows the end of the pickle", self._position - 1)

    @property
    def _position(self) -> int:
        return self._unpacked - len(self._piece) + self._used

    def _advance(self) -> bool:
        """Unpack the next piece; return False at the end, having made sure that it is one."""
        starved = False
        while not self._unpacker.eof:
            packed = b""
            if self._unpacker.needs_input or starved:
                packed = self._file.read(_PACKED_STEP)
                if not packed:
                    raise self._damaged("it ends too early")
            piece = self._unpack(packed)
            if piece:
                self._count(len(piece))
                if self._keep is not None:
                    self._keep_piece(self._keep, piece)
                self._piece, self._used = piece, 0
                return True
            starved = True
        self._check_end()
        self._piece, self._used = b"", 0
        return False

    def _keep_piece(self, keep: io.BytesIO, piece: bytes) -> None:
        if self._unpacked <= _MOST_KEPT:
            keep.write(piece)
        else:
            keep.seek(0)
            keep.truncate()
            self._keep = None

    def _unpack(self, packed: bytes) -> bytes:
        try:
            return self._unpacker.decompress(packed, _STEP)
        except self._errors as error:
            if "emory usage limit" in str(error):  # LZMA_MEMLIMIT_ERROR
                raise RefusedError(
                    "SL503",
                    f"unpacking {self._compression} needs more than {_LZMA_MEMORY} bytes of memory",
                    self._unpacked,
                ) from error
            raise self._damaged(str(error)) from error

    def _count(self, size: int) -> None:
        self._unpacked += size
        if self._unpacked > self._max_unpacked:
            raise RefusedError(
                "SL503",
                f"the unpacked stream has more than {self._max_unpacked} bytes (max_unpacked)",
                self._max_unpacked,
            )
        if self._unpacked > self._most_by_ratio:
            raise RefusedError(
                "SL504",
                f"{self._packed_size} packed bytes unpack to more than {self._unpacked - size} bytes (max_ratio)",
                self._unpacked - size,
            )

    def _check_end(self) -> None:
        if self._unpacker.unused_data or self._file.read(1):
            # joblib's zlib and gzip reader never ends on it; its others read a second stream, or overlook it.
            raise RefusedError("SL304", f"data follows the end of the {self._compression} stream", self._unpacked)
        if self._compression == "xz" and getattr(self._unpacker, "check", 0) == 0:  # lzma.CHECK_NONE
            raise RefusedError(
                "SL316",
                "the xz stream has no checksum (xz --check=none), so damage could go unseen",
                self._unpacked,
                None,
                "Pack it again with a checksum: xz -d FILE, then xz FILE; or save it again with joblib.dump.",
            )

    def _damaged(self, reason: str) -> RefusedError:
        return RefusedError("SL316", f"the {self._compression} stream is damaged: {reason}", self._unpacked)


def open_source(
    file: BinaryIO, size: int, *, max_unpacked: int, max_ratio: float, keep: io.BytesIO | None = None
) -> tuple[FileSource | UnpackedSource, str]:
    """Return what the scanner reads from, and the name of the compression, for a file at its start.

    `keep`: see UnpackedSource.

    Raises: RefusedError SL315 for a file of joblib before 0.10, and what UnpackedSource raises.
    """
    compression = detect_compression(file.read(_LONGEST_PREFIX))
    file.seek(0)
    if compression == "compat":
        raise RefusedError("SL315", "the file has the format of joblib before 0.10, which is not supported", 0)
    if compression == "none":
        return FileSource(file, size), compression
    source = UnpackedSource(
        file, compression, packed_size=size, max_unpacked=max_unpacked, max_ratio=max_ratio, keep=keep
    )
    return source, compression


def _unpacker(compression: str) -> tuple[_Unpacker, tuple[type[Exception], ...]]:
    """Return a decompressor for exactly one stream, and the errors that it raises on damage."""
    try:
        if compression in {"zlib", "gzip"}:
            return _ZlibUnpacker(zlib.MAX_WBITS if compression == "zlib" else 31), (zlib.error,)
        if compression == "bz2":
            import bz2

            return bz2.BZ2Decompressor(), (OSError, ValueError)
        if compression in {"xz", "lzma"}:
            import lzma

            # As joblib's reader does, which is pickier with lzma's header than FORMAT_ALONE is.
            return lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=_LZMA_MEMORY), (lzma.LZMAError, ValueError)
        if compression == "lz4":
            import lz4.frame

            return lz4.frame.LZ4FrameDecompressor(), (RuntimeError, ValueError)
    except ImportError as error:
        raise RefusedError(
            "SL602", f"no installed package can unpack {compression}", 0, None, f"Install the package {error.name}."
        ) from error
    raise ValueError(f"unknown compression {compression!r}")


def _too_short(offset: int, wanted: int, there: int) -> RefusedError:
    return RefusedError("SL301", f"{wanted} bytes should follow, and only {there} do", offset)
