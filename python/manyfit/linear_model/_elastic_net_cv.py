"""Lasso and elastic net whose penalties are chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import linear_model
from sklearn.linear_model import _coordinate_descent
from sklearn.utils import check_scalar
from sklearn.utils.metadata_routing import _routing_enabled
from sklearn.utils.validation import column_or_1d

from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.linear_model._descent import (
    ONE_BY_ONE,
    Descent,
    Solution,
    descend,
    reads_gram,
    seed_of,
    warn_unless_converged,
)
from manyfit.linear_model._elastic_net import enet_path, lasso_path
from manyfit.linear_model._inner_splits import InnerSplits
from manyfit.linear_model._least_squares import LinearEstimator, PreparedJobs
from manyfit.splits import Splits

__all__ = ["ChoosesPenalty", "ElasticNetCV", "LassoCV"]


class _Point(NamedTuple):
    """One penalty of the search."""

    l1_ratio: float
    alpha: float


class ChoosesPenalty(LinearEstimator):
    """What LassoCV, ElasticNetCV and their multi-task kin share."""

    _kernel: ClassVar[str] = ONE_BY_ONE

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> Self:
        """Choose the penalty by cross-validation, and fit with it on all rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples,), or of shape (n_samples, n_targets) for a multi-task model
            None when `X` is a Dataset.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights >= 0, in training and in the errors of the left-out rows.
        **params
            With metadata routing, what the splitter takes.

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
            If a duality gap is above the tolerance after `max_iter` sweeps.
        """
        if params or _routing_enabled():
            self._check()
            self._sklearn_fit(X, y, sample_weight=sample_weight, **params)
            self.fit_backend_ = "scikit-learn"
            return self
        return self._fit_one(X, y, sample_weight)

    def _runs_here(self, dataset: Dataset) -> bool:
        given = not isinstance(getattr(self, "precompute", False), bool | np.bool_ | str)
        return super()._runs_here(dataset) and not given

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        first = jobs[0].estimator
        y = dataset.targets(first)
        checked = first._checked_targets(y)
        data = dataset
        if checked is not y:
            data = dataset.variant("one target", lambda: (checked, dataset.sample_weight))
        plan = InnerSplits(data, splits)
        of = [plan.add(job) for job in jobs]
        inner = Splits(splits.n_rows, plan.pairs)
        inner.groups = data.known_folds(inner.groups)
        weights = data.weights(first)
        if weights is not None:
            inner.assert_weight(weights)
        return [
            job
            for job, (begin, end) in zip(jobs, of, strict=True)
            if not job.estimator._choose(data, inner, begin, end)
        ]

    def _checked_targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """Targets of the number of dimensions this model takes, or an error."""
        if y.ndim == 2 and y.shape[1] > 1:
            raise ValueError(f"For multi-task outputs, use MultiTask{type(self).__name__}")
        return column_or_1d(y, warn=True) if y.ndim == 2 else y

    def _ratios(self) -> list[float]:
        ratios = [float(ratio) for ratio in np.atleast_1d(getattr(self, "l1_ratio", 1.0))]
        for ratio in ratios:
            if not 0 <= ratio <= 1:
                raise ValueError(f"{type(self).__name__}: l1_ratio must be in [0, 1], got {ratio!r}")
        return ratios

    def _choose(self, dataset: Dataset, splits: Splits, first: int, last: int) -> bool:
        """Choose by the folds from `first` on, and fit on the rows of `last`; False where no kernel answers."""
        dtype = dataset.dtype(self)
        ratios = self._ratios()
        if not isinstance(self.alphas, Integral):
            for index, alpha in enumerate(self.alphas):
                name = f"{type(self).__name__}: alphas[{index}]"
                check_scalar(alpha, name, target_type=Real, min_val=0.0, include_boundaries="left")
                if not np.isfinite(alpha):
                    raise ValueError(f"{name} must be finite, got {alpha!r}")
        folds = last - first
        groups = [
            PreparedJobs([Job(self, split) for _, split in members], [i for i, _ in members], dataset, part)
            for part in splits.groups
            if (members := [(i, split) for i, split in enumerate(part.splits) if first <= split <= last])
        ]
        whole = next(group for group in groups if any(job.split == last for job in group.jobs))
        grids = self._grids(whole, splits, last, ratios, folds)
        self._assert_scale(np.asarray(grids).astype(dtype))
        points = [_Point(ratio, alpha) for ratio, grid in zip(ratios, grids, strict=True) for alpha in grid]

        errors = np.empty((folds, len(points)))
        for group in groups:
            solved = self._errors(group, points, splits, errors, first)
            if not solved:
                return False
        paths = errors.reshape(folds, len(ratios), -1).transpose(1, 2, 0)
        self._assert_scale(paths)
        self.mse_path_ = np.squeeze(paths).astype(dtype)
        mean = paths.mean(axis=2)
        best = 0, 0
        for i in range(len(ratios)):
            j = int(np.argmin(mean[i]))
            if i == 0 or mean[i, j] < mean[best]:
                best = i, j
        chosen = _Point(ratios[best[0]], float(grids[best[0]][best[1]]))
        if hasattr(self, "l1_ratio"):
            self.l1_ratio_ = chosen.l1_ratio
        self.alphas_ = np.asarray(grids if isinstance(self.alphas, Integral) else grids[:1], dtype=dtype)
        self.alpha_ = dtype.type(chosen.alpha)
        if len(self.alphas_) == 1:
            self.alphas_ = self.alphas_[0]
        return self._refit(whole, chosen, last)

    def _assert_scale(self, values: NDArray[Any]) -> None:
        """Raise where finite data were of a scale that overflowed."""
        if not np.isfinite(values).all():
            raise ValueError(
                f"{type(self).__name__}: X and y must be of a scale that leaves penalties and errors finite"
            )

    @property
    def _positive(self) -> bool:
        return bool(getattr(self, "positive", False))

    def _settings(self, place: int, point: _Point, seed: int, exact: bool) -> Descent:
        return Descent(
            place,
            bool(self.fit_intercept),
            float(point.alpha),
            point.l1_ratio,
            float(self.tol),
            int(self.max_iter),
            self._positive,
            seed,
            exact,
        )

    def _grids(
        self, group: PreparedJobs, splits: Splits, split: int, ratios: list[float], folds: int
    ) -> list[NDArray[np.float64]]:
        """Descending penalties of each l1_ratio."""
        if not isinstance(self.alphas, Integral):
            grid = np.sort(np.asarray(self.alphas, dtype=np.float64))[::-1]
            return [grid] * len(ratios)
        one = np.zeros((1, group.shape[1]), dtype=group.dtype)  # of the rows, nothing is asked but their type
        products, total = self._products(group, splits, split, int(self.alphas) * len(ratios) * folds)
        return [
            _coordinate_descent._alpha_grid(
                one,
                one[:, : group.n_targets],
                Xy=products / total,
                l1_ratio=ratio,
                eps=self.eps,
                n_alphas=int(self.alphas),
                positive=self._positive,
            )
            for ratio in ratios
        ]

    def _products(
        self, group: PreparedJobs, splits: Splits, split: int, fits: int
    ) -> tuple[NDArray[np.float64], float]:
        """Products of the centred columns with the target over a split's rows, and the sum of the weights."""
        place = _place(group, split)
        if reads_gram(group, fits):
            moments = group.gram().moments(place, "train", bool(self.fit_intercept))
            cross: NDArray[np.float64] = moments["cross"]
            return cross, float(moments["weight"])
        group.dataset.assert_finite(self)
        rows = splits.train_rows(split)
        if not isinstance(rows, slice) and np.array_equal(rows, np.arange(splits.n_rows)):  # all: no copy
            rows = slice(None)
        X, y = group.X[rows], group.Y[rows].astype(np.float64)
        weights = np.ones(len(X)) if group.weights is None else group.weights[rows].astype(np.float64)
        total = float(weights.sum())
        if not self.fit_intercept:
            return np.asarray(X.T @ (weights[:, None] * y), dtype=np.float64), total
        y = y - weights @ y / total
        shift = X[0].astype(np.float64)  # what remains of it is the rounding of a sum that is zero
        scaled = weights[:, None] * y
        return X.T @ scaled - np.outer(shift, scaled.sum(axis=0)), total

    def _errors(
        self,
        group: PreparedJobs,
        points: list[_Point],
        splits: Splits,
        errors: NDArray[np.float64],
        first: int,
    ) -> bool:
        """Mean squared errors of the left-out rows, into `errors` (folds, points)."""
        members = [
            (place, job.split)
            for place, job in zip(group.splits, group.jobs, strict=True)
            if job.split < first + len(errors)
        ]
        if not members:
            return True
        seed = seed_of(self.selection, self.random_state)
        # Thousands of fits that differ in few columns: as an array from the start.
        first_fit = self._settings(0, points[0], seed, False)
        table = np.tile(np.array(first_fit, dtype=np.float64), (len(members) * len(points), 1))
        columns = [Descent._fields.index(name) for name in ("l1_ratio", "alpha")]
        table[:, Descent._fields.index("split")] = np.repeat([place for place, _ in members], len(points))
        table[:, columns] = np.tile(np.array(points), (len(members), 1))
        solution = descend(group, table, kernel=self._kernel, coef_on_host=False)
        warn_unless_converged(type(self).__name__, solution)
        if not solution.reliable.all():
            return False
        means = self._left_out(group, members, points, splits, solution)
        errors[[split - first for _, split in members]] = means
        return True

    def _left_out(
        self,
        group: PreparedJobs,
        members: list[tuple[int, int]],
        points: list[_Point],
        splits: Splits,
        solution: Solution,
    ) -> NDArray[np.float64]:
        """Weighted means of squared errors, and over targets, (members, points)."""
        if group.has_gram:
            places = np.repeat([place for place, _ in members], len(points))
            residual, _, _, _, weight = group.kernels.squared_errors(
                group.gram(), places, solution.coef, solution.intercept, group.execution
            )
            found: NDArray[np.float64] = residual.mean(axis=1) / weight
            return found.reshape(len(members), len(points))
        means = np.empty((len(members), len(points)))
        for i, (_, split) in enumerate(members):
            rows = splits.test_rows(split)
            X, Y = group.X[rows], group.Y[rows]
            weights = np.ones(len(X)) if group.weights is None else group.weights[rows].astype(np.float64)
            for j in range(len(points)):
                fit = i * len(points) + j
                answers = X @ solution.coef[fit].T + solution.intercept[fit]
                means[i, j] = weights @ ((Y - answers) ** 2).mean(axis=1) / weights.sum()
        return means

    def _refit(self, group: PreparedJobs, point: _Point, split: int) -> bool:
        """Fit on a split's rows with the penalty chosen."""
        place = _place(group, split)
        seed = seed_of(self.selection, self.random_state)
        solution = descend(group, [self._settings(place, point, seed, True)], kernel=self._kernel)
        if not solution.reliable.all():
            return False
        warn_unless_converged(type(self).__name__, solution)
        self._store(group.dataset, solution.coef[0], solution.intercept[0])
        self.dual_gap_ = solution.gap[0].astype(self.coef_.dtype)[0]
        self.n_iter_ = int(solution.sweeps[0, 0])
        return True


