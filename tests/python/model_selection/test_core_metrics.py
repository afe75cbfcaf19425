"""Scores of populations on left-out rows equal those of scikit-learn's scorers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer, mean_pinball_loss, roc_auc_score
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold

import manyfit as mf
from manyfit.base import Job
from manyfit.linear_model import (
    ElasticNet,
    GradientDescentClassifier,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    MultiTaskLasso,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
    _least_squares,
)
from manyfit.linear_model._left_out import left_out_models, roc_auc
from manyfit.splits import Splits

REGRESSION = ["r2", "neg_mean_squared_error", "neg_root_mean_squared_error"]


def regression(
    n: int = 300, d: int = 6, targets: int = 1, noise: float = 0.5, dtype: Any = float, offset: float = 0.0
) -> tuple[Any, Any]:
    random = np.random.default_rng(n + d + targets)
    X = random.normal(size=(n, d)) + offset
    Y = X @ random.normal(size=(d, targets)) + noise * random.normal(size=(n, targets)) * np.arange(
        1, targets + 1
    )
    return X.astype(dtype), (Y[:, 0] if targets == 1 else Y).astype(dtype)


def classification(n: int = 300, d: int = 5, classes: int = 2, dtype: Any = float) -> tuple[Any, Any]:
    random = np.random.default_rng(n + d + classes)
    X = random.normal(size=(n, d))
    scores = X @ random.normal(size=(d, classes)) + random.normal(size=(n, classes))
    return X.astype(dtype), np.array(["b", "a", "d", "c", "e"])[scores.argmax(axis=1)]


def population(
    models: list[Any], X: Any, y: Any, cv: Any, weights: Any = None
) -> tuple[list[Job], mf.Dataset, Splits]:
    splits = Splits(len(X), cv.split(X, y))
    dataset = mf.Dataset(X, y, weights)
    jobs = [Job(type(model)(**model.get_params()), split) for model in models for split in range(len(splits))]
    type(models[0])._train(jobs, dataset, splits)
    return jobs, dataset, splits


def naive(jobs: list[Job], X: Any, y: Any, splits: Splits, metric: str, weights: Any = None) -> Any:
    """scikit-learn's scorer on every model and its rows."""
    scorer = (
        (lambda model, *rows, **more: model.score(*rows, **more)) if metric == "score" else get_scorer(metric)
    )
    scores = []
    for model, split in jobs:
        rows = splits.test_rows(split)
        more = {} if weights is None else {"sample_weight": weights[rows]}
        scores.append(scorer(model, X[rows], y[rows], **more))
    return np.array(scores)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("metric", [*REGRESSION, "score"])
@pytest.mark.parametrize(
    "model", [Ridge(), LinearRegression(), Lasso(0.01), ElasticNet(0.01)], ids=lambda m: type(m).__name__
)
def test_regression(model: Any, metric: str, targets: int, weighted: bool) -> None:
    X, y = regression(targets=targets)
    weights = np.random.default_rng(0).integers(0, 4, len(X)).astype(float) if weighted else None
    for cv in (KFold(4), ShuffleSplit(5, test_size=0.3, random_state=0)):
        jobs, dataset, splits = population([model], X, y, cv, weights)
        scores = type(model)._score_population(jobs, dataset, splits, metric)
        np.testing.assert_allclose(scores, naive(jobs, X, y, splits, metric, weights), rtol=1e-9)
        assert dataset.passes == ["fold Gram"]


@pytest.mark.parametrize("metric", REGRESSION)
def test_targets_fitted_together(metric: str) -> None:
    X, y = regression(targets=3)
    jobs, dataset, splits = population([MultiTaskLasso(0.1)], X, y, KFold(3))
    scores = MultiTaskLasso._score_population(jobs, dataset, splits, metric)
    np.testing.assert_allclose(scores, naive(jobs, X, y, splits, metric), rtol=1e-9)


