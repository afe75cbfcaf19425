"""Export profiles: which operators, versions and element types a graph may use.

The lists are ours and short on purpose. ``onnx.checker`` says whether a graph is legal ONNX; a
profile says whether the runtimes we promise can execute it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.defs
import onnx.helper
import onnx.shape_inference
from onnx import AttributeProto, TensorProto

IR_VERSION = 8
OPSET = 18
ML_OPSET = 3
INPUT_NAME = "X"

DTYPES: dict[str, int] = {"float32": int(TensorProto.FLOAT), "float64": int(TensorProto.DOUBLE)}

_FLOATS = frozenset(DTYPES.values())
_INT64 = frozenset({int(TensorProto.INT64)})
_BOOL = frozenset({int(TensorProto.BOOL)})


@dataclass(frozen=True)
class Operator:
    """One allowed operator: its version and the element types of its inputs and its output."""

    version: int
    dtypes: frozenset[int] = _FLOATS
    # The element types of the output; None for those of the inputs.
    output: frozenset[int] | None = None
    # Inputs whose element type differs from the others, by position (axes and the like).
    special: dict[int, frozenset[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """The operator sets a graph may import and the operators it may use, by (domain, name)."""

    name: str
    opsets: dict[str, int]
    operators: dict[tuple[str, str], Operator]


_AXES = {1: _INT64}

_PORTABLE_OPERATORS = {
    ("", "Abs"): Operator(13),
    ("", "Add"): Operator(14),
    ("", "ArgMax"): Operator(13, output=_INT64),
    ("", "Cast"): Operator(13, _BOOL, _INT64),
    ("", "Clip"): Operator(13),
    ("", "Concat"): Operator(13),
    ("", "Div"): Operator(14),
    ("", "Equal"): Operator(13, output=_BOOL),
    ("", "Exp"): Operator(13),
    ("", "Gather"): Operator(13, _INT64),
    ("", "Gemm"): Operator(13),
    ("", "Greater"): Operator(13, output=_BOOL),
    ("", "Identity"): Operator(16),
    ("", "Log"): Operator(13),
    ("", "Min"): Operator(13),
    ("", "Mul"): Operator(14),
    ("", "Neg"): Operator(13),
    ("", "ReduceSum"): Operator(13, special=_AXES),
    ("", "Softmax"): Operator(13),
    ("", "Squeeze"): Operator(13, special=_AXES),
    ("", "Sub"): Operator(14),
    ("", "Where"): Operator(16, special={0: _BOOL}),
}

PROFILES: dict[str, Profile] = {
    "portable": Profile("portable", {"": OPSET}, _PORTABLE_OPERATORS),
    "ml": Profile("ml", {"": OPSET, "ai.onnx.ml": ML_OPSET}, _PORTABLE_OPERATORS),
}


def get_profile(name: object) -> Profile:
    """Return the profile called `name`, or raise a ValueError that lists the names there are."""
    if not isinstance(name, str) or name not in PROFILES:
        raise ValueError(f"to_onnx: profile must be one of {sorted(PROFILES)}, got {name!r}")
    return PROFILES[name]


def get_dtype(name: object) -> np.dtype[np.floating[Any]]:
    """Return the NumPy type of the export dtype called `name`, or raise a ValueError."""
    if not isinstance(name, str) or name not in DTYPES:
        raise ValueError(f"to_onnx: dtype must be one of {sorted(DTYPES)}, got {name!r}")
    return np.dtype(name)


def check_model(model: onnx.ModelProto, profile: Profile) -> None:
    """Raise ValueError unless `model` is legal ONNX and stays inside `profile`."""
    if model.ir_version != IR_VERSION:
        raise ValueError(f"the IR version must be {IR_VERSION}, got {model.ir_version}")
    _check_opsets(model, profile)
    for name in ("functions", "training_info"):
        if len(getattr(model, name)):
            raise ValueError(f"the model may not hold {name}")
    for name in ("sparse_initializer", "quantization_annotation"):
        if len(getattr(model.graph, name)):
            raise ValueError(f"the graph may not hold {name}")
    if [value.name for value in model.graph.input] != [INPUT_NAME]:
        raise ValueError(f"the graph must have the one input {INPUT_NAME!r}")
    for node in model.graph.node:
        _check_operator(node, profile)
    _check_sizes(model.graph)
    try:
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError) as error:
        raise ValueError(f"the ONNX checker rejects the graph: {error}") from error
    _check_dtypes(inferred, profile)
    _check_products(inferred.graph)


def _check_opsets(model: onnx.ModelProto, profile: Profile) -> None:
    domains = [opset.domain for opset in model.opset_import]
    if "" not in domains or len(set(domains)) != len(domains):
        raise ValueError("the model must import each operator set once, ai.onnx among them")
    for opset in model.opset_import:
        if profile.opsets.get(opset.domain) != opset.version:
            raise ValueError(
                f"profile {profile.name!r} has no operator set {opset.domain or 'ai.onnx'} {opset.version}"
            )


def _check_operator(node: onnx.NodeProto, profile: Profile) -> None:
    allowed = profile.operators.get((node.domain, node.op_type))
    if allowed is None:
        domain = node.domain or "ai.onnx"
        raise ValueError(f"profile {profile.name!r} has no operator {node.op_type!r} of {domain!r}")
    version = onnx.defs.get_schema(node.op_type, profile.opsets[node.domain], node.domain).since_version
    if version != allowed.version:
        raise ValueError(f"{node.op_type} must be of version {allowed.version}, got {version}")
    for attribute in node.attribute:
        if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            raise ValueError(f"{node.op_type} may not hold a subgraph")


def _check_sizes(graph: onnx.GraphProto) -> None:
    """Check that every stored tensor holds as many numbers as its shape says (older checkers do not)."""
    for tensor in graph.initializer:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        if min(tensor.dims, default=0) < 0 or len(tensor.raw_data) != math.prod(tensor.dims) * dtype.itemsize:
            raise ValueError(f"the tensor {tensor.name!r} holds {len(tensor.raw_data)} bytes for its shape")


def _check_products(graph: onnx.GraphProto) -> None:
    """Check that the factors of every matrix product fit (older checkers do not)."""
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for values in (graph.input, graph.value_info, graph.output):
        shapes.update(
            {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
        )
    for node in graph.node:
        if node.op_type != "Gemm":
            continue
        transposed = {attribute.name: attribute.i for attribute in node.attribute}
        inner = [shapes[name] for name in node.input[:2]]
        places = (0 if transposed.get("transA") else 1, 1 if transposed.get("transB") else 0)
        if inner[0][places[0]] != inner[1][places[1]]:
            raise ValueError(
                f"{node.op_type} multiplies {node.input[0]!r} and {node.input[1]!r} of other sizes"
            )


def _check_dtypes(model: onnx.ModelProto, profile: Profile) -> None:
    """Check the element type of every value: one float type in the whole graph."""
    graph = model.graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for values in (graph.input, graph.value_info, graph.output):
        types.update({value.name: value.type.tensor_type.elem_type for value in values})
    floats = {dtype for dtype in types.values() if dtype in _FLOATS}
    if len(floats) != 1:
        raise ValueError("the graph must compute in one float type, float32 or float64")
    for node in graph.node:
        operator = profile.operators[node.domain, node.op_type]
        expected = [operator.special.get(i, operator.dtypes) for i in range(len(node.input))]
        given = operator.dtypes if operator.output is None else operator.output
        named = [*zip(node.input, expected, strict=True), *((name, given) for name in node.output)]
        for name, dtypes in named:
            if name and types.get(name) not in dtypes:
                raise ValueError(
                    f"{node.op_type} may not take or give {name!r} of ONNX type {types.get(name)}"
                )
