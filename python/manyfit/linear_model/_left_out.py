"""Linear models on the rows that their splits leave out: all of a split answer by one matrix product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyfit.base import Job
from manyfit.dataset import Dataset
from manyfit.splits import Splits

__all__ = ["left_out_accuracy", "left_out_models", "left_out_scores"]

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
        model = jobs[b].estimator
        known = object.__new__(_known_class(type(model)))
        known.__dict__.update(model.__dict__)
        single = model.coef_.ndim == 1 or (hasattr(model, "decision_function") and scores.shape[1] == 1)
        known._known = scores[:, 0] if single else scores
        yield b, known


def left_out_accuracy(jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> NDArray[np.float64] | None:
    """Accuracy of classifiers on their left-out rows, as accuracy_score has it; None where there is no such way."""
    found = left_out_scores(jobs, dataset, splits)
    if found is None or any(getattr(job.estimator, "_multilabel", False) for job in jobs):
        return None
    owner = jobs[0].estimator
    classes, codes = dataset.labels(owner)
    weights = dataset.weights(owner)
    tested = {split: splits.test_rows(split) for split in {job.split for job in jobs}}
    if any(len(rows) == 0 or (weights is not None and not weights[rows].any()) for rows in tested.values()):
        return None
    right = {split: codes[rows] for split, rows in tested.items()}
    scores = np.empty(len(jobs))
    for b, answers in found:
        split = jobs[b].split
        binary = answers.shape[1] == 1
        places = (answers[:, 0] > 0).astype(np.intp) if binary else answers.argmax(axis=1)
        known = np.searchsorted(classes, jobs[b].estimator.classes_)
        hits = known[places] == right[split]
        scores[b] = np.average(hits, weights=None if weights is None else weights[tested[split]])
    return scores
