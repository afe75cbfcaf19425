"""Multi-task Lasso and elastic net agree with scikit-learn, and say what is wrong with bad input."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning

import manyfit as mf
from manyfit.linear_model import (
    ElasticNet,
    Lasso,
    MultiTaskElasticNet,
    MultiTaskElasticNetCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
    enet_path,
    lasso_path,
)

TIGHT = {"tol": 1e-14, "max_iter": 100_000}


def make(n: int, d: int, t: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * rng.uniform(0.5, 2, d) + rng.uniform(-3, 3, d)
    C = np.where(rng.random((d, 1)) < 0.4, rng.standard_normal((d, t)), 0.0)
    return X, X @ C + rng.standard_normal((n, t)) + 5


def converged(cls: type, X: Any, Y: Any, **params: Any) -> Any:
    """Scikit-learn's class, converged as far as it goes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return cls(**params, **TIGHT).fit(X, Y)


@pytest.mark.parametrize(("n", "d", "t"), [(200, 12, 3), (60, 8, 1), (40, 90, 4)])
@pytest.mark.parametrize("alpha", [0.05, 0.5])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.6, 0.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_agrees(n: int, d: int, t: int, alpha: float, l1_ratio: float, fit_intercept: bool) -> None:
    X, Y = make(n, d, t)
    params = {"alpha": alpha, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept}
    ours = MultiTaskElasticNet(**params).fit(X, Y)
    other = converged(linear_model.MultiTaskElasticNet, X, Y, **params)
    assert ours.fit_backend_ == "manyfit"
    assert ours.coef_.shape == (t, d)
    assert_allclose(ours.coef_, other.coef_, rtol=1e-6, atol=1e-7)
    assert_allclose(ours.intercept_, other.intercept_, rtol=1e-6, atol=1e-7)
    assert_array_equal((ours.coef_ != 0).any(axis=0), (ours.coef_ != 0).all(axis=0))  # all targets or none
    assert np.ndim(ours.dual_gap_) == 0
    assert type(ours.n_iter_) is int
    centred = Y - Y.mean(axis=0) if fit_intercept else Y
    assert_allclose(ours.eps_, ours.tol * (centred**2).sum(), rtol=1e-9)
    assert 0 < ours.dual_gap_ * n <= ours.eps_
    lasso = MultiTaskLasso(alpha, fit_intercept=fit_intercept).fit(X, Y)
    if l1_ratio == 1:
        assert_array_equal(lasso.coef_, ours.coef_)


def test_of_one_target_is_the_lasso() -> None:
    X, Y = make(100, 10, 1)
    assert_allclose(MultiTaskLasso(0.3).fit(X, Y).coef_[0], Lasso(0.3).fit(X, Y).coef_, rtol=1e-10)
    enet = ElasticNet(0.3).fit(X, Y)
    assert_allclose(MultiTaskElasticNet(0.3).fit(X, Y).coef_[0], enet.coef_, rtol=1e-10)


@pytest.mark.parametrize(("n", "d"), [(150, 8), (30, 60)])
def test_weights(n: int, d: int) -> None:
    X, Y = make(n, d, 3)
    w = np.random.default_rng(1).uniform(0, 3, n)
    ours = MultiTaskElasticNet(0.2).fit(X, Y, w)
    other = linear_model.MultiTaskElasticNet(0.2, **TIGHT).fit(X, Y, sample_weight=w)
    assert_allclose(ours.coef_, other.coef_, rtol=1e-6, atol=1e-8)
    assert_allclose(ours.intercept_, other.intercept_, rtol=1e-6)
    assert_allclose(ours.eps_ / ours.tol, other.eps_ / TIGHT["tol"], rtol=1e-9)


