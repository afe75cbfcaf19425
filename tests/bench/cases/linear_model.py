"""Least squares and ridge."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..case import CELER, MANYFIT, SKLEARN, AnyCase, Case, ImportCase
from ..contenders import Estimator, apply, choice, fit, sweep
from ..data import Counts, Outliers, Regression, Sparse, Targets
from ..quality import (
    Coefficients,
    DualityGap,
    HuberObjective,
    HuberSweep,
    LinearPrediction,
    PoissonGradient,
    RidgeChoice,
    RidgeSweep,
)
from ..targets import Faster, PeakMemory, Seconds

OLS = Estimator("linear_model", "LinearRegression")
RIDGE = Estimator("linear_model", "Ridge", {"alpha": 1.0})
#: ``tol`` is the relative size below which a singular value counts as zero; the default is 1e-6.
FINE_OLS = Estimator("linear_model", "LinearRegression", {"tol": 1e-12})
LASSO = Estimator("linear_model", "Lasso", {"alpha": 0.1})
LASSO_CV = Estimator("linear_model", "LassoCV")
ELASTIC_NET_CV = Estimator(
    "linear_model", "ElasticNetCV", {"l1_ratio": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]}
)
MULTI_TASK_LASSO = Estimator("linear_model", "MultiTaskLasso", {"alpha": 0.1})
MULTI_TASK_LASSO_CV = Estimator("linear_model", "MultiTaskLassoCV")
#: Next to no penalty, for data on which that is hard.
FAINT_RIDGE = Estimator("linear_model", "Ridge", {"alpha": 1e-10})
#: "newton-cholesky" is scikit-learn's fastest on tall data, and as exact.
POISSON = Estimator(
    "linear_model", "PoissonRegressor", {"alpha": 0.01, "solver": "newton-cholesky", "tol": 1e-7}
)
HUBER = Estimator("linear_model", "HuberRegressor")
EPSILONS = [1.05, 1.1, 1.2, 1.35, 1.5, 1.7, 1.9, 2.5, 4.0, 10.0]
#: Five epochs, whatever they bring.
SGD = Estimator(
    "linear_model", "SGDRegressor", {"random_state": 0, "max_iter": 5, "tol": None, "alpha": 1e-6}
)

ALPHAS = np.logspace(-3, 4, 50).tolist()
RIDGE_CV = Estimator("linear_model", "RidgeCV", {"alphas": ALPHAS})
#: scikit-learn-intelex has scikit-learn's own classes for these.
MULTI_TASK_PEERS = (MANYFIT, SKLEARN)
LASSO_PEERS = (MANYFIT, SKLEARN, CELER)
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


def _cases() -> Iterator[AnyCase]:
    yield ImportCase("import", "import {root}", after="import sklearn", targets=(Seconds(0.3),))
    yield ImportCase(
        "import-ridge",
        "from {root}.linear_model import Ridge",
        after="from sklearn.linear_model import Ridge",
        targets=(Seconds(0.3),),
    )
    for dtype, tolerance in TOLERANCE.items():
        for name, estimator, alpha in (("ols", OLS, 0.0), ("ridge", RIDGE, 1.0)):
            yield Case(
                f"{name}-fit",
                Regression(300_000, 100, dtype),
                fit(estimator),
                Coefficients(alpha=alpha, tolerance=tolerance),
                targets=(Faster(1.3), PeakMemory(0.05)),
                first_call=True,
                memory=True,
            )
    yield Case(
        "ridge-sweep-50x5",
        Regression(200_000, 100),
        sweep(RIDGE, [{"alpha": alpha} for alpha in ALPHAS], folds=5),
        RidgeSweep(alphas=tuple(ALPHAS), folds=5, tolerance=1e-8),
        targets=(Faster(200, than="scikit-learn-intelex"),),
        first_call=True,
    )
    for name, folds, target in (
        ("ridge-cv-leave-one-out-50", None, Faster(50, than="scikit-learn")),
        ("ridge-cv-50x5", 5, Faster(150, than="scikit-learn-intelex")),
    ):
        yield Case(
            name,
            Regression(200_000, 100),
            choice(RIDGE_CV, ALPHAS, folds),
            RidgeChoice(alphas=tuple(ALPHAS), folds=folds, tolerance=1e-8),
            targets=(target,),
        )
    for name, estimator, alpha in (("ols", OLS, 0.0), ("ridge", RIDGE, 1.0)):
        yield Case(
            f"{name}-fit",
            Regression(200, 20),
            fit(estimator),
            Coefficients(alpha=alpha, tolerance=1e-9),
            targets=(Faster(3, than="scikit-learn"),),
            first_call=True,
        )
        yield Case(
            f"{name}-fit-wide",
            Regression(500, 5000),
            fit(estimator),
            Coefficients(alpha=alpha, tolerance=1e-8),
        )
        yield Case(
            f"{name}-predict-1-row",
            Regression(5000, 100),
            apply(estimator, "predict", rows=1),
            LinearPrediction(tolerance=1e-12),
            targets=(Faster(1, than="scikit-learn"),),
        )
        for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
            yield Case(
                f"{name}-predict",
                Regression(100_000, 100, dtype),
                apply(estimator, "predict"),
                LinearPrediction(tolerance=tolerance),
                targets=(Faster(1, than="scikit-learn"),),
            )
        yield Case(
            f"{name}-fit-large-mean",
            Regression(100_000, 20, mean=1e8),
            fit(estimator),
            Coefficients(alpha=alpha, tolerance=1e-8, extended=True),
        )
    # The same epochs over the same order of rows; what is left of the error is that of the method.
    for n, d, dtype in ((100_000, 50, "float64"), (100_000, 50, "float32"), (2_000, 20, "float64")):
        yield Case(
            "sgd-regressor-fit",
            Regression(n, d, dtype),
            fit(SGD),
            Coefficients(tolerance=0.2, times_sklearn=1.01),
            targets=(Faster(1, than="scikit-learn"),),
        )
    # A Gram squares the condition number: unguarded, it would answer with half of the digits or none.
    for name, estimator, alpha, condition in (
        ("ols", OLS, 0.0, 1e5),
        ("ols", FINE_OLS, 0.0, 1e7),
        ("ridge", FAINT_RIDGE, 1e-10, 1e7),
    ):
        yield Case(
            f"{name}-fit-ill-conditioned",
            Regression(20_000, 30, condition=condition),
            fit(estimator),
            Coefficients(alpha=alpha, tolerance=1e-10, times_sklearn=3, extended=True),
        )
    yield Case(
        "ols-fit-ill-conditioned",
        Regression(20_000, 30, "float32", condition=1e4),
        fit(OLS),
        Coefficients(tolerance=1e-4, times_sklearn=3, extended=True),
    )
    yield Case(
        "poisson-fit",
        Counts(100_000, 50),
        fit(POISSON),
        PoissonGradient(alpha=0.01, tolerance=1e-6),
        targets=(Faster(1.3),),
    )
    yield Case(
        "huber-fit",
        Outliers(100_000, 50),
        fit(HUBER),
        HuberObjective(tolerance=1e-9),
        targets=(Faster(3, than="scikit-learn"),),
    )
    yield Case(
        "huber-sweep-10x5",
        Outliers(100_000, 50),
        sweep(HUBER, [{"epsilon": epsilon} for epsilon in EPSILONS], folds=5),
        HuberSweep(epsilons=tuple(EPSILONS), folds=5, tolerance=1e-5),
        targets=(Faster(3, than="scikit-learn"),),
    )
    for name, chosen, times in (
        ("lasso-cv-100x5", LASSO_CV, 10),
        ("elastic-net-cv-10x100x5", ELASTIC_NET_CV, 20),
    ):
        yield Case(
            name,
            Regression(20_000, 200),
            fit(chosen),
            DualityGap(tolerance=1e-4),
            targets=(Faster(times, than="scikit-learn"),),
            first_call=True,
        )
    # Penalties that leave few columns, a third as many as rows, and nearly as many: there
    # scikit-learn does not reach the tolerance within its sweeps.
    for data, alpha in ((Sparse(500, 5000), 0.1), (Regression(500, 5000), 4.3), (Regression(500, 5000), 0.1)):
        yield Case(
            f"lasso-fit-wide-{alpha}",
            data,
            fit(Estimator("linear_model", "Lasso", {"alpha": alpha}), LASSO_PEERS),
            DualityGap(alpha=alpha, tolerance=1e-4),
            targets=(Faster(1.3, than="celer"),),
        )
    yield Case("lasso-fit", Regression(20_000, 200), fit(LASSO), DualityGap(alpha=0.1, tolerance=1e-4))
    yield Case(
        "multi-task-lasso-fit",
        Targets(20_000, 200, targets=10),
        fit(MULTI_TASK_LASSO, MULTI_TASK_PEERS),
        DualityGap(alpha=0.1, tolerance=1e-4),
        targets=(Faster(5, than="scikit-learn"),),
    )
    yield Case(
        "multi-task-lasso-cv-100x5",
        Targets(20_000, 100, targets=5),
        fit(MULTI_TASK_LASSO_CV, MULTI_TASK_PEERS, once=True),
        DualityGap(tolerance=1e-4),
        targets=(Faster(20, than="scikit-learn"),),
    )


CASES = tuple(_cases())
