"""`verify_file`: intact files replay, altered ones are noticed, hostile ones only raise ModelFormatError."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from manyfit.exceptions import ModelFormatError
from manyfit.onnx import files, to_onnx, verify_file
from manyfit.onnx.metadata import CHECKSUM_KEY, seal


@pytest.fixture
def exported(data, tmp_path):
    """Export a small pipeline; return the model and its path."""
    X, Y = data
    path = tmp_path / "model.onnx"
    model = make_pipeline(StandardScaler(), PCA(2), MinMaxScaler(clip=True), Ridge()).fit(X, Y[:, 0])
    return to_onnx(model, path), path


def rewrite(model, path):
    """Write a changed model with a checksum that fits, as a forger would."""
    seal(model)
    path.write_bytes(model.SerializeToString())


def entry(model, key):
    """Return one metadata entry for editing."""
    return next(each for each in model.metadata_props if each.key == f"manyfit.{key}")


def test_every_kind_of_model_replays(make_model, data, tmp_path):
    X, Y = data
    path = tmp_path / "model.onnx"
    for dtype in ("float32", "float64"):
        to_onnx(make_model().fit(X, Y), path, dtype=dtype)
        report = verify_file(path)
        assert report.ok
        assert report.golden_rows >= 4
        assert report.worst_ratio <= 1


def test_report(exported):
    _, path = exported
    report = verify_file(str(path))
    lines = report.lines()
    assert lines[0].startswith("OK: ")
    assert all(len(line) <= 79 for line in lines)
    text = "\n".join(lines)
    for part in (
        "sklearn.pipeline.Pipeline",
        "portable",
        "float32",
        "6 features",
        "predictions [N]",
        "onnxruntime",
    ):
        assert part in text
    assert report.failures == ()
    assert report.max_error < 1e-3


def test_saving_again_with_onnx_keeps_the_file_intact(exported, tmp_path):
    _, path = exported
    again = tmp_path / "again.onnx"
    onnx.save(onnx.load(path), again)
    assert verify_file(again).ok


@pytest.mark.parametrize("seed", range(3))
def test_any_altered_byte_is_noticed(exported, seed):
    _, path = exported
    intact = path.read_bytes()
    rng = np.random.default_rng(seed)
    # Every region gets its share: the graph, the golden rows and the small entries around them.
    regions = [intact.index(mark) for mark in (b"manyfit.format", b"manyfit.golden", b"manyfit.checksum")]
    bounds = [0, *regions, len(intact)]
    for start, stop in itertools.pairwise(bounds):
        for position in rng.integers(start, stop, 60):
            damaged = bytearray(intact)
            damaged[position] ^= 1 << rng.integers(8)
            path.write_bytes(damaged)
            assert_noticed(path)


def assert_noticed(path):
    """Check that a damaged file is reported, and that the report can be printed."""
    try:
        report = verify_file(path)
    except ModelFormatError as error:
        message = str(error)
        report = None
    if report is None:
        assert message.startswith(path.name)
        assert message.isprintable()
    else:
        assert not report.ok
        assert report.golden_rows == 0
        assert "altered after export" in "\n".join(report.lines())


def test_any_truncation_is_noticed(exported):
    _, path = exported
    intact = path.read_bytes()
    for length in [*range(0, 40), *range(40, len(intact), 37), *range(len(intact) - 100, len(intact))]:
        path.write_bytes(intact[:length])
        assert_noticed(path)
    path.write_bytes(intact + b"\0")
    assert_noticed(path)
    path.write_bytes(intact + intact)
    assert_noticed(path)


def test_insertions_and_deletions_are_noticed(exported):
    _, path = exported
    intact = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(150):
        at, n = rng.integers(len(intact)), rng.integers(1, 9)
        path.write_bytes(intact[:at] + rng.bytes(n) + intact[at:])
        assert_noticed(path)
        path.write_bytes(intact[:at] + intact[at + n :])
        assert_noticed(path)


def test_an_altered_weight_with_a_forged_checksum_is_a_mismatch(exported):
    model, path = exported
    coef = next(each for each in model.graph.initializer if each.name == "coef")
    coef.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(coef) * np.float32(1.001), "coef"))
    rewrite(model, path)
    report = verify_file(path)
    assert not report.ok
    assert report.golden_rows > 0
    assert report.worst_ratio > 1
    assert re.search(r"golden row \d+ \(.*\): expected .*, got .*, difference .*, bound", report.failures[0])
    assert all(len(line) <= 79 for line in report.lines())
    assert report.lines()[0].startswith("FAILED: ")


def test_a_swapped_operator_with_a_forged_checksum_is_a_mismatch(exported):
    model, path = exported
    model.graph.node[0].op_type = "Add"
    rewrite(model, path)
    assert not verify_file(path).ok


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"PK\x03\x04" + b"x" * 50, b"{}", b"\x08\x08" * 50])
def test_not_onnx(content, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"model\.onnx: not an ONNX file"):
        verify_file(path)


def test_onnx_that_manyfit_did_not_write(exported):
    model, path = exported
    del model.metadata_props[:]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFormatError, match="no manyfit metadata"):
        verify_file(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        verify_file(tmp_path / "missing.onnx")
    with pytest.raises(IsADirectoryError):
        verify_file(tmp_path)


def test_the_size_is_capped(exported, monkeypatch):
    _, path = exported
    monkeypatch.setattr(files, "MAX_FILE_BYTES", path.stat().st_size - 1)
    with pytest.raises(ModelFormatError, match=r"model\.onnx: larger than"):
        verify_file(path)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", path.stat().st_size)
    assert verify_file(path).ok


def test_models_above_the_cap_are_not_exported(data, monkeypatch, tmp_path):
    X, Y = data
    monkeypatch.setattr("manyfit.onnx.export.MAX_FILE_BYTES", 1000)
    with pytest.raises(ValueError, match="at most 1000 are written"):
        to_onnx(Ridge().fit(X, Y), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_external_data_is_rejected(exported, tmp_path):
    model, path = exported
    (tmp_path / "secret").write_bytes(b"\0" * 64)
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    rewrite(model, path)
    with pytest.raises(ModelFormatError, match="lie in another file"):
        verify_file(path)


def test_external_data_is_rejected_in_attributes(exported):
    model, path = exported
    hidden = helper.make_node(
        "Constant", [], ["hidden"], value=helper.make_tensor("t", TensorProto.FLOAT, [1], [0])
    )
    hidden.attribute[0].t.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.insert(0, hidden)
    rewrite(model, path)
    with pytest.raises(ModelFormatError, match="lie in another file"):
        verify_file(path)


def set_json(model, key, change):
    """Edit one JSON entry of the metadata."""
    value = json.loads(entry(model, key).value)
    replaced = change(value)
    entry(model, key).value = json.dumps(value if replaced is None else replaced)


@pytest.mark.parametrize(
    "forge",
    [
        lambda m: setattr(entry(m, "format"), "value", "2"),
        lambda m: setattr(entry(m, "profile"), "value", "huge"),
        lambda m: setattr(entry(m, "dtype"), "value", "float64"),
        lambda m: setattr(entry(m, "n_features"), "value", "7"),
        lambda m: setattr(entry(m, "n_features"), "value", "-1"),
        lambda m: setattr(entry(m, "n_features"), "value", "9" * 5000),
        lambda m: setattr(entry(m, "n_features"), "value", str(10**30)),
        lambda m: setattr(entry(m, "estimator"), "value", "\x1b[2J"),
        lambda m: setattr(entry(m, "version"), "value", "v" * 2000),
        lambda m: setattr(entry(m, "golden"), "value", "[" * 100_000),
        lambda m: setattr(entry(m, "golden"), "value", "null"),
        lambda m: setattr(entry(m, "golden"), "value", '"text"'),
        lambda m: setattr(entry(m, "outputs"), "value", "[]"),
        lambda m: setattr(entry(m, "outputs"), "value", "[[]]"),
        lambda m: m.metadata_props.remove(entry(m, "golden")),
        lambda m: m.metadata_props.remove(entry(m, "verification")),
        lambda m: m.metadata_props.append(entry(m, "golden")),
        lambda m: set_json(m, "features", lambda v: v.update(names=["a"])),
        lambda m: set_json(m, "features", lambda v: v.update(names=[1] * 6)),
        lambda m: set_json(m, "features", lambda v: []),
        lambda m: set_json(m, "outputs", lambda v: v[0].update(shape=[])),
        lambda m: set_json(m, "outputs", lambda v: v[0].update(shape=["N", 0])),
        lambda m: set_json(m, "outputs", lambda v: v[0].update(shape=["N", -1])),
        lambda m: set_json(m, "outputs", lambda v: v[0].update(shape=["N", 2])),
        lambda m: set_json(m, "outputs", lambda v: v[0].update(shape=["N", True])),
        lambda m: set_json(m, "outputs", lambda v: v[0].update(name="other")),
        lambda m: set_json(m, "verification", lambda v: v.update(max_error=float("nan"))),
        lambda m: set_json(m, "verification", lambda v: v.update(worst_ratio="0")),
        lambda m: set_json(m, "verification", lambda v: v.update(runtimes={"onnx": 1})),
        lambda m: set_json(m, "verification", lambda v: v.update(runtimes=["onnx"])),
        lambda m: set_json(m, "golden", lambda v: v.update(kinds=[])),
        lambda m: set_json(m, "golden", lambda v: v.update(kinds=["x"] * 20_000)),
        lambda m: set_json(m, "golden", lambda v: v["kinds"].pop()),
        lambda m: set_json(m, "golden", lambda v: v.update(inputs=v["inputs"][:-4])),
        lambda m: set_json(m, "golden", lambda v: v.update(inputs="!" * len(v["inputs"]))),
        lambda m: set_json(m, "golden", lambda v: v.update(outputs={})),
        lambda m: set_json(m, "golden", lambda v: v.update(tolerances=v["inputs"])),
        # A tolerance of NaN: base64 of NaN bytes in every place.
        lambda m: set_json(m, "golden", nan_tolerances),
    ],
)
def test_forged_metadata(forge, exported):
    model, path = exported
    forge(model)
    rewrite(model, path)
    with pytest.raises(ModelFormatError):
        verify_file(path)


def nan_tolerances(golden):
    """Replace all tolerances by NaN."""
    import base64

    nan = np.full(len(golden["kinds"]), np.nan).tobytes()
    golden["tolerances"] = {"predictions": base64.b64encode(nan).decode()}


def set_weights(model, array):
    """Replace the model's coefficients."""
    tensor = next(each for each in model.graph.initializer if each.name == "coef")
    tensor.CopyFrom(numpy_helper.from_array(array, "coef"))


