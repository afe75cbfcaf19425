"""Classifiers leave as a label and probabilities or scores, and neither may be wrong."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from sklearn.decomposition import PCA
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from manyfit.exceptions import ExportMismatch, ModelFormatError
from manyfit.onnx import to_onnx, verify_file
from manyfit.onnx.converters import linear_classifier as converters
from manyfit.onnx.emitter import Emitter, GraphEmitter
from manyfit.onnx.labels import Classes
from manyfit.onnx.metadata import seal
from manyfit.onnx.registry import convertible

# Models need not have converged to be exported.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

MODELS = {
    "logistic": lambda: LogisticRegression(max_iter=100),
    "logistic, no intercept": lambda: LogisticRegression(max_iter=100, fit_intercept=False),
    "logistic, cv": lambda: LogisticRegressionCV(
        Cs=3, cv=3, max_iter=100, l1_ratios=(0.0,), use_legacy_attributes=False, scoring="accuracy"
    ),
    "ridge": RidgeClassifier,
    "ridge, cv": RidgeClassifierCV,
    "hinge": lambda: SGDClassifier(random_state=0),
    "log loss": lambda: SGDClassifier(loss="log_loss", random_state=0),
    "modified huber": lambda: SGDClassifier(loss="modified_huber", random_state=0),
    "perceptron": Perceptron,
    "pipeline": lambda: make_pipeline(StandardScaler(), PCA(4), LogisticRegression()),
    "pipeline, one against the rest": lambda: make_pipeline(
        StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)
    ),
}

LABELS = {
    "integers": np.array([0, 1, 2, 3]),
    "other integers": np.array([-7, 3, 20, 2**62]),
    "unsigned": np.array([1, 2, 3, 9], dtype=np.uint8),
    "strings": np.array(["b", "ba", "é", "z z"]),
    "objects": np.array(["no", "perhaps", "so", "yes"], dtype=object),
    "floats": np.array([-1.0, 0.0, 2.0, 4.0]),
}


@pytest.fixture(scope="module")
def rows():
    """Rows around three centres, in columns of their own scales."""
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(4), 30)
    X = rng.normal(size=(120, 6)) + 1.5 * rng.normal(size=(4, 6))[codes]
    return X * [1.0, 0.1, 20.0, 2.0, 1.0, 0.3] + [0.0, 1.0, -20.0, 5.0, 0.1, 0.0], codes


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def make_classifier(request):
    """Make one kind of classifier."""
    return request.param


def answers(model, X):
    """Run a graph on ONNX Runtime with its default options; return the outputs by name."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"X": X}), strict=True))


def entries(model):
    """Return the metadata without the prefix of its keys."""
    return {entry.key.removeprefix("manyfit."): entry.value for entry in model.metadata_props}


