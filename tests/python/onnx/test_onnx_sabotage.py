"""A wrong graph must not get out: converters are sabotaged one way at a time."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from manyfit.exceptions import ExportMismatch
from manyfit.onnx import to_onnx
from manyfit.onnx.converters import decomposition, linear_model, preprocessing
from manyfit.onnx.emitter import GraphEmitter


@pytest.fixture
def refused(data, tmp_path):
    """Check that a model is not exported in either type, and that no file appears."""

    def refused(model, match="disagree"):
        X, Y = data
        model.fit(X, Y)
        path = tmp_path / "model.onnx"
        for dtype in ("float32", "float64"):
            with pytest.raises(ExportMismatch, match=match):
                to_onnx(model, path, dtype=dtype)
        assert not list(tmp_path.iterdir())

    return refused


def change_constant(monkeypatch, name, change):
    """Let every graph constant called `name` be changed on its way into the graph."""
    honest = GraphEmitter.constant

    def constant(self, wanted, array, *, divisor=False):
        array = np.asarray(array, dtype=np.float64)
        return honest(self, wanted, change(array) if wanted == name else array, divisor=divisor)

    monkeypatch.setattr(GraphEmitter, "constant", constant)


def one_off(array):
    """Change one element, the smallest, by one part in 10^5."""
    changed = array.copy()
    changed.flat[np.abs(array).argmin()] *= 1 + 1e-5
    return changed


@pytest.mark.parametrize(
    ("model", "constant", "change"),
    [
        (Ridge(), "coef", np.negative),
        (Ridge(), "coef", one_off),
        (Ridge(), "coef", lambda w: w.astype(np.float16)),
        (Ridge(), "coef", lambda w: w[::-1]),
        (Ridge(), "coef", lambda w: w[:, ::-1]),
        (Ridge(), "coef", lambda w: w.reshape(w.shape[::-1]).T),
        (Ridge(), "intercept", np.negative),
        (Ridge(), "intercept", np.zeros_like),
        (Ridge(), "intercept", lambda b: b.astype(np.float16)),
        (LinearRegression(), "intercept", one_off),
        (PCA(3), "mean", np.negative),
        (PCA(3), "mean", np.zeros_like),
        (PCA(3), "mean", one_off),
        (PCA(3), "components", lambda w: w[:, ::-1]),
        (PCA(3), "components", lambda w: w.astype(np.float16)),
        (PCA(3), "components", one_off),
        (StandardScaler(), "scale", np.square),
        (StandardScaler(), "scale", one_off),
        (StandardScaler(), "mean", one_off),
        (MinMaxScaler(), "min", one_off),
        (MinMaxScaler(clip=True), "clip_high", lambda high: high * 1.001),
        (MinMaxScaler(clip=True), "clip_low", lambda low: low - 0.001),
        (make_pipeline(StandardScaler(), PCA(3), Ridge()), "coef", one_off),
        (make_pipeline(StandardScaler(), PCA(3), Ridge()), "components", lambda w: w * (1 + 1e-4)),
    ],
)
def test_wrong_constants(model, constant, change, refused, monkeypatch):
    change_constant(monkeypatch, constant, change)
    refused(model)


def test_a_transposed_square_matrix(data, monkeypatch):
    X, _ = data
    change_constant(monkeypatch, "coef", np.transpose)
    with pytest.raises(ExportMismatch):
        to_onnx(Ridge().fit(X, X @ np.arange(36.0).reshape(6, 6)))


def test_dropped_whitening(refused, monkeypatch):
    monkeypatch.setattr(
        decomposition.pca,
        "emit",
        emitting(decomposition.pca.emit, lambda model: setattr(model, "whiten", False)),
    )
    refused(PCA(3, whiten=True))


def test_dropped_clipping(refused, monkeypatch):
    scaler = preprocessing.min_max_scaler
    monkeypatch.setattr(scaler, "emit", emitting(scaler.emit, lambda model: setattr(model, "clip", False)))
    refused(MinMaxScaler(clip=True))


def test_dropped_intercept(refused, monkeypatch):
    linear = linear_model.linear
    monkeypatch.setattr(
        linear, "emit", emitting(linear.emit, lambda model: setattr(model, "intercept_", 0.0))
    )
    refused(Ridge())


def emitting(emit, change):
    """Return a converter that writes the graph of a changed copy of the model."""
    from copy import deepcopy

    def sabotaged(model, graph, x):
        changed = deepcopy(model)
        change(changed)
        return emit(changed, graph, x)

    return sabotaged


def test_a_misread_attribute_is_caught_by_the_native_model(refused, monkeypatch):
    """The formula shares the mistake with the graph; only the native model knows better."""
    honest = linear_model._weights
    monkeypatch.setattr(linear_model, "_weights", lambda model: honest(model) * (1 + 1e-5))
    refused(Ridge(), "and the native model disagree")


def test_a_misread_whitening_is_caught_by_the_native_model(refused, monkeypatch):
    monkeypatch.setattr(decomposition, "_whitening", lambda model: model.explained_variance_)
    refused(PCA(3, whiten=True), "and the native model disagree")


def test_swallowed_nan(refused, monkeypatch):
    """Max(min(x, high), low) written so that NaN becomes a number."""
    scaler = preprocessing.min_max_scaler
    honest = scaler.emit

    def swallowing(model, graph, x):
        y = honest(model, graph, x)
        zero = graph.constant("zero", np.zeros(x.shape))
        return graph.node("Mul", y, zero, shape=x.shape)

    monkeypatch.setattr(scaler, "emit", swallowing)
    refused(MinMaxScaler())


def test_a_wrong_shape(refused, monkeypatch):
    """One target as a column where `predict` gives a vector."""
    monkeypatch.setattr(GraphEmitter, "drop_column", lambda self, value: value)
    with pytest.raises(ExportMismatch, match=r"answers float32 \(1000, 1\) for 1000 rows"):
        to_onnx(Ridge().fit(np.eye(3), np.arange(3.0)))


def test_the_worst_row_is_reported(data, monkeypatch):
    X, Y = data
    change_constant(monkeypatch, "coef", lambda w: w * np.array([[1], [1], [1.01], [1], [1], [1]]))
    with pytest.raises(ExportMismatch) as raised:
        to_onnx(Ridge().fit(X, Y[:, 0]))
    message = str(raised.value)
    assert "sklearn.linear_model.Ridge" in message
    assert "nothing was written" in message
    for part in ("Worst is probe", "expected", "got", "difference", "bound", "input row ["):
        assert part in message
