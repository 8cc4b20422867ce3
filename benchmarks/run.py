"""Measure what safety costs: every figure of the README, as a Markdown table.

    pip install '.[bench]'
    python benchmarks/run.py --plot docs/cost.svg   # all of it, and cost against size; ten minutes
    python benchmarks/run.py load map --rounds 5    # some of it
    python benchmarks/run.py load --pure PYTHON     # and with another interpreter's, uncompiled safeload beside it

Ratios are medians over rounds in which both sides run by turns in this process, because the machines that this runs
on are noisy.  Peak memory is measured in a fresh process for each side.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
from models import MODELS, array
from timing import Ratio, paired

import safeload
from safeload._scan import COMPILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Row = tuple[str, str, str, str, str]  # what, against what, goal, ratio, seconds or other detail


def always(function: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    """Return a side for `paired` that does the same whatever was prepared for it."""
    return lambda _: function(*arguments, **options)


class Bench:
    """A folder, a key in it, and how many rounds."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder = folder
        self.rounds = rounds
        self.ring = folder / "ring.toml"
        self.key = safeload.SigningKey.generate()
        safeload.Keyring.from_keys([self.key]).save(self.ring)

    def loader(self) -> safeload.Loader:
        """A Loader that has scanned nothing yet."""
        return safeload.Loader(keyring=self.ring)

    def load(self, path: Path) -> Ratio:
        return paired(methodcaller("load", path), always(joblib.load, path), self.rounds, prepare=self.loader)


def loads(bench: Bench) -> Iterator[Row]:
    goals = {"array200": "1.30", "array1000": "1.30"}
    for name in ("forest", "boosting", "histogram", "tfidf", "array200", "array1000"):
        title, make = MODELS[name]
        path = bench.folder / f"{name}.joblib"
        safeload.dump(make(), path, key=bench.key, overwrite=True)
        found = bench.load(path)
        goal = goals.get(name, "1.10" if COMPILED else "1.45")
        yield f"load {title}", "joblib.load", goal, str(found), found.seconds
        path.unlink()


def compressed(bench: Bench) -> Iterator[Row]:
    for name in ("forest", "tfidf"):
        title, make = MODELS[name]
        path = bench.folder / f"{name}.joblib.z"
        safeload.dump(make(), path, key=bench.key, overwrite=True)
        found = bench.load(path)
        yield f"load {title}, zlib", "joblib.load", "1.15", str(found), found.seconds
        path.unlink()


def warm(bench: Bench) -> Iterator[Row]:
    title, make = MODELS["pipeline"]
    path = bench.folder / "pipeline.joblib"
    safeload.dump(make(), path, key=bench.key, overwrite=True)
    loader = bench.loader()
    found = paired(always(loader.load, path), always(joblib.load, path), bench.rounds * 40)
    yield f"load {title}, warm Loader", "joblib.load", "1.5", str(found), found.seconds
    path.unlink()


def mapped(bench: Bench) -> Iterator[Row]:
    from blake3 import blake3

    def digest(path: Path) -> None:
        hasher = blake3(max_threads=blake3.AUTO)
        hasher.update_mmap(path)
        hasher.digest()

    for name in ("array200", "array1000"):
        title, make = MODELS[name]
        path = bench.folder / f"{name}.joblib"
        safeload.dump(make(), path, key=bench.key, overwrite=True)
        found = paired(
            methodcaller("load", path, "r"),
            always(digest, path),
            bench.rounds,
            prepare=bench.loader,
        )
        yield f'load {title}, mmap_mode="r"', "BLAKE3, all cores", "1.15", str(found), found.seconds
        path.unlink()


