"""Key material in the place of a path is recognised and shown nowhere; ordinary paths are shown."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import os
import random
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import safeload
from safeload import audit
from safeload._cli import main
from safeload._internal.secrecy import NOT_SHOWN, looks_secret, shown
from safeload.errors import KeyringError, SafeloadError
from safeload.keys import Keyring, PemFile, SigningKey, editing
from safeload.store import ReSigner, Store

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = 3  # an artifact, its manifest and a keyring
PIECE = 12  # characters of a secret that may be seen nowhere


def pem_of(secret: bytes) -> bytes:
    """Return a private Ed25519 key as unencrypted PEM (RFC 8410)."""
    body = base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + secret)
    return b"-----BEGIN PRIVATE KEY-----\n" + body + b"\n-----END PRIVATE KEY-----\n"


@st.composite
def misplaced(draw: st.DrawFn) -> tuple[str, str]:
    """A text that holds a real key in some encoding, or a large part of one, and the encoded key itself."""
    secret = random.Random(draw(st.integers(0, 2**64))).randbytes(32)  # as random as keys are
    algorithm = draw(st.sampled_from(["hmac-sha256", "ed25519"]))
    ring = Keyring.from_keys([SigningKey(secret, algorithm=algorithm)]).to_toml().encode()
    form = draw(st.sampled_from(["key", "pem", "keyring"]))
    data = {"key": secret, "pem": pem_of(secret), "keyring": ring}[form]
    plain = base64.b64encode(secret).decode()
    encode: Callable[[bytes], str]
    encode = draw(
        st.sampled_from(
            [
                lambda data: base64.b64encode(data).decode(),
                lambda data: base64.urlsafe_b64encode(data).decode(),
                lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
                lambda data: base64.b32encode(data).decode(),
                bytes.hex,
                lambda data: data.hex().upper(),
                lambda data: data.hex(":"),
                lambda data: f"0x{data.hex()}",
            ]
        )
    )
    text = encode(data)
    if form != "key":
        whole = draw(st.sampled_from([text, data.decode(), data.decode().replace("\n", " "), *wrapped(data)]))
        return whole, plain if whole != text else text
    most = len(text)
    start = draw(st.integers(0, most // 5))
    part = draw(st.sampled_from([text, text[start:], text[: most - start], f'secret = "{text}"', f" {text}\n"]))
    return part, text


def wrapped(data: bytes) -> list[str]:
    """Return PEM and keyrings as they come through variables: with their line breaks written out, or gone."""
    return [data.decode().replace("\n", "\\n"), data.decode().replace("\n", "")]


def api_places(text: str) -> dict[str, Callable[[], Any]]:
    """Return a call for each place in the API that takes a path."""
    key = SigningKey.generate()
    return {
        "load": lambda: safeload.load(text, keyring=key),
        "load Path": lambda: safeload.load(Path(text), keyring=key),
        "load keyring": lambda: safeload.load("model.joblib", keyring=text),
        "verify": lambda: safeload.verify(text, keyring=key),
        "scan": lambda: safeload.scan(text),
        "scan policy": lambda: safeload.scan("model.joblib", policy=text),
        "scan policies": lambda: safeload.scan("model.joblib", policy=["sklearn", text]),
        "dump": lambda: safeload.dump([1], text, key=key),
        "dump key": lambda: safeload.dump([1], "new.joblib", key=text),
        "sign": lambda: safeload.sign(text, key=key),
        "re_sign": lambda: safeload.re_sign(text, key=key),
        "countersign": lambda: safeload.countersign(text, key=key),
        "reissue": lambda: safeload.reissue(text, 1, key=key),
        "read_manifest": lambda: safeload.read_manifest(text, keyring=key),
        "Loader keyring": lambda: safeload.Loader(keyring=text),
        "Loader policy": lambda: safeload.Loader(keyring=key, policy=text),
        "Loader rollback_state": lambda: safeload.Loader(keyring=key, rollback_state=text),
        "Loader mmap_copies": lambda: safeload.Loader(keyring=key, mmap_copies=text),
        "Loader load": lambda: safeload.Loader(keyring=key).load(text),
        "Loader watch": lambda: safeload.Loader(keyring=key).watch(text),
        "Keyring.load": lambda: Keyring.load(text),
        "Keyring.save": lambda: Keyring.from_keys([key]).save(text),
        "editing": lambda: editing(text).__enter__(),
        "PemFile": lambda: PemFile.read(text),
        "Store": lambda: Store(text, keyring=key),
        "Store keyring": lambda: Store("store", keyring=text),
        "ReSigner": lambda: ReSigner(keyring=text),
        "Policy.load": lambda: safeload.Policy.load(text),
        "lint": lambda: audit.lint(text),
    }


CLI_PLACES = [
    *([command, "{}"] for command in ("verify", "scan", "sign", "inspect", "audit", "countersign", "re-sign", "{}")),
    ["sign", "model.joblib", "--keyring", "{}"],
    ["verify", "model.joblib", "--keyring", "{}"],
    ["verify", "model.joblib", "--keyring={}", "--debug"],
    ["verify", "model.joblib", "--rollback-state", "{}"],
    ["verify", "model.joblib", "--policy", "{}"],
    ["scan", "model.joblib", "--policy", "{}", "--format", "json"],
    ["scan", "model.joblib", "--output", "{}"],
    ["key", "new", "--out", "{}"],
    ["key", "new", "{}"],
    ["key", "list", "--keyring", "{}"],
    ["key", "rotate", "--keyring", "{}"],
    ["key", "rotate", "--keyring", "ring.toml", "--re-sign", "{}"],
    ["key", "import", "{}"],
    ["key", "export", "--keyring", "ring.toml", "--out", "{}", "--private"],
    ["policy", "show", "{}"],
    ["audit", "--policy", "{}"],
    ["policy", "learn", "{}"],
    ["reissue", "{}", "--from-release", "1"],
    ["store", "list", "--store", "{}"],
    ["store", "{}"],
    ["audit", "model.joblib", "--against", "{}"],
]


def assert_hidden(secret: str, written: str) -> None:
    for start in range(len(secret) - PIECE + 1):
        assert secret[start : start + PIECE] not in written, "a piece of the secret was written"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an artifact and a keyring."""
    made = tmp_path_factory.mktemp("misplaced")
    ring = Keyring.from_keys([SigningKey.generate("ed25519")])
    ring.save(made / "ring.toml")
    safeload.dump([1], made / "model.joblib", key=ring)
    return made


