"""What the regressors share that Newton's method fits, job by job over shared passes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import column_or_1d

from manyfit._native import core
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.splits import Splits

__all__ = ["CONVERGED", "FAILED", "STOPPED", "NewtonRegressor"]

# How a job ended, as cpp/linear_model/newton.h counts.
CONVERGED, STOPPED, FAILED = 0, 1, 2

# The matrix of second derivatives is dense: with more columns scikit-learn's solver is the better choice.
WIDEST = 1000


class NewtonRegressor(Estimator):
    """A regressor of one target."""

    def _runs_here(self, dataset: Dataset) -> bool:
        return super()._runs_here(dataset) and dataset.matrix(self).shape[1] <= WIDEST

    def _single_target(self, dataset: Dataset) -> NDArray[Any]:
        """`y` as a vector in the dtype of `X`."""
        y = dataset.targets(self)
        if y.ndim == 2:
            y = np.ascontiguousarray(column_or_1d(y, warn=True))
        if not np.isfinite(y).all():
            dataset.assert_finite(self)
        return y

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        # The class that follows in the method resolution order: a name in scikit-learn's modules may be replaced.
        super().fit(X, y, **extra)
        if not (np.isfinite(self.coef_).all() and np.isfinite(self.intercept_)):
            raise ValueError(
                f"{type(self).__name__}: X and y must be of a scale that leaves coefficients finite"
            )

    @staticmethod
    def _grouped(jobs: Sequence[Job], splits: Splits) -> Iterator[tuple[core.Folds, list[Job], list[int]]]:
        """Jobs by the group of splits they belong to, with each one's place in it."""
        for folds in splits.groups:
            place = {split: i for i, split in enumerate(folds.splits)}
            members = [job for job in jobs if job.split in place]
            if members:
                yield folds, members, [place[job.split] for job in members]

    @classmethod
    def _warn(cls, stopped: Sequence[Any], n_jobs: int) -> None:
        """Tell of models whose iterations were used up."""
        if stopped:
            which = f"{len(stopped)} of {n_jobs} fits" if n_jobs > 1 else "the fit"
            limit = max(int(model.max_iter) for model in stopped)
            warnings.warn(
                f"{cls.__name__}: {which} did not converge within max_iter={limit} iterations; increase max_iter, "
                "scale the data, or use a larger tol",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _store_linear(self, coef: NDArray[np.float64], intercept: float, dtype: np.dtype[Any]) -> None:
        with np.errstate(over="ignore"):
            self.coef_: NDArray[Any] = coef.astype(dtype)
            self.intercept_: Any = dtype.type(intercept) if self.fit_intercept else 0.0
        if not (np.isfinite(self.coef_).all() and np.isfinite(self.intercept_)):
            raise ValueError(
                f"{type(self).__name__}: X and y must be of a scale that leaves coefficients finite"
            )

    def _check_loaded(self) -> None:
        """Raise ValueError where fitted attributes do not belong together."""
        if self.coef_.shape != (self.n_features_in_,) or self.coef_.dtype.kind != "f":
            raise ValueError(
                f"coef_ must be floats of shape {(self.n_features_in_,)}, got {self.coef_.dtype} of shape "
                f"{self.coef_.shape}"
            )
        if np.shape(self.intercept_) != ():
            raise ValueError(f"intercept_ must be a number, got shape {np.shape(self.intercept_)}")
