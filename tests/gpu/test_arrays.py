"""Arrays of any library, in and out, where they lie."""

from __future__ import annotations

import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

import manyfit as mf
from manyfit.linear_model import LogisticRegression, Ridge
from manyfit.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_predict, cross_val_score

from .cases import ESTIMATORS, answers, data, learned, on
from .conftest import Dlpack, Interface, OldDlpack, on_host
from .test_parity import agree

X, Y = data(Ridge())
LABELS = (Y.mean() < Y).astype(np.int64)


def test_in_and_out(put: Any, module: Any) -> None:
    given = put(X)
    model = Ridge(device="cuda").fit(given, put(Y))
    told = model.predict(given)
    ours = type(given) in (Interface, Dlpack, OldDlpack)
    assert type(told) is (module.Array if ours else type(given))
    agree(told, Ridge().fit(X, Y).predict(X), "predict", np.float64)
    assert isinstance(model.coef_, np.ndarray)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_answers_are_of_the_kind(estimator: Any, kind: str, put: Any) -> None:
    if kind.startswith("DLPack"):
        pytest.skip("as the array interface")
    rows, y = data(estimator)
    model = on(estimator, "cuda").fit(rows, y)
    for name, value in answers(model, rows).items():
        told = getattr(model, name)(put(rows))
        assert not isinstance(told, np.ndarray), name
        agree(told, value, name, np.float64)


def test_labels_of_text_stay_on_the_host(put: Any) -> None:
    names = np.array(["ant", "bee"])[LABELS]
    model = LogisticRegression(device="cuda").fit(put(X), names)
    assert (model.predict(put(X)) == model.predict(X)).all()


@pytest.mark.parametrize(
    "shift", ["whole", "F order", "rows backwards", "every second row", "one column of two"]
)
def test_views(put: Any, kind: str, shift: str) -> None:
    if kind in ("torch", "jax") and shift == "rows backwards":
        pytest.skip(f"{kind} has no negative strides")
    wide = np.repeat(X, 2, axis=1)
    views = {
        "whole": (X, lambda a: a),
        "F order": (np.ascontiguousarray(X.T), lambda a: a.T),
        "rows backwards": (X[::-1].copy(), lambda a: a[::-1]),
        "every second row": (np.repeat(X, 2, axis=0), lambda a: a[::2]),
        "one column of two": (wide, lambda a: a[:, ::2]),
    }
    base, view = views[shift]
    sliced = kind in ("cupy", "torch", "jax")
    given = view(put(base)) if sliced else _view(put(base), view(base), base)
    model = Ridge(device="cuda").fit(given, Y)
    agree(model.coef_, Ridge().fit(X, Y).coef_, "coef_", np.float64)
    agree(model.predict(given), Ridge().fit(X, Y).predict(X), "predict", np.float64)


def _view(array: Any, view: Any, base: Any) -> Any:
    """A view of an array of ours, by the array interface: alike for every kind."""
    inner = getattr(array, "array", array)
    offset = view.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    start = inner.__cuda_array_interface__["data"][0] + offset
    return Interface(inner, shape=view.shape, strides=view.strides, data=(start, False))


def test_read_only(upload: Any) -> None:
    inner = upload(X)
    place = inner.__cuda_array_interface__["data"][0]
    given = Interface(inner, data=(place, True))
    model = Ridge(device="cuda").fit(given, Y)
    agree(model.predict(given), Ridge().fit(X, Y).predict(X), "predict", np.float64)


def test_read_only_goes_on_by_new_dlpack_alone(upload: Any, module: Any) -> None:
    inner = upload(X)
    place = inner.__cuda_array_interface__["data"][0]
    array = module.array(Interface(inner, data=(place, True)))
    assert module.array(Dlpack(array)).shape == X.shape
    with pytest.raises(BufferError, match="read-only"):
        array.__dlpack__()


