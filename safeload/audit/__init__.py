"""Audit policies: what one allows and whether it should, what artifacts need of it, what a change would do.

These functions are what `safeload audit` and `safeload policy` show. They read policies and scan artifacts, and never
unpickle any. `lint` alone imports: the modules that the policy names, in a process of its own.
"""

from __future__ import annotations

from safeload.audit._compare import Change, Comparison, compare
from safeload.audit._explain import Explanation, explain
from safeload.audit._learn import Lesson, learn

__all__ = ["Change", "Comparison", "Explanation", "Lesson", "compare", "explain", "learn"]
