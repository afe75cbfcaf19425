"""PoissonRegressor beside scikit-learn's with a tight tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning

import manyfit as mf
from manyfit.linear_model import PoissonRegressor


def make(n: int = 300, d: int = 5, dtype: Any = np.float64, mean: float = 1.0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) * np.linspace(0.5, 1.5, d)
    y = rng.poisson(np.exp(0.5 + X @ rng.uniform(-0.5, 0.5, d)))
    return (X + mean).astype(dtype), y.astype(dtype), rng.uniform(0.2, 2.0, n).astype(dtype)


def exact(X: Any, y: Any, w: Any = None, **settings: Any) -> Any:
    """scikit-learn's Newton, to the last digit."""
    model = linear_model.PoissonRegressor(**{"solver": "newton-cholesky", "tol": 1e-12, **settings})
    return model.fit(X.astype(np.float64), y.astype(np.float64), w)


def assert_same(ours: Any, theirs: Any, rtol: float = 1e-8) -> None:
    scale = np.abs(theirs.coef_).max()
    assert_allclose(ours.coef_, theirs.coef_, atol=rtol * scale)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=rtol * max(scale, abs(theirs.intercept_)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 1e-3, 1.0, 100.0])
def test_as_scikit_learn(alpha: float, fit_intercept: bool, weighted: bool) -> None:
    X, y, w = make()
    w = w if weighted else None
    settings: dict[str, Any] = {"alpha": alpha, "fit_intercept": fit_intercept}
    theirs = exact(X, y, w, **settings)
    for solver in ("lbfgs", "newton-cholesky"):
        ours = PoissonRegressor(solver=solver, **settings).fit(X, y, w)
        assert ours.fit_backend_ == "manyfit"
        assert_same(ours, theirs)
        assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7)
        assert_allclose(ours.score(X, y, w), theirs.score(X, y, w), rtol=1e-7)
        assert 1 <= ours.n_iter_ < 20


def test_float32() -> None:
    X, y, w = make(dtype=np.float32)
    ours = PoissonRegressor(alpha=0.01).fit(X, y, w)
    assert ours.coef_.dtype == ours.predict(X).dtype == np.float32
    assert_same(ours, exact(X, y, w, alpha=0.01), rtol=1e-5)


def test_more_columns_than_rows() -> None:
    X, y, _ = make(30, 60)
    ours = PoissonRegressor(alpha=0.5).fit(X, y)
    assert ours.fit_backend_ == "manyfit"
    assert_same(ours, exact(X, y, alpha=0.5), rtol=1e-7)


def test_large_means_and_scales() -> None:
    X, y, _ = make(mean=0.0)
    near, far = PoissonRegressor(alpha=0.1).fit(X, y), PoissonRegressor(alpha=0.1).fit(X + 1e6, y)
    assert_allclose(far.coef_, near.coef_, rtol=1e-6)
    scaled = PoissonRegressor(alpha=0.0).fit(X * np.logspace(-6, 6, 5), y)
    assert_allclose(scaled.coef_ * np.logspace(-6, 6, 5), exact(X, y, alpha=0.0).coef_, rtol=1e-7)


def test_singular_problems_are_left_to_scikit_learn() -> None:
    X, y, _ = make()
    X[:, 1] = X[:, 0]
    model = PoissonRegressor(alpha=0.0).fit(X, y)
    assert model.fit_backend_ == "scikit-learn"
    assert_allclose(model.predict(X), exact(X[:, 1:], y, alpha=0.0).predict(X[:, 1:]), rtol=1e-2)
    assert PoissonRegressor(alpha=1e-3).fit(X, y).fit_backend_ == "manyfit"


def test_sparse_runs_in_scikit_learn() -> None:
    X, y, w = make()
    ours = PoissonRegressor(tol=1e-8).fit(scipy.sparse.csr_array(X), y, w)
    assert ours.fit_backend_ == "scikit-learn"
    assert_same(ours, exact(X, y, w, alpha=1.0), rtol=1e-4)
    assert_allclose(ours.predict(scipy.sparse.csr_array(X)), ours.predict(X))


def test_a_population_shares_passes() -> None:
    X, y, w = make()
    params = [{"alpha": a, "fit_intercept": b} for a in (0.0, 0.1, 10.0) for b in (True, False)]
    models = mf.fit_many(PoissonRegressor(), X, y, params=params, cv=4, sample_weight=w)
    assert models.plan == "24 fits, 1 pass over X (Newton steps)"
    for k, (train, test) in enumerate(models.splits):
        for i, parameters in enumerate(models.params):
            alone = PoissonRegressor(**parameters).fit(X[train], y[train], w[train])
            assert_same(models[i, k], alone, rtol=1e-9)
            assert_allclose(models.test_scores[i, k], alone.score(X[test], y[test], w[test]), rtol=1e-8)


def test_weights_are_repetitions() -> None:
    X, y, _ = make()
    times = np.arange(len(y)) % 3
    one = PoissonRegressor(alpha=0.1).fit(X, y, sample_weight=times.astype(float))
    assert_same(one, PoissonRegressor(alpha=0.1).fit(np.repeat(X, times, 0), np.repeat(y, times)), 1e-10)


def test_warm_start_and_iterations() -> None:
    X, y, _ = make()
    with pytest.warns(
        ConvergenceWarning, match="PoissonRegressor: the fit did not converge within max_iter=1"
    ):
        model = PoissonRegressor(alpha=0.0, max_iter=1, warm_start=True).fit(X, y)
    assert model.n_iter_ == 1
    model.set_params(max_iter=100).fit(X, y)
    cold = PoissonRegressor(alpha=0.0).fit(X, y)
    assert model.n_iter_ < cold.n_iter_
    assert_same(model, cold)


def test_save_and_onnx(tmp_path: Any) -> None:
    X, y, _ = make(dtype=np.float32)
    for fit_intercept in (True, False):
        model = PoissonRegressor(alpha=0.1, fit_intercept=fit_intercept).fit(X, y)
        mf.save(model, tmp_path / "poisson.safetensors")
        loaded = mf.load(tmp_path / "poisson.safetensors")
        assert_allclose(loaded.predict(X), model.predict(X), rtol=0)
        assert loaded.score(X, y) == model.score(X, y)
        for dtype in ("float32", "float64"):
            graph = model.to_onnx(X=X, dtype=dtype)
            assert [node.op_type for node in graph.graph.node] == ["Gemm", "Squeeze", "Exp"]
    model.coef_ = model.coef_[:3]
    mf.save(model, tmp_path / "bad.safetensors")
    with pytest.raises(mf.ModelFormatError, match="coef_ must be floats of shape"):
        mf.load(tmp_path / "bad.safetensors")


def test_errors() -> None:
    X, y, _ = make()
    with pytest.raises(ValueError, match=r"PoissonRegressor: y must be >= 0, got -1.0 for sample 7"):
        PoissonRegressor().fit(X, np.where(np.arange(len(y)) == 7, -1.0, y))
    with pytest.raises(ValueError, match="PoissonRegressor: alpha must be >= 0, got -1"):
        PoissonRegressor(alpha=-1.0).fit(X, y)
    X[3, 2] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        PoissonRegressor().fit(X, y)
