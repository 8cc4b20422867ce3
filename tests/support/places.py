"""Where things are in the checkout that the tests belong to."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
TOOLS = ROOT / "tools"
PACKAGE = ROOT / "safeload"
