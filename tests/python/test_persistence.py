"""save and load: what comes back is what went in, bit for bit, and nothing else is accepted."""

from __future__ import annotations

import enum
import functools
import math
import struct
import tracemalloc
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import sklearn
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from sklearn.linear_model import Ridge as SklearnRidge

import manyfit as mf
from manyfit.base import Estimator
from manyfit.decomposition import PCA
from manyfit.exceptions import ModelFormatError
from manyfit.linear_model import LinearRegression, Ridge

REAL_DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]


class Box(Estimator):
    """An estimator of a user: any parameter, any fitted attribute."""

    n_iter_ = None

    def __init__(self, content: Any = None) -> None:
        self.content = content

    @functools.cached_property
    def derived(self) -> object:
        return object()


class Strict(Box):
    """Says what its fitted attributes must look like."""

    def _check_loaded(self) -> None:
        if self.coef_.shape != (self.n_features_in_,):
            raise ValueError("coef_ must have n_features_in_ elements")


def data(dtype: str = "f8", n_features: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    X = rng.normal(size=(40, n_features)).astype(dtype)
    return X, (X @ rng.normal(size=n_features) + 1).astype(dtype)


def round_trip(value: Any, folder: Path) -> Any:
    """Send `value` through a file, as a parameter and as a fitted attribute."""
    box = Box(value)
    box.value_ = value
    path = folder / "box.safetensors"
    mf.save(box, path)
    loaded = mf.load(path, classes=[Box])
    assert_same(loaded.content, loaded.value_)
    mf.save(loaded, folder / "again.safetensors")
    assert (folder / "again.safetensors").read_bytes() == path.read_bytes()
    return loaded.value_


def assert_same(left: Any, right: Any) -> None:
    """Same type, same structure, same bits."""
    assert type(left) is type(right)
    if isinstance(left, np.ndarray):
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        assert left.tolist() == right.tolist() if left.dtype == object else left.tobytes() == right.tobytes()
    elif isinstance(left, np.generic):
        assert left.dtype == right.dtype
        assert left.tobytes() == right.tobytes()
    elif isinstance(left, float):
        assert struct.pack("d", left) == struct.pack("d", right)
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif isinstance(left, dict):
        assert_same(list(left.items()), list(right.items()))
    else:
        assert left == right


def assert_same_model(left: Estimator, right: Estimator) -> None:
    assert type(left) is type(right)
    assert_same(dict(sorted(vars(left).items())), dict(sorted(vars(right).items())))


# Estimators


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    "est",
    [Ridge(alpha=2.5), LinearRegression(fit_intercept=False), PCA(3, whiten=True), PCA(0.9)],
    ids=repr,
)
def test_fitted_estimator(est: Estimator, dtype: str, tmp_path: Path) -> None:
    X, y = data(dtype)
    est.fit(X, y)
    mf.save(est, tmp_path / "model.safetensors")
    loaded = mf.load(tmp_path / "model.safetensors")
    assert_same_model(loaded, est)
    method = "predict" if hasattr(est, "predict") else "transform"
    assert_same(getattr(loaded, method)(X), getattr(est, method)(X))


def test_unfitted_estimator(tmp_path: Path) -> None:
    mf.save(Ridge(alpha=3.0, solver="svd"), str(tmp_path / "ridge.safetensors"))
    assert_same_model(mf.load(str(tmp_path / "ridge.safetensors")), Ridge(alpha=3.0, solver="svd"))


def test_several_targets_and_alphas(tmp_path: Path) -> None:
    X, y = data()
    est = Ridge(alpha=np.array([0.5, 2.0])).fit(X, np.column_stack([y, -y]))
    mf.save(est, tmp_path / "ridge.safetensors")
    assert_same_model(mf.load(tmp_path / "ridge.safetensors"), est)


