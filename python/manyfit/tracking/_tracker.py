"""What every tracker does: record what has been told and not yet recorded, and stop no search."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

__all__ = ["Tracker", "plain"]


class Tracker:
    """Base of the trackers: they say what is recorded already, and record trials."""

    def __init__(self) -> None:
        self._study: str | None = None
        self._known: set[Hashable] | None = None  # None: look what is recorded, and catch up

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Record one trial."""
        self.on_batch_end(study, [trial])

    def on_batch_end(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        """Record trials that have been told, and any before them that are missing."""
        try:
            if self._known is None or self._study != study.study_name:
                self._study = study.study_name
                self._known = None
                self._known = self._recorded(study)
                trials = study.get_trials(deepcopy=False)
            for trial in sorted(trials, key=lambda trial: trial.number):
                key = identity(trial)
                if trial.state.is_finished() and key not in self._known:
                    self._record(study, trial)
                    self._known.add(key)
            self._finish_batch(study)
        except Exception as error:
            self._known = None
            self._warn(error)

    def on_search_end(self, search: Any) -> None:
        """Record what is missing, and what a search found."""
        self._known = None
        self.on_batch_end(search.study_, [])
        if self._known is None:
            return
        try:
            self._conclude(search)
        except Exception as error:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(
            f"{self!r}: not recorded, tried again after the next batch: {reason}",
            RuntimeWarning,
            stacklevel=3,
        )

    def _recorded(self, study: Study) -> set[Hashable]:
        """Identities of the trials that are recorded."""
        raise NotImplementedError

    def _record(self, study: Study, trial: FrozenTrial) -> None:
        raise NotImplementedError

    def _finish_batch(self, study: Study) -> None:
        pass

    def _conclude(self, search: Any) -> None:
        pass


def identity(trial: FrozenTrial) -> Hashable:
    """What tells a trial from those of other studies of the same name."""
    return trial.number, moment(trial)


def moment(trial: FrozenTrial) -> str:
    """When a trial ended."""
    return "" if trial.datetime_complete is None else trial.datetime_complete.isoformat()


def plain(value: Any) -> Any:
    """`value` of what strict JSON holds: "nan" and "inf" as text, what is unknown as its repr."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return repr(value)
