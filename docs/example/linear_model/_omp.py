"""Orthogonal matching pursuit."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import linear_model

from manyfit.base import Estimator
from manyfit.dataset import Dataset
from manyfit.linear_model._least_squares import LinearEstimator, PreparedJobs

__all__ = ["OrthogonalMatchingPursuit"]


class OrthogonalMatchingPursuit(LinearEstimator, linear_model.OrthogonalMatchingPursuit):  # type: ignore[misc]
    """Linear regression on few columns, taken one by one.

    Takes the column that the residual leans on most, fits least squares on the columns taken so far, and
    repeats. All counts and folds of a population share one pass over `X`, and the counts of a fold one run.

    Parameters
    ----------
    n_nonzero_coefs : int, default=None
        Number of columns to take; None: a tenth of them, at least one.
    tol : float, default=None
        Go on until the squared residual is at most this, whatever `n_nonzero_coefs`. Runs in scikit-learn.
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    precompute : bool or "auto", default="auto"
        For scikit-learn's own solver.
    device : {"cpu", "cuda"}, default="cpu"
        Where to compute.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    n_nonzero_coefs_ : int or None
    n_iter_ : int or list of int
    n_features_in_ : int
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran.

    Examples
    --------
    >>> from manyfit.linear_model import OrthogonalMatchingPursuit
    >>> X, y = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [1.0, 0.0, 1.0]
    >>> OrthogonalMatchingPursuit(n_nonzero_coefs=1).fit(X, y).coef_.round(6)
    array([1., 0.])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.OrthogonalMatchingPursuit._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        *,
        n_nonzero_coefs: int | None = None,
        tol: float | None = None,
        fit_intercept: bool = True,
        precompute: bool | str = "auto",
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            n_nonzero_coefs=n_nonzero_coefs, tol=tol, fit_intercept=fit_intercept, precompute=precompute
        )
        self.device = device
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            None when `X` is a Dataset.

        Returns
        -------
        self
        """
        return self._fit_one(X, y)

    def _runs_here(self, dataset: Dataset) -> bool:
        return super()._runs_here(dataset) and self.tol is None

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        linear_model.OrthogonalMatchingPursuit.fit(self, X, y)

    def _count(self, n_features: int) -> int:
        """How many columns to take."""
        count = self.n_nonzero_coefs
        if count is None:
            return max(n_features // 10, 1)
        if count > n_features:
            raise ValueError(
                f"OrthogonalMatchingPursuit: n_nonzero_coefs must be at most {n_features}, got {count}"
            )
        return int(count)

    @classmethod
    def _solve(cls, group: PreparedJobs) -> NDArray[np.bool_]:
        if group.weights is not None:
            raise ValueError(f"{cls.__name__}: sample_weight must be None, as it takes no weights")
        counts = [job.estimator._count(group.X.shape[1]) for job in group.jobs]
        coef, intercept, reliable = group.kernels.omp(
            group.gram(), group.splits, group.fit_intercept, counts, group.execution
        )
        for b in np.flatnonzero(reliable).tolist():
            model = group.jobs[b].estimator
            model._store(group.dataset, coef[b], intercept[b])
            model.n_nonzero_coefs_ = counts[b]
            targets = group.Y.shape[1]
            model.n_iter_ = counts[b] if targets == 1 else [counts[b]] * targets
        solved: NDArray[np.bool_] = reliable
        return solved