def dumps(bench: Bench) -> Iterator[Row]:
    for name in ("forest", "tfidf", "array200", "pipeline"):
        title, make = MODELS[name]
        model = make()
        path, plain = bench.folder / f"{name}.joblib", bench.folder / f"{name}-plain.joblib"

        def dump_and_sync(_: Any, model: Any = model, plain: Path = plain) -> None:
            joblib.dump(model, plain)
            with plain.open("rb") as file:
                os.fsync(file.fileno())

        def dump(_: Any, model: Any = model, path: Path = path) -> None:
            safeload.dump(model, path, key=bench.key, overwrite=True)

        found = paired(dump, dump_and_sync, max(3, bench.rounds // 2))
        yield f"dump {title}", "joblib.dump and fsync", "1.35", str(found), found.seconds
        path.unlink()
        plain.unlink()


def skops(bench: Bench) -> Iterator[Row]:
    try:
        from skops import io
    except ImportError:
        return
    version = importlib.metadata.version("skops")
    for name in ("forest", "tfidf", "pipeline"):
        title, make = MODELS[name]
        model = make()
        path, theirs = bench.folder / f"{name}.joblib", bench.folder / f"{name}.skops"
        safeload.dump(model, path, key=bench.key, overwrite=True)
        io.dump(model, theirs)
        trusted = io.get_untrusted_types(file=theirs)
        rounds = max(3, bench.rounds // 3) if name != "pipeline" else bench.rounds
        found = paired(
            methodcaller("load", path),
            always(io.load, theirs, trusted=trusted),
            rounds,
            prepare=bench.loader,
        )
        yield f"load {title}", f"skops.io.load {version}", "0.33", str(found), found.seconds
        path.unlink()


PEAK = """
import resource, sys
import joblib, sklearn.ensemble, sklearn.feature_extraction.text
import safeload, safeload._loading.tripwire
loader = safeload.Loader(keyring=sys.argv[3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = loader.load(sys.argv[2]) if sys.argv[1] == "safeload" else joblib.load(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def memory(bench: Bench) -> Iterator[Row]:
    def peak(side: str, path: Path) -> float:
        command = [sys.executable, "-c", PEAK, side, str(path), str(bench.ring)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024

    for name, suffix in (("forest", ""), ("tfidf", ""), ("array200", ""), ("forest", ".z")):
        title, make = MODELS[name]
        path = bench.folder / f"{name}.joblib{suffix}"
        safeload.dump(make(), path, key=bench.key, overwrite=True)
        more = statistics.median(peak("safeload", path) - peak("joblib", path) for _ in range(3))
        kind = ", zlib" if suffix else ""
        yield f"peak memory of load {title}{kind}", "joblib.load", "+64 MiB", f"{more:+.0f} MiB", ""
        path.unlink()


def folders(bench: Bench) -> Iterator[Row]:
    folder = bench.folder / "folder"
    folder.mkdir()
    small = MODELS["pipeline"][1]()
    for number in range(500):
        safeload.dump(small, folder / f"small{number}.joblib", key=bench.key, overwrite=True)
    for number in range(20):
        safeload.dump(array(50), folder / f"large{number}.joblib", key=bench.key, overwrite=True)

    def verify(jobs: int) -> Callable[[Any], Any]:
        command = [sys.executable, "-m", "safeload", "verify", "--quiet", "--keyring", str(bench.ring), "--jobs"]
        return lambda _: subprocess.run([*command, str(jobs), str(folder)], check=True, capture_output=True)

    found = paired(verify(2), verify(1), 3)
    yield "verify 500 small and 20 large artifacts, --jobs 2", "--jobs 1", "0.6", str(found), found.seconds


def startup(bench: Bench) -> Iterator[Row]:
    def run(*command: str) -> Callable[[Any], Any]:
        return lambda _: subprocess.run([sys.executable, *command], check=True, capture_output=True)

    plain = run("-c", "import joblib")
    for what, ours in (
        ("import safeload", run("-c", "import safeload")),
        ("safeload --help", run("-m", "safeload", "-h")),
    ):
        found = paired(ours, plain, bench.rounds * 2)
        yield what, "import joblib", "1.5", str(found), found.seconds


GROUPS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "load": loads,
    "map": mapped,
    "compressed": compressed,
    "warm": warm,
    "dump": dumps,
    "skops": skops,
    "memory": memory,
    "folder": folders,
    "startup": startup,
}


def versions() -> str:
    names = ("joblib", "scikit-learn", "numpy", "skops")
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {name}")
    kind = "compiled" if COMPILED else "pure Python"
    cores = len(os.sched_getaffinity(0))
    return f"Python {platform.python_version()}, {', '.join(found)}, {cores} cores {platform.machine()}, scanner {kind}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], help="which groups of rows (all)")
    parser.add_argument("--rounds", type=int, default=11, help="rounds of each pair (11)")
    parser.add_argument("--pure", metavar="PYTHON", help="an interpreter with an uncompiled safeload, for the loads")
    parser.add_argument("--plot", type=Path, help="then measure cost against size (sweep.py), and draw it here")
    options = parser.parse_args()
    print(f"{versions()}\n\n| what | against | goal | ratio | s |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.rounds)
        for name in options.groups or GROUPS:
            for row in GROUPS[name](bench):
                print("| " + " | ".join(row) + " |", flush=True)
    if options.pure:
        print(flush=True)
        groups = [name for name in ("load", "compressed") if name in (options.groups or GROUPS)]
        subprocess.run([options.pure, __file__, *groups, "--rounds", str(options.rounds)], check=True)
    if options.plot is not None:
        print(flush=True)
        subprocess.run([sys.executable, Path(__file__).with_name("sweep.py"), "--plot", options.plot], check=True)


if __name__ == "__main__":
    main()