@pytest.mark.parametrize("version", [2, 3])
def test_versions_of_the_array_interface(upload: Any, version: int) -> None:
    given = Interface(upload(X), version=version, strides=None)
    if version == 2:
        del given.__cuda_array_interface__["stream"]
    agree(Ridge(device="cuda").fit(given, Y).coef_, Ridge().fit(X, Y).coef_, "coef_", np.float64)


def test_no_copy(put: Any, module: Any, simulated: None) -> None:
    given = put(X)
    gc.collect()
    before = module.simulated_memory_used()
    held = module.array(given)
    assert module.simulated_memory_used() == before
    assert held.__cuda_array_interface__["data"] == module.array(given).__cuda_array_interface__["data"]


def test_y_and_weights_on_either_side(put: Any) -> None:
    weights = np.linspace(0.5, 2, len(X))
    expected = Ridge().fit(X, Y, weights)
    for given in (X, put(X)):
        for y in (Y, put(Y), Y.astype(np.float32).astype(np.float64)):
            for w in (weights, put(weights)):
                model = Ridge(device="cuda").fit(given, y, w)
                assert np.abs(model.coef_ - expected.coef_).max() < 1e-4
    single = put(Y.astype(np.float32))  # of another type than X: goes by the host
    assert np.abs(Ridge(device="cuda").fit(put(X), single).coef_ - Ridge().fit(X, Y).coef_).max() < 1e-4


def test_nothing_comes_to_the_host(put: Any) -> None:
    dataset = mf.Dataset(put(X), put(Y))
    population = mf.fit_many(Ridge(device="cuda"), dataset, params=[{"alpha": a} for a in (0.1, 1.0)], cv=4)
    assert population.plan == "8 fits, 1 pass over X (fold Gram)"
    assert dataset.X._host is None
    assert dataset.y._host is None


def test_a_dataset_keeps_what_is_prepared(put: Any) -> None:
    dataset = mf.Dataset(put(X), put(Y))
    for alpha in (0.1, 1.0, 10.0):
        Ridge(alpha=alpha, device="cuda").fit(dataset)
    assert dataset.passes == ["fold Gram"]
    Ridge(device="cuda:0").fit(dataset)
    assert dataset.passes == ["fold Gram"]


def test_a_dataset_is_prepared_for_each_device() -> None:
    dataset = mf.Dataset(X, Y)
    there, here = Ridge(device="cuda").fit(dataset), Ridge().fit(dataset)
    assert dataset.passes == ["fold Gram", "fold Gram"]
    assert here.coef_.tobytes() == Ridge().fit(X, Y).coef_.tobytes()
    agree(there.coef_, here.coef_, "coef_", np.float64)


def test_searches(put: Any) -> None:
    grid = {"alpha": [0.1, 1.0, 10.0]}
    expected = GridSearchCV(Ridge(), grid).fit(X, Y)
    for y in (Y, put(Y)):
        search = GridSearchCV(Ridge(device="cuda"), grid).fit(put(X), y)
        agree(
            search.cv_results_["mean_test_score"],
            expected.cv_results_["mean_test_score"],
            "scores",
            np.float64,
        )
        agree(search.predict(put(X)), expected.predict(X), "predict", np.float64)
        assert abs(search.score(put(X), put(Y)) - expected.score(X, Y)) < 1e-9
    search = RandomizedSearchCV(LogisticRegression(device="cuda"), {"C": [0.1, 1.0]}, n_iter=2, cv=3)
    assert search.fit(put(X), put(LABELS)).best_score_ > 0.8


def test_cross_validation(put: Any) -> None:
    expected = cross_val_score(Ridge(), X, Y)
    agree(cross_val_score(Ridge(device="cuda"), put(X), put(Y)), expected, "scores", np.float64)
    agree(
        cross_val_predict(Ridge(device="cuda"), put(X), Y),
        cross_val_predict(Ridge(), X, Y),
        "answers",
        np.float64,
    )


