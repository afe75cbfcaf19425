"""HuberRegressor beside scikit-learn's: the objective must be no worse, and the same model where it is as exact."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._huber import _huber_loss_and_gradient

import manyfit as mf
from manyfit.linear_model import HuberRegressor

EPSILONS = [1.0, 1.01, 1.1, 1.35, 1.9, 10.0, 1e300]


def make(n: int = 300, d: int = 5, dtype: Any = np.float64, kind: str = "outliers") -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal(d) + 3 + 0.5 * rng.standard_normal(n)
    far = rng.random(n) < 0.1
    y[far] += 30 * rng.standard_normal(far.sum())
    if kind == "perfect":
        y = X @ np.arange(1.0, d + 1) + 3
    elif kind == "mostly perfect":
        y = np.where(far, y, X @ np.arange(1.0, d + 1) + 3)
    elif kind == "cauchy":
        y += rng.standard_cauchy(n)
    elif kind == "integers":
        y = np.round(y)
    elif kind == "scales":
        X *= np.logspace(-5, 5, d)
    elif kind == "shifted":
        X, y = X + 1e4, y + 1e5
    elif kind == "far":
        y[::20] = 1e9
    return X.astype(dtype), y.astype(dtype), rng.uniform(0.2, 2.0, n).astype(dtype)


def objective(model: Any, X: Any, y: Any, w: Any = None) -> float:
    """What scikit-learn minimises."""
    point = [*model.coef_, *([model.intercept_] if model.fit_intercept else []), model.scale_]
    weights = np.ones(len(y)) if w is None else w
    epsilon = min(model.epsilon, 1e100)
    value, _ = _huber_loss_and_gradient(
        np.array(point, dtype=np.float64), X.astype(np.float64), y, epsilon, model.alpha, weights
    )
    return float(value)


def peer(X: Any, y: Any, w: Any = None, **settings: Any) -> Any:
    """scikit-learn's answer, as exact as it goes; None where it gives up."""
    settings["epsilon"] = min(settings.get("epsilon", 1.35), 1e100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return linear_model.HuberRegressor(**{"tol": 1e-10, "max_iter": 2000, **settings}).fit(X, y, w)
        except ValueError:
            return None


@pytest.mark.parametrize("kind", ["outliers", "cauchy", "integers", "scales", "shifted", "far"])
@pytest.mark.parametrize("alpha", [0.0, 1e-4, 1.0])
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_objective_is_no_worse(epsilon: float, alpha: float, kind: str) -> None:
    X, y, w = make(kind=kind)
    for fit_intercept, weights in ((True, None), (False, None), (True, w)):
        settings: dict[str, Any] = {"epsilon": epsilon, "alpha": alpha, "fit_intercept": fit_intercept}
        ours = HuberRegressor(**settings).fit(X, y, weights)
        assert ours.fit_backend_ == "manyfit"
        theirs = peer(X, y, weights, **settings)
        if theirs is not None:
            assert objective(ours, X, y, weights) <= objective(theirs, X, y, weights) * (1 + 1e-9)
        if ours.scale_ > 1e-6:
            assert_array_equal(ours.outliers_, np.abs(y - ours.predict(X)) > ours.scale_ * ours.epsilon)


def test_least_absolute_deviations_meet_some_rows() -> None:
    X, y, w = make()
    for fit_intercept in (True, False):
        model = HuberRegressor(epsilon=1.0, alpha=0.0, fit_intercept=fit_intercept).fit(X, y, w)
        assert (~model.outliers_).sum() == 5 + fit_intercept


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 1e-2, 10.0])
@pytest.mark.parametrize("epsilon", [1.1, 1.35, 1.9])
def test_as_scikit_learn(epsilon: float, alpha: float, fit_intercept: bool) -> None:
    X, y, w = make()
    settings: dict[str, Any] = {"epsilon": epsilon, "alpha": alpha, "fit_intercept": fit_intercept}
    ours, theirs = HuberRegressor(**settings).fit(X, y, w), peer(X, y, w, **settings)
    assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4, atol=1e-4)
    assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-4)
    assert_allclose(ours.scale_, theirs.scale_, rtol=1e-4)
    assert (ours.outliers_ != theirs.outliers_).mean() < 0.01
    assert ours.n_iter_ <= 15


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_perfect_fits(epsilon: float) -> None:
    X, y, _ = make(kind="perfect")
    model = HuberRegressor(epsilon=epsilon, alpha=0.0).fit(X, y)
    assert model.fit_backend_ == "manyfit"
    assert_allclose(model.coef_, np.arange(1.0, 6.0), rtol=1e-12)
    assert 0 < model.scale_ < 1e-12
    X, y, _ = make(kind="mostly perfect")
    if epsilon < 2:  # the outliers are left aside altogether
        model.fit(X, y)
        assert_allclose(model.coef_, np.arange(1.0, 6.0), rtol=1e-9)
        assert model.scale_ < 1e-9


