"""What a policy lacks to allow artifacts that are made here: who is refused and why, and the rules that are missing."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from safeload._scan import scan_stream
from safeload._scan.sources import FileSource
from safeload.audit import learn
from safeload.policy import resolve_policy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from safeload.findings import Finding

_MAX_LEARNED = 50  # artifacts that rules are proposed from


class Missing:
    """Artifacts that a policy refuses.

    Attributes:
        refused: the findings of each artifact that is, by its name.
        count: how many artifacts were looked at.
    """

    def __init__(self, policy: str) -> None:
        self._name = policy
        self._policy = resolve_policy(policy)
        self._kept: dict[frozenset[tuple[str, str | None]], bytes] = {}  # one for each set of reasons
        self.refused: dict[str, tuple[Finding, ...]] = {}
        self.count = 0

    def look_at(self, name: str, artifacts: Iterable[bytes]) -> None:
        """Scan the forms in which one object was written, uncompressed."""
        for data in artifacts:
            self.count += 1
            source = FileSource(io.BytesIO(data), len(data))
            findings = scan_stream(source, self._policy, self._policy.limits(), record=False).findings
            if findings:
                self.refused.setdefault(name, tuple(findings))
                self._kept.setdefault(frozenset((one.code, one.global_name) for one in findings), data)

    def told(self) -> str:
        """Return what is refused, why, and the rules that would allow it, as a policy to be reviewed."""
        lines = [f"# {self.count} artifacts, {len(self.refused)} models refused"]
        for name, findings in self.refused.items():
            lines += [f"# {name}: {one.code} {one.global_name}: {one.message}" for one in findings[:4]]
        if not self._kept:
            return lines[0]
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for index, data in enumerate(list(self._kept.values())[:_MAX_LEARNED]):
                paths.append(Path(folder, f"{index}.pkl"))
                paths[-1].write_bytes(data)
            lesson = learn(list(map(str, paths)), self._policy, extends=[self._name], name="missing")
        return "\n".join([*lines, "", lesson.text or "# no rule can be proposed for these"])
