"""Scalers that commonly stand before a model in a pipeline. NaN passes through, as in scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from manyfit.onnx.bounds import Tracked
from manyfit.onnx.emitter import Emitter, Value
from manyfit.onnx.registry import TRANSFORMED, Domain, converter


@converter("sklearn.preprocessing.StandardScaler", output=TRANSFORMED)
def standard_scaler(model: Any, graph: Emitter, x: Value) -> Value:
    """Write (X - mean_) / scale_, either part only where the scaler has it."""
    if model.with_mean:
        x = graph.node("Sub", x, graph.constant("mean", model.mean_), shape=x.shape)
    if model.with_std:
        x = graph.node("Div", x, graph.constant("scale", model.scale_, divisor=True), shape=x.shape)
    return x


@standard_scaler.formula
def _standard_scaler_formula(model: Any, x: Tracked) -> Tracked:
    if model.with_mean:
        x = x.subtract(model.mean_)
    return x.divide(model.scale_) if model.with_std else x


@standard_scaler.domain
def _standard_scaler_domain(model: Any) -> Domain:
    n_features = model.n_features_in_
    centre = np.zeros(n_features) if model.mean_ is None else model.mean_
    spread = np.ones(n_features) if model.scale_ is None else model.scale_
    return Domain(np.asarray(centre, dtype=np.float64), np.asarray(spread, dtype=np.float64))


@converter("sklearn.preprocessing.MinMaxScaler", output=TRANSFORMED)
def min_max_scaler(model: Any, graph: Emitter, x: Value) -> Value:
    """Write X * scale_ + min_, clipped to feature_range where the scaler says so."""
    x = graph.node("Mul", x, graph.constant("scale", model.scale_), shape=x.shape)
    x = graph.node("Add", x, graph.constant("min", model.min_), shape=x.shape)
    if not model.clip:
        return x
    low, high = model.feature_range
    limits = graph.constant("clip_low", low), graph.constant("clip_high", high)
    return graph.node("Clip", x, *limits, shape=x.shape)


@min_max_scaler.formula
def _min_max_scaler_formula(model: Any, x: Tracked) -> Tracked:
    x = x.multiply(model.scale_).add(model.min_)
    return x.clip(*model.feature_range) if model.clip else x


@min_max_scaler.domain
def _min_max_scaler_domain(model: Any) -> Domain:
    """Return data between and around the fitted extremes, which are where clipping begins."""
    low, high = (np.asarray(each, dtype=np.float64) for each in (model.data_min_, model.data_max_))
    spread = high / 2 - low / 2
    return Domain(low / 2 + high / 2, np.where(spread > 0, spread, 1.0), (low, high))
