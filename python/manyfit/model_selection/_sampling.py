"""Asking Optuna's samplers so that a trial depends on the seed, its number and the results it may see alone.

All trials of a study stand in a ledger in memory. Each batch of trials is shown the results below a number
that is fixed beforehand, and what comes after as if it were running, whether it has ended or not. Samplers
draw from generators that are seeded anew for each trial.
"""

from __future__ import annotations

import copy
import logging
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from manyfit.model_selection._space import Space

__all__ = ["Exhausted", "Sampling", "quiet", "study_in_memory"]

# Samplers whose next trial follows from the trials they are shown: a resumed study need not ask for the old ones.
_STATELESS = (TPESampler, RandomSampler, GridSampler, BruteForceSampler)
_ENDING = (GridSampler, BruteForceSampler)
_OF_RUNNING = "tpe:relative_params"  # what a running trial tells the others; its parameters say it too


class Exhausted(Exception):
    """The sampler has nothing new to try."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from announcing studies that are made in this thread; its logging stays as the user set it."""
    logger = logging.getLogger("optuna.storages._in_memory")
    thread = threading.get_ident()

    def elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger.addFilter(elsewhere)
    try:
        yield
    finally:
        logger.removeFilter(elsewhere)


class Record(InMemoryStorage):
    """A storage of one study, in memory, that takes finished trials as they are."""

    @property
    def trials(self) -> list[FrozenTrial]:
        return self._studies[0].trials

    def append(self, trial: FrozenTrial) -> None:
        """Add a trial under the next number."""
        number = len(self.trials)
        trial.number = trial._trial_id = number
        self._trial_id_to_study_id_and_number[number] = (0, number)
        self._max_trial_id = number
        self.trials.append(trial)
        if trial.state == TrialState.COMPLETE:
            self._update_cache(number, 0)


