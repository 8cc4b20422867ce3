"""fickling as the second opinion: it reads what the scanner reads, and where it does not, that is a finding."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import subprocess
import sys
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest

import safeload
from pickles.opcodes import call, codes, frame, glob, new, padded, proto, scan, stream, text
from safeload._judging import second_opinion as secondopinion
from safeload._scan import Limits
from safeload.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.cli_runs import Outcome

POLICY = Policy.load("sklearn")
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
OBJECTS = {
    "floats": np.arange(7.0),
    "fortran": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "words": np.array(["a", None, "ö"], dtype=object),
    "more words": [
        np.array([["x"], ["y"]], dtype=object),
        np.arange(3),
        bytearray(b"raw"),
        1.5,
        {1, 2},
        frozenset("a"),
    ],
    "long": 10**40,
    "text": "\x1b[31mred\n",
}


def dissected(data: bytes, **bounds: int) -> secondopinion.Dissection:
    return secondopinion.dissect(io.BytesIO(data), len(data), POLICY, Limits(), **bounds)


def written(obj: Any, protocol: int = 4, *, plain: bool = False) -> bytes:
    file = io.BytesIO()
    (pickle.dump if plain else joblib.dump)(obj, file, protocol=protocol)
    return file.getvalue()


# ------------------------------------------------------------------------------------------------- agreement


@pytest.mark.parametrize("plain", [False, True], ids=["joblib", "pickle"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_it_reads_the_same_of_what_people_save(pipeline: Any, protocol: int, plain: bool) -> None:
    found = dissected(written([pipeline, OBJECTS], protocol, plain=plain))
    opinion, difference = secondopinion.second_opinion(found)
    assert difference is None
    assert found.complete
    assert (opinion.examined, opinion.agrees, opinion.reason) == (True, True, None)
    assert found.trace is not None
    assert opinion.opcodes == found.trace.opcodes
    assert opinion.imports == sum(event[0] == "global" for event in found.trace.events)
    assert opinion.pickles == (1 if plain else 3)
    assert opinion.severity is not None
    assert opinion.remarks


@pytest.mark.parametrize("compression", ["zlib", "gzip", "bz2", "xz", "lzma", "lz4"])
def test_it_reads_what_is_compressed(tmp_path: Path, pipeline: Any, compression: str) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump([pipeline, OBJECTS], path, compress=(compression, 3))
    report = safeload.scan(path, deep=True)
    assert report.allowed
    assert report.second_opinion is not None
    assert report.second_opinion.agrees


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_pieces_are_whole_pickles_and_nothing_is_lost(protocol: int) -> None:
    data = written(OBJECTS, protocol)
    outer, *nested = dissected(data).pieces
    assert len(nested) == 2
    for piece in (outer, *nested):
        *_, (opcode, _, position) = pickletools.genops(piece.data)
        assert opcode.name == "STOP"
        assert position == len(piece.data) - 1
        assert all(piece.data[at] == data[piece.offset(at)] for at in range(len(piece.data)))
    seen = {outer.offset(at) for at in range(len(outer.data))}
    seen |= {piece.start + at for piece in nested for at in range(len(piece.data))}
    arrays = {at for _, one in outer.cuts if not one.nested for at in range(one.begin, one.end)}
    assert seen.isdisjoint(arrays)
    assert seen | arrays == set(range(len(data)))


def test_what_fickling_cannot_follow_is_neither_agreed_on_nor_a_finding() -> None:
    found = dissected(written(deque([np.arange(3.0), "x"])))
    opinion, difference = secondopinion.second_opinion(found)
    assert difference is None
    assert (opinion.examined, opinion.agrees) == (False, None)
    assert opinion.reason is not None
    assert "0x" not in opinion.reason
    # It read the opcodes all the same, and these are compared.
    assert found.trace is not None
    assert opinion.opcodes == found.trace.opcodes
    lie = replace(found, trace=replace(found.trace, opcodes=1))
    _, difference = secondopinion.second_opinion(lie)
    assert difference is not None


def test_it_is_not_asked_unless_wanted(signed: Path) -> None:
    report = safeload.scan(signed)
    assert report.second_opinion is None
    assert "second_opinion" not in report.to_dict()


# ------------------------------------------------------------------------------------------------- hostile


def test_both_see_what_runs_code_and_neither_runs_it(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "model.pkl"
    path.write_bytes(stream(call(glob("os", "system"), f"touch {marker}")))
    report = safeload.scan(path, deep=True)
    assert "SL405" in [finding.code for finding in report.findings]
    opinion = report.second_opinion
    assert opinion is not None
    assert opinion.agrees
    assert opinion.severity in ("LIKELY_OVERTLY_MALICIOUS", "OVERTLY_MALICIOUS")
    assert any("os import system" in message for _, message in opinion.remarks)
    assert not marker.exists()


def test_of_what_the_scanner_refuses_to_follow_it_says_what_it_can(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(stream(call(glob("os", "system"), "id"), pickle.POP, pickle.NONE))
    report = safeload.scan(path, deep=True)
    assert "SL303" in [finding.code for finding in report.findings]
    opinion = report.second_opinion
    assert opinion is not None
    assert opinion.agrees is None
    assert opinion.reason == "the scan did not understand all of it"
    assert any("os import system" in message for _, message in opinion.remarks)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"not a pickle",
        b"BZh9 damaged",
        b"ZF0x10",
        proto(4) + b"\xff" * 99,
        stream(pickle.NONE) + b"more",
        stream(glob("os", "no such name")),
        padded(proto(4) + frame(new(glob("joblib.numpy_pickle", "NumpyArrayWrapper"))), b"")[:60],
        written(np.arange(9.0))[:-20],
        proto(4) + pickle.LIST * 3,
    ],
)  # fmt: skip
def test_what_is_broken_is_refused_and_never_agreed_on(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(data)
    report = safeload.scan(path, deep=True)
    assert not report.allowed
    assert report.second_opinion is not None
    assert not report.second_opinion.agrees
    assert report.second_opinion.reason


def test_a_bomb_for_its_printer_takes_no_longer_than_it_is_given() -> None:
    body = pickle.EMPTY_TUPLE + pickle.MEMOIZE
    for level in range(60):
        body += pickle.BINGET + bytes([level]) + pickle.TUPLE2 + pickle.MEMOIZE
    data = stream(glob("os", "system"), pickle.MEMOIZE, body + pickle.TUPLE1 + pickle.REDUCE)
    found = dissected(data)
    assert found.complete
    opinion, difference = secondopinion.second_opinion(found, seconds=2)
    assert difference is None
    assert not opinion.examined
    assert opinion.reason is not None
    # By its own bounds, of memory or of time: of what goes on without end, the suite's timeout tells.
    assert opinion.reason.startswith(("its process ended", "it took longer than 2 seconds"))


# ------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        ({"seconds": 0.001}, "it took longer than 0.001 seconds"),
        ({"memory": 1 << 20}, "its process ended"),
    ],
)
def test_without_an_answer_it_says_so(ask: dict[str, Any], reason: str) -> None:
    opinion, difference = secondopinion.second_opinion(dissected(written(OBJECTS)), **ask)
    assert difference is None
    assert (opinion.examined, opinion.agrees, opinion.severity) == (False, None, None)
    assert opinion.reason is not None
    assert opinion.reason.startswith(reason)


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        ({"max_bytes": 100}, "the pickle without its arrays has more than 100 bytes"),
        ({"max_opcodes": 10}, "it has more than 10 opcodes"),
    ],
)
def test_what_is_too_large_is_not_examined(bounds: dict[str, int], reason: str) -> None:
    found = dissected(written(OBJECTS), **bounds)
    opinion, difference = secondopinion.second_opinion(found)
    assert difference is None
    assert (opinion.examined, opinion.agrees, opinion.reason) == (False, None, reason)
    with pytest.raises(secondopinion.Unanswered, match="more than"):
        secondopinion.decompile(found)


# ------------------------------------------------------------------------------------------------- disagreement


def without(events: tuple[Any, ...], kind: str) -> tuple[Any, ...]:
    index = next(index for index, event in enumerate(events) if event[0] == kind)
    return events[:index] + events[index + 1 :]


def renamed(events: tuple[Any, ...]) -> tuple[Any, ...]:
    index = next(index for index, event in enumerate(events) if event[0] == "global")
    return (*events[:index], ("global", "builtins", "list"), *events[index + 1 :])


LIES = {
    "a global that was not seen": lambda trace: replace(trace, events=without(trace.events, "global")),
    "a call that was not seen": lambda trace: replace(trace, events=without(trace.events, "call")),
    "an object that was not seen": lambda trace: replace(trace, events=without(trace.events, "new")),
    "a state that was not seen": lambda trace: replace(trace, events=without(trace.events, "state")),
    "another name": lambda trace: replace(trace, events=renamed(trace.events)),
    "a global that is not there": lambda trace: replace(trace, events=(*trace.events, ("global", "os", "system"))),
    "an opcode that was not seen": lambda trace: replace(trace, opcodes=trace.opcodes - 1),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("plain", [False, True], ids=["joblib", "pickle"])
def test_where_the_two_differ_it_is_a_finding(pipeline: Any, lie: str, plain: bool) -> None:
    found = dissected(written([pipeline, OBJECTS], plain=plain))
    opinion, difference = secondopinion.second_opinion(replace(found, trace=LIES[lie](found.trace)))
    assert opinion.agrees is False
    assert difference is not None
    assert difference.code == "SL325"


@pytest.mark.parametrize("kind", ["array", "nested"])
def test_an_array_in_the_wrong_place_is_a_finding(kind: str) -> None:
    found = dissected(written(OBJECTS))
    outer = found.pieces[0]
    assert found.trace is not None
    at, one = next((at, one) for at, one in outer.cuts if one.nested == (kind == "nested"))
    # As if the array had one byte less, which is then an opcode.
    data = outer.data[:at] + b"." + outer.data[at:]
    opinion, difference = secondopinion.second_opinion(
        replace(found, pieces=(replace(outer, data=data), *found.pieces[1:]))
    )
    assert opinion.agrees is False
    assert difference is not None
    assert difference.code == "SL325"
    assert difference.offset is not None
    assert difference.offset >= one.begin


# ------------------------------------------------------------------------------------------------- command line


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAFELOAD_KEYRING", str(tmp_path / "none.toml"))
    path = tmp_path / "model.joblib"
    path.write_bytes(written(OBJECTS))
    return path


def test_scan_deep_shows_it(saved: Path, run: Callable[..., Outcome]) -> None:
    code, out, _ = run("scan", "--deep", saved)
    assert code == 0
    assert "reads the same" in out
    assert "its own judgement: " in out
    code, out, _ = run("scan", "--deep", "--format", "json", saved)
    (result,) = json.loads(out)["results"]
    opinion = result["second_opinion"]
    assert opinion["tool"] == "fickling"
    assert (opinion["examined"], opinion["agrees"], opinion["reason"]) == (True, True, None)
    assert opinion["opcodes"] == result["opcodes"]
    assert "second_opinion" not in run("scan", "--format", "json", saved).document["results"][0]


def test_scan_deep_in_several_processes(saved: Path, run: Callable[..., Outcome]) -> None:
    for name in ("a.joblib", "b.joblib"):
        saved.with_name(name).write_bytes(saved.read_bytes())
    code, out, _ = run("scan", "--deep", "--jobs", "2", "--format", "json", saved.parent)
    assert code == 0
    assert [one["second_opinion"]["agrees"] for one in json.loads(out)["results"]] == [True] * 3


def test_inspect_decompiles(saved: Path, run: Callable[..., Outcome]) -> None:
    code, out, _ = run("inspect", "--decompile", saved)
    assert code == 0
    assert "  from joblib.numpy_pickle import NumpyArrayWrapper\n" in out
    assert out.count("# nested pickle, the objects of an array, at byte ") == 2
    assert "\x1b" not in out
    (result,) = run("inspect", "--decompile", "--format", "json", saved).document["results"]
    assert result["program"]["reason"] is None
    assert [one["nested"] for one in result["program"]["pickles"]] == [False, True, True]
    assert all(one["whole"] and one["text"] for one in result["program"]["pickles"])


def test_what_is_decompiled_is_bounded() -> None:
    programs = secondopinion.decompile(dissected(written(OBJECTS)), characters=300)
    assert 0 < sum(len(one.text) for one in programs) <= 300
    assert not programs[-1].whole


def test_inspect_shows_the_opcodes(saved: Path, run: Callable[..., Outcome]) -> None:
    code, out, _ = run("inspect", "--opcodes", saved)
    assert code == 0
    assert "# new: joblib.numpy_pickle.NumpyArrayWrapper\n" in out
    assert "# numpy.dtype\n" in out
    assert "\x1b" not in out
    (result,) = run("inspect", "--opcodes", "--format", "json", saved).document["results"]
    lines = result["disassembly"]["opcodes"]
    names = [line["opcode"] for line in lines]
    assert names.count("(array)") == 3
    assert names.count("(nested pickle)") == 2
    assert sum(not name.startswith("(") for name in names) == result["opcodes"]
    data = saved.read_bytes()
    by_name = {opcode.name: opcode.code.encode("latin-1") for opcode in pickletools.opcodes}
    offsets = [line["offset"] for line in lines]
    assert offsets == sorted(offsets)
    for line in lines:
        if line["opcode"] in by_name:
            assert data[line["offset"] : line["offset"] + 1] == by_name[line["opcode"]]
    noted = [line for line in lines if line["opcode"] in ("GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD")]
    assert all(line["note"] for line in noted)


def test_inspect_shows_the_opcodes_of_what_it_refuses(tmp_path: Path, run: Callable[..., Outcome]) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(stream(text("\x1b[2J" + "x" * 999), pickle.POP, glob("os", "system")) + b"more")
    code, out, _ = run("inspect", "--opcodes", "--decompile", path)
    assert code == 1
    assert "\x1b" not in out
    assert "… (1003 characters)" in out
    assert "(not understood) 4 bytes after the end" in out
    assert "from os import system" in out


def test_fickling_stays_out_of_this_process_and_is_not_taken_from_the_working_directory(saved: Path) -> None:
    (saved.parent / "fickling.py").write_text("raise SystemExit(9)")
    code = (
        "import sys, safeload\n"
        f"opinion = safeload.scan({str(saved)!r}, deep=True).second_opinion\n"
        "print(opinion.agrees, opinion.version, 'fickling' in sys.modules)"
    )
    command = [sys.executable, "-P", "-c", code]
    result = subprocess.run(command, cwd=saved.parent, capture_output=True, text=True, check=True)
    agrees, version, here = result.stdout.split()
    assert (agrees, here) == ("True", "False")
    assert version.startswith("0.")


def test_the_scan_is_the_same_with_and_without_its_events() -> None:
    data = written(OBJECTS)
    assert codes(data) == []
    assert replace(scan(data, "sklearn", record=True), events=()) == scan(data, "sklearn")
