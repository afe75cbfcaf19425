"""Running error analysis: what a converter's formula may differ from its own evaluation.

A converter states what its estimator computes as a formula over `Tracked` matrices. Each carries,
element by element,

- ``value``: the formula in float64, with the constants rounded as the graph stores them;
- ``error``: a bound on the distance of any evaluation in the arithmetic at hand from ``value``;
- ``shift``: a bound on what rounding the constants did to ``value``.

The bounds are forward error bounds for any order of summation, with or without fused multiply-add
(Higham, Accuracy and Stability of Numerical Algorithms, chapter 3): a dot product of n non-zero
terms is within gamma_n * sum |x_j w_j|, gamma_n = n u / (1 - n u). They scale with the row, so they
stay meaningful for huge rows, and they count non-zero terms only, so a row with a single non-zero
entry is held to a few units in the last place. Results below the normal range may be flushed to
zero.

Infinity and NaN follow IEEE 754: ``value`` holds them with ``error`` 0 where every order of
evaluation gives the same. Where overflow depends on that order, ``error`` is infinite: undecided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

# Distance of an exponential function from the exact one, in units in the last place.
_EXP_UNITS = 8
# Of an argument: so close to the largest one, implementations differ in where they overflow.
_EXP_EDGE = 0.5

# `value` and the bounds are themselves computed in float64.
_OWN_UNIT = float(np.finfo(np.float64).eps) / 2


@dataclass(frozen=True)
class Arithmetic:
    """The floating-point format that an evaluation rounds to."""

    dtype: np.dtype[np.floating[Any]]

    @property
    def unit(self) -> float:
        """Unit roundoff, with that of evaluating the formula itself added."""
        return float(np.finfo(self.dtype).eps) / 2 + _OWN_UNIT

    @property
    def tiny(self) -> float:
        """What an underflow may lose: a smallest normal number, for hardware that flushes to zero."""
        return float(np.finfo(self.dtype).tiny)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float(np.finfo(self.dtype).max)

    def gamma(self, n: npt.NDArray[np.int64] | int) -> Matrix:
        """Return the relative error bound of n roundings in a row."""
        accumulated = np.asarray(n, dtype=np.float64) * self.unit
        return np.where(accumulated < 0.5, accumulated / (1 - np.minimum(accumulated, 0.5)), np.inf)

    def constant(self, exact: npt.ArrayLike) -> tuple[Matrix, Matrix]:
        """Return a constant as stored, and the distance to what it was."""
        exact = np.asarray(exact, dtype=np.float64)
        stored = exact.astype(self.dtype).astype(np.float64)
        return stored, np.abs(exact - stored)


@dataclass(frozen=True)
class Tracked:
    """A matrix with its error bounds; every operation returns a new one."""

    value: Matrix
    error: Matrix
    shift: Matrix
    arithmetic: Arithmetic
    native: bool = False  # whether this follows the native model, not the graph

    @classmethod
    def exactly(cls, value: npt.ArrayLike, arithmetic: Arithmetic, *, native: bool = False) -> Tracked:
        """Start from numbers that are exact in `arithmetic`."""
        value = np.asarray(value, dtype=np.float64)
        return cls(value, np.zeros_like(value), np.zeros_like(value), arithmetic, native)

    def rounded_like(self, arithmetic: Arithmetic) -> Tracked:
        """Carry on in another arithmetic (a pipeline step that computes in another type)."""
        return replace(self, arithmetic=arithmetic)

    def subtract(self, other: npt.ArrayLike | Tracked) -> Tracked:
        """Subtract a constant row, or another tracked row."""
        value, error, shift = self._operand(other)
        return self._rounded(self.value - value, self.error + error, self.shift + shift)

    def add(self, other: npt.ArrayLike) -> Tracked:
        """Add a constant row."""
        value, error, shift = self._operand(other)
        return self._rounded(self.value + value, self.error + error, self.shift + shift)

    def multiply(self, factor: npt.ArrayLike) -> Tracked:
        """Multiply by a constant row."""
        stored, lost = self.arithmetic.constant(factor)
        shift = self.shift * np.abs(stored) + (self._magnitude() + self.shift) * lost
        return self._rounded(self.value * stored, self.error * np.abs(stored), shift)

    def divide(self, divisor: npt.ArrayLike) -> Tracked:
        """Divide by a constant row."""
        stored, lost = self.arithmetic.constant(divisor)
        size = np.abs(stored)
        relative = lost / np.abs(np.asarray(divisor, dtype=np.float64))
        shift = (self.shift + (self._magnitude() + self.shift) * relative) / size
        return self._rounded(self.value / stored, self.error / size, shift)

    def clip(self, low: float, high: float) -> Tracked:
        """Clip to an interval, which never adds to a distance."""
        (low_stored, low_lost), (high_stored, high_lost) = map(self.arithmetic.constant, (low, high))
        shift = np.maximum(self.shift, np.maximum(low_lost, high_lost))
        value = np.clip(self.value, low_stored, high_stored)
        return replace(self, value=value, shift=shift)

    def exp(self) -> Tracked:
        """Take the exponential function of every entry, whose own error is a few units in the last place."""
        with np.errstate(over="ignore", invalid="ignore"):
            value = np.exp(self.value)
            wider = np.exp(self.error)
            error = value * (np.expm1(self.error) + _EXP_UNITS * self.arithmetic.unit * wider)
            shift = value * wider * np.expm1(self.shift)
        error = error + self.arithmetic.tiny * np.isfinite(self.value)
        limit = np.log(self.arithmetic.largest)
        overflows = self.value - self.error > limit + _EXP_EDGE
        undecided = np.isinf(self.error) | (
            np.isfinite(self.value) & ~overflows & (self.value + self.error > limit - _EXP_EDGE)
        )
        value = np.where(overflows, np.inf, value)
        error = np.where(overflows | ~np.isfinite(self.value), 0.0, error)
        return self._with(value, np.where(undecided | np.isnan(error), np.inf, error), shift)

    def column(self) -> Tracked:
        """Drop the second axis of a single column."""
        return replace(self, value=self.value[:, 0], error=self.error[:, 0], shift=self.shift[:, 0])

    def affine(self, weights: npt.ArrayLike, intercept: npt.ArrayLike | None = None) -> Tracked:
        """Multiply by a constant matrix (features, outputs) and add a constant row."""
        w, w_lost = self.arithmetic.constant(weights)
        b, b_lost = self.arithmetic.constant(0.0 if intercept is None else intercept)
        regular = np.all(np.isfinite(self.value) & np.isfinite(self.error), axis=1)
        x = np.where(regular[:, None], self.value, 0.0)
        e = np.where(regular[:, None], self.error, 0.0)
        s = np.where(regular[:, None], self.shift, 0.0)

        spread = np.abs(x) + e
        value = x @ w + b
        carried = e @ np.abs(w)
        magnitude = np.abs(x) @ np.abs(w) + carried + np.abs(b)
        # One rounding per product or per addition of the intercept, one in reserve for the bound itself.
        roundings = np.count_nonzero(spread, axis=1)[:, None] + 1 + (intercept is not None)
        error = carried + self.arithmetic.gamma(roundings) * magnitude + roundings * self.arithmetic.tiny
        shift = s @ np.abs(w) + b_lost
        if w_lost.any():
            shift = shift + (spread + s) @ w_lost
        # A float64 sum that is itself not finite says nothing about another order of summation.
        error = np.where(np.isfinite(value), error, np.inf)
        value, error = self._settle(value, error, magnitude)
        for row in np.flatnonzero(~regular):
            value[row], error[row] = self._irregular_row(int(row), w, b)
        return self._with(value, error, shift)

    def _operand(self, other: npt.ArrayLike | Tracked) -> tuple[Matrix, Matrix, Matrix]:
        if isinstance(other, Tracked):
            return other.value, other.error, other.shift
        stored, lost = self.arithmetic.constant(other)
        return stored, np.zeros_like(stored), lost

    def _magnitude(self) -> Matrix:
        return np.abs(self.value) + self.error

    def _rounded(self, value: Matrix, error: Matrix, shift: Matrix) -> Tracked:
        """Add the rounding of one elementwise operation whose operands' errors are in `error`."""
        undecided = np.isinf(self.error) | np.isinf(error)
        undecided |= np.isfinite(self.value) & ~np.isfinite(value) & (error > 0)
        magnitude = np.abs(value) + error
        error = error + self.arithmetic.unit * magnitude + self.arithmetic.tiny * (magnitude > 0)
        error = np.where(np.isfinite(value), error, 0.0)
        value, error = self._settle(value, np.where(undecided, np.inf, error), np.abs(value))
        return self._with(value, error, shift)

    def _with(self, value: Matrix, error: Matrix, shift: Matrix) -> Tracked:
        """Build the result; where a value is not finite or not decided there is no shift to speak of."""
        shift = np.where(np.isfinite(value) & np.isfinite(error), shift, 0.0)
        return replace(self, value=value, error=error, shift=shift)

    def _settle(self, value: Matrix, error: Matrix, magnitude: Matrix) -> tuple[Matrix, Matrix]:
        """Decide overflow; `magnitude` is the sum of the absolute terms that `value` adds up."""
        largest, unit = self.arithmetic.largest, self.arithmetic.unit
        may_overflow = np.isfinite(value) & ~(np.maximum(magnitude, np.abs(value)) + error <= largest)
        # Every partial sum lies between 0 and the sum where all the terms have one sign.
        one_sign = np.abs(value) >= magnitude * (1 - 1e-6)
        must_overflow = may_overflow & one_sign & (np.abs(value) - error > largest * (1 + unit))
        error = np.where(must_overflow, 0.0, np.where(may_overflow, np.inf, error))
        return np.where(must_overflow, np.copysign(np.inf, value), value), error

    def _irregular_row(self, row: int, w: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
        """Class of sum_j x_j w_jk + b_k for a row that holds NaN, infinity or an undecided entry."""
        outputs = w.shape[1]
        if np.isinf(self.error[row]).any():
            return np.full(outputs, np.nan), np.full(outputs, np.inf)
        x = self.value[row]
        special = ~np.isfinite(x)
        with np.errstate(invalid="ignore"):
            terms = np.where(w[special] == 0, 0.0, x[special, None] * w[special])
        up, down = (terms == np.inf).any(axis=0), (terms == -np.inf).any(axis=0)
        nan = np.isnan(terms).any(axis=0) | (up & down)
        value = np.where(nan, np.nan, np.where(up, np.inf, -np.inf))
        # A BLAS may skip zero weights, and with them the NaN of 0 * infinity.
        skippable = (w[special] == 0).any(axis=0)
        rest = np.abs(x[~special]) @ np.abs(w[~special]) + np.abs(b)
        undecided = ~nan & (skippable | ~(rest * 2 <= self.arithmetic.largest))
        return value, np.where(undecided, np.inf, 0.0)
