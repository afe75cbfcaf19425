"""Pipelines fitted in Gram space equal scikit-learn's pipelines fitted split by split."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import linear_model
from sklearn.base import clone
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.metrics import check_scoring, get_scorer, make_scorer, mean_pinball_loss
from sklearn.metrics._scorer import _check_multimetric_scoring, _MultimetricScorer
from sklearn.model_selection import GridSearchCV, KFold, ParameterGrid, ShuffleSplit
from sklearn.pipeline import FunctionTransformer, Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PolynomialFeatures, StandardScaler

from manyfit.decomposition import PCA
from manyfit.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    MultiTaskElasticNet,
    Ridge,
    RidgeCV,
)
from manyfit.model_selection import _gram_space
from manyfit.model_selection._evaluator import Evaluator
from manyfit.model_selection._gram_space import evaluate_in_gram_space, gram_space_reason

METRICS = ["r2", "neg_mean_squared_error", "neg_mean_absolute_error"]


def problem(n: int = 240, d: int = 8, targets: int = 1, dtype: Any = float, seed: int = 0) -> tuple[Any, Any]:
    """Correlated columns of all sizes, far from zero."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, d)) @ (np.eye(d) + 0.4 * random.normal(size=(d, d)))
    Y = X @ random.normal(size=(d, targets)) + random.normal(size=(n, targets)) + 3
    X = X * np.logspace(-2, 2, d) + 10 * np.arange(d)
    return X.astype(dtype), (Y[:, 0] if targets == 1 else Y).astype(dtype)


def scorer_of(pipeline: Any, metrics: Any) -> Any:
    if not isinstance(metrics, list):
        return check_scoring(pipeline, metrics)
    return _MultimetricScorer(scorers=_check_multimetric_scoring(pipeline, metrics), raise_exc=True)


def evaluator_of(
    pipeline: Any, X: Any, y: Any, cv: Any = None, metrics: Any = None, **options: Any
) -> Evaluator:
    cv = KFold(4, shuffle=True, random_state=0) if cv is None else cv
    splits = list(cv.split(X)) if hasattr(cv, "split") else cv
    return Evaluator(pipeline, X, y, splits, scorer_of(pipeline, metrics or METRICS), **options)


def evaluate(evaluator: Evaluator, pipelines: list[Any]) -> Any:
    for pipeline in pipelines:
        assert gram_space_reason(evaluator, pipeline) == ""
    return evaluate_in_gram_space(evaluator, pipelines, range(len(evaluator.splits)))


def expect_same(
    pipeline: Any, X: Any, y: Any, cv: Any = None, rtol: float = 1e-9, metrics: Any = None
) -> None:
    """Scores, models and steps of every split, against the pipeline fitted on the split's rows."""
    evaluator = evaluator_of(pipeline, X, y, cv, metrics, return_train_score=True, return_estimator=True)
    row = evaluate(evaluator, [pipeline])[0]
    assert row is not None
    for (train, test), evaluation in zip(evaluator.splits, row, strict=True):
        model = clone(pipeline).fit(X[train], y[train])
        for rows, name in ((test, "test_scores"), (train, "train_scores")):
            expected = evaluator.scorer(model, X[rows], y[rows])
            for metric, value in expected.items():
                np.testing.assert_allclose(evaluation[name][metric], value, rtol=rtol, err_msg=metric)
        assert evaluation["n_test_samples"] == len(test)
        assert evaluation["fit_error"] is None
        found = evaluation["estimator"]
        size = np.abs(y).max()
        np.testing.assert_allclose(found.predict(X), model.predict(X), rtol=0, atol=rtol * size)
        expect_same_attributes(found, model, max(rtol, 1e-9))


def expect_same_attributes(found: Pipeline, expected: Pipeline, rtol: float) -> None:
    for (_, step), (_, other) in zip(found.steps, expected.steps, strict=True):
        if step in (None, "passthrough"):
            continue
        assert type(step) is type(other)
        names = {name for name in vars(other) if name.endswith("_") and not name.startswith("__")}
        assert names <= vars(step).keys()
        for name in names - {"n_iter_", "dual_gap_", "eps_"}:
            value, right = getattr(step, name), getattr(other, name)
            if right is None or isinstance(right, str):
                assert value == right, name
                continue
            assert np.shape(value) == np.shape(right), name
            assert np.asarray(value).dtype.kind == np.asarray(right).dtype.kind, name
            if name == "coef_":  # in a space whose directions may point either way
                value, right = np.abs(value), np.abs(right)
            size = np.abs(np.asarray(right, dtype=float)).max(initial=0)
            np.testing.assert_allclose(value, right, rtol=rtol, atol=10 * rtol * size + 1e-12, err_msg=name)


