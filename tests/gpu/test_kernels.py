"""What is said to run on the device runs there, and not in the core."""

from __future__ import annotations

from typing import Any

import pytest

import manyfit as mf
from manyfit._native import core
from manyfit.linear_model import ElasticNetCV, Lasso, Ridge, RidgeClassifier, RidgeClassifierCV

from .cases import ESTIMATORS, data, on

# The core's kernels that read rows, or solve what the device solves.
READ_ROWS = ("fold_gram", "logistic", "logistic_scores")
SOLVE = {"ridge": [Ridge(), RidgeClassifier()], "coordinate_descent": [Lasso(alpha=0.1), ElasticNetCV(cv=3)]}


def refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let a kernel of the core fail."""

    def refused(*arguments: Any, **options: Any) -> None:
        raise AssertionError(f"core.{name} was called")

    monkeypatch.setattr(core, name, refused)


@pytest.mark.parametrize("place", ["host", "device"])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_the_pass_over_rows(estimator: Any, place: str, upload: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = data(estimator)
    for name in READ_ROWS:
        refuse(monkeypatch, name)
    on(estimator, "cuda").fit(X if place == "host" else upload(X), y)
    with pytest.raises(AssertionError, match="was called"):
        on(estimator, "cpu").fit(X, y)


@pytest.mark.parametrize("kernel", SOLVE)
def test_solvers(kernel: str, upload: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, kernel)
    for estimator in SOLVE[kernel]:
        X, y = data(estimator)
        mf.fit_many(on(estimator, "cuda"), upload(X), y, cv=3)
        with pytest.raises(AssertionError, match="was called"):
            on(estimator, "cpu").fit(X, y)


@pytest.mark.small
def test_a_small_fit_is_one_launch(module: Any, simulated: None, upload: Any) -> None:
    """The pass over the rows: what is left is less than a launch costs."""
    X, y = data(Ridge())
    X, y = upload(X[:200]), upload(y[:200])
    Ridge(device="cuda").fit(X, y)
    before = module.simulated_launches()
    Ridge(device="cuda").fit(X, y)
    assert module.simulated_launches() - before == 1


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_rows_stay_on_the_device(estimator: Any, upload: Any) -> None:
    """A fit brings none of X to the host, unless the table says so."""
    X, y = data(estimator)
    dataset = mf.Dataset(upload(X), y)
    on(estimator, "cuda").fit(dataset)
    by_rows = isinstance(estimator, RidgeClassifierCV) or getattr(estimator, "cv", 0) is None
    assert (dataset.X._host is None) is not by_rows


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_launches(estimator: Any, module: Any, simulated: None, upload: Any) -> None:
    """Answers about a device array are computed there."""
    X, y = data(estimator)
    model = on(estimator, "cuda").fit(X, y)
    given = upload(X)
    before = module.simulated_launches()
    getattr(model, "predict" if hasattr(model, "predict") else "transform")(given)
    assert module.simulated_launches() > before
