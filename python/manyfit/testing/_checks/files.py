"""Models leave: our own files, and ONNX."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import get_tags

from manyfit.persistence import load, save
from manyfit.testing._compare import assert_close, assert_same_bits, assert_same_model
from manyfit.testing._conditions import can_export, is_estimator
from manyfit.testing._data import Data, answers, fit, make_data
from manyfit.testing._kit import check


def _column(estimator: Any, data: Data) -> Data:
    """The same with `y` of one column where it may have several, which must not change what leaves."""
    if data.y is None or not get_tags(estimator).target_tags.multi_output:
        return data
    return Data(data.X, data.y.reshape(len(data.X), -1)[:, :1])


@check(is_estimator)
def check_save_and_load(estimator: Any) -> None:
    """A model file gives back the very model, and the same file again."""
    with tempfile.TemporaryDirectory() as folder:
        path, again = Path(folder, "model.safetensors"), Path(folder, "again.safetensors")
        for dtype in (np.float64, np.float32):
            data = make_data(estimator, dtype=dtype)
            model = fit(estimator, data)
            save(model, path)
            loaded = load(path, classes=[type(estimator)])
            assert type(loaded) is type(model)
            assert repr(loaded) == repr(model)
            assert_same_model(loaded, model, "loaded")
            assert_same_bits(answers(loaded, data.X), answers(model, data.X), "answers of the loaded model")
            save(loaded, again)
            assert again.read_bytes() == path.read_bytes(), "saving a loaded model gives another file"
        unfitted = estimator
        save(unfitted, path)
        assert repr(load(path, classes=[type(estimator)])) == repr(unfitted)


@check(is_estimator, can_export)
def check_onnx(estimator: Any) -> None:
    """The ONNX graph answers as the model does, in float32 and float64."""
    from onnxruntime import InferenceSession

    for n_samples, n_features in ((60, 5), (12, 30)):
        plain = make_data(estimator, n_samples, n_features)
        for data in (plain, _column(estimator, plain)):
            model = fit(estimator, data)
            for dtype, rtol in (("float32", 1e-4), ("float64", 1e-10)):
                graph = model.to_onnx(dtype=dtype, X=data.X)
                session = InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
                rows = data.X.astype(dtype)
                told = session.run(None, {session.get_inputs()[0].name: rows})
                expected = answers(model, rows.astype(np.float64))
                names = [output.name for output in session.get_outputs()]
                assert names, "the graph has no output"
                for name, answer in zip(names, told, strict=True):
                    native = expected[_METHODS[name]]
                    shapes = f"ONNX answers {name} of shape {answer.shape}, the model {native.shape}"
                    assert answer.shape == native.shape, shapes
                    if name == "label":
                        wrong = _wrong_labels(model, answer, native, expected, rtol)
                        assert not wrong, f"ONNX in {dtype}: {wrong} labels of {len(native)} differ"
                    else:
                        assert_close(
                            answer,
                            native,
                            f"ONNX in {dtype}: {name}",
                            rtol=rtol,
                            scale=float(name == "probabilities"),
                        )


# The outputs of a graph and the methods that they stand for.
_METHODS = {
    "predictions": "predict",
    "transformed": "transform",
    "label": "predict",
    "probabilities": "predict_proba",
    "scores": "decision_function",
}


def _wrong_labels(model: Any, told: Any, native: Any, expected: dict[str, Any], rtol: float) -> int:
    """Count the labels that differ, except where the two best classes are as good as equal."""
    classes = np.asarray(model.classes_)
    labels = told if classes.dtype.kind in "biu" else classes[told]
    scores = expected.get("predict_proba", expected.get("decision_function"))
    assert scores is not None
    if scores.ndim == 1:
        scores = np.column_stack([np.zeros_like(scores), scores])
    second, best = np.sort(scores, axis=1)[:, -2:].T
    clear = best - second > rtol * np.maximum(np.abs(best), 1.0)
    return int(np.count_nonzero((labels != native) & clear))
