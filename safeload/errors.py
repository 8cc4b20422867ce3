"""Every error that safeload raises, under one root.

`FileNotFoundError`, `FileExistsError` and the other errors of the operating system (`OSError`) are raised unchanged.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "REFUSALS",
    "BadSignatureError",
    "DigestMismatchError",
    "ExpiredError",
    "KeyringError",
    "LimitExceededError",
    "MalformedArtifactError",
    "ManifestError",
    "PolicyFileError",
    "PolicyViolationError",
    "ReportedError",
    "RollbackError",
    "SafeloadError",
    "StorageError",
    "TripwireError",
    "UnknownKeyError",
    "UnsignedError",
    "VerificationError",
    "VersionMismatchError",
    "VersionMismatchWarning",
]


class SafeloadError(Exception):
    """The root of all errors that safeload raises."""


class VerificationError(SafeloadError):
    """The artifact is not what a trusted key signed; `code` is the finding code of the reason."""

    code = "SL102"

    def __init__(self, message: str, *, code: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.offset = offset


class UnsignedError(VerificationError):
    """The artifact has no manifest beside it."""

    code = "SL101"


class ManifestError(VerificationError):
    """The manifest cannot be read, or speaks of another artifact."""

    code = "SL102"


class UnknownKeyError(VerificationError):
    """No signature is by a key that the keyring trusts for this use."""

    code = "SL103"


class BadSignatureError(VerificationError):
    """The signature does not hold under the key that it names."""

    code = "SL104"


class ExpiredError(VerificationError):
    """The manifest, or the key that signed it, is past its time."""

    code = "SL105"


class DigestMismatchError(VerificationError):
    """The artifact's bytes are not the bytes that were signed."""

    code = "SL201"


class RollbackError(VerificationError):
    """The artifact is genuine, but an older release than the one asked for."""

    code = "SL108"


class ReportedError(SafeloadError):
    """A refusal with the whole report (`safeload.Report`) attached."""

    def __init__(self, message: str, *, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class PolicyViolationError(ReportedError):
    """The artifact was understood, and does what the policy does not allow."""


class MalformedArtifactError(ReportedError):
    """The artifact was not understood, and is therefore refused."""


class LimitExceededError(ReportedError):
    """The artifact holds too much of something."""


class TripwireError(SafeloadError):
    """Loading stepped outside what the scan had seen, and was stopped."""

    def __init__(self, message: str, *, event: str = "") -> None:
        super().__init__(message)
        self.event = event


class VersionMismatchError(SafeloadError):
    """The installed packages differ from those that wrote the artifact."""


class VersionMismatchWarning(UserWarning):
    """The installed packages differ from those that wrote the artifact."""


# An artifact was judged, and refused; every other error says that it could not be judged.
REFUSALS = (VerificationError, ReportedError, TripwireError, VersionMismatchError)


class PolicyFileError(SafeloadError):
    """A policy cannot be read, or asks for what no policy may allow."""


class KeyringError(SafeloadError):
    """A keyring or key cannot be read, is not private enough, or cannot do what is asked."""


class StorageError(SafeloadError):
    """The pair of artifact and manifest could not be stored or read safely."""
