"""LinearRegression beside scikit-learn's, NumPy's least squares and exact arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn import linear_model

from manyfit.linear_model import LinearRegression

SHAPES = [(50, 4), (50, 1), (5, 4), (4, 4), (3, 10), (2, 1), (1, 1), (1, 3), (2, 5), (300, 40), (40, 300)]


def make(
    n: int, d: int, targets: int | None = None, dtype: Any = np.float64, seed: int = 0
) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) + rng.uniform(-2, 2, d)
    y = X @ rng.standard_normal((d, targets or 1)) + 0.3 * rng.standard_normal((n, targets or 1)) + 4.0
    return X.astype(dtype), (y if targets else y[:, 0]).astype(dtype)


def tolerance(dtype: Any) -> dict[str, float]:
    return {"rtol": 1e-8, "atol": 1e-9} if dtype == np.float64 else {"rtol": 2e-3, "atol": 2e-4}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("targets", [None, 1, 3, 25])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_as_scikit_learn(n: int, d: int, targets: int | None, fit_intercept: bool, dtype: Any) -> None:
    X, y = make(n, d, targets, dtype)
    for weights in (None, np.random.default_rng(1).uniform(0.1, 3.0, n).astype(dtype)):
        ours = LinearRegression(fit_intercept=fit_intercept).fit(X, y, weights)
        # always in float64: in float32 scikit-learn's centring leaves rounding that it counts towards the rank
        theirs = linear_model.LinearRegression(fit_intercept=fit_intercept).fit(
            X.astype(np.float64), y.astype(np.float64), weights
        )
        assert ours.fit_backend_ == "manyfit"
        assert ours.coef_.shape == theirs.coef_.shape
        assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)
        assert ours.coef_.dtype == dtype
        assert ours.singular_.shape == theirs.singular_.shape
        assert ours.rank_ == theirs.rank_
        assert_allclose(ours.coef_, theirs.coef_, **tolerance(dtype))
        assert_allclose(ours.intercept_, theirs.intercept_, **tolerance(dtype))
        assert_allclose(ours.predict(X), theirs.predict(X), **tolerance(dtype))
        # roots of rounding, where the rank is not full
        rank, rtol = ours.rank_, tolerance(dtype)["rtol"]
        assert_allclose(ours.singular_[:rank], theirs.singular_[:rank], rtol=rtol)
        assert np.all(ours.singular_[ours.rank_ :] <= 1e-5 * max(ours.singular_[0], 1.0))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_exact_to_the_stated_tolerance(
    exact: Any, error_of: Any, fit_intercept: bool, weighted: bool
) -> None:
    X, y = make(40, 6, 3)
    weights = np.random.default_rng(2).uniform(0.1, 2.0, 40) if weighted else None
    reference = exact(X, y, weights, 0.0, fit_intercept)
    assert error_of(LinearRegression(fit_intercept=fit_intercept).fit(X, y, weights), reference) < 1e-12


def ill_conditioned(n: int, d: int, condition: float, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    left, right = np.linalg.qr(rng.standard_normal((n, d)))[0], np.linalg.qr(rng.standard_normal((d, d)))[0]
    return left * np.logspace(0, -np.log10(condition), d) @ right.T


@pytest.mark.parametrize("mean", [0.0, 3.0])
@pytest.mark.parametrize("condition", [1e2, 1e3, 1e4, 1e6, 1e8, 1e10, 1e12])
def test_ill_conditioned(exact: Any, error_of: Any, condition: float, mean: float) -> None:
    """Never worse than scikit-learn by more than a small factor, beyond the stated 1e-9."""
    X = ill_conditioned(40, 6, condition) + mean
    rng = np.random.default_rng(1)
    for y in (X @ rng.standard_normal(6), rng.standard_normal(40)):
        for fit_intercept in (True, False):
            reference = exact(X, y, None, 0.0, fit_intercept)
            ours = LinearRegression(tol=0.0, fit_intercept=fit_intercept).fit(X, y)
            theirs = linear_model.LinearRegression(tol=0.0, fit_intercept=fit_intercept).fit(X, y)
            bound = max(1e-9, 10 * error_of(theirs, reference), condition * np.finfo(np.float64).eps)
            assert error_of(ours, reference) <= bound


@pytest.mark.parametrize("condition", [1e1, 1e2, 1e3, 1e4])
def test_ill_conditioned_float32(exact: Any, error_of: Any, condition: float) -> None:
    X = ill_conditioned(60, 5, condition).astype(np.float32) + np.float32(1)
    y = np.random.default_rng(1).standard_normal(60).astype(np.float32)
    reference = exact(X, y)
    ours = LinearRegression(tol=0.0).fit(X, y)
    theirs = linear_model.LinearRegression(tol=0.0).fit(X, y)
    bound = max(10 * error_of(theirs, reference), condition * np.finfo(np.float32).eps)
    assert error_of(ours, reference) <= bound


def test_large_means(exact: Any, error_of: Any) -> None:
    X, y = make(60, 5)
    shifted, far = X + 1e8, y + 1e8
    assert error_of(LinearRegression().fit(shifted, y), exact(shifted, y)) < 1e-9
    assert error_of(LinearRegression().fit(shifted, far), exact(shifted, far)) < 1e-9
    # the first rows, from which a shift might be guessed, lie far from all others
    X[:3] += 1e6
    assert error_of(LinearRegression().fit(X, y), exact(X, y)) < 1e-9


def test_scales_far_apart(exact: Any) -> None:
    """Columns of very different size count as long as `tol` does not take them for zero, as in scikit-learn."""
    X, y = make(60, 5)
    scale = 10.0 ** np.array([-2, -1, 0, 1, 2])
    coef = exact(X, y)[0][0]
    assert_allclose(LinearRegression().fit(X * scale, y).coef_ * scale, coef, rtol=1e-8)
    scale = 10.0 ** np.array([-12, -6, 0, 6, 12])
    ours, theirs = LinearRegression().fit(X * scale, y), linear_model.LinearRegression().fit(X * scale, y)
    assert ours.rank_ == theirs.rank_
    assert_allclose(ours.predict(X * scale), theirs.predict(X * scale), rtol=1e-8)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["duplicated", "constant", "zero", "sum", "one-hot", "all"])
def test_rank_deficient(kind: str, fit_intercept: bool, dtype: Any) -> None:
    """Of all minima the one of least norm, as NumPy's SVD finds it."""
    X, y = make(60, 4, 2)
    extra = {
        "duplicated": X[:, [0, 1, 0]],
        "constant": np.full((60, 1), 3.0),
        "zero": np.zeros((60, 1)),
        "sum": X[:, :1] + X[:, 1:2],
        "one-hot": np.eye(3)[np.arange(60) % 3],
    }
    columns = list(extra.values()) if kind == "all" else [extra[kind]]
    X, y = np.hstack([X, *columns]).astype(dtype), y.astype(dtype)
    wide = X.astype(np.float64)
    model = LinearRegression(fit_intercept=fit_intercept).fit(X, y)
    centre = wide.mean(axis=0) if fit_intercept else 0.0
    y_centre = y.astype(np.float64).mean(axis=0) if fit_intercept else 0.0
    coef, _, rank, _ = np.linalg.lstsq(wide - centre, y - y_centre, rcond=1e-6)
    assert model.rank_ == rank < X.shape[1] or (kind, fit_intercept) in {
        ("constant", False),
        ("one-hot", False),
    }
    assert_allclose(model.coef_, coef.T, **tolerance(dtype))
    assert_allclose(model.predict(X), (wide - centre) @ coef + y_centre, **tolerance(dtype))


