"""Reading ONNX files, with suspicion."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from manyfit.exceptions import ModelFormatError

MAX_FILE_BYTES = 512 * 1024 * 1024


def read_model(path: str | os.PathLike[str]) -> tuple[bytes, onnx.ModelProto]:
    """Read and parse one self-contained ONNX file.

    Raises ModelFormatError for a file that is too large, not ONNX, or refers to other files.
    """
    path = Path(path)
    with path.open("rb") as file:
        serialized = file.read(MAX_FILE_BYTES + 1)
    if len(serialized) > MAX_FILE_BYTES:
        raise ModelFormatError(f"{path.name}: larger than the {MAX_FILE_BYTES} bytes that are read")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(serialized)
    except Exception as error:  # each protobuf implementation has errors of its own
        raise ModelFormatError(f"{path.name}: not an ONNX file, or a damaged one ({error})") from error
    if not model.HasField("graph"):
        raise ModelFormatError(f"{path.name}: not an ONNX file, or a truncated one (it holds no graph)")
    try:
        external = [tensor.name for tensor in _tensors(model) if _is_external(tensor)]
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{path.name}: a damaged ONNX file ({error})") from error
    if external:
        raise ModelFormatError(f"{path.name}: the tensors {external[:5]} lie in another file")
    return serialized, model


def _is_external(tensor: TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL or len(tensor.external_data) > 0


def _tensors(message: Any) -> Iterator[TensorProto]:
    """Walk every tensor in a message, wherever it stands."""
    if isinstance(message, TensorProto):
        yield message
        return
    for _, content in message.ListFields():
        if _is_message(content):
            yield from _tensors(content)
        elif not isinstance(content, str | bytes | int | float):
            for part in content:
                if not _is_message(part):
                    break  # a repeated field of numbers or strings
                yield from _tensors(part)


def _is_message(value: Any) -> bool:
    return hasattr(value, "ListFields")
