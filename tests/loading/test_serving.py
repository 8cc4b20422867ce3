"""The example service under a real server: requests all along while models are promoted, good and bad ones."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from safeload import Keyring, Policy, SigningKey, Store
from support.places import ROOT

EXAMPLE = ROOT / "examples" / "serve"
BODY = json.dumps({"rows": [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]})
MOST_REQUESTS = 20_000
SOON = 60  # seconds, on a machine that has other work


class Service:
    """uvicorn in a process of its own, on a port of loopback that the system gave it."""

    def __init__(self, log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "0", "--no-access-log"],
                cwd=EXAMPLE,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )
        self.port = int(self.wait(r"running on http://127\.0\.0\.1:(\d+)")[1])

    def wait(self, pattern: str) -> re.Match[str]:
        """Return where the log says this."""
        deadline = time.monotonic() + SOON
        while (found := re.search(pattern, self.log.read_text())) is None:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return found

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(SOON)
        finally:
            self.process.kill()


class Client(threading.Thread):
    """Asks again and again on one connection, and keeps what was not a good answer."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON)
        self.versions: list[str] = []
        self.failed: list[Any] = []
        self.stop = threading.Event()

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        self.connection.request(method, path, body, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def run(self) -> None:
        while not self.stop.wait(0.005) and len(self.versions) < MOST_REQUESTS and not self.failed:
            try:
                status, answer = self.ask("POST", "/predict", BODY)
                if status != 200 or answer["predictions"] != PREDICTIONS[answer["version"]]:
                    self.failed.append((status, answer))
                elif self.versions[-1:] != [answer["version"]]:
                    self.versions.append(answer["version"])
            except Exception as error:  # noqa: BLE001
                self.failed.append(error)


PREDICTIONS = {"1.0": [0, 2], "1.1": [1, 1], "1.4": [2, 0]}


def model(labels: list[int]) -> Any:
    """A classifier that says these of the two rows that are asked for."""
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(1).fit(json.loads(BODY)["rows"], labels)


def test_models_are_replaced_while_requests_run(tmp_path: Path) -> None:
    key = SigningKey.generate("ed25519")
    ring = tmp_path / "serving.toml"
    Keyring.from_keys([key.verifying_key]).save(ring)
    lax = tmp_path / "lax.toml"
    lax.write_text(
        'name = "lax"\nversion = 1\nextends = ["sklearn"]\n[[allow]]\nmodule = "ipaddress"\nnames = ["IPv4Address"]\n'
        'roles = ["call"]\nargs = [["int"]]\nreason = "the training side allows what the service does not"\n'
    )
    store = Store(tmp_path / "models", key=key, policy=Policy.load(lax))
    store.save("iris", model(PREDICTIONS["1.0"]), version="1.0")
    store.promote("iris", "1.0")
    environment = {
        "MODELS": str(store.folder),
        "SAFELOAD_KEYRING": str(ring),
        "ROLLBACK_STATE": str(tmp_path / "state" / "rollback-state.json"),
        "INTERVAL": "0.05",
    }
    service = Service(tmp_path / "log", environment)
    *clients, prober = [Client(service.port) for _ in range(3)]
    try:
        for client in clients:
            client.start()

        def until_served(version: str) -> None:
            deadline = time.monotonic() + SOON
            while {client.versions[-1:] == [version] for client in clients} != {True}:
                assert [client.failed for client in clients] == [[], []]
                assert time.monotonic() < deadline, service.log.read_text()
                time.sleep(0.01)

        until_served("1.0")
        store.save("iris", model(PREDICTIONS["1.1"]), version="1.1")
        store.promote("iris", "1.1")
        until_served("1.1")
        assert prober.ask("GET", "/health") == (200, {"version": "1.1", "release": 2, "problem": None})

        # Signed and promoted, and yet nothing that this service's policy allows.
        import ipaddress

        store.save("iris", [ipaddress.IPv4Address("10.0.0.1")], version="1.2")
        store.promote("iris", "1.2")
        service.wait(r"WARNING safeload: watch refused: .*production\.json' codes=SL401 ")
        # And one that was damaged on its way from where it was promoted.
        store.save("iris", model([0, 0]), version="1.3")
        shutil.copytree(store.folder, tmp_path / "origin")
        Store(tmp_path / "origin", key=key).promote("iris", "1.3")
        artifact = store.folder / "iris" / "versions" / "1.3" / "iris-1.3.joblib"
        data = bytearray(artifact.read_bytes())
        data[-2] ^= 1
        artifact.write_bytes(data)
        pointer = Path("iris", "channels", "production.json")
        (tmp_path / "origin" / pointer).replace(store.folder / pointer)
        service.wait(r"WARNING safeload: watch refused: .*production\.json' codes=SL201 ")
        status, said = prober.ask("GET", "/health")
        assert (status, said["version"], said["problem"]) == (503, "1.1", "DigestMismatchError")

        store.save("iris", model(PREDICTIONS["1.4"]), version="1.4")
        store.promote("iris", "1.4")
        until_served("1.4")
    finally:
        for client in clients:
            client.stop.set()
            client.join()
            client.connection.close()
        prober.connection.close()
        code = service.stop()
    assert [client.failed for client in clients] == [[], []]
    assert [client.versions for client in clients] == [["1.0", "1.1", "1.4"]] * 2
    assert code in (0, -15), service.log.read_text()  # newer releases of uvicorn end by the signal that they got
    assert "Traceback" not in service.log.read_text()
