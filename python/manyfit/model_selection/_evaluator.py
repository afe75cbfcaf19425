"""Scores of many candidates on the splits of one data set, with the work shared that can be shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from joblib.logger import short_format_time
from sklearn.base import clone
from sklearn.model_selection._validation import _fit_and_score
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import _num_samples

from manyfit.base import Estimator
from manyfit.dataset import Dataset
from manyfit.model_selection._gram_space import evaluate_in_gram_space, fit_in_gram_space, gram_space_reason
from manyfit.model_selection._pipeline import beginning, evaluate_pipelines, steps_of, why_no_pipeline
from manyfit.model_selection._plan import Plan
from manyfit.model_selection._population import (
    evaluate_population,
    fit_on_all,
    settable,
    twin,
    why_no_population,
)
from manyfit.splits import Splits

__all__ = ["Evaluation", "Evaluator"]

# As scikit-learn's _fit_and_score returns it: fit_error (a traceback or None), test_scores (a number, or a
# dict of numbers by metric), train_scores, n_test_samples, fit_time and score_time in seconds, estimator.
Evaluation = dict[str, Any]


@dataclass
class Group:
    """Candidates that are fitted alike; `how`, `what` and `why` as in a plan's Share."""

    how: str
    what: str
    why: str
    members: list[int] = field(default_factory=list)
    models: list[Any] = field(default_factory=list)
    parts: list[Any] = field(default_factory=list)  # equal for members that share what is costly