@pytest.mark.parametrize(
    "forge",
    [
        lambda m: setattr(m.graph.node[0], "op_type", "Loop"),
        lambda m: setattr(m.graph.node[0], "op_type", "\x1b[31m"),
        lambda m: setattr(m.graph.node[0], "domain", "com.microsoft"),
        lambda m: setattr(m, "ir_version", 13),
        lambda m: setattr(m.opset_import[0], "version", 21),
        lambda m: m.opset_import.add(domain="ai.onnx.ml", version=5),
        lambda m: m.opset_import.add(domain="", version=18),
        lambda m: m.functions.add(name="f", domain="local"),
        lambda m: m.training_info.add(),
        lambda m: m.graph.sparse_initializer.add(),
        lambda m: m.graph.input.add(name="Y"),
        lambda m: setattr(m.graph.input[0], "name", "Z"),
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 7),
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.DOUBLE),
        lambda m: setattr(m.graph.output[0], "name", "other"),
        lambda m: m.graph.output.add(name="another"),
        lambda m: m.graph.node.add(op_type="Add", input=["X", "missing"], output=["loose"]),
        lambda m: setattr(m.graph.initializer[0], "raw_data", b"\0"),
        lambda m: m.graph.initializer[0].dims.append(2**40),
        lambda m: set_weights(m, np.ones((2, 1), dtype=np.float64)),
        lambda m: set_weights(m, np.ones((3, 1), dtype=np.float32)),
        lambda m: m.graph.node[0].attribute.add(name="body", type=onnx.AttributeProto.GRAPH),
    ],
)
def test_forged_graphs(forge, exported):
    """A graph this package could not have written is not handed to ONNX Runtime."""
    model, path = exported
    forge(model)
    rewrite(model, path)
    with pytest.raises(ModelFormatError) as raised:
        verify_file(path)
    assert str(raised.value).isprintable()


