"""What scalers and principal components do to the moments of a split's rows: the steps of `_gram_space`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from sklearn.preprocessing._data import _handle_zeros_in_scale, _is_constant_feature

from manyfit._execution import execution
from manyfit._native import core
from manyfit.dataset import Dataset
from manyfit.decomposition import PCA
from manyfit.decomposition._pca import EXACT_SIZE
from manyfit.splits import Splits

__all__ = ["Components", "MappedDataset", "Mapping", "Refused", "Side", "Space", "key_of", "scale"]

Floats = NDArray[np.float64]
# Of rows about their mean: scales or a matrix, the mean of what comes of them, and its ranges if they can be told.
Mapping = tuple[Floats, Floats, tuple[Floats, Floats] | None]

# Least distance of the variance of the last component kept from the next one's, relative to the largest.
LEAST_GAP = {"float64": 2.5e-7, "float32": 1e-5}
# A variance so near the one below which scikit-learn calls a column constant is not ours to judge.
NEAR = 100.0


class Refused(Exception):
    """Moments do not tell well enough what a step would do."""


@dataclass
class Space:
    """Rows z of a split, as moments: ``z = (x - centre) map + offset``, `map` a matrix or scales."""

    gram: core.FoldGram
    place: int  # of the split in it
    centre: Floats  # mean of the training rows x
    map: Floats
    offset: Floats  # mean of the training rows z
    ranges: tuple[Floats, Floats] | None  # of the training rows z, while columns are not mixed
    fitted: list[Any] = field(default_factory=list)

    def rows(self, X: NDArray[Any]) -> NDArray[Any]:
        """The rows z of rows x, in float64."""
        moved = X - self.centre
        return (moved * self.map if self.map.ndim == 1 else moved @ self.map) + self.offset


class MappedDataset(Dataset):
    """The rows of a split as a pipeline's steps hand them on: prepared as moments, transformed if asked for."""

    def __init__(self, source: Side, space: Space, gram: core.FoldGram, folds: core.Folds) -> None:
        self._source, self._space = source, space
        self.y, self.groups = source.targets, None
        self.sample_weight = source.weights
        self.passes = source.passes
        self._matrix, self._labels = None, None
        self._targets, self._weights = source.targets, source.weights
        self._forms = {self._place("fold Gram", folds, core): gram}
        self._folds = [folds]
        self._variants, self._uploads = {}, {}
        self._shape = len(source.rows), len(space.offset)

    @property
    def X(self) -> Any:
        return self.matrix(self)

    @property
    def sparse(self) -> bool:
        return False

    @property
    def on_device(self) -> bool:
        return False

    @property
    def _X_stays(self) -> bool:
        return False

    def _place(self, name: str, folds: core.Folds | None, kernels: Any) -> Any:
        return name, id(folds)  # the moments are there, wherever the rows were

    def shape(self, estimator: object) -> tuple[int, int]:
        return self._shape

    def dtype(self, estimator: object) -> np.dtype[Any]:
        return self._source.X.dtype

    def matrix(self, estimator: object) -> NDArray[Any]:
        if self._matrix is None:
            self.passes.append("transformed rows")
            self._matrix = self._space.rows(self._source.X[self._source.rows]).astype(self._source.X.dtype)
        return self._matrix


@dataclass
class Side:
    """Rows to train on and rows to score on, one after the other, with their folds."""

    X: NDArray[Any]  # all rows
    rows: NDArray[np.int64]
    targets: NDArray[Any]
    weights: NDArray[Any] | None
    splits: Splits
    passes: list[str]


def key_of(step: Any) -> tuple[Any, tuple[Any, ...]]:
    """What a step shares with others of its kind, and what tells it from them."""
    if isinstance(step, StandardScaler):
        return (StandardScaler, step.with_mean, step.with_std), ()
    if isinstance(step, MinMaxScaler):
        return (MinMaxScaler, tuple(step.feature_range)), ()
    if isinstance(step, MaxAbsScaler):
        return (MaxAbsScaler,), ()
    return (type(step), step.svd_solver), (step.n_components, step.whiten)


