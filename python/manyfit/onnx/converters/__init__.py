"""The converters, one module per estimator family; importing this package registers them."""

from __future__ import annotations

from manyfit.onnx.converters import decomposition, linear_classifier, linear_model, preprocessing

__all__ = ["decomposition", "linear_classifier", "linear_model", "preprocessing"]
