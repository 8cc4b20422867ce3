"""Every error that safeload raises, under one root.

Each says in fields of its own where it happened (`path`), what happened (`message`) and what to do (`advice`), so that
no reader has to cut a text. `FileNotFoundError`, `FileExistsError` and the other errors of the operating system
(`OSError`) are raised unchanged.
"""

from __future__ import annotations

import os
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
    "UnsignedWarning",
    "VerificationError",
    "VersionMismatchError",
    "VersionMismatchWarning",
]


class SafeloadError(Exception):
    """The root of all errors that safeload raises.

    `str(error)` is "PATH: MESSAGE. ADVICE". All three can be set on a caught error, to raise it again about another
    file; errors can be pickled and copied.

    Args:
        message: what happened and why ("cannot X: cause"), without a period at its end, the path or the advice.
        advice: what to do about it, in whole sentences.
        path: the file or folder that the error is about, where there is one.
    """

    message: str
    advice: str | None
    path: str | None

    def __init__(self, message: str, *, advice: str | None = None, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(message)  # the one argument that copies and pickles are made with; they get the rest as state
        self.message = message
        self.advice = advice
        self.path = None if path is None else os.fspath(path)

    def describe(self, path: str | os.PathLike[str]) -> str:
        """Return the message for a reader who sees this path beside it: only another path is named."""
        return self.message if self.path in (None, os.fspath(path)) else f"{self.path}: {self.message}"

    def __str__(self) -> str:
        text = self.message if self.path is None else f"{self.path}: {self.message}"
        if self.advice is None:
            return text
        return f"{text}\n{self.advice}" if "\n" in self.message else f"{text}. {self.advice}"


class VerificationError(SafeloadError):
    """The artifact is not what a trusted key signed; `code` is the finding code of the reason.

    `offset` is the byte of the artifact where its content differs, where that is known.
    """

    code = "SL102"

    def __init__(
        self,
        message: str,
        *,
        advice: str | None = None,
        path: str | os.PathLike[str] | None = None,
        code: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message, advice=advice, path=path)
        if code is not None:
            self.code = code
        self.offset = offset


class UnsignedError(VerificationError):
    """The artifact has no manifest beside it."""

    code = "SL101"


class ManifestError(VerificationError):
    """The manifest cannot be read, or describes another artifact."""

    code = "SL102"


class UnknownKeyError(VerificationError):
    """No signature is by a key that the keyring trusts for this use."""

    code = "SL103"


class BadSignatureError(VerificationError):
    """The signature is not valid under the key that it names."""

    code = "SL104"


class ExpiredError(VerificationError):
    """The manifest, or the key that signed it, has expired."""

    code = "SL105"


class DigestMismatchError(VerificationError):
    """The artifact's bytes are not the bytes that were signed."""

    code = "SL201"


class RollbackError(VerificationError):
    """The artifact is genuine, but an older release than the one asked for."""

    code = "SL108"


class ReportedError(SafeloadError):
    """A refusal with the whole report (`safeload.Report`) attached."""

    def __init__(
        self,
        message: str,
        *,
        advice: str | None = None,
        path: str | os.PathLike[str] | None = None,
        report: Any = None,
    ) -> None:
        super().__init__(message, advice=advice, path=path)
        self.report = report


class PolicyViolationError(ReportedError):
    """The scan understood the artifact, and the policy does not allow all that it does."""


class MalformedArtifactError(ReportedError):
    """The scan did not understand the artifact, which is therefore refused."""


class LimitExceededError(ReportedError):
    """The artifact exceeds a limit."""


class TripwireError(SafeloadError):
    """Loading did what the scan had not seen, and was stopped; `event` is the audit event."""

    def __init__(
        self,
        message: str,
        *,
        advice: str | None = None,
        path: str | os.PathLike[str] | None = None,
        event: str = "",
    ) -> None:
        super().__init__(message, advice=advice, path=path)
        self.event = event


class VersionMismatchError(SafeloadError):
    """The installed packages differ from those that wrote the artifact."""


class VersionMismatchWarning(UserWarning):
    """The installed packages differ from those that wrote the artifact at `path`; `message` says how."""

    def __init__(self, message: str, *, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(message if path is None else f"{os.fspath(path)}: {message}")
        self.message = message
        self.path = None if path is None else os.fspath(path)


class UnsignedWarning(UserWarning):
    """The artifact at `path` is not signed and was loaded all the same, because the guard was told to; see `guard`."""

    def __init__(self, message: str, *, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(message if path is None else f"{os.fspath(path)}: {message}")
        self.message = message
        self.path = None if path is None else os.fspath(path)


# An artifact was judged, and refused; every other error says that it could not be judged.
REFUSALS = (VerificationError, ReportedError, TripwireError, VersionMismatchError)


class PolicyFileError(SafeloadError):
    """A policy cannot be read, or allows a name that is always denied."""


class KeyringError(SafeloadError):
    """A keyring or key cannot be read, is not private enough, or cannot do what is asked."""


class StorageError(SafeloadError):
    """An artifact or its manifest could not be stored or read safely."""
