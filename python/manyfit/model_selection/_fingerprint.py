"""What a study was made of, so that it is not continued with something else."""

from __future__ import annotations

import inspect
from collections.abc import Collection
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
_IDLE = ("n_jobs", "verbose", "memory", "copy", "copy_X", "device", "trace")  # change no result


def fingerprint_of(task: Task, space: Space, goals: Goals, scoring: Any) -> dict[str, Any]:
    """Estimator, space, objectives, data and splits, in values that can be stored and compared.

    Of the estimator's own parameters, those that are neither searched nor their defaults.
    """
    rows = _num_samples(task.X)
    some = np.linspace(0, rows - 1, min(rows, _CHECKED_ROWS)).astype(np.int64)
    checksum = 0
    for each in (task.X, task.y):
        if each is not None:
            checksum = _checksum(_safe_indexing(each, some), checksum)
    named = scoring if scoring is None or isinstance(scoring, str) else goals.names[0]
    return {
        "estimator": type(task.estimator).__name__,
        "parameters": _parameters(task.estimator, {name for entry in space.alternatives for name in entry}),
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


def _parameters(estimator: Any, searched: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Parameters that are fixed to something, named as ``get_params`` names them."""
    signature = inspect.signature(type(estimator).__init__).parameters
    found: dict[str, Any] = {}
    for name, value in estimator.get_params(deep=False).items():
        if name in _IDLE or prefix + name in searched:
            continue
        inner: dict[str, Any] = {}
        if _composed(value):
            inner = {step: each for step, each, *_ in value}
            found[prefix + name] = [[step, *_said(more)] for step, _, *more in value]
        elif _fitted(value):
            inner = {name: value}
        else:
            default = signature[name].default if name in signature else inspect.Parameter.empty
            if _said(value) != _said(default):
                found[prefix + name] = _said(value)
        for step, each in inner.items():
            if prefix + step not in searched:
                found[prefix + step] = _said(each)
                if _fitted(each):
                    found |= _parameters(each, searched, f"{prefix}{step}__")
    return found


def _fitted(value: Any) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)


def _composed(value: Any) -> bool:
    """Whether it is the steps of a pipeline or the like: names and estimators."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, tuple) and len(each) > 1 and isinstance(each[0], str) for each in value)
        and any(_fitted(each[1]) for each in value)
    )


def _said(value: Any) -> Any:
    """A value in what JSON knows; a type's name where there is no more to say."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_said(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _said(each) for key, each in value.items()}
    if isinstance(value, slice | range):
        return repr(value)
    if isinstance(value, np.ndarray):
        return f"array {value.shape} {_checksum(value, 0):08x}"
    return getattr(value, "__qualname__", None) or type(value).__qualname__
