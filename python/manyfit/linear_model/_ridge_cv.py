"""Ridge regression that chooses its penalty by cross-validation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from inspect import signature
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import linear_model
from sklearn.linear_model._ridge import _IdentityRegressor
from sklearn.utils import _safe_indexing, check_scalar
from sklearn.utils.metadata_routing import _raise_for_params, _routing_enabled

from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.linear_model._inner_splits import InnerSplits
from manyfit.linear_model._least_squares import (
    LeftOutErrors,
    LinearEstimator,
    PreparedJobs,
    errors_of_fits,
    grouped,
    r2,
)
from manyfit.linear_model._ridge import Ridge, ridge_from_columns, solve_ridge
from manyfit.splits import Splits

__all__ = ["RidgeCV", "RidgeSelection"]

Floats = NDArray[np.float64]
Rows = NDArray[np.int64] | slice


# Scores that sums of squares tell: of errors (jobs, targets), of targets about their mean, and the weights' sum.
SumScore = Callable[[Floats, Floats, Floats], Floats]
_FROM_SUMS: dict[str | None, SumScore] = {
    None: lambda residual, total, n: r2(residual, total),
    "r2": lambda residual, total, n: r2(residual, total),
    "neg_mean_squared_error": lambda residual, total, n: -(residual / n[:, None]).mean(axis=1),
    "neg_root_mean_squared_error": lambda residual, total, n: -np.sqrt(residual / n[:, None]).mean(axis=1),
}


class RidgeSelection(LinearEstimator):
    """What the ridge estimators share that choose their penalty: the choice, by leaving out rows or folds."""

    _member: ClassVar[type[LinearEstimator]] = Ridge  # what is fitted on each fold
    _sum_scores: ClassVar[dict[str | None, SumScore]] = _FROM_SUMS

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> Self:
        """Choose the penalty and fit the model on all rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            None when `X` is a Dataset.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights >= 0, of the rows in the fit and in the scores.
        **params : dict
            For the scorer and the splitter, with scikit-learn's metadata routing enabled.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter that breaks its rule and for data that is not finite, empty or of unequal length.
        """
        if params or (_routing_enabled() and not isinstance(X, Dataset)):
            _raise_for_params(params, self, "fit")
            self._check()
            self._sklearn_fit(X, y, sample_weight=sample_weight, **params)
            self.fit_backend_ = "scikit-learn"
            return self
        return self._fit_one(X, y, sample_weight)

    def _runs_here(self, dataset: Dataset) -> bool:
        return super()._runs_here(dataset) and not _routing_enabled()

    def _check(self) -> None:
        super()._check()
        self._penalty_list()
        if self.cv is not None:
            for name in ("store_cv_results", "alpha_per_target"):
                if getattr(self, name, False):
                    raise ValueError(
                        f"{type(self).__name__}: {name} must be False unless cv is None "
                        f"(cv!=None and {name}=True are incompatible)"
                    )

    def _penalty_list(self) -> list[float]:
        """`alphas`, checked, as floats."""
        owner = type(self).__name__
        values = self.alphas
        single = np.ndim(values) == 0 or len(values) == 1
        rule = ">" if self.cv is None else ">="
        checked: list[float] = []
        for i, value in enumerate([values] if np.ndim(values) == 0 else values):
            name = "alphas" if single else f"alphas[{i}]"
            try:
                check_scalar(
                    value,
                    name,
                    Real,
                    min_val=0.0,
                    include_boundaries="neither" if self.cv is None else "left",
                )
            except (TypeError, ValueError) as error:
                raise type(error)(f"{owner}: alphas must be {rule} 0, got {value!r} ({error})") from None
            if not math.isfinite(value):
                raise ValueError(f"{owner}: alphas must be {rule} 0 and finite, got {value!r}")
            checked.append(float(value))
        if not checked:
            raise ValueError(f"{owner}: alphas must hold at least one number, got {values!r}")
        return checked

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        left: list[Job] = []
        by_folds = [job for job in jobs if job.estimator.cv is not None]
        if by_folds:
            cls._choose_by_folds(by_folds, dataset, splits)
        by_rows = [job for job in jobs if job.estimator.cv is None]
        for group in grouped(by_rows, dataset, splits):
            solved = cls._choose_by_rows(group, splits)
            left.extend(job for job, ok in zip(group.jobs, solved, strict=True) if not ok)
        return left

    # --- leaving out one row ---

    @classmethod
    def _choose_by_rows(cls, group: PreparedJobs, splits: Splits) -> NDArray[np.bool_]:
        """Fit the jobs with the penalties that leaving out each row in turn finds best."""
        for job in group.jobs:
            job.estimator._check_rows(group, splits.train_rows(job.split))
        results = _leave_one_out(group)
        solved = np.array([reliable for _, _, reliable in results])
        targets = group.n_targets
        penalties = np.ones((len(group.jobs), targets))
        for b in np.flatnonzero(solved).tolist():
            job = group.jobs[b]
            rows = splits.train_rows(job.split)
            job.estimator._choose(group, rows, *results[b][:2])
            penalties[b] = job.estimator.alpha_
        if solved.any():
            solved[solved] = solve_ridge(group.subset(solved), penalties[solved])
        return solved

    def _check_rows(self, group: PreparedJobs, rows: Rows) -> None:
        """Raise where there is but one row to leave out and nothing to fit without it."""
        weights = np.ones(group.shape[0])[rows] if group.weights is None else group.weights[rows]
        if self.fit_intercept and np.count_nonzero(weights) < 2:
            raise ValueError(
                f"{type(self).__name__}: leaving out one row takes at least 2 rows of positive weight, got "
                f"one (n_samples={len(weights)})"
            )

    def _choose(self, group: PreparedJobs, rows: Rows, squares: Floats, residuals: Floats | None) -> None:
        """Set alpha_, best_score_ and cv_results_ from sums of squared errors (alphas, targets)."""
        alphas = np.array(self._penalty_list())
        y = self._numbers(group.dataset)
        weights = None if group.weights is None else group.weights[rows].astype(np.float64)
        one_each = y.ndim == 2 and bool(getattr(self, "alpha_per_target", False))
        self.__dict__.pop("cv_results_", None)
        n = len(y[rows])
        left_out: Floats | None = None
        if residuals is not None:
            residuals = residuals[rows]
        if self.scoring is None:
            scores = -squares / n
            if not one_each:
                scores = scores.mean(axis=1)
            if residuals is not None:
                left_out = np.square(residuals)
                if weights is not None:
                    left_out *= weights[:, None, None]
        else:
            assert residuals is not None
            truth = y[rows].astype(np.float64)
            left_out = truth.reshape(n, -1, 1) - residuals
            score = self._row_scorer(truth, weights)
            if one_each:
                scores = np.array(
                    [[score(p, k) for k, p in enumerate(each.T)] for each in _last_first(left_out)]
                )
            else:
                scores = np.array(
                    [score(each if y.ndim == 2 else each[:, 0]) for each in _last_first(left_out)]
                )
        if one_each and squares.shape[1] > 1:
            best = _first_best(scores)
            self.alpha_: Any = alphas[best]
            self.best_score_: Any = scores[best, np.arange(len(best))]
        else:
            place = int(_first_best(scores.reshape(len(alphas), -1)[:, 0]))
            self.alpha_ = float(alphas[place])
            self.best_score_ = scores[place] if one_each else float(scores[place])
        if self.store_cv_results:
            assert left_out is not None
            self.cv_results_ = (left_out if y.ndim == 2 else left_out[:, 0]).astype(group.dtype)

    def _numbers(self, dataset: Dataset) -> NDArray[Any]:
        """What is regressed on."""
        return dataset.targets(self)

    def _row_scorer(self, truth: Floats, weights: Floats | None) -> Callable[..., float]:
        """score(predictions, target=None): what `scoring` says of predictions of rows left out."""
        scorer = self._get_scorer()
        extra = {} if weights is None else {"sample_weight": weights}

        def score(predictions: Floats, target: int | None = None) -> float:
            wanted = truth if target is None or truth.ndim == 1 else truth[:, target]
            value: float = scorer(_IdentityRegressor(), predictions, wanted, **extra)
            return value

        return score

    # --- leaving out folds ---

    @classmethod
    def _choose_by_folds(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> None:
        """Fit the jobs with the penalties that score best on folds left out of their training rows.

        The folds of all jobs are splits of one population, together with the training rows themselves.
        """
        plan = InnerSplits(dataset, splits)
        of = [plan.add(job) for job in jobs]
        inner = Splits(splits.n_rows, plan.pairs)
        scores = cls._fold_scores(jobs, of, dataset, inner)
        final: list[Job] = []
        for job, (first, last), values in zip(jobs, of, scores, strict=True):
            alphas = job.estimator._penalty_list()
            means = values.reshape(len(alphas), last - first).mean(axis=1)
            if not np.isfinite(means).all():
                warnings.warn(
                    f"One or more of the test scores are non-finite: {means}", UserWarning, stacklevel=2
                )
            best = int(_first_best(means))
            job.estimator.alpha_, job.estimator.best_score_ = alphas[best], float(means[best])
            job.estimator.__dict__.pop("cv_results_", None)
            final.append(Job(job.estimator._new_member(alphas[best]), last))
        cls._member._train(final, dataset, inner)
        for job, chosen in zip(jobs, final, strict=True):
            job.estimator._take(chosen.estimator)

    def _new_member(self, alpha: float) -> Any:
        return type(self)._member(
            alpha=alpha, fit_intercept=self.fit_intercept, device=self.device, n_jobs=self.n_jobs
        )

    def _take(self, member: Any) -> None:
        """Keep what a member learned."""
        self.coef_, self.intercept_ = member.coef_, member.intercept_

    @classmethod
    def _fold_scores(
        cls, jobs: Sequence[Job], of: Sequence[tuple[int, int]], dataset: Dataset, inner: Splits
    ) -> list[Floats]:
        """Scores of every penalty on every fold, (alphas * folds,), for each job."""
        fits = [
            [Job(job.estimator, k) for _ in job.estimator._penalty_list() for k in range(first, last)]
            for job, (first, last) in zip(jobs, of, strict=True)
        ]
        summed = [i for i, job in enumerate(jobs) if job.estimator.scoring in cls._sum_scores]
        scores: list[Floats | None] = [None] * len(jobs)
        errors = cls._fold_errors([fits[i] for i in summed], dataset, inner) if summed else None
        if errors is not None:
            begin = 0
            for i in summed:
                part = slice(begin, begin + len(fits[i]))
                begin = part.stop
                score = cls._sum_scores[jobs[i].estimator.scoring]
                scores[i] = score(errors.residual[part], errors.total[part], errors.weight[part])
        asked = [i for i, known in enumerate(scores) if known is None]
        members = [
            [
                Job(job.estimator._new_member(a), job.split)
                for job, a in zip(fits[i], _penalties(fits[i]), strict=True)
            ]
            for i in asked
        ]
        cls._member._train([job for each in members for job in each], dataset, inner)
        for i, own in zip(asked, members, strict=True):
            scores[i] = _score_each(jobs[i].estimator, own, dataset, inner)
        return [each for each in scores if each is not None]

    @classmethod
    def _fold_errors(
        cls, fits: Sequence[Sequence[Job]], dataset: Dataset, inner: Splits
    ) -> LeftOutErrors | None:
        """Squared errors of every fit on its fold, of whose model nothing else is asked."""
        together = [job for each in fits for job in each]
        penalty = dict(zip(map(id, together), (a for each in fits for a in _penalties(each)), strict=True))
        weights = dataset.weights(together[0].estimator)
        if weights is not None:
            inner.assert_weight(weights)
        inner.groups = dataset.known_folds(inner.groups)

        def fitted(group: PreparedJobs) -> tuple[Any, Floats]:
            alpha = np.array([penalty[id(job)] for job in group.jobs])
            return ridge_from_columns(group, np.repeat(alpha[:, None], group.n_targets, axis=1))

        of_total = all(each[0].estimator.scoring in (None, "r2") for each in fits)
        return errors_of_fits(fitted, together, dataset, inner, of_total)


def _penalties(fits: Sequence[Job]) -> list[float]:
    """Of fits of one estimator, all folds of a penalty before the next penalty."""
    alphas: list[float] = fits[0].estimator._penalty_list()
    return [alpha for alpha in alphas for _ in range(len(fits) // len(alphas))]


def _score_each(owner: Any, members: Sequence[Job], dataset: Dataset, inner: Splits) -> Floats:
    """The owner's scorer on every member and its fold."""
    scorer = owner._get_scorer()
    weights = dataset.weights(owner)
    if weights is not None and not _takes_weights(scorer):
        warnings.warn(
            f"The scoring {scorer} does not support sample_weight, which may lead to statistically incorrect "
            f"results when fitting {owner} with sample_weight. ",
            stacklevel=2,
        )
        weights = None
    scores = np.empty(len(members))
    for split in sorted({member.split for member in members}):
        rows = inner.test_rows(split)
        X, y = _safe_indexing(dataset.X, rows), _safe_indexing(dataset.y, rows)
        extra = {} if weights is None else {"sample_weight": weights[rows]}
        for i, member in enumerate(members):
            if member.split == split:
                scores[i] = scorer(member.estimator, X, y, **extra)
    return scores


