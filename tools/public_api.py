"""Print the public API: names, signatures, attributes. Kept in tests/api/public_api.txt, which a test compares.

python tools/public_api.py > tests/api/public_api.txt

It fails where an annotation of the public API has a type that users cannot import from a public module.
"""

from __future__ import annotations

import builtins
import collections.abc
import dataclasses
import datetime as dt
import importlib
import inspect
import pathlib
import re
import sys
import typing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = (
    "safeload", "safeload.keys", "safeload.policy", "safeload.store", "safeload.audit", "safeload.errors",
    "safeload.findings", "safeload.guard",
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
    elif inspect.isfunction(inspect.unwrap(value)):
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


def without_address() -> Iterator[str]:
    """Return the types in annotations of the public API that no public module has, and where each is met."""
    known = {name for module in (builtins, collections.abc, dt, pathlib, typing) for name in vars(module)}
    known |= {name for module in MODULES for name in importlib.import_module(module).__all__}
    for module in MODULES:
        found = importlib.import_module(module)
        for name in found.__all__:
            for where, annotation in annotated(f"{module}.{name}", getattr(found, name)):
                for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", re.sub(r"'[^']*'|\"[^\"]*\"", "", annotation)):
                    if word not in known:
                        yield f"{word}, in {where}: {annotation}"


def annotated(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Return the annotations of a public function, or of all public members of a public class."""
    value = inspect.unwrap(value)
    if inspect.isfunction(value):
        yield from ((f"{name}({part})", str(annotation)) for part, annotation in value.__annotations__.items())
    elif inspect.isclass(value):
        fields = inspect.get_annotations(value)
        yield from (
            (f"{name}.{field}", getattr(its, "__forward_arg__", str(its)))  # a reference, in a TypedDict
            for field, its in fields.items()
            if not field.startswith("_")
        )
        for owner in value.__mro__:
            for member, found in vars(owner).items() if owner.__module__.startswith("safeload") else ():
                if member.startswith("_") and member != "__init__":
                    continue
                plain = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
                if inspect.isfunction(plain):
                    yield from annotated(f"{name}.{member}", plain)


if __name__ == "__main__":
    missing = sorted(set(without_address()))
    if missing:
        sys.exit("no public module has these types:\n" + "\n".join(missing))
    print("\n".join(lines()))
