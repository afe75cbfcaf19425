"""Every estimator keeps every promise of the shared kit, and the kit notices where one does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import manyfit
from manyfit.base import Estimator
from manyfit.decomposition import PCA
from manyfit.linear_model import LinearRegression, Ridge
from manyfit.testing import (
    all_checks,
    all_estimators,
    check_estimator,
    estimator_checks,
    parametrize_with_kit,
)
from manyfit.testing._discovery import all_instances
from manyfit.testing._processes import in_new_interpreter

# Defaults need not converge on the checks' data, and some of it is short of samples of a class.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:The least populated class in y:UserWarning"),
]

# Settings that take other ways through the kernels than the defaults do.
SETTINGS = [
    Ridge(alpha=0.0, fit_intercept=False),
    Ridge(positive=True),
    LinearRegression(positive=True),
    PCA(n_components=2, whiten=True, svd_solver="full"),
    PCA(svd_solver="covariance_eigh"),
    PCA(n_components=2, svd_solver="randomized"),
]


# Starting interpreters takes long, and what it shows does not depend on the settings.
QUICK = [each.name for each in all_checks() if each.name != "check_another_interpreter"]


FOLDS = "folds are cut from the rows as they come, so weights and repetitions give other folds"
WEIGHTS = "a row of weight 2 is one step of twice the size, not two steps, as in scikit-learn"
REST = "each class is learned against the rest, whose weight is 1, as in scikit-learn"
ABSENT = "a class without weight is learned from the rest alone, and may win far from it, as in scikit-learn"
STEPS = {"check_weights_equal_repetition": WEIGHTS, "check_weight_zero": WEIGHTS}
RESTS = {**STEPS, "check_class_weights_of_several": REST, "check_class_without_weight": ABSENT}
EXPECTED_FAILURES = {
    "ElasticNetCV": {"check_weights_equal_repetition": FOLDS, "check_weight_zero": FOLDS},
    "LassoCV": {"check_weights_equal_repetition": FOLDS, "check_weight_zero": FOLDS},
    "LogisticRegressionCV": {
        "check_weight_zero": FOLDS,
        "check_class_weights": "scores of left-out rows know the samples' weights, not the classes', as scikit-learn's",
    },
    "MultiTaskElasticNetCV": {"check_weights_equal_repetition": FOLDS},
    "MultiTaskLassoCV": {"check_weights_equal_repetition": FOLDS},
    "Perceptron": RESTS,
    "RidgeClassifierCV": {
        "check_weights_equal_repetition": "of three equal rows one is left out, of a row with weight 3 all of it",
    },
    "SGDClassifier": RESTS,
    "SGDRegressor": STEPS,
}


def expected_failures(estimator: Any) -> dict[str, str]:
    return EXPECTED_FAILURES.get(type(estimator).__name__, {})


@parametrize_with_kit(all_instances(), expected_failures)
def test_promises(check: Callable[[], None]) -> None:
    check()


@parametrize_with_kit(SETTINGS, checks=QUICK)
def test_promises_with_other_settings(check: Callable[[], None]) -> None:
    check()


def test_finds_every_public_estimator() -> None:
    found = all_estimators()
    assert {PCA, LinearRegression, Ridge} <= set(found)
    assert [cls.__name__ for cls in found] == sorted(cls.__name__ for cls in found)
    for cls in found:
        assert issubclass(cls, Estimator)
        family = cls.__module__.split(".")[1]
        assert getattr(getattr(manyfit, family), cls.__name__) is cls


def test_names_and_selection() -> None:
    names = [name for name, _ in estimator_checks(Ridge())]
    assert len(names) == len(set(names)) > 30
    chosen = ["check_no_leak", "check_layouts"]
    assert sorted(name for name, _ in estimator_checks(Ridge(), chosen)) == sorted(chosen)
    assert "check_set_output" not in names
    assert "check_weight_errors" not in [name for name, _ in estimator_checks(PCA())]
    with pytest.raises(ValueError, match="'check_nothing'.*there are check_parameters_declared"):
        list(estimator_checks(Ridge(), ["check_nothing"]))
    with pytest.raises(TypeError, match="must be an instance, got the class Ridge"):
        list(estimator_checks(Ridge))


def test_expected_failures_must_exist() -> None:
    with pytest.raises(ValueError, match="check_nothing"):
        parametrize_with_kit([Ridge()], lambda estimator: {"check_nothing": "a reason"})


def test_the_kit_asks_for_nothing_at_import(run_python: Any) -> None:
    done = run_python(
        """
        import sys
        from manyfit.testing import all_estimators, check_estimator
        for module in ("pytest", "polars", "onnx", "onnxruntime"):
            assert module not in sys.modules, module
        """
    )
    assert done.returncode == 0, done.stderr


def test_new_interpreters() -> None:
    def facts() -> tuple[Any, ...]:
        imported = sorted(name for name in sys.modules if name.partition(".")[0] == "manyfit")
        print("what a call prints is no answer")
        return os.getpid(), imported, os.environ["MANYFIT_NUM_THREADS"], hash("manyfit")

    first, second = (in_new_interpreter(facts, environment={"MANYFIT_NUM_THREADS": n}) for n in "34")
    assert len({first[0], second[0], os.getpid()}) == 3
    assert first[1:3] == ([], "3")
    assert second[1:3] == ([], "4")
    assert first[3] == second[3] != hash("manyfit")
    with pytest.raises(AssertionError, match="(?s)status 1:.*ZeroDivisionError"):
        in_new_interpreter(lambda: 1 // 0)
    with pytest.raises(AssertionError, match="status -9"):
        in_new_interpreter(lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(AssertionError, match="hung: no answer within 0.1 s"):
        in_new_interpreter(signal.pause, deadline=0.1)
    assert in_new_interpreter(lambda: "again") == "again"


# --- a user's own estimator ---

OWN_ESTIMATOR = """
    import numpy as np
    from sklearn.base import RegressorMixin
    from sklearn.utils.validation import check_is_fitted, validate_data
    from manyfit.base import Estimator
    from manyfit.testing import check_estimator

    class WeightedMean(RegressorMixin, Estimator):
        '''Predicts the mean of y, shrunk towards zero.'''

        _parameter_constraints = {**Estimator._parameter_constraints, "shrink": [int, float]}

        def __init__(self, shrink=0.0, *, device="cpu", n_jobs=None):
            self.shrink, self.device, self.n_jobs = shrink, device, n_jobs

        def fit(self, X, y=None, sample_weight=None):
            return self._fit_one(X, y, sample_weight)

        @classmethod
        def _train_population(cls, jobs, dataset, splits):
            y, weights = dataset.targets(jobs[0].estimator), dataset.weights(jobs[0].estimator)
            dataset.assert_finite(jobs[0].estimator)
            for model, split in jobs:
                rows = splits.train_rows(split)
                w = None if weights is None else weights[rows].astype(np.float64)
                mean = np.average(y[rows].astype(np.float64), axis=0, weights=w)
                model.mean_ = np.asarray(mean * (1 - model.shrink), dtype=y.dtype)
            return []

        def predict(self, X):
            check_is_fitted(self)
            X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
            return np.full((len(X), *self.mean_.shape), self.mean_, dtype=X.dtype)

    check_estimator(WeightedMean())
    check_estimator(WeightedMean(shrink=0.5), checks=["check_population_of_settings"])
