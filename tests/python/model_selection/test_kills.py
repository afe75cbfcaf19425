"""A sweep whose workers and supervisors are killed at random times loses nothing; the long run is a command."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import optuna
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
    campaign = kills.Campaign(tmp_path, kills=10, n_trials=64, seed=1, say=lambda line: None)
    counts = campaign.run()
    assert campaign.wrong() == {}
    assert counts["workers killed"] + counts["supervisors killed"] == 10
    assert counts["supervisors killed"] > 0
    assert counts["resumes"] == counts["supervisors killed"]


def test_losses_are_noticed(kills: Any, tmp_path: Path) -> None:
    """What the campaign counts, it can see."""
    study = optuna.create_study(study_name="study", storage=f"sqlite:///{tmp_path}/study.db")
    study.optimize(lambda trial: trial.suggest_float("a", 0.0, 1.0), n_trials=2)
    told = {t.number: [t.state.name, t.params, t.values] for t in study.trials}
    campaign = kills.Campaign(tmp_path, kills=0)
    campaign._compare(tmp_path, told)
    assert campaign.wrong() == {}
    study.ask()
    campaign._compare(tmp_path, told | {1: ["COMPLETE", {"a": 2.0}, [2.0]], 7: ["FAIL", {}, None]})
    assert campaign.wrong() == {"trials left running": 1, "told trials lost": 2}
