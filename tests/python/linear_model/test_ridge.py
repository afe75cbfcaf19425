"""Ridge beside scikit-learn's and exact arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn import linear_model
from sklearn.model_selection import GridSearchCV

import manyfit as mf
from manyfit.linear_model import LinearRegression, Ridge

SHAPES = [(50, 4), (50, 1), (5, 4), (4, 4), (3, 10), (2, 1), (1, 1), (1, 3), (300, 40), (40, 300)]
SOLVERS = ["auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga"]


def make(
    n: int, d: int, targets: int | None = None, dtype: Any = np.float64, seed: int = 0
) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) + rng.uniform(-2, 2, d)
    y = X @ rng.standard_normal((d, targets or 1)) + 0.3 * rng.standard_normal((n, targets or 1)) + 4.0
    return X.astype(dtype), (y if targets else y[:, 0]).astype(dtype)


def tolerance(dtype: Any) -> dict[str, float]:
    return {"rtol": 1e-8, "atol": 1e-9} if dtype == np.float64 else {"rtol": 2e-3, "atol": 3e-4}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("targets", [None, 1, 3, 25])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_as_scikit_learn(n: int, d: int, targets: int | None, fit_intercept: bool, dtype: Any) -> None:
    X, y = make(n, d, targets, dtype)
    for weights in (None, np.random.default_rng(1).uniform(0.1, 3.0, n).astype(dtype)):
        for alpha in (0.01, 1.0, 1000.0):
            ours = Ridge(alpha, fit_intercept=fit_intercept).fit(X, y, weights)
            theirs = linear_model.Ridge(alpha, fit_intercept=fit_intercept, solver="svd").fit(X, y, weights)
            assert ours.fit_backend_ == "manyfit"
            assert ours.coef_.shape == theirs.coef_.shape
            assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)
            assert ours.coef_.dtype == dtype
            assert_allclose(ours.coef_, theirs.coef_, **tolerance(dtype))
            assert_allclose(ours.intercept_, theirs.intercept_, **tolerance(dtype))
            assert_allclose(ours.predict(X), theirs.predict(X), **tolerance(dtype))
            assert ours.predict(X).shape == theirs.predict(X).shape


@pytest.mark.parametrize("alpha", [0.0, 1e-12, 1e-3, 1.0, 1e6, 1e15])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_exact_to_the_stated_tolerance(exact: Any, error_of: Any, fit_intercept: bool, alpha: float) -> None:
    X, y = make(40, 6, 2)
    for weights in (None, np.random.default_rng(2).uniform(0.1, 2.0, 40)):
        reference = exact(X, y, weights, alpha, fit_intercept)
        assert error_of(Ridge(alpha, fit_intercept=fit_intercept).fit(X, y, weights), reference) < 1e-11
    wide, z = make(5, 8)
    if alpha > 0:
        reference = exact(wide, z, None, alpha, fit_intercept)
        # the smallest penalties leave a condition number of up to 1e13
        assert error_of(Ridge(alpha, fit_intercept=fit_intercept).fit(wide, z), reference) < max(
            1e-11, 1e-14 / alpha
        )


def ill_conditioned(n: int, d: int, condition: float) -> Any:
    rng = np.random.default_rng(0)
    left, right = np.linalg.qr(rng.standard_normal((n, d)))[0], np.linalg.qr(rng.standard_normal((d, d)))[0]
    return left * np.logspace(0, -np.log10(condition), d) @ right.T


@pytest.mark.parametrize("alpha", [0.0, 1e-15, 1e-9, 1e-3])
@pytest.mark.parametrize("condition", [1e2, 1e4, 1e6, 1e8, 1e10])
def test_ill_conditioned(exact: Any, error_of: Any, condition: float, alpha: float) -> None:
    """Never worse than scikit-learn by more than a small factor, beyond the stated 1e-9."""
    y = np.random.default_rng(1).standard_normal(40)
    for mean in (0.0, 3.0):
        X = ill_conditioned(40, 6, condition) + mean
        for fit_intercept in (True, False):
            reference = exact(X, y, None, alpha, fit_intercept)
            ours = Ridge(alpha, fit_intercept=fit_intercept).fit(X, y)
            theirs = linear_model.Ridge(alpha, fit_intercept=fit_intercept, solver="svd").fit(X, y)
            bound = max(1e-9, 10 * error_of(theirs, reference), condition * np.finfo(np.float64).eps)
            assert error_of(ours, reference) <= bound


def test_ill_conditioned_in_a_population(exact: Any, error_of: Any) -> None:
    """Many penalties share a decomposition and are guarded one by one."""
    X, y = ill_conditioned(40, 6, 1e7), np.random.default_rng(1).standard_normal(40)
    alphas = np.logspace(-16, 2, 30)
    for alpha, model in zip(alphas, mf.fit_many(Ridge(), X, y, [{"alpha": a} for a in alphas]), strict=True):
        reference = exact(X, y, None, alpha)
        theirs = error_of(linear_model.Ridge(alpha, solver="svd").fit(X, y), reference)
        assert error_of(model, reference) <= max(1e-9, 10 * theirs)


def test_large_means_and_scales(exact: Any, error_of: Any) -> None:
    X, y = make(60, 5)
    for alpha in (0.0, 1.0):
        far = X + 1e8
        assert error_of(Ridge(alpha).fit(far, y + 1e8), exact(far, y + 1e8, None, alpha)) < 1e-9
        scaled = X * 10.0 ** np.array([-12, -6, 0, 6, 12])
        reference = exact(scaled, y, None, alpha)[0][0]
        assert_allclose(Ridge(alpha).fit(scaled, y).coef_, reference, rtol=1e-8)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_scales_and_means_at_once(exact: Any, fit_intercept: bool) -> None:
    """Every coefficient to its own size, also where the Gram's entries hide the small columns."""
    X, y = make(60, 5)
    scaled = (X + 1e4) * 10.0 ** np.array([-12, -6, 0, 6, 12])
    for alpha in (0.0, 1e-6, 1.0):
        reference = exact(scaled, y, None, alpha, fit_intercept)[0][0]
        ours = Ridge(alpha, fit_intercept=fit_intercept).fit(scaled, y).coef_
        assert_allclose(ours, reference, rtol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_solver_name_gives_the_exact_solution(
    exact: Any, error_of: Any, solver: str, dtype: Any
) -> None:
    X, y = make(60, 5, 2, dtype)
    model = Ridge(2.0, solver=solver).fit(X, y)
    assert error_of(model, exact(X, y, None, 2.0)) < (1e-12 if dtype == np.float64 else 1e-5)
    assert model.fit_backend_ == "manyfit"
    assert model.n_iter_ is None
    assert model.solver_ == ("cholesky" if solver == "auto" else solver)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (5, 60), (8, 8)])
