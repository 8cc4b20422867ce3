"""Sign, verify and scan joblib and pickle artifacts before loading them.

    import safeload

    safeload.dump(model, "model.joblib")      # joblib.dump, scanned and signed
    model = safeload.load("model.joblib")     # verified, scanned, and only then joblib.load

Most callers want these two.  `verify` is the step before a deployment, `scan` looks at files of unknown origin.
"""

from __future__ import annotations

from safeload._api import (
    Scannable,
    countersign,
    dump,
    dumps,
    load,
    loads,
    re_sign,
    read_manifest,
    scan,
    sign,
    verify,
)
from safeload._internal.files import PathLike
from safeload._judging.report import Report, SecondOpinion
from safeload._loading.loader import Accept, Loader, MmapMode, OnMismatch
from safeload._loading.rollback_state import RollbackState
from safeload._loading.watch import Followed, LoadedModel, OnRefused, OnSwapped, Watch
from safeload._manifest.manifest import Manifest, Producer
from safeload._scan import GlobalUse, Limits
from safeload._signing.new_pair import Compress
from safeload._signing.re_sign import ReSigned, SignedContent
from safeload._signing.reissue import reissue
from safeload._storage.copies import Copies, SealedCopies
from safeload.errors import (
    BadSignatureError,
    DigestMismatchError,
    ExpiredError,
    KeyringError,
    LimitExceededError,
    MalformedArtifactError,
    ManifestError,
    PolicyFileError,
    PolicyViolationError,
    RollbackError,
    SafeloadError,
    StorageError,
    TripwireError,
    UnknownKeyError,
    UnsignedError,
    UnsignedWarning,
    VerificationError,
    VersionMismatchError,
    VersionMismatchWarning,
)
from safeload.findings import Finding
from safeload.keys import Keyring, Signer, SigningKey, VerifyingKey
from safeload.policy import Policy
from safeload.store import Store

__version__ = "0.1.0"

__all__ = [
    "Accept",
    "BadSignatureError",
    "Compress",
    "Copies",
    "DigestMismatchError",
    "ExpiredError",
    "Finding",
    "Followed",
    "GlobalUse",
    "Keyring",
    "KeyringError",
    "LimitExceededError",
    "Limits",
    "LoadedModel",
    "Loader",
    "MalformedArtifactError",
    "Manifest",
    "ManifestError",
    "MmapMode",
    "OnMismatch",
    "OnRefused",
    "OnSwapped",
    "PathLike",
    "Policy",
    "PolicyFileError",
    "PolicyViolationError",
    "Producer",
    "ReSigned",
    "Report",
    "RollbackError",
    "RollbackState",
    "SafeloadError",
    "Scannable",
    "SealedCopies",
    "SecondOpinion",
    "SignedContent",
    "Signer",
    "SigningKey",
    "StorageError",
    "Store",
    "TripwireError",
    "UnknownKeyError",
    "UnsignedError",
    "UnsignedWarning",
    "VerificationError",
    "VerifyingKey",
    "VersionMismatchError",
    "VersionMismatchWarning",
    "Watch",
    "__version__",
    "countersign",
    "dump",
    "dumps",
    "load",
    "loads",
    "re_sign",
    "read_manifest",
    "reissue",
    "scan",
    "sign",
    "verify",
]
