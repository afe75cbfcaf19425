"""A fit on the device is the fit on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.model_selection import RepeatedKFold
from sklearn.utils.validation import has_fit_parameter

import manyfit as mf

from .cases import ESTIMATORS, answers, data, learned, on
from .conftest import on_host

TOLERANCE = {np.float64: 1e-9, np.float32: 1e-4}
ORDERS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "strided": lambda X: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "backwards": lambda X: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
}


def agree(actual: Any, expected: Any, what: str, dtype: Any) -> None:
    __tracebackhide__ = True
    actual, expected = on_host(actual), np.asarray(expected)
    assert actual.shape == expected.shape, what
    if expected.dtype.kind in "iu":
        assert (actual == expected).all(), what
        return
    scale = np.abs(expected).max(initial=1.0)
    gap = np.abs(actual - expected).max(initial=0.0)
    assert gap <= TOLERANCE[dtype] * scale, f"{what}: {gap:.3g} apart at a size of {scale:.3g}"


def weights_for(estimator: Any, X: Any) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {"sample_weight": rng.integers(0, 3, size=len(X)).astype(X.dtype) + 0.25}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_fit(estimator: Any, weighted: bool, dtype: Any, upload: Any) -> None:
    X, y = data(estimator, dtype)
    if weighted and not has_fit_parameter(estimator, "sample_weight"):
        pytest.skip("takes no weights")
    extra = weights_for(estimator, X) if weighted else {}
    expected = on(estimator, "cpu").fit(X, y, **extra)
    there = {name: upload(value) for name, value in extra.items()}
    for place, given in (("host", (X, y, extra)), ("device", (upload(X), y, there))):
        actual = on(estimator, "cuda").fit(given[0], given[1], **given[2])
        assert actual.fit_backend_ == "manyfit"
        for name, value in learned(expected).items():
            agree(learned(actual)[name], value, f"{name} of X on the {place}", dtype)
            assert learned(actual)[name].dtype == value.dtype
        for name, value in answers(expected, X).items():
            agree(answers(actual, X)[name], value, f"{name} of X on the {place}", dtype)
            agree(answers(actual, upload(X))[name], value, f"{name}, computed on the device", dtype)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_memory_order(estimator: Any, dtype: Any, order: str) -> None:
    X, y = data(estimator, dtype)
    expected = on(estimator, "cpu").fit(X, y)
    actual = on(estimator, "cuda").fit(ORDERS[order](X), y)
    for name, value in learned(expected).items():
        agree(learned(actual)[name], value, name, dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "cv", [3, RepeatedKFold(n_splits=2, n_repeats=3, random_state=0)], ids=["3", "repeated"]
)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_folds(estimator: Any, cv: Any, dtype: Any, upload: Any) -> None:
    X, y = data(estimator, dtype)
    expected = mf.fit_many(on(estimator, "cpu"), X, y, cv=cv)
    for given in (X, upload(X)):
        actual = mf.fit_many(on(estimator, "cuda"), given, y, cv=cv)
        for one, other in zip(actual, expected, strict=True):
            for name, value in learned(other).items():
                agree(learned(one)[name], value, name, dtype)
        if expected.test_scores is not None:
            agree(actual.test_scores, expected.test_scores, "test_scores", dtype)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_same_bits_twice(estimator: Any, upload: Any) -> None:
    X, y = data(estimator, np.float32)
    found = []
    for given in (X, X, upload(X), upload(X)):
        model = on(estimator, "cuda").fit(given, y)
        found.append({name: value.tobytes() for name, value in learned(model).items()})
    assert found[0] == found[1]
    assert found[2] == found[3]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
@pytest.mark.parametrize("shape", [(9, 3), (12, 20), (700, 1), (70, 64)], ids=str)
def test_other_shapes(estimator: Any, shape: tuple[int, int], upload: Any) -> None:
    """Fewer rows than columns, a single column, and more than a tile."""
    X, y = data(estimator, n=shape[0], d=shape[1])
    rank = min(shape)
    if hasattr(estimator, "n_components"):
        if shape[1] == 1:
            pytest.skip("no components of a single column")
        estimator = type(estimator)(min(2, rank))
    if shape[0] < 20 and is_classifier(estimator):
        pytest.skip("too few rows of a class")
    expected = on(estimator, "cpu").fit(X, y)
    actual = on(estimator, "cuda").fit(upload(X), y)
    for name, value in answers(expected, X).items():
        agree(answers(actual, X)[name], value, name, np.float64)
