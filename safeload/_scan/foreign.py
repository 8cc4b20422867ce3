"""Name files of other formats by their first bytes, so that a refusal can say what they are and what to use instead.

Nothing becomes allowed by this: only a file that is refused already, or skipped, is looked up here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FOREIGN_BYTES", "Foreign", "foreign_format"]

FOREIGN_BYTES: Final = 16 << 10  # that are looked at


@dataclass(frozen=True, slots=True)
class Foreign:
    """A format that is not joblib's or pickle's.

    Attributes:
        code: SL327, or SL328 for what was an artifact until a text conversion changed it.
        what: "a Git LFS pointer", as part of a sentence.
        instead: what to do, in whole sentences.
    """

    code: str
    what: str
    instead: str


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda first: first.startswith(beginnings)


def _matches(pattern: bytes) -> Callable[[bytes], bool]:
    compiled = re.compile(pattern, re.IGNORECASE | re.DOTALL)
    return lambda first: compiled.match(first) is not None


def _zip_with(pattern: bytes) -> Callable[[bytes], bool]:
    """Return a test for a ZIP archive that has an entry of such a name among its first bytes."""
    compiled = re.compile(pattern)

    def test(first: bytes) -> bool:
        if not first.startswith(b"PK\x03\x04"):
            return False
        starts = (match.start() for match in re.finditer(rb"PK(?:\x03\x04|\x01\x02)", first))
        names = (_entry(first, start) for start in starts)
        return any(compiled.fullmatch(name) for name in names)

    return test


def _entry(first: bytes, start: int) -> bytes:
    """Return the name in the header of an entry, local or central (APPNOTE.TXT 4.3.7 and 4.3.12)."""
    length, name = (26, 30) if first[start + 2] == 3 else (28, 46)
    size = int.from_bytes(first[start + length : start + length + 2], "little")
    return first[start + name : start + name + size]


def _is_safetensors(first: bytes) -> bool:
    return first[8:9] == b"{" and first[9:10] in (b'"', b"}") and int.from_bytes(first[:8], "little") < 100_000_000


def _is_onnx(first: bytes) -> bool:
    # ModelProto: ir_version as the first field, then one of its other fields, of their wire types
    if len(first) < 4 or first[0] != 0x08 or not 1 <= first[1] <= 32:
        return False
    if first[2] in (0x12, 0x1A):  # producer's name and version: short texts
        return first[4 : 4 + first[3]].isascii()
    return (first[2] == 0x3A and b"ai.onnx" in first) or (first[2] in (0x3A, 0x42) and b"\x12" in first[3:12])


_TORCH: Final = "Load it with torch.load(PATH, weights_only=True), or save it as safetensors."
_NUMPY: Final = "Load it with numpy.load(PATH), whose default allow_pickle=False is safe; or save it with joblib.dump."
_KERAS: Final = "Load it with keras.saving.load_model(PATH, safe_mode=True)."
_AGAIN: Final = (
    "Copy the file again as binary: no line endings converted (git: *.joblib binary in .gitattributes), "
    "no text mode, no decoding and encoding."
)

# The first row that matches counts.
_FORMATS: Final[tuple[tuple[Callable[[bytes], bool], Foreign], ...]] = (
    (
        _starts(b"version https://git-lfs.github.com/", b"version https://hawser.github.com/"),
        Foreign("SL327", "a Git LFS pointer, not the file that it stands for", "Get the file itself: git lfs pull."),
    ),
    (
        _matches(rb"(?:\xef\xbb\xbf)?\s*(?:<!doctype\s+html|<html|<head)"),
        Foreign(
            "SL327",
            "an HTML page, such as a login or an error page that was downloaded in its place",
            "Download the file itself: open the address, and look at what it serves.",
        ),
    ),
    (
        _matches(rb"(?:\xef\xbb\xbf)?\s*<\?xml"),
        Foreign("SL327", "an XML document, such as the error of an object store", "Download the file itself."),
    ),
    (
        _starts(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"),  # torch/serialization.py: MAGIC_NUMBER
        Foreign("SL327", "a PyTorch file in the format before 1.6", _TORCH),
    ),
    (
        _zip_with(rb"(?:[^/]*/)?(?:data\.pkl|constants\.pkl|code/.*|\.format_version|byteorder)"),
        Foreign("SL327", "a PyTorch file", _TORCH),
    ),
    (
        _zip_with(rb"schema\.json"),
        Foreign("SL327", "a skops file", "Load it with skops.io.load(PATH, trusted=…)."),
    ),
    (
        _zip_with(rb"config\.json|metadata\.json|model\.weights\.h5"),
        Foreign("SL327", "a Keras model", _KERAS),
    ),
    (_zip_with(rb".*\.npy"), Foreign("SL327", "a NumPy .npz archive", _NUMPY)),
    (_starts(b"\x93NUMPY"), Foreign("SL327", "a NumPy .npy array", _NUMPY)),
    (_starts(b"PK\x03\x04", b"PK\x05\x06"), Foreign("SL327", "a ZIP archive", "Unpack it, and name what is in it.")),
    (
        _starts(b"\x89HDF\r\n\x1a\n"),
        Foreign("SL327", "an HDF5 file, as Keras writes it", f"{_KERAS} For data, use h5py or pandas.read_hdf."),
    ),
    (_starts(b"PAR1"), Foreign("SL327", "a Parquet file", "Load it with pandas.read_parquet(PATH).")),
    (
        _is_safetensors,
        Foreign("SL327", "a safetensors file", "Load it with safetensors.safe_open(PATH): it holds no code."),
    ),
    (_is_onnx, Foreign("SL327", "an ONNX model", "Run it with onnxruntime.InferenceSession(PATH).")),
    (
        # PROTO as UTF-8 that somebody decoded as Latin-1, or replaced; or a letter that lost its eighth bit
        _matches(rb"\xef\xbf\xbd[\x02-\x05](?:\xef\xbf\xbd|\x8a|\}|\]|\(|c|X)|\xc2\x80[\x02-\x05]|\xef\xbb\xbf\x80"),
        Foreign("SL328", "a pickle that was changed by a conversion of text (decoded and encoded as UTF-8)", _AGAIN),
    ),
    (
        _matches(rb"(?:x\xef\xbf\xbd|x\xc2\x9c|x\xc3\x9a|\x1f\xef\xbf\xbd\x08|\x1f\xc2\x8b\x08)"),
        Foreign("SL328", "a compressed file that was changed by a conversion of text", _AGAIN),
    ),
    (
        _matches(rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*[\[{\"\d\]-])"),
        Foreign("SL327", "a JSON document", "Load it with json.load, or with the library that wrote it."),
    ),
)  # fmt: skip


def foreign_format(first: bytes) -> Foreign | None:
    """Return what a file is that begins so, where it is none of joblib's or pickle's."""
    for test, foreign in _FORMATS:
        if test(first):
            return foreign
    return None
