"""How X lies in memory makes no difference."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyfit.testing._compare import assert_close, assert_same_model
from manyfit.testing._conditions import takes_weights, uses_features
from manyfit.testing._data import answers, fit, make_data, seeded
from manyfit.testing._kit import check

Array = NDArray[Any]


def _strided(X: Array) -> Array:
    wide = np.full((2 * X.shape[0], 3 * X.shape[1]), np.nan, dtype=X.dtype)
    wide[::2, 1::3] = X
    return wide[::2, 1::3]


def _reversed(X: Array) -> Array:
    return np.array(X[::-1, ::-1])[::-1, ::-1]


def _read_only(X: Array) -> Array:
    copy = X.copy()
    copy.flags.writeable = False
    return copy


def _unaligned(X: Array) -> Array:
    buffer = np.zeros(X.nbytes + 1, dtype=np.uint8)
    view = buffer[1:].view(X.dtype).reshape(X.shape)
    view[...] = X
    return view


def _record_field(X: Array) -> Array:
    # A row stride that is no multiple of the item size.
    record = np.zeros(len(X), dtype=np.dtype([("tag", "u1"), ("values", X.dtype, (X.shape[1],))]))
    record["values"] = X
    field: Array = record["values"]
    return field


def _shared_memory(X: Array) -> Array:
    memory = np.frombuffer(mmap.mmap(-1, X.nbytes), dtype=X.dtype).reshape(X.shape)
    memory[...] = X
    return memory


LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "Fortran order": np.asfortranarray,
    "strided rows and columns": _strided,
    "negative strides": _reversed,
    "read-only": _read_only,
    "unaligned": _unaligned,
    "a record's field": _record_field,
    "shared memory": _shared_memory,
}


@check(uses_features)
def check_layouts(estimator: Any) -> None:
    """X of any memory layout gives the very model of a contiguous copy, and answers as it does."""
    for n_samples, n_features in ((60, 5), (7, 12)):
        for dtype in (np.float64, np.float32):
            data = make_data(estimator, n_samples, n_features, dtype=dtype, weighted=takes_weights(estimator))
            expected = fit(estimator, data)
            told = answers(expected, data.X)
            for name, change in LAYOUTS.items():
                X = change(data.X)
                actual = fit(estimator, data.with_X(X))
                assert_same_model(actual, expected, f"{name}, {n_samples} x {n_features}")
                for method, value in answers(actual, X).items():
                    assert_close(value, told[method], f"{name}: {method}", rtol=2e-5)


@check(uses_features)
def check_layout_of_y(estimator: Any) -> None:
    """Y and weights of any memory layout give the very model of contiguous copies."""
    data = make_data(estimator, weighted=takes_weights(estimator))
    if data.y is None:
        return
    expected = fit(estimator, data)

    def spread(array: Array) -> Array:
        return np.repeat(array, 3, axis=0)[::3]

    extra = {} if data.sample_weight is None else {"sample_weight": spread(data.sample_weight)}
    assert_same_model(seeded(estimator).fit(data.X, spread(data.y), **extra), expected, "strided y")
    y = data.y.copy()
    y.flags.writeable = False
    assert_same_model(seeded(estimator).fit(data.X, y, **data.weight_argument), expected, "read-only y")


@check(uses_features)
def check_broadcast(estimator: Any) -> None:
    """A broadcast X, whose strides are zero, gives the very model of its copy."""
    data = make_data(estimator)
    column = np.broadcast_to(data.X[:, :1], data.X.shape)
    row = np.broadcast_to(data.X[:1], data.X.shape)
    for name, X in (("columns", column), ("rows", row)):
        expected = fit(estimator, data.with_X(np.array(X)))
        assert_same_model(fit(estimator, data.with_X(X)), expected, f"broadcast {name}")


def _owner(array: Any) -> Any:
    """The object whose memory an array shows."""
    while isinstance(array, np.ndarray | memoryview):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return array


@check(uses_features)
def check_memmap(estimator: Any) -> None:
    """X and y from a read-only memory map give the very model of arrays, which does not hold on to the file."""
    data = make_data(estimator)
    expected = fit(estimator, data)
    with tempfile.TemporaryDirectory() as folder:

        def mapped(array: Array, name: str) -> Array:
            np.save(Path(folder, name), array)
            loaded: Array = np.load(Path(folder, f"{name}.npy"), mmap_mode="r")
            return loaded

        X = mapped(data.X, "X")
        y = None if data.y is None else mapped(data.y, "y")
        model = seeded(estimator).fit(X, y)
    assert_same_model(model, expected, "memory map")
    for name, value in vars(model).items():
        assert not isinstance(_owner(value), mmap.mmap), f"{name} is a piece of the memory map"
