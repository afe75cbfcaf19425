"""What the tests of trackers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, create_trial


@pytest.fixture
def tell() -> Callable[..., list[FrozenTrial]]:
    """``tell(study, n, **more)``: tell trials to a study; they come back as a search hands them to its callbacks."""

    def tell(study: optuna.Study, n: int = 1, **more: Any) -> list[FrozenTrial]:
        before = len(study.trials)
        for i in range(n):
            arguments = {
                "params": {"a": 0.5},
                "distributions": {"a": FloatDistribution(0, 1)},
                "value": float(i),
            } | more
            study.add_trial(create_trial(**arguments))
        return study.trials[before:]

    return tell
