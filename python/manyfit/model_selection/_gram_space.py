"""Pipelines of scalers and principal components before least squares, without a second pass over X.

What StandardScaler, MinMaxScaler, MaxAbsScaler and PCA do to a row x is affine, ``z = (x - c) A + b``, and what they
learn from the rows of a split follows from these rows' moments (of the first two also: the least and the largest
entry of each column). So the moments of z are algebra on those of x (``FoldGram.mapped``): for each split, scalers are
fitted once, one eigendecomposition serves every number of components, and the models that follow are fitted and scored
from the mapped moments by the very kernels that serve them without a pipeline. No row is transformed, unless a kernel
finds that moments would lose digits and asks for the rows (`MappedDataset.matrix`).

`gram_space_reason` tells whether a pipeline can go this way, `evaluate_in_gram_space` does it. Candidates whose splits
turn out to be badly conditioned come back as None, for the general way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from numbers import Integral
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn import decomposition, get_config
from sklearn.metrics._scorer import _MultimetricScorer, _PassthroughScorer, _Scorer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from sklearn.utils.validation import _check_feature_names

from manyfit._execution import execution
from manyfit._native import core
from manyfit.base import Job
from manyfit.dataset import Dataset
from manyfit.decomposition import PCA
from manyfit.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    MultiTaskElasticNet,
    MultiTaskLasso,
    Ridge,
)
from manyfit.linear_model._least_squares import PreparedJobs
from manyfit.linear_model._left_out import known_model
from manyfit.model_selection._gram_steps import (
    Components,
    Floats,
    MappedDataset,
    Mapping,
    Refused,
    Side,
    Space,
    key_of,
    scale,
)
from manyfit.model_selection._pipeline import steps_of
from manyfit.model_selection._population import Rows, metric_name
from manyfit.splits import Splits

if TYPE_CHECKING:
    from manyfit.model_selection._evaluator import Evaluation, Evaluator

__all__ = ["evaluate_in_gram_space", "fit_in_gram_space", "gram_space_reason"]

SCALERS = (StandardScaler, MinMaxScaler, MaxAbsScaler)
COMPONENTS = (decomposition.PCA, PCA)
MODELS = (LinearRegression, Ridge, Lasso, ElasticNet, MultiTaskLasso, MultiTaskElasticNet)

# How much rounding may grow from moments to mapped moments: beyond, rows are transformed.
MOST_GROWTH = {"float64": 3e4, "float32": 1e3}
# How far, in standard deviations, a column may stand from zero: scikit-learn's steps round such numbers themselves.
MOST_OFFSET = {"float64": 1e5, "float32": 1e3}
WIDEST = 2000
BLOCK = 1 << 22


def gram_space_reason(evaluator: Evaluator, pipeline: Any) -> str:
    """Why a candidate is not fitted in Gram space; empty where it is."""
    if type(pipeline) is not Pipeline or pipeline.memory is not None or pipeline.verbose:
        return "no plain Pipeline"
    if getattr(pipeline, "transform_input", None) is not None or hasattr(pipeline, "_skl_callbacks"):
        return "the Pipeline has options"
    last_name, last = pipeline.steps[-1]
    if type(last) not in MODELS:
        return f"{type(last).__name__} is not fitted from a Gram"
    if not isinstance(getattr(last, "precompute", False), bool | np.bool_):
        return "a Gram is handed over"
    steps = _steps(pipeline)
    if not steps:
        return "no step before the last"
    for step in steps:
        reason = _step_reason(step)
        if reason:
            return reason
    others = sorted(evaluator.fit_params.keys() - {f"{last_name}__sample_weight"})
    if others:
        return f"fit takes {', '.join(others)}"
    if not all(type(s) in (_Scorer, _PassthroughScorer) for s in _scorers(evaluator).values()):
        return "a scorer asks the fitted pipeline"
    if evaluator.dataset.sparse:
        return "X is sparse"
    if get_config()["transform_output"] != "default":
        return "steps hand frames over"
    shape = getattr(evaluator.X, "shape", None)
    if shape is None or len(shape) != 2:
        return "X is no table"
    if shape[1] > WIDEST or min(len(train) for train, _ in evaluator.splits) < shape[1]:
        return "rows are fewer than columns" if shape[1] <= WIDEST else "X has too many columns"
    return ""


def _step_reason(step: Any) -> str:
    name = type(step).__name__
    if type(step) not in SCALERS + COMPONENTS:
        return f"{name} is not affine"
    if hasattr(step, "_sklearn_output_config") or hasattr(step, "_skl_callbacks"):
        return "steps hand frames over"
    if getattr(step, "clip", False):
        return f"{name} clips"
    if isinstance(step, MinMaxScaler) and not step.feature_range[0] < step.feature_range[1]:
        return f"{name} has an empty range"
    if isinstance(step, decomposition.PCA):
        if step.svd_solver not in ("auto", "full", "covariance_eigh"):
            return f"{name} is randomized or iterates"
        if isinstance(step.n_components, Integral) and step.n_components < 1:
            return f"{name} keeps nothing"
    return ""


def evaluate_in_gram_space(
    evaluator: Evaluator, pipelines: Sequence[Pipeline], splits: Sequence[int]
) -> list[list[Evaluation] | None]:
    """Evaluations by pipeline and split; None for a pipeline that is to go another way.

    Every pipeline must have no `gram_space_reason`.
    """
    begin = perf_counter()
    before = len(evaluator.dataset.passes)
    try:
        work = _Work(evaluator, pipelines)
        for split in splits:
            work.run(split)
    except (
        Refused,
        TypeError,
        ValueError,
    ):  # data that nobody can fit, too: the general way says what is wrong
        return [None] * len(pipelines)
    rows: list[list[Evaluation] | None] = []
    for i, pipeline in enumerate(pipelines):
        row = [work.found.get((i, split)) for split in splits]
        whole = [evaluation for evaluation in row if evaluation is not None]
        rows.append(whole if len(whole) == len(row) else None)
        if len(whole) == len(row):
            share = evaluator.plan.share("pipeline", steps_of(pipeline))
            share.fits += len(row)
            share.seconds += (perf_counter() - begin) / len(pipelines)
            share.passes += evaluator.dataset.passes[before:]
            before = len(evaluator.dataset.passes)
    for name, fits in work.counts.items():
        evaluator.plan.steps[name] = evaluator.plan.steps.get(name, 0) + fits
    return rows


def fit_in_gram_space(evaluator: Evaluator, pipeline: Pipeline) -> Pipeline | None:
    """The pipeline fitted on all rows from the moments of the splits, or None where a guard refuses it.

    It must have no `gram_space_reason`.
    """
    try:
        work = _Work(evaluator, [pipeline])
        work.run(len(evaluator.splits))
    except (Refused, TypeError, ValueError):  # the general way says what is wrong
        return None
    return work.whole


def _steps(pipeline: Pipeline) -> list[Any]:
    return [step for _, step in pipeline.steps[:-1] if step not in (None, "passthrough")]


def _scorers(evaluator: Evaluator) -> dict[str, Any]:
    scorer = evaluator.scorer
    return dict(scorer._scorers) if isinstance(scorer, _MultimetricScorer) else {"score": scorer}


class _Work:
    """The candidates, and what is found of them split by split."""

    def __init__(self, evaluator: Evaluator, pipelines: Sequence[Pipeline]) -> None:
        self.evaluator = evaluator
        self.pipelines = pipelines
        self.steps = [_steps(pipeline) for pipeline in pipelines]
        self.models = [pipeline.steps[-1][1] for pipeline in pipelines]
        self.keys = [tuple(key_of(step) for step in steps) for steps in self.steps]
        self.scorers = _scorers(evaluator)
        self.found: dict[tuple[int, int], Evaluation] = {}
        self.counts: dict[str, int] = {}
        self.whole: Pipeline | None = None  # fitted on all rows
        self.refused: set[int] = set()
        checked: dict[Any, bool] = {}
        for i, model in enumerate(self.models):
            steps = zip(self.keys[i], self.steps[i], strict=True)
            if not (_valid(model._check) and all(_checked(checked, *step) for step in steps)):
                self.refused.add(i)  # whoever fits it alone says what is wrong
        weights = [value for name, value in evaluator.fit_params.items() if name.endswith("sample_weight")]
        self.weights = weights[0] if weights else None
        self.same_weights = weights == [] if not evaluator.score_params else (
            evaluator.score_params.keys() == {"sample_weight"}
            and bool(weights)
            and evaluator.score_params["sample_weight"] is weights[0]
        )  # fmt: skip
        self.owner = self.models[0]
        self.X = evaluator.dataset.matrix(self.owner)
        # Scalers take no weights: their moments are others than those that weighted models are fitted from.
        self.plain = evaluator.dataset
        self.weighted = evaluator.dataset
        if self.weights is not None:
            self.weighted = evaluator.dataset.variant(
                ("weights of the last step", id(self.weights)), lambda: (evaluator.y, self.weights)
            )
            self.weighted.assert_finite(self.owner)

    # --- one split ---

    def run(self, split: int) -> None:
        self.split = split
        start = self._start()
        train, test = (
            np.arange(len(self.X))[self.evaluator.cut.train_rows(split)],
            self.evaluator.cut.test_rows(split),
        )
        n, m = len(train), len(test)
        self.train = None
        if self._on_all_rows:
            self.test = self._side(train, Splits.in_parts(n, None))
        else:
            self.test = self._side(np.concatenate([train, test]), Splits.in_parts(n, m))
        if self.evaluator.return_train_score and not self._on_all_rows:
            self.train = self._side(train, Splits.in_parts(n, None))
        self._rows: dict[bool, Rows] = {}
        self._moved: dict[bool, NDArray[Any]] = {}
        self._grow([i for i in range(len(self.models)) if i not in self.refused], 0, start)

    @property
    def _on_all_rows(self) -> bool:
        """Whether this split is the one after the last, which trains on every row."""
        return self.split == len(self.evaluator.splits)

    def _side(self, rows: NDArray[np.int64], splits: Splits) -> Side:
        targets = self.weighted.targets(self.owner)[rows]
        weights = self.weighted.weights(self.owner)
        kept = None if weights is None else weights[rows]
        return Side(self.X, rows, targets, kept, splits, self.evaluator.dataset.passes)

    def _gram(self, dataset: Dataset) -> tuple[core.FoldGram, int, core.Folds]:
        """Moments of the atoms of the splits, the place of this split among them, and the splits."""
        cut = self.evaluator.cut
        cut.groups = dataset.known_folds(cut.groups)
        folds = next(folds for folds in cut.groups if self.split in folds.splits)
        place = folds.splits.index(self.split)
        group = PreparedJobs([Job(self.owner, self.split)], [place], dataset, folds)
        return group.gram(), place, folds

    def _start(self) -> Space:
        """The rows as they are."""
        gram, place, folds = self._gram(self.plain)
        moments = gram.moments(place, "train", True)
        mean, squares = moments["mean"], np.diagonal(moments["gram"])
        far = np.abs(mean) * np.sqrt(moments["weight"]) > MOST_OFFSET[self.X.dtype.name] * np.sqrt(
            squares.clip(0)
        )
        if (far & (squares != 0)).any():
            raise Refused("a column stands far from zero")
        ranges = None
        if any(isinstance(step, MinMaxScaler | MaxAbsScaler) for steps in self.steps for step in steps):
            run = execution(self.evaluator.n_jobs)
            low, high = self.plain.form(
                "column ranges", folds, lambda: core.column_ranges(self.X, folds, run)
            )
            trained = folds.trained_on(place)
            ranges = low[trained].min(axis=0), high[trained].max(axis=0)
        return Space(gram, place, mean, np.ones(len(mean)), mean, ranges)

    def _grow(self, members: list[int], depth: int, space: Space) -> None:
        """Fit the models that stand here, and the steps that follow for the others."""
        here = [i for i in members if len(self.keys[i]) == depth]
        if here:
            self._fit(here, space)
        branches: dict[Any, list[int]] = {}
        for i in members:
            if len(self.keys[i]) > depth:
                branches.setdefault(self.keys[i][depth][0], []).append(i)
        for branch in branches.values():
            by_step: dict[Any, list[int]] = {}
            for i in branch:
                by_step.setdefault(self.keys[i][depth], []).append(i)
            steps = [copy(self.steps[group[0]][depth]) for group in by_step.values()]
            try:
                fits = self._fits(steps, space)
            except (Refused, ValueError):
                continue
            for group, step, fit in zip(by_step.values(), steps, fits, strict=True):
                try:
                    mapped = self._mapped(space, *fit())
                except (Refused, ValueError):
                    continue
                mapped.fitted = [*space.fitted, step]
                name = type(step).__name__
                self.counts[name] = self.counts.get(name, 0) + 1
                self._grow(group, depth + 1, mapped)

    # --- steps ---

    def _fits(self, steps: list[Any], space: Space) -> list[Callable[[], Mapping]]:
        """What fits each of some steps that share their work."""
        if isinstance(steps[0], decomposition.PCA):
            components = Components(steps, space, self.X.dtype)
            return [partial(components.of, step) for step in steps]
        return [partial(scale, step, space, self.X.dtype) for step in steps]

    def _mapped(
        self, space: Space, map: Floats, offset: Floats, ranges: tuple[Floats, Floats] | None
    ) -> Space:
        """The rows ``(z - mean) map + offset``."""
        folds = self.test.splits.groups[0]
        gram = space.gram.mapped(space.place, space.offset, map, offset, folds)
        if not gram.growth <= MOST_GROWTH[self.X.dtype.name]:
            raise Refused("rounding grows")
        if map.ndim == 1:
            whole = space.map * map
        else:
            whole = space.map[:, None] * map if space.map.ndim == 1 else space.map @ map
        return Space(gram, 0, space.centre, whole, offset, ranges)

    # --- models ---

    def _fit(self, members: list[int], space: Space) -> None:
        by_class: dict[type[Any], list[int]] = {}
        for i in members:
            by_class.setdefault(type(self.models[i]), []).append(i)
        for cls, group in by_class.items():
            begin = perf_counter()
            jobs = [Job(self._twin(i, space), 0) for i in group]
            try:
                dataset = self._dataset(space, self.test)
                if not all(job.estimator._runs_here(dataset) for job in jobs):
                    continue
                left = cls._train_population(jobs, dataset, self.test.splits)
            except Exception:
                continue
            for job in jobs:
                job.estimator.fit_backend_ = "manyfit"
            others = {id(job.estimator) for job in left}
            done = [(i, job) for i, job in zip(group, jobs, strict=True) if id(job.estimator) not in others]
            if done:
                self._keep(cls, done, dataset, space, perf_counter() - begin)

    def _twin(self, i: int, space: Space) -> Any:
        model = self.models[i]
        twin = object.__new__(type(model))
        vars(twin).update(vars(model))
        if self.evaluator.n_jobs is not None and twin.n_jobs is None:
            twin.n_jobs = self.evaluator.n_jobs
        twin.n_features_in_ = len(space.offset)
        return twin

    def _dataset(self, space: Space, side: Side) -> MappedDataset:
        """The rows z of a side, as moments."""
        folds = side.splits.groups[0]
        if side is self.test and self.weights is None:
            return MappedDataset(side, space, space.gram, folds)
        gram, place, _ = self._gram(self.weighted)
        gram = gram.mapped(place, space.centre, space.map, space.offset, folds)
        if not gram.growth <= MOST_GROWTH[self.X.dtype.name]:
            raise Refused("rounding grows")
        return MappedDataset(side, space, gram, folds)

    def _keep(
        self,
        cls: type[Any],
        done: Sequence[tuple[int, Job]],
        dataset: MappedDataset,
        space: Space,
        seconds: float,
    ) -> None:
        if self._on_all_rows:
            self.whole = self._pipeline(done[0][0], done[0][1].estimator, space)
            return
        begin = perf_counter()
        jobs = [job for _, job in done]
        scores = {"test_scores": self._scores(cls, jobs, dataset, space, self.test)}
        spent = perf_counter() - begin
        if self.train is not None:
            scores["train_scores"] = self._scores(
                cls, jobs, self._dataset(space, self.train), space, self.train
            )
        n_test = len(self.evaluator.splits[self.split][1])
        for b, (i, job) in enumerate(done):
            evaluation: Evaluation = {
                "fit_error": None,
                **{name: values[b] for name, values in scores.items()},
                "n_test_samples": n_test,
                "fit_time": seconds / len(done),
                "score_time": spent / len(done),
            }
            if self.evaluator.return_estimator:
                evaluation["estimator"] = self._pipeline(i, job.estimator, space)
            self.found[i, self.split] = evaluation

    def _scores(
        self, cls: type[Any], jobs: list[Job], dataset: MappedDataset, space: Space, side: Side
    ) -> list[Any]:
        """Scores of each job: a number, or a dict of numbers."""
        known: dict[str, Any] = {}
        for name, scorer in self.scorers.items():
            metric = metric_name(scorer)
            if metric is not None and self.same_weights:
                values = cls._score_population(jobs, dataset, side.splits, metric)
                if values is not None and np.isfinite(values).all():
                    known[name] = values.tolist()
        left = {name: scorer for name, scorer in self.scorers.items() if name not in known}
        found = [{name: values[b] for name, values in known.items()} for b in range(len(jobs))]
        several = isinstance(self.evaluator.scorer, _MultimetricScorer)
        if left:
            self._ask(left, jobs, space, side, several, found)
        if several:
            return [{name: scores[name] for name in self.scorers} for scores in found]
        return [scores["score"] for scores in found]

    def _ask(
        self,
        left: dict[str, Any],
        jobs: list[Job],
        space: Space,
        side: Side,
        several: bool,
        found: list[dict[str, Any]],
    ) -> None:
        """Scores that the answers on each row tell: of all jobs by one product with the rows x."""
        train = side is self.train
        if train not in self._rows:
            self._rows[train] = Rows(self.evaluator, self.pipelines[0], self.split, train)
        rows = self._rows[train]
        scorer: Any = left.get("score")
        if several:
            raising = self.evaluator.scorer._raise_exc
            scorer = _MultimetricScorer(scorers=left, raise_exc=raising)
        if train not in self._moved:
            X = self.X[side.rows[side.splits.test_rows(0)]]
            self._moved[train] = X - space.centre.astype(X.dtype)
        moved = self._moved[train]
        at_once = max(1, BLOCK // max(1, len(moved)))
        for begin in range(0, len(jobs), at_once):
            part = [job.estimator for job in jobs[begin : begin + at_once]]
            coefs = [np.atleast_2d(model.coef_).astype(np.float64) for model in part]
            stacked = np.concatenate(coefs)  # (outputs, r)
            stacked_x = stacked * space.map if space.map.ndim == 1 else stacked @ space.map.T
            constants = stacked @ space.offset + np.concatenate(
                [np.broadcast_to(np.ravel(m.intercept_), len(c)) for m, c in zip(part, coefs, strict=True)]
            )
            answers = stacked_x.astype(moved.dtype) @ moved.T + constants.astype(moved.dtype)[:, None]
            end = 0
            for b, (model, coef) in enumerate(zip(part, coefs, strict=True)):
                own = known_model(model, answers[end : end + len(coef)].T)
                end += len(coef)
                scores = rows.score(own, scorer, self.evaluator.error_score)
                found[begin + b].update(scores if several else {"score": scores})

    def _pipeline(self, i: int, model: Any, space: Space) -> Pipeline:
        """A fitted pipeline, as scikit-learn would leave it."""
        fitted = iter([*map(copy, space.fitted), model])
        model.n_jobs = self.models[i].n_jobs
        steps = [
            (name, step if step in (None, "passthrough") else next(fitted))
            for name, step in self.pipelines[i].steps
        ]
        first = next(step for _, step in steps if step not in (None, "passthrough"))
        _check_feature_names(first, self.evaluator.X, reset=True)
        pipeline = copy(self.pipelines[i])
        pipeline.steps = steps
        return pipeline


def _checked(known: dict[Any, bool], key: Any, step: Any) -> bool:
    if key not in known:
        known[key] = _valid(step._check if isinstance(step, PCA) else step._validate_params)
    return known[key]


def _valid(check: Callable[[], None]) -> bool:
    try:
        check()
    except Exception:
        return False
    return True