def native(model, X):
    """Return the name and the values of the native probabilities or scores."""
    if hasattr(model, "predict_proba"):
        return "probabilities", model.predict_proba(X)
    return "scores", model.decision_function(X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fitted_in", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_labels_and_probabilities_are_the_native_ones(make_classifier, dtype, fitted_in, n_classes, rows):
    X, codes = rows
    X, codes = X[codes < n_classes].astype(fitted_in), codes[codes < n_classes]
    model = make_classifier().fit(X, codes)
    exported = to_onnx(model, dtype=dtype)
    many = np.resize(X, (1000, X.shape[1])).astype(dtype)
    name, expected = native(model, many)
    tolerance = 1e-9 if (dtype, fitted_in) == ("float64", "float64") else 2e-4
    for n in (0, 1, 7, 1000):
        told = answers(exported, many[:n])
        assert list(told) == ["label", name]
        assert told["label"].dtype == np.int64
        assert told["label"].shape == (n,)
        assert told[name].dtype == dtype
        assert told[name].shape == expected[:n].shape
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(told[name], expected[:n], rtol=tolerance, atol=tolerance * scale)
        if n:
            np.testing.assert_array_equal(told["label"], model.predict(many[:n]))
    if name == "probabilities":
        np.testing.assert_allclose(told[name].sum(axis=1), 1, rtol=1e-5)


def test_every_kind_of_model_replays(make_classifier, rows, tmp_path):
    X, codes = rows
    path = tmp_path / "model.onnx"
    for labels in (LABELS["strings"], LABELS["other integers"]):
        for n_classes in (2, 4):
            chosen = codes < n_classes
            model = make_classifier().fit(X[chosen], labels[codes[chosen]])
            to_onnx(model, path)
            report = verify_file(path)
            assert report.ok
            assert report.golden_rows >= 4
            assert report.worst_ratio <= 1
            # Every class stands in the golden rows.
            assert set(report.metadata.golden.expected[0]) == set(range(n_classes))


def test_two_exports_are_the_same_bytes(make_classifier, rows):
    X, codes = rows
    model = make_classifier().fit(X, codes)
    assert to_onnx(model).SerializeToString() == to_onnx(model).SerializeToString()


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize("n_classes", [2, 4])
def test_labels_of_any_type(labels, n_classes, rows):
    X, codes = rows
    X, y = X[codes < n_classes], labels[codes[codes < n_classes]]
    for model in (
        RidgeClassifier().fit(X, y),
        make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y),
    ):
        exported = to_onnx(model)
        told = answers(exported, X.astype(np.float32))["label"]
        by_value = labels.dtype.kind in "iu"
        named = told if by_value else model.classes_[told]
        np.testing.assert_array_equal(named, model.predict(X))
        said = json.loads(entries(exported)["classes"])
        assert said == {"label": "value" if by_value else "index", "names": model.classes_.tolist()}


def test_boolean_labels_are_zero_and_one(rows):
    X, codes = rows
    model = LogisticRegression(max_iter=100).fit(X, codes > 1)
    exported = to_onnx(model)
    np.testing.assert_array_equal(answers(exported, X.astype(np.float32))["label"], model.predict(X))
    assert json.loads(entries(exported)["classes"]) == {"label": "value", "names": [False, True]}
    assert "Gather" not in {node.op_type for node in exported.graph.node}


def test_unsigned_values_beyond_int64_are_indices(rows):
    X, codes = rows
    model = RidgeClassifier().fit(X, np.array([5, 2**64 - 1], dtype=np.uint64)[(codes > 1).astype(int)])
    exported = to_onnx(model)
    assert json.loads(entries(exported)["classes"]) == {"label": "index", "names": [5, 2**64 - 1]}
    assert set(answers(exported, X.astype(np.float32))["label"]) == {0, 1}


def test_the_graph_is_portable(make_classifier, rows):
    X, codes = rows
    for y in (codes, codes > 1, LABELS["other integers"][codes]):
        exported = to_onnx(make_classifier().fit(X, y))
        assert exported.ir_version == 8
        assert [(opset.domain, opset.version) for opset in exported.opset_import] == [("", 18)]
        label, second = exported.graph.output
        assert label.type.tensor_type.elem_type == onnx.TensorProto.INT64
        for output in (label, second):
            assert output.type.tensor_type.shape.dim[0].dim_param == "N"
        onnx.checker.check_model(exported, full_check=True)


def test_what_is_written_for_the_common_ones(rows):
    X, codes = rows

    def operators(model, y):
        return [node.op_type for node in to_onnx(model.fit(X, y)).graph.node]

    assert operators(LogisticRegression(max_iter=100), codes) == ["Gemm", "ArgMax", "Softmax"]
    assert operators(RidgeClassifier(), codes + 1) == ["Gemm", "ArgMax", "Gather", "Identity"]
    assert operators(RidgeClassifier(), codes > 1) == [
        "Gemm",
        "Squeeze",
        "Greater",
        "Cast",
        "Squeeze",
    ]
    assert "Sigmoid" not in operators(LogisticRegression(max_iter=100), codes > 1)


