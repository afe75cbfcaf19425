"""The classes of a classifier: what its `label` output says, and how that is compared.

Class values that are integers or booleans stand in the graph themselves. Any others (strings,
floats) stand in the metadata, and the graph answers the index of a class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from manyfit.onnx.bounds import Matrix

MAX_CLASSES = 1_000_000
BY_VALUE, BY_INDEX = "value", "index"

_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True)
class Classes:
    """The classes in the order of `classes_`.

    Attributes
    ----------
    names : tuple
        The class values as Python objects: int, bool, float or str.
    by_value : bool
        Whether the graph answers the values themselves; otherwise it answers indices.
    """

    names: tuple[Any, ...]
    by_value: bool

    @classmethod
    def of(cls, classes: npt.ArrayLike) -> Classes:
        """Read an estimator's `classes_`."""
        array = np.asarray(classes)
        if array.ndim != 1 or len(array) < 2:
            raise ValueError(f"to_onnx: a classifier needs two classes or more, got classes_ {classes!r}")
        names = tuple(array.tolist())
        by_value = array.dtype.kind in "biu" and max(names) <= _INT64.max
        if not by_value and not all(isinstance(name, str | int | float) for name in names):
            raise ValueError(f"to_onnx: classes_ must be numbers or strings, got dtype {array.dtype}")
        return cls(names, by_value)

    @property
    def values(self) -> npt.NDArray[np.int64]:
        """What the graph answers for each class."""
        return np.asarray(self.names if self.by_value else range(len(self.names)), dtype=np.int64)

    def show(self, index: float) -> str:
        """Return a class as it reads in a message."""
        return f"class {self.names[int(index)]!r}" if 0 <= index < len(self.names) else "no class"

    def told(self, labels: npt.ArrayLike) -> Matrix:
        """Return the index of each of the graph's labels; -1 where it is none of the classes."""
        return _places(np.asarray(labels), self.values)

    def predicted(self, labels: npt.ArrayLike) -> Matrix:
        """Return the index of each native prediction; -1 where it is none of the classes."""
        return _places(np.asarray(labels), self.names)


def _places(labels: npt.NDArray[Any], values: Any) -> Matrix:
    place = {value: i for i, value in enumerate(np.asarray(values, dtype=object).tolist())}
    places = [place.get(label, -1) for label in labels.ravel().tolist()]
    return np.asarray(places, dtype=np.float64).reshape(labels.shape)
