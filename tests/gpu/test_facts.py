"""What the module says of itself and of its devices."""

from __future__ import annotations

import io
from typing import Any

import pytest

import manyfit as mf
from manyfit.linear_model import Ridge

from .place import PLACE


def test_devices_are_told(module: Any) -> None:
    facts = mf.config()["cuda"]
    assert facts["built"]
    assert len(facts["devices"]) == module.device_count() >= 1
    for each in facts["devices"]:
        assert 0 < each["free"] <= each["memory"]
        assert each["major"] >= 7
    out = io.StringIO()
    mf.show_config(out)
    assert facts["devices"][0]["name"] in out.getvalue()


def test_driver_and_runtime(real: None) -> None:
    for each in PLACE.devices:
        assert each["driver"] >= each["runtime"] // 1000 * 1000 >= 12000


def test_a_device_that_is_not_there(module: Any) -> None:
    index = module.device_count()
    with pytest.raises(mf.DeviceError, match=rf"device='cuda:{index}': there is no device {index}"):
        Ridge(device=f"cuda:{index}").fit([[0.0], [1.0]], [0.0, 1.0])


def test_every_device(module: Any) -> None:
    for index in range(module.device_count()):
        model = Ridge(alpha=0, device=f"cuda:{index}").fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
        assert abs(model.coef_[0] - 2) < 1e-12
