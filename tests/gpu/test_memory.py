"""Memory of the device: what happens when it is short, and that none is lost."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import manyfit as mf
from manyfit.linear_model import LogisticRegression, LogisticRegressionCV, Ridge

from .cases import ESTIMATORS, answers, data, on
from .place import PLACE

X, Y = data(Ridge())
ASKED = r"device memory of cuda:0: (\d+) bytes were asked for, (\d+) are free"


def used(module: Any) -> int:
    """Bytes in use on the device."""
    gc.collect()
    if not PLACE.real:
        return int(module.simulated_memory_used())
    facts = module.facts(0)
    return int(facts["memory"] - facts["free"])


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_too_little(estimator: Any, upload: Any, memory_limit: Callable[[int], None], module: Any) -> None:
    """A fit or an answer that finds no memory says so, and leaves the device as it was."""
    rows, y = data(estimator)
    expected = on(estimator, "cuda").fit(rows, y)
    name = "predict" if hasattr(expected, "predict") else "transform"
    given = upload(rows)
    before = used(module)
    memory_limit(before)
    for attempt in (
        lambda: on(estimator, "cuda").fit(rows, y),
        lambda: on(estimator, "cuda").fit(given, y),
        lambda: getattr(expected, name)(given),
    ):
        try:
            attempt()
        except MemoryError as error:
            found = re.search(ASKED, str(error))
            assert found, error
            assert int(found[1]) > int(found[2])
        else:
            pytest.fail("there was no memory to do it with")
        assert used(module) == before
    memory_limit(1 << 30)
    again = on(estimator, "cuda").fit(given, y)
    for method, value in answers(expected, rows).items():
        np.testing.assert_allclose(answers(again, rows)[method], value, rtol=1e-9, atol=1e-9)


def test_larger_than_the_device(memory_limit: Callable[[int], None], module: Any) -> None:
    """NumPy's rows stream: they need not fit."""
    rows, y = data(Ridge(), n=60_000, d=20)
    limit = rows.nbytes // 2
    memory_limit(used(module) + limit)
    model = Ridge(device="cuda").fit(rows, y)
    np.testing.assert_allclose(model.coef_, Ridge().fit(rows, y).coef_, rtol=1e-9)


SEARCH = LogisticRegressionCV(
    Cs=[0.001, 0.1], cv=3, l1_ratios=(0,), scoring="accuracy", use_legacy_attributes=False
)


@pytest.mark.parametrize(
    ("estimator", "order", "dtype", "limit"),
    [
        (LogisticRegression(C=0.01), "C", np.float32, 9_000_000),
        (LogisticRegression(C=0.01), "F", np.float64, 12_000_000),
        (SEARCH, "C", np.float64, 15_000_000),
    ],
    ids=["fit in float32", "fit by columns", "search"],
)
def test_logistic_regression_larger_than_the_device(
    estimator: Any, order: Any, dtype: Any, limit: int, memory_limit: Callable[[int], None], module: Any
) -> None:
    """Rows that do not fit come in every pass, and give the bits of those that do."""
    rows, y = data(Ridge(), n=60_000, d=40, dtype=dtype)
    labels = (y > np.median(y)).astype(int)
    rows = np.asarray(rows, order=order)
    assert limit < rows.nbytes
    resident = on(estimator, "cuda").fit(rows, labels)
    before = used(module)
    memory_limit(before + limit)
    streamed = on(estimator, "cuda").fit(rows, labels)
    assert used(module) == before
    assert streamed.coef_.tobytes() == resident.coef_.tobytes()
    assert streamed.intercept_.tobytes() == resident.intercept_.tobytes()
    host = on(estimator, "cpu").fit(rows, labels)
    tolerance = 1e-4 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(streamed.coef_, host.coef_, rtol=tolerance, atol=tolerance)
    if isinstance(estimator, LogisticRegressionCV):
        assert streamed.C_ == host.C_
        np.testing.assert_allclose(streamed.scores_, host.scores_, atol=1e-4)


def test_a_dataset_larger_than_the_device(memory_limit: Callable[[int], None], module: Any) -> None:
    """What logistic regression left on the host serves others from there."""
    rows, y = data(Ridge(), n=30_000, d=40)
    labels = (y > np.median(y)).astype(int)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(rows))
    dataset = mf.Dataset(rows, labels, weights)
    memory_limit(used(module) + 9_000_000)
    settings = {"params": [{"fit_intercept": True}], "cv": 3}
    mf.fit_many(LogisticRegression(device="cuda"), dataset, **settings)
    model = mf.fit_many(Ridge(device="cuda"), dataset, **settings)[0, 0]
    expected = mf.fit_many(Ridge(), mf.Dataset(rows, labels, weights), **settings)[0, 0]
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)


def test_a_full_gpu(real: None, module: Any) -> None:
    chunk, kept = np.zeros(1 << 29), []
    with pytest.raises(MemoryError, match=ASKED):
        while True:
            kept.append(module.Array.upload(chunk, 0))
    kept.clear()
    gc.collect()
    Ridge(device="cuda").fit(X, Y)


@pytest.mark.parametrize("place", ["host", "device"])
def test_no_leak(module: Any, upload: Any, place: str) -> None:
    """A thousand fits and answers need no more memory than a few."""
    given = X if place == "host" else upload(X)

    def fit() -> None:
        model = Ridge(device="cuda").fit(given, Y)
        if place == "device":
            model.predict(given)

    for _ in range(20):
        fit()
    before = used(module)
    for _ in range(1000):
        fit()
    after = used(module)
    assert after - before <= (0 if not PLACE.real else 1 << 21), f"{after - before} bytes more in use"


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_no_leak_of_each(estimator: Any, module: Any, upload: Any) -> None:
    rows, y = data(estimator)
    given = upload(rows)

    def fit() -> None:
        model = on(estimator, "cuda").fit(given, y)
        answers(model, given)

    fit()
    before = used(module)
    for _ in range(5):
        fit()
    assert used(module) - before <= (0 if not PLACE.real else 1 << 21)


def test_a_dataset_gives_its_memory_back(module: Any, upload: Any) -> None:
    before = used(module)
    dataset = mf.Dataset(upload(X), upload(Y))
    mf.fit_many(Ridge(device="cuda"), dataset, cv=3)
    del dataset
    assert used(module) - before <= (0 if not PLACE.real else 1 << 21)
