"""Bad input: a clear error that names what is wrong, or the right answer."""

from __future__ import annotations

import copy
import re
import sys
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import linear_model
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

import manyfit as mf
from manyfit.decomposition import PCA
from manyfit.linear_model import (
    ElasticNet,
    ElasticNetCV,
    GradientDescentRegressor,
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
)
from manyfit.testing import all_estimators
from manyfit.testing._compare import bits
from manyfit.testing._data import seeded
from manyfit.testing._discovery import all_instances

ESTIMATORS = [*all_instances(), LinearRegression(positive=True), Ridge(positive=True)]
REGRESSORS = [each for each in ESTIMATORS if is_regressor(each)]
CLASSIFIERS = [each for each in ESTIMATORS if is_classifier(each)]
WEIGHTED = [each for each in REGRESSORS + CLASSIFIERS if has_fit_parameter(each, "sample_weight")]
# What they do is settled by X and y alone, whatever their scale.
EXACT = [LinearRegression(), Ridge(), LinearRegression(positive=True), Ridge(positive=True)]

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:The least populated class in y:UserWarning"
)

rng = np.random.default_rng(0)
X = rng.standard_normal((40, 4))
Y = X @ [1.0, -2.0, 0.5, 3.0] + 0.1 * rng.standard_normal(40) + 7.0


def target(estimator: Any) -> Any:
    """Y in the form that suits an estimator."""
    if is_classifier(estimator):
        return np.where(Y > 7.0, "high", "low")
    return suited(estimator, np.exp(Y / 8) if isinstance(estimator, PoissonRegressor) else Y)


def suited(estimator: Any, y: Any) -> Any:
    """A target of one dimension twice, for an estimator that takes several alone."""
    tags = get_tags(estimator).target_tags
    several = tags.multi_output and not tags.single_output
    return np.column_stack([y, y]) if several and np.ndim(y) == 1 else y


def answer(model: Any, rows: Any) -> Any:
    return model.predict(rows) if hasattr(model, "predict") else model.transform(rows)


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
        (PCA(device="tpu"), "PCA: device must be .*'cpu', 'cuda' or 'cuda:N'.* got 'tpu'"),
        (Ridge(device="cuda:"), "Ridge: device must be 'cpu', 'cuda' or 'cuda:N', got 'cuda:'"),
        (Ridge(device="cuda:-1"), "Ridge: device must be 'cpu', 'cuda' or 'cuda:N', got 'cuda:-1'"),
        (Ridge(device=0), "Ridge: device must be 'cpu', 'cuda' or 'cuda:N', got 0"),
        (Ridge(device=0), "Ridge: device must be .*0"),
        (ElasticNet(l1_ratio=1.5), r"ElasticNet: l1_ratio must be in \[0, 1\], got 1.5"),
        (ElasticNet(l1_ratio=-0.1), r"ElasticNet: l1_ratio must be in \[0, 1\], got -0.1"),
        (ElasticNet(l1_ratio=np.nan), r"ElasticNet: l1_ratio must be in \[0, 1\].* got nan"),
        (ElasticNetCV(l1_ratio=[0.5, 1.5]), "ElasticNetCV: l1_ratio must .*1.5"),
        (Lasso(alpha=-1.0), "Lasso: alpha must be >= 0, got -1.0"),
        (Lasso(alpha=np.inf), "Lasso: alpha must be >= 0 and finite, got inf"),
        (Lasso(max_iter=0), "Lasso: max_iter must be an integer >= 1, got 0"),
        (LassoCV(alphas=[-1.0]), r"LassoCV: alphas\[0\].*-1"),
        (LassoCV(alphas=[1.0, np.nan]), r"LassoCV: alphas\[1\] must be finite, got nan"),
        (RidgeCV(alphas=[1.0, np.nan]), "RidgeCV: alphas .*nan"),
        (RidgeCV(alphas=[1.0, -1.0]), "RidgeCV: alphas.*-1"),
        (RidgeCV(alphas=[np.inf]), "RidgeCV: alphas.*inf"),
        (RidgeCV(alphas=[]), "RidgeCV: alphas.*"),
        (PoissonRegressor(alpha=np.nan), "PoissonRegressor: alpha must be >= 0 and finite, got nan"),
        (SGDRegressor(l1_ratio=2.0), r"SGDRegressor: l1_ratio must be .*\[0, 1\].* got 2.0"),
        (SGDRegressor(eta0=0.0), "SGDRegressor: eta0 must be > 0, got 0.0"),
        (
            GradientDescentRegressor(momentum=1.0),
            r"GradientDescentRegressor: momentum must be in \[0, 1\), got 1.0",
        ),
        (
            GradientDescentRegressor(max_iter=0),
            "GradientDescentRegressor: max_iter must be an integer >= 1, got 0",
        ),
        (
            GradientDescentRegressor(coef_init=[np.nan] * 4),
            "GradientDescentRegressor: coef_init must be finite",
        ),
        (LogisticRegression(C=0.0), "LogisticRegression: C must be > 0, got 0.0"),
        (LogisticRegression(C=-np.inf), "LogisticRegression: C must be > 0.*got -inf"),
        (LogisticRegression(l1_ratio=2.0), r"LogisticRegression: l1_ratio must be .*\[0, 1\].* got 2.0"),
        (LogisticRegression(max_iter=-1), "LogisticRegression: max_iter must be .*>= 0.* got -1"),
        (LogisticRegression(class_weight="heavy"), "LogisticRegression: class_weight must be .*'heavy'"),
        (SGDClassifier(alpha=0.0), "SGDClassifier: alpha must be > 0 .*'optimal'"),
        (SGDClassifier(max_iter=0), "SGDClassifier: max_iter must be an integer >= 1, got 0"),
        (SGDClassifier(loss="absolute"), "SGDClassifier: loss must be one of .*'hinge'.* got 'absolute'"),
        (Perceptron(penalty="l3"), "Perceptron: penalty must be .*'l3'"),
        (RidgeClassifierCV(alphas=[0.0, -2.0], cv=2), "RidgeClassifierCV: alphas.*-2"),
    ],
    ids=repr,
)
def test_parameters(estimator: Any, message: str) -> None:
    y = target(estimator)
    with pytest.raises(ValueError, match=at(message)):
        estimator.fit(X, y)
    with pytest.raises(ValueError, match=at(message)):
        mf.fit_many(estimator, X, y, cv=2)