def _place(group: PreparedJobs, split: int) -> int:
    """Of a split within its group."""
    return next(i for i, job in zip(group.splits, group.jobs, strict=True) if job.split == split)


class ElasticNetCV(ChoosesPenalty, linear_model.ElasticNetCV):  # type: ignore[misc]
    """Elastic net whose penalties are chosen by cross-validation.

    Every fold and every ``l1_ratio`` has a path of penalties; all of them, and the final fit, share one pass
    over `X` (the Gram of each fold), and the errors of the left-out rows come from their own Gram.

    Parameters
    ----------
    l1_ratio : float or list of float, default=0.5
        Shares of the l1 penalty to try, in [0, 1].
    eps : float, default=1e-3
        Smallest penalty of an automatic path, relative to the largest.
    alphas : int or array-like, default=100
        Penalties to try, or how many, from the one at which all coefficients are zero down to `eps` times it.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not penalised.
    precompute : "auto", bool or array-like of shape (n_features, n_features), default="auto"
        Accepted: whether a Gram pays is decided by the data's shape. A Gram that is handed over runs in
        scikit-learn's own solver.
    max_iter : int, default=1000
        Sweeps over the coefficients, at most, for each fit.
    tol : float, default=1e-4
        Of the duality gap, relative to ``||y||^2``.
    cv : int, splitter or iterable, default=None
        None for 5 folds.
    copy_X : bool, default=True
        Accepted for compatibility: `X` is never changed.
    verbose : bool or int, default=0
        For scikit-learn's own solver.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.
    positive : bool, default=False
        Whether to require coefficients >= 0.
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
    coef_ : ndarray of shape (n_features,)
    intercept_ : float
    mse_path_ : ndarray of shape (n_l1_ratio, n_alphas, n_folds) or (n_alphas, n_folds)
        Mean squared errors of the left-out rows.
    alphas_ : ndarray of shape (n_alphas,) or (n_l1_ratio, n_alphas)
        The penalties tried.
    dual_gap_ : float
    n_iter_ : int
        Sweeps of the final fit.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`, a Gram handed over).

    Examples
    --------
    >>> from manyfit.linear_model import ElasticNetCV
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = ElasticNetCV(l1_ratio=[0.5, 0.9, 1.0]).fit(X, y)
    >>> model.mse_path_.shape
    (3, 100, 5)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.ElasticNetCV._parameter_constraints,
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
        precompute: Any = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        cv: Any = None,
        copy_X: bool = True,
        verbose: bool | int = 0,
        n_jobs: int | None = None,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
        device: str = "cpu",
    ) -> None:
        super().__init__(
            l1_ratio=l1_ratio,
            eps=eps,
            alphas=alphas,
            fit_intercept=fit_intercept,
            precompute=precompute,
            max_iter=max_iter,
            tol=tol,
            cv=cv,
            copy_X=copy_X,
            verbose=verbose,
            n_jobs=n_jobs,
            positive=positive,
            random_state=random_state,
            selection=selection,
        )
        self.device = device


class LassoCV(ChoosesPenalty, linear_model.LassoCV):  # type: ignore[misc]
    """Lasso whose penalty is chosen by cross-validation.

    Every fold has a path of penalties; all of them, and the final fit, share one pass over `X` (the Gram of
    each fold), and the errors of the left-out rows come from their own Gram.

    Parameters
    ----------
    eps : float, default=1e-3
        Smallest penalty of an automatic path, relative to the largest.
    alphas : int or array-like, default=100
        Penalties to try, or how many, from the one at which all coefficients are zero down to `eps` times it.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not penalised.
    precompute : "auto", bool or array-like of shape (n_features, n_features), default="auto"
        Accepted: whether a Gram pays is decided by the data's shape. A Gram that is handed over runs in
        scikit-learn's own solver.
    max_iter : int, default=1000
        Sweeps over the coefficients, at most, for each fit.
    tol : float, default=1e-4
        Of the duality gap, relative to ``||y||^2``.
    copy_X : bool, default=True
        Accepted for compatibility: `X` is never changed.
    cv : int, splitter or iterable, default=None
        None for 5 folds.
    verbose : bool or int, default=False
        For scikit-learn's own solver.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.
    positive : bool, default=False
        Whether to require coefficients >= 0.
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
    coef_ : ndarray of shape (n_features,)
    intercept_ : float
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        Mean squared errors of the left-out rows.
    alphas_ : ndarray of shape (n_alphas,)
        The penalties tried.
    dual_gap_ : float
    n_iter_ : int
        Sweeps of the final fit.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`, a Gram handed over).

    Examples
    --------
    >>> from manyfit.linear_model import LassoCV
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = LassoCV().fit(X, y)
    >>> model.mse_path_.shape
    (100, 5)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.LassoCV._parameter_constraints,
        "device": Estimator._parameter_constraints["device"],
    }
    path = staticmethod(lasso_path)

    def __init__(
        self,
        *,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        precompute: Any = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        copy_X: bool = True,
        cv: Any = None,
        verbose: bool | int = False,
        n_jobs: int | None = None,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
        device: str = "cpu",
    ) -> None:
        super().__init__(
            eps=eps,
            alphas=alphas,
            fit_intercept=fit_intercept,
            precompute=precompute,
            max_iter=max_iter,
            tol=tol,
            copy_X=copy_X,
            cv=cv,
            verbose=verbose,
            n_jobs=n_jobs,
            positive=positive,
            random_state=random_state,
            selection=selection,
        )
        self.device = device
