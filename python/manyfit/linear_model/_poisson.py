"""Poisson regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import linear_model

from manyfit._execution import backend, execution
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset, plain
from manyfit.linear_model._newton import FAILED, STOPPED, NewtonRegressor
from manyfit.splits import Splits

__all__ = ["PoissonRegressor"]


class PoissonRegressor(NewtonRegressor, linear_model.PoissonRegressor):  # type: ignore[misc]
    """Poisson regression with logarithmic link and l2 penalty, for counts and rates.

    Minimises the mean of ``exp(m) - y m`` plus ``alpha / 2 ||w||^2`` with ``m = X w + c``, by Newton's method; the
    fits of a population that are still running share each pass over `X`.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, >= 0.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not penalised.
    solver : {"lbfgs", "newton-cholesky"}, default="lbfgs"
        Either gives Newton's method on dense `X`. On sparse `X`, and with more than 1000 features,
        scikit-learn's solver of that name runs.
    max_iter : int, default=100
        Newton steps; a ConvergenceWarning tells where they were not enough.
    tol : float, default=1e-4
        The largest entry of the gradient must not exceed `tol`. One more step follows, so that the answer is far closer
        to the minimum than that.
    warm_start : bool, default=False
        Whether to start from the coefficients of the previous fit.
    verbose : int, default=0
        For scikit-learn's solvers.
    device : "cpu", default="cpu"
        Where to compute; there is no CUDA kernel yet.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
    intercept_ : float
    n_iter_ : int
        Newton steps.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran.

    Examples
    --------
    >>> from manyfit.linear_model import PoissonRegressor
    >>> model = PoissonRegressor(alpha=0.0).fit([[0.0], [1.0], [2.0]], [1.0, 2.0, 4.0])
    >>> model.predict([[3.0]]).round(6)
    array([8.])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.PoissonRegressor._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "lbfgs",
        max_iter: int = 100,
        tol: float = 1e-4,
        warm_start: bool = False,
        verbose: int = 0,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            fit_intercept=fit_intercept,
            solver=solver,
            max_iter=max_iter,
            tol=tol,
            warm_start=warm_start,
            verbose=verbose,
        )
        self.device = device
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples,)
            Values >= 0, not all zero; None when `X` is a Dataset.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights >= 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter that breaks its rule, for negative `y`, and for data that is not finite, empty or of
            unequal length.
        """
        return self._fit_one(X, y, sample_weight)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict mean targets, ``exp(X w + c)``.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        # As in the linear models: NaN and infinity in X show in the answer, and the general path says so.
        coef = self.__dict__.get("coef_")
        named = "feature_names_in_" in self.__dict__
        if coef is not None and not named and plain(X, 2) and X.shape[1] == len(coef):
            with np.errstate(invalid="ignore", over="ignore"):
                answer: NDArray[Any] = X @ coef
                answer += self.intercept_
                ok = np.isfinite(answer.sum())
                if ok:
                    np.exp(answer, out=answer)
                    return answer
        general: NDArray[Any] = super().predict(X)
        return general

    # scikit-learn keeps its loss as a fitted attribute; it follows from the class.
    @property
    def _base_loss(self) -> Any:
        return self._get_loss()

    @_base_loss.setter
    def _base_loss(self, loss: Any) -> None:
        pass

    def _runs_here(self, dataset: Dataset) -> bool:
        return isinstance(self.solver, str) and super()._runs_here(dataset)

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        owner = jobs[0].estimator
        X, y, weights = dataset.matrix(owner), owner._single_target(dataset), dataset.weights(owner)
        if (y < 0).any():
            row = int(np.argmax(y < 0))
            raise ValueError(
                f"PoissonRegressor: y must be >= 0, got {y[row]} for sample {row} (Some value(s) of y are out of the "
                "valid range of the loss 'HalfPoissonLoss'.)"
            )
        kernels, run = backend(owner.device), execution(owner.n_jobs)
        left, stopped = [], []
        for folds, members, places in cls._grouped(jobs, splits):
            settings = [
                {
                    "split": place,
                    "fit_intercept": bool(model.fit_intercept),
                    "alpha": float(model.alpha),
                    "tol": float(model.tol),
                    "max_iter": int(model.max_iter),
                    "start": model._start(X.shape[1]),
                }
                for (model, _), place in zip(members, places, strict=True)
            ]
            found = kernels.poisson(X, y, weights, folds, settings, run)
            dataset.passes.append("Newton steps")
            for job, (coef, intercept, n_iter, status) in zip(members, found, strict=True):
                if status == FAILED:  # no single minimum, or data that are not finite
                    left.append(job)
                    continue
                job.estimator._store_linear(coef, intercept, X.dtype)
                job.estimator.n_iter_ = max(n_iter, 1)
                if status == STOPPED:
                    stopped.append(job.estimator)
        cls._warn(stopped, len(jobs))
        return left

    def _start(self, n_features: int) -> NDArray[np.float64] | None:
        """Where to begin: the previous solution, or nowhere in particular."""
        if not self.warm_start or len(self.__dict__.get("coef_", ())) != n_features:
            return None
        return np.append(self.coef_, self.intercept_).astype(np.float64)
