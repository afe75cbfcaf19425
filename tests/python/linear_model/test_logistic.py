"""LogisticRegression beside scikit-learn's, with a tolerance so small that both find the minimum."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_matrix
from sklearn import linear_model
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold

import manyfit as mf
from manyfit.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier

TIGHT = {"tol": 1e-11, "max_iter": 20_000}


def make(n: int, d: int, classes: int, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * rng.uniform(0.5, 2.0, d) + rng.uniform(-1.0, 1.0, d)
    scores = X @ rng.standard_normal((d, classes)) / np.sqrt(d)
    return X, np.argmax(scores + rng.gumbel(size=(n, classes)), axis=1)


def objective(model: Any, X: NDArray[Any], y: NDArray[Any], C: float = 1.0) -> float:
    """What is minimised, from the model's own answers."""
    codes = np.searchsorted(model.classes_, y)
    chance = np.clip(model.predict_proba(X)[np.arange(len(y)), codes], 1e-300, None)
    penalty = 0.0 if np.isinf(C) else 0.5 * np.square(model.coef_).sum() / C
    return float((penalty - np.log(chance).sum()) / len(y))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3, np.inf])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_l2_and_none_as_scikit_learn(classes: int, C: float, fit_intercept: bool) -> None:
    X, y = make(300, 6, classes)
    ours = LogisticRegression(C=C, fit_intercept=fit_intercept).fit(X, y)
    theirs = linear_model.LogisticRegression(
        C=C, fit_intercept=fit_intercept, solver="newton-cholesky", tol=1e-11
    ).fit(X, y)
    assert ours.fit_backend_ == "manyfit"
    for name in ("coef_", "intercept_"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert mine.shape == other.shape
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6, atol=1e-9)
    assert ours.n_iter_.shape == theirs.n_iter_.shape


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_l1_and_elastic_net_as_saga(classes: int, ratio: float) -> None:
    X, y = make(120, 5, classes)
    settings = {"C": 0.2, "l1_ratio": ratio, "solver": "saga"}
    ours = LogisticRegression(**settings).fit(X, y)
    theirs = linear_model.LogisticRegression(**settings, **TIGHT, random_state=0).fit(X, y)
    assert ours.fit_backend_ == "manyfit"
    np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky", "sag", "saga"])
def test_every_solver_names_the_same_minimum(solver: str) -> None:
    X, y = make(200, 4, 3)
    expected = LogisticRegression().fit(X, y)
    np.testing.assert_array_equal(LogisticRegression(solver=solver).fit(X, y).coef_, expected.coef_)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0}])
@pytest.mark.parametrize("classes", [2, 3])
def test_weights_of_rows_and_classes(class_weight: Any, classes: int) -> None:
    X, y = make(250, 4, classes)
    weights = np.random.default_rng(1).uniform(0.0, 2.0, len(y))
    ours = LogisticRegression(class_weight=class_weight).fit(X, y, weights)
    theirs = linear_model.LogisticRegression(
        class_weight=class_weight, solver="newton-cholesky", tol=1e-11
    ).fit(X, y, weights)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("tol", [1e-3, 1e-4, 1e-6])
@pytest.mark.parametrize(
    ("n", "d", "classes"), [(50_000, 12, 2), (21_000, 6, 3), (200, 400, 2), (150, 200, 5)]
)
def test_loss_is_never_worse(n: int, d: int, classes: int, tol: float) -> None:
    X, y = make(n, d, classes)
    ours = LogisticRegression(tol=tol, max_iter=1000).fit(X, y)
    theirs = linear_model.LogisticRegression(tol=tol, max_iter=1000).fit(X, y)
    assert objective(ours, X, y) <= objective(theirs, X, y) + 1e-12


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_population_is_separate_fits(classes: int, class_weight: Any) -> None:
    X, y = make(240, 5, classes)
    params = [{"C": C} for C in (1e-2, 1.0, 100.0)]
    model = LogisticRegression(class_weight=class_weight)
    population = mf.fit_many(model, X, y, params=params, cv=4)
    assert "1 pass" in population.plan
    assert population.splits is not None
    for i, setting in enumerate(params):
        for k, (train, test) in enumerate(population.splits):
            alone = LogisticRegression(class_weight=class_weight, **setting).fit(X[train], y[train])
            np.testing.assert_allclose(population[i, k].coef_, alone.coef_, rtol=1e-8, atol=1e-9)
            assert population.test_scores is not None
            assert population.test_scores[i, k] == alone.score(X[test], y[test])


