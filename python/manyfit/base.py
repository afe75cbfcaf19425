"""The base of every estimator: checks, the one code path of fit, export and files."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_feature_names

from manyfit._device_arrays import DeviceInput, on_host
from manyfit._execution import backend, threads
from manyfit._parameters import DeviceName, check_parameters
from manyfit.dataset import Dataset
from manyfit.exceptions import DeviceError
from manyfit.splits import Splits

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Estimator", "Job"]


class Job(NamedTuple):
    """One fit of a population: which estimator, and which split of the data it trains on."""

    estimator: Any
    split: int


class Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Base of every estimator. A fit is a population of one.

    A subclass declares ``_parameter_constraints``, and gives ``_train_population``, which fits many jobs on
    one dataset at once, and ``_runs_here``. Where scikit-learn has an estimator of that name, the
    subclass inherits from it too: what our kernels do not cover runs there.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "device": [DeviceName()],
        "n_jobs": [None, Integral],
    }

    # Where this estimator has kernels; with "cuda", at least the pass over X runs on the GPU.
    _devices: ClassVar[tuple[str, ...]] = ("cpu",)

    # --- what a subclass gives ---

    def _runs_here(self, dataset: Dataset) -> bool:
        """Whether our kernels cover these parameters on this data."""
        return not dataset.sparse

    @classmethod
    @abstractmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        """Fit every job's estimator; return the jobs that are left to scikit-learn."""

    @classmethod
    def _score_population(
        cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits, metric: str = "score"
    ) -> NDArray[np.float64] | None:
        """Scores on the left-out rows without a pass over X, or None where there is no such way.

        `metric` is the name of one of scikit-learn's scorers, "score" the estimator's own score.
        """
        return None

    # --- the one code path ---

    def _fit_one(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        if isinstance(X, Dataset):
            if y is not None or sample_weight is not None:
                raise ValueError(
                    f"{type(self).__name__}: y and sample_weight must be None when X is a Dataset"
                )
            dataset = X
        else:
            dataset = Dataset(X, y, sample_weight)
        self._train([Job(self, 0)], dataset, None)
        return self

    @classmethod
    def _train(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits | None) -> None:
        """Fit every job's estimator on the rows its split trains on; splits None: on all rows."""
        here: list[Job] = []
        elsewhere: list[Job] = []
        for job in jobs:
            job.estimator._check()
            if dataset.on_device:
                dataset.assert_placed(job.estimator)
            (here if job.estimator._runs_here(dataset) else elsewhere).append(job)
        if here:
            n_rows, n_features = dataset.shape(here[0].estimator)
            if splits is None:
                splits = Splits(n_rows)
            weights = dataset.weights(here[0].estimator)
            if weights is not None:
                splits.assert_weight(weights)
            splits.groups = dataset.known_folds(splits.groups)
            for job in here:
                job.estimator._note_columns(dataset.X, n_features)
            left = cls._train_population(here, dataset, splits)
            for job in here:
                job.estimator.fit_backend_ = "manyfit"
            elsewhere.extend(left)
        for job in elsewhere:
            job.estimator._fit_sklearn(dataset, splits, job.split)

    def _check(self) -> None:
        """Raise for parameters that break their rules and for a device or threads that are not there."""
        check_parameters(self)
        if self.device != "cpu":
            self._check_device()
        threads(self.n_jobs)

    def _check_device(self) -> None:
        if "cuda" not in self._devices:
            raise DeviceError(
                f"{type(self).__name__}: device={self.device!r}: no step of {type(self).__name__} has a CUDA kernel; "
                "device='cpu' is what it has"
            )
        backend(self.device)

    def _note_columns(self, X: Any, n_features: int) -> None:
        if type(X) is np.ndarray or type(X) is DeviceInput:
            self.__dict__.pop("feature_names_in_", None)
        else:
            _check_feature_names(self, X, reset=True)
        self.n_features_in_ = n_features

    def _fit_sklearn(self, dataset: Dataset, splits: Splits | None, split: int) -> None:
        """Fit by scikit-learn's own solver, on the rows that `split` trains on."""
        arrays = [dataset.X, dataset.y, dataset.sample_weight]
        if splits is not None and splits.pairs is not None:
            rows = splits.train_rows(split)
            arrays = [a if a is None or np.ndim(a) == 0 else _safe_indexing(a, rows) for a in arrays]
        X, y, weights = (on_host(array) for array in arrays)
        extra = {} if weights is None else {"sample_weight": weights}
        self._sklearn_fit(X, y, **extra)
        self.fit_backend_ = "scikit-learn"

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__}: no kernel covers these parameters on this data")

    # --- leaving ---

    def to_onnx(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        profile: str = "portable",
        dtype: str = "float32",
        X: Any = None,
    ) -> ModelProto:
        """Export the fitted model as ONNX, verified.

        The graph is compared with this model on probes made to break it before anything is returned or
        written.

        Parameters
        ----------
        path : str or path-like, default=None
            Where to write the model; None writes nothing.
        profile : {"portable", "ml"}, default="portable"
            Operators allowed; see :func:`manyfit.onnx.to_onnx`.
        dtype : {"float32", "float64"}, default="float32"
            Type of the model's input, arithmetic and output.
        X : array-like of shape (n_samples, n_features), default=None
            Rows to compare on, besides the probes.

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        ExportMismatch
            If the graph answers otherwise than this model; nothing is written.
        """
        from manyfit.onnx import to_onnx

        return to_onnx(self, path, profile=profile, dtype=dtype, X=X)

    def onnx_parser(self) -> Any:
        """Hook by which skl2onnx converts this estimator inside a Pipeline."""
        from manyfit.onnx import skl2onnx_hooks

        return skl2onnx_hooks.onnx_parser(self)

    def onnx_shape_calculator(self) -> Any:
        """Hook by which skl2onnx converts this estimator inside a Pipeline."""
        from manyfit.onnx import skl2onnx_hooks

        return skl2onnx_hooks.onnx_shape_calculator(self)

    def onnx_converter(self) -> Any:
        """Hook by which skl2onnx converts this estimator inside a Pipeline."""
        from manyfit.onnx import skl2onnx_hooks

        return skl2onnx_hooks.onnx_converter(self)