def test_feature_names_and_set_output(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    X, _ = data()
    frame = pandas.DataFrame(X, columns=["a", "", "ünïcode", "\U0001f333", "e e", "f\n"])
    est = PCA(2).set_output(transform="pandas").fit(frame)
    mf.save(est, tmp_path / "pca.safetensors")
    loaded = mf.load(tmp_path / "pca.safetensors")
    assert loaded.feature_names_in_.tolist() == list(frame.columns)
    pandas.testing.assert_frame_equal(loaded.transform(frame), est.transform(frame), check_exact=True)


def test_nested_estimators(tmp_path: Path) -> None:
    X, y = data()
    inner = Ridge().fit(X, y)
    loaded = round_trip_box(Box([("ridge", inner), ("box", Box({"deep": PCA(2).fit(X)}))]), tmp_path)
    assert_same_model(loaded.content[0][1], inner)
    assert_same_model(loaded.content[1][1].content["deep"], PCA(2).fit(X))


def round_trip_box(box: Box, folder: Path) -> Any:
    mf.save(box, folder / "box.safetensors")
    return mf.load(folder / "box.safetensors", classes=[Box])


def test_metadata_request(tmp_path: Path) -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        est = Ridge().set_fit_request(sample_weight=True).set_score_request(sample_weight="weight")
    mf.save(est, tmp_path / "ridge.safetensors")
    loaded = mf.load(tmp_path / "ridge.safetensors")
    assert loaded.get_metadata_routing().fit.requests == {"sample_weight": True}
    assert loaded.get_metadata_routing().score.requests == {"sample_weight": "weight"}


def test_cached_properties_are_left_out(tmp_path: Path) -> None:
    box = Box()
    assert box.derived is box.derived
    assert "derived" not in vars(round_trip_box(box, tmp_path))


def test_parameter_that_the_file_lacks_takes_its_default(tmp_path: Path) -> None:
    class Older(Estimator):
        def __init__(self) -> None:
            pass

    Older.__module__, Older.__qualname__ = Box.__module__, Box.__qualname__
    mf.save(Older(), tmp_path / "older.safetensors")
    assert mf.load(tmp_path / "older.safetensors", classes=[Box]).content is None


# Values

SCALARS = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    -(2**5000),
    0.1,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    math.inf,
    -math.inf,
    math.nan,
    struct.unpack("d", b"\x01\x02\x03\x04\x05\x06\xf8\xff")[0],
    "",
    "text \0 \u2028 \U0001f600 \"'\\",
    "\ud83d\ude00",  # two lone surrogates, not one character
    "NaN",
    b"",
    bytes(range(256)),
    [],
    (),
    {},
    [1, [2.5, (None, ["x"])], {}],
    (1,),
    {"a": 1, 2: "b", None: [3], (4, "x"): {5.5: True}, b"k": (), False: 0},
    {"int": 1},
    np.str_("numpy text"),
    np.str_("\udcff"),
    np.float64("nan"),
    np.float32(-0.0),
    np.bool_(True),
    np.uint64(2**64 - 1),
    np.float16(1e-7),
]


@pytest.mark.parametrize("value", SCALARS, ids=lambda value: f"{type(value).__name__}-{str(value)[:20]!a}")
def test_value(value: Any, tmp_path: Path) -> None:
    assert_same(round_trip(value, tmp_path), value)


@pytest.mark.parametrize("dtype", REAL_DTYPES)
def test_array(dtype: str, tmp_path: Path) -> None:
    arrays = []
    for shape in [(), (0,), (5,), (3, 0, 2), (2, 3, 4), (1,) * 20]:
        raw = (
            np.random.default_rng(3)
            .integers(0, 256, math.prod(shape) * np.dtype(dtype).itemsize)
            .astype("u1")
        )
        values = (raw % 2).astype(bool) if dtype == "?" else raw.view(dtype)
        arrays += [np.array(values.reshape(shape), order=order) for order in ("C", "F")]
    for loaded, array in zip(round_trip(arrays, tmp_path), arrays, strict=True):
        assert_same(loaded, array)
        assert loaded.flags.f_contiguous == array.flags.f_contiguous
        assert loaded.flags.c_contiguous == array.flags.c_contiguous
        assert loaded.flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "", "three", "\U0001f600"]),
        np.array([["a", "bb"], ["c", "d"]], order="F"),
        np.array("zero-d"),
        np.array([], dtype="U4"),
        np.array([b"x", b"yz"]),
        np.array(["a", "", "\u00fc" * 40, "\ud800"], dtype=object),
        np.array([["a"], ["b"]], dtype=object),
        np.array("zero-d", dtype=object),
        np.array([], dtype=object),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_text_array(array: np.ndarray, tmp_path: Path) -> None:
    assert_same(round_trip(array, tmp_path), array)


def test_strided_large_arrays(tmp_path: Path) -> None:
    base = np.random.default_rng(0).normal(size=(400, 500))
    for array in (base[::3, ::-2], base.T, np.broadcast_to(base[0], (50, 500)), base[:, :1].T):
        assert_same(round_trip(array, tmp_path), array)


def test_other_byte_order_comes_back_native(tmp_path: Path) -> None:
    for array in (np.arange(6, dtype=">f4").reshape(2, 3), np.array(["ab", "c"], dtype=">U2")):
        assert_same(round_trip(array, tmp_path), array.astype(array.dtype.newbyteorder("=")))


