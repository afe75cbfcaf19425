"""The two independent evaluators of a graph: ONNX Runtime and ONNX's reference implementation."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from manyfit.onnx.profiles import INPUT_NAME

FloatArray = npt.NDArray[np.floating[Any]]
Runner = Callable[[FloatArray], list[FloatArray]]

ONNX_RUNTIME = "ONNX Runtime"
REFERENCE = "the ONNX reference evaluator"


def onnxruntime_runner(serialized: bytes) -> Runner:
    """Load a model into ONNX Runtime's CPU provider, on one thread.

    One thread, because a verification is small and must not compete with what the process runs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])

    def run(rows: FloatArray) -> list[FloatArray]:
        return [np.asarray(output) for output in session.run(None, {INPUT_NAME: rows})]

    return run


def reference_runner(model: onnx.ModelProto) -> Runner:
    """Load a model into the reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)

    def run(rows: FloatArray) -> list[FloatArray]:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            outputs = evaluator.run(None, {INPUT_NAME: rows})
        return [np.asarray(output) for output in outputs]

    return run


def versions() -> dict[str, str]:
    """Return the versions of everything that takes part in a verification."""
    import onnxruntime

    return {
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
    }
