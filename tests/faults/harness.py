"""Run one operation again and again, with a fault at each of its system calls in turn; one line of JSON for each.

    LD_PRELOAD=shim.so python harness.py FOLDER OPERATION FAULT...

Each try is a forked child, so that whatever it was killed in the middle of, the next one starts afresh; what it left
behind is looked at, and the operation done again without a fault, from here.  FAULT is `fail:ERRNO`, `kill`,
`kill_after` or `short`.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import safeload

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIONS = {"fail": 0, "kill": 1, "kill_after": 2, "short": 3}
KEY = safeload.SigningKey(bytes(range(32)), algorithm="hmac-sha256", key_id="one")
OTHER = safeload.SigningKey(bytes(range(1, 33)), algorithm="hmac-sha256", key_id="two")
SHIM: Any = ctypes.CDLL(None)  # what was preloaded into this process
OLD = {"weights": np.arange(5000.0), "name": "old"}
NEW = {"weights": np.arange(7000.0), "name": "new"}


class Operation:
    """What is done to a folder: `before` makes it, `act` is watched, `state` says what a reader finds."""

    old: Any = "old"
    new: Any = "new"

    def before(self, folder: Path) -> None:
        safeload.dump(OLD, folder / "model.joblib", key=KEY)

    def act(self, folder: Path) -> Any:
        raise NotImplementedError

    def state(self, folder: Path) -> Any:
        path = folder / "model.joblib"
        if not path.exists() and not Path(f"{path}.manifest.json").exists():
            return None
        return safeload.load(path, keyring=KEY)["name"]


class DumpNew(Operation):
    old = None

    def before(self, folder: Path) -> None:
        pass

    def act(self, folder: Path) -> None:
        safeload.dump(NEW, folder / "model.joblib", key=KEY, overwrite=folder.joinpath("model.joblib").exists())


class DumpOver(Operation):
    def act(self, folder: Path) -> None:
        safeload.dump(NEW, folder / "model.joblib", key=KEY, overwrite=True)


class Sign(Operation):
    old = "unsigned"

    def before(self, folder: Path) -> None:
        safeload.dump(NEW, folder / "model.joblib", key=KEY)
        Path(folder / "model.joblib.manifest.json").unlink()

    def act(self, folder: Path) -> None:
        safeload.sign(folder / "model.joblib", key=KEY, overwrite=True)

    def state(self, folder: Path) -> Any:
        try:
            return super().state(folder)
        except safeload.UnsignedError:
            return "unsigned"


class SignAgain(Operation):
    old, new = 1, 2

    def act(self, folder: Path) -> None:
        safeload.sign(folder / "model.joblib", key=KEY, release=2, overwrite=True, allow_lower_release=True)

    def state(self, folder: Path) -> Any:
        assert super().state(folder) == "old"
        return safeload.read_manifest(folder / "model.joblib", keyring=KEY).release


class SaveKeyring(Operation):
    old, new = ["one"], ["one", "two"]

    def before(self, folder: Path) -> None:
        safeload.Keyring.from_keys([KEY]).save(folder / "ring.toml")

    def act(self, folder: Path) -> None:
        safeload.Keyring.from_keys([KEY, OTHER.verifying_key]).save(folder / "ring.toml", overwrite=True)

    def state(self, folder: Path) -> Any:
        return [entry.key.key_id for entry in safeload.Keyring.load(folder / "ring.toml").entries]


class Load(Operation):
    """Reading: the folder stays as it is, and what is returned is what was signed."""

    new = "old"

    def act(self, folder: Path) -> None:
        loaded = safeload.load(folder / "model.joblib", keyring=KEY)
        assert loaded["name"] == "old"
        assert (loaded["weights"] == OLD["weights"]).all()


class Verify(Load):
    def act(self, folder: Path) -> None:
        assert safeload.verify(folder / "model.joblib", keyring=KEY).allowed


class LoadMapped(Load):
    def act(self, folder: Path) -> None:
        loader = safeload.Loader(keyring=KEY, mmap_copies=folder / "copies")
        loaded = loader.load(folder / "model.joblib", "r")
        assert (loaded["weights"] == OLD["weights"]).all()


OPERATIONS: dict[str, Callable[[], Operation]] = {
    "dump": DumpNew,
    "dump over": DumpOver,
    "sign": Sign,
    "sign again": SignAgain,
    "save keyring": SaveKeyring,
    "load": Load,
    "verify": Verify,
    "load mapped": LoadMapped,
}


def attempt(operation: Operation, folder: Path, at: int, fault: str) -> dict[str, Any]:
    """Do it in a child, with one fault, and tell how that ended."""
    action, _, name = fault.partition(":")
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        outcome: dict[str, Any] = {}
        try:
            code = getattr(errno, name) if name else 0
            SHIM.fault_arm(os.fsencode(folder), ctypes.c_long(at), ACTIONS[action], code)
            operation.act(folder)
        except BaseException as error:  # noqa: BLE001
            kinds = [kind.__name__ for kind in type(error).__mro__]
            outcome = {"error": kinds, "message": str(error)}
        outcome["calls"] = SHIM.fault_count()
        os.write(theirs, json.dumps(outcome).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        told = pipe.read()
    status = os.waitpid(pid, 0)[1]
    return {"at": at, "fault": fault, "signal": os.WTERMSIG(status), **(json.loads(told) if told else {})}


def fresh(template: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    folder.chmod(0o700)


def main(work: Path, name: str, faults: list[str]) -> None:
    operation = OPERATIONS[name]()
    template, folder = work / "template", work / "folder"
    template.mkdir(parents=True)
    operation.before(template)
    fresh(template, folder)
    calls = attempt(operation, folder, 1 << 40, "kill")["calls"]
    for fault in faults:
        for at in range(-1 if fault == "short" else 0, calls):
            fresh(template, folder)
            outcome = attempt(operation, folder, at, fault)
            try:
                outcome["state"] = operation.state(folder)
                operation.act(folder)
                outcome["again"] = operation.state(folder)
            except Exception as error:  # noqa: BLE001
                outcome["broken"] = f"{type(error).__name__}: {error}"
            outcome["names"] = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
            sys.stdout.write(json.dumps(outcome) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