@pytest.mark.parametrize("metric", REGRESSION)
@pytest.mark.parametrize("offset", [0.0, 1e5])
@pytest.mark.parametrize("noise", [1e-2, 1e-5, 1e-8, 0.0])
def test_residuals_far_smaller_than_the_target(
    noise: float, offset: float, metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the quadratic form would lose digits, the rows are asked."""
    asked: list[Any] = []
    of_rows = _least_squares._errors_of_rows
    monkeypatch.setattr(_least_squares, "_errors_of_rows", lambda *args: asked.append(args) or of_rows(*args))
    X, y = regression(n=400, noise=noise, offset=offset)
    jobs, dataset, splits = population([Ridge(alpha=a) for a in (1e-12, 1e-3, 10.0)], X, y, KFold(4))
    scores = Ridge._score_population(jobs, dataset, splits, metric)
    expected = naive(jobs, X, y, splits, metric)
    # What is only rounding of the answers themselves has no digits to compare.
    rounding = np.finfo(float).eps * 16 * (np.abs(y).max() + 4 * offset)
    atol = {"r2": 1e-13, "neg_root_mean_squared_error": rounding}.get(
        metric, rounding * (2 * np.sqrt(np.abs(expected)) + rounding)
    )
    assert (np.abs(scores - expected) <= 1e-9 * np.abs(expected) + atol).all()
    if metric != "r2" and not offset:
        assert bool(asked) == (noise <= 1e-5)


def test_targets_that_are_constant_where_they_are_tested() -> None:
    """Their squares about the mean are nothing but rounding of the moments."""
    X, y = regression(n=200)
    y[:50] = 0.1 + y[50:].mean()
    jobs, dataset, splits = population([Ridge()], X, y, KFold(4))
    scores = Ridge._score_population(jobs, dataset, splits, "r2")
    np.testing.assert_allclose(scores, naive(jobs, X, y, splits, "r2"), rtol=1e-9)


@pytest.mark.parametrize("metric", REGRESSION)
def test_single_precision(metric: str) -> None:
    for noise in (0.5, 1e-3):
        X, y = regression(dtype=np.float32, noise=noise)
        jobs, dataset, splits = population([Ridge(), Ridge(alpha=1e-3)], X, y, KFold(4))
        scores = Ridge._score_population(jobs, dataset, splits, metric)
        assert scores is not None
        np.testing.assert_allclose(scores, naive(jobs, X, y, splits, metric), rtol=2e-4)


def test_rows_of_no_weight_are_left_to_the_scorer() -> None:
    X, y = regression(n=90)
    weights = np.ones(90)
    weights[:30] = 0
    jobs, dataset, splits = population([Ridge()], X, y, KFold(3), weights)
    assert Ridge._score_population(jobs, dataset, splits, "neg_mean_squared_error") is None


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("metric", ["score", "accuracy", "neg_log_loss", "roc_auc"])
@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        RidgeClassifier(),
        SGDClassifier(random_state=0),
        Perceptron(random_state=0),
        GradientDescentClassifier(max_iter=30, tol=0),
    ],
    ids=lambda m: type(m).__name__,
)
def test_classification(model: Any, metric: str, classes: int, weighted: bool) -> None:
    X, y = classification(classes=classes)
    weights = np.random.default_rng(0).integers(0, 4, len(X)).astype(float) if weighted else None
    jobs, dataset, splits = population([model], X, y, StratifiedKFold(3), weights)
    scores = type(model)._score_population(jobs, dataset, splits, metric)
    if scores is None:
        assert metric in ("neg_log_loss", "roc_auc")
        assert classes > 2 if metric == "roc_auc" else not isinstance(model, LogisticRegression)
        return
    np.testing.assert_allclose(scores, naive(jobs, X, y, splits, metric, weights), rtol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_area_under_the_curve(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(2, 300))
    positive = random.permutation(np.arange(n) < random.integers(1, n))
    for scores in (random.normal(size=n), np.round(random.normal(size=n), 1), np.zeros(n)):
        for dtype in (np.float32, np.float64):
            for weights in (None, random.uniform(0.1, 2, n), random.integers(0, 3, n) + 1e-3):
                expected = roc_auc_score(positive, scores.astype(dtype), sample_weight=weights)
                assert roc_auc(positive, scores.astype(dtype), weights) == pytest.approx(expected, rel=1e-12)
    scores[0] = np.nan
    assert np.isnan(roc_auc(positive, scores))


def test_area_under_the_curve_of_one_class_is_left_to_the_scorer() -> None:
    X, y = classification()
    order = np.argsort(y)
    jobs, dataset, splits = population([RidgeClassifier()], X[order], y[order], KFold(3, shuffle=True))
    assert RidgeClassifier._score_population(jobs, dataset, splits, "roc_auc") is not None
    y = np.where(np.arange(len(y)) < 100, "a", y)
    jobs, dataset, splits = population([RidgeClassifier()], X, y, KFold(3))
    assert RidgeClassifier._score_population(jobs, dataset, splits, "roc_auc") is None


def test_classes_that_a_split_lacks() -> None:
    X, y = classification(classes=3)
    order = np.argsort(y)
    X, y = X[order], y[order]
    jobs, dataset, splits = population([RidgeClassifier()], X, y, KFold(3))
    scores = RidgeClassifier._score_population(jobs, dataset, splits, "accuracy")
    np.testing.assert_allclose(scores, naive(jobs, X, y, splits, "accuracy"))
    jobs, dataset, splits = population([LogisticRegression()], X, y, KFold(4))
    assert LogisticRegression._score_population(jobs, dataset, splits, "neg_log_loss") is None


def applicable(metric: str, kind: str, classes: int) -> bool:
    if kind == "regression":
        names = ("r2", "explained_variance", "max_error", "d2_absolute_error_score")
        return metric in names or (metric.startswith("neg_") and metric.endswith("_error"))
    if classes == 2:
        return metric in (
            "roc_auc", "average_precision", "f1", "precision", "recall", "jaccard", "balanced_accuracy",
            "matthews_corrcoef", "neg_log_loss", "neg_brier_score", "accuracy", "f1_macro",
        )  # fmt: skip
    return metric in (
        "balanced_accuracy",
        "f1_macro",
        "roc_auc_ovr",
        "roc_auc_ovo_weighted",
        "accuracy",
        "neg_log_loss",
    )


@pytest.mark.parametrize(
    "model",
    [
        Ridge(),
        Lasso(0.01),
        HuberRegressor(),
        SGDRegressor(random_state=0),
        PoissonRegressor(),
        LogisticRegression(),
        RidgeClassifier(),
        SGDClassifier(loss="log_loss", random_state=0),
        SGDClassifier(loss="modified_huber", random_state=0),
        Perceptron(random_state=0),
        GradientDescentClassifier(max_iter=30, tol=0),
    ],
    ids=lambda m: type(m).__name__,
)  # fmt: skip
def test_models_that_know_their_answers(model: Any) -> None:
    """All metrics of scikit-learn, on answers that were computed for all models at once."""
    is_classifier = hasattr(model, "classes_") or hasattr(type(model), "decision_function")
    for classes in (2, 3) if is_classifier else (1,):
        X, y = classification(classes=classes) if is_classifier else regression()
        if not is_classifier:
            y = np.abs(y)
        if is_classifier and classes == 2:
            y = (y == "a").astype(int)
        weights = np.random.default_rng(0).uniform(0.5, 2, len(X))
        jobs, dataset, splits = population([model] * 2, X, y, KFold(3))
        metrics = [
            m
            for m in get_scorer_names()
            if applicable(m, "classes" if is_classifier else "regression", classes)
        ]
        scorers: dict[str, Any] = {name: get_scorer(name) for name in metrics}
        scorers["score"] = lambda model, *rows, **more: model.score(*rows, **more)
        if not is_classifier:
            scorers["pinball"] = make_scorer(mean_pinball_loss, alpha=0.9, greater_is_better=False)
        found = left_out_models(jobs, dataset, splits)
        assert found is not None
        seen = []
        for b, known in found:
            seen.append(b)
            rows = splits.test_rows(jobs[b].split)
            nothing = np.empty((len(rows), 0))
            for name, scorer in scorers.items():
                needs = name.startswith(("neg_log", "neg_brier", "roc_auc_ov"))
                if needs and not hasattr(known, "predict_proba"):
                    continue
                for more in ({}, {"sample_weight": weights[rows]}):
                    if more and name in ("neg_max_error", "roc_auc_ovo_weighted"):
                        continue
                    answer = scorer(known, nothing, y[rows], **more)
                    expected = scorer(jobs[b].estimator, X[rows], y[rows], **more)
                    np.testing.assert_allclose(answer, expected, rtol=1e-9, err_msg=name)
        assert sorted(seen) == list(range(len(jobs)))
        with pytest.raises(ValueError, match="rows left out"):
            known.predict(X[:1])


def test_models_that_know_their_answers_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manyfit.linear_model._left_out.BLOCK", 250)
    X, y = regression(targets=2)
    jobs, dataset, splits = population(
        [Ridge(a) for a in (0.1, 1.0, 10.0, 100.0)], X, y, KFold(3, shuffle=True)
    )
    found = left_out_models(jobs, dataset, splits)
    assert found is not None
    for b, known in found:
        rows = splits.test_rows(jobs[b].split)
        np.testing.assert_allclose(known.predict(X[rows]), jobs[b].estimator.predict(X[rows]), rtol=1e-12)


def test_only_linear_models_know_their_answers() -> None:
    X, y = regression()
    _, dataset, splits = population([Ridge()], X, y, KFold(3))
    assert left_out_models([Job(mf.linear_model.Ridge(), 0)], dataset, splits) is None
