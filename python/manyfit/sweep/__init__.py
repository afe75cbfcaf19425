"""Sweeps from files: what to search for stands in YAML, what was found in a study that survives.

``manyfit sweep run FILE`` on a command line; here is what notebooks and scripts use of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manyfit.sweep.data import read_table
    from manyfit.sweep.problems import SweepFileError
    from manyfit.sweep.progress import ProgressBar

_NAMES = {
    "ProgressBar": "manyfit.sweep.progress",
    "SweepFileError": "manyfit.sweep.problems",
    "read_table": "manyfit.sweep.data",
}

__all__ = ["ProgressBar", "SweepFileError", "read_table"]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'manyfit.sweep' has no attribute {name!r}")
