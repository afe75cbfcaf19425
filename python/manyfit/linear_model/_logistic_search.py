"""The population of fits by which LogisticRegressionCV chooses, and their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import linear_model
from sklearn.metrics import get_scorer, make_scorer
from sklearn.utils import _safe_indexing, compute_class_weight

from manyfit._native import core
from manyfit.base import Job
from manyfit.dataset import Dataset
from manyfit.linear_model._inner_splits import InnerSplits
from manyfit.linear_model._logistic import (
    LogisticBatch,
    warn_unconverged,
)
from manyfit.splits import Splits

__all__ = ["Grid", "Search"]

Floats = NDArray[np.float64]

# Scores that sums over the left-out rows tell: weights, those of rows told right, log-loss.
_FROM_SUMS: dict[str | None, Callable[[Floats], Floats]] = {
    None: lambda sums: sums[1] / sums[0],
    "accuracy": lambda sums: sums[1] / sums[0],
    "neg_log_loss": lambda sums: -sums[2] / sums[0],
}


class Grid(NamedTuple):
    """What the parameters, deprecated ones too, stand for."""

    Cs: Floats
    shares: list[float]  # of the l1 penalty
    given: list[float] | None  # l1_ratios as they were given
    elastic: bool
    legacy: bool
    scoring: Any


class _Task(NamedTuple):
    """One fit of the search."""

    owner: int  # whose, counted among the jobs
    split: int
    C: float
    share: float
    start: Floats | None


class Search:
    """The fits of all jobs' grids and folds, as one population."""

    def __init__(self, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> None:
        self.jobs = jobs
        self.dataset = dataset
        self.models = [job.estimator for job in jobs]
        self.grids = [model._settle() for model in self.models]
        plan = InnerSplits(dataset, splits)
        self.places = [plan.add(job) for job in jobs]
        self.splits = Splits(splits.n_rows, plan.pairs)
        self.splits.groups = dataset.known_folds(self.splits.groups)
        self.classes, self.codes = dataset.labels(self.models[0])
        self.unconverged: dict[int, list[int]] = {}  # steps, by job
        self._known: dict[int, tuple[int, ...]] = {}

    def run(self) -> None:
        found = self._fit_folds()
        final: list[_Task] = []
        choices = []
        for i, (model, grid) in enumerate(zip(self.models, self.grids, strict=True)):
            first, last = self.places[i]
            shape = last - first, len(grid.shares), len(grid.Cs)
            paths = np.stack([coef for coef, _ in found[i]]).reshape(*shape, *found[i][0][0].shape)
            n_iter = np.array([steps for _, steps in found[i]], dtype=np.int32).reshape(shape)
            scores = self._scores(i, paths)
            model._take(grid, self.classes, paths, scores, n_iter)
            if not model.refit:
                model._take_choice(grid, *_mean_of_best(grid, scores, paths))
                continue
            mean = np.swapaxes(scores, 1, 2).sum(axis=0)
            c, r = np.unravel_index(np.argmax(mean), mean.shape)
            choices.append((i, grid.Cs[c], None if grid.given is None else grid.given[r]))
            start = paths[:, r, c].mean(axis=0)
            final.append(_Task(i, last, float(grid.Cs[c]), grid.shares[r], start))
        for (i, C, ratio), (coef, _) in zip(choices, self._fit(final), strict=True):
            self.models[i]._take_choice(self.grids[i], C, ratio, coef)
        for i, steps in sorted(self.unconverged.items()):
            warn_unconverged(self.models[i].solver, self.models[i].max_iter, max(steps), len(steps))

    def _fit_folds(self) -> list[list[tuple[Floats, int]]]:
        """Coefficients and steps of each job's fits, by fold, then share, then C."""
        found: list[list[tuple[Floats, int]]] = [[] for _ in self.jobs]
        tasks = [
            _Task(i, split, float(C), share, None)
            for i, grid in enumerate(self.grids)
            for split in range(*self.places[i])
            for share in grid.shares
            for C in grid.Cs
        ]
        for task, result in zip(tasks, self._fit(tasks), strict=True):
            found[task.owner].append(result)
        return found

    def _fit(self, tasks: Sequence[_Task]) -> list[tuple[Floats, int]]:
        """Coefficients (outputs, features + 1) and steps; a class that the rows lack has next to no chance."""
        results: list[tuple[Floats, int] | None] = [None] * len(tasks)
        parts: dict[tuple[bool, tuple[int, ...]], list[int]] = {}
        for t, task in enumerate(tasks):
            fit_intercept = bool(self.models[task.owner].fit_intercept)
            parts.setdefault((fit_intercept, self._present(task.split)), []).append(t)
        for folds in self.splits.groups:
            place = {split: i for i, split in enumerate(folds.splits)}
            for (fit_intercept, present), every in parts.items():
                members = [t for t in every if tasks[t].split in place]
                if not members:
                    continue
                if len(present) == 1:
                    coef = np.zeros((len(members), 1, self._parameters))
                    n_iter, converged = [1] * len(members), [True] * len(members)
                else:
                    batch = self._batch(folds, fit_intercept, present)
                    settings = [self._setting(batch, tasks[t], place, present) for t in members]
                    coef, n_iter, converged = batch.run(settings)
                for b, t in enumerate(members):
                    tol = min(float(self.models[tasks[t].owner].tol), 1e-4)
                    results[t] = self._with_all_classes(coef[b], present, tol), int(n_iter[b])
                    if not converged[b]:
                        self.unconverged.setdefault(tasks[t].owner, []).append(int(n_iter[b]))
        return [result for result in results if result is not None]

    @property
    def _parameters(self) -> int:
        return self.dataset.shape(self.models[0])[1] + 1

    def _present(self, split: int) -> tuple[int, ...]:
        """Classes that the rows of a split have."""
        if split in self._known:
            return self._known[split]
        rows = self.splits.train_rows(split)
        weights = self.dataset.weights(self.models[0])
        counts = np.bincount(
            self.codes[rows], None if weights is None else weights[rows], minlength=len(self.classes)
        )
        self._known[split] = tuple(np.flatnonzero(counts).tolist())
        return self._known[split]

    def _batch(self, folds: core.Folds, fit_intercept: bool, present: tuple[int, ...]) -> LogisticBatch:
        batch = LogisticBatch(self.models[0], self.dataset, folds, fit_intercept)
        if len(present) < len(self.classes):
            # Rows of other classes are not trained on: what they are called does not matter.
            names = np.zeros(len(self.classes), dtype=np.int64)
            names[list(present)] = np.arange(len(present))
            batch.classes, batch.codes = self.classes[list(present)], names[self.codes]
        return batch

    def _with_all_classes(self, coef: Floats, present: tuple[int, ...], tol: float) -> Floats:
        """Coefficients of all classes from those of the classes present.

        A class without rows has its minimum where its chance is 0, at no finite coefficients. Here its score is the
        mean of the others' less log(1 / tol), so that it is nowhere the largest.
        """
        if len(present) == len(self.classes):
            return coef
        if len(self.classes) == 2:  # one of them is all there is
            single = np.zeros((1, coef.shape[1]))
            single[0, -1] = -math.log(tol) if present == (1,) else math.log(tol)
            return single
        if len(present) == 2:
            coef = np.concatenate([-coef / 2, coef / 2])
        whole = np.tile(coef.mean(axis=0), (len(self.classes), 1))
        whole[:, -1] += math.log(tol)
        whole[list(present)] = coef
        return whole

    def _setting(
        self, batch: LogisticBatch, task: _Task, place: dict[int, int], present: tuple[int, ...]
    ) -> dict[str, Any]:
        model = self.models[task.owner]
        C, share = task.C, 0.0 if math.isinf(task.C) else task.share
        if len(present) == 2 < len(self.classes):
            # Of two columns of coefficients, u / 2 and -u / 2, the penalty is (1 - r) / 4 |u|^2 + r |u|.
            scale = share + (1 - share) / 2
            C, share = C / scale, share / scale
        return {
            "splits": place[task.split],
            "class_weight": self._class_weight(batch, task.owner, present),
            "C": C,
            "l1_ratio": share,
            "tol": float(model.tol),
            "max_iter": int(model.max_iter),
            "start": task.start if len(present) == len(self.classes) else None,
        }

    def _class_weight(self, batch: LogisticBatch, owner: int, present: tuple[int, ...]) -> int:
        """Place of the class weights, which are balanced over all rows that are fitted, not over a fold's."""
        setting = self.models[owner].class_weight
        if isinstance(setting, dict) and not set(setting) <= set(self.classes.tolist()):
            raise ValueError(
                f"{type(self.models[owner]).__name__}: The given class_weight dict must have the class labels as "
                f"keys; classes={self.classes} but key={setting.keys()}"
            )

        def make() -> Floats:
            rows = self.splits.train_rows(self.places[owner][1])
            weights = None if batch.weights is None else batch.weights[rows]
            y = self.classes[self.codes[rows]]
            table = compute_class_weight(setting, classes=self.classes, y=y, sample_weight=weights)
            return np.asarray(table, dtype=np.float64)[list(present)]

        return batch.known(None if setting is None else owner, make)

    # --- scores ---

    def _scores(self, i: int, paths: Floats) -> Floats:
        """Of the left-out rows of every fit, (folds, l1 ratios, Cs)."""
        model, grid = self.models[i], self.grids[i]
        score = _FROM_SUMS.get(grid.scoring) if isinstance(grid.scoring, str | None) else None
        if score is not None:
            return score(self._sums(i, paths))
        scores = np.empty(paths.shape[:3])
        X = self.dataset.matrix(model) if self.dataset.sparse else self.dataset.X
        y, weights = self.dataset.y, self.dataset.weights(model)
        scorer = _scorer(grid.scoring, self.classes)
        for k in range(len(scores)):
            rows = self.splits.test_rows(self.places[i][0] + k)
            left_out = _safe_indexing(X, rows), _safe_indexing(y, rows)
            extra = {} if weights is None else {"sample_weight": weights[rows]}
            for r, c in np.ndindex(scores.shape[1:]):
                fitted = _light(model, self.classes, grid.Cs[c], paths[k, r, c])
                scores[k, r, c] = scorer(fitted, *left_out, **extra)
        return scores

    def _sums(self, i: int, paths: Floats) -> Floats:
        """Weights of the left-out rows, of those told right, and their loss, (3, folds, l1 ratios, Cs)."""
        first, last = self.places[i]
        sums = np.empty((3, *paths.shape[:3]))
        for folds in self.splits.groups:
            place = {split - first: k for k, split in enumerate(folds.splits) if first <= split < last}
            if place:
                batch = LogisticBatch(self.models[i], self.dataset, folds, True)
                members = list(place)
                each = [k for k in place.values() for _ in range(paths[0, ..., 0, 0].size)]
                found = batch.scores(each, paths[members].reshape(len(each), *paths.shape[3:]))
                sums[:, members] = found.T.reshape(3, len(members), *paths.shape[1:3])
        return sums


def _light(model: Any, classes: NDArray[Any], C: float, coef: Floats) -> Any:
    """What a scorer takes for a fitted model."""
    light = linear_model.LogisticRegression(solver=model.solver, C=C)
    light.classes_ = classes
    light.coef_, light.intercept_ = coef[:, :-1], coef[:, -1]
    return light


def _scorer(scoring: Any, classes: NDArray[Any]) -> Any:
    """The scorer; one that takes labels is told all classes, as rows left out may lack some."""
    scorer = get_scorer("accuracy" if scoring is None else scoring)
    function = getattr(scorer, "_score_func", None)
    if function is None:
        return scorer
    names = signature(function).parameters
    if "labels" not in names:
        return scorer
    more = {"pos_label": classes[-1]} if len(classes) == 2 and "pos_label" in names else {}
    return make_scorer(
        function,
        greater_is_better=scorer._sign == 1,
        response_method=scorer._response_method,
        **{"labels": classes, **more, **scorer._kwargs},
    )


def _mean_of_best(grid: Grid, scores: Floats, paths: Floats) -> tuple[float, float | None, Floats]:
    """C, share and coefficients: the mean of those that each fold finds best."""
    by_C = np.swapaxes(scores, 1, 2).reshape(len(scores), -1)
    c, r = np.unravel_index(np.argmax(by_C, axis=1), (len(grid.Cs), len(grid.shares)))
    coef = np.mean([paths[k, r[k], c[k]] for k in range(len(scores))], axis=0)
    ratio = float(np.mean(np.asarray(grid.shares)[r])) if grid.elastic else 0.0
    return float(np.mean(grid.Cs[c])), ratio, coef