def test_population_and_separate_fits_are_the_minimum() -> None:
    X, Y = make(120, 15, 4)
    params = [{"alpha": a, "l1_ratio": r} for a in (3.0, 0.3, 0.03, 0.003) for r in (1.0, 0.5)]
    models = mf.fit_many(MultiTaskElasticNet(), X, Y, params=params, cv=3)
    assert models.plan == "24 fits, 1 pass over X (fold Gram)"
    assert models.splits is not None
    for i, entry in enumerate(params):
        for k, (train, test) in enumerate(models.splits):
            alone = MultiTaskElasticNet(**entry).fit(X[train], Y[train])
            assert_allclose(models[i, k].coef_, alone.coef_, rtol=1e-9, atol=1e-11)
            assert models.test_scores is not None
            assert_allclose(models.test_scores[i, k], alone.score(X[test], Y[test]), rtol=1e-8)


def test_warm_start_takes_no_sweeps() -> None:
    X, Y = make(60, 100, 3)
    model = MultiTaskLasso(0.1, warm_start=True).fit(X, Y)
    coef, sweeps = model.coef_.copy(), model.n_iter_
    assert model.fit(X, Y).n_iter_ < sweeps
    assert_allclose(model.coef_, coef, rtol=1e-9, atol=1e-12)


def test_random_order_arrives_too() -> None:
    X, Y = make(80, 12, 3)
    cyclic = MultiTaskLasso(0.1).fit(X, Y)
    random = MultiTaskLasso(0.1, selection="random", random_state=3).fit(X, Y)
    assert_allclose(random.coef_, cyclic.coef_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "cls", [MultiTaskLasso, MultiTaskElasticNet, MultiTaskLassoCV, MultiTaskElasticNetCV]
)
class TestBadInput:
    def test_one_dimension(self, cls: Any) -> None:
        X, Y = make(30, 4, 1)
        single = cls.__name__.removeprefix("MultiTask")
        with pytest.raises(ValueError, match=rf"{cls.__name__}: y .*For mono-task outputs, use {single}$"):
            cls().fit(X, Y[:, 0])
        with pytest.raises(ValueError, match="For mono-task outputs"):
            mf.fit_many(cls(), X, Y[:, 0], [{}], cv=2)

    def test_nan(self, cls: Any) -> None:
        for n, d in ((30, 4), (12, 30)):
            X, Y = make(n, d, 2)
            Y[3, 1] = np.nan
            with pytest.raises(ValueError, match="Input y contains NaN"):
                cls().fit(X, Y)

    def test_constant(self, cls: Any) -> None:
        X, Y = make(60, 5, 2)
        X[:, 2] = 7.5
        assert (cls().fit(X, Y).coef_[:, 2] == 0).all()
        flat = cls().fit(X, np.full((60, 2), 3.25))
        assert (flat.coef_ == 0).all()
        assert_allclose(flat.intercept_, 3.25)
        assert (cls().fit(X, np.zeros((60, 2))).coef_ == 0).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": -1.0}, "MultiTaskElasticNet: alpha must be .*got -1.0"),
        ({"alpha": np.inf}, "MultiTaskElasticNet: alpha must be >= 0 and finite, got inf"),
        ({"l1_ratio": 1.5}, "MultiTaskElasticNet: l1_ratio must be .*got 1.5"),
        ({"max_iter": 0}, "MultiTaskElasticNet: max_iter must be .*got 0"),
        ({"selection": "none"}, "MultiTaskElasticNet: selection must be .*got 'none'"),
    ],
)
def test_bad_parameters(params: dict[str, Any], message: str) -> None:
    X, Y = make(30, 4, 2)
    with pytest.raises(ValueError, match=message):
        MultiTaskElasticNet(**params).fit(X, Y)


def test_no_penalty_warns_and_is_least_squares() -> None:
    X, Y = make(80, 6, 3)
    with pytest.warns(UserWarning, match="With alpha=0"):
        model = MultiTaskLasso(alpha=0).fit(X, Y)
    assert_allclose(model.coef_, linear_model.LinearRegression().fit(X, Y).coef_, rtol=1e-8)


