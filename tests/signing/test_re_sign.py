"""Other signatures over what is signed: replaced after a rotation, added for keyrings that demand several."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import safeload
from safeload._storage.pair import manifest_path
from safeload.errors import DigestMismatchError, KeyringError, VerificationError
from safeload.keys import KeyEntry, Keyring, SigningKey
from safeload.store import ReSigner

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
MODEL = {"weights": [1.0, 2.0]}


def edwards(key_id: str | None = None) -> SigningKey:
    return SigningKey.generate("ed25519", key_id)


@pytest.fixture
def ring() -> Keyring:
    """A keyring whose key was rotated."""
    ring = Keyring.from_keys([edwards("old")])
    ring.rotate(edwards("new"))
    return ring


@pytest.fixture
def path(tmp_path: Path, ring: Keyring) -> Path:
    """An artifact that the old key signed."""
    path = tmp_path / "m.joblib"
    safeload.dump(
        MODEL, path, key=signer(ring, "old"), release=7, version="1.4", metadata={"auc": 0.9}, expires=timedelta(days=9)
    )
    return path


def signer(ring: Keyring, key_id: str) -> SigningKey:
    entry = ring.get(key_id)
    assert entry is not None
    assert isinstance(entry.key, SigningKey)
    return entry.key


def both(path: Path) -> tuple[bytes, bytes]:
    return path.read_bytes(), manifest_path(path).read_bytes()


def payload(path: Path) -> str:
    text: str = json.loads(manifest_path(path).read_text())["payload"]
    return text


def signers_of(path: Path) -> list[str]:
    return [one["keyid"] for one in json.loads(manifest_path(path).read_text())["signatures"]]


# --- replaced ---


def test_only_the_signature_changes_and_once(path: Path, ring: Keyring) -> None:
    before, said = path.read_bytes(), payload(path)
    done = safeload.re_sign(path, key=ring)
    assert (done.added, done.removed, done.foreign, done.missing) == (("new",), ("old",), False, 0)
    assert (path.read_bytes(), payload(path), signers_of(path)) == (before, said, ["new"])
    assert isinstance(done.content, safeload.Manifest)
    assert (done.content.release, done.content.version, done.content.metadata) == (7, "1.4", {"auc": 0.9})
    again, left = both(path), safeload.re_sign(path, keyring=ring)
    assert (left.added, left.removed, left.foreign) == ((), (), False)
    assert both(path) == again
    ring.revoke("old", "rotated")
    assert safeload.load(path, keyring=ring) == MODEL
    assert safeload.dump(MODEL, path, key=ring, overwrite=True).release == 8


def test_hmac_keys_are_rotated_too_and_by_others_than_their_kind(tmp_path: Path) -> None:
    ring = Keyring.from_keys([SigningKey.generate(key_id="mac")])
    safeload.dump(MODEL, tmp_path / "m.joblib", key=ring)
    for new in (SigningKey.generate(key_id="mac-2"), edwards("public")):
        ring.rotate(new)
        assert safeload.re_sign(tmp_path / "m.joblib", key=ring).added == (new.key_id,)
    assert signers_of(tmp_path / "m.joblib") == ["public"]


def test_a_key_that_was_rotated_twice_is_replaced(path: Path, ring: Keyring) -> None:
    ring.rotate(edwards("newest"))
    assert safeload.re_sign(path, key=ring).removed == ("old",)


@pytest.mark.parametrize(
    ("what", "code"),
    [("bytes", "SL201"), ("size", "SL202"), ("signature", "SL104"), ("unsigned", "SL101"), ("renamed", "SL107")],
)
def test_what_does_not_verify_is_refused_and_left(path: Path, ring: Keyring, what: str, code: str) -> None:
    if what == "bytes":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif what == "size":
        path.write_bytes(path.read_bytes() + b"x")
    elif what == "signature":
        safeload.dump(MODEL, path, key=edwards("old"), overwrite=True)
    elif what == "unsigned":
        manifest_path(path).unlink()
        manifest_path(path).write_bytes(b"")
        manifest_path(path).unlink()
    else:
        manifest_path(path).rename(manifest_path(path.with_name("n.joblib")))
        path = path.rename(path.with_name("n.joblib"))
    before = {entry.name: entry.read_bytes() for entry in path.parent.iterdir()}
    for signing_again in (safeload.re_sign, safeload.countersign):
        with pytest.raises(VerificationError) as caught:
            signing_again(path, key=ring)
        assert caught.value.code == code
        assert type(caught.value) is not VerificationError
        assert {entry.name: entry.read_bytes() for entry in path.parent.iterdir()} == before


def test_what_the_policy_does_not_allow_is_not_signed_again(tmp_path: Path, ring: Keyring) -> None:
    path = tmp_path / "m.joblib"
    (tmp_path / "lax.toml").write_text(
        'name = "lax"\nversion = 1\nextends = ["sklearn"]\n[[allow]]\nmodule = "ipaddress"\nnames = ["IPv4Address"]\n'
        'roles = ["call"]\nargs = [["int"]]\nreason = "test"\n'
    )
    safeload.dump(ipaddress.ip_address("10.0.0.1"), path, key=signer(ring, "old"), policy=tmp_path / "lax.toml")
    before = both(path)
    with pytest.raises(safeload.PolicyViolationError, match=r"ipaddress\.IPv4Address"):
        safeload.re_sign(path, key=ring)
    assert both(path) == before
    assert safeload.re_sign(path, key=ring, policy=tmp_path / "lax.toml").added == ("new",)


def test_what_only_a_key_signed_that_is_trusted_no_more_is_refused(path: Path, ring: Keyring) -> None:
    ring.revoke("old", "stolen")
    before = both(path)
    with pytest.raises(VerificationError, match=r"'old' was revoked on .*stolen"):
        safeload.re_sign(path, key=ring)
    assert both(path) == before
    late = Keyring([replace(entry, revoked=None, reason=None, status="verify-only", not_after=NOW)
                    if entry.key_id == "old" else entry for entry in ring.entries])  # fmt: skip
    with pytest.raises(safeload.ExpiredError, match="'old' was trusted until 2026-11-02T09:30:00Z"):
        safeload.re_sign(path, key=late)
    assert both(path) == before


def test_what_others_signed_is_left_and_said_to_be(tmp_path: Path, ring: Keyring) -> None:
    other = edwards("other")
    ring.add(other.verifying_key)
    safeload.dump(MODEL, tmp_path / "m.joblib", key=other)
    before = both(tmp_path / "m.joblib")
    assert safeload.re_sign(tmp_path / "m.joblib", key=ring).foreign
    assert both(tmp_path / "m.joblib") == before
    assert safeload.re_sign(tmp_path / "m.joblib", key=ring, replacing=["other"]).removed == ("other",)
    assert signers_of(tmp_path / "m.joblib") == ["new"]


def test_other_signatures_stay_and_the_threshold_holds_all_along(tmp_path: Path) -> None:
    first, second = edwards("first"), edwards("second")
    ring = Keyring.from_keys([first, second.verifying_key], threshold=2)
    path = tmp_path / "m.joblib"
    safeload.dump(MODEL, path, key=[first, second])
    ring.rotate(edwards("third"))
    done = safeload.re_sign(path, key=ring)
    assert (done.added, done.removed, done.missing) == (("third",), ("first",), 0)
    assert signers_of(path) == ["second", "third"]
    assert safeload.load(path, keyring=ring) == MODEL


def test_it_has_to_be_said_whose_signatures_go(path: Path, ring: Keyring) -> None:
    fresh = Keyring.from_keys([edwards("k"), signer(ring, "old").verifying_key])
    with pytest.raises(KeyringError, match=r"no active key that was rotated in.*--replace ID.*countersign"):
        safeload.re_sign(path, key=fresh)
    with pytest.raises(KeyringError, match="no signatures to replace were named"):
        safeload.re_sign(path, key=fresh, replacing=[])
    with pytest.raises(KeyringError, match="signatures by key 'x': the keyring does not have it"):
        safeload.re_sign(path, key=fresh, replacing=["x"])
    with pytest.raises(KeyringError, match="k cannot replace its own"):
        safeload.re_sign(path, key=fresh, replacing=["k"])
    assert safeload.re_sign(path, key=fresh, replacing=["old"]).added == ("k",)


def test_who_would_not_be_trusted_for_it_does_not_sign_it(path: Path, ring: Keyring) -> None:
    before = both(path)
    with pytest.raises(KeyringError, match=r"key 'stranger'.*does not have it.*key import"):
        safeload.re_sign(path, key=edwards("stranger"), keyring=ring)
    late = edwards("late")
    old, new = ring.entries
    for entry, message in (
        (KeyEntry(late, "active", NOW, not_after=NOW), r"no active key .*until 2026-11-02T09:30:00Z"),
        (
            KeyEntry(late, "active", NOW, scopes=("x.joblib",)),
            r"allowed to sign 'm\.joblib' in .*scopes: late: x\.joblib",
        ),
    ):
        with pytest.raises(KeyringError, match=message):
            safeload.re_sign(path, key=Keyring([old, entry]), replacing=["old"])
        with pytest.raises(KeyringError, match=r"cannot sign .* with key 'late': .*(2026-11-02T09:30:00Z|x\.joblib)"):
            safeload.re_sign(path, key=late, keyring=Keyring([old, new, entry]), replacing=["old"])
    assert both(path) == before


# --- added ---


def test_one_signs_after_another_until_there_are_enough(tmp_path: Path) -> None:
    keys = [edwards(name) for name in ("one", "two", "three")]
    ring = Keyring.from_keys([key.verifying_key for key in keys], threshold=3)
    path = tmp_path / "m.joblib"
    safeload.dump(MODEL, path, key=keys[0])
    said = payload(path)
    with pytest.raises(VerificationError, match=r"there are 1 \(one\).*safeload countersign"):
        safeload.load(path, keyring=ring)
    assert safeload.countersign(path, key=keys[1], keyring=ring).missing == 1
    assert safeload.countersign(path, key=keys[1], keyring=ring).added == (), "signed already"
    done = safeload.countersign(path, key=keys[2], keyring=ring)
    assert (done.added, done.removed, done.missing, done.content.key_ids) == (
        ("three",),
        (),
        0,
        ("one", "two", "three"),
    )
    assert payload(path) == said
    assert safeload.load(path, keyring=ring) == MODEL


def test_nobody_signs_beside_a_stranger(path: Path) -> None:
    key = edwards("k")
    before = both(path)
    with pytest.raises(safeload.UnknownKeyError):
        safeload.countersign(path, key=key, keyring=key)
    with pytest.raises(TypeError, match="keyring="):
        safeload.countersign(path, key=[key, edwards()])
    assert both(path) == before


def test_a_key_signs_by_the_name_that_the_keyring_has_for_it(path: Path, ring: Keyring) -> None:
    key = edwards()
    ring.add(SigningKey(key.reveal(), algorithm="ed25519", key_id="risk-team").verifying_key)
    assert safeload.countersign(path, key=key, keyring=ring).added == ("risk-team",)
    assert safeload.read_manifest(path, keyring=ring).key_ids == ("old", "risk-team")


def test_an_envelope_has_no_more_than_16_signatures(path: Path, ring: Keyring) -> None:
    for number in range(15):
        key = edwards(f"k{number}")
        ring.add(key.verifying_key)
        safeload.countersign(path, key=key, keyring=ring)
    with pytest.raises(KeyringError, match="1 to 16 signatures, not 17"):
        safeload.countersign(path, key=ring)


def test_a_tampered_artifact_is_seen_even_if_it_is_changed_while_it_is_signed(
    path: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safeload._storage.backends.local import LocalFiles

    real = LocalFiles.signing

    def changing(self: LocalFiles, name: str, **options: Any) -> Any:
        target = Path(name)
        target.write_bytes(target.read_bytes()[:-1] + b"x")
        return real(self, name, **options)

    monkeypatch.setattr(LocalFiles, "signing", changing)
    with pytest.raises(DigestMismatchError):
        safeload.re_sign(path, key=ring)
    assert signers_of(path) == ["old"]


def test_another_manifest_put_in_place_meanwhile_is_not_signed(
    path: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = manifest_path(path).read_bytes()
    safeload.sign(path, key=signer(ring, "old"), overwrite=True)  # of the same bytes: release 8
    real = safeload.Loader.verified_manifest

    def swapping(self: safeload.Loader, target: str | os.PathLike[str]) -> safeload.Manifest:
        manifest = real(self, target)
        manifest_path(target).write_bytes(kept)
        return manifest

    monkeypatch.setattr(safeload.Loader, "verified_manifest", swapping)
    with pytest.raises(safeload.ManifestError, match="replaced while it was being signed"):
        safeload.re_sign(path, key=ring)
    assert manifest_path(path).read_bytes() == kept


# --- stores ---


@pytest.fixture
def stored(tmp_path: Path, ring: Keyring) -> Path:
    """A store in which the old key signed all."""
    store = safeload.Store(tmp_path / "store", key=signer(ring, "old"))
    for number in (1, 2):
        store.save("fraud", [number], version=str(number))
        store.promote("fraud", str(number))
    return tmp_path / "store"


def files_of(store: Path) -> list[Path]:
    return [*sorted(store.glob("*/versions/*/*.joblib")), *sorted(store.glob("*/channels/*.json"))]


def test_a_store_survives_the_revocation_of_the_old_key(stored: Path, ring: Keyring, tmp_path: Path) -> None:
    server = safeload.Store(stored, keyring=ring, rollback_state=tmp_path / "rollback-state.json")
    assert server.load("fraud", channel="production") == [2]
    re_signer = ReSigner(key=ring)
    for file in files_of(stored):
        assert re_signer.sign(file).removed == ("old",)
        assert server.load("fraud", channel="production") == [2]
        assert re_signer.sign(file).added == ()
    ring.revoke("old", "rotated")
    store = safeload.Store(stored, key=ring, rollback_state=tmp_path / "rollback-state.json")
    assert store.load("fraud", channel="production") == [2]
    assert all(report.allowed for report in store.verify())
    assert store.rollback("fraud").version == "1"


def test_pointers_that_do_not_hold_are_refused_and_left(stored: Path, ring: Keyring) -> None:
    production = stored / "fraud" / "channels" / "production.json"
    genuine = production.read_bytes()
    (production.with_name("canary.json")).write_bytes(genuine)
    with pytest.raises(VerificationError, match="signed for model 'fraud', channel 'production'") as caught:
        safeload.re_sign(production.with_name("canary.json"), key=ring)
    assert caught.value.code == "SL107"
    assert production.with_name("canary.json").read_bytes() == genuine
    production.write_bytes(genuine.replace(b'"payload": "', b'"payload": "AAAA'))
    with pytest.raises(safeload.BadSignatureError):
        safeload.re_sign(production, key=ring)
    production.write_bytes(genuine)
    (stored / "fraud" / "versions" / "2").rename(stored / "gone")
    with pytest.raises(VerificationError, match="the version that this channel points to is missing"):
        safeload.re_sign(production, key=ring)
    assert production.read_bytes() == genuine
    production.unlink()
    with pytest.raises(FileNotFoundError):
        safeload.re_sign(production, key=ring)


def test_pointers_are_signed_beside_others_too(stored: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    key = edwards("second")
    ring.add(key.verifying_key)
    demanding = ring.with_threshold(2)
    for file in files_of(stored):
        safeload.countersign(file, key=key, keyring=demanding)
    assert safeload.Store(stored, keyring=demanding).load("fraud", channel="production") == [2]
    monkeypatch.chdir(stored / "fraud" / "channels")
    assert safeload.re_sign("production.json", key=ring).removed == ("old",)