few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(misplaced())
def test_no_call_repeats_a_secret_in_the_place_of_a_path(folder: Path, given_text: tuple[str, str]) -> None:
    text, secret = given_text
    records = io.StringIO()
    handler = logging.StreamHandler(records)
    logger = logging.getLogger("safeload")
    logger.addHandler(handler)
    try:
        with contextlib.chdir(folder):
            for name, call in api_places(text).items():
                with pytest.raises((SafeloadError, OSError, ValueError)) as raised:
                    call()
                error = raised.value
                chain = "".join(traceback.format_exception(error))
                assert_hidden(secret, f"{error}{error!r}{vars(error)}{chain}")
                assert len(os.listdir()) == FILES, name
    finally:
        logger.removeHandler(handler)
    assert_hidden(secret, records.getvalue())


@few
@given(misplaced(), st.sampled_from(CLI_PLACES))
def test_no_command_repeats_a_secret_in_the_place_of_a_path(
    folder: Path, given_text: tuple[str, str], words: list[str]
) -> None:
    text, secret = given_text
    assert_command_hides(folder, [word.replace("{}", text) for word in words], secret, {})


@pytest.mark.parametrize("words", CLI_PLACES, ids=" ".join)
def test_every_command_refuses_a_secret_in_the_place_of_a_path(folder: Path, words: list[str]) -> None:
    secret = base64.b64encode(random.Random(7).randbytes(32)).decode()
    assert_command_hides(folder, [word.replace("{}", secret) for word in words], secret, {})


