"""Compile the pickle machine with mypyc where a C compiler is at hand, and parse the policy packs beforehand.

Everything else about the package is in pyproject.toml.  SAFELOAD_MYPYC decides:

    unset   compile if a C compiler works here, else stay pure Python
    0       stay pure Python (the py3-none-any wheel)
    1       compile or fail (the release wheels)
"""

import hashlib
import json
import os
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import Distribution, Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

# The scanner, by pattern: a new module of it is compiled without being named here.
PURE = {  # used once per artifact; bound by what they call
    "safeload/_scan/foreign.py",
    "safeload/_scan/limits.py",
    "safeload/_scan/sniff.py",
    "safeload/_scan/sources.py",
}
SCANNER = {path.as_posix() for path in Path("safeload/_scan").rglob("*.py") if path.name != "__init__.py"}
COMPILED = ["safeload/policy/_patterns.py", *sorted(SCANNER - PURE)]
# A build has none of the packages that the rest of safeload imports, and mypy's findings are not its business.
OPTIONS = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
SWITCH = os.environ.get("SAFELOAD_MYPYC", "auto")


def compiler_works() -> bool:
    with TemporaryDirectory() as scratch:
        probe = Path(scratch, "probe.c")
        probe.write_text("#include <Python.h>\nPyMODINIT_FUNC PyInit_probe(void) { return NULL; }\n")
        command = build_ext(Distribution({"ext_modules": [Extension("probe", [str(probe)])]}))
        command.build_lib = command.build_temp = scratch
        try:
            command.ensure_finalized()
            command.run()
        except Exception as error:
            stay_pure(error)
            return False
    return True


def extensions() -> list[Extension]:
    try:
        from mypyc.build import mypycify

        return mypycify([*OPTIONS, *COMPILED], opt_level="3", debug_level="0")
    except (Exception, SystemExit) as error:
        stay_pure(error)
        return []


class build_all_or_nothing(build_ext):  # type: ignore[misc]  # setuptools has no types
    """A half-built extension would shadow the .py it came from, so drop every one."""

    def build_extensions(self) -> None:
        try:
            super().build_extensions()
        except Exception as error:
            stay_pure(error)
            for extension in self.extensions:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            self.extensions: list[Extension] = []


class build_packs(build_py):  # type: ignore[misc]
    """Write what the TOML of each pack says beside it, as JSON; safeload/policy/_packs.py reads it.

    Not for a pack with what JSON cannot hold: a date.
    """

    def run(self) -> None:
        super().run()
        # An editable install uses the source tree itself; once a TOML is edited there, its JSON is not used any more.
        packs = Path("policies") if self.editable_mode else Path(self.build_lib, "safeload", "policy", "packs")
        for file in packs.glob("*.toml"):
            data = file.read_bytes()
            try:
                parsed = {"sha256": hashlib.sha256(data).hexdigest(), "document": tomllib.loads(data.decode())}
                file.with_suffix(".json").write_text(json.dumps(parsed, allow_nan=False, separators=(",", ":")))
            except (TypeError, ValueError) as error:
                file.with_suffix(".json").unlink(missing_ok=True)
                print(f"safeload: {file.name} will be parsed when it is used: {error!r}", file=sys.stderr)


def stay_pure(error: BaseException) -> None:
    if SWITCH == "1":
        raise error
    print(f"safeload: staying pure Python: {error!r}", file=sys.stderr)


wanted = SWITCH == "1" or (SWITCH == "auto" and compiler_works())
building = "bdist_wheel" in sys.argv  # never for an editable install: tests run the source

setup(
    packages=[*find_packages(include=["safeload*"]), "safeload.policy.packs"],  # the packs are in policies/
    cmdclass={"build_ext": build_all_or_nothing, "build_py": build_packs},
    setup_requires=["mypy>=2.4"] if wanted else [],
    ext_modules=extensions() if wanted and building else [],
)