def test_many_rows_share_a_sample_and_the_full_fit() -> None:
    X, y = make(40_000, 5, 2)
    population = mf.fit_many(
        LogisticRegression(tol=1e-7), X, y, [{"C": 1e-3}, {"C": 10.0}], cv=StratifiedKFold(3)
    )
    assert population.splits is not None
    for i, C in enumerate((1e-3, 10.0)):
        for k, (train, _) in enumerate(population.splits):
            exact = linear_model.LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10)
            np.testing.assert_allclose(population[i, k].coef_, exact.fit(X[train], y[train]).coef_, atol=2e-6)


def test_a_split_without_a_class_has_a_model_without_it() -> None:
    X, y = load_iris(return_X_y=True)
    population = mf.fit_many(LogisticRegression(), X, y, cv=[(np.arange(100), np.arange(100, 150))])
    alone = LogisticRegression().fit(X[:100], y[:100])
    np.testing.assert_array_equal(population[0].classes_, [0, 1])
    np.testing.assert_array_equal(population[0].coef_, alone.coef_)


def test_labels_of_any_kind() -> None:
    X, y = make(80, 3, 2)
    expected = LogisticRegression().fit(X, y)
    for labels in (np.array(["no", "yes"])[y], y.astype(bool), y.astype(float), 5 - y):
        model = LogisticRegression().fit(X, labels)
        np.testing.assert_array_equal(model.classes_, np.unique(labels))
        sign = -1 if labels[0] == 5 - y[0] and labels.dtype.kind == "i" else 1
        np.testing.assert_allclose(model.coef_, sign * expected.coef_, atol=1e-9)
        assert model.score(X, labels) == expected.score(X, y)


def test_one_class_is_refused() -> None:
    X, _ = make(20, 2, 2)
    with pytest.raises(ValueError, match="LogisticRegression: y must have at least 2 classes"):
        LogisticRegression().fit(X, np.zeros(20))


def test_hard_data_converge() -> None:
    X, y = load_breast_cancer(return_X_y=True)  # columns of sizes 1e-3 to 4e3
    ours = LogisticRegression().fit(X, y)  # scikit-learn's lbfgs runs out of iterations
    assert objective(ours, X, y) <= objective(
        linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-9).fit(X, y), X, y
    ) * (1 + 1e-12)
    scales = X * 10.0 ** np.linspace(-12, 12, X.shape[1])
    assert LogisticRegression(C=1.0).fit(scales, y).score(scales, y) > 0.9
    separable = np.linspace(-1, 1, 40)[:, None]
    model = LogisticRegression(C=np.inf).fit(separable, separable.ravel() > 0)
    assert np.isfinite(model.coef_).all()
    assert model.score(separable, separable.ravel() > 0) == 1.0


def test_a_class_without_weight() -> None:
    X, y = make(90, 3, 3)
    weights = (y != 2).astype(float)
    ours = LogisticRegression().fit(X, y, weights)
    assert len(ours.classes_) == 3
    assert ours.predict_proba(X)[:, 2].max() < 1e-2


def test_many_classes() -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, 8))
    y = np.arange(1000) % 200
    X = centres[y] + 0.3 * rng.standard_normal((1000, 8))
    ours = LogisticRegression(tol=1e-5, max_iter=1000).fit(X, y)
    theirs = linear_model.LogisticRegression(tol=1e-5, max_iter=1000).fit(X, y)
    assert ours.coef_.shape == (200, 8)
    assert objective(ours, X, y) <= objective(theirs, X, y) + 1e-9


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), RidgeClassifier(), Perceptron(), SGDClassifier()]
)
def test_a_thousand_classes(estimator: Any) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(2000) % 1000
    X = rng.standard_normal((1000, 20))[y] + 0.1 * rng.standard_normal((2000, 20))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = clone(estimator).fit(X, y)
    assert model.coef_.shape == (1000, 20)
    assert model.score(X, y) > 0.8
    assert model.to_onnx(X=X) is not None


def test_columns_of_very_different_size_and_no_penalty() -> None:
    X, y = make(200, 3, 2)
    expected = LogisticRegression(C=np.inf).fit(X, y)
    scales = np.array([1e-12, 1.0, 1e12])
    model = LogisticRegression(C=np.inf).fit(X * scales, y)
    np.testing.assert_allclose(model.coef_ * scales, expected.coef_, rtol=1e-6)
    np.testing.assert_allclose(model.predict_proba(X * scales), expected.predict_proba(X), atol=1e-7)


def test_separated_rows_reach_the_minimum_of_their_penalty() -> None:
    x = np.concatenate([np.linspace(-3, -1, 20), np.linspace(1, 3, 20)])[:, None]
    for C in (1e4, 1e8):
        ours = LogisticRegression(C=C).fit(x, x.ravel() > 0)
        exact = linear_model.LogisticRegression(C=C, solver="newton-cholesky", tol=1e-13, max_iter=500)
        np.testing.assert_allclose(ours.coef_, exact.fit(x, x.ravel() > 0).coef_, rtol=1e-4)


