"""Bad input: a clear error that names what is wrong, or the right answer."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import manyfit as mf
from manyfit.decomposition import PCA
from manyfit.linear_model import LinearRegression, Ridge
from manyfit.testing import all_estimators

ESTIMATORS = [LinearRegression(), Ridge(), LinearRegression(positive=True), Ridge(positive=True), PCA()]
REGRESSORS = [each for each in ESTIMATORS if not isinstance(each, PCA)]

rng = np.random.default_rng(0)
X = rng.standard_normal((40, 4))
Y = X @ [1.0, -2.0, 0.5, 3.0] + 0.1 * rng.standard_normal(40) + 7.0


def changed(array: Any, place: Any, value: Any) -> Any:
    copy = array.copy()
    copy[place] = value
    return copy


def at(pattern: str) -> str:
    return "(?is)" + pattern


# --- parameters ---


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (Ridge(alpha=-1.0), "Ridge: alpha must be >= 0, got -1.0"),
        (Ridge(alpha=np.float32(-0.5)), "Ridge: alpha must be >= 0"),
        (Ridge(alpha="strong"), "Ridge: alpha must be .* got 'strong'"),
        (Ridge(alpha=np.nan), "Ridge: alpha must be >= 0 and finite, got nan"),
        (Ridge(alpha=np.inf), "Ridge: alpha must be >= 0 and finite, got inf"),
        (Ridge(alpha=None), "Ridge: alpha must be .*None"),
        (Ridge(alpha=[1.0, 2.0]), "alpha must have one value or one for each target.*2 != 1"),
        (Ridge(solver="magic"), "Ridge: solver must be one of .*'cholesky'.* got 'magic'"),
        (Ridge(fit_intercept="yes"), "Ridge: fit_intercept must be .*'yes'"),
        (Ridge(max_iter=0), "Ridge: max_iter must be .*>= 1.* got 0"),
        (Ridge(tol=-1e-3), "Ridge: tol must be >= 0, got -0.001"),
        (Ridge(positive=1.5), "Ridge: positive must be .*1.5"),
        (Ridge(random_state="lucky"), "Ridge: random_state must be .*'lucky'"),
        (LinearRegression(tol=-1.0), "LinearRegression: tol must be >= 0, got -1.0"),
        (LinearRegression(fit_intercept=2), "LinearRegression: fit_intercept must be .*2"),
        (LinearRegression(n_jobs=0), "n_jobs must be None or an integer other than 0, got 0"),
        (LinearRegression(n_jobs=1.5), "n_jobs must be .*1.5"),
        (PCA(n_components=-2), "PCA: n_components must be .*>= 0.* got -2"),
        (PCA(n_components=9), r"PCA: n_components=9 must be between 0 and min\(n_samples, n_features\)=4"),
        (PCA(whiten="a bit"), "PCA: whiten must be .*'a bit'"),
        (PCA(svd_solver="qr"), "PCA: svd_solver must be one of .*'full'.* got 'qr'"),
        (PCA(iterated_power=-1), "PCA: iterated_power must be .*>= 0.* got -1"),
        (PCA(n_oversamples=0), "PCA: n_oversamples must be .*>= 1.* got 0"),
        (PCA(device="tpu"), "PCA: device must be one of .*'cpu', 'cuda'.* got 'tpu'"),
        (Ridge(device=0), "Ridge: device must be .*0"),
    ],
    ids=repr,
)
def test_parameters(estimator: Any, message: str) -> None:
    with pytest.raises(ValueError, match=at(message)):
        estimator.fit(X, Y)
    with pytest.raises(ValueError, match=at(message)):
        mf.fit_many(estimator, X, Y, cv=2)


@pytest.mark.parametrize("cls", all_estimators())
def test_cuda_without_a_build(cls: type[Any]) -> None:
    with pytest.raises(mf.DeviceError, match=r"device='cuda'.*no CUDA module.*use device='cpu'"):
        cls(device="cuda").fit(X, Y)


def test_unknown_parameters() -> None:
    with pytest.raises(TypeError, match="gamma"):
        Ridge(gamma=1.0)
    with pytest.raises(ValueError, match="Invalid parameter 'gamma' for estimator Ridge"):
        Ridge().set_params(gamma=1.0)


# --- X ---


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (changed(X, (3, 1), np.nan), "Input X contains NaN"),
        (changed(X, (39, 3), np.inf), "Input X contains infinity"),
        (changed(X, (0, 0), -np.inf), "Input X contains infinity"),
        (changed(X.astype(np.float32), (5, 2), np.nan), "Input X contains NaN"),
        (changed(X.astype(np.float16), (5, 2), np.nan), "Input X contains NaN"),
        (X[:0], r"Found array with 0 sample\(s\) \(shape=\(0, 4\)\)"),
        (X[:, :0], r"Found array with 0 feature\(s\) \(shape=\(40, 0\)\)"),
        (X[:, 0], "Expected 2D array, got 1D array"),
        (X[None], "Found array with dim 3"),
        (3.0, "Expected 2D array, got scalar"),
        ([], "Expected 2D array, got 1D array"),
        ([[1.0, 2.0], [3.0]], "inhomogeneous|setting an array element with a sequence"),
        (X + 1j, "Complex data not supported"),
        (np.full((40, 4), "red"), "could not convert string to float: .*red"),
        (np.full((40, 4), {"a": 1}, dtype=object), "float.* argument must be .*dict|dict"),
        (changed(X.astype(object), (2, 2), "n/a"), "could not convert string to float: 'n/a'"),
        (changed(X.astype(object), (2, 2), None), "NaN|NoneType"),
        (None, "Expected 2D array|NoneType|None"),
        ("text", "Expected 2D array|could not convert string"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_X(estimator: Any, bad: Any, message: str) -> None:
    y = Y[: len(bad)] if isinstance(bad, np.ndarray) and bad.ndim == 2 else Y
    with pytest.raises((ValueError, TypeError), match=at(message)):
        estimator.fit(bad, y)
    with pytest.raises((ValueError, TypeError)):
        mf.fit_many(estimator, bad, y, cv=2)
    with pytest.raises((ValueError, TypeError)):
        estimator.fit(mf.Dataset(bad, y))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_kinds_of_numbers(estimator: Any) -> None:
    whole = np.rint(3 * X)
    expected = {}
    for name, kind in (
        ("int64", whole.astype(np.int64)),
        ("int8", whole.astype(np.int8)),
        ("list", whole.tolist()),
        ("tuples", [tuple(row) for row in whole]),
        ("object", whole.astype(object)),
        ("float128", whole.astype(np.longdouble)),
        ("big-endian", whole.astype(">f8")),
        ("read-only", np.frombuffer(whole.tobytes()).reshape(whole.shape)),
        ("strided", np.repeat(np.repeat(whole, 2, axis=0), 3, axis=1)[::2, ::3]),
        ("matrix of ints", np.array(whole, dtype=np.int16, order="F")),
    ):
        model = estimator.fit(kind, Y.tolist())
        state = {key: np.copy(value) for key, value in vars(model).items() if key.endswith("_")}
        expected = expected or state
        for key, value in state.items():
            np.testing.assert_array_equal(value, expected[key], err_msg=f"{name}: {key}")
    half = estimator.fit(whole.astype(np.float16), Y)
    assert_allclose(
        np.abs(half.transform(whole) if isinstance(half, PCA) else half.predict(whole)).sum() > 0, True
    )
    flags = estimator.fit(whole > 0, Y)
    assert flags.n_features_in_ == 4
    with pytest.raises(TypeError, match="np.matrix is not supported"), warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        estimator.fit(np.matrix(whole), Y)


@pytest.mark.parametrize("estimator", REGRESSORS, ids=repr)
def test_one_row_and_one_feature(estimator: Any) -> None:
    one = estimator.fit(X[:1], Y[:1])
    assert_allclose(one.predict(X[:1]), Y[:1])
    assert_allclose(one.coef_, 0.0, atol=1e-12)
    thin = estimator.fit(np.abs(X[:, :1]), 3 * np.abs(X[:, 0]))
    assert thin.coef_.shape == (1,)
    assert 0 < thin.coef_[0] <= 3 + 1e-12
    both = estimator.fit([[2.0]], [5.0])
    assert_allclose(both.predict([[2.0], [3.0]]), 5.0)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numbers_out_of_range(estimator: Any, dtype: Any) -> None:
    """Squares that overflow or vanish end in an error or in numbers, never in NaN."""
    largest = float(np.finfo(dtype).max)
    for scale in (largest / 10, np.sqrt(largest) * 10, float(np.finfo(dtype).tiny), 1e-45, 0.0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scikit-learn's solvers
            try:
                model = estimator.fit((X * scale).astype(dtype), Y.astype(dtype))
            except ValueError as error:
                assert re.search("scale|small enough|too large", str(error)), error
                continue
        for name, value in vars(model).items():
            if name.endswith("_") and np.asarray(value).dtype.kind == "f":
                assert np.isfinite(value).all(), f"{name} at scale {scale}"


# --- y and weights ---


@pytest.mark.parametrize("estimator", REGRESSORS, ids=repr)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (None, "requires y to be passed, but the target y is None"),
        (Y[:-1], r"inconsistent numbers of samples: \[40, 39\]"),
        (np.append(Y, 1.0), r"inconsistent numbers of samples: \[40, 41\]"),
        (changed(Y, 3, np.nan), "Input y contains NaN"),
        (changed(Y, 39, np.inf), "Input y contains infinity"),
        (changed(Y.astype(np.float32), 3, np.nan), "Input y contains NaN"),
        (Y + 1j, "Complex data not supported"),
        (np.full(40, "red"), "could not convert string to float|unknown label|red"),
        (np.zeros((40, 2, 2)), "dim 3"),
        (Y[:0], "inconsistent numbers of samples|0 sample"),
        (3.0, "at least 1 dimension"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_y(estimator: Any, bad: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=at(message)):
        estimator.fit(X, bad)
    with pytest.raises((ValueError, TypeError)):
        mf.fit_many(estimator, X, bad, cv=2)


@pytest.mark.parametrize("estimator", REGRESSORS, ids=repr)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (changed(np.ones(40), 7, -0.5), "sample_weight must be >= 0, got -0.5 for sample 7"),
        (-2.0, "sample_weight must be >= 0, got -2"),
        (np.zeros(40), "sample_weight must not be all zero"),
        (0.0, "sample_weight must not be all zero"),
        (changed(np.ones(40), 7, np.nan), "sample_weight contains NaN"),
        (changed(np.ones(40), 7, np.inf), "sample_weight contains infinity"),
        (np.ones(39), r"sample_weight must have one value per sample \(40\), got 39"),
        (np.ones((40, 1)), "sample_weight must be a number or 1-dimensional, got 2D array"),
        (np.full(40, "heavy"), "heavy"),
        (np.ones(40) + 1j, "complex"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weights(estimator: Any, bad: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=at(message)):
        estimator.fit(X, Y, bad)
    with pytest.raises((ValueError, TypeError), match=at(message)):
        mf.fit_many(estimator, X, Y, cv=2, sample_weight=bad)


def test_weights_that_leave_a_split_empty() -> None:
    weights = np.ones(40)
    weights[20:] = 0.0  # the first of two folds trains on these rows
    for estimator in REGRESSORS:
        with pytest.raises(ValueError, match="cv: split 0 must train on rows of positive sample_weight"):
            mf.fit_many(estimator, X, Y, cv=2, sample_weight=weights)


# --- frames (what holds for every estimator is in the kit) ---


def test_frames_whose_columns_changed() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    for estimator in ESTIMATORS:
        model = estimator.fit(frame, Y)
        ask = model.transform if isinstance(model, PCA) else model.predict
        with pytest.raises(ValueError, match=at("feature names.*same order")):
            ask(frame[list("dcba")])
        with pytest.raises(ValueError, match=at("feature names seen at fit time, yet now missing:.*- b")):
            ask(frame[list("acd")])
        with pytest.raises(ValueError, match=at("feature names unseen at fit time:.*- e")):
            ask(frame.assign(e=1.0))


# --- size ---


def test_rows_more_than_2_31_elements_apart(tmp_path: Path) -> None:
    """Offsets are 64-bit: rows lie 2^31 elements and more apart, in a file with nothing between them."""
    rows, features, apart = 6, 2, (1 << 31) + 3
    try:
        memory = np.memmap(tmp_path / "sparse", np.float64, "w+", shape=(rows * apart,))
    except OSError as error:
        pytest.skip(f"no sparse files here: {error}")
    far = np.lib.stride_tricks.as_strided(memory, (rows, features), (8 * apart, 8))
    far[...] = X[:rows, :features]
    far = np.asarray(far)
    for estimator in ESTIMATORS:
        near = estimator.fit(X[:rows, :features], Y[:rows])
        expected = {name: np.copy(value) for name, value in vars(near).items() if name.endswith("_")}
        for name, value in vars(estimator.fit(far, Y[:rows])).items():
            if name.endswith("_"):
                np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_memory_limit(run_python: Any) -> None:
    """Two gibibytes of address space, and a table that needs more."""
    done = run_python(
        """
        import resource
        import numpy as np
        import manyfit as mf
        from manyfit.decomposition import PCA
        from manyfit.linear_model import LinearRegression, Ridge

        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        wide = np.lib.stride_tricks.sliding_window_view(np.random.default_rng(0).normal(size=60_000), 18_000)
        y = np.arange(len(wide), dtype=float)
        refused = 0
        for estimator in (LinearRegression(), Ridge(), Ridge(positive=True), PCA(3), PCA(svd_solver="full")):
            try:
                estimator.fit(wide, y)
            except MemoryError:
                refused += 1
        assert refused == 5, refused
        try:
            mf.fit_many(Ridge(), wide, y, cv=5)
        except MemoryError:
            refused += 1
        assert refused == 6
        small = np.random.default_rng(0).normal(size=(500, 20))
        for estimator in (LinearRegression(), Ridge(), PCA(3)):
            assert estimator.fit(small, small[:, 0]).fit_backend_ == "manyfit"
        print("still here")
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "still here\n"
