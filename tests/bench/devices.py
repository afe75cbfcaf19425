"""Work on a GPU: ours on data that lie there, beside CuPy, PyTorch and our own CPU path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .case import MANYFIT, Contender, Library, Run
from .contenders import Estimator, SweepResult
from .data import Array, Data
from .quality import Quality

CUPY = Library("CuPy", "cupy")
TORCH = Library("PyTorch", "torch")
CPU = Library("manyfit on the CPU", "manyfit", takes_n_jobs=True)
GRAM = Library("the Gram alone", "manyfit")
TRANSFER = Library("the transfer alone", "cupy")

#: Bytes and operations per second of an H200: memory as measured by a copy; float32 and, on tensor cores, float64.
H200_BYTES, H200_FLOPS = 4.3e12, 67e12


def gram_bound(rows: int, columns: int, dtype: str) -> float:
    """Seconds an H200 needs at least for half of ``X' X``: to read X once, or to multiply."""
    nbytes = rows * columns * np.dtype(dtype).itemsize
    return max(nbytes / H200_BYTES, rows * columns * (columns + 1) / H200_FLOPS)


def uploaded(data: Data) -> tuple[Any, Any]:
    """X and y in the memory of the first device."""
    from manyfit._cuda import Array

    return Array.upload(data.X, 0), None if data.y is None else Array.upload(data.y, 0)


def fold_gram(data: Data, folds: int) -> Run:
    """Our kernel alone, for so many folds."""
    from manyfit import _cuda

    X, y = uploaded(data)
    n = len(data.X)
    begin = [n * k // folds for k in range(folds + 1)]
    train = [int(k != j or folds == 1) for k in range(folds) for j in range(folds)]
    atoms, execution = _cuda.Folds(0, n, begin, train, []), _cuda.Execution()

    def run() -> Any:
        found = _cuda.fold_gram(X, y, None, atoms, execution)
        _cuda.synchronize(0, execution)
        return found

    return run


def grams() -> tuple[Contender, ...]:
    """The second moments of all rows."""

    def ours(data: Data, threads: int) -> Run:
        return fold_gram(Data(data.X), 1)

    def cupy(data: Data, threads: int) -> Run:
        import cupy

        X = cupy.asarray(data.X)

        def run() -> Any:
            product = X.T @ X
            cupy.cuda.get_current_stream().synchronize()
            return product

        return run

    def torch(data: Data, threads: int) -> Run:
        import torch

        X = torch.as_tensor(data.X, device="cuda")

        def run() -> Any:
            product = X.T @ X
            torch.cuda.synchronize()
            return product

        return run

    return Contender(MANYFIT, ours), Contender(CUPY, cupy), Contender(TORCH, torch)


@dataclass(frozen=True, kw_only=True)
class GramMatrix(Quality):
    """``X' X``, relative to the lengths of the columns."""

    what: ClassVar[str] = "X'X as summed in float64"

    def reference(self, data: Data) -> Array:
        """Summed in float64, some rows at a time."""
        total = np.zeros((data.X.shape[1],) * 2)
        for begin in range(0, len(data.X), 100_000):
            part = data.X[begin : begin + 100_000].astype(np.float64)
            total += part.T @ part
        return total

    def error(self, result: Any, expected: Array, data: Data) -> float:
        """The largest error over the lengths of its two columns."""
        if hasattr(result, "shift"):
            found = _about_zero(result)
        else:
            found = np.asarray(result.get() if hasattr(result, "get") else result.cpu().numpy(), np.float64)
        length = np.sqrt(np.diag(expected))
        return float((np.abs(found - expected) / np.outer(length, length)).max())


def _about_zero(gram: Any) -> Array:
    """``X' X`` of our moments, which are about a shift."""
    from manyfit import _cuda

    d = gram.n_features
    M = gram.moments(_cuda.Execution()).sum(axis=0)[: 1 + d, : 1 + d]
    M = np.tril(M) + np.tril(M, -1).T
    shift = np.asarray(gram.shift)[:d]
    sums = M[0, 1:]
    return M[1:, 1:] + np.outer(shift, sums) + np.outer(sums, shift) + M[0, 0] * np.outer(shift, shift)


def on_device(estimator: Estimator, *, resident: bool = True, cpu_once: bool = True) -> tuple[Contender, ...]:
    """Fit with ``device="cuda"``, from the device's memory or from NumPy's, against our CPU path."""
    cuda = Estimator(estimator.module, estimator.name, {**estimator.params, "device": "cuda"})

    def ours(data: Data, threads: int) -> Run:
        make = cuda.of(MANYFIT, threads)
        X, y = uploaded(data) if resident else (data.X, data.y)
        return lambda: make().fit(X, y)

    def cpu(data: Data, threads: int) -> Run:
        make = estimator.of(CPU, threads)
        return lambda: make().fit(data.X, data.y)

    return Contender(MANYFIT, ours), Contender(CPU, cpu, once=cpu_once)


def sweep_on_device(
    estimator: Estimator, params: Sequence[dict[str, Any]], folds: int, *, resident: bool = True
) -> tuple[Contender, ...]:
    """``fit_many`` with ``device="cuda"`` against the Gram or the transfer alone, and our CPU path."""

    def of(device: str) -> Callable[[Data, int], Run]:
        def prepare(data: Data, threads: int) -> Run:
            import manyfit

            make = Estimator(estimator.module, estimator.name, {**estimator.params, "device": device}).of(
                MANYFIT, threads
            )
            X, y = uploaded(data) if resident and device == "cuda" else (data.X, data.y)

            def run() -> SweepResult:
                population = manyfit.fit_many(make(), X, y, params=list(params), cv=folds)
                models = list(population)
                rows = [models[i * folds : (i + 1) * folds] for i in range(len(params))]
                return SweepResult(population.test_scores, rows)

            return run

        return prepare

    def gram(data: Data, threads: int) -> Run:
        return fold_gram(data, folds)

    def transfer(data: Data, threads: int) -> Run:
        import cupy

        def run() -> Any:
            moved = cupy.asarray(data.X)
            cupy.cuda.get_current_stream().synchronize()
            return moved

        return run

    beside = Contender(GRAM, gram) if resident else Contender(TRANSFER, transfer)
    return Contender(MANYFIT, of("cuda")), beside, Contender(CPU, of("cpu"))


@dataclass(frozen=True, kw_only=True)
class AsOnTheCpu(Quality):
    """Scores and coefficients of our CPU path; what is timed for comparison alone has no error."""

    estimator: Estimator
    params: Sequence[dict[str, Any]] = ()
    folds: int = 0

    what: ClassVar[str] = "scores and coefficients as on the CPU"

    def reference(self, data: Data) -> Any:
        """By our CPU path."""
        if self.params:
            return sweep_on_device(self.estimator, self.params, self.folds)[2].prepare(data, 0)()
        return self.estimator.of(CPU, -1)().fit(data.X, data.y)

    def error(self, result: Any, expected: Any, data: Data) -> float:
        """The largest error of a score, or of a coefficient over the largest."""
        if isinstance(expected, SweepResult):
            if not isinstance(result, SweepResult):
                return 0.0
            return float(np.abs(result.scores - expected.scores).max())
        size = float(np.abs(expected.coef_).max())
        return float(np.abs(result.coef_ - expected.coef_).max() / size)
