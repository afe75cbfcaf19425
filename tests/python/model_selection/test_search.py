"""Searches: results of scikit-learn's, from shared work."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import linear_model as theirs
from sklearn import model_selection as sk
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import FitFailedWarning, NotFittedError
from sklearn.metrics import get_scorer_names, make_scorer, mean_absolute_error
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from sklearn.utils.estimator_checks import parametrize_with_checks

import manyfit as mf
from manyfit import model_selection as ours
from manyfit.decomposition import PCA
from manyfit.linear_model import Lasso, LogisticRegression, Ridge, RidgeClassifier

X, y = make_regression(n_samples=120, n_features=6, n_informative=4, noise=20.0, random_state=0)
XC, yc = make_classification(
    n_samples=150, n_features=6, n_informative=4, n_redundant=0, n_classes=3, random_state=1
)
GROUPS = np.arange(120) % 7
WEIGHTS = np.random.default_rng(2).uniform(0.1, 3.0, size=120)
ALPHAS = {"alpha": np.logspace(-2, 3, 6)}


def assert_same_results(search: Any, other: Any, *, atol: float = 1e-9) -> None:
    """Everything but times equals."""
    assert search.cv_results_.keys() == other.cv_results_.keys()
    for key, values in other.cv_results_.items():
        if key.endswith("_time"):
            continue
        if key.startswith(("mean_", "std_", "split", "rank_")):
            np.testing.assert_allclose(search.cv_results_[key], values, rtol=1e-9, atol=atol, err_msg=key)
        else:
            assert list(search.cv_results_[key]) == list(values), key
    for name in ("best_index_", "best_params_", "multimetric_", "n_splits_"):
        assert getattr(search, name, None) == getattr(other, name, None), name


def both(estimator: Any, grid: Any, X: Any, y: Any, fit: dict[str, Any] | None = None, **options: Any) -> Any:
    """Our grid search, compared with scikit-learn's."""
    search = ours.GridSearchCV(estimator, grid, **options).fit(X, y, **(fit or {}))
    other = sk.GridSearchCV(estimator, grid, **options).fit(X, y, **(fit or {}))
    assert_same_results(search, other)
    return search


def masks() -> list[tuple[Any, Any]]:
    chosen = [np.arange(120) % 3 == k for k in range(3)]
    return [(~mask, mask) for mask in chosen]


SPLITTERS: dict[str, Any] = {
    "number": 4,
    "KFold": sk.KFold(5, shuffle=True, random_state=0),
    "RepeatedKFold": sk.RepeatedKFold(n_splits=3, n_repeats=3, random_state=0),
    "ShuffleSplit": sk.ShuffleSplit(6, test_size=0.3, random_state=0),
    "small and overlapping": sk.ShuffleSplit(5, train_size=0.5, test_size=0.2, random_state=1),
    "GroupKFold": sk.GroupKFold(3),
    "GroupShuffleSplit": sk.GroupShuffleSplit(4, random_state=0),
    "LeaveOneGroupOut": sk.LeaveOneGroupOut(),
    "LeavePGroupsOut": sk.LeavePGroupsOut(2),
    "PredefinedSplit": sk.PredefinedSplit(np.arange(120) % 4 - 1),
    "TimeSeriesSplit": sk.TimeSeriesSplit(4),
    "pairs": [(np.arange(60), np.arange(60, 120)), (np.arange(20, 100), np.arange(20))],
    "bootstrap": [(np.random.default_rng(k).integers(0, 120, 120), np.arange(k, 120, 2)) for k in range(4)],
    "masks": masks(),
}


@pytest.mark.parametrize("name", SPLITTERS)
def test_every_splitter(name: str) -> None:
    groups = {"groups": GROUPS} if "Group" in name else {}
    search = both(Ridge(), ALPHAS, X, y, groups, cv=SPLITTERS[name])
    assert search.plan_.fits == 6 * search.n_splits_
    assert search.plan_.passes == (
        2 if name in ("bootstrap", "small and overlapping") else 1
    )  # more atoms than one pass takes


