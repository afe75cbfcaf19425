"""How fits run: threads, processes, interruption, progress, and what they leave alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from joblib import Parallel, delayed
from threadpoolctl import threadpool_info, threadpool_limits

import manyfit as mf
from manyfit._native import core
from manyfit.decomposition import PCA
from manyfit.linear_model import LinearRegression, Ridge
from manyfit.testing._processes import in_fork

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]

posix = pytest.mark.skipif(os.name != "posix", reason="needs fork and signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and CPU affinity")


def make(n: int = 3000, d: int = 12, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, X @ rng.standard_normal(d) + 0.1 * rng.standard_normal(n)


def wide_window(n: int, d: int) -> tuple[Any, Any]:
    """Many numbers to read, from a short vector."""
    numbers = np.random.default_rng(0).standard_normal(n + d - 1)
    return np.lib.stride_tricks.sliding_window_view(numbers, d), numbers[:n]


# --- how many threads ---


def threads_of_a_fit(environment: dict[str, str], n_jobs: int | None = None) -> tuple[int, int]:
    """The default number of threads in a process with these settings, and how many a fit there runs on."""
    X, y = make(40_000, 12)

    def child() -> tuple[int, int]:
        for name in ("MANYFIT_NUM_THREADS", "OMP_NUM_THREADS"):
            os.environ.pop(name, None)
        os.environ.update(environment)
        Ridge(n_jobs=1).fit(X[:100], y[:100])  # the BLAS starts threads of its own
        before = len(os.listdir("/proc/self/task"))
        Ridge(n_jobs=n_jobs).fit(X, y)
        return core.default_threads(), 1 + len(os.listdir("/proc/self/task")) - before

    return in_fork(child)


@linux
@pytest.mark.parametrize(
    ("environment", "n_jobs", "default", "used"),
    [
        ({"MANYFIT_NUM_THREADS": "1"}, None, 1, 1),
        ({"MANYFIT_NUM_THREADS": "3"}, None, 3, 3),
        ({"MANYFIT_NUM_THREADS": "3"}, -1, 3, 3),
        ({"MANYFIT_NUM_THREADS": "3"}, 1, 3, 1),
        ({"MANYFIT_NUM_THREADS": "3"}, 2, 3, 2),
        ({"MANYFIT_NUM_THREADS": "3"}, -2, 3, 2),
        ({"MANYFIT_NUM_THREADS": "3"}, -9, 3, 1),
        ({"MANYFIT_NUM_THREADS": "1"}, 4, 1, 4),
        ({"OMP_NUM_THREADS": "1"}, None, 1, 1),
        ({"OMP_NUM_THREADS": "1,1"}, None, 1, 1),
        ({"OMP_NUM_THREADS": "1", "MANYFIT_NUM_THREADS": "2"}, None, 2, 2),
    ],
)
def test_number_of_threads(environment: dict[str, str], n_jobs: int | None, default: int, used: int) -> None:
    assert threads_of_a_fit(environment, n_jobs) == (default, used)


@linux
@pytest.mark.parametrize("value", ["", "0", "-3", "many", "99999999999999999999"])
def test_senseless_thread_numbers_are_ignored(value: str) -> None:
    assert threads_of_a_fit({"MANYFIT_NUM_THREADS": value}) == threads_of_a_fit({})


@linux
def test_affinity() -> None:
    """taskset and the like: one CPU, one thread; what a parent allows holds for the child."""

    def child() -> tuple[int, int]:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        return threads_of_a_fit({})

    assert in_fork(child) == (1, 1)


def test_threadpoolctl() -> None:
    before = core.default_threads()
    found = [each for each in threadpool_info() if each["internal_api"] == "manyfit"]
    assert [(each["user_api"], each["num_threads"]) for each in found] == [("manyfit", before)]
    assert "_core_" in found[0]["filepath"]
    with threadpool_limits(limits=1):
        assert core.default_threads() == 1
        with threadpool_limits(limits=3, user_api="manyfit"):
            assert core.default_threads() == 3
        assert core.default_threads() == 1
    assert core.default_threads() == before
    assert core.thread_limits()["set"] == 0, "undoing a limit must not leave another behind"
    with threadpool_limits(limits=1, user_api="blas"):
        assert core.default_threads() == before


def test_nested_workers() -> None:
    """joblib's workers fit as well, and to the same bits."""
    X, y = make()
    expected = Ridge().fit(X, y).coef_

    def coef_of_a_fit() -> Any:  # local, so that it is pickled whole: a worker need not find this file
        return Ridge().fit(X, y).coef_

    for coef in Parallel(n_jobs=2, prefer="processes")(delayed(coef_of_a_fit)() for _ in range(4)):
        np.testing.assert_array_equal(coef, expected)
    for coef in Parallel(n_jobs=3, prefer="threads")(delayed(coef_of_a_fit)() for _ in range(6)):
        np.testing.assert_array_equal(coef, expected)


