"""Pruning: rungs of splits or of a parameter, after which trials are ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from optuna import pruners
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.datasets import make_regression
from sklearn.model_selection import KFold

from manyfit.linear_model import Ridge
from manyfit.model_selection import OptunaSearchCV
from manyfit.model_selection._pruning import ParameterRungs

SPACE = {"alpha": FloatDistribution(1e-3, 1e5, log=True)}
Data = tuple[NDArray[np.float64], NDArray[np.float64]]

PRUNERS: dict[str, Callable[[], pruners.BasePruner]] = {
    "halving": lambda: pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    "hyperband": lambda: pruners.HyperbandPruner(min_resource=1, max_resource=5, reduction_factor=2),
    "median": lambda: pruners.MedianPruner(n_startup_trials=4),
    "percentile": lambda: pruners.PercentilePruner(25.0, n_startup_trials=4),
    "Wilcoxon": lambda: pruners.WilcoxonPruner(p_threshold=0.3),
    "patient": lambda: pruners.PatientPruner(pruners.MedianPruner(n_startup_trials=4), patience=0),
    "threshold": lambda: pruners.ThresholdPruner(lower=0.5),
}
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture(scope="module")
def data() -> Data:
    X, y = make_regression(80, 4, noise=20.0, random_state=0)
    return X, y


class Learner(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Approaches its level in `rounds` rounds."""

    def __init__(self, level: float = 0.0, rounds: int = 27) -> None:
        self.level = level
        self.rounds = rounds

    def fit(self, X: Any, y: Any) -> Learner:
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Any) -> Any:
        return np.zeros(len(X))

    def score(self, X: Any, y: Any) -> float:
        return self.level * (1 - 0.5**self.rounds)


def search(**settings: Any) -> OptunaSearchCV:
    settings = {"n_trials": 40, "random_state": 3, "batch_size": 4, "lag": 8, **settings}
    return OptunaSearchCV(settings.pop("estimator", Ridge()), settings.pop("space", SPACE), **settings)


def told(study: optuna.Study) -> list[Any]:
    return [
        (
            t.number,
            t.state,
            t.params,
            t.values,
            t.intermediate_values,
            t.system_attrs,
            t.user_attrs["test_scores"],
        )
        for t in study.trials
    ]


@pytest.mark.parametrize("pruner", PRUNERS)
def test_pruned_studies_follow_from_their_seed(data: Data, scrambled: Any, pruner: str) -> None:
    found = search(pruner=PRUNERS[pruner]()).fit(*data)
    assert {TrialState.COMPLETE, TrialState.PRUNED} == {t.state for t in found.trials_}
    for slots in (2, 3):
        other = search(pruner=PRUNERS[pruner](), executor=scrambled(slots, seed=slots)).fit(*data)
        assert told(other.study_) == told(found.study_)


@pytest.mark.parametrize("pruner", ["halving", "hyperband", "Wilcoxon"])
def test_a_pruned_study_that_was_killed_and_resumed_equals_one_that_was_not(
    data: Data, scrambled: Any, kept: Any, pruner: str
) -> None:
    expected = told(search(pruner=PRUNERS[pruner]()).fit(*data).study_)
    store = kept()
    for attempt in range(50):
        executor = scrambled(3, seed=attempt, dies_after=15)
        try:
            found = search(pruner=PRUNERS[pruner](), storage=store, executor=executor).fit(*data)
            break
        except RuntimeError as error:
            assert str(error) == "killed"
    assert attempt > 0
    assert told(found.study_) == expected


def test_splits_are_reported_one_after_the_other_as_running_means(data: Data) -> None:
    found = search(pruner=PRUNERS["halving"]()).fit(*data)
    for trial in found.trials_:
        scores = [score for score in trial.user_attrs["test_scores"]["score"] if score is not None]
        assert list(trial.intermediate_values) == list(range(1, len(scores) + 1))
        means = np.cumsum(scores) / np.arange(1, len(scores) + 1)
        np.testing.assert_allclose(list(trial.intermediate_values.values()), means, rtol=1e-12)
        assert trial.value == pytest.approx(means[-1], rel=1e-12)
        assert (len(scores) == 5) == (trial.state == TrialState.COMPLETE)


def test_wilcoxon_is_told_the_splits_own_scores(data: Data) -> None:
    found = search(pruner=PRUNERS["Wilcoxon"]()).fit(*data)
    for trial in found.trials_:
        scores = [score for score in trial.user_attrs["test_scores"]["score"] if score is not None]
        assert list(trial.intermediate_values.values()) == scores
        assert trial.value == pytest.approx(np.mean(scores), rel=1e-12)


