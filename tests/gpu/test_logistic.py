"""Logistic regression on a device: the driver in the core, the rows in the CUDA module."""

import signal
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from manyfit._native import core

cuda = pytest.importorskip("manyfit._cuda")

Problem = tuple[NDArray[Any], NDArray[np.int64], NDArray[Any], Any]


def problem(n: int = 600, d: int = 6, classes: int = 2, dtype: Any = np.float64, folds: int = 3) -> Problem:
    rng = np.random.default_rng(1)
    X = (rng.normal(size=(n, d)) + 0.5).astype(dtype)
    scores = X[:, :1] * np.linspace(-1, 1, classes) + rng.gumbel(size=(n, classes))
    parts = np.array_split(rng.permutation(n), folds)
    splits = [
        (np.sort(np.concatenate(parts[:i] + parts[i + 1 :])), np.sort(part)) for i, part in enumerate(parts)
    ]
    (group,) = core.make_folds(n, splits, 64)
    return X, scores.argmax(axis=1).astype(np.int64), rng.uniform(0.5, 2, n).astype(dtype), group


def passes(data: Problem, classes: int = 2, fit_intercept: bool = True, progress: Any = None) -> Any:
    X, codes, w, folds = data
    on_device = [X if isinstance(X, cuda.Array) else cuda.Array.upload(X)]
    on_device += [cuda.Array.upload(codes), cuda.Array.upload(w)]
    atoms = cuda.Folds(0, folds.n_rows, folds.atom_begin, folds.train, folds.order)
    return cuda.LogisticPasses(
        *on_device, atoms, classes, fit_intercept, np.ones((1, classes)), cuda.Execution(0, progress)
    )


def jobs(splits: int, Cs: tuple[float, ...], ratio: float = 0.0, tol: float = 1e-8) -> list[Any]:
    each = [(s, 0, C, ratio, tol, 100, None) for s in range(splits) for C in Cs]
    return [list(column) for column in zip(*each, strict=True)]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ratio", [0.0, 0.5])
def test_fits_and_scores_are_the_cpus(classes: int, dtype: Any, ratio: float) -> None:
    data = problem(classes=classes, dtype=dtype)
    X, codes, w, folds = data
    asked = jobs(3, (1e-3, 0.1, 10.0), ratio)
    run = core.Execution(1)
    ones = np.ones((1, classes))
    expected = core.logistic(X, codes, w, folds, classes, True, ones, *asked, run)
    device = passes(data, classes)
    actual = core.logistic_passes(device.port(), folds, *asked, run)
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-7, atol=1e-9)
    assert actual[2:] == expected[2:]
    again = core.logistic_passes(device.port(), folds, *asked, run)
    assert again[0].tobytes() == actual[0].tobytes()
    models = expected[0]
    np.testing.assert_allclose(
        core.logistic_passes_scores(device.port(), folds, asked[0], models, run),
        core.logistic_scores(X, codes, w, folds, classes, asked[0], models, run),
        rtol=1e-11,
    )


def test_the_port_keeps_its_rows_alive() -> None:
    data = problem()
    port = passes(data).port()
    coef, *_ = core.logistic_passes(port, data[3], *jobs(3, (1.0,)), core.Execution(1))
    assert np.isfinite(coef).all()


def test_an_exception_of_the_progress_callback_comes_back_as_itself() -> None:
    class Enough(Exception):
        pass

    def stop(stage: str, fraction: float) -> None:
        raise Enough

    data = problem(20000, 30, folds=5)
    port = passes(data).port()
    Cs = tuple(10.0**k for k in range(-6, 6))
    with pytest.raises(Enough):
        core.logistic_passes(port, data[3], *jobs(5, Cs, tol=1e-12), core.Execution(1, stop))


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c() -> None:
    data = problem(20000, 30, folds=5)
    port = passes(data).port()
    Cs = tuple(10.0 ** (k / 8) for k in range(-48, 48))
    started = threading.Event()

    def report(stage: str, fraction: float) -> None:
        if not started.is_set():
            started.set()
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        core.logistic_passes(port, data[3], *jobs(5, Cs, tol=1e-12), core.Execution(1, report))
    assert started.is_set()


def test_bad_input_is_named() -> None:
    X, codes, w, folds = problem()
    with pytest.raises(ValueError, match="codes must be classes"):
        passes((X, codes + 1, w, folds))
    with pytest.raises(ValueError, match="sample_weight must have dtype f8"):
        passes((X, codes, w.astype(np.float32), folds))
    with pytest.raises(ValueError, match="as many rows as X"):
        passes((X[1:], codes, w, folds))
    port = passes((X, codes, w, folds)).port()
    other = core.make_folds(600, [(np.arange(300), np.arange(300, 600))], 64)[0]
    with pytest.raises(ValueError, match="folds must be those of the passes"):
        core.logistic_passes(port, other, *jobs(1, (1.0,)), core.Execution(1))
    with pytest.raises(ValueError, match="class_weight must lie in"):
        asked = jobs(3, (1.0,))
        asked[1] = [1] * 3
        core.logistic_passes(port, folds, *asked, core.Execution(1))


@pytest.mark.skipif(not cuda.simulated, reason="asks for a device whose memory can be limited")
def test_a_device_without_memory_raises_memory_error() -> None:
    data = problem(5000, 30)
    before = cuda.simulated_memory_used()
    device = passes(data)
    cuda.set_simulated_memory(cuda.simulated_memory_used() + 2000)
    try:
        with pytest.raises(MemoryError, match="bytes were asked for"):
            core.logistic_passes(device.port(), data[3], *jobs(3, (1.0,)), core.Execution(1))
    finally:
        cuda.set_simulated_memory(1 << 30)
    del device
    assert cuda.simulated_memory_used() == before


@pytest.mark.skipif(not cuda.simulated, reason="raises inside the module")
def test_errors_of_the_device_keep_their_kind() -> None:
    from manyfit.exceptions import DeviceError

    with pytest.raises(DeviceError):
        cuda.Array.upload(np.zeros(3), 7)