STEPS = {
    "standard": [StandardScaler()],
    "no mean": [StandardScaler(with_mean=False)],
    "no deviation": [StandardScaler(with_std=False)],
    "neither": [StandardScaler(with_mean=False, with_std=False)],
    "range": [MinMaxScaler()],
    "another range": [MinMaxScaler((-3.0, 0.5))],
    "largest": [MaxAbsScaler()],
    "components": [PCA(3)],
    "all components": [StandardScaler(), PCA()],
    "theirs": [StandardScaler(), SklearnPCA(4)],
    "a share": [StandardScaler(), SklearnPCA(0.8)],
    "our share": [StandardScaler(), PCA(0.8)],
    "by likelihood": [StandardScaler(), SklearnPCA("mle", svd_solver="full")],
    "full": [StandardScaler(), SklearnPCA(4, svd_solver="full")],
    "covariance": [StandardScaler(), SklearnPCA(4, svd_solver="covariance_eigh")],
    "white": [StandardScaler(), PCA(4, whiten=True)],
    "white theirs": [MinMaxScaler(), SklearnPCA(whiten=True)],
    "ranges of scaled": [StandardScaler(), MinMaxScaler()],
    "largest of scaled": [MinMaxScaler((-2, 1)), MaxAbsScaler()],
    "scaled components": [MaxAbsScaler(), PCA(5), StandardScaler()],
    "twice": [StandardScaler(), PCA(6), StandardScaler(with_std=False), SklearnPCA(3)],
    "nothing between": [StandardScaler(), "passthrough", None, PCA(2)],
}
MODELS = {
    "least squares": LinearRegression(),
    "ridge": Ridge(alpha=2.0),
    "ridge without intercept": Ridge(alpha=2.0, fit_intercept=False),
    "positive ridge": Ridge(positive=True),
    "lasso": Lasso(alpha=0.05),
    "elastic net": ElasticNet(alpha=0.05),
    "several targets": Ridge(alpha=[0.5, 2.0]),
    "targets together": MultiTaskElasticNet(alpha=0.05),
}


def pipeline_of(steps: list[Any], model: Any) -> Pipeline:
    return clone(make_pipeline(*steps, model))


