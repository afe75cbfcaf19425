"""Finding every estimator there is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import manyfit
from manyfit.base import Estimator

__all__ = ["all_estimators"]

# Subpackages that hold no estimators, some of which cost much to import.
NOT_FAMILIES = frozenset({"onnx", "persistence", "testing", "tour"})


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
