"""Learning from rows as they come in."""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import has_fit_parameter

from manyfit.persistence import load, save
from manyfit.testing._checks.frames import _NAMES, _frame, _libraries
from manyfit.testing._checks.labels import LABELS
from manyfit.testing._checks.layouts import LAYOUTS
from manyfit.testing._compare import assert_same_bits, assert_same_model, bits, fitted_state
from manyfit.testing._conditions import (
    classifies,
    has_dataframes,
    has_n_jobs,
    is_deterministic,
    is_estimator,
    learns_online,
    takes_weights,
    uses_features,
)
from manyfit.testing._data import Data, answers, make_data, seeded, variations
from manyfit.testing._errors import assert_raises
from manyfit.testing._kit import check

_CHUNKS = (slice(0, 20), slice(20, 33), slice(33, 60))


def _learn(model: Any, data: Data, **extra: Any) -> Any:
    """One call of ``partial_fit``."""
    return model.partial_fit(data.X, data.y, **data.weight_argument, **extra)


def _first(estimator: Any, data: Data) -> dict[str, Any]:
    """What the first call needs besides the data."""
    return {"classes": np.unique(data.y)} if classifies(estimator) else {}


def _sequence(model: Any, data: Data, chunks: tuple[slice, ...] = _CHUNKS) -> Any:
    """A model that has learned from one chunk after another."""
    extra = {} if fitted_state(model) else _first(model, data)
    for chunk in chunks:
        _learn(model, data.rows(chunk), **extra)
        extra = {}
    return model


def _through_file(model: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder, "model.safetensors"))
        return load(Path(folder, "model.safetensors"), classes=[type(model)])


_WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "deepcopy": copy.deepcopy,
}


def _settings(estimator: Any, data: Data) -> Iterator[dict[str, Any]]:
    """The estimator's own settings, and others that ``partial_fit`` takes."""
    yield {}
    for entry in variations(estimator):
        try:
            _sequence(seeded(estimator).set_params(**entry), data)
        except ValueError:
            continue
        yield entry


@check(learns_online, is_deterministic)
def check_partial_fit_goes_on(estimator: Any) -> None:
    """Chunk after chunk is learned as one sequence, whether the model was pickled, copied or saved in between."""
    ways = dict(_WAYS)
    if is_estimator(estimator):
        ways["save and load"] = _through_file
    data = make_data(estimator, weighted=has_fit_parameter(estimator, "sample_weight"))
    for entry in _settings(estimator, data):
        model = seeded(estimator).set_params(**entry)
        expected = _sequence(model, data)
        assert expected is model, "partial_fit does not return the estimator"
        again = _sequence(seeded(estimator).set_params(**entry), data)
        assert_same_model(again, expected, f"{entry}: the same calls")
        for way, through in ways.items():
            half = through(_sequence(seeded(estimator).set_params(**entry), data, _CHUNKS[:1]))
            assert_same_model(_sequence(half, data, _CHUNKS[1:]), expected, f"{entry}: {way} in between")
            told = answers(half, data.X), answers(expected, data.X)
            assert_same_bits(*told, f"{entry}: answers after {way}")
    one, two = (_sequence(seeded(estimator), data, _CHUNKS[:k]) for k in (1, 2))
    assert bits(one) != bits(two), "a second call of partial_fit changes nothing"


@check(learns_online)
def check_partial_fit_after_fit(estimator: Any) -> None:
    """``partial_fit`` goes on from ``fit``, and ``fit`` forgets what came before."""
    data = make_data(estimator)
    arguments = [data.X] if data.y is None else [data.X, data.y]
    fitted = seeded(estimator).fit(*arguments)
    further = _learn(copy.deepcopy(fitted), data.rows(_CHUNKS[0]))
    fresh = _learn(seeded(estimator), data.rows(_CHUNKS[0]), **_first(estimator, data))
    assert bits(further) != bits(fresh), "partial_fit forgets what fit has learned"
    assert_same_model(further.fit(*arguments), fitted, "a fit after partial_fit")


@check(learns_online, is_deterministic, uses_features)
def check_partial_fit_layouts(estimator: Any) -> None:
    """Any memory layout and any n_jobs give the same bits, and no input is changed."""
    for dtype in (np.float64, np.float32):
        data = make_data(estimator, dtype=dtype)
        before = data.X.copy()
        expected = _sequence(seeded(estimator), data)
        assert np.array_equal(data.X, before), "X was changed"
        for name, change in LAYOUTS.items():
            chunks = [data.rows(chunk) for chunk in _CHUNKS]
            model, extra = seeded(estimator), _first(estimator, data)
            for chunk in chunks:
                _learn(model, chunk.with_X(change(chunk.X)), **extra)
            assert_same_model(model, expected, name)
        for n_jobs in (1, 2, 3) if has_n_jobs(estimator) else ():
            model = _sequence(seeded(estimator).set_params(n_jobs=n_jobs), data)
            assert_same_model(model, expected, f"n_jobs={n_jobs}")


