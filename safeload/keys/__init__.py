"""Keys, keyrings and signers: who may sign, and whose signatures are trusted.

Most callers need a keyring's path only: `safeload key new` makes one, and `dump` and `load` take it. From Python::

    from safeload.keys import Keyring, SigningKey, editing

    Keyring.from_keys([SigningKey.generate("ed25519", key_id="trainer")]).save("ring.toml")
    with editing("ring.toml") as ring:  # one writer at a time; comments in the file stay
        ring.rotate(SigningKey.generate("ed25519"))
"""

from safeload.keys._algorithms import ALGORITHMS, DEFAULT_ALGORITHM, Algorithm
from safeload.keys._editing import editing, public_part
from safeload.keys._entry import MAX_REASON, KeyEntry, Terms
from safeload.keys._key import Signer, SigningKey, VerifyingKey, is_key_id
from safeload.keys._keyring import Keyring, KeyringSource, resolve_keyring
from safeload.keys._pem_file import PemFile
from safeload.keys._scopes import check_scope
from safeload.keys._signers import (
    SecuresystemslibSigner,
    Signers,
    SigningSource,
    SigningSources,
    key_and_keyring,
    resolve_signers,
)
from safeload.keys._source import (
    KeySource,
    default_keyring_path,
    editable_path,
    is_shareable,
    keyring_file,
    write_key_file,
)

__all__ = [
    "ALGORITHMS",
    "DEFAULT_ALGORITHM",
    "MAX_REASON",
    "Algorithm",
    "KeyEntry",
    "KeySource",
    "Keyring",
    "KeyringSource",
    "PemFile",
    "SecuresystemslibSigner",
    "Signer",
    "Signers",
    "SigningKey",
    "SigningSource",
    "SigningSources",
    "Terms",
    "VerifyingKey",
    "check_scope",
    "default_keyring_path",
    "editable_path",
    "editing",
    "is_key_id",
    "is_shareable",
    "key_and_keyring",
    "keyring_file",
    "public_part",
    "resolve_keyring",
    "resolve_signers",
    "write_key_file",
]
