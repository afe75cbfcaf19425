"""How far two results are apart, in units of the bound that they must keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from manyfit.onnx.bounds import Matrix


@dataclass(frozen=True)
class Worst:
    """The element that comes closest to its bound or oversteps it most."""

    row: int
    expected: float
    actual: float
    bound: float
    ratio: float

    @property
    def difference(self) -> float:
        """Distance between the two, NaN where either is not finite."""
        with np.errstate(invalid="ignore"):
            return float(abs(np.float64(self.actual) - np.float64(self.expected)))


def ratios(actual: npt.ArrayLike, expected: Matrix, bound: Matrix) -> Matrix:
    """Return |actual - expected| / bound, element by element; above 1 is a disagreement.

    Where `expected` is NaN or infinite, `actual` must be the same (ratio 0, else infinity). Where
    `bound` is infinite nothing is decided and the ratio is 0.
    """
    actual = np.asarray(actual, dtype=np.float64)
    with np.errstate(all="ignore"):
        distance = np.abs(actual - expected)
        ratio = np.where(distance == 0, 0.0, distance / bound)
    same_class = np.where(np.isnan(expected), np.isnan(actual), actual == expected)
    ratio = np.where(np.isfinite(expected), ratio, np.where(same_class, 0.0, np.inf))
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    return np.where(np.isinf(bound), 0.0, ratio)


def worst(actual: npt.ArrayLike, expected: Matrix, bound: Matrix) -> Worst | None:
    """Return the element with the largest ratio, None for no rows."""
    if expected.size == 0:
        return None
    ratio = ratios(actual, expected, bound)
    at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    value = np.asarray(actual, dtype=np.float64)[at]
    return Worst(int(at[0]), float(expected[at]), float(value), float(bound[at]), float(ratio[at]))
