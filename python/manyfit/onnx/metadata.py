"""What a verified file says about itself, and the checksum that guards it.

Every key begins with ``manyfit.``. Structured values are JSON; arrays are base64 of little-endian
numbers in C order. Files with one output of numbers are of format 1, as they always were; files
with labels are of format 2. The last key, ``manyfit.checksum``, is the SHA-256 of the whole file with its
own 64 digits replaced by zeros: any altered byte is noticed. It guards against damage and edits,
not against somebody who recomputes it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from manyfit.exceptions import ModelFormatError
from manyfit.onnx.bounds import Matrix
from manyfit.onnx.compare import Worst, worst
from manyfit.onnx.labels import BY_INDEX, BY_VALUE, MAX_CLASSES, Classes
from manyfit.onnx.profiles import DTYPES, PROFILES

# One output of numbers; several outputs, labels among them.
PLAIN_FORMAT, LABEL_FORMAT = "1", "2"
LABEL_DTYPE = "int64"
PREFIX = "manyfit."
CHECKSUM_KEY = PREFIX + "checksum"
MAX_GOLDEN_ROWS = 10_000
MAX_TEXT = 1000

_ZERO_CHECKSUM = "sha256:" + "0" * 64
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Golden:
    """Input rows with the answers the native model gave, by output, and the distance allowed to them.

    Labels are the indices of their classes, with distance 0.
    """

    rows: npt.NDArray[np.floating[Any]]
    kinds: tuple[str, ...]
    expected: tuple[Matrix, ...]
    tolerance: tuple[Matrix, ...]


@dataclass(frozen=True)
class Metadata:
    """The content of a verified file's metadata.

    Attributes
    ----------
    version : str
        Version of manyfit that wrote the file.
    estimator : str
        Public name of the model's class.
    steps : list of [place, class name]
        What was converted, in order; one entry with an empty place for a single estimator.
    n_features : int
        Number of input columns.
    feature_names : list of str or None
        Their names in order, None where the model was fitted without names.
    outputs : list of {"name", "dtype", "shape"}
        The output tensors in order; the batch axis is "N". One of dtype "int64" is a label.
    classes : Classes or None
        Of a classifier its classes, in order, and whether labels are their values or their indices.
    verification : dict
        Probe seed and number, maximum error with its bound, share of the bound used, runtimes; of a
        classifier the number of probes whose label was not decided.
    """

    version: str
    estimator: str
    steps: list[list[str]]
    profile: str
    dtype: str
    n_features: int
    feature_names: list[str] | None
    outputs: list[dict[str, Any]]
    classes: Classes | None
    verification: dict[str, Any]
    golden: Golden

    def compare(self, answers: Sequence[npt.NDArray[Any]]) -> list[Worst | None]:
        """Compare a runtime's answers on the golden rows; None for an output of another type or shape."""
        if len(answers) != len(self.outputs):
            return [None]
        golden = self.golden
        found: list[Worst | None] = []
        for output, answer, expected, tolerance in zip(
            self.outputs, answers, golden.expected, golden.tolerance, strict=True
        ):
            if answer.shape != expected.shape or answer.dtype != output["dtype"]:
                found.append(None)
                continue
            is_label = self.classes is not None and output["dtype"] == LABEL_DTYPE
            told = self.classes.told(answer) if self.classes is not None and is_label else answer
            found.append(worst(told, expected, tolerance))
        return found


def stamp(model: onnx.ModelProto, metadata: Metadata) -> None:
    """Write the metadata into `model`, the checksum last."""
    model.producer_version = metadata.version
    golden, classes = metadata.golden, metadata.classes
    expected, tolerances = {}, {}
    for output, values, bounds in zip(metadata.outputs, golden.expected, golden.tolerance, strict=True):
        if classes is not None and output["dtype"] == LABEL_DTYPE:
            expected[output["name"]] = _encode(classes.values[values.astype(np.int64)], LABEL_DTYPE)
        else:
            expected[output["name"]] = _encode(values, "float64")
            tolerances[output["name"]] = _encode(bounds, "float64")
    entries = {
        "format": PLAIN_FORMAT if classes is None else LABEL_FORMAT,
        "version": metadata.version,
        "estimator": metadata.estimator,
        "steps": _dump(metadata.steps),
        "profile": metadata.profile,
        "dtype": metadata.dtype,
        "n_features": str(metadata.n_features),
        "features": _dump({"dtype": metadata.dtype, "names": metadata.feature_names}),
        "outputs": _dump(metadata.outputs),
        "verification": _dump(metadata.verification),
        "golden": _dump(
            {
                "kinds": golden.kinds,
                "inputs": _encode(golden.rows, metadata.dtype),
                "outputs": expected,
                "tolerances": tolerances,
            }
        ),
    }
    if classes is not None:
        label = BY_VALUE if classes.by_value else BY_INDEX
        entries["classes"] = _dump({"label": label, "names": classes.names})
    del model.metadata_props[:]
    for key, value in entries.items():
        model.metadata_props.add(key=PREFIX + key, value=value)
    seal(model)


