"""Callbacks of a search that keep a record of its trials outside the study.

Each told trial is recorded exactly once, also when the search is killed between telling and recording and
resumed later. They work in :class:`~manyfit.model_selection.OptunaSearchCV` and in Optuna's own ``optimize``.
"""

from manyfit.tracking._json_lines import JsonLines
from manyfit.tracking._mlflow import MLflow

__all__ = ["JsonLines", "MLflow"]
