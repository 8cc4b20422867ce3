"""Manifests and their envelopes: what is signed is read back, and everything else is refused."""

from __future__ import annotations

import base64
import copy
import enum
import json
import os
import socket
import sys
from collections import OrderedDict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from safeload._internal.strictjson import parse_json
from safeload._manifest.envelope import pre_authentication_encoding
from safeload._manifest.manifest import (
    COMPRESSIONS,
    FORMATS,
    MAX_MANIFEST_BYTES,
    PAYLOAD_TYPE,
    ROLES,
    Manifest,
    Producer,
    clean_metadata,
    open_envelope,
    seal,
    unverified_sha256,
)
from safeload._manifest.metadata import MAX_DEPTH, MAX_TEXT, MAX_VALUES
from safeload._storage.opening import read_envelope_bytes
from safeload.errors import (
    BadSignatureError,
    ExpiredError,
    ManifestError,
    UnknownKeyError,
    UnsignedError,
    VerificationError,
)
from safeload.keys import KeyEntry, Keyring, SigningKey

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
KEY = SigningKey(bytes(range(32)), key_id="trainer")
RING = Keyring.from_keys([KEY])
CHUNK = 1 << 16

MANIFEST = Manifest(
    name="model.joblib",
    size=2 * CHUNK + 1,
    format="joblib",
    compression="zlib",
    chunk_size=CHUNK,
    digest_algorithm="blake3",
    chunks=("0" * 64, "1" * 64, "abcdef" + "2" * 58),
    sha256="f" * 64,
    release=7,
    version="2026.11 “autumn”",
    created=NOW,
    expires=NOW + DAY,
    producer=Producer(python="3.11.9", platform="Linux-x86_64", packages={"joblib": "1.6.0", "numpy": "2.4.0"}),
    scanner="1",
    policy_name="sklearn",
    policy_digest="sha256:" + "9" * 64,
    globals=(("sklearn.linear_model._logistic.LogisticRegression", ("new", "state")), ("builtins.set", ("call",))),
    metadata={"auc": 0.93, "features": ["größe", None, True, 3], "nested": {"a": {"b": []}}},
    key_ids=("trainer",),
)


