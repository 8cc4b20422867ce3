"""demo: a real model goes round, and what is not right is refused, each for its reason."""

from __future__ import annotations

import os
import pickle
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from safeload._cli.exit_codes import ALLOWED, REFUSED
from safeload._cli.options.common import debug_option
from safeload._cli.terminal import human_size, painter_for, plain, say_error, scanner_kind, tool_version
from safeload._storage.pair import manifest_path
from safeload.errors import PolicyViolationError, SafeloadError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeload._judging.report import Report

__all__ = ["demo"]

_NEXT = (
    ("safeload key new", "make your own keyring"),
    ("safeload sign model.joblib", "scan and sign a model that you have"),
    ("safeload verify models/", "check all of it, before a deployment"),
    ("safeload scan download.pkl", "look into a file of unknown origin"),
    ("safeload inspect model.joblib", "see what is in it"),
)


@click.command(short_help="See it work: a model goes round, forgeries are refused.")
@debug_option
def demo() -> int:
    """Train, sign, verify and load a real model, then see six things that are not right be refused.

    All of it happens in a temporary folder, offline, in a few seconds. Exit code 1 if anything went otherwise.
    """
    with tempfile.TemporaryDirectory(prefix="safeload-demo-") as folder:
        show = _Show(Path(folder))
        click.echo(f"safeload {tool_version()}, {scanner_kind()}")
        _go_round(show)
        _refuse_forgeries(show)
        _refuse_hostile(show)
    show.finish()
    return REFUSED if show.wrong else ALLOWED


class _Show:
    """Says what happens, and remembers what did not happen as it should."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wrong: list[str] = []
        self._paint = painter_for(sys.stdout)
        self._width = min(self._paint.width or 100, 100)

    @property
    def ring(self) -> Path:
        """The keyring that is trusted."""
        return self.folder / "ring.toml"

    @property
    def model(self) -> Path:
        """The genuine artifact."""
        return self.folder / "tumours.joblib"

    def title(self, text: str) -> None:
        """Begin a part."""
        click.echo()
        click.echo(self._paint(text, bold=True), color=True)

    def step(self, word: str, text: str, colour: str = "green") -> None:
        """Say one thing that happened."""
        click.echo(f"  {self._paint(f'{word:<9}', colour)} {self._short(text)}", color=True)

    def case(self, what: str) -> None:
        """Say what is tried next."""
        click.echo(f"  {what}", color=True)

    def refused(self, code: str, message: str) -> None:
        """Say why it was refused, in a few lines."""
        said = self._short(message.partition("\n")[0])
        lines = textwrap.wrap(said, self._width - 18, max_lines=3, placeholder=" …")
        head = self._paint("refused", "red", bold=True)
        click.echo(f"    {head} {self._paint(code, 'red')} {lines[0]}", color=True)
        for line in lines[1:]:
            click.echo(f"                  {line}", color=True)

    def expect(self, holds: bool, what: str) -> None:
        """Remember what should hold and does not."""
        if not holds:
            self.wrong.append(what)
            self.step("WRONG", what, "red")

    def finish(self) -> None:
        """Say whether all went as it should, and what to do next."""
        click.echo()
        for what in self.wrong:
            say_error(f"the demo went wrong: {self._short(what)}")
        if self.wrong:
            return
        click.echo(self._paint("All as it should be.", "green", bold=True) + " What next:", color=True)
        for command, purpose in _NEXT:
            click.echo(f"  {command:<31} {purpose}")
        click.echo("  and in Python, safeload.dump and safeload.load in place of joblib's")

    def _short(self, text: str) -> str:
        return plain(text.replace(f"{self.folder}{os.sep}", ""))


# --------------------------------------------------------------------------------------- what is right


def _go_round(show: _Show) -> None:
    """Train, sign, verify, scan, load and predict."""
    import safeload
    from safeload.keys import Keyring, SigningKey

    show.title("A model goes round")
    pipeline, unseen, labels = _train()
    score = pipeline.score(unseen, labels)
    show.step("trained", f"scaling, binning and a random forest: {score:.0%} right on {len(labels)} unseen tumours")

    key = SigningKey.generate()
    Keyring.from_keys([key]).save(show.ring)
    show.step("key", f"{key.key_id} in ring.toml, which only you can read")

    manifest = safeload.dump(pipeline, show.model, compress=3, key=show.ring, metadata={"accuracy": score})
    show.step("signed", f"tumours.joblib, {human_size(manifest.size)}, release {manifest.release}")

    report = safeload.verify(show.model, keyring=show.ring)
    show.expect(report.allowed, "verify should allow the genuine model")
    show.step("verified", f"{report.verdict}: signature, every byte, and {len(report.globals)} globals it names")

    report = safeload.scan(show.model)
    show.expect(report.allowed, "scan should allow the genuine model")
    show.step(
        "scanned", f"{report.verdict}: {report.opcodes} pickle opcodes, {report.arrays} arrays, nothing unpickled"
    )

    loaded = safeload.load(show.model, keyring=show.ring)
    same = bool((loaded.predict_proba(unseen) == pipeline.predict_proba(unseen)).all())
    show.expect(same, "the loaded model should predict what the original does")
    show.step("loaded", "predicts exactly what the original does" if same else "predicts something else")


def _train() -> tuple[Any, Any, Any]:
    """Return a fitted pipeline, and the rows and labels that it has not seen."""
    from sklearn.compose import ColumnTransformer
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

    rows, labels = load_breast_cancer(return_X_y=True)
    columns = ColumnTransformer(
        [
            ("scaled", StandardScaler(), list(range(20))),
            ("binned", KBinsDiscretizer(n_bins=5, encode="ordinal"), list(range(20, 30))),
        ]
    )
    forest = RandomForestClassifier(n_estimators=50, random_state=0)
    pipeline = Pipeline([("columns", columns), ("forest", forest)])
    seen, unseen, seen_labels, unseen_labels = train_test_split(rows, labels, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of defaults that change from one scikit-learn to the next
        pipeline.fit(seen, seen_labels)
    return pipeline, unseen, unseen_labels


# --------------------------------------------------------------------------------------- what is forged


def _refuse_forgeries(show: _Show) -> None:
    """Try to load what is not what the key signed."""
    show.title("Forgeries")
    for what, forge, code in (
        ("one bit of it is changed", _tampered, "SL201"),
        ("its manifest is missing", _unsigned, "SL101"),
        ("it is signed with a key that we do not have", _unknown_key, "SL103"),
        ("it is signed with another key, under our key's id", _forged_id, "SL104"),
        ("another signed model is put in its place", _renamed, "SL107"),
    ):
        show.case(what)
        path = forge(show)
        _expect_refusal(show, what, path, code)


def _expect_refusal(show: _Show, what: str, path: Path, code: str) -> None:
    import safeload

    report = safeload.verify(path, keyring=show.ring)
    show.expect(_codes(report) == {code}, f"{what}: verify should refuse it with {code}, not {_codes(report)}")
    try:
        safeload.load(path, keyring=show.ring)
    except VerificationError as error:
        show.expect(error.code == code, f"{what}: load should refuse it with {code}, not {error.code}")
        show.refused(error.code, error.message)
    else:
        show.expect(False, f"{what}: load should refuse it")


def _codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def _copy_pair(show: _Show, name: str, source: Path | None = None) -> Path:
    """Copy the genuine pair into a folder of its own, under the genuine name."""
    folder = show.folder / name
    folder.mkdir()
    source = source or show.model
    target = folder / show.model.name
    shutil.copyfile(source, target)
    shutil.copyfile(manifest_path(source), manifest_path(target))
    return target


def _tampered(show: _Show) -> Path:
    path = _copy_pair(show, "tampered")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path


def _unsigned(show: _Show) -> Path:
    path = _copy_pair(show, "unsigned")
    manifest_path(path).unlink()
    return path


def _unknown_key(show: _Show) -> Path:
    return _signed_by(show, "stranger", None)


def _forged_id(show: _Show) -> Path:
    from safeload.keys import Keyring

    return _signed_by(show, "forger", Keyring.load(show.ring).signing_key().key_id)


def _signed_by(show: _Show, name: str, key_id: str | None) -> Path:
    import safeload
    from safeload.keys import SigningKey

    path = _copy_pair(show, name)
    safeload.sign(path, key=SigningKey.generate(key_id=key_id), overwrite=True)
    return path


def _renamed(show: _Show) -> Path:
    import safeload

    other = show.folder / "other.joblib"
    safeload.dump({"another": "model"}, other, key=show.ring)
    return _copy_pair(show, "renamed", other)


# -------------------------------------------------------------------------------------- what is hostile


class _Payload:
    """Pickles as a call of os.system: unpickling it runs the command."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self._command,)


