"""Arrays in the memory of a GPU: how they are told from others, held, and handed back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

__all__ = ["DeviceInput", "held", "like", "on_device", "on_host", "refuse_on_cpu"]

_HOST = frozenset({1, 3})  # DLPack's types of devices: the CPU, and host memory that a GPU can read


def on_device(array: object) -> bool:
    """Whether an array lies in the memory of a device, by what it says of itself."""
    cls = type(array)
    if cls is np.ndarray or array is None:
        return False
    if cls is DeviceInput:
        return True
    where = getattr(cls, "__dlpack_device__", None)
    if where is not None:
        try:
            return int(where(array)[0]) not in _HOST
        except Exception:  # a library may refuse, as NumPy does for some types of numbers
            return False
    if hasattr(cls, "__cuda_array_interface__"):
        return True
    return "__cuda_array_interface__" in getattr(array, "__dict__", ())


def told(array: Any) -> str:
    """What kind of array it is, for messages."""
    given = array.given if isinstance(array, DeviceInput) else array
    cls = type(given)
    return f"{cls.__module__.partition('.')[0]}.{cls.__name__}"


def refuse_on_cpu(estimator: Any, name: str, array: Any) -> NoReturn:
    """Say why an estimator of device "cpu" does not take an array on a device."""
    owner = type(estimator).__name__
    hint = (
        "set device='cuda', or copy it to the host first"
        if "cuda" in estimator._devices
        else f"copy it to the host first, as {owner} has no CUDA kernel"
    )
    raise TypeError(f"{owner}: {name} lies on a device ({told(array)}), and device is 'cpu'; {hint}")


class DeviceInput:
    """An array on a device, which code that reads NumPy may read as well.

    Kernels read it where it lies. What else asks for its numbers gets them from a copy on the host, made once.
    Pickled, it is that copy.

    Parameters
    ----------
    given : array on a device
        Of CuPy, PyTorch, JAX or any library that speaks DLPack or the CUDA array interface.
    name : str
        The parameter that errors speak of.
    """

    def __init__(self, given: Any, name: str) -> None:
        self.given = given
        self.name = name
        self._array: Any = None
        self._host: NDArray[Any] | None = None

    @property
    def array(self) -> Any:
        """The same as an array of the CUDA module, without a copy."""
        if self._array is None:
            from manyfit._execution import cuda_module

            self._array = cuda_module(f"{self.name} lies on a device").array(self.given, self.name)
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.array.shape
        return shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size: int = self.array.size
        return size

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    def host(self) -> NDArray[Any]:
        """The copy on the host."""
        if self._host is None:
            host: NDArray[Any] = self.array.numpy()
            host.flags.writeable = False  # others look at it too
            self._host = host
        return self._host

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        return self.host()[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        host = self.host()
        if dtype is not None and host.dtype != dtype:
            return host.astype(dtype)
        return host.copy() if copy else host

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return np.asarray, (self.host(),)

    def __repr__(self) -> str:
        return f"<{told(self)} on a device>"


def held(array: Any, name: str) -> Any:
    """An array on a device as a :class:`DeviceInput`; anything else as it is."""
    if type(array) is np.ndarray or array is None or type(array) is DeviceInput or not on_device(array):
        return array
    return DeviceInput(array, name)


def on_host(array: Any, name: str = "X") -> Any:
    """An array on a device as an array of NumPy; anything else as it is."""
    array = held(array, name)
    return array.host() if type(array) is DeviceInput else array


def like(given: Any, answer: Any, kernels: Any) -> Any:
    """An answer as an array of the library that `given` is of, on its device.

    `answer` is an array of the CUDA module or of NumPy. What is not numbers stays NumPy's.
    """
    if isinstance(answer, np.ndarray):
        if answer.dtype.kind not in "fiub":
            return answer
        if answer.dtype.kind in "iub" and answer.dtype not in (np.int32, np.int64):
            answer = answer.astype(np.int64)
        answer = kernels.upload(answer)
    library = type(given).__module__.partition(".")[0]
    if library == "cupy":
        import cupy

        return cupy.from_dlpack(answer)
    if library == "torch":
        import torch

        return torch.from_dlpack(answer)
    if library in ("jax", "jaxlib"):
        import jax

        return jax.dlpack.from_dlpack(answer)
    return answer
