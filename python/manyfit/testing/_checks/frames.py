"""Data frames in, data frames out, and never the wrong columns."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.utils import get_tags

from manyfit.testing._compare import assert_close, assert_same_model
from manyfit.testing._conditions import has_dataframes, is_transformer, uses_features
from manyfit.testing._data import Data, answers, fit, make_data, seeded
from manyfit.testing._errors import assert_raises
from manyfit.testing._kit import check

_NAMES = ["length", "width", "height", "mass", "age"]


def _libraries() -> Iterator[Any]:
    for name in ("pandas", "polars"):
        if find_spec(name) is not None:
            yield importlib.import_module(name)


def _frame(library: Any, X: Any, names: list[str] = _NAMES) -> Any:
    return library.DataFrame({name: X[:, j] for j, name in enumerate(names)})


@check(uses_features, has_dataframes)
def check_frames(estimator: Any) -> None:
    """A frame of pandas or polars gives the model of its numbers, with feature_names_in_."""
    data = make_data(estimator)
    expected = fit(estimator, data)
    for library in _libraries():
        frame = _frame(library, data.X)
        model = fit(estimator, data.with_X(frame))
        assert list(getattr(model, "feature_names_in_", ())) == _NAMES, "no feature_names_in_"
        assert_same_model(model, expected, library.__name__, ignore=("feature_names_in_",))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            told = answers(model, frame)
        for name, value in answers(expected, data.X).items():
            assert_close(told[name], value, f"{library.__name__}: {name}", rtol=1e-12)
        model.fit(data.X, data.y)
        assert not hasattr(model, "feature_names_in_"), "names of a frame outlive a fit on an array"


@check(uses_features, has_dataframes)
def check_columns(estimator: Any) -> None:
    """Reordered columns give the same answers or an error; missing and extra ones an error that names them."""
    data = make_data(estimator)
    for library in _libraries():
        frame = _frame(library, data.X)
        model = fit(estimator, data.with_X(frame))
        for method, expected in answers(model, frame).items():
            ask = getattr(model, method)
            try:
                told = np.asarray(ask(frame[_NAMES[::-1]]))
            except ValueError as error:
                assert "order" in str(error), f"the error does not speak of the order: {error}"
            else:
                assert_close(told, expected, f"{method} of reordered columns", rtol=1e-12)
            with assert_raises(ValueError, "mass"):
                ask(frame[[name for name in _NAMES if name != "mass"]])
            with assert_raises(ValueError, "colour"):
                ask(_frame(library, np.column_stack([data.X, data.X[:, 0]]), [*_NAMES, "colour"]))
            with assert_raises(ValueError, "colour", "mass"):
                ask(_frame(library, data.X, ["colour" if name == "mass" else name for name in _NAMES]))
            with warnings.catch_warnings(record=True) as told_of:
                warnings.simplefilter("always")
                assert_close(ask(data.X), expected, f"{method} of an array", rtol=1e-12)
            assert any("feature names" in str(each.message) for each in told_of), "no warning of lost names"


@check(uses_features, has_dataframes)
def check_columns_of_many_types(estimator: Any) -> None:
    """Frames of mixed numbers are taken; text, categories of text and missing values are ValueErrors."""
    data = make_data(estimator)
    whole = np.abs(np.rint(3 * data.X))
    for library in _libraries():
        mixed = library.DataFrame(
            {
                "length": whole[:, 0].astype(np.int32),
                "width": whole[:, 1].astype(np.float32),
                "height": whole[:, 2],
                "mass": whole[:, 3] > np.median(whole[:, 3]),
                "age": whole[:, 4].astype(np.uint8),
            }
        )
        numbers = whole.copy()
        numbers[:, 3] = whole[:, 3] > np.median(whole[:, 3])
        model, expected = fit(estimator, data.with_X(mixed)), fit(estimator, data.with_X(numbers))
        for name, value in answers(expected, numbers).items():
            assert_close(answers(model, mixed)[name], value, f"mixed columns: {name}", rtol=1e-10)
        columns: dict[str, Any] = {name: whole[:, j] for j, name in enumerate(_NAMES)}
        text = library.DataFrame(columns | {"mass": ["heavy"] * len(whole)})
        with assert_raises(ValueError, "heavy"):
            fit(estimator, data.with_X(text))
        if not get_tags(estimator).input_tags.allow_nan:
            missing = library.DataFrame(columns | {"mass": [None, *whole[1:, 3].tolist()]})
            with assert_raises(ValueError, "NaN"):
                fit(estimator, data.with_X(missing))


@check(has_dataframes)
def check_series(estimator: Any) -> None:
    """Y and weights may be series, and several targets a frame."""
    data = make_data(estimator)
    if data.y is None:
        return
    expected = fit(estimator, data)
    for library in _libraries():
        y = library.Series(data.y) if data.y.ndim == 1 else library.DataFrame(data.y)
        actual = fit(estimator, Data(data.X, y))
        assert_same_model(actual, expected, f"y as a series of {library.__name__}")


@check(is_transformer, has_dataframes)
def check_set_output(estimator: Any) -> None:
    """set_output gives frames with the names of get_feature_names_out and, in pandas, the rows' index."""
    data = make_data(estimator)
    expected = fit(estimator, data).transform(data.X)
    for library in _libraries():
        frame = _frame(library, data.X)
        if library.__name__ == "pandas":
            frame.index = [f"row {i}" for i in range(len(data.X))]
        model = seeded(estimator).set_output(transform=library.__name__)
        told = {"fit_transform": model.fit_transform(frame, data.y), "transform": model.transform(frame)}
        for way, table in told.items():
            assert isinstance(table, library.DataFrame), f"{way} gives {type(table)}"
            assert list(table.columns) == list(model.get_feature_names_out()), way
            assert_close(table.to_numpy(), expected, f"{library.__name__}, {way}", rtol=1e-6)
            if library.__name__ == "pandas":
                assert list(table.index) == list(frame.index), f"{way} lost the index"
