"""A task in a file without a name, which processes map instead of copying it."""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import tempfile
from collections.abc import Sequence
from typing import Any

__all__ = ["dumps", "pack", "parts_of", "unpack"]

_ALIGNMENT = 64  # bytes, as NumPy's own memory on wide vectors
_HEAD = struct.Struct("<qq")  # number of buffers, bytes of the pickle


def pickler() -> Any:
    """cloudpickle, which takes classes and functions of ``__main__`` and notebooks along."""
    try:
        import cloudpickle
    except ImportError:
        from joblib.externals import cloudpickle
    return cloudpickle


def dumps(value: Any) -> bytes:
    """Pickle of `value` with :func:`pickler`."""
    return pickler().dumps(value)  # type: ignore[no-any-return]  # cloudpickle is untyped


def parts_of(value: Any) -> tuple[bytes, list[memoryview]]:
    """Return a pickle of `value`, and the memory of the arrays in it."""
    buffers: list[pickle.PickleBuffer] = []
    text = pickler().dumps(value, protocol=5, buffer_callback=buffers.append)
    return text, [buffer.raw() for buffer in buffers]


def pack(value: Any) -> int:
    """Descriptor of a new file that holds `value`; it is gone once nobody has it open.

    Arrays, also those inside frames and sparse matrices, lie in it as they do in memory.
    """
    text, views = parts_of(value)
    places, end = _places(len(text), [view.nbytes for view in views])
    descriptor = _nameless_file(end)
    try:
        os.truncate(descriptor, end)
        head = _HEAD.pack(len(views), len(text)) + struct.pack(
            f"<{2 * len(views)}q", *[number for place in places for number in place]
        )
        _write(descriptor, head, 0)
        _write(descriptor, text, len(head))
        for view, (begin, _) in zip(views, places, strict=True):
            _write(descriptor, view, begin)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def unpack(descriptor: int) -> Any:
    """Return what :func:`pack` put there. Arrays share the file's memory until they are written to."""
    head = os.pread(descriptor, _HEAD.size, 0)
    n, length = _HEAD.unpack(head)
    numbers = struct.unpack(f"<{2 * n}q", os.pread(descriptor, 16 * n, _HEAD.size))
    begin = _HEAD.size + 16 * n
    size = os.fstat(descriptor).st_size
    memory = memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY))
    buffers = [memory[at : at + count] for at, count in zip(numbers[::2], numbers[1::2], strict=True)]
    return pickle.loads(memory[begin : begin + length], buffers=buffers)


def _places(length: int, sizes: Sequence[int]) -> tuple[list[tuple[int, int]], int]:
    """Where each buffer begins, with its size, and where the file ends."""
    end = _HEAD.size + 16 * len(sizes) + length
    places = []
    for size in sizes:
        begin = -(-end // _ALIGNMENT) * _ALIGNMENT
        places.append((begin, size))
        end = begin + size
    return places, end


def _nameless_file(size: int) -> int:
    """Open a file in memory, or in the temporary folder where it would take more than half of what is free."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size < free // 2 and hasattr(os, "memfd_create"):
        return os.memfd_create("manyfit")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write(descriptor: int, data: bytes | memoryview, at: int) -> None:
    view = memoryview(data).cast("B")
    while view:
        done = os.pwrite(descriptor, view[: 1 << 30], at)
        view, at = view[done:], at + done
