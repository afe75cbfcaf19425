"""Candidates that one of our estimators fits as a population."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_squared_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.metrics._scorer import _MultimetricScorer, _PassthroughScorer, _Scorer
from sklearn.model_selection._validation import _score
from sklearn.utils import _safe_indexing
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.linear_model._left_out import left_out_models
from manyfit.splits import Splits

if TYPE_CHECKING:
    from manyfit.model_selection._evaluator import Evaluation, Evaluator

__all__ = [
    "Scores",
    "evaluate_population",
    "fit_on_all",
    "is_ours",
    "metric_name",
    "reads_answers_alone",
    "settable",
    "twin",
    "why_no_population",
]

# Metrics that moments or sums over the left-out rows may tell: scikit-learn's function, sign and response.
_METRICS = {
    (r2_score, 1, "predict"): "r2",
    (mean_squared_error, -1, "predict"): "neg_mean_squared_error",
    (root_mean_squared_error, -1, "predict"): "neg_root_mean_squared_error",
    (accuracy_score, 1, "predict"): "accuracy",
    (log_loss, -1, "predict_proba"): "neg_log_loss",
    (roc_auc_score, 1, ("decision_function", "predict_proba")): "roc_auc",
}


def metric_name(scorer: Any) -> str | None:
    """scikit-learn's name of the metric a scorer computes, "score" for the estimator's own; None for others."""
    if type(scorer) is _PassthroughScorer:
        return "score"
    if type(scorer) is _Scorer and not scorer._kwargs:
        response = scorer._response_method
        response = response if isinstance(response, str) else tuple(response)
        return _METRICS.get((scorer._score_func, scorer._sign, response))
    return None


def is_ours(model: Any) -> bool:
    """Whether `model` fits, predicts and scores by our own methods, none of them overridden by a user."""
    return isinstance(model, Estimator) and type(model).__module__.startswith("manyfit.")


def why_no_population(evaluator: Evaluator, model: Any) -> str:
    """Why a candidate is not fitted as part of a population; empty where it is."""
    if not is_ours(model):
        return "no estimator of manyfit"
    if hasattr(model, "_skl_callbacks"):
        return "callbacks watch each fit"
    others = sorted(evaluator.fit_params.keys() - {"sample_weight"})
    if others:
        return f"fit takes {', '.join(others)}"
    return ""


def reads_answers_alone(scorer: Any) -> bool:
    """Whether a scorer asks a model for nothing but its answers on the rows, or its own score of them."""
    scorers = scorer._scorers.values() if isinstance(scorer, _MultimetricScorer) else [scorer]
    return all(type(each) is _PassthroughScorer or isinstance(each, _Scorer) for each in scorers)


class Rows:
    """The rows of one split to score on, cut once for all models."""

    def __init__(
        self, evaluator: Evaluator, model: Any, split: int, train: bool, answered: bool = False
    ) -> None:
        rows, left_out = evaluator.splits[split]
        chosen = rows if train else left_out
        if answered:  # models know their answers: nothing reads X
            self.X: Any = np.empty((len(chosen), 0))
            self.y = None if evaluator.y is None else _safe_indexing(evaluator.y, chosen)
        elif train:
            self.X, self.y = _safe_split(model, evaluator.X, evaluator.y, rows)
        else:
            self.X, self.y = _safe_split(model, evaluator.X, evaluator.y, left_out, rows)
        self.params = _check_method_params(evaluator.X, params=evaluator.score_params, indices=chosen)

    def score(self, model: Any, scorer: Any, error_score: Any) -> Any:
        """A number, or a dict of numbers."""
        return _score(model, self.X, self.y, scorer, self.params, error_score)


class Scores:
    """Scores of the jobs of a population, from the core where it knows the metric.

    Jobs are asked about in their order, which is by split.
    """

    def __init__(self, evaluator: Evaluator, jobs: Sequence[Job], train: bool) -> None:
        self.evaluator = evaluator
        self.train = train
        self.scorer = evaluator.scorer
        self.several = isinstance(self.scorer, _MultimetricScorer)
        scorers = self.scorer._scorers if self.several else {"score": self.scorer}
        cut = evaluator.cut_to_train if train else evaluator.cut
        self.known: dict[str, NDArray[np.float64]] = {}
        if _same_weights(evaluator.fit_params, evaluator.score_params):
            for name, scorer in scorers.items():
                values = _from_core(jobs, evaluator.dataset, cut, metric_name(scorer))
                if values is not None:
                    self.known[name] = values
        left = {name: scorer for name, scorer in scorers.items() if name not in self.known}
        if self.several and self.known:
            self.scorer = _MultimetricScorer(scorers=left, raise_exc=self.scorer._raise_exc)
        self.names = list(scorers)
        self.done = not left
        self._models = None
        if left and reads_answers_alone(self.scorer):
            self._models = left_out_models(jobs, evaluator.dataset, cut)
        self._rows: tuple[int, Rows] | None = None

    def of(self, b: int, job: Job) -> Any:
        """Score of job b: a number, or a dict of numbers."""
        scores = {name: float(values[b]) for name, values in self.known.items()}
        if not self.done:
            found = self._computed(job)
            if not self.several:
                return found
            scores.update(found)
        return {name: scores[name] for name in self.names} if self.several else scores["score"]

    def _computed(self, job: Job) -> Any:
        model = job.estimator if self._models is None else next(self._models)[1]
        if self._rows is None or self._rows[0] != job.split:
            answered = self._models is not None
            self._rows = job.split, Rows(self.evaluator, model, job.split, self.train, answered)
        return self._rows[1].score(model, self.scorer, self.evaluator.error_score)


def _same_weights(fit_params: Mapping[str, Any], score_params: Mapping[str, Any]) -> bool:
    """Whether scores are weighted as the fits are: the core knows one set of weights."""
    return not (fit_params or score_params) or (
        fit_params.keys() == score_params.keys() == {"sample_weight"}
        and fit_params["sample_weight"] is score_params["sample_weight"]
    )


def _from_core(
    jobs: Sequence[Job], dataset: Dataset, cut: Splits, metric: str | None
) -> NDArray[np.float64] | None:
    if metric is None:
        return None
    values = type(jobs[0].estimator)._score_population(jobs, dataset, cut, metric)
    return values if values is not None and np.isfinite(values).all() else None


def evaluate_population(
    evaluator: Evaluator, models: Sequence[Any], splits: Sequence[int]
) -> list[list[Evaluation]] | None:
    """Evaluations by model and split, or None where a fit failed: then each is to be tried alone."""
    cls = type(models[0])
    jobs = [Job(_copy(model, evaluator.n_jobs), split) for split in splits for model in models]
    begin = perf_counter()
    before = len(evaluator.dataset.passes)
    try:
        cls._train(jobs, evaluator.dataset, evaluator.cut)
    except Exception:
        return None
    trained = perf_counter()
    test = Scores(evaluator, jobs, train=False)
    shared = (perf_counter() - trained) / len(jobs)
    rows: list[list[Evaluation]] = [[] for _ in models]
    for b, job in enumerate(jobs):
        start = perf_counter()
        rows[b % len(models)].append(
            {
                "fit_error": None,
                "test_scores": test.of(b, job),
                "n_test_samples": len(evaluator.splits[job.split][1]),
                "fit_time": (trained - begin) / len(jobs),
                "score_time": shared + perf_counter() - start,
            }
        )
    evaluations = [rows[b % len(models)][b // len(models)] for b in range(len(jobs))]
    if evaluator.return_train_score:
        train = Scores(evaluator, jobs, train=True)
        for b, job in enumerate(jobs):
            evaluations[b]["train_scores"] = train.of(b, job)
    if evaluator.return_estimator:
        for b, job in enumerate(jobs):
            job.estimator.n_jobs = models[b % len(models)].n_jobs
            evaluations[b]["estimator"] = job.estimator
    elsewhere = sum(job.estimator.fit_backend_ != "manyfit" for job in jobs)
    if len(jobs) > elsewhere:
        share = evaluator.plan.share("population", cls.__name__)
        share.fits += len(jobs) - elsewhere
        share.passes += evaluator.dataset.passes[before:]
        share.prepared = before > 0
        share.seconds += perf_counter() - begin
    if elsewhere:
        share = evaluator.plan.share("one by one", cls.__name__, "scikit-learn's solver")
        share.fits += elsewhere
    return rows


def fit_on_all(evaluator: Evaluator, model: Any) -> Any:
    """The model fitted on all rows, from moments of the splits where these serve; None where that fails."""
    job = Job(_copy(model, evaluator.n_jobs), len(evaluator.splits))
    try:
        type(model)._train([job], evaluator.dataset, evaluator.cut)
    except Exception:
        return None
    job.estimator.n_jobs = model.n_jobs
    return job.estimator


def twin(model: Any, values: Mapping[str, Any]) -> Any:
    """An unfitted estimator's copy with some parameters of its own. Not clone(), which costs more than many a fit."""
    other = object.__new__(type(model))
    vars(other).update(vars(model))
    vars(other).update(values)
    return other


def settable(model: Any, values: Mapping[str, Any]) -> bool:
    """Whether setting parameters of an estimator is to set its attributes."""
    plain = getattr(type(model), "set_params", None) is BaseEstimator.set_params
    return plain and values.keys() <= vars(model).keys()


def _copy(model: Any, n_jobs: int | None) -> Any:
    return twin(model, {"n_jobs": n_jobs} if n_jobs is not None and model.n_jobs is None else {})
