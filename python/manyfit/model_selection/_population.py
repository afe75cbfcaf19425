"""Candidates that one of our estimators fits as a population."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sklearn.base import clone
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, r2_score, root_mean_squared_error
from sklearn.metrics._scorer import _MultimetricScorer, _PassthroughScorer, _Scorer
from sklearn.model_selection._validation import _score
from sklearn.utils.metaestimators import _safe_split

from manyfit.base import Estimator, Job

if TYPE_CHECKING:
    from manyfit.model_selection._evaluator import Evaluation, Evaluator

__all__ = ["metric_name", "train_and_score", "why_not"]

# Metrics that moments or sums over the left-out rows may tell: function, sign, response.
_METRICS = {
    (r2_score, 1): "r2",
    (mean_squared_error, -1): "neg_mean_squared_error",
    (root_mean_squared_error, -1): "neg_root_mean_squared_error",
    (accuracy_score, 1): "accuracy",
    (log_loss, -1): "neg_log_loss",
}


def metric_name(scorer: Any) -> str | None:
    """scikit-learn's name of the metric a scorer computes, "score" for the estimator's own; None for others."""
    if isinstance(scorer, _PassthroughScorer):
        return "score"
    if isinstance(scorer, _Scorer) and not scorer._kwargs:
        return _METRICS.get((scorer._score_func, scorer._sign))
    return None


def why_not(evaluator: Evaluator, model: Any) -> str:
    """Why a candidate is not fitted as part of a population; empty where it is."""
    if not isinstance(model, Estimator) or not type(model).fit.__module__.startswith("manyfit."):
        return "not an estimator of manyfit"
    others = sorted(evaluator.fit_params.keys() - {"sample_weight"})
    if others:
        return f"fit takes {', '.join(others)}"
    return ""


def train_and_score(
    evaluator: Evaluator, models: Sequence[Any], splits: Sequence[int]
) -> list[list[Evaluation]] | None:
    """Evaluations by model and split, or None where a fit failed: then each is to be tried alone."""
    jobs = [Job(clone(model), split) for model in models for split in splits]
    begin = perf_counter()
    before = len(evaluator.dataset.passes)
    cls = type(models[0])
    try:
        cls._train(jobs, evaluator.dataset, evaluator.cut)
    except Exception:
        return None
    trained = perf_counter()
    share = evaluator.plan.share("population", cls.__name__)
    share.fits += len(jobs)
    share.passes += evaluator.dataset.passes[before:]
    scorers = (
        evaluator.scorer._scorers
        if isinstance(evaluator.scorer, _MultimetricScorer)
        else {"score": evaluator.scorer}
    )
    known = {}
    if evaluator.fit_params.keys() == evaluator.score_params.keys():
        for name, scorer in scorers.items():
            metric = metric_name(scorer)
            if metric is not None:
                scores = cls._score_population(jobs, evaluator.dataset, evaluator.cut, metric)
                if scores is not None:
                    known[name] = scores
    rows: list[list[Evaluation]] = []
    for b, job in enumerate(jobs):
        start = perf_counter()
        train, test = evaluator.splits[job.split]
        if len(known) == len(scorers):
            scores = {name: float(values[b]) for name, values in known.items()}
            test_scores: Any = scores if isinstance(evaluator.scorer, _MultimetricScorer) else scores["score"]
        else:
            X, y = _safe_split(job.estimator, evaluator.X, evaluator.y, test, train)
            test_scores = _score(job.estimator, X, y, evaluator.scorer, {}, evaluator.error_score)
        evaluation: Evaluation = {
            "fit_error": None,
            "test_scores": test_scores,
            "n_test_samples": len(test),
            "fit_time": (trained - begin) / len(jobs),
        }
        if evaluator.return_train_score:
            X, y = _safe_split(job.estimator, evaluator.X, evaluator.y, train)
            evaluation["train_scores"] = _score(
                job.estimator, X, y, evaluator.scorer, {}, evaluator.error_score
            )
        if evaluator.return_estimator:
            evaluation["estimator"] = job.estimator
        evaluation["score_time"] = perf_counter() - start
        if b % len(splits) == 0:
            rows.append([])
        rows[-1].append(evaluation)
    share.seconds += perf_counter() - begin
    return rows
