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
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.metrics._scorer import _MultimetricScorer, _PassthroughScorer, _Scorer
from sklearn.model_selection._validation import _score
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.model_selection._population import is_ours

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
        first = self.models[0]
        X, y = _safe_split(first, evaluator.X, evaluator.y, train)
        X_test, y_test = _safe_split(first, evaluator.X, evaluator.y, test, train)
        self.split, self.raw_test, self.raw_train = split, X_test, X
        self.found: list[Evaluation | None] = [None] * len(self.models)
        self.counts: dict[str, int] = {}
        self._grow(list(range(len(self.models))), 0, X, y, X_test, y_test, [], 0.0)
        return self.found, self.counts

    def _grow(
        self,
        members: list[int],
        depth: int,
        X: Any,
        y: Any,
        X_test: Any,
        y_test: Any,
        fitted: list[Any],
        seconds: float,
    ) -> None:
        leaves = [i for i in members if len(self.places[i]) == depth]
        if leaves:
            self._leaf(leaves, X, y, X_test, y_test, fitted, seconds)
        branches: dict[Any, list[int]] = {}
        for i in members:
            if len(self.places[i]) > depth:
                branches.setdefault(self.keys[i][depth], []).append(i)
        for branch in branches.values():
            step = clone(self.models[branch[0]].steps[self.places[branch[0]][depth]][1])
            begin = perf_counter()
            try:
                joint = hasattr(step, "fit_transform")
                made = step.fit_transform(X, y) if joint else step.fit(X, y).transform(X)
                made_test = step.transform(X_test)
            except Exception:
                continue  # each is tried alone, where the error is kept
            name = type(step).__name__
            self.counts[name] = self.counts.get(name, 0) + 1
            spent = seconds + (perf_counter() - begin) / len(branch)
            self._grow(branch, depth + 1, made, y, made_test, y_test, [*fitted, step], spent)

    def _leaf(
        self, members: list[int], X: Any, y: Any, X_test: Any, y_test: Any, fitted: list[Any], seconds: float
    ) -> None:
        evaluator = self.evaluator
        train, test = evaluator.splits[self.split]
        last = self.models[members[0]].steps[-1][0]
        given = {name.removeprefix(f"{last}__"): value for name, value in evaluator.fit_params.items()}
        params = _check_method_params(evaluator.X, params=given, indices=train)
        finals: dict[int, tuple[Any, float]] = {}
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
                continue
            spent = (perf_counter() - begin) / len(group)
            finals.update({i: (job.estimator, spent) for i, job in zip(group, jobs, strict=True)})
        for i in members:
            if i not in finals:
                begin = perf_counter()
                model = clone(self.models[i].steps[-1][1])
                try:
                    model.fit(X, y, **params) if y is not None else model.fit(X, **params)
                except Exception:
                    continue
                finals[i] = model, perf_counter() - begin
        for i, (model, spent) in finals.items():
            self.found[i] = self._evaluation(i, model, X, y, X_test, y_test, fitted, seconds + spent)
            self.found[i]["n_test_samples"] = len(test)  # type: ignore[index]

    def _evaluation(
        self, i: int, model: Any, X: Any, y: Any, X_test: Any, y_test: Any, fitted: list[Any], seconds: float
    ) -> Evaluation:
        evaluator = self.evaluator
        begin = perf_counter()
        scorer, error_score = evaluator.scorer, evaluator.error_score
        train, test = evaluator.splits[self.split]
        plain = _reads_predictions_alone(scorer)
        whole = None if plain and not evaluator.return_estimator else self._assembled(i, model, fitted)
        scored = model if plain else whole
        evaluation: Evaluation = {"fit_error": None, "fit_time": seconds}
        params = _check_method_params(evaluator.X, params=evaluator.score_params, indices=test)
        evaluation["test_scores"] = _score(
            scored, X_test if plain else self.raw_test, y_test, scorer, params, error_score
        )
        evaluation["score_time"] = perf_counter() - begin
        if evaluator.return_train_score:
            params = _check_method_params(evaluator.X, params=evaluator.score_params, indices=train)
            evaluation["train_scores"] = _score(
                scored, X if plain else self.raw_train, y, scorer, params, error_score
            )
        if evaluator.return_estimator:
            evaluation["estimator"] = whole
        return evaluation

    def _assembled(self, i: int, model: Any, fitted: list[Any]) -> Pipeline:
        """The fitted pipeline of candidate i."""
        pipeline = clone(self.models[i])
        for place, step in zip(self.places[i], fitted, strict=True):
            pipeline.steps[place] = (pipeline.steps[place][0], step)
        pipeline.steps[-1] = (pipeline.steps[-1][0], model)
        return pipeline


def _reads_predictions_alone(scorer: Any) -> bool:
    """Whether a scorer asks the last step for nothing but predictions or its own score."""
    scorers = scorer._scorers.values() if isinstance(scorer, _MultimetricScorer) else [scorer]
    return all(isinstance(each, _Scorer | _PassthroughScorer) for each in scorers)


def _key(step: Any) -> Any:
    """Equal for steps that fit alike."""
    params = step.get_params() if hasattr(step, "get_params") else None
    if params is not None and all(isinstance(v, str | int | float | bool | None) for v in params.values()):
        return type(step), tuple(sorted((k, repr(v)) for k, v in params.items()))
    return type(step), joblib.hash(step)
