"""What a verified file says about itself, and the checksum that guards it.

Every key begins with ``manyfit.``. Structured values are JSON; arrays are base64 of little-endian
numbers in C order. The last key, ``manyfit.checksum``, is the SHA-256 of the whole file with its
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
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from manyfit.exceptions import ModelFormatError
from manyfit.onnx.bounds import Matrix
from manyfit.onnx.profiles import DTYPES, PROFILES

FORMAT = 1
PREFIX = "manyfit."
CHECKSUM_KEY = PREFIX + "checksum"
MAX_GOLDEN_ROWS = 10_000
MAX_TEXT = 1000

_ZERO_CHECKSUM = "sha256:" + "0" * 64
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Golden:
    """Input rows with the answers the native model gave and the distance allowed to them."""

    rows: npt.NDArray[np.floating[Any]]
    kinds: tuple[str, ...]
    expected: Matrix
    tolerance: Matrix


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
    output : {"name", "dtype", "shape"}
        The output tensor; the batch axis is "N".
    verification : dict
        Probe seed and number, maximum error with its bound, share of the bound used, runtimes.
    """

    version: str
    estimator: str
    steps: list[list[str]]
    profile: str
    dtype: str
    n_features: int
    feature_names: list[str] | None
    output: dict[str, Any]
    verification: dict[str, Any]
    golden: Golden


def stamp(model: onnx.ModelProto, metadata: Metadata) -> None:
    """Write the metadata into `model`, the checksum last."""
    model.producer_version = metadata.version
    golden = metadata.golden
    entries = {
        "format": str(FORMAT),
        "version": metadata.version,
        "estimator": metadata.estimator,
        "steps": _dump(metadata.steps),
        "profile": metadata.profile,
        "dtype": metadata.dtype,
        "n_features": str(metadata.n_features),
        "features": _dump({"dtype": metadata.dtype, "names": metadata.feature_names}),
        "outputs": _dump([metadata.output]),
        "verification": _dump(metadata.verification),
        "golden": _dump(
            {
                "kinds": golden.kinds,
                "inputs": _encode(golden.rows, metadata.dtype),
                "outputs": {metadata.output["name"]: _encode(golden.expected, "float64")},
                "tolerances": {metadata.output["name"]: _encode(golden.tolerance, "float64")},
            }
        ),
    }
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
    if entries["format"] != str(FORMAT):
        raise ModelFormatError(f"metadata format {entries['format']!r} is not known, only {FORMAT}")
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
    (output,) = _typed(json.loads(entries["outputs"]), list)
    width = [_typed(n, int) for n in _typed(output["shape"], list)[1:]]
    if output["shape"][0] != "N" or output["dtype"] != dtype or len(width) > 1 or min(width, default=1) < 1:
        raise ModelFormatError("the metadata's outputs are malformed")
    name = _text(output["name"])
    verification = _typed(json.loads(entries["verification"]), dict)
    for key in ("max_error", "max_error_bound", "worst_ratio"):
        if not math.isfinite(_typed(verification[key], float)):
            raise ModelFormatError(f"the metadata's {key} is not finite")
    for key, runtime in _typed(verification["runtimes"], dict).items():
        _text(key), _text(runtime)

    golden = _typed(json.loads(entries["golden"]), dict)
    kinds = tuple(_text(kind) for kind in _typed(golden["kinds"], list))
    if not 0 < len(kinds) <= MAX_GOLDEN_ROWS:
        raise ModelFormatError(f"the file holds {len(kinds)} golden rows, allowed are 1 to {MAX_GOLDEN_ROWS}")
    shape = (len(kinds), *width)
    rows = _decode(golden["inputs"], dtype, (len(kinds), n_features))
    expected = _decode(golden["outputs"][name], "float64", shape).astype(np.float64)
    tolerance = _decode(golden["tolerances"][name], "float64", shape).astype(np.float64)
    if not (np.isfinite(tolerance) & (tolerance >= 0)).all():
        raise ModelFormatError("the golden rows' tolerances must be finite and not negative")
    return Metadata(
        version=_text(entries["version"]),
        estimator=_text(entries["estimator"]),
        steps=_typed(json.loads(entries["steps"]), list),
        profile=profile,
        dtype=dtype,
        n_features=n_features,
        feature_names=names,
        output=output,
        verification=verification,
        golden=Golden(rows, kinds, expected, tolerance),
    )


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


def _encode(array: npt.NDArray[np.floating[Any]], dtype: str) -> str:
    little_endian = np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<"))
    return base64.b64encode(little_endian.tobytes()).decode("ascii")


def _decode(text: Any, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[np.floating[Any]]:
    try:
        raw = base64.b64decode(_typed(text, str), validate=True)
    except binascii.Error as error:
        raise ModelFormatError(f"the golden rows are not base64: {error}") from error
    stored = np.dtype(dtype).newbyteorder("<")
    if len(raw) != math.prod(shape) * stored.itemsize:
        raise ModelFormatError(f"the golden rows hold {len(raw)} bytes, expected {shape} of {dtype}")
    return np.frombuffer(raw, dtype=stored).reshape(shape).astype(np.dtype(dtype))
