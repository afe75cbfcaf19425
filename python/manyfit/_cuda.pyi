"""Typing of the CUDA module, the kernels of ``device="cuda"``.

What it computes, shapes and cost stand in the C++ headers ``*_cuda.h``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import bool_, float64
from numpy.typing import NDArray

build: str
simulated: bool

def device_count() -> int: ...
def facts(device: int) -> dict[str, Any]: ...
def synchronize(device: int, execution: Execution) -> None: ...

class Execution:
    def __init__(self, threads: int = 0, progress: Callable[[str, float], object] | None = None) -> None: ...

class Array:
    """An array on a device, of any strides."""

    @staticmethod
    def upload(array: NDArray[Any], device: int = 0) -> Array: ...
    def download(self, execution: Execution = ...) -> NDArray[Any]: ...
    def numpy(self) -> NDArray[Any]: ...
    def column(self) -> Array: ...
    def __len__(self) -> int: ...
    @property
    def device(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def strides(self) -> tuple[int, ...]: ...  # in elements
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...

def array(object: Any, name: str = "X") -> Array: ...

class Folds:
    def __init__(
        self,
        device: int,
        n_rows: int,
        atom_begin: NDArray[Any] | Sequence[int],
        train: NDArray[Any] | Sequence[int],
        order: NDArray[Any] | Sequence[int],
        test: NDArray[Any] | Sequence[int] = ...,
    ) -> None: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def n_atoms(self) -> int: ...
    @property
    def device(self) -> int: ...

class LogisticPasses:
    """Rows that `core.logistic_passes` fits logistic regressions on; those of NumPy are streamed in every pass."""

    def __init__(
        self,
        X: Array | NDArray[Any],
        codes: Array,
        sample_weight: Array | None,
        folds: Folds,
        n_classes: int,
        fit_intercept: bool,
        class_weights: NDArray[float64],
        execution: Execution,
        order: NDArray[Any] | None = None,  # of the folds, for rows that are streamed
    ) -> None: ...
    def port(self) -> object: ...  # a capsule

def logistic_rows_fit(rows: int, bytes: int, device: int) -> bool: ...
def predict(
    X: Array, coef: NDArray[Any], intercept: NDArray[Any], execution: Execution
) -> tuple[Array, bool]: ...  # (n, targets), and whether all of it is finite
def ridge(
    gram: FoldGram,
    folds: Folds,
    splits: Sequence[int],
    fit_intercept: Sequence[bool],
    alpha: NDArray[float64],
    execution: Execution,
) -> tuple[NDArray[float64] | Array, NDArray[float64], NDArray[bool_]]: ...  # many coefficients: an Array
def widest_ridge(device: int) -> int: ...
def squared_errors(
    gram: FoldGram,
    folds: Folds,
    splits: NDArray[np.int64] | Sequence[int],
    coef: Array,
    intercept: NDArray[float64],
    execution: Execution,
) -> tuple[NDArray[float64], ...]: ...  # as the core's

class FoldGram:
    """Second moments of every atom, on the device. Takes further attributes."""

    folds: Folds
    @property
    def n_features(self) -> int: ...
    @property
    def n_targets(self) -> int: ...
    @property
    def n_atoms(self) -> int: ...
    @property
    def stride(self) -> int: ...
    @property
    def precision(self) -> float: ...
    @property
    def shift(self) -> NDArray[float64]: ...
    @property
    def device(self) -> int: ...
    def moments(self, execution: Execution) -> NDArray[float64]: ...

def fold_gram(
    X: Array, Y: Array | None, sample_weight: Array | None, folds: Folds, execution: Execution
) -> FoldGram: ...
def fold_gram_streamed(
    X: NDArray[Any],
    Y: NDArray[Any] | None,
    sample_weight: NDArray[Any] | None,
    folds: Folds,
    order: NDArray[np.int64],
    execution: Execution,
) -> FoldGram: ...

widest_descent: int

def coordinate_descent(
    gram: FoldGram,
    folds: Folds,
    settings: NDArray[float64],
    start: NDArray[float64] | None,
    execution: Execution,
) -> tuple[Any, ...]: ...  # as the core's; many coefficients: an Array

# Of the simulated device alone.
def set_simulated_memory(bytes: int) -> None: ...
def simulated_memory_used() -> int: ...
def simulated_launches() -> int: ...
def simulated_downloads() -> int: ...  # bytes
