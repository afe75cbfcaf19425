"""Answers computed with care and without hurry, that the contenders are held against."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

from .data import Array


class LinearModel(NamedTuple):
    """``y = X @ coef + intercept``."""

    coef: Array
    intercept: float


def ridge(X: Array, y: Array, alpha: float = 0.0, *, extended: bool = False) -> LinearModel:
    """Minimise |y - X coef - intercept|^2 + alpha |coef|^2 by orthogonal transformations, never a Gram.

    The columns are centred by means taken in extended precision. ``extended`` also solves in it
    (``np.longdouble``: 64 bits of mantissa on x86-64, so 2000 times finer than float64; no finer than
    float64 on platforms that have none). Without alpha a wide X gets the solution of least norm.
    """
    wide_X = X.astype(np.longdouble if extended or np.abs(X).max() > 1e4 else np.float64)
    x_mean = X.mean(axis=0, dtype=np.longdouble)
    y_mean = y.mean(dtype=np.longdouble)
    A = np.asarray(wide_X - x_mean.astype(wide_X.dtype))
    b = np.asarray(y.astype(np.longdouble) - y_mean)
    work = np.longdouble if extended else np.float64
    A, b = A.astype(work, copy=False), b.astype(work, copy=False)
    if X.shape[0] > X.shape[1]:
        coef = _solve_tall(A, b, alpha)
    elif alpha == 0:
        coef = linalg.lstsq(A, b, cond=max(X.shape) * np.finfo(X.dtype).eps)[0]
    else:
        coef = _solve_wide(A, b, alpha)
    return LinearModel(coef, float(y_mean - x_mean @ coef.astype(np.longdouble)))


def _solve_tall(A: Array, b: Array, alpha: float) -> Array:
    """Least squares from R of the QR factorisation of [A b; sqrt(alpha) I 0]."""
    d = A.shape[1]
    system = np.column_stack([A, b])
    if alpha:
        penalty = np.zeros((d, d + 1), dtype=A.dtype)
        np.fill_diagonal(penalty, np.sqrt(A.dtype.type(alpha)))
        system = np.vstack([system, penalty])
    R = _householder_r(system) if A.dtype != np.float64 else np.asarray(np.linalg.qr(system, mode="r"))
    return _back_substitute(R[:d, :d], R[:d, d])


def _solve_wide(A: Array, b: Array, alpha: float) -> Array:
    """The dual: coef = A' z with (A A' + alpha I) z = b, from R of [A' ; sqrt(alpha) I]."""
    n = A.shape[0]
    R = np.linalg.qr(np.vstack([A.T, np.sqrt(alpha) * np.eye(n)]), mode="r")
    z = linalg.solve_triangular(R, linalg.solve_triangular(R, b, trans="T"))
    return np.asarray(A.T @ z)


def _householder_r(A: Array) -> Array:
    """R of A = Q R in A's own type; LAPACK has none beyond float64."""
    A = A.copy()
    for k in range(A.shape[1]):
        v = A[k:, k].copy()
        norm = np.sqrt(v @ v)
        if norm == 0:
            continue
        v[0] += norm if v[0] >= 0 else -norm
        A[k:, k:] -= np.outer(v * (2 / (v @ v)), v @ A[k:, k:])
    return A[: A.shape[1]]


def _back_substitute(R: Array, b: Array) -> Array:
    x = np.zeros_like(b)
    for k in range(len(b) - 1, -1, -1):
        x[k] = (b[k] - R[k, k + 1 :] @ x[k + 1 :]) / R[k, k]
    return x


def covariance(X: Array) -> Array:
    """Covariance of the columns, in float64, centred by means taken in extended precision."""
    mean = X.mean(axis=0, dtype=np.longdouble)
    if np.abs(mean).max() > 1e4:
        centred = np.asarray(X - mean, dtype=np.float64)
    else:
        centred = X.astype(np.float64) - mean.astype(np.float64)
    return np.asarray(centred.T @ centred / (len(X) - 1))
