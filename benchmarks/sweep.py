"""Cost against size: from 1 MB to 4 GB of array, and from 10^4 to 10^7 opcodes; Markdown, and a plot.

pip install '.[bench]'
python benchmarks/sweep.py --plot docs/cost.svg      # needs 5 GB of memory and of disk
python benchmarks/sweep.py --most 1000               # up to 1000 MB only
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from models import array, words
from run import Bench, versions

import safeload

if TYPE_CHECKING:
    from timing import Ratio

MEGABYTES = (1, 4, 16, 64, 250, 1000, 4000)
OPCODES = (10_000, 100_000, 1_000_000, 10_000_000)
Point = tuple[float, "Ratio"]


def arrays(bench: Bench, most: int) -> list[Point]:
    """Load time over joblib.load's by megabytes of array."""
    points = []
    for size in MEGABYTES:
        if size <= most:
            path = bench.folder / f"array{size}.joblib"
            safeload.dump(array(size), path, key=bench.key)
            points.append((float(size), bench.load(path)))
            path.unlink()
            _print("MB of array", *points[-1])
    return points


def opcodes(bench: Bench) -> list[Point]:
    """Load time over joblib.load's by opcodes."""
    points = []
    for count in OPCODES:
        path = bench.folder / f"words{count}.joblib"
        safeload.dump(words(count // 4), path, key=bench.key)
        opcodes = safeload.scan(path).opcodes
        points.append((float(opcodes), bench.load(path)))
        path.unlink()
        _print("opcodes", *points[-1])
    return points


def _print(unit: str, size: float, found: Ratio) -> None:
    extra = (found.ours - found.theirs) / size * 1e6
    print(f"| {size:,.0f} | {unit} | {found} | {found.seconds} | {extra:.3f} |", flush=True)


def plot(path: Path, by_size: list[Point], by_opcodes: list[Point]) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for axis, points, label in (
        (axes[0], by_size, "megabytes of array"),
        (axes[1], by_opcodes, "pickle opcodes"),
    ):
        axis.plot([size for size, _ in points], [found.ratio for _, found in points], "o-")
        axis.axhline(1, color="0.6", linewidth=1)
        axis.set(xscale="log", xlabel=label, ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("safeload.load : joblib.load")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each pair (7)")
    parser.add_argument("--most", type=int, default=MEGABYTES[-1], help="megabytes of the largest array (4000)")
    parser.add_argument("--plot", type=Path, help="where to draw (.svg or .png; needs matplotlib)")
    options = parser.parse_args()
    print(f"{versions()}\n\n| size | of | ratio | s | µs more for each |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.rounds)
        by_size, by_opcodes = arrays(bench, options.most), opcodes(bench)
    if options.plot is not None:
        plot(options.plot, by_size, by_opcodes)


if __name__ == "__main__":
    main()
