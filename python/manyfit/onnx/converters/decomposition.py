"""Decompositions: centre, then one matrix product with any whitening folded in."""

from __future__ import annotations

from typing import Any

import numpy as np

from manyfit.onnx.bounds import Matrix, Tracked
from manyfit.onnx.emitter import Emitter, Value
from manyfit.onnx.registry import TRANSFORMED, Domain, converter


def _whitening(model: Any) -> Matrix | None:
    """Return the divisor of every component, never below the machine epsilon of the fitted type."""
    if not model.whiten:
        return None
    variance = np.asarray(model.explained_variance_)
    return np.asarray(np.maximum(np.sqrt(variance), np.finfo(variance.dtype).eps), dtype=np.float64)


def _projection(model: Any) -> Matrix:
    """Return the components as (features, components), divided by the whitening."""
    components = np.asarray(model.components_, dtype=np.float64).T
    scale = _whitening(model)
    return components if scale is None else components / scale


@converter(
    "manyfit.decomposition.IncrementalPCA",
    "manyfit.decomposition.PCA",
    "sklearn.decomposition.IncrementalPCA",
    "sklearn.decomposition.PCA",
    output=TRANSFORMED,
)
def pca(model: Any, graph: Emitter, x: Value) -> Value:
    """Write (X - mean_) @ components_.T / scale, the mean first: no cancellation after the product."""
    projection = _projection(model)
    centred = graph.node("Sub", x, graph.constant("mean", model.mean_), shape=x.shape)
    components = graph.constant("components", projection)
    return graph.product(centred, components, columns=projection.shape[1])


@pca.formula
def _pca_formula(model: Any, x: Tracked) -> Tracked:
    if not x.native:
        return x.subtract(model.mean_).affine(_projection(model))
    # scikit-learn multiplies first and subtracts the projected mean: same value, larger error.
    components = np.asarray(model.components_).T
    mean = Tracked.exactly(np.atleast_2d(model.mean_), x.arithmetic, native=True)
    projected = x.affine(components).subtract(mean.affine(components))
    scale = _whitening(model)
    return projected if scale is None else projected.divide(scale)


@pca.domain
def _pca_domain(model: Any) -> Domain:
    """Return the fitted mean, and each feature's standard deviation under the fitted model."""
    components = np.asarray(model.components_, dtype=np.float64)
    variance = np.asarray(model.explained_variance_, dtype=np.float64) @ components**2
    spread = np.sqrt(variance + float(model.noise_variance_))
    return Domain(np.asarray(model.mean_, dtype=np.float64), np.where(spread > 0, spread, 1.0))


@converter("manyfit.decomposition.TruncatedSVD", "sklearn.decomposition.TruncatedSVD", output=TRANSFORMED)
def truncated_svd(model: Any, graph: Emitter, x: Value) -> Value:
    """Write X @ components_.T."""
    components = np.asarray(model.components_, dtype=np.float64).T
    return graph.product(x, graph.constant("components", components), columns=components.shape[1])


@truncated_svd.formula
def _truncated_svd_formula(model: Any, x: Tracked) -> Tracked:
    return x.affine(np.asarray(model.components_, dtype=np.float64).T)


@truncated_svd.domain
def _truncated_svd_domain(model: Any) -> Domain:
    """Return the origin, and each feature's size under the singular values."""
    components = np.asarray(model.components_, dtype=np.float64)
    values = np.asarray(model.singular_values_, dtype=np.float64)
    spread = np.sqrt((values / (values.max(initial=0.0) or 1.0)) ** 2 @ components**2)
    return Domain(np.zeros_like(spread), np.where(spread > 0, spread, 1.0))
