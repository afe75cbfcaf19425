"""Lasso and elastic net on a device: step by step what the CPU does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import manyfit as mf
from manyfit.linear_model import ElasticNet, ElasticNetCV, Lasso, LassoCV

MODELS = [
    Lasso(alpha=0.02),
    Lasso(alpha=0.02, positive=True),
    Lasso(alpha=0.02, fit_intercept=False),
    ElasticNet(alpha=0.3, l1_ratio=0.2),
    ElasticNet(alpha=0.01, l1_ratio=1e-3, tol=1e-8),
    LassoCV(alphas=20, cv=4),
    ElasticNetCV(l1_ratio=[0.3, 1.0], alphas=15, cv=4, positive=True),
]


@pytest.fixture
def calls(module: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many fits each call of the device's kernel was given."""
    found: list[int] = []
    kernel = module.coordinate_descent

    def counted(gram: Any, folds: Any, settings: Any, *others: Any) -> Any:
        found.append(len(settings))
        return kernel(gram, folds, settings, *others)

    monkeypatch.setattr(module, "coordinate_descent", counted)
    return found


def data(n: int = 300, d: int = 12, share: float = 0.8) -> tuple[Any, Any]:
    """Columns that resemble their neighbours, and a constant one."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)) + 3
    for j in range(1, d):
        X[:, j] += share * X[:, j - 1]
    X[:, d // 2] = 1e3
    return X, X[:, :4] @ rng.normal(size=4) + rng.normal(size=n)


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_sweeps_and_gaps(model: Any, calls: list[int], upload: Any) -> None:
    X, y = data()
    cpu = clone(model).fit(X, y)
    for given in (X, upload(X)):
        cuda = clone(model).set_params(device="cuda").fit(given, y)
        assert calls
        np.testing.assert_allclose(cuda.coef_, cpu.coef_, rtol=1e-9, atol=1e-9)
        assert cuda.n_iter_ == cpu.n_iter_
        np.testing.assert_allclose(cuda.dual_gap_, cpu.dual_gap_, rtol=1e-3, atol=1e-10)
        if hasattr(cpu, "alpha_"):
            assert cuda.alpha_ == pytest.approx(cpu.alpha_, rel=1e-12)
            np.testing.assert_allclose(cuda.mse_path_, cpu.mse_path_, rtol=1e-9)


def test_several_targets(calls: list[int]) -> None:
    X, y = data()
    Y = np.column_stack([y, X[:, 5] - y, np.zeros_like(y)])
    cpu, cuda = (ElasticNet(alpha=0.1, device=device).fit(X, Y) for device in ("cpu", "cuda"))
    assert calls == [1]
    np.testing.assert_allclose(cuda.coef_, cpu.coef_, rtol=1e-9, atol=1e-9)
    assert cuda.n_iter_ == cpu.n_iter_


def test_a_population_is_one_call(calls: list[int]) -> None:
    X, y = data()
    alphas = np.geomspace(1, 1e-3, 30)
    fits = mf.fit_many(Lasso(device="cuda"), X, y, [{"alpha": alpha} for alpha in alphas])
    assert calls == [30]
    for fitted, alpha in zip(fits, alphas, strict=True):
        alone = Lasso(alpha=alpha, device="cuda").fit(X, y)
        np.testing.assert_allclose(fitted.coef_, alone.coef_, rtol=1e-9, atol=1e-9)


def test_long_wide_paths(calls: list[int]) -> None:
    """Paths that are cut into pieces: the same choice, and errors within the tolerance."""
    X, y = data(600, 90, 0.3)
    cpu, cuda = (
        ElasticNetCV(l1_ratio=[0.5, 1.0], alphas=60, cv=3, device=device).fit(X, y)
        for device in ("cpu", "cuda")
    )
    assert max(calls) == 360
    np.testing.assert_allclose(cuda.mse_path_, cpu.mse_path_, rtol=1e-3)
    assert abs(np.log(cuda.alpha_ / cpu.alpha_)) < 0.3


def test_warm_start(calls: list[int]) -> None:
    X, y = data()
    model = Lasso(alpha=0.1, warm_start=True, device="cuda").fit(X, y)
    first = model.n_iter_
    model.fit(X, y)
    assert len(calls) == 2
    assert model.n_iter_ < first


def test_too_few_sweeps(calls: list[int]) -> None:
    X, y = data()
    model = Lasso(alpha=1e-4, max_iter=2, tol=1e-12, device="cuda")
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        model.fit(X, y)
    assert calls
    assert model.n_iter_ == 2


def test_what_the_core_does(calls: list[int]) -> None:
    """Coordinates in random order, and more columns than a warp can hold."""
    X, y = data()
    cpu, cuda = (
        Lasso(alpha=0.1, selection="random", random_state=0, device=device).fit(X, y)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(cuda.coef_, cpu.coef_, rtol=1e-9, atol=1e-9)
    assert cuda.n_iter_ == cpu.n_iter_
    X, y = data(800, 520, 0.0)
    alphas = [{"alpha": alpha} for alpha in np.geomspace(1, 0.1, 60)]
    cpu, cuda = (mf.fit_many(Lasso(device=device), X, y, alphas) for device in ("cpu", "cuda"))
    for one, other in zip(cuda, cpu, strict=True):
        np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-8, atol=1e-8)
    assert not calls
