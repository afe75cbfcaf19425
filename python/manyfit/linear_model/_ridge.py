"""Ridge regression."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn import linear_model

from manyfit._native import core
from manyfit.base import Estimator
from manyfit.dataset import Dataset
from manyfit.linear_model._least_squares import LinearEstimator, PreparedJobs

__all__ = ["Ridge", "RidgeEstimator", "solve_ridge"]


class RidgeEstimator(LinearEstimator):
    """What the ridge estimators of one penalty share: its checks and its kernels."""

    def _runs_here(self, dataset: Dataset) -> bool:
        if self.solver == "lbfgs" and not self.positive:
            raise ValueError(
                f"{type(self).__name__}: solver='lbfgs' can be used only when positive=True. "
                "Please use another solver."
            )
        if self.positive and self.solver not in ("auto", "lbfgs"):
            raise ValueError(
                f"{type(self).__name__}: solver='{self.solver}' does not support positive fitting; "
                "solver must be 'auto' or 'lbfgs' when positive=True"
            )
        return super()._runs_here(dataset)

    def _penalties(self, n_targets: int) -> NDArray[np.float64]:
        """`alpha` for each target."""
        alpha = np.asarray(self.alpha, dtype=np.float64)
        if alpha.ndim > 1 or alpha.size not in (1, n_targets):
            raise ValueError(
                f"{type(self).__name__}: alpha must have one value or one for each target. "
                f"Number of targets and number of penalties do not correspond: {alpha.size} != {n_targets}"
            )
        if not (np.isfinite(alpha).all() and (alpha >= 0).all()):
            raise ValueError(f"{type(self).__name__}: alpha must be >= 0 and finite, got {self.alpha!r}")
        return np.broadcast_to(alpha.ravel(), n_targets)

    @classmethod
    def _solve(cls, group: PreparedJobs) -> NDArray[np.bool_]:
        positive = np.array([job.estimator.positive for job in group.jobs])
        alpha = np.array([job.estimator._penalties(group.n_targets) for job in group.jobs])
        solved = np.ones(len(group.jobs), dtype=bool)
        for kind in (False, True):
            chosen = positive == kind
            if chosen.any():
                solved[chosen] = solve_ridge(group.subset(chosen), alpha[chosen], positive=kind)
        for b in np.flatnonzero(solved).tolist():
            model = group.jobs[b].estimator
            model.n_iter_ = None
            model.solver_ = model.solver
            if model.solver == "auto":
                model.solver_ = "lbfgs" if model.positive else "cholesky"
        return solved


class Ridge(RidgeEstimator, linear_model.Ridge):  # type: ignore[misc]
    """Linear least squares with l2 penalty.

    Minimises ``||y - X w||^2 + alpha ||w||^2`` exactly, from the Gram of the centred data in one pass over
    `X` (of the rows where they are fewer than the columns). Penalties and splits of a population share the
    pass, and the penalties of a split one eigendecomposition. Where the Gram would lose digits, a QR
    factorisation of the rows takes its place.

    Parameters
    ----------
    alpha : float or array-like of shape (n_targets,), default=1.0
        Strength of the penalty, >= 0; an array has one for each target.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not penalised.
    copy_X : bool, default=True
        Accepted for compatibility: `X` is never changed.
    max_iter : int, default=None
        For scikit-learn's own iterative solvers, on sparse `X`.
    tol : float, default=1e-4
        For scikit-learn's own iterative solvers, on sparse `X`.
    solver : {"auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "lbfgs"}, default="auto"
        Every name gives the exact solution on dense `X`. On sparse `X`, scikit-learn's solver of that name
        runs.
    positive : bool, default=False
        Whether to require coefficients >= 0.
    random_state : int, RandomState instance or None, default=None
        For scikit-learn's "sag" and "saga", on sparse `X`.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    n_iter_ : None or ndarray of shape (n_targets,)
        None where an exact solver ran.
    solver_ : str
        Name of the solver asked for, "auto" resolved.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`).

    Examples
    --------
    >>> from manyfit.linear_model import Ridge
    >>> model = Ridge(alpha=2.0).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> model.coef_.round(6), round(float(model.intercept_), 6)
    (array([1.]), 2.0)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.Ridge._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        alpha: Any = 1.0,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        max_iter: int | None = None,
        tol: float = 1e-4,
        solver: str = "auto",
        positive: bool = False,
        random_state: Any = None,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            fit_intercept=fit_intercept,
            copy_X=copy_X,
            max_iter=max_iter,
            tol=tol,
            solver=solver,
            positive=positive,
            random_state=random_state,
        )
        self.device = device
        self.n_jobs = n_jobs


def solve_ridge(group: PreparedJobs, alpha: NDArray[np.float64], positive: bool = False) -> NDArray[np.bool_]:
    """Fit the jobs with penalties alpha (jobs, targets); False for those that are left to scikit-learn."""
    if group.dual and not positive:
        return _solve_dual(group, alpha)
    kernels, jobs = group.kernels, (group.splits, group.fit_intercept, alpha)
    if positive:
        if group.too_wide_for_gram:
            return np.zeros(len(group.jobs), dtype=bool)
        result = kernels.nonnegative(group.gram(), *jobs, group.execution)
    else:
        result = kernels.ridge(group.gram(), *jobs, group.execution)
    reliable: NDArray[np.bool_] = result[2]
    _keep(group, result, reliable)
    if reliable.all() or positive:
        return reliable
    again = group.subset(~reliable)
    result = kernels.ridge(again.qr(), again.splits, again.fit_intercept, alpha[~reliable], again.execution)
    _keep(again, result, result[2])
    return np.ones(len(group.jobs), dtype=bool)


def _solve_dual(group: PreparedJobs, alpha: NDArray[np.float64]) -> NDArray[np.bool_]:
    of = {id(job): penalties for job, penalties in zip(group.jobs, alpha, strict=True)}

    def attempt(part: PreparedJobs, form: core.RowGram | core.RowQR) -> NDArray[np.bool_]:
        result = part.kernels.ridge_dual(
            form,
            part.X,
            part.Y,
            part.weights,
            part.folds,
            part.splits,
            part.fit_intercept,
            np.array([of[id(job)] for job in part.jobs]),
            part.execution,
        )
        solved: NDArray[np.bool_] = result[2]
        _keep(part, result, solved)
        return solved

    return group.solve_dual(attempt)


def _keep(group: PreparedJobs, result: tuple[Any, ...], chosen: NDArray[np.bool_]) -> None:
    coef, intercept, _ = result
    for b in np.flatnonzero(chosen).tolist():
        model = group.jobs[b].estimator
        model._store(group.dataset, coef[b], intercept[b])
        if group.n_targets == 1:
            model.coef_ = model.coef_.ravel()  # as scikit-learn has it, also for y of shape (n_samples, 1)