def test_tol_decides_the_rank() -> None:
    X, y = make(60, 4)
    X = np.column_stack([X, X[:, 0] + 1e-4 * np.random.default_rng(3).standard_normal(60)])
    for tol, rank in ((1e-6, 5), (1e-3, 4), (0.0, 5)):
        ours = LinearRegression(tol=tol).fit(X, y)
        theirs = linear_model.LinearRegression(tol=tol).fit(X, y)
        assert ours.rank_ == theirs.rank_ == rank
        assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6)


def test_weights() -> None:
    X, y = make(50, 4)
    weights = np.random.default_rng(4).uniform(0.0, 2.0, 50)
    weights[::5] = 0
    model = LinearRegression().fit(X, y, weights)
    assert_allclose(LinearRegression().fit(X, y, 1e6 * weights).coef_, model.coef_, rtol=1e-9)
    assert_allclose(LinearRegression().fit(X, y, 1e-200 * weights).coef_, model.coef_, rtol=1e-9)
    # fewer weighted rows than columns
    few = np.zeros(50)
    few[:3] = 1.0
    assert_allclose(
        LinearRegression().fit(X, y, few).coef_, LinearRegression().fit(X[:3], y[:3]).coef_, rtol=1e-8
    )


def test_many_targets_as_each_alone() -> None:
    X, Y = make(80, 6, 30)
    together = LinearRegression().fit(X, Y)
    for k in range(30):
        alone = LinearRegression().fit(X, Y[:, k])
        assert_allclose(together.coef_[k], alone.coef_, rtol=1e-12)
        assert_allclose(together.intercept_[k], alone.intercept_, rtol=1e-11)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("layout", [scipy.sparse.csr_array, scipy.sparse.csc_matrix, scipy.sparse.coo_array])
def test_sparse_runs_in_scikit_learn(layout: Any, fit_intercept: bool) -> None:
    X, y = make(60, 5, 2)
    X[np.random.default_rng(0).random(X.shape) < 0.6] = 0
    ours = LinearRegression(fit_intercept=fit_intercept).fit(layout(X), y)
    theirs = linear_model.LinearRegression(fit_intercept=fit_intercept).fit(layout(X), y)
    assert ours.fit_backend_ == "scikit-learn"
    np.testing.assert_array_equal(ours.coef_, theirs.coef_)
    np.testing.assert_array_equal(ours.predict(layout(X)), theirs.predict(layout(X)))
    dense = LinearRegression(fit_intercept=fit_intercept).fit(X, y)
    assert dense.fit_backend_ == "manyfit"
    assert_allclose(dense.coef_, ours.coef_, rtol=1e-4)


def test_is_scikit_learns_class_too() -> None:
    model = LinearRegression(positive=True)
    assert isinstance(model, linear_model.LinearRegression)
    theirs = linear_model.LinearRegression().get_params()
    assert theirs.items() <= LinearRegression().get_params().items()


def test_predict_takes_what_scikit_learn_takes() -> None:
    X, y = make(50, 4, 2)
    ours, theirs = LinearRegression().fit(X, y), linear_model.LinearRegression().fit(X, y)
    for rows in (
        X,
        X.astype(np.float32),
        X.tolist(),
        X[:1],
        np.rint(X).astype(int),
        X[:, ::-1][:, ::-1],
        X > 0,
    ):
        assert_allclose(ours.predict(rows), theirs.predict(rows), rtol=1e-6)
    with pytest.raises(ValueError, match="NaN"):
        ours.predict(np.full((3, 4), np.nan))
    with pytest.raises(ValueError, match="infinity"):
        ours.predict(np.full((3, 4), np.inf))
    huge = np.full((2, 4), 1e308)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(np.isfinite(ours.predict(huge)), np.isfinite(theirs.predict(huge)))
