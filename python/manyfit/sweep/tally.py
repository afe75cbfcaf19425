"""What a study has come to: counts, the best so far, the pace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["Tally", "feasible", "pace"]


def feasible(trial: FrozenTrial) -> bool:
    """Whether a trial keeps to the constraints."""
    return all(
        value <= 0
        for key, value in trial.system_attrs.items()
        if key.startswith("constraints:") and isinstance(value, int | float)
    )


class Tally:
    """Counts trials, and keeps the best.

    Parameters
    ----------
    directions : sequence of {"maximize", "minimize"}

    Attributes
    ----------
    complete, pruned, failed, infeasible : int
        Trials by what became of them; infeasible ones are complete.
    best : FrozenTrial or None
        By the first objective, of those that keep to the constraints.
    front : list of FrozenTrial
        Those that no other is better than in every objective.
    """

    def __init__(self, directions: Sequence[str]) -> None:
        self.signs = [1.0 if direction == "maximize" else -1.0 for direction in directions]
        self.complete = self.pruned = self.failed = self.infeasible = 0
        self.best: FrozenTrial | None = None
        self.front: list[FrozenTrial] = []

    @property
    def total(self) -> int:
        """Trials that ended."""
        return self.complete + self.pruned + self.failed

    def add(self, trials: Iterable[FrozenTrial]) -> None:
        """Count further trials; those that have not ended are left out."""
        for trial in trials:
            state = trial.state.name
            if state == "PRUNED":
                self.pruned += 1
            elif state == "FAIL":
                self.failed += 1
            elif state == "COMPLETE":
                self.complete += 1
                if feasible(trial):
                    self._rank(trial)
                else:
                    self.infeasible += 1

    def _rank(self, trial: FrozenTrial) -> None:
        if self.best is None or self._worth(trial)[0] > self._worth(self.best)[0]:
            self.best = trial
        if len(self.signs) > 1:
            worth = self._worth(trial)
            if any(_dominates(self._worth(other), worth) for other in self.front):
                return
            self.front = [other for other in self.front if not _dominates(worth, self._worth(other))]
            self.front.append(trial)

    def _worth(self, trial: FrozenTrial) -> list[float]:
        assert trial.values is not None
        return [sign * value for sign, value in zip(self.signs, trial.values, strict=True)]

    def counts(self) -> str:
        """``38 complete, 2 failed``."""
        parts = [f"{self.complete} complete"]
        parts += [
            f"{number} {word}"
            for number, word in ((self.pruned, "pruned"), (self.failed, "failed"))
            if number
        ]
        if self.infeasible:
            parts.append(f"{self.infeasible} outside the constraints")
        return ", ".join(parts)


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and list(one) != list(other)


def pace(trials: Sequence[FrozenTrial], begun: datetime | None = None) -> float | None:
    """Trials per minute since a time (None: all), by the times at which they ended; None where it cannot be told."""
    ends = [t.datetime_complete for t in trials if t.datetime_complete is not None and t.state.is_finished()]
    if begun is None:
        starts = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
        begun = min(starts, default=None)
    if begun is None:
        return None
    ends = [end for end in ends if end >= begun]
    span = (max(ends) - begun).total_seconds() if ends else 0.0
    return 60.0 * len(ends) / span if span > 0 else None
