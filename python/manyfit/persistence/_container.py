"""The file: safetensors, one digest over all of it, every field checked before it is used.

A safetensors file is 8 bytes of little-endian length, that many bytes of JSON, and a buffer::

    {"__metadata__": {"format": "manyfit", "sha256": ..., ...},
     "coef_": {"dtype": "F64", "shape": [100], "data_offsets": [0, 800]}, ...}

The metadata begins with ``format``, ``format_version``, ``manyfit_version`` and ``sha256``, in every format
version, so that each manyfit can tell who wrote a file it cannot read. ``sha256`` is the digest of the whole
file with these 64 characters read as "0".

Writing and reading are done here and not by the safetensors package: that writes metadata in an order which
changes from process to process, makes a full disk an error that is no OSError, sets permissions of its own,
and cannot stream, so that a model would need its size in memory once more.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from manyfit.exceptions import ModelFormatError

__all__ = [
    "DTYPE_CODES",
    "FORMAT_VERSION",
    "Header",
    "encode_header",
    "parse_json",
    "read_header",
    "read_tensors",
    "shown",
    "write_container",
]

FORMAT_VERSION: Final = 1
"""Written into every file. Raise it when an older manyfit would misread a new file; never reuse a number."""

MAX_HEADER_BYTES: Final = 16 * 2**20
"""Largest header written or read: parsing JSON costs some twenty times its size in memory."""

FORMAT: Final = "manyfit"
DTYPE_CODES: Final = {
    "BOOL": "?",
    "I8": "i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "u1",
    "U16": "<u2",
    "U32": "<u4",
    "U64": "<u8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}
"""safetensors' name of each storable dtype, and its bytes in the file."""

_NAMES: Final = {np.dtype(code): name for name, code in DTYPE_CODES.items()}
_MAX_DIMENSIONS: Final = 64
_CHUNK_BYTES: Final = 2**20
_NO_DIGEST: Final = "0" * 64
_DIGEST_KEY: Final = b'"sha256":"'
_METADATA: Final = "__metadata__"

Tensor = NDArray[Any]


def shown(value: object) -> str:
    """Return `value` as an error message shows it: what stands in a damaged file may be of any length."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def parse_json(text: str, what: str) -> Any:
    """Parse JSON as its standard has it: no NaN, no infinity, no key twice in an object."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise ModelFormatError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise ModelFormatError(f"{what} is not valid JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("an object has the same key twice")
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# Writing


