"""The manifest: what is signed about an artifact.

The payload of its envelope (see `envelope`) is an in-toto Statement v1 (https://github.com/in-toto/attestation) with
the predicate `urn:safeload:manifest:v1`. It is parsed only once the signatures held, and checked in full all the same:
fields, types, ranges, and that they fit together. Anything unknown, doubled or spelt in another way than ours is
refused.

Someone else's steps: that the name, size and digests are those of the artifact at hand, and which release is
old enough to refuse.
"""

from __future__ import annotations

import copy
import json
import re
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from safeload._internal.clock import utc_now
from safeload._internal.forking import MemoryLock
from safeload._internal.notebook import facts_table
from safeload._internal.strictjson import MAX_NAME_BYTES, Node, format_time, is_file_name, is_text
from safeload._manifest.digests import check_chunking
from safeload._manifest.envelope import (
    Envelope,
    Kind,
    check_signatures,
    parse_payload,
    seal_payload,
    unverified_envelope,
)
from safeload._manifest.metadata import clean_metadata
from safeload._manifest.quorum import within_scope
from safeload.errors import ExpiredError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from safeload._internal.files import PathLike
    from safeload.keys import Keyring, Signer, VerifyingKey


__all__ = [
    "BYTES_NAME",
    "COMPRESSIONS",
    "FORMATS",
    "MANIFEST",
    "MAX_MANIFEST_BYTES",
    "PAYLOAD_TYPE",
    "PREDICATE_TYPE",
    "ROLES",
    "STATEMENT_TYPE",
    "KnownManifests",
    "Manifest",
    "Producer",
    "checked_name",
    "clean_metadata",
    "open_envelope",
    "seal",
    "unverified_manifest",
    "unverified_sha256",
]

MAX_MANIFEST_BYTES = 32 << 20  # what is larger is no manifest
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MANIFEST = Kind(PAYLOAD_TYPE, "manifest", MAX_MANIFEST_BYTES, too_large="use larger chunks, or less metadata")
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:safeload:manifest:v1"
FORMATS = ("joblib", "pickle")
COMPRESSIONS = ("none", "zlib", "gzip", "bz2", "xz", "lzma", "lz4")
BYTES_NAME = "artifact"  # the name of bytes that the caller gives none
ROLES = ("import", "call", "new", "state", "items")

_ANY_PREDICATE = re.compile(r"urn:safeload:manifest:v([0-9]{1,9})")
# How every statement of ours begins: its type, and the name and digest of its one subject.
_SUBJECT = re.compile(
    rb'\{"_type":"[^"\\]*","subject":\[\{"name":"(?:[^"\\]|\\.)*","digest":\{"sha256":"([0-9a-f]{64})"\}\}\],'
)
_MAX_SUBJECT = 4096  # bytes: a name of 255 characters, each escaped, and the rest
_MOST_KNOWN = 16  # envelopes; a server rarely has more models in turn
_MAX_KNOWN_BYTES = 1 << 20  # of each; that of an artifact of 5 GB
_MAX_UNVERIFIED = 4 << 20  # bytes of a manifest that is shown to people without a key


