"""What a search would do and about how long it would take, from a few probe fits.

Fits of a group (a population, pipelines, fits one by one) are taken to cost ``s * parts + f * fits``: `parts` is
what they share (1 for a population, the distinct beginnings for pipelines, every fit for those done one by
one). Probes of one candidate and of several that share a part tell s and f.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.validation import _num_samples

from manyfit.model_selection._evaluator import Evaluator
from manyfit.model_selection._plan import Plan

__all__ = ["Explanation", "Round", "estimate"]

SPREAD = 3  # candidates spread over all, timed alone
LONG_PROBE = 0.1  # seconds after which a group is probed no further


@dataclass
class Round:
    """Candidates that a search evaluates at once."""

    candidates: list[Mapping[str, Any]]
    splits: list[tuple[Any, Any]]

    @property
    def rows(self) -> int:
        """Training rows of all splits."""
        return sum(_num_samples(train) for train, _ in self.splits)


@dataclass
class Explanation:
    """What a search would do.

    Attributes
    ----------
    plan : Plan
        How the candidates would be fitted; ``str(plan)`` says it in words.
    fits : int
        Fits in all, without the last one on all rows.
    seconds : float
        About how long they would take.
    probe_fits : int
        Fits that the estimate is made from.
    probe_seconds : float
        How long these took.
    """

    plan: Plan
    fits: int
    seconds: float
    probe_fits: int
    probe_seconds: float

    def __str__(self) -> str:
        return (
            f"{self.plan}\nabout {duration(self.seconds)} for {self.fits} fits, "
            f"estimated from {self.probe_fits} probe fits in {duration(self.probe_seconds)}"
        )


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 1:
        return f"{seconds * 1e3:.2g} ms" if seconds < 0.0995 else f"{seconds:.2f} s"
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def estimate(make: Callable[[Sequence[tuple[Any, Any]]], Evaluator], rounds: Sequence[Round]) -> Explanation:
    """Probe the largest round and scale the others by their rows.

    `make(splits)` gives an evaluator of these splits.
    """
    largest = max(rounds, key=lambda each: each.rows)
    evaluator = make(largest.splits)
    begin = perf_counter()
    plan = Plan()
    probe_fits = 0
    for group in evaluator.groups(largest.candidates):
        probe = _Probe(evaluator, [largest.candidates[i] for i in group.members], group.parts)
        probe_fits += probe.fits
        n_splits = len(largest.splits)
        for every in rounds:
            scale = every.rows / max(1, largest.rows)
            share_of = len(every.candidates) / len(largest.candidates)
            fits = len(group.members) * share_of * n_splits
            parts = 1.0 if group.how == "population" else len(set(group.parts)) * share_of * n_splits
            workers = effective_n_jobs(evaluator.n_jobs) if group.how == "one by one" else 1
            spent = scale * (probe.preparation + (probe.part * parts + probe.fit * fits) / workers)
            share = plan.share(group.how, group.what, group.why)
            share.fits += round(fits)
            share.seconds += spent
    for share in plan:
        probed = next((s for s in evaluator.plan if (s.how, s.what) == (share.how, share.what)), None)
        share.passes = list(probed.passes) if probed is not None else []
    total = sum(len(every.candidates) * len(every.splits) for every in rounds)
    seconds = sum(share.seconds for share in plan)
    return Explanation(plan, total, seconds, probe_fits, perf_counter() - begin)


class _Probe:
    """Timed fits of some candidates of a group on one split.

    Attributes
    ----------
    preparation, part, fit : float
        Seconds spent once, for each part and for each fit.
    fits : int
        Fits that were timed.
    """

    def __init__(
        self, evaluator: Evaluator, candidates: Sequence[Mapping[str, Any]], parts: Sequence[Any]
    ) -> None:
        self.evaluator = evaluator
        self.fits = 0
        first = self._time(candidates[:1])  # prepares what all share
        few = len(candidates) * len(evaluator.splits) < 20 * SPREAD  # three probes are no small part of them
        if first > LONG_PROBE and few:
            one = first
        else:
            spread = np.unique(np.linspace(0, len(candidates) - 1, SPREAD).round().astype(int)).tolist()
            one = float(np.mean([self._time([candidates[i]]) for i in spread]))
        self.preparation = max(first - one, 0.0)
        alike = [i for i, part in enumerate(parts) if part == parts[0]]
        self.fit, self.part = one, 0.0
        taken, spent = 1, one
        while len(alike) > taken and spent < LONG_PROBE:
            taken = min(4 * taken, len(alike))
            spent = self._time([candidates[i] for i in alike[:taken]])
            self.fit = min(max(spent - one, 0.0) / (taken - 1), one)
            self.part = one - self.fit

    def _time(self, candidates: Sequence[Mapping[str, Any]]) -> float:
        begin = perf_counter()
        self.evaluator.evaluate(candidates, [0])
        self.fits += len(candidates)
        return perf_counter() - begin
