"""The directive `commands`: the reference of every command, made from the click commands when the site is built."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import click
from docutils import nodes
from docutils.parsers.rst import Directive

from safeload._cli import _cli

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx


class Commands(Directive):  # type: ignore[misc]  # docutils has no types
    """One section per command, with usage, description, arguments and options."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        return [_section(command, path) for command, path in _walk(_cli, ("safeload",))]


def _walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[click.Command, tuple[str, ...]]]:
    """Yield every command below this one, in the order of its name."""
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            child = command.commands[name]
            yield child, (*path, name)
            yield from _walk(child, (*path, name))


def _section(command: click.Command, path: tuple[str, ...]) -> nodes.section:
    title = " ".join(path)
    context = click.Context(command, info_name=title)
    section = nodes.section(ids=[nodes.make_id(title)], names=[nodes.fully_normalize_name(title)])
    section += nodes.title(title, title)
    usage = " ".join([title, *command.collect_usage_pieces(context)])
    section += nodes.literal_block(usage, usage, language="text")
    for part in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        section += _paragraph(part)
    if isinstance(command, click.Group):
        return section
    options = [record for option in command.get_params(context) if (record := option.get_help_record(context))]
    section += _definitions(options)
    return section


def _definitions(records: list[tuple[str, str]]) -> nodes.definition_list:
    listing = nodes.definition_list()
    for names, text in records:
        item = nodes.definition_list_item()
        item += nodes.term("", "", nodes.literal(names, names))
        item += nodes.definition("", _paragraph(text))
        listing += item
    return listing


def _paragraph(text: str) -> nodes.paragraph:
    """Return a paragraph in which `these` are code."""
    paragraph = nodes.paragraph()
    for number, piece in enumerate(re.split(r"`([^`]+)`", " ".join(text.replace("\b", "").split()))):
        paragraph += nodes.literal(piece, piece) if number % 2 else nodes.Text(piece)
    return paragraph


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
