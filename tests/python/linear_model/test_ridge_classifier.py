"""RidgeClassifier and RidgeClassifierCV beside scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import linear_model
from sklearn.metrics import accuracy_score
from sklearn.model_selection import KFold

import manyfit as mf
from manyfit.linear_model import RidgeClassifier, RidgeClassifierCV

ALPHAS = [0.01, 1.0, 100.0]
KINDS = ["two", "words", "bools", "three", "several"]


def make(kind: str, n: int = 80, d: int = 5) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) + 1
    s = X[:, 0] + X[:, 1] + 0.5 * rng.standard_normal(n)
    labels = {
        "two": np.where(s > 2, 7, 3),
        "words": np.where(s > 2, "above", "below"),
        "bools": s > 2,
        "three": np.digitize(s, [1.3, 2.7]),
        "several": np.column_stack([s > 2, X[:, 1] > 1, X[:, 2] > 0.5]).astype(int),
    }
    return X, labels[kind]


def assert_same(ours: Any, theirs: Any, X: Any) -> None:
    assert ours.fit_backend_ == "manyfit"
    assert_array_equal(ours.classes_, theirs.classes_)
    for name in ("coef_", "intercept_", "alpha_", "best_score_", "cv_results_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
        if hasattr(ours, name):
            assert np.shape(getattr(ours, name)) == np.shape(getattr(theirs, name)), name
            assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7, atol=1e-8, err_msg=name)
    assert_allclose(ours.decision_function(X), theirs.decision_function(X), rtol=1e-7, atol=1e-8)
    predicted, expected = ours.predict(X), theirs.predict(X)
    assert predicted.dtype == expected.dtype
    assert_array_equal(predicted, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d"), [(80, 5), (30, 50)])
def test_classifier_as_scikit_learn(n: int, d: int, kind: str) -> None:
    X, y = make(kind, n, d)
    for weights in (None, np.random.default_rng(1).uniform(0.1, 3.0, n)):
        for settings in (
            {"alpha": 0.1},
            {"fit_intercept": False},
            {"class_weight": "balanced"},
            {"positive": True, "tol": 1e-10} if n > d else {"solver": "svd"},
        ):
            made = [
                cls(**settings).fit(X, y, weights) for cls in (RidgeClassifier, linear_model.RidgeClassifier)
            ]
            if "positive" in settings:  # scikit-learn iterates
                assert_allclose(made[0].coef_, made[1].coef_, atol=1e-4)
            else:
                assert_same(*made, X)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d"), [(80, 5), (30, 50)])
def test_choice_as_scikit_learn(n: int, d: int, kind: str) -> None:
    X, y = make(kind, n, d)
    for weights in (None, np.random.default_rng(1).uniform(0.1, 3.0, n)):
        for settings in (
            {"store_cv_results": True},
            {"cv": 3},
            {"cv": KFold(3), "scoring": "f1_macro"},
            {"fit_intercept": False},
            {"class_weight": "balanced"},
            {"class_weight": "balanced", "cv": 3},
        ):
            if kind == "several" and "class_weight" in settings:
                continue
            made = [
                cls(ALPHAS, **settings).fit(X, y, weights)
                for cls in (RidgeClassifierCV, linear_model.RidgeClassifierCV)
            ]
            assert_same(*made, X)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_rows_left_out(kind: str) -> None:
    """A scorer is asked about the labels that fits without each row predict."""
    X, y = make(kind, 40)
    model = RidgeClassifierCV(ALPHAS, scoring="accuracy").fit(X, y)
    scores = []
    for alpha in ALPHAS:
        predicted = np.concatenate(
            [
                RidgeClassifier(alpha).fit(np.delete(X, i, 0), np.delete(y, i, 0)).predict(X[i : i + 1])
                for i in range(40)
            ]
        )
        scores.append(accuracy_score(y, predicted))
    assert model.alpha_ == ALPHAS[int(np.argmax(scores))]
    assert model.best_score_ == pytest.approx(max(scores))


def test_class_weights_by_name() -> None:
    X, y = make("words")
    given = {"above": 3.0, "below": 0.5}
    weights = np.where(y == "above", 3.0, 0.5)
    for cls in (RidgeClassifier, RidgeClassifierCV):
        assert_allclose(cls(class_weight=given).fit(X, y).coef_, cls().fit(X, y, weights).coef_, rtol=1e-9)


@pytest.mark.parametrize("estimator", [RidgeClassifier(), RidgeClassifierCV(ALPHAS), RidgeClassifierCV(cv=3)])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1.0, 1: 2.0, 2: 0.5}], ids=str)
def test_splits_without_a_class(estimator: Any, class_weight: Any) -> None:
    """A split whose rows lack a class knows only the others."""
    X, y = make("three")
    without = np.flatnonzero(y != 1)
    pairs = [(without, np.flatnonzero(y == 1)), (np.arange(0, 80, 2), np.arange(1, 80, 2))]
    estimator = type(estimator)(**{**estimator.get_params(), "class_weight": class_weight})
    models = mf.fit_many(estimator, X, y, cv=pairs)
    for k, (train, _) in enumerate(pairs):
        if isinstance(class_weight, dict) and k == 0:
            continue
        alone = type(estimator)(**estimator.get_params()).fit(X[train], y[train])
        assert_array_equal(models[k].classes_, alone.classes_)
        assert_allclose(models[k].coef_, alone.coef_, rtol=1e-9, atol=1e-12)
    assert len(models[0].classes_) == 2


def test_one_class() -> None:
    X, _ = make("two")
    y = np.full(80, "only")
    for cls in (RidgeClassifier, RidgeClassifierCV):
        assert set(cls().fit(X, y).predict(X)) == {"only"}


def test_labels_refused() -> None:
    X, y = make("three")
    with pytest.raises(ValueError, match="Multioutput target data is not supported"):
        RidgeClassifier().fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="Unknown label type"):
        RidgeClassifier().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="RidgeClassifier: alpha must be >= 0, got -1"):
        RidgeClassifier(-1.0).fit(X, y)
    with pytest.raises(
        ValueError, match="RidgeClassifier: solver='lbfgs' can be used only when positive=True"
    ):
        RidgeClassifier(solver="lbfgs").fit(X, y)


def test_work_is_shared() -> None:
    X, y = make("three")
    params = [{"alpha": alpha} for alpha in ALPHAS]
    assert mf.fit_many(RidgeClassifier(), X, y, params, cv=4).plan == "12 fits, 1 pass over X (fold Gram)"
    data = mf.Dataset(X, y)
    RidgeClassifierCV(ALPHAS, cv=5).fit(data)
    assert data.passes == ["fold Gram"]


def test_sparse_runs_in_scikit_learn() -> None:
    for kind in ("three", "several"):
        X, y = make(kind)
        for cls in (RidgeClassifier, RidgeClassifierCV):
            model = cls().fit(scipy.sparse.csr_matrix(X), y)
            assert model.fit_backend_ == "scikit-learn"
            assert_array_equal(model.predict(X), cls().fit(X, y).predict(X))


@pytest.mark.parametrize("kind", KINDS)
def test_saved(tmp_path: Any, kind: str) -> None:
    X, y = make(kind)
    for estimator in (RidgeClassifier(), RidgeClassifierCV(ALPHAS, store_cv_results=True)):
        mf.save(estimator.fit(X, y), tmp_path / "model")
        loaded: Any = mf.load(tmp_path / "model")
        assert_array_equal(loaded.predict(X), estimator.predict(X))
        loaded.classes_ = np.arange(9)
        with pytest.raises(ValueError, match="classes_ must belong to"):
            loaded._check_loaded()
