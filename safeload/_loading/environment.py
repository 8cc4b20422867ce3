"""Whether an artifact that is allowed would load here: the names that it uses, and layouts that changed.

Loading says so only in the middle of it, in the words of whatever class fails first. Here the installed packages are
looked at instead. Nothing is imported, unless only that can tell; then it is a module that the policy allows, which
loading would import, too.
"""

from __future__ import annotations

import functools
import importlib
import mmap
import re
import sys
import warnings
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safeload._loading.unpickle import home_of
from safeload._loading.versions import distribution_of, installed_version
from safeload.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.machinery import ModuleSpec

    from safeload._scan import Trace
    from safeload.policy import Policy

__all__ = ["why_not_here"]

# Modules that only some versions of scikit-learn have, where the manifest may name no version at all.
_KNOWN_VERSIONS = {"_loss": "1.5 to 1.8"}


def why_not_here(trace: Trace, policy: Policy, packages: Mapping[str, str]) -> Iterator[Finding]:
    """Yield every reason why loading would fail in this environment, though the artifact is allowed.

    `packages` are the versions that wrote it, by distribution, as far as they are known.
    """
    written = dict(packages)
    if "scikit-learn" not in written and trace.sklearn_versions:
        written["scikit-learn"] = trace.sklearn_versions[-1]
    missing: dict[str, list[str]] = {}
    for use in trace.globals:
        found = _look_up(use.module, use.qualname)
        if found == "no name":
            missing.setdefault(use.module, []).append(use.qualname)
        elif found == "no module":
            missing[use.module] = []
    for module, names in missing.items():
        distribution = distribution_of(home_of(module))
        yield Finding(
            "SL604" if names else "SL603",
            f"{_installed(distribution)} has no {', '.join(names)} in {module}"
            if names
            else f"{_installed(distribution)} has no module {module}",
            global_name=f"{module}.{names[0]}" if len(names) == 1 else None,
            advice=_advice(distribution, _KNOWN_VERSIONS.get(module) or written.get(distribution)),
        )
    for distribution, version, what in trace.layouts:
        installed = installed_version(distribution)
        if installed is not None and _release(installed) >= _release(version):
            yield Finding(
                "SL605",
                f"{distribution} {installed} cannot read {what} that a version before {version} wrote",
                advice=_advice(distribution, written.get(distribution) or f"before {version}"),
            )
    for event in sorted(policy.missing_events(use.name for use in trace.globals)):
        yield Finding("SL606", f"policy {policy.name!r} does not grant {event!r}, which loading it raises")


def _installed(distribution: str) -> str:
    version = installed_version(distribution)
    return "this environment" if version is None else f"the installed {distribution} {version}"


def _advice(distribution: str, version: str | None) -> str:
    install = f"Install {distribution} {version}" if version else f"Install the package that has it ({distribution})"
    return f"{install}, or train and save the model again here. To check without loading: --any-environment."


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


# ------------------------------------------------------------------------------------- what a module has


@functools.lru_cache(maxsize=4096)  # what is installed does not change while this process runs
def _look_up(module: str, name: str) -> str:
    """Return "here", "no module" or "no name"."""
    home = home_of(module)
    loaded = sys.modules.get(home)
    if loaded is not None:
        return "here" if _has(loaded, name) else "no name"
    spec = _spec(home)
    if spec is None:
        return "no module"
    if _shows(spec, name):
        return "here"
    try:
        return "here" if _has(importlib.import_module(home), name) else "no name"
    except (Exception, SystemExit):  # noqa: BLE001 - a module may raise anything while it is imported
        return "no module"


def _has(module: Any, name: str) -> bool:
    if name in vars(module):
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a name is deprecated is no reason not to load
        return hasattr(module, name)


def _spec(module: str) -> ModuleSpec | None:
    """Return where a module is, without importing its package, as importlib.util.find_spec would."""
    path = None
    package = module.rpartition(".")[0]
    if package:
        above = sys.modules.get(package)
        if above is not None:
            path = getattr(above, "__path__", None)
        else:
            found = _spec(package)
            path = found.submodule_search_locations if found is not None else None
        if path is None:
            return None
    for finder in sys.meta_path:
        spec = finder.find_spec(module, path)
        if spec is not None:
            return spec
    return None


def _shows(spec: ModuleSpec, name: str) -> bool:
    """Return whether the file of a module that is not imported shows that it has a name; it may have it without."""
    file = spec.origin or ""
    try:
        if file.endswith(".py"):
            return _defines(file, name)
        return file.endswith(tuple(EXTENSION_SUFFIXES)) and _mentions(file, name)
    except (OSError, ValueError):
        return False


def _defines(file: str, name: str) -> bool:
    return re.search(rb"^(?:class|def) " + name.encode() + rb"\b", Path(file).read_bytes(), re.MULTILINE) is not None


def _mentions(file: str, name: str) -> bool:
    """Return whether an extension module has a type or function of this name: those are in it as C texts."""
    with Path(file).open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        text = name.encode()
        return any(data.find(before + text + b"\0") >= 0 for before in (b"\0", b"."))
