"""Every code block of README and docs runs, page by page, as a reader would run it.

Words behind the language of a fence say more:
    sh exit=1       the last command exits with this code
    python raises   raises the error that the last line, a comment, shows as `# module.Class: message`
    text output     the block before has printed this; … stands for anything
    … skip=WORD     not run, for the reason that SKIPPED has
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import safeload
from support.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]

SKIPPED = {
    "environment": "makes a virtual environment and installs into it; .ci/run runs those of the README",
    "passphrase": "asks for a passphrase on a terminal",
    "benchmarks": "takes ten minutes",
}
AT_MOST_SKIPPED = 7

# Languages of blocks that only show something.
SHOWN = {"text", "yaml", "{toctree}", "{eval-rst}", "{include}", "{commands}"}

CLASSES = '''
from sklearn.base import BaseEstimator, TransformerMixin


class Clipper(TransformerMixin, BaseEstimator):
    """Clips columns."""

    def __init__(self, low=0.0, high=1.0):
        self.low = low
        self.high = high

    def fit(self, rows, labels=None):
        self.n_features_in_ = rows.shape[1]
        return self

    def transform(self, rows):
        return rows.clip(self.low, self.high)
'''
POLICY = """
name = "acme"
version = 1
extends = ["sklearn"]

[[allow]]
module = "acme.features"
names = ["Clipper"]
roles = ["new", "state"]
reason = "two numbers"
"""
RULES = 'name = "fragment"\nversion = 1\n'


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language, the words behind that, and its text."""

    page: Path
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def word(self, name: str) -> str | None:
        """Return the value of NAME=VALUE behind the language."""
        return next((word.partition("=")[2] for word in self.words if word.startswith(f"{name}=")), None)


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page."""
    fence = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
    text = page.read_text(encoding="utf-8")
    for found in fence.finditer(text):
        language, *words = found[2].split() or [""]
        yield Block(page, text.count("\n", 0, found.start()) + 1, language, tuple(words), textwrap.dedent(found[3]))


# ------------------------------------------------------------------------------------ what a page finds in its folder


def _model() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(*load_iris(return_X_y=True))


def ring(name: str, algorithm: str = "hmac-sha256") -> Callable[[], None]:
    key = safeload.SigningKey.generate(algorithm, key_id="old")
    return lambda: safeload.Keyring.from_keys([key]).save(name)


def default_ring() -> None:
    ring("ring.toml")()
    os.environ["SAFELOAD_KEYRING"] = str(Path("ring.toml").absolute())


def signed(path: str, keyring: str = "ring.toml") -> Callable[[], None]:
    def make() -> None:
        Path(path).parent.mkdir(exist_ok=True)
        safeload.dump(_model(), path, key=safeload.Keyring.load(keyring))

    return make


def unsigned(path: str) -> Callable[[], None]:
    def make() -> None:
        Path(path).parent.mkdir(exist_ok=True)
        joblib.dump(_model(), path)

    return make


def acme() -> None:
    """A package with a class of the reader's own."""
    Path("acme").mkdir()
    Path("acme/__init__.py").touch()
    Path("acme/features.py").write_text(CLASSES)


def policy() -> None:
    Path("acme.toml").write_text(POLICY)


def clipped() -> None:
    unsigned("models/clip.joblib")()
    code = (
        "import joblib; from acme.features import Clipper; from sklearn.pipeline import make_pipeline; "
        "joblib.dump(make_pipeline(Clipper()), 'models/clip.joblib')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": "."})


PREPARED: dict[str, list[Callable[[], None]]] = {
    "README.md": [unsigned("downloaded.joblib")],
    "docs/getting-started.md": [],
    "docs/how-to/serve.md": [default_ring, signed("model.joblib")],
    "docs/how-to/ci.md": [default_ring, signed("models/model.joblib"), policy],
    "docs/how-to/own-classes.md": [default_ring, acme, clipped],
    "docs/how-to/from-joblib.md": [unsigned("old/model.joblib")],
    "docs/how-to/choose-a-key.md": [],
    "docs/how-to/rotate-keys.md": [
        default_ring,
        ring("training.toml", "ed25519"),
        signed("models/model.joblib", "training.toml"),
        signed("model.joblib"),
        unsigned("trusted/model.joblib"),
        lambda: Path("serving.toml").touch(0o644),
    ],
    "docs/how-to/several-signatures.md": [unsigned("model.joblib")],
    "docs/how-to/mount-secrets.md": [unsigned("model.joblib")],
    "docs/how-to/memory-mapping.md": [default_ring, signed("model.joblib")],
    "docs/how-to/store.md": [default_ring, unsigned("model.joblib")],
    "docs/how-to/guard.md": [default_ring, unsigned("model.joblib")],
    "docs/reference/limits.md": [default_ring, signed("model.joblib"), unsigned("models/model.joblib")],
}