def _takes_weights(scorer: Any) -> bool:
    """Whether a scorer takes sample_weight."""
    if hasattr(scorer, "_accept_sample_weight"):
        return bool(scorer._accept_sample_weight())
    return "sample_weight" in signature(scorer).parameters


def _last_first(array: Floats) -> Floats:
    """(rows, targets, alphas) as (alphas, rows, targets)."""
    moved: Floats = np.moveaxis(array, -1, 0)
    return moved


def _first_best(scores: Floats) -> NDArray[np.int64]:
    """Place of the first largest score along the first axis; NaN is less than any."""
    best: NDArray[np.int64] = np.argmax(np.where(np.isnan(scores), -np.inf, scores), axis=0)
    return best


Results = list[tuple[Floats, Floats | None, bool]]


def _leave_one_out(group: PreparedJobs) -> Results:
    """Squared errors of every row left out, summed, for each job, and the residuals where they are needed."""
    results: Results = [(np.empty(0), None, False)] * len(group.jobs)

    def attempt(part: PreparedJobs, form: Any) -> NDArray[np.bool_]:
        models = [job.estimator for job in part.jobs]
        jobs = (
            part.splits,
            part.fit_intercept,
            [model._penalty_list() for model in models],
            [bool(model.store_cv_results or model.scoring is not None) for model in models],
            part.execution,
        )
        data = form, part.X, part.Y, part.weights
        if part.dual:
            found = part.kernels.ridge_loo_dual(*data, part.folds, *jobs)
        else:
            part.dataset.passes.append("leave-one-out")
            found = part.kernels.ridge_loo(*data, *jobs)
        for job, result in zip(part.jobs, found, strict=True):
            results[place[id(job)]] = result
        return np.array([reliable for _, _, reliable in found])

    place = {id(job): b for b, job in enumerate(group.jobs)}
    if group.dual:
        group.solve_dual(attempt)
        return results
    by_svd = np.array([getattr(job.estimator, "gcv_mode", None) == "svd" for job in group.jobs])
    solved = np.zeros(len(group.jobs), dtype=bool)
    if not by_svd.all():
        part = group.subset(~by_svd)
        solved[~by_svd] = attempt(part, part.gram())
    if not solved.all():
        part = group.subset(~solved)
        qr = part.qr()
        if not qr.finite:
            part.dataset.assert_finite(part.owner)
        solved[~solved] = attempt(part, qr)
    return results


