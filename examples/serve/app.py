"""Predictions over HTTP, by a model that is replaced while the service runs.

    pip install 'safeload[serving]'
    MODELS=models uvicorn app:app

It serves the model `iris` of the store `MODELS`, whatever is in production. README.md shows how to try it.
"""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, Field

import safeload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the model before the first request, or do not start at all; follow it until the last."""
    # The keyring is the one that SAFELOAD_KEYRING names, and best has public keys only; when it changes, it is read
    # anew. ROLLBACK_STATE remembers over a restart what was served, so that nothing older comes back.
    store = safeload.Store(os.environ["MODELS"], rollback_state=os.environ.get("ROLLBACK_STATE"))
    with store.watch("iris", "production", interval=float(os.environ.get("INTERVAL", "2"))) as watch:
        app.state.watch = watch
        yield


app = FastAPI(lifespan=lifespan)

Row = Annotated[list[float], Field(min_length=4, max_length=4)]


class Rows(BaseModel):
    """What to predict: measures of flowers."""

    rows: Annotated[list[Row], Field(min_length=1, max_length=1000)]


@app.post("/predict")
def predict(body: Rows, request: Request) -> dict[str, Any]:
    """Predict, and say by which model."""
    current = request.app.state.watch.current  # once: the next line may find another one
    try:
        predictions = current.model.predict(body.rows)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    return {"version": current.manifest.version, "predictions": predictions.tolist()}


@app.get("/health")
def health(request: Request, response: Response) -> dict[str, Any]:
    """Say what is served, and what is in the way of something newer."""
    watch = request.app.state.watch
    current, problem = watch.current, watch.problem
    if problem is not None:
        response.status_code = 503  # or leave it 200: the old model still answers
    return {
        "version": current.manifest.version,
        "release": current.manifest.release,
        "problem": None if problem is None else type(problem).__name__,
    }
