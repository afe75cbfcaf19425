"""Train/test splits as kernels take them: groups of splits cut into atoms of rows that they treat alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv

from manyfit._native import core

__all__ = ["Splits"]

# Atoms cost memory (a Gram each), and save passes over the rows.
MAX_ATOMS = 64


def _indices(rows: Any, n_rows: int) -> NDArray[np.int64]:
    """Row numbers that `rows` stands for: numbers (negative ones count from the end) or a mask."""
    array = np.asarray(rows)
    if array.dtype == bool:
        if array.shape != (n_rows,):
            raise ValueError(f"cv: a mask must have one entry per sample ({n_rows}), got shape {array.shape}")
        return np.flatnonzero(array)
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"cv: indices must be integers or a boolean mask, got dtype {array.dtype}")
    array = np.ascontiguousarray(array, dtype=np.int64)
    if array.size and array.min() < 0:
        array = np.where((array < 0) & (array >= -n_rows), array + n_rows, array)
    return array


class Splits:
    """Train/test splits of `n_rows` rows.

    Parameters
    ----------
    n_rows : int
    pairs : iterable of (train, test) index arrays, or None
        None stands for a single split that trains on every row and leaves none out.

    Attributes
    ----------
    pairs : list of (train, test) or None
    groups : list of core.Folds
        Splits that share one pass over the rows.
    """

    def __init__(self, n_rows: int, pairs: Iterable[tuple[Any, Any]] | None = None) -> None:
        self.n_rows = n_rows
        self.pairs = None if pairs is None else [(_indices(a, n_rows), _indices(b, n_rows)) for a, b in pairs]
        if self.pairs is not None and not self.pairs:
            raise ValueError("cv must give at least one split, got none")
        if self.pairs is None:
            self.groups = [core.all_rows(n_rows)]
        else:
            self.groups = core.make_folds(n_rows, self.pairs, MAX_ATOMS)

    @classmethod
    def in_parts(cls, n_train: int, n_test: int | None) -> Splits:
        """One split that trains on the first rows and tests on the others; None: on those it trains on."""
        splits = object.__new__(cls)
        train = np.arange(n_train)
        splits.n_rows = n_train + (n_test or 0)
        if n_test is None:
            splits.pairs = [(train, train)]
            splits.groups = [core.one_split([n_train], [1], [1])]
        else:
            splits.pairs = [(train, np.arange(n_train, n_train + n_test))]
            splits.groups = [core.one_split([n_train, n_test], [1, 0], [0, 1])]
        return splits

    @classmethod
    def from_cv(cls, cv: Any, n_rows: int, X: Any, y: Any, groups: Any, estimator: object) -> Splits:
        """Splits that scikit-learn's `cv` stands for: a number, a splitter or an iterable of pairs."""
        splitter = check_cv(cv, y, classifier=is_classifier(estimator))
        return cls(n_rows, splitter.split(X, y, groups))

    def __len__(self) -> int:
        return 1 if self.pairs is None else len(self.pairs)

    def train_rows(self, split: int) -> NDArray[np.int64] | slice:
        """Rows that `split` trains on."""
        return slice(None) if self.pairs is None else self.pairs[split][0]

    def assert_weight(self, weights: NDArray[Any]) -> None:
        """Raise where a split trains on rows of weight 0 alone."""
        if self.pairs is None or weights.all():
            return
        for split, (train, _) in enumerate(self.pairs):
            if not weights[train].any():
                raise ValueError(
                    f"cv: split {split} must train on rows of positive sample_weight, got all {len(train)} zero"
                )

    def test_rows(self, split: int) -> NDArray[np.int64]:
        """Rows that `split` leaves out to test on."""
        return np.empty(0, dtype=np.int64) if self.pairs is None else self.pairs[split][1]