@pytest.mark.parametrize(
    "splitter",
    [
        sk.StratifiedKFold(4),
        sk.RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0),
        sk.StratifiedShuffleSplit(4, random_state=0),
        sk.StratifiedGroupKFold(3),
    ],
    ids=lambda splitter: type(splitter).__name__,
)
def test_every_stratified_splitter(splitter: Any) -> None:
    grid = {"C": [0.01, 1.0, 10.0]}
    groups = {"groups": np.arange(150) % 9} if isinstance(splitter, sk.StratifiedGroupKFold) else {}
    search = both(LogisticRegression(tol=1e-10), grid, XC, yc, groups, cv=splitter)
    assert [share.how for share in search.plan_] == ["population"]


def test_leave_one_out_where_a_score_needs_one_row() -> None:
    small = X[:25], y[:25]
    both(Ridge(), ALPHAS, *small, cv=sk.LeaveOneOut(), scoring="neg_mean_squared_error")
    both(Ridge(), ALPHAS, *small, cv=sk.LeavePOut(2), scoring="neg_median_absolute_error")


def scorers_that_work(estimator: Any, X: Any, y: Any) -> list[str]:
    names = []
    for name in get_scorer_names():
        try:
            with np.errstate(all="ignore"):
                score = sk.cross_val_score(estimator, X, y, cv=2, scoring=name, error_score="raise")
        except (ValueError, AttributeError, TypeError):
            continue
        if np.isfinite(score).all():
            names.append(name)
    return names


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("positive", [False, True])
def test_every_scorer_of_regression(positive: bool) -> None:
    target = np.abs(y) + 1 if positive else y
    names = scorers_that_work(Ridge(), X, target)
    assert len(names) >= (9 if positive else 8)
    for name in names:
        both(Ridge(), ALPHAS, X, target, cv=4, scoring=name)
    both(Ridge(), ALPHAS, X, target, cv=4, scoring=names, refit="r2", return_train_score=True)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("binary", [False, True])
def test_every_scorer_of_classification(binary: bool) -> None:
    labels = (yc > 0).astype(int) if binary else yc
    grid = {"C": [0.01, 1.0]}
    model = LogisticRegression(tol=1e-10)
    names = scorers_that_work(model, XC, labels)
    assert len(names) >= (25 if binary else 15)
    both(model, grid, XC, labels, cv=4, scoring=names, refit="accuracy", return_train_score=True)
    for name in ("accuracy", "neg_log_loss", "roc_auc_ovr", "balanced_accuracy"):
        both(model, grid, XC, labels, cv=4, scoring=name)


