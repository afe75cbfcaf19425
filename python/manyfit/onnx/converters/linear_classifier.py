"""Linear classifiers: one Gemm for the scores, then the label and what the class makes of the scores.

Probabilities go through Softmax even where the model applies a logistic function to every score: ONNX
Runtime's Sigmoid answers exactly 0 from about -18 down, which neither a logarithm nor a sum of such
numbers survives.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from manyfit.onnx.bounds import Matrix, Tracked
from manyfit.onnx.emitter import Emitter, Value
from manyfit.onnx.registry import Domain, Output, classifier_outputs, converter

# Beyond these many classes no probes are aimed at them one by one.
_AIMED = 32


def _weights(model: Any) -> Matrix:
    """Return the coefficients as (features, scores); two classes have one score."""
    coef: Any = model.coef_
    if hasattr(coef, "toarray"):  # SGDClassifier.sparsify
        coef = coef.toarray()
    return np.atleast_2d(np.asarray(coef, dtype=np.float64)).T


def _intercept(model: Any) -> Matrix | None:
    """Return one intercept per score, or None where there is none."""
    intercept = np.ravel(np.asarray(model.intercept_, dtype=np.float64))
    if not intercept.any():
        return None
    return np.broadcast_to(intercept, (_weights(model).shape[1],))


def _outputs(model: Any) -> tuple[Output, ...]:
    binarizer = getattr(model, "_label_binarizer", None)
    if getattr(binarizer, "y_type_", "").startswith("multilabel"):
        raise ValueError(f"to_onnx: {type(model).__name__}: multilabel targets do not convert")
    return classifier_outputs(model)


def _link(model: Any) -> str:
    """Return how scores become probabilities: softmax, logistic, ramp, or not at all."""
    if not hasattr(model, "predict_proba"):
        return "none"
    if getattr(model, "loss", None) == "modified_huber":
        return "ramp"
    one_vs_rest = (
        len(model.classes_) == 2
        or hasattr(model, "loss")
        or getattr(model, "multi_class", None) == "ovr"
        or getattr(model, "solver", None) == "liblinear"
    )
    return "logistic" if one_vs_rest else "softmax"


def _vanishing(model: Any, dtype: Any) -> float:
    """Return the score below which the model's logistic function is 0 on rows in `dtype`: exp overflows."""
    single = dtype == np.float32 and model.coef_.dtype == np.float32
    return -float(np.log(np.finfo(np.float32 if single else np.float64).max))


@converter(
    "manyfit.linear_model.GradientDescentClassifier",
    "manyfit.linear_model.LogisticRegression",
    "manyfit.linear_model.LogisticRegressionCV",
    "manyfit.linear_model.Perceptron",
    "manyfit.linear_model.RidgeClassifier",
    "manyfit.linear_model.RidgeClassifierCV",
    "manyfit.linear_model.SGDClassifier",
    "sklearn.linear_model.LogisticRegression",
    "sklearn.linear_model.LogisticRegressionCV",
    "sklearn.linear_model.Perceptron",
    "sklearn.linear_model.RidgeClassifier",
    "sklearn.linear_model.RidgeClassifierCV",
    "sklearn.linear_model.SGDClassifier",
    output=_outputs,
)
def linear_classifier(model: Any, graph: Emitter, x: Value) -> tuple[Value, ...]:
    """Write the scores X @ coef_.T + intercept_, their label, and probabilities where there are any."""
    weights, intercept = _weights(model), _intercept(model)
    coef = graph.constant("coef", weights)
    added = [] if intercept is None else [graph.constant("intercept", intercept)]
    scores = graph.product(x, coef, *added, columns=weights.shape[1])
    label, second = _outputs(model)
    assert label.classes is not None
    answer = graph.label(scores, label.classes.values)
    if second.name == "scores":
        return answer, graph.drop_column(scores) if scores.shape == (1,) else scores
    write = {"softmax": _softmax, "logistic": _logistic, "ramp": _ramp}[_link(model)]
    return answer, write(model, graph, scores)


def _softmax(model: Any, graph: Emitter, scores: Value) -> Value:
    return graph.node("Softmax", scores, shape=scores.shape, axis=1)


def _logistic(model: Any, graph: Emitter, scores: Value) -> Value:
    """Write the logistic function of one score, or of several, each divided by the sum of all."""
    zero = graph.constant("zero", 0.0)
    negative = graph.node("Min", scores, zero, shape=scores.shape)
    if scores.shape == (1,):
        # softmax([min(-s, 0), min(s, 0)]): of one that is 0 and one below it.
        other = graph.node("Min", graph.node("Neg", scores, shape=(1,)), zero, shape=(1,))
        pair = graph.node("Concat", other, negative, shape=(2,), axis=1)
        return _softmax(model, graph, pair)
    # log(1 / (1 + exp(-s))) = min(s, 0) - log(1 + exp(-|s|)); shares are its softmax.
    shape = scores.shape
    tail = graph.node("Neg", graph.node("Abs", scores, shape=shape), shape=shape)
    tail = graph.node("Exp", tail, shape=shape)
    tail = graph.node("Log", graph.node("Add", tail, graph.constant("one", 1.0), shape=shape), shape=shape)
    shares = _softmax(model, graph, graph.node("Sub", negative, tail, shape=shape))
    # Clip and ReduceSum keep NaN; ONNX Runtime's ReduceMax may lose it.
    limit, zero = graph.constant("vanishing", _vanishing(model, graph.dtype)), graph.constant("zero", 0.0)
    above = graph.node("Clip", graph.node("Sub", scores, limit, shape=shape), zero, shape=shape)
    vanish = graph.node("Equal", graph.row_sum(above), zero, shape=(1,))
    return graph.node("Where", vanish, graph.constant("equal", 1 / shape[0]), shares, shape=shape)