def fitted_coef(X: Any, y: Any) -> Any:
    return Ridge().fit(X, y).coef_


# --- processes ---


@posix
def test_fork_again_and_again() -> None:
    X, y = make()
    models = [Ridge(), LinearRegression(), PCA(3), PCA(svd_solver="full")]
    expected = [vars(model.fit(X, y)).get("coef_", model).tobytes() for model in models[:2]]

    def child() -> list[bytes]:
        for model in models[2:]:
            model.fit(X)
        return [model.fit(X, y).coef_.tobytes() for model in models[:2]]

    for _ in range(60):
        assert in_fork(child) == expected


@contextmanager
def busy_thread(work: Callable[[], object]) -> Iterator[None]:
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            work()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@posix
@pytest.mark.parametrize("shape", [(4000, 20), (400, 150), (100, 200)])
def test_fork_while_another_thread_fits(shape: tuple[int, int]) -> None:
    """Whatever lock that thread holds at the moment of the fork, the child fits."""
    X, y = make(*shape)
    expected = Ridge().fit(X, y).coef_.tobytes()

    def child() -> bytes:
        return Ridge().fit(X, y).coef_.tobytes()

    with busy_thread(lambda: (Ridge().fit(X, y), PCA(3).fit(X))):
        for _ in range(25):
            assert in_fork(child, deadline=30.0) == expected


@posix
def test_multiprocessing_pools() -> None:
    X, y = make()
    expected = Ridge().fit(X, y).coef_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, from Python 3.12 on
        with multiprocessing.get_context("fork").Pool(2) as pool:
            results = [pool.apply_async(fitted_coef, (X, y)) for _ in range(6)]
            for result in results:
                np.testing.assert_array_equal(result.get(timeout=60), expected)


# --- threads at once ---


def test_one_dataset_in_several_threads() -> None:
    X, y = make()
    data = mf.Dataset(X, y)
    expected = mf.fit_many(Ridge(), X, y, [{"alpha": a} for a in (0.1, 1.0)], cv=4)
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(mf.fit_many, Ridge(), data, params=[{"alpha": a} for a in (0.1, 1.0)], cv=4)
            for _ in range(12)
        ]
        for job in jobs:
            for model, other in zip(job.result(), expected, strict=True):
                np.testing.assert_array_equal(model.coef_, other.coef_)


def test_blas_threads_are_as_before() -> None:
    X, y = make(2000, 100)

    def blas() -> list[int]:
        return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

    with threadpool_limits(limits=2, user_api="blas"):
        before = blas()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: (Ridge().fit(X, y), PCA().fit(X)), range(40)))
        assert blas() == before
    for estimator in (Ridge(alpha=-1.0), PCA(n_components=500)):
        before = blas()
        with pytest.raises(ValueError, match="must be"):
            estimator.fit(X, y)
        assert blas() == before


# --- interruption ---

INTERRUPTED = """
    import signal
    import sys
    import numpy as np
    import manyfit as mf
    from manyfit.decomposition import PCA
    from manyfit.linear_model import LinearRegression, Ridge

    # A shell ignores it for what it runs in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def say(stage, fraction):
        if fraction > 0.01:
            print("running", flush=True)

    numbers = np.random.default_rng(0).normal(size=3_000_000)
    X = np.lib.stride_tricks.sliding_window_view(numbers, 500)
    y = numbers[: len(X)]
    print("ready", flush=True)
    try:
        with mf.progress(say):
            {call}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    small = X[:500, :5]
    assert Ridge().fit(small, y[:500]).fit_backend_ == "manyfit"
    print("fits again", flush=True)
"""


