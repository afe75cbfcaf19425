"""A fit leaves the process as it was, and survives where memory runs out."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import signal
import sys
import warnings
from functools import partial
from typing import Any, ClassVar

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from manyfit._native import core
from manyfit.population import fit_many
from manyfit.testing._compare import assert_same_model, runs_natively
from manyfit.testing._conditions import can_fork, is_estimator
from manyfit.testing._data import answers, brief, fit, make_data, seeded
from manyfit.testing._kit import check
from manyfit.testing._processes import in_fork


def on_linux(estimator: Any) -> bool:
    """Whether /proc tells of memory."""
    return sys.platform == "linux"


def _address_space() -> int:
    """Bytes of address space that the process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


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
    random.random()
    np.random.random()  # noqa: NPY002  # so that a state which fits set is not the one they find
    with threadpool_limits(limits=2, user_api="blas"):  # another number than a fit may want
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
    estimator = brief(estimator)
    data = make_data(estimator, 6000, 7)
    expected = fit(estimator, data)
    before = core.default_threads()
    with threadpool_limits(limits=1):
        assert core.default_threads() == 1, "threadpool_limits(1) does not limit our threads"
        assert_same_model(fit(estimator, data), expected, "under threadpool_limits(1)")
    assert core.default_threads() == before, "threadpool_limits is not undone"


class _MallInfo(ctypes.Structure):
    """What glibc's ``mallinfo2`` returns."""

    _fields_: ClassVar = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


def has_mallinfo(estimator: Any) -> bool:
    """Whether the C library tells how much memory is in use."""
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallinfo2")


def _memory_in_use() -> tuple[int, int]:
    """Bytes that malloc has handed out, and objects that Python has."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _MallInfo
    info = mallinfo()
    gc.collect()
    return info.uordblks + info.hblkhd, sys.getallocatedblocks()


# A leak shows in every block of fits, noise does not.
_BLOCK = 250
_BLOCKS = 6


@check(has_mallinfo)
def check_no_leak(estimator: Any) -> None:
    """Memory in use does not grow with the number of fits and answers."""
    estimator = brief(estimator)
    data = make_data(estimator, 40, 4)
    model = seeded(estimator)

    def work() -> tuple[int, int]:
        for _ in range(_BLOCK):
            model.fit(data.X, data.y)
            answers(model, data.X)
        return _memory_in_use()

    seen = [work()]
    for _ in range(_BLOCKS):
        seen.append(work())
        grown = [after - before for before, after in zip(*seen[-2:], strict=True)]
        if grown[0] < 100 * _BLOCK and grown[1] < _BLOCK:
            return
    growth = (np.diff(seen, axis=0) / _BLOCK).round(1).tolist()
    raise AssertionError(f"each fit leaves (bytes, objects) behind, in blocks of {_BLOCK}: {growth}")


def _take_what_is_free() -> list[Any]:
    """Memory that lies unused inside the process: it would hide that there is none to be had."""
    taken = []
    for kilobytes in (1 << 16, 1 << 14, 1 << 12, 1 << 10, 1 << 8, 1 << 6):
        try:
            while True:
                taken.append(np.empty(kilobytes << 10, dtype=np.uint8))
        except MemoryError:
            pass
    return taken


@check(on_linux, can_fork, is_estimator)
def check_memory_limit(estimator: Any) -> None:
    """Where memory runs out a fit raises MemoryError or succeeds, and fits again when there is memory."""
    estimator = brief(estimator)
    for shape in ((3000, 300), (150, 600)):
        data = make_data(estimator, *shape)
        expected = fit(estimator, data)
        if not runs_natively(expected):
            return  # scikit-learn's own solvers promise nothing of the kind

        def short_of_memory(room: int, data: Any = data, expected: Any = expected) -> None:
            import resource

            soft, hard = resource.getrlimit(resource.RLIMIT_AS)
            model = seeded(estimator)
            limit = _address_space()
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
            taken = _take_what_is_free()
            resource.setrlimit(resource.RLIMIT_AS, (limit + room, hard))
            fitted = False
            try:
                model.fit(data.X, data.y)
                fitted = True
            except MemoryError:
                pass
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            taken.clear()
            if fitted:
                assert_same_model(model, expected, "a fit that was short of memory")
            assert_same_model(model.fit(data.X, data.y), expected, "a fit after MemoryError")

        for megabytes in (0, 2, 8, 32, 128):
            in_fork(partial(short_of_memory, megabytes << 20), deadline=30.0)
