"""Probes: input rows built to make a wrong graph and its model disagree.

A probe set is a function of the model's domain, the export type and a seed alone. It always has
`PROBE_ROWS` rows, so that the whole set is also the large batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from manyfit.onnx.bounds import Matrix
from manyfit.onnx.emitter import FloatDType
from manyfit.onnx.registry import Domain

PROBE_SEED = 20_260_101
PROBE_ROWS = 1000
# Every feature gets a row of its own up to this many; beyond, a sample of them and mixed rows.
_BASIS_ROWS = 256
_NON_FINITE_FEATURES = 4

CALIBRATION = "calibration"
NON_FINITE = "NaN and infinity"


@dataclass(frozen=True)
class Probes:
    """Input rows, exact in the export type, and what each one is meant to hit."""

    rows: npt.NDArray[np.floating[Any]]
    kinds: tuple[str, ...]

    def of_kind(self, kind: str) -> npt.NDArray[np.bool_]:
        """Return the mask of the rows of one kind."""
        return np.array([each == kind for each in self.kinds])


def make_probes(domain: Domain, dtype: FloatDType, grid: FloatDType, user_rows: Matrix | None) -> Probes:
    """Build the probe set.

    Parameters
    ----------
    domain : Domain
        Where the model's inputs lie.
    dtype : numpy dtype
        The export type; the rows have it.
    grid : numpy dtype
        The coarser of the export type and the native model's; the rows are exact in it.
    user_rows : array of shape (n_rows, n_features) or None
        Rows of the user's own to calibrate on, instead of rows drawn from the domain.
    """
    rng = np.random.Generator(np.random.PCG64(PROBE_SEED))
    if user_rows is not None and len(user_rows) > 1:
        domain = _fit_domain(user_rows, domain)
    # A spread below the resolution at the centre would make every probe the centre itself,
    centre = _onto(domain.centre, grid).astype(np.float64)
    resolution = 8 * np.spacing(np.abs(centre).astype(grid)).astype(np.float64)
    # and one that overflowed when it was fitted would make none of them finite.
    spread = np.where(np.isfinite(domain.spread), domain.spread, np.maximum(np.abs(centre), 1.0))
    domain = Domain(centre, np.maximum(spread, resolution), domain.landmarks)

    blocks = [_onto(np.atleast_2d(rows), grid) for rows in _special_rows(domain, grid, rng)]
    kinds = [kind for kind, rows in zip(_SPECIAL_KINDS, blocks, strict=True) for _ in rows]
    calibration = _calibration_rows(domain, PROBE_ROWS - len(kinds), user_rows, rng)
    blocks.insert(0, _onto(calibration, grid))
    rows = np.concatenate(blocks).astype(dtype)
    # Batches are slices of the set, so the kinds are mixed: a small batch holds several of them.
    order = rng.permutation(PROBE_ROWS)
    all_kinds = [CALIBRATION] * len(calibration) + kinds
    return Probes(rows[order], tuple(all_kinds[i] for i in order))


_SPECIAL_KINDS = ("one feature at a time", "ties", "zero", "subnormal", "huge", NON_FINITE)


def _special_rows(domain: Domain, grid: FloatDType, rng: np.random.Generator) -> Iterator[Matrix]:
    """Yield one block of rows per kind in `_SPECIAL_KINDS`."""
    yield np.concatenate(list(_basis_rows(domain, rng)))
    yield np.stack(list(_tie_rows(domain, grid)))
    yield np.stack([np.zeros_like(domain.centre), -np.zeros_like(domain.centre)])
    yield np.stack(list(_extreme_rows(domain, _subnormal_scales(grid), rng)))
    yield np.stack(list(_extreme_rows(domain, _huge_scales(grid), rng)))
    yield np.stack(list(_non_finite_rows(domain, rng)))


def _onto(rows: Matrix, grid: FloatDType) -> npt.NDArray[np.floating[Any]]:
    """Round to `grid`; finite numbers stay finite."""
    info = np.finfo(grid)
    finite = np.where(np.isfinite(rows), np.clip(rows, float(info.min), float(info.max)), rows)
    return finite.astype(grid)


def _fit_domain(user_rows: Matrix, domain: Domain) -> Domain:
    """Take centre and spread from the user's finite values where there are any."""
    finite = user_rows[np.isfinite(user_rows).all(axis=1)]
    if len(finite) < 2:
        return domain
    spread = finite.std(axis=0)
    return Domain(finite.mean(axis=0), np.where(spread > 0, spread, domain.spread), domain.landmarks)


