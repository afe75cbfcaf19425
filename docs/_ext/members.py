"""For the API pages: which methods of a class are manyfit's own, and which are scikit-learn's."""

from __future__ import annotations

import inspect
from pydoc import locate

# Called by skl2onnx alone.
_HOOKS = {"onnx_parser", "onnx_shape_calculator", "onnx_converter"}


def _methods(name: str) -> dict[str, str]:
    """Public methods of the class `name`, each with the module that defines it."""
    cls = locate(name)
    assert isinstance(cls, type), name
    found: dict[str, str] = {}
    for base in cls.__mro__:
        for method, value in vars(base).items():
            if method.startswith("_") or method in _HOOKS or isinstance(value, property):
                continue
            if callable(value) or isinstance(value, (classmethod, staticmethod)):
                found.setdefault(method, base.__module__)
    return found


def own_methods(name: str) -> list[str]:
    """Methods that manyfit defines and documents."""
    cls = locate(name)
    return [
        method
        for method, module in _methods(name).items()
        if module.startswith("manyfit") and inspect.getdoc(getattr(cls, method))
    ]


def scikit_learn_methods(name: str) -> list[str]:
    """Methods that come from scikit-learn as they are; metadata routing requests stand for themselves."""
    return sorted(
        method
        for method, module in _methods(name).items()
        if module.startswith("sklearn") and not method.endswith("_request")
    )
