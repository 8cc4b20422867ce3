"""Reports for CI: several of one run, annotations and code quality, and a report also where nothing could be judged."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest

import safeload
from safeload._cli.report.weaknesses import weakness_of
from safeload.findings import FINDING_KINDS
from support.cli_runs import ERROR, REFUSED, USAGE, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("own_home")
NASTY = "a,b:c%0A|`<x>@me\n::error::.pkl"


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One file that is allowed and one that is refused, in the folder `models` of the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "good.pkl").write_bytes(pickle.dumps([1, 2]))
    (folder / "bad.pkl").write_bytes(pickle.dumps(Evil()))
    return folder


def test_one_run_writes_several_reports(run: Callable[..., Outcome], folder: Path) -> None:
    outcome = run(
        "scan", "models", "--format", "json", "-o", "a.json", "--format", "sarif", "-o", "b.sarif",
        "--format", "junit", "-o", "c.xml",
    )  # fmt: skip
    assert (outcome.code, outcome.out) == (REFUSED, "")
    assert json.loads(Path("a.json").read_text())["summary"]["refused"] == 1
    assert len(json.loads(Path("b.sarif").read_text())["runs"][0]["results"]) == 1
    assert ET.parse("c.xml").getroot().get("failures") == "1"
    quiet = run("scan", "models", "--format", "github", "-o", "-", "--format", "json", "-o", "a.json")
    assert (quiet.out.splitlines()[0][:8], quiet.err) == ("::error ", "")


@pytest.mark.parametrize(
    "options",
    [
        ["--format", "json", "--format", "sarif", "-o", "a"],
        ["--format", "json", "-o", "a", "-o", "b"],
        ["--format", "json", "-o", "a", "--format", "sarif", "-o", "./a"],
        ["--format", "json", "-o", "-", "--format", "sarif", "-o", "-"],
    ],
)
def test_reports_that_do_not_pair_are_refused_before_anything_is_done(
    run: Callable[..., Outcome], folder: Path, options: list[str]
) -> None:
    outcome = run("scan", "models", *options)
    assert (outcome.code, outcome.out) == (USAGE, "")
    assert "cannot write" in outcome.err
    assert not Path("a").exists()


def test_no_report_of_several_may_replace_an_input(run: Callable[..., Outcome], folder: Path) -> None:
    before = (folder / "good.pkl").read_bytes()
    outcome = run("scan", "models", "--format", "json", "-o", "a", "--format", "sarif", "-o", folder / "good.pkl")
    assert outcome.code == USAGE
    assert (folder / "good.pkl").read_bytes() == before


@pytest.mark.parametrize("layout", ["text", "json", "sarif"])
def test_refusals_and_the_summary_go_to_stderr_beside_a_file(
    run: Callable[..., Outcome], folder: Path, layout: str
) -> None:
    outcome = run("scan", "models", "--format", layout, "-o", "report")
    assert outcome.out == ""
    assert "refused   models/bad.pkl" in outcome.err
    assert "SL405" in outcome.err
    assert "good.pkl" not in outcome.err
    assert outcome.err.endswith("2 checked: 1 allowed, 1 refused\n")
    alone = run("scan", folder / "good.pkl", "--format", layout, "-o", "report")
    assert alone.err == "1 checked: 1 allowed, 0 refused\n"
    assert run("scan", folder / "good.pkl", "--format", layout, "-o", "report", "--quiet").err == ""


def unescaped(text: str) -> str:
    """Undo the escapes of a workflow command, as GitHub's runner does."""
    for escape, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(escape, char)
    return text


def test_github_annotations(run: Callable[..., Outcome], folder: Path) -> None:
    (folder / NASTY).write_bytes(pickle.dumps(Evil()))
    outcome = run("scan", "models", "gone.pkl", "--format", "github")
    assert outcome.code == REFUSED
    files = []
    for line in outcome.out.splitlines():
        found = re.fullmatch(r"::(error|warning|notice) ([^:]*)::(.*)", line)
        assert found, line
        properties = dict(one.split("=", 1) for one in found[2].split(","))
        assert properties["title"]
        files.append(unescaped(properties.get("file", "")))
    shown = NASTY.replace("\n", "\\n")
    assert sorted(files) == ["", "gone.pkl", f"models/{shown}", "models/bad.pkl"]
    assert "posix.system" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("::notice title=safeload scan::4 checked%3A".replace("%3A", ":"))