class Evaluator:
    """Fits candidates on the training rows of splits and scores them on the rows left out.

    Keeps what was prepared from the data between calls.

    Parameters
    ----------
    estimator : estimator
        Candidates are clones of it with parameters set.
    X, y : array-like
    splits : sequence of (train, test) index arrays
    scorer : callable
        ``scorer(estimator, X, y)`` gives a number or a dict of numbers.
    fit_params, score_params : dict, default=None
        Further arguments of ``fit`` and of the scorer; arrays of one value for each sample are cut as X is.
    error_score : float or "raise", default=nan
        The score of a fit that failed.
    return_train_score, return_estimator : bool, default=False
    n_jobs : int, default=None
        Threads of a population; processes for other estimators, as in joblib.
    dataset : Dataset, default=None
        Prepared forms of `X`, `y` and the weights in `fit_params`; None makes one.

    Attributes
    ----------
    plan : Plan
        What was shared so far.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        splits: Sequence[tuple[Any, Any]],
        scorer: Any,
        *,
        fit_params: Mapping[str, Any] | None = None,
        score_params: Mapping[str, Any] | None = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        return_estimator: bool = False,
        n_jobs: int | None = None,
        pre_dispatch: Any = "2*n_jobs",
        verbose: int = 0,
        dataset: Dataset | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.estimator = estimator
        self.X = X
        self.y = y
        self.splits = list(splits)
        self.scorer = scorer
        self.fit_params = dict(fit_params or {})
        self.score_params = dict(score_params or {})
        self.error_score = error_score
        self.return_train_score = return_train_score
        self.return_estimator = return_estimator
        self.n_jobs = n_jobs
        self.pre_dispatch = pre_dispatch
        self.verbose = verbose
        self.plan = Plan() if plan is None else plan
        if dataset is None:
            dataset = Dataset(X, y, self.fit_params.get("sample_weight"))
        self.dataset = dataset

    def __getstate__(self) -> dict[str, Any]:
        # Prepared forms stay where they were made.
        state = dict(vars(self))
        state.pop("cut", None)
        state.pop("cut_to_train", None)
        state["dataset"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.dataset = Dataset(self.X, self.y, self.fit_params.get("sample_weight"))

    @cached_property
    def cut(self) -> Splits:
        """The splits as kernels take them, and one more that trains on every row: its moments cost no pass."""
        n_rows = _num_samples(self.X)
        every = np.arange(n_rows), np.empty(0, dtype=np.int64)
        return Splits(n_rows, [*self.splits, every])

    @cached_property
    def cut_to_train(self) -> Splits:
        """Splits that test on the rows they train on."""
        return Splits(_num_samples(self.X), [(train, train) for train, _ in self.splits])

    def groups(self, candidates: Sequence[Mapping[str, Any]]) -> list[Group]:
        """The candidates by the way they are fitted."""
        self._assert_names(candidates)
        if not isinstance(self.estimator, Estimator | Pipeline):
            name, why = type(self.estimator).__name__, why_no_population(self, self.estimator)
            places = list(range(len(candidates)))
            return [Group("one by one", name, why, places, [self.estimator] * len(places), list(places))]
        found: dict[tuple[str, str, str], Group] = {}
        for i, entry in enumerate(candidates):
            model = self._candidate(entry)
            how, why, part = self._route(model)
            what = steps_of(model)
            group = found.setdefault((how, what, why), Group(how, what, why))
            group.members.append(i)
            group.models.append(model)
            group.parts.append(i if part is None else part)
        return list(found.values())

    def _route(self, model: Any) -> tuple[str, str, Any]:
        """How a candidate is fitted, why not otherwise, and a key of what it shares (None: nothing)."""
        why = why_no_population(self, model)
        if not why:
            return "population", "", 0
        if not isinstance(model, Pipeline):
            return "one by one", why, None
        why_alone = why_no_pipeline(self, model)
        return ("one by one", why_alone, None) if why_alone else ("pipeline", "", beginning(model))

    def evaluate(
        self, candidates: Sequence[Mapping[str, Any]], splits: Sequence[int] | None = None
    ) -> list[list[Evaluation]]:
        """Evaluations of every candidate (a dict of parameters) on some splits (None: all), by candidate."""
        chosen = list(range(len(self.splits))) if splits is None else list(splits)
        results: list[list[Evaluation] | None] = [None] * len(candidates)
        pipelines: list[tuple[int, Any]] = []
        why = [""] * len(candidates)
        for group in self.groups(candidates):
            if group.how == "population":
                self._in_parts(group.members, group.models, chosen, results)
            elif group.how == "pipeline":
                pipelines += zip(group.members, group.models, strict=True)
            for i in group.members:
                why[i] = group.why
        affine = [(i, model) for i, model in pipelines if not gram_space_reason(self, model)]
        for way, members in ((evaluate_in_gram_space, affine), (evaluate_pipelines, pipelines)):
            left = [(i, model) for i, model in members if results[i] is None]
            if left:
                done = way(self, [model for _, model in left], chosen)
                for (i, _), row in zip(left, done, strict=True):
                    results[i] = row
        if self.verbose > 1:
            self._announce(candidates, chosen, results)
        alone = [i for i, row in enumerate(results) if row is None]
        if alone:
            self._one_by_one(candidates, alone, chosen, why, results)
        return [row for row in results if row is not None]

    def fit_all(self, candidate: Mapping[str, Any]) -> Any:
        """A candidate fitted on all rows from what has been prepared, or None where there is no such way."""
        if not isinstance(self.estimator, Estimator | Pipeline):
            return None
        model = self._candidate(candidate)
        if isinstance(model, Pipeline):
            return None if gram_space_reason(self, model) else fit_in_gram_space(self, model)
        return None if why_no_population(self, model) else fit_on_all(self, model)

    def _assert_names(self, candidates: Sequence[Mapping[str, Any]]) -> None:
        """Raise scikit-learn's error for a parameter there is not, with the nearest name there is."""
        names = self.estimator.get_params() if hasattr(self.estimator, "get_params") else {}
        for entry in candidates:
            if entry.keys() <= names.keys():
                continue
            try:
                clone(self.estimator).set_params(**{k: clone(v, safe=False) for k, v in entry.items()})
            except ValueError as error:
                unknown = next((name for name in entry if name not in names), "")
                near = get_close_matches(unknown, names, n=1)
                if not near or not str(error).startswith("Invalid parameter"):
                    raise
                raise ValueError(f"{error} (did you mean {near[0]!r} instead of {unknown!r}?)") from None

    def _candidate(self, entry: Mapping[str, Any]) -> Any:
        """The estimator with parameters set: ``clone(estimator).set_params(**entry)``, but cheap in common cases."""
        values = {name: clone(value, safe=False) for name, value in entry.items()}
        if isinstance(self._base, Estimator) and entry.keys() <= vars(self._base).keys():
            return twin(self._base, values)
        if type(self._base) is Pipeline:
            by_step: dict[str, dict[str, Any]] = {}
            for name, value in values.items():
                step, _, parameter = name.partition("__")
                by_step.setdefault(step, {})[parameter] = value
            steps = dict(self._base.steps)
            if all(step in steps and settable(steps[step], own) for step, own in by_step.items()):
                # Steps are shared where nothing is set: whoever fits one clones it.
                changed = {step: twin(steps[step], own) for step, own in by_step.items()}
                return twin(self._base, {"steps": list({**steps, **changed}.items())})
        return clone(self.estimator).set_params(**values)

    @cached_property
    def _base(self) -> Any:
        return clone(self.estimator)

    def _in_parts(
        self,
        members: list[int],
        models: list[Any],
        chosen: list[int],
        results: list[list[Evaluation] | None],
    ) -> None:
        """Evaluate a population; where it fails, its halves, so that the cause ends up alone."""
        done = evaluate_population(self, models, chosen)
        if done is not None:
            for i, row in zip(members, done, strict=True):
                results[i] = row
        elif len(members) > 1:
            middle = len(members) // 2
            self._in_parts(members[:middle], models[:middle], chosen, results)
            self._in_parts(members[middle:], models[middle:], chosen, results)

    def _announce(
        self,
        candidates: Sequence[Mapping[str, Any]],
        chosen: Sequence[int],
        results: Sequence[list[Evaluation] | None],
    ) -> None:
        """Print a line for each fit, as scikit-learn does for those done one by one."""
        for entry, row in zip(candidates, results, strict=True):
            params = ", ".join(f"{name}={entry[name]}" for name in sorted(entry))
            for k, evaluation in zip(chosen, row or [], strict=False):
                place = f" {k + 1}/{len(self.splits)}" if self.verbose > 2 else ""
                scores = evaluation["test_scores"]
                if isinstance(scores, dict):
                    told = "".join(f" {name}: (test={value:.3f})" for name, value in sorted(scores.items()))
                else:
                    told = f", score={scores:.3f}"
                told = told if self.verbose > 2 else ""
                spent = short_format_time(evaluation["fit_time"] + evaluation["score_time"])
                head, tail = f"[CV{place}] END ", f"{params};{told} total time={spent}"
                print(head + "." * (80 - len(head) - len(tail)) + tail)

    def _one_by_one(
        self,
        candidates: Sequence[Mapping[str, Any]],
        alone: Sequence[int],
        chosen: Sequence[int],
        why: Sequence[str],
        results: list[list[Evaluation] | None],
    ) -> None:
        begin = perf_counter()
        # As scikit-learn does it, so that whatever works there works here.
        done = Parallel(n_jobs=self.n_jobs, pre_dispatch=self.pre_dispatch)(
            delayed(_fit_and_score)(
                clone(self.estimator),
                self.X,
                self.y,
                train=self.splits[k][0],
                test=self.splits[k][1],
                parameters=candidates[i],
                scorer=self.scorer,
                fit_params=self.fit_params,
                score_params=self.score_params,
                return_train_score=self.return_train_score,
                return_n_test_samples=True,
                return_times=True,
                return_parameters=False,
                return_estimator=self.return_estimator,
                error_score=self.error_score,
                verbose=self.verbose,
                split_progress=(k, len(self.splits)),
                candidate_progress=(i, len(candidates)),
            )
            for i in alone
            for k in chosen
        )
        seconds = perf_counter() - begin
        for place, i in enumerate(alone):
            results[i] = done[place * len(chosen) : (place + 1) * len(chosen)]
            share = self.plan.share("one by one", steps_of(self.estimator), why[i] or "a fit failed")
            share.fits += len(chosen)
            share.seconds += seconds / len(alone)
