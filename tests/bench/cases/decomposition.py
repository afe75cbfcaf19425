"""Principal components and singular values."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import MANYFIT, SKLEARN, AnyCase, Case, ImportCase
from ..contenders import Estimator, apply, fit
from ..data import Regression
from ..quality import PrincipalComponents, Projection, SingularTriplets
from ..targets import Faster, PeakMemory, Seconds

PCA = Estimator("decomposition", "PCA", {"n_components": 10})


#: The default is a randomised solver on wide data, which trades quality for time in its own way.
FULL_PCA = Estimator("decomposition", "PCA", {"n_components": 10, "svd_solver": "full"})

#: "arpack" is exact in scikit-learn; its default is randomised. scikit-learn-intelex has none of its own.
SVD = Estimator("decomposition", "TruncatedSVD", {"n_components": 10, "algorithm": "arpack"})

#: All components, so that batches leave nothing out and the answer is that of the covariance.
BATCHES = Estimator("decomposition", "IncrementalPCA", {"batch_size": 1000})


def _cases() -> Iterator[AnyCase]:
    yield ImportCase(
        "import-pca",
        "from {root}.decomposition import PCA",
        after="from sklearn.decomposition import PCA",
        targets=(Seconds(0.3),),
    )
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-4)):
        yield Case(
            "pca-fit",
            Regression(300_000, 100, dtype),
            fit(PCA),
            PrincipalComponents(tolerance=tolerance),
            targets=(Faster(1.3), PeakMemory(0.05)),
            first_call=True,
            memory=True,
        )
    yield Case("pca-fit", Regression(200, 20), fit(PCA), PrincipalComponents(tolerance=1e-9), first_call=True)
    yield Case("pca-fit-wide", Regression(500, 5000), fit(FULL_PCA), PrincipalComponents(tolerance=1e-8))
    yield Case(
        "pca-transform-1-row",
        Regression(5000, 100),
        apply(PCA, "transform", rows=1),
        Projection(tolerance=1e-12),
        targets=(Faster(1, than="scikit-learn"),),
    )
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
        yield Case(
            "pca-transform",
            Regression(100_000, 100, dtype),
            apply(PCA, "transform"),
            Projection(tolerance=tolerance),
            targets=(Faster(1, than="scikit-learn"),),
        )
    # A covariance as E[x x'] - E[x] E[x]' would have no digit right here.
    yield Case(
        "pca-fit-large-mean",
        Regression(100_000, 20, mean=1e8),
        fit(PCA),
        PrincipalComponents(tolerance=1e-7),
    )
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-4)):
        yield Case(
            "truncated-svd-fit",
            Regression(100_000, 100, dtype),
            fit(SVD, (MANYFIT, SKLEARN)),
            SingularTriplets(tolerance=tolerance),
            targets=(Faster(1.3),),
        )
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-3)):
        yield Case(
            "incremental-pca-fit",
            Regression(20_000, 100, dtype),
            fit(BATCHES),
            PrincipalComponents(tolerance=tolerance),
            targets=(Faster(1.3),),
        )


CASES = tuple(_cases())
