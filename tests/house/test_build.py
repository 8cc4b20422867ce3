"""Which of the two scanners this run tests is what the environment says it should be, and what a build adds."""

from __future__ import annotations

import hashlib
import importlib
import importlib.resources
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import safeload._scan
from safeload._scan import COMPILED
from safeload.findings import FINDING_KINDS
from safeload.policy import Policy, pack_names
from support.places import ROOT


def test_the_scanner_is_the_expected_one() -> None:
    expected = os.environ.get("SAFELOAD_EXPECT")
    assert expected in (None, "pure", "compiled")
    if expected is not None:
        assert COMPILED == (expected == "compiled")


def test_every_module_of_the_scanner_is_compiled_or_none_is() -> None:
    folder = Path(safeload._scan.__file__).parent
    pure = {folder / f"{name}.py" for name in ("foreign", "limits", "sniff", "sources")}  # PURE in setup.py
    names = [
        ".".join(("safeload._scan", *path.relative_to(folder).with_suffix("").parts))
        for path in folder.rglob("*.py")
        if path.name != "__init__.py" and path not in pure
    ]
    assert len(names) > 20
    kinds = {name: not str(importlib.import_module(name).__file__).endswith(".py") for name in names}
    assert set(kinds.values()) == {COMPILED}, kinds


def test_the_page_of_finding_codes_is_the_table() -> None:
    root = ROOT
    page = (root / "docs" / "reference" / "findings.md").read_text(encoding="utf-8")
    for rule in FINDING_KINDS.values():
        assert f"| {rule.code} | {rule.title} | {rule.advice} |" in page, "run tools/write_findings.py"


# The policies that a build has, told by a process that uses that build: what is in them, and where it stands. Without
# an argument it must not parse any TOML.
TELL = """
import json, os, sys, tomllib
import safeload.policy
assert safeload.policy.__file__.startswith(os.getcwd()), safeload.policy.__file__
if len(sys.argv) == 1:
    tomllib.loads = None
policies = [safeload.Policy.load(name) for name in safeload.policy.pack_names()]
print(json.dumps([[policy.digest, [rule.where for rule in policy.rules]] for policy in policies]))
"""


def test_a_build_has_parsed_the_packs_and_uses_that_for_the_same_text_only(tmp_path: Path) -> None:
    pytest.importorskip("packaging.licenses", reason="setuptools builds with packaging 24.2 or newer only")
    root = ROOT
    environment = {**os.environ, "SAFELOAD_MYPYC": "0", "PYTHONPATH": str(tmp_path)}
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(build, cwd=root, env=environment, check=True, capture_output=True)

    def told(*arguments: str) -> dict[str, object]:
        command = [sys.executable, "-c", TELL, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        return dict(zip(pack_names(), json.loads(done.stdout), strict=True))

    expected = {
        name: [policy.digest, [rule.where for rule in policy.rules]]
        for name, policy in ((name, Policy.load(name)) for name in pack_names())
    }
    assert told() == expected

    packs = tmp_path / "safeload" / "policy" / "packs"
    with (packs / "hdbscan.toml").open("a") as pack:
        pack.write('\n[[allow]]\nmodule = "acme"\nnames = ["Added"]\nreason = "x"\n')
    (packs / "polars.json").write_text("{")
    (packs / "pandas.json").unlink()
    after = told("parse TOML too")
    assert {name for name in expected if after[name] != expected[name]} == {"hdbscan"}


def test_what_was_parsed_beforehand_is_what_the_packs_say() -> None:
    folder = importlib.resources.files("safeload.policy.packs")
    stale = set()
    for name in pack_names():
        text = folder.joinpath(f"{name}.toml").read_bytes()
        try:
            parsed = json.loads(folder.joinpath(f"{name}.json").read_bytes())
        except FileNotFoundError:
            stale.add(name)
            continue
        if parsed["sha256"] == hashlib.sha256(text).hexdigest():
            assert parsed["document"] == tomllib.loads(text.decode())
        else:
            stale.add(name)
    if os.environ.get("SAFELOAD_EXPECT") is not None:  # freshly installed, be it editable or as a wheel
        assert not stale