def envelope_of(payload: bytes, *keys: SigningKey, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """Sign any payload, as an honest holder of the keys would never do."""
    message = b"DSSEv1 %d %b %d %b" % (len(payload_type), payload_type.encode(), len(payload), payload)
    signatures = [{"keyid": key.key_id, "sig": base64.b64encode(key.sign(message)).decode()} for key in keys or (KEY,)]
    return json.dumps(
        {"payloadType": payload_type, "payload": base64.b64encode(payload).decode(), "signatures": signatures}
    ).encode()


def payload_of(envelope: bytes) -> bytes:
    return base64.b64decode(json.loads(envelope)["payload"])


def statement() -> Any:
    """Return the valid statement as plain JSON, to be spoilt."""
    return json.loads(payload_of(seal(MANIFEST, [KEY])))


def open_statement(changed: object) -> Manifest:
    return open_envelope(envelope_of(json.dumps(changed).encode()), RING, now=NOW)


def at(tree: Any, path: str) -> tuple[Any, Any]:
    """Return the container and the last key of a path such as `predicate.artifact.chunks.digests.0`."""
    *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
    for step in steps:
        tree = tree[step]
    return tree, last


# --- round trips ---


def test_what_is_sealed_is_read_back() -> None:
    data = seal(MANIFEST, [KEY])
    assert open_envelope(data, RING, now=NOW) == MANIFEST
    assert seal(MANIFEST, [KEY]) == data, "nothing in it is left to chance"


def test_the_file_is_dsse_over_an_in_toto_statement() -> None:
    envelope = json.loads(seal(MANIFEST, [KEY]))
    assert list(envelope) == ["payloadType", "payload", "signatures"]
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    document = statement()
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["subject"] == [{"name": "model.joblib", "digest": {"sha256": "f" * 64}}]
    assert document["predicateType"] == "urn:safeload:manifest:v1"
    assert list(document["predicate"]) == [
        "artifact",
        "release",
        "version",
        "created",
        "expires",
        "producer",
        "scan",
        "metadata",
    ]
    assert document["predicate"]["created"] == "2026-11-02T09:30:00Z"


def test_the_pre_authentication_encoding_is_the_specifications() -> None:
    # The example of DSSE's protocol.md, and lengths that count bytes.
    assert (
        pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pre_authentication_encoding("é", "ü".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xbc"
    assert pre_authentication_encoding("", b"") == b"DSSEv1 0  0 "


def test_the_signature_is_over_the_encoding_of_the_payload_as_it_stands() -> None:
    envelope = json.loads(seal(MANIFEST, [KEY]))
    message = pre_authentication_encoding(envelope["payloadType"], base64.b64decode(envelope["payload"]))
    KEY.verifying_key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), message)
    # Another spelling of the same statement, signed as it stands, is as good.
    spelt = json.dumps(statement(), indent=3, ensure_ascii=False, sort_keys=True).encode()
    assert open_envelope(envelope_of(spelt), RING, now=NOW) == MANIFEST


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)
lines = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30).filter(str.isprintable)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    chunk_size = 1 << draw(st.integers(16, 24))
    chunks = draw(st.lists(digests, max_size=4))
    return Manifest(
        name=draw(names),
        size=len(chunks) * chunk_size - draw(st.integers(0, chunk_size - 1)) if chunks else 0,
        format=draw(st.sampled_from(FORMATS)),
        compression=draw(st.sampled_from(COMPRESSIONS)),
        chunk_size=chunk_size,
        digest_algorithm=draw(st.sampled_from(["blake3", "sha256"])),
        chunks=tuple(chunks),
        sha256=draw(digests),
        release=draw(st.integers(0, (1 << 63) - 1)),
        version=draw(st.none() | lines),
        created=draw(moments),
        expires=draw(st.none() | moments),
        producer=Producer(draw(lines), draw(lines), draw(st.dictionaries(lines, lines, max_size=3))),
        scanner=draw(lines),
        policy_name=draw(lines),
        policy_digest=draw(lines),
        globals=tuple(
            draw(
                st.dictionaries(lines, st.lists(st.sampled_from(ROLES), min_size=1, unique=True).map(tuple), max_size=3)
            ).items()
        ),
        metadata=draw(st.dictionaries(texts, json_values, max_size=3)),
        key_ids=(KEY.key_id,),
    )


@given(manifests())
def test_every_manifest_survives_its_envelope(manifest: Manifest) -> None:
    data = seal(manifest, [KEY])
    read = open_envelope(data, RING, now=manifest.expires or NOW)
    assert read == manifest
    assert unverified_sha256(data) == manifest.sha256
    json.dumps(read.to_dict(), allow_nan=False)


def test_to_dict_is_json_and_complete() -> None:
    shown = MANIFEST.to_dict()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["sha256"] == "f" * 64
    assert shown["key_ids"] == ["trainer"]
    assert shown["artifact"]["name"] == "model.joblib"
    assert shown["expires"] == "2026-11-03T09:30:00Z"


# --- trust ---


def test_a_wrong_key_an_unknown_key_and_a_changed_payload_are_told_apart() -> None:
    data = seal(MANIFEST, [KEY])
    with pytest.raises(BadSignatureError, match="'trainer' is not valid"):
        open_envelope(data, Keyring.from_keys([SigningKey.generate(key_id="trainer")]), now=NOW)
    with pytest.raises(UnknownKeyError, match=r"no key 'trainer', only someone\. If you trust the signer"):
        open_envelope(data, Keyring.from_keys([SigningKey.generate(key_id="someone")]), now=NOW)
    envelope = json.loads(data)
    envelope["payload"] = base64.b64encode(payload_of(data).replace(b'"release":7', b'"release":8')).decode()
    with pytest.raises(BadSignatureError):
        open_envelope(json.dumps(envelope).encode(), RING, now=NOW)


def test_a_signature_made_for_another_payload_type_does_not_count() -> None:
    other = envelope_of(payload_of(seal(MANIFEST, [KEY])), payload_type="text/plain")
    with pytest.raises(ManifestError, match="payloadType must be application/vnd"):
        open_envelope(other, RING, now=NOW)
    with pytest.raises(BadSignatureError):
        open_envelope(other.replace(b"text/plain", PAYLOAD_TYPE.encode()), RING, now=NOW)


