"""Who computes. One process asks for trials and writes the study; executors evaluate what it hands them.

Work is a batch of candidates on some splits. An executor may run several at once (`slots`), in this process,
in worker processes, or on other machines; it answers in any order, and each piece of work exactly once.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from manyfit.dataset import Dataset
from manyfit.model_selection._evaluator import Evaluation, Evaluator
from manyfit.model_selection._plan import Plan

__all__ = ["Done", "Executor", "InProcess", "Task", "Work"]


@dataclass
class Task:
    """What every worker needs to know: picklable, sent once."""

    estimator: Any
    X: Any
    y: Any
    splits: Sequence[tuple[Any, Any]]
    scorer: Any
    fit_params: Mapping[str, Any] = field(default_factory=dict)
    score_params: Mapping[str, Any] = field(default_factory=dict)
    error_score: Any = np.nan
    return_train_score: bool = False
    n_jobs: int | None = None
    measures: Sequence[
        str
    ] = ()  # of the model fitted on all rows: "latency_us", "model_bytes", "fit_seconds"

    def evaluator(self) -> Evaluator:
        return Evaluator(
            self.estimator,
            self.X,
            self.y,
            self.splits,
            self.scorer,
            fit_params=self.fit_params,
            score_params=self.score_params,
            error_score=self.error_score,
            return_train_score=self.return_train_score,
            n_jobs=self.n_jobs,
        )


@dataclass(frozen=True)
class Work:
    """Candidates to evaluate."""

    id: int
    candidates: Sequence[Mapping[str, Any]]
    splits: Sequence[int] | None = None  # None: all
    measures: Sequence[str] = ()


@dataclass
class Done:
    """What became of a piece of work.

    `evaluations` holds, for each candidate, its evaluation on each split; `measures` a dict for each
    candidate, in which "error" is the traceback of a measurement that failed. `error` is set
    instead where no worker could finish it.
    """

    id: int
    evaluations: list[list[Evaluation]] = field(default_factory=list)
    measures: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0
    plans: dict[str, Plan] = field(default_factory=dict)  # what each worker that took part has shared so far


class Executor(Protocol):
    """Evaluates work for the one process that writes the study."""

    slots: int  # how many pieces of work run at once

    def start(self, task: Task) -> None:
        """Make ready; called once, before any work."""

    def submit(self, work: Work) -> None:
        """Take a piece of work; at most `slots` are under way."""

    def wait(self, timeout: float | None = None) -> list[Done]:
        """Block until some work is done, or the timeout (seconds) has passed: then an empty list.

        KeyboardInterrupt passes through, and loses no work: the next call answers it.
        """

    def close(self, now: bool = False) -> None:
        """Stop. `now` abandons what is under way."""


@contextmanager
def _scoring_errors(error_score: Any) -> Iterator[Callable[[list[list[Evaluation]]], None]]:
    """Catch what scikit-learn tells of scorers that fail: their traceback is noted as "score_error"."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", message="Scoring failed", category=UserWarning)
        found: list[str] = []

        def note(evaluations: list[list[Evaluation]]) -> None:
            for each in (each for row in evaluations for each in row) if found else ():
                scores = each["test_scores"]
                values = scores.values() if isinstance(scores, Mapping) else [scores]
                if any(value != value or value == error_score for value in values):
                    each["score_error"] = found[0]

        yield note
    for entry in caught:
        text = str(entry.message)
        if text.startswith("Scoring failed"):
            found.append(text.split("Details: ", 1)[-1].strip())
        else:
            warnings.warn_explicit(entry.message, entry.category, entry.filename, entry.lineno)


def perform(evaluator: Evaluator, work: Work) -> Done:
    """Evaluate a piece of work in this process."""
    begin = perf_counter()
    with _scoring_errors(evaluator.error_score) as note:
        evaluations = evaluator.evaluate(work.candidates, work.splits)
    note(evaluations)
    measures: list[dict[str, Any]] = [{} for _ in work.candidates]
    if work.measures:
        from manyfit.model_selection._measures import measure

        measures = measure(evaluator, work.candidates, work.measures)
    return Done(
        work.id,
        evaluations,
        measures,
        None,
        perf_counter() - begin,
        {f"{socket.gethostname()}:{os.getpid()}": evaluator.plan},
    )


class InProcess:
    """Evaluates in this process, when asked for results.

    Parameters
    ----------
    dataset : Dataset, default=None
        Prepared forms of the data; None makes one.
    """

    slots = 1

    def __init__(self, dataset: Dataset | None = None) -> None:
        self._dataset = dataset
        self.plan = Plan()

    def start(self, task: Task) -> None:
        self._evaluator = task.evaluator()
        self._evaluator.plan = self.plan
        if self._dataset is not None:
            self._evaluator.dataset = self._dataset
        self._works: list[Work] = []

    def submit(self, work: Work) -> None:
        self._works.append(work)

    def wait(self, timeout: float | None = None) -> list[Done]:
        if not self._works:
            return []
        done = perform(self._evaluator, self._works[0])
        del self._works[0]
        return [done]

    def close(self, now: bool = False) -> None:
        self._works.clear()

    def fit_all(self, candidate: Mapping[str, Any]) -> Any:
        """A candidate fitted on all rows from what has been prepared, or None where there is no such way."""
        return self._evaluator.fit_all(candidate)
