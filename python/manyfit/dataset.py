"""Data that many fits share, with the forms that kernels prepare from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import (
    _check_y,
    assert_all_finite,
    check_array,
    check_consistent_length,
)

from manyfit._device_arrays import DeviceInput, held, refuse_on_cpu
from manyfit._execution import backend, reporter
from manyfit._labels import checked_labels
from manyfit._native import core

__all__ = ["Dataset"]

Form = TypeVar("Form")
FINITE_BLOCK = 1 << 22  # numbers
SMALL_TABLE = 1 << 20  # numbers, up to which a sparse matrix may as well be dense
FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


def plain(array: object, ndim: int) -> bool:
    """Whether kernels can read `array` where it lies: a float32 or float64 ndarray, whatever its strides."""
    return (
        type(array) is np.ndarray
        and array.ndim == ndim
        and array.dtype in FLOATS
        and array.size > 0
        and array.flags.aligned
        and not any(stride % array.itemsize for stride in array.strides)
    )


def _name(estimator: object) -> str:
    return type(estimator).__name__


class Dataset:
    """Data that many fits share.

    Holds `X`, `y` and weights as they are given, and what kernels prepare from them (Grams of the folds,
    triangular factors), each made at most once, on first use. ``fit``, ``fit_many`` and the searches make one
    silently; keep one to share the prepared forms across calls.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Float32 and float64 arrays of any memory order are read in place; anything else is converted
        once. Not copied: do not change it while the dataset is in use. An array on a GPU is held as a
        view that is copied to the host only if something reads it there.
    y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
    sample_weight : array-like of shape (n_samples,) or float, default=None
        Weights >= 0, not all zero.
    groups : array-like of shape (n_samples,), default=None
        Groups that splitters such as ``GroupKFold`` keep together.

    Attributes
    ----------
    passes : list of str
        What has been prepared so far, one entry for each pass over `X`.

    Examples
    --------
    >>> import manyfit as mf
    >>> from manyfit.linear_model import Ridge
    >>> from sklearn.datasets import load_diabetes
    >>> data = mf.Dataset(*load_diabetes(return_X_y=True))
    >>> coarse = mf.fit_many(Ridge(), data, params=[{"alpha": 1.0}, {"alpha": 100.0}], cv=5)
    >>> fine = mf.fit_many(Ridge(), data, params=[{"alpha": 0.3}, {"alpha": 3.0}], cv=5)
    >>> data.passes
    ['fold Gram']
    """

    def __init__(self, X: Any, y: Any = None, sample_weight: Any = None, groups: Any = None) -> None:
        self.X = held(X, "X")
        self.y = held(y, "y")
        self.sample_weight = held(sample_weight, "sample_weight")
        self.groups = held(groups, "groups")
        self.passes: list[str] = []
        self._matrix: NDArray[Any] | None = None
        self._targets: NDArray[Any] | None = None
        self._labels: tuple[NDArray[Any], NDArray[np.int64]] | None = None
        self._weights: NDArray[Any] | None = None
        self._forms: dict[Any, Any] = {}
        self._folds: list[core.Folds] = []
        self._variants: dict[Any, Dataset] = {}
        self._uploads: dict[tuple[int, int], tuple[Any, Any]] = {}  # by array and device: both

    def __repr__(self) -> str:
        shape = getattr(self.X, "shape", None) or (len(self.X),)
        given = [name for name in ("y", "sample_weight", "groups") if getattr(self, name) is not None]
        return f"Dataset(X: {' x '.join(map(str, shape))}{''.join(', ' + name for name in given)})"

    @property
    def sparse(self) -> bool:
        """Whether `X` is a sparse matrix."""
        return bool(issparse(self.X))

    @property
    def on_device(self) -> bool:
        """Whether some of the arrays lie on a device."""
        return DeviceInput in (type(self.X), type(self.y), type(self.sample_weight))

    @property
    def small(self) -> bool:
        """Whether `X`, if it is sparse, is small as a dense table too."""
        if not self.sparse:
            return True
        if getattr(getattr(self.X, "indices", None), "dtype", np.int32) != np.int32:
            return False  # scikit-learn says which solvers take such indices
        return bool(self.X.shape[0] * self.X.shape[1] <= SMALL_TABLE)

    def matrix(self, estimator: object) -> NDArray[Any]:
        """`X` as a float32 or float64 array of shape (n_samples, n_features), NaN and infinity included."""
        if self._matrix is None:
            X = self.X
            if type(X) is DeviceInput:
                X = X.host()
            if not plain(X, 2):
                X = check_array(
                    X,
                    dtype=[np.float64, np.float32],
                    accept_sparse="csr" if self.small else False,
                    ensure_all_finite=False,
                    input_name="X",
                    estimator=estimator,
                )
                if issparse(X):
                    X = X.toarray()  # type: ignore[attr-defined]
                if not plain(X, 2):
                    X = np.array(X, order="C")
            self._matrix = X
        return self._matrix

    def shape(self, estimator: object) -> tuple[int, int]:
        """Of :meth:`matrix`."""
        n, d = self.X.shape if self._X_stays else self.matrix(estimator).shape
        return n, d

    def dtype(self, estimator: object) -> np.dtype[Any]:
        """Of :meth:`matrix`."""
        return self.X.dtype if self._X_stays else self.matrix(estimator).dtype

    def n_targets(self, estimator: object) -> int:
        """Columns of :meth:`targets_2d`."""
        if self._y_stays:
            return 1 if self.y.ndim == 1 else int(self.y.shape[1])
        return int(self.targets_2d(estimator).shape[1])

    def single_target(self, estimator: object) -> bool:
        """Whether :meth:`targets` is of one dimension."""
        return bool(self.y.ndim == 1) if self._y_stays else self.targets(estimator).ndim == 1

    @property
    def _y_stays(self) -> bool:
        """Whether kernels on the device read `y` where it lies."""
        return self._X_stays and type(self.y) is DeviceInput and self.X.dtype == self.y.dtype

    @property
    def _X_stays(self) -> bool:
        return type(self.X) is DeviceInput

    def targets(self, estimator: object) -> NDArray[Any]:
        """`y` in the dtype of `X`, of shape (n_samples,) or (n_samples, n_targets)."""
        if self._targets is None:
            y = self.y
            if y is None:
                raise ValueError(
                    f"This {_name(estimator)} estimator requires y to be passed, but the target y is None."
                )
            if type(y) is DeviceInput:
                y = y.host()
            n, dtype = self.shape(estimator)[0], self.dtype(estimator)
            if not (plain(y, 1) or plain(y, 2)):
                y = _check_y(y, multi_output=True, y_numeric=True, estimator=estimator)
            if len(y) != n:
                check_consistent_length(self.X, y)
            y = np.asarray(y, dtype=dtype)
            if not plain(y, y.ndim):
                y = np.array(y, order="C")
            self._targets = y
        return self._targets

    def targets_2d(self, estimator: object) -> NDArray[Any]:
        """`y` of shape (n_samples, n_targets)."""
        y = self.targets(estimator)
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def labels(self, estimator: object) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The classes in `y`, sorted, and for each sample the place of its class among them."""
        if self._labels is None:
            n, _ = self.shape(estimator)
            if self.y is None:
                raise ValueError(
                    f"This {_name(estimator)} estimator requires y to be passed, but the target y is None."
                )
            y = checked_labels(self.y.host() if type(self.y) is DeviceInput else self.y, _name(estimator))
            if len(y) != n:
                check_consistent_length(self.X, y)
            classes, codes = np.unique(y, return_inverse=True)
            self._labels = classes, codes.astype(np.int64)
        return self._labels

    def weights(self, estimator: object) -> NDArray[Any] | None:
        """Sample weights of shape (n_samples,) in the dtype of `X`, or None."""
        if self.sample_weight is None:
            return None
        if self._weights is None:
            (n, _), dtype = self.shape(estimator), self.dtype(estimator)
            name = _name(estimator)
            weights = np.asarray(self.sample_weight)
            if weights.ndim == 0:
                weights = np.full(n, weights)
            if weights.ndim != 1:
                raise ValueError(
                    f"{name}: sample_weight must be a number or 1-dimensional, got {weights.ndim}D array "
                    "(Sample weights must be 1D array or scalar)"
                )
            if len(weights) != n:
                raise ValueError(
                    f"{name}: sample_weight must have one value per sample ({n}), got {len(weights)}; "
                    f"sample_weight.shape == {weights.shape}, expected {(n,)}!"
                )
            weights = check_array(
                weights, ensure_2d=False, dtype=dtype, input_name="sample_weight", estimator=estimator
            )
            if (weights < 0).any():
                row = int(np.argmax(weights < 0))
                raise ValueError(
                    f"{name}: sample_weight must be >= 0, got {weights[row]} for sample {row} "
                    "(Negative values in data passed to `sample_weight`)"
                )
            if not weights.any():
                raise ValueError(
                    f"{name}: sample_weight must not be all zero (Sample weights must contain at least one "
                    "non-zero number.)"
                )
            self._weights = np.ascontiguousarray(weights)
        return self._weights

    def assert_finite(self, estimator: object) -> None:
        """Raise scikit-learn's ValueError where `X`, `y` or the weights hold NaN or infinity."""
        name = _name(estimator)
        X = self.matrix(estimator)
        rows = max(1, FINITE_BLOCK // X.shape[1])
        report = reporter("finite check")
        for begin in range(0, len(X), rows):  # in pieces, so that Ctrl-C comes through
            report(begin / len(X))
            assert_all_finite(X[begin : begin + rows], estimator_name=name, input_name="X")
        if self._y_stays:
            self.targets(estimator)
        if self._targets is not None:
            assert_all_finite(self._targets, estimator_name=name, input_name="y")

    # --- on a device ---

    def assert_placed(self, estimator: Any) -> None:
        """Raise where the arrays on a device are not such as the estimator's device can read."""
        name, device = type(estimator).__name__, estimator.device
        here = [
            (label, array)
            for label, array in (("X", self.X), ("y", self.y), ("sample_weight", self.sample_weight))
            if type(array) is DeviceInput
        ]
        if device == "cpu":
            refuse_on_cpu(estimator, *here[0])
        kernels = backend(device)
        for label, array in here:
            if array.array.device != kernels.index:
                raise ValueError(
                    f"{name}: {label} must lie on {kernels.name} (device={device!r}), got an array on "
                    f"cuda:{array.array.device}; set device='cuda:{array.array.device}', or copy the array"
                )
        if self._X_stays:
            if self.X.dtype not in FLOATS:
                raise ValueError(
                    f"{name}: X must have dtype float32 or float64 on the device, got {self.X.dtype}; convert it "
                    "first, for example by X.astype('float32')"
                )
            shape = self.X.shape
            if len(shape) != 2 or 0 in shape:  # scikit-learn says what is wrong with that
                rows = np.broadcast_to(self.X.dtype.type(0), shape)
                check_array(rows, dtype=None, ensure_all_finite=False, input_name="X", estimator=estimator)
        if self._y_stays:
            shape = self.y.shape
            if len(shape) not in (1, 2):
                raise ValueError(f"{name}: y must have 1 or 2 dimensions, got {len(shape)}")
            if shape[0] != self.X.shape[0]:
                check_consistent_length(self.X, self.y)
            if 0 in shape:
                raise ValueError(f"{name}: y must have at least one target, got shape {shape}")

    def n_columns(self, estimator: object) -> int:
        """Of `X`, wherever it lies."""
        columns: int = (self.X if self._X_stays else self.matrix(estimator)).shape[1]
        return columns

    def resident(self, kernels: Any, estimator: object) -> Any:
        """`X` on the device of `kernels`, copied there once; where there is no room for it, as it is."""
        if self._X_stays:
            return self.kept(self.X, kernels)
        X = self.matrix(estimator)
        return self.kept(X, kernels) if self._is_kept(X, kernels) or kernels.has_room(X) else X

    def placed(self, kernels: Any, estimator: object, targets: bool = True) -> tuple[Any, Any, Any]:
        """`X`, targets of two dimensions and weights, where kernels that read them once are to find them.

        On the device, if `X` is there; elsewhere as arrays of NumPy.
        """
        if kernels is core:
            Y = self.targets_2d(estimator) if targets else None
            return self.matrix(estimator), Y, self.weights(estimator) if targets else None
        X: Any = self.X if self._X_stays else self.matrix(estimator)
        arrays: list[Any] = [X, None, None]
        if targets:
            arrays[1] = self.y if self._y_stays else self.targets_2d(estimator)
            arrays[2] = self.weights(estimator)
        if self._X_stays or self._is_kept(X, kernels):
            arrays = [array if array is None else self.kept(array, kernels) for array in arrays]
        return arrays[0], arrays[1], arrays[2]

    def _is_kept(self, array: Any, kernels: Any) -> bool:
        return (id(array), kernels.index) in self._uploads

    def kept(self, array: Any, kernels: Any) -> Any:
        """An array on the device of `kernels`, copied there once and kept with this dataset."""
        if type(array) is DeviceInput:
            return array.array
        key = id(array), kernels.index
        if key not in self._uploads:  # the host's array is kept, and so its id
            self._uploads[key] = array, kernels.upload(array)
        return self._uploads[key][1]

    def known_folds(self, groups: list[core.Folds]) -> list[core.Folds]:
        """The same groups of splits, as the very objects met before where they are equal."""
        known = []
        for folds in groups:
            same = next((old for old in self._folds if old == folds), None)
            if same is None:
                self._folds.append(folds)
            known.append(same or folds)
        return known

    def made(self, name: str, folds: core.Folds | None, kernels: Any = core) -> Any:
        """The prepared form `name` for `folds` if it has been made, or None."""
        return self._forms.get(self._place(name, folds, kernels))

    def _place(self, name: str, folds: core.Folds | None, kernels: Any) -> Any:
        return name, id(folds), id(kernels)

    def form(
        self, name: str, folds: core.Folds | None, make: Callable[[], Form], kernels: Any = core
    ) -> Form:
        """The prepared form `name` for `folds`, made on first use; `kernels` say on which device."""
        place = self._place(name, folds, kernels)
        if place not in self._forms:
            self._forms[place] = make()
            if folds is not None and not any(folds is old for old in self._folds):
                self._folds.append(folds)  # kept alive: forms are found by identity
            self.passes.append(name)
        form: Form = self._forms[place]
        return form

    def variant(self, key: Any, make: Callable[[], tuple[Any, Any]]) -> Dataset:
        """A dataset over the same `X` with (y, sample_weight) of its own, made once for each key."""
        if key not in self._variants:
            y, weights = make()
            other = Dataset(self.X, y, weights, self.groups)
            other._share(self)
            self._variants[key] = other
        return self._variants[key]

    def _share(self, other: Dataset) -> None:
        """Have the `X` of another dataset, as it is prepared there, and its list of passes."""
        self._matrix, self.passes, self._uploads = other._matrix, other.passes, other._uploads
