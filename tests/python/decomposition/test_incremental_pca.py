"""IncrementalPCA beside scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn import decomposition

import manyfit as mf
from manyfit.decomposition import PCA, IncrementalPCA

ATTRIBUTES = (
    "components_",
    "explained_variance_",
    "explained_variance_ratio_",
    "singular_values_",
    "mean_",
    "var_",
    "noise_variance_",
    "n_samples_seen_",
    "batch_size_",
    "n_components_",
)


def make(n: int, d: int, dtype: Any = np.float64, seed: int = 0) -> Any:
    """Rows of variances well apart, around a mean that drifts."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.standard_normal((d, d)))[0]
    X = rng.standard_normal((n, d)) * np.logspace(0.5, -0.7, d) @ turned
    return (X + np.linspace(0, 1, n)[:, None] + rng.uniform(-3, 3, d)).astype(dtype)


def assert_same(ours: Any, theirs: Any, X: Any, **tol: float) -> None:
    for name in ATTRIBUTES:
        if hasattr(theirs, name):
            assert np.shape(getattr(ours, name)) == np.shape(getattr(theirs, name)), name
            assert_allclose(getattr(ours, name), getattr(theirs, name), err_msg=name, **tol)
    assert_allclose(ours.transform(X), theirs.transform(X), **tol)
    assert_allclose(
        ours.inverse_transform(ours.transform(X)), theirs.inverse_transform(theirs.transform(X)), **tol
    )
    assert_allclose(ours.get_covariance(), theirs.get_covariance(), **tol)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("n_components", [None, 1, 3, 8])
@pytest.mark.parametrize("batch_size", [None, 20, 33, 500])
def test_as_scikit_learn(batch_size: int | None, n_components: int | None, whiten: bool) -> None:
    X = make(233, 8)
    settings: dict[str, Any] = {"n_components": n_components, "batch_size": batch_size, "whiten": whiten}
    ours, theirs = IncrementalPCA(**settings).fit(X), decomposition.IncrementalPCA(**settings).fit(X)
    assert ours.fit_backend_ == "manyfit"
    assert_same(ours, theirs, X, rtol=1e-7, atol=1e-9)
    assert_allclose(ours.fit_transform(X), ours.transform(X), rtol=1e-9)


@pytest.mark.parametrize("n_components", [1, 4, 7])
@pytest.mark.parametrize(("n", "d", "batch_size"), [(60, 100, 10), (45, 30, 15), (12, 200, None)])
def test_wide_batches(n: int, d: int, batch_size: int | None, n_components: int) -> None:
    X = make(n, d)
    settings: dict[str, Any] = {"n_components": n_components, "batch_size": batch_size}
    ours, theirs = IncrementalPCA(**settings).fit(X), decomposition.IncrementalPCA(**settings).fit(X)
    assert_same(ours, theirs, X, rtol=1e-6, atol=1e-8)


def test_float32() -> None:
    X = make(300, 10, np.float32)
    ours = IncrementalPCA(4, batch_size=50).fit(X)
    exact = decomposition.IncrementalPCA(4, batch_size=50).fit(X.astype(np.float64))
    assert ours.components_.dtype == ours.singular_values_.dtype == np.float32
    assert ours.mean_.dtype == ours.var_.dtype == np.float64
    assert ours.transform(X).dtype == np.float32
    assert_same(ours, exact, X, rtol=1e-4, atol=1e-4)


def test_partial_fit_goes_on() -> None:
    X = make(200, 6)
    ours, theirs = IncrementalPCA(3), decomposition.IncrementalPCA(3)
    for begin, end in ((0, 50), (50, 51), (51, 120), (120, 200)):
        assert ours.partial_fit(X[begin:end]) is ours
        theirs.partial_fit(X[begin:end].copy())
        assert ours.n_samples_seen_ == end
        assert_same(ours, theirs, X, rtol=1e-7, atol=1e-9)
    # fit forgets
    assert_same(ours.fit(X), decomposition.IncrementalPCA(3).fit(X), X, rtol=1e-7, atol=1e-9)
    batches = IncrementalPCA(3)
    for begin in range(0, 200, 40):
        batches.partial_fit(X[begin : begin + 40])
    whole = IncrementalPCA(3, batch_size=40).fit(X)
    assert_allclose(batches.components_, whole.components_, rtol=1e-9, atol=1e-12)


def test_partial_fit_after_load(tmp_path: Any) -> None:
    X = make(150, 5)
    model = IncrementalPCA(2).partial_fit(X[:80])
    mf.save(model, tmp_path / "pca.safetensors")
    loaded = mf.load(tmp_path / "pca.safetensors")
    loaded.partial_fit(X[80:])
    model.partial_fit(X[80:])
    for name in ATTRIBUTES:
        if hasattr(model, name):
            assert_allclose(getattr(loaded, name), getattr(model, name), rtol=0, err_msg=name)


