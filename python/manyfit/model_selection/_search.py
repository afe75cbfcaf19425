"""Searches with scikit-learn's signatures and results, whose candidates share work."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # its import lets the halving searches be imported
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import _search, _search_successive_halving, check_cv
from sklearn.model_selection._validation import _insert_error_scores, _warn_or_raise_about_fit_failures
from sklearn.utils import indexable
from sklearn.utils.validation import _check_method_params, _num_samples

from manyfit._device_arrays import held
from manyfit.dataset import Dataset
from manyfit.model_selection._evaluator import Evaluation, Evaluator
from manyfit.model_selection._explain import Explanation, Round, estimate
from manyfit.model_selection._plan import Plan

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = [
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "RandomizedSearchCV",
    "SharedSearch",
]


Fit = TypeVar("Fit", bound=Callable[..., Any])
_checked: Callable[[Fit], Fit] = _fit_context(prefer_skip_nested_validation=False)


class SharedSearch(_search.BaseSearchCV):  # type: ignore[misc]  # scikit-learn is untyped
    """A search whose fits are done together where they can share work.

    A subclass names the candidates in ``_run_search``, as in scikit-learn.
    """

    @_checked
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
        self.plan_ = Plan()
        if hasattr(self, "_skl_callbacks") or hasattr(self, "_parent_callback_ctx"):
            if isinstance(X, Dataset):
                X, y, params = unpacked(type(self).__name__, X, y, params)
            super().fit(X, y, **params)
            share = self.plan_.share("one by one", type(self.estimator).__name__, "callbacks watch each fit")
            share.fits = len(vars(self)["cv_results_"]["params"]) * self.n_splits_
            return self
        begin = perf_counter()
        rounds, refit_metric = self._prepare(X, y, params)
        self._search_with(rounds.evaluate)
        if not rounds.evaluations:
            raise ValueError(f"{type(self).__name__}: the search must name at least one candidate, got none")
        self.multimetric_ = isinstance(rounds.evaluations[0]["test_scores"], dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(rounds.evaluations[0]["test_scores"])
            refit_metric = self.refit
        self._choose(rounds.results, refit_metric)
        if self.refit:
            self._fit_best(rounds.base, rounds.X, rounds.y, rounds.routed.estimator.fit, rounds.last.fit_all)
        several = isinstance(rounds.scorers, _MultimetricScorer)
        self.scorer_ = rounds.scorers._scorers if several else rounds.scorers
        self.cv_results_ = rounds.results
        self._note_time(perf_counter() - begin)
        return self

    def explain(self, X: Any, y: Any = None, **params: Any) -> Explanation:
        """What ``fit`` would share, and about how long its evaluations would take.

        A few candidates are fitted on one split each and timed. The next ``fit`` on as many fits notes the
        estimate beside the time it took, in ``plan_.estimate`` and ``plan_.seconds``.

        Parameters
        ----------
        X, y, **params
            As of ``fit``.

        Returns
        -------
        Explanation
            Its ``str`` tells the plan and the time.
        """
        copy = clone(self)
        copy.plan_ = Plan()
        rounds, _ = copy._prepare(X, y, params)
        copy._search_with(rounds.record)
        if not any(each.candidates for each in rounds.rounds):
            raise ValueError(f"{type(self).__name__}: the search must name at least one candidate, got none")
        self.explanation_ = estimate(rounds.evaluator, rounds.rounds)
        return self.explanation_

    def to_onnx(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        profile: str = "portable",
        dtype: str = "float32",
        X: Any = None,
    ) -> ModelProto:
        """Export the best estimator as ONNX, verified; see :func:`manyfit.onnx.to_onnx`.

        Parameters
        ----------
        path, profile, dtype, X
            As of :func:`manyfit.onnx.to_onnx`.

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        ExportMismatch
            If the graph answers otherwise than the estimator; nothing is written.
        TypeError
            Without a best estimator (``refit=False``), and where it has no converter.
        """
        from manyfit.onnx import to_onnx

        return to_onnx(self, path, profile=profile, dtype=dtype, X=X)

    def _prepare(self, X: Any, y: Any, params: Mapping[str, Any]) -> tuple[_Rounds, Any]:
        """What evaluates candidates on these data, and the metric that chooses among them."""
        dataset: Dataset | None = None
        if isinstance(X, Dataset):
            dataset = X
            X, y, params = unpacked(type(self).__name__, dataset, y, params)
        X, y = held(X, "X"), held(y, "y")
        self._n_samples_orig = _num_samples(X)
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        self._checked_cv_orig = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        if hasattr(self, "_check_input_parameters"):
            self._check_input_parameters(X=X, y=y, split_params=routed.splitter.split)
        self.n_splits_ = self._checked_cv_orig.get_n_splits(X, y, **routed.splitter.split)
        if dataset is None:
            dataset = Dataset(X, y, routed.estimator.fit.get("sample_weight"))
        return _Rounds(self, X, y, scorers, routed, dataset), refit_metric

    def _search_with(self, evaluate: Any) -> None:
        if "callback_ctx" in signature(self._run_search).parameters:
            self._run_search(evaluate, callback_ctx=self._init_callback_context(max_subtasks=None))
        else:
            self._run_search(evaluate)

    def _choose(self, results: dict[str, Any], refit_metric: str) -> None:
        if not self.refit and self.multimetric_:
            return
        self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
        if not callable(self.refit):
            self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
        self.best_params_ = results["params"][self.best_index_]

    def _fit_best(
        self,
        base: Any,
        X: Any,
        y: Any,
        fit_params: Mapping[str, Any],
        prepared: Callable[[Mapping[str, Any]], Any] | None,
    ) -> None:
        """Fit the best candidate on all rows, by `prepared` from what the search has prepared, where that can."""
        parameters = clone(self.best_params_, safe=False)
        begin = perf_counter()
        best = None if prepared is None else prepared(parameters)
        if best is None:
            best = clone(base).set_params(**parameters)
            data = (X,) if y is None else (X, y)
            best.fit(*data, **fit_params)
        self.refit_time_ = perf_counter() - begin
        self.best_estimator_ = best
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_

    def _note_time(self, seconds: float) -> None:
        """Keep the time the search took beside the one that was foretold."""
        self.plan_.seconds = seconds
        explained: Explanation | None = getattr(self, "explanation_", None)
        if explained is not None and explained.fits == self.plan_.fits:
            self.plan_.estimate = explained.seconds


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
        self.rounds: list[Round] = []

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
        if not (candidates and splits):
            raise ValueError(
                "No fits were performed. Was the CV iterator empty? Were there no candidates? "
                f"({type(search).__name__}: {len(candidates)} candidates, {len(splits)} splits)"
            )
        if search.verbose > 0:
            total = len(candidates) * len(splits)
            print(
                f"Fitting {len(splits)} folds for each of {len(candidates)} candidates, totalling {total} fits"
            )
        self.last = self.evaluator(splits, search.plan_, search.verbose)
        rows = self.last.evaluate(candidates)
        found = [evaluation for row in rows for evaluation in row]
        _warn_or_raise_about_fit_failures(found, search.error_score)
        if callable(search.scoring):
            _insert_error_scores(found, search.error_score)
        self.candidates += candidates
        self.evaluations += found
        for key, values in (more_results or {}).items():
            self.more.setdefault(key, []).extend(values)
        self.results = search._format_results(self.candidates, len(splits), self.evaluations, self.more)
        return self.results

    def evaluator(
        self, splits: Sequence[tuple[Any, Any]], plan: Plan | None = None, verbose: int = 0
    ) -> Evaluator:
        search = self.search
        return Evaluator(
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
            verbose=verbose,
            dataset=self.dataset,
            plan=plan,
        )

    def record(
        self,
        candidate_params: Iterable[Mapping[str, Any]],
        cv: Any = None,
        more_results: Mapping[str, Iterable[Any]] | None = None,
        callback_ctx: Any = None,
    ) -> dict[str, Any]:
        """Note the candidates of a round instead of evaluating them; answer as if all scored alike."""
        candidates = list(candidate_params)
        self.rounds.append(Round(candidates, self._splits(cv or self.search._checked_cv_orig)))
        self.candidates += candidates
        for key, values in (more_results or {}).items():
            self.more.setdefault(key, []).extend(values)
        more = {key: np.asarray(values) for key, values in self.more.items()}
        return {**more, "params": self.candidates, "mean_test_score": np.zeros(len(self.candidates))}

    def _splits(self, cv: Any) -> list[tuple[Any, Any]]:
        splits = list(cv.split(self.X, self.y, **self.routed.splitter.split))
        if len(splits) != self.search.n_splits_:
            raise ValueError(
                "cv.split and cv.get_n_splits return inconsistent results. "
                f"Expected {self.search.n_splits_} splits, got {len(splits)}"
            )
        return splits


class GridSearchCV(_search.GridSearchCV, SharedSearch):  # type: ignore[misc]  # scikit-learn is untyped
    """Exhaustive search over given parameter values, whose fits share work.

    Signature, results and errors are those of :class:`sklearn.model_selection.GridSearchCV`.

    Parameters
    ----------
    estimator : estimator
        Candidates of our estimators are trained as populations that share passes over X and
        decompositions; steps of a Pipeline are fitted once for each split and reused by all candidates that begin
        alike; other estimators are fitted one by one, as in scikit-learn.
    param_grid : dict or list of dict
        Values to try for each parameter.
    scoring : str, callable, list, tuple or dict, default=None
        Metric or metrics, as in scikit-learn; None takes the estimator's own score. R^2, squared error, accuracy
        and log-loss of our estimators are computed in the core, mostly without a pass over X.
    n_jobs : int, default=None
        Threads of a population (None: every CPU), worker processes for other estimators (None: one).
    refit : bool, str or callable, default=True
        Whether to fit the best candidate on all rows, by which metric, or how to choose.
    cv : int, splitter or iterable of (train, test), default=None
        Any of scikit-learn's, also overlapping, repeated and grouped ones.
    verbose : int, default=0
    pre_dispatch : int or str, default="2*n_jobs"
        For other estimators, as in joblib.
    error_score : "raise" or float, default=nan
        The score of a fit that failed; the traceback is shown in a warning.
    return_train_score : bool, default=False
        Whether ``cv_results_`` holds scores on the training rows: one more pass over X for our least squares.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As scikit-learn's: "params", "param_<name>", "split<k>_test_<metric>", "mean_test_<metric>",
        "std_test_<metric>", "rank_test_<metric>", "mean_fit_time", ... Times of fits done together are shared out
        equally.
    best_estimator_, best_params_, best_index_, best_score_, refit_time_, scorer_, n_splits_, multimetric_
        As in scikit-learn.
    plan_ : Plan
        What was shared, in words (``str(plan_)``) and numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.model_selection import GridSearchCV
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> search = GridSearchCV(Ridge(), {"alpha": np.logspace(-4, 4, 50)}, cv=5).fit(X, y)
    >>> search.plan_
    <Plan: 250 fits of Ridge, 1 pass over X (fold Gram)>
    >>> round(float(search.best_score_), 3)
    0.482
    """


class RandomizedSearchCV(_search.RandomizedSearchCV, SharedSearch):  # type: ignore[misc]  # scikit-learn is untyped
    """Search over parameter values drawn at random, whose fits share work.

    Signature, results and errors are those of :class:`sklearn.model_selection.RandomizedSearchCV`.

    Parameters
    ----------
    estimator : estimator
        Candidates of our estimators are trained as populations that share passes over X and
        decompositions; steps of a Pipeline are fitted once for each split and reused by all candidates that begin
        alike; other estimators are fitted one by one, as in scikit-learn.
    param_distributions : dict or list of dict
        Values, or a distribution of scipy.stats, for each parameter.
    n_iter : int, default=10
        Number of candidates.
    scoring : str, callable, list, tuple or dict, default=None
        Metric or metrics, as in scikit-learn; None takes the estimator's own score. R^2, squared error, accuracy
        and log-loss of our estimators are computed in the core, mostly without a pass over X.
    n_jobs : int, default=None
        Threads of a population (None: every CPU), worker processes for other estimators (None: one).
    refit : bool, str or callable, default=True
        Whether to fit the best candidate on all rows, by which metric, or how to choose.
    cv : int, splitter or iterable of (train, test), default=None
        Any of scikit-learn's, also overlapping, repeated and grouped ones.
    verbose : int, default=0
    pre_dispatch : int or str, default="2*n_jobs"
        For other estimators, as in joblib.
    error_score : "raise" or float, default=nan
        The score of a fit that failed; the traceback is shown in a warning.
    return_train_score : bool, default=False
        Whether ``cv_results_`` holds scores on the training rows: one more pass over X for our least squares.
    random_state : int, RandomState instance or None, default=None

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As scikit-learn's: "params", "param_<name>", "split<k>_test_<metric>", "mean_test_<metric>",
        "std_test_<metric>", "rank_test_<metric>", "mean_fit_time", ... Times of fits done together are shared out
        equally.
    best_estimator_, best_params_, best_index_, best_score_, refit_time_, scorer_, n_splits_, multimetric_
        As in scikit-learn.
    plan_ : Plan
        What was shared, in words (``str(plan_)``) and numbers.

    Examples
    --------
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.model_selection import RandomizedSearchCV
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> search = RandomizedSearchCV(Ridge(), {"alpha": loguniform(1e-4, 1e4)}, n_iter=20, random_state=0)
    >>> search.fit(X, y).plan_
    <Plan: 100 fits of Ridge, 1 pass over X (fold Gram)>
    """


class HalvingGridSearchCV(_search_successive_halving.HalvingGridSearchCV, SharedSearch):  # type: ignore[misc]  # scikit-learn is untyped
    """Successive halving over given parameter values, whose rounds share work.

    Signature, results and errors are those of :class:`sklearn.model_selection.HalvingGridSearchCV`.

    Parameters
    ----------
    estimator : estimator
        Candidates of our estimators are trained as populations that share passes over X and
        decompositions; steps of a Pipeline are fitted once for each split and reused by all candidates that begin
        alike; other estimators are fitted one by one, as in scikit-learn.
    param_grid : dict or list of dict
        Values to try for each parameter.
    factor : int or float, default=3
        One candidate in `factor` goes on to the next round.
    resource : str, default="n_samples"
        What grows from round to round: rows, or a parameter with positive integer values.
    max_resources : int, default="auto"
    min_resources : int or str, default="exhaust"
    aggressive_elimination : bool, default=False
    scoring : str, callable, list, tuple or dict, default=None
        Metric or metrics, as in scikit-learn; None takes the estimator's own score. R^2, squared error, accuracy
        and log-loss of our estimators are computed in the core, mostly without a pass over X.
    n_jobs : int, default=None
        Threads of a population (None: every CPU), worker processes for other estimators (None: one).
    refit : bool, str or callable, default=True
        Whether to fit the best candidate on all rows, by which metric, or how to choose.
    cv : int, splitter or iterable of (train, test), default=5
        Any of scikit-learn's, also overlapping, repeated and grouped ones.
    verbose : int, default=0
    error_score : "raise" or float, default=nan
        The score of a fit that failed; the traceback is shown in a warning.
    return_train_score : bool, default=True
        Whether ``cv_results_`` holds scores on the training rows: one more pass over X for our least squares.
    random_state : int, RandomState instance or None, default=None

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As scikit-learn's: "params", "param_<name>", "split<k>_test_<metric>", "mean_test_<metric>",
        "std_test_<metric>", "rank_test_<metric>", "mean_fit_time", ... Times of fits done together are shared out
        equally.
    best_estimator_, best_params_, best_index_, best_score_, refit_time_, scorer_, n_splits_, multimetric_
        As in scikit-learn.
    plan_ : Plan
        What was shared, in words (``str(plan_)``) and numbers.
    n_resources_, n_candidates_, n_remaining_candidates_, n_iterations_, max_resources_, min_resources_
        Of the rounds, as in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.model_selection import HalvingGridSearchCV
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> search = HalvingGridSearchCV(Ridge(), {"alpha": np.logspace(-4, 4, 27)}, random_state=0).fit(X, y)
    >>> search.n_candidates_
    [27, 9, 3, 1]
    """


class HalvingRandomSearchCV(_search_successive_halving.HalvingRandomSearchCV, SharedSearch):  # type: ignore[misc]  # scikit-learn is untyped
    """Successive halving over parameter values drawn at random, whose rounds share work.

    Signature, results and errors are those of :class:`sklearn.model_selection.HalvingRandomSearchCV`.

    Parameters
    ----------
    estimator : estimator
        Candidates of our estimators are trained as populations that share passes over X and
        decompositions; steps of a Pipeline are fitted once for each split and reused by all candidates that begin
        alike; other estimators are fitted one by one, as in scikit-learn.
    param_distributions : dict or list of dict
        Values, or a distribution of scipy.stats, for each parameter.
    n_candidates : "exhaust" or int, default="exhaust"
        Candidates of the first round.
    factor : int or float, default=3
        One candidate in `factor` goes on to the next round.
    resource : str, default="n_samples"
        What grows from round to round: rows, or a parameter with positive integer values.
    max_resources : int, default="auto"
    min_resources : int or str, default="smallest"
    aggressive_elimination : bool, default=False
    scoring : str, callable, list, tuple or dict, default=None
        Metric or metrics, as in scikit-learn; None takes the estimator's own score. R^2, squared error, accuracy
        and log-loss of our estimators are computed in the core, mostly without a pass over X.
    n_jobs : int, default=None
        Threads of a population (None: every CPU), worker processes for other estimators (None: one).
    refit : bool, str or callable, default=True
        Whether to fit the best candidate on all rows, by which metric, or how to choose.
    cv : int, splitter or iterable of (train, test), default=5
        Any of scikit-learn's, also overlapping, repeated and grouped ones.
    verbose : int, default=0
    error_score : "raise" or float, default=nan
        The score of a fit that failed; the traceback is shown in a warning.
    return_train_score : bool, default=True
        Whether ``cv_results_`` holds scores on the training rows: one more pass over X for our least squares.
    random_state : int, RandomState instance or None, default=None

    Attributes
    ----------
    cv_results_ : dict of ndarray
        As scikit-learn's: "params", "param_<name>", "split<k>_test_<metric>", "mean_test_<metric>",
        "std_test_<metric>", "rank_test_<metric>", "mean_fit_time", ... Times of fits done together are shared out
        equally.
    best_estimator_, best_params_, best_index_, best_score_, refit_time_, scorer_, n_splits_, multimetric_
        As in scikit-learn.
    plan_ : Plan
        What was shared, in words (``str(plan_)``) and numbers.
    n_resources_, n_candidates_, n_remaining_candidates_, n_iterations_, max_resources_, min_resources_
        Of the rounds, as in scikit-learn.

    Examples
    --------
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.model_selection import HalvingRandomSearchCV
    >>> from scipy.stats import loguniform
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> alphas = {"alpha": loguniform(1e-4, 1e4)}
    >>> search = HalvingRandomSearchCV(Ridge(), alphas, min_resources=50, random_state=0).fit(X, y)
    >>> search.n_resources_, search.n_candidates_
    ([50, 150], [8, 3])
    """
