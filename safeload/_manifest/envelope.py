"""Envelopes: bytes, what kind of bytes they are, and who signed them.

DSSE 1.0 (https://github.com/secure-systems-lab/dsse). What is signed is the pre-authentication encoding of the kind
and the payload, so that what was signed as one kind never passes for another. The signatures are checked over the
payload's bytes as they stand; what these say is for others to parse, and only afterwards:

- every signature by a key that the keyring knows must hold, whatever that key is still trusted for;
- signatures by keys that it trusts now have to be as many as it demands; those of unknown keys count for nothing;
- anything unknown, doubled or spelt in another way than ours is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safeload._internal.clock import utc_now
from safeload._internal.encoding import encode_base64
from safeload._internal.strictjson import Node, parse_json
from safeload._manifest.quorum import require_enough
from safeload.errors import BadSignatureError, KeyringError, ManifestError, VerificationError
from safeload.keys import is_key_id

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from safeload.keys import Keyring, Signer, VerifyingKey

__all__ = [
    "MAX_SIGNATURES",
    "Envelope",
    "Kind",
    "add_signatures",
    "check_signatures",
    "open_payload",
    "parse_payload",
    "pre_authentication_encoding",
    "seal_payload",
    "unverified_envelope",
]

MAX_SIGNATURES = 16
# An envelope has few of these bytes outside of texts, and its texts have none. Counting them first keeps
# unsigned bytes from building millions of objects, or a deep nest, in the JSON parser.
_MAX_STRUCTURE = {b"{": 1 + MAX_SIGNATURES, b"[": 1, b",": 2 + 2 * MAX_SIGNATURES}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of payload: its DSSE type, what messages call it, and how many bytes an envelope of it has at most.

    `too_large` says what its author can do about one that has more.
    """

    payload_type: str
    noun: str
    max_bytes: int
    too_large: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload and, by key id, the signatures over it; `open_payload` says whether any of it can be trusted."""

    payload: bytes
    signatures: dict[str, bytes]


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: DSSE's PAE, with lengths in bytes and in ASCII decimal."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal_payload(kind: Kind, payload: bytes, keys: Sequence[Signer]) -> bytes:
    """Return the text of an envelope of this kind, signed by each of the keys.

    Raises:
        ValueError: no key, two keys of one id, too many of them, or too large a payload.
        KeyringError: a signer returned what is not its signature.
    """
    ids = [key.verifying_key.key_id for key in keys]
    if not 1 <= len(ids) <= MAX_SIGNATURES or len(set(ids)) != len(ids):
        raise ValueError(f"a {kind.noun} is signed by 1 to {MAX_SIGNATURES} keys of different ids, not by {ids}")
    message = pre_authentication_encoding(kind.payload_type, payload)
    return _format(kind, Envelope(payload, {key.verifying_key.key_id: _signature(key, message) for key in keys}))


def add_signatures(kind: Kind, data: bytes, keys: Sequence[Signer], *, drop: Collection[str] = ()) -> bytes:
    """Return an envelope with the same payload, byte for byte, signed by these keys too, and no longer by others.

    It signs whatever the payload says: check that first. What `drop` names, or has the id of a key, is left out.

    Raises:
        ManifestError: not an envelope of this kind.
        ValueError: too many signatures.
        KeyringError: a signer returned what is not its signature.
    """
    envelope = unverified_envelope(kind, data)
    message = pre_authentication_encoding(kind.payload_type, envelope.payload)
    signatures = {key_id: sig for key_id, sig in envelope.signatures.items() if key_id not in drop}
    signatures |= {key.verifying_key.key_id: _signature(key, message) for key in keys}
    if not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise ValueError(f"a {kind.noun} has 1 to {MAX_SIGNATURES} signatures, not {len(signatures)}")
    return _format(kind, Envelope(envelope.payload, signatures))


def _signature(key: Signer, message: bytes) -> bytes:
    """Return the key's signature, once it was found to hold: a hook may return anything."""
    signature = bytes(key.sign(message))
    try:
        key.verifying_key.verify(signature, message)
    except BadSignatureError:
        raise KeyringError(
            f"cannot sign with key {key.verifying_key.key_id!r}: its signer returned a signature that is not valid "
            "under its public key",
            advice="Check which key the signer uses. Nothing was written.",
        ) from None
    return signature


def _format(kind: Kind, envelope: Envelope) -> bytes:
    document = {
        "payloadType": kind.payload_type,
        "payload": encode_base64(envelope.payload),
        "signatures": [{"keyid": key_id, "sig": encode_base64(sig)} for key_id, sig in envelope.signatures.items()],
    }
    data = json.dumps(document, indent=1).encode() + b"\n"
    if len(data) > kind.max_bytes:
        raise ValueError(
            f"the {kind.noun} would have {len(data)} bytes, and at most {kind.max_bytes} are read: {kind.too_large}"
        )
    return data


