"""The graph builder: a thin layer over ``onnx.helper`` that converters write to.

An emitter owns names, constants and nodes; a converter says which operators follow each other.
`GraphEmitter` collects a whole model. Other sinks (skl2onnx's container, see
`manyfit.onnx.skl2onnx_hooks`) implement the same three methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from manyfit.onnx.profiles import DTYPES, INPUT_NAME, IR_VERSION, Profile, check_model

FloatDType = np.dtype[np.floating[Any]]


@dataclass(frozen=True)
class Value:
    """A tensor in the graph: its name, its shape behind the batch axis, and whether it holds int64."""

    name: str
    shape: tuple[int, ...]
    integer: bool = False


class Emitter(ABC):
    """What a converter writes to.

    Parameters
    ----------
    dtype : numpy dtype
        The float type the graph computes in; constants are rounded to it.
    """

    def __init__(self, dtype: FloatDType) -> None:
        self.dtype = dtype

    @abstractmethod
    def _add_node(self, op: str, inputs: list[str], output: str, attributes: dict[str, Any]) -> None:
        """Append one node."""

    @abstractmethod
    def _add_constant(self, name: str, array: npt.NDArray[np.generic]) -> None:
        """Append one initialiser."""

    @abstractmethod
    def _unique(self, name: str) -> str:
        """Return `name`, or a variation of it that no other value bears."""

    def constant(self, name: str, array: npt.ArrayLike, *, divisor: bool = False) -> str:
        """Store a float constant and return its name in the graph.

        Raises a ValueError where the graph's type cannot hold it: NaN or infinity, overflow, and
        for a `divisor` also a magnitude below the smallest normal number.
        """
        exact = np.asarray(array, dtype=np.float64)
        if not np.isfinite(exact).all():
            raise ValueError(f"to_onnx: the fitted {name} holds NaN or infinity")
        with np.errstate(over="ignore", under="ignore"):
            rounded = np.ascontiguousarray(exact, dtype=self.dtype)
        too_small = divisor and np.abs(rounded).min(initial=np.inf) < np.finfo(self.dtype).tiny
        if too_small or not np.isfinite(rounded).all():
            raise ValueError(
                f"to_onnx: the fitted {name} holds a value outside the range of {self.dtype.name}"
                + ("; export with dtype='float64'" if self.dtype == np.float32 else "")
            )
        unique = self._unique(name)
        self._add_constant(unique, rounded)
        return unique

    def integers(self, name: str, values: Sequence[int] | npt.NDArray[np.int64]) -> str:
        """Store an int64 constant (axes, indices) and return its name in the graph."""
        unique = self._unique(name)
        self._add_constant(unique, np.asarray(values, dtype=np.int64))
        return unique

    def node(
        self,
        op: str,
        *inputs: Value | str,
        shape: tuple[int, ...],
        integer: bool = False,
        **attributes: Any,
    ) -> Value:
        """Append the operator `op` and return its one output, of `shape` behind the batch axis."""
        names = [each.name if isinstance(each, Value) else each for each in inputs]
        output = self._unique(op.lower())
        self._add_node(op, names, output, attributes)
        return Value(output, shape, integer)

    def product(self, x: Value, weights: str, *intercept: str, columns: int) -> Value:
        """Append x @ weights + intercept, always as Gemm.

        Not as MatMul: ONNX Runtime folds a scalar factor beside a MatMul into its FusedMatMul, whose
        alpha is a float32, and float64 graphs lose half their digits.
        """
        return self.node("Gemm", x, weights, *intercept, shape=(columns,))

    def drop_column(self, value: Value) -> Value:
        """Turn a single column [N, 1] into a vector [N], as `predict` does for one target."""
        return self.squeeze(value)

    def squeeze(self, value: Value) -> Value:
        """Turn a single column [N, 1] into a vector [N]."""
        return self.node("Squeeze", value, self.integers("column_axis", [1]), shape=(), integer=value.integer)

    def row_sum(self, value: Value) -> Value:
        """Append the sum of every row, as a column [N, 1]."""
        return self.node("ReduceSum", value, self.integers("sum_axis", [1]), shape=(1,), keepdims=1)

    def label(self, scores: Value, labels: npt.NDArray[np.int64]) -> Value:
        """Append the label [N] of the largest score; of one column, the second label where it is > 0."""
        if scores.shape == (1,):
            above = self.node("Greater", self.squeeze(scores), self.constant("zero", 0.0), shape=())
            index = self.node("Cast", above, shape=(), integer=True, to=int(onnx.TensorProto.INT64))
        else:
            index = self.node("ArgMax", scores, shape=(), integer=True, axis=1, keepdims=0)
        if np.array_equal(labels, np.arange(len(labels))):
            return index
        return self.node("Gather", self.integers("labels", labels), index, shape=(), integer=True, axis=0)


class GraphEmitter(Emitter):
    """Collects a whole model with the one input matrix ``X`` and a dynamic batch axis."""

    def __init__(self, dtype: FloatDType, profile: Profile, n_features: int) -> None:
        super().__init__(dtype)
        self.profile = profile
        self.input = Value(INPUT_NAME, (n_features,))
        self._names = {INPUT_NAME}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def _unique(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._names:
            count += 1
            candidate = f"{name}_{count}"
        self._names.add(candidate)
        return candidate

    def _add_node(self, op: str, inputs: list[str], output: str, attributes: dict[str, Any]) -> None:
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, domain="", **attributes))

    def _add_constant(self, name: str, array: npt.NDArray[np.generic]) -> None:
        self._constants.append(numpy_helper.from_array(array, name))

    def build(self, name: str, outputs: dict[str, Value]) -> onnx.ModelProto:
        """Close the graph: bind `outputs` (name in the model -> value), check, return the model."""
        for output, value in outputs.items():
            self._add_node("Identity", [value.name], output, {})
        self._merge_identities(set(outputs))
        graph = helper.make_graph(
            self._nodes,
            name,
            [self._value_info(self.input.name, self.input)],
            [self._value_info(output, value) for output, value in outputs.items()],
            self._constants,
        )
        # Only what the nodes need is stamped: an unused operator set would exclude runtimes for nothing.
        used = {"", *(node.domain for node in self._nodes)}
        opsets = [helper.make_opsetid(domain, self.profile.opsets[domain]) for domain in sorted(used)]
        model = helper.make_model(graph, producer_name="manyfit", opset_imports=opsets, ir_version=IR_VERSION)
        check_model(model, self.profile)
        return model

    def _merge_identities(self, outputs: set[str]) -> None:
        """Let the node before a final Identity bear the output's name, where there is one."""
        makers = {node.output[0]: node for node in self._nodes}
        readers = [name for node in self._nodes for name in node.input]
        merged = []
        for node in self._nodes:
            maker = makers.get(node.input[0])
            if node.output[0] in outputs and maker is not None and readers.count(node.input[0]) == 1:
                maker.output[0] = node.output[0]
            else:
                merged.append(node)
        self._nodes = merged

    def _value_info(self, name: str, value: Value) -> onnx.ValueInfoProto:
        dtype = int(onnx.TensorProto.INT64) if value.integer else DTYPES[self.dtype.name]
        return helper.make_tensor_value_info(name, dtype, ["N", *value.shape])