def test_metadata(rows):
    X, codes = rows
    frame = pd.DataFrame(X, columns=list("abcdef"))
    exported = to_onnx(LogisticRegression(max_iter=100).fit(frame, LABELS["strings"][codes]))
    said = entries(exported)
    assert said["format"] == "2"
    assert json.loads(said["outputs"]) == [
        {"name": "label", "dtype": "int64", "shape": ["N"]},
        {"name": "probabilities", "dtype": "float32", "shape": ["N", 4]},
    ]
    verification = json.loads(said["verification"])
    assert 0 < verification["undecided_labels"] <= verification["undecided_rows"] < 40
    assert 0 <= verification["other_labels"] <= verification["undecided_labels"]
    assert 0 <= verification["max_error"] <= verification["max_error_bound"] < 1e-3
    golden = json.loads(said["golden"])
    assert golden["outputs"].keys() == {"label", "probabilities"}
    assert golden["tolerances"].keys() == {"probabilities"}
    labels = np.frombuffer(base64.b64decode(golden["outputs"]["label"]), dtype="<i8")
    assert set(labels) == {0, 1, 2, 3}
    assert len(labels) == len(golden["kinds"])


def test_models_without_labels_are_written_as_before(rows):
    X, codes = rows
    said = entries(to_onnx(Ridge().fit(X, codes)))
    assert said["format"] == "1"
    assert "classes" not in said
    assert "undecided_labels" not in json.loads(said["verification"])


def test_report(rows, tmp_path):
    X, codes = rows
    path = tmp_path / "model.onnx"
    to_onnx(LogisticRegression(max_iter=100).fit(X, LABELS["strings"][codes]), path)
    lines = verify_file(path).lines()
    assert all(len(line) <= 79 for line in lines)
    text = " ".join(" ".join(lines).split())
    for part in (
        "label [N], probabilities [N, 4]",
        "classes 4: 'b', 'ba', 'z z', 'é'; labels are their indices",
        "of 1000 probes when exported",
    ):
        assert part in text


def test_class_names_cannot_touch_a_terminal(rows, tmp_path):
    X, codes = rows
    path = tmp_path / "model.onnx"
    to_onnx(RidgeClassifier().fit(X, np.array(["a\x1b[2J\n", "b" * 5000])[(codes > 1).astype(int)]), path)
    report = verify_file(path)
    assert report.ok
    assert all(line.isprintable() and len(line) <= 79 for line in report.lines())


def test_ties_go_to_the_first_class_and_count_as_undecided(rows):
    X, codes = rows
    model = LogisticRegression(max_iter=100).fit(X, codes)
    model.coef_[1], model.intercept_[1] = model.coef_[0], model.intercept_[0]
    exported = to_onnx(model)
    verification = json.loads(entries(exported)["verification"])
    assert verification["undecided_labels"] > 100
    assert 1 not in answers(exported, X.astype(np.float32))["label"]


def test_a_model_that_knows_nothing(rows):
    """All scores are exactly zero, in every arithmetic: the first class, and equal probabilities."""
    X, codes = rows
    for y, kind in ((codes, LogisticRegression), (codes > 1, LogisticRegression), (codes, Perceptron)):
        model = kind(max_iter=100).fit(X, y)
        model.coef_[:], model.intercept_[:] = 0, 0
        told = answers(to_onnx(model), X.astype(np.float32))
        assert (told["label"] == 0).all()


def test_confident_probabilities_keep_their_digits(rows):
    """ONNX Runtime's Sigmoid is 0 from -18 down; a logarithm of such a probability must not be -inf."""
    X, codes = rows
    for y in (codes > 1, codes):
        model = SGDClassifier(loss="log_loss", random_state=0).fit(X[:, :1], y)
        model.coef_, model.intercept_ = np.ones_like(model.coef_), np.zeros_like(model.intercept_)
        model.coef_[-1] *= 2
        x = np.array([[-40.0], [-30.0], [-20.0]])
        told = answers(to_onnx(model), x.astype(np.float32))["probabilities"]
        np.testing.assert_allclose(told, model.predict_proba(x), rtol=1e-5)