def test_gitlab_code_quality(run: Callable[..., Outcome], folder: Path) -> None:
    outcome = run("scan", folder, "gone.pkl", "--format", "gitlab")
    refused, gone = outcome.document
    assert refused["check_name"] == "SL405"
    assert refused["location"] == {"path": "models/bad.pkl", "lines": {"begin": 1}}
    assert "posix.system" in refused["description"]
    assert (gone["check_name"], gone["location"]["path"]) == ("not-judged", "gone.pkl")
    for entry in outcome.document:
        assert set(entry) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
    assert [one["fingerprint"] for one in run("scan", "models", "--format", "gitlab").document] == [
        refused["fingerprint"]
    ]


def test_markdown_summary(run: Callable[..., Outcome], folder: Path) -> None:
    (folder / NASTY).write_bytes(pickle.dumps(Evil()))
    outcome = run("scan", "models", "--format", "markdown")
    table = [line for line in outcome.out.splitlines() if line.startswith("|")]
    assert len(table) == 4
    assert all(line.count("|") == 5 for line in table)
    assert not set("<>`@&[]") & set(re.sub(r"&#[0-9]+;", "", outcome.out))
    assert "| refused | models/bad.pkl | SL405 |" in outcome.out


def test_sarif_has_paths_of_the_repository_and_lasting_fingerprints(run: Callable[..., Outcome], folder: Path) -> None:
    def places(*paths: str | Path) -> list[Any]:
        (one,) = run("scan", *paths, "--format", "sarif").document["runs"]
        assert unquote(one["originalUriBaseIds"]["%SRCROOT%"]["uri"]) == f"file://{folder.parent}/"
        return [
            (result["locations"][0]["physicalLocation"]["artifactLocation"], result["partialFingerprints"])
            for result in one["results"]
        ]

    ((place, fingerprint),) = places("models")
    assert place == {"uri": "models/bad.pkl", "uriBaseId": "%SRCROOT%"}
    assert places(folder) == places("./models") == places("models/../models/bad.pkl") == [(place, fingerprint)]
    (folder / "bad.pkl").write_bytes(pickle.dumps(["trained again", Evil()]))
    assert places("models") == [(place, fingerprint)]
    (folder / "bad.pkl").rename(folder / "worse.pkl")
    assert places("models")[0][1] != fingerprint


@pytest.mark.parametrize("layout", ["json", "sarif", "junit", "html", "github", "gitlab", "markdown"])
@pytest.mark.parametrize("option", ["--keyring", "--policy"])
def test_a_report_says_why_nothing_could_be_judged(
    run: Callable[..., Outcome], folder: Path, tmp_path: Path, layout: str, option: str
) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("this is = not [valid")
    ring = tmp_path / "ring.toml"
    safeload.Keyring.from_keys([safeload.SigningKey.generate()]).save(ring)
    options = ["--keyring", broken] if option == "--keyring" else ["--keyring", ring, "--policy", broken]
    outcome = run("verify", "models", *options, "--format", layout, "-o", "report")
    assert outcome.code == ERROR
    assert outcome.err.count("broken.toml") == 1
    report = Path("report").read_text()
    assert "broken.toml" in report
    if layout == "json":
        assert [one["verdict"] for one in json.loads(report)["results"]] == ["error"]
    elif layout == "sarif":
        assert not json.loads(report)["runs"][0]["invocations"][0]["executionSuccessful"]
    elif layout == "junit":
        assert ET.fromstring(report).get("errors") == "1"
    elif layout == "github":
        assert report.startswith("::error ")


def test_jobs_auto_is_as_many_as_there_are_processors(run: Callable[..., Outcome], folder: Path) -> None:
    one = run("scan", "models", "--format", "json")
    every = run("scan", "models", "--format", "json", "--jobs", "auto")
    assert (every.code, every.document) == (one.code, one.document)
    assert run("scan", "models", "--jobs", "some").code == USAGE
    assert run("scan", "models", "--jobs", "0").code == USAGE


def test_every_code_has_a_weakness() -> None:
    for code in FINDING_KINDS:
        assert weakness_of(code).page.startswith("https://")
    assert weakness_of("SL405").tags == ["security", "external/cwe/cwe-502", "external/cwe/cwe-094"]
    assert weakness_of("SL601").severity is None
