"""Bad input has the error that says what is wrong, as on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from manyfit.linear_model import HuberRegressor, LogisticRegression, Ridge

from .cases import ESTIMATORS, data, on
from .conftest import Interface

X, Y = data(Ridge())


def put_in(array: Any, value: float) -> Any:
    changed = array.copy()
    changed[3] = value
    return changed


@pytest.mark.parametrize(("value", "told"), [(np.nan, "NaN"), (np.inf, "infinity")])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_not_finite(estimator: Any, value: float, told: str, upload: Any) -> None:
    rows, y = data(estimator)
    bad = put_in(rows, value)
    for given in (bad, upload(bad)):
        with pytest.raises(ValueError, match=f"Input X contains {told}"):
            on(estimator, "cuda").fit(given, y)
    model = on(estimator, "cuda").fit(rows, y)
    name = "predict" if hasattr(model, "predict") else "transform"
    with pytest.raises(ValueError, match=f"Input X contains {told}"):
        getattr(model, name)(upload(bad))
    if y is not None and y.dtype.kind == "f":
        wrong = put_in(y, value)
        for target in (wrong, upload(wrong)):
            with pytest.raises(ValueError, match=f"Input y contains {told}"):
                on(estimator, "cuda").fit(upload(rows), target)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (X.astype(np.int64), r"Ridge: X must have dtype float32 or float64 on the device, got int64"),
        (X.astype(np.int32), r"Ridge: X must have dtype float32 or float64 on the device, got int32"),
        (X[None], r"dim 3"),
        (X[0], r"Expected 2D array, got 1D array"),
        (X[:0], r"0 sample"),
        (X[:, :0], r"0 feature"),
    ],
    ids=["int64", "int32", "3-D", "1-D", "no rows", "no columns"],
)
def test_other_arrays(array: Any, message: str, put: Any) -> None:
    with pytest.raises(ValueError, match=message):
        Ridge(device="cuda").fit(put(array), Y[: len(array)])
    with pytest.raises(ValueError, match=message):
        Ridge(device="cuda").fit(X, Y).predict(put(array))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"typestr": "<f2"}, "X must have dtype float32 or float64 on the device, got float16"),
        ({"typestr": "<c16"}, "X must have dtype float32 or float64 on the device, got complex128"),
        ({"typestr": ">f8"}, "X must have dtype float32 or float64 on the device, got >f8"),
        ({"typestr": "|b1"}, "X must have dtype float32 or float64 on the device, got bool"),
        ({"strides": (7, 8)}, "strides that are multiples of its item size, got 7"),
        ({"strides": (8,)}, "shape and strides"),
        ({"mask": object()}, "must not be masked"),
        ({"stream": 0}, "stream of __cuda_array_interface__ must be None, 1, 2"),
        ({"shape": (-1, 7)}, "negative length"),
    ],
    ids=lambda case: str(case) if isinstance(case, dict) else "",
)
def test_other_interfaces(changes: dict[str, Any], message: str, upload: Any) -> None:
    with pytest.raises(ValueError, match=message):
        Ridge(device="cuda").fit(Interface(upload(X), **changes), Y)


def test_memory_that_is_not_the_devices(upload: Any) -> None:
    inner = upload(X)
    place = inner.__cuda_array_interface__["data"][0]
    for wrong in (X.ctypes.data, 8):
        with pytest.raises(ValueError, match="must lie in the memory of a device, but its pointer does not"):
            Ridge(device="cuda").fit(Interface(inner, data=(wrong, False)), Y)
    with pytest.raises(ValueError, match="aligned"):
        Ridge(device="cuda").fit(Interface(inner, data=(place + 1, False)), Y)


def test_a_freed_array(upload: Any, simulated: None) -> None:
    inner = upload(X)
    facts = dict(inner.__cuda_array_interface__)
    del inner
    given = type("Freed", (), {"__cuda_array_interface__": facts})()
    with pytest.raises(ValueError, match="was the array freed"):
        Ridge(device="cuda").fit(given, Y)


def test_lengths(upload: Any) -> None:
    model = Ridge(device="cuda")
    for y in (Y[:-1], upload(Y[:-1])):
        with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[240, 239\]"):
            model.fit(upload(X), y)
    for weights in (np.ones(239), upload(np.ones(239))):
        with pytest.raises(
            ValueError, match=r"sample_weight must have one value per sample \(240\), got 239"
        ):
            model.fit(upload(X), Y, weights)
    with pytest.raises(ValueError, match="X has 3 features, but Ridge is expecting 7 features"):
        model.fit(X, Y).predict(upload(X[:, :3]))
    with pytest.raises(ValueError, match="requires y to be passed"):
        model.fit(upload(X), None)
    with pytest.raises(ValueError, match="sample_weight must be >= 0, got -1.0 for sample 0"):
        model.fit(upload(X), Y, upload(-np.ones(240)))


def test_two_devices(module: Any, upload: Any) -> None:
    if module.device_count() < 2:
        pytest.skip("needs two devices")
    with pytest.raises(
        ValueError, match=r"Ridge: X must lie on cuda:0 \(device='cuda'\), got an array on cuda:1"
    ):
        Ridge(device="cuda").fit(upload(X, 1), Y)
    with pytest.raises(
        ValueError, match=r"Ridge: y must lie on cuda:1 \(device='cuda:1'\), got an array on cuda:0"
    ):
        Ridge(device="cuda:1").fit(upload(X, 1), upload(Y, 0))
    model = Ridge(device="cuda:1").fit(upload(X, 1), upload(Y, 1))
    with pytest.raises(ValueError, match=r"Ridge: X must lie on cuda:1"):
        model.predict(upload(X, 0))
    assert model.predict(upload(X, 1)).device == 1


def test_device_cpu(upload: Any) -> None:
    with pytest.raises(
        TypeError, match=r"Ridge: X lies on a device \(.*\), and device is 'cpu'; set device='cuda'"
    ):
        Ridge().fit(upload(X), Y)
    with pytest.raises(TypeError, match=r"Ridge: y lies on a device"):
        Ridge().fit(X, upload(Y))
    with pytest.raises(TypeError, match=r"LogisticRegression: X lies on a device"):
        LogisticRegression().fit(X, Y > 5).predict_proba(upload(X))
    with pytest.raises(
        TypeError, match=r"HuberRegressor: X lies .* copy it to the host first, as HuberRegressor has"
    ):
        HuberRegressor().fit(upload(X), Y)


def test_no_array(module: Any) -> None:
    """What is no array at all."""
    with pytest.raises(TypeError, match="must be an array on a device .* got list"):
        module.array([1.0])
    with pytest.raises(ValueError, match="must lie in the memory of an NVIDIA GPU, got .* device type 1"):
        module.array(X)
