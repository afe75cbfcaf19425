"""Linear models on the rows that their splits leave out: all of a split answer by one matrix product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyfit.base import Job
from manyfit.dataset import Dataset
from manyfit.splits import Splits

__all__ = ["known_model", "left_out_metric", "left_out_models", "left_out_scores", "roc_auc"]

# Scores of so many numbers at once.
BLOCK = 1 << 22


def left_out_scores(
    jobs: Sequence[Job], dataset: Dataset, splits: Splits
) -> Iterator[tuple[int, NDArray[Any]]] | None:
    """Each job's place and its ``X @ coef_.T + intercept_`` on its left-out rows, (rows, outputs), by split.

    None where some job is not a linear model, or X is sparse.
    """
    if dataset.sparse or not all(_linear(job.estimator) for job in jobs):
        return None
    return _scores(jobs, dataset, splits)


def _linear(model: Any) -> bool:
    cls = type(model)
    return (
        cls.__module__.startswith("manyfit.linear_model.")
        and isinstance(model.__dict__.get("coef_"), np.ndarray)
        and "intercept_" in model.__dict__
    )


def _scores(jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Iterator[tuple[int, NDArray[Any]]]:
    by_split: dict[int, list[int]] = {}
    for b, job in enumerate(jobs):
        by_split.setdefault(job.split, []).append(b)
    for split, members in by_split.items():
        X = dataset.matrix(jobs[0].estimator)[_rows(splits.test_rows(split))]
        begin = 0
        while begin < len(members):
            stacked: list[NDArray[Any]] = []
            width = 0
            for b in members[begin:]:
                coef = np.atleast_2d(jobs[b].estimator.coef_)
                width += len(coef)
                if stacked and width * len(X) > BLOCK:
                    break
                stacked.append(coef)
            # A row for each column: what one model answers lies together.
            answers = np.concatenate(stacked) @ X.T
            end = 0
            for i, coef in enumerate(stacked):
                b = members[begin + i]
                own = answers[end : end + len(coef)]
                own += np.reshape(jobs[b].estimator.intercept_, (-1, 1))
                end += len(coef)
                yield b, own.T
            begin += len(stacked)


def _rows(rows: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Rows as a slice where they follow each other."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


class _Known:
    """A fitted model whose scores of its left-out rows are known: the `X` it is asked about must be these.

    All else, such as labels and probabilities, its class makes of them.
    """

    _known: NDArray[Any]

    def _known_of(self, X: Any) -> NDArray[Any]:
        if len(X) != len(self._known):
            raise ValueError(f"X must be the {len(self._known)} rows left out, got {len(X)}")
        return self._known.copy()  # some change it in place


class _KnownClassifier(_Known):
    def decision_function(self, X: Any) -> NDArray[Any]:
        return self._known_of(X)


class _KnownRegressor(_Known):
    def predict(self, X: Any) -> NDArray[Any]:
        return self._known_of(X)


class _KnownPoisson(_Known):
    def _linear_predictor(self, X: Any) -> NDArray[Any]:
        return self._known_of(X)

    def predict(self, X: Any) -> NDArray[Any]:
        scores = self._known_of(X)
        return np.asarray(np.exp(scores, out=scores))


_known_classes: dict[type[Any], type[Any]] = {}


def _known_class(cls: type[Any]) -> type[Any]:
    if cls in _known_classes:
        return _known_classes[cls]
    kind: type[Any] = _KnownRegressor
    if hasattr(cls, "decision_function"):
        kind = _KnownClassifier
    elif hasattr(cls, "_linear_predictor"):
        kind = _KnownPoisson
    same = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    known = _known_classes[cls] = type(cls.__name__, (kind, cls), same)
    return known


def left_out_models(
    jobs: Sequence[Job], dataset: Dataset, splits: Splits
) -> Iterator[tuple[int, Any]] | None:
    """Each job's place and a model that knows its answers on its left-out rows, by split.

    ``scorer(model, X, y)`` with any `X` of as many rows (``np.empty((n, 0))`` will do) then computes the metric alone:
    ``predict``, ``decision_function``, ``predict_proba`` and ``score`` read nothing. A model is to be used before the
    next is asked for, or memory grows. None where some job is not a linear model, or X is sparse.
    """
    found = left_out_scores(jobs, dataset, splits)
    return None if found is None else _models(jobs, found)


def _models(jobs: Sequence[Job], found: Iterator[tuple[int, NDArray[Any]]]) -> Iterator[tuple[int, Any]]:
    for b, scores in found:
        yield b, known_model(jobs[b].estimator, scores)


def known_model(model: Any, scores: NDArray[Any]) -> Any:
    """A fitted linear model that knows its scores (rows, outputs) of some rows."""
    known = object.__new__(_known_class(type(model)))
    known.__dict__.update(model.__dict__)
    single = model.coef_.ndim == 1 or (hasattr(model, "decision_function") and scores.shape[1] == 1)
    known._known = scores[:, 0] if single else scores
    return known


def left_out_metric(
    jobs: Sequence[Job], dataset: Dataset, splits: Splits, metric: str
) -> NDArray[np.float64] | None:
    """Accuracy ("score" too) or "roc_auc" of classifiers on their left-out rows, as scikit-learn's scorers have it.

    None for other metrics and where there is no such way.
    """
    of_ranks = metric == "roc_auc"
    if not of_ranks and metric not in ("score", "accuracy"):
        return None
    if any(getattr(job.estimator, "_multilabel", False) for job in jobs):
        return None
    classes, codes = dataset.labels(jobs[0].estimator)
    weights = dataset.weights(jobs[0].estimator)
    tested = {split: splits.test_rows(split) for split in {job.split for job in jobs}}
    right = {split: codes[rows] for split, rows in tested.items()}
    weight = {split: None if weights is None else weights[rows] for split, rows in tested.items()}
    for split, found in right.items():
        given = weight[split]
        if len(found) == 0 or (given is not None and not given.any()):
            return None
        if of_ranks and (len(classes) != 2 or found.min() == found.max()):
            return None
        if of_ranks and given is not None and not (given[found == 1].any() and given[found == 0].any()):
            return None
    if of_ranks and any(len(job.estimator.classes_) != 2 for job in jobs):
        return None
    answers = left_out_scores(jobs, dataset, splits)
    if answers is None:
        return None
    scores = np.empty(len(jobs))
    for b, answer in answers:
        split = jobs[b].split
        if of_ranks:
            scores[b] = roc_auc(right[split] == 1, answer[:, 0], weight[split])
            continue
        binary = answer.shape[1] == 1
        places = (answer[:, 0] > 0).astype(np.intp) if binary else answer.argmax(axis=1)
        known = np.searchsorted(classes, jobs[b].estimator.classes_)
        scores[b] = np.average(known[places] == right[split], weights=weight[split])
    return scores if np.isfinite(scores).all() else None


def roc_auc(positive: NDArray[np.bool_], scores: NDArray[Any], weights: NDArray[Any] | None = None) -> float:
    """How often a positive row's score exceeds a negative row's, ties counted half; NaN for scores not finite.

    As roc_auc_score, by one sort.
    """
    order = np.argsort(scores)
    ranked, hits = scores[order], positive[order]
    if not (np.isfinite(ranked[0]) and np.isfinite(ranked[-1])):
        return np.nan
    ends = ranked[1:] != ranked[:-1]
    if weights is None and ends.all():
        places = np.flatnonzero(hits)
        count = len(places)
        return float((places.sum() - count * (count - 1) // 2) / (count * (len(hits) - count)))
    weight = np.ones(len(hits)) if weights is None else weights[order].astype(np.float64)
    last = np.append(np.flatnonzero(ends), len(hits) - 1)  # of each run of equal scores
    above = np.append(0.0, np.cumsum(weight * hits)[last])
    below = np.append(0.0, np.cumsum(weight * ~hits)[last])
    area = np.diff(above) @ (below[1:] + below[:-1]) / 2
    return float(area / (above[-1] * below[-1]))
