"""PCA beside scikit-learn's and an SVD."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn import decomposition

import manyfit as mf
from manyfit.decomposition import PCA

SHAPES = [(200, 10), (50, 5), (12, 5), (6, 6), (8, 30), (2, 3), (40, 1), (2, 1), (30, 400)]
EXACT = ["full", "covariance_eigh"]


def make(n: int, d: int, dtype: Any = np.float64, seed: int = 0) -> Any:
    """Rows whose principal components have variances well apart."""
    rng = np.random.default_rng(seed)
    k = min(n, d)
    directions = np.linalg.qr(rng.standard_normal((d, d)))[0][:k]
    X = rng.standard_normal((n, k)) * np.logspace(0.5, -0.5, k) @ directions
    return (X + rng.uniform(-3, 3, d)).astype(dtype)


def tolerance(dtype: Any) -> dict[str, float]:
    return {"rtol": 1e-7, "atol": 1e-9} if dtype == np.float64 else {"rtol": 1e-3, "atol": 5e-4}


def assert_same_decomposition(ours: Any, theirs: Any, X: Any, k: int, **tol: float) -> None:
    """The first k components and their variances; beyond those any direction will do."""
    for name in ("explained_variance_", "explained_variance_ratio_", "singular_values_"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape, name
        assert_allclose(getattr(ours, name)[:k], getattr(theirs, name)[:k], err_msg=name, **tol)
    assert_allclose(ours.components_[:k], theirs.components_[:k], **tol)
    assert_allclose(ours.mean_, theirs.mean_, **tol)
    assert_allclose(ours.transform(X)[:, :k], theirs.transform(X)[:, :k], **tol)
    assert (ours.n_components_, ours.n_samples_) == (theirs.n_components_, theirs.n_samples_)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("solver", ["auto", *EXACT])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_as_scikit_learn(n: int, d: int, solver: str, dtype: Any) -> None:
    X = make(n, d, dtype)
    determined = min(n - 1, d)
    for n_components in (None, 1, determined, 0.6, 0.99):
        ours = PCA(n_components, svd_solver=solver).fit(X)
        theirs = decomposition.PCA(n_components, svd_solver="full").fit(X)
        assert ours.fit_backend_ == "manyfit"
        assert ours.components_.dtype == ours.mean_.dtype == ours.explained_variance_.dtype == dtype
        k = min(determined, theirs.n_components_)
        assert_same_decomposition(ours, theirs, X, k, **tolerance(dtype))
        assert_allclose(
            ours.noise_variance_, theirs.noise_variance_, atol=1e-9 if dtype == np.float64 else 1e-5
        )
        orthonormal = ours.components_ @ ours.components_.T
        assert_allclose(orthonormal, np.eye(len(orthonormal)), atol=1e-12 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("solver", EXACT)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_inverse_transform(n: int, d: int, solver: str, dtype: Any) -> None:
    X = make(n, d, dtype)
    scale = float(np.abs(X).max())
    for whiten in (False, True):
        model = PCA(min(n - 1, d), svd_solver=solver, whiten=whiten).fit(X)
        back = model.inverse_transform(model.transform(X))
        assert back.dtype == dtype
        assert_allclose(back, X, atol=scale * (1e-10 if dtype == np.float64 else 1e-4))
        assert_allclose(model.fit_transform(X), model.transform(X), **tolerance(dtype))


@pytest.mark.parametrize("solver", EXACT)
def test_whiten(solver: str) -> None:
    X = make(300, 8)
    model = PCA(5, whiten=True, svd_solver=solver).fit(X)
    assert_allclose(np.cov(model.transform(X), rowvar=False), np.eye(5), atol=1e-10)
    theirs = decomposition.PCA(5, whiten=True, svd_solver=solver).fit(X)
    assert_allclose(model.transform(X), theirs.transform(X), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("solver", ["auto", *EXACT])
@pytest.mark.parametrize("n_components", [0, 1, 3, 10, "mle", 0.5, None])
def test_probabilistic_model(n_components: Any, solver: str) -> None:
    X = make(200, 10)
    ours = PCA(n_components, svd_solver=solver).fit(X)
    theirs = decomposition.PCA(n_components, svd_solver="full").fit(X)
    assert ours.components_.shape == theirs.components_.shape
    assert ours.transform(X).shape == theirs.transform(X).shape
    assert_allclose(ours.noise_variance_, theirs.noise_variance_, rtol=1e-9)
    assert_allclose(ours.get_covariance(), theirs.get_covariance(), rtol=1e-8, atol=1e-10)
    assert_allclose(ours.get_precision(), theirs.get_precision(), rtol=1e-8, atol=1e-8)
    assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-9)
    assert_allclose(ours.score(X), theirs.score(X), rtol=1e-9)


def test_mle_finds_the_dimension() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 3)) @ rng.standard_normal((3, 12)) + 0.05 * rng.standard_normal((500, 12))
    for solver in EXACT:
        assert PCA("mle", svd_solver=solver).fit(X).n_components_ == 3
    with pytest.raises(ValueError, match="n_components='mle' is only supported if n_samples >= n_features"):
        PCA("mle").fit(X[:5])


@pytest.mark.parametrize("solver", ["arpack", "randomized"])
def test_truncated_solvers_run_in_scikit_learn(solver: str) -> None:
    X = make(100, 20)
    ours = PCA(4, svd_solver=solver, random_state=0).fit(X)
    theirs = decomposition.PCA(4, svd_solver=solver, random_state=0).fit(X)
    assert ours.fit_backend_ == "scikit-learn"
    assert_same_decomposition(ours, theirs, X, 4, rtol=1e-6, atol=1e-8)
    assert_same_decomposition(PCA(4).fit(X), theirs, X, 2, rtol=1e-3, atol=1e-3)
    assert_allclose(ours.fit_transform(X), theirs.fit_transform(X), rtol=1e-6, atol=1e-8)


def test_sparse_runs_in_scikit_learn() -> None:
    X = make(100, 20)
    X[np.random.default_rng(0).random(X.shape) < 0.7] = 0
    for layout in (scipy.sparse.csr_array, scipy.sparse.csc_matrix):
        for solver in ("auto", "arpack", "covariance_eigh"):
            ours = PCA(4, svd_solver=solver, random_state=0).fit(layout(X))
            theirs = decomposition.PCA(4, svd_solver=solver, random_state=0).fit(layout(X))
            assert ours.fit_backend_ == "scikit-learn"
            assert_same_decomposition(ours, theirs, layout(X), 4, rtol=1e-7, atol=1e-9)
        assert_same_decomposition(ours, PCA(4).fit(X), layout(X), 4, rtol=1e-6, atol=1e-7)


def test_auto_is_exact_where_scikit_learn_draws_at_random() -> None:
    X = make(700, 300)
    model = PCA(5).fit(X)
    assert model.fit_backend_ == "manyfit"
    exact = decomposition.PCA(5, svd_solver="full").fit(X)
    assert_same_decomposition(model, exact, X, 5, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("solver", EXACT)
def test_large_means(solver: str) -> None:
    """Means of 1e8 cost no more digits than the numbers themselves have lost to them."""
    X = make(200, 6) + 1e8
    centred = X - X.mean(axis=0)  # exact here: differences of near numbers are
    values = np.linalg.svd(centred - centred.mean(axis=0), compute_uv=False)
    model = PCA(svd_solver=solver).fit(X)
    assert_allclose(model.singular_values_, values, rtol=1e-9)
    assert_allclose(model.mean_, X.mean(axis=0), rtol=1e-15)


def test_full_keeps_small_variances() -> None:
    """svd_solver="full" tells variances 24 orders of magnitude below the largest; the covariance cannot."""
    rng = np.random.default_rng(0)
    left, _ = np.linalg.qr(rng.standard_normal((100, 6)))
    left = np.linalg.qr(left - left.mean(axis=0))[0]
    right, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    values = np.logspace(0, -11, 6)
    X = left * values @ right.T
    assert_allclose(PCA(svd_solver="full").fit(X).singular_values_, values, rtol=1e-4)
    theirs = decomposition.PCA(svd_solver="covariance_eigh").fit(X).singular_values_
    ours = PCA(svd_solver="covariance_eigh").fit(X).singular_values_
    assert np.abs(ours - values).max() <= max(10 * np.abs(theirs - values).max(), 1e-8)


@pytest.mark.parametrize("solver", ["auto", *EXACT])
def test_without_variance(solver: str) -> None:
    X = np.full((30, 4), 2.5)
    model = PCA(svd_solver=solver).fit(X)
    assert_allclose(model.explained_variance_, 0.0)
    assert_allclose(model.explained_variance_ratio_, 0.0)
    assert_allclose(model.transform(X), 0.0, atol=1e-12)
    assert_allclose(model.components_ @ model.components_.T, np.eye(4), atol=1e-12)


@pytest.mark.parametrize("solver", EXACT)
@pytest.mark.parametrize("shape", [(100, 8), (6, 30)])
def test_rank_deficient(shape: tuple[int, int], solver: str) -> None:
    X = make(*shape)
    X[:, 3] = X[:, 1]
    X[:, 2] = 7.0
    ours, theirs = PCA(svd_solver=solver).fit(X), decomposition.PCA(svd_solver="full").fit(X)
    k = min(shape[0] - 1, shape[1] - 2)
    assert_same_decomposition(ours, theirs, X, k, rtol=1e-7, atol=1e-8)
    assert_allclose(ours.components_ @ ours.components_.T, np.eye(min(shape)), atol=1e-10)


def test_signs_are_fixed() -> None:
    X = make(60, 5)
    for solver in EXACT:
        components = PCA(svd_solver=solver).fit(X).components_
        largest = np.abs(components).argmax(axis=1)
        assert np.all(components[np.arange(5), largest] > 0)
        assert_allclose(PCA(svd_solver=solver).fit(-X).components_, components, atol=1e-9)


def test_a_population_shares_one_pass() -> None:
    X = make(200, 10)
    population = mf.fit_many(PCA(), X, params=[{"n_components": k} for k in (1, 3, 0.7, "mle", None)], cv=4)
    assert "20 fits, 1 pass over X" in population.plan
    for k, (train, test) in enumerate(population.splits):
        for i, parameters in enumerate(population.params):
            alone = PCA(**parameters).fit(X[train])
            together = population[i, k]
            assert together.n_components_ == alone.n_components_
            assert_allclose(together.components_, alone.components_, rtol=1e-7, atol=1e-9)
            assert_allclose(together.noise_variance_, alone.noise_variance_, rtol=1e-9)
            assert_allclose(population.test_scores[i, k], alone.score(X[test]), rtol=1e-9)


def test_full_keeps_small_variances_of_wide_data() -> None:
    X = make(40, 200)
    X[1] = X[0] + 1e-7 * np.random.default_rng(1).standard_normal(200)
    dataset = mf.Dataset(X)
    ours, theirs = PCA(39, svd_solver="full").fit(dataset), decomposition.PCA(39, svd_solver="full").fit(X)
    assert_allclose(ours.singular_values_, theirs.singular_values_, rtol=1e-6)
    assert dataset.passes == ["row Gram", "row QR"]
    dataset = mf.Dataset(X)
    PCA(38, svd_solver="full").fit(dataset)
    assert dataset.passes == ["row Gram"], "the small variance was not asked for"


def test_a_share_that_is_reached_exactly_is_not_enough() -> None:
    """As in scikit-learn: more than the share asked for is to be explained."""
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    for solver in EXACT:
        ours, theirs = (cls(0.5, svd_solver=solver).fit(X) for cls in (PCA, decomposition.PCA))
        assert ours.n_components_ == theirs.n_components_ == 2


def test_feature_names_out() -> None:
    model = PCA(3).fit(make(50, 5))
    assert list(model.get_feature_names_out()) == ["pca0", "pca1", "pca2"]
    assert isinstance(model, decomposition.PCA)


@pytest.mark.parametrize(
    ("n_components", "solver", "message"),
    [
        (
            11,
            "full",
            r"n_components=11 must be between 0 and min\(n_samples, n_features\)=10 with svd_solver='full'",
        ),
        (11, "covariance_eigh", "n_components=11 must be between 0 and"),
        (-1, "full", "n_components must be .*>= 0.*-1"),
        (1.5, "full", r"n_components must be .*\(0, 1\).*1.5"),
        ("max", "full", "n_components must be .*'mle'.*'max'"),
        (10, "arpack", "n_components=10 must be strictly less than"),
        ("mle", "randomized", "n_components='mle' cannot be a string with svd_solver='randomized'"),
    ],
)
def test_errors(n_components: Any, solver: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PCA(n_components, svd_solver=solver).fit(make(50, 10))


def test_more_errors() -> None:
    with pytest.raises(ValueError, match="svd_solver must be one of .*'eig'"):
        PCA(svd_solver="eig").fit(make(50, 10))
    with pytest.raises(ValueError, match="at least 2 samples.*n_samples=1"):
        PCA().fit(make(50, 10)[:1])
    with pytest.raises(ValueError, match="sample_weight must be None, as PCA takes no weights"):
        mf.fit_many(PCA(), make(50, 10), sample_weight=np.ones(50))
