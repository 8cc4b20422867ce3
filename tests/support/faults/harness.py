"""Run one operation again and again, with a fault at each of its system calls in turn; one line of JSON for each.

    LD_PRELOAD=shim.so python harness.py FOLDER OPERATION FAULT...

Each try is a forked child, so that whatever it was killed in the middle of, the next one starts afresh; what it left
behind is looked at, and the operation done again without a fault, from here.  FAULT is `fail:ERRNO`, `kill`
or `short`.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

import safeload
from safeload._loading.rollback_state import RollbackState
from safeload.store import ReSigner

ACTIONS = {"fail": 0, "kill": 1, "short": 2}
KEY = safeload.SigningKey(bytes(range(32)), algorithm="hmac-sha256", key_id="one")
OTHER = safeload.SigningKey(bytes(range(1, 33)), algorithm="hmac-sha256", key_id="two")
SHIM: Any = ctypes.CDLL(None)  # what was preloaded into this process
OLD = {"weights": np.arange(5000.0), "name": "old"}
NEW = {"weights": np.arange(7000.0), "name": "new"}


class Operation:
    """What is done to a folder: `before` makes it, `act` is watched, `state` says what a reader finds.

    It is to be `old` or `new`, or what is `between` where there are several steps that each are whole.
    """

    old: Any = "old"
    new: Any = "new"
    between: tuple[Any, ...] = ()
    again_writes = True  # where it is done already: so it removes what a killed one left

    def before(self, folder: Path) -> None:
        safeload.dump(OLD, folder / "model.joblib", key=KEY)

    def ready(self, folder: Path) -> None:
        """Do what is not watched, right before `act`."""

    def act(self, folder: Path) -> Any:
        raise NotImplementedError

    def state(self, folder: Path) -> Any:
        path = folder / "model.joblib"
        if not path.exists() and not Path(f"{path}.manifest.json").exists():
            return None
        return safeload.load(path, keyring=KEY)["name"]


class Dump(Operation):
    def state(self, folder: Path) -> Any:
        """The next writer finishes what a killed one began, and only then looks whether anything is there."""
        found = super().state(folder)
        path = folder / "model.joblib"
        if found is not None:
            try:
                safeload.dump(NEW, path, key=KEY)
            except FileExistsError:
                pass
            else:
                raise AssertionError("a model was overwritten")
            assert super().state(folder) == found
            assert not Path(f"{path}.manifest.json.next").exists()
        return found


class DumpNew(Dump):
    old = None

    def before(self, folder: Path) -> None:
        pass

    def act(self, folder: Path) -> None:
        safeload.dump(NEW, folder / "model.joblib", key=KEY, overwrite=folder.joinpath("model.joblib").exists())


class DumpOver(Dump):
    def act(self, folder: Path) -> None:
        safeload.dump(NEW, folder / "model.joblib", key=KEY, overwrite=True)


class DumpAfterACrash(DumpOver):
    """Where a writer was killed when the artifact was in place, and its manifest was not yet."""

    old = "between"

    def before(self, folder: Path) -> None:
        super().before(folder)
        manifest = folder / "model.joblib.manifest.json"
        before = manifest.read_bytes()
        safeload.dump({**OLD, "name": "between"}, folder / "model.joblib", key=KEY, overwrite=True)
        manifest.rename(f"{manifest}.next")
        manifest.write_bytes(before)


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


class Remember(Operation):
    """A state file that remembers releases."""

    old: int | None = 1
    new = 2
    again_writes = False

    def before(self, folder: Path) -> None:
        RollbackState(folder / "rollback-state.json").raise_release("model.joblib", 1)

    def act(self, folder: Path) -> None:
        RollbackState(folder / "rollback-state.json").raise_release("model.joblib", 2)

    def state(self, folder: Path) -> Any:
        return RollbackState(folder / "rollback-state.json").release("model.joblib")


class RememberFirst(Remember):
    old = None

    def before(self, folder: Path) -> None:
        pass


class Resign(Operation):
    """An artifact and a channel's pointer, signed again after the key was rotated."""

    old, new = ("one", "one"), ("two", "two")
    between = (("two", "one"),)
    again_writes = False

    def ring(self) -> safeload.Keyring:
        ring = safeload.Keyring.from_keys([KEY])
        ring.rotate(OTHER)
        return ring

    def before(self, folder: Path) -> None:
        safeload.dump(OLD, folder / "model.joblib", key=KEY)
        store = safeload.Store(folder / "models", key=[KEY, OTHER], keyring=self.ring())
        store.save("m", [1], version="1")
        safeload.Store(folder / "models", key=KEY, keyring=self.ring()).promote("m", "1")

    def act(self, folder: Path) -> None:
        re_signer = ReSigner(key=self.ring())
        for file in ("model.joblib", "models/m/channels/production.json"):
            re_signer.sign(folder / file)

    def state(self, folder: Path) -> Any:
        assert safeload.load(folder / "model.joblib", keyring=self.ring())["name"] == "old"
        store = safeload.Store(folder / "models", keyring=self.ring())
        assert store.load("m", channel="production") == [1]
        manifest = safeload.read_manifest(folder / "model.joblib", keyring=self.ring())
        (first,), (second,) = manifest.key_ids, store.channel("m").key_ids
        return first, second


