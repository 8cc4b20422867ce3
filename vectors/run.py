"""Run a scanner over the vectors and print how it judged each kind; the standard library alone.

    python vectors/run.py safeload scan --quiet {}
    python vectors/run.py --refused 1 --allowed 0 SCANNER ARGUMENTS {}

The command runs once for each file, `{}` replaced by its path. Its exit code is the verdict: --allowed, --refused, and
anything else is an error, as is a command that takes longer than --seconds. The exit code is 1 if a verdict is not as
expected.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent


def verdict_of(options: argparse.Namespace, entry: dict[str, str]) -> str:
    path = HERE / entry["file"]
    if hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
        raise SystemExit(f"{path} is not the file that index.json describes")
    command = [part.replace("{}", str(path)) for part in options.command]
    try:
        code = subprocess.run(command, capture_output=True, timeout=options.seconds, check=False).returncode
    except subprocess.TimeoutExpired:
        return "error"
    return {options.allowed: "allowed", options.refused: "refused"}.get(code, "error")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--allowed", type=int, default=0, metavar="CODE", help="exit code for allowed [0]")
    parser.add_argument("--refused", type=int, default=1, metavar="CODE", help="exit code for refused [1]")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long one file may take [20]")
    parser.add_argument("--jobs", type=int, default=2, help="how many commands run at once [2]")
    parser.add_argument("--only", default="", metavar="TEXT", help="only vectors whose name contains TEXT")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not any("{}" in part for part in options.command):
        parser.error("the command needs {} where the path goes")
    index = json.loads((HERE / "index.json").read_text(encoding="utf-8"))
    entries = [entry for entry in index["vectors"] if options.only in entry["name"]]
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = list(pool.map(lambda entry: verdict_of(options, entry), entries))
    rows = Counter((entry["expect"], entry["threat"], verdict) for entry, verdict in zip(entries, verdicts))
    print(f"vectors {index['version']}\n\n| expected | threat | vectors | as expected | errors |")
    print("| --- | --- | --- | --- | --- |")
    for expect, threat in sorted({key[:2] for key in rows}):
        count = {one: rows[expect, threat, one] for one in ("allowed", "refused", "error")}
        print(f"| {expect} | {threat} | {sum(count.values())} | {count[expect]} | {count['error']} |")
    return int(any(entry["expect"] != verdict for entry, verdict in zip(entries, verdicts)) or not entries)


if __name__ == "__main__":
    sys.exit(main())
