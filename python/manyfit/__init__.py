"""Whole hyperparameter sweeps for the price of a few fits, and verified ONNX at the end.

Estimators live where scikit-learn has them: ``manyfit.linear_model.Ridge``, ``manyfit.decomposition.PCA``,
...
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manyfit import decomposition, lessons, linear_model, model_selection, onnx, sweep, testing
    from manyfit._execution import progress
    from manyfit._show_config import config, show_config
    from manyfit.dataset import Dataset
    from manyfit.exceptions import DeviceError, ExportMismatch, ModelFormatError
    from manyfit.persistence import load, save
    from manyfit.population import Population, fit_many

__version__ = "0.1.0"

# Where each public name comes from: imported on first use, so that `import manyfit` costs next to nothing.
_MODULES = ("decomposition", "lessons", "linear_model", "model_selection", "onnx", "sweep", "testing")
_NAMES = {
    "Dataset": "manyfit.dataset",
    "DeviceError": "manyfit.exceptions",
    "ExportMismatch": "manyfit.exceptions",
    "ModelFormatError": "manyfit.exceptions",
    "Population": "manyfit.population",
    "config": "manyfit._show_config",
    "fit_many": "manyfit.population",
    "load": "manyfit.persistence",
    "progress": "manyfit._execution",
    "save": "manyfit.persistence",
    "show_config": "manyfit._show_config",
}

__all__ = [
    "Dataset",
    "DeviceError",
    "ExportMismatch",
    "ModelFormatError",
    "Population",
    "__version__",
    "config",
    "decomposition",
    "fit_many",
    "lessons",
    "linear_model",
    "load",
    "model_selection",
    "onnx",
    "progress",
    "save",
    "show_config",
    "sweep",
    "testing",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"manyfit.{name}")
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'manyfit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
