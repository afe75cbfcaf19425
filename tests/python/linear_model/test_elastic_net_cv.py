"""LassoCV and ElasticNetCV beside scikit-learn's, solved to a tight tolerance."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn import linear_model
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold, ShuffleSplit

import manyfit as mf
from manyfit.linear_model import ElasticNetCV, LassoCV

TIGHT = {"tol": 1e-11, "max_iter": 100_000}
X, y = load_diabetes(return_X_y=True)


def pair(name: str, X: Any, y: Any, weights: Any = None, **params: Any) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = getattr(linear_model, name)(**(params | TIGHT)).fit(X, y, sample_weight=weights)
    ours = {"LassoCV": LassoCV, "ElasticNetCV": ElasticNetCV}[name](**(params | TIGHT))
    return ours.fit(X, y, sample_weight=weights), other


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("LassoCV", {"alphas": 20}),
        ("LassoCV", {"alphas": [0.1, 1.0, 0.01], "cv": KFold(3, shuffle=True, random_state=0)}),
        ("LassoCV", {"alphas": 10, "positive": True, "fit_intercept": False}),
        ("ElasticNetCV", {"alphas": 10, "l1_ratio": [0.3, 0.9, 1.0], "cv": ShuffleSplit(4, random_state=0)}),
        ("ElasticNetCV", {"alphas": 10, "cv": 3}),
        ("ElasticNetCV", {"alphas": [0.1, 0.01], "l1_ratio": [0.0, 0.5]}),
    ],
)
def test_as_scikit_learn(name: str, params: dict[str, Any], weighted: bool) -> None:
    weights = np.random.default_rng(0).uniform(0.1, 2.0, len(y)) if weighted else None
    ours, other = pair(name, X, y, weights, **params)
    assert ours.fit_backend_ == "manyfit"
    assert ours.mse_path_.shape == other.mse_path_.shape
    assert ours.alphas_.shape == other.alphas_.shape
    assert_allclose(ours.alphas_, other.alphas_, rtol=1e-10)
    assert_allclose(ours.mse_path_, other.mse_path_, rtol=1e-5)
    assert_allclose(ours.alpha_, other.alpha_, rtol=1e-10)
    assert getattr(ours, "l1_ratio_", None) == getattr(other, "l1_ratio_", None)
    assert_allclose(ours.coef_, other.coef_, rtol=1e-4, atol=1e-3)
    assert_allclose(ours.intercept_, other.intercept_, rtol=1e-6)
    assert np.ndim(ours.dual_gap_) == 0
    assert isinstance(ours.n_iter_, int)


def test_wide_data() -> None:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((40, 90)) + 2
    target = wide[:, :3] @ [1.0, -2.0, 3.0] + rng.standard_normal(40)
    ours, other = pair("LassoCV", wide, target, alphas=8, eps=0.1, cv=3)
    assert_allclose(ours.alphas_, other.alphas_, rtol=1e-10)
    assert_allclose(ours.mse_path_, other.mse_path_, rtol=1e-4)
    assert_allclose(ours.coef_, other.coef_, rtol=1e-4, atol=1e-5)


def test_one_pass_serves_everything() -> None:
    data = mf.Dataset(X, y)
    ElasticNetCV(l1_ratio=[0.5, 1.0], alphas=5).fit(data)
    assert data.passes == ["fold Gram"]


def test_population() -> None:
    models = mf.fit_many(LassoCV(alphas=5), X, y, params=[{"cv": 3}, {"cv": 4}], cv=2)
    for i, cv in enumerate((3, 4)):
        for k, (train, _) in enumerate(models.splits or []):
            alone = LassoCV(alphas=5, cv=cv).fit(X[train], y[train])
            assert_allclose(models[i, k].coef_, alone.coef_, rtol=1e-9)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"ElasticNetCV: l1_ratio must be in \[0, 1\], got 2.0"):
        ElasticNetCV(l1_ratio=[0.5, 2.0]).fit(X, y)
    with pytest.raises(ValueError, match="l1_ratio=0"):
        ElasticNetCV(l1_ratio=0.0).fit(X, y)
    with pytest.raises(ValueError, match="use MultiTaskLassoCV"):
        LassoCV().fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match=r"alphas\[1\] == -1"):
        LassoCV(alphas=[1.0, -1.0]).fit(X, y)


def test_sparse_runs_in_scikit_learn() -> None:
    model = LassoCV(alphas=5).fit(scipy.sparse.csc_matrix(X), y)
    assert model.fit_backend_ == "scikit-learn"
    assert_allclose(model.alpha_, LassoCV(alphas=5).fit(X, y).alpha_, rtol=1e-8)


def test_folds_within_folds_share_a_pass() -> None:
    data = mf.Dataset(X, y)
    params = [{"l1_ratio": ratio} for ratio in (0.5, 1.0)]
    models = mf.fit_many(ElasticNetCV(alphas=10), data, params=params, cv=4)
    assert (
        models.plan == "8 fits, 2 passes over X (fold Gram)"
    )  # of the inner folds, and of the outer for scores
    assert models.splits is not None
    for i, entry in enumerate(params):
        for k, (train, test) in enumerate(models.splits):
            alone = ElasticNetCV(alphas=10, **entry).fit(X[train], y[train])
            assert models[i, k].alpha_ == pytest.approx(alone.alpha_, rel=1e-9)
            assert_allclose(models[i, k].mse_path_, alone.mse_path_, rtol=1e-7)
            assert_allclose(models[i, k].coef_, alone.coef_, rtol=1e-7, atol=1e-7)
            assert models.test_scores is not None
            assert models.test_scores[i, k] == pytest.approx(alone.score(X[test], y[test]))
    assert mf.fit_many(ElasticNetCV(), data, cv=4).plan == "4 fits, 0 passes over X (prepared before)"


@pytest.mark.parametrize("shape", [(60, 12), (30, 50)])
def test_a_splitter_and_weights_within_folds(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    X = rng.standard_normal(shape)
    y = X[:, 0] + rng.standard_normal(len(X))
    w = rng.uniform(0.5, 2, len(X))
    inner = KFold(3, shuffle=True, random_state=0)
    models = mf.fit_many(LassoCV(alphas=8, cv=inner), X, y, cv=3, sample_weight=w)
    assert models.splits is not None
    for k, (train, _) in enumerate(models.splits):
        alone = LassoCV(alphas=8, cv=inner).fit(X[train], y[train], w[train])
        assert models[0, k].alpha_ == pytest.approx(alone.alpha_, rel=1e-9)
        assert_allclose(models[0, k].mse_path_, alone.mse_path_, rtol=1e-6)
        assert_allclose(models[0, k].coef_, alone.coef_, rtol=1e-7, atol=1e-8)
