"""load and files that are damaged, cut off or made to do harm: ModelFormatError, and nothing else."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import random
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import manyfit as mf
from manyfit.decomposition import PCA
from manyfit.exceptions import ModelFormatError
from manyfit.linear_model import Ridge

DIGEST = '"sha256":"'


class Parts:
    """A model file taken apart, to be changed and signed again: a digest does not stop intent."""

    def __init__(self, raw: bytes) -> None:
        length = int.from_bytes(raw[:8], "little")
        self.header: dict[str, Any] = json.loads(raw[8 : 8 + length])
        self.metadata: dict[str, Any] = self.header["__metadata__"]
        self.model: dict[str, Any] = json.loads(self.metadata["model"])
        self.buffer = raw[8 + length :]

    def text(self) -> str:
        metadata = self.metadata | {"model": json.dumps(self.model)}
        return json.dumps(self.header | {"__metadata__": metadata}, separators=(",", ":"))

    def signed(self, text: str | None = None) -> bytes:
        text = self.text() if text is None else text
        begin = text.index(DIGEST) + len(DIGEST)
        unsigned = (text[:begin] + "0" * 64 + text[begin + 64 :]).encode("utf-8", "surrogatepass")
        prefix = len(unsigned).to_bytes(8, "little")
        digest = hashlib.sha256(prefix + unsigned + self.buffer).hexdigest()
        return prefix + unsigned.replace(b"0" * 64, digest.encode(), 1) + self.buffer


def ridge() -> Ridge:
    """Return a small model with something of each kind in it."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(12, 3))
    est = Ridge(alpha=np.array([1.0, 2.0]), random_state=np.random.RandomState(3))
    est.fit(X, np.column_stack([X @ [1.0, 2.0, 3.0], X[:, 0]]))
    est.feature_names_in_ = np.array(["a", "b", "c"], dtype=object)
    est.pair_ = ({"key": -0.0, 2: "two"}, [np.float32(1), 2**70, float("inf")], b"\x00")
    est.labels_ = np.array(["no", "yes"])
    est.flags_ = np.array([True, False])
    return est


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "ridge.safetensors"
    mf.save(ridge(), path)
    return path.read_bytes()


@pytest.fixture
def refuse(tmp_path: Path) -> Callable[..., None]:
    """``refuse(raw, message)``: loading these bytes raises ModelFormatError, whose message names the file."""
    path = tmp_path / "bad.safetensors"

    def check(raw: bytes, message: str = ".") -> None:
        path.write_bytes(raw)
        with pytest.raises(ModelFormatError, match=message) as caught:
            mf.load(path)
        assert str(caught.value).startswith(f"cannot load {str(path)!r}: ")

    return check


