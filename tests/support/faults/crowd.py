"""Many readers beside two writers, for so many seconds: python crowd.py FOLDER SECONDS READERS

Every reader loads, verifies or reads the manifest, again and again, and must find one writer's whole pair each time,
of a release that is never older than the one it saw before.  One line of JSON says how many there were and what failed.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import safeload

KEY = safeload.SigningKey(bytes(range(32)), algorithm="hmac-sha256", key_id="one")
PROCESSES = 8


def content(number: int) -> dict[str, Any]:
    return {"number": number, "weights": np.full(30_000, float(number))}


def write(folder: Path, until: float, which: int, told: Any) -> None:
    count, failed = 0, []
    while time.monotonic() < until:
        number = which * 1_000_000 + count
        try:
            safeload.dump(content(number), folder / "model.joblib", key=KEY, overwrite=True)
        except Exception as error:  # noqa: BLE001
            failed.append(f"writer: {type(error).__name__}: {error}")
            break
        count += 1
        time.sleep(0.005)  # a lock that is let go and taken at once starves the other writer
    told.put((count, 0, failed))


def read(path: Path, until: float, failed: list[str], counts: list[int]) -> None:
    count, release = 0, 0
    while time.monotonic() < until and not failed:
        try:
            if count % 4 == 3:
                report = safeload.verify(path, keyring=KEY)
                if not report.allowed:
                    failed.append(str(report.findings))
                continue
            found = safeload.load(path, keyring=KEY)
            if not (found["weights"] == found["number"]).all():
                failed.append("halves of two models")
            now = safeload.read_manifest(path, keyring=KEY).release
            if now < release:
                failed.append(f"release {now} after {release}")
            release = now
        except Exception as error:  # noqa: BLE001
            failed.append(f"reader: {type(error).__name__}: {error}")
        finally:
            count += 1
    counts.append(count)


def read_many(path: Path, until: float, readers: int, told: Any) -> None:
    failed: list[str] = []
    counts: list[int] = []
    threads = [threading.Thread(target=read, args=(path, until, failed, counts)) for _ in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.put((0, sum(counts), failed[:3]))


def main(folder: Path, seconds: float, readers: int) -> None:
    folder.mkdir()
    safeload.dump(content(0), folder / "model.joblib", key=KEY)
    context = multiprocessing.get_context("fork")
    told: Any = context.Queue()
    until = time.monotonic() + seconds
    processes = [context.Process(target=write, args=(folder, until, which, told)) for which in (1, 2)]
    shares = [readers // PROCESSES + (number < readers % PROCESSES) for number in range(PROCESSES)]
    processes += [
        context.Process(target=read_many, args=(folder / "model.joblib", until, share, told)) for share in shares
    ]
    for process in processes:
        process.start()
    results = [told.get() for _ in processes]
    for process in processes:
        process.join()
    names = sorted(path.name for path in folder.iterdir())
    failed = [line for _, _, lines in results for line in lines]
    if names != ["model.joblib", "model.joblib.manifest.json"]:
        failed.append(f"litter: {names}")
    json.dump(
        {"writes": sum(one[0] for one in results), "reads": sum(one[1] for one in results), "failed": failed},
        sys.stdout,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