def test_the_payload_is_not_read_before_its_signature_holds() -> None:
    with pytest.raises(UnknownKeyError):
        open_envelope(envelope_of(b"[" * 100_000, SigningKey.generate(key_id="stranger")), RING, now=NOW)
    with pytest.raises(BadSignatureError):
        open_envelope(envelope_of(b"not json", SigningKey.generate(key_id="trainer")), RING, now=NOW)


def test_every_known_signature_must_hold_and_one_must_be_trusted() -> None:
    second = SigningKey.generate("ed25519", "auditor")
    stranger = SigningKey.generate(key_id="stranger")
    data = seal(MANIFEST, [KEY, second, stranger])
    both = Keyring([KeyEntry(KEY, "active", NOW), KeyEntry(second.verifying_key, "verify-only", NOW)])
    assert open_envelope(data, both, now=NOW).key_ids == ("trainer", "auditor")
    assert open_envelope(data, RING, now=NOW).key_ids == ("trainer",)
    assert open_envelope(data, Keyring.from_keys([second.verifying_key]), now=NOW).key_ids == ("auditor",)

    one_revoked = Keyring([KeyEntry(KEY, "revoked", NOW, reason="leaked"), KeyEntry(second, "active", NOW)])
    assert open_envelope(data, one_revoked, now=NOW).key_ids == ("auditor",)
    envelope = json.loads(data)
    envelope["signatures"][0]["sig"] = base64.b64encode(bytes(32)).decode()
    for ring in (both, one_revoked):
        with pytest.raises(BadSignatureError, match="'trainer'"):
            open_envelope(json.dumps(envelope).encode(), ring, now=NOW)

    with pytest.raises(VerificationError, match="revoked") as caught:
        open_envelope(data, Keyring([KeyEntry(KEY, "revoked", NOW)]), now=NOW)
    assert caught.value.code == "SL106"
    with pytest.raises(ExpiredError, match="key 'trainer' was trusted until"):
        open_envelope(data, Keyring([KeyEntry(KEY, "active", NOW, not_after=NOW - DAY)]), now=NOW)


def test_expiry_names_both_times() -> None:
    data = seal(MANIFEST, [KEY])
    assert open_envelope(data, RING, now=NOW + DAY) == MANIFEST, "the last moment still counts"
    with pytest.raises(ExpiredError, match=r"release 7.*2026-11-03T09:30:00Z.*2026-11-03T09:30:01Z"):
        open_envelope(data, RING, now=NOW + DAY + timedelta(seconds=1))
    with pytest.raises(ExpiredError):
        open_envelope(seal(replace(MANIFEST, created=NOW - 9999 * DAY, expires=NOW - 9998 * DAY), [KEY]), RING)
    assert open_envelope(seal(replace(MANIFEST, expires=None), [KEY]), RING).expires is None


# --- envelopes that are refused ---