def test_warm_start_begins_where_the_last_fit_ended() -> None:
    X, y = make(300, 6, 3)
    model = LogisticRegression(warm_start=True).fit(X, y)
    before = model.coef_.copy()
    assert model.fit(X, y).n_iter_[0] <= 1
    np.testing.assert_allclose(model.coef_, before, rtol=1e-9)
    with pytest.raises(ValueError, match="Initialization coef is of shape"):
        model.fit(X[:, :4], y)


def test_running_out_of_steps_warns() -> None:
    X, y = make(100, 5, 2)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge.*max_iter"):
        model = LogisticRegression(max_iter=1).fit(X, y)
    np.testing.assert_array_equal(model.n_iter_, [1])


def test_what_runs_in_scikit_learn() -> None:
    X, y = make(60, 4, 2)
    for model, data in (
        (LogisticRegression(), csr_matrix((np.ones(60), (range(60), range(60))), shape=(60, 20_000))),
        (LogisticRegression(solver="liblinear", n_jobs=2), X),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert model.fit(data, y).fit_backend_ == "scikit-learn"
        assert model.score(data, y) > 0.5


@pytest.mark.parametrize("layout", [csr_matrix, coo_array])
def test_small_sparse_tables_are_read_as_dense(layout: Any) -> None:
    X, y = make(60, 4, 3)
    X[X < 0] = 0
    model = LogisticRegression(solver="saga", l1_ratio=0.5).fit(layout(X), y)
    assert model.fit_backend_ == "manyfit"
    np.testing.assert_array_equal(
        model.coef_, LogisticRegression(solver="saga", l1_ratio=0.5).fit(X, y).coef_
    )
    population = mf.fit_many(LogisticRegression(), csr_matrix(X), y, cv=3)
    np.testing.assert_array_equal(
        population.test_scores, mf.fit_many(LogisticRegression(), X, y, cv=3).test_scores
    )


class _Steps:
    """A callback of scikit-learn's that keeps what each step ended with, and may ask for an end."""

    def __init__(self, enough: int) -> None:
        self.enough = enough
        self.seen: list[Any] = []

    def setup(self, estimator: Any, context: Any) -> None: ...

    def on_fit_task_begin(self, estimator: Any, context: Any, **told: Any) -> None: ...

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, fitted_estimator: Any = None, **told: Any
    ) -> bool:
        if "iter" in context.task_name and fitted_estimator is not None:
            self.seen.append(fitted_estimator.coef_)
        return len(self.seen) >= self.enough

    def teardown(self, estimator: Any, context: Any) -> None: ...


@pytest.mark.parametrize("classes", [2, 3])
def test_callbacks_see_every_step(classes: int) -> None:
    X, y = make(90, 3, classes)
    steps = _Steps(enough=1000)
    model = LogisticRegression().set_callbacks(steps).fit(X, y)
    assert model.fit_backend_ == "manyfit"
    assert len(steps.seen) == model.n_iter_[0] > 3
    np.testing.assert_allclose(model.coef_, LogisticRegression().fit(X, y).coef_, rtol=1e-7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for i, coef in enumerate(steps.seen):
            alone = LogisticRegression(max_iter=i + 1).fit(X, y)
            np.testing.assert_allclose(coef, alone.coef_, rtol=1e-9)
    stopped = LogisticRegression().set_callbacks(_Steps(enough=2)).fit(X, y)
    np.testing.assert_array_equal(stopped.n_iter_, [2])


def test_deprecated_penalty() -> None:
    X, y = make(60, 4, 2)
    for penalty, instead in (("l2", {}), (None, {"C": np.inf}), ("l1", {"l1_ratio": 1.0})):
        settings = {"solver": "saga", "l1_ratio": instead.get("l1_ratio", 0.0)}
        with pytest.warns(FutureWarning, match="'penalty' was deprecated"):
            old = LogisticRegression(penalty=penalty, **settings).fit(X, y)
        new = LogisticRegression(**{**settings, **instead}).fit(X, y)
        np.testing.assert_array_equal(old.coef_, new.coef_)


def test_penalties_that_a_solver_lacks_are_refused() -> None:
    X, y = make(60, 4, 2)
    with pytest.raises(ValueError, match="Solver lbfgs supports only 'l2' or None penalties, got l1"):
        LogisticRegression(l1_ratio=1.0).fit(X, y)
    with pytest.raises(ValueError, match="LogisticRegression: C must be > 0"):
        LogisticRegression(C=0.0).fit(X, y)


def test_saved_and_loaded(tmp_path: Any) -> None:
    X, y = make(60, 4, 3)
    model = LogisticRegression().fit(X, y)
    mf.save(model, tmp_path / "model.mf")
    np.testing.assert_array_equal(mf.load(tmp_path / "model.mf").predict_proba(X), model.predict_proba(X))
