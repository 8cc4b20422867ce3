"""The table of finding codes: what each means, and what to do about it.

A finding is one reason to refuse an artifact.  Codes are stable: SL1xx trust, SL2xx integrity,
SL3xx malformed, SL4xx policy, SL5xx limits, SL6xx environment, SL7xx what an audit finds in a policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["FINDING_KINDS", "Finding", "FindingKind", "RefusedError"]


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

FINDING_KINDS: dict[str, FindingKind] = {
    rule.code: rule
    for rule in (
        # trust
        FindingKind("SL101", "unsigned", "Sign it where it was trained: safeload sign FILE."),
        FindingKind(
            "SL102",
            "manifest not understood",
            "Get artifact and manifest again from where they were signed, or sign a trusted copy again.",
        ),
        FindingKind(
            "SL103", "unknown key", "Add the signer's key to the keyring, if you trust it: safeload key import."
        ),
        FindingKind("SL104", "bad signature", "The manifest was changed, or another key signed it. Do not load it."),
        FindingKind("SL105", "expired", "Sign a newer release, or the same one with a later expiry."),
        FindingKind("SL106", "key not trusted for this", "Sign the artifact again with an active key."),
        FindingKind("SL107", "signed under another name", "Rename it back, or sign it under its new name."),
        FindingKind("SL108", "older release than required", "Deploy a newer release, or lower min_release on purpose."),
        FindingKind(
            "SL109", "too few signatures", "Have another of the trusted keys sign it, too: safeload countersign FILE."
        ),
        FindingKind(
            "SL120", "not what the channel points to", "Restore the version that was promoted, or promote anew."
        ),
        # integrity
        FindingKind("SL201", "content differs from what was signed", _INSPECT),
        FindingKind("SL202", "size differs from what was signed", _INSPECT),
        # malformed
        FindingKind("SL301", "ends too early", _INSPECT),
        FindingKind("SL302", "unknown opcode", _INSPECT),
        FindingKind("SL303", "opcode that no pickler writes", _INSPECT + " " + _REPORT),
        FindingKind("SL304", "data after the end", _INSPECT),
        FindingKind("SL305", "frame out of place", _INSPECT),
        FindingKind("SL306", "stack misused", _INSPECT),
        FindingKind("SL307", "memo misused", _INSPECT),
        FindingKind("SL308", "name of a global is not plain", "Move nested classes to module level. " + _INSPECT),
        FindingKind("SL309", "protocol misstated", _INSPECT),
        FindingKind("SL310", "value in an odd spelling", _INSPECT),
        FindingKind("SL311", "array wrapper not as joblib writes it", _INSPECT + " " + _REPORT),
        FindingKind("SL312", "dtype not as numpy writes it", _INSPECT + " " + _REPORT),
        FindingKind("SL313", "array padding not as joblib writes it", _INSPECT),
        FindingKind("SL314", "nested pickle not as joblib writes it", _INSPECT),
        FindingKind(
            "SL315", "written by joblib before 0.10", "Load it in isolation, and dump it again with a current joblib."
        ),
        FindingKind("SL316", "compressed stream damaged", _INSPECT),
        FindingKind("SL317", "compressed twice", "Unpack it once and sign the result."),
        FindingKind("SL318", "call not as picklers write it", _INSPECT + " " + _REPORT),
        FindingKind("SL319", "state set on what must not have one", _INSPECT),
        FindingKind("SL320", "items added to what must not have any", _INSPECT),
        FindingKind("SL321", "key that cannot be hashed safely", _INSPECT),
        FindingKind("SL322", "text is not UTF-8", _INSPECT),
        FindingKind("SL323", "not a joblib or pickle file", "Check the path: this is not a saved model."),
        FindingKind("SL324", "array not as numpy writes it", _INSPECT + " " + _REPORT),
        FindingKind("SL326", "native structure is inconsistent", _INSPECT + " " + _REPORT),
        FindingKind(
            "SL325",
            "second opinion differs",
            "Do not load it: safeload and fickling read it differently. If scikit-learn, joblib or pickle wrote this "
            "file, one of the two has a bug: please report it.",
        ),
        # policy
        FindingKind(
            "SL401", "global not allowed", "Review the code that it names; if it is safe to load, add the rule shown."
        ),
        FindingKind("SL402", "role not allowed", "Review what that use does; if it is safe, add the role to the rule."),
        FindingKind(
            "SL403", "arguments not allowed", "The call is not in the form that the policy allows for this global."
        ),
        FindingKind(
            "SL404", "state not allowed", "The state is not in the form that the policy allows for this global."
        ),
        FindingKind(
            "SL405", "denied whatever the policy", "This runs code or reaches outside. No policy can allow it."
        ),
        # limits
        FindingKind("SL501", "too many opcodes", _LIMITS),
        FindingKind("SL502", "memo too large", _LIMITS),
        FindingKind("SL503", "unpacks to too much", _LIMITS),
        FindingKind("SL504", "unpacks at too high a ratio", _LIMITS),
        FindingKind("SL505", "nested too deep", _LIMITS),
        FindingKind("SL506", "too many globals", _LIMITS),
        FindingKind("SL507", "length exceeds what is there", _INSPECT),
        FindingKind("SL508", "number too long", _INSPECT),
        FindingKind("SL509", "takes too much memory to check", _LIMITS),
        # environment
        FindingKind(
            "SL601", "written by other package versions", "Install the versions that the manifest names.", "warning"
        ),
        FindingKind("SL602", "codec not installed", "Install the package that the message names."),
        # policy lint
        FindingKind(
            "SL701", "rule not valid", "Correct the rule, or remove it: nothing is loaded under this policy as it is."
        ),
        FindingKind("SL702", "rule expired", "Review it again and set a new day, or remove it."),
        FindingKind(
            "SL703",
            "another name for what is denied",
            "Remove the rule: in this environment the name stands for what no policy can allow.",
        ),
        FindingKind(
            "SL704",
            "runs what the denylist denies",
            "Read the code named: it runs when an artifact is loaded, with arguments from the artifact. Allow only a "
            "form in which that is harmless, or change the class.",
        ),
        FindingKind(
            "SL705",
            "name stands for something else",
            "Pickles name a class or function by the module that defines it: write the rule for that name.",
            "warning",
        ),
        FindingKind("SL706", "not in this environment", "Nothing, if artifacts of other versions need it.", "note"),
        FindingKind(
            "SL707", "could not be imported", "What the rule allows could not be looked at: do so by hand.", "note"
        ),
        FindingKind("SL708", "no artifact can use it", "Remove the role, or grant the one that is missing.", "warning"),
        FindingKind("SL709", "said twice", "Remove the rule, or what it repeats.", "warning"),
        FindingKind("SL710", "no reason given", "Write down who reviewed it, and why it is safe to load.", "warning"),
        FindingKind(
            "SL711",
            "state with any keys",
            'Write state = "attributes" or "slots", which refuse keys such as __class__.',
            "warning",
        ),
        FindingKind("SL712", "any arguments", "Say what the arguments may be.", "warning"),
        FindingKind(
            "SL713", "expires soon", "Review it before that day: then the whole policy becomes an error.", "warning"
        ),
        FindingKind(
            "SL714",
            "runs a __setstate__ of its own",
            "Read it: it runs with a state from the artifact. Constrain the state to what it expects.",
            "note",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to refuse an artifact.

    `offset` counts bytes from the start of the (unpacked) pickle stream; None where no place applies.
    `global_name` is the `module.qualname` that it is about, where there is one.
    """

    code: str
    message: str
    offset: int | None = None
    global_name: str | None = None

    @property
    def title(self) -> str:
        """What this code means, in a few words."""
        return FINDING_KINDS[self.code].title

    @property
    def advice(self) -> str:
        """What to do about it."""
        return FINDING_KINDS[self.code].advice

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON can hold it."""
        return {
            "code": self.code,
            "title": self.title,
            "message": self.message,
            "offset": self.offset,
            "global_name": self.global_name,
        }


class RefusedError(Exception):
    """What the scanner and the unpacking reader raise: the artifact is refused for this one reason.

    It never leaves the package: the flows turn it into a report and the public errors.
    """

    def __init__(self, code: str, message: str, offset: int | None = None, global_name: str | None = None) -> None:
        super().__init__(message)
        self.finding = Finding(code, message, offset, global_name)
