"""Run other scanners beside safeload on the vectors, and print the results as Markdown.

    python benchmarks/scanners.py --venvs FOLDER                      # installs all scanners into FOLDER
    python benchmarks/scanners.py --venvs FOLDER hayward picklescan   # only these
    python benchmarks/scanners.py --venvs FOLDER --list hayward       # this scanner's verdict on each vector
    python benchmarks/scanners.py --venvs FOLDER --time               # processor time on four models

The scanners' dependencies conflict, so each scanner is installed into a virtual environment of its own, in the version
that `SCANNERS` pins. An environment that exists is used as it is. safeload runs under the interpreter of this script,
or in FOLDER/safeload if that exists.

Each scanner is asked through its own command. The exit code is the verdict, as the scanner's documentation defines it.
The command's module is imported once, and a fresh copy of that process (a fork) judges each file. A file counts as an
error if the scanner exits with any other code, dies, or needs more than 5 s of processor time or 4 GiB of memory.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import pickle
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "vectors"
BENIGN = "files/honest/array.pkl"
PROCESSOR_SECONDS = 5
WAIT_SECONDS = 120  # for a command that waits and uses no processor time
MEMORY = 4 << 30
ROUNDS = 5

HOSTILE = {
    "code": "runs code",
    "names": "calls by name",
    "files": "opens files",
    "memory": "forges memory",
    "exhaustion": "exhausts",
    "form": "malformed",
}
ORIGINS = {"opcodes": "benign, assembled", "real": "benign, real"}


@dataclass(frozen=True, slots=True)
class Scanner:
    """A scanner's distribution and command.

    Args:
        requirements: what pip installs; the first is the scanner itself.
        command: the name of its console script.
        arguments: of the command; the file's path follows.
        refused: the exit code that its documentation gives for a dangerous file; 0 is for a harmless one.
    """

    requirements: tuple[str, ...]
    command: str
    arguments: tuple[str, ...]
    refused: int = 1

    @property
    def pinned(self) -> str:
        return self.requirements[0]


SCANNERS: dict[str, Scanner] = {
    "safeload": Scanner(("safeload",), "safeload", ("scan", "--quiet", "--policy", "sklearn")),
    "hayward": Scanner(("hayward==1.4.1",), "hayward", ("scan", "--quiet")),
    "hayward, strict": Scanner(("hayward==1.4.1",), "hayward", ("scan", "--quiet", "--fail-on-coverage")),
    # Its joblib extra holds the packages whose source it reads to judge a call.
    "modelaudit": Scanner(("modelaudit[joblib]==0.2.54",), "modelaudit", ("scan", "--no-cache")),
    "modelaudit, strict": Scanner(("modelaudit[joblib]==0.2.54",), "modelaudit", ("scan", "--strict")),
    "aisbom": Scanner(("aisbom-cli==1.7.0",), "aisbom", ("scan", "--offline", "--output", os.devnull), refused=2),
    "aisbom, strict": Scanner(
        ("aisbom-cli==1.7.0",), "aisbom", ("scan", "--offline", "--strict", "--output", os.devnull), refused=2
    ),
    "weightguard": Scanner(("weightguard==0.2.0",), "weightguard", ("scan",)),
    "picklescan": Scanner(("picklescan==1.0.5",), "picklescan", ("--path",)),
    "picklescan, strict": Scanner(("picklescan==1.0.5",), "picklescan", ("--strict", "--path")),
    "modelscan": Scanner(("modelscan==0.8.8",), "modelscan", ("scan", "--path")),
    # 0.1.12 imports typing_extensions on Python 3.11 and does not require it.
    "fickling": Scanner(("fickling==0.1.12", "typing_extensions==4.16.0"), "fickling", ("--check-safety",)),
}


def interpreter(name: str, venvs: Path) -> Path:
    """Return the interpreter that has the scanner, after installing it if it is not there yet.

    Raises:
        subprocess.CalledProcessError: pip cannot install it.
    """
    scanner = SCANNERS[name]
    folder = venvs / name.partition(",")[0]
    python = folder / "bin" / "python"
    if name == "safeload" and not python.exists():
        return Path(sys.executable)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *scanner.requirements], check=True)
    return python


def run(entry: Callable[[], Any], scanner: Scanner, path: str, seconds: int) -> NoReturn:
    """Run the command in this process, which is the fork for one file, and exit with its code."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.alarm(WAIT_SECONDS)
    code: Any = 70  # of an exception
    try:
        sys.argv = [scanner.command, *scanner.arguments, path]
        code = entry()
    except SystemExit as exit_:
        code = exit_.code
    finally:
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def work(name: str) -> None:
    """Answer each line on standard input (a limit in seconds, a path) with an exit code and the seconds used."""
    scanner = SCANNERS[name]
    answers = os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open("r+b") as nothing:
        for descriptor in (1, 2):
            os.dup2(nothing.fileno(), descriptor)
    warnings.simplefilter("ignore")
    os.environ.update(PROMPTFOO_DISABLE_TELEMETRY="1", AISBOM_OFFLINE="1", NO_COLOR="1")
    (found,) = importlib.metadata.entry_points(group="console_scripts", name=scanner.command)
    entry = found.load()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        # Once in this process, so that no file pays for what the command imports when it first needs it.
        sys.argv = [scanner.command, *scanner.arguments, str(VECTORS / BENIGN)]
        with contextlib.suppress(SystemExit):
            entry()
        for line in sys.stdin:
            seconds, path = line.rstrip("\n").split(" ", 1)
            child = os.fork()
            if child == 0:
                run(entry, scanner, path, int(seconds))
            _, status, used = os.wait4(child, 0)
            print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, file=answers, flush=True)


