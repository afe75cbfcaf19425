"""What the checks on a GPU share."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from manyfit import _cuda_kernels

from .place import PLACE

Upload = Callable[..., Any]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "small: small work runs where it is quickest, as it does for users")


@pytest.fixture(autouse=True)
def device() -> None:
    """A device, or the reason why there is none."""
    if PLACE.why_not:
        pytest.skip(PLACE.why_not)


@pytest.fixture(autouse=True)
def every_kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data of most checks are small, and what is small would run on the host."""
    if request.node.get_closest_marker("small") is None:
        monkeypatch.setattr(_cuda_kernels, "FEW", 0)


@pytest.fixture
def module() -> Any:
    """The CUDA module."""
    from manyfit import _cuda

    return _cuda


@pytest.fixture
def real() -> None:
    """Skips on the simulated device."""
    if not PLACE.real:
        pytest.skip("needs a GPU, not the simulated device")


@pytest.fixture
def simulated() -> None:
    """Skips on a GPU."""
    if PLACE.real:
        pytest.skip("asks the simulated device what it did")


class Interface:
    """Someone's array that speaks the CUDA array interface alone."""

    def __init__(self, array: Any, **changes: Any) -> None:
        self.array = array
        self.__cuda_array_interface__ = {**array.__cuda_array_interface__, **changes}


class Dlpack:
    """Someone's array that speaks DLPack 1."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        place: tuple[int, int] = self.array.__dlpack_device__()
        return place

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)


class OldDlpack(Dlpack):
    """Someone's array that speaks DLPack as it was before version 1."""

    def __dlpack__(self, stream: Any = None) -> Any:  # type: ignore[override]  # fewer arguments
        return self.array.__dlpack__(stream=stream)


def _module_array(array: Any, index: int) -> Any:
    from manyfit._cuda import Array

    return Array.upload(np.asarray(array), index)


def _cupy(array: Any, index: int) -> Any:
    import cupy

    with cupy.cuda.Device(index):
        return cupy.asarray(array)


def _torch(array: Any, index: int) -> Any:
    import torch

    return torch.as_tensor(np.ascontiguousarray(array), device=f"cuda:{index}")


def _jax(array: Any, index: int) -> Any:
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax.device_put(np.asarray(array), jax.devices("gpu")[index])


KINDS: dict[str, Upload] = {
    "our own": _module_array,
    "array interface": lambda array, index: Interface(_module_array(array, index)),
    "DLPack": lambda array, index: Dlpack(_module_array(array, index)),
    "DLPack before 1": lambda array, index: OldDlpack(_module_array(array, index)),
    "cupy": _cupy,
    "torch": _torch,
    "jax": _jax,
}


def on_host(array: Any) -> Any:
    """The numbers of any kind of array."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "get"):
        return array.get()
    if hasattr(array, "cpu"):
        return array.cpu().numpy()
    return array.numpy() if hasattr(array, "numpy") else np.asarray(array)


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """A library's arrays."""
    name: str = request.param
    if name in ("cupy", "torch", "jax"):
        if not PLACE.real:
            pytest.skip(f"{name} needs a GPU, not the simulated device")
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
        if name == "jax":
            import jax

            if jax.default_backend() != "gpu":
                pytest.skip("jax has no GPU")
    return name


@pytest.fixture
def put(kind: str) -> Upload:
    """``put(array, index=0)``: a copy on the device as an array of the kind."""
    return lambda array, index=0: KINDS[kind](array, index)


@pytest.fixture
def upload() -> Upload:
    """``upload(array, index=0)``: a copy on the device."""
    return lambda array, index=0: _module_array(array, index)


@pytest.fixture
def memory_limit(module: Any, simulated: None) -> Iterator[Callable[[int], None]]:
    """``memory_limit(bytes)`` of the simulated device."""
    yield module.set_simulated_memory
    module.set_simulated_memory(1 << 30)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C is KeyboardInterrupt, also where a shell that runs this in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
