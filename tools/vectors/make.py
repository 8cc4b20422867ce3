"""Write the vectors: those from opcodes, or with --real LABEL those that the installed libraries write.

    export PYTHONPATH=tools
    python -P -m vectors.make                    # write those assembled from opcodes, and index.json
    python -P -m vectors.make --check          # compare instead of writing; exit code 1 if anything differs
    python -P -m vectors.make --real sklearn-1.9 # dump real objects with the installed versions, under this label

Real ones are never written twice: what a version wrote stays as it is.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import gzip
import hashlib
import importlib.metadata
import io
import json
import lzma
import platform
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lz4.frame

from vectors import benign, hostile, hostile_arrays, hostile_opcodes, hostile_packed

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parents[2] / "vectors"
INDEX = HERE / "index.json"
FORMAT = 2  # of index.json

_PREFIXES = {b"ZF": "compat", b"\x78": "zlib", b"\x1f\x8b": "gzip", b"BZ": "bz2", b"\x5d\x00": "lzma",
             b"\xfd7zXZ": "xz", b"\x04\x22\x4d\x18": "lz4"}  # fmt: skip
_NO_PICKLES = {"protocol/nothing", "protocol/not-a-pickle", "protocol/a-zip"}
_PROTOCOL_1 = {"honest/protocol-1", "payload/protocol-1"}  # binary, and it states no protocol
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.decompress, "gzip": gzip.decompress, "bz2": bz2.decompress, "xz": lzma.decompress,
    "lzma": lzma.decompress, "lz4": lz4.frame.decompress, "none": bytes,
}  # fmt: skip
_NEEDS = {"joblib": b"joblib", "numpy": b"numpy", "scikit-learn": b"sklearn", "scipy": b"scipy"}
_PACKAGES = ("joblib", "numpy", "scikit-learn", "scipy")


def compressor_of(data: bytes) -> str:
    """Return what joblib takes the first bytes for."""
    return next((name for prefix, name in _PREFIXES.items() if data.startswith(prefix)), "none")


def crafted() -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Return the entries and the content of every vector that is assembled from opcodes."""
    refused = hostile.TABLES | hostile_arrays.TABLES | hostile_opcodes.TABLES | hostile_packed.TABLES
    entries: list[dict[str, Any]] = []
    contents: dict[str, bytes] = {}

    def add(category: str, name: str, description: str, data: bytes, **more: Any) -> None:
        compressor = compressor_of(data)
        suffix = ".joblib" if compressor != "none" or b"NumpyArrayWrapper" in data else ".pkl"
        entry = {"name": f"{category}/{name}", "file": f"files/{category}/{name}{suffix}", "category": category}
        entry |= {
            "description": description,
            "compressor": compressor,
            "protocol": protocol_of(entry["name"], data),
        } | more
        entries.append(entry | {"origin": "opcodes"})
        contents[entry["file"]] = data

    for category, honest in benign.TABLES.items():
        for name, (description, data) in honest.items():
            add(category, name, description, data, expect="allowed", threat="none")
    for category, table in refused.items():
        for name, case in table.items():
            add(category, name, case.trick, case.data, expect="refused", threat=case.threat, code=case.code)
    return entries, contents


def protocol_of(name: str, data: bytes) -> int | None:
    """Return the protocol that an uncompressed pickle states; 0 and 1 state none."""
    if name in _NO_PICKLES or compressor_of(data) != "none":
        return None
    return data[1] if data[:1] == b"\x80" else int(name in _PROTOCOL_1)


def needs(data: bytes) -> list[str]:
    """Return the packages that have to be installed for `joblib.load` to read a file as its entry says."""
    compressor = compressor_of(data)
    found = ["lz4"] if compressor == "lz4" else []
    with contextlib.suppress(Exception):  # damaged on purpose: the names in its first bytes tell
        data = _UNPACK[compressor](data)
    return sorted(found + [package for package, name in _NEEDS.items() if name in data])


def read_index() -> list[dict[str, Any]]:
    """Return the entries as they stand in the index."""
    if not INDEX.exists():
        return []
    entries: list[dict[str, Any]] = json.loads(INDEX.read_text(encoding="utf-8"))["vectors"]
    return entries


def index_text(entries: list[dict[str, Any]]) -> str:
    """Return the index; its version changes with any entry or file."""
    ordered = sorted(map(with_content, entries), key=lambda entry: str(entry["name"]))
    digest = hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()
    head = {"$schema": "schema.json", "version": f"{FORMAT}-{digest[:12]}", "license": "Apache-2.0"}
    return json.dumps(head | {"vectors": ordered}, indent=1, ensure_ascii=True) + "\n"


def with_content(entry: dict[str, Any]) -> dict[str, Any]:
    data = (HERE / entry["file"]).read_bytes()
    return entry | {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "needs": needs(data)}


def write(entries: list[dict[str, Any]], contents: dict[str, bytes]) -> None:
    for name, data in contents.items():
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    INDEX.write_text(index_text(entries), encoding="utf-8")


def check(entries: list[dict[str, Any]], contents: dict[str, bytes]) -> list[str]:
    """Return what differs from what would be written."""
    wrong = [name for name, data in contents.items() if not _is(HERE / name, data)]
    listed = {entry["file"] for entry in entries}
    there = {path.relative_to(HERE).as_posix() for path in (HERE / "files").rglob("*") if path.is_file()}
    wrong += sorted(listed ^ there)
    if index_text(entries) != INDEX.read_text(encoding="utf-8"):
        wrong.append("index.json")
    return wrong


def _is(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def write_real(label: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Dump real objects with what is installed; return the entries with theirs."""
    written_by = {"python": platform.python_version()}
    written_by |= {package: importlib.metadata.version(package) for package in _PACKAGES}
    for name, description, compressor, protocol, dump in benign.real():
        entry: dict[str, Any] = {"name": f"real/{label}-{name}", "file": f"files/real/{label}-{name}.joblib"}
        path = HERE / entry["file"]
        if path.exists():
            raise SystemExit(f"{path} is there already")
        file = io.BytesIO()
        dump(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.getvalue())
        entry |= {"category": "real", "description": description, "compressor": compressor, "protocol": protocol}
        entries.append(entry | {"expect": "allowed", "threat": "none", "origin": "real", "written_by": written_by})
    return entries


def main() -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--real", metavar="LABEL", help="dump real objects with the installed versions")
    options = parser.parse_args()
    real = [entry for entry in read_index() if entry["origin"] == "real"]
    entries, contents = crafted()
    entries += write_real(options.real, real) if options.real else real
    if options.check:
        wrong = check(entries, contents)
        sys.stdout.write("\n".join(wrong or [f"{len(entries)} vectors, as they should be"]) + "\n")
        return 1 if wrong else 0
    write(entries, contents)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
