"""Hostile load: whatever a small file holds, it is judged with bounded work and memory, and refused with a code."""

from __future__ import annotations

import base64
import json
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest

import safeload
from pickles.opcodes import DTYPE, glob, mapping, new, stream, tup
from pickles.worst_inputs import INPUTS, keys_that_walk
from support.children import environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.cli_runs import Outcome

MIB = 1 << 20
MANY = 4_000_000
WIDE = b"\x8c\xff" + "😀".encode() + b"a" * 251
CHILD = """
import resource, sys
import numpy, safeload

def used():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

safeload.scan(sys.argv[1])
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = used()
report = safeload.scan(sys.argv[2])
print(used() - before, report.findings[0].code if report.findings else "allowed")
"""


def filled(item: bytes, count: int = MANY, version: int = 5) -> bytes:
    """A list of this item, many times."""
    return pickle.PROTO + bytes([version]) + b"]\x94" + (b"(" + item * 50_000 + b"e") * (count // 50_000) + b"."


TRAPS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty lists": ("SL509", lambda: filled(b"]")),
    "empty dicts, memoised": ("SL509", lambda: filled(b"}\x94")),
    "tuples": ("SL509", lambda: filled(b"N\x85")),
    "texts that take four bytes a character": (
        "SL509",
        lambda: filled(WIDE, 400_000),
    ),
    "integers": ("allowed", lambda: filled(b"J\1\2\3\4")),
    "integers in tuples": ("SL509", lambda: filled(b"J\1\2\3\4\x85")),
    "more opcodes than the file has room for": ("SL501", lambda: filled(b"N", 6_000_000)),
    "letters one by one, which fill the window themselves": ("SL501", lambda: filled(b"V\\u1234\n", version=2)),
    "bytes that could be nodes of any table": (
        "allowed",
        lambda: b"\x80\x05\x8e" + struct.pack("<Q", 300 * MIB) + b"\xff" * (300 * MIB) + b".",
    ),
    "one value memoised for ever": ("SL501", lambda: b"\x80\x04N" + b"\x94" * 6_000_000),
    "a text of 300 MB": ("allowed", lambda: b"\x80\x04X" + struct.pack("<I", 300 * MIB) + b"a" * (300 * MIB) + b"."),
    "a line of 300 MB": ("allowed", lambda: b"V" + b"a" * (300 * MIB) + b"\n."),
    "a line without an end": ("SL301", lambda: b"V" + b"a" * (300 * MIB)),
    "integers of 255 bytes": ("allowed", lambda: filled(b"\x8a\xff" + b"\x7f" * 255, 500_000)),
}


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="measures memory as Linux tells it")
@pytest.mark.parametrize("name", TRAPS)
def test_memory_is_bounded(name: str, tmp_path: Path) -> None:
    code, make = TRAPS[name]
    plain, path = tmp_path / "plain", tmp_path / "trap"
    plain.write_bytes(pickle.dumps(np.arange(3)))
    path.write_bytes(zlib.compress(make(), 1))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(plain), str(path)],
        env=environment(),
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    used, found = done.stdout.split()
    assert found == code
    assert int(used) < 256 * 1024  # KiB


def scan(tmp_path: Path, data: bytes, **limits: int) -> safeload.Report:
    path = tmp_path / "artifact.pkl"
    path.write_bytes(data)
    return safeload.scan(path, limits=safeload.Limits(**limits) if limits else None)


def first(report: safeload.Report) -> str:
    return report.findings[0].code if report.findings else "allowed"


def test_one_large_argument_of_many_calls(tmp_path: Path) -> None:
    large = tup(*[None] * 5000)
    calls = pickle.EMPTY_LIST + b"\x94" + glob("builtins", "slice") + b"\x94" + large + b"\x94(" + b"h\1h\2R" * 20_000
    assert first(scan(tmp_path, stream(calls, b"t\x87"))) == "SL501"


@pytest.mark.slow
def test_dtypes_made_again_and_again(tmp_path: Path) -> None:
    once = b"h\x00h\x01Rh\x02b"
    state = tup(3, "<", None, None, None, -1, -1, 0)
    data = stream(b"(", DTYPE + b"\x94", tup("f8", False, True) + b"\x94", state + b"\x94", once * 300_000, b"t")
    assert first(scan(tmp_path, data)) == "SL501"


def test_integers_that_collide(tmp_path: Path) -> None:
    assert first(scan(tmp_path, pickle.dumps(dict.fromkeys(keys_that_walk(2800)), 4))) == "SL321"


