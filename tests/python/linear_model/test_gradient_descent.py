"""Batch gradient descent beside its definition and the closed forms."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn import linear_model
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

import manyfit as mf
from manyfit.linear_model import GradientDescentClassifier, GradientDescentRegressor, LinearRegression


def make(n: int = 80, d: int = 4, dtype: Any = np.float64) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal(d) + 0.3 * rng.standard_normal(n) + 2.0
    return X.astype(dtype), y.astype(dtype)


def labels(n: int = 120, d: int = 4, classes: int = 2) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, d))
    scores = X @ rng.standard_normal((d, classes)) + rng.gumbel(size=(n, classes))
    return X, scores.argmax(axis=1)


def descend(X: Any, y: Any, rate: float, momentum: float, steps: int) -> tuple[Any, float]:
    """The definition."""
    coef, intercept, velocity, push = np.zeros(X.shape[1]), 0.0, np.zeros(X.shape[1]), 0.0
    for _ in range(steps):
        residual = X @ coef + intercept - y
        velocity = momentum * velocity - rate * 2 * X.T @ residual / len(y)
        push = momentum * push - rate * 2 * residual.mean()
        coef, intercept = coef + velocity, intercept + push
    return coef, intercept


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_are_those_of_the_definition(momentum: float, dtype: Any) -> None:
    X, y = make(dtype=dtype)
    model = GradientDescentRegressor(0.02, max_iter=30, tol=0, momentum=momentum).fit(X, y)
    coef, intercept = descend(X.astype(np.float64), y.astype(np.float64), 0.02, momentum, 30)
    close = {"rtol": 1e-11} if dtype == np.float64 else {"rtol": 1e-4}
    assert_allclose(model.coef_, coef, **close)
    assert_allclose(model.intercept_, intercept, **close)
    assert model.coef_.dtype == dtype
    assert model.n_iter_ == 30
    assert model.fit_backend_ == "manyfit"


def test_comes_down_to_least_squares() -> None:
    X, y = make()
    weights = np.random.default_rng(2).uniform(0, 2, len(y))
    for fit_intercept in (True, False):
        ours = GradientDescentRegressor(tol=1e-12, fit_intercept=fit_intercept).fit(X, y, weights)
        exact = LinearRegression(fit_intercept=fit_intercept).fit(X, y, weights)
        assert ours.converged_
        assert not ours.diverged_
        assert_allclose(ours.coef_, exact.coef_, rtol=1e-9)
        assert_allclose(ours.intercept_, exact.intercept_, rtol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_comes_down_to_logistic_regression(classes: int) -> None:
    X, y = labels(classes=classes)
    names = np.array(["ant", "bee", "cat"])[y]
    ours = GradientDescentClassifier(1.0, max_iter=20_000, tol=1e-9).fit(X, names)
    exact = linear_model.LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(X, names)
    assert ours.converged_
    assert ours.coef_.shape == exact.coef_.shape
    assert ours.intercept_.shape == exact.intercept_.shape
    assert_allclose(ours.predict_proba(X), exact.predict_proba(X), rtol=1e-4, atol=1e-6)
    assert_allclose(np.exp(ours.predict_log_proba(X)), ours.predict_proba(X), rtol=1e-9)
    np.testing.assert_array_equal(ours.predict(X), exact.predict(X))


def test_the_trace_is_the_way() -> None:
    X, y = make()
    model = GradientDescentRegressor(0.05, max_iter=25, tol=0).fit(X, y)
    trace = model.trace_
    assert {name: value.shape for name, value in trace.items()} == {
        "loss": (26,),
        "gradient_norm": (26,),
        "coef": (26, 4),
        "intercept": (26,),
    }
    for coef, intercept, loss, norm in zip(
        trace["coef"], trace["intercept"], trace["loss"], trace["gradient_norm"], strict=True
    ):
        residual = X @ coef + intercept - y
        assert_allclose(loss, np.mean(residual**2))
        slope = 2 * np.append(X.T @ residual, residual.sum()) / len(y)
        assert_allclose(norm, np.linalg.norm(slope))
    assert (np.diff(trace["loss"]) < 0).all()
    np.testing.assert_array_equal(trace["coef"][-1], model.coef_)
    assert not hasattr(GradientDescentRegressor(trace=False, tol=0).fit(X, y), "trace_")
    iris = GradientDescentClassifier(max_iter=5, tol=0).fit(*load_iris(return_X_y=True))
    assert iris.trace_["coef"].shape == (6, 3, 4)
    two = GradientDescentClassifier(max_iter=5, tol=0).fit(*labels())
    assert two.trace_["coef"].shape == (6, 1, 4)


@pytest.mark.parametrize("rate", [1.5, 1e6, 1e300])
def test_divergence_is_visible(rate: float) -> None:
    X, y = make()
    with pytest.warns(ConvergenceWarning, match="diverged after .* Lower learning_rate"):
        model = GradientDescentRegressor(rate).fit(X, y)
    assert model.diverged_
    assert not model.converged_
    assert model.n_iter_ < 100
    assert np.isfinite(model.coef_).all()
    assert all(np.isfinite(values).all() for values in model.trace_.values())
    np.testing.assert_array_equal(model.trace_["coef"][-1], model.coef_)
    if rate == 1.5:
        assert (np.diff(model.trace_["loss"]) > 0).all()
        assert model.trace_["loss"][-1] > 1e6 * model.trace_["loss"][0]


def test_too_few_steps_warn() -> None:
    X, y = make()
    with pytest.warns(ConvergenceWarning, match="max_iter=3 steps"):
        GradientDescentRegressor(0.01, max_iter=3).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GradientDescentRegressor(0.01, max_iter=3, tol=0).fit(X, y)


def test_starts_where_it_is_told() -> None:
    X, y = make()
    start = {"coef_init": [1.0, 2.0, 3.0, 4.0], "intercept_init": 5.0}
    model = GradientDescentRegressor(max_iter=2, tol=0, **start).fit(X, y)
    np.testing.assert_array_equal(model.trace_["coef"][0], start["coef_init"])
    assert model.trace_["intercept"][0] == 5.0
    with pytest.raises(ValueError, match=r"coef_init must have shape \(4,\), got \(3,\)"):
        GradientDescentRegressor(coef_init=[1.0, 2.0, 3.0]).fit(X, y)
    with pytest.raises(ValueError, match="intercept_init must be None"):
        GradientDescentRegressor(intercept_init=1.0, fit_intercept=False).fit(X, y)


def test_a_sweep_of_rates_shares_its_passes() -> None:
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    rates = [{"learning_rate": rate} for rate in (0.001, 0.01, 0.1)]
    models = mf.fit_many(GradientDescentRegressor(max_iter=50, tol=0), X, y, params=rates, cv=5)
    assert models.plan == "15 fits, 51 passes over X (gradient descent)"
    assert models.test_scores is not None
    assert (np.diff(models.test_scores.mean(axis=1)) > 0).all()
    for i, entry in enumerate(rates):
        for k, (train, _) in enumerate(models.splits or []):
            alone = GradientDescentRegressor(max_iter=50, tol=0, **entry).fit(X[train], y[train])
            assert_allclose(models[i, k].coef_, alone.coef_, rtol=1e-9)
            assert_allclose(models[i, k].trace_["loss"], alone.trace_["loss"], rtol=1e-9)


def test_a_split_that_lacks_a_class() -> None:
    X, y = labels(classes=3)
    rows = np.arange(len(y))
    some, others = rows[y != 2], rows[y == 2]
    models = mf.fit_many(
        GradientDescentClassifier(max_iter=20, tol=0), X, y, cv=[(some, others), (rows, others)]
    )
    assert models[0].classes_.tolist() == [0, 1]
    alone = GradientDescentClassifier(max_iter=20, tol=0).fit(X[some], y[some])
    assert_allclose(models[0].coef_, alone.coef_, rtol=1e-10)
    assert models[1].classes_.tolist() == [0, 1, 2]


def test_bad_input() -> None:
    X, y = make()
    with pytest.raises(ValueError, match="momentum must be in"):
        GradientDescentRegressor(momentum=1.0).fit(X, y)
    with pytest.raises(ValueError, match="learning_rate must be > 0"):
        GradientDescentRegressor(0.0).fit(X, y)
    with pytest.raises(ValueError, match="at least 2 classes, got only one class"):
        GradientDescentClassifier().fit(X, np.zeros(len(y), dtype=int))
    with pytest.raises(TypeError, match="must be dense, got a sparse matrix"):
        GradientDescentRegressor().fit(scipy.sparse.csr_array(X), y)
