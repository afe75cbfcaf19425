"""OptunaSearchCV as an estimator of scikit-learn's: results, metrics, data, routing, export."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from optuna.distributions import FloatDistribution, IntDistribution
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression as TheirLogisticRegression
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, ParameterGrid, ShuffleSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import manyfit as mf
from manyfit.linear_model import Lasso, LogisticRegression, Ridge
from manyfit.model_selection import OptunaSearchCV

ALPHA = {"alpha": FloatDistribution(1e-3, 1e2, log=True)}
pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

diabetes = load_diabetes(return_X_y=True)


def cancer() -> tuple[Any, Any]:
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X)[:250, :8], y[:250]


def search(estimator: Any, space: Any, **settings: Any) -> OptunaSearchCV:
    return OptunaSearchCV(estimator, space, **{"n_trials": 16, "random_state": 0, **settings})


CHECKED = [
    OptunaSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, n_trials=2, cv=2, random_state=0, error_score="raise"),
    OptunaSearchCV(
        LogisticRegression(), {"C": [0.1, 1.0]}, n_trials=2, cv=2, random_state=0, error_score="raise"
    ),
    OptunaSearchCV(
        make_pipeline(StandardScaler(), TheirLogisticRegression()),
        {"logisticregression__C": [0.1, 1.0]},
        n_trials=2,
        cv=2,
        random_state=0,
        error_score="raise",
    ),
]


@pytest.mark.filterwarnings("ignore:The least populated class in y:UserWarning")
@pytest.mark.filterwarnings(
    "ignore:invalid value encountered in cast:RuntimeWarning"
)  # scikit-learn's type_of_target
@parametrize_with_checks(CHECKED)
def test_sklearn_check(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


# --- results ---


def grid_of(found: OptunaSearchCV, theirs: GridSearchCV, scores: list[str]) -> None:
    """Assert that two searches through the same grid have the same scores."""
    place = {str(sorted(params.items())): i for i, params in enumerate(theirs.cv_results_["params"])}
    rows = [place[str(sorted(params.items()))] for params in found.cv_results_["params"]]
    assert sorted(rows) == list(range(len(rows)))
    assert theirs.cv_results_.keys() <= found.cv_results_.keys()
    for key in theirs.cv_results_:
        if "time" in key:
            assert np.isfinite(found.cv_results_[key]).all()
        elif key.startswith("param"):
            assert list(found.cv_results_[key]) == [theirs.cv_results_[key][row] for row in rows]
        elif not key.startswith("rank"):
            assert any(score in key for score in scores)
            assert_allclose(found.cv_results_[key], theirs.cv_results_[key][rows], rtol=1e-9, atol=1e-12)
    assert found.best_params_ == theirs.best_params_
    assert found.best_score_ == pytest.approx(theirs.best_score_, rel=1e-9)


@pytest.mark.parametrize("estimator", [Ridge(), Lasso(), sklearn.linear_model.Ridge()])
@pytest.mark.parametrize(
    ("scoring", "refit"),
    [
        (None, True),
        ("neg_mean_absolute_error", True),
        (["r2", "neg_mean_squared_error"], "r2"),
        ({"first": "r2", "second": "neg_max_error"}, "second"),
    ],
)
def test_the_results_are_those_of_grid_search(estimator: Any, scoring: Any, refit: Any) -> None:
    grid = {"alpha": [0.01, 0.1, 1.0, 10.0], "fit_intercept": [True, False]}
    settings = {
        "scoring": scoring,
        "refit": refit,
        "return_train_score": True,
        "cv": KFold(4, shuffle=True, random_state=1),
    }
    theirs = GridSearchCV(estimator, grid, **settings).fit(*diabetes)
    sampler = optuna.samplers.GridSampler(grid)
    found = OptunaSearchCV(estimator, grid, sampler=sampler, random_state=0, **settings).fit(*diabetes)
    grid_of(found, theirs, ["score"] if not isinstance(scoring, dict | list) else list(scoring))
    assert_allclose(found.predict(diabetes[0]), theirs.predict(diabetes[0]), rtol=1e-7)
    assert found.score(*diabetes) == pytest.approx(theirs.score(*diabetes), rel=1e-9)
    assert found.multimetric_ == theirs.multimetric_
    assert found.n_splits_ == theirs.n_splits_ == 4


def test_the_same_seed_gives_the_same_bits() -> None:
    space = {"C": stats.loguniform(1e-3, 1e2), "fit_intercept": [True, False]}
    one, two, three = (search(LogisticRegression(), space, n_jobs=n).fit(*cancer()) for n in (1, 2, 3))
    for other in (two, three):
        assert [t.params for t in one.trials_] == [t.params for t in other.trials_]
        assert_array_equal(one.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"])
        assert_array_equal(one.best_estimator_.coef_, other.best_estimator_.coef_)


def test_attributes() -> None:
    found = search(Ridge(), ALPHA).fit(*diabetes)
    assert isinstance(found.study_, optuna.Study)
    assert len(found.study_.trials) == len(found.trials_) == found.n_trials_ == 16
    assert found.best_trial_.number == found.best_index_ == found.study_.best_trial.number
    assert found.best_trial_.value == found.best_score_ == found.study_.best_value
    assert found.best_trials_ == [found.best_trial_]
    assert found.best_params_ == found.study_.best_params == found.best_trial_.params
    assert found.best_estimator_.alpha == found.best_params_["alpha"]
    assert found.refit_time_ > 0
    assert not found.interrupted_
    assert found.plan_.fits == 16 * 5
    assert "population" not in str(found.plan_) or "Ridge" in str(found.plan_)
    assert list(found.cv_results_["state"]) == ["COMPLETE"] * 16
    assert found.study_.trials_dataframe().shape[0] == 16


def test_a_study_can_be_continued_by_optuna() -> None:
    found = search(Ridge(), ALPHA).fit(*diabetes)
    found.study_.enqueue_trial({"alpha": 0.25})
    found.study_.optimize(lambda trial: trial.suggest_float("alpha", 1e-3, 1e2, log=True), n_trials=2)
    assert len(found.study_.trials) == 18
    assert found.study_.trials[16].params == {"alpha": 0.25}


def test_clones_and_pickles() -> None:
    sampler = optuna.samplers.RandomSampler(seed=1)
    unfitted = search(Ridge(), ALPHA, sampler=sampler, constraints=["score >= 0.1"])
    copy = clone(unfitted)
    assert copy.get_params().keys() == unfitted.get_params().keys()
    assert copy.space == ALPHA
    with pytest.raises(NotFittedError):
        copy.predict(diabetes[0])
    assert not hasattr(copy, "n_features_in_")
    found = unfitted.fit(*diabetes)
    again = pickle.loads(pickle.dumps(found))
    assert_array_equal(again.predict(diabetes[0]), found.predict(diabetes[0]))
    assert again.study_.best_params == found.best_params_
    assert again.n_features_in_ == 10


def test_refit() -> None:
    without = search(Ridge(), ALPHA, refit=False).fit(*diabetes)
    assert without.best_params_
    assert not hasattr(without, "predict")
    chosen = search(Ridge(), ALPHA, refit=lambda results: int(np.argmin(results["param_alpha"]))).fit(
        *diabetes
    )
    assert chosen.best_estimator_.alpha == min(t.params["alpha"] for t in chosen.trials_)
    assert not hasattr(chosen, "best_score_")


def test_scorers_of_the_users_own() -> None:
    def both(estimator: Any, X: Any, y: Any) -> dict[str, float]:
        predicted = estimator.predict(X)
        return {"r2": r2_score(y, predicted), "mae": -mean_absolute_error(y, predicted)}

    found = search(Ridge(), ALPHA, scoring=both, refit="mae").fit(*diabetes)
    assert found.multimetric_
    assert [t.value for t in found.trials_] == list(found.cv_results_["mean_test_mae"])
    assert found.score(*diabetes) == both(found, *diabetes)["mae"]
    loss = search(
        Ridge(), ALPHA, scoring=lambda e, X, y: mean_absolute_error(y, e.predict(X)), directions=["minimize"]
    ).fit(*diabetes)
    assert loss.best_score_ == loss.cv_results_["mean_test_score"].min()
    assert loss.cv_results_["rank_test_score"][loss.best_index_] == 1
    with pytest.raises(
        ValueError, match="scoring gives no metric 'maee' but 'r2', 'mae'; did you mean 'mae'"
    ):
        search(Ridge(), ALPHA, scoring=both, objectives=["maee"]).fit(*diabetes)


# --- spaces ---


def test_pipelines_and_objects() -> None:
    pipeline = Pipeline([("scale", StandardScaler()), ("reduce", PCA()), ("model", Ridge())])
    scalers = [StandardScaler(), MinMaxScaler(), "passthrough"]
    space = {
        "scale": scalers,
        "reduce": {"n_components": IntDistribution(2, 8)},
        "model": {"alpha": stats.loguniform(1e-2, 1e2)},
    }
    found = search(pipeline, space).fit(*diabetes)
    assert {"scale", "reduce__n_components", "model__alpha"} == found.best_params_.keys()
    assert found.best_params_["scale"] in scalers
    assert (
        found.best_estimator_.named_steps["reduce"].n_components == found.best_params_["reduce__n_components"]
    )
    labels = {t.params["scale"] for t in found.trials_}
    assert labels <= {"StandardScaler()", "MinMaxScaler()", "passthrough"}
    expected = clone(pipeline).set_params(**found.best_params_).fit(*diabetes).predict(diabetes[0])
    assert_allclose(found.predict(diabetes[0]), expected, rtol=1e-9)


def test_a_conditional_space() -> None:
    def space(trial: optuna.Trial) -> dict[str, Any]:
        kind = trial.suggest_categorical("kind", ["ridge", "lasso"])
        alpha = trial.suggest_float(f"{kind}_alpha", 1e-3, 10.0, log=True)
        if kind == "ridge":
            return {
                "model": Ridge(
                    alpha=alpha, fit_intercept=trial.suggest_categorical("intercept", [True, False])
                )
            }
        return {"model": Lasso(), "model__alpha": alpha}

    found = search(Pipeline([("model", Ridge())]), space, n_trials=30).fit(*diabetes)
    kinds = {t.params["kind"] for t in found.trials_}
    assert kinds == {"ridge", "lasso"}
    assert all(("intercept" in t.params) == (t.params["kind"] == "ridge") for t in found.trials_)
    masked = np.ma.getmaskarray(found.cv_results_["param_model__alpha"])
    assert_array_equal(masked, [t.params["kind"] == "ridge" for t in found.trials_])


def test_alternatives() -> None:
    space = [
        {"kernel": ["linear"], "C": FloatDistribution(0.1, 1.0)},
        {"kernel": ["rbf"], "C": FloatDistribution(10.0, 20.0), "gamma": ["scale", "auto"]},
    ]
    found = search(SVC(), space, n_trials=12).fit(*cancer())
    for params in found.cv_results_["params"]:
        assert (params["C"] < 5) == (params["kernel"] == "linear") == ("gamma" not in params)


def test_a_grid_is_searched_whole_by_brute_force() -> None:
    grid = {"alpha": [0.1, 1.0, 10.0], "fit_intercept": [True, False]}
    found = search(Ridge(), grid, sampler=optuna.samplers.BruteForceSampler(), n_trials=None).fit(*diabetes)
    rows = [tuple(sorted(params.items())) for params in found.cv_results_["params"]]
    assert sorted(rows) == sorted(tuple(sorted(params.items())) for params in ParameterGrid(grid))


# --- data ---


def test_weights_and_groups() -> None:
    X, y = diabetes
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2.0, len(y))
    groups = rng.integers(0, 9, len(y))
    grid = {"alpha": [0.01, 0.1, 1.0]}
    theirs = GridSearchCV(sklearn.linear_model.Ridge(), grid, cv=GroupKFold(4))
    theirs.fit(X, y, sample_weight=weights, groups=groups)
    found = search(Ridge(), grid, cv=GroupKFold(4), sampler=optuna.samplers.GridSampler(grid))
    found.fit(X, y, sample_weight=weights, groups=groups)
    grid_of(found, theirs, ["score"])
    data = mf.Dataset(X, y, weights, groups)
    again = search(Ridge(), grid, cv=GroupKFold(4), sampler=optuna.samplers.GridSampler(grid)).fit(data)
    assert_array_equal(again.cv_results_["mean_test_score"], found.cv_results_["mean_test_score"])
    assert data.passes
    with pytest.raises(ValueError, match="must be None when X is a Dataset"):
        search(Ridge(), grid).fit(data, y)


def test_forms_that_were_prepared_before_are_used() -> None:
    data = mf.Dataset(*diabetes)
    search(Ridge(), ALPHA).fit(data)
    passes = list(data.passes)
    search(Ridge(), ALPHA, random_state=1).fit(data)
    assert data.passes == passes


def test_random_splits_are_drawn_once() -> None:
    found = search(Ridge(), {"alpha": [1.0]}, cv=ShuffleSplit(3, random_state=np.random.RandomState(0))).fit(
        *diabetes
    )
    assert len(set(found.cv_results_["split0_test_score"])) == 1


def test_frames() -> None:
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    found = search(Ridge(), ALPHA, n_trials=4).fit(X, y)
    assert list(found.feature_names_in_) == list(X.columns)
    assert found.predict(X).shape == (len(X),)


def test_metadata_routing() -> None:
    X, y = cancer()
    weights = np.linspace(0.5, 2.0, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        model = (
            LogisticRegression().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        )
        found = search(model, {"C": [0.1, 1.0]}, n_trials=4).fit(X, y, sample_weight=weights)
        assert_allclose(
            found.best_estimator_.coef_, clone(found.best_estimator_).fit(X, y, sample_weight=weights).coef_
        )
        plain = search(LogisticRegression(), {"C": [0.1, 1.0]}, n_trials=4)
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError):
            plain.fit(X, y, sample_weight=weights)


def test_a_transformer() -> None:
    X, _ = diabetes
    found = search(PCA(), {"n_components": IntDistribution(1, 5)}, n_trials=6).fit(X)
    assert found.best_params_ == {"n_components": 5}
    assert found.transform(X).shape == (len(X), 5)
    assert found.inverse_transform(found.transform(X)).shape == X.shape


def test_a_classifier() -> None:
    X, y = cancer()
    labels = np.where(y == 1, "yes", "no")
    found = search(
        LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, scoring=["accuracy", "f1_macro"], refit="f1_macro"
    )
    found.fit(X, labels)
    assert list(found.classes_) == ["no", "yes"]
    assert found.predict_proba(X).shape == (len(X), 2)
    assert found.decision_function(X).shape == (len(X),)
    assert found.score(X, labels) == pytest.approx(f1_score(labels, found.predict(X), average="macro"))
    assert accuracy_score(labels, found.predict(X)) > 0.8


def test_export(tmp_path: Any) -> None:
    found = search(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [0.1, 1.0]}, n_trials=4)
    with pytest.raises(NotFittedError):
        found.to_onnx()
    found.fit(*diabetes)
    path = tmp_path / "best.onnx"
    found.to_onnx(path, X=diabetes[0])
    assert mf.onnx.verify_file(path).failures == ()


def test_explain() -> None:
    found = search(Ridge(), ALPHA, n_trials=20)
    explained = found.explain(*diabetes)
    assert explained.fits == 100
    assert 0 < explained.seconds < 60
    assert "Ridge" in str(explained)
    assert not hasattr(found, "study_")
    found.fit(*diabetes)
    assert found.plan_.estimate == explained.seconds
    assert found.plan_.seconds > 0


def test_hooks_of_callbacks() -> None:
    class Watching:
        def __init__(self) -> None:
            self.batches: list[list[int]] = []
            self.ended: Any = None

        def on_batch_end(self, study: Any, trials: Any) -> None:
            self.batches.append([t.number for t in trials])

        def on_search_end(self, found: Any) -> None:
            self.ended = found

    watching = Watching()
    found = search(Ridge(), ALPHA, callbacks=[watching]).fit(*diabetes)
    assert watching.batches == [list(range(8)), list(range(8, 16))]
    assert watching.ended is found