@pytest.mark.parametrize(
    "keys",
    [
        range(50_000),
        range(0, 5_000_000, 100),
        range(0, 50_000 << 10, 1 << 10),
        np.random.default_rng(0).permutation(50_000).tolist(),
        np.random.default_rng(0).integers(0, 1 << 62, 50_000).tolist(),
        [(i, j) for i in range(200) for j in range(200)],
        [(i, str(i)) for i in range(20_000)],
    ],
    ids=["counted", "hundreds", "powers", "shuffled", "random", "pairs", "mixed"],
)
def test_honest_keys_are_allowed(keys: Any, tmp_path: Path) -> None:
    assert first(scan(tmp_path, pickle.dumps(dict.fromkeys(keys), 4))) == "allowed"
    assert first(scan(tmp_path, pickle.dumps(set(keys), 4))) == "allowed"


def test_keys_of_unknown_hash_are_limited(tmp_path: Path) -> None:
    data = pickle.dumps(dict.fromkeys(float(i) for i in range(300)))
    assert first(scan(tmp_path, data, max_odd_keys=299)) == "SL321"
    assert first(scan(tmp_path, data, max_odd_keys=300)) == "allowed"


def test_texts_of_numpy_are_keys_without_number(tmp_path: Path) -> None:
    data = pickle.dumps({np.str_(f"w{i}"): i for i in range(300)})
    assert first(scan(tmp_path, data, max_odd_keys=1)) == "allowed"


