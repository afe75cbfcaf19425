"""Spaces of a search: every form they can be written in, and what is wrong with others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial, create_trial
from scipy import stats
from sklearn.linear_model import Lasso
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from manyfit.linear_model import Ridge
from manyfit.model_selection._space import Space

PIPELINE = Pipeline([("scale", StandardScaler()), ("model", Ridge())])


@pytest.mark.parametrize(
    ("entry", "distribution"),
    [
        (FloatDistribution(0.1, 2.0, log=True), FloatDistribution(0.1, 2.0, log=True)),
        ([0.1, 1.0], CategoricalDistribution([0.1, 1.0])),
        (np.array([0.5, 1.0]), CategoricalDistribution([0.5, 1.0])),
        (range(1, 4), CategoricalDistribution([1, 2, 3])),
        ((1.0, 1.0, 2.0), CategoricalDistribution([1.0, 2.0])),
        (stats.uniform(2, 3), FloatDistribution(2.0, 5.0)),
        (stats.uniform(loc=1.0, scale=0.5), FloatDistribution(1.0, 1.5)),
        (stats.loguniform(1e-3, 10), FloatDistribution(1e-3, 10.0, log=True)),
        (stats.reciprocal(1e-3, 10), FloatDistribution(1e-3, 10.0, log=True)),
        (stats.randint(2, 6), IntDistribution(2, 5)),
        (stats.randint(2, 6, loc=1), IntDistribution(3, 6)),
    ],
)
def test_a_parameter(entry: Any, distribution: Any) -> None:
    space = Space({"alpha": entry}, Ridge())
    assert space.distributions == {"alpha": distribution}


@pytest.mark.parametrize(
    ("frozen", "share"),
    [
        (stats.norm(3, 2), 0.25),
        (stats.expon(), 0.9),
        (stats.beta(2, 3), 1.0),
        (stats.loguniform(1, 9, 1), 0.5),
    ],
)
def test_any_distribution_of_scipy_by_its_quantiles(frozen: Any, share: float) -> None:
    space = Space({"alpha": frozen}, Ridge())
    assert space.distributions == {"alpha": FloatDistribution(0.0, 1.0)}
    assert space.suggest(FixedTrial({"alpha": share})) == {
        "alpha": pytest.approx(frozen.ppf(share), rel=1e-12)
    }


def test_quantiles_of_a_distribution_without_ends_are_finite() -> None:
    space = Space({"alpha": stats.norm()}, Ridge())
    for share in (0.0, 1.0):
        assert np.isfinite(space.suggest(FixedTrial({"alpha": share}))["alpha"])


def test_a_discrete_distribution_gives_integers() -> None:
    value = Space({"max_iter": stats.poisson(50)}, Ridge()).suggest(FixedTrial({"max_iter": 0.5}))["max_iter"]
    assert type(value) is int
    assert value == stats.poisson(50).ppf(0.5)


def test_objects_are_chosen_by_labels() -> None:
    scalers = [StandardScaler(), MinMaxScaler(), None]
    space = Space({"scale": scalers}, PIPELINE)
    labels = space.distributions["scale"].choices  # type: ignore[attr-defined]
    assert labels == ("StandardScaler()", "MinMaxScaler()", "None")
    for label, scaler in zip(labels, scalers, strict=True):
        assert space.suggest(FixedTrial({"scale": label}))["scale"] is scaler


@pytest.mark.parametrize(
    "values", [[1, True], [0.0, False], [(1, 2), (3,)], [np.log, np.exp], [object(), object()]]
)
def test_values_that_a_study_would_mix_up_are_chosen_by_labels(values: list[Any]) -> None:
    space = Space({"alpha": values}, Ridge())
    labels = space.distributions["alpha"].choices  # type: ignore[attr-defined]
    assert all(type(label) is str and " at 0x" not in label for label in labels)
    for label, value in zip(labels, values, strict=True):
        assert space.suggest(FixedTrial({"alpha": label}))["alpha"] is value


def test_numpy_numbers_become_pythons() -> None:
    choices = Space({"alpha": list(np.logspace(-1, 1, 3))}, Ridge()).distributions["alpha"].choices  # type: ignore[attr-defined]
    assert [type(choice) for choice in choices] == [float] * 3


def test_dicts_for_the_steps_of_a_pipeline() -> None:
    space = Space({"scale": {"with_mean": [True, False]}, "model": {"alpha": [1.0, 2.0]}}, PIPELINE)
    assert list(space.distributions) == ["scale__with_mean", "model__alpha"]
    given = FixedTrial({"scale__with_mean": False, "model__alpha": 2.0})
    assert space.suggest(given) == {"scale__with_mean": False, "model__alpha": 2.0}


def test_alternatives() -> None:
    space = Space(
        [
            {"model": [Ridge()], "model__alpha": FloatDistribution(0.0, 1.0)},
            {
                "model": [Lasso()],
                "model__alpha": FloatDistribution(5.0, 6.0),
                "model__positive": [True, False],
            },
        ],
        PIPELINE,
    )
    assert list(space.distributions) == [
        "model@0",
        "model__alpha@0",
        "model@1",
        "model__alpha@1",
        "model__positive",
    ]
    first = space.suggest(FixedTrial({"alternative": 0, "model@0": "Ridge()", "model__alpha@0": 0.5}))
    assert list(first) == ["model", "model__alpha"]
    assert first["model__alpha"] == 0.5


def test_one_dict_in_a_list_is_that_dict() -> None:
    assert (
        Space([{"alpha": [1.0, 2.0]}], Ridge()).describe() == Space({"alpha": [1.0, 2.0]}, Ridge()).describe()
    )


def test_a_function_of_the_trial() -> None:
    def space(trial: Any) -> dict[str, Any]:
        solver = trial.suggest_categorical("solver", ["svd", "sag"])
        if solver == "svd":
            return {"solver": solver}
        return {"solver": solver, "max_iter": trial.suggest_int("rounds", 1, 9) * 100}

    read = Space(space, Ridge())
    assert read.suggest(FixedTrial({"solver": "sag", "rounds": 3})) == {"solver": "sag", "max_iter": 300}
    assert read.suggest(FixedTrial({"solver": "svd"})) == {"solver": "svd"}


def test_settings_of_a_trial_of_another_space_are_none() -> None:
    space = Space({"alpha": FloatDistribution(0.0, 1.0)}, Ridge())
    inside = create_trial(params={"alpha": 0.5}, distributions={"alpha": FloatDistribution(0, 9)}, value=0.0)
    outside = create_trial(params={"alpha": 5.0}, distributions={"alpha": FloatDistribution(0, 9)}, value=0.0)
    other = create_trial(params={"C": 0.5}, distributions={"C": FloatDistribution(0, 9)}, value=0.0)
    assert [space.settings(trial) for trial in (inside, outside, other)] == [{"alpha": 0.5}, None, None]


def test_a_description_tells_spaces_apart() -> None:
    spaces = [
        {"alpha": [1.0, 2.0]},
        {"alpha": [1.0, 3.0]},
        {"alpha": stats.norm(1)},
        {"alpha": stats.norm(2)},
        {"solver": ["svd"]},
    ]
    described = [str(Space(space, Ridge()).describe()) for space in spaces]
    assert len(set(described)) == len(spaces)


def _no_dict(trial: Any) -> Any:
    return 3


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "space must hold at least one parameter, got {}"),
        ([], r"space must hold at least one parameter, got \[\]"),
        ([{"alpha": [1.0]}, {}], r"space\[1\] must hold at least one parameter"),
        ({"scale": {}}, r"space\['scale'\] must hold at least one parameter"),
        ({"alpha": []}, r"space: alpha must have at least one value, got \[\]"),
        ({"alpha": {1.0, 2.0}}, r"space: alpha must be a list \(a set has no order\)"),
        (
            {"alpha": 1.0},
            "space: alpha must be a list of values or a distribution of Optuna's or SciPy's, got 1.0",
        ),
        ({"alpha": "svd"}, "space: alpha must be a list of values"),
        ({"alpha": stats.uniform(1, -2)}, "space: alpha must have low < high, got low=1, high=-1"),
        (
            {"alpha": stats.loguniform(0, 1)},
            "space: alpha must have low > 0 on a log scale, got low=0, high=1",
        ),
        ({"alpha": stats.loguniform(2, 1)}, "space: alpha must have low < high, got low=2, high=1"),
        ({"alpha": stats.randint(5, 5)}, "space: alpha must have low < high, got low=5, high=5"),
        (
            {"alpha": stats.norm(0, -1)},
            r"space: alpha must be a distribution with valid parameters, got norm\(0, -1\)",
        ),
        ({"alhpa": [1.0]}, "Ridge has no parameter 'alhpa'; did you mean 'alpha'?"),
        (
            [{"alpha": [1.0]}, {"solvr": ["svd"]}],
            r"space\[1\]: Ridge has no parameter 'solvr'; did you mean 'solver'",
        ),
        ({"model__alpha": [1.0]}, "Ridge has no parameter 'model__alpha'"),
    ],
)
def test_bad_spaces(space: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"OptunaSearchCV: .*{message}"):
        Space(space, Ridge())


@pytest.mark.filterwarnings("ignore:The distribution is specified by")
def test_a_step_wider_than_the_range() -> None:
    with pytest.raises(
        ValueError, match="space: alpha must have a step <= high - low, got FloatDistribution"
    ):
        Space({"alpha": FloatDistribution(0, 1, step=2)}, Ridge())
    Space({"max_iter": IntDistribution(3, 3)}, Ridge())  # a single value is one


@pytest.mark.parametrize("space", ["alpha", 3, [3], None])
def test_what_is_no_space_at_all(space: Any) -> None:
    with pytest.raises(TypeError, match=r"OptunaSearchCV: space.* must be a dict"):
        Space(space, Ridge())


def test_functions_are_checked_when_they_answer() -> None:
    with pytest.raises(TypeError, match="space must return a dict of parameters, got 3"):
        Space(_no_dict, Ridge()).suggest(FixedTrial({}))
    with pytest.raises(ValueError, match="did you mean 'alpha'"):
        Space(lambda trial: {"alfa": 1.0}, Ridge()).suggest(FixedTrial({}))


def test_distributions_of_ones_own_need_quantiles() -> None:
    class Dice:
        def rvs(self, random_state: Any = None) -> int:
            return 4

    with pytest.raises(ValueError, match="distributions of one's own need ppf"):
        Space({"alpha": Dice()}, Ridge())