def test_taken_apart_and_signed_again_it_loads(good: bytes, tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes(Parts(good).signed())
    assert mf.load(tmp_path / "same").pair_[1][1] == 2**70


# Damage


def test_every_byte_flipped(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "flipped.safetensors"
    path.write_bytes(good)
    with open(path, "r+b", buffering=0) as file:
        for position, byte in enumerate(good):
            # One bit, and the bit that turns a hexadecimal digit of the digest into its capital.
            for bits in (1 << position % 8, 0x20):
                os.pwrite(file.fileno(), bytes([byte ^ bits]), position)
                with pytest.raises(ModelFormatError):
                    mf.load(path)
            os.pwrite(file.fileno(), bytes([byte]), position)
    assert mf.load(path).pair_[1][1] == 2**70


def test_cut_off_at_every_length(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(good)
    for length in reversed(range(len(good))):
        os.truncate(path, length)
        with pytest.raises(ModelFormatError):
            mf.load(path)


def test_bytes_added_or_moved(good: bytes, refuse: Callable[..., None]) -> None:
    refuse(good[:100], "cut off or no model file")
    refuse(good + b"\0", "the tensors take")
    refuse(b"\0" + good)
    refuse(good[:-16] + good[-8:] + good[-16:-8], "SHA-256")
    refuse(good + good)


def test_flipped_weight_is_called_damage(good: bytes, refuse: Callable[..., None]) -> None:
    damaged = bytearray(good)
    damaged[-200] ^= 1
    refuse(bytes(damaged), "SHA-256 of the file is not the one stored in it: .*altered or damaged")


def test_random_bytes(refuse: Callable[..., None]) -> None:
    source = random.Random(5)
    for size in (0, 1, 7, 8, 9, 64, 5000):
        refuse(source.randbytes(size))
        refuse(source.randrange(size + 1).to_bytes(8, "little") + source.randbytes(size))


def test_a_file_that_shrinks_while_it_is_read(
    good: bytes, refuse: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fstat = os.fstat
    monkeypatch.setattr(
        os, "fstat", lambda fd: os.stat_result([*fstat(fd)[:6], fstat(fd).st_size + 100, *fstat(fd)[7:10]])
    )
    parts = Parts(good)
    last = max((entry for name, entry in parts.header.items() if name != "__metadata__"), key=end_of)
    parts.header["more"] = {"dtype": "U8", "shape": [100], "data_offsets": [end_of(last), end_of(last) + 100]}
    refuse(parts.signed(), "became shorter while it was read")
    refuse((len(good) + 50).to_bytes(8, "little") + good[8:], "became shorter while it was read")


def end_of(entry: dict[str, Any]) -> int:
    return int(entry["data_offsets"][1])


# Other files


def test_safetensors_of_others(tmp_path: Path, refuse: Callable[..., None]) -> None:
    refuse(safetensors.numpy.save({"coef_": np.ones(3)}), "was not written by manyfit")
    refuse(safetensors.numpy.save({"coef_": np.ones(3)}, {"format": "pt"}), "was not written by manyfit")


def test_files_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        mf.load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        mf.load(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        mf.load(tmp_path / "file" / "x")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFormatError, match="not a regular file"):
        mf.load(tmp_path / "pipe")
    with pytest.raises(ModelFormatError, match="not a regular file"):
        mf.load("/dev/zero")
    with pytest.raises(TypeError):
        mf.load(3)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(good: bytes, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(good)
    (tmp_path / "secret").chmod(0)
    with pytest.raises(PermissionError):
        mf.load(tmp_path / "secret")


# Intent: the header


def set_in(container: Any, path: str, value: Any) -> None:
    """Set the value at a path such as ``fitted.coef_.array``; the last part may be new."""
    *parents, last = path.split("/")
    for name in parents:
        container = container[int(name) if isinstance(container, list) else name]
    container[int(last) if isinstance(container, list) else last] = value


HEADERS: list[tuple[str, Any, str]] = [
    ("__metadata__", None, "not written by manyfit"),
    ("__metadata__/format", "pt", "not written by manyfit"),
    ("__metadata__/extra", "text", "the metadata must hold"),
    ("__metadata__/extra", 1, "something that is not text"),
    ("__metadata__/fortran_order", "3", "no list of names"),
    ("__metadata__/fortran_order", "[1]", "no list of names"),
    ("__metadata__/fortran_order", '["nobody"]', "that the file does not have"),
    ("__metadata__/fortran_order", "[", "not valid JSON"),
    ("coef_", 5, "must have dtype, shape and data_offsets"),
    ("coef_/more", 5, "must have dtype, shape and data_offsets"),
    ("coef_/dtype", "F63", "unknown dtype 'F63'"),
    ("coef_/dtype", ["F64"], "unknown dtype"),
    ("coef_/dtype", "BF16", "unknown dtype"),
    ("coef_/dtype", "F32", "lies at"),
    ("coef_/shape", [3, 2, 2], "lies at"),
    ("coef_/shape", [-2, -3], "impossible shape"),
    ("coef_/shape", [2.0, 3.0], "impossible shape"),
    ("coef_/shape", [2, True, 3], "impossible shape"),
    ("coef_/shape", "23", "impossible shape"),
    ("coef_/shape", [2**63], "impossible shape"),
    ("coef_/shape", [2**62, 2**62, 2**62], "lies at"),
    ("coef_/shape", [1] * 65, "impossible shape"),
    ("coef_/data_offsets", [0], "impossible data_offsets"),
    ("coef_/data_offsets", [-8, 40], "impossible data_offsets"),
    ("coef_/data_offsets", [0, 2**64], "impossible data_offsets"),
    ("coef_/data_offsets", [48, 0], "lies at"),
    ("coef_/data_offsets", [0.0, 48.0], "impossible data_offsets"),
    ("twin", {"dtype": "U8", "shape": [0], "data_offsets": [2**40, 2**40]}, "begins at byte"),
    ("twin", {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}, "begins at byte|expected"),
    ("twin", {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}, r"no use for the tensors \['twin'\]"),
    ("twin", {"dtype": "F64", "shape": [0, 2**62], "data_offsets": [0, 0]}, "impossible shape"),
    ("twin", {"dtype": "F64", "shape": [2**40, 0, 2**40], "data_offsets": [0, 0]}, "impossible shape"),
]


@pytest.mark.parametrize(("path", "value", "message"), HEADERS)
def test_header(path: str, value: Any, message: str, good: bytes, refuse: Callable[..., None]) -> None:
    parts = Parts(good)
    set_in(parts.header, path, value)
    if path == "__metadata__":
        parts.metadata = {"sha256": "0" * 64}
    refuse(parts.signed(), message)


@pytest.mark.parametrize("name", ["format_version", "manyfit_version", "sha256", "fortran_order", "model"])
def test_missing_metadata(name: str, good: bytes, refuse: Callable[..., None]) -> None:
    parts = Parts(good)
    text = parts.text()
    shortened = json.loads(text)
    del shortened["__metadata__"][name]
    if name == "sha256":
        raw = json.dumps(shortened).encode()
        refuse(len(raw).to_bytes(8, "little") + raw + parts.buffer, "the metadata lacks sha256")
    else:
        refuse(parts.signed(json.dumps(shortened, separators=(",", ":"))), "the metadata (lacks|must hold)")


def test_overlapping_tensors(good: bytes, refuse: Callable[..., None]) -> None:
    parts = Parts(good)
    parts.header["coef_"]["data_offsets"] = parts.header["alpha"]["data_offsets"]
    parts.header["coef_"]["shape"] = [2]
    refuse(parts.signed(), "begins at byte")


def test_truth_values(good: bytes, refuse: Callable[..., None]) -> None:
    parts = Parts(good)
    begin = parts.header["flags_"]["data_offsets"][0]
    parts.buffer = parts.buffer[:begin] + b"\x02" + parts.buffer[begin + 1 :]
    refuse(parts.signed(), "neither 0 nor 1")


def test_characters(good: bytes, refuse: Callable[..., None]) -> None:
    parts = Parts(good)
    begin = parts.header["labels_"]["data_offsets"][0]
    parts.buffer = parts.buffer[:begin] + b"\xff" * 4 + parts.buffer[begin + 4 :]
    refuse(parts.signed(), "a number that is no character")


def test_utf8(good: bytes, refuse: Callable[..., None]) -> None:
    for name, replacement, message in [
        ("feature_names_in_.utf8", b"\xff", "not UTF-8"),
        ("feature_names_in_.lengths", (-1).to_bytes(8, "little", signed=True), "do not add up"),
        ("feature_names_in_.lengths", (2**62).to_bytes(8, "little"), "do not add up"),
        ("feature_names_in_.lengths", np.array([3, -1, 1], "<i8").tobytes(), "do not add up"),
    ]:
        parts = Parts(good)
        begin = parts.header[name]["data_offsets"][0]
        parts.buffer = parts.buffer[:begin] + replacement + parts.buffer[begin + len(replacement) :]
        refuse(parts.signed(), message)


def test_digest_is_not_what_is_written(good: bytes, refuse: Callable[..., None]) -> None:
    parts = Parts(good)
    for stored in ("", "0" * 63, "é" * 64, "\\u0030" * 64, "0" * 10_000):
        text = parts.text().replace(parts.metadata["sha256"], stored)
        raw = text.encode()
        refuse(len(raw).to_bytes(8, "little") + raw + parts.buffer, "sha256 is not|SHA-256")


@pytest.mark.parametrize("version", ["2", "0", "", "1.0", " 1", "x" * 10_000])
def test_format_version(version: str, good: bytes, refuse: Callable[..., None]) -> None:
    parts = Parts(good)
    parts.metadata["format_version"], parts.metadata["manyfit_version"] = version, "7.8.9"
    refuse(
        parts.signed(), "format version .* written by manyfit '7.8.9'; this manyfit reads format version 1"
    )


def test_written_by_another_manyfit(good: bytes, refuse: Callable[..., None]) -> None:
    parts = Parts(good)
    parts.metadata["manyfit_version"] = "7.8.9"
    parts.model["params"]["new"] = 1
    refuse(parts.signed(), f"no parameter 'new'.*written by manyfit '7.8.9', this is {mf.__version__}")


# Intent: the JSON

TEXTS: list[tuple[Callable[[str], str], str]] = [
    (lambda text: "[" * 100_000, "nested too deeply"),
    (lambda text: '{"a":' * 100_000, "nested too deeply"),
    (lambda text: "[]", "no JSON object"),
    (lambda text: '"text"', "no JSON object"),
    (lambda text: "", "not valid JSON"),
    (lambda text: text + "{}", "not valid JSON"),
    (lambda text: "\ufeff" + text, "not valid JSON"),
    (lambda text: '{"a":NaN,' + text[1:], "NaN is not JSON"),
    (lambda text: '{"a":-Infinity,' + text[1:], "-Infinity is not JSON"),
    (lambda text: text[:-1] + ',"coef_":{}}', "same key twice"),
    (lambda text: text[:-1] + ',"__metadata__":{}}', "same key twice"),
    (lambda text: '{"a":' + "9" * 5000 + "," + text[1:], "not valid JSON"),
    (lambda text: text.replace("coef_", "co\udfffef_"), "not UTF-8"),
    (lambda text: text.replace("coef_", "co\0ef_"), "not valid JSON"),
]


@pytest.mark.parametrize(("change", "message"), TEXTS)
def test_header_text(
    change: Callable[[str], str], message: str, good: bytes, refuse: Callable[..., None]
) -> None:
    parts = Parts(good)
    raw = change(parts.text()).encode("utf-8", "surrogatepass")
    refuse(len(raw).to_bytes(8, "little") + raw + parts.buffer, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the model is not valid JSON"),
        ("3", "the model must be a JSON dict"),
        ("null", "the model must be a JSON dict"),
        ('{"class":1,"class":2}', "same key twice"),
        ('{"class":NaN}', "NaN is not JSON"),
        ("{} {}", "the model is not valid JSON"),
        ("[" * 100_000, "the model is nested too deeply"),
        ('{"x":' * 10_000 + "1" + "}" * 10_000, "the model is nested too deeply"),
    ],
    ids=lambda text: text[:20],
)
def test_model_text(text: str, message: str, good: bytes, refuse: Callable[..., None]) -> None:
    parts = Parts(good)
    header = json.loads(parts.text())
    header["__metadata__"]["model"] = text
    refuse(parts.signed(json.dumps(header, separators=(",", ":"))), message)


def nested(kind: str, depth: int) -> Any:
    node: Any = None
    for _ in range(depth):
        node = {"tuple": [node]} if kind == "tuple" else {"dict": [["k", node]]} if kind == "dict" else [node]
    return node


MODELS: list[tuple[str, Any, str]] = [
    ("class", "manyfit.linear_model.Lasso9", "no public estimator 'manyfit.linear_model.Lasso9'"),
    ("class", "manyfit.linear_model._ridge.Ridge", "no public estimator"),
    ("class", "manyfit.nothing.Ridge", "no public estimator"),
    ("class", "manyfit.base.Estimator", "no public estimator"),
    ("class", "manyfit.persistence.Encoder", "no public estimator"),
    ("class", "manyfit.testing.Ridge", "no public estimator"),
    ("class", "manyfit.linear_model.Ridge\n", "no public estimator"),
    ("class", "manyfit..Ridge", "no public estimator"),
    ("class", "sklearn.linear_model.Ridge", "is no estimator of manyfit"),
    ("class", "os.system", "is no estimator of manyfit"),
    ("class", "Ridge", "is no estimator of manyfit"),
    ("class", "", "is no estimator of manyfit"),
    ("class", "x" * 10_000, r"xxx\.\.\. is no estimator of manyfit"),
    ("class", None, "must be text"),
    ("class", ["manyfit.linear_model.Ridge"], "must be text"),
    ("more", 1, "must hold class, params and fitted"),
    ("params", [], "must be a JSON dict"),
    ("fitted", None, "must be a JSON dict"),
    ("params/colour", 1, "Ridge has no parameter 'colour'; it has alpha"),
    ("params/fit", 1, "Ridge has no parameter 'fit'"),
    ("fitted/alpha", 1, "attribute 'alpha' of Ridge is a parameter"),
    ("fitted/predict", 1, "hides a method"),
    ("fitted/fit", {"array": "coef_"}, "missing or used already|hides a method"),
    ("fitted/__class__", 1, "is no name of a fitted attribute"),
    ("fitted/__dict__", 1, "is no name of a fitted attribute"),
    ("fitted/_parameter_constraints", {"dict": []}, "hides a constant"),
    ("fitted/not a name", 1, "is no name of a fitted attribute"),
    ("fitted/x_", 2**63, "more than 64 bits"),
    ("fitted/x_", {}, "of no known kind"),
    ("fitted/x_", {"pickle": "gASVAAA="}, "of no known kind"),
    ("fitted/x_", {"int": "0x1", "str": []}, "of no known kind"),
    ("fitted/x_", {"int": 3}, "must be a JSON str"),
    ("fitted/x_", {"int": "0x"}, "no hexadecimal integer"),
    ("fitted/x_", {"int": "12"}, "no hexadecimal integer"),
    ("fitted/x_", {"int": "0x1\n"}, "no hexadecimal integer"),
    ("fitted/x_", {"float": "00"}, "8 bytes of a float"),
    ("fitted/x_", {"float": "zz" * 8}, "x_: "),
    ("fitted/x_", {"float": 1}, "must be a JSON str"),
    ("fitted/x_", {"bytes": "0"}, "x_: "),
    ("fitted/x_", {"str": [0x110000]}, "no character"),
    ("fitted/x_", {"str": [-1]}, "no character"),
    ("fitted/x_", {"str": "text"}, "must be a JSON list"),
    ("fitted/x_", {"tuple": {"a": 1}}, "must be a JSON list"),
    ("fitted/x_", {"dict": {"a": 1}}, "must be a JSON list"),
    ("fitted/x_", {"dict": [["a"]]}, "pairs of key and value"),
    ("fitted/x_", {"dict": [["a", 1], ["a", 2]]}, "the same key twice"),
    ("fitted/x_", {"dict": [[1, 1], [True, 2]]}, "the same key twice"),
    ("fitted/x_", {"dict": [[[], 1]]}, "a list cannot be the key of a dict"),
    ("fitted/x_", {"scalar": ["F64", "00"]}, "a dtype and its bytes"),
    ("fitted/x_", {"scalar": ["O", "00" * 8]}, "a dtype and its bytes"),
    ("fitted/x_", {"scalar": ["BOOL", "02"]}, "a dtype and its bytes"),
    ("fitted/x_", {"scalar": ["F64"]}, "a dtype and its bytes"),
    ("fitted/x_", {"array": "nothing"}, "missing or used already"),
    ("fitted/x_", {"array": "coef_"}, "missing or used already"),
    ("fitted/x_", {"array": 3}, "must be a JSON str"),
    ("fitted/x_", {"array": ["coef_"]}, "must be a JSON str"),
    ("fitted/coef_", None, r"no use for the tensors \['coef_'\]|inconsistent"),
    ("fitted/coef_", {"array_str": "coef_"}, "tensor must be of uint32"),
    ("fitted/coef_", {"array_bytes": "coef_"}, "tensor must be of uint8"),
    ("fitted/coef_", {"array_none": [1 << 40]}, "must be a shape"),
    ("fitted/coef_", {"array_none": [1 << 20, 2]}, "must be a shape"),
    ("fitted/coef_", {"array_none": [True]}, "must be a shape"),
    ("fitted/coef_", {"array_none": [-1]}, "must be a shape"),
    ("fitted/coef_", {"array_none": "coef_"}, "must be a JSON list"),
    ("fitted/coef_", {"array_object": "coef_"}, "missing or used already"),
    ("fitted/x_", {"estimator": 3}, "must be a JSON dict"),
    ("fitted/x_", {"estimator": {}}, "must hold class, params and fitted"),
    (
        "fitted/x_",
        {"estimator": {"class": "os.system", "params": {}, "fitted": {}}},
        "no estimator of manyfit",
    ),
    ("fitted/n_features_in_", "3", "n_features_in_ must be an integer"),
    ("fitted/n_features_in_", -1, "n_features_in_ must be an integer"),
    ("fitted/n_features_in_", 4, "feature_names_in_|inconsistent"),
    ("fitted/feature_names_in_", ["a", "b", "c"], "no use for|feature_names_in_"),
    ("params/random_state/random_state/pos", 625, "pos must be an integer from 0 to 624"),
    ("params/random_state/random_state/pos", -1, "pos must be an integer"),
    ("params/random_state/random_state/pos", {"int": hex(2**70)}, "pos must be an integer"),
    ("params/random_state/random_state/key", {"tuple": [1]}, "key must be an array of 624 uint32"),
    ("params/random_state/random_state/has_gauss", 2, "has_gauss must be an integer"),
    ("params/random_state/random_state/gauss", 2, "gauss must be a float"),
    ("params/random_state/random_state/bit_generator", "Philox", "must be 'MT19937' or 'PCG64'"),
    ("params/random_state/random_state/bit_generator", [], "must be 'MT19937' or 'PCG64'"),
    ("params/random_state/random_state/bit_generator", "PCG64", "must hold"),
    ("params/random_state/random_state/more", 1, "must hold"),
    ("params/random_state/random_state", [], "must be a JSON dict"),
    ("params/random_state", {"generator": {"seed": [1, [], 0]}}, "must be 'MT19937' or 'PCG64'"),
    ("routing", 1, "must be a JSON dict"),
    ("routing", {"dict": [["fit", 1]]}, "a method with a dict"),
    ("routing", {"dict": [["owner", {"dict": []}]]}, "a method with a dict"),
    ("routing", {"dict": [["fit", {"dict": [["sample_weight", 1]]}]]}, "cannot be requested as 1"),
    ("routing", {"dict": [["fit", {"dict": [["sample_weight", "not a name"]]}]]}, "not a name"),
    *[
        ("fitted/x_", nested(kind, depth), "levels deep")
        for kind in ("list", "tuple", "dict")
        for depth in (65, 90)
    ],
]


@pytest.mark.parametrize(
    ("path", "value", "message"), MODELS, ids=[f"{index}-{path}" for index, (path, *_) in enumerate(MODELS)]
)
def test_model(path: str, value: Any, message: str, good: bytes, refuse: Callable[..., None]) -> None:
    parts = Parts(good)
    set_in(parts.model, path, value)
    refuse(parts.signed(), message)


def test_number_beyond_float64(good: bytes, refuse: Callable[..., None]) -> None:
    parts = Parts(good)
    parts.model["fitted"]["x_"] = 12345.5
    refuse(parts.signed(parts.text().replace("12345.5", "1e999")), "a number beyond float64")


PCG = {
    "bit_generator": "PCG64",
    "state": {"int": hex(2**100)},
    "inc": 1,
    "has_uint32": 0,
    "uinteger": 0,
    "seed": [5, [], 0],
}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("state", {"int": hex(2**128)}, "state must be an integer"),
        ("inc", -1, "inc must be an integer"),
        ("inc", True, "inc must be an integer"),
        ("has_uint32", 2, "has_uint32 must be"),
        ("uinteger", 2**32, "uinteger must be"),
        ("seed", None, "seed must be entropy"),
        ("seed", [5, []], "seed must be entropy"),
        ("seed", [-5, [], 0], "seed must be entropy"),
        ("seed", [[1.5], [], 0], "seed must be entropy"),
        ("seed", [5, [-1], 0], "seed must be entropy"),
        ("seed", [5, ["1"], 0], "seed must be entropy"),
        ("seed", [5, [], 2**32], "seed must be entropy"),
    ],
)
def test_generator(
    name: str, value: Any, message: str, good: bytes, refuse: Callable[..., None], tmp_path: Path
) -> None:
    parts = Parts(good)
    parts.model["fitted"]["x_"] = {"generator": PCG}
    (tmp_path / "good").write_bytes(parts.signed())
    assert mf.load(tmp_path / "good").x_.bit_generator.state["state"]["state"] == 2**100
    parts.model["fitted"]["x_"] = {"generator": PCG | {name: value}}
    refuse(parts.signed(), message)


# Intent: any change at all

JUNK: list[Any] = [None, True, 0, -1, 3, 2**40, 1.5, -0.0, "", "x", "coef_", [], [1], {}, {"array": "coef_"}]
JUNK += [
    {"array": "alpha"},
    {"array_object": "feature_names_in_"},
    {"tuple": [1, 2]},
    {"float": "7ff8" + "0" * 12},
]


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children:
        yield from places(child, (*path, name))


def mutate(tree: Any, source: random.Random) -> Any:
    """Change one place of a JSON tree: other value, other place's value, removed, renamed or wrapped."""
    tree = copy.deepcopy(tree)
    every = list(places(tree))
    *parents, last = source.choice(every[1:])
    parent = tree
    for name in parents:
        parent = parent[name]
    match source.randrange(5):
        case 0:
            parent[last] = source.choice(JUNK)
        case 1:
            value = tree
            for name in source.choice(every):
                value = value[name]
            parent[last] = copy.deepcopy(value)
        case 2:
            del parent[last]
        case 3 if isinstance(parent, dict):
            parent[source.choice(["x_", "array", "scalar", "random_state", "coef_", "shape"])] = parent.pop(
                last
            )
        case _:
            parent[last] = source.choice([lambda v: [v], lambda v: {"tuple": [v]}, lambda v: {"x": v}])(
                parent[last]
            )
    return tree


def use(est: Any) -> None:
    """Use a model that may hold anything: an error is an answer, a crash is not."""
    X = np.ones((2, 3))
    for method in ("predict", "transform", "inverse_transform", "get_covariance", "__repr__"):
        with contextlib.suppress(Exception):
            getattr(est, method)(*([X] if method[0] in "pti" else []))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(2))
def test_mutations(seed: int, good: bytes, tmp_path: Path) -> None:
    pca = PCA(2).fit(np.random.default_rng(0).normal(size=(9, 3)))
    mf.save(pca, tmp_path / "pca.safetensors")
    source = random.Random(seed)
    path = tmp_path / "mutant.safetensors"
    refused = 0
    for original in [good, (tmp_path / "pca.safetensors").read_bytes()]:
        for _ in range(300):
            parts = Parts(original)
            for _ in range(source.choice([1, 1, 2, 4])):
                if source.random() < 0.7:
                    parts.model = mutate(parts.model, source)
                else:
                    metadata = parts.header.pop("__metadata__")
                    parts.header = {"__metadata__": metadata} | mutate(parts.header, source)
            path.write_bytes(parts.signed())
            try:
                use(mf.load(path))
            except ModelFormatError:
                refused += 1
    assert 300 < refused < 600


@contextlib.contextmanager
def soft_limit(kind: int, value: int) -> Iterator[None]:
    """Set a resource limit of this process for a while."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def test_headers_that_lie_about_size_allocate_nothing(good: bytes, tmp_path: Path) -> None:
    liars = [length.to_bytes(8, "little") + good[8:] for length in (2**33, 2**63, 2**64 - 1)]
    for name, shape, size in [("coef_", [2**40], 2**40), ("coef_", [2**62], 2**62), ("twin", [0, 2**50], 0)]:
        lie = Parts(good)
        lie.header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [0, size]}
        liars.append(lie.signed())
    paths = [tmp_path / f"liar{index}" for index in range(len(liars))]
    for path, raw in zip(paths, liars, strict=True):
        path.write_bytes(raw)
    paths.append(tmp_path / "sparse")
    with open(paths[-1], "wb") as sparse:
        sparse.write((2**33).to_bytes(8, "little"))
        sparse.truncate(2**33 + 16)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for path in paths:
        with soft_limit(resource.RLIMIT_AS, used + 64 * 2**20), pytest.raises(ModelFormatError):
            mf.load(path)