def test_a_penalty_for_each_target(n: int, d: int) -> None:
    X, Y = make(n, d, 4)
    weights = np.random.default_rng(0).uniform(0.5, 2.0, n)
    alphas = np.array([0.1, 5.0, 0.1, 300.0])
    for kinds in (alphas, alphas.tolist(), tuple(alphas), alphas.astype(np.float32)):
        model = Ridge(kinds).fit(X, Y, weights)
        for k, alpha in enumerate(np.asarray(kinds, dtype=np.float64)):
            alone = Ridge(alpha).fit(X, Y[:, k], weights)
            assert_allclose(model.coef_[k], alone.coef_, rtol=1e-9)
            assert_allclose(model.intercept_[k], alone.intercept_, rtol=1e-9)
    assert_allclose(Ridge(np.array([2.0])).fit(X, Y).coef_, Ridge(2.0).fit(X, Y).coef_, rtol=1e-12)
    with pytest.raises(ValueError, match="penalties do not correspond: 3 != 4"):
        Ridge([1.0, 2.0, 3.0]).fit(X, Y)
    with pytest.raises(ValueError, match=r"alpha must be >= 0.*-1"):
        Ridge([1.0, -1.0, 1.0, 1.0]).fit(X, Y)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", [(60, 6), (6, 60), (6, 6)])
def test_alpha_zero_on_singular_data(shape: tuple[int, int], fit_intercept: bool) -> None:
    """alpha = 0 is least squares, of least norm where there is a choice."""
    X, y = make(*shape)
    X[:, -1] = X[:, 0]
    X[:, -2] = 5.0
    ridge = Ridge(0.0, fit_intercept=fit_intercept).fit(X, y)
    assert ridge.fit_backend_ == "manyfit"
    centre, y_centre = (X.mean(axis=0), y.mean()) if fit_intercept else (0.0, 0.0)
    reference = np.linalg.lstsq(X - centre, y - y_centre, rcond=1e-12)[0]
    assert_allclose(ridge.coef_, reference, rtol=1e-8, atol=1e-10)
    ols = LinearRegression(fit_intercept=fit_intercept).fit(X, y)
    assert_allclose(ridge.coef_, ols.coef_, rtol=1e-8, atol=1e-10)