def test_scores_so_low_that_the_native_probabilities_are_equal(rows):
    """scikit-learn gives equal probabilities where its logistic functions are all 0."""
    X, codes = rows
    model = SGDClassifier(loss="log_loss", random_state=0).fit(X[:, :1], codes)
    model.coef_, model.intercept_ = np.array([[1.0], [1.01], [1.02], [1.03]]), np.zeros(4)
    x = np.array([[-600.0], [-687.0], [-900.0], [-1e30]])
    told = answers(to_onnx(model), x.astype(np.float32))["probabilities"]
    np.testing.assert_allclose(told, model.predict_proba(x), rtol=1e-4)
    np.testing.assert_array_equal(told[2:], 0.25)


def test_nan_stays_nan(make_classifier, rows):
    X, codes = rows
    for y in (codes, codes > 1):
        model = make_classifier().fit(X, y)
        exported = to_onnx(model)
        told = answers(exported, np.full((2, 6), np.nan, dtype=np.float32))
        name = native(model, X)[0]
        assert np.isnan(told[name]).all()


def test_one_class_and_multilabel_targets_are_refused(rows):
    X, codes = rows
    model = RidgeClassifier().fit(X, np.column_stack([codes > 1, codes > 2]))
    with pytest.raises(ValueError, match="multilabel targets do not convert"):
        to_onnx(model)
    model = LogisticRegression(max_iter=100).fit(X, codes)
    model.classes_ = model.classes_[:1]
    with pytest.raises(ValueError, match="two classes or more"):
        to_onnx(model)


def test_a_classifier_is_no_transformer(rows):
    X, codes = rows
    parts = make_pipeline(Ridge(), Ridge())
    parts.steps[0] = ("first", LogisticRegression(max_iter=100).fit(X, codes))
    parts.steps[1] = ("second", Ridge().fit(X, codes))
    with pytest.raises(TypeError, match=r"'first' \(LogisticRegression\) is not a transformer"):
        to_onnx(parts)


def test_sparse_coefficients(rows):
    X, codes = rows
    model = SGDClassifier(random_state=0, penalty="l1").fit(X, codes)
    dense = to_onnx(model).graph.SerializeToString()
    assert to_onnx(model.sparsify()).graph.SerializeToString() == dense


def test_the_counterparts_of_this_package_are_named():
    assert {"LogisticRegression", "RidgeClassifier", "SGDClassifier", "Perceptron"} <= set(convertible())


