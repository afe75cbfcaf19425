"""The promises that every estimator keeps, as checks that run on any of them.

The package's own tests run them over every estimator there is; they run as well over one of your own that
subclasses :class:`manyfit.base.Estimator`::

    from manyfit.testing import check_estimator
    check_estimator(MyEstimator())

They come on top of scikit-learn's :func:`sklearn.utils.estimator_checks.check_estimator`.
"""

from __future__ import annotations

from manyfit.testing._discovery import all_estimators
from manyfit.testing._kit import Check, all_checks, check_estimator, estimator_checks, parametrize_with_kit

__all__ = [
    "Check",
    "all_checks",
    "all_estimators",
    "check_estimator",
    "estimator_checks",
    "parametrize_with_kit",
]
