"""What wrote an artifact, and how that differs from what is installed here."""

from __future__ import annotations

import functools
import platform
import sys
import warnings
from typing import TYPE_CHECKING

from safeload._scan import OWN
from safeload.errors import VersionMismatchError, VersionMismatchWarning
from safeload.policy import pack_distributions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from safeload._internal.files import PathLike

__all__ = [
    "UNKNOWN",
    "check_versions",
    "distribution_of",
    "failed_load",
    "installed_packages",
    "installed_version",
    "version_mismatches",
    "warn_caller",
]

UNKNOWN = "unknown"  # in a manifest: the signer did not write the artifact, and cannot tell

# What every artifact depends on; the rest is told by the globals that it names.
_ALWAYS = ("joblib", "numpy", "scikit-learn")
_DISTRIBUTIONS = {"sklearn": "scikit-learn", "skimage": "scikit-image"}  # of others, their packs say it
# scikit-learn warns of any other version of itself (InconsistentVersionWarning); of the others a pickle holds
# names and layouts, which change with minor releases at most.
_EXACT = frozenset({"scikit-learn"})


def installed_packages(modules: Iterable[str]) -> dict[str, str]:
    """Return the versions installed of the distributions that these modules come from, by distribution name."""
    tops = {module.split(".")[0] for module in modules}
    wanted = {*_ALWAYS, *map(distribution_of, tops)}
    found = {}
    for name in sorted(wanted):
        installed = installed_version(name)
        if installed is not None:  # else the standard library, or a module of the user's own
            found[name] = installed
    return found


def distribution_of(module: str) -> str:
    """Return the name of the distribution that a module comes from, as far as it is known."""
    top = module.partition(".")[0]
    if top in OWN:
        return _DISTRIBUTIONS.get(top, top)
    return pack_distributions().get(top) or _DISTRIBUTIONS.get(top, top)


def version_mismatches(python: str, packages: Mapping[str, str]) -> list[str]:
    """Say, a line each, where what is installed differs from what wrote the artifact."""
    return list(_mismatches(python, tuple(packages.items())))


@functools.lru_cache(maxsize=64)  # what is installed does not change while this process runs
def _mismatches(python: str, packages: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    differences = []
    if python != UNKNOWN and _minor(python) != _minor(platform.python_version()):
        differences.append(f"Python {python} wrote it, this is {platform.python_version()}")
    for name, written in packages:
        installed = installed_version(name)
        if installed is None:
            differences.append(f"{name} {written} wrote it, none is installed")
            continue
        same = written == installed if name in _EXACT else _minor(written) == _minor(installed)
        if not same:
            differences.append(f"{name} {written} wrote it, {installed} is installed")
    return tuple(differences)


def check_versions(path: str, python: str, packages: Mapping[str, str], on_mismatch: str) -> None:
    """Warn, raise or do nothing where the installed versions differ.

    Raises:
        VersionMismatchError: they differ and `on_mismatch` is "error".
    """
    if on_mismatch == "ignore":
        return
    differences = version_mismatches(python, packages)
    if not differences:
        return
    mismatch = VersionMismatchError(
        f"version mismatch: {'; '.join(differences)}",
        advice="Predictions may differ or fail. Install the versions that wrote it, or train and dump it again.",
        path=path,
    )
    if on_mismatch == "error":
        raise mismatch
    warn_caller(VersionMismatchWarning(str(mismatch)))


def failed_load(path: PathLike, error: Exception, differences: Sequence[str] | None = None) -> VersionMismatchError:
    """Return the error for an object that was allowed, and whose own code did not take what was saved.

    `differences` are those from the versions that wrote it; None where these are not known.
    """
    if differences:
        advice = f"Install the versions that wrote it, or train and save it again: {'; '.join(differences)}."
    elif differences is None:
        advice = "Install the versions of the packages that wrote it, or train and save it again."
    else:
        advice = "The installed versions are those of the manifest, so look for the fault in this class."
    return VersionMismatchError(
        f"cannot load it: its own code raised {type(error).__name__}: {error}", advice=advice, path=path
    )


def warn_caller(warning: Warning) -> None:
    """Warn at the line of the first caller outside of this package."""
    frame, level = sys._getframe(), 1  # noqa: SLF001 - warnings itself has no other way before Python 3.12
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("safeload."):
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, stacklevel=level)


@functools.cache
def installed_version(name: str) -> str | None:
    """Return the version of a distribution that is installed here; None if there is none."""
    from importlib import metadata  # here: it is slow to import

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
