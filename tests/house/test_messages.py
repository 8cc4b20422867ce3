"""Errors are raised with what happened and what to do apart; no text of one is put into another, or cut."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from safeload import errors
from safeload._cli import failures
from safeload.policy import _faults
from support.places import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APART = {
    name
    for module in (errors, failures, _faults)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, Exception)
}
# The place of the text among the arguments.
TEXT_AT = {"RefusedError": 1, "Finding": 1, "OddError": 0, "need": 1}
MODULES = sorted(PACKAGE.rglob("*.py"))


def raised(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """The calls that make an error with fields, and the fixed text of its message, with {} for all else."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in APART and node.args:
            message = node.args[0]
            parts = message.values if isinstance(message, ast.JoinedStr) else [message]
            texts = [part.value if isinstance(part, ast.Constant) else "{}" for part in parts]
            yield node, "".join(map(str, texts))


def hard(text: str) -> Iterator[str]:
    """Say why a text is hard to read at first reading."""
    if text.startswith(("what ", "whoever ")):
        yield "name the thing"
    if re.search(r"(?<!there )\b(is|are) no (?!longer\b|more\b)", text):
        yield 'write "is not a" in place of "is no"'


def found(path: Path) -> Iterator[tuple[int, str]]:
    """The line and fixed text of each finding, and of each fault that a native check names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        place = TEXT_AT.get(node.func.id) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
        if isinstance(node, ast.Call) and place is not None and len(node.args) > place:
            message = node.args[place]
            parts = message.values if isinstance(message, ast.JoinedStr) else [message]
            yield node.lineno, "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)


def faults(path: Path) -> Iterator[str]:
    for call, text in raised(path):
        at = f"{path.relative_to(PACKAGE)}:{call.lineno}"
        if text.endswith((".", "!", ":")):
            yield f"{at}: the message has a period at its end, which str() adds before the advice: {text}"
        if ". " in text:
            yield f"{at}: the message has a second sentence, which belongs into advice=: {text}"
        yield from (f"{at}: {fault}: {text}" for fault in hard(text))
        if len(call.args) != 1:
            yield f"{at}: advice, path and all else are keywords"
        for word in call.keywords:
            advice = word.value.value if word.arg == "advice" and isinstance(word.value, ast.Constant) else None
            if isinstance(advice, str) and not advice[:1].isupper():
                yield f"{at}: advice is whole sentences: {advice}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_findings_are_sentences_that_name_their_subject(path: Path) -> None:
    texts = list(found(path))
    assert [(line, text, fault) for line, text in texts for fault in hard(text)] == []
    assert [(line, text) for line, text in texts if ". " in text or text.endswith(".")] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_messages_and_advice_stand_apart(path: Path) -> None:
    assert list(faults(path)) == []


def test_the_check_finds_what_it_is_for() -> None:
    made = [text for path in MODULES for _, text in raised(path)]
    assert len(made) > 150
    assert any("{}" in text for text in made)
    assert len([text for path in MODULES for _, text in found(path)]) > 150
    assert list(hard("what it is")) != []
    assert list(hard("it is no array")) != []
