"""Logistic regression."""

from __future__ import annotations

from ..case import MANYFIT, SKLEARN, AnyCase, Case
from ..contenders import Estimator, fit
from ..data import Classes
from ..quality import LogisticChoice, LogLoss
from ..targets import Faster

TIGHT = Estimator("linear_model", "LogisticRegression", {"tol": 1e-6, "max_iter": 1000})
DEFAULT = Estimator("linear_model", "LogisticRegression", {"max_iter": 1000})
CHOICE = Estimator(
    "linear_model",
    "LogisticRegressionCV",
    {"Cs": 20, "l1_ratios": (0,), "scoring": "neg_log_loss", "use_legacy_attributes": False},
)

CASES: tuple[AnyCase, ...] = (
    Case(
        "logistic-fit",
        Classes(200_000, 50),
        fit(TIGHT),
        LogLoss(tolerance=1e-9),
        targets=(Faster(1.5),),
        first_call=True,
        memory=True,
    ),
    Case(
        "logistic-fit",
        Classes(200, 20),
        fit(DEFAULT),
        LogLoss(tolerance=1e-5),
        targets=(Faster(4, than="scikit-learn"),),
        first_call=True,
    ),
    Case("logistic-fit", Classes(50_000, 20, classes=5), fit(TIGHT), LogLoss(tolerance=1e-8)),
    Case(
        "logistic-cv-20x5",
        Classes(200_000, 50),
        fit(CHOICE, libraries=(MANYFIT, SKLEARN)),
        LogisticChoice(tolerance=1e-4, times_sklearn=1),
        targets=(Faster(8),),
    ),
)
