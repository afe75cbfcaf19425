"""Lasso and elastic net beside scikit-learn's, solved to a tight tolerance."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning

import manyfit as mf
from manyfit.linear_model import ElasticNet, Lasso, enet_path, lasso_path

TIGHT = {"tol": 1e-14, "max_iter": 1_000_000}


def make(
    n: int, d: int, targets: int | None = None, dtype: Any = np.float64, seed: int = 0
) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) + rng.uniform(-2, 2, d)
    y = X @ rng.standard_normal((d, targets or 1)) + 0.3 * rng.standard_normal((n, targets or 1)) + 4.0
    return X.astype(dtype), (y if targets else y[:, 0]).astype(dtype)


def theirs(ours: Any, X: Any, y: Any, weights: Any = None) -> Any:
    """scikit-learn's model of the same parameters, converged in float64."""
    params = {k: v for k, v in ours.get_params().items() if k not in ("device", "n_jobs")}
    cls = getattr(linear_model, type(ours).__name__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = cls(**(params | TIGHT))
        return model.fit(
            X.astype(np.float64),
            y.astype(np.float64),
            None if weights is None else weights.astype(np.float64),
        )


def tolerance(dtype: Any) -> dict[str, float]:
    return {"rtol": 1e-6, "atol": 1e-7} if dtype == np.float64 else {"rtol": 2e-3, "atol": 3e-4}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("targets", [None, 1, 3])
@pytest.mark.parametrize(("n", "d"), [(60, 4), (60, 1), (200, 30), (30, 60), (12, 12)])
def test_as_scikit_learn(n: int, d: int, targets: int | None, dtype: Any) -> None:
    X, y = make(n, d, targets, dtype)
    weights = np.random.default_rng(1).uniform(0.1, 3.0, n).astype(dtype)
    for given in (None, weights):
        for model in (
            Lasso(0.3),
            Lasso(0.3, fit_intercept=False),
            Lasso(0.3, positive=True),
            ElasticNet(0.3, l1_ratio=0.2),
            ElasticNet(0.3, selection="random", random_state=0),
        ):
            ours = model.fit(X, y, given)
            other = theirs(model, X, y, given)
            assert ours.fit_backend_ == "manyfit"
            assert ours.coef_.shape == other.coef_.shape
            assert ours.coef_.dtype == dtype
            assert np.shape(ours.intercept_) == np.shape(other.intercept_)
            assert np.shape(ours.dual_gap_) == np.shape(other.dual_gap_)
            assert np.shape(ours.n_iter_) == np.shape(other.n_iter_)
            assert_allclose(ours.coef_, other.coef_, **tolerance(dtype))
            assert_allclose(ours.intercept_, other.intercept_, **tolerance(dtype))


def test_large_means_and_unscaled_columns() -> None:
    X, y = make(200, 6)
    scales = np.array([1.0, 1e-6, 1e6, 1.0, 1e3, 1e-3])
    other = linear_model.Lasso(0.01, tol=1e-11, max_iter=1_000_000).fit((X - X.mean(axis=0)) * scales, y)
    ours = Lasso(0.01).fit((X - X.mean(axis=0) + 1e5) * scales, y)
    assert_allclose(ours.coef_ * scales, other.coef_ * scales, rtol=1e-5, atol=1e-7)


def test_constant_and_repeated_columns() -> None:
    X, y = make(100, 5)
    X[:, 1] = 0.1
    X[:, 3] = X[:, 2]
    ours = Lasso(0.1).fit(X, y)
    other = linear_model.Lasso(0.1, **TIGHT).fit(X, y)
    assert ours.coef_[1] == 0.0
    assert_allclose(ours.predict(X), other.predict(X), rtol=1e-6)


def test_the_gap_bounds_the_objective() -> None:
    X, y = make(80, 10)

    def objective(model: Any) -> float:
        residual = y - model.predict(X)
        return float(residual @ residual / (2 * len(y)) + model.alpha * np.abs(model.coef_).sum())

    least = objective(theirs(Lasso(0.05), X, y))
    for tol in (1e-1, 1e-4, 1e-8):
        ours = Lasso(0.05, tol=tol).fit(X, y)
        assert 0 <= ours.dual_gap_ <= tol * np.var(y)
        assert objective(ours) - least <= ours.dual_gap_ + 1e-12


def test_too_few_sweeps_warn() -> None:
    X, y = make(200, 30)
    with pytest.warns(ConvergenceWarning, match="Objective did not converge.*max_iter.*Duality gap"):
        model = Lasso(1e-4, max_iter=1).fit(X, y)
    assert model.n_iter_ == 1
    with pytest.warns(ConvergenceWarning, match="in 3 of 4 fits of Lasso"):
        mf.fit_many(
            Lasso(1e-4, max_iter=1), X, y, params=[{"alpha": 1e3}] + [{"alpha": 1e-4, "tol": 1e-9}] * 3
        )


def test_no_penalty_warns_and_gives_least_squares() -> None:
    X, y = make(60, 4)
    with pytest.warns(UserWarning, match="With alpha=0"):
        model = Lasso(0.0).fit(X, y)
    assert_allclose(model.coef_, linear_model.LinearRegression().fit(X, y).coef_, rtol=1e-8)


def test_ridge_without_l1() -> None:
    X, y = make(60, 4)
    model = ElasticNet(0.5, l1_ratio=0.0).fit(X, y)
    assert_allclose(model.coef_, linear_model.Ridge(0.5 * 60).fit(X, y).coef_, rtol=1e-8)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": -1.0}, "alpha must be >= 0, got -1.0"),
        ({"alpha": np.inf}, "alpha must be >= 0 and finite, got inf"),
        ({"l1_ratio": 1.5}, r"l1_ratio must be in \[0, 1\], got 1.5"),
        ({"tol": -1.0}, "tol must be >= 0, got -1.0"),
        ({"max_iter": 0}, "max_iter must be an integer >= 1, got 0"),
    ],
)
def test_parameters_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ElasticNet(**params).fit(*make(20, 3))


