"""Splits inside of splits, for estimators that choose their parameters by cross-validation."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing

from manyfit.base import Job
from manyfit.dataset import Dataset
from manyfit.splits import Splits, _indices

__all__ = ["InnerSplits"]


class InnerSplits:
    """Splits of the rows that splits train on, each followed by those rows themselves."""

    def __init__(self, dataset: Dataset, splits: Splits) -> None:
        self.dataset = dataset
        self.splits = splits
        self.pairs: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._known: dict[tuple[int, int], tuple[int, int]] = {}

    def add(self, job: Job) -> tuple[int, int]:
        """Places of the job's folds; at the second is the split that trains on all of its rows."""
        cv = job.estimator.cv
        if isinstance(cv, Integral | None):
            place = job.split, 5 if cv is None else int(cv)
            if place not in self._known:
                self._known[place] = self._add(job, cv)
            return self._known[place]
        return self._add(job, cv)

    def _add(self, job: Job, cv: Any) -> tuple[int, int]:
        data, rows = self.dataset, self.splits.train_rows(job.split)
        if isinstance(rows, slice):
            rows, X, y, groups = np.arange(self.splits.n_rows), data.X, data.y, data.groups
        else:
            y = _safe_indexing(data.y, rows)
            groups = None if data.groups is None else _safe_indexing(data.groups, rows)
            plain = isinstance(cv, Integral | None)  # looks at the number of rows alone
            X = np.broadcast_to(0.0, (len(rows), 1)) if plain else _safe_indexing(data.X, rows)
        if isinstance(cv, Integral | None):
            groups = None  # stratified folds would warn of them
        first = len(self.pairs)
        splitter = check_cv(cv, y, classifier=is_classifier(job.estimator))
        for train, test in splitter.split(X, y, groups):
            self.pairs.append((rows[_indices(train, len(rows))], rows[_indices(test, len(rows))]))
        if len(self.pairs) == first:
            raise ValueError(f"{type(job.estimator).__name__}: cv must give at least one split, got none")
        self.pairs.append((rows, np.empty(0, dtype=np.int64)))
        return first, len(self.pairs) - 1
