"""Running a sweep."""

from __future__ import annotations

import os
import re
import socket
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any

from manyfit.model_selection._plan import Plan
from manyfit.sweep.file import Sweep
from manyfit.sweep.progress import ProgressBar
from manyfit.sweep.view import PATH, PLAN, RUNS, TEXT

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from manyfit.model_selection._executor import Done, Executor, Task, Work

__all__ = ["Outcome", "make_search", "run"]

_UNGUIDED = ("grid", "random", "qmc")  # methods that do not look at results
_LARGE_BATCH = 64
_BATCH = 8
_MOST_WARNINGS = 5
_EVERY = 2.0  # seconds between two looks at what was shared


@dataclass
class Outcome:
    """How a run ended.

    Attributes
    ----------
    search : OptunaSearchCV
    interrupted : bool
        By Ctrl-C.
    problem : str
        Why there is no result; empty where there is one.
    seconds : float
    warnings : dict
        First lines of warnings, and how often they were given.
    """

    search: Any
    interrupted: bool
    problem: str
    seconds: float
    warnings: dict[str, int]


class Watched:
    """An executor that remembers what was shared."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._plans: dict[str, Plan] = {}
        self.slots = executor.slots

    def start(self, task: Task) -> None:
        self._executor.start(task)
        self.slots = self._executor.slots

    def submit(self, work: Work) -> None:
        self._executor.submit(work)

    def wait(self, timeout: float | None = None) -> list[Done]:
        done = self._executor.wait(timeout)
        for each in done:
            self._plans |= each.plans
        return done

    def close(self, now: bool = False) -> None:
        self._executor.close(now)

    @property
    def shared(self) -> str:
        """What was shared, in words."""
        return str(Plan.joined(self._plans.values()))


class Recorder:
    """Writes into the study what it was made by, and what was shared."""

    def __init__(self, sweep: Sweep, executor: Watched) -> None:
        self.sweep = sweep
        self.executor = executor
        self.begun = datetime.now().astimezone()
        self._written = ""
        self._at = 0.0
        self._run = 0

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.on_batch_end(study, [trial])

    def on_batch_end(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        if not self._run:
            study.set_user_attr(TEXT, self.sweep.text)
            study.set_user_attr(PATH, os.path.abspath(self.sweep.path))
            run = {
                "begun": self.begun.isoformat(),
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "timeout": self.sweep.timeout,
                "n_trials": self.sweep.n_trials,
                "workers": self.sweep.workers,
            }
            runs = [*study.user_attrs.get(RUNS, []), run]
            self._run = len(runs)
            study.set_user_attr(RUNS, runs)
        if monotonic() - self._at >= _EVERY:
            self.write(study)

    def write(self, study: optuna.Study) -> None:
        self._at = monotonic()
        plan = self.executor.shared
        if plan not in ("no fits", self._written):
            self._written = plan
            study.set_user_attr(f"{PLAN}:{self._run}", plan)

    def close(self, study: optuna.Study) -> None:
        """Write what came last, if there was anything."""
        if self._run:
            self.write(study)


def make_search(sweep: Sweep, **arguments: Any) -> Any:
    """The search that a sweep file describes."""
    from manyfit.model_selection._optuna_search import OptunaSearchCV

    return OptunaSearchCV(
        sweep.estimator,
        sweep.space,
        sampler=sweep.sampler.make(),
        pruner=None if sweep.pruner is None else sweep.pruner.make(),
        cv=sweep.splitter(),
        **search_arguments(sweep),
        **arguments,
    )


def search_arguments(sweep: Sweep) -> dict[str, Any]:
    """Arguments of the search that are plain values."""
    found: dict[str, Any] = {}
    if sweep.n_trials is not None:
        found["n_trials"] = sweep.n_trials
    if sweep.timeout is not None:
        found["timeout"] = sweep.timeout
    names = [goal.name for goal in sweep.goals]
    if len(names) > 1 or names[0] in ("latency_us", "model_bytes", "fit_seconds"):
        found["objectives"] = names
    elif names[0] != "score":
        found["scoring"] = names[0]
    if sweep.constraints:
        found["constraints"] = sweep.constraints
    found.update(sweep.pruning)
    size = sweep.batch_size or (_LARGE_BATCH if sweep.method in _UNGUIDED else _BATCH)
    found["batch_size"] = size
    # As many batches under way as the file has workers. What is shown to a trial depends on it, so it is part of
    # the sweep, and other workers than the file's do not change it.
    found["lag"] = size * max(sweep.file_workers - 1, 1)
    if sweep.n_jobs is not None:
        found["n_jobs"] = sweep.n_jobs
    found["storage"] = sweep.storage
    found["study_name"] = sweep.name
    found["random_state"] = sweep.seed
    return found


def make_executor(sweep: Sweep, dask: str | None) -> Executor:
    """Who computes."""
    if dask is not None:
        from manyfit.model_selection._dask import DaskWorkers

        return DaskWorkers(dask)
    if sweep.workers:
        from manyfit.model_selection._workers import WorkerProcesses

        return WorkerProcesses(sweep.workers)
    from manyfit.model_selection._executor import InProcess

    return InProcess()


def trackers(sweep: Sweep) -> list[Any]:
    """Callbacks that write down every trial."""
    found: list[Any] = []
    if sweep.log is not None:
        from manyfit.tracking import JsonLines

        found.append(JsonLines(sweep.log))
    if sweep.mlflow is not None:
        from manyfit.tracking import MLflow

        found.append(MLflow(**sweep.mlflow))
    return found


def run(sweep: Sweep, *, dask: str | None = None, console: Any = None) -> Outcome:
    """Run a sweep to its end, or on from where it was left.

    Parameters
    ----------
    sweep : Sweep
    dask : str, default=None
        Address of a scheduler; None computes here.
    console : rich.console.Console, default=None
    """
    executor = Watched(make_executor(sweep, dask))
    recorder = Recorder(sweep, executor)
    begin = monotonic()
    bar = ProgressBar(sweep.n_trials, sweep.timeout, what=sweep.name, console=console)
    # A model is fitted only where somebody keeps it: `best` fits it when it is wanted.
    refit = sweep.mlflow is not None and len(sweep.goals) == 1
    search = make_search(sweep, refit=refit, executor=executor, callbacks=[recorder, *trackers(sweep), bar])
    problem = ""
    heard: Counter[str] = Counter()
    with bar, _listening(heard):
        try:
            search.fit(sweep.data.X, sweep.data.y, **sweep.fit_params())
        except ValueError as error:
            if not hasattr(search, "study_"):
                raise
            problem = str(error)
    if hasattr(search, "study_"):
        recorder.close(search.study_)
    interrupted = bool(getattr(search, "interrupted_", False))
    return Outcome(search, interrupted, problem, monotonic() - begin, dict(heard.most_common(_MOST_WARNINGS)))


@contextmanager
def _listening(heard: Counter[str]) -> Iterator[None]:
    """Count warnings by their first lines, rather than show each of thousands; failures are told elsewhere."""
    from sklearn.exceptions import FitFailedWarning

    def hear(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if not issubclass(category, FitFailedWarning):
            text = str(message).strip().partition("\n")[0]
            heard[f"{category.__name__}: {text[:200]}"] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message=".* is experimental")
        warnings.showwarning = hear
        yield


def passes(plan: str) -> int:
    """How many passes over X a plan tells of."""
    return sum(int(number) for number in re.findall(r"(\d+) pass(?:es)? over X", plan))
