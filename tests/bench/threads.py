"""The number of threads, set before any numerical library is loaded: nothing here may import one."""

from __future__ import annotations

import os
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def limit_threads(threads: int) -> None:
    """Set the environment that OpenMP and BLAS libraries read when they are loaded; children inherit it."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load() -> float | None:
    """Processes that wanted a CPU in the last minute, this one among them."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def threadpools() -> dict[str, int]:
    """Threads of every BLAS and OpenMP library loaded by now, as they say themselves."""
    from threadpoolctl import threadpool_info

    return {Path(pool["filepath"]).name.split("-")[0]: pool["num_threads"] for pool in threadpool_info()}