def test_untruncated_is_the_exact_pca() -> None:
    X = make(500, 6)
    assert_allclose(
        IncrementalPCA(batch_size=30).fit(X).explained_variance_, PCA().fit(X).explained_variance_, rtol=1e-10
    )


def test_small_variances_survive() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5)) * np.logspace(0, -9, 5) @ np.linalg.qr(rng.standard_normal((5, 5)))[0]
    ours = IncrementalPCA(batch_size=60).fit(X)
    values = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    assert_allclose(ours.singular_values_, values, rtol=1e-5)


def test_large_means() -> None:
    X = make(300, 5)
    near, far = IncrementalPCA(3).fit(X), IncrementalPCA(3).fit(X + 1e8)
    assert_allclose(far.explained_variance_, near.explained_variance_, rtol=1e-6)
    assert_allclose(far.var_, near.var_, rtol=1e-6)


def test_sparse() -> None:
    X = make(100, 6)
    X[np.random.default_rng(0).random(X.shape) < 0.7] = 0
    for layout in (scipy.sparse.csr_array, scipy.sparse.csc_matrix, scipy.sparse.lil_array):
        ours = IncrementalPCA(3, batch_size=25).fit(layout(X))
        theirs = decomposition.IncrementalPCA(3, batch_size=25).fit(X)
        assert ours.fit_backend_ == "scikit-learn"
        assert_same(ours, theirs, X, rtol=1e-7, atol=1e-9)
        assert_allclose(ours.transform(scipy.sparse.csr_array(X)), theirs.transform(X), atol=1e-9)
    with pytest.raises(TypeError, match="partial_fit does not support sparse input"):
        IncrementalPCA(3).partial_fit(scipy.sparse.csr_array(X))


def test_a_population_shares_the_batches() -> None:
    X = make(240, 8)
    params = [{"n_components": k, "batch_size": 32} for k in (1, 3, 8)] + [
        {"n_components": 2, "whiten": True}
    ]
    models = mf.fit_many(IncrementalPCA(), X, params=params, cv=3)
    assert models.plan == "12 fits, 6 passes over X (Grams of batches)"
    for k, (train, _) in enumerate(models.splits):
        for i, parameters in enumerate(models.params):
            alone = IncrementalPCA(**parameters).fit(X[train])
            for name in ATTRIBUTES:
                assert_allclose(
                    getattr(models[i, k], name), getattr(alone, name), rtol=1e-7, atol=1e-9, err_msg=name
                )


def test_without_variance() -> None:
    model = IncrementalPCA(2).fit(np.full((30, 4), 2.5))
    assert_allclose(model.explained_variance_, 0.0)
    assert_allclose(model.explained_variance_ratio_, 0.0)
    assert_allclose(model.components_ @ model.components_.T, np.eye(2), atol=1e-12)
    single = IncrementalPCA(1).partial_fit(np.ones((1, 3)))
    assert_allclose(single.explained_variance_, 0.0)


def test_onnx() -> None:
    X = make(100, 6, np.float32)
    for whiten in (False, True):
        graph = IncrementalPCA(3, whiten=whiten).fit(X).to_onnx(X=X)
        assert [node.op_type for node in graph.graph.node] == ["Sub", "Gemm"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_components": 11}, "n_components=11 invalid for n_features=10, need more rows than columns"),
        ({"n_components": 0}, "IncrementalPCA: n_components must be .*>= 1, got 0"),
        ({"batch_size": 0}, "IncrementalPCA: batch_size must be .*>= 1, got 0"),
    ],
)
def test_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IncrementalPCA(**settings).fit(make(50, 10))
    with pytest.raises(ValueError, match=message):
        IncrementalPCA(**settings).partial_fit(make(50, 10))


def test_more_errors(tmp_path: Any) -> None:
    X = make(50, 10)
    with pytest.raises(
        ValueError, match="must be less or equal to the batch number of samples 3 for the first"
    ):
        IncrementalPCA(5).partial_fit(X[:3])
    with pytest.raises(ValueError, match="X has 7 features, but IncrementalPCA is expecting 10"):
        IncrementalPCA(2).partial_fit(X).partial_fit(X[:, :7])
    with pytest.raises(ValueError, match="Number of input features has changed from 2 to 3"):
        IncrementalPCA(2).partial_fit(X).set_params(n_components=3).partial_fit(X)
    X[3, 4] = np.nan
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match="contains NaN"):
            getattr(IncrementalPCA(2), method)(X)
    with pytest.raises(ValueError, match="sample_weight must be None, as IncrementalPCA takes no weights"):
        mf.fit_many(IncrementalPCA(), make(50, 10), sample_weight=np.ones(50))
    model = IncrementalPCA(2).fit(make(50, 10))
    model.var_ = model.var_[:4]
    mf.save(model, tmp_path / "bad.safetensors")
    with pytest.raises(mf.ModelFormatError, match="var_ must have shape"):
        mf.load(tmp_path / "bad.safetensors")
