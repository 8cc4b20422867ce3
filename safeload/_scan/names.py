"""What a global's name may look like, and Python 2's names for Python 3's globals."""

from __future__ import annotations

import _compat_pickle  # the tables that pickle._Unpickler.find_class itself applies
import re

__all__ = ["is_plain_module", "is_plain_name", "python3_name"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}", re.ASCII)
_MODULE = re.compile(rf"{_NAME.pattern}(?:\.{_NAME.pattern})*", re.ASCII)


def is_plain_name(name: str) -> bool:
    """Tell whether `name` is one ASCII identifier: from protocol 4 on, dots would be resolved one by one."""
    return _NAME.fullmatch(name) is not None and not (name.startswith("__") and name.endswith("__"))


def is_plain_module(module: str) -> bool:
    """Tell whether `module` is ASCII identifiers joined by dots."""
    return len(module) < 512 and _MODULE.fullmatch(module) is not None


def python3_name(module: str, name: str) -> tuple[str, str]:
    """Map a name as pickle._Unpickler.find_class does below protocol 3."""
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[(module, name)]
    if module in _compat_pickle.IMPORT_MAPPING:
        return _compat_pickle.IMPORT_MAPPING[module], name
    return module, name