class RidgeCV(RidgeSelection, linear_model.RidgeCV):  # type: ignore[misc]
    """Ridge regression that chooses its penalty by cross-validation.

    With ``cv=None`` every row is left out once, without a fit for any of them: one eigendecomposition
    and one more pass over `X` give the errors of all rows for all penalties. With folds, all fits are a
    population on one pass over `X`.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,) or float, default=(0.1, 1.0, 10.0)
        Penalties to choose from, > 0; with `cv` also 0.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not penalised.
    scoring : str, callable or None, default=None
        What the choice goes by: a scorer's name or ``scorer(estimator, X, y)``. None is the mean squared error
        of rows left out, and R^2 of folds. With ``cv=None`` a scorer is handed the predictions of the rows
        left out, all at once.
    cv : int, splitter, iterable of (train, test) or None, default=None
        None leaves out one row at a time.
    gcv_mode : {"auto", "svd", "eigen"}, default=None
        "svd" factors the rows by QR at once; otherwise that happens where the Gram would lose digits.
    store_cv_results : bool, default=False
        Whether to keep `cv_results_`; for ``cv=None`` only.
    alpha_per_target : bool, default=False
        Whether each target has a penalty of its own; for ``cv=None`` only.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    alpha_ : float or ndarray of shape (n_targets,)
        The penalty chosen; one for each target with ``alpha_per_target=True``.
    best_score_ : float or ndarray of shape (n_targets,)
        Its score. Without `scoring`, the mean squared error of rows left out, negative.
    cv_results_ : ndarray of shape (n_samples, n_alphas) or (n_samples, n_targets, n_alphas)
        Only with ``store_cv_results=True``: weighted squared errors of each row left out; with
        `scoring`, its predictions.
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`, metadata routing).

    Examples
    --------
    >>> from manyfit.linear_model import RidgeCV
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = RidgeCV(alphas=[0.001, 0.01, 0.1, 1.0]).fit(X, y)
    >>> model.alpha_, round(model.best_score_)
    (0.01, -3000)
    >>> RidgeCV(alphas=[0.001, 0.01, 0.1, 1.0], cv=5).fit(X, y).alpha_
    0.001
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.RidgeCV._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        alphas: Any = (0.1, 1.0, 10.0),
        *,
        fit_intercept: bool = True,
        scoring: Any = None,
        cv: Any = None,
        gcv_mode: str | None = None,
        store_cv_results: bool = False,
        alpha_per_target: bool = False,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            alphas=alphas,
            fit_intercept=fit_intercept,
            scoring=scoring,
            cv=cv,
            gcv_mode=gcv_mode,
            store_cv_results=store_cv_results,
            alpha_per_target=alpha_per_target,
        )
        self.device = device
        self.n_jobs = n_jobs

    def _check_loaded(self) -> None:
        super()._check_loaded()
        targets = (1,) if np.ndim(self.coef_) == 1 else np.shape(self.coef_)[:1]
        if np.shape(self.alpha_) not in ((), targets):
            raise ValueError(f"alpha_ must be a number or have shape {targets}, got {np.shape(self.alpha_)}")
