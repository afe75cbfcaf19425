"""The error bounds hold for every order of evaluation, and are not much larger than they must be."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyfit.onnx.bounds import Arithmetic, Tracked
from manyfit.onnx.compare import ratios, worst

F32 = Arithmetic(np.dtype(np.float32))
F64 = Arithmetic(np.dtype(np.float64))


def sequential(row, weights, intercept, order, dtype):
    """Add the products one after another in the given order, rounding every time."""
    total = dtype(0)
    for j in order:
        total = dtype(total + dtype(dtype(row[j]) * dtype(weights[j])))
    return dtype(total + dtype(intercept))


def exact(row, weights, intercept):
    """Return the sum without any rounding."""
    terms = (Fraction(float(x)) * Fraction(float(w)) for x, w in zip(row, weights, strict=True))
    return sum(terms, Fraction(float(intercept)))


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40), spread=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_any_order_of_summation_is_within_the_bound(seed, n, spread):
    rng = np.random.default_rng(seed)
    for arithmetic, dtype in ((F32, np.float32), (F64, np.float64)):
        row = (rng.normal(size=n) * 10.0 ** rng.integers(-spread, spread + 1, n)).astype(dtype)
        weights = rng.normal(size=n) * 10.0 ** rng.integers(-spread, spread + 1, n)
        weights[rng.random(n) < 0.3] *= -1
        intercept = rng.normal() * 10.0**spread
        stored = weights.astype(dtype)
        tracked = Tracked.exactly(row[None], arithmetic).affine(weights[:, None], [intercept])
        truth = exact(row, stored, dtype(intercept))
        assert abs(float(truth - Fraction(float(tracked.value[0, 0])))) <= tracked.error[0, 0]
        for order in (np.arange(n), rng.permutation(n), np.argsort(row * stored)):
            found = sequential(row, stored, intercept, order, dtype)
            assert abs(float(found) - tracked.value[0, 0]) <= tracked.error[0, 0]
        # The shift bounds what storing the constants did.
        lost = abs(float(exact(row, weights, intercept) - truth))
        assert lost <= tracked.shift[0, 0] * (1 + 1e-9)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_elementwise_operations_are_within_the_bound(seed):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(3, 5)) * 10.0 ** rng.integers(-6, 7, 5)).astype(np.float32)
    a, b, c = rng.normal(size=(3, 5)) * 10.0 ** rng.integers(-3, 4, (3, 5))
    tracked = Tracked.exactly(x, F32).subtract(a).divide(b).multiply(c).add(a).clip(-3.0, 5.0)
    a32, b32, c32 = (each.astype(np.float32) for each in (a, b, c))
    found = np.clip((x - a32) / b32 * c32 + a32, np.float32(-3), np.float32(5))
    assert found.dtype == np.float32
    assert (np.abs(found - tracked.value) <= tracked.error).all()
    truth = np.clip((x.astype(np.longdouble) - a) / b * c + a, -3, 5)
    assert (np.abs(truth - tracked.value) <= tracked.error + tracked.shift * (1 + 1e-9)).all()


def formulas(tracked):
    """Give every function of scores there is a bound for, and how a float type computes it."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def log_sigmoid(x):
        return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))

    def softmax(x):
        terms = np.exp(x - x.max(axis=1, keepdims=True))
        return terms / terms.sum(axis=1, keepdims=True)

    def ramp(x):
        return (np.clip(x, -1, 1) + 1) / 2

    return [
        (tracked.sigmoid(), sigmoid),
        (tracked.log_sigmoid(), log_sigmoid),
        (tracked.softmax(), softmax),
        (tracked.saturating(), ramp),
        (tracked.log_sigmoid().softmax(), lambda x: softmax(log_sigmoid(x))),
        (tracked.negated().at_most(0.0).beside(tracked.at_most(0.0)).softmax(), two_sided),
    ]


