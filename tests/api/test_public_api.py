"""The public API is what tests/api/public_api.txt says: a change of it is meant, and stands in the changelog."""

from __future__ import annotations

import subprocess
import sys

import pytest

from safeload._scan import COMPILED
from support.places import ROOT


@pytest.mark.skipif(COMPILED, reason="compiled classes have no signatures to be read")
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other Pythons write some signatures differently")
def test_the_public_api_is_as_it_was() -> None:
    command = [sys.executable, str(ROOT / "tools" / "public_api.py")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found = result.stdout
    kept = (ROOT / "tests" / "api" / "public_api.txt").read_text(encoding="utf-8")
    assert found == kept, "if the change is meant: python tools/public_api.py > tests/api/public_api.txt"
