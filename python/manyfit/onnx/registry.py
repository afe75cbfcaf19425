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

One output is a `Value` in the graph and a `Tracked` in the formula, several are tuples of them, in the
order of the outputs. Where there are several, or they depend on the fitted model, `output` is a
function of it that returns them; `classifier_outputs` is the one for classifiers.

Classes are registered by name, so that a registry entry imports nothing; a subclass finds the
entry of the closest class in its method resolution order. Leading underscores in module names do
not count: ``sklearn.linear_model._ridge.Ridge`` is ``sklearn.linear_model.Ridge``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from manyfit.onnx.bounds import Matrix, Tracked
from manyfit.onnx.emitter import Emitter, FloatDType, Value
from manyfit.onnx.labels import Classes

Emit = Callable[[Any, Emitter, Value], Value | tuple[Value, ...]]
Formula = Callable[[Any, Tracked], Tracked | tuple[Tracked, ...]]
AnyFormula = TypeVar("AnyFormula", bound=Formula)


@dataclass(frozen=True)
class Output:
    """One output of the graph, the native method that it must equal, and the rule of comparison.

    Numbers must lie within the bound that the formula derives. Where there are `classes`, the output
    is a label, int64, and must be exact wherever the formula decides it.
    """

    name: str
    method: str
    classes: Classes | None = None

    def dtype(self, floats: FloatDType) -> np.dtype[Any]:
        """Return the type of the output in a graph that computes in `floats`."""
        return floats if self.classes is None else np.dtype(np.int64)

    def told(self, answer: npt.NDArray[Any]) -> Matrix:
        """Return the graph's answer as it is compared: labels by the index of their class."""
        return answer.astype(np.float64) if self.classes is None else self.classes.told(answer)

    def predicted(self, answer: npt.ArrayLike) -> Matrix:
        """Return the native answer as it is compared."""
        return (
            np.asarray(answer, dtype=np.float64) if self.classes is None else self.classes.predicted(answer)
        )

    def show(self, compared: float) -> str:
        """Return a compared number as it reads in a message: the class of a label."""
        return f"{compared:.9g}" if self.classes is None else self.classes.show(compared)


Outputs = tuple[Output, ...]

PREDICTIONS = Output("predictions", "predict")
TRANSFORMED = Output("transformed", "transform")


def classifier_outputs(model: Any) -> Outputs:
    """Return a classifier's outputs: its label, and probabilities if it gives any, else scores."""
    label = Output("label", "predict", Classes.of(model.classes_))
    if hasattr(model, "predict_proba"):
        return label, Output("probabilities", "predict_proba")
    return label, Output("scores", "decision_function")


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

    def __init__(self, emit: Emit, output: Output | Callable[[Any], Outputs]) -> None:
        self.emit = emit
        self.output = output
        self.evaluate: Formula
        self.inputs: Callable[[Any], Domain]

    def formula(self, function: AnyFormula) -> AnyFormula:
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
    outputs: Outputs

    @property
    def name(self) -> str:
        """The estimator's public name."""
        return public_name(type(self.estimator))

    def emit(self, graph: Emitter, x: Value) -> tuple[Value, ...]:
        """Append the estimator's operators; return the values of its outputs."""
        values = self.converter.emit(self.estimator, graph, x)
        return values if isinstance(values, tuple) else (values,)

    def evaluate(self, x: Tracked) -> tuple[Tracked, ...]:
        """Evaluate the estimator's formula; return its outputs with their bounds."""
        values = self.converter.evaluate(self.estimator, x)
        return values if isinstance(values, tuple) else (values,)


_CONVERTERS: dict[str, Converter] = {}
_PIPELINE = "sklearn.pipeline.Pipeline"
_SEARCH = "sklearn.model_selection.BaseSearchCV"


def converter(*names: str, output: Output | Callable[[Any], Outputs]) -> Callable[[Emit], Converter]:
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
    """Flatten a fitted model, nested pipelines and the best of a search included, into the steps to convert.

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
        if step.outputs != (TRANSFORMED,):
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
    if _SEARCH in names:
        check_is_fitted(model)
        if not hasattr(model, "best_estimator_"):
            raise TypeError(
                f"to_onnx: {_describe(model, place)} has no best_estimator_: refit must not be False"
            )
        yield from _flatten(model.best_estimator_, place)
        return
    entry = next((_CONVERTERS[name] for name in names if name in _CONVERTERS), None)
    if entry is None:
        raise TypeError(
            f"to_onnx: {_describe(model, place)} has no ONNX converter; "
            f"convertible are {', '.join(convertible())} and their subclasses"
        )
    check_is_fitted(model)
    outputs = (entry.output,) if isinstance(entry.output, Output) else entry.output(model)
    yield Step(place, model, entry, outputs)


def _describe(model: Any, place: str) -> str:
    name = type(model).__name__
    return f"pipeline step {place!r} ({name})" if place else name


def emit_steps(steps: Sequence[Step], graph: Emitter, x: Value) -> tuple[Value, ...]:
    """Append every step's operators in turn; return the values of the last step's outputs."""
    values: tuple[Value, ...] = (x,)
    for step in steps:
        values = step.emit(graph, values[0])
    return values


def float_arrays(estimator: Any) -> list[npt.NDArray[np.floating[Any]]]:
    """Return the fitted floating-point arrays of an estimator, which tell what type it computes in."""
    fitted = (value for name, value in vars(estimator).items() if name.endswith("_"))
    return [value for value in fitted if isinstance(value, np.ndarray) and value.dtype.kind == "f"]
