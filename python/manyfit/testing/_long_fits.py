"""Fits that take long enough to be watched and interrupted."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from time import perf_counter
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from manyfit._execution import progress
from manyfit.testing._compare import runs_natively
from manyfit.testing._data import Data, fit, make_data

__all__ = ["LongFit", "Watch", "long_fit", "timed_fit"]

# A fit this long (in seconds) has reported several times; X has no more entries than that.
LONG_ENOUGH = 0.25
MOST_ENTRIES = 1 << 28


class Watch:
    """A progress callback that remembers what it was told."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, float]] = []
        self.threads: set[int] = set()
        self.first = threading.Event()

    def __call__(self, stage: str, fraction: float) -> None:
        """Remember a report."""
        self.reports.append((stage, fraction))
        self.threads.add(threading.get_ident())
        self.first.set()


def _wide_window(estimator: Any, n_samples: int, n_features: int) -> Data:
    """Data whose X is a sliding window over a short vector: many numbers to read in little memory."""
    data = make_data(estimator, n_samples, 1)
    numbers = np.random.default_rng(5).standard_normal(n_samples + n_features - 1)
    return data.with_X(sliding_window_view(numbers, n_features))


@dataclass(frozen=True)
class LongFit:
    """Data that take an estimator long to fit, how many seconds, and what it reported meanwhile."""

    data: Data
    seconds: float
    watch: Watch


def long_fit(estimator: Any) -> LongFit | None:
    """Data that `estimator` takes long to fit.

    None where the fit stays quick up to the largest size, or runs in scikit-learn.
    """
    return _long_fit(_Keyed(estimator))


class _Keyed:
    """An estimator, equal to all that print alike: estimators themselves are not hashable."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self.key = type(estimator), repr(estimator)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def timed_fit(estimator: Any, data: Data) -> tuple[float, Watch, Any]:
    """Seconds that a fit takes, what it reports, and the model."""
    watch = Watch()
    start = perf_counter()
    with progress(watch):
        model = fit(estimator, data)
    return perf_counter() - start, watch, model


@lru_cache(maxsize=8)
def _long_fit(keyed: _Keyed) -> LongFit | None:
    n_samples, n_features = 4000, 64
    while n_samples * n_features <= MOST_ENTRIES:
        data = _wide_window(keyed.estimator, n_samples, n_features)
        seconds, watch, model = timed_fit(keyed.estimator, data)
        if not runs_natively(model):
            return None
        if seconds >= LONG_ENOUGH:
            return LongFit(data, seconds, watch)
        n_samples = int(n_samples * min(4.0, max(1.5, 1.2 * LONG_ENOUGH / seconds)))
        n_features = min(256, 2 * n_features)
    return None
