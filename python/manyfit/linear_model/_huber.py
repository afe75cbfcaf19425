"""Huber regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn import linear_model
from sklearn.utils import _safe_indexing

from manyfit._execution import backend, execution
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.linear_model._least_squares import LinearEstimator
from manyfit.linear_model._newton import FAILED, STOPPED, NewtonRegressor
from manyfit.splits import Splits

__all__ = ["HuberRegressor"]

# Residuals of so many numbers at once.
BLOCK = 1 << 22

# Of an error over the sizes of its terms, in units of the type's.
ROUNDING = 128

# Sparse X of at most so many entries, zeros counted, are made dense.
DENSE = 1 << 22

# Its square is finite, which scikit-learn's solver needs.
LARGEST_EPSILON = 1e100


class HuberRegressor(LinearEstimator, NewtonRegressor, linear_model.HuberRegressor):  # type: ignore[misc]
    """Linear regression that outliers hardly move: squared errors near the line, absolute ones far from it.

    Minimises ``sum(s (sigma + H((y - X w - c) / sigma) sigma)) + alpha ||w||^2`` over the coefficients and the scale
    ``sigma > 0``, where ``H(z)`` is ``z^2`` up to `epsilon` and ``2 epsilon |z| - epsilon^2`` beyond. Newton's
    method; the fits of a population that are still running share each pass over `X`.

    Parameters
    ----------
    epsilon : float, default=1.35
        From how many scales on an error counts as an outlier's, >= 1. The smaller, the less do outliers matter;
        1 gives least absolute deviations.
    max_iter : int, default=100
        Newton steps; a ConvergenceWarning tells where they were not enough.
    alpha : float, default=0.0001
        Strength of the penalty, >= 0.
    warm_start : bool, default=False
        Whether to start from the coefficients and the scale of the previous fit.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not penalised.
    tol : float, default=1e-05
        The largest entry of the gradient must not exceed `tol`. One more step follows, so that the answer is far closer
        to the minimum than that.
    device : "cpu", default="cpu"
        Where to compute; there is no CUDA kernel yet.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
    intercept_ : float
    scale_ : float
        ``sigma``, at least 2.2e-15.
    outliers_ : ndarray of shape (n_samples,)
        True for the training rows whose error exceeds ``epsilon * scale_``, and what rounding leaves of a perfect fit.
    n_iter_ : int
        Newton steps.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran.

    Examples
    --------
    >>> from manyfit.linear_model import HuberRegressor
    >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0], [8.0], [9.0]]
    >>> y = [0.1, 0.9, 2.1, 2.9, 4.1, 4.9, 6.1, 6.9, 8.1, 99.0]
    >>> model = HuberRegressor(alpha=0.0).fit(X, y)
    >>> model.predict([[20.0]]).round()
    array([20.])
    >>> bool(model.outliers_[9])
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.HuberRegressor._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        *,
        epsilon: float = 1.35,
        max_iter: int = 100,
        alpha: float = 0.0001,
        warm_start: bool = False,
        fit_intercept: bool = True,
        tol: float = 1e-05,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            epsilon=epsilon,
            max_iter=max_iter,
            alpha=alpha,
            warm_start=warm_start,
            fit_intercept=fit_intercept,
            tol=tol,
        )
        self.device = device
        self.n_jobs = n_jobs

    _devices: ClassVar[tuple[str, ...]] = ("cpu",)

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        owner = jobs[0].estimator
        data = [dataset.matrix(owner), owner._single_target(dataset), dataset.weights(owner)]
        X, y, _ = data
        kernels, run = backend(owner.device), execution(owner.n_jobs)
        left, done, stopped = [], [], []
        for folds, members, places in cls._grouped(jobs, splits):
            settings = [
                {
                    "split": place,
                    "fit_intercept": bool(model.fit_intercept),
                    "epsilon": float(model.epsilon),
                    "alpha": float(model.alpha),
                    "tol": float(model.tol),
                    "max_iter": int(model.max_iter),
                    "start": model._start(X.shape[1]),
                }
                for (model, _), place in zip(members, places, strict=True)
            ]
            found = kernels.huber(*data, folds, settings, run)
            dataset.passes.append("Newton steps")
            failed = [i for i, model in enumerate(found) if model[-1] == FAILED]
            if failed and X.dtype == np.float32 and np.isfinite(X).all():  # a scale below what it resolves
                wide = [None if array is None else array.astype(np.float64) for array in data]
                again = kernels.huber(*wide, folds, [settings[i] for i in failed], run)
                dataset.passes.append("Newton steps in float64")
                for i, model in zip(failed, again, strict=True):
                    found[i] = model
            for job, (coef, intercept, scale, n_iter, status) in zip(members, found, strict=True):
                if status == FAILED:  # nearly dependent columns, or data that are not finite
                    left.append(job)
                    continue
                job.estimator._store_linear(coef, intercept, X.dtype)
                job.estimator.scale_ = float(scale)
                job.estimator.n_iter_ = n_iter if job.estimator.warm_start else max(n_iter, 1)
                done.append(job)
                if status == STOPPED:
                    stopped.append(job.estimator)
        cls._mark_outliers(done, X, y, splits)
        cls._warn(stopped, len(jobs))
        return left

    @staticmethod
    def _mark_outliers(jobs: Sequence[Job], X: NDArray[Any], y: NDArray[Any], splits: Splits) -> None:
        """Set `outliers_` of the rows that each job trains on."""
        at_once = max(1, BLOCK // len(X))
        for begin in range(0, len(jobs), at_once):
            part = jobs[begin : begin + at_once]
            predictions = X @ np.column_stack([job.estimator.coef_ for job in part])
            for (model, split), prediction in zip(part, predictions.T, strict=True):
                limit = model.scale_ * model.epsilon
                rounding = ROUNDING * np.finfo(X.dtype).eps
                # Errors that are nothing but rounding count as zero.
                if limit <= rounding * np.abs(y).max() * 1e3:
                    sizes = np.abs(X) @ np.abs(model.coef_) + np.abs(y) + np.abs(model.intercept_)
                    limit = np.maximum(limit, rounding * sizes)
                mask = np.abs(y - prediction - model.intercept_) > limit
                model.outliers_ = mask if splits.pairs is None else mask[splits.train_rows(split)]

    def _start(self, n_features: int) -> NDArray[np.float64] | None:
        """Where to begin: the previous solution, or nowhere in particular."""
        if not self.warm_start or len(self.__dict__.get("coef_", ())) != n_features:
            return None
        return np.concatenate((self.coef_, [self.intercept_, self.scale_])).astype(np.float64)

    @classmethod
    def _score_population(
        cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits, metric: str = "score"
    ) -> NDArray[np.float64] | None:
        return None if dataset.sparse else super()._score_population(jobs, dataset, splits, metric)

    def _fit_sklearn(self, dataset: Dataset, splits: Splits | None, split: int) -> None:
        if not (dataset.sparse and dataset.X.shape[0] * dataset.X.shape[1] <= DENSE):
            return super()._fit_sklearn(dataset, splits, split)
        rows = slice(None) if splits is None or splits.pairs is None else splits.train_rows(split)
        y, weights = dataset.y, dataset.sample_weight
        dense = Dataset(
            dataset.X.tocsr()[rows].toarray(),
            None if y is None else _safe_indexing(y, rows),
            weights if weights is None or np.ndim(weights) == 0 else _safe_indexing(weights, rows),
        )
        self._train([Job(self, 0)], dense, None)

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        epsilon = self.get_params()["epsilon"]
        try:
            self.epsilon = min(epsilon, LARGEST_EPSILON)
            super()._sklearn_fit(X, y, **extra)
        except ValueError as error:
            if "convergence failed" not in str(error):
                raise
            raise ValueError(
                f"{type(self).__name__}: no minimum was found; the columns of X and y should be of similar scale, "
                f"and their squares finite ({error})"
            ) from error
        finally:
            self.epsilon = epsilon

    def _check_loaded(self) -> None:
        """Raise ValueError where fitted attributes do not belong together."""
        NewtonRegressor._check_loaded(self)
        if np.shape(self.scale_) != () or not self.scale_ > 0:
            raise ValueError(f"scale_ must be a number > 0, got {self.scale_!r}")
        if np.ndim(self.outliers_) != 1 or np.asarray(self.outliers_).dtype != bool:
            raise ValueError(f"outliers_ must be booleans, one a row, got shape {np.shape(self.outliers_)}")
