"""Scores of left-out rows are computed on the device, from moments and coefficients that stay there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import RepeatedKFold, ShuffleSplit

import manyfit as mf
from manyfit.linear_model import ElasticNetCV, LassoCV, MultiTaskLassoCV, Ridge, RidgeCV, _least_squares
from manyfit.model_selection import GridSearchCV

# Left-out rows of one atom of the folds, of several, and overlapping ones.
FOLDS = {
    "4": 4,
    "repeated": RepeatedKFold(n_splits=2, n_repeats=2, random_state=0),
    "shuffled": ShuffleSplit(n_splits=4, test_size=0.4, random_state=0),
}
ALPHAS = np.geomspace(100, 0.01, 60)
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-4}

# Of more coefficients than come to the host with the rest.
MANY = [
    pytest.param(LassoCV(alphas=60), id="LassoCV"),
    pytest.param(ElasticNetCV(l1_ratio=[0.3, 0.6, 1.0], alphas=20), id="ElasticNetCV"),
    pytest.param(RidgeCV(alphas=ALPHAS), id="RidgeCV"),
    pytest.param(
        RidgeCV(alphas=ALPHAS, scoring="neg_mean_squared_error", fit_intercept=False), id="RidgeCV of errors"
    ),
]
D = 40


def data(dtype: Any = np.float64, targets: int = 1) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, D)) + 2
    Y = X[:, : 4 * targets].reshape(300, targets, 4).sum(axis=2) + rng.normal(size=(300, targets))
    return X.astype(dtype), (Y[:, 0] if targets == 1 else Y).astype(dtype)


def assert_same(cuda: Any, cpu: Any, tolerance: float) -> None:
    assert cuda.alpha_ == pytest.approx(cpu.alpha_, rel=tolerance)
    for name in ("mse_path_", "best_score_"):
        if hasattr(cpu, name):
            np.testing.assert_allclose(getattr(cuda, name), getattr(cpu, name), rtol=tolerance)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("folds", FOLDS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("model", MANY)
def test_choices(model: Any, dtype: Any, folds: str, weighted: bool, upload: Any) -> None:
    X, y = data(dtype)
    extra = {"sample_weight": np.random.default_rng(1).random(len(X)).astype(dtype)} if weighted else {}
    cpu = clone(model).set_params(cv=FOLDS[folds]).fit(X, y, **extra)
    for given in (X, upload(X)):
        cuda = clone(model).set_params(cv=FOLDS[folds], device="cuda").fit(given, y, **extra)
        assert_same(cuda, cpu, TOLERANCE[dtype])


@pytest.mark.parametrize(
    "model",
    [RidgeCV(alphas=ALPHAS, cv=4), MultiTaskLassoCV(alphas=30, cv=4)],
    ids=["RidgeCV", "MultiTaskLassoCV"],
)
def test_several_targets(model: Any) -> None:
    X, Y = data(targets=3)
    cpu, cuda = (clone(model).set_params(device=device).fit(X, Y) for device in ("cpu", "cuda"))
    assert_same(cuda, cpu, 1e-9)


@pytest.mark.parametrize("scoring", ["r2", "neg_mean_squared_error"])
def test_searches(scoring: str, upload: Any) -> None:
    X, y = data()
    found = [
        GridSearchCV(Ridge(device=device), {"alpha": ALPHAS}, scoring=scoring, cv=4).fit(given, y)
        for device, given in (("cpu", X), ("cuda", X), ("cuda", upload(X)))
    ]
    for cuda in found[1:]:
        assert cuda.best_params_ == found[0].best_params_
        scores = [each.cv_results_["mean_test_score"] for each in (cuda, found[0])]
        np.testing.assert_allclose(*scores, rtol=1e-9)


@pytest.mark.parametrize("model", MANY)
def test_same_bits(model: Any, upload: Any) -> None:
    X, y = data()
    given = upload(X)
    one, two = (clone(model).set_params(cv=3, device="cuda").fit(given, y) for _ in range(2))
    name = "mse_path_" if hasattr(one, "mse_path_") else "best_score_"
    assert np.asarray(getattr(one, name)).tobytes() == np.asarray(getattr(two, name)).tobytes()


@pytest.mark.parametrize("model", MANY)
def test_coefficients_stay(model: Any, module: Any, simulated: None, upload: Any) -> None:
    """A choice among many fits downloads a few numbers of each, not its coefficients."""
    X, y = data()
    dataset = mf.Dataset(upload(X), y)
    cuda = clone(model).set_params(cv=4, device="cuda")
    cuda.fit(dataset)  # its Gram is known from here on
    before = module.simulated_downloads()
    cuda.fit(dataset)
    fits = 4 * (len(ALPHAS) if isinstance(model, RidgeCV) else np.size(cuda.mse_path_[..., 0]))
    assert module.simulated_downloads() - before < fits * D * 8 / 2


@pytest.mark.parametrize("targets", [1, 2])
def test_errors_that_are_nearly_nothing(targets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a square would lose the digits of a score, both compute it from the rows."""
    X, Y = data(targets=targets)
    Y = X[:, :targets] * 3 + 1 + 1e-7 * Y
    Y = Y[:, 0] if targets == 1 else Y
    asked: list[int] = []
    of_rows = _least_squares._errors_of_rows

    def counted(group: Any, chosen: Any, *others: Any) -> Any:
        asked.append(len(chosen))
        return of_rows(group, chosen, *others)

    monkeypatch.setattr(_least_squares, "_errors_of_rows", counted)
    alphas = np.append(np.geomspace(1e-8, 1e-4, 58), [10, 100])
    cpu, cuda = (
        RidgeCV(alphas=alphas, cv=4, scoring="neg_mean_squared_error", device=device).fit(X, Y)
        for device in ("cpu", "cuda")
    )
    assert asked[0] == asked[1] > 0
    assert len(asked) == 2
    assert cuda.alpha_ == cpu.alpha_
    assert cuda.best_score_ == pytest.approx(cpu.best_score_, rel=1e-5)


def test_bad_coefficients(module: Any, upload: Any) -> None:
    X, y = data()
    run = module.Execution()
    folds = module.Folds(0, 300, [0, 100, 300], [0, 1], [], [1, 0])
    gram = module.fold_gram(upload(X), upload(y[:, None]), None, folds, run)
    one = upload(np.zeros((1, 1, D)))
    assert np.isfinite(module.squared_errors(gram, folds, [0], one, np.zeros((1, 1)), run)[0]).all()
    for splits, coef, intercept in (
        ([1], one, np.zeros((1, 1))),
        ([-1], one, np.zeros((1, 1))),
        ([0, 0], one, np.zeros((2, 1))),
        ([0], one, np.zeros((2, 1))),
        ([0], upload(np.zeros((1, 1, D + 1))), np.zeros((1, 1))),
        ([0], upload(np.zeros((1, 1, D), np.float32)), np.zeros((1, 1))),
        ([0], upload(np.zeros((1, 1, D)), 1), np.zeros((1, 1))),
    ):
        with pytest.raises(ValueError, match="must"):
            module.squared_errors(gram, folds, splits, coef, intercept, run)
