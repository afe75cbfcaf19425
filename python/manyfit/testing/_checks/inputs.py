"""What goes in: bad input is refused in clear words, good input is left as it is, dtypes are kept."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags

from manyfit.testing._compare import assert_close, assert_same_model, fitted_state
from manyfit.testing._conditions import has_score, keeps_float32, takes_weights, uses_features
from manyfit.testing._data import answers, fit, make_data, seeded
from manyfit.testing._errors import assert_raises
from manyfit.testing._kit import check


@check(uses_features)
def check_not_finite(estimator: Any) -> None:
    """NaN and infinity in X or y are a ValueError that says which, wherever they stand."""
    for dtype in (np.float64, np.float32):
        for n_samples, n_features in ((60, 5), (8, 20), (700, 5)):
            data = make_data(estimator, n_samples, n_features, dtype=dtype)
            for value, word in ((np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")):
                for row in (0, n_samples // 2, n_samples - 1):
                    if not get_tags(estimator).input_tags.allow_nan:
                        X = data.X.copy()
                        X[row, n_features - 1] = value
                        with assert_raises(ValueError, "X contains", word):
                            fit(estimator, data.with_X(X))
                    if data.y is not None and data.y.dtype.kind == "f":
                        y = data.y.copy()
                        y[row] = value
                        with assert_raises(ValueError, "y contains", word):
                            seeded(estimator).fit(data.X, y)


@check(uses_features)
def check_shapes_refused(estimator: Any) -> None:
    """X without rows, without columns, of one or three dimensions, and y of another length are ValueErrors."""
    data = make_data(estimator)
    model = seeded(estimator)
    for X, words in (
        (data.X[:0], ("0 sample",)),
        (data.X[:, :0], ("0 feature",)),
        (data.X[:, 0], ("2D array", "1D array")),
        (data.X[None], ("dim 3",)),
        (np.float64(1.0), ("2D array", "scalar")),
    ):
        y = None if data.y is None else data.y[: len(np.atleast_1d(X)) if np.ndim(X) == 2 else None]
        with assert_raises(ValueError, *words):
            model.fit(X, y)
    if data.y is not None:
        with assert_raises(ValueError, "inconsistent numbers of samples", "59", "60"):
            model.fit(data.X, data.y[:-1])
        with assert_raises(ValueError, "y"):
            model.fit(data.X, None)


@check(uses_features)
def check_types_refused(estimator: Any) -> None:
    """Complex numbers and text are ValueErrors."""
    data = make_data(estimator)
    for X, word in (
        (data.X + 1j, "complex"),
        (np.full(data.X.shape, "red"), "red"),
        (np.full(data.X.shape, "red", dtype=object), "red"),
    ):
        with assert_raises(ValueError, word):
            fit(estimator, data.with_X(X))


@check(uses_features)
def check_unfitted_and_other_width(estimator: Any) -> None:
    """An unfitted model says so, and a fitted one refuses rows of another number of features."""
    data = make_data(estimator)
    fitted = fit(estimator, data)
    for name in answers(fitted, data.X):
        with assert_raises(NotFittedError, "not fitted"):
            getattr(seeded(estimator), name)(data.X)
        for wrong in (data.X[:, :-1], np.column_stack([data.X, data.X])):
            with assert_raises(ValueError, f"{wrong.shape[1]} features", "expecting 5 features"):
                getattr(fitted, name)(wrong)
        with assert_raises(ValueError, "NaN"):
            getattr(fitted, name)(np.full_like(data.X, np.nan))


@check(uses_features)
def check_kinds_of_numbers(estimator: Any) -> None:
    """Integers, bools, float16, lists and objects of numbers give the model of the same numbers in float64."""
    data = make_data(estimator, n_samples=40)
    whole = np.abs(np.rint(4 * data.X))
    for X in (
        whole.astype(np.int8),
        whole.astype(np.uint16),
        whole.astype(np.int64),
        whole > np.median(whole, axis=0),
        data.X.astype(np.float16),
        data.X.astype(np.longdouble),
        data.X.astype(">f8"),
        whole.astype(object),
        whole.tolist(),
    ):
        plain = np.asarray(X).astype(np.float64)
        expected = fit(estimator, data.with_X(plain))
        actual = fit(estimator, data.with_X(X))
        what = f"X of dtype {getattr(X, 'dtype', 'list')}"
        if getattr(X, "dtype", None) == np.float16:  # scikit-learn's own rule: to float32, or else to float64
            rtol = 1e-4
            for name, value in answers(actual, data.X).items():
                assert_close(value, answers(expected, data.X)[name], f"{what}: {name}", rtol=rtol)
        else:
            assert_same_model(actual, expected, what)


@check(uses_features, keeps_float32)
def check_float32(estimator: Any) -> None:
    """float32 in, float32 out: fitted arrays and answers; and they are close to those of float64."""
    for n_samples, n_features in ((60, 5), (12, 30)):
        narrow = make_data(estimator, n_samples, n_features, dtype=np.float32)
        X64 = narrow.X.astype(np.float64)
        y = None if narrow.y is None else narrow.y.astype(np.float64)
        single = fit(estimator, narrow)
        double = seeded(estimator).fit(X64, y)
        for name, value in fitted_state(single).items():
            if isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f":
                assert value.dtype == np.float32, f"{name} has dtype {value.dtype} after fitting float32"
        wide = answers(double, X64)
        for name, value in answers(single, narrow.X).items():
            if value.dtype.kind == "f":
                assert value.dtype == np.float32, f"{name} answers float32 in {value.dtype}"
                assert_close(value, wide[name], f"{name} in float32", rtol=2e-3)


@check(uses_features)
def check_input_unchanged(estimator: Any) -> None:
    """No method writes into X, y or the weights, whatever the parameters say about copies."""
    copying = [name for name in ("copy", "copy_X") if name in estimator.get_params()]
    for order in ("C", "F"):
        data = make_data(estimator, weighted=takes_weights(estimator))
        X = np.array(data.X, order=order)
        before = X.copy(), None if data.y is None else data.y.copy()
        weights_before = None if data.sample_weight is None else data.sample_weight.copy()
        model = fit(estimator, data.with_X(X), **dict.fromkeys(copying, False))
        answers(model, X)
        if has_score(model):
            model.score(X, data.y)
        if hasattr(model, "fit_transform"):
            model.fit_transform(X, data.y)
        assert np.array_equal(X, before[0]), "X was changed"
        assert data.y is None or np.array_equal(data.y, np.asarray(before[1])), "y was changed"
        assert data.sample_weight is None or np.array_equal(data.sample_weight, np.asarray(weights_before)), (
            "sample_weight was changed"
        )
        for name, value in fitted_state(model).items():
            if isinstance(value, np.ndarray):
                assert not np.shares_memory(value, X), f"{name} shares memory with X"


@check(uses_features)
def check_edge_cases(estimator: Any) -> None:
    """One row, one feature, constant and repeated columns, and extreme numbers give finite results or ValueError."""
    data = make_data(estimator)
    X = data.X
    cases = {
        "one row": X[:1],
        "two rows": X[:2],
        "one feature": X[:, :1],
        "one number": X[:1, :1],
        "equal rows": np.repeat(X[:1], 60, axis=0),
        "a constant column": np.column_stack([X, np.full(60, 3.0)]),
        "all columns constant": np.full((60, 3), 0.1),
        "zeros": np.zeros((60, 4)),
        "repeated columns": np.column_stack([X, X, X[:, 0]]),
        "large means": np.abs(X) + 1e8,
        "scales": np.abs(X) * 10.0 ** np.linspace(-12, 12, 5),
        "tiny numbers": np.abs(X) * 1e-310,
        "huge numbers": np.abs(X) * 1e300,
        "huge float32": (np.abs(X) * 1e37).astype(np.float32),
    }
    for what, matrix in cases.items():
        y = None if data.y is None else data.y[: len(matrix)].astype(matrix.dtype)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scikit-learn's solvers may complain; the result counts
                model = seeded(estimator).fit(matrix, y)
        except ValueError as error:
            assert str(error), f"{what}: an error without words"
            continue
        for name, value in fitted_state(model).items():
            if isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f":
                assert np.isfinite(value).all(), f"{what}: {name} is not finite: {value}"
