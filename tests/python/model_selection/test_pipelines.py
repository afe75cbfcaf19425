"""Pipelines: steps fitted once for each split, results of scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import model_selection as sk
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import make_classification, make_regression
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.linear_model import Ridge as TheirRidge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler, TargetEncoder
from sklearn.svm import SVC, SVR

from manyfit import model_selection as ours
from manyfit.linear_model import Lasso, LogisticRegression, Ridge

X, y = make_regression(n_samples=90, n_features=5, n_informative=4, noise=10.0, random_state=0)
XC, yc = make_classification(n_samples=120, n_features=6, random_state=0)


class Counting(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Multiplies by a power; counts its fits."""

    fits = 0

    def __init__(self, power: float = 1.0) -> None:
        self.power = power

    def fit(self, X: Any, y: Any = None) -> Counting:
        type(self).fits += 1
        if self.power < 0:
            raise RuntimeError("power is negative")
        self.scale_ = float(np.abs(X).max()) ** self.power
        return self

    def transform(self, X: Any) -> Any:
        return X / self.scale_


def both(estimator: Any, grid: Any, X: Any, y: Any, fit: dict[str, Any] | None = None, **options: Any) -> Any:
    search = ours.GridSearchCV(estimator, grid, **options).fit(X, y, **(fit or {}))
    other = sk.GridSearchCV(estimator, grid, **options).fit(X, y, **(fit or {}))
    assert search.cv_results_.keys() == other.cv_results_.keys()
    for key, values in other.cv_results_.items():
        if key.startswith(("split", "mean_test", "mean_train", "std_t", "rank")):
            np.testing.assert_allclose(search.cv_results_[key], values, rtol=1e-9, atol=1e-9, err_msg=key)
    assert search.cv_results_["params"] == other.cv_results_["params"]
    return search


@pytest.mark.parametrize("last", [Ridge(), TheirRidge(), SVR()])
def test_a_step_is_fitted_once_for_each_split_and_setting(last: Any) -> None:
    pipe = Pipeline([("count", Counting()), ("last", last)])
    name = "C" if isinstance(last, SVR) else "alpha"
    grid = {"count__power": [0.5, 1.0], f"last__{name}": [0.1, 1.0, 10.0, 100.0]}
    Counting.fits = 0
    search = ours.GridSearchCV(pipe, grid, cv=3, refit=False).fit(X, y)
    assert Counting.fits == 2 * 3
    assert search.plan_.steps == {"Counting": 6}
    assert search.plan_.fits == 24
    both(pipe, grid, X, y, cv=3)


@pytest.mark.parametrize(
    ("pipe", "grid"),
    [
        (
            make_pipeline(StandardScaler(), PolynomialFeatures(), SelectKBest(f_regression), Ridge()),
            {"polynomialfeatures__degree": [1, 2], "selectkbest__k": [3, 5], "ridge__alpha": [0.1, 10.0]},
        ),
        (
            Pipeline([("scale", StandardScaler()), ("reduce", PCA()), ("model", Lasso(tol=1e-10))]),
            [
                {"reduce__n_components": [2, 4], "model__alpha": [0.1, 1.0]},
                {"reduce": ["passthrough", None], "model__alpha": [0.5]},
                {"scale": ["passthrough"], "model": [SVR(), Ridge()]},
            ],
        ),
        (make_pipeline(StandardScaler(), SVR()), {"svr__C": [0.1, 1.0]}),
        (make_pipeline(Ridge()), {"ridge__alpha": [0.1, 1.0]}),
        (
            Pipeline([("p", make_pipeline(StandardScaler(), PCA(2))), ("m", Ridge())]),
            {"m__alpha": [1.0, 2.0]},
        ),
    ],
    ids=["polynomials", "replaced steps", "SVR", "one step", "nested"],
)
@pytest.mark.parametrize("scoring", [None, ["r2", "neg_mean_absolute_error"]])
def test_results_are_scikit_learns(pipe: Any, grid: Any, scoring: Any) -> None:
    both(pipe, grid, X, y, cv=3, scoring=scoring, refit="r2" if scoring else True, return_train_score=True)


def test_classifiers_and_scorers_that_look_into_the_pipeline() -> None:
    pipe = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10))
    grid = {"logisticregression__C": [0.1, 1.0, 10.0]}
    both(pipe, grid, XC, yc, cv=4, scoring=["accuracy", "roc_auc", "neg_log_loss"], refit="roc_auc")

    def kept(model: Any, X: Any, y: Any) -> float:
        assert isinstance(model, Pipeline)
        assert X.shape[1] == 6
        return float(np.abs(model[-1].coef_).sum() + model.score(X, y))

    both(pipe, grid, XC, yc, cv=4, scoring=kept)