def spoilt_envelopes() -> dict[str, bytes]:
    good = json.loads(seal(MANIFEST, [KEY]))
    signature = good["signatures"][0]

    def but(**changes: object) -> bytes:
        return json.dumps({**good, **changes}).encode()

    text = json.dumps(good)
    return {
        "empty": b"",
        "blank": b" \n",
        "null": b"null",
        "list": b"[]",
        "text": b'"x"',
        "number": b"1" * 5000,
        "cut": text[:-1].encode(),
        "trailing": text.encode() + b"x",
        "two": text.encode() * 2,
        "not utf-8": text.encode() + b"\xff",
        "utf-16": text.encode("utf-16"),
        "bom": b"\xef\xbb\xbf" + text.encode(),
        "nul": text.encode() + b"\0",
        "nan": b'{"payload": NaN}',
        "deep list": b"[" * 100_000,
        "deep object": b'{"a":' * 100_000,
        "many objects": b"[" + b"{}," * 100_000,
        "many commas": b"[" + b"0," * 100_000,
        "comment": b"// x\n" + text.encode(),
        "duplicate key": text.replace('"payloadType"', '"payload": "", "payloadType"', 1).encode(),
        "duplicate keyid field": text.replace('"keyid"', '"keyid": "x", "keyid"', 1).encode(),
        "unknown field": but(extra=1),
        "unknown field in a signature": but(signatures=[{**signature, "cert": ""}]),
        "no payload": json.dumps({key: good[key] for key in good if key != "payload"}).encode(),
        "payload null": but(payload=None),
        "payload list": but(payload=[good["payload"]]),
        "payload unpadded": but(payload=good["payload"].rstrip("=") + "A"),
        "payload with newline": but(payload=good["payload"][:76] + "\n" + good["payload"][76:]),
        "payload surrogate": but(payload="\ud800"),
        "payload type": but(payloadType="application/json"),
        "payload type case": but(payloadType=PAYLOAD_TYPE.upper()),
        "payload type number": but(payloadType=1),
        "no signatures": but(signatures=[]),
        "signatures null": but(signatures=None),
        "signatures object": but(signatures=signature),
        "signature text": but(signatures=["x"]),
        "signature without key id": but(signatures=[{"sig": signature["sig"]}]),
        "key id empty": but(signatures=[{**signature, "keyid": ""}]),
        "key id null": but(signatures=[{**signature, "keyid": None}]),
        "key id odd": but(signatures=[{**signature, "keyid": "trainer\n"}]),
        "key id surrogate": but(signatures=[{**signature, "keyid": "\udfff"}]),
        "the same key twice": but(signatures=[signature, signature]),
        "17 signatures": but(signatures=[{**signature, "keyid": f"k{index}"} for index in range(17)]),
        "signature not base64": but(signatures=[{**signature, "sig": "!"}]),
        "signature not canonical": but(signatures=[{**signature, "sig": signature["sig"][:-2] + "9="}]),
        "signature url-safe": but(signatures=[{**signature, "sig": "-_-_"}]),
    }


@pytest.mark.parametrize("name", spoilt_envelopes())
def test_spoilt_envelopes_are_refused(name: str) -> None:
    data = spoilt_envelopes()[name]
    with pytest.raises(ManifestError) as caught:
        open_envelope(data, RING, now=NOW)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()
    assert unverified_sha256(data) is None


def test_too_much_is_not_read() -> None:
    with pytest.raises(ManifestError, match="more than 33554432 bytes"):
        open_envelope(b" " * (MAX_MANIFEST_BYTES + 1), RING)


# --- payloads that are refused although they are signed ---

