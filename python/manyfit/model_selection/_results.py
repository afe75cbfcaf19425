"""``cv_results_`` of a search by Optuna, and the best among its trials."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics._scorer import _MultimetricScorer

from manyfit.model_selection._evaluator import Evaluation
from manyfit.model_selection._measures import MEASURES, Goals

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from manyfit.model_selection._space import Space

__all__ = ["Results"]


class Results:
    """Results of trials, a row for each whose settings the space knows.

    Attributes
    ----------
    trials : list of FrozenTrial
        Of the rows.
    table : dict
        As ``cv_results_``.
    multimetric : bool
    """

    def __init__(
        self,
        search: Any,
        trials: Sequence[FrozenTrial],
        settings: Mapping[int, dict[str, Any]],
        space: Space,
        goals: Goals,
        splits: Sequence[Any],
    ) -> None:
        self.owner = type(search).__name__
        self.goals = goals
        self.trials: list[FrozenTrial] = []
        candidates: list[dict[str, Any]] = []
        for trial in trials:
            if not trial.state.is_finished():
                continue
            entry = settings.get(trial.number)
            if entry is None:
                entry = space.settings(trial)
            if entry is not None:
                self.trials.append(trial)
                candidates.append(entry)
        self.metrics = self._metrics()
        self.multimetric = isinstance(goals.scorer, _MultimetricScorer) or self.metrics != ["score"]
        self.feasible = np.array(
            [all(value <= 0 for value in trial.constraints.values()) for trial in self.trials], dtype=bool
        )
        self.complete = np.array([trial.state.name == "COMPLETE" for trial in self.trials], dtype=bool)
        more: dict[str, list[Any]] = {
            "number": [trial.number for trial in self.trials],
            "state": [trial.state.name for trial in self.trials],
        }
        for name in goals.measures:
            more[name] = [trial.user_attrs.get("measures", {}).get(name, np.nan) for trial in self.trials]
        if goals.constraints or goals.function is not None:
            more["feasible"] = self.feasible.tolist()
        train = bool(search.return_train_score)
        out = [each for trial in self.trials for each in self._evaluations(trial, splits, train)]
        with warnings.catch_warnings():
            # Trials that were pruned or failed have none; failures are told elsewhere.
            warnings.filterwarnings("ignore", message="One or more of the", category=UserWarning)
            self.table: dict[str, Any] = search._format_results(candidates, len(splits), out, more)
        self._complete_ranks()

    def _metrics(self) -> list[str]:
        if isinstance(self.goals.scorer, _MultimetricScorer):
            return list(self.goals.scorer._scorers)
        for trial in self.trials:
            if "test_scores" in trial.user_attrs:
                return list(trial.user_attrs["test_scores"])
        return ["score"]

    def _evaluations(self, trial: FrozenTrial, splits: Sequence[Any], train: bool) -> list[Evaluation]:
        attrs = trial.user_attrs
        seconds = attrs.get("seconds", {})

        def number(numbers: Any, split: int) -> float:
            value = None if numbers is None or split >= len(numbers) else numbers[split]
            return np.nan if value is None else float(value)

        def scores(key: str, split: int) -> Any:
            kept = attrs.get(key, {})
            found = {name: number(kept.get(name), split) for name in self.metrics}
            return found if self.multimetric else found["score"]

        rows: list[Evaluation] = []
        for split, (_, test) in enumerate(splits):
            each: Evaluation = {
                "fit_error": None,
                "test_scores": scores("test_scores", split),
                "n_test_samples": len(test),
                "fit_time": number(seconds.get("fit_time"), split),
                "score_time": number(seconds.get("score_time"), split),
            }
            if train:
                each["train_scores"] = scores("train_scores", split)
            rows.append(each)
        return rows

    def _complete_ranks(self) -> None:
        """Take the values of trials that Optuna's own objectives made, and rank by the directions."""
        for i, (name, direction) in enumerate(zip(self.goals.names, self.goals.directions, strict=True)):
            if name not in self.metrics:
                continue
            means = self.table[f"mean_test_{name}"]
            for row, trial in enumerate(self.trials):
                if self.complete[row] and "test_scores" not in trial.user_attrs and trial.values is not None:
                    means[row] = trial.values[i]
            self.table[f"rank_test_{name}"] = ranks(means, direction == "maximize")

    def column(self, name: str) -> NDArray[np.float64]:
        """Values of a metric or a measure."""
        key = name if name in MEASURES else f"mean_test_{name}"
        if key not in self.table:
            known = [*self.metrics, *self.goals.measures]
            raise ValueError(
                f"{self.owner}: refit must be one of {', '.join(map(repr, known))}, got {name!r}"
            )
        return np.asarray(self.table[key], dtype=np.float64)

    def best(self, refit: Any, name: str) -> int:
        """The row that `refit` chooses; raises LookupError where no trial keeps to the constraints."""
        if callable(refit):
            from sklearn.model_selection._search import BaseSearchCV

            return int(BaseSearchCV._select_best_index(refit, name, self.table))
        values = self.column(name)
        rows = np.flatnonzero(self.complete & self.feasible & ~np.isnan(values))
        if not rows.size:
            raise LookupError(self._infeasible())
        directions = dict(zip(self.goals.names, self.goals.directions, strict=True))
        direction = directions.get(name, "minimize" if name in MEASURES else "maximize")
        place = np.argmax(values[rows]) if direction == "maximize" else np.argmin(values[rows])
        return int(rows[place])

    def _infeasible(self) -> str:
        def excess(trial: FrozenTrial) -> float:
            return sum(max(0.0, value) for value in trial.constraints.values())

        rows = [trial for trial, complete in zip(self.trials, self.complete, strict=True) if complete]
        if not rows:
            return f"{self.owner}: no trial is complete and of this space"
        nearest = min(rows, key=excess)
        broken = ", ".join(f"{key!r} by {value:g}" for key, value in nearest.constraints.items() if value > 0)
        return (
            f"{self.owner}: no trial keeps to the constraints; the nearest, trial {nearest.number}, "
            f"breaks {broken}"
        )

    def front(self) -> list[FrozenTrial]:
        """Trials that no other one beats in every objective, of those that keep to the constraints."""
        rows = np.flatnonzero(self.complete & self.feasible)
        if not rows.size:
            return []
        signs = np.array([-1.0 if direction == "maximize" else 1.0 for direction in self.goals.directions])
        losses = np.array([self.trials[row].values for row in rows]) * signs
        better = (losses[:, None, :] <= losses[None, :, :]).all(axis=2)
        better &= (losses[:, None, :] < losses[None, :, :]).any(axis=2)
        return [self.trials[row] for row, beaten in zip(rows, better.any(axis=0), strict=True) if not beaten]


def ranks(values: NDArray[np.float64], maximize: bool) -> NDArray[np.int32]:
    """Ranks from 1, as in scikit-learn: those without a value share the last."""
    if np.isnan(values).all():
        return np.ones(len(values), dtype=np.int32)
    signed = -values if maximize else values
    signed = np.where(np.isnan(signed), np.nanmax(signed) + 1, signed)
    return rankdata(signed, method="min").astype(np.int32)
