"""Principal component analysis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import decomposition
from sklearn.decomposition._pca import _infer_dimension
from sklearn.utils.validation import check_is_fitted

from manyfit._device_answers import affine_on_device, also_on_device
from manyfit._device_arrays import DeviceInput, like, on_host
from manyfit._execution import backend, execution
from manyfit._native import core
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset, plain
from manyfit.splits import Splits

__all__ = ["PCA"]

# Below this many rows or columns the exact decomposition costs no more than a randomized one.
EXACT_SIZE = 2000

_ONE_SAMPLE = "PCA: X must have at least 2 samples for a variance, got n_samples=1 (shape {shape})"
_OVERFLOW = "PCA: X must be small enough for its variance to be finite in its dtype; rescale it"


class PCA(Estimator, decomposition.PCA):  # type: ignore[misc]
    """Principal component analysis.

    Projects on the orthogonal directions of greatest variance. From the covariance, in one pass over `X`,
    which serves every number of components and every fold of a population; from a QR factorisation where
    every digit of the small variances is asked for (``svd_solver="full"``); from inner products of the rows
    where they are fewer than the columns.

    Parameters
    ----------
    n_components : int, float or "mle", default=None
        How many components to keep; a float in (0, 1): as many as explain more than this share of the
        variance; "mle": Minka's choice; None: all, ``min(n_samples, n_features)``.
    copy : bool, default=True
        Accepted for compatibility: `X` is never changed.
    whiten : bool, default=False
        Whether transformed components are scaled to unit variance.
    svd_solver : {"auto", "full", "covariance_eigh", "arpack", "randomized"}, default="auto"
        "arpack" and "randomized" run scikit-learn's own. "auto" is exact up to 2000 rows or columns and
        beyond that scikit-learn's choice.
    tol : float, default=0.0
        For "arpack".
    iterated_power : int or "auto", default="auto"
        For "randomized".
    n_oversamples : int, default=10
        For "randomized".
    power_iteration_normalizer : {"auto", "QR", "LU", "none"}, default="auto"
        For "randomized".
    random_state : int, RandomState instance or None, default=None
        For "arpack" and "randomized".
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features)
        Directions of unit length, by descending variance; each one's entry of largest size is positive.
    explained_variance_ : ndarray of shape (n_components_,)
        With divisor ``n_samples - 1``.
    explained_variance_ratio_ : ndarray of shape (n_components_,)
    singular_values_ : ndarray of shape (n_components_,)
        Of the centred `X`.
    mean_ : ndarray of shape (n_features,)
    n_components_ : int
    n_samples_ : int
    noise_variance_ : float
        Mean variance of the components left out.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran.

    Examples
    --------
    >>> from manyfit.decomposition import PCA
    >>> from sklearn.datasets import load_iris
    >>> pca = PCA(n_components=2).fit(load_iris().data)
    >>> pca.explained_variance_ratio_.round(3)
    array([0.925, 0.053])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **decomposition.PCA._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        n_components: int | float | str | None = None,
        *,
        copy: bool = True,
        whiten: bool = False,
        svd_solver: str = "auto",
        tol: float = 0.0,
        iterated_power: int | str = "auto",
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        random_state: Any = None,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            n_components=n_components,
            copy=copy,
            whiten=whiten,
            svd_solver=svd_solver,
            tol=tol,
            iterated_power=iterated_power,
            n_oversamples=n_oversamples,
            power_iteration_normalizer=power_iteration_normalizer,
            random_state=random_state,
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
            For a parameter that breaks its rule, for data that is not finite or empty, and for a single
            sample.
        """
        return self._fit_one(X)

    def fit_transform(self, X: Any, y: Any = None) -> NDArray[Any]:
        """Fit the model and project `X` on its components.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : Ignored

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
        """
        dataset = X if isinstance(X, Dataset) else Dataset(X)
        self._check()
        if dataset.on_device:
            dataset.assert_placed(self)
        if self._runs_here(dataset):
            projected: NDArray[Any] = self.fit(dataset).transform(dataset.X)
            return projected
        # A truncated decomposition finds the projected rows too, and they are not quite what transform gives.
        projected = super().fit_transform(self._writable(on_host(dataset.X)))
        self._check_sklearn_fit()
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
        ndarray of shape (n_samples, n_components_)
        """
        # As in the linear models: NaN and infinity in X show in the answer, and the general path says so.
        components = self.__dict__.get("components_")
        named = "feature_names_in_" in self.__dict__
        if components is not None and not named and plain(X, 2) and X.shape[1] == components.shape[1]:
            with np.errstate(invalid="ignore", over="ignore"):
                answer: NDArray[Any] = X @ components.T
                answer -= self.mean_ @ components.T
                if self.whiten:
                    scale = np.sqrt(self.explained_variance_)
                    answer /= np.maximum(scale, np.finfo(scale.dtype).eps)
                ok = np.isfinite(answer.sum())
            if ok:
                return answer
        general: NDArray[Any] = super().transform(X)
        return general

    def _answer_on_device(self, X: Any, method: str) -> Any:
        check_is_fitted(self)
        coef = self.components_.astype(np.float64)
        if self.whiten:
            scale = np.sqrt(self.explained_variance_)
            coef /= np.maximum(scale, np.finfo(scale.dtype).eps)[:, None]
        answer, kernels = affine_on_device(self, X, coef, -(coef @ self.mean_.astype(np.float64)))
        return like(X.given if isinstance(X, DeviceInput) else X, answer, kernels)

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        shape: tuple[int, ...] = getattr(X, "shape", ())
        if len(shape) == 2 and shape[0] == 1:
            raise ValueError(_ONE_SAMPLE.format(shape=shape))
        super().fit(self._writable(X))
        self._check_sklearn_fit()

    def _check_sklearn_fit(self) -> None:
        """Hold scikit-learn's own fit to what we promise of finite data."""
        if not np.isfinite(self.explained_variance_).all():
            raise ValueError(_OVERFLOW)
        if not self.explained_variance_.any():
            self.explained_variance_ratio_ = np.zeros_like(self.explained_variance_)

    def _writable(self, X: Any) -> Any:
        """`X`, or a copy where scikit-learn would write into it."""
        return np.array(X) if isinstance(X, np.ndarray) and not self.copy else X

    def _runs_here(self, dataset: Dataset) -> bool:
        return super()._runs_here(dataset) and self._solver(dataset) not in ("arpack", "randomized")

    def _solver(self, dataset: Dataset) -> str:
        """`svd_solver` with "auto" resolved."""
        if self.svd_solver != "auto" or dataset.sparse:
            return str(self.svd_solver)
        n, d = dataset.shape(self)
        if n >= 10 * d and d <= 1000:
            return "covariance_eigh"
        if max(n, d) <= 500 or self.n_components == "mle":
            return "full"
        few = isinstance(self.n_components, Integral) and 1 <= int(self.n_components) < 0.8 * min(n, d)
        if not few:
            return "full"
        return "covariance_eigh" if min(n, d) <= EXACT_SIZE else "randomized"

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        if dataset.sample_weight is not None:
            raise ValueError(f"{cls.__name__}: sample_weight must be None, as PCA takes no weights")
        for folds in splits.groups:
            place = {split: i for i, split in enumerate(folds.splits)}
            for solver in ("covariance_eigh", "full"):
                members = [j for j in jobs if j.split in place and j.estimator._solver(dataset) == solver]
                if members:
                    _decompose(members, [place[j.split] for j in members], dataset, folds, splits, solver)
        return []

    @classmethod
    def _score_population(
        cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits, metric: str = "score"
    ) -> NDArray[np.float64] | None:
        """Mean log-likelihood of every job on its left-out rows, from their covariance."""
        if metric != "score":
            return None
        scores: dict[int, float] = {}
        for folds in splits.groups:
            kernels = backend(jobs[0].estimator.device)
            gram = dataset.made("fold Gram", folds, kernels) or dataset.made("fold Gram of X", folds, kernels)
            for place, split in enumerate(folds.splits):
                members = [job.estimator for job in jobs if job.split == split]
                n_test = len(splits.test_rows(split))
                if not members:
                    continue
                if gram is None or n_test == 0:
                    return None
                moments = gram.moments(place, "test", True)
                for model in members:
                    score = model._log_likelihood(moments["gram"] / n_test, moments["mean"])
                    if score is None:
                        return None
                    scores[id(model)] = score
        return np.array([scores[id(job.estimator)] for job in jobs])

    def _log_likelihood(self, covariance: NDArray[np.float64], mean: NDArray[np.float64]) -> float | None:
        """Mean log-likelihood, under this model, of rows with the given moments.

        The model's precision is ``(I - V' diag(1 - noise / variance) V) / noise``. None where it is singular.
        Source: Tipping, Bishop 1999.
        """
        V = self.components_.astype(np.float64)
        variance = self.explained_variance_.astype(np.float64)
        noise, rest = float(self.noise_variance_), V.shape[1] - len(V)
        if not (variance > noise).all() or (noise <= 0) != (rest == 0):
            return None
        offset = mean - self.mean_
        along = np.einsum("kd,kd->k", V @ covariance, V) + (V @ offset) ** 2
        distance = (along / variance).sum()
        log_determinant = np.log(variance).sum()
        if rest:
            total = np.trace(covariance) + offset @ offset
            distance += (total - along.sum()) / noise
            log_determinant += rest * np.log(noise)
        return float(-0.5 * (distance + log_determinant + V.shape[1] * np.log(2 * np.pi)))

    def _check_count(self, n: int, d: int, solver: str) -> int:
        """How many components to ask for; 0 stands for all."""
        count: Any = self.n_components
        if n < 2:
            raise ValueError(_ONE_SAMPLE.format(shape=(n, d)))
        if count == "mle":
            if n < d:
                raise ValueError("PCA: n_components='mle' is only supported if n_samples >= n_features")
            return 0
        if count is None or not isinstance(count, Integral):
            return 0
        if not 0 <= int(count) <= min(n, d):
            raise ValueError(
                f"PCA: n_components={count!r} must be between 0 and min(n_samples, n_features)={min(n, d)} "
                f"with svd_solver={solver!r}"
            )
        return max(1, int(count))

    def _store(self, fit: tuple[Any, ...], n: int, dtype: np.dtype[Any], solver: str) -> None:
        mean, variance, components, total, _ = fit
        d = len(mean)
        with np.errstate(over="ignore"):
            typed = variance.astype(dtype)
        if not (np.isfinite(typed).all() and np.isfinite(mean).all()):
            raise ValueError(_OVERFLOW)
        ratio = variance / total if total > 0 else np.zeros_like(variance)
        count: Any = self.n_components
        if count is None:
            count = min(n, d)
        elif count == "mle":
            count = int(_infer_dimension(variance, n))
        elif not isinstance(count, Integral):
            count = int(np.searchsorted(np.cumsum(ratio), count, side="right")) + 1
        count = min(int(count), len(variance))
        rest = min(n, d) - count
        self._fit_svd_solver = solver
        self.mean_ = mean.astype(dtype)
        self.components_ = np.array(components[:count], dtype=dtype, order="C")
        self.explained_variance_ = typed[:count].copy()
        self.explained_variance_ratio_ = ratio[:count].astype(dtype)
        self.singular_values_ = np.sqrt(variance[:count] * (n - 1)).astype(dtype)
        noise = max(total - float(variance[:count].sum()), 0.0) / rest if rest > 0 else 0.0
        if rest > 0 and len(variance) == min(n, d):
            noise = float(variance[count:].mean())  # no cancellation where all are at hand
        self.noise_variance_ = dtype.type(noise) if rest > 0 else 0.0
        self.n_components_ = count
        self.n_samples_ = n

    def _check_loaded(self) -> None:
        """Raise ValueError where fitted attributes do not belong together."""
        k, d = self.components_.shape
        for name, shape in (
            ("mean_", (d,)),
            ("explained_variance_", (k,)),
            ("explained_variance_ratio_", (k,)),
            ("singular_values_", (k,)),
        ):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {getattr(self, name).shape}")
        if self.n_features_in_ != d or self.n_components_ != k:
            raise ValueError(
                f"components_ must have shape {(self.n_components_, self.n_features_in_)}, got {(k, d)}"
            )


