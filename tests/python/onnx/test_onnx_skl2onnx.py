"""Estimators with the three duck-typed methods convert inside pipelines that skl2onnx converts."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

import manyfit.decomposition
import manyfit.linear_model
from manyfit.onnx import skl2onnx_hooks

skl2onnx = pytest.importorskip("skl2onnx")
from skl2onnx.common.data_types import (  # noqa: E402
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
)

INPUTS = {"float32": FloatTensorType, "float64": DoubleTensorType, "int64": Int64TensorType}


class Hooks:
    def onnx_parser(self):
        return skl2onnx_hooks.onnx_parser(self)

    def onnx_shape_calculator(self):
        return skl2onnx_hooks.onnx_shape_calculator(self)

    def onnx_converter(self):
        return skl2onnx_hooks.onnx_converter(self)


class OwnRidge(Hooks, Ridge):
    pass


class OwnPCA(Hooks, PCA):
    pass


class OwnLogistic(Hooks, LogisticRegression):
    pass


class OwnSGD(Hooks, SGDClassifier):
    pass


MODELS = {
    "alone": OwnRidge,
    "pipeline": lambda: make_pipeline(StandardScaler(), OwnPCA(3, whiten=True), OwnRidge()),
    "columns": lambda: make_pipeline(
        ColumnTransformer([("pca", OwnPCA(2), [0, 1, 2]), ("scale", StandardScaler(), [3, 4, 5])]), OwnRidge()
    ),
    "union": lambda: make_pipeline(
        FeatureUnion([("pca", OwnPCA(2)), ("scale", StandardScaler())]), OwnRidge()
    ),
    "own": lambda: make_pipeline(
        StandardScaler(), manyfit.decomposition.PCA(3, whiten=True), manyfit.linear_model.Ridge()
    ),
    "transformers": lambda: make_pipeline(StandardScaler(), OwnPCA(2)),
}


def run(exported, feed):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        exported.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feed)[0]


@pytest.mark.parametrize("dtype", INPUTS)
@pytest.mark.parametrize("make_own", MODELS.values(), ids=MODELS.keys())
def test_pipelines_convert(make_own, dtype, data, native):
    X, Y = data
    rows = (X * 3).astype(dtype)
    for y in (Y[:, 0], Y):
        model = make_own().fit(X, y)
        exported = skl2onnx.to_onnx(model, initial_types=[("X", INPUTS[dtype]([None, 6]))], target_opset=18)
        expected = native(model, rows.astype(np.float64))
        expected = expected[:, None] if expected.ndim == 1 else expected
        tolerance = 1e-9 if dtype == "float64" else 1e-3
        for n in (1, len(rows)):
            answer = run(exported, {"X": rows[:n]})
            assert answer.dtype == (np.float64 if dtype == "float64" else np.float32)
            np.testing.assert_allclose(answer, expected[:n], rtol=tolerance, atol=tolerance)
        declared = exported.graph.output[0].type.tensor_type.shape.dim[1].dim_value
        assert declared == expected.shape[1]


def test_one_input_per_column(data, native):
    X, Y = data
    model = OwnRidge().fit(X, Y)
    types = [(name, FloatTensorType([None, 1])) for name in "abcdef"]
    exported = skl2onnx.to_onnx(model, initial_types=types)
    rows = X.astype(np.float32)
    answer = run(exported, {name: rows[:, j : j + 1] for j, name in enumerate("abcdef")})
    np.testing.assert_allclose(answer, native(model, rows), rtol=1e-3, atol=1e-3)


CLASSIFIERS = {
    "logistic": lambda: OwnLogistic(max_iter=20),
    "one against the rest": lambda: OwnSGD(loss="log_loss", random_state=0),
    "scores": lambda: OwnSGD(random_state=0),
    "pipeline": lambda: make_pipeline(StandardScaler(), OwnPCA(3), OwnLogistic()),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("make_own", CLASSIFIERS.values(), ids=CLASSIFIERS.keys())
def test_classifiers_convert(make_own, opset, data):
    X, Y = data
    rows = X.astype(np.float32)
    codes = np.digitize(Y[:, 0], np.quantile(Y[:, 0], [0.3, 0.7]))
    for y in (codes + 5, codes > 1, np.array(["a", "b", "c"])[codes]):
        model = make_own().fit(X, y)
        types = [("X", FloatTensorType([None, 6]))]
        exported = skl2onnx.to_onnx(model, initial_types=types, target_opset=opset)
        session = onnxruntime.InferenceSession(
            exported.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        label, second = session.run(None, {"X": rows})
        assert label.dtype == np.int64
        named = model.classes_[label] if y.dtype.kind == "U" else label
        np.testing.assert_array_equal(named, model.predict(rows))
        name = "predict_proba" if hasattr(model, "predict_proba") else "decision_function"
        expected = getattr(model, name)(rows)
        expected = expected[:, None] if expected.ndim == 1 else expected
        np.testing.assert_allclose(second, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_refusals(data):
    X, Y = data
    model = OwnRidge().fit(X, Y)
    with pytest.raises(ValueError, match="OwnRidge: fitted on 6 features, the ONNX input has 5"):
        skl2onnx.to_onnx(model, initial_types=[("X", FloatTensorType([None, 5]))])
    with pytest.raises(RuntimeError, match="OwnRidge: target_opset must be >= 13, got 12"):
        skl2onnx.to_onnx(model, X[:1].astype(np.float32), target_opset=12)
