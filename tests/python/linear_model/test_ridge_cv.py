"""RidgeCV beside scikit-learn's, and beside fits without each row."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn import linear_model
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut, ShuffleSplit

import manyfit as mf
from manyfit.linear_model import Ridge, RidgeCV

ALPHAS = [0.01, 0.1, 1.0, 10.0, 100.0]
SHAPES = [(60, 5), (40, 1), (31, 30), (20, 40), (9, 9), (150, 140)]


def make(
    n: int, d: int, targets: int | None = None, dtype: Any = np.float64, seed: int = 0
) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) + rng.uniform(-2, 2, d)
    y = X @ rng.standard_normal((d, targets or 1)) + rng.standard_normal((n, targets or 1)) + 4.0
    return X.astype(dtype), (y if targets else y[:, 0]).astype(dtype)


def assert_same(ours: Any, theirs: Any, rtol: float = 1e-8) -> None:
    assert ours.fit_backend_ == "manyfit"
    assert_allclose(ours.alpha_, theirs.alpha_)
    assert np.shape(ours.alpha_) == np.shape(theirs.alpha_)
    assert_allclose(ours.best_score_, theirs.best_score_, rtol=rtol)
    assert np.shape(ours.best_score_) == np.shape(theirs.best_score_)
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.coef_.dtype == theirs.coef_.dtype
    assert_allclose(ours.coef_, theirs.coef_, rtol=rtol, atol=rtol)
    assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)
    assert_allclose(ours.intercept_, theirs.intercept_, rtol=rtol, atol=rtol)
    assert hasattr(ours, "cv_results_") == hasattr(theirs, "cv_results_")
    if hasattr(ours, "cv_results_"):
        assert ours.cv_results_.shape == theirs.cv_results_.shape
        assert ours.cv_results_.dtype == theirs.cv_results_.dtype
        scale = np.abs(theirs.cv_results_).max()
        assert_allclose(ours.cv_results_, theirs.cv_results_, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("targets", [None, 1, 3])
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_leave_one_out_as_scikit_learn(n: int, d: int, targets: int | None, fit_intercept: bool) -> None:
    X, y = make(n, d, targets)
    for weights in (None, np.random.default_rng(1).uniform(0.1, 3.0, n)):
        for settings in (
            {"gcv_mode": "svd"},
            {"store_cv_results": True},
            {"scoring": "r2"},
            {"scoring": "neg_mean_absolute_error", "store_cv_results": True},
            {"alpha_per_target": True},
            {"alpha_per_target": True, "scoring": "r2", "store_cv_results": True},
        ):
            if targets is None and "alpha_per_target" in settings and "scoring" in settings:
                continue  # scikit-learn looks for a second axis of y
            made = [
                cls(ALPHAS, fit_intercept=fit_intercept, **settings).fit(X, y, weights)
                for cls in (RidgeCV, linear_model.RidgeCV)
            ]
            assert_same(*made)


SCORERS = [
    None,
    "r2",
    "neg_mean_squared_error",
    "neg_root_mean_squared_error",
    "neg_mean_absolute_error",
    make_scorer(mean_absolute_error, greater_is_better=False),
]


@pytest.mark.parametrize("scoring", SCORERS, ids=str)
@pytest.mark.parametrize("targets", [None, 3])
@pytest.mark.parametrize(("n", "d"), [(60, 5), (40, 1), (20, 40)])
def test_folds_as_scikit_learn(n: int, d: int, targets: int | None, scoring: Any) -> None:
    X, y = make(n, d, targets)
    weights = np.random.default_rng(1).uniform(0.1, 3.0, n)
    alphas = [0.0, *ALPHAS] if n > d else ALPHAS
    for sample_weight, fit_intercept, cv in (
        (None, True, 2),
        (weights, True, KFold(3, shuffle=True, random_state=0)),
        (None, False, ShuffleSplit(4, random_state=0)),
        (weights, False, list(GroupKFold(4).split(X, y, np.arange(n) % 4))),
        (weights, True, [(np.arange(n) % 2 == 0, np.arange(n) % 2 == 1)]),
    ):
        made = [
            cls(alphas, cv=cv, scoring=scoring, fit_intercept=fit_intercept).fit(X, y, sample_weight)
            for cls in (RidgeCV, linear_model.RidgeCV)
        ]
        assert_same(*made)


def test_scorers_that_take_no_weights() -> None:
    X, y = make(40, 3)
    for settings in ({"cv": 3}, {"cv": LeaveOneOut()}):
        ours = RidgeCV(ALPHAS, scoring="neg_max_error", **settings)
        with pytest.warns(UserWarning, match="does not support sample_weight"):
            ours.fit(X, y, np.ones(40))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = linear_model.RidgeCV(ALPHAS, scoring="neg_max_error", **settings).fit(X, y, np.ones(40))
        assert_same(ours, theirs)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("n", "d"), [(25, 4), (12, 20)])
def test_errors_of_fits_without_each_row(n: int, d: int, fit_intercept: bool) -> None:
    X, y = make(n, d, 2)
    weights = np.random.default_rng(1).uniform(0.1, 3.0, n)
    weights[3] = 0.0
    model = RidgeCV(ALPHAS, fit_intercept=fit_intercept, scoring="r2", store_cv_results=True)
    model.fit(X, y, weights)
    expected = np.empty((n, 2, len(ALPHAS)))
    for i in range(n):
        others = np.arange(n) != i
        for a, alpha in enumerate(ALPHAS):
            alone = Ridge(alpha, fit_intercept=fit_intercept).fit(X[others], y[others], weights[others])
            expected[i, :, a] = alone.predict(X[i : i + 1])[0]
    assert_allclose(model.cv_results_, expected, rtol=1e-9)


@pytest.mark.parametrize("n", [80, 20])
def test_repeated_rows_are_left_out_one_at_a_time(n: int) -> None:
    X, y = make(n, 30 if n == 20 else 6)
    train = np.random.default_rng(0).integers(0, n, n)
    pairs = [(train, np.arange(n))]
    together = mf.fit_many(RidgeCV(store_cv_results=True, scoring="r2"), X, y, [{"alphas": ALPHAS}], pairs)[0]
    alone = RidgeCV(ALPHAS, store_cv_results=True, scoring="r2").fit(X[train], y[train])
    assert together.alpha_ == alone.alpha_
    assert_allclose(together.best_score_, alone.best_score_, rtol=1e-9)
    assert_allclose(together.cv_results_, alone.cv_results_, rtol=1e-9)


def test_float32() -> None:
    X, y = make(300, 6, dtype=np.float32)
    single = RidgeCV(ALPHAS, store_cv_results=True).fit(X, y)
    double = RidgeCV(ALPHAS, store_cv_results=True).fit(X.astype(np.float64), y.astype(np.float64))
    assert single.coef_.dtype == single.cv_results_.dtype == np.float32
    assert single.alpha_ == double.alpha_
    assert_allclose(single.best_score_, double.best_score_, rtol=1e-5)
    assert_allclose(single.coef_, double.coef_, rtol=1e-4)
    assert_allclose(single.cv_results_, double.cv_results_, rtol=1e-3, atol=1e-4)


def test_hard_columns() -> None:
    """Large means, unscaled, constant and repeated columns leave the errors what they are."""
    X, y = make(70, 4)
    for mean, rtol in ((1e6, 1e-6), (1e8, 1e-4)):
        far = RidgeCV(ALPHAS, store_cv_results=True).fit(X + mean, y)
        near = RidgeCV(ALPHAS, store_cv_results=True).fit((X + mean) - mean, y)
        assert_allclose(far.cv_results_, near.cv_results_, rtol=rtol, atol=1e-9)
    plain = RidgeCV(ALPHAS, store_cv_results=True).fit(X, y)
    constant = RidgeCV(ALPHAS, store_cv_results=True).fit(np.column_stack([X, np.full(70, 0.1)]), y)
    assert_allclose(constant.cv_results_, plain.cv_results_, rtol=1e-9)
    assert abs(constant.coef_[-1]) < 1e-12
    unscaled = X * [1e-9, 1.0, 1e9, 1.0]
    ours = RidgeCV([1e-3, 1.0], store_cv_results=True).fit(unscaled, y)
    theirs = linear_model.RidgeCV([1e-3, 1.0], gcv_mode="svd", store_cv_results=True).fit(unscaled, y)
    assert_allclose(ours.cv_results_, theirs.cv_results_, rtol=1e-6)
    twins = np.column_stack([X, X[:, 0]])
    ours = RidgeCV([1e-9, 1.0], store_cv_results=True).fit(twins, y)
    theirs = linear_model.RidgeCV([1e-9, 1.0], gcv_mode="svd", store_cv_results=True).fit(twins, y)
    assert_allclose(ours.cv_results_, theirs.cv_results_, rtol=1e-6)


def test_work_is_shared() -> None:
    X, y = make(100, 5)
    data = mf.Dataset(X, y)
    RidgeCV(ALPHAS, cv=5).fit(data)
    assert data.passes == ["fold Gram"]
    data = mf.Dataset(X, y)
    RidgeCV(np.logspace(-3, 3, 40)).fit(data)
    assert data.passes == ["fold Gram", "leave-one-out"]
    nested = mf.fit_many(RidgeCV(ALPHAS, cv=3), X, y, cv=4)
    assert (
        nested.plan == "4 fits, 2 passes over X (fold Gram)"
    )  # all inner folds, and the scores of the outer


def test_sweeps_over_settings() -> None:
    X, y = make(60, 5, 2)
    settings = [{}, {"cv": 3}, {"alphas": 2.0}, {"fit_intercept": False}, {"alpha_per_target": True}]
    models = mf.fit_many(RidgeCV(ALPHAS), X, y, settings, cv=KFold(3, shuffle=True, random_state=1))
    for i, entry in enumerate(settings):
        for k, (train, _) in enumerate(models.splits or []):
            assert_same(models[i, k], RidgeCV(ALPHAS).set_params(**entry).fit(X[train], y[train]))


def test_alphas_refused() -> None:
    X, y = make(20, 2)
    for alphas, cv, error, words in (
        ([1.0, -1.0], None, ValueError, r"RidgeCV: alphas must be > 0, got -1.0 \(alphas\[1\] == -1.0"),
        ([1.0, 0.0], None, ValueError, "RidgeCV: alphas must be > 0, got 0.0"),
        (-2.0, None, ValueError, "alphas must be > 0"),
        ([1.0, -1.0], 3, ValueError, "alphas must be >= 0, got -1.0"),
        ([1.0, "a"], None, TypeError, "alphas must be > 0, got 'a'"),
        ([1.0, np.inf], None, ValueError, "alphas must be > 0 and finite, got inf"),
        ([np.nan], 3, ValueError, "alphas must be >= 0 and finite, got nan"),
        ([], None, ValueError, "alphas must hold at least one number"),
    ):
        with pytest.raises(error, match=words):
            RidgeCV(alphas, cv=cv).fit(X, y)
    for name in ("store_cv_results", "alpha_per_target"):
        with pytest.raises(ValueError, match=f"RidgeCV: {name} must be False unless cv is None"):
            RidgeCV(cv=3, **{name: True}).fit(X, y)
    with pytest.raises(ValueError, match="leaving out one row takes at least 2 rows"):
        RidgeCV().fit(X[:1], y[:1])
    with pytest.raises(ValueError, match="cv must give at least one split"):
        RidgeCV(cv=[]).fit(X, y)


def test_refit_forgets_results() -> None:
    X, y = make(30, 3)
    model = RidgeCV(store_cv_results=True).fit(X, y)
    assert model.cv_results_.shape == (30, 3)
    model.set_params(store_cv_results=False).fit(X, y)
    assert not hasattr(model, "cv_results_")


def test_sparse_runs_in_scikit_learn() -> None:
    X, y = make(40, 4)
    model = RidgeCV(ALPHAS).fit(scipy.sparse.csr_matrix(X), y)
    assert model.fit_backend_ == "scikit-learn"
    assert_allclose(model.coef_, RidgeCV(ALPHAS).fit(X, y).coef_, rtol=1e-6)


def test_saved_and_exported(tmp_path: Any) -> None:
    X, y = make(50, 4, 3)
    model = RidgeCV(ALPHAS, alpha_per_target=True, store_cv_results=True).fit(X, y)
    mf.save(model, tmp_path / "model")
    loaded = mf.load(tmp_path / "model")
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert np.array_equal(loaded.alpha_, model.alpha_)
    for dtype in ("float32", "float64"):
        model.to_onnx(dtype=dtype)
