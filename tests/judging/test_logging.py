"""One structured record per decision, and nothing else: no output, no secrets, no second line."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import safeload

FIELDS = (
    "action",
    "path",
    "verdict",
    "codes",
    "key_id",
    "digest",
    "policy_digest",
    "release",
    "duration",
    "reason",
    "advice",
)


@pytest.fixture
def decisions(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO, logger="safeload")
    return lambda: [
        {field: getattr(record, field) for field in FIELDS} | {"level": record.levelname}
        for record in caplog.records
        if record.name == "safeload"
    ]


def test_every_flow_leaves_one_record(tmp_path: Path, key: safeload.SigningKey, decisions: Any) -> None:
    path = tmp_path / "model.joblib"
    manifest = safeload.dump({"a": 1}, path, key=key, release=7)
    safeload.sign(path, key=key, release=8, overwrite=True)
    safeload.load(path, keyring=key)
    safeload.verify(path, keyring=key)
    safeload.read_manifest(path, keyring=key)
    safeload.scan(path)

    found = decisions()
    assert [one["action"] for one in found] == ["dump", "sign", "load", "verify", "read_manifest", "scan"]
    assert {one["verdict"] for one in found} == {"allowed"}
    assert {one["level"] for one in found} == {"INFO"}
    assert {one["path"] for one in found} == {str(path)}
    assert [one["release"] for one in found] == [7, 8, 8, 8, 8, None]
    assert [one["key_id"] for one in found] == [key.key_id] * 5 + [None]
    assert {one["digest"] for one in found[:5]} == {f"sha256:{manifest.sha256}"}
    assert [one["policy_digest"] for one in found[:4]] == [manifest.policy_digest] * 4
    assert all(0 <= one["duration"] < 60 for one in found)
    assert {(one["reason"], one["advice"]) for one in found} == {(None, None)}
    json.dumps(found)  # any handler can write them


def test_decisions_about_what_is_in_use(tmp_path: Path, key: safeload.SigningKey, decisions: Any) -> None:
    store = safeload.Store(tmp_path / "models", key=key)
    for version in ("1", "2"):
        store.save("m", [version], version=version)
        store.promote("m", version)
    store.rollback("m")
    store.promote("m", "2", "staging")
    with pytest.raises(safeload.RollbackError):
        store.promote("m", "1", "staging")
    path = tmp_path / "a.joblib"
    safeload.dump([1], path, key=key)
    safeload.reissue(path, 6, key=key)

    found = [one for one in decisions() if one["action"] in ("promote", "rollback", "reissue")]
    told = [(one["action"], one["verdict"], one["release"], Path(one["path"]).name) for one in found]
    assert told == [
        ("promote", "allowed", 1, "production.json"),
        ("promote", "allowed", 2, "production.json"),
        ("rollback", "allowed", 1, "production.json"),
        ("promote", "allowed", 2, "staging.json"),
        ("promote", "refused", 1, "staging.json"),
        ("reissue", "allowed", 7, "a.joblib"),
    ]


def test_what_is_saved_in_a_store_is_recorded_where_it_is(
    tmp_path: Path, signed: Path, key: safeload.SigningKey, decisions: Any
) -> None:
    store = safeload.Store(tmp_path / "models", key=key)
    store.save("m", [1], version="1")
    store.add("m", signed, version="2")
    hostile = tmp_path / "hostile.pkl"
    hostile.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(safeload.MalformedArtifactError):  # no pickler of Python 3 writes these opcodes
        store.add("m", hostile, version="3")
    with pytest.raises(FileExistsError):
        store.save("m", [1], version="1")
    found = [one for one in decisions() if one["action"] in ("dump", "sign")]
    assert [(one["action"], one["verdict"], one["release"], one["path"]) for one in found] == [
        (action, verdict, release, f"{store.folder}/m/versions/{version}/m-{version}.joblib")
        for action, verdict, release, version in [
            ("dump", "allowed", 1, "1"),
            ("sign", "allowed", 2, "2"),
            ("sign", "refused", None, "3"),
            ("dump", "error", None, "1"),
        ]
    ]
    assert found[2]["codes"]
    assert str(hostile) in found[2]["reason"]
    assert ".safeload-" not in json.dumps(found)


def test_a_refusal_says_its_codes(tmp_path: Path, signed: Path, key: safeload.SigningKey, decisions: Any) -> None:
    other = safeload.SigningKey.generate()
    with pytest.raises(safeload.UnknownKeyError):
        safeload.load(signed, keyring=other)
    safeload.verify(signed, keyring=other)
    hostile = tmp_path / "hostile.pkl"
    hostile.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    safeload.scan(hostile)
    with pytest.raises(safeload.MalformedArtifactError):  # no pickler of Python 3 writes these opcodes
        safeload.sign(hostile, key=key)
    data = bytearray(signed.read_bytes())
    data[len(data) // 2] ^= 1
    signed.write_bytes(data)
    with pytest.raises(safeload.DigestMismatchError):
        safeload.load(signed, keyring=key)

    found = decisions()
    assert {one["verdict"] for one in found} == {"refused"}
    assert {one["level"] for one in found} == {"WARNING"}
    assert [one["codes"] for one in found[:2]] == [["SL103"], ["SL103"]]
    assert found[2]["codes"] == found[3]["codes"] != []
    assert found[4]["codes"] == ["SL201"]
    # Nobody's word is taken for who signed, unless the signature held.
    assert [one["key_id"] for one in found] == [None, None, None, None, key.key_id]
    assert [one["reason"] is None for one in found] == [False, True, True, False, False]
    assert found[4]["reason"].startswith("digest mismatch: ")
    assert found[4]["advice"] == "Do not load it. Get it again from where it was signed."


def test_what_could_not_be_judged_is_an_error(tmp_path: Path, key: safeload.SigningKey, decisions: Any) -> None:
    with pytest.raises(FileNotFoundError):
        safeload.load(tmp_path / "missing.joblib", keyring=key)
    (tmp_path / "there.joblib").touch()
    with pytest.raises(FileExistsError):
        safeload.dump(1, tmp_path / "there.joblib", key=key)
    assert [(one["verdict"], one["level"], one["codes"]) for one in decisions()] == [("error", "ERROR", [])] * 2


def test_what_other_code_raises_is_not_repeated(tmp_path: Path, key: safeload.SigningKey, decisions: Any) -> None:
    class Talkative:
        def __reduce__(self) -> Any:
            raise ValueError("customer data")

    with pytest.raises(ValueError, match="customer data"):
        safeload.dump(Talkative(), tmp_path / "model.joblib", key=key)
    assert [one["reason"] for one in decisions()] == ["ValueError"]


def test_a_file_name_stays_on_its_line(tmp_path: Path, key: safeload.SigningKey, caplog: Any) -> None:
    caplog.set_level(logging.INFO, logger="safeload")
    safeload.dump(1, tmp_path / "x\nWARNING load refused\x1b[2K é.joblib", key=key)
    with pytest.raises(FileExistsError):
        safeload.dump(1, tmp_path / "x\nWARNING load refused\x1b[2K é.joblib", key=key)
    for message in [record.getMessage() for record in caplog.records]:
        assert message.isascii()
        assert message.isprintable()


def test_no_secret_is_logged(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    ring = tmp_path / "ring.toml"
    key = safeload.SigningKey.generate()
    safeload.Keyring.from_keys([key]).save(ring)
    secret = next(line for line in ring.read_text().splitlines() if line.startswith("secret")).split('"')[1]
    path = tmp_path / "model.joblib"
    safeload.dump({"private": "customer data"}, path, key=ring, metadata={"note": "internal"})
    safeload.load(path, keyring=ring)
    logged = "\n".join(str(vars(record)) for record in caplog.records if record.name == "safeload")
    assert path.name in logged
    for hidden in (secret, "customer data", "internal"):
        assert hidden not in logged


def test_without_a_handler_nothing_is_printed(tmp_path: Path) -> None:
    (tmp_path / "hostile.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    code = "import safeload; assert not safeload.scan('hostile.pkl').allowed"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == result.stderr == ""
