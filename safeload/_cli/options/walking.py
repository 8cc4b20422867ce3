"""The options that say which files of a folder are looked at."""

from __future__ import annotations

import click

from safeload._cli.options.common import gathering
from safeload._cli.running.walk import Selection

__all__ = ["selection_options"]


selection_options = gathering(
    "selection",
    Selection,
    {
        "include": click.option(
            "--include",
            metavar="PATTERN",
            multiple=True,
            help="In folders, look only at files that match; may be repeated. A PATTERN with *, ? or [] matches the "
            "file's name, or its path from the folder.",
        ),
        "exclude": click.option(
            "--exclude",
            metavar="PATTERN",
            multiple=True,
            help="In folders, leave out files and folders that match; may be repeated.",
        ),
        "strict": click.option(
            "--strict", is_flag=True, help="Fail where a file is skipped, or a manifest has no artifact beside it."
        ),
        "listed": click.option(
            "--list-skipped", "listed", is_flag=True, help="List the files that are skipped, with the reasons."
        ),
    },
)
