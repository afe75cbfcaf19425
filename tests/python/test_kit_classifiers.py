"""The kit's checks of classifiers and of online learning notice classes that break them, one promise each."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import pytest

from manyfit.decomposition import IncrementalPCA
from manyfit.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from manyfit.testing import check_estimator, estimator_checks

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class AnswersObjects(RidgeClassifier):
    def predict(self, X: Any) -> Any:
        return super().predict(X).astype(object)


class ReadsLabelsAsNumbers(RidgeClassifier):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        super().fit(X, y, sample_weight)
        if self.classes_.dtype.kind in "iu":
            self.intercept_ = self.intercept_ + 1e-12 * float(self.classes_[-1])
        return self


class ForgetsTheOrder(RidgeClassifier):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        super().fit(X, y, sample_weight)
        self.classes_ = np.array(list(dict.fromkeys(np.ravel(y).tolist())), dtype=self.classes_.dtype)
        return self


class CountsToTen(RidgeClassifier):
    def predict(self, X: Any) -> Any:
        return self.classes_[np.minimum(np.searchsorted(self.classes_, super().predict(X)), 9)]


class ScoresOneAgainstOne(RidgeClassifier):
    def decision_function(self, X: Any) -> Any:
        scores = super().decision_function(X)
        return scores[:, :-1] if scores.ndim == 2 and scores.shape[1] > 3 else scores


class DoubtsNothing(LogisticRegression):
    def predict_proba(self, X: Any) -> Any:
        told = super().predict_proba(X)
        return told / told.max(axis=1, keepdims=True)


class MixesUpColumns(LogisticRegression):
    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(X)[:, ::-1]


class ScoresTheFirst(RidgeClassifier):
    def decision_function(self, X: Any) -> Any:
        scores = super().decision_function(X)
        return -scores if scores.ndim == 1 else scores

    def predict(self, X: Any) -> Any:
        scores = -self.decision_function(X) if len(self.classes_) == 2 else self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)]


class SaysLittle(LogisticRegression):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        if np.ndim(y) and len(set(np.ravel(y).tolist())) < 2:
            raise ValueError("bad input")
        return super().fit(X, y, sample_weight)


class MakesUpAClass(RidgeClassifier):
    def predict(self, X: Any) -> Any:
        return super().predict(X) if len(self.classes_) > 1 else np.zeros(len(X))


class RoundsLabels(RidgeClassifier):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        y = np.rint(y) if np.asarray(y).dtype.kind == "f" else y
        return super().fit(X, y, sample_weight)


class LeavesTraces(RidgeClassifier):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        self.classes_ = np.array([0, 1])
        return super().fit(X, y, sample_weight)


class IgnoresClassWeights(RidgeClassifier):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        setting, self.class_weight = self.class_weight, None
        try:
            return super().fit(X, y, sample_weight)
        finally:
            self.class_weight = setting


class BalancesByWeight(RidgeClassifier):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        if self.class_weight == "balanced":
            sample_weight = np.linspace(1.0, 2.0, len(y))
        return super().fit(X, y, sample_weight)


class WeighsEverything(LogisticRegression):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        return super().fit(X, y, None if sample_weight is None else np.maximum(sample_weight, 0.5))


class KeepsAllClasses(RidgeClassifier):
    @classmethod
    def _train_population(cls, jobs: Any, dataset: Any, splits: Any) -> Any:
        left = super()._train_population(jobs, dataset, splits)
        for job in jobs:
            job.estimator.classes_ = dataset.labels(job.estimator)[0]
        return left


class OtherWords(LogisticRegression):
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        try:
            return super().fit(X, y, sample_weight)
        except ValueError as error:
            raise ValueError(f"fit: {error}") from error


class LosesItsPlace(SGDClassifier):
    def __getstate__(self) -> Any:
        return {name: value for name, value in super().__getstate__().items() if name != "t_"}


class LearnsOnce(IncrementalPCA):
    def partial_fit(self, X: Any, y: Any = None, check_input: bool = True) -> Self:
        return self if hasattr(self, "components_") else super().partial_fit(X)


class BeginsAnew(IncrementalPCA):
    def partial_fit(self, X: Any, y: Any = None, check_input: bool = True) -> Self:
        return self.fit(X)


class NeverForgets(IncrementalPCA):
    def fit(self, X: Any, y: Any = None) -> Self:
        return self.partial_fit(X) if hasattr(self, "components_") else super().fit(X)


class ReadsMemory(IncrementalPCA):
    def partial_fit(self, X: Any, y: Any = None, check_input: bool = True) -> Self:
        contiguous = isinstance(X, np.ndarray) and X.flags.c_contiguous
        return super().partial_fit(X if contiguous else np.asarray(X) * (1 + 1e-15))


class LearnsBeforeItLooks(IncrementalPCA):
    def partial_fit(self, X: Any, y: Any = None, check_input: bool = True) -> Self:
        if hasattr(self, "n_samples_seen_"):
            self.n_samples_seen_ = self.n_samples_seen_ + len(X)
        return super().partial_fit(X)


class SkipsMissing(IncrementalPCA):
    def partial_fit(self, X: Any, y: Any = None, check_input: bool = True) -> Self:
        return super().partial_fit(np.nan_to_num(X))


class ForgetsColumns(IncrementalPCA):
    def partial_fit(self, X: Any, y: Any = None, check_input: bool = True) -> Self:
        return super().partial_fit(np.asarray(X))


class TakesStrangers(SGDClassifier):
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        if hasattr(self, "classes_") and y is not None:
            y = np.where(np.isin(y, self.classes_), y, self.classes_[0])
        return super().partial_fit(X, y, classes, sample_weight)


class GuessesClasses(SGDClassifier):
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        if classes is None and not hasattr(self, "classes_"):
            classes = np.unique(y)
        return super().partial_fit(X, y, classes, sample_weight)


BROKEN = [
    (AnswersObjects(), "check_kinds_of_labels"),
    (ReadsLabelsAsNumbers(), "check_kinds_of_labels"),
    (ForgetsTheOrder(), "check_kinds_of_labels"),
    (CountsToTen(), "check_many_classes"),
    (ScoresOneAgainstOne(), "check_many_classes"),
    (DoubtsNothing(), "check_probabilities"),
    (MixesUpColumns(), "check_probabilities"),
    (ScoresTheFirst(), "check_decisions"),
    (SaysLittle(), "check_one_class"),
    (MakesUpAClass(), "check_one_class"),
    (RoundsLabels(), "check_label_errors"),
    (LeavesTraces(), "check_label_errors"),
    (IgnoresClassWeights(), "check_class_weights"),
    (IgnoresClassWeights(), "check_class_weights_of_several"),
    (BalancesByWeight(), "check_class_weights"),
    (BalancesByWeight(), "check_class_weights_of_several"),
    (WeighsEverything(), "check_class_without_weight"),
    (KeepsAllClasses(), "check_population_lacking_classes"),
    (OtherWords(), "check_population_of_one_class"),
    (LosesItsPlace(), "check_partial_fit_goes_on"),
    (LearnsOnce(), "check_partial_fit_goes_on"),
    (BeginsAnew(), "check_partial_fit_after_fit"),
    (NeverForgets(), "check_partial_fit_after_fit"),
    (ReadsMemory(), "check_partial_fit_layouts"),
    (LearnsBeforeItLooks(), "check_partial_fit_errors"),
    (SkipsMissing(), "check_partial_fit_errors"),
    (ForgetsColumns(), "check_partial_fit_frames"),
    (TakesStrangers(), "check_partial_fit_classes"),
    (GuessesClasses(), "check_partial_fit_classes"),
]


@pytest.mark.parametrize(
    ("broken", "check"), BROKEN, ids=lambda value: value if isinstance(value, str) else type(value).__name__
)
def test_broken_promises_are_noticed(broken: Any, check: str) -> None:
    with warnings.catch_warnings(), pytest.raises(AssertionError) as raised:
        warnings.simplefilter("ignore")
        check_estimator(broken, [check])
    assert any(check in note for note in raised.value.__notes__)


def test_each_check_of_these_modules_is_broken_once() -> None:
    from manyfit.testing import all_checks

    modules = tuple(f"manyfit.testing._checks.{name}" for name in ("labels", "classes", "online"))
    names = {each.name for each in all_checks() if each.function.__module__ in modules}
    assert names == {check for _, check in BROKEN}


def test_conditions() -> None:
    ridge, logistic, sgd, pca = (
        {name for name, _ in estimator_checks(model)}
        for model in (RidgeClassifier(), LogisticRegression(), SGDClassifier(), IncrementalPCA())
    )
    assert "check_probabilities" in logistic - ridge - sgd  # of the hinge there are none
    assert "check_partial_fit_classes" in sgd - logistic - pca
    assert "check_partial_fit_goes_on" in sgd & pca
    assert not {"check_kinds_of_labels", "check_class_weights", "check_one_class"} & pca