def scale(step: Any, space: Space, dtype: np.dtype[Any]) -> Mapping:
    """Fit a scaler: scales, the mean of the scaled rows, and their ranges."""
    moments = space.gram.moments(space.place, "train", True)
    rows, mean = round(moments["weight"]), space.offset
    step.n_features_in_ = len(mean)
    if isinstance(step, StandardScaler):
        scales, offset = _standardise(
            step, np.diagonal(moments["gram"]).clip(0) / moments["weight"], mean, rows
        )
    else:
        if space.ranges is None:
            raise Refused("columns are mixed")
        low, high = (side.astype(dtype) for side in space.ranges)
        step.n_samples_seen_ = rows
        if isinstance(step, MinMaxScaler):
            first, last = (dtype.type(end) for end in step.feature_range)
            step.data_min_, step.data_max_, step.data_range_ = low, high, high - low
            step.scale_ = (last - first) / _handle_zeros_in_scale(step.data_range_, copy=True)
            step.min_ = first - low * step.scale_
            scales = step.scale_.astype(np.float64)
            offset = (mean - low) * scales + float(first)
        else:
            step.max_abs_ = np.maximum(np.abs(low), np.abs(high))
            step.scale_ = _handle_zeros_in_scale(step.max_abs_, copy=True)
            scales = 1 / step.scale_.astype(np.float64)
            offset = mean * scales
    ranges = space.ranges
    if ranges is not None:
        ranges = (ranges[0] - mean) * scales + offset, (ranges[1] - mean) * scales + offset
    return scales, offset, ranges


def _standardise(step: StandardScaler, variance: Floats, mean: Floats, rows: int) -> tuple[Floats, Floats]:
    scales = np.ones(len(mean))
    step.mean_ = mean.copy() if step.with_mean or step.with_std else None
    step.n_samples_seen_ = np.int64(rows) if step.mean_ is None else np.float64(rows)  # as scikit-learn
    step.var_ = step.scale_ = None
    if step.with_std:
        constant = _is_constant_feature(variance, mean, rows)
        sure = _is_constant_feature(variance / NEAR, mean, rows) == _is_constant_feature(
            variance * NEAR, mean, rows
        )
        if not sure.all():
            raise Refused("a column is nearly constant")
        step.var_ = variance.copy()
        step.scale_ = _handle_zeros_in_scale(np.sqrt(variance), copy=False, constant_mask=constant)
        scales = 1 / step.scale_
    return scales, np.zeros(len(mean)) if step.with_mean else mean * scales


class Components:
    """Principal components of a space, decomposed once for all that ask for them."""

    def __init__(self, steps: Sequence[Any], space: Space, dtype: np.dtype[Any]) -> None:
        moments = space.gram.moments(space.place, "train", True)
        self.rows, self.d, self.dtype = round(moments["weight"]), len(space.offset), dtype
        self.space = space
        asked = [step.n_components for step in steps]
        most = max((int(count) for count in asked if isinstance(count, Integral)), default=0)
        every = not all(isinstance(count, Integral) for count in asked) or most >= self.d
        self.fit: Any = core.pca(
            space.gram,
            [space.place],
            [0 if every else most + 1],
            execution(getattr(steps[0], "n_jobs", None)),
        )[0]

    def of(self, step: Any) -> Mapping:
        """Fit a step: its directions as a matrix, and the mean of the projected rows."""
        n, d = self.rows, self.d
        _, variance, components, *_ = self.fit
        solver = _solver(step, n, d)
        if solver == "randomized":
            raise Refused("components are drawn at random")
        ours = PCA(n_components=step.n_components, whiten=step.whiten)
        ours._check_count(n, d, solver)
        ours._store(self.fit, n, self.dtype, solver)
        count = ours.n_components_
        if count < 1:
            raise Refused("no components")
        if count < d and not variance[count - 1] - variance[count] > (
            LEAST_GAP[self.dtype.name] * self.space.gram.growth * variance[0]
        ):
            raise Refused("the last component kept is hardly told from the next")
        vars(step).update({name: value for name, value in vars(ours).items() if name.endswith("_")})
        step._fit_svd_solver = solver
        step.n_features_in_ = d
        if isinstance(step, PCA):
            step.fit_backend_ = "manyfit"
        directions = components[:count].T
        if step.whiten:
            directions = directions / np.maximum(np.sqrt(variance[:count]), np.finfo(self.dtype).eps)
        return np.ascontiguousarray(directions), np.zeros(count), None


def _solver(step: Any, n: int, d: int) -> str:
    """`svd_solver` with "auto" resolved, as the step's class does it for n rows of d columns."""
    if step.svd_solver != "auto":
        return str(step.svd_solver)
    if d <= 1000 and n >= 10 * d:
        return "covariance_eigh"
    if max(n, d) <= 500 or step.n_components == "mle":
        return "full"
    few = isinstance(step.n_components, Integral) and 1 <= int(step.n_components) < 0.8 * min(n, d)
    if not few:
        return "full"
    return "covariance_eigh" if isinstance(step, PCA) and min(n, d) <= EXACT_SIZE else "randomized"