@given(seed=st.integers(0, 2**32 - 1), n_classes=st.integers(2, 6), n_features=st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_any_coefficients_export(seed, n_classes, n_features):
    """The bounds hold for models of any scale, and are never so wide that nothing is compared."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(4 * n_classes, n_features)), np.arange(4 * n_classes) % n_classes
    loss = rng.choice(["hinge", "log_loss", "modified_huber"])
    kind = SGDClassifier(loss=loss, max_iter=5, tol=None) if rng.random() < 0.7 else LogisticRegression()
    model = kind.fit(X, y)
    shape = model.coef_.shape
    scale = 10.0 ** rng.integers(-6, 7)
    model.coef_ = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4, n_features) * scale
    model.intercept_ = rng.normal(size=shape[0]) * 10.0 ** rng.integers(-4, 5)
    model.coef_[:, rng.random(n_features) < 0.2] = 0.0
    for dtype in ("float32", "float64"):
        to_onnx(model, dtype=dtype)


# --- a wrong graph must not get out ---


@pytest.fixture
def refused(rows, tmp_path):
    """Check that a classifier is not exported in either type, and that no file appears."""

    def refused(model, y=None, match="disagree on"):
        X, codes = rows
        model.fit(X, codes if y is None else y)
        path = tmp_path / "model.onnx"
        for dtype in ("float32", "float64"):
            with pytest.raises(ExportMismatch, match=match):
                to_onnx(model, path, dtype=dtype)
        assert not list(tmp_path.iterdir())

    return refused


def change_constant(monkeypatch, name, change):
    """Let every float constant called `name` be changed on its way into the graph."""
    honest = GraphEmitter.constant

    def constant(self, wanted, array, *, divisor=False):
        array = np.asarray(array, dtype=np.float64)
        return honest(self, wanted, change(array) if wanted == name else array, divisor=divisor)

    monkeypatch.setattr(GraphEmitter, "constant", constant)


def change_node(monkeypatch, op, become=None, **changed):
    """Let every operator `op` become another one, or get other attributes."""
    honest = GraphEmitter.node

    def node(self, wanted, *inputs, **keywords):
        if wanted == op:
            wanted, keywords = become or op, keywords | changed
        return honest(self, wanted, *inputs, **keywords)

    monkeypatch.setattr(GraphEmitter, "node", node)


LOGISTIC, HUBER = LogisticRegression(max_iter=100), SGDClassifier(loss="modified_huber", random_state=0)
ONE_VS_REST = SGDClassifier(loss="log_loss", random_state=0)


@pytest.mark.parametrize("binary", [False, True], ids=["four classes", "two classes"])
@pytest.mark.parametrize("model", [LOGISTIC, RidgeClassifier(), HUBER, ONE_VS_REST])
@pytest.mark.parametrize("change", [np.negative, lambda w: w * 1.001, lambda w: w[::-1]])
def test_wrong_coefficients(model, change, binary, refused, rows, monkeypatch):
    change_constant(monkeypatch, "coef", change)
    refused(model, rows[1] > 1 if binary else None)


@pytest.mark.parametrize("change", [lambda b: b + 1e-4 * np.arange(4), lambda b: b[::-1], np.zeros_like])
def test_wrong_intercepts(change, refused, monkeypatch):
    change_constant(monkeypatch, "intercept", change)
    refused(LOGISTIC)


@pytest.mark.parametrize("model", [LOGISTIC, RidgeClassifier(), HUBER])
def test_wrong_order_of_the_classes(model, refused, rows, monkeypatch):
    _, codes = rows
    honest = Emitter.integers
    for change in (
        lambda v: v[::-1],
        lambda v: v + 1,
        lambda v: v[[0, 2, 1, 3]] if len(v) == 4 else v[[1, 0]],
    ):

        def integers(self, name, values, change=change):
            return honest(self, name, change(np.asarray(values)) if name == "labels" else values)

        monkeypatch.setattr(Emitter, "integers", integers)
        refused(model, LABELS["other integers"][codes], match="disagree on label.*expected class")
        refused(model, np.where(codes > 1, 8, -8), match="disagree on label.*expected class")


def test_labels_that_forget_their_values(refused, rows, monkeypatch):
    """Indices where the classes are integers of their own."""
    honest = Emitter.label
    monkeypatch.setattr(
        Emitter, "label", lambda self, scores, labels: honest(self, scores, np.arange(len(labels)))
    )
    refused(LOGISTIC, LABELS["other integers"][rows[1]], match="got no class")


@pytest.mark.parametrize(
    ("model", "op", "become"),
    [
        (LOGISTIC, "Softmax", "Identity"),
        (ONE_VS_REST, "Exp", "Identity"),
        (ONE_VS_REST, "Log", "Identity"),
        (ONE_VS_REST, "Abs", "Identity"),
        (HUBER, "Div", "Mul"),
        (HUBER, "Equal", "Greater"),
    ],
)
def test_wrong_operators(model, op, become, refused, monkeypatch):
    def without_axis(self, wanted, *inputs, **keywords):
        if wanted == op and become == "Identity":
            keywords.pop("axis", None)
        return honest(self, become if wanted == op else wanted, *inputs, **keywords)

    honest = GraphEmitter.node
    monkeypatch.setattr(GraphEmitter, "node", without_axis)
    refused(model)


def test_softmax_over_the_wrong_axis(refused, monkeypatch):
    change_node(monkeypatch, "Softmax", axis=0)
    refused(LOGISTIC, match="disagree on probabilities")


def test_the_smallest_score(refused, rows, monkeypatch):
    change_node(monkeypatch, "ArgMax", become="ArgMin")
    with pytest.raises(ValueError, match="no operator 'ArgMin'"):
        to_onnx(LOGISTIC.fit(*rows))
    monkeypatch.undo()
    honest = Emitter.label

    def smallest(self, scores, labels):
        return honest(self, self.node("Neg", scores, shape=scores.shape), labels)

    monkeypatch.setattr(Emitter, "label", smallest)
    refused(LOGISTIC, match="disagree on label")
    refused(RidgeClassifier(), rows[1] > 1, match="disagree on label")


@pytest.mark.parametrize("binary", [LOGISTIC, RidgeClassifier(), HUBER])
def test_wrong_side_of_zero(binary, refused, rows, monkeypatch):
    change_node(monkeypatch, "Greater", become="Equal")
    refused(binary, rows[1] > 1, match="disagree on label")


def test_wrong_order_of_two_probabilities(refused, rows, monkeypatch):
    honest = GraphEmitter.node

    def node(self, op, *inputs, **keywords):
        return honest(self, op, *(reversed(inputs) if op == "Concat" else inputs), **keywords)

    monkeypatch.setattr(GraphEmitter, "node", node)
    refused(LOGISTIC, rows[1] > 1, match="disagree on probabilities")


def test_forgotten_equal_shares(refused, monkeypatch):
    """Rows whose scores are all far below zero."""
    change_constant(monkeypatch, "vanishing", lambda limit: limit - 1e30)
    refused(ONE_VS_REST, match="disagree on probabilities")
    monkeypatch.undo()
    change_constant(monkeypatch, "equal", lambda share: share / 2)
    refused(ONE_VS_REST, match="disagree on probabilities")
    refused(HUBER, match="disagree on probabilities")


def test_a_mistake_that_the_formula_shares_is_caught_by_the_native_model(refused, rows, monkeypatch):
    monkeypatch.setattr(converters, "_link", lambda model: "softmax")
    refused(ONE_VS_REST, match="the native model disagree on probabilities")
    monkeypatch.undo()
    honest = converters._weights
    monkeypatch.setattr(converters, "_weights", lambda model: honest(model)[:, ::-1])
    refused(
        RidgeClassifier(), match="and the native model disagree on label: |native model disagree on label"
    )
    monkeypatch.setattr(converters, "_weights", lambda model: -honest(model))
    refused(RidgeClassifier(), rows[1] > 1, match="native model disagree on label")


def test_a_subclass_that_answers_otherwise_is_not_exported(refused):
    class Threshold(LogisticRegression):
        def predict(self, X):
            return self.classes_[(self.predict_proba(X)[:, 0] < 0.9).astype(int)]

    class Sharp(LogisticRegression):
        def predict_proba(self, X):
            return np.round(super().predict_proba(X))

    class Stranger(LogisticRegression):
        def predict(self, X):
            return np.full(len(X), "nobody")

    refused(Threshold(max_iter=100), match="the native model disagree on label")
    refused(Sharp(max_iter=100), match="the native model disagree on probabilities")
    refused(Stranger(max_iter=100), match="the native model disagree on label.*expected no class")


def test_labels_that_cannot_be_told_apart(rows, tmp_path):
    """Scores that differ in their tenth digit are all alike in float32."""
    X, codes = rows
    model = RidgeClassifier().fit(X, codes)
    model.coef_ = 1 + 1e-10 * model.coef_
    model.intercept_ = np.zeros(4)
    with pytest.raises(ExportMismatch, match="no probe could be compared by its label"):
        to_onnx(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
    to_onnx(model, dtype="float64")


# --- forged files ---


@pytest.fixture
def exported(rows, tmp_path):
    """Export a small classifier; return the model and its path."""
    X, codes = rows
    path = tmp_path / "model.onnx"
    return to_onnx(LogisticRegression(max_iter=100).fit(X, 10 * codes + 5), path), path


def rewrite(model, path):
    """Write a changed model with a checksum that fits, as a forger would."""
    seal(model)
    path.write_bytes(model.SerializeToString())


def test_swapped_classes_with_a_forged_checksum_are_a_mismatch(exported):
    model, path = exported
    labels = next(each for each in model.graph.initializer if each.name == "labels")
    labels.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(labels)[::-1].copy(), "labels"))
    rewrite(model, path)
    report = verify_file(path)
    assert not report.ok
    assert report.golden_rows > 0
    assert re.search(r"golden row \d+ \(.*\): expected class \d+, got class \d+", report.failures[0])
    assert all(len(line) <= 79 for line in report.lines())


def change_json(key, change):
    """Return a forger that edits one JSON entry."""

    def forge(model):
        entry = next(each for each in model.metadata_props if each.key == f"manyfit.{key}")
        value = json.loads(entry.value)
        replaced = change(value)
        entry.value = json.dumps(value if replaced is None else replaced)

    return forge


def remove(key):
    """Return a forger that removes one entry."""

    def forge(model):
        model.metadata_props.remove(next(e for e in model.metadata_props if e.key == f"manyfit.{key}"))

    return forge


def set_format(text):
    """Return a forger that sets the format."""

    def forge(model):
        next(e for e in model.metadata_props if e.key == "manyfit.format").value = text

    return forge


@pytest.mark.parametrize(
    "forge",
    [
        set_format("1"),
        set_format("3"),
        remove("classes"),
        change_json("classes", lambda v: []),
        change_json("classes", lambda v: v.update(names=[5])),
        change_json("classes", lambda v: v.update(names=[5, 15, 25, 25])),
        change_json("classes", lambda v: v.update(names=[5, 15, 25])),
        change_json("classes", lambda v: v.update(names=[5, 15, 25, 36])),
        change_json("classes", lambda v: v.update(names=[5, 15, 25, 2**70])),
        change_json("classes", lambda v: v.update(names=["5", "15", "25", "35"])),
        change_json("classes", lambda v: v.update(names=[5, 15, 25, [35]])),
        change_json("classes", lambda v: v.update(label="name")),
        change_json("classes", lambda v: v.update(label=["value"])),
        change_json("classes", lambda v: v.update(label="index")),
        change_json("outputs", lambda v: v[:1]),
        change_json("outputs", lambda v: v[1:]),
        change_json("outputs", lambda v: v[::-1]),
        change_json("outputs", lambda v: v[0].update(dtype="float32")),
        change_json("outputs", lambda v: v[0].update(shape=["N", 1])),
        change_json("outputs", lambda v: v[0].update(name="probabilities")),
        change_json("outputs", lambda v: v[1].update(dtype="int64")),
        change_json("outputs", lambda v: v[1].update(shape=["N", 3])),
        change_json("outputs", lambda v: v[1].update(shape=["N"])),
        change_json("verification", lambda v: v.pop("undecided_labels")),
        change_json("verification", lambda v: v.update(other_labels="none")),
        change_json("golden", lambda v: v["outputs"].pop("label")),
        change_json("golden", lambda v: v["outputs"].update(label=v["outputs"]["probabilities"])),
        change_json("golden", lambda v: v["tolerances"].pop("probabilities")),
        lambda m: m.graph.output.pop(),
        lambda m: setattr(m.graph.output[0].type.tensor_type, "elem_type", onnx.TensorProto.INT32),
        lambda m: setattr(m.graph.output[1].type.tensor_type.shape.dim[1], "dim_value", 5),
    ],
)
def test_forged_files(forge, exported):
    model, path = exported
    forge(model)
    rewrite(model, path)
    with pytest.raises(ModelFormatError) as raised:
        verify_file(path)
    assert str(raised.value).isprintable()


def test_classes():
    classes = Classes.of(np.array(["a", "b", "c"]))
    assert not classes.by_value
    assert classes.told(np.array([2, 0, 5, -1])).tolist() == [2, 0, -1, -1]
    assert classes.predicted(np.array(["c", "a", "nobody"])).tolist() == [2, 0, -1]
    large = Classes.of(np.array([2**62, 2**62 + 1]))
    assert large.told(np.array([2**62 + 1, 2**62])).tolist() == [1, 0]
    with pytest.raises(ValueError, match="numbers or strings"):
        Classes.of(np.array([(1,), None], dtype=object))
