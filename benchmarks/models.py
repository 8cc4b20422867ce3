"""The models that are measured, as people have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def _table(rows: int = 2000, columns: int = 20) -> Any:
    from sklearn.datasets import make_classification

    return make_classification(rows, columns, random_state=0)


def forest(trees: int = 1000) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(trees, n_jobs=2, random_state=0).fit(*_table())


def boosting() -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(n_estimators=300, random_state=0).fit(*_table())


def histogram_boosting() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=200, random_state=0).fit(*_table(20_000))


def tfidf() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = [f"w{index * 7919 % 250_000:x}" for index in range(250_000)]
    return TfidfVectorizer().fit(" ".join(words[start : start + 100]) for start in range(0, len(words), 100))


def array(megabytes: int) -> Any:
    return {"weights": np.random.default_rng(0).random(megabytes * 125_000)}


def pipeline() -> Any:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression()).fit(*load_iris(return_X_y=True))


def words(count: int) -> Any:
    """A dictionary that takes about four opcodes for each word."""
    return {f"word{index:x}": index for index in range(count)}


MODELS: dict[str, tuple[str, Callable[[], Any]]] = {
    "forest": ("random forest, 1000 trees", forest),
    "boosting": ("gradient boosting, 300 stages", boosting),
    "histogram": ("histogram boosting, 200 iterations", histogram_boosting),
    "tfidf": ("TF-IDF, 250,000 words", tfidf),
    "array200": ("arrays, 200 MB", lambda: array(200)),
    "array1000": ("arrays, 1 GB", lambda: array(1000)),
    "pipeline": ("pipeline of 2 kB", pipeline),
}
