"""The profiles' own allow-list, on graphs that are legal ONNX."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from manyfit.onnx.emitter import GraphEmitter
from manyfit.onnx.profiles import PROFILES, check_model

PORTABLE = PROFILES["portable"]


def make(nodes, constants=(), dtype=TensorProto.FLOAT, opset=18, ir_version=8, output=None):
    """Build a one-input one-output graph without the emitter's checks."""
    graph = helper.make_graph(
        [helper.make_node(op, list(inputs), list(outputs)) for op, inputs, outputs in nodes],
        "graph",
        [helper.make_tensor_value_info("X", dtype, ["N", 2])],
        [helper.make_tensor_value_info("Y", output or dtype, ["N", 2])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def test_what_is_allowed():
    one = [("one", np.ones(2, dtype=np.float32))]
    check_model(make([("Add", ["X", "one"], ["Y"])], one), PORTABLE)
    check_model(make([("Add", ["X", "one"], ["Y"])], one), PROFILES["ml"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (make([("Relu", ["X"], ["Y"])]), "profile 'portable' has no operator 'Relu' of 'ai.onnx'"),
        (make([("MatMul", ["X", "w"], ["Y"])], [("w", np.eye(2, dtype=np.float32))]), "no operator"),
        (make([("Identity", ["X"], ["Y"])], dtype=TensorProto.FLOAT16), "one float type"),
        (make([("Add", ["X", "X"], ["Y"])], dtype=TensorProto.INT64), "one float type"),
        (
            make([("Add", ["X", "X"], ["Y"])], [("w", np.ones(2))]),
            "one float type",
        ),
        (
            make(
                [("Add", ["n", "n"], ["m"]), ("Identity", ["X"], ["Y"])],
                [("n", np.ones(2, dtype=np.int64))],
            ),
            "Add may not take or give 'n' of ONNX type 7",
        ),
        (make([("Identity", ["X"], ["Y"])], opset=17), "no operator set ai.onnx 17"),
        (make([("Identity", ["X"], ["Y"])], ir_version=9), "IR version must be 8, got 9"),
        (make([("Identity", ["X"], ["Y"])], output=TensorProto.DOUBLE), "checker rejects"),
        (make([("Identity", ["missing"], ["Y"])]), "checker rejects"),
    ],
)
def test_what_is_not(model, message):
    with pytest.raises(ValueError, match=message):
        check_model(model, PORTABLE)


def test_the_emitter_checks_what_it_builds():
    graph = GraphEmitter(np.dtype(np.float32), PORTABLE, 2)
    value = graph.node("Relu", graph.input, shape=(2,))
    with pytest.raises(ValueError, match="no operator"):
        graph.build("graph", {"transformed": value})


def test_names_are_unique_and_outputs_bear_theirs():
    graph = GraphEmitter(np.dtype(np.float64), PORTABLE, 2)
    names = [graph.constant("mean", [1.0, 2.0]) for _ in range(3)]
    assert names == ["mean", "mean_2", "mean_3"]
    value = graph.input
    for name in names:
        value = graph.node("Sub", value, name, shape=(2,))
    model = graph.build("graph", {"first": value, "second": value, "input": graph.input})
    assert [output.name for output in model.graph.output] == ["first", "second", "input"]
    assert [node.op_type for node in model.graph.node] == ["Sub"] * 3 + ["Identity"] * 3