def test_a_constant_target() -> None:
    X, y, _ = make()
    model = HuberRegressor().fit(X, np.full(len(y), 3.0))
    assert_allclose(model.predict(X), 3.0)
    assert_allclose(HuberRegressor().fit(X, np.zeros(len(y))).coef_, 0.0)


@pytest.mark.parametrize("epsilon", [1.0, 1.35, 10.0])
def test_float32(epsilon: float) -> None:
    X, y, w = make(dtype=np.float32)
    ours = HuberRegressor(epsilon=epsilon).fit(X, y, w)
    assert ours.coef_.dtype == ours.predict(X).dtype == np.float32
    exact = HuberRegressor(epsilon=epsilon).fit(X.astype(np.float64), y.astype(np.float64), w)
    assert_allclose(ours.coef_, exact.coef_, rtol=1e-4, atol=1e-5)
    assert_allclose(ours.scale_, exact.scale_, rtol=1e-5)


def test_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, w = make()
    rows = scipy.sparse.csc_matrix(X)
    dense = HuberRegressor().fit(X, y, w)
    small = HuberRegressor().fit(rows, y, w)
    assert small.fit_backend_ == "manyfit"
    assert_array_equal(small.coef_, dense.coef_)
    assert_allclose(small.predict(rows), dense.predict(X))
    models = mf.fit_many(HuberRegressor(), rows, y, params=[{}, {"epsilon": 1.1}], cv=3)
    alone = mf.fit_many(HuberRegressor(), X, y, params=[{}, {"epsilon": 1.1}], cv=3)
    assert_allclose(models.test_scores, alone.test_scores, rtol=1e-7)
    monkeypatch.setattr("manyfit.linear_model._huber.DENSE", 0)
    large = HuberRegressor().fit(scipy.sparse.csr_matrix(X), y, w)
    assert large.fit_backend_ == "scikit-learn"
    assert_allclose(large.coef_, dense.coef_, rtol=1e-2, atol=1e-3)
    boundless = HuberRegressor(epsilon=1e300).fit(scipy.sparse.csr_matrix(X), y)
    assert boundless.epsilon == 1e300
    assert_allclose(boundless.coef_, HuberRegressor(epsilon=1e300).fit(X, y).coef_, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("epsilon", [1.0, 1.35, 10.0])
def test_dependent_columns(epsilon: float) -> None:
    X, y, w = make()
    twins = np.column_stack((X, X[:, 0], np.ones(len(X))))
    once = HuberRegressor(alpha=0.0, epsilon=epsilon).fit(X, y, w)
    twice = HuberRegressor(alpha=0.0, epsilon=epsilon).fit(twins, y, w)
    assert twice.fit_backend_ == "manyfit"
    assert_allclose(twice.predict(twins), once.predict(X), rtol=1e-7, atol=1e-7)
    assert_allclose(twice.coef_[5], twice.coef_[0], rtol=1e-7)  # of the smallest norm
    assert_allclose(twice.coef_[6], 0, atol=1e-9)
    wide = np.random.default_rng(1).standard_normal((40, 70))
    for alpha in (0.0, 1e-4):
        settings = {"alpha": alpha, "epsilon": epsilon}
        ours = HuberRegressor(**settings).fit(wide, y[:40])
        assert ours.fit_backend_ == "manyfit"
        assert_allclose(ours.predict(wide), y[:40], atol=1e-8)
        theirs = peer(wide, y[:40], **settings)
        assert objective(ours, wide, y[:40]) <= objective(theirs, wide, y[:40]) * (1 + 1e-9)


def test_a_population_shares_passes() -> None:
    X, y, w = make()
    params = [{"epsilon": e, "fit_intercept": b} for e in (1.0, 1.1, 1.35, 5.0) for b in (True, False)]
    models = mf.fit_many(HuberRegressor(), X, y, params=params, cv=4, sample_weight=w)
    assert models.plan.startswith("32 fits")
    assert "Newton steps" in models.plan
    for k, (train, test) in enumerate(models.splits):
        for i, parameters in enumerate(models.params):
            alone = HuberRegressor(**parameters).fit(X[train], y[train], w[train])
            assert_allclose(models[i, k].coef_, alone.coef_, rtol=1e-7, atol=1e-9)
            assert_allclose(models[i, k].scale_, alone.scale_, rtol=1e-7)
            assert models[i, k].outliers_.shape == (len(train),)
            assert_array_equal(models[i, k].outliers_, alone.outliers_)
            assert_allclose(models.test_scores[i, k], alone.score(X[test], y[test], w[test]), rtol=1e-7)


def test_weights_are_repetitions() -> None:
    X, y, _ = make()
    times = np.arange(len(y)) % 3
    one = HuberRegressor().fit(X, y, sample_weight=times.astype(float))
    many = HuberRegressor().fit(np.repeat(X, times, 0), np.repeat(y, times))
    assert_allclose(one.coef_, many.coef_, rtol=1e-9)
    assert_allclose(one.scale_, many.scale_, rtol=1e-9)


def test_warm_start_and_iterations() -> None:
    X, y, _ = make()
    with pytest.warns(
        ConvergenceWarning,
        match="HuberRegressor: the fit did not converge within max_iter=1 .*increase max_iter",
    ):
        model = HuberRegressor(max_iter=1, warm_start=True).fit(X, y)
    assert model.n_iter_ == 1
    model.set_params(max_iter=100).fit(X, y)
    cold = HuberRegressor().fit(X, y)
    assert_allclose(model.coef_, cold.coef_, rtol=1e-8)
    assert model.fit(X, y).n_iter_ == 0
    assert_allclose(model.coef_, cold.coef_, rtol=1e-8)


def test_save_and_onnx(tmp_path: Any) -> None:
    X, y, _ = make(dtype=np.float32)
    for fit_intercept in (True, False):
        model = HuberRegressor(fit_intercept=fit_intercept).fit(X, y)
        mf.save(model, tmp_path / "huber.safetensors")
        loaded = mf.load(tmp_path / "huber.safetensors")
        assert_allclose(loaded.predict(X), model.predict(X), rtol=0)
        assert_array_equal(loaded.outliers_, model.outliers_)
        for dtype in ("float32", "float64"):
            graph = model.to_onnx(X=X, dtype=dtype)
            assert [node.op_type for node in graph.graph.node] == ["Gemm", "Squeeze"]
    for name, value, message in (
        ("coef_", model.coef_[:3], "coef_ must be floats of shape"),
        ("scale_", -1.0, "scale_ must be a number > 0"),
        ("outliers_", model.outliers_.astype(float), "outliers_ must be booleans"),
    ):
        kept = getattr(model, name)
        setattr(model, name, value)
        mf.save(model, tmp_path / "bad.safetensors")
        with pytest.raises(mf.ModelFormatError, match=message):
            mf.load(tmp_path / "bad.safetensors")
        setattr(model, name, kept)


def test_errors() -> None:
    X, y, _ = make()
    with pytest.raises(ValueError, match=r"HuberRegressor: epsilon must be >= 1, got 0.5"):
        HuberRegressor(epsilon=0.5).fit(X, y)
    for place, value in ((X, np.nan), (y, np.inf)):
        place.flat[3] = value
        with pytest.raises(ValueError, match="contains"):
            HuberRegressor().fit(X, y)
        place.flat[3] = 0.0
