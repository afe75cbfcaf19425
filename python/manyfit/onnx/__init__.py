"""Verified ONNX: nothing leaves that was not compared with the fitted model.

`to_onnx` writes one self-contained ONNX file for a fitted estimator or pipeline, after comparing
ONNX Runtime and ONNX's reference evaluator with the model on probes built to make them disagree.
`verify_file` replays, on whatever runtime is installed, the golden rows that travel in the file.
"""

from __future__ import annotations

from manyfit.onnx.export import to_onnx
from manyfit.onnx.replay import VerifyReport, verify_file

__all__ = ["VerifyReport", "to_onnx", "verify_file"]