def test_sparse_runs_in_scikit_learn() -> None:
    X, y = make(60, 4)
    sparse = Lasso(0.1, tol=1e-10).fit(scipy.sparse.csc_matrix(X), y)
    assert sparse.fit_backend_ == "scikit-learn"
    assert_allclose(sparse.coef_, Lasso(0.1).fit(X, y).coef_, rtol=1e-5)


def test_a_gram_handed_over_is_compared() -> None:
    X, y = make(60, 4)
    X -= X.mean(axis=0)
    given = Lasso(0.1, precompute=X.T @ X).fit(X, y)
    assert given.fit_backend_ == "manyfit"
    assert_allclose(given.coef_, Lasso(0.1).fit(X, y).coef_)
    with pytest.raises(ValueError, match="Gram matrix"):
        Lasso(0.1, precompute=2 * X.T @ X).fit(X, y)


def test_warm_start() -> None:
    X, y = make(200, 30)
    model = Lasso(0.05, warm_start=True, tol=1e-10).fit(X, y)
    first = model.n_iter_
    assert first > 1
    assert model.fit(X, y).n_iter_ < first


@pytest.mark.parametrize(("n", "d"), [(100, 12), (40, 120)])
def test_a_population_is_separate_fits(n: int, d: int) -> None:
    X, y = make(n, d)
    params = [
        {"alpha": alpha, "l1_ratio": ratio} for ratio in (0.5, 1.0) for alpha in np.logspace(-1.5, 0.5, 8)
    ]
    models = mf.fit_many(ElasticNet(), X, y, params=params, cv=3)
    assert models.plan.endswith("(fold Gram)" if n > d else "(columns)")
    for i, point in enumerate(params):
        for k, (train, test) in enumerate(models.splits or []):
            alone = ElasticNet(**point).fit(X[train], y[train])
            assert_allclose(models[i, k].coef_, alone.coef_, rtol=1e-7, atol=1e-9)
            assert models.test_scores is not None
            assert_allclose(models.test_scores[i, k], alone.score(X[test], y[test]), rtol=1e-7)


@pytest.mark.parametrize(("n", "d"), [(100, 12), (30, 80)])
@pytest.mark.parametrize("positive", [False, True])
def test_paths(n: int, d: int, positive: bool) -> None:
    X, y = make(n, d)
    X -= X.mean(axis=0)
    y -= y.mean()
    ours = enet_path(X, y, l1_ratio=0.7, alphas=20, eps=1e-2, positive=positive, return_n_iter=True)
    other = linear_model.enet_path(X, y, l1_ratio=0.7, alphas=20, eps=1e-2, positive=positive, **TIGHT)
    for a, b in zip(ours, other, strict=False):
        assert a.shape == b.shape
    assert_allclose(ours[0], other[0], rtol=1e-12)
    assert_allclose(ours[1], other[1], rtol=1e-6, atol=1e-7)
    assert len(ours[3]) == 20
    lasso = lasso_path(X, y, alphas=[0.1, 1.0], positive=positive)
    assert lasso[0].tolist() == [1.0, 0.1]
    for alpha, coef in zip(lasso[0], lasso[1].T, strict=True):
        alone = Lasso(alpha, fit_intercept=False, positive=positive).fit(X, y)
        assert_allclose(coef, alone.coef_, rtol=1e-7, atol=1e-9)


def test_path_of_several_targets() -> None:
    X, y = make(50, 5, 2)
    ours = enet_path(X, y, alphas=5, return_n_iter=True)
    other = linear_model.enet_path(X, y, alphas=5, return_n_iter=True, **TIGHT)
    for a, b in zip(ours[:3], other[:3], strict=True):
        assert a.shape == b.shape
    assert_allclose(ours[0], other[0], rtol=1e-12)
    assert_allclose(ours[1], other[1], rtol=1e-6, atol=1e-7)
    warm = enet_path(X, y, alphas=ours[0], coef_init=ours[1][..., -1])
    assert_allclose(warm[1], ours[1], rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="positive=True is not allowed for multi-output"):
        enet_path(X, y, positive=True)
