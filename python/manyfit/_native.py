"""The extension module for this CPU: chosen here, once, at import.

The core is compiled as one whole module per x86-64 level (``_core_v2``, ``_core_v3``, ``_core_v4``;
``_core_base`` on other processors). The best one that this CPU runs is imported and offered as ``core``;
the environment variable ``MANYFIT_CPU_LEVEL`` asks for another.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

from manyfit import _cpu_level

if TYPE_CHECKING:
    from manyfit import _core as core

__all__ = ["core", "cpu_level", "cpu_level_reason", "levels_built", "levels_supported"]

LEVELS = ("base", "v2", "v3", "v4")
"""Every level there is, lowest first."""

OVERRIDE = "MANYFIT_CPU_LEVEL"
_BUILD_HINT = "pip install -Ccmake.define.MANYFIT_CPU_LEVELS=... builds others"


def _names(levels: tuple[str, ...]) -> str:
    return ", ".join(levels) or "none"


def _find_built() -> tuple[str, ...]:
    """Levels whose module lies in this installation, lowest first."""
    return tuple(level for level in LEVELS if importlib.util.find_spec(f"manyfit._core_{level}"))


def choose_level(asked: str | None, built: tuple[str, ...], supported: tuple[str, ...]) -> tuple[str, str]:
    """Choose the CPU level to run and say why.

    Parameters
    ----------
    asked : str or None
        Level asked for by the environment; None or empty when nothing is asked.
    built : tuple of str
        Levels in this installation, lowest first.
    supported : tuple of str
        Levels this CPU and operating system run, lowest first.

    Returns
    -------
    level : str
    reason : str

    Raises
    ------
    ImportError
        If the level asked for is unknown, not built or not supported, or when no level fits.
    """
    facts = f"built: {_names(built)}; this CPU runs: {_names(supported)}"
    if asked:
        if asked not in LEVELS:
            raise ImportError(f"{OVERRIDE} must be one of {_names(LEVELS)}, got {asked!r} ({facts})")
        if asked not in built:
            raise ImportError(f"{OVERRIDE}={asked}: that level is not built ({facts}); {_BUILD_HINT}")
        if asked not in supported:
            raise ImportError(f"{OVERRIDE}={asked}: this CPU does not run that level ({facts})")
        return asked, f"{OVERRIDE}={asked}"
    fitting = [level for level in built if level in supported]
    if not fitting:
        raise ImportError(
            f"no manyfit module fits this machine ({facts}); x86-64 needs at least v2 (SSE4.2); {_BUILD_HINT}"
        )
    best = fitting[-1]
    if best == supported[-1]:
        return best, "best level this CPU runs"
    return best, f"best level built; this CPU runs {supported[-1]}"


def _pointers(module: ModuleType, names: list[str]) -> dict[str, Any]:
    """PyCapsules of the C functions `names` that a SciPy Cython module offers."""
    capi: dict[str, Any] = module.__pyx_capi__
    return {name: capi[name] for name in names}


def _install_lapack(core: ModuleType) -> None:
    """Hand SciPy's LAPACK and BLAS to the core, as C function pointers: nothing is linked."""
    from scipy.linalg import cython_blas, cython_lapack

    core.install_lapack(
        _pointers(cython_lapack, core.lapack_routines()) | _pointers(cython_blas, core.blas_routines())
    )


def _install_blas_threads(core: ModuleType) -> None:
    """Hand over the functions that read and set the number of threads of SciPy's OpenBLAS, if it is one.

    They are looked up among the libraries of SciPy's own module: NumPy's BLAS may be another.
    """
    from scipy.linalg import cython_lapack

    library = ctypes.CDLL(cython_lapack.__file__)
    for prefix in ("scipy_openblas", "openblas"):
        for suffix in ("", "64_"):
            getter = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
            setter = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
            if getter is not None and setter is not None:
                addresses = [ctypes.cast(function, ctypes.c_void_p).value for function in (getter, setter)]
                core.install_blas_threads(*addresses)
                return


levels_supported: tuple[str, ...] = _cpu_level.supported
levels_built = _find_built()
cpu_level, cpu_level_reason = choose_level(os.environ.get(OVERRIDE), levels_built, levels_supported)

if not TYPE_CHECKING:
    core = importlib.import_module(f"manyfit._core_{cpu_level}")
    _install_lapack(core)
    _install_blas_threads(core)
