"""TruncatedSVD beside scikit-learn's and an SVD."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn import decomposition

import manyfit as mf
from manyfit.decomposition import TruncatedSVD

SHAPES = [(200, 10), (50, 5), (6, 6), (8, 30), (2, 3), (30, 400)]


def make(n: int, d: int, dtype: Any = np.float64, seed: int = 0) -> Any:
    """Rows whose singular values are well apart."""
    rng = np.random.default_rng(seed)
    k = min(n, d)
    left = np.linalg.qr(rng.standard_normal((n, k)))[0]
    right = np.linalg.qr(rng.standard_normal((d, k)))[0]
    return (left * np.logspace(1.5, 0, k) @ right.T + 0.1).astype(dtype)


def tolerance(dtype: Any) -> dict[str, float]:
    return {"rtol": 1e-7, "atol": 1e-9} if dtype == np.float64 else {"rtol": 2e-3, "atol": 1e-3}


def assert_same(ours: Any, theirs: Any, X: Any, **tol: float) -> None:
    for name in ("singular_values_", "components_", "explained_variance_", "explained_variance_ratio_"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape, name
        assert_allclose(getattr(ours, name), getattr(theirs, name), err_msg=name, **tol)
    assert_allclose(ours.transform(X), theirs.transform(X), **tol)
    assert_allclose(
        ours.inverse_transform(ours.transform(X)), theirs.inverse_transform(theirs.transform(X)), **tol
    )


def exact(k: int, X: Any) -> Any:
    """scikit-learn's own, with oversampling that makes it exact."""
    return decomposition.TruncatedSVD(k, n_oversamples=max(X.shape), n_iter=2, random_state=0).fit(
        X.astype(np.float64)
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("algorithm", ["randomized", "arpack"])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_as_scikit_learn(n: int, d: int, algorithm: str, dtype: Any) -> None:
    X = make(n, d, dtype)
    for k in {1, 2, min(n, d) - 1}:
        if algorithm == "arpack" and k >= min(n, d):
            continue
        ours = TruncatedSVD(k, algorithm=algorithm).fit(X)
        assert ours.fit_backend_ == "manyfit"
        assert ours.components_.dtype == ours.singular_values_.dtype == dtype
        assert_same(ours, exact(k, X), X, **tolerance(dtype))
        assert_allclose(ours.fit_transform(X), ours.transform(X), **tolerance(dtype))


def test_more_components_than_rows() -> None:
    X = make(6, 30)
    ours, theirs = TruncatedSVD(10).fit(X), exact(10, X)
    assert ours.components_.shape == theirs.components_.shape == (6, 30)
    assert_same(ours, theirs, X, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("algorithm", ["randomized", "arpack"])
def test_sparse_runs_in_scikit_learn(algorithm: str) -> None:
    X = make(100, 20)
    X[np.random.default_rng(0).random(X.shape) < 0.7] = 0
    for layout in (scipy.sparse.csr_array, scipy.sparse.csc_matrix):
        ours = TruncatedSVD(4, algorithm=algorithm, random_state=0, n_iter=10)
        theirs = decomposition.TruncatedSVD(4, algorithm=algorithm, random_state=0, n_iter=10)
        assert_allclose(ours.fit_transform(layout(X)), theirs.fit_transform(layout(X)))
        assert ours.fit_backend_ == "scikit-learn"
        assert_same(ours.fit(layout(X)), theirs.fit(layout(X)), layout(X), rtol=1e-12)
        assert_same(ours, TruncatedSVD(4).fit(X), layout(X), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("n_iter", [0, 3])
@pytest.mark.parametrize("normalizer", ["auto", "QR", "LU", "none"])
def test_settings_of_the_randomized_solver_are_taken(n_iter: int, normalizer: str) -> None:
    X = make(50, 8)
    settings = {"n_iter": n_iter, "power_iteration_normalizer": normalizer, "n_oversamples": 1, "tol": 0.1}
    plain = TruncatedSVD(3).fit(X)
    assert_allclose(TruncatedSVD(3, **settings).fit(X).components_, plain.components_)


def test_large_means() -> None:
    """A mean of 1e8 is the first component; the others keep what the numbers themselves have."""
    X = make(200, 6) + 1e8
    model = TruncatedSVD(6).fit(X)
    values = np.linalg.svd(X, compute_uv=False)
    assert_allclose(model.singular_values_[0], values[0], rtol=1e-14)
    assert_allclose(model.singular_values_[1:], values[1:], atol=1e-7 * values[1])
    assert_allclose(model.explained_variance_, np.var(model.transform(X), axis=0), rtol=1e-5)
    assert_allclose(model.explained_variance_ratio_.sum(), 1.0, rtol=1e-7)


@pytest.mark.parametrize("shape", [(100, 6), (6, 100)])
def test_small_values_are_found_by_the_factor(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    values = np.logspace(0, -9, 6)
    left, right = (np.linalg.qr(rng.standard_normal((size, 6)))[0] for size in shape)
    dataset = mf.Dataset(left * values @ right.T)
    few = TruncatedSVD(2).fit(dataset)
    assert len(dataset.passes) == 1, "the small values were not asked for"
    model = TruncatedSVD(6).fit(dataset)
    assert len(dataset.passes) == 2
    assert_allclose(model.singular_values_, values, rtol=1e-6)
    assert_allclose(few.singular_values_, values[:2], rtol=1e-12)
    assert_allclose(model.components_ @ model.components_.T, np.eye(6), atol=1e-12)


def test_a_population_shares_one_pass() -> None:
    X = make(200, 10)
    models = mf.fit_many(TruncatedSVD(), X, params=[{"n_components": k} for k in (1, 3, 7)], cv=4)
    assert models.plan == "12 fits, 1 pass over X (fold Gram of X)"
    for k, (train, _) in enumerate(models.splits):
        for i, parameters in enumerate(models.params):
            alone = TruncatedSVD(**parameters).fit(X[train])
            for name in ("components_", "singular_values_", "explained_variance_ratio_"):
                assert_allclose(getattr(models[i, k], name), getattr(alone, name), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("shape", [(30, 4), (4, 30)])
def test_without_entries_or_variance(shape: tuple[int, int]) -> None:
    zero = TruncatedSVD(2).fit(np.zeros(shape))
    assert_allclose(zero.singular_values_, 0.0)
    assert_allclose(zero.explained_variance_ratio_, 0.0)
    constant = TruncatedSVD(1).fit(np.full(shape, 2.5))
    assert_allclose(constant.singular_values_, 2.5 * np.sqrt(120))
    assert_allclose(constant.explained_variance_, 0.0, atol=1e-12)


def test_save_and_onnx(tmp_path: Any) -> None:
    X = make(50, 8, np.float32)
    model = TruncatedSVD(3).fit(X)
    mf.save(model, tmp_path / "svd.safetensors")
    loaded = mf.load(tmp_path / "svd.safetensors")
    assert_allclose(loaded.transform(X), model.transform(X), rtol=0)
    graph = model.to_onnx(X=X)
    assert [node.op_type for node in graph.graph.node] == ["Gemm"]
    model.components_ = model.components_[:, :7]
    mf.save(model, tmp_path / "bad.safetensors")
    with pytest.raises(mf.ModelFormatError, match="components_ must have 8 columns, got 7"):
        mf.load(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_components": 11}, r"n_components\(11\) must be <= n_features\(10\)"),
        ({"n_components": 10, "algorithm": "arpack"}, "n_components=10 must be < min"),
        ({"n_components": 0}, "TruncatedSVD: n_components must be .*>= 1, got 0"),
        ({"algorithm": "qr"}, "TruncatedSVD: algorithm must be one of 'arpack', 'randomized', got 'qr'"),
        ({"n_oversamples": 0}, "n_oversamples must be .*>= 1, got 0"),
    ],
)
def test_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TruncatedSVD(**settings).fit(make(50, 10))


def test_more_errors() -> None:
    with pytest.raises(ValueError, match="a minimum of 2 is required"):
        TruncatedSVD(1).fit(np.ones((5, 1)))
    with pytest.raises(ValueError, match="sample_weight must be None, as TruncatedSVD takes no weights"):
        mf.fit_many(TruncatedSVD(), make(50, 10), sample_weight=np.ones(50))
