"""Interleaved timing: every contender once per round, so that all see the same machine."""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Plan:
    """How often to measure."""

    #: Rounds for each contender, when fixed by the user.
    repeat: int | None = None
    min_rounds: int = 7
    max_rounds: int = 25
    #: A contender that has had ``min_rounds`` rounds takes part until it used this many seconds.
    budget: float = 5.0
    #: A figure is the mean of as many calls as fill this many seconds.
    grain: float = 0.005

    def wants_more(self, seconds: list[float], calls: int) -> bool:
        """Whether a contender with these figures takes part in another round."""
        if self.repeat is not None:
            return len(seconds) < self.repeat
        if len(seconds) < self.min_rounds:
            # One slow contender must not cost minutes: three of its rounds are enough.
            return len(seconds) < 3 or sum(seconds) * calls < 4 * self.budget
        return len(seconds) < self.max_rounds and sum(seconds) * calls < self.budget


QUICK = Plan(min_rounds=3, max_rounds=3, grain=0.002)


class Neighbours:
    """How many CPUs the rest of the machine keeps busy inside a ``with`` block (Linux).

    On a machine with no CPU to spare, libraries whose threads wait for each other by spinning suffer far
    more from company than others do; figures taken in company are not to be quoted.
    """

    cpus: float | None = None

    def __enter__(self) -> Neighbours:
        """Note the clocks."""
        self._start = (time.monotonic(), _machine_seconds(), _own_seconds())
        return self

    def __exit__(self, *_: object) -> None:
        """Busy time of the machine less that of this process and its children."""
        wall, machine, own = self._start
        now = _machine_seconds()
        if machine is not None and now is not None:
            busy = (now - machine) - (_own_seconds() - own)
            self.cpus = max(0.0, busy / (time.monotonic() - wall))


def _machine_seconds() -> float | None:
    """Seconds that all CPUs together were busy or taken away since boot."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def settle(window: float = 0.002, timeout: float = 0.25) -> None:
    """Wait until the threads of this process are idle.

    OpenBLAS, OpenMP and TBB workers spin for up to tens of milliseconds after their work; on a machine
    whose every core is in use, that would be charged to whoever is measured next.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        used = time.process_time()
        time.sleep(window)
        if time.process_time() - used < 0.2 * window:
            return


def time_calls(run: Callable[[], Any], calls: int) -> float:
    """Mean seconds of a call, garbage collection kept out."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - start) / calls
    finally:
        gc.enable()


def calls_per_figure(run: Callable[[], Any], plan: Plan) -> int:
    """How many calls make a figure of at least ``plan.grain`` seconds."""
    seconds = time_calls(run, 1)
    if seconds >= plan.grain:
        return 1
    # The second estimate comes from several calls: a single short one is mostly overhead of the clock.
    seconds = time_calls(run, 5)
    return max(1, math.ceil(plan.grain / max(seconds, 1e-9)))


def interleave(runs: Mapping[str, Callable[[], Any]], plan: Plan) -> dict[str, tuple[list[float], int]]:
    """Seconds per round and calls per figure of each contender.

    Every round starts with another contender, so that none is always the one after the same neighbour.
    """
    calls = {name: calls_per_figure(run, plan) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    turn = 0
    while True:
        order = names[turn % len(names) :] + names[: turn % len(names)] if names else []
        active = [name for name in order if plan.wants_more(seconds[name], calls[name])]
        if not active:
            return {name: (seconds[name], calls[name]) for name in names}
        for name in active:
            settle()
            seconds[name].append(time_calls(runs[name], calls[name]))
        turn += 1
