"""Other processes, Ctrl-C and other threads."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from joblib import Parallel, delayed

import manyfit as mf
from manyfit.linear_model import ElasticNetCV, LogisticRegressionCV, Ridge
from manyfit.model_selection import OptunaSearchCV
from manyfit.testing._processes import in_fork, in_new_interpreter

from .cases import ESTIMATORS, data, learned, on

X, Y = data(Ridge())


def test_a_forked_child_is_refused(upload: Any) -> None:
    given = upload(X)
    model = Ridge(device="cuda").fit(given, Y)
    dataset = mf.Dataset(given, Y)
    Ridge(device="cuda").fit(dataset)

    def in_child() -> list[str]:
        told = []
        for attempt in (
            lambda: Ridge(device="cuda").fit(X, Y),
            lambda: Ridge(device="cuda").fit(given, Y),
            lambda: Ridge(device="cuda", alpha=2.0).fit(dataset),
            lambda: model.predict(given),
        ):
            try:
                attempt()
                told.append("no error")
            except mf.DeviceError as error:
                told.append(str(error))
        Ridge().fit(X, Y)  # the CPU serves on
        told.append(str(model.predict(X).shape))
        return told

    told = in_fork(in_child)
    assert told[-1] == "(240,)"
    for error in told[:-1]:
        assert "before this process was forked" in error
        assert "spawn" in error
    assert Ridge(device="cuda").fit(given, Y).coef_.tobytes() == model.coef_.tobytes()


def test_processes_that_are_spawned(upload: Any) -> None:
    expected = Ridge(device="cuda").fit(X, Y).coef_

    def child() -> Any:
        import numpy as np

        from manyfit.linear_model import Ridge

        rng = np.random.default_rng(3)
        rows = rng.normal(size=(50, 3))
        return Ridge(device="cuda", alpha=0).fit(rows, rows @ [1.0, 2.0, 3.0]).coef_

    np.testing.assert_allclose(in_new_interpreter(child), [1.0, 2.0, 3.0], rtol=1e-9)

    def fit(rows: Any, y: Any) -> Any:
        return Ridge(device="cuda").fit(rows, y).coef_

    given = X, mf.Dataset(upload(X)).X
    found = Parallel(n_jobs=2, backend="loky")(delayed(fit)(rows, Y) for rows in given)
    for coef in found:
        np.testing.assert_allclose(coef, expected, rtol=1e-12)


def test_workers_of_a_search() -> None:
    from manyfit.model_selection import WorkerProcesses

    search = OptunaSearchCV(
        Ridge(device="cuda"),
        {"alpha": (0.1, 10.0)},
        n_trials=4,
        cv=3,
        random_state=0,
        executor=WorkerProcesses(2),
    )
    assert search.fit(X, Y).best_score_ > 0.5


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_threads(estimator: Any) -> None:
    """Fits of several threads at once are those of one after the other."""
    rows, y = data(estimator)
    expected = learned(on(estimator, "cuda").fit(rows, y))
    with ThreadPoolExecutor(4) as pool:
        for model in pool.map(lambda _: on(estimator, "cuda").fit(rows, y), range(8)):
            for name, value in learned(model).items():
                assert value.tobytes() == expected[name].tobytes(), name


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_a_fit_can_be_ended(estimator: Any, upload: Any) -> None:
    """Between launches: Ctrl-C ends a fit, and the next one is as if nothing had been."""
    rows, y = data(estimator, n=3000, d=20)
    given = upload(rows)
    expected = learned(on(estimator, "cuda").fit(given, y))
    timer = threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        timer.start()
        for _ in range(2000):
            on(estimator, "cuda").fit(given, y)
        pytest.fail("Ctrl-C was not answered")
    except KeyboardInterrupt:
        pass
    finally:
        timer.cancel()
    for name, value in learned(on(estimator, "cuda").fit(given, y)).items():
        assert value.tobytes() == expected[name].tobytes(), name


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    "estimator",
    [
        ElasticNetCV(l1_ratio=[0.1, 0.5, 0.9], alphas=200, cv=5, tol=1e-12, max_iter=100_000),
        LogisticRegressionCV(
            Cs=30,
            cv=5,
            l1_ratios=(0,),
            scoring="accuracy",
            use_legacy_attributes=False,
            tol=1e-12,
            max_iter=10_000,
        ),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_ctrl_c_within_200_ms(estimator: Any, real: None, upload: Any) -> None:
    rows, y = data(estimator, n=400_000, d=200)
    given = upload(rows)
    asked = []

    def ask() -> None:
        asked.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.5, ask)
    try:
        timer.start()
        while True:
            on(estimator, "cuda").fit(given, y)
    except KeyboardInterrupt:
        spent = time.perf_counter() - asked[0]
    assert spent < 0.2


def test_compute_sanitizer(real: None) -> None:
    """No kernel reads or writes where it must not."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        pytest.skip("compute-sanitizer is not installed")
    code = (
        "from tests.gpu.cases import ESTIMATORS, answers, data, on\n"
        "from manyfit._cuda import Array\n"
        "for estimator in ESTIMATORS:\n"
        "    X, y = data(estimator)\n"
        "    given = Array.upload(X, 0)\n"
        "    answers(on(estimator, 'cuda').fit(given, y), given)\n"
        "    on(estimator, 'cuda').fit(X, y)\n"
    )
    for check in ("memcheck", "racecheck", "synccheck", "initcheck"):
        done = subprocess.run(
            [tool, "--tool", check, "--error-exitcode", "9", sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, f"{check}: {done.stdout[-3000:]}{done.stderr[-1000:]}"
