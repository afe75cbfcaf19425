"""Classes that weigh more, weigh nothing, or are missing."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_sample_weight

from manyfit.population import fit_many
from manyfit.testing._checks.labels import LABELS, class_counts
from manyfit.testing._compare import assert_close, assert_models_agree, fitted_state, tolerance
from manyfit.testing._conditions import (
    classifies,
    classifies_many,
    has_class_weight,
    is_deterministic,
    is_estimator,
    takes_weights,
)
from manyfit.testing._data import Data, answers, fit, make_data, seeded
from manyfit.testing._kit import check


def _compare_class_weights(estimator: Any, n_classes: int) -> None:
    labels = LABELS["text"][:n_classes]
    for n_samples, n_features in ((60, 5), (12, 30)):
        plain = make_data(estimator, n_samples, n_features, n_classes=n_classes)
        data = Data(plain.X, labels[np.maximum(plain.y - (plain.y == 1) * (np.arange(n_samples) % 2), 0)])
        for setting in (dict(zip(labels.tolist(), (0.5, 3.0, 1.25), strict=False)), "balanced"):
            weights = compute_sample_weight(setting, data.y)
            expected = fit(estimator, Data(data.X, data.y, weights))
            actual = fit(estimator, data, class_weight=setting)
            what = f"class_weight={setting!r}, {n_samples} x {n_features}"
            for name, value in answers(expected, data.X).items():
                if value.dtype.kind != "f":
                    continue
                assert_close(
                    answers(actual, data.X)[name], value, f"{what}: {name}", rtol=tolerance(np.float64)
                )
            apart = fit(estimator, data)
            name = "decision_function" if hasattr(apart, "decision_function") else "predict_proba"
            if hasattr(apart, name):
                told = getattr(actual, name)(data.X)
                assert not np.array_equal(told, getattr(apart, name)(data.X)), f"{what}: no effect"


@check(classifies, has_class_weight, takes_weights)
def check_class_weights(estimator: Any) -> None:
    """Weights of two classes are weights of their samples, "balanced" ones too."""
    _compare_class_weights(estimator, 2)


@check(classifies_many, has_class_weight, takes_weights)
def check_class_weights_of_several(estimator: Any) -> None:
    """Weights of three classes are weights of their samples, "balanced" ones too."""
    _compare_class_weights(estimator, 3)


@check(classifies, takes_weights)
def check_class_without_weight(estimator: Any) -> None:
    """A class whose samples weigh nothing is not told of rows that weigh, or is a ValueError about it."""
    for n_classes in class_counts(estimator):
        data = make_data(estimator, n_classes=n_classes)
        labels = LABELS["text"]
        for absent in range(n_classes):
            rows = np.flatnonzero(data.y != absent)
            X = np.tile(data.X[rows], (3, 1))  # where the class would be most frequent, if it weighed
            y = np.concatenate([data.y[rows], np.full(2 * len(rows), absent)])
            weights = np.where(y == absent, 0.0, 1.0)
            what = f"{n_classes} classes, of which {labels[absent]!r} weighs nothing"
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model = fit(estimator, Data(X, labels[y], weights))
            except ValueError as error:
                assert type(estimator).__name__ in str(error), f"{what}: {error}"
                assert "class" in str(error) or "weight" in str(error), f"{what}: {error}"
                continue
            for name, value in fitted_state(model).items():
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    assert np.isfinite(value).all(), f"{what}: {name} is not finite"
            predicted = model.predict(X[weights > 0])
            times = np.count_nonzero(predicted == labels[absent])
            assert not times, f"{what}: it is predicted for {times} rows"


def _lacking(y: NDArray[Any]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Splits of which each trains without a class, and one that trains with all."""
    rows = np.arange(len(y))
    pairs = [(np.flatnonzero(y != label), np.flatnonzero(y == label)) for label in np.unique(y)]
    return [*pairs, (rows[::2], rows[1::2]), (np.flatnonzero(y != y[0]), rows[::5])]


@check(is_estimator, is_deterministic, classifies_many)
def check_population_lacking_classes(estimator: Any) -> None:
    """Where splits lack a class, fit_many gives the models of fewer classes that separate fits give."""
    for weighted in (False, True) if takes_weights(estimator) else (False,):
        data = make_data(estimator, weighted=weighted)
        data = data.with_y(LABELS["text"][data.y])
        settings: list[dict[str, Any]] = [{}]
        if has_class_weight(estimator):
            settings.append({"class_weight": "balanced"})
        pairs = _lacking(data.y)
        population = fit_many(seeded(estimator), data.X, data.y, settings, pairs, **data.weight_argument)
        assert population.splits is not None
        for i, parameters in enumerate(settings):
            for k, (train, test) in enumerate(population.splits):
                expected = fit(estimator, data.rows(train), **parameters)
                what = f"{parameters}, split {k}, weights {weighted}"
                classes = population[i, k].classes_
                assert np.array_equal(classes, np.unique(data.y[train])), f"{what}: classes_ is {classes}"
                assert_models_agree(population[i, k], expected, data.X, what)
                if population.test_scores is not None:
                    left_out = data.rows(test)
                    score = expected.score(left_out.X, left_out.y, **left_out.weight_argument)
                    assert_close(population.test_scores[i, k], score, f"{what}: score", rtol=1e-8, scale=1.0)


@check(is_estimator, classifies)
def check_population_of_one_class(estimator: Any) -> None:
    """Where a split trains on one class, fit_many refuses it in the words of fit, or gives its model."""
    data = make_data(estimator)
    y = LABELS["text"][data.y]
    train = np.flatnonzero(data.y == 1)
    pairs = [(np.arange(0, 60, 2), np.arange(1, 60, 2)), (train, np.flatnonzero(data.y != 1))]
    messages = []
    for together in (False, True):
        try:
            if together:
                model = fit_many(seeded(estimator), data.X, y, cv=pairs)[0, 1]
            else:
                model = fit(estimator, Data(data.X[train], y[train]))
            told = model.predict(data.X)
        except ValueError as error:
            messages.append(str(error))
        else:
            messages.append("")
            assert (told == "bee").all(), f"a model of one class tells {np.unique(told)}"
    assert messages[0] == messages[1], f"{messages[1]!r} instead of {messages[0]!r}"
