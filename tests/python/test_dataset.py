"""Dataset: what is prepared once serves every fit."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn.model_selection import KFold

import manyfit as mf
from manyfit.decomposition import PCA
from manyfit.linear_model import LinearRegression, Ridge


def make(n: int = 120, d: int = 6, targets: int | None = None) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) + 1.0
    y = X @ rng.standard_normal((d, targets or 1)) + 0.1 * rng.standard_normal((n, targets or 1))
    return X, y if targets else y[:, 0]


def test_sweeps_share_a_pass() -> None:
    data = mf.Dataset(*make())
    assert data.passes == []
    first = mf.fit_many(Ridge(), data, params=[{"alpha": 1.0}], cv=5)
    second = mf.fit_many(Ridge(), data, params=[{"alpha": 3.0}], cv=KFold(5))
    third = mf.fit_many(LinearRegression(), data, cv=5)
    assert data.passes == ["fold Gram"]
    assert first.plan == "5 fits, 1 pass over X (fold Gram)"
    assert second.plan == third.plan == "5 fits, 0 passes over X (prepared before)"
    mf.fit_many(Ridge(), data, cv=KFold(5, shuffle=True, random_state=0))
    assert data.passes == ["fold Gram", "fold Gram"]


def test_fits_share_a_pass() -> None:
    X, y = make()
    data = mf.Dataset(X, y)
    models = [Ridge(alpha=alpha).fit(data) for alpha in (0.1, 1.0, 10.0)] + [LinearRegression().fit(data)]
    assert data.passes == ["fold Gram"]
    for model in models:
        np.testing.assert_array_equal(model.coef_, type(model)(**model.get_params()).fit(X, y).coef_)


def test_wide_data_share_a_pass() -> None:
    X, y = make(30, 100)
    data = mf.Dataset(X, y)
    mf.fit_many(Ridge(), data, params=[{"alpha": a} for a in (0.1, 1.0)], cv=3)
    Ridge().fit(data)
    LinearRegression().fit(data)
    assert data.passes == ["row Gram"]


def test_weights_belong_to_the_data() -> None:
    X, y = make()
    weights = np.random.default_rng(1).uniform(0.1, 2.0, len(X))
    data = mf.Dataset(X, y, weights)
    np.testing.assert_array_equal(Ridge().fit(data).coef_, Ridge().fit(X, y, weights).coef_)
    with pytest.raises(ValueError, match="y and sample_weight must be None when X is a Dataset"):
        Ridge().fit(data, y)
    with pytest.raises(ValueError, match="y and sample_weight must be None when X is a Dataset"):
        Ridge().fit(data, sample_weight=weights)


def test_transformers_take_datasets() -> None:
    X, y = make()
    data = mf.Dataset(X, y)
    model = PCA(2).fit(data)
    np.testing.assert_array_equal(model.components_, PCA(2).fit(X).components_)
    assert_allclose(PCA(2).fit_transform(data), model.transform(X))
    np.testing.assert_array_equal(PCA(3).fit(data).components_[:2].shape, (2, 6))


def test_conversions_are_made_once() -> None:
    X, y = make()
    whole = np.rint(4 * X).astype(np.int32)
    data = mf.Dataset(whole, y.tolist())
    matrix = data.matrix(Ridge())
    assert matrix.dtype == np.float64
    assert data.matrix(LinearRegression()) is matrix
    assert data.targets(Ridge()) is data.targets(Ridge())
    # what can be read where it lies is not copied
    for array in (X, np.asfortranarray(X), X[::2, ::-1], X.astype(np.float32)):
        held = mf.Dataset(array, y[: len(array)])
        assert held.matrix(Ridge()) is array


def test_targets_take_the_dtype_of_the_data() -> None:
    X, y = make(targets=2)
    assert mf.Dataset(X.astype(np.float32), y).targets(Ridge()).dtype == np.float32
    assert mf.Dataset(X, y.astype(np.float32)).targets(Ridge()).dtype == np.float64
    assert mf.Dataset(X, y[:, :1]).targets_2d(Ridge()).shape == (120, 1)
    assert mf.Dataset(X, y[:, 0]).targets_2d(Ridge()).shape == (120, 1)


def test_sparse_and_frames() -> None:
    X, y = make()
    data = mf.Dataset(scipy.sparse.csr_array(X), y)
    assert data.sparse
    assert not mf.Dataset(X, y).sparse
    assert Ridge().fit(data).fit_backend_ == "scikit-learn"
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcdef"))
    held = mf.Dataset(frame, pandas.Series(y))
    for estimator in (Ridge(), LinearRegression(), PCA()):
        assert list(estimator.fit(held).feature_names_in_) == list("abcdef")
    assert held.passes == ["fold Gram"]


def test_repr() -> None:
    X, y = make()
    assert repr(mf.Dataset(X)) == "Dataset(X: 120 x 6)"
    assert repr(mf.Dataset(X, y, np.ones(120), np.arange(120))) == (
        "Dataset(X: 120 x 6, y, sample_weight, groups)"
    )
    assert repr(mf.Dataset(X.tolist(), y)) == "Dataset(X: 120, y)"


def test_groups_belong_to_the_data() -> None:
    from sklearn.model_selection import GroupKFold

    X, y = make()
    groups = np.arange(120) % 7
    held = mf.fit_many(Ridge(), mf.Dataset(X, y, groups=groups), cv=GroupKFold(3))
    loose = mf.fit_many(Ridge(), X, y, cv=GroupKFold(3), groups=groups)
    np.testing.assert_array_equal(held.test_scores, loose.test_scores)


def test_models_do_not_keep_the_data_alive() -> None:
    X, y = make()
    data = mf.Dataset(X, y)
    models = mf.fit_many(Ridge(), data, cv=3)
    gone = weakref.ref(data)
    del data
    gc.collect()
    assert gone() is None
    assert len(models) == 3


def test_labels() -> None:
    X, _ = make(6)
    data = mf.Dataset(X, np.array(["b", "a", "b", "c", "a", "c"]))
    classes, codes = data.labels(Ridge())
    assert list(classes) == ["a", "b", "c"]
    assert list(codes) == [1, 0, 1, 2, 0, 2]
    assert data.labels(Ridge())[1] is codes
    for y, message in (
        ([0, 1], "inconsistent numbers of samples"),
        (np.linspace(0, 1, 6), "Unknown label type"),
        (None, "requires y to be passed"),
        ([0, 1, 0, 1, 0, np.nan], "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            mf.Dataset(X, y).labels(Ridge())