WRONG_FOR_ALL: list[object] = [None, True, 1.5, [], {}, [[]], "", "\ud800", -1]
PLACES: dict[str, list[object]] = {
    "_type": ["https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1/"],
    "subject": [[1], "x"],
    "subject.0": ["x"],
    "subject.0.name": ["other.joblib"],
    "subject.0.digest": ["f" * 64],
    "subject.0.digest.sha256": ["F" * 64, "f" * 63, "f" * 65, "g" * 64, "f" * 64 + "\n", "\u0661" * 64],
    "predicateType": ["urn:safeload:manifest:v0", "urn:safeload:manifest:v1.1", "urn:safeload:manifest", "https://x"],
    "predicate": ["x"],
    "predicate.artifact": ["x"],
    "predicate.artifact.name": ["a/b", "/", ".", "..", "a\0", "é" * 128, "other"],
    "predicate.artifact.size": [1 << 63, 10**30, "5", 2 * CHUNK + 1.0, CHUNK, 3 * CHUNK + 1, 0],
    "predicate.artifact.format": ["Joblib", "npz"],
    "predicate.artifact.compression": ["zip", "compat", "NONE"],
    "predicate.artifact.chunks": ["x"],
    "predicate.artifact.chunks.algorithm": ["md5", "BLAKE3"],
    "predicate.artifact.chunks.size": [0, CHUNK + 1, CHUNK // 2, 1 << 25, float(CHUNK), str(CHUNK)],
    "predicate.artifact.chunks.digests": [["0" * 64], ["0" * 64] * 4, {"0": 1}, "0" * 64],
    "predicate.artifact.chunks.digests.1": ["A" * 64, "0" * 62, 5],
    "predicate.release": [1 << 63, "7", 7.0],
    "predicate.version": ["a\nb", "x" * 1001, 5],
    "predicate.created": [
        "2026-11-02",
        "2026-11-02T09:30:00",
        "2026-11-02T09:30:00z",
        "2026-11-02t09:30:00Z",
        "2026-11-02 09:30:00Z",
        "2026-11-02T09:30Z",
        "2026-11-02T09:30:00+00:00",
        "2026-11-02T09:30:00.000000Z",
        "2026-11-02T09:30:00.5Z",
        "2026-02-30T09:30:00Z",
        "2026-11-02T24:00:00Z",
        "2026-11-02T09:30:60Z",
        "0000-01-01T00:00:00Z",
        "\uff12026-11-02T09:30:00Z",
        "2026-11-02T09:30:00Z\n",
        1793611800,
    ],
    "predicate.expires": ["never", 1793611800, "2026-13-02T09:30:00Z"],
    "predicate.producer": ["x"],
    "predicate.producer.python": ["a\x1b[31m", 3.11],
    "predicate.producer.platform": ["x" * 1001],
    "predicate.producer.packages": [{"a": 1}, {"a": None}, {"": "1"}, {"a\n": "1"}, {"\ud800": "1"}, [["a", "1"]]],
    "predicate.scan": ["x"],
    "predicate.scan.scanner": [1],
    "predicate.scan.policy": ["sklearn"],
    "predicate.scan.policy.name": ["a\tb"],
    "predicate.scan.policy.digest": [1],
    "predicate.scan.globals": [{"a": ["new"]}, ["a"], "a"],
    "predicate.scan.globals.0": ["a"],
    "predicate.scan.globals.0.name": ["builtins.set", "a b\n"],
    "predicate.scan.globals.0.roles": [["new", "new"], ["exec"], [1], "new", {"new": 1}, [["new"]]],
    "predicate.metadata": [[["a", 1]], "x"],
}
# Where one of the values that are wrong nearly everywhere is right.
FINE: dict[str, list[object]] = {
    "predicate.producer.packages": [{}],
    "predicate.scan.globals": [[]],
    "predicate.metadata": [{}],
}


@pytest.mark.parametrize("place", PLACES)
def test_wrong_values_are_refused_wherever_they_stand(place: str) -> None:
    for value in [*WRONG_FOR_ALL, *PLACES[place]]:
        if value in FINE.get(place, []):
            continue
        document = statement()
        container, key = at(document, place)
        container[key] = value
        with pytest.raises(ManifestError) as caught:
            open_statement(document)
        assert str(caught.value).isprintable(), value
        assert len(str(caught.value)) < 600


def objects(tree: object, path: str = "") -> list[str]:
    found = []
    if isinstance(tree, dict):
        found.append(path)
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else []:
        found += objects(value, f"{path}.{key}" if path else str(key))
    return found


FREE = ("predicate.metadata", "predicate.producer.packages")
OBJECTS = [path for path in objects(statement()) if not path.startswith(FREE)]


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: path or "statement")
def test_unknown_missing_and_doubled_fields_are_refused(path: str) -> None:
    def target(document: Any) -> Any:
        if not path:
            return document
        container, key = at(document, path)
        return container[key]

    document = statement()
    fields = list(target(document))
    target(document)["extra"] = 1
    with pytest.raises(ManifestError, match=r"a field that is none of|exactly one"):
        open_statement(document)
    for field in fields:
        document = statement()
        del target(document)[field]
        if field in ("version", "expires"):
            assert getattr(open_statement(document), field) is None
            continue
        with pytest.raises(ManifestError, match="has no field"):
            open_statement(document)
        document = statement()
        text = json.dumps(document)
        part = json.dumps(target(document))
        assert part in text
        doubled = part[:-1] + f", {json.dumps(field)}: {json.dumps(target(document)[field])}" + "}"
        with pytest.raises(ManifestError, match="same key twice"):
            open_envelope(envelope_of(text.replace(part, doubled, 1).encode()), RING, now=NOW)


def test_a_manifest_of_a_later_version_says_what_to_do() -> None:
    document = statement()
    document["predicateType"] = "urn:safeload:manifest:v2"
    document["predicate"] = {"all": "new"}
    document["more"] = []
    with pytest.raises(ManifestError, match=r"written by a newer safeload \(manifest version 2.*pip install -U"):
        open_statement(document)