@check(learns_online, uses_features)
def check_partial_fit_errors(estimator: Any) -> None:
    """Rows that do not fit the ones before are refused in clear words, and leave the model as it was."""
    data = make_data(estimator)
    X = data.X
    hole, infinite = X.copy(), X.copy()
    hole[59, 0], infinite[0, 4] = np.nan, np.inf
    cases: list[tuple[Data, dict[str, Any], tuple[str, ...]]] = [
        (data.with_X(hole), {}, ("X contains NaN",)),
        (data.with_X(infinite), {}, ("X contains infinity",)),
        (data.with_X(X[:, 0]), {}, ("2D array",)),
        (data.with_X(X[:0]), {}, ("0 sample",)),
    ]
    if data.y is not None:
        cases.append((data.with_y(data.y[:-1]), {}, ("inconsistent numbers of samples", "59", "60")))
        gap = data.y.astype(float)
        gap[3] = np.nan
        cases.append((data.with_y(gap), {}, ("y contains NaN",)))
        cases.append((data.with_y(None), {}, ("y",)))
    if takes_weights(estimator):
        name = "sample_weight"
        negative = np.where(np.arange(60) == 7, -1.0, 1.0)
        cases.append((data, {name: negative}, (name, "-1.0")))
        cases.append((data, {name: np.ones(59)}, (name, "59", "60")))
        cases.append((data, {name: np.full(60, np.nan)}, (name, "NaN")))
    known = _sequence(seeded(estimator), data)
    state = bits(known)
    for wrong in (X[:, :-1], np.column_stack([X, X])):
        with assert_raises(ValueError, f"{wrong.shape[1]} features", "expecting 5 features"):
            _learn(known, data.with_X(wrong))
        assert bits(known) == state, "a refused call changed the model"
    for wrong, extra, words in cases:
        with assert_raises(ValueError, *words):
            _learn(known, wrong, **extra)
        assert bits(known) == state, f"a refused call ({', '.join(words)}) changed the model"
        model = seeded(estimator)
        with assert_raises(ValueError, *words):
            _learn(model, wrong, **extra, **_first(estimator, data))
        state_of = fitted_state(model)
        assert not state_of, f"a refused first call ({', '.join(words)}) set {sorted(state_of)}"
        assert_same_model(_sequence(model, data), known, f"after a first call that was refused ({words[0]})")
    assert_same_model(known, _sequence(seeded(estimator), data), "after refused calls")


@check(learns_online, uses_features, has_dataframes)
def check_partial_fit_frames(estimator: Any) -> None:
    """Names of columns are kept from the first call, and other names later are a ValueError."""
    data = make_data(estimator)
    expected = _sequence(seeded(estimator), data)
    for library in _libraries():
        model, extra = seeded(estimator), _first(estimator, data)
        for chunk in _CHUNKS:
            rows = data.rows(chunk)
            _learn(model, rows.with_X(_frame(library, rows.X)), **extra)
            assert list(getattr(model, "feature_names_in_", ())) == _NAMES, "no feature_names_in_"
            extra = {}
        assert_same_model(model, expected, library.__name__, ignore=("feature_names_in_",))
        state = bits(model)
        other = _frame(library, data.X, [*_NAMES[:-1], "height of the tail"])
        with assert_raises(ValueError, "feature names", "height of the tail"):
            _learn(model, data.with_X(other))
        assert bits(model) == state, "a refused call changed the model"


@check(learns_online, classifies)
def check_partial_fit_classes(estimator: Any) -> None:
    """All classes are told in the first call; labels and classes that come later must be among them."""
    data = make_data(estimator)
    labels = LABELS["text"][: len(np.unique(data.y))]
    named = data.with_y(labels[data.y])
    coded = _sequence(seeded(estimator), data)

    with assert_raises(ValueError, "classes"):
        _learn(seeded(estimator), named)
    for first in (labels, labels[::-1], labels.tolist()):
        model = seeded(estimator)
        _learn(model, named.rows(_CHUNKS[0]), classes=first)
        _learn(model, named.rows(_CHUNKS[1]), classes=first)
        _learn(model, named.rows(_CHUNKS[2]))
        assert np.array_equal(model.classes_, labels), f"classes_ is {model.classes_}"
        assert_same_model(model, coded, "named labels", ignore=("classes_",))
        assert np.array_equal(model.predict(data.X), labels[coded.predict(data.X)]), "other predictions"

    state = bits(model)
    strange = named.y.copy().astype("<U8")
    strange[5] = "hornet"
    for wrong, extra, words in (
        (strange, {}, ("hornet", "ant")),
        (named.y, {"classes": [*labels[:-1], "hornet"]}, ("classes", "hornet")),
        (data.y + 100, {}, ("102" if len(labels) > 2 else "101",)),
    ):
        with assert_raises(ValueError, *words):
            _learn(model, data.with_y(wrong), **extra)
        assert bits(model) == state, f"a refused call ({words[0]}) changed the model"

    fresh = seeded(estimator)
    with assert_raises(ValueError, "hornet"):
        _learn(fresh, data.with_y(strange), classes=labels)
    few = np.flatnonzero(data.y == 0)[:4]  # of one class, of which there are more
    _learn(fresh, named.rows(few), classes=labels)
    assert np.array_equal(fresh.classes_, labels), f"classes_ is {fresh.classes_}"
    assert set(fresh.predict(data.X)) <= set(labels.tolist())
    with assert_raises(ValueError, type(estimator).__name__, "class", "ant"):
        _learn(seeded(estimator), named.rows(few), classes=labels[:1])
    assert fitted_state(fresh), "nothing is learned"
