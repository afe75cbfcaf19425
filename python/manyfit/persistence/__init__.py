"""Save a fitted estimator to one file and load it again: data only, no code, no pickle.

A model file is a safetensors file: the arrays are its tensors, everything else is JSON in its metadata, and a
digest covers all of it. Loading checks every field and runs nothing that the file brings.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable

import manyfit
from manyfit._atomic import atomic_write
from manyfit.base import Estimator
from manyfit.exceptions import ModelFormatError
from manyfit.persistence._classes import ClassFinder
from manyfit.persistence._container import (
    FORMAT_VERSION,
    Header,
    encode_header,
    parse_json,
    read_header,
    read_tensors,
    write_container,
)
from manyfit.persistence._decode import Decoder
from manyfit.persistence._encode import Encoder

__all__ = ["FORMAT_VERSION", "load", "save"]


def save(est: Estimator, path: str | os.PathLike[str]) -> None:
    """Save an estimator, fitted or not, as one safetensors file without code.

    Parameters
    ----------
    est : Estimator
        Its parameters and fitted attributes may be None, bool, int, float, str, bytes, lists, tuples, dicts,
        NumPy scalars and arrays of bools, real numbers and text, `numpy.random.RandomState` and
        `numpy.random.Generator` (MT19937 and PCG64), and other manyfit estimators, nested as one likes.
    path : str or os.PathLike
        The file appears, or replaces the one that is there, only when it is complete and on the disk.

    Raises
    ------
    TypeError
        If `est` is no manyfit estimator or holds something else; the message names it. Nothing is written.
    ValueError
        If values are nested too deeply or lists and dictionaries are too long for a model file.
    OSError
        As from ``open(path, "wb")``, or when the disk is full. A file that was at `path` is as it was.

    See Also
    --------
    load : The way back.

    Notes
    -----
    Equal models give equal bytes. Shared references are not kept: two attributes that are one array are two
    arrays after loading.

    Examples
    --------
    >>> import manyfit as mf
    >>> from manyfit.linear_model import Ridge
    >>> model = Ridge(alpha=2.0).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0])
    >>> mf.save(model, "ridge.safetensors")  # doctest: +SKIP
    >>> mf.load("ridge.safetensors").alpha  # doctest: +SKIP
    2.0
    """
    if not isinstance(est, Estimator):
        hint = " (save its best_estimator_)" if hasattr(est, "best_estimator_") else ""
        name = type(est).__qualname__
        raise TypeError(f"save: est must be an instance of a manyfit estimator, got {name}{hint}")
    encoder = Encoder(type(est).__name__)
    model = json.dumps(encoder.estimator(est), separators=(",", ":"), allow_nan=False)
    try:
        header, order = encode_header(encoder.tensors, manyfit.__version__, model)
    except ValueError as error:
        raise ValueError(f"save: {encoder.subject}: {error}") from None
    with atomic_write(path) as file:
        write_container(file, header, order, encoder.tensors)


def load(path: str | os.PathLike[str], *, classes: Iterable[type[Estimator]] = ()) -> Estimator:
    """Load an estimator that `save` wrote; safe with a file from anyone.

    Parameters
    ----------
    path : str or os.PathLike
    classes : iterable of type, default=()
        Subclasses of `manyfit.base.Estimator` that are not manyfit's own and may appear in the file. A file
        never makes Python import anything outside manyfit.

    Returns
    -------
    est : Estimator
        With the same parameters and fitted attributes, bit for bit.

    Raises
    ------
    ModelFormatError
        If the file is damaged, was altered, is no manyfit model, or was written by a manyfit that this one
        does not understand. The message says what is wrong.
    OSError
        If the file cannot be read: FileNotFoundError, PermissionError, IsADirectoryError.
    MemoryError
        If the file is larger than the memory there is.

    See Also
    --------
    save : The way there.
    """
    find_class = ClassFinder(classes)
    name = os.fspath(path)
    # Before opening: a pipe with no writer would block for ever.
    mode = os.stat(name).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    header: Header | None = None
    try:
        if not stat.S_ISREG(mode):
            raise ModelFormatError("not a regular file")
        with open(name, "rb") as file:
            header = read_header(file, os.fstat(file.fileno()).st_size)
            tensors = read_tensors(file, header)
        return Decoder(tensors, find_class).model(parse_json(header.metadata["model"], "the model"))
    except RecursionError:
        raise ModelFormatError(f"cannot load {name!r}: nested too deeply") from None
    except ModelFormatError as error:
        raise ModelFormatError(f"cannot load {name!r}: {error}{_other_version(header)}") from error.__cause__


def _other_version(header: Header | None) -> str:
    if header is None or header.metadata["manyfit_version"] == manyfit.__version__:
        return ""
    return f" (written by manyfit {header.metadata['manyfit_version'][:40]!r}, this is {manyfit.__version__})"
