"""Run other scanners beside safeload on vectors, and print the table as Markdown.

    pip install -e '.[bench]' && python benchmarks/scanners.py
    python benchmarks/scanners.py --list picklescan   # every vector with that scanner's verdict

Each scanner is asked in the way in which its own documentation says, in a process of its own, with 20 seconds for
each file.  A file at which it reports an error, raises, dies or takes longer counts as neither refused nor allowed.
A scanner that is not installed is said to be so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import io
import json
import logging
import platform
import select
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
VECTORS = ROOT / "vectors"
SECONDS = 20.0
THREATS = {
    "code": "runs code when loaded (the tests see it run)",
    "names": "calls a function that can run code, open files or connect",
    "files": "makes joblib or numpy open a file of its choice",
    "memory": "forges memory: pointers, sizes",
    "exhaustion": "takes time, memory or stack without bound",
    "form": "malformed, ambiguous or unknown, nothing worse",
}
ORIGINS = {
    "opcodes": "benign, assembled from opcodes",
    "real": "benign, from joblib.dump and pickle.dump",
}


def ask_safeload() -> Callable[[str], str]:
    safeload: Any = importlib.import_module("safeload")
    return lambda path: str(safeload.scan(path, policy="sklearn").verdict)


def ask_picklescan() -> Callable[[str], str]:
    scanner: Any = importlib.import_module("picklescan.scanner")

    def ask(path: str) -> str:
        result = scanner.scan_file_path(path)
        if result.infected_files:
            return "refused"
        return "error" if result.scan_err or not result.scanned_files else "allowed"

    return ask


def ask_modelscan() -> Callable[[str], str]:
    modelscan: Any = importlib.import_module("modelscan.modelscan")

    def ask(path: str) -> str:
        result = modelscan.ModelScan().scan(path)
        if result["summary"]["total_issues"]:
            return "refused"
        return "error" if result["errors"] or not result["summary"]["scanned"]["total_scanned"] else "allowed"

    return ask


def ask_fickling() -> Callable[[str], str]:
    analysis: Any = importlib.import_module("fickling.analysis")
    fickle: Any = importlib.import_module("fickling.fickle")

    def ask(path: str) -> str:
        with Path(path).open("rb") as file:
            severity = analysis.check_safety(fickle.Pickled.load(file)).severity
        return "allowed" if severity == analysis.Severity.LIKELY_SAFE else "refused"

    return ask


SCANNERS: dict[str, Callable[[], Callable[[str], str]]] = {
    "safeload": ask_safeload,
    "picklescan": ask_picklescan,
    "modelscan": ask_modelscan,
    "fickling": ask_fickling,
}


def work(name: str) -> None:
    """Answer every path on standard input with a verdict, until there are no more."""
    logging.disable()
    warnings.simplefilter("ignore")
    ask = SCANNERS[name]()
    answers, sys.stdout = sys.stdout, io.StringIO()
    for line in sys.stdin:
        with contextlib.redirect_stderr(io.StringIO()):
            try:
                verdict = ask(line.rstrip("\n"))
            except Exception:  # noqa: BLE001 - whatever a scanner raises is its answer
                verdict = "error"
        print(verdict, file=answers, flush=True)


class Asked:
    """One scanner in a process of its own, which is started anew when it dies or hangs."""

    def __init__(self, name: str) -> None:
        self.command = [sys.executable, __file__, "--work", name]
        self.process: subprocess.Popen[str] | None = None

    def verdict(self, path: Path) -> str:
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        given, taken = self.process.stdin, self.process.stdout
        if given is None or taken is None:
            raise RuntimeError("the scanner has no pipes")
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            given.write(f"{path}\n")
            given.flush()
            if select.select([taken], [], [], SECONDS)[0]:
                answer = taken.readline().strip()
        if not answer:
            self.close()
        return answer or "error"

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def verdicts(name: str, vectors: list[dict[str, Any]]) -> list[str]:
    asked = Asked(name)
    try:
        return [asked.verdict(VECTORS / vector["file"]) for vector in vectors]
    finally:
        asked.close()


def row(title: str, wanted: str, chosen: list[int], all_verdicts: dict[str, list[str] | None]) -> str:
    """Return one line of the table: how many of the chosen vectors each scanner judged as wanted."""
    cells = []
    for found in all_verdicts.values():
        if found is None:
            cells.append("not installed")
            continue
        counts = Counter(found[index] for index in chosen)
        cells.append(f"{counts[wanted]}" + (f" ({counts['error']} errors)" if counts["error"] else ""))
    return f"| {title} | {len(chosen)} | {' | '.join(cells)} |"


def table(vectors: list[dict[str, Any]], all_verdicts: dict[str, list[str] | None]) -> list[str]:
    lines = [f"| | vectors | {' | '.join(all_verdicts)} |", "| --- " * (2 + len(all_verdicts)) + "|"]
    lines.append("| **to be refused: refused** |" + " |" * (1 + len(all_verdicts)))
    for threat, title in THREATS.items():
        chosen = [index for index, vector in enumerate(vectors) if vector["threat"] == threat]
        lines.append(row(title, "refused", chosen, all_verdicts))
    lines.append("| **to be allowed: allowed** |" + " |" * (1 + len(all_verdicts)))
    for origin, title in ORIGINS.items():
        chosen = [
            index
            for index, vector in enumerate(vectors)
            if vector["expect"] == "allowed" and vector["origin"] == origin
        ]
        lines.append(row(title, "allowed", chosen, all_verdicts))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--list", choices=SCANNERS, help="print this scanner's verdict on every vector instead")
    parser.add_argument("--work", choices=SCANNERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    vectors = json.loads((VECTORS / "index.json").read_text(encoding="utf-8"))["vectors"]
    if options.list:
        for vector, verdict in zip(vectors, verdicts(options.list, vectors), strict=True):
            print(f"{verdict:8} {'' if verdict == vector['expect'] else 'unlike expected':16} {vector['name']}")
        return
    versions = {name: version(name) for name in SCANNERS}
    named = ", ".join(f"{name} {found or '(not installed)'}" for name, found in versions.items())
    print(f"Python {platform.python_version()}, {named}\n")
    print("\n".join(table(vectors, {name: verdicts(name, vectors) if versions[name] else None for name in SCANNERS})))


if __name__ == "__main__":
    main()
