"""Audit policies: what one allows and whether it should, what artifacts need of it, what a change would do.

These functions are what `safeload audit` and `safeload policy` show. They read policies and scan artifacts, and never
unpickle any. `lint` alone imports: the modules that the policy names, in a process of its own.
"""

from __future__ import annotations

from safeload.audit._compare import Change, Comparison, compare
from safeload.audit._explain import Explanation, explain
from safeload.audit._learn import Lesson, learn
from safeload.audit._lint import LintFinding, PolicyLint, lint
from safeload.audit._needs import ArtifactAudit, Needs, Unneeded, look_at, minimal_policy, needs_of

__all__ = [
    "ArtifactAudit",
    "Change",
    "Comparison",
    "Explanation",
    "Lesson",
    "LintFinding",
    "Needs",
    "PolicyLint",
    "Unneeded",
    "compare",
    "explain",
    "learn",
    "lint",
    "look_at",
    "minimal_policy",
    "needs_of",
]
