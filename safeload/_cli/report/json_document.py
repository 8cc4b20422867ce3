"""Results as one JSON document."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from safeload._cli.terminal import tool_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from safeload._cli.report.content import Content
    from safeload._cli.terminal import Painter


__all__ = [
    "SCHEMA_VERSION",
    "json_text",
    "render",
]

SCHEMA_VERSION = 1


def render(content: Content, _paint: Painter) -> str:
    """Return the facts."""
    return json_text({"command": content.command, **content.facts})


def json_text(content: Mapping[str, Any]) -> str:
    """Return a JSON document with its version and the tool's; ASCII, so that it shows and pipes anywhere."""
    head = {"schema_version": SCHEMA_VERSION, "tool": {"name": "safeload", "version": tool_version()}}
    return json.dumps({**head, **content}, indent=2, allow_nan=False) + "\n"