def test_damage_to_the_metadata_is_called_by_its_name(exported):
    model, path = exported
    entry = next(each for each in model.metadata_props if each.key.endswith("golden"))
    entry.value = "{"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFormatError, match="altered after export: the manyfit metadata is malformed"):
        verify_file(path)


def test_a_second_or_strange_checksum_is_no_checksum(exported):
    model, path = exported
    checksum = model.metadata_props[-1].value
    assert model.metadata_props[-1].key == CHECKSUM_KEY
    for value in ("", "sha256:", checksum.upper(), checksum + "0", "md5:" + "0" * 32):
        model.metadata_props[-1].value = value
        path.write_bytes(model.SerializeToString())
        assert not verify_file(path).ok
    model.metadata_props[-1].value = checksum
    model.doc_string = checksum
    path.write_bytes(model.SerializeToString())
    assert not verify_file(path).ok


def test_a_runtime_that_cannot_run_the_graph_is_a_failure_not_a_crash(exported, monkeypatch):
    _, path = exported

    def refuse(serialized):
        raise RuntimeError("no kernel\nfor Gemm\x1b[0m")

    monkeypatch.setattr("manyfit.onnx.replay.onnxruntime_runner", refuse)
    report = verify_file(path)
    assert not report.ok
    assert report.failures == ("ONNX Runtime cannot run the graph: no kernel for Gemm?[0m",)


def test_a_runtime_that_depends_on_the_batch_size_is_noticed(exported, monkeypatch):
    from manyfit.onnx import replay

    _, path = exported
    honest = replay.onnxruntime_runner

    def wrong_for_one_row(serialized):
        run = honest(serialized)
        return lambda rows: [answer + (len(rows) == 1) for answer in run(rows)]

    monkeypatch.setattr(replay, "onnxruntime_runner", wrong_for_one_row)
    report = verify_file(path)
    assert not report.ok
    assert "one by one" in report.failures[0]
