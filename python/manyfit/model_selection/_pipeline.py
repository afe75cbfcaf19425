"""Pipelines whose steps are fitted once for each split and reused by every candidate that begins alike.

Candidates of one split form a tree: a node is a fitted step with the rows it made, a leaf the last steps of
all candidates with these rows. The tree is walked depth first, so that only one branch is held. Estimators of
ours at a leaf are fitted as a population.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection._validation import _score
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params, _num_samples

from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.model_selection._population import Scores, is_ours, reads_answers_alone

if TYPE_CHECKING:
    from manyfit.model_selection._evaluator import Evaluation, Evaluator

__all__ = ["beginning", "evaluate_pipelines", "steps_of", "why_no_pipeline"]


def why_no_pipeline(evaluator: Evaluator, model: Any) -> str | None:
    """Why the steps of a candidate are not shared; None where they are, empty for what is no pipeline."""
    if not isinstance(model, Pipeline):
        return ""
    if type(model) is not Pipeline:
        return f"{type(model).__name__} is a subclass of Pipeline"
    if model.memory is not None:
        return "memory caches the steps"
    if getattr(model, "transform_input", None) is not None:
        return "transform_input is set"
    if hasattr(model, "_skl_callbacks"):
        return "callbacks watch each fit"
    if not model.steps or not hasattr(model.steps[-1][1], "fit"):
        return "the last step is no estimator"
    if any(step not in (None, "passthrough") and not _transforms(step) for _, step in model.steps[:-1]):
        return "a step does not transform"
    places = _transforming(model)
    if not places:
        return "no step before the last"
    if get_tags(model.steps[places[0]][1]).input_tags.pairwise:
        return "X holds distances or a kernel"
    last = model.steps[-1][0]
    others = sorted(name for name in evaluator.fit_params if not name.startswith(f"{last}__"))
    if others:
        return f"fit takes {', '.join(others)}"
    return None


def _transforms(step: Any) -> bool:
    return hasattr(step, "transform") and (hasattr(step, "fit") or hasattr(step, "fit_transform"))


def _transforming(pipeline: Pipeline) -> list[int]:
    """Places of the steps that do something, the last one apart."""
    return [i for i, (_, step) in enumerate(pipeline.steps[:-1]) if step not in (None, "passthrough")]


def beginning(pipeline: Pipeline) -> tuple[Any, ...]:
    """Equal for pipelines whose steps before the last fit alike."""
    return tuple(_key(pipeline.steps[place][1]) for place in _transforming(pipeline))


def steps_of(model: Any) -> str:
    """Names of the steps of a pipeline that do something, or of an estimator."""
    if not isinstance(model, Pipeline):
        return type(model).__name__
    steps = [model.steps[place][1] for place in _transforming(model)]
    return " + ".join(type(step).__name__ for step in [*steps, model.steps[-1][1]])


def evaluate_pipelines(
    evaluator: Evaluator, models: Sequence[Pipeline], splits: Sequence[int]
) -> list[list[Evaluation] | None]:
    """Evaluations by model and split; None for a model of which a fit failed: it is to be tried alone."""
    begin = perf_counter()
    ours = all(is_ours(model.steps[-1][1]) for model in models)
    tree = _Tree(evaluator, models)
    if ours or evaluator.n_jobs in (None, 1) or len(splits) == 1:
        branches = [tree.walk(split) for split in splits]
    else:
        branches = Parallel(n_jobs=evaluator.n_jobs, pre_dispatch=evaluator.pre_dispatch)(
            delayed(tree.walk)(split) for split in splits
        )
    rows: list[list[Evaluation] | None] = []
    for i, model in enumerate(models):
        row = [found[i] for found, _ in branches]
        whole = [evaluation for evaluation in row if evaluation is not None]
        rows.append(whole if len(whole) == len(row) else None)
        if len(whole) == len(row):
            share = evaluator.plan.share("pipeline", steps_of(model))
            share.fits += len(row)
            share.seconds += (perf_counter() - begin) / len(models)
    for what, fits in _summed([counts for _, counts in branches]).items():
        evaluator.plan.steps[what] = evaluator.plan.steps.get(what, 0) + fits
    return rows


def _summed(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for what, fits in each.items():
            total[what] = total.get(what, 0) + fits
    return total


class _Branch:
    """Rows as some fitted steps leave them."""

    def __init__(
        self, X: Any, X_seen: Any, X_test: Any, fitted: Sequence[Any] = (), seconds: float = 0.0
    ) -> None:
        self.X = X  # to train on
        self.X_seen = X_seen  # the same rows as new ones would come out, for scores on them; or None
        self.X_test = X_test
        self.fitted = list(fitted)
        self.seconds = seconds  # spent on each candidate's steps, where candidates share them equally

    def grown(self, step: Any, y: Any, candidates: int) -> _Branch:
        """Fit one more step, which so many candidates share."""
        begin = perf_counter()
        joint = hasattr(step, "fit_transform")
        X = step.fit_transform(self.X, y) if joint else step.fit(self.X, y).transform(self.X)
        X_test = step.transform(self.X_test)
        X_seen = None if self.X_seen is None else step.transform(self.X_seen)
        seconds = self.seconds + (perf_counter() - begin) / candidates
        return _Branch(X, X_seen, X_test, [*self.fitted, step], seconds)


class _Tree:
    """The candidates, and the evaluations found so far for one split."""

    def __init__(self, evaluator: Evaluator, models: Sequence[Pipeline]) -> None:
        self.evaluator = evaluator
        self.models = models
        self.places = [_transforming(model) for model in models]
        self.keys = [beginning(model) for model in models]

    def walk(self, split: int) -> tuple[list[Evaluation | None], dict[str, int]]:
        """Evaluations of one split by model, and how often each kind of step was fitted."""
        evaluator = self.evaluator
        train, test = evaluator.splits[split]
        X, y = _safe_split(self.models[0], evaluator.X, evaluator.y, train)
        X_test, y_test = _safe_split(self.models[0], evaluator.X, evaluator.y, test, train)
        self.split = split
        self.raw = _Branch(X, X if evaluator.return_train_score else None, X_test)
        self.y, self.y_test = y, y_test
        self.found: list[Evaluation | None] = [None] * len(self.models)
        self.counts: dict[str, int] = {}
        self._grow(list(range(len(self.models))), self.raw)
        return self.found, self.counts

    def _grow(self, members: list[int], branch: _Branch) -> None:
        depth = len(branch.fitted)
        leaves = [i for i in members if len(self.places[i]) == depth]
        if leaves:
            self._leaf(leaves, branch)
        alike: dict[Any, list[int]] = {}
        for i in members:
            if len(self.places[i]) > depth:
                alike.setdefault(self.keys[i][depth], []).append(i)
        for group in alike.values():
            step = clone(self.models[group[0]].steps[self.places[group[0]][depth]][1])
            try:
                grown = branch.grown(step, self.y, len(group))
            except Exception:
                continue  # each is tried alone, where the error is kept
            name = type(step).__name__
            self.counts[name] = self.counts.get(name, 0) + 1
            self._grow(group, grown)

    def _leaf(self, members: list[int], branch: _Branch) -> None:
        evaluator, X, y = self.evaluator, branch.X, self.y
        last = self.models[members[0]].steps[-1][0]
        given = {name.removeprefix(f"{last}__"): value for name, value in evaluator.fit_params.items()}
        params = _check_method_params(evaluator.X, params=given, indices=evaluator.splits[self.split][0])
        populations: dict[type[Estimator], list[int]] = {}
        for i in members:
            model = self.models[i].steps[-1][1]
            if is_ours(model) and not params.keys() - {"sample_weight"}:
                populations.setdefault(type(model), []).append(i)
        for cls, group in populations.items():
            begin = perf_counter()
            jobs = [Job(clone(self.models[i].steps[-1][1]), 0) for i in group]
            try:
                cls._train(jobs, Dataset(X, y, params.get("sample_weight")), None)
            except Exception:
                continue  # each is tried alone
            seconds = branch.seconds + (perf_counter() - begin) / len(group)
            self._score(group, [job.estimator for job in jobs], branch, [seconds] * len(group))
        data = (X,) if y is None else (X, y)
        for i in members:
            if self.found[i] is None:
                begin = perf_counter()
                model = clone(self.models[i].steps[-1][1])
                try:
                    model.fit(*data, **params)
                except Exception:
                    continue
                self._score([i], [model], branch, [branch.seconds + perf_counter() - begin])

    def _score(
        self, members: Sequence[int], models: Sequence[Any], branch: _Branch, seconds: Sequence[float]
    ) -> None:
        """Keep the evaluations of fitted last steps."""
        evaluator = self.evaluator
        train, test = evaluator.splits[self.split]
        plain = reads_answers_alone(evaluator.scorer)
        rows, scored, whole = branch, list(models), None
        if not plain or evaluator.return_estimator:
            whole = [self._assembled(i, m, branch.fitted) for i, m in zip(members, models, strict=True)]
        if not plain and whole is not None:
            rows, scored = self.raw, whole
        begin = perf_counter()
        test_scores = self._scores(scored, rows.X_test, self.y_test, test)
        score_time = (perf_counter() - begin) / len(members)
        train_scores = None
        if evaluator.return_train_score:
            train_scores = self._scores(scored, rows.X_seen, self.y, train)
        for b, i in enumerate(members):
            evaluation: Evaluation = {
                "fit_error": None,
                "fit_time": seconds[b],
                "test_scores": test_scores[b],
                "n_test_samples": _num_samples(test),
                "score_time": score_time,
            }
            if train_scores is not None:
                evaluation["train_scores"] = train_scores[b]
            if evaluator.return_estimator and whole is not None:
                evaluation["estimator"] = whole[b]
            self.found[i] = evaluation

    def _scores(self, models: Sequence[Any], X: Any, y: Any, chosen: Any) -> list[Any]:
        """Scores of fitted models on some rows; of ours from the core or one product, where the metric allows."""
        evaluator = self.evaluator
        params = _check_method_params(evaluator.X, params=evaluator.score_params, indices=chosen)
        if not is_ours(models[0]):
            return [_score(model, X, y, evaluator.scorer, params, evaluator.error_score) for model in models]
        rows = np.arange(_num_samples(X))
        there = type(evaluator)(
            models[0],
            X,
            y,
            [(rows, rows)],
            evaluator.scorer,
            score_params=params,
            error_score=evaluator.error_score,
        )
        jobs = [Job(model, 0) for model in models]
        scores = Scores(there, jobs, train=False)
        return [scores.of(b, job) for b, job in enumerate(jobs)]

    def _assembled(self, i: int, model: Any, fitted: list[Any]) -> Pipeline:
        """The fitted pipeline of candidate i."""
        pipeline = clone(self.models[i])
        for place, step in zip(self.places[i], fitted, strict=True):
            pipeline.steps[place] = (pipeline.steps[place][0], step)
        pipeline.steps[-1] = (pipeline.steps[-1][0], model)
        return pipeline


def _key(step: Any) -> Any:
    """Equal for steps that fit alike."""
    params = step.get_params() if hasattr(step, "get_params") else None
    if params is not None and all(isinstance(v, str | int | float | bool | None) for v in params.values()):
        return type(step), tuple(sorted((k, repr(v)) for k, v in params.items()))
    return type(step), joblib.hash(step)
