"""Measure what the worst inputs cost at the limits that are in force: processor time, memory above an idle process.

    PYTHONPATH=tools python -P benchmarks/worst.py [--python OTHER] [NAME ...]

With --python it measures the scanner of another interpreter, which has a compiled wheel, say.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

VECTORS = Path(__file__).resolve().parents[1] / "vectors"

CHILD = """
import sys, time
import numpy, safeload

def most():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

safeload.scan(sys.argv[1])
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
idle, start = most(), time.process_time()
report = safeload.scan(sys.argv[2])
seconds = time.process_time() - start
print(f"{seconds:.2f} {(most() - idle) / 1024:.0f} {report.findings[0].code if report.findings else 'allowed'}")
"""


def main() -> int:
    """Measure those that are named, or all; the exit code is 1 if one breaks the promise."""
    from pickles.worst_inputs import INPUTS
    from safeload import Limits

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="; ".join(INPUTS))
    parser.add_argument("--python", default=sys.executable, help="the interpreter to measure (this)")
    options = parser.parse_args()
    broken = 0
    print(f"{'input':<32} {'KB':>7} {'seconds':>8} {'MiB':>5}  finding")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names or INPUTS:
            path = Path(folder, "worst")
            path.write_bytes(zlib.compress(INPUTS[name](Limits().min_opcodes + 200_000), 1))
            plain = next((VECTORS / "files" / "honest-compressed").iterdir())
            done = subprocess.run(
                [options.python, "-P", "-c", CHILD, str(plain), str(path)],
                env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            seconds, memory, finding = done.stdout.split()
            bad = float(seconds) > 5 or int(memory) > 256
            broken += bad
            print(f"{name:<32} {path.stat().st_size // 1000:>7} {seconds:>8} {memory:>5}  {finding}", end="")
            print("  BREAKS THE PROMISE" if bad else "", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
