"""Work on a GPU (``--device cuda``); targets are those of an H200."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..case import AnyCase, Case
from ..contenders import Estimator
from ..data import Classes, Regression
from ..devices import AsOnTheCpu, GramMatrix, gram_bound, grams, on_device, sweep_on_device
from ..targets import Faster, Seconds

TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
#: Of the bound of memory or arithmetic.
SHARE = 0.6

RIDGE = Estimator("linear_model", "Ridge", {"alpha": 1.0})
ALPHAS = [{"alpha": alpha} for alpha in np.logspace(-3, 4, 50)]
ELASTIC_NET_CV = Estimator(
    "linear_model", "ElasticNetCV", {"l1_ratio": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], "cv": 5}
)
LOGISTIC_CV = Estimator(
    "linear_model",
    "LogisticRegressionCV",
    {"Cs": 20, "cv": 5, "l1_ratios": (0,), "scoring": "neg_log_loss", "use_legacy_attributes": False},
)


def _cases() -> Iterator[AnyCase]:
    for rows, columns in ((1_000_000, 100), (4_000_000, 256)):
        for dtype in ("float32", "float64"):
            yield Case(
                "cuda-gram",
                Regression(rows, columns, dtype),
                grams(),
                GramMatrix(tolerance=TOLERANCE[dtype]),
                targets=(Seconds(gram_bound(rows, columns, dtype) / SHARE), Faster(1.2, than="CuPy")),
            )
    data = Regression(1_000_000, 100, "float32")
    same = AsOnTheCpu(estimator=RIDGE, params=ALPHAS, folds=5, tolerance=1e-4)
    yield Case(
        "cuda-ridge-sweep-50x5",
        data,
        sweep_on_device(RIDGE, ALPHAS, 5),
        same,
        targets=(Faster(1 / 2, than="the Gram alone"),),
    )
    yield Case(
        "cuda-ridge-sweep-50x5-from-numpy",
        data,
        sweep_on_device(RIDGE, ALPHAS, 5, resident=False),
        same,
        targets=(Faster(1 / 1.2, than="the transfer alone"),),
    )
    yield Case(
        "cuda-elastic-net-cv-10x100x5",
        Regression(100_000, 200),
        on_device(ELASTIC_NET_CV),
        AsOnTheCpu(estimator=ELASTIC_NET_CV, tolerance=1e-7),
        targets=(Faster(20, than="manyfit on the CPU"),),
    )
    yield Case(
        "cuda-logistic-cv-20x5",
        Classes(1_000_000, 50, "float32"),
        on_device(LOGISTIC_CV),
        AsOnTheCpu(estimator=LOGISTIC_CV, tolerance=1e-4),
        targets=(Faster(10, than="manyfit on the CPU"),),
    )
    yield Case(
        "cuda-ridge-fit",
        Regression(200, 20),
        on_device(RIDGE, cpu_once=False),
        AsOnTheCpu(estimator=RIDGE, tolerance=1e-9),
        targets=(Seconds(150e-6),),
        first_call=True,
    )


CASES: tuple[AnyCase, ...] = tuple(_cases())
