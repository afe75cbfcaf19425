"""Non-negative least squares and ridge: the optimum is told by its conditions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import nnls

from manyfit.linear_model import LinearRegression, Ridge

SHAPES = [(80, 5), (60, 30), (6, 6), (10, 25), (2, 4), (400, 60)]


def make(n: int, d: int, targets: int | None = None, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) + rng.uniform(-1, 1, d)
    y = X @ rng.standard_normal((d, targets or 1)) + rng.standard_normal((n, targets or 1))
    return X, y if targets else y[:, 0]


def assert_optimal(model: Any, X: Any, y: Any, alpha: float, weights: Any = None, tol: float = 1e-7) -> None:
    """The Karush-Kuhn-Tucker conditions of min sum w (y - X c - c0)^2 + alpha |c|^2 over c >= 0."""
    w = np.ones(len(X)) if weights is None else weights
    Y = y.reshape(len(X), -1)
    coef = np.atleast_2d(model.coef_)
    intercept = np.broadcast_to(model.intercept_, len(coef))
    assert np.all(coef >= 0)
    centre = np.average(X, axis=0, weights=w) if model.fit_intercept else np.zeros(X.shape[1])
    for k, c in enumerate(coef):
        residual = Y[:, k] - X @ c - intercept[k]
        scale = np.sqrt(w @ (X - centre) ** 2) * np.sqrt(w @ (Y[:, k] - np.average(Y[:, k], weights=w)) ** 2)
        gradient = ((X - centre).T @ (w * residual) - alpha * c) / np.maximum(scale, 1e-300)
        assert np.all(gradient <= tol), "a coefficient at zero wants to grow"
        assert np.all(np.abs(gradient[c > 0]) <= tol), "a free coefficient is not at its minimum"
        if model.fit_intercept:
            assert abs(w @ residual) <= 1e-7 * (w @ np.abs(Y[:, k])), "the intercept is not at its minimum"


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_least_squares(n: int, d: int, fit_intercept: bool) -> None:
    X, y = make(n, d)
    model = LinearRegression(positive=True, fit_intercept=fit_intercept).fit(X, y)
    assert_optimal(model, X, y, 0.0)
    centre, y_centre = (X.mean(axis=0), y.mean()) if fit_intercept else (0.0, 0.0)
    reference, norm = nnls(X - centre, y - y_centre)
    assert_allclose(np.linalg.norm(y - model.predict(X)), norm, rtol=1e-8, atol=1e-8)
    if n > d:
        assert_allclose(model.coef_, reference, rtol=1e-6, atol=1e-9)
    assert not hasattr(model, "rank_")
    assert not hasattr(model, "singular_")


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_ridge(n: int, d: int, fit_intercept: bool, alpha: float) -> None:
    X, y = make(n, d)
    weights = np.random.default_rng(1).uniform(0.1, 2.0, n)
    model = Ridge(alpha=alpha, positive=True, fit_intercept=fit_intercept).fit(X, y, weights)
    # scikit-learn's lbfgs, which answers what is too ill-conditioned for the active set, stops earlier
    assert_optimal(model, X, y, alpha, weights, 1e-7 if model.fit_backend_ == "manyfit" else 1e-3)
    assert model.fit_backend_ == "manyfit" or (n < d and alpha < 1)


def test_many_targets() -> None:
    X, Y = make(80, 5, 22)
    assert_optimal(LinearRegression(positive=True).fit(X, Y), X, Y, 0.0)
    model = Ridge(alpha=3.0, positive=True).fit(X, Y)
    assert_optimal(model, X, Y, 3.0)
    assert model.coef_.shape == (22, 5)
    assert model.fit_backend_ == "manyfit"


def test_all_at_zero_and_none_at_zero() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(0.5, 1.5, (50, 3))
    falling = LinearRegression(positive=True).fit(X, -X @ [1.0, 2.0, 3.0])
    assert_allclose(falling.coef_, 0.0)
    assert_allclose(falling.intercept_, -np.mean(X @ [1.0, 2.0, 3.0]))
    rising = LinearRegression(positive=True).fit(X, X @ [1.0, 2.0, 3.0])
    assert_allclose(rising.coef_, [1.0, 2.0, 3.0], rtol=1e-9)


@pytest.mark.parametrize("estimator", [LinearRegression(positive=True), Ridge(positive=True)])
def test_duplicated_and_constant_columns(estimator: Any) -> None:
    X, y = make(60, 4)
    X = np.column_stack([X, X[:, 0], np.full(60, 2.0), np.zeros(60)])
    alpha = getattr(estimator, "alpha", 0.0)
    model = estimator.fit(X, y)
    assert_optimal(model, X, y, alpha, tol=1e-7 if model.fit_backend_ == "manyfit" else 1e-3)


@pytest.mark.parametrize("estimator", [LinearRegression(positive=True), Ridge(alpha=2.0, positive=True)])
def test_float32_and_scales(estimator: Any) -> None:
    X, y = make(80, 5)
    expected = estimator.fit(X, y).coef_.copy()
    single = estimator.fit(X.astype(np.float32), y.astype(np.float32))
    assert single.coef_.dtype == np.float32
    assert_allclose(single.coef_, expected, rtol=1e-3, atol=1e-4)
    if isinstance(estimator, LinearRegression):
        scale = 10.0 ** np.array([-8, -4, 0, 4, 8])
        assert_allclose(estimator.fit(X * scale + 10.0, y).coef_ * scale, expected, rtol=1e-5, atol=1e-8)


def test_errors_name_the_solver() -> None:
    X, y = make(20, 3)
    with pytest.raises(ValueError, match="solver='svd' does not support positive fitting"):
        Ridge(positive=True, solver="svd").fit(X, y)
    with pytest.raises(ValueError, match="solver='lbfgs' can be used only when positive=True"):
        Ridge(solver="lbfgs").fit(X, y)