@pytest.fixture
def no_cuda_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "manyfit._cuda", None)
    monkeypatch.delattr(mf, "_cuda", raising=False)


@pytest.mark.usefixtures("no_cuda_module")
@pytest.mark.parametrize("cls", all_estimators())
def test_cuda_without_a_build(cls: type[Any]) -> None:
    message = r"device='cuda'.*no CUDA module \(.+\).*MANYFIT_CUDA=ON.*use device='cpu'"
    if "cuda" not in cls._devices:
        message = f"{cls.__name__}: device='cuda': no step of {cls.__name__} has a CUDA kernel; device='cpu'"
    with pytest.raises(mf.DeviceError, match=message):
        cls(device="cuda").fit(X, Y)


class OnDevice:
    """An array that says it lies on a GPU."""

    __cuda_array_interface__: ClassVar[dict[str, Any]] = {
        "version": 3,
        "shape": (60, 3),
        "typestr": "<f8",
        "data": (1 << 20, False),
    }


@pytest.mark.parametrize("cls", all_estimators())
def test_array_on_a_device_for_the_cpu(cls: type[Any]) -> None:
    with pytest.raises(TypeError, match=f"{cls.__name__}: X lies on a device .*device is 'cpu'"):
        cls().fit(OnDevice(), Y)


@pytest.mark.usefixtures("no_cuda_module")
def test_array_on_a_device_without_a_build() -> None:
    with pytest.raises(mf.DeviceError, match=r"X lies on a device: this build of manyfit has no CUDA module"):
        mf.fit_many(Ridge(), OnDevice(), Y)


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
    y = target(estimator)
    y = y[: len(bad)] if isinstance(bad, np.ndarray) and bad.ndim == 2 else y
    with pytest.raises((ValueError, TypeError), match=at(message)):
        estimator.fit(bad, y)
    with pytest.raises((ValueError, TypeError)):
        mf.fit_many(estimator, bad, y, cv=2)
    with pytest.raises((ValueError, TypeError)):
        estimator.fit(mf.Dataset(bad, y))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_kinds_of_numbers(estimator: Any) -> None:
    estimator = seeded(estimator)
    whole = np.rint(3 * X)
    y = target(estimator)
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
        model = estimator.fit(kind, y.tolist())
        state = {key: copy.copy(value) for key, value in vars(model).items() if key.endswith("_")}
        expected = expected or state
        for key, value in state.items():
            assert bits(value) == bits(expected[key]), f"{name}: {key}"
    assert len(answer(estimator.fit(whole.astype(np.float16), y), whole)) == 40
    flags = estimator.fit(whole > 0, y)
    assert flags.n_features_in_ == 4
    with pytest.raises(TypeError, match="np.matrix is not supported"), warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        estimator.fit(np.matrix(whole), y)