class StoreOperation(Operation):
    """A store with the versions 1 to 3, the second in production after the first."""

    old: Any = (["1", "2", "3"], 2)

    def store(self, folder: Path) -> safeload.Store:
        return safeload.Store(folder / "models", key=KEY)

    def before(self, folder: Path) -> None:
        for number in (1, 2, 3):
            self.store(folder).save("m", [number], version=str(number))
        for version in ("1", "2"):
            self.store(folder).promote("m", version)

    def state(self, folder: Path) -> Any:
        store = self.store(folder)
        for report in store.verify():
            assert report.allowed, report.findings
        return [[one.version for one in store.versions("m")], store.load("m", channel="production")[0]]


class StoreSave(StoreOperation):
    new = (["1", "2", "3", "4"], 2)

    def act(self, folder: Path) -> None:
        try:
            self.store(folder).save("m", [4], version="4")
        except FileExistsError:
            pass


class StorePromote(StoreOperation):
    new = (["1", "2", "3"], 3)

    def act(self, folder: Path) -> None:
        self.store(folder).promote("m", "3")


class StoreRollback(StoreOperation):
    new = (["1", "2", "3"], 1)

    def act(self, folder: Path) -> None:
        store = self.store(folder)
        if store.channel("m").version == "1":
            store.promote("m", "1")
        else:
            store.rollback("m")


class StorePrune(StoreOperation):
    """Two versions go, one after the other."""

    old = (["1", "2", "3"], 3)
    between = ((["2", "3"], 3),)
    new = (["3"], 3)

    def before(self, folder: Path) -> None:
        for number in (1, 2, 3):
            self.store(folder).save("m", [number], version=str(number))
        self.store(folder).promote("m", "3")

    def act(self, folder: Path) -> None:
        self.store(folder).prune("m", 1)


class StoreLoad(StoreOperation):
    new = StoreOperation.old

    def act(self, folder: Path) -> None:
        assert self.store(folder).load("m", channel="production") == [2]


class Watch(StoreOperation):
    """A handle that is in use when another version is promoted: whatever fails, it has a whole model, and the new one
    once the files are touched again."""

    old = new = (["1", "2", "3"], 3)

    def before(self, folder: Path) -> None:
        super().before(folder)
        self.ready(folder)

    def ready(self, folder: Path) -> None:
        store = self.store(folder)
        if store.channel("m").version == "3":
            store.rollback("m", to="2")
        self.watch = store.watch("m")
        store.promote("m", "3")

    def act(self, folder: Path) -> None:
        for _ in range(3):
            swapped = self.watch.check()
            current, problem = self.watch.current, self.watch.problem
            assert current.model in ([2], [3])
            if problem is None:
                break
            assert isinstance(problem, safeload.StorageError), repr(problem)
            assert not swapped
            os.utime(folder / "models" / "m" / "channels" / "production.json")
        assert (current.model, current.manifest.version, problem) == ([3], "3", None)


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
    again_writes = False

    def act(self, folder: Path) -> None:
        loader = safeload.Loader(keyring=KEY, mmap_copies=folder / "copies")
        loaded = loader.load(folder / "model.joblib", "r")
        assert (loaded["weights"] == OLD["weights"]).all()


OPERATIONS: dict[str, type[Operation]] = {
    "dump": DumpNew,
    "dump over": DumpOver,
    "dump after a crash": DumpAfterACrash,
    "sign": Sign,
    "sign again": SignAgain,
    "save keyring": SaveKeyring,
    "remember": Remember,
    "remember first": RememberFirst,
    "re-sign": Resign,
    "store save": StoreSave,
    "store promote": StorePromote,
    "store rollback": StoreRollback,
    "store prune": StorePrune,
    "store load": StoreLoad,
    "watch": Watch,
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
            operation.ready(folder)
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
    for fault in faults:
        fresh(template, folder)
        calls = attempt(operation, folder, 1 << 40, fault)["calls"]
        for at in range(-1 if fault == "short" else 0, calls):
            fresh(template, folder)
            outcome = attempt(operation, folder, at, fault)
            try:
                outcome["state"] = operation.state(folder)
                operation.ready(folder)
                operation.act(folder)
                outcome["again"] = operation.state(folder)
            except Exception as error:  # noqa: BLE001
                outcome["broken"] = f"{type(error).__name__}: {error}"
            outcome["names"] = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
            sys.stdout.write(json.dumps(outcome) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
