"""Refused vectors of compressed, old and truncated files."""

from __future__ import annotations

import bz2
import lzma
import pickle
import zlib

import lz4.frame

from pickles.opcodes import (
    NDARRAY,
    RECONSTRUCT,
    STOP,
    build,
    call,
    dtype,
    get,
    glob,
    line_glob,
    new,
    number,
    padded,
    proto,
    raw,
    stream,
    text,
    tup,
    wrapper,
)
from vectors.hostile import FLOATS, RUN, Case, Table, files

# -------------------------------------------------------------------------------------------- compressions

_RAN = stream(RUN)
_NONE = stream(pickle.NONE)


def pack(compressor: str, data: bytes) -> bytes:
    """Compress so that every version of the library writes the same: stored, where the format has that."""
    if compressor == "zlib":
        return zlib.compress(data, 0)
    if compressor == "gzip":
        body = zlib.compressobj(0, zlib.DEFLATED, -15)
        ends = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
        return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + body.compress(data) + body.flush() + ends
    if compressor == "bz2":
        return bz2.compress(data)
    if compressor == "xz":
        return lzma.compress(data, check=lzma.CHECK_CRC32, preset=0)
    if compressor == "lzma":
        return lzma.compress(data, format=lzma.FORMAT_ALONE, preset=0)
    packed: bytes = lz4.frame.compress(data)
    return packed


def nested_arrays(levels: int) -> bytes:
    """Each array of objects in the one before, and all of it dropped while loading: another value has its key."""
    one = call(RECONSTRUCT + pickle.MEMOIZE, NDARRAY + pickle.MEMOIZE, (0,), raw(b"b"))
    first = build(one, (1, (1,), dtype("O8") + pickle.MEMOIZE, False, [None]))
    again = call(get(0), get(1), (0,), raw(b"b")) + pickle.MARK + number(1) + tup(1) + get(2)
    chain = (again + pickle.NEWFALSE + pickle.EMPTY_LIST) * levels + pickle.NONE
    chain += (pickle.APPEND + pickle.TUPLE + pickle.BUILD) * levels
    twice = pickle.EMPTY_DICT + text("a") + chain + pickle.SETITEM + text("a") + pickle.NONE + pickle.SETITEM
    return stream(first, twice, pickle.TUPLE2)


COMPRESSORS = ("zlib", "gzip", "bz2", "xz", "lzma", "lz4")
_half = len(_RAN) // 2
COMPRESSED: Table = {
    f"call-in-{name}": Case("SL405", "code", f"a plain call, compressed by {name}", pack(name, _RAN))
    for name in COMPRESSORS
}
for _name in COMPRESSORS:
    COMPRESSED[f"cut-{_name}"] = Case("SL316", "form", f"a {_name} stream that is cut off", pack(_name, _NONE)[:-3])
    COMPRESSED[f"after-an-array-in-{_name}"] = Case(
        "SL405", "code", f"a call after an array, compressed by {_name}",
        pack(_name, padded(proto(4) + wrapper(), b"." * 16) + RUN + pickle.TUPLE2 + STOP))  # fmt: skip
for _outer, _inside in (("zlib", "gzip"), ("gzip", "zlib"), ("bz2", "xz"), ("xz", "bz2"), ("lz4", "zlib")):
    COMPRESSED[f"{_inside}-in-{_outer}"] = Case(
        "SL317", "form", f"compressed twice: {_inside} in {_outer}", pack(_outer, pack(_inside, _RAN))
    )
# zlib and gzip: joblib's reader loops on these and doubles its memory, so they are made to be refused, not loaded.
for _name, _threat in (("zlib", "exhaustion"), ("gzip", "exhaustion"), ("bz2", "form"), ("xz", "form"),
                       ("lzma", "form"), ("lz4", "form")):  # fmt: skip
    COMPRESSED[f"byte-after-{_name}"] = Case(
        "SL304", _threat, f"one byte after the {_name} stream", pack(_name, _NONE) + b"\0"
    )
    COMPRESSED[f"second-stream-after-{_name}"] = Case(
        "SL304", _threat, f"a second {_name} stream, of a pickle that calls", pack(_name, _NONE) + pack(_name, _RAN)
    )
for _name in ("bz2", "xz"):
    COMPRESSED[f"call-in-two-{_name}-streams"] = Case(
        "SL304", "code", f"a call, divided between two {_name} streams, which are read as one",
        pack(_name, _RAN[:_half]) + pack(_name, _RAN[_half:]))  # fmt: skip