@pytest.mark.parametrize("estimator", EXACT, ids=repr)
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
    y = target(estimator)
    y = y if is_classifier(estimator) else y.astype(dtype)
    for scale in (largest / 10, np.sqrt(largest) * 10, float(np.finfo(dtype).tiny), 1e-45, 0.0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scikit-learn's solvers
            try:
                model = seeded(estimator).fit((X * scale).astype(dtype), y)
            except ValueError as error:
                assert re.search("(?i)scale|scaling|small enough|too large", str(error)), error
                continue
        for name, value in vars(model).items():
            if name.endswith("_") and np.asarray(value).dtype.kind == "f":
                assert np.isfinite(value).all(), f"{name} at scale {scale}"


def test_columns_of_extreme_scales_together() -> None:
    """Columns of 1e-12 and of 1e12: the minimum itself, checked on scaled columns, or scikit-learn's answer."""
    scales = np.array([1e-12, 1.0, 1e12, 1e-3])
    wide = X * scales
    for alpha in (1e-26, 1e-6, 1.0, 1e20):
        # With v = w * scales: least squares on X, whose columns are alike, and rows of sqrt(alpha) / scales.
        centred = X - X.mean(axis=0)
        rows = np.vstack([centred, np.diag(np.sqrt(alpha) / scales)])
        size = np.linalg.norm(rows, axis=0)
        q, r = np.linalg.qr(rows / size)
        v = np.linalg.solve(r, q.T @ np.concatenate([Y - Y.mean(), np.zeros(4)])) / size
        expected = centred @ v + Y.mean()
        for estimator in (Ridge(alpha=alpha), RidgeCV(alphas=[alpha])):
            assert_allclose(estimator.fit(wide, Y).predict(wide), expected, rtol=1e-6, err_msg=f"{estimator}")
    theirs = linear_model.LinearRegression().fit(wide, Y).predict(wide)
    assert_allclose(LinearRegression().fit(wide, Y).predict(wide), theirs, rtol=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_extreme_scales_leave_answers_finite(estimator: Any) -> None:
    scales = np.array([1e-12, 1.0, 1e12, 1e-3])
    for rows in (X * scales, X[:, ::-1] * scales, (X + 3.0) * scales):
        try:
            model = seeded(estimator).fit(rows, target(estimator))
        except ValueError as error:
            assert type(estimator).__name__ in str(error)
            assert re.search("(?i)scale|scaling", str(error)), error
            continue
        told = answer(model, rows)
        if told.dtype.kind == "f":
            assert np.isfinite(told).all()
        else:
            assert set(told) <= {"high", "low"}


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
        seeded(estimator).fit(X, suited(estimator, bad))
    with pytest.raises((ValueError, TypeError)):
        mf.fit_many(estimator, X, suited(estimator, bad), cv=2)


@pytest.mark.parametrize("estimator", WEIGHTED, ids=repr)
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
        estimator.fit(X, target(estimator), sample_weight=bad)
    with pytest.raises((ValueError, TypeError), match=at(message)):
        mf.fit_many(estimator, X, target(estimator), cv=2, sample_weight=bad)


def test_weights_that_leave_a_split_empty() -> None:
    weights = np.ones(40)
    weights[20:] = 0.0  # the first of two folds trains on these rows
    folds = [(np.arange(20, 40), np.arange(20)), (np.arange(20), np.arange(20, 40))]
    for estimator in WEIGHTED:
        with pytest.raises(ValueError, match="cv: split 0 must train on rows of positive sample_weight"):
            mf.fit_many(estimator, X, target(estimator), cv=folds, sample_weight=weights)


# --- frames (what holds for every estimator is in the kit) ---


def test_frames_whose_columns_changed() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    for estimator in ESTIMATORS:
        model = estimator.fit(frame, target(estimator))
        ask = model.predict if hasattr(model, "predict") else model.transform
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
    for estimator in map(seeded, ESTIMATORS):
        y = suited(estimator, Y[:rows])
        if not is_regressor(estimator):
            y = np.array(["ant", "bee", "ant", "bee", "bee", "ant"])
        near = estimator.fit(X[:rows, :features], y)
        expected = {name: copy.copy(value) for name, value in vars(near).items() if name.endswith("_")}
        for name, value in vars(estimator.fit(far, y)).items():
            if name.endswith("_"):
                assert bits(value) == bits(expected[name]), name


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