class Asked:
    """One scanner in a process of its own."""

    def __init__(self, name: str, python: Path) -> None:
        self.scanner = SCANNERS[name]
        self.process = subprocess.Popen(
            [python, "-P", __file__, "--work", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, path: Path, seconds: int = PROCESSOR_SECONDS) -> tuple[str, float]:
        """Return the verdict on a file, and the processor time that it took, in seconds.

        Raises:
            RuntimeError: the scanner's process ended, for instance because its command cannot be imported.
        """
        given, taken = self.process.stdin, self.process.stdout
        if given is None or taken is None:
            raise RuntimeError("the scanner has no pipes")
        given.write(f"{seconds} {path}\n")
        given.flush()
        answer = taken.readline().split()
        if not answer:
            raise RuntimeError(f"{self.scanner.command} ended before it answered")
        code = int(answer[0])
        verdict = "allowed" if code == 0 else "refused" if code == self.scanner.refused else "error"
        return verdict, float(answer[1])

    def close(self) -> None:
        self.process.communicate()


@contextlib.contextmanager
def asking(name: str, venvs: Path) -> Iterator[Asked]:
    asked = Asked(name, interpreter(name, venvs))
    try:
        yield asked
    finally:
        asked.close()


def columns(vectors: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Return the titles of the table's columns, each with the numbers of its vectors."""
    chosen: dict[str, list[int]] = {title: [] for title in (*HOSTILE.values(), *ORIGINS.values())}
    for number, vector in enumerate(vectors):
        benign = vector["expect"] == "allowed"
        chosen[ORIGINS[vector["origin"]] if benign else HOSTILE[vector["threat"]]].append(number)
    return chosen


def verdict_table(names: list[str], venvs: Path, vectors: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the table's lines: how many vectors of each kind each scanner flags, plus the errors."""
    kinds = columns(vectors)
    yield f"| flagged + errors | {' | '.join(f'{title} ({len(chosen)})' for title, chosen in kinds.items())} |"
    yield "| --- " * (1 + len(kinds)) + "|"
    for name in names:
        with asking(name, venvs) as asked:
            verdicts = [asked.ask(VECTORS / vector["file"])[0] for vector in vectors]
        cells = []
        for chosen in kinds.values():
            counts = Counter(verdicts[number] for number in chosen)
            cells.append(f"{counts['refused']}" + (f" + {counts['error']}" if counts["error"] else ""))
        yield f"| {name} | {' | '.join(cells)} |"


def time_table(names: list[str], venvs: Path, folder: Path) -> Iterator[str]:
    """Yield a table of processor time on plain pickles, divided by that of safeload: medians of paired ratios."""
    from models import MODELS, forest

    makers = {name: MODELS[name] for name in ("boosting", "histogram", "tfidf")}
    makers = {"forest": ("random forest, 200 trees", lambda: forest(200)), **makers}
    paths = {}
    for key, (title, make) in makers.items():
        paths[title] = folder / f"{key}.pkl"
        paths[title].write_bytes(pickle.dumps(make(), protocol=4))
    yield f"| time / safeload's | {' | '.join(paths)} |"
    yield "| --- " * (1 + len(paths)) + "|"
    with asking("safeload", venvs) as ours:
        absolute = [statistics.median(ours.ask(path)[1] for _ in range(ROUNDS)) for path in paths.values()]
        yield f"| safeload | {' | '.join(f'1 ({seconds * 1000:.0f} ms)' for seconds in absolute)} |"
        for name in names:
            if name == "safeload":
                continue
            with asking(name, venvs) as theirs:
                yield f"| {name} | {' | '.join(compared(ours, theirs, path) for path in paths.values())} |"


def compared(ours: Asked, theirs: Asked, path: Path) -> str:
    """Return the median ratio of their time to ours, with their verdict."""
    verdict, taken = theirs.ask(path, WAIT_SECONDS)
    ratios = []
    for _ in range(ROUNDS if taken < PROCESSOR_SECONDS else 1):
        base = ours.ask(path)[1]
        ratios.append(theirs.ask(path, WAIT_SECONDS)[1] / base)
    return f"{statistics.median(ratios):.3g} ({verdict})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("scanners", nargs="*", metavar="SCANNER", help=f"of {', '.join(SCANNERS)} [all]")
    parser.add_argument("--venvs", type=Path, metavar="FOLDER", help="the virtual environments; made where missing")
    parser.add_argument("--list", choices=SCANNERS, help="print this scanner's verdict on each vector instead")
    parser.add_argument("--time", action="store_true", help="measure processor time on four models instead")
    parser.add_argument("--work", choices=SCANNERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    if options.venvs is None:
        parser.error("--venvs FOLDER is required")
    unknown = set(options.scanners) - set(SCANNERS)
    if unknown:
        parser.error(f"no such scanner: {', '.join(sorted(unknown))}")
    venvs = options.venvs.resolve()
    index = json.loads((VECTORS / "index.json").read_text(encoding="utf-8"))
    if options.list:
        with asking(options.list, venvs) as asked:
            for vector in index["vectors"]:
                verdict, seconds = asked.ask(VECTORS / vector["file"])
                unlike = "" if verdict == vector["expect"] else "unlike expected"
                print(f"{verdict:8} {seconds:6.2f} s {unlike:16} {vector['name']}", flush=True)
        return
    names = options.scanners or list(SCANNERS)
    pins = dict.fromkeys(SCANNERS[name].pinned for name in names)
    print(f"Python {platform.python_version()}, vectors {index['version']}, {', '.join(pins)}\n")
    if options.time:
        names = [name for name in names if "," not in name]
        with tempfile.TemporaryDirectory() as folder:
            for line in time_table(names, venvs, Path(folder)):
                print(line, flush=True)
        return
    for line in verdict_table(names, venvs, index["vectors"]):
        print(line, flush=True)


if __name__ == "__main__":
    main()
