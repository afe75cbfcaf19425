"""What a search keeps of its trials, and where: in memory, or in a study of the user's; files: see ``_store.py``."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from manyfit.model_selection._evaluator import Evaluation
from manyfit.model_selection._sampling import Record, study_in_memory

__all__ = ["MemoryStore", "Store", "StudyStore", "kept_of"]


class Store(Protocol):
    """Where told trials are kept."""

    study: optuna.Study

    @property
    def study_attrs(self) -> MutableMapping[str, Any]:
        """What the study remembers besides its trials."""

    def trials(self) -> list[FrozenTrial]:
        """Trials told so far, by number."""

    def waiting(self) -> list[FrozenTrial]:
        """Trials that somebody enqueued, in the places of which theirs are written."""

    def write(self, trials: Sequence[FrozenTrial]) -> None:
        """Keep trials that ended, all or none."""

    def close(self) -> None:
        """Let go of the storage."""


class MemoryStore:
    """Keeps trials in this process."""

    def __init__(self, directions: Sequence[str], name: str | None, sampler: Any, pruner: Any) -> None:
        self._record = Record()
        self.study = study_in_memory(directions, name, sampler, pruner, self._record)
        self.study_attrs: MutableMapping[str, Any] = {}

    def trials(self) -> list[FrozenTrial]:
        return list(self._record.trials)

    def waiting(self) -> list[FrozenTrial]:
        return []

    def write(self, trials: Sequence[FrozenTrial]) -> None:
        for trial in trials:
            self._record.append(trial)

    def close(self) -> None:
        pass


class StudyStore:
    """Keeps trials in a study of the user's, behind those it has."""

    def __init__(self, study: optuna.Study) -> None:
        self.study = study
        self.study_attrs: MutableMapping[str, Any] = {}

    def trials(self) -> list[FrozenTrial]:
        return [trial for trial in self.study.get_trials() if trial.state != TrialState.WAITING]

    def waiting(self) -> list[FrozenTrial]:
        return self.study.get_trials(states=(TrialState.WAITING,))

    def write(self, trials: Sequence[FrozenTrial]) -> None:
        waiting = {trial.number: trial._trial_id for trial in self.waiting()}
        for trial in trials:
            if trial.number in waiting:
                self._finish(waiting[trial.number], trial)
            else:
                self.study.add_trial(trial)

    def _finish(self, place: int, trial: FrozenTrial) -> None:
        storage = self.study._storage
        storage.set_trial_state_values(place, TrialState.RUNNING)
        for name, distribution in trial.distributions.items():
            value = distribution.to_internal_repr(trial.params[name])
            storage.set_trial_param(place, name, value, distribution)
        for key, value in trial.user_attrs.items():
            storage.set_trial_user_attr(place, key, value)
        for key, value in trial.system_attrs.items():
            storage.set_trial_system_attr(place, key, value)
        for step, value in trial.intermediate_values.items():
            storage.set_trial_intermediate_value(place, step, value)
        storage.set_trial_state_values(place, trial.state, trial.values)

    def close(self) -> None:
        pass


def kept_of(
    evaluations: Sequence[Evaluation | None], measures: Mapping[str, Any], error: str | None
) -> dict[str, Any]:
    """User attributes of a trial: scores and seconds by split (null where it was not run), measures, error."""
    kept: dict[str, Any] = {}
    if any(evaluations):
        for key in ("test_scores", "train_scores"):
            if any(each is not None and key in each for each in evaluations):
                kept[key] = _by_split(evaluations, key)
        kept["seconds"] = {
            key: [None if each is None else float(each[key]) for each in evaluations]
            for key in ("fit_time", "score_time")
        }
    numbers = {key: value for key, value in measures.items() if key != "error"}
    if numbers:
        kept["measures"] = numbers
    if error is None:  # a score given for a failed fit hides it
        errors = [each.get("fit_error") or each.get("score_error") for each in evaluations if each]
        error = next((each for each in errors if each), None)
    if error is not None:
        kept["error"] = error
    return kept


def _by_split(evaluations: Sequence[Evaluation | None], key: str) -> dict[str, list[float | None]]:
    known = [each[key] for each in evaluations if each is not None and key in each]
    names = next((list(scores) for scores in known if isinstance(scores, Mapping)), ["score"])

    def number(each: Evaluation | None, name: str) -> float | None:
        if each is None or key not in each:
            return None
        scores = each[key]
        value = float(scores[name] if isinstance(scores, Mapping) else scores)
        return None if math.isnan(value) else value

    return {name: [number(each, name) for each in evaluations] for name in names}
