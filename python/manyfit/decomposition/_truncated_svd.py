"""Truncated singular value decomposition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import decomposition
from sklearn.utils.validation import check_is_fitted

from manyfit._device_answers import affine_on_device, also_on_device
from manyfit._device_arrays import DeviceInput, like, on_host
from manyfit._execution import backend, execution
from manyfit._native import core
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset, plain
from manyfit.splits import Splits

__all__ = ["TruncatedSVD"]

# Where rows and columns are both more than this, finding few components at random costs far less.
EXACT_SIZE = 2000

_OVERFLOW = (
    "TruncatedSVD: X must be small enough for its squares and its variance to be finite in its dtype; "
    "rescale it"
)


class TruncatedSVD(Estimator, decomposition.TruncatedSVD):  # type: ignore[misc]
    """Truncated singular value decomposition: latent semantic analysis.

    Projects on the directions that keep most of the squares of `X`, which is not centred. Exact: from the second
    moments of the columns, in one pass over `X`, which serves every number of components and every fold of
    a population; from inner products of the rows where they are fewer than the columns. Where squares would
    lose digits of a singular value asked for, a QR factorisation takes their place.

    Parameters
    ----------
    n_components : int, default=2
        How many components to keep, at most ``n_features``; with "arpack" fewer than rows and columns.
    algorithm : {"randomized", "arpack"}, default="randomized"
        Either gives the exact decomposition, except on sparse `X` and where both sides of `X` are more than
        2000: there scikit-learn's solver of that name runs.
    n_iter : int, default=5
        For scikit-learn's "randomized".
    n_oversamples : int, default=10
        For scikit-learn's "randomized".
    power_iteration_normalizer : {"auto", "QR", "LU", "none"}, default="auto"
        For scikit-learn's "randomized".
    random_state : int, RandomState instance or None, default=None
        For scikit-learn's solvers.
    tol : float, default=0.0
        For scikit-learn's "arpack".
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Right singular vectors, by descending singular value; each one's entry of largest size is positive.
    explained_variance_ : ndarray of shape (n_components,)
        Variance of the projected rows, with divisor ``n_samples``.
    explained_variance_ratio_ : ndarray of shape (n_components,)
    singular_values_ : ndarray of shape (n_components,)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran.

    Examples
    --------
    >>> from manyfit.decomposition import TruncatedSVD
    >>> from sklearn.datasets import load_digits
    >>> svd = TruncatedSVD(n_components=3).fit(load_digits().data)
    >>> svd.singular_values_.round(1)
    array([2193.1,  567. ,  542. ])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **decomposition.TruncatedSVD._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        n_components: int = 2,
        *,
        algorithm: str = "randomized",
        n_iter: int = 5,
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        random_state: Any = None,
        tol: float = 0.0,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            n_components=n_components,
            algorithm=algorithm,
            n_iter=n_iter,
            n_oversamples=n_oversamples,
            power_iteration_normalizer=power_iteration_normalizer,
            random_state=random_state,
            tol=tol,
        )
        self.device = device
        self.n_jobs = n_jobs

    _devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
        y : Ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter that breaks its rule, and for data that is not finite, empty, or of a single feature.
        """
        return self._fit_one(X)

    def fit_transform(self, X: Any, y: Any = None) -> NDArray[Any]:
        """Fit the model and project `X` on its components.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
        y : Ignored

        Returns
        -------
        ndarray of shape (n_samples, n_components)
        """
        dataset = X if isinstance(X, Dataset) else Dataset(X)
        self._check()
        if dataset.on_device:
            dataset.assert_placed(self)
        if self._runs_here(dataset):
            projected: NDArray[Any] = self.fit(dataset).transform(dataset.X)
            return projected
        # A truncated decomposition finds the projected rows too, and they are not quite what transform gives.
        projected = self._sklearn_fit_transform(on_host(dataset.X))
        self.fit_backend_ = "scikit-learn"
        return projected

    @also_on_device
    def transform(self, X: Any) -> Any:
        """Project `X` on the components.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_components)
        """
        # As in the linear models: NaN and infinity in X show in the answer, and the general path says so.
        components = self.__dict__.get("components_")
        named = "feature_names_in_" in self.__dict__
        if components is not None and not named and plain(X, 2) and X.shape[1] == components.shape[1]:
            with np.errstate(invalid="ignore", over="ignore"):
                answer: NDArray[Any] = X @ components.T
                ok = np.isfinite(answer.sum())
            if ok:
                return answer
        general: NDArray[Any] = super().transform(X)
        return general

    def _answer_on_device(self, X: Any, method: str) -> Any:
        check_is_fitted(self)
        answer, kernels = affine_on_device(self, X, self.components_, np.zeros(len(self.components_)))
        return like(X.given if isinstance(X, DeviceInput) else X, answer, kernels)

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        self._sklearn_fit_transform(X)

    def _sklearn_fit_transform(self, X: Any) -> NDArray[Any]:
        projected: NDArray[Any] = super().fit_transform(X)
        if not np.isfinite(self.explained_variance_).all():
            raise ValueError(_OVERFLOW)
        if not self.explained_variance_.any():  # no variance to divide by
            self.explained_variance_ratio_ = np.zeros_like(self.explained_variance_)
        return projected

    def _runs_here(self, dataset: Dataset) -> bool:
        return super()._runs_here(dataset) and min(dataset.shape(self)) <= EXACT_SIZE

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        if dataset.sample_weight is not None:
            raise ValueError(f"{cls.__name__}: sample_weight must be None, as TruncatedSVD takes no weights")
        for folds in splits.groups:
            place = {split: i for i, split in enumerate(folds.splits)}
            members = [job for job in jobs if job.split in place]
            if members:
                _decompose(members, [place[job.split] for job in members], dataset, folds)
        return []

    def _check_count(self, n: int, d: int) -> int:
        """How many components to ask for."""
        count = int(self.n_components)
        if d < 2:
            raise ValueError(
                f"Found array with {d} feature(s) (shape={(n, d)}) while a minimum of 2 is required by "
                "TruncatedSVD."
            )
        if self.algorithm == "arpack" and count >= min(n, d):
            raise ValueError(
                f"TruncatedSVD: n_components={count} must be < min(n_samples, n_features)={min(n, d)} with "
                "algorithm='arpack'"
            )
        if count > d:
            raise ValueError(f"TruncatedSVD: n_components({count}) must be <= n_features({d}).")
        return count

    def _store(self, fit: tuple[Any, ...], dtype: np.dtype[Any]) -> None:
        values, components, variance, total, _ = fit
        with np.errstate(over="ignore"):
            typed, typed_values = variance.astype(dtype), values.astype(dtype)
        if not (np.isfinite(typed).all() and np.isfinite(typed_values).all()):
            raise ValueError(_OVERFLOW)
        self.components_ = np.array(components, dtype=dtype, order="C")
        self.explained_variance_ = typed
        ratio = variance / total if total > 0 else np.zeros_like(variance)
        self.explained_variance_ratio_ = ratio.astype(dtype)
        self.singular_values_ = typed_values

    def _check_loaded(self) -> None:
        """Raise ValueError where fitted attributes do not belong together."""
        k, d = self.components_.shape
        for name in ("explained_variance_", "explained_variance_ratio_", "singular_values_"):
            if getattr(self, name).shape != (k,):
                raise ValueError(f"{name} must have shape {(k,)}, got {getattr(self, name).shape}")
        if self.n_features_in_ != d:
            raise ValueError(f"components_ must have {self.n_features_in_} columns, got {d}")


def _decompose(jobs: Sequence[Job], places: list[int], dataset: Dataset, folds: core.Folds) -> None:
    owner = jobs[0].estimator
    n_rows, n_features = dataset.shape(owner)
    wide = n_rows < n_features
    kernels, run = backend(owner.device), execution(owner.n_jobs)
    counts = [
        job.estimator._check_count(folds.training_rows(place), n_features)
        for job, place in zip(jobs, places, strict=True)
    ]

    def made(name: str, folds: core.Folds | None, make: Callable[[], Any]) -> Any:
        form = dataset.form(name, folds, make, kernels)
        if not form.finite:
            dataset.assert_finite(owner)
            raise ValueError(_OVERFLOW)
        return form

    if wide:
        X = dataset.matrix(owner)
        forms: list[Callable[[], Any]] = [
            lambda: made("row Gram", None, lambda: kernels.row_gram(X, run)),
            lambda: made("row QR", None, lambda: kernels.row_qr(X, run)),
        ]
    else:
        # a form made for a regression, with its targets, serves as well
        forms = [
            lambda: (
                dataset.made("fold Gram", folds, kernels)
                or made(
                    "fold Gram of X",
                    folds,
                    lambda: kernels.fold_gram(*dataset.placed(kernels, owner, targets=False), folds, run),
                )
            ),
            lambda: (
                dataset.made("fold QR", folds, kernels)
                or made(
                    "fold QR of X",
                    folds,
                    lambda: kernels.fold_qr(dataset.matrix(owner), None, None, folds, run),
                )
            ),
        ]
    left = list(range(len(jobs)))
    for form in forms:  # the second is the more accurate one
        chosen = [places[b] for b in left], [counts[b] for b in left]
        if wide:
            fits = kernels.truncated_svd_dual(form(), X, folds, *chosen, run)
        else:
            fits = kernels.truncated_svd(form(), *chosen, run)
        last = form is forms[-1]
        for b, fit in zip(left, fits, strict=True):
            if fit[-1] or last:
                jobs[b].estimator._store(fit, dataset.dtype(owner))
        left = [] if last else [b for b, fit in zip(left, fits, strict=True) if not fit[-1]]
        if not left:
            return
