"""Typing of the extension modules ``_core_v2``, ``_core_v3``, ... (see ``_native``), which are all alike.

What it computes, shapes and cost stand in the C++ headers of the same names.
"""

from collections.abc import Callable, Sequence
from typing import Any

from numpy import bool_, float64, int32, int64, uint8
from numpy.typing import NDArray

_Floats = NDArray[Any]  # float32 or float64
_Linear = tuple[NDArray[float64], NDArray[float64], NDArray[bool_]]  # coef (jobs, t, d), intercept, reliable
_LeastSquares = tuple[NDArray[float64], NDArray[float64], NDArray[bool_], list[int], list[NDArray[float64]]]
_LeaveOneOut = tuple[
    NDArray[float64], NDArray[float64] | None, bool
]  # squares (alphas, t), residuals (rows, t, alphas), reliable
_Descents = tuple[
    NDArray[float64],
    NDArray[float64],
    NDArray[bool_],
    NDArray[float64],
    NDArray[float64],
    NDArray[float64],
    NDArray[float64],
]  # coef (jobs, t, d), intercept, reliable, gap (jobs, t or 1), tolerance, sweeps, converged
_Components = tuple[
    NDArray[float64], NDArray[float64], NDArray[float64], float, bool
]  # mean, variance, components, total variance, reliable
_Triplets = tuple[
    NDArray[float64], NDArray[float64], NDArray[float64], float, bool
]  # singular values, components, variance, total variance, reliable
_Steps = tuple[
    _Floats, float, _Floats, float, int, bool
]  # coef, intercept, average coef, average intercept, epochs, overflowed
_Descent = tuple[
    NDArray[float64],
    NDArray[float64],
    int,
    str,
    NDArray[float64],
    NDArray[float64],
    NDArray[float64],
    NDArray[float64],
]  # coef, intercept, steps, end, loss, gradient norm, coefs, intercepts

def lapack_routines() -> list[str]: ...
def blas_routines() -> list[str]: ...
def install_lapack(routines: dict[str, Any]) -> None: ...
def install_blas_threads(get: int, set: int) -> None: ...
def default_threads() -> int: ...
def set_default_threads(threads: int) -> None: ...
def thread_limits() -> dict[str, int]: ...
def build_info() -> dict[str, str]: ...
def philox_words(seed: int, stream: int, index: int) -> list[int]: ...

class Execution:
    def __init__(self, threads: int = 0, progress: Callable[[str, float], object] | None = None) -> None: ...
    @property
    def threads(self) -> int: ...
    @property
    def progress(self) -> Callable[[str, float], object] | None: ...

class Folds:
    @property
    def n_rows(self) -> int: ...
    @property
    def n_atoms(self) -> int: ...
    @property
    def splits(self) -> list[int]: ...
    @property
    def order(self) -> NDArray[int64]: ...
    @property
    def atom_begin(self) -> NDArray[int64]: ...
    @property
    def train(self) -> NDArray[int32]: ...
    @property
    def test(self) -> NDArray[int32]: ...
    def training_rows(self, split: int) -> int: ...
    def trained_on(self, split: int) -> NDArray[bool_]: ...

def all_rows(n_rows: int) -> Folds: ...
def one_split(sizes: Sequence[int], train: Sequence[int], test: Sequence[int]) -> Folds: ...
def make_folds(
    n_rows: int, splits: Sequence[tuple[NDArray[int64], NDArray[int64]]], max_atoms: int
) -> list[Folds]: ...

class FoldGram:
    @staticmethod
    def from_moments(
        n_features: int,
        n_targets: int,
        precision: float,
        shift: NDArray[float64],
        moments: NDArray[float64],
        folds: Folds,
    ) -> FoldGram: ...
    @property
    def finite(self) -> bool: ...
    @property
    def folds(self) -> Folds: ...
    @property
    def precision(self) -> float: ...
    @property
    def growth(self) -> float: ...
    def mapped(
        self,
        split: int,
        centre: NDArray[float64],
        map: NDArray[float64],
        offset: NDArray[float64],
        folds: Folds,
    ) -> FoldGram: ...
    def moments(self, split: int, part: str, centred: bool) -> dict[str, Any]: ...

