"""The table of a pair's states: every row, and that reader and writer do on the disk what it says."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from safeload._internal.blob import read_bytes
from safeload._storage.opening import with_pair
from safeload._storage.pair import manifest_path, next_path, signing, writing
from safeload._storage.states import MANIFEST_SUFFIX, NEXT_SUFFIX, STATES, Match, ToDo, state_of
from safeload.errors import DigestMismatchError, UnsignedError, VerificationError

if TYPE_CHECKING:
    from pathlib import Path

    from safeload._internal.blob import Blob

SEEN = (Match.ABSENT, Match.OTHER, Match.OWN)


def belongs(manifest: bytes, blob: Blob) -> bool:
    return manifest == b"of " + read_bytes(blob, 0, blob.size)


def use(blob: Blob, manifest: bytes) -> bytes:
    if not belongs(manifest, blob):
        raise DigestMismatchError(f"{manifest!r} is of another artifact")
    return manifest


def read_by_table(manifest: Match, next_manifest: Match) -> tuple[list[str], str | None]:
    """What a reader opens in this state, and what it ends with."""
    there = {MANIFEST_SUFFIX: manifest, NEXT_SUFFIX: next_manifest}
    seen = {MANIFEST_SUFFIX: Match.UNSEEN, NEXT_SUFFIX: Match.UNSEEN}
    opened = []
    while (suffix := state_of(seen[MANIFEST_SUFFIX], seen[NEXT_SUFFIX]).read) is not None:
        opened.append(suffix)
        seen[suffix] = there[suffix]
    return opened, state_of(seen[MANIFEST_SUFFIX], seen[NEXT_SUFFIX]).belongs


def test_the_table_has_every_state() -> None:
    assert set(STATES) == set(itertools.product(Match, repeat=2))


@pytest.mark.parametrize(("manifest", "next_manifest"), list(itertools.product(Match, repeat=2)))
def test_every_row_holds_together(manifest: Match, next_manifest: Match) -> None:
    state = state_of(manifest, next_manifest)
    known = {MANIFEST_SUFFIX: manifest, NEXT_SUFFIX: next_manifest}
    if state.belongs is not None:
        assert known[state.belongs] is Match.OWN
        assert state.read is None
    if state.read is not None:
        assert known[state.read] is Match.UNSEEN, "a reader opens nothing twice"
    if state.belongs is None and state.read is None:
        assert Match.OWN not in known.values(), "a manifest that belongs to the artifact was left out"
        assert Match.UNSEEN not in known.values()
    # A writer looks at the next manifest alone, so the manifest decides nothing.
    expected = {
        Match.UNSEEN: ToDo.LOOK,
        Match.ABSENT: ToDo.NOTHING,
        Match.OTHER: ToDo.REMOVE,
        Match.OWN: ToDo.FINISH,
    }
    assert state.todo is expected[next_manifest]


@pytest.mark.parametrize(("manifest", "next_manifest"), list(itertools.product(SEEN, repeat=2)))
def test_what_a_writer_does_changes_nothing_for_readers(manifest: Match, next_manifest: Match) -> None:
    _, before = read_by_table(manifest, next_manifest)
    todo = state_of(next_manifest=next_manifest).todo
    after = (next_manifest, Match.ABSENT) if todo is ToDo.FINISH else (manifest, Match.ABSENT)
    _, belonging = read_by_table(*after)
    assert (before is None) == (belonging is None)
    assert belonging in (None, MANIFEST_SUFFIX)


def test_readers_of_a_whole_pair_open_one_manifest() -> None:
    for next_manifest in SEEN:
        assert read_by_table(Match.OWN, next_manifest) == ([MANIFEST_SUFFIX], MANIFEST_SUFFIX)


@pytest.mark.parametrize("signs", [False, True], ids=["writing", "signing"])
@pytest.mark.parametrize("artifact", [None, "old", "new"])
@pytest.mark.parametrize(("manifest", "next_manifest"), list(itertools.product([None, "old", "new", "none"], repeat=2)))
def test_reader_and_writer_on_the_disk(
    tmp_path: Path, artifact: str | None, manifest: str | None, next_manifest: str | None, signs: bool
) -> None:
    path = tmp_path / "model.joblib"
    contents = {path: artifact, manifest_path(path): manifest, next_path(path): next_manifest}
    for place, content in contents.items():
        if content is not None:
            place.write_bytes((b"" if place == path else b"of ") + content.encode())

    def match(content: str | None) -> Match:
        if content is None:
            return Match.ABSENT
        return Match.OWN if content == artifact else Match.OTHER

    _, belonging = read_by_table(match(manifest), match(next_manifest))
    todo = state_of(next_manifest=match(next_manifest)).todo

    def read() -> bytes | type[Exception]:
        try:
            return with_pair(path, use)
        except (VerificationError, FileNotFoundError) as error:
            return type(error)

    if artifact is None:
        expected: bytes | type[Exception] = FileNotFoundError
    elif belonging is not None:
        expected = f"of {artifact}".encode()
    else:  # what is said of the manifest says more than what is said of the next one
        expected = UnsignedError if manifest is None else DigestMismatchError
    assert read() == expected
    if signs and artifact is None:
        return
    with (signing if signs else writing)(path, overwrite=True, belongs=belongs):
        pass  # it does no more than to settle what another writer left
    left = {place.name.removeprefix(path.name): place.read_bytes() for place in tmp_path.iterdir()}
    settled = next_manifest if todo is ToDo.FINISH else manifest
    assert left.pop("", None) == (None if artifact is None else artifact.encode())
    assert left == ({} if settled is None else {MANIFEST_SUFFIX: f"of {settled}".encode()})
    if belonging is not None:
        assert read() == expected
