"""Executors and stores that make a search's life hard."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution
from sklearn.datasets import make_regression

from manyfit.linear_model import Ridge
from manyfit.model_selection import OptunaSearchCV
from manyfit.model_selection._executor import Done, Task, Work, perform
from manyfit.model_selection._stores import MemoryStore


class Scrambled:
    """Evaluates several pieces of work at once, and answers them in any order."""

    def __init__(self, slots: int, seed: int = 0, dies_after: int | None = None) -> None:
        self.slots = slots
        self._random = random.Random(seed)
        self._left = dies_after
        self.most = 0
        self.sizes: list[int] = []
        self.closed: bool | None = None

    def start(self, task: Task) -> None:
        self._evaluator = task.evaluator()
        self._works: list[Work] = []
        self.closed = None

    def submit(self, work: Work) -> None:
        self._works.append(work)
        self.sizes.append(len(work.candidates))
        self.most = max(self.most, len(self._works))
        assert self.most <= self.slots

    def wait(self, timeout: float | None = None) -> list[Done]:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise RuntimeError("killed")
        self._random.shuffle(self._works)
        n = self._random.randint(1, len(self._works))
        done = [perform(self._evaluator, work) for work in self._works[:n]]
        del self._works[:n]
        return done

    def close(self, now: bool = False) -> None:
        self.closed = now


class Kept(MemoryStore):
    """A storage that outlives the search that wrote it."""

    def __init__(self, directions: Sequence[str] = ("maximize",)) -> None:
        super().__init__(directions, None, None, None)
        self.writes: list[list[int]] = []

    def write(self, trials: Sequence[Any]) -> None:
        super().write(trials)
        self.writes.append([trial.number for trial in trials])


@pytest.fixture
def scrambled() -> type[Scrambled]:
    return Scrambled


@pytest.fixture
def kept() -> type[Kept]:
    return Kept


@pytest.fixture
def run() -> Callable[[Any, list[Work]], dict[int, Done]]:
    """``run(executor, work)``: submit everything, as many at once as there are slots; what is done, by id."""

    def run(executor: Any, work: list[Work]) -> dict[int, Done]:
        waiting, done = list(work), {}
        under_way = 0
        while waiting or under_way:
            while waiting and under_way < executor.slots:
                executor.submit(waiting.pop(0))
                under_way += 1
            for each in executor.wait():
                assert each.id not in done
                done[each.id] = each
                under_way -= 1
        assert executor.wait() == []
        return done

    return run


SPACE = {"alpha": FloatDistribution(1e-3, 1e3, log=True), "fit_intercept": [True, False]}


@pytest.fixture(scope="session")
def data() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    X, y = make_regression(60, 4, noise=20.0, random_state=0)
    return X, y


@pytest.fixture
def search() -> Callable[..., OptunaSearchCV]:
    """``search(**settings)``: a search of 40 trials in batches of 4, of a Ridge unless told otherwise."""

    def search(**settings: Any) -> OptunaSearchCV:
        settings = {"n_trials": 40, "random_state": 3, "batch_size": 4, "lag": 8, **settings}
        return OptunaSearchCV(settings.pop("estimator", Ridge()), settings.pop("space", SPACE), **settings)

    return search


@pytest.fixture
def told() -> Callable[[optuna.Study], list[Any]]:
    """``told(study)``: what must be the same of two equal studies."""

    def told(study: optuna.Study) -> list[Any]:
        return [
            (
                t.number,
                t.state,
                t.params,
                t.values,
                t.intermediate_values,
                t.constraints,
                t.user_attrs.get("test_scores"),
            )
            for t in study.trials
        ]

    return told
