"""Lasso and elastic net, and their paths."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import linear_model
from sklearn.linear_model import _coordinate_descent
from sklearn.linear_model._base import _pre_fit

from manyfit._parameters import check_parameters
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.linear_model._descent import (
    ONE_BY_ONE,
    TOGETHER,
    Descent,
    Solution,
    descend,
    seed_of,
    warn_unless_converged,
)
from manyfit.linear_model._least_squares import LinearEstimator, PreparedJobs
from manyfit.splits import Splits

__all__ = ["Descends", "ElasticNet", "Lasso", "enet_path", "lasso_path"]

# A sparse matrix of so many entries, zeros included, is made dense for a path.
SMALL_SPARSE = 1 << 22


class Descends(LinearEstimator):
    """What Lasso, elastic net and their multi-task kin share."""

    _kernel: ClassVar[str] = ONE_BY_ONE

    @classmethod
    def _solve(cls, group: PreparedJobs) -> NDArray[np.bool_]:
        settings, start = [], None
        for job, split in zip(group.jobs, group.splits, strict=True):
            model = job.estimator
            if model.alpha == 0:
                warnings.warn(
                    "With alpha=0, this algorithm does not converge well. "
                    "You are advised to use the LinearRegression estimator",
                    stacklevel=2,
                )
            settings.append(
                Descent(
                    split,
                    bool(model.fit_intercept),
                    float(model.alpha),
                    float(model.l1_ratio),
                    float(model.tol),
                    1000 if model.max_iter is None else int(model.max_iter),
                    bool(getattr(model, "positive", False)),
                    seed_of(model.selection, model.random_state),
                    True,
                )
            )
        if any(job.estimator.warm_start and hasattr(job.estimator, "coef_") for job in group.jobs):
            start = np.stack([_start(job.estimator, group) for job in group.jobs])
        solution = descend(group, settings, start, cls._kernel)
        for b in np.flatnonzero(solution.reliable).tolist():
            model = group.jobs[b].estimator
            model._store(group.dataset, solution.coef[b], solution.intercept[b])
            model._keep(solution, b, group.folds.training_rows(group.splits[b]))
        warn_unless_converged(cls.__name__, solution)
        return solution.reliable

    def _keep(self, solution: Solution, place: int, rows: int) -> None:
        """Keep what the solution says of the fit at `place`, on so many rows."""
        raise NotImplementedError

    def _runs_here(self, dataset: Dataset) -> bool:
        if not np.isfinite(self.alpha):
            raise ValueError(f"{type(self).__name__}: alpha must be >= 0 and finite, got {self.alpha!r}")
        return super()._runs_here(dataset)


class _OneByOne(Descends):
    """What Lasso and elastic net share."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, check_input: bool = True) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            None when `X` is a Dataset. Several targets are fitted one by one.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights >= 0; only their ratios matter.
        check_input : bool, default=True
            False runs scikit-learn's own solver, which then checks nothing.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter that breaks its rule and for data that is not finite, empty or of unequal length.

        Warns
        -----
        ConvergenceWarning
            If the duality gap is above the tolerance after `max_iter` sweeps.
        """
        if not check_input:
            self._check()
            self._sklearn_fit(X, y, sample_weight=sample_weight, check_input=False)
            self.fit_backend_ = "scikit-learn"
            return self
        return self._fit_one(X, y, sample_weight)

    def _runs_here(self, dataset: Dataset) -> bool:
        here = super()._runs_here(dataset)
        if here and not isinstance(self.precompute, bool | np.bool_):
            self._compare_gram(dataset)
        return here

    def _compare_gram(self, dataset: Dataset) -> None:
        """Raise where the Gram handed over is not that of `X`; warn where it is not that of centred `X`."""
        X, y, weights = dataset.matrix(self), dataset.targets(self), dataset.weights(self)
        _pre_fit(
            X,
            y,
            None,
            np.asarray(self.precompute),
            fit_intercept=self.fit_intercept,
            copy=True,
            check_gram=True,
            sample_weight=None if weights is None else weights * (len(X) / weights.sum()),
        )

    def _keep(self, solution: Solution, place: int, rows: int) -> None:
        gaps = solution.gap[place].astype(self.coef_.dtype)
        sweeps = [int(count) for count in solution.sweeps[place]]
        one = len(sweeps) == 1
        if one:  # as scikit-learn has it, also for y of shape (n_samples, 1)
            self.coef_ = self.coef_.ravel()
        self.dual_gap_: Any = gaps[0] if one else gaps
        self.n_iter_: Any = sweeps[0] if one else sweeps


def _start(model: Any, group: PreparedJobs) -> NDArray[np.float64]:
    shape = (group.n_targets, group.shape[1])
    if not (model.warm_start and hasattr(model, "coef_")):
        return np.zeros(shape)
    return np.asarray(model.coef_, dtype=np.float64).reshape(shape)


class ElasticNet(_OneByOne, linear_model.ElasticNet):  # type: ignore[misc]
    """Linear regression with l1 and l2 penalties.

    Minimises ``||y - X w||^2 / (2 n) + alpha * (l1_ratio ||w||_1 + (1 - l1_ratio) ||w||^2 / 2)`` by coordinate
    descent until the duality gap is at most ``tol * ||y||^2 / n``, then exactly on the coefficients that are
    not zero. Where rows are more than columns, from the Gram of the centred data, in one pass over `X` that
    all penalties and splits of a population share; elsewhere from a working set of the columns.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalties, >= 0.
    l1_ratio : float, default=0.5
        Share of the l1 penalty, in [0, 1]; 1 is the Lasso.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not penalised.
    precompute : bool or array-like of shape (n_features, n_features), default=False
        Accepted: whether a Gram pays is decided by the data's shape. A Gram that is handed over is compared
        with that of `X`, and not needed.
    max_iter : int, default=1000
        Sweeps over the coefficients, at most.
    copy_X : bool, default=True
        Accepted for compatibility: `X` is never changed.
    tol : float, default=1e-4
        Of the duality gap, relative to ``||y||^2``.
    warm_start : bool, default=False
        Whether to start from the coefficients of the fit before.
    positive : bool, default=False
        Whether to require coefficients >= 0.
    random_state : int, RandomState instance or None, default=None
        For ``selection="random"``.
    selection : {"cyclic", "random"}, default="cyclic"
        Order in which coefficients are updated.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    dual_gap_ : float or ndarray of shape (n_targets,)
        How far the objective is from its minimum, at most.
    n_iter_ : int or list of int
        Sweeps.
    sparse_coef_ : sparse array of shape (1, n_features) or (n_targets, n_features)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`).

    Examples
    --------
    >>> from manyfit.linear_model import ElasticNet
    >>> model = ElasticNet(alpha=0.5).fit([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]], [1.0, 3.0, 5.0])
    >>> model.coef_.round(4)
    array([1.1818, 0.    ])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.ElasticNet._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        precompute: Any = False,
        max_iter: int | None = 1000,
        copy_X: bool = True,
        tol: float = 1e-4,
        warm_start: bool = False,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            precompute=precompute,
            max_iter=max_iter,
            copy_X=copy_X,
            tol=tol,
            warm_start=warm_start,
            positive=positive,
            random_state=random_state,
            selection=selection,
        )
        self.device = device
        self.n_jobs = n_jobs


class Lasso(_OneByOne, linear_model.Lasso):  # type: ignore[misc]
    """Linear regression with l1 penalty.

    Minimises ``||y - X w||^2 / (2 n) + alpha ||w||_1``, as :class:`ElasticNet` with ``l1_ratio=1`` does.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, >= 0.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not penalised.
    precompute : bool or array-like of shape (n_features, n_features), default=False
        Accepted: whether a Gram pays is decided by the data's shape. A Gram that is handed over is compared
        with that of `X`, and not needed.
    copy_X : bool, default=True
        Accepted for compatibility: `X` is never changed.
    max_iter : int, default=1000
        Sweeps over the coefficients, at most.
    tol : float, default=1e-4
        Of the duality gap, relative to ``||y||^2``.
    warm_start : bool, default=False
        Whether to start from the coefficients of the fit before.
    positive : bool, default=False
        Whether to require coefficients >= 0.
    random_state : int, RandomState instance or None, default=None
        For ``selection="random"``.
    selection : {"cyclic", "random"}, default="cyclic"
        Order in which coefficients are updated.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    dual_gap_ : float or ndarray of shape (n_targets,)
        How far the objective is from its minimum, at most.
    n_iter_ : int or list of int
        Sweeps.
    sparse_coef_ : sparse array of shape (1, n_features) or (n_targets, n_features)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`).

    Examples
    --------
    >>> from manyfit.linear_model import Lasso
    >>> model = Lasso(alpha=0.5).fit([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]], [1.0, 3.0, 5.0])
    >>> model.coef_.round(4)
    array([1.25, 0.  ])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.Lasso._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        precompute: Any = False,
        copy_X: bool = True,
        max_iter: int | None = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            fit_intercept=fit_intercept,
            precompute=precompute,
            copy_X=copy_X,
            max_iter=max_iter,
            tol=tol,
            warm_start=warm_start,
            positive=positive,
            random_state=random_state,
            selection=selection,
        )
        self.device = device
        self.n_jobs = n_jobs