@pytest.mark.parametrize("what", ["scalars", "instances", "arrays"])
def test_many_alike_cost_no_memory(what: str, tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    make: dict[str, Callable[[int], Any]] = {
        "scalars": np.float64,
        "instances": lambda _: LinearRegression(),
        "arrays": lambda i: np.arange(3.0) + i,
    }
    many = [make[what](i) for i in range(20_000)]
    # The places in the list and in the memo, and little else.
    assert first(scan(tmp_path, pickle.dumps(many), max_memory=100 * len(many))) == "allowed"


MANY_WORDS = {f"word{i:x}": i + 1000 for i in range(40_000)}
VAST: dict[str, Callable[[], Any]] = {
    "vocabulary": lambda: MANY_WORDS,
    "list of words": lambda: list(MANY_WORDS),
    "set of words": lambda: set(MANY_WORDS),
    "list of integers": lambda: list(range(-20_000, 20_000)),
    "words of an object array": lambda: np.array(list(MANY_WORDS), dtype=object),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("what", VAST)
def test_what_a_vast_container_says_is_not_kept(what: str, protocol: int, tmp_path: Path) -> None:
    data = pickle.dumps(VAST[what](), protocol)
    # 10,000 items are kept as they are, which takes some 140 bytes each; then little more than their places.
    assert first(scan(tmp_path, data, max_memory=10_000 * 140 + 30_000 * 40)) == "allowed"


def test_words_that_are_used_again_are_allowed(tmp_path: Path) -> None:
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.feature_extraction.text import CountVectorizer

    key = safeload.SigningKey.generate()
    words = list(MANY_WORDS)
    model = {
        "names": DictVectorizer().fit([MANY_WORDS]),  # the same words in a list and in a dict
        "given": CountVectorizer(vocabulary=words).fit(words),
        "most frequent": words[-1],
        "by length": dict.fromkeys(words, words[-5]),
    }
    path = tmp_path / "model.joblib"
    safeload.dump(model, path, key=key)
    again = safeload.load(path, keyring=key)
    assert again["most frequent"] == words[-1]
    assert again["names"].vocabulary_ == model["names"].vocabulary_


def vast(last: bytes) -> bytes:
    """A list of 10,000 integers, which is memoised, and then of these items."""
    return b"]\x94(" + b"K\1" * 10_000 + b"e(" + last + b"e"


def test_a_text_that_was_let_go_is_no_name_and_no_attribute(tmp_path: Path) -> None:
    """Nothing that is looked up or compared may be a text that the scanner has forgotten."""
    name = vast(b"\x8c\x14sklearn.svm._classes\x94")
    assert first(scan(tmp_path, stream(name, b"h\x01\x8c\x03SVC\x93\x86"))) == "SL308"
    made = new(glob("sklearn.linear_model._base", "LinearRegression"))
    attribute = vast(b"\x8c\x05copy_\x94")
    assert first(scan(tmp_path, stream(attribute, made, b"}h\x01K\1sb\x86"))) == "SL404"
    assert first(scan(tmp_path, stream(attribute, made, b"}\x8c\x01xh\x01sb\x86"))) == "SL404"
    svm = new(glob("sklearn.svm._classes", "SVC"))
    kernel = vast(b"\x8c\x0bprecomputed\x94")
    assert first(scan(tmp_path, stream(kernel, svm, b"}\x8c\x06kernelh\x01sb\x86"))) == "SL404"


def test_a_state_of_very_many_attributes_is_refused(tmp_path: Path) -> None:
    made = new(glob("sklearn.linear_model._base", "LinearRegression"))
    few, many = (mapping({f"x{i}": i for i in range(count)}) for count in (10_000, 10_001))
    assert first(scan(tmp_path, stream(made, few, b"b"))) == "allowed"
    assert first(scan(tmp_path, stream(made, many, b"b"))) == "SL404"


def test_keys_that_were_let_go_are_no_items_of_a_bunch(tmp_path: Path) -> None:
    """Protocols 0 and 1 fill a dict first, and then make a Bunch of it, whose keys answer for attributes."""
    word = b"X\x04\x00\x00\x00aaaaq\x00X\x0c\x00\x00\x00__setstate__q\x01K\1"
    pairs = b"".join(b"J" + struct.pack("<i", i) + b"K\1" for i in range(10_001))
    filled_dict = b"}(" + pairs + b"u(" + b"K\1" + word + b"u"
    make = b"ccopyreg\n_reconstructor\n(csklearn.utils._bunch\nBunch\nc__builtin__\ndict\n"
    assert first(scan(tmp_path, make + filled_dict + b"tR.")) == "SL320"


@pytest.mark.parametrize("get", ["h%c", "j%c\0\0\0", "g%d\n"])
@pytest.mark.parametrize("put", [b"\x94", b"r%b"])
def test_what_is_let_go_was_counted_once(get: str, put: bytes, tmp_path: Path) -> None:
    """A text that the memo gave out, or an integer that it keeps, takes nothing off the count when it goes."""
    keep = b"".join(b"\x8c\xff" + letter * 255 + b"\x94" for letter in (b"v", b"w"))
    games = b"".join(
        (get % (index % 2)).encode() + put.replace(b"%b", struct.pack("<I", 3 + index)) for index in range(5_000)
    )
    large = b"(" + (b"\x8c\xff" + b"x" * 255) * 4_000 + b"t"
    assert first(scan(tmp_path, stream(keep, vast(games), large, b"t"), max_memory=1_000_000)) == "SL509"
    integers = b"J\1\2\3\4\x94" + vast(b"h\x00" * 20_000)
    assert first(scan(tmp_path, stream(integers, large, b"\x87"), max_memory=1_000_000)) == "SL509"


def peak(path: Path) -> int:
    """Scan and return how many bytes that took at most."""
    safeload.scan(path)
    tracemalloc.start()
    try:
        safeload.scan(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_nodes_of_trees_are_let_go(tmp_path: Path) -> None:
    from sklearn.tree._tree import NODE_DTYPE

    nodes = np.zeros(20_000, NODE_DTYPE)
    nodes["left_child"] = nodes["right_child"] = -1
    path = tmp_path / "nodes.joblib"
    joblib.dump([nodes.copy() for _ in range(15)], path)
    assert peak(path) < 6 * MIB


def test_states_that_no_rule_grants_are_described_briefly(tmp_path: Path) -> None:
    path = tmp_path / "states.pkl"
    path.write_bytes(INPUTS["states to describe"](20_000))
    assert peak(path) < 6 * MIB


def test_a_state_that_was_used_is_no_other_ones(tmp_path: Path) -> None:
    made = new(glob("sklearn.linear_model._base", "LinearRegression"))
    state = mapping({"copy_X": True})
    again = stream(made + b"\x94", state + b"\x94", b"b", b"h\x01\x86")
    assert first(scan(tmp_path, again)) == "allowed"  # its dict, as a value
    changed = stream(made + b"\x94", state + b"\x94", b"b", b"h\x01", b"\x8c\x01xNs\x86")
    assert first(scan(tmp_path, changed)) == "SL320"
    second = stream(made + b"\x94", state + b"\x94", b"b", made, b"h\x01", b"b\x86")
    assert first(scan(tmp_path, second)) == "SL319"


# --------------------------------------------------------------------------------------------- raised on purpose

TIGHT = 'name = "tight"\nversion = 1\nextends = ["core"]\n[limits]\nmax_opcodes = 100\nmax_memo = 5_000\n'


def test_what_is_too_much_can_be_signed_and_loaded_on_purpose(tmp_path: Path) -> None:
    key = safeload.SigningKey.generate()
    policy = tmp_path / "tight.toml"
    policy.write_text(TIGHT)
    path, words = tmp_path / "words.joblib", [f"w{i}" for i in range(300)]
    with pytest.raises(safeload.LimitExceededError, match=r"SL501 .* 100 .*max_opcodes(.|\n)*limits=safeload\.Limits"):
        safeload.dump(words, path, key=key, policy=policy)
    assert not path.exists()
    more = safeload.Limits(max_opcodes=10_000)
    safeload.dump(words, path, key=key, policy=policy, limits=more)
    safeload.sign(path, key=key, policy=policy, overwrite=True, limits=more)
    with pytest.raises(safeload.LimitExceededError, match="max_opcodes"):
        safeload.load(path, keyring=key, policy=policy)
    assert safeload.load(path, keyring=key, policy=policy, limits=more) == words
    other = safeload.SigningKey.generate()
    both = safeload.Keyring.from_keys([key, other])
    with pytest.raises(safeload.LimitExceededError):
        safeload.countersign(path, key=other, keyring=both, policy=policy)
    assert safeload.countersign(path, key=other, keyring=both, policy=policy, limits=more).added == (other.key_id,)
    safeload.sign(path, key=key, policy=policy, overwrite=True, limits=more)
    assert safeload.reissue(path, 7, key=key, policy=policy, limits=more).release == 8
    assert safeload.verify(path, keyring=key, policy=policy, limits=more).allowed
    store = safeload.Store(tmp_path / "store", key=key, policy=policy, limits=more)
    store.save("words", words, version="1")
    store.add("words", path, version="2")
    store.promote("words", "2")
    assert store.load("words") == words


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("min_opcodes", lambda: pickle.dumps([None] * 300)),
        ("max_opcodes", lambda: pickle.dumps(list(range(200)))),
        ("max_memory", lambda: pickle.dumps([f"w{i}" for i in range(300)])),
        ("max_memo", lambda: pickle.dumps([f"w{i}" for i in range(300)])),
        ("max_stack", lambda: pickle.dumps((None,) * 300_000)),
        ("max_globals", lambda: pickle.dumps([np.float64(1), np.arange(3)])),
        ("max_odd_keys", lambda: pickle.dumps({float(i) for i in range(300)})),
        ("max_unpacked", lambda: zlib.compress(pickle.dumps(bytes(9000)))),
        ("max_ratio", lambda: zlib.compress(pickle.dumps(bytes(65 << 20)), 1)),
    ],
)
def test_the_limit_that_was_met_is_named(name: str, data: Callable[[], bytes], tmp_path: Path) -> None:
    report = scan(tmp_path, data(), **{name: 2})
    assert name in report.findings[0].message
    assert scan(tmp_path, data()).allowed


def test_limits_of_the_command_line(run: Callable[..., Outcome], tmp_path: Path) -> None:
    ring, policy, path = tmp_path / "ring.toml", tmp_path / "tight.toml", tmp_path / "words.pkl"
    policy.write_text(TIGHT)
    path.write_bytes(pickle.dumps([f"w{i}" for i in range(300)]))
    assert run("key", "new", "--out", ring).code == 0
    for command in ("sign", "verify", "scan", "inspect"):
        options = [] if command == "scan" else ["--keyring", ring]
        refused = run(command, path, "--policy", policy, *options)
        if command != "inspect":
            assert refused.code == 1
        assert "max_opcodes" in refused.out + refused.err
        assert "--limit NAME=NUMBER" in refused.out + refused.err
        raised = run(command, path, "--policy", policy, *options, "--limit", "max_opcodes=10_000")
        assert raised.code == 0, raised.out
    lowered = run("scan", path, "--limit", "max_memo=10", "--limit", "max_globals=5")
    assert lowered.code == 1
    assert "more than 10 values (max_memo)" in lowered.out
    assert run("countersign", path, "--policy", policy, "--keyring", ring, "--limit", "max_opcodes=10_000").code == 0
    again = run("reissue", path, "--from-release", "7", "--policy", policy, "--keyring", ring)
    assert again.code == 1
    again = run(
        "reissue", path, "--from-release", "7", "--policy", policy, "--keyring", ring, "--limit", "max_opcodes=10_000"
    )
    assert again.code == 0


def test_limits_of_the_commands_of_a_store(
    run: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring, policy, path = tmp_path / "ring.toml", tmp_path / "tight.toml", tmp_path / "words.pkl"
    policy.write_text(TIGHT)
    path.write_bytes(pickle.dumps([f"w{i}" for i in range(300)]))
    monkeypatch.setenv("SAFELOAD_KEYRING", str(ring))
    monkeypatch.setenv("SAFELOAD_STORE", str(tmp_path / "models"))
    assert run("key", "new", "--out", ring).code == 0
    assert run("sign", path).code == 0
    for arguments in (
        ("store", "add", "words", path, "--version", "1"),
        ("store", "promote", "words", "1"),
        ("store", "add", "words", path, "--version", "2"),
        ("store", "promote", "words", "2"),
        ("store", "rollback", "words"),
        ("store", "verify"),
        ("key", "rotate", "--re-sign", path),
    ):
        tight = (*arguments, "--policy", policy)
        wrong = run(*tight, "--limit", "max_opcode=5")
        assert (wrong.code, "there is no limit max_opcode" in wrong.err) == (4, True)
        refused = run(*tight)
        assert refused.code == 1
        assert "max_opcodes" in refused.out + refused.err
        assert run(*tight, "--limit", "max_opcodes=10_000").code == 0
    minimal = tmp_path / "minimal.toml"
    assert run("audit", path, "--policy", policy).code == 1
    assert run("audit", path, "--policy", policy, "--against", policy, "--limit", "max_opcodes=10_000").code == 0
    assert run("audit", "--limit", "max_opcodes=10_000").code == 4  # nothing is scanned
    assert run("policy", "learn", path, "--on", policy).code == 1
    assert run("policy", "learn", path, "--on", policy, "--limit", "max_opcodes=10_000").code == 0
    path.write_bytes(pickle.dumps([np.float64(1), *(f"w{i}" for i in range(300))]))
    done = run("audit", path, "--policy", policy, "--minimal", minimal, "--limit", "max_opcodes=10_000")
    assert (done.code, 'names = ["scalar"]' in minimal.read_text()) == (0, True)
    assert len(safeload.Keyring.load(ring).entries) == 2  # a wrong --limit made no key


@pytest.mark.parametrize(
    "wrong", ["max_opcodes", "max_opcodes=", "max_opcodes=-1", "max_opcodes=1e9", "max_opcodes=0", "opcodes=5", "=5",
              "max_opcodes=" + "9" * 5000]
)  # fmt: skip
def test_limits_that_make_no_sense(wrong: str, run: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([1]))
    result = run("scan", path, "--limit", wrong)
    assert result.code == 4
    assert "--limit" in result.err
    assert run("scan", path, "--limit", "max_memo=7", "--limit", "max_memo=8").code == 4


# ------------------------------------------------------------------------------------------ beside the artifact

MANIFEST_TRAPS = {
    # 32 MiB of JSON that nobody signed took 700 MiB when it was parsed.
    "many small parts": b'{"_type":"x","subject":[],"a":[' + b"{}," * 8_000_000 + b"{}]}",
}


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="measures memory as Linux tells it")
@pytest.mark.parametrize("name", [*MANIFEST_TRAPS, "not ASCII"])
def test_a_manifest_that_nobody_signed_costs_little(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    key = safeload.SigningKey(bytes(32), algorithm="hmac-sha256", key_id="k")
    safeload.dump([1], path, key=key)
    manifest = Path(f"{path}.manifest.json")
    envelope = json.loads(manifest.read_text())
    if name == "not ASCII":
        data = json.dumps({**envelope, "payload": "\U0001f40d" + "A" * (30 << 20)}, ensure_ascii=False).encode()
    else:
        data = json.dumps({**envelope, "payload": base64.b64encode(MANIFEST_TRAPS[name]).decode()}).encode()
    manifest.write_bytes(data)
    for what in (
        "safeload.verify('model.joblib', keyring=key).allowed and sys.exit('allowed')",
        "safeload.dump([2], 'model.joblib', key=key, overwrite=True)",
        "importlib.import_module('safeload._cli')._cli.main(['inspect', 'model.joblib'], standalone_mode=False)",
    ):
        code = (
            "import contextlib, importlib, io, sys, safeload, safeload._manifest.manifest\n"
            "import safeload._api, safeload._cli\n"
            "key = safeload.SigningKey(bytes(32), algorithm='hmac-sha256', key_id='k')\n"
            "def peak(): return int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])\n"
            "safeload.dump([1], 'warm.joblib', key=key, overwrite=True)\n"
            "open('/proc/self/clear_refs', 'w').write('5')\nbefore = peak()\n"
            f"with contextlib.redirect_stdout(io.StringIO()): {what}\n"
            "print(peak() - before)\n"
        )
        manifest.write_bytes(data)
        result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert int(result.stdout) < 256 << 10, what