@posix
@pytest.mark.parametrize(
    "call",
    [
        "Ridge().fit(X, y)",
        'mf.fit_many(Ridge(), X, y, [{"alpha": a} for a in (1.0, 2.0)], cv=5)',
        'PCA(svd_solver="full").fit(X[:1_000_000])',
    ],
)
def test_interrupt_from_outside(call: str) -> None:
    """As from a terminal: the fit, which would go on for long, ends at once."""
    code = textwrap.dedent(INTERRUPTED).format(call=call)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watchdog = threading.Timer(120, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            assert process.stdout.readline() == "running\n", process.stderr and process.stderr.read()
            process.send_signal(signal.SIGINT)
            said, complaints = process.communicate()
        finally:
            watchdog.cancel()
    assert process.returncode == 0, complaints
    assert said.replace("running\n", "") == "interrupted\nfits again\n"


@posix
def test_interrupt_reaches_the_main_thread_alone() -> None:
    """A fit on another thread goes on: signals belong to the main thread, as everywhere in Python."""
    X, y = wide_window(300_000, 60)
    expected = Ridge().fit(X, y).coef_

    def child() -> bool:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        started = threading.Event()
        result: list[Any] = []

        def work() -> None:
            with mf.progress(lambda stage, fraction: started.set()):
                for _ in range(5):
                    result.append(Ridge(n_jobs=1).fit(X, y).coef_)
            started.set()

        thread = threading.Thread(target=work)
        thread.start()
        started.wait()
        caught = False
        try:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0)
        except KeyboardInterrupt:
            caught = True
        thread.join()
        return caught and len(result) == 5 and all(np.array_equal(each, expected) for each in result)

    assert in_fork(child)


# --- progress ---


def test_progress_is_of_the_block_and_the_thread() -> None:
    X, y = wide_window(400_000, 120)
    outer: list[str] = []
    inner: list[str] = []
    with mf.progress(lambda stage, fraction: outer.append(stage)):
        with mf.progress(lambda stage, fraction: inner.append(stage)):
            Ridge().fit(X, y)
        assert inner
        assert not outer
        with ThreadPoolExecutor(1) as pool:
            pool.submit(Ridge().fit, X, y).result()
        assert not outer, "another thread's fit is not of this block"
        mf.fit_many(Ridge(), X, y, cv=3)
        assert "fold Gram" in outer
    count = len(outer)
    Ridge().fit(X, y)
    assert len(outer) == count


def test_a_stopped_fit_leaves_a_dataset_usable() -> None:
    X, y = wide_window(400_000, 120)
    data = mf.Dataset(X, y)

    class Enough(Exception):
        pass

    def stop(stage: str, fraction: float) -> None:
        raise Enough(stage)

    with pytest.raises(Enough, match="fold Gram"), mf.progress(stop):
        Ridge().fit(data)
    assert data.passes == []
    np.testing.assert_array_equal(Ridge().fit(data).coef_, Ridge().fit(X, y).coef_)
    assert data.passes == ["fold Gram"]


def test_progress_takes_a_callable() -> None:
    with pytest.raises(TypeError, match="callback must be callable, got 3"), mf.progress(3):  # type: ignore[arg-type]
        pass


# --- what import leaves alone ---


def test_import_leaves_the_process_alone(run_python: RunPython) -> None:
    """Beyond what scikit-learn's own import does."""
    done = run_python(
        """
        import os, random, signal, sys, threading, warnings
        import numpy as np
        import sklearn.linear_model, sklearn.decomposition, scipy.linalg.cython_lapack
        from threadpoolctl import threadpool_info

        def surroundings():
            return {
                "environment": dict(os.environ),
                "signals": [signal.getsignal(each) for each in sorted(signal.valid_signals())],
                "numpy": repr(np.random.get_state()),
                "random": random.getstate(),
                "errors": np.geterr(),
                "warnings": list(warnings.filters),
                "threads": threading.active_count(),
                "native threads": len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0,
                "pools": [(each["filepath"], each["num_threads"]) for each in threadpool_info()],
                "subnormal": (5e-324 * 1.0, np.float32(1e-40) * np.float32(1)),
                "path": list(sys.path),
            }

        random.random(), np.random.random()
        before = surroundings()
        import manyfit
        from manyfit.linear_model import Ridge
        from manyfit.decomposition import PCA
        after = surroundings()
        after["pools"] = [each for each in after["pools"] if "_core_" not in each[0]]
        for name, value in before.items():
            assert after[name] == value, (name, value, after[name])
        assert after["subnormal"][0] > 0 and after["subnormal"][1] > 0
        """
    )
    assert done.returncode == 0, done.stderr
