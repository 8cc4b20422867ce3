"""Results as SARIF, JUnit and HTML: complete, well-formed, and not to be broken by what a file or its name says."""

from __future__ import annotations

import json
import os
import pickle
import re
import stat
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree as ET

import pytest

import safeload
from safeload._manifest.manifest import seal
from safeload._storage.pair import manifest_path
from safeload.findings import FINDING_KINDS
from support.changed_package import changed_package
from support.cli_runs import ALLOWED, ERROR, NOTHING, REFUSED, USAGE, Outcome, command

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("own_home")
FORMATS = ("sarif", "junit", "html")
NASTY = "\x1b[31m]]>&amp;<script>alert(1)</script>{{7*7}}\u202e\ufffe\r\n<!--.pkl".replace("/", "\u2044")


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


class Page(HTMLParser):
    """What a browser would see: every element with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One file that is allowed, and one that is refused."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "good.pkl").write_bytes(pickle.dumps([1, 2]))
    (folder / "bad.pkl").write_bytes(pickle.dumps(Evil()))
    return folder


def results_of(document: Any) -> list[Any]:
    (run,) = document["runs"]
    results: list[Any] = run["results"]
    return results


def check_sarif(document: Any) -> None:
    """What the schema of SARIF 2.1.0 requires, of all that is written."""
    assert document["version"] == "2.1.0"
    assert document["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = document["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "safeload"
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(set(ids)) == len(ids)
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"] == FINDING_KINDS[rule["id"]].title
        assert rule["help"]["text"]
        assert rule["fullDescription"]["text"].endswith(".")
        assert rule["helpUri"].startswith("https://")
        tags, severity = rule["properties"]["tags"], rule["properties"].get("security-severity")
        assert ("security" in tags) == (severity is not None)  # GitHub reads the one only with the other
        assert severity is None or 0 < float(severity) <= 10
        assert all(re.fullmatch(r"security|compatibility|external/cwe/cwe-[0-9]{3}", tag) for tag in tags)
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
    assert run["automationDetails"]["id"].startswith("safeload/")
    assert run["originalUriBaseIds"]["%SRCROOT%"]["uri"].endswith("/")
    fingerprints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    assert len(set(fingerprints)) == len(fingerprints)
    (invocation,) = run["invocations"]
    assert isinstance(invocation["executionSuccessful"], bool)
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        for location in result["locations"]:
            uri = location["physicalLocation"]["artifactLocation"]["uri"]
            assert uri.isascii()
            assert not set(uri) & set(' <>"{}|\\^`\x1b\n')
            region = location["physicalLocation"]["region"]
            assert region["startLine"] >= 1
            assert all(type(value) is int and value >= 0 for value in region.values())


def test_sarif(run: Callable[..., Outcome], folder: Path) -> None:
    outcome = run("scan", folder, "--format", "sarif")
    assert outcome.code == REFUSED
    check_sarif(outcome.document)
    (result,) = results_of(outcome.document)
    assert result["ruleId"] == "SL405"
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == f"file://{folder}/bad.pkl"
    offset = place["region"]["byteOffset"]
    assert (folder / "bad.pkl").read_bytes()[offset : offset + 1] == pickle.REDUCE
    assert [one["location"]["uri"].rsplit("/", 1)[1] for one in outcome.document["runs"][0]["artifacts"]] == [
        "bad.pkl",
        "good.pkl",
    ]


def test_sarif_gives_no_place_in_what_is_compressed(run: Callable[..., Outcome], tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "bad.pkl.gz"
    path.write_bytes(gzip.compress(pickle.dumps(Evil())))
    (result,) = results_of(run("scan", path, "--format", "sarif").document)
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 1}
    assert result["properties"]["streamOffset"] > 0


def test_junit(run: Callable[..., Outcome], folder: Path) -> None:
    outcome = run("scan", folder, folder / "missing.pkl", "--format", "junit")
    assert outcome.code == REFUSED
    root = ET.fromstring(outcome.out)
    (suite,) = root
    for element in (root, suite):
        assert (element.get("tests"), element.get("failures"), element.get("errors")) == ("3", "1", "1")
    cases = {Path(case.get("name", "")).name: [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases == {"bad.pkl": ["failure"], "good.pkl": [], "missing.pkl": ["error"]}
    assert all(re.fullmatch(r"[0-9]+\.[0-9]{3}", case.get("time", "")) for case in suite.iter("testcase"))
    assert float(suite.get("time", "")) > 0
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("type") == "SL405"
    assert "posix.system" in (failure.text or "")


def test_html(run: Callable[..., Outcome], folder: Path) -> None:
    outcome = run("scan", folder, "--format", "html")
    assert outcome.code == REFUSED
    page = Page(outcome.out)
    assert "2 checked" in page.text
    assert "bad.pkl" in page.text
    assert "posix.system" in page.text
    assert FINDING_KINDS["SL405"].title in page.text
    assert {"script", "link", "img", "iframe", "object", "form"}.isdisjoint(tag for tag, _ in page.elements)
    for _, attributes in page.elements:
        assert not {"src", "href", "onload", "onclick", "style", "action"} & attributes.keys()
    assert "url(" not in outcome.out
    assert "@import" not in outcome.out
    assert "default-src 'none'" in outcome.out


@pytest.mark.parametrize("layout", FORMATS)
def test_other_versions_are_warnings_in_every_format(
    run: Callable[..., Outcome], signed: Path, key: safeload.SigningKey, tmp_path: Path, layout: str
) -> None:
    ring = tmp_path / "ring.toml"
    safeload.Keyring.from_keys([key]).save(ring)
    assert "SL601" not in run("verify", signed, "--keyring", ring, "--format", layout).out
    manifest = safeload.read_manifest(signed, keyring=key)
    written = replace(manifest.producer, packages={"scikit-learn": "0.1.<b>"})
    manifest_path(signed).write_bytes(seal(replace(manifest, producer=written), [key]))
    outcome = run("verify", signed, "--keyring", ring, "--format", layout)
    assert outcome.code == ALLOWED
    assert "SL601" in outcome.out
    if layout == "sarif":
        check_sarif(outcome.document)
        (result,) = results_of(outcome.document)
        assert result["level"] == "warning"
        assert "0.1.<b> wrote it" in result["message"]["text"]
    elif layout == "junit":
        suite = ET.fromstring(outcome.out)[0]
        assert suite.get("failures") == "0"
        assert "0.1.<b> wrote it" in (suite.findtext("testcase/system-out") or "")
    else:
        assert "0.1.<b> wrote it" in Page(outcome.out).text


@pytest.mark.parametrize("layout", [*FORMATS, "json", "text"])
def test_hostile_names_and_texts_break_no_format(run: Callable[..., Outcome], tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / NASTY).write_bytes(pickle.dumps(Evil()))
    (folder / ("wrong" + NASTY)).write_bytes(b"no pickle" + NASTY.encode())
    outcome = run("scan", folder, folder / "gone<b>\x1b\udcff", "--format", layout)
    assert outcome.code == REFUSED
    for char in "\x1b\u202e\ufffe\r\udcff":
        assert char not in outcome.out
    if layout == "sarif":
        check_sarif(outcome.document)
        uris = {
            one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in results_of(outcome.document)
        }
        assert unquote_to_bytes(min(uris)) == os.fsencode(f"file://{folder}/{NASTY}")
        (note,) = outcome.document["runs"][0]["invocations"][0]["toolExecutionNotifications"]
        assert "no such file" in note["message"]["text"]
        assert not outcome.document["runs"][0]["invocations"][0]["executionSuccessful"]
    elif layout == "junit":
        names = [case.get("name", "") for case in ET.fromstring(outcome.out).iter("testcase")]
        assert len(names) == 3
        assert any("]]>&amp;<script>" in name for name in names)
    elif layout == "html":
        page = Page(outcome.out)
        assert "script" not in [tag for tag, _ in page.elements]
        assert "<script>alert(1)" in page.text
        assert "{{7*7}}" in page.text
    elif layout == "json":
        assert len(outcome.document["results"]) == 3


def test_names_in_no_encoding_keep_their_bytes_in_sarif(run: Callable[..., Outcome], tmp_path: Path) -> None:
    name = os.fsdecode(b"odd-\xff:1.pkl")
    (tmp_path / name).write_bytes(pickle.dumps(Evil()))
    (result,) = results_of(run("scan", tmp_path, "--format", "sarif").document)
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].endswith("/odd-%FF%3A1.pkl")
    for layout in ("junit", "html"):
        assert run("scan", tmp_path, "--format", layout).code == REFUSED


@pytest.mark.parametrize("layout", FORMATS)
def test_nothing_to_check_is_a_valid_document(run: Callable[..., Outcome], tmp_path: Path, layout: str) -> None:
    (tmp_path / "empty").mkdir()
    outcome = run("scan", tmp_path / "empty", "--format", layout)
    assert outcome.code == NOTHING
    if layout == "sarif":
        check_sarif(outcome.document)
    elif layout == "junit":
        assert ET.fromstring(outcome.out)[0].get("tests") == "0"
    else:
        assert "0 checked" in Page(outcome.out).text


@pytest.mark.parametrize("layout", FORMATS)
def test_a_report_replaces_the_last_one_as_a_whole(
    run: Callable[..., Outcome], folder: Path, tmp_path: Path, layout: str
) -> None:
    report = tmp_path / "report"
    report.write_text("of last time")
    report.chmod(0o640)
    outcome = run("scan", folder, "--format", layout, "-o", report)
    assert (outcome.code, outcome.out) == (REFUSED, "")
    assert "of last time" not in report.read_text()
    assert stat.S_IMODE(report.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "report"]


@pytest.mark.parametrize("layout", FORMATS)
def test_several_processes_give_the_same_document(folder: Path, layout: str) -> None:
    one = command("scan", folder, folder / "none.pkl", "--format", layout)
    two = command("scan", folder, folder / "none.pkl", "--format", layout, "--jobs", "2")
    first, second = (re.sub(r' time="[0-9.]+"', "", done.stdout) for done in (one, two))
    assert (one.returncode, first) == (two.returncode, second)
    assert one.returncode == REFUSED


@pytest.mark.parametrize("threads", [0, 1], ids=["forked", "spawned"])
def test_a_worker_that_dies_is_an_error_for_its_file_and_no_hang(tmp_path: Path, threads: int) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(1))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(2))
    # As the kernel would when memory is short: the worker that comes to read this file is ended.
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def hook(event, args):\n"
        "    if event == 'open' and str(args[0]).endswith('b.pkl') and str(os.getppid()) == os.environ.get('PARENT'):\n"
        f"        if forked == {threads == 0}: os.kill(os.getpid(), 9)\n"
        "forked = '--multiprocessing-fork' not in sys.argv\n"
        "sys.addaudithook(hook)\n"
    )
    # Several threads may not be forked: then the workers are spawned.
    script = (
        "import os, sys, threading; os.environ['PARENT'] = str(os.getpid())\n"
        f"for _ in range({threads}): threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "from safeload._cli import main; main(sys.argv[1:])"
    )
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", script, "scan", str(tmp_path), "--jobs", "2", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == ERROR, done.stderr
    verdicts = {Path(one["path"]).name: one for one in json.loads(done.stdout)["results"]}
    assert verdicts["b.pkl"]["verdict"] == "error"
    assert "worker process died" in verdicts["b.pkl"]["error"]
    assert [Path(one["path"]).name for one in json.loads(done.stdout)["results"]] == ["a.pkl", "b.pkl"]


def test_what_is_no_format(run: Callable[..., Outcome], folder: Path) -> None:
    assert run("scan", folder, "--format", "xml").code == USAGE
    assert run("inspect", folder / "good.pkl", "--format", "sarif").code == USAGE


def test_a_format_is_one_module_and_one_row(tmp_path: Path) -> None:
    """A copy of the package with one file and one row more: the option, its help and the report follow."""
    rows = "FORMATS: list[Format] = [\n"
    row = '    Format("verdicts", "safeload._cli.report.verdicts", files_only=True),\n'
    root = changed_package(tmp_path, ("_cli/report/formats.py", rows, rows + row))
    (root / "safeload" / "_cli" / "report" / "verdicts.py").write_text(
        "def render(content, paint):\n"
        "    return ''.join(f'{result.path}={result.verdict};' for result in content.results)\n"
    )
    (tmp_path / "model.pkl").write_bytes(b"N.")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-P", "-m", "safeload", *arguments]
        env = os.environ | {"PYTHONPATH": str(root)}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("scan", "--format", "verdicts", "model.pkl") == "model.pkl=allowed;"
    assert "verdicts" in run("scan", "--help")
    assert "verdicts" not in run("policy", "check", "--help")
