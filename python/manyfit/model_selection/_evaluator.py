"""Scores of many candidates on the splits of one data set, with the work shared that can be shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score

from manyfit.base import Estimator
from manyfit.dataset import Dataset
from manyfit.model_selection._plan import Plan
from manyfit.model_selection._population import train_and_score, why_not
from manyfit.splits import Splits

__all__ = ["Evaluator"]

Evaluation = dict[str, Any]


class Evaluator:
    """Fits candidates on the training rows of splits and scores them on the rows left out.

    Keeps what was prepared from the data between calls.

    Parameters
    ----------
    estimator : estimator
        Candidates are clones of it with parameters set.
    X, y : array-like
    splits : sequence of (train, test) index arrays
    scorer : callable
        ``scorer(estimator, X, y)`` gives a number or a dict of numbers.
    fit_params, score_params : dict, default=None
        Further arguments of ``fit`` and of the scorer; arrays of one value for each sample are cut as X is.
    error_score : float or "raise", default=nan
        The score of a fit that failed.
    return_train_score, return_estimator : bool, default=False
    n_jobs : int, default=None
        Threads of a population; processes for other estimators, as in joblib.

    Attributes
    ----------
    plan : Plan
        What was shared so far.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        splits: Sequence[tuple[Any, Any]],
        scorer: Any,
        *,
        fit_params: Mapping[str, Any] | None = None,
        score_params: Mapping[str, Any] | None = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        return_estimator: bool = False,
        n_jobs: int | None = None,
        pre_dispatch: Any = "2*n_jobs",
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.X = X
        self.y = y
        self.splits = list(splits)
        self.scorer = scorer
        self.fit_params = dict(fit_params or {})
        self.score_params = dict(score_params or {})
        self.error_score = error_score
        self.return_train_score = return_train_score
        self.return_estimator = return_estimator
        self.n_jobs = n_jobs
        self.pre_dispatch = pre_dispatch
        self.verbose = verbose
        self.plan = Plan()
        self.dataset = Dataset(X, y, self.fit_params.get("sample_weight"))
        self._cut: Splits | None = None

    @property
    def cut(self) -> Splits:
        """The splits as kernels take them."""
        if self._cut is None:
            self._cut = Splits(self.dataset_rows, self.splits)
        return self._cut

    @property
    def dataset_rows(self) -> int:
        from sklearn.utils.validation import _num_samples

        return int(_num_samples(self.X))

    def evaluate(
        self, candidates: Sequence[Mapping[str, Any]], splits: Sequence[int] | None = None
    ) -> list[list[Evaluation]]:
        """Evaluations of every candidate (a dict of parameters) on some splits (None: all), by candidate.

        An evaluation is a dict with the entries of scikit-learn's ``_fit_and_score``: "fit_error" (a
        traceback or None), "test_scores" (a number, or a dict of numbers by metric), "train_scores",
        "n_test_samples", "fit_time", "score_time" in seconds, and "estimator".
        """
        chosen = list(range(len(self.splits))) if splits is None else list(splits)
        results: list[list[Evaluation | None]] = [[None] * len(chosen) for _ in candidates]
        models = [
            clone(self.estimator).set_params(**{k: clone(v, safe=False) for k, v in entry.items()})
            for entry in candidates
        ]
        together: dict[type[Estimator], list[int]] = {}
        for i, model in enumerate(models):
            if not why_not(self, model):
                together.setdefault(type(model), []).append(i)
        for members in together.values():
            done = train_and_score(self, [models[i] for i in members], chosen)
            for i, row in zip(members, done or [], strict=False):
                results[i] = list(row)
        alone = [(i, j) for i, row in enumerate(results) for j, done in enumerate(row) if done is None]
        if alone:
            self._one_by_one(candidates, models, chosen, alone, results)
        return results  # type: ignore[return-value]

    def _one_by_one(
        self,
        candidates: Sequence[Mapping[str, Any]],
        models: Sequence[Any],
        chosen: Sequence[int],
        alone: Sequence[tuple[int, int]],
        results: list[list[Evaluation | None]],
    ) -> None:
        begin = perf_counter()
        done = Parallel(n_jobs=self.n_jobs, pre_dispatch=self.pre_dispatch)(
            delayed(_fit_and_score)(
                clone(self.estimator),
                self.X,
                self.y,
                train=self.splits[chosen[j]][0],
                test=self.splits[chosen[j]][1],
                parameters=dict(candidates[i]),
                scorer=self.scorer,
                fit_params=self.fit_params,
                score_params=self.score_params,
                return_train_score=self.return_train_score,
                return_n_test_samples=True,
                return_times=True,
                return_estimator=self.return_estimator,
                error_score=self.error_score,
                verbose=self.verbose,
                split_progress=(chosen[j], len(self.splits)),
                candidate_progress=(i, len(candidates)),
            )
            for i, j in alone
        )
        for (i, j), evaluation in zip(alone, done, strict=True):
            results[i][j] = evaluation
            share = self.plan.share("one by one", type(models[i]).__name__, why_not(self, models[i]))
            share.fits += 1
            share.seconds += (perf_counter() - begin) / len(alone)