@pytest.mark.parametrize("steps", list(STEPS))
@pytest.mark.parametrize("model", list(MODELS))
def test_same_as_fitting_the_pipeline(steps: str, model: str) -> None:
    X, y = problem(targets=2 if "target" in model else 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expect_same(pipeline_of(STEPS[steps], MODELS[model]), X, y)


@pytest.mark.parametrize("seed", range(12))
def test_any_steps_splits_and_shapes(seed: int) -> None:
    random = np.random.default_rng(seed)
    n, d = int(random.integers(60, 400)), int(random.integers(2, 20))
    X, y = problem(n, d, seed=seed)
    if random.uniform() < 0.3:
        X[:, 0] = X[0, 0]  # a constant column
    if random.uniform() < 0.3:
        X = np.asfortranarray(X)
    scaler = [StandardScaler(), MinMaxScaler(), MaxAbsScaler(), StandardScaler(with_mean=False)][
        random.integers(4)
    ]
    # Of a constant column no component is left.
    components = [[], [PCA(int(random.integers(1, d)))], [SklearnPCA(0.9, whiten=True)]][random.integers(3)]
    model = [Ridge(alpha=float(random.uniform(0.1, 9))), Lasso(alpha=0.03)][random.integers(2)]
    cv = [
        KFold(3),
        KFold(5, shuffle=True, random_state=seed),
        ShuffleSplit(4, test_size=0.3, random_state=seed),
    ]
    expect_same(pipeline_of([scaler, *components], model), X, y, cv[random.integers(3)], metrics=METRICS)


def test_splits_that_overlap_and_repeat_rows() -> None:
    X, y = problem()
    random = np.random.default_rng(1)
    splits = [(random.integers(0, len(X), 150), random.permutation(len(X))[:60]) for _ in range(3)]
    splits.append((np.arange(100), np.arange(50, 150)))
    for steps in ([StandardScaler()], [MinMaxScaler(), PCA(3)]):
        expect_same(pipeline_of(steps, Ridge()), X, y, splits)


@pytest.mark.parametrize("steps", [[StandardScaler()], [MinMaxScaler()], [StandardScaler(), PCA(3)]])
def test_single_precision(steps: list[Any]) -> None:
    X, y = problem(dtype=np.float32)
    pipeline = pipeline_of(steps, Ridge())
    evaluator = evaluator_of(pipeline, X, y, return_estimator=True)
    row = evaluate(evaluator, [pipeline])[0]
    exact = evaluate(evaluator_of(pipeline, X.astype(float), y.astype(float)), [pipeline])[0]
    for (train, test), single, double in zip(evaluator.splits, row, exact, strict=True):
        theirs = evaluator.scorer(clone(pipeline).fit(X[train], y[train]), X[test], y[test])
        assert single["estimator"][-1].coef_.dtype == np.float32
        for metric in METRICS:
            np.testing.assert_allclose(
                single["test_scores"][metric], double["test_scores"][metric], rtol=2e-5
            )
            np.testing.assert_allclose(single["test_scores"][metric], theirs[metric], rtol=1e-3)


def test_one_search_over_everything() -> None:
    """Against GridSearchCV, with steps that are shared, exchanged and left out."""
    X, y = problem()
    pipeline = Pipeline([("scale", StandardScaler()), ("pca", PCA()), ("model", Ridge())])
    grid = [
        {"pca__n_components": [2, 3, 0.9, None], "model__alpha": [0.1, 10.0]},
        {
            "pca": ["passthrough"],
            "scale": [MinMaxScaler(), MaxAbsScaler()],
            "model": [Lasso(0.05), LinearRegression()],
        },
    ]
    candidates = list(ParameterGrid(grid))
    cv = KFold(3)
    evaluator = evaluator_of(pipeline, X, y, cv)
    pipelines = [clone(pipeline).set_params(**clone(entry, safe=False)) for entry in candidates]
    rows = evaluate(evaluator, pipelines)
    search = GridSearchCV(pipeline, grid, cv=cv, scoring=METRICS, refit=False).fit(X, y)
    for metric in METRICS:
        scores = np.array([[evaluation["test_scores"][metric] for evaluation in row] for row in rows])
        expected = np.column_stack([search.cv_results_[f"split{k}_test_{metric}"] for k in range(3)])
        np.testing.assert_allclose(scores, expected, rtol=1e-9)
    assert evaluator.dataset.passes == ["fold Gram", "column ranges"]
    # Of each split: three scalers, and four numbers of components.
    assert evaluator.plan.steps == {"StandardScaler": 3, "PCA": 12, "MinMaxScaler": 3, "MaxAbsScaler": 3}
    assert evaluator.plan.fits == 3 * len(candidates)
    assert evaluator.plan.passes == 2


def test_a_single_decomposition_serves_all_numbers_of_components(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = problem()
    pipelines = [pipeline_of([StandardScaler(), PCA(k)], Ridge(a)) for k in (1, 2, 5) for a in (0.1, 1.0)]
    calls: list[Any] = []
    decompose = _gram_space.Components
    monkeypatch.setattr(_gram_space, "Components", lambda *args: calls.append(args) or decompose(*args))
    evaluate(evaluator_of(pipelines[0], X, y), pipelines)
    assert len(calls) == 4


@pytest.mark.parametrize("scored", [False, True])
def test_weights_of_the_last_step(scored: bool) -> None:
    X, y = problem()
    weights = np.random.default_rng(0).integers(0, 4, len(X)).astype(float)
    pipeline = pipeline_of([StandardScaler(), PCA(5)], Ridge())
    evaluator = evaluator_of(
        pipeline,
        X,
        y,
        return_train_score=True,
        fit_params={"ridge__sample_weight": weights},
        score_params={"sample_weight": weights} if scored else {},
    )
    row = evaluate(evaluator, [pipeline])[0]
    for (train, test), evaluation in zip(evaluator.splits, row, strict=True):
        model = clone(pipeline).fit(X[train], y[train], ridge__sample_weight=weights[train])
        for rows, name in ((test, "test_scores"), (train, "train_scores")):
            more = {"sample_weight": weights[rows]} if scored else {}
            for metric in METRICS:
                expected = get_scorer(metric)(model, X[rows], y[rows], **more)
                np.testing.assert_allclose(evaluation[name][metric], expected, rtol=1e-9)


def test_scorers_of_all_kinds() -> None:
    X, y = problem()
    pipeline = pipeline_of([StandardScaler()], Ridge())
    pinball = make_scorer(mean_pinball_loss, alpha=0.9, greater_is_better=False)
    for metrics in (None, "r2", "neg_root_mean_squared_error", "explained_variance", pinball):
        cv = list(KFold(3).split(X))
        evaluator = Evaluator(pipeline, X, y, cv, check_scoring(pipeline, metrics))
        row = evaluate(evaluator, [pipeline])[0]
        for (train, test), evaluation in zip(cv, row, strict=True):
            model = clone(pipeline).fit(X[train], y[train])
            expected = evaluator.scorer(model, X[test], y[test])
            np.testing.assert_allclose(evaluation["test_scores"], expected, rtol=1e-9)


def test_frames_and_lists_of_names() -> None:
    X, y = problem()
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])
    pipeline = pipeline_of([StandardScaler(), PCA(2)], Ridge())
    evaluator = evaluator_of(pipeline, frame, pd.Series(y), KFold(3), return_estimator=True)
    for (train, _), evaluation in zip(evaluator.splits, evaluate(evaluator, [pipeline])[0], strict=True):
        model = clone(pipeline).fit(frame.iloc[train], y[train])
        found = evaluation["estimator"]
        assert list(found.feature_names_in_) == list(frame.columns)
        np.testing.assert_allclose(found.predict(frame), model.predict(frame), rtol=1e-9)