@pytest.mark.parametrize(
    "scoring",
    [
        make_scorer(mean_absolute_error, greater_is_better=False),
        lambda model, X, y: float(np.max(model.predict(X) - y)),
        lambda model, X, y: {"worst": float(np.max(model.predict(X) - y)), "alpha": model.alpha},
        {"a": "r2", "b": make_scorer(mean_absolute_error)},
        ("r2", "neg_max_error"),
    ],
)
def test_scorers_made_by_users(scoring: Any) -> None:
    both(Ridge(), ALPHAS, X, y, cv=3, scoring=scoring, refit=False, return_train_score=True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scoring", [None, "r2", "neg_mean_squared_error"])
def test_weights_reach_fits_and_scores(dtype: Any, scoring: Any) -> None:
    fit = {"sample_weight": WEIGHTS}
    search = ours.GridSearchCV(Ridge(), ALPHAS, cv=4, scoring=scoring).fit(
        X.astype(dtype), y.astype(dtype), **fit
    )
    other = sk.GridSearchCV(theirs.Ridge(), ALPHAS, cv=4, scoring=scoring).fit(X, y, **fit)
    rtol = 1e-9 if dtype is np.float64 else 1e-3
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(search.cv_results_[name], other.cv_results_[name], rtol=rtol)


@pytest.mark.parametrize("refit", [True, False, lambda results: int(np.argmin(results["mean_test_score"]))])
def test_refit(refit: Any) -> None:
    search = both(Ridge(), ALPHAS, X, y, cv=3, refit=refit)
    if refit:
        best = Ridge(**search.best_params_).fit(X, y)
        np.testing.assert_allclose(search.predict(X), best.predict(X), rtol=1e-10)
        np.testing.assert_allclose(search.best_estimator_.coef_, best.coef_, rtol=1e-10)
        assert vars(search.best_estimator_).keys() == vars(best).keys()


def test_unsupervised() -> None:
    search = both(PCA(), {"n_components": [1, 2, 4]}, X, None, cv=3)
    assert search.plan_.fits == 9
    assert search.plan_.passes == 1


def test_parameters_of_several_kinds_and_grids() -> None:
    grid = [{"alpha": [1.0, 2.0], "fit_intercept": [True, False]}, {"alpha": [3.0], "positive": [True]}]
    search = both(Ridge(), grid, X, y, cv=3)
    assert search.plan_.fits == 15


def test_same_bits_for_any_n_jobs() -> None:
    results = [
        ours.GridSearchCV(Ridge(), ALPHAS, cv=4, n_jobs=n).fit(X, y).cv_results_["mean_test_score"]
        for n in (None, 1, 2, 3)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_estimators_are_left_as_they_were() -> None:
    model = Ridge(alpha=7.0)
    search = ours.GridSearchCV(model, ALPHAS, cv=3, n_jobs=2).fit(X, y)
    assert vars(model) == vars(Ridge(alpha=7.0))
    assert search.best_estimator_.n_jobs is None


def test_randomized_and_halving_searches_choose_as_scikit_learns() -> None:
    space = {"alpha": [float(a) for a in np.logspace(-3, 3, 40)]}
    for name in ("RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV"):
        options: dict[str, Any] = {"cv": 3, "random_state": 0}
        if name.startswith("Halving"):
            options["min_resources"] = 30
        search = getattr(ours, name)(Ridge(), space, **options).fit(X, y)
        other = getattr(sk, name)(Ridge(), space, **options).fit(X, y)
        assert_same_results(search, other)
        assert all(share.how == "population" for share in search.plan_)


def test_halving_over_a_parameter() -> None:
    options: dict[str, Any] = {"resource": "max_iter", "max_resources": 90, "min_resources": 10, "cv": 3}
    grid = {"alpha": [0.1, 1.0, 10.0]}
    search = ours.HalvingGridSearchCV(Lasso(), grid, **options).fit(X, y)
    assert search.n_resources_[0] >= 10
    assert search.cv_results_["param_max_iter"].tolist()[0] == search.n_resources_[0]


def test_verbose_prints_a_line_for_each_fit(capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    for estimator in (Ridge(), theirs.Ridge()):
        for scoring in (None, ["r2", "neg_max_error"]):
            options: dict[str, Any] = {"scoring": scoring, "refit": False, "verbose": 3}
            ours.GridSearchCV(estimator, {"alpha": [0.5, 2.0]}, cv=3, **options).fit(X, y)
        lines.append(re.sub(r"\.\.+|time= +[\d.]+s", "", capsys.readouterr().out).splitlines())
    assert lines[0] == lines[1]
    assert len(lines[0]) == 2 * (1 + 6)


# --- data held across searches ---


def test_a_dataset_keeps_what_was_prepared() -> None:
    data = mf.Dataset(X, y)
    first = ours.GridSearchCV(Ridge(), ALPHAS, cv=4).fit(data)
    second = ours.GridSearchCV(Lasso(), {"alpha": [0.1, 1.0]}, cv=4).fit(data)
    assert str(first.plan_) == "24 fits of Ridge, 1 pass over X (fold Gram)"
    assert str(second.plan_) == "8 fits of Lasso, prepared before"
    assert_same_results(first, sk.GridSearchCV(Ridge(), ALPHAS, cv=4).fit(X, y))


def test_a_dataset_brings_its_weights_and_groups() -> None:
    data = mf.Dataset(X, y, WEIGHTS, GROUPS)
    search = ours.GridSearchCV(Ridge(), ALPHAS, cv=sk.GroupKFold(3)).fit(data)
    other = sk.GridSearchCV(Ridge(), ALPHAS, cv=sk.GroupKFold(3))
    assert_same_results(search, other.fit(X, y, groups=GROUPS, sample_weight=WEIGHTS))
    with pytest.raises(ValueError, match="y, sample_weight and groups must be None when X is a Dataset"):
        ours.GridSearchCV(Ridge(), ALPHAS).fit(data, y)


# --- what falls back, and why ---


class Mean(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def fit(self, X: Any, y: Any) -> Mean:
        if self.shift < 0:
            raise RuntimeError("shift is negative")
        self.mean_ = float(np.mean(y)) + self.shift
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.mean_)


class Stubborn(Ridge):
    """A user's subclass: its own fit must run."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        super().fit(X, y, sample_weight)
        self.coef_ = self.coef_ * 0
        return self


def test_other_estimators_are_fitted_one_by_one() -> None:
    search = both(Mean(), {"shift": [0.0, 1.0]}, X, y, cv=3)
    assert str(search.plan_) == "6 fits of Mean, one by one: no estimator of manyfit"
    both(SVR(), {"C": [0.1, 1.0]}, X, y, cv=3, n_jobs=2)


def test_a_subclass_keeps_its_own_fit() -> None:
    search = both(Stubborn(), ALPHAS, X, y, cv=3)
    assert (search.best_estimator_.coef_ == 0).all()
    assert next(iter(search.plan_)).how == "one by one"


def test_steps_that_are_replaced_by_candidates() -> None:
    grid = [
        {"model": [Ridge()], "model__alpha": [0.1, 1.0], "scale": ["passthrough", StandardScaler()]},
        {"model": [SVR()], "model__C": [1.0]},
    ]
    pipe = Pipeline([("scale", StandardScaler()), ("model", Ridge())])
    both(pipe, grid, X, y, cv=3)


# --- failures ---


@pytest.mark.parametrize("error_score", [np.nan, -5.0])
def test_a_candidate_that_fails_fails_alone(error_score: float) -> None:
    grid = {"alpha": [1.0, -1.0, 2.0]}
    searches = []
    for module in (ours, sk):
        search = module.GridSearchCV(Ridge(), grid, cv=3, error_score=error_score)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            search.fit(X, y)
        assert any(
            "alpha must be >= 0, got -1" in str(w.message) for w in caught if w.category is FitFailedWarning
        )
        searches.append(search)
    assert_same_results(*searches)
    assert "3 fits of Ridge, one by one: a fit failed" in str(searches[0].plan_)
    assert "6 fits of Ridge, 1 pass over X" in str(searches[0].plan_)


def test_errors_that_are_to_be_raised() -> None:
    with pytest.raises(ValueError, match="Ridge: alpha must be >= 0, got -1"):
        ours.GridSearchCV(Ridge(), {"alpha": [1.0, -1.0]}, error_score="raise").fit(X, y)
    with pytest.raises(RuntimeError, match="shift is negative"):
        ours.GridSearchCV(Mean(), {"shift": [-1.0]}, error_score="raise").fit(X, y)


def test_all_fits_failing_is_an_error_with_the_cause() -> None:
    with pytest.raises(ValueError, match=r"All the 6 fits failed[\s\S]*alpha must be >= 0, got -1"):
        ours.GridSearchCV(Ridge(), {"alpha": [-1.0, -2.0]}, cv=3).fit(X, y)
    bad = X.copy()
    bad[[3, 90], 2] = np.nan
    with pytest.raises(ValueError, match=r"fits failed[\s\S]*Input X contains NaN"):
        ours.GridSearchCV(Ridge(), ALPHAS, cv=3).fit(bad, y)


def test_nan_in_rows_that_only_one_split_leaves_out() -> None:
    bad = X.copy()
    bad[3, 2] = np.nan  # split 0 tests on it, the others train on it
    for module in (ours, sk):
        search = module.GridSearchCV(Ridge(), ALPHAS, cv=sk.KFold(3), refit=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            search.fit(bad, y)
        assert np.isnan(search.cv_results_["mean_test_score"]).all()


def test_a_misspelt_parameter_is_told_the_nearest_name() -> None:
    for estimator in (Ridge(), Mean()):
        name = "alhpa" if isinstance(estimator, Ridge) else "shfit"
        right = "alpha" if isinstance(estimator, Ridge) else "shift"
        with pytest.raises(ValueError, match=f"Invalid parameter '{name}'.*did you mean '{right}'"):
            ours.GridSearchCV(estimator, {name: [1.0]}).fit(X, y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"param_grid": {"alpha": []}}, "non-empty"),
        ({"param_grid": {"alpha": 3.0}}, "needs to be a list or a numpy array"),
        ({"param_grid": ALPHAS, "cv": []}, "No fits were performed|at least one split"),
        ({"param_grid": ALPHAS, "scoring": "r3"}, "scoring.*must be"),
        (
            {"param_grid": ALPHAS, "scoring": "roc_auc", "error_score": "raise"},
            "has none of the following attributes",
        ),
        ({"param_grid": ALPHAS, "scoring": ["r2", "neg_max_error"]}, "refit"),
        ({"param_grid": ALPHAS, "cv": 500}, "n_splits=500"),
        ({"param_grid": ALPHAS, "cv": [(np.arange(50), np.array([400]))]}, "400|out of bounds"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError, IndexError, AttributeError), match=message):
        ours.GridSearchCV(Ridge(), **options).fit(X, y)


def test_a_split_that_lacks_a_class() -> None:
    labels = np.repeat([0, 1, 2], 50)
    both(LogisticRegression(tol=1e-10), {"C": [0.1, 1.0]}, XC, labels, cv=sk.KFold(3))


# --- how a search behaves as an object ---

THEIRS = "scikit-learn's search of its own Ridge fails it likewise"


@parametrize_with_checks(
    [
        ours.GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2, error_score="raise"),
        ours.RandomizedSearchCV(
            LogisticRegression(), {"C": [0.1, 1.0]}, n_iter=2, cv=2, random_state=0, error_score="raise"
        ),
        ours.HalvingGridSearchCV(
            Ridge(), {"alpha": [0.1, 1.0]}, cv=2, min_resources="smallest", error_score="raise"
        ),
    ],
    expected_failed_checks=lambda search: {
        **({"check_supervised_y_2d": THEIRS} if isinstance(search.estimator, Ridge) else {}),
        **({"check_fit2d_1sample": THEIRS} if isinstance(search, ours.HalvingGridSearchCV) else {}),
    },
)
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_clone_pickle_and_repr() -> None:
    search = ours.GridSearchCV(Ridge(), ALPHAS, cv=3).fit(X, y)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))
    assert str(again.plan_) == str(search.plan_)
    assert not hasattr(clone(search), "plan_")
    assert repr(search).startswith("GridSearchCV(cv=3, estimator=Ridge()")


def test_the_best_leaves_as_verified_onnx(tmp_path: Path) -> None:
    pipe = make_pipeline(StandardScaler(), Ridge())
    search = ours.GridSearchCV(pipe, {"ridge__alpha": [0.1, 10.0]}, cv=3).fit(X, y)
    search.to_onnx(tmp_path / "best.onnx", X=X)
    assert mf.onnx.verify_file(tmp_path / "best.onnx").ok
    theirs = sk.GridSearchCV(Ridge(), ALPHAS).fit(X, y)
    assert mf.onnx.to_onnx(theirs).graph.node
    with pytest.raises(TypeError, match="refit must not be False"):
        ours.GridSearchCV(Ridge(), ALPHAS, refit=False).fit(X, y).to_onnx()
    with pytest.raises(NotFittedError):
        clone(search).to_onnx()
    with pytest.raises(TypeError, match=r"got GridSearchCV \(save its best_estimator_\)"):
        mf.save(theirs, tmp_path / "search.safetensors")


def test_every_name_of_scikit_learns_module_is_there() -> None:
    for name in sk.__all__:
        assert hasattr(ours, name), name
    assert ours.KFold is sk.KFold
    with pytest.raises(AttributeError, match="GridSaerchCV"):
        _ = ours.GridSaerchCV


def test_labels_as_strings_and_a_frame() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(XC, columns=list("abcdef"))
    labels = np.array(["low", "mid", "high"])[yc]
    search = both(RidgeClassifier(), ALPHAS, frame, labels, cv=4)
    assert search.feature_names_in_.tolist() == list("abcdef")
