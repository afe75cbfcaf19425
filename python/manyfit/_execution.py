"""How native code runs: on which device, on how many threads, and whom it tells of its progress."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral
from time import monotonic
from typing import Any

from manyfit import _threadpoolctl
from manyfit._native import core
from manyfit.exceptions import DeviceError

__all__ = ["backend", "cuda_module", "device_index", "execution", "progress"]

_threadpoolctl.register()

ProgressCallback = Callable[[str, float], object]
REPORT_INTERVAL = 0.05  # seconds, as in the core

_progress: ContextVar[ProgressCallback | None] = ContextVar("manyfit_progress", default=None)


@contextmanager
def progress(callback: ProgressCallback) -> Iterator[None]:
    """Report the progress of every fit in this block.

    Parameters
    ----------
    callback : callable
        Called as ``callback(stage, fraction)`` about every 50 ms of a long computation, on the thread that
        called ``fit``; `stage` names what is computed and `fraction` lies in [0, 1]. An exception
        it raises stops the fit and reaches the caller.

    Examples
    --------
    >>> import manyfit as mf
    >>> from manyfit.linear_model import Ridge
    >>> with mf.progress(lambda stage, fraction: print(f"{stage}: {fraction:.0%}")):
    ...     model = Ridge().fit([[0.0], [1.0]], [0.0, 1.0])  # too quick to report anything
    """
    if not callable(callback):
        raise TypeError(f"progress: callback must be callable, got {callback!r}")
    token = _progress.set(callback)
    try:
        yield
    finally:
        _progress.reset(token)


def reporter(stage: str) -> Callable[[float], None]:
    """What Python code calls now and then with the fraction it has done; passed on about every 50 ms."""
    callback = _progress.get()
    reported = monotonic()

    def report(fraction: float) -> None:
        nonlocal reported
        if callback is not None and monotonic() - reported >= REPORT_INTERVAL:
            callback(stage, fraction)
            reported = monotonic()

    return report


def threads(n_jobs: int | None) -> int:
    """Number of threads that `n_jobs` asks for; 0 stands for the default.

    None and -1 mean every CPU this process may use, -2 all but one, as in joblib.
    """
    if n_jobs is None or n_jobs == -1:
        return 0
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, Integral) or n_jobs == 0:
        raise ValueError(f"n_jobs must be None or an integer other than 0, got {n_jobs!r}")
    if n_jobs > 0:
        return int(n_jobs)
    return max(1, core.default_threads() + 1 + int(n_jobs))


def execution(n_jobs: int | None) -> core.Execution:
    """What a native call is handed: `n_jobs` threads, and the callback of an enclosing :func:`progress`."""
    return core.Execution(threads(n_jobs), _progress.get())


def backend(device: str) -> Any:
    """Return what offers the kernels that run on `device`: the core, or the functions of a GPU under the same names.

    Raises
    ------
    DeviceError
        If this build or this machine has no such device.
    """
    if device == "cpu":
        return core
    index = device_index(device)
    if index is None:
        raise ValueError(f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    module = cuda_module(f"device={device!r}")
    from manyfit._cuda_kernels import kernels_of

    try:
        return kernels_of(module, index)
    except DeviceError as error:
        raise DeviceError(f"device={device!r}: {error}") from None


def device_index(device: object) -> int | None:
    """Of a GPU by its name, "cuda" or "cuda:N"; None for any other."""
    if device == "cuda":
        return 0
    if not isinstance(device, str) or not device.startswith("cuda:"):
        return None
    number = device.removeprefix("cuda:")
    return int(number) if number.isascii() and number.isdigit() else None


def cuda_module(asked: str) -> Any:
    """Return the CUDA module, imported at its first use; `asked` says who needs it.

    Raises
    ------
    DeviceError
        If there is none in this installation, or it does not load.
    """
    try:
        from manyfit import _cuda
    except ImportError as error:
        if importlib.util.find_spec("manyfit._cuda") is None:
            why = (
                f"this build of manyfit has no CUDA module ({core.build_info()['cuda']}); with NVIDIA's CUDA "
                "toolkit, `pip install manyfit -Ccmake.define.MANYFIT_CUDA=ON` builds one"
            )
        else:
            why = f"manyfit's CUDA module does not load ({error})"
        raise DeviceError(f"{asked}: {why}; or use device='cpu' (manyfit.show_config() tells more)") from None
    return _cuda
