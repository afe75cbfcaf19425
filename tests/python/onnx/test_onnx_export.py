"""`to_onnx`: what it exports, what it says about it, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from manyfit.exceptions import ExportMismatch
from manyfit.linear_model import Ridge as OwnRidge
from manyfit.onnx import to_onnx
from manyfit.onnx.registry import public_name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fitted_in", ["float32", "float64"])
def test_onnx_runtime_gives_the_native_answers(make_model, dtype, fitted_in, data, run, native):
    X, Y = (each.astype(fitted_in) for each in data)
    rows = np.resize(X, (1000, X.shape[1])).astype(dtype)
    tolerance = 1e-9 if (dtype, fitted_in) == ("float64", "float64") else 2e-4
    for y in (Y[:, 0], Y[:, :1], Y) if hasattr(make_model(), "predict") else (None,):
        model = make_model().fit(X, y)
        exported = to_onnx(model, dtype=dtype)
        expected = native(model, rows)
        for n in (0, 1, 7, 1000):
            answer = run(exported, rows[:n])
            assert answer.dtype == dtype
            assert answer.shape == expected[:n].shape
            np.testing.assert_allclose(answer, expected[:n], rtol=tolerance, atol=tolerance)


def test_the_graph_is_portable_and_named(make_model, data):
    X, Y = data
    model = make_model().fit(X, Y[:, 0])
    for profile in ("portable", "ml"):
        exported = to_onnx(model, profile=profile)
        assert exported.ir_version == 8
        assert [(opset.domain, opset.version) for opset in exported.opset_import] == [("", 18)]
        (x,) = exported.graph.input
        (y,) = exported.graph.output
        assert (x.name, x.type.tensor_type.shape.dim[0].dim_param) == ("X", "N")
        assert x.type.tensor_type.shape.dim[1].dim_value == X.shape[1]
        assert y.name == ("predictions" if hasattr(model, "predict") else "transformed")
        onnx.checker.check_model(exported, full_check=True)


def test_two_exports_are_the_same_bytes(make_model, data):
    X, Y = data
    model = make_model().fit(X, Y)
    assert to_onnx(model).SerializeToString() == to_onnx(model).SerializeToString()


def test_nan_passes_through_scalers_and_infinity_follows_the_arithmetic(data, run):
    X, _ = data
    rows = X[:5].astype(np.float32)
    rows[1, 2], rows[2, 3], rows[3, 0] = np.nan, np.inf, -np.inf
    scaled = run(to_onnx(StandardScaler().fit(X)), rows)
    assert np.isnan(scaled[1]).tolist() == [False, False, True, False, False, False]
    assert scaled[2, 3] == np.inf
    assert scaled[3, 0] == -np.inf
    clipped = run(to_onnx(MinMaxScaler(clip=True).fit(X)), rows)
    assert np.isnan(clipped[1, 2])
    assert (clipped[2, 3], clipped[3, 0]) == (1.0, 0.0)


def test_metadata(data, metadata_of, tmp_path):
    X, Y = data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = Pipeline([("scale", StandardScaler()), ("model", Ridge())]).fit(frame, Y)
    said = metadata_of(to_onnx(model, tmp_path / "model.onnx", dtype="float64"))
    assert said["estimator"] == "sklearn.pipeline.Pipeline"
    assert json.loads(said["steps"]) == [
        ["scale", "sklearn.preprocessing.StandardScaler"],
        ["model", "sklearn.linear_model.Ridge"],
    ]
    assert (said["profile"], said["dtype"], said["n_features"]) == ("portable", "float64", "6")
    assert json.loads(said["features"]) == {"dtype": "float64", "names": list("abcdef")}
    assert json.loads(said["outputs"]) == [{"name": "predictions", "dtype": "float64", "shape": ["N", 2]}]
    verification = json.loads(said["verification"])
    assert 0 < verification["max_error_bound"] < 1e-9
    assert 0 <= verification["max_error"] <= verification["max_error_bound"]
    assert verification["worst_ratio"] <= 1
    assert verification["probe_rows"] == 1000
    assert verification["undecided_rows"] < 20
    assert {"onnx", "onnxruntime", "python"} <= verification["runtimes"].keys()
    assert list(said)[-1] == "checksum"


def test_golden_rows_stay_small_for_wide_models(metadata_of):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 3000))
    exported = to_onnx(Ridge().fit(X, X[:, 0]))
    golden = metadata_of(exported)["golden"]
    assert len(json.loads(golden)["kinds"]) == 4
    assert exported.ByteSize() < 120_000


def test_the_users_rows_become_probes(data, metadata_of):
    X, Y = data
    model = Ridge().fit(X, Y)
    mine = metadata_of(to_onnx(model, X=X[:40]))
    builtin = metadata_of(to_onnx(model))
    assert mine["golden"] != builtin["golden"]
    # Rows with NaN are no ground for complaint: they are left out.
    to_onnx(model, X=np.where(np.arange(80)[:, None] == 3, np.nan, X))
    to_onnx(model, X=X[:1].tolist())
    to_onnx(model, X=X[:0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((5, 3)), r"X must have shape \(n_samples, 6\), got \(5, 3\)"),
        (np.zeros(6), r"X must have shape \(n_samples, 6\), got \(6,\)"),
        ([["a"] * 6], "X must be a dense numeric matrix, got list"),
    ],
)
def test_bad_user_rows(rows, message, data):
    X, Y = data
    with pytest.raises(ValueError, match=message):
        to_onnx(Ridge().fit(X, Y), X=rows)


def test_user_rows_in_another_column_order(data):
    X, Y = data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = Ridge().fit(frame, Y)
    to_onnx(model, X=frame)
    with pytest.raises(ValueError, match="X must have the columns"):
        to_onnx(model, X=frame[list("fedcba")])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"profile": "tensorrt"}, r"profile must be one of \['ml', 'portable'\], got 'tensorrt'"),
        ({"profile": None}, "profile must be one of"),
        ({"dtype": "float16"}, r"dtype must be one of \['float32', 'float64'\], got 'float16'"),
        ({"dtype": np.float32}, "dtype must be one of"),
    ],
)
def test_bad_parameters(parameters, message, data):
    X, Y = data
    with pytest.raises(ValueError, match=message):
        to_onnx(Ridge().fit(X, Y), **parameters)


def test_unfitted_models(make_model):
    with pytest.raises(NotFittedError):
        to_onnx(make_model())


def test_what_has_no_converter_is_named(data):
    X, Y = data
    with pytest.raises(
        TypeError, match=r"RandomForestRegressor has no ONNX converter; convertible are .*Ridge"
    ):
        to_onnx(RandomForestRegressor(1).fit(X, Y))
    model = Pipeline([("prepare", make_pipeline(PCA(2), RobustScaler())), ("model", Ridge())]).fit(X, Y)
    with pytest.raises(
        TypeError, match=r"pipeline step 'prepare\.robustscaler' \(RobustScaler\) has no ONNX"
    ):
        to_onnx(model)
    parts = Pipeline([("first", Ridge().fit(X, Y)), ("second", Ridge().fit(X, Y))])
    with pytest.raises(TypeError, match=r"pipeline step 'first' \(Ridge\) is not a transformer"):
        to_onnx(parts)
    with pytest.raises(TypeError, match="int has no ONNX converter"):
        to_onnx(3)
    with pytest.raises(ValueError, match="holds nothing to convert"):
        to_onnx(Pipeline([("nothing", "passthrough")]).fit(X))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.coef_.__setitem__(0, np.nan), "the fitted coef holds NaN or infinity"),
        (lambda model: model.coef_.__setitem__(0, 1e39), "coef holds a value outside the range of float32"),
    ],
)
def test_numbers_that_the_graph_cannot_hold(change, message, data):
    X, Y = data
    model = Ridge().fit(X, Y[:, 0])
    change(model)
    with pytest.raises(ValueError, match=message):
        to_onnx(model)


def test_a_divisor_that_would_underflow(data):
    X, _ = data
    scaler = StandardScaler().fit(X * 1e-42)
    with pytest.raises(
        ValueError, match="scale holds a value outside the range of float32; export with dtype"
    ):
        to_onnx(scaler)
    to_onnx(scaler, dtype="float64")


def test_extreme_but_exportable_models():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(50, 4))
    y = X @ [1.0, 2.0, 3.0, 4.0]
    for scale in (1e-30, 1e-12, 1e12, 1e30):
        to_onnx(Ridge(1e-3 * scale**2).fit(X * scale, y))
        to_onnx(make_pipeline(StandardScaler(), PCA(2), MinMaxScaler()).fit(X * scale))
    to_onnx(Ridge().fit(X + 1e8, y))
    to_onnx(PCA(2, whiten=True).fit(X + 1e8), dtype="float64")
    to_onnx(LinearRegression().fit(np.ones((5, 3)), np.ones(5)))
    to_onnx(PCA(1).fit(X[:, :1]), dtype="float64")


def test_a_step_that_overflows_before_the_next(data):
    """The later step refuses infinity; what the graph computes there is still checked by the formula."""
    X, Y = (each.astype(np.float32) for each in data)
    model = make_pipeline(MinMaxScaler(), PCA(2), Ridge()).fit(X * np.float32(1e-3), Y)
    for dtype in ("float32", "float64"):
        to_onnx(model, dtype=dtype)


def test_a_model_of_which_nothing_can_be_compared(data, tmp_path):
    X, Y = data
    model = Ridge().fit(X, Y[:, 0])
    model.coef_, model.intercept_ = np.full(6, 2e38), 3e38
    with pytest.raises(ExportMismatch, match="no probe could be compared"):
        to_onnx(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
    to_onnx(model, dtype="float64")


def test_a_scalar_beside_a_product_keeps_its_digits(data, run, native):
    """ONNX Runtime folds a scalar factor beside MatMul into a float32; the graph must give no occasion."""
    X, _ = data
    one = X[:, :1]
    for model in (
        make_pipeline(PCA(1), StandardScaler(), MinMaxScaler()).fit(X),
        make_pipeline(StandardScaler(), PCA(1), MinMaxScaler()).fit(one),
    ):
        rows = X if model.n_features_in_ > 1 else one
        exported = to_onnx(model, dtype="float64")
        np.testing.assert_allclose(run(exported, rows), native(model, rows), rtol=1e-13, atol=1e-13)


def test_a_subclass_that_answers_otherwise_is_not_exported(data, tmp_path):
    X, Y = data

    class Rounded(Ridge):
        def predict(self, X):
            return np.round(super().predict(X), 2)

    path = tmp_path / "model.onnx"
    with pytest.raises(ExportMismatch, match="ONNX Runtime and the native model disagree"):
        to_onnx(Rounded().fit(X, Y), path)
    assert not path.exists()


def test_the_estimators_own_method(data, tmp_path, metadata_of):
    X, Y = data
    model = OwnRidge().fit(X, Y)
    path = tmp_path / "model.onnx"
    exported = model.to_onnx(path, dtype="float64", X=X)
    assert path.read_bytes() == exported.SerializeToString()
    said = metadata_of(exported)
    assert (said["estimator"], said["dtype"]) == ("manyfit.linear_model.Ridge", "float64")


def test_a_subclass_that_answers_alike_is_exported(data):
    X, Y = data

    class Mine(Ridge):
        pass

    to_onnx(Mine().fit(X, Y))
    assert public_name(Ridge) == "sklearn.linear_model.Ridge"


def test_transformers_that_return_frames(data):
    X, Y = data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = make_pipeline(StandardScaler(), PCA(2)).set_output(transform="pandas").fit(frame)
    to_onnx(model)
    to_onnx(make_pipeline(StandardScaler().set_output(transform="pandas"), Ridge()).fit(frame, Y))


def test_a_file_is_old_or_new_never_torn(data, tmp_path, monkeypatch):
    X, Y = data
    path = tmp_path / "model.onnx"
    exported = to_onnx(Ridge().fit(X, Y), path)
    old = path.read_bytes()
    assert old == exported.SerializeToString()

    def fail(descriptor):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            to_onnx(Ridge(5.0).fit(X, Y), path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["model.onnx"]
    with pytest.raises(FileNotFoundError):
        to_onnx(Ridge().fit(X, Y), tmp_path / "missing" / "model.onnx")


def test_export_changes_neither_the_model_nor_the_process(data):
    X, Y = data
    model = make_pipeline(StandardScaler(), Ridge()).fit(X, Y)
    before = {name: np.array(value) for name, value in vars(model[-1]).items() if name.endswith("_")}
    np.random.seed(5)  # noqa: NPY002  # the global generator is what must not be touched
    errors, environment = np.geterr(), os.environ.copy()
    to_onnx(model)
    drawn = np.random.random()  # noqa: NPY002
    assert drawn == np.random.RandomState(5).random_sample()
    assert (np.geterr(), os.environ) == (errors, environment)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(model[-1], name), value)


def test_importing_is_light():
    """Neither ONNX Runtime nor skl2onnx is imported before it is needed."""
    code = (
        "import sys, manyfit.onnx, manyfit.onnx.skl2onnx_hooks\n"
        "assert not {'onnxruntime', 'skl2onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
