"""Functions that tests run in other processes, which have to be able to import them."""

from __future__ import annotations

from typing import Any

from sklearn.datasets import load_iris

import safeload
from safeload import Keyring, Policy, VerifyingKey

ROWS, _ = load_iris(return_X_y=True)


def describe(array: Any, _turn: int) -> tuple[float, str | None]:
    return float(array.sum()), getattr(array, "filename", None)


def judge(path: str, policy: Policy, ring: Keyring) -> safeload.Report:
    return safeload.verify(path, keyring=ring, policy=policy)


def predict(path: str, policy: Policy, key: VerifyingKey) -> list[int]:
    return list(safeload.load(path, keyring=key, policy=policy).predict(ROWS))


def refuse(path: str, policy: Policy, key: VerifyingKey) -> None:
    safeload.load(path, keyring=key, policy=policy)
