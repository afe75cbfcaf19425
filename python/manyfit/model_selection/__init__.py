"""Searches for hyperparameters, and cross-validation, that share work among fits.

Every name of ``sklearn.model_selection`` can be imported from here: those that this package does not have are
scikit-learn's own (splitters, ``train_test_split``, ...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn import model_selection as _theirs

from manyfit.model_selection._dask import DaskWorkers
from manyfit.model_selection._plan import Plan
from manyfit.model_selection._search import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
)
from manyfit.model_selection._validation import (
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from manyfit.model_selection._workers import WorkerProcesses

if TYPE_CHECKING:
    from manyfit.model_selection._optuna_search import OptunaSearchCV

__all__ = [
    "DaskWorkers",
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "OptunaSearchCV",
    "Plan",
    "RandomizedSearchCV",
    "WorkerProcesses",
    "cross_val_predict",
    "cross_val_score",
    "cross_validate",
    "learning_curve",
    "validation_curve",
]


def __getattr__(name: str) -> Any:
    if name == "OptunaSearchCV":  # Optuna is imported when it is needed
        from manyfit.model_selection._optuna_search import OptunaSearchCV

        return OptunaSearchCV
    if name in _theirs.__all__:
        return getattr(_theirs, name)
    raise AttributeError(f"module 'manyfit.model_selection' has no attribute {name!r}")
