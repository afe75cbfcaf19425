"""The registry of converters: what each estimator computes, and how its graph is written.

A converter is a function that appends an estimator's operators to a graph. Beside it stand the
estimator's formula, from which error bounds and the meaning of NaN and infinity follow, and its
domain, from which probes are drawn::

    @converter("manyfit.linear_model.Ridge", output=PREDICTIONS)
    def ridge(model, graph, x):
        ...

    @ridge.formula
    def _(model, x):
        ...

    @ridge.domain
    def _(model):
        ...

Classes are registered by name, so that a registry entry imports nothing; a subclass finds the
entry of the closest class in its method resolution order. Leading underscores in module names do
not count: ``sklearn.linear_model._ridge.Ridge`` is ``sklearn.linear_model.Ridge``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from manyfit.onnx.bounds import Matrix, Tracked
from manyfit.onnx.emitter import Emitter, Value

Emit = Callable[[Any, Emitter, Value], Value]
Formula = Callable[[Any, Tracked], Tracked]


@dataclass(frozen=True)
class Output:
    """The graph's output and the native method that it must equal."""

    name: str
    method: str


PREDICTIONS = Output("predictions", "predict")
TRANSFORMED = Output("transformed", "transform")


@dataclass(frozen=True)
class Domain:
    """Where an estimator's inputs lie: probes are drawn around `centre`, `spread` wide.

    `landmarks` are rows at which the estimator changes its behaviour (clipping limits, thresholds).
    """

    centre: Matrix
    spread: Matrix
    landmarks: tuple[Matrix, ...] = ()


class Converter:
    """A registered converter; `formula` and `domain` are decorators that complete it."""

    def __init__(self, emit: Emit, output: Output) -> None:
        self.emit = emit
        self.output = output
        self.evaluate: Formula
        self.inputs: Callable[[Any], Domain]

    def formula(self, function: Formula) -> Formula:
        """Register what the estimator computes, over `Tracked` rows."""
        self.evaluate = function
        return function

    def domain(self, function: Callable[[Any], Domain]) -> Callable[[Any], Domain]:
        """Register where the estimator's inputs lie."""
        self.inputs = function
        return function


@dataclass(frozen=True)
class Step:
    """A fitted estimator with its converter and its place in the pipeline ("" for the model itself)."""

    place: str
    estimator: Any
    converter: Converter

    @property
    def name(self) -> str:
        """The estimator's public name."""
        return public_name(type(self.estimator))


_CONVERTERS: dict[str, Converter] = {}
_PIPELINE = "sklearn.pipeline.Pipeline"


def converter(*names: str, output: Output) -> Callable[[Emit], Converter]:
    """Register the decorated function as the converter of the classes with these public names."""

    def register(emit: Emit) -> Converter:
        entry = Converter(emit, output)
        for name in names:
            if name in _CONVERTERS:
                raise ValueError(f"two ONNX converters for {name}")
            _CONVERTERS[name] = entry
        return entry

    return register


def public_name(cls: type) -> str:
    """Return the name a class is imported by: its module without private parts, and its own name."""
    module = [part for part in cls.__module__.split(".") if not part.startswith("_")]
    return ".".join([*module, cls.__qualname__])


def convertible() -> list[str]:
    """Return the class names that have a converter."""
    _load()
    return sorted({"Pipeline", *(name.rpartition(".")[2] for name in _CONVERTERS)})


def steps_of(model: Any) -> list[Step]:
    """Flatten a fitted model, nested pipelines included, into the steps to convert in turn.

    Raises
    ------
    TypeError
        Where a step has no converter; the message names the step.
    sklearn.exceptions.NotFittedError
        Where a step is not fitted.
    """
    _load()
    steps = list(_flatten(model, ""))
    if not steps:
        raise ValueError("to_onnx: the pipeline holds nothing to convert")
    for step in steps[:-1]:
        if step.converter.output is not TRANSFORMED:
            raise TypeError(f"to_onnx: {_describe(step.estimator, step.place)} is not a transformer")
    return steps


def _load() -> None:
    """Register the converters this package ships."""
    importlib.import_module("manyfit.onnx.converters")


def _flatten(model: Any, place: str) -> Iterator[Step]:
    from sklearn.utils.validation import check_is_fitted

    names = [public_name(cls) for cls in type(model).__mro__]
    if _PIPELINE in names:
        for name, step in model.steps:
            if step is not None and not (isinstance(step, str) and step == "passthrough"):
                yield from _flatten(step, f"{place}.{name}" if place else name)
        return
    entry = next((_CONVERTERS[name] for name in names if name in _CONVERTERS), None)
    if entry is None:
        raise TypeError(
            f"to_onnx: {_describe(model, place)} has no ONNX converter; "
            f"convertible are {', '.join(convertible())} and their subclasses"
        )
    check_is_fitted(model)
    yield Step(place, model, entry)


def _describe(model: Any, place: str) -> str:
    name = type(model).__name__
    return f"pipeline step {place!r} ({name})" if place else name


def float_arrays(estimator: Any) -> list[npt.NDArray[np.floating[Any]]]:
    """Return the fitted floating-point arrays of an estimator, which tell what type it computes in."""
    fitted = (value for name, value in vars(estimator).items() if name.endswith("_"))
    return [value for value in fitted if isinstance(value, np.ndarray) and value.dtype.kind == "f"]
