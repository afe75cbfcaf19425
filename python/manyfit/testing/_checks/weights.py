"""Sample weights mean what repetition means."""

from __future__ import annotations

from typing import Any

import numpy as np

from manyfit.testing._compare import assert_close, assert_same_model, tolerance
from manyfit.testing._conditions import takes_weights
from manyfit.testing._data import Data, answers, fit, make_data
from manyfit.testing._errors import assert_raises
from manyfit.testing._kit import check

_SHAPES = ((60, 5), (12, 30))


def _assert_same_answers(estimator: Any, actual: Data, expected: Data, what: str) -> None:
    left, right = fit(estimator, actual), fit(estimator, expected)
    assert actual.sample_weight is not None
    X = actual.X[actual.sample_weight > 0]  # what is told of other rows may not be unique
    for name, value in answers(right, X).items():
        assert_close(answers(left, X)[name], value, f"{what}: {name}", rtol=tolerance(X.dtype))


@check(takes_weights)
def check_weights_equal_repetition(estimator: Any) -> None:
    """A row of weight 3 counts as three rows, one of weight 0 as none."""
    for n_samples, n_features in _SHAPES:
        for dtype in (np.float64, np.float32):
            data = make_data(estimator, n_samples, n_features, dtype=dtype)
            times = np.random.default_rng(1).integers(0, 4, n_samples)
            weighted = Data(data.X, data.y, times.astype(dtype))
            repeated = data.rows(np.repeat(np.arange(n_samples), times))
            _assert_same_answers(estimator, weighted, repeated, f"weights, {n_samples} x {n_features}")


@check(takes_weights)
def check_weight_zero(estimator: Any) -> None:
    """A row of weight 0 counts for nothing, however far out it lies."""
    for n_samples, n_features in _SHAPES:
        data = make_data(estimator, n_samples, n_features)
        weights = np.ones(n_samples)
        weights[::4] = 0
        X = data.X.copy()
        X[::4] += 50.0
        kept = weights > 0
        what = f"zero weights, {n_samples} x {n_features}"
        _assert_same_answers(estimator, Data(X, data.y, weights), data.rows(kept), what)


@check(takes_weights)
def check_kinds_of_weights(estimator: Any) -> None:
    """Weights may be a number, a list, integers or of another float type."""
    data = make_data(estimator)
    n = len(data.X)
    whole = np.random.default_rng(2).integers(1, 4, n)
    expected = fit(estimator, Data(data.X, data.y, whole.astype(np.float64)))
    for weights in (whole, whole.tolist(), whole.astype(np.float32), whole.astype(np.uint8)):
        actual = fit(estimator, Data(data.X, data.y, weights))
        assert_same_model(actual, expected, f"weights as {type(weights).__name__}")
    expected = fit(estimator, Data(data.X, data.y, np.full(n, 2.0)))
    for number in (2.0, 2, np.float32(2.0)):
        actual = fit(estimator, Data(data.X, data.y, number))  # type: ignore[arg-type]
        assert_same_model(actual, expected, f"the number {number!r} as weight")
    plain, ones = fit(estimator, data), fit(estimator, Data(data.X, data.y, np.ones(n)))
    for name, value in answers(plain, data.X).items():
        assert_close(answers(ones, data.X)[name], value, f"weights of one: {name}", rtol=1e-12)


@check(takes_weights)
def check_weight_errors(estimator: Any) -> None:
    """Weights that are negative, all zero, not finite, or of another shape are ValueErrors."""
    data = make_data(estimator)
    good = np.ones(len(data.X))
    negative, missing, infinite = good.copy(), good.copy(), good.copy()
    negative[7], missing[7], infinite[7] = -0.5, np.nan, np.inf
    for weights, words in (
        (negative, ("sample_weight must be >= 0", "-0.5")),
        (-1.0, ("sample_weight must be >= 0", "-1")),
        (0 * good, ("sample_weight", "zero")),
        (0.0, ("sample_weight", "zero")),
        (missing, ("sample_weight", "NaN")),
        (infinite, ("sample_weight", "infinity")),
        (good[:-1], ("sample_weight", "59", "60")),
        (good[:, None], ("sample_weight", "1")),
        (np.full(len(good), "heavy"), ("heavy",)),
    ):
        with assert_raises(ValueError, *words):
            fit(estimator, Data(data.X, data.y, weights))  # type: ignore[arg-type]
