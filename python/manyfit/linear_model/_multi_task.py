"""Multi-task lasso and elastic net: targets that choose their columns together."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from numpy.typing import NDArray
from sklearn import linear_model

from manyfit.base import Estimator
from manyfit.dataset import Dataset
from manyfit.linear_model._descent import TOGETHER, Solution
from manyfit.linear_model._elastic_net import Descends

__all__ = ["MultiTaskElasticNet", "MultiTaskLasso", "assert_together"]


def assert_together(owner: Any, y: NDArray[Any]) -> None:
    """Raise for `y` of one dimension."""
    if y.ndim == 1:
        name = type(owner).__name__
        raise ValueError(
            f"{name}: y must be of shape (n_samples, n_targets), got 1 dimension. "
            f"For mono-task outputs, use {name.removeprefix('MultiTask')}"
        )


class _Together(Descends):
    """What MultiTaskLasso and MultiTaskElasticNet share."""

    _kernel: ClassVar[str] = TOGETHER

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples, n_targets)
            None when `X` is a Dataset.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights >= 0; only their ratios matter.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter that breaks its rule, for `y` of one dimension, and for data that is not finite,
            empty or of unequal length.

        Warns
        -----
        ConvergenceWarning
            If the duality gap is above the tolerance after `max_iter` sweeps.
        """
        return self._fit_one(X, y, sample_weight)

    def _runs_here(self, dataset: Dataset) -> bool:
        here = super()._runs_here(dataset)
        if here:
            assert_together(self, dataset.targets(self))
        return here

    def _keep(self, solution: Solution, place: int, rows: int) -> None:
        dtype = self.coef_.dtype
        self.dual_gap_ = solution.gap[place, 0].astype(dtype)
        self.eps_ = (solution.tolerance[place, 0] * rows).astype(dtype)
        self.n_iter_ = int(solution.sweeps[place, 0])


class MultiTaskElasticNet(_Together, linear_model.MultiTaskElasticNet):  # type: ignore[misc]
    """Linear regression of several targets with l1/l2 and l2 penalties.

    Minimises ``||Y - X W||^2 / (2 n) + alpha * (l1_ratio ||W||_21 + (1 - l1_ratio) ||W||^2 / 2)``, where
    ``||W||_21`` is the sum of the norms of the rows of ``W``: a column of `X` serves all targets or none. By
    block coordinate descent until the duality gap is at most ``tol * ||Y||^2 / n``, then exactly on the rows
    that are not zero. Where rows of `X` are more than columns, from the Gram of the centred data, in one pass
    over `X` that all penalties and splits of a population share; elsewhere from a working set of the columns.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalties, >= 0.
    l1_ratio : float, default=0.5
        Share of the l1/l2 penalty, in [0, 1]; 1 is the multi-task Lasso.
    fit_intercept : bool, default=True
        Whether to fit intercepts, which are not penalised.
    copy_X : bool, default=True
        Accepted for compatibility: `X` is never changed.
    max_iter : int, default=1000
        Sweeps over the rows of ``W``, at most.
    tol : float, default=1e-4
        Of the duality gap, relative to ``||Y||^2``.
    warm_start : bool, default=False
        Whether to start from the coefficients of the fit before.
    random_state : int, RandomState instance or None, default=None
        For ``selection="random"``.
    selection : {"cyclic", "random"}, default="cyclic"
        Order in which rows of ``W`` are updated.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_targets, n_features)
        The transpose of ``W``.
    intercept_ : ndarray of shape (n_targets,)
    dual_gap_ : float
        How far the objective is from its minimum, at most.
    eps_ : float
        ``tol * ||Y||^2`` of the centred targets: the tolerance, times n.
    n_iter_ : int
        Sweeps.
    sparse_coef_ : sparse array of shape (n_targets, n_features)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`).

    Examples
    --------
    >>> from manyfit.linear_model import MultiTaskElasticNet
    >>> X = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]]
    >>> model = MultiTaskElasticNet(alpha=0.5).fit(X, [[1.0, 0.0], [3.0, -1.0], [5.0, -2.0]])
    >>> model.coef_.round(4)
    array([[ 1.2106,  0.    ],
           [-0.6053,  0.    ]])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.MultiTaskElasticNet._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        copy_X: bool = True,
        max_iter: int | None = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            copy_X=copy_X,
            max_iter=max_iter,
            tol=tol,
            warm_start=warm_start,
            random_state=random_state,
            selection=selection,
        )
        self.device = device
        self.n_jobs = n_jobs


class MultiTaskLasso(_Together, linear_model.MultiTaskLasso):  # type: ignore[misc]
    """Linear regression of several targets with l1/l2 penalty.

    Minimises ``||Y - X W||^2 / (2 n) + alpha ||W||_21``, as :class:`MultiTaskElasticNet` with ``l1_ratio=1``
    does: a column of `X` serves all targets or none.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, >= 0.
    fit_intercept : bool, default=True
        Whether to fit intercepts, which are not penalised.
    copy_X : bool, default=True
        Accepted for compatibility: `X` is never changed.
    max_iter : int, default=1000
        Sweeps over the rows of ``W``, at most.
    tol : float, default=1e-4
        Of the duality gap, relative to ``||Y||^2``.
    warm_start : bool, default=False
        Whether to start from the coefficients of the fit before.
    random_state : int, RandomState instance or None, default=None
        For ``selection="random"``.
    selection : {"cyclic", "random"}, default="cyclic"
        Order in which rows of ``W`` are updated.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_targets, n_features)
        The transpose of ``W``.
    intercept_ : ndarray of shape (n_targets,)
    dual_gap_ : float
        How far the objective is from its minimum, at most.
    eps_ : float
        ``tol * ||Y||^2`` of the centred targets: the tolerance, times n.
    n_iter_ : int
        Sweeps.
    sparse_coef_ : sparse array of shape (n_targets, n_features)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`).

    Examples
    --------
    >>> from manyfit.linear_model import MultiTaskLasso
    >>> X = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]]
    >>> model = MultiTaskLasso(alpha=0.5).fit(X, [[1.0, 0.0], [3.0, -1.0], [5.0, -2.0]])
    >>> model.coef_.round(4)
    array([[ 1.3292,  0.    ],
           [-0.6646,  0.    ]])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.MultiTaskLasso._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        max_iter: int | None = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            fit_intercept=fit_intercept,
            copy_X=copy_X,
            max_iter=max_iter,
            tol=tol,
            warm_start=warm_start,
            random_state=random_state,
            selection=selection,
        )
        self.device = device
        self.n_jobs = n_jobs