def two_sided(x):
    """Take the softmax of [min(-x, 0), min(x, 0)]."""
    pair = np.concatenate([np.minimum(-x, 0), np.minimum(x, 0)], axis=1)
    terms = np.exp(pair - pair.max(axis=1, keepdims=True))
    return terms / terms.sum(axis=1, keepdims=True)


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(2, 6), scale=st.floats(-3, 5), off=st.floats(-8, 2))
@settings(max_examples=150, deadline=None)
def test_probabilities_are_within_the_bound(seed, k, scale, off):
    """Of scores that are themselves off, by less than their own bound; up to saturation and beyond."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(4, k)) * 10.0**scale).astype(np.float32)
    distance = np.abs(x.astype(np.float64)) * 10.0**off * (rng.random(k) < 0.7)
    moved = x.astype(np.longdouble) + distance * rng.choice([-1.0, 1.0, 0.5], (4, k))
    single = moved.astype(np.float32)
    inside = (np.abs(single - x.astype(np.float64)) <= distance).all()
    for part in ("error", "shift"):
        zero = np.zeros_like(distance)
        bounds = (distance, zero) if part == "error" else (zero, distance)
        tracked = Tracked(x.astype(np.float64), *bounds, F32)
        with np.errstate(all="ignore"):
            for found, function in formulas(tracked):
                bound = found.error + found.shift
                assert np.isfinite(bound).all()
                assert (np.abs(function(moved) - found.value) <= bound * (1 + 1e-9)).all()
                if inside and part == "error":
                    assert (np.abs(function(single) - found.value) <= found.error * (1 + 1e-9)).all()


def test_saturated_probabilities_are_held_tightly():
    tracked = Tracked(np.array([[1e4, 0.0, -1e9]]), np.array([[1.0, 0.1, 1e3]]), np.zeros((1, 3)), F32)
    with np.errstate(all="ignore"):
        found = tracked.softmax()
    assert found.value.tolist() == [[1.0, 0.0, 0.0]]
    assert found.error[0, 0] < 3e-6
    assert (found.error[0, 1:] < 1e-36).all()


def test_small_probabilities_keep_their_digits():
    with np.errstate(all="ignore"):
        exact = Tracked.exactly(np.array([[0.0, -60.0]]), F32).softmax()
    assert 0 < exact.error[0, 1] < 1e-5 * exact.value[0, 1]


def test_probabilities_of_nan_and_infinity():
    inf, nan = np.inf, np.nan
    rows = np.array([[nan, 0.0], [inf, 0.0], [inf, inf], [-inf, 0.0], [-inf, -inf]])
    with np.errstate(all="ignore"):
        found = Tracked.exactly(rows, F32).softmax()
        single = Tracked.exactly(rows[:, :1], F32).sigmoid()
    assert np.isnan(found.value[[0, 1, 2, 4]]).all()
    assert found.value[3].tolist() == [0, 1]
    assert np.isfinite(found.error).all()
    # What overflows here need not in the native arithmetic.
    assert np.isinf(found.shift[[1, 2, 4]]).all()
    assert (found.shift[[0, 3]] == 0).all()
    np.testing.assert_array_equal(single.value[:, 0], [nan, 1, 1, 0, 0])
    undecided = Tracked(rows[3:4], np.array([[inf, 0.0]]), np.zeros((1, 2)), F32)
    with np.errstate(all="ignore"):
        for found, _ in formulas(undecided):
            assert np.isinf(found.error).any()


def test_labels_are_decided_only_beyond_the_bounds():
    value = np.array(
        [[1.0, 2.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.5, 1.4], [np.nan, 1.0, 0.0], [np.inf, 1.0, 0.0]]
    )
    error = np.array([[0.4, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.05, 0.06], [0.0] * 3, [0.0] * 3])
    label = Tracked(value, error, np.zeros_like(value), F32).label()
    assert label.value[[0, 1, 2, 4]].tolist() == [1, 0, 1, 0]
    assert label.error.tolist() == [0, 0, np.inf, np.inf, 0]
    both = Tracked.exactly(np.array([[np.inf, np.inf, 0.0], [-np.inf] * 3]), F32).label()
    assert both.error.tolist() == [0, 0]
    assert both.shift.tolist() == [np.inf, np.inf]
    single = np.array([[0.5], [-0.5], [0.1], [0.0], [np.nan]])
    label = Tracked(single, np.array([[0.2], [0.2], [0.2], [0.0], [0.0]]), np.zeros((5, 1)), F32).label()
    assert label.value[[0, 1, 3, 4]].tolist() == [1, 0, 0, 0]
    assert label.error.tolist() == [0, 0, np.inf, 0, 0]


def test_shares_of_nothing_are_equal():
    parts = Tracked.exactly(np.array([[0.0, 0.0], [0.0, 3.0]]), F64)
    with np.errstate(all="ignore"):
        assert parts.shares().value.tolist() == [[0.5, 0.5], [0.0, 1.0]]
        unsure = Tracked(parts.value, np.full((2, 2), 1e-9), parts.shift, F64).shares()
    assert np.isinf(unsure.error[0]).all()
    assert (unsure.error[1] < 1e-8).all()


def test_a_single_term_is_held_to_a_few_units_in_the_last_place():
    rows = np.diag(np.float32([1.5, -3.25, 1e10, 1e-10]))
    weights = rng_weights = np.float32([[0.1], [-7.3], [3e-5], [12.0]])
    tracked = Tracked.exactly(rows, F32).affine(weights)
    ulp = np.spacing(np.abs(rows.sum(axis=1) * rng_weights[:, 0]))
    assert (tracked.error[:, 0] <= 3 * ulp).all()
    assert (tracked.shift == 0).all()


def test_the_bound_grows_with_the_row_not_with_the_matrix():
    rows = np.ones((2, 50), dtype=np.float32)
    rows[1] *= 1e20
    error = Tracked.exactly(rows, F32).affine(np.ones((50, 1))).error[:, 0]
    assert error[1] == pytest.approx(error[0] * 1e20, rel=1e-6)


def test_nan_and_infinity_in_a_product():
    inf, nan = np.inf, np.nan
    rows = np.array([[inf, 1.0, 1.0], [-inf, 1.0, inf], [inf, 1.0, inf], [1.0, nan, 1.0], [1.0, inf, 1.0]])
    tracked = Tracked.exactly(rows, F32).affine(np.array([[1.0], [0.0], [2.0]]), [3.0])
    np.testing.assert_array_equal(tracked.value[:3, 0], [inf, nan, inf])
    assert (tracked.error[:3] == 0).all()
    # NaN times a zero weight: an evaluation may skip it, so nothing is decided.
    assert np.isinf(tracked.error[3:]).all()


def test_overflow_is_decided_only_where_every_order_agrees():
    big = float(np.finfo(np.float32).max)
    rows = np.array([[big, big], [big, -big], [big, 0.0], [-big, -big]])
    tracked = Tracked.exactly(rows, F32).affine(np.array([[1.0], [1.0]]))
    assert tracked.value[0, 0] == np.inf
    assert tracked.value[3, 0] == -np.inf
    assert (tracked.error[[0, 3], 0] == 0).all()
    assert np.isinf(tracked.error[1, 0])
    assert tracked.value[2, 0] == big
    with np.errstate(over="ignore"):
        single = Tracked.exactly(np.array([[big]]), F32).multiply([4.0])
    assert (single.value[0, 0], single.error[0, 0]) == (np.inf, 0)
    undecided = tracked.clip(-1.0, 1.0)
    assert np.isinf(undecided.error[1, 0])
    assert (undecided.value[0, 0], undecided.error[0, 0]) == (1.0, 0)


def test_ratios():
    inf, nan = np.inf, np.nan
    expected = np.array([1.0, 1.0, nan, inf, inf, 1.0, 1.0, 0.0, 1.0, nan])
    actual = np.array([1.5, 1.0, nan, inf, -inf, nan, inf, 0.0, 9.0, 1.0])
    bound = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, inf, 0.0])
    assert ratios(actual, expected, bound).tolist() == [0.5, 0.0, 0.0, 0.0, inf, inf, inf, 0.0, 0.0, inf]
    assert ratios([2.0], np.array([1.0]), np.array([0.0])).tolist() == [inf]
    assert worst([], np.empty(0), np.empty(0)) is None
    found = worst([[1.0, 2.0], [3.0, 5.0]], np.array([[1.0, 2.0], [3.0, 4.0]]), np.full((2, 2), 0.5))
    assert (found.row, found.actual, found.expected, found.ratio, found.difference) == (1, 5.0, 4.0, 2.0, 1.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_stays_within_its_bound_and_tells_overflow(dtype: type) -> None:
    arithmetic = Arithmetic(np.dtype(dtype))
    limit = float(np.log(np.finfo(dtype).max))
    points = np.array([[-np.inf, -2 * limit, -5.0, 0.0, 5.0, limit - 1, limit, limit + 1, np.inf, np.nan]])
    exact = points.astype(dtype)
    tracked = Tracked.exactly(exact, arithmetic).exp()
    with np.errstate(over="ignore"):
        told = np.exp(exact).astype(np.float64)
    decided = np.isfinite(tracked.error)
    assert decided.tolist() == [[True] * 6 + [False] + [True] * 3]
    both = decided & np.isfinite(told)
    assert (np.abs(told[both] - tracked.value[both]) <= tracked.error[both]).all()
    assert np.array_equal(np.isinf(told)[decided], np.isinf(tracked.value)[decided])
    assert np.isnan(tracked.value[0, -1])
    wide = Tracked.exactly(np.array([[1.0]]), arithmetic).multiply([[1.0]]).exp()
    assert wide.error[0, 0] >= tracked.error[0, 3]