def _decompose(
    jobs: Sequence[Job], places: list[int], dataset: Dataset, folds: core.Folds, splits: Splits, solver: str
) -> None:
    owner = jobs[0].estimator
    n_rows, n_features = dataset.shape(owner)
    kernels, run = backend(owner.device), execution(owner.n_jobs)
    rows = [folds.training_rows(place) for place in places]
    counts = [job.estimator._check_count(n, n_features, solver) for job, n in zip(jobs, rows, strict=True)]

    def made(name: str, folds: core.Folds | None, make: Callable[[], Any]) -> Any:
        form = dataset.form(name, folds, make, kernels)
        if not form.finite:
            dataset.assert_finite(owner)
            raise ValueError(_OVERFLOW)
        return form

    if n_rows < n_features:
        X = dataset.matrix(owner)
        gram = made("row Gram", None, lambda: kernels.row_gram(X, run))
        fits = kernels.pca_dual(gram, X, folds, places, counts, run)
        if solver == "full" and not all(reliable for *_, reliable in fits):
            qr = made("row QR", None, lambda: kernels.row_qr(X, run))
            fits = kernels.pca_dual(qr, X, folds, places, counts, run)
    elif solver == "full":
        # a form made for a regression, with its targets, serves as well
        qr = dataset.made("fold QR", folds, kernels) or made(
            "fold QR of X", folds, lambda: kernels.fold_qr(dataset.matrix(owner), None, None, folds, run)
        )
        fits = kernels.pca(qr, places, counts, run)
    else:
        moments = dataset.made("fold Gram", folds, kernels) or made(
            "fold Gram of X",
            folds,
            lambda: kernels.fold_gram(*dataset.placed(kernels, owner, targets=False), folds, run),
        )
        fits = kernels.pca(moments, places, counts, run)
    for job, fit, n in zip(jobs, fits, rows, strict=True):
        job.estimator._store(fit, n, dataset.dtype(owner), solver)
