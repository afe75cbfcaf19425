"""The kernels of a GPU, under the names and with the arguments of the core's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyfit._native import core

__all__ = ["CudaKernels", "kernels_of"]

_SEED = 7  # column of a descent's settings
_SMALL = 1 << 20  # bytes of a table that goes to the device unasked
FEW = 1 << 17  # multiply-adds that a processor has done before a device has answered

_made: dict[int, CudaKernels] = {}


def kernels_of(module: Any, index: int) -> CudaKernels:
    """Return the kernels of device `index`; raises DeviceError where there is none or it cannot be used."""
    found = _made.get(index)
    if found is None or found.process != os.getpid():
        module.facts(index)  # raises what is wrong, in a forked process too
        found = _made[index] = CudaKernels(module, index)
    return found


class CudaKernels:
    """What stands in for the core where a device is asked for.

    A function that has a kernel on the device runs there; any other is the core's and is given what lies on the host.

    Attributes
    ----------
    index : int
        Of the device.
    name : str
        ``"cuda:<index>"``.
    """

    def __init__(self, module: Any, index: int) -> None:
        self.module = module
        self.index = index
        self.name = f"cuda:{index}"
        self.process = os.getpid()
        self._widest_ridge: int = module.widest_ridge(index)

    def __getattr__(self, name: str) -> Any:
        return getattr(core, name)

    # --- what lies on the device ---

    def upload(self, array: NDArray[Any]) -> Any:
        """A copy on the device; a table for which there is no room stays where it is, and is streamed."""
        table = array.ndim == 2 and array.nbytes >= _SMALL
        if table and not self.module.logistic_rows_fit(len(array), array.nbytes, self.index):
            return array
        return self.module.Array.upload(array, self.index)

    def _on_host(self, array: Any) -> Any:
        """The same array, of NumPy."""
        return array.numpy() if self.is_here(array) else array

    def is_here(self, array: Any) -> bool:
        """Whether an array is one of the CUDA module's, not NumPy's."""
        return isinstance(array, self.module.Array)

    def folds(self, folds: core.Folds) -> Any:
        """The atoms of folds on the device, kept with them."""
        kept = _kept(folds)
        if self.index not in kept:
            kept[self.index] = self.module.Folds(
                self.index, folds.n_rows, folds.atom_begin, folds.train, folds.order
            )
        return kept[self.index]

    def moments(self, prepared: Any) -> Any:
        """What the device holds of a fold Gram, or None for one that was made on the host, and other forms."""
        return getattr(prepared, "on_device", {}).get(self.index)

    def execution(self, execution: core.Execution) -> Any:
        """The same for the CUDA module's calls."""
        return self.module.Execution(execution.threads, execution.progress)

    # --- kernels ---

    def fold_gram(
        self, X: Any, Y: Any, sample_weight: Any, folds: core.Folds, execution: core.Execution
    ) -> core.FoldGram:
        """Second moments of every atom, of arrays that all lie on the device, or of rows on the host."""
        run, here = self.execution(execution), self.folds(folds)
        if self.is_here(X):
            found = self.module.fold_gram(X, Y, sample_weight, here, run)
        else:
            targets, weights = self._on_host(Y), self._on_host(sample_weight)
            found = self.module.fold_gram_streamed(X, targets, weights, here, folds.order, run)
        gram = core.FoldGram.from_moments(
            found.n_features, found.n_targets, found.precision, found.shift, found.moments(run), folds
        )
        found.folds = here
        _kept(gram)[self.index] = found
        return gram

    def ridge(
        self,
        prepared: Any,
        splits: Sequence[int],
        fit_intercept: Sequence[bool],
        alpha: NDArray[Any],
        execution: core.Execution,
    ) -> Any:
        """Ridge of every job: coefficients (jobs, targets, features), intercepts, and whether they keep all digits.

        A few small systems, and wide ones, are the core's: their moments are on the host too.
        """
        moments = self.moments(prepared)
        few = moments is not None and len(splits) * moments.n_features**3 <= FEW
        if moments is None or few or moments.n_features > self._widest_ridge:
            return core.ridge(prepared, splits, fit_intercept, alpha, execution)
        run = self.execution(execution)
        return self.module.ridge(moments, moments.folds, splits, fit_intercept, alpha, run)

    def coordinate_descent(
        self,
        prepared: core.FoldGram,
        settings: NDArray[np.float64],
        start: NDArray[np.float64] | None,
        execution: core.Execution,
    ) -> Any:
        """Lasso and elastic net of every job; coordinates in random order, and many columns, are the core's."""
        moments = self.moments(prepared)
        in_order = bool((settings[:, _SEED] < 0).all())
        if moments is None or not in_order or moments.n_features > self.module.widest_descent:
            return core.coordinate_descent(prepared, settings, start, execution)
        run = self.execution(execution)
        return self.module.coordinate_descent(moments, moments.folds, settings, start, run)

    def logistic(
        self,
        X: Any,
        codes: NDArray[np.int64],
        sample_weight: Any,
        folds: core.Folds,
        n_classes: int,
        fit_intercept: bool,
        class_weights: NDArray[np.float64],
        splits: Sequence[int],
        class_weight: Sequence[int],
        C: Sequence[float],
        l1_ratio: Sequence[float],
        tol: Sequence[float],
        max_iter: Sequence[int],
        start: Sequence[NDArray[np.float64] | None],
        execution: core.Execution,
    ) -> Any:
        """The core's steps, whose passes over the rows run on the device."""
        passes = self._passes(
            X, codes, sample_weight, folds, n_classes, fit_intercept, class_weights, execution
        )
        return core.logistic_passes(
            passes.port(), folds, splits, class_weight, C, l1_ratio, tol, max_iter, start, execution
        )

    def logistic_scores(
        self,
        X: Any,
        codes: NDArray[np.int64],
        sample_weight: Any,
        folds: core.Folds,
        n_classes: int,
        splits: Sequence[int],
        coef: NDArray[np.float64],
        execution: core.Execution,
    ) -> NDArray[np.float64]:
        """Of models, on the rows left out: (jobs, 3) sums of weights, right and loss."""
        ones = np.ones((1, n_classes))
        passes = self._passes(X, codes, sample_weight, folds, n_classes, True, ones, execution)
        return core.logistic_passes_scores(passes.port(), folds, splits, coef, execution)

    def _passes(
        self,
        X: Any,
        codes: Any,
        sample_weight: Any,
        folds: core.Folds,
        n_classes: int,
        fit_intercept: bool,
        class_weights: NDArray[np.float64],
        execution: core.Execution,
    ) -> Any:
        arrays = (a if a is None or self.is_here(a) else self.upload(a) for a in (X, codes, sample_weight))
        return self.module.LogisticPasses(
            *arrays,
            self.folds(folds),
            n_classes,
            fit_intercept,
            class_weights,
            self.execution(execution),
            folds.order,  # read where X stays on the host
        )

    def predict(
        self, X: Any, coef: NDArray[Any], intercept: NDArray[Any], execution: core.Execution
    ) -> tuple[Any, bool]:
        """``X @ coef.T + intercept`` of an array on the device, there, and whether all of it is finite."""
        answer, finite = self.module.predict(X, coef, intercept, self.execution(execution))
        return answer, bool(finite)


def _kept(owner: Any) -> dict[int, Any]:
    """What devices keep of folds or a Gram, by device."""
    kept: dict[int, Any] | None = getattr(owner, "on_device", None)
    if kept is None:
        kept = owner.on_device = {}
    return kept
