"""The table of finding codes: what each means, and what to do about it.

A finding is one reason to refuse an artifact.  Codes are stable: SL1xx trust, SL2xx integrity,
SL3xx malformed, SL4xx policy, SL5xx limits, SL6xx environment, SL7xx what an audit finds in a policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["FINDING_KINDS", "ONLY_HERE", "Finding", "FindingKind", "RefusedError"]


@dataclass(frozen=True, slots=True)
class FindingKind:
    """One kind of finding; `severity` is "error" where it refuses, else "warning" or "note"."""

    code: str
    title: str
    advice: str
    severity: str = "error"


_INSPECT = "The file is damaged or was made to mislead. Get it again from where it was trained."
_LIMITS = (
    "If you trust the artifact, and it really is this large, raise the limit that the message names, wherever it is "
    "signed, verified and loaded: --limit NAME=NUMBER, or limits=safeload.Limits(NAME=NUMBER)."
)
_REPORT = "If scikit-learn, joblib or pickle wrote this file, that is a bug in safeload: please report it."
_HERE = (
    "Install the versions that wrote the artifact, or train and save the model again with those that are installed. "
    "Where it is only checked and never loaded: --any-environment."
)
# Codes that say that an allowed artifact would not load in this environment; elsewhere it may.
ONLY_HERE = frozenset(("SL603", "SL604", "SL605", "SL606", "SL607", "SL608"))

FINDING_KINDS: dict[str, FindingKind] = {
    rule.code: rule
    for rule in (
        # trust
        FindingKind("SL101", "missing signature", "Sign it where it was trained: safeload sign FILE."),
        FindingKind(
            "SL102",
            "unreadable manifest",
            "Get artifact and manifest again from where they were signed, or sign a trusted copy again.",
        ),
        FindingKind(
            "SL103", "unknown key", "Add the signer's key to the keyring, if you trust it: safeload key import."
        ),
        FindingKind("SL104", "bad signature", "The manifest was changed, or another key signed it. Do not load it."),
        FindingKind("SL105", "expired signature", "Sign a newer release, or the same one with a later expiry."),
        FindingKind("SL106", "untrusted key", "Sign the artifact again with an active key."),
        FindingKind("SL107", "artifact name mismatch", "Restore the signed name, or sign it under its new name."),
        FindingKind("SL108", "outdated release", "Deploy a newer release, or lower min_release on purpose."),
        FindingKind(
            "SL109", "too few signatures", "Have another of the trusted keys sign it, too: safeload countersign FILE."
        ),
        FindingKind(
            "SL110",
            "missing artifact",
            "Restore the signed artifact, or remove its manifest.",
            "warning",
        ),
        FindingKind("SL111", "skipped file", "Remove the file from the folder, or exclude it: --exclude PATTERN."),
        FindingKind("SL120", "channel mismatch", "Restore the version that was promoted, or promote another one."),
        # integrity
        FindingKind("SL201", "digest mismatch", _INSPECT),
        FindingKind("SL202", "size mismatch", _INSPECT),
        # malformed
        FindingKind("SL301", "truncated stream", _INSPECT),
        FindingKind("SL302", "unknown opcode", _INSPECT),
        FindingKind("SL303", "opcode not used by picklers", _INSPECT + " " + _REPORT),
        FindingKind("SL304", "trailing data", _INSPECT),
        FindingKind("SL305", "misplaced frame", _INSPECT),
        FindingKind("SL306", "invalid stack use", _INSPECT),
        FindingKind("SL307", "invalid memo use", _INSPECT),
        FindingKind("SL308", "invalid global name", "Move nested classes to module level. " + _INSPECT),
        FindingKind("SL309", "invalid protocol number", _INSPECT),
        FindingKind("SL310", "non-canonical encoding", _INSPECT),
        FindingKind("SL311", "malformed array wrapper", _INSPECT + " " + _REPORT),
        FindingKind("SL312", "malformed dtype", _INSPECT + " " + _REPORT),
        FindingKind("SL313", "malformed array padding", _INSPECT),
        FindingKind("SL314", "malformed nested pickle", _INSPECT),
        FindingKind(
            "SL315", "format of joblib before 0.10", "Load it in isolation, and dump it again with a current joblib."
        ),
        FindingKind("SL316", "damaged compressed stream", _INSPECT),
        FindingKind("SL317", "double compression", "Unpack it once and sign the result."),
        FindingKind("SL318", "malformed call", _INSPECT + " " + _REPORT),
        FindingKind("SL319", "state on an unexpected object", _INSPECT),
        FindingKind("SL320", "items on an unexpected object", _INSPECT),
        FindingKind("SL321", "unsafe dictionary key", _INSPECT),
        FindingKind("SL322", "invalid text encoding", _INSPECT),
        FindingKind("SL323", "not a joblib or pickle file", "Check the path: this is not a saved model."),
        FindingKind("SL324", "malformed array", _INSPECT + " " + _REPORT),
        FindingKind("SL326", "inconsistent native structure", _INSPECT + " " + _REPORT),
        FindingKind(
            "SL325",
            "second opinion mismatch",
            "Do not load it: safeload and fickling read it differently. If scikit-learn, joblib or pickle wrote this "
            "file, one of the two has a bug: please report it.",
        ),
        FindingKind(
            "SL327", "file of another format", "Load it with the library of that format, or get the file itself."
        ),
        FindingKind(
            "SL328", "file changed by a text conversion", "Copy the file again as binary, from where it was trained."
        ),
        FindingKind(
            "SL329",
            "pickle of Python 2",
            "Train the model again, or, if you trust its source, load it in isolation and save it again with Python 3.",
        ),
        # policy
        FindingKind(
            "SL401",
            "global not allowed",
            "Review the code that it names. If it is safe to load, write a policy that allows it: "
            "safeload policy learn FILE.",
        ),
        FindingKind("SL402", "role not allowed", "Review what that use does; if it is safe, add the role to the rule."),
        FindingKind(
            "SL403", "arguments not allowed", "The call is not in the form that the policy allows for this global."
        ),
        FindingKind(
            "SL404", "state not allowed", "The state is not in the form that the policy allows for this global."
        ),
        FindingKind("SL405", "always denied", "This runs code or reaches outside. No policy can allow it."),
        FindingKind(
            "SL406",
            "name removed from its library",
            "Train it again, or, if you trust its source, load it in isolation with its versions and save it again.",
        ),
        FindingKind(
            "SL407",
            "bytes that no check covers",
            "Only a signature protects you from forged ones: load it only if somebody whom you trust has signed it.",
            "warning",
        ),
        # limits
        FindingKind("SL501", "opcode limit exceeded", _LIMITS),
        FindingKind("SL502", "memo limit exceeded", _LIMITS),
        FindingKind("SL503", "unpacked size limit exceeded", _LIMITS),
        FindingKind("SL504", "compression ratio limit exceeded", _LIMITS),
        FindingKind("SL505", "nesting limit exceeded", _LIMITS),
        FindingKind("SL506", "global limit exceeded", _LIMITS),
        FindingKind("SL507", "length beyond the end of the file", _INSPECT),
        FindingKind("SL508", "oversized number", _INSPECT),
        FindingKind("SL509", "memory limit exceeded", _LIMITS),
        # environment
        FindingKind("SL601", "package version mismatch", "Install the versions that the manifest names.", "warning"),
        FindingKind("SL602", "missing codec", "Install the package that the message names."),
        FindingKind("SL603", "missing module", _HERE),
        FindingKind("SL604", "missing name", _HERE),
        FindingKind("SL605", "layout of another version", _HERE),
        FindingKind("SL606", "event not granted", "Use the pack that has this class: extends = [..., PACK]."),
        FindingKind(
            "SL607", "refused version mismatch", "Install the versions that the manifest names, or train and sign anew."
        ),
        FindingKind(
            "SL608",
            "failed load",
            "Install the versions that wrote the artifact, or train and save the model again with those installed.",
        ),
        FindingKind(
            "SL609", "load stopped by the tripwire", "Do not use the artifact: its code does more than was scanned."
        ),
        # policy lint
        FindingKind(
            "SL701", "invalid rule", "Correct the rule, or remove it: nothing is loaded under this policy as it is."
        ),
        FindingKind("SL702", "expired rule", "Review the rule again and set a new day, or remove it."),
        FindingKind(
            "SL703",
            "alias of a denied name",
            "Remove the rule: in this environment, the name is an alias of a name that no policy can allow.",
        ),
        FindingKind(
            "SL704",
            "code that reaches a denied name",
            "Read the code named: it runs when an artifact is loaded, with arguments from the artifact. Allow only a "
            "form in which that is harmless, or change the class.",
        ),
        FindingKind(
            "SL705",
            "alias of another name",
            "Pickles name a class or function by the module that defines it: write the rule for that name.",
            "warning",
        ),
        FindingKind(
            "SL706",
            "name missing in this environment",
            "Run the audit where the package is installed, or read its code: find out whether it runs code, opens "
            "files or connects. Correct the name if it is misspelt.",
            "warning",
        ),
        FindingKind(
            "SL707",
            "failed import",
            "Run the audit where the module can be imported, or read its code: find out whether it runs code, opens "
            "files or connects.",
            "warning",
        ),
        FindingKind("SL708", "unusable role", "Remove the role, or grant the one that is missing.", "warning"),
        FindingKind("SL709", "duplicate rule", "Remove one of the two rules.", "warning"),
        FindingKind(
            "SL710", "missing reason", "Write in reason who reviewed it, and why it is safe to load.", "warning"
        ),
        FindingKind(
            "SL711",
            "unconstrained state keys",
            'Write state = "attributes" or "slots", which refuse keys such as __class__.',
            "warning",
        ),
        FindingKind("SL712", "unconstrained arguments", "List the allowed arguments in args.", "warning"),
        FindingKind(
            "SL713",
            "expiring rule",
            "Review it before that day: an expired rule makes the whole policy invalid.",
            "warning",
        ),
        FindingKind(
            "SL714",
            "custom __setstate__",
            "Read this method: it runs with a state from the artifact. Allow in state only the values that it expects.",
            "note",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to refuse an artifact.

    Attributes:
        code: the stable code, such as "SL401".
        message: what was found, without what to do about it.
        offset: bytes from the start of the (unpacked) pickle stream; None where no place applies.
        global_name: the `module.qualname` that it is about, where there is one.
        advice: what to do about it; that of its kind where nothing more exact is known.
    """

    code: str
    message: str
    offset: int | None = None
    global_name: str | None = None
    advice: str = ""

    def __post_init__(self) -> None:
        if not self.advice:
            object.__setattr__(self, "advice", FINDING_KINDS[self.code].advice)

    @property
    def title(self) -> str:
        """Return the title of its code: a few words."""
        return FINDING_KINDS[self.code].title

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON can hold it."""
        return {
            "code": self.code,
            "title": self.title,
            "message": self.message,
            "advice": self.advice,
            "offset": self.offset,
            "global_name": self.global_name,
        }


class RefusedError(Exception):
    """Refuse the artifact for one reason: raised by the scanner and the unpacking reader.

    It never leaves the package: the flows turn it into a report and the public errors.
    """

    def __init__(
        self, code: str, message: str, offset: int | None = None, global_name: str | None = None, advice: str = ""
    ) -> None:
        super().__init__(message)
        self.finding = Finding(code, message, offset, global_name, advice)
