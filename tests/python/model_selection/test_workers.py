"""Worker processes: the same answers, whatever happens to them."""

from __future__ import annotations

import copy
import ctypes
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import make_scorer, r2_score
from sklearn.metrics._scorer import _MultimetricScorer

from manyfit.linear_model import Ridge
from manyfit.model_selection._executor import Done, InProcess, Task, Work
from manyfit.model_selection._parcel import pack, unpack
from manyfit.model_selection._workers import WorkerProcesses

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

N, D = 60, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D))
Y = X @ np.arange(1.0, D + 1) + RNG.normal(size=N)
SPLITS = [(np.flatnonzero(np.arange(N) % 3 != k), np.flatnonzero(np.arange(N) % 3 == k)) for k in range(3)]


class Odd(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Does in fit what `do` says."""

    def __init__(self, do: str = "fit", folder: str = "", value: float = 0.0) -> None:
        self.do = do
        self.folder = folder
        self.value = value

    def fit(self, X: Any, y: Any) -> Odd:
        if self.do == "crash":
            ctypes.string_at(0)
        elif self.do == "kill" or (self.do == "kill once" and first(self.folder)):
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.do == "exit":
            os._exit(3)
        elif self.do == "memory":
            resource.setrlimit(resource.RLIMIT_AS, (2**30, resource.RLIM_INFINITY))
            np.ones(2**31).sum()
        elif self.do == "print":
            print("x" * 100_000)
            os.write(1, b"y" * 1000)
            sys.stdout.flush()
        elif self.do == "raise":
            raise Unsendable(threading.Lock())
        elif self.do == "stop":  # tell that the fit has begun, and wait for ever
            mark(self.folder)
            signal.pause()
        elif self.do == "threads":
            from threadpoolctl import threadpool_info

            self.value = float(max(pool["num_threads"] for pool in threadpool_info()))
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.value)


class Unsendable(Exception):
    """Cannot be pickled."""


def first(folder: str) -> bool:
    try:
        os.close(os.open(f"{folder}/once", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def mark(folder: str) -> None:
    with open(f"{folder}/begun", "w") as pipe:  # a named pipe: waits for its reader
        pipe.write(str(os.getpid()))


def prediction(estimator: Any, X: Any, y: Any) -> float:
    return float(estimator.predict(X)[0])


def task(estimator: Any = None, X: Any = X, scorer: Any = None, **more: Any) -> Task:
    return Task(
        Ridge() if estimator is None else estimator, X, Y, SPLITS, scorer or make_scorer(r2_score), **more
    )


def scores(done: Done) -> list[list[Any]]:
    return [[evaluation["test_scores"] for evaluation in row] for row in done.evaluations]


@pytest.fixture
def workers() -> Iterator[WorkerProcesses]:
    executor = WorkerProcesses(2)
    yield executor
    executor.close(now=True)


@pytest.fixture
def worker() -> Iterator[WorkerProcesses]:
    executor = WorkerProcesses(1)
    yield executor
    executor.close(now=True)


WORK = [Work(i, [{"alpha": 10.0**j} for j in range(-i, 3)], None if i % 2 else [0, 2]) for i in range(5)]


@pytest.mark.parametrize(
    "data",
    [
        X,
        X.astype(np.float32),
        np.asfortranarray(X),
        X[::2].repeat(2, axis=0),
        pd.DataFrame(X, columns=list("abcd")),
    ],
    ids=["float64", "float32", "fortran", "other", "frame"],
)
def test_same_answers_as_in_this_process(run: Any, data: Any, workers: WorkerProcesses) -> None:
    local = InProcess()
    local.start(task(X=data))
    workers.start(task(X=data))
    expected, got = run(local, WORK), run(workers, WORK)
    for work in WORK:
        assert scores(got[work.id]) == scores(expected[work.id])
        assert got[work.id].error is None
        assert len(got[work.id].measures) == len(work.candidates)
        assert got[work.id].seconds > 0
        (plan,) = got[work.id].plans.values()
        assert 0 < plan.fits <= 5 * sum(len(each.candidates) for each in WORK)


def test_sparse_and_pipelines_and_several_scores(run: Any, worker: WorkerProcesses) -> None:
    from sklearn.linear_model import Ridge as Peer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler

    given = task(
        make_pipeline(MaxAbsScaler(), Peer()),
        scipy.sparse.csr_matrix(X),
        _MultimetricScorer(scorers={"a": make_scorer(r2_score), "b": prediction}),
        return_train_score=True,
    )
    work = [Work(0, [{"ridge__alpha": 1.0}, {"ridge__alpha": 3.0}])]
    local = InProcess()
    local.start(given)
    worker.start(given)
    assert scores(run(worker, work)[0]) == scores(run(local, work)[0])


def test_used_again(run: Any, worker: WorkerProcesses) -> None:
    for _ in range(2):
        worker.start(task())
        assert len(run(worker, WORK)) == len(WORK)
        worker.close()
    assert worker.wait() == []
    assert worker.pids == []
    with pytest.raises(RuntimeError, match=r"WorkerProcesses\(1\): submit must come after start"):
        worker.submit(WORK[0])


def test_copies(worker: WorkerProcesses) -> None:
    worker.start(task())
    for other in (copy.deepcopy(worker), pickle.loads(pickle.dumps(worker))):
        assert repr(other) == "WorkerProcesses(1)"
        assert other.pids == []


def test_parcel_shares_memory() -> None:
    big = np.arange(100_000.0).reshape(1000, 100)
    frame = pd.DataFrame({"a": np.arange(10.0), "b": list("abcdefghij")})
    given = {
        "big": big,
        "again": big,
        "frame": frame,
        "sparse": scipy.sparse.csr_matrix(np.eye(9)),
        "none": np.ones(0),
    }
    parcel = pack(given)
    size = os.fstat(parcel).st_size
    assert size < 1.2 * big.nbytes
    one, two = unpack(parcel), unpack(parcel)
    os.close(parcel)
    assert one["big"].ctypes.data % 64 == 0
    assert one["again"] is one["big"]
    one["big"][0, 0] = -1.0  # neither the file nor the others see it
    assert two["big"][0, 0] == 0.0
    np.testing.assert_array_equal(two["big"], big)
    pd.testing.assert_frame_equal(two["frame"], frame)
    np.testing.assert_array_equal(two["sparse"].toarray(), np.eye(9))


# Deaths


def test_candidates_that_kill(run: Any, workers: WorkerProcesses) -> None:
    workers.start(task(Odd(), scorer=prediction))
    bad = [
        Work(0, [{"value": 1.0}, {"do": "crash"}, {"value": 3.0}]),
        Work(1, [{"do": "kill"}]),
        Work(2, [{"do": "exit"}]),
    ]
    done = run(workers, [*bad, Work(3, [{"value": 5.0}])])
    assert scores(done[0])[0] == [1.0] * 3
    assert scores(done[0])[2] == [3.0] * 3
    died = "3 worker processes that evaluated this candidate died, the last one "
    for evaluation in done[0].evaluations[1]:
        assert np.isnan(evaluation["test_scores"])
        assert evaluation["fit_error"] == died + "killed by signal 11 (SIGSEGV)"
        assert evaluation["n_test_samples"] == N // 3
    assert len(done[0].measures) == 3
    assert done[1].error == died + "killed by signal 9 (SIGKILL, perhaps for want of memory)"
    assert done[2].error == died + "with exit status 3"
    assert done[2].evaluations == []
    assert scores(done[3]) == [[5.0] * 3]


def test_a_death_is_repeated_elsewhere(run: Any, worker: WorkerProcesses, tmp_path: Path) -> None:
    worker.start(task(Odd(), scorer=prediction))
    work = [Work(0, [{"value": 1.0}, {"do": "kill once", "folder": str(tmp_path), "value": 2.0}])]
    assert scores(run(worker, work)[0]) == [[1.0] * 3, [2.0] * 3]


def test_out_of_memory_is_a_failed_fit(run: Any, worker: WorkerProcesses) -> None:
    worker.start(task(Odd(), scorer=prediction))
    done = run(worker, [Work(0, [{"do": "memory"}, {"value": 2.0}])])
    assert all("MemoryError" in evaluation["fit_error"] for evaluation in done[0].evaluations[0])
    assert scores(done[0])[1] == [2.0] * 3


def test_kills_at_random_times(run: Any) -> None:
    """Workers are killed whenever they are seen; every piece of work is answered once, and rightly."""
    work = [Work(i, [{"alpha": 10.0 ** (i % 5)}]) for i in range(400)]
    local = InProcess()
    local.start(task())
    expected = run(local, work)
    executor = WorkerProcesses(2)
    executor.start(task())
    rng = np.random.default_rng(1)
    kills = 0
    done: dict[int, Done] = {}
    waiting = list(work)
    under_way = 0
    try:
        while len(done) < len(work):
            while waiting and under_way < executor.slots:
                executor.submit(waiting.pop(0))
                under_way += 1
            if kills < 6 and rng.random() < 0.06 and done:
                for pid in rng.permutation(executor.pids)[:1]:
                    os.kill(int(pid), signal.SIGKILL)
                    kills += 1
            for each in executor.wait(1e-4 * rng.random()):
                assert each.id not in done
                done[each.id] = each
                under_way -= 1
    finally:
        executor.close(now=True)
    assert kills == 6
    assert all(scores(done[i]) == scores(expected[i]) for i in range(len(work)))


def test_workers_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from manyfit.model_selection import _workers

    monkeypatch.setattr(_workers, "_CODE", "import os; os._exit(4)")
    executor = WorkerProcesses(1)
    executor.start(task())
    executor.submit(WORK[0])
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"10 worker .* ended while starting \(with exit status 4\)"):
            executor.wait()
    executor.close()


# Errors and output


def test_errors_that_cannot_be_sent(run: Any, worker: WorkerProcesses) -> None:
    worker.start(task(Odd(), scorer=prediction))
    done = run(worker, [Work(0, [{"do": "raise"}, {"value": 1.0}])])
    assert all("Unsendable" in evaluation["fit_error"] for evaluation in done[0].evaluations[0])
    worker.start(task(Odd(), scorer=prediction, error_score="raise"))
    worker.submit(Work(0, [{"do": "raise"}]))
    worker.submit(Work(1, [{"value": 1.0}]))
    with pytest.raises(RuntimeError, match=r"(?s)in a worker process:.*Unsendable"):
        while worker.wait():
            pass
    worker.start(task(error_score="raise"))
    worker.submit(Work(0, [{"alpha": -1.0}]))
    with pytest.raises(ValueError, match="alpha") as caught:
        worker.wait()
    assert "Traceback" in str(caught.value.__cause__)


def test_what_cannot_be_sent_is_said_at_the_start(worker: WorkerProcesses) -> None:
    with pytest.raises(
        TypeError, match=r"WorkerProcesses\(1\): the estimator, data or scorer cannot be sent"
    ):
        worker.start(task(fit_params={"lock": threading.Lock()}))


def test_output_breaks_nothing(run: Any, worker: WorkerProcesses, capfd: pytest.CaptureFixture[str]) -> None:
    worker.start(task(Odd(), scorer=prediction))
    done = run(worker, [Work(0, [{"do": "print", "value": 2.0}])])
    assert scores(done[0]) == [[2.0] * 3]
    assert capfd.readouterr().out.count("x") >= 300_000


def test_threads_are_shared(run: Any) -> None:
    from manyfit._native import core

    executor = WorkerProcesses(core.default_threads())
    executor.start(task(Odd("threads"), scorer=prediction))
    try:
        assert scores(run(executor, [Work(0, [{}])])[0]) == [[1.0] * 3]
    finally:
        executor.close()


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2"])
def test_number_of_workers(bad: Any) -> None:
    with pytest.raises(ValueError, match=f"WorkerProcesses: n must be an integer of at least 1, got {bad!r}"):
        WorkerProcesses(bad)


# Interrupts and the end


def test_interrupt_loses_nothing(run: Any, workers: WorkerProcesses) -> None:
    """Interrupts at random moments of wait: each piece of work is still answered exactly once."""

    def interrupt(number: int, frame: Any) -> None:
        while frame is not None:
            if frame.f_code is WorkerProcesses.wait.__code__:
                raise KeyboardInterrupt
            frame = frame.f_back

    workers.start(task())
    run(workers, WORK)  # so that they are ready
    done: list[int] = []
    next_work = 0
    rng = np.random.default_rng(0)
    interrupts = 0
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        while len(done) < 150:
            while next_work < min(150, len(done) + 2):
                workers.submit(Work(next_work, [{"alpha": 1.0}]))
                next_work += 1
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + 0.002 * rng.random())
                got = workers.wait()
            except KeyboardInterrupt:
                interrupts += 1
                got = []
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            done += [each.id for each in got]
    finally:
        signal.signal(signal.SIGALRM, before)
    assert sorted(done) == list(range(150))
    assert interrupts > 10


def test_ctrl_c_does_not_reach_workers(run: Any, worker: WorkerProcesses) -> None:
    worker.start(task())
    run(worker, WORK[:2])
    for pid in worker.pids:
        assert os.getpgid(pid) == pid != os.getpgid(0)
        os.kill(pid, signal.SIGINT)
    pids = worker.pids
    run(worker, WORK)
    assert worker.pids == pids


@pytest.fixture
def begun(tmp_path: Path) -> Callable[[], int]:
    """``begun()`` waits until a fit has begun, and gives the process that does it."""
    os.mkfifo(tmp_path / "begun")

    def wait() -> int:
        with open(tmp_path / "begun") as pipe:
            return int(pipe.read())

    return wait


def test_close_now_abandons_what_runs(
    worker: WorkerProcesses, tmp_path: Path, begun: Callable[[], int]
) -> None:
    worker.start(task(Odd(), scorer=prediction))
    worker.submit(Work(0, [{"do": "stop", "folder": str(tmp_path)}]))
    pid = begun()
    worker.close(now=True)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


SCRIPT = """
    import os, signal, sys
    import numpy as np
    from sklearn.base import BaseEstimator, RegressorMixin
    from manyfit.model_selection._executor import Task, Work
    from manyfit.model_selection._workers import WorkerProcesses

    print("script", flush=True)

    class Mine(RegressorMixin, BaseEstimator):
        def __init__(self, folder=""):
            self.folder = folder
        def fit(self, X, y):
            if self.folder:
                with open(self.folder + "/begun", "w") as pipe:
                    pipe.write(str(os.getpid()))
                signal.pause()
            return self
        def predict(self, X):
            return np.full(len(X), 7.0)

    X, y = np.zeros((6, 1)), np.zeros(6)
    splits = [(np.arange(3), np.arange(3, 6))]
    executor = WorkerProcesses(1)
    executor.start(Task(Mine(), X, y, splits, lambda est, X, y: est.predict(X)[0]))
    executor.submit(Work(0, [{}]))
    print(executor.wait()[0].evaluations[0][0]["test_scores"], flush=True)
    executor.submit(Work(1, [{"folder": os.getcwd()}]))
    executor.wait()
"""


def test_supervisor_killed_ends_workers(tmp_path: Path, begun: Callable[[], int]) -> None:
    """A script without a guard, whose classes are its own; it is killed while a worker computes."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    with subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        worker = os.pidfd_open(begun())
        process.kill()
        assert process.stdout is not None
        assert process.stdout.read() == "script\n7.0\n"  # ends when the worker has closed it as well
    try:
        ended, _, _ = select.select([worker], [], [], 60.0)
        assert ended, "the worker lives on"
    finally:
        os.close(worker)
