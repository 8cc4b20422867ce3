"""Train a model, and put it into production: python publish.py VERSION TREES."""

from __future__ import annotations

import os
import sys

from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

import safeload

version, trees = sys.argv[1], int(sys.argv[2])
model = RandomForestClassifier(trees, random_state=0).fit(*load_iris(return_X_y=True))
store = safeload.Store(os.environ["MODELS"])
store.save("iris", model, version=version)
pointer = store.promote("iris", version)
sys.stdout.write(f"iris {version} is in production: release {pointer.release}\n")
