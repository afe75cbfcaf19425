"""Comparing models: bit for bit, or within the tolerance that a dtype allows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.base import BaseEstimator

from manyfit.testing._data import answers

__all__ = [
    "TOLERANCE",
    "assert_close",
    "assert_models_agree",
    "assert_same_bits",
    "assert_same_model",
    "bits",
    "fitted_state",
    "runs_natively",
    "tolerance",
]

# How far results of two exact ways to the same answer may lie apart on well-conditioned data, relative to the
# largest entry: the stated tolerance of every estimator.
TOLERANCE = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-4}


def fitted_state(model: Any) -> dict[str, Any]:
    """Fitted attributes by name."""
    return {
        name: value
        for name, value in sorted(vars(model).items())
        if name.endswith("_") and not name.startswith("_")
    }


def bits(value: Any) -> Any:
    """What two values must have in common to be the same to the last bit; hashable and picklable."""
    if isinstance(value, BaseEstimator):
        state = fitted_state(value)
        return type(value).__qualname__, tuple((name, bits(item)) for name, item in state.items())
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return "object", value.shape, tuple(bits(item) for item in value.ravel().tolist())
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return str(array.dtype), array.shape, array.tobytes()
    if isinstance(value, float):
        return "float", np.float64(value).tobytes()
    if isinstance(value, dict):
        return "dict", tuple((repr(key), bits(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(bits(item) for item in value)
    return type(value).__name__, repr(value)


def runs_natively(model: Any) -> bool:
    """Whether our own kernels fitted it: scikit-learn's solvers do not promise the same bits."""
    return getattr(model, "fit_backend_", "manyfit") == "manyfit"


def assert_same_model(actual: Any, expected: Any, what: str, ignore: tuple[str, ...] = ()) -> None:
    """Raise AssertionError where two fitted models differ in a bit of a fitted attribute.

    Models that scikit-learn's own solvers fitted may differ by rounding.
    """
    left, right = fitted_state(actual), fitted_state(expected)
    for name in ignore:
        left.pop(name, None)
        right.pop(name, None)
    if runs_natively(actual) and runs_natively(expected):
        assert_same_bits(left, right, what)
        return
    assert left.keys() == right.keys(), f"{what}: attributes {sorted(left)} instead of {sorted(right)}"
    for name, value in left.items():
        if np.asarray(value).dtype.kind == "f":
            assert_close(value, right[name], f"{what}: {name}", rtol=1e-4, scale=1.0)
        else:
            assert bits(value) == bits(right[name]), f"{what}: {name} differs{_how(value, right[name])}"


def assert_same_bits(actual: dict[str, Any], expected: dict[str, Any], what: str) -> None:
    """Raise AssertionError where two sets of named values differ in a bit."""
    assert actual.keys() == expected.keys(), f"{what}: {sorted(actual)} instead of {sorted(expected)}"
    for name, value in actual.items():
        if bits(value) != bits(expected[name]):
            raise AssertionError(f"{what}: {name} differs{_how(value, expected[name])}")


def _how(actual: Any, expected: Any) -> str:
    if not (isinstance(actual, np.ndarray | np.generic | float)):
        return f": {actual!r} instead of {expected!r}"
    a, b = np.asarray(actual), np.asarray(expected)
    if a.shape != b.shape or a.dtype != b.dtype:
        return f": {a.dtype} {a.shape} instead of {b.dtype} {b.shape}"
    if a.dtype.kind not in "fiu":
        return ""
    gap = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return f" in {np.count_nonzero(gap)} of {gap.size} entries, by up to {gap.max():.3g}"


def assert_close(actual: Any, expected: Any, what: str, *, rtol: float, scale: float = 0.0) -> None:
    """Raise AssertionError where arrays lie further apart than `rtol` times their largest entry, or `scale`."""
    a = np.asarray(actual, dtype=np.float64)
    b = np.asarray(expected, dtype=np.float64)
    assert a.shape == b.shape, f"{what}: shape {a.shape} instead of {b.shape}"
    if not a.size:
        return
    assert np.array_equal(np.isnan(a), np.isnan(b)), f"{what}: NaN at other places"
    with np.errstate(invalid="ignore"):
        gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    finite = b[np.isfinite(b)]
    largest = max(scale, float(np.abs(finite).max()) if finite.size else 0.0)
    worst = float(gap.max())
    assert worst <= rtol * largest, (
        f"{what}: off by {worst:.3g}, {worst / largest if largest else np.inf:.3g} of the largest entry "
        f"({largest:.3g}); allowed is {rtol:.3g}"
    )


def tolerance(dtype: DTypeLike) -> float:
    """The stated tolerance for data of this dtype."""
    return TOLERANCE.get(np.dtype(dtype), TOLERANCE[np.dtype(np.float64)])


def _determined(model: Any) -> int | None:
    """How many leading components the data tell; None for a model that has none.

    Where nothing is left to explain any direction will do.
    """
    variance = getattr(model, "explained_variance_", None)
    if variance is None or not hasattr(model, "components_"):
        return None
    return int(np.count_nonzero(variance > 1e-9 * variance[0])) if len(variance) else 0


def _told_by_data(model: Any, X: NDArray[Any]) -> dict[str, Any]:
    """Fitted attributes and answers about `X`, without what the data leave open."""
    values = fitted_state(model) | answers(model, X)
    values.pop("n_iter_", None)  # how long a way was depends on where it began
    determined = _determined(model)
    if determined is not None and determined < len(model.components_):
        values["components_"] = values["components_"][:determined]
        values["transform"] = values["transform"][:, :determined]
        values["singular_values_"] = values["singular_values_"][:determined]  # roots of rounding
        values.pop("score_samples", None)
    return values


def assert_models_agree(actual: Any, expected: Any, X: NDArray[Any], what: str) -> None:
    """Raise AssertionError where two models, fitted in two ways, differ by more than the stated tolerance.

    Numbers in fitted attributes and answers about the rows `X` are compared, dtypes and shapes included. The
    data are of the order of 1: numbers below that are compared as if they were 1.
    """
    left, right = _told_by_data(actual, X), _told_by_data(expected, X)
    assert left.keys() == right.keys(), f"{what}: attributes {sorted(left)} instead of {sorted(right)}"
    steps, others = left.get("n_iter_"), right.get("n_iter_")
    if isinstance(steps, int) and isinstance(others, int) and steps != others:
        # Rounding decides about a last step whose size is that of the tolerance.
        assert abs(steps - others) <= 1 + others // 100, f"{what}: n_iter_ is {steps} instead of {others}"
        for values in (left, right):
            values.pop("n_iter_")
            values.pop("trace_", None)
    _assert_values_agree(left, right, X, what)


def _assert_values_agree(left: dict[str, Any], right: dict[str, Any], X: NDArray[Any], what: str) -> None:
    for name, value in left.items():
        other = right[name]
        if isinstance(value, dict) and isinstance(other, dict) and value.keys() == other.keys():
            _assert_values_agree(value, other, X, f"{what}: {name}")
            continue
        if isinstance(value, BaseEstimator) or np.asarray(value).dtype.kind != "f":
            assert bits(value) == bits(other), f"{what}: {name} is {value!r} instead of {other!r}"
            continue
        assert np.asarray(value).dtype == np.asarray(other).dtype, f"{what}: {name} has another dtype"
        assert_close(value, other, f"{what}: {name}", rtol=tolerance(X.dtype), scale=1.0)
