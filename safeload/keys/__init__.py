"""Keys, keyrings and signers: who may sign, and whose signatures are trusted.

Most callers need a keyring's path only: `safeload key new` makes one, and `dump` and `load` take it. From Python,

    from safeload.keys import Keyring, SigningKey, editing

    Keyring.from_keys([SigningKey.generate("ed25519", key_id="trainer")]).save("ring.toml")
    with editing("ring.toml") as ring:  # one writer at a time; comments in the file stay
        ring.rotate(SigningKey.generate("ed25519"))
"""

from safeload.keys._editing import editing, public_part
from safeload.keys._entry import KeyEntry, Terms
from safeload.keys._key import Signer, SigningKey, VerifyingKey
from safeload.keys._keyring import Keyring, KeyringSource
from safeload.keys._signers import SecuresystemslibSigner, SigningSource, SigningSources

__all__ = [
    "KeyEntry",
    "Keyring",
    "KeyringSource",
    "SecuresystemslibSigner",
    "Signer",
    "SigningKey",
    "SigningSource",
    "SigningSources",
    "Terms",
    "VerifyingKey",
    "editing",
    "public_part",
]
