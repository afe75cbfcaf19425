"""The same bits, however and wherever a fit runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from manyfit._native import cpu_level, levels_built, levels_supported
from manyfit.testing._compare import (
    assert_close,
    assert_same_bits,
    assert_same_model,
    bits,
    fitted_state,
    runs_natively,
)
from manyfit.testing._conditions import can_fork, has_n_jobs, is_deterministic, is_estimator
from manyfit.testing._data import Data, answers, brief, fit, make_data
from manyfit.testing._kit import check
from manyfit.testing._processes import in_fork, in_new_interpreter


def _many_data(estimator: Any) -> Iterator[Data]:
    """Shapes that are cut into several pieces of work: many rows, many columns, fewer rows than columns."""
    yield make_data(estimator, 6000, 7)
    yield make_data(estimator, 6000, 7, dtype=np.float32)
    yield make_data(estimator, 700, 150)
    yield make_data(estimator, 110, 300)


def _native_data(estimator: Any) -> Iterator[tuple[Data, Any]]:
    """Those with the models of our own kernels; scikit-learn's solvers do not promise the same bits."""
    for data in _many_data(estimator):
        model = fit(estimator, data)
        if runs_natively(model):
            yield data, model


@check(is_deterministic, has_n_jobs)
def check_same_bits_for_any_n_jobs(estimator: Any) -> None:
    """n_jobs 1, 2, 3, 4 and all give the same bits."""
    estimator = brief(estimator)
    for data, expected in _native_data(estimator):
        for n_jobs in (1, 2, 3, 4, -1):
            assert_same_model(fit(estimator, data, n_jobs=n_jobs), expected, f"n_jobs={n_jobs}")


@check(is_deterministic)
def check_same_bits_in_every_run(estimator: Any) -> None:
    """Two fits of the same data give the same bits, also by an estimator that was fitted before."""
    estimator = brief(estimator)
    for data, expected in _native_data(estimator):
        for _ in range(3):
            assert_same_model(fit(estimator, data), expected, "a second run")
        other = make_data(estimator, 50, data.X.shape[1] + 1, seed=1)
        model = fit(estimator, other)
        assert_same_model(model.fit(data.X, data.y), expected, "a second fit of one estimator")


@check(is_deterministic, can_fork)
def check_same_bits_after_fork(estimator: Any) -> None:
    """A forked child of a process that has fitted fits to the same bits, and so does the parent after it."""
    estimator = brief(estimator)
    for data, expected in _native_data(estimator):

        def again(data: Data = data, expected: Any = expected) -> None:
            assert_same_model(fit(estimator, data), expected, "a fit after a fork")

        in_fork(again)
        in_fork(lambda again=again: in_fork(again))  # type: ignore[misc]
        again()


@check(is_deterministic)
def check_same_bits_in_threads(estimator: Any) -> None:
    """Several threads that fit and predict at once get the same bits as one."""
    estimator = brief(estimator)
    cases = list(_native_data(estimator))
    if not cases:
        return
    rows, shared = cases[0][0].X, cases[0][1]
    told = answers(shared, rows)
    with ThreadPoolExecutor(4) as pool:
        fits = [(pool.submit(fit, estimator, data), expected) for data, expected in 3 * cases]
        predictions = [pool.submit(answers, shared, rows) for _ in range(8)]
        for future, expected in fits:
            assert_same_model(future.result(), expected, "threads at once")
        for prediction in predictions:
            assert_same_bits(prediction.result(), told, "predictions at once")


def _elsewhere(estimator: Any, data: Data, model: Any) -> tuple[Any, dict[str, Any]]:
    fitted = {name: bits(value) for name, value in fitted_state(fit(estimator, data)).items()}
    return fitted, answers(model, data.X)


@check(is_estimator, is_deterministic, can_fork)
def check_another_interpreter(estimator: Any) -> None:
    """A fresh interpreter, at any CPU level, takes the model and answers alike, and fits to the same bits."""
    estimator = brief(estimator)
    data = make_data(estimator, 6000, 7)
    model = fit(estimator, data)
    expected = {name: bits(value) for name, value in fitted_state(model).items()}
    told = answers(model, data.X)
    for level in (each for each in levels_built if each in levels_supported):
        environment = {"MANYFIT_CPU_LEVEL": level, "MANYFIT_NUM_THREADS": "3"}
        there, answered = in_new_interpreter(_elsewhere, estimator, data, model, environment=environment)
        for name, value in told.items():
            assert_close(answered[name], value, f"{name} at CPU level {level}", rtol=1e-10)
        if level == cpu_level and runs_natively(model):  # levels differ in the width of their sums
            assert there == expected, "another interpreter fits another model"
