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

A label is the place of the largest score. Its ``value`` is that index and its ``error`` 0 where the
scores are further apart than their bounds; where they are not it is infinite: undecided.

Probabilities keep a bound that shrinks as they saturate: a logit off by d moves a probability p by at
most p (1 - p) (exp(d) - 1). Exponentials, logarithms and logistic functions are allowed `ELEMENTARY`
units.

Infinity and NaN follow IEEE 754: ``value`` holds them with ``error`` 0 where every order of
evaluation gives the same. Where overflow depends on that order, ``error`` is infinite: undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Matrix = npt.NDArray[np.float64]

# Distance of an exponential function from the exact one, in units in the last place.
_EXP_UNITS = 8
# Of an argument: so close to the largest one, implementations differ in where they overflow.
_EXP_EDGE = 0.5

# `value` and the bounds are themselves computed in float64.
_OWN_UNIT = float(np.finfo(np.float64).eps) / 2

# Units of roundoff that an exponential, a logarithm or a logistic function may be off, relative to the
# result; a logistic function, relative to 1: ONNX Runtime's answers 0 from -18 down. Measured: below 4.
ELEMENTARY = 8


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

    @classmethod
    def stacked(cls, parts: Sequence[Tracked]) -> Tracked:
        """Put the rows of several matrices below each other."""
        value, error, shift = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("value", "error", "shift")
        )
        return replace(parts[0], value=value, error=error, shift=shift)

    def rows(self, chosen: npt.NDArray[np.bool_]) -> Tracked:
        """Take some of the rows."""
        return replace(self, value=self.value[chosen], error=self.error[chosen], shift=self.shift[chosen])

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
        error = carried + self.arithmetic.gamma(roundings) * magnitude
        # Where every term is zero so is the sum, exactly.
        error = error + roundings * self.arithmetic.tiny * (magnitude > 0)
        shift = s @ np.abs(w) + b_lost
        if w_lost.any():
            shift = shift + (spread + s) @ w_lost
        # A float64 sum that is itself not finite says nothing about another order of summation.
        error = np.where(np.isfinite(value), error, np.inf)
        value, error = self._settle(value, error, magnitude)
        for row in np.flatnonzero(~regular):
            value[row], error[row] = self._irregular_row(int(row), w, b)
        return self._with(value, error, shift)

    def halved(self) -> Tracked:
        """Multiply by 1/2, which is exact but for underflow."""
        return self.multiply(0.5)

    def negated(self) -> Tracked:
        """Change the sign."""
        return replace(self, value=-self.value)

    def at_most(self, limit: float) -> Tracked:
        """Take the smaller of each number and a limit that is exact in any arithmetic."""
        return replace(self, value=np.minimum(self.value, limit))

    def beside(self, other: Tracked) -> Tracked:
        """Put two matrices side by side."""
        pairs = ((self.value, other.value), (self.error, other.error), (self.shift, other.shift))
        value, error, shift = (np.concatenate(pair, axis=1) for pair in pairs)
        return replace(self, value=value, error=error, shift=shift)

    def sigmoid(self) -> Tracked:
        """Take 1 / (1 + exp(-x)), by any implementation."""
        error = _sigmoid_change(self.value, self.error) + ELEMENTARY * self.arithmetic.unit
        error = np.where(np.isinf(self.error), np.inf, np.where(np.isnan(self.value), 0.0, error))
        return self._with(expit(self.value), error, _sigmoid_change(self.value, self.shift))

    def log_sigmoid(self) -> Tracked:
        """Take min(x, 0) - log(1 + exp(-|x|)), the logarithm of the logistic function."""
        value = -np.logaddexp(0.0, -self.value)
        # The slope is the logistic function of -x, at most that at the lower end.
        carried, shift = (np.where(d > 0, d * expit(d - self.value), 0.0) for d in (self.error, self.shift))
        unit = self.arithmetic.unit
        tail = np.exp(np.minimum(self.error - np.abs(self.value), 0.0))
        rounding = unit * ((2 * ELEMENTARY + 3) * tail + 3 + np.abs(value) + carried)
        error = carried + rounding + self.arithmetic.tiny
        error = np.where(np.isfinite(value), error, 0.0)
        return self._with(value, np.where(np.isinf(self.error), np.inf, error), shift)

    def softmax(self) -> Tracked:
        """Take exp(x - max) / sum(exp(x - max)) of every row.

        A row with NaN or +infinity, or of -infinity alone, gives NaN, as infinity minus infinity does.
        """
        x, undecided = self.value, np.isinf(self.error).any(axis=1, keepdims=True)
        largest = x.max(axis=1, keepdims=True)
        below = np.where(x == largest, 0.0, x - largest)
        terms = np.exp(below)
        value = np.where(np.isfinite(largest), terms / terms.sum(axis=1, keepdims=True), np.nan)
        # Roundings: the difference, the exponential, the sum, the quotient; each term may underflow. They
        # are relative to what the arithmetic has, at most `reached`, not to `value`.
        moved = _softmax_change(x, self.error)
        reached = np.minimum(value + moved, 1.0)
        steps = np.where(reached > 0, np.maximum(_others(x + self.error) - (x - self.error), 0.0), 0.0)
        own = steps + (reached * steps).sum(axis=1, keepdims=True) + 2 * ELEMENTARY + x.shape[1] + 2
        unit, tiny = self.arithmetic.unit, self.arithmetic.tiny
        error = np.minimum(moved + own * unit * reached + (x.shape[1] + 2) * tiny, 1.0)
        error = np.where(undecided, np.inf, np.where(np.isfinite(largest), error, 0.0))
        # Scores that overflow here do not in a wider arithmetic.
        shift = np.where(np.isinf(largest), np.inf, _softmax_change(x, self.shift))
        return replace(self, value=value, error=error, shift=shift)

    def saturating(self) -> Tracked:
        """Take (clip(x, -1, 1) + 1) / 2, which is exactly 0 or 1 outside the interval."""

        def ramp(x: Matrix) -> Matrix:
            return np.asarray(np.clip(x, -1.0, 1.0) / 2 + 0.5)

        value = ramp(self.value)
        carried, shift = (
            np.maximum(ramp(self.value + d) - value, value - ramp(self.value - d))
            for d in (self.error, self.shift)
        )
        between = (self.value + self.error > -1) & (self.value - self.error < 1)
        error = np.where(between, carried + 2 * self.arithmetic.unit, 0.0)
        return self._with(value, np.where(np.isinf(self.error), np.inf, error), shift)

    def shares(self) -> Tracked:
        """Divide numbers that are not negative by their row's sum; a row of zeros into equal shares."""
        n = self.value.shape[1]
        total = self.value.sum(axis=1, keepdims=True)
        value = np.where(total == 0, 1 / n, self.value / total)
        carried, shift = (self._share_change(value, total, d) for d in (self.error, self.shift))
        unit, tiny = self.arithmetic.unit, self.arithmetic.tiny
        error = carried + (n + 2) * unit * np.minimum(value + carried, 1.0) + tiny
        error = np.where(np.isnan(total), 0.0, error)
        error = np.where(np.isinf(self.error).any(axis=1, keepdims=True), np.inf, error)
        return replace(self, value=value, error=error, shift=np.where(np.isnan(total), 0.0, shift))

    def equal_shares_below(self, scores: Tracked, limit: float) -> Tracked:
        """Replace the rows in which every one of `scores` is below `limit` by equal shares."""
        top = scores.value.max(axis=1, keepdims=True)
        margin = self.arithmetic.unit * abs(limit)

        def open_for(distance: Matrix) -> npt.NDArray[np.bool_]:
            high = (scores.value + distance).max(axis=1, keepdims=True)
            low = (scores.value - distance).max(axis=1, keepdims=True)
            unknown = np.isinf(distance).any(axis=1, keepdims=True)
            return np.asarray(unknown | ((high >= limit - margin) & (low <= limit + margin)))

        below = top < limit
        equal = 1 / self.value.shape[1]
        error = np.where(below, self.arithmetic.unit * equal, self.error)
        error = np.where(open_for(scores.error), np.inf, error)
        shift = np.where(open_for(scores.error + scores.shift), np.inf, np.where(below, 0.0, self.shift))
        return replace(self, value=np.where(below, equal, self.value), error=error, shift=shift)

    def label(self) -> Tracked:
        """Take the index of every row's largest score; of one column, 1 where it is above 0, else 0."""
        if self.value.shape[1] == 1:
            score, error, shift = self.value[:, 0], self.error[:, 0], self.shift[:, 0]
            index = np.asarray(score > 0, dtype=np.float64)
            unsure = [~(np.abs(score) > distance) & (distance > 0) for distance in (error, shift)]
        else:
            index = np.argmax(self.value, axis=1).astype(np.float64)
            unsure = [self._rivals(distance) for distance in (self.error, self.shift)]
            # Scores that overflow alike here do not in a wider arithmetic.
            infinite = np.isinf(self.value.max(axis=1))
            unsure[1] |= infinite & (np.count_nonzero(self.value == np.inf, axis=1) != 1)
        error, shift = (np.where(each, np.inf, 0.0) for each in unsure)
        return replace(self, value=index, error=error, shift=shift)

    def _rivals(self, distance: Matrix) -> npt.NDArray[np.bool_]:
        """Tell the rows in which another score reaches the largest; exact ties go to the first."""
        rows = np.arange(len(self.value))
        best = np.argmax(self.value, axis=1)
        low = self.value[rows, best] - distance[rows, best]
        rival = ~(self.value + distance < low[:, None])
        several = np.count_nonzero(rival, axis=1) > 1
        inexact = np.where(rival, distance, 0.0).max(axis=1) > 0
        return np.asarray((several & inexact) | np.isnan(self.value).any(axis=1))

    def _share_change(self, share: Matrix, total: Matrix, distance: Matrix) -> Matrix:
        """Bound how far shares of `total` move when every part moves by `distance`."""
        together = distance.sum(axis=1, keepdims=True)
        moved = (distance + share * together) / np.maximum(total - together, 0.0)
        moved = np.where(total > together, np.minimum(moved, 1.0), np.inf)
        return np.where(together == 0, 0.0, moved)

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