def open_payload(
    kind: Kind, data: bytes, keyring: Keyring, *, now: datetime | None = None
) -> tuple[bytes, tuple[str, ...]]:
    """Return the payload of an envelope of this kind, and the ids of the trusted keys that signed it.

    Raises:
        ManifestError: not an envelope of this kind.
        VerificationError: as `check_signatures` says.
    """
    envelope = unverified_envelope(kind, data)
    return envelope.payload, check_signatures(kind, envelope, keyring, now=now)


def check_signatures(
    kind: Kind,
    envelope: Envelope,
    keyring: Keyring,
    *,
    now: datetime | None = None,
    held: dict[str, VerifyingKey] | None = None,
) -> tuple[str, ...]:
    """Return the ids of the trusted keys that signed, of which there are as many as the keyring demands.

    `held` has the keys, by id, under which this very envelope's signatures were found to hold before, and gets those
    that are found now: what the bytes and the key decide is not computed again. Whether the key is still in the
    keyring, is this one and is trusted now, and whether such keys are enough, is asked every time.

    Raises:
        BadSignatureError: a signature that names a known key does not hold under it.
        UnknownKeyError: no signature is by a key in the keyring.
        ExpiredError: the key is past its time.
        VerificationError: the key is revoked, or not trusted yet (SL106), or signatures are missing (SL109).
    """
    now = utc_now() if now is None else now
    held = {} if held is None else held
    message = b""
    trusted: list[str] = []
    refusals: list[VerificationError] = []
    for key_id, signature in envelope.signatures.items():
        entry = keyring.get(key_id)
        if entry is not None and held.get(key_id) is not entry.verifying_key:
            message = message or pre_authentication_encoding(kind.payload_type, envelope.payload)
            try:
                entry.verifying_key.verify(signature, message)
            except BadSignatureError:
                raise BadSignatureError(
                    f"the signature by key {key_id!r} is not valid: the {kind.noun} was changed after it was signed, "
                    "or another key of this id signed it",
                    advice="Do not load it. Get it again from its source.",
                ) from None
            held[key_id] = entry.verifying_key
        try:
            keyring.verifying_key(key_id, now=now)
            trusted.append(key_id)
        except VerificationError as error:
            refusals.append(error)
    require_enough(keyring, trusted, refusals)
    return tuple(trusted)


def unverified_envelope(kind: Kind, data: bytes) -> Envelope:
    """Parse an envelope of this kind, and check nothing of who signed it.

    Raises:
        ManifestError: not an envelope of this kind.
    """
    if not data:
        raise ManifestError(f"the {kind.noun} is empty")
    if len(data) > kind.max_bytes:
        raise ManifestError(f"the {kind.noun} has more than {kind.max_bytes} bytes")
    if any(data.count(mark) > limit for mark, limit in _MAX_STRUCTURE.items()):
        raise ManifestError(f"the {kind.noun} is not an envelope as safeload writes it: it has too many parts")
    if not data.isascii():  # one character beyond it, and the whole text would take four times the memory
        raise ManifestError(f"the {kind.noun} is not an envelope as safeload writes it: it is not ASCII")
    envelope = Node(_parse(data, f"the {kind.noun} is not JSON as safeload writes it"), "envelope")
    envelope.fields("payload", "payloadType", "signatures")
    if envelope["payloadType"].text() != kind.payload_type:
        raise ManifestError(f"envelope.payloadType must be {kind.payload_type}")
    payload = envelope["payload"].base64()
    signatures: dict[str, bytes] = {}
    for node in envelope["signatures"].items():
        node.fields("keyid", "sig")
        key_id = node["keyid"].text()
        if not is_key_id(key_id):
            raise node["keyid"].error("must be a key id")
        if key_id in signatures:
            raise ManifestError(f"envelope.signatures has two by key {key_id!r}")
        signatures[key_id] = node["sig"].base64()
    if not signatures:  # nothing to check must not pass for nothing wrong
        raise ManifestError("envelope.signatures is empty: nobody signed this")
    return Envelope(payload, signatures)


def parse_payload(kind: Kind, payload: bytes) -> Any:
    """Parse a payload that is strict JSON; for one whose signatures were checked.

    Raises:
        ManifestError: it is not.
    """
    return _parse(payload, f"the {kind.noun}'s payload is not JSON as safeload writes it")


def _parse(data: bytes, problem: str) -> Any:
    try:
        return parse_json(data)
    except ValueError as error:
        reason = str(error)
    raise ManifestError(f"{problem}: {reason[:200]}")
