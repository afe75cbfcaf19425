"""Memory of the device: what happens when it is short, and that none is lost."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import manyfit as mf
from manyfit.linear_model import Ridge

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