def test_one_manifest_is_about_one_artifact() -> None:
    for times in (0, 2):
        document = statement()
        document["subject"] *= times
        with pytest.raises(ManifestError, match="exactly one entry"):
            open_statement(document)


@pytest.mark.parametrize(
    "metadata",
    [
        b"NaN",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 18446744073709551616}',
        b'{"a": -9223372036854775809}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1, "a": 1}',
        b'{"a": [{"b": 1, "b": 2}]}',
        b'{"a": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"a": "\xff"}',
        b'{"a": ' + b"[" * 33 + b"]" * 33 + b"}",
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": 01}',
        b"{'a': 1}",
        b'{"a": 1,}',
    ],
    ids=lambda value: value[:30],
)
def test_metadata_that_is_not_plain_json_is_refused(metadata: bytes) -> None:
    payload = json.dumps({**statement(), "predicate": {**statement()["predicate"], "metadata": 12345678}}).encode()
    with pytest.raises(ManifestError):
        open_envelope(envelope_of(payload.replace(b"12345678", metadata)), RING, now=NOW)
    fine = open_envelope(envelope_of(payload.replace(b"12345678", b'{"a": 18446744073709551615}')), RING, now=NOW)
    assert fine.metadata == {"a": (1 << 64) - 1}


@pytest.mark.parametrize(
    "text", [b"1e999", b"[-1e999]", b"NaN", b"18446744073709551616", b"\xef\xbb\xbf1", b'{"a":1,"a":1}']
)
def test_json_without_one_meaning_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - some messages are the standard library's
        parse_json(text)


def test_every_digest_is_checked_of_many() -> None:
    many = replace(MANIFEST, size=5000 * CHUNK, chunks=("0" * 64,) * 5000)
    assert open_envelope(seal(many, [KEY]), RING, now=NOW) == many
    document = json.loads(payload_of(seal(many, [KEY])))
    document["predicate"]["artifact"]["chunks"]["digests"][4321] = "x"
    with pytest.raises(ManifestError, match=r"digests\[4321\]"):
        open_statement(document)


# --- no bytes do anything else ---


def refused_or_read(data: bytes) -> Manifest | None:
    """Open an envelope; anything but a manifest or a VerificationError fails the test."""
    try:
        manifest = open_envelope(data, RING, now=NOW)
    except VerificationError as error:
        refusal = str(error)
    else:
        return manifest
    assert refusal.isprintable()
    assert len(refusal) < 1000
    return None


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"[" * 200_000)
@example(b'{"a":' * 10)
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    assert refused_or_read(data) is None
    assert unverified_sha256(data) is None
    # The same bytes, signed by a trusted key.
    assert refused_or_read(envelope_of(data)) is None


SEALED = seal(MANIFEST, [KEY])
PAYLOAD = payload_of(SEALED)


def mutate(data: bytes, position: int, delete: int, insert: bytes) -> bytes:
    position %= len(data) + 1
    return data[:position] + insert + data[position + delete :]


edits = st.tuples(
    st.integers(0, 1 << 16), st.integers(0, 5), st.binary(max_size=5) | st.sampled_from([b'"', b"{", b"[", b","])
)


@settings(max_examples=300)
@given(edits)
def test_no_edit_of_an_envelope_changes_what_it_says(edit: tuple[int, int, bytes]) -> None:
    manifest = refused_or_read(mutate(SEALED, *edit))
    assert manifest in (None, MANIFEST), "white space between the parts may change, and nothing else"


@settings(max_examples=300)
@given(edits)
def test_no_signed_edit_of_a_payload_makes_a_broken_manifest(edit: tuple[int, int, bytes]) -> None:
    manifest = refused_or_read(envelope_of(mutate(PAYLOAD, *edit)))
    if manifest is not None:
        assert open_envelope(seal(manifest, [KEY]), RING, now=NOW) == manifest


def places(tree: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else []:
        found += places(value, (*path, key))
    return found


any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["blake3", 1 << 16]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=400)
@given(st.sampled_from(places(statement())), any_json)
def test_no_signed_value_anywhere_makes_a_broken_manifest(path: tuple[Any, ...], value: object) -> None:
    document = statement()
    if path:
        container = document
        for step in path[:-1]:
            container = container[step]
        container[path[-1]] = copy.deepcopy(value)
    else:
        document = value
    manifest = refused_or_read(envelope_of(json.dumps(document).encode()))
    if manifest is not None:
        assert open_envelope(seal(manifest, [KEY]), RING, now=NOW) == manifest