def seal(model: onnx.ModelProto) -> None:
    """Compute the checksum over the serialised model and store it as the last metadata entry."""
    kept = [entry for entry in model.metadata_props if entry.key != CHECKSUM_KEY]
    kept = [(entry.key, entry.value) for entry in kept]
    del model.metadata_props[:]
    for key, value in [*kept, (CHECKSUM_KEY, _ZERO_CHECKSUM)]:
        model.metadata_props.add(key=key, value=value)
    digest = hashlib.sha256(model.SerializeToString()).hexdigest()
    model.metadata_props[-1].value = f"sha256:{digest}"


def is_intact(serialized: bytes, model: onnx.ModelProto) -> bool:
    """Tell whether `serialized`, which parsed to `model`, is byte for byte what was exported."""
    stored = [entry.value for entry in model.metadata_props if entry.key == CHECKSUM_KEY]
    # protobuf hands out bytes where a string is not UTF-8
    if len(stored) != 1 or not isinstance(stored[0], str) or _CHECKSUM.fullmatch(stored[0]) is None:
        return False
    checksum = stored[0].encode()
    digest = hashlib.sha256(serialized.replace(checksum, _ZERO_CHECKSUM.encode())).hexdigest()
    return bool(checksum == f"sha256:{digest}".encode())


def is_ours(model: onnx.ModelProto) -> bool:
    """Tell whether `model` bears a checksum of ours, right or wrong."""
    return any(entry.key == CHECKSUM_KEY for entry in model.metadata_props)


def read(model: onnx.ModelProto) -> Metadata:
    """Read a model's metadata; raise ModelFormatError unless every part of it is well-formed."""
    try:
        entries = _entries(model)
        if not entries:
            raise ModelFormatError("it holds no manyfit metadata, so manyfit did not export it")
        return _parse(entries)
    except ModelFormatError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise ModelFormatError(f"the manyfit metadata is malformed: {error!r}") from error


def _entries(model: onnx.ModelProto) -> dict[str, str]:
    """Return our metadata entries, without their prefix."""
    entries: dict[str, str] = {}
    for entry in model.metadata_props:
        if not isinstance(entry.key, str) or not isinstance(entry.value, str):
            raise ModelFormatError("the metadata is not text")
        key = entry.key.removeprefix(PREFIX)
        if key in entries:
            raise ModelFormatError(f"the metadata holds {entry.key} twice")
        if key != entry.key:
            entries[key] = entry.value
    return entries


def _parse(entries: dict[str, str]) -> Metadata:
    if entries["format"] not in (PLAIN_FORMAT, LABEL_FORMAT):
        raise ModelFormatError(
            f"metadata format {entries['format']!r} is not known, only {PLAIN_FORMAT} and {LABEL_FORMAT}"
        )
    profile, dtype = entries["profile"], entries["dtype"]
    if profile not in PROFILES or dtype not in DTYPES:
        raise ModelFormatError(f"unknown profile {profile!r} or dtype {dtype!r}")
    n_features = int(entries["n_features"])
    features = _typed(json.loads(entries["features"]), dict)
    names = features["names"]
    if names is not None:
        names = [_typed(each, str) for each in _typed(names, list)]
        if len(names) != n_features:
            raise ModelFormatError(f"the metadata names {len(names)} features of {n_features}")
    if n_features < 1 or features["dtype"] != dtype:
        raise ModelFormatError("the metadata's features are malformed")
    classes = _classes(json.loads(entries["classes"])) if entries["format"] == LABEL_FORMAT else None
    outputs = _outputs(json.loads(entries["outputs"]), dtype, classes)
    verification = _typed(json.loads(entries["verification"]), dict)
    for key in ("max_error", "max_error_bound", "worst_ratio"):
        if not math.isfinite(_typed(verification[key], float)):
            raise ModelFormatError(f"the metadata's {key} is not finite")
    if classes is not None:
        _typed(verification["undecided_labels"], int), _typed(verification["other_labels"], int)
    for key, runtime in _typed(verification["runtimes"], dict).items():
        _text(key), _text(runtime)

    golden = _typed(json.loads(entries["golden"]), dict)
    kinds = tuple(_text(kind) for kind in _typed(golden["kinds"], list))
    if not 0 < len(kinds) <= MAX_GOLDEN_ROWS:
        raise ModelFormatError(f"the file holds {len(kinds)} golden rows, allowed are 1 to {MAX_GOLDEN_ROWS}")
    rows = _decode(golden["inputs"], dtype, (len(kinds), n_features))
    expected, tolerance = [], []
    for output in outputs:
        name, shape = output["name"], (len(kinds), *output["shape"][1:])
        if classes is not None and output["dtype"] == LABEL_DTYPE:
            expected.append(classes.told(_decode(golden["outputs"][name], LABEL_DTYPE, shape)))
            tolerance.append(np.zeros(shape))
            if (expected[-1] < 0).any():
                raise ModelFormatError("the golden rows hold a label that is none of the classes")
        else:
            expected.append(_decode(golden["outputs"][name], "float64", shape).astype(np.float64))
            tolerance.append(_decode(golden["tolerances"][name], "float64", shape).astype(np.float64))
            if not (np.isfinite(tolerance[-1]) & (tolerance[-1] >= 0)).all():
                raise ModelFormatError("the golden rows' tolerances must be finite and not negative")
    return Metadata(
        version=_text(entries["version"]),
        estimator=_text(entries["estimator"]),
        steps=_typed(json.loads(entries["steps"]), list),
        profile=profile,
        dtype=dtype,
        n_features=n_features,
        feature_names=names,
        outputs=outputs,
        classes=classes,
        verification=verification,
        golden=Golden(rows, kinds, tuple(expected), tuple(tolerance)),
    )