def _sigmoid_change(x: Matrix, distance: Matrix) -> Matrix:
    """Bound how far the logistic function moves when its argument moves by `distance`."""
    value = expit(x)
    near = value * expit(-x) * np.expm1(np.minimum(distance, 1.0))
    far = np.maximum(expit(x + distance) - value, value - expit(x - distance))
    moved = np.where(distance <= 1, near, far)
    return np.where((distance > 0) & np.isfinite(x), moved, 0.0)


def _softmax_change(x: Matrix, distance: Matrix) -> Matrix:
    """Bound how far softmax(x) moves when every logit moves by `distance`.

    The i-th probability is the logistic function of x_i minus the logarithm of the sum of the other
    exponentials, which moves within the interval between the sums of the lower and the upper ends.
    """
    distance = np.where(np.isfinite(distance), distance, 0.0)
    rest, low, high = (_log_rest(each) for each in (x, x - distance, x + distance))
    centre = x - rest
    rounding = 4 * _OWN_UNIT * (np.abs(x) + np.abs(rest))
    up, down = (distance + np.abs(step) + rounding for step in (rest - low, high - rest))
    step = np.maximum(up, down)
    value = expit(centre)
    near = value * expit(-centre) * np.expm1(np.minimum(step, 1.0))
    far = np.maximum(expit(centre + up) - value, value - expit(centre - down))
    moved = np.where(step <= 1, near, far)
    moved = np.where(distance.max(axis=1, keepdims=True) > 0, moved, 0.0)
    return np.nan_to_num(moved, nan=0.0, posinf=1.0)


def _others(x: Matrix) -> Matrix:
    """Return, for every entry of a row, the largest of the others."""
    rows = np.arange(len(x))
    best = np.argmax(x, axis=1)
    others: Matrix = np.repeat(x[rows, best][:, None], x.shape[1], axis=1)
    rest = x.copy()
    rest[rows, best] = -np.inf
    others[rows, best] = rest.max(axis=1)
    return others


def _log_rest(x: Matrix) -> Matrix:
    """Return, for every entry of a row, log(sum(exp(the others)))."""
    rows = np.arange(len(x))
    best = np.argmax(x, axis=1)
    largest = x[rows, best][:, None]
    terms = np.exp(np.where(x == largest, 0.0, x - largest))
    rest: Matrix = np.log(terms.sum(axis=1, keepdims=True) - terms) + largest
    others = x.copy()
    others[rows, best] = -np.inf
    second = others.max(axis=1, keepdims=True)
    finite = np.where(np.isfinite(second), second, 0.0)
    rest[rows, best] = (np.log(np.exp(others - finite).sum(axis=1, keepdims=True)) + finite)[:, 0]
    return rest
