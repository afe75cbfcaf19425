"""Data of the benchmark cases: declared by shape, made from a fixed seed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Data:
    """A table and, for supervised work, its target; C-ordered."""

    X: Array
    y: Array | None = None

    def head(self, rows: int) -> Data:
        """The first rows, as views."""
        return Data(self.X[:rows], None if self.y is None else self.y[:rows])


class DataSpec(Hashable, Protocol):
    """What a case needs of a data maker; makers are frozen dataclasses, so that they can be cached."""

    @property
    def label(self) -> str:
        """Shape and type for people: ``300k x 100 float64``."""

    @property
    def slug(self) -> str:
        """The same for the command line: ``300kx100/float64``."""

    def quick(self) -> DataSpec:
        """A small relative for smoke tests."""

    def make(self) -> Data:
        """Make the data, the same at every call."""


@functools.lru_cache(maxsize=1)
def load(spec: DataSpec) -> Data:
    """Make the data of ``spec``, or return them again when they were the last ones made."""
    return spec.make()


def count(n: int) -> str:
    """300000 as ``300k``."""
    return f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)


def power(value: float) -> str:
    """100000000.0 as ``1e8``."""
    return f"{value:.0e}".replace("e+0", "e")


@dataclass(frozen=True)
class Regression:
    """Correlated Gaussian columns, ``X = mean + N(0, 1) + a shared factor``, and ``y`` linear in them.

    With ``condition``, the centred columns have that condition number instead, singular values equally
    spaced on a log scale, and next to no noise: what is lost is then lost by the solver.
    """

    rows: int
    columns: int
    dtype: str = "float64"
    mean: float = 0.0
    condition: float | None = None
    seed: int = 0

    @property
    def label(self) -> str:
        """Shape, type and what is special."""
        shape = f"{count(self.rows)} x {count(self.columns)} {self.dtype}"
        return ", ".join([shape, *(f"{name} {power(value)}" for name, value in self._special)])

    @property
    def slug(self) -> str:
        """Shape, type and what is special, without spaces."""
        shape = f"{count(self.rows)}x{count(self.columns)}"
        return "/".join([shape, self.dtype, *(f"{name}-{power(value)}" for name, value in self._special)])

    @property
    def _special(self) -> list[tuple[str, float]]:
        fields = (("mean", self.mean or None), ("condition", self.condition))
        return [(name, value) for name, value in fields if value is not None]

    def quick(self) -> Regression:
        """A tenth of the rows of a tall table, a 25th of a wide one; small tables stay."""
        if self.rows * self.columns <= 200_000:
            return self
        if self.rows > self.columns:
            return dataclasses.replace(self, rows=self.rows // 10)
        return dataclasses.replace(self, rows=self.rows // 5, columns=self.columns // 5)

    def make(self) -> Data:
        """Draw X in float64, round it to ``dtype``, and compute y from the rounded X."""
        rng = np.random.default_rng(self.seed)
        X = rng.standard_normal((self.rows, self.columns))
        noise = 1.0
        if self.condition is None:
            X += rng.standard_normal((self.rows, 1))
        else:
            X, noise = _with_condition(X, self.condition, rng), 1e-6
        X += self.mean
        weights = rng.standard_normal(self.columns)
        X = X.astype(self.dtype, copy=False)
        # The mean is left out of y: at 1e8 it would drown everything that is to be learnt.
        y = X @ weights.astype(X.dtype) if not self.mean else (X - X.dtype.type(self.mean)) @ weights
        y += noise * rng.standard_normal(self.rows)
        return Data(np.ascontiguousarray(X), y.astype(self.dtype, copy=False))


def _with_condition(X: Array, condition: float, rng: np.random.Generator) -> Array:
    rows, columns = X.shape
    basis = np.linalg.qr(X - X.mean(axis=0))[0]
    rotation = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
    scales = np.sqrt(rows) * np.logspace(0, -np.log10(condition), columns)
    return np.asarray((basis * scales) @ rotation.T)


@dataclass(frozen=True)
class Classes(Regression):
    """The same columns, and labels drawn with the chances of a multinomial logistic model."""

    classes: int = 2

    @property
    def label(self) -> str:
        """Shape, type and number of classes."""
        return super().label + (f", {self.classes} classes" if self.classes > 2 else "")

    @property
    def slug(self) -> str:
        """The same without spaces."""
        return super().slug + (f"/classes-{self.classes}" if self.classes > 2 else "")

    def make(self) -> Data:
        """Draw the columns, and of each row's classes the one of the highest noisy score."""
        rng = np.random.default_rng(self.seed + 1)
        X = super().make().X
        weights = rng.standard_normal((self.columns, self.classes)) / np.sqrt(self.columns)
        scores = X @ weights.astype(X.dtype) + rng.gumbel(size=(self.rows, self.classes))
        return Data(X, np.argmax(scores, axis=1))


