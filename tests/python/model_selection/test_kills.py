"""A sweep whose workers and supervisors are killed at random times loses nothing; the long run is a command."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

KILLS = Path(__file__).parents[2] / "bench" / "kills.py"


@pytest.fixture(scope="module")
def kills() -> Any:
    spec = importlib.util.spec_from_file_location("kills", KILLS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ten_kills(kills: Any, tmp_path: Path) -> None:
    campaign = kills.Campaign(tmp_path, kills=10, n_trials=120, seed=1, say=lambda line: None)
    counts = campaign.run()
    assert campaign.wrong() == {}
    assert counts["workers killed"] + counts["supervisors killed"] == 10
    assert counts["supervisors killed"] > 0
    assert counts["resumes"] == counts["supervisors killed"]
