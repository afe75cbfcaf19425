"""Workers of a real Dask cluster of processes: the same answers, also when a worker is killed."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import make_scorer, r2_score

distributed = pytest.importorskip("distributed")

from manyfit.linear_model import Ridge  # noqa: E402
from manyfit.model_selection._dask import DaskWorkers  # noqa: E402
from manyfit.model_selection._executor import Done, InProcess, Task, Work  # noqa: E402

# What distributed leaves behind in its own loops and sockets, here and when a worker is killed.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(distributed|dask|tornado)"),
    pytest.mark.filterwarnings("ignore::UserWarning:distributed"),
    pytest.mark.xdist_group("dask"),
]

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4))
Y = X @ np.arange(1.0, 5.0) + RNG.normal(size=N)
SPLITS = [(np.flatnonzero(np.arange(N) % 3 != k), np.flatnonzero(np.arange(N) % 3 == k)) for k in range(3)]


class Odd(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Does in fit what `do` says."""

    def __init__(self, do: str = "fit", folder: str = "", value: float = 0.0) -> None:
        self.do = do
        self.folder = folder
        self.value = value

    def fit(self, X: Any, y: Any) -> Odd:
        if self.do == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.do == "stop once" and first(self.folder):
            with open(f"{self.folder}/begun", "w") as pipe:  # a named pipe: waits for its reader
                pipe.write(str(os.getpid()))
            signal.sigwait({signal.SIGUSR1})  # for ever: nobody sends it
        elif self.do == "raise":
            raise ValueError("not today")
        elif self.do == "threads":
            from threadpoolctl import threadpool_info

            self.value = float(max(pool["num_threads"] for pool in threadpool_info()))
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.value)


def first(folder: str) -> bool:
    try:
        os.close(os.open(f"{folder}/once", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def prediction(estimator: Any, X: Any, y: Any) -> float:
    return float(estimator.predict(X)[0])


def scores(done: Done) -> list[list[Any]]:
    return [[evaluation["test_scores"] for evaluation in row] for row in done.evaluations]


@pytest.fixture(scope="module")
def cluster(environment: Any) -> Iterator[Any]:
    import dask

    settings = {"distributed.scheduler.allowed-failures": 1, "distributed.admin.log-format": "%(message)s"}
    with (
        environment(),
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2)
        yield client


WORK = [Work(i, [{"alpha": 10.0**j} for j in range(-i, 3)], None if i % 2 else [0, 2]) for i in range(5)]


def test_same_answers_as_in_this_process(run: Any, cluster: Any, client: Any) -> None:
    task = Task(Ridge(), X, Y, SPLITS, make_scorer(r2_score))
    local = InProcess()
    local.start(task)
    expected = run(local, WORK)
    for where in (cluster.scheduler_address, client):
        executor = DaskWorkers(where)
        for _ in range(2):
            executor.start(task)
            assert executor.slots == 2
            got = run(executor, WORK)
            assert all(scores(got[i]) == scores(expected[i]) for i in expected)
            assert all(plan.fits > 0 for plan in got[0].plans.values())
            executor.close()
    with pytest.raises(RuntimeError, match="submit must come after start"):
        executor.submit(WORK[0])


def test_worker_killed_in_the_middle(client: Any, tmp_path: Path) -> None:
    """Both workers one after the other, so that the data is lost once as well."""
    executor = DaskWorkers(client)
    executor.start(Task(Odd(), X, Y, SPLITS, prediction))
    for i in range(2):
        folder = tmp_path / str(i)
        folder.mkdir()
        os.mkfifo(folder / "begun")
        executor.submit(Work(i, [{"do": "stop once", "folder": str(folder), "value": 4.0}, {"value": 5.0}]))
    killed = set()
    for i in range(2):
        with open(tmp_path / str(i) / "begun") as pipe:
            pid = int(pipe.read())
        killed.add(pid)
        os.kill(pid, signal.SIGKILL)
    done = {}
    while len(done) < 2:
        for each in executor.wait():
            assert each.id not in done
            done[each.id] = each
    assert len(killed) == 2
    assert all(scores(done[i]) == [[4.0] * 3, [5.0] * 3] for i in range(2))
    executor.close()


def test_one_candidate_kills(run: Any, cluster: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    executor = DaskWorkers(client)
    executor.start(Task(Odd(), X, Y, SPLITS, prediction))
    died = "Dask workers that evaluated this candidate died"
    done = run(executor, [Work(0, [{"do": "kill"}])])
    assert died in str(done[0].error)
    done = run(executor, [Work(1, [{"value": 1.0}, {"do": "kill"}])])
    assert all(died in each["fit_error"] for each in done[1].evaluations[1])
    # The sound one may have been on the way to the worker that died.
    assert scores(done[1])[0] == [1.0] * 3 or died in done[1].evaluations[0][0]["fit_error"]
    executor.close()


def test_errors_and_threads(run: Any, client: Any) -> None:
    executor = DaskWorkers(client)
    executor.start(Task(Odd(), X, Y, SPLITS, prediction, error_score="raise"))
    assert scores(run(executor, [Work(0, [{"do": "threads"}])])[0]) == [[1.0] * 3]
    executor.submit(Work(1, [{"do": "raise"}]))
    with pytest.raises(ValueError, match="not today"):
        executor.wait()
    executor.submit(Work(2, [{"value": 2.0}]))
    executor.close(now=True)
    assert executor.wait() == []


def test_copies(client: Any) -> None:
    executor = DaskWorkers(client)
    assert copy.deepcopy(executor).client is client
    assert repr(pickle.loads(pickle.dumps(executor))) == f"DaskWorkers({client.scheduler.address!r})"


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from manyfit.model_selection import _dask

    monkeypatch.setattr(_dask, "PATIENCE", 1.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        for bad in (address, "nonsense://x"):
            with pytest.raises(ConnectionError, match=f"DaskWorkers: no Dask scheduler answers at '{bad}'"):
                DaskWorkers(bad).start(Task(Ridge(), X, Y, SPLITS, prediction))
    with pytest.raises(TypeError, match=r"client must be a distributed.Client or an address, got 3"):
        DaskWorkers(3)


def test_scheduler_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    from manyfit.model_selection import _dask

    monkeypatch.setattr(_dask, "PATIENCE", 1.0)
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as empty:
        executor = DaskWorkers(empty.scheduler_address)
        with pytest.raises(ConnectionError, match="has no workers"):
            executor.start(Task(Ridge(), X, Y, SPLITS, prediction))


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'manyfit\[dask\]'"):
        DaskWorkers("tcp://127.0.0.1:1")