def _ramp(model: Any, graph: Emitter, scores: Value) -> Value:
    """Write (clip(s, -1, 1) + 1) / 2, of several scores each divided by the sum of all."""
    shape, one = scores.shape, graph.constant("one", 1.0)
    ramp = graph.node("Clip", scores, graph.constant("minus_one", -1.0), one, shape=shape)
    ramp = graph.node("Add", ramp, one, shape=shape)
    ramp = graph.node("Mul", ramp, graph.constant("half", 0.5), shape=shape)
    if shape == (1,):
        return graph.node("Concat", graph.node("Sub", one, ramp, shape=(1,)), ramp, shape=(2,), axis=1)
    total = graph.row_sum(ramp)
    nothing = graph.node("Equal", total, graph.constant("zero", 0.0), shape=(1,))
    shares = graph.node("Div", ramp, total, shape=shape)
    return graph.node("Where", nothing, graph.constant("equal", 1 / shape[0]), shares, shape=shape)


@linear_classifier.formula
def _linear_classifier_formula(model: Any, x: Tracked) -> tuple[Tracked, ...]:
    scores = x.affine(_weights(model), _intercept(model))
    single = scores.value.shape[1] == 1
    link = _link(model)
    if link == "none":
        second = scores.column() if single else scores
    elif link == "softmax":
        second = scores.softmax()
    elif link == "ramp":
        ramp = scores.saturating()
        second = ramp.negated().add(1.0).beside(ramp) if single else ramp.shares()
    elif single:
        second = _native_pair(scores) if x.native else _pair(scores)
    else:
        shares = (
            scores.log_sigmoid().softmax().equal_shares_below(scores, _vanishing(model, x.arithmetic.dtype))
        )
        second = _with_vanishing_terms(model, scores, shares) if x.native else shares
    return scores.label(), second


def _pair(scores: Tracked) -> Tracked:
    return scores.negated().at_most(0.0).beside(scores.at_most(0.0)).softmax()


def _native_pair(scores: Tracked) -> Tracked:
    """Return 1 - p and p, which loses the digits of a small 1 - p."""
    p = scores.sigmoid()
    return p.negated().add(1.0).beside(p)


def _with_vanishing_terms(model: Any, scores: Tracked, shares: Tracked) -> Tracked:
    """Add what the native model loses in terms that vanish, and its roundings before it divides."""
    total = np.exp(np.logaddexp.reduce(scores.log_sigmoid().value, axis=1, keepdims=True))
    lost = 2 * np.exp(_vanishing(model, np.float32))
    n = scores.value.shape[1]
    moved = np.where(total > 2 * n * lost, lost * (1 + n * shares.value) / (total - n * lost), np.inf)
    # A model in float32 that is fed float64 has logistic functions in float64: then all are 0 only here.
    vanished = scores.value.max(axis=1, keepdims=True) < _vanishing(model, np.float64) - 1
    unknown = np.isnan(total)
    return replace(shares, error=shares.error + np.where(vanished | unknown, 0.0, moved))


@linear_classifier.domain
def _linear_classifier_domain(model: Any) -> Domain:
    """Centre on the point where all scores are equal, if there is one; spread each feature by its weight."""
    weights, intercept = _weights(model), _intercept(model)
    b = np.zeros(weights.shape[1]) if intercept is None else np.asarray(intercept)
    heaviest = np.abs(weights).max(axis=1)
    weight = max(heaviest.max(initial=0.0), np.abs(b).max()) or 1.0
    spread = np.divide(weight, heaviest, out=np.ones_like(heaviest), where=heaviest > 0)
    # In units of the spread every term is of the order of 1.
    slopes = (weights * spread[:, None])[:, :_AIMED].T / weight
    levels = b[:_AIMED] / weight
    every = slopes
    if len(slopes) > 1:
        slopes, levels = slopes - slopes.mean(axis=0), levels - levels.mean()
    centre = np.linalg.lstsq(slopes, -levels, rcond=1e-6)[0]
    norms = np.linalg.norm(slopes, axis=1)
    aimed = slopes[norms > 0] / norms[norms > 0, None]
    if len(slopes) == 1:
        aimed = np.concatenate([aimed, -aimed])
    steps = [centre + step * direction for direction in aimed for step in (1e-3, 3.0)]
    if len(slopes) > 1 and _link(model) in ("logistic", "ramp"):
        # Where every score is so low that the probabilities are equal.
        low = (1000.0 if _link(model) == "logistic" else 3.0) / weight + np.abs(levels).max()
        steps.append(np.linalg.lstsq(every, np.full(len(every), -low), rcond=1e-6)[0])
    return Domain(spread * centre, spread, tuple(spread * step for step in steps))
