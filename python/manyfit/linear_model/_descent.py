"""Coordinate descent: what Lasso, elastic net and their multi-task kin hand to the kernels, and what they keep."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from manyfit._device_arrays import on_host
from manyfit.linear_model._least_squares import PreparedJobs

__all__ = [
    "ONE_BY_ONE",
    "TOGETHER",
    "Descent",
    "Solution",
    "descend",
    "reads_gram",
    "seed_of",
    "warn_unless_converged",
]

# Kernels, which fit several targets one by one, or choose columns for all of them.
ONE_BY_ONE = "coordinate_descent"
TOGETHER = "multi_task_elastic_net"

# A Gram of so many columns is cheap to sweep even for a single fit.
SMALL_GRAM = 512
# Of more columns it pays if so many fits share it, for each of its columns, up to the widest.
FITS_PER_COLUMN = 0.1
WIDEST_GRAM = 3000


class Descent(NamedTuple):
    """Settings of one fit, in the order the kernel reads them."""

    split: int
    fit_intercept: bool
    alpha: float
    l1_ratio: float
    tol: float
    max_iter: int
    positive: bool
    seed: int  # -1: coordinates in their order
    exact: bool  # on to the minimum itself, once the gap is small enough


class Solution(NamedTuple):
    """What the kernel leaves; `gap` and so on are of shape (jobs, targets), or (jobs, 1) for targets together."""

    coef: Any  # (jobs, targets, features), of NumPy or on a device
    intercept: NDArray[np.float64]
    reliable: NDArray[np.bool_]
    gap: NDArray[np.float64]
    tolerance: NDArray[np.float64]
    sweeps: NDArray[np.float64]
    converged: NDArray[np.float64]


def seed_of(selection: str, random_state: Any) -> int:
    """The kernel's seed: -1 for coordinates in their order."""
    if selection == "cyclic":
        return -1
    return int(check_random_state(random_state).randint(0, np.iinfo(np.int32).max))


def reads_gram(group: PreparedJobs, fits: int) -> bool:
    """Whether the Gram of the columns is the way, or the columns themselves."""
    rows, columns = group.shape
    if group.has_gram:
        return True
    if rows < columns:
        return False
    return columns <= SMALL_GRAM or (columns <= WIDEST_GRAM and fits >= FITS_PER_COLUMN * columns)


def descend(
    group: PreparedJobs,
    settings: Sequence[Descent] | NDArray[np.float64],
    start: NDArray[np.float64] | None = None,
    kernel: str = ONE_BY_ONE,
    coef_on_host: bool = True,
) -> Solution:
    """Solve, from the Gram where that keeps all digits, from the columns elsewhere.

    `settings` are fits, or rows of an array that mean the same; `start`, of shape (jobs, targets, features), are
    coefficients to begin with. With ``coef_on_host=False`` coefficients stay where the kernel leaves them.
    """
    table = np.array(settings, dtype=np.float64)
    if not reads_gram(group, len(settings)):
        return _from_columns(group, table, start, kernel)
    solve = getattr(group.kernels, kernel)
    solution = Solution(*solve(group.gram(), table, start, group.execution))
    left = ~solution.reliable
    if coef_on_host:
        solution = solution._replace(coef=on_host(solution.coef))
    if left.any():
        solution = solution._replace(coef=np.array(on_host(solution.coef)))
        again = _from_columns(group, table[left], None if start is None else start[left], kernel)
        for whole, part in zip(solution, again, strict=True):
            whole[left] = part
    return solution


def _from_columns(
    group: PreparedJobs, table: NDArray[np.float64], start: NDArray[np.float64] | None, kernel: str
) -> Solution:
    solve = getattr(group.kernels, f"{kernel}_columns")
    solution = Solution(*solve(group.X, group.Y, group.weights, group.folds, table, start, group.execution))
    if "columns" not in group.dataset.passes:
        group.dataset.passes.append("columns")
    if not solution.reliable.all():
        group.dataset.assert_finite(group.owner)
    return solution


def warn_unless_converged(name: str, solution: Solution) -> None:
    """Warn, once for all fits, where the gap stayed above the tolerance."""
    fits = (solution.converged > 0).all(axis=1) | ~solution.reliable
    count = int((~fits).sum())
    if not count:
        return
    gap, tolerance = solution.gap[~fits], solution.tolerance[~fits]
    worst = np.unravel_index(np.argmax(gap - tolerance), gap.shape)
    which = "" if len(fits) == 1 else f" in {count} of {len(fits)} fits of {name}"
    warnings.warn(
        f"Objective did not converge{which}. You might want to increase the number of iterations (max_iter), "
        f"check the scale of the features or increase alpha. "
        f"Duality gap: {gap[worst]:.3e}, tolerance: {tolerance[worst]:.3e}",
        ConvergenceWarning,
        stacklevel=2,
    )