COMPRESSED |= {
    "call-in-xz-then-lzma": Case(
        "SL304", "code", "a call, divided between an xz and an lzma stream",
        pack("xz", _RAN[:_half]) + pack("lzma", _RAN[_half:])),
    "zlib-without-checksum": Case(
        "SL316", "code", "a zlib stream without its checksum, which joblib loads all the same",
        pack("zlib", _RAN)[:-4]),
    "gzip-without-checksum": Case("SL316", "form", "a gzip stream without checksum and size", pack("gzip", _NONE)[:-8]),
    "zlib-wrong-checksum": Case(
        "SL316", "form", "a zlib stream with another checksum", pack("zlib", _NONE)[:-1] + b"\xff"),
    "gzip-wrong-size": Case("SL316", "form", "a gzip stream with another size", pack("gzip", _NONE)[:-1] + b"\xff"),
    "xz-without-a-check": Case(
        "SL316", "code", "an xz stream that has no checksum", lzma.compress(_RAN, check=lzma.CHECK_NONE, preset=0)),
    "bytes-after-the-pickle": Case(
        "SL304", "form", "data after STOP inside the zlib stream", pack("zlib", _NONE + b"\0")),
    "empty": Case("SL323", "form", "a zlib stream of nothing", pack("zlib", b"")),
    "magic-only": Case("SL316", "form", "the magic bytes of gzip and nothing else", b"\x1f\x8b"),
    "ten-thousand-globals-in-bz2": Case(
        "SL506", "exhaustion", "10,001 distinct globals in a tuple",
        bz2.compress(proto(2) + pickle.MARK + b"".join(line_glob("numpy", f"a{i}") for i in range(10_001))
                     + pickle.TUPLE + STOP)),
    "objects-in-one-another-in-bz2": Case(
        "SL505", "exhaustion", "40,000 arrays of objects in one another, which numpy drops by recursion: a crash",
        bz2.compress(nested_arrays(40_000))),
    "bytes-of-two-to-the-63": Case(
        "SL507", "exhaustion", "bytes of 2**63 where nobody knows how many follow",
        pack("zlib", stream(pickle.BINBYTES8 + (1 << 63).to_bytes(8, "little")))),
    "bomb-bz2": Case(
        "SL504", "exhaustion", "80 MiB of zeros in bz2",
        bz2.compress(proto(4) + pickle.BINBYTES + (80 << 20).to_bytes(4, "little") + bytes(80 << 20) + STOP)),
}  # fmt: skip


def compat(data: bytes) -> bytes:
    """The format of joblib before 0.10: ZF, the length in hexadecimal, a zlib stream."""
    return b"ZF" + hex(len(data)).encode().ljust(len(hex(1 << 64))) + zlib.compress(data, 0)


PREFIXES: Table = {
    "zf": Case("SL315", "code", "a file of joblib before 0.10, which a third unpickler reads", compat(_RAN)),
    "zf-declares-a-lot": Case(
        "SL315", "exhaustion", "the same, with a length of 1 TiB, which is allocated",
        b"ZF" + hex(1 << 40).encode().ljust(len(hex(1 << 64))) + zlib.compress(_NONE, 0)),
    "zf-in-zlib": Case("SL317", "form", "the same, compressed once more", pack("zlib", compat(_RAN))),
    "bz-as-opcodes": Case(
        "SL316", "form", "'BZ' would be BINBYTES: joblib takes it for bz2", b"BZ\0\0\0" + bytes(90) + STOP),
    "lzma-as-opcodes": Case("SL316", "form", "']' and NUL would be EMPTY_LIST: joblib takes it for lzma", b"]\0."),
    "x-as-zlib": Case("SL316", "form", "'x' alone: joblib takes it for zlib", b"x" + _NONE),
    "ndarray-wrapper": files(
        "SL315", "joblib's old wrapper, which loads the .npy file that the pickle names, pickles included",
        build(new(glob("joblib.numpy_pickle_compat", "NDArrayWrapper")),
              {"filename": "none.npy", "subclass": NDARRAY, "allow_mmap": True})),
    "zndarray-wrapper": files(
        "SL315", "joblib's old wrapper of compressed arrays", build(
            new(glob("joblib.numpy_pickle_compat", "ZNDArrayWrapper")),
            {"filename": "none.z", "init_args": (NDARRAY, (0,), "b"), "state": ()})),
    "ndarray-wrapper-re-exported": files(
        "SL315", "the same, by a name under which joblib imports it",
        new(glob("joblib.numpy_pickle", "NDArrayWrapper"))),
}  # fmt: skip

# What no longer fits: an array's bytes that are read as opcodes need them to be in place.
TRUNCATED: Table = {
    "array-cut": Case("SL507", "form", "fewer bytes than the array has", padded(proto(4) + wrapper(), FLOATS[:-1])),
    "array-cut-at-the-padding": Case("SL507", "form", "the file ends after BUILD", proto(4) + wrapper()),
    "array-without-stop": Case("SL301", "form", "no STOP after an array", padded(proto(4) + wrapper(), FLOATS)),
    "array-cut-in-zlib": Case(
        "SL301", "form", "the same, compressed", pack("zlib", padded(proto(4) + wrapper(), FLOATS[:-1]))),
}  # fmt: skip

TABLES: dict[str, Table] = {"compression": COMPRESSED, "prefix": PREFIXES, "truncated": TRUNCATED}
