"""Principal component analysis of rows that come in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn import decomposition
from sklearn.utils import gen_batches
from sklearn.utils.validation import validate_data

from manyfit._execution import backend, execution
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset, plain
from manyfit.splits import Splits

__all__ = ["IncrementalPCA"]

_OVERFLOW = "IncrementalPCA: X must be small enough for its variance to be finite in its dtype; rescale it"


class IncrementalPCA(Estimator, decomposition.IncrementalPCA):  # type: ignore[misc]
    """Principal component analysis, batch by batch.

    Keeps the leading singular values and vectors of the rows seen so far, and combines them with each batch, in memory
    that does not grow with the number of rows. As scikit-learn's, on the same batches, but from second moments of a
    batch (one pass over `X` for every number of components of a population), and from a singular value
    decomposition of the batch itself only where squares would lose digits of a component kept.

    Parameters
    ----------
    n_components : int, default=None
        How many components to keep; None: ``min(n_samples, n_features)`` of the first batch.
    whiten : bool, default=False
        Whether transformed components are scaled to unit variance.
    copy : bool, default=True
        Accepted for compatibility: `X` is never changed.
    batch_size : int, default=None
        Rows that ``fit`` takes at a time; None: ``5 * n_features``.
    device : "cpu", default="cpu"
        Where to compute; there is no CUDA kernel yet.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features)
        Directions of unit length, by descending variance; each one's entry of largest size is positive.
    explained_variance_ : ndarray of shape (n_components_,)
        With divisor ``n_samples_seen_ - 1``.
    explained_variance_ratio_ : ndarray of shape (n_components_,)
    singular_values_ : ndarray of shape (n_components_,)
    mean_ : ndarray of shape (n_features,)
        Of all rows seen, in float64.
    var_ : ndarray of shape (n_features,)
        Of all rows seen, with divisor ``n_samples_seen_``, in float64.
    noise_variance_ : float
        Mean variance of the components that the last batch left out.
    n_components_ : int
    n_samples_seen_ : int
    batch_size_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own loop over batches ran (sparse `X`).

    Examples
    --------
    >>> from manyfit.decomposition import IncrementalPCA
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits().data
    >>> pca = IncrementalPCA(n_components=3, batch_size=200).fit(X[:1000])
    >>> pca.partial_fit(X[1000:]).explained_variance_ratio_.round(2)
    array([0.15, 0.13, 0.1 ])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **decomposition.IncrementalPCA._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        whiten: bool = False,
        copy: bool = True,
        batch_size: int | None = None,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(n_components=n_components, whiten=whiten, copy=copy, batch_size=batch_size)
        self.device = device
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the model, in batches of `batch_size` rows; what was seen before is forgotten.

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
            For a parameter that breaks its rule, for data that is not finite or empty, and for a first batch
            with fewer rows than components.
        """
        return self._fit_one(X)

    def partial_fit(self, X: Any, y: Any = None, check_input: bool = True) -> Self:
        """Add rows, as a single batch.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored
        check_input : bool, default=True
            Whether to check `X`; False for a finite ndarray of floats.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter that breaks its rule, for data that is not finite, empty or of another number of
            columns than before, and for a first batch with fewer rows than components.
        TypeError
            For sparse `X`.
        """
        self._check()
        first = self.__dict__.get("components_") is None
        if check_input:
            if issparse(X):
                raise TypeError(
                    "IncrementalPCA.partial_fit does not support sparse input. Either convert data to dense or use "
                    "IncrementalPCA.fit to do so in batches."
                )
            X = validate_data(self, X, dtype=[np.float64, np.float32], reset=first)
        if not plain(X, 2):
            X = np.array(X, order="C")
        n, d = X.shape
        count = self._check_count(n, d, first)
        if not first and len(self.components_) != count:
            raise ValueError(
                f"Number of input features has changed from {len(self.components_)} to {count} between calls to "
                "partial_fit! Try setting n_components to a fixed value."
            )
        start = None
        if not first:
            start = {
                "seen": int(self.n_samples_seen_),
                "mean": self.mean_.astype(np.float64),
                "variance": self.var_.astype(np.float64),
                "values": self.singular_values_.astype(np.float64),
                "components": self.components_.astype(np.float64),
            }
        kernels, run = backend(self.device), execution(self.n_jobs)
        states = kernels.incremental_pca(X, None, [0, n], [count], start, run)
        if not states:
            raise ValueError(_OVERFLOW)
        self._store(states[0], X.dtype)
        self.fit_backend_ = "manyfit"
        return self

    def transform(self, X: Any) -> NDArray[Any]:
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

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        super().fit(X)  # which hands batches to partial_fit

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        if dataset.sample_weight is not None:
            raise ValueError(
                f"{cls.__name__}: sample_weight must be None, as IncrementalPCA takes no weights"
            )
        owner = jobs[0].estimator
        X = dataset.matrix(owner)
        kernels, run = backend(owner.device), execution(owner.n_jobs)
        alike: dict[Any, list[tuple[Any, int]]] = {}  # jobs that take the same batches
        for model, split in jobs:
            n = len(X) if splits.pairs is None else len(splits.pairs[split][0])
            model.batch_size_ = 5 * X.shape[1] if model.batch_size is None else int(model.batch_size)
            begin = [0]
            for batch in gen_batches(n, model.batch_size_, min_batch_size=model.n_components or 0):
                begin.append(batch.stop)
            count = model._check_count(begin[1], X.shape[1], True)
            alike.setdefault((split, *begin), []).append((model, count))
        for (split, *begin), members in alike.items():
            rows = None if splits.pairs is None else splits.pairs[split][0]
            counts = [count for _, count in members]
            states = kernels.incremental_pca(X, rows, begin, counts, None, run)
            dataset.passes.append("Grams of batches")
            if not states:
                dataset.assert_finite(owner)
                raise ValueError(_OVERFLOW)
            for (model, _), state in zip(members, states, strict=True):
                model._store(state, X.dtype)
        return []

    def _check_count(self, n: int, d: int, first: bool) -> int:
        """How many components to keep, for a batch of n rows."""
        if self.n_components is None:
            return min(n, d) if first else len(self.components_)
        count = int(self.n_components)
        if count > d:
            raise ValueError(
                f"IncrementalPCA: n_components={count} invalid for n_features={d}, need more rows than columns for "
                "IncrementalPCA processing"
            )
        if first and count > n:
            raise ValueError(
                f"IncrementalPCA: n_components={count} must be less or equal to the batch number of samples {n} "
                "for the first partial_fit call."
            )
        return count

    def _store(self, state: dict[str, Any], dtype: np.dtype[Any]) -> None:
        values, seen = state["values"], state["seen"]
        variance = values**2 / max(seen - 1, 1)
        total = state["variance"].sum() * seen
        with np.errstate(over="ignore"):
            typed = variance.astype(dtype)
        if not (np.isfinite(typed).all() and np.isfinite(state["mean"]).all()):
            raise ValueError(_OVERFLOW)
        self.n_samples_seen_ = np.int64(seen)
        self.mean_: NDArray[np.float64] = state["mean"]
        self.var_: NDArray[np.float64] = state["variance"]
        self.components_ = state["components"].astype(dtype)
        self.singular_values_ = values.astype(dtype)
        self.explained_variance_ = typed
        ratio = values**2 / total if total > 0 else np.zeros_like(values)
        self.explained_variance_ratio_ = ratio.astype(dtype)
        self.noise_variance_ = float(state["noise_variance"])
        self.n_components_ = len(values)

    def _check_loaded(self) -> None:
        """Raise ValueError where fitted attributes do not belong together."""
        k, d = self.components_.shape
        for name, shape in (
            ("mean_", (d,)),
            ("var_", (d,)),
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
        if int(self.n_samples_seen_) < 1:
            raise ValueError(f"n_samples_seen_ must be >= 1, got {self.n_samples_seen_}")