# --- guards ---


def rows_asked(pipeline: Any, X: Any, y: Any, rtol: float = 1e-7) -> bool:
    """Whether rows were transformed for a fit whose scores are those of the pipeline."""
    evaluator = evaluator_of(pipeline, X, y, metrics="r2")
    row = evaluate(evaluator, [pipeline])[0]
    assert row is not None
    for (train, test), evaluation in zip(evaluator.splits, row, strict=True):
        expected = clone(pipeline).fit(X[train], y[train]).score(X[test], y[test])
        np.testing.assert_allclose(evaluation["test_scores"], expected, rtol=rtol)
    return "transformed rows" in evaluator.dataset.passes


def test_dependent_columns_are_factored_from_rows() -> None:
    X, y = problem()
    pipeline = pipeline_of([StandardScaler()], LinearRegression())
    assert not rows_asked(pipeline, X, y)
    random = np.random.default_rng(0)
    for noise in (1e-5, 1e-7):
        twins = np.column_stack([X, X[:, 0] + noise * random.normal(size=len(X))])
        assert rows_asked(pipeline, twins, y)
    assert rows_asked(pipeline, np.column_stack([X, X[:, 0]]), y)


def test_constant_columns_have_scale_one() -> None:
    X, y = problem()
    for value in (0.0, 0.1, 1e10):
        X[:, 2] = value
        for scaler in (StandardScaler(), MinMaxScaler(), StandardScaler(with_mean=False)):
            expect_same(pipeline_of([scaler], Ridge()), X, y)


def refused(pipeline: Any, X: Any, y: Any, cv: Any = None) -> bool:
    return evaluate(evaluator_of(pipeline, X, y, cv), [pipeline])[0] is None