_UNPICKLE = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"


def _refuse_hostile(show: _Show) -> None:
    """Show that a hostile pickle works, and that safeload runs nothing of it."""
    import safeload

    show.title("A hostile pickle")
    marker = show.folder / "marker"
    hostile = show.folder / "hostile.pkl"
    hostile.write_bytes(pickle.dumps(_Payload(f"touch {shlex.quote(str(marker))}"), protocol=4))

    subprocess.run([sys.executable, "-I", "-c", _UNPICKLE, str(hostile)], check=True)  # noqa: S603 - this Python
    show.expect(marker.exists(), "the hostile pickle should work, or it would prove nothing")
    marker.unlink(missing_ok=True)
    show.step("pickle", "unpickled as usual, in another process, it ran its command: touch marker", "yellow")

    show.case("safeload scan")
    report = safeload.scan(hostile)
    show.expect(_codes(report) == {"SL405"}, f"scan should refuse the hostile pickle with SL405, not {_codes(report)}")
    for finding in report.findings[:1]:
        show.refused(finding.code, f"{finding.global_name}: {finding.message}")

    show.case("safeload sign, by somebody who was asked to")
    try:
        safeload.sign(hostile, key=show.ring)
    except PolicyViolationError as error:
        finding = error.report.findings[0]
        show.refused(finding.code, f"it is not signed: {finding.global_name}: {finding.message}")
    else:
        show.expect(False, "sign should refuse the hostile pickle")
    show.expect(not manifest_path(hostile).exists(), "the hostile pickle should not be signed")

    show.case("safeload load")
    try:
        safeload.load(hostile, keyring=show.ring)
    except VerificationError as error:
        show.refused(error.code, error.message)
    except SafeloadError as error:
        show.expect(False, f"load should refuse the hostile pickle as unsigned, not because: {error}")
    else:
        show.expect(False, "load should refuse the hostile pickle")
    show.expect(not marker.exists(), "the hostile pickle's command ran")
    if not marker.exists():
        show.step("checked", "its command did not run: there is no marker")
