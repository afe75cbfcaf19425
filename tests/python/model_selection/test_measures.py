"""Objectives and constraints: scores beside latency, size and seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.study._multi_objective import _get_pareto_front_trials
from optuna.trial import TrialState
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import manyfit.onnx
from manyfit.linear_model import LogisticRegression
from manyfit.model_selection import OptunaSearchCV, _measures
from manyfit.model_selection._evaluator import Evaluator
from manyfit.model_selection._measures import latency_us, measure, read_constraints, read_goals

SPACE = {"C": FloatDistribution(1e-4, 1e2, log=True)}
Data = tuple[NDArray[np.float64], NDArray[np.int64]]
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]


@pytest.fixture(scope="module")
def data() -> Data:
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X)[:200, :5], y[:200]


class Weighed(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Is as good as it is heavy."""

    def __init__(self, weight: float = 0.5, cost: float = 0.0) -> None:
        self.weight = weight
        self.cost = cost

    def fit(self, X: Any, y: Any) -> Weighed:
        self.classes_ = np.unique(y)
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Any) -> Any:
        return np.zeros(len(X), dtype=int)

    def score(self, X: Any, y: Any) -> float:
        return self.weight


@pytest.fixture
def weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures that are known beforehand."""

    def measured(evaluator: Any, candidates: Any, names: Any) -> list[dict[str, Any]]:
        known = {"latency_us": 100.0, "model_bytes": 1000.0, "fit_seconds": 10.0}
        return [{name: known[name] * (c["weight"] + c.get("cost", 0)) for name in names} for c in candidates]

    monkeypatch.setattr(_measures, "measure", measured)


def search(**settings: Any) -> OptunaSearchCV:
    settings = {"n_trials": 24, "random_state": 3, "cv": 3, **settings}
    return OptunaSearchCV(
        settings.pop("estimator", LogisticRegression()), settings.pop("space", SPACE), **settings
    )


# --- measuring ---


def test_measures_of_exported_models(data: Data) -> None:
    X, y = data
    evaluator = Evaluator(LogisticRegression(), X, y, [], None)
    names = ["latency_us", "model_bytes", "fit_seconds"]
    one, other = measure(evaluator, [{"C": 0.1}, {"C": 1.0}], names)
    graph = manyfit.onnx.to_onnx(LogisticRegression(C=0.1).fit(X, y)).SerializeToString()
    assert one["model_bytes"] == pytest.approx(len(graph), abs=64)  # metadata may hold a time
    for found in (one, other):
        assert list(found) == ["fit_seconds", "model_bytes", "latency_us"]
        assert all(value > 0 for value in found.values())
    assert measure(evaluator, [{"C": 0.1}], ["fit_seconds"])[0].keys() == {"fit_seconds"}


def test_models_are_measured_as_a_population(data: Data) -> None:
    X, y = data
    evaluator = Evaluator(LogisticRegression(), X, y, [], None)
    before = len(evaluator.dataset.passes)
    measure(evaluator, [{"C": c} for c in (0.1, 1.0, 10.0)], ["model_bytes"])
    assert len(evaluator.dataset.passes) - before <= 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_latency_of_one_row(data: Data, dtype: str) -> None:
    X, y = data
    graph = manyfit.onnx.to_onnx(LogisticRegression().fit(X, y), dtype=dtype)
    assert 0 < latency_us(graph.SerializeToString(), X) < 1e6


def test_a_pipeline_and_a_model_of_scikit_learns_are_measured(data: Data) -> None:
    for estimator, name in (
        (make_pipeline(StandardScaler(), LogisticRegression()), "logisticregression__C"),
        (Theirs(), "C"),
    ):
        (found,) = measure(
            Evaluator(estimator, *data, [], None), [{name: 0.5}], ["latency_us", "model_bytes"]
        )
        assert found["model_bytes"] > 100


def test_a_measurement_that_fails_says_so(data: Data) -> None:
    evaluator = Evaluator(LogisticRegression(), *data, [], None)
    good, bad = measure(evaluator, [{"C": 1.0}, {"C": -1.0}], ["model_bytes"])
    assert good["model_bytes"] > 0
    assert "C must be" in bad["error"]


def test_a_model_without_a_converter_fails_all_trials(data: Data) -> None:
    with pytest.raises(ValueError, match="all 3 trials failed(.|\n)*KNeighborsClassifier"):
        search(
            estimator=KNeighborsClassifier(),
            space={"n_neighbors": IntDistribution(1, 9)},
            objectives=["score", "model_bytes"],
            n_trials=3,
        ).fit(*data)


def test_a_search_for_accuracy_and_size(data: Data, scrambled: Any) -> None:
    objectives = ["accuracy", "neg_log_loss", "model_bytes", "latency_us"]
    found = search(objectives=objectives, n_trials=10, executor=scrambled(2)).fit(*data)
    assert [d.name for d in found.study_.directions] == ["MAXIMIZE", "MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    table = found.cv_results_
    for trial in found.trials_:
        assert trial.state == TrialState.COMPLETE
        row = trial.number
        assert trial.values[0] == pytest.approx(table["mean_test_accuracy"][row], rel=1e-12)
        assert trial.values[1] == pytest.approx(table["mean_test_neg_log_loss"][row], rel=1e-12)
        assert trial.values[2:] == [table["model_bytes"][row], table["latency_us"][row]]
    assert found.best_index_ == np.argmax(table["mean_test_accuracy"])
    assert found.best_score_ == table["mean_test_accuracy"].max()
    assert found.score(*data) == accuracy_score(data[1], found.predict(data[0]))


# --- several objectives ---


@pytest.mark.usefixtures("weighed")
def test_the_front_is_optunas(data: Data) -> None:
    space = {"weight": FloatDistribution(0, 1), "cost": FloatDistribution(0, 1)}
    found = search(estimator=Weighed(), space=space, objectives=["score", "model_bytes"], n_trials=40).fit(
        *data
    )
    numbers = [t.number for t in found.best_trials_]
    assert numbers == [t.number for t in _get_pareto_front_trials(found.study_, False)]
    assert 1 < len(numbers) < 40
    assert found.best_params_["weight"] == max(t.params["weight"] for t in found.trials_)


@pytest.mark.usefixtures("weighed")
@pytest.mark.parametrize("sampler", [None, optuna.samplers.NSGAIISampler(population_size=8)])
def test_several_objectives_follow_from_the_seed(data: Data, scrambled: Any, sampler: Any) -> None:
    def values(executor: Any) -> list[Any]:
        space = {"weight": FloatDistribution(0, 1), "cost": FloatDistribution(0, 1)}
        objectives = ["score", "model_bytes"]
        found = search(
            estimator=Weighed(),
            space=space,
            objectives=objectives,
            constraints=["latency_us <= 120"],
            sampler=sampler,
            executor=executor,
            n_trials=48,
        ).fit(*data)
        return [(t.params, t.values, t.constraints) for t in found.study_.trials]

    assert values(scrambled(3)) == values(None)


@pytest.mark.usefixtures("weighed")
def test_which_objective_chooses(data: Data) -> None:
    settings = {
        "estimator": Weighed(),
        "space": {"weight": FloatDistribution(0, 1)},
        "objectives": ["score", "model_bytes"],
    }
    least = search(refit="model_bytes", **settings).fit(*data)
    assert least.best_params_["weight"] == min(t.params["weight"] for t in least.trials_)
    assert least.best_score_ == pytest.approx(1000 * least.best_params_["weight"])
    middle = search(refit=lambda results: 7, **settings).fit(*data)
    assert middle.best_index_ == 7
    none = search(refit=False, **settings).fit(*data)
    assert not hasattr(none, "best_index_")
    assert none.best_trials_
    with pytest.raises(ValueError, match="refit must be one of 'score', 'model_bytes', got 'f1'"):
        search(refit="f1", **settings).fit(*data)


@pytest.mark.usefixtures("weighed")
def test_directions_may_be_given(data: Data) -> None:
    found = search(
        estimator=Weighed(), space={"weight": FloatDistribution(0, 1)}, directions=["minimize"]
    ).fit(*data)
    weights = [t.params["weight"] for t in found.trials_]
    assert found.best_params_["weight"] == min(weights)
    np.testing.assert_array_equal(found.cv_results_["rank_test_score"], np.argsort(np.argsort(weights)) + 1)


# --- constraints ---


@pytest.mark.parametrize(
    ("constraints", "expected"),
    [
        ("latency_us <= 200", [("latency_us <= 200", "latency_us", True, 200.0)]),
        ("model_bytes<=262144", [("model_bytes <= 262144", "model_bytes", True, 262144.0)]),
        ([" f1 >= .9 "], [("f1 >= .9", "f1", False, 0.9)]),
        ({"fit_seconds": "<= 1e-3"}, [("fit_seconds <= 1e-3", "fit_seconds", True, 1e-3)]),
        (None, []),
        (("neg_log_loss >= -0.5",), [("neg_log_loss >= -0.5", "neg_log_loss", False, -0.5)]),
    ],
)
def test_constraints_are_read(constraints: Any, expected: Any) -> None:
    found = read_constraints("OptunaSearchCV", constraints)
    assert [(c.text, c.name, c.below, c.bound) for c in found] == expected


@pytest.mark.parametrize(
    "text",
    ["f1 < 200", "f1 = 200", "f1 <= fast", "200 >= f1", "<= 3", "f1 <= 1 ms", "f1 <= 1 <= 2", "", 3],
)
def test_constraints_are_read_strictly(text: Any) -> None:
    with pytest.raises(
        ValueError, match=r"constraints: each must read 'name <= number' or 'name >= number', got "
    ):
        read_constraints("OptunaSearchCV", [text])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"constraints": {"latency_us": 200}}, "constraints: 'latency_us' must be bound by '<= number'"),
        ({"constraints": 3}, "constraints must be strings, a dict or a function, got 3"),
        ({"constraints": "latency <= 200"}, "no metric or measure 'latency'; did you mean 'latency_us'"),
        ({"objectives": ["acuracy"]}, "no metric or measure 'acuracy'; did you mean 'accuracy'"),
        ({"objectives": []}, r"objectives must name at least one metric or measure, got \[\]"),
        ({"objectives": ["f1", "f1"]}, "objectives must be different"),
        ({"directions": ["up"]}, "directions must be 'minimize' or 'maximize', got 'up'"),
        ({"directions": ["maximize"] * 2}, r"directions must be one for each objective \(score\)"),
        (
            {"scoring": ["f1", "accuracy"]},
            "with several metrics, refit must be one of 'f1', 'accuracy', or objectives",
        ),
        ({"scoring": "acuracy"}, "acuracy"),
    ],
)
def test_bad_goals(data: Data, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        search(**settings).fit(*data)


@pytest.mark.usefixtures("weighed")
def test_the_best_keeps_to_the_constraints(data: Data) -> None:
    found = search(
        estimator=Weighed(),
        space={"weight": FloatDistribution(0, 1)},
        constraints=["model_bytes <= 600", "score >= 0.2"],
    ).fit(*data)
    weights = np.array([t.params["weight"] for t in found.trials_])
    feasible = (weights <= 0.6) & (weights >= 0.2)
    assert found.best_params_["weight"] == weights[feasible].max()
    np.testing.assert_array_equal(found.cv_results_["feasible"], feasible)
    for trial in found.study_.trials:
        assert list(trial.constraints) == ["model_bytes <= 600", "score >= 0.2"]
        assert trial.constraints["model_bytes <= 600"] == pytest.approx(1000 * trial.params["weight"] - 600)
    assert found.study_.best_trial.number == found.best_trial_.number
    assert [t.number for t in found.best_trials_] == [found.best_trial_.number]


@pytest.mark.usefixtures("weighed")
def test_samplers_know_the_constraints(data: Data) -> None:
    """TPE looks where trials are feasible, not where the score alone would lead."""
    settings = {
        "estimator": Weighed(),
        "space": {"weight": FloatDistribution(0, 1)},
        "n_trials": 60,
        "lag": 0,
    }
    free = search(**settings).fit(*data)
    bound = search(constraints=["model_bytes <= 300"], **settings).fit(*data)

    def late(found: Any) -> Any:
        return np.median([t.params["weight"] for t in found.trials_[30:]])

    assert late(free) > 0.8
    assert late(bound) < 0.4


@pytest.mark.usefixtures("weighed")
def test_constraints_by_a_function(data: Data) -> None:
    found = search(
        estimator=Weighed(),
        space={"weight": FloatDistribution(0, 1)},
        constraints=lambda trial: (trial.params["weight"] - 0.5, -1.0),
    ).fit(*data)
    assert found.best_params_["weight"] == max(w for t in found.trials_ if (w := t.params["weight"]) <= 0.5)
    assert list(found.best_trial_.constraints) == ["0", "1"]


@pytest.mark.usefixtures("weighed")
def test_no_trial_within_the_constraints(data: Data) -> None:
    settings = {
        "estimator": Weighed(),
        "space": {"weight": FloatDistribution(0, 1)},
        "constraints": ["model_bytes <= -1"],
    }
    bound = search(**settings)
    with pytest.raises(
        ValueError, match=r"no trial keeps to the constraints; the nearest, trial \d+, breaks 'model_bytes"
    ):
        bound.fit(*data)
    assert len(bound.trials_) == 24
    with pytest.warns(UserWarning, match="no trial keeps to the constraints"):
        found = search(refit=False, **settings).fit(*data)
    assert not hasattr(found, "best_index_")


# --- what is scored ---


@pytest.mark.parametrize(
    ("settings", "names", "metrics"),
    [
        ({}, ["score"], None),
        ({"scoring": "f1"}, ["score"], None),
        ({"objectives": ["score"]}, ["score"], None),
        ({"objectives": ["f1"]}, ["f1"], ["f1"]),
        ({"objectives": ["f1", "latency_us"]}, ["f1", "latency_us"], ["f1"]),
        ({"objectives": ["latency_us"]}, ["latency_us"], None),
        ({"scoring": "f1", "objectives": ["f1", "latency_us"]}, ["score", "latency_us"], None),
        ({"scoring": "f1", "constraints": ["accuracy >= 0.5"]}, ["f1"], ["f1", "accuracy"]),
        ({"constraints": ["accuracy >= 0.5"]}, ["score"], ["score", "accuracy"]),
        ({"scoring": ["f1", "accuracy"], "refit": "f1"}, ["f1"], ["f1", "accuracy"]),
        ({"scoring": {"a": "f1"}, "objectives": ["a", "recall"]}, ["a", "recall"], ["a", "recall"]),
        ({"scoring": make_scorer(accuracy_score)}, ["score"], None),
    ],
)
def test_which_metrics_are_computed(
    settings: dict[str, Any], names: list[str], metrics: list[str] | None
) -> None:
    given = {
        "scoring": None,
        "refit": True,
        "objectives": None,
        "directions": None,
        "constraints": None,
        **settings,
    }
    goals = read_goals("OptunaSearchCV", LogisticRegression(), raises=False, **given)
    assert goals.names == names
    assert (list(goals.scorer._scorers) if hasattr(goals.scorer, "_scorers") else None) == metrics