@dataclass(frozen=True, slots=True)
class Producer:
    """What wrote the artifact: the versions of Python and of the packages that its globals come from."""

    python: str
    platform: str
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was signed about one artifact.

    `size` and `chunk_size` count bytes; digests are lower-case hexadecimal; times are in UTC. `globals` has the
    names that the artifact uses with the roles it uses them in. `key_ids` are the trusted signers: on reading,
    those whose signatures held.
    """

    name: str
    size: int
    format: str
    compression: str
    chunk_size: int
    digest_algorithm: str
    chunks: tuple[str, ...]
    sha256: str
    release: int
    version: str | None
    created: datetime
    expires: datetime | None
    producer: Producer
    scanner: str
    policy_name: str
    policy_digest: str
    globals: tuple[tuple[str, tuple[str, ...]], ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    key_ids: tuple[str, ...] = ()

    def __repr__(self) -> str:
        keys = f", signed by {', '.join(self.key_ids)}" if self.key_ids else ""
        return f"<Manifest {self.name!r} release {self.release}, {self.size} bytes{keys}>"

    def _repr_html_(self) -> str:
        """Return what was signed as HTML, for notebooks."""
        versions = ", ".join(f"{name} {version}" for name, version in self.producer.packages.items())
        return facts_table(
            f"Manifest: {self.name}",
            (
                ("release", self.release),
                ("version", self.version),
                ("size", f"{self.size} bytes"),
                ("sha256", self.sha256),
                ("created", self.created.isoformat()),
                ("expires", None if self.expires is None else self.expires.isoformat()),
                ("signed by", ", ".join(self.key_ids)),
                ("written with", versions),
                ("policy", self.policy_name),
                ("metadata", json.dumps(self.metadata, ensure_ascii=False) if self.metadata else None),
            ),
        )

    def copied(self) -> Manifest:
        """Return a manifest that shares nothing with this one that could be changed."""
        producer = replace(self.producer, packages=dict(self.producer.packages))
        return replace(self, producer=producer, metadata=copy.deepcopy(self.metadata))

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON can hold it: the predicate's fields, the file's SHA-256 and the key ids."""
        return {**_predicate(self), "sha256": self.sha256, "key_ids": list(self.key_ids)}


# --- writing ---


def seal(manifest: Manifest, keys: Sequence[Signer]) -> bytes:
    """Return the manifest file's content, signed by each of the keys.

    Raises:
        ValueError: the manifest could not be read back, no key, two keys of one id, or too many of them.
    """
    try:
        payload = json.dumps(_statement(manifest), allow_nan=False, separators=(",", ":")).encode()
        readable = _read_statement(payload) == replace(manifest, key_ids=())
    except (ManifestError, RecursionError) as error:
        raise ValueError(f"cannot sign this manifest: {error}") from error
    if not readable:
        raise ValueError("cannot sign this manifest: it would read back as another one. Call clean_metadata() first.")
    return seal_payload(MANIFEST, payload, keys)


def _statement(manifest: Manifest) -> dict[str, Any]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": manifest.name, "digest": {"sha256": manifest.sha256}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(manifest),
    }


def _predicate(manifest: Manifest) -> dict[str, Any]:
    predicate: dict[str, Any] = {
        "artifact": {
            "name": manifest.name,
            "size": manifest.size,
            "format": manifest.format,
            "compression": manifest.compression,
            "chunks": {
                "algorithm": manifest.digest_algorithm,
                "size": manifest.chunk_size,
                "digests": list(manifest.chunks),
            },
        },
        "release": manifest.release,
    }
    if manifest.version is not None:
        predicate["version"] = manifest.version
    predicate["created"] = format_time(manifest.created)
    if manifest.expires is not None:
        predicate["expires"] = format_time(manifest.expires)
    producer = manifest.producer
    predicate["producer"] = {
        "python": producer.python,
        "platform": producer.platform,
        "packages": dict(producer.packages),
    }
    predicate["scan"] = {
        "scanner": manifest.scanner,
        "policy": {"name": manifest.policy_name, "digest": manifest.policy_digest},
        "globals": [{"name": name, "roles": list(roles)} for name, roles in manifest.globals],
    }
    predicate["metadata"] = manifest.metadata
    return predicate


# --- reading ---


@dataclass(frozen=True, slots=True)
class _Known:
    """What the bytes of one envelope say, and, by id, the keys under which its signatures were found to hold."""

    envelope: Envelope
    manifest: Manifest
    held: dict[str, VerifyingKey]


