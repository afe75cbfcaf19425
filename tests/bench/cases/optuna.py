"""Searches by Optuna: ours against ``study.optimize`` with ``cross_val_score``."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..case import MANYFIT, SKLEARN, AnyCase, Case, Contender, Run
from ..data import Data, Regression
from ..quality import Quality
from ..targets import Faster

LOW, HIGH = 1e-4, 1e4
FOLDS = 5


class Found(NamedTuple):
    """What a search found."""

    alpha: float
    score: float
    n_trials: int


def ridge(n_trials: int) -> tuple[Contender, ...]:
    """The penalty of a ridge regression by TPE; the best is fitted on all rows."""

    def ours(data: Data, threads: int) -> Run:
        from optuna.distributions import FloatDistribution

        search = importlib.import_module("manyfit.model_selection").OptunaSearchCV
        estimator = importlib.import_module("manyfit.linear_model").Ridge()
        space = {"alpha": FloatDistribution(LOW, HIGH, log=True)}

        def run() -> Found:
            found = search(estimator, space, n_trials=n_trials, cv=FOLDS, random_state=0, n_jobs=threads)
            found.fit(data.X, data.y)
            return Found(found.best_params_["alpha"], found.best_score_, len(found.study_.trials))

        return run

    def theirs(data: Data, threads: int) -> Run:
        import optuna
        from sklearn.linear_model import Ridge
        from sklearn.model_selection import cross_val_score

        optuna.logging.set_verbosity(optuna.logging.WARNING)

        def objective(trial: Any) -> float:
            model = Ridge(alpha=trial.suggest_float("alpha", LOW, HIGH, log=True))
            return float(cross_val_score(model, data.X, data.y, cv=FOLDS).mean())

        def run() -> Found:
            study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
            study.optimize(objective, n_trials=n_trials)
            Ridge(alpha=study.best_params["alpha"]).fit(data.X, data.y)
            return Found(study.best_params["alpha"], study.best_value, len(study.trials))

        return run

    return Contender(MANYFIT, ours), Contender(SKLEARN, theirs, once=True)


def trivial(n_trials: int) -> tuple[Contender, ...]:
    """Trials that cost nothing, kept in an SQLite file: the engine and the storage alone."""

    def ours(data: Data, threads: int) -> Run:
        from optuna.distributions import FloatDistribution

        from ..stub import Stub

        search = importlib.import_module("manyfit.model_selection").OptunaSearchCV
        space = {"alpha": FloatDistribution(LOW, HIGH, log=True)}
        X, y = np.zeros((4, 1)), np.zeros(4)

        def run() -> Found:
            with TemporaryDirectory() as folder:
                found = search(
                    Stub(),
                    space,
                    n_trials=n_trials,
                    cv=[([0, 1], [2, 3])],
                    random_state=0,
                    refit=False,
                    storage=str(Path(folder) / "study.db"),
                ).fit(X, y)
                return Found(found.best_params_["alpha"], found.best_score_, found.n_trials_)

        return run

    def theirs(data: Data, threads: int) -> Run:
        import optuna

        from ..stub import Stub

        optuna.logging.set_verbosity(optuna.logging.WARNING)

        def objective(trial: Any) -> float:
            return Stub(trial.suggest_float("alpha", LOW, HIGH, log=True)).score(None, None)

        def run() -> Found:
            with TemporaryDirectory() as folder:
                study = optuna.create_study(
                    direction="maximize",
                    storage=f"sqlite:///{Path(folder) / 'study.db'}",
                    sampler=optuna.samplers.TPESampler(seed=0),
                )
                study.optimize(objective, n_trials=n_trials)
                return Found(study.best_params["alpha"], study.best_value, len(study.trials))

        return run

    return Contender(MANYFIT, ours), Contender(SKLEARN, theirs, once=True)


@dataclass(frozen=True, kw_only=True)
class BestScore(Quality):
    """The best score against that of a fine grid, and against the score that scikit-learn gives the choice."""

    n_trials: int

    what: ClassVar[str] = "best score as of 200 penalties in a grid, and as scikit-learn's of that penalty"

    def _score(self, data: Data, alpha: float) -> float:
        from sklearn.linear_model import Ridge
        from sklearn.model_selection import cross_val_score

        return float(cross_val_score(Ridge(alpha=alpha), data.X, data.y, cv=FOLDS).mean())

    def reference(self, data: Data) -> float:
        """The best score there is."""
        from manyfit.linear_model import Ridge
        from manyfit.model_selection import GridSearchCV

        grid = {"alpha": np.geomspace(LOW, HIGH, 200)}
        return float(GridSearchCV(Ridge(), grid, cv=FOLDS, refit=False).fit(data.X, data.y).best_score_)

    def error(self, result: Found, expected: float, data: Data) -> float:
        """How far the score is below the best, or from its own definition."""
        if result.n_trials != self.n_trials:
            return float("inf")
        return max(expected - result.score, abs(result.score - self._score(data, result.alpha)))


@dataclass(frozen=True, kw_only=True)
class TrivialScore(Quality):
    """The best value of a function whose maximum is known."""

    n_trials: int

    what: ClassVar[str] = "maximum of a function of one variable"

    def reference(self, data: Data) -> float:
        """The maximum."""
        return 0.0

    def error(self, result: Found, expected: float, data: Data) -> float:
        """How far the value is below it."""
        return expected - result.score if result.n_trials == self.n_trials else float("inf")


CASES: tuple[AnyCase, ...] = (
    Case(
        "optuna-ridge-100x5",
        Regression(20_000, 100),
        ridge(100),
        BestScore(n_trials=100, tolerance=1e-6),
        targets=(Faster(25),),
    ),
    Case(
        "optuna-sqlite-1000",
        Regression(200, 20),
        trivial(1000),
        TrivialScore(n_trials=1000, tolerance=1e-3),
        targets=(Faster(2),),
    ),
)
