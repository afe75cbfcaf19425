"""A population equals the separate fits it stands for."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgWarning
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit

from manyfit.dataset import Dataset
from manyfit.population import Population, fit_many
from manyfit.testing._compare import (
    assert_close,
    assert_models_agree,
    assert_same_model,
    runs_natively,
    tolerance,
)
from manyfit.testing._conditions import has_score, is_deterministic, is_estimator, takes_weights
from manyfit.testing._data import Data, brief, fit, make_data, seeded, variations
from manyfit.testing._kit import check

Pairs = list[tuple[NDArray[Any], NDArray[Any]]]
_SHAPES = ((40, 4), (14, 30))


def _bootstrap(n: int) -> Pairs:
    """Rows drawn with replacement, tested on those that were not drawn."""
    rng = np.random.default_rng(3)
    pairs = []
    for _ in range(4):
        drawn = rng.integers(0, n, n)
        pairs.append((drawn, np.setdiff1d(np.arange(n), drawn)))
    return pairs


def _partial(n: int) -> Pairs:
    """Windows in time: rows that are on neither side, and test rows that come twice."""
    rows = np.arange(n)
    return [
        (rows[: n // 2], rows[n // 2 : 3 * n // 4]),
        (rows[n // 4 : 3 * n // 4], np.repeat(rows[3 * n // 4 :], 2)),
    ]


def _masks(n: int) -> Pairs:
    odd = np.arange(n) % 2 == 1
    return [(odd, ~odd), (~odd, odd)]


def _splits(n: int) -> Iterable[tuple[str, Any]]:
    yield "5 folds", 5
    yield "shuffled folds", KFold(4, shuffle=True, random_state=0)
    yield "overlapping splits", ShuffleSplit(7, test_size=0.3, random_state=0)
    yield "grouped folds", GroupKFold(3)
    yield "many folds", KFold(n // 2)
    yield "bootstrap samples", _bootstrap(n)
    yield "windows", _partial(n)
    yield "boolean masks", _masks(n)


def _groups(n: int) -> NDArray[np.int64]:
    groups: NDArray[np.int64] = np.arange(n) * 7 // n
    return groups


def _population(estimator: Any, data: Data, settings: list[dict[str, Any]], cv: Any) -> Population:
    groups = _groups(len(data.X)) if isinstance(cv, GroupKFold) else None
    with warnings.catch_warnings():
        # Scores of models that explain everything there is, where fewer rows than columns are.
        warnings.simplefilter("ignore", LinAlgWarning)
        warnings.filterwarnings("ignore", "The least populated class in y has only")  # of stratified folds
        return fit_many(
            seeded(estimator), data.X, data.y, settings, cv, groups=groups, **data.weight_argument
        )


def _compare(estimator: Any, data: Data, cv: Any, what: str) -> None:
    n = len(data.X)
    settings: list[dict[str, Any]] = [{}, _other_setting(estimator)]
    population = _population(estimator, data, settings, cv)
    assert population.splits is not None
    for i, parameters in enumerate(population.params):
        for k, (train, _) in enumerate(population.splits):
            expected = fit(estimator, data.rows(train), **parameters)
            place = f"{what}, {n} x {data.X.shape[1]}, {parameters}, split {k}"
            assert_models_agree(population[i, k], expected, data.X, place)


def _other_setting(estimator: Any) -> dict[str, Any]:
    """The first variation that fits."""
    data = make_data(estimator)
    return next((entry for entry in variations(estimator) if _fits(estimator, data, entry)), {})


def _fits(estimator: Any, data: Data, parameters: dict[str, Any]) -> bool:
    """Whether a setting is taken without an error or a warning (deprecated, too few iterations)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fit(estimator, data, **parameters)
    except (ValueError, Warning):
        return False
    return True


@check(is_estimator, is_deterministic)
def check_population_equals_separate_fits(estimator: Any) -> None:
    """For any splits, fit_many gives the models that separate fits of the training rows give."""
    for n_samples, n_features in _SHAPES:
        data = make_data(estimator, n_samples, n_features)
        for what, cv in _splits(n_samples):
            _compare(estimator, data, cv, what)


@check(is_estimator, is_deterministic)
def check_population_float32(estimator: Any) -> None:
    """So it does for float32."""
    for n_samples, n_features in _SHAPES:
        data = make_data(estimator, n_samples, n_features, dtype=np.float32)
        _compare(estimator, data, 4, "float32")


@check(is_estimator, is_deterministic, takes_weights)
def check_population_with_weights(estimator: Any) -> None:
    """So it does with sample weights."""
    for n_samples, n_features in _SHAPES:
        data = make_data(estimator, n_samples, n_features, weighted=True)
        for what, cv in _splits(n_samples):
            _compare(estimator, data, cv, f"weights, {what}")


