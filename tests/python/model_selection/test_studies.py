"""Studies that searches keep in files and databases, and those they are given."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from numpy.typing import NDArray
from optuna.trial import TrialState
from scipy.sparse import csr_array
from sklearn.ensemble import BaggingRegressor
from sklearn.linear_model import Ridge as TheirRidge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

from manyfit.linear_model import Ridge

Data = tuple[NDArray[np.float64], NDArray[np.float64]]


def test_a_study_in_a_file(search: Any, told: Any, data: Data, tmp_path: Path, scrambled: Any) -> None:
    expected = told(search().fit(*data).study_)
    path = str(tmp_path / "study.db")
    with pytest.raises(RuntimeError, match="killed"):
        search(storage=path, executor=scrambled(3, dies_after=4)).fit(*data)
    begun = optuna.load_study(study_name=None, storage=f"sqlite:///{path}")
    assert 0 < len(begun.trials) < 40
    assert {t.state for t in begun.trials} == {TrialState.COMPLETE}
    found = search(storage=path, executor=scrambled(2)).fit(*data)
    assert told(found.study_) == expected
    assert told(optuna.load_study(study_name=None, storage=f"sqlite:///{path}")) == expected
    again = pickle.loads(pickle.dumps(found))
    assert again.study_.best_value == found.best_score_


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": {"alpha": [1.0, 2.0]}}, "made by another search(.|\n)*space.alpha"),
        (
            {"objectives": ["r2"]},
            "made by another search(.|\n)*objectives: .'score'. in the study, .'r2'. here",
        ),
        ({"scoring": "r2"}, "made by another search(.|\n)*objectives"),
        ({"cv": 3}, "made by another search(.|\n)*splits: 5 in the study, 3 here"),
        ({"estimator": TheirRidge(), "space": {"alpha": [1.0]}}, "estimator|space"),
        ({"directions": ["minimize"]}, "directions"),
        (
            {"estimator": Ridge(tol=1e-3, n_jobs=1)},
            r"parameters.tol: absent in the study, 0.001 here(?!(.|\n)*n_jobs)",
        ),
    ],
)
def test_a_study_of_another_search_is_refused(
    search: Any, data: Data, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    path = str(tmp_path / "study.db")
    search(storage=path, n_trials=4).fit(*data)
    with pytest.raises(ValueError, match=message):
        search(storage=path, **settings).fit(*data)
    X, y = data
    with pytest.raises(ValueError, match="made by another search(.|\n)*data.checksum"):
        search(storage=path).fit(X + 1, y)
    # What is searched, and what changes no result, may be another.
    same = Ridge(alpha=7.0, fit_intercept=False, n_jobs=2)
    assert search(storage=path, n_trials=8, estimator=same).fit(X, y).n_trials_ == 8


@pytest.mark.parametrize(
    ("here", "message"),
    [
        (make_pipeline(StandardScaler(with_mean=False), Ridge()), "standardscaler__with_mean: absent in"),
        (make_pipeline(MinMaxScaler(), Ridge()), "steps"),
        (Pipeline([("standardscaler", MinMaxScaler()), ("ridge", Ridge())]), "standardscaler: 'Standard"),
        (make_pipeline(StandardScaler(), Ridge(alpha=np.ones(1))), None),
        (make_pipeline(StandardScaler(), BaggingRegressor(Ridge(tol=0.1))), "steps"),
    ],
)
def test_a_study_of_a_pipeline_of_other_steps_is_refused(
    search: Any, data: Data, tmp_path: Path, here: Any, message: str | None
) -> None:
    path = str(tmp_path / "study.db")
    settings = {"storage": path, "space": {"ridge__alpha": [1.0, 2.0]}}
    search(estimator=make_pipeline(StandardScaler(), Ridge()), n_trials=1, **settings).fit(*data)
    again = search(estimator=here, n_trials=2, **settings)
    if message is None:
        assert again.fit(*data).n_trials_ == 2
        return
    if "ridge" not in here.named_steps:
        again.set_params(space={"baggingregressor__n_estimators": [1, 2]})
    with pytest.raises(ValueError, match=f"parameters.{message}"):
        again.fit(*data)


def test_a_study_of_optunas_own_in_a_file_is_completed(
    search: Any, told: Any, data: Data, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    study = optuna.create_study(direction="maximize", storage=url, study_name="theirs")
    study.optimize(lambda trial: trial.suggest_float("alpha", 1e-3, 1e3, log=True), n_trials=5)
    study.ask()  # left running
    study.enqueue_trial({"alpha": 7.0, "fit_intercept": False})
    found = search(storage=url, n_trials=12).fit(*data)
    assert found.n_trials_ == len(found.study_.trials) == 12
    states = [t.state for t in found.study_.trials]
    assert states == [TrialState.COMPLETE] * 5 + [TrialState.FAIL] + [TrialState.COMPLETE] * 6
    assert found.study_.trials[6].params == {"alpha": 7.0, "fit_intercept": False}
    assert list(found.cv_results_["number"]) == list(range(6, 12))  # the first five lack a parameter
    before = told(found.study_)
    again = search(storage=url, n_trials=20).fit(*data)
    assert told(again.study_)[:12] == before
    assert again.n_trials_ == 20


@pytest.mark.parametrize("storage", ["memory", "file"])
def test_enqueued_trials_are_run_first(search: Any, data: Data, tmp_path: Path, storage: str) -> None:
    url = None if storage == "memory" else f"sqlite:///{tmp_path / 'optuna.db'}"
    study = optuna.create_study(direction="maximize", storage=url)
    for alpha in (3.0, 5.0):
        study.enqueue_trial({"alpha": alpha, "fit_intercept": True})
    found = search(study=study, n_trials=10).fit(*data)
    assert len(study.trials) == found.n_trials_ == 10
    assert {t.state for t in study.trials} == {TrialState.COMPLETE}
    assert [t.params["alpha"] for t in study.trials[:2]] == [3.0, 5.0]
    scores = found.cv_results_["mean_test_score"][:2]
    np.testing.assert_array_equal(scores, [t.value for t in study.trials[:2]])
    assert np.isfinite(found.cv_results_["split0_test_score"]).all()


def test_choices_must_stay_those_of_the_study(search: Any, data: Data) -> None:
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda trial: trial.suggest_categorical("alpha", [1.0, 2.0]), n_trials=2)
    with pytest.raises(
        ValueError, match=r"space: alpha must be CategoricalDistribution.*as in the study, got Float"
    ):
        search(study=study).fit(*data)
    with pytest.raises(
        ValueError, match=r"alpha must be .*\(1.0, 2.0\)\) as in the study, got .*\(1.0, 3.0\)"
    ):
        search(study=study, space={"alpha": [1.0, 3.0]}).fit(*data)
    assert len(study.trials) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "tpe"}, "sampler must be an optuna BaseSampler or None, got 'tpe'"),
        ({"study": "s"}, "study must be an optuna Study or None, got 's'"),
        ({"study": optuna.Study, "storage": "x.db"}, "study must be an optuna Study or None"),
        ({"n_trials": 0}, "n_trials"),
        ({"timeout": -1.0}, "timeout"),
        ({"batch_size": 0}, "batch_size"),
        ({"lag": -1}, "lag"),
    ],
)
def test_bad_settings(search: Any, data: Data, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        search(**settings).fit(*data)


def test_a_study_of_other_directions_is_refused(search: Any, data: Data) -> None:
    with pytest.raises(
        ValueError, match=r"study must have the directions \['maximize'\] of the objectives \(score\), got"
    ):
        search(study=optuna.create_study()).fit(*data)
    with pytest.raises(ValueError, match="storage must be None where a study is given"):
        search(study=optuna.create_study(direction="maximize"), storage="x.db").fit(*data)


@pytest.mark.parametrize("form", ["sparse", "frame", "strings", "lists", "float32"])
def test_any_data_can_be_told_apart_in_a_storage(search: Any, data: Data, tmp_path: Path, form: str) -> None:
    X, y = data
    estimator: Any = Ridge()
    space: dict[str, Any] = {"alpha": [0.1, 1.0, 10.0]}
    letters = pd.DataFrame({"a": list("abcdef") * 10, "b": pd.Categorical(list("xyzzy") * 12)})
    given: Any = {
        "sparse": csr_array(X),
        "frame": pd.DataFrame(X),
        "strings": letters,
        "lists": X.tolist(),
        "float32": X.astype(np.float32),
    }[form]
    if form == "strings":
        estimator = make_pipeline(OneHotEncoder(), TheirRidge())
        space = {"ridge__alpha": [0.1, 1.0, 10.0]}
    settings = {"estimator": estimator, "space": space, "storage": str(tmp_path / "study.db"), "cv": 3}
    search(n_trials=4, **settings).fit(given, y)
    assert search(n_trials=8, **settings).fit(given, y).n_trials_ == 8
    with pytest.raises(ValueError, match="made by another search(.|\n)*data.checksum"):
        search(n_trials=8, **settings).fit(given, y + 1)
