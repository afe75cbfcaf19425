"""What the least-squares estimators share: the prepared forms, the guarded path, prediction and scores."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from manyfit._device_answers import also_on_device, answered
from manyfit._device_arrays import on_host
from manyfit._execution import backend, execution
from manyfit._native import core
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset, plain
from manyfit.splits import Splits

__all__ = ["LeftOutErrors", "LinearEstimator", "PreparedJobs", "grouped", "left_out_errors", "r2"]


# Share of a sum of squares that may be rounding.
KEPT_DOUBLE, KEPT_SINGLE = 5e-10, 1e-5

# Answers of so many numbers at once.
BLOCK = 1 << 22

# Where rows are fewer than columns, non-negative fits still take a Gram of up to so many columns.
WIDEST_GRAM = 1000


class PreparedJobs:
    """Jobs of one group of splits, with the forms of the data that serve them.

    Forms are made on first use, so that a well-conditioned problem costs one pass over X.
    """

    def __init__(
        self, jobs: Sequence[Job], places: Sequence[int], dataset: Dataset, folds: core.Folds
    ) -> None:
        self.jobs = jobs
        self.splits = list(places)  # each job's split, counted within the group
        self.dataset = dataset
        self.folds = folds
        first = jobs[0].estimator
        self.owner = first
        self.kernels = backend(first.device)
        self.execution = execution(first.n_jobs)
        self.shape = dataset.shape(first)
        self.dtype = dataset.dtype(first)
        self.n_targets = dataset.n_targets(first)
        self.fit_intercept = [bool(job.estimator.fit_intercept) for job in jobs]
        self._double: tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None] | None = None

    # The rows, for who needs more than forms that are made already: a dataset may have to make them.

    @property
    def X(self) -> NDArray[Any]:
        return self.dataset.matrix(self.owner) if self._double is None else self._double[0]

    @property
    def Y(self) -> NDArray[Any]:
        """Targets of shape (n_samples, n_targets)."""
        return self.dataset.targets_2d(self.owner) if self._double is None else self._double[1]

    @property
    def weights(self) -> NDArray[Any] | None:
        return self.dataset.weights(self.owner) if self._double is None else self._double[2]

    @property
    def dual(self) -> bool:
        """Whether inner products of the rows are the smaller problem."""
        return self.shape[0] < self.shape[1]

    @property
    def too_wide_for_gram(self) -> bool:
        """Whether a Gram of the columns would be far larger than `X`."""
        return self.dual and self.shape[1] > WIDEST_GRAM

    def in_double(self) -> PreparedJobs:
        """The same computed in float64, from a copy of the data."""
        wide = copy.copy(self)
        wide.dtype = np.dtype(np.float64)
        weights = None if self.weights is None else self.weights.astype(np.float64)
        wide._double = self.X.astype(np.float64), self.Y.astype(np.float64), weights
        return wide

    def subset(self, chosen: NDArray[np.bool_]) -> PreparedJobs:
        """The same with some of the jobs."""
        indices = np.flatnonzero(chosen).tolist()
        part = copy.copy(self)
        part.jobs = [self.jobs[i] for i in indices]
        part.splits = [self.splits[i] for i in indices]
        part.fit_intercept = [self.fit_intercept[i] for i in indices]
        return part

    def gram(self) -> core.FoldGram:
        """Second moments of every atom; raises for data that is not finite."""

        def make() -> core.FoldGram:
            rows = self.dataset.placed(self.kernels, self.owner) if self._double is None else self._double
            gram: core.FoldGram = self.kernels.fold_gram(*rows, self.folds, self.execution)
            if not gram.finite:
                self.dataset.assert_finite(self.owner)
            return gram

        return self.dataset.form("fold Gram", self.folds, make, self.kernels)

    @property
    def has_gram(self) -> bool:
        """Whether :meth:`gram` costs nothing any more."""
        return self.dataset.made("fold Gram", self.folds, self.kernels) is not None

    def qr(self) -> core.FoldQR:
        """Triangular factor of every atom."""

        def make() -> core.FoldQR:
            qr: core.FoldQR = self.kernels.fold_qr(self.X, self.Y, self.weights, self.folds, self.execution)
            return qr

        return self.dataset.form("fold QR", self.folds, make)

    def row_gram(self) -> core.RowGram:
        """Inner products of the rows; raises for data that is not finite."""

        def make() -> core.RowGram:
            gram: core.RowGram = self.kernels.row_gram(self.X, self.execution)
            return gram

        widened = self._double is not None
        gram = self.dataset.form("row Gram in float64" if widened else "row Gram", None, make)
        if not (gram.finite and np.isfinite(self.Y).all()):
            self.dataset.assert_finite(self.owner)
        return gram

    def row_qr(self) -> core.RowQR:
        """Triangular factor of the rows as columns."""

        def make() -> core.RowQR:
            qr: core.RowQR = self.kernels.row_qr(self.X, self.execution)
            return qr

        return self.dataset.form("row QR", None, make)

    def solve_dual(
        self, attempt: Callable[[PreparedJobs, core.RowGram | core.RowQR], NDArray[np.bool_]]
    ) -> NDArray[np.bool_]:
        """Fit the jobs from forms of the rows, each more accurate and costlier than the one before.

        `attempt` fits jobs from a form, and says which of them it answered well enough.
        """
        solved = attempt(self, self.row_gram())
        if not solved.all() and self.dtype == np.float32:
            left = self.subset(~solved).in_double()
            solved[~solved] = attempt(left, left.row_gram())
        if not solved.all():
            left = self.subset(~solved)
            solved[~solved] = attempt(left, left.row_qr())
        return solved


class LinearEstimator(Estimator):
    """A linear model that least squares fits."""

    _devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    _answer_on_device = answered

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            None when `X` is a Dataset.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights >= 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter that breaks its rule and for data that is not finite, empty or of unequal length.
        """
        return self._fit_one(X, y, sample_weight)

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        left: list[Job] = []
        for group in grouped(jobs, dataset, splits):
            solved = cls._solve(group)
            for job, ok in zip(group.jobs, solved, strict=True):
                if not ok:
                    left.append(job)
        return left

    @classmethod
    def _solve(cls, group: PreparedJobs) -> NDArray[np.bool_]:
        """Fit the jobs; False for those that are left to scikit-learn."""
        raise NotImplementedError

    def _store(self, dataset: Dataset, coef: NDArray[Any], intercept: NDArray[Any]) -> None:
        """Keep coef (targets, features) and intercept (targets,) as scikit-learn shapes and types them."""
        # astype copies: the population's own array would otherwise live as long as one of its models
        with np.errstate(over="ignore"):
            coef, intercept = (array.astype(dataset.dtype(self)) for array in (coef, intercept))
        single = dataset.single_target(self)
        self.coef_: Any = coef[0] if single else coef
        if not self.fit_intercept:
            self.intercept_: Any = 0.0
        else:
            self.intercept_ = intercept[0] if single else intercept
        if not self._finite:  # finite data were of a scale that overflowed
            self._refuse_scale(dataset.matrix(self))

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        # The class that follows in the method resolution order: a name in scikit-learn's modules may be replaced.
        try:
            super().fit(X, y, **extra)
        except np.linalg.LinAlgError as error:
            self._refuse_scale(X, error)
        if not self._finite:
            self._refuse_scale(X)

    @property
    def _finite(self) -> bool:
        return bool(np.isfinite(self.coef_).all() and np.isfinite(self.intercept_).all())

    def _refuse_scale(self, X: Any, cause: Exception | None = None) -> NoReturn:
        entries: Any = X
        if issparse(X):
            entries = entries.data
        size = np.abs(np.asarray(entries, dtype=np.float64))
        raise ValueError(
            f"{type(self).__name__}: X and y must be of a scale that leaves coefficients finite; "
            f"sizes in X reach from {size[size > 0].min(initial=np.inf):.3g} to {size.max():.3g}"
        ) from cause

    @classmethod
    def _score_population(
        cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits, metric: str = "score"
    ) -> NDArray[np.float64] | None:
        """R^2 or squared errors of every job on its left-out rows, from their moments."""
        of_total = metric in ("score", "r2")
        if not of_total and metric not in ("neg_mean_squared_error", "neg_root_mean_squared_error"):
            return None
        errors = left_out_errors(jobs, dataset, splits, of_total)
        if errors is None:
            return None
        if of_total:
            return r2(errors.residual, errors.total)
        means = errors.residual / errors.weight[:, None]
        if metric == "neg_root_mean_squared_error":
            means = np.sqrt(means)
        scores: NDArray[np.float64] = -means.mean(axis=1)
        return scores

    @also_on_device
    def predict(self, X: Any) -> Any:
        """Predict targets.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            An array of the kind of `X`, on its device, where `X` lies on one.
        """
        answer = self._combined(X)
        if answer is None:
            answer = super().predict(X)
        return answer

    @also_on_device
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination of the predictions; of classifiers, the share that is right.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        return float(super().score(X, on_host(y, "y"), on_host(sample_weight, "sample_weight")))

    def _combined(self, X: Any) -> NDArray[Any] | None:
        """X @ coef_.T + intercept_ in the common case, without scikit-learn's general checks; None otherwise.

        NaN and infinity in X show in the answer, and then the general path says so.
        """
        coef = self.__dict__.get("coef_")
        named = "feature_names_in_" in self.__dict__
        if coef is not None and not named and plain(X, 2) and X.shape[1] == coef.shape[-1]:
            with np.errstate(invalid="ignore", over="ignore"):
                answer: NDArray[Any] = X @ coef.T + self.intercept_
                ok = np.isfinite(answer.sum())
            if ok:
                return answer
        return None

    def _check_loaded(self) -> None:
        """Raise ValueError where fitted attributes do not belong together."""
        coef, intercept = np.asarray(self.coef_), np.asarray(self.intercept_)
        if coef.dtype.kind != "f" or intercept.dtype.kind != "f":
            raise ValueError(f"coef_ and intercept_ must be floats, got {coef.dtype} and {intercept.dtype}")
        if coef.ndim not in (1, 2) or coef.shape[-1] != self.n_features_in_:
            raise ValueError(f"coef_ must have {self.n_features_in_} columns, got shape {coef.shape}")
        targets = (1,) if coef.ndim == 1 else coef.shape[:1]
        if intercept.shape not in ((), targets):
            raise ValueError(f"intercept_ must be a number or have shape {targets}, got {intercept.shape}")


