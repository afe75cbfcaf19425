"""What classifiers take for labels, and what they answer in them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import get_tags

from manyfit.testing._compare import (
    assert_close,
    assert_same_bits,
    assert_same_model,
    fitted_state,
    runs_natively,
    tolerance,
)
from manyfit.testing._conditions import classifies, classifies_many, has_decisions, has_probabilities
from manyfit.testing._data import Data, answers, fit, make_data, seeded
from manyfit.testing._errors import assert_raises
from manyfit.testing._kit import check

# In the order of the codes 0, 1, 2.
LABELS: dict[str, NDArray[Any]] = {
    "text": np.array(["ant", "bee", "wasp"]),
    "objects": np.array(["ant", "bee", "wasp"], dtype=object),
    "numbers as objects": np.array([3, 5, 11], dtype=object),
    "gaps": np.array([3, 5, 1 << 40]),
    "negative": np.array([-7, -1, 2], dtype=np.int8),
    "unsigned": np.array([1, 2, 255], dtype=np.uint8),
    "whole floats": np.array([-1.0, 0.0, 4.0]),
    "bytes": np.array([b"ant", b"bee", b"wasp"]),
}
# scikit-learn refuses these.
_ERROR_OR_ANSWER = ("numbers as objects", "bytes")


def class_counts(estimator: Any) -> tuple[int, ...]:
    """Numbers of classes to test with."""
    return (2, 3) if classifies_many(estimator) else (2,)


def _in_codes(value: Any, labels: NDArray[Any]) -> Any:
    """The same with the keys of dicts that are labels as codes."""
    if not isinstance(value, dict):
        return value
    known = labels.tolist()
    return {known.index(key) if key in known else key: item for key, item in value.items()}


def _assert_same_but_labels(actual: Any, expected: Any, X: Any, labels: NDArray[Any], what: str) -> None:
    """Raise AssertionError unless a model is that of codes, with labels in their place."""
    assert np.array_equal(actual.classes_, labels), f"{what}: classes_ is {actual.classes_}, not {labels}"
    assert actual.classes_.dtype == labels.dtype, f"{what}: classes_ has dtype {actual.classes_.dtype}"
    ours, theirs = answers(actual, X), answers(expected, X)
    predicted, codes = ours.pop("predict"), theirs.pop("predict")
    assert predicted.dtype == labels.dtype, f"{what}: predict answers in {predicted.dtype}"
    assert np.array_equal(predicted, labels[codes]), f"{what}: other predictions than with integer codes"
    assert runs_natively(actual) == runs_natively(expected), f"{what}: {actual.fit_backend_} fitted"
    if not runs_natively(actual):
        for name, value in ours.items():
            assert_close(value, theirs[name], f"{what}: {name}", rtol=1e-4)
        return
    assert_same_bits(ours, theirs, what)
    state = {name: _in_codes(value, labels) for name, value in fitted_state(actual).items()}
    coded = fitted_state(expected)
    assert state.pop("classes_") is not None
    assert coded.pop("classes_") is not None
    assert_same_bits(state, coded, what)


@check(classifies)
def check_kinds_of_labels(estimator: Any) -> None:
    """Labels of any kind give the model of integer codes, to the bit, and answers in their own kind."""
    for n_classes in class_counts(estimator):
        data = make_data(estimator, n_classes=n_classes)
        codes = data.y
        expected = fit(estimator, data)
        kinds = {kind: labels[:n_classes] for kind, labels in LABELS.items()}
        if n_classes == 2:
            kinds["booleans"] = np.array([False, True])
        for kind, labels in kinds.items():
            named = labels[codes]
            if kind in _ERROR_OR_ANSWER:
                try:
                    model = fit(estimator, data.with_y(named))
                except (TypeError, ValueError):
                    continue
            else:
                model = fit(estimator, data.with_y(named))
            _assert_same_but_labels(model, expected, data.X, labels, kind)
        labels = np.array(LABELS["text"][:n_classes].tolist())
        model = fit(estimator, data.with_y(labels[codes].tolist()))
        _assert_same_but_labels(model, expected, data.X, labels, "a list of text")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a column is not a vector, as scikit-learn says
            model = seeded(estimator).fit(data.X, codes[:, None])
        assert_same_model(model, expected, "labels in a column")


@check(classifies_many)
def check_many_classes(estimator: Any) -> None:
    """Fifty classes are told apart, each with a score of its own."""
    n_classes, each = 50, 6
    y = np.repeat(np.arange(n_classes), each)
    X = np.eye(n_classes)[y] * 4 + 0.3 * np.random.default_rng(0).standard_normal((len(y), n_classes))
    labels = np.array([f"class {i:02}" for i in range(n_classes)])
    model = fit(estimator, Data(X, labels[y]))
    assert np.array_equal(model.classes_, labels), f"classes_ is {model.classes_}"
    right = float(np.mean(model.predict(X) == labels[y]))
    assert right > 0.9, f"only {right:.0%} of the rows of 50 well separated classes are told right"
    for name in ("predict_proba", "decision_function"):
        if hasattr(model, name):
            shape = np.shape(getattr(model, name)(X))
            assert shape == (len(X), n_classes), f"{name} has shape {shape}"


@check(classifies, has_probabilities)
def check_probabilities(estimator: Any) -> None:
    """Probabilities lie in [0, 1] and add up to 1, and the class predicted has the largest."""
    for dtype in (np.float64, np.float32):
        for n_classes in class_counts(estimator):
            data = make_data(estimator, n_classes=n_classes, dtype=dtype)
            model = fit(estimator, data)
            for scale in (1.0, 1e4, 0.0):
                rows = (data.X * scale).astype(dtype)
                told = model.predict_proba(rows)
                what = f"{n_classes} classes in {np.dtype(dtype)}, rows times {scale:g}"
                assert told.shape == (len(rows), n_classes), f"{what}: shape {told.shape}"
                assert (told >= 0).all(), f"{what}: a probability below 0"
                assert (told <= 1).all(), f"{what}: a probability above 1"
                room = 1e-12 if told.dtype == np.float64 else 1e-5
                assert_close(told.sum(axis=1), np.ones(len(rows)), f"{what}: sums", rtol=room)
                second, best = np.sort(told, axis=1)[:, -2:].T
                clear = best - second > room
                chosen = model.classes_[told.argmax(axis=1)]
                same = np.array_equal(chosen[clear], model.predict(rows)[clear])
                assert same, f"{what}: predict does not give the class of the largest probability"
                if scale == 1.0 and hasattr(model, "predict_log_proba"):
                    logs = np.exp(model.predict_log_proba(rows))
                    assert_close(logs, told, f"{what}: predict_log_proba", rtol=10 * tolerance(dtype))


@check(classifies, has_decisions)
def check_decisions(estimator: Any) -> None:
    """Two classes have one score, above 0 for the second; more have one each, and the largest wins."""
    for n_classes in class_counts(estimator):
        data = make_data(estimator, n_classes=n_classes)
        model = fit(estimator, data)
        scores = model.decision_function(data.X)
        shape = (len(data.X),) if n_classes == 2 else (len(data.X), n_classes)
        assert scores.shape == shape, f"scores of {n_classes} classes have shape {scores.shape}"
        assert scores.dtype.kind == "f", f"scores have dtype {scores.dtype}"
        places = (scores > 0).astype(int) if n_classes == 2 else scores.argmax(axis=1)
        same = np.array_equal(model.classes_[places], model.predict(data.X))
        assert same, f"predict does not follow the scores of {n_classes} classes"
        if hasattr(model, "predict_proba"):
            told = model.predict_proba(data.X)
            place = told[:, 1] if n_classes == 2 else told
            order = np.array_equal(np.argsort(scores.ravel()), np.argsort(place.ravel()))
            assert n_classes > 2 or order, "probabilities do not grow with the scores"


def _error(estimator: Any, X: Any, y: Any) -> ValueError | None:
    try:
        seeded(estimator).fit(X, y)
    except ValueError as error:
        return error
    return None


@check(classifies)
def check_one_class(estimator: Any) -> None:
    """Labels of one class are a ValueError that names estimator and class, or every row is told to be of it."""
    data = make_data(estimator)
    for label in ("ant", 7, True):
        y = np.full(len(data.X), label)
        error = _error(estimator, data.X, y)
        if error is None:
            model = seeded(estimator).fit(data.X, y)
            told = model.predict(data.X)
            assert (told == label).all(), f"a model of one class tells {told}"
            assert model.classes_.tolist() == [label], f"classes_ is {model.classes_}"
            continue
        for word in (type(estimator).__name__, "class", str(label)):
            assert word in str(error), f"the message lacks {word!r}: {error}"


@check(classifies)
def check_label_errors(estimator: Any) -> None:
    """Continuous, missing, infinite and mixed labels, and labels of another shape, are ValueErrors about y."""
    data = make_data(estimator)
    n = len(data.X)
    numbers = np.linspace(0.0, 1.0, n) ** 2
    missing, infinite = data.y.astype(float), data.y.astype(float)
    missing[7], infinite[n - 1] = np.nan, np.inf
    holes = np.array(["ant", "bee", "wasp"], dtype=object)[data.y]
    holes[7] = None
    nans = holes.copy()
    nans[7] = np.nan
    mixed = holes.copy()
    mixed[7] = 3
    cases: list[tuple[Any, tuple[str, ...]]] = [
        (numbers, ("continuous",)),
        (numbers.astype(np.float32), ("continuous",)),
        (missing, ("y contains NaN",)),
        (missing.astype(object), ("y", "NaN")),
        (infinite, ("y contains infinity",)),
        (holes, ("y", "None")),
        (nans, ("y", "nan")),
        (mixed, ("y", "int", "str")),
        (data.y[:-1], ("inconsistent numbers of samples", "59", "60")),
        (data.y[:0], ("inconsistent numbers of samples", "60")),
        (np.zeros((n, 2, 2)), ("y",)),
        (data.y + 1j, ("complex",)),
        (None, ("y",)),
        ("ant", ("y",)),
        (1, ("y",)),
    ]
    tags = get_tags(estimator)
    if not tags.target_tags.multi_output and not tags.classifier_tags.multi_label:
        cases.append((np.column_stack([data.y, data.y]), ("y", "2")))
    for y, words in cases:
        model = seeded(estimator)
        with assert_raises(ValueError, *words):
            model.fit(data.X, y)
        assert not hasattr(model, "classes_"), f"a refused fit set classes_: {model.classes_}"