def _calibration_rows(
    domain: Domain, count: int, user_rows: Matrix | None, rng: np.random.Generator
) -> Matrix:
    """Return the user's rows, evenly thinned, filled up with normal rows around the centre."""
    taken = np.empty((0, len(domain.centre)))
    if user_rows is not None:
        finite = user_rows[np.isfinite(user_rows).all(axis=1)]
        taken = finite[np.unique(np.linspace(0, len(finite) - 1, min(count, len(finite))).astype(np.int64))]
    drawn = rng.standard_normal((count - len(taken), len(domain.centre)))
    return np.concatenate([taken, domain.centre + domain.spread * drawn])


def _basis_rows(domain: Domain, rng: np.random.Generator) -> Iterator[Matrix]:
    """Yield rows that move one feature from the centre; for many features also random-sign combs."""
    n_features = len(domain.centre)
    if n_features <= _BASIS_ROWS:
        features = np.arange(n_features)
    else:
        features = np.sort(rng.choice(n_features, _BASIS_ROWS, replace=False))
        comb = np.zeros((_BASIS_ROWS, n_features))
        every = np.arange(n_features)
        comb[every % _BASIS_ROWS, every] = rng.choice([-1.0, 1.0], n_features) * domain.spread
        yield domain.centre + comb
    rows = np.tile(domain.centre, (len(features), 1))
    rows[np.arange(len(features)), features] += domain.spread[features]
    yield rows


def _tie_rows(domain: Domain, grid: FloatDType) -> Iterator[Matrix]:
    """Yield the centre and the landmarks with their two neighbours; equal features; one row repeated."""
    for landmark in (domain.centre, *domain.landmarks):
        exact = _onto(landmark, grid)
        for neighbour in (exact, *(np.nextafter(exact, grid.type(to)) for to in (-np.inf, np.inf))):
            yield neighbour.astype(np.float64)
    for value in (1.0, -1.0):
        yield np.full_like(domain.centre, value)
    for _ in range(3):
        yield domain.centre + domain.spread


def _subnormal_scales(grid: FloatDType) -> tuple[float, ...]:
    info = np.finfo(grid)
    return float(info.smallest_subnormal), float(info.tiny) / 4, float(info.tiny)


def _huge_scales(grid: FloatDType) -> tuple[float, ...]:
    largest = float(np.finfo(grid).max)
    return largest**0.5, largest**0.75, largest


def _extreme_rows(domain: Domain, scales: tuple[float, ...], rng: np.random.Generator) -> Iterator[Matrix]:
    """Yield, for each magnitude, all features with random signs and one alone, of either sign."""
    n_features = len(domain.centre)
    for scale in scales:
        yield scale * rng.choice([-1.0, 1.0], n_features)
        for sign in (1.0, -1.0):
            row = np.zeros(n_features)
            row[rng.integers(n_features)] = sign * scale
            yield row


def _non_finite_rows(domain: Domain, rng: np.random.Generator) -> Iterator[Matrix]:
    """Yield NaN, +inf and -inf everywhere, in one feature, and both infinities in one row."""
    n_features = len(domain.centre)
    for value in (np.nan, np.inf, -np.inf):
        yield np.full(n_features, value)
        for feature in rng.choice(n_features, min(n_features, _NON_FINITE_FEATURES), replace=False):
            row = domain.centre + domain.spread * rng.standard_normal(n_features)
            row[feature] = value
            yield row
    mixed = domain.centre.copy()
    mixed[0], mixed[-1] = np.inf, -np.inf
    yield mixed