# What the reader has done meanwhile: run before the block that holds this text.
BEFORE = {
    "README.md": {"safeload verify models/": "mkdir models && cp model.joblib* models"},
    "docs/how-to/choose-a-key.md": {
        "fd:3": "mkdir models && cp m.joblib models && safeload sign models/ --keyring ring.toml"
    },
    "docs/how-to/rotate-keys.md": {
        "import safeload": "rm model.joblib.manifest.json && safeload sign model.joblib --keyring ring.toml",
        "--re-sign models/": (
            "rm -r ring.toml models && safeload key new --out ring.toml && mkdir models && "
            "cp trusted/model.joblib models && safeload sign models --keyring ring.toml"
        ),
    },
}


# ------------------------------------------------------------------------------------------------------ running blocks


class Reader:
    """Somebody who goes through a page in a folder of their own."""

    def __init__(self, folder: Path, page: str) -> None:
        self.folder = folder
        self.page = page
        rows, _labels = load_iris(return_X_y=True)
        self.namespace: dict[str, Any] = {"__name__": "__main__", "model": _model(), "rows": rows}
        self.printed = ""

    def follow(self, block: Block) -> None:
        for text, commands in BEFORE.get(self.page, {}).items():
            if text in block.text:
                self.shell(commands, 0, block.where)
        if block.language == "python":
            self.python(block)
        elif block.language == "sh":
            self.shell(block.text, int(block.word("exit") or 0), block.where)
        elif block.language == "toml":
            text = block.text if re.search(r"^version = ", block.text, re.MULTILINE) else RULES + block.text
            text = re.sub(r"^expires = \d{4}", "expires = 9999", text, flags=re.MULTILINE)  # examples do not expire
            path = self.folder / "block.toml"
            path.write_text(text)
            safeload.Policy.load(path)
        elif "output" in block.words:
            pattern = ".*?".join(re.escape(_plain(part)) for part in block.text.split("…"))
            assert re.search(pattern, _plain(self.printed)), f"{block.where}: printed was\n{self.printed}"

    def python(self, block: Block) -> None:
        code = compile("\n" * block.line + block.text, str(block.page), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if "raises" in block.words:
                shown = block.text.strip().splitlines()[-1].removeprefix("# ")
                with pytest.raises(safeload.SafeloadError) as raised:
                    exec(code, self.namespace)
                error = raised.value
                whole = f"{type(error).__module__}.{type(error).__name__}: {error}"
                assert re.fullmatch(".*?".join(map(re.escape, re.split(r" ?…", shown))), whole), whole
            else:
                exec(code, self.namespace)
        self.printed = printed.getvalue()

    def shell(self, text: str, code: int, where: str) -> None:
        """Run commands with bash, and take over what they export."""
        script = f"set -eu -o pipefail\ntrap 'env -0 >{self.folder}/exported' EXIT\n{text.replace('OLD-ID', 'old')}"
        run = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False
        )
        assert run.returncode == code, f"{where}: exit code {run.returncode}\n{run.stdout}{run.stderr}"
        self.printed = run.stdout
        for entry in (self.folder / "exported").read_text().split("\0"):
            name, _, value = entry.partition("=")
            if name.startswith("SAFELOAD_"):
                os.environ[name] = value


def _plain(text: str) -> str:
    """Return the text with every run of space as one blank: what is shown may be wrapped otherwise."""
    return " ".join(text.split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, a home without a keyring, and `safeload` on the PATH."""
    work, programs, home = tmp_path / "work", tmp_path / "bin", tmp_path / "home"
    for path in (work, programs, home):
        path.mkdir()
    program = programs / "safeload"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -P -c 'from safeload._cli import main; main()' \"$@\"\n")
    program.chmod(0o755)
    before = dict(os.environ)
    logger = logging.getLogger("safeload")
    handlers, level = list(logger.handlers), logger.level
    monkeypatch.chdir(work)
    os.environ.update(
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        PYTHONPATH=os.pathsep.join(filter(None, [str(work), os.environ.get("PYTHONPATH", "")])),
        HOME=str(home),
        XDG_CONFIG_HOME=str(home / "config"),
    )
    for name in ("SAFELOAD_KEYRING", "SAFELOAD_KEYRING_DATA", "SAFELOAD_STORE"):
        os.environ.pop(name, None)
    yield work
    os.environ.clear()
    os.environ.update(before)
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_every_block_is_of_a_known_kind_and_few_are_skipped() -> None:
    blocks = [block for page in PAGES for block in blocks_of(page)]
    assert len(blocks) > 50
    for block in blocks:
        assert block.language in {"python", "sh", "toml", *SHOWN}, f"{block.where}: {block.language!r} is never run"
        for word in block.words if block.language in {"python", "sh", "toml", "text"} else ():
            assert word in {"output", "raises"} or word.startswith(("exit=", "skip=")), f"{block.where}: {word}"
    reasons = [reason for block in blocks if (reason := block.word("skip")) is not None]
    assert set(reasons) == set(SKIPPED)
    assert len(reasons) <= AT_MOST_SKIPPED


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(b.language not in SHOWN for b in blocks_of(page))], ids=lambda p: p.stem
)
def test_the_blocks_of_a_page_run(page: Path, folder: Path) -> None:
    name = page.relative_to(ROOT).as_posix()
    for prepare in PREPARED.get(name, [default_ring]):
        prepare()
    reader = Reader(folder.parent, name)
    for block in blocks_of(page):
        if block.word("skip") is None:
            reader.follow(block)
