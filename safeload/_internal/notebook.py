"""How values show themselves in notebooks: a small table, in which every text is escaped."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["facts_table"]


def facts_table(title: str, facts: Iterable[tuple[str, object]]) -> str:
    """Return HTML with a title and a row for each fact; facts that are None or "" are left out."""
    rows = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left;white-space:pre-wrap">{html.escape(str(value))}</td></tr>'
        for name, value in facts
        if value not in (None, "")
    )
    return f"<table><caption>{html.escape(title)}</caption><tbody>{rows}</tbody></table>"