"""


def test_ones_own_estimator(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run_python(OWN_ESTIMATOR)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "check"),
    [
        ("* (1 - model.shrink)", "* (1 - 0.1 * split)", "check_population_equals_separate_fits"),
        ("weights=w)", "weights=None)", "check_weights_equal_repetition"),
        ("for model, split in jobs:", "dataset.X[:] = 0\n            for model, split in jobs:", "check_"),
        ("dataset.assert_finite(jobs[0].estimator)", "pass", "check_not_finite"),
    ],
)
def test_a_broken_estimator_is_told(
    run_python: Callable[..., subprocess.CompletedProcess[str]], right: str, wrong: str, check: str
) -> None:
    assert right in OWN_ESTIMATOR
    done = run_python(OWN_ESTIMATOR.replace(right, wrong))
    assert done.returncode != 0
    assert "AssertionError" in done.stderr or "Error" in done.stderr
    assert check in done.stderr, done.stderr[-2000:]


# --- broken estimators: each breaks one promise, and the check that holds it must say so ---


class TakesAnyNumber(Ridge):
    def _check(self) -> None:
        tol, self.tol = self.tol, abs(self.tol)
        super()._check()
        self.tol = tol


class DrawsAtRandom(Ridge):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        super().fit(X, y, sample_weight)
        self.coef_ = self.coef_ + 1e-15 * np.random.default_rng().standard_normal(self.coef_.shape)
        return self


class DependsOnThreads(Ridge):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        super().fit(X, y, sample_weight)
        self.coef_ = self.coef_ * (1 + 2e-16 * (self.n_jobs or 1))
        return self


class WritesIntoX(Ridge):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        super().fit(X, y, sample_weight)
        if isinstance(X, np.ndarray) and X.flags.writeable:
            X[0] += 1e-12
        return self


class KeepsX(PCA):
    def fit(self, X: Any, y: Any = None) -> Self:
        super().fit(X)
        self.mean_ = np.asarray(X.X if isinstance(X, manyfit.Dataset) else X)[0]
        return self


class HoldsNativeObjects(Ridge):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        super().fit(X, y, sample_weight)
        self.backend_ = manyfit._native.core.philox_words  # pickled by the name of its module
        return self


class Leaks(Ridge):
    kept: list[Any] = []  # noqa: RUF012

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        self.kept.append(np.ones(300))
        return super().fit(X, y, sample_weight)


class SetsTheSeed(Ridge):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        np.random.seed(0)  # noqa: NPY002
        return super().fit(X, y, sample_weight)


class LimitsTheBlas(Ridge):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        threadpool_limits(limits=1, user_api="blas")
        return super().fit(X, y, sample_weight)


class SwallowsInterrupts(Ridge):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        try:
            return super().fit(X, y, sample_weight)
        except KeyboardInterrupt:
            return self


class Silent(Ridge):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        from manyfit._execution import _progress

        token = _progress.set(None)
        try:
            return super().fit(X, y, sample_weight)
        finally:
            _progress.reset(token)


class AbortsWithoutMemory(Ridge):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        try:
            return super().fit(X, y, sample_weight)
        except MemoryError:
            raise RuntimeError("out of memory") from None


class ForgetsNames(Ridge):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        return super().fit(np.asarray(X), y, sample_weight)


class RepeatsWrongly(Ridge):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        weights = None if sample_weight is None else np.minimum(sample_weight, 2.0)
        return super().fit(X, y, weights)


class ScoresOnTrainingRows(Ridge):
    @classmethod
    def _score_population(cls, jobs: Any, dataset: Any, splits: Any, metric: str = "score") -> Any:
        rows = [splits.train_rows(job.split) for job in jobs]
        scores = [job.estimator.score(dataset.X[r], dataset.y[r]) for job, r in zip(jobs, rows, strict=True)]
        return np.array(scores)


class LosesDigits(Ridge):
    @classmethod
    def _train_population(cls, jobs: Any, dataset: Any, splits: Any) -> Any:
        left = super()._train_population(jobs, dataset, splits)
        for job in jobs:
            job.estimator.coef_ = job.estimator.coef_ * (1 + 1e-8 * len(jobs))
        return left


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (TakesAnyNumber(), "check_parameter_ranges"),
        (DrawsAtRandom(), "check_same_bits_in_every_run"),
        (DrawsAtRandom(), "check_same_bits_after_fork"),
        (DrawsAtRandom(), "check_same_bits_in_threads"),
        (DrawsAtRandom(), "check_layouts"),
        (DependsOnThreads(), "check_same_bits_for_any_n_jobs"),
        (WritesIntoX(), "check_input_unchanged"),
        (KeepsX(), "check_input_unchanged"),
        (KeepsX(), "check_memmap"),
        (HoldsNativeObjects(), "check_pickle_holds_data_alone"),
        (Leaks(), "check_no_leak"),
        (SetsTheSeed(), "check_no_side_effects"),
        (LimitsTheBlas(), "check_no_side_effects"),
        (SwallowsInterrupts(), "check_interrupt"),
        (Silent(), "check_progress"),
        (AbortsWithoutMemory(), "check_memory_limit"),
        (ForgetsNames(), "check_frames"),
        (RepeatsWrongly(), "check_weights_equal_repetition"),
        (ScoresOnTrainingRows(), "check_test_scores"),
        (LosesDigits(), "check_population_equals_separate_fits"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_broken_promises_are_noticed(broken: Any, check: str) -> None:
    with warnings.catch_warnings(), pytest.raises(AssertionError) as raised:
        warnings.simplefilter("ignore", RuntimeWarning)
        check_estimator(broken, [check])
    assert any(check in note for note in raised.value.__notes__)