def test_a_nearly_full_stack_is_no_way_around() -> None:
    """Deep nesting must be refused also where little of Python's stack is left."""

    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        else:
            refused_or_read(envelope_of(b"[" * 100_000))

    deep(sys.getrecursionlimit() // 2)


# --- what cannot be sealed ---


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a/b"},
        {"name": ""},
        {"name": "\udcff"},
        {"size": -1},
        {"size": 1},
        {"size": True},
        {"format": "npz"},
        {"compression": "zip"},
        {"chunk_size": 1000},
        {"digest_algorithm": "md5"},
        {"chunks": ()},
        {"chunks": ["0" * 64, "1" * 64, "2" * 64]},
        {"sha256": "f"},
        {"release": -1},
        {"release": True},
        {"release": 1 << 63},
        {"version": ""},
        {"version": "a\nb"},
        {"created": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"created": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))},
        {"expires": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"globals": (("a.b", ()),)},
        {"globals": (("a.b", ("exec",)),)},
        {"globals": (("a.b", ("new",)), ("a.b", ("state",)))},
        {"metadata": {1: 2}},
        {"metadata": {"a": (1, 2)}},
        {"metadata": {"a": float("nan")}},
        {"metadata": {"a": 1 << 64}},
        {"metadata": []},
        {"policy_name": ""},
    ],
    ids=str,
)
def test_what_could_not_be_read_back_is_not_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any reason will do
        seal(replace(MANIFEST, **changes), [KEY])


def test_times_are_sealed_in_utc() -> None:
    local = datetime(2026, 11, 2, 11, 30, 0, 250, tzinfo=timezone(timedelta(hours=2)))
    assert statement()["predicate"]["created"] == "2026-11-02T09:30:00Z"
    read = open_envelope(seal(replace(MANIFEST, created=local), [KEY]), RING, now=NOW)
    assert read.created == local
    assert read.created.tzinfo is UTC


def test_a_manifest_is_signed_by_one_to_sixteen_different_keys() -> None:
    keys = [SigningKey.generate(key_id=f"k{index}") for index in range(17)]
    assert len(open_envelope(seal(MANIFEST, keys[:16]), Keyring.from_keys(keys), now=NOW).key_ids) == 16
    for wrong in ([], keys, [KEY, KEY]):
        with pytest.raises(ValueError, match="1 to 16 keys"):
            seal(MANIFEST, wrong)


def test_a_manifest_too_large_to_be_read_is_not_written() -> None:
    chunks = ("0" * 64,) * 400_000
    with pytest.raises(ValueError, match="use larger chunks"):
        seal(replace(MANIFEST, size=len(chunks) * CHUNK, chunks=chunks), [KEY])


# --- files ---


def test_manifest_files_are_read_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "modèle.joblib.manifest.json"
    path.write_bytes(SEALED)
    assert read_envelope_bytes(path) == read_envelope_bytes(str(path)) == SEALED
    (tmp_path / "link.manifest.json").symlink_to(path)
    assert read_envelope_bytes(tmp_path / "link.manifest.json") == SEALED


@pytest.mark.parametrize("suffix", [".manifest.json", ".manifest.json.next"])
def test_an_artifact_without_a_manifest_is_unsigned(tmp_path: Path, suffix: str) -> None:
    artifact = tmp_path / "my model.joblib"
    with pytest.raises(UnsignedError) as caught:
        read_envelope_bytes(f"{artifact}{suffix}")
    assert f"safeload sign '{artifact}'" in str(caught.value)
    (tmp_path / f"my model.joblib{suffix}").symlink_to("gone")
    with pytest.raises(UnsignedError):
        read_envelope_bytes(f"{artifact}{suffix}")


def test_what_is_no_file_is_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # socket paths are short
        server.bind("socket")
        for path in (tmp_path / "fifo", tmp_path / "socket", tmp_path, "/dev/zero"):
            with pytest.raises(ManifestError, match="not a regular file"):
                read_envelope_bytes(path)


