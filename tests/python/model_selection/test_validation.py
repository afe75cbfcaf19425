"""Cross-validation functions: answers of scikit-learn's, from shared work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import model_selection as sk
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import FitFailedWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from manyfit import model_selection as ours
from manyfit.linear_model import Lasso, LogisticRegression, Ridge, RidgeClassifier

X, y = make_regression(n_samples=100, n_features=5, noise=10.0, random_state=0)
XC, yc = make_classification(n_samples=120, n_features=6, n_informative=4, n_classes=3, random_state=0)
LABELS = np.array(["b", "c", "a"])[yc]

ESTIMATORS = [Ridge(), Lasso(tol=1e-10), SVR(), make_pipeline(StandardScaler(), Ridge())]
CLASSIFIERS = [LogisticRegression(tol=1e-10), RidgeClassifier(), SVC()]


def named(estimator: Any) -> str:
    return type(estimator).__name__


def assert_close(ours: Any, theirs: Any) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=named)
@pytest.mark.parametrize("scoring", [None, "neg_mean_absolute_error", ["r2", "neg_max_error"]])
def test_cross_validate(estimator: Any, scoring: Any) -> None:
    options: dict[str, Any] = {"scoring": scoring, "cv": sk.ShuffleSplit(4, random_state=0)}
    options |= {"return_train_score": True, "return_estimator": True, "return_indices": True}
    mine = ours.cross_validate(estimator, X, y, **options)
    other = sk.cross_validate(estimator, X, y, **options)
    assert mine.keys() == other.keys()
    for key in other:
        if key.startswith(("test_", "train_")):
            assert_close(mine[key], other[key])
    for part in ("train", "test"):
        for a, b in zip(mine["indices"][part], other["indices"][part], strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(mine["estimator"], other["estimator"], strict=True):
        assert_close(a.predict(X), b.predict(X))
        assert a.get_params().keys() == b.get_params().keys()


def test_cross_val_score_with_weights_and_groups() -> None:
    weights = np.random.default_rng(0).uniform(0.5, 2.0, 100)
    options = {"cv": sk.GroupKFold(3), "groups": np.arange(100) % 8, "params": {"sample_weight": weights}}
    mine = ours.cross_val_score(Ridge(), X, y, **options)
    assert_close(mine, sk.cross_val_score(Ridge(), X, y, **options))


@pytest.mark.parametrize("estimator", [*ESTIMATORS, Ridge(alpha=2.0)], ids=named)
def test_cross_val_predict(estimator: Any) -> None:
    cv = sk.KFold(4, shuffle=True, random_state=0)
    assert_close(ours.cross_val_predict(estimator, X, y, cv=cv), sk.cross_val_predict(estimator, X, y, cv=cv))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
@pytest.mark.parametrize("labels", [yc, LABELS], ids=["numbers", "strings"])
def test_cross_val_predict_of_classes(method: str, labels: Any) -> None:
    model = LogisticRegression(tol=1e-10)
    mine = ours.cross_val_predict(model, XC, labels, method=method, n_jobs=2)
    other = sk.cross_val_predict(model, XC, labels, method=method)
    if method == "predict":
        np.testing.assert_array_equal(mine, other)
    else:
        np.testing.assert_allclose(mine, other, rtol=1e-7, atol=1e-7)


def test_cross_val_predict_where_a_split_lacks_a_class() -> None:
    order = np.argsort(yc)
    for module in (ours, sk):
        with pytest.warns(RuntimeWarning, match="Number of classes in training fold"):
            module.cross_val_predict(
                LogisticRegression(), XC[order], yc[order], cv=sk.KFold(3), method="predict_proba"
            )
    with pytest.raises(ValueError, match="only works for partitions"):
        ours.cross_val_predict(Ridge(), X, y, cv=sk.ShuffleSplit(3))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=named)
def test_validation_curve(estimator: Any) -> None:
    prefix = "ridge__" if hasattr(estimator, "steps") else ""
    name = "C" if isinstance(estimator, SVR) else prefix + "alpha"
    options: dict[str, Any] = {"param_name": name, "param_range": [0.1, 1.0, 10.0], "cv": 3}
    for a, b in zip(
        ours.validation_curve(estimator, X, y, **options),
        sk.validation_curve(estimator, X, y, **options),
        strict=True,
    ):
        assert_close(a, b)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=named)
@pytest.mark.parametrize("shuffle", [False, True])
def test_learning_curve(estimator: Any, shuffle: bool) -> None:
    options: dict[str, Any] = {"cv": 3, "shuffle": shuffle, "random_state": 0, "train_sizes": [0.2, 0.5, 1.0]}
    mine = ours.learning_curve(estimator, X, y, return_times=True, **options)
    other = sk.learning_curve(estimator, X, y, return_times=True, **options)
    assert len(mine) == len(other) == 5
    for a, b in zip(mine[:3], other[:3], strict=True):
        assert_close(a, b)
    assert mine[3].shape == other[3].shape


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=named)
def test_stratified_by_default(estimator: Any) -> None:
    assert_close(ours.cross_val_score(estimator, XC, LABELS), sk.cross_val_score(estimator, XC, LABELS))


def test_failures() -> None:
    with pytest.raises(ValueError, match=r"All the 5 fits failed[\s\S]*alpha must be >= 0"):
        ours.cross_val_score(Ridge(alpha=-1.0), X, y)
    bad = X.copy()
    bad[0, 0] = np.inf  # the first split tests on it
    for module in (ours, sk):
        with (
            pytest.warns(FitFailedWarning, match="infinity"),
            pytest.warns(UserWarning, match="Scoring failed"),
        ):
            found = module.cross_validate(Ridge(), bad, y, error_score=-3.0)
        assert found["test_score"].tolist() == [-3.0] * 5
    with pytest.raises(ValueError, match="infinity"):
        ours.cross_val_score(Ridge(), bad, y, error_score="raise")
    with pytest.raises(ValueError, match="'scoring' parameter"):
        ours.cross_val_score(Ridge(), X, y, scoring="r3")
    with pytest.raises(ValueError, match="'method' parameter"):
        ours.cross_val_predict(Ridge(), X, y, method="guess")
    with pytest.raises(ValueError, match="did you mean 'alpha'"):
        ours.validation_curve(Ridge(), X, y, param_name="aplha", param_range=[1.0])