def test_trials_that_were_not_pruned_have_the_scores_of_plain_cross_validation(data: Data) -> None:
    plain = search(n_trials=16, sampler=optuna.samplers.RandomSampler()).fit(*data)
    pruned = search(n_trials=16, sampler=optuna.samplers.RandomSampler(), pruner=PRUNERS["halving"]()).fit(
        *data
    )
    for one, other in zip(plain.trials_, pruned.trials_, strict=True):
        assert one.params == other.params
        assert one.intermediate_values == {}
        if other.state == TrialState.COMPLETE:
            assert other.value == pytest.approx(one.value, rel=1e-9)
    rows = pruned.cv_results_["state"] == "PRUNED"
    assert 0 < rows.sum() < 16
    assert np.isnan(pruned.cv_results_["mean_test_score"][rows]).all()
    assert np.isfinite(pruned.cv_results_["split0_test_score"]).all()
    assert np.isnan(pruned.cv_results_["split4_test_score"][rows]).all()
    assert pruned.cv_results_["rank_test_score"][rows].min() > (~rows).sum() - 1
    assert pruned.best_trial_.state == TrialState.COMPLETE


def test_pruned_members_leave_the_population(data: Data, scrambled: Any) -> None:
    executor = scrambled(1)
    found = search(pruner=pruners.ThresholdPruner(lower=0.5), executor=executor, lag=0).fit(*data)
    seen = [len(t.intermediate_values) for t in found.trials_]
    assert sum(executor.sizes) == sum(seen) < 40 * 5
    assert max(executor.sizes) <= 4


def test_rungs_of_a_parameter() -> None:
    rungs = ParameterRungs("rounds", 27, 2, 3)
    assert rungs.levels({}) == [2, 6, 18, 27]
    assert rungs.levels({"rounds": 18}) == [2, 6, 18]
    assert rungs.levels({"rounds": 1}) == [1]
    assert rungs.candidate({"level": 1.0}, 1) == {"level": 1.0, "rounds": 6}


@pytest.mark.parametrize("searched", [False, True])
def test_a_parameter_grows_rung_by_rung(data: Data, searched: bool) -> None:
    space: dict[str, Any] = {"level": FloatDistribution(0, 1)}
    if searched:
        space["rounds"] = IntDistribution(10, 27)
    found = search(
        estimator=Learner(),
        space=space,
        pruner=pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        resource="rounds",
    ).fit(*data)
    complete = [t for t in found.trials_ if t.state == TrialState.COMPLETE]
    ended = [t for t in found.trials_ if t.state == TrialState.PRUNED]
    assert complete
    assert ended
    for trial in found.trials_:
        full = trial.params.get("rounds", 27)
        steps = list(trial.intermediate_values)
        assert steps == [step for step in (1, 3, 9) if step < full][: len(steps)] + (
            [full] if trial in complete else []
        )
        for step, value in trial.intermediate_values.items():
            assert value == pytest.approx(trial.params["level"] * (1 - 0.5**step))
        assert trial.value == trial.intermediate_values[steps[-1]]
    assert found.best_estimator_.rounds == found.best_params_.get("rounds", 27)


def test_a_pruner_is_left_as_it_was(data: Data) -> None:
    pruner = pruners.HyperbandPruner(min_resource=1, reduction_factor=2)
    search(pruner=pruner, n_trials=12).fit(*data)
    assert pruner._max_resource == "auto"
    assert pruner._pruners == []


def test_splits_are_seen_in_their_order(data: Data) -> None:
    found = search(pruner=PRUNERS["median"](), cv=KFold(3, shuffle=True, random_state=0), n_trials=20).fit(
        *data
    )
    lengths = {len([s for s in t.user_attrs["test_scores"]["score"] if s is not None]) for t in found.trials_}
    assert max(lengths) == 3
    for trial in found.trials_:
        scores = trial.user_attrs["test_scores"]["score"]
        assert None not in scores[: len(trial.intermediate_values)]
        assert set(scores[len(trial.intermediate_values) :]) <= {None}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"resource": "max_itr"},
            "resource must be 'splits' or a parameter of Ridge, got 'max_itr'; did you mean 'max_iter'",
        ),
        (
            {"resource": "max_iter"},
            "resource: max_iter must be an integer >= 1 to be cut into rungs, got None",
        ),
        ({"reduction_factor": 1}, "reduction_factor must be an integer >= 2, got 1"),
        ({"min_resource": 0}, "min_resource must be 'auto' or an integer >= 1, got 0"),
        ({"pruner": "median"}, "pruner must be an optuna BasePruner or None, got 'median'"),
        (
            {"objectives": ["r2", "model_bytes"]},
            "pruner must be None with several objectives .*, got MedianPruner",
        ),
        ({"objectives": ["model_bytes"]}, "pruner must be None where the objective is a measure"),
    ],
)
def test_bad_settings(data: Data, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"OptunaSearchCV: {message}"):
        search(**{"pruner": pruners.MedianPruner(), **settings}).fit(*data)