def test_memmap_comes_back_as_array(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.arange(5.0))
    assert_same(round_trip(np.load(tmp_path / "array.npy", mmap_mode="r"), tmp_path), np.arange(5.0))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.sampled_from(REAL_DTYPES).flatmap(
        lambda code: hnp.arrays(np.dtype(code), hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
    )
    | st.sampled_from(REAL_DTYPES).flatmap(lambda code: hnp.from_dtype(np.dtype(code))),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.tuples(st.booleans()), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(value=VALUES)
def test_any_value(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert_same(round_trip(value, tmp_path_factory.getbasetemp()), value)


# Random number generators


@pytest.mark.parametrize("bit_generator", [np.random.MT19937, np.random.PCG64])
def test_random_state(bit_generator: Any, tmp_path: Path) -> None:
    state = np.random.RandomState(bit_generator(5))
    state.normal()  # leaves a second normal behind
    loaded = round_trip_box(Box(state), tmp_path).content
    assert type(loaded) is np.random.RandomState
    assert_same(loaded.normal(size=3), state.normal(size=3))
    assert_same(loaded.randint(1 << 30, size=700), state.randint(1 << 30, size=700))


@pytest.mark.parametrize("bit_generator", [np.random.MT19937, np.random.PCG64])
@pytest.mark.parametrize("entropy", [0, 2**200, [1, 2**40, 3], None], ids=str)
def test_generator(bit_generator: Any, entropy: Any, tmp_path: Path) -> None:
    rng = np.random.Generator(bit_generator(np.random.SeedSequence(entropy, spawn_key=(4, 2))))
    rng.integers(10, dtype=np.uint32)  # leaves half a 64-bit word behind
    rng.spawn(2)
    box = round_trip_box(Box(rng), tmp_path)
    mf.save(box, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "box.safetensors").read_bytes()
    assert_same(
        box.content.integers(10, size=700, dtype=np.uint32), rng.integers(10, size=700, dtype=np.uint32)
    )
    assert_same(box.content.spawn(1)[0].normal(size=3), rng.spawn(1)[0].normal(size=3))


# Refused


class Colour(enum.IntEnum):
    RED = 1


Point = namedtuple("Point", "x y")
HOLDS_ITSELF: list[Any] = []
HOLDS_ITSELF.append(HOLDS_ITSELF)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones(2, "c8"), "array of complex64"),
        (1j, "builtins.complex"),
        (np.complex128(1), "numpy.complex128"),
        (np.longdouble(1), "numpy.longdouble"),
        (np.ones(2, np.longdouble), "array of"),
        (np.array([1, "a", None], dtype=object), "object array that holds a int"),
        (np.array(["a", np.str_("b")], dtype=object), "object array that holds a str_"),
        (np.array(["2020-01-01"], "M8[D]"), "array of datetime64"),
        (np.zeros(2, [("a", "f8")]), "array of"),
        (np.ma.masked_array([1.0]), "MaskedArray"),
        (Colour.RED, "Colour"),
        (Point(1, 2), "Point"),
        (OrderedDict(a=1), "OrderedDict"),
        ({1, 2}, "builtins.set"),
        (len, "builtin_function_or_method"),
        (np.float64, "builtins.type"),
        (SklearnRidge(), "sklearn.linear_model._ridge.Ridge"),
        (np.random.Generator(np.random.Philox(1)), "Generator over Philox"),
        (np.random.RandomState(np.random.SFC64(1)), "RandomState over SFC64"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_refused_value(value: Any, message: str, tmp_path: Path) -> None:
    box = Box()
    box.state_ = {"inner": [0, value]}
    with pytest.raises(
        TypeError, match=r"^save: Box\.state_\.0\.1 is an? .*model file cannot hold"
    ) as caught:
        mf.save(box, tmp_path / "box.safetensors")
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_refused_nesting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Box\.content\.0\.0.* more than 64 levels deep or contains itself"):
        mf.save(Box(HOLDS_ITSELF), tmp_path / "box.safetensors")
    assert not list(tmp_path.iterdir())


def test_refused_size(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep long lists and dictionaries as NumPy arrays"):
        mf.save(Box("x" * 17 * 2**20), tmp_path / "box.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("get_metadata_routing", "hides a method"),
        ("_parameter_constraints", "hides a constant"),
        ("__doc__", "is no name"),
        ("a b", "is no name"),
    ],
)
def test_refused_attribute(name: str, problem: str, tmp_path: Path) -> None:
    class Constrained(Box):
        _parameter_constraints = {"content": []}  # noqa: RUF012

    box = Constrained()
    vars(box)[name] = 1
    with pytest.raises(TypeError, match=problem):
        mf.save(box, tmp_path / "box.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("est", [SklearnRidge(), Ridge, None, "model"])
def test_refused_object(est: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="save: est must be an instance of a manyfit estimator"):
        mf.save(est, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


# Classes of a user


def test_class_of_a_user_must_be_given(tmp_path: Path) -> None:
    mf.save(Box(1), tmp_path / "box.safetensors")
    with pytest.raises(ModelFormatError, match=r"Box' is no estimator of manyfit.*classes=\[\.\.\.\]"):
        mf.load(tmp_path / "box.safetensors")
    with pytest.raises(ModelFormatError, match="is no estimator of manyfit"):
        mf.load(tmp_path / "box.safetensors", classes=[Strict, Ridge])
    assert type(mf.load(tmp_path / "box.safetensors", classes=[Strict, Box])) is Box


@pytest.mark.parametrize("cls", [SklearnRidge, "Box", Box()])
def test_classes_must_be_estimators(cls: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="classes must be subclasses"):
        mf.load(tmp_path / "box.safetensors", classes=[cls])


def test_check_of_the_class(tmp_path: Path) -> None:
    est = Strict()
    est.n_features_in_, est.coef_ = 3, np.ones(3)
    mf.save(est, tmp_path / "good.safetensors")
    assert mf.load(tmp_path / "good.safetensors", classes=[Strict]).coef_.shape == (3,)
    mf.save(Strict(), tmp_path / "unfitted.safetensors")
    assert type(mf.load(tmp_path / "unfitted.safetensors", classes=[Strict])) is Strict
    for coef in (np.ones(2), None):
        est.coef_ = coef
        mf.save(est, tmp_path / "bad.safetensors")
        with pytest.raises(ModelFormatError, match="Strict is inconsistent"):
            mf.load(tmp_path / "bad.safetensors", classes=[Strict])


@pytest.mark.parametrize(
    ("est", "name", "value"),
    [
        (Ridge(), "coef_", np.ones(5)),
        (Ridge(), "coef_", np.ones((1, 2, 6))),
        (Ridge(), "coef_", np.array(["a"] * 6)),
        (Ridge(), "coef_", [1.0] * 5),
        (Ridge(), "intercept_", np.ones(2)),
        (LinearRegression(), "intercept_", "1"),
        (LinearRegression(), "n_features_in_", 7),
        (PCA(2), "mean_", np.ones(5)),
        (PCA(2), "mean_", None),
        (PCA(2), "components_", np.ones((3, 6))),
        (PCA(2), "components_", np.ones(6)),
        (PCA(2), "n_features_in_", 7),
    ],
    ids=repr,
)
def test_attributes_that_do_not_belong_together(
    est: Estimator, name: str, value: Any, tmp_path: Path
) -> None:
    est.fit(*data())
    setattr(est, name, value)
    mf.save(est, tmp_path / "model.safetensors")
    with pytest.raises(ModelFormatError, match=f"{type(est).__name__} is inconsistent: "):
        mf.load(tmp_path / "model.safetensors")


# The file


def test_same_model_same_bytes(tmp_path: Path, run_python: Callable[..., CompletedProcess[str]]) -> None:
    X, y = data()
    mf.save(Ridge().fit(X, y), tmp_path / "one")
    mf.save(Ridge().fit(X, y), tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    forward, backward = Box(), Box()
    vars(forward).update(a_=1, b_=np.ones(2), c_=np.ones(3))
    vars(backward).update(c_=np.ones(3), b_=np.ones(2), a_=1)
    mf.save(forward, tmp_path / "one")
    mf.save(backward, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    mf.save(Ridge(random_state=np.random.RandomState(1)), tmp_path / "one")
    other = run_python(
        """
        import numpy as np
        import manyfit as mf
        from manyfit.linear_model import Ridge
        mf.save(Ridge(random_state=np.random.RandomState(1)), "two")
        """,
        PYTHONHASHSEED="1",
    )
    assert other.returncode == 0, other.stderr
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_safetensors_package_reads_it(tmp_path: Path) -> None:
    box = Box()
    box.rows_ = np.arange(6.0).reshape(2, 3)
    box.columns_ = np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3))
    box.zero_ = np.array(3, "u2")
    box.empty_ = np.empty((0, 4), "f2")
    box.flags_ = np.array([True, False])
    path = tmp_path / "box.safetensors"
    mf.save(box, path)
    tensors = safetensors.numpy.load_file(path)
    assert tensors.keys() == {"rows_", "columns_", "zero_", "empty_", "flags_"}
    for name, tensor in tensors.items():
        assert_same(tensor, np.ascontiguousarray(getattr(box, name)).reshape(tensor.shape))
        assert tensor.shape == getattr(box, name).shape
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata()["format"] == "manyfit"
        assert file.metadata()["manyfit_version"] == mf.__version__


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_is_about_the_file(order: Any, tmp_path: Path) -> None:
    box = Box()
    box.big_ = np.asarray(np.random.default_rng(0).normal(size=(2000, 2000)), order=order)
    path = tmp_path / "box.safetensors"
    tracemalloc.start()
    try:
        mf.save(box, path)
        saving = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        loaded = mf.load(path, classes=[Box])
        loading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert_same(loaded.big_, box.big_)
    assert saving < 0.2 * box.big_.nbytes
    assert loading < 1.2 * box.big_.nbytes
