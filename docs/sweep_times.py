"""Time a ridge sweep three ways: as one population, as separate fits, and by GridSearchCV."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge as TheirRidge
from sklearn.model_selection import GridSearchCV, KFold

import manyfit as mf
from manyfit.linear_model import Ridge

ROWS, COLUMNS, FOLDS, ROUNDS = 100_000, 50, 5, 3
PENALTIES = (1, 2, 5, 10, 20, 50, 100)
MOST_SEPARATE = 20  # beyond this the slow ways take minutes, and are as proportional as before

Floats = NDArray[np.float64]


def population(X: Floats, y: Floats, alphas: Floats) -> None:
    """All fits and their scores at once."""
    mf.fit_many(Ridge(), X, y, params=[{"alpha": alpha} for alpha in alphas], cv=KFold(FOLDS))


def separate(X: Floats, y: Floats, alphas: Floats) -> None:
    """The same, one by one."""
    for train, test in KFold(FOLDS).split(X):
        for alpha in alphas:
            Ridge(alpha=alpha).fit(X[train], y[train]).score(X[test], y[test])


def grid_search(X: Floats, y: Floats, alphas: Floats) -> None:
    """The same by scikit-learn."""
    GridSearchCV(TheirRidge(), {"alpha": alphas}, cv=KFold(FOLDS), refit=False).fit(X, y)


WAYS: dict[str, Callable[[Floats, Floats, Floats], None]] = {
    "fit_many": population,
    "separate manyfit fits": separate,
    "GridSearchCV": grid_search,
}


def measure() -> dict[str, Any]:
    """Times of every way for every number of penalties, in turns, with the machine they belong to."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, COLUMNS))
    y = X @ rng.standard_normal(COLUMNS) + rng.standard_normal(ROWS)
    seconds: dict[str, list[list[float]]] = {name: [] for name in WAYS}
    for warm_up in WAYS.values():
        warm_up(X[:1000], y[:1000], np.ones(1))
    load = os.getloadavg()[0]
    for count in PENALTIES:
        alphas = np.logspace(-3, 4, count)
        ways = {name: way for name, way in WAYS.items() if name == "fit_many" or count <= MOST_SEPARATE}
        rounds = [{name: _timed(way, X, y, alphas) for name, way in ways.items()} for _ in range(ROUNDS)]
        for name in ways:
            seconds[name].append([times[name] for times in rounds])
    return {
        "machine": f"{ROWS:,} x {COLUMNS} float64; {_processor()}, {len(os.sched_getaffinity(0))} CPUs",
        "load_before": load,
        "folds": FOLDS,
        "penalties": list(PENALTIES),
        "seconds": seconds,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _timed(way: Callable[[Floats, Floats, Floats], None], X: Floats, y: Floats, alphas: Floats) -> float:
    start = perf_counter()
    way(X, y, alphas)
    return perf_counter() - start