class Ledger(Record):
    """A storage of one study that shows its trials as a certain batch may see them.

    Trials numbered below `shown` and those in `live` are shown as they are, others below `end` as they were
    asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shown = 0
        self.live = range(0)
        self.end = 0
        self.asked: list[FrozenTrial] = []
        self.fixed: dict[str, Any] | None = None  # parameters of the next trial

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        number = super().create_new_trial(study_id, template_trial)
        if self.fixed is not None:
            self.set_trial_system_attr(number, "fixed_params", self.fixed)
        return number

    def show(self, shown: int, live: range, end: int) -> None:
        self.shown, self.live, self.end = shown, live, end

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,):
            return []
        trials, live = self.trials, self.live
        seen = trials[: self.shown] + self.asked[self.shown : self.end]
        seen[live.start : live.stop] = trials[live.start : live.stop]
        if states is not None:
            seen = [trial for trial in seen if trial.state in states]
        return copy.deepcopy(seen) if deepcopy else seen

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return BaseStorage.get_best_trial(self, study_id)  # of those that are shown

    def withdraw(self) -> None:
        """Take back the trial of the highest number."""
        number = len(self.trials) - 1
        del self.trials[number:], self.asked[number:], self._trial_id_to_study_id_and_number[number]
        self._max_trial_id = number - 1


def study_in_memory(
    directions: Sequence[str],
    name: str | None = None,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    storage: Record | None = None,
) -> optuna.Study:
    """A study in a storage of its own, made without a word."""
    storage = Record() if storage is None else storage
    kinds = [optuna.study.StudyDirection[direction.upper()] for direction in directions]
    with quiet():
        storage.create_new_study(kinds, name)
    name = storage._studies[0].name
    return optuna.Study(name, storage, sampler, pruner)


def _generators(sampler: Any) -> list[Any]:
    """Every generator of random numbers that a sampler holds, in a fixed order."""
    found: list[Any] = []
    met: set[int] = set()
    stack = [sampler]
    while stack:
        each = stack.pop()
        if id(each) in met:
            continue
        met.add(id(each))
        if isinstance(each, np.random.RandomState | np.random.Generator | random.Random):
            found.append(each)
        elif isinstance(each, list | tuple):
            stack.extend(reversed(each))
        elif isinstance(each, dict):
            stack.extend(reversed(each.values()))
        elif isinstance(each, BaseSampler) or type(each).__module__.startswith("optuna.samplers"):
            if hasattr(type(each), "rng"):
                stack.append(each.rng)  # made at first use
            elif hasattr(each, "__dict__"):
                stack.extend(reversed(vars(each).values()))
    return found


def _seed(generator: Any, seed: int) -> None:
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        bits.state = type(bits)(seed).state
    else:
        generator.seed(seed)


def seed_of(sampler: BaseSampler | None, random_state: Any) -> int:
    """The seed of a study: from `random_state`, or else from the sampler, which may have one of its own."""
    from sklearn.utils import check_random_state

    if random_state is None and sampler is not None:
        for generator in _generators(copy.deepcopy(sampler)):
            if isinstance(generator, np.random.RandomState):
                return int(generator.randint(2**31 - 1))
    return int(check_random_state(random_state).randint(2**31 - 1))


class Sampling:
    """Trials asked in the order of their numbers, and judged by a pruner.

    Parameters
    ----------
    sampler, pruner : optuna sampler and pruner, or None
        Copied: the user's own are left as they are.
    directions : list of str
    seed : int
    name : str
        Of the study; Hyperband's brackets follow from it.
    """

    def __init__(
        self,
        sampler: BaseSampler | None,
        pruner: BasePruner | None,
        directions: Sequence[str],
        seed: int,
        name: str,
    ) -> None:
        self.seed = seed
        self.sampler = TPESampler() if sampler is None else copy.deepcopy(sampler)
        self.pruner = NopPruner() if pruner is None else copy.deepcopy(pruner)
        if getattr(self.sampler, "_avoid_premature_stop", False):
            self.sampler._avoid_premature_stop = False  # type: ignore[attr-defined]  # running trials show all
        self.ledger = Ledger()
        self.study = study_in_memory(directions, name, self.sampler, self.pruner, self.ledger)
        self.told = 0
        self.stateless = type(self.sampler) in _STATELESS
        self._ends = isinstance(self.sampler, _ENDING)
        self._met: set[str] = set()
        self._holders: list[Any] | None = None
        self.study._thread_local.in_optimize_loop = True  # so that samplers may call study.stop()

    @property
    def stopped(self) -> bool:
        """Whether the sampler asked to stop."""
        return self.study._stop_flag

    @property
    def n_asked(self) -> int:
        return len(self.ledger.trials)

    def start_with(self, trials: Sequence[FrozenTrial]) -> None:
        """Trials that were there before: known from the beginning."""
        for trial in trials:
            known = copy.copy(trial)
            if not known.state.is_finished():
                known.state = TrialState.FAIL
            self.ledger.append(known)
            self.ledger.asked.append(known)
        self.told = len(trials)

    def ask(
        self,
        space: Space,
        shown: int,
        stored: FrozenTrial | None = None,
        fixed: Mapping[str, Any] | None = None,
    ) -> tuple[FrozenTrial, dict[str, Any] | None]:
        """The next trial, which is shown the results below `shown`, and its settings.

        `stored` is the trial of that number in a study that is resumed, `fixed` what somebody enqueued for it.
        """
        number = self.n_asked
        size = getattr(self.sampler, "_n_min_trials", None)  # of a grid
        if stored is None and size is not None and len(self._met) >= size:
            raise Exhausted
        if stored is not None and self.stateless:
            asked = self._as_asked(stored)
            self.ledger.append(asked)
            self.ledger.asked.append(asked)
            self._is_new(asked)
            return asked, space.settings(stored)
        if stored is not None:
            fixed = stored.system_attrs.get("fixed_params")
        self._reseed(number)
        self.ledger.show(shown, range(number, number + 1), number + 1)
        self.ledger.fixed = None if fixed is None else dict(fixed)
        self.ledger.asked.append(None)  # type: ignore[arg-type]  # its place; shown live
        try:
            settings: dict[str, Any] | None = space.suggest(self.study.ask())
        except BaseException:
            self.ledger.withdraw()
            raise
        trial = self.ledger.trials[number]
        if stored is not None and (stored.params, stored.distributions) != (
            trial.params,
            trial.distributions,
        ):
            trial = copy.copy(trial)
            trial.params, trial.distributions = stored.params, stored.distributions
            self.ledger.trials[number] = trial
            settings = space.settings(stored)
        if not self._is_new(trial) and stored is None:
            self.ledger.withdraw()
            raise Exhausted
        self.ledger.asked[number] = self._as_asked(trial)
        return trial, settings

    def tell(self, trial: FrozenTrial, end: int) -> None:
        """Make known to the sampler what became of the next trial, in the order of numbers.

        `end` is up to which number trials have been asked.
        """
        number = self.told
        self.ledger.show(number, range(number, number + 1), end)
        running = self.ledger.trials[number]
        study = optuna.pruners._filter_study(self.study, running)
        self._reseed(number, of_ask=False)
        self.sampler.after_trial(study, running, trial.state, trial.values)
        known = copy.copy(trial)
        known.number = known._trial_id = number
        known.system_attrs = {**self.ledger.trials[number].system_attrs, **trial.system_attrs}
        self.ledger.trials[number] = known
        self.told = number + 1

    def prune(
        self, numbers: Sequence[int], reports: Sequence[tuple[int, float]], shown: int, batch: range
    ) -> list[bool]:
        """Whether to end trials of a batch, each judged after its value was reported, in order."""
        self.ledger.show(shown, batch, batch.stop)
        verdicts = []
        for number, (step, value) in zip(numbers, reports, strict=True):
            self.ledger.set_trial_intermediate_value(number, step, value)
            trial = copy.copy(self.ledger.trials[number])
            verdicts.append(bool(self.pruner.prune(self.study, trial)))
        return verdicts

    def _as_asked(self, trial: FrozenTrial) -> FrozenTrial:
        asked = copy.copy(trial)
        asked.state = TrialState.RUNNING
        asked.values = None
        asked.datetime_complete = None
        asked.user_attrs = {}
        asked.intermediate_values = {}
        asked.system_attrs = {
            key: value
            for key, value in trial.system_attrs.items()
            if not key.startswith((_OF_RUNNING, "constraints", "completed_rung_"))
        }
        if asked.datetime_start is None:
            asked.datetime_start = datetime.now()
        return asked

    def _is_new(self, trial: FrozenTrial) -> bool:
        """Whether a sampler that goes through all settings once came to another one."""
        if not self._ends:
            return True
        key = repr(sorted(trial.params.items()))
        if key in self._met:
            return False
        self._met.add(key)
        return True

    def _reseed(self, number: int, of_ask: bool = True) -> None:
        if self._holders is None or not type(self.sampler).__module__.startswith("optuna."):
            self._holders = _generators(self.sampler)
        seeds = np.random.SeedSequence([self.seed, number, int(of_ask)]).generate_state(len(self._holders))
        for generator, seed in zip(self._holders, seeds.tolist(), strict=True):
            _seed(generator, seed)


def reports_splits(pruner: BasePruner) -> bool:
    """Whether a pruner compares trials split by split, not by what they have reached."""
    inner = getattr(pruner, "_wrapped_pruner", None)
    return isinstance(pruner, WilcoxonPruner) or (inner is not None and reports_splits(inner))
