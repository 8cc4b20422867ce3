"""The calls of joblib's loader: from a stream, and with arrays mapped from a descriptor."""

from __future__ import annotations

import functools
import importlib
import inspect
import io
import os
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from safeload.errors import TripwireError, VersionMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = [
    "home_of",
    "import_modules",
    "load_mapped",
    "load_stream",
    "unpickler_options",
]

# Top-level modules that exist only because another module registers them when it is imported: not to be looked for
# by that name, which anybody could give a file. Cython names scikit-learn's losses like this in 1.5 to 1.8.
_REGISTERED_BY: Final = {"_loss": "sklearn._loss._loss"}


def home_of(module: str) -> str:
    """Return the module to import for one that a pickle names."""
    return _REGISTERED_BY.get(module, module)


def import_modules(modules: Iterable[str]) -> None:
    """Import what loading will need, before the tripwire is set; in the order given.

    Raises: VersionMismatchError with what to install, for a module that cannot be imported.
    """
    for module in modules:
        if sys.modules.get(module) is not None:  # or another thread is at it: unpickling waits for that
            continue
        try:
            importlib.import_module(home_of(module))
        except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
            raise _cannot_import(module, error) from error
        if module not in sys.modules:
            raise _cannot_import(module, ImportError("no package has it"))


def _cannot_import(module: str, error: BaseException) -> VersionMismatchError:
    package = home_of(module).partition(".")[0]
    if package in sys.modules:
        return VersionMismatchError(
            f"cannot import the module {module}, which the artifact needs, from the installed {package}: {error}",
            advice=f"Install the version of {package} that the manifest names, or train and save the model again.",
        )
    return VersionMismatchError(
        f"cannot import the module {module}, which the artifact needs: {error}",
        advice=f"Install the package that has the module {package}, in the version that the manifest names.",
    )


def load_stream(
    stream: io.BufferedReader[Any], *, compression: str | None = None, unpacked: io.BytesIO | None = None
) -> Any:
    """Return what `joblib.load` makes of this stream. To be called within `tripwire`.

    `compression` is what the stream was scanned as, and `unpacked` what it was seen to unpack to.

    Raises: TripwireError if joblib would take it for another one, as where a compressor was registered with it.
    """
    from joblib.numpy_pickle import load  # not joblib.load, which people may have replaced, by safeload.load even
    from joblib.numpy_pickle_utils import _detect_compressor

    scanned_as: list[tuple[io.BufferedReader[Any] | io.BytesIO, str]] = []
    if compression is not None:
        scanned_as.append((stream, compression))
    if unpacked is not None:
        scanned_as.append((unpacked, "none"))
    for file, kind in scanned_as:
        found = _detect_compressor(file)
        if found != {"none": "not-compressed"}.get(kind, kind):
            raise TripwireError(
                f"joblib would unpack this file with the compressor {found!r}, and it was scanned as compression "
                f"{kind!r}",
                advice="This process registered a compressor with joblib that takes the file: load it in a process "
                "without that compressor.",
            )
    return load(stream if unpacked is None else unpacked)


def load_mapped(stream: io.BufferedReader[Any], *, path: str, fd: int, mmap_mode: Literal["r", "c"]) -> Any:
    """Return the object with its arrays mapped from `fd`; the rest is read from `stream`.

    `joblib.load` maps only what it opens itself, by path; here exactly the verified descriptor is mapped.  The
    arrays are `numpy.memmap`s that name `path`.  For artifacts that are not compressed.  To be called within
    `tripwire`, with `mmap_fd`.
    """
    from joblib.numpy_pickle import NumpyUnpickler

    if mmap_mode not in {"r", "c"}:
        raise ValueError(f"mmap_mode must be 'r' or 'c', not {mmap_mode!r}")
    unpickler = NumpyUnpickler(_OpenPath(path, fd), stream, mmap_mode=mmap_mode, **unpickler_options())
    return unpickler.load()


@functools.cache
def unpickler_options() -> dict[str, bool]:
    """Return what NumpyUnpickler has to be told so that it leaves the byte order alone (joblib 1.5 and later)."""
    from joblib.numpy_pickle import NumpyUnpickler

    name = "ensure_native_byte_order"
    return {name: False} if name in inspect.signature(NumpyUnpickler).parameters else {}


class _OpenPath(str):
    """A path for joblib, which takes its base name, and an open file for numpy.memmap, which maps it.

    Never read, and its position is its own: the descriptor's is left alone.
    """

    __slots__ = ("_fd", "_position", "name")
    _fd: int
    _position: int
    name: str

    def __new__(cls, path: str, fd: int) -> Self:
        self = super().__new__(cls, path)
        self.name = path
        self._fd = fd
        self._position = 0
        return self

    def fileno(self) -> int:
        """Return the descriptor to map."""
        return self._fd

    def read(self, _size: int = -1, /) -> bytes:
        """Refuse: that there is a `read` tells numpy that this is a file."""
        raise io.UnsupportedOperation("read")

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a position from the start or from the end."""
        self._position = offset if whence == os.SEEK_SET else os.fstat(self._fd).st_size + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position
