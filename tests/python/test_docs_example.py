"""The worked example of the documentation: the estimator as it is printed there.

Its kernel is C++, which the C++ tests compile. The extension module does not hold it; NumPy takes its place.
"""

from __future__ import annotations

import doctest
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import linear_model as theirs
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold

import manyfit as mf
from manyfit import linear_model
from manyfit._native import core
from manyfit.testing import estimator_checks

EXAMPLE = Path(__file__).parents[2] / "docs" / "example" / "linear_model" / "_omp.py"
X, Y = load_diabetes(return_X_y=True)


def omp(
    prepared: Any, splits: Sequence[int], fit_intercept: Sequence[bool], counts: Sequence[int], execution: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """What ``omp_cpu`` computes."""
    coefs, intercepts = [], []
    for split, centred, count in zip(splits, fit_intercept, counts, strict=True):
        train = prepared.moments(split, "train", centred)
        coef = np.zeros_like(train["cross"])
        for target in range(coef.shape[1]):
            taken: list[int] = []
            for _ in range(count):
                lean = np.abs(train["cross"][:, target] - train["gram"] @ coef[:, target])
                lean[taken] = 0
                if lean.max() == 0:
                    break
                taken.append(int(lean.argmax()))
                gram, cross = train["gram"][np.ix_(taken, taken)], train["cross"][taken, target]
                coef[taken, target] = np.linalg.lstsq(gram, cross, rcond=None)[0]
        coefs.append(coef.T)
        intercepts.append((train["target_mean"] - train["mean"] @ coef) * centred)
    return np.stack(coefs), np.stack(intercepts), np.ones(len(counts), dtype=bool)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as if it lay in the package."""
    spec = importlib.util.spec_from_file_location("manyfit.linear_model._omp", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, loaded)
    spec.loader.exec_module(loaded)
    monkeypatch.setattr(core, "omp", omp, raising=False)
    monkeypatch.setattr(
        linear_model, "OrthogonalMatchingPursuit", loaded.OrthogonalMatchingPursuit, raising=False
    )
    return loaded


@pytest.mark.parametrize(
    "settings", [{}, {"n_nonzero_coefs": 4}, {"n_nonzero_coefs": 3, "fit_intercept": False}]
)
@pytest.mark.parametrize("targets", [Y, np.column_stack([Y, Y**2])], ids=["one target", "two targets"])
def test_answers_as_scikit_learn_does(module: ModuleType, settings: dict[str, Any], targets: Any) -> None:
    model = module.OrthogonalMatchingPursuit(**settings).fit(X, targets)
    reference = theirs.OrthogonalMatchingPursuit(**settings).fit(X, targets)
    assert model.fit_backend_ == "manyfit"
    for name in ("coef_", "intercept_"):
        np.testing.assert_allclose(getattr(model, name), getattr(reference, name), rtol=1e-9)
    assert model.n_nonzero_coefs_ == reference.n_nonzero_coefs_
    assert model.n_iter_ == reference.n_iter_


def test_the_rest_runs_in_scikit_learn(module: ModuleType) -> None:
    model = module.OrthogonalMatchingPursuit(tol=1.5e6).fit(X, Y)
    assert model.fit_backend_ == "scikit-learn"
    assert model.n_nonzero_coefs_ is None


def test_a_sweep_shares_the_pass(module: ModuleType) -> None:
    params = [{"n_nonzero_coefs": count} for count in range(1, 9)]
    models = mf.fit_many(module.OrthogonalMatchingPursuit(), X, Y, params=params, cv=KFold(3))
    assert models.plan == "24 fits, 1 pass over X (fold Gram)"
    assert models.splits is not None
    for i, entry in enumerate(params):
        for k, (train, _) in enumerate(models.splits):
            alone = theirs.OrthogonalMatchingPursuit(**entry).fit(X[train], Y[train])
            np.testing.assert_allclose(models[i, k].coef_, alone.coef_, rtol=1e-8)


CHECKS = (
    "check_parameter_errors",
    "check_float32",
    "check_population_equals_separate_fits",
    "check_members_are_independent",
    "check_test_scores",
)


def test_the_shared_kit(module: ModuleType) -> None:
    checks = dict(estimator_checks(module.OrthogonalMatchingPursuit(), CHECKS))
    assert set(checks) == set(CHECKS)
    for check in checks.values():
        check()


def test_its_docstring(module: ModuleType) -> None:
    finder = doctest.DocTestFinder(recurse=False)
    (test,) = finder.find(module.OrthogonalMatchingPursuit)
    results = doctest.DocTestRunner().run(test)
    assert (results.failed, results.attempted) == (0, 3)
