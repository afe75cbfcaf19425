"""Which classes a model file may name, and which attributes it may set on them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from collections.abc import Iterable
from typing import Final

from manyfit.base import Estimator
from manyfit.exceptions import ModelFormatError
from manyfit.persistence._container import shown

__all__ = ["ClassFinder", "attribute_problem", "class_name", "is_cached"]

_PACKAGE: Final = "manyfit"
_FAMILY_CLASS: Final = re.compile(r"manyfit\.([a-z][a-z0-9_]*)\.([A-Z][A-Za-z0-9]*)", re.ASCII)
_NOT_FAMILIES: Final = frozenset({"onnx", "persistence", "testing", "tour"})


def class_name(cls: type) -> str:
    """Name of a class in a file: where users import it from for ours, else the module that defines it."""
    parts = cls.__module__.split(".")
    if parts[0] == _PACKAGE and len(parts) > 1 and _public_class(parts[1], cls.__name__) is cls:
        return f"{_PACKAGE}.{parts[1]}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def _public_class(family: str, name: str) -> type[Estimator] | None:
    """Public estimator `name` of the family package `family`, None where there is no such thing."""
    if family in _NOT_FAMILIES:
        return None
    spec = importlib.util.find_spec(f"{_PACKAGE}.{family}")
    if spec is None or spec.submodule_search_locations is None:
        return None
    module = importlib.import_module(f"{_PACKAGE}.{family}")
    if name not in getattr(module, "__all__", ()):
        return None
    found = getattr(module, name, None)
    return found if isinstance(found, type) and issubclass(found, Estimator) else None


class ClassFinder:
    """Turns a class name out of a file into a class; nothing outside manyfit is ever imported for it.

    Parameters
    ----------
    classes : iterable
        Estimator classes of the user that may appear in the file besides manyfit's own.

    Raises
    ------
    TypeError
        If one of `classes` is no subclass of `manyfit.base.Estimator`.
    """

    def __init__(self, classes: Iterable[object]) -> None:
        self._given: dict[str, type[Estimator]] = {}
        for cls in classes:
            if not (isinstance(cls, type) and issubclass(cls, Estimator)):
                raise TypeError(f"load: classes must be subclasses of manyfit.base.Estimator, got {cls!r}")
            self._given[class_name(cls)] = cls

    def __call__(self, name: object) -> type[Estimator]:
        """Find the class called `name`.

        Raises
        ------
        ModelFormatError
            If there is no such estimator, or it is not one that may be loaded.
        """
        if not isinstance(name, str):
            raise ModelFormatError(f"the class of an estimator must be text, got {shown(name)}")
        if name in self._given:
            return self._given[name]
        match = _FAMILY_CLASS.fullmatch(name)
        cls = _public_class(*match.groups()) if match else None
        if cls is not None:
            return cls
        if name.startswith(f"{_PACKAGE}."):
            raise ModelFormatError(f"this manyfit has no public estimator {shown(name)}")
        raise ModelFormatError(
            f"{shown(name)} is no estimator of manyfit; where it is your own, pass the class:"
            " load(path, classes=[...])"
        )


def attribute_problem(cls: type, name: str) -> str | None:
    """Say why `name` may not be stored for an instance of `cls`, None when it may.

    A value in the place of a method, a property or a private constant would change what the class does, not
    what it knows; a default such as ``n_iter_ = None`` may be replaced.
    """
    if not name.isidentifier() or (name.startswith("__") and name.endswith("__")):
        return "is no name of a fitted attribute"
    inherited = _inherited(cls, name)
    if hasattr(type(inherited), "__get__"):
        return "hides a method or property of the class"
    if inherited is not None and not name.endswith("_"):
        return "hides a constant of the class"
    return None


def _inherited(cls: type, name: str) -> object:
    """Return what the class holds under `name`, without asking descriptors; None where it holds nothing."""
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def is_cached(cls: type, name: str) -> bool:
    """Tell whether ``vars(instance)[name]`` is the remembered value of a ``functools.cached_property``."""
    return isinstance(_inherited(cls, name), functools.cached_property)
