"""Multi-task lasso and elastic net whose penalties are chosen by cross-validation."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray
from sklearn import linear_model

from manyfit.base import Estimator
from manyfit.linear_model._descent import TOGETHER
from manyfit.linear_model._elastic_net import enet_path, lasso_path
from manyfit.linear_model._elastic_net_cv import ChoosesPenalty
from manyfit.linear_model._multi_task import assert_together

__all__ = ["MultiTaskElasticNetCV", "MultiTaskLassoCV"]


class _ChoosesTogether(ChoosesPenalty):
    """What MultiTaskLassoCV and MultiTaskElasticNetCV share."""

    _kernel: ClassVar[str] = TOGETHER

    def _checked_targets(self, y: NDArray[Any]) -> NDArray[Any]:
        assert_together(self, y)
        return y


class MultiTaskElasticNetCV(_ChoosesTogether, linear_model.MultiTaskElasticNetCV):  # type: ignore[misc]
    """Multi-task elastic net whose penalties are chosen by cross-validation.

    Every fold and every ``l1_ratio`` has a path of penalties; all of them, and the final fit, share one pass
    over `X` (the Gram of each fold), and the errors of the left-out rows come from their own Gram.

    Parameters
    ----------
    l1_ratio : float or list of float, default=0.5
        Shares of the l1/l2 penalty to try, in [0, 1].
    eps : float, default=1e-3
        Smallest penalty of an automatic path, relative to the largest.
    alphas : int or array-like, default=100
        Penalties to try, or how many, from the one at which all coefficients are zero down to `eps` times it.
    fit_intercept : bool, default=True
        Whether to fit intercepts, which are not penalised.
    max_iter : int, default=1000
        Sweeps over the coefficients, at most, for each fit.
    tol : float, default=1e-4
        Of the duality gap, relative to ``||Y||^2``.
    cv : int, splitter or iterable, default=None
        None for 5 folds.
    copy_X : bool, default=True
        Accepted for compatibility: `X` is never changed.
    verbose : bool or int, default=0
        For scikit-learn's own solver.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.
    random_state : int, RandomState instance or None, default=None
        For ``selection="random"``.
    selection : {"cyclic", "random"}, default="cyclic"
        Order in which coefficients are updated.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.

    Attributes
    ----------
    alpha_ : float
        The penalty chosen.
    l1_ratio_ : float
        The share chosen.
    coef_ : ndarray of shape (n_targets, n_features)
    intercept_ : ndarray of shape (n_targets,)
    mse_path_ : ndarray of shape (n_l1_ratio, n_alphas, n_folds) or (n_alphas, n_folds)
        Mean squared errors of the left-out rows, the mean over the targets.
    alphas_ : ndarray of shape (n_alphas,) or (n_l1_ratio, n_alphas)
        The penalties tried.
    dual_gap_ : float
    n_iter_ : int
        Sweeps of the final fit.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`).

    Examples
    --------
    >>> from manyfit.linear_model import MultiTaskElasticNetCV
    >>> from sklearn.datasets import load_linnerud
    >>> X, Y = load_linnerud(return_X_y=True)
    >>> model = MultiTaskElasticNetCV(l1_ratio=[0.5, 0.9, 1.0]).fit(X, Y)
    >>> model.coef_.shape, model.mse_path_.shape
    ((3, 3), (3, 100, 5))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.MultiTaskElasticNetCV._parameter_constraints,
        "device": Estimator._parameter_constraints["device"],
    }
    path = staticmethod(enet_path)

    def __init__(
        self,
        *,
        l1_ratio: Any = 0.5,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        cv: Any = None,
        copy_X: bool = True,
        verbose: bool | int = 0,
        n_jobs: int | None = None,
        random_state: Any = None,
        selection: str = "cyclic",
        device: str = "cpu",
    ) -> None:
        super().__init__(
            l1_ratio=l1_ratio,
            eps=eps,
            alphas=alphas,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            cv=cv,
            copy_X=copy_X,
            verbose=verbose,
            n_jobs=n_jobs,
            random_state=random_state,
            selection=selection,
        )
        self.device = device


class MultiTaskLassoCV(_ChoosesTogether, linear_model.MultiTaskLassoCV):  # type: ignore[misc]
    """Multi-task Lasso whose penalty is chosen by cross-validation.

    Every fold has a path of penalties; all of them, and the final fit, share one pass over `X` (the Gram of
    each fold), and the errors of the left-out rows come from their own Gram.

    Parameters
    ----------
    eps : float, default=1e-3
        Smallest penalty of an automatic path, relative to the largest.
    alphas : int or array-like, default=100
        Penalties to try, or how many, from the one at which all coefficients are zero down to `eps` times it.
    fit_intercept : bool, default=True
        Whether to fit intercepts, which are not penalised.
    max_iter : int, default=1000
        Sweeps over the coefficients, at most, for each fit.
    tol : float, default=1e-4
        Of the duality gap, relative to ``||Y||^2``.
    copy_X : bool, default=True
        Accepted for compatibility: `X` is never changed.
    cv : int, splitter or iterable, default=None
        None for 5 folds.
    verbose : bool or int, default=False
        For scikit-learn's own solver.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.
    random_state : int, RandomState instance or None, default=None
        For ``selection="random"``.
    selection : {"cyclic", "random"}, default="cyclic"
        Order in which coefficients are updated.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.

    Attributes
    ----------
    alpha_ : float
        The penalty chosen.
    coef_ : ndarray of shape (n_targets, n_features)
    intercept_ : ndarray of shape (n_targets,)
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        Mean squared errors of the left-out rows, the mean over the targets.
    alphas_ : ndarray of shape (n_alphas,)
        The penalties tried.
    dual_gap_ : float
    n_iter_ : int
        Sweeps of the final fit.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`).

    Examples
    --------
    >>> from manyfit.linear_model import MultiTaskLassoCV
    >>> from sklearn.datasets import load_linnerud
    >>> X, Y = load_linnerud(return_X_y=True)
    >>> model = MultiTaskLassoCV().fit(X, Y)
    >>> model.coef_.shape, model.mse_path_.shape
    ((3, 3), (100, 5))
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.MultiTaskLassoCV._parameter_constraints,
        "device": Estimator._parameter_constraints["device"],
    }
    path = staticmethod(lasso_path)

    def __init__(
        self,
        *,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        copy_X: bool = True,
        cv: Any = None,
        verbose: bool | int = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        selection: str = "cyclic",
        device: str = "cpu",
    ) -> None:
        super().__init__(
            eps=eps,
            alphas=alphas,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            copy_X=copy_X,
            cv=cv,
            verbose=verbose,
            n_jobs=n_jobs,
            random_state=random_state,
            selection=selection,
        )
        self.device = device
