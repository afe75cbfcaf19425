"""Conversion inside skl2onnx: what its three duck-typed methods return for our estimators.

An estimator with ``onnx_parser``, ``onnx_shape_calculator`` and ``onnx_converter`` converts inside
any scikit-learn pipeline that skl2onnx converts, with nothing to register::

    def onnx_parser(self):
        return skl2onnx_hooks.onnx_parser(self)

skl2onnx's conventions hold there: the output is called ``variable`` and has two axes, a single
target being a column [N, 1]. Classifiers give ``label`` [N] and ``probabilities`` or ``scores``. The
result is not compared with the model; `manyfit.onnx.to_onnx` is
the way to a verified file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, numpy_helper

from manyfit.onnx.emitter import Emitter, FloatDType, GraphEmitter, Value
from manyfit.onnx.profiles import PROFILES, get_dtype
from manyfit.onnx.registry import emit_steps, steps_of

OUTPUT_NAME = "variable"
MIN_OPSET = 13


class _ContainerEmitter(Emitter):
    """Writes a converter's operators into skl2onnx's container."""

    def __init__(self, dtype: FloatDType, scope: Any, container: Any) -> None:
        super().__init__(dtype)
        self._scope = scope
        self._container = container

    def _unique(self, name: str) -> str:
        return str(self._scope.get_unique_variable_name(name))

    def _add_node(self, op: str, inputs: list[str], output: str, attributes: dict[str, Any]) -> None:
        name = self._scope.get_unique_operator_name(op)
        self._container.add_node(op, inputs, [output], name=name, **attributes)

    def _add_constant(self, name: str, array: npt.NDArray[np.generic]) -> None:
        tensor = numpy_helper.from_array(array, name)
        self._container.add_initializer(name, tensor.data_type, list(array.shape), tensor)

    def drop_column(self, value: Value) -> Value:
        """Keep the column: skl2onnx's operators expect two axes."""
        return value

    def joined_input(self, variables: list[Any], n_features: int) -> Value:
        """Return the operator's inputs as one float matrix: cast where needed, side by side."""
        to = TensorProto.DOUBLE if self.dtype == np.float64 else TensorProto.FLOAT
        values = []
        for variable in variables:
            value = Value(variable.full_name, (_n_columns(variable) or n_features,))
            if _float_type(variable) != self.dtype:
                value = self.node("Cast", value, shape=value.shape, to=to)
            values.append(value)
        if len(values) == 1:
            return values[0]
        return self.node("Concat", *values, shape=(n_features,), axis=1)


def onnx_parser(estimator: Any) -> Callable[..., list[str]]:
    """Return the parser: the estimator's outputs, numbers in the input's float type."""

    def parse(scope: Any = None, inputs: Any = None) -> list[Any]:
        outputs = steps_of(estimator)[-1].outputs
        if len(outputs) == 1:
            return [OUTPUT_NAME]
        from skl2onnx.common.data_types import Int64TensorType

        return [
            output.name
            if output.classes is None
            else scope.declare_local_variable(output.name, Int64TensorType())
            for output in outputs
        ]

    return parse


def onnx_shape_calculator(estimator: Any) -> Callable[[Any], None]:
    """Return the shape calculator; it refuses input with another number of features."""

    def calculate(operator: Any) -> None:
        columns = [_n_columns(variable) for variable in operator.inputs]
        known = [n for n in columns if n is not None]
        expected = int(estimator.n_features_in_)
        if len(known) == len(columns) and sum(known) != expected:
            raise ValueError(
                f"{type(estimator).__name__}: fitted on {expected} features, the ONNX input has {sum(known)}"
            )
        rows = operator.inputs[0].get_first_dimension()
        for output, value in zip(operator.outputs, _values(estimator), strict=True):
            output.type.shape = [rows] if value.integer else [rows, *(value.shape or (1,))]

    return calculate


def onnx_converter(estimator: Any) -> Callable[[Any, Any, Any], None]:
    """Return the converter, which appends the operators of the portable profile."""

    def convert(scope: Any, operator: Any, container: Any) -> None:
        if container.target_opset_onnx < MIN_OPSET:
            raise RuntimeError(
                f"{type(estimator).__name__}: target_opset must be >= {MIN_OPSET}, "
                f"got {container.target_opset_onnx}"
            )
        dtype = _float_type(operator.outputs[-1]) or np.dtype(np.float32)
        graph = _ContainerEmitter(dtype, scope, container)
        value = graph.joined_input(operator.inputs, int(estimator.n_features_in_))
        values = emit_steps(steps_of(estimator), graph, value)
        for each, output in zip(values, operator.outputs, strict=True):
            container.add_node(
                "Identity",
                [each.name],
                [output.full_name],
                name=scope.get_unique_operator_name("Identity"),
            )

    return convert


def _values(estimator: Any) -> tuple[Value, ...]:
    """Return the outputs with their shapes, by writing the operators into a graph thrown away."""
    graph = GraphEmitter(np.dtype(np.float64), PROFILES["portable"], int(estimator.n_features_in_))
    return emit_steps(steps_of(estimator), graph, graph.input)


def _n_columns(variable: Any) -> int | None:
    columns = variable.get_second_dimension()
    return columns if isinstance(columns, int) else None


def _float_type(variable: Any) -> FloatDType | None:
    """Return the NumPy type of a float variable of skl2onnx, None for other types."""
    names = {"FloatTensorType": "float32", "DoubleTensorType": "float64"}
    found = names.get(type(variable.type).__name__)
    return None if found is None else get_dtype(found)
