"""Linear models: one Gemm, weights and intercept as constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from manyfit.onnx.bounds import Matrix, Tracked
from manyfit.onnx.emitter import Emitter, Value
from manyfit.onnx.registry import PREDICTIONS, Domain, converter


def _weights(model: Any) -> Matrix:
    """Return the coefficients as (features, targets)."""
    return np.atleast_2d(np.asarray(model.coef_, dtype=np.float64)).T


def _intercept(model: Any) -> Matrix | None:
    """Return one intercept per target, or None where there is none."""
    intercept = np.ravel(np.asarray(model.intercept_, dtype=np.float64))
    if not intercept.any():
        return None
    return np.broadcast_to(intercept, (_weights(model).shape[1],))


@converter(
    "manyfit.linear_model.ElasticNet",
    "manyfit.linear_model.ElasticNetCV",
    "manyfit.linear_model.GradientDescentRegressor",
    "manyfit.linear_model.HuberRegressor",
    "manyfit.linear_model.Lasso",
    "manyfit.linear_model.LassoCV",
    "manyfit.linear_model.LinearRegression",
    "manyfit.linear_model.MultiTaskElasticNet",
    "manyfit.linear_model.MultiTaskElasticNetCV",
    "manyfit.linear_model.MultiTaskLasso",
    "manyfit.linear_model.MultiTaskLassoCV",
    "manyfit.linear_model.Ridge",
    "manyfit.linear_model.RidgeCV",
    "manyfit.linear_model.SGDRegressor",
    "sklearn.linear_model.ElasticNet",
    "sklearn.linear_model.ElasticNetCV",
    "sklearn.linear_model.HuberRegressor",
    "sklearn.linear_model.Lasso",
    "sklearn.linear_model.LassoCV",
    "sklearn.linear_model.LinearRegression",
    "sklearn.linear_model.MultiTaskElasticNet",
    "sklearn.linear_model.MultiTaskElasticNetCV",
    "sklearn.linear_model.MultiTaskLasso",
    "sklearn.linear_model.MultiTaskLassoCV",
    "sklearn.linear_model.Ridge",
    "sklearn.linear_model.RidgeCV",
    "sklearn.linear_model.SGDRegressor",
    output=PREDICTIONS,
)
def linear(model: Any, graph: Emitter, x: Value) -> Value:
    """Write X @ coef_.T + intercept_, one column per target; a vector for one-dimensional `coef_`."""
    return _predictor(model, graph, x)


def _predictor(model: Any, graph: Emitter, x: Value) -> Value:
    weights, intercept = _weights(model), _intercept(model)
    coef = graph.constant("coef", weights)
    added = [] if intercept is None else [graph.constant("intercept", intercept)]
    y = graph.product(x, coef, *added, columns=weights.shape[1])
    return graph.drop_column(y) if np.ndim(model.coef_) == 1 else y


@linear.formula
def _linear_formula(model: Any, x: Tracked) -> Tracked:
    y = x.affine(_weights(model), _intercept(model))
    return y.column() if np.ndim(model.coef_) == 1 else y


@linear.domain
def _linear_domain(model: Any) -> Domain:
    """Spread each feature so that its term weighs as much as any other and as the intercept."""
    weights, intercept = np.abs(_weights(model)).max(axis=1), _intercept(model)
    weight = max(weights.max(initial=0.0), 0.0 if intercept is None else np.abs(intercept).max()) or 1.0
    spread = np.divide(weight, weights, out=np.ones_like(weights), where=weights > 0)
    return Domain(np.zeros_like(weights), spread)


@converter(
    "manyfit.linear_model.PoissonRegressor", "sklearn.linear_model.PoissonRegressor", output=PREDICTIONS
)
def poisson(model: Any, graph: Emitter, x: Value) -> Value:
    """Write exp(X @ coef_ + intercept_), a vector."""
    linear_predictor = _predictor(model, graph, x)
    return graph.node("Exp", linear_predictor, shape=linear_predictor.shape)


@poisson.formula
def _poisson_formula(model: Any, x: Tracked) -> Tracked:
    return _linear_formula(model, x).exp()


poisson.domain(_linear_domain)