def test_files_are_read_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(MAX_MANIFEST_BYTES)
    assert len(read_envelope_bytes(path)) == MAX_MANIFEST_BYTES
    os.truncate(path, 1 << 40)  # sparse
    with pytest.raises(ManifestError, match="more than 33554432 bytes"):
        read_envelope_bytes(path)


# --- metadata ---


class Colour(str, enum.Enum):  # noqa: UP042 - the kind whose str() is not its value
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),  # noqa: DTZ001
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(-5), -5),
        (np.uint64((1 << 64) - 1), (1 << 64) - 1),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.datetime64("2026-01-02T03:04"), "2026-01-02T03:04"),
        (pd.Timestamp("2026-01-02 03:04"), "2026-01-02T03:04:00"),
        ((1, (2,)), [1, [2]]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (-0.0, -0.0),
        (None, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_metadata_becomes_plain_json(value: Any, cleaned: object) -> None:
    result = clean_metadata({"a": value})["a"]
    assert result == cleaned
    assert type(result) is type(cleaned)
    manifest = replace(MANIFEST, metadata=clean_metadata({"a": value}))
    assert open_envelope(seal(manifest, [KEY]), RING, now=NOW).metadata == {"a": cleaned}


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (float("nan"), ValueError, r"metadata\['a'\]\[3\]: JSON has no form for nan"),
        (float("-inf"), ValueError, "no form for -inf"),
        (np.float32("inf"), ValueError, "no form for inf"),
        (pd.NaT, ValueError, "NaT"),
        (np.datetime64("NaT", "s"), ValueError, "NaT"),
        (1 << 64, ValueError, "fit in 64 bits"),
        (-(1 << 63) - 1, ValueError, "fit in 64 bits"),
        ("\ud800", ValueError, "lone surrogate"),
        ({"\ud800": 1}, ValueError, "lone surrogate"),
        (b"x", TypeError, r"metadata\['a'\]\[3\]: bytes has no form"),
        ({1, 2}, TypeError, "set has no form"),
        (1j, TypeError, "complex has no form"),
        (np.complex64(1), TypeError, "complex64 has no form"),
        (np.timedelta64(5, "s"), TypeError, "timedelta64 has no form"),
        (np.arange(3), TypeError, r"ndarray has no form in JSON; use \.tolist"),
        (pd.Series([1]), TypeError, "Series has no form"),
        (timedelta(1), TypeError, "timedelta has no form"),
        (object(), TypeError, "object has no form"),
        (len, TypeError, "has no form"),
        ({1: 2}, TypeError, r"metadata\['a'\]\[3\]: keys must be texts, not int"),
        ({None: 2}, TypeError, "keys must be texts, not NoneType"),
        ({"x": {b"y": 2}}, TypeError, r"metadata\['a'\]\[3\]\['x'\]: keys must be texts, not bytes"),
        ("x" * (MAX_TEXT + 1), ValueError, "characters"),
        ([0] * MAX_VALUES, ValueError, "values"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_refused_with_its_place(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        clean_metadata({"a": [0, 1, 2, value]})


def test_metadata_must_be_a_dict() -> None:
    assert clean_metadata(None) == clean_metadata({}) == {}
    for wrong in ([], "x", 5, [("a", 1)]):
        with pytest.raises(TypeError, match="metadata must be a dict, not"):
            clean_metadata(wrong)


def test_metadata_is_copied() -> None:
    original = {"a": [1]}
    cleaned = clean_metadata(original)
    original["a"].append(2)
    assert cleaned == {"a": [1]}


def test_deep_circular_and_shared_metadata_end() -> None:
    deep: object = 0
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert clean_metadata({"a": deep}) == {"a": deep}
    with pytest.raises(ValueError, match="32 deep"):
        clean_metadata({"a": [deep]})
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="or holds itself"):
        clean_metadata({"a": circle})
    shared: object = 0
    for _ in range(30):
        shared = [shared] * 10
    with pytest.raises(ValueError, match="values"):
        clean_metadata({"a": shared})


@given(st.dictionaries(texts, json_values, max_size=4))
def test_clean_metadata_stays_as_it_is(metadata: dict[str, Any]) -> None:
    assert clean_metadata(metadata) == metadata