def test_too_few_sweeps_warn() -> None:
    X, Y = make(50, 40, 3)
    with pytest.warns(
        ConvergenceWarning, match=r"increase the number of iterations \(max_iter\).*Duality gap"
    ):
        MultiTaskLasso(1e-3, max_iter=1).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="Objective did not converge"):
        MultiTaskLassoCV(max_iter=1, cv=2, alphas=5).fit(X, Y)


def test_sparse_runs_in_scikit_learn() -> None:
    X, Y = make(50, 6, 2)
    model = MultiTaskLasso(0.1).fit(csr_matrix(X), Y)
    assert model.fit_backend_ == "scikit-learn"
    assert_allclose(model.coef_, MultiTaskLasso(0.1).fit(X, Y).coef_, atol=1e-2)


@pytest.mark.parametrize(("n", "d"), [(120, 10), (30, 50)])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_chosen_penalties_agree(n: int, d: int, fit_intercept: bool, weighted: bool) -> None:
    X, Y = make(n, d, 3)
    w = np.random.default_rng(1).uniform(0.1, 2, n) if weighted else None
    params = {"cv": 3, "alphas": 12, "eps": 1e-2, "fit_intercept": fit_intercept, "tol": 1e-10}
    ratios = {"l1_ratio": [0.5, 1.0]}
    for name, extra in (("MultiTaskElasticNetCV", ratios), ("MultiTaskLassoCV", {})):
        ours = getattr(mf.linear_model, name)(**params, **extra).fit(X, Y, w)
        other = getattr(linear_model, name)(**params, **extra, max_iter=100_000).fit(X, Y, w)
        assert ours.fit_backend_ == "manyfit"
        assert ours.alphas_.shape == other.alphas_.shape
        assert ours.mse_path_.shape == other.mse_path_.shape
        assert_allclose(ours.alphas_, other.alphas_, rtol=1e-9)
        assert_allclose(ours.mse_path_, other.mse_path_, rtol=1e-4)
        assert_allclose(ours.alpha_, other.alpha_, rtol=1e-9)
        assert getattr(ours, "l1_ratio_", None) == getattr(other, "l1_ratio_", None)
        assert_allclose(ours.coef_, other.coef_, rtol=1e-3, atol=1e-4)
        assert_allclose(ours.intercept_, other.intercept_, rtol=1e-3)


def test_chosen_penalties_share_one_pass() -> None:
    X, Y = make(120, 10, 3)
    data = mf.Dataset(X, Y)
    MultiTaskElasticNetCV(l1_ratio=[0.5, 1.0]).fit(data)
    assert data.passes == ["fold Gram"]


def test_l1_ratio_of_a_search() -> None:
    X, Y = make(30, 4, 2)
    with pytest.raises(ValueError, match=r"MultiTaskElasticNetCV: l1_ratio must be in \[0, 1\], got 1.5"):
        MultiTaskElasticNetCV(l1_ratio=[0.5, 1.5]).fit(X, Y)
    with pytest.raises(ValueError, match="l1_ratio=0"):
        MultiTaskElasticNetCV(l1_ratio=[0.0]).fit(X, Y)


@pytest.mark.parametrize("path", [enet_path, lasso_path])
def test_paths_of_sparse_tables_are_those_of_dense_ones(path: Any) -> None:
    X, Y = make(40, 6, 2)
    X[X < 0] = 0
    for y in (Y, Y[:, 0]):
        for dense, sparse in zip(path(X, y, alphas=7), path(csr_matrix(X), y, alphas=7), strict=True):
            assert_array_equal(dense, sparse)


def test_path_begins_at_zero() -> None:
    X, Y = make(40, 6, 2)
    coefs = lasso_path(X, Y, alphas=20)[1]
    assert (coefs[..., 0] == 0).all()
    assert (coefs[..., 1] != 0).any()
