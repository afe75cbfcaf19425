"""Searches with scikit-learn's signatures and results, whose candidates share work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import signature
from time import perf_counter
from typing import Any

from sklearn.base import _fit_context, clone, is_classifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import _search, _search_successive_halving, check_cv
from sklearn.model_selection._validation import _insert_error_scores, _warn_or_raise_about_fit_failures
from sklearn.utils import indexable
from sklearn.utils.validation import _check_method_params

from manyfit.dataset import Dataset
from manyfit.model_selection._evaluator import Evaluation, Evaluator
from manyfit.model_selection._plan import Plan

__all__ = [
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "RandomizedSearchCV",
    "SharedSearch",
]


class SharedSearch(_search.BaseSearchCV):  # type: ignore[misc]
    """A search whose fits are done together where they can share work.

    A subclass names the candidates in ``_run_search``, as in scikit-learn.
    """

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Evaluate all candidates, and fit the best one on all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            None when `X` is a Dataset.
        **params : dict
            Further arguments of the estimator's ``fit`` (arrays of one value for each sample are cut with the
            splits), and ``groups`` for the splitter.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter the estimator does not have, for splits that hold no rows, and when all fits fail.
        """
        dataset: Dataset | None = None
        if isinstance(X, Dataset):
            dataset = X
            X, y, params = unpacked(type(self).__name__, dataset, y, params)
        self.plan_ = Plan()
        if hasattr(self, "_skl_callbacks") or hasattr(self, "_parent_callback_ctx"):
            super().fit(X, y, **params)
            share = self.plan_.share("one by one", type(self.estimator).__name__, "callbacks watch each fit")
            share.fits = len(self.cv_results_["params"]) * self.n_splits_
            return self
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        self._checked_cv_orig = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        self._check_input_parameters(X=X, y=y, split_params=routed.splitter.split)
        self.n_splits_ = self._checked_cv_orig.get_n_splits(X, y, **routed.splitter.split)
        if dataset is None:
            dataset = Dataset(X, y, routed.estimator.fit.get("sample_weight"))
        rounds = _Rounds(self, X, y, scorers, routed, dataset)
        if "callback_ctx" in signature(self._run_search).parameters:
            self._run_search(rounds.evaluate, callback_ctx=self._init_callback_context(max_subtasks=None))
        else:
            self._run_search(rounds.evaluate)
        if not rounds.evaluations:
            raise ValueError(f"{type(self).__name__}: the search must name at least one candidate, got none")
        self.multimetric_ = isinstance(rounds.evaluations[0]["test_scores"], dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(rounds.evaluations[0]["test_scores"])
            refit_metric = self.refit
        self._choose(rounds.results, refit_metric)
        if self.refit:
            self._fit_best(dataset, X, y, routed.estimator.fit)
        self.scorer_ = scorers._scorers if isinstance(scorers, _MultimetricScorer) else scorers
        self.cv_results_ = rounds.results
        return self

    def _choose(self, results: dict[str, Any], refit_metric: str) -> None:
        if not self.refit and self.multimetric_:
            return
        self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]

    def _fit_best(self, dataset: Dataset, X: Any, y: Any, fit_params: Mapping[str, Any]) -> None:
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        begin = perf_counter()
        targets = () if y is None else (y,)
        best.fit(X, *targets, **fit_params)
        self.refit_time_ = perf_counter() - begin
        self.best_estimator_ = best
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_


def unpacked(
    owner: str, dataset: Dataset, y: Any, params: Mapping[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """X, y and the further arguments of ``fit`` that a dataset stands for."""
    given = {"sample_weight": dataset.sample_weight, "groups": dataset.groups}
    twice = [name for name in ("sample_weight", "groups") if params.get(name) is not None]
    if y is not None or twice:
        raise ValueError(f"{owner}: y, sample_weight and groups must be None when X is a Dataset")
    extra = {name: value for name, value in given.items() if value is not None}
    return dataset.X, dataset.y, {**params, **extra}


class _Rounds:
    """The candidates a search names, in one round or several, and what became of them."""

    def __init__(
        self, search: SharedSearch, X: Any, y: Any, scorers: Any, routed: Any, dataset: Dataset
    ) -> None:
        self.search = search
        self.X = X
        self.y = y
        self.scorers = scorers
        self.routed = routed
        self.dataset = dataset
        self.base = clone(search.estimator)
        self.candidates: list[Mapping[str, Any]] = []
        self.evaluations: list[Evaluation] = []
        self.more: dict[str, list[Any]] = {}
        self.results: dict[str, Any] = {}

    def evaluate(
        self,
        candidate_params: Iterable[Mapping[str, Any]],
        cv: Any = None,
        more_results: Mapping[str, Iterable[Any]] | None = None,
        callback_ctx: Any = None,
    ) -> dict[str, Any]:
        """What scikit-learn hands to ``_run_search``: results of all candidates so far."""
        search = self.search
        candidates = list(candidate_params)
        splits = self._splits(cv or search._checked_cv_orig)
        if search.verbose > 0:
            total = len(candidates) * len(splits)
            print(
                f"Fitting {len(splits)} folds for each of {len(candidates)} candidates, totalling {total} fits"
            )
        evaluator = Evaluator(
            self.base,
            self.X,
            self.y,
            splits,
            self.scorers,
            fit_params=self.routed.estimator.fit,
            score_params=self.routed.scorer.score,
            error_score=search.error_score,
            return_train_score=search.return_train_score,
            n_jobs=search.n_jobs,
            pre_dispatch=search.pre_dispatch,
            verbose=search.verbose,
            dataset=self.dataset,
            plan=search.plan_,
        )
        rows = evaluator.evaluate(candidates)
        found = [evaluation for row in rows for evaluation in row]
        if not found:
            raise ValueError(
                "No fits were performed. Was the CV iterator empty? Were there no candidates? "
                f"({type(search).__name__}: {len(candidates)} candidates, {len(splits)} splits)"
            )
        _warn_or_raise_about_fit_failures(found, search.error_score)
        if callable(search.scoring):
            _insert_error_scores(found, search.error_score)
        self.candidates += candidates
        self.evaluations += found
        for key, values in (more_results or {}).items():
            self.more.setdefault(key, []).extend(values)
        self.results = search._format_results(self.candidates, len(splits), self.evaluations, self.more)
        return self.results

    def _splits(self, cv: Any) -> list[tuple[Any, Any]]:
        splits = list(cv.split(self.X, self.y, **self.routed.splitter.split))
        if len(splits) != self.search.n_splits_:
            raise ValueError(
                "cv.split and cv.get_n_splits return inconsistent results. "
                f"Expected {self.search.n_splits_} splits, got {len(splits)}"
            )
        return splits


class GridSearchCV(_search.GridSearchCV, SharedSearch):  # type: ignore[misc]
    pass


class RandomizedSearchCV(_search.RandomizedSearchCV, SharedSearch):  # type: ignore[misc]
    pass


class HalvingGridSearchCV(_search_successive_halving.HalvingGridSearchCV, SharedSearch):  # type: ignore[misc]
    pass


class HalvingRandomSearchCV(_search_successive_halving.HalvingRandomSearchCV, SharedSearch):  # type: ignore[misc]
    pass
