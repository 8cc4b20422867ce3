"""How a policy is named: by a text with commas, by SAFELOAD_POLICY, or by the table of a pyproject.toml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safeload.errors import PolicyFileError
from safeload.policy._parse import is_pack_name, policy_document, read_policy_text

__all__ = ["DEFAULT_POLICY", "POLICY_VARIABLE", "default_policy", "expanded", "split_names"]

POLICY_VARIABLE = "SAFELOAD_POLICY"
DEFAULT_POLICY = "sklearn"
_PROJECT_FILE = "pyproject.toml"


def default_policy() -> str:
    """Return the names of the policies that are used where none is given, separated by commas.

    Raises:
        PolicyFileError: `SAFELOAD_POLICY` is empty.
    """
    named = os.environ.get(POLICY_VARIABLE)
    if named is None:
        return DEFAULT_POLICY
    if not named.strip():  # another policy than the one that was meant would be a guess
        raise PolicyFileError(
            f"{POLICY_VARIABLE} is set but empty", advice="Unset it, or let it name a pack or a policy file."
        )
    return named


def split_names(text: str) -> list[str]:
    """Return the names of a text with commas; an empty one is kept, and is an error where it is loaded."""
    return [name.strip() for name in text.split(",")]


def expanded(source: str | Path) -> list[str | Path]:
    """Return the policies that a name stands for: itself, or those that a pyproject.toml lists.

    Raises:
        PolicyFileError: the pyproject.toml cannot be read, or its `[tool.safeload]` is not valid.
    """
    if Path(source).name != _PROJECT_FILE:
        return [source]
    path = Path(source)
    document = policy_document(read_policy_text(path), str(path))
    table: Any = document.get("tool", {})
    table = table.get("safeload", {}) if isinstance(table, dict) else {}
    names = table.get("policy") if isinstance(table, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise PolicyFileError(
            f"{path}: it names no policy", advice='Add: [tool.safeload] with policy = ["sklearn", "pandas"]'
        )
    if table.keys() != {"policy"}:
        raise PolicyFileError(
            f"{path}: [tool.safeload] has only the key policy, not {min(table.keys() - {'policy'})!r}"
        )
    if any(Path(name).name == _PROJECT_FILE for name in names):
        raise PolicyFileError(f"{path}: [tool.safeload] lists packs and policy files, not another {_PROJECT_FILE}")
    return [name if is_pack_name(name) else path.parent / name for name in names]