def grouped(jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Iterator[PreparedJobs]:
    """Jobs by the group of splits they belong to."""
    for folds in splits.groups:
        place = {split: i for i, split in enumerate(folds.splits)}
        members = [job for job in jobs if job.split in place]
        if members:
            yield PreparedJobs(members, [place[job.split] for job in members], dataset, folds)


class LeftOutErrors(NamedTuple):
    """Weighted sums over the rows that jobs leave out."""

    residual: NDArray[np.float64]  # (jobs, targets) of squared errors
    total: NDArray[np.float64]  # (jobs, targets) of squares of the target about its mean
    weight: NDArray[np.float64]  # (jobs,)


def left_out_errors(
    jobs: Sequence[Job], dataset: Dataset, splits: Splits, against_total: bool = True
) -> LeftOutErrors | None:
    """Squared errors of every job on its left-out rows, and squares of these about their mean.

    From the rows' moments, without a pass over X; where these would lose digits, from the rows. It is the digits of
    residual / total that are kept, or those of the residual with ``against_total=False``. None where there is no such
    way.
    """
    if any(job.estimator.fit_backend_ != "manyfit" for job in jobs):
        return None
    place = {id(job.estimator): i for i, job in enumerate(jobs)}
    found: LeftOutErrors | None = None
    for group in grouped(jobs, dataset, splits):
        if group.dual or min(len(splits.test_rows(job.split)) for job in group.jobs) < 2:
            return None
        coef = np.stack([np.atleast_2d(job.estimator.coef_) for job in group.jobs]).astype(np.float64)
        targets = group.n_targets
        intercept = np.stack(
            [np.broadcast_to(np.asarray(job.estimator.intercept_, np.float64), targets) for job in group.jobs]
        )
        residual, total, rounding, total_rounding, weight = core.squared_errors(
            group.gram(), group.splits, coef, intercept, group.execution
        )
        if not (weight > 0).all():
            return None
        share = KEPT_DOUBLE if group.dtype == np.float64 else KEPT_SINGLE
        measure = np.maximum(residual, total) if against_total else residual
        exact = ((rounding <= share * measure) & (total_rounding <= share * total)).all(axis=1)
        if not exact.all():
            left = np.flatnonzero(~exact)
            residual[left], total[left] = _errors_of_rows(group, left, coef, intercept, splits)
        if found is None:
            found = LeftOutErrors(
                np.empty((len(jobs), targets)), np.empty((len(jobs), targets)), np.empty(len(jobs))
            )
        rows = [place[id(job.estimator)] for job in group.jobs]
        for whole, part in zip(found, (residual, total, weight), strict=True):
            whole[rows] = part
    return found


def _errors_of_rows(
    group: PreparedJobs,
    chosen: NDArray[np.intp],
    coef: NDArray[np.float64],
    intercept: NDArray[np.float64],
    splits: Splits,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of squared errors, and of squares of the targets, of some jobs of a group, by predicting."""
    targets = group.n_targets
    residual, total = np.empty((len(chosen), targets)), np.empty((len(chosen), targets))
    by_split: dict[int, list[int]] = {}
    for i, b in enumerate(chosen.tolist()):
        by_split.setdefault(group.jobs[b].split, []).append(i)
    for split, members in by_split.items():
        rows = splits.test_rows(split)
        X, Y = group.X[rows], group.Y[rows]
        weights = None if group.weights is None else group.weights[rows].astype(np.float64)
        mean = np.average(Y, axis=0, weights=weights)
        squares = (Y - mean) ** 2
        ones = np.ones(len(rows)) if weights is None else weights
        at_once = max(1, BLOCK // (len(rows) * targets))
        for begin in range(0, len(members), at_once):
            part = members[begin : begin + at_once]
            stacked = coef[chosen[part]].reshape(-1, X.shape[1]).astype(X.dtype)
            answers = X @ stacked.T + intercept[chosen[part]].reshape(-1).astype(X.dtype)
            errors = answers.reshape(len(rows), len(part), targets) - Y[:, None]
            residual[part] = np.tensordot(ones, errors.astype(np.float64) ** 2, 1)
            total[part] = ones @ squares.astype(np.float64)
    return residual, total


def r2(residual: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over targets of 1 - residual / total, for each job; constant targets as r2_score has them."""
    exact = residual == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(total > 0, 1 - residual / total, np.where(exact, 1.0, 0.0))
    scores: NDArray[np.float64] = values.mean(axis=1)
    return scores