def test_models_leave_the_device(put: Any, tmp_path: Any) -> None:
    model = Ridge(device="cuda").fit(put(X), put(Y))
    mf.save(model, tmp_path / "model")
    for other in (mf.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert other.coef_.tobytes() == model.coef_.tobytes()
        agree(other.predict(put(X)), model.predict(X), "predict", np.float64)
    assert model.to_onnx().graph.output


def test_pickled_data_are_numpys(put: Any) -> None:
    dataset = mf.Dataset(put(X), put(Y))
    again = pickle.loads(pickle.dumps(dataset.X))
    assert isinstance(again, np.ndarray)
    assert (again == X).all()


def test_an_array_outlives_its_owner(put: Any, module: Any) -> None:
    """A foreign array is kept as long as ours reads it, and no longer."""
    given = put(X)
    try:
        gone = weakref.ref(given)
    except TypeError:
        pytest.skip("cannot be watched")
    held = module.array(given)
    del given
    gc.collect()
    assert (held.numpy() == X).all()
    del held
    gc.collect()
    assert gone() is None


def test_capsules_are_given_back(upload: Any, module: Any, simulated: None) -> None:
    array = upload(X)
    gc.collect()
    before = module.simulated_memory_used()
    for version in (None, (1, 0)):
        capsule = array.__dlpack__(max_version=version)
        assert ("versioned" in repr(capsule)) == (version is not None)
        del capsule  # never taken
        taken = module.array(Dlpack(upload(X)))
        assert module.simulated_memory_used() > before
        del taken
    gc.collect()
    assert module.simulated_memory_used() == before


def test_a_capsule_serves_once(upload: Any, module: Any) -> None:
    class Twice(Dlpack):
        def __dlpack__(self, **options: Any) -> Any:
            self.capsule = getattr(self, "capsule", None) or self.array.__dlpack__(**options)
            return self.capsule

    given = Twice(upload(X))
    assert module.array(given).shape == X.shape
    with pytest.raises(ValueError, match="a capsule that has not been used"):
        module.array(given)


def test_what_is_not_given(upload: Any) -> None:
    array = upload(X)
    with pytest.raises(BufferError, match="copy"):
        array.__dlpack__(copy=True)
    with pytest.raises(BufferError, match="where it lies"):
        array.__dlpack__(dl_device=(1, 0))
    with pytest.raises(ValueError, match="stream must be"):
        array.__dlpack__(stream=0)


def test_others_streams(real: None) -> None:
    """What another library writes on a stream of its own is read once it is written, and the other way round."""
    cupy = pytest.importorskip("cupy")
    stream = cupy.cuda.Stream(non_blocking=True)
    rows = cupy.asarray(np.tile(X, (2000, 1)))
    expected = Ridge().fit(np.tile(X, (2000, 1)) + 50, np.tile(Y, 2000))
    with stream:
        moved = rows.copy()
        for _ in range(50):
            moved += 1.0
        model = Ridge(device="cuda").fit(moved, np.tile(Y, 2000))
        told = model.predict(moved) + 0.0
        stream.synchronize()
    agree(model.coef_, expected.coef_, "coef_", np.float64)
    agree(told[: len(X)], expected.predict(X + 50), "predict", np.float64)


def test_torch_gradients(real: None) -> None:
    torch = pytest.importorskip("torch")
    given = torch.as_tensor(X, device="cuda").requires_grad_()
    with pytest.raises(BufferError, match="grad"):
        Ridge(device="cuda").fit(given, Y)
    assert learned(Ridge(device="cuda").fit(given.detach(), Y))


def test_tensors_of_torch_on_the_host(real: None) -> None:
    torch = pytest.importorskip("torch")
    model = Ridge(device="cuda").fit(torch.as_tensor(X), torch.as_tensor(Y))
    assert isinstance(on_host(model.predict(X)), np.ndarray)
