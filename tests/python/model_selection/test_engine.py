"""The loop of a search by Optuna: what a study follows from, failures, ends, interruption and resumption."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import Ridge as TheirRidge

from manyfit.linear_model import Ridge
from manyfit.model_selection._sampling import seed_of
from manyfit.model_selection._workers import WorkerProcesses

SPACE = {"alpha": FloatDistribution(1e-3, 1e3, log=True), "fit_intercept": [True, False]}
Data = tuple[NDArray[np.float64], NDArray[np.float64]]


class Fussy(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Fails, or scores NaN, where it is told to."""

    def __init__(self, level: float = 0.0, bad: str = "raise") -> None:
        self.level = level
        self.bad = bad

    def fit(self, X: Any, y: Any) -> Fussy:
        if self.level > 0.5 and self.bad == "raise":
            raise ArithmeticError(f"level {self.level} is too much")
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Any) -> Any:
        return np.zeros(len(X))

    def score(self, X: Any, y: Any) -> float:
        return np.nan if self.level > 0.5 and self.bad == "nan" else self.level


SAMPLERS: dict[str, Callable[[], Any]] = {
    "default": lambda: None,
    "random": optuna.samplers.RandomSampler,
    "TPE": lambda: optuna.samplers.TPESampler(multivariate=False, constant_liar=False, n_startup_trials=4),
    "NSGA-II": lambda: optuna.samplers.NSGAIISampler(population_size=6),
    "Sobol": lambda: optuna.samplers.QMCSampler(scramble=True, seed=5),
    "Halton": lambda: optuna.samplers.QMCSampler(qmc_type="halton", seed=5),
}
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


# --- the same study, whatever computes it ---


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_follows_from_its_seed_whatever_the_number_of_slots(
    search: Any, told: Any, data: Data, scrambled: Any, sampler: str
) -> None:
    expected = told(search(sampler=SAMPLERS[sampler]()).fit(*data).study_)
    for slots in (1, 2, 3):
        executor = scrambled(slots, seed=slots)
        found = search(sampler=SAMPLERS[sampler](), executor=executor).fit(*data)
        assert told(found.study_) == expected
        assert executor.most == slots
        assert executor.closed is False


def test_worker_processes_write_the_same_study(search: Any, told: Any, data: Data) -> None:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4)
    expected = told(search(pruner=pruner, n_trials=24).fit(*data).study_)
    found = search(pruner=pruner, n_trials=24, executor=WorkerProcesses(2)).fit(*data)
    assert found.plan_.workers <= 2
    assert found.plan_.fits >= 24
    assert told(found.study_) == expected
    assert {t.state for t in found.trials_} == {TrialState.COMPLETE, TrialState.PRUNED}


def test_another_seed_is_another_study(search: Any, told: Any, data: Data) -> None:
    assert told(search().fit(*data).study_) != told(search(random_state=4).fit(*data).study_)


def test_a_longer_study_begins_as_a_shorter_one(search: Any, told: Any, data: Data) -> None:
    assert told(search(n_trials=40).fit(*data).study_)[:24] == told(search(n_trials=24).fit(*data).study_)


def test_the_seed_may_be_the_samplers(search: Any, told: Any, data: Data) -> None:
    def study(seed: int) -> list[Any]:
        sampler = optuna.samplers.TPESampler(seed=seed)
        return told(search(sampler=sampler, random_state=None).fit(*data).study_)

    assert study(1) == study(1)
    assert study(1) != study(2)


def test_the_users_sampler_is_left_alone(search: Any, data: Data) -> None:
    sampler = optuna.samplers.RandomSampler(seed=1)
    before = sampler._rng.rng.get_state()[1].tolist()  # type: ignore[union-attr]
    search(sampler=sampler).fit(*data)
    assert sampler._rng.rng.get_state()[1].tolist() == before  # type: ignore[union-attr]
    assert seed_of(sampler, None) == seed_of(sampler, None)


@pytest.mark.parametrize(
    ("batch_size", "lag", "most"), [(4, 0, 1), (4, 3, 1), (4, 4, 2), (4, 11, 3), (1, 2, 3)]
)
def test_the_lag_says_how_many_batches_are_under_way(
    search: Any, data: Data, scrambled: Any, batch_size: int, lag: int, most: int
) -> None:
    executor = scrambled(5)
    search(executor=executor, batch_size=batch_size, lag=lag).fit(*data)
    assert executor.most == most
    assert set(executor.sizes) == {batch_size}


