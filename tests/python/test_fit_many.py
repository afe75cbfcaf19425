"""fit_many: what it shares, what it returns, and any scikit-learn estimator."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose
from sklearn import linear_model
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import manyfit as mf
from manyfit.decomposition import PCA
from manyfit.linear_model import LinearRegression, Ridge


@pytest.fixture(scope="module")
def diabetes() -> tuple[Any, Any]:
    return load_diabetes(return_X_y=True)


ALPHAS = [{"alpha": a} for a in (0.01, 1.0, 100.0)]


# --- the population ---


def test_order_and_access(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    population = mf.fit_many(Ridge(), X, y, ALPHAS, cv=4)
    assert len(population) == 12
    assert population.n_splits == 4
    assert population.params == ALPHAS
    assert [model.alpha for model in population] == [0.01] * 4 + [1.0] * 4 + [100.0] * 4
    assert population[2, 1] is population[9] is population[-3] is population[-1, 1] is population[2, -3]
    assert population[3:5] == [population[0, 3], population[1, 0]]
    assert population.test_scores.shape == (3, 4)
    assert [train.size + test.size for train, test in population.splits] == [len(X)] * 4
    for wrong in ((3, 0), (0, 4), (-4, 0), (0, -5)):
        with pytest.raises(IndexError, match="3 parameters x 4 splits"):
            population[wrong]
    with pytest.raises(IndexError):
        population[12]
    assert repr(population) == "<Population: 12 fits, 1 pass over X (fold Gram)>"
    assert all(model in population for model in population)


def test_without_splits(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    population = mf.fit_many(Ridge(), X, y, ALPHAS)
    assert (len(population), population.n_splits) == (3, 1)
    assert population.splits is None
    assert population.test_scores is None
    for model, parameters in zip(population, ALPHAS, strict=True):
        assert_allclose(model.coef_, Ridge(**parameters).fit(X, y).coef_, rtol=1e-9)
    assert len(mf.fit_many(Ridge(alpha=3.0), X, y)) == 1
    assert mf.fit_many(Ridge(alpha=3.0), X, y)[0].alpha == 3.0


def test_models_stand_alone(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    population = mf.fit_many(Ridge(), X, y, ALPHAS, cv=3)
    model = pickle.loads(pickle.dumps(population[1, 1]))
    assert_allclose(model.predict(X), population[1, 1].predict(X))
    assert isinstance(model, linear_model.Ridge)
    again = copy.deepcopy(population)
    assert_allclose(again[2, 2].coef_, population[2, 2].coef_)
    assert_allclose(pickle.loads(pickle.dumps(population)).test_scores, population.test_scores)


# --- what is shared ---


@pytest.mark.parametrize(
    ("estimator", "cv", "plan"),
    [
        (Ridge(), 5, "15 fits, 1 pass over X (fold Gram)"),
        (Ridge(), KFold(3, shuffle=True, random_state=0), "9 fits, 1 pass over X (fold Gram)"),
        (Ridge(), ShuffleSplit(4, random_state=0), "12 fits, 1 pass over X (fold Gram)"),
        (Ridge(), TimeSeriesSplit(6), "18 fits, 1 pass over X (fold Gram)"),
        (Ridge(), None, "3 fits, 1 pass over X (fold Gram)"),
        (Lasso(), 2, "6 fits, one by one (scikit-learn)"),
    ],
)
def test_plan(diabetes: tuple[Any, Any], estimator: Any, cv: Any, plan: str) -> None:
    assert mf.fit_many(estimator, *diabetes, ALPHAS, cv).plan == plan


def test_many_splits_take_several_passes(diabetes: tuple[Any, Any]) -> None:
    """Overlapping splits cut the rows into ever more pieces; they are taken a few at a time."""
    X, y = diabetes
    population = mf.fit_many(Ridge(), X, y, cv=RepeatedKFold(n_splits=5, n_repeats=8, random_state=0))
    assert population.plan.startswith("40 fits, ")
    passes = int(population.plan.split(", ")[1].split()[0])
    assert 1 < passes < 40
    for k, (train, test) in enumerate(population.splits):
        alone = Ridge().fit(X[train], y[train])
        assert_allclose(population[k].coef_, alone.coef_, rtol=1e-8, atol=1e-8)
        assert_allclose(population.test_scores[0, k], alone.score(X[test], y[test]), rtol=1e-9)


def test_ill_conditioned_jobs_take_another_pass() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 6))
    X[:, 5] = X[:, 0] + 1e-7 * rng.standard_normal(100)
    y = X[:, 0] + X[:, 5] + 0.1 * rng.standard_normal(100)
    population = mf.fit_many(Ridge(), X, y, [{"alpha": 0.0}, {"alpha": 1.0}], cv=3)
    assert population.plan == "6 fits, 2 passes over X (fold Gram, fold QR)"
    for k, (train, _) in enumerate(population.splits):
        theirs = linear_model.Ridge(0.0, solver="svd").fit(X[train], y[train])
        assert_allclose(population[0, k].coef_, theirs.coef_, rtol=1e-6)


def test_a_mixed_population_says_what_ran_elsewhere() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 8)), rng.standard_normal(60)
    population = mf.fit_many(
        PCA(n_components=2, random_state=0),
        X,
        y,
        [{"svd_solver": "covariance_eigh"}, {"svd_solver": "randomized"}],
        cv=3,
    )
    assert population.plan == "6 fits, 1 pass over X (fold Gram of X); 3 one by one (scikit-learn)"
    assert [model.fit_backend_ for model in population] == ["manyfit"] * 3 + ["scikit-learn"] * 3
    for k, (train, test) in enumerate(population.splits):
        assert_allclose(population.test_scores[:, k], [population[i, k].score(X[test]) for i in (0, 1)])
        assert population[1, k].n_samples_ == len(train)


def test_sparse_data() -> None:
    rng = np.random.default_rng(0)
    X, y = scipy.sparse.random_array((80, 6), density=0.5, rng=rng, format="csr"), rng.standard_normal(80)
    population = mf.fit_many(Ridge(), X, y, ALPHAS, cv=3)
    assert population.plan == "9 fits, one by one (scikit-learn)"
    expected = cross_val_score(linear_model.Ridge(alpha=1.0), X, y, cv=3)
    assert_allclose(population.test_scores[1], expected)


def test_groups_and_weights(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    groups = np.arange(len(X)) % 11
    weights = np.random.default_rng(0).uniform(0.1, 2.0, len(X))
    population = mf.fit_many(Ridge(), X, y, ALPHAS, GroupKFold(5), sample_weight=weights, groups=groups)
    for k, (train, test) in enumerate(GroupKFold(5).split(X, y, groups)):
        np.testing.assert_array_equal(population.splits[k][0], train)
        for i, parameters in enumerate(ALPHAS):
            alone = Ridge(**parameters).fit(X[train], y[train], weights[train])
            assert_allclose(population[i, k].coef_, alone.coef_, rtol=1e-7, atol=1e-7)
            score = alone.score(X[test], y[test], sample_weight=weights[test])
            assert_allclose(population.test_scores[i, k], score, rtol=1e-9)
    with pytest.raises(ValueError, match="groups"):
        mf.fit_many(Ridge(), X, y, cv=GroupKFold(5))


def test_several_targets_and_one_weight(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    Y = np.column_stack([y, -(y**2), np.full_like(y, 3.0)])
    population = mf.fit_many(Ridge(), X, Y, ALPHAS, cv=4, sample_weight=2.0)
    for i in range(3):
        for k, (train, test) in enumerate(population.splits):
            alone = Ridge(**ALPHAS[i]).fit(X[train], Y[train], 2.0)
            assert_allclose(population[i, k].coef_, alone.coef_, rtol=1e-6, atol=1e-6)
            assert_allclose(population.test_scores[i, k], alone.score(X[test], Y[test]), rtol=1e-8)


def test_n_jobs_reaches_the_models_and_changes_nothing(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    one = mf.fit_many(Ridge(), X, y, ALPHAS, cv=4, n_jobs=1)
    three = mf.fit_many(Ridge(), X, y, ALPHAS, cv=4, n_jobs=3)
    assert {model.n_jobs for model in three} == {3}
    for a, b in zip(one, three, strict=True):
        np.testing.assert_array_equal(a.coef_, b.coef_)
    np.testing.assert_array_equal(one.test_scores, three.test_scores)


# --- frames ---


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library: str, diabetes: tuple[Any, Any]) -> None:
    frames = pytest.importorskip(library)
    X, y = diabetes
    names = load_diabetes().feature_names
    frame = frames.DataFrame({name: X[:, j] for j, name in enumerate(names)})
    for estimator in (Ridge(), linear_model.Ridge()):
        population = mf.fit_many(estimator, frame, frames.Series(y), ALPHAS, cv=3)
        expected = mf.fit_many(estimator, X, y, ALPHAS, cv=3)
        assert_allclose(population.test_scores, expected.test_scores, rtol=1e-9)
        assert all(list(model.feature_names_in_) == names for model in population)


# --- any other estimator ---


def test_any_scikit_learn_estimator(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    lasso = Lasso()
    population = mf.fit_many(lasso, X, y, [{"alpha": a} for a in (0.1, 1.0)], cv=3)
    for i, alpha in enumerate((0.1, 1.0)):
        assert_allclose(population.test_scores[i], cross_val_score(Lasso(alpha=alpha), X, y, cv=3))
    assert not hasattr(lasso, "coef_")
    assert type(population[0]) is Lasso


def test_classifiers_are_stratified() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    population = mf.fit_many(model, X, y, [{"logisticregression__C": c} for c in (0.1, 1.0)], cv=3)
    for k, (train, test) in enumerate(StratifiedKFold(3).split(X, y)):
        np.testing.assert_array_equal(population.splits[k][0], train)
        alone = clone(model).set_params(logisticregression__C=1.0).fit(X[train], y[train])
        assert_allclose(population.test_scores[1, k], alone.score(X[test], y[test]))


def test_pipelines_with_ours_inside(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    model = make_pipeline(StandardScaler(), PCA(), Ridge())
    settings = [{"pca__n_components": k, "ridge__alpha": a} for k in (2, 5) for a in (0.1, 10.0)]
    population = mf.fit_many(model, X, y, settings, cv=3, n_jobs=2)
    for i, parameters in enumerate(settings):
        expected = cross_val_score(clone(model).set_params(**parameters), X, y, cv=3)
        assert_allclose(population.test_scores[i], expected, rtol=1e-9)
    replaced = mf.fit_many(model, X, y, [{"ridge": LinearRegression()}, {"ridge": Ridge(2.0)}], cv=3)
    assert replaced[0, 0][-1] is not replaced[0, 1][-1]
    assert isinstance(replaced[0, 0][-1], LinearRegression)


def test_estimators_without_targets_or_scores() -> None:
    X = np.random.default_rng(0).standard_normal((60, 3))
    population = mf.fit_many(
        KMeans(n_clusters=2, n_init=1, random_state=0), X, params=[{"n_clusters": 3}], cv=3
    )
    assert population.test_scores.shape == (1, 3)
    scaled = mf.fit_many(StandardScaler(), X, params=[{"with_mean": False}], cv=3)
    assert scaled.test_scores is None
    assert_allclose(scaled[0].var_, X[scaled.splits[0][0]].var(axis=0))


def test_weights_reach_any_estimator(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    weights = np.random.default_rng(0).uniform(0.1, 2.0, len(X))
    ours = mf.fit_many(Ridge(), X, y, ALPHAS, cv=3, sample_weight=weights)
    theirs = mf.fit_many(linear_model.Ridge(), X, y, ALPHAS, cv=3, sample_weight=weights)
    assert_allclose(ours.test_scores, theirs.test_scores, rtol=1e-9)


# --- errors ---


def test_parameter_errors(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    for estimator in (Ridge(), linear_model.Ridge()):
        with pytest.raises(ValueError, match="Invalid parameter 'beta'.*Valid parameters are"):
            mf.fit_many(estimator, X, y, [{"alpha": 1.0}, {"beta": 1.0}])
        with pytest.raises(TypeError, match="params must be a sequence of dicts, got a single dict"):
            mf.fit_many(estimator, X, y, {"alpha": [1.0, 2.0]})
        with pytest.raises(TypeError, match=r"params\[1\] must be a dict, got float"):
            mf.fit_many(estimator, X, y, [{"alpha": 1.0}, 2.0])
        with pytest.raises(ValueError, match="params must hold at least one dict, got none"):
            mf.fit_many(estimator, X, y, [])
    with pytest.raises(ValueError, match="Ridge: alpha must be .*>= 0.*-2.0"):
        mf.fit_many(Ridge(), X, y, [{"alpha": 1.0}, {"alpha": -2.0}], cv=3)


def test_split_errors(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    n = len(X)
    everything = np.arange(n)
    for estimator in (Ridge(), linear_model.Ridge()):
        with pytest.raises((ValueError, IndexError), match=rf"{n}|-{n + 1}"):
            mf.fit_many(estimator, X, y, cv=[(everything + 1, everything[:5])])
        with pytest.raises(ValueError, match="k-fold|n_splits|fold"):
            mf.fit_many(estimator, X, y, cv=1)
    for pairs, words in (
        ([(everything[:0], everything)], "split 0 must have at least one training row"),
        (
            [(everything, everything), (everything[:0], everything)],
            "split 1 must have at least one training row",
        ),
        ([(everything, np.array([-n - 1]))], f"{-n - 1}"),
        ([], "at least one split"),
        ([(everything.astype(float) + 0.5, everything)], "integer"),
        ([(np.ones(n + 1, dtype=bool), everything)], rf"{n + 1}"),
    ):
        with pytest.raises((ValueError, IndexError), match=words):
            mf.fit_many(Ridge(), X, y, cv=pairs)


def test_negative_indices_count_from_the_end(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    train, test = np.arange(-300, 0), np.arange(-len(X), -300)
    population = mf.fit_many(Ridge(), X, y, cv=[(train, test)])
    alone = Ridge().fit(X[train], y[train])
    assert_allclose(population[0].coef_, alone.coef_, rtol=1e-8)
    assert_allclose(population.test_scores[0, 0], alone.score(X[test], y[test]), rtol=1e-9)


def test_dataset_and_loose_arrays_at_once(diabetes: tuple[Any, Any]) -> None:
    X, y = diabetes
    for extra in ({"y": y}, {"sample_weight": np.ones(len(y))}, {"groups": np.ones(len(y))}):
        with pytest.raises(ValueError, match="must be None when X is a Dataset"):
            mf.fit_many(Ridge(), mf.Dataset(X, y), **extra)


class Failing(BaseEstimator):
    def fit(self, X: Any, y: Any = None) -> Any:
        raise RuntimeError("this one cannot")


def test_errors_of_an_estimator_arrive(diabetes: tuple[Any, Any]) -> None:
    with pytest.raises(RuntimeError, match="this one cannot"):
        mf.fit_many(Failing(), *diabetes, cv=3)
