"""Measure what safety costs: load, dump and peak memory against plain joblib, in paired ratios.

    python benchmarks/run.py                 # all of it, as Markdown on stdout
    python benchmarks/run.py --repeat 5 forest tfidf

Both sides of a pair run in this process, alternately, and the median of the ratios is what counts: the machines that
this runs on are noisy.  Peak memory is measured in a fresh process for each side.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import sklearn

import safeload
from safeload.scan import COMPILED

if TYPE_CHECKING:
    from collections.abc import Callable


def forest() -> Any:
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier

    rows, labels = make_classification(2000, 20, random_state=0)
    return RandomForestClassifier(1000, n_jobs=2, random_state=0).fit(rows, labels)


def tfidf() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = [f"w{index * 7919 % 250_000:x}" for index in range(250_000)]
    return TfidfVectorizer().fit(" ".join(words[start : start + 100]) for start in range(0, len(words), 100))


def array200() -> Any:
    return {"weights": np.random.default_rng(0).random(25_000_000)}


def pipeline() -> Any:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression()).fit(*load_iris(return_X_y=True))


MODELS: dict[str, tuple[str, Callable[[], Any]]] = {
    "forest": ("random forest, 1000 trees", forest),
    "tfidf": ("TF-IDF, 250,000 words", tfidf),
    "array200": ("arrays, 200 MB", array200),
    "pipeline": ("small pipeline, warm Loader", pipeline),
}


def timed(function: Callable[[], Any]) -> float:
    gc.collect()
    start = time.perf_counter()
    kept = function()
    taken = time.perf_counter() - start
    del kept
    return taken


def paired(ours: Callable[[], Any], theirs: Callable[[], Any], repeat: int) -> tuple[float, float, float]:
    """Return the median ratio and both medians in seconds; one round is thrown away."""
    ours(), theirs()
    rounds = [(timed(ours), timed(theirs)) for _ in range(repeat)]
    ratio = statistics.median(one / other for one, other in rounds)
    return ratio, statistics.median(one for one, _ in rounds), statistics.median(other for _, other in rounds)


PEAK = """
import resource, sys
import joblib, sklearn.ensemble, sklearn.feature_extraction.text
import safeload, safeload.guard
loader = safeload.Loader(keyring=sys.argv[3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = loader.load(sys.argv[2]) if sys.argv[1] == "safeload" else joblib.load(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak(side: str, path: Path, ring: Path) -> float:
    """Return how much the peak of resident memory grows by one load (MiB)."""
    command = [sys.executable, "-c", PEAK, side, str(path), str(ring)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024


def dump_and_sync(model: Any, path: Path) -> None:
    joblib.dump(model, path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *MODELS], help="which models (all)")
    parser.add_argument("--repeat", type=int, default=11, help="rounds of each pair")
    options = parser.parse_args()
    print(
        f"Python {platform.python_version()}, joblib {joblib.__version__}, scikit-learn {sklearn.__version__}, "
        f"numpy {np.__version__}, {os.cpu_count()} cores, scanner {'compiled' if COMPILED else 'pure Python'}\n"
    )
    print("| model | size | load : joblib.load | s | dump : joblib.dump + fsync | s | peak over joblib's |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        ring = Path(folder, "ring.toml")
        key = safeload.SigningKey.generate()
        safeload.Keyring.from_keys([key]).save(ring)
        for name in options.names or MODELS:
            print(measured(name, Path(folder), ring, key, options.repeat), flush=True)


def measured(name: str, folder: Path, ring: Path, key: safeload.SigningKey, repeat: int) -> str:
    """Return the table's row for one model."""
    title, make = MODELS[name]
    model = make()
    path, plain = folder / f"{name}.joblib", folder / f"{name}-plain.joblib"
    safeload.dump(model, path, key=key)
    loader = safeload.Loader(keyring=ring)
    rounds = repeat * 20 if name == "pipeline" else repeat
    load, ours, theirs = paired(lambda: loader.load(path), lambda: joblib.load(path), rounds)
    dump, our_dump, their_dump = paired(
        lambda: safeload.dump(model, path, key=key, overwrite=True),
        lambda: dump_and_sync(model, plain),
        max(3, repeat // 3),
    )
    more = statistics.median(peak("safeload", path, ring) - peak("joblib", path, ring) for _ in range(3))
    size = path.stat().st_size / 1e6
    path.unlink()
    plain.unlink()
    return (
        f"| {title} | {size:.1f} MB | {load:.2f} | {ours:.3f} / {theirs:.3f} "
        f"| {dump:.2f} | {our_dump:.3f} / {their_dump:.3f} | {more:+.0f} MiB |"
    )


if __name__ == "__main__":
    main()