def test_a_trial_sees_the_results_below_its_lag_alone(search: Any, data: Data, scrambled: Any) -> None:
    seen: list[tuple[int, int, int]] = []

    class Watching(optuna.samplers.RandomSampler):
        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
            trials = study.get_trials(deepcopy=False)
            assert [t.number for t in trials] == list(range(trial.number + 1))
            ended = [t.number for t in trials if t.state.is_finished()]
            assert ended == list(range(len(ended)))
            running = [t for t in trials if t.state == TrialState.RUNNING and t.number != trial.number]
            assert all(t.values is None and set(t.params) == set(SPACE) for t in running)
            seen.append((trial.number, len(ended), len(running)))
            return {}

    search(sampler=Watching(), executor=scrambled(3), n_trials=22).fit(*data)
    assert seen == [(n, max(0, n // 4 * 4 - 8), n - max(0, n // 4 * 4 - 8)) for n in range(22)]


def test_trials_of_other_estimators_are_handed_out_one_by_one(
    search: Any, data: Data, scrambled: Any
) -> None:
    executor = scrambled(3)
    found = search(estimator=TheirRidge(), executor=executor, n_trials=12).fit(*data)
    assert executor.sizes == [1] * 12
    ours = search(n_trials=12).fit(*data)
    assert [t.params for t in found.trials_] == [t.params for t in ours.trials_]
    np.testing.assert_allclose([t.value for t in found.trials_], [t.value for t in ours.trials_], rtol=1e-9)


# --- resumption ---


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("slots", [1, 3])
def test_a_study_that_was_killed_and_resumed_equals_one_that_was_not(
    search: Any, told: Any, data: Data, scrambled: Any, kept: Any, sampler: str, slots: int
) -> None:
    expected = told(search(sampler=SAMPLERS[sampler]()).fit(*data).study_)
    store = kept()
    for attempt in range(50):
        executor = scrambled(slots, seed=attempt, dies_after=3)
        try:
            found = search(sampler=SAMPLERS[sampler](), storage=store, executor=executor).fit(*data)
            break
        except RuntimeError as error:
            assert str(error) == "killed"
            assert executor.closed is True
    assert attempt > 0
    assert told(found.study_) == expected
    assert sorted(number for write in store.writes for number in write) == list(range(40))
    assert found.n_trials_ == 40
    assert list(found.cv_results_["number"]) == list(range(40))


def test_a_finished_study_is_read_again_and_completed(search: Any, told: Any, data: Data, kept: Any) -> None:
    store = kept()
    first = search(storage=store, n_trials=20).fit(*data)
    again = search(storage=store, n_trials=20).fit(*data)
    assert len(store.writes) == 5
    np.testing.assert_array_equal(first.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"])
    assert again.best_params_ == first.best_params_
    more = search(storage=store, n_trials=40).fit(*data)
    assert told(more.study_) == told(search().fit(*data).study_)


def test_a_resumed_study_keeps_its_schedule(search: Any, told: Any, data: Data, kept: Any) -> None:
    store = kept()
    search(storage=store, n_trials=8).fit(*data)
    resumed = search(storage=store, n_trials=16, batch_size="auto", lag="auto", random_state=None).fit(*data)
    assert told(resumed.study_) == told(search(n_trials=16).fit(*data).study_)
    with pytest.raises(ValueError, match="batch_size must stay 4 in a study that is resumed, got 5"):
        search(storage=store, batch_size=5).fit(*data)


def test_writes_are_in_the_order_of_numbers_by_batches(
    search: Any, data: Data, scrambled: Any, kept: Any
) -> None:
    store = kept()
    search(storage=store, executor=scrambled(3)).fit(*data)
    assert [number for write in store.writes for number in write] == list(range(40))
    assert {len(write) % 4 for write in store.writes} == {0}


def test_a_study_of_optunas_own_is_a_warm_start(search: Any, data: Data) -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=1))

    def objective(trial: optuna.Trial) -> float:
        alpha = trial.suggest_float("alpha", 1e-3, 1e3, log=True)
        fit_intercept = trial.suggest_categorical("fit_intercept", [True, False])
        return -abs(np.log10(alpha) - 2) - (not fit_intercept)

    study.optimize(objective, n_trials=30)
    seen = []

    class Watching(optuna.samplers.RandomSampler):
        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
            seen.append(sum(t.state == TrialState.COMPLETE for t in study.get_trials(deepcopy=False)))
            return {}

    found = search(study=study, sampler=Watching(), n_trials=10, lag=4).fit(*data)
    assert seen == [30] * 8 + [34] * 2
    assert found.study_ is study
    assert len(study.trials) == found.n_trials_ == 40
    assert all(t.state == TrialState.COMPLETE for t in study.trials)
    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"][:30], [t.value for t in study.trials[:30]]
    )
    assert np.isnan(found.cv_results_["split0_test_score"][:30]).all()
    assert np.isfinite(found.cv_results_["split0_test_score"][30:]).all()


def test_a_study_grows_with_every_fit(search: Any, data: Data) -> None:
    study = optuna.create_study(direction="maximize")
    for n in (1, 2):
        search(study=study, n_trials=6).fit(*data)
        assert len(study.trials) == 6 * n
    assert len({t.params["alpha"] for t in study.trials}) == 12


def test_trials_of_other_parameters_in_a_study_have_no_row(search: Any, data: Data) -> None:
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    found = search(study=study, n_trials=6).fit(*data)
    assert list(found.cv_results_["number"]) == list(range(3, 9))
    assert found.n_trials_ == 9


# --- ends ---


@pytest.mark.parametrize("sampler", ["grid", "brute force"])
@pytest.mark.parametrize("slots", [1, 3])
def test_samplers_that_try_everything_end_the_search(
    search: Any, data: Data, scrambled: Any, sampler: str, slots: int, caplog: pytest.LogCaptureFixture
) -> None:
    space = {"alpha": [0.1, 1.0, 10.0], "fit_intercept": [True, False]}
    grid = optuna.samplers.GridSampler(space)
    chosen = grid if sampler == "grid" else optuna.samplers.BruteForceSampler()
    settings = {"sampler": chosen, "n_trials": None, "executor": scrambled(slots), "space": space}
    optuna.logging.enable_propagation()
    try:
        found = search(**settings).fit(*data)
    finally:
        optuna.logging.disable_propagation()
    assert not caplog.records
    assert len({tuple(t.params.values()) for t in found.trials_}) == len(found.trials_) == 6
    assert all(t.state == TrialState.COMPLETE for t in found.study_.trials)


def test_brute_force_over_a_conditional_space(search: Any, data: Data) -> None:
    def space(trial: Any) -> dict[str, Any]:
        solver = trial.suggest_categorical("solver", ["svd", "cholesky"])
        alpha = trial.suggest_int("power", 0, 2 if solver == "svd" else 4)
        return {"solver": solver, "alpha": 10.0**alpha}

    found = search(space=space, sampler=optuna.samplers.BruteForceSampler(), n_trials=100, lag=20).fit(*data)
    assert len({tuple(sorted(p.items())) for p in found.cv_results_["params"]}) == len(found.trials_) == 8


def test_a_timeout_ends_the_search(
    search: Any, told: Any, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    from manyfit.model_selection import _engine

    clock = iter(range(1000))
    monkeypatch.setattr(_engine, "monotonic", lambda: float(next(clock)))
    found = search(n_trials=None, timeout=20.0).fit(*data)
    assert 0 < found.n_trials_ < 40
    assert told(found.study_) == told(search().fit(*data).study_)[: found.n_trials_]


def test_without_an_end_there_is_no_search(search: Any, data: Data) -> None:
    with pytest.raises(ValueError, match="n_trials or timeout must be given, got None for both"):
        search(n_trials=None).fit(*data)


def test_callbacks_may_stop_the_search(search: Any, told: Any, data: Data, kept: Any) -> None:
    store = kept()
    calls = []

    def callback(study: optuna.Study, trial: Any) -> None:
        assert len(study.trials) >= trial.number + 1  # written before
        calls.append(trial.number)
        if trial.number == 9:
            study.stop()

    found = search(callbacks=[callback], storage=store).fit(*data)
    assert calls == list(range(found.n_trials_)) == list(range(12))
    more = search(storage=store).fit(*data)
    assert told(more.study_) == told(search().fit(*data).study_)


def test_optunas_own_callback(search: Any, data: Data) -> None:
    found = search(callbacks=[optuna.study.MaxTrialsCallback(8)]).fit(*data)
    assert found.n_trials_ == 8


# --- failures ---


def test_a_fit_that_fails_marks_its_trial(search: Any, data: Data) -> None:
    with pytest.warns(
        FitFailedWarning, match=r"of 24 trials failed and have no score(.|\n)*ArithmeticError: level 0"
    ):
        found = search(estimator=Fussy(), space={"level": FloatDistribution(0, 1)}, n_trials=24).fit(*data)
    failed = [t for t in found.trials_ if t.params["level"] > 0.5]
    assert 0 < len(failed) < 24
    assert {t.state for t in failed} == {TrialState.FAIL}
    assert all("ArithmeticError: level" in t.user_attrs["error"] for t in failed)
    assert all(t.values is None for t in failed)
    rows = [t.number for t in failed]
    assert np.isnan(found.cv_results_["mean_test_score"][rows]).all()
    assert list(found.cv_results_["state"][rows]) == ["FAIL"] * len(rows)
    assert found.best_params_["level"] == max(t.params["level"] for t in found.trials_ if t not in failed)


def test_a_number_stands_for_the_score_of_a_fit_that_failed(search: Any, data: Data) -> None:
    with pytest.warns(FitFailedWarning):
        found = search(
            estimator=Fussy(), space={"level": FloatDistribution(0, 1)}, n_trials=24, error_score=-7.0
        ).fit(*data)
    failed = [t for t in found.trials_ if t.params["level"] > 0.5]
    assert {t.state for t in found.trials_} == {TrialState.COMPLETE}
    assert {t.value for t in failed} == {-7.0}
    assert all("ArithmeticError" in t.user_attrs["error"] for t in failed)


def test_a_fit_that_fails_raises_where_it_is_told_to(search: Any, data: Data) -> None:
    with pytest.raises(ArithmeticError, match="is too much"):
        search(estimator=Fussy(), space={"level": FloatDistribution(0, 1)}, error_score="raise").fit(*data)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
def test_a_score_that_is_nan_marks_its_trial(search: Any, data: Data) -> None:
    found = search(estimator=Fussy(bad="nan"), space={"level": FloatDistribution(0, 1)}, n_trials=24).fit(
        *data
    )
    failed = [t for t in found.trials_ if t.params["level"] > 0.5]
    assert {t.state for t in failed} == {TrialState.FAIL}
    assert {t.user_attrs["error"] for t in failed} == {"the score 'score' is NaN on splits 0, 1, 2, 3, 4"}


@pytest.mark.parametrize(
    ("estimator", "scoring"), [(Ridge(), "roc_auc"), (TheirRidge(), "roc_auc"), (Ridge(), ["roc_auc", "r2"])]
)
def test_a_metric_the_estimator_cannot_give(search: Any, data: Data, estimator: Any, scoring: Any) -> None:
    message = r"all 8 trials failed(.|\n)*the score '(score|roc_auc)' is NaN on splits 0, 1, 2, 3, 4:(.|\n)*Traceback"
    with pytest.raises(ValueError, match=message):
        search(estimator=estimator, scoring=scoring, refit="roc_auc", n_trials=8).fit(*data)


def test_warnings_of_fits_reach_the_user(search: Any, data: Data) -> None:
    class Warning(Fussy):
        def fit(self, X: Any, y: Any) -> Any:
            warnings.warn("look here", UserWarning, stacklevel=2)
            return super().fit(X, y)

    with pytest.warns(UserWarning, match="look here"):
        search(estimator=Warning(), space={"level": FloatDistribution(0, 0.4)}, n_trials=4).fit(*data)


def test_all_trials_failing_shows_the_first_one(search: Any, data: Data) -> None:
    with pytest.raises(ValueError, match=r"OptunaSearchCV: all 8 trials failed(.|\n)*ArithmeticError: level"):
        search(estimator=Fussy(), space={"level": FloatDistribution(0.6, 1)}, n_trials=8).fit(*data)


def test_what_no_worker_could_finish_is_failed(search: Any, data: Data) -> None:
    from manyfit.model_selection._executor import Done, InProcess

    class Dying(InProcess):
        def wait(self, timeout: float | None = None) -> list[Done]:
            (done,) = super().wait(timeout)
            return [Done(done.id, error="the worker died 3 times")] if done.id == 1 else [done]

    with pytest.warns(FitFailedWarning, match="the worker died 3 times"):
        found = search(executor=Dying(), n_trials=12).fit(*data)
    assert [t.number for t in found.trials_ if t.state == TrialState.FAIL] == [4, 5, 6, 7]


def test_a_parameter_out_of_its_range_fails_alone(search: Any, data: Data) -> None:
    with pytest.warns(FitFailedWarning, match="alpha must be >= 0"):
        found = search(space={"alpha": [1.0, -1.0, 2.0]}, n_trials=16).fit(*data)
    assert {t.params["alpha"] for t in found.trials_ if t.state == TrialState.FAIL} == {-1.0}
    assert {t.params["alpha"] for t in found.trials_ if t.state == TrialState.COMPLETE} == {1.0, 2.0}


# --- quiet ---


def test_optunas_logging_stays_as_it_was(search: Any, data: Data, caplog: pytest.LogCaptureFixture) -> None:
    level = optuna.logging.get_verbosity()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        with caplog.at_level(logging.INFO):
            search(n_trials=8).fit(*data)
            assert not caplog.records
            optuna.create_study()
            assert caplog.records
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
    finally:
        optuna.logging.disable_propagation()
        optuna.logging.set_verbosity(level)


def test_a_line_for_each_batch(search: Any, data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    search(n_trials=10, verbose=1).fit(*data)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": best")[0] for line in lines] == [
        f"OptunaSearchCV: trials {numbers} of 10" for numbers in ("0-3", "4-7", "8-9")
    ]


def test_importing_the_package_does_not_import_optuna(run_python: Any) -> None:
    code = """
        import sys, manyfit.model_selection
        from manyfit.model_selection import OptunaSearchCV
        assert "optuna" not in sys.modules
    """
    assert run_python(code).returncode == 0


# --- interruption ---

INTERRUPTED = """
    import os, signal, sys, threading
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import numpy as np
    from sklearn.base import BaseEstimator, RegressorMixin
    from manyfit.model_selection import OptunaSearchCV
    from optuna.distributions import FloatDistribution

    class Slow(RegressorMixin, BaseEstimator):
        fits = 0
        def __init__(self, level=0.0): self.level = level
        def fit(self, X, y):
            Slow.fits += 1
            if Slow.fits in INTERRUPT_AT:
                os.kill(os.getpid(), signal.SIGINT)
            return self
        def predict(self, X): return np.zeros(len(X))
        def score(self, X, y): return self.level

    X, y = np.zeros((20, 1)), np.arange(20.0)
    search = OptunaSearchCV(
        Slow(), {"level": FloatDistribution(0, 1)}, n_trials=40, random_state=0, batch_size=4, lag=0
    )
    try:
        search.fit(X, y)
        rows = len(search.cv_results_["params"])
        print("returned", search.interrupted_, search.n_trials_, rows, hasattr(search, "predict"))
    except KeyboardInterrupt:
        print("interrupted", search.interrupted_, search.n_trials_, len(search.study_.trials), Slow.fits)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ((23,), "returned True 5 5 True\n"),  # in the 5th trial of 5 fits: that one is finished
        ((23, 24), "interrupted True 4 4 24\n"),
        ((3,), "returned True 1 1 True\n"),
    ],
)
def test_ctrl_c_once_and_twice(places: tuple[int, ...], said: str) -> None:
    code = textwrap.dedent(INTERRUPTED).replace("INTERRUPT_AT", repr(places))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == said, done.stderr
    assert "finishing the 1 trials that are running; Ctrl-C again stops now" in done.stderr


def test_a_handler_of_the_users_own_stays(search: Any, data: Data) -> None:
    met = []
    usual = signal.signal(signal.SIGINT, lambda signum, frame: met.append(signum))
    try:

        def callback(study: Any, trial: Any) -> None:
            if trial.number == 5:
                signal.raise_signal(signal.SIGINT)

        found = search(callbacks=[callback], n_trials=12).fit(*data)
    finally:
        signal.signal(signal.SIGINT, usual)
    assert met == [signal.SIGINT]
    assert found.n_trials_ == 12
    assert not found.interrupted_


def test_an_interrupt_in_a_callback_finishes_what_runs(search: Any, data: Data) -> None:
    def callback(study: Any, trial: Any) -> None:
        if trial.number == 7:
            raise KeyboardInterrupt

    found = search(callbacks=[callback], n_trials=40, lag=0).fit(*data)
    assert found.interrupted_
    assert found.n_trials_ == 8


# --- integers, large numbers ---


def test_many_workers_and_few_trials(search: Any, data: Data, scrambled: Any) -> None:
    found = search(executor=scrambled(8), n_trials=1, space={"max_iter": IntDistribution(1, 5)}).fit(*data)
    assert found.n_trials_ == 1
