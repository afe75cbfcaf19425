"""Searches over grids."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..case import MANYFIT, SKLEARN, SKLEARNEX, AnyCase, Case
from ..data import Classes, Regression
from ..searches import GridScores, grid_search, model
from ..targets import Faster

RIDGE = ("linear_model", "Ridge", {})
SCALER = ("preprocessing", "StandardScaler", {})
PCA = ("decomposition", "PCA", {})
ALPHAS = np.logspace(-3, 4, 50).tolist()
FEW_ALPHAS = np.logspace(-3, 4, 10).tolist()
COMPONENTS = [10, 20, 30, 40, 50]
LOGISTIC = ("linear_model", "LogisticRegression", {"max_iter": 1000})
CS = np.logspace(-4, 4, 20).tolist()


def _cases() -> Iterator[AnyCase]:
    plain = model(RIDGE)
    yield Case(
        "grid-search-ridge-50x5",
        Regression(200_000, 100),
        grid_search(plain, {"alpha": ALPHAS}, (MANYFIT, SKLEARN, SKLEARNEX), only_full=(SKLEARN,)),
        GridScores(model=plain, grid={"alpha": ALPHAS}, tolerance=1e-8),
        targets=(Faster(100, than="scikit-learn-intelex"),),
    )
    scaled, grid = model(SCALER, RIDGE), {"ridge__alpha": ALPHAS}
    yield Case(
        "grid-search-scaler-ridge-50x5",
        Regression(200_000, 100),
        grid_search(scaled, grid, (MANYFIT, SKLEARN, SKLEARNEX), only_full=(SKLEARN,)),
        GridScores(model=scaled, grid=grid, tolerance=1e-8),
        targets=(Faster(40),),
    )
    reduced = model(SCALER, PCA, RIDGE)
    both = {"pca__n_components": COMPONENTS, "ridge__alpha": FEW_ALPHAS}
    yield Case(
        "grid-search-scaler-pca-ridge-5x10x5",
        Regression(200_000, 100),
        grid_search(reduced, both, (MANYFIT, SKLEARN, SKLEARNEX), only_full=(SKLEARN,)),
        GridScores(model=reduced, grid=both, tolerance=1e-8),
        targets=(Faster(40),),
    )
    logistic = model(LOGISTIC)
    yield Case(
        "grid-search-logistic-20x5",
        Classes(200_000, 50),
        grid_search(logistic, {"C": CS}, (MANYFIT, SKLEARN)),
        GridScores(model=logistic, grid={"C": CS}, tolerance=1e-4),
        targets=(Faster(8, than="scikit-learn"),),
    )
    svr, costs = model(("svm", "SVR", {})), {"C": [0.1, 1.0, 10.0]}
    yield Case(
        "grid-search-fall-back-svr",
        Regression(1_000, 10),
        grid_search(svr, costs, (MANYFIT, SKLEARN), once=False),
        GridScores(model=svr, grid=costs, tolerance=1e-12),
        targets=(Faster(1 / 1.03, than="scikit-learn"),),
    )


CASES: tuple[AnyCase, ...] = tuple(_cases())
