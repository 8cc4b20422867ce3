"""The processes that the fuzzer feeds: one that scans, and one that loads what was allowed.

    python -P -m fuzz.worker scan     # with the scanner of this interpreter's safeload, compiled or not
    python -P -m fuzz.worker load     # joblib's own unpickler, instrumented (tools/pickles/oracle.py)

On standard input: length (4 bytes) and artifact, again and again.  On standard output: length and JSON for each.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import struct
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_SCAN_SECONDS = 5  # of processor time for one artifact
_SCAN_MEMORY = 256 << 20  # above what the process takes when it idles
_LOAD_SECONDS = 20
_LOAD_MEMORY = 4 << 30


# ---------------------------------------------------------------------------------------------------- scanning


class Scanner:
    """The scanner that this interpreter imports, as `safeload.scan` uses it."""

    def __init__(self, policy: str) -> None:
        from safeload._judging.criteria import Criteria
        from safeload._scan import COMPILED

        self.compiled = COMPILED
        self._criteria = Criteria.of(policy)

    def __call__(self, data: bytes) -> dict[str, Any]:
        """Return the report and what else was seen; of what is allowed, everything in order."""
        from safeload._judging.examine import examine

        stream: Any = io.BufferedReader(io.BytesIO(data))
        report, trace = examine(stream, Path("artifact"), len(data), self._criteria)
        seen: dict[str, Any] = {
            "report": report.to_dict(),
            "end": trace.end,
            "sklearn": trace.sklearn_versions,
            "uses": [[use.named_as, use.seen_args, use.seen_state] for use in trace.globals],
        }
        if report.allowed:
            seen["events"] = self.events(data)
        return seen

    def events(self, data: bytes) -> list[tuple[Any, ...]]:
        """Return what the scanner sees in order."""
        from safeload._scan import scan_stream
        from safeload._scan.sources import open_source

        limits = self._criteria.limits
        source, _ = open_source(
            io.BytesIO(data), len(data), max_unpacked=limits.max_unpacked, max_ratio=limits.max_ratio
        )
        return list(scan_stream(source, self._criteria.policy, limits, record=True).events)


# ----------------------------------------------------------------------------------------------------- loading

# What no allowed artifact may do, whatever else loading does.
_STEPS_OUT = ("os.", "subprocess.", "socket.", "shutil.", "ctypes.", "urllib.", "ftplib.", "smtplib.", "webbrowser.")
_HARMLESS = {"os.listdir", "os.scandir", "os.putenv", "os.unsetenv"}  # what importing does


class Loader:
    """Loads with joblib's unpickler and tells what that did."""

    def __init__(self) -> None:
        from pickles import oracle

        self._oracle = oracle
        self._stepped: list[str] = []
        self._loading = False
        self._folder = tempfile.TemporaryDirectory(prefix="safeload-fuzz-")
        self._path = Path(self._folder.name, "artifact")
        os.chdir(self._folder.name)
        warnings.simplefilter("ignore")
        import numpy as np

        np.seterr(all="ignore")
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._loading:
            return
        opened = event == "open" and (args[1] is None or set(str(args[1])) & set("wax+"))
        if (event.startswith(_STEPS_OUT) and event not in _HARMLESS) or opened:
            self._stepped.append(f"{event} {args!r}"[:300])
            raise RuntimeError("stepped outside")

    def __call__(self, data: bytes) -> dict[str, Any]:
        """Load an artifact; its first byte says whether to map its arrays."""
        mapped, data = data[:1] == b"m", data[1:]
        self._path.write_bytes(data)
        self._stepped.clear()
        with self._path.open("rb") as file:
            return self._load(file, "r" if mapped else None)

    def _load(self, file: Any, mmap_mode: str | None) -> dict[str, Any]:
        from joblib import numpy_pickle_utils as utils

        opened = getattr(utils, "_validate_fileobject_and_memmap", None)
        failed: dict[str, Any] | None = None
        if opened is not None:
            context = opened(file, str(self._path), mmap_mode)
        else:  # joblib before 1.5
            context = utils._read_fileobject(file, str(self._path), mmap_mode)  # noqa: SLF001
        with context as found:
            # joblib before 1.5 tries to map what is compressed, and fails.
            stream, mode = found if isinstance(found, tuple) else (found, mmap_mode if found is file else None)
            unpickler = self._oracle.OracleUnpickler(stream, str(self._path), mode)
            log = unpickler.log
            self._loading = True
            try:
                self._oracle.run(unpickler)
            except MemoryError:
                failed = {"kind": "memory", "what": ""}
            except BaseException as error:  # noqa: BLE001  # whatever an allowed class raises
                failed = {"kind": _blame(error), "what": f"{type(error).__name__}: {error}"[:300]}
                failed["trace"] = traceback.format_exception(error)[-6:]
            finally:
                self._loading = False
            end = -1 if failed else stream.tell()
            left = None if failed else len(stream.read(1))
        return {
            "events": log.events,
            "first": [[*one, *two] for one, two in log.first.items() if one != two],
            "imported": sorted(log.imported()),
            "failed": failed,
            "end": end,
            "left": left,
            "stepped": list(self._stepped),
        }


# Where pickle calls what the artifact names: what is raised from there is what an allowed class makes of its arguments.
_CALLS = {
    "find_class", "load_reduce", "load_newobj", "load_newobj_ex", "load_build", "load_append", "load_appends",
    "load_setitem", "load_setitems", "load_additems", "load_frozenset", "load_dict",
}  # fmt: skip


def _blame(error: BaseException) -> str:
    """Say whether a class raised, or pickle itself, which means that the stream was not what the scanner saw."""
    for summary in reversed(traceback.extract_tb(error.__traceback__)):
        name = Path(summary.filename).name
        if name in ("pickle.py", "oracle.py", "numpy_pickle.py", "numpy_pickle_utils.py"):
            return "class" if name == "pickle.py" and summary.name in _CALLS else "pickle"
    return "pickle"


# ------------------------------------------------------------------------------------------------------ serving


def _memory_in_use() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


def serve(work: Callable[[bytes], dict[str, Any]], seconds: int) -> None:
    """Answer until the input ends; a process that takes too long is killed by SIGPROF."""
    source, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    while len(head := source.read(4)) == 4:
        data = source.read(struct.unpack("<I", head)[0])
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer = work(data)
        except BaseException as error:  # noqa: BLE001  # which is what is looked for
            answer = {"crash": "".join(traceback.format_exception(error))[-3000:]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        body = json.dumps(answer, default=list).encode()
        answers.write(struct.pack("<I", len(body)) + body)
        answers.flush()


def main() -> None:
    """Serve as what the first argument says."""
    if sys.argv[1] == "load":
        loader = Loader()
        resource.setrlimit(resource.RLIMIT_AS, (_LOAD_MEMORY, _LOAD_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        serve(loader, _LOAD_SECONDS)
        return
    scanner = Scanner(sys.argv[2])
    for path in sys.argv[3:]:  # so that what is imported only when it is needed does not count
        scanner(Path(path).read_bytes())
    most = _memory_in_use() + _SCAN_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(scanner, _SCAN_SECONDS)


if __name__ == "__main__":
    main()