class FoldQR:
    @property
    def finite(self) -> bool: ...
    @property
    def folds(self) -> Folds: ...

class RowGram:
    @property
    def finite(self) -> bool: ...

class RowQR:
    @property
    def finite(self) -> bool: ...

def fold_gram(
    X: _Floats, Y: _Floats | None, sample_weight: _Floats | None, folds: Folds, execution: Execution
) -> FoldGram: ...
def fold_qr(
    X: _Floats, Y: _Floats | None, sample_weight: _Floats | None, folds: Folds, execution: Execution
) -> FoldQR: ...
def column_ranges(
    X: _Floats, folds: Folds, execution: Execution
) -> tuple[NDArray[float64], NDArray[float64]]: ...  # smallest, largest (atoms, d)
def row_gram(X: _Floats, execution: Execution) -> RowGram: ...
def row_qr(X: _Floats, execution: Execution) -> RowQR: ...
def ridge(
    prepared: FoldGram | FoldQR,
    splits: Sequence[int],
    fit_intercept: Sequence[bool],
    alpha: NDArray[float64],
    execution: Execution,
) -> _Linear: ...
def ridge_dual(
    prepared: RowGram | RowQR,
    X: _Floats,
    Y: _Floats,
    sample_weight: _Floats | None,
    folds: Folds,
    splits: Sequence[int],
    fit_intercept: Sequence[bool],
    alpha: NDArray[float64],
    execution: Execution,
) -> _Linear: ...
def ridge_loo(
    prepared: FoldGram | FoldQR,
    X: _Floats,
    Y: _Floats,
    sample_weight: _Floats | None,
    splits: Sequence[int],
    fit_intercept: Sequence[bool],
    alphas: Sequence[Sequence[float]],
    keep: Sequence[bool],
    execution: Execution,
) -> list[_LeaveOneOut]: ...
def ridge_loo_dual(
    prepared: RowGram | RowQR,
    X: _Floats,
    Y: _Floats,
    sample_weight: _Floats | None,
    folds: Folds,
    splits: Sequence[int],
    fit_intercept: Sequence[bool],
    alphas: Sequence[Sequence[float]],
    keep: Sequence[bool],
    execution: Execution,
) -> list[_LeaveOneOut]: ...
def nonnegative(
    prepared: FoldGram,
    splits: Sequence[int],
    fit_intercept: Sequence[bool],
    alpha: NDArray[float64],
    execution: Execution,
) -> _Linear: ...

logistic_newton_size: int
logistic_proximal_size: int