@pytest.mark.filterwarnings("ignore:.*random_state.* deprecated:FutureWarning")
def test_steps_whose_training_rows_come_out_otherwise_than_new_ones() -> None:
    rng = np.random.default_rng(0)
    categories = rng.integers(0, 5, size=(120, 2)).astype(str)
    pipe = make_pipeline(TargetEncoder(random_state=0), LogisticRegression(tol=1e-10))
    both(pipe, {"logisticregression__C": [0.1, 1.0]}, categories, yc, cv=3, return_train_score=True)


def test_weights_of_the_last_step() -> None:
    weights = {"ridge__sample_weight": np.random.default_rng(0).uniform(0.5, 2.0, 90)}
    search = both(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [0.1, 1.0]}, X, y, weights, cv=3)
    assert [share.how for share in search.plan_] == ["pipeline"]


@pytest.mark.parametrize(
    ("pipe", "why"),
    [
        (Pipeline([("s", StandardScaler()), ("m", Ridge())], memory="unused"), "memory caches the steps"),
        (Pipeline([("s", "passthrough"), ("m", Ridge())]), "no step before the last"),
    ],
)
def test_what_is_not_shared_says_why(pipe: Any, why: str, tmp_path: Any) -> None:
    pipe = clone(pipe)
    if pipe.memory:
        pipe.set_params(memory=str(tmp_path))
    search = both(pipe, {"m__alpha": [0.1, 1.0]}, X, y, cv=3)
    assert why in str(search.plan_)


def test_a_step_that_fails_fails_its_candidates_alone() -> None:
    pipe = Pipeline([("count", Counting()), ("last", Ridge())])
    grid = {"count__power": [1.0, -1.0], "last__alpha": [0.1, 1.0]}
    searches = []
    for module in (ours, sk):
        search = module.GridSearchCV(pipe, grid, cv=3, refit=False)
        with pytest.warns(Warning, match=r"power is negative|non-finite"):
            search.fit(X, y)
        searches.append(search.cv_results_["mean_test_score"])
    np.testing.assert_allclose(*searches, rtol=1e-12)
    assert np.isnan(searches[0]).tolist() == [False, False, True, True]
    with pytest.raises(RuntimeError, match="power is negative"):
        ours.GridSearchCV(pipe, grid, error_score="raise").fit(X, y)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_workers_give_the_same_results(n_jobs: int | None) -> None:
    grid = {"svc__C": [0.1, 1.0], "pca__n_components": [2, 3]}
    search = both(make_pipeline(StandardScaler(), PCA(), SVC()), grid, XC, yc, cv=3, n_jobs=n_jobs)
    assert search.plan_.steps == {"StandardScaler": 3, "PCA": 6}


def test_pandas_between_the_steps() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcde"))
    pipe = make_pipeline(StandardScaler(), PolynomialFeatures(), Ridge()).set_output(transform="pandas")
    both(pipe, {"ridge__alpha": [0.1, 1.0]}, frame, y, cv=3)


@pytest.mark.parametrize(
    ("steps", "grid", "passes"),
    [
        ([StandardScaler()], {"model__alpha": [0.1, 1.0, 10.0]}, 1),
        ([StandardScaler(), PCA()], {"b__n_components": [2, 4, 0.8], "model__alpha": [0.1, 1.0]}, 1),
        ([MinMaxScaler()], {"a__feature_range": [(0, 1), (-1, 2)]}, 2),
    ],
    ids=["scaler", "components", "ranges"],
)
@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("model", [Ridge(), Lasso(alpha=0.2, tol=1e-12)])
def test_affine_steps_before_least_squares_cost_no_pass(
    steps: Any, grid: Any, passes: int, framed: bool, model: Any
) -> None:
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(X, columns=list("abcde")) if framed else X
    pipe = Pipeline([*zip("ab", steps, strict=False), ("model", model)])
    search = both(pipe, grid, table, y, cv=3)
    assert search.plan_.passes == passes
    theirs = clone(pipe).set_params(**search.best_params_).fit(table, y)
    np.testing.assert_allclose(search.predict(table), theirs.predict(table), rtol=1e-9)
    for (_, ours_), (_, their) in zip(search.best_estimator_.steps, theirs.steps, strict=True):
        assert type(ours_) is type(their)
        assert vars(ours_).keys() == vars(their).keys()
