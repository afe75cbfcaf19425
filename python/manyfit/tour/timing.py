"""Honest times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

__all__ = ["Peer", "side_by_side", "timed"]

Value = TypeVar("Value")


def timed(call: Callable[[], Value]) -> tuple[float, Value]:
    """Return the seconds a call took, and its value."""
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


class Peer:
    """What manyfit is compared with, on the number of BLAS threads that makes it fastest here.

    On a busy machine that is often one: threads that wait for each other wait long.

    Attributes
    ----------
    threads : int
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self._controller = ThreadpoolController()
        most = max((library["num_threads"] for library in self._controller.info()), default=1)
        call()
        taken = {}
        for threads in sorted({1, most}):
            with self._limit(threads):
                taken[threads] = statistics.median(timed(call)[0] for _ in range(3))
        self.threads: int = min(taken, key=taken.__getitem__)

    def timed(self, call: Callable[[], Value]) -> tuple[float, Value]:
        """Like the function of that name, on these threads; changing their number is not counted."""
        with self._limit(self.threads):
            return timed(call)

    def _limit(self, threads: int) -> AbstractContextManager[Any]:
        limit: AbstractContextManager[Any] = self._controller.limit(limits=threads, user_api="blas")
        return limit


def side_by_side(
    ours: Callable[[], object], peer: Callable[[], object], *, seconds: float, rounds: int = 200
) -> tuple[float, float]:
    """Median seconds of two calls, taken in turn so that what else the machine does meets both alike.

    At least three times each, until `rounds` or, in all, `seconds` are over.
    """
    ours()
    at_its_best = Peer(peer)
    ours_taken: list[float] = []
    peer_taken: list[float] = []
    start = time.perf_counter()
    while len(ours_taken) < 3 or (len(ours_taken) < rounds and time.perf_counter() - start < seconds):
        ours_taken.append(timed(ours)[0])
        peer_taken.append(at_its_best.timed(peer)[0])
    return statistics.median(ours_taken), statistics.median(peer_taken)
