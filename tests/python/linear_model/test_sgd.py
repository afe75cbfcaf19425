"""Stochastic gradient descent beside scikit-learn's, which takes the rows in the same order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning

import manyfit as mf
from manyfit.linear_model import Perceptron, SGDClassifier, SGDRegressor

RATES = ["constant", "optimal", "invscaling", "adaptive"]
REGRESSIONS = ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"]
CLASSIFICATIONS = [
    "hinge",
    "squared_hinge",
    "perceptron",
    "log_loss",
    "modified_huber",
    "squared_error",
    "huber",
]

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*Maximum number of iteration:sklearn.exceptions.ConvergenceWarning"
)


def make(n: int = 200, d: int = 6, dtype: Any = np.float64) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    return X.astype(dtype), (X @ rng.standard_normal(d) + 0.3 * rng.standard_normal(n) + 1.0).astype(dtype)


def labels(n: int = 200, classes: int = 2) -> tuple[Any, Any]:
    X, y = make(n)
    return X, np.array(["ant", "bee", "cat", "dog"])[
        np.digitize(y, np.quantile(y, np.arange(1, classes) / classes))
    ]


def alpha_of(rate: str) -> float:
    """Penalties with which "optimal" does not begin by steps so large that rounding decides where they lead."""
    return 100.0 if rate == "optimal" else 0.01


def weights(n: int = 200) -> Any:
    return np.random.default_rng(1).uniform(0, 2, n)


def assert_alike(ours: Any, theirs: Any, rtol: float = 1e-9) -> None:
    assert ours.fit_backend_ == "manyfit"
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    for name in ("coef_", "intercept_"):
        expected = getattr(theirs, name)
        assert_allclose(getattr(ours, name), expected, rtol=0, atol=rtol * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("loss", REGRESSIONS)
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet", None])
@pytest.mark.parametrize("rate", RATES)
def test_regressor_as_scikit_learn(rate: str, penalty: str | None, loss: str) -> None:
    X, y = make()
    for average in (False, True, 300):
        for sample_weight in (None, weights()):
            settings: dict[str, Any] = {
                "loss": loss,
                "penalty": penalty,
                "learning_rate": rate,
                "alpha": alpha_of(rate),
            }
            settings |= {"average": average, "random_state": 3, "max_iter": 15}
            ours = SGDRegressor(**settings).fit(X, y, sample_weight=sample_weight)
            assert_alike(ours, linear_model.SGDRegressor(**settings).fit(X, y, sample_weight=sample_weight))


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("loss", CLASSIFICATIONS)
@pytest.mark.parametrize("penalty", ["l2", "elasticnet", None])
def test_classifier_as_scikit_learn(penalty: str | None, loss: str, classes: int) -> None:
    X, y = labels(classes=classes)
    for rate in RATES:
        for class_weight, sample_weight in ((None, None), ("balanced", weights()), ({"bee": 3.0}, None)):
            settings: dict[str, Any] = {
                "loss": loss,
                "penalty": penalty,
                "learning_rate": rate,
                "alpha": alpha_of(rate),
            }
            settings |= {"class_weight": class_weight, "random_state": 3, "max_iter": 15, "eta0": 0.001}
            ours = SGDClassifier(**settings).fit(X, y, sample_weight=sample_weight)
            theirs = linear_model.SGDClassifier(**settings).fit(X, y, sample_weight=sample_weight)
            assert_alike(ours, theirs)
            np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
            if loss in ("log_loss", "modified_huber"):
                assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rate", ["pa1", "pa2"])
def test_passive_aggressive_as_scikit_learn(rate: str) -> None:
    settings: dict[str, Any] = {"learning_rate": rate, "random_state": 0, "max_iter": 10, "penalty": None}
    for data in (labels(), labels(classes=3)):
        ours, theirs = SGDClassifier(**settings), linear_model.SGDClassifier(**settings)
        assert_alike(ours.fit(*data), theirs.fit(*data))
    settings["loss"] = "epsilon_insensitive"
    X, y = make()
    assert_alike(SGDRegressor(**settings).fit(X, y), linear_model.SGDRegressor(**settings).fit(X, y))
    with pytest.raises(ValueError, match="only works with loss"):
        SGDRegressor(learning_rate=rate).fit(X, y)


@pytest.mark.parametrize("classes", [2, 4])
def test_perceptron_as_scikit_learn(classes: int) -> None:
    X, y = labels(classes=classes)
    for settings in (
        {},
        {"penalty": "l2"},
        {"penalty": "l1", "eta0": 0.1},
        {"shuffle": False},
        {"random_state": 7},
    ):
        assert_alike(Perceptron(**settings).fit(X, y), linear_model.Perceptron(**settings).fit(X, y))


@pytest.mark.parametrize("random_state", ["instance", "global"])
def test_random_states_are_drawn_from_alike(random_state: str) -> None:
    def fitted(cls: Any, data: Any) -> Any:
        np.random.seed(4)  # noqa: NPY002  # the global state is what is tested
        model = cls(random_state=np.random.RandomState(4) if random_state == "instance" else None)
        return model.fit(*data).fit(*data)

    for data in (labels(), labels(classes=3)):
        assert_alike(fitted(SGDClassifier, data), fitted(linear_model.SGDClassifier, data))
    assert_alike(fitted(SGDRegressor, make()), fitted(linear_model.SGDRegressor, make()))


@pytest.mark.parametrize("penalty", ["l1", None])  # scikit-learn scores l2 without the decay
def test_early_stopping_as_scikit_learn(penalty: str | None) -> None:
    settings: dict[str, Any] = {"early_stopping": True, "random_state": 5, "penalty": penalty}
    X, y = make()
    assert_alike(SGDRegressor(**settings).fit(X, y), linear_model.SGDRegressor(**settings).fit(X, y))
    for classes in (2, 3):
        data = labels(classes=classes)
        ours, theirs = SGDClassifier(**settings), linear_model.SGDClassifier(**settings)
        assert_alike(ours.fit(*data), theirs.fit(*data))


def test_float32() -> None:
    X, y = make(dtype=np.float32)
    ours = SGDRegressor(random_state=0).fit(X, y)
    assert ours.coef_.dtype == ours.intercept_.dtype == np.float32
    assert_alike(ours, linear_model.SGDRegressor(random_state=0).fit(X, y), rtol=1e-4)


@pytest.mark.parametrize("average", [False, 50])
def test_partial_fit_as_scikit_learn(average: bool | int) -> None:
    X, y = make()
    ours, theirs = (cls(random_state=0, average=average) for cls in (SGDRegressor, linear_model.SGDRegressor))
    for rows in np.array_split(np.arange(len(X)), 7):
        ours.partial_fit(X[rows], y[rows])
        theirs.partial_fit(X[rows], y[rows])
        assert_alike(ours, theirs)
    for count in (2, 3):
        X, z = labels(classes=count)
        ours, theirs = (cls(random_state=0) for cls in (SGDClassifier, linear_model.SGDClassifier))
        for rows in np.array_split(np.arange(len(X)), 7):
            ours.partial_fit(X[rows], z[rows], classes=np.unique(z))
            theirs.partial_fit(X[rows], z[rows], classes=np.unique(z))
            assert_alike(ours, theirs)


@pytest.mark.parametrize("average", [False, 50])
def test_goes_on_after_load(tmp_path: Any, average: bool | int) -> None:
    X, y = labels(classes=3)
    straight = SGDClassifier(random_state=0, average=average)
    straight.partial_fit(X[:100], y[:100], classes=np.unique(y))
    mf.save(straight, tmp_path / "half.safetensors")
    loaded = mf.load(tmp_path / "half.safetensors")
    for model in (straight, loaded):
        model.partial_fit(X[100:], y[100:])
    np.testing.assert_array_equal(straight.coef_, loaded.coef_)
    np.testing.assert_array_equal(straight.intercept_, loaded.intercept_)
    assert straight.t_ == loaded.t_ == 201


def test_partial_fit_refuses_what_it_does_not_know() -> None:
    X, y = labels()
    for cls in (SGDClassifier, Perceptron):
        with pytest.raises(ValueError, match="classes must be passed on the first call"):
            cls().partial_fit(X, y)
        model = cls().partial_fit(X, y, classes=["ant", "bee"])
        with pytest.raises(
            ValueError, match=r"among the classes of the first call, \['ant', 'bee'\], got \['elk'\]"
        ):
            model.partial_fit(X[:2], ["ant", "elk"])
        with pytest.raises(ValueError, match="X has 5 features, but .* is expecting 6"):
            model.partial_fit(X[:, :5], y)
        with pytest.raises(ValueError, match="not the same as on last call"):
            model.partial_fit(X, y, classes=["ant", "bee", "cat"])
        with pytest.raises(ValueError, match="contains NaN"):
            model.partial_fit(np.full((1, 6), np.nan), ["ant"])
        with pytest.raises(ValueError, match="class_weight 'balanced' is not supported"):
            cls(class_weight="balanced").partial_fit(X, y, classes=["ant", "bee"])
    regressor = SGDRegressor().partial_fit(*make())
    with pytest.raises(ValueError, match="X has 5 features"):
        regressor.partial_fit(X[:, :5], make()[1])


def test_warm_start_and_starts() -> None:
    X, y = make()
    for kwargs in ({"coef_init": np.ones(6), "intercept_init": 2.0}, {"coef_init": np.ones(6)}):
        ours = SGDRegressor(random_state=0).fit(X, y, **kwargs)
        assert_alike(ours, linear_model.SGDRegressor(random_state=0).fit(X, y, **kwargs))
    ours, theirs = (
        cls(random_state=0, warm_start=True).fit(X, y).fit(X, y)
        for cls in (SGDRegressor, linear_model.SGDRegressor)
    )
    assert_alike(ours, theirs)
    with pytest.raises(ValueError, match=r"coef_init must have shape \(6,\), got \(3,\)"):
        SGDRegressor().fit(X, y, coef_init=np.ones(3))


def test_a_population_takes_rows_together_and_is_as_separate_fits() -> None:
    X, y = labels(classes=3)
    settings = [{"alpha": alpha, "loss": loss} for alpha in (1e-4, 1e-2) for loss in ("hinge", "log_loss")]
    models = mf.fit_many(SGDClassifier(random_state=0), X, y, params=settings, cv=4)
    assert models.splits is not None
    for i, entry in enumerate(settings):
        for k, (train, test) in enumerate(models.splits):
            alone = SGDClassifier(random_state=0, **entry).fit(X[train], y[train])
            np.testing.assert_array_equal(models[i, k].coef_, alone.coef_)
            np.testing.assert_array_equal(models[i, k].intercept_, alone.intercept_)
            assert models.test_scores is not None
            assert models.test_scores[i, k] == alone.score(X[test], y[test])
    assert "stochastic gradient descent" in models.plan


def test_too_few_epochs_and_overflow() -> None:
    X, y = make()
    with pytest.warns(ConvergenceWarning, match=r"increasing max_iter to improve the fit\. \(max_iter=2\)"):
        SGDRegressor(max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match=r"under-/overflow occurred at epoch #1\. Scaling"):
        SGDRegressor(learning_rate="constant", eta0=1e300).fit(X, y)
    with pytest.raises(ValueError, match="at least 2 classes, got only one class: 0.0"):
        SGDClassifier().fit(X, np.zeros(len(y)))


def test_sparse_and_verbose_run_in_scikit_learn(capsys: Any) -> None:
    X, y = make()
    ours = SGDRegressor(random_state=0).fit(scipy.sparse.csr_array(X), y)
    theirs = linear_model.SGDRegressor(random_state=0).fit(scipy.sparse.csr_array(X), y)
    assert ours.fit_backend_ == "scikit-learn"
    np.testing.assert_array_equal(ours.coef_, theirs.coef_)
    assert SGDRegressor(verbose=1, max_iter=2, tol=None).fit(X, y).fit_backend_ == "scikit-learn"
    assert "Epoch 2" in capsys.readouterr().out
    X, y = labels(classes=3)
    model = SGDClassifier().partial_fit(scipy.sparse.csr_array(X), y, classes=np.unique(y))
    assert model.fit_backend_ == "scikit-learn"
    assert model.partial_fit(X, y).fit_backend_ == "manyfit"


def test_huge_means_do_not_crash() -> None:
    X, y = make()
    X[:, 0] = X[:, 0] * 1e-12
    X[:, 1] = X[:, 1] * 1e3
    with pytest.warns(ConvergenceWarning):
        model = SGDRegressor(learning_rate="constant", eta0=1e-8, max_iter=5, random_state=0).fit(X, y)
    assert np.isfinite(model.coef_).all()
