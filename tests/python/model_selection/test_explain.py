"""What a search says before it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_regression
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer
from sklearn.svm import SVR

import manyfit as mf
from manyfit import model_selection as ours
from manyfit.linear_model import Ridge
from manyfit.model_selection._explain import duration

X, y = make_regression(n_samples=200, n_features=6, noise=10.0, random_state=0)
ALPHAS = {"alpha": np.logspace(-2, 3, 10)}


def pipeline_search() -> Any:
    pipe = make_pipeline(QuantileTransformer(n_quantiles=50), PCA(), Ridge())
    return ours.GridSearchCV(pipe, {"pca__n_components": [2, 3], "ridge__alpha": [0.1, 1.0, 10.0]}, cv=3)


@pytest.mark.parametrize(
    ("search", "fits", "words"),
    [
        (ours.GridSearchCV(Ridge(), ALPHAS, cv=4), 40, "40 fits of Ridge, 1 pass over X (fold Gram)"),
        (
            ours.GridSearchCV(SVR(), {"C": [0.1, 1.0]}, cv=3),
            6,
            "6 fits of SVR, one by one: no estimator of manyfit",
        ),
        (ours.RandomizedSearchCV(Ridge(), ALPHAS, n_iter=4, random_state=0), 20, "20 fits of Ridge"),
        (pipeline_search(), 18, "18 fits of QuantileTransformer + PCA + Ridge"),
        (
            ours.HalvingGridSearchCV(Ridge(), ALPHAS, cv=2, factor=2, min_resources=20, random_state=0),
            2 * (10 + 5 + 3 + 2),
            "40 fits of Ridge",
        ),
    ],
    ids=["population", "one by one", "random", "pipeline", "halving"],
)
def test_the_plan_is_the_one_that_runs(search: Any, fits: int, words: str) -> None:
    search = clone(search)
    told = search.explain(X, y)
    assert told.fits == fits
    assert words in str(told)
    assert told.seconds > 0
    assert told.probe_fits > 0
    assert f"about {duration(told.seconds)} for {fits} fits" in str(told)
    assert not hasattr(search, "cv_results_")
    search.fit(X, y)
    assert search.plan_.fits == fits
    assert [s.how for s in search.plan_] == [s.how for s in told.plan]
    assert search.plan_.estimate == told.seconds
    assert search.plan_.seconds > 0


def test_it_leaves_random_numbers_alone() -> None:
    random = np.random.RandomState(0)
    search = ours.RandomizedSearchCV(Ridge(), ALPHAS, n_iter=3, random_state=random)
    before = random.get_state()[2]
    search.explain(X, y)
    assert random.get_state()[2] == before


def test_a_dataset_keeps_what_the_probes_prepared() -> None:
    data = mf.Dataset(X, y)
    search = ours.GridSearchCV(Ridge(), ALPHAS, cv=4)
    search.explain(data)
    assert str(search.fit(data).plan_) == "40 fits of Ridge, prepared before"


def test_bad_arguments_are_told_before() -> None:
    with pytest.raises(ValueError, match="did you mean 'alpha'"):
        ours.GridSearchCV(Ridge(), {"aplha": [1.0]}).explain(X, y)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0012, "1.2 ms"), (0.25, "0.25 s"), (3.21, "3.2 s"), (600, "10 min"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
