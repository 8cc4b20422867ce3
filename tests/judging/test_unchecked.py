"""What the verdict of a scan does not cover is said in every format, under every policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import safeload
from pickles.opcodes import build, glob, new, stream
from support.cli_runs import ALLOWED, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = "the text of the trees, which LightGBM's own parser reads"
OWN = """
name = "acme"
version = 1
[[allow]]
module = "{module}"
names = ["Booster"]
roles = ["new", "state"]
{more}
reason = "a test's own"
"""


@pytest.fixture
def booster(tmp_path: Path) -> Path:
    path = tmp_path / "booster.pkl"
    path.write_bytes(stream(build(new(glob("lightgbm.basic", "Booster")), {"_handle": "tree\n"})))
    return path


@pytest.mark.parametrize("own", [False, True])
def test_a_report_says_it(own: bool, booster: Path, tmp_path: Path) -> None:
    policy: str | Path = "lightgbm"
    if own:  # a policy that allows the class by a rule of its own, and knows nothing of it
        policy = tmp_path / "acme.toml"
        policy.write_text(OWN.format(module="lightgbm.basic", more=""))
    report = safeload.scan(booster, policy=policy)
    assert report.allowed
    assert report.unchecked == (TEXT,)
    assert report.to_dict()["unchecked"] == [TEXT]


def test_a_rule_of_a_policy_may_say_it(tmp_path: Path) -> None:
    policy = tmp_path / "acme.toml"
    policy.write_text(OWN.format(module="acme.models", more='unchecked = "the tables, which acme reads"'))
    path = tmp_path / "model.pkl"
    path.write_bytes(stream(build(new(glob("acme.models", "Booster")), {"x": 1})))
    assert safeload.scan(path, policy=policy).unchecked == ("the tables, which acme reads",)
    policy.write_text(OWN.format(module="acme.models", more="unchecked = 3"))
    with pytest.raises(safeload.errors.PolicyFileError, match="unchecked must be one line"):
        safeload.scan(path, policy=policy)


def test_of_other_models_all_is_covered(tmp_path: Path, key: safeload.SigningKey) -> None:
    safeload.dump({"a": np.arange(3)}, tmp_path / "model.joblib", key=key)
    assert safeload.verify(tmp_path / "model.joblib", keyring=key).unchecked == ()


def test_every_format_says_it(booster: Path, run: Callable[..., Outcome]) -> None:
    command = ("scan", booster, "--policy", "lightgbm")
    text = run(*command)
    assert text.code == ALLOWED
    assert f"note not covered by the scan: {TEXT}" in " ".join(text.out.split())
    sarif = json.loads(run(*command, "--format", "sarif").out)["runs"][0]["results"]
    assert [(one["ruleId"], one["level"]) for one in sarif] == [("SL407", "warning")]
    assert TEXT in str(ET.fromstring(run(*command, "--format", "junit").out).findtext(".//system-out"))
    assert run(*command, "--format", "html").out.count("LightGBM&#39;s own parser") == 1
    assert run(*command, "--format", "json").document["results"][0]["unchecked"] == [TEXT]