def enet_path(
    X: Any,
    y: Any,
    *,
    l1_ratio: float = 0.5,
    eps: float = 1e-3,
    n_alphas: Any = "deprecated",
    alphas: Any = "warn",
    precompute: Any = "auto",
    Xy: Any = None,
    copy_X: bool = True,
    coef_init: Any = None,
    verbose: bool | int = False,
    return_n_iter: bool = False,
    positive: bool = False,
    check_input: bool = True,
    **params: Any,
) -> tuple[Any, ...]:
    """Coefficients of the elastic net along descending penalties.

    No intercept is fitted: centre `X` and `y` before if there is to be one. A sparse `X` of more than four
    million entries, zeros included, runs in scikit-learn's own solver.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        Several targets are fitted together, as by ``MultiTaskElasticNet``.
    l1_ratio : float, default=0.5
        Share of the l1 penalty, in [0, 1].
    eps : float, default=1e-3
        Smallest penalty of an automatic path, relative to the largest.
    n_alphas : int
        Deprecated in scikit-learn; use `alphas`.
    alphas : int or array-like, default=100
        Penalties, or how many from the one at which all coefficients are zero down to `eps` times that.
    precompute : "auto", bool or array-like, default="auto"
        Accepted; a Gram that is handed over runs in scikit-learn's own solver.
    Xy : array-like, default=None
        Products to go with a Gram that is handed over.
    copy_X : bool, default=True
        Accepted for compatibility: `X` is never changed.
    coef_init : array-like of shape (n_features,) or (n_targets, n_features), default=None
        Coefficients to start from.
    verbose : bool or int, default=False
        For scikit-learn's own solver.
    return_n_iter : bool, default=False
        Whether to return the numbers of sweeps too.
    positive : bool, default=False
        Whether to require coefficients >= 0, for a single target.
    check_input : bool, default=True
        False runs scikit-learn's own solver, which then checks nothing.
    **params
        `tol`, `max_iter`, `selection`, `random_state`.

    Returns
    -------
    alphas : ndarray of shape (n_alphas,)
    coefs : ndarray of shape (n_features, n_alphas) or (n_targets, n_features, n_alphas)
    dual_gaps : ndarray of shape (n_alphas,)
    n_iters : list of int
        With ``return_n_iter=True``.

    Examples
    --------
    >>> from manyfit.linear_model import enet_path
    >>> alphas, coefs, gaps = enet_path([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]], [1.0, 3.0, 5.0], alphas=3)
    >>> coefs.shape
    (2, 3)
    """
    params.pop("device", None)
    known = {"tol", "max_iter", "selection", "random_state"}
    sparse = hasattr(X, "tocsr")
    ours = (
        check_input
        and isinstance(n_alphas, str)
        and n_alphas == "deprecated"
        and alphas is not None
        and Xy is None
        and not verbose
        and isinstance(precompute, bool | str)
        and params.keys() <= known
        and (not sparse or np.prod(X.shape) <= SMALL_SPARSE)
        and not hasattr(y, "tocsr")
        and (np.ndim(y) == 1 or (np.ndim(y) == 2 and not positive))
    )
    if not ours:
        answer: tuple[Any, ...] = _coordinate_descent.enet_path(
            X,
            y,
            l1_ratio=l1_ratio,
            eps=eps,
            n_alphas=n_alphas,
            alphas=alphas,
            precompute=precompute,
            Xy=Xy,
            copy_X=copy_X,
            coef_init=coef_init,
            verbose=verbose,
            return_n_iter=return_n_iter,
            positive=positive,
            check_input=check_input,
            **params,
        )
        return answer
    grid = 100 if isinstance(alphas, str) else alphas
    model = ElasticNet(l1_ratio=l1_ratio, fit_intercept=False, positive=positive, **params)
    check_parameters(model)
    dataset = Dataset(X.toarray() if sparse else X, y)
    group = _all_rows(model, dataset)
    if np.ndim(grid) == 0:
        grid = _coordinate_descent._alpha_grid(
            group.X,
            group.Y,
            l1_ratio=l1_ratio,
            fit_intercept=False,
            eps=eps,
            n_alphas=int(grid),
            positive=positive,
        )
    grid = np.sort(np.asarray(grid))[::-1]
    seed = seed_of(model.selection, model.random_state)
    settings = [
        Descent(
            0, False, float(a), float(l1_ratio), model.tol, int(model.max_iter or 1000), positive, seed, True
        )
        for a in grid
    ]
    together = dataset.targets(model).ndim == 2
    kernel = TOGETHER if together else ONE_BY_ONE
    start = None
    if coef_init is not None:
        # The first fit starts there, all others from the one before.
        first = np.asarray(coef_init, dtype=np.float64).reshape(1, group.n_targets, -1)
        head = descend(group, settings[:1], first, kernel)
        start = np.repeat(head.coef, len(grid), axis=0)
    solution = descend(group, settings, start, kernel)
    if not solution.reliable.all():
        return enet_path(  # the columns are too many for a working set
            np.asfortranarray(group.X), np.asfortranarray(group.Y) if together else group.Y[:, 0],
            l1_ratio=l1_ratio, alphas=grid, precompute=precompute, coef_init=coef_init,
            return_n_iter=return_n_iter, positive=positive, verbose=False, check_input=False, **params,
        )  # fmt: skip
    warn_unless_converged("enet_path", solution)
    coefs = np.asfortranarray(solution.coef.transpose(1, 2, 0).astype(group.X.dtype))
    result = (grid, coefs if together else coefs[0], solution.gap[:, 0])
    return (*result, [int(n) for n in solution.sweeps[:, 0]]) if return_n_iter else result


def _all_rows(model: Any, dataset: Dataset) -> PreparedJobs:
    """The rows of a dataset as one group."""
    dataset.matrix(model)
    dataset.targets(model)
    folds = dataset.known_folds(Splits(len(dataset.matrix(model))).groups)[0]
    group = PreparedJobs([Job(model, 0)], [0], dataset, folds)
    dataset.assert_finite(model)
    return group


def lasso_path(X: Any, y: Any, **params: Any) -> tuple[Any, ...]:
    """Coefficients of the Lasso along descending penalties.

    :func:`enet_path` with ``l1_ratio=1``; parameters and results are the same.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    **params
        As of :func:`enet_path`.

    Returns
    -------
    alphas : ndarray of shape (n_alphas,)
    coefs : ndarray of shape (n_features, n_alphas) or (n_targets, n_features, n_alphas)
    dual_gaps : ndarray of shape (n_alphas,)
    n_iters : list of int
        With ``return_n_iter=True``.

    Examples
    --------
    >>> from manyfit.linear_model import lasso_path
    >>> alphas, coefs, gaps = lasso_path([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]], [1.0, 3.0, 5.0], alphas=3)
    >>> coefs.shape
    (2, 3)
    """
    return enet_path(X, y, l1_ratio=1.0, **params)
