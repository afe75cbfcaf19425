"""Rungs: in which steps trials are evaluated, so that a pruner may end them between two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from manyfit.model_selection._evaluator import Evaluation
    from manyfit.model_selection._space import Space

__all__ = ["ParameterRungs", "Rungs", "SplitRungs", "make_rungs"]

_AUTO_RUNGS = 3  # before the last, where min_resource is "auto"


class Rungs:
    """One rung: all splits at once."""

    def count(self, settings: Mapping[str, Any]) -> int:
        """How many rungs a trial has."""
        return 1

    def candidate(self, settings: Mapping[str, Any], rung: int) -> dict[str, Any]:
        """What is fitted on a rung."""
        return dict(settings)

    def splits(self, rung: int) -> Sequence[int] | None:
        """The splits that are evaluated on a rung; None: all."""
        return None

    def step(self, settings: Mapping[str, Any], rung: int) -> int:
        """Under which step a rung is reported."""
        return rung + 1

    def report(self, evaluations: Mapping[int, Evaluation], values: Sequence[float]) -> float:
        """What is reported, of the scores of the splits seen so far."""
        return float(np.mean(values))


class SplitRungs(Rungs):
    """A rung for each split.

    Parameters
    ----------
    n_splits : int
    each : bool
        Report the score of each split, which pruners need that compare trials split by split; else the mean of
        those seen so far.
    """

    def __init__(self, n_splits: int, each: bool = False) -> None:
        self.n_splits = n_splits
        self.each = each

    def count(self, settings: Mapping[str, Any]) -> int:
        return self.n_splits

    def splits(self, rung: int) -> Sequence[int] | None:
        return [rung]

    def report(self, evaluations: Mapping[int, Evaluation], values: Sequence[float]) -> float:
        return float(values[-1]) if self.each else super().report(evaluations, values)


class ParameterRungs(Rungs):
    """Rungs of growing values of a parameter, such as the number of iterations; the last is the trial's own."""

    def __init__(self, name: str, full: int | None, least: int, factor: int) -> None:
        self.name = name
        self.full = full
        self.least = least
        self.factor = factor

    def levels(self, settings: Mapping[str, Any]) -> list[int]:
        last = int(settings.get(self.name, self.full))
        levels = []
        level = self.least
        while level < last:
            levels.append(level)
            level *= self.factor
        return [*levels, last]

    def count(self, settings: Mapping[str, Any]) -> int:
        return len(self.levels(settings))

    def candidate(self, settings: Mapping[str, Any], rung: int) -> dict[str, Any]:
        return {**settings, self.name: self.levels(settings)[rung]}

    def step(self, settings: Mapping[str, Any], rung: int) -> int:
        return self.levels(settings)[rung]


def make_rungs(
    owner: str,
    pruner: Any,
    resource: Any,
    min_resource: Any,
    reduction_factor: Any,
    estimator: Any,
    space: Space,
    n_splits: int,
) -> Rungs:
    """Rungs as they are given to :class:`OptunaSearchCV`."""
    from optuna.pruners import NopPruner

    from manyfit.model_selection._sampling import reports_splits

    params = estimator.get_params() if hasattr(estimator, "get_params") else {}
    if resource != "splits" and resource not in params:
        near = get_close_matches(str(resource), ["splits", *params], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"{owner}: resource must be 'splits' or a parameter of {type(estimator).__name__}, "
            f"got {resource!r}{hint}"
        )
    if not _whole(reduction_factor, 2):
        raise ValueError(f"{owner}: reduction_factor must be an integer >= 2, got {reduction_factor!r}")
    if min_resource != "auto" and not _whole(min_resource, 1):
        raise ValueError(f"{owner}: min_resource must be 'auto' or an integer >= 1, got {min_resource!r}")
    if pruner is None or isinstance(pruner, NopPruner):
        return Rungs()
    if resource == "splits":
        return SplitRungs(n_splits, reports_splits(pruner))
    full: Any = params[resource]
    searched = space.distributions.get(resource)
    if searched is not None:
        full = getattr(searched, "high", full)
    if not _whole(full, 1):
        if space.function is None and searched is None:
            raise ValueError(
                f"{owner}: resource: {resource} must be an integer >= 1 to be cut into rungs, got {full!r}"
            )
        full = None
    if min_resource == "auto":
        if full is None:
            raise ValueError(
                f"{owner}: min_resource must be given where {resource} has no value of its own, got 'auto'"
            )
        min_resource = max(1, round(full / reduction_factor**_AUTO_RUNGS))
    return ParameterRungs(resource, full, int(min_resource), int(reduction_factor))


def _whole(value: Any, least: int) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least