def test_what_moments_cannot_tell_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = problem()
    standard, reduced = (
        pipeline_of([StandardScaler()], Ridge()),
        pipeline_of([StandardScaler(), PCA(3)], Ridge()),
    )
    # Constant where it is trained on, but not elsewhere.
    stuck = X.copy()
    stuck[:, 1] = np.where(np.arange(len(X)) < len(X) // 4, np.arange(len(X)), 1 / 3)
    assert refused(standard, stuck, y, KFold(4))
    # Far from zero.
    far = X + 1e9
    assert refused(standard, far, y)
    # So near constant that scikit-learn's rule hangs on rounding.
    monkeypatch.setitem(_gram_space.MOST_OFFSET, "float64", np.inf)
    near = X.copy()
    near[:, 1] = 1e6 * (1 + 180 * 2e-16 * np.random.default_rng(0).choice([-1, 1], len(X)) * 1.1)
    assert refused(standard, near, y)
    # The third and the fourth component are not told from each other.
    alike = np.linalg.qr(np.random.default_rng(0).normal(size=(300, 5)))[0]
    alike = np.vstack([alike - alike.mean(axis=0)] * 4)
    alike = np.linalg.qr(alike)[0] * np.array([5.0, 4.0, 1.0, 1.0, 0.5])
    halves = [(np.arange(600), np.arange(600, 1200))]
    assert refused(pipeline_of([PCA(3)], Ridge()), alike, np.resize(y, 1200), halves)
    assert not refused(pipeline_of([PCA(4)], Ridge()), alike, np.resize(y, 1200), halves)
    # Columns mixed have no ranges, and 1e-12 of variance no digits.
    assert refused(pipeline_of([PCA(3), MinMaxScaler()], Ridge()), X, y)
    thin = np.column_stack([X, X[:, 0] + 1e-9 * np.arange(len(X))])
    assert refused(pipeline_of([StandardScaler(), PCA()], Ridge()), thin, y)
    # More components than columns: whoever fits it alone says so.
    assert refused(pipeline_of([PCA(99)], Ridge()), X, y)
    assert refused(pipeline_of([StandardScaler()], Ridge(alpha=-1.0)), X, y)
    assert refused(pipeline_of([MinMaxScaler((0, 1)), PCA("some")], Ridge()), X, y)
    assert not refused(reduced, X, y)
    X[3, 3] = np.nan
    assert refused(standard, X, y)


def test_refusals_are_of_one_candidate_alone() -> None:
    X, y = problem()
    pipelines = [pipeline_of([PCA(k)], Ridge()) for k in (2, 99, 3)]
    rows = evaluate(evaluator_of(pipelines[0], X, y), pipelines)
    assert [row is None for row in rows] == [False, True, False]


class OwnScaler(StandardScaler):  # type: ignore[misc]
    """A subclass may do anything."""


def test_reasons() -> None:
    X, y = problem()

    def reason(steps: list[Any], model: Any = None, X: Any = X, **options: Any) -> str:
        metrics = options.pop("metrics", None)
        pipeline = pipeline_of(steps, model or Ridge())
        return gram_space_reason(evaluator_of(pipeline, X, y, KFold(3), metrics, **options), pipeline)

    assert reason([StandardScaler()]) == ""
    assert "StandardScaler" not in reason([StandardScaler()])
    assert "not affine" in reason([OwnScaler()])
    assert "not affine" in reason([PolynomialFeatures()])
    assert "not affine" in reason([StandardScaler(), FunctionTransformer()])
    assert "clips" in reason([MinMaxScaler(clip=True)])
    assert "clips" in reason([MaxAbsScaler(clip=True)])
    assert "empty range" in reason([MinMaxScaler((1, 0))])
    assert "randomized" in reason([PCA(2, svd_solver="randomized")])
    assert "keeps nothing" in reason([PCA(0)])
    assert "no step" in reason(["passthrough"])
    assert "not fitted from a Gram" in reason([StandardScaler()], linear_model.Ridge())
    assert "not fitted from a Gram" in reason([StandardScaler()], HuberRegressor())
    assert "not fitted from a Gram" in reason([StandardScaler()], RidgeCV())
    assert "handed over" in reason([StandardScaler()], Lasso(precompute=X.T @ X))
    assert "fit takes" in reason(
        [StandardScaler()], fit_params={"standardscaler__sample_weight": np.ones(len(X))}
    )
    assert "scorer" in reason([StandardScaler()], metrics=lambda model, X, y: 0.0)
    assert "sparse" in reason([MaxAbsScaler()], X=sparse.csr_array(X))
    assert "fewer" in reason([StandardScaler()], X=np.hstack([X] * 30))
    pipeline = pipeline_of([StandardScaler()], Ridge())
    evaluator = evaluator_of(pipeline, X, y)
    assert "frames" in gram_space_reason(evaluator, clone(pipeline).set_output(transform="pandas"))
    assert "plain" in gram_space_reason(evaluator, Ridge())
    assert "plain" in gram_space_reason(evaluator, Pipeline(pipeline.steps, memory="somewhere"))


def test_same_bits_for_any_number_of_threads() -> None:
    X, y = problem(n=3000)
    pipelines = [pipeline_of([MinMaxScaler(), PCA(k)], Ridge(a)) for k in (2, 5) for a in (0.1, 1.0)]
    answers = []
    for n_jobs in (1, 2, 3):
        evaluator = evaluator_of(pipelines[0], X, y, n_jobs=n_jobs, metrics=["r2"])
        rows = evaluate(evaluator, pipelines)
        answers.append([[evaluation["test_scores"]["r2"] for evaluation in row] for row in rows])
    assert answers[0] == answers[1] == answers[2]