def logistic(
    X: NDArray[Any],
    codes: NDArray[int64],
    sample_weight: NDArray[Any] | None,
    folds: Folds,
    n_classes: int,
    fit_intercept: bool,
    class_weights: NDArray[float64],
    splits: Sequence[int],
    class_weight: Sequence[int],
    C: Sequence[float],
    l1_ratio: Sequence[float],
    tol: Sequence[float],
    max_iter: Sequence[int],
    start: Sequence[NDArray[float64] | None],
    execution: Execution,
) -> tuple[NDArray[float64], list[int], list[bool], list[bool]]: ...
def logistic_scores(
    X: NDArray[Any],
    codes: NDArray[int64],
    sample_weight: NDArray[Any] | None,
    folds: Folds,
    n_classes: int,
    splits: Sequence[int],
    coef: NDArray[float64],
    execution: Execution,
) -> NDArray[float64]: ...
def logistic_passes(
    passes: object,  # a capsule
    folds: Folds,
    splits: Sequence[int],
    class_weight: Sequence[int],
    C: Sequence[float],
    l1_ratio: Sequence[float],
    tol: Sequence[float],
    max_iter: Sequence[int],
    start: Sequence[NDArray[float64] | None],
    execution: Execution,
) -> tuple[NDArray[float64], list[int], list[bool], list[bool]]: ...
def logistic_passes_scores(
    passes: object,  # a capsule
    folds: Folds,
    splits: Sequence[int],
    coef: NDArray[float64],
    execution: Execution,
) -> NDArray[float64]: ...
def linear_regression(
    prepared: FoldGram | FoldQR,
    splits: Sequence[int],
    fit_intercept: Sequence[bool],
    relative_cutoff: float,
    execution: Execution,
) -> _LeastSquares: ...
def linear_regression_dual(
    prepared: RowGram | RowQR,
    X: _Floats,
    Y: _Floats,
    sample_weight: _Floats | None,
    folds: Folds,
    splits: Sequence[int],
    fit_intercept: Sequence[bool],
    relative_cutoff: float,
    execution: Execution,
) -> _LeastSquares: ...
def coordinate_descent(
    prepared: FoldGram, settings: NDArray[float64], start: NDArray[float64] | None, execution: Execution
) -> _Descents: ...
def coordinate_descent_columns(
    X: _Floats,
    Y: _Floats,
    sample_weight: _Floats | None,
    folds: Folds,
    settings: NDArray[float64],
    start: NDArray[float64] | None,
    execution: Execution,
) -> _Descents: ...
def multi_task_elastic_net(
    prepared: FoldGram, settings: NDArray[float64], start: NDArray[float64] | None, execution: Execution
) -> _Descents: ...
def multi_task_elastic_net_columns(
    X: _Floats,
    Y: _Floats,
    sample_weight: _Floats | None,
    folds: Folds,
    settings: NDArray[float64],
    start: NDArray[float64] | None,
    execution: Execution,
) -> _Descents: ...
def squared_errors(
    prepared: FoldGram,
    splits: Sequence[int] | NDArray[int64],
    coef: NDArray[float64],
    intercept: NDArray[float64],
    execution: Execution,
) -> tuple[
    NDArray[float64], NDArray[float64], NDArray[float64], NDArray[float64], NDArray[float64]
]: ...  # residual, total, their rounding (jobs, t), weight (jobs,)
def sgd(
    X: _Floats,
    y: _Floats | None,
    codes: NDArray[int64] | None,
    sample_weight: _Floats | None,
    streams: Sequence[tuple[NDArray[int64] | None, NDArray[uint8] | None, int, bool]],
    jobs: Sequence[dict[str, Any]],
    execution: Execution,
) -> list[_Steps]: ...
def gradient_descent(
    X: _Floats,
    y: _Floats | None,
    codes: NDArray[int64] | None,
    classes: int,
    sample_weight: _Floats | None,
    folds: Folds,
    splits: Sequence[int],
    learning_rate: Sequence[float],
    momentum: Sequence[float],
    tol: Sequence[float],
    max_iter: Sequence[int],
    fit_intercept: Sequence[bool],
    trace: Sequence[bool],
    start: NDArray[float64],
    execution: Execution,
) -> list[_Descent]: ...
def pca(
    prepared: FoldGram | FoldQR, splits: Sequence[int], counts: Sequence[int], execution: Execution
) -> list[_Components]: ...
def pca_dual(
    prepared: RowGram | RowQR,
    X: _Floats,
    folds: Folds,
    splits: Sequence[int],
    counts: Sequence[int],
    execution: Execution,
) -> list[_Components]: ...
def truncated_svd(
    prepared: FoldGram | FoldQR, splits: Sequence[int], counts: Sequence[int], execution: Execution
) -> list[_Triplets]: ...
def truncated_svd_dual(
    prepared: RowGram | RowQR,
    X: _Floats,
    folds: Folds,
    splits: Sequence[int],
    counts: Sequence[int],
    execution: Execution,
) -> list[_Triplets]: ...
def incremental_pca(
    X: _Floats,
    rows: NDArray[int64] | None,
    begin: Sequence[int],
    counts: Sequence[int],
    start: dict[str, Any] | None,
    execution: Execution,
) -> list[dict[str, Any]]: ...
def huber(
    X: _Floats,
    y: _Floats,
    sample_weight: _Floats | None,
    folds: Folds,
    jobs: Sequence[dict[str, Any]],
    execution: Execution,
) -> list[tuple[NDArray[float64], float, float, int, int]]: ...
def poisson(
    X: _Floats,
    y: _Floats,
    sample_weight: _Floats | None,
    folds: Folds,
    jobs: Sequence[dict[str, Any]],
    execution: Execution,
) -> list[tuple[NDArray[float64], float, int, int]]: ...