def test_a_huge_penalty_leaves_the_mean() -> None:
    X, y = make(50, 4)
    model = Ridge(1e300).fit(X, y)
    assert_allclose(model.coef_, 0.0, atol=1e-290)
    assert_allclose(model.intercept_, y.mean())


def test_zero_weights_leave_fewer_rows_than_columns() -> None:
    X, y = make(40, 8)
    weights = np.zeros(40)
    weights[:5] = 2.0
    few = Ridge().fit(X[:5], y[:5], np.full(5, 2.0))
    assert_allclose(Ridge().fit(X, y, weights).coef_, few.coef_, rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_nearly_equal_rows_of_wide_data(dtype: Any) -> None:
    """Where inner products of the rows lose too many digits their triangular factor answers."""
    X, y = make(40, 200, 2)
    X[1] = X[0] + 1e-4 * np.random.default_rng(1).standard_normal(200)
    X, y = X.astype(dtype), y.astype(dtype)
    wide = X.astype(np.float64), y.astype(np.float64)
    dataset = mf.Dataset(X, y)
    for fit_intercept in (True, False):
        ours = Ridge(1e-9, fit_intercept=fit_intercept).fit(dataset)
        theirs = linear_model.Ridge(1e-9, fit_intercept=fit_intercept, solver="svd").fit(*wide)
        assert ours.fit_backend_ == "manyfit"
        assert_allclose(ours.coef_, theirs.coef_, rtol=1e-7 if dtype == np.float64 else 1e-5, atol=1e-8)
        ols = LinearRegression(fit_intercept=fit_intercept, tol=1e-12).fit(dataset)
        reference = linear_model.LinearRegression(fit_intercept=fit_intercept, tol=1e-12).fit(*wide)
        assert ols.fit_backend_ == "manyfit"
        assert ols.rank_ == reference.rank_
        assert_allclose(ols.coef_, reference.coef_, rtol=1e-7 if dtype == np.float64 else 1e-5, atol=1e-8)
    assert dataset.passes[-1] == "row QR"


def test_a_small_penalty_on_wide_data_needs_no_second_pass() -> None:
    """Centring leaves one direction without any variance: that one is no ill condition."""
    X, y = make(40, 300)
    dataset = mf.Dataset(X, y)
    model = Ridge(1e-6).fit(dataset)
    assert dataset.passes == ["row Gram"]
    assert_allclose(
        model.coef_, linear_model.Ridge(1e-6, solver="svd").fit(X, y).coef_, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("solver", ["auto", "sparse_cg", "lsqr", "sag", "saga"])
def test_sparse_runs_in_scikit_learn(solver: str) -> None:
    X, y = make(60, 5, 2)
    X[np.random.default_rng(0).random(X.shape) < 0.6] = 0
    for layout in (scipy.sparse.csr_array, scipy.sparse.csc_matrix):
        intercept = solver != "saga"  # scikit-learn's saga fits none on sparse data
        parameters = {"solver": solver, "tol": 1e-10, "random_state": 0, "max_iter": 10_000}
        parameters |= {"fit_intercept": intercept}
        ours = Ridge(**parameters).fit(layout(X), y)
        theirs = linear_model.Ridge(**parameters).fit(layout(X), y)
        assert ours.fit_backend_ == "scikit-learn"
        np.testing.assert_array_equal(ours.coef_, theirs.coef_)
        dense = Ridge(fit_intercept=intercept).fit(X, y)
        assert_allclose(dense.coef_, ours.coef_, rtol=1e-4, atol=1e-6)


def test_one_column_of_targets_has_scikit_learns_shapes() -> None:
    X, y = make(50, 4, 1)
    for positive in (False, True):
        ours, theirs = Ridge(positive=positive).fit(X, y), linear_model.Ridge(positive=positive).fit(X, y)
        assert ours.coef_.shape == theirs.coef_.shape == (4,)
        assert ours.intercept_.shape == theirs.intercept_.shape == (1,)
        assert ours.predict(X).shape == theirs.predict(X).shape


def test_inside_a_grid_search() -> None:
    X, y = make(80, 5)
    grid = {"alpha": [0.01, 1.0, 100.0], "fit_intercept": [True, False]}
    ours = GridSearchCV(Ridge(), grid, cv=4).fit(X, y)
    theirs = GridSearchCV(linear_model.Ridge(), grid, cv=4).fit(X, y)
    assert ours.best_params_ == theirs.best_params_
    assert_allclose(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-8)
    assert isinstance(ours.best_estimator_, linear_model.Ridge)