def encode_header(tensors: Mapping[str, Tensor], manyfit_version: str, model: str) -> tuple[bytes, list[str]]:
    """Lay out a file: the bytes before the buffer, with an empty digest, and the order of the tensors.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        Of the dtypes in `DTYPE_CODES`, native byte order, any strides.
    manyfit_version : str
    model : str
        ASCII JSON.

    Raises
    ------
    ValueError
        If the header would pass `MAX_HEADER_BYTES`.
    """
    # Wide types first, so that every tensor lies aligned in a file that is mapped into memory.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    fields: dict[str, Any] = {
        _METADATA: {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "manyfit_version": manyfit_version,
            "sha256": _NO_DIGEST,
            "fortran_order": json.dumps([name for name in order if _is_fortran(tensors[name])]),
            "model": model,
        }
    }
    offset = 0
    for name in order:
        tensor = tensors[name]
        fields[name] = {
            "dtype": _NAMES[tensor.dtype.newbyteorder("<")],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(fields, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise ValueError(
            f"the parts of the model that are not arrays take {len(text)} bytes, a model file holds at most"
            f" {MAX_HEADER_BYTES}: keep long lists and dictionaries as NumPy arrays"
        )
    return len(text).to_bytes(8, "little") + text, order


def write_container(file: BinaryIO, header: bytes, order: list[str], tensors: Mapping[str, Tensor]) -> None:
    """Write what `encode_header` laid out, then the digest into its place. `file` is seekable and empty."""
    digest = hashlib.sha256(header)
    file.write(header)
    for name in order:
        for chunk in _chunks(tensors[name]):
            digest.update(chunk)
            file.write(chunk)
    file.seek(header.index(_DIGEST_KEY) + len(_DIGEST_KEY))
    file.write(digest.hexdigest().encode("ascii"))


def _is_fortran(tensor: Tensor) -> bool:
    return tensor.flags.f_contiguous and not tensor.flags.c_contiguous


def _chunks(tensor: Tensor) -> Iterator[memoryview]:
    """Bytes of `tensor` in C order and little-endian, piece by piece, so that no whole copy is made."""
    if tensor.size == 0:
        return
    if tensor.flags.c_contiguous and sys.byteorder == "little":
        yield from _pieces(_bytes_of(tensor))
        return
    for rows in _row_blocks(tensor):
        block = np.ascontiguousarray(tensor[rows], dtype=tensor.dtype.newbyteorder("<"))
        yield from _pieces(_bytes_of(block))


def _row_blocks(tensor: Tensor) -> Iterator[slice | tuple[()]]:
    """Cut `tensor` along its first axis into blocks of about `_CHUNK_BYTES`, one row at least."""
    if tensor.ndim == 0:
        yield ()
        return
    step = max(1, _CHUNK_BYTES * len(tensor) // tensor.nbytes)
    for start in range(0, len(tensor), step):
        yield slice(start, start + step)


def _bytes_of(tensor: Tensor) -> memoryview:
    """Memory of a C-contiguous array as bytes."""
    return tensor.reshape(-1).view(np.uint8).data


def _pieces(view: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(view), _CHUNK_BYTES):
        yield view[start : start + _CHUNK_BYTES]


# Reading


@dataclass(frozen=True)
class TensorSpec:
    """Where one tensor lies in the file and what it becomes."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int
    fortran: bool


@dataclass(frozen=True)
class Header:
    """Checked header of a model file."""

    raw: bytes
    """The file up to the buffer."""
    metadata: dict[str, str]
    specs: dict[str, TensorSpec]
    """In the order of the buffer, which they fill without a gap or an overlap."""


def read_header(file: BinaryIO, size: int) -> Header:
    """Read and check all that stands before the buffer.

    Parameters
    ----------
    file : binary file
        At its beginning; afterwards at the beginning of the buffer.
    size : int
        Bytes in the file. Nothing larger is allocated, whatever the header claims.

    Raises
    ------
    ModelFormatError
        If the header is damaged, is no manyfit header or is one of another format version.
    """
    raw = file.read(8)
    if len(raw) < 8:
        raise ModelFormatError(f"the file is too short for a model: {len(raw)} bytes")
    length = int.from_bytes(raw, "little")
    if length > size - 8:
        raise ModelFormatError(
            f"the header claims {length} bytes, the file has {size}: cut off or no model file"
        )
    if length > MAX_HEADER_BYTES:
        raise ModelFormatError(f"the header claims {length} bytes, at most {MAX_HEADER_BYTES} are read")
    raw += file.read(length)
    if len(raw) != 8 + length:
        raise ModelFormatError("the file became shorter while it was read")
    try:
        text = raw[8:].decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"the header is not UTF-8: {error}") from None
    fields = parse_json(text, "the header")
    if not isinstance(fields, dict):
        raise ModelFormatError("the header is no JSON object")
    metadata = _check_metadata(fields.pop(_METADATA, None))
    return Header(raw, metadata, _check_specs(fields, metadata, size - len(raw)))


def _check_metadata(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise ModelFormatError("the file was not written by manyfit: its metadata has no format 'manyfit'")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ModelFormatError("the metadata holds something that is not text")
    missing = {"format_version", "manyfit_version", "sha256"} - metadata.keys()
    if missing:
        raise ModelFormatError(f"the metadata lacks {', '.join(sorted(missing))}")
    if metadata["format_version"] != str(FORMAT_VERSION):
        raise ModelFormatError(
            f"the file has format version {shown(metadata['format_version'])}, written by manyfit"
            f" {shown(metadata['manyfit_version'])}; this manyfit reads format version {FORMAT_VERSION}"
        )
    expected = {"format", "format_version", "manyfit_version", "sha256", "fortran_order", "model"}
    if metadata.keys() != expected:
        raise ModelFormatError(
            f"the metadata must hold {', '.join(sorted(expected))}, got {shown([*metadata])}"
        )
    return metadata


def _check_specs(fields: dict[str, Any], metadata: dict[str, str], buffer_size: int) -> dict[str, TensorSpec]:
    fortran = parse_json(metadata["fortran_order"], "fortran_order")
    if not isinstance(fortran, list) or not all(isinstance(name, str) for name in fortran):
        raise ModelFormatError("fortran_order is no list of names")
    unknown = set(fortran) - fields.keys()
    if unknown:
        raise ModelFormatError(
            f"fortran_order names tensors that the file does not have: {shown(sorted(unknown))}"
        )
    columns_first = frozenset(fortran)
    specs = [(name, _check_spec(name, field, name in columns_first)) for name, field in fields.items()]
    specs.sort(key=lambda item: (item[1].begin, item[1].end))
    position = 0
    for name, spec in specs:
        if spec.begin != position:
            raise ModelFormatError(f"tensor {shown(name)} begins at byte {spec.begin}, expected {position}")
        position = spec.end
    if position != buffer_size:
        raise ModelFormatError(f"the tensors take {position} bytes, the file has {buffer_size} for them")
    return dict(specs)


def _check_spec(name: str, field: object, fortran: bool) -> TensorSpec:
    if not isinstance(field, dict) or field.keys() != {"dtype", "shape", "data_offsets"}:
        raise ModelFormatError(
            f"tensor {shown(name)} must have dtype, shape and data_offsets, got {shown(field)}"
        )
    code = DTYPE_CODES.get(field["dtype"]) if isinstance(field["dtype"], str) else None
    if code is None:
        raise ModelFormatError(f"tensor {shown(name)} has the unknown dtype {shown(field['dtype'])}")
    shape, offsets = field["shape"], field["data_offsets"]
    if not _are_sizes(shape) or len(shape) > _MAX_DIMENSIONS:
        raise ModelFormatError(f"tensor {shown(name)} has the impossible shape {shown(shape)}")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise ModelFormatError(f"tensor {shown(name)} has impossible data_offsets {shown(offsets)}")
    dtype = np.dtype(code)
    if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise ModelFormatError(
            f"tensor {shown(name)} of {code} and shape {shown(shape)} lies at {shown(offsets)}"
        )
    # NumPy multiplies the axes without the zeros, also of an array that has no elements.
    if math.prod(axis or 1 for axis in shape) * dtype.itemsize > sys.maxsize:
        raise ModelFormatError(f"tensor {shown(name)} has the impossible shape {shown(shape)}")
    return TensorSpec(dtype, tuple(shape), offsets[0], offsets[1], fortran)


def _are_sizes(values: object) -> bool:
    # bool is an int; no size needs more than 63 bits.
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def read_tensors(file: BinaryIO, header: Header) -> dict[str, Tensor]:
    """Read the tensors that `header` describes, each into memory of its own, and check the digest.

    Raises
    ------
    ModelFormatError
        If the file ends early, its digest is another or a truth value is neither 0 nor 1.
    """
    place = header.raw.find(_DIGEST_KEY) + len(_DIGEST_KEY)
    stored = header.metadata["sha256"].encode("utf-8", "replace")
    if len(stored) != len(_NO_DIGEST) or header.raw[place : place + len(stored)] != stored:
        raise ModelFormatError("sha256 is not the 64 characters that manyfit writes")
    digest = hashlib.sha256(header.raw[:place] + _NO_DIGEST.encode() + header.raw[place + len(stored) :])
    tensors = {name: _read_tensor(file, spec, digest) for name, spec in header.specs.items()}
    if digest.hexdigest().encode("ascii") != stored:
        raise ModelFormatError(
            "the SHA-256 of the file is not the one stored in it: the file was altered or damaged"
        )
    for name, tensor in tensors.items():
        if tensor.dtype == np.bool_ and np.any(tensor.view(np.uint8) > 1):
            raise ModelFormatError(f"tensor {shown(name)} holds truth values that are neither 0 nor 1")
    return tensors


def _read_tensor(file: BinaryIO, spec: TensorSpec, digest: Any) -> Tensor:
    tensor: Tensor = np.empty(spec.shape, spec.dtype, order="F" if spec.fortran else "C")
    if tensor.size:
        if tensor.flags.c_contiguous:
            _fill(file, _bytes_of(tensor), digest)
        else:
            for rows in _row_blocks(tensor):
                block = np.empty(tensor[rows].shape, spec.dtype)
                _fill(file, _bytes_of(block), digest)
                tensor[rows] = block
    return tensor.astype(spec.dtype.newbyteorder("="), copy=False)


def _fill(file: BinaryIO, view: memoryview, digest: Any) -> None:
    for piece in _pieces(view):
        if file.readinto(piece) != len(piece):  # type: ignore[attr-defined]
            raise ModelFormatError("the file became shorter while it was read")
        digest.update(piece)
