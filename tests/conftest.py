"""Keys, models and artifacts that many tests use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

import safeload

if TYPE_CHECKING:
    from pathlib import Path

# What tests run as `python -m safeload` is what they import themselves, not the source tree that they may stand in.
os.environ["PYTHONSAFEPATH"] = "1"


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
