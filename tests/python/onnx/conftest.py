"""Data, fitted models and a plain ONNX Runtime session for the ONNX tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import manyfit.decomposition
import manyfit.linear_model

N_FEATURES = 6

MODELS: dict[str, Callable[[], Any]] = {
    "own linear": manyfit.linear_model.LinearRegression,
    "own ridge": manyfit.linear_model.Ridge,
    "own pca, whitened": lambda: manyfit.decomposition.PCA(3, whiten=True),
    "own pipeline": lambda: make_pipeline(
        StandardScaler(), manyfit.decomposition.PCA(4), manyfit.linear_model.Ridge()
    ),
    "linear": LinearRegression,
    "linear, no intercept": lambda: LinearRegression(fit_intercept=False),
    "linear, positive": lambda: LinearRegression(positive=True),
    "ridge": lambda: Ridge(alpha=2.0),
    "ridge, no intercept": lambda: Ridge(fit_intercept=False),
    "ridge, positive": lambda: Ridge(positive=True),
    "pca": lambda: PCA(3),
    "pca, all components, whitened": lambda: PCA(whiten=True),
    "pca, one component": lambda: PCA(1),
    "standard scaler": StandardScaler,
    "standard scaler, no mean": lambda: StandardScaler(with_mean=False),
    "standard scaler, no std": lambda: StandardScaler(with_std=False),
    "standard scaler, neither": lambda: StandardScaler(with_mean=False, with_std=False),
    "min-max scaler": lambda: MinMaxScaler((-1, 2)),
    "min-max scaler, clipped": lambda: MinMaxScaler(clip=True),
    "pipeline": lambda: make_pipeline(StandardScaler(), PCA(4, whiten=True), Ridge()),
    "pipeline, nested": lambda: Pipeline(
        [
            ("nothing", "passthrough"),
            ("prepare", make_pipeline(MinMaxScaler(clip=True), PCA(1), "passthrough", StandardScaler())),
            ("model", LinearRegression()),
        ]
    ),
    "pipeline of transformers": lambda: make_pipeline(PCA(2), StandardScaler(), None),
}


@pytest.fixture(scope="session")
def data() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Rows of different location and scale per feature, and two targets."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(80, N_FEATURES)) * [1.0, 0.1, 20.0, 2.0, 1.0, 0.3] + [0.0, 1.0, -20.0, 5.0, 0.1, 0.0]
    Y = X @ rng.normal(size=(N_FEATURES, 2)) + [3.0, -7.0] + 0.1 * rng.normal(size=(80, 2))
    return X, Y


@pytest.fixture(scope="session")
def run() -> Callable[[onnx.ModelProto, npt.ArrayLike], npt.NDArray[Any]]:
    """Run a model's only output on ONNX Runtime as a user would, with its default options."""

    def run(model: onnx.ModelProto, rows: npt.ArrayLike) -> npt.NDArray[Any]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        (answer,) = session.run(None, {"X": rows})
        return answer

    return run


def native(model: Any, rows: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return what the model itself says, as float64."""
    method = model.predict if hasattr(model, "predict") else model.transform
    return np.asarray(method(rows), dtype=np.float64)


@pytest.fixture(name="native", scope="session")
def native_fixture() -> Callable[[Any, npt.ArrayLike], npt.NDArray[np.float64]]:
    """Give tests the native answers."""
    return native


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """Return the metadata entries without their prefix."""
    return {entry.key.removeprefix("manyfit."): entry.value for entry in model.metadata_props}


@pytest.fixture(name="metadata_of", scope="session")
def metadata_fixture() -> Callable[[onnx.ModelProto], dict[str, str]]:
    """Give tests the metadata of a model."""
    return metadata_of


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that takes `make_model` once per model above."""
    if "make_model" in metafunc.fixturenames:
        metafunc.parametrize("make_model", MODELS.values(), ids=MODELS.keys())
