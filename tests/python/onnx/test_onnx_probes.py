"""The probe set: what it must hold for every model."""

from __future__ import annotations

import numpy as np
import pytest

from manyfit.onnx.probes import CALIBRATION, NON_FINITE, PROBE_ROWS, make_probes
from manyfit.onnx.registry import Domain


def domain_of(n_features, landmarks=()):
    return Domain(np.linspace(-5.0, 5.0, n_features), np.geomspace(0.1, 10.0, n_features), landmarks)


@pytest.mark.parametrize("n_features", [1, 2, 7, 256, 257, 900])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_kind_is_there(n_features, dtype):
    domain = domain_of(n_features)
    probes = make_probes(domain, np.dtype(dtype), np.dtype(np.float32), None)
    rows = probes.rows
    assert rows.shape == (PROBE_ROWS, n_features)
    assert rows.dtype == dtype
    assert len(probes.kinds) == PROBE_ROWS
    # Exact in the coarser of the two types.
    np.testing.assert_array_equal(rows, rows.astype(np.float32))
    assert probes.of_kind(CALIBRATION).sum() > 400
    special = rows[probes.of_kind(NON_FINITE)]
    assert np.isnan(special).all(axis=1).any()
    assert (special == np.inf).all(axis=1).any()
    assert (special == -np.inf).all(axis=1).any()
    assert (np.isfinite(special).sum(axis=1) == n_features - 1).sum() >= 3 or n_features == 1
    finite = rows[~probes.of_kind(NON_FINITE)]
    assert np.isfinite(finite).all()
    zeros = finite[(finite == 0).all(axis=1)]
    assert np.signbit(zeros).any()
    assert not np.signbit(zeros).all()
    assert (np.abs(finite) == np.finfo(np.float32).max).any()
    assert (np.abs(finite) == np.finfo(np.float32).smallest_subnormal).any()
    # Every feature moves on its own, or at least in a row where most others rest.
    centre = domain.centre.astype(np.float32)
    basis = rows[probes.of_kind("one feature at a time")] - centre
    assert (basis != 0).any(axis=0).all()
    assert np.count_nonzero(basis, axis=1).max() <= 1 + (n_features - 1) // 256


def test_the_same_set_every_time():
    first, second = (
        make_probes(domain_of(3), np.dtype(np.float32), np.dtype(np.float32), None) for _ in "12"
    )
    np.testing.assert_array_equal(first.rows, second.rows)
    assert first.kinds == second.kinds


def test_landmarks_come_with_their_neighbours():
    landmark = np.array([0.1, 0.2], dtype=np.float32).astype(np.float64)
    probes = make_probes(domain_of(2, (landmark,)), np.dtype(np.float32), np.dtype(np.float32), None)
    rows = {tuple(row) for row in probes.rows.tolist()}
    near = landmark.astype(np.float32)
    for to in (near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))):
        assert tuple(to.tolist()) in rows


def test_user_rows_are_calibration_rows():
    user = np.random.default_rng(0).normal(1e3, 0.5, size=(50, 3))
    user[4, 1] = np.nan
    probes = make_probes(domain_of(3), np.dtype(np.float64), np.dtype(np.float64), user)
    calibration = {tuple(row) for row in probes.rows[probes.of_kind(CALIBRATION)].tolist()}
    assert {tuple(row) for row in np.delete(user, 4, axis=0).tolist()} <= calibration
    # The drawn rows lie where the user's do.
    assert 900 < np.median(probes.rows[probes.of_kind(CALIBRATION)]) < 1100


def test_a_domain_that_overflowed_still_gives_finite_rows():
    domain = Domain(np.array([1e30, 1e8]), np.array([np.inf, 1e-3]))
    probes = make_probes(domain, np.dtype(np.float32), np.dtype(np.float32), None)
    assert np.isfinite(probes.rows[probes.of_kind(CALIBRATION)]).all()
    # A spread below the resolution at the centre would leave nothing but the centre.
    assert len(np.unique(probes.rows[probes.of_kind(CALIBRATION)][:, 1])) > 10
