"""What a study was made of, so that it is not continued with something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

if TYPE_CHECKING:
    from manyfit.model_selection._executor import Task
    from manyfit.model_selection._measures import Goals
    from manyfit.model_selection._space import Space

__all__ = ["fingerprint_of"]

_CHECKED_ROWS = 1000


def fingerprint_of(task: Task, space: Space, goals: Goals, scoring: Any) -> dict[str, Any]:
    """Estimator, space, objectives, data and splits, in values that can be stored and compared."""
    rows = _num_samples(task.X)
    some = np.linspace(0, rows - 1, min(rows, _CHECKED_ROWS)).astype(np.int64)
    checksum = 0
    for each in (task.X, task.y):
        if each is not None:
            checksum = _checksum(_safe_indexing(each, some), checksum)
    named = scoring if scoring is None or isinstance(scoring, str) else goals.names[0]
    return {
        "estimator": type(task.estimator).__name__,
        "space": space.describe(),
        "objectives": [named or "score"] if goals.names == ["score"] else goals.names,
        "data": {"rows": rows, "checksum": f"{checksum:08x}"},
        "splits": len(task.splits),
    }


def _checksum(part: Any, before: int) -> int:
    array = np.asarray(part.toarray() if issparse(part) else part)  # type: ignore[attr-defined]  # issparse narrows nothing
    if array.dtype == object:
        return crc32(repr(array.tolist()).encode(), before)
    return crc32(np.ascontiguousarray(array).tobytes(), before)