@dataclass(frozen=True)
class Outliers(Regression):
    """The same columns, and targets of which a twentieth are far off."""

    @property
    def label(self) -> str:
        """Shape, type and what is special."""
        return super().label + ", 5 % outliers"

    @property
    def slug(self) -> str:
        """The same without spaces."""
        return super().slug + "/outliers"

    def make(self) -> Data:
        """Make the data, and move some of the targets."""
        data = super().make()
        assert data.y is not None
        rng = np.random.default_rng(self.seed + 2)
        far = rng.random(self.rows) < 0.05
        return Data(data.X, data.y + (far * 30 * rng.standard_normal(self.rows)).astype(self.dtype))


@dataclass(frozen=True)
class Sparse(Regression):
    """The same columns, of which a few are all that y depends on."""

    used: int = 30

    @property
    def label(self) -> str:
        """Shape, type and how many columns count."""
        return super().label + f", {self.used} count"

    @property
    def slug(self) -> str:
        """The same without spaces."""
        return super().slug + f"/used-{self.used}"

    def make(self) -> Data:
        """Draw X in float64, round it to ``dtype``, and compute y from the rounded X."""
        rng = np.random.default_rng(self.seed)
        X = rng.standard_normal((self.rows, self.columns)) + rng.standard_normal((self.rows, 1))
        X = X.astype(self.dtype, copy=False)
        columns = rng.choice(self.columns, self.used, replace=False)
        y = X[:, columns] @ rng.standard_normal(self.used).astype(X.dtype)
        y += 0.5 * rng.standard_normal(self.rows)
        return Data(X, y.astype(self.dtype, copy=False))


@dataclass(frozen=True)
class Targets(Regression):
    """Columns that share a factor, and several targets, each linear in the same fifth of them."""

    targets: int = 5

    @property
    def label(self) -> str:
        """Shape, type and number of targets."""
        return super().label + f", {self.targets} targets"

    @property
    def slug(self) -> str:
        """The same without spaces."""
        return super().slug + f"/targets-{self.targets}"

    def make(self) -> Data:
        """Draw X in float64, round it to ``dtype``, and compute the targets from the rounded X."""
        rng = np.random.default_rng(self.seed)
        X = rng.standard_normal((self.rows, self.columns)) + 0.5 * rng.standard_normal((self.rows, 1))
        X = X.astype(self.dtype, copy=False)
        used = max(1, self.columns // 5)
        y = X[:, :used] @ rng.standard_normal((used, self.targets)).astype(X.dtype)
        y += rng.standard_normal(y.shape)
        return Data(X, y)


@dataclass(frozen=True)
class Counts:
    """Standard normal columns, and Poisson counts whose logarithmic mean is linear in them."""

    rows: int
    columns: int
    dtype: str = "float64"
    seed: int = 0

    @property
    def label(self) -> str:
        """Shape, type and what is special."""
        return f"{count(self.rows)} x {self.columns} {self.dtype}, counts"

    @property
    def slug(self) -> str:
        """The same for the command line."""
        return f"{count(self.rows)}x{self.columns}/{self.dtype}/counts"

    def quick(self) -> Counts:
        """A small relative for smoke tests."""
        return dataclasses.replace(self, rows=min(self.rows, 2000), columns=min(self.columns, 10))

    def make(self) -> Data:
        """Make the data, the same at every call."""
        rng = np.random.default_rng(self.seed)
        X = rng.standard_normal((self.rows, self.columns))
        y = rng.poisson(np.exp(1 + X @ rng.standard_normal(self.columns) / np.sqrt(self.columns) / 2))
        return Data(X.astype(self.dtype), y.astype(self.dtype))