@check(is_estimator, is_deterministic)
def check_population_of_settings(estimator: Any) -> None:
    """For any parameters that fit takes, fit_many gives the models that fit gives, in one call."""
    for n_samples, n_features in _SHAPES:
        data = make_data(estimator, n_samples, n_features)
        train = np.arange(n_samples)[: -n_samples // 4]
        settings = [entry for entry in variations(estimator) if _fits(estimator, data.rows(train), entry)]
        settings = [{}, *settings]
        pairs = [(train, np.arange(n_samples)[-n_samples // 4 :])]
        population = _population(estimator, data, settings, pairs)
        for i, parameters in enumerate(settings):
            expected = fit(estimator, data.rows(train), **parameters)
            what = f"{parameters}, {n_samples} x {n_features}"
            assert_models_agree(population[i, 0], expected, data.X, what)
            got = population[i, 0].get_params()
            assert got == {**seeded(estimator).get_params(), **parameters}, f"parameters {got}"


@check(is_estimator)
def check_population_errors(estimator: Any) -> None:
    """What fit refuses, fit_many refuses with the same words."""
    data = make_data(estimator)
    for entry in variations(estimator):
        message = _error(lambda entry=entry: fit(estimator, data, **entry))
        if message is not None:
            other = _error(lambda entry=entry: fit_many(seeded(estimator), data.X, data.y, [entry]))
            assert other == message, f"{entry}: {other!r} instead of {message!r}"
    unknown = _error(lambda: fit_many(estimator, data.X, data.y, [{"no_such_parameter": 1}]))
    assert unknown is not None
    assert "no_such_parameter" in unknown[1], unknown


def _error(call: Any) -> tuple[type[Exception], str] | None:
    try:
        call()
    except Exception as error:
        return type(error), str(error)
    return None


@check(is_estimator, is_deterministic)
def check_fit_is_population_of_one(estimator: Any) -> None:
    """fit, fit on a Dataset and fit_many without splits give the same bits, and leave the estimator unfitted."""
    for n_samples, n_features in _SHAPES:
        data = make_data(estimator, n_samples, n_features)
        expected = fit(estimator, data)
        original = seeded(estimator)
        population = fit_many(original, data.X, data.y)
        assert_same_model(population[0], expected, "fit_many")
        assert type(population[0]) is type(estimator)
        assert not [name for name in vars(original) if name.endswith("_")], "fit_many fitted the original"
        dataset = Dataset(data.X, data.y)
        if n_samples > n_features:
            fit_many(clone(original), dataset, cv=3)  # prepares forms that fit must not mistake for its own
        assert_same_model(seeded(estimator).fit(dataset), expected, "fit on a Dataset")
        assert_same_model(seeded(estimator).fit(dataset), expected, "fit on a Dataset again")


@check(is_estimator, is_deterministic)
def check_members_are_independent(estimator: Any) -> None:
    """Models of a population share no memory: changing one leaves the others as they are."""
    data = make_data(estimator)
    population = fit_many(seeded(estimator), data.X, data.y, [{}, {}], cv=2)
    arrays = [
        [value for value in vars(model).values() if isinstance(value, np.ndarray) and value.size]
        for model in population
    ]
    for i, mine in enumerate(arrays):
        for theirs in arrays[i + 1 :]:
            for a in mine:
                for b in theirs:
                    assert not np.may_share_memory(a, b), "two models share memory"
    for mine in arrays if runs_natively(population[0]) else ():
        for array in mine:
            base = array if array.base is None else array.base
            held = getattr(base, "nbytes", array.nbytes)
            assert held <= array.nbytes, f"a fitted array of {array.nbytes} bytes keeps {held} bytes alive"


@check(is_estimator, has_score, is_deterministic)
def check_test_scores(estimator: Any) -> None:
    """test_scores are the estimator's own score on the rows left out, weighted where weights are given."""
    estimator = brief(estimator)
    for n_samples, n_features in _SHAPES:
        for dtype in (np.float64, np.float32) if n_samples > n_features else (np.float64,):
            for weighted in (False, True) if takes_weights(estimator) else (False,):
                data = make_data(estimator, n_samples, n_features, dtype=dtype, weighted=weighted)
                for what, cv in _splits(n_samples):
                    _compare_scores(
                        estimator, data, cv, f"{what}, {n_samples} x {n_features}, weights {weighted}"
                    )


def _compare_scores(estimator: Any, data: Data, cv: Any, what: str) -> None:
    population = _population(estimator, data, [{}, _other_setting(estimator)], cv)
    assert population.splits is not None
    assert population.test_scores is not None
    assert population.test_scores.shape == (2, population.n_splits)
    expected = np.empty_like(population.test_scores)
    for i in range(2):
        for k, (_, test) in enumerate(population.splits):
            left_out = data.rows(test)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LinAlgWarning)  # as above
                expected[i, k] = population[i, k].score(left_out.X, left_out.y, **left_out.weight_argument)
    rtol = 10 * tolerance(data.X.dtype)
    assert_close(population.test_scores, expected, f"test_scores, {what}", rtol=rtol, scale=1.0)