def _outputs(value: Any, dtype: str, classes: Classes | None) -> list[dict[str, Any]]:
    """Check the outputs: one of numbers, or a label and one of numbers."""
    outputs = [_typed(output, dict) for output in _typed(value, list)]
    if [output["dtype"] for output in outputs] != ([dtype] if classes is None else [LABEL_DTYPE, dtype]):
        raise ModelFormatError("the metadata's outputs are malformed")
    for output in outputs:
        width = [_typed(n, int) for n in _typed(output["shape"], list)[1:]]
        most = 0 if output["dtype"] == LABEL_DTYPE else 1
        foreign = classes is not None and width not in ([], [len(classes.names)])
        if output["shape"][0] != "N" or len(width) > most or min(width, default=1) < 1 or foreign:
            raise ModelFormatError("the metadata's outputs are malformed")
    if len({_text(output["name"]) for output in outputs}) != len(outputs):
        raise ModelFormatError("the metadata names two outputs alike")
    return outputs


def _classes(value: Any) -> Classes:
    """Check the classes: two or more, all different; integers or booleans where labels are values."""
    names, label = _typed(_typed(value, dict)["names"], list), value["label"]
    if label not in (BY_VALUE, BY_INDEX):
        raise ModelFormatError("the metadata's classes are malformed")
    if not all(isinstance(name, int if label == BY_VALUE else str | int | float) for name in names):
        raise ModelFormatError("the metadata's classes are malformed")
    if not 2 <= len(names) <= MAX_CLASSES or len(set(names)) != len(names):
        raise ModelFormatError(f"the metadata holds {len(names)} classes, or one of them twice")
    classes = Classes(tuple(names), label == BY_VALUE)
    if len(classes.values) != len(names):  # raises where they are no int64
        raise ModelFormatError("the metadata's classes are malformed")
    return classes


def _dump(value: object) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))


def _typed(value: Any, kind: type) -> Any:
    """Return `value`, which must be of `kind`; a bool is no number."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ModelFormatError(f"the metadata holds {type(value).__name__} where {kind.__name__} belongs")
    return value


def _text(value: Any) -> str:
    """Return `value`, which must be a short printable string: it is shown on terminals."""
    text: str = _typed(value, str)
    if len(text) > MAX_TEXT or not text.isprintable():
        raise ModelFormatError("the metadata holds a text that is too long or not printable")
    return text


def _encode(array: npt.NDArray[Any], dtype: str) -> str:
    little_endian = np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<"))
    return base64.b64encode(little_endian.tobytes()).decode("ascii")


def _decode(text: Any, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    try:
        raw = base64.b64decode(_typed(text, str), validate=True)
    except binascii.Error as error:
        raise ModelFormatError(f"the golden rows are not base64: {error}") from error
    stored = np.dtype(dtype).newbyteorder("<")
    if len(raw) != math.prod(shape) * stored.itemsize:
        raise ModelFormatError(f"the golden rows hold {len(raw)} bytes, expected {shape} of {dtype}")
    return np.frombuffer(raw, dtype=stored).reshape(shape).astype(np.dtype(dtype))
