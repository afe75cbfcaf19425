"""Finding every estimator there is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import manyfit
from manyfit.base import Estimator

__all__ = ["all_estimators"]

# Subpackages that hold no estimators, some of which cost much to import.
NOT_FAMILIES = frozenset({"onnx", "persistence", "testing", "tour"})

# Where the defaults do not do: they announce changes, and want more rows of a class than small data have.
SETTINGS: dict[str, dict[str, Any]] = {
    "LogisticRegressionCV": {
        "Cs": [0.1, 1.0],
        "cv": 2,
        "l1_ratios": (0,),
        "scoring": "accuracy",
        "use_legacy_attributes": False,
    },
}


def all_estimators() -> list[type[Estimator]]:
    """Every public estimator class of the family packages, by name.

    Returns
    -------
    list of type
        Concrete subclasses of :class:`manyfit.base.Estimator` that a family package such as
        ``manyfit.linear_model`` lists in its ``__all__``.

    Examples
    --------
    >>> from manyfit.testing import all_estimators
    >>> "Ridge" in [cls.__name__ for cls in all_estimators()]
    True
    """
    found: set[type[Estimator]] = set()
    for module in pkgutil.iter_modules(manyfit.__path__):
        if not module.ispkg or module.name.startswith("_") or module.name in NOT_FAMILIES:
            continue
        family = importlib.import_module(f"manyfit.{module.name}")
        for name in getattr(family, "__all__", ()):
            item = getattr(family, name)
            if inspect.isclass(item) and issubclass(item, Estimator) and not inspect.isabstract(item):
                found.add(item)
    return sorted(found, key=lambda cls: (cls.__name__, cls.__module__))


def all_instances() -> list[Any]:
    """One of every public estimator, with settings that suit small data and warn of nothing."""
    return [cls(**SETTINGS.get(cls.__name__, {})) for cls in all_estimators()]