class KnownManifests:
    """What the last few envelopes say that were trusted, by their very bytes; any number of threads may ask.

    What follows from the bytes alone, or from the bytes and a key, is not worked out again. Trust, time, scope and
    threshold are asked every time, of the keyring as it is then.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._lock = MemoryLock()

    def get(self, data: bytes) -> _Known | None:
        """Return what is known of exactly these bytes."""
        with self._lock:
            known = self._known.get(data)
            if known is not None:
                self._known.move_to_end(data)
            return known

    def put(self, data: bytes, known: _Known) -> None:
        """Remember an envelope that was trusted."""
        if len(data) > _MAX_KNOWN_BYTES:
            return
        with self._lock:
            self._known[data] = known
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)


def open_envelope(
    data: bytes,
    keyring: Keyring,
    *,
    folder: PathLike | None = None,
    now: datetime | None = None,
    known: KnownManifests | None = None,
) -> Manifest:
    """Check the signatures, then read the manifest that they are over.

    `folder` is the one that the artifact is loaded from; without it, keys that may sign for some folders only are
    not trusted. `known` has envelopes that were opened before, and gets this one; what is returned is then shared with
    it, so `copied` has to be called before others get it.

    Raises:
        ManifestError: not an envelope, or not a manifest of this version.
        BadSignatureError: a signature that names a known key does not hold under it.
        UnknownKeyError: no signature is by a key in the keyring.
        ExpiredError: the manifest, or the key, is past its time.
        VerificationError: the key is revoked, not trusted yet, or not for this artifact (SL106), or signatures are
            missing (SL109).
    """
    now = utc_now() if now is None else now
    before = None if known is None else known.get(data)
    envelope, held = (unverified_envelope(MANIFEST, data), {}) if before is None else (before.envelope, before.held)
    signers = check_signatures(MANIFEST, envelope, keyring, now=now, held=held)
    manifest = _read_statement(envelope.payload) if before is None else before.manifest
    key_ids = within_scope(keyring, signers, manifest.name, folder)
    if manifest.expires is not None and now > manifest.expires:
        raise ExpiredError(
            f"the manifest of {manifest.name!r}, release {manifest.release}, expired at "
            f"{format_time(manifest.expires)}; it is {format_time(now)} now",
            advice="Sign it again, or deploy a newer release.",
        )
    if manifest.key_ids != key_ids:
        manifest = replace(manifest, key_ids=key_ids)
    if before is None and known is not None:
        known.put(data, _Known(envelope, manifest, held))
    return manifest


def checked_name(name: str) -> str:
    """Return a name that an artifact can be signed under.

    Raises:
        ValueError: it is not a plain file name.
    """
    if not is_text(name) or not is_file_name(name):
        raise ValueError(f"name must be like a file's name: up to {MAX_NAME_BYTES} bytes, without /; it is {name!r}")
    return name


def unverified_sha256(data: bytes) -> str | None:
    """Return the whole file's SHA-256 that an envelope claims, without checking who says so; None if unreadable.

    It tells which of two files a manifest was written for. It says nothing about whether to trust either.
    """
    try:
        payload = unverified_envelope(MANIFEST, data).payload
    except ManifestError:
        return None
    # Not parsed: nobody vouches for what may be megabytes of JSON.
    subject = _SUBJECT.match(payload[:_MAX_SUBJECT])
    return None if subject is None else subject[1].decode()


def unverified_manifest(data: bytes) -> Manifest | None:
    """Return what an envelope says, without checking who says so; None if it is unreadable, or too much to read.

    `key_ids` are those that the envelope names. For showing it to people, and nothing else.
    """
    if len(data) > _MAX_UNVERIFIED:
        return None
    try:
        envelope = unverified_envelope(MANIFEST, data)
        return replace(_read_statement(envelope.payload), key_ids=tuple(envelope.signatures))
    except ManifestError:
        return None


def _read_statement(payload: bytes) -> Manifest:
    """Parse an in-toto Statement v1 with our predicate, and check every field of it."""
    statement = Node(parse_payload(MANIFEST, payload), "statement")
    # Of a later version, nothing but its number can be understood.
    if isinstance(statement.value, dict) and isinstance(statement.value.get("predicateType"), str):
        version = _ANY_PREDICATE.fullmatch(statement.value["predicateType"])
        if version is not None and int(version[1]) > 1:
            raise ManifestError(
                f"the manifest was written by a newer safeload (manifest version {int(version[1])}, this one reads "
                "version 1)",
                advice="Run: pip install -U safeload",
            )
    statement.fields("_type", "subject", "predicateType", "predicate")
    if statement["_type"].text() != STATEMENT_TYPE:
        raise ManifestError(f"statement._type must be {STATEMENT_TYPE}")
    if statement["predicateType"].text() != PREDICATE_TYPE:
        raise ManifestError(f"statement.predicateType must be {PREDICATE_TYPE}")
    subjects = statement["subject"].items()
    if len(subjects) != 1:
        raise ManifestError("statement.subject must have exactly one entry: a manifest is about one artifact")
    subject = subjects[0].fields("name", "digest")
    sha256 = subject["digest"].fields("sha256")["sha256"].hex_digest()
    manifest = _read_predicate(statement["predicate"], sha256)
    if subject["name"].text() != manifest.name:
        raise ManifestError("statement.subject and the predicate's artifact have different names")
    return manifest


def _read_predicate(predicate: Node, sha256: str) -> Manifest:
    predicate.fields("artifact", "release", "created", "producer", "scan", "metadata", optional=("version", "expires"))
    artifact = predicate["artifact"].fields("name", "size", "format", "compression", "chunks")
    size = artifact["size"].integer()
    algorithm, chunk_size, chunks = _read_chunks(artifact["chunks"], size)
    producer = predicate["producer"].fields("python", "platform", "packages")
    scan = predicate["scan"].fields("scanner", "policy", "globals")
    policy = scan["policy"].fields("name", "digest")
    return Manifest(
        name=artifact["name"].file_name(),
        size=size,
        format=artifact["format"].one_of(FORMATS),
        compression=artifact["compression"].one_of(COMPRESSIONS),
        chunk_size=chunk_size,
        digest_algorithm=algorithm,
        chunks=chunks,
        sha256=sha256,
        release=predicate["release"].integer(),
        version=predicate["version"].line() if "version" in predicate else None,
        created=predicate["created"].time(),
        expires=predicate["expires"].time() if "expires" in predicate else None,
        producer=Producer(
            python=producer["python"].line(),
            platform=producer["platform"].line(),
            packages=_read_packages(producer["packages"]),
        ),
        scanner=scan["scanner"].line(),
        policy_name=policy["name"].line(),
        policy_digest=policy["digest"].line(),
        globals=_read_globals(scan["globals"]),
        metadata=_read_metadata(predicate["metadata"]),
    )


def _read_chunks(node: Node, size: int) -> tuple[str, int, tuple[str, ...]]:
    node.fields("algorithm", "size", "digests")
    algorithm, chunk_size = node["algorithm"].text(), node["size"].integer()
    try:
        check_chunking(algorithm, chunk_size)
    except ValueError as error:
        raise ManifestError(f"{node.where}: {error}") from None
    chunks = tuple(digest.hex_digest() for digest in node["digests"].items())
    expected = -(-size // chunk_size)
    if len(chunks) != expected:
        raise ManifestError(f"{node.where} has {len(chunks)} digests, and {size} bytes make {expected} chunks")
    return algorithm, chunk_size, chunks


def _read_packages(node: Node) -> dict[str, str]:
    return {name: version.line() for name, version in node.pairs()}


def _read_globals(node: Node) -> tuple[tuple[str, tuple[str, ...]], ...]:
    result: dict[str, tuple[str, ...]] = {}
    for use in node.items():
        use.fields("name", "roles")
        name = use["name"].line()
        roles = tuple(role.one_of(ROLES) for role in use["roles"].items())
        if not roles or len(set(roles)) != len(roles):
            raise use["roles"].error("must have each role that the global is used in, once")
        if name in result:
            raise use["name"].error("stands there twice")
        result[name] = roles
    return tuple(result.items())


def _read_metadata(node: Node) -> dict[str, Any]:
    if not isinstance(node.value, dict):
        raise node.error("must be an object")
    try:
        return clean_metadata(node.value)
    except ValueError as error:
        raise ManifestError(f"{node.where}: {error}") from None
