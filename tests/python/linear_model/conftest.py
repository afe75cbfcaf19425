"""References that are exact: least squares over the rational numbers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Exact = Callable[..., tuple[NDArray[np.float64], NDArray[np.float64]]]


def _rational(array: NDArray[Any]) -> list[list[Fraction]]:
    return [[Fraction(float(value)) for value in row] for row in array]


def _solve(A: list[list[Fraction]]) -> list[list[Fraction]]:
    """Gauss-Jordan on an augmented matrix of full rank; the columns beyond the square are the solutions."""
    d = len(A)
    for c in range(d):
        pivot = next(r for r in range(c, d) if A[r][c] != 0)
        A[c], A[pivot] = A[pivot], A[c]
        A[c] = [value / A[c][c] for value in A[c]]
        for r in range(d):
            if r != c and A[r][c] != 0:
                factor = A[r][c]
                A[r] = [a - factor * b for a, b in zip(A[r], A[c], strict=True)]
    return [row[d:] for row in A]


def exact_least_squares(
    X: NDArray[Any],
    y: NDArray[Any],
    sample_weight: NDArray[Any] | None = None,
    alpha: float = 0.0,
    fit_intercept: bool = True,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients (targets, features) and intercept (targets,) of the problem as its floats state it.

    The normal equations, without rounding before the end. X must have full column rank where alpha is 0.
    """
    rows, targets = _rational(X), _rational(y.reshape(len(X), -1))
    n, d, t = len(rows), len(rows[0]), len(targets[0])
    weights = [Fraction(1)] * n if sample_weight is None else [Fraction(float(w)) for w in sample_weight]
    total = sum(weights)

    def mean(columns: list[list[Fraction]], j: int) -> Fraction:
        return sum(w * row[j] for w, row in zip(weights, columns, strict=True)) / total

    x_mean = [mean(rows, j) if fit_intercept else Fraction(0) for j in range(d)]
    y_mean = [mean(targets, k) if fit_intercept else Fraction(0) for k in range(t)]
    joint = [
        [
            *(x - m for x, m in zip(row, x_mean, strict=True)),
            *(v - m for v, m in zip(values, y_mean, strict=True)),
        ]
        for row, values in zip(rows, targets, strict=True)
    ]
    system = [
        [sum(w * row[i] * row[j] for w, row in zip(weights, joint, strict=True)) for j in range(d + t)]
        for i in range(d)
    ]
    for i in range(d):
        system[i][i] += Fraction(float(alpha))
    solution = _solve(system)
    coef = [[solution[j][k] for j in range(d)] for k in range(t)]
    intercept = [y_mean[k] - sum(m * c for m, c in zip(x_mean, coef[k], strict=True)) for k in range(t)]
    return np.array(coef, dtype=np.float64), np.array(intercept, dtype=np.float64)


@pytest.fixture(scope="session")
def exact() -> Exact:
    return exact_least_squares


def _error(model: Any, reference: tuple[NDArray[Any], NDArray[Any]]) -> float:
    coef, intercept = reference
    scale = max(np.abs(coef).max(), 1e-300)
    worst = np.abs(np.atleast_2d(model.coef_) - coef).max() / scale
    if np.any(model.intercept_):
        gap = np.abs(np.atleast_1d(model.intercept_) - intercept).max()
        worst = max(worst, gap / max(np.abs(intercept).max(), scale))
    return float(worst)


@pytest.fixture(scope="session")
def error_of() -> Callable[[Any, tuple[NDArray[Any], NDArray[Any]]], float]:
    """``error_of(model, exact)``: the largest error of coefficients and intercept, relative to the largest."""
    return _error
