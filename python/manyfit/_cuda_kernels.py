"""The kernels of a GPU, under the names and with the arguments of the core's."""

from __future__ import annotations

import os
from typing import Any

from numpy.typing import NDArray

from manyfit._native import core

__all__ = ["CudaKernels", "kernels_of"]

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

    def __getattr__(self, name: str) -> Any:
        return getattr(core, name)

    # --- arrays ---

    def upload(self, array: NDArray[Any]) -> Any:
        """A copy on the device."""
        return self.module.Array.upload(array, self.index)

    def is_here(self, array: Any) -> bool:
        """Whether an array is one of the CUDA module's, not NumPy's."""
        return isinstance(array, self.module.Array)

    def _execution(self, execution: core.Execution) -> Any:
        return self.module.Execution(execution.threads, execution.progress)

    def predict(
        self, X: Any, coef: NDArray[Any], intercept: NDArray[Any], execution: core.Execution
    ) -> tuple[Any, bool]:
        """``X @ coef.T + intercept`` of an array on the device, there, and whether all of it is finite."""
        answer, finite = self.module.predict(X, coef, intercept, self._execution(execution))
        return answer, bool(finite)

    # --- forms of the data ---

    def fold_gram(
        self, X: Any, Y: Any, sample_weight: Any, folds: core.Folds, execution: core.Execution
    ) -> core.FoldGram:
        """Second moments of every atom, of arrays on the device or on the host."""
        X, Y, sample_weight = (a.numpy() if self.is_here(a) else a for a in (X, Y, sample_weight))
        if Y is not None and Y.ndim == 1:
            Y = Y[:, None]
        return core.fold_gram(X, Y, sample_weight, folds, execution)
