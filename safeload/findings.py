"""The table of finding codes: what each means, and what to do about it.

A finding is one reason to refuse an artifact.  Codes are stable: SL1xx trust, SL2xx integrity,
SL3xx malformed, SL4xx policy, SL5xx limits, SL6xx environment, SL7xx what an audit finds in a policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["RULES", "Finding", "RefusedError", "Rule"]


@dataclass(frozen=True, slots=True)
class Rule:
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

RULES: dict[str, Rule] = {
    rule.code: rule
    for rule in (
        # trust
        Rule("SL101", "unsigned", "Sign it where it was trained: safeload sign FILE."),
        Rule(
            "SL102",
            "manifest not understood",
            "Get artifact and manifest again from where they were signed, or sign a trusted copy again.",
        ),
        Rule("SL103", "unknown key", "Add the signer's key to the keyring, if you trust it: safeload key import."),
        Rule("SL104", "bad signature", "The manifest was changed, or another key signed it. Do not load it."),
        Rule("SL105", "expired", "Sign a newer release, or the same one with a later expiry."),
        Rule("SL106", "key not trusted for this", "Sign the artifact again with an active key."),
        Rule("SL107", "signed under another name", "Rename it back, or sign it under its new name."),
        Rule("SL108", "older release than required", "Deploy a newer release, or lower min_release on purpose."),
        Rule("SL109", "too few signatures", "Have another of the trusted keys sign it, too: safeload cosign FILE."),
        Rule("SL120", "not what the channel points to", "Restore the version that was promoted, or promote anew."),
        # integrity
        Rule("SL201", "content differs from what was signed", _INSPECT),
        Rule("SL202", "size differs from what was signed", _INSPECT),
        # malformed
        Rule("SL301", "ends too early", _INSPECT),
        Rule("SL302", "unknown opcode", _INSPECT),
        Rule("SL303", "opcode that no pickler writes", _INSPECT + " " + _REPORT),
        Rule("SL304", "data after the end", _INSPECT),
        Rule("SL305", "frame out of place", _INSPECT),
        Rule("SL306", "stack misused", _INSPECT),
        Rule("SL307", "memo misused", _INSPECT),
        Rule("SL308", "name of a global is not plain", "Move nested classes to module level. " + _INSPECT),
        Rule("SL309", "protocol misstated", _INSPECT),
        Rule("SL310", "value in an odd spelling", _INSPECT),
        Rule("SL311", "array wrapper not as joblib writes it", _INSPECT + " " + _REPORT),
        Rule("SL312", "dtype not as numpy writes it", _INSPECT + " " + _REPORT),
        Rule("SL313", "array padding not as joblib writes it", _INSPECT),
        Rule("SL314", "nested pickle not as joblib writes it", _INSPECT),
        Rule(
            "SL315", "written by joblib before 0.10", "Load it in isolation, and dump it again with a current joblib."
        ),
        Rule("SL316", "compressed stream damaged", _INSPECT),
        Rule("SL317", "compressed twice", "Unpack it once and sign the result."),
        Rule("SL318", "call not as picklers write it", _INSPECT + " " + _REPORT),
        Rule("SL319", "state set on what must not have one", _INSPECT),
        Rule("SL320", "items added to what must not have any", _INSPECT),
        Rule("SL321", "key that cannot be hashed safely", _INSPECT),
        Rule("SL322", "text is not UTF-8", _INSPECT),
        Rule("SL323", "not a joblib or pickle file", "Check the path: this is not a saved model."),
        Rule("SL324", "array not as numpy writes it", _INSPECT + " " + _REPORT),
        Rule("SL326", "native structure is inconsistent", _INSPECT + " " + _REPORT),
        Rule(
            "SL325",
            "second opinion differs",
            "Do not load it: safeload and fickling read it differently. If scikit-learn, joblib or pickle wrote this "
            "file, one of the two has a bug: please report it.",
        ),
        # policy
        Rule(
            "SL401", "global not allowed", "Review the code that it names; if it is safe to load, add the rule shown."
        ),
        Rule("SL402", "role not allowed", "Review what that use does; if it is safe, add the role to the rule."),
        Rule("SL403", "arguments not allowed", "The call is not in the form that the policy allows for this global."),
        Rule("SL404", "state not allowed", "The state is not in the form that the policy allows for this global."),
        Rule("SL405", "denied whatever the policy", "This runs code or reaches outside. No policy can allow it."),
        # limits
        Rule("SL501", "too many opcodes", _LIMITS),
        Rule("SL502", "memo too large", _LIMITS),
        Rule("SL503", "unpacks to too much", _LIMITS),
        Rule("SL504", "unpacks at too high a ratio", _LIMITS),
        Rule("SL505", "nested too deep", _LIMITS),
        Rule("SL506", "too many globals", _LIMITS),
        Rule("SL507", "length exceeds what is there", _INSPECT),
        Rule("SL508", "number too long", _INSPECT),
        Rule("SL509", "takes too much memory to check", _LIMITS),
        # environment
        Rule("SL601", "written by other package versions", "Install the versions that the manifest names.", "warning"),
        Rule("SL602", "codec not installed", "Install the package that the message names."),
        # policy lint
        Rule(
            "SL701", "rule not valid", "Correct the rule, or remove it: nothing is loaded under this policy as it is."
        ),
        Rule("SL702", "rule expired", "Review it again and set a new day, or remove it."),
        Rule(
            "SL703",
            "another name for what is denied",
            "Remove the rule: in this environment the name stands for what no policy can allow.",
        ),
        Rule(
            "SL704",
            "runs what the deny floor denies",
            "Read the code named: it runs when an artifact is loaded, with arguments from the artifact. Allow only a "
            "form in which that is harmless, or change the class.",
        ),
        Rule(
            "SL705",
            "name stands for something else",
            "Pickles name a class or function by the module that defines it: write the rule for that name.",
            "warning",
        ),
        Rule("SL706", "not in this environment", "Nothing, if artifacts of other versions need it.", "note"),
        Rule("SL707", "could not be imported", "What the rule allows could not be looked at: do so by hand.", "note"),
        Rule("SL708", "no artifact can use it", "Remove the role, or grant the one that is missing.", "warning"),
        Rule("SL709", "said twice", "Remove the rule, or what it repeats.", "warning"),
        Rule("SL710", "no reason given", "Write down who reviewed it, and why it is safe to load.", "warning"),
        Rule(
            "SL711",
            "state with any keys",
            'Write state = "attributes" or "slots", which refuse keys such as __class__.',
            "warning",
        ),
        Rule("SL712", "any arguments", "Say what the arguments may be.", "warning"),
        Rule("SL713", "expires soon", "Review it before that day: then the whole policy becomes an error.", "warning"),
        Rule(
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
        return RULES[self.code].title

    @property
    def advice(self) -> str:
        """What to do about it."""
        return RULES[self.code].advice

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
