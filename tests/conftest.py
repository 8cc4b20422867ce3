"""Keys, models and artifacts that many tests use."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

import safeload
from safeload._cli import main
from safeload._internal.clock import clock_set_to
from support.cli_runs import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# How long an example takes says nothing on a machine that has other work.
settings.register_profile("safeload", deadline=None)
settings.load_profile("safeload")

# What tests run as `python -m safeload` is what they import themselves, not the source tree that they may stand in.
os.environ["PYTHONSAFEPATH"] = "1"
# The policy of whoever runs the tests is not the default that they expect.
os.environ.pop("SAFELOAD_POLICY", None)


@pytest.fixture
def key() -> safeload.SigningKey:
    return safeload.SigningKey.generate()


@pytest.fixture(scope="session")
def pipeline() -> Any:
    """A small pipeline as people save them: preprocessing and a classifier."""
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)).fit(*load_iris(return_X_y=True))


@pytest.fixture
def signed(tmp_path: Path, key: safeload.SigningKey, pipeline: Any) -> Path:
    """A signed artifact of the pipeline."""
    path = tmp_path / "model.joblib"
    safeload.dump(pipeline, path, key=key)
    return path


@pytest.fixture
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No keyring but the test's own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.delenv("SAFELOAD_KEYRING", raising=False)


@pytest.fixture
def pass_time() -> Iterator[Callable[[timedelta], None]]:
    """Set safeload's clock ahead of the system's."""
    with ExitStack() as clocks:
        yield lambda span: clocks.enter_context(clock_set_to(lambda: datetime.now(UTC) + span))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command in this process, which is quicker."""

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as raised:
            main([os.fspath(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(raised.value.code, int)
        return Outcome(raised.value.code, out, err)

    return run
