"""LogisticRegressionCV beside scikit-learn's, whose solver is given a tolerance at which it finds the minimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_matrix
from sklearn import config_context, linear_model
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import KFold, StratifiedKFold

import manyfit as mf
from manyfit.linear_model import LogisticRegression, LogisticRegressionCV

NEW: dict[str, Any] = {"l1_ratios": (0,), "scoring": "accuracy", "use_legacy_attributes": False}
EXACT: dict[str, Any] = {"solver": "newton-cholesky", "tol": 1e-11}


def make(n: int, d: int, classes: int, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * rng.uniform(0.5, 2.0, d)
    scores = X @ rng.standard_normal((d, classes)) / np.sqrt(d)
    return X, np.argmax(scores + rng.gumbel(size=(n, classes)), axis=1)


def assert_alike(ours: Any, other: Any, rtol: float = 1e-6, atol: float = 1e-7) -> None:
    """The same attributes, of the same form, with the same numbers (steps differ)."""
    for name in (
        "C_",
        "Cs_",
        "l1_ratio_",
        "l1_ratios_",
        "scores_",
        "coefs_paths_",
        "n_iter_",
        "coef_",
        "intercept_",
    ):
        mine, theirs = getattr(ours, name), getattr(other, name)
        assert type(mine) is type(theirs), name
        pairs = [(mine, theirs)]
        if isinstance(mine, dict):
            assert [*map(repr, mine)] == [*map(repr, theirs)]
            pairs = [(mine[key], theirs[key]) for key in mine]
        for a, b in pairs:
            assert np.shape(a) == np.shape(b), name
            if np.asarray(b).dtype == object:
                assert_array_equal(a, b)
            elif name != "n_iter_":
                assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_attributes_as_scikit_learn(legacy: bool, classes: int, refit: bool, fit_intercept: bool) -> None:
    X, y = make(150, 4, classes)
    settings = {"Cs": 6, "refit": refit, "fit_intercept": fit_intercept, "use_legacy_attributes": legacy}
    ours = LogisticRegressionCV(**{**NEW, **settings}).fit(X, y)
    other = linear_model.LogisticRegressionCV(**{**NEW, **settings, **EXACT}).fit(X, y)
    assert ours.fit_backend_ == "manyfit"
    assert_alike(ours, other)
    assert ours.score(X, y) == other.score(X, y)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("classes", [2, 3])
def test_defaults_as_scikit_learn(classes: int) -> None:
    X, y = make(150, 4, classes)
    assert_alike(LogisticRegressionCV().fit(X, y), linear_model.LogisticRegressionCV(**EXACT).fit(X, y))


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("refit", [True, False])
def test_elastic_net_as_saga(legacy: bool, refit: bool) -> None:
    X, y = make(80, 3, 3)
    settings = {
        "Cs": [0.05, 0.5],
        "l1_ratios": np.array([0.0, 0.4, 1.0]),
        "solver": "saga",
        "cv": 3,
        "refit": refit,
        "scoring": "neg_log_loss",
        "use_legacy_attributes": legacy,
    }
    ours = LogisticRegressionCV(**settings).fit(X, y)
    other = linear_model.LogisticRegressionCV(**settings, tol=1e-10, max_iter=20_000, random_state=0).fit(
        X, y
    )
    assert pytest.approx(other.C_) == ours.C_
    assert ours.l1_ratio_ == pytest.approx(other.l1_ratio_)
    for mine, theirs in ((ours.coefs_paths_, other.coefs_paths_), (ours.scores_, other.scores_)):
        mine, theirs = (np.stack([*each.values()], axis=-2) if legacy else each for each in (mine, theirs))
        if mine.ndim > 3:  # of coefficients the intercepts, which the penalty leaves free to move together
            mine, theirs = (
                np.concatenate([W[..., :-1], W[..., -1:] - W[..., -1:].mean(axis=-2, keepdims=True)], axis=-1)
                for W in (mine, theirs)
            )
        assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


def recall_of_one(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
    value: float = recall_score(y, estimator.predict(X), pos_label=1, sample_weight=sample_weight)
    return value


@pytest.mark.parametrize(
    "scoring",
    [
        "accuracy",
        None,
        "neg_log_loss",
        "roc_auc",
        "f1",
        "neg_brier_score",
        make_scorer(recall_score),
        recall_of_one,
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_scores_of_any_scorer(scoring: Any, weighted: bool) -> None:
    X, y = make(160, 3, 2)
    weights = np.random.default_rng(1).uniform(0.0, 2.0, len(y)) if weighted else None
    settings = {**NEW, "scoring": scoring, "Cs": 4, "class_weight": "balanced"}
    ours = LogisticRegressionCV(**settings).fit(X, y, weights)
    other = linear_model.LogisticRegressionCV(**settings, **EXACT).fit(X, y, weights)
    assert ours.fit_backend_ == "manyfit"
    assert_allclose(ours.scores_, other.scores_, rtol=1e-6)
    assert_allclose(ours.coef_, other.coef_, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss"])
@pytest.mark.parametrize("classes", [2, 4])
def test_scores_in_one_pass_are_the_scorers(scoring: str, classes: int) -> None:
    X, y = make(200, 3, classes)
    weights = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    model = LogisticRegressionCV(**{**NEW, "scoring": scoring}, cv=KFold(4)).fit(X, y, weights)
    for k, (_, test) in enumerate(KFold(4).split(X)):
        for c in range(len(model.Cs_)):
            alone = LogisticRegression().fit(X, y)
            alone.coef_, alone.intercept_ = (
                model.coefs_paths_[k, 0, c][:, :-1],
                model.coefs_paths_[k, 0, c][:, -1],
            )
            model_score = linear_model.LogisticRegressionCV(**{**NEW, "scoring": scoring})._get_scorer()
            expected = model_score(alone, X[test], y[test], sample_weight=weights[test])
            assert_allclose(model.scores_[k, 0, c], expected, rtol=1e-10)


def test_many_rows_and_penalties_lose_nothing() -> None:
    X, y = make(25_000, 5, 2)
    model = LogisticRegressionCV(**{**NEW, "scoring": "neg_log_loss"}, Cs=8, tol=1e-6).fit(X, y)
    for k, (train, _) in enumerate(StratifiedKFold(5).split(X, y)):
        exact = LogisticRegression(C=model.Cs_[2], tol=1e-10).fit(X[train], y[train])
        assert_allclose(model.coefs_paths_[k, 0, 2, 0, :-1], exact.coef_[0], atol=2e-6)
    other = linear_model.LogisticRegressionCV(**{**NEW, "scoring": "neg_log_loss"}, Cs=8, **EXACT).fit(X, y)
    assert_allclose(model.scores_, other.scores_, rtol=1e-7)
    assert model.C_ == other.C_
    assert_allclose(model.coef_, other.coef_, atol=1e-5)


def test_one_population() -> None:
    X, y = make(100, 3, 2)
    data = mf.Dataset(X, y)
    LogisticRegressionCV(**NEW).fit(data)
    assert data.passes == ["logistic regression"] * 2  # the folds, and all rows with what was chosen


def test_population() -> None:
    X, y = make(120, 3, 3)
    params = [{"cv": 3, "scoring": "neg_log_loss"}, {"cv": 4, "class_weight": "balanced"}]
    models = mf.fit_many(LogisticRegressionCV(**NEW, Cs=[0.1, 1.0]), X, y, params=params, cv=2)
    for i, setting in enumerate(params):
        for k, (train, _) in enumerate(models.splits or []):
            alone = LogisticRegressionCV(**{**NEW, "Cs": [0.1, 1.0], **setting}).fit(X[train], y[train])
            assert_allclose(models[i, k].coefs_paths_, alone.coefs_paths_, rtol=1e-8, atol=1e-9)
            assert_allclose(models[i, k].coef_, alone.coef_, rtol=1e-8, atol=1e-9)


def test_a_fold_without_a_class() -> None:
    X, y = load_iris(return_X_y=True)
    model = LogisticRegressionCV(**NEW, cv=KFold(3)).fit(X, y)  # every fold leaves out a class
    assert_array_equal(model.scores_, 0.0)
    for k, (train, _) in enumerate(KFold(3).split(X)):
        present = np.unique(y[train])
        for c, C in enumerate(model.Cs_):
            exact = linear_model.LogisticRegression(C=2 * C, **EXACT).fit(X[train], y[train])
            W = model.coefs_paths_[k, 0, c]
            # As of two classes, which share the penalty.
            assert_allclose(W[present[1], :-1] - W[present[0], :-1], exact.coef_[0], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(W[present].mean(axis=0)[:-1], W[3 - present.sum()][:-1], atol=1e-12)
    both = X[:100], y[:100]
    model = LogisticRegressionCV(**NEW, cv=KFold(2)).fit(*both)  # and here a single one is left
    assert_array_equal(model.scores_, 0.0)
    assert np.isfinite(model.coef_).all()
    with pytest.raises(ValueError, match="LogisticRegressionCV: y must have at least 2 classes"):
        LogisticRegressionCV(**NEW).fit(X[:50], y[:50])


def test_a_class_of_no_weight() -> None:
    X, y = make(90, 3, 3)
    model = LogisticRegressionCV(**NEW).fit(X, y, (y != 2).astype(float))
    assert model.coef_.shape == (3, 3)
    assert (model.predict(X) != 2).all()


def test_labels_of_any_kind() -> None:
    X, y = make(100, 3, 2)
    expected = LogisticRegressionCV(**NEW).fit(X, y)
    for labels in (np.array(["no", "yes"])[y], y.astype(bool), y.astype(float)):
        model = LogisticRegressionCV(**NEW).fit(X, labels)
        assert_array_equal(model.classes_, np.unique(labels))
        assert_array_equal(model.coef_, expected.coef_)
        assert model.score(X, labels) == expected.score(X, y)


def test_separated_without_penalty_and_very_different_columns() -> None:
    x = np.linspace(-1, 1, 60)
    X, y = np.column_stack([1e-12 * x, 1e12 * np.cos(40 * x)]), x > 0
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    model = LogisticRegressionCV(**NEW, Cs=[1.0, np.inf], cv=cv).fit(X, y)
    assert np.isfinite(model.coefs_paths_).all()
    assert np.inf == model.C_
    assert model.score(X, y) > 0.9


def test_running_out_of_steps_warns_once() -> None:
    X, y = make(100, 5, 2)
    with pytest.warns(
        ConvergenceWarning, match="lbfgs failed to converge after 1 iterations.*max_iter"
    ) as told:
        LogisticRegressionCV(**NEW, max_iter=1).fit(X, y)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"Cs": [1.0, 0.0]},
            r"LogisticRegressionCV: Cs must be an integer >= 1 or numbers > 0, got \[1.0, 0.0\]",
        ),
        ({"Cs": []}, "LogisticRegressionCV: Cs must be"),
        ({"Cs": 0}, "LogisticRegressionCV: Cs must be"),
        (
            {"l1_ratios": (0.5, 2.0), "solver": "saga"},
            "l1_ratios must be an array-like of numbers between 0 and 1",
        ),
        ({"l1_ratios": (), "solver": "saga"}, "l1_ratios must be an array-like"),
        ({"l1_ratios": (1,)}, "Solver lbfgs supports only 'l2'"),
        ({"class_weight": {7: 1.0}}, "LogisticRegressionCV: The given class_weight dict must have"),
        ({"scoring": "no such score"}, "LogisticRegressionCV: scoring must be"),
        ({"cv": []}, "LogisticRegressionCV: cv must give at least one split"),
    ],
)
def test_refusals(settings: dict[str, Any], message: str) -> None:
    X, y = make(40, 2, 2)
    with pytest.raises(ValueError, match=message):
        LogisticRegressionCV(**{**NEW, **settings}).fit(X, y)


def test_changes_of_defaults_are_announced() -> None:
    X, y = make(60, 2, 2)
    for settings, text in (
        ({"l1_ratios": "warn"}, "The default value for l1_ratios will change"),
        ({"l1_ratios": None}, "'l1_ratios=None' was deprecated"),
        ({"scoring": "warn"}, "The default value of the parameter 'scoring' will change"),
        ({"use_legacy_attributes": "warn"}, "The default value of use_legacy_attributes will change"),
        ({"penalty": "l2", "l1_ratios": None}, "'penalty' was deprecated"),
    ):
        with pytest.warns(FutureWarning, match=text) as caught:
            LogisticRegressionCV(**{**NEW, **settings}).fit(X, y)
        assert len(caught) == 1


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc_ovr"])
def test_small_sparse_tables_are_read_as_dense(scoring: str) -> None:
    X, y = make(80, 3, 3)
    settings = {**NEW, "scoring": scoring}
    model = LogisticRegressionCV(**settings).fit(coo_array(X), y)
    assert model.fit_backend_ == "manyfit"
    assert_alike(model, LogisticRegressionCV(**settings).fit(X, y), rtol=0, atol=0)


def test_what_runs_in_scikit_learn() -> None:
    X, y = make(80, 3, 2)
    large = csr_matrix((np.ones(80), (range(80), range(80))), shape=(80, 20_000))
    for settings, data in (({}, large), ({"solver": "liblinear"}, X)):
        model = LogisticRegressionCV(**NEW, **settings, Cs=1, cv=2, tol=0.1).fit(data, y)
        assert model.fit_backend_ == "scikit-learn"
    with config_context(enable_metadata_routing=True):
        assert LogisticRegressionCV(**NEW).fit(X, y).fit_backend_ == "scikit-learn"
    with pytest.raises(ValueError, match="metadata"):
        LogisticRegressionCV(**NEW).fit(X, y, groups=y)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("settings", [{}, NEW])
def test_saved_loaded_and_exported(tmp_path: Any, settings: dict[str, Any]) -> None:
    X, y = make(60, 4, 3)
    model = LogisticRegressionCV(**settings).fit(X, np.array(["a", "b", "c"])[y])
    mf.save(model, tmp_path / "model.mf")
    loaded = mf.load(tmp_path / "model.mf")
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert_alike(loaded, model, rtol=0, atol=0)
    model.to_onnx(tmp_path / "model.onnx", X=X)
