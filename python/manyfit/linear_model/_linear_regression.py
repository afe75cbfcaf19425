"""Ordinary least squares."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn import linear_model

from manyfit._native import core
from manyfit.base import Estimator
from manyfit.linear_model._least_squares import LinearEstimator, PreparedJobs

__all__ = ["LinearRegression"]


class LinearRegression(LinearEstimator, linear_model.LinearRegression):  # type: ignore[misc]
    """Ordinary least squares.

    Minimises ``||y - X w||^2`` over `w`; of several minima, the one of least norm. Fitted from the Gram
    of the centred data in one pass over `X`; where that would lose digits (the Gram squares the condition
    number) or `X` has not full rank, from a QR factorisation of the rows.

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether to fit an intercept; False takes `X` and `y` as centred.
    copy_X : bool, default=True
        Accepted for compatibility: `X` is never changed.
    tol : float, default=1e-6
        Singular values of the centred `X` at most `tol` times the largest count as zero.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.
    positive : bool, default=False
        Whether to require coefficients >= 0.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    rank_ : int
        Rank of the centred `X`. Not set when ``positive=True``.
    singular_ : ndarray of shape (min(n_samples, n_features),)
        Singular values of the centred `X`. Not set when ``positive=True``.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`).

    Examples
    --------
    >>> from manyfit.linear_model import LinearRegression
    >>> model = LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> model.coef_.round(6), round(float(model.intercept_), 6)
    (array([2.]), 1.0)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.LinearRegression._parameter_constraints,
        "device": Estimator._parameter_constraints["device"],
    }

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        tol: float = 1e-6,
        n_jobs: int | None = None,
        positive: bool = False,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            fit_intercept=fit_intercept, copy_X=copy_X, tol=tol, n_jobs=n_jobs, positive=positive
        )
        self.device = device

    @classmethod
    def _solve(cls, group: PreparedJobs) -> NDArray[np.bool_]:
        positive = np.array([job.estimator.positive for job in group.jobs])
        solved = np.ones(len(group.jobs), dtype=bool)
        if positive.any():
            solved[positive] = _solve_positive(group.subset(positive))
        if not positive.all():
            solved[~positive] = _solve_least_norm(group.subset(~positive))
        return solved


def _solve_least_norm(group: PreparedJobs) -> NDArray[np.bool_]:
    if group.dual:
        return group.solve_dual(_attempt_dual)
    kernels = group.kernels
    # Jobs may differ in tol alone: it is the largest that decides whether the Gram will do.
    cutoff = max(float(job.estimator.tol) for job in group.jobs)
    result = kernels.linear_regression(
        group.gram(), group.splits, group.fit_intercept, cutoff, group.execution
    )
    reliable: NDArray[np.bool_] = result[2]
    _keep(group, result, reliable)
    if reliable.all():
        return reliable
    again = group.subset(~reliable)
    for tol in sorted({float(job.estimator.tol) for job in again.jobs}):
        part = again.subset(np.array([job.estimator.tol == tol for job in again.jobs]))
        result = kernels.linear_regression(part.qr(), part.splits, part.fit_intercept, tol, part.execution)
        _keep(part, result, np.ones(len(part.jobs), dtype=bool))
    return np.ones(len(group.jobs), dtype=bool)


def _attempt_dual(group: PreparedJobs, form: core.RowGram | core.RowQR) -> NDArray[np.bool_]:
    solved = np.zeros(len(group.jobs), dtype=bool)
    for tol in sorted({float(job.estimator.tol) for job in group.jobs}):
        chosen = np.array([job.estimator.tol == tol for job in group.jobs])
        part = group.subset(chosen)
        result = part.kernels.linear_regression_dual(
            form,
            part.X,
            part.Y,
            part.weights,
            part.folds,
            part.splits,
            part.fit_intercept,
            tol,
            part.execution,
        )
        _keep(part, result, result[2])
        solved[chosen] = result[2]
    return solved


def _keep(group: PreparedJobs, result: tuple[Any, ...], chosen: NDArray[np.bool_]) -> None:
    coef, intercept, _, rank, singular = result
    for b in np.flatnonzero(chosen).tolist():
        model = group.jobs[b].estimator
        model._store(group.dataset, coef[b], intercept[b])
        model.rank_ = rank[b]
        model.singular_ = singular[b].astype(model.coef_.dtype)


def _solve_positive(group: PreparedJobs) -> NDArray[np.bool_]:
    if group.too_wide_for_gram:
        return np.zeros(len(group.jobs), dtype=bool)
    no_penalty = np.zeros((len(group.jobs), group.n_targets))
    coef, intercept, reliable = group.kernels.nonnegative(
        group.gram(), group.splits, group.fit_intercept, no_penalty, group.execution
    )
    for b in np.flatnonzero(reliable).tolist():
        group.jobs[b].estimator._store(group.dataset, coef[b], intercept[b])
    result: NDArray[np.bool_] = reliable
    return result
