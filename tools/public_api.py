"""Print the public API: names, signatures, attributes. Kept in tests/api/public_api.txt, which a test compares.

python tools/public_api.py > tests/api/public_api.txt
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = (
    "safeload", "safeload.keys", "safeload.policy", "safeload.store", "safeload.audit", "safeload.errors",
    "safeload.findings",
)  # fmt: skip


def lines() -> Iterator[str]:
    for module in MODULES:
        found = importlib.import_module(module)
        yield f"# {module}"
        for name in sorted(found.__all__):
            yield from described(f"{module}.{name}", getattr(found, name))
        yield ""


def described(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {name}({bases})"
        init = value.__dict__.get("__init__")
        if init is not None and not issubclass(value, BaseException):
            yield f"    __init__{inspect.signature(init)}"
        fields = {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
        for attribute in sorted(set(vars(value)) | fields):
            if not attribute.startswith("_"):
                yield f"    {attribute}{form(value, attribute)}"
    elif callable(value):
        yield f"def {name}{inspect.signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def form(owner: type, attribute: str) -> str:
    found = inspect.getattr_static(owner, attribute, None)
    found = found.__func__ if isinstance(found, classmethod | staticmethod) else found
    if isinstance(found, property):
        found = found.fget
        return f" -> {inspect.signature(found).return_annotation}" if found is not None else ""
    return str(inspect.signature(found)) if inspect.isfunction(found) else ""


if __name__ == "__main__":
    print("\n".join(lines()))
