"""Which files of a folder are looked at: everything that an unpickler could do anything with, and few others."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import pickletools
import random
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest

import safeload
from safeload._scan.sniff import WINDOW, sniff
from support.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("own_home")


def sniffed(data: bytes) -> str | None:
    return sniff(io.BytesIO(data), len(data))


VALUES: list[Any] = [
    None,
    True,
    7,
    -300,
    1 << 40,
    1 << 3000,
    0.5,
    "text",
    "é\n",
    b"bytes",
    bytearray(b"b"),
    (),
    (1,),
    (1, 2, 3, 4),
    [],
    [1, 2],
    {},
    {"a": [1.5, None]},
    {1, 2},
    frozenset("a"),
    np.eye(3),
    np.float64(1),
    ["x" * 40_000],
    [b"x" * 40_000],
    range(3),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_every_pickle_counts(value: Any, protocol: int) -> None:
    for pickler in (pickle._Pickler, pickle.Pickler):  # the two write different opcodes
        stream = io.BytesIO()
        pickler(stream, protocol).dump(value)
        assert sniffed(stream.getvalue()) == "pickle"
        assert sniffed(pickletools.optimize(stream.getvalue())) == "pickle"


@pytest.mark.parametrize("compression", ["zlib", "gzip", "bz2", "xz", "lzma", "lz4"])
@pytest.mark.parametrize("level", [1, 9])
def test_every_compression_of_joblib_counts(compression: str, level: int, tmp_path: Path) -> None:
    if compression == "lz4":
        pytest.importorskip("lz4")
    for value in ([1, "a"], np.random.default_rng(0).random(100_000)):
        joblib.dump(value, tmp_path / "any.name", compress=(compression, level))
        assert sniffed((tmp_path / "any.name").read_bytes()) == compression


def test_what_is_damaged_within_a_compression_counts() -> None:
    assert sniffed(gzip.compress(pickle.dumps([1]))[:-20]) == "gzip"
    assert sniffed(zlib.compress(b"x")[:2] + b"\xff" * 40) == "zlib"
    assert sniffed(gzip.compress(gzip.compress(b"twice"))) == "gzip"


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, bz2.compress, lzma.compress])
def test_what_holds_no_pickle_within_a_compression_does_not_count(pack: Callable[[bytes], bytes]) -> None:
    assert sniffed(pack(b"Name,Age\nMia,7\n" * 5000)) is None
    assert sniffed(pack(b"blob 12\0Hello, world")) is None  # as git keeps it
    for text in (b"This is a file of some length. " * 5000, b"Search.setIndex(" + b"x" * 99_999):
        assert sniffed(text) is None
    if pack in (gzip.compress, zlib.compress):
        assert sniffed(pack(b"This is a file of some length. " * 5000)) is None
        assert sniffed(pack(b"xz-utils (5.4) unstable\n" * 5000)) is None


def test_the_format_of_joblib_before_0_10_counts_and_words_with_its_letters_do_not() -> None:
    assert sniffed(b"ZF" + hex(1000).encode().ljust(19) + zlib.compress(pickle.dumps(1))) == "compat"
    assert sniffed(b"ZF Friedrichshafen makes gearboxes\n") is None


# Each begins with a letter that is an opcode, and none lets an unpickler do anything.
TEXTS = [
    "Name,Age\n1,2\n",
    "None of this\n",
    "I like it\n",
    "I1\n",
    "import os\n",
    "class Foo:\n    pass\n",
    "cat\ndog\nfish\n",
    "cat\ndog\nRabbit\n",
    "classes\nbirds\nbees\n",
    "Version 1.0 of the models\n",
    "Version 1.0\nAll rights reserved\n",
    "(c) 2024 Somebody\n",
    "(a, b)\n",
    "[1, 2]",
    '{"a": 1}',
    "- yaml: 1\n",
    "name: x\n",
    "xgboost==2.0\n",
    "x" * 50,
    "BZ,AB\n",
    "Model card\n",
    "Keras model\n",
    "Features\n",
    "Label\n",
    "Jan,Feb\n",
    "Going on holiday\n",
    "Total 12\n",
    "User,Score\n",
    "Xavier\n",
    "Categories:\n",
    "Bees\n",
    "N.B. this is no model\n",
    "S'quoted' and on\n",
    "gamma=0.1\n",
    "hello\n",
    "data\n",
    "learning_rate=0.1\n",
    "tree\nversion=v4\n",
    "p\n",
    "q\n",
    "r\n",
    "0\n",
    "1\n",
    "2\n",
    "}",
    ")",
    "",
    "\n",
    "\ufeffName\n",
]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_texts_do_not_count(text: str) -> None:
    data = text.encode()
    assert sniffed(data) is None
    try:  # and nothing is lost by that
        assert pickle.loads(data) is None
    except (
        MemoryError,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        ImportError,
        IndexError,
        AttributeError,
        TypeError,
        KeyError,
    ):
        pass


def test_texts_of_this_repository_do_not_count() -> None:
    texts = [path for kind in ("*.md", "*.py", "*.toml", "*.json") for path in ROOT.glob(f"[!.]*/**/{kind}")]
    assert len(texts) > 200
    counted = [path for path in texts if sniffed(path.read_bytes()) is not None]
    assert counted == []


CALLS = [
    b"cos\nsystem\n(S'id'\ntR",  # without STOP
    b"cos\nsystem\n(S'id'\ntR\x00garbage",  # and with what no unpickler reads any more
    b"(S'id'\nios\nsystem\n.",
    b"(cos\nsystem\nS'id'\no.",
    b"N0(cos\nsystem\nS'id'\no",
    b"I0x1\ncos\nsystem\n(S'id'\ntR.",  # an integer that pickletools refuses
    b"I 1 \ncos\nsystem\n(S'id'\ntR.",
    b"C\x01a0cos\nsystem\n(S'id'\ntR.",
    b"\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
    b"\x95\x00\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n(S'id'\ntR.",
    b"(1cos\nsystem\n(S'id'\ntR.",
    b"cos\nsystem\np0\n0g0\n(S'id'\ntR.",
    b"cos\nsystem\r\n(S'id'\ntR.",
    b"V" + b"x" * 2 * WINDOW + b"\n0cos\nsystem\n(S'id'\ntR.",  # beyond what is looked at
    b"N0" * WINDOW + b"cos\nsystem\n(S'id'\ntR.",
    b"X\x00\x00\x01\x00" + b"x" * (1 << 16) + b"0cos\nsystem\n(S'id'\ntR.",
]


@pytest.mark.parametrize("stream", CALLS, ids=lambda stream: ascii(stream[:30]))
def test_whatever_calls_something_counts(stream: bytes) -> None:
    assert sniffed(stream) == "pickle"
    assert sniffed(gzip.compress(stream)) == "gzip"


def test_nothing_that_is_skipped_would_be_allowed(tmp_path: Path) -> None:
    """Streams of opcodes at random: the scanner allows many of them, and each of those counts."""
    choices = [
        b"N",
        b"]",
        b"}",
        b")",
        b"K\x07",
        b"I1\n",
        b"F1.5\n",
        b"V\n",
        b"(",
        b"0",
        b"a",
        b"t",
        b"l",
        b"d",
        b"q\0",
        b"p0\n",
        b"h\0",
        b"X\x01\0\0\0a",
        b"L5L\n",
        b"J\1\0\0\0",
        b"M\1\0",
        b"G" + bytes(8),
        b"e",
        b"s",
        b"u",
    ]
    rng = random.Random(7)
    path = tmp_path / "one"
    allowed = 0
    for _ in range(1000):
        data = b"".join(rng.choices(choices, k=rng.randint(1, 7))) + b"."
        if sniffed(data) is None:
            path.write_bytes(data)
            assert not safeload.scan(path).allowed, data
        else:
            allowed += 1
    assert allowed > 30
