"""Models travel: pickle, joblib, cloudpickle, copy, deepcopy, clone."""

from __future__ import annotations

import copy
import io
import pickle
import pickletools
from collections.abc import Iterator
from typing import Any

import joblib
from sklearn.base import clone

from manyfit.testing._compare import assert_same_bits, assert_same_model
from manyfit.testing._conditions import is_estimator
from manyfit.testing._data import answers, fit, make_data, seeded
from manyfit.testing._kit import check
from manyfit.testing._processes import cloudpickle


def _through_joblib(model: Any) -> Any:
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


def _ways(model: Any) -> Iterator[tuple[str, Any]]:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield f"pickle protocol {protocol}", pickle.loads(pickle.dumps(model, protocol))
    yield "joblib", _through_joblib(model)
    yield "cloudpickle", pickle.loads(cloudpickle.dumps(model))
    yield "copy", copy.copy(model)
    yield "deepcopy", copy.deepcopy(model)


@check()
def check_clone_and_copy(estimator: Any) -> None:
    """Every copy of a fitted model has its parameters, its fitted bits and its answers; a clone is unfitted."""
    data = make_data(estimator)
    model = fit(estimator, data)
    expected = answers(model, data.X)
    for way, other in _ways(model):
        assert type(other) is type(model), way
        assert other.get_params().keys() == model.get_params().keys(), way
        assert repr(other) == repr(model), way
        assert_same_model(other, model, way)
        assert_same_bits(answers(other, data.X), expected, way)
        other.fit(data.X, data.y)
        assert_same_model(other, model, f"{way}, fitted again")
    fresh = clone(model)
    assert repr(fresh) == repr(model)
    assert not [name for name in vars(fresh) if name.endswith("_")], "a clone is fitted"
    assert_same_model(fresh.fit(data.X, data.y), model, "a fitted clone")


@check(is_estimator)
def check_pickle_holds_data_alone(estimator: Any) -> None:
    """A pickle names no native module: it opens on any processor."""
    data = make_data(estimator)
    model = seeded(estimator).fit(data.X, data.y)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        for opcode, argument, _ in pickletools.genops(pickle.dumps(model, protocol)):
            named = isinstance(argument, str) and "manyfit._" in argument
            assert not named, f"the pickle names {argument!r} ({opcode.name})"


@check(is_estimator)
def check_unfitted_pickle(estimator: Any) -> None:
    """An unfitted estimator survives a pickle and then fits as ever."""
    data = make_data(estimator)
    expected = fit(estimator, data)
    again = pickle.loads(pickle.dumps(seeded(estimator)))
    assert_same_model(again.fit(data.X, data.y), expected, "pickled before the fit")
