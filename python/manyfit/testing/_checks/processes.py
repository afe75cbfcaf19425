"""A fit leaves the process as it was, and survives where memory runs out."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import warnings
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from manyfit._native import core
from manyfit.population import fit_many
from manyfit.testing._compare import assert_same_model, runs_natively
from manyfit.testing._conditions import can_fork, is_estimator
from manyfit.testing._data import answers, fit, make_data, seeded
from manyfit.testing._kit import check
from manyfit.testing._processes import in_fork

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def on_linux(estimator: Any) -> bool:
    """Whether /proc tells of memory."""
    return sys.platform == "linux"


def _memory(field: int) -> int:
    """Bytes of address space (field 0) or in memory (field 1)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[field]) * _PAGE


def _surroundings() -> dict[str, Any]:
    """What belongs to the whole process."""
    smallest = np.nextafter(0.0, 1.0)
    return {
        "environment": dict(os.environ),
        "signal handlers": [signal.getsignal(each) for each in sorted(signal.valid_signals())],
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()) if os.name == "posix" else None,
        "NumPy's random state": repr(np.random.get_state()),  # noqa: NPY002
        "Python's random state": random.getstate(),
        "NumPy's error handling": np.geterr(),
        "warning filters": list(warnings.filters),
        "working directory": os.getcwd(),
        "subnormal numbers": (smallest * 1.0, np.float32(1e-40) * np.float32(1.0)),
        "rounding": (1.0 + 2.0**-53, -1.0 - 2.0**-53, 0.1 + 0.2),
        "threads of other libraries": sorted(
            (each["filepath"], each["num_threads"]) for each in threadpool_info()
        ),
        "excepthook": sys.excepthook,
        "switch interval": sys.getswitchinterval(),
        "recursion limit": sys.getrecursionlimit(),
    }


@check()
def check_no_side_effects(estimator: Any) -> None:
    """Fits change nothing of the process: random state, signals, environment, threads of the BLAS, rounding."""
    data = [make_data(estimator, *shape) for shape in ((60, 5), (400, 100), (60, 100))]
    for each in data:  # lazy imports and caches of other libraries are made here
        answers(fit(estimator, each), each.X)
    before = _surroundings()
    for each in data:
        answers(fit(estimator, each), each.X)
    fit_many(seeded(estimator), data[0].X, data[0].y, cv=3)
    after = _surroundings()
    for name, value in before.items():
        assert after[name] == value, f"{name}: {after[name]!r} instead of {value!r}"


@check(is_estimator)
def check_threadpoolctl(estimator: Any) -> None:
    """threadpool_limits holds inside its block, is undone after it, and changes no bit."""
    data = make_data(estimator, 6000, 7)
    expected = fit(estimator, data)
    before = core.default_threads()
    with threadpool_limits(limits=1):
        assert core.default_threads() == 1, "threadpool_limits(1) does not limit our threads"
        assert_same_model(fit(estimator, data), expected, "under threadpool_limits(1)")
    assert core.default_threads() == before, "threadpool_limits is not undone"


_WARM_UP = 100
_BLOCK = 250
_BLOCKS = 4


@check(on_linux)
def check_no_leak(estimator: Any) -> None:
    """Memory does not grow by as much as 1 KB for each fit and answer."""
    data = make_data(estimator, 40, 4)
    model = seeded(estimator)

    def work(times: int) -> int:
        for _ in range(times):
            model.fit(data.X, data.y)
            answers(model, data.X)
        gc.collect()
        return _memory(1)

    seen = [work(_WARM_UP)]
    for _ in range(_BLOCKS):
        seen.append(work(_BLOCK))
        if seen[-1] - seen[-2] < 1024 * _BLOCK:  # a leak shows in every block, noise does not
            return
    growth = np.diff(seen) / _BLOCK
    raise AssertionError(f"memory grew by {growth.round()} bytes for each fit in {_BLOCKS} blocks of {_BLOCK}")


@check(on_linux, can_fork, is_estimator)
def check_memory_limit(estimator: Any) -> None:
    """Where memory runs out a fit raises MemoryError or succeeds, and fits again when there is memory."""
    for shape in ((3000, 300), (300, 2000)):
        data = make_data(estimator, *shape)
        expected = fit(estimator, data)
        if not runs_natively(expected):
            return  # scikit-learn's own solvers promise nothing of the kind
        for megabytes in (0, 2, 8, 32, 128):

            def short_of_memory(data: Any = data, expected: Any = expected, room: int = megabytes << 20) -> None:
                import resource

                _, hard = resource.getrlimit(resource.RLIMIT_AS)
                model = seeded(estimator)
                resource.setrlimit(resource.RLIMIT_AS, (_memory(0) + room, hard))
                try:
                    model.fit(data.X, data.y)
                except MemoryError:
                    pass
                else:
                    assert_same_model(model, expected, "a fit that was short of memory")
                finally:
                    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
                assert_same_model(model.fit(data.X, data.y), expected, "a fit after MemoryError")

            in_fork(short_of_memory, deadline=20.0)
