"""The ridge sweep of the tour: its table, and its time beside the same fits one by one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations, combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
import sklearn.linear_model
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GroupKFold

import manyfit as mf
from manyfit._page.words import count
from manyfit.linear_model import Ridge
from manyfit.tour.stage import Stage
from manyfit.tour.timing import Peer, timed

__all__ = ["ALPHAS", "FOLDS", "OneByOne", "Resampled", "Sweep", "compare", "make_table"]

ALPHAS = np.logspace(1, 7, 50)
FOLDS = 5


class Resampled(NamedTuple):
    """The table of the sweep: `patient` tells whose copy each row is."""

    X: NDArray[np.float64]
    y: NDArray[np.float64]
    patient: NDArray[np.int64]


@dataclass
class OneByOne:
    """The fits of a sweep done separately, as far as the time allowed.

    `threads` is how many BLAS had. `coef_difference` and `score_difference` are the largest ones from the
    models of the population.
    """

    name: str
    threads: int
    fit_seconds: list[float] = field(default_factory=list)
    coef_difference: float = 0.0
    score_difference: float = 0.0

    @property
    def seconds(self) -> float:
        """Of the whole sweep; extrapolated where not every fit was run."""
        return sum(self.fit_seconds) / len(self.fit_seconds) * len(ALPHAS) * FOLDS

    @property
    def all_run(self) -> bool:
        """Whether nothing was extrapolated."""
        return len(self.fit_seconds) == len(ALPHAS) * FOLDS

    @property
    def how(self) -> str:
        """How the time was measured, for a table."""
        n_fits = len(ALPHAS) * FOLDS
        run = "" if self.all_run else f" (from {len(self.fit_seconds)} of {n_fits})"
        return f"{self.name} one by one{run}"


@dataclass
class Sweep:
    """Times and outcome of the comparison."""

    table: Resampled
    population: mf.Population
    seconds: float
    others: list[OneByOne]

    @property
    def best(self) -> int:
        """Place of the penalty with the best mean score."""
        return int(self.scores.mean(axis=1).argmax())

    @property
    def scores(self) -> NDArray[np.float64]:
        """R² of every penalty and fold."""
        assert self.population.test_scores is not None
        return self.population.test_scores


def make_table(n_rows: int) -> Resampled:
    """Make a large table out of diabetes: resampled patients, a little noise, 100 columns.

    The ten measurements, their 54 squares and products (sex has two values, its square says nothing new), and
    the 36 products of age with two others. Each row repeats a patient with noise of a twentieth of a standard
    deviation on every measurement but sex, and with that patient's outcome.
    """
    data = load_diabetes(scaled=False)
    rng = np.random.default_rng(0)
    patient = np.arange(n_rows) % len(data.target)
    base = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    sex = data.feature_names.index("sex")
    measured = base[patient]
    noise = 0.05 * rng.standard_normal(measured.shape)
    noise[:, sex] = 0.0
    measured += noise

    pairs: list[tuple[int, ...]] = [
        pair for pair in combinations_with_replacement(range(10), 2) if pair != (sex, sex)
    ]
    age = data.feature_names.index("age")
    triples: list[tuple[int, ...]] = [(age, *pair) for pair in combinations(set(range(10)) - {age}, 2)]
    X = np.empty((n_rows, 10 + len(pairs) + len(triples)))
    X[:, :10] = measured
    for column, factors in enumerate(pairs + triples, start=10):
        np.prod([measured[:, factor] for factor in factors], axis=0, out=X[:, column])
    X -= X.mean(axis=0)
    X /= X.std(axis=0)
    return Resampled(X, data.target[patient], patient)


def compare(stage: Stage, budget: float | None = None) -> Sweep:
    """Run the sweep at once, then its fits one by one, each kind for about `budget` seconds."""
    n_rows = 15_000 if stage.quick else 150_000
    with stage.step(f"Making a table of {count(n_rows)} x 100 out of diabetes"):
        table = make_table(n_rows)
    params = [{"alpha": alpha} for alpha in ALPHAS]

    def at_once() -> mf.Population:
        return mf.fit_many(
            Ridge(), table.X, table.y, params=params, cv=GroupKFold(FOLDS), groups=table.patient
        )

    # Before, between and after the others, so that what else the machine does meets both alike.
    taken = []

    def again() -> mf.Population:
        with stage.step(f"{len(ALPHAS) * FOLDS} fits at once, by fit_many"):
            seconds, population = timed(at_once)
        taken.append(seconds)
        return population

    population = again()
    others = []
    for name, make, seconds in (
        ("manyfit's Ridge", Ridge, 2.0 if stage.quick else 18.0),
        ("scikit-learn's Ridge", sklearn.linear_model.Ridge, 1.5 if stage.quick else 10.0),
    ):
        with stage.step(f"The same one by one, {name}") as step:
            others.append(_one_by_one(name, make, population, table, budget or seconds, step.move))
        again()
    return Sweep(table, population, statistics.median(taken), others)


def _one_by_one(
    name: str,
    make: Callable[..., Any],
    population: mf.Population,
    table: Resampled,
    budget: float,
    move: Callable[[float], None],
) -> OneByOne:
    """Fit and score each model by itself, for about `budget` seconds, spread over the folds.

    A fold's rows are copied out once, not for every fit, and only fits and scores are counted.
    """
    assert population.splits is not None
    assert population.test_scores is not None
    rows = population.splits[0][0]
    X, y = table.X[rows], table.y[rows]
    peer = Peer(lambda: make(alpha=1.0).fit(X, y))
    found = OneByOne(name, peer.threads)
    # Penalties in an order that is spread over the whole range wherever the time ends.
    order = np.argsort(np.arange(len(ALPHAS)) * 0.618034 % 1.0)
    start = time.perf_counter()
    for fold, (train, test) in enumerate(population.splits):
        X, y, X_test, y_test = table.X[train], table.y[train], table.X[test], table.y[test]
        for done, i in enumerate(order, start=1):
            model = make(alpha=ALPHAS[i])
            seconds, score = peer.timed(partial(_fit_and_score, model, X, y, X_test, y_test))
            found.fit_seconds.append(seconds)
            same = population[int(i), fold].coef_
            difference = np.abs(model.coef_ - same).max() / np.abs(same).max()
            found.coef_difference = max(found.coef_difference, float(difference))
            score_difference = abs(score - population.test_scores[i, fold])
            found.score_difference = max(found.score_difference, float(score_difference))
            move((fold + done / len(order)) / FOLDS)
            if time.perf_counter() - start > budget * (fold + 1) / FOLDS:
                break
    return found


def _fit_and_score(
    model: Any, X: NDArray[Any], y: NDArray[Any], X_test: NDArray[Any], y_test: NDArray[Any]
) -> float:
    return float(model.fit(X, y).score(X_test, y_test))
