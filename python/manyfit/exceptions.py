"""Errors that are manyfit's own; everything else raises Python's."""

from __future__ import annotations

__all__ = ["DeviceError", "ExportMismatch", "ModelFormatError", "StorageError"]


class DeviceError(RuntimeError):
    """A device was asked for that this build or this machine does not have, or it failed."""


class ModelFormatError(ValueError):
    """A model file is damaged, altered or not a model file."""


class ExportMismatch(RuntimeError):
    """An exported model answers otherwise than the model it was made from; nothing was written."""


class StorageError(RuntimeError):
    """The storage of a study cannot be opened, read or written; what was told before is still in it."""