@few
@given(misplaced(), st.sampled_from(["SAFELOAD_KEYRING", "SAFELOAD_POLICY", "SAFELOAD_STORE"]))
def test_no_variable_with_a_secret_is_repeated(folder: Path, given_text: tuple[str, str], variable: str) -> None:
    text, secret = given_text
    command = ["store", "list"] if variable == "SAFELOAD_STORE" else ["verify", "model.joblib"]
    assert_command_hides(folder, command, secret, {variable: text})


def assert_command_hides(folder: Path, words: list[str], secret: str, variables: dict[str, str]) -> None:
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    os.environ["SAFELOAD_KEYRING"] = "ring.toml"
    os.environ.update(variables)
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            with pytest.raises(SystemExit) as left:
                main(words)
            assert len(os.listdir()) == FILES, "a file was written"
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert left.value.code in (2, 4), err.getvalue()
    assert_hidden(secret, out.getvalue() + err.getvalue())
    assert NOT_SHOWN in out.getvalue() + err.getvalue()


def test_an_id_that_looks_like_a_key_is_not_repeated(folder: Path) -> None:
    secret = random.Random(5).randbytes(32).hex()
    ring = Keyring.load(folder / "ring.toml")
    with pytest.raises(KeyringError) as raised:
        ring.revoke(secret, "lost")
    assert_hidden(secret, str(raised.value))


DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.mark.parametrize(
    "path",
    [
        "model.joblib",
        f"model-{DIGEST}.joblib",
        f"{DIGEST}.joblib",
        f"sha256:{DIGEST}",
        f"model-{DIGEST}",
        f"blobs/sha256/{DIGEST}",
        "123e4567-e89b-12d3-a456-426614174000",
        "123e4567e89b12d3a456426614174000",
        "mlruns/0/0123456789abcdef0123456789abcdef/artifacts/model/model.pkl",
        "Users/Anna/Projects2024/FraudModels/Version12",
        "/srv/models/production/FraudModel2024v3",
        "RandomForestClassifier_n100_d8_v3_20241102",
        "fraud_detector_v3_n100_d8_20241102T093000",
        "fraud_v3_n100_d8_20241102T093000",
        "date=2024-11-02/region=europe-west1/RandomForestModel",
        "s3:/bucket/models/production/fraud-detector/2024-11-02/model.joblib",
        "/run/secrets/kubernetes.io/serviceaccount/..2024_11_02_09_30_00.123456789/keyring.toml",
        "/nix/store/7rjqb838snvvxcmpvck1smfxhkwzqal5-model-1.0/model.joblib",
        "a" * 200,
        "x" * 5000,
    ],
)
def test_ordinary_paths_are_shown(path: str, tmp_path: Path) -> None:
    assert shown(path) == path
    with pytest.raises(OSError if len(path) < 255 else (OSError, SafeloadError)) as raised:
        safeload.load(tmp_path / "gone" / path, keyring=SigningKey.generate())
    assert path[:200] in str(raised.value)


def test_the_path_of_an_existing_file_or_of_one_in_an_existing_folder_is_shown(tmp_path: Path) -> None:
    name = base64.urlsafe_b64encode(random.Random(3).randbytes(32)).decode()
    with contextlib.chdir(tmp_path):
        assert looks_secret(name)
        assert shown(name) == NOT_SHOWN
        assert not looks_secret(f"./{name}")
        assert not looks_secret(tmp_path / name)
        safeload.dump([1], f"./{name}", key=(key := SigningKey.generate()))
        assert not looks_secret(name)
        assert safeload.load(name, keyring=key) == [1]


def test_a_keyring_of_many_lines_is_not_split_into_paths() -> None:
    text = Keyring.from_keys([SigningKey.generate()]).to_toml()
    assert shown(text) == NOT_SHOWN
    assert all(shown(line) == NOT_SHOWN for line in text.splitlines() if line.startswith(("[[", "secret")))
